"""specialise: every population gets a cell type and every projection a rule of its own, with numbers for parameters.

before    cell unit                                      population a unit 4
            parameter tau ms                               tau = 5
            receive u = prev(u) + (basal - prev(u)) / tau
after     cell unit_a                                    population a unit_a 4
            receive u = prev(u) + (basal - prev(u)) / 5

What is equal is shared again by `merge_equal`. Parameters that a population binds as an array stay.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from cortexc.compiler.ir import Graph, Projection
from cortexc.compiler.ir.expressions import substitute
from cortexc.compiler.ir.model import cell_parameters, rule_parameters
from cortexc.compiler.ir.schedule import as_old_as
from cortexc.compiler.passes.base import SAME, Request
from cortexc.compiler.passes.fold import literal, simplify
from cortexc.compiler.passes.rewriting import Change, cell_with, rule_with


@dataclass(frozen=True)
class Specialise:
    name: ClassVar[str] = "specialise"
    fidelity: ClassVar[str] = SAME

    def apply(self, graph: Graph, request: Request) -> Graph:
        return specialised(graph)


def specialised(graph: Graph) -> Graph:
    cells, populations = [], []
    for p in graph.populations:
        cell = graph.cell(p.cell)
        bound = {q.name for q in cell.parameters if f"{p.name}.{q.name}" in graph.arrays}
        values = {k: v for k, v in cell_parameters(graph, p).items() if k not in bound}
        cells.append(replace(cell_with(cell, _numbers(values)), name=_own_name(p.cell, p.name),
                             parameters=tuple(q for q in cell.parameters if q.name in bound)))
        populations.append(replace(p, cell=cells[-1].name, parameters=()))
    rules, synapses, projections = [], [], []
    for q in graph.projections:
        synapse, rule = graph.synapse(q.synapse), graph.rule_of(q)
        if rule:
            values = {**rule_parameters(graph, q), **_of_cells(graph, q)}
            rules.append(replace(rule_with(rule, _numbers(values)), name=_own_name(rule.name, q.name), parameters=()))
        synapses.append(replace(synapse, name=_own_name(synapse.name, q.name), rule=rules[-1].name if rule else None))
        projections.append(replace(q, synapse=synapses[-1].name, parameters=()))
    return as_old_as(graph, graph.with_(cells=tuple(cells), populations=tuple(populations), rules=tuple(rules),
                                        synapses=tuple(synapses), projections=tuple(projections)))


def _of_cells(graph: Graph, q: Projection) -> dict[str, float]:
    """Parameters of both cells as a rule names them, unless an array gives them."""
    return {f"{side}.{name}": value for side, owner in (("pre", q.pre), ("post", q.post))
            for name, value in cell_parameters(graph, graph.population(owner)).items()
            if f"{owner}.{name}" not in graph.arrays}


def _own_name(kind: str, owner: str) -> str:
    return kind if kind.endswith(f"_{owner}") else f"{kind}_{owner}"


def _numbers(values: Mapping[str, float]) -> Change:
    table = {name: literal(value) for name, value in values.items()}
    return lambda expression: simplify(substitute(expression, table))


# ---- sharing again


def merge_equal(graph: Graph) -> Graph:
    """Cell types, rules and synapse classes that differ in their name alone become one."""
    cell_names, rule_names = _representatives(graph.cells), _representatives(graph.rules)
    graph = graph.with_(
        cells=tuple(c for c in graph.cells if cell_names[c.name] == c.name),
        rules=tuple(r for r in graph.rules if rule_names[r.name] == r.name),
        populations=tuple(replace(p, cell=cell_names[p.cell]) for p in graph.populations),
        synapses=tuple(replace(s, rule=rule_names[s.rule] if s.rule else None) for s in graph.synapses))
    names = _representatives(graph.synapses)
    return graph.with_(synapses=tuple(s for s in graph.synapses if names[s.name] == s.name),
                       projections=tuple(replace(q, synapse=names[q.synapse]) for q in graph.projections))


def _representatives(items: tuple[Any, ...]) -> dict[str, str]:
    """Name -> name of the first item that is equal but for the name."""
    first: dict[str, str] = {}
    return {item.name: first.setdefault(repr(replace(item, name="")), item.name) for item in items}
