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
    def fits(self) -> bool:
        """Whether the number of arguments is right, and limits are in order."""
        wanted, given = len(DISTRIBUTIONS[self.kind][0]), len(self.arguments)
        return given == wanted or given == wanted + 2 and self.arguments[-2] <= self.arguments[-1]

    def draw(self, owner: str, size: int) -> Floats:
        """(size,) for `owner`, such as `population.tau`."""
        wanted, drawn = DISTRIBUTIONS[self.kind]
        key = np.array([self.seed % 2**64, zlib.crc32(owner.encode())], np.uint64)
        values = drawn(np.random.Generator(np.random.Philox(key=key)), size, self.arguments)
        low, high = self.arguments[-2:] if len(self.arguments) > len(wanted) else (-np.inf, np.inf)
        return np.clip(values, low, high)
