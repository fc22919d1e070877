"""What a circuit is fed with: columns of the sample table, and of a step's noise, in draw order. Shared by all
backends."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cortexc.compiler.backends.runtime import NoiseSpec
from cortexc.compiler.ir.model import LAVA_DRAWS, Array, Graph, Mirror, weight_shape


def cell_draws(graph: Graph) -> list[tuple[str, str, str]]:
    """(population, noise, distribution): the declared populations, then the others."""
    order = [*graph.noise.order, *(p.name for p in graph.populations if p.name not in graph.noise.order)]
    return [(name, noise, kind) for name in order for noise, kind in graph.cell_of(name).noise]


def redrawn(graph: Graph) -> list[Mirror]:
    """Mirrors that draw a number per synapse and seed whenever they run."""
    return [m for m in dict.fromkeys(graph.mirrors) if any(word.startswith("redraw:") for word in m.operations)]


def redrawn_name(graph: Graph, mirror: Mirror) -> str:
    """Of the numbers of such a mirror; a further one of the same weights has numbers of its own."""
    number = [m for m in redrawn(graph) if m.target == mirror.target].index(mirror)
    return f"{mirror.target}.{number + 1}.redrawn" if number else f"{mirror.target}.redrawn"


def synapses_drawn(graph: Graph, mirror: Mirror) -> int:
    return int(np.prod(weight_shape(graph, graph.projection(mirror.target))))


def rule_draws(graph: Graph) -> list[tuple[str, str, int]]:
    """(projection, noise of its rule, stream)."""
    rules = [graph.rule_of(q) for q in graph.projections]
    return [(q.name, name, 16 * i + k) for i, (q, rule) in enumerate(zip(graph.projections, rules, strict=True)) if rule
            for k, (name, _) in enumerate(rule.noise)]


def noise_columns(graph: Graph) -> list[tuple[str, slice]]:
    """(`population.noise`, columns of cells times batch, the batch innermost), then (`projection.redrawn`, columns of
    seeds times weights), then (`projection.noise.key`, columns of seeds times the two halves of a key, or times a
    number of Lava's and 0)."""
    sizes = [(f"{p}.{name}", graph.population(p).size * graph.batch) for p, name, _ in cell_draws(graph)]
    sizes += [(redrawn_name(graph, m), synapses_drawn(graph, m) * graph.seeds) for m in redrawn(graph)]
    sizes += [(f"{q}.{name}.key", 2 * graph.seeds) for q, name, _ in rule_draws(graph)]
    return _side_by_side(sizes)


def input_columns(graph: Graph) -> list[tuple[str, slice]]:
    """(`population.input`, columns of the sample table) of every exogenous input, in declaration order."""
    sizes = [(f"{p.name}.{name}", p.size) for p in graph.populations for name in graph.cell(p.cell).inputs]
    return _side_by_side(sizes)


def _side_by_side(sizes: Sequence[tuple[str, int]]) -> list[tuple[str, slice]]:
    ends = np.cumsum([0, *(size for _, size in sizes)])
    return [(name, slice(int(a), int(b))) for (name, _), a, b in zip(sizes, ends, ends[1:], strict=False)]


def noise_width(graph: Graph) -> int:
    return max((columns.stop for _, columns in noise_columns(graph)), default=0)


def noise_spec(graph: Graph, seeds: list[int]) -> NoiseSpec:
    """One seed per element of the seeds axis."""
    index, gates = {p.name: i for i, p in enumerate(graph.populations)}, ["", *graph.gates]
    columns = [(index[p], graph.population(p).size, kind) for p, _, kind in cell_draws(graph)]
    weights = [(i, synapses_drawn(graph, m), gates.index(m.gate or "")) for i, m in enumerate(redrawn(graph))]
    gate = gates.index(graph.noise.gate or "")
    keys = [stream for _, _, stream in rule_draws(graph)]
    generators = [list(LAVA_DRAWS.get(draw_kind(graph, q, name), ())) for q, name, _ in rule_draws(graph)]
    return NoiseSpec(graph.noise.kind, list(seeds), columns, gate, graph.samples, weights, keys, generators)


def draw_kind(graph: Graph, projection: str, name: str) -> str:
    """The kind of one random number of a projection's rule."""
    rule = graph.rule_of(graph.projection(projection))
    return dict(rule.noise)[name] if rule else ""


def named_noise(graph: Graph, row: Array) -> dict[str, Array]:
    """One step's columns by name: (batch, n) of cells, (seeds, weights) of synapses, (seeds, 2) of keys."""
    cells = {p.name for p in graph.populations}
    return {name: row[part].reshape(-1, graph.batch).T if name.split(".")[0] in cells
            else row[part].reshape(graph.seeds, -1)
            for name, part in noise_columns(graph)}
