"""`cortexc sweep`: one experiment over values of its keys, on this machine's processors or a Dask cluster.

    cortexc sweep pal_digits --over run.seeds=0..9 --over model.eta_bw=0.1,0.2 -o runs/sweep --on dask:tcp://host:8786

Every combination is a run with a folder of its own: what has finished is read, what was interrupted goes on from its
checkpoint, and a worker that dies costs only the steps since then. X210: a range
of values that cannot be read; X211: a place to run that is not there; X212: workers that keep dying.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from cortexc.compiler.bench.workers import in_processes
from cortexc.compiler.experiments.checkpoints import NAME
from cortexc.compiler.experiments.config import load_experiment, parse_override, parse_value
from cortexc.compiler.experiments.files import brief, writable_folder, write_json, write_text
from cortexc.compiler.experiments.session import run_experiment
from cortexc.compiler.ir.errors import CortexError, RunFailed

SEEDS, LARGEST_RANGE = "run.seeds", 100_000
"""The key whose values share runs; values of a range."""
PLACES = "local, dask:ADDRESS, slurm"
PATIENCE = 3
"""Times that workers may die one after another without any run having ended in between."""
LEFT_OUT = ("steps_per_second", "total_steps", "resumed_from")
Row = dict[str, Any]


@dataclass(frozen=True)
class Run:
    """One combination: `values` by key (of the seeds all that share the run), `overrides` as on the command line."""

    experiment: str
    values: tuple[tuple[str, Any], ...]
    overrides: tuple[tuple[str, Any], ...]
    folder: str


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
          on: str = "local", jobs: int = 0, batch: int = 1) -> list[Row]:
    """A row per combination and seed; the folder gets `sweep.csv`, `sweep.json`, `sweep.html`, and a folder per run.

    `jobs`: processes at once (0: one per processor). `batch`: seeds that share a run, which is faster, and shows all of
    them the samples in the order of the first. A run that fails with a code is a row that says so.
    """
    place, output = _place(on), writable_folder(str(folder))
    found = [read_axis(each) for each in over]
    if len({key for key, _ in found}) < len(found) or not found:
        raise CortexError("X210", "a sweep needs --over KEY=VALUES, each key once.")
    runs = list(_runs(experiment, dict(found), dict(overrides or {}), output, batch))
    for run in runs[:1]:
        load_experiment(run.experiment, dict(run.overrides))
    rows = [row for run, results in zip(runs, place(runs, jobs), strict=True) for row in _rows(run, results)]
    _write(output, experiment, rows, [key for key, _ in found])
    return rows


def _runs(experiment: str, found: dict[str, list[Any]], overrides: dict[str, Any], output: Path,
          batch: int) -> Iterator[Run]:
    others = {key: values for key, values in found.items() if key != SEEDS}
    seeds = found.get(SEEDS, [])
    groups: list[Any] = [seeds[i:i + batch] for i in range(0, len(seeds), batch)] or [None]
    for chosen, group in product(product(*others.values()), groups):
        values = dict(zip(others, chosen, strict=True)) | ({} if group is None else {SEEDS: group})
        every = tuple((overrides | values).items())
        digest = hashlib.sha256(json.dumps([experiment, every], default=str).encode()).hexdigest()[:12]
        yield Run(experiment, tuple(values.items()), every, str(output / "runs" / digest))


def run_kept(run: Run) -> Row:
    """The results of a run, read, resumed or made, as its folder allows; its error, if it has a code."""
    try:
        experiment, folder = load_experiment(run.experiment, dict(run.overrides)), Path(run.folder)
        results = folder / "results.json"
        if results.is_file():
            found: Row = json.loads(results.read_text(encoding="utf-8"))
            if found.get("experiment_sha256") == experiment.sha256():
                return found
        begun = (folder / NAME).is_file()
        return run_experiment(experiment, folder, resume=begun, force=not begun)
    except CortexError as error:
        if error.code == "X191":
            raise
        return {"error": f"{error}"}


# ---- where


Place = Callable[[Sequence[Run], int], list[Row]]


def _place(on: str) -> Place:
    """Raises X211."""
    if on == "local":
        return _local
    if on.startswith("dask:") and on[5:]:
        return lambda runs, jobs: _dask(on[5:], runs)
    if on == "slurm":
        return _slurm
    raise CortexError("X211", f"there is no place '{on}' to run a sweep on; there are {PLACES}.")


def _local(runs: Sequence[Run], jobs: int) -> list[Row]:
    return _patiently(runs, lambda left: in_processes(run_kept, [(run,) for run in left], jobs), "X195")


def _patiently(runs: Sequence[Run], attempt: Callable[[Sequence[Run]], list[Row]], died: str) -> list[Row]:
    """Again where a worker died, as long as runs go on ending. Raises X212."""
    left = PATIENCE
    before = _ended(runs)
    while True:
        try:
            return attempt(runs)
        except CortexError as error:
            if error.code != died:
                raise
        now = _ended(runs)
        left, before = (PATIENCE if now > before else left - 1), now
        if not left:
            said = f"workers died {PATIENCE} times, and none of the {len(runs) - now} runs that are left ended."
            raise RunFailed("X212", said, "They may have run out of memory; try fewer --jobs, or a smaller --batch. "
                                          "Started again, the sweep goes on from here.")


def _ended(runs: Sequence[Run]) -> int:
    return sum((Path(run.folder) / "results.json").is_file() for run in runs)


def _dask(address: str, runs: Sequence[Run]) -> list[Row]:
    """The cluster's workers see the same folders; it runs again what a worker took with it."""
    distributed = _package("distributed")
    try:
        client = distributed.Client(address, timeout="10s")
    except (OSError, ValueError) as error:
        raise CortexError("X211", f"there is no Dask scheduler at '{address}': {error}.") from None
    with client:
        return _patiently(runs, lambda left: _gathered(distributed, client, left), "X212")


