"""Figures of what `cortexc.simulate` recorded, of the first element of its batch; a notebook shows them.

    cortexc.plots.raster(found, "hidden.spike")
    cortexc.plots.traces(found, "hidden.u")

Each returns a `matplotlib.figure.Figure`. Raises X151 for what was not recorded, X203 for what has another shape,
X220 without matplotlib.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from cortexc.compiler.experiments import spike_report
from cortexc.compiler.experiments.figures import angle
from cortexc.compiler.experiments.pages import axes, new_figure, picture
from cortexc.compiler.experiments.spikes import Spikes
from cortexc.compiler.front.builder import Network
from cortexc.compiler.ir import CortexError, Graph, unknown

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Recorded(Protocol):
    """A `cortexc.Simulation`."""

    @property
    def steps(self) -> np.ndarray: ...

    @property
    def time(self) -> np.ndarray: ...

    def spikes(self, message: str, element: int = 0) -> Spikes: ...

    def __getitem__(self, quantity: str) -> np.ndarray: ...

    def __iter__(self) -> Iterator[str]: ...

    def __contains__(self, quantity: object) -> bool: ...


def raster(found: Recorded, *quantities: str) -> Figure:
    """A point per cell and step in which a message such as `hidden.spike` was not 0: 300 ms at the end, 100 cells."""
    spikes = {name.removesuffix(".spike"): found.spikes(name) for name in quantities}
    return spike_report.raster(spikes, int(found.steps[-1]) if len(found.steps) else 0)


def traces(found: Recorded, *quantities: str, cells: int = 5) -> Figure:
    """Values over time (ms) of up to so many cells, or weights, of each quantity."""
    figure, drawn = axes("", "ms", "")
    for colour, name in enumerate(quantities):
        values = _recorded(found, name)[:, 0].reshape(len(found.steps), -1)[:, :cells]
        lines = drawn.plot(found.time, values, linewidth=0.8, color=f"C{colour}")
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


def circuit(graph: Graph | Network) -> Figure:
    """Populations by area, and projections between them; plastic ones are drawn solid."""
    graph = graph.graph if isinstance(graph, Network) else graph
    return drawn_circuit({
        "populations": [{"name": p.name, "size": p.size, "area": p.area} for p in graph.populations],
        "projections": [{"pre": q.pre, "post": q.post, "plastic": graph.rule_of(q) is not None}
                        for q in graph.projections]})


def drawn_circuit(circuit: Mapping[str, Any]) -> Figure:
    """Populations by area, from the input up; plastic projections drawn solid. `circuit`: `populations` with name, size
    and area, `projections` with pre, post and plastic."""
    import networkx as nx

    graph = nx.MultiDiGraph()
    areas = list(dict.fromkeys(p["area"] for p in circuit["populations"]))
    place: dict[str, tuple[float, float]] = {}
    for area in areas:
        members = [p for p in circuit["populations"] if p["area"] == area]
        for index, p in enumerate(members):
            place[p["name"]] = (2.0 * areas.index(area), -1.4 * index)
            graph.add_node(p["name"], label=f"{p['name']}\n{p['size']}")
    figure = new_figure(8, 3.6)
    axes = figure.subplots()
    nx.draw_networkx_nodes(graph, place, ax=axes, node_size=1500, node_color="#e8eef4", edgecolors="#456")
    nx.draw_networkx_labels(graph, place, {n: d["label"] for n, d in graph.nodes(data=True)}, ax=axes, font_size=8)
    for index, q in enumerate(circuit["projections"]):
        nx.draw_networkx_edges(graph, place, edgelist=[(q["pre"], q["post"])], ax=axes, node_size=1500, arrowsize=11,
                               style="-" if q["plastic"] else ":", edge_color="#1b6ca8" if q["plastic"] else "#999",
                               connectionstyle=f"arc3,rad={0.12 + 0.07 * (index % 3)}")
    axes.set(title="Populations and projections (solid: plastic)")
    axes.margins(0.15)
    axes.axis("off")
    return figure


def page(found: Recorded) -> str:
    """What a notebook shows of a simulation: its spikes, or its traces; without matplotlib, its shapes."""
    if importlib.util.find_spec("matplotlib") is None:
        return f"<p>{found!r}</p>"
    spiking = [name for name in found if name.endswith(".spike")]
    rest = [name for name in found if name not in spiking]
    drawn = [raster(found, *spiking)] * bool(spiking) + [traces(found, name) for name in rest[:4]]
    return f"<p>{found!r}</p>" + "".join(map(picture, drawn if len(found.steps) else []))


def _recorded(found: Recorded, name: str) -> np.ndarray:
    if name not in found:
        raise unknown("X151", "recorded quantity", name, found)
    return found[name]
