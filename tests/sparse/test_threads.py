"""Threads share the steps of a network: the same bits, whatever their number."""

from __future__ import annotations

import multiprocessing
import os

import numpy as np
import pytest
from random_graphs.differences import bits

from cortexc.compiler.backends.kernels.operations import Slot
from cortexc.compiler.backends.loading import c_compiler
from cortexc.compiler.backends.lowering import lower, threads
from cortexc.compiler.backends.lowering.threads import boundary
from cortexc.compiler.backends.recording import record_pieces
from cortexc.compiler.experiments.simulation import simulate
from cortexc.compiler.ir import CortexError, parse_graph
from cortexc.compiler.ir.protocol import Phase, Protocol, Stream
from cortexc.compiler.passes import run_pipeline

pytestmark = pytest.mark.skipif(c_compiler() is None, reason="threads run in C")
TEXT = """
graph shared_steps
  dt 0.1
  gate learn
cell spiking
  port a
  noise drive normal
  noise events poisson(0.05)
  state v = 0
  state spike = 0
  state trace = 0
  send spike = where(prev(v) > 0.6, 1, 0)
  receive v = where(spike > 0.5, 0, 0.9 * prev(v) + a + 0.05 * drive + events)
  receive trace = 0.8 * prev(trace) + spike
  message spike
  message trace
rule pairs
  state x = 0
  state e = 0
  update x = 0.9 * prev(x) + pre.spike
  update e = 0.9 * prev(e) + prev(x) * post.spike
  increment 0.05 * (e - 0.4 * post.trace * pre.spike)
rule spikes
  increment 0.05 * (prev(pre.trace) * post.spike - post.trace * pre.spike)
rule rates
  increment 0.001 * pre.trace * (post.trace - 0.5 * prev(post.v))
synapse late
  message spike
  port a
  connectivity sparse
  rule pairs
  limits -1 1
synapse visited
  message spike
  port a
  connectivity sparse
  rule spikes
  limits -1 1
synapse full
  message trace
  port a
  rule rates
population A spiking 72
  v = uniform(0, 0.6) seed=1
population B spiking 41
projection L late A -> B gate=learn
  connect fixed_indegree 9 seed=1
  w = normal(0, 0.1)
  delay = uniform(1, 5)
projection V visited B -> B gate=learn
  connect fixed_outdegree 7 seed=2
  w = normal(0, 0.1)
projection F full A -> A gate=learn delay=2
projection G full B -> A
"""
RECORDED = ["A.v", "B.v", "B.spike", "L.w", "V.w", "F.w", "L.e", "L.x"]


def run(number: int, **options) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    arrays = {"F.w": rng.normal(0, 0.02, (72, 72)), "G.w": rng.normal(0, 0.02, (72, 41))}
    found = simulate(parse_graph(TEXT).with_(arrays=arrays), 60, **{"record": RECORDED, "every": 7, **options},
                     gates={"learn": [1.0, 1.0, 0.0] * 20}, threads=number, final=True)
    return {**found, **{f"final {name}": values for name, values in found.final.items()}}


def same(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> bool:
    return one.keys() == other.keys() and all((bits(one[name]) == bits(other[name])).all() for name in one)


@pytest.fixture(scope="module")
def alone() -> dict[str, np.ndarray]:
    found = run(1)
    assert found["B.spike"].sum() > 20
    assert all((found[f"{name}.w"][-1] != found[f"{name}.w"][0]).any() for name in "LVF")
    return found


@pytest.mark.parametrize("number", [2, 3])
def test_threads_have_the_bits_of_one(alone, number):
    assert same(run(number), alone)


def test_one_thread_has_the_bits_of_the_interpreter(alone):
    assert same(run(1, backend="interpreter"), alone)


def _in_child(results) -> None:
    results.put(run(2))


def test_a_forked_child_has_threads_of_its_own(alone):
    """And the parent has none left that a fork would lose."""
    assert same(run(2), alone)
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    child = context.Process(target=_in_child, args=(results,))
    child.start()
    found = results.get(timeout=60)
    child.join(60)
    assert child.exitcode == 0 and same(found, alone)


@pytest.mark.lava
def test_lava_has_threads_too(alone):
    assert same(run(2, backend="lava"), alone)


@pytest.mark.parametrize("number", [0, -1, 65, 1.0, "2", True, None])
def test_numbers_that_cannot_be_are_refused(number):
    with pytest.raises(CortexError, match="E527"):
        run(number)


@pytest.mark.parametrize(("options", "why"), [
    ({"backend": "interpreter"}, "interpreter"), ({"granularity": "population"}, "several processes")], ids=str)
def test_where_one_thread_has_to_do_a_warning_says_why(options, why):
    with pytest.warns(UserWarning, match=f"1 thread, not 2: .*{why}"):
        run(2, **options)


def test_without_a_compiler_one_thread_has_to_do(monkeypatch, alone):
    monkeypatch.setenv("CORTEXC_JIT", "0")
    with pytest.warns(UserWarning, match="no C compiler"):
        assert same(run(2), alone)


def test_a_stretch_that_nobody_computes_is_seen(monkeypatch, alone):
    monkeypatch.setattr(threads, "boundary", lambda cells, part, parts: boundary(cells, part, parts) - (part == parts))
    assert not same(run(2), alone)


def test_threads_meet_wherever_one_reads_what_another_writes():
    """Each operation that may touch what another thread wrote since the last meeting comes after a new one."""
    graph = run_pipeline(parse_graph(TEXT).with_(arrays={"F.w": np.zeros((72, 72)), "G.w": np.zeros((72, 41))})).graph
    program = lower(graph, frozenset(RECORDED), 2)
    parts = program.select().shares[0]
    written: set[str] = set()
    for part, operation in zip(parts, program.step, strict=True):
        written = set() if part.meet else written
        anywhere = {a.name for a in operation.arguments if isinstance(a, Slot) and not a.along}
        own = set(operation.apart)
        assert not (anywhere - own) & written
        written |= set(operation.writes)
    assert 2 < sum(part.meet for part in parts) < len(parts)


def test_each_thread_records_its_own_cells_and_meets_for_the_rest():
    """Kind 2 are cells, kind 1 weights whose increments wait."""
    graph = run_pipeline(parse_graph(TEXT).with_(arrays={"F.w": np.zeros((72, 72)), "G.w": np.zeros((72, 41))})).graph
    streams = Stream("cells", ("A.v", "B.spike"), 0), Stream("weights", ("F.w", "L.w"), 0)
    protocol = Protocol((Phase("p", 1, 1),), ("p",), streams)
    kinds = {threads: record_pieces(lower(graph, frozenset(RECORDED), threads).select(), protocol)[:, 4].tolist()
             for threads in (1, 2)}
    assert kinds == {1: [0, 0, 1, 0], 2: [2, 2, 1, 0]}


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="cores are the system's")
def test_a_run_leaves_its_cores_as_they_were():
    before = os.sched_getaffinity(0)
    run(2)
    assert os.sched_getaffinity(0) == before
