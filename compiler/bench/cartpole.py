"""`cortexc bench cartpole`: falls of the pole against trained epochs, with the teacher's as the line to reach.

Rows {setting, epochs, median, q25, q75, failures, ...}, one per setting and trained epoch; `teacher` is the controller
itself as the same circuit, without learning.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from cortexc.compiler.bench import checked, overrides_of
from cortexc.compiler.bench.runs import trained
from cortexc.compiler.experiments.config import load_experiment
from cortexc.compiler.experiments.experiment import Experiment

SETTINGS: Mapping[str, Mapping[str, Any]] = {
    "ideal": {"model.activation": ["linear"], "model.eta_fw": [1.0, 0.5], "model.ranges": {}},
    "tanh": {}}
"""Published variants: linear and without noise in the laterals, or as the experiment's file says."""


def rows(options: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Options: backend, granularity, seeds, and keys of an experiment with their table."""
    checked(options, "backend", "granularity", "seeds", "epochs")
    return [row for setting in ("teacher", *SETTINGS) for row in _rows(setting, options)]


def _rows(setting: str, options: Mapping[str, Any]) -> list[dict[str, Any]]:
    overrides = dict(SETTINGS.get(setting, SETTINGS["ideal"]))
    overrides |= overrides_of(options, "backend", "granularity", "seeds", "epochs")
    with tempfile.TemporaryDirectory(prefix="cortexc_") as folder:
        controller = setting == "teacher"
        experiment = teacher(overrides, Path(folder)) if controller else load_experiment("cartpole", overrides)
        found = trained(experiment)
    tests = found.get("control", [])[:1 if setting == "teacher" else None]
    return [{"setting": setting, "epochs": test["epochs"], **_quartiles(test["failures"]), "backend": found["backend"],
             "granularity": found["granularity"], "wall_s": found["wall_s"]} for test in tests]


def teacher(overrides: Mapping[str, Any], folder: Path) -> Experiment:
    """The controller as weights of the circuit: the first area passes the state on, the second applies the gains."""
    plain = load_experiment("cartpole", dict(overrides))
    gain = plain.model.options.get("gbas", 0.1) / (
        plain.model.options.get("gl", 0.03) + plain.model.options.get("gbas", 0.1) + plain.model.options["gapi"])
    weights = {"WPP_0.w": np.eye(4) / gain, "WPP_1.w": np.array(plain.tables()["protocol"]["teacher_matrix"]) / gain}
    file = folder / "teacher.npz"
    np.savez(file, **weights)
    return load_experiment("cartpole", {**overrides, "model.arrays": str(file), "protocol.epochs": 1,
                                        "protocol.train_gates": [], "run.seeds": plain.run.seeds[:1]})


def _quartiles(failures: list[int]) -> dict[str, Any]:
    q25, median, q75 = np.percentile(failures, (25, 50, 75))
    return {"median": float(median), "q25": float(q25), "q75": float(q75), "failures": failures}
