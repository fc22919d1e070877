"""`cortexc bench depth`: teacher-student error against depth, the error-neuron circuit and its rivals (Fig 3).

Rows {net, model, epochs, median, q25, q75, ...}: the test error of ten seeds, trained on Lava. `--set setting=fair`
compares with the same wiring, metric and tuning budget for all (`cortexc bench depth-tuning`), and adds the variants of
the error-neuron circuit that learn their feedback. With `-o FOLDER` every run is kept and not repeated, and the errors
against depth are plotted there.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cortexc.compiler.bench import checked, overrides_of, run_all
from cortexc.compiler.bench.depth_nets import MODELS, chosen_models, chosen_nets, label_of, published
from cortexc.compiler.bench.depth_tuning import FAIR_MODELS, tuned
from cortexc.compiler.bench.runs import Job, figure, kept, trained
from cortexc.compiler.experiments.config import load_experiment
from cortexc.compiler.ir import unknown


def rows(options: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Options: setting, models, nets (texts such as 4-2-1), epochs (1000), seeds, jobs (2), and keys of an
    experiment."""
    checked(options, "setting", "models", "nets", "epochs", "seeds", "jobs", "backend", "granularity")
    setting = str(options.get("setting", "published"))
    if setting not in ("published", "fair"):
        raise unknown("X182", "setting", setting, ("published", "fair"))
    known: Collection[str] = MODELS if setting == "published" else FAIR_MODELS
    jobs = [_job(setting, model, net, options) for net in chosen_nets(options)
            for model in chosen_models(options, known)]
    results = run_all(run_job, jobs, int(options.get("jobs", 2)))
    found = [_row(setting, *each) for each in zip(jobs, results, strict=True)]
    if "output" in options:
        plot(found, Path(options["output"]) / f"depth-{setting}.png")
    return found


def _job(setting: str, model: str, net: tuple[int, ...], options: Mapping[str, Any]) -> Job:
    fair = setting == "fair"
    overrides = tuned(model, net) if fair else published(model, net)
    overrides |= overrides_of(options, "backend", "granularity", "epochs", "seeds")
    experiment = f"depth_{FAIR_MODELS[model][0] if fair else model}"
    epochs = load_experiment(experiment, overrides).protocol.epochs
    name = f"{setting}_{model.replace(' ', '-')}_{label_of(net)}_{epochs}.json"
    label = ("net", label_of(net)), ("model", model)
    return Job(experiment, label, overrides, Path(options["output"]) / name if "output" in options else None)


def run_job(job: Job) -> dict[str, Any]:
    """The errors of all seeds; read where the folder has them."""
    experiment = job.loaded()
    return kept(job.kept_in, experiment, lambda: trained(
        experiment, "errors", "test_error", "backend", "granularity", "experiment_sha256", "wall_s", "seconds",
        "steps"))


def _row(setting: str, job: Job, found: Mapping[str, Any]) -> dict[str, Any]:
    tests = [entry for entry in found["errors"] if entry["phase"] == "test"]
    errors = [e if e is not None and np.isfinite(e) else None for e in tests[-1]["error"]]
    q25, median, q75 = quartiles(errors)
    return {"setting": setting, **dict(job.label), "epochs": tests[-1]["epoch"] + 1,
            "median": median, "q25": q25, "q75": q75, "seeds": len(errors), "diverged": errors.count(None),
            "errors": errors, "validation": [[entry["epoch"], quartiles(entry["error"])[1]]
                                             for entry in found["errors"] if entry["phase"] == "validation"],
            "backend": found["backend"], "granularity": found["granularity"], "wall_s": found["wall_s"],
            "us_per_step": found["seconds"].get("run", 0.0) / found["steps"] * 1e6}


def quartiles(errors: Sequence[float | None]) -> tuple[float | None, ...]:
    """Lower quartile, median, upper quartile; a run that diverged counts as worse than any, None where it reaches."""
    ordered = [float("inf") if e is None or not np.isfinite(e) else e for e in errors]
    found = np.percentile(ordered, (25, 50, 75), method="lower" if None in errors else "linear")
    return tuple(float(value) if np.isfinite(value) else None for value in found)


def plot(found: Sequence[Mapping[str, Any]], file: Path) -> None:
    """Median and quartiles of the test error against depth, a line per model."""
    nets = list(dict.fromkeys(row["net"] for row in found))
    with figure(file, saved={"dpi": 120}, figsize=(7, 4.5), layout="constrained") as (_, axes):
        for model in dict.fromkeys(row["model"] for row in found):
            own = [row for row in found if row["model"] == model and row["q75"] is not None]
            x, y = [nets.index(row["net"]) for row in own], np.array([row["median"] for row in own])
            spread = np.abs(np.array([[row["q25"], row["q75"]] for row in own]).T - y)
            axes.errorbar(x, y, spread, marker="o", capsize=3, label=model)
        axes.set(yscale="log", xlabel="net", ylabel="squared error of the output in the test",
                 title=f"Teacher and student against depth, {found[0]['epochs']} epochs, {found[0]['setting']} setting")
        axes.set_xticks(range(len(nets)), nets)
        axes.legend(fontsize=8)
