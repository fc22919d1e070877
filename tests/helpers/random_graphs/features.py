"""What the language can say, and what of it a circuit says.

`language()` is made from the tables and the data types of the IR: a new connectivity, function, field or keyword is a
new feature. `situations` are what no table lists: sizes, delays, batches, arrays.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import MISSING, fields, is_dataclass
from typing import Any

import networkx as nx
import numpy as np

from cortexc.compiler.ir import expressions, functions, model
from cortexc.compiler.ir.expressions import Binary, Call, Lookup, Prev, walk
from cortexc.compiler.ir.language import FIELDS, Each, Maybe, OneOf, Row
from cortexc.compiler.ir.model import Graph, weight_copies
from cortexc.compiler.ir.protocol import Protocol
from cortexc.compiler.ir.schedule import message_depth
from cortexc.compiler.ir.synapses import LISTS

VALUES: dict[str, tuple[str, ...]] = {
    "function": tuple(functions.ARITY), "operator": tuple(functions.OPERATORS), "table": expressions.LOOKUPS,
    "expression": tuple(kind.__name__ for kind in expressions.NODES),
    "mirror": (*model.OPERATIONS, *model.ARRAY_OPERATIONS),
    "read in a rule": ("pre now", "pre earlier", "pre long ago", "arrived now", "arrived earlier", "arrived long ago",
                       "post now", "post earlier", "post long ago", "w", "own", "own earlier", "gate", "table"),
    "gate": ("rule", "apply", "mirror", "noise", "cell", "fraction"),
    "delay": ("0", "1", "more"), "cells": ("0", "1", "more"), "batch": ("seeds", "samples", "both"),
    "array": ("state", "parameter", "weight", "weight of a copy", "mask", "mask of a copy", "cells", "delay",
              "sorted cells", "trace", "sum", "mirror",
              "mirror of a copy", "table", "per seed", "per element"),
    "circuit": ("no input", "several inputs", "several components", "relay after relay", "loop", "same-step chain",
                "derivative in a cell", "derivative in a rule")}
"""Kind of feature -> what it may be, beside the words of the language's table."""
BY_PASSES = {"Projection.lowering"}
"""Set by passes: a circuit as it is written has none."""
UNITS = {f"{kind}.units" for kind in ("CellType", "PlasticityRule", "Population", "Projection")} | {"SynapseClass.weight"}
"""Checked when a circuit is read, and without effect on a run."""


def language() -> set[str]:
    """Every feature of the language."""
    table = {f"{kind.__name__}.{field}": domain for kind, row in FIELDS.items() for field, domain in row.items()}
    words = {f"{name}: {word}" for name, domain in table.items() if name not in BY_PASSES for word in _words(domain)}
    return set(table) - BY_PASSES - UNITS | words | {f"{kind}: {value}" for kind, values in VALUES.items() for value in values}


def _words(domain: object) -> Iterator[str]:
    match domain:
        case OneOf(known):
            yield from known
        case Maybe(of) | Each(of):
            yield from _words(of)
        case Row(places):
            for place in places:
                yield from _words(place)


def features(graph: Graph, protocol: Protocol) -> set[str]:
    """What a circuit and its stimulus have of them."""
    found, words = set[str](), language()
    for part in _parts(graph):
        found |= {f"{type(part).__name__}.{field.name}" for field in fields(part) if _is_set(part, field)}
        found |= {f"{type(part).__name__}.{field.name}: {word}" for field in fields(part)
                  for word in _strings(getattr(part, field.name))} & words
    return found | _said(graph) | _in_rules(graph) | _situations(graph, protocol) | _arrays(graph)


def _parts(part: Any) -> Iterator[Any]:
    if is_dataclass(part) and type(part) in FIELDS:
        yield part
        for field in fields(part):
            yield from _parts(getattr(part, field.name))
    elif isinstance(part, tuple):
        for inner in part:
            yield from _parts(inner)


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, tuple):
        for inner in value:
            yield from _strings(inner)


def _is_set(part: Any, field: Any) -> bool:
    """Whether a field has another value than its default."""
    value = getattr(part, field.name)
    default = field.default_factory() if field.default_factory is not MISSING else field.default
    return bool(value) if isinstance(value, dict) else default is MISSING or value != default


def _said(graph: Graph) -> set[str]:
    """Forms of expressions, noise and mirrors."""
    trees = [tree for c in graph.cells for e in c.equations for tree in (e.expression, e.start) if tree]
    trees += [s.initial for c in graph.cells for s in c.states]
    trees += [tree for r in graph.rules for tree in (r.increment, *(u.expression for u in r.updates),
                                                     *r.optimiser.arguments, *(s.initial for s in r.states))]
    found = set()
    for node in (node for tree in trees for node in walk(tree)):
        found.add(f"expression: {type(node).__name__}")
        match node:
            case Call(function):
                found.add(f"function: {function}")
            case Binary(operator):
                found.add(f"operator: {operator}")
            case Lookup():
                found.add(f"table: {node.function}")
    return found | {f"mirror: {word.partition(':')[0]}" for m in graph.mirrors for word in m.operations}


