"""Places of cells, and synapses and delays by distance, in some random circuits: by draws of their own."""

from __future__ import annotations

import zlib
from dataclasses import replace

import numpy as np

from cortexc.compiler.ir import Graph, show_graph
from cortexc.compiler.ir.model import Population, Projection
from cortexc.compiler.ir.places import Layout
from cortexc.compiler.ir.wiring import KERNELS, Kernel


def with_places(graph: Graph) -> Graph:
    """Every population lies on one line or ring, or none does."""
    rng = np.random.default_rng(zlib.crc32(show_graph(graph).encode()))
    if rng.random() < 0.2:
        return graph
    wrapped, unit = bool(rng.random() < 0.5), str(rng.choice(["", "mm"]))
    graph = graph.with_(populations=tuple(replace(p, place=_layout(graph, p, wrapped, unit, rng))
                                          for p in graph.populations))
    given = {f"{p.name}.x": rng.uniform(0, 1, p.size) for p in graph.populations if p.place.kind == "given"}
    return graph.with_(projections=tuple(_near(graph, q, unit, rng) for q in graph.projections),
                       arrays={**graph.arrays, **given})


def _layout(graph: Graph, p: Population, wrapped: bool, unit: str, rng: np.random.Generator) -> Layout:
    cell = graph.cell(p.cell)
    taken = {*(s.name for s in cell.states), *(each.name for each in cell.parameters)}
    kinds = ["random", *["ring" if wrapped else "line", "grid"] * (p.size > 0), *["given"] * ("x" not in taken)]
    kind = str(rng.choice(kinds))
    return Layout(kind, (1.0,), unit, (p.size,) if kind == "grid" else (), wrapped and kind != "ring",
                  int(rng.integers(0, 3)) if kind == "random" else 0)


def _near(graph: Graph, q: Projection, unit: str, rng: np.random.Generator) -> Projection:
    alone = q.pre == q.post and graph.population(q.pre).size < 2
    if q.wiring and not q.wiring.multapses and not alone and rng.random() < 0.7:
        kernel = Kernel(str(rng.choice(list(KERNELS))), (float(rng.uniform(1.1, 2)),), unit)
        q = replace(q, wiring=replace(q.wiring, rule="distance", number=float(rng.choice([0.25, 1])),
                                           kernel=kernel))
    if q.delays and q.delays.unit == "ms":
        per_ms = 1 / (3 * graph.dt)
        q = replace(q, delays=replace(q.delays, velocity=per_ms, velocity_unit=unit and f"{unit}/ms"))
    return q
