"""`post.sum(w)`, the sum over the weights that end in a cell, and `deliver`, on every kind of connectivity and backend."""

from __future__ import annotations

import numpy as np
import pytest

from cortexc.compiler.backends.lowering.factors import summing_gate
from cortexc.compiler.experiments.simulation import Simulation, simulate
from cortexc.compiler.ir import CortexError, Graph, parse_graph, show_graph, verify
from cortexc.compiler.passes.base import Request
from cortexc.compiler.passes.quantise import Quantise
from cortexc.compiler.passes.read_sets import explain_text, read_sets
from cortexc.compiler.passes.rule_terms import NoProduct, RuleTerms

TEXT = """graph normalised
  dt 1
  {batch}
  gate learn
cell sender
  input value
  state rate = 0.3
  send rate = value
  message rate
cell receiver
  port arriving
  state rate = 0
  receive rate = 0.5 * prev(rate) + arriving
rule scaled
  parameter total 1 = 2
  {rule}
synapse s
  message rate
  port arriving
  connectivity {kind}
  rule scaled
  {role}
population a sender 5
population b receiver {n}
projection W s a -> b delay=0 gate=learn
"""
NORMALISED = "increment 0.01 * pre.rate * post.rate + w * (total / post.sum(w) - 1)"
GATED = "increment 0.01 * pre.rate + where(gate.learn > 0, w * (total / post.sum(w) - 1), 0)"
SHAPED = """state x = 0.5
  state y = 2
  update x = 0.9 * prev(x) + 0.2 * pre.rate
  update y = prev(y) + 0.1 * post.rate
  increment 0.01 * pre.rate
  deliver (w + 0.1) * x * y / total"""


def circuit(kind: str, batch: str = "", role: str = "", rule: str = NORMALISED) -> Graph:
    n, g = 5 if kind == "one_to_one" else 4, np.random.default_rng(3)
    graph = parse_graph(TEXT.format(kind=kind, batch=batch, role=role, n=n, rule=rule))
    if kind == "sparse":
        pre, post = g.integers(0, 5, 30), g.integers(0, 4, 30)
        delays = {"W.delay": g.integers(1, 4, 30)} if rule is SHAPED else {}
        return graph.with_(arrays={"W.pre": pre, "W.post": post, "W.w": g.uniform(0.1, 1, 30), **delays})
    shape = (5,) if kind == "one_to_one" else (4, 5)
    arrays = {"W.w": g.uniform(0.1, 1.0, shape)}
    return graph.with_(arrays=arrays | ({"W.mask": (g.random(shape) < 0.7) * 1.0} if kind == "masked" else {}))


def run(graph: Graph, backend: str, granularity: str = "network", steps: int = 9) -> Simulation:
    values = np.random.default_rng(4).random((steps, 5))
    return simulate(graph, steps, inputs={"a.value": values}, gates={"learn": 1.0}, record=["W.w", "b.rate"],
                    backend=backend, granularity=granularity)


@pytest.mark.parametrize("batch, role", [("", ""), ("batch seeds 2 samples 1", "role per_seed"), ("batch seeds 2 samples 3", "role per_sample")])
@pytest.mark.parametrize("kind", ["dense", "masked", "sparse", "one_to_one"])
@pytest.mark.parametrize("rule", [NORMALISED, SHAPED], ids=["sum", "deliver"])
def test_the_backends_have_the_same_bits(rule: str, kind: str, batch: str, role: str) -> None:
    graph = circuit(kind, batch, role, rule)
    verify(graph)
    assert parse_graph(show_graph(graph)) == graph
    expected = run(graph, "interpreter")
    for granularity in ("network", "population"):
        found = run(graph, "native", granularity)
        for name in ("W.w", "b.rate"):
            assert np.array_equal(found[name].view(np.int64), expected[name].view(np.int64)), (granularity, name)
    assert np.ptp(expected["W.w"], axis=0).max() > 0.01 and np.ptp(expected["b.rate"], axis=0).min() > 0.01


