"""Python files of users and of compiled folders are read as they are, whatever Python kept of them."""

import os
import sys

import pytest

from cortexc.compiler.backends.lava.ordinary.loading import load_circuit
from cortexc.compiler.experiments.circuits import build_circuit
from cortexc.compiler.experiments.tables import Model
from cortexc.compiler.verify.oracles.user import load_function
from cortexc.lava_procs import importing

CIRCUIT = "import cortexc\ndef build():\n    return cortexc.parse_graph('graph g{}\\n  dt 1\\n')\n"


@pytest.mark.parametrize("name, text, read", [
    ("own.py", "VALUE = {}", lambda path: importing.import_file(path, "own").VALUE),
    ("own.py", CIRCUIT, lambda path: int(build_circuit(Model(circuit=f"{path}:build"), [1]).name[1:])),
    ("own.py", "def value(): return {}", lambda path: load_function(f"{path}:value")()),
    ("network_lava.py", "VALUE = {}", lambda path: load_circuit(path.parent).VALUE)])
def test_a_text_of_the_same_length_in_the_same_second(name, text, read, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "dont_write_bytecode", False)

    def written(value):
        (tmp_path / name).write_text(text.format(value))
        os.utime(tmp_path / name, (10**9, 10**9))
        return read(tmp_path / name)

    assert [written(value) for value in (1, 2, 3)] == [1, 2, 3]
