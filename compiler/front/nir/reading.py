"""A NIR file or graph as plain nodes and edges, without nested graphs.

N101: the extra is not installed; N102: what cannot be read; N106: a kind of node that is not NIR's; N108: edges that
lead nowhere, or are there twice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

from cortexc.compiler.ir.errors import CortexError

Edge = tuple[str, str]
TOLD = "cortexc."
"""Before the names of what `to_nir` tells in a file's metadata."""
DOOR = "Door"
"""The kind of inputs and outputs of nested graphs, until they are gone."""


@dataclass(frozen=True)
class Node:
    """`kind`: the name of NIR's class; `fields`: what it holds."""

    name: str
    kind: str
    fields: dict[str, Any]

    @property
    def shown(self) -> str:
        return f"node '{self.name}' ({self.kind})"


@dataclass(frozen=True)
class Network:
    """Nested graphs are resolved: their nodes are called `outer.inner`, their inputs and outputs are gone."""

    nodes: dict[str, Node]
    edges: tuple[Edge, ...]
    told: dict[str, Any] = field(default_factory=dict)
    """Arguments of `from_nir` that the file answers itself."""

    def before(self, name: str) -> list[str]:
        return [a for a, b in self.edges if b == name]

    def after(self, name: str) -> list[str]:
        return [b for a, b in self.edges if a == name]


def read(source: Any) -> Network:
    """`source`: a path, or a `nir.NIRGraph`. Raises N101, N102, N106, N108."""
    nir = package()
    found = source if isinstance(source, nir.NIRGraph) else _file(nir, source)
    nodes, edges = _expanded(found, "")
    _check(nodes, edges)
    for name in [name for name, node in nodes.items() if node.kind == DOOR]:  # which only passes on
        into, out = [a for a, b in edges if b == name], [b for a, b in edges if a == name]
        edges = [*(edge for edge in edges if name not in edge), *product(into, out)]
        del nodes[name]
    told = {key.removeprefix(TOLD): value for key, value in found.metadata.items() if key.startswith(TOLD)}
    return Network(nodes, tuple(dict.fromkeys(edges)), told)


def package() -> Any:
    try:
        import nir
    except ImportError:
        raise CortexError("N101", "reading NIR needs the packages nir and h5py, which are not installed.",
                          "pip install 'cortexc[nir]'.") from None
    return nir


def _file(nir: Any, source: Any) -> Any:
    """NIR's own check of types is left out: it refuses files of older exporters; ours follows (N107)."""
    if not isinstance(source, str | Path):
        raise CortexError("N102", f"from_nir was given a {type(source).__name__}; it takes a path or a nir.NIRGraph.")
    try:
        return nir.read(str(source), type_check=False)
    except Exception as error:
        _check_kinds(nir, source)
        raise CortexError("N102", f"'{source}' cannot be read as NIR: {type(error).__name__}: {error}",
                          "It must be an HDF5 file written by nir.write.") from error


def _check_kinds(nir: Any, source: str | Path) -> None:
    """Raises N106 for a node of a kind that NIR does not have, if the file can be read that far."""
    try:
        kinds = _kinds(source)
    except Exception:
        return
    for name, kind in kinds.items():
        if not hasattr(nir, kind):
            raise CortexError("N106", f"node '{name}' ({kind}): nodes of this kind cannot be imported; NIR has none.")


def _kinds(source: str | Path) -> dict[str, str]:
    """Node -> the kind that the file says; nodes lie in `node/nodes/OUTER/nodes/INNER`."""
    import h5py
    found = dict[str, str]()

    def visit(path: str, item: Any) -> None:
        *place, last = path.split("/")
        if last == "type" and place[-2:-1] == ["nodes"]:
            found[".".join(place[2::2])] = str(item.asstr()[()])

    with h5py.File(source, "r") as file:
        file.visititems(visit)
    return found


def _expanded(graph: Any, prefix: str) -> tuple[dict[str, Node], list[Edge]]:
    nodes, edges, nested = dict[str, Node](), list[Edge](), dict[str, dict[str, list[str]]]()
    for name, node in graph.nodes.items():
        kind, path = type(node).__name__, prefix + str(name)
        if kind == "NIRGraph":
            inner, more = _expanded(node, f"{path}.")
            nested[path] = {door: [f"{path}.{n}" for n, found in node.nodes.items() if type(found).__name__ == door]
                            for door in ("Input", "Output")}
            edges += more
        else:
            inner = {path: Node(path, DOOR if prefix and kind in ("Input", "Output") else kind, vars(node))}
        if twice := nodes.keys() & inner.keys():
            raise CortexError("N108", f"two nodes are called '{min(twice)}'.", "Rename one.")
        nodes |= inner
    for a, b in graph.edges:
        edges.append((_door(nested, prefix + a, "Output"), _door(nested, prefix + b, "Input")))
    return nodes, edges


def _door(nested: dict[str, dict[str, list[str]]], name: str, kind: str) -> str:
    """Where an edge to or from a nested graph really ends."""
    if name not in nested:
        return name
    doors = nested[name][kind]
    if len(doors) != 1:
        raise CortexError("N108", f"the nested graph '{name}' has {len(doors)} {kind} nodes, so its edges do not say "
                                  "which is meant; it must have one.")
    return doors[0]


def _check(nodes: dict[str, Node], edges: Iterable[Edge]) -> None:
    for (a, b), count in Counter(edges).items():
        if a not in nodes or b not in nodes:
            raise CortexError("N108", f"the edge '{a}' -> '{b}' names a node that is not there.")
        if count > 1:
            raise CortexError("N108", f"the edge '{a}' -> '{b}' is there {count} times; it may be there once.")
