"""What a mapping's packets do: how many there are, how far they go, which link is the busiest.

Packets from core s to core t are a sum over audiences: what s sends to one, times the fraction of it that arrives at t.
Everything that is said of them is computed from these two factors, grouped by tile, row or column; pairs of cores are
listed for `matrix` alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from scipy import sparse

from cortexc.compiler.mapping.problem import HOST, Mapping, MappingProblem, arrivals

STEPS = {"east": (0, 1), "west": (0, -1), "south": (1, 0), "north": (-1, 0)}


@dataclass(frozen=True, eq=False)
class Flow:
    """Packets per step: `sent` (cores, audiences) by the sources on every core, and `arriving` (audiences, cores), the
    fraction of them that arrives. None go within a core or come from the host."""

    sent: sparse.csr_matrix
    arriving: sparse.csr_matrix

    @cached_property
    def leaving(self) -> np.ndarray:
        """(cores,): packets that every core sends to others."""
        pairs = self.sent.tocoo()
        own = np.asarray(self.arriving.T.tocsr()[pairs.row, pairs.col]).ravel()
        everywhere = np.asarray(self.arriving.sum(axis=1)).ravel()
        return np.bincount(pairs.row, pairs.data * (everywhere[pairs.col] - own), self.sent.shape[0])

    def between(self, senders: np.ndarray, receivers: np.ndarray) -> sparse.coo_matrix:
        """Packets from cores with one number of `senders` to cores with one of `receivers`; what would stay within a
        core is counted too."""
        return (_grouped(senders) @ self.sent @ (self.arriving @ _grouped(receivers).T)).tocoo()

    def distance(self, place: np.ndarray) -> float:
        """Packets times the way along a coordinate of the cores."""
        found = self.between(place, place)
        return float(found.data @ np.abs(found.row - found.col))

    def matrix(self) -> sparse.csr_matrix:
        """(cores, cores)"""
        found = (self.sent @ self.arriving).tocsr()
        found.setdiag(0)
        found.eliminate_zeros()
        return found


def _grouped(number: np.ndarray) -> sparse.csr_matrix:
    """(numbers, cores): 1 where a core has the number."""
    shape = int(number.max(initial=-1)) + 1, len(number)
    return sparse.csr_matrix((np.ones(len(number)), (number, np.arange(len(number)))), shape=shape)


def flow(problem: MappingProblem, mapping: Mapping) -> Flow:
    found, inside = arrivals(problem, mapping), problem.edge_source != HOST
    shape = mapping.cores, problem.audiences
    senders = mapping.core_of_item[problem.edge_source[inside]]
    return Flow(sparse.csr_matrix((problem.rate[inside], (senders, problem.audience_of[inside])), shape=shape),
                sparse.csr_matrix((found.fraction, (found.audience, found.core)), shape=shape[::-1]))


def packets(problem: MappingProblem, mapping: Mapping) -> sparse.csr_matrix:
    """(cores, cores): packets per step from the core of a source to each other core; none from the host."""
    return flow(problem, mapping).matrix()


def traffic(problem: MappingProblem, mapping: Mapping) -> float:
    """Packets between cores per step: rate x (number of other cores that hold targets), over all hyperedges."""
    return float(flow(problem, mapping).leaving.sum())


class Hops(NamedTuple):
    """Per step: `weighted` sum of rate x cost of the way; its parts: packets x tile-to-tile hops, chip crossings."""

    weighted: float
    hops: float
    crossings: float


def hops(problem: MappingProblem, mapping: Mapping, sent: Flow | None = None) -> Hops:
    """Cost of all ways. `sent`: what `flow` gave."""
    geometry, sent, total = problem.geometry, sent or flow(problem, mapping), np.zeros(3)
    row, column = geometry.tiles(mapping.positions)
    ways = (column, geometry.columns, geometry.east_west), (row, geometry.rows, geometry.north_south)
    for place, size, cost in ways:
        way, crossings = sent.distance(place), sent.distance(place // size)
        total += (way - crossings) * cost + crossings * geometry.chip_cost, way, crossings
    return Hops(*map(float, total))


class Link(NamedTuple):
    """The most loaded link between neighbouring tiles: `packets` per step, from tile to tile (row, column)."""

    packets: float
    source: tuple[int, int]
    target: tuple[int, int]


def link_loads(problem: MappingProblem, mapping: Mapping, sent: Flow | None = None) -> dict[str, np.ndarray]:
    """Packets per step on every link of the mesh, (rows, columns) of the tile that sends east, west, north or south.

    Ways are XY: first along the row of the sender, then along the column of the receiver. North is towards row 0.
    """
    sent = sent or flow(problem, mapping)
    row, column = problem.geometry.tiles(mapping.positions)
    shape = (int(row.max(initial=0)) + 1, int(column.max(initial=0)) + 1)
    tile = row * shape[1] + column
    along, across = sent.between(tile, column), sent.between(row, tile)
    (line, begin), (end, place) = np.divmod(along.row, shape[1]), np.divmod(across.col, shape[1])
    return {"east": _spans(shape, line, begin, along.col, along.data),
            "west": _spans(shape, line, -1 - begin, -1 - along.col, along.data)[:, ::-1],
            "south": _spans(shape[::-1], place, across.row, end, across.data).T,
            "north": _spans(shape[::-1], place, -1 - across.row, -1 - end, across.data)[:, ::-1].T}


def _spans(shape: tuple[int, int], line: np.ndarray, begin: np.ndarray, end: np.ndarray,
           rate: np.ndarray) -> np.ndarray:
    """Loads of the links begin .. end - 1 of each line, where begin < end; negative places count from the end."""
    begin, end = begin % shape[1], end % shape[1]
    ahead = begin < end
    line, begin, end, rate = line[ahead], begin[ahead], end[ahead], rate[ahead]
    size = shape[0] * shape[1]
    change = np.bincount(line * shape[1] + begin, rate, size) - np.bincount(line * shape[1] + end, rate, size)
    loads = np.cumsum(change.reshape(shape), axis=1)
    return np.where(loads > 1e-12 * rate.sum(), loads, 0.0)


def busiest_link(problem: MappingProblem, mapping: Mapping, sent: Flow | None = None) -> Link:
    """The most loaded link, with XY ways."""
    loads = link_loads(problem, mapping, sent)
    way = max(loads, key=lambda w: float(loads[w].max(initial=0)))
    row, column = map(int, np.unravel_index(int(np.argmax(loads[way])), loads[way].shape))
    down, right = STEPS[way]
    return Link(float(loads[way].max(initial=0)), (row, column), (row + down, column + right))
