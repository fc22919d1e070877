"""`post.sum(w)`: the sum over the weights that end in a cell, on every kind of connectivity and every backend."""

from __future__ import annotations

import numpy as np
import pytest

from compiler.backends.lowering.factors import summing_gate
from compiler.experiments.simulation import simulate
from compiler.ir import CortexError, Graph, parse_graph, show_graph, verify
from compiler.passes.read_sets import read_sets
from compiler.passes.rule_terms import NoProduct, RuleTerms

TEXT = """graph normalised
  dt 1
  {batch}
  gate learn
cell sender
  input value
  send rate = value
  message rate
cell receiver
  port arriving
  state rate = 0
  receive rate = 0.5 * prev(rate) + arriving
rule scaled
  parameter total 1 = 2
  increment {increment}
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
INCREMENT = "0.01 * pre.rate * post.rate + w * (total / post.sum(w) - 1)"
GATED = "0.01 * pre.rate + where(gate.learn > 0, w * (total / post.sum(w) - 1), 0)"


def circuit(kind: str, batch: str = "", role: str = "", increment: str = INCREMENT) -> Graph:
    n, g = 5 if kind == "one_to_one" else 4, np.random.default_rng(3)
    graph = parse_graph(TEXT.format(kind=kind, batch=batch, role=role, n=n, increment=increment))
    if kind == "sparse":
        pre, post = g.integers(0, 5, 30), g.integers(0, 4, 30)
        return graph.with_(arrays={"W.pre": pre, "W.post": post, "W.w": g.uniform(0.1, 1, 30)})
    shape = (5,) if kind == "one_to_one" else (4, 5)
    arrays = {"W.w": g.uniform(0.1, 1.0, shape)}
    return graph.with_(arrays=arrays | ({"W.mask": (g.random(shape) < 0.7) * 1.0} if kind == "masked" else {}))


def weights(graph: Graph, backend: str, granularity: str = "network", steps: int = 9) -> np.ndarray:
    values = np.random.default_rng(4).random((steps, 5))
    run = simulate(graph, steps, inputs={"a.value": values}, gates={"learn": 1.0}, record=["W.w"], backend=backend,
                   granularity=granularity)
    return run["W.w"]


@pytest.mark.parametrize("batch, role", [("", ""), ("batch seeds 2 samples 1", "role per_seed"), ("batch seeds 2 samples 3", "role per_sample")])
@pytest.mark.parametrize("kind", ["dense", "masked", "sparse", "one_to_one"])
def test_the_backends_have_the_same_bits(kind: str, batch: str, role: str) -> None:
    graph = circuit(kind, batch, role)
    verify(graph)
    assert parse_graph(show_graph(graph)) == graph
    expected = weights(graph, "interpreter")
    for granularity in ("network", "population"):
        found = weights(graph, "native", granularity)
        assert np.array_equal(found.view(np.int64), expected.view(np.int64)), granularity
    assert np.ptp(expected, axis=0).max() > 0.01


def test_the_sum_is_that_of_the_weights_before_the_step() -> None:
    graph = circuit("dense", increment="w * (total / post.sum(w) - 1)")
    w = weights(graph, "interpreter", steps=1).reshape(4, 5)
    first = graph.arrays["W.w"]
    assert np.allclose(w, first * 2 / first.sum(1, keepdims=True), rtol=1e-15)


def test_sums_that_are_read_at_a_gate_are_computed_at_this_gate() -> None:
    graph = circuit("dense", increment=GATED)
    assert summing_gate(graph.rules[0]) == "learn"
    assert summing_gate(circuit("dense").rules[0]) == ""
    assert np.array_equal(weights(graph, "native"), weights(graph, "interpreter"))


def test_a_sum_over_weights_is_named_non_local_and_no_form_of_an_engine() -> None:
    (found,) = read_sets(circuit("dense"))
    assert [read.text for read in found.nonlocal_reads] == ["post.sum(w)"]
    with pytest.raises(NoProduct, match="post.sum"):
        RuleTerms(circuit("dense"), circuit("dense").projections[0])


@pytest.mark.parametrize("increment", ["post.sum(v)", "pre.sum(w)", "prev(post.sum(w))", "post.sum(w, w)", "sum(w)"])
def test_no_other_sum_is_of_the_language(increment: str) -> None:
    with pytest.raises(CortexError, match="E11[02]|E219"):
        verify(parse_graph(TEXT.format(kind="dense", batch="", role="", n=4, increment=increment)))
