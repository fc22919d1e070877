"""Synapses by rule: the networks they give, their text, what is refused, and that nothing is held dense."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from random_graphs.differences import bits
from sparse_circuits import graph_of, outcomes, setup_of

from cortexc.compiler.backends.interpreter import Interpreter
from cortexc.compiler.backends.lowering import lower
from cortexc.compiler.backends.native import Native
from cortexc.compiler.ir import CortexError, arrays, drawing, parse_graph, problems, show_graph
from cortexc.compiler.ir.synapses import synapses_of, with_drawn
from cortexc.compiler.ir.wiring import Numbers, Wiring

RULES = {"fixed_indegree": 5, "fixed_outdegree": 5, "fixed_total": 150, "probability": 0.2}


def drawn(wiring: Wiring, pre: int = 30, post: int = 30, recurrent: bool = True):
    starts, targets = drawing.draw(wiring, "W", pre, post, recurrent)
    return np.repeat(np.arange(pre), np.diff(starts)), targets


@pytest.mark.parametrize("multapses", [False, True])
@pytest.mark.parametrize("autapses", [False, True])
@pytest.mark.parametrize("rule", RULES)
def test_a_rule_gives_what_it_says(rule, autapses, multapses):
    wiring = Wiring(rule, RULES[rule], 3, autapses, multapses and rule != "probability")
    pre, post = drawn(wiring)
    pairs = pre * 30 + post
    assert (np.diff(pairs) >= 0).all() and len(pre) == drawing.count(wiring, "W", 30, 30, True)
    assert (len(np.unique(pairs)) < len(pairs)) == wiring.multapses
    assert (pre == post).any() == autapses
    degrees = {"fixed_indegree": np.bincount(post), "fixed_outdegree": np.bincount(pre)}.get(rule)
    assert degrees is None or (degrees == 5).all()
    assert abs(len(pre) - drawing.expected_count(wiring, 30, 30, True)) <= (40 if rule == "probability" else 0)


@pytest.mark.parametrize("wiring", [
    Wiring("fixed_indegree", 4), Wiring("fixed_indegree", 12), Wiring("fixed_outdegree", 4),
    Wiring("fixed_total", 60), Wiring("fixed_total", 60, multapses=True), Wiring("probability", 0.3),
    Wiring("fixed_indegree", 4, multapses=True)], ids=lambda w: f"{w.rule} {w.number} {w.multapses}")
def test_every_pair_is_as_likely(wiring):
    """Over 600 seeds each of 15 x 13 pairs is drawn as often: within 5 standard deviations of a binomial."""
    counts = np.zeros((13, 15))
    for seed in range(600):
        pre, post = drawn(replace(wiring, seed=seed), 15, 13, False)
        np.add.at(counts, (post, pre), 1)
    mean = counts.sum() / counts.size
    assert np.abs(counts - mean).max() < 5 * np.sqrt(mean)


def test_blocks_do_not_repeat_each_other():
    _, post = drawn(Wiring("fixed_outdegree", 20), 600, 5000, False)
    assert (post[:20 * 256] != post[20 * 256:40 * 256]).any()
    assert (drawn(Wiring("fixed_outdegree", 20, 1), 600, 5000, False)[1] != post).any()
    found = drawing.draw(Wiring("fixed_outdegree", 20), "another", 600, 5000, False)[1]
    assert (found != post).any()


def wired(extra: str = "", **options):
    return parse_graph(show_graph(graph_of(**options)).replace("I -> C\n", """I -> C
  connect fixed_indegree 3 seed=2
  w = uniform(0, 0.5)
