"""The sentences of the demo's report that state a finding, each made from the numbers that it is about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

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
