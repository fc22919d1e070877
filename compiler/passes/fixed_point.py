"""Fixed-point numbers: formats, and how many bits an expression takes before it is rounded.

A fixed-point quantity is an integer number of *units* 1 / scale, scale a power of two, at most `limit` units either
way. Backends hold it as a float64 with that very value. Sums and products of such numbers are exact as long as they
fit 53 bits, which `extent` proves for every expression, so the results are those of integer arithmetic.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from cortexc.compiler.ir import CortexError, Expression, show
from cortexc.compiler.ir.expressions import Binary, Call, Lookup, Name, Negate, Number, Prev, Where, children, walk
from cortexc.compiler.ir.functions import Floats

EXACT = 53
"""Bits of a float64's integers."""
COMPARISONS = {"<", "<=", ">", ">=", "==", "!=", "and", "or"}
PIECEWISE = {"abs", "min", "max", "clip", "relu", "linear", "floor", "d_linear", "d_relu", "fixed"}
"""Functions that are exact on fixed-point numbers; all others become tables."""


@dataclass(frozen=True)
class Format:
    """`bits` with the sign (without one if `unsigned`); one unit is 2**-fraction."""

    bits: int
    fraction: int
    unsigned: bool = False

    @property
    def scale(self) -> float:
        return 2.0**self.fraction

    @property
    def limit(self) -> int:
        """Greatest number of units, either way."""
        return int(2**(self.bits - (0 if self.unsigned else 1))) - 1

    @property
    def unit(self) -> float:
        return 2.0**-self.fraction

    @property
    def largest(self) -> float:
        return self.limit * self.unit

    @property
    def dtype(self) -> str:
        return f"int{self.bits + (1 if self.unsigned else 0)}"

    def __str__(self) -> str:
        return f"{'u' if self.unsigned else ''}int{self.bits} * 2**{-self.fraction}"

    @property
    def extent(self) -> Extent:
        return Extent(self.fraction, self.largest)

    def round(self, values: ArrayLike) -> Floats:
        """The nearest numbers of this format, half a unit up."""
        units = np.clip(np.floor(np.asarray(values, np.float64) * self.scale + 0.5), -self.limit, self.limit)
        return np.asarray((np.maximum(units, 0) if self.unsigned else units) / self.scale)

    def wrap(self, expression: Expression, offset: Expression = Number(0.5)) -> Expression:  # noqa: B008
        """The expression, rounded and saturated."""
        return Call("fixed", (expression, Number(self.scale), Number(float(self.limit)), offset))


@dataclass(frozen=True)
class Rounding:
    """What `Format.wrap` has written: `inner` in units of 1 / scale, at most `limit` of them either way."""

    inner: Expression
    scale: float
    limit: float
    offset: Expression

    @property
    def beyond(self) -> Expression:
        """Whether it saturates."""
        return Binary(">=", Call("abs", (self.inner,)), Number((self.limit + 1) / self.scale))


def bits_between(low: float, high: float) -> int:
    """Of whole numbers of units from `low` to `high`, with the sign where some are negative."""
    return max(math.ceil(math.log2(max(high, -low - 1, 0) + 1)), 1) + (low < 0)


def rounding_of(expression: Expression | None) -> Rounding | None:
    match expression:
        case Call("fixed", (inner, Number(scale), Number(limit), offset)):
            return Rounding(inner, scale, limit, offset)
    return None


def format_for(peak: float, bits: int, unsigned: bool = False) -> Format:
    """The finest format of so many bits that holds a magnitude; that of a quantity that is always 0 holds 1."""
    peak = peak if peak > 0 else 1.0
    fraction = bits - (0 if unsigned else 1) - math.ceil(math.log2(peak))
    found = Format(bits, fraction, unsigned)
    return found if peak <= found.largest else Format(bits, fraction - 1, unsigned)


