"""`cortexc.from_nir` against an evaluation of NIR's equations that knows nothing of the compiler."""
from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

import cortexc
from cortexc.compiler.ir import CortexError, show_graph

nir = pytest.importorskip("nir")
from nir_circuits import ARRIVALS, CURRENTS, DT, MAPS, RESETS, neuron, random_network  # noqa: E402
from nir_evaluation import Evaluation, flat  # noqa: E402

STEPS = 100
SPIKING = ("IF", "LIF", "CubaLIF", "Threshold")


def population(name):
    return re.sub(r"\W", "_", name) if name[0].isalpha() else "n_" + re.sub(r"\W", "_", name)


def agrees(network, inputs, dt=DT, backend="interpreter", reset="v_reset", current="first", arrival="same"):
    """Every node sends the same numbers, spikes exactly. Returns how many spikes there were."""
    expected = Evaluation(network, dt, reset, current, arrival).run(inputs)
    graph = cortexc.from_nir(network, dt=dt, reset=reset, current=current, arrival=arrival)
    nodes = flat(network)[0]
    doors = {n for n in nodes if "." in n and type(nodes[n]).__name__ in ("Input", "Output")}
    quantity = {n: f"{population(n)}.{graph.cell_of(population(n)).messages[0]}" for n in nodes if n not in doors}
    found = cortexc.simulate(graph, len(next(iter(inputs.values()))), record=quantity.values(), backend=backend,
                             inputs={f"{population(k)}.value": v for k, v in inputs.items()})
    spikes = 0
    for name, key in quantity.items():
        if type(nodes[name]).__name__ in SPIKING:
            np.testing.assert_array_equal(found[key][:, 0], expected[name], err_msg=name)
            spikes += int(expected[name].sum())
        np.testing.assert_allclose(found[key][:, 0], expected[name], rtol=1e-9, atol=1e-9, err_msg=name)
    return spikes


