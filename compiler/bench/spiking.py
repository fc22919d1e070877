"""Benchmarks of the sign-concordant circuit, trained on Lava: accuracy by feedback policy, measures of the claim.

`cortexc bench mnist-sign-concordant`, `fashion-sign-concordant`, `cnn-sign-concordant`. With `-o FOLDER` every run
keeps its results there and is not run again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cortexc.compiler.bench import overrides_of, run_all
from cortexc.compiler.bench.concordance import measures, reader
from cortexc.compiler.bench.runs import Job, accuracy, by_label, kept, mean_seconds
from cortexc.compiler.experiments.circuits import circuit_options
from cortexc.compiler.experiments.config import load_experiment
from cortexc.compiler.experiments.experiment import Experiment
from cortexc.compiler.experiments.results import results
from cortexc.compiler.experiments.session import Session
from cortexc.compiler.microcircuits.sign_concordant_options import FEEDBACK

SEEDS = (1, 2, 3)
SHORT = ("backend", "granularity", "epochs")
PROBE = 100
"""Training samples on which updates are compared with backprop's."""


def run_job(job: Job) -> dict[str, Any]:
    """Trains to the end, an epoch at a time, with the measures after each; what a folder holds already is read."""
    experiment = job.loaded()
    return kept(job.kept_in, experiment, lambda: _run(experiment, job.measured))


def _run(experiment: Experiment, measured: bool) -> dict[str, Any]:
    with Session(experiment) as session:
        rows = [_measured(session)] if measured else []
        for end in _ends(session):
            session.run(end - session.position)
            rows += [_measured(session)] if measured else []
        table = results(session)
    return {key: table[key] for key in ("test_accuracy", "backend", "granularity", "experiment_sha256", "tests",
                                        "wall_s", "seconds", "steps")} | {"measures": rows}


def _ends(session: Session) -> list[int]:
    """Ends of the epochs, with the tests that follow them."""
    epochs = session.experiment.protocol.epochs
    return [session.plan.end_of_epoch(n) for n in range(1, epochs)] + [session.total]


def _measured(session: Session) -> dict[str, list[float]]:
    circuit = circuit_options(session.experiment.model)
    rows = session.plan.samples[:PROBE]
    inputs = circuit.shapes[0].size
    return measures(circuit, reader(session), rows[:, :inputs], rows[:, inputs:])


def table_of(jobs: Sequence[Job], options: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A row per label: mean, spread and list over seeds, and the last measures averaged over seeds."""
    found = run_all(run_job, jobs, int(options.get("jobs", 2)))
    return [_row(label, runs) for label, runs in by_label(jobs, found)]


def _row(label: dict[str, Any], runs: list[dict[str, Any]]) -> dict[str, Any]:
    curves = [[test["mean"] for test in run["tests"]] for run in runs]
    row = {**label, **accuracy(runs), "wall_s": mean_seconds(runs), "per_epoch": np.mean(curves, axis=0).tolist()}
    if runs[0]["measures"]:
        for name in runs[0]["measures"][0]:
            curve = np.array([[after[name] for after in run["measures"]] for run in runs], dtype=float).mean(axis=0)
            row[name] = curve[-1].tolist()
            row[f"{name}_per_epoch"] = curve.tolist()
    return row | {"backend": runs[0]["backend"], "granularity": runs[0]["granularity"], "simulated": True}


def _jobs(experiment: str, options: Mapping[str, Any], label: Mapping[str, Any], seeds: Sequence[int],
          **overrides: Any) -> list[Job]:
    table = overrides_of(options, *SHORT) | {key.replace("__", "."): value for key, value in overrides.items()}
    epochs = load_experiment(experiment, dict(table)).protocol.epochs
    columns = (*label.items(), ("epochs", epochs))
    return [Job(experiment, columns, {**table, "run.seeds": [seed]}, _file(options.get("output"), columns, seed),
                options.get("measured", True)) for seed in options.get("seeds", seeds)]


def _file(folder: str | None, columns: Sequence[tuple[str, Any]], seed: int) -> Path | None:
    words = "_".join(str(value) for value in (*(value for _, value in columns), seed))
    return Path(folder) / f"{words.replace(' ', '-').replace(',', '')}.json" if folder else None


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
    return table_of(jobs, options) + _linear("mnist", options)


def fashion(options: Mapping[str, Any]) -> list[dict[str, Any]]:
    """784-400-400-10 on Fashion-MNIST, every policy, and the hidden layers frozen."""
    name, jobs = "sign_concordant_fashion", []
    for feedback in options.get("feedback", FEEDBACK):
        jobs += _jobs(name, options, _label("784-400-400-10", feedback, "adam", "minibatch"), SEEDS,
                      model__feedback=feedback)
    jobs += _jobs(name, options, _label("784-400-400-10, hidden layers frozen", "locked", "adam", "minibatch"), SEEDS,
                  model__eta=[0.0, 0.0, 0.01])
    return table_of(jobs, options) + _linear("fashion_mnist", options)


def cnn(options: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The convolutional net: BP, FA, `locked`, `uSF`; accuracy and angles after every epoch, one seed."""
    name, jobs = "sign_concordant_cnn", []
    net = "-".join(map(str, load_experiment(name, overrides_of(options, *SHORT)).model.options["layers"]))
    for feedback in options.get("feedback", ("BP", "FA", "locked", "uSF")):
        jobs += _jobs(name, options, _label(net, feedback, "adam", "minibatch"), SEEDS[:1], model__feedback=feedback)
    return table_of(jobs, options)


def _label(net: str, feedback: str, optimiser: str, mode: str) -> dict[str, Any]:
    return {"net": net, "feedback": feedback, "optimiser": optimiser, "mode": mode}


def _linear(name: str, options: Mapping[str, Any]) -> list[dict[str, Any]]:
    if options.get("baselines") is False:
        return []
    from cortexc.compiler.experiments.data.baselines import linear_classifier
    from cortexc.compiler.experiments.data.datasets import load_dataset

    found = linear_classifier(load_dataset(name, split="full"))
    return [{"net": "linear classifier", "feedback": "", "optimiser": "L-BFGS", "mode": "scikit-learn", "epochs": 0,
             "accuracy": found.test_accuracy, "spread": 0.0, "seeds": 1, "wall_s": found.seconds}]
