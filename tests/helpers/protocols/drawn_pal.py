"""Where the oracle of PAL starts: legacy numpy draws in their published order; "section" refers to the specification."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from operator import mul

import numpy
import torch

from cortexc.reference import pal
from cortexc.reference.pal import PalState, Weights, fresh_state, transposed_feedback
from cortexc.reference.pal_parameters import WEIGHTS


@dataclass(frozen=True)
class PalParameters(pal.PalParameters):
    """With what its start is drawn from."""

    init_in_SPS: bool = True
    init_WPP_range: tuple[float, float] = (-1.0, 1.0)
    init_WIP_range: tuple[float, float] = (-1.0, 1.0)
    init_BPP_range: tuple[float, float] = (-1.0, 1.0)
    init_BPI_range: tuple[float, float] = (-1.0, 1.0)


def self_predicting(parameters: PalParameters, weights: Weights) -> Weights:
    """Weights with BPI_i = -BPP_i and WIP_i = (s_{i+1} / s_I) WPP_{i+1} (section 3, SPS)."""
    scales = (above / parameters.dendritic_attenuation for above in parameters.basal_attenuation[1:])
    lateral = list(map(mul, scales, weights.forward[1:]))
    return weights._replace(lateral=lateral, cancelling=[-feedback for feedback in weights.feedback])


def draw_weights(parameters: PalParameters, seed: int) -> Weights:
    """Uniform weights from the legacy generator in the order WPP, WIP, BPP, BPI, then the SPS. S = 1."""
    generator, kinds = numpy.random.RandomState(seed), []
    upward = list(zip(parameters.layers[1:], parameters.layers[:-1], strict=True))
    downward = [(pre, post) for post, pre in upward[1:]]
    for name, shapes in zip(WEIGHTS, (upward, upward[1:], downward, downward), strict=True):
        low, high = getattr(parameters, f"init_{name}_range")
        kinds.append([torch.from_numpy(generator.uniform(low, high, (1, *shape))) for shape in shapes])
    weights = Weights(*kinds)
    if parameters.variant == "BP":
        weights = Weights(*weights[:2], *transposed_feedback(weights.forward))
    return self_predicting(parameters, weights) if parameters.init_in_SPS else weights


def initial_state(parameters: PalParameters, seed: int) -> PalState:
    """Start of one seed, S = 1: N(0, 1) potentials, then weights from the same seed (section 4, RNG)."""
    generator, count = numpy.random.RandomState(seed), len(parameters.layers) - 1
    sizes = parameters.layers[1:] + parameters.layers[2:]
    drawn = [torch.from_numpy(generator.normal(0, 1, size=(1, size))) for size in sizes]
    return fresh_state(parameters, drawn[:count], drawn[count:], draw_weights(parameters, seed))


def stack_states(states: Sequence[PalState]) -> PalState:
    """One state whose batch axis joins those of all `states`, in order."""
    columns = ([getattr(state, field.name) for state in states] for field in fields(PalState))
    return PalState(*([torch.cat(parts) for parts in zip(*column, strict=True)] for column in columns))
