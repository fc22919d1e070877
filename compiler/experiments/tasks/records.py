"""The plan of an experiment: the task's phases and samples, with the recordings that were asked for.

X121 a recording that cannot be made; X127 data that the task does not read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from cortexc.compiler.experiments.experiment import Experiment
from cortexc.compiler.experiments.tables import Data, RecordTable
from cortexc.compiler.experiments.tasks.base import Task, Teacher
from cortexc.compiler.experiments.tasks.measures import ERRORS, READOUT
from cortexc.compiler.experiments.tasks.plans import HALVED, Plan
from cortexc.compiler.experiments.tasks.resets import reset_depth, with_reset_column
from cortexc.compiler.experiments.tasks.schedule import scheduled
from cortexc.compiler.experiments.tasks.windows import with_windows
from cortexc.compiler.ir import CortexError, Graph, unknown
from cortexc.compiler.ir.protocol import Phase, Protocol, Record, Stream


def make_plan(experiment: Experiment, graph: Graph, teacher: Teacher | None = None) -> Plan:
    """The plan of an experiment's task; `teacher` gives the targets of the task fw_bw. Raises D401.., X120 to X127."""
    table = experiment.protocol
    _check_data(table, experiment.data)
    plan = scheduled(table.plan(experiment, graph, teacher), getattr(table, "schedule", {}))
    tables = experiment.record or table.recorded(graph)
    protocol = with_windows(_with_records(plan.protocol, tables), tables, graph)
    if table.resets:
        protocol = with_reset_column(protocol, reset_depth(graph))
    protocol.check(graph.gates)
    return replace(plan, protocol=protocol)


def _check_data(table: Task, data: Data) -> None:
    """Raises X127 for what [data] names and the task would not use."""
    for key in Data.__struct_fields__:
        if getattr(data, key) != getattr(Data(), key) and key not in table.reads:
            raise CortexError("X127", f"task '{table.task}' does not read data.{key} = {getattr(data, key)!r}; of "
                                      f"[data] it reads {', '.join(table.reads) or 'nothing'}.", "Leave it out.")


def _with_records(protocol: Protocol, tables: Mapping[str, RecordTable]) -> Protocol:
    for name, table in tables.items():
        if name in {stream.name for stream in protocol.streams}:
            raise CortexError("X121", f"[record.{name}]: the task records under that name itself.", "Choose another.")
        _check_record(name, table, protocol)
    streams = tuple(Stream(name, table.recorded) for name, table in tables.items())
    phases = tuple(replace(phase, records=phase.records + tuple(_due(tables, phase))) for phase in protocol.phases)
    return replace(protocol, phases=phases, streams=protocol.streams + streams)


def _check_record(name: str, table: RecordTable, protocol: Protocol) -> None:
    known = [phase.name for phase in protocol.phases]
    if name.startswith((READOUT, ERRORS)):
        raise CortexError("X121", f"[record.{name}]: names that start with '{READOUT}' or '{ERRORS}' are taken.",
                          "Choose another.")
    if not table.recorded:
        raise CortexError("X121", f"[record.{name}] names no quantities.",
                          "Add quantities = [\"population.quantity\"].")
    if bool(table.every) + bool(table.at) + table.at_end != 1:
        raise CortexError("X121", f"[record.{name}] must have exactly one of 'every' (> 0), 'at' and 'at_end'.")
    for wanted in table.phases:
        if wanted not in known:
            raise unknown("X121", f"phase in [record.{name}]", wanted, known)
    shown = [phase for phase in protocol.phases if phase.total and (phase.name in table.phases or not table.phases)]
    if table.every and shown and all(table.offset >= phase.total for phase in shown):
        raise CortexError("X121", f"[record.{name}] would record nothing: its first step is {table.offset}, but its "
                                  f"longest phase has {max(phase.total for phase in shown)} steps.",
                          "Make 'offset' smaller.")
    if table.events and table.cells:
        raise CortexError("X121", f"[record.{name}] has both 'events' and 'cells'.", "Choose one.")
    for phase in protocol.phases:
        for step in table.at:
            if (phase.name in table.phases or not table.phases) and not -phase.steps <= step < phase.steps:
                raise CortexError("X121", f"[record.{name}] records at step {step}, but a presentation of phase "
                                          f"'{phase.name}' has {phase.steps} steps.", "Name other 'phases'.")


def _due(tables: Mapping[str, RecordTable], phase: Phase) -> Iterator[tuple[str, Record]]:
    for name, table in tables.items():
        if table.phases and phase.name.split(HALVED)[0] not in table.phases or not phase.total:
            continue
        if table.at_end:
            yield name, Record(every=phase.total, offset=phase.total - 1)
        elif table.every:
            yield name, Record(every=table.every, offset=table.offset)
        else:
            yield name, Record(at=tuple(sorted({step % phase.steps for step in table.at})))
