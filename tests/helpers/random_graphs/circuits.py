"""Random circuits with their stimulus."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from random_graphs.arrays import with_arrays, with_mirrors
from random_graphs.cells import CELLS, Cell, source_cell
from random_graphs.choices import NUMBERS, Choices, Kinds, maybe
from random_graphs.connections import with_projection
from random_graphs.expressions import GATES
from random_graphs.places import with_places

from cortexc.compiler.ir import Graph, parse_graph, verify
from cortexc.compiler.ir.model import GENERATORS, Distribution, Noise, Population, Projection
from cortexc.compiler.ir.protocol import Phase, Protocol
from cortexc.compiler.passes.base import Request
from cortexc.compiler.passes.fuse_update import can_defer
from cortexc.compiler.verify.runs import Setup, input_columns, noise_columns

EVERYTHING = Kinds()
DISTRIBUTIONS = (Distribution("normal", (1.0, 0.2)), Distribution("uniform", (0.5, 2.0), 3),
                 Distribution("lognormal", (0.0, 0.5, 0.4, 2.0), 1))
LEVELS = (0.0, 1.0, 0.0, 1.0, 0.5, -1.0)


def random_setup(c: Choices, kinds: Kinds = EVERYTHING) -> Setup:
    """A verified circuit of difference equations with arrays, a protocol, samples, seeds and draws."""
    _, setup = random_circuit(c, kinds)
    graph = setup.graph
    if kinds.fused:
        graph = graph.with_(projections=tuple(_lowered(c, graph, q) for q in graph.projections))
    verify(graph)
    return replace(setup, graph=graph)


def random_circuit(c: Choices, kinds: Kinds = EVERYTHING) -> tuple[Graph, Setup]:
    """A circuit as it is written, with derivatives, and the same with its stimulus."""
    cells = [c.pick(CELLS[:3] if i == 0 else CELLS)(c, kinds, f"c{i}") for i in range(c.integer(2, 4))]
    cells += [] if maybe(c, 8) else [source_cell(c, kinds, "source")]
    graph = parse_graph(f"graph random\n  dt {c.pick(('0.1', '1', '0.25'))}\n" + "".join(f"  gate {g}\n" for g in GATES)
                        + "".join(cell.text for cell in cells))
    populations = _populations(c, kinds, cells)
    graph = graph.with_(populations=populations, seeds=c.integer(1, 1 + kinds.batch), samples=c.integer(1, 1 + kinds.batch))
    by_name = {p.name: next(cell for cell in cells if cell.name == p.cell) for p in populations}
    for index in range(c.integer(1, 9)):
        graph = with_projection(c, kinds, graph, by_name, index)
    graph, rng = with_places(graph), np.random.default_rng(c.integer(0, 1000))
    graph = _with_outputs(c, _with_noise(c, with_mirrors(c, kinds, with_arrays(c, graph, rng), rng)))
    verify(graph)
    return graph, _stimulated(c, graph, kinds.steps, rng)


def _populations(c: Choices, kinds: Kinds, cells: Sequence[Cell]) -> tuple[Population, ...]:
    found = [_population(c, cells[-1], 0, c.integer(1, 3))]
    for i in range(1, 1 + c.integer(2, 6)):
        size = 0 if maybe(c, 15) and kinds.empty else c.pick((2, 1, 3, 4, 9, 8))
        found.append(_population(c, c.pick(cells) if i > 1 else cells[0], i, size))
    return tuple(found)


def _population(c: Choices, cell: Cell, index: int, size: int) -> Population:
    defaults = {line.split()[1] for line in cell.lines if line.startswith("parameter") and "=" in line}
    drawn = tuple((p, c.pick(DISTRIBUTIONS)) for p in cell.parameters if maybe(c, 4))
    values = tuple((p, float(c.pick(NUMBERS))) for p in cell.parameters
                   if p not in dict(drawn) and (p not in defaults or maybe(c)))
    area = f"area{c.integer(0, 2)}" if not maybe(c, 5) else ""
    return Population(f"n{index}", cell.name, size, area, values, "own" if maybe(c, 12) else "", drawn)


def _with_noise(c: Choices, graph: Graph) -> Graph:
    noisy = [p.name for p in graph.populations if graph.cell(p.cell).noise]
    order = tuple(reversed(noisy)) if maybe(c) else ()
    return graph.with_(noise=Noise(c.pick(GENERATORS), order, c.pick((None, "gb"))))


def _with_outputs(c: Choices, graph: Graph) -> Graph:
    known = [f"{p.name}.{e.name}" for p in graph.populations for e in graph.cell(p.cell).equations]
    return graph.with_(outputs=tuple((f"out{i}", c.pick(known)) for i in range(c.integer(1, 3))))


def _lowered(c: Choices, graph: Graph, q: Projection) -> Projection:
    return replace(q, lowering="fused") if can_defer(graph, q, Request()) and maybe(c) else q


def _stimulated(c: Choices, graph: Graph, steps: int, rng: np.random.Generator) -> Setup:
    """Two phases of presentations, gates as random patterns, shuffled in the second one."""
    hold = c.integer(1, 3)
    count = max(steps // hold // 3, 1)
    patterns = [tuple((g, tuple(c.pick(LEVELS) for _ in range(c.integer(1, 3)))) for g in GATES) for _ in range(2)]
    first = tuple(c.integer(0, 2) for _ in range(graph.batch)) if maybe(c) else (0,)
    rows = c.integer(0, count * graph.samples)
    phases = (Phase("one", count, hold, first, gates=patterns[0]),
              Phase("two", count, hold, (1,), "shuffled" if maybe(c) else "", patterns[1], rows=rows, later=maybe(c)))
    protocol = Protocol(phases, ("one", "two", "one"))
    width = max((part.stop for _, part in input_columns(graph)), default=0)
    cells = [part.stop for name, part in noise_columns(graph) if not name.endswith((".redrawn", ".key"))]
    recorded = rng.normal(size=(protocol.total, max(cells, default=0)))
    samples = rng.uniform(-1, 1, (count * max(graph.samples, 1) + 3, width))
    return Setup(graph, protocol, samples, tuple(range(5, 5 + graph.seeds)),
                 recorded if graph.noise.kind == "recorded" else None)
