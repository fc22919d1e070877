"""From accounts to a mapping problem: populations cut into blocks, what each needs, and what travels between them.

A cut is (population, first, last). Sources of a block whose targets lie in the same blocks form one hyperedge, so that
axons and traffic are exact for everything but drawn connectivity, where they are expected. Input axons that a learning
synapse takes beyond the first are hyperedges of their own, from the host and without packets.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from cortexc.compiler.ir import Graph
from cortexc.compiler.mapping.accounting import ADDITIVE, Accounting, ProjectionAccount
from cortexc.compiler.mapping.alike import reach_of, runs_of
from cortexc.compiler.mapping.connectivity import RANDOM
from cortexc.compiler.mapping.geometry import geometry_of
from cortexc.compiler.mapping.problem import HOST, Mapping, MappingProblem, Resource, Table, violations
from cortexc.hardware_maps import FIELDS, HardwareMap

Cut = tuple[str, int, int]
TABLES = ("core.compartment_configurations", "core.threshold_configurations", "core.synapse_formats",
          "core.pre_trace_configurations")
COMPARTMENTS, THRESHOLDS, FORMATS, TRACES = TABLES
AXONS = "core.axons_in"
ASSUMED_SPIKES = 0.1
"""Spikes per neuron and step where no rate is given."""


@dataclass(frozen=True)
class Rates:
    """Messages per neuron and step, by `population.message` as `measured` in a run: the share of neurons whose message
    is not 0. Without a measurement a number is sent in every step, and `assumed` spikes.
    """

    assumed: float = ASSUMED_SPIKES
    measured: dict[str, float] = field(default_factory=dict)

    def of(self, projection: ProjectionAccount) -> float:
        sent = 1.0 if projection.graded else self.assumed
        return self.measured.get(f"{projection.pre}.{projection.message}", sent)

    @property
    def text(self) -> str:
        """Where the rates come from."""
        assumed = f"{self.assumed:g} spikes per neuron and step (assumed), numbers in every step"
        if not self.measured:
            return assumed
        shown = ", ".join(f"{name} {rate:.3g}" for name, rate in self.measured.items())
        return f"measured, messages per neuron and step that are not 0: {shown}"


def resource(hardware: HardwareMap, name: str) -> Resource:
    """A limit of the map; None where none was published."""
    scalar = hardware.scalar(name)
    limit = None if scalar.value is None else hardware.number(name)
    return Resource(name, limit, FIELDS[name][0], f"{hardware.name}, {scalar.kind}: {scalar.source}")


def cuts_of(accounts: Accounting, share: float = 0.25, most: int = 4096,
            limits: np.ndarray | None = None) -> list[Cut]:
    """Equal blocks of every population, each of at most `share` of a core's memory and compartments, as far as that
    can be, with input axons that one core can take, and of at most `most` cells. `limits`: others than the map's."""
    found: list[Cut] = []
    limits = (accounts.limits() if limits is None else limits) * np.where(np.array(ADDITIVE) == AXONS, 0.9, share)
    for population in accounts.placed:
        blocks = math.ceil(population.size / most)
        while not _small(accounts, cuts := _blocks(population.name, population.size, blocks), limits):
            blocks = math.ceil(1.25 * blocks)
        found += cuts
    return found


def _blocks(population: str, size: int, blocks: int) -> list[Cut]:
    ends = np.linspace(0, size, min(size, blocks) + 1).round().astype(int)
    return [(population, int(a), int(b)) for a, b in zip(ends, ends[1:], strict=False)]


def _small(accounts: Accounting, cuts: list[Cut], limits: np.ndarray) -> bool:
    """Whether no block is larger than it should be, limits aside that one cell alone does not keep."""
    if cuts[-1][2] == len(cuts):
        return True
    limits = np.where(accounts.demand(cuts[0][0], 0, 1) > limits, np.inf, limits)
    return all((accounts.demand(*cut) <= limits).all() for cut in cuts)


def problem_of(graph: Graph, accounts: Accounting, cuts: Sequence[Cut], rates: Rates | None = None) -> MappingProblem:
    """The mapping problem of a circuit cut into these blocks."""
    names = tuple(p.name for p in accounts.placed)
    hardware = accounts.hardware
    edges = list(_edges(accounts, cuts, rates or Rates()))
    audiences = list({id(edge.audience): edge.audience for edge in edges}.values())
    numbers = {id(audience): number for number, audience in enumerate(audiences)}
    starts = np.cumsum([0, *(len(audience.targets) for audience in audiences)])
    drawn = any(a.reach is not None for a in audiences)
    reach = [np.ones(len(a.targets)) if a.reach is None else a.reach for a in audiences] if drawn else []
    problem = MappingProblem(
        populations=names,
        population_of=np.array([names.index(name) for name, _, _ in cuts], dtype=np.int64),
        start=np.array([first for _, first, _ in cuts], dtype=np.int64),
        stop=np.array([last for _, _, last in cuts], dtype=np.int64),
        resources=tuple(resource(hardware, name) for name in ADDITIVE[:-1]),
        demand=np.array([accounts.demand(*cut)[:-1] for cut in cuts]).reshape(len(cuts), len(ADDITIVE) - 1),
        edge_source=np.array([edge.source for edge in edges], dtype=np.int64),
        edge_starts=starts.astype(np.int64),
        edge_targets=np.concatenate([np.zeros(0, np.int64), *(a.targets for a in audiences)]),
        rate=np.array([edge.rate for edge in edges], dtype=float),
        axons=np.array([edge.axons for edge in edges], dtype=float),
        reach=np.concatenate(reach) if drawn else None,
        axons_in=resource(hardware, AXONS), axons_out=resource(hardware, "core.axons_out"),
        tables=tuple(_tables(accounts, cuts)), geometry=geometry_of(hardware),
        audience=None if len(audiences) == len(edges) else np.array([numbers[id(edge.audience)] for edge in edges]))
    return replace(problem, group_of=_groups(graph, cuts, problem))


