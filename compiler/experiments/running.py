"""A run of an experiment, as far as it can be looked at: what it was made from, and what it has done so far."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cortexc.compiler.backends.in_process import Records
from cortexc.compiler.backends.table import Runner
from cortexc.compiler.experiments.compilation import compile_experiment, make_runner
from cortexc.compiler.experiments.config import Experiment
from cortexc.compiler.experiments.files import made_for
from cortexc.compiler.experiments.tasks.plans import Plan
from cortexc.compiler.experiments.tasks.records import Windows
from cortexc.compiler.experiments.underflow import Underflow, counted, merged
from cortexc.compiler.passes.group_weights import Parts


class Running:
    """`runner`: where it is, with the names of the graph that runs. `seconds` says where time went, `changes` which
    quantities were set, and after how many steps."""

    def __init__(self, experiment: Experiment, folder: Path | None, code: Path | None, edited: Path | None):
        self.experiment, self.folder, self.code, self.edited = experiment, folder, code, edited
        with made_for(folder):
            self.compiled = compile_experiment(experiment)
            self.identity = self.compiled.identity()
            self.seconds = dict(self.compiled.seconds)
            with self.timed("compile"):
                self.runner: Runner = make_runner(self.compiled, code, edited)
        self.windows = Windows(self.compiled.protocol, self.compiled.recordings)
        self.resumed_from = self.steps_run = 0
        self.run_checkpoints = 0.0
        self.changes: list[list[Any]] = []

    @property
    def plan(self) -> Plan:
        return self.compiled.plan

    @property
    def underflow(self) -> list[Underflow]:
        """What has become 0 in fixed point so far."""
        return merged(self.compiled.underflow, counted(self.compiled.report.graph, self.runner.value))

    @property
    def position(self) -> int:
        """Network steps done."""
        return int(self.runner.position)

    @property
    def total(self) -> int:
        return self.plan.protocol.total

    def value(self, quantity: str) -> np.ndarray:
        """A quantity now, by its name as written, in the runner's shape. Raises KeyError."""
        return joined(quantity, self.compiled.parts, self.runner.value)

    @property
    def records(self) -> JoinedRecords:
        """What has been recorded, by the names as written."""
        return JoinedRecords(self.runner.records, self.compiled.parts, self.windows)

    @contextlib.contextmanager
    def timed(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start


@dataclass(frozen=True)
class JoinedRecords:
    """Recordings of a circuit some of whose projections became groups."""

    records: Records
    parts: Parts
    windows: Windows

    def rows(self, stream: str, quantity: str) -> np.ndarray:
        """As the runner gives them. Raises E279."""
        return joined(quantity, self.parts, lambda name: self.records.rows(stream, name))

    def taken(self) -> dict[str, np.ndarray]:
        """What was taken out of the streams that keep events or some cells."""
        return self.windows.arrays()


def joined(quantity: str, parts: Parts, read: Callable[[str], np.ndarray]) -> np.ndarray:
    """The sum over the groups that a projection became; a weight is 0 in all but its own."""
    owner, _, own = str(quantity).partition(".")
    if owner not in parts:
        return read(quantity)
    return np.asarray(sum(read(f"{part}.{own}") for part in parts[owner]))
