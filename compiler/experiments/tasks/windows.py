"""Recordings of many cells of which little is kept: events, or a few cells.

The runner writes their rows into a window of the record buffer, and between its calls what is kept is taken out of it.

X121 a recording that cannot be made.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace

import numpy as np

from cortexc.compiler.backends.runtime import due_steps
from cortexc.compiler.backends.table import Runner
from cortexc.compiler.experiments.tables import RecordTable
from cortexc.compiler.ir import CortexError, Graph
from cortexc.compiler.ir.protocol import Protocol, Stream

Arrays = dict[str, np.ndarray]
WINDOW_BYTES = 8 * 2**20
STEP, CELL = ".step", ".cell"


def with_windows(protocol: Protocol, tables: Mapping[str, RecordTable], graph: Graph) -> Protocol:
    """Raises X121 where events are asked for of what is no quantity of cells."""
    return replace(protocol, streams=tuple(
        _windowed(stream, graph) if is_windowed(tables.get(stream.name)) else stream for stream in protocol.streams))


def is_windowed(table: RecordTable | None) -> bool:
    return table is not None and bool(table.events or table.cells)


def _windowed(stream: Stream, graph: Graph) -> Stream:
    sizes = {p.name: p.size for p in graph.populations}
    for quantity in stream.quantities:
        if quantity.partition(".")[0] not in sizes:
            raise CortexError("X121", f"[record.{stream.name}] keeps events or some cells of '{quantity}', which is no "
                                      "quantity of a population.", "Record it in a table without 'events' and 'cells'.")
    width = graph.batch * sum(sizes[quantity.partition(".")[0]] for quantity in stream.quantities)
    return replace(stream, window=max(WINDOW_BYTES // (8 * max(width, 1)), 1))


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
            for quantity in stream.quantities if written > first else ():
                values = runner.records.rows(name, quantity, first)
                for key, array in self._kept(name, values, self.steps[name][first:written]).items():
                    self.pieces.setdefault(f"{name}/{quantity}{key}", []).append(array)
            self.rows[name] = written

    def _kept(self, name: str, values: np.ndarray, steps: np.ndarray) -> Arrays:
        if self.tables[name].events:
            return events(values, steps)
        chosen = evenly(self.tables[name].cells, values.shape[-1])
        return {"": values[..., chosen], STEP: steps}

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
