"""The baselines: cores filled in the circuit's order, and one population (or part of one) per core.

A core takes as many cells of the next population as every limit leaves room for. A limit that not even one cell of a
population can keep on a core of its own is not waited for: it would split the population to no avail, and shows as a
violation.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from compiler.mapping.accounting import ADDITIVE, Accounting
from compiler.mapping.items import Cut
from compiler.mapping.problem import Mapping


def sequential(accounts: Accounting, together: bool = True) -> tuple[list[Cut], Mapping]:
    """Cuts, and the core of each. `together` False: no core holds two populations."""
    cuts: list[Cut] = []
    cores: list[int] = []
    core, used = 0, np.zeros(len(ADDITIVE))
    for population in accounts.placed:
        if not together and cuts:
            core, used = core + 1, np.zeros(len(ADDITIVE))
        for on, cut, total in _filled(accounts, population.name, core, used):
            core, used = on, total
            cuts.append(cut)
            cores.append(core)
    return cuts, Mapping(np.array(cores, dtype=np.int64))


def _filled(accounts: Accounting, population: str, core: int,
            used: np.ndarray) -> Iterator[tuple[int, Cut, np.ndarray]]:
    """(core, cut, what the core uses then) for the parts of one population."""
    limits, first, size = _limits(accounts, population), 0, accounts.populations[population].size
    while first < size:
        last = _largest(accounts, population, first, used, limits)
        if last == first:
            core, used = core + 1, np.zeros(len(ADDITIVE))
            last = max(first + 1, _largest(accounts, population, first, used, limits))
        used = used + accounts.demand(population, first, last)
        yield core, (population, first, last), used
        first = last


def _limits(accounts: Accounting, population: str) -> np.ndarray:
    """The limits, without those that one cell alone breaks."""
    limits = np.array([accounts.hardware.number(name) for name in ADDITIVE])
    return np.where(accounts.demand(population, 0, 1) > limits, np.inf, limits)


def _largest(accounts: Accounting, population: str, first: int, used: np.ndarray, limits: np.ndarray) -> int:
    """The largest `last` for which cells first..last-1 still fit; `first` where not even one does."""
    low, high = first, accounts.populations[population].size
    while low < high:
        middle = (low + high + 1) // 2
        if (used + accounts.demand(population, first, middle) <= limits).all():
            low = middle
        else:
            high = middle - 1
    return low
