"""Trajectories, chunk by chunk: a graph with its stimulus, run on any backend, every quantity at every step.

A *chunk* maps quantities to arrays whose first axis is K consecutive steps: (K, batch, n) for what a population owns,
(K, copies, n_post, n_pre) for weights. Long runs are never held in memory as a whole, except on Lava, whose record
buffer lives in another process.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Collection, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from cortexc.compiler.backends.feeding import input_columns, make_feed, named_noise, noise_columns, sample_table
from cortexc.compiler.backends.interpreter import Interpreter
from cortexc.compiler.backends.runtime import Block, Feed
from cortexc.compiler.backends.table import BACKENDS, Given, Work
from cortexc.compiler.ir import CortexError, Graph, unknown
from cortexc.compiler.ir.model import weight_shape
from cortexc.compiler.ir.protocol import Protocol, Record, Stream
from cortexc.compiler.passes.base import Request
from cortexc.compiler.passes.defer_decay import LAZY
from cortexc.compiler.passes.discretise import Discretise
from cortexc.compiler.passes.partition import Partition
from cortexc.compiler.passes.stock import hidden_quantities, stock_plan
from cortexc.compiler.verify.as_run import AsRun

Chunk = dict[str, np.ndarray]

STREAM = "verify"
WINDOW_BYTES = 64_000_000
"""Most memory that one chunk of recordings takes, at least one step."""
LONGEST_CHUNK = 1000


@dataclass(frozen=True)
class Setup:
    """A graph, with its derivatives discretised, and everything it is fed with: `samples` (rows, width) in the order
    of `input_columns`, one seed per element of the seeds axis, `noise` (steps, width) in the order of `noise_columns`
    where the graph replays draws."""

    graph: Graph
    protocol: Protocol
    samples: np.ndarray
    seeds: tuple[int, ...] = (1,)
    noise: np.ndarray | None = None
    stock: bool = False
    """On Lava: what Lava's own processes compute to the bit is run by them."""
    cores: tuple[tuple[str, str], ...] = ()
    """Core of every population, for the granularity `neurocore`."""
    as_run: AsRun | None = None
    """What `run` would lower, to be compared beside the graph as written."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "graph", Discretise().apply(self.graph, Request()))
        if len(self.seeds) != self.graph.seeds:
            raise CortexError("V126", f"graph '{self.graph.name}' runs {self.graph.seeds} seeds, got "
                                      f"{len(self.seeds)}: {list(self.seeds)}.", "Give one per element of the batch.")

    @property
    def steps(self) -> int:
        return self.protocol.total


def quantities(graph: Graph, increments: bool = False) -> list[str]:
    """Every state, message, factor, current, weight and optimiser quantity; raw increments on demand, since a
    program that shows them is lowered differently."""
    found = [f"{p.name}.{e.name}" for p in graph.populations for e in graph.cell(p.cell).equations]
    for q in graph.projections:
        if not weight_shape(graph, q):
            continue
        found += [f"{q.name}.current", f"{q.name}.w"]
        rule = graph.rule_of(q)
        if rule:
            found += [f"{q.name}.increment"] if increments else []
            found += [f"{q.name}.{rule.optimiser.kind}"] if rule.optimiser.kind != "none" else []
            found += [f"{q.name}.{s.name}" for s in rule.states]
    return found


# ---- the interpreter


def feed_of(setup: Setup) -> Feed:
    """The protocol as blocks of rows, gates and noise, without recordings."""
    graph = setup.graph
    plain = replace(setup.protocol, streams=(), phases=tuple(replace(p, records=()) for p in setup.protocol.phases))
    return make_feed(graph, plain, setup.seeds, setup.noise)


def blocks(setup: Setup, steps: int | None = None, chunk: int = LONGEST_CHUNK) -> Iterator[Block]:
    """The stimulus, `chunk` steps at a time."""
    feed = feed_of(setup)
    end = feed.total if steps is None else min(steps, feed.total)
    while feed.position < end:
        yield feed.block(min(chunk, end - feed.position))


class Stimulus:
    """Inputs, gates and draws of single steps, by name. A draw keeps its value until the next one."""

    def __init__(self, setup: Setup):
        self.graph = setup.graph
        self.samples = sample_table(self.graph, setup.protocol, setup.samples)
        self.inputs, self.draws = input_columns(self.graph), noise_columns(self.graph)
        self.noise: dict[str, np.ndarray] = {}
        gate = ["", *self.graph.gates].index(self.graph.noise.gate or "")
        self.noise_gate, self.cells = gate, {p.name for p in self.graph.populations}

    def step(self, block: Block, t: int) -> tuple[Chunk, dict[str, float], Chunk]:
        """(inputs (batch, n), gates, noise (batch, n)) of step `t` of a block."""
        rows = self.samples[block.rows[t]] if self.samples.size else np.zeros((self.graph.batch, 0))
        on, found = block.gates[t, self.noise_gate] > 0, named_noise(self.graph, block.noise[t])
        for name, drawn in found.items():
            if on or name.split(".")[0] not in self.cells:
                self.noise[name] = drawn
            else:
                self.noise.setdefault(name, np.zeros_like(drawn))
        gates = dict(zip(self.graph.gates, block.gates[t, 1:].tolist(), strict=True))
        return {name: rows[:, part] for name, part in self.inputs}, gates, dict(self.noise)


def interpreted(setup: Setup, wanted: Sequence[str], steps: int | None = None,
                chunk: int = LONGEST_CHUNK) -> Iterator[Chunk]:
    """The interpreter's trajectory: what the graph means; only those of the quantities that it has."""
    interpreter, stimulus = Interpreter(setup.graph), Stimulus(setup)
    for block in blocks(setup, steps, chunk):
        rows: dict[str, list[np.ndarray]] = {}
        for t in range(len(block.gates)):
            values = interpreter.step(*stimulus.step(block, t))
            for name in wanted:
                if name in values:
                    rows.setdefault(name, []).append(values[name])
        yield {name: np.stack(past) for name, past in rows.items()}


