"""Constants in their places: formulas of parameters where they are read, distributions as arrays.

before    parameter decay = exp(-dt / tau)        after     (gone)
          receive u = decay * prev(u)                       receive u = exp(-dt / tau) * prev(u)
          tau = normal(20, 2)                               array `population.tau`
          w = normal(0.5, 0.1), of a matrix                 array `projection.w`
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from cortexc.compiler.ir import Expression, Graph
from cortexc.compiler.ir.expressions import substitute
from cortexc.compiler.ir.model import CellType, Equation, Parameter, PlasticityRule, State
from cortexc.compiler.ir.synapses import drawn_matrices

Formulas = dict[str, Expression]


def with_constants(graph: Graph) -> Graph:
    """The graph without formulas and distributions."""
    drawn = {f"{p.name}.{name}": distribution.draw(f"{p.name}.{name}", p.size)
             for p in graph.populations for name, distribution in p.drawn} | drawn_matrices(graph)
    return graph.with_(cells=tuple(map(_cell, graph.cells)), rules=tuple(map(_rule, graph.rules)),
                       populations=tuple(replace(p, drawn=()) for p in graph.populations),
                       projections=tuple(q if graph.class_of(q.name).kind.listed else replace(q, weights=None)
                                         for q in graph.projections),
                       arrays={**drawn, **graph.arrays})


def _formulas(parameters: Iterable[Parameter]) -> Formulas:
    found: Formulas = {}
    for parameter in parameters:
        if parameter.formula is not None:
            found[parameter.name] = substitute(parameter.formula, found)
    return found


def _given(parameters: Iterable[Parameter]) -> tuple[Parameter, ...]:
    return tuple(p for p in parameters if p.formula is None)


def _cell(cell: CellType) -> CellType:
    if not (found := _formulas(cell.parameters)):
        return cell
    return replace(cell, parameters=_given(cell.parameters), states=_states(cell.states, found),
                   equations=_equations(cell.equations, found))


def _rule(rule: PlasticityRule) -> PlasticityRule:
    if not (found := _formulas(rule.parameters)):
        return rule
    optimiser = replace(rule.optimiser, arguments=tuple(substitute(a, found) for a in rule.optimiser.arguments))
    return replace(rule, parameters=_given(rule.parameters), states=_states(rule.states, found), optimiser=optimiser,
                   increment=substitute(rule.increment, found), deliver=substitute(rule.deliver, found),
                   updates=_equations(rule.updates, found))


def _states(states: tuple[State, ...], found: Formulas) -> tuple[State, ...]:
    return tuple(replace(s, initial=substitute(s.initial, found)) for s in states)


def _equations(equations: tuple[Equation, ...], found: Formulas) -> tuple[Equation, ...]:
    return tuple(replace(e, expression=substitute(e.expression, found), start=e.start and substitute(e.start, found))
                 for e in equations)
