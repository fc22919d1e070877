"""The Python API."""

import pytest

import cortexc


def test_everything_that_is_promised_is_there():
    assert all(hasattr(cortexc, name) for name in cortexc.__all__)
    assert {"Graph", "CellType", "load", "compile", "run", "verify", "export"} <= set(cortexc.__all__)


def test_an_experiment_in_a_few_lines(monkeypatch, tmp_path):
    monkeypatch.setenv("CORTEXC_JIT", "0")
    experiment = cortexc.load({
        "model": {"circuit": "pal", "layers": [2, 3, 1]}, "run": {"backend": "native"},
        "data": {"inputs": {"input": [[0.1, 0.2], [0.3, 0.4]], "teacher": [0.5]}},
        "protocol": {"presentation_steps": 20}})
    assert cortexc.compile(experiment).graph.name == "pal-2-3-1"
    results = cortexc.run(experiment, tmp_path)
    assert results["steps"] == 40 and cortexc.export(tmp_path, "npz").exists()
    with cortexc.Session(experiment) as session:
        session.run(5)
        assert session.position == 5


@pytest.mark.parametrize("call", [cortexc.nir_losses, cortexc.plots.circuit, cortexc.load, cortexc.compile,
                                  lambda found: cortexc.compile_to_folder(found, "never")])
def test_what_is_no_circuit_is_said(call):
    with pytest.raises(cortexc.CortexError, match="E237"):
        call(None)
