"""What a run recorded, as figures: angles between weights, squared errors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from cortexc.compiler.experiments.experiment import Experiment
from cortexc.compiler.experiments.tasks.plans import Plan

Curve = np.ndarray
LISTED = 1000
"""Curves of up to so many rows are listed whole in the results."""


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
        per_epoch = experiment.protocol.curve_rows
        if "/error " in name and len(curve) >= per_epoch > 0:
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
    """Every stream's quantities in user shape, by `STREAM/QUANTITY`, and what was taken of those with a window."""
    whole = {f"{stream.name}/{quantity}": records.rows(stream.name, quantity)
             for stream in plan.protocol.streams for quantity in stream.quantities if not stream.window}
    return whole | records.taken()
