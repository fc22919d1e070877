"""What has to be put onto cores, under which limits, and what a mapping costs.

An *item* is a block of neurons of one population: it goes to one core as a whole. A *hyperedge* is what one item sends:
`axons` sources (one per neuron that sends) to a set of items, `rate` packets per step in all. On Loihi a packet goes
once to every core that holds a target, so a mapping's traffic is the sum over hyperedges of rate x (number of *other*
cores that hold its targets): the (lambda - 1) metric, weighted by rate.

Two resources depend on the partition: the input axons of a core (distinct sources, remote and local, that arrive at
its synapses) and its output axons (pairs of a source on the core and a core with targets of it, its own included, as
nengo-loihi counts them in hardware/validate.py).

Where connectivity is a rule, `reach` is the expected fraction of a hyperedge's sources that have a target in the
destination item; a core with several of them is reached by 1 - prod(1 - reach). Axons and traffic are then expected
numbers. All sources of a population whose connectivity is such a rule have one *audience*, the same targets with the
same fractions; so a network of any size is a few audiences, and pairs of blocks are nowhere listed.

M101 arrays of a problem that do not belong together; M102 a mapping that does not belong to its problem.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np

from cortexc.compiler.ir.errors import CortexError
from cortexc.compiler.mapping.geometry import Geometry

AXONS_IN, AXONS_OUT = "axons_in", "axons_out"
HOST = -1
"""Source of a hyperedge that comes from outside the chip: it takes input axons, but sends nothing between cores."""
TOLERANCE = 1e-6
"""Relative excess over a limit that is still rounding."""
CERTAIN = -40.0
"""log(1 - reach) of a source that surely arrives: 1 - exp(-40) is 1 in float64, and sums of it stay finite."""


@dataclass(frozen=True)
class Resource:
    """What cores have a limited amount of. `limit` None: none was published, not checked. `source`: of the limit."""

    name: str
    limit: float | None
    unit: str = "1"
    source: str = ""

    @property
    def bound(self) -> float:
        return np.inf if self.limit is None else float(self.limit)


@dataclass(frozen=True, eq=False)
class Table:
    """A table of a core with few entries that the items of a core share: item `items[i]` needs entry `entries[i]`."""

    resource: Resource
    items: np.ndarray
    entries: np.ndarray


@dataclass(frozen=True, eq=False)
class MappingProblem:
    """Items, what each needs, what each sends, and the chip.

    `population_of`, `start`, `stop`: item i is neurons start[i] .. stop[i] - 1 of `populations[population_of[i]]`.
    `demand` (n_items, len(resources)) adds up over the items of a core.
    Hyperedge e: from item `edge_source[e]` (or HOST) to audience a = `audience[e]` (None: e), which is
    `edge_targets[edge_starts[a]:edge_starts[a + 1]]` (items, each once; the source may be among them), `axons[e]`
    sources, `rate[e]` packets per step of all of them together to one core; `reach` beside `edge_targets`, or None
    where every source reaches every target.
    `group_of` (n_items,): items of the same group >= 0 should stay together where they fit; -1 is none.
    """

    populations: tuple[str, ...]
    population_of: np.ndarray
    start: np.ndarray
    stop: np.ndarray
    resources: tuple[Resource, ...]
    demand: np.ndarray
    edge_source: np.ndarray
    edge_starts: np.ndarray
    edge_targets: np.ndarray
    rate: np.ndarray
    axons: np.ndarray
    reach: np.ndarray | None = None
    axons_in: Resource = Resource(AXONS_IN, None, "axons")
    axons_out: Resource = Resource(AXONS_OUT, None, "axons")
    tables: tuple[Table, ...] = ()
    group_of: np.ndarray | None = None
    geometry: Geometry = field(default_factory=Geometry)
    audience: np.ndarray | None = None

    def __post_init__(self) -> None:
        items, edges = len(self.start), len(self.edge_source)
        if self.demand.shape != (items, len(self.resources)) or len(self.stop) != items:
            raise CortexError("M101", f"demand has shape {self.demand.shape}, expected {items, len(self.resources)}.")
        if {len(self.rate), len(self.axons), len(self.audience_of)} != {edges}:
            raise CortexError("M101", f"rate, axons and audience (or edge_starts) must have {edges} edges.")
        if self.reach is not None and len(self.reach) != len(self.edge_targets):
            raise CortexError("M101", f"reach has {len(self.reach)} entries, expected {len(self.edge_targets)}.")

    @property
    def items(self) -> int:
        return len(self.start)

    @property
    def edges(self) -> int:
        return len(self.edge_source)

    def block(self, item: int) -> tuple[str, int, int]:
        """Population, first cell, and the one behind the last."""
        return self.populations[self.population_of[item]], int(self.start[item]), int(self.stop[item])

    @property
    def columns(self) -> tuple[Resource, ...]:
        """Every per-core resource, in the order of `usage`: additive ones, axons in, axons out, tables."""
        return (*self.resources, self.axons_in, self.axons_out, *(table.resource for table in self.tables))

    @cached_property
    def limits(self) -> np.ndarray:
        """Limit of each column; infinity where none was published."""
        return np.array([resource.bound for resource in self.columns])

    @property
    def audiences(self) -> int:
        return len(self.edge_starts) - 1

    @cached_property
    def audience_of(self) -> np.ndarray:
        """Audience of each hyperedge."""
        return np.arange(self.audiences) if self.audience is None else self.audience

    @property
    def pairs(self) -> int:
        """Of a hyperedge and a target."""
        return int(np.diff(self.edge_starts)[self.audience_of].sum())

    @cached_property
    def audience_of_target(self) -> np.ndarray:
        """Audience of each entry of `edge_targets`: its hyperedge, where all have their own."""
        return np.repeat(np.arange(self.audiences), np.diff(self.edge_starts))

    @cached_property
    def missed(self) -> np.ndarray:
        """log(1 - reach) beside `edge_targets`, at least CERTAIN."""
        if self.reach is None:
            return np.full(len(self.edge_targets), CERTAIN)
        with np.errstate(divide="ignore"):
            return np.maximum(np.log1p(-np.minimum(self.reach, 1.0)), CERTAIN)


@dataclass(frozen=True, eq=False)
class Mapping:
    """Core of every item: 0 .. cores - 1, without gaps; `position` of every core in the system, or None: the same."""

    core_of_item: np.ndarray
    position: np.ndarray | None = None

    @cached_property
    def cores(self) -> int:
        return int(self.core_of_item.max(initial=-1)) + 1

    @property
    def positions(self) -> np.ndarray:
        return np.arange(self.cores) if self.position is None else self.position


class Violation(NamedTuple):
    """`core` uses `amount` of `resource`, more than its limit; `core` -1: more cores than the system has."""

    resource: Resource
    core: int
    amount: float

    @property
    def excess(self) -> float:
        return self.amount - self.resource.bound


class Arrivals(NamedTuple):
    """Pairs (audience, core with targets of it) and the fraction of a hyperedge's sources that arrive there."""

    audience: np.ndarray
    core: np.ndarray
    fraction: np.ndarray


