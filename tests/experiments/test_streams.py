"""The task `stream`: arrays of the user's own, static or a row per presentation, in tables or in files."""

import numpy as np
import pytest

from cortexc.compiler.experiments.config import load_experiment
from cortexc.compiler.experiments.session import Session
from cortexc.compiler.ir import CortexError

CIRCUIT = """
graph g
cell c
  input i
  send o = i
  message o
population a c 50
population b c 1
output o = a.o
output p = b.o
"""


@pytest.fixture
def shown(tmp_path):
    """shown(inputs): what the two populations are shown, (presentations, cells)."""
    (tmp_path / "g.ir").write_text(CIRCUIT)

    def run(inputs, path=""):
        data = {"inputs": inputs} | ({"path": path} if path else {})
        tables = {"model": {"circuit": str(tmp_path / "g.ir")}, "data": data,
                  "run": {"backend": "interpreter"}}
        with Session(load_experiment(tables)) as session:
            session.run()
            return [session.records.rows("output", name)[:, 0].tolist() for name in ("a.o", "b.o")]

    return run


def test_static_arrays_and_streams_from_a_file(shown, tmp_path):
    a, rows = np.linspace(0, 1, 50), np.arange(150).reshape(3, 50)
    np.savez(tmp_path / "x.npz", a=a, rows=rows, b=np.array([7.0]), stream=np.array([1.0, 2, 3]))
    file = str(tmp_path / "x.npz")
    assert shown({"a.i": f"{file}:a", "b.i": f"{file}:b"}) == [[a.tolist()], [[7.0]]]
    assert shown({"a": f"{file}:a", "b": f"{file}:stream"}) == [[a.tolist()] * 3, [[1.0], [2.0], [3.0]]]
    assert shown({"a": f"{file}:rows", "b": 5.0}) == [rows.tolist(), [[5.0]] * 3]
    assert shown({"a": a.tolist(), "b": [1.0, 2.0]}) == [[a.tolist()] * 2, [[1.0], [2.0]]]


def test_what_else_is_in_a_file_does_not_matter(shown, tmp_path):
    a, file = np.linspace(0, 1, 50), tmp_path / "x.npz"
    np.savez(file, a=a, b=np.array([7.0]), labels=np.array(["cat", "dog"]), images=np.zeros((2, 3, 4)), c=np.array([np.nan]))
    assert shown({"a": f"{file}:a", "b": f"{file}:b"}) == shown({"b": 7.0}, str(file)) == [[a.tolist()], [[7.0]]]
    with pytest.raises(CortexError) as caught:
        shown({"a": f"{file}:a", "b": f"{file}:labels"})
    assert caught.value.code == "D403" and "'labels'" in str(caught.value)


@pytest.mark.parametrize("inputs, words", [
    ({"a.i": "FILE:rows", "b": "FILE:two"}, "different lengths"), ({"a.i": "FILE:short", "b": 1}, "(50,)"),
    ({"a.i": "FILE:b", "b": 1}, "Did you mean"), ({"a.i": "FILE", "b": 1}, ":KEY"),
    ({"a.i": [1] * 49, "b": 1}, "(50,)"), ({"a.i": [[1] * 50], "b": 1, "c": 1}, "unknown"),
    ({"a.i": {"x": 1}, "b": 1}, "table of numbers"), ({"b": 1}, "a.i")])
def test_arrays_that_do_not_fit_are_coded(shown, tmp_path, inputs, words):
    np.savez(tmp_path / "x.npz", rows=np.zeros((3, 50)), two=np.zeros(2), short=np.zeros(49), bb=np.zeros(50))
    file = str(tmp_path / "x.npz")
    inputs = {key: value.replace("FILE", file) if isinstance(value, str) else value for key, value in inputs.items()}
    with pytest.raises(CortexError) as caught:
        shown(inputs)
    assert caught.value.code == "X123" and words in str(caught.value)


def test_a_circuit_without_inputs_takes_no_arrays(tmp_path):
    (tmp_path / "g.ir").write_text("graph g\ncell c\n  state v = 1\n  send v = 0.5 * prev(v)\npopulation a c 2\n")
    tables = {"model": {"circuit": str(tmp_path / "g.ir")}, "run": {"backend": "interpreter"}}
    with pytest.raises(CortexError) as caught:
        Session(load_experiment(tables, {"data.inputs.a": [1, 2]}))
    assert caught.value.code == "X123"
