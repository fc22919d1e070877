"""The task `simulate` and recordings that are kept as events: the same as whole recordings, on every road."""

import numpy as np
import pytest

from cortexc.compiler.experiments import session
from cortexc.compiler.experiments.config import load_experiment
from cortexc.compiler.experiments.session import Session, run_experiment
from cortexc.compiler.experiments.spikes import Spikes, kolmogorov_smirnov
from cortexc.compiler.experiments.tasks import records as windows
from cortexc.compiler.ir import CortexError

SMALL = {"model.order": 10, "protocol.duration_ms": 30, "protocol.warm_up_ms": 10, "run.seeds": [3]}
WHOLE = {"record.whole": {"quantities": ["E.spike", "E.v"], "every": 1},
         "record.spikes": {"quantities": ["E.spike", "I.spike"], "every": 1, "events": True},
         "record.late": {"quantities": ["E.v"], "every": 3, "offset": 1, "cells": 2}}


def taken(**overrides):
    with Session(load_experiment("brunel", {**SMALL, **overrides})) as run:
        run.run()
        return run.records.taken(), run


@pytest.mark.parametrize("backend, seeds", [("native", [3]), ("native", [3, 4]), ("interpreter", [3])])
def test_events_and_chosen_cells_are_those_of_the_whole_recording(backend, seeds, monkeypatch):
    """The window is smaller than the run, and no multiple of it."""
    monkeypatch.setattr(windows, "WINDOW_BYTES", 8 * 50 * len(seeds) * 37)
    found, run = taken(**WHOLE, **{"run.backend": backend, "run.seeds": seeds})
    whole = run.records.rows("whole", "E.spike")
    steps, elements, cells = np.nonzero(whole)
    assert len(steps) > 20
    assert np.array_equal(found["spikes/E.spike.step"], steps) and np.array_equal(found["spikes/E.spike.cell"], cells)
    assert np.array_equal(found["spikes/E.spike.element"], elements)
    assert np.array_equal(found["spikes/E.spike.value"], whole[steps, elements, cells])
    voltages = run.records.rows("whole", "E.v")
    assert np.array_equal(found["late/E.v.step"], np.arange(1, 300, 3))
    assert np.array_equal(found["late/E.v"], voltages[1::3][..., [0, 39]])


def test_a_resumed_run_has_the_events_of_one_that_was_not_stopped(tmp_path, monkeypatch):
    monkeypatch.setattr(session, "write_report", lambda *_: None)
    experiment = load_experiment("brunel", SMALL)
    run_experiment(experiment, tmp_path / "whole")
    run_experiment(experiment, tmp_path / "parts", steps=120)
    run_experiment(experiment, tmp_path / "parts", resume=True)
    first, second = (dict(np.load(tmp_path / name / "records.npz")) for name in ("whole", "parts"))
    assert set(first) == set(second) and len(first["spikes/E.spike.step"]) > 20
    assert all(np.array_equal(first[name], second[name]) for name in first)


def test_a_run_leaves_statistics_and_a_page_with_its_pictures(tmp_path):
    results = run_experiment(load_experiment("brunel", SMALL), tmp_path)
    records = dict(np.load(tmp_path / "records.npz"))
    late = records["spikes/E.spike.step"] >= 100
    assert results["spikes"]["E"]["rate"] == [pytest.approx(late.sum() / 40 / 0.02)]
    page = (tmp_path / "report.html").read_text()
    assert page.count('<figure class="chart') == 6, "too short for an irregularity"
    assert f"Mean rates: E {late.sum() / 40 / 0.02:.3g} Hz, I " in page


def test_memory_for_a_recording_does_not_grow_with_the_run():
    with Session(load_experiment("brunel", {**SMALL, "protocol.duration_ms": 1e6})) as run:
        assert run.runner.buffer.nbytes < 3 * windows.WINDOW_BYTES


def test_a_run_that_ends_within_its_warm_up_says_no_rate(tmp_path):
    results = run_experiment(load_experiment("brunel", {**SMALL, "protocol.warm_up_ms": 30}), tmp_path)
    page = (tmp_path / "report.html").read_text()
    assert results["spikes"]["E"]["rate"] == [None]
    assert "The run ends within its warm-up of 30 ms" in page and "Mean rates" not in page
    assert "Spikes of up to" in page and "Population rates" in page


@pytest.mark.parametrize("overrides, words", [
    ({"record.a": {"quantities": ["E_E.w"], "every": 1, "events": True}}, "no quantity of a population"),
    ({"record.a": {"quantities": ["E.v"], "every": 1, "events": True, "cells": 1}}, "both"),
    ({"protocol.duration_ms": 0.05}, "no whole number of steps"), ({"protocol.warm_up_ms": 0.25}, "no whole number")])
def test_what_cannot_be_recorded_or_run_is_refused(overrides, words):
    with pytest.raises(CortexError, match=f"X12[12] .*{words}"):
        Session(load_experiment("brunel", {**SMALL, **overrides}))


# ---- what is said of spikes


def test_statistics_of_spikes_that_are_known():
    """Cell 0 every 10 steps; cell 1 after 5 and 15 in turn; cell 2 with cell 0; cell 3 never."""
    regular, uneven = np.arange(0, 1000, 10), np.cumsum([5, 15] * 50) - 5
    steps, cells = np.concatenate([regular, uneven, regular]), np.repeat([0, 1, 2], 100)
    order = np.argsort(steps, kind="stable")
    spikes = Spikes(steps[order], cells[order], 4, 0.1, 0, 1000)
    assert spikes.rates().tolist() == [1000, 1000, 1000, 0]
    assert spikes.irregularity() == pytest.approx([0, np.std([15, 5] * 49 + [15]) / np.mean([15, 5] * 49 + [15]), 0], abs=0.01)
    together = Spikes(steps[order], cells[order], 4, 0.1, 0, 1000).correlations(bin_ms=0.5)
    assert together[1] == pytest.approx(1.0) and together[0] < 0.5
    assert len(Spikes(steps[:0], cells[:0], 4, 0.1, 0, 1000).correlations()) == 0


def test_distances_between_distributions():
    from scipy.stats import ks_2samp

    rng = np.random.default_rng(0)
    first, second = rng.integers(0, 9, 50) / 2, rng.integers(0, 7, 70) / 2
    assert kolmogorov_smirnov(first, second) == pytest.approx(ks_2samp(first, second).statistic)
    assert kolmogorov_smirnov(first, first[:0]) == 1.0 and kolmogorov_smirnov(first[:0], first[:0]) == 0.0
