"""Figures from recordings: angles, errors, accuracies."""

from types import SimpleNamespace

import numpy as np

from cortexc.compiler.experiments.results import angle, epoch_means, squared_error, transpose_angle
from cortexc.compiler.experiments.tasks.plans import READOUT, Plan, scores
from cortexc.compiler.ir.protocol import Phase, Protocol, Record, Stream


def records(**tables):
    return SimpleNamespace(rows=lambda stream, quantity: tables[quantity])


def test_angles_between_matrices():
    first = np.array([[1.0, 0.0], [0.0, 1.0]])
    assert np.isclose(angle(first, first), 0, atol=1e-5) and np.isclose(angle(first, -first), 180, atol=1e-5)
    assert np.isclose(angle(first, np.array([[0.0, 1.0], [1.0, 0.0]])), 90)
    assert np.isnan(angle(first, np.zeros((2, 2))))


def test_the_angle_is_to_the_transpose():
    forward = np.random.default_rng(1).normal(size=(4, 2, 3, 5))
    found = transpose_angle(records(B=2 * forward.swapaxes(-1, -2), W=forward), "s", "B", "W")
    assert found.shape == (4, 2) and np.allclose(found, 0, atol=1e-5)


def test_squared_errors_and_epoch_means():
    curve = squared_error(records(a=np.ones((6, 2, 3)), b=np.zeros((6, 2, 3))), "s", "a", "b")
    assert curve.shape == (6, 2) and np.all(curve == 1)
    assert np.array_equal(epoch_means(np.arange(7.0)[:, None], 3), [[1.0], [4.0]])
    assert epoch_means(np.zeros((0, 1)), 3).shape == (0, 1) and epoch_means(np.zeros((4, 1)), 0).shape == (0, 1)


def test_the_largest_mean_readout_wins():
    phase = Phase("test", 3, 2, records=((f"{READOUT}test", Record(at=(0, 1))),))
    protocol = Protocol((phase,), ("test", "test"), (Stream(f"{READOUT}test", ("out",)),))
    plan = Plan(protocol, np.zeros((3, 3)), (0, 0), {"test": np.array([[0, 1, 1], [0, 1, 0]])})
    first = np.array([[[3, 0], [3, 0]], [[0, 1], [0, 1]],   # sample 0: (seed 0 picks 0 by its mean, seed 1 too)
                      [[0, 1], [0, 1]], [[0, 1], [0, 1]],
                      [[1, 0], [1, 0]], [[1, 0], [1, 0]]], dtype=float)
    table = np.concatenate([first, np.zeros_like(first)])
    found = scores(plan, records(out=table), 6)
    assert len(found) == 1 and np.allclose(found[0].values, [2 / 3, 1]) and np.isclose(found[0].mean, 5 / 6)
    assert len(scores(plan, records(out=table), 12)) == 2
    assert scores(plan, records(out=table), 5) == []
