"""The arithmetic of the integer references, against Python's integers and fractions and against the backends."""

from fractions import Fraction
from math import floor

import numpy as np
import pytest
import torch
from witness.circuit import Coefficient, check_coefficient, nearest_mantissa

from cortexc.compiler.backends.runtime import step_keys
from cortexc.compiler.backends.uniform import uniform as backend_uniform
from cortexc.reference.equations import Cell, significant, times
from cortexc.reference.integers import HALF, DishonestRegister, Exact, Register, Table, step_key, uniform


def exact(values, fraction):
    return Exact(torch.tensor(values), fraction)


def fractions(number):
    return [Fraction(int(units)) / Fraction(2) ** number.fraction for units in number.units.flatten()]


def test_sums_and_products_are_those_of_fractions():
    a, b = exact([-7, 0, 5], 3), exact([3, -1, 2], -2)
    pairs = list(zip(fractions(a), fractions(b), strict=True))
    assert fractions(a + b) == [x + y for x, y in pairs]
    assert fractions(a - b) == [x - y for x, y in pairs]
    assert fractions(a * b) == [x * y for x, y in pairs]
    assert (a.above(b)).tolist() == [x > y for x, y in pairs]


@pytest.mark.parametrize("fraction", [-2, 0, 1, 5])
def test_rounding_is_half_up_and_saturates_symmetrically(fraction):
    x, register = exact(list(range(-300, 300)), 4), Register(fraction, 15)
    rounded = register.rounded(x)
    for value, units in zip(fractions(x), rounded.units.tolist(), strict=True):
        nearest = floor(value * Fraction(2) ** fraction + Fraction(1, 2))
        assert units == max(-15, min(15, nearest))


def test_minus_a_half_is_rounded_up_to_zero():
    assert Register(0, 7).rounded(exact([-1, 1, -3, 3], 1)).units.tolist() == [0, 1, -1, 2]


def test_random_offsets_round_as_often_up_as_the_fraction_says():
    x = Exact(torch.full((1, 1000, 100), -5), 4)
    index = torch.arange(100_000).view(1000, 100)
    rounded = Register(0, 100).rounded(x, uniform([3], 16, 9, index)).units.double()
    assert set(rounded.unique().tolist()) == {-1.0, 0.0}
    assert abs(float(rounded.mean()) + 5 / 16) < 0.005


@pytest.mark.parametrize("seed", [0, 1, 123456, 2**63 + 5, -1])
def test_keys_and_numbers_are_those_of_the_backends(seed):
    steps = np.arange(50, dtype=np.uint64)
    for stream in (0, 1, 16, 33):
        keys = step_keys(seed, stream, steps)
        assert [step_key(seed, stream, int(step)) for step in steps] == [int(key) for key in keys]
        index = np.concatenate([np.arange(40), [2**32 - 1, 313_600]])
        for step in (0, 7, 49):
            low, high = keys[step] & np.uint64(2**32 - 1), keys[step] >> np.uint64(32)
            expected = backend_uniform(low, high, index)
            ours = uniform([seed], stream, step, torch.from_numpy(index))
            assert (ours.units[0].numpy() / 2**24 == expected).all()


def test_numbers_of_a_step_are_uniform_and_differ_between_steps_streams_and_seeds():
    index = torch.arange(4096)
    numbers = [uniform([seed], stream, step, index).units[0] for seed, stream, step in (
        (1, 0, 0), (1, 0, 1), (1, 1, 0), (2, 0, 0))]
    for one in numbers:
        assert abs(float(one.double().mean()) / 2**24 - 0.5) < 0.02
    assert all((a != b).sum() > 4080 for i, a in enumerate(numbers) for b in numbers[:i])


def table(entries):
    return Table(torch.tensor(entries), fraction=2, scale_units=1, scale_fraction=0)


def test_a_table_takes_the_nearest_entry_and_the_last_ones_outside():
    found = table([10, 11, 12, 13]).look_up(exact([-9, -8, -7, -4, -2, -1, 0, 3, 4, 40], 2))
    assert found.units.tolist() == [10, 10, 10, 11, 12, 12, 12, 13, 13, 13]  # -0.5 is rounded up


def test_a_table_of_another_function_is_refused():
    honest = torch.arange(-8, 8) * 4
    table(honest.tolist()).check("x", lambda x: x)
    with pytest.raises(DishonestRegister, match="entry 3 is"):
        table((honest + (torch.arange(16) == 3).long()).tolist()).check("x", lambda x: x)


def test_a_constant_is_the_nearest_with_its_significant_bits():
    check_coefficient("decay", Coefficient(5461, 13), 2 / 3, 12)  # its distance from 1 takes a bit more than itself
    for wrong in (Coefficient(5462, 13), Coefficient(5460, 13), Coefficient(2 * 5461 + 1, 14), Coefficient(1, 0)):
        with pytest.raises(DishonestRegister):
            check_coefficient("decay", wrong, 2 / 3, 12)


@pytest.mark.parametrize(("value", "bits", "rounded"), [
    (2 / 3, 12, 5461 / 2**13), (0.3, 4, 5 / 16), (-0.3, 4, -5 / 16), (0.9999, 4, 1 - 13 / 2**17), (4.0, 3, 4.0),
    (0.0, 12, 0.0), (1.0, 12, 1.0)])
def test_the_evaluator_rounds_constants_to_their_significant_bits(value, bits, rounded):
    assert significant(value, bits) == rounded


def named(name):
    return ("Name", name)


def binary(operator, left, right):
    return ("Binary", operator, left, right)


def test_what_a_cell_stores_on_the_way():
    """Items 3 and 4: products within sums, arguments of functions and ports have names; a product alone has none."""
    whole, half = binary("*", named("a"), named("b")), ("Number", 0.5)
    within = binary("+", binary("*", named("b"), binary("*", named("c"), half)), binary("*", half, whole))
    equations = [("alone", "receive", whole), ("within", "receive", within),
                 ("rate", "receive", ("Call", "tanh", (binary("+", named("a"), named("basal")),))),
                 ("slope", "receive", ("Call", "exp", (("Call", "tanh", (named("a"),)),))),
                 ("of_port", "receive", ("Call", "tanh", (named("basal"),))),
                 ("gated", "receive", binary("*", named("gate.on"), named("a")))]
    cell = Cell(equations, (), ("basal",), 12)
    assert cell.found["alone"] == whole
    assert cell.found["within_1"] == binary("*", named("b"), named("c"))
    assert cell.found["within"] == binary("+", times(0.5, named("within_1")), times(0.5, named("alone")))
    assert cell.found["rate_1"] == binary("+", named("a"), named("basal"))
    assert cell.found["rate"] == ("Call", "tanh", (named("rate_1"),))
    assert cell.found["of_port"] == ("Call", "tanh", (named("of_port_1"),))
    assert cell.found["gated"] == binary("*", named("gate.on"), named("a"))
    assert set(cell.tables) == {"rate", "slope", "of_port"}


def test_scales_of_a_chip_have_three_bits():
    assert [nearest_mantissa(x) for x in (0.0015, 0.3, -0.0002, 1.0, 0.97)] == [
        6 * 2**-12, 5 * 2**-4, -7 * 2**-15, 1.0, 1.0]
    assert HALF.fraction == 1
