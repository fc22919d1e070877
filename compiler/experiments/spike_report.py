"""The page of a run whose spikes were recorded: raster, rates, irregularity, correlation, membranes."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cortexc.compiler.experiments.pages import axes, page, picture, said
from cortexc.compiler.experiments.spikes import Observed, Spikes, spikes_of
from cortexc.compiler.experiments.tasks.simulate import STREAM, TRACES

SHOWN, LAST_MS, BINS, APART = 100, 300.0, 40, 20.0
"""Cells of a population in the raster, its length and that of the traces (ms), bins of a histogram, and the distance
between traces (mV)."""
Arrays = Mapping[str, np.ndarray]


def spike_report(results: Mapping[str, Any], observed: Observed, taken: Arrays) -> str:
    """The page of the first element of the batch axis. `taken`: what `Windows.arrays` gives."""
    stop = int(results["steps"])
    own = {name: spikes[0] for name, spikes in spikes_of(observed, taken, STREAM, stop).items()}
    title = f"{results['name']}: {sum(observed.sizes.values()):,} cells, {stop * observed.dt:g} ms"
    histograms = (("Rates", "Hz", Spikes.rates),
                  ("Irregularity", "coefficient of variation of intervals", Spikes.irregularity),
                  ("Correlation of counts in 2 ms", "correlation coefficient", Spikes.correlations))
    return page(title, [
        f"<h1>{html.escape(title)}</h1>", said(_lead(results, observed)), _table(results["spikes"], observed),
        picture(raster(own, stop)), picture(activity(own, stop)),
        *(picture(histogram(own, *each)) for each in histograms), picture(intervals(own)),
        picture(traces(taken, observed, stop))])


def _lead(results: Mapping[str, Any], observed: Observed) -> str:
    return (f"Circuit {results['circuit']} on {results['backend']}, granularity {results['granularity']}: "
            f"{results['steps']:,} steps of {observed.dt:g} ms, {results['steps_per_second']:,.0f} per second; "
            f"statistics from {observed.start * observed.dt:g} ms on.")


def _table(spikes: Mapping[str, Mapping[str, list[float | None]]], observed: Observed) -> str:
    heads = ("population", "cells", "rate, Hz", "irregularity (CV)", "correlation")
    rows = [(name, f"{observed.sizes[name]:,}", *(_number(values[0]) for values in own.values()))
            for name, own in spikes.items()]
    return "\n".join(["<table>", _row(heads, "th"), *(_row(row, "td") for row in rows), "</table>"])


def _row(texts: Sequence[str], tag: str) -> str:
    cells = "".join(f"<{tag}{' class=n' if i else ''}>{html.escape(text)}</{tag}>" for i, text in enumerate(texts))
    return f"<tr>{cells}</tr>"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}"


def _last(each: Spikes, stop: int) -> Spikes:
    return each.since(max(stop - round(LAST_MS / each.dt), 0))


def raster(spikes: Mapping[str, Spikes], stop: int) -> Any:
    """A row per cell, populations from the top down."""
    figure, drawn = axes(f"Spikes of up to {SHOWN} cells of each population", "ms", "", 1.5 + 0.6 * len(spikes))
    for place, each in enumerate(spikes.values()):
        last, shown = _last(each, stop), min(SHOWN, each.size)
        kept = last.cells < shown
        drawn.plot(last.steps[kept] * each.dt, place + 0.9 * last.cells[kept] / shown, ",", color=f"C{place}")
    drawn.set_yticks(np.arange(len(spikes)) + 0.45, list(spikes))
    drawn.invert_yaxis()
    return figure


def activity(spikes: Mapping[str, Spikes], stop: int) -> Any:
    """Rates of the populations over time."""
    figure, drawn = axes("Population rates in bins of 1 ms", "ms", "Hz")
    for name, each in spikes.items():
        last = _last(each, stop)
        count, edges = np.histogram(last.steps * each.dt, np.arange(last.start * each.dt, stop * each.dt + 1.0, 1.0))
        drawn.plot(edges[:-1], count / each.size * 1000.0, linewidth=0.8, label=name)
    return _named(figure, drawn)


def _named(figure: Any, drawn: Any) -> Any:
    """With a legend where there is something to name."""
    if drawn.get_legend_handles_labels()[0]:
        drawn.legend(frameon=False, fontsize=7, ncol=4)
    return figure


def histogram(spikes: Mapping[str, Spikes], title: str, label: str, measure: Any) -> Any:
    """Densities over cells, or pairs of cells."""
    figure, drawn = axes(title, label, "density")
    for name, each in spikes.items():
        values = measure(each)
        values = values[np.isfinite(values)]
        if len(values):
            drawn.hist(values, BINS, density=True, histtype="step", label=name)
    return _named(figure, drawn)


def intervals(spikes: Mapping[str, Spikes]) -> Any:
    figure, drawn = axes("Interspike intervals", "ms", "density")
    for name, each in spikes.items():
        values, _ = each.intervals()
        if len(values):
            drawn.hist(values, BINS, range=(0, np.percentile(values, 99)), density=True, histtype="step", label=name)
    return _named(figure, drawn)


def traces(taken: Arrays, observed: Observed, stop: int) -> Any:
    """Membranes of the recorded cells, one above the other."""
    found = {key.split("/")[1]: values[:, 0] for key, values in taken.items()
             if key.startswith(f"{TRACES}/") and not key.endswith(".step")}
    figure, drawn = axes("Membranes", "ms", f"mV, {APART:g} apart", 1.5 + 0.5 * sum(v.shape[1] for v in found.values()))
    first, place = max(stop - round(LAST_MS / observed.dt), 0), 0
    for colour, (name, values) in enumerate(found.items()):
        last = values[first:] - values[first:].mean(axis=0) - APART * np.arange(place, place + values.shape[1])
        lines = drawn.plot(np.arange(first, len(values)) * observed.dt, last, linewidth=0.6, color=f"C{colour}")
        lines[0].set_label(name)
        place += values.shape[1]
    return _named(figure, drawn)
