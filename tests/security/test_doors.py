"""A circuit whose name is code is refused with a code, through every door by which a circuit gets in; nothing runs."""

from pathlib import Path

import numpy as np
import pytest

from cortexc.compiler.cli.app import execute
from cortexc.compiler.ir import CortexError, Graph, parse_graph, verify

GOOD = """graph chain
  dt 0.1
cell src
  input x
  state r = 0
  send r = x
  message r
cell unit
  port a
  state u = 0
  receive u = prev(u) + 0.1 * (a - prev(u))
  message u
synapse forward
  message r
  port a
population inp src 2
population hid unit 2
projection W forward inp -> hid
"""
NAMES = {"graph": "chain", "cell": "src", "input": " x", "state": "u", "port": " a", "synapse": "forward", "population": "hid",
         "projection": "W"}
CODE = '"""+str(open("PWNED","w"))+"""'


def evil(kind: str) -> str:
    """The circuit with code for a name of this kind, wherever it stands."""
    name = NAMES[kind].strip()
    return GOOD.replace(f"{kind} {name}", f"{kind} {CODE}", 1)


@pytest.fixture(params=sorted(NAMES))
def text(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    return evil(request.param)


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> bool:
    code, said = execute(list(arguments)), capsys.readouterr()
    return code == 2 and "E209 line " in said.err + said.out and not Path("PWNED").exists()


@pytest.mark.parametrize("command", ["show", "compile", "run", "explain", "fit"])
def test_a_file(text: str, command: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("evil.ir").write_text(text)
    np.savez("w.npz", **{"W.w": np.ones((2, 2))})
    Path("evil.toml").write_text('[model]\ncircuit = "evil.ir"\narrays = "w.npz"\n'
                                 '[data]\ninputs = {"inp.x" = [[0.1, 0.2]]}\n')
    more = {"compile": ["-o", "out"], "run": ["-o", "out"], "fit": ["--map", "loihi2"]}.get(command, [])
    assert refused(capsys, command, "evil.toml", *more)


def test_a_recording(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    np.savez("evil.npz", **{"graph.ir": text, "init_W.w": np.ones((2, 2)), "inp.x": np.ones((3, 2)),
                            "hid.u": np.zeros((3, 2))})
    assert refused(capsys, "verify", "--golden", "evil.npz", "--on", "interpreter")


def test_python() -> None:
    good = parse_graph(GOOD).with_(arrays={"W.w": np.ones((2, 2))})
    verify(good)
    for graph in (good.with_(name=CODE), Graph(CODE)):
        with pytest.raises(CortexError, match="E209 name of graph"):
            verify(graph)


@pytest.mark.parametrize("raw, code", [
    (b"", "E109"), (b"\xff\xfeg\x00r\x00", "X110"), (GOOD.encode("utf-16"), "X110"), (b"graph g\x00\n", "E106"),
    (b"cell c\n  send x = 1\n", "E109"), (b"\xef\xbb\xbfgraph g\r\n  dt x\r\n", "E102"),
    (b"cell c\n  send x = " + b"x+" * 200_000 + b"1", "E107"), (b"graph g\ncell c\n  send x = " + b"x+" * 20_000 + b"1", "E114"),
    (GOOD.replace("hid unit 2", "hid unit 1000000000000").encode(), "E225")])
def test_a_file_that_is_no_circuit(raw: bytes, code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                   capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    Path("c.ir").write_bytes(raw)
    Path("c.toml").write_text('[model]\ncircuit = "c.ir"\n[data]\ninputs = {"inp.x" = [[0.1, 0.2]]}\n')
    assert execute(["run", "c.toml", "-o", "out"]) == 2
    assert code in capsys.readouterr().err
