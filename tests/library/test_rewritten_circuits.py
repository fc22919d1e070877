"""Circuits as a newcomer wrote them, rewritten as a `Network`: the same numbers in at most half the lines.

A line is one of at most 120 columns that is not empty; what is counted is the circuit, without its run.
"""

from __future__ import annotations

import importlib.util
import inspect
import os
import re
from collections.abc import Callable
from itertools import product
from math import exp, factorial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cortexc import Network
from cortexc.compiler.experiments.simulation import simulate
from cortexc.compiler.ir import Graph, parse_graph, show_graph
from cortexc.compiler.microcircuits.potjans_diesmann import EXTERNAL, PROBABILITIES, SIZES

CASES = Path(os.environ.get("CORTEXC_CASES", Path(__file__).parents[2] / ".." / "shared" / "cases")) / "circuits"


def given(name: str) -> Any:
    """A newcomer's file: the module, the circuit of a text, or the arrays."""
    path = CASES / name
    if not path.exists():
        pytest.skip("no circuits of newcomers")
    if path.suffix == ".ir":
        return parse_graph(path.read_text())
    if path.suffix == ".npz":
        with np.load(path) as found:
            return dict(found)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def lines(text: str) -> int:
    return sum(1 for line in text.splitlines() if line.strip())


def urbanczik(w: np.ndarray) -> Network:
    net = Network(dt=0.2)
    net.cell("poisson", """input rate; noise u uniform; state s1 = 0; state s2 = 0; send spike = u < rate * dt / 1000
        send s1 = exp(-dt / 10) * prev(s1) + spike; send s2 = exp(-dt / 3) * prev(s2) + spike
        send psp = (s1 - s2) / 7; message psp""")
    net.cell("two_compartment", """port dend; input ge; noise u uniform; state U = 0
        send spike = u < 0.15 / (1 + 0.5 * exp(5 * (1 - prev(U)))) * dt; receive Vw = dend; message spike
        receive dU/dt = -0.1 * U + 2 * (Vw - U) + ge * (4.667 - U); factor e = exp(5 * (1 - 2 / 2.1 * Vw))
        factor pi = (spike - dt * (0.15 / (1 + 0.5 * e))) * (5 / (1 + 2 / e))""")
    net.add("P", 20, "poisson")
    net.add("N", 2, "two_compartment")
    net.connect("P", "N", name="W", w=w, gate="learn", rule="""state delta = 0; increment dt * 0.07 * delta
        update delta = prev(delta) + dt * (post.pi * pre.psp / dt - prev(delta)) / 100""")
    return net


def rstdp(w: np.ndarray) -> Network:
    net = Network(dt=1.0)
    net.cell("pre_cell", """noise u uniform; state x = 0; state spike = 0; message spike
        send spike = u < 0.01; send x = 0.95 * prev(x) + spike""")
    net.cell("izh", """port syn; port da; noise u01 uniform; state v = -65; state u = -13; state y = 0
        state dopamine = 0; state spike = 0; send spike = prev(v) >= 30; send y = 0.95 * prev(y) + spike
        message spike; receive dopamine = exp(-dt / 200) * prev(dopamine) + da; receive i = syn + 13 * (u01 - 0.5)
        receive a = where(spike > 0, -65, prev(v)); receive b = prev(u) + 8 * spike
        receive h = a + 0.5 * ((0.04 * a + 5) * a + 140 - b + i); receive u = b + 0.02 * (0.2 * v - b)
        receive v = min(h + 0.5 * ((0.04 * h + 5) * h + 140 - b + i), 30)""")
    net.add("P", 40, "pre_cell")
    net.input("D", 1)
    net.add("N", 10, "izh")
    net.connect("P", "N", name="W", port="syn", w=w, delay=5, gate="learn", limits=(0, 4), rule="""state c = 0
        update c = exp(-dt / 1000) * prev(c) + 0.1 * pre.x * post.spike - 0.15 * post.y * pre.spike
        increment dt * 0.001 * c * post.dopamine""")
    net.connect("D", "N", port="da", w=1)
    return net


