"""How wide weights are, in the table of formats and for a learning engine."""

import numpy as np
import pytest

from cortexc.compiler.ir import parse_graph
from cortexc.compiler.passes.engine import engine_reasons
from cortexc.compiler.passes.widths import formats_of
from cortexc.hardware_maps import load_map

TEXT = """
graph widths
cell source
  input value
  send rate = fixed(value, 64, 127, 0.5)
  message rate
cell out
  port arriving
  state u = 0 : int24 0.0009765625
  receive u = fixed(0.5 * prev(u) + arriving, 1024, 8388607, 0.5)
  factor g = fixed(u, 8, 127, 0.5)
rule hebb
  noise rounding uniform
  increment 0.0625 * floor(2 * (post.g * pre.rate) + rounding)
synapse plastic
  message rate
  port arriving
  rule hebb
  unit 0.0625
  limits LIMITS
population A source 3
population B out 2
projection W plastic A -> B
"""


def graph(limits: str):
    return parse_graph(TEXT.replace("LIMITS", limits)).with_(arrays={"W.w": np.zeros((2, 3))})


@pytest.mark.parametrize("limits, shown", [
    ("0 15.9375", "uint8"), ("0 2", "uint6"), ("-7.9375 7.9375", "int8"), ("-8 7.9375", "int8"), ("-2 2", "int7"),
    ("-7.9375 0", "int8"), ("-2 0.5", "int6"), ("-0.5 2", "int7")])
def test_a_format_holds_every_weight_within_the_limits(limits, shown):
    assert str(dict(formats_of(graph(limits)))["W.w"][0]) == f"{shown} * 2**-4"


@pytest.mark.parametrize("limits, bits", [("0 16", 9), ("-16 0", 9), ("-15.9375 1", 9), ("-15.9375 15.9375", 9)])
def test_an_engine_is_told_weights_that_are_too_wide(limits, bits):
    assert any(f"weight of 'W' has {bits} bits" in reason for reason in engine_reasons(graph(limits), load_map("loihi2")))


@pytest.mark.parametrize("one, other", [("0 15.9375", "-15.9375 0"), ("0 1", "-1 0")])
def test_excitatory_and_inhibitory_weights_are_judged_alike(one, other):
    assert engine_reasons(graph(one), load_map("loihi2")) == engine_reasons(graph(other), load_map("loihi2"))
