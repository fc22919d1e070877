"""What a circuit needs of a chip, population by population and projection by projection, at the map's formats.

A synapse is stored with its target, in a list per input axon: blocks of synapses with a header, in whole words. Sparse
lists carry an index per synapse; a kernel that all positions share is stored once per core. A learning synapse keeps
its rule's states and its optimiser's beside the weight, each as a tag. One presynaptic cell takes one input axon per
projection and core. Cells whose values come from outside (inputs, no ports) are fed by the host and take no core.

What is not counted, because no size was published: entries of routing tables, microcode, accumulators of ports.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from statistics import NormalDist

import numpy as np

from cortexc.compiler.ir import CellType, Expression, Graph, Population, Projection, show
from cortexc.compiler.ir.expressions import Binary, Call, Negate, Where, depth_of, leaves, previous, walk
from cortexc.compiler.ir.model import cell_parameters
from cortexc.compiler.ir.synapses import most_delay
from cortexc.compiler.mapping.alike import draws_of, even, list_moments, ordered, positions_of, reach_of, runs_of
from cortexc.compiler.mapping.connectivity import RANDOM, Connectivity, Drawn, Maps, connectivity_of
from cortexc.compiler.passes.ranges import Ranges, value_ranges
from cortexc.compiler.passes.read_sets import compartment
from cortexc.hardware_maps import HardwareMap

ADDITIVE = ("core.compartments", "core.synapse_bits", "core.memory_bits", "core.axons_in")
"""Resources that parts on one core add up to."""
QUANTILE = 0.999
"""Of the memory that a drawn projection takes on a core: what is counted."""


@dataclass(frozen=True)
class PopulationAccount:
    """One population. `compartments` and `state_bits` per cell; `operations` per cell and step; `spiking`: sends 0
    and 1 only; `settings`: (cell, compartment, parameters) that a core keeps in a table, `thresholds` likewise."""

    name: str
    size: int
    external: bool
    compartments: int
    state_bits: int
    operations: int
    settings: frozenset[tuple[str, ...]]
    thresholds: frozenset[tuple[str, ...]]


@dataclass(frozen=True)
class ProjectionAccount:
    """One projection. `synapse_bits`: of one synapse, its index not included; `states`: values per synapse besides
    the weight; `message_bits`: what it has to transmit; `slots`: input axons per presynaptic cell and core."""

    name: str
    pre: str
    post: str
    message: str
    connectivity: Connectivity
    plastic: bool
    delay: int
    states: int
    synapse_bits: int
    message_bits: int
    slots: int
    format_key: tuple[str, ...]
    trace_key: tuple[str, ...] | None

    @property
    def graded(self) -> bool:
        return self.message_bits > 1

    def sources(self, first: int, last: int) -> float:
        """Presynaptic cells that have a synapse onto the range (expected, where drawn)."""
        runs = runs_of(self.connectivity, [(first, last)])
        return float(runs.cells @ reach_of(self.connectivity, runs, [(first, last)])[:, 0])


@dataclass(frozen=True)
class Accounting:
    """A circuit on a map: the accounts, in the graph's order.

    `positions`: of the populations whose cells are cut position by position (see `order`); the others keep their
    numbers.
    """

    circuit: str
    hardware: HardwareMap
    populations: dict[str, PopulationAccount]
    projections: dict[str, ProjectionAccount]
    into: dict[str, tuple[str, ...]] = field(default_factory=dict)
    positions: dict[str, int] = field(default_factory=dict)
    _known: dict[tuple[str, int], np.ndarray] = field(default_factory=dict, repr=False, compare=False)

    @property
    def placed(self) -> tuple[PopulationAccount, ...]:
        """Populations that take cores."""
        return tuple(p for p in self.populations.values() if not p.external)

    def limits(self, assumed: bool = True) -> np.ndarray:
        """Of a core, in the order of ADDITIVE; `assumed` False: without those that are only assumed."""
        without = () if assumed else self.hardware.assumed
        return np.array([np.inf if name in without else self.hardware.number(name) for name in ADDITIVE])

    def demand(self, population: str, first: int = 0, last: int | None = None) -> np.ndarray:
        """Of the cells first..last-1 on one core, in the order of ADDITIVE."""
        last = self.populations[population].size if last is None else last
        if not self._even[population]:
            return self._demand(population, first, last)
        key = population, last - first
        if key not in self._known:
            self._known[key] = self._demand(population, first, last)
        return self._known[key]

    @cached_property
    def _even(self) -> dict[str, bool]:
        """Population -> whether blocks of one size need the same, wherever they begin."""
        return {name: all(even(self.projections[p].connectivity) for p in self.into.get(name, ()))
                for name in self.populations}

    def _demand(self, population: str, first: int, last: int) -> np.ndarray:
        account, cells = self.populations[population], last - first
        found = [self.projections[name] for name in self.into.get(population, ())]
        synapses = sum(self.synapse_bits(p, first, last) for p in found)
        axons = sum(p.sources(first, last) * p.slots for p in found)
        return np.array([cells * account.compartments, synapses, synapses + cells * account.state_bits, axons])

    def synapse_bits(self, projection: ProjectionAccount, first: int, last: int) -> float:
        """Synaptic memory of one projection onto a range of cells on one core."""
        c, each = projection.connectivity, projection.synapse_bits
        if c.layout == "dense":
            return float(self._lists(np.array([float(last - first)]), each)[0]) * c.pre
        each += int(self.hardware.number("core.index_bits"))
        if isinstance(c, Maps) and c.shared:
            return self._words(c.kernel(first, last) * each)
        runs = runs_of(c, [(first, last)])
        counts = runs.counts[:, 0]
        if isinstance(c, RANDOM):
            mean, free, known = list_moments(lambda n: self._lists(n, each), *draws_of(c, runs, last - first))
            variance = known if isinstance(c, Drawn) and c.settled else free
            return float(runs.cells @ mean + NormalDist().inv_cdf(QUANTILE) * (runs.cells @ variance) ** 0.5)
        return float(runs.cells @ (self._lists(counts, each) * (counts > 0)))

    def _lists(self, counts: np.ndarray, each: int) -> np.ndarray:
        """Bits of lists of so many synapses: blocks with headers, in whole words."""
        block, header = self.hardware.number("core.synapses_per_block"), self.hardware.number("core.header_bits")
        full = np.floor_divide(counts, block)
        rest = counts - full * block if math.isfinite(block) else counts
        whole = full * self._words(block * each + header) if math.isfinite(block) else 0.0
        return np.asarray(whole + self._words_of(np.where(rest > 0, rest * each + header, 0.0)))

    def _words(self, bits: float) -> float:
        return float(self._words_of(np.array(bits)))

    def _words_of(self, bits: np.ndarray) -> np.ndarray:
        word = self.hardware.number("core.word_bits")
        return np.ceil(bits / word) * word


def account(graph: Graph, hardware: HardwareMap, rules: Mapping[str, Connectivity] | None = None) -> Accounting:
    """The accounts of a circuit; `rules` gives connectivity that the graph has no word for. Raises M110, M111."""
    populations = {p.name: population_account(graph, p, hardware) for p in graph.populations}
    places = positions_of(graph)
    projections = {q.name: projection_account(graph, q, hardware, rules, places) for q in graph.projections}
    into = {p.name: tuple(q.name for q in graph.projections if q.post == p.name) for p in graph.populations}
    return Accounting(graph.name, hardware, populations, projections, into, places)


# ---- populations


def population_account(graph: Graph, population: Population, hardware: HardwareMap) -> PopulationAccount:
    cell = graph.cell(population.cell)
    places = {port.compartment for port in cell.ports} | {compartment(cell, e.name) for e in cell.equations} or {"soma"}
    bits = sum(depth * _width(cell, name, hardware) for name, depth in stored(graph, population).items())
    word = int(hardware.number("core.state_word_bits"))
    setting = _setting(graph, population.name)
    return PopulationAccount(
        population.name, population.size, bool(cell.inputs) and not cell.ports,
        len(places) if hardware.value("core.slot_per_compartment") else 1, -(-bits // word) * word,
        sum(operations(e.expression) for e in cell.equations),
        frozenset((place, *setting) for place in places),
        frozenset((show(limit), *setting) for limit in thresholds(cell, value_ranges(graph, population.name))))


def stored(graph: Graph, population: Population) -> dict[str, int]:
    """Quantity -> how many earlier values of it the cell and the rules at its synapses read."""
    cell, found = graph.cell(population.cell), dict[str, int]()
    read = [previous(tree) for e in cell.equations for tree in (e.expression, *[e.begins] * e.derivative)]
    for q in graph.projections:
        rule, side = graph.rule_of(q), {q.pre: "pre.", q.post: "post."}.get(population.name)
        read += [{name.removeprefix(side): depth for name, depth in previous(e).items() if name.startswith(side)}
                 for e in rule.expressions] if rule and side else []
    for name, depth in (each for depths in read for each in depths.items()):
        found[name] = max(depth, found.get(name, 0))
    return found


def _width(cell: CellType, name: str, hardware: HardwareMap) -> int:
    """Bits of a stored quantity: its own integer type, or the map's state."""
    state = cell.state(name)
    if state and state.dtype.startswith("int"):
        return int(state.dtype.removeprefix("int"))
    return int(hardware.number("numeric.state_bits"))


