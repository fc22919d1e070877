"""Runs of experiments that a folder keeps, so that none is made twice, and the rows that they become."""

from __future__ import annotations

import fcntl
import io
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cortexc.compiler.experiments.checkpoints import NAME
from cortexc.compiler.experiments.config import Experiment, load_experiment
from cortexc.compiler.experiments.files import writable_folder, write_bytes, write_json
from cortexc.compiler.experiments.plots import new_figure
from cortexc.compiler.experiments.results import RESULTS, results
from cortexc.compiler.experiments.session import Session, run_experiment

Found = dict[str, Any]


@dataclass(frozen=True)
class Job:
    """One run; `label` are the columns of its row, `overrides` as on the command line; `kept_in`: a file for what was
    found, or a run folder."""

    experiment: str
    label: tuple[tuple[str, Any], ...]
    overrides: Mapping[str, Any]
    kept_in: Path | None = None

    def loaded(self) -> Experiment:
        return load_experiment(self.experiment, dict(self.overrides))


def whole_run(job: Job) -> Found:
    """The results of a run: read, resumed or run, as its folder allows. What fails at its end is read as it is."""
    experiment, folder = job.loaded(), job.kept_in
    if folder is None:
        return run_experiment(experiment)
    with _alone_in(writable_folder(folder)):
        begun = (folder / NAME).is_file()
        return _read(folder / RESULTS, experiment) or run_experiment(experiment, folder, resume=begun, force=not begun)


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """While a worker that was taken for lost is still at a run, another one waits."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # where the file system has no locks
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _read(file: Path | None, experiment: Experiment) -> Found | None:
    """What a file holds of this very experiment."""
    found: Found = json.loads(file.read_text(encoding="utf-8")) if file and file.is_file() else {}
    return found if found.get("experiment_sha256") == experiment.sha256() else None


def trained(experiment: Experiment, more: Callable[[Session], Found] = lambda session: {}) -> Found:
    """The results of a run to the end, and what is asked of its session."""
    with Session(experiment) as session:
        session.run()
        return {**results(session), **more(session)}


def kept_run(job: Job, run: Callable[[Experiment], Found] = trained) -> Found:
    """What `run` gives for a job's experiment; a job that has a file leaves it there, and reads it the second time."""
    experiment, file = job.loaded(), job.kept_in
    if found := _read(file, experiment):
        return found
    made = run(experiment)
    if file:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_json(file, made)
    return made


def by_label(jobs: Sequence[Job], found: Sequence[Found]) -> list[tuple[Found, list[Found]]]:
    """(columns, results) of the jobs that differ in their seed alone."""
    groups: dict[tuple[tuple[str, Any], ...], list[Found]] = {}
    for job, result in zip(jobs, found, strict=True):
        groups.setdefault(job.label, []).append(result)
    return [(dict(label), runs) for label, runs in groups.items()]


def accuracy(runs: Sequence[Found]) -> Found:
    """Mean and spread over seeds; of runs that ended before their first test there is none."""
    values = [run["test_accuracy"] for run in runs if run["test_accuracy"] is not None]
    return {"accuracy": float(np.mean(values)) if values else None, "spread": float(np.std(values)) if values else None,
            "seeds": len(runs)}


def mean_seconds(runs: Sequence[Mapping[str, Any]]) -> float:
    return float(np.mean([run["wall_s"] for run in runs]))


@contextmanager
def figure(path: Path, rows: int = 1, columns: int = 1, saved: Mapping[str, Any] | None = None,
           figsize: tuple[float, float] = (6, 4), layout: Any = None, **options: Any) -> Iterator[tuple[Any, Any]]:
    """(figure, axes) to draw on; written when the block ends. `saved`: options of the file. Raises X220."""
    drawn = new_figure(*figsize, layout=layout)
    yield drawn, drawn.subplots(rows, columns, **options)
    buffer = io.BytesIO()
    drawn.savefig(buffer, format=path.suffix.removeprefix("."), **(saved or {}))
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, buffer.getvalue())
