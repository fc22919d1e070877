"""Random arrays of a circuit, and mirrors between its weights."""

from __future__ import annotations

import numpy as np
from random_graphs.choices import Choices, Kinds, maybe
from random_graphs.connections import UNIT
from random_graphs.expressions import GATES, TABLES

from cortexc.compiler.ir import Graph
from cortexc.compiler.ir.model import Mirror, Projection, weight_copies, weight_shape


def with_arrays(c: Choices, graph: Graph, rng: np.random.Generator) -> Graph:
    """Weights, masks, tables, and now and then states, parameters, traces and sums."""
    arrays: dict[str, np.ndarray] = {f"table.{name}": rng.uniform(-1, 1, c.integer(1, 5)) for name in TABLES}
    for q in graph.projections:
        arrays |= _of_projection(c, graph, q, rng)
    for p in graph.populations:
        cell = graph.cell(p.cell)
        for name in (*(s.name for s in cell.states), *(x.name for x in cell.parameters if x.formula is None)):
            if maybe(c, 4):
                shape = c.pick(((p.size,), (graph.seeds, p.size), (graph.batch, p.size)))
                arrays[f"{p.name}.{name}"] = rng.uniform(0.1, 1, shape)
    return graph.with_(arrays={**graph.arrays, **arrays})


def _of_projection(c: Choices, graph: Graph, q: Projection, rng: np.random.Generator) -> dict[str, np.ndarray]:
    shape, synapse, rule = weight_shape(graph, q), graph.class_of(q.name), graph.rule_of(q)
    if not shape:
        return {}
    shape = (_synapses(c, graph, q),) if synapse.kind.listed and not q.wiring else shape

    def full() -> tuple[int, ...]:
        return (weight_copies(graph, q.name), *shape) if maybe(c) else shape

    low, high = synapse.bounds
    low, high = max(low, min(-0.4, high)), min(high, max(0.4, low))
    w = rng.uniform(low, max(high, low), full())
    arrays = {"w": np.clip(np.round(w / UNIT) * UNIT, *synapse.bounds) if synapse.unit else w}
    if synapse.connectivity == "masked":
        arrays["mask"] = (rng.uniform(size=full()) < 0.6).astype(float)
    if q.weights:
        arrays = {}
    if synapse.kind.listed and not q.wiring:
        arrays |= _list(c, graph, q, shape[0], rng)
    kept = [rule.optimiser.kind, *(s.name for s in rule.states)] if rule else []
    arrays |= {key: rng.uniform(-0.2, 0.2, full()) for key in kept if key != "none" and maybe(c, 4)}
    return {f"{q.name}.{key}": array for key, array in arrays.items()}


def _synapses(c: Choices, graph: Graph, q: Projection) -> int:
    """How many: none, few, or several between most pairs of cells."""
    pairs = graph.population(q.pre).size * graph.population(q.post).size
    return c.integer(0, 2 * pairs) if pairs else 0


def _list(c: Choices, graph: Graph, q: Projection, count: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Cells in any order, several synapses of a pair among them, and perhaps delays."""
    pre, post = (graph.population(p).size for p in (q.pre, q.post))
    arrays = {"pre": rng.integers(0, max(pre, 1), count), "post": rng.integers(0, max(post, 1), count)}
    if maybe(c, 4):
        order = np.lexsort((arrays["post"], arrays["pre"]))
        arrays = {key: array[order] for key, array in arrays.items()}
    cell = graph.cell_of(q.pre)
    if cell.state(graph.class_of(q.name).message) is not None and maybe(c):
        arrays["delay"] = rng.integers(1, 6, count)
    return arrays


# ---- mirrors


def with_mirrors(c: Choices, kinds: Kinds, graph: Graph, rng: np.random.Generator) -> Graph:
    """Perhaps a few mirrors between projections that have matrices."""
    matrices = [q for q in graph.projections if len(weight_shape(graph, q)) > 1]
    for index in range(c.integer(0, 3) if len(matrices) > 1 else 0):
        source, target = c.pick(matrices), c.pick(matrices)
        copies = [weight_copies(graph, q.name) for q in (source, target)]
        if source.name != target.name and copies[0] in (1, copies[1]):
            graph = _with_mirror(c, kinds, graph, source, target, f"extra{index}", rng)
    return graph


def _with_mirror(c: Choices, kinds: Kinds, graph: Graph, source: Projection, target: Projection, array: str,
                 rng: np.random.Generator) -> Graph:
    shapes = weight_shape(graph, source), weight_shape(graph, target)
    maps = len(shapes[0]) > 2 or len(shapes[1]) > 2
    if maps and shapes[0] != shapes[1]:
        return graph
    words: list[str] = [] if maps else [*["transpose"] * maybe(c), "truncate"]
    words += [c.pick(("negate", "sign", "truncate"))] * (not maps and maybe(c))
    arrays = dict(graph.arrays)
    for number in range(c.integer(0, 2)):
        word = c.pick(("add", "times", *["redraw"] * _can_redraw(graph, target)))
        words.append(f"{word}:{array}{number}")
        shape = shapes[1] if maybe(c) else (weight_copies(graph, target.name), *shapes[1])
        arrays[f"{array}{number}"] = rng.uniform(-0.1, 0.1, shape)
    if not maps and len(set(shapes[1])) == 1 and maybe(c):
        words.append("transpose")
    for word in ("negate", "sign"):
        if maybe(c, 3):
            words.insert(c.integer(0, len(words)), word)
    mirror = Mirror(target.name, source.name, tuple(words), maybe(c), c.pick((None, *GATES)))
    return graph.with_(mirrors=(*graph.mirrors, mirror), arrays=arrays)


def _can_redraw(graph: Graph, target: Projection) -> bool:
    return weight_copies(graph, target.name) == graph.seeds