def operations(expression: Expression) -> int:
    """Arithmetic, comparisons, choices and calls of one evaluation."""
    return sum(isinstance(node, (Binary, Negate, Call, Where)) for node in walk(expression))


def thresholds(cell: CellType, ranges: Ranges) -> list[Expression]:
    """What spikes compare a potential with: right sides of comparisons in quantities that are 0 or 1. A comparison of
    what is itself 0 or 1 is none."""
    nodes = [node for e in cell.equations if ranges.is_binary(e.name) for node in walk(e.expression)]
    return [node.right for node in nodes if isinstance(node, Binary) and node.operator in (">", ">=", "<", "<=")
            and not ranges.of(node.left).binary]


# ---- projections


def projection_account(graph: Graph, projection: Projection, hardware: HardwareMap,
                       rules: Mapping[str, Connectivity] | None = None,
                       positions: Mapping[str, int] | None = None) -> ProjectionAccount:
    kind, rule = graph.class_of(projection.name), graph.rule_of(projection)
    states = len(rule.states) + rule.optimiser.traits.kept if rule else 0
    steps = projection.delay + most_delay(graph, projection) - 1
    delay = int(hardware.number("numeric.delay_bits")) if steps > 1 else 0
    weight, tag = (int(hardware.number(f"numeric.{name}_bits")) for name in ("weight", "tag"))
    slots = int(hardware.number("core.slots_per_learning_axon")) if rule else 1
    places = positions or {}
    connectivity = ordered(connectivity_of(graph, projection, rules), places.get(projection.pre),
                           places.get(projection.post))
    return ProjectionAccount(
        projection.name, projection.pre, projection.post, kind.message, connectivity, rule is not None,
        steps, states + (steps > 1), weight + states * tag + delay,
        message_bits(graph, projection, hardware), slots,
        (kind.name, kind.sign, str(rule is not None)), _traces(graph, projection))


