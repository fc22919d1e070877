"""A run folder of somebody else is read without running anything in it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hostile_circuits import circuit

import cortexc
from cortexc.compiler.cli.app import execute
from cortexc.compiler.ir import CortexError, show_graph
from cortexc.compiler.verify.mutation.campaign import plain_python

CIRCUIT = """
import numpy as np
from pathlib import Path
import cortexc

def build():
    return cortexc.parse_graph(Path(__file__).with_name("c.ir").read_text()).with_(
        arrays=dict(np.load(Path(__file__).with_name("arrays.npz"))))
"""
EXPERIMENT = """
[model]
circuit = "circuit.py:build"
[data.inputs]
"input.x" = [[0.1, 0.2, 0.3], [0.4, 0.5, 0.6]]
[run]
backend = "native"
[record.r]
every = 1
quantities = ["hidden.u", "W.w"]
"""
TRAP = "open('SPRUNG', 'w').close()\nraise SystemExit('SPRUNG')\n"


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    folder = tmp_path_factory.mktemp("source")
    (folder / "c.ir").write_text(show_graph(circuit({})))
    np.savez(folder / "arrays.npz", **circuit({}).arrays)
    (folder / "circuit.py").write_text(CIRCUIT)
    (folder / "e.toml").write_text(EXPERIMENT)
    with plain_python():
        assert execute(["run", str(folder / "e.toml"), "-o", str(folder / "run")]) == 0
    return folder


@pytest.fixture()
def trapped(source, monkeypatch):
    """The run folder, with traps wherever code of it could be taken for ours, and as the working folder."""
    for folder in (source / "run", source / "run" / "lava", source):
        folder.mkdir(exist_ok=True)
        for name in ("network_lava.py", "kernels.py", "runtime.py", "circuit.py", "conftest.py", "sitecustomize.py",
                     "__init__.py", "numpy.py", "compiler.py", "lava_procs.py", "build.py"):
            (folder / name).write_text(TRAP)
    monkeypatch.chdir(source / "run")
    yield source / "run"
    assert not list(source.rglob("SPRUNG")) and not Path("SPRUNG").exists()


def test_everything_can_be_read(trapped):
    run = cortexc.open_run(trapped)
    assert run.results["name"] == "e" and run.results["steps"] == 2
    assert run.weights["W.w"].shape == (2, 3) and set(run.weights) == {"W.w", "V.w", "B.w", "K.w"}
    assert run.arrays["W.trace"].shape == (2, 3) and run.start["W.w"].shape == (2, 3)
    assert run.records["r/hidden.u"].shape == (2, 1, 2) and run.records["r/W.w"].shape == (2, 1, 2, 3)
    assert np.array_equal(run.records["r/W.w"][-1, 0], run.weights["W.w"])
    assert "circuit.py:build" in run.experiment_text and cortexc.parse_graph(run.graph_text).name == "hostile"
    assert run.arrays is run.arrays


def test_exports_run_nothing(trapped, capsys, tmp_path):
    assert execute(["export", str(trapped), "--to", "npz", "-o", str(tmp_path / "o.npz")]) == 0
    assert "runs code in" not in capsys.readouterr().err
    assert np.load(tmp_path / "o.npz")["W.w"].shape == (2, 3)


def test_in_a_program_of_its_own(trapped, tmp_path):
    """Nor does Python find the folder's files by itself, as the command is installed."""
    tool = Path(sys.executable).with_name("cortexc")
    if not tool.exists():
        pytest.skip("not installed as a command")
    done = subprocess.run([tool, "export", ".", "--to", "npz", "-o", tmp_path / "o.npz"], cwd=trapped, timeout=60)
    assert done.returncode == 0 and (tmp_path / "o.npz").exists()


def test_what_does_run_code_says_so(source, capsys):
    (source / "circuit.py").write_text(CIRCUIT)
    with plain_python():
        assert execute(["run", str(source / "e.toml"), "-o", str(source / "again")]) == 0
    assert f"runs code in {source / 'circuit.py'}" in capsys.readouterr().err


@pytest.mark.parametrize("name, content, ask, code", [
    ("experiment.toml", None, "folder", "X170"), ("results.json", None, "results", "X170"),
    ("results.json", b"{", "results", "X175"), ("results.json", b"[1]", "results", "X175"),
    ("results.json", b"[" * 100_000, "results", "X175"), ("results.json", b"\xff\xfe", "results", "X175"),
    ("final.safetensors", None, "weights", "X170"), ("final.safetensors", b"x", "arrays", "X175"),
    ("records.npz", b"PK", "records", "X175"), ("records.npz", None, "records", "X170"),
    ("graph.ir", b"\xff", "graph_text", "X175"), ("graph.ir", None, "graph_text", "X175")])
def test_folders_that_are_none(source, tmp_path, name, content, ask, code):
    import shutil

    folder = Path(shutil.copytree(source / "run", tmp_path / "run"))
    (folder / name).unlink() if content is None else (folder / name).write_bytes(content)
    with pytest.raises(CortexError) as caught:
        getattr(cortexc.open_run(folder), ask)
    assert caught.value.code == code and str(folder) in caught.value.message


def test_pickles_are_not_read(source, tmp_path):
    import shutil

    folder = Path(shutil.copytree(source / "run", tmp_path / "run"))
    np.savez(folder / "records.npz", **{"r/hidden.u": np.array([print], dtype=object)})
    with pytest.raises(CortexError, match="X175"):
        assert cortexc.open_run(folder).records