def _gathered(distributed: Any, client: Any, runs: Sequence[Run]) -> list[Row]:
    futures = client.map(run_kept, list(runs), pure=False)
    try:
        return list(client.gather(futures))
    except distributed.KilledWorker as error:
        raise RunFailed("X212", f"{error}") from None
    finally:
        client.cancel(futures)


def _slurm(runs: Sequence[Run], jobs: int) -> list[Row]:
    """A job of the queue per worker, as Dask's configuration for `dask-jobqueue` says."""
    cluster = _package("dask_jobqueue").SLURMCluster()
    cluster.scale(jobs=jobs or 1)
    try:
        return _dask(cluster.scheduler_address, runs)
    finally:
        cluster.close()


def _package(name: str) -> Any:
    from importlib import import_module

    try:
        return import_module(name)
    except ImportError as error:
        raise CortexError("X211", f"extra 'sweep' is not installed: {error}.",
                          "Run pip install 'cortexc[sweep]'.") from None


# ---- what is left


def _rows(run: Run, results: Row) -> Iterator[Row]:
    values = {key: value for key, value in run.values if key != SEEDS}
    common = {key: value for key, value in results.items() if isinstance(value, int | float | None)
              and not isinstance(value, bool) and key not in LEFT_OUT} | {"error": results.get("error")}
    own = results.get("seeds") or [{"seed": seed} for seed in dict(run.values).get(SEEDS, [None])]
    for each in own:
        yield {**values, **common, **each, "folder": Path(run.folder).name}


def _write(folder: Path, experiment: str, rows: Sequence[Row], keys: Sequence[str]) -> None:
    columns = list(dict.fromkeys(key for row in rows for key in row))
    text = io.StringIO()
    table = csv.DictWriter(text, columns, lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    write_text(folder / "sweep.csv", text.getvalue())
    write_json(folder / "sweep.json", {"experiment": experiment, "rows": list(rows)})
    from cortexc.compiler.report.sweep_page import sweep_page

    others = [key for key in keys if key != SEEDS]
    write_text(folder / "sweep.html", sweep_page(experiment, rows, summary(rows, others), others))


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
