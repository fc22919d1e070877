"""Where an error-neuron circuit starts: drawn from the legacy generator in the published order.

specs/error_neuron.md 7. Potentials N(0, 1); then, seeded again, the weights; the fixed error of copied feedback comes
from a generator of its own. Arrays: `R0.u` (n,), `WPP_0.w` (n_post, n_pre) ...; several seeds are a leading axis.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from cortexc.compiler.microcircuits.error_neuron import ErrorNeuron
from cortexc.compiler.microcircuits.starts import Arrays, Limits, Range, drawn, generator_of, potentials, ranged

RANGES: Limits = {
    "WPP": (-1.0, 1.0), "WIP": (0.0, 0.0), "BPI": (0.0, 0.0), "BII": (-1.0, 1.0), "copy_error": (0.0, 0.0),
    "WPP_skip": (-0.5, 0.5), "BII_skip": (-0.5, 0.5)}
"""What may be given as a range, with its default; WIP and BPI are added to the identity."""


@ranged(RANGES)
def legacy_start(circuit: ErrorNeuron, seed: int, limits: Limits) -> Arrays:
    """Potentials, weights and copy errors."""
    populations = ("R", circuit.layers[1:]), ("E", circuit.errors)
    return potentials(seed, *populations) | _weights(circuit, seed, limits)


@ranged(RANGES)
def zero_potentials(circuit: ErrorNeuron, seed: int, limits: Limits) -> Arrays:
    """`legacy_start` with every potential 0."""
    return {name: np.zeros_like(array) if name.endswith(".u") else array
            for name, array in legacy_start(circuit, seed, limits).items()}


def _weights(circuit: ErrorNeuron, seed: int, limits: Limits) -> Arrays:
    c, generator = circuit, generator_of(seed)
    forward = _forward(c, generator, limits)
    arrays = {f"{c.forward_name(to, k)}.w": forward[to, k] for to, k in c.forward_pairs()}
    for kind, shapes in (("WIP", [(m, n) for n, m in _sizes(c)]), ("BPI", _sizes(c))):
        drawn = [generator.uniform(*limits[kind], shape) for shape in shapes]
        arrays |= {f"{kind}_{i}.w": identity(part) + part for i, part in enumerate(drawn)}
        arrays |= {f"{kind}_{i}.identity": identity(part) for i, part in enumerate(drawn)
                   if any(getattr(c, "eta_IP" if kind == "WIP" else "eta_PI"))}
    if c.learns_feedback and c.errors != c.layers[1:]:
        arrays |= {f"companion_{i}.w": np.eye(m, n) for i, (n, m) in enumerate(_sizes(c))}
    return arrays | (_copied(c, seed, forward, limits) if c.variant == "BP" else _drawn(c, generator, limits))


def identity(like: np.ndarray) -> np.ndarray:
    """1 where both indices agree; cut or padded with zeros where the sizes differ."""
    return np.eye(like.shape[0], like.shape[1])


def _sizes(circuit: ErrorNeuron) -> list[tuple[int, int]]:
    return list(zip(circuit.layers[1:], circuit.errors, strict=True))


Blocks = dict[tuple[int, int], np.ndarray]


def _forward(circuit: ErrorNeuron, generator: np.random.RandomState, limits: Limits) -> Blocks:
    """Forward weights by (to, from); -1 is the input."""
    c, low, high = circuit, *limits["WPP"]
    if c.layered:
        return {(i, i - 1): generator.uniform(low, high, (n, c.layers[i])) for i, n in enumerate(c.layers[1:])}
    if c.wiring == "areas":
        return _by_areas(c, generator, limits)[0]
    drawn = _upward(c.layers, generator, limits["WPP"], limits["WPP_skip"])
    return {(to - 1, k - 1): block.T for (k, to), block in drawn.items()}


def _upward(sizes: Sequence[int], generator: np.random.RandomState, near: Range, far: Range) -> Blocks:
    """Blocks (i, j), i < j, of a matrix over all areas, as published: for every i the block beside the diagonal, then
    a rectangle of all rows up to area i and all columns beyond i + 1, over what was there."""
    ends = np.cumsum([0, *sizes])
    matrix = np.zeros((ends[-1], ends[-1]))
    for i in range(len(sizes) - 1):
        matrix[ends[i]:ends[i + 1], ends[i + 1]:ends[i + 2]] = generator.uniform(*near, (sizes[i], sizes[i + 1]))
        beyond = matrix[:ends[i + 1], ends[i + 2]:]
        beyond[:] = generator.uniform(*far, beyond.shape)
    return {(i, j): matrix[ends[i]:ends[i + 1], ends[j]:ends[j + 1]]
            for i in range(len(sizes)) for j in range(i + 1, len(sizes))}


def _by_areas(circuit: ErrorNeuron, generator: np.random.RandomState, limits: Limits) -> tuple:
    """(forward, backward) blocks, each drawn for every pair of areas, row by row, from scaled ranges."""
    c, sources = circuit, range(-1, circuit.areas)

    def draw(limit: Range, strength: float, shape: tuple[int, int]) -> np.ndarray:
        return generator.uniform(limit[0] * strength, limit[1] * strength, shape)

    forward = {(to, k): draw(limits["WPP"], c.strength(to, k) if k < to else 0.0, (c.layers[to + 1], c.layers[k + 1]))
               for to in sources for k in sources}
    backward = {(to, k): draw(limits["BII"], c.strength(to, k) if k > to else 0.0, (c.errors[to], c.errors[k]))
                for to in sources[1:] for k in sources[1:]}
    return forward, backward


def _copied(circuit: ErrorNeuron, seed: int, forward: Blocks, limits: Limits) -> Arrays:
    """Feedback as the transpose of the forward weights plus its fixed error."""
    c, arrays = circuit, Arrays()
    initial, later = _copy_errors(c, seed if c.copy_seed is None else c.copy_seed, limits["copy_error"])
    for to, source in c.feedback_pairs():
        name, error = c.feedback_name(to, source), initial[to, source]
        weights = forward.get((source, to))
        if weights is None or (source, to) not in c.forward_pairs():
            arrays[f"{name}.w"] = error
            continue
        copied = np.zeros(error.shape)
        rows, columns = (min(a, b) for a, b in zip(error.shape, weights.T.shape, strict=True))
        copied[:rows, :columns] = weights.T[:rows, :columns]
        arrays |= {f"{name}.w": copied + error, f"{name}.copy_error": later[to, source]}
    return arrays


def _copy_errors(circuit: ErrorNeuron, seed: int, limits: Range) -> tuple[Blocks, Blocks]:
    """(errors of the first feedback weights, those of all later copies). Layered, the published code draws the whole
    list once for every area and starts area i with its part of the i-th list; later copies use the last list."""
    c, generator = circuit, generator_of(seed)
    if not c.layered:
        total, ends = sum(c.errors), np.cumsum([0, *c.errors])
        whole = np.triu(generator.uniform(-limits[1], limits[1], (total, total)))
        blocks = {(to, k): whole[ends[to]:ends[to + 1], ends[k]:ends[k + 1]]
                  for to in range(c.areas) for k in range(to, c.areas)}
        return blocks, blocks
    first: Blocks = {}
    last: Blocks = {}
    for i in range(c.areas - 1):
        last = {(j, j + 1): generator.uniform(-limits[1], limits[1], (c.errors[j], c.errors[j + 1]))
                for j in range(c.areas - 1)}
        first[i, i + 1] = last[i, i + 1]
    return first, last


def copy_draws(circuit: ErrorNeuron) -> int:
    """How many numbers the generator of the copies' errors gives for them."""
    if circuit.variant != "BP":
        return 0
    if not circuit.layered:
        return sum(circuit.errors) ** 2
    return (circuit.areas - 1) * sum(m * n for m, n in pairwise(circuit.errors))


def _drawn(circuit: ErrorNeuron, generator: np.random.RandomState, limits: Limits) -> Arrays:
    """Feedback of the other variants, random at first."""
    c = circuit
    if c.layered:
        return drawn(generator, limits, "BII", pairwise(c.errors))
    if c.wiring == "areas":
        blocks = _by_areas(c, generator, limits)[1]
    else:
        blocks = _upward(c.errors, generator, limits["BII"], limits["BII_skip"])
    return {f"{c.feedback_name(to, k)}.w": blocks[to, k] for to, k in c.feedback_pairs()}