def _in_rules(graph: Graph) -> set[str]:
    found = set()
    for rule in graph.rules:
        own = {s.name for s in rule.states}
        for node in (node for tree in (rule.increment, *(u.expression for u in rule.updates)) for node in walk(tree)):
            side, dot, _ = getattr(node, "name", "").partition(".")
            age = {0: "now", 1: "earlier"}.get(node.depth if isinstance(node, Prev) else 0, "long ago")
            if dot:
                found.add("gate" if side == "gate" else f"{side} {age}")
            elif side in own:
                found.add("own" if age == "now" else "own earlier")
            found |= {"table"} if isinstance(node, Lookup) else {"w"} if side == "w" else set()
    return {f"read in a rule: {what}" for what in found}


def _situations(graph: Graph, protocol: Protocol) -> set[str]:
    inputs = [name for p in graph.populations for name in graph.cell(p.cell).inputs]
    amount = {0: "0", 1: "1"}
    found = {f"delay: {amount.get(q.delay, 'more')}" for q in graph.projections}
    found |= {f"cells: {amount.get(p.size, 'more')}" for p in graph.populations}
    found |= {"circuit: no input"} if not inputs else {"circuit: several inputs"} if len(inputs) > 1 else set()
    found |= {f"circuit: {what}" for what, there in _wiring(graph).items() if there}
    batch = {"seeds": graph.seeds > 1, "samples": graph.samples > 1, "both": graph.seeds > 1 < graph.samples}
    gates = {"rule": any(q.gate for q in graph.projections), "apply": any(q.apply for q in graph.projections),
             "mirror": any(m.gate for m in graph.mirrors), "noise": bool(graph.noise.gate),
             "cell": "gate." in str([c.equations for c in graph.cells]),
             "fraction": any(0 < v < 1 for p in protocol.phases for _, row in p.gates for v in row)}
    return found | {f"{kind}: {k}" for kind, table in (("batch", batch), ("gate", gates))
                    for k, there in table.items() if there}


def _wiring(graph: Graph) -> dict[str, bool]:
    net = nx.MultiDiGraph()
    net.add_nodes_from(p.name for p in graph.populations)
    net.add_edges_from((q.pre, q.post) for q in graph.projections)
    now = [q for q in graph.projections if message_depth(graph, q) == 0 and q.delay == 0]
    relays = {p.name for p in graph.populations if graph.cell(p.cell).relay}
    return {"several components": nx.number_weakly_connected_components(net) > 1,
            "loop": not nx.is_directed_acyclic_graph(net),
            "relay after relay": any(q.pre in relays and q.post in relays for q in now),
            "same-step chain": any(a.post == b.pre for a in now for b in now),
            "derivative in a cell": any(e.derivative for c in graph.cells for e in c.equations),
            "derivative in a rule": any(u.derivative for r in graph.rules for u in r.updates)}


def _arrays(graph: Graph) -> set[str]:
    found = set()
    for name, array in graph.arrays.items():
        owner, _, key = name.partition(".")
        if owner == "table":
            found.add("table")
        elif any(p.name == owner for p in graph.populations):
            found |= _of_cells(graph, owner, key, array)
        elif any(q.name == owner for q in graph.projections):
            found |= _of_synapses(graph, owner, key, array)
        else:
            copied = len(array.shape) % 2 == 1 and len(array) > 1
            found |= {"mirror", *(["mirror of a copy"] if copied else [])}
    return {f"array: {what}" for what in found}


def _of_cells(graph: Graph, owner: str, key: str, array: np.ndarray) -> set[str]:
    axes = {graph.seeds: "per seed", graph.batch: "per element"} if array.ndim > 1 and graph.samples > 1 else {}
    return {"state" if graph.cell_of(owner).state(key) else "parameter", *([axes[len(array)]] if axes else [])}


def _of_synapses(graph: Graph, owner: str, key: str, array: np.ndarray) -> set[str]:
    q = graph.projection(owner)
    copied = array.ndim > len(model.weight_shape(graph, q)) and weight_copies(graph, owner) > 1
    if key in LISTS and graph.class_of(owner).kind.listed:
        return {"delay" if key == "delay" else "cells", *(["sorted cells"] if key == "pre" and len(array) > 4 and
                                                         (np.diff(array) >= 0).all() else [])}
    what = {"w": "weight", "mask": "mask"}.get(key, "sum" if key in model.OPTIMISERS else "trace")
    return {what, *([f"{what} of a copy"] if copied and what in ("weight", "mask") else [])}
