"""Monitors: which quantities are recorded, and what a monitor would have seen of them.

U110: a monitor that cannot be said.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from cortexc.compiler.front.brian2.cells import Cell
from cortexc.compiler.front.brian2.naming import UNKNOWN
from cortexc.compiler.front.brian2.projections import Made
from cortexc.compiler.front.brian2.units import powers, to_si
from cortexc.compiler.ir import CortexError, Expression, Name
from cortexc.compiler.ir.firing import SPIKE

Recorded = Mapping[str, np.ndarray]
Reading = Callable[[Recorded], np.ndarray]


@dataclass
class Monitors:
    """`dt`: seconds per step. `record`: quantities of the graph. `readings`: monitor -> what it has -> how it is made.
    """

    dt: float
    steps: int
    record: dict[str, None] = field(default_factory=dict)
    readings: dict[str, dict[str, Reading]] = field(default_factory=dict)

    def spikes(self, monitor: Any, cell: Cell) -> None:
        """Times and cells, as a SpikeMonitor has them. Raises U110."""
        extra = set(monitor.record_variables) - {"i", "t"}
        if extra or monitor.event != SPIKE:
            raise _refused(monitor, f"records {', '.join(sorted(extra)) or monitor.event}", "Record spikes alone.")
        events = self._events(monitor, cell)
        found: dict[str, Reading] = {"count": lambda data: np.bincount(events(data)[1], minlength=len(monitor.source))}
        if monitor.record:
            found |= {"t": lambda data: events(data)[0] * self.dt, "i": lambda data: events(data)[1]}
        self.readings[monitor.name] = found

    def rates(self, monitor: Any, cell: Cell) -> None:
        """Spikes per cell and second of every step, as a PopulationRateMonitor has them."""
        events, cells = self._events(monitor, cell), len(monitor.source)
        self.readings[monitor.name] = {
            "t": lambda _: np.arange(self.steps) * self.dt,
            "rate": lambda data: np.bincount(events(data)[0], minlength=self.steps) / (cells * self.dt)}

    def _events(self, monitor: Any, cell: Cell) -> Callable[[Recorded], tuple[np.ndarray, np.ndarray]]:
        key = f"{cell.population}.{SPIKE}"
        self.record[key] = None
        first, last = monitor.source.start, monitor.source.stop
        return lambda data: np.nonzero(data[key][:, 0, first:last])  # type: ignore[return-value]

    def states(self, monitor: Any, source: Cell | Made) -> None:
        """Variables at the start or end of steps, (elements, times) in SI units. Raises U110."""
        if monitor.when not in ("start", "end"):
            raise _refused(monitor, f"records at '{monitor.when}'", "Record when='start' or when='end'.")
        every = int(round(float(monitor.clock.dt_) / self.dt))
        if abs(every * self.dt - float(monitor.clock.dt_)) > 1e-9 * self.dt or every < 1:
            raise _refused(monitor, "does not record every so many steps", "Use a multiple of the network's dt.")
        rows = np.arange(0, self.steps, every)
        found: dict[str, Reading] = {"t": lambda _: rows * self.dt}
        for name in monitor.record_variables:
            found[name] = self._cells(monitor, name, source, rows) if isinstance(source, Cell) else \
                self._synapses(monitor, name, source, rows)
        self.readings[monitor.name] = found

    def _cells(self, monitor: Any, name: str, cell: Cell, rows: np.ndarray) -> Reading:
        _check_kept(monitor, name, cell.group.name)
        variable, which = cell.group.variables[name], monitor.record + getattr(monitor.source, "start", 0)
        dimensions = powers(variable.dim)
        start = np.broadcast_to(_start(cell, name), (len(cell.group),))
        quantity, behind = _watched(cell, name, monitor.when)
        if not quantity:
            return lambda _: to_si(np.repeat(start[which][:, None], len(rows), axis=1), dimensions)
        key = f"{cell.population}.{quantity}"
        self.record[key] = None
        return lambda data: to_si(_shifted(data[key][:, 0], start, behind)[rows][:, which].T, dimensions)

    def _synapses(self, monitor: Any, name: str, made: Made, rows: np.ndarray) -> Reading:
        variable, which = monitor.source.variables[name], monitor.record
        _check_kept(monitor, name, monitor.source.name)
        if hasattr(variable, "expr"):
            raise _refused(monitor, f"records '{name}', which is made of others", "Record what it is made of.")
        value = np.broadcast_to(variable.get_value(), (len(monitor.source),))
        if name in made.lazy:
            raise _refused(monitor, f"records '{name}', which Brian2 works out at events alone and keeps as it was "
                           "then", "Say (clock-driven) instead of (event-driven).")
        if name not in made.quantity:
            return lambda _: np.repeat(value[which][:, None], len(rows), axis=1)
        own, dimensions, start = made.quantity[name], powers(variable.dim), np.array(value, np.float64)
        self.record |= {f"{projection}.{own}": None for projection, _ in made.parts}

        def read(data: Recorded) -> np.ndarray:
            found = np.empty((self.steps, len(start)))
            for projection, synapses in made.parts:
                found[:, synapses] = to_si(data[f"{projection}.{own}"][:, 0], dimensions)
            return _shifted(found, start, monitor.when == "start")[rows][:, which].T

        return read


def _refused(monitor: Any, why: str, hint: str) -> CortexError:
    return CortexError("U110", f"{type(monitor).__name__} '{monitor.name}' {why}.", hint)


def _check_kept(monitor: Any, name: str, owner: str) -> None:
    variable = monitor.source.variables[name]
    if name in UNKNOWN or getattr(variable.owner, "name", owner) != owner:
        raise _refused(monitor, f"records '{name}', which is no variable of '{owner}'", "Record it where it is.")


def _start(cell: Cell, name: str) -> np.ndarray:
    variable = cell.group.variables[name]
    return np.zeros(()) if hasattr(variable, "expr") else cell.value(name)


def _shifted(values: np.ndarray, start: np.ndarray, behind: bool) -> np.ndarray:
    """What was there before each step, of what was there after it."""
    return np.concatenate([start[None], values])[:len(values)] if behind else values


def _watched(cell: Cell, name: str, when: str) -> tuple[str, bool]:
    """(quantity of the cell, whether it is recorded a step earlier); "" for what never changes."""
    if name in cell.changing:
        return cell.own(name), when == "start"
    if name in cell.now:
        return cell.own(name), False
    if not hasattr(cell.group.variables[name], "expr"):
        return "", False
    value = cell.translated(cell.group.variables[name].expr, cell.early if when == "start" else _late(cell))
    return cell.quantity(name, value, cell.unit(name), "receive").name, False


def _late(cell: Cell) -> dict[str, Expression]:
    return {name: Name(cell.own(name)) for name in cell.now}
