"""The arrays that a graph binds: names, shapes and values; mirrors, which copy them; and the memory that all takes."""

from __future__ import annotations

import math
import os

import numpy as np

from cortexc.compiler.ir import drawing, model
from cortexc.compiler.ir.errors import CortexError, unknown
from cortexc.compiler.ir.functions import Floats
from cortexc.compiler.ir.language import READABLE, Problems
from cortexc.compiler.ir.limits import MEMORY
from cortexc.compiler.ir.model import Graph, Projection, copied_list, wired
from cortexc.compiler.ir.synapses import LISTS, list_problems, lists_agree, lists_fit


def expected_shapes(graph: Graph) -> dict[str, tuple[int, ...]]:
    """Every array that a graph may bind, with its shape without a batch axis."""
    shapes: dict[str, tuple[int, ...]] = {}
    for p in graph.populations:
        cell = graph.cell(p.cell)
        shapes |= {f"{p.name}.{s.name}": (p.size,) for s in cell.states}
        shapes |= {f"{p.name}.{q.name}": (p.size,) for q in cell.parameters if q.formula is None}
        shapes |= {f"{p.name}.{axis}": (p.size,) for axis in (p.place.arrays if p.place else ())}
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
    owner, _, key = array.partition(".")
    if owner not in {q.name for q in graph.projections}:
        return {graph.seeds, graph.batch}
    listed = key in LISTS and graph.class_of(owner).kind.listed
    return set() if listed else {1, model.weight_copies(graph, owner)}


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


# ---- which pairs of cells a projection joins


def connection_mask(graph: Graph, projection: Projection) -> Floats | None:
    """0 and 1 in the weights' shape, or None where every pair is connected."""
    told = graph.class_of(projection.name).kind.mask
    mask = graph.arrays.get(f"{projection.name}.mask")
    if mask is not None and (told == "array" or projection.convolution):
        return np.asarray(mask != 0, np.float64)
    if told != "blocks" or projection.blocks is None:
        return None
    post, pre, pairs = projection.blocks
    rows, columns = np.cumsum((0, *post)), np.cumsum((0, *pre))
    mask = np.zeros((rows[-1], columns[-1]))
    for i, j in pairs:
        mask[rows[i]:rows[i + 1], columns[j]:columns[j + 1]] = 1.0
    return mask


# ---- mirrors


def mirrors_fit(graph: Graph) -> Problems:
    for m in graph.mirrors:
        yield from _mirror_ends(graph, m)
        if graph.class_of(m.target).kind.listed:
            yield from _lists(graph, m)
            continue
        shape, target = (model.weight_shape(graph, graph.projection(name)) for name in (m.source, m.target))
        for operation in m.operations:
            array = operation.partition(":")[2]
            if array and array not in graph.arrays:
                yield CortexError("E243", f"mirror '{m.target}' uses array '{array}', which is missing.")
            if array and shape != target:
                yield CortexError("E251", f"mirror '{m.target}' of '{m.source}' has shape {shape} where it uses array "
                                          f"'{array}', which has the target's shape.", "Truncate first.")
            if operation == "transpose":
                shape = shape[::-1]
            if operation == "truncate":
                shape = target
        if shape != target:
            yield CortexError("E251", f"mirror '{m.target}' of '{m.source}' has shape {shape}, expected {target}.",
                              "Add 'truncate', or check the order of the operations.")


def _lists(graph: Graph, m: model.Mirror) -> Problems:
    """Which operations, and arrays, go with lists; that the synapses agree is looked at last: it may draw them."""
    for word in [word for word in m.operations if word.partition(":")[0] in ("truncate", "redraw")]:
        yield CortexError("E254", f"mirror '{m.target}' of '{m.source}' has operation '{word}', which lists of "
                                  "synapses do not take.")
    for array in [word.partition(":")[2] for word in m.operations if ":" in word]:
        if array not in graph.arrays:
            yield CortexError("E243", f"mirror '{m.target}' uses array '{array}', which is missing.")
    yield from _same_synapses(graph, m)


