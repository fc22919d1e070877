"""`cortexc.to_nir`: what comes back computes the same, and what NIR cannot say is refused."""
from __future__ import annotations

import numpy as np
import pytest

import cortexc
from cortexc.compiler.ir import CortexError, show_graph

nir = pytest.importorskip("nir")
from nir_circuits import ARRIVALS, CURRENTS, DT, MAPS, RESETS, random_network  # noqa: E402

OWN = """
graph own
  dt 0.5
cell source
  input value
  send out = value
  message out
cell lif
  port arriving
  parameter tau ms = 5
  parameter r 1 = 2
  parameter v_leak 1 = 0
  parameter v_threshold 1 = 0.5
  parameter v_reset 1 = 0
  state v = 0
  receive dv/dt = (v_leak - v + r * arriving) / tau
  spike when v > v_threshold
  reset v = v_reset
synapse forward
  message out
  port arriving
synapse own
  message spike
  port arriving
population input source 2
population lower lif 3
population upper lif 2
projection W forward input -> lower
projection V own lower -> upper delay=3
projection R own upper -> upper
output spikes = upper.spike
"""
DRAW = np.random.default_rng(2)
GRAPH = cortexc.parse_graph(OWN).with_(arrays={"W.w": DRAW.normal(size=(3, 2)), "V.w": DRAW.normal(size=(2, 3)) + 1,
                                               "R.w": -np.eye(2)})


def returned(graph, folder):
    """Through a file, which tells everything itself."""
    nir.write(folder / "out.nir", cortexc.to_nir(graph))
    return cortexc.from_nir(folder / "out.nir")


def digest(graph):
    return show_graph(graph), {name: np.asarray(value).tobytes() for name, value in graph.arrays.items()}


