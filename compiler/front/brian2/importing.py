"""A Brian2 network as a graph, with what it is fed and what is recorded.

U101: Brian2 is not there; U102: an object, U103: clocks and order that cannot be said.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np

from cortexc.compiler.front.brian2.cells import Cell
from cortexc.compiler.front.brian2.monitors import Monitors
from cortexc.compiler.front.brian2.naming import plain
from cortexc.compiler.front.brian2.pathways import Ends
from cortexc.compiler.front.brian2.projections import Made, check_order, projections
from cortexc.compiler.front.brian2.synapses import Joined
from cortexc.compiler.ir import Graph, Name, Population, State, verify
from cortexc.compiler.ir.errors import CortexError, check_type
from cortexc.compiler.ir.firing import SPIKE

GROUPS = ("NeuronGroup", "PoissonGroup", "SpikeGeneratorGroup")
MONITORS = ("SpikeMonitor", "StateMonitor", "PopulationRateMonitor")
SLOTS = ["start", "groups", "thresholds", "synapses", "resets", "end"]
PARTS = {"StateUpdater": "groups", "Thresholder": "thresholds", "Resetter": "resets",
         "SubexpressionUpdater": "before_start", "SynapticPathway": "synapses", "SummedVariableUpdater": "groups",
         "SpikeGeneratorGroup": "thresholds", "PoissonInput": "synapses"}
"""What objects are made of -> the slot of a step in which it runs."""
ORDERS = {"StateUpdater": 0, "SummedVariableUpdater": -1}


@dataclass(frozen=True)
class Imported:
    """A network of Brian2. `simulate(imported.graph, **imported.run)` runs it; `imported.read(...)` of the result is
    what its monitors would have."""

    graph: Graph
    steps: int
    inputs: Mapping[str, np.ndarray]
    record: tuple[str, ...]
    monitors: Monitors

    @property
    def run(self) -> dict[str, Any]:
        """Arguments of `cortexc.simulate` and `cortexc.verify`."""
        return {"steps": self.steps, "inputs": dict(self.inputs), "record": self.record}

    def read(self, recorded: Mapping[str, np.ndarray]) -> dict[str, dict[str, np.ndarray]]:
        """Monitor -> what it has: `t` and `i` of spikes, `t` and (elements, times) of states, `t` and `rate`; numbers
        in SI units without Brian2's marks, as its `variable_` are."""
        return {monitor: {name: reading(recorded) for name, reading in found.items()}
                for monitor, found in self.monitors.readings.items()}


def from_brian2(network: Any, duration: Any, *, namespace: Mapping[str, Any] | None = None,
                name: str = "brian2") -> Imported:
    """The graph of a `brian2.Network`, or of a list of Brian2 objects (`collect()`), and what it needs to run.

        model = from_brian2(Network(collect()), 100 * ms)
        found = simulate(model.graph, **model.run)
        model.read(found)["spikemonitor"]["t"]

    `duration`: as in `network.run(duration)`, in Brian2's units or in seconds. `namespace`: names of constants, as of
    `network.run`; without it those where this is called. The network is left as it is, and must not have run.

    Numbers are in ms, mV, pA, um, K, fmol and what follows (nS, pF, 1/ms). docs/brian2.md says how a step of Brian2 is
    a step of the graph, and what is not the same.

    Raises U101 without the extra, U102 for objects, U103 for clocks, U104 for expressions, U105 for methods, U106 for
    statements of synapses, U107 for delays, U108 for linked variables, U109 for refractoriness, U110 for monitors, U111
    for PoissonInputs that cannot be said, and what `check_graph` raises.
    """
    try:
        import brian2
    except ImportError:
        raise CortexError("U101", "Brian2 is not installed.", "pip install 'cortexc[brian2]'.") from None
    frame = inspect.currentframe()
    around = frame.f_back if frame else None
    known = {**around.f_globals, **around.f_locals} if namespace is None and around else dict(namespace or {})
    check_type("from_brian2", network, (brian2.Network, list, tuple, set), "a Network of Brian2 or its objects")
    if float(getattr(network, "t_", 0.0)):
        raise CortexError("U103", "the network has run already.", "Import it before it runs.")
    check_type("from_brian2", duration, (Real, brian2.Quantity), "a time, such as 100 * ms")
    plain = not isinstance(duration, brian2.Quantity) or brian2.have_same_dimensions(duration, brian2.second)
    if not plain or not np.isfinite(float(duration)):
        raise CortexError("U103", f"the duration is {duration}; it must be a time.", "Such as 100 * ms.")
    objects = network.objects if isinstance(network, brian2.Network) else list(network)
    return _Import(objects, float(duration), known, name).imported()


