"""PoissonInputs: how many of N independent sources spike in a step, a binomial number, from one uniform number.

U111: too many values to be told apart.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from cortexc.compiler.front.brian2.translating import product
from cortexc.compiler.front.brian2.units import NO_DIMENSION, of_number, powers, to_graph
from cortexc.compiler.ir import Binary, CortexError, Expression, Name, Number, Where

if TYPE_CHECKING:
    from cortexc.compiler.front.brian2.cells import Cell

SMALLEST = 2.0**-53
"""A probability that no uniform number of 53 bits tells from 0."""
MOST = 150


def brought(cell: Cell, source: Any) -> Expression:
    """What a PoissonInput adds in a step. Raises U111."""
    if isinstance(source._weight, str):
        weight = cell.translated(source._weight)
    else:
        dimensions = powers(source._weight.dim) if hasattr(source._weight, "dim") else NO_DIMENSION
        weight = Number(float(to_graph(source._weight, dimensions)), of_number(dimensions))
    number = counts(cell.drawn("uniform"), int(source._N), float(source._rate) * cell.dt, source.name)
    group, cells = source._group, np.arange(len(cell.group))
    inside = (cells >= getattr(group, "start", 0)) & (cells < getattr(group, "stop", len(cells)))
    if inside.all():
        return product(number, weight)
    target = cell.parameter(f"{source.name}_target", inside.astype(np.float64), "1")
    return product(product(Name(target), number), weight)


def counts(uniform: Expression, n: int, p: float, who: str) -> Expression:
    """The number K with P(K <= k) > u first: exactly binomial, up to the bits of u. Raises U111."""
    if not 0 <= p <= 1:
        raise CortexError("U111", f"PoissonInput '{who}' has {p:g} spikes per source and step.",
                          "At most 1 is possible.")
    steps: list[Expression] = [Where(Binary(">=", uniform, Number(below)), Number(1.0), Number(0.0))
                               for below in _below(n, p, who)]
    return _sum(steps) if steps else Number(0.0)


def _below(n: int, p: float, who: str) -> list[float]:
    """P(K <= k) for k = 0, 1, ... until it is 1."""
    found, total = list[float](), 0.0
    hit, miss = (math.log(x) if x > 0 else -1e9 for x in (p, 1 - p))
    for k in range(n):
        ways = math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
        total += math.exp(ways + k * hit + (n - k) * miss)
        if 1 - total < SMALLEST:
            break
        found.append(total)
        if len(found) > MOST:
            raise CortexError("U111", f"PoissonInput '{who}' has {n * p:g} spikes per step, more than {MOST} values.",
                              "Use several PoissonInputs of fewer sources, or a shorter step.")
    return found


def _sum(parts: list[Expression]) -> Expression:
    """In halves, so that it is not deep."""
    if len(parts) == 1:
        return parts[0]
    half = len(parts) // 2
    return Binary("+", _sum(parts[:half]), _sum(parts[half:]))
