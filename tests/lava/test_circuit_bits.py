"""A circuit as ordinary Lava has the bits of the native loop, in every Var, with plasticity on.

The emitted processes run in threads here, with the phases of Loihi's protocol; test_circuits.py runs them on Lava.
"""

import pytest
from lava_in_threads import differences

from compiler.experiments.config import load_experiment
from compiler.experiments.lava_circuits import graph_of

SHIPPED = ("pal_digits", "error_neuron_digits", "sign_concordant_mnist_online", "depth_dendritic", "depth_dpc",
           "depth_ann")


def shipped(name, *overrides):
    return graph_of(load_experiment(name, ["model.layers=[5,4,3]", *overrides]))[0]


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_circuits(name):
    found = differences(shipped(name), 40)
    assert found.wrong == [] and found.compared > 10 and found.moved >= 2
