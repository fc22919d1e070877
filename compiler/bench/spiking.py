"""Benchmarks of the sign-concordant circuit, trained on Lava: accuracy by feedback policy, measures of the claim.

`cortexc bench mnist-sign-concordant`, `fashion-sign-concordant`, `cnn-sign-concordant`, `speed-sign-concordant`. With
`-o FOLDER` every run keeps its results there and is not run again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from compiler.bench import run_all
from compiler.bench.concordance import measures, reader
from compiler.experiments.circuits import circuit_options
from compiler.experiments.config import load_experiment
from compiler.experiments.files import write_json
from compiler.experiments.results import results
from compiler.experiments.session import Session
from compiler.microcircuits.sign_concordant_options import FEEDBACK

SEEDS = (1, 2, 3)
PROBE = 100
"""Training samples on which updates are compared with backprop's."""


@dataclass(frozen=True)
class Job:
    """One run; `label` are the columns of its row, `overrides` as on the command line."""

    experiment: str
    label: Mapping[str, Any]
    overrides: Mapping[str, Any]
    folder: str | None = None
    measured: bool = True

    @property
    def file(self) -> Path | None:
        words = "_".join(str(value) for value in (*self.label.values(), *self.overrides["run.seeds"]))
        return Path(self.folder) / f"{words.replace(' ', '-').replace(',', '')}.json" if self.folder else None


def run_job(job: Job) -> dict[str, Any]:
    """Trains to the end, an epoch at a time, with the measures after each; what a folder holds already is read."""
    experiment = load_experiment(job.experiment, dict(job.overrides))
    if job.file and job.file.is_file():
        found = json.loads(job.file.read_text())
        if found["experiment_sha256"] == experiment.sha256():
            return found
    with Session(experiment) as session:
        rows = [_measured(session)] if job.measured else []
        for end in _ends(session):
            session.run(end - session.position)
            rows += [_measured(session)] if job.measured else []
        table = results(session)
    found = {key: table[key] for key in ("test_accuracy", "backend", "granularity", "experiment_sha256", "tests",
                                         "wall_s", "seconds", "steps")} | {"measures": rows}
    if job.file:
        job.file.parent.mkdir(parents=True, exist_ok=True)
        write_json(job.file, found)
    return found


def _ends(session: Session) -> list[int]:
    """Ends of the epochs, with the tests that follow them."""
    epochs = session.experiment.protocol.epochs
    return [session.plan.end_of_epoch(n) for n in range(1, epochs)] + [session.total]


def _measured(session: Session) -> dict[str, list[float]]:
    circuit = circuit_options(session.experiment.model)
    rows = session.plan.samples[:PROBE]
    inputs = circuit.shapes[0].size
    return measures(circuit, reader(session), rows[:, :inputs], rows[:, inputs:])


