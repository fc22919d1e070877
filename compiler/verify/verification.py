"""The questions that `cortexc verify` asks, each answered by a `Result` that names its evidence."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from cortexc.compiler.ir import CortexError, Graph
from cortexc.compiler.ir.expressions import Number
from cortexc.compiler.ir.protocol import Protocol
from cortexc.compiler.ir.schedule import Delivery, schedule
from cortexc.compiler.passes import Target, run_pipeline
from cortexc.compiler.verify.as_run import Follower, follower
from cortexc.compiler.verify.compare import DOUBLE, EXACT, SINGLE, Comparison, Limits, Result, together
from cortexc.compiler.verify.oracles import integers
from cortexc.compiler.verify.oracles.base import refused
from cortexc.compiler.verify.oracles.integers import Source
from cortexc.compiler.verify.oracles.table import oracle_of, recorded_rows
from cortexc.compiler.verify.oracles.user import load_function, user_trajectory
from cortexc.compiler.verify.recorded.format import UNTOLD
from cortexc.compiler.verify.recorded.recordings import Recording, load_recording
from cortexc.compiler.verify.runs import BACKENDS, Chunk, Setup, aligned, quantities, require, trajectory

SIDES = ("reference", *BACKENDS)


def verify_golden(path: str | Path, on: str = "native", granularity: str = "network", passes: bool = False) -> Result:
    """A recorded trajectory against a backend (or the reference). With `passes` the graph goes through the compiler's
    passes first and what is left of it is compared. Raises V101..V115 for the file, V120..V122 for the side."""
    recording = load_recording(path)
    require(on, SIDES)
    return verify_recording(recording, on, granularity, passes)


def verify_recording(recording: Recording, on: str = "native", granularity: str = "network",
                     passes: bool = False) -> Result:
    """The same for a recording in memory."""
    wanted = recording.wanted
    if passes:
        recording = replace(recording, setup=after_passes(recording.setup, granularity))
        wanted = [name for name in wanted if not name.endswith(".increment")]
    if recording.sampled:
        return _verify_sampled(recording, wanted, on, granularity)
    setup = recording.setup
    got = recorded_rows(recording) if on == "reference" else recording.named(
        trajectory(setup, wanted, on, granularity))
    names = {q: name for name, s in recording.sources.items() if s.kind != "before" for q in s.quantities}
    order = [names[q] for q in computing_order(setup.graph) if q in names]
    plastic = [names[f"{q}.w"] for q in gated_on(setup) if f"{q}.w" in names]
    comparison = Comparison(list(dict.fromkeys(order)), list(dict.fromkeys(plastic)), precision_of(on))
    for _, ours, theirs in aligned(got, recording.chunks()):
        comparison.add(ours, theirs)
    for name, (value, recorded) in recording.constants.items():
        comparison.add_constant(name, value, recorded)
    return _result(comparison, recording.evidence, recording.expected, setup.steps, on, granularity,
                   recording.not_compared)


def _verify_sampled(recording: Recording, wanted: Sequence[str], on: str, granularity: str) -> Result:
    """What was recorded now and then, each variable within its own limit."""
    if on == "reference":
        recorded_rows(recording)
    setup, sampled = recording.setup, recording.sampled
    found = {name: np.where(s.at == UNTOLD, s.values, np.where(s.at < 0, s.before, np.nan))
             for name, s in sampled.items()}
    start = 0
    for chunk in trajectory(setup, wanted, on, granularity):
        for name, s in sampled.items():
            s.taken(found[name], start, chunk[s.quantity].reshape(len(chunk[s.quantity]), -1))
        start += len(next(iter(chunk.values())))
    plastic = [name for name, s in sampled.items() if s.quantity in {f"{q}.w" for q in gated_on(setup)}]
    comparison = Comparison(tuple(sampled), plastic, precision_of(on),
                            {name: s.limit for name, s in sampled.items()})
    for name, s in sampled.items():
        comparison.compare(name, s.rows.tolist(), found[name], s.values, s.unit)
        comparison.see({name: s.values}, 0)
    comparison.steps = comparison.compared_steps = start
    return _result(comparison, recording.evidence, sampled, setup.steps, on, granularity, recording.not_compared)


def _result(comparison: Comparison, evidence: str, expected: Sequence[str] | Mapping, steps: int, on: str,
            granularity: str, not_compared: Sequence[str] = (), must_learn: bool = False, **details: Any) -> Result:
    left = [name for name in expected if name not in comparison.compared]
    extra = []
    if comparison.steps < steps:
        extra.append(("incomplete", f"only {comparison.steps} of {steps} steps were compared"))
    if must_learn and comparison.nothing_learnt:
        extra.append(("nothing-learnt", "no weight moved although a learning gate was on: "
                                        f"{', '.join(comparison.plastic)} (in {comparison.steps} steps; compare more "
                                        "where learning begins later)"))
    return comparison.result(evidence, extra, not_compared=(*left, *not_compared), on=on, granularity=granularity,
                             **details)


def after_passes(setup: Setup, granularity: str = "network") -> Setup:
    """The setup with the graph that the compiler's passes leave when only outputs are observed."""
    return replace(setup, graph=run_pipeline(setup.graph, target=Target(granularity)).graph)


