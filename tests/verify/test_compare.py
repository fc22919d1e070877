"""Limits: absolute and relative to the range over the run; what cannot pass; chunks change nothing."""

from __future__ import annotations

import json

import numpy as np
import pytest

from cortexc.compiler.ir import CortexError
from cortexc.compiler.verify.compare import Comparison

T = np.linspace(0, 1, 50)


def compare(got, expected, **details):
    comparison = Comparison(**details)
    comparison.add({"x": np.asarray(got, float)}, {"x": np.asarray(expected, float)})
    return comparison.result("test")


@pytest.mark.parametrize("error, passes", [(0.0, True), (9e-11, True), (1.1e-10, False), (np.nan, False),
                                           (np.inf, False)])
def test_absolute_limit(error, passes):
    got = T[:, None].copy()
    got[20] += error
    assert compare(got, T[:, None]).passed is passes


@pytest.mark.parametrize("error, passes", [(9e-15, True), (1.1e-14, False)])
def test_small_quantities_have_a_relative_limit(error, passes):
    """A variable that moves by 1e-6 over the run: the absolute limit alone would prove nothing."""
    expected = 5e-7 + 1e-6 * T[:, None]
    result = compare(expected + error * (T[:, None] > 0.5), expected)
    assert result.passed is passes
    assert result.variables["x"].rel == pytest.approx(error / 1e-6, rel=1e-3)


def test_a_constant_is_relative_to_its_magnitude():
    expected = np.full((50, 1), 3e-4)
    assert compare(expected * (1 + 9e-9), expected).passed
    assert not compare(expected * (1 + 2e-8), expected).passed


def test_jitter_in_the_last_bits_counts_as_constant():
    expected = np.full((50, 1), 0.3)
    expected[::2] = np.nextafter(0.3, 1)
    assert compare(np.full((50, 1), 0.3), expected).passed


def test_zero_throughout_has_the_absolute_limit_only():
    result = compare(np.full((50, 1), 9e-11), np.zeros((50, 1)))
    assert result.passed and result.variables["x"].rel == 0
    assert not compare(np.full((50, 1), 2e-10), np.zeros((50, 1))).passed


def test_the_range_is_over_time_not_over_components():
    """Components far apart that hardly move do not excuse an error as large as their movement."""
    expected = np.array([-1.0, 1.0]) + 1e-7 * T[:, None]
    assert not compare(expected + 1e-11, expected).passed


def test_nan_on_both_sides_is_no_agreement():
    values = T[:, None].copy()
    values[7] = np.nan
    result = compare(values, values)
    assert not result.passed and result.first_divergence.step == 7
    data = result.as_dict()
    assert data["max_abs_error"] is None and json.dumps(data, allow_nan=False)


def test_nothing_compared_fails():
    comparison = Comparison()
    comparison.add({"x": T}, {"y": T})
    result = comparison.result("test")
    assert not result.passed and result.reasons == ("no variable was compared over 0 steps",)
    assert not compare(np.zeros((5, 0)), np.zeros((5, 0))).passed


def test_first_divergence_names_the_earliest_and_in_one_step_the_first_computed():
    rng = np.random.default_rng(0)
    expected = {name: rng.normal(size=(30, 2, 3)) for name in "abc"}
    got = {name: values.copy() for name, values in expected.items()}
    got["c"][12, 1, 2] += 1e-3
    got["b"][12, 0, 1] += 1e-9
    got["b"][13, 0, 0] += 1e-2
    got["a"][14] += 1
    comparison = Comparison(order=["b", "c", "a"])
    comparison.add(got, expected)
    where = comparison.result("test").first_divergence
    assert (where.variable, where.step, where.index) == ("b", 12, (0, 1))
    assert where.got - where.expected == pytest.approx(1e-9)


def test_an_error_below_the_limits_is_not_the_first_divergence():
    got = T[:, None].copy()
    got[3] += 5e-11
    got[30] += 1e-5
    assert compare(got, T[:, None]).first_divergence.step == 30


@pytest.mark.parametrize("chunk", [1, 7, 49, 100])
def test_chunks_change_nothing(chunk):
    rng = np.random.default_rng(1)
    expected = 1e-6 * rng.normal(size=(60, 4)).cumsum(0)
    got = expected + 1e-13 * rng.normal(size=(60, 4)) * (np.arange(60) > 30)[:, None]
    whole, pieces = Comparison(), Comparison()
    whole.add({"x": got}, {"x": expected})
    for start in range(0, 60, chunk):
        part = slice(start, start + chunk)
        pieces.add({"x": got[part]}, {"x": expected[part]})
    assert pieces.result("test") == whole.result("test") and not whole.result("test").passed
    assert whole.steps == pieces.steps == 60


def test_weights_that_never_move():
    expected = 1.0 + 1e-12 * T[:, None]
    result = compare(np.ones((50, 1)), expected, plastic=["x"])
    assert any("never moved" in reason for reason in result.reasons)
    assert not any("never moved" in r for r in compare(np.ones((50, 1)), np.ones((50, 1)), plastic=["x"]).reasons)


def test_shapes_must_agree():
    with pytest.raises(CortexError, match=r"V125 variable 'x' has shape \(2,\) per step, expected \(3,\)"):
        compare(np.zeros((4, 2)), np.zeros((4, 3)))