@dataclass(frozen=True, eq=False)
class _Audience:
    """Items, and the fraction of a source's kind that has a target in each; None: all."""

    targets: np.ndarray
    reach: np.ndarray | None


@dataclass(frozen=True, eq=False)
class _Edge:
    source: int
    audience: _Audience
    axons: float
    rate: float


def _edges(accounts: Accounting, cuts: Sequence[Cut], rates: Rates) -> Iterator[_Edge]:
    items: dict[str, list[int]] = {}
    for index, (name, _, _) in enumerate(cuts):
        items.setdefault(name, []).append(index)
    for projection in accounts.projections.values():
        targets = np.array(items.get(projection.post, []), dtype=np.int64)
        if not len(targets):
            continue
        ranges = [cuts[item][1:] for item in targets]
        runs = runs_of(projection.connectivity, ranges)
        reach, ends = reach_of(projection.connectivity, runs, ranges), np.cumsum(runs.cells)
        alike = [_audience(targets, each) for each in reach] if len(runs.cells) == 1 else []
        for source in items.get(projection.pre, [HOST]):
            first, last = cuts[source][1:] if source != HOST else (0, projection.connectivity.pre)
            some = slice(int(np.searchsorted(ends, first, "right")), int(np.searchsorted(ends, last)) + 1)
            cells = np.minimum(ends[some], last) - np.maximum(ends[some] - runs.cells[some], first)
            found = zip(alike, cells, strict=True) if alike else _audiences(projection, reach[some], cells, targets)
            yield from _edges_of(projection, source, found, rates.of(projection))


def _audiences(projection: ProjectionAccount, reach: np.ndarray, cells: np.ndarray,
               targets: np.ndarray) -> Iterator[tuple[_Audience, int]]:
    """Of the sources of one block: those with the same targets together, drawn ones as their mean."""
    if isinstance(projection.connectivity, RANDOM):
        patterns, counts = (cells @ reach)[None] / cells.sum(), np.array([cells.sum()])
    else:
        patterns, counts = _patterns(reach, cells)
    yield from ((_audience(targets, pattern), count) for pattern, count in zip(patterns, counts, strict=True))


def _audience(targets: np.ndarray, pattern: np.ndarray) -> _Audience:
    chosen = np.flatnonzero(pattern)
    exact = bool((pattern[chosen] == 1.0).all())
    return _Audience(targets[chosen], None if exact else pattern[chosen].astype(float))


def _edges_of(projection: ProjectionAccount, source: int, found: Iterable[tuple[_Audience, int]],
              rate: float) -> Iterator[_Edge]:
    for audience, count in found:
        if not len(audience.targets):
            continue
        yield _Edge(source, audience, float(count), float(count * rate))
        if projection.slots > 1:
            yield _Edge(HOST, audience, float(count * (projection.slots - 1)), 0.0)


def _patterns(reach: np.ndarray, cells: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distinct rows, and the cells of each."""
    if (reach == reach[:1]).all():
        return reach[:1], np.array([cells.sum()])
    packed = np.packbits(reach > 0, axis=1)
    _, first, inverse = np.unique(packed, axis=0, return_index=True, return_inverse=True)
    return reach[first], np.bincount(inverse.ravel(), cells)


def _tables(accounts: Accounting, cuts: Sequence[Cut]) -> Iterator[Table]:
    keys: dict[str, list[tuple[int, object]]] = {name: [] for name in TABLES}
    for item, (name, _, _) in enumerate(cuts):
        population = accounts.populations[name]
        into = [accounts.projections[p] for p in accounts.into.get(name, ())]
        keys[COMPARTMENTS] += [(item, key) for key in sorted(population.settings)]
        keys[THRESHOLDS] += [(item, key) for key in sorted(population.thresholds)]
        keys[FORMATS] += [(item, p.format_key) for p in into]
        keys[TRACES] += [(item, p.trace_key) for p in into if p.trace_key]
    for name, pairs in keys.items():
        yield Table(resource(accounts.hardware, name), np.array([item for item, _ in pairs], dtype=np.int64),
                    _numbered([key for _, key in pairs]))


def _groups(graph: Graph, cuts: Sequence[Cut], problem: MappingProblem) -> np.ndarray:
    """The learning loop of an area (pyramidal cells, interneurons, error neurons) where it fits one core; otherwise the
    blocks of the area's populations of one size at the same place: a pyramidal block and its error neurons."""
    loops = {p.name: p.area or p.name for p in graph.populations}
    whole = Mapping(_numbered([loops[name] for name, _, _ in cuts]))
    broken = {violation.core for violation in violations(problem, whole)}
    blocks = Counter(name for name, _, _ in cuts)
    slots: dict[tuple[str, int], int] = {}
    for name, count in blocks.items():
        alike = (loops[name], graph.population(name).size)
        slots[alike] = max(count, slots.get(alike, 1))
    keys: list[object] = []
    for (name, first, _), loop in zip(cuts, whole.core_of_item, strict=True):
        alike = (loops[name], graph.population(name).size)
        keys.append((alike, round(first * slots[alike] / alike[1])) if loop in broken else loops[name])
    return _numbered(keys)


def _numbered(keys: Sequence[object]) -> np.ndarray:
    """Number of each key, in the order in which they appear first."""
    numbers = {key: number for number, key in enumerate(dict.fromkeys(keys))}
    return np.array([numbers[key] for key in keys], dtype=np.int64)
