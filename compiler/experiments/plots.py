"""Figures of what `cortexc.simulate` recorded, of the first element of its batch; a notebook shows them.

    cortexc.plots.raster(found, "hidden.spike")
    cortexc.plots.traces(found, "hidden.u")

Each returns a `matplotlib.figure.Figure`, `circuit` a drawing. Raises X151 for what was not recorded, X203 for what has
another shape, X220 without matplotlib.
"""

from __future__ import annotations

import base64
import importlib.util
import io
import math
from collections.abc import Iterator
from html import escape
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from cortexc.compiler.experiments.results import angle
from cortexc.compiler.experiments.spikes import Spikes
from cortexc.compiler.front.builder import Network
from cortexc.compiler.ir import CortexError, Graph, unknown
from cortexc.compiler.ir.errors import check_type
from cortexc.compiler.ir.model import places_of
from cortexc.compiler.report.drawing import Drawing, circuit_drawing, circuit_parts

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHOWN, LAST_MS = 100, 300.0
"""Cells of a population in a raster, and its length (ms)."""


class Recorded(Protocol):
    """A `cortexc.Simulation`."""

    @property
    def steps(self) -> np.ndarray: ...

    @property
    def time(self) -> np.ndarray: ...

    @property
    def dt(self) -> float: ...

    def spikes(self, message: str, element: int = 0) -> Spikes: ...

    def __getitem__(self, quantity: str) -> np.ndarray: ...

    def __iter__(self) -> Iterator[str]: ...

    def __contains__(self, quantity: object) -> bool: ...


