"""What NIR has no words for, beside the nodes: the whole graph, as text and arrays in the metadata of a file.

A tool that does not know it reads the nodes: the circuit as it stands, without what learns (`losses`). `from_nir` takes
the graph, if nodes and edges are those that it was written with; N110 if they are not.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from cortexc.compiler.front.nir.reading import TOLD, Network, Node
from cortexc.compiler.ir import CellType, CortexError, Graph, parse_circuit, show_graph
from cortexc.compiler.ir.errors import check_type
from cortexc.compiler.ir.expressions import reads

TEXT, ARRAYS, NODES, LOST = "graph", "arrays", "nodes", "losses"
SIDECARS = ("use", "ignore")


def losses(graph: Graph) -> list[str]:
    """What a tool that reads only the nodes of `to_nir(graph, plasticity="sidecar")` does not see."""
    check_type("nir_losses", graph, Graph, "a Graph")
    found = [f"rule '{rule.name}' of projection '{q.name}': its weights stay as they are"
             for q in graph.projections if (rule := graph.rule_of(q))]
    found += [f"mirror '{m.target}' of '{m.source}': weights stay as they are" for m in graph.mirrors]
    found += [f"gate '{gate}'" for gate in graph.gates]
    return found + [f"limits and sign of the weights of projection '{q.name}'" for q in graph.projections
                    if graph.rule_of(q) and graph.class_of(q.name).bounds != (-float("inf"), float("inf"))]


def static(graph: Graph) -> Graph:
    """The graph without what learns, and without what cells compute for that alone."""
    sent = {(graph.population(q.pre).cell, graph.class_of(q.name).message) for q in graph.projections}
    for _, quantity in graph.outputs:
        population, _, name = quantity.partition(".")
        sent.add((graph.population(population).cell, name))
    cells = tuple(_needed(cell, {name for owner, name in sent if owner == cell.name}) for cell in graph.cells)
    return graph.with_(mirrors=(), rules=(), gates=(), cells=cells, synapses=tuple(
        replace(s, rule=None, role="shared") for s in graph.synapses), projections=tuple(
        replace(q, gate=None, apply=None, parameters=()) for q in graph.projections))


def _needed(cell: CellType, sent: set[str]) -> CellType:
    """The cell without messages that no projection takes, and what only those and rules read."""
    messages = tuple(name for name in cell.messages if name in sent) or cell.messages
    kept, waiting = set[str](), [*messages, *sent]
    while waiting:
        name = waiting.pop()
        equation = cell.equation(name)
        if name not in kept and equation:
            waiting += reads(equation.expression) | (reads(equation.start) if equation.start else set())
        kept.add(name)
    states = tuple(s for s in cell.states if s.name in kept)
    read = kept.union(*(reads(s.initial) for s in states))
    return replace(cell, messages=messages, late=tuple(name for name in cell.late if name in messages), states=states,
                   equations=tuple(e for e in cell.equations if e.name in kept),
                   ports=tuple(p for p in cell.ports if p.name in kept),
                   parameters=tuple(p for p in cell.parameters if p.name in read))


def sidecar(graph: Graph, network: Network) -> dict[str, Any]:
    """Metadata that holds the graph. `network`: the nodes and edges beside it."""
    return {TOLD + TEXT: show_graph(graph), TOLD + NODES: digest(network), TOLD + LOST: "\n".join(losses(graph)),
            TOLD + ARRAYS: {name: np.array(array) for name, array in graph.arrays.items()}}


def graph_beside(network: Network) -> Graph | None:
    """The graph that a file's metadata holds. Raises N110 where its nodes or edges are other ones by now, N102 where
    the metadata is broken."""
    told = network.told
    if TEXT not in told:
        return None
    if told.get(NODES) != digest(network):
        raise CortexError("N110", "nodes or edges have been changed since the graph beside them was written.",
                          "Say plasticity='ignore' to take the nodes, without what learns.")
    arrays = told.get(ARRAYS, {})
    if not isinstance(told[TEXT], str) or not isinstance(arrays, Mapping):
        raise CortexError("N102", "the graph in the file's metadata is no text with arrays.",
                          "Say plasticity='ignore' to take the nodes.")
    return parse_circuit(told[TEXT]).with_(arrays={str(name): np.asarray(array) for name, array in arrays.items()})


def digest(network: Network) -> str:
    """Of all nodes, whatever their order, and edges."""
    found = hashlib.sha256()
    for name in sorted(network.nodes):
        found.update(repr((name, network.nodes[name].kind)).encode())
        for key, value in _fields(network.nodes[name]):
            found.update(key.encode() + value)
    found.update(repr(sorted(network.edges)).encode())
    return found.hexdigest()


def _fields(node: Node) -> list[tuple[str, bytes]]:
    kept = {key: value for key, value in node.fields.items() if key not in ("metadata", "name")}
    return [(key, _bytes(value)) for key, value in sorted(kept.items())]


def _bytes(value: Any) -> bytes:
    """A number or array by its values and shape, whatever its type; sizes by what they are."""
    if isinstance(value, Mapping):
        return b"".join(str(key).encode() + _bytes(part) for key, part in sorted(value.items()))
    if value is None or isinstance(value, str):
        return repr(value).encode()
    array = np.asarray(value, np.float64)
    return repr(array.shape).encode() + np.ascontiguousarray(array).tobytes()
