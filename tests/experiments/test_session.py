"""Runs: results, batches of seeds, run folders, and wrong requests."""

import json
import subprocess
import sys
import warnings

import numpy as np
import pytest
from programs import start_program

from cortexc.compiler.experiments.circuits import read_arrays
from cortexc.compiler.experiments.compilation import compile_experiment
from cortexc.compiler.experiments.config import load_experiment
from cortexc.compiler.experiments.files import shipped_experiments
from cortexc.compiler.experiments.questions import verify_experiment
from cortexc.compiler.experiments.session import Session, run_experiment
from cortexc.compiler.ir import CortexError
from cortexc.compiler.ir.errors import CortexWarning
from cortexc.compiler.microcircuits import CIRCUITS


def test_results_have_the_promised_keys(tiny_classification):
    results = run_experiment(load_experiment(tiny_classification))
    assert {"test_accuracy", "steps", "steps_per_second", "wall_s", "granularity", "backend", "weights_sha256",
            "output"} <= set(results)
    assert results["completed"] and results["steps"] == results["total_steps"] == (3 * 4 + 2 * 12 + 6) * 10
    assert len(results["validations"]) == 3 and len(results["tests"]) == 1
    assert 0 <= results["test_accuracy"] <= 1 and results["finite"]
    assert [row["seed"] for row in results["seeds"]] == [1, 2]
    json.dumps(results)


def test_a_batch_has_the_bits_of_its_seeds(tiny_classification):
    both = run_experiment(load_experiment(tiny_classification))
    for index, seed in enumerate((1, 2)):
        alone = run_experiment(load_experiment(tiny_classification, {"run.seeds": [seed]}))
        assert alone["weights_sha256"] == both["seeds"][index]["weights_sha256"]
        assert alone["tests"][0]["accuracy"] == [both["tests"][0]["accuracy"][index]]


def test_legacy_noise_and_shuffles_in_a_batch(tiny_feedback):
    both = run_experiment(load_experiment(tiny_feedback))
    tiny_feedback["run"]["seeds"] = [123]
    alone = run_experiment(load_experiment(tiny_feedback))
    assert alone["weights_sha256"] == both["seeds"][0]["weights_sha256"]


@pytest.mark.parametrize("variant", ["PAL", "FA", "BP"])
def test_interpreter_and_native_agree_to_the_bit(tiny_classification, variant):
    overrides = {"model.variant": variant, "protocol.epochs": 1}
    native = run_experiment(load_experiment(tiny_classification, overrides))
    slow = run_experiment(load_experiment(tiny_classification, {**overrides, "run.backend": "interpreter"}))
    assert slow["weights_sha256"] == native["weights_sha256"]
    assert slow["tests"] == native["tests"] and slow["validations"] == native["validations"]


def test_training_with_learning_off_in_the_test(tiny_classification):
    with Session(load_experiment(tiny_classification)) as session:
        parts = list(session.plan.parts())
        session.run(parts[-2].start)
        before = session.runner.value("WPP_0.w")
        session.run()
        assert np.array_equal(before, session.runner.value("WPP_0.w"))


def test_runs_stop_after_steps_and_after_an_epoch(tiny_classification):
    experiment = load_experiment(tiny_classification, {"run.until_epoch": 1})
    results = run_experiment(experiment)
    assert results["steps"] == (4 + 12) * 10 and results["test_accuracy"] is None and not results["completed"]
    none = run_experiment(experiment, steps=0)
    assert none["steps"] == 0 and none["steps_per_second"] == 0 and none["tests"] == []
    assert run_experiment(load_experiment(tiny_classification), steps=10**9)["completed"]


def test_zero_epochs_and_empty_streams(tiny_classification):
    results = run_experiment(load_experiment(tiny_classification, {"protocol.epochs": 0}))
    assert results["test_accuracy"] is not None and len(results["validations"]) == 1
    stream = {"model": {"circuit": "pal", "layers": [2, 3, 1]}, "run": {"backend": "native"},
              "data": {"inputs": {"input": [1.0, 2.0], "teacher": []}}}
    assert run_experiment(load_experiment(stream))["steps"] == 0


def test_a_layer_without_cells(tiny_classification):
    tiny_classification["model"]["layers"] = [2, 0, 2]
    assert run_experiment(load_experiment(tiny_classification))["completed"]


