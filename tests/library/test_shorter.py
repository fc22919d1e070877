"""Circuits that were spelled out before there were words for their cells: the same numbers in at most half the lines."""

from __future__ import annotations

import inspect
from math import exp, factorial

import numpy as np

from cortexc.compiler.experiments.simulation import simulate
from cortexc.compiler.ir import parse_graph


def poisson(mean: float, most: int = 8) -> str:
    """The inverse of the distribution at a uniform number, spelled out."""
    below, terms = 0.0, []
    for k in range(most):
        below += exp(-mean) * mean**k / factorial(k)
        terms.append(f"(u > {below!r})")
    return " + ".join(terms)


BRUNEL = """graph brunel
  dt 0.1
cell lif
  port syn @ soma
  noise u uniform
  parameter tau ms = 20
  parameter theta mV = 20
  parameter reset mV = 10
  parameter J mV = 0.4
  state v = 0
  state refr = 0
  state spike = 0
  send spike = where(prev(v) >= theta, 1, 0)
  send ext = {external}
  send refr = where(spike > 0, 20, max(prev(refr) - 1, 0))
  receive v = where(refr > 0, reset, exp(-dt / tau) * prev(v) + J * ext + syn)
  message spike
"""
SHORTER_BRUNEL = """graph brunel
  dt 0.1
cell lif = library.lif_delta
  noise external poisson(0.5)
  jump v = v + 0.4 * external + synapses
"""
PARAMETERS = "  tau_m = 20\n  v_rest = 0\n  v_reset = 10\n  v_threshold = 20\n"
NETWORK = """synapse into
  message spike
  port {port}
  connectivity masked
population E lif {ne}
{given}population I lif {ni}
{given}projection EE into E -> E delay=15
projection EI into E -> I delay=15
projection IE into I -> E delay=15
projection II into I -> I delay=15
"""


def network(cell: str, port: str, given: str = "", ne: int = 80, ni: int = 20) -> np.ndarray:
    """(steps, cells) of spikes of Brunel's network, sparse, inhibition five times as strong."""
    rng, sizes, arrays = np.random.default_rng(3), {"E": ne, "I": ni}, {}
    for post in "EI":
        for pre, w in (("E", 0.4), ("I", -2.0)):
            mask = (rng.random((sizes[post], sizes[pre])) < 0.3).astype(float)
            arrays |= {f"{pre}{post}.mask": mask, f"{pre}{post}.w": mask * w}
        arrays[f"{post}.v"] = rng.uniform(0, 20, sizes[post])
    text = cell + NETWORK.format(port=port, ne=ne, ni=ni, given=given)
    run = simulate(parse_graph(text).with_(arrays=arrays), 2000, record=["E.spike", "I.spike"], seed=7)
    return np.concatenate([run["E.spike"][:, 0], run["I.spike"][:, 0]], axis=1)


def test_brunels_cell_spikes_as_the_one_that_was_spelled_out_and_a_step_earlier() -> None:
    long = BRUNEL.format(external=poisson(0.5))
    spelled, said = network(long, "syn"), network(SHORTER_BRUNEL, "synapses", PARAMETERS)
    assert said.sum() > 300 and np.array_equal(spelled[1:], said[:-1])
    lines = [len(text.splitlines()) for text in (SHORTER_BRUNEL + PARAMETERS, long + inspect.getsource(poisson))]
    assert 2 * lines[0] <= lines[1]


HODGKIN_HUXLEY = """graph hodgkin-huxley
  dt 0.01
cell hh
  input I
  state V = -65
  state m = 0.05
  state h = 0.6
  state n = 0.32
  receive dV/dt = I - 120 * pow(m, 3) * h * (V - 50) - 36 * pow(n, 4) * (V + 77) - 0.3 * (V + 54.387)
  receive dm/dt = 0.1 * (V + 40) / (1 - exp(-(V + 40) / 10)) * (1 - m) - 4 * exp(-(V + 65) / 18) * m
  receive dh/dt = 0.07 * exp(-(V + 65) / 20) * (1 - h) - h / (1 + exp(-(V + 35) / 10))
  receive dn/dt = 0.01 * (V + 55) / (1 - exp(-(V + 55) / 10)) * (1 - n) - 0.125 * exp(-(V + 65) / 80) * n
population a hh 3
output V = a.V
"""
SHORTER_HODGKIN_HUXLEY = """graph hodgkin-huxley
  dt 0.01
cell hh = library.hodgkin_huxley
  integrator euler
population a hh 3
output V = a.v
"""


def test_hodgkin_and_huxleys_cell_has_the_voltages_of_the_one_that_was_spelled_out() -> None:
    drive, first = np.array([0.0, 7.0, 10.0]), {"a.m": 0.05, "a.h": 0.6, "a.n": 0.32}
    spelled = simulate(parse_graph(HODGKIN_HUXLEY), 1500, inputs={"a.I": drive}, record="a.V")["a.V"]
    arrays = {"a.bias": drive, **{name: np.full(3, value) for name, value in first.items()}}
    said = simulate(parse_graph(SHORTER_HODGKIN_HUXLEY).with_(arrays=arrays), 1500, record="a.v")["a.v"]
    assert np.ptp(spelled) > 90 and np.abs(said - spelled).max() < 1e-9
    assert 2 * len(SHORTER_HODGKIN_HUXLEY.splitlines()) <= len(HODGKIN_HUXLEY.splitlines())