def spread(problem: MappingProblem) -> MappingProblem:
    """The same problem, every hyperedge with an audience of its own."""
    if problem.audience is None:
        return problem
    sizes = np.diff(problem.edge_starts)[problem.audience]
    starts = np.concatenate([[0], np.cumsum(sizes)])
    places = np.arange(starts[-1]) + np.repeat(problem.edge_starts[problem.audience] - starts[:-1], sizes)
    return replace(problem, edge_starts=starts, edge_targets=problem.edge_targets[places], audience=None,
                   reach=None if problem.reach is None else problem.reach[places])


def compact(core_of_item: np.ndarray) -> Mapping:
    """A mapping with the cores renumbered without gaps, in the order in which they appear first."""
    values, first, inverse = np.unique(core_of_item, return_index=True, return_inverse=True)
    rank = np.empty(len(values), dtype=np.int64)
    rank[np.argsort(first)] = np.arange(len(values))
    return Mapping(rank[inverse])


def check(problem: MappingProblem, mapping: Mapping) -> None:
    """Raises M102 unless every item has exactly one core and every core a position of its own."""
    core, positions = mapping.core_of_item, mapping.positions
    if core.shape != (problem.items,) or core.min(initial=0) < 0:
        raise CortexError("M102", f"{problem.items} items, but cores for {len(core)}, the least {core.min(initial=0)}.")
    if len(positions) != mapping.cores or len(np.unique(positions)) != mapping.cores:
        raise CortexError("M102", f"{mapping.cores} cores need as many positions, all different.")


def arrivals(problem: MappingProblem, mapping: Mapping) -> Arrivals:
    """Which audiences are on which cores."""
    core = mapping.core_of_item[problem.edge_targets]
    keys = problem.audience_of_target * np.int64(mapping.cores) + core
    if (keys[1:] >= keys[:-1]).all():
        new = np.append(True, keys[1:] > keys[:-1])[:len(keys)]
        missed = np.bincount(np.cumsum(new) - 1, problem.missed)
        return Arrivals(problem.audience_of_target[new], core[new], -np.expm1(missed))
    if problem.reach is None:
        found = np.unique(keys)
        fraction = np.ones(len(found))
    else:
        found, inverse = np.unique(keys, return_inverse=True)
        fraction = -np.expm1(np.bincount(inverse, problem.missed, len(found)))
    audience, core = np.divmod(found, mapping.cores) if mapping.cores else (found, found)
    return Arrivals(audience, core, fraction)


