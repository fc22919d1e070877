"""Charts as data: paths in a square of 1000 by 1000, ticks in shares of it, and a sentence that says what is drawn.

A page stretches the square to its width while lines and letters keep their size, so a chart is as sharp on a phone as
on a wide screen; and as its colours are those of the page, it is light or dark with it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

SIDE, POINTS, FINE, FEW, BINS, COLOURS = 1000.0, 400, 150, 16, 40, 8
"""The square; points beyond which means over bins are drawn, beyond which a line is thin, up to which each has a dot;
bins of a histogram; colours of the style."""
Range = tuple[float, float]
Ticks = list[tuple[float, str]]


@dataclass(frozen=True)
class Series:
    """`kind`: line, band, dots, spikes, rule. A band is around the line of the same name."""

    kind: str
    name: str
    colour: int
    path: str


@dataclass(frozen=True)
class Line:
    """Values (n, runs) at places (n,): drawn as their mean, with a band of one standard deviation where there are
    several runs. `colour`: a number of its own, else its place among the lines."""

    name: str
    places: np.ndarray
    values: np.ndarray
    colour: int | None = None


@dataclass(frozen=True)
class Chart:
    """`said`: for who does not see it. `height`: in pixels. `whole`: places are counts. `rule`: name and height of
    a line across."""

    kind: ClassVar[str] = "chart"
    title: str
    x: str
    y: str
    across: Range
    up: Range
    xticks: Ticks
    yticks: Ticks
    series: Sequence[Series]
    said: str
    note: str = ""
    height: int = 260
    whole: bool = False
    rule: tuple[str, float] | None = None

    @property
    def gutter(self) -> int:
        """Letters beside the ticks."""
        return min(max(len(label) for _, label in self.yticks), 14) if self.yticks else 0

    @property
    def legend(self) -> list[Series]:
        return [] if self.rows or len(named := [s for s in self.series if s.kind.startswith("line")]) < 2 else named

    @property
    def rows(self) -> bool:
        """Whether its ticks name rows, and not values."""
        return not self.y


def line_chart(title: str, x: str, y: str, lines: Iterable[Line], rule: tuple[str, float] | None = None,
               note: str = "", up: Range | None = None) -> Chart | None:
    """`rule`: a name and a value at which a horizontal line is drawn. None where there is nothing to draw."""
    kept = [thinned(line) for line in lines if len(line.places)]
    if not kept:
        return None
    spread = [_spread(line) for line in kept]
    levels = np.concatenate([np.concatenate([mean - band, mean + band]) for mean, band in spread]
                            + [np.array([rule[1]] if rule else [])])
    across, (low, high) = _range(np.concatenate([line.places for line in kept])), _range(levels)
    up = up or (low - 0.05 * (high - low), high + 0.05 * (high - low))
    series = [Series("rule", rule[0], 0, _path(np.array(across), np.full(2, rule[1]), across, up))] if rule else []
    for index, (line, (mean, band)) in enumerate(zip(kept, spread, strict=True)):
        colour = (index if line.colour is None else line.colour) % COLOURS
        if band.any():
            places = np.concatenate([line.places, line.places[::-1]])
            edges = np.concatenate([mean + band, (mean - band)[::-1]])
            series.append(Series("band", line.name, colour, _path(places, edges, across, up) + "Z"))
        kind = "line thin" if len(line.places) > FINE else "line"
        series.append(Series(kind, line.name, colour, _path(line.places, mean, across, up)))
        if len(line.places) <= FEW:
            series.append(Series("dots", line.name, colour, _spikes(line.places, mean, across, up)))
    said = "; ".join(f"{line.name}: {_said(line.places, mean)}" for line, (mean, _) in zip(kept, spread, strict=True))
    whole = all((line.places % 1 == 0).all() for line in kept)
    said = f"{title}. {y} by {x}. {said}."
    return Chart(title, x, y, across, up, ticks(across, whole), ticks(up), series, said, note, whole=whole,
                 rule=(rule[0], (rule[1] - up[0]) / (up[1] - up[0])) if rule else None)


def thinned(line: Line) -> Line:
    """Means over bins where there are more points than can be told apart."""
    width = -(-len(line.places) // POINTS)
    if width == 1:
        return replace(line, places=np.asarray(line.places, float), values=np.asarray(line.values, float))
    cut = np.arange(0, len(line.places), width)
    sizes = np.diff([*cut, len(line.places)])
    return replace(line, places=np.add.reduceat(np.asarray(line.places, float), cut) / sizes,
                   values=np.add.reduceat(np.asarray(line.values, float), cut, axis=0) / sizes[:, None])


def histograms(title: str, x: str, values: Mapping[str, np.ndarray], note: str = "") -> Chart | None:
    """Densities of what is finite; none where nothing is."""
    finite = {name: each[np.isfinite(each)] for name, each in values.items()}
    edges = np.linspace(*_range(np.concatenate([np.zeros(0), *finite.values()])), BINS + 1)
    lines = [Line(name, np.repeat(edges, 2)[1:-1],
                  np.repeat(np.histogram(each, edges, density=True)[0], 2)[:, None], colour)
             for colour, (name, each) in enumerate(finite.items()) if len(each)]
    highest = max((float(line.values.max()) for line in lines), default=1.0)
    return line_chart(title, x, "density", lines, note=note, up=(0.0, 1.05 * highest))


def rows_chart(title: str, x: str, across: Range, rows: Sequence[tuple[str, int, str, np.ndarray, np.ndarray]],
               said: str, note: str = "", height: int = 40) -> Chart:
    """A row per (label, colour, kind, places, heights from 0 to 1), from the top down, each `height` pixels high."""
    part, series, across = 1.0 / max(len(rows), 1), [], _range(np.array(across))
    for index, (label, colour, kind, places, heights) in enumerate(rows):
        draw = _spikes if kind == "spikes" else _path
        top = 1.0 - (index + 0.94) * part
        series.append(Series(kind, label, colour % COLOURS, draw(places, top + 0.88 * part * heights, across, (0, 1))))
    names = [((index + 0.5) * part, label) for index, (label, *_) in enumerate(rows)]
    return Chart(title, x, "", across, (0.0, 1.0), ticks(across), names, series, said, note,
                 max(height * len(rows), 90))


def ticks(between: Range, whole: bool = False, wanted: int = 5) -> Ticks:
    """Round values, each with its share of the range; `whole`: numbers between which nothing is."""
    low, high = between
    step = 10.0 ** math.floor(math.log10((high - low) / wanted))
    step *= min((1, 2, 5, 10), key=lambda factor: abs((high - low) / (step * factor) - wanted))
    step = max(step, 1.0) if whole else step
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [((k * step - low) / (high - low), f"{k * step:,.10g}") for k in range(first, last + 1)]


def _spread(line: Line) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation over runs; NaN where no run has a value."""
    known = np.isfinite(line.values)
    count = known.sum(axis=1)
    total = np.where(known, line.values, 0.0).sum(axis=1)
    mean = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    square = np.where(known, (line.values - mean[:, None])**2, 0.0).sum(axis=1)
    return mean, np.sqrt(square / np.maximum(count, 1))


