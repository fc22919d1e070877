"""The page of a run: what was learnt, how, by which circuit; spikes, weights, time.

Each part is there where the results or the recordings have what it shows, and each sentence comes from its numbers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cortexc.compiler.experiments.spikes import Observed, Spikes, spikes_of
from cortexc.compiler.experiments.tasks.simulate import STREAM, TRACES, spiking
from cortexc.compiler.ir import Graph
from cortexc.compiler.report.charts import Chart, Line, histograms, line_chart, rows_chart
from cortexc.compiler.report.drawing import circuit_drawing, circuit_parts
from cortexc.compiler.report.parts import (
    Cell,
    Facts,
    Matrix,
    Page,
    Picture,
    Section,
    Table,
    Text,
    counted,
    number,
    percent,
    rendered,
)

CELLS, MOST_SPIKES, LAST_MS, APART, FINEST = 60, 12_000, 300.0, 20.0, 1500
"""Of a raster: cells of a population, all spikes; its length and that of traces (ms), least height (mV), points."""
LEAST_PIXELS, MOST_CLASSES, MOST_CURVES, NARROW = 25, 40, 12, 460
"""Cells of an input shown as an image; classes of confusions; curves; a drawing that stands beside its table."""
Arrays = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Recorded:
    """Of a run: `taken` as events and windows, `curves` (rows, seeds), and `value`, which reads weights."""

    taken: Arrays
    curves: Arrays
    value: Callable[[str], np.ndarray]
    observed: Observed | None = None


def run_page(results: Mapping[str, Any], graph: Graph, recorded: Recorded) -> str:
    sections = [_learning(results, recorded.curves), _confusions(results), _spiking(results, graph, recorded),
                Section("Distributions over cells", list(_distributions(results, recorded)), beside="beside"),
                Section("Weights", list(_weights(results, graph, recorded.value)), beside="beside"),
                circuit_section(circuit_parts(graph)), Section("Where time went", [seconds_table(results["seconds"])]),
                _details(results)]
    said = [] if results["completed"] else [
        f"The run is not complete: {results['steps']:,} of {results['total_steps']:,} steps."]
    said += [] if results["finite"] else ["Some weights are not finite."]
    said += [] if "spikes" in results else [f"Data: {results['data']}."]
    lead = " ".join(findings(results, recorded)), " ".join(said)
    return rendered(Page(results["name"], f"cortexc run · {results['circuit']}", lead, _facts(results), sections))


def findings(results: Mapping[str, Any], recorded: Recorded) -> Iterator[str]:
    accuracies = _accuracies(results)
    if accuracies:
        whose = f", the mean of {counted(len(accuracies), 'seed')} ({percent(min(accuracies))} to " \
                f"{percent(max(accuracies))})" if len(accuracies) > 1 else ""
        chance = f"; guessing gives {percent(results['chance'])}" if results.get("chance") is not None else ""
        yield f"Right in {percent(float(np.mean(accuracies)))} of the test{whose}{chance}."
    rates = [f"{name} {own['rate'][0]:.3g} Hz" for name, own in results.get("spikes", {}).items()
             if own["rate"][0] is not None]
    if rates:
        yield f"Mean rates: {', '.join(rates)}."
    seen = recorded.observed
    if seen and int(results["steps"]) <= seen.start:
        yield f"The run ends within its warm-up of {seen.start * seen.dt:g} ms, which no rate counts."
    for name, curve in recorded.curves.items():
        if "/angle " in name and len(curve) > 1 and np.isfinite(curve[[0, -1]]).all():
            yield f"The {_curve_name(name)} goes from {curve[0].mean():.1f}° to {curve[-1].mean():.1f}°."


def _accuracies(results: Mapping[str, Any]) -> list[float]:
    return [row["test_accuracy"] for row in results["seeds"] if row["test_accuracy"] is not None
            and np.isfinite(row["test_accuracy"])]


def _facts(results: Mapping[str, Any]) -> Facts:
    known = _accuracies(results)
    accuracy = [("Test accuracy", percent(results["test_accuracy"]), f"± {np.std(known):.1%} over seeds"
                 if len(known) > 1 else "")] if known else []
    error = [("Test error", f"{results['test_error']:.3g}", "median over seeds")] if results.get("test_error") else []
    return Facts([*accuracy, *error, ("Seeds", f"{len(results['seeds'])}", ""),
                  ("Network steps", f"{results['steps']:,}", ""),
                  ("Steps per second", f"{results['steps_per_second']:,.0f}", ""),
                  ("Wall time", f"{results['wall_s']:.3g} s", ""),
                  ("Backend", results["backend"], f"granularity {results['granularity']}")])


# ---- learning


def _learning(results: Mapping[str, Any], curves: Arrays) -> Section:
    chance = results.get("chance")
    rule = ("guessing", 100 * chance) if chance is not None else None
    scored = {name: results[key] for name, key in (("test", "tests"), ("validation", "validations"))
              if len(results[key]) > 1}
    by = next(("epoch" if len({row["epoch"] for row in rows}) == len(rows) else "step" for rows in scored.values()), "")
    charts = [line_chart("Right answers", by, "% right", [
        Line(name, np.array([row[by] for row in rows]), 100 * np.array([row["accuracy"] for row in rows], float))
        for name, rows in scored.items()], rule)] if scored else []
    for title, rows in (("While it learns", results.get("training", ())),
                        ("While it learns, with labels of just before", np.transpose(results.get("curve", ())))):
        if len(rows):
            line = Line("training", np.arange(1, len(rows) + 1), 100 * np.asarray(rows, float))
            charts.append(line_chart(title, "part of the training", "% right", [line], rule))
    if results.get("responses"):
        charts.append(responses(results["responses"]))
    phases: dict[str, list[Mapping[str, Any]]] = {}
    for row in results.get("errors", ()):
        phases.setdefault(row["phase"], []).append(row)
    lines = [Line(phase, np.array([row["step"] for row in own]), np.array([row["error"] for row in own], float))
             for phase, own in phases.items() if len(own) > 1]
    charts += [*_recorded_curves(curves), line_chart("Error against the target", "step", "squared difference", lines)]
    note = [Text("A line is the mean over seeds, its band one standard deviation to both sides.", "note")] \
        if any(charts) and len(results["seeds"]) > 1 else []
    return Section("Learning", [*charts, *note], beside="beside" * (sum(map(bool, charts)) > 1))


def _curve_name(key: str) -> str:
    """Of `STREAM/angle B.w W.w` and `STREAM/error A.x B.x`."""
    what, first, second = key.partition("/")[2].split(" ", 2)
    first, second = first.removesuffix(".w"), second.removesuffix(".w")
    return f"angle between {first} and the transpose of {second}" if what == "angle" else \
        f"squared difference of {first} and {second}"


def _recorded_curves(curves: Arrays) -> list[Chart | None]:
    charts: list[Chart | None] = []
    for what, title, y in (("/angle ", "Alignment of feedback", "degrees"),
                           ("/error ", "Errors", "squared difference")):
        angles, lines = what == "/angle ", [
            Line(_curve_name(name).removeprefix("angle between "), np.arange(1, len(curve) + 1), curve)
            for name, curve in curves.items() if what in name and len(curve)][:MOST_CURVES]
        highest = max([95.0, *(float(each.values.max(where=np.isfinite(each.values), initial=0.0)) for each in lines)])
        charts.append(line_chart(title, "recording", y, lines, ("orthogonal", 90.0) if angles else None,
                                 up=(0.0, highest) if angles else None))
    return charts


def responses(tests: Sequence[Sequence[Sequence[float | None]]]) -> Chart | None:
    """(tests, seeds, stimuli): to every stimulus, test by test."""
    found = np.array(tests, dtype=float)
    lines = [Line("rewarded" if s == 0 else f"stimulus {s + 1}", np.arange(1, len(found) + 1), found[:, :, s])
             for s in range(found.shape[2])]
    return line_chart("Responses to the stimuli; reward follows the first", "test", "spikes", lines)


def _confusions(results: Mapping[str, Any]) -> Section:
    """Of all seeds together."""
    title = "Confusions in the test"
    if not results.get("confusion") or len(results["confusion"][0]) > MOST_CLASSES:
        return Section(title, [])
    counts = np.sum(results["confusion"], axis=0)
    words = dict(enumerate(results.get("classes", ())))
    names = [str(words.get(index, index)) for index in range(len(counts))]
    return Section(title, [Text(most_confused(counts, names)), Matrix(
        "Rows are classes, columns answers", names, counts)])


def most_confused(counts: np.ndarray, names: Sequence[str]) -> str:
    wrong = counts - np.diag(np.diag(counts))
    if not wrong.any():
        return f"All {counted(int(counts.sum()), 'answer')} are right."
    row, column = np.unravel_index(int(np.argmax(wrong)), wrong.shape)
    return (f"{int(wrong.sum()):,} of {counted(int(counts.sum()), 'answer')} are wrong. The most frequent mistake: "
            f"{names[int(row)]} is taken for {names[int(column)]}, {int(wrong[row, column]):,} times of "
            f"{int(counts[row].sum()):,}.")


# ---- spikes


def _spiking(results: Mapping[str, Any], graph: Graph, recorded: Recorded) -> Section:
    """Of the first element of the batch axis."""
    observed, stop = recorded.observed, int(results["steps"])
    names = {key.split("/")[1].rsplit(".", 2)[0] for key in recorded.taken if key.startswith(f"{STREAM}/")}
    sizes = {name: size for name, size in spiking(graph).items() if name in names}
    if not sizes and observed is None:
        return Section("Spikes", [])
    seen = Observed(graph.dt, 0, observed.sizes if observed else sizes, graph.batch)
    own = {name: each[0] for name, each in spikes_of(seen, recorded.taken, STREAM, stop).items()}
    parts: list[Any] = [raster(own, stop)] if own else []
    if observed:
        rows = [[Cell(name), number(observed.sizes[name], ","), *(number(values[0]) for values in each.values())]
                for name, each in results["spikes"].items()]
        heads = ("population", "cells", "rate, Hz", "irregularity (CV)", "correlation")
        statistics = Table("Statistics of the spikes", heads, rows, f"From {observed.start * observed.dt:g} ms on.")
        parts = [statistics, *parts, activity(own, stop), *traces(recorded.taken, observed, stop)]
    return Section("Spikes", parts)


def raster(spikes: Mapping[str, Spikes], stop: int) -> Chart:
    """A point per spike, populations from the top down: the end of the run, as long as it has not too many."""
    dt = next(iter(spikes.values())).dt
    first = max(stop - round(LAST_MS / dt), 0)
    while sum(int((each.since(first).cells < CELLS).sum()) for each in spikes.values()) > MOST_SPIKES:
        first = (first + stop + 1) // 2
    rows, said = [], []
    for colour, (name, each) in enumerate(spikes.items()):
        last, shown = each.since(first), min(CELLS, each.size)
        kept = last.cells < shown
        rows.append((name, colour, "spikes", last.steps[kept] * dt, 1.0 - (last.cells[kept] + 0.5) / shown))
        said.append(f"{name}: {counted(int(kept.sum()), 'spike')} of {counted(shown, 'cell')}")
    title = f"Spikes of up to {CELLS} cells of each population"
    return rows_chart(title, "ms", (first * dt, max(stop, first + 1) * dt), rows, f"{title}. {'; '.join(said)}.",
                      f"The last {(stop - first) * dt:g} ms.", 84)


def _distributions(results: Mapping[str, Any], recorded: Recorded) -> Iterator[Chart | None]:
    if recorded.observed is None:
        return
    found = spikes_of(recorded.observed, recorded.taken, STREAM, int(results["steps"]))
    spikes = {name: each[0] for name, each in found.items()}
    for title, x, measure in (("Rates", "Hz", Spikes.rates),
                              ("Irregularity", "coefficient of variation of intervals", Spikes.irregularity),
                              ("Correlation of counts in 2 ms", "correlation coefficient", Spikes.correlations),
                              ("Interspike intervals, up to the 99th percentile", "ms", _intervals)):
        yield histograms(title, x, {name: measure(each) for name, each in spikes.items()})


def _intervals(spikes: Spikes) -> np.ndarray:
    values, _ = spikes.intervals()
    return values[values <= np.percentile(values, 99)] if len(values) else values


def activity(spikes: Mapping[str, Spikes], stop: int) -> Chart | None:
    lines = []
    for name, each in spikes.items():
        last = each.since(max(stop - round(LAST_MS / each.dt), 0))
        count, edges = np.histogram(last.steps * each.dt, np.arange(last.start * each.dt, stop * each.dt + 1.0, 1.0))
        lines.append(Line(name, edges[:-1], count[:, None] / each.size * 1000.0))
    return line_chart("Population rates in bins of 1 ms", "ms", "Hz", lines)


def traces(taken: Arrays, observed: Observed, stop: int) -> list[Chart | None]:
    """Membranes of the recorded cells, one below the other, all at one scale."""
    first = max(stop - round(LAST_MS / observed.dt), 0)
    step = max(-(-(stop - first) // FINEST), 1)
    found = {key.split("/")[1].removesuffix(".v"): values[first::step, 0] for key, values in taken.items()
             if key.startswith(f"{TRACES}/") and not key.endswith(".step")}
    height = max([APART, *(float(np.ptp(values, axis=0).max()) for values in found.values() if values.size)])
    rows = [(f"{name} {cell + 1}", colour, "line thin", (first + step * np.arange(len(values))) * observed.dt,
             (values[:, cell] - values[:, cell].min()) / height)
            for colour, (name, values) in enumerate(found.items()) if len(values) for cell in range(values.shape[1])]
    said = f"Membrane potentials of {counted(len(rows), 'cell')}: {', '.join(found)}."
    across, note = (first * observed.dt, stop * observed.dt), f"A row is {height:.3g} mV high."
    return [rows_chart("Membranes", "ms", across, rows, said, note, 64)] if rows else []


# ---- weights, circuit, time


def _weights(results: Mapping[str, Any], graph: Graph, value: Callable[[str], np.ndarray]) -> Iterator[Picture]:
    """Of what learns from exogenous inputs that make a square."""
    for q in graph.projections:
        size = graph.population(q.pre).size
        if (graph.rule_of(q) is not None and graph.cell_of(q.pre).inputs and size >= LEAST_PIXELS
                and math.isqrt(size)**2 == size and graph.class_of(q.name).kind.full):
            yield images(q.name, value(f"{q.name}.w")[0], (results.get("assigned") or [[]])[0])


def images(name: str, w: np.ndarray, assigned: Sequence[int]) -> Picture:
    """The weights onto every cell as an image, cells in the order of their labels: white 0, blue below, red above."""
    w = np.where(np.isfinite(w), w, np.nan)
    order = np.argsort(assigned, kind="stable") if len(assigned) else np.arange(len(w))
    side, pixels = math.ceil(math.sqrt(len(w))), math.isqrt(w.shape[1])
    rows = -(-len(w) // side)
    sheet = np.full((rows * side, pixels + 1, pixels + 1), np.nan)
    sheet[:len(w), :-1, :-1] = w[order].reshape(-1, pixels, pixels)
    laid = sheet.reshape(rows, side, pixels + 1, pixels + 1).swapaxes(1, 2).reshape(rows * (pixels + 1), -1)
    most = float(np.abs(w).max(where=np.isfinite(w), initial=0.0)) or 1.0
    coded = np.nan_to_num(np.round(128 + 127 * laid[:-1, :-1] / most), nan=0.0)
    label = f"Weights of {name} onto {counted(len(w), 'cell')}, an image of {pixels} by {pixels} per cell"
    return Picture(f"{label}{', in the order of their labels' if len(assigned) else ''}",
                   f"White is 0, red above, blue below; the strongest is {most:.3g}. First seed.",
                   coded)


def circuit_section(circuit: Mapping[str, Any]) -> Section:
    """`circuit`: what `circuit_parts` gives."""
    rows = [[*(Cell(q[key]) for key in ("name", "pre", "post", "compartment", "message", "kind")),
             Cell("plastic", mark="good") if q["plastic"] else Cell("fixed")] for q in circuit["projections"]]
    heads = ("projection", "from", "to", "compartment", "message", "connectivity", "weights")
    drawing = circuit_drawing(circuit)
    narrow = drawing is not None and drawing.widest < NARROW
    return Section("The circuit", [drawing, Table("Projections", heads, rows)], beside="beside uneven" * narrow)


def seconds_table(seconds: Mapping[str, float]) -> Table:
    parts = {name: value for name, value in seconds.items() if name != "total"}
    whole = sum(parts.values()) or 1.0
    return Table("Where time went", ("part", "seconds", "share"), [
        [Cell(name), number(value, ".3f"), Cell(f"{100 * value / whole:.0f} %", value, share=value / whole)]
        for name, value in parts.items()], f"{whole:.3g} s in all.")


def _details(results: Mapping[str, Any]) -> Section:
    rows = [[Cell(str(row["seed"]), row["seed"]), Cell(percent(row["test_accuracy"]), row["test_accuracy"]),
             Cell(row["weights_sha256"][:16], note=row["weights_sha256"])] for row in results["seeds"]]
    known = {"experiment": results["experiment_sha256"][:16], "graph": results["graph_sha256"][:16],
             **{name: str(value) for name, value in results["machine"].items()}}
    return Section("Seeds and provenance", [
        Table("Seeds", ("seed", "test accuracy", "digest of the weights"), rows),
        Table("Provenance", ("what", "value"), [list(map(Cell, each)) for each in known.items()])],
        beside="beside")
