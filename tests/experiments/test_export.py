"""Exports of runs, and compiled folders."""

import json

import numpy as np
import pytest

from cortexc.compiler.experiments.config import load_experiment
from cortexc.compiler.experiments.export import compile_to_folder, export_run
from cortexc.compiler.experiments.session import run_experiment
from cortexc.compiler.front.nir import from_nir
from cortexc.compiler.ir import CortexError, show_graph


@pytest.fixture
def run_folder(tiny_classification, tmp_path):
    run_experiment(load_experiment(tiny_classification, {"run.seeds": [1]}), tmp_path / "run")
    return tmp_path / "run"


def test_npz_has_weights_and_states_in_user_shape(run_folder):
    with np.load(export_run(run_folder, "npz")) as archive:
        assert archive["WPP_0.w"].shape == (3, 2) and archive["BPP_0.w"].shape == (3, 2)
        assert archive["WPP_1.low_pass"].shape == (2, 3) and archive["P0.xi"].shape == (1, 3)


def test_torch_holds_plain_tensors(run_folder, tmp_path):
    torch = pytest.importorskip("torch")
    state = torch.load(export_run(run_folder, "torch", tmp_path / "deep" / "out.pt"), weights_only=True)
    assert state["WPP_0.w"].shape == (3, 2) and state["WPP_0.w"].dtype == torch.float64


def test_lava_starts_from_what_was_learnt(run_folder):
    folder = export_run(run_folder, "lava")
    assert {"network_lava.py", "kernels.py", "manifest.json", "experiment.toml"} <= {p.name for p in folder.iterdir()}
    assert load_experiment(folder).model.arrays == str(run_folder / "final.safetensors")


@pytest.mark.parametrize("granularity, processes", [("network", 1), ("area", 3), ("population", 10)])
def test_compiled_folders_say_what_they_hold(tiny_classification, tmp_path, granularity, processes):
    experiment = load_experiment(tiny_classification, {"run.granularity": granularity})
    manifest = compile_to_folder(experiment, tmp_path / granularity)
    assert json.loads((tmp_path / granularity / "manifest.json").read_text()) == manifest
    assert manifest["granularity"] == granularity and manifest["processes"] == processes
    assert all((tmp_path / granularity / name).exists() for name in manifest["files"])


def test_nir_has_the_weights_that_were_learnt(tmp_path):
    nir = pytest.importorskip("nir")
    nodes = {"input": nir.Input({"input": np.array([2])}), "linear": nir.Linear(np.array([[0.5, 1.0]])),
             "leaky": nir.LI(tau=np.full(1, 5e-3), r=np.ones(1), v_leak=np.zeros(1)),
             "output": nir.Output({"output": np.array([1])})}
    plain = from_nir(nir.NIRGraph(nodes, [("input", "linear"), ("linear", "leaky"), ("leaky", "output")]), dt=1e-3)
    learning = show_graph(plain).replace("synapse out_dense\n", "rule hebb\n  increment 0.01 * pre.out\nsynapse out_dense\n  rule hebb\n")
    (tmp_path / "circuit.ir").write_text(learning)
    np.savez(tmp_path / "start.npz", **plain.arrays)
    run_experiment(load_experiment({"model": {"circuit": str(tmp_path / "circuit.ir"), "arrays": str(tmp_path / "start.npz")},
                                    "data": {"inputs": {"input.value": [[1.0, 2.0]] * 5}}, "run": {"backend": "native"}}), tmp_path / "run")
    again = from_nir(export_run(tmp_path / "run", "nir", tmp_path / "out.nir"))
    name, = (q.name for q in again.projections if again.class_of(q.name).rule)
    assert np.allclose(again.arrays[f"{name}.w"], [[0.5 + 0.01 * 5, 1.0 + 0.02 * 5]])


def test_what_cannot_be_exported_is_coded(run_folder, tmp_path, monkeypatch):
    (tmp_path / "begun").mkdir()
    (tmp_path / "begun" / "experiment.toml").write_text("")
    for folder, to, code in ((tmp_path, "npz", "X170"), (tmp_path / "begun", "npz", "X170"), ("x" * 300, "npz", "X170"),
                             (run_folder, "onnx", "X171")):
        with pytest.raises(CortexError) as caught:
            export_run(folder, to)
        assert caught.value.code == code
    monkeypatch.setitem(__import__("sys").modules, "torch", None)
    with pytest.raises(CortexError) as caught:
        export_run(run_folder, "torch")
    assert caught.value.code == "X173"
