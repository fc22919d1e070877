"""The arrays that a graph binds: their names, shapes and values, and the memory that all of them take."""

from __future__ import annotations

import math

import numpy as np

from cortexc.compiler.ir import model
from cortexc.compiler.ir.errors import CortexError, unknown
from cortexc.compiler.ir.language import READABLE, Problems
from cortexc.compiler.ir.limits import MEMORY
from cortexc.compiler.ir.model import Graph
from cortexc.compiler.ir.synapses import LISTS, list_problems


def expected_shapes(graph: Graph) -> dict[str, tuple[int, ...]]:
    """Every array that a graph may bind, with its shape without a batch axis."""
    shapes: dict[str, tuple[int, ...]] = {}
    for p in graph.populations:
        cell = graph.cell(p.cell)
        shapes |= {f"{p.name}.{s.name}": (p.size,) for s in cell.states}
        shapes |= {f"{p.name}.{q.name}": (p.size,) for q in cell.parameters if q.formula is None}
    for q in graph.projections:
        rule, weights = graph.rule_of(q), model.weight_shape(graph, q)
        kind = graph.class_of(q.name).kind
        keys = [] if not kind.weighted else ["w", "mask"] if kind.mask == "array" or q.convolution else ["w"]
        keys += LISTS if kind.listed else ()
        shapes |= {f"{q.name}.{key}": weights for key in (*keys, *(rule.learnt if rule else ()))}
    for m in graph.mirrors:
        for operation in m.operations:
            if ":" in operation:
                shapes[operation.partition(":")[2]] = model.weight_shape(graph, graph.projection(m.target))
    return shapes


def arrays_fit(graph: Graph) -> Problems:
    expected = expected_shapes(graph)
    for name, array in graph.arrays.items():
        if name.startswith("table."):
            yield from READABLE.problems("table", f"graph '{graph.name}'", name.removeprefix("table."))
            if array.ndim != 1 or not array.size:
                yield CortexError("E241", f"array '{name}' has shape {array.shape}; a table is a vector.")
            yield from _finite(name, array)
            continue
        if name not in expected:
            yield unknown("E240", "array", name, expected)
            continue
        shape = expected[name]
        copies = _copies(graph, name)
        if array.shape not in (shape, *((n, *shape) for n in copies)):
            others = "".join(f" or {(n, *shape)}" for n in sorted(copies) if n > 1)
            yield CortexError("E241", f"array '{name}' has shape {array.shape}, expected {shape}{others}.")
        else:
            yield from _finite(name, array)
    for q in graph.projections:
        kind = graph.class_of(q.name).kind
        if kind.weighted and f"{q.name}.w" not in graph.arrays and q.weights is None:
            yield CortexError("E243", f"projection '{q.name}' has no weights: array '{q.name}.w' is missing.",
                              f"Bind an array of shape {model.weight_shape(graph, q)}.")
        if kind.listed:
            yield from list_problems(graph, q)
        if kind.mask == "array" and f"{q.name}.mask" not in graph.arrays:
            yield CortexError("E243", f"projection '{q.name}' is masked: array '{q.name}.mask' is missing.")


def _finite(name: str, array: model.Array) -> Problems:
    if not np.all(np.isfinite(array)):
        index = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
        yield CortexError("E242", f"array '{name}' is not finite: {array[index]} at index {index}.")


def _copies(graph: Graph, array: str) -> set[int]:
    """Lengths that the leading axis of an array may have."""
    targets = [m.target for m in graph.mirrors if array in (word.partition(":")[2] for word in m.operations)]
    if targets:
        return set.intersection(*({1, model.weight_copies(graph, target)} for target in targets))
    owner = array.split(".")[0]
    if owner not in {q.name for q in graph.projections}:
        return {graph.seeds, graph.batch}
    return set() if _is_list(graph, array) else {1, model.weight_copies(graph, owner)}


def _is_list(graph: Graph, array: str) -> bool:
    owner, _, key = array.partition(".")
    return key in LISTS and graph.class_of(owner).kind.listed


def amounts(graph: Graph) -> Problems:
    """What the states and weights take, before memory is taken for them."""
    taken = {f"population '{p.name}' ({p.size} cells, {graph.batch} copies)":
             p.size * graph.batch * len(graph.cell(p.cell).equations) for p in graph.populations}
    for q in graph.projections:
        shape, copies, rule = model.weight_shape(graph, q), model.weight_copies(graph, q.name), graph.rule_of(q)
        kept = len(rule.learnt) if rule else 0
        listed = graph.class_of(q.name).kind.listed  # two whole numbers of 32 bits beside the weight
        taken[f"projection '{q.name}' ({copies} x {shape} weights)"] = math.prod(shape) * (copies * (1 + kept) + listed)
    needed = 8 * sum(taken.values())
    if needed > MEMORY:
        most = max(taken, key=lambda who: taken[who])
        yield CortexError("E236", f"graph '{graph.name}' needs {needed / 2**30:.4g} GiB for states and weights, "
                                  f"{8 * taken[most] / 2**30:.4g} GiB of it for {most}; the limit is "
                                  f"{MEMORY / 2**30:g} GiB.", "Make it smaller.")
