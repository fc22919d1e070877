"""Integer arithmetic of the quantised circuits in torch int64: exact sums and products, then one rounding.

Written from docs/fixed_point.md; "item" refers to its section "What the integers mean". A number is an integer times
2**-fraction. Nothing here computes in floating point, but for the rounding of what enters (item 5) and the checks of
constants and tables against the real numbers that they stand for. Tensors have a leading axis of S seeds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

SLACK = 1e-9
"""Units by which float64 may err where it computes a constant or a table's entry."""
BITS_OF_UNIFORM = 24
MASK32, MASK64 = (1 << 32) - 1, (1 << 64) - 1


class DishonestRegister(ValueError):
    """A register that does not hold what the circuit's equations say."""


@dataclass(frozen=True)
class Exact:
    """`units` * 2**-fraction, int64. Sums and products are exact; the widths of the operands keep them below 2**63."""

    units: Tensor
    fraction: int = 0

    def at(self, fraction: int) -> Tensor:
        """In units of 2**-fraction, which are not larger than its own."""
        return self.units if fraction == self.fraction else self.units << (fraction - self.fraction)

    def __add__(self, other: Exact) -> Exact:
        fraction = max(self.fraction, other.fraction)
        return Exact(self.at(fraction) + other.at(fraction), fraction)

    def __neg__(self) -> Exact:
        return Exact(-self.units, self.fraction)

    def __sub__(self, other: Exact) -> Exact:
        return self + -other

    def __mul__(self, other: Exact) -> Exact:
        return Exact(self.units * other.units, self.fraction + other.fraction)

    def above(self, other: Exact) -> Tensor:
        """Where it is greater, boolean."""
        return (self - other).units > 0

    def times_two_to(self, power: int) -> Exact:
        return Exact(self.units, self.fraction - power)

    def floor(self) -> Tensor:
        """The greatest integers that are not above: an arithmetic shift, also of negative numbers."""
        return self.units >> self.fraction if self.fraction > 0 else self.units << -self.fraction

    @property
    def turned(self) -> Exact:
        """With the last two axes exchanged."""
        return Exact(self.units.transpose(-1, -2), self.fraction)

    @property
    def real(self) -> Tensor:
        """In float64, exact below 53 bits."""
        return torch.ldexp(self.units.double(), torch.tensor(-self.fraction))

    def axis(self, place: int) -> Exact:
        """With an axis of length 1 at a place."""
        return Exact(self.units.unsqueeze(place), self.fraction)


def whole(value: int) -> Exact:
    return Exact(torch.tensor(value), 0)


def dyadic(value: float) -> Exact:
    """A float64 with few bits, such as a gate, as it is."""
    numerator, denominator = value.as_integer_ratio()
    return Exact(torch.tensor(numerator), denominator.bit_length() - 1)


HALF = Exact(torch.tensor(1), 1)
NOTHING = whole(0)
ONE = whole(1)


def choose(condition: Tensor | bool, then: Exact, otherwise: Exact) -> Exact:
    """Element by element; a gate chooses for all."""
    if isinstance(condition, bool):
        return then if condition else otherwise
    fraction = max(then.fraction, otherwise.fraction)
    return Exact(torch.where(condition, then.at(fraction), otherwise.at(fraction)), fraction)


@dataclass(frozen=True)
class Register:
    """What holds a quantity: integers of at most `limit` units of 2**-fraction, either way (items 1 and 2)."""

    fraction: int
    limit: int

    def rounded(self, value: Exact, offset: Exact = HALF) -> Exact:
        """floor(value / unit + offset), saturated: the nearest number with offset 1/2, half up."""
        units = (value.times_two_to(self.fraction) + offset).floor()
        return Exact(units.clamp(-self.limit, self.limit), self.fraction)

    def entering(self, values: Tensor, downward: bool = False) -> Exact:
        """Real inputs and draws, in float64 as they come (item 5)."""
        units = torch.floor(values.double() * 2.0**self.fraction + (0.0 if downward else 0.5)).to(torch.int64)
        return Exact(units.clamp(-self.limit, self.limit), self.fraction)


