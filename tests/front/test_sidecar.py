"""A graph beside the nodes of a NIR file: it comes back whole, other tools see the circuit as it stands."""

from __future__ import annotations

import numpy as np
import pytest

import cortexc
from cortexc import CortexError

nir = pytest.importorskip("nir")

TEXT = """
graph learning
  dt 0.5
  gate learn
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
  parameter decay = exp(-dt / tau)
  state v = 0
  state trace = 0
  receive dv/dt = (v_leak - v + r * arriving) / tau
  spike when v > v_threshold
  reset v = v_reset
  receive trace = decay * prev(trace) + spike
  message trace
rule stdp
  parameter eta 1 = 0.05
  state x = 0
  update x = 0.9 * prev(x) + pre.out
  increment gate.learn * eta * (post.trace * x - 0.1 * w)
synapse plastic
  message out
  port arriving
  limits 0 2
  rule stdp
synapse fixed
  message spike
  port arriving
synapse feedback
  message spike
  port arriving
population input source 3
population lower lif 4
population upper lif 2
projection W plastic input -> lower gate=learn
projection V fixed lower -> upper
projection B feedback upper -> lower
mirror B = V : transpose
output spikes = upper.spike
"""
DRAW = np.random.default_rng(3)
GRAPH = cortexc.parse_graph(TEXT).with_(arrays={"W.w": DRAW.uniform(0, 2, (4, 3)), "V.w": DRAW.uniform(0, 1, (2, 4)),
                                                "B.w": DRAW.uniform(0, 1, (4, 2)), "lower.trace": DRAW.uniform(0, 1, 4)})
X = DRAW.uniform(0, 1, (60, 3))


@pytest.fixture
def written(tmp_path):
    path = tmp_path / "net.nir"
    nir.write(path, cortexc.to_nir(GRAPH, plasticity="sidecar"))
    return path


def run(graph, **gates):
    return cortexc.simulate(graph, inputs={"input.value": X}, gates=gates, record=["upper.spike"], final=True)


def test_the_whole_graph_comes_back_and_learns_the_same(written) -> None:
    graph = cortexc.from_nir(written)
    assert graph == GRAPH and graph.arrays.keys() == GRAPH.arrays.keys()
    assert all(np.array_equal(graph.arrays[name], array) for name, array in GRAPH.arrays.items())
    one, two = run(graph, learn=1.0), run(GRAPH, learn=1.0)
    assert np.array_equal(one["upper.spike"], two["upper.spike"]) and one["upper.spike"].sum() > 0
    assert np.array_equal(one.final["W.w"], two.final["W.w"]) and (one.final["W.w"] != GRAPH.arrays["W.w"]).any()


def test_other_tools_see_the_circuit_as_it_stands(written) -> None:
    nodes = nir.read(written)
    assert np.array_equal(nodes.nodes["W_weights"].weight, GRAPH.arrays["W.w"])
    graph = cortexc.from_nir(written, plasticity="ignore")
    assert not graph.rules and not graph.mirrors and graph != GRAPH
    still = GRAPH.with_(mirrors=())
    spikes = cortexc.simulate(graph, inputs={"input.value": X}, record=["upper.spike"])["upper.spike"]
    assert np.array_equal(spikes, run(still)["upper.spike"]) and spikes.sum() > 0


def test_what_they_do_not_see_is_said(written) -> None:
    said = ["rule 'stdp' of projection 'W': its weights stay as they are", "mirror 'B' of 'V': weights stay as they are",
            "gate 'learn'", "limits and sign of the weights of projection 'W'"]
    assert cortexc.nir_losses(GRAPH) == said
    assert nir.read(written).metadata["cortexc.losses"] == "\n".join(said)
    assert cortexc.nir_losses(cortexc.from_nir(written, plasticity="ignore")) == []


@pytest.mark.parametrize("change", ["weights", "edges", "node"])
def test_nodes_that_were_changed_are_noticed(written, change) -> None:
    network = nir.read(written)
    if change == "weights":
        network.nodes["W_weights"].weight[0, 0] += 1e-9
    elif change == "edges":
        network.edges.append(("upper", "upper"))
    else:
        network.nodes["more"] = nir.Output(np.array([2]))
    with pytest.raises(CortexError, match="N110 nodes or edges have been changed"):
        cortexc.from_nir(network)
    if change == "weights":
        assert not cortexc.from_nir(network, plasticity="ignore").rules


@pytest.mark.parametrize(("change", "code"), [
    ({"cortexc.graph": 3.0}, "N102"), ({"cortexc.graph": "graph x\ncell evil\n  state u = __import__('os')"}, "E"),
    ({"cortexc.arrays": {"W.w": np.zeros((2, 2))}}, "E241"), ({"cortexc.arrays": 1.0}, "N102")])
def test_broken_metadata_has_a_code(written, change, code) -> None:
    network = nir.read(written)
    network.metadata |= change
    with pytest.raises(CortexError) as caught:
        cortexc.from_nir(network)
    assert caught.value.code.startswith(code)


def test_words_are_checked(written) -> None:
    with pytest.raises(CortexError, match="N105"):
        cortexc.from_nir(written, plasticity="drop")
    with pytest.raises(CortexError, match="N105"):
        cortexc.to_nir(GRAPH, plasticity="drop")
    with pytest.raises(CortexError, match="N109"):
        cortexc.to_nir(GRAPH)


def test_the_commands_take_a_file(written, tmp_path, capsys) -> None:
    np.savez(tmp_path / "x.npz", x=X)
    said = [f'data.inputs={{"input.value"="{tmp_path}/x.npz:x"}}', "run.backend=native", 'protocol.train_gates=["learn"]']
    results = cortexc.run(cortexc.load(written, said), tmp_path / "run")
    run = cortexc.open_run(tmp_path / "run")
    assert results["steps"] > 0 and (run.arrays["W.w"].reshape(4, 3) != GRAPH.arrays["W.w"]).any()
    with pytest.raises(CortexError, match="X112 .*'dtt'.*Did you mean 'dt'"):
        cortexc.run(cortexc.load(written, [*said, "model.dtt=1"]))
    with pytest.raises(CortexError, match="X110"):
        cortexc.run(cortexc.load({"model": {"circuit": str(tmp_path / "none.nir")}}, said))
    text = tmp_path / "net.ir"
    text.write_text(TEXT)
    np.savez(tmp_path / "w.npz", **GRAPH.arrays)
    other = cortexc.run(cortexc.load(text, [*said, f"model.arrays={tmp_path}/w.npz"]), tmp_path / "other")
    assert other["weights_sha256"] == results["weights_sha256"]
