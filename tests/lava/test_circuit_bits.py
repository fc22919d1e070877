"""A circuit as ordinary Lava has the bits of the native loop, in every Var, with plasticity on.

The emitted processes run in threads here, with the phases of Loihi's protocol; test_circuits.py runs them on Lava. CORTEXC_STEPS=10000 for as
many.
"""

import os
from dataclasses import replace

import numpy as np
import pytest
from lava_in_threads import differences, wrong_in
from lava_programs import ROOT
from random_graphs.choices import Kinds, RandomChoices
from random_graphs.circuits import random_setup
from random_graphs.integers import KINDS, integer_program

from cortexc.compiler.experiments.config import load_experiment
from cortexc.compiler.ir import CortexError, parse_graph

SHIPPED = ("pal_digits", "error_neuron_digits", "sign_concordant_mnist_online", "depth_dendritic", "depth_dpc",
           "depth_ann")
STEPS = int(os.environ.get("CORTEXC_STEPS", "40"))
MANY = int(os.environ.get("CORTEXC_LAVA_GRAPHS", "16"))
FIRST = int(os.environ.get("CORTEXC_FIRST_GRAPH", "1000"))


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_circuits(name):
    found = differences(load_experiment(name, ["model.layers=[5,4,3]"]), STEPS)
    assert found.wrong == [] and found.compared > 10 and found.moved >= 2


def test_learning_in_the_spiking_phase_has_the_same_bits():
    found = differences(load_experiment("pal_digits", ["model.layers=[5,4,3]"]), 30, learning_phase=False)
    assert found.wrong == [] and found.moved >= 2


EIGHT_BITS = ["model.layers=[64,4,10]", "precision.weights=8", "precision.calibration_steps=50", "protocol.epochs=1"]


@pytest.mark.parametrize("kind", ["", "Fixed"])
@pytest.mark.parametrize("name", ["pal_digits", "error_neuron_digits"])
def test_both_models_of_a_circuit_in_fixed_point(name, kind):
    found = differences(load_experiment(name, EIGHT_BITS), STEPS, kind)
    assert found.wrong == [] and found.compared > 15 and found.moved >= 2


@pytest.mark.parametrize("optimiser", ["accumulate()", "clipped(0.05)", "adam(0.01, 0.9, 0.99, 1e-8)"])
def test_optimisers(optimiser):
    """At every update, of a circuit that updates in every step."""
    text = (ROOT / "examples/lava/oja.ir").read_text()
    assert "\nsynapse" in text and "optimiser" not in text
    head, _, tail = text.partition("  increment ")
    line, _, rest = tail.partition("\n")
    graph = parse_graph(f"{head}  increment {line}\n  optimiser {optimiser}\n{rest}")
    found = differences(graph.with_(arrays={"W.w": np.full((2, 4), 0.25)}), 30)
    assert found.wrong == [] and found.moved == 1 and found.compared > 2


def survey(setups):
    """Numbers of circuits that were compared and that ordinary Lava does not say; what differs."""
    compared, refused, wrong = 0, 0, {}
    for seed, setup in setups:
        try:
            found = wrong_in(setup)
        except CortexError as error:
            assert error.code == "E531"
            refused += 1
            continue
        compared += 1
        wrong |= {seed: found} if found else {}
    return compared, refused, wrong


def test_random_circuits(monkeypatch):
    monkeypatch.setenv("CORTEXC_JIT", "0")
    kinds = Kinds(maps=False, batch=False, empty=False)
    seeds = range(FIRST, FIRST + MANY)
    compared, refused, wrong = survey((seed, random_setup(RandomChoices(seed), kinds)) for seed in seeds)
    assert wrong == {} and compared > MANY / 4 and compared + refused == MANY


def test_random_circuits_in_integers(monkeypatch):
    monkeypatch.setenv("CORTEXC_JIT", "0")
    kinds = replace(KINDS, batch=False, empty=False)
    found = ((seed, integer_program(seed, kinds)) for seed in range(FIRST, FIRST + MANY))
    compared, _, wrong = survey((seed, made[0]) for seed, made in found if made)
    assert wrong == {} and compared > MANY / 8
