"""`cortexc bench dms`: delayed match-to-sample by the error-neuron circuit, twenty nets, both published settings.

Rows {setting, epochs, seeds, solved, stuck, median_test_error, validation_medians, ...}. A net has solved the task if
its squared error at the end of a test trial, averaged over trials, is below `SOLVED`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from cortexc.compiler.bench import checked, overrides_of
from cortexc.compiler.bench.runs import trained
from cortexc.compiler.experiments.config import load_experiment

SETTINGS = {"eta 4000": (4000, 10), "eta 1000": (1000, 15)}
"""Published version -> (eta_fw, epochs)."""
SOLVED = 0.05
STUCK = 0.9


def rows(options: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Options: backend, granularity, seeds, and keys of an experiment with their table."""
    checked(options, "backend", "granularity", "seeds")
    return [_row(setting, rate, epochs, options) for setting, (rate, epochs) in SETTINGS.items()]


def _row(setting: str, rate: float, epochs: int, options: Mapping[str, Any]) -> dict[str, Any]:
    overrides = {"model.eta_fw": [rate], "protocol.epochs": epochs}
    overrides |= overrides_of(options, "backend", "granularity", "seeds")
    found = trained(load_experiment("match_to_sample", overrides))
    errors = np.array(found["errors"][-1]["error"])
    medians = [float(np.median(e["error"])) for e in found["errors"] if e["phase"] == "validation"]
    return {"setting": setting, "epochs": epochs, "seeds": len(errors), "solved": int((errors < SOLVED).sum()),
            "stuck": int((errors > STUCK).sum()), "median_test_error": float(np.median(errors)),
            "validation_medians": medians, "test_errors": errors.tolist(), "backend": found["backend"],
            "granularity": found["granularity"], "steps": found["steps"], "wall_s": found["wall_s"]}