def new_figure(width: float, height: float, layout: Any = None) -> Figure:
    """An empty figure, in inches, that a notebook shows, as it does not a plain one. Raises X220."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise CortexError("X220", "figures need matplotlib, which is not installed.",
                          "pip install 'cortexc[plots]'.") from None

    class Shown(Figure):
        def _repr_png_(self) -> bytes:
            return _png(self)

    return Shown(figsize=(width, height), layout=layout)


def axes(title: str, x: str, y: str, height: float = 3.4) -> tuple[Figure, Any]:
    """(figure, axes) to draw on. Raises X220."""
    figure = new_figure(7, height)
    drawn = figure.subplots()
    drawn.set(title=title, xlabel=x, ylabel=y)
    drawn.spines[["top", "right"]].set_visible(False)
    return figure, drawn


def raster(found: Recorded, *quantities: str) -> Figure:
    """A point per cell and step in which a message such as `hidden.spike` was not 0: 300 ms at the end, 100 cells."""
    figure, drawn = axes(f"Spikes of up to {SHOWN} cells of each population", "ms", "", 1.5 + 0.6 * len(quantities))
    for place, name in enumerate(quantities):
        each = found.spikes(name)
        last, shown = each.since(max(each.stop - round(LAST_MS / each.dt), 0)), min(SHOWN, each.size)
        kept = last.cells < shown
        drawn.plot(last.steps[kept] * each.dt, place + 0.9 * last.cells[kept] / shown, ",", color=f"C{place}")
    drawn.set_yticks(np.arange(len(quantities)) + 0.45, [name.removesuffix(".spike") for name in quantities])
    drawn.invert_yaxis()
    return figure


def traces(found: Recorded, *quantities: str, cells: int = 5) -> Figure:
    """Values over time (ms) of up to so many cells, or weights, of each quantity."""
    figure, drawn = axes("", "ms", "")
    for colour, name in enumerate(quantities):
        values = _recorded(found, name)[:, 0]
        shown = values.reshape(len(values), math.prod(values.shape[1:]))[:, :cells]
        lines = drawn.plot(found.time, shown, linewidth=0.8, color=f"C{colour}")
        for line in lines[:1]:
            line.set_label(name)
    drawn.legend(frameon=False, fontsize=8)
    return figure


def weights(found: Recorded, quantity: str, row: int = -1) -> Figure:
    """A matrix of weights in one of the rows that were taken: postsynaptic cells downwards, blue negative."""
    values = _recorded(found, quantity)
    if values.ndim != 4 or not len(values):
        raise CortexError("X203", f"'{quantity}' is no matrix that was recorded; it has shape {values.shape}.")
    figure, drawn = axes(quantity, "presynaptic cell", "postsynaptic cell")
    most = float(np.abs(values[row, 0]).max()) or 1.0
    shown = drawn.imshow(values[row, 0], cmap="RdBu_r", vmin=-most, vmax=most, aspect="auto", interpolation="nearest")
    figure.colorbar(shown, ax=drawn)
    return figure


def angles(found: Recorded, feedback: str, forward: str) -> Figure:
    """Degrees between feedback weights B and the transpose of forward weights W, over time."""
    first, second = _recorded(found, feedback)[:, 0], _recorded(found, forward)[:, 0].swapaxes(-1, -2)
    if first.shape != second.shape or first.ndim != 3:
        raise CortexError("X203", f"'{feedback}' has shape {first.shape}, the transpose of '{forward}' {second.shape}.")
    figure, drawn = axes(f"{feedback} and the transpose of {forward}", "ms", "degrees")
    drawn.plot(found.time, angle(first, second))
    return figure


def sheet(found: Recorded, message: str, graph: Graph | Network, frames: int = 8, window: float = 20.0) -> Figure:
    """Where the cells of a population with places spiked, in windows of so many ms at the end: dots in the first two
    axes, the brighter the more spikes."""
    graph, name = graph.graph if isinstance(graph, Network) else graph, message.rpartition(".")[0]
    places = next((places_of(graph, p) for p in graph.populations if p.name == name), None)
    if places is None:
        raise CortexError("X203", f"population '{name}' of graph '{graph.name}' has no places.", "Say place in it.")
    each, steps, unit = found.spikes(message), max(round(window / found.dt), 1), places.layout.unit
    figure, x = new_figure(1.6 * frames, 2.2, "constrained"), places.cells[:, 0]
    y = places.cells[:, 1] if places.cells.shape[1] > 1 else np.zeros(len(x))
    for index, drawn in enumerate(figure.subplots(1, frames, squeeze=False)[0]):
        first = each.stop - (frames - index) * steps
        taken = (each.steps >= first) & (each.steps < first + steps)
        counts = np.bincount(each.cells[taken], minlength=each.size)
        drawn.scatter(x, y, 2, counts, cmap="magma", vmin=0, vmax=max(counts.max(), 1))
        drawn.set(title=f"{first * each.dt:.0f} ms", xticks=[], yticks=[], aspect="equal", facecolor="black")
    figure.supxlabel(f"{' x '.join(f'{length:g} {unit}' for length in places.layout.extent)}", fontsize=8)
    return figure


def circuit(graph: Graph | Network) -> Drawing:
    """Cells with their compartments by area, and projections between them, as a notebook shows it."""
    graph = graph.graph if isinstance(graph, Network) else graph
    check_type("plots.circuit", graph, Graph, "a graph or Network")
    drawn = circuit_drawing(circuit_parts(graph))
    if drawn is None:
        raise CortexError("X203", f"a circuit of {len(graph.populations)} populations is not drawn.")
    return drawn


def page(found: Recorded) -> str:
    """What a notebook shows of a simulation: its spikes, or its traces; without matplotlib, its shapes."""
    if importlib.util.find_spec("matplotlib") is None:
        return f"<p>{escape(repr(found))}</p>"
    spiking = [name for name in found if name.endswith(".spike")]
    rest = [name for name in found if name not in spiking][:4]
    drawn = [("Spikes", raster(found, *spiking))] * bool(spiking) + [(name, traces(found, name)) for name in rest]
    return f"<p>{escape(repr(found))}</p>" + "".join(picture(*each) for each in (drawn if len(found.steps) else []))


def picture(label: str, figure: Figure) -> str:
    return f'<img alt="{escape(label)}" src="data:image/png;base64,{base64.b64encode(_png(figure)).decode()}">'


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110, bbox_inches="tight")
    return buffer.getvalue()


def _recorded(found: Recorded, name: str) -> np.ndarray:
    if name not in found:
        raise unknown("X151", "recorded quantity", name, found)
    return found[name]
