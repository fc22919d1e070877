"""Circuits as a newcomer wrote them, with today's words: the same numbers in fewer lines."""

from __future__ import annotations

import importlib.util
import inspect
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cortexc import Network
from cortexc.compiler.experiments.simulation import Simulation, simulate
from cortexc.compiler.ir import Graph, parse_graph

CASES = Path(os.environ.get("CORTEXC_CASES", Path(__file__).parents[2] / ".." / "shared" / "cases")) / "circuits"


def newcomers(name: str) -> Any:
    """The module, or the circuit of a text."""
    path = CASES / name
    if not path.exists():
        pytest.skip("no circuits of newcomers")
    if path.suffix == ".ir":
        return parse_graph(path.read_text())
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run(graph: Graph | Network, steps: int, record: list[str], **more: Any) -> Simulation:
    return simulate(graph, steps, record=record, seed=3, **more)


def lines(*texts: str) -> int:
    return sum(1 for text in texts for line in text.splitlines() if line.strip())


# ---- plasticity rules between Poisson sources and conductance-based cells


def skeleton(rule: str, w: np.ndarray) -> Network:
    net = Network(dt=0.1)
    net.cell("poisson", "noise u uniform; send spike = u < 50 * dt / 1000; message spike")
    net.cell("lif", """port syn; state g = 0; state v = -70; state spike = 0; send spike = prev(v) >= -54; message spike
        receive g = exp(-dt / 5) * prev(g) + syn
        receive v = where(spike > 0, -60, prev(v) + dt * ((-74 - prev(v)) + g * (0 - prev(v))) / 20)""")
    net.add("pre", 50, "poisson")
    net.add("post", 5, "lif")
    net.connect("pre", "post", name="W", w=w, limits=(0, 0.5), rule=f"library.{rule}")
    return net


RULES = {
    "stdp_add": "stdp_additive\n  increment 0.5 * (0.01 * x * post.spike - 0.0105 * y * pre.spike)",
    "stdp_mult": "stdp_multiplicative\n  increment 0.01 * (0.5 - w) * x * post.spike - 0.0105 * w * y * pre.spike",
    "stdp_pow": "stdp_power_law\n  increment 0.01 * pow(w, 0.4) * x * post.spike - 0.011 * w * y * pre.spike",
    "triplet": "stdp_triplet\n  increment post.spike * x1 * (5e-3 + 6.2e-3 * prev(y2)) "
               "- pre.spike * y1 * (7e-3 + 2.3e-4 * prev(x2))",
    "triplet_syn": "stdp_triplet\n  increment post.spike * x1 * (5e-3 + 6.2e-3 * prev(y2)) - pre.spike * y1 * 7e-3",
    "oja": "stdp_additive\n  increment dt * 1e-3 * y * (x - y * w)",
    "bcm": "stdp_additive\n  state theta = 1\n  update theta = prev(theta) + dt * (y * y - prev(theta)) / 1000\n"
           "  increment dt * 1e-4 * y * (y - theta) * x",
    "vogels": "vogels_sprekeler\n  increment 0.01 * (x * post.spike + (y - 0.12) * pre.spike)"}
PAIR = "\n  parameter tau_plus ms = 16.8\n  parameter tau_minus ms = 33.7"
TAUS = {"vogels": "\n  parameter tau ms = 16.8\n  update y = exp(-dt / 33.7) * prev(y) + post.spike", "triplet": "",
        "triplet_syn": ""}


@pytest.mark.parametrize("rule", RULES)
def test_rules_of_the_library_on_a_skeleton(rule: str) -> None:
    theirs = newcomers("plast.py").build(rule)
    ours = skeleton(RULES[rule] + TAUS.get(rule, PAIR), theirs.arrays["W.w"])
    found = run(ours, 1500, ["W.w", "post.spike"])
    expected = run(theirs, 1500, ["W.w", "post.spike"], gates={"learn": 1.0})
    assert expected["post.spike"].sum() > 20 and np.array_equal(found["post.spike"], expected["post.spike"])
    assert np.abs(found["W.w"] - expected["W.w"]).max() < 1e-12 < np.ptp(expected["W.w"])


# ---- Diehl & Cook: normalisation by post.sum(w) in the place of a mirror, a copy of the input and a clock

