"""A checkpoint that somebody edited, its digest too: refused, or gone on from within the memory; never anything else."""

from __future__ import annotations

import json
import struct

import numpy as np
import pytest
from hostile_circuits import circuit
from memory_watch import WatchedNative
from safetensors.numpy import load_file, save_file

from cortexc.compiler.cli.app import execute
from cortexc.compiler.experiments.checkpoints import arrays_sha256
from cortexc.compiler.ir import show_graph
from cortexc.compiler.verify.mutation.campaign import plain_python

EXPERIMENT = """
[model]
circuit = "c.ir"
arrays = "arrays.npz"
[data.inputs]
"input.x" = [[0.1, 0.2, 0.3], [0.4, 0.5, 0.6], [0.7, 0.8, 0.9], [0.3, 0.3, 0.3]]
[protocol]
shuffle = true
epochs = 2
[run]
backend = "native"
noise = "legacy"
[record.r]
every = 1
quantities = ["hidden.u", "W.w"]
"""
LIMITS = ["position", "rows_written", "current", "order.run", "generator0.rest", "generator0.key"]


@pytest.fixture(scope="module")
def started(tmp_path_factory):
    folder = tmp_path_factory.mktemp("started")
    with plain_python():
        graph = circuit({})
        (folder / "c.ir").write_text(show_graph(graph))
        np.savez(folder / "arrays.npz", **graph.arrays)
        (folder / "e.toml").write_text(EXPERIMENT)
        assert execute(["run", str(folder / "e.toml"), "-o", str(folder / "o"), "--steps", "3"]) == 0
        yield folder


def edited(path, key: str, change) -> None:
    """Saves the checkpoint with one array changed and a digest that fits."""
    content = path.read_bytes()
    metadata = json.loads(content[8:8 + struct.unpack("<Q", content[:8])[0]])["__metadata__"]
    arrays = load_file(path)
    changed = change(arrays[key])
    arrays = {name: array for name, array in arrays.items() if name != key} | ({} if changed is None else {key: changed})
    save_file(arrays, path, {**metadata, "sha256": arrays_sha256(arrays)})


CHANGES = {
    "more": lambda a: a + 1, "huge": lambda a: a + np.array(2**40, a.dtype), "negative": lambda a: -a - 5,
    "gone": lambda a: None, "longer": lambda a: np.concatenate([a, a]), "shorter": lambda a: a[:-1],
    "of other shape": lambda a: a.reshape(1, *a.shape), "nan": lambda a: np.full(a.shape, np.nan),
    "text": lambda a: np.frombuffer(b"x" * a.size, np.uint8).reshape(a.shape), "nothing": lambda a: a[:0]}


KEYS = [*(f"feed.{name}" for name in LIMITS), "records.0", "memory.hidden.u", "memory.W.w"]


@pytest.mark.parametrize("key, change", [(key, change) for i, key in enumerate(KEYS) for j, change in enumerate(CHANGES)
                                         if change == "huge" or (i + j) % 2])
def test_edited_arrays(started, key, change, monkeypatch, capsys):
    monkeypatch.setattr("cortexc.compiler.backends.table.Native", WatchedNative)
    path = started / "o" / "checkpoint.safetensors"
    content = path.read_bytes()
    try:
        edited(path, key, CHANGES[change])
        code = execute(["run", str(started / "e.toml"), "-o", str(started / "o"), "--resume", "--steps", "2"])
    finally:
        path.write_bytes(content)
    err = capsys.readouterr().err
    assert code in (0, 2) and (code == 0 or "X14" in err or "X152" in err)
    numbers = key in ("feed.generator0.key", "memory.hidden.u", "memory.W.w", "records.0")  # any numbers will do
    assert code == 2 or numbers or change == "text" or (key, change) == ("feed.generator0.rest", "more")


def test_as_it_was_it_goes_on(started, capsys):
    assert execute(["run", str(started / "e.toml"), "-o", str(started / "o"), "--resume", "--steps", "1"]) == 0
