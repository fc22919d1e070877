"""Where a PAL circuit and its rivals `dendritic`, `dpc` and `ann` start: drawn from the legacy generator.

Potentials N(0, 1); then, seeded again, uniform weights in the order WPP, WIP, BPP, BPI (specs/pal.md 4, RNG, and
specs/error_neuron.md 7). Self-predicting: BPI_i = -BPP_i, and WIP_i = s_{i+1} / s_I WPP_{i+1} with the attenuations s
of the dendrites, so that without a target the interneurons cancel the feedback (specs/pal.md 3). Where feedback is
copied (`BP`), it is so from the beginning; copies of the rivals err by numbers from a generator of their own.

Arrays: `P0.u` (n,), `WPP_0.w` (n_post, n_pre) ...; with several seeds a leading axis holds one copy for each.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from cortexc.compiler.microcircuits.pal import Pal
from cortexc.compiler.microcircuits.rivals import Rival
from cortexc.compiler.microcircuits.starts import Arrays, Limits, drawn, generator_of, potentials, ranged

KINDS = ("WPP", "WIP", "BPP", "BPI")
RANGES: Limits = dict.fromkeys(KINDS, (-1.0, 1.0))
NARROW: Limits = {**RANGES, "WPP": (-0.1, 0.1), "WIP": (-0.1, 0.1)}
RIVALS: Limits = {**RANGES, "copy_error": (0.0, 0.0)}


@ranged(RANGES)
def legacy_start(circuit: Pal, seed: int, limits: Limits) -> Arrays:
    """Of the numpy simulator: WIP and BPI are drawn, too, and then overwritten."""
    arrays, generator = potentials(seed, ("P", circuit.layers[1:]), ("I", circuit.layers[2:])), generator_of(seed)
    for kind in KINDS:
        arrays |= drawn(generator, limits, kind, _shapes(circuit, kind))
    return self_predicting(circuit, arrays)


@ranged(NARROW)
def zero_start(circuit: Pal, seed: int, limits: Limits) -> Arrays:
    """Of the GeNN experiments (specs/pal.md 5.2): every potential 0, WPP drawn upwards and then BPP downwards, each as
    (n_pre, n_post)."""
    generator, arrays = generator_of(seed), Arrays()
    for kind, order in (("WPP", 1), ("BPP", -1)):
        for i, (post, pre) in list(enumerate(_shapes(circuit, kind)))[::order]:
            arrays[f"{kind}_{i}.w"] = generator.uniform(*limits[kind], (pre, post)).T.copy()
    return self_predicting(circuit, arrays)


@ranged(RIVALS)
def dendritic_start(circuit: Rival, seed: int, limits: Limits) -> Arrays:
    return _cancelling(circuit, random_dendritic_start(circuit, seed, limits))


@ranged(RIVALS)
def random_dendritic_start(circuit: Rival, seed: int, limits: Limits) -> Arrays:
    """With random laterals."""
    arrays = potentials(seed, ("P", circuit.layers[1:]), ("I", circuit.layers[2:]))
    return arrays | _weights(circuit, seed, limits, KINDS)


@ranged(RIVALS)
def dpc_start(circuit: Rival, seed: int, limits: Limits) -> Arrays:
    """With BPI that cancels what the prediction of the layer above brings down."""
    arrays = potentials(seed, ("P", circuit.layers[1:])) | _weights(circuit, seed, limits, ("WPP", "BPP"))
    for i in range(circuit.hidden):
        arrays[f"BPI_{i}.w"] = -attenuation(circuit, i + 1) * arrays[f"BPP_{i}.w"] @ arrays[f"WPP_{i + 1}.w"]
    return arrays


@ranged(RIVALS)
def ann_start(circuit: Rival, seed: int, limits: Limits) -> Arrays:
    """Copies have no errors here."""
    exact = {**limits, "copy_error": (0.0, 0.0)}
    arrays = potentials(seed, ("R", circuit.layers[1:]), ("E", circuit.layers[1:]))
    arrays |= _weights(circuit, seed, exact, ("WPP", "BPP"))
    return {name: array for name, array in arrays.items() if not name.endswith("copy_error")}


def _weights(circuit: Rival, seed: int, limits: Limits, kinds: tuple[str, ...]) -> Arrays:
    """Copies draw nothing from the generator of the weights."""
    generator, arrays = generator_of(seed), Arrays()
    for kind in kinds:
        copied = kind == "BPP" and circuit.variant == "BP"
        arrays |= _copied(circuit, seed, limits["copy_error"][1], arrays) if copied else drawn(
            generator, limits, kind, _shapes(circuit, kind))
    return arrays


def _copied(circuit: Rival, seed: int, high: float, arrays: Arrays) -> Arrays:
    """BPP as the transposed forward weights plus their fixed error."""
    own, found = generator_of(seed), Arrays()
    for i, shape in enumerate(_shapes(circuit, "BPP")):
        error = own.uniform(-high, high, shape)
        found |= {f"BPP_{i}.w": arrays[f"WPP_{i + 1}.w"].T + error, f"BPP_{i}.copy_error": error}
    return found


def copy_draws(circuit: Rival) -> int:
    """How many numbers the generator of the copies' errors gives for them."""
    return sum(m * n for m, n in _shapes(circuit, "BPP")) if circuit.variant == "BP" else 0


def _shapes(circuit: Pal | Rival, kind: str) -> list[tuple[int, int]]:
    """(n_post, n_pre) of the projections of a kind, lowest layer first."""
    upward = [(post, pre) for pre, post in pairwise(circuit.layers)]
    return {"WPP": upward, "WIP": upward[1:]}.get(kind, [(pre, post) for post, pre in upward[1:]])


def attenuation(circuit: Pal | Rival, layer: int) -> float:
    """Of the basal dendrite of a layer (code index): the output has no apical compartment."""
    apical = circuit.gapi if layer < circuit.hidden else 0.0
    return circuit.gbas / (circuit.gl + circuit.gbas + apical)


def self_predicting(circuit: Pal, arrays: Arrays) -> Arrays:
    """The arrays with WIP and BPI of the self-predicting state, and BPP = WPP^T in the variant BP."""
    feedback = {f"BPP_{i}.w": arrays[f"WPP_{i + 1}.w"].swapaxes(-1, -2).copy()
                for i in range(circuit.hidden if circuit.variant == "BP" else 0)}
    return _cancelling(circuit, arrays | feedback)


def _cancelling(circuit: Pal | Rival, arrays: Arrays) -> Arrays:
    """With laterals of the self-predicting state."""
    dendritic = circuit.gden / (circuit.gl + circuit.gden)
    laterals: dict[str, np.ndarray] = {}
    for i in range(circuit.hidden):
        laterals[f"WIP_{i}.w"] = attenuation(circuit, i + 1) / dendritic * arrays[f"WPP_{i + 1}.w"]
        laterals[f"BPI_{i}.w"] = -arrays[f"BPP_{i}.w"]
    return arrays | laterals
