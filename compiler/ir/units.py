"""Units, as products of powers: what `nS/um^2` is, and equations between units of which some are not known.

A unit is exact: base units, and the primes 2, 3, 5 and pi of its scale, each with its power, so that mV and V differ
and pA/pF and mV/ms do not. A `Variable` in the product is a unit that nobody said.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from itertools import product
from keyword import kwlist

from cortexc.compiler.ir.errors import CortexError
from cortexc.compiler.ir.limits import NAME_LENGTH, shown


@dataclass(frozen=True)
class Variable:
    """The unit of `name`, which `owner` has; the unit of a number is one with a number for a name."""

    owner: str
    name: str | int


Unit = dict["str | Variable", Fraction]
"""Base unit, prime or variable -> its power, never 0; {} is the unit of plain numbers."""

BASE = ("s", "m", "g", "A", "K", "mol", "cd")
DERIVED = {"Hz": "1/s", "N": "kg*m/s^2", "Pa": "N/m^2", "J": "N*m", "W": "J/s", "C": "A*s", "V": "W/A", "F": "C/V",
           "Ohm": "V/A", "S": "A/V", "Wb": "V*s", "T": "Wb/m^2", "H": "Wb/A", "L": "dm^3", "M": "mol/L", "rad": "1",
           "bit": "1"}
UNITS = frozenset({*BASE, *DERIVED})
"""Symbols that take a prefix."""
PLAIN: dict[str, Unit] = {
    "1": {}, "spike": {}, "percent": {"2": Fraction(-2), "5": Fraction(-2)},
    "min": {"s": Fraction(1), "2": Fraction(2), "3": Fraction(1), "5": Fraction(1)},
    "h": {"s": Fraction(1), "2": Fraction(4), "3": Fraction(2), "5": Fraction(2)},
    "deg": {"pi": Fraction(1), "2": Fraction(-2), "3": Fraction(-2), "5": Fraction(-1)}}
PREFIXES = {"f": -15, "p": -12, "n": -9, "u": -6, "m": -3, "c": -2, "d": -1, "k": 3, "M": 6, "G": 9, "T": 12}
FACTOR = r"(?:1|[A-Za-z]+)(?:\^-?[1-9])?"


def is_unit(value: object) -> bool:
    """A product, quotient or power of known symbols with SI prefixes: `1`, `ms`, `1/ms`, `nS/um^2`, `mV*ms`."""
    return (isinstance(value, str) and len(value) <= NAME_LENGTH
            and re.fullmatch(rf"{FACTOR}(?:[*/]{FACTOR})*", value) is not None
            and all(map(_is_symbol, re.findall(r"[A-Za-z]+", value))))


def _is_symbol(symbol: str) -> bool:
    return symbol in UNITS or symbol in PLAIN or symbol[:1] in PREFIXES and symbol[1:] in UNITS


@cache
def unit(text: str) -> Unit:
    """Of a text that `is_unit`; not to be changed."""
    result: Unit = {}
    for operator, symbol, power in re.findall(r"(^|[*/])(1|[A-Za-z]+)(?:\^(-?[1-9]))?", text):
        result = times(result, _symbol(symbol), (-1 if operator == "/" else 1) * int(power or 1))
    return result


@cache
def _symbol(symbol: str) -> Unit:
    if symbol in PLAIN:
        return PLAIN[symbol]
    if symbol in UNITS:
        return unit(DERIVED[symbol]) if symbol in DERIVED else {symbol: Fraction(1)}
    tens = Fraction(PREFIXES[symbol[0]])
    return times({"2": tens, "5": tens}, _symbol(symbol[1:]))


def times(first: Unit, second: Unit, power: Fraction | int = 1) -> Unit:
    """first * second ** power"""
    result = dict(first)
    for key, own in second.items():
        total = result.pop(key, Fraction(0)) + own * power
        if total:
            result[key] = total
    return result


QUANTITY = re.compile(r"(?<![\w.])(?P<number>(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?) +"
                      rf"(?!(?:{'|'.join(kwlist)})\b)" r"(?P<unit>(?:1/)?[A-Za-z][A-Za-z0-9]*"
                      r"(?:\^-?[0-9]+)?(?:[*/][A-Za-z][A-Za-z0-9]*(?:\^-?[0-9]+)?)*)", re.ASCII)
"""`65 mV`, `0.1 1/ms`: a number, spaces, and a unit without spaces."""


def stands_behind(text: str) -> bool:
    """Whether an expression can have a number of this unit."""
    return QUANTITY.fullmatch(f"1 {text}") is not None and is_unit(text)


def marked(text: str) -> tuple[str, str, list[str]]:
    """An expression without its units; with `[i]`, which no expression has, in their places; and the units. E234."""
    units = [match["unit"] for match in QUANTITY.finditer(text)]
    for found in units:
        if not is_unit(found):
            raise CortexError("E234", f"{shown(found)} in expression {shown(text)} is no unit.",
                              "A unit stands behind its number, without spaces within: 5 mV, 0.1 1/ms, 2 nS/um^2; "
                              "write spaces around operators.")
    places = iter(range(len(units)))
    brackets = QUANTITY.sub(lambda match: f"{match['number']}[{next(places)}]", text)
    return QUANTITY.sub(r"\g<number>", text), brackets, units


class Solver:
    """What is known of the variables. Every equation gives one of them a value, or holds, or does not."""

    def __init__(self) -> None:
        self._known: dict[Variable, Unit] = {}

    def equate(self, first: Unit, second: Unit) -> bool:
        """Whether both can be the same, which they are from now on."""
        rest = self.value(times(first, second, -1))
        free = next((key for key in rest if isinstance(key, Variable)), None)
        if free is None:
            return not rest
        power = rest.pop(free)
        self._known[free] = times({}, rest, -1 / power)
        return True

    def value(self, given: Unit) -> Unit:
        """Without the variables that are known."""
        while key := next((key for key in given if isinstance(key, Variable) and key in self._known), None):
            power = given[key]
            given = times(times(given, {key: -power}), self._known[key], power)
        return given


def factor_between(first: Unit, second: Unit) -> Fraction | None:
    """How many of the second are one of the first; None where they measure something else, or pi is between them."""
    rest = times(first, second, -1)
    if not all(key in ("2", "3", "5") and power.denominator == 1 for key, power in rest.items()):
        return None
    result = Fraction(1)
    for key, power in rest.items():
        result *= Fraction(int(str(key))) ** power.numerator
    return result


def shown_unit(given: Unit) -> str:
    """`mV/ms`, where the field has a name for it, or `0.001 mV`, or else base units; `?` stands for what is not known.
    """
    known: Unit = {key: power for key, power in given.items() if not isinstance(key, Variable)}
    text = _names().get(frozenset(known.items())) or _scaled(known) or _in_base(known)
    return text if known == given else "?" if not known else f"{text} * ?"


SYMBOLS = ("mV", "pA", "nA", "uA", "nS", "uS", "mS", "pF", "nF", "uF", "Hz", "mM", "um", "m", "N", "J", "MOhm", "V",
           "A", "S", "F", "kg", "g", "rad", "mol", "K", "C", "W", "L", "T")
PER = ("", "/ms", "*ms", "/ms^2", "*ms^2", "/s", "/cm^2", "/um^2", "/mV", "*mV", "/pA", "/pF")


TEXTS = ("1", "ms", "s", "min", "h", "deg", "percent", "ms^2", *SYMBOLS, "1/ms", "1/ms^2", "1/mV", "1/pA", "ms/s",
         "mV^2", *map("".join, product(SYMBOLS, PER)))
"""How a unit may be shown: the first of these that says it, or is as much of something."""


@cache
def _names(part: Callable[[Unit], Unit] = dict) -> dict[frozenset[tuple[str | Variable, Fraction]], str]:
    """By the unit, or a part of it."""
    return {frozenset(part(unit(text)).items()): text for text in reversed(TEXTS)}


def _measure(given: Unit) -> Unit:
    return {key: power for key, power in given.items() if key in BASE}


def _scaled(known: Unit) -> str:
    """So much of a unit that measures the same."""
    text = _names(_measure).get(frozenset(_measure(known).items()), "")
    factor = factor_between(known, unit(text)) if text else None
    return f"{float(factor):g} {text}" if factor is not None else ""


def _in_base(known: Unit) -> str:
    scale = factor_between({key: power for key, power in known.items() if key not in BASE}, {})
    words = [f"{float(scale):g}"] if scale not in (None, 1) else []
    words += [f"{key}^{power}" if power != 1 else str(key) for key, power in known.items()
              if key in BASE or scale is None]
    return " ".join(words) or "1"
