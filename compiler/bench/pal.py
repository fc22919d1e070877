"""PAL's published figures: `cortexc bench pal-feedback`, `pal-yinyang`, `pal-mnist`, `pal-fig4ab`.

With `-o FOLDER` every run of the latter three keeps a folder of its own there: what has finished is read, what was
interrupted goes on from its checkpoint.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cortexc.compiler.bench import overrides_of, run_all
from cortexc.compiler.bench.runs import Job, accuracy, by_label, whole_run
from cortexc.compiler.bench.workers import in_processes
from cortexc.compiler.experiments.config import load_experiment
from cortexc.compiler.experiments.data.loading import read_archive
from cortexc.compiler.experiments.results import angle, epoch_means, squared_error, transpose_angle
from cortexc.compiler.experiments.session import Session
from cortexc.compiler.ir.errors import CortexError

FIGURES = {"3abc": "pal_fig3abc", "3def": "pal_fig3def"}
DEFAULT_RUNS = {"3abc": (123, 456, 9), "3def": (123,)}
SEEDS = {"3abc": (123, 456, 789, 111, 222, 1, 3, 5, 7, 9), "3def": (123, 456, 789, 111, 999, 1, 3, 5, 7, 9)}
"""Seeds of the stored curves, in their order."""
FILE = "pal_fig3_angles.npz"


def feedback(options: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The long runs of Fig 3, against the authors' own angle curves. Rows {figure, seed, max_abs_deg,
    max_abs_deg_jacobian, final_deg, steps, wall_s}: the largest difference, in degrees, to the stored curves of both
    measures (B against W^T, and against W^T between the slopes), over all rows and layers.

    Options: figures, seeds ("all" or a list), steps (network steps of each run), jobs (processes), golden (folder), and
    any key of an experiment with its table (`run.backend`). Raises X180, X181."""
    stored = stored_curves(options.get("golden"))
    overrides = overrides_of(options, "backend", "granularity")
    work = [(figure, seed, stored, overrides, options.get("steps"))
            for figure in _listed(options.get("figures", list(FIGURES)))
            for seed in _seeds(figure, options.get("seeds"))]
    jobs = int(options.get("jobs", 1))
    return [measure(*each) for each in work] if jobs == 1 else in_processes(measure, work, jobs)


def stored_curves(folder: str | None = None) -> dict[str, np.ndarray]:
    """The authors' curves. Raises X180 where they are not found."""
    place = golden_folder(folder)
    if place is None:
        raise CortexError("X180", f"'{FILE}' was not found.", "Name its folder with --golden or CORTEXC_GOLDEN.")
    return read_archive(place / FILE)


def golden_folder(folder: str | None = None) -> Path | None:
    """The folder of recordings: as given, or CORTEXC_GOLDEN; where neither is, shared/golden beside the project, or
    None. Raises X180 where a folder is named that does not have them."""
    named = folder or os.environ.get("CORTEXC_GOLDEN")
    place = Path(named) if named else Path(__file__).resolve().parents[3] / "shared" / "golden"
    if (place / FILE).is_file():
        return place
    if named:
        raise CortexError("X180", f"'{FILE}' was not found in '{place}'.", "Check --golden or CORTEXC_GOLDEN.")
    return None


def _listed(value: Any) -> list[str]:
    figures = list(map(str, value)) if isinstance(value, (list, tuple)) else [str(value)]
    for figure in figures:
        if figure not in FIGURES:
            raise CortexError("X181", f"there is no stored curve of figure '{figure}'; known: {', '.join(FIGURES)}.")
    return figures


def _seeds(figure: str, wanted: Any) -> tuple[int, ...]:
    if wanted is None:
        return DEFAULT_RUNS[figure]
    chosen = SEEDS[figure] if wanted == "all" else tuple([wanted] if isinstance(wanted, int) else wanted)
    for seed in chosen:
        if seed not in SEEDS[figure]:
            raise CortexError("X181", f"there is no stored curve of figure {figure} for seed {seed}; known: "
                                      f"{', '.join(map(str, SEEDS[figure]))}.")
    return chosen


