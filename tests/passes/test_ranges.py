"""Which values quantities can take, and what follows: whether a message is a spike, however it is written."""

from __future__ import annotations

import math

import numpy as np
import pytest

from cortexc.compiler.ir import parse_graph
from cortexc.compiler.ir.expressions import Name
from cortexc.compiler.mapping.accounting import account
from cortexc.compiler.passes.ranges import Ranges, value_ranges
from cortexc.hardware_maps import load_map

TEXT = """
graph g
cell c
  port d @ d
  parameter gain 1 = 0.5
  input drive
  noise jitter uniform
  state v = 0
  state spike = 0
  state q = INITIAL
  send spike = where(prev(v) > 1, 1, 0)
  send q = EXPRESSION
  receive v = where(spike > 0, 0, 0.9 * prev(v)) + d
  message q
synapse s
  message q
  port d
population p c 2
projection W s p -> p
"""


def circuit(expression: str, initial: str = "0"):
    return parse_graph(TEXT.replace("EXPRESSION", expression).replace("INITIAL", initial)).with_(
        arrays={"W.w": np.zeros((2, 2))})


def ranges(expression: str, initial: str = "0") -> Ranges:
    return value_ranges(circuit(expression, initial), "p")


BINARY = ["prev(spike)", "where(prev(spike) > 0, 1, 0)", "prev(v) > 1", "1 - spike", "spike * prev(spike)",
          "max(prev(q), spike)", "clip(2 * spike, 0, 1)", "prev(spike) and spike", "d_relu(prev(v))", "spike / 1",
          "where(prev(v) > 1, spike, 0)", "abs(-spike)", "min(spike, 5)", "where(1 > 0, spike, 7)", "spike > 0.5"]
GRADED = ["spike + prev(spike)", "2 * spike", "prev(v)", "drive", "0.5 * prev(q) + spike", "jitter", "gain * spike",
          "-spike", "where(spike > 0, prev(v), 0)", "tanh(prev(v))"]


@pytest.mark.parametrize("expression", BINARY)
def test_a_spike_is_known_by_its_values(expression: str) -> None:
    assert ranges(expression).is_binary("q")
    assert account(circuit(expression), load_map("loihi1")).projections["W"].message_bits == 1


@pytest.mark.parametrize("expression", GRADED)
def test_what_has_other_values_is_graded(expression: str) -> None:
    assert not ranges(expression).is_binary("q")
    assert account(circuit(expression), load_map("loihi1")).projections["W"].message_bits > 1


def test_a_spike_that_begins_as_another_number_is_none() -> None:
    assert ranges("max(prev(q), spike)").is_binary("q") and not ranges("max(prev(q), spike)", "0.5").is_binary("q")
    bound = circuit("prev(spike)").with_(arrays={"p.spike": np.array([0.0, 3.0])})
    assert not value_ranges(bound, "p").is_binary("q")


@pytest.mark.parametrize(("expression", "low", "high"), [
    ("0.875 * prev(q) + spike", 0, 8), ("prev(q) - prev(q) / 8 + spike", 0, 8), ("1.5 * prev(q) + spike", 0, math.inf),
    ("prev(q) + spike", 0, math.inf), ("prev(q) - spike", -math.inf, 0), ("tanh(prev(v)) - 2", -3, -1),
    ("where(spike > 0, 0.5 * prev(q), 0.75 * prev(q)) + spike", 0, 4), ("spike - jitter", -1, 1),
    ("exp(-0.5 * spike)", math.exp(-0.5), 1), ("clip(prev(v), -2, 3)", -2, 3), ("prev(v) * prev(v)", -math.inf, math.inf)])
def test_intervals_hold_over_all_steps(expression: str, low: float, high: float) -> None:
    found = ranges(expression).of(Name("q"))
    assert (found.low, found.high) == pytest.approx((low, high))


def test_an_alternating_trace_has_a_bound_that_contains_its_values() -> None:
    found, value = ranges("-0.5 * prev(q) + 3 * spike").of(Name("q")), 0.0
    for spike in np.random.default_rng(1).integers(0, 2, 500):
        value = -0.5 * value + 3 * spike
        assert found.low <= value <= found.high
    assert found.high < 5 and found.low > -4


def test_a_comparison_of_a_spike_is_no_threshold_of_its_own() -> None:
    found = [account(circuit(text), load_map("loihi1")).populations["p"].thresholds
             for text in ("prev(spike)", "where(prev(spike) > 0, 1, 0)", "prev(spike) > 0")]
    assert found[0] == found[1] == found[2] and len(found[0]) == 1


@pytest.mark.parametrize("function", ["tanh", "relu", "linear", "sqrt", "floor", "abs"])
def test_a_function_keeps_that_its_argument_is_not_negative(function: str) -> None:
    assert ranges(f"{function}(abs(drive))").of(Name("q")).never_negative
