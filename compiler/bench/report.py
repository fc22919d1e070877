"""One HTML page from a demo's results: tables, plots, where time went."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any

from cortexc.compiler.bench import findings
from cortexc.compiler.experiments.pages import axes as _axes
from cortexc.compiler.experiments.pages import page
from cortexc.compiler.experiments.pages import picture as _picture
from cortexc.compiler.experiments.pages import said as _said
from cortexc.compiler.experiments.plots import drawn_circuit

COLOURS = {"PAL": "#1b6ca8", "FA": "#c2571a", "BP": "#3a7d44"}


def report_html(results: Mapping[str, Any]) -> str:
    """The page. `results` is what `cortexc bench demo` keeps in results.json."""
    parts = [
        f"<h1>{html.escape(findings.title(results))}</h1>", _lead(results),
        "<h2>Accuracy</h2>", _accuracy_table(results["table"]), _said(findings.compared(results["table"])),
        _picture(accuracy_figure(results)),
        f"<h2>{html.escape(findings.alignment_title(results['curves']))}</h2>",
        _said(findings.alignment(results["curves"])), _picture(angle_figure(results)),
        "<h2>Is it the same circuit?</h2>", _said(findings.sameness(results["verification"])),
        _verification_table(results["verification"]), _population(results),
        "<h2>The circuit</h2>", _picture(drawn_circuit(results["circuit"])),
        f"<pre>{html.escape(results['circuit']['explain'])}</pre>",
        "<h2>Where time went</h2>", _picture(time_figure(results))]
    return page("cortexc", parts)


def _lead(results: Mapping[str, Any]) -> str:
    run = results["run"]
    where = "Lava's CPU simulator" if run["backend"] == "lava" else run["backend"]
    return _said(f"Circuit {results['circuit']['name']}; {run['data']}. Trained on {where} "
                 f"{findings.locality(results['circuit'])}: {run['steps']:,} network steps at "
                 f"{run['steps_per_second']:,.0f} steps per second.")


def _accuracy_table(table: Sequence[Mapping[str, Any]]) -> str:
    lines = [f"<table><tr><th>method</th><th class=n>test accuracy, mean of {len(table[0]['splits'])} splits</th>"
             "<th class=n>spread</th><th class=n>contiguous split</th><th>where</th></tr>"]
    for row in table:
        lines.append(f"<tr><td>{html.escape(row['row'])}</td><td class=n>{row['accuracy']:.2%}</td>"
                     f"<td class=n>{row['spread']:.2%}</td><td class=n>{row['contiguous']:.2%}</td>"
                     f"<td>{html.escape(row['where'])}</td></tr>")
    return "\n".join([*lines, "</table>"])


def _verification_table(entries: Sequence[Mapping[str, Any]]) -> str:
    lines = ["<table><tr><th>what</th><th>granularity</th><th>evidence</th><th class=n>variables</th>"
             "<th class=n>steps</th><th class=n>largest error</th><th class=n>of the range</th><th></th></tr>"]
    for e in entries:
        mark = f"<span class={'good' if e['passed'] else 'bad'}>{e['outcome']}</span>"
        lines.append(f"<tr><td>{html.escape(e['what'])}</td><td>{e['granularity']}</td><td>{e['evidence']}</td>"
                     f"<td class=n>{e['variables']}</td><td class=n>{e['steps']:,}</td>"
                     f"<td class=n>{findings.size(e['max_abs_error'])}</td>"
                     f"<td class=n>{findings.size(e['max_rel_error'])}</td>"
                     f"<td>{mark}</td></tr>")
    return "\n".join([*lines, "</table>"])


def _population(results: Mapping[str, Any]) -> str:
    p = results["population"]
    speeds = ", ".join(f"{name} {value:,.1f} us" for name, value in p["us_per_step"].items())
    verdict = "the same bits as" if p["same_bits"] else "<span class=bad>other bits than</span>"
    return (f"<p>One epoch ({p['steps']:,} steps) with one Lava process per population and projection gave {verdict} "
            f"one process for the network (hoist-constant-input left out of both). Per step: {speeds}.</p>")


def accuracy_figure(results: Mapping[str, Any]) -> Any:
    figure, axes = _axes(f"Test accuracy, {len(results['table'][0]['splits'])} splits", "epoch", "%")
    for variant, curves in results["curves"].items():
        for index, curve in enumerate(curves):
            axes.plot(curve["epochs"], [100 * a for a in curve["accuracy"]], color=COLOURS[variant], alpha=0.7,
                      label=variant if index == 0 else None)
    axes.legend(frameon=False)
    return figure


def angle_figure(results: Mapping[str, Any]) -> Any:
    figure, axes = _axes("Angle between feedback weights B and W transposed", "epoch", "degrees")
    for variant, curves in results["curves"].items():
        for index, curve in enumerate(curves):
            axes.plot(range(1, len(curve["angle"]) + 1), curve["angle"], color=COLOURS[variant], alpha=0.7,
                      label=variant if index == 0 else None)
    axes.axhline(90, color="#999", linewidth=0.8, linestyle=":")
    axes.legend(frameon=False)
    return figure


def time_figure(results: Mapping[str, Any]) -> Any:
    seconds = {k: v for k, v in results["seconds"].items() if k != "total"}
    figure, axes = _axes(f"{results['seconds']['total']:.0f} s in all", "seconds", "")
    axes.barh(list(seconds)[::-1], list(seconds.values())[::-1], color="#7a9cb8")
    return figure
