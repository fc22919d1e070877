"""What a user names is used, or it is a coded error: every option that takes a path, with every wrong kind of place."""

import json
from pathlib import Path

import numpy as np
import pytest

from cortexc.compiler.cli.app import execute

CIRCUIT = """
graph g
cell c
  input i
  state v = 0
  send v = 0.5 * prev(v) + i
  message v
population a c 2
output o = a.v
"""
STREAM = '[model]\ncircuit = "mine.ir"\n[data.inputs]\n"a.i" = [[1, 2], [3, 4]]\n[run]\nbackend = "interpreter"\n'
UNREADABLE = "/proc/self/mem"
"""Opens, but cannot be read, by root neither."""
IN_A_FOLDER, FILES = ("missing", "file", "no_home"), ("missing", "folder", "unreadable", "no_home")
# option -> (arguments with PLACE, suffix, wrong kinds, codes)
OPTIONS = {
    "experiment": (["run", "PLACE"], ".toml", FILES, "X101 X133"),
    "data-dir": (["run", "mine.toml", "--data-dir", "PLACE"], "", IN_A_FOLDER, "D409 X133"),
    "data-dir of verify": (["verify", "mine.toml", "--data-dir", "PLACE"], "", IN_A_FOLDER, "D409 X133"),
    "data-dir of fit": (["fit", "mine.toml", "--map", "ideal", "--data-dir", "PLACE"], "", IN_A_FOLDER, "D409 X133"),
    "data-dir of compile": (["compile", "mine.toml", "-o", "out", "--data-dir", "PLACE"], "", IN_A_FOLDER, "D409 X133"),
    "data.folder": (["run", "digits.toml", "--set", "data.name=mnist", "--set", "data.folder=PLACE"], "", IN_A_FOLDER,
                    "D409 X133"),
    "data.name npz": (["run", "digits.toml", "--set", "data.name=PLACE"], ".npz", FILES, "D402 D403 X133"),
    "data.name csv": (["run", "digits.toml", "--set", "data.name=PLACE"], ".csv", FILES, "D402 D408 X133"),
    "data.path": (["run", "path.toml", "--set", "data.path=PLACE"], ".npz", FILES, "D402 D403 X133"),
    "data.path csv": (["run", "path.toml", "--set", "data.path=PLACE"], ".csv", FILES, "D402 D408 X133"),
    "data.inputs": (["run", "path.toml", "--set", "data.inputs.a.i=PLACE"], ".npz", FILES, "D402 D403 X133"),
    "data.inputs key": (["run", "path.toml", "--set", "data.inputs.a=PLACE:key"], ".npz", FILES, "D402 D403 X133"),
    "model.arrays": (["run", "mine.toml", "--set", "model.arrays=PLACE"], ".npz", FILES, "X114 X133"),
    "model.arrays safetensors": (["run", "mine.toml", "--set", "model.arrays=PLACE"], ".safetensors", FILES, "X114 X133"),
    "model.arrays without suffix": (["run", "mine.toml", "--set", "model.arrays=PLACE"], "", FILES, "X114 X133"),
    "model.circuit": (["run", "mine.toml", "--set", "model.circuit=PLACE"], ".ir", FILES, "X110 X133"),
    "model.circuit function": (["run", "mine.toml", "--set", "model.circuit=PLACE:build"], ".py", FILES, "X110 X133"),
    "golden": (["verify", "--golden", "PLACE"], ".npz", FILES, "V101 X133"),
    "golden of bench": (["bench", "pal-feedback", "--golden", "PLACE"], "", IN_A_FOLDER, "X180 X133"),
    "golden of mutations": (["bench", "mutations", "--golden", "PLACE"], "", IN_A_FOLDER, "V101 X133"),
    "map": (["fit", "mine.toml", "--map", "PLACE"], ".toml", FILES, "H102 X133"),
    "map of explain": (["explain", "mine.toml", "--map", "PLACE"], ".toml", FILES, "H102 X133"),
    "hardware": (["run", "mine.toml", "--backend", "lava", "--granularity", "neurocore", "--set", "run.hardware=PLACE"],
                 ".toml", FILES, "H102 X133"),
    "reference": (["verify", "mine.toml", "--reference", "PLACE:f"], ".py", FILES, "V130 V131 X133"),
    "output": (["run", "mine.toml", "-o", "PLACE"], "", ("file", "below_a_file", "no_home", "unwritable"), "X130 X133"),
    "output of fit": (["fit", "mine.toml", "--map", "ideal", "-o", "PLACE"], "",
                      ("file", "below_a_file", "no_home", "unwritable"), "X130 X133"),
    "output of compile": (["compile", "mine.toml", "-o", "PLACE"], "",
                          ("file", "below_a_file", "no_home", "unwritable", "folder"), "X130 X132 X133"),
    "output of bench": (["bench", "matching", "-o", "PLACE"], "", ("no_home",), "X133"),
    "output of export": (["export", "run", "--to", "npz", "-o", "PLACE"], "",
                         ("folder", "below_a_file", "no_home", "unwritable"), "X130 X131 X133"),
    "run to export": (["export", "PLACE", "--to", "npz"], "", ("missing", "file", "folder", "no_home"), "X170 X133"),
}
CASES = [(name, kind) for name, (_, _, kinds, _) in OPTIONS.items() for kind in kinds]


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("CORTEXC_JIT", "0")
    for name in ("CORTEXC_DATA", "CORTEXC_GOLDEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.ir").write_text(CIRCUIT)
    (tmp_path / "mine.toml").write_text(STREAM)
    (tmp_path / "path.toml").write_text(STREAM.replace('[data.inputs]\n"a.i" = [[1, 2], [3, 4]]\n', ""))
    (tmp_path / "digits.toml").write_text('[model]\ncircuit = "pal"\nlayers = [4, 3, 2]\n[protocol]\ntask = "classify"\n'
                                          '[run]\nbackend = "interpreter"\n')