def computing_order(graph: Graph) -> list[str]:
    """Every quantity in the order in which a step computes it."""
    found: list[str] = []
    for operation in schedule(graph):
        if isinstance(operation, Delivery):
            found.append(f"{operation.projection}.current")
        else:
            found += [f"{operation.population}.{name}" for name in operation.equations]
    learnt = [q for q in quantities(graph, increments=True) if q not in set(found)]
    return [*found, *sorted(learnt, key=lambda q: (not q.endswith(".increment"), q.endswith(".w")))]


def gated_on(setup: Setup) -> list[str]:
    """Plastic projections whose learning gate is on at some step."""
    phases = {phase.name: phase for phase in setup.protocol.phases}
    on = {gate for name in setup.protocol.sequence for gate, pattern in phases[name].gates
          if phases[name].total and any(value > 0 for value in pattern)}
    return [q.name for q in setup.graph.projections if (rule := setup.graph.rule_of(q))
            and rule.increment != Number(0.0) and (q.gate is None or q.gate in on)]


# ---- one's own circuit


Reference = str | Callable[[Graph, Mapping[str, np.ndarray], int], Mapping[str, np.ndarray]]


def verify_graph(graph: Graph, protocol: Protocol, samples: np.ndarray, seeds: Sequence[int] = (1,), on: str = "native",
                 granularity: str = "network", against: Reference = "interpreter", steps: int | None = None,
                 noise: np.ndarray | None = None, increments: bool = False) -> Result:
    """A backend against the interpreter or a reference function (or its place, `FILE.py:function`): every state,
    message, current and weight of every step. Raises V120.. for the side, V130..V132 for the reference function."""
    setup = Setup(graph, protocol, samples, tuple(seeds), noise)
    return verify_setup(setup, on, granularity, against, steps, increments)


def verify_setup(setup: Setup, on: str = "native", granularity: str = "network", against: Reference = "interpreter",
                 steps: int | None = None, increments: bool = False) -> Result:
    """The same for a setup."""
    wanted = quantities(setup.graph, increments)
    count = setup.steps if steps is None else min(steps, setup.steps)
    if on == against:
        return _only_as_run(setup, wanted, count, granularity)
    if against == "interpreter":
        evidence, expected = "interpreter", trajectory(setup, wanted, "interpreter", steps=count)
    else:
        function = load_function(against) if isinstance(against, str) else against
        evidence, expected = "user-reference", user_trajectory(function, setup, count)
    got = trajectory(setup, wanted, on, granularity, count)
    return _compare(setup, got, expected, evidence, wanted, count, on, granularity)


