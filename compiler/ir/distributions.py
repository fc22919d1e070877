"""Numbers that differ from cell to cell: `normal(20, 2)`, drawn once, before the first step.

A draw is keyed by its seed and by what it is drawn for, so it is the same whatever else a circuit has.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Draw = Callable[[np.random.Generator, int, "tuple[float, ...]"], Floats]

DISTRIBUTIONS: dict[str, tuple[tuple[str, ...], Draw]] = {
    "normal": (("mean", "deviation"), lambda g, n, a: a[0] + a[1] * g.standard_normal(n)),
    "lognormal": (("mean_of_log", "deviation_of_log"), lambda g, n, a: np.exp(a[0] + a[1] * g.standard_normal(n))),
    "uniform": (("lowest", "highest"), lambda g, n, a: a[0] + (a[1] - a[0]) * g.random(n))}
"""Kind -> (its arguments, how it is drawn). Two more arguments, of any kind, are limits that it is clipped to."""


@dataclass(frozen=True)
class Distribution:
    """`kind(arguments)`, and two limits where it has them; `seed` names the stream that it is drawn from."""

    kind: str
    arguments: tuple[float, ...]
    seed: int = 0

    @property
    def fault(self) -> str:
        """What is wrong with its arguments; "" where nothing is."""
        wanted, given = len(DISTRIBUTIONS[self.kind][0]), len(self.arguments)
        if given not in (wanted, wanted + 2) or given > wanted and self.arguments[-2] > self.arguments[-1]:
            return "another number of arguments, or limits that are not in order"
        if self.kind == "uniform" and self.arguments[1] < self.arguments[0]:
            return "an end before its beginning"
        return "a negative deviation" if self.kind != "uniform" and self.arguments[1] < 0 else ""

    @property
    def support(self) -> tuple[float, float]:
        """Between which numbers its values lie."""
        ends = {"uniform": self.arguments[:2], "lognormal": (np.nextafter(0.0, 1.0), np.inf)}
        low, high = ends.get(self.kind, (-np.inf, np.inf))
        if self.kind == "normal" and self.arguments[1] == 0:
            low, high = self.arguments[0], self.arguments[0]
        limits = self.arguments[-2:] if len(self.arguments) > 2 else (-np.inf, np.inf)
        return max(low, limits[0]), min(high, limits[1])

    def draw(self, owner: str, size: int) -> Floats:
        """(size,) for `owner`, such as `population.tau`."""
        wanted, drawn = DISTRIBUTIONS[self.kind]
        key = np.array([self.seed % 2**64, zlib.crc32(owner.encode())], np.uint64)
        with np.errstate(over="ignore"):
            values = drawn(np.random.Generator(np.random.Philox(key=key)), size, self.arguments)
        low, high = self.arguments[-2:] if len(self.arguments) > len(wanted) else (-np.inf, np.inf)
        return np.clip(values, low, high)