class _Import:
    def __init__(self, objects: Iterable[Any], duration: float, namespace: Mapping[str, Any], name: str):
        self.name, self.namespace = name, namespace
        self.objects = sorted(set(objects), key=lambda o: o.name)
        _check_objects(self.objects)
        self.dt = _step(self.objects)
        self.steps = _whole(duration, self.dt)
        self.taken = {"gate", "table"}
        self.cells = {group.name: self._cell(group) for group in self._of(*GROUPS)}
        self.joined = [Joined(s, Ends(self._of_group(s.source), self._of_group(s.target)), namespace, self.steps)
                       for s in self._of("Synapses")]
        self.monitors = Monitors(self.dt, self.steps)

    def _of(self, *kinds: str) -> list[Any]:
        return [o for o in self.objects if type(o).__name__ in kinds]

    def _cell(self, group: Any) -> Cell:
        kind = Generator if type(group).__name__ == "SpikeGeneratorGroup" else Cell
        return kind(group, plain(group.name, self.taken), self.namespace, self.steps)

    def _of_group(self, group: Any) -> Cell:
        """Of a group, or of the one that it is a part of."""
        found = getattr(group, "source", group).name
        if found not in self.cells:
            raise CortexError("U102", f"{type(group).__name__} '{group.name}' is not in the network.", "Add it.")
        return self.cells[found]

    def imported(self) -> Imported:
        for joined in self.joined:
            joined.scan()
        for source in self._of("PoissonInput"):
            cell = self._of_group(source._group)
            cell.poisson.append(source)
            cell.targets.add(source._target_var)
        self._step()
        made = [projections(joined, self.taken) for joined in self.joined]
        self._watch({joined.group.name: found for joined, found in zip(self.joined, made, strict=True)})
        graph = self._graph(made)
        verify(graph)
        inputs = {f"{c.population}.{name}": rows for c in self.cells.values() for name, rows in c.inputs.items()}
        return Imported(graph, self.steps, inputs, tuple(self.monitors.record), self.monitors)

    def _step(self) -> None:
        """Every cell, slot by slot."""
        for cell in self.cells.values():
            cell.begin()
        for joined in self.joined:
            joined.sum()
        for cell in self.cells.values():
            cell.build()
        for joined in self.joined:
            joined.run()
        check_order(self.joined)
        for cell in self.cells.values():
            cell.arrive()
            cell.reset()
            cell.end()

    def _watch(self, made: Mapping[str, Made]) -> None:
        for monitor in self._of(*MONITORS):
            if type(monitor).__name__ == "StateMonitor" and monitor.source.name in made:
                self.monitors.states(monitor, made[monitor.source.name])
                continue
            watch = {"SpikeMonitor": self.monitors.spikes, "StateMonitor": self.monitors.states,
                     "PopulationRateMonitor": self.monitors.rates}[type(monitor).__name__]
            watch(monitor, self._of_group(monitor.source))

    def _graph(self, made: Iterable[Made]) -> Graph:
        cells = list(self.cells.values())
        graph = Graph(self.name, self.dt * 1e3, cells=tuple(cell.cell() for cell in cells),
                      populations=tuple(Population(c.population, f"{c.population}_cell", len(c.group)) for c in cells),
                      arrays={f"{c.population}.{name}": array for c in cells for name, array in c.arrays.items()})
        for found in made:
            graph = found.added_to(graph)
        return graph


def _whole(duration: float, dt: float) -> int:
    steps = round(duration / dt)
    if abs(steps * dt - duration) > 1e-4 * dt or steps < 0:
        raise CortexError("U103", f"{duration * 1e3:g} ms are no whole number of steps of {dt * 1e3:g} ms.")
    return steps


def _check_objects(objects: Iterable[Any]) -> None:
    """Raises U102, U103 and U108."""
    from brian2 import prefs

    for o in objects:
        kind = type(o).__name__
        if kind not in (*GROUPS, *MONITORS, "Synapses", "PoissonInput"):
            raise CortexError("U102", f"{kind} '{o.name}' cannot be said.",
                              f"There are {', '.join((*GROUPS, 'Synapses', 'PoissonInput', *MONITORS))}.")
        if getattr(o, "_linked_variables", None):
            raise CortexError("U108", f"{kind} '{o.name}' has linked variables ({', '.join(o._linked_variables)}).",
                              "Let Synapses bring them: x_post = x_pre (summed).")
        for event in set(getattr(o, "events", ())) - {"spike"} if kind == "NeuronGroup" else ():
            raise CortexError("U102", f"{kind} '{o.name}' has an event '{event}'.", "Only spikes can be said.")
        if not o.active:
            raise CortexError("U102", f"{kind} '{o.name}' is not active.", "Leave it out of the network.")
        for part in (*o.contained_objects, *[o] * (kind in PARTS)):
            _check_part(o, part)
    if list(prefs.core.network.default_schedule) != SLOTS:
        raise CortexError("U103", "the schedule of the network is not Brian2's own.", f"Use {SLOTS}.")


def _check_part(owner: Any, part: Any) -> None:
    kind = type(part).__name__
    slot = PARTS.get(kind)
    if slot is None:
        raise CortexError("U102", f"{kind} '{part.name}' of '{owner.name}' cannot be said.",
                          "run_regularly and network operations have no place in a graph.")
    if part.when != slot or part.order != ORDERS.get(kind, part.order):
        raise CortexError("U103", f"'{part.name}' runs at '{part.when}', order {part.order}; that cannot be said.",
                          "Leave Brian2's order as it is.")


def _step(objects: Iterable[Any]) -> float:
    """Seconds. Raises U103."""
    found = {round(float(o.clock.dt_), 15): o for o in objects if type(o).__name__ not in MONITORS}
    if len(found) != 1:
        said = ", ".join(f"'{o.name}' {dt * 1e3:g} ms" for dt, o in sorted(found.items(), key=lambda item: item[0]))
        raise CortexError("U103", f"a network has one step, and this one has {said or 'none'}.", "Use one dt.")
    (o,) = found.values()
    return float(o.clock.dt_)


class Generator(Cell):
    """A SpikeGeneratorGroup: spikes are an input."""

    def begin(self) -> None:
        group = self.group
        spikes = np.zeros((self.steps, len(group)))
        first = np.floor(group._spike_time / self.dt + 1e-3).astype(np.int64)
        period = int(np.round(float(group.variables["period"].get_value()[0]) / self.dt))
        for start in range(0, self.steps, period) if period else [0]:
            inside = first + start < self.steps
            spikes[first[inside] + start, group._neuron_index[inside]] = 1.0
        self.inputs[self.own("value")] = spikes
        self.states.append(State(SPIKE))
        self.emit(SPIKE, Name(self.own("value")), "send")
        self.publish(Name(SPIKE), SPIKE)

    def build(self) -> None:
        """Nothing happens in it."""
