"""What a run does, as data: the plan that every task makes, what the tasks share, and what validations and tests
measured: accuracies, and errors against a target.

X122 a gate that is there already, or steps that no presentation has; X124 a circuit that lacks what a task needs; X205
no number of steps.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from cortexc.compiler.backends.feeding import input_columns
from cortexc.compiler.backends.runtime import due_steps
from cortexc.compiler.experiments.spikes import Observed
from cortexc.compiler.experiments.tables import Count, Length, Table
from cortexc.compiler.ir import CortexError, Expression, Graph
from cortexc.compiler.ir.expressions import Binary, Name, Negate
from cortexc.compiler.ir.functions import VECTOR
from cortexc.compiler.ir.model import Optimiser
from cortexc.compiler.ir.protocol import Phase, Protocol, Stream

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


def one_input(task: str, graph: Graph, features: int, hint: str = "") -> Column:
    """The only exogenous input, which takes the features of the data. Raises X120."""
    sizes = [column.size for column in columns(graph)]
    if sizes != [features]:
        raise CortexError("X120", f"circuit '{graph.name}' has exogenous inputs of {sizes} cells; task {task} needs "
                                  f"one with the {features} features of the data.", hint)
    return columns(graph)[0]


def check_gates(task: str, graph: Graph, gates: Sequence[str], hint: str) -> None:
    """Raises X124 where the circuit lacks some."""
    if missing := [gate for gate in gates if gate not in graph.gates]:
        raise CortexError("X124", f"task {task} needs gates that '{graph.name}' does not have: {', '.join(missing)}.",
                          hint)


def read_in(phases: Iterable[str], quantity: str) -> tuple[Stream, ...]:
    """The streams in which a quantity is scored, one per phase."""
    return tuple(Stream(f"{READOUT}{name}", (quantity,)) for name in phases)


def pulse(steps: int, first: int, last: int | None = None) -> tuple[float, ...]:
    """1 in one of so many steps, or in those before `last`, 0 in the others; -1 is the last one."""
    on = np.zeros(steps)
    on[first:last or (first % steps) + 1] = 1.0
    return tuple(on.tolist())


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


def after_epochs(epochs: int, every: int) -> Callable[[int], list[str]]:
    """The training of each epoch, and a test after every `every`-th but the last; 0: after none."""
    return lambda epoch: ["train", *["test"] * (every > 0 and (epoch + 1) % every == 0 and epoch + 1 < epochs)]


def gate_columns(names: Sequence[str]) -> tuple[tuple[str, tuple[float, ...]], ...]:
    return tuple((name, (1.0,)) for name in names)


# ---- gates that are on in some steps of a presentation

TRAINING = ("train", "run")
"""What the phases in which a circuit is trained are called, or begin with."""


class When(Table, frozen=True, rename={"from_": "from"}):
    """Steps of every presentation: those listed in `at` (-1 is the last one); or `from` one on, `until` before another,
    `every` so many steps."""

    at: list[int] | None = None
    from_: Count = 0
    until: Length | None = None
    every: Length = 1

    def pattern(self, who: str, steps: int) -> tuple[float, ...]:
        """0 or 1 in each of so many steps. Raises X122."""
        on = np.zeros(steps)
        if self.at is None:
            on[self.from_:self.until:self.every] = 1.0
        elif self.from_ or self.until or self.every > 1 or any(not -steps <= step < steps for step in self.at):
            raise CortexError("X122", f"{who} is at {self.at} from {self.from_} until {self.until} every {self.every}; "
                                      f"a presentation has {steps} steps.",
                              "Give steps of it, or from, until and every.")
        else:
            on[self.at] = 1.0
        return tuple(on.tolist())


def scheduled(plan: Plan, schedule: Mapping[str, When]) -> Plan:
    """The plan with the gates of a schedule in the phases in which the circuit is trained. Raises X122."""
    phases = plan.protocol.phases
    for gate, when in schedule.items():
        phases = tuple(
            with_column(phase, gate, when.pattern(f"protocol.schedule.{gate}", phase.steps))
            if phase.name.startswith(TRAINING) else phase for phase in phases)
    return replace(plan, protocol=replace(plan.protocol, phases=phases))


# ---- what was measured

READOUT, ERRORS = "readout_", "error_"
"""Prefixes of the streams that are scored, and of those from which errors are computed; the rest is the phase."""
TARGET = "teacher.rate"
MOST_CLASSES = 100
"""Classes of which confusions are counted."""


@dataclass(frozen=True)
class Measured:
    """`values` per seed of one validation or test that has been completed; `position` is the step it ended at."""

    phase: str
    epoch: int
    position: int
    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        return float(np.mean(self.values))


def scores(plan: Plan, records: Any, position: int) -> list[Measured]:
    """All completed validations and tests. The score of a sample is the mean of its readouts; the largest wins."""
    return completed(plan, plan.labels, position, lambda part, index: _accuracy(plan, records, part, index))


def deviations(plan: Plan, records: Any, position: int) -> list[Measured]:
    """The error of every completed validation and test."""
    return completed(plan, plan.followed, position, lambda part, index: _error(plan, records, part, index))


def completed(plan: Plan, phases: Container[str], position: int,
              measure: Callable[[Part, int], tuple[float, ...]]) -> list[Measured]:
    """Of every part of these phases that has been run, what is measured of it and its place among those alike."""
    found, seen = [], Counter[str]()
    for part in plan.parts():
        if part.phase in phases and part.stop <= position:
            found.append(Measured(part.phase, part.epoch, part.stop, measure(part, seen[part.phase])))
            seen[part.phase] += 1
    return found


def _accuracy(plan: Plan, records: Any, part: Part, index: int) -> tuple[float, ...]:
    pairs = zip(_answers(plan, records, part, index), plan.labels[part.phase], strict=True)
    return tuple(float(np.mean(own == right)) if own.size else float("nan") for own, right in pairs)


def confusion(plan: Plan, records: Any, position: int) -> list[list[list[int]]]:
    """Of the last completed test, per seed: how many samples of each class (rows) got each answer (columns); nothing
    for more than `MOST_CLASSES`."""
    tests = [part for part in plan.parts() if part.phase == "test" and part.stop <= position]
    if not tests or not (labels := plan.labels["test"]).size:
        return []
    found = _answers(plan, records, tests[-1], len(tests) - 1)
    classes = max(int(labels.max()), int(found.max())) + 1
    if classes > MOST_CLASSES:
        return []
    counts = np.zeros((len(labels), classes, classes), int)
    np.add.at(counts, (np.arange(len(labels))[:, None], labels, found), 1)
    return list(counts.tolist())


def _answers(plan: Plan, records: Any, part: Part, index: int) -> np.ndarray:
    """(seeds, samples): the class with the largest score."""
    return readouts(plan, records, part, index).argmax(axis=-1)


def readouts(plan: Plan, records: Any, part: Part, index: int) -> np.ndarray:
    """(seeds, samples, classes): the mean over the instants at which the output is read; `index`: which of the phase's
    parts. What fills up the last minibatch is left out."""
    labels, phase, stream = plan.labels[part.phase], _phase(plan, part.phase), f"{READOUT}{part.phase}"
    instants, count = len(dict(phase.records)[stream].at), phase.count
    if count == 0:
        return np.zeros((len(labels), 0, 1))
    rows = recorded(plan, records, stream, index, count * instants)
    output = rows.reshape(count, instants, *rows.shape[1:]).mean(axis=1)
    per_seed = output.reshape(count, len(labels), -1, output.shape[-1]).swapaxes(0, 1)
    if not phase.rows:
        return np.asarray(per_seed[:, :, 0])
    return np.asarray(per_seed.reshape(len(labels), -1, output.shape[-1])[:, :labels.shape[1]])


def _error(plan: Plan, records: Any, part: Part, index: int) -> tuple[float, ...]:
    stream, phase = f"{ERRORS}{part.phase}", _phase(plan, part.phase)
    rows = len(due_steps(asdict(dict(phase.records)[stream]), {"steps": phase.steps}, 0, phase.total))
    shown = recorded(plan, records, stream, index, rows)
    target = records.rows(stream, TARGET)[index * rows:(index + 1) * rows]
    squares = ((shown - VECTOR[plan.followed[part.phase]](target)) ** 2).sum(axis=-1)
    return tuple(float(value) for value in np.ascontiguousarray(squares.T).mean(axis=1))  # a batch's bits are its runs'


def _phase(plan: Plan, name: str) -> Phase:
    return next(each for each in plan.protocol.phases if each.name == name)


def recorded(plan: Plan, records: Any, stream: str, index: int = 0, rows: int | None = None) -> np.ndarray:
    """Rows of a stream's first quantity: all, or the `index`-th so many of them."""
    quantity = next(each for each in plan.protocol.streams if each.name == stream).quantities[0]
    found: np.ndarray = records.rows(stream, quantity)
    return found if rows is None else found[index * rows:(index + 1) * rows]
