"""The page of a demo: accuracies, alignment, verification, the circuit, where time went."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cortexc.compiler.bench import findings
from cortexc.compiler.report.charts import Chart, Line, line_chart
from cortexc.compiler.report.parts import Cell, Code, Facts, Page, Section, Table, Text, number, rendered
from cortexc.compiler.report.run_page import circuit_section, seconds_table

Results = Mapping[str, Any]


def demo_page(results: Results) -> str:
    """`results` is what `cortexc bench demo` keeps in results.json."""
    curves, table, circuit = results["curves"], results["table"], circuit_section(results["circuit"])
    explained = Code("What the rules read", results["circuit"]["explain"])
    accuracy = [_accuracies(table), _chart("Test accuracy", "% right", curves, _accuracy)]
    angle = [Text(findings.alignment(curves)),
             _chart("Angle between B and the transpose of W", "degrees", curves, _angle)]
    same = [Text(findings.sameness(results["verification"])), _verification(results["verification"]),
            Text(population(results["population"]), "" if results["population"]["same_bits"] else "bad")]
    return rendered(Page(findings.title(results), "cortexc bench demo", lead(results), _facts(results), [
        Section("Accuracy", accuracy), Section(findings.alignment_title(curves), angle),
        Section("Is it the same circuit?", same), Section(circuit.title, [*circuit.parts, explained]),
        Section("Where time went", [seconds_table(results["seconds"])])]))


def lead(results: Results) -> tuple[str, str]:
    run = results["run"]
    where = "Lava's CPU simulator" if run["backend"] == "lava" else run["backend"]
    return (f"Trained on {where} {findings.locality(results['circuit'])}. {findings.compared(results['table'])}",
            f"Circuit {results['circuit']['name']}; {run['data']}.")


def _facts(results: Results) -> Facts:
    run, best = results["run"], results["table"][0]
    return Facts([("Test accuracy", f"{best['accuracy']:.1%}", f"mean of {len(best['splits'])} splits, ± "
                   f"{best['spread']:.1%}"), ("Network steps", f"{run['steps']:,}", "of one run"),
                  ("Steps per second", f"{run['steps_per_second']:,.0f}", ""),
                  ("Comparisons", f"{len(results['verification'])}", findings.sameness(results["verification"])),
                  ("Wall time", f"{results['seconds']['total']:.0f} s", "")])


def _accuracies(table: Sequence[Results]) -> Table:
    heads = ("method", "test accuracy", "spread", "contiguous split", "where")
    note = f"Means of {len(table[0]['splits'])} splits."
    return Table("Accuracy", heads, [[Cell(row["row"]), *(number(row[key], ".2%") for key in (
        "accuracy", "spread", "contiguous")), Cell(row["where"])] for row in table], note)


def _verification(entries: Sequence[Results]) -> Table:
    heads = ("what", "granularity", "evidence", "variables", "steps", "largest error", "of the range", "outcome")
    return Table("Comparisons", heads, [
        [Cell(e["what"]), Cell(e["granularity"]), Cell(e["evidence"]), number(e["variables"], "d"),
         number(e["steps"], ","), _size(e["max_abs_error"]), _size(e["max_rel_error"]),
         Cell(e["outcome"], mark="good" if e["passed"] else "bad")] for e in entries])


def _size(error: float | None) -> Cell:
    return Cell(findings.size(error), np.inf if error is None else error)


def population(p: Results) -> str:
    speeds = ", ".join(f"{name} {value:,.1f} us" for name, value in p["us_per_step"].items())
    return (f"One epoch ({p['steps']:,} steps) with one Lava process per population and projection gave "
            f"{'the same bits as' if p['same_bits'] else 'other bits than'} one process for the network "
            f"(hoist-constant-input left out of both). Per step: {speeds}.")


def _chart(title: str, y: str, curves: Mapping[str, Sequence[Results]], read: Any) -> Chart | None:
    """A line per variant: the mean of its runs, cut to the shortest."""
    lines = []
    for variant, runs in curves.items():
        read_runs = [read(run) for run in runs]
        length = min((len(values) for _, values in read_runs), default=0)
        if length:
            lines.append(Line(variant, np.array(read_runs[0][0][:length]),
                              np.array([values[:length] for _, values in read_runs], float).T))
    return line_chart(title, "epoch", y, lines, ("orthogonal", 90.0) if read is _angle else None,
                      "Mean over the splits, and one standard deviation to both sides.")


def _accuracy(run: Results) -> tuple[list[float], list[float]]:
    return run["epochs"], [100 * value for value in run["accuracy"]]


def _angle(run: Results) -> tuple[list[float], list[float]]:
    return list(range(1, len(run["angle"]) + 1)), run["angle"]
