"""Who is connected to whom, as far as a mapping needs it, without weights: every synapse is counted, none is built.

A connectivity answers for any contiguous range of postsynaptic cells. `counts(range)` is the number of synapses that
each presynaptic cell has onto the range; everything else follows from it. The random ones (`FixedProbability`,
`Drawn`, `Distance`) answer by expectation.

    Dense, OneToOne, Masked, Listed, Blocks, Maps (convolution, local, and back), FixedProbability, Drawn, Distance

`connectivity_of(graph, projection, rules)` reads them off a graph; `rules` gives those that the graph has no word for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
import scipy.sparse
from scipy.special import gammaln

from cortexc.compiler.ir import CortexError, Graph, Projection
from cortexc.compiler.ir.drawing import expected_count
from cortexc.compiler.ir.model import Convolution as Shapes
from cortexc.compiler.ir.model import wired
from cortexc.compiler.ir.synapses import synapses_of
from cortexc.compiler.ir.wiring import Wiring


class Connectivity(Protocol):
    """`pre`, `post`: cells. `layout`: how the weights are stored (dense rows, sparse lists, one shared kernel)."""

    @property
    def pre(self) -> int: ...

    @property
    def post(self) -> int: ...

    @property
    def layout(self) -> str: ...

    @property
    def synapses(self) -> float: ...

    def counts(self, first: int, last: int) -> np.ndarray: ...


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
class Masked:
    """Where `mask` (n_post, n_pre) is not 0."""

    mask: np.ndarray
    layout: str = "sparse"

    @property
    def pre(self) -> int:
        return int(self.mask.shape[1])

    @property
    def post(self) -> int:
        return int(self.mask.shape[0])

    @cached_property
    def synapses(self) -> float:
        return float(np.count_nonzero(self.mask))

    def counts(self, first: int, last: int) -> np.ndarray:
        return np.count_nonzero(self.mask[first:last], axis=0).astype(float)


@dataclass(frozen=True, eq=False)
class Listed:
    """Synapses as a list; a pair of cells may have several. `matrix` (n_post, n_pre): how many."""

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
    """With probability `peak` * exp(-distance / scale), between places (n, dimensions) in the unit of `scale`.

    Places are those of columns: cell i belongs to column i // (cells per column), on either side.
    """

    pre: int
    post: int
    pre_places: np.ndarray
    post_places: np.ndarray
    peak: float
    scale: float
    layout: str = "sparse"

    @cached_property
    def probability(self) -> np.ndarray:
        """(post columns, pre columns)"""
        apart = np.linalg.norm(self.post_places[:, None, :] - self.pre_places[None, :, :], axis=2)
        return self.peak * np.exp(-apart / self.scale)

    @property
    def synapses(self) -> float:
        return float(self.per_column(0, self.post).sum()) * (self.pre / len(self.pre_places))

    def counts(self, first: int, last: int) -> np.ndarray:
        return np.repeat(self.per_column(first, last), self.pre // len(self.pre_places))

    def per_column(self, first: int, last: int) -> np.ndarray:
        """Synapses that one cell of each presynaptic column has onto the range."""
        return np.asarray(self._cells(first, last) @ self.probability)

    def _cells(self, first: int, last: int) -> np.ndarray:
        """Cells of the range in each postsynaptic column."""
        width = self.post // len(self.post_places)
        starts = np.arange(len(self.post_places)) * width
        return np.clip(np.minimum(last, starts + width) - np.maximum(first, starts), 0, None).astype(float)


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
        return Masked(_mask(graph, projection))
    if kind.listed:
        return _listed(graph, projection)
    if kind.pairs:
        return OneToOne(pre, post, weighted=kind.weighted)
    return Dense(pre, post)


def _listed(graph: Graph, q: Projection) -> Connectivity:
    """By expectation what a rule draws; else as it is. Raises M110."""
    _, pre, post, recurrent = wired(graph, q)
    if q.wiring:
        return Drawn(pre, post, q.wiring, expected_count(q.wiring, pre, post, recurrent))
    if not {f"{q.name}.pre", f"{q.name}.post"} <= graph.arrays.keys():
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