def _range(values: np.ndarray) -> Range:
    known = values[np.isfinite(values)]
    low, high = (float(known.min()), float(known.max())) if len(known) else (0.0, 1.0)
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _square(values: np.ndarray, between: Range) -> np.ndarray:
    return SIDE * (np.asarray(values, float) - between[0]) / (between[1] - between[0])


def _path(places: np.ndarray, values: np.ndarray, across: Range, up: Range) -> str:
    """A line through what is finite."""
    x, y = _square(places, across), SIDE - _square(values, up)
    known = np.isfinite(x) & np.isfinite(y)
    return "M" + "L".join(f"{a:.5g} {b:.5g}" for a, b in zip(x[known], y[known], strict=True)) if known.any() else ""


def _spikes(places: np.ndarray, values: np.ndarray, across: Range, up: Range) -> str:
    x, y = _square(places, across), SIDE - _square(values, up)
    return "".join(f"M{a:.5g} {b:.4g}h0" for a, b in zip(x, y, strict=True) if np.isfinite(b))


def _said(places: np.ndarray, mean: np.ndarray) -> str:
    known = np.flatnonzero(np.isfinite(mean))
    if not len(known):
        return "nothing"
    first, last = known[0], known[-1]
    return (f"{mean[first]:.4g} at {places[first]:.4g}, {mean[last]:.4g} at {places[last]:.4g}, between "
            f"{np.nanmin(mean):.4g} and {np.nanmax(mean):.4g}")
