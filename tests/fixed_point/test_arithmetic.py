"""The arithmetic of fixed point: rounding, formats, tables and the random numbers, against exact fractions."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cortexc.compiler.backends.runtime import mix64, step_keys
from cortexc.compiler.backends.uniform import uniform
from cortexc.compiler.ir import CortexError, parse
from cortexc.compiler.ir.evaluation import entries
from cortexc.compiler.ir.expressions import Name, Prev
from cortexc.compiler.ir.functions import SCALAR
from cortexc.compiler.passes.fixed_point import Extent, Format, extent, format_for, rounded_constant

QUICK = settings(max_examples=200, deadline=None, derandomize=True, database=None)


def rounded(x: Fraction, scale: int, limit: int, offset: Fraction) -> Fraction:
    return Fraction(max(-limit, min(limit, math.floor(x * scale + offset))), scale)


@QUICK
@given(st.integers(-(2**40), 2**40), st.integers(0, 12), st.integers(-4, 20), st.integers(2, 24))
def test_fixed_rounds_half_up_and_saturates(units: int, shift: int, fraction: int, bits: int) -> None:
    x, limit = Fraction(units, 2 ** (fraction + shift)) if fraction + shift >= 0 else Fraction(units), 2 ** (bits - 1) - 1
    scale = Fraction(2) ** fraction
    exact = Fraction(max(-limit, min(limit, math.floor(x * scale + Fraction(1, 2))))) / scale
    assert SCALAR["fixed"](float(x), float(scale), float(limit), 0.5) == float(exact)


@QUICK
@given(st.floats(1e-9, 1e9), st.integers(2, 32), st.booleans())
def test_the_format_of_a_range_holds_it_and_none_is_finer(peak: float, bits: int, unsigned: bool) -> None:
    found = format_for(peak, bits, unsigned)
    assert peak <= found.largest
    assert Format(bits, found.fraction + 1, unsigned).largest < peak


@pytest.mark.parametrize("bits", [3, 8, 12])
@pytest.mark.parametrize("value", [1 / 3, 0.8, 0.9999, -0.25, -0.99, 1.0, 3.0, 5.3, 1e-6])
def test_a_constant_keeps_its_distance_from_one(value: float, bits: int) -> None:
    found, gap = rounded_constant(value, bits), min(g for g in (abs(value), abs(1 - abs(value))) if g)
    assert abs(found - value) <= gap * 2.0**-bits
    assert math.log2(found.as_integer_ratio()[1]) % 1 == 0
    assert rounded_constant(0.0, bits) == 0.0


def wide(node: Name | Prev) -> Extent:
    return Extent(20, 8.0)


@pytest.mark.parametrize(("text", "bits"), [
    ("a + b", 25), ("a * b", 47), ("0.5 * a", 24), ("where(a > b, a, 0)", 24), ("(a > b) * a", 24),
    ("fixed(a * b, 16, 127, 0.5) * a", 30), ("-a - b", 25), ("min(a, 3)", 24), ("floor(a)", 4)])
def test_bits_before_rounding(text: str, bits: int) -> None:
    assert extent(parse(text), wide, lambda name: Extent(0, 0.0), "test").bits == bits


@QUICK
@given(st.integers(-(2**23), 2**23), st.integers(-(2**23), 2**23))
def test_the_extent_of_a_product_is_never_exceeded(a: int, b: int) -> None:
    product = Fraction(a, 2**20) * Fraction(b, 2**20)
    found = extent(parse("a * b"), wide, lambda name: Extent(0, 0.0), "test")
    assert abs(product) <= found.largest and (product * 2**found.fraction).denominator == 1


def test_what_is_too_wide_or_not_exact_is_refused() -> None:
    with pytest.raises(CortexError, match="E610 x: 'a . b . a' takes 70 bits.*limit is 53"):
        extent(parse("a * b * a"), wide, lambda name: Extent(0, 0.0), "x")
    with pytest.raises(CortexError, match="E611 x: 'exp.a.' has no fixed-point form"):
        extent(parse("exp(a)"), wide, lambda name: Extent(0, 0.0), "x")


def test_tables_take_their_ends_outside() -> None:
    index = np.array([-np.inf, -3.0, 0.0, 0.99, 1.0, 2.999, 3.0, 1e300, np.nan])
    assert entries(np.array([5.0, 6.0, 7.0]), index).tolist() == [5, 5, 5, 5, 6, 7, 7, 7, 5]


# ---- random numbers


def plain_uniform(key: int, index: int) -> float:
    """The definition in docs/fixed_point.md, with Python's integers."""
    low, high, mask = key % 2**32, key >> 32, 2**32 - 1
    x = (low + index) & mask
    x ^= x >> 16
    x = x * 0x7FEB352D & mask
    x ^= high
    x ^= x >> 15
    x = x * 0x846CA68B & mask
    x ^= x >> 16
    return (x >> 8) / 2**24


def plain_mix(x: int) -> int:
    mask = 2**64 - 1
    x = (x + 0x9E3779B97F4A7C15) & mask
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9 & mask
    x = (x ^ (x >> 27)) * 0x94D049BB133111EB & mask
    return x ^ (x >> 31)


@QUICK
@given(st.integers(0, 2**63), st.integers(0, 500), st.integers(0, 10**7), st.integers(0, 10**7))
def test_the_numbers_are_those_of_the_definition(seed: int, stream: int, step: int, index: int) -> None:
    (key,) = step_keys(seed, stream, np.array([step]))
    assert int(key) == plain_mix((plain_mix((plain_mix(seed) + stream) % 2**64) + step) % 2**64)
    assert uniform(key & np.uint64(2**32 - 1), key >> np.uint64(32), np.array(index)) == plain_uniform(int(key), index)


def test_splitmix_is_the_published_one() -> None:
    assert int(mix64(np.array(0, np.uint64))) == 0xE220A8397B1DCDAF


def test_the_numbers_are_uniform_and_independent() -> None:
    keys = step_keys(7, 16, np.arange(200))
    index = np.arange(5000)
    draws = np.stack([uniform(k & np.uint64(2**32 - 1), k >> np.uint64(32), index) for k in keys])
    assert abs(draws.mean() - 0.5) < 4 / np.sqrt(12 * draws.size)
    counts = np.bincount((draws * 256).astype(int).ravel(), minlength=256)
    assert abs(((counts - draws.size / 256) ** 2 / (draws.size / 256)).sum() - 255) < 5 * np.sqrt(2 * 255)
    centred = draws - 0.5
    for a, b in ((centred[:-1], centred[1:]), (centred[:, :-1], centred[:, 1:])):  # steps, synapses
        assert abs((a * b).mean() * 12) < 5 / np.sqrt(a.size)
