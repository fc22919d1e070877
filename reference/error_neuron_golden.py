"""Where a recorded error-neuron trajectory begins."""

from collections.abc import Mapping

import numpy
import torch

from cortexc.reference import error_neuron_state
from cortexc.reference.error_neuron import ErrorNeuronParameters, ErrorNeuronState
from cortexc.reference.pal_parameters import Layers

Arrays = Mapping[str, numpy.ndarray]


def recorded_layers(arrays: Arrays, name: str) -> Layers:
    """The arrays `name_0`, `name_1`, ... with a batch axis of 1 in front; empty where there are none."""
    layers: Layers = []
    while (key := f"{name}_{len(layers)}") in arrays:
        layers.append(torch.from_numpy(arrays[key]).unsqueeze(0))
    return layers


def recorded_state(parameters: ErrorNeuronParameters, arrays: Arrays) -> ErrorNeuronState:
    """The state before call 0 from the `init_` arrays and the noise of the feedback."""
    feedback = "BII" if parameters.mc_model == "errormc" else "BPP"
    names = ("init_WPP", "init_WIP", "init_BPI", f"init_{feedback}", f"{feedback}_noise")
    weights = error_neuron_state.Weights(*[recorded_layers(arrays, name) for name in names])
    potentials = (recorded_layers(arrays, "init_uP"), recorded_layers(arrays, "init_uI"))
    return error_neuron_state.fresh_state(parameters, *potentials, weights)
