"""Who is connected to whom, as far as a mapping needs it, without weights: every synapse is counted, none is built.

Each has cells `pre` and `post`, `synapses`, and a `layout`: how the weights are stored (dense rows, sparse lists, one
shared kernel). It answers for any contiguous range of postsynaptic cells: `counts(first, last)` is the number of
synapses that each presynaptic cell has onto the range; everything else follows from it. The random ones
(`FixedProbability`, `Drawn`, `Distance`) answer by expectation.

    Dense, OneToOne, Listed, Blocks, Maps (convolution, local, and back), FixedProbability, Drawn, Distance

`connectivity_of(graph, projection, rules)` reads them off a graph; `rules` gives those that the graph has no word for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import scipy.sparse
from scipy.special import gammaln

from cortexc.compiler.ir import CortexError, Graph, Projection
from cortexc.compiler.ir.drawing import expected_count
from cortexc.compiler.ir.model import Convolution as Shapes
from cortexc.compiler.ir.model import copied_list, wired
from cortexc.compiler.ir.places import Apart, Places
from cortexc.compiler.ir.synapses import synapses_of
from cortexc.compiler.ir.wiring import Wiring

TILES = 1024
"""Tiles of neighbours that a population with places is cut into, at most."""


@dataclass(frozen=True)
class Dense:
    """Every cell to every cell."""

    pre: int
    post: int
    layout: str = "dense"

    @property
    def synapses(self) -> float:
        return float(self.pre * self.post)

    def counts(self, first: int, last: int) -> np.ndarray:
        return np.full(self.pre, float(last - first))


@dataclass(frozen=True)
class OneToOne:
    """Cell i to cell i. `weighted`: with a weight each; the identity has none, though a chip stores one of 1."""

    pre: int
    post: int
    layout: str = "sparse"
    weighted: bool = True

    @property
    def synapses(self) -> float:
        return float(min(self.pre, self.post))

    def counts(self, first: int, last: int) -> np.ndarray:
        result = np.zeros(self.pre)
        result[first:last] = 1.0
        return result


@dataclass(frozen=True, eq=False)
class Listed:
    """Synapses as a list, or where a mask is not 0; a pair may have several. `matrix` (n_post, n_pre): how many."""

    matrix: scipy.sparse.csr_matrix
    layout: str = "sparse"

    @property
    def pre(self) -> int:
        return int(self.matrix.shape[1])

    @property
    def post(self) -> int:
        return int(self.matrix.shape[0])

    @cached_property
    def synapses(self) -> float:
        return float(self.matrix.sum())

    def counts(self, first: int, last: int) -> np.ndarray:
        return np.asarray(self.matrix[first:last].sum(axis=0)).reshape(-1).astype(float)


@dataclass(frozen=True)
class Blocks:
    """Area by area: `pairs` (post area, pre area) are connected all to all."""

    post_sizes: tuple[int, ...]
    pre_sizes: tuple[int, ...]
    pairs: tuple[tuple[int, int], ...]
    layout: str = "sparse"

    @property
    def pre(self) -> int:
        return sum(self.pre_sizes)

    @property
    def post(self) -> int:
        return sum(self.post_sizes)

    @property
    def synapses(self) -> float:
        return float(sum(self.post_sizes[i] * self.pre_sizes[j] for i, j in self.pairs))

    def counts(self, first: int, last: int) -> np.ndarray:
        ends = np.cumsum(self.post_sizes)
        inside = [max(0, min(last, int(end)) - max(first, int(end) - size))
                  for end, size in zip(ends, self.post_sizes, strict=True)]
        starts, result = np.cumsum((0, *self.pre_sizes)), np.zeros(self.pre)
        for i, j in self.pairs:
            result[starts[j]:starts[j + 1]] += inside[i]
        return result


@dataclass(frozen=True)
class Maps:
    """Between feature maps; `shared`: one kernel for all positions; `backward`: from the upper maps to the lower.

    `by_position`: cells are numbered position by position, the channels of one together, not channel by channel.
    """

    shapes: Shapes
    shared: bool = True
    backward: bool = False
    by_position: bool = False

    @property
    def layout(self) -> str:
        return "shared" if self.shared else "sparse"

    @property
    def pre(self) -> int:
        return int(np.prod(self.shapes.post if self.backward else self.shapes.pre))

    @property
    def post(self) -> int:
        return int(np.prod(self.shapes.pre if self.backward else self.shapes.post))

    def kernel(self, first: int, last: int) -> int:
        """Weights that all positions share, of the channels that a range of postsynaptic cells belongs to."""
        c, size = self.shapes, self.positions.shape[0]
        channels = (last - 1) // size - first // size + 1 if last > first else 0
        if self.by_position:
            channels = min(self.post // size, last - first)
        return channels * (c.post[0] if self.backward else c.pre[0]) * c.kernel * c.kernel

    @cached_property
    def positions(self) -> scipy.sparse.csr_matrix:
        """(positions of the post maps, of the pre maps): 1 where their cells are connected."""
        c = self.shapes
        axes = [_covered(c, c.pre[axis], c.post[axis]) for axis in (1, 2)]
        forward = scipy.sparse.kron(axes[0], axes[1], format="csr")
        return forward.T.tocsr() if self.backward else forward

    @cached_property
    def synapses(self) -> float:
        return float(self.positions.sum()) * self.shapes.pre[0] * self.shapes.post[0]

    def counts(self, first: int, last: int) -> np.ndarray:
        channels = self.shapes.post[0] if self.backward else self.shapes.pre[0]
        size, cells = self.positions.shape[0], np.arange(first, last)
        place = cells // (self.post // size) if self.by_position else cells % size
        found = np.asarray(self.positions.T @ np.bincount(place, minlength=size).astype(float))
        return np.repeat(found, channels) if self.by_position else np.tile(found, channels)


def _covered(c: Shapes, below: int, above: int) -> scipy.sparse.csr_matrix:
    """(above, below) along one axis: 1 where a unit of the upper maps sees a pixel of the lower."""
    starts = np.arange(above)[:, None] * c.stride - c.padding
    pooled = np.arange(below)[None, :] // c.pool
    return scipy.sparse.csr_matrix(((pooled >= starts) & (pooled < starts + c.kernel)).astype(float))


@dataclass(frozen=True)
class FixedProbability:
    """Every pair with the same probability, independently."""

    pre: int
    post: int
    probability: float
    layout: str = "sparse"

    @property
    def synapses(self) -> float:
        return self.pre * self.post * self.probability

    def counts(self, first: int, last: int) -> np.ndarray:
        return np.full(self.pre, (last - first) * self.probability)


@dataclass(frozen=True)
class Drawn:
    """As a wiring draws it, every source alike; that a cell may be left out as its own partner is not told apart."""

    pre: int
    post: int
    wiring: Wiring
    synapses: float
    layout: str = "sparse"

    @property
    def probability(self) -> float:
        """Expected synapses of a pair."""
        return self.synapses / max(self.pre * self.post, 1)

    def counts(self, first: int, last: int) -> np.ndarray:
        return np.full(self.pre, (last - first) * self.probability)

    @property
    def settled(self) -> bool:
        """Whether the synapses onto a block are always as many."""
        return self.wiring.rule == "fixed_indegree"

    def trials(self, cells: int) -> int:
        """Independent draws of which each may be a synapse of one source onto a block: with multapses all that fall on
        the block or start at the source, else the pairs."""
        number = int(self.wiring.number)
        each = {"fixed_indegree": number * cells, "fixed_outdegree": number, "fixed_total": number}
        return each[self.wiring.rule] if self.wiring.multapses else cells

    def reach(self, cells: np.ndarray) -> np.ndarray:
        """Probability that a source has a synapse onto a block of so many cells."""
        total = {"fixed_total": self.pre * self.post, "fixed_outdegree": self.post}.get(self.wiring.rule)
        if total and not self.wiring.multapses:
            return 1.0 - _none_of(total, int(self.wiring.number), cells)
        trials = np.array([self.trials(int(size)) for size in cells])
        with np.errstate(divide="ignore"):
            return -np.expm1(trials * np.log1p(-np.minimum(cells * self.probability / np.maximum(trials, 1), 1.0)))


def _none_of(total: int, chosen: int, block: np.ndarray) -> np.ndarray:
    """Probability that of `chosen` different ones of `total` none is in a block."""
    rest = np.maximum(total - block, 0)
    ways = gammaln(rest + 1) - gammaln(np.maximum(rest - chosen, 0) + 1) - gammaln(total + 1) + gammaln(
        total - chosen + 1)
    return np.where(rest >= chosen, np.exp(np.minimum(ways, 0.0)), 0.0)


@dataclass(frozen=True, eq=False)
class Distance:
    """With a `probability` (post tiles, pre tiles) between cells of tiles, which are close to each other: the tile of
    every cell is in `pre_tiles` and `post_tiles`."""

    pre_tiles: np.ndarray
    post_tiles: np.ndarray
    probability: np.ndarray
    layout: str = "sparse"

    @property
    def pre(self) -> int:
        return len(self.pre_tiles)

    @property
    def post(self) -> int:
        return len(self.post_tiles)

    @cached_property
    def synapses(self) -> float:
        return float(self.counts(0, self.post).sum())

    def counts(self, first: int, last: int) -> np.ndarray:
        return np.asarray(self.per_tile(first, last)[self.pre_tiles])

    def per_tile(self, first: int, last: int) -> np.ndarray:
        """Synapses that one cell of each presynaptic tile has onto the range."""
        return np.asarray(np.bincount(self.post_tiles[first:last], minlength=len(self.probability)) @ self.probability)

    @cached_property
    def run_starts(self) -> np.ndarray:
        """Where cells of another tile begin."""
        return np.flatnonzero(np.diff(self.pre_tiles, prepend=-1))


Connectivity = Dense | OneToOne | Listed | Blocks | Maps | FixedProbability | Drawn | Distance


def by_distance(wiring: Wiring, apart: Apart, synapses: float | None = None) -> Distance:
    """Between tiles, as between their middles; scaled to the number of `synapses` where that is known."""
    assert wiring.kernel is not None
    (pre_tiles, pre), (post_tiles, post) = _tiled(apart.pre), _tiled(apart.post)
    probability = wiring.number * wiring.kernel.at(apart.length(np.abs(post[:, None] - pre)))
    found = Distance(pre_tiles, post_tiles, probability)
    if synapses is None or not found.synapses:
        return found
    return replace(found, probability=np.minimum(probability * (synapses / found.synapses), 1.0))


def _tiled(places: Places) -> tuple[np.ndarray, np.ndarray]:
    """(the tile of every cell, (tiles, axes) the middle of each)"""
    tiles, found = places.tiles(-(-places.size // TILES)), np.empty(places.size, np.int64)
    for number, tile in enumerate(tiles):
        found[tile] = number
    return found, np.stack([places.cells[tile].mean(axis=0) for tile in tiles])


RANDOM = (FixedProbability, Drawn, Distance)


def synapses_in(connectivity: Connectivity, first: int, last: int) -> float:
    """Synapses onto a range, expected where they are drawn."""
    if isinstance(connectivity, FixedProbability | Drawn):
        return connectivity.pre * (last - first) * connectivity.probability
    return float(connectivity.counts(first, last).sum())


def connectivity_of(graph: Graph, projection: Projection,
                    rules: Mapping[str, Connectivity] | None = None) -> Connectivity:
    """The connectivity of a projection; `rules` (by projection) come first. Raises M110, M111."""
    kind = graph.class_of(projection.name).kind
    pre, post = graph.population(projection.pre).size, graph.population(projection.post).size
    if rules and projection.name in rules:
        return _checked(projection, rules[projection.name], pre, post)
    if kind.maps and projection.convolution:
        return Maps(projection.convolution, not kind.local, kind.back)
    if kind.mask == "blocks" and projection.blocks:
        return Blocks(*projection.blocks)
    if kind.mask == "array":
        return Listed(scipy.sparse.csr_matrix((_mask(graph, projection) != 0).astype(np.int64)))
    if kind.listed:
        return _listed(graph, projection)
    if kind.pairs:
        return OneToOne(pre, post, weighted=kind.weighted)
    return Dense(pre, post)


def _listed(graph: Graph, q: Projection) -> Connectivity:
    """By expectation what a rule draws; else as it is. Raises M110."""
    _, pre, post, recurrent, apart = wired(graph, q)
    if q.wiring:
        expected = expected_count(q.wiring, pre, post, recurrent, apart)
        return by_distance(q.wiring, apart, expected) if apart else Drawn(pre, post, q.wiring, expected)
    if not {f"{q.name}.pre", f"{q.name}.post"} <= graph.arrays.keys() and not copied_list(graph, q):
        raise CortexError("M110", f"projection '{q.name}' is sparse, but arrays '{q.name}.pre' and '{q.name}.post' are "
                                  "not there.", "Bind them, or say a rule: connect fixed_indegree 100.")
    found = synapses_of(graph, q)
    joined = (np.ones(len(found.post), np.int64), (found.post, found.pre))
    return Listed(scipy.sparse.csr_matrix(joined, shape=(post, pre)))


def _checked(projection: Projection, rule: Connectivity, pre: int, post: int) -> Connectivity:
    if (rule.pre, rule.post) != (pre, post):
        raise CortexError("M111", f"the rule for projection '{projection.name}' connects {rule.pre} to {rule.post} "
                                  f"cells; the populations have {pre} and {post}.")
    return rule


def _mask(graph: Graph, projection: Projection) -> np.ndarray:
    mask = graph.arrays.get(f"{projection.name}.mask")
    if mask is None:
        raise CortexError("M110", f"projection '{projection.name}' is masked, but array '{projection.name}.mask' is "
                                  "not there.", "Bind the mask, or give a rule such as FixedProbability.")
    return mask if mask.ndim == 2 else mask.any(axis=tuple(range(mask.ndim - 2)))