@pytest.mark.parametrize("seed", range(20))
def test_random_networks_send_what_the_equations_say(seed):
    draw, network = np.random.default_rng(seed + 50), random_network(seed)
    inputs = {"input": draw.normal(size=(STEPS, *network.nodes["input"].input_type["input"]))}
    agrees(network, inputs, reset=RESETS[seed % 3], current=CURRENTS[seed // 2 % 2], arrival=ARRIVALS[seed // 4 % 2])


def test_random_networks_spike():
    spikes = 0
    for seed in range(4):
        network = random_network(seed)
        shape = network.nodes["input"].input_type["input"]
        spikes += agrees(network, {"input": np.random.default_rng(seed).normal(size=(20, *shape))}, backend="native")
    assert spikes > 20


def randomised(node, draw):
    fields = {k: draw.normal(size=np.shape(v)) for k, v in vars(node).items() if k in ("weight", "bias")}
    for name, value in fields.items():
        setattr(node, name, value)
    return node


@pytest.mark.parametrize("kind", MAPS)
def test_maps_send_what_the_equations_say(kind):
    draw, (shape, node) = np.random.default_rng(3), MAPS[kind]
    node = randomised(node, draw)
    nodes = {"input": nir.Input(np.array(shape)), "scale": nir.Scale(draw.normal(size=shape)), "maps": node,
             "flat": nir.Flatten({"input": None}, 0)}
    edges = [("input", "scale"), ("scale", "maps"), ("maps", "flat"), ("input", "maps")]
    network = nir.NIRGraph(nodes, edges, type_check=False)
    size = Evaluation(network, DT, "", "", "").run({"input": np.zeros((1, *shape))})["flat"].shape[1]
    network.nodes["lif"] = neuron(draw, "LIF", size)
    network.edges.append(("flat", "lif"))
    values = draw.normal(size=(30, *shape))
    expected = Evaluation(network, DT, "v_reset", "first", "same").run({"input": values})
    graph = cortexc.from_nir(network, dt=DT, reset="v_reset")
    found = cortexc.simulate(graph, 30, record=["maps.out", "lif.spike"], inputs={"input.value": values.reshape(30, -1)},
                             backend="interpreter")
    np.testing.assert_allclose(found["maps.out"][:, 0], expected["maps"], rtol=1e-9, atol=1e-12)
    np.testing.assert_array_equal(found["lif.spike"][:, 0], expected["lif"])
    assert expected["lif"].sum() > 0


@pytest.mark.parametrize("kind, connectivity", [("square", "convolution"), ("valid", "convolution"), ("axes", "sparse")])
def test_square_kernels_are_shared(kind, connectivity):
    shape, node = MAPS[kind]
    network = nir.NIRGraph({"input": nir.Input(np.array(shape)), "maps": node}, [("input", "maps")], type_check=False)
    graph = cortexc.from_nir(network, dt=DT)
    assert graph.class_of("input_to_maps").connectivity == connectivity


FILES = sorted((Path(__file__).parents[2].parent / "shared" / "nir").glob("*.nir"))
"""Other people's files, where they are."""


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
@pytest.mark.parametrize("reset, current, arrival", [("subtract", "first", "same"), ("zero_next", "first", "same"),
                                                     ("v_reset", "together", "next")])
def test_files_of_other_people_spike_alike(path, reset, current, arrival):
    network = nir.read(path, type_check=False)
    n = int(network.nodes["input"].input_type["input"][0])
    inputs = {"input": np.random.default_rng(7).random((200, n)) * (2.5 if n == 1 else 1.0)}
    assert agrees(network, inputs, 1e-4, "native", reset, current, arrival) > 20
    graph = cortexc.from_nir(path, dt=1e-4, reset=reset, current=current, arrival=arrival)
    same = cortexc.from_nir(str(path), dt=1e-4, reset=reset, current=current, arrival=arrival)
    assert show_graph(graph) == show_graph(same)


@pytest.mark.parametrize("path", [path for path in FILES if "braille" in path.stem], ids=lambda path: path.stem)
def test_networks_spike_as_in_snntorch(path):
    """In the recording of record_snntorch.py, both layers, 500 steps."""
    recorded, reset = np.load(Path(__file__).with_name("snntorch_spikes.npz")), path.stem.rpartition("_")[2]
    graph = cortexc.from_nir(path, dt=1e-4, reset=f"{reset}_next", current="first", arrival="same")
    found = cortexc.simulate(graph, 500, inputs={"input.value": recorded["inputs"].astype(float)},
                             record=["lif1_lif.spike", "lif2.spike"], backend="interpreter")
    assert recorded[f"{reset}.hidden"].sum() > 40 and recorded[f"{reset}.out"].sum() > 100
    np.testing.assert_array_equal(found["lif1_lif.spike"][:, 0], recorded[f"{reset}.hidden"])
    np.testing.assert_array_equal(found["lif2.spike"][:, 0], recorded[f"{reset}.out"])


def simple(**nodes):
    names = ["input", *nodes, "output"]
    n = np.array([2])
    return nir.NIRGraph({"input": nir.Input(n), **nodes, "output": nir.Output(n)}, list(zip(names, names[1:], strict=False)),
                        type_check=False)


def ones(n=2):
    return np.ones(n)


def lif(tau=1.0, reset=0.0):
    return nir.LIF(ones() * tau, ones(), ones(), ones(), ones() * reset)


def cuba():
    return nir.CubaLIF(ones(), ones(), ones(), ones(), ones())


def circle():
    network = simple(a=nir.Scale(ones()), b=nir.Scale(ones()))
    network.edges.append(("b", "a"))
    return network


def nested(inputs):
    inner = nir.NIRGraph({**{f"in{i}": nir.Input(np.array([2])) for i in range(inputs)}, "s": nir.Scale(ones()),
                          "out": nir.Output(np.array([2]))}, [("in0", "s"), ("s", "out")], type_check=False)
    return simple(inner=inner)


REFUSED = {
    "no file": ("nowhere.nir", {}, "N102 .*nowhere.nir"),
    "no source": (3, {}, "N102 .*int"),
    "no dt": (simple(), {"dt": None}, "N103 .*time step"),
    "zero dt": (simple(), {"dt": 0.0}, "N103 .*0.0"),
    "a word for dt": (simple(), {"dt": "1"}, "N103 .*'1'"),
    "no reset": (simple(a=lif()), {}, "N104 .*'a' .LIF.* reset= one of"),
    "unknown reset": (simple(a=lif()), {"reset": "subtracted"}, "N104 .*Did you mean 'subtract'"),
    "reset to zero": (simple(a=lif(reset=0.5)), {"reset": "zero"}, "N104 .*'a'.* v_reset"),
    "no order of currents": (simple(a=cuba()), {"reset": "zero"}, "N105 .*'a' .CubaLIF.* current= one of"),
    "no arrival": (simple(a=lif(), b=lif()), {"reset": "zero"}, "N105 .*'a' sends to 'b'.* arrival= one of"),
    "unknown arrival": (simple(a=lif()), {"reset": "zero", "arrival": "now"}, "N105 .*'now'"),
    "unknown integrator": (simple(a=lif()), {"reset": "zero", "integrator": "heun"}, "N105 .*'heun'"),
    "time constant": (simple(a=lif(0.0)), {"reset": "zero"}, "N106 .*'a' .LIF.* tau = 0"),
    "half a step": (simple(a=nir.Delay(np.array([DT, 1.5 * DT]))), {}, "N106 .*'a' .Delay.*element 1 by 1.5 steps"),
    "weights of three axes": (simple(a=nir.Linear(np.ones((2, 2, 2)))), {}, "N106 .*'a' .Linear.* 3 axes"),
    "sizes": (simple(a=nir.Linear(np.ones((2, 3)))), {}, "N107 .*'a' .Linear. takes 3 values, but 'input' sends 2"),
    "no pixels": (simple(a=nir.SumPool2d(ones(), ones(), ones())), {}, "N107 .*'a' .SumPool2d"),
    "a circle": (circle(), {}, "N108 .*circle .*a"),
    "two ways in": (nested(2), {}, "N108 .*'inner' has 2 Input"),
    "an edge to nowhere": (nir.NIRGraph({"input": nir.Input(np.array([2]))}, [("input", "b")], type_check=False), {},
                           "N108 .*'b'")}


@pytest.mark.parametrize("source, told, message", REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_said_is_refused(source, told, message):
    with pytest.raises(CortexError, match=message):
        cortexc.from_nir(source, **{"dt": DT, **told})


def test_one_way_in_is_enough():
    assert "inner_s" in [p.name for p in cortexc.from_nir(nested(1), dt=DT).populations]


def test_without_the_extra_there_is_a_code(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "nir", None)
    with pytest.raises(CortexError, match=r"N101 .*cortexc\[nir\]"):
        cortexc.from_nir("x.nir", dt=DT)


def test_a_node_that_is_none_of_nirs_is_named(tmp_path):
    import h5py
    nir.write(tmp_path / "a.nir", simple(inner=simple(a=nir.Scale(ones()))))
    with h5py.File(tmp_path / "a.nir", "r+") as file:
        del file["node/nodes/inner/nodes/a/type"]
        file["node/nodes/inner/nodes/a/type"] = "Izhikevich"
    with pytest.raises(CortexError, match="N106 node 'inner.a' .Izhikevich."):
        cortexc.from_nir(tmp_path / "a.nir", dt=DT)
    whole = (tmp_path / "a.nir").read_bytes()
    for broken in (b"no HDF5", whole[:len(whole) // 2], whole[:600]):
        (tmp_path / "b.nir").write_bytes(broken)
        with pytest.raises(CortexError, match="N102 .*b.nir"):
            cortexc.from_nir(tmp_path / "b.nir", dt=DT)


def test_a_file_comes_back(tmp_path):
    nir.write(tmp_path / "a.nir", simple(a=lif(0.01), b=nir.Linear(np.eye(2))))
    graph = cortexc.from_nir(tmp_path / "a.nir", dt=DT, reset="zero")
    assert graph.arrays["a.tau"].tolist() == [10.0, 10.0] and graph.dt == 1.0


def test_the_threshold_itself_is_not_above_the_threshold():
    """v is 1, 2, 1, 2 ...: exact numbers."""
    network = simple(a=nir.IF(ones() * 1000, ones()), b=nir.Threshold(ones()))
    assert agrees(network, {"input": np.ones((6, 2))}) == 3 * 2
    assert agrees(simple(a=nir.Threshold(ones())), {"input": np.array([[1.0, 1.5]])}) == 1


def test_a_file_that_tells_everything_can_be_told_otherwise():
    network = cortexc.to_nir(cortexc.from_nir(simple(a=lif(0.01)), dt=DT, reset="zero"))
    assert cortexc.from_nir(network).dt == 1.0 and cortexc.from_nir(network, dt=2 * DT).dt == 2.0
    network.metadata["cortexc.reset"] = "never"
    with pytest.raises(CortexError, match="N104 .*never"):
        cortexc.from_nir(network)
