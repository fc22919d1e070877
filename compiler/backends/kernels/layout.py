"""How what a circuit holds lies in memory: the one place that knows the order of axes and the padding.

Weights are pre-major, (rows, width, copies): a row per presynaptic cell (or per tap of a kernel), along it the
postsynaptic cells, padded to 8 where there is no batch, so that inner loops run over postsynaptic cells and vectorise
with the bits of the plain row sum. Vectors of cells are (cells, copies, repeats), the batch innermost.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cortexc.compiler.backends.kernels.operations import padded
from cortexc.compiler.ir.model import Array, Graph, Projection, weight_shape


@dataclass(frozen=True)
class Shape:
    """Sizes of one projection in memory: rows, row width, copies of the weight and samples per copy.

    `pre` and `post` are those of the weight matrix; between maps, taps and kernels (`cells`: pre- and postsynaptic
    cells).
    """

    pre: int
    post: int
    copies: int
    repeats: int
    one_to_one: bool
    cells: tuple[int, int]
    maps: bool = False
    """Whether it joins feature maps that are no plain vectors of cells."""
    listed: int | None = None
    """How many synapses a list has, which lie one after the other, copies innermost; None for what is no list."""

    @property
    def batch(self) -> int:
        return self.copies * self.repeats

    @property
    def width(self) -> int:
        return padded(self.post) if self.batch == 1 and self.listed is None else self.post

    @property
    def rows(self) -> int:
        return 1 if self.one_to_one else self.pre

    @property
    def weights(self) -> int:
        return (self.rows * self.width if self.listed is None else self.listed) * self.copies

    @property
    def post_cells(self) -> int:
        """Length of postsynaptic vectors per sample, padded where the weights are."""
        return self.width if self.cells[1] == self.post else self.cells[1]


def shape_of(graph: Graph, projection: Projection) -> Shape:
    synapse, maps = graph.class_of(projection.name), projection.convolution
    copies = {"shared": 1, "per_seed": graph.seeds, "per_sample": graph.batch}[synapse.role]
    cells = pre, post = graph.population(projection.pre).size, graph.population(projection.post).size
    if maps:
        pre, post = maps.taps, maps.post[0] * (maps.positions if synapse.kind.local else 1)
    return Shape(pre, post, copies, graph.batch // copies, synapse.kind.pairs, cells,
                 maps is not None and (cells != (pre, post) or maps.pool > 1 or maps.padding > 0),
                 weight_shape(graph, projection)[0] if synapse.kind.listed else None)


def pack_state(values: Array) -> Array:
    """(batch, n) -> n * batch, the batch innermost."""
    return np.ascontiguousarray(values.T).reshape(-1)


def unpack_state(flat: Array, size: int, batch: int) -> Array:
    """(..., n * batch) -> (..., batch, n)."""
    return flat[..., :size * batch].reshape(*flat.shape[:-1], size, batch).swapaxes(-1, -2)


def pack_weights(values: Array, shape: Shape) -> Array:
    """(copies, n_post, n_pre) -> pre-major, padded, copies innermost."""
    values = values.reshape(len(values), shape.post, shape.rows)
    out = np.zeros((shape.rows, shape.width, shape.copies))
    out[:, :shape.post] = values.transpose(2, 1, 0)
    return out.reshape(-1)


def unpack_weights(flat: Array, shape: Shape) -> Array:
    """(..., rows * width * copies) -> (..., copies, n_post, n_pre), or (..., copies, n) for one-to-one."""
    cube = flat[..., :shape.weights].reshape(*flat.shape[:-1], shape.rows, shape.width, shape.copies)
    cube = cube[..., :shape.post, :]
    cube = np.moveaxis(cube, (-3, -2, -1), (-1, -2, -3))
    return cube[..., 0] if shape.one_to_one else cube
