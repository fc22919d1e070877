"""The plot of `cortexc bench bits`: one panel per circuit and data set; filled where every rule is legal on Loihi 2."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cortexc.compiler.bench.runs import figure

STYLES = {"circuit": ("#1b6ca8", "o", "-"), "backprop in the same circuit": ("#b04a3a", "s", "--"),
          "hidden layer frozen": ("#777777", "^", ":"), "feedback frozen": ("#2a8a57", "D", "-.")}


def plot(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Writes an SVG; rows in which one quantity is wider than the others are left out."""
    rows = [row for row in rows if not row["widened"]]
    panels = list(dict.fromkeys((row["circuit"], row["dataset"]) for row in rows))
    columns = max(1, min(3, len(panels)))
    lines = max(1, -(-len(panels) // columns))
    with figure(path, lines, columns, figsize=(4.2 * columns, 3.2 * lines), squeeze=False) as (drawn, axes):
        for axis, panel in zip(axes.flat, panels, strict=False):
            _panel(axis, panel, [row for row in rows if (row["circuit"], row["dataset"]) == panel])
        for axis in list(axes.flat)[len(panels):]:
            axis.set_visible(False)
        axes.flat[0].legend(fontsize=7, loc="lower right")
        drawn.tight_layout()


def _panel(axis: Any, panel: tuple[str, str], rows: list[Mapping[str, Any]]) -> None:
    widths = sorted({row["weight_bits"] for row in rows}, key=lambda w: 99 if w == "float" else w)
    places = {width: index for index, width in enumerate(widths)}
    for line in dict.fromkeys(row["line"] for row in rows):
        colour, marker, style = STYLES[line]
        own = sorted((row for row in rows if row["line"] == line), key=lambda row: places[row["weight_bits"]])
        x, y = [places[row["weight_bits"]] for row in own], [100 * row["accuracy"] for row in own]
        axis.errorbar(x, y, [100 * row["spread"] for row in own], color=colour, linestyle=style, label=line, capsize=2)
        for row, a, b in zip(own, x, y, strict=True):
            legal = "loihi2" in row["legal_on"]
            axis.plot(a, b, marker, color=colour, markerfacecolor=colour if legal else "white", markersize=6)
    axis.set_xticks(range(len(widths)), [str(width) for width in widths])
    axis.set_title(" on ".join(panel), fontsize=9)
    axis.set_xlabel("bits of a weight", fontsize=8)
    axis.set_ylabel("test accuracy (%)", fontsize=8)
    axis.tick_params(labelsize=8)