# ---- compiled programs


def compiled(setup: Setup, wanted: Sequence[str], on: str, granularity: str = "network", steps: int | None = None,
             chunk: int = LONGEST_CHUNK) -> Iterator[Chunk]:
    """The trajectory of a lowered program; only those of the quantities that it stores, and that are not inside a stock
    process."""
    graph, stock = Partition(granularity, setup.cores).apply(setup.graph), setup.stock and on == "lava"
    hidden = hidden_quantities(graph, stock_plan(graph)) if stock else frozenset()
    work = Work(graph, frozenset(wanted) - hidden, stock)
    stored = [name for name in wanted if name in work.program.slots.sizes and name not in hidden]
    late = [name for name in stored if name in deferred(graph)]
    total = setup.steps if steps is None else min(steps, setup.steps)

    def run(names: Sequence[str]) -> Iterator[Chunk]:
        protocol = recording_protocol(setup.protocol, tuple(names))
        return (_whole if on == "lava" else _in_windows)(setup, work, on, protocol, total, chunk)

    return _joined(run([name for name in stored if name not in late]), run(late)) if late else run(stored)


def deferred(graph: Graph) -> set[str]:
    """Weights that a lowering across steps leaves behind; to look at them every step would undo the lowering, so
    they are recorded in a run of their own."""
    found = set()
    for q in graph.projections:
        rule = graph.rule_of(q)
        if q.lowering not in ("", LAZY) and rule:
            found |= {f"{q.name}.w", f"{q.name}.{rule.optimiser.kind}"}
    return found


def _joined(first: Iterator[Chunk], second: Iterator[Chunk]) -> Iterator[Chunk]:
    return ({**a, **b} for _, a, b in aligned(first, second))