def measure(figure: str, seed: int, stored: Mapping[str, np.ndarray], overrides: Mapping[str, Any],
            steps: int | None = None) -> dict[str, Any]:
    """One run of one seed, compared with its stored curve as far as it goes."""
    start = time.perf_counter()
    experiment = load_experiment(FIGURES[figure], {**overrides, "run.seeds": [seed]})
    with Session(experiment) as session:
        session.run(steps)
        found = curves(session.runner.records, len(experiment.model.options["layers"]) - 2)
        position = session.position
    index = SEEDS[figure].index(seed)
    worst = {}
    for name, curve in found.items():
        expected = stored[f"fig{figure}_{name}"][index][:len(curve)]
        worst[name] = float(np.abs(curve - expected).max()) if len(curve) else None
    last = found["WPPT_BPP"][-1].tolist() if len(found["WPPT_BPP"]) else None
    return {"figure": figure, "seed": seed, "max_abs_deg": worst["WPPT_BPP"], "max_abs_deg_jacobian": worst["BPP_RHS"],
            "final_deg": last, "rows": len(found["WPPT_BPP"]), "steps": position, "backend": experiment.run.backend,
            "granularity": experiment.run.granularity, "wall_s": time.perf_counter() - start}


def curves(records: Any, hidden: int, stream: str = "angles") -> dict[str, np.ndarray]:
    """Both measures of a single-seed run, (rows, layers): `WPPT_BPP` and `BPP_RHS` (specs/pal.md 5.1)."""
    plain = [transpose_angle(records, stream, f"BPP_{i}.w", f"WPP_{i + 1}.w")[:, 0] for i in range(hidden)]
    slopes = [logistic_slope(records.rows(stream, f"P{i}.basal_potential")) for i in range(hidden + 1)]
    scaled = []
    for i in range(hidden):
        transposed = records.rows(stream, f"WPP_{i + 1}.w").swapaxes(-1, -2)
        expected = slopes[i][..., :, None] * transposed * slopes[i + 1][..., None, :]
        scaled.append(angle(records.rows(stream, f"BPP_{i}.w"), expected)[:, 0])
    return {"WPPT_BPP": np.stack(plain, axis=1), "BPP_RHS": np.stack(scaled, axis=1)}


ATTENUATION = 0.1 / (0.03 + 0.1 + 0.06)
"""Of the hidden layers' basal dendrite; the published measure uses it for every layer."""


def logistic_slope(basal: np.ndarray) -> np.ndarray:
    rate = 1 / (1 + np.exp(-ATTENUATION * basal))
    return rate * (1 - rate)


# ---- accuracies

VARIANTS = ("PAL", "FA")


def _job(experiment: str, variant: str, seeds: Sequence[int] | None, options: Mapping[str, Any]) -> Job:
    """`epochs` are those after which it stops. None: the seeds of the experiment."""
    overrides = overrides_of(options, "backend", "granularity") | {"model.variant": variant}
    overrides |= {"run.until_epoch": options["epochs"]} if "epochs" in options else {}
    overrides |= {} if seeds is None else {"run.seeds": list(seeds)}
    name = f"{variant}_{seeds[0]}" if seeds and len(seeds) == 1 else variant
    return Job(experiment, (("variant", variant),), overrides,
               Path(options["output"]) / name if options.get("output") else None)


def _accuracies(experiment: str, options: Mapping[str, Any], seeds: Sequence[int]) -> list[dict[str, Any]]:
    """A row per variant and seed, then a row per variant with mean and spread over seeds."""
    jobs = [_job(experiment, variant, [seed], options) for variant in options.get("variants", VARIANTS)
            for seed in options.get("seeds", seeds)]
    results = run_all(whole_run, jobs, int(options.get("jobs", 2)))
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
    return _accuracies("pal_yinyang", options, range(123456, 123466)) + baseline_rows("yin_yang", "pal", 30, 100)


def mnist(options: Mapping[str, Any]) -> list[dict[str, Any]]:
    """784-100-10, PAL and FA, one seed, as many epochs as `--set epochs=N` says."""
    return _accuracies("pal_mnist", options, (123456,)) + baseline_rows("mnist", None, 100, 5)


def baseline_rows(name: str, split: str | None, hidden: int, epochs: int, seeds: Sequence[int] = (0, 1, 2)) \
        -> list[dict[str, Any]]:
    """Linear classifier, frozen hidden layer, backprop net of the same size: mean and spread over seeds."""
    from cortexc.compiler.experiments.data.baselines import frozen_hidden, linear_classifier, mlp_backprop
    from cortexc.compiler.experiments.data.datasets import load_dataset

    data = load_dataset(name, split=split)
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
    jobs = [_job("pal_fig4ab", variant, options.get("seeds"), options)
            for variant in options.get("variants", ("PAL", "FA", "BP"))]
    return [row for rows in run_all(_fig4ab_rows, jobs, int(options.get("jobs", 2))) for row in rows]


def _fig4ab_rows(job: Job) -> list[dict[str, Any]]:
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
