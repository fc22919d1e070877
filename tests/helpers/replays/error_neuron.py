"""Replay of recorded error-neuron trajectories through the oracle."""

from dataclasses import replace
from pathlib import Path

import numpy
import torch
from protocols.drawn_error_neuron import ErrorNeuronParameters
from replays.pal import published

from cortexc.reference.error_neuron import reference_model
from cortexc.reference.error_neuron_state import recorded_state


def recorded_parameters(path: str | Path) -> ErrorNeuronParameters:
    """Parameters of a golden file. That of `norep-lookahead` does not hold its option, but its name does."""
    with numpy.load(path) as file:
        parameters = published(ErrorNeuronParameters, str(file["params_json"]))
    return replace(parameters, rep_lookahead=(False,)) if "_norep-lookahead_" in str(path) else parameters


def replay(path: str | Path, parameters: ErrorNeuronParameters | None = None) -> dict[str, numpy.ndarray]:
    """Every variable of the oracle, (T, ...), fed with the inputs, targets, flags and start of a file.

    `parameters` replaces those of the file.
    """
    with numpy.load(path) as file:
        arrays = dict(file)
    parameters = parameters or recorded_parameters(path)
    model, rows = reference_model(parameters, recorded_state(parameters, arrays)), []
    inputs, targets = torch.from_numpy(arrays["r0"]), torch.from_numpy(arrays["target"])
    forward, lateral, feedback = arrays["learn_flags"].tolist()
    for row, given in enumerate(arrays["target_on"].tolist()):
        target = targets[row : row + 1] if given else None
        model.step(inputs[row : row + 1], target, forward, lateral, feedback)
        rows.append(model.snapshot())
    return {name: torch.cat([row[name] for row in rows]).numpy() for name in rows[0]}
