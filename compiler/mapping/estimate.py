"""What a step and a sample cost: counts under NeuroBench's names for every map, energy and time where per-operation
figures were published (Loihi 1), from one named profile at a time. Always an estimate, never a measurement.

The range: from "no neuron is active and learning runs once per longest epoch" to "every neuron is active and every
learning synapse is updated in every step" (always-on plasticity). A step takes, at its low end, the operations of the
busiest core one after the other, the mesh hidden behind them, and the barrier of the smallest mesh; at its high end the
packets of that core, the busiest link and the longest way follow one after the other, with the barrier of the largest.

Where a published figure is one-sided, so is the sum: an energy with a minimum in it is "at least", a time with a
maximum in it "at most", and the low end of the time counts nothing for that figure. What was done and has no published
price is listed as not priced.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from cortexc.compiler.mapping.accounting import Accounting, ProjectionAccount
from cortexc.compiler.mapping.connectivity import Connectivity, Maps, OneToOne, synapses_in
from cortexc.compiler.mapping.items import Rates
from cortexc.compiler.mapping.problem import Mapping, MappingProblem
from cortexc.compiler.mapping.traffic import Flow, busiest_link, flow, hops
from cortexc.hardware_maps import HardwareMap, Scalar


@dataclass(frozen=True)
class Work:
    """Counts per step of one core: operations of each synapse layout, learning updates of stored synapses, neurons,
    spikes, packets to other cores."""

    operations: dict[str, float]
    learning: float
    neurons: float
    spikes: float
    packets: float

    @property
    def synaptic(self) -> float:
        return sum(self.operations.values())


@dataclass(frozen=True)
class Mesh:
    """Packets of a step: hops of all of them, packets on the busiest link, chips in use, crossings from chip to chip;
    hops of each way in use, (ways, 2): east-west and north-south."""

    hops: float
    link: float
    chips: int
    crossings: float
    ways: np.ndarray


def stored(connectivity: Connectivity) -> float:
    """Weights of a projection: those of a shared kernel once, none of the identity, otherwise one per connection."""
    if isinstance(connectivity, OneToOne) and not connectivity.weighted:
        return 0.0
    if isinstance(connectivity, Maps) and connectivity.shared:
        return float(connectivity.kernel(0, connectivity.post))
    return connectivity.synapses


def without_zeros(connectivity: Connectivity) -> tuple[float, float]:
    """(entries, operations of a step in which all send) of the array of weights: pre x post, but one per cell where
    cells are paired, and the kernels between maps."""
    if isinstance(connectivity, (Maps, OneToOne)):
        return stored(connectivity), connectivity.synapses
    return (float(connectivity.pre * connectivity.post),) * 2


def neurobench(accounts: Accounting, rates: Rates, steps: int) -> dict[str, Any]:
    """NeuroBench's static and workload metrics, operations per step and per sample of `steps` steps; and Connections,
    which is not one of them: pairs of cells, however many share a weight."""
    projections = list(accounts.projections.values())
    events = {q.name: q.connectivity.synapses * rates.of(q) for q in projections}
    macs = sum(events[q.name] for q in projections if q.graded)
    acs = sum(events.values()) - macs
    weights = sum(stored(q.connectivity) for q in projections)
    places, dense = (sum(each) for each in zip((0.0, 0.0), *(without_zeros(q.connectivity) for q in projections),
                                               strict=True))
    cells = float(sum(p.size for p in accounts.placed))
    arithmetic = float(sum(p.size * p.operations for p in accounts.placed))
    step = {"SynapticOperations": {"Effective_MACs": macs, "Effective_ACs": acs, "Dense": dense},
            "MembraneUpdates": cells, "NeuronOperations": arithmetic}
    stored_bits = sum(accounts.demand(p.name)[2] for p in accounts.placed)  # on as few cores as possible
    return {"Footprint": float(stored_bits) / 8, "ParameterCount": weights,
            "Connections": sum(q.connectivity.synapses for q in projections),
            "ConnectionSparsity": 1.0 - weights / places if places else 0.0,
            "ActivationSparsity": activation_sparsity(accounts, rates), "per_step": step,
            "per_sample": _times(step, steps), "steps_per_sample": steps}


def _times(table: dict[str, Any], factor: float) -> dict[str, Any]:
    return {name: _times(value, factor) if isinstance(value, dict) else value * factor for name, value in table.items()}


def activation_sparsity(accounts: Accounting, rates: Rates) -> float:
    """1 - messages per neuron and step, over all neurons that send."""
    sending: dict[str, float] = {}
    for q in accounts.projections.values():
        sending[q.pre] = max(rates.of(q), sending.get(q.pre, 0.0))
    cells = sum(accounts.populations[name].size for name in sending)
    sent = sum(accounts.populations[name].size * min(rate, 1.0) for name, rate in sending.items())
    return 1.0 - sent / cells if cells else 0.0


def spikes_per_neuron(accounts: Accounting, rates: Rates) -> float | None:
    """Spikes per neuron and step over all neurons that send spikes, inputs included; None where none does."""
    sent = {(q.pre, q.message): rates.of(q) for q in accounts.projections.values() if not q.graded}
    cells = sum(accounts.populations[name].size for name, _ in sent)
    return sum(accounts.populations[name].size * rate for (name, _), rate in sent.items()) / cells if cells else None


def work_of_cores(accounts: Accounting, problem: MappingProblem, mapping: Mapping, rates: Rates,
                  sent: np.ndarray) -> list[Work]:
    """What every core does in a step; `sent`: packets per core."""
    layouts = ("dense", "sparse", "shared")
    table = np.zeros((mapping.cores, len(layouts) + 4))
    kernels: dict[tuple[int, str], float] = {}
    spikes = {name: max([rates.of(q) for q in accounts.projections.values() if q.pre == name], default=0.0)
              for name in problem.populations}
    for item in range(problem.items):
        name, first, last = problem.block(item)
        core = int(mapping.core_of_item[item])
        row = table[core]
        for q in map(accounts.projections.__getitem__, accounts.into.get(name, ())):
            synapses = synapses_in(q.connectivity, first, last)
            row[layouts.index(q.connectivity.layout)] += synapses * rates.of(q)
            if isinstance(q.connectivity, Maps) and q.connectivity.shared:
                here = kernels.get((core, q.name), 0.0) + q.connectivity.kernel(first, last) * q.plastic
                kernels[core, q.name] = min(here, stored(q.connectivity))
            else:
                row[3] += synapses * q.plastic
        row[4] += last - first
        row[5] += (last - first) * spikes[name]
    for (core, _), updates in kernels.items():
        table[core, 3] += updates
    table[:, 6] = sent
    return [Work(dict(zip(layouts, map(float, row[:3]), strict=True)), *map(float, row[3:])) for row in table]


def estimates(accounts: Accounting, problem: MappingProblem, mapping: Mapping, rates: Rates,
              steps: int) -> list[dict[str, Any]]:
    """One per cost profile of the map; none where no figure was published."""
    if not accounts.hardware.profiles:
        return []
    sent = flow(problem, mapping)
    work, mesh = work_of_cores(accounts, problem, mapping, rates, sent.leaving), _mesh(problem, mapping, sent)
    return [_estimate(accounts.hardware, name, work, mesh, steps) for name in accounts.hardware.profiles]


def _mesh(problem: MappingProblem, mapping: Mapping, sent: Flow) -> Mesh:
    row, column = problem.geometry.tiles(mapping.positions)
    wide = int(column.max(initial=0)) + 1
    tiles, way = sent.between(row * wide + column, row * wide + column), hops(problem, mapping, sent)
    (rows, columns), (to_rows, to_columns) = (np.divmod(tile, wide) for tile in (tiles.row, tiles.col))
    ways = np.abs(np.stack([columns - to_columns, rows - to_rows], axis=1))
    return Mesh(way.hops, busiest_link(problem, mapping, sent).packets,
                len(np.unique(mapping.positions // problem.geometry.cores_per_chip)), way.crossings, ways)


def _estimate(hardware: HardwareMap, profile: str, work: list[Work], mesh: Mesh, steps: int) -> dict[str, Any]:
    costs = Costs(hardware, profile)
    low, high, learning = costs.energies(work, mesh, hardware.number("learning.epoch_max"))
    fast, slow = costs.times(work, mesh, hardware.number("learning.epoch_max"))
    least = hardware.value("chip.minimum_step")
    fast, slow = (max(time, least if isinstance(least, (int, float)) else 0.0) for time in (fast, slow))
    return {"label": "estimate, not a measurement", "profile": profile,
            "boundary": costs.text("boundary"), "conditions": costs.text("conditions"),
            "energy_per_step_J": [low, high], "time_per_step_s": [fast, slow],
            "energy_per_sample_J": [low * steps, high * steps], "time_per_sample_s": [fast * steps, slow * steps],
            "steps_per_sample": steps, "at_least": costs.at_least, "at_most_time": costs.at_most,
            "time_low_without": sorted(costs.left_out), "not_priced": sorted(costs.unpriced),
            "always_on_plasticity": {"energy_per_step_J": learning, "share": learning / high if high else 0.0,
                                     "priced": costs.published("learning_energy")},
            "sources": sorted({scalar.source for scalar in costs.used.values()})}


class Costs:
    """The figures of one profile; which of them were used, which are missing for something that was done, and which
    the low end of the time leaves out, since only a maximum was published."""

    def __init__(self, hardware: HardwareMap, profile: str):
        self.prefix, self.scalar = f"cost_profiles.{profile}.", hardware.scalar
        self.used: dict[str, Scalar] = {}
        self.unpriced: set[str] = set()
        self.left_out: set[str] = set()

    def published(self, name: str) -> bool:
        return self.scalar(self.prefix + name).value is not None

    def of(self, name: str, count: float, low: bool = False) -> float:
        """J or s of `count` operations; 0, and noted, where no figure was published, or at the `low` end a maximum
        alone. Raises H103 for a figure that the profile does not know."""
        if not count:
            return 0.0
        scalar = self.scalar(self.prefix + name)
        if scalar.value is None:
            self.unpriced.add(name)
            return 0.0
        if low and scalar.bound == "max":
            self.left_out.add(name)
            return 0.0
        self.used[name] = scalar
        return float(scalar.value) * count  # type: ignore[arg-type]

    def text(self, name: str) -> str:
        return str(self.scalar(self.prefix + name).value)

    @property
    def at_least(self) -> bool:
        """Whether the energies are, at both ends, only known to be at least so much."""
        return (any(name.endswith("_energy") and scalar.bound == "min" for name, scalar in self.used.items())
                or any(not name.endswith("_time") for name in self.unpriced))

    @property
    def at_most(self) -> bool:
        """Whether a figure of which only a maximum was published is in the upper time."""
        return any(name.endswith("_time") and scalar.bound == "max" for name, scalar in self.used.items())

    def energies(self, work: list[Work], mesh: Mesh, epoch: float) -> tuple[float, float, float]:
        """J per step: low, high, and what learning is of the high one."""
        neurons, sent = sum(w.neurons for w in work), sum(w.packets for w in work)
        learning = self.of("learning_energy", sum(w.learning for w in work))
        common = (sum(self.synaptic(w, "energy") for w in work) + self.of("message_energy", sent)
                  + self.of("spike_energy", sum(w.spikes for w in work)))
        if mesh.crossings:
            self.unpriced.add("links between chips")
        low = self.of("neuron_inactive_energy", neurons) + self.of("hop_east_west_energy", mesh.hops)
        high = self.of("neuron_active_energy", neurons) + self.of("hop_north_south_energy", mesh.hops)
        return common + low + learning / epoch, common + high + learning, learning

    def times(self, work: list[Work], mesh: Mesh, epoch: float) -> tuple[float, float]:
        """s per step: low (the mesh hidden behind the busiest core) and high (all one after the other)."""
        fast = max((self.core(w, "inactive", 1 / epoch, True) for w in work), default=0.0)
        slow = max((self.core(w, "active", 1.0, False) + self.of("message_time", w.packets) for w in work), default=0.0)
        if mesh.chips > 1:
            self.unpriced.add("barrier and links between chips")
        slow += self.of("hop_north_south_time", mesh.link) + max((
            self.of("hop_east_west_time", float(wide)) + self.of("hop_north_south_time", float(tall))
            for wide, tall in np.unique(mesh.ways, axis=0)), default=0.0)
        return fast + self.of("barrier_time_low", 1.0, True), slow + self.of("barrier_time_high", 1.0)

    def synaptic(self, work: Work, what: str, low: bool = False) -> float:
        """J or s of the synaptic operations of a core in one step."""
        names = {"dense": "synapse", "sparse": "synapse_sparse", "shared": "synapse_shared"}
        figures = {layout: f"{name}_{what}" for layout, name in names.items()}
        chosen = {k: name if self.published(name) else f"synapse_{what}" for k, name in figures.items()}
        return sum(self.of(chosen[layout], count, low) for layout, count in work.operations.items())

    def core(self, work: Work, activity: str, learning: float, low: bool) -> float:
        """s of one core's step: its operations one after the other."""
        return (self.synaptic(work, "time", low) + self.of(f"neuron_{activity}_time", work.neurons, low)
                + self.of("spike_time", work.spikes, low)
                + self.of("learning_time", work.learning * learning, low))


def plasticity_text(projections: list[ProjectionAccount]) -> str:
    """Which projections learn all the time, and how many synapses that is."""
    plastic = [q for q in projections if q.plastic]
    if not plastic:
        return "no projection learns"
    total, every = (sum(f(q.connectivity) for q in plastic) for f in (stored, lambda c: c.synapses))
    shared = f", shared by {every:,.0f} connections," if every > total else ""
    many = f"{len(plastic)} projection{'s' if len(plastic) > 1 else ''}"
    return f"{total:,.0f} synapses of {many}{shared} are updated in every step of learning"
