"""State of the error-neuron models and its first values, also those of a recording.

"Section" refers to the error-neuron specification. Every array has a leading batch axis of S seeds: states (S, n),
weights (S, post, pre).
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import NamedTuple

import numpy
import torch
from torch import Tensor

from cortexc.reference.error_neuron_parameters import ACTIVATIONS, DERIVATIVES, ErrorNeuronParameters
from cortexc.reference.pal import Layers


class Weights(NamedTuple):
    """WPP, WIP, BPI and BII or BPP of section 1, (S, post, pre); `noise` is N, added at each copy.

    With skip connections WPP or BII is a list of one matrix, over the input and all areas or over all areas.
    """

    forward: Layers
    lateral: Layers
    returning: Layers
    feedback: Layers
    noise: Layers


@dataclass
class ErrorNeuronState:
    """What a step carries, one tensor per area; `*_old` is the value of one step earlier.

    `pyramidal` cells are R or P; their `partner` is E (errormc), the interneuron (sacramento2018), the rate of
    the last step (dPC) or the propagated error (ann). `*_effective` is u_eff. Lists that a model lacks are
    empty. `GOLDEN_NAMES` gives the symbols. Tensors are replaced, never changed.
    """

    pyramidal_potential: Layers
    partner_potential: Layers
    pyramidal_prospective: Layers
    partner_prospective: Layers
    pyramidal_rate: Layers
    partner_rate: Layers
    slope: Layers
    basal: Layers
    apical: Layers
    dendritic: Layers
    forward: Layers
    lateral: Layers
    returning: Layers
    feedback: Layers
    forward_change: Layers
    lateral_change: Layers
    returning_change: Layers
    pyramidal_potential_old: Layers
    partner_potential_old: Layers
    pyramidal_effective: Layers
    partner_effective: Layers
    feedback_noise: Layers
    input_rate: Layers  # r_0 in a list of one


# Variable of the golden files -> field, in the order of the fields; the feedback is BII or BPP.
SYMBOLS = ["uP", "uI", "uP_breve", "uI_breve", "rP_breve", "rI_breve", "d_rP_breve", "vbas", "vapi", "vden"]
SYMBOLS += ["WPP", "WIP", "BPI", "B", "dWPP", "dWIP", "dBPI"]
GOLDEN_NAMES = dict(zip(SYMBOLS, [field.name for field in fields(ErrorNeuronState)], strict=False))


def activate_area(parameters: ErrorNeuronParameters, area: int, x: Tensor) -> Tensor:
    """phi of the area with index `area`."""
    p = parameters
    return ACTIVATIONS[p.activation[area]](x, p.activation_slope[area], p.activation_offset[area])


def activate(parameters: ErrorNeuronParameters, values: Layers, first: int = 0) -> Layers:
    """phi of each area from `first`; interneurons use that of the area above, hence first = 1."""
    return [activate_area(parameters, area, x) for area, x in enumerate(values, first)]


def slopes(parameters: ErrorNeuronParameters, values: Layers) -> Layers:
    """phi' of each area."""
    names = parameters.derivative or ()
    return [DERIVATIVES[name](value) for name, value in zip(names, values, strict=True)]


def transposed(weight: Tensor) -> Tensor:
    """(S, post, pre) -> (S, pre, post)."""
    return weight.transpose(1, 2).contiguous()


def copied_feedback(parameters: ErrorNeuronParameters, forward: Layers, noise: Layers) -> Layers:
    """B = W^T + N of weight transport (section 4), without N where `noise` is empty.

    BII over all areas keeps its upper triangle with the diagonal, N included (Q3); W^T is zero within areas.
    W^T of a layered pair is cut or filled with zeros to m_l x m_{l+1}.
    """
    p = parameters
    if p.skip_feedback:
        copied = transposed(_over_all_areas(p, forward)) + (noise[0] if noise else 0)
        return [torch.triu(copied)]
    cells = p.partner_sizes if p.mc_model == "errormc" else p.sizes
    pairs = list(zip(cells[:-1], cells[1:], strict=True))
    blocks = list(map(_fitted, map(transposed, hierarchical_blocks(p, forward)[1:]), pairs))
    return list(map(torch.add, blocks, noise)) if noise else blocks


