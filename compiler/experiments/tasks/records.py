"""The plan of an experiment: the task's phases and samples, with the recordings that were asked for.

Of recordings of many cells little is kept: events, or a few cells. The runner writes their rows into a window of the
record buffer, and between its calls what is kept is taken out of it.

X121 a recording that cannot be made; X127 data that the task does not read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from itertools import pairwise, product

import numpy as np

from cortexc.compiler.backends.runtime import due_steps
from cortexc.compiler.backends.table import Runner
from cortexc.compiler.experiments.config import Experiment
from cortexc.compiler.experiments.tables import Data, RecordTable
from cortexc.compiler.experiments.tasks.base import Teacher
from cortexc.compiler.experiments.tasks.plans import ERRORS, HALVED, READOUT, Plan, scheduled
from cortexc.compiler.experiments.tasks.resets import reset_depth, with_reset_column
from cortexc.compiler.ir import CortexError, Graph, unknown
from cortexc.compiler.ir.protocol import Phase, Protocol, Record, Stream


def make_plan(experiment: Experiment, graph: Graph, teacher: Teacher | None = None) -> Plan:
    """The plan of an experiment's task; `teacher` gives the targets of the task fw_bw. Raises D401.., X120 to X127."""
    table, data = experiment.protocol, experiment.data
    for key in Data.__struct_fields__:
        if getattr(data, key) != getattr(Data(), key) and key not in table.reads:
            raise CortexError("X127", f"task '{table.task}' does not read data.{key} = {getattr(data, key)!r}; of "
                                      f"[data] it reads {', '.join(table.reads) or 'nothing'}.", "Leave it out.")
    plan = scheduled(table.plan(experiment, graph, teacher), getattr(table, "schedule", {}))
    tables = experiment.record or table.recorded(graph)
    protocol = with_windows(_with_records(plan.protocol, tables), tables, graph)
    if table.resets:
        protocol = with_reset_column(protocol, reset_depth(graph))
    protocol.check(graph.gates)
    return replace(plan, protocol=protocol)


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


Arrays = dict[str, np.ndarray]
WINDOW_BYTES = 32 * 2**20
STEP, CELL = ".step", ".cell"


# ---- of many cells little


def with_windows(protocol: Protocol, tables: Mapping[str, RecordTable], graph: Graph) -> Protocol:
    """Raises X121 where events are asked for of what is no quantity of cells."""
    sizes, streams = {p.name: p.size for p in graph.populations}, []
    for stream in protocol.streams:
        table, width = tables.get(stream.name), 0
        for quantity in stream.quantities if table and (table.events or table.cells) else ():
            if (owner := quantity.partition(".")[0]) not in sizes:
                raise CortexError("X121", f"[record.{stream.name}] keeps events or some cells of '{quantity}', which "
                                          "is no quantity of a population.",
                                  "Record it in a table without 'events' and 'cells'.")
            width += graph.batch * sizes[owner]
            stream = replace(stream, window=max(WINDOW_BYTES // (8 * max(width, 1)), 1))
        streams.append(stream)
    return replace(protocol, streams=tuple(streams))


class Windows:
    """What has been taken out of the windows of a run, which has to be done after every `most` steps."""

    def __init__(self, protocol: Protocol, tables: Mapping[str, RecordTable]):
        self.protocol, self.tables = protocol, tables
        self.places = {stream.name: i for i, stream in enumerate(protocol.streams) if stream.window}
        self.most = min((protocol.streams[i].window for i in self.places.values()), default=2**53)
        self.steps = {name: _steps_of_rows(protocol, name) for name in self.places}
        self.rows = dict.fromkeys(self.places, 0)
        self.pieces: dict[str, list[np.ndarray]] = {}

    def take(self, runner: Runner) -> None:
        """What the runner has recorded since the last time."""
        for name, place in self.places.items():
            first, written, stream = self.rows[name], runner.feed.rows_written[place], self.protocol.streams[place]
            assert written - first <= stream.window, "rows of a window were lost"
            turns = range(first - first % stream.window + stream.window, written, stream.window)  # the window's ends
            parts = pairwise([first, *turns, *([written] if written > first else [])])
            for (start, end), quantity in product(parts, stream.quantities):
                values, steps = runner.records.rows(name, quantity, start, end), self.steps[name][start:end]
                chosen = evenly(self.tables[name].cells, values.shape[-1])
                kept = events(values, steps) if self.tables[name].events else {"": values[..., chosen], STEP: steps}
                for key, array in kept.items():
                    self.pieces.setdefault(f"{name}/{quantity}{key}", []).append(array)
            self.rows[name] = written

    def arrays(self) -> Arrays:
        """By `STREAM/QUANTITY` and what of it: of events `.step`, `.element`, `.cell` and `.value`, of cells their
        values and `.step`."""
        for key, pieces in self.pieces.items():
            self.pieces[key] = [np.concatenate(pieces)]
        return {key: pieces[0] for key, pieces in self.pieces.items()}

    def restore(self, arrays: Mapping[str, np.ndarray], runner: Runner) -> None:
        """Goes on where `arrays` were taken, with a runner at that place."""
        self.pieces = {key: [array] for key, array in arrays.items()}
        self.rows = {name: runner.feed.rows_written[place] for name, place in self.places.items()}


def events(values: np.ndarray, steps: np.ndarray) -> Arrays:
    """What is not 0 of values (rows, batch, cells), row by row."""
    there = np.flatnonzero(values != 0)
    row, element, cell = np.unravel_index(there, values.shape)
    return {STEP: steps[row], ".element": element.astype(np.int32), CELL: cell.astype(np.int32),
            ".value": values[row, element, cell]}


def evenly(count: int, size: int) -> np.ndarray:
    """So many of `size` cells, spread evenly."""
    return np.linspace(0, size - 1, min(count, size)).astype(int)


def _steps_of_rows(protocol: Protocol, stream: str) -> np.ndarray:
    """The step of the run (from 0) of every row."""
    phases, start, found = {p.name: p for p in protocol.phases}, 0, [np.zeros(0, np.int64)]
    for name in protocol.sequence:
        phase = phases[name]
        found += [start + due_steps(asdict(rule), {"steps": phase.steps}, 0, phase.total)
                  for which, rule in phase.records if which == stream]
        start += phase.total
    return np.concatenate(found)