@dataclass(frozen=True)
class Table:
    """A function of one quantity q (item 4): entry floor(q * K + H + 1/2), the first or last one outside; or, with
    `linear`, the straight line between the entries on either side of q * K + H.

    entries: integers, units of 2**-fraction; K = scale_units * 2**-scale_fraction; H = half of the entries.
    """

    entries: Tensor
    fraction: int
    scale_units: int
    scale_fraction: int
    linear: bool = False

    @property
    def half(self) -> int:
        return len(self.entries) // 2

    def look_up(self, q: Exact) -> Exact:
        scale, last = Exact(torch.tensor(self.scale_units), self.scale_fraction), len(self.entries) - 1
        place = q * scale + whole(self.half)
        if not self.linear:
            return Exact(self.entries[(place + HALF).floor().clamp(0, last)], self.fraction)
        inside = Exact(place.at(place.fraction).clamp(0, last << place.fraction), place.fraction)
        left = inside.floor()
        right = (left + 1).clamp(max=last)
        rise = Exact(self.entries[right] - self.entries[left], self.fraction)
        return Exact(self.entries[left], self.fraction) + rise * (inside - Exact(left))

    def check(self, name: str, function: Callable[[Tensor], Tensor]) -> None:
        """DishonestRegister unless every entry is the function at (i - H) / K, rounded half up."""
        scale = self.scale_units * 2.0**-self.scale_fraction
        points = (torch.arange(len(self.entries), dtype=torch.float64) - self.half) / scale
        largest = float(self.entries.abs().max())
        true = (function(points) * 2.0**self.fraction).clamp(-largest, largest)
        wrong = torch.nonzero(~((self.entries - true).abs() <= 0.5 + SLACK)).flatten()
        if len(wrong):
            i = int(wrong[0])
            raise DishonestRegister(f"table {name}: entry {i} is {int(self.entries[i])}, the function {float(true[i])}")


# ---- random numbers


def mixed(x: int) -> int:
    """One output of splitmix64 (section "Random numbers")."""
    x = (x + 0x9E3779B97F4A7C15) & MASK64
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & MASK64
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & MASK64
    return x ^ (x >> 31)


def step_key(seed: int, stream: int, step: int) -> int:
    """64 bits per seed, stream and step."""
    return mixed((mixed((mixed(seed & MASK64) + stream) & MASK64) + step) & MASK64)


def uniform(seeds: Sequence[int], stream: int, step: int, index: Tensor) -> Exact:
    """Number `index` of a step for each seed, a multiple of 2**-24 in [0, 1): (S, *index.shape)."""
    keys = [step_key(seed, stream, step) for seed in seeds]
    low, high = (torch.tensor(half).view(-1, *[1] * index.ndim) for half in (
        [key & MASK32 for key in keys], [key >> 32 for key in keys]))
    x = (low + index.unsqueeze(0)) & MASK32
    x = _times((x ^ (x >> 16)), 0x7FEB352D) ^ high
    x = _times((x ^ (x >> 15)), 0x846CA68B)
    return Exact((x ^ (x >> 16)) >> (32 - BITS_OF_UNIFORM), BITS_OF_UNIFORM)


def _times(x: Tensor, factor: int) -> Tensor:
    """A product modulo 2**32 without overflow of int64."""
    return ((x & 0xFFFF) * factor + ((((x >> 16) * factor) & 0xFFFF) << 16)) & MASK32


class LavaDraws:
    """The numbers with which Lava's learning engine rounds weights: numpy's generator with seed 2, which has drawn once
    before the first step, a number per step for all synapses (section "Stock Lava")."""

    def __init__(self) -> None:
        self.generator, self.drawn = np.random.default_rng(2), list[float]()

    def offset(self, step: int) -> Exact:
        """What makes floor round up where the number, cut to 24 bits, is below the fraction."""
        while len(self.drawn) <= step + 1:
            self.drawn.append(self.generator.random())
        return Exact(torch.tensor((1 << BITS_OF_UNIFORM) - 1 - math.floor(self.drawn[step + 1] * 2**BITS_OF_UNIFORM)),
                     BITS_OF_UNIFORM)


LAVA = LavaDraws()
