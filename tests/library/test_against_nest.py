"""Cells and rules of the library against recordings of NEST: every cell is fed with the spikes that arrived at it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from compiler.experiments.simulation import simulate
from compiler.ir import Graph, parse_graph

OWN = Path(__file__).with_name("recordings")
GOLDEN = Path(os.environ.get("CORTEXC_GOLDEN", Path(__file__).parents[2] / ".." / "shared" / "golden"))
VOLTAGE, CURRENT = {"V_th": "v_threshold", "V_reset": "v_reset", "t_ref": "t_refractory", "E_L": "v_rest", "C_m": "capacitance",
                    "tau_m": "tau_m", "I_e": "bias"}, {"tau_syn_ex": "tau_excitatory", "tau_syn_in": "tau_inhibitory"}
CELLS: dict[str, tuple[str, tuple[str, ...], dict[str, str]]] = {
    "lif_exp": ("nest_lif_exp_sparse_delays.npz", ("excitatory", "inhibitory"), VOLTAGE | CURRENT),
    "lif_alpha": ("nest_lif_alpha_sparse_delays.npz", ("excitatory", "inhibitory"), VOLTAGE | CURRENT),
    "lif_delta": ("nest_lif_delta.npz", ("synapses",), VOLTAGE),
    "izhikevich": ("nest_izhikevich.npz", ("synapses",), {"a": "a", "b": "b", "c": "c", "d": "d", "I_e": "bias"})}
PAIR = {"learning_rate": 0.02, "asymmetry": 1.05, "w_max": 800.0, "tau_plus": 15.0}
RULES: dict[str, tuple[dict[str, float], float]] = {
    "stdp_additive": (PAIR, 800), "stdp_multiplicative": (PAIR, 800), "stdp_nearest_symmetric": (PAIR, 800),
    "stdp_power_law": ({"learning_rate": 0.02, "asymmetry": 0.1, "mu": 0.4, "tau_plus": 15.0}, 1e9),
    "stdp_triplet": ({"a2_plus": 1.0, "a3_plus": 2.0, "a2_minus": 1.2, "a3_minus": 0.5, "tau_plus": 16.8, "tau_x": 101.0,
                      "tau_minus": 20.0, "tau_y": 110.0}, 900),
    "vogels_sprekeler": ({"learning_rate": 5.0, "alpha": 0.12, "tau": 20.0, "w_max": 600.0}, 600)}
"""Rule -> (its parameters in the recording, the greatest weight)."""


def recording(name: str) -> dict[str, Any]:
    path = OWN / name if (OWN / name).exists() else GOLDEN / name
    if not path.exists():
        pytest.skip("no recorded trajectories")
    with np.load(path) as found:
        return {**found, "about": json.loads(str(found["about"]))}


def step_of(times: np.ndarray) -> np.ndarray:
    """The step that ends at a time (ms)."""
    return np.round(times / 0.1).astype(int) - 1


def arrivals(found: dict[str, Any], steps: int, cells: int) -> np.ndarray:
    """(2, steps, cells): the sum of the positive and of the negative weights that arrive."""
    total = np.zeros((2, steps, cells))
    for prefix, spikes in (("", found["spikes"]), ("in_", found["in_spikes"])):
        for time, source in spikes:
            mine = np.flatnonzero(found[f"{prefix}source"] == int(source))
            at, weights = step_of(time + found[f"{prefix}delay"][mine]), found[f"{prefix}weight"][mine]
            kept = at < steps
            where = ((weights < 0).astype(int)[kept], at[kept], found[f"{prefix}target"][mine][kept].astype(int))
            np.add.at(total, where, weights[kept])
    return total


def fed_cells(cell: str, ports: tuple[str, ...], n: int, given: dict[str, float]) -> Graph:
    """A population of a library's cell, each port of which gets an input."""
    text = f"graph fed\n  dt 0.1\ncell source\n  input value\n  send value_ = value\n  message value_\ncell x = library.{cell}\n"
    for port in ports:
        text += f"synapse to_{port}\n  message value_\n  port {port}\n  connectivity identity\npopulation s_{port} source {n}\n"
    text += f"population a x {n}\n" + "".join(f"  {name} = {value}\n" for name, value in given.items())
    return parse_graph(text + "".join(f"projection P_{port} to_{port} s_{port} -> a delay=0\n" for port in ports))


