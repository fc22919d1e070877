"""First weights of the sign-concordant circuit (specs/sign_concordant.md 1.4 and 2).

W ~ N(0, 2 / fan_in), cut at the circuit's limit; magnitudes of the feedback ~ |N(0, 2 / fan_in)|, with the fan-in of
the forward weight. Every layer draws from generators of its own, so that all feedback policies start from the same W.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from cortexc.compiler.ir import Graph
from cortexc.compiler.ir.model import weight_shape
from cortexc.compiler.microcircuits.sign_concordant import build
from cortexc.compiler.microcircuits.sign_concordant_options import SignConcordant
from cortexc.compiler.microcircuits.starts import Arrays, numbered_generator, without_ranges


@without_ranges("normal")
def normal_start(circuit: SignConcordant, seed: int) -> Arrays:
    graph = build(replace(circuit, arrays={}))
    arrays: Arrays = {}
    for i in range(1, circuit.top + 1):
        forward = graph.projection(f"wE_{i}" if circuit.locked else f"W_{i}")
        shape = weight_shape(graph, forward)
        fan_in = math.prod(shape[-3:]) if forward.convolution else shape[1]
        scale = math.sqrt(2 / max(fan_in, 1))
        w = np.clip(numbered_generator(seed, 2 * i).normal(0, scale, shape), -circuit.limit, circuit.limit)
        excitatory = w >= 0
        if circuit.locked:
            arrays |= _typed(f"w{{}}_{i}", excitatory, np.abs(w))
        else:
            arrays[f"W_{i}.w"] = w
        if i > 1:
            arrays |= _feedback(circuit, graph, i, seed, scale, w)
    return arrays


def _typed(name: str, excitatory: np.ndarray, magnitudes: np.ndarray) -> Arrays:
    """Weights and masks of the E-type and the I-type projection."""
    arrays: Arrays = {}
    for letter, mask in (("E", excitatory), ("I", ~excitatory)):
        arrays[f"{name.format(letter)}.mask"] = mask.astype(np.float64)
        arrays[f"{name.format(letter)}.w"] = np.where(mask, magnitudes, 0.0)
    return arrays


def _feedback(circuit: SignConcordant, graph: Graph, i: int, seed: int, scale: float, w: np.ndarray) -> Arrays:
    turn = (lambda a: a) if circuit.shapes[i].convolution else np.transpose
    generator = numbered_generator(seed, 2 * i + 1)
    if circuit.feedback == "DFA":
        return {f"B_{i}.w": generator.normal(0, scale, weight_shape(graph, graph.projection(f"B_{i}")))}
    drawn = generator.normal(0, scale, w.shape)
    if circuit.locked:
        arrays = _typed(f"c{{}}_{i}", turn(w >= 0), turn(np.abs(drawn)))
        lines = {name.replace("_", "_negative_", 1): a for name, a in arrays.items()}
        return arrays | (lines if circuit.message == "two_line" else {})
    if circuit.feedback == "FA":
        return {f"B_{i}.w": turn(drawn)}
    if circuit.feedback == "BP":
        return {f"B_{i}.w": turn(w)}
    same = np.full(w.shape, scale)  # of brSF it is the scale of what is redrawn
    magnitude = same if circuit.feedback == "uSF" else np.abs(drawn)
    return {f"B_{i}.w": turn(np.sign(w) * magnitude),
            f"B_{i}.magnitude": turn(same if circuit.feedback == "brSF" else magnitude)}