def test_the_run_folder_is_complete(tiny_classification, tmp_path):
    folder = tmp_path / "run"
    results = run_experiment(load_experiment(tiny_classification), folder)
    names = {path.name for path in folder.iterdir()}
    assert names == {"graph.ir", "arrays.safetensors", "experiment.toml", "checkpoint.safetensors", "final.safetensors",
                     "states.safetensors", "records.npz", "report.html", "results.json"}
    assert json.loads((folder / "results.json").read_text())["weights_sha256"] == results["weights_sha256"]
    again = run_experiment(load_experiment(folder))
    assert again["weights_sha256"] == results["weights_sha256"]
    assert again["experiment_sha256"] == results["experiment_sha256"]


def test_a_run_can_start_from_what_another_learnt(tiny_classification, tmp_path):
    run_experiment(load_experiment(tiny_classification), tmp_path)
    overrides = {"model.arrays": str(tmp_path / "final.safetensors"), "protocol.epochs": 0}
    with Session(load_experiment(tiny_classification, overrides)) as session:
        learnt = read_arrays(tmp_path / "final.safetensors")
        assert np.array_equal(session.runner.value("WPP_1.w"), learnt["WPP_1.w"])


def test_recordings_are_kept_in_user_shape(tiny_feedback, tmp_path):
    run_experiment(load_experiment(tiny_feedback), tmp_path)
    with np.load(tmp_path / "records.npz") as records:
        assert records["angles/BPP_0.w"].shape == (1 + 2 * 3, 2, 3, 2)
        assert records["angles/angle BPP_0.w WPP_1.w"].shape == (7, 2)
        assert records["output/P2.breve"].shape == (12, 2, 2)


@pytest.mark.parametrize("backend", ["interpreter", "native"])
@pytest.mark.parametrize("stream, quantity", [("angels", "BPP_0.w"), ("angles", "BPP_0"), ("angles", "WPP_0.w"), (3, None)])
def test_a_recording_that_is_not_there_is_named(tiny_feedback, backend, stream, quantity):
    with Session(load_experiment(tiny_feedback, {"run.backend": backend})) as session:
        session.run()
        assert len(session.records.rows("angles", "BPP_0.w")) == 7
        with pytest.raises(CortexError) as caught:
            session.records.rows(stream, quantity)
        assert caught.value.code == "E279"


@pytest.mark.parametrize("steps", [-1, 1.5, "2", [1]])
def test_what_is_no_number_of_steps_is_refused(tiny_feedback, steps):
    experiment = load_experiment(tiny_feedback)
    with Session(experiment) as session:
        for call in (session.run, lambda steps: verify_experiment(experiment, "native", steps=steps)):
            with pytest.raises(CortexError) as caught:
                call(steps)
            assert caught.value.code == "X205"
        assert session.run(np.int64(2)) == 2


def test_recording_changes_nothing(tiny_feedback):
    with_records = run_experiment(load_experiment(tiny_feedback))
    del tiny_feedback["record"]
    assert run_experiment(load_experiment(tiny_feedback))["weights_sha256"] == with_records["weights_sha256"]


def test_the_teacher_gives_targets(tiny_feedback):
    tiny_feedback["protocol"] |= {"task": "fw_bw", "teacher": {"WPP": [2, 2]}}
    with Session(load_experiment(tiny_feedback)) as session:
        targets = session.plan.samples[:, 2:]
        assert np.isfinite(targets).all() and len(np.unique(targets)) > 4
        session.run()
        assert np.abs(session.runner.value("WPP_0.w") - session.compiled.graph.arrays["WPP_0.w"]).max() > 0


def test_weights_that_are_not_finite_at_the_end_are_an_error_but_kept(tiny_classification, tmp_path):
    overrides = {"model.activation": "linear", "model.eta_bw": 1e9, "model.sigma": 1e150}
    with pytest.raises(CortexError) as caught:
        run_experiment(load_experiment(tiny_classification, overrides), tmp_path)
    assert caught.value.code == "X152"
    assert json.loads((tmp_path / "results.json").read_text())["finite"] is False


@pytest.mark.parametrize("override, code", [
    ({"record.a.angles": [["WPP_0.w", "WPP_0.w"]], "record.a.at": [1]}, "X203"),
    ({"record.a.angles": [["P0.u", "P0.u"]], "record.a.at": [1]}, "X203"),
    ({"record.a.errors": [["P0.u", "P1.u"]], "record.a.at": [1]}, "X203"),
    ({"record.a.errors": [["WPP_0.current", "P1.u"]], "record.a.at": [1]}, "X203"),
    ({"passes.disable": ["fuse"]}, "X156"), ({"record.a.quantities": ["P0.rat"], "record.a.at": [1]}, "X151"),
    ({"model.start": "cold"}, "E306"), ({"model.ranges": {"WPB": [0, 1]}}, "E304"), ({"model.variant": "DFA"}, "E301"),
    ({"model.layers": [2]}, "E302"), ({"model.gl": 0, "model.gden": 0, "model.gnI": 0}, "X108"), ({"model.eta_bw": [1, 2, 3]}, "E303"), ({"model.arrays": "missing.npz"}, "X114")])
