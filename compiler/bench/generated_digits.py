"""`cortexc bench generated-digits`: unequal populations of representation and error neurons (Fig 4).

Rows {representation, error, seeds, mean, spread, ...}: squared pixel error summed over the image, averaged over the
test steps, after training. The published table has sizes 50, 100, 500 and 1000 and ten seeds; `--set sizes=[...]` and
`--set seeds=[...]` choose, since a run of the largest takes half an hour.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cortexc.compiler.bench import checked, overrides_of
from cortexc.compiler.bench.runs import kept, mean_seconds, trained
from cortexc.compiler.bench.workers import in_processes
from cortexc.compiler.experiments.config import load_experiment

SIZES, SEEDS = (50, 100), (56789, 12345, 23456)


def rows(options: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Options: sizes, seeds, epochs, backend, granularity, jobs. With an output folder every run is kept there."""
    checked(options, "sizes", "seeds", "epochs", "backend", "granularity", "jobs")
    sizes, seeds = list(options.get("sizes", SIZES)), list(options.get("seeds", SEEDS))
    pairs = [(n, m) for n in sizes for m in sizes]
    work = [(n, m, seed, dict(options)) for n, m in pairs for seed in seeds]
    found = in_processes(_run, work, int(options.get("jobs", 2)))
    return [_row(pair, found[i * len(seeds):(i + 1) * len(seeds)]) for i, pair in enumerate(pairs)]


def _run(n: int, m: int, seed: int, options: Mapping[str, Any]) -> dict[str, Any]:
    overrides = {"model.layers": [10, n, 784], "model.error_layers": [m, 784], "run.seeds": [seed],
                 **overrides_of(options, "backend", "granularity", "epochs")}
    experiment = load_experiment("generated_digits", overrides)
    file = Path(options["output"]) / f"{n}_{m}_{seed}.json" if "output" in options else None
    return kept(file, experiment, lambda: trained(experiment, "test_error", "experiment_sha256", "backend",
                                                  "granularity", "wall_s", "steps"))


def _row(pair: tuple[int, int], runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    errors = [run["test_error"] for run in runs]
    return {"representation": pair[0], "error": pair[1], "seeds": len(runs), "mean": float(np.mean(errors)),
            "spread": float(np.std(errors)), "errors": errors, "backend": runs[0]["backend"],
            "granularity": runs[0]["granularity"], "wall_s": mean_seconds(runs)}