def _only_as_run(setup: Setup, wanted: Sequence[str], count: int, granularity: str) -> Result:
    """On the interpreter the graph as written is what it is compared with. Raises V124 where that is all there is."""
    if setup.as_run is None:
        raise CortexError("V124", "the interpreter would be compared with itself.",
                          "Verify on native or lava, or give a reference.")
    with _following(setup, count) as run:
        start = 0
        for chunk in trajectory(setup, wanted, "interpreter", steps=count):
            run.follow(start, chunk)
            start += len(next(iter(chunk.values()), ()))
    return _as_run_result(setup, run, "interpreter", wanted, count, "interpreter", granularity)


def _compare(setup: Setup, got: Iterator[Chunk], expected: Iterator[Chunk], evidence: str, wanted: Sequence[str],
             count: int, on: str, granularity: str, precision: Limits | None = None) -> Result:
    """The graph as written, all of it observed; and beside it what `run` would lower. What a reference does not have
    is expected there as it is written."""
    precision = precision or precision_of(on)
    comparison = Comparison(computing_order(setup.graph), [f"{name}.w" for name in gated_on(setup)], precision)
    with _following(setup, count, precision) as run:
        for start, ours, theirs in aligned(got, expected):
            comparison.add(ours, theirs)
            if run:
                run.follow(start, {**ours, **theirs})
    written = _result(comparison, evidence, wanted, count, on, granularity, must_learn=True)
    if run is None:
        return written
    return together([written, _as_run_result(setup, run, evidence, wanted, count, on, granularity)])


def precision_of(side: str) -> Limits:
    """Of a backend."""
    return SINGLE if side == "native32" else DOUBLE


def _following(setup: Setup, count: int, precision: Limits = DOUBLE) -> Any:
    plastic = [f"{name}.w" for name in gated_on(setup)]
    return follower(setup.as_run, count, computing_order(setup.graph), plastic, precision)


def _as_run_result(setup: Setup, run: Follower, evidence: str, wanted: Sequence[str], count: int, on: str,
                   granularity: str) -> Result:
    assert setup.as_run is not None
    found = _result(run.comparison, evidence, wanted, count, on, granularity, must_learn=True, line="as-run",
                    passes=setup.as_run.passes)
    if found.variables:
        return found
    why = "the passes leave nothing that can be looked at: declare an output, or record something"
    return replace(found, reasons=(*found.reasons, why))


# ---- the shipped circuits, against the independent reference


def verify_against_reference(circuit: object, steps: int = 20_000, seeds: Sequence[int] = (123, 456),
                             on: str = "native", granularity: str = "network", setup: Setup | None = None,
                             increments: bool = False) -> Result:
    """A circuit against the hand-written torch model: the same start, inputs, gates and draws, all seeds as one batch.
    `setup` gives one's own experiment with this circuit; without it, one that its reference has. Raises V121..V123."""
    require("reference", SIDES)
    oracle = oracle_of(circuit)
    if oracle is None:
        raise refused(type(circuit).__name__)
    setup = setup or oracle.setup(circuit, steps, seeds)
    count, there = min(steps, setup.steps), set(quantities(setup.graph, increments))
    wanted = oracle.wanted(circuit, there)
    got, expected = trajectory(setup, wanted, on, granularity, count, chunk=200), oracle.trajectory(
        circuit, setup, there, count)
    return _compare(setup, got, expected, "independent-reference", wanted, count, on, granularity)


def verify_quantised(setup: Setup, source: Source, steps: int = 20_000, on: str = "native",
                     granularity: str = "network") -> Result:
    """A quantised circuit against the integers that its equations give before they are quantised: every integer of
    every step is equal. Raises V121, V122, V127, V128."""
    wanted, count = quantities(setup.graph), min(steps, setup.steps)
    expected = integers.trajectory(setup, source, wanted, count)
    got = trajectory(setup, wanted, on, granularity, count, chunk=200)
    return _compare(setup, got, expected, "independent-reference", wanted, count, on, granularity, EXACT)