""").replace("gate=learn\noutput", f"""gate=learn
  connect probability 0.5 seed=7 autapses
  w = normal(0.3, 0.5)
  delay = normal(0.3 ms, 0.2 ms)
{extra}output"""))


def test_the_text_reads_back():
    graph = wired()
    assert parse_graph(show_graph(graph)) == graph and problems(graph) == []
    assert graph.projection("R").delays == Numbers("normal", (0.3, 0.2), "ms")
    for line in ("w = 3", "w = -1.5", "delay = constant(15)", "connect fixed_total 7 autapses multapses"):
        text = f"projection W k A -> B\n  {line}\n"
        assert show_graph(parse_graph(text)).endswith(text)
    assert parse_graph("projection W k A -> B\n  delay = 1.5 ms\n").projections[0].delays == Numbers(
        "constant", (1.5,), "ms")


def test_a_parameter_may_be_called_like_a_keyword():
    found = parse_graph("projection W k A -> B\n  delay = 3\n  connect = 2\n").projections[0]
    assert found.parameters == (("delay", 3.0), ("connect", 2.0)) and found.delays is None


@pytest.mark.parametrize("seeds", [1, 2])
def test_every_backend_and_granularity_draws_the_same(seeds):
    graph = wired(seeds=seeds, role="per_seed")
    assert outcomes(graph, "native", "network", "population", "area") == [("equal", [])] * 3


@pytest.mark.lava
def test_lava_draws_the_same():
    assert outcomes(wired(), "lava", "area") == [("equal", [])]


def test_bound_to_arrays_a_network_is_the_same():
    graph = wired()
    other = with_drawn(graph)
    assert other.projection("R").wiring is None and problems(other) == []
    one, two = (Interpreter(g).values for g in (graph, other))
    assert one.keys() == two.keys() and all((bits(one[name]) == bits(two[name])).all() for name in one)


def test_weights_and_delays_are_within_their_bounds():
    graph = wired()
    limited = graph.with_(synapses=tuple(replace(s, sign="non_negative") for s in graph.synapses))
    w = Interpreter(limited).values["R.w"]
    assert w.min() == 0 and (w > 0).any() and Interpreter(graph).values["R.w"].min() < 0
    delay = synapses_of(graph, graph.projection("R")).delay
    assert delay.min() == 1 and 2 < delay.max() < 10


def test_weights_may_be_bound_to_what_is_drawn():
    graph = wired()
    count = drawing.count(graph.projection("W").wiring, "W", 6, 8, False)
    bare = graph.with_(projections=tuple(replace(q, weights=None) if q.name == "W" else q for q in graph.projections))
    assert [p.code for p in problems(bare)] == ["E243"]
    assert problems(bare.with_(arrays={"W.w": np.arange(float(count))})) == []
    assert [p.code for p in problems(bare.with_(arrays={"W.w": np.arange(count + 1.0)}))] == ["E241"]


WRONG = {
    "connect fixed_indegree 7": "E259", "connect fixed_indegree 2.5": "E259", "connect fixed_total 49": "E259",
    "connect fixed_outdegree 9": "E259", "connect probability 1.5": "E259", "connect probability 0.5 multapses": "E259",
    "connect distance 3": "E259", "connect fixed_total 3000000000 multapses": "E236", "connect fixed_total -1": "E235",
    "connect fixed_indegree 3 seed=99999999999999999999": "E235",
    "connect fixed_indegree 3 seed=1 seed=2": "E102", "connect fixed_indegree 3 hubs": "E102"}


@pytest.mark.parametrize(("line", "code"), WRONG.items())
def test_wrong_rules_are_refused(line, code):
    assert codes("connect fixed_indegree 3 seed=2", line) == code


WRONG_NUMBERS = {
    "w = uniform(1, 0.5)": "E259", "w = normal(1, -1)": "E259", "w = normal(1)": "E259", "w = gamma(1, 2)": "E204",
    "w = normal(inf, 1)": "E102", "w = 1e999": "E224", "w = uniform(0, 1 ms)": "E102"}


@pytest.mark.parametrize(("line", "code"), WRONG_NUMBERS.items())
def test_wrong_distributions_are_refused(line, code):
    assert codes("w = uniform(0, 0.5)", line) == code


WRONG_DELAYS = {"delay = 0.25 ms": "E258", "delay = uniform(0, 3)": "E258", "delay = uniform(1, 20000)": "E258",
                "delay = constant(1.5)": "E258", "delay = normal(2, -1)": "E259", "delay = 0 ms": "E258"}


@pytest.mark.parametrize(("line", "code"), WRONG_DELAYS.items())
def test_wrong_delays_are_refused(line, code):
    assert codes("delay = normal(0.3 ms, 0.2 ms)", line) == code


def codes(old: str, new: str) -> str:
    try:
        return problems(parse_graph(show_graph(wired()).replace(old, new)))[0].code
    except CortexError as error:
        return error.code


def test_what_is_said_twice_or_elsewhere_is_refused():
    graph = wired()
    assert [p.code for p in problems(graph.with_(arrays={"R.pre": np.zeros(3)}))][0] == "E259"
    dense = graph.with_(synapses=tuple(replace(s, connectivity="dense") for s in graph.synapses))
    assert {p.code for p in problems(dense)} == {"E259"}
    units = graph.with_(synapses=tuple(replace(s, unit=0.5) for s in graph.synapses))
    assert [p.code for p in problems(units)] == ["E246", "E246"]
    outside = graph.with_(synapses=tuple(replace(s, sign="non_positive") for s in graph.synapses), projections=(
        replace(graph.projection("W"), weights=Numbers("constant", (0.5,))),))
    assert [p.code for p in problems(outside)] == ["E244"]


def test_a_bound_array_goes_before_what_would_be_drawn():
    """So what a run has learnt can be bound to its circuit."""
    graph = wired()
    drawn = with_drawn(graph).arrays
    learnt = graph.with_(arrays={"R.w": drawn["R.w"] / 2, "R.delay": np.full(len(drawn["R.w"]), 4)})
    assert problems(learnt) == []
    assert (Interpreter(learnt).values["R.w"][0] == drawn["R.w"] / 2).all()
    assert synapses_of(learnt, graph.projection("R")).slots == 4
    assert (with_drawn(learnt).arrays["R.w"] == drawn["R.w"] / 2).all()
    before = learnt.arrays["R.w"].copy()
    Interpreter(learnt).values["R.w"] += 1.0
    assert (learnt.arrays["R.w"] == before).all()


def large(pre: int, post: int, number: int):
    graph = wired()
    sizes = {"I": pre, "C": post}
    return graph.with_(rules=(), outputs=(), populations=tuple(replace(p, size=sizes[p.name])
                                                               for p in graph.populations),
                       synapses=tuple(replace(s, rule=None) for s in graph.synapses),
                       projections=(replace(graph.projection("W"), wiring=Wiring("fixed_total", number, multapses=True)),))


def test_a_projection_that_does_not_fit_is_refused_before_memory_is_taken(monkeypatch):
    graph = large(50_000, 50_000, 10**9)
    monkeypatch.setattr(arrays, "available", lambda: 16 * 2**30)
    tracemalloc.start()
    for made in (lower, Interpreter):
        with pytest.raises(CortexError, match=r"1e\+09 synapses, which need 22.3\d* GiB; 16 GiB are free") as error:
            made(graph)
        assert error.value.code == "E516"
    assert tracemalloc.get_traced_memory()[1] < 20e6
    tracemalloc.stop()


def test_nothing_is_held_dense():
    """10 million pairs, 20,000 synapses."""
    graph = large(2_000, 5_000, 20_000)
    program = lower(graph)
    tracemalloc.start()
    run = Native(program, setup_of(graph).protocol, np.zeros((50, 2_000)), [1])
    lower(graph)
    assert tracemalloc.get_traced_memory()[1] < 8e6
    tracemalloc.stop()
    assert run.group.index_size == 20_000 + 2_001


def test_a_static_synapse_is_a_weight_and_a_place_whatever_its_delay():
    graph = large(300, 200, 20_000)
    late = graph.with_(projections=tuple(replace(q, weights=Numbers("normal", (1.0, 0.1)),
                                                 delays=Numbers("uniform", (1.0, 7.0))) for q in graph.projections))
    program = lower(late)
    group, synapses = program.select(), program.synapses["W"]
    assert group.index_size == 20_000 + 301 and synapses.delay.max() == 7
    assert synapses.place.tolist() == [200 * (d - 1) + k for d, k in zip(synapses.delay, synapses.post, strict=True)]
    assert callable(program.initial["W.w"]), "weights are drawn into memory, and held nowhere else"
    assert (group.view(group.memory(), "W.w") == with_drawn(late).arrays["W.w"]).all()
