"""Spikes as events, and what is said of them: rates, irregularity, correlation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

BIN_MS, PAIRED, INTERVALS = 2.0, 200, 3
"""Bins of counts (ms), cells whose pairs are correlated, and the least intervals of a cell whose irregularity is told.
"""


@dataclass(frozen=True)
class Observed:
    """Whose spikes are looked at: cells of every population, elements of the batch axis, steps of `dt` ms from `start`
    on."""

    dt: float
    start: int
    sizes: Mapping[str, int]
    elements: int


@dataclass(frozen=True)
class Spikes:
    """Of a population of `size` cells in steps `start` to `stop` of `dt` ms: step and cell of every event, by step."""

    steps: np.ndarray
    cells: np.ndarray
    size: int
    dt: float
    start: int
    stop: int

    def since(self, start: int) -> Spikes:
        """Those from a step on."""
        kept = self.steps >= start
        return Spikes(self.steps[kept], self.cells[kept], self.size, self.dt, max(start, self.start), self.stop)

    @property
    def seconds(self) -> float:
        return (self.stop - self.start) * self.dt / 1000

    def rates(self) -> np.ndarray:
        """(size,) Hz; () where no step is looked at."""
        counts = np.bincount(self.cells, minlength=self.size)
        return counts / self.seconds if self.seconds > 0 else np.zeros(0)

    def intervals(self) -> tuple[np.ndarray, np.ndarray]:
        """Interspike intervals (ms) and the cell of each, by cell."""
        order = np.lexsort((self.steps, self.cells))
        cells, steps = self.cells[order], self.steps[order]
        same = cells[1:] == cells[:-1]
        return np.diff(steps)[same] * self.dt, cells[1:][same]

    def irregularity(self) -> np.ndarray:
        """Coefficient of variation of the intervals of every cell that has at least `INTERVALS` of them."""
        values, cells = self.intervals()
        count = np.maximum(np.bincount(cells, minlength=self.size), 1)
        mean = np.bincount(cells, values, self.size) / count
        squares = np.bincount(cells, (values - mean[cells]) ** 2, self.size) / count
        kept = np.bincount(cells, minlength=self.size) >= INTERVALS
        return np.sqrt(squares[kept]) / mean[kept]

    def correlations(self, cells: int = PAIRED, bin_ms: float = BIN_MS) -> np.ndarray:
        """Correlation coefficients of counts, of all pairs of so many of the cells that spike, spread evenly."""
        active = np.unique(self.cells)
        chosen = active[np.linspace(0, len(active) - 1, min(cells, len(active))).astype(int)]
        if len(chosen) < 2:
            return np.zeros(0)
        places = np.full(self.size, -1)
        places[chosen] = np.arange(len(chosen))
        width = max(round(bin_ms / self.dt), 1)
        kept = places[self.cells] >= 0
        counts = np.zeros((len(chosen), (self.stop - self.start) // width + 1))
        np.add.at(counts, (places[self.cells[kept]], (self.steps[kept] - self.start) // width), 1)
        pairs = np.asarray(np.corrcoef(counts))
        return pairs[np.triu_indices(len(chosen), 1)]


STATISTICS = {"rate": Spikes.rates, "irregularity": Spikes.irregularity, "correlation": Spikes.correlations}
"""Name -> the values whose distribution is compared, over cells or pairs."""


def kolmogorov_smirnov(first: np.ndarray, second: np.ndarray) -> float:
    """Largest distance between two distributions of samples; 1 where one is empty and the other is not."""
    if not len(first) or not len(second):
        return float(len(first) != len(second))
    places = np.concatenate([first, second])
    below = [np.searchsorted(np.sort(each), places, side="right") / len(each) for each in (first, second)]
    return float(np.abs(below[0] - below[1]).max())


def spikes_of(observed: Observed, taken: Mapping[str, np.ndarray], stream: str, stop: int) -> dict[str, list[Spikes]]:
    """By population, for every element of the batch axis, what was taken of a stream of events before step `stop`."""
    found = {}
    for name, size in observed.sizes.items():
        key = f"{stream}/{name}.spike"
        none = np.zeros(0, int)
        steps, elements, cells = (taken.get(f"{key}.{part}", none) for part in ("step", "element", "cell"))
        whole = [Spikes(steps[own], cells[own], size, observed.dt, 0, stop) for own in
                 (elements == element for element in range(observed.elements))]
        found[name] = [each.since(observed.start) for each in whole]
    return found


def summary(spikes: Mapping[str, list[Spikes]]) -> dict[str, dict[str, list[float | None]]]:
    """population -> statistic -> its mean over cells or pairs, for every element; none where nothing can be said."""
    return {name: {what: [float(values.mean()) if len(values := measure(each)) else None for each in own]
                   for what, measure in STATISTICS.items()} for name, own in spikes.items()}
