"""What a run does, as data: the plan that every task makes, and what the tasks share.

X122 a gate that is there already; X124 a circuit that lacks what a task needs; X205 no number of steps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from cortexc.compiler.backends.draws import input_columns
from cortexc.compiler.experiments.spikes import Observed
from cortexc.compiler.ir import CortexError, Expression, Graph
from cortexc.compiler.ir.expressions import Binary, Name, Negate
from cortexc.compiler.ir.model import Optimiser
from cortexc.compiler.ir.protocol import Phase, Protocol

RATE, HALVED, UPDATE = "rate", "_halved_", "update"
"""The gate whose value multiplies every increment, what marks the training phases after it was halved, and the gate
at which summed increments are applied."""


def check_steps(steps: object, least: int = 0) -> None:
    """Raises X205 for what is neither a whole number, `least` or more, nor None."""
    if steps is not None and (not is_whole(steps) or steps < least):  # type: ignore[operator]
        raise CortexError("X205", f"steps is {steps!r}; it must be a whole number from {least} up, or None for all of "
                                  "them.")


def is_whole(value: object) -> bool:
    """Whether it is a whole number; True is none."""
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def with_rate(graph: Graph) -> Graph:
    """All increments times the gate `rate`. Raises X122 where there is such a gate already."""
    rules = tuple(replace(rule, increment=_rated(rule.increment)) for rule in graph.rules)
    return graph.with_(gates=_with_gate(graph, RATE, "halve_at"), rules=rules)


def with_updates(graph: Graph) -> Graph:
    """Increments without an optimiser, or with a low-pass, are summed until the gate `update`. Raises X122."""
    changed = {rule.name for rule in graph.rules if rule.optimiser.kind in ("none", "low_pass") and not rule.states}
    rules = tuple(replace(rule, optimiser=Optimiser("accumulate")) if rule.name in changed else rule
                  for rule in graph.rules)
    projections = tuple(replace(q, apply=UPDATE) if graph.class_of(q.name).rule in changed else q
                        for q in graph.projections)
    return graph.with_(gates=_with_gate(graph, UPDATE, "update_every"), rules=rules, projections=projections)


def _with_gate(graph: Graph, gate: str, key: str) -> tuple[str, ...]:
    if gate in graph.gates:
        raise CortexError("X122", f"circuit '{graph.name}' has a gate '{gate}' of its own.",
                          f"Leave out protocol.{key}.")
    return (*graph.gates, gate)


def _rated(expression: Expression) -> Expression:
    match expression:
        case Binary("+" | "-" as operator, left, right):
            return Binary(operator, _rated(left), _rated(right))
        case Binary("*" | "/" as operator, left, right):
            return Binary(operator, _rated(left), right)
        case Negate(operand):
            return Negate(_rated(operand))
    return Binary("*", Name(f"gate.{RATE}"), expression)


@dataclass(frozen=True)
class Part:
    """One run through a phase: steps `start` to `stop` of the protocol, in epoch `epoch` (0-based)."""

    phase: str
    epoch: int
    start: int
    stop: int


@dataclass(frozen=True)
class Plan:
    """`samples`: (rows, columns) in the order of the graph's exogenous inputs. `labels`: phase -> (seeds, count).

    `source` says where the samples come from, `words` what the data call the classes, if not by number. `followed`:
    phase -> activation that makes the recorded target what the output should be. `spiking`: of whom spikes are
    looked at.
    """

    protocol: Protocol
    samples: np.ndarray
    epochs: tuple[int, ...]
    labels: Mapping[str, np.ndarray]
    source: str = ""
    followed: Mapping[str, str] = field(default_factory=dict)
    words: tuple[str, ...] = ()
    spiking: Observed | None = None

    def parts(self) -> Iterator[Part]:
        """Every phase of the sequence with its place in time."""
        lengths, start = {p.name: p.total for p in self.protocol.phases}, 0
        for name, epoch in zip(self.protocol.sequence, self.epochs, strict=True):
            yield Part(name, epoch, start, start + lengths[name])
            start += lengths[name]

    def end_of_epoch(self, count: int) -> int:
        """Position after the first `count` epochs, with the test that follows them, if any; 0: the whole protocol."""
        stops = [part.stop for part in self.parts() if part.epoch < count]
        return stops[-1] if count and stops else self.protocol.total


@dataclass(frozen=True)
class Column:
    """An exogenous input: `key`, `population.name`, fills columns `start` to `stop` of the table of samples."""

    key: str
    start: int
    stop: int

    @property
    def population(self) -> str:
        return self.key.partition(".")[0]

    @property
    def size(self) -> int:
        return self.stop - self.start


def columns(graph: Graph) -> list[Column]:
    """The exogenous inputs of a graph, in the order of the table of samples."""
    return [Column(key, part.start, part.stop) for key, part in input_columns(graph)]


def two_inputs(task: str, graph: Graph) -> tuple[Column, Column]:
    """The first two exogenous inputs, for the sample and the target. Raises X124."""
    found = columns(graph)
    if len(found) < 2:
        raise CortexError("X124", f"task {task} needs a circuit with an input and a target, but '{graph.name}' has "
                                  f"{len(found)} exogenous inputs.")
    return found[0], found[1]


def output(graph: Graph) -> str:
    if not graph.outputs:
        raise CortexError("X124", f"circuit '{graph.name}' names no output.",
                          "Add 'output NAME = population.quantity'.")
    return graph.outputs[0][1]


def with_column(phase: Phase, gate: str, pattern: tuple[float, ...]) -> Phase:
    """The phase with a gate's pattern in place of any other of it."""
    return replace(phase, gates=(*(column for column in phase.gates if column[0] != gate), (gate, pattern)))


def laid_out(before: Sequence[str], epochs: int, phases: Callable[[int], Sequence[str]],
             after: Sequence[str] = ()) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """The sequence of phases and the epoch of each; what is before or after all epochs counts to the first or last."""
    found = [*((name, 0) for name in before), *((name, epoch) for epoch in range(epochs) for name in phases(epoch)),
             *((name, max(epochs - 1, 0)) for name in after)]
    return tuple(name for name, _ in found), tuple(epoch for _, epoch in found)


def validated(epoch: int, every: int) -> list[str]:
    """The validation that belongs to every `every`-th epoch; 0: to none."""
    return ["validation"] if every and epoch % every == 0 else []


def gate_columns(names: Sequence[str]) -> tuple[tuple[str, tuple[float, ...]], ...]:
    return tuple((name, (1.0,)) for name in names)
