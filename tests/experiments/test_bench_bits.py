"""The rows of `cortexc bench bits`, in small."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cortexc.compiler.bench.bits as steps
from cortexc.compiler.bench.bits import CASES, LINES, _at_rate, _jobs, _row, bits, job_of, legality_of
from cortexc.compiler.experiments.circuits import build_circuit
from cortexc.compiler.experiments.compilation import compile_experiment
from cortexc.compiler.experiments.config import load_experiment
from cortexc.compiler.ir import CortexError
from cortexc.compiler.verify.mutation.campaign import plain_python

SMALL: dict[str, Any] = {"cases": ["error-neuron-digits"], "bits": [0, 8], "lines": [LINES[0]], "seeds": [1],
                         "epochs": 1, "jobs": 1, "data.limits": {"train": 10, "test": 10},
                         "precision.calibration_steps": 80, "protocol.halve_at": [], "model.layers": [64, 6, 10]}


@pytest.fixture(scope="module", autouse=True)
def kernels_as_plain_python() -> Iterator[None]:
    with plain_python():
        yield


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[dict[str, Any]], Path]:
    folder = tmp_path_factory.mktemp("bits")
    return bits({**SMALL, "output": str(folder)}), folder


def test_a_row_per_width(rows: tuple[list[dict[str, Any]], Path]) -> None:
    whole, eight = rows[0]
    assert (whole["weight_bits"], whole["state_bits"], whole["legal_on"]) == ("float", "float", [])
    assert (eight["weight_bits"], eight["state_bits"], eight["message_bits"]) == (8, 24, 8)
    assert eight["legal_on"] == ["loihi2"] and eight["rounding"] == "stochastic"
    assert set(eight["why_not"]) == {"loihi1"} and "loihi1 knows traces" in eight["why_not"]["loihi1"]
    assert all(row["circuit"] == "error-neuron" and row["dataset"] == "digits" and 0 <= row["accuracy"] <= 1
               and row["seeds"] == 1 and row["epochs"] == 1 and row["simulated"] for row in rows[0])


def test_the_plot_fills_what_is_legal(rows: tuple[list[dict[str, Any]], Path]) -> None:
    text = (rows[1] / "bits.svg").read_text()
    assert "<svg" in text and "#1b6ca8" in text and "#ffffff" in text


def test_what_a_folder_holds_is_not_run_again(rows: tuple[list[dict[str, Any]], Path],
                                             monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object) -> None:
        raise AssertionError("ran again")

    monkeypatch.setattr("cortexc.compiler.bench.runs.Session", never)
    assert bits({**SMALL, "output": str(rows[1])}) == rows[0]
    with pytest.raises(AssertionError, match="ran again"):
        bits({**SMALL, "data.limits": {"train": 50, "test": 30}, "output": str(rows[1])})


def test_one_quantity_at_a_time_gets_16_bits() -> None:
    found = {row["widened"]: row for row in bits({**SMALL, "bits": [8], "widen": ["", "messages", "WPP*.w"]})}
    assert found["messages"]["message_bits"] == 16 and found[""]["message_bits"] == 8
    assert found["WPP*.w"]["legal_on"] == [] and found[""]["legal_on"] == ["loihi2"]


def test_wider_factors_are_not_made_coarse_for_the_engine() -> None:
    jobs = {wide: job_of("error-neuron-digits", CASES["error-neuron-digits"], LINES[0], 6,
                          {key: value for key, value in SMALL.items() if "." in key}, wide) for wide in ("", "factors")}
    found = {wide: compile_experiment(load_experiment(job.experiment, dict(job.overrides))).report.graph
             for wide, job in jobs.items()}
    bits_of = {wide: {e.name: e.expression.arguments[2].value for cell in graph.cells for e in cell.equations
                      if e.name.endswith("_factor")} for wide, graph in found.items()}
    assert bits_of["factors"] and all(limit == 2**15 - 1 for limit in bits_of["factors"].values()), bits_of
    assert all(limit <= 127 for limit in bits_of[""].values())


@pytest.mark.parametrize("option", [{"precision.map": ""}, {"precision.factor_rounding": "nearest"},
                                    {"precision.formats": {"WPP_0.w": "8.3"}}, {"protocol.update_every": 0}])
def test_settings_of_the_user_come_last(option: dict[str, Any]) -> None:
    job = job_of("pal-digits", CASES["pal-digits"], LINES[0], 8, option)
    assert {key: job.overrides[key] for key in option} == option


@pytest.mark.parametrize(("option", "says"), [
    ({"bits": 8}, "X184.*bits = 8 must be a list"), ({"bits": ["eight"]}, "X184.*'eight'.*from 2 to 24"),
    ({"bits": [-3]}, "X184.*-3"), ({"bits": [1]}, "X184.*1;"), ({"lines": ["frozen"]}, "X182.*'frozen'"),
    ({"lines": ["feedback frozen"]}, "X182 none of these cases"), ({"cases": "pal-digits"}, "X184.*must be a list")])
def test_values_that_are_none(option: dict[str, Any], says: str) -> None:
    with pytest.raises(CortexError, match=says):
        bits({**SMALL, **option})


def test_unknown_case() -> None:
    with pytest.raises(CortexError, match="X182.*'pal-digit'.*pal-digits"):
        bits({**SMALL, "cases": ["pal-digit"]})
    assert "pal-digits" in CASES


def test_a_pattern_that_fits_nothing() -> None:
    with pytest.raises(CortexError, match=r"X163.*'Q\*\.w'"):
        bits({**SMALL, "bits": [8], "widen": ["Q*.w"]})


def test_rates_are_compared_on_validation_data() -> None:
    case = CASES["error-neuron-digits"]
    job = _at_rate(job_of("error-neuron-digits", case, LINES[0], 8, {"output": "out"}), case, 0.5)
    assert job.overrides["model.eta_fw"] == [0.5, 0.1] and job.loaded().data.valid_fraction == 0.1
    assert dict(job.label)["rate"] == 0.5 and str(job.kept_in).endswith("_8_1_2_3_rate_0.5.json")
    found = {"precision": None, "validations": [{"mean": 0.2}, {"mean": 0.7}], "seeds": [{"test_accuracy": 0.5}],
             "legal_on": [], "why_not": {}, "wall_s": 1.0, **dict.fromkeys(("epochs", "backend", "granularity"))}
    assert _row(dict(job.label), [found])["validation"] == 0.7 and "validation" not in _row({}, [found])


# ---- the cases


CIRCUITS, INPUTS = ("pal", "pal-chip", "error-neuron", "sign-concordant"), {"digits": 64, "yin_yang": 4, "mnist": 784}


def test_every_circuit_has_every_data_set() -> None:
    assert set(CASES) == {f"{circuit}-{dataset}" for circuit in CIRCUITS for dataset in INPUTS}
    assert all(name.endswith(f"-{case.dataset}") and case.lines.keys() <= set(LINES) for name, case in CASES.items())


@pytest.mark.parametrize("name", CASES)
def test_formats_and_rates_of_every_line_are_of_its_circuit(name: str) -> None:
    case = CASES[name]
    for line in case.lines:
        job = job_of(name, case, line, 6, {})
        loaded = job.loaded()
        graph = build_circuit(loaded.model, [1])
        assert (loaded.data.name, loaded.model.options["layers"][0]) == (case.dataset, INPUTS[case.dataset])
        assert {key.partition(".")[0] for key in loaded.precision.formats} <= {
            each.name for each in (*graph.projections, *graph.populations)}
        assert loaded.precision.formats or case.lines[line] == {"model.feedback": "BP"}
        assert max(loaded.protocol.halve_at, default=0) < loaded.protocol.epochs


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten classes of 36 pixels in place of MNIST: inputs of 32 cells and more are hoisted."""
    generator, file = np.random.default_rng(0), tmp_path_factory.mktemp("images") / "images.npz"
    labels = np.arange(10)
    np.savez(file, **{f"{part}_{name}": array for part in ("train", "valid", "test")
                      for name, array in (("x", generator.random((10, 36))), ("y", labels))})
    return file


