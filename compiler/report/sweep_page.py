"""The page of a sweep: the combinations, the accuracy along a key, what failed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cortexc.compiler.report.charts import Chart, Line, line_chart
from cortexc.compiler.report.parts import (
    Cell,
    Facts,
    Listing,
    Page,
    Section,
    Table,
    Text,
    counted,
    number,
    percent,
    rendered,
)

Row = Mapping[str, Any]
MOST_FAILED = 20


def sweep_page(experiment: str, rows: Sequence[Row], found: Sequence[Row], keys: Sequence[str]) -> str:
    """`rows`: one per run and seed; `found`: one per combination of `keys`, as `summary` gives them."""
    failed = [row for row in rows if row.get("error")]
    charts = [chart(rows, key, [other for other in keys if other != key]) for key in keys
              if len({row[key] for row in found if _number(row[key])}) > 1]
    note = [Text("A line is the mean over seeds, its band one standard deviation to both sides.", "note")]
    messages = [Listing([(*row["error"].partition(" ")[::2], "") for row in failed[:MOST_FAILED]])] if failed else []
    facts = Facts([("Runs", f"{len(rows)}", counted(len(found), "combination")), ("Failed", f"{len(failed)}", ""),
                   *((key, f"{len({str(row.get(key)) for row in found})}", "values") for key in keys)])
    table = Table("Combinations", (*keys, "test accuracy", "spread", "runs", "failed"), [
        [*(_cell(row[key]) for key in keys), number(row["mean"], ".2%"), number(row["spread"], ".2%"),
         number(row["runs"], "d"), number(row["failed"], "d")] for row in found])
    sections = [Section("Combinations", [table]),
                Section("Along a key", [*charts, *note] if any(charts) else []),
                Section("Runs that failed", messages),
                Section("All runs", [Table("All runs", (*keys, "seed", "test accuracy", "folder"), [
                    [*(_cell(row.get(key)) for key in (*keys, "seed")), number(row.get("test_accuracy"), ".2%"),
                     Cell(row.get("folder", ""))] for row in rows])])]
    title = f"{experiment}: {counted(len(rows), 'run')}"
    return rendered(Page(title, "cortexc sweep", lead(found, keys, len(failed)), facts, sections))


def lead(found: Sequence[Row], keys: Sequence[str], failed: int) -> tuple[str, str]:
    """The best combination, and the worst."""
    known = sorted((row for row in found if row["mean"] is not None), key=lambda row: -row["mean"])
    said = f"{counted(failed, 'run')} failed." if failed else ""
    if not known:
        return "No run has a test accuracy.", said
    best, worst = ((f"{percent(row['mean'])} ± {row['spread']:.1%}"
                    + (f" at {', '.join(f'{key} = {_shown(row[key])}' for key in keys)}" if keys else ""))
                   for row in (known[0], known[-1]))
    return f"Best test accuracy: {best}." + (f" Worst: {worst}." if len(known) > 1 else ""), said


def chart(rows: Sequence[Row], across: str, rest: Sequence[str]) -> Chart | None:
    """Accuracy along one key, a line per combination of the rest."""
    groups: dict[str, dict[float, list[float]]] = {}
    for row in rows:
        if row.get("test_accuracy") is not None and _number(row.get(across)):
            label = ", ".join(f"{key} {_shown(row.get(key))}" for key in rest) or "all"
            groups.setdefault(label, {}).setdefault(row[across], []).append(100 * row["test_accuracy"])
    lines = []
    for label, group in groups.items():
        values = np.full((len(group), max(map(len, group.values()))), np.nan)
        for index, place in enumerate(sorted(group)):
            values[index, :len(group[place])] = group[place]
        lines.append(Line(label, np.array(sorted(group), float), values))
    return line_chart(f"Test accuracy along {across}", across, "% right", lines)


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _shown(value: Any) -> str:
    return "" if value is None else f"{value:.4g}" if isinstance(value, float) else f"{value}"


def _cell(value: Any) -> Cell:
    return Cell(_shown(value), value if _number(value) else None)
