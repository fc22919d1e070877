"""The plain forms of STDP against recordings of NEST, pair by pair; `verify --golden` takes the general ones."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cortexc.compiler.experiments.simulation import simulate
from cortexc.compiler.ir import parse_graph

GOLDEN = Path(os.environ.get("CORTEXC_GOLDEN", Path(__file__).parents[2] / ".." / "shared" / "golden"))
PAIR = {"learning_rate": 0.02, "asymmetry": 1.05, "w_max": 800.0, "tau_plus": 15.0}
RULES = {"stdp_additive": PAIR, "stdp_multiplicative": PAIR, "stdp_nearest_symmetric": PAIR}
TOP = 800
"""The greatest weight."""


def recording(name: str) -> dict[str, Any]:
    path = GOLDEN / name
    if not path.exists():
        pytest.skip("no recorded trajectories")
    with np.load(path) as found:
        return {**found, "about": json.loads(str(found["about"]))}


def step_of(times: np.ndarray) -> np.ndarray:
    """The step that ends at a time (ms)."""
    return np.round(times / 0.1).astype(int) - 1



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
    found, given = recording(f"nest_{rule}.npz"), RULES[rule]
    steps, n = 2000, len(found["source"])
    pre, post = np.zeros((steps, n)), np.zeros((steps, n))
    for i in range(n):
        pre[step_of(found["in_spikes"][found["in_spikes"][:, 1] == found["source"][i], 0]), i] = 1.0
        at = step_of(found["spikes"][found["spikes"][:, 1] == found["target"][i], 0] + found["delay"][i])
        post[at[at < steps], i] = 1.0
    text = PAIRS.format(rule=rule, n=n, top=TOP) + "".join(f"  {name} = {value}\n" for name, value in given.items())
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
