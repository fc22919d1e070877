"""`cortexc bench derivative-transfer`: can noise tell a neuron the slope of another one's activation (Fig 8)?

Fifty voltages from -5 to 5, each held for 10,000 steps in an order drawn from the seed. Rows {activation, sigma,
correlation, max_deviation, ...}: the mean rectified high-pass of the rate, scaled to the slope's maximum, against the
slope. Trials around the knee of relu deviate: there the noise sees both sides of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from cortexc.compiler.bench import checked
from cortexc.compiler.experiments.config import load_experiment
from cortexc.compiler.experiments.session import Session
from cortexc.compiler.ir.functions import VECTOR

ACTIVATIONS, SIGMAS, VOLTAGES = ("tanh", "relu", "logistic"), (0.1, 0.05), 50


def rows(options: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Options: backend, granularity, steps (per voltage), seed."""
    checked(options, "backend", "granularity", "steps", "seed")
    return [row for sigma in SIGMAS for row in _rows(sigma, options)]


def _rows(sigma: float, options: Mapping[str, Any]) -> list[dict[str, Any]]:
    seed, steps = int(options.get("seed", 1)), int(options.get("steps", 10_000))
    voltages = np.random.default_rng(seed).permutation(np.linspace(-5, 5, VOLTAGES))
    column = voltages[:, None].tolist()
    overrides = {"run.backend": options.get("backend", "lava"),
                 "run.granularity": options.get("granularity", "network"), "run.seeds": [seed],
                 "protocol.presentation_steps": steps, "model.sigma": sigma,
                 "data.inputs": {name: column for name in ACTIVATIONS}}
    with Session(load_experiment("derivative_transfer", overrides)) as session:
        session.run()
        totals = {name: session.records.rows("total", f"{name}.total")[:, 0, 0] for name in ACTIVATIONS}
        seconds = session.seconds["run"]
    return [{"activation": name, "sigma": sigma, **compared(np.diff(total, prepend=0.0) / steps, name, voltages),
             "backend": overrides["run.backend"], "steps": VOLTAGES * steps, "wall_s": seconds}
            for name, total in totals.items()]


def compared(means: np.ndarray, name: str, voltages: np.ndarray) -> dict[str, float]:
    """Correlation and largest deviation from the slope, both scaled to their maxima."""
    slope = VECTOR[f"d_{name}"](voltages)
    scaled = means / means.max() * slope.max()
    return {"correlation": float(np.corrcoef(scaled, slope)[0, 1]),
            "max_deviation": float(np.abs(scaled - slope).max() / slope.max()),
            "mean_deviation": float(np.abs(scaled - slope).mean() / slope.max())}
