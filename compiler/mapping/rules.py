"""Connectivity rules as text, for `cortexc fit --rule`: what the graph has no word for and nobody wants to build.

    W=dense            W=one_to_one
    W=probability:P    every pair with probability P
    W=distance:PEAK:SCALE:COLUMNS    PEAK * exp(-distance / SCALE) between COLUMNS x COLUMNS places of a square sheet
                                     with unit spacing; cells are spread evenly over the columns, in order
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from cortexc.compiler.ir import CortexError, Graph, unknown
from cortexc.compiler.ir.places import Apart, Layout, Places
from cortexc.compiler.ir.wiring import Kernel, Wiring
from cortexc.compiler.mapping.connectivity import Connectivity, Dense, FixedProbability, OneToOne, by_distance

FORMS = {"dense": 0, "one_to_one": 0, "probability": 1, "distance": 3}
"""Rule -> how many numbers it takes."""


def read_rules(graph: Graph, texts: Sequence[str]) -> dict[str, Connectivity]:
    """Projection -> its rule. Raises M113 for what cannot be read, M114 for a projection that is not there."""
    return dict(_read(graph, text) for text in texts)


def _read(graph: Graph, text: str) -> tuple[str, Connectivity]:
    name, _, rule = text.partition("=")
    kind, *numbers = rule.split(":")
    if name not in {q.name for q in graph.projections}:
        raise unknown("M114", "projection of a rule", name, [q.name for q in graph.projections])
    if kind not in FORMS:
        raise unknown("M113", f"rule of projection '{name}'", kind, FORMS)
    projection = graph.projection(name)
    pre, post = graph.population(projection.pre).size, graph.population(projection.post).size
    try:
        values = [float(number) for number in numbers]
    except ValueError:
        values = []
    positive = all(0 < value < math.inf for value in values)
    if len(values) != FORMS[kind] or not positive or (values and values[0] > 1):
        raise CortexError("M113", f"rule '{text}' takes {FORMS[kind]} positive finite numbers, the first a "
                                  "probability.", "Write NAME=probability:P or NAME=distance:PEAK:SCALE:COLUMNS.")
    return name, _made(kind, pre, post, values, text)


def _made(kind: str, pre: int, post: int, values: list[float], text: str) -> Connectivity:
    if kind == "probability":
        return FixedProbability(pre, post, values[0])
    if kind != "distance":
        return Dense(pre, post) if kind == "dense" else OneToOne(pre, post)
    side = int(values[2])
    if side != values[2] or pre % side ** 2 or post % side ** 2:
        raise CortexError("M113", f"rule '{text}': {pre} and {post} cells cannot be spread evenly over "
                                  f"{values[2]:g} x {values[2]:g} columns.")
    sheet = Places(Layout("grid", (side, side), shape=(side, side)), "", side * side)
    wiring = Wiring("distance", values[0], kernel=Kernel("exponential", (values[1],)))
    columns = by_distance(wiring, Apart(sheet, sheet))
    return replace(columns, pre_tiles=np.repeat(columns.pre_tiles, pre // side ** 2),
                   post_tiles=np.repeat(columns.post_tiles, post // side ** 2))
