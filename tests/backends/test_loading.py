"""What is wrong with a cache or a compiler costs time, not the run; the bits are the same."""

import os
import shutil
import warnings

import numpy as np
import pytest

import cortexc
from cortexc.compiler.backends import loading

GRAPH = """
graph small
cell source
  input a
  send r = a
  message r
cell unit
  port p
  state u = 0
  receive u = 0.9 * prev(u) + p
synapse s
  message r
  port p
population A source 2
population B unit 3
projection W s A -> B
"""


def run() -> bytes:
    graph = cortexc.parse_graph(GRAPH).with_(arrays={"W.w": np.arange(6.0).reshape(3, 2)})
    return cortexc.simulate(graph, 4, inputs={"A.a": np.ones((4, 2))}, record="B.u")["B.u"].tobytes()


@pytest.fixture
def expected(monkeypatch) -> bytes:
    with monkeypatch.context() as context:
        context.setenv("CORTEXC_JIT", "0")
        return run()


@pytest.mark.skipif(loading.c_compiler() is None, reason="no C compiler")
@pytest.mark.parametrize("garbage", [b"", b"garbage"])
def test_a_torn_library_is_made_again(garbage, tmp_path, monkeypatch, expected):
    monkeypatch.setenv("CORTEXC_CACHE", str(tmp_path))
    assert run() == expected
    other = tmp_path / "other"  # what a process has loaded it does not look at again
    shutil.copytree(tmp_path / "kernels", other / "kernels")
    library = next(other.rglob("*.so"))
    library.write_bytes(garbage)
    monkeypatch.setenv("CORTEXC_CACHE", str(other))
    assert run() == expected and library.stat().st_size > 1000


@pytest.mark.parametrize("cache", ["file", "file/within"])
def test_a_cache_that_cannot_be_made(cache, tmp_path, monkeypatch, expected):
    (tmp_path / "file").write_text("")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CORTEXC_CACHE", cache)
    assert run() == expected


@pytest.mark.parametrize("compiler, said", [("/nope", "not there"), ("/bin/false", "cannot compile"),
                                            ("/bin/true", "cannot compile"), ("gcc -O2", "")])
def test_compilers(compiler, said, tmp_path, monkeypatch, expected):
    monkeypatch.setenv("CORTEXC_CACHE", str(tmp_path))
    monkeypatch.setenv("CC", compiler)
    monkeypatch.setattr(loading, "load_python", plain(loading.load_python))
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        assert run() == expected
    assert said in " ".join(str(w.message) for w in found) and bool(found) == bool(said)


def plain(load):
    """Without numba, which would take its time here."""
    def loaded(source):
        os.environ["CORTEXC_JIT"] = "0"
        try:
            return load(source)
        finally:
            del os.environ["CORTEXC_JIT"]

    return loaded


def test_seeds_draw_apart():
    """A list of large numbers and small ones would become floats, all of one value."""
    streams = [-1, -2, -1000, 0, 1, 2**62, 2**62 + 1, 2**63 + 1, 2**63 + 5]
    from cortexc.compiler.backends.runtime import counter_generator

    assert len({float(counter_generator(seed, 3, 0).standard_normal()) for seed in streams}) == len(streams)