def test_wrong_requests_are_coded(tiny_classification, override, code):
    with pytest.raises(CortexError) as caught:
        Session(load_experiment(tiny_classification, override))
    assert caught.value.code == code


RECORDING = [(name, variant) for name in shipped_experiments() if (plain := load_experiment(name)).record
             for variant in (CIRCUITS[plain.model.circuit].variants if plain.model.circuit in CIRCUITS else ())]


@pytest.mark.parametrize("name, variant", RECORDING)
def test_shipped_experiments_record_what_every_variant_of_their_circuit_has(name, variant):
    chosen = {"model.variant": variant}
    if load_experiment(name).data.name:
        chosen |= {"data.limits": {"train": 20, "valid": 20, "test": 5}, "protocol.minibatch": 1}
    try:
        assert compile_experiment(load_experiment(name, chosen)).observed
    except CortexError as error:
        if error.code != "D402":
            raise
        pytest.skip(f"the data of {name} are not here")


def test_arrays_that_are_not_finite_are_coded(tiny_classification, tmp_path):
    np.savez(tmp_path / "bad.npz", **{"WPP_0.w": np.full((3, 2), np.nan)})
    with pytest.raises(CortexError) as caught:
        Session(load_experiment(tiny_classification, {"model.arrays": str(tmp_path / "bad.npz")}))
    assert caught.value.code.startswith("E24")


def test_an_unwritable_folder_is_an_error_before_any_work(tiny_classification, monkeypatch):
    monkeypatch.setattr("cortexc.compiler.experiments.running.compile_experiment", pytest.fail)
    with pytest.raises(CortexError) as caught:
        Session(load_experiment(tiny_classification), "/proc/nowhere")
    assert caught.value.code == "X130"


def test_the_lava_backend_says_when_it_is_not_there(tiny_classification, monkeypatch):
    monkeypatch.setattr("cortexc.compiler.experiments.compilation.importlib.util.find_spec", lambda name: None)
    with pytest.raises(CortexError) as caught:
        Session(load_experiment(tiny_classification, {"run.backend": "lava"}))
    assert caught.value.code == "X150" and "native" in caught.value.hint


def test_a_closed_session_does_not_run(tiny_feedback):
    with Session(load_experiment(tiny_feedback, ["run.backend=native"])) as session:
        session.run(2)
    with pytest.raises(CortexError, match="X207"):
        session.run(1)


def test_states_that_are_nan_are_said(tmp_path):
    (tmp_path / "nan.ir").write_text(
        "graph nan\ncell a\n  input x\n  state u = 1\n  send u = prev(u) / x\n  message u\npopulation A a 2\noutput u = A.u\n")
    tables = {"model": {"circuit": str(tmp_path / "nan.ir")}, "data": {"inputs": {"A.x": [[1.0, 0.0], [1.0, 0.0]]}},
              "run": {"backend": "interpreter"}}
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        run_experiment(load_experiment(tables))  # 1 / 0 is infinite, and may be meant
        assert not [w for w in said if w.category is CortexWarning]
        (tmp_path / "nan.ir").write_text((tmp_path / "nan.ir").read_text().replace("/ x", "/ x - prev(u)"))
        run_experiment(load_experiment(tables))
    messages = [str(w.message) for w in said if w.category is CortexWarning]
    assert len(messages) == 1 and messages[0].startswith("X206 'A.u' has 1 values that are NaN after 2 steps")


def test_a_folder_that_another_process_writes_to_is_left_alone(tiny_classification, tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    program = (f"from cortexc.compiler.experiments.files import held; from pathlib import Path\n"
               f"with held(Path({str(folder)!r})): print('held', flush=True); input()")
    with start_program([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "held\n"
        with pytest.raises(CortexError, match="X149"):
            run_experiment(load_experiment(tiny_classification), folder)
        other.kill()
    run_experiment(load_experiment(tiny_classification), folder)
    assert (folder / "results.json").exists() and not (folder / ".lock").exists()
    with pytest.raises(CortexError, match="X120"):
        run_experiment(load_experiment(tiny_classification, {"data.name": "yin_yang"}), tmp_path / "none")
    assert not (tmp_path / "none").exists()
