"""Networks built in Python: the graph that the same text in the language gives, and what is refused."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

import cortexc
from cortexc import CortexError, Network

LEAKY = "port dendrite; parameter tau ms = 5; state u = 0\nreceive du/dt = (dendrite - u) / tau  # a leak\nmessage u"
TEXT = """
graph net
  dt 0.1
  gate learn
cell leaky
  port dendrite
  parameter tau ms = 5
  state u = 0
  receive du/dt = (dendrite - u) / tau
  message u
cell source
  input value
  send rate = value
  message rate
rule stimulus_out_rule
  parameter eta 1/ms = 0
  increment dt * eta * post.u * pre.rate
synapse stimulus_out_synapse
  message rate
  port dendrite
  limits -1 1
  rule stimulus_out_rule
synapse out_out_synapse
  message u
  port dendrite
  connectivity sparse
population stimulus source 3
population out leaky 2 area=L1
projection stimulus_out stimulus_out_synapse stimulus -> out delay=1 gate=learn
  eta = 0.1
projection out_out out_out_synapse out -> out
  connect fixed_indegree 1 seed=4
  w = normal(0.1, 0.02)
  delay = 0.3 ms
"""


def network() -> Network:
    net = Network("net", dt=0.1)
    leaky = net.cell("leaky", LEAKY)
    net.input("stimulus", 3)
    net.add("out", 2, leaky, area="L1", tau=[4, 6])
    net.connect("stimulus", "out", w=np.full((2, 3), 0.5), gate="learn", limits=(-1, 1), eta=0.1,
                rule=["parameter eta 1/ms = 0", "increment dt * eta * post.u * pre.rate"])
    net.connect("out", "out", indegree=1, seed=4, w="normal(0.1, 0.02)", delay="0.3 ms")
    return net


def test_the_graph_is_that_of_the_text() -> None:
    net = network()
    assert net.graph == cortexc.parse_graph(TEXT)
    assert cortexc.parse_graph(net.text) == net.graph
    assert {name: a.tolist() for name, a in net.graph.arrays.items()} == {
        "out.tau": [4, 6], "stimulus_out.w": [[0.5] * 3] * 2}
    assert repr(net) == "Network('net': 2 populations, 2 projections)"


def test_it_runs_with_numbers_in_and_arrays_out() -> None:
    found = cortexc.simulate(network().graph, 50, inputs={"stimulus.value": [1.0, 2.0, 3.0]}, gates={"learn": 1.0},
                             record=["out.u", "stimulus_out.w"])
    assert found["out.u"].shape == (50, 1, 2) and 0 < found["out.u"][-1, 0, 1] < found["out.u"][-1, 0, 0]
    assert (found["stimulus_out.w"][-1] > 0.5).all()


def test_cells_and_rules_of_the_library() -> None:
    net = Network(dt=0.1)
    net.add("exc", 4, "library.lif_exp", bias="normal(600, 10)", v=[-70.0, -69, -68, -67])
    net.add("inh", 2, "library.lif_exp")
    net.connect("exc", "inh", arrays={"pre": [0, 3], "post": [1, 1]}, w=20.0, port="excitatory",
                rule="library.stdp_additive", w_max=80)
    net.connect("inh", "exc", p=0.5, w="uniform(-2, -1)", port="inhibitory", delay=15)
    graph = net.graph
    assert [c.name for c in graph.cells] == ["lif_exp"] and [r.name for r in graph.rules] == ["stdp_additive"]
    assert graph.projection("exc_inh").parameters == (("w_max", 80.0),) and graph.projection("inh_exc").delay == 15
    found = cortexc.simulate(graph, 400, record=["exc.spike", "exc_inh.w"])
    assert found["exc.spike"].sum() > 0 and found["exc_inh.w"].shape == (400, 1, 2)


def test_mirrors_and_classes_in_full() -> None:
    net = Network()
    net.cell("rate", "port a; port b; state r = 0; send r = 0.5 * prev(r) + 0.1; message r; message r2; send r2 = prev(r)")
    net.add("one", 2, "rate")
    net.add("two", 3, "rate")
    net.synapse("plain", "message r; port b; sign non_negative")
    net.connect("one", "two", name="W", synapse="plain", w=0.2)
    net.connect("two", "one", name="B", message="r2", port="a", w=np.zeros((2, 3)), sign="free")
    net.mirror("B", "W", "transpose", after=True)
    assert cortexc.simulate(net.graph, 2, record="B.w")["B.w"][-1].ravel().tolist() == [0.2] * 6


def test_weights_of_a_matrix_are_drawn_the_same_everywhere_and_within_limits() -> None:
    net = Network()
    net.cell("leaky", LEAKY)
    net.input("x", 100)
    net.add("y", 50, "leaky")
    net.connect("x", "y", w="normal(0.5, 0.5)", sign="non_negative")
    graph = net.graph
    wanted = cortexc.with_drawn(graph).arrays["x_y.w"]
    assert wanted.shape == (50, 100) and wanted.min() == 0.0 and abs(wanted.mean() - 0.54) < 0.02
    for backend in ("interpreter", "native"):
        assert np.array_equal(cortexc.simulate(graph, 1, record="x_y.w", backend=backend)["x_y.w"][0, 0], wanted)


@pytest.mark.parametrize(("call", "code"), [
    (lambda n: n.add("a b", 2, "leaky"), "B101"), (lambda n: n.add("x\ncell y", 2, "leaky"), "B101"),
    (lambda n: n.add("x", 2, "leaky", tau="3\ncell evil"), "B101"), (lambda n: n.cell("c", ["state u = 0\nx"]), "E101"),
    (lambda n: n.connect("stimulus", "out", name="z", w="1 # no"), "B101"),
    (lambda n: n.add("out", 2, "leaky"), "B102"), (lambda n: n.cell("leaky", LEAKY), "B102"),
    (lambda n: n.add("stimulus_out", 2, "leaky"), "B102"), (lambda n: n.connect("stimulus", "out"), "B102"),
    (lambda n: n.add("x", 2, "leeky"), "B103"), (lambda n: n.connect("stimulus", "outt"), "B103"),
    (lambda n: n.connect("stimulus", "out", name="z", rule="hebb"), "B103"),
    (lambda n: n.connect("stimulus", "out", name="z", synapse="hebb"), "B103"),
    (lambda n: n.connect("stimulus", "out", name="z", message="spike"), "B103"),
    (lambda n: n.connect("out", "stimulus"), "B104"),
    (lambda n: n.connect("out", "out", name="z", p=0.1, indegree=1), "B105"),
    (lambda n: n.connect("out", "out", name="z", multapses=True), "B105"),
    (lambda n: n.connect("out", "out", name="z", synapse="out_out_synapse", sign="free"), "B105"),
    (lambda n: n.add("x", 2.5, "leaky"), "B106"), (lambda n: n.add("x", True, "leaky"), "B106"),
    (lambda n: n.add("x", 2, "leaky", tau=[[1], [2, 3]]), "B106"), (lambda n: n.add("x", 2, "leaky", tau=None), "B106"),
    (lambda n: n.connect("out", "out", name="z", delay="0.35 ms"), "B106"),
    (lambda n: n.connect("out", "out", name="z", delay="normal(1, 2)"), "B106"),
    (lambda n: n.add("x", 2, "library.nothing"), "E270"), (lambda n: n.cell("c", "state u"), "E104")])
def test_what_is_refused_leaves_the_network_as_it_was(call, code) -> None:
    net = network()
    before = net.text
    with pytest.raises(CortexError) as caught:
        call(net)
    assert caught.value.code.startswith(code), caught.value
    assert net.text == before


@pytest.mark.parametrize("options", [{"dt": "1"}, {"seeds": 1.5}, {"name": "a\nb"}, {"samples": -1}])
def test_a_network_has_numbers(options) -> None:
    with pytest.raises(CortexError, match="B10[16]"):
        Network(**options)


def test_what_does_not_fit_is_said_by_the_graph() -> None:
    net = network()
    net.connect("out", "out", name="z", w=np.zeros((3, 3)))
    with pytest.raises(CortexError, match=re.escape("E241 array 'z.w' has shape (3, 3), expected (2, 2)")):
        _ = net.graph


ROOT = Path(__file__).resolve().parents[2]


def test_the_twelve_lines_are_the_same_everywhere() -> None:
    pages = [(ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "docs/python.md")]
    first = [re.search(r"```python\n(.*?)```", page, re.S)[1].splitlines() for page in pages]
    assert first[0] == first[1][:-1] and len([line for line in first[0] if line.strip()]) <= 12


def test_the_page_about_python_runs(capsys) -> None:
    text = (ROOT / "docs/python.md").read_text(encoding="utf-8")
    scope: dict[str, object] = {}
    for code in re.findall(r"```python\n(.*?)```", text, re.S):
        exec(code, scope)
    said = capsys.readouterr().out
    assert said.startswith("(500, 1, 2) [[[") and "verified interpreter" in said
    for part in ("loihi2", "cores", "rule W_rule"):
        assert part in said, said
