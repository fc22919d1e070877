"""A recorded network of NEST, written with lists of synapses and a delay each: voltages, currents and spikes of every step."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from compiler.experiments.simulation import simulate
from compiler.ir import Graph, parse_graph

GOLDEN = Path(os.environ.get("CORTEXC_GOLDEN", Path(__file__).parents[2] / ".." / "shared" / "golden"))
SPELLED = {"V_th": "v_threshold", "V_reset": "v_reset", "t_ref": "t_refractory", "E_L": "v_rest", "C_m": "capacitance",
           "tau_m": "tau_m", "I_e": "bias", "tau_syn_ex": "tau_excitatory", "tau_syn_in": "tau_inhibitory"}
TEXT = """
graph recorded
  dt 0.1
cell source
  input value
  state spike = 0
  send spike = value
  message spike late
cell neuron = library.{cell}
synapse excitatory
  message spike
  port excitatory
  connectivity sparse
synapse inhibitory
  message spike
  port inhibitory
  connectivity sparse
population S source {sources}
population N neuron {cells}
{given}
projection IN excitatory S -> N
projection EX excitatory N -> N
projection IH inhibitory N -> N
"""


def recording(name: str) -> dict[str, Any]:
    path = GOLDEN / f"nest_{name}_sparse_delays.npz"
    if not path.exists():
        pytest.skip("no recorded trajectories")
    with np.load(path) as found:
        return {**found, "about": json.loads(str(found["about"]))}


def network(cell: str, found: dict[str, Any]) -> Graph:
    n = found["V_m"].shape[1]
    given = "\n".join(f"  {ours} = {found['about']['parameters'][theirs]}" for theirs, ours in SPELLED.items())
    graph = parse_graph(TEXT.format(cell=cell, sources=20, cells=n, given=given))
    arrays = {"N.v": found["start_V_m"]}
    positive = found["weight"] > 0
    for name, prefix, kept in (("IN", "in_", slice(None)), ("EX", "", positive), ("IH", "", ~positive)):
        arrays |= {f"{name}.{ours}": found[prefix + theirs][kept] for ours, theirs in (
            ("pre", "source"), ("post", "target"), ("w", "weight"))}
        arrays[f"{name}.delay"] = np.round(found[f"{prefix}delay"][kept] / 0.1).astype(int)
    return graph.with_(arrays=arrays)


def trains(spikes: np.ndarray, steps: int, cells: int) -> np.ndarray:
    """(steps, cells), 1 in the step that ends at the time of a spike."""
    result = np.zeros((steps, cells))
    at = np.round(spikes[:, 0] / 0.1).astype(int) - 1
    result[at[at < steps], spikes[at < steps, 1].astype(int)] = 1
    return result


@pytest.mark.parametrize("backend, granularity", [
    ("interpreter", "network"), ("native", "network"), ("native", "population"),
    pytest.param("lava", "population", marks=pytest.mark.lava)])
@pytest.mark.parametrize("cell", ["lif_exp", "lif_alpha"])
def test_a_network_of_nest_step_by_step(cell: str, backend: str, granularity: str) -> None:
    found = recording(cell)
    steps, n = found["V_m"].shape
    run = simulate(network(cell, found), steps, inputs={"S.value": trains(found["in_spikes"], steps, 20)},
                   record=["N.v", "N.spike"], backend=backend, granularity=granularity)
    spikes = run["N.spike"].reshape(steps, n)
    assert spikes.sum() > 150 and np.array_equal(spikes, trains(found["spikes"], steps, n))
    assert np.abs(run["N.v"].reshape(steps, n) - found["V_m"]).max() < 1e-9
