"""`cortexc.from_nir` against an evaluation of NIR's equations that knows nothing of the compiler."""
from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

import cortexc
from compiler.ir import CortexError, show_graph

nir = pytest.importorskip("nir")
from nir_evaluation import STATEFUL, Evaluation, flat  # noqa: E402

DT, STEPS = 1e-3, 100
RESETS, CURRENTS, ARRIVALS = ("v_reset", "subtract"), ("together", "first"), ("same", "next")
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


def neuron(draw, kind, n):
    """With time constants of 2 to 12 steps."""
    tau, one = lambda: draw.uniform(2, 12, n) * DT, lambda: draw.uniform(0.5, 1.5, n)
    leak, threshold, reset = draw.normal(0, 0.1, n), draw.uniform(0.2, 0.6, n), draw.normal(0, 0.1, n)
    return {"I": lambda: nir.I(r=one() * 40), "LI": lambda: nir.LI(tau(), one(), leak),
            "IF": lambda: nir.IF(one() * 200, threshold, reset),
            "LIF": lambda: nir.LIF(tau(), one(), leak, threshold, reset),
            "CubaLI": lambda: nir.CubaLI(tau(), tau(), one(), leak, one()),
            "CubaLIF": lambda: nir.CubaLIF(tau(), tau(), one(), leak, threshold, reset, one())}[kind]()


def node(draw, kind, n):
    if kind in STATEFUL:
        return neuron(draw, kind, n)
    return {"Scale": lambda: nir.Scale(draw.normal(size=n)), "Threshold": lambda: nir.Threshold(draw.normal(size=n)),
            "Delay": lambda: nir.Delay(draw.integers(0, 5, n) * DT), "Flatten": lambda: nir.Flatten(np.array([n]), 0),
            "Linear": lambda: nir.Linear(draw.normal(size=(n, n))),
            "Affine": lambda: nir.Affine(draw.normal(size=(n, n)), draw.normal(size=n))}[kind]()


def random_network(seed, depth=0):
    """A chain of nodes, with ways that lead back from neurons and others that skip, perhaps a network in the network."""
    draw = np.random.default_rng(seed)
    n, size = depth or int(draw.integers(1, 5)), int(draw.integers(3, 8))
    kinds = draw.choice([*STATEFUL, *STATEFUL, "Scale", "Threshold", "Delay", "Flatten", "Linear", "Affine"], size)
    nodes = {f"{i}.{kind}" if i % 2 else f"a{i}": node(draw, kind, n) for i, kind in enumerate(kinds)}
    if not depth and seed % 3 == 0:
        nodes["inner"] = random_network(seed + 1000, n)
    names = ["input", *nodes, "output"]
    edges = dict.fromkeys(zip(names, names[1:], strict=False))
    for _ in range(2):
        a, b = sorted(draw.integers(1, len(names) - 1, 2))
        edges[names[a], names[b + 1]] = None
    back = [i for i, name in enumerate(names) if type(nodes.get(name)).__name__ in STATEFUL]
    for i in draw.choice(back, min(2, len(back)), replace=False):
        edges[names[i], "back"], edges["back", names[int(draw.integers(1, i + 1))]] = None, None
    nodes["back"] = nir.Linear(draw.normal(size=(n, n)) * 0.3)
    edges = [e for e in edges if "back" not in e or back]
    nodes = {k: v for k, v in nodes.items() if k != "back" or back}
    shape = np.array([n])
    return nir.NIRGraph({"input": nir.Input(shape), **nodes, "output": nir.Output(shape)}, edges, type_check=False)


@pytest.mark.parametrize("seed", range(20))
def test_random_networks_send_what_the_equations_say(seed):
    draw, network = np.random.default_rng(seed + 50), random_network(seed)
    inputs = {"input": draw.normal(size=(STEPS, *network.nodes["input"].input_type["input"]))}
    agrees(network, inputs, reset=RESETS[seed % 2], current=CURRENTS[seed // 2 % 2], arrival=ARRIVALS[seed // 4 % 2])


def test_random_networks_spike():
    spikes = 0
    for seed in range(4):
        network = random_network(seed)
        shape = network.nodes["input"].input_type["input"]
        spikes += agrees(network, {"input": np.random.default_rng(seed).normal(size=(20, *shape))}, backend="native")
    assert spikes > 20


MAPS = {
    "square": ((2, 6, 6), nir.Conv2d(None, np.ones((3, 2, 3, 3)), 2, 1, 1, 1, np.ones(3))),
    "axes": ((2, 5, 7), nir.Conv2d((5, 7), np.ones((3, 2, 2, 3)), (1, 2), (0, 1), (2, 1), 1, np.ones(3))),
    "groups": ((4, 4, 5), nir.Conv2d((4, 5), np.ones((6, 2, 2, 2)), 1, 0, 1, 2, np.ones(6))),
    "same": ((2, 5, 4), nir.Conv2d((5, 4), np.ones((3, 2, 4, 3)), 1, "same", 1, 1, np.ones(3))),
    "valid": ((1, 5, 5), nir.Conv2d((5, 5), np.ones((2, 1, 3, 3)), 1, "valid", 1, 1, np.ones(2))),
    "one": ((2, 9), nir.Conv1d(9, np.ones((3, 2, 3)), 2, 1, 2, 1, np.ones(3))),
    "sum": ((2, 5, 6), nir.SumPool2d(np.array([2, 3]), np.array([2, 1]), np.array([1, 0]))),
    "average": ((2, 6, 6), nir.AvgPool2d(np.array([2, 2]), np.array([2, 2]), np.array([0, 0])))}


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
@pytest.mark.parametrize("reset, current, arrival", [("subtract", "first", "same"), ("v_reset", "together", "next")])
def test_files_of_other_people_spike_alike(path, reset, current, arrival):
    network = nir.read(path, type_check=False)
    n = int(network.nodes["input"].input_type["input"][0])
    inputs = {"input": np.random.default_rng(7).random((200, n)) * (2.5 if n == 1 else 1.0)}
    assert agrees(network, inputs, 1e-4, "native", reset, current, arrival) > 20
    graph = cortexc.from_nir(path, dt=1e-4, reset=reset, current=current, arrival=arrival)
    same = cortexc.from_nir(str(path), dt=1e-4, reset=reset, current=current, arrival=arrival)
    assert show_graph(graph) == show_graph(same)


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


def test_a_file_comes_back(tmp_path):
    nir.write(tmp_path / "a.nir", simple(a=lif(0.01), b=nir.Linear(np.eye(2))))
    graph = cortexc.from_nir(tmp_path / "a.nir", dt=DT, reset="zero")
    assert graph.arrays["a.tau"].tolist() == [10.0, 10.0] and graph.dt == 1.0
