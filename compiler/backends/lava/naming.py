"""Names of ports and classes in emitted Lava code: no name of the user's meets one of ours, or another of theirs."""

from __future__ import annotations

import builtins
import keyword
from collections.abc import Collection, Mapping
from typing import Any

from cortexc.compiler.backends.quoting import fresh, identifier
from cortexc.compiler.ir import Graph

MODULE = frozenset({
    "AbstractProcess", "CPU", "GroupModel", "InPort", "LavaPyType", "MODELS", "OutPort", "Protocol", "PyInPort",
    "PyOutPort", "build", "implements", "cortexc", "main", "np", "p", "requires", "sys", "work", "works"})
"""Names that every emitted network has of its own, in any case of letters."""
PYTHON = frozenset(keyword.kwlist) | frozenset(dir(builtins))


def local_names(graph: Graph, group: str, slots: list[str]) -> dict[str, str]:
    """Slot -> name inside the group's process: an identifier, unique, without an underscore in front (Python mangles
    such names in classes)."""
    table: dict[str, str] = {}
    for slot in slots:
        name = _local_name(graph, group, slot).replace("#", "_before").replace("@", "_from_").partition(":")[0]
        name = name.replace(".", "_").replace(" ", "_")
        name = identifier(f"own{name}" if name.startswith("_") else name)
        table[slot] = fresh(name, table.values(), lambda base, i: base + "_too" * (i - 1))
    return table


def _local_name(graph: Graph, group: str, slot: str) -> str:
    owner, quantity = slot.split(".", 1)
    if owner == group:
        return quantity
    own = next((q for q in graph.projections if q.name == group), None)
    if own is not None and owner in (own.pre, own.post):
        return f"{'pre' if owner == own.pre else 'post'}_{quantity}"
    other = next((q for q in graph.projections if q.name == owner), None)
    if other is not None and any(p.name == group for p in graph.populations):
        return f"{other.synapse}_{quantity}"
    return slot


def class_names(graph: Graph, groups: Mapping[str, tuple[Any, ...]], stock: Collection[str]) -> dict[str, str]:
    """Group -> class. Groups of the same word and the same text (`groups`: events, kernels, integers) share one.
    `stock`: names of stock processes and what goes with them, where there are any."""
    reserved = {name.upper() for name in (*MODULE, *stock)}
    taken: set[str] = set()
    classes: dict[tuple[str, str], str] = {}
    found = {}
    for group, text in groups.items():
        base = _base_name(graph, group)
        base = f"Own{base}" if base.upper() in reserved or base in PYTHON else base
        key = base, repr(text)
        if key not in classes:
            classes[key] = fresh(base, _Pairs(taken), "{}{}".format)
            taken |= {classes[key], f"{classes[key]}Model"}
        found[group] = classes[key]
    return found


class _Pairs:
    """Holds a class where it or the model that goes with it is taken."""

    def __init__(self, taken: set[str]):
        self.taken = taken

    def __contains__(self, name: object) -> bool:
        return not self.taken.isdisjoint((name, f"{name}Model"))


def _base_name(graph: Graph, group: str) -> str:
    population = next((p for p in graph.populations if p.name == group), None)
    projection = next((q for q in graph.projections if q.name == group), None)
    core = group == "host" or group.partition("_")[0] in ("core", "cores")
    word = population.cell if population else projection.synapse if projection else \
        "network" if group == "network" else "neurocore" if core else "area"
    base = "".join(part.capitalize() for part in word.split("_"))
    return identifier(base if base[:1].isalpha() else f"Own{base}")
