"""Brian2's SI numbers in the units of a graph: ms, mV, pA, um, K, fmol and cd, and what follows (nS, pF, 1/ms, ...)."""

from __future__ import annotations

from typing import Any

import numpy as np

from cortexc.compiler.ir.units import is_unit, stands_behind

Powers = tuple[float, ...]
"""Of length, mass, time, current, temperature, amount and light, as in Brian2's dimensions."""
NO_DIMENSION: Powers = (0.0,) * 7
SYMBOLS = ("ms", "mV", "pA", "um", "K", "fmol", "cd")
TENS = (-3, -3, -12, -6, 0, -15, 0)
"""One unit is 10**TENS of SI's."""
KNOWN = {"pF": (1, -1, 1, 0, 0, 0, 0), "nS": (0, -1, 1, 0, 0, 0, 0)}
"""Names of what the field does not write as products, in powers of SYMBOLS."""


def powers(dimensions: Any) -> Powers:
    """Of a `brian2.Dimension`."""
    return tuple(float(power) for power in dimensions._dims)


def _own(given: Powers) -> Powers:
    """In powers of SYMBOLS: kg = V A s^3 / m^2."""
    length, mass, time, current, *others = given
    return time + 3 * mass, mass, current + mass, length - 2 * mass, *others


def factor(given: Powers) -> tuple[float, float]:
    """(multiply by, then divide by) makes a number of the graph's units from one of SI: one of them is 1."""
    tens = sum(power * ten for power, ten in zip(_own(given), TENS, strict=True))
    return (1.0, 10.0**tens) if tens > 0 else (10.0**-tens, 1.0)


def to_graph(value: Any, given: Powers) -> np.ndarray:
    """Numbers of SI in the graph's units."""
    times, over = factor(given)
    return np.asarray(value, np.float64) * times / over


def to_si(value: Any, given: Powers) -> np.ndarray:
    """Numbers of the graph's units in SI."""
    times, over = factor(given)
    return np.asarray(value, np.float64) * over / times


def text(given: Powers) -> str:
    """The graph's unit, or "" where the language has no word for it (powers that are broken or beyond 9)."""
    own = _own(given)
    if not any(own):
        return "1"
    if any(power != int(power) or abs(power) > 9 for power in own):
        return ""
    for conductive, known in KNOWN.items():
        rest = tuple(a - b for a, b in zip(own, known, strict=True))
        if own[1] < 0 < own[2] and sum(map(abs, rest)) + 1 < sum(map(abs, own)):
            return _product({conductive: 1, **dict(zip(SYMBOLS, rest, strict=True))})
    return _product(dict(zip(SYMBOLS, own, strict=True)))


def of_number(given: Powers) -> str:
    """The unit that stands behind a number."""
    found = text(given)
    return "" if found == "1" else found


def _product(found: dict[str, float]) -> str:
    above = [_power(symbol, power) for symbol, power in found.items() if power > 0]
    below = [_power(symbol, -power) for symbol, power in found.items() if power < 0]
    result = "/".join(["*".join(above) or "1", *below])
    return result if is_unit(result) and stands_behind(result) else ""


def _power(symbol: str, power: float) -> str:
    return symbol if power == 1 else f"{symbol}^{int(power)}"
