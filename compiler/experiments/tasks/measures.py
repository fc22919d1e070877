"""What validations and tests measured: accuracies, and errors against a target."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Container
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from cortexc.compiler.backends.runtime import due_steps
from cortexc.compiler.experiments.tasks.plans import Part, Plan
from cortexc.compiler.ir.functions import VECTOR
from cortexc.compiler.ir.protocol import Phase

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
    rows = records.rows(stream, _quantity(plan, stream))[index * count * instants:(index + 1) * count * instants]
    output = rows.reshape(count, instants, *rows.shape[1:]).mean(axis=1)
    per_seed = output.reshape(count, len(labels), -1, output.shape[-1]).swapaxes(0, 1)
    if not phase.rows:
        return np.asarray(per_seed[:, :, 0])
    return np.asarray(per_seed.reshape(len(labels), -1, output.shape[-1])[:, :labels.shape[1]])


def _error(plan: Plan, records: Any, part: Part, index: int) -> tuple[float, ...]:
    stream, phase = f"{ERRORS}{part.phase}", _phase(plan, part.phase)
    rows = len(due_steps(asdict(dict(phase.records)[stream]), {"steps": phase.steps}, 0, phase.total))
    shown, target = (records.rows(stream, quantity)[index * rows:(index + 1) * rows]
                     for quantity in (_quantity(plan, stream), TARGET))
    squares = ((shown - VECTOR[plan.followed[part.phase]](target)) ** 2).sum(axis=-1)
    return tuple(float(value) for value in np.ascontiguousarray(squares.T).mean(axis=1))  # a batch's bits are its runs'


def _phase(plan: Plan, name: str) -> Phase:
    return next(each for each in plan.protocol.phases if each.name == name)


def _quantity(plan: Plan, stream: str) -> str:
    return next(each for each in plan.protocol.streams if each.name == stream).quantities[0]
