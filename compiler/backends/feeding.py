"""What a circuit is fed with: columns of the sample table, and of a step's noise, in draw order; and the feed of a run,
checked against the circuit before the first step, so that no step reads beyond it. Shared by all backends.

E276 samples that do not fit; E277 recorded draws that do not fit; E278 seeds that do not fit; E528 recordings that
need more memory than there is.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cortexc.compiler.backends.runtime import Feed, NoiseSpec
from cortexc.compiler.ir import CortexError, Graph
from cortexc.compiler.ir.arrays import available
from cortexc.compiler.ir.model import LAVA_DRAWS, Array, Mirror, weight_shape
from cortexc.compiler.ir.protocol import Protocol


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
    """(`projection.noise` of its rule, kind, stream)."""
    return [(f"{q.name}.{name}", kind, 16 * i + k) for i, q in enumerate(graph.projections)
            if (rule := graph.rule_of(q)) for k, (name, kind) in enumerate(rule.noise)]


def noise_columns(graph: Graph) -> list[tuple[str, slice]]:
    """(`population.noise`, columns of cells times batch, the batch innermost), then (`projection.redrawn`, columns of
    seeds times weights), then (`projection.noise.key`, columns of seeds times the two halves of a key, or times a
    number of Lava's and 0)."""
    sizes = [(f"{p}.{name}", graph.population(p).size * graph.batch) for p, name, _ in cell_draws(graph)]
    sizes += [(redrawn_name(graph, m), synapses_drawn(graph, m) * graph.seeds) for m in redrawn(graph)]
    sizes += [(f"{name}.key", 2 * graph.seeds) for name, _, _ in rule_draws(graph)]
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
    generators = [list(LAVA_DRAWS.get(kind, ())) for _, kind, _ in rule_draws(graph)]
    return NoiseSpec(graph.noise.kind, list(seeds), columns, gate, graph.samples, weights, keys, generators)


def named_noise(graph: Graph, row: Array) -> dict[str, Array]:
    """One step's columns by name: (batch, n) of cells, (seeds, weights) of synapses, (seeds, 2) of keys."""
    cells = {p.name for p in graph.populations}
    return {name: row[part].reshape(-1, graph.batch).T if name.split(".")[0] in cells
            else row[part].reshape(graph.seeds, -1)
            for name, part in noise_columns(graph)}


# ---- the feed of a run


def make_feed(graph: Graph, protocol: Protocol, seeds: Sequence[int], recorded: Array | None = None) -> Feed:
    """The feed of a protocol whose streams have their widths. Raises E271 to E275, E277, E278 and
    E528."""
    protocol.check(graph.gates)
    check_seeds(graph, seeds)
    for phase in protocol.phases:
        if not phase.first or graph.batch % len(phase.first):
            raise CortexError("E276", f"phase '{phase.name}' begins at {len(phase.first)} rows, but {graph.batch} "
                                      "samples are shown at a time.", "Give one row, or one per sample.")
    spec = noise_spec(graph, list(seeds))
    if spec.kind == "recorded" and spec.cells:
        _check_recorded(graph, recorded, protocol.total, spec.cells)
    elif recorded is not None and np.size(recorded):
        raise CortexError("E277", f"graph '{graph.name}' draws its own noise ({spec.kind}): the {np.shape(recorded)} "
                                  "draws that are given would not be used.",
                          "Write 'noise recorded', or leave them out.")
    feed = Feed(protocol.as_data(), list(graph.gates), spec, recorded)
    _afford_recordings(graph, protocol, feed)
    return feed


def check_seeds(graph: Graph, seeds: Sequence[int]) -> None:
    """Raises E278."""
    if len(seeds) != graph.seeds:
        raise CortexError("E278", f"graph '{graph.name}' runs {graph.seeds} seeds, got {len(seeds)}.",
                          "Give one per element of the seeds axis.")


def _afford_recordings(graph: Graph, protocol: Protocol, feed: Feed) -> None:
    """Raises E528 where what is recorded needs more memory than there is; none has been taken yet."""
    needed, free = 8 * feed.record_size, available()
    if needed > free:
        rows = ", ".join(f"'{stream.name}' {count:,} rows of {stream.width:,} numbers"
                         for stream, count in zip(protocol.streams, feed.counts, strict=True))
        raise CortexError("E528", f"the recordings of graph '{graph.name}' need {needed / 2**30:.4g} GiB ({rows}); "
                                  f"{free / 2**30:.4g} GiB are free.", "Record less, or less often.")


def _check_recorded(graph: Graph, recorded: Array | None, steps: int, width: int) -> None:
    shape = None if recorded is None else np.shape(recorded)
    if shape is None or len(shape) != 2 or shape[0] < steps or shape[1] != width:
        raise CortexError("E277", f"the noise of graph '{graph.name}' is recorded: it needs {steps} rows of {width} "
                                  f"draws, got {'none' if shape is None else 'an array of shape ' + str(shape)}.",
                          "Give the draws, or use noise counter or legacy.")


def sample_table(graph: Graph, protocol: Protocol, samples: Array) -> Array:
    """The samples as (rows, width) float64, width that of all exogenous inputs. Raises E276."""
    width = sum(p.size for p in graph.populations for _ in graph.cell(p.cell).inputs)
    table = np.ascontiguousarray(samples, dtype=np.float64)
    if not width:
        return np.zeros((len(table) if table.ndim else 0, 0))
    if table.size % width or table.ndim > 1 and table.shape[-1] != width:
        raise CortexError("E276", f"samples of shape {table.shape} do not fit graph '{graph.name}', whose exogenous "
                                  f"inputs take {width} values a row.")
    table = table.reshape(-1, width)
    for phase in protocol.phases:
        least, most = min(phase.first), max(phase.first) + (phase.rows or phase.count) - 1
        if phase.name in protocol.sequence and phase.total and (least < 0 or most >= len(table)):
            raise CortexError("E276", f"phase '{phase.name}' shows rows {least} to {most}, but there are {len(table)} "
                                      "samples.", "Give more samples, or show fewer.")
    return table
