"""Synthetic circuits for `cortexc bench mapping`: communities that are hidden, and connectivity by rule.

`planted`: random modular graphs whose communities are hidden behind shuffled ids, as in specs/hardware.md 6: 4,096
neurons in 64 communities, fan-out 32 of which 27 inside the community, rates drawn uniformly; every neuron is an item.
With `shuffled` targets the same graph has no communities.

`sheet_problem`: what blocks need and send, by expectation and at a quantile, without building a synapse: many areas as
columns on a sheet, their ids shuffled, cells of column i to cells of column j with probability p = share *
exp(-distance / scale) up to `radius` columns, where `share` gives every cell its fan-in. Pairs are independent, so a
source reaches a block of b cells with probability 1 - (1 - p)^b, and the synapses onto the block are a sum of
independent binomials. Limits are checked at a stated quantile of the amount (normal approximation with the exact mean
and variance), chosen so small that with thousands of cores hardly one of a drawn circuit exceeds.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from statistics import NormalDist

import numpy as np

from cortexc.compiler.ir.errors import CortexError
from cortexc.compiler.mapping.alike import list_moments
from cortexc.compiler.mapping.geometry import geometry_of
from cortexc.compiler.mapping.items import resource
from cortexc.compiler.mapping.problem import Mapping, MappingProblem, Resource, compact, contract
from cortexc.compiler.mapping.traffic import traffic
from cortexc.hardware_maps import HardwareMap


@dataclass(frozen=True)
class Planted:
    """`fan_out` targets per neuron, `local` of them inside its community; rates from 0 to `rate` packets per step."""

    neurons: int = 4096
    communities: int = 64
    fan_out: int = 32
    local: int = 27
    rate: float = 1.0
    shuffled: bool = False


def planted(options: Planted, seed: int, resources: tuple[Resource, ...], demand: np.ndarray,
            **more: object) -> tuple[MappingProblem, np.ndarray]:
    """The problem, with `demand` (resources,) of every neuron, and the hidden community of every item."""
    generator = np.random.default_rng(seed)
    ids = generator.permutation(options.neurons)
    community = np.empty(options.neurons, dtype=np.int64)
    size = options.neurons // options.communities
    community[ids] = np.arange(options.neurons) // size
    starts, targets = _targets(options, generator, ids, community, size)
    items = np.arange(options.neurons)
    problem = MappingProblem(
        ("neurons",), np.zeros(options.neurons, dtype=np.int64), items, items + 1, resources,
        np.tile(demand, (options.neurons, 1)), items, starts, targets, generator.uniform(0, options.rate, len(items)),
        np.ones(options.neurons), **more)  # type: ignore[arg-type]
    return problem, community


def _targets(options: Planted, generator: np.random.Generator, ids: np.ndarray, community: np.ndarray,
             size: int) -> tuple[np.ndarray, np.ndarray]:
    """Hyperedges: distinct targets of every neuron, never itself."""
    rows = []
    for neuron in range(options.neurons):
        inside = ids[community[neuron] * size:(community[neuron] + 1) * size]
        local = 0 if options.shuffled else options.local
        near = generator.choice(inside[inside != neuron], local, replace=False)
        far = generator.permutation(options.neurons)[:options.fan_out + local + 1]
        far = far[(far != neuron) & ~np.isin(far, near)][:options.fan_out - local]
        rows.append(np.concatenate([near, far]))
    lengths = np.array([0, *map(len, rows)])
    return np.cumsum(lengths), np.concatenate(rows)


def packed(problem: MappingProblem, community: np.ndarray, cores: int, seed: int = 0, restarts: int = 20) -> Mapping:
    """The reference: whole communities, as many to a core, packed as well as swaps of whole communities can.

    From random packings (and METIS's), communities are moved and swapped while the traffic falls; the best is kept.
    """
    from cortexc.compiler.mapping.partition import cut, expanded
    from cortexc.compiler.mapping.refine import refined

    count = int(community.max()) + 1
    whole = contract(problem, community)
    limit = Resource("communities", -(-count // cores), "communities")
    whole = _only(whole, limit)
    generator = np.random.default_rng(seed)
    starts = [generator.permutation(count) % cores for _ in range(restarts)]
    starts += [cut(expanded(whole), np.ones(count, dtype=np.int64), cores, seed + n, 1) for n in range(3)]
    found = [refined(whole, start, cores, seed + n, 40) for n, start in enumerate(starts)]
    fits = [m for m in found if np.bincount(m.core_of_item).max() <= (limit.limit or 0)]
    best = min(fits, key=lambda mapping: traffic(whole, mapping))
    return compact(best.core_of_item[community])


def _only(problem: MappingProblem, resource: Resource) -> MappingProblem:
    """The problem with one resource, of which every item takes 1."""
    unlimited = Resource("axons", None)
    return replace(problem, resources=(resource,), demand=np.ones((problem.items, 1)), axons_in=unlimited,
                   axons_out=unlimited, tables=())


# ---- connectivity by rule


def reached(probability: np.ndarray, cells: np.ndarray | int) -> np.ndarray:
    """Probability that a source has a synapse onto a block of `cells`."""
    return -np.expm1(cells * np.log1p(-np.minimum(probability, 1 - 1e-12)))


# ---- synaptic lists


@dataclass(frozen=True)
class ListFormat:
    """Bits of a synapse (weight and index), of the header of each `block` synapses, and of the words of a list."""

    synapse: int = 21
    header: int = 10
    block: int = 64
    word: int = 64

    def bits(self, synapses: np.ndarray) -> np.ndarray:
        """Of lists with so many synapses, in whole words."""
        bits = synapses * self.synapse + np.ceil(synapses / self.block) * self.header
        return np.ceil(bits / self.word) * self.word


def list_format(target: HardwareMap) -> ListFormat:
    """Sparse lists of a map."""
    number = target.number
    return ListFormat(int(number("numeric.weight_bits") + number("core.index_bits")), int(number("core.header_bits")),
                      int(number("core.synapses_per_block")), int(number("core.word_bits")))


# ---- the sheet of columns


@dataclass(frozen=True)
class Sheet:
    """`columns` of `cells` each with `fan_in` synapses per cell; distances in columns; `spikes` per cell and step;
    `state_bits` per cell; limits are checked at `quantile`."""

    columns: int = 1000
    cells: int = 1000
    fan_in: int = 1000
    scale: float = 1.5
    radius: float = 3.0
    spikes: float = 0.1
    state_bits: int = 128
    quantile: float = 1 - 1e-6
    seed: int = 0

    @property
    def neurons(self) -> int:
        return self.columns * self.cells


@dataclass(frozen=True, eq=False)
class Pairs:
    """Connected columns, sorted by `pre`: probability of a synapse between two of their cells."""

    pre: np.ndarray
    post: np.ndarray
    probability: np.ndarray


def places(sheet: Sheet) -> np.ndarray:
    """(columns, 2): where each column is; ids are shuffled."""
    side = int(np.ceil(np.sqrt(sheet.columns)))
    grid = np.stack(np.divmod(np.arange(sheet.columns), side), axis=1)
    return grid[np.random.default_rng(sheet.seed).permutation(sheet.columns)]


def column_pairs(sheet: Sheet) -> Pairs:
    """The rule between columns: every cell expects `fan_in` synapses, or all there are within the radius."""
    where = places(sheet).astype(float)
    apart = np.linalg.norm(where[:, None] - where[None], axis=2)
    weight = np.where(apart <= sheet.radius, np.exp(-apart / sheet.scale), 0.0)
    probability = np.minimum(weight * (sheet.fan_in / sheet.cells / weight.sum(axis=0)), 1.0)
    pre, post = np.nonzero(probability)
    return Pairs(pre, post, probability[pre, post])


def memory_at(sheet: Sheet, pairs: Pairs, form: ListFormat, cells: int) -> np.ndarray:
    """(columns,): bits that a block of `cells` of each column needs at the quantile."""
    mean, variance, _ = list_moments(form.bits, pairs.probability, cells)
    expected = np.bincount(pairs.post, mean * sheet.cells, sheet.columns)
    spread = np.sqrt(np.maximum(np.bincount(pairs.post, variance * sheet.cells, sheet.columns), 0.0))
    return expected + NormalDist().inv_cdf(sheet.quantile) * spread + cells * sheet.state_bits


def blocks_of(sheet: Sheet, pairs: Pairs, form: ListFormat, compartments: float, memory: float) -> np.ndarray:
    """Sizes of the equal blocks that each column is cut into: as few as the limits allow. Raises M140."""
    blocks = 1
    while blocks <= sheet.cells:
        sizes = np.diff(np.linspace(0, sheet.cells, blocks + 1).round().astype(np.int64))
        largest = int(sizes.max())
        if largest <= compartments and memory_at(sheet, pairs, form, largest).max() <= memory:
            return sizes
        blocks += max(1, blocks // 64)
    raise CortexError("M140", f"one cell with fan-in {sheet.fan_in:,} needs more than a core's {memory:,.0f} bits.")


def sheet_problem(sheet: Sheet, target: HardwareMap) -> MappingProblem:
    """The mapping problem of a sheet. Axon limits that are only assumed are not checked."""
    pairs, form = column_pairs(sheet), list_format(target)
    limits = [_resource(target, name) for name in ("core.compartments", "core.memory_bits")]
    sizes = blocks_of(sheet, pairs, form, limits[0].bound, limits[1].bound)
    blocks, stops = len(sizes), np.cumsum(sizes)
    starts, targets, reach = _hyperedges(sheet, pairs, sizes)
    memory = np.stack([memory_at(sheet, pairs, form, int(size)) for size in np.unique(sizes)], axis=1)
    kind = np.tile(np.searchsorted(np.unique(sizes), sizes), sheet.columns)
    column, size = np.repeat(np.arange(sheet.columns), blocks), np.tile(sizes, sheet.columns)
    return MappingProblem(
        tuple(f"column{i}" for i in range(sheet.columns)), column, np.tile(stops - sizes, sheet.columns),
        np.tile(stops, sheet.columns), tuple(limits), np.stack([size * 1.0, memory[column, kind]], axis=1),
        np.arange(len(size)), starts, targets, size * sheet.spikes, size * 1.0, reach,
        _resource(target, "core.axons_in"), _resource(target, "core.axons_out"), geometry=geometry_of(target))


def _hyperedges(sheet: Sheet, pairs: Pairs, sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of every block: to all blocks of the columns that its column reaches."""
    blocks = len(sizes)
    begins = np.searchsorted(pairs.pre, np.arange(sheet.columns + 1))
    items = (pairs.post[:, None] * blocks + np.arange(blocks)).astype(np.int32)
    reach = reached(pairs.probability[:, None], sizes[None, :])
    spans = [slice(a, b) for a, b in zip(begins, begins[1:], strict=False)]
    lengths = np.repeat(np.diff(begins) * blocks, blocks)
    tiled = [np.concatenate([np.tile(values[s].ravel(), blocks) for s in spans]) for values in (items, reach)]
    return np.concatenate(([0], np.cumsum(lengths))), tiled[0], tiled[1]


def _resource(target: HardwareMap, name: str) -> Resource:
    """A limit of the map; None where none was published, or where an axon limit is only assumed."""
    found = resource(target, name)
    return replace(found, limit=None) if target.scalar(name).kind == "assumed" and "axons" in name else found
