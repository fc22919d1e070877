"""Names of a graph that backends can keep apart.

E511 a name that is no identifier; E512 a name that means something else there; E513 a group that cannot be divided so.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from keyword import iskeyword

from compiler.backends.quoting import identifier
from compiler.ir import CortexError, Graph
from compiler.ir.model import OPTIMISERS, group_parts
from compiler.passes.partition import splittable

OWNERS = {"gate": "gates of the protocol", "table": "tables that are looked up"}
"""Not for populations and projections: whose names these are."""
QUANTITIES = frozenset({"w", "current", "increment", "mask", "redrawn", "adam_first", "adam_second", "adam_powers",
                        *OPTIMISERS} - {"none"})
"""Not for what a rule keeps or draws at a synapse: quantities and arrays that a projection has anyway."""
GROUP = re.compile(r"[^+:]+|[^+:]+:[1-9]\d*(\+[^+:]+:[1-9]\d*)+")


def check_names(graph: Graph) -> None:
    """Raises E511, E512 or E513."""
    for what, name in _names(graph):
        identifier(name, what)
        if " in " in what and iskeyword(name):
            raise CortexError("E512", f"{what} '{name}' is a word of the expressions themselves.", "Rename it.")
    for name in (*(p.name for p in graph.populations), *(q.name for q in graph.projections)):
        if name in OWNERS:
            raise CortexError("E512", f"'{name}' cannot be the name of a population or projection: it stands for the "
                                      f"{OWNERS[name]}.", "Rename it.")
    for rule in graph.rules:
        for name in (*(s.name for s in rule.states), *(n for n, _ in rule.noise)):
            if name in QUANTITIES:
                raise CortexError("E512", f"rule '{rule.name}' calls something at the synapse '{name}', which "
                                          "projections have anyway.", f"Taken are {', '.join(sorted(QUANTITIES))}.")
    for mirror in graph.mirrors:
        for name in (operation.partition(":")[2] for operation in mirror.operations):
            if name == "__metadata__" or name.startswith("table."):
                raise CortexError("E512", f"mirror '{mirror.target}' uses an array '{name}', a name that stands for "
                                          "something else in files.", "Rename it.")
    _check_groups(graph)


def _names(graph: Graph) -> Iterator[tuple[str, str]]:
    """(what it is, name) of everything that becomes part of a name in code."""
    for cell in graph.cells:
        yield "cell", cell.name
        for name in (*(p.name for p in cell.ports), *(p.name for p in cell.parameters), *cell.inputs,
                     *(n for n, _ in cell.noise), *(s.name for s in cell.states), *(e.name for e in cell.equations)):
            yield f"a name in cell '{cell.name}'", name
    for rule in graph.rules:
        yield "rule", rule.name
        for name in (*(p.name for p in rule.parameters), *(s.name for s in rule.states), *(n for n, _ in rule.noise)):
            yield f"a name in rule '{rule.name}'", name
    yield from (("synapse class", each.name) for each in graph.synapses)
    yield from (("population", each.name) for each in graph.populations)
    yield from (("projection", each.name) for each in graph.projections)


def _check_groups(graph: Graph) -> None:
    found = [(p.name, p.group, p) for p in graph.populations]
    found += [(q.name, q.group, graph.population(q.post)) for q in graph.projections]
    divisible = splittable(graph) if any("+" in group for _, group, _ in found) else frozenset()
    for name, group, population in found:
        if group and not GROUP.fullmatch(group):
            raise CortexError("E513", f"group '{group}' of '{name}' is neither one process nor 'process:cells+process:"
                                      "cells'.", "The name of an area has neither '+' nor ':'.")
        cells = sum(number for _, number in group_parts(group))
        if "+" in group and (cells != population.size or population.name not in divisible):
            cannot = "" if population.name in divisible else " and cannot be divided"
            raise CortexError("E513", f"group '{group}' of '{name}' divides {cells} cells; population "
                                      f"'{population.name}' has {population.size}{cannot}.")