@pytest.mark.parametrize(("name", "illegal"), [
    ("pal-mnist", "feedback_alignment_BPP_0"), ("error-neuron-mnist", ""), ("pal-chip-mnist", ""),
    ("sign-concordant-yin_yang", "")])
def test_which_rules_are_legal_in_form_where_a_small_net_learns(name: str, illegal: str, images: Path) -> None:
    own: dict[str, Any] = {"data.name": str(images), "data.split": "own", "model.layers": [36, 4, 10],
                           "data.limits": {"train": 10, "valid": 0}}
    if "yin_yang" in name:
        own = {"model.layers": [4, 4, 3], "data.limits": {"train": 10, "valid": 0, "test": 10}}
    row, = bits({**SMALL, "cases": [name], "bits": [8], **own})
    assert (row["epochs"], row["seeds"]) == (1, 1) and 0 <= row["accuracy"] <= 1
    found = row["why_not"].get("loihi2", "")
    assert found.startswith(f"rule '{illegal}'") if illegal else not found.startswith("rule ")
    assert row["legal_on"] == ([] if found else ["loihi2"]) and " is graded" in row["why_not"]["loihi1"]


def test_feedback_that_does_not_learn_has_no_tag() -> None:
    small = {"data.limits": {"train": 5, "valid": 0, "test": 5}, "precision.calibration_steps": 20, "seeds": [1]}
    job = job_of("pal-chip-yin_yang", CASES["pal-chip-yin_yang"], LINES[3], 8, {**small, "model.layers": [4, 2, 3]})
    assert not any(q.endswith("B_0.accumulate") for q in job.overrides["precision.formats"])
    assert compile_experiment(job.loaded()).report.graph.projection("B_0")


