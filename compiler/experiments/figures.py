"""What a run recorded, as figures: accuracy, angles between weights, squared errors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from compiler.experiments.tables import Experiment
from compiler.experiments.tasks.classify import READOUT
from compiler.experiments.tasks.plans import Part, Plan

Curve = np.ndarray
LISTED = 1000
"""Curves of up to so many rows are listed whole in the results."""


@dataclass(frozen=True)
class Score:
    """`accuracy` per seed of one validation or test that has been completed; `position` is the step it ended at."""

    phase: str
    epoch: int
    position: int
    accuracy: tuple[float, ...]

    @property
    def mean(self) -> float:
        return float(np.mean(self.accuracy))


def scores(plan: Plan, experiment: Experiment, records: Any, position: int) -> list[Score]:
    """All completed validations and tests. The score of a sample is the mean of its readouts; the largest wins."""
    found: list[Score] = []
    seen: dict[str, int] = {}
    for part in plan.parts():
        if part.phase not in plan.labels or part.stop > position:
            continue
        index = seen[part.phase] = seen.get(part.phase, -1) + 1
        accuracy = _accuracy(plan, experiment, records, part, index)
        found.append(Score(part.phase, part.epoch, part.stop, accuracy))
    return found


def _accuracy(plan: Plan, experiment: Experiment, records: Any, part: Part, index: int) -> tuple[float, ...]:
    labels = plan.labels[part.phase]
    phase = next(p for p in plan.protocol.phases if p.name == part.phase)
    instants, count = len(dict(phase.records)[f"{READOUT}{part.phase}"].at), phase.count
    if count == 0:
        return tuple(float("nan") for _ in labels)
    stream = next(s for s in plan.protocol.streams if s.name == f"{READOUT}{part.phase}")
    rows = records.rows(stream.name, stream.quantities[0])[index * count * instants:(index + 1) * count * instants]
    output = rows.reshape(count, instants, *rows.shape[1:]).mean(axis=1)
    chosen = output.argmax(axis=-1)
    samples = output.shape[1] // len(labels)
    per_seed = chosen.reshape(count, len(labels), samples).swapaxes(0, 1)
    answers = per_seed.reshape(len(labels), -1)[:, :labels.shape[1]] if phase.rows else per_seed[:, :, 0]
    return tuple(float(np.mean(answers[i] == labels[i])) for i in range(len(labels)))


# ---- curves


def angle(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Degrees between matrices under the Frobenius product; over the last two axes. nan where one is 0."""
    with np.errstate(all="ignore"):
        product = (first * second).sum((-2, -1))
        norms = np.sqrt((first ** 2).sum((-2, -1))) * np.sqrt((second ** 2).sum((-2, -1)))
        return np.degrees(np.arccos(np.clip(product / norms, -1, 1)))


def transpose_angle(records: Any, stream: str, feedback: str, forward: str) -> Curve:
    """Angle between B and W^T, degrees: (rows, seeds)."""
    return angle(records.rows(stream, feedback), records.rows(stream, forward).swapaxes(-1, -2))


def squared_error(records: Any, stream: str, first: str, second: str) -> Curve:
    """Squared difference, averaged over cells: (rows, batch)."""
    return ((records.rows(stream, first) - records.rows(stream, second)) ** 2).mean(axis=-1)


def curves(experiment: Experiment, records: Any) -> dict[str, Curve]:
    """`STREAM/angle B W` and `STREAM/error A B` for what [record] asks for: (rows, seeds)."""
    result: dict[str, Curve] = {}
    for stream, table in experiment.record.items():
        for feedback, forward in table.angles:
            result[f"{stream}/angle {feedback} {forward}"] = transpose_angle(records, stream, feedback, forward)
        for first, second in table.errors:
            result[f"{stream}/error {first} {second}"] = squared_error(records, stream, first, second)
    return result


def summaries(experiment: Experiment, found: Mapping[str, Curve]) -> dict[str, Any]:
    """Per curve: rows, the first and last value of each seed, and for errors the mean over the last epoch."""
    result = {}
    for name, curve in found.items():
        entry: dict[str, Any] = {"rows": len(curve)}
        if len(curve):
            entry |= {"first": curve[0].tolist(), "last": curve[-1].tolist()}
        if len(curve) <= LISTED:
            entry["values"] = curve.tolist()
        per_epoch = experiment.protocol.dataset_size
        if "/error " in name and experiment.protocol.task == "fw_bw" and len(curve) >= per_epoch > 0:
            entry["last_epoch"] = curve[-per_epoch:].mean(axis=0).tolist()
        result[name] = entry
    return result


def epoch_means(curve: Curve, per_epoch: int) -> Curve:
    """(epochs, seeds): means over the completed epochs of `per_epoch` rows each."""
    epochs = len(curve) // per_epoch if per_epoch else 0
    if epochs == 0:
        return np.zeros((0, *curve.shape[1:]))
    return curve[:epochs * per_epoch].reshape(epochs, per_epoch, *curve.shape[1:]).mean(axis=1)


def recorded_arrays(plan: Plan, records: Any) -> dict[str, np.ndarray]:
    """Every stream's quantities in user shape, by `STREAM/QUANTITY`."""
    return {f"{stream.name}/{quantity}": records.rows(stream.name, quantity)
            for stream in plan.protocol.streams for quantity in stream.quantities}
