"""Currents without weights, which are messages, for who records them."""

import numpy as np
import pytest

import cortexc
from cortexc.compiler.backends.lowering import storage
from cortexc.compiler.ir import CortexError, parse_graph

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
  receive u = 0.5 * prev(u) + tanh(a)
  message u
rule r
  increment 0.125 * post.u * pre.rate
synapse p
  message rate
  port a
  rule r
synapse one
  message rate
  port a
  connectivity identity
synapse own
  message u
  port a
  connectivity identity
population input source 3
population out leaky 3
projection W p input -> out gate=learn
projection I one input -> out
projection J one input -> out delay=4
projection K own out -> out
"""
GRAPH = parse_graph(TEXT).with_(arrays={"W.w": np.ones((3, 3))})


def simulated(record, **given):
    inputs = {"input.value": np.random.default_rng(1).normal(size=(8, 3))}
    return cortexc.simulate(GRAPH, 8, inputs=inputs, gates={"learn": 1.0}, record=record, **given)


@pytest.mark.parametrize("near", [storage.NEAR, 1])
@pytest.mark.parametrize("seed", [1, (1, 2)])
def test_a_current_without_weights_is_the_message(near, seed, monkeypatch):
    monkeypatch.setattr(storage, "NEAR", near)
    names = ["I.current", "J.current", "K.current", "out.u", "input.rate"]
    expected = simulated(names, backend="interpreter", seed=seed)
    assert (expected["J.current"][4:] == expected["input.rate"][1:5]).all() and (expected["J.current"][:3] == 0.5).all()
    for granularity in ("network", "population"):
        found = simulated(names, granularity=granularity, seed=seed)
        assert all(np.array_equal(expected[name], found[name]) for name in names)


@pytest.mark.parametrize("backend", ["native", "interpreter"])
def test_no_optimiser_keeps_nothing(backend):
    with pytest.raises(CortexError, match="X151 unknown quantity in record 'W.none'"):
        simulated(["W.none"], backend=backend)


def test_finals_of_several_seeds_are_bound_again():
    half = cortexc.simulate(GRAPH, 4, inputs={"input.value": 1.0}, gates={"learn": 1.0}, seed=(1, 2), final=True).final
    assert half["out.u"].shape == (2, 3)
    again = GRAPH.with_(arrays={**GRAPH.arrays, **{name: half[name] for name in ("W.w", "out.u")}})
    for backend in ("native", "interpreter"):
        found = cortexc.simulate(again, 4, inputs={"input.value": 1.0}, gates={"learn": 1.0}, seed=(1, 2), final=True,
                                 backend=backend).final
        assert found["out.u"].shape == (2, 3) and not np.array_equal(found["W.w"], half["W.w"])
    with pytest.raises(CortexError, match="E241"):
        cortexc.simulate(again, 4, seed=3)
