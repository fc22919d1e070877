"""The plan of an experiment: the task's phases and samples, with the recordings that were asked for.

X121 a recording that cannot be made; X127 data that the task does not read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from compiler.experiments.tables import Data, Experiment, RecordTable
from compiler.experiments.tasks.classify import READOUT, classification_plan
from compiler.experiments.tasks.control import control_plan
from compiler.experiments.tasks.generate import generation_plan
from compiler.experiments.tasks.match_to_sample import matching_plan
from compiler.experiments.tasks.plans import HALVED, Plan
from compiler.experiments.tasks.published import Teacher, published_plan
from compiler.experiments.tasks.resets import reset_depth, with_reset_column
from compiler.experiments.tasks.stream import stream_plan
from compiler.experiments.tasks.teacher_student import ERRORS, teaching_plan
from compiler.ir import CortexError, Graph, unknown
from compiler.ir.protocol import Phase, Protocol, Record, Stream

OWN_TRIALS = ("control", "match_to_sample")
DATA_KEYS: dict[str, tuple[str, ...]] = {
    "classify": tuple(key for key in Data.__struct_fields__ if key not in ("path", "inputs")),
    "generate": ("name", "split", "folder", "limits"), "stream": ("path", "inputs")}
"""What a task reads of [data]; other tasks make their own samples."""


def make_plan(experiment: Experiment, graph: Graph, teacher: Teacher | None = None) -> Plan:
    """The plan of an experiment's task; `teacher` gives the targets of the task fw_bw. Raises D401.., X120 to X126."""
    table = experiment.protocol
    for key in ("halve_at", "update_every"):
        if getattr(table, key) and table.task != "classify":
            raise CortexError("X122", f"protocol.{key} is for task 'classify', not '{table.task}'.")
    _check_data(experiment)
    if table.resets and table.task in OWN_TRIALS:
        raise CortexError("X122", f"protocol.reset has no meaning in task '{table.task}', whose trials go on over "
                                  "presentations.", "Leave it out.")
    if table.task == "classify":
        plan = classification_plan(experiment, graph)
    elif table.task == "stream":
        plan = stream_plan(experiment, graph)
    elif table.task == "teacher_student":
        plan = teaching_plan(experiment, graph)
    elif table.task == "generate":
        plan = generation_plan(experiment, graph)
    elif table.task == "control":
        plan = control_plan(experiment, graph)
    elif table.task == "match_to_sample":
        plan = matching_plan(experiment, graph)
    else:
        plan = published_plan(experiment, graph, teacher)
    plan = replace(plan, protocol=_with_records(plan.protocol, experiment, graph))
    if table.resets:
        plan = replace(plan, protocol=with_reset_column(plan.protocol, reset_depth(graph)))
    plan.protocol.check(graph.gates)
    return plan


def _check_data(experiment: Experiment) -> None:
    """Raises X127 for what [data] names and the task would not use."""
    task, data, unset = experiment.protocol.task, experiment.data, Data()
    for key in Data.__struct_fields__:
        if getattr(data, key) != getattr(unset, key) and key not in DATA_KEYS.get(task, ()):
            read = ", ".join(DATA_KEYS.get(task, ())) or "nothing"
            raise CortexError("X127", f"task '{task}' does not read data.{key} = {getattr(data, key)!r}; of [data] it "
                                      f"reads {read}.", "Leave it out.")


def _with_records(protocol: Protocol, experiment: Experiment, graph: Graph) -> Protocol:
    tables = dict(experiment.record)
    if not tables and experiment.protocol.task == "stream" and graph.outputs:
        tables["output"] = RecordTable(quantities=[quantity for _, quantity in graph.outputs], at=[-1])
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
