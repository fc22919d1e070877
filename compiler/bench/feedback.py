"""`cortexc bench pal-feedback`: the published long runs of Fig 3, against the authors' own angle curves.

Rows {figure, seed, max_abs_deg, max_abs_deg_jacobian, final_deg, steps, wall_s}: the largest difference, in degrees,
to the stored curves of both measures (B against W^T, and against W^T between the slopes), over all rows and layers.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from cortexc.compiler.bench import overrides_of
from cortexc.compiler.bench.workers import in_processes
from cortexc.compiler.experiments.config import load_experiment
from cortexc.compiler.experiments.data.loading import read_archive
from cortexc.compiler.experiments.figures import angle, transpose_angle
from cortexc.compiler.experiments.session import Session
from cortexc.compiler.ir.errors import CortexError

FIGURES = {"3abc": "pal_fig3abc", "3def": "pal_fig3def"}
DEFAULT_RUNS = {"3abc": (123, 456, 9), "3def": (123,)}
SEEDS = {"3abc": (123, 456, 789, 111, 222, 1, 3, 5, 7, 9), "3def": (123, 456, 789, 111, 999, 1, 3, 5, 7, 9)}
"""Seeds of the stored curves, in their order."""
FILE = "pal_fig3_angles.npz"


def rows(options: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Options: figures, seeds ("all" or a list), steps (network steps of each run), jobs (processes), golden
    (folder), and any key of an experiment with its table (`run.backend`). Raises X180, X181."""
    stored = stored_curves(options.get("golden"))
    jobs = [(figure, seed) for figure in _listed(options.get("figures", list(FIGURES)))
            for seed in _seeds(figure, options.get("seeds"))]
    overrides = overrides_of(options, "backend", "granularity")
    work = [(figure, seed, stored, overrides, options.get("steps")) for figure, seed in jobs]
    if int(options.get("jobs", 1)) == 1:
        return [measure(*each) for each in work]
    return in_processes(measure, work, int(options["jobs"]))


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
