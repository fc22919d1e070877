"""Rules on lists visit the synapses of the cells that spiked, wherever that has the bits of visiting all."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from random_graphs.differences import bits, differences, expected, outcome
from sparse_circuits import setup_of

from cortexc.compiler.backends.lowering import lower, synapse_code, visits
from cortexc.compiler.backends.lowering.visits import visits_of
from cortexc.compiler.backends.native import Native
from cortexc.compiler.ir import CortexError, Graph, parse_graph
from cortexc.compiler.verify import Setup
from cortexc.compiler.verify.mutation.campaign import plain_python
from cortexc.compiler.verify.runs import compiled

TEXT = """
graph visits
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
  state spike = 0
  state fired = 0
  state trace = 0
  state growing = {growing}
  send spike = where(prev(v) > 0.6, 1, 0)
  receive v = where(spike > 0.5, 0, 0.9 * prev(v) + a)
  receive fired = 3 * (prev(v) > 0.6)
  receive trace = 0.8 * prev(trace) + spike
  receive growing = prev(growing) * prev(growing)
  message spike
rule learning
  state x = {first}
  state y = 0
  update x = 0.9 * prev(x) + pre.spike
  update y = 0.8 * prev(y) + post.spike
  increment {increment}
synapse forward
  message rate
  port a
  connectivity sparse
synapse recurrent
  message spike
  port a
  connectivity sparse
  rule learning
  limits {limits}
