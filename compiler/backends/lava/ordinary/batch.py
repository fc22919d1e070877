"""Axes of several seeds and samples: behind those of cells and synapses, where Lava's users look for them.

States and messages are (n, seeds, samples), weights (n_post, n_pre) and the axes of which they have a copy each; an
axis of length 1 is left out.
"""

from __future__ import annotations

import numpy as np

from cortexc.compiler.ir.model import Array, Graph

INDEX = {"seeds": "seed", "samples": "sample"}
"""Axis -> what counts along it."""
ROLES = {"shared": (), "per_seed": ("seeds",), "per_sample": ("seeds", "samples")}


def batch_axes(graph: Graph) -> tuple[str, ...]:
    """Those of states and messages."""
    return tuple(axis for axis in INDEX if getattr(graph, axis) > 1)


def weight_axes(graph: Graph, projection: str) -> tuple[str, ...]:
    """Those of a projection's weights."""
    return tuple(axis for axis in batch_axes(graph) if axis in ROLES[graph.class_of(projection).role])


def added_axes(graph: Graph, projection: str) -> tuple[str, ...]:
    """Along which the increments of weights are added up."""
    return tuple(axis for axis in batch_axes(graph) if axis not in weight_axes(graph, projection))


def shape_text(*sizes: str) -> str:
    return f"({', '.join(sizes)}{',' * (len(sizes) == 1)})"


def with_axes(value: str, count: int) -> str:
    """The text of a value with so many axes of length 1 behind its own."""
    return f"{value}[..., {', '.join(['None'] * count)}]" if count else value


def of_cells(graph: Graph, values: Array) -> Array:
    """(..., seeds, samples) of one array, one per seed or one per element of the batch before the others' axes."""
    seeds, samples = {1: (1, 1), graph.batch: (graph.seeds, graph.samples)}.get(len(values), (graph.seeds, 1))
    lengths = {"seeds": seeds, "samples": samples}
    return _behind(values, tuple(lengths[axis] for axis in batch_axes(graph)))


def of_weights(graph: Graph, projection: str, values: Array) -> Array:
    """(..., and the axes of the weights) of one array, or one per copy, before the others' axes."""
    axes = weight_axes(graph, projection)
    return _behind(values, tuple(getattr(graph, axis) if len(values) > 1 else 1 for axis in axes))


def _behind(values: Array, lengths: tuple[int, ...]) -> Array:
    parts = values.reshape(*lengths, *values.shape[1:])
    return np.ascontiguousarray(np.moveaxis(parts, range(len(lengths)), range(-len(lengths), 0)))
