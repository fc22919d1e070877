"""Spiking circuits against NEST, statistically: `cortexc bench spiking-statistics`.

Of every population, the distributions over cells of rates and of the coefficient of variation of intervals, and over
pairs of cells of correlations. Recorded are ten seeds of NEST (`nest_statistics.npz`), each with a network of its own;
`--set nest=PYTHON -o FOLDER` records them anew. As many of ours are run. The distance of a run is its mean
Kolmogorov-Smirnov distance to the runs of NEST, itself apart. Ours are within the spread where the median of their
distances is not above the largest of NEST's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cortexc.compiler.bench import checked, chosen, run_all
from cortexc.compiler.bench.networks import described, experiment_of, python_of, run_peer
from cortexc.compiler.experiments.session import Session
from cortexc.compiler.experiments.spikes import STATISTICS, Spikes, kolmogorov_smirnov, spikes_of
from cortexc.compiler.experiments.tasks.simulate import STREAM
from cortexc.compiler.microcircuits.brunel import Brunel
from cortexc.compiler.microcircuits.potjans_diesmann import PotjansDiesmann

RECORDED = Path(__file__).with_name("nest_statistics.npz")
LEVELS = 200
"""Quantiles that are kept of a distribution."""
Found = dict[str, np.ndarray]
Row = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """A circuit, run for `warm_ms` that do not count and `ms` that do."""

    circuit: Brunel | PotjansDiesmann
    ms: float
    warm_ms: float = 200.0

    @property
    def warm(self) -> int:
        return round(self.warm_ms / self.circuit.dt)

    @property
    def stop(self) -> int:
        return self.warm + round(self.ms / self.circuit.dt)


def _brunel(g: float, eta: float, ms: float, order: int = 625) -> Case:
    """In-degrees as in the published network of 12,500 cells, of a quarter of the cells."""
    return Case(Brunel(order=order, epsilon=0.1 * 2500 / order, g=g, eta=eta), ms)


CASES = {
    "brunel-SR": _brunel(3.0, 2.0, 300.0), "brunel-fast-SI": _brunel(6.0, 4.0, 1000.0),
    "brunel-AI": _brunel(5.0, 2.0, 2000.0), "brunel-slow-SI": _brunel(4.5, 0.9, 2000.0),
    "potjans-diesmann": Case(PotjansDiesmann(scale=0.1), 1000.0, 300.0),
    "small-brunel": Case(Brunel(order=250), 400.0, 100.0),
    "small-potjans-diesmann": Case(PotjansDiesmann(scale=0.01), 500.0),
}
"""Name -> circuit; the last two are for tests."""


def quantiles(spikes: Mapping[str, Spikes]) -> Found:
    """`population/statistic` -> LEVELS quantiles of its values, or as many nan."""
    levels = (np.arange(LEVELS) + 0.5) / LEVELS
    found = {f"{name}/{what}": measure(each) for name, each in spikes.items() for what, measure in STATISTICS.items()}
    return {key: np.quantile(values, levels, method="inverted_cdf") if len(values) else np.full(LEVELS, np.nan)
            for key, values in found.items()}


def nest_run(case: Case, seed: int, python: str) -> Found:
    request = {**described(case.circuit), "seed": seed, "warm_ms": case.warm_ms, "ms": case.ms}
    answer, circuit = run_peer("nest", python, request), case.circuit
    found = {name: answer[f"spikes.{name}"] for name in circuit.sizes}
    return quantiles({name: Spikes(found[name][0], found[name][1], size, circuit.dt, 0, case.stop).since(case.warm)
                      for name, size in circuit.sizes.items()})


def record(names: Sequence[str], seeds: Sequence[int], python: str, folder: Path) -> Found:
    """`case/population/statistic` -> (seeds, LEVELS), kept in the folder run by run."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        for seed in seeds:
            file = folder / f"{name}_{seed}.npz"
            if not file.is_file():
                np.savez(file, **nest_run(CASES[name], seed, python))  # type: ignore[arg-type]
    found: Found = {}
    for name in names:
        runs = [dict(np.load(folder / f"{name}_{seed}.npz")) for seed in seeds]
        found |= {f"{name}/{key}": np.stack([run[key] for run in runs]).astype(np.float32) for key in runs[0]}
    np.savez_compressed(folder / RECORDED.name, **found)  # type: ignore[arg-type]
    return found


def our_run(case: Case, seed: int, backend: str = "native") -> Found:
    """The quantiles of one run of ours; network and noise have this seed."""
    experiment = experiment_of(case.circuit, case.warm_ms, case.ms, seed, backend)
    with Session(experiment) as session:
        session.run()
        assert session.plan.spiking is not None
        spikes = spikes_of(session.plan.spiking, session.records.taken(), STREAM, session.position)
    return quantiles({population: own[0] for population, own in spikes.items()})


def distances(runs: Sequence[np.ndarray], others: Sequence[np.ndarray]) -> np.ndarray:
    """Of every run, its mean Kolmogorov-Smirnov distance to the others, itself apart; of what is finite."""
    return np.array([np.mean([kolmogorov_smirnov(run[np.isfinite(run)], other[np.isfinite(other)])
                              for other in others if other is not run]) for run in runs])


def compared(name: str, ours: Sequence[Found], nest: Mapping[str, np.ndarray]) -> list[Row]:
    """A row per population and statistic."""
    return [_row(name, key, [run[key].astype(np.float32) for run in ours], list(nest[f"{name}/{key}"]))
            for key in ours[0]]


def _row(name: str, key: str, ours: list[np.ndarray], nest: list[np.ndarray]) -> Row:
    population, statistic = key.split("/")
    found, spread = distances(ours, nest), distances(nest, nest)
    means = {who: float(np.nanmean(np.concatenate(runs))) for who, runs in (("ours", ours), ("nest", nest))}
    return {"case": name, "population": population, "statistic": statistic, **means,
            "distance": float(np.median(found)), "nest_distance": float(np.median(spread)),
            "nest_largest": float(spread.max()), "within": bool(np.median(found) <= spread.max())}


def rows(options: Mapping[str, Any]) -> list[Row]:
    """Raises X182, X184, X186."""
    options = checked(options, "cases", "seeds", "nest", "jobs")
    names = chosen({"cases": [name for name in CASES if not name.startswith("small-")], **options}, "cases", CASES)
    seeds = options.get("seeds", list(range(1, 11)))
    if "nest" in options:
        nest = record(names, range(1, 11), python_of("nest", options), Path(options.get("output", ".")) / "nest")
    else:
        with np.load(RECORDED) as arrays:
            nest = dict(arrays)
    jobs = [(name, seed) for name in names for seed in seeds]
    found = run_all(_job, jobs, int(options.get("jobs", 1)))
    return [row for name in names for row in compared(name, [run for (own, _), run in zip(jobs, found, strict=True)
                                                             if own == name], nest)]


def _job(job: tuple[str, int]) -> Found:
    return our_run(CASES[job[0]], job[1])
