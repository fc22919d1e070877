"""The published tasks of the error-neuron circuit: `cortexc bench dms`, `cartpole`, `derivative-transfer`,
`generated-digits`. Options of all: backend, granularity, seeds (`derivative-transfer`: seed), keys of an experiment
with their table, and what each names. Of depth there is more in `depth.py`.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cortexc.compiler.bench import checked, overrides_of, run_all
from cortexc.compiler.bench.runs import Job, kept_run, mean_seconds, trained
from cortexc.compiler.experiments.config import Experiment, load_experiment
from cortexc.compiler.experiments.session import Session
from cortexc.compiler.ir.functions import VECTOR

Row = dict[str, Any]

# ---- delayed match-to-sample

DELAYED = {"eta 4000": (4000, 10), "eta 1000": (1000, 15)}
"""Published version -> (eta_fw, epochs)."""
SOLVED, STUCK = 0.05, 0.9


def dms(options: Mapping[str, Any]) -> list[Row]:
    """Delayed match-to-sample, twenty nets, both published settings: rows {setting, epochs, seeds, solved, stuck,
    median_test_error, validation_medians, ...}. A net has solved the task if its squared error at the end of a test
    trial, averaged over trials, is below `SOLVED`."""
    checked(options, "backend", "granularity", "seeds")
    found = []
    for setting, (rate, epochs) in DELAYED.items():
        overrides = {"model.eta_fw": [rate], "protocol.epochs": epochs, **overrides_of(options)}
        run = trained(load_experiment("match_to_sample", overrides))
        errors = np.array(run["errors"][-1]["error"])
        medians = [float(np.median(e["error"])) for e in run["errors"] if e["phase"] == "validation"]
        found.append({"setting": setting, "epochs": epochs, "seeds": len(errors),
                      "solved": int((errors < SOLVED).sum()), "stuck": int((errors > STUCK).sum()),
                      "median_test_error": float(np.median(errors)), "validation_medians": medians,
                      "test_errors": errors.tolist(), "backend": run["backend"], "granularity": run["granularity"],
                      "steps": run["steps"], "wall_s": run["wall_s"]})
    return found


# ---- the pole

POLES: Mapping[str, Mapping[str, Any]] = {
    "ideal": {"model.activation": ["linear"], "model.eta_fw": [1.0, 0.5], "model.ranges": {}},
    "tanh": {}}
"""Published variants: linear and without noise in the laterals, or as the experiment's file says."""


def cartpole(options: Mapping[str, Any]) -> list[Row]:
    """Falls of the pole against trained epochs: rows {setting, epochs, median, q25, q75, failures, ...}, one per
    setting and trained epoch. `teacher`, the line to reach, is the controller itself as the same circuit, without
    learning."""
    checked(options, "backend", "granularity", "seeds", "epochs")
    return [row for setting in ("teacher", *POLES) for row in _falls(setting, overrides_of(options))]


def _falls(setting: str, overrides: Mapping[str, Any]) -> list[Row]:
    controller = setting == "teacher"
    overrides = {**POLES["ideal" if controller else setting], **overrides}
    with tempfile.TemporaryDirectory(prefix="cortexc_") as folder:
        found = trained(_controller(overrides, Path(folder)) if controller else load_experiment("cartpole", overrides))
    rows = []
    for test in found.get("control", [])[:1 if controller else None]:
        q25, median, q75 = np.percentile(test["failures"], (25, 50, 75))
        rows.append({"setting": setting, "epochs": test["epochs"], "median": float(median), "q25": float(q25),
                     "q75": float(q75), "failures": test["failures"], "backend": found["backend"],
                     "granularity": found["granularity"], "wall_s": found["wall_s"]})
    return rows


def _controller(overrides: Mapping[str, Any], folder: Path) -> Experiment:
    """The controller as weights of the circuit: the first area passes the state on, the second applies the gains."""
    plain = load_experiment("cartpole", dict(overrides))
    gain = plain.model.options.get("gbas", 0.1) / (
        plain.model.options.get("gl", 0.03) + plain.model.options.get("gbas", 0.1) + plain.model.options["gapi"])
    weights = {"WPP_0.w": np.eye(4) / gain, "WPP_1.w": np.array(plain.tables()["protocol"]["teacher_matrix"]) / gain}
    file = folder / "teacher.npz"
    np.savez(file, **weights)
    return load_experiment("cartpole", {**overrides, "model.arrays": str(file), "protocol.epochs": 1,
                                        "protocol.train_gates": [], "run.seeds": plain.run.seeds[:1]})


