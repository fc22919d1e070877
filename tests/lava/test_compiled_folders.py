"""Compiled folders that were edited, cut off or mixed up: a code and an exit code, never a traceback."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from cortexc.compiler.cli.app import execute
from cortexc.compiler.verify.mutation.campaign import plain_python
from cortexc.lava_procs.folder import FolderError, read_folder
from cortexc.lava_procs.host import Host, main

pytestmark = pytest.mark.lava
CIRCUIT = """
graph pulse
cell clock
  input x
  send tick = x
  message tick
cell n
  port p
  state v = 0
  receive v = p
  message v
synapse pulse
  message tick
  port p
population T clock 1
population E n 4
projection TE pulse T -> E
output v = E.v
"""
EXPERIMENT = """
[model]
circuit = "c.ir"
arrays = "w.npz"
[data.inputs]
"T.x" = [[1.0], [2.0], [3.0]]
[run]
granularity = "population"
[record.r]
every = 1
quantities = ["E.v"]
"""


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    folder = tmp_path_factory.mktemp("compiled")
    (folder / "c.ir").write_text(CIRCUIT)
    (folder / "e.toml").write_text(EXPERIMENT)
    np.savez(folder / "w.npz", **{"TE.w": np.ones((4, 1))})
    with plain_python():
        assert execute(["compile", str(folder / "e.toml"), "-o", str(folder / "code")]) == 0
        yield folder / "code"


@pytest.fixture()
def folder(compiled, tmp_path, capsys):
    return Path(shutil.copytree(compiled, tmp_path / "code"))


def replaced(name: str, old: str, new: str):
    def edit(folder: Path) -> None:
        text = (folder / name).read_text()
        assert old in text
        (folder / name).write_text(text.replace(old, new))
    return edit


def written(name: str, text: str):
    return lambda folder: (folder / name).write_text(text)


def gone(name: str):
    return lambda folder: (folder / name).unlink()


def table(change):
    def edit(folder: Path) -> None:
        arrays = load_file(folder / "program.safetensors")
        save_file({name: change(name, array) for name, array in arrays.items()}, folder / "program.safetensors")
    return edit


DATA = {
    "no description": gone("program.json"), "no arrays": gone("program.safetensors"), "no JSON": written("program.json", "{"),
    "a list": written("program.json", "[1]"), "a number": written("program.json", "1"),
    "another block": replaced("program.json", '"block": ', '"block": 1'),
    "a slot elsewhere": replaced("program.json", '"n_step": ', '"n_step": 9'),
    "a table": table(lambda name, a: a + 1000 if name.startswith("table.") else a),
    "a shorter memory": table(lambda name, a: a[:2].copy() if name.startswith("memory.") else a),
    "fewer samples": table(lambda name, a: a[:1].copy() if name == "samples" else a),
    "no arrays file": written("program.safetensors", "nothing")}


@pytest.mark.parametrize("edit", DATA.values(), ids=DATA)
def test_data(folder, edit):
    edit(folder)
    with pytest.raises(FolderError, match="E706"):
        Host(folder)


def test_samples_and_first_values_may_be_edited(folder):
    table(lambda name, a: a + 1.0 if name == "samples" else a)(folder)
    assert read_folder(folder)[1]["samples"].tolist() == [[2.0], [3.0], [4.0]]


def both(folder):
    for name in ("kernels.py", "kernels.c"):
        written(name, (folder / name).read_text() + "\n")(folder)


CODE = {
    "no kernels": gone("kernels.py"), "no C": gone("kernels.c"), "both edited": both,
    "a typo in C": replaced("kernels.c", "static void operation_0(", "static voided operation_0("),
    "empty kernels": written("kernels.py", ""), "a typo": written("kernels.py", "def ("),
    "another run": replaced("kernels.py", "def run(m,", "def run(x, m,"),
    "an import": replaced("network_lava.py", "import sys", "import sys, nonsense"),
    "no build": replaced("network_lava.py", "def build(works)", "def built(works)"),
    "no runtime": written("runtime.py", "1 / 0"), "no models": replaced("network_lava.py", "MODELS = {", "NONE = {")}


@pytest.mark.parametrize("edit", CODE.values(), ids=CODE)
def test_code(folder, edit):
    """Nothing has started when it fails."""
    edit(folder)
    with pytest.raises(FolderError, match="E707"):
        Host(folder).start()


@pytest.mark.parametrize("edit, codes", [(CODE["a typo"], "E707"), (CODE["an import"], "E707"), (gone("graph.ir"), "X190"),
                                         (written("graph.ir", "graph g\n"), "X153"), (gone("kernels.py"), "X190")])
def test_the_command_line(folder, edit, codes, capsys):
    edit(folder)
    assert execute(["run", str(folder), "-o", str(folder / "out")]) == 2
    said = capsys.readouterr().err
    assert codes in said and f"runs code in {folder}: network_lava.py, kernels.c, kernels.py" in said and "Traceback" not in said


def test_rows_that_are_not_there(folder, capsys):
    """Code that was edited cannot make kernels run beyond their table."""
    replaced("network_lava.py", "self.compute(0, 1)", "self.compute(0, 999)")(folder)
    assert execute(["run", str(folder), "-o", str(folder / "out")]) == 3
    assert "E701" in (said := capsys.readouterr().err) and "rows 0 to" in said


@pytest.mark.parametrize("arguments, edit, exit_code, word", [
    (["x"], None, 2, "E708"), (["-1"], None, 2, "E708"), ([], DATA["no JSON"], 2, "E706"), (["2"], None, 0, "")])
def test_python_network_lava(folder, arguments, edit, exit_code, word, monkeypatch, capsys):
    from cortexc.lava_procs.importing import import_file

    if edit:
        edit(folder)
    monkeypatch.setattr(sys, "argv", ["network_lava.py", *arguments])
    network = import_file(folder / "network_lava.py", "a_network")
    if exit_code:
        with pytest.raises(SystemExit) as ended:
            main(str(folder / "network_lava.py"), network)
        assert ended.value.code == exit_code and word in capsys.readouterr().err
    else:
        main(str(folder / "network_lava.py"), network)
        assert json.loads(capsys.readouterr().out)["steps"] == 2