def _same_synapses(graph: Graph, m: model.Mirror) -> Problems:
    source, target = (graph.projection(name) for name in (m.source, m.target))
    ends = (source.post, source.pre) if m.turned else (source.pre, source.post)
    sizes = [graph.population(name).size for name in (*ends, target.pre, target.post)]
    missing = [q.name for q in (source, target) if not q.wiring and not copied_list(graph, q)
               and not {f"{q.name}.pre", f"{q.name}.post"} <= graph.arrays.keys()]
    if sizes[:2] != sizes[2:]:
        yield CortexError("E251", f"mirror '{m.target}' of '{m.source}' joins {sizes[0]} to {sizes[1]} cells, expected "
                                  f"{sizes[2]} to {sizes[3]}.", "Transpose, or leave it out.")
    elif not missing and not any(lists_fit(graph)) and not lists_agree(graph, m):
        yield CortexError("E251", f"mirror '{m.target}' of '{m.source}': their synapses do not join the same cells.",
                          f"Leave out the cells of '{m.target}', which then are those of '{m.source}'.")


def _mirror_ends(graph: Graph, m: model.Mirror) -> Problems:
    source, target = (graph.class_of(name) for name in (m.source, m.target))
    for name, synapse in ((m.source, source), (m.target, target)):
        if synapse.kind.pairs or source.kind.listed != target.kind.listed:
            yield CortexError("E254", f"mirror '{m.target}' of '{m.source}': projection '{name}' is of "
                                      f"connectivity '{synapse.connectivity}'.",
                              "A mirror needs a weight matrix at both ends, or lists of synapses.")
    copies = [model.weight_copies(graph, name) for name in (m.source, m.target)]
    if copies[0] not in (1, copies[1]):
        yield CortexError("E254", f"mirror '{m.target}' of '{m.source}': the source has {copies[0]} copies "
                                  f"({source.role}), the target {copies[1]} ({target.role}).",
                          "Give both the same role.")
    yield from _mirror_words(graph, m)


def _mirror_words(graph: Graph, m: model.Mirror) -> Problems:
    words = [word.partition(":")[0] for word in m.operations]
    target, maps = graph.class_of(m.target), (graph.class_of(m.source), graph.class_of(m.target))
    if any(synapse.kind.maps for synapse in maps):
        for word in sorted({"transpose", "truncate"}.intersection(words)):
            yield CortexError("E254", f"mirror '{m.target}' of '{m.source}' has operation '{word}', but weights "
                                      "between feature maps are no matrix.",
                              "Mirror between equal shapes; the transposed connectivity reads forward weights.")
    copies = model.weight_copies(graph, m.target)
    if "redraw" in words and copies != graph.seeds:
        yield CortexError("E256", f"mirror '{m.target}' of '{m.source}' draws a number per synapse and seed, but the "
                                  f"target has {copies} copies ({target.role}) for {graph.seeds} seeds.",
                          f"Give synapse class '{target.name}' the role per_seed.")


# ---- what this machine has left, asked before much is taken


PER_SYNAPSE, LATE, LEARNING, STATE, WHILE_DRAWN = 16, 4, 28, 16, 8
"""Bytes of a drawn synapse in a run: its weight, its target and where it adds; its delay; what learning takes more, and
each state of its rule; and those of the largest projection, whose weights are drawn beside the memory."""


def available() -> int:
    """Bytes of memory that can be taken now; of all memory, where the system does not say."""
    try:
        with open("/proc/meminfo", encoding="ascii") as lines:
            found = next(line.split()[1] for line in lines if line.startswith("MemAvailable"))
        return int(found) * 1024
    except (OSError, StopIteration, ValueError):
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def synapse_bytes(graph: Graph, projection: Projection) -> int:
    """Of each of its synapses, but for what is held only while it is drawn."""
    rule = graph.rule_of(projection)
    learning = LEARNING + STATE * len(rule.states) if rule else 0
    return PER_SYNAPSE + LATE * (projection.delays is not None) + learning


def afford_synapses(graph: Graph) -> None:
    """Raises E516 where the synapses that rules would draw need more memory than there is."""
    own = {q.name: copied_list(graph, q) or q for q in graph.projections}
    drawn = {name: drawing.expected_count(q.wiring, *wired(graph, q)[1:]) for name, q in own.items() if q.wiring}
    needed = sum(drawn[name] * synapse_bytes(graph, graph.projection(name)) for name in drawn)
    needed, free = needed + WHILE_DRAWN * max(drawn.values(), default=0), available()
    if needed > free:
        most = max(drawn, key=lambda name: drawn[name])
        raise CortexError("E516", f"graph '{graph.name}' draws {sum(drawn.values()):.4g} synapses, which need "
                                  f"{needed / 2**30:.4g} GiB; {free / 2**30:.4g} GiB are free. Projection '{most}' "
                                  f"has {drawn[most]:.4g} of them.", "Scale it down, or use a larger machine.")