# ---- slopes told by noise (Fig 8)

ACTIVATIONS, SIGMAS, VOLTAGES = ("tanh", "relu", "logistic"), (0.1, 0.05), 50


def derivative_transfer(options: Mapping[str, Any]) -> list[Row]:
    """Can noise tell a neuron the slope of another one's activation? Fifty voltages from -5 to 5, each held for `steps`
    (10,000) in an order drawn from the seed. Rows {activation, sigma, correlation, max_deviation, ...}: the mean
    rectified high-pass of the rate, scaled to the slope's maximum, against the slope. Trials around the knee of relu
    deviate: there the noise sees both sides of it."""
    checked(options, "backend", "granularity", "steps", "seed")
    seed, steps = int(options.get("seed", 1)), int(options.get("steps", 10_000))
    voltages = np.random.default_rng(seed).permutation(np.linspace(-5, 5, VOLTAGES))
    overrides = {"run.backend": options.get("backend", "lava"),
                 "run.granularity": options.get("granularity", "network"), "run.seeds": [seed],
                 "protocol.presentation_steps": steps, "data.inputs": {name: voltages[:, None].tolist() for name in
                 ACTIVATIONS}}
    rows = []
    for sigma in SIGMAS:
        found = trained(load_experiment("derivative_transfer", {**overrides, "model.sigma": sigma}), _totals)
        rows += [{"activation": name, "sigma": sigma,
                  **_compared(np.diff(found["totals"][name], prepend=0.0) / steps, VECTOR[f"d_{name}"](voltages)),
                  "backend": overrides["run.backend"], "steps": VOLTAGES * steps, "wall_s": found["seconds"]["run"]}
                 for name in ACTIVATIONS]
    return rows


def _totals(session: Session) -> Row:
    return {"totals": {name: session.records.rows("total", f"{name}.total")[:, 0, 0] for name in ACTIVATIONS}}


def _compared(means: np.ndarray, slope: np.ndarray) -> dict[str, float]:
    """Correlation and deviations from the slope, both scaled to their maxima."""
    scaled = means / means.max() * slope.max()
    apart, most = np.abs(scaled - slope), slope.max()
    return {"correlation": float(np.corrcoef(scaled, slope)[0, 1]), "max_deviation": float(apart.max() / most),
            "mean_deviation": float(apart.mean() / most)}


# ---- unequal populations (Fig 4)

SIZES, SEEDS = (50, 100), (56789, 12345, 23456)


def generated_digits(options: Mapping[str, Any]) -> list[Row]:
    """Unequal populations of representation and error neurons: rows {representation, error, seeds, mean, spread, ...},
    the squared pixel error summed over the image, averaged over the test steps, after training. The published table has
    sizes 50, 100, 500 and 1000 and ten seeds; `--set sizes=[...]` and `--set seeds=[...]` choose, since runs of the
    largest take six minutes. Also epochs and jobs; with an output folder every run is kept there."""
    checked(options, "sizes", "seeds", "epochs", "backend", "granularity", "jobs")
    sizes, seeds = list(options.get("sizes", SIZES)), list(options.get("seeds", SEEDS))
    pairs = [(n, m) for n in sizes for m in sizes]
    jobs = [Job("generated_digits", (), {
        "model.layers": [10, n, 784], "model.error_layers": [m, 784], **overrides_of(options), "run.seeds": [seed]},
        Path(options["output"]) / f"{n}_{m}_{seed}.json" if "output" in options else None)
        for n, m in pairs for seed in seeds]
    found = run_all(kept_run, jobs, int(options.get("jobs", 2)))
    return [_generated(pair, found[i * len(seeds):(i + 1) * len(seeds)]) for i, pair in enumerate(pairs)]


def _generated(pair: tuple[int, int], runs: Sequence[Mapping[str, Any]]) -> Row:
    errors = [run["test_error"] for run in runs]
    return {"representation": pair[0], "error": pair[1], "seeds": len(runs), "mean": float(np.mean(errors)),
            "spread": float(np.std(errors)), "errors": errors, "backend": runs[0]["backend"],
            "granularity": runs[0]["granularity"], "wall_s": mean_seconds(runs)}
