"""`cortexc bench depth`: teacher-student error against depth, the error-neuron circuit and its rivals (Fig 3).

Rows {net, model, epochs, median, q25, q75, ...}: the test error of ten seeds, trained on Lava. `--set setting=fair`
compares with the same wiring, metric and tuning budget for all. With `-o FOLDER` every run is kept and not repeated.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from compiler.experiments.config import load_experiment
from compiler.experiments.files import write_json
from compiler.experiments.results import results
from compiler.experiments.session import Session
from compiler.experiments.tables import Experiment
from compiler.ir import unknown

NETS = ((2, 1), (4, 2, 1), (8, 4, 2, 1), (16, 8, 4, 2, 1), (32, 16, 8, 4, 2, 1))
MODELS = ("ann", "error-neuron", "dpc", "dendritic")
DEEP = (1, .2, .1, .05, .01)
FORWARD: Mapping[str, Sequence[Sequence[float]]] = {
    "error-neuron": ((1,), (2, .2), (1, .2, .05), (2, .5, .125, .03125), DEEP),
    "ann": ((1,), (2, .2), (1, .2, .05), (2, .5, .1, .01), DEEP),
    "dendritic": ((1,), (.1, .02), (.1, .02, .002), (.1, .01, .002, .001), DEEP)}
LATERAL = ((0,), (.04,), (.04, .004), (.02, .004, .002), (.4, .2, .1, .02))
"""Published learning rates, per net and area (specs/error_neuron.md 8.3)."""


@dataclass(frozen=True)
class Job:
    """All seeds of one model and net; `overrides` as on the command line."""

    model: str
    net: tuple[int, ...]
    overrides: Mapping[str, Any]
    folder: str | None = None

    @property
    def label(self) -> str:
        return label_of(self.net)


def label_of(net: tuple[int, ...]) -> str:
    return "-".join(map(str, net))


def published(model: str, net: tuple[int, ...]) -> dict[str, Any]:
    """The options of a model for a net in the published comparison."""
    i = NETS.index(net)
    rates = FORWARD["dendritic" if model == "dpc" else model][i]
    found: dict[str, Any] = {"model.layers": list(net), "model.eta_fw": list(rates), "model.target_delay": len(net) - 1}
    lateral = {"dendritic": "model.eta_IP", "dpc": "model.eta_PI"}.get(model)
    return found | ({lateral: list(LATERAL[i])} if lateral else {})


def rows(options: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Options: models, nets (texts such as 4-2-1), epochs (1000), seeds, jobs (2), and keys of an experiment."""
    jobs = [Job(model, net, _overrides(options, model, net), options.get("output"))
            for net in chosen_nets(options) for model in chosen_models(options)]
    return [_row(job, found) for job, found in zip(jobs, run_all(jobs, int(options.get("jobs", 2))), strict=True)]


def chosen_nets(options: Mapping[str, Any]) -> list[tuple[int, ...]]:
    """Raises X182."""
    known = {label_of(net): net for net in NETS}
    for name in options.get("nets", known):
        if name not in known:
            raise unknown("X182", "net", str(name), known)
    return [known[name] for name in options.get("nets", known)]


def chosen_models(options: Mapping[str, Any], known: Collection[str] = MODELS) -> Collection[str]:
    """Raises X182."""
    for name in options.get("models", known):
        if name not in known:
            raise unknown("X182", "model", str(name), known)
    return options.get("models", known)


def _overrides(options: Mapping[str, Any], model: str, net: tuple[int, ...]) -> dict[str, Any]:
    short = {"backend": "run.backend", "granularity": "run.granularity", "epochs": "protocol.epochs",
             "seeds": "run.seeds"}
    own = {key: value for key, value in options.items() if "." in key}
    return published(model, net) | own | {key: options[name] for name, key in short.items() if name in options}


def run_all(jobs: Sequence[Job], workers: int) -> list[dict[str, Any]]:
    """Results in the order of the jobs; `workers` processes."""
    if workers == 1:
        return [run_job(job) for job in jobs]
    from joblib import Parallel, delayed

    return list(Parallel(n_jobs=workers)(delayed(run_job)(job) for job in jobs))


def run_job(job: Job) -> dict[str, Any]:
    """The errors of all seeds; read where the folder has them."""
    experiment = load_experiment(f"depth_{job.model}", dict(job.overrides))
    file = Path(job.folder) / f"{job.model}_{job.label}_{experiment.protocol.epochs}.json" if job.folder else None
    if file and file.is_file():
        found = json.loads(file.read_text())
        if found["experiment_sha256"] == experiment.sha256():
            return found
    found = _run(experiment)
    if file:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_json(file, found)
    return found


def _run(experiment: Experiment) -> dict[str, Any]:
    with Session(experiment) as session:
        session.run()
        table = results(session)
    keys = ("errors", "test_error", "backend", "granularity", "experiment_sha256", "wall_s", "seconds", "steps")
    return {key: table[key] for key in keys}


def _row(job: Job, found: Mapping[str, Any]) -> dict[str, Any]:
    tests = [entry for entry in found["errors"] if entry["phase"] == "test"]
    errors = tests[-1]["error"]
    q25, median, q75 = np.percentile(errors, (25, 50, 75))
    return {"net": job.label, "model": job.model, "epochs": tests[-1]["epoch"] + 1, "median": float(median),
            "q25": float(q25), "q75": float(q75), "seeds": len(errors), "errors": errors,
            "validation": [[entry["epoch"], float(np.median(entry["error"]))] for entry in found["errors"]
                           if entry["phase"] == "validation"],
            "backend": found["backend"], "granularity": found["granularity"], "wall_s": found["wall_s"],
            "us_per_step": found["seconds"].get("run", 0.0) / found["steps"] * 1e6}
