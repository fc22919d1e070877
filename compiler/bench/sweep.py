"""`cortexc sweep`: one experiment over values of its keys, on this machine's processors or a Dask cluster.

    cortexc sweep pal_digits --over run.seeds=0..9 --over model.eta_bw=0.1,0.2 -o runs/sweep --on dask:tcp://host:8786

Every combination is a run with a folder of its own: what has finished is read, what was interrupted goes on from its
checkpoint, and a worker that dies costs only the steps since then. X210: a range of values that cannot be read; X211: a
place to run that is not there; X212: workers that keep dying in one run.

    cortexc sweep pal_digits --sampler optuna --trials 40 --over "model.eta_bw=log(1e-3,1e-1)" --over run.seeds=0..2 \\
        --set data.valid_fraction=0.2 -o runs/study

With optuna, values are looked for. Every trial runs all seeds. AT_ONCE trials are asked for, run, and told in their
order, wherever they ran: so a study is fixed by its seed, and one that is started again asks for the same values and
reads what has finished.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from statistics import mean, median
from typing import Any

import numpy as np

from cortexc.compiler.bench.runs import Job, whole_run
from cortexc.compiler.bench.workers import Cluster, Ended, in_processes, package, slurm
from cortexc.compiler.experiments.config import Experiment, load_experiment, parse_override, parse_value
from cortexc.compiler.experiments.files import brief, writable_folder, write_bytes, write_json, write_text
from cortexc.compiler.ir.errors import CortexError, RunFailed

SEEDS, LARGEST_RANGE = "run.seeds", 100_000
"""The key whose values share runs; values of a range."""
SHARED = 8
"""Seeds that share a run unless told otherwise: not as many as there are workers, which would change roundings."""
PLACES = "local, dask:ADDRESS, slurm"
NOT_FINITE = "X152 weights are not finite at the end. Lower the learning rates."
LOST = "They may have run out of memory; try fewer --jobs, or a smaller --batch. Started again, the sweep goes on."
LEFT_OUT = ("steps_per_second", "total_steps", "resumed_from")
AT_ONCE = 4
"""Trials that are asked for before any of them is told: fixed, since another number would make another study."""
RANGE = re.compile(r"(log|uniform)\(([^,()]+),([^,()]+)\)|(-?\d+)\.\.(-?\d+)")
VALIDATION = "validation_accuracy"
Row = dict[str, Any]
Log = Callable[[list[Row]], None]
Place = Callable[[Sequence[Job], int, Ended], list[Row]]


@dataclass(frozen=True)
class Search:
    """`objective`: validation_accuracy, validation_error (which is made small), or a number of results.json; `-NAME`
    is made small."""

    trials: int = 20
    objective: str = VALIDATION
    seed: int = 0

    @property
    def direction(self) -> str:
        return "minimize" if self.objective == "validation_error" or self.objective.startswith("-") else "maximize"

    def best(self, summary: Sequence[Row]) -> Row | None:
        """Of rows with the `mean` of each trial."""
        found = [row for row in summary if row["mean"] is not None]
        return (min if self.direction == "minimize" else max)(found, key=lambda row: row["mean"], default=None)


def read_axis(text: str) -> tuple[str, list[Any]]:
    """`KEY=A..B`, whole numbers with both ends, `KEY=1,2,x` or `KEY=[1,2]`. Raises X105, X210."""
    key, value = parse_override(text)
    if isinstance(value, list):
        found = value
    elif match := re.fullmatch(r"(-?\d+)\.\.(-?\d+)", text.partition("=")[2].strip()):
        found = list(range(int(match[1]), min(int(match[2]), int(match[1]) + LARGEST_RANGE) + 1))
    else:
        found = [parse_value(part.strip()) for part in text.partition("=")[2].split(",")]
    if not found or any(each == "" for each in found) or len(found) > LARGEST_RANGE:
        raise CortexError("X210", f"'{brief(text)}' gives no values, or more than {LARGEST_RANGE}.",
                          "Write KEY=A..B, KEY=1,2,3 or KEY=[1,2,3].")
    return key, found


def sweep(experiment: str, over: Sequence[str], folder: str | Path, overrides: Mapping[str, Any] | None = None,
          on: Any = "local", jobs: int = 0, batch: int = 0, log: Log | None = None,
          search: Search | None = None) -> list[Row]:
    """A row per combination and seed; the folder gets `sweep.csv` (and `.parquet` where pyarrow is installed),
    `sweep.json`, `sweep.html`, and a folder per run.

    `on`: local, dask:ADDRESS, slurm, or a Dask cluster. `jobs`: processes at once (0: one per processor). `batch`:
    seeds that share a run, which is much faster and rounds in another order where a pass rewrites sums (1e-14 of a
    weight); 0: up to SHARED where seeds have nothing else in common. `log` gets the rows of every run as it ends.
    `search`: `over` has ranges, and optuna looks for the best values. A run that fails with a code is a row that says
    so; of a batch, every seed then runs alone.
    """
    output = writable_folder(str(folder))
    plan = Plan(experiment, dict(overrides or {}), output, batch, place_of(on), jobs, log)
    found = dict(read_axis(text) for text in over if search is None or text.startswith(f"{SEEDS}="))
    ranges = dict(read_range(text) for text in over if search and not text.startswith(f"{SEEDS}="))
    if len({text.partition("=")[0].strip() for text in over}) < len(over) or not over:
        raise CortexError("X210", "a sweep needs --over KEY=VALUES, each key once.")
    seeds = found.pop(SEEDS, [])
    if search is not None:
        rows = searched(search, ranges, lambda chosen: plan.tried(chosen, seeds))
    else:
        combinations = [dict(zip(found, each, strict=True)) for each in product(*found.values())]
        rows = [row for runs in plan.tried(combinations, seeds) for _, own in runs for row in own]
    write_table(output, experiment, rows, [*found, *ranges])
    return rows


@dataclass(frozen=True)
class Plan:
    """Of what experiment runs are made, and where they are kept and made."""

    experiment: str
    overrides: dict[str, Any]
    output: Path
    batch: int
    place: Place
    jobs: int
    log: Log | None

    def tried(self, chosen: Sequence[Row], seeds: Sequence[Any]) -> list[list[tuple[Row, list[Row]]]]:
        """For each combination of values, the results of its runs with their rows. Raises what the first one's
        experiment does."""
        groups = self._groups(chosen[0], seeds)
        runs = [self.run_of(values | ({} if group is None else {SEEDS: group})) for values in chosen
                for group in groups]
        found = self._results(runs)
        alone = {run.kept_in: self._alone(run) for run, results in zip(runs, found, strict=True)
                 if results.get("error") and len(run.overrides.get(SEEDS) or ()) > 1 and groups != [None]}
        again = [single for singles in alone.values() for single in singles]
        results = dict(zip([run.kept_in for run in [*runs, *again]], [*found, *self._results(again)], strict=True))
        made = [[(results[each.kept_in], list(_rows(each, results[each.kept_in])))
                 for each in alone.get(run.kept_in, [run])] for run in runs]
        return [[pair for pairs in made[i:i + len(groups)] for pair in pairs]
                for i in range(0, len(made), len(groups))]

    def _groups(self, first: Row, seeds: Sequence[Any]) -> list[Any]:
        """Seeds that share a run, as even as can be; none where the experiment has its own."""
        loaded = load_experiment(self.experiment, {**self.overrides, **first})
        size = self.batch or seeds_together(loaded, list(first))
        count = -(-len(seeds) // size)
        return [list(seeds[len(seeds) * i // count:len(seeds) * (i + 1) // count]) for i in range(count)] or [None]

    def run_of(self, values: Row) -> Job:
        """In a folder of its own, named after all that fixes it."""
        every = {**self.overrides, **values}
        digest = hashlib.sha256(json.dumps([self.experiment, list(every.items())], default=str).encode()).hexdigest()
        return Job(self.experiment, tuple(values.items()), every, self.output / "runs" / digest[:12])

    def _results(self, runs: Sequence[Job]) -> list[Row]:
        def ended(number: int, results: Row) -> None:
            if self.log is not None:
                self.log(list(_rows(runs[number], results)))

        return self.place(runs, self.jobs, ended) if runs else []

    def _alone(self, run: Job) -> list[Job]:
        return [self.run_of({**dict(run.label), SEEDS: [seed]}) for seed in run.overrides[SEEDS]]


def seeds_together(experiment: Experiment, keys: Sequence[str]) -> int:
    """How many seeds may share a run, so that each has the results that it has alone: not where samples, or the formats
    of fixed point, are made for all that are in it. `keys` are those that vary."""
    apart = any(key.startswith(("precision.", "protocol.first_seed")) for key in keys)
    return 1 if apart or experiment.precision.weights or not experiment.protocol.seeds_apart else SHARED


def run_kept(job: Job) -> Row:
    """The results of a run, read, resumed or made, as its folder allows; its error, if it has a code."""
    try:
        found = whole_run(job)
        return found if found.get("finite", True) else {"error": NOT_FINITE}
    except MemoryError:
        return {"error": "X192 there is not enough memory."}
    except CortexError as error:
        return {"error": NOT_FINITE if error.code == "X152" else f"{error}"}


# ---- where


def place_of(on: Any) -> Place:
    """A place by its name, or a Dask cluster, such as a `LocalCluster`, whose lost workers are then replaced. Raises
    X211."""
    if on == "local":
        return lambda runs, jobs, ended: in_processes(run_kept, [(run,) for run in runs], jobs, _lost, ended)
    if on == "slurm":
        return _on_slurm
    if hasattr(on, "worker_spec"):
        return lambda runs, jobs, ended: Cluster(on.scheduler_address, on).run(run_kept, runs, _lost, ended)
    if isinstance(on, str) and on.startswith("dask:") and on[5:]:
        return lambda runs, jobs, ended: Cluster(on[5:]).run(run_kept, runs, _lost, ended)
    raise CortexError("X211", f"there is no place '{on}' to run a sweep on; there are {PLACES}.")


def _on_slurm(runs: Sequence[Job], jobs: int, ended: Ended) -> list[Row]:
    """Workers may wait in the queue for as long as it takes."""
    cluster = slurm(jobs)
    try:
        return Cluster(cluster.scheduler_address, cluster, math.inf).run(run_kept, runs, _lost, ended)
    finally:
        cluster.close()


def _lost(_: int) -> Row:
    return {"error": f"{RunFailed('X212', 'workers died in this run again and again.', LOST)}"}


# ---- what is left


def _rows(run: Job, results: Row) -> Iterator[Row]:
    values = {key: value for key, value in run.label if key != SEEDS}
    common = {key: value for key, value in results.items() if isinstance(value, int | float | None)
              and not isinstance(value, bool) and key not in LEFT_OUT} | {"error": results.get("error")}
    own = results.get("seeds") or [{"seed": seed} for seed in dict(run.label).get(SEEDS, [None])]
    for each in own:
        yield {**values, **common, **each, "folder": run.kept_in.name if run.kept_in else ""}


def write_table(folder: Path, experiment: str, rows: Sequence[Row], keys: Sequence[str]) -> None:
    columns = list(dict.fromkeys(key for row in rows for key in row))
    text = io.StringIO()
    table = csv.DictWriter(text, columns, lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    write_text(folder / "sweep.csv", text.getvalue())
    with suppress(ImportError):
        write_bytes(folder / "sweep.parquet", _parquet(rows, columns))
    write_json(folder / "sweep.json", {"experiment": experiment, "rows": list(rows)})
    from cortexc.compiler.report.sweep_page import sweep_page

    others = [key for key in keys if key != SEEDS]
    write_text(folder / "sweep.html", sweep_page(experiment, rows, summary(rows, others), others))


def _parquet(rows: Sequence[Row], columns: Sequence[str]) -> bytes:
    """Columns of numbers, or of text. Raises ImportError."""
    import pyarrow
    from pyarrow import parquet

    def column(values: list[Any]) -> list[Any]:
        numeric = all(isinstance(each, int | float | None) for each in values)
        return values if numeric else [None if each is None else str(each) for each in values]

    buffer = io.BytesIO()
    table = pyarrow.table({key: column([row.get(key) for row in rows]) for key in columns})
    parquet.write_table(table, buffer)
    return buffer.getvalue()


def summary(rows: Sequence[Row], keys: Sequence[str], measure: str = "test_accuracy") -> list[Row]:
    """Per combination of the keys: mean, spread and number of what could be measured."""
    groups: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault(tuple(str(row.get(key)) for key in keys), []).append(row)
    found = []
    for same in groups.values():
        values = [row[measure] for row in same if row.get(measure) is not None]
        found.append({**{key: same[0].get(key) for key in keys}, "mean": float(np.mean(values)) if values else None,
                      "spread": float(np.std(values)) if values else None, "runs": len(values),
                      "failed": sum(row.get("error") is not None for row in same)})
    return found


# ---- values that optuna looks for


def read_range(text: str) -> tuple[str, Any]:
    """`KEY=log(LOW,HIGH)`, `KEY=uniform(LOW,HIGH)`, whole numbers `KEY=A..B`, or choices as in a sweep: (key, what
    optuna draws from). Raises X105, X210, X211."""
    found = package("optuna").distributions
    match = RANGE.fullmatch(text.partition("=")[2].strip())
    if match is None:
        key, values = read_axis(text)
        return key, found.CategoricalDistribution(values)
    key, _ = parse_override(text.partition("=")[0] + "=0")
    try:
        if match[4]:
            return key, found.IntDistribution(int(match[4]), int(match[5]))
        return key, found.FloatDistribution(float(match[2]), float(match[3]), log=match[1] == "log")
    except ValueError as error:
        raise CortexError("X210", f"'{brief(text)}' is no range: {brief(error)}.",
                          "Write KEY=log(1e-3,1e-1), KEY=uniform(0,1) or KEY=1..9.") from None


def searched(search: Search, ranges: Mapping[str, Any],
             tried: Callable[[list[Row]], list[list[tuple[Row, list[Row]]]]]) -> list[Row]:
    """The rows of all trials. `tried(values)` runs a trial for each of the values and gives, for each, the results of
    its runs with their rows. Raises X214."""
    optuna = package("optuna")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction=search.direction, sampler=optuna.samplers.TPESampler(seed=search.seed))
    rows: list[Row] = []
    for first in range(0, search.trials, AT_ONCE):
        trials = [study.ask(dict(ranges)) for _ in range(min(AT_ONCE, search.trials - first))]
        for trial, runs in zip(trials, tried([trial.params for trial in trials]), strict=True):
            value = _value(search.objective, [results for results, _ in runs])
            study.tell(trial, value, state=None if value is not None else optuna.trial.TrialState.FAIL)
            rows += [{"trial": trial.number, "objective": value, **row} for _, own in runs for row in own]
    return rows


def _value(objective: str, runs: Sequence[Row]) -> float | None:
    """The mean over runs; none where one failed. Raises X214."""
    if any(results.get("error") for results in runs):
        return None
    return mean(measured(results, objective.removeprefix("-")) for results in runs)


def measured(results: Row, objective: str) -> float:
    """Of one run. Raises X214 where it is not there: of a validation, where none was made."""
    validations = results.get("validations") or []
    errors = [entry for entry in results.get("errors") or [] if entry["phase"] == "validation"]
    found = validations[-1]["mean"] if objective == VALIDATION and validations else \
        median(errors[-1]["error"]) if objective == "validation_error" and errors else results.get(objective)
    if isinstance(found, bool) or not isinstance(found, int | float):
        raise CortexError("X214", f"the results have no number '{objective}'.", "A validation needs its part of the "
                          "data, as from --set data.valid_fraction=0.2; numbers of results.json can be named.")
    return float(found)
