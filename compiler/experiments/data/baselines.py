"""What every accuracy table is compared with: a linear classifier, a frozen hidden layer, backprop.

None of them is a circuit; they use the same samples, and the latter two as many hidden units.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from cortexc.compiler.experiments.data.datasets import Arrays, Dataset
from cortexc.compiler.experiments.data.loading import no_scikit_learn
from cortexc.compiler.ir.errors import CortexError


@dataclass(frozen=True)
class Baseline:
    """Accuracies are shares in [0, 1]; ``seconds`` is the wall time of training and scoring."""

    name: str
    train_accuracy: float
    test_accuracy: float
    seconds: float
    settings: Mapping[str, float] = field(default_factory=dict)
    """The hyper-parameters that were used."""


def linear_classifier(dataset: Dataset, seed: int = 0, *, penalty: float = 0.1) -> Baseline:
    """Multinomial logistic regression with biases, the L2 term weighted by ``penalty``.

    The default is the best of a cross-validation inside the digits' training part. The problem is convex, so
    the seed changes nothing. Raises D404, D405.
    """
    start = time.perf_counter()
    train, test = dataset.require("train"), dataset.require("test")
    accuracies = _logistic_regression(train, test, penalty, seed)
    return Baseline("linear classifier", *accuracies, time.perf_counter() - start, {"penalty": penalty})


def frozen_hidden(dataset: Dataset, hidden: int, seed: int = 0, *, span: float = 0.1,
                  penalty: float = 1e-4) -> Baseline:
    """A random logistic hidden layer, drawn from U[-span, span] without biases; only the readout is trained.

    The readout is fitted to its optimum: what learning in the hidden layer adds is what exceeds this.
    Raises D404, D405.
    """
    start = time.perf_counter()
    weights = np.random.RandomState(seed).uniform(-span, span, (hidden, dataset.n_in)).T
    (train_x, train_y), (test_x, test_y) = dataset.require("train"), dataset.require("test")
    train, test = (_logistic(train_x @ weights), train_y), (_logistic(test_x @ weights), test_y)
    accuracies = _logistic_regression(train, test, penalty, seed)
    settings = {"hidden": hidden, "span": span, "penalty": penalty}
    return Baseline("hidden layer frozen", *accuracies, time.perf_counter() - start, settings)


def mlp_backprop(dataset: Dataset, hidden: int, epochs: int = 30, seed: int = 0, *, rate: float = 0.2,
                 batch: int = 1) -> Baseline:
    """n_in-``hidden``-classes: logistic hidden units, biases, softmax, cross-entropy, plain gradient descent.

    Start: U[-a, a] with a = sqrt(6 / (fan_in + fan_out)), biases 0. Samples are shuffled every epoch; a step
    is ``rate`` times the mean gradient of ``batch`` samples. Raises D404.
    """
    start = time.perf_counter()
    train, test = dataset.require("train"), dataset.require("test")
    generator = np.random.RandomState(seed)
    network = Network.random((dataset.n_in, hidden, dataset.classes), generator)
    targets = np.eye(dataset.classes)[train[1]]
    for _ in range(epochs):
        order = generator.permutation(len(targets))
        for first in range(0, len(order), batch):
            chosen = order[first:first + batch]
            network.descend(train[0][chosen], targets[chosen], rate)
    settings = {"hidden": hidden, "epochs": epochs, "rate": rate, "batch": batch}
    accuracies = network.accuracy(*train), network.accuracy(*test)
    return Baseline("same-size net with backprop", *accuracies, time.perf_counter() - start, settings)


@dataclass
class Network:
    """One hidden layer: ``lower`` (n_in, hidden), ``upper`` (hidden, classes) and their biases."""

    lower: np.ndarray
    lower_bias: np.ndarray
    upper: np.ndarray
    upper_bias: np.ndarray

    @classmethod
    def random(cls, sizes: tuple[int, int, int], generator: np.random.RandomState) -> Network:
        """Glorot's uniform start for the three layer sizes, biases 0."""
        n_in, hidden, classes = sizes
        low, up = np.sqrt(6 / (n_in + hidden)), np.sqrt(6 / (hidden + classes))
        lower = generator.uniform(-low, low, (n_in, hidden))
        return cls(lower, np.zeros(hidden), generator.uniform(-up, up, (hidden, classes)), np.zeros(classes))

    def forward(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Hidden rates (N, hidden) and logits (N, classes) of the inputs (N, n_in)."""
        rates = _logistic(x @ self.lower + self.lower_bias)
        return rates, rates @ self.upper + self.upper_bias

    def descend(self, x: np.ndarray, targets: np.ndarray, rate: float) -> None:
        """One gradient step on the mean cross-entropy of a batch; ``targets`` are one-hot (N, classes)."""
        rates, logits = self.forward(x)
        powers = np.exp(logits - logits.max(1, keepdims=True))
        top = (powers / powers.sum(1, keepdims=True) - targets) * (rate / len(x))
        bottom = (top @ self.upper.T) * rates * (1 - rates)
        self.upper -= rates.T @ top
        self.upper_bias -= top.sum(0)
        self.lower -= x.T @ bottom
        self.lower_bias -= bottom.sum(0)

    def accuracy(self, x: np.ndarray, y: np.ndarray) -> float:
        """Share of the samples whose largest logit is the label's."""
        return float(np.mean(self.forward(x)[1].argmax(1) == y))


def _logistic(x: np.ndarray) -> np.ndarray:
    """1/(1+exp(-x)) without overflow."""
    return 0.5 * (1 + np.tanh(0.5 * x))


def _logistic_regression(train: Arrays, test: Arrays, penalty: float, seed: int) -> tuple[float, float]:
    """Accuracy on both parts after fitting the first; D405 if it has only one class, D411."""
    try:
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.linear_model import LogisticRegression
    except ImportError as error:
        raise no_scikit_learn("a linear classifier") from error
    if len(np.unique(train[1])) < 2:
        raise CortexError("D405", "all training samples have the same label; a classifier needs two classes.")
    model = LogisticRegression(C=1 / penalty, max_iter=3000, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(*train)
    return float(model.score(*train)), float(model.score(*test))