def eqprop(n: int = 4, h: int = 8, m: int = 2, seed: int = 0) -> Network:
    rng, net = np.random.default_rng(seed), Network(dt=0.1)
    unit = """port net; state s = 0; send rho = clip(prev(s), 0, 1); message rho
        receive ds/dt = where(0 <= s <= 1, net, 0) - s"""
    net.cell("clamp", "input x; send rho = clip(x, 0, 1); message rho")
    net.cell("unit", unit)
    net.cell("out", unit + " + gate.nudge * 0.5 * (target - s); input target")
    for name, size, cell in (("X", n, "clamp"), ("H", h, "unit"), ("Y", m, "out")):
        net.add(name, size, cell)
    w2 = 0.5 * rng.standard_normal((m, h))
    learns = {"gate": "learn", "rule": "increment 0.1 * (gate.plus - gate.minus) * pre.rho * post.rho"}
    net.connect("X", "H", name="W1", w=0.5 * rng.standard_normal((h, n)), **learns)
    net.connect("H", "Y", name="W2", w=w2, **learns)
    net.connect("Y", "H", name="B2", w=w2.T)
    net.mirror("B2", "W2", "transpose", after=True)
    return net


def pc(n: int = 4, h: int = 8, m: int = 2, seed: int = 0) -> Network:
    rng, net = np.random.default_rng(seed), Network(dt=0.1)
    net.cell("clamp", "input x; send f = tanh(x); message f")
    net.cell("value", """port err; port below; state x = 0; send xs = prev(x); send f = tanh(xs); message f; message xs
        receive dx/dt = -err + d_tanh(x) * below""")
    net.cell("top", "input y; send xs = y; message xs")
    net.cell("error", "port val; port pred; state e = 0; receive e = val - pred; message e")
    for name, size, cell in (("X", n, "clamp"), ("H", h, "value"), ("EH", h, "error"), ("Y", m, "top"), ("EY", m, "error")):
        net.add(name, size, cell)
    w2 = 0.5 * rng.standard_normal((m, h))
    learns = {"message": "f", "port": "pred", "gate": "learn", "rule": "increment 0.05 * post.e * pre.f"}
    net.connect("X", "EH", name="W1", w=0.5 * rng.standard_normal((h, n)), **learns)
    net.connect("H", "EY", name="W2", w=w2, **learns)
    for pre, post, port, delay in (("H", "EH", "val", 1), ("Y", "EY", "val", 1), ("EH", "H", "err", 0)):
        net.connect(pre, post, message="e" if delay == 0 else "xs", port=port, connectivity="identity", delay=delay)
    net.connect("EY", "H", name="B", port="below", w=w2.T, delay=0)
    net.mirror("B", "W2", "transpose", after=True)
    return net


def potjans(scale: float = 0.01, seed: int = 0) -> Graph:
    rng, net = np.random.default_rng(seed), Network(dt=0.1)
    net.cell("lif", """library.lif_exp; parameter tau_excitatory ms = 0.5; parameter tau_inhibitory ms = 0.5
        parameter v_rest mV = -65; parameter v_reset mV = -65; parameter v_threshold mV = -50; parameter inputs 1
        noise external poisson(inputs * 8e-3 1/ms * dt); jump i_excitatory = i_excitatory + excitatory + 87.8 pA * external""")
    sizes = {name: round(scale * size) for name, size in SIZES.items()}
    for name, size in sizes.items():
        net.add(name, size, "lif", inputs=EXTERNAL[name])
    for (post, pre), p in zip(product(SIZES, SIZES), np.ravel(PROBABILITIES), strict=True):
        if p:
            target, source = np.nonzero(mask := rng.random((sizes[post], sizes[pre])) < p)
            mean, excites = 87.8 * (2 if (post, pre) == ("L23E", "L4E") else 1), pre[-1] == "E"
            w = np.maximum(1 + 0.1 * rng.standard_normal(mask.shape), 0)[mask] * mean * (1 if excites else -4)
            net.connect(pre, post, port="excitatory" if excites else "inhibitory", w=w, delay=15 if excites else 8,
                        arrays={"pre": source, "post": target})
    first = {f"{name}.v": rng.normal(-58, 10, size) for name, size in sizes.items()}
    return net.graph.with_(arrays={**net.graph.arrays, **first})


def test_learning_by_dendritic_prediction_to_rounding() -> None:
    w = given("urb_w.npz")["W.w"]
    inputs = {f"{name[0]}.{name[2:]}": np.repeat(given("urb_in.npz")[name[2:]], 200, axis=0) for name in ("P.rate", "N.ge")}
    found, ours = (simulate(graph, 2000, seed=3, inputs=inputs, gates={"learn": 1.0}, record=["N.spike", "N.U", "N.Vw", "W.w"])
                   for graph in (given("urbanczik.ir").with_(arrays={"W.w": w}), urbanczik(w)))
    assert found["N.spike"].sum() > 5 and np.array_equal(ours["N.spike"], found["N.spike"])
    for name in ("N.U", "N.Vw", "W.w"):
        assert np.ptp(found[name], axis=0).max() > 1e-3 and np.abs(ours[name] - found[name]).max() < 1e-12, name


