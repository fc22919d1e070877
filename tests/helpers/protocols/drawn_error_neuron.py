"""Where the oracle of the error-neuron models starts: legacy numpy draws in their published order.

"Section" refers to the error-neuron specification; its section 7 leaves open what `draw_weights` and
`draw_feedback_noise` say in full.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from operator import mul
from typing import Any

import numpy
import torch
from torch import Tensor

from cortexc.reference import error_neuron
from cortexc.reference.error_neuron_state import (
    ErrorNeuronState,
    Weights,
    copied_feedback,
    fresh_state,
    rectangular_identity,
    transposed,
)
from cortexc.reference.pal import Layers

Range = tuple[float, float]


@dataclass(frozen=True)
class ErrorNeuronParameters(error_neuron.ErrorNeuronParameters):
    """With what its start is drawn from. WT_noise: half-width of the fixed misalignment of copied feedback."""

    WT_noise: float = 0.0
    init_in_SPS: bool = True
    init_realistic_connectivity: bool = False
    init_WPP_range: Range = (-1.0, 1.0)
    init_WIP_range: Range = (-1.0, 1.0)
    init_BPP_range: Range = (-1.0, 1.0)
    init_BPI_range: Range = (-1.0, 1.0)
    init_BII_range: Range = (-1.0, 1.0)
    WPP_skip_connection_range: Range = (-1.0, 1.0)
    BII_skip_connection_range: Range = (-1.0, 1.0)


def self_predicting(parameters: ErrorNeuronParameters, weights: Weights) -> Weights:
    """The ideal start of sacramento2018 and dPC (sections 3.2, 3.3).

    sacramento2018: BPI = -BPP, WIP_l = (c_{l+1} / s) WPP_{l+1}, s the dendritic attenuation.
    dPC: BPI_l = -c_{l+1} BPP_l WPP_{l+1}.
    """
    attenuation, above = parameters.basal_attenuation[1:], weights.forward[1:]
    if parameters.mc_model == "dPC":
        loops = [(b.unsqueeze(3) * w.unsqueeze(1)).sum(2) for b, w in zip(weights.feedback, above, strict=True)]
        return weights._replace(returning=[-c * loop for c, loop in zip(attenuation, loops, strict=True)])
    scales = [c / parameters.dendritic_attenuation for c in attenuation]
    returning = [-feedback for feedback in weights.feedback]
    return weights._replace(lateral=list(map(mul, scales, above)), returning=returning)


def _uniform(generator: Any, bounds: Sequence[float], shape: tuple[int, int], factor: float = 1) -> Tensor:
    low, high = bounds
    return torch.from_numpy(generator.uniform(factor * low, factor * high, (1, *shape)))


def draw_skip(generator: Any, sizes: Sequence[int], near: Sequence[float], far: Sequence[float]) -> Tensor:
    """Strictly upper block-triangular matrix over `sizes`. (1, sum, sum)

    For each k: block (k, k + 1) from `near`; then from `far` the rectangle of the rows of *all* blocks up to
    k and the columns of all blocks after k + 1, which writes over part of the earlier rectangles.
    """
    edges = numpy.cumsum((0, *sizes)).tolist()
    whole = torch.zeros(1, edges[-1], edges[-1], dtype=torch.float64)
    for start, middle, end in zip(edges[:-2], edges[1:-1], edges[2:], strict=True):
        whole[:, start:middle, middle:end] = _uniform(generator, near, (middle - start, end - middle))
        whole[:, :middle, end:] = _uniform(generator, far, (middle, edges[-1] - end))
    return whole


def draw_realistic(parameters: ErrorNeuronParameters, generator: Any) -> tuple[Tensor, Tensor]:
    """WPP over input and areas, then BII over the areas, with realistic strengths (section 5).

    All (target, source) blocks are drawn, row by row; ranges are 0 where the strength is, within an area, above
    the diagonal of WPP and below that of BII.
    """
    p, strengths = parameters, numpy.array(parameters.area_strengths)
    forward = _draw_blocks(generator, p.layers, p.init_WPP_range, numpy.tril(strengths, -1))
    cells, downward = p.partner_sizes, numpy.triu(strengths[1:, 1:], 1)
    return forward, _draw_blocks(generator, cells, p.init_BII_range, downward)


def _draw_blocks(generator: Any, sizes: Sequence[int], bounds: Sequence[float], factors: numpy.ndarray) -> Tensor:
    rows = []
    for target, row in zip(sizes, factors.tolist(), strict=True):
        blocks = [_uniform(generator, bounds, (target, n), f) for n, f in zip(sizes, row, strict=True)]
        rows.append(torch.cat(blocks, 2))
    return torch.cat(rows, 1)


def draw_weights(parameters: ErrorNeuronParameters, seed: int) -> Weights:
    """Uniform weights in the order WPP, WIP, BPP, BPI, BII from the legacy generator; noise empty. S = 1.

    WIP: not in ann, nor here in dPC. BPP: sacramento2018, dPC and ann, and only in FA; in BP, where copies
    replace it, nothing is drawn. BPI: not in ann. BII: errormc in FA. WIP and BPI of errormc add the identity.
    Realistic draws take WPP from a first and BII from a second call of `draw_realistic`.
    """
    p, generator, model = parameters, numpy.random.RandomState(seed), parameters.mc_model
    upward = list(zip(p.layers[1:], p.layers[:-1], strict=True))
    twins = list(zip(p.sizes, p.partner_sizes, strict=False))  # errormc: m_l beside n_l; else n_{l+1}
    forward = _draw_forward(p, generator, upward)
    lateral, returning, feedback = list[Tensor](), list[Tensor](), list[Tensor]()
    if model in ("errormc", "sacramento2018"):
        lateral = [_uniform(generator, p.init_WIP_range, (m, n)) for n, m in twins]
    if model != "errormc" and p.model_type == "FA":
        feedback = [_uniform(generator, p.init_BPP_range, (pre, post)) for post, pre in upward[1:]]
    if model != "ann":
        shapes = [(n, n) for n in p.sizes[:-1]] if model == "dPC" else twins
        returning = [_uniform(generator, p.init_BPI_range, shape) for shape in shapes]
    if model == "errormc":
        lateral, returning = ([w + rectangular_identity(w) for w in kind] for kind in (lateral, returning))
    if model == "errormc" and p.model_type == "FA":
        feedback = _draw_error_feedback(p, generator)
    return Weights(forward, lateral, returning, feedback, [])


def _draw_forward(p: ErrorNeuronParameters, generator: Any, shapes: list[tuple[int, int]]) -> Layers:
    if p.init_realistic_connectivity:
        return [draw_realistic(p, generator)[0]]
    if p.skip_forward:  # drawn as its transpose
        return [transposed(draw_skip(generator, p.layers, p.init_WPP_range, p.WPP_skip_connection_range))]
    return [_uniform(generator, p.init_WPP_range, shape) for shape in shapes]


def _draw_error_feedback(p: ErrorNeuronParameters, generator: Any) -> Layers:
    if p.init_realistic_connectivity:
        return [draw_realistic(p, generator)[1]]
    if p.skip_feedback:
        return [draw_skip(generator, p.partner_sizes, p.init_BII_range, p.BII_skip_connection_range)]
    shapes = zip(p.partner_sizes[:-1], p.partner_sizes[1:], strict=True)
    return [_uniform(generator, p.init_BII_range, shape) for shape in shapes]


def draw_feedback_noise(parameters: ErrorNeuronParameters, generator: Any) -> tuple[Layers, Layers]:
    """N of the initial B and N of every later copy, uniform in +-WT_noise, from the class generator. S = 1.

    One matrix per B, all the same later; only layered errormc draws the list L - 1 times: the initial B_i
    has the i-th matrix of the i-th list, later copies the last list. None is drawn in FA and ann.
    """
    p, bounds = parameters, (-parameters.WT_noise, parameters.WT_noise)
    if p.model_type == "FA" or p.mc_model == "ann":
        return [], []
    if p.skip_feedback:
        whole = [_uniform(generator, bounds, (sum(p.partner_sizes), sum(p.partner_sizes)))]
        return whole, whole
    cells = p.partner_sizes if p.mc_model == "errormc" else p.sizes
    shapes = list(zip(cells[:-1], cells[1:], strict=True))
    rounds = len(shapes) if p.mc_model == "errormc" else 1
    lists = [[_uniform(generator, bounds, shape) for shape in shapes] for _ in range(rounds)]
    if not lists:
        return [], []
    return [lists[min(i, rounds - 1)][i] for i in range(len(shapes))], lists[-1]


def initial_weights(parameters: ErrorNeuronParameters, seed: int, noise_seed: int | None = None) -> Weights:
    """Weights of one seed, S = 1: drawn, in BP with the first copy B = W^T + N, then self-predicting."""
    generator = numpy.random.RandomState(seed if noise_seed is None else noise_seed)
    first, later = draw_feedback_noise(parameters, generator)
    weights = draw_weights(parameters, seed)._replace(noise=later)
    if parameters.model_type == "BP":
        weights = weights._replace(feedback=copied_feedback(parameters, weights.forward, first))
    ideal = parameters.init_in_SPS and parameters.mc_model in ("sacramento2018", "dPC")
    return self_predicting(parameters, weights) if ideal else weights


def initial_state(parameters: ErrorNeuronParameters, seed: int, noise_seed: int | None = None) -> ErrorNeuronState:
    """Start of one seed, S = 1: N(0, 1) potentials, then weights from the same seed (section 7).

    noise_seed: seed of the class generator, that of the network unless a configuration leaves it at 123.
    """
    generator, sizes = numpy.random.RandomState(seed), parameters.sizes + parameters.partner_sizes
    drawn = [torch.from_numpy(generator.normal(0, 1, size=(1, size))) for size in sizes]
    weights = initial_weights(parameters, seed, noise_seed)
    return fresh_state(parameters, drawn[: parameters.areas], drawn[parameters.areas :], weights)


def stack_states(states: Sequence[ErrorNeuronState]) -> ErrorNeuronState:
    """One state whose batch axis joins those of all `states`, in order."""
    columns = ([getattr(state, field.name) for state in states] for field in fields(ErrorNeuronState))
    joined = ([torch.cat(parts) for parts in zip(*column, strict=True)] for column in columns)
    return ErrorNeuronState(*joined)