def rounded_constant(value: float, significant: int) -> float:
    """The nearest number with so many significant bits, of the value or of its distance from 1, whichever takes more:
    a leak of 0.9999 keeps its 0.0001."""
    gaps = [abs(g) for g in (value, 1 - abs(value)) if g]
    if not gaps or not math.isfinite(value):
        return value
    fraction = significant - 1 - math.floor(math.log2(min(gaps)))
    return math.floor(math.ldexp(value, fraction) + 0.5) * math.ldexp(1.0, -fraction)


@dataclass(frozen=True)
class Extent:
    """An exact value before rounding: a multiple of 2**-fraction, at most `largest` either way."""

    fraction: int
    largest: float

    @property
    def bits(self) -> int:
        """Bits of the magnitude."""
        return self.fraction + max(math.floor(math.log2(self.largest)) + 1 if self.largest > 0 else 0, -self.fraction)

    @property
    def format(self) -> Format:
        """One that holds exactly such numbers."""
        return Format(self.bits + 1, self.fraction)

    def within(self, found: Format) -> bool:
        """Whether every such value is a number of this format."""
        return self.fraction <= found.fraction and self.largest <= found.largest


Look = Callable[[Name | Prev], Extent]


def extent(expression: Expression, look: Look, table: Callable[[str], Extent], who: str) -> Extent:
    """Raises E610 where an exact value would take more than 53 bits, E611 for what is not exact at all."""
    match expression:
        case Number(value):
            return number_extent(value)
        case Name() | Prev():
            return look(expression)
        case Lookup(name, _, False):
            return table(name)
    parts = [extent(child, look, table, who) for child in children(expression)]
    if isinstance(expression, Lookup):
        entries = table(expression.table)
        found = Extent(entries.fraction + parts[0].fraction, entries.largest)
        bits = found.bits + 1  # of the difference between two entries
    else:
        found = _combine(expression, parts, who)
        bits = found.bits
    if bits > EXACT:
        raise CortexError("E610", f"{who}: '{show(expression)}' takes {bits} bits before it is rounded; the "
                                  f"limit is {EXACT}.", "Give its quantities fewer bits, or name a part of it.")
    return found


def number_extent(value: float) -> Extent:
    if not math.isfinite(value):
        return Extent(0, 0.0)  # bounds of a comparison or a limit, never added
    numerator, denominator = abs(value).as_integer_ratio()
    fraction = denominator.bit_length() - 1
    while numerator and numerator % 2 == 0 and fraction <= 0:
        numerator, fraction = numerator // 2, fraction - 1
    return Extent(fraction, abs(value))


def _combine(expression: Expression, parts: list[Extent], who: str) -> Extent:
    match expression:
        case Negate():
            return parts[0]
        case Binary("+" | "-"):
            return Extent(max(p.fraction for p in parts), parts[0].largest + parts[1].largest)
        case Binary("*"):
            return Extent(parts[0].fraction + parts[1].fraction, parts[0].largest * parts[1].largest)
        case Binary(operator) if operator in COMPARISONS:
            return Extent(0, 1.0)
        case Where():
            return _either(parts[1:])
        case Call("fixed", (_, Number(scale), Number(limit), _)):
            return Extent(round(math.log2(scale)), limit / scale)
        case Call("floor"):
            return Extent(0, parts[0].largest + 1)
        case Call("d_linear" | "d_relu"):
            return Extent(0, 1.0)
        case Call(name) if name in PIECEWISE:
            return _either(parts)
    raise CortexError("E611", f"{who}: '{show(expression)}' has no fixed-point form.",
                      "Only sums, products, comparisons, where() and tables do.")


def _either(parts: list[Extent]) -> Extent:
    return Extent(max(p.fraction for p in parts), max(p.largest for p in parts))


def is_nonlinear(expression: Expression) -> bool:
    """Whether some part of it has no exact fixed-point form."""
    return any(isinstance(node, Call) and node.function not in PIECEWISE
               or isinstance(node, Binary) and node.operator == "/" for node in walk(expression))
