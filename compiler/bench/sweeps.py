"""Many runs of one experiment: variants times seeds, on both cores, resumable.

`cortexc bench pal-yinyang`, `pal-mnist`, `pal-fig4ab`. With `-o FOLDER` every run keeps a folder of its own there:
what has finished is read, what was interrupted goes on from its checkpoint.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cortexc.compiler import bench
from cortexc.compiler.bench import run_all
from cortexc.compiler.bench.runs import Job, accuracy, by_label, whole_run

VARIANTS = ("PAL", "FA")


def overrides_of(options: Mapping[str, Any]) -> dict[str, Any]:
    """Keys of an experiment among a benchmark's options, and short forms."""
    found = bench.overrides_of(options, "backend", "granularity")
    return found | ({"run.until_epoch": options["epochs"]} if "epochs" in options else {})


def jobs_of(experiment: str, options: Mapping[str, Any], variants: Sequence[str], seeds: Sequence[int]) -> list[Job]:
    """One job per variant and seed."""
    return [_job(experiment, variant, {**overrides_of(options), "run.seeds": [seed]}, options, f"_{seed}")
            for variant in options.get("variants", variants) for seed in options.get("seeds", seeds)]


def _job(experiment: str, variant: str, overrides: Mapping[str, Any], options: Mapping[str, Any],
         name: str = "") -> Job:
    folder = Path(options["output"]) / f"{variant}{name}" if options.get("output") else None
    return Job(experiment, (("variant", variant),), {**overrides, "model.variant": variant}, folder)


def accuracy_rows(jobs: Sequence[Job], results: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """A row per run, then a row per variant with mean and spread over seeds."""
    rows = [_row(job, found) for job, found in zip(jobs, results, strict=True)]
    for label, found in by_label(jobs, results):
        own = accuracy(found)
        rows.append({**label, "seed": "mean", "accuracy": own["accuracy"], "spread": own["spread"], "runs": len(found)})
    return rows


def _row(job: Job, found: Mapping[str, Any]) -> dict[str, Any]:
    angles = [curve["last"][0] for name, curve in found["curves"].items() if "/angle " in name and "last" in curve]
    tests = found["tests"]
    return {**dict(job.label), "seed": job.overrides["run.seeds"][0], "accuracy": found["test_accuracy"],
            "epochs": tests[-1]["epoch"] if tests else 0, "angle_deg": angles[0] if angles else None,
            "backend": found["backend"], "granularity": found["granularity"], "steps": found["steps"],
            "wall_s": found["wall_s"]}


# ---- Yin-Yang and MNIST


def yinyang(options: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Rows {variant, seed, accuracy, epochs, angle_deg, ...}: PAL and FA, 10 seeds, 50 epochs (`--set epochs=0`: 400).

    The comparison rows are a linear classifier, a frozen hidden layer and a backprop net of the same size.
    """
    jobs = jobs_of("pal_yinyang", options, VARIANTS, range(123456, 123466))
    rows = accuracy_rows(jobs, run_all(whole_run, jobs, int(options.get("jobs", 2))))
    return rows + baseline_rows("yin_yang", "pal", hidden=30, epochs=100)


def mnist(options: Mapping[str, Any]) -> list[dict[str, Any]]:
    """784-100-10, PAL and FA, one seed, as many epochs as `--set epochs=N` says."""
    jobs = jobs_of("pal_mnist", options, VARIANTS, (123456,))
    rows = accuracy_rows(jobs, run_all(whole_run, jobs, int(options.get("jobs", 2))))
    return rows + baseline_rows("mnist", None, hidden=100, epochs=5)


def baseline_rows(name: str, split: str | None, hidden: int, epochs: int, seeds: Sequence[int] = (0, 1, 2)) \
        -> list[dict[str, Any]]:
    """Linear classifier, frozen hidden layer, backprop net of the same size: mean and spread over seeds."""
    from cortexc.compiler.experiments.data.baselines import frozen_hidden, linear_classifier, mlp_backprop
    from cortexc.compiler.experiments.data.datasets import load_dataset

    data = load_dataset(name, split=split) if split else load_dataset(name)
    found = {"linear classifier": [linear_classifier(data, 0)],
             "hidden layer frozen": [frozen_hidden(data, hidden, seed) for seed in seeds],
             "same-size net with backprop": [mlp_backprop(data, hidden, epochs, seed) for seed in seeds]}
    return [{"variant": label, "seed": "mean", "accuracy": float(np.mean([b.test_accuracy for b in each])),
             "spread": float(np.std([b.test_accuracy for b in each])), "runs": len(each)}
            for label, each in found.items()]


# ---- Fig 4ab


def fig4ab(options: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Rows {variant, seed, mse, first_epoch_below, WPP_0, WPP_1, BPP_0}: one batch of ten seeds per variant.

    `mse` is the squared output error at the last step of each presentation, averaged over the last epoch;
    `first_epoch_below` the first epoch (1-based) whose mean is under 1e-3, or None.
    """
    variants = options.get("variants", ("PAL", "FA", "BP"))
    overrides = overrides_of(options)
    if "seeds" in options:
        overrides["run.seeds"] = list(options["seeds"])
    jobs = [_job("pal_fig4ab", variant, overrides, options) for variant in variants]
    return [row for rows in run_all(_fig4ab_rows, jobs, int(options.get("jobs", 2))) for row in rows]


def _fig4ab_rows(job: Job) -> list[dict[str, Any]]:
    from cortexc.compiler.experiments.figures import epoch_means, squared_error
    from cortexc.compiler.experiments.session import Session

    experiment = job.loaded()
    with Session(experiment) as session:
        session.run()
        records = session.runner.records
        errors = squared_error(records, "output", "P1.breve", "teacher.rate")
        errors = epoch_means(errors, experiment.protocol.curve_rows)
        weights = {name: records.rows("weights", f"{name}.w")[-1].reshape(-1) for name in ("WPP_0", "WPP_1", "BPP_0")}
        seconds, steps = session.seconds["run"], session.position
    rows = []
    for index, seed in enumerate(experiment.run.seeds):
        below = np.flatnonzero(errors[:, index] < 1e-3)
        rows.append({**dict(job.label), "seed": seed, "mse": float(errors[-1, index]),
                     "learned": bool(errors[-1, index] < 1e-3), "epochs": len(errors),
                     "first_epoch_below": int(below[0]) + 1 if len(below) else None,
                     **{name: float(values[index]) for name, values in weights.items()},
                     "backend": experiment.run.backend, "steps": steps, "wall_s": seconds})
    return rows