def test_what_is_delivered_is_made_of_what_the_last_step_left() -> None:
    graph = circuit("masked", rule=SHAPED)
    found, values = run(graph, "interpreter"), np.random.default_rng(4).random((9, 5))
    w = graph.arrays["W.w"] * graph.arrays["W.mask"]
    first = ((w + 0.1) * 0.5 * 2 / 2 * graph.arrays["W.mask"]) @ values[0]
    x = 0.9 * 0.5 + 0.2 * values[0]
    second = ((w + (0.01 * values[0] + 0.1) * graph.arrays["W.mask"]) * x * (2 + 0.1 * first[:, None]) / 2) @ values[1]
    assert np.allclose(found["b.rate"][:2, 0], [first, 0.5 * first + second], rtol=1e-14)


@pytest.mark.parametrize("backend", ["interpreter", "native"])
def test_a_rule_that_only_delivers_needs_no_increment(backend: str) -> None:
    graph = circuit("dense", rule="state x = 1\n  update x = prev(x) + pre.rate\n  deliver w * x")
    assert len(np.unique(run(graph, backend)["b.rate"])) == 36


@pytest.mark.parametrize("value", ["w * pre.rate", "w * prev(x)", "w * gate.learn", "w * post.sum(w)", "w * y"])
def test_delivery_knows_the_synapse_alone(value: str) -> None:
    with pytest.raises(CortexError, match="E218.*'deliver'"):
        verify(circuit("dense", rule=f"state x = 1\n  update x = prev(x)\n  deliver {value}"))


def test_a_synapse_that_shapes_is_said_to_and_no_form_of_an_engine() -> None:
    graph = circuit("dense", rule=SHAPED)
    assert "delivers (w + 0.1) * x * y / total" in explain_text(graph)
    with pytest.raises(NoProduct, match="in the place of the weight"):
        RuleTerms(graph, graph.projections[0])


def test_the_sum_is_that_of_the_weights_before_the_step() -> None:
    graph = circuit("dense", rule="increment w * (total / post.sum(w) - 1)")
    w = run(graph, "interpreter", steps=1)["W.w"].reshape(4, 5)
    first = graph.arrays["W.w"]
    assert np.allclose(w, first * 2 / first.sum(1, keepdims=True), rtol=1e-15)


def test_sums_that_are_read_at_a_gate_are_computed_at_this_gate() -> None:
    graph = circuit("dense", rule=GATED)
    assert summing_gate(graph.rules[0]) == "learn"
    assert summing_gate(circuit("dense").rules[0]) == ""
    assert np.array_equal(run(graph, "native")["W.w"], run(graph, "interpreter")["W.w"])


def test_a_sum_over_weights_is_named_non_local_and_no_form_of_an_engine() -> None:
    (found,) = read_sets(circuit("dense"))
    assert [read.text for read in found.nonlocal_reads] == ["post.sum(w)"]
    with pytest.raises(NoProduct, match="post.sum"):
        RuleTerms(circuit("dense"), circuit("dense").projections[0])


@pytest.mark.parametrize("increment", ["post.sum(v)", "pre.sum(w)", "prev(post.sum(w))", "post.sum(w, w)", "sum(w)"])
def test_no_other_sum_is_of_the_language(increment: str) -> None:
    with pytest.raises(CortexError, match="E11[02]|E219"):
        verify(parse_graph(TEXT.format(kind="dense", batch="", role="", n=4, rule=f"increment {increment}")))


@pytest.mark.parametrize("rule", ["increment pre.rate * post.sum(w)", SHAPED])
def test_neither_has_an_integer_form(rule: str) -> None:
    with pytest.raises(CortexError, match="E612 rule 'scaled' of projection 'W' has .* no integer form"):
        Quantise({}).apply(circuit("dense", rule=rule), Request())
