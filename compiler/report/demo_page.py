"""The page of a demo: accuracies, alignment, verification, the circuit, where time went."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cortexc.compiler.report.charts import Chart, Line, line_chart
from cortexc.compiler.report.parts import Cell, Code, Facts, Page, Section, Table, Text, number, rendered
from cortexc.compiler.report.run_page import circuit_section, seconds_table

Results = Mapping[str, Any]
ALIGNED = 5.0
"""Degrees below which B counts as the transpose of W."""
CHANGES = {"falls": "aligns", "rises": "turns away", "stays": "does not change", "is small": "is aligned throughout"}


def size(error: float | None) -> str:
    return "not finite" if error is None else f"{error:.1e}"


def title(results: Results) -> str:
    """What was learnt, how well, and where."""
    row, run = results["table"][0], results["run"]
    return f"Handwritten digits on {run['backend'].capitalize()}: {row['row']} at {row['accuracy']:.1%}"


def locality(circuit: Results) -> str:
    """Of the rules of the circuit that is explained."""
    far = circuit["not_local"]
    if not far:
        return "with rules that are local to the synapse"
    return f"with rules of which {', '.join(far)} {'is' if len(far) == 1 else 'are'} not local to the synapse"


def compared(table: Sequence[Results]) -> str:
    """The first row beside every other one: above, below, or not told apart by their spreads over the splits."""
    first, words = table[0], dict[str, list[str]]()
    if len(first["splits"]) < 2:
        return "One split has no spread, so nothing is said of the differences."
    for row in table[1:]:
        apart = first["accuracy"] - row["accuracy"]
        unclear = abs(apart) <= max(first["spread"], row["spread"])
        words.setdefault("not told apart from" if unclear else "above" if apart > 0 else "below", []).append(row["row"])
    return f"{first['row']} is " + "; ".join(f"{word} {', '.join(rows)}" for word, rows in words.items()) + "."


def change(curves: Sequence[Results]) -> tuple[str, float, float]:
    """What the angle does over training, and its mean at the start and at the end, in degrees. It falls or rises where
    its mean change is greater than the spread of the changes over the runs, and than one degree."""
    ends = np.array([[curve["angle"][0], curve["angle"][-1]] for curve in curves if curve["angle"]])
    if not len(ends):
        return "was not measured", float("nan"), float("nan")
    first, last = map(float, ends.mean(0))
    moves = ends[:, 1] - ends[:, 0]
    if max(first, last) < ALIGNED:
        return "is small", first, last
    if abs(moves.mean()) <= max(moves.std(), 1.0):
        return "stays", first, last
    return ("falls" if moves.mean() < 0 else "rises"), first, last


def alignment_title(curves: Mapping[str, Sequence[Results]]) -> str:
    """The heading of the plot of angles."""
    groups: dict[str, list[str]] = {}
    for variant, runs in curves.items():
        groups.setdefault(CHANGES.get(change(runs)[0], "was not measured"), []).append(variant)
    return "Feedback " + ", ".join(f"{word} in {' and '.join(names)}" for word, names in groups.items())


def alignment(curves: Mapping[str, Sequence[Results]]) -> str:
    """The angles at both ends, variant by variant."""
    parts = []
    for variant, runs in curves.items():
        word, first, last = change(runs)
        parts.append(f"{variant}: {word}" + (f", {first:.1f} to {last:.1f} degrees" if np.isfinite(first) else ""))
    return f"Angle between B and the transpose of W from the first epoch's end to the last's. {'; '.join(parts)}."


def sameness(entries: Sequence[Results]) -> str:
    """Whether all comparisons were passed, and what the others found."""
    failed = [e for e in entries if not e["passed"]]
    if not entries:
        return "Nothing was compared."
    if not failed:
        return f"Yes, by all {len(entries)} comparisons."
    said = ", ".join(f"{e['what']} at {e['granularity']}: {e['outcome']}" for e in failed)
    return f"Not shown: {len(failed)} of {len(entries)} comparisons are not passed ({said})."


def demo_page(results: Results) -> str:
    """`results` is what `cortexc bench demo` keeps in results.json."""
    curves, table, circuit = results["curves"], results["table"], circuit_section(results["circuit"])
    explained = Code("What the rules read", results["circuit"]["explain"])
    accuracy = [_accuracies(table), _chart("Test accuracy", "% right", curves, lambda run: (
        run["epochs"], [100 * value for value in run["accuracy"]]))]
    angle = [Text(alignment(curves)),
             _chart("Angle between B and the transpose of W", "degrees", curves, lambda run: (
                 list(range(1, len(run["angle"]) + 1)), run["angle"]), ("orthogonal", 90.0))]
    same = [Text(sameness(results["verification"])), _verification(results["verification"]),
            Text(population(results["population"]), "" if results["population"]["same_bits"] else "bad")]
    return rendered(Page(title(results), "cortexc bench demo", lead(results), _facts(results), [
        Section("Accuracy", accuracy), Section(alignment_title(curves), angle),
        Section("Is it the same circuit?", same), Section(circuit.title, [*circuit.parts, explained]),
        Section("Where time went", [seconds_table(results["seconds"])])]))


def lead(results: Results) -> tuple[str, str]:
    run = results["run"]
    where = "Lava's CPU simulator" if run["backend"] == "lava" else run["backend"]
    return (f"Trained on {where} {locality(results['circuit'])}. {compared(results['table'])}",
            f"Circuit {results['circuit']['name']}; {run['data']}.")


def _facts(results: Results) -> Facts:
    run, best = results["run"], results["table"][0]
    return Facts([("Test accuracy", f"{best['accuracy']:.1%}", f"mean of {len(best['splits'])} splits, ± "
                   f"{best['spread']:.1%}"), ("Network steps", f"{run['steps']:,}", "of one run"),
                  ("Steps per second", f"{run['steps_per_second']:,.0f}", ""),
                  ("Comparisons", f"{len(results['verification'])}", sameness(results["verification"])),
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
         number(e["steps"], ","), *(Cell(size(e[key]), np.inf if e[key] is None else e[key])
                                    for key in ("max_abs_error", "max_rel_error")),
         Cell(e["outcome"], mark="good" if e["passed"] else "bad")] for e in entries])


def population(p: Results) -> str:
    speeds = ", ".join(f"{name} {value:,.1f} us" for name, value in p["us_per_step"].items())
    return (f"One epoch ({p['steps']:,} steps) with one Lava process per population and projection gave "
            f"{'the same bits as' if p['same_bits'] else 'other bits than'} one process for the network "
            f"(hoist-constant-input left out of both). Per step: {speeds}.")


def _chart(title: str, y: str, curves: Mapping[str, Sequence[Results]], read: Any,
           rule: tuple[str, float] | None = None) -> Chart | None:
    """A line per variant: the mean of its runs, cut to the shortest."""
    lines = []
    for variant, runs in curves.items():
        read_runs = [read(run) for run in runs]
        length = min((len(values) for _, values in read_runs), default=0)
        if length:
            lines.append(Line(variant, np.array(read_runs[0][0][:length]),
                              np.array([values[:length] for _, values in read_runs], float).T))
    return line_chart(title, "epoch", y, lines, rule, "Mean over the splits, and one standard deviation to both sides.")
