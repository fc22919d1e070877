"""Sums of increments under `legalise`: what is bound of them, and projections without gates."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from cortexc.compiler.backends.interpreter import Interpreter
from cortexc.compiler.ir import parse_graph
from cortexc.compiler.passes import Request, run_passes
from cortexc.compiler.passes.legalise import CREDIT, Legalise

TEXT = """
graph case
  gate learn
cell source
  input value
  state rate = 0.5
  send rate = value
  message rate
cell leaky
  port a
  state u = 0.1
  receive u = 0.5 * prev(u) + a
  message u
rule r
  increment 0.125 * post.u * pre.rate
  optimiser {optimiser}
synapse p
  message rate
  port a
  rule r
population input source 2
population out leaky 2
projection W p input -> out {gates}
"""


def legal(optimiser: str, gates: str, credit: str, bound: np.ndarray | None):
    kind = optimiser.split("(")[0]
    arrays = {"W.w": np.full((2, 2), 0.5)} | ({} if bound is None else {f"W.{kind}": bound})
    graph = parse_graph(TEXT.format(optimiser=optimiser, gates=gates)).with_(arrays=arrays)
    return graph, run_passes(graph, [Legalise("loihi2", credit)], Request()).graph


@pytest.mark.parametrize("optimiser", ["accumulate", "clipped(0.5)", "adam(0.01, 0.9, 0.99, 1e-4)", "low_pass(0.5)"])
def test_whatever_is_bound_and_whichever_gates_there_are(optimiser):
    for gates, credit, bound in itertools.product(("", "gate=learn", "apply=learn", "gate=learn apply=learn"), CREDIT,
                                                  (None, np.zeros((2, 2)), np.eye(2))):
        _, graph = legal(optimiser, gates, credit, bound)
        if bound is not None and bound.any():
            kept = [name for name in graph.arrays if name in ("W.accumulate", "W.low_pass")]
            assert len(kept) == 1 and np.array_equal(graph.arrays[kept[0]], bound)


@pytest.mark.parametrize("gates, bound", [("", None), ("", np.eye(2)), ("gate=learn", np.eye(2)), ("apply=learn", np.eye(2))])
def test_a_sum_is_applied_as_before(gates, bound):
    runs = [Interpreter(graph) for graph in legal("accumulate", gates, "held", bound)]
    for learn in (0.0, 1.0, 1.0):
        before, after = (run.step({"input.value": np.array([1.0, -0.5])}, {"learn": learn}, {})["W.w"] for run in runs)
        assert np.abs(before - after).max() < 1e-12
    assert np.abs(before - 0.5).max() > 0.1
