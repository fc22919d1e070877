"""Replay of recorded PAL trajectories through the oracle, and their comparison."""

import json
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy
import torch
from protocols import drawn_pal

from cortexc.reference import pal
from cortexc.reference.error_neuron_state import recorded_layers

Arrays = Mapping[str, numpy.ndarray]


RENAMED = {"tauxi": "tau_xi", "tauHP": "tau_HP", "tauLO": "tau_LO", "noise_scale": "sigma", "model_type": "variant"}
"""Published option -> parameter, where they differ."""


def published(kind: type[Any], text: str) -> Any:
    """Parameters of an oracle from a published configuration: those of its options that the oracle has."""
    names = {field.name for field in fields(kind)}
    options = {RENAMED.get(name, name) if kind is drawn_pal.PalParameters else name: value
               for name, value in json.loads(text).items()}
    chosen = {name: tuple(value) if isinstance(value, list) else value
              for name, value in options.items() if name in names}
    if isinstance(chosen["activation"], str):
        chosen["activation"] = (chosen["activation"],)
    if chosen.get("variant") in ("FA", "BP"):
        chosen.pop("dWPP_low_pass", None)  # the published base class never reads the option
    return kind(**chosen)


def recorded_state(parameters: pal.PalParameters, arrays: Arrays) -> pal.PalState:
    """The state before call 0 from the `init_` arrays; what a file of FA or BP lacks starts afresh."""
    found = {field: recorded_layers(arrays, f"init_{name}") for name, field in pal.GOLDEN_NAMES.items()}
    weights = pal.Weights(*(found[field] for field in pal.Weights._fields))
    start = pal.fresh_state(parameters, found["pyramidal_potential"], found["interneuron_potential"], weights)
    return replace(start, **{field: layers for field, layers in found.items() if layers})


def replay(path: str | Path, parameters: pal.PalParameters | None = None) -> dict[str, numpy.ndarray]:
    """Every variable of the oracle, (T, ...), fed with the inputs, targets, flags, draws and start of a file.

    `parameters` replaces those of the file. A target row of NaN means no target.
    """
    with numpy.load(path) as file:
        arrays = dict(file)
    parameters = parameters or published(drawn_pal.PalParameters, str(arrays["params_json"]))
    model, rows = pal.PalReference(parameters, recorded_state(parameters, arrays)), []
    inputs, targets = torch.from_numpy(arrays["r0"]), torch.from_numpy(arrays["u_tgt"])
    white = recorded_layers(arrays, "white")
    for row, (forward, lateral, feedback) in enumerate(arrays["flags"].tolist()):
        target = None if targets[row].isnan().all() else targets[row : row + 1]
        draws = [draw[:, row] for draw in white]
        model.step(inputs[row : row + 1], target, forward, lateral, feedback, draws)
        rows.append(model.snapshot())
    return {name: torch.cat([row[name] for row in rows]).numpy() for name in rows[0]}


def compare(recorded: Arrays, computed: Arrays) -> dict[str, tuple[float, float]]:
    """(largest absolute, largest relative error) of every variable in both; a NaN is an infinite error.

    Each component's error is relative to its range over the run (axis 0), or to its magnitude where it stays
    constant; where it is zero throughout only the absolute error counts, and the relative is 0.
    """
    errors = {}
    for name in sorted(recorded.keys() & computed.keys()):
        truth = recorded[name]
        if truth.shape != computed[name].shape:
            raise ValueError(f"{name}: recorded {truth.shape}, computed {computed[name].shape}")
        error = numpy.nan_to_num(abs(truth - computed[name]), nan=numpy.inf).max(0)
        span, size = numpy.ptp(truth, axis=0), abs(truth).max(0)
        scale = numpy.where(span > 0, span, size)
        relative = numpy.divide(error, scale, out=numpy.zeros_like(error), where=scale > 0)
        errors[name] = (float(error.max()), float(relative.max()))
    return errors