def _traces(graph: Graph, projection: Projection) -> tuple[str, ...] | None:
    """What a rule reads of the presynaptic cell: a trace setting of the core.

    The message itself, now or earlier, is one setting for all cells; a trace that the cell defines is its own, with
    its parameters.
    """
    rule = graph.rule_of(projection)
    if rule is None:
        return None
    read = {(node.name.removeprefix("pre."), depth_of(node)) for e in rule.expressions for node in leaves(e)
            if node.name.startswith("pre.")}
    message = graph.class_of(projection.name).message
    own = any(name != message for name, _ in read)
    return (*(f"message {depth}" if name == message else name for name, depth in sorted(read)),
            *(_setting(graph, projection.pre) if own else ())) if read else None


def _setting(graph: Graph, population: str) -> tuple[str, ...]:
    """The cell and its parameters."""
    values = cell_parameters(graph, graph.population(population))
    return (graph.population(population).cell, *(f"{name}={values[name]:g}" for name in sorted(values)))


def message_bits(graph: Graph, projection: Projection, hardware: HardwareMap) -> int:
    """1 for what is 0 or 1, however it is written, else the width of the number that is sent."""
    message = graph.class_of(projection.name).message
    if value_ranges(graph, projection.pre).is_binary(message):
        return 1
    return _width(graph.cell_of(projection.pre), message, hardware)