@pytest.mark.parametrize("backend", ["interpreter", "native"])
@pytest.mark.parametrize("cell", CELLS)
def test_a_cell_has_the_voltages_and_spikes_of_nest(cell: str, backend: str) -> None:
    name, ports, spelled = CELLS[cell]
    found = recording(name)
    steps, n = found["V_m"].shape
    given = {ours: found["about"]["parameters"][theirs] for theirs, ours in spelled.items()}
    arrived = arrivals(found, steps, n)
    fed = arrived if len(ports) == 2 else arrived.sum(0)[None]
    graph = fed_cells(cell, ports, n, given).with_(arrays={"a.v": found["start_V_m"]})
    if cell == "izhikevich":
        graph = graph.with_(arrays={**graph.arrays, "a.u": np.full(n, given["b"] * -65.0)})
    inputs = {f"s_{port}.value": values for port, values in zip(ports, fed, strict=True)}
    run = simulate(graph, steps, inputs=inputs, record=["a.v", "a.spike"], backend=backend)
    assert np.abs(run["a.v"].reshape(steps, n) - found["V_m"]).max() < 1e-9
    spikes = np.argwhere(run["a.spike"].reshape(steps, n) > 0)
    seen = found["spikes"][found["spikes"][:, 0] <= found["times"][-1] + 1e-6]
    assert len(spikes) > 20 and np.array_equal(spikes, np.column_stack([step_of(seen[:, 0]), seen[:, 1].astype(int)]))


PAIRS = """
graph pairs
  dt 0.1
  gate learn
cell source
  input value
  send spike = value
  message spike
cell target
  port arriving
  input value
  send spike = value
  receive seen = arriving
rule stdp = library.{rule}
synapse plastic
  message spike
  port arriving
  connectivity one_to_one
  limits 0 {top}
  rule stdp
population pre source {n}
population post target {n}
projection W plastic pre -> post delay=0 gate=learn
"""


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_has_the_weights_of_nest(rule: str) -> None:
    """One pair of cells per connection; NEST lets a rule see a postsynaptic spike `delay` later, and brings a weight up
    to date when a presynaptic one is handed on: at the end of a slice of 0.2 ms, the least delay, after its last step.
    With nearest neighbours, the first postsynaptic spikes see a presynaptic one at time 0.
    """
    found, (given, top) = recording(f"nest_{rule}.npz"), RULES[rule]
    steps, n = 2000, len(found["source"])
    pre, post = np.zeros((steps, n)), np.zeros((steps, n))
    for i in range(n):
        pre[step_of(found["in_spikes"][found["in_spikes"][:, 1] == found["source"][i], 0]), i] = 1.0
        at = step_of(found["spikes"][found["spikes"][:, 1] == found["target"][i], 0] + found["delay"][i])
        post[at[at < steps], i] = 1.0
    text = PAIRS.format(rule=rule, n=n, top=top) + "".join(f"  {name} = {value}\n" for name, value in given.items())
    first = {"W.x": np.ones(n)} if rule == "stdp_nearest_symmetric" else {}
    graph = parse_graph(text).with_(arrays={"W.w": found["start_weight"], **first})
    run = simulate(graph, steps, inputs={"pre.value": pre, "post.value": post}, gates={"learn": 1.0}, record=["W.w"])
    ours = run["W.w"].reshape(steps, n)
    for row, weights in enumerate(found["weight_every_ms"]):
        for i in range(n):
            left = np.flatnonzero(pre[:10 * row + 8, i])
            wanted = ours[left[-1], i] if len(left) else found["start_weight"][i]
            assert abs(weights[i] - wanted) <= 1e-9 * abs(wanted), (row, i)
    assert np.abs(found["weight_every_ms"][-1] - found["start_weight"]).max() > 5.0
