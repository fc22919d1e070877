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
from cortexc.compiler.ir.protocol import Phase, Protocol
from cortexc.compiler.verify.runs import Setup, trajectory

SHIPPED = ("pal_digits", "error_neuron_digits", "sign_concordant_mnist_online", "depth_dendritic", "depth_dpc",
           "depth_ann")
STEPS = int(os.environ.get("CORTEXC_STEPS", "40"))
MANY = int(os.environ.get("CORTEXC_LAVA_GRAPHS", "16"))
FIRST = int(os.environ.get("CORTEXC_FIRST_GRAPH", "1000"))


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_circuits(name):
    found = differences(load_experiment(name, ["model.layers=[5,4,3]"]), STEPS)
    assert found.wrong == [] and found.compared > 10 and found.moved >= 2


SMALL = {
    "brunel": ["model.order=25"], "potjans_diesmann": ["model.scale=0.01"], "diehl_cook": ["model.cells=20"],
    "sheet": ["model.side=10", "model.excitatory_mm=0.2"], "pal_mnist": ["model.layers=[784,5,10]"], "pal_autoencoder": ["model.layers=[784,6,2,6,784]"],
    "pal_cifar10": ["model.layers=['3x32x32','2c5','m2','2c5','m2',6,10]", "data.limits.train=200"],
    "sign_concordant_cnn": ["model.layers=['1x28x28','2c5','p2','2c5','p2',6,10]"],
    "sign_concordant_fashion": ["model.layers=[784,6,5,10]"], "sign_concordant_mnist": ["model.layers=[784,6,10]"],
    "sign_concordant_mnist_8bit": ["model.layers=[784,6,10]"], "sign_concordant_mnist_online": ["model.layers=[784,6,10]"]}
SILENT = ("brunel", "derivative_transfer", "potjans_diesmann", "sheet")
"""Nothing learns."""


@pytest.mark.skipif(STEPS < 100, reason="with CORTEXC_STEPS of 100 or more")
@pytest.mark.parametrize("name", sorted(path.stem for path in (ROOT / "examples").glob("*.toml")))
def test_every_shipped_experiment(name):
    """Where noise was drawn by the authors' generators (three experiments of PAL), with our own."""
    found = differences(load_experiment(name, [*SMALL.get(name, ()), "run.seeds=[1]", "run.noise=counter"]), STEPS)
    assert found.wrong == [] and found.compared >= 9 and (found.moved > 0) == (name not in SILENT)


MANY_SEEDS = {"pal_digits": ["model.layers=[5,4,3]"], "error_neuron_digits": ["model.layers=[5,4,3]"], "rstdp": [],
              "brunel": ["model.order=25"], "eprop": [], "diehl_cook": ["model.cells=20"]}


@pytest.mark.parametrize("name", MANY_SEEDS)
def test_several_seeds(name):
    """Side by side: of rate circuits, and of spiking ones with lists of synapses, delays and noise."""
    found = differences(load_experiment(name, [*MANY_SEEDS[name], "run.noise=counter"]), 25, seed=[4, 9])
    assert found.wrong == [] and found.compared >= 9 and (found.moved > 0) == (name != "brunel")


def test_a_minibatch():
    """The shipped one, of 100 samples that share the weights, whose increments are summed until the update."""
    experiment = load_experiment("sign_concordant_mnist", ["model.layers=[5,4,3]"])
    found = differences(experiment, STEPS)
    assert experiment.protocol.minibatch == 100 and found.wrong == [] and found.moved >= 2


def test_learning_in_the_spiking_phase_has_the_same_bits():
    found = differences(load_experiment("pal_digits", ["model.layers=[5,4,3]"]), 30, learning_phase=False)
    assert found.wrong == [] and found.moved >= 2


EIGHT_BITS = ["model.layers=[64,4,10]", "precision.weights=8", "precision.calibration_steps=50", "protocol.epochs=1"]


@pytest.mark.parametrize("name, seed, kind", [("pal_digits", 1, ""), ("pal_digits", 1, "Fixed"), (
    "error_neuron_digits", 1, "Fixed"), ("error_neuron_digits", [4, 9], ""), ("error_neuron_digits", [4, 9], "Fixed")])
def test_both_models_of_a_circuit_in_fixed_point(name, seed, kind):
    found = differences(load_experiment(name, EIGHT_BITS), STEPS, kind, seed)
    assert found.wrong == [] and found.compared > 15 and found.moved >= 2


@pytest.mark.parametrize("optimiser", ["accumulate()", "clipped(0.05)", "adam(0.01, 0.9, 0.99, 1e-8)"])
def test_optimisers(optimiser):
    """At every update, of a circuit that updates in every step."""
    text = (ROOT / "examples/lava/oja.ir").read_text()
    assert "\nsynapse" in text and "optimiser" not in text
    head, _, tail = text.partition("  increment ")
    line, _, rest = tail.partition("\n")
    graph = parse_graph(f"{head}  increment {line}\n  optimiser {optimiser}\n{rest}")
    graph = graph.with_(arrays={"W.w": np.full((2, 4), 0.25)})
    for batch, seed in ((graph, 1), (graph.with_(samples=2), [4, 9])):
        found = differences(batch, 30, seed=seed)
        assert found.wrong == [] and found.moved == 1 and found.compared > 2


@pytest.mark.parametrize("layer, samples, seed", [("2c3", 1, 1), ("2c3", 3, [4, 9]), ("2l3", 3, [4, 9])])
def test_feature_maps(layer, samples, seed):
    layers = f"model.layers=['1x6x6', '{layer}', 'p2', 4, 3]"
    experiment = load_experiment("sign_concordant_cnn", [layers, f"protocol.minibatch={samples}"])
    found = differences(experiment, 12, seed=seed)
    assert found.wrong == [] and found.moved >= 2