def test_learning_by_dopamine_to_the_bit() -> None:
    arrays, reward = given("rstdp_arrays.npz"), given("rstdp_in.npz")["reward"]
    record = ["N.v", "N.spike", "W.w", "W.c"]
    found, ours = (simulate(graph, len(reward), seed=3, inputs={name: reward}, gates={"learn": 1.0}, record=record)
                   for graph, name in ((given("rstdp.ir").with_(arrays=arrays), "D.reward"), (rstdp(arrays["W.w"]), "D.value")))
    assert found["N.spike"].sum() > 10 and np.ptp(found["W.w"], axis=0).max() > 1e-3
    for name in record:
        assert np.array_equal(ours[name], found[name]), name


@pytest.mark.parametrize("name, ours, inputs, gates, record", [
    ("eqprop.py", eqprop, {"X.x": [0.5, 0.1, 0.9, 0.3], "Y.target": [0.2, 0.8]},
     {"nudge": {"from": 100}, "minus": {"at": [99]}, "plus": {"at": [-1]}, "learn": 1.0}, ["Y.s", "H.s", "W1.w", "B2.w"]),
    ("pc.py", pc, {"X.x": [0.5, 0.1, 0.9, 0.3], "Y.y": [0.2, 0.8]}, {"learn": {"every": 50}},
     ["EY.e", "H.x", "W1.w", "W2.w", "B.w"])])
def test_relaxation_to_the_bit(name: str, ours: Callable[[], Network], inputs: dict[str, Any], gates: dict[str, Any],
                               record: list[str]) -> None:
    fed = {key: np.array(values) for key, values in inputs.items()}
    net, theirs = ours(), given(name).build()
    runs = [simulate(graph, 400, record=record, inputs=fed, gates=gates) for graph in (net, theirs)]
    for quantity in record:
        assert np.ptp(runs[1][quantity], axis=0).max() > 1e-3, quantity
        assert np.array_equal(*(run[quantity] for run in runs)), quantity


def with_exact_trains(graph: Graph) -> Graph:
    """The Poisson inputs of theirs, which are rounded to a table of 4097 numbers, without the rounding; and without the
    population that had to be there for there to be an input. Noise is drawn by the number of a population."""
    def counts(name: str, most: int = 25) -> str:
        mean = EXTERNAL[name] * 8e-3 * 0.1
        below = np.cumsum([exp(-mean) * mean**k / factorial(k) for k in range(most)])
        return " + ".join(f"(u > {value!r})" for value in below.tolist())

    text, tables = re.subn(r"lookup\(q_(\w+), u \* 4096\)", lambda match: counts(match[1]), show_graph(graph))
    assert tables == len(SIZES)
    return parse_graph(re.sub("population Z .*", "", text)).with_(arrays={key: value for key, value in graph.arrays.items() if "table." not in key})


def test_potjans_and_diesmann_to_rounding() -> None:
    """Spikes leave as those of the newcomer, whose cells tell a threshold one step later; none begins above it."""
    theirs, ours = (graph.with_(arrays={key: np.minimum(array, -51) if key.endswith(".v") else array
                                        for key, array in graph.arrays.items()})
                    for graph in (with_exact_trains(given("potjans.py").build()), potjans()))
    record = [f"{name}.{quantity}" for name in SIZES for quantity in ("spike", "v")]
    (found, rewritten) = (simulate(graph, 400, seed=3, record=record, backend="native") for graph in (theirs, ours))
    spikes = 0
    for name in SIZES:
        there, here = found[f"{name}.spike"][1:], rewritten[f"{name}.spike"][:-1]
        assert np.array_equal(there, here), name
        resting = here == 0
        assert np.abs(found[f"{name}.v"][:-1] - rewritten[f"{name}.v"][:-1])[resting].max() < 1e-10, name
        spikes += int(here.sum())
    assert spikes > 100


@pytest.mark.parametrize("name, ours", [("urbanczik.ir", urbanczik), ("rstdp.ir", rstdp), ("eqprop.py", eqprop), ("pc.py", pc),
                                        ("potjans.py", potjans)])
def test_half_the_lines_say_it(name: str, ours: Callable[..., Any]) -> None:
    given(name)
    text = inspect.getsource(ours)
    assert max(map(len, text.splitlines())) <= 128
    assert 2 * lines(text) <= lines((CASES / name).read_text())