def diehl(arrays: dict[str, np.ndarray]) -> Network:
    net = Network(dt=0.5)
    net.cell("pixel", """input rate; noise u uniform; state x = 0; send spike = u < rate * dt / 1000; message spike
        send x = exp(-dt / 20) * prev(x) + spike""")
    net.cell("exc", """port ex; port inh; state v = -105; state ge = 0; state gi = 0; state theta = 20; state refr = 0
        state spike = 0; state post1 = 0; state post2 = 0; message spike
        send spike = where((prev(v) > prev(theta) - 72) and (prev(refr) <= 0), 1, 0)
        send refr = where(spike > 0, 5, max(prev(refr) - dt, 0)); send theta = prev(theta) * exp(-dt / 1e7) + 0.05 * spike
        send post2 = where(spike > 0, 1, exp(-dt / 40) * prev(post2)); receive ge = exp(-dt / 1) * prev(ge) + ex
        send post1 = where(spike > 0, 1, exp(-dt / 20) * prev(post1)); receive gi = exp(-dt / 2) * prev(gi) + inh
        receive v = where(spike > 0, -65, prev(v) + dt * ((-65 - prev(v)) + ge * (0 - prev(v)) + gi * (-100 - prev(v))) / 100)""")
    net.cell("inhib", """port ex; state v = -60; state ge = 0; state spike = 0; send spike = prev(v) > -40; message spike
        receive ge = exp(-dt / 1) * prev(ge) + ex
        receive v = where(spike > 0, -45, prev(v) + dt * ((-60 - prev(v)) + ge * (0 - prev(v))) / 10)""")
    for name, size, cell in (("X", 64, "pixel"), ("E", 20, "exc"), ("I", 20, "inhib")):
        net.add(name, size, cell)
    net.connect("X", "E", name="XE", port="ex", w=arrays["XE.w"], limits=(0, 1), gate="learn", rule="""
        increment 0.01 * pre.x * post.spike * prev(post.post2) - 0.0001 * pre.spike * post.post1 + where(gate.end > 0, \
            w * (6.4 / post.sum(w) - 1), 0)""".replace("\\\n", ""))
    net.connect("E", "I", name="EI", w=arrays["EI.w"], connectivity="one_to_one")
    net.connect("I", "E", name="IE", port="inh", w=arrays["IE.w"])
    return net


def test_diehl_and_cook_with_a_sum_over_weights() -> None:
    theirs = newcomers("diehl.py").build()
    ours = diehl(theirs.arrays)
    steps, end = 2100, np.zeros(2100)
    end[699::700] = 1
    rate = np.random.default_rng(2).uniform(0, 400, (steps, 64))
    expected = run(theirs, steps, ["XE.w", "E.spike"], gates={"learn": 1.0},
                   inputs={"X.rate": rate, "K.one": 1.0, "T.end": end[:, None]})
    found = run(ours, steps, ["XE.w", "E.spike"], gates={"learn": 1.0, "end": end}, inputs={"X.rate": rate})
    assert expected["E.spike"].sum() > 20 and np.array_equal(found["E.spike"], expected["E.spike"])
    assert np.abs(found["XE.w"] - expected["XE.w"]).max() < 1e-12
    assert np.allclose(found["XE.w"][699, 0].sum(1), 6.4, atol=0.1)


# ---- Tsodyks & Markram: the resources lie at the synapse

def short_term(w: np.ndarray) -> Network:
    net = Network(dt=0.1)
    net.cell("source", """input rate; noise noise_ uniform; state spike = 0; message spike late
        send spike = noise_ < rate * dt / 1000""")
    net.cell("lif", "port syn; state i = 0; state v = 0; receive i = exp(-dt / 3) * prev(i) + syn; receive dv/dt = (i - v) / 30")
    net.add("P", 10, "source")
    net.add("N", 2, "lif")
    net.connect("P", "N", name="W", w=w, gate="learn", rule="library.tsodyks_markram")
    return net


def test_short_term_plasticity_at_the_synapse_a_step_later() -> None:
    theirs = newcomers("tm.ir")
    weights = {"W.w": np.random.default_rng(4).uniform(0.5, 1.5, (2, 10))}
    graphs = (short_term(weights["W.w"]), theirs.with_(arrays=weights))
    found, expected = (run(graph, 8000, ["N.v"], inputs={"P.rate": 20.0})["N.v"] for graph in graphs)
    assert np.ptp(expected) > 0.2 and np.abs(found[1:] - expected[:-1]).max() < 1e-12


def test_half_the_lines_say_it() -> None:
    said = {"plast.py": [inspect.getsource(skeleton), *RULES.values(), PAIR, *TAUS.values()],
            "diehl.py": [inspect.getsource(diehl)], "tm.ir": [inspect.getsource(short_term)]}
    for name, texts in said.items():
        newcomers(name)
        assert 2 * lines(*texts) <= lines((CASES / name).read_text()), name
