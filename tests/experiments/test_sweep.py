"""Sweeps: the rows of single runs, whatever ran them; what has finished is not run again."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cortexc
from cortexc import CortexError
from cortexc.compiler.bench import runs
from cortexc.compiler.bench import sweep as sweeps
from cortexc.compiler.bench.sweep import Job, Search, measured, read_axis, summary, sweep

SET = {"run.backend": "native", "model.layers": [64, 4, 10], "data.limits": {"train": 10, "test": 10}, "protocol.epochs": 1, "protocol.presentation_steps": 5}


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> list[Job]:
    """Runs are made in this process, and listed."""
    made: list[Job] = []

    def listed(run: Any, jobs: Any, workers: int, lost: Any, ended: Any) -> Any:
        made.extend(job for (job,) in jobs)
        found = [run(*job) for job in jobs]
        for number, results in enumerate(found):
            ended(number, results)
        return found

    monkeypatch.setattr(sweeps, "in_processes", listed)
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


def test_rows_are_those_of_single_runs_and_are_made_once(tmp_path: Path, here: list[Job]) -> None:
    over = ["run.seeds=5..7", "model.eta_bw=0.1,0.3"]
    rows = sweep("pal_digits", over, tmp_path, SET, jobs=2, batch=1)
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
    before = [Path(run.kept_in, "results.json").stat().st_mtime_ns for run in here]
    assert sweep("pal_digits", over, tmp_path, SET, jobs=2, batch=1) == rows
    assert [Path(run.kept_in, "results.json").stat().st_mtime_ns for run in here[:6]] == before


def test_a_run_that_cannot_be_is_a_row(tmp_path: Path, here: list[Job]) -> None:
    rows = sweep("pal_digits", ["run.seeds=[1]", "model.eta_bw=[0.2, \"high\"]"], tmp_path, SET)
    assert rows[0]["error"] is None and rows[1]["error"].startswith("X104") and "test_accuracy" not in rows[1], rows
    assert [row["failed"] for row in summary(rows, ["model.eta_bw"])] == [0, 1]


def test_seeds_that_share_a_run_have_the_results_that_they_have_alone(tmp_path: Path, here: list[Job]) -> None:
    """To the bit, where no pass rewrites sums; eight at most, evenly."""
    over = ["run.seeds=0..9"]
    exact = {**SET, "passes.disable": ["hoist-constant-input"]}
    logged: list[Any] = []
    together = sweep("pal_digits", over, tmp_path / "together", exact, log=logged.append)
    assert [len(dict(run.label)["run.seeds"]) for run in here] == [5, 5] == [len(rows) for rows in logged]
    alone = sweep("pal_digits", over, tmp_path / "alone", exact, batch=1)
    for key in ("seed", "weights_sha256", "test_accuracy"):
        assert [row[key] for row in together] == [row[key] for row in alone]


@pytest.mark.parametrize(("experiment", "overrides", "keys", "size"), [
    ("pal_digits", {}, [], sweeps.SHARED), ("pal_digits", {"precision.weights": 8}, [], 1),
    ("pal_digits", {}, ["precision.weights"], 1), ("pal_fig4ab", {}, ["protocol.first_seed"], 1), ("pal_fig4ab", {}, [], sweeps.SHARED)])
def test_which_seeds_share_a_run(experiment: str, overrides: dict[str, Any], keys: list[str], size: int) -> None:
    assert sweeps.seeds_together(cortexc.load(experiment, overrides), keys) == size


def test_a_batch_that_fails_is_run_seed_by_seed(tmp_path: Path, here: list[Job], monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(job: Job) -> Any:
        if 3 in job.overrides["run.seeds"]:
            raise CortexError("X152", "not finite")
        return {"seeds": [{"seed": seed} for seed in job.overrides["run.seeds"]]}

    monkeypatch.setattr(sweeps, "whole_run", failing)
    rows = sweep("pal_digits", ["run.seeds=1..4"], tmp_path, SET)
    assert [(row["seed"], row["error"]) for row in rows] == [(1, None), (2, None), (3, sweeps.NOT_FINITE), (4, None)]
    assert len(here) == 5


def test_a_run_waits_for_another_worker_that_is_at_it(tmp_path: Path) -> None:
    import threading

    with runs._alone_in(tmp_path):
        other = threading.Thread(target=lambda: runs._alone_in(tmp_path).__enter__(), daemon=True)
        other.start()
        other.join(0.3)
        assert other.is_alive()
    other.join(10)
    assert not other.is_alive()


def near_a_hundredth(job: Job) -> Any:
    seeds = job.overrides["run.seeds"]
    score = 1 - abs(np.log10(job.overrides["model.eta_bw"]) + 2) - 0.01 * job.overrides["run.threads"]
    return {"seeds": [{"seed": seed} for seed in seeds], "validations": [{"mean": 0.0}, {"mean": score}], "wall_s": score}


STUDY = ["run.seeds=0..9", "model.eta_bw=log(1e-4,1)", "run.threads=1..3"]


def test_a_study_finds_good_values_and_is_the_same_when_it_is_started_again(tmp_path: Path, here: list[Job], monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("optuna")
    monkeypatch.setattr(sweeps, "whole_run", near_a_hundredth)
    rows = sweep("pal_digits", STUDY, tmp_path, SET, search=Search(30))
    assert len(here) == 60 and [row["trial"] for row in rows[::10]] == list(range(30)) and [row["seed"] for row in rows[:10]] == list(range(10))
    best = Search().best(summary(rows, ["model.eta_bw", "run.threads"], "objective"))
    assert best and 0.004 < best["model.eta_bw"] < 0.025 and best["mean"] == pytest.approx(max(row["objective"] for row in rows))
    assert sweep("pal_digits", STUDY, tmp_path, SET, search=Search(30)) == rows
    assert sweep("pal_digits", STUDY, tmp_path, SET, search=Search(8, seed=1))[0]["model.eta_bw"] != rows[0]["model.eta_bw"]
    smallest = Search(30, "-wall_s")
    rows = sweep("pal_digits", STUDY, tmp_path, SET, search=smallest)
    best = smallest.best(summary(rows, ["model.eta_bw"], "objective"))
    assert best and not 0.001 < best["model.eta_bw"] < 0.1


@pytest.mark.parametrize(("results", "objective", "value"), [
    ({"validations": [{"mean": 0.1}, {"mean": 0.7}]}, "validation_accuracy", 0.7), ({"wall_s": 3}, "wall_s", 3.0),
    ({"errors": [{"phase": "validation", "error": [1.0, 3.0, 2.5]}, {"phase": "test", "error": [9.0]}]}, "validation_error", 2.5)])
def test_what_a_study_is_judged_by(results: dict[str, Any], objective: str, value: float) -> None:
    assert measured(results, objective) == value
    with pytest.raises(CortexError, match="X214"):
        measured({"validations": [], "errors": [], "finite": True}, objective)


def test_a_trial_that_fails_is_told(tmp_path: Path, here: list[Job], monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("optuna")
    monkeypatch.setattr(sweeps, "whole_run", lambda job: {"finite": False})
    rows = sweep("pal_digits", ["run.seeds=[1]", "model.eta_bw=uniform(0,1)"], tmp_path, SET, search=Search(2))
    assert [(row["objective"], row["error"]) for row in rows] == [(None, sweeps.NOT_FINITE)] * 2
    with pytest.raises(CortexError, match="X210"):
        sweep("pal_digits", ["model.eta_bw=log(0,1)"], tmp_path, SET, search=Search(2))


def test_the_table_is_in_parquet_too(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    sweeps.write_table(tmp_path, "x", [{"a": 1, "b": [64, 10], "c": 0.5, "folder": "x"}, {"a": 2, "b": [64], "c": None, "folder": "y"}], ["a"])
    assert parquet.read_table(tmp_path / "sweep.parquet").to_pylist() == [
        {"a": 1, "b": "[64, 10]", "c": 0.5, "folder": "x"}, {"a": 2, "b": "[64]", "c": None, "folder": "y"}]


@pytest.mark.parametrize(("options", "code"), [({"on": "cloud"}, "X211"), ({"on": "dask:"}, "X211"), ({"over": []}, "X210"),
                                               ({"over": ["run.seeds=1", "run.seeds=2"]}, "X210")])
def test_what_is_no_sweep(tmp_path: Path, options: dict[str, Any], code: str) -> None:
    with pytest.raises(CortexError, match=code):
        sweep("pal_digits", **{"over": ["run.seeds=1"], "folder": tmp_path, **options})


def test_without_the_package_it_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "distributed", None)
    with pytest.raises(CortexError, match="X211 extra 'sweep' is not installed"):
        sweep("pal_digits", ["run.seeds=1"], tmp_path, SET, on="dask:tcp://nowhere:1")
