"""What a step and a sample cost: counts under NeuroBench's names for every map, energy and time where per-operation
figures were published (Loihi 1), from one named profile at a time. Always an estimate, never a measurement.

The range: from "no neuron is active and learning runs once per longest epoch" to "every neuron is active and every
learning synapse is updated in every step" (always-on plasticity). Where the published figure is itself one-sided
(`bound = "min"`), the sum is marked "at least"; for times `bound = "max"` it is "at most" as far as that term goes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from compiler.mapping.accounting import Accounting, ProjectionAccount
from compiler.mapping.connectivity import synapses_in
from compiler.mapping.items import Rates
from compiler.mapping.problem import Mapping, MappingProblem, hops, packets
from hardware_maps import HardwareMap


@dataclass(frozen=True)
class Work:
    """Counts per step of one core: operations of each synapse layout, learning updates, neurons, spikes."""

    operations: dict[str, float]
    learning: float
    neurons: float
    spikes: float

    @property
    def synaptic(self) -> float:
        return sum(self.operations.values())


def neurobench(accounts: Accounting, rates: Rates, steps: int) -> dict[str, Any]:
    """NeuroBench's static and workload metrics, operations per step and per sample of `steps` steps."""
    projections = list(accounts.projections.values())
    events = {q.name: q.connectivity.synapses * rates.of(q) for q in projections}
    macs = sum(events[q.name] for q in projections if q.graded)
    acs = sum(events.values()) - macs
    dense = float(sum(q.connectivity.pre * q.connectivity.post for q in projections))
    cells = float(sum(p.size for p in accounts.placed))
    arithmetic = float(sum(p.size * p.operations for p in accounts.placed))
    synapses = sum(q.connectivity.synapses for q in projections)
    step = {"SynapticOperations": {"Effective_MACs": macs, "Effective_ACs": acs, "Dense": dense},
            "MembraneUpdates": cells, "NeuronOperations": arithmetic}
    return {"Footprint": footprint(accounts), "ParameterCount": synapses,
            "ConnectionSparsity": 1.0 - synapses / dense if dense else 0.0,
            "ActivationSparsity": activation_sparsity(accounts, rates), "per_step": step,
            "per_sample": _times(step, steps), "steps_per_sample": steps}


def _times(table: dict[str, Any], factor: float) -> dict[str, Any]:
    return {name: _times(value, factor) if isinstance(value, dict) else value * factor for name, value in table.items()}


def footprint(accounts: Accounting) -> float:
    """Bytes of synapses and states at the map's formats, on as few cores as possible."""
    demands = [accounts.demand(p.name) for p in accounts.placed]
    return float(sum(demand[2] for demand in demands)) / 8


def activation_sparsity(accounts: Accounting, rates: Rates) -> float:
    """1 - messages per neuron and step, over all neurons that send."""
    sending: dict[str, float] = {}
    for q in accounts.projections.values():
        sending[q.pre] = max(rates.of(q), sending.get(q.pre, 0.0))
    cells = sum(accounts.populations[name].size for name in sending)
    sent = sum(accounts.populations[name].size * min(rate, 1.0) for name, rate in sending.items())
    return 1.0 - sent / cells if cells else 0.0


def work_of_cores(accounts: Accounting, problem: MappingProblem, mapping: Mapping, rates: Rates) -> list[Work]:
    """What every core does in a step."""
    layouts = ("dense", "sparse", "shared")
    table = np.zeros((mapping.cores, len(layouts) + 3))
    for item in range(problem.items):
        name = problem.populations[problem.population_of[item]]
        first, last = int(problem.start[item]), int(problem.stop[item])
        row = table[mapping.core_of_item[item]]
        for q in map(accounts.projections.__getitem__, accounts.into.get(name, ())):
            synapses = synapses_in(q.connectivity, first, last)
            row[layouts.index(q.connectivity.layout)] += synapses * rates.of(q)
            row[3] += synapses * q.plastic
        row[4] += last - first
        row[5] += (last - first) * _spikes(accounts, name, rates)
    return [Work(dict(zip(layouts, map(float, row[:3]), strict=True)), *map(float, row[3:])) for row in table]


def _spikes(accounts: Accounting, population: str, rates: Rates) -> float:
    sent = [rates.of(q) for q in accounts.projections.values() if q.pre == population]
    return max(sent, default=0.0)


