"""Where the dendritic, dpc and ann circuits start: drawn from the legacy generator in the published order.

specs/error_neuron.md 7. Potentials N(0, 1); then, seeded again, the weights; copies of feedback err by numbers from a
generator of their own. The self-predicting laterals are set once (section 3.2 and 3.3). Arrays: `P0.u` (n,),
`WPP_0.w` (n_post, n_pre) ...; several seeds are a leading axis.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from itertools import pairwise

import numpy as np

from cortexc.compiler.microcircuits.rivals import Rival
from cortexc.compiler.microcircuits.starts import (
    Arrays,
    Range,
    Ranges,
    Seeds,
    bounds,
    drawn,
    generator_of,
    potentials,
    stacked,
)

RANGES: Mapping[str, Range] = {"WPP": (-1.0, 1.0), "WIP": (-1.0, 1.0), "BPP": (-1.0, 1.0), "BPI": (-1.0, 1.0),
                               "copy_error": (0.0, 0.0)}


def dendritic_start(circuit: Rival, seed: Seeds, ranges: Ranges = None, predicting: bool = True) -> Arrays:
    """Potentials, weights and copy errors; `predicting` sets WIP and BPI to the self-predicting state."""
    return stacked(seed, partial(_dendritic, circuit, bounds(ranges or {}, RANGES), predicting))


def random_dendritic_start(circuit: Rival, seed: Seeds, ranges: Ranges = None) -> Arrays:
    """The same with random laterals."""
    return dendritic_start(circuit, seed, ranges, False)


def dpc_start(circuit: Rival, seed: Seeds, ranges: Ranges = None) -> Arrays:
    """Potentials, weights, copy errors, and BPI that cancels what the prediction of the layer above brings down."""
    return stacked(seed, partial(_dpc, circuit, bounds(ranges or {}, RANGES)))


def ann_start(circuit: Rival, seed: Seeds, ranges: Ranges = None) -> Arrays:
    """Potentials of units and errors, and weights."""
    return stacked(seed, partial(_ann, circuit, bounds(ranges or {}, RANGES)))


def _dendritic(circuit: Rival, limits: Mapping[str, Range], predicting: bool, seed: int) -> Arrays:
    c, H, n = circuit, circuit.hidden, circuit.layers
    arrays, generator = potentials(seed, ("P", n[1:]), ("I", n[2:])), generator_of(seed)
    arrays |= drawn(generator, limits, "WPP", zip(n[1:], n[:-1], strict=True))
    arrays |= drawn(generator, limits, "WIP", zip(n[2:], n[1:-1], strict=True))
    arrays |= _feedback(c, generator, limits, seed, arrays)
    arrays |= drawn(generator, limits, "BPI", zip(n[1:-1], n[2:], strict=True))
    if predicting:
        dendritic = c.gden / (c.gl + c.gden)
        for i in range(H):
            arrays[f"WIP_{i}.w"] = attenuation(c, i + 1) / dendritic * arrays[f"WPP_{i + 1}.w"]
            arrays[f"BPI_{i}.w"] = -arrays[f"BPP_{i}.w"]
    return arrays


def _dpc(circuit: Rival, limits: Mapping[str, Range], seed: int) -> Arrays:
    c, n = circuit, circuit.layers
    arrays, generator = potentials(seed, ("P", n[1:])), generator_of(seed)
    arrays |= drawn(generator, limits, "WPP", zip(n[1:], n[:-1], strict=True))
    arrays |= _feedback(c, generator, limits, seed, arrays)
    for i in range(c.hidden):
        arrays[f"BPI_{i}.w"] = -attenuation(c, i + 1) * arrays[f"BPP_{i}.w"] @ arrays[f"WPP_{i + 1}.w"]
    return arrays


def _ann(circuit: Rival, limits: Mapping[str, Range], seed: int) -> Arrays:
    n = circuit.layers
    arrays, generator = potentials(seed, ("R", n[1:]), ("E", n[1:])), generator_of(seed)
    arrays |= drawn(generator, limits, "WPP", zip(n[1:], n[:-1], strict=True))
    if circuit.variant == "BP":
        return arrays | {f"BPP_{i}.w": arrays[f"WPP_{i + 1}.w"].T.copy() for i in range(circuit.hidden)}
    return arrays | drawn(generator, limits, "BPP", zip(n[1:-1], n[2:], strict=True))


def attenuation(circuit: Rival, layer: int) -> float:
    """Of the basal dendrite of a layer (code index): the output has no apical compartment."""
    apical = circuit.gapi if layer < circuit.hidden else 0.0
    return circuit.gbas / (circuit.gl + circuit.gbas + apical)


def copy_draws(circuit: Rival) -> int:
    """How many numbers the generator of the copies' errors gives for them."""
    return sum(m * n for m, n in pairwise(circuit.layers[1:])) if circuit.variant == "BP" else 0


def _feedback(circuit: Rival, generator: np.random.RandomState, limits: Mapping[str, Range], seed: int,
              arrays: Arrays) -> Arrays:
    """BPP: drawn, or copied with its error; copies draw nothing from the generator of the weights."""
    n = circuit.layers
    if circuit.variant != "BP":
        return drawn(generator, limits, "BPP", zip(n[1:-1], n[2:], strict=True))
    own, found, high = generator_of(seed), Arrays(), limits["copy_error"][1]
    for i in range(circuit.hidden):
        error = own.uniform(-high, high, (n[i + 1], n[i + 2]))
        found |= {f"BPP_{i}.w": arrays[f"WPP_{i + 1}.w"].T + error, f"BPP_{i}.copy_error": error}
    return found
