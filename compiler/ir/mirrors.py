"""What a valid mirror is: two weight matrices, and operations that lead from one to the other."""

from __future__ import annotations

from cortexc.compiler.ir import model
from cortexc.compiler.ir.errors import CortexError
from cortexc.compiler.ir.language import Problems
from cortexc.compiler.ir.model import Graph


def mirrors_fit(graph: Graph) -> Problems:
    for m in graph.mirrors:
        yield from _mirror_ends(graph, m)
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


def _mirror_ends(graph: Graph, m: model.Mirror) -> Problems:
    source, target = (graph.class_of(name) for name in (m.source, m.target))
    for name, synapse in ((m.source, source), (m.target, target)):
        if synapse.kind.pairs or synapse.kind.listed:
            yield CortexError("E254", f"mirror '{m.target}' of '{m.source}': projection '{name}' is of "
                                      f"connectivity '{synapse.connectivity}'.",
                              "A mirror needs a weight matrix at both ends.")
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