def estimates(accounts: Accounting, problem: MappingProblem, mapping: Mapping, rates: Rates,
              steps: int) -> list[dict[str, Any]]:
    """One per cost profile of the map; none where no figure was published."""
    work = work_of_cores(accounts, problem, mapping, rates)
    between = packets(problem, mapping)
    sent, ways = float(between.sum()), hops(problem, mapping, between).hops
    return [_estimate(accounts.hardware, name, work, sent, ways, steps) for name in accounts.hardware.profiles]


def _estimate(hardware: HardwareMap, profile: str, work: list[Work], sent: float, ways: float,
              steps: int) -> dict[str, Any]:
    costs = Costs(hardware, profile)
    epoch = hardware.number("learning.epoch_max")
    learning = costs.energy("learning") * sum(w.learning for w in work)
    common = (sum(costs.synaptic(w, "energy") for w in work) + costs.energy("spike") * sum(w.spikes for w in work)
              + costs.energy("message") * sent)
    neurons = sum(w.neurons for w in work)
    low = common + costs.energy("neuron_inactive") * neurons + costs.energy("hop_east_west") * ways + learning / epoch
    high = common + costs.energy("neuron_active") * neurons + costs.energy("hop_north_south") * ways + learning
    fast = max((costs.time(w, "inactive", 1 / epoch) for w in work), default=0.0) + costs.one("barrier_time_low")
    slow = max((costs.time(w, "active", 1.0) for w in work), default=0.0) + costs.one("barrier_time_high")
    return {"label": "estimate, not a measurement", "profile": profile,
            "boundary": costs.text("boundary"), "conditions": costs.text("conditions"),
            "energy_per_step_J": [low, high], "time_per_step_s": [fast, slow],
            "energy_per_sample_J": [low * steps, high * steps], "time_per_sample_s": [fast * steps, slow * steps],
            "steps_per_sample": steps, "at_least": costs.bounded("min"), "at_most_time": costs.bounded("max"),
            "always_on_plasticity": {"energy_per_step_J": learning, "share": learning / high if high else 0.0,
                                     "priced": costs.published("learning_energy")},
            "sources": sorted({scalar.source for scalar in costs.used.values()})}


class Costs:
    """The figures of one profile, and which of them were used."""

    def __init__(self, hardware: HardwareMap, profile: str):
        self.prefix, self.scalars = f"cost_profiles.{profile}.", hardware.scalars
        self.used: dict[str, Any] = {}

    def published(self, name: str) -> bool:
        scalar = self.scalars.get(self.prefix + name)
        return scalar is not None and scalar.value is not None

    def one(self, name: str) -> float:
        """J or s; 0 where nothing was published."""
        if not self.published(name):
            return 0.0
        self.used[name] = self.scalars[self.prefix + name]
        return float(self.used[name].value)

    def text(self, name: str) -> str:
        scalar = self.scalars.get(self.prefix + name)
        return str(scalar.value) if scalar else ""

    def energy(self, operation: str) -> float:
        return self.one(f"{operation}_energy")

    def synaptic(self, work: Work, what: str) -> float:
        """J or s of the synaptic operations of a core in one step."""
        names = {"dense": "synapse", "sparse": "synapse_sparse", "shared": "synapse_shared"}
        figures = {layout: f"{name}_{what}" for layout, name in names.items()}
        chosen = {k: name if self.published(name) else f"synapse_{what}" for k, name in figures.items()}
        return sum(count * self.one(chosen[layout]) for layout, count in work.operations.items() if count)

    def time(self, work: Work, activity: str, learning: float) -> float:
        """s of one core's step: its operations one after the other."""
        return (self.synaptic(work, "time") + work.neurons * self.one(f"neuron_{activity}_time")
                + work.spikes * self.one("spike_time") + work.learning * learning * self.one("learning_time"))

    def bounded(self, side: str) -> bool:
        return any(scalar.bound == side for scalar in self.used.values())


def plasticity_text(projections: list[ProjectionAccount]) -> str:
    """Which projections learn all the time, and how many synapses that is."""
    plastic = [q for q in projections if q.plastic]
    if not plastic:
        return "no projection learns"
    total = sum(q.connectivity.synapses for q in plastic)
    return f"{total:,.0f} synapses of {len(plastic)} projections are updated in every step of learning"
