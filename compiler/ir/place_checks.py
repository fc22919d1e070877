"""What a valid layout is (E280), and populations whose cells have distances from each other (E281, E267)."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from cortexc.compiler.ir.dimensions import mismatch
from cortexc.compiler.ir.errors import CortexError
from cortexc.compiler.ir.language import Problems
from cortexc.compiler.ir.model import Graph, Population, Projection
from cortexc.compiler.ir.places import AXES, Layout
from cortexc.compiler.ir.units import Unit, times, unit


def places_fit(graph: Graph) -> Problems:
    for p in graph.populations:
        if p.place:
            yield from _layout(p, p.place)
            yield from _given(graph, p, p.place)


def _layout(p: Population, layout: Layout) -> Iterator[CortexError]:
    who, axes = f"the {layout.kind} of population '{p.name}'", len(layout.extent)
    most = 1 if layout.kind in ("line", "ring") else len(AXES)
    if not 1 <= axes <= most:
        yield CortexError("E280", f"{who} is on {axes} lengths; it takes 1{f' to {most}' * (most > 1)}.")
    elif (len(layout.shape) if layout.shape or layout.kind == "grid" else axes) != axes:
        yield CortexError("E280", f"{who} has {len(layout.shape)} counts of cells on {axes} lengths.",
                          "Say a count for each: grid 40x30 on 4 mm x 3 mm.")
    elif layout.shape and math.prod(layout.shape) != p.size:
        yield CortexError("E280", f"{who} has {' x '.join(map(str, layout.shape))} = {math.prod(layout.shape)} cells; "
                                  f"the population has {p.size}.")


def _given(graph: Graph, p: Population, layout: Layout) -> Iterator[CortexError]:
    cell = graph.cell(p.cell)
    taken = {*(state.name for state in cell.states), *(parameter.name for parameter in cell.parameters)}
    for axis, length in zip(layout.arrays, layout.extent, strict=False):
        name, array = f"{p.name}.{axis}", graph.arrays.get(f"{p.name}.{axis}")
        if axis in taken:
            yield CortexError("E212", f"'{name}' is defined twice: cell '{cell.name}' has it, and so have the places "
                                      f"of population '{p.name}'.", "Rename it in the cell.")
        elif array is None:
            yield CortexError("E243", f"the places of population '{p.name}' are given, but array '{name}' is missing.",
                              f"Bind an array of shape {(p.size,)}.")
        elif array.shape != (p.size,):
            yield CortexError("E241", f"array '{name}' has shape {array.shape}, expected {(p.size,)}.")
        elif (outside := ~((array >= 0) & (array <= length))).any():
            at = int(np.argmax(outside))
            yield CortexError("E280", f"array '{name}' holds {array[at]} at index {at}; the population lies between 0 "
                                      f"and {length:g} {layout.unit}".rstrip() + ".", "Shift it, or give more room.")


def distances_exist(graph: Graph, q: Projection, what: str) -> Iterator[CortexError]:
    """`what` asks for them. E281, and E267 for lengths in different units."""
    pre, post = (graph.population(name) for name in (q.pre, q.post))
    bare = next((p.name for p in (pre, post) if p.place is None), None)
    if bare or pre.place is None or post.place is None:
        yield CortexError("E281", f"projection '{q.name}' has {what}, but population '{bare}' has no places.",
                          "Give it some: place grid 40x40 on 1 mm x 1 mm.")
    elif len(pre.place.extent) != len(post.place.extent):
        yield CortexError("E281", f"projection '{q.name}' has {what}, but population '{pre.name}' lies along "
                                  f"{len(pre.place.extent)} axes, '{post.name}' along {len(post.place.extent)}.")
    elif pre.place.wraps != post.place.wraps or pre.place.wraps and pre.place.extent != post.place.extent:
        yield CortexError("E281", f"projection '{q.name}' has {what}, but populations '{pre.name}' and '{post.name}' "
                                  "do not wrap around the same lengths.")
    if pre.place and post.place:
        says = f"'{post.name}' lies in {{0}}, '{pre.name}' in {{1}}"
        yield from same_unit(q, says, post.place.unit, pre.place.unit)


def same_unit(q: Projection, says: str, first: str, second: str, per: Unit | None = None) -> Iterator[CortexError]:
    """E267, where both are said and differ; the first `per` so much."""
    wanted = times(unit(first), per or {}, -1)
    if first and second and wanted != unit(second):
        yield mismatch(f"projection '{q.name}'", says, wanted, unit(second))
