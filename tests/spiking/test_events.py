"""Dense matrices between cells that spike: what is left out of products and of learning would have added nothing."""

import numpy as np
import pytest

from cortexc import simulate
from cortexc.compiler.backends.lowering import lower
from cortexc.compiler.backends.native import Native
from cortexc.compiler.ir import parse, parse_graph
from cortexc.compiler.ir.protocol import Phase, Protocol
from cortexc.compiler.passes import Request, Target, run_pipeline
from cortexc.compiler.passes.events import moves_at_events, waits_for

SOURCES, CELLS, STEPS = 11, 9, 300
TEXT = """
graph events
  dt 1
  gate learn
  gate scale
cell source
  input rate
  noise u uniform
  state x = 0
  state spike = 0
  send spike = where(u < rate, 1, 0)
  send x = 0.8 * prev(x) + spike
  message spike
  message x
cell lif
  port syn
  state v = 0
  state y = 0
  receive dv/dt = (syn - v) / 5
  spike when v >= 1
  reset v = 0
  receive y = 0.9 * prev(y) + spike
  factor paired = 0.5 * spike * prev(y)
  message spike
rule timing
  increment {increment}
synapse plastic
  message spike
  port syn
  limits 0 4
  rule timing
population a source {sources}
population b lif {cells}
projection W plastic a -> b gate=learn
output spike = b.spike
"""
PAIRED = "0.1 * pre.x * post.spike - 0.1 * pre.spike * prev(post.y)"
SUMMED = PAIRED + " + where(gate.scale > 0, w * (20 / post.sum(w) - 1), 0)"
SCALED = PAIRED + " + gate.scale * (0.9 - 1) * w"


def graph(increment):
    return parse_graph(TEXT.format(increment=increment, sources=SOURCES, cells=CELLS)).with_(
        arrays={"W.w": np.random.default_rng(1).uniform(0, 4, (CELLS, SOURCES))})


def run(circuit, **where):
    gates = {"learn": np.arange(STEPS) % 50 > 5, "scale": np.arange(STEPS) % 40 == 39}
    return simulate(circuit, STEPS, inputs={"a.rate": 0.2}, gates=gates, record=["b.spike", "b.v", "W.w"], **where)


@pytest.mark.parametrize("increment", [PAIRED, SCALED, "0.1 * pre.x * post.spike", "-0.1 * pre.spike * prev(post.y)",
                                       "0.1 * pre.x * post.paired",
                                       SUMMED,
                                       "0.1 * pre.x * post.spike * (4 - w) - 0.01 * w * pre.spike"])
def test_bits_of_the_interpreter(increment):
    circuit = graph(increment)
    assert moves_at_events(circuit, circuit.projection("W"))
    found, expected = run(circuit), run(circuit, backend="interpreter")
    assert expected["b.spike"].sum() > 20 and len(np.unique(expected["W.w"][:, 0, 0, 0])) > 5
    for name in expected:
        assert (found[name] == expected[name]).all(), name


@pytest.mark.parametrize("increment", [PAIRED + " - 0.001 * w", "0.1 * pre.x * post.y", "gate.scale * pre.x * post.y"])
def test_what_moves_at_any_time_is_not_left_out(increment):
    circuit = graph(increment)
    assert not moves_at_events(circuit, circuit.projection("W"))
    assert (run(circuit)["W.w"] == run(circuit, backend="interpreter")["W.w"]).all()


@pytest.mark.parametrize("increment", [PAIRED, SUMMED])
def test_silent_cells_are_not_visited(increment):
    """A weight that is not finite shows where a kernel has been. Sums that no step has made yet are no reason to."""
    circuit = graph(increment)
    work = run_pipeline(circuit, Request(), Target("network")).graph
    protocol = Protocol((Phase("run", 1, 20, gates=(("learn", (1.0,)),)),), ("run",))
    native = Native(lower(work), protocol, np.zeros((1, SOURCES)), [1])
    native.memory[native.group.offsets["W.w"]:][:native.program.slots.sizes["W.w"]] = np.nan
    native.run()
    assert (native.value("W.current") == 0).all() and (native.value("b.v") == 0).all()


def test_what_an_increment_waits_for():
    events = {"pre.spike", "post.spike"}

    def waiting(text):
        return waits_for(parse(text), events.__contains__)

    assert waiting(SCALED) == {"post.spike", "pre.spike", "gate.scale"}
    assert waiting("gate.scale * pre.spike * w") == {"pre.spike"}
    assert waiting("-(post.spike / post.y)") == {"post.spike"}
    assert waiting("post.spike + w") is None and waiting("w / post.spike") is None
