"""PAL's layer model: errors in variables of their own, learned backward weights, minibatches (Max et al. 2024, Fig 5).

Equations and order: specs/pal.md 5.3. Layers n_0 .. n_N; `L1` .. `LN` are the cells above the `input`. A cell sends the
rate and the error of one step before, so that both travel one layer per step. Its rate is phi of what drives it now:
the look-ahead cancels the membrane, whose potential `u` nobody reads. Weights `W_l` and biases `b_l` of layer l move
with its error e_l; `B_l` takes it down to layer l - 1, where it is multiplied by phi'. Variants: PAL learns B from
noise xi in the layer below and high-passed rates of its own; FA keeps it; BP copies the transpose of W (a mirror); DFA
takes the output's error to every layer, without delay. Between feature maps, weights are kernels, whose increments are
summed over their positions and whose B is fixed; the bias of a map moves with the mean over them.

A layer `m2` is one of cells (`strongest`) with a dendrite per pixel, on which lists of single synapses end. It sends on
the largest rate with noise of its own, and takes its error down to the pixel that it followed, within the step; what B
above it learns from is its noise and that pixel's. Pixels whose sigma is 0 have no noise at all.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from cortexc.compiler.ir import CortexError, Graph, Mirror, Noise, Population, Projection, parse_graph
from cortexc.compiler.ir.functions import ACTIVATIONS
from cortexc.compiler.ir.model import Array, Convolution, weight_shape
from cortexc.compiler.microcircuits.layered_pal_cells import NOISELESS, SLOPES, cells, rules, synapses
from cortexc.compiler.microcircuits.layers import Layer, read_layers
from cortexc.compiler.microcircuits.parts import check_activations, check_words, hyphenated, repeated
from cortexc.compiler.microcircuits.starts import Arrays, numbered_generator, without_ranges

VARIANTS = ("PAL", "FA", "BP", "DFA")
GATES = ("learn_forward", "learn_feedback", "noise", "target")


@dataclass(frozen=True)
class LayeredPal:
    """Everything that fixes the circuit. Rates in 1/ms, times in ms (specs/pal.md 5.3).

    layers: see `compiler.microcircuits.layers`. Lists have an entry per layer of cells: activation, eta_fw, sigma (of
    the noise), and eta_bw, alpha of the B that begins there. Increments of a minibatch's samples are summed, so that a
    mean takes rates divided by their number. beta: strength of the target. reconstructs: the target is the input, and
    there is no teacher.
    """

    layers: tuple[int | str, ...]
    variant: str = "PAL"
    activation: tuple[str, ...] = ("tanh",)
    eta_fw: tuple[float, ...] = (1.0,)
    eta_bw: tuple[float, ...] = (1.0,)
    alpha: tuple[float, ...] = (1e-4,)
    sigma: tuple[float, ...] = (0.0,)
    beta: float = 0.1
    reconstructs: bool = False
    dt: float = 0.1
    tau: float = 10.0
    tau_xi: float = 1.0
    tau_HP: float = 1.0
    noise: str = "counter"
    arrays: dict[str, np.ndarray] = field(default_factory=dict, compare=False)

    @property
    def shapes(self) -> list[Layer]:
        """The input and layers 1 .. N."""
        return read_layers(self.layers, strongest=True)

    @property
    def top(self) -> int:
        """N, the number of layers of cells."""
        return len(self.shapes) - 1

    def per_layer(self, name: str) -> list[Any]:
        """Values of layers 1 .. N. Raises E303."""
        return repeated("E303", name, getattr(self, name), self.top)

    def noiseless(self, i: int) -> bool:
        """Whether layer i is one of pixels without noise."""
        followed = 0 < i < self.top and self.shapes[i + 1].strongest > 0
        return followed and self.variant == "PAL" and self.per_layer("sigma")[i - 1] == 0


def build(circuit: LayeredPal) -> Graph:
    """The graph with the given arrays (`W_1.w`, `b_1.w`, `B_2.w` ...). Raises E301, E303, E310."""
    _check(circuit)
    names = [_cell_name(circuit, i) + NOISELESS * (circuit.noiseless(i) or circuit.noiseless(i - 1))
             for i in range(1, circuit.top + 1)]
    text = cells(names, circuit.variant) + rules(circuit.variant) + synapses(circuit.shapes[1:], circuit.variant)
    return parse_graph(text).with_(
        name=hyphenated("layered-pal", circuit.layers), dt=circuit.dt, gates=GATES,
        populations=tuple(_populations(circuit, names)), projections=tuple(_projections(circuit)),
        mirrors=tuple(_mirrors(circuit)), noise=Noise(circuit.noise), outputs=(("output", f"L{circuit.top}.rate"),),
        arrays=_lists(circuit) | circuit.arrays)


def _check(circuit: LayeredPal) -> None:
    check_words("E301", ("variant of circuit 'layered-pal'", circuit.variant, VARIANTS))
    check_activations("E301", circuit.activation, ACTIVATIONS)
    below = zip(circuit.per_layer("activation"), circuit.shapes[2:], strict=False)
    check_activations("E301", [phi for phi, layer in below if layer.strongest], SLOPES)
    sizes = [layer.size for layer in (circuit.shapes[0], circuit.shapes[-1])]
    if circuit.reconstructs and sizes[0] != sizes[1]:
        raise CortexError("E310", f"layers {list(circuit.layers)}: {sizes[1]} output cells cannot reconstruct "
                                  f"{sizes[0]} inputs.", "Make them as many, or leave out model.reconstructs.")


def _cell_name(circuit: LayeredPal, i: int) -> str:
    shapes, activations = circuit.shapes, circuit.per_layer("activation")
    if shapes[i].strongest:
        return f"strongest_{activations[i - 2]}_{shapes[i].strongest}"
    if i == circuit.top:
        return f"output_{activations[i - 1]}"
    return f"{'followed' if shapes[i + 1].strongest else 'hidden'}_{activations[i - 1]}"


def _populations(circuit: LayeredPal, names: list[str]) -> list[Population]:
    c, shapes, sigma = circuit, circuit.shapes, circuit.per_layer("sigma")
    result = [Population("input", "source", shapes[0].size, "input")]
    for i, layer in enumerate(shapes[1:], 1):
        values = {} if layer.strongest else {"tau": c.tau}
        values |= {"beta": c.beta} if i == c.top else {}
        if c.variant == "PAL" and not c.noiseless(i):
            values |= dict(sigma=sigma[i - 1], tau_xi=c.tau_xi) | ({} if layer.strongest else
                                                                   {"tau_high_pass": c.tau_HP})
        result.append(Population(f"L{i}", names[i - 1], layer.size, f"layer{i}", tuple(values.items())))
    counts = dict.fromkeys(_positions(layer) for layer in shapes[1:] if not layer.strongest)
    teacher = [] if c.reconstructs else [Population("teacher", "source", shapes[-1].size, f"layer{c.top}")]
    return [*result, *teacher, *(Population(f"ones_{count}", "constant", count, "input") for count in counts)]


def _positions(layer: Layer) -> int:
    """Cells that share a bias."""
    return layer.convolution.positions if layer.convolution else 1


def _projections(circuit: LayeredPal) -> list[Projection]:
    shapes, result = circuit.shapes, list[Projection]()
    for i, layer in enumerate(shapes[1:], 1):
        result += _taps(circuit, i) if layer.strongest else _forward(circuit, i)
    for i, layer in enumerate(shapes[2:], 2):
        direct = circuit.variant == "DFA"
        if not (shapes[i - 1] if direct else layer).strongest:
            result.append(_backward(circuit, i, direct))
    shown = "input" if circuit.reconstructs else "teacher"
    return [*result, Projection("target", "teaching", shown, f"L{circuit.top}")]


def _forward(circuit: LayeredPal, i: int) -> list[Projection]:
    layer, eta = circuit.shapes[i], circuit.per_layer("eta_fw")[i - 1]
    kind, count, maps = layer.connectivity, _positions(layer), layer.convolution
    shared = Convolution((1, *maps.post[1:]), maps.post, 1) if maps else None
    below, name = ("input", f"input_{kind}") if i == 1 else (f"L{i - 1}", f"bottom_up_{kind}")
    return [Projection(f"W_{i}", name, below, f"L{i}", gate="learn_forward", parameters=(("eta", eta),),
                       convolution=maps),
            Projection(f"b_{i}", f"bias_{kind}", f"ones_{count}", f"L{i}", gate="learn_forward",
                       parameters=(("eta", eta / count),), convolution=shared)]


def _backward(circuit: LayeredPal, i: int, direct: bool) -> Projection:
    """Errors from layer i to the layer below it; `DFA` from the output, in the same step."""
    layer, below = circuit.shapes[i], f"L{i - 1}"
    if direct:
        return Projection(f"B_{i}", "direct", f"L{circuit.top}", below, 0)
    learns: dict[str, Any] = {}
    if circuit.variant == "PAL" and not layer.convolution:
        values = ((name, circuit.per_layer(key)[i - 1]) for name, key in (("eta", "eta_bw"), ("alpha", "alpha")))
        learns = dict(gate="learn_feedback", parameters=tuple(values))
    return Projection(f"B_{i}", f"top_down_{layer.connectivity}", f"L{i}", below, convolution=layer.convolution,
                      **learns)


def _taps(circuit: LayeredPal, i: int) -> list[Projection]:
    """To and from the cells that follow the strongest pixel, a list of synapses for each place in the square."""
    below, own, result = f"L{i - 1}", f"L{i}", list[Projection]()
    for k in range(circuit.shapes[i].strongest**2):
        result.append(Projection(f"tap_{k}_{i}", f"tap_{k}", below, own))
        noisy = circuit.variant == "PAL" and not circuit.noiseless(i - 1)
        result += [Projection(f"noise_{k}_{i}", f"noise_{k}", below, own)] if noisy else []
        result += [Projection(f"won_{k}_{i}", f"won_{k}", own, below, 0)] if circuit.variant != "DFA" else []
    return result


def _lists(circuit: LayeredPal) -> dict[str, Array]:
    """Cells and weights of these lists."""
    arrays, names = dict[str, Array](), {projection.name for projection in _projections(circuit)}
    for i, layer in enumerate(circuit.shapes):
        below = circuit.shapes[i - 1].maps
        for k in range(layer.strongest**2):
            assert below is not None
            y, x = divmod(k, layer.strongest)
            pixels = np.arange(circuit.shapes[i - 1].size).reshape(below)[:, y::layer.strongest, x::layer.strongest]
            ends = {"pre": pixels.ravel(), "post": np.arange(layer.size)}
            for kind in [kind for kind in ("tap", "noise", "won") if f"{kind}_{k}_{i}" in names]:
                turned = ends if kind != "won" else {"pre": ends["post"], "post": ends["pre"]}
                arrays |= {f"{kind}_{k}_{i}.{key}": cells for key, cells in turned.items()}
                arrays[f"{kind}_{k}_{i}.w"] = np.ones(layer.size)
    return arrays


def _mirrors(circuit: LayeredPal) -> list[Mirror]:
    if circuit.variant != "BP":
        return []
    return [Mirror(f"B_{i}", f"W_{i}", () if layer.convolution else ("transpose",), True)
            for i, layer in enumerate(circuit.shapes) if i > 1 and not layer.strongest]


@without_ranges("normal")
def normal_start(circuit: LayeredPal, seed: int) -> Arrays:
    """W, b and B of every layer from N(0, 0.05) (specs/pal.md 5.3), each from a generator of its own, so that all
    variants start from the same W and b."""
    graph, arrays = build(replace(circuit, arrays={})), Arrays()
    for projection in graph.projections:
        kind, _, layer = projection.name.partition("_")
        if kind in ("W", "b", "B"):
            generator = numbered_generator(seed, 3 * int(layer) + ("W", "b", "B").index(kind))
            arrays[f"{projection.name}.w"] = generator.normal(0, 0.05, weight_shape(graph, projection))
    for mirror in graph.mirrors:
        source = arrays[f"{mirror.source}.w"]
        arrays[f"{mirror.target}.w"] = (source.T if mirror.operations else source).copy()
    return arrays
