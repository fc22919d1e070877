"""Rules that see a presynaptic spike when it leaves (`pre.x`) or when it arrives (`arrived.x`)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from random_graphs.differences import bits, differences, expected, outcome
from sparse_circuits import setup_of

from cortexc.compiler.backends.lowering import synapse_code
from cortexc.compiler.ir import parse_graph, problems
from cortexc.compiler.passes.read_sets import read_sets
from cortexc.compiler.verify import Setup
from cortexc.compiler.verify.mutation.campaign import plain_python
from cortexc.compiler.verify.runs import compiled

TEXT = """
graph arrivals
  dt 0.1
  gate learn
cell source
  input value
  state rate = 0
  send rate = where(value > 0.2, value, 0)
  message rate
cell spiking
  port a
  state v = 0
  state spike = {first}
  state trace = 0
  send spike = where(prev(v) > 0.6, 1, 0)
  receive v = where(spike > 0.5, 0, 0.9 * prev(v) + a)
  receive trace = 0.8 * prev(trace) + spike
  message spike{late}
rule learning
  state x = 0
  update x = 0.9 * prev(x) + arrived.spike
  increment {increment}
synapse forward
  message rate
  port a
  connectivity sparse
synapse recurrent
  message spike
  port a
  connectivity {kind}
  rule learning
  limits -1 1.5
population I source 6
population C spiking 8
projection W forward I -> C
projection R recurrent C -> C gate=learn delay={delay}
"""
INCREMENT = "0.1 * (0.9 * prev(x) * post.spike - 0.5 * post.trace * arrived.spike)"


def setup(delay: int = 1, most_delay: int = 0, kind: str = "sparse", late: str = "", increment: str = INCREMENT,
          first: str = "0") -> Setup:
    rng = np.random.default_rng(1)
    text = TEXT.format(delay=delay, kind=kind, late=late, increment=increment, first=first)
    arrays = {"W.pre": rng.integers(0, 6, 40), "W.post": rng.integers(0, 8, 40), "W.w": rng.uniform(0, 1, 40)}
    if kind == "sparse":
        arrays |= {"R.pre": rng.integers(0, 8, 40), "R.post": rng.integers(0, 8, 40), "R.w": rng.uniform(-0.4, 0.4, 40)}
        arrays |= {"R.delay": rng.integers(1, most_delay + 1, 40)} if most_delay else {}
    else:
        arrays["R.w"] = rng.uniform(-0.4, 0.4, (8, 8) if kind == "dense" else 8)
    return setup_of(parse_graph(text).with_(arrays=arrays))


WANTED = ["R.w", "R.x", "C.v", "C.spike", "C.trace", "R.current"]
CASES = {"in the step in which it leaves": {}, "one delay": {"delay": 4}, "late messages": {"delay": 3, "late": " late"},
         "delays of their own": {"most_delay": 5}, "both": {"delay": 3, "most_delay": 4, "late": " late"},
         "before the first step": {"most_delay": 4, "first": "1"}, "dense": {"kind": "dense", "delay": 3},
         "pairs": {"kind": "one_to_one", "delay": 3},
         "earlier": {"delay": 2, "most_delay": 3, "increment": INCREMENT + " - 0.01 * prev(arrived.trace)"},
         "gated": {"most_delay": 3, "increment": "0.1 * (arrived.spike * gate.learn) * (post.trace - 0.2)"},
         "gated by steps": {"delay": 3, "increment": "0.1 * where(gate.learn > 0, arrived.spike, 1) * post.trace"},
         "mixed": {"most_delay": 3, "increment": "0.1 * (arrived.spike - pre.spike) * (post.trace - tanh(arrived.v))"}}


def joined(reference, name: str) -> np.ndarray:
    return np.concatenate([part[name] for part in reference])


@pytest.mark.parametrize("case", ["one delay", "delays of their own", "both", "before the first step"])
def test_what_arrives_is_what_left_by_definition(case):
    one = setup(**CASES[case])
    graph, reference = one.graph, expected(one, WANTED)
    own, late = graph.arrays.get("R.delay", np.ones(40)).astype(int), "late" in CASES[case]
    age = graph.projection("R").delay - (not late) + own - 1
    first = float(CASES[case].get("first", 0))
    left = np.concatenate([np.full((20, 8), first), joined(reference, "C.spike")[:, 0]])
    x = np.zeros(40)
    for t, found in enumerate(joined(reference, "R.x")[:, 0]):
        x = 0.9 * x + left[20 + t - age, graph.arrays["R.pre"]]
        assert (bits(x) == bits(found)).all()
    assert x.max() > 0


@pytest.mark.parametrize("case", CASES)
def test_native_has_the_interpreters_bits(case):
    one = setup(**CASES[case])
    reference = expected(one, WANTED)
    assert (joined(reference, "R.w")[-1] != one.graph.arrays["R.w"]).any()
    with plain_python():
        assert [outcome(one, reference, WANTED, "native", granularity)
                for granularity in ("network", "population")] == [("equal", [])] * 2


@pytest.mark.parametrize("kernels", ["c", pytest.param("numba", marks=pytest.mark.slow)])
def test_compiled_kernels_have_them_too(monkeypatch, kernels):
    monkeypatch.setenv("CORTEXC_KERNELS", kernels)
    one = setup(**CASES["both"])
    assert outcome(one, expected(one, WANTED), WANTED) == ("equal", [])


@pytest.mark.lava
def test_lava_has_them_too():
    one = setup(**CASES["both"])
    assert outcome(one, expected(one, WANTED), WANTED, "lava", "population") == ("equal", [])


def test_an_arrival_a_step_early_is_seen(monkeypatch):
    one = setup(**CASES["delays of their own"])
    reference, right = expected(one, WANTED), synapse_code.arrived_at
    monkeypatch.setattr(synapse_code, "arrived_at", lambda *parts: right(*parts[:-1], parts[-1] - 1))
    with plain_python():
        assert list(differences(reference, compiled(one, WANTED, "native", "network")))


def test_what_arrives_later_needs_a_first_value():
    graph = setup(delay=2, increment=INCREMENT + " - 0.01 * arrived.rate").graph
    cell = parse_graph("cell spiking\n  port a\n  state v = 0\n  state spike = 0\n  state trace = 0\n"
                       "  send spike = where(prev(v) > 0.6, 1, 0)\n  send rate = 2 * prev(v)\n"
                       "  receive v = 0.9 * prev(v) + a\n  receive trace = spike\n  message spike\n").cells[0]
    other = graph.with_(cells=(graph.cells[0], cell))
    assert [p.code for p in problems(other)] == ["E219"]
    now = other.with_(projections=tuple(replace(q, delay=1) for q in other.projections))
    assert problems(now) == []


def test_what_arrives_is_at_the_synapse():
    (found,) = read_sets(setup(delay=3).graph)
    assert found.local and found.read("arrived.spike").kind == "transmitted"
    (found,) = read_sets(setup(delay=3, increment="0.1 * pre.spike * post.trace").graph)
    assert not found.local
