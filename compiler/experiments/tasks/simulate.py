"""The task `simulate`: a circuit runs for some time by itself, and its spikes are recorded."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
import numpy as np

from cortexc.compiler.experiments.spikes import Observed, spikes_of, summary
from cortexc.compiler.experiments.tables import Count, RecordTable, Setting
from cortexc.compiler.experiments.tasks.base import Task, Teacher
from cortexc.compiler.experiments.tasks.plans import Plan, When, columns, gate_columns
from cortexc.compiler.ir import CortexError, Graph
from cortexc.compiler.ir.firing import SPIKE
from cortexc.compiler.ir.protocol import Phase, Protocol

Milliseconds = Annotated[float, msgspec.Meta(ge=0, le=1e9)]
STREAM, TRACES = "spikes", "traces"


class Simulate(Task, frozen=True, tag="simulate"):
    """`duration_ms`, of which the first `warm_up_ms` do not count for what results.json says of the spikes.
    `gates`: those that are on (by default all); `schedule`: gate -> when, in steps, `learn = {from = 1000}`. Exogenous
    inputs are 0. Without [record], the spikes of all populations are kept as events, and their membranes in `traces`
    cells each."""

    duration_ms: Milliseconds = 1000.0
    warm_up_ms: Milliseconds = 0.0
    gates: list[str] | None = None
    traces: Count = 2
    schedule: dict[str, When] = {}

    def plan(self, setting: Setting, graph: Graph, teacher: Teacher | None) -> Plan:
        """One phase of one presentation. Raises X122."""
        steps, warm_up = (self._steps(key, graph.dt) for key in ("duration_ms", "warm_up_ms"))
        phase = Phase("run", 1, steps, gates=gate_columns(graph.gates if self.gates is None else self.gates))
        samples = np.zeros((1, sum(column.size for column in columns(graph))))
        observed = Observed(graph.dt, warm_up, spiking(graph), graph.batch)
        return Plan(Protocol((phase,), ("run",)), samples, (0,), {}, "no input", spiking=observed)

    def _steps(self, key: str, dt: float) -> int:
        length = getattr(self, key)
        if abs(length / dt - round(length / dt)) > 1e-6 or round(length / dt) < (key == "duration_ms"):
            raise CortexError("X122", f"protocol.{key} = {length:g} is no whole number of steps of {dt:g} ms.")
        return round(length / dt)

    def recorded(self, graph: Graph) -> dict[str, RecordTable]:
        spikes = [f"{name}.{SPIKE}" for name in spiking(graph)]
        membranes = [f"{p.name}.v" for p in graph.populations if any(s.name == "v" for s in graph.cell(p.cell).states)]
        tables = {STREAM: RecordTable(quantities=spikes, every=1, events=True)} if spikes else {}
        if membranes and self.traces:
            tables[TRACES] = RecordTable(quantities=membranes, every=1, cells=self.traces)
        return tables

    def measures(self, plan: Plan, records: Any, position: int) -> dict[str, Any]:
        """`spikes`: of every population, the means of its statistics."""
        assert plan.spiking is not None
        return {"spikes": summary(spikes_of(plan.spiking, records.taken(), STREAM, position))}


def spiking(graph: Graph) -> dict[str, int]:
    """Cells of every population that sends spikes."""
    return {p.name: p.size for p in graph.populations if SPIKE in graph.cell(p.cell).messages}