def _fitted(weight: Tensor, shape: tuple[int, int]) -> Tensor:
    """I weight I with rectangular identities: (S, a, b) -> (S, *shape)."""
    rows, columns = map(min, weight.shape[1:], shape)
    fitted = weight.new_zeros(len(weight), *shape)
    fitted[:, :rows, :columns] = weight[:, :rows, :columns]
    return fitted


def _over_all_areas(parameters: ErrorNeuronParameters, forward: Layers) -> Tensor:
    """W between the areas as one matrix, without the input. (S, sum n, sum n)"""
    n0, sizes = parameters.layers[0], parameters.sizes
    if parameters.skip_forward:
        return forward[0][:, n0:, n0:]
    whole = forward[0].new_zeros(len(forward[0]), sum(sizes), sum(sizes))
    for area in range(1, len(sizes)):
        start, middle, end = (sum(sizes[: area + offset]) for offset in (-1, 0, 1))
        whole[:, middle:end, start:middle] = forward[area]
    return whole


def hierarchical_blocks(parameters: ErrorNeuronParameters, forward: Layers) -> Layers:
    """W_{l,l-1} for l = 1 .. L, cut from the one matrix of skip connections where there is one."""
    if not parameters.skip_forward:
        return forward
    edges = numpy.cumsum((0, *parameters.layers)).tolist()
    triples = zip(edges[:-2], edges[1:-1], edges[2:], strict=True)
    return [forward[0][:, middle:end, start:middle].contiguous() for start, middle, end in triples]


def rectangular_identity(like: Tensor) -> Tensor:
    """Ones on the diagonal. (post, pre)"""
    return torch.eye(*like.shape[1:], dtype=torch.float64)


def fresh_state(
    parameters: ErrorNeuronParameters, pyramidal: Layers, partner: Layers, weights: Weights
) -> ErrorNeuronState:
    """State before the first step from potentials (S, n) and weights (section 6, First call)."""
    p, zeros = parameters, [torch.zeros_like(u) for u in pyramidal]
    rate, empty, silent = activate(p, pyramidal), list[Tensor](), [torch.zeros_like(u) for u in partner]
    partner_rate, partner_shown = partner, partner
    if p.mc_model == "errormc":
        partner_rate = [ACTIVATIONS[p.error_activation](u, 1, 0) for u in partner]
    if p.mc_model == "sacramento2018":
        partner_rate = activate(p, partner, 1)
    if p.mc_model == "dPC":
        partner, partner_shown, partner_rate, silent = empty, rate, rate, empty
    changes = [[torch.zeros_like(w) for w in kind] for kind in weights[:3]]
    basal, apical = (empty, empty) if p.mc_model == "ann" else (zeros, zeros[: len(weights.returning)])
    input_rate = [zeros[0].new_zeros(len(zeros[0]), p.layers[0])]
    values: list[Layers] = [pyramidal, partner, pyramidal, partner_shown, rate, partner_rate, slopes(p, pyramidal)]
    values += [basal, apical, silent if p.mc_model != "ann" else empty, *weights[:4], *changes]
    values += [pyramidal, partner, zeros, silent, weights.noise, input_rate]
    return ErrorNeuronState(*values)


def recorded_layers(arrays: Mapping[str, numpy.ndarray], name: str) -> Layers:
    """The arrays `name_0`, `name_1`, ... with a batch axis of 1 in front; empty where there are none."""
    layers: Layers = []
    while (key := f"{name}_{len(layers)}") in arrays:
        layers.append(torch.from_numpy(arrays[key]).unsqueeze(0))
    return layers


def recorded_state(parameters: ErrorNeuronParameters, arrays: Mapping[str, numpy.ndarray]) -> ErrorNeuronState:
    """The state before call 0 of a recording, from its `init_` arrays and the noise of the feedback."""
    feedback = "BII" if parameters.mc_model == "errormc" else "BPP"
    names = ("init_WPP", "init_WIP", "init_BPI", f"init_{feedback}", f"{feedback}_noise")
    weights = Weights(*[recorded_layers(arrays, name) for name in names])
    return fresh_state(parameters, recorded_layers(arrays, "init_uP"), recorded_layers(arrays, "init_uI"), weights)