@pytest.mark.parametrize("seed", range(10))
def test_random_networks_come_back(seed, tmp_path):
    network = random_network(seed)
    graph = cortexc.from_nir(network, dt=DT, reset=RESETS[seed % 3], current=CURRENTS[seed // 2 % 2],
                             arrival=ARRIVALS[seed // 4 % 2])
    again = returned(graph, tmp_path)
    n = int(network.nodes["input"].input_type["input"][0])
    inputs = {"input.value": np.random.default_rng(seed).normal(size=(50, n))}
    (before, after) = (cortexc.simulate(g, 50, inputs=inputs, record="output.out", backend="interpreter") for g in (graph, again))
    np.testing.assert_allclose(after["output.out"], before["output.out"], rtol=1e-9, atol=1e-9)
    assert digest(returned(again, tmp_path)) == digest(again)


def test_a_graph_of_ones_own_goes_out(tmp_path):
    network = cortexc.to_nir(GRAPH)
    kinds = {name: type(node).__name__ for name, node in network.nodes.items()}
    assert kinds == {"input": "Input", "lower": "LIF", "upper": "LIF", "W_weights": "Linear", "V_delay": "Delay",
                     "V_weights": "Linear", "R_weights": "Linear", "spikes_output": "Output"}
    assert network.nodes["lower"].tau.tolist() == [0.005] * 3 and network.nodes["V_delay"].delay.tolist() == [0.0015] * 3
    inputs = {"input.value": np.random.default_rng(4).normal(size=(100, 2)) + 0.5}
    before = cortexc.simulate(GRAPH, 100, inputs=inputs, record="upper.spike", backend="interpreter")["upper.spike"]
    after = cortexc.simulate(returned(GRAPH, tmp_path), 100, inputs=inputs, record="spikes_output.out", backend="interpreter")
    np.testing.assert_array_equal(after["spikes_output.out"], before)
    assert before.sum() > 10


@pytest.mark.parametrize("kind, node", [("square", "Conv2d"), ("axes", "Affine"), ("sum", "Linear")])
def test_maps_go_out(kind, node, tmp_path):
    shape, maps = MAPS[kind]
    network = nir.NIRGraph({"input": nir.Input(np.array(shape)), "maps": maps}, [("input", "maps")], type_check=False)
    graph = cortexc.from_nir(network, dt=DT)
    assert type(cortexc.to_nir(graph).nodes["maps"]).__name__ == node
    inputs = {"input.value": np.random.default_rng(1).normal(size=(3, np.prod(shape)))}
    before, after = (cortexc.simulate(g, 3, inputs=inputs, record="maps.out", backend="interpreter")["maps.out"]
                     for g in (graph, returned(graph, tmp_path)))
    np.testing.assert_allclose(after, before, rtol=1e-12)


def test_names_that_are_taken_stay(tmp_path):
    taken = GRAPH.with_(populations=(*GRAPH.populations, GRAPH.population("lower").__class__("W_weights", "lif", 1)))
    nodes = cortexc.to_nir(taken).nodes
    assert type(nodes["W_weights"]).__name__ == "LIF" and type(nodes["W_weights_"]).__name__ == "Linear"


def edited(before, after):
    assert before in OWN
    return cortexc.parse_graph(OWN.replace(before, after)).with_(arrays=GRAPH.arrays)


def mapped(bias):
    shape, maps = MAPS["square"]
    graph = cortexc.from_nir(nir.NIRGraph({"input": nir.Input(np.array(shape)), "maps": maps}, [("input", "maps")],
                                          type_check=False), dt=DT)
    return graph.with_(arrays={**graph.arrays, "maps.bias": bias})


def twice_biased():
    n = np.array([2])
    graph = cortexc.from_nir(nir.NIRGraph({"a": nir.Input(n), "b": nir.Input(n), "fc": nir.Affine(np.eye(2), np.ones(2))},
                                          [("a", "fc")], type_check=False), dt=DT)
    more = graph.projection("a_to_fc").__class__("more", "out_dense", "b", "fc", 0)
    return graph.with_(projections=(*graph.projections, more), arrays={**graph.arrays, "more.w": np.eye(2)})


def test_the_order_that_needs_no_delays_is_told():
    n = np.array([2])
    lif = {name: nir.LIF(*np.ones((4, 2))) for name in "abc"}
    network = nir.NIRGraph({"input": nir.Input(n), **lif, "output": nir.Output(n)},
                           [("input", "a"), ("a", "b"), ("b", "c"), ("c", "output")])
    for arrival in ARRIVALS:
        again = cortexc.to_nir(cortexc.from_nir(network, dt=DT, reset="zero", arrival=arrival))
        assert list(again.nodes) == list(network.nodes) and again.metadata["cortexc.arrival"] == arrival


RULE = "rule hebb\n  increment post.spike * pre.out\nsynapse forward\n  rule hebb\n"
REFUSED = {
    "a rule": (edited("synapse forward\n", RULE), "rule 'hebb' of projection 'W'"),
    "another cell": (edited("receive dv/dt = (v_leak - v", "receive dv/dt = (v_leak - 2 * v"), "cell 'lif'"),
    "seeds": (GRAPH.with_(seeds=2), "a batch axis"),
    "another output": (edited("spikes = upper.spike", "spikes = upper.v"), "output 'spikes'"),
    "a bias that differs within a map": (mapped(np.arange(27.0)), "'input_to_maps', whose bias"),
    "two projections before a bias": (twice_biased(), "population 'fc', whose bias comes after 2 projections"),
    "a first value": (GRAPH.with_(arrays={**GRAPH.arrays, "lower.v": np.ones(3)}), "first value of 'lower.v'"),
    "two resets": (edited("population upper lif 2", OWN[OWN.index("cell lif"):OWN.index("synapse forward")].replace(
        "cell lif", "cell other").replace("v = v_reset", "v = 0") + "population upper other 2"), "cells differ in 'reset'")}


@pytest.mark.parametrize("graph, message", REFUSED.values(), ids=REFUSED)
def test_what_nir_cannot_say_is_refused(graph, message):
    with pytest.raises(CortexError, match=f"N109 .*{message}"):
        cortexc.to_nir(graph)