LATE = """graph late
  dt 1
cell leaky
  input value
  port a
  state v = 0.25
  receive v = 0.5 * prev(v) + 0.5 * a + value
  message v
rule hebb
  state tag = 0
  update tag = 0.5 * prev(tag) + prev(arrived.v)
  increment 0.01 * post.v * arrived.v - 0.02 * tag * pre.v
synapse plastic
  message v
  port a
  rule hebb
population A leaky 3
population B leaky 2
projection W plastic A -> B delay=3
projection V plastic B -> A
synapse listed
  message v
  port a
  connectivity sparse
  rule hebb
projection L listed A -> B
"""


def test_rules_that_read_what_arrives():
    """Of one delay for all synapses, and of one of its own for each."""
    cells = {"L.pre": np.array([2, 0, 1, 2]), "L.post": np.array([0, 1, 1, 1]), "L.delay": np.array([1, 4, 2, 3])}
    weights = {"W.w": np.full((2, 3), 0.25), "V.w": np.full((3, 2), -0.25), "L.w": np.array([0.5, 0.25, -0.5, 0.125])}
    graph = parse_graph(LATE).with_(arrays={**cells, **weights})
    for seed in (1, [4, 9]):
        found = differences(graph, 25, seed=seed)
        assert found.wrong == [] and found.moved == 3


def test_steps_of_a_list_that_are_clipped_together():
    text = LATE.replace("increment", "optimiser clipped(0.01)\n  increment").replace("arrived", "pre")
    cells = {"L.pre": np.array([2, 0, 1, 2]), "L.post": np.array([0, 1, 1, 1])}
    weights = {"W.w": np.full((2, 3), 0.25), "V.w": np.full((3, 2), -0.25), "L.w": np.array([0.5, 0.25, -0.5, 0.125])}
    found = differences(parse_graph(text).with_(arrays={**cells, **weights}), 25)
    assert found.wrong == [] and found.moved == 3


UNITS = """graph units
  dt 1
cell leaky
  port a mV
  state v mV = 1 mV
  receive v = prev(v) / (3 mV / 2 mV + 0.5) + 0.25 * a + where(a > 2 mV, 1 mV, -1 mV)
  message v
synapse plain
  message v
  port a
population A leaky 3
projection W plain A -> A
output v = A.v
"""


def test_numbers_with_units_are_numbers():
    graph = parse_graph(UNITS).with_(arrays={"W.w": np.arange(9.0).reshape(3, 3) / 4 - 1})
    assert differences(graph, 25).wrong == []


def test_a_list_that_copies_another():
    """Back over the same synapses, given in no order."""
    text = LATE + """synapse back
  message v
  port a
  connectivity sparse
projection M back B -> A
mirror M = L : transpose negate add:M.offset
"""
    cells = {"L.pre": np.array([2, 0, 1, 2]), "L.post": np.array([0, 1, 1, 1])}
    weights = {"W.w": np.full((2, 3), 0.25), "V.w": np.full((3, 2), -0.25), "L.w": np.array([0.5, 0.25, -0.5, 0.125])}
    copies = {"M.w": np.array([0.1, 0.2, 0.3, 0.4]), "M.offset": np.array([0.0, 0.1, 0.2, 0.3])}
    found = differences(parse_graph(text).with_(arrays={**cells, **weights, **copies}), 25)
    assert found.wrong == [] and found.moved == 4


REDRAWN = """graph redrawn
  dt 1
  gate one
  gate two
cell leaky
  input value
  port a
  state v = 0
  receive v = 0.5 * prev(v) + a + value
  message v
synapse plain
  message v
  port a
population A leaky 2
population B leaky 2
projection W plain A -> B
projection V plain B -> A
mirror V = W : redraw:x gate=one
mirror V = W : negate redraw:y after gate=two
"""


@pytest.mark.parametrize("gates", [(1, 0), (0, 1), (1, 1)])
def test_several_mirrors_of_a_projection_draw_numbers_of_their_own(gates):
    scales = {"x": np.full((2, 2), 0.5), "y": np.full((2, 2), 0.25)}
    graph = parse_graph(REDRAWN).with_(arrays={"W.w": np.eye(2) + 0.5, "V.w": np.ones((2, 2)), **scales})
    held = {"one": (1.0, float(gates[0])), "two": (1.0, float(gates[1]))}
    protocol = Protocol((Phase("run", 8, 2, gates=tuple(held.items())),), ("run",))
    setup = Setup(graph, protocol, np.ones((8, 4)), (3,))
    assert wrong_in(setup) == []
    names = ["V.w"]
    rows = [np.concatenate([chunk["V.w"] for chunk in trajectory(setup, names, on)]) for on in ("interpreter", "native")]
    assert rows[0].tobytes() == rows[1].tobytes() and (rows[0] != 0).all()
    assert (np.sign(rows[0][1::2]) == (-1 if gates[1] else 1)).all() and (rows[0][0] != rows[0][2]).all()


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
    kinds = Kinds(empty=False)
    seeds = range(FIRST, FIRST + MANY)
    compared, refused, wrong = survey((seed, random_setup(RandomChoices(seed), kinds)) for seed in seeds)
    assert wrong == {} and refused == 0 and compared == MANY


def test_random_circuits_in_integers(monkeypatch):
    monkeypatch.setenv("CORTEXC_JIT", "0")
    kinds = replace(KINDS, empty=False)
    found = ((seed, integer_program(seed, kinds)) for seed in range(FIRST, FIRST + MANY))
    compared, _, wrong = survey((seed, made[0]) for seed, made in found if made)
    assert wrong == {} and compared > MANY / 8
