"""The page of a run of a spiking circuit that learns: learning curve, confusions, responses, weights as images, raster.

Each part is there where the results or the recordings have what it shows.
"""

from __future__ import annotations

import html
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from cortexc.compiler.experiments.pages import axes, page, picture, said
from cortexc.compiler.experiments.spike_report import raster
from cortexc.compiler.experiments.spikes import Observed, spikes_of
from cortexc.compiler.experiments.tasks.simulate import STREAM, spiking
from cortexc.compiler.ir import Graph

LEAST = 25
"""Cells of an input that is shown as an image."""
Arrays = Mapping[str, np.ndarray]


def learning_report(results: Mapping[str, Any], graph: Graph, weights: Arrays, taken: Arrays) -> str:
    """The page of the first seed where something has one each. `weights`: `projection.w` (copies, n_post, n_pre);
    `taken`: recordings as events."""
    title = f"{results['name']}: test accuracy {_percent(results['test_accuracy'])}"
    return page(title, [f"<h1>{html.escape(title)}</h1>", said(_lead(results)),
                        *map(picture, _figures(results, graph, weights, taken))])


def _percent(value: float | None) -> str:
    return "not measured" if value is None else f"{value:.1%}"


def _lead(results: Mapping[str, Any]) -> str:
    seeds = ", ".join(_percent(row["test_accuracy"]) for row in results["seeds"])
    return (f"Circuit {results['circuit']} on {results['backend']}, granularity {results['granularity']}; "
            f"{results['data']}. {results['steps']:,} steps, {results['steps_per_second']:,.0f} per second. Seeds: "
            f"{seeds}.")


def _figures(results: Mapping[str, Any], graph: Graph, weights: Arrays, taken: Arrays) -> Iterator[Any]:
    if len(results["tests"]) > 1:
        yield curve("Tests", [test["step"] for test in results["tests"]],
                    [test["accuracy"] for test in results["tests"]], results.get("chance"))
    for title, rows in (("While it learns", results.get("training", ())),
                        ("While it learns, with labels of just before", np.transpose(results.get("curve", ())))):
        if len(rows):
            yield curve(title, np.arange(1, len(rows) + 1), rows, results.get("chance"))
    if results.get("confusion"):
        yield confusions(np.array(results["confusion"][0]))
    if results.get("responses"):
        yield responses(results["responses"])
    for name, w in weights.items():
        if is_image(graph, name.removesuffix(".w")):
            yield images(name, w[0], (results.get("assigned") or [[]])[0])
    if any(key.startswith(f"{STREAM}/") for key in taken):
        yield _raster(results, graph, taken)


def is_image(graph: Graph, projection: str) -> bool:
    """Whether it learns, from exogenous inputs that make a square."""
    q = graph.projection(projection)
    size = graph.population(q.pre).size
    return (graph.rule_of(q) is not None and bool(graph.cell_of(q.pre).inputs) and size >= LEAST
            and math.isqrt(size)**2 == size and graph.class_of(projection).kind.full)


def curve(title: str, places: Sequence[float] | np.ndarray, rows: Sequence[Sequence[float]] | np.ndarray,
          chance: float | None) -> Any:
    """Seeds thin, their mean thick."""
    figure, drawn = axes(title, "steps" if title == "Tests" else "part of the training", "share of right answers")
    drawn.plot(places, rows, linewidth=0.7, color="C0", alpha=0.4)
    drawn.plot(places, np.mean(rows, axis=1), linewidth=2, color="C0")
    if chance is not None:
        drawn.axhline(chance, linestyle=":", color="gray")
    drawn.set_ylim(top=1.0)
    return figure


def confusions(counts: np.ndarray) -> Any:
    """Answers (columns) to samples of each class (rows)."""
    figure, drawn = axes("Confusions in the test", "answer", "class", 5.0)
    drawn.imshow(counts, cmap="Blues")
    for (row, column), count in np.ndenumerate(counts):
        drawn.text(column, row, str(count), ha="center", va="center", fontsize=7,
                   color="white" if 2 * count > counts.max() else "black")
    drawn.set_xticks(range(len(counts)))
    drawn.set_yticks(range(len(counts)))
    return figure


def responses(tests: Sequence[Sequence[Sequence[float | None]]]) -> Any:
    """Mean over seeds of the responses to every stimulus, test by test."""
    figure, drawn = axes("Responses to the stimuli; reward follows the first", "test", "spikes")
    means = np.nanmean(np.array(tests, dtype=float), axis=1)
    for stimulus, values in enumerate(means.T):
        drawn.plot(values, marker="o", color="C3" if stimulus == 0 else "gray", linewidth=2 if stimulus == 0 else 0.8)
    drawn.set_xticks(range(len(means)))
    return figure


def images(name: str, w: np.ndarray, assigned: Sequence[int]) -> Any:
    """The weights onto every cell as an image, cells in the order of their labels."""
    order = np.argsort(assigned, kind="stable") if len(assigned) else np.arange(len(w))
    side, pixels = math.ceil(math.sqrt(len(w))), math.isqrt(w.shape[1])
    sheet = np.zeros((side * side, pixels, pixels))
    sheet[:len(w)] = w[order].reshape(-1, pixels, pixels)
    figure, drawn = axes(f"{name}: an image per cell" + (", by label" if len(assigned) else ""), "", "", 7.0)
    drawn.imshow(sheet.reshape(side, side, pixels, pixels).swapaxes(1, 2).reshape(side * pixels, -1), cmap="hot")
    drawn.axis("off")
    return figure


def _raster(results: Mapping[str, Any], graph: Graph, taken: Arrays) -> Any:
    stop = int(results["steps"])
    recorded = {key.split("/")[1].split(".")[0] for key in taken if key.startswith(f"{STREAM}/")}
    sizes = {name: size for name, size in spiking(graph).items() if name in recorded}
    spikes = spikes_of(Observed(graph.dt, 0, sizes, graph.batch), taken, STREAM, stop)
    return raster({name: each[0] for name, each in spikes.items()}, stop)
