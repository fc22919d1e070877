"""First values, written out by hand: the interpreter and the kernels share them, so they cannot check each other."""

from __future__ import annotations

import numpy as np
import pytest

from cortexc.compiler.backends.lowering import lower
from cortexc.compiler.backends.recording import current
from cortexc.compiler.backends.start import Start
from cortexc.compiler.ir import parse_graph

TEXT = """
graph begins
  dt 0.5
  batch seeds 2 samples 2
cell rate_unit
  port a
  parameter tau ms = 4
  parameter gain 1 = 3
  state u = dt / tau
  state v = gain * 2
  state s = 0.1
  receive u = prev(u) + a * gain
  receive v = prev(v)
  receive s = prev(s)
  message u
rule hebb
  parameter eta 1 = 0.5
  state trace = eta / 4
  optimiser low_pass(0.25)
  update trace = 0.5 * prev(trace) + prev(pre.u)
  increment eta * trace * post.u
synapse plastic
  message u
  port a
  connectivity masked
  role per_sample
  rule hebb
population lower rate_unit 2
  tau = 2
population upper rate_unit 3
projection W plastic lower -> upper
  eta = 2
"""
ARRAYS = {"W.w": np.arange(6.0).reshape(3, 2) + 1, "W.mask": np.array([[1, 0], [0, 1], [1, 1]]),
          "W.low_pass": np.full((3, 2), 0.125), "lower.s": np.array([[1.0, 2.0], [3.0, 4.0]]),
          "upper.gain": np.array([1.0, 2.0, 3.0])}
FIRST = {"lower.u": np.full((4, 2), 0.25), "upper.u": np.full((4, 3), 0.125), "lower.v": np.full((4, 2), 6.0),
         "upper.v": np.broadcast_to([2.0, 4.0, 6.0], (4, 3)),
         "lower.s": np.array([[1.0, 2.0], [1.0, 2.0], [3.0, 4.0], [3.0, 4.0]]), "upper.s": np.full((4, 3), 0.1),
         "W.w": np.broadcast_to([[1.0, 0.0], [0.0, 4.0], [5.0, 6.0]], (4, 3, 2)),
         "W.low_pass": np.full((4, 3, 2), 0.125), "W.trace": np.full((4, 3, 2), 0.5)}


@pytest.mark.parametrize("quantity", FIRST)
def test_first_values(quantity: str) -> None:
    graph = parse_graph(TEXT).with_(arrays=ARRAYS)
    program = lower(graph, frozenset(FIRST))
    group = program.select()
    memory = group.memory()
    lowered = current(program, quantity, lambda slot: group.view(memory, slot))
    for found in (Start(graph).values[quantity], lowered):
        np.testing.assert_array_equal(found, FIRST[quantity])
