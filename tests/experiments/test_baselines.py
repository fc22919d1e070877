"""Baselines: the known accuracies on digits, seeds, and data that cannot be classified."""

from __future__ import annotations

import numpy as np
import pytest

from cortexc.compiler.experiments.data.baselines import Network, frozen_hidden, linear_classifier, mlp_backprop
from cortexc.compiler.experiments.data.datasets import Dataset, load_dataset
from cortexc.compiler.ir.errors import CortexError


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load_dataset("digits")


def test_linear_classifier_on_digits(digits):
    result = linear_classifier(digits)
    assert 0.96 < result.test_accuracy < 0.98 and result.train_accuracy > 0.99 and result.seconds > 0
    assert linear_classifier(digits, seed=5).test_accuracy == result.test_accuracy


def test_frozen_hidden_layer_is_worse_than_linear(digits):
    result = frozen_hidden(digits, 30)
    assert 0.90 < result.test_accuracy < 0.955
    assert frozen_hidden(digits, 30, seed=1).test_accuracy != result.test_accuracy


def test_backprop_is_the_best_and_repeats(digits):
    result = mlp_backprop(digits, 30, epochs=12)
    assert result.test_accuracy > 0.965
    again = mlp_backprop(digits, 30, epochs=12)
    assert (again.train_accuracy, again.test_accuracy) == (result.train_accuracy, result.test_accuracy)
    assert dict(result.settings) == {"hidden": 30, "epochs": 12, "rate": 0.2, "batch": 1}


def test_backprop_follows_the_gradient():
    """The step of ``descend`` against central differences of the mean cross-entropy."""
    generator = np.random.RandomState(0)
    network = Network.random((3, 4, 2), generator)
    x, targets = generator.rand(5, 3), np.eye(2)[[0, 1, 1, 0, 1]]

    def loss(position: tuple[int, int], shift: float) -> float:
        network.lower[position] += shift
        logits = network.forward(x)[1]
        network.lower[position] -= shift
        return float(np.mean(np.log(np.exp(logits).sum(1)) - (logits * targets).sum(1)))

    before, numeric = network.lower.copy(), np.zeros((3, 4))
    for position in np.ndindex(3, 4):
        numeric[position] = (loss(position, 1e-5) - loss(position, -1e-5)) / 2e-5
    network.descend(x, targets, 1.0)
    np.testing.assert_allclose(before - network.lower, numeric, atol=1e-9)


@pytest.mark.parametrize("part", ["train", "test"])
@pytest.mark.parametrize("baseline", [linear_classifier, lambda data: frozen_hidden(data, 3),
                                      lambda data: mlp_backprop(data, 3)])
def test_empty_parts(baseline, part):
    with pytest.raises(CortexError, match=f"D404.*'{part}' is empty"):
        baseline(load_dataset("digits", limits={part: 0}))


def test_a_single_class():
    with pytest.raises(CortexError, match="D405.*same label"):
        linear_classifier(load_dataset("digits", limits={"train": 1}))