@pytest.mark.parametrize(("width", "tag"), [(4, "9.9"), (6, "9.11"), (8, "9.13"), (16, "9.13")])
def test_a_tag_is_no_finer_than_the_engines_scales(width: int, tag: str) -> None:
    formats = job_of("pal-chip-mnist", CASES["pal-chip-mnist"], LINES[0], width, {}).overrides["precision.formats"]
    assert formats["B_0.accumulate"] == tag and formats["B_0.w"] == f"{width}.{width - 2}"


def test_seeds_share_a_run_and_its_formats() -> None:
    job = job_of("pal-chip-digits", CASES["pal-chip-digits"], LINES[0], 8, {"seeds": [4, 5]})
    assert job.loaded().run.seeds == [4, 5]


def test_seeds_of_mnist_have_a_run_each_and_one_row() -> None:
    jobs = _jobs({"cases": ["error-neuron-mnist"], "bits": [8], "lines": [LINES[0]], "output": "out"})
    assert [job.loaded().run.seeds for job in jobs] == [[1], [2], [3]]
    assert len({job.label for job in jobs}) == 1 and len({job.kept_in for job in jobs}) == 3
    common = {"validations": [], **dict.fromkeys(("epochs", "backend", "granularity"))}
    runs = [{**common, "seeds": [{"test_accuracy": 0.5}], "legal_on": ["loihi2"], "why_not": {}, "wall_s": 1.0},
            {**common, "seeds": [{"test_accuracy": 0.7}], "legal_on": [], "why_not": {"loihi2": "scale"}, "wall_s": 2.0}]
    row = _row(dict(jobs[0].label), runs)
    assert (row["seeds"], row["legal_on"], row["why_not"], row["wall_s"]) == (2, [], {"loihi2": "scale"}, 3.0)
    assert row["accuracy"] == pytest.approx(0.6) and row["spread"] == pytest.approx(0.1)


# ---- PAL's way to legal rules


@pytest.mark.parametrize("task", steps.TASKS)
def test_every_step_is_an_experiment_with_all_changes_before_it(task: str) -> None:
    loaded = [load_experiment(job.experiment, dict(job.overrides))
              for job in steps.step_jobs({"tasks": [task], "bits": [8]})]
    written = [each.model.options for each in loaded]
    assert [each.precision.map for each in loaded] == [""] * 5 + ["loihi2"] * 2
    assert [each.protocol.update_every for each in loaded] == [0] + [1] * 6
    assert written[2]["joined"] is False and written[2]["alpha"] == written[3]["alpha"] == 1e-6
    assert "alpha" not in written[4] and loaded[6].precision.formats and not loaded[5].precision.formats
    assert loaded[6].precision == load_experiment(loaded[6].name).precision


def test_the_rules_of_the_last_steps_are_legal_in_form() -> None:
    small = {"data.limits": {"train": 10, "test": 10}, "precision.calibration_steps": 20, "protocol.halve_at": []}
    jobs = steps.step_jobs({"tasks": ["digits"], "bits": [8], "lines": [3, 7], "seeds": [1], "epochs": 1, **small})
    separate, legal = (legality_of(compile_experiment(job.loaded()))["why_not"] for job in jobs)
    assert separate["loihi2"].startswith("rule 'feedback_alignment' of projection 'BPP_0'")
    assert not legal.get("loihi2", "").startswith("rule ") and "is graded" in legal["loihi1"]


@pytest.mark.parametrize("option", [{"tasks": ["digit"]}, {"lines": [0]}, {"lines": [8]}])
def test_steps_that_are_none(option: dict[str, Any]) -> None:
    with pytest.raises(CortexError, match="X182 unknown (task|step)"):
        steps.chip_steps(option)