def table_of(jobs: Sequence[Job], found: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """A row per label: mean, spread and list over seeds, and the last measures averaged over seeds."""
    groups: dict[tuple, list[int]] = {}
    for index, job in enumerate(jobs):
        groups.setdefault(tuple(job.label.items()), []).append(index)
    return [_row(dict(label), [found[i] for i in indices]) for label, indices in groups.items()]


def _row(label: dict[str, Any], runs: list[Mapping[str, Any]]) -> dict[str, Any]:
    accuracies = [run["test_accuracy"] for run in runs]
    curves = [[test["mean"] for test in run["tests"]] for run in runs]
    row = {**label, "accuracy": float(np.mean(accuracies)), "spread": float(np.std(accuracies)), "seeds": len(runs),
           "wall_s": float(np.mean([run["wall_s"] for run in runs])), "per_epoch": np.mean(curves, axis=0).tolist()}
    if runs[0]["measures"]:
        for name in runs[0]["measures"][0]:
            curve = np.array([[after[name] for after in run["measures"]] for run in runs], dtype=float).mean(axis=0)
            row[name] = curve[-1].tolist()
            row[f"{name}_per_epoch"] = curve.tolist()
    return row | {"backend": runs[0]["backend"], "granularity": runs[0]["granularity"], "simulated": True}


def _overrides(options: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    found = {key: value for key, value in options.items() if "." in key} | more
    short = {"backend": "run.backend", "granularity": "run.granularity", "epochs": "protocol.epochs"}
    return found | {key: options[name] for name, key in short.items() if name in options}


def _jobs(experiment: str, options: Mapping[str, Any], label: Mapping[str, Any], seeds: Sequence[int],
          **overrides: Any) -> list[Job]:
    table = _overrides(options, **{key.replace("__", "."): value for key, value in overrides.items()})
    epochs = load_experiment(experiment, dict(table)).protocol.epochs
    return [Job(experiment, {**label, "epochs": epochs}, {**table, "run.seeds": [seed]}, options.get("output"),
                options.get("measured", True)) for seed in options.get("seeds", seeds)]


# ---- the benchmarks


def mnist(options: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Rows {net, feedback, optimiser, mode, epochs, accuracy, spread, wall_s, ...}: every policy in minibatches with
    Adam, `locked` online with the plain rule, the 400-400-10 net on images cut to 20 x 20, hidden layer frozen."""
    batch, online = "sign_concordant_mnist", "sign_concordant_mnist_online"
    small = {"model__layers": [400, 400, 10], "data__crop": 4}
    jobs: list[Job] = []
    for feedback in options.get("feedback", FEEDBACK):
        jobs += _jobs(batch, options, _label("784-400-10", feedback, "adam", "minibatch"), SEEDS,
                      model__feedback=feedback)
    if "feedback" not in options:
        jobs += _jobs(online, options, _label("784-400-10", "locked", "none", "online"), SEEDS)
        jobs += _jobs(batch, options, _label("400-400-10", "locked", "adam", "minibatch"), SEEDS, **small)
        jobs += _jobs(online, options, _label("400-400-10", "locked", "none", "online"), SEEDS, **small)
        jobs += _jobs(batch, options, _label("784-400-10, hidden layer frozen", "locked", "adam", "minibatch"), SEEDS,
                      model__eta=[0.0, 0.01])
    return table_of(jobs, run_all(run_job, jobs, int(options.get("jobs", 2)))) + _linear("mnist", options)


def fashion(options: Mapping[str, Any]) -> list[dict[str, Any]]:
    """784-400-400-10 on Fashion-MNIST, every policy, and the hidden layers frozen."""
    name, jobs = "sign_concordant_fashion", []
    for feedback in options.get("feedback", FEEDBACK):
        jobs += _jobs(name, options, _label("784-400-400-10", feedback, "adam", "minibatch"), SEEDS,
                      model__feedback=feedback)
    jobs += _jobs(name, options, _label("784-400-400-10, hidden layers frozen", "locked", "adam", "minibatch"), SEEDS,
                  model__eta=[0.0, 0.0, 0.01])
    return table_of(jobs, run_all(run_job, jobs, int(options.get("jobs", 2)))) + _linear("fashion_mnist", options)


def cnn(options: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The convolutional net: BP, FA, `locked`, `uSF`; accuracy and angles after every epoch, one seed."""
    name, jobs = "sign_concordant_cnn", []
    net = "-".join(map(str, load_experiment(name, _overrides(options)).model.options["layers"]))
    for feedback in options.get("feedback", ("BP", "FA", "locked", "uSF")):
        jobs += _jobs(name, options, _label(net, feedback, "adam", "minibatch"), SEEDS[:1], model__feedback=feedback)
    return table_of(jobs, run_all(run_job, jobs, int(options.get("jobs", 2))))


def _label(net: str, feedback: str, optimiser: str, mode: str) -> dict[str, Any]:
    return {"net": net, "feedback": feedback, "optimiser": optimiser, "mode": mode}


def _linear(name: str, options: Mapping[str, Any]) -> list[dict[str, Any]]:
    if options.get("baselines") is False:
        return []
    from compiler.experiments.data.baselines import linear_classifier
    from compiler.experiments.data.datasets import load_dataset

    found = linear_classifier(load_dataset(name, split="full"))
    return [{"net": "linear classifier", "feedback": "", "optimiser": "L-BFGS", "mode": "scikit-learn", "epochs": 0,
             "accuracy": found.test_accuracy, "spread": 0.0, "seeds": 1, "wall_s": found.seconds}]


def speed(options: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Rows {metric, value, unit, baseline}: microseconds per training sample of 784-400-10 `locked`, minibatch 100,
    Adam, beside a plain torch implementation of the same algorithm; both with one thread, in turns, in one run."""
    import time

    import torch

    from reference.plain_spiking_net import build, train_epoch

    torch.set_num_threads(1)
    count = int(options.get("samples", 6000))
    experiment = load_experiment("sign_concordant_mnist", {
        "data.limits": {"train": count, "test": 100}, "protocol.epochs": 7, "protocol.test_every": 0})
    times: dict[str, list[float]] = {"Lava, three cells, float64": [], "torch, signed matrices, float32": []}
    with Session(experiment) as session:
        rows = session.plan.samples[:count]
        x, labels = torch.tensor(rows[:, :784], dtype=torch.float32), torch.tensor(rows[:, 784:].argmax(1))
        net, steps = build((784, 400, 10)), count // 100 * 5
        session.run(steps)
        train_epoch(net, x, labels)
        for _ in range(5):
            works = (lambda: session.run(steps), lambda: train_epoch(net, x, labels))
            for name, work in zip(times, works, strict=True):
                start = time.perf_counter()
                work()
                times[name].append((time.perf_counter() - start) / count * 1e6)
    values = {name: float(np.median(found)) for name, found in times.items()}
    lava, torch_ = values.values()
    return [{"metric": name, "value": value, "unit": "us per training sample", "baseline": ""}
            for name, value in values.items()] + [
        {"metric": "Lava against torch", "value": lava / torch_, "unit": "ratio", "baseline": "torch, float32"}]