def recording_protocol(protocol: Protocol, stored: tuple[str, ...]) -> Protocol:
    """The protocol with one stream that takes every quantity at every step."""
    phases = tuple(replace(p, records=((STREAM, Record(every=1)),)) for p in protocol.phases)
    return replace(protocol, phases=phases, streams=(Stream(STREAM, stored),))


def _in_windows(setup: Setup, work: Work, on: str, protocol: Protocol, total: int, chunk: int) -> Iterator[Chunk]:
    """Runs with a record buffer of one chunk, read after each."""
    stored = protocol.streams[0].quantities
    width = sum(work.program.slots.sizes[name] for name in stored)
    chunk = max(1, min(chunk, total, WINDOW_BYTES // (8 * max(width, 1))))
    protocol = replace(protocol, streams=(replace(protocol.streams[0], window=chunk),))
    run = BACKENDS[on](work, Given(protocol, setup.samples, setup.seeds, setup.noise))
    while (first := run.position) < total:
        run.run(min(chunk, total - first))
        yield {name: run.records.rows(STREAM, name, first).copy() for name in stored}


def _whole(setup: Setup, work: Work, on: str, protocol: Protocol, total: int, chunk: int) -> Iterator[Chunk]:
    """Records all steps: the buffer of Lava's processes is not ours to rewind."""
    (stream,) = protocol.streams
    protocol = replace(protocol, streams=(replace(stream, most=total),))
    with closing(BACKENDS[on](work, Given(protocol, setup.samples, setup.seeds, setup.noise))) as run:
        run.run(total)
        yield {name: run.records.rows(STREAM, name).copy() for name in stream.quantities}


PACKAGES = {"lava": ("lava", "lava"), "reference": ("torch", "reference")}
"""Side -> (what it imports, the extra that installs it)."""


def require(side: str, known: Collection[str] = BACKENDS) -> None:
    """Raises V120 for an unknown side, V121 for one whose package is not installed."""
    if side not in known:
        raise unknown("V120", "backend", side, known)
    package, extra = PACKAGES.get(side, ("numpy", ""))
    if importlib.util.find_spec(package) is None:
        raise missing(extra, ImportError(f"there is no package '{package}'"))


def missing(extra: str, error: ImportError) -> CortexError:
    return CortexError("V121", f"extra '{extra}' is not installed: {error}.", f"Run pip install 'cortexc[{extra}]'.")


def trajectory(setup: Setup, wanted: Sequence[str], on: str, granularity: str = "network", steps: int | None = None,
               chunk: int = LONGEST_CHUNK) -> Iterator[Chunk]:
    """The trajectory on any backend. Raises V120 for an unknown one."""
    require(on)
    if on == "interpreter":
        return interpreted(setup, wanted, steps, chunk)
    return compiled(setup, wanted, on, granularity, steps, chunk)


def aligned(first: Iterator[Chunk], second: Iterator[Chunk]) -> Iterator[tuple[int, Chunk, Chunk]]:
    """(first step, chunk, chunk) of two trajectories, cut to common lengths; ends with the shorter one."""
    sides: list[Any] = [_Side(first), _Side(second)]
    start = 0
    while all(side.fill() for side in sides):
        count = min(side.length for side in sides)
        yield start, sides[0].take(count), sides[1].take(count)
        start += count


class _Side:
    """A trajectory from which any number of steps can be taken."""

    def __init__(self, chunks: Iterator[Chunk]):
        self.chunks, self.held, self.at, self.length = chunks, Chunk(), 0, 0

    def fill(self) -> bool:
        while self.length == 0:
            held = next(self.chunks, None)
            if held is None:
                return False
            self.held, self.at = held, 0
            self.length = len(next(iter(held.values()), ()))
            if not held:
                return False
        return True

    def take(self, count: int) -> Chunk:
        part = slice(self.at, self.at + count)
        self.at, self.length = self.at + count, self.length - count
        return {name: values[part] for name, values in self.held.items()}