def usage(problem: MappingProblem, mapping: Mapping) -> np.ndarray:
    """(cores, columns): what every core uses of every resource, in the order of `problem.columns`."""
    found, core, cores = arrivals(problem, mapping), mapping.core_of_item, mapping.cores
    parts = [np.bincount(core, problem.demand[:, r], cores) for r in range(len(problem.resources))]
    sources = np.bincount(problem.audience_of, problem.axons, problem.audiences)
    parts.append(np.bincount(found.core, sources[found.audience] * found.fraction, cores))
    reached = np.bincount(found.audience, found.fraction, problem.audiences)
    inside = problem.edge_source != HOST
    sent = (problem.axons * reached[problem.audience_of])[inside]
    parts.append(np.bincount(core[problem.edge_source[inside]], sent, cores))
    return np.stack([*parts, *(_entries(table, core, cores) for table in problem.tables)], axis=1)


def _entries(table: Table, core: np.ndarray, cores: int) -> np.ndarray:
    """Distinct entries of a table per core."""
    pairs = np.unique(np.stack([core[table.items], table.entries]), axis=1)
    return np.bincount(pairs[0], minlength=cores).astype(float)


def violations(problem: MappingProblem, mapping: Mapping, used: np.ndarray | None = None) -> tuple[Violation, ...]:
    """Every limit that a core breaks, the worst first; and too many cores. `used`: what `usage` gave."""
    used = usage(problem, mapping) if used is None else used
    core, column = np.nonzero(used > problem.limits * (1 + TOLERANCE))
    found = [Violation(problem.columns[r], int(c), float(used[c, r])) for c, r in zip(core, column, strict=True)]
    found.sort(key=lambda v: -v.amount / max(v.resource.bound, 1e-300))
    if mapping.cores > problem.geometry.cores:
        available = Resource("cores", problem.geometry.cores, "cores")
        found.insert(0, Violation(available, -1, mapping.cores))
    return tuple(found)


# ---- seen from the items: what arrives at each, what each sends, which table entries each needs


class Incoming(NamedTuple):
    """Per item (slices of `starts`): hyperedges that have it as a target, with log(1 - reach); hyperedges that it
    sends (slices of `sent_starts`); table entries (slices of `entry_starts`), and the resource column of each entry."""

    starts: np.ndarray
    edges: np.ndarray
    missed: np.ndarray
    sent_starts: np.ndarray
    sent: np.ndarray
    entry_starts: np.ndarray
    entries: np.ndarray
    entry_column: np.ndarray


def incoming(problem: MappingProblem) -> Incoming:
    """The transposed arrays of a problem."""
    problem = spread(problem)
    order = np.argsort(problem.edge_targets, kind="stable")
    starts = _starts(problem.edge_targets, problem.items)
    inside = np.flatnonzero(problem.edge_source != HOST)
    sent = inside[np.argsort(problem.edge_source[inside], kind="stable")]
    return Incoming(starts, problem.audience_of_target[order], problem.missed[order],
                    _starts(problem.edge_source[inside], problem.items), sent, *_table_entries(problem))


def _starts(owners: np.ndarray, items: int) -> np.ndarray:
    return np.concatenate(([0], np.cumsum(np.bincount(owners, minlength=items)))).astype(np.int64)


def _table_entries(problem: MappingProblem) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Distinct (item, entry) pairs of all tables, entries numbered across the tables."""
    items, entries, column = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    base = len(problem.resources) + 2
    for offset, table in enumerate(problem.tables):
        values, entry = np.unique(table.entries, return_inverse=True)
        pairs = np.unique(np.stack([np.asarray(table.items, np.int64), entry]), axis=1)
        items.append(pairs[0])
        entries.append(pairs[1] + sum(map(len, column)))
        column.append(np.full(len(values), base + offset))
    item, every = np.concatenate(items), np.concatenate(entries)
    order = np.argsort(item, kind="stable")
    return _starts(item, problem.items), every[order], np.concatenate(column)


def contract(problem: MappingProblem, label: np.ndarray) -> MappingProblem:
    """The problem in which all items of one label (0 .. n - 1, none left out) are one item."""
    problem, count = spread(problem), int(label.max(initial=-1)) + 1
    keys = problem.audience_of_target * np.int64(count) + label[problem.edge_targets]
    found, inverse = np.unique(keys, return_inverse=True)
    missed = np.maximum(np.bincount(inverse, problem.missed, len(found)), CERTAIN)
    edge, target = np.divmod(found, max(count, 1))
    source = np.where(problem.edge_source == HOST, HOST, label[problem.edge_source])
    demand = np.zeros((count, len(problem.resources)))
    np.add.at(demand, label, problem.demand)
    first = np.unique(label, return_index=True)[1]
    tables = tuple(replace(t, items=label[t.items]) for t in problem.tables)
    return replace(problem, population_of=problem.population_of[first], start=problem.start[first],
                   stop=problem.stop[first], demand=demand, edge_source=source, edge_targets=target,
                   edge_starts=_starts(edge, problem.edges), tables=tables, group_of=None,
                   reach=None if problem.reach is None else -np.expm1(missed))
