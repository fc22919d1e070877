"""Where a PAL circuit starts: the arrays of its graph, drawn from explicitly seeded generators.

Both starts are self-predicting: BPI_i = -BPP_i, and WIP_i = s_{i+1} / s_I WPP_{i+1} with the attenuations s of the
dendrites, so that without a target the interneurons cancel the feedback (specs/pal.md 3). In the variant BP the
feedback is the transpose of the forward weights from the beginning.

Arrays: `P0.u` (n,), `WPP_0.w` (n_post, n_pre) ...; with several seeds a leading axis holds one copy for each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cortexc.compiler.microcircuits.pal import Pal
from cortexc.compiler.microcircuits.starts import Arrays, Range, bounds, drawn, generator_of, potentials, stacked

KINDS = ("WPP", "WIP", "BPP", "BPI")


def legacy_start(circuit: Pal, seed: int | Sequence[int], ranges: Mapping[str, Range] | None = None) -> Arrays:
    """Start of the numpy simulator (specs/pal.md 4, RNG): potentials N(0, 1), then uniform weights.

    Both come from the legacy generator, seeded twice. `ranges`: (low, high) of WPP, WIP, BPP and BPI, each
    [-1, 1] by default; WIP and BPI are drawn, as in the simulator, and then overwritten. Raises E304, E305.
    """
    limits = _bounds(ranges or {}, (-1.0, 1.0), (-1.0, 1.0))
    return stacked(seed, lambda one: _legacy(circuit, one, limits))


def zero_start(circuit: Pal, seed: int | Sequence[int], up: Range = (-0.1, 0.1), down: Range = (-1.0, 1.0)) -> Arrays:
    """Start of the GeNN experiments (specs/pal.md 5.2): every potential 0, WPP in `up` and BPP in `down`.

    Drawn from the legacy generator in their order, forward weights first, each as (n_pre, n_post). Raises E305.
    """
    limits = _bounds({"WPP": up, "BPP": down}, up, down)
    return stacked(seed, lambda one: _zero(circuit, one, limits))


def zero_start_from(circuit: Pal, seed: int | Sequence[int], ranges: Mapping[str, Range] | None = None) -> Arrays:
    """`zero_start` with its ranges by name: `WPP` is `up`, `BPP` is `down`. Raises E304, E305."""
    limits = _bounds(ranges or {}, (-0.1, 0.1), (-1.0, 1.0))
    return zero_start(circuit, seed, limits["WPP"], limits["BPP"])


def _bounds(ranges: Mapping[str, Range], up: Range, down: Range) -> dict[str, Range]:
    return bounds(ranges, {"WPP": up, "WIP": up, "BPP": down, "BPI": down})


def _legacy(circuit: Pal, seed: int, limits: Mapping[str, Range]) -> Arrays:
    arrays, generator = potentials(seed, ("P", circuit.layers[1:]), ("I", circuit.layers[2:])), generator_of(seed)
    for kind, shapes in zip(KINDS, _shapes(circuit), strict=True):
        arrays |= drawn(generator, limits, kind, shapes)
    return self_predicting(circuit, arrays)


def _zero(circuit: Pal, seed: int, limits: Mapping[str, Range]) -> Arrays:
    generator, arrays = generator_of(seed), Arrays()
    forward, _, feedback, _ = _shapes(circuit)
    for i, (post, pre) in enumerate(forward):
        arrays[f"WPP_{i}.w"] = generator.uniform(*limits["WPP"], (pre, post)).T.copy()
    for i, (post, pre) in reversed(list(enumerate(feedback))):
        arrays[f"BPP_{i}.w"] = generator.uniform(*limits["BPP"], (pre, post)).T.copy()
    return self_predicting(circuit, arrays)


def _shapes(circuit: Pal) -> tuple[list[tuple[int, int]], ...]:
    """Shapes (n_post, n_pre) of WPP, WIP, BPP and BPI, lowest layer first."""
    upward = list(zip(circuit.layers[1:], circuit.layers[:-1], strict=True))
    downward = [(pre, post) for post, pre in upward[1:]]
    return upward, upward[1:], downward, downward


def self_predicting(circuit: Pal, arrays: Arrays) -> Arrays:
    """The arrays with WIP and BPI of the self-predicting state, and BPP = WPP^T in the variant BP."""
    c, result = circuit, dict(arrays)
    dendritic = c.gden / (c.gl + c.gden)
    for i in range(c.hidden):
        above = c.gbas / (c.gl + c.gbas + (c.gapi if i < c.hidden - 1 else 0.0))
        forward = result[f"WPP_{i + 1}.w"]
        if c.variant == "BP":
            result[f"BPP_{i}.w"] = forward.swapaxes(-1, -2).copy()
        result[f"WIP_{i}.w"] = above / dendritic * forward
        result[f"BPI_{i}.w"] = -result[f"BPP_{i}.w"]
    return result
