"""Brunel's and Potjans and Diesmann's networks: what is drawn, and what scaling keeps."""

import numpy as np
import pytest

from cortexc.compiler.ir import CortexError
from cortexc.compiler.microcircuits import brunel, potjans_diesmann
from cortexc.compiler.microcircuits.brunel import Brunel
from cortexc.compiler.microcircuits.potjans_diesmann import EXTERNAL, RATES, SIZES, TAU_SYN, PotjansDiesmann


def test_the_full_microcircuit_has_the_published_size():
    circuit = PotjansDiesmann()
    graph = potjans_diesmann.build(circuit)
    drawn = {q.name: q.wiring.number for q in graph.projections}
    assert sum(p.size for p in graph.populations) == 77169
    assert len(drawn) == 55 and 0.298e9 < sum(drawn.values()) < 0.3e9
    assert drawn["L23E_L23E"] == pytest.approx(-np.log1p(-0.1009) * 20683**2, rel=1e-6)


def test_the_weight_of_a_synapse_moves_a_cell_by_its_potential():
    """The peak of the potential, integrated step by step, is 0.15 mV."""
    v, current, dt, seen = 0.0, potjans_diesmann.excitatory_weight(), 1e-4, []
    for _ in range(100_000):
        v, current = v + dt * (-v / 10.0 + current / 250.0), current - dt * current / TAU_SYN
        seen.append(v)
    assert max(seen) == pytest.approx(0.15, rel=1e-3)
    assert potjans_diesmann.excitatory_weight() == pytest.approx(87.8, abs=0.05)


def moments(circuit, name):
    """Mean and variance of a cell's current at the rates of the full network, but for a common factor."""
    own = [(circuit.synapses(pre, name) / circuit.sizes[name], circuit.weight_of(pre, name), RATES[pre]) for pre in SIZES]
    own.append((circuit.external[name], circuit.weight, circuit.external_rate))
    mean = sum(number * weight * rate for number, weight, rate in own) * 1e-3 * TAU_SYN
    return mean + circuit.bias(name), sum(number * weight**2 * rate for number, weight, rate in own)


@pytest.mark.parametrize("name", SIZES)
def test_thinned_inputs_keep_the_mean_and_variance_of_currents(name):
    """Where only cells are left out, a cell hears as many as before."""
    full = moments(PotjansDiesmann(), name)
    assert moments(PotjansDiesmann(scale=0.1, indegree_scale=0.3), name) == pytest.approx(full, rel=2e-3)
    assert moments(PotjansDiesmann(scale=0.1), name) == pytest.approx(full, rel=2e-3)
    assert PotjansDiesmann(scale=0.1).bias(name) == 0.0


def test_a_constant_drive_has_the_mean_of_the_trains():
    circuit = PotjansDiesmann(scale=0.01, drive="dc")
    graph = potjans_diesmann.build(circuit)
    assert not graph.cells[0].noise
    for p in graph.populations:
        assert dict(p.parameters)["bias"] == pytest.approx(EXTERNAL[p.name] * 8.0 * circuit.weight * 1e-3 * TAU_SYN)


def test_brunels_cells_hear_a_tenth_of_the_others():
    graph = brunel.build(Brunel(order=250, g=4.5, eta=0.9))
    assert {p.name: p.size for p in graph.populations} == {"E": 1000, "I": 250}
    assert {(q.pre, q.wiring.number, q.delay) for q in graph.projections} == {("E", 100, 15), ("I", 25, 15)}
    rate = next(p.default for p in graph.cell("lif").parameters if p.name == "rate")
    assert rate == pytest.approx(9.0)  # eta theta / (J tau)


@pytest.mark.parametrize("build, options, code", [
    (brunel.build, Brunel(order=0), "E330"), (brunel.build, Brunel(epsilon=1.5), "E330"),
    (potjans_diesmann.build, PotjansDiesmann(scale=2), "E330"), (potjans_diesmann.build, PotjansDiesmann(scale=0), "E330"),
    (potjans_diesmann.build, PotjansDiesmann(drive="ac"), "E331")])
def test_options_out_of_range_are_refused(build, options, code):
    with pytest.raises(CortexError, match=code):
        build(options)