def place(tmp_path: Path, kind: str, suffix: str) -> str:
    path = tmp_path / f"{kind}{suffix}"
    if kind == "folder":
        path.mkdir()
        (path / "something").write_text("of the user's")
    elif kind == "file":
        path.write_text("not what was asked for")
    elif kind == "unreadable":
        path.symlink_to(UNREADABLE)
    places = {"no_home": f"~nobody-of-this-name/x{suffix}", "below_a_file": "mine.toml/below", "unwritable": "/proc/nowhere"}
    return places.get(kind, path.name)


@pytest.mark.parametrize("name, kind", CASES)
def test_a_wrong_place_is_coded(tmp_path, capfd, name, kind):
    arguments, suffix, _, codes = OPTIONS[name]
    if name == "output of export":
        assert execute(["run", "mine.toml", "-o", "run"]) == 0
    named = place(tmp_path, kind, suffix)
    before = sorted(path for path in tmp_path.rglob("*"))
    capfd.readouterr()
    code = execute([*(argument.replace("PLACE", named) for argument in arguments), "--json"])
    out, err = capfd.readouterr()
    error = json.loads(out)["error"]
    assert code == 2 and error["code"] in codes.split() and "Traceback" not in err
    assert any(part in error["message"] for part in Path(named).parts[-2:]) and "\n" not in error["message"]
    assert sorted(path for path in tmp_path.rglob("*") if path.name != "runs") == before


@pytest.mark.parametrize("variable, arguments, code", [
    ("CORTEXC_DATA", ["run", "digits.toml", "--set", "data.name=mnist"], "D409"),
    ("CORTEXC_GOLDEN", ["bench", "pal-feedback"], "X180"), ("CORTEXC_GOLDEN", ["bench", "mutations"], "V101")])
def test_a_wrong_place_in_the_environment_is_coded(capfd, monkeypatch, variable, arguments, code):
    for named in ("missing", "mine.toml"):
        monkeypatch.setenv(variable, named)
        assert execute([*arguments, "--json"]) == 2
        error = json.loads(capfd.readouterr().out)["error"]
        assert error["code"] == code and named in error["message"]


@pytest.mark.parametrize("arguments, code, words", [
    (["run", "mine.toml", "--data-dir", "."], "X127", "data.folder"),
    (["run", "digits.toml", "--set", "data.name=digits", "--data-dir", "."], "D410", "digits"),
    (["run", "digits.toml", "--set", "data.name=ABSOLUTE/x.npz", "--data-dir", "other"], "D410", "x.npz"),
    (["run", "digits.toml", "--set", "data.name=digits", "--set", "data.path=x.npz"], "X127", "data.path"),
    (["run", "mine.toml", "--set", "data.path=x.npz"], "X127", "x.npz"),
    (["run", "mine.toml", "--set", "data.inputs.a=x.npz"], "X123", "two arrays"),
    (["bench", "depth", "--golden", "."], "X182", "depth")])
def test_what_would_not_be_used_is_coded(tmp_path, capfd, arguments, code, words):
    np.savez(tmp_path / "x.npz", a=np.ones((2, 2)))
    (tmp_path / "other").mkdir()
    assert execute([*(a.replace("ABSOLUTE", str(tmp_path)) for a in arguments), "--json"]) == 2
    error = json.loads(capfd.readouterr().out)["error"]
    assert error["code"] == code and words in error["message"]


def test_what_is_named_is_used(tmp_path, capfd, monkeypatch):
    """Home folders, relative places, a folder of data, and colons in names."""
    monkeypatch.setenv("HOME", str(tmp_path))
    odd = tmp_path / "a:b"
    odd.mkdir()
    np.savez(odd / "x.npz", k=np.array([[5.0, 6.0]]), other=np.zeros(3))
    np.savez(tmp_path / "start", **{"a.v": np.array([8.0, 16.0])})
    (tmp_path / "start.npz").rename(tmp_path / "start")
    for spelt, arrays in ((f"{odd}/x.npz:k", "start"), ("a:b/x.npz:k", "./start"), ("~/a:b/x.npz:k", "~/start")):
        output = f"~/out-{len(spelt)}"
        assert execute(["run", "~/path.toml", "--set", f"data.inputs.a.i={spelt}", "-o", output,
                        "--set", f"model.arrays={arrays}"]) == 0
        with np.load(tmp_path / output[2:] / "records.npz") as records:
            assert records["output/a.v"].ravel().tolist() == [9.0, 14.0]
    (tmp_path / "sets").mkdir()
    generator = np.random.default_rng(1)
    np.savez(tmp_path / "sets" / "own.npz", train_x=generator.uniform(size=(4, 4)), train_y=[0, 1, 0, 1],
             test_x=generator.uniform(size=(2, 4)), test_y=[0, 1])
    (tmp_path / "own.toml").write_text((tmp_path / "digits.toml").read_text() + '[data]\nname = "own.npz"\n')
    steps = ["--steps", "3", "--data-dir", "sets", "--json"]
    capfd.readouterr()
    assert execute(["run", "own.toml", "-o", "own", *steps]) == 0
    assert "sets/own.npz" in json.loads(capfd.readouterr().out)["data"]
