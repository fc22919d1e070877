"""place: cores onto chips and into meshes, so that packets make few and cheap hops.

before   cores 0 .. n - 1 of a mapping, position = number (the baseline)      after   a position for every core

Cores are cut across as few chips as hold them (METIS on the packets between cores), chips are put on the grid, then
cores on the tiles of their chip; each start (a Hilbert curve through an order that keeps neighbours together) is
refined by swaps of two places, cooled where there are few. The cost of a way is the distance |dx| + |dy| in coordinates
in which the step from one chip to the next is `chip_cost` long, so one refinement serves chips and tiles.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numba import njit
from scipy import sparse
from scipy.sparse.csgraph import reverse_cuthill_mckee

from cortexc.compiler.ir.errors import CortexError
from cortexc.compiler.mapping.geometry import Geometry
from cortexc.compiler.mapping.partition import cut
from cortexc.compiler.mapping.problem import Mapping, MappingProblem
from cortexc.compiler.mapping.traffic import flow, hops

FEW = 2_000
"""Most cores that are placed by cooling; more are placed by swaps that do not cost."""


@dataclass(frozen=True)
class Placer:
    """`sweeps` over all cores, `tries` places for each in a sweep."""

    seed: int = 0
    sweeps: int = 60
    tries: int = 24


@dataclass(frozen=True, eq=False)
class Slots:
    """Places with coordinates; core i may use those of `group[i]`: `order[starts[g]:starts[g + 1]]`."""

    x: np.ndarray
    y: np.ndarray
    starts: np.ndarray
    order: np.ndarray


def place(problem: MappingProblem, mapping: Mapping, options: Placer = Placer()) -> Mapping:
    """The mapping with positions, never worse in weighted hops than the identity. Raises M130."""
    geometry = problem.geometry
    if mapping.cores > geometry.cores:
        raise CortexError("M130", f"the mapping needs {mapping.cores:,} cores, the system has {geometry.cores:,}.",
                          "Take a map with more chips.")
    identity, sent = np.arange(mapping.cores), flow(problem, mapping)
    between = sent.matrix()
    graph = (between + between.T).tocsr()
    found = [identity, _on_chips(graph, geometry, options)]
    if mapping.cores <= geometry.cores_per_chip:
        found.append(_refined(graph, identity, np.zeros(mapping.cores, np.int64), _slots(geometry, 1), options))
    placed = [replace(mapping, position=position) for position in found]
    return min(placed, key=lambda each: hops(problem, each, sent).weighted)


def _on_chips(graph: sparse.csr_matrix, geometry: Geometry, options: Placer) -> np.ndarray:
    """Position of every core: chips first, then the mesh of each."""
    cores, size = graph.shape[0], geometry.cores_per_chip
    chips = -(-cores // size)
    chip = assign_chips(graph, chips, size, options.seed)
    if chips > 1:
        chip = _chips_on_grid(graph, chip, chips, geometry, options)[chip]
    start = np.empty(cores, dtype=np.int64)
    curve = _curve(geometry)
    for each in np.unique(chip):
        inside = np.flatnonzero(chip == each)
        order = reverse_cuthill_mckee(graph[inside][:, inside].tocsr(), symmetric_mode=True)
        start[inside[order]] = each * size + curve[:len(inside)]
    return _refined(graph, start, chip, _slots(geometry, int(chip.max()) + 1), options)


# ---- chips


def assign_chips(graph: sparse.csr_matrix, chips: int, size: int, seed: int) -> np.ndarray:
    """Chip of every core, at most `size` cores on each, with few packets between them."""
    cores = graph.shape[0]
    if chips < 2:
        return np.zeros(cores, dtype=np.int64)
    chip = cut(graph, np.ones(cores, dtype=np.int64), chips, seed, 10)
    counts = np.bincount(chip, minlength=chips)
    for full in np.flatnonzero(counts > size):
        inside = np.flatnonzero(chip == full)
        within = np.asarray(graph[inside][:, inside].sum(axis=1)).ravel()
        for core in inside[np.argsort(within, kind="stable")[:int(counts[full]) - size]]:
            ties = np.bincount(chip[graph[core].indices], graph[core].data, chips)
            room = np.flatnonzero(counts < size)
            best = room[np.argmax(ties[room])]
            counts[full], counts[best], chip[core] = counts[full] - 1, counts[best] + 1, best
    return chip


def _chips_on_grid(graph: sparse.csr_matrix, chip: np.ndarray, chips: int, geometry: Geometry,
                   options: Placer) -> np.ndarray:
    """Number of the place of every chip, in a compact block of the grid."""
    member = sparse.csr_matrix((np.ones(len(chip)), (chip, np.arange(len(chip)))), shape=(chips, len(chip)))
    between = (member @ graph @ member.T).tocsr()
    between.setdiag(0)
    wide = min(geometry.chip_columns, max(int(np.ceil(np.sqrt(chips))), -(-chips // geometry.chip_rows)))
    tall = min(geometry.chip_rows, -(-chips // wide))
    places = _hilbert(tall, wide)
    row, column = np.divmod(np.arange(tall * wide), wide)
    slots = Slots(column * 1.0, row * 1.0, np.array([0, tall * wide]), np.arange(tall * wide))
    start = np.empty(chips, dtype=np.int64)
    start[reverse_cuthill_mckee(between, symmetric_mode=True)] = places[:chips]
    found = _refined(between, start, np.zeros(chips, np.int64), slots, options)
    return found // wide * geometry.chip_columns + found % wide


# ---- places


def _hilbert(rows: int, columns: int) -> np.ndarray:
    """Cells (row x columns + column) of a grid along a Hilbert curve through the square around it."""
    side = 1
    while side < max(rows, columns):
        side *= 2
    x, y = np.zeros(side * side, dtype=np.int64), np.zeros(side * side, dtype=np.int64)
    left, scale = np.arange(side * side), 1
    while scale < side:
        right, up = (left // 2) & 1, (left ^ (left // 2)) & 1
        flip = (up == 0) & (right == 1)
        x, y = np.where(flip, scale - 1 - x, x), np.where(flip, scale - 1 - y, y)
        x, y = np.where(up == 0, y, x), np.where(up == 0, x, y)
        x, y, left, scale = x + scale * right, y + scale * up, left // 4, scale * 2
    inside = (y < rows) & (x < columns)
    return y[inside] * columns + x[inside]


def _curve(geometry: Geometry) -> np.ndarray:
    """Cores of a chip, tile after tile along a Hilbert curve; those without a tile at the end."""
    tiles = _hilbert(geometry.rows, geometry.columns) if geometry.rows * geometry.columns < 1 << 16 else np.zeros(1)
    cores = (tiles[:, None] * geometry.cores_per_tile + np.arange(geometry.cores_per_tile)).ravel().astype(np.int64)
    cores = cores[cores < geometry.cores_per_chip]
    return np.concatenate([cores, np.arange(len(cores), min(geometry.cores_per_chip, 1 << 20))])


def _slots(geometry: Geometry, chips: int) -> Slots:
    """All positions of the first chips, in coordinates in which a chip crossing is `chip_cost` long."""
    size = geometry.cores_per_chip
    positions = np.arange(size * chips)
    row, column = geometry.tiles(positions)
    x = column * geometry.east_west + column // geometry.columns * (geometry.chip_cost - geometry.east_west)
    y = row * geometry.north_south + row // geometry.rows * (geometry.chip_cost - geometry.north_south)
    return Slots(x, y, np.arange(chips + 1) * size, positions)


def _refined(graph: sparse.csr_matrix, start: np.ndarray, group: np.ndarray, slots: Slots,
             options: Placer) -> np.ndarray:
    """Positions after swaps inside each group of places."""
    cores = len(start)
    if cores < 2 or graph.nnz == 0:
        return start
    few = cores <= FEW
    generator = np.random.default_rng(options.seed)
    sweeps = options.sweeps if few else max(options.sweeps // 15, 2)
    mean = float(graph.sum()) / cores
    heat = mean * np.concatenate([np.geomspace(1.0, 0.01, sweeps * 2 // 3), np.zeros(sweeps - sweeps * 2 // 3)])
    occupant = np.full(len(slots.x), -1, dtype=np.int64)
    occupant[start] = np.arange(cores)
    position = start.astype(np.int64).copy()
    _swaps(position, occupant, group, slots.x.astype(float), slots.y.astype(float), slots.starts, slots.order,
           graph.indptr, graph.indices, graph.data, heat if few else 0.0 * heat,
           options.tries if few else max(options.tries // 2, 1),
           int(generator.integers(1 << 31)))
    return position


@njit(cache=True)
def _gain(core, to, other, position, x, y, indptr, indices, data):  # type: ignore
    """Change of the cost when a core moves, without its ways to `other`."""
    here, change = position[core], 0.0
    for i in range(indptr[core], indptr[core + 1]):
        if indices[i] != other and indices[i] != core:
            there = position[indices[i]]
            change += data[i] * (abs(x[to] - x[there]) + abs(y[to] - y[there])
                                 - abs(x[here] - x[there]) - abs(y[here] - y[there]))
    return change


@njit(cache=True)
def _swaps(position, occupant, group, x, y, starts, order, indptr, indices, data, heat, tries, seed):  # type: ignore
    np.random.seed(seed)
    for sweep in range(len(heat)):
        for core in np.random.permutation(len(position)):
            first, last = starts[group[core]], starts[group[core] + 1]
            for _ in range(tries):
                here, to = position[core], order[np.random.randint(first, last)]
                other = occupant[to]
                if x[here] == x[to] and y[here] == y[to]:
                    continue
                change = _gain(core, to, other, position, x, y, indptr, indices, data)
                if other >= 0:
                    change += _gain(other, here, core, position, x, y, indptr, indices, data)
                if change < -1e-9 or (heat[sweep] > 0 and np.random.random() < np.exp(-change / heat[sweep])):
                    position[core], occupant[to], occupant[here] = to, core, other
                    if other >= 0:
                        position[other] = here
