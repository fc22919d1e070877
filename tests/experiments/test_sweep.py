"""Sweeps: the rows of single runs, whatever ran them; what has finished is not run again."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

import cortexc
from cortexc import CortexError
from cortexc.compiler.bench import sweep as sweeps
from cortexc.compiler.bench.sweep import Run, read_axis, run_kept, summary, sweep
from cortexc.compiler.ir.errors import RunFailed

SET = {"run.backend": "native", "model.layers": [64, 4, 10], "data.limits": {"train": 40, "test": 20}, "protocol.epochs": 1}


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> list[Run]:
    """Runs are made in this process, and listed."""
    made: list[Run] = []

    def listed(runs: Any, jobs: int) -> Any:
        made.extend(runs)
        return [run_kept(run) for run in runs]

    monkeypatch.setattr(sweeps, "_local", listed)
    return made


@pytest.mark.parametrize(("text", "values"), [
    ("run.seeds=0..3", [0, 1, 2, 3]), ("a.b=-1..1", [-1, 0, 1]), ("a.b=0.1, 2,x", [0.1, 2, "x"]),
    ("a.b=[[1,2],[3]]", [[1, 2], [3]]), ("a.b=7", [7])])
def test_axes(text: str, values: list[Any]) -> None:
    assert read_axis(text) == ("a.b" if text[0] == "a" else "run.seeds", values)


@pytest.mark.parametrize(("text", "code"), [("a.b=", "X210"), ("a.b=[]", "X210"), ("a.b=1,,2", "X210"), ("a.b=3..1", "X210"),
                                            ("a.b=0..99999999", "X210"), ("nothing", "X105")])
def test_axes_that_say_nothing(text: str, code: str) -> None:
    with pytest.raises(CortexError, match=code):
        read_axis(text)


def test_rows_are_those_of_single_runs_and_are_made_once(tmp_path: Path, here: list[Run]) -> None:
    over = ["run.seeds=5..7", "model.eta_bw=0.1,0.3"]
    rows = sweep("pal_digits", over, tmp_path, SET, jobs=2)
    assert [(row["model.eta_bw"], row["seed"]) for row in rows] == [(eta, seed) for eta in (0.1, 0.3) for seed in (5, 6, 7)]
    assert len(here) == 6 and all(row["error"] is None for row in rows)
    alone = cortexc.run(cortexc.load("pal_digits", {**SET, "run.seeds": [6], "model.eta_bw": 0.3}))
    assert rows[4]["weights_sha256"] == alone["seeds"][0]["weights_sha256"] and len({r["weights_sha256"] for r in rows}) == 6
    with (tmp_path / "sweep.csv").open() as file:
        assert [row["weights_sha256"] for row in csv.DictReader(file)] == [row["weights_sha256"] for row in rows]
    assert json.loads((tmp_path / "sweep.json").read_text())["rows"][0]["seed"] == 5
    page = (tmp_path / "sweep.html").read_text()
    assert "Test accuracy along model.eta_bw" in page and "model.eta_bw" in page
    found = summary(rows, ["model.eta_bw"])
    assert [row["runs"] for row in found] == [3, 3] and 0 <= found[0]["mean"] <= 1
    before = [Path(run.folder, "results.json").stat().st_mtime_ns for run in here]
    assert sweep("pal_digits", over, tmp_path, SET, jobs=2) == rows
    assert [Path(run.folder, "results.json").stat().st_mtime_ns for run in here[:6]] == before


def test_a_run_that_cannot_be_is_a_row(tmp_path: Path, here: list[Run]) -> None:
    rows = sweep("pal_digits", ["run.seeds=[1]", "model.eta_bw=[0.2, \"high\"]"], tmp_path, SET)
    assert rows[0]["error"] is None and rows[1]["error"].startswith("X104") and "test_accuracy" not in rows[1], rows
    assert [row["failed"] for row in summary(rows, ["model.eta_bw"])] == [0, 1]


@pytest.mark.parametrize("ended_each", [1, 0])
def test_workers_that_die_cost_their_runs_another_try(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                      ended_each: int) -> None:
    """Four runs, and a worker that dies in each attempt, after one run has ended or none."""
    attempts = []

    def dying(run: Any, jobs: Any, workers: int) -> Any:
        attempts.append(workers)
        left = [job for (job,) in jobs if not Path(job.folder, "results.json").exists()]
        if not left:
            return [{"seeds": [{"seed": dict(job.values)["run.seeds"][0]}]} for (job,) in jobs]
        for job in left[:ended_each]:
            Path(job.folder).mkdir(parents=True)
            Path(job.folder, "results.json").write_text("{}")
        raise RunFailed("X195", "a process of the benchmark died.")

    monkeypatch.setattr(sweeps, "in_processes", dying)
    if ended_each:
        rows = sweep("pal_digits", ["run.seeds=1..4"], tmp_path, SET, jobs=3)
        assert [row["seed"] for row in rows] == [1, 2, 3, 4] and attempts == [3] * 5
    else:
        with pytest.raises(CortexError, match="X212 workers died 3 times, and none of the 4 runs"):
            sweep("pal_digits", ["run.seeds=1..4"], tmp_path, SET, jobs=3)


@pytest.mark.parametrize(("options", "code"), [({"on": "cloud"}, "X211"), ({"on": "dask:"}, "X211"), ({"over": []}, "X210"),
                                               ({"over": ["run.seeds=1", "run.seeds=2"]}, "X210")])
def test_what_is_no_sweep(tmp_path: Path, options: dict[str, Any], code: str) -> None:
    with pytest.raises(CortexError, match=code):
        sweep("pal_digits", **{"over": ["run.seeds=1"], "folder": tmp_path, **options})


def test_without_the_package_it_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "distributed", None)
    with pytest.raises(CortexError, match="X211 extra 'sweep' is not installed"):
        sweep("pal_digits", ["run.seeds=1"], tmp_path, SET, on="dask:tcp://nowhere:1")
