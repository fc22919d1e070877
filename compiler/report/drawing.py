"""Drawings of nodes and of what flows between them; and circuits: cells with their compartments, and projections."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from cortexc.compiler.ir import Graph

WIDE, SOMA, PART, APART, BETWEEN, ROW = 132.0, 46.0, 22.0, 64.0, 74.0, 3
"""Width and height of a soma, height of a compartment, distances beside and above each other, populations in a row."""
MOST_POPULATIONS, LETTERS, CROWD = 40, 16, 24
"""Populations that are drawn, letters of a name, projections beyond which they are pale."""
Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Shape:
    """An element of SVG. What has a `node` can be pointed at, and `told` is what it says."""

    tag: str
    attributes: Mapping[str, Any]
    text: str = ""
    told: str = ""
    node: str = ""


@dataclass(frozen=True)
class Drawing:
    """`view`: left, top, width and height; `widest`, `narrowest`: its width in pixels; `key`: (style, meaning)."""

    kind: ClassVar[str] = "drawing"
    label: str
    view: Box
    widest: float
    shapes: Sequence[Shape]
    key: Sequence[tuple[str, str]] = ()
    narrowest: float = 0.0

    def _repr_html_(self) -> str:
        from cortexc.compiler.report.parts import drawn

        return drawn(self)


def rect(style: str, x: float, y: float, width: float, height: float, round_by: float = 4.0, **more: Any) -> Shape:
    told, node = more.pop("told", ""), more.pop("node", "")
    return Shape("rect", {"class": style, "x": f"{x:.1f}", "y": f"{y:.1f}", "width": f"{width:.1f}",
                          "height": f"{height:.1f}", "rx": round_by, **more}, "", told, node)


def words(style: str, x: float, y: float, text: str) -> Shape:
    return Shape("text", {"class": style, "x": f"{x:.1f}", "y": f"{y:.1f}"}, text)


def circuit_parts(graph: Graph) -> dict[str, Any]:
    """What is drawn of a circuit, as plain data: populations with their compartments, and projections."""
    ports = {p.name: {each.name: each.compartment for each in graph.cell(p.cell).ports} for p in graph.populations}
    synapses = [(q, graph.class_of(q.name)) for q in graph.projections]
    return {"name": graph.name,
            "populations": [{"name": p.name, "cell": p.cell, "size": p.size, "area": p.area,
                             "compartments": list(dict.fromkeys(ports[p.name].values()))} for p in graph.populations],
            "projections": [{"name": q.name, "pre": q.pre, "post": q.post, "synapse": q.synapse,
                             "message": synapse.message, "compartment": ports[q.post].get(synapse.port, synapse.port),
                             "kind": synapse.kind.name, "plastic": graph.rule_of(q) is not None}
                            for q, synapse in synapses]}


def circuit_drawing(circuit: Mapping[str, Any]) -> Drawing | None:
    """Areas from the bottom up, apical compartments above somata, the others below; none for very many populations."""
    if not 0 < len(circuit["populations"]) <= MOST_POPULATIONS:
        return None
    places, size = _places(circuit["populations"])
    populations = circuit["populations"]
    boxes = {(p["name"], part): box for p in populations for part, box in _boxes(p, places[p["name"]]).items()}
    cells = [shape for p in populations for shape in _population(p, boxes)]
    shapes = [*_projections(circuit["projections"], boxes), *cells]
    label = (f"Circuit {circuit['name']}: {len(populations)} populations, "
             f"{len(circuit['projections'])} projections")
    crowd = max(Counter((q["post"], q["compartment"]) for q in circuit["projections"]).values(), default=0)
    edge = 40.0 + 7.0 * crowd
    width = size[0] + 2 * edge
    return Drawing(label, (-edge, -36, width, size[1] + 48), width, shapes,
                   (("line plastic", "plastic projection"), ("line fixed", "fixed projection")), 0.8 * width)


def _places(populations: Sequence[Mapping[str, Any]]) -> tuple[dict[str, tuple[float, float]], tuple[float, float]]:
    """Top left corner of every soma, and the size of it all."""
    areas: dict[str, list[Mapping[str, Any]]] = {}
    for p in populations:
        areas.setdefault(p["area"], []).append(p)
    rows = [members[i:i + ROW] for members in areas.values() for i in range(0, len(members), ROW)][::-1]
    widest = max(len(row) for row in rows) * (WIDE + APART) - APART
    found: dict[str, tuple[float, float]] = {}
    y = 0.0
    for row in rows:
        above = max(len(_apical(p)) for p in row) * (PART + 12)
        left = (widest - len(row) * (WIDE + APART) + APART) / 2
        found |= {p["name"]: (left + i * (WIDE + APART), y + above) for i, p in enumerate(row)}
        y += above + SOMA + (PART + 12) * max(math.ceil(len(_others(p)) / 2) for p in row) + BETWEEN
    return found, (widest, y - BETWEEN)


def _apical(p: Mapping[str, Any]) -> list[str]:
    return [part for part in p["compartments"] if part == "apical"]


def _others(p: Mapping[str, Any]) -> list[str]:
    return [part for part in p["compartments"] if part not in ("apical", "soma")]


def _boxes(p: Mapping[str, Any], at: tuple[float, float]) -> dict[str, Box]:
    """compartment -> its box; a soma is always there."""
    x, y = at
    found = {"soma": (x, y, WIDE, SOMA)}
    found |= {part: (x + WIDE / 2 - 36, y - PART - 12, 72, PART) for part in _apical(p)}
    others = _others(p)
    for index, part in enumerate(others):
        alone = index % 2 == 0 and index + 1 == len(others)
        left = x + WIDE / 2 - 36 if alone else x + index % 2 * (WIDE / 2 + 1)
        found[part] = (left, y + SOMA + 12 + index // 2 * (PART + 12), 72 if alone else WIDE / 2 - 1, PART)
    return found


def _population(p: Mapping[str, Any], boxes: Mapping[tuple[str, str], Box]) -> Iterator[Shape]:
    x, y, width, height = boxes[p["name"], "soma"]
    for (name, part), (left, top, wide, tall) in boxes.items():
        if name == p["name"] and part != "soma":
            middle, near = left + wide / 2, top if top > y else top + tall
            trunk = f"M{middle:.1f} {near:.1f}V{y + height if top > y else y:.1f}"
            yield Shape("path", {"class": "dendrite", "d": trunk})
            yield rect(f"part {'apical' if part == 'apical' else 'basal'}", left, top, wide, tall, 11)
            yield words("small", middle, top + tall / 2 + 4, _short(part, 8 if wide < 70 else 11))
    told = f"{p['name']}: {p['size']:,} cells of type {p['cell']}" + (f", area {p['area']}" if p["area"] else "")
    yield rect("soma" if p["compartments"] else "soma source", x, y, width, height, 23, told=told, node=p["name"])
    yield words("title", x + width / 2, y + 21, _short(p["name"], LETTERS))
    yield words("small", x + width / 2, y + 36, f"{p['size']:,} cells" if p["size"] != 1 else "1 cell")


def _short(text: str, most: int) -> str:
    return text if len(text) <= most else text[:most - 1] + "…"


def _projections(projections: Sequence[Mapping[str, Any]], boxes: Mapping[tuple[str, str], Box]) -> Iterator[Shape]:
    seen: dict[Any, int] = {}
    for q in projections:
        target = boxes.get((q["post"], q["compartment"]), boxes[q["post"], "soma"])
        key = (q["post"], q["compartment"])
        seen[key] = seen.get(key, -1) + 1
        told = (f"{q['name']}: {q['message']} of {q['pre']} to {q['compartment']} of {q['post']}, {q['kind']}, "
                f"{'plastic' if q['plastic'] else 'fixed'}")
        style = f"flow {'plastic' if q['plastic'] else 'fixed'}"
        yield Shape("path", {"class": style, "d": _curve(boxes[q["pre"], "soma"], target, seen[key]),
                             "data-from": q["pre"], "data-to": q["post"], "data-tip": style.split()[1],
                             "opacity": 1.0 if len(projections) <= CROWD else 0.4}, "", told)


def _curve(a: Box, b: Box, index: int) -> str:
    """From the side of a soma to the side of a compartment; in a column, what goes up bulges to the right, what
    goes down to the left."""
    if a == b:
        x, y = a[0] + 0.36 * a[2], a[1]
        return f"M{x:.1f} {y:.1f}C{x - 10:.1f} {y - 42:.1f} {x + 48:.1f} {y - 42:.1f} {x + 38:.1f} {y:.1f}"
    step = (0, 5, -5, 8, -8)[index % 5]
    ya, yb = a[1] + a[3] / 2 + step, b[1] + b[3] / 2 + step * 0.8
    if abs(a[0] - b[0]) > WIDE or b[0] > a[0] + a[2] or a[0] > b[0] + b[2]:
        side = 1 if b[0] > a[0] else -1
        apart = 6 * side * (a[1] == b[1])
        ya, yb = ya + apart, yb + apart
        xa, xb = (a[0] + a[2], b[0]) if side > 0 else (a[0], b[0] + b[2])
        bend = max(34.0, abs(xb - xa) / 2) * side
        return f"M{xa:.1f} {ya:.1f}C{xa + bend:.1f} {ya:.1f} {xb - bend:.1f} {yb:.1f} {xb:.1f} {yb:.1f}"
    side = 1 if yb <= ya else -1
    xa, xb = (a[0] + a[2], b[0] + b[2]) if side > 0 else (a[0], b[0])
    out = max(xa, xb) + 26 + 7 * index if side > 0 else min(xa, xb) - 26 - 7 * index
    return f"M{xa:.1f} {ya:.1f}C{out:.1f} {ya:.1f} {out:.1f} {yb:.1f} {xb:.1f} {yb:.1f}"