population I source 6
population C spiking 8
projection W forward I -> C
projection R recurrent C -> C gate=learn
"""
BOTH, NONE = (1, 1), (0, 0)
RULES: dict[str, tuple[tuple[int, int], str]] = {
    "0.1 * (0.9 * prev(x) * post.spike - prev(y) * pre.spike)": (BOTH, "-1 1.5"),
    "0.1 * ((1 - w) * prev(x) * post.spike - w * prev(y) * pre.spike)": (BOTH, "-1 1.5"),
    "0.1 * (w ** 0.4 * prev(x) * post.spike - w * prev(y) * pre.spike)": (BOTH, "0 inf"),
    "min(0.1 * (x * post.spike + y * pre.spike), 1.5 - w) - 0.05 * pre.spike": (BOTH, "-1 1.5"),
    "where(post.fired > 0, 0.1 * x, 0) + where(pre.fired > 0, -0.1 * y, 0)": (BOTH, "-1 1.5"),
    "0.1 * (pre.fired + post.fired) * (x - y)": (BOTH, "-1 1.5"),
    "0.1 * pre.spike * (post.trace - 0.4)": ((1, 0), "-1 1.5"),
    "0.1 * prev(x) * (post.fired - post.spike)": ((0, 1), "-1 1.5"),
    "0.1 * x * post.trace": (NONE, "-1 1.5"),
    "0.1 * x * post.spike - 0.001 * w": (NONE, "-1 1.5"),
    "0.1 * x * post.spike / y": (NONE, "-1 1.5"),
    "min(0.1 * (x * post.spike + y * pre.spike), 1.4 - w)": (NONE, "-1 1.5"),
    "0.1 * (x * post.spike - y * pre.spike)": (NONE, "-1 -0.0")}
"""Increment -> (whether rows and columns are visited, limits)."""


def setup(increment: str, limits: str = "-1 1.5", growing: str = "0.5", first: str = "0", seed: int = 0) -> Setup:
    rng = np.random.default_rng(seed)
    low, high = map(float, limits.split())
    arrays = {f"{name}.{key}": rng.integers(0, n, 40) for name, n_pre in (("W", 6), ("R", 8))
              for key, n in (("pre", n_pre), ("post", 8))}
    arrays |= {"W.w": rng.uniform(0, 1, 40), "R.w": rng.uniform(max(low, -0.4), min(high, 0.4), 40)}
    text = TEXT.format(increment=increment, limits=limits, growing=growing, first=first)
    return setup_of(parse_graph(text).with_(arrays=arrays))


def plan(graph: Graph):
    found = []

    def seen(factors, graph, shared, *lazy):
        found.append((visits_of(factors, graph, shared, *lazy), dict(shared)))
        return found[-1][0]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(synapse_code, "visits_of", seen)
        lower(graph)
    return found[0]


def last(reference) -> np.ndarray:
    """The weights at the end."""
    return np.concatenate([part["R.w"] for part in reference])[-1]


WANTED = ["R.w", "R.x", "R.y", "C.v", "C.spike"]


@pytest.mark.parametrize("increment", RULES)
def test_visits_have_the_bits_of_the_interpreter(increment):
    (rows, columns), limits = RULES[increment]
    one = setup(increment, limits)
    found, shared = plan(one.graph)
    assert shared == {"x": "pre", "y": "post"}
    assert (bool(found and found.pre), bool(found and found.post)) == (bool(rows), bool(columns))
    reference = expected(one, WANTED)
    assert (last(reference) != one.graph.arrays["R.w"]).any()
    with plain_python():
        assert [outcome(one, reference, WANTED, "native", granularity)
                for granularity in ("network", "population")] == [("equal", [])] * 2


def test_compiled_visits_have_the_same_bits():
    increment = next(iter(RULES))
    one = setup(increment)
    assert outcome(one, expected(one, WANTED), WANTED) == ("equal", [])


@pytest.mark.parametrize("options", [
    {"growing": "2"}, {"growing": "-1e200"}, {"growing": "2", "limits": "-inf inf"}, {"first": "1e308 * 10"}], ids=str)
def test_what_leaves_the_finite_numbers_is_seen(options):
    """0 times infinity is nan, at every synapse of a silent cell too."""
    one = setup("0.1 * (x * post.spike * prev(post.growing) - w * y * pre.spike)", **options)
    assert plan(one.graph)[0]
    reference = expected(one, WANTED)
    assert not np.isfinite(last(reference)).all()
    with plain_python():
        assert outcome(one, reference, WANTED, "native", "network") == ("equal", [])


def test_a_negative_zero_grows_to_a_positive_one():
    one = setup(next(iter(RULES)))
    zeros = one.graph.arrays | {"R.w": np.full(40, -0.0)}
    one = replace(one, graph=one.graph.with_(arrays=zeros))
    with plain_python():
        assert outcome(one, expected(one, WANTED), WANTED, "native", "network") == ("equal", [])
        for start in ("R.w", None):
            run = Native(lower(setup(next(iter(RULES))).graph), one.protocol, one.samples, [0])
            if start:
                run.put(start, np.full((1, 40), -0.0))
            assert bool(run.group.view(run.memory, "R.wild")[0]) is bool(start)


def test_a_state_of_a_cell_is_read_as_one_per_synapse():
    one = setup(next(iter(RULES)))
    with plain_python():
        program = lower(one.graph)
        run = Native(program, one.protocol, one.samples, [0])
        run.run(10)
        assert program.slots.sizes["R.x"] == 8
        found = run.value("R.x")
        assert found.shape == (1, 40) and len(np.unique(found)) > 2
        run.put("R.x", 2 * found)
        assert (run.value("R.x") == 2 * found).all()
        with pytest.raises(CortexError, match="E526"):
            run.put("R.x", np.arange(40.0)[None])


def test_states_that_begin_apart_are_kept_apart():
    one = setup(next(iter(RULES)))
    graph = one.graph.with_(arrays=one.graph.arrays | {"R.x": np.arange(40.0)})
    assert plan(graph)[1] == {"y": "post"}
    one = replace(one, graph=graph)
    with plain_python():
        assert outcome(one, expected(one, WANTED), WANTED, "native", "network") == ("equal", [])


FAULTS = {"no columns": ("_each_column", lambda *parts: None), "no look at what is infinite": ("_look", lambda *parts: None)}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_visit_too_few_is_seen(monkeypatch, fault):
    growing = "2" if "infinite" in fault else "0.5"
    one = setup("0.1 * (x * post.spike * prev(post.growing) - y * pre.spike)", growing=growing)
    reference = expected(one, WANTED)
    monkeypatch.setattr(visits, *FAULTS[fault])
    with plain_python():
        assert list(differences(reference, compiled(one, WANTED, "native", "network")))


def test_bits_of_both_zeros_are_compared():
    assert bits(np.zeros(1)) != bits(np.full(1, -0.0))
