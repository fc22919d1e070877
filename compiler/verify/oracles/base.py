"""What every independent reference can do, and how it is run. Torch is imported when a reference is asked for."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from cortexc.compiler.ir import CortexError, Graph
from cortexc.compiler.ir.protocol import Phase, Protocol
from cortexc.compiler.verify.recorded.format import Arrays, Recording
from cortexc.compiler.verify.runs import WINDOW_BYTES, Chunk, Setup, Stimulus, blocks, input_columns, missing

Step = Callable[[Chunk, dict[str, float], Chunk], Chunk]
"""From inputs, gates and draws of a step to what is known after it."""


def refused(what: str) -> CortexError:
    """V122, for what a reference does not model."""
    return CortexError("V122", f"the independent reference has no such circuit: {what}.",
                       "Verify it against the interpreter: --reference interpreter.")


def reference(name: str) -> Any:
    """A module of `cortexc.reference`, in one thread. Raises V121 where torch is not installed."""
    try:
        import torch

        torch.set_num_threads(1)
        return importlib.import_module(f"cortexc.reference.{name}")
    except ImportError as error:
        raise missing("reference", error) from None


@dataclass(frozen=True)
class Oracle:
    """The reference of one family of circuits. `setup(circuit, steps, seeds)`: an experiment of its own;
    `wanted(circuit, there)`: which of the graph's quantities it has; `trajectory(circuit, setup, there, steps)`: these,
    step by step; `recorded(recording)`: its variables under the names of a recording's, one seed. `rehearsed`: circuit
    -> name -> options that tell apart what published recordings do not; `record(options, steps, seed)`: arrays as
    published, made by the reference."""

    setup: Callable[[Any, int, Sequence[int]], Setup]
    wanted: Callable[[Any, set[str]], list[str]]
    trajectory: Callable[[Any, Setup, set[str], int], Iterator[Chunk]]
    recorded: Callable[[Recording], Iterator[Chunk]] | None = None
    record: Callable[[Any, int, int], Arrays] | None = None
    rehearsed: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


def followed(setup: Setup, step: Step, steps: int | None = None, chunk: int = 200) -> Iterator[Chunk]:
    """What a reference knows after every step of a setup, fed with its very inputs, gates and draws; some steps at a
    time, which take little memory."""
    stimulus, rows, held = Stimulus(setup), list[Chunk](), 0
    for block in blocks(setup, steps, chunk):
        for t in range(len(block.gates)):
            rows.append(step(*stimulus.step(block, t)))
            held += sum(value.nbytes for value in rows[-1].values())
            if held > WINDOW_BYTES or t == len(block.gates) - 1:
                yield {name: np.stack([row[name] for row in rows]) for name in rows[0]}
                rows, held = [], 0


def in_numpy(snapshot: Mapping[str, Any]) -> Chunk:
    return {name: value.numpy() for name, value in snapshot.items()}


# ---- recordings that a reference makes


def held_flags(rng: np.random.Generator, steps: int) -> np.ndarray:
    """(4, steps): learning flags and whether there is a target, independent of each other, held for 5 steps."""
    return np.stack([rng.integers(0, 2, -(-steps // 5)).repeat(5)[:steps] for _ in range(4)])


def held_inputs(rng: np.random.Generator, steps: int, size: int) -> np.ndarray:
    """(steps, size), held for 5 steps."""
    return rng.uniform(0, 1, (-(-steps // 5), size)).repeat(5, axis=0)[:steps]


def played(model: Any, calls: Iterator[tuple], names: Sequence[str]) -> Arrays:
    """Variables of a reference's snapshots, before (`init_`) and after every call of its step, of the first seed."""
    def shown() -> Arrays:
        return {name: value.numpy()[0] for name, value in model.snapshot().items() if name in names}

    first, rows = shown(), []
    for arguments in calls:
        model.step(*arguments)
        rows.append(shown())
    return {f"init_{name}": value for name, value in first.items()} | {
        name: np.stack([row[name] for row in rows]) for name in rows[0]}


# ---- setups


def settling_setup(graph: Graph, seeds: Sequence[int], steps: int, presentation: int, learning: Sequence[str],
                   more: Mapping[str, tuple[float, ...]]) -> Setup:
    """Random inputs and targets, each held for `presentation` steps: a tenth of the run settles, then all gates of
    `learning` are on, with a target in three presentations of four. `more`: further gates of that phase."""
    count = -(-steps // presentation)
    settling = max(count // 10, 1)
    target = tuple(float(i // presentation % 4 != 3) for i in range(4 * presentation))
    gates: dict[str, tuple[float, ...]] = {**dict.fromkeys(learning, (1.0,)), "target": target, **more}
    phases = (Phase("settling", settling, presentation),
              Phase("training", count, presentation, (settling,), gates=tuple(gates.items())))
    width = input_columns(graph)[-1][1].stop
    samples = np.random.default_rng(seeds[0]).uniform(0, 1, (settling + count, width))
    return Setup(graph, Protocol(phases, ("settling", "training")), samples, tuple(seeds))
