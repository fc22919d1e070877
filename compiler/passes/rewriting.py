"""Changes that many passes make: other expressions in a cell or a rule, another part in the place of one."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import reduce

from cortexc.compiler.ir import CellType, Equation, Expression, Graph, Optimiser, PlasticityRule, Projection, State

Change = Callable[[Expression], Expression]
FIELDS = {CellType: "cells", PlasticityRule: "rules", Projection: "projections"}


def cell_with(cell: CellType, change: Change) -> CellType:
    """The cell with another expression for every one of its own."""
    return replace(cell, states=_states(cell.states, change), equations=_equations(cell.equations, change))


def rule_with(rule: PlasticityRule, change: Change) -> PlasticityRule:
    arguments = tuple(map(change, rule.optimiser.arguments))
    return replace(rule, increment=change(rule.increment), deliver=change(rule.deliver),
                   states=_states(rule.states, change), updates=_equations(rule.updates, change),
                   optimiser=Optimiser(rule.optimiser.kind, arguments))


def _states(states: tuple[State, ...], change: Change) -> tuple[State, ...]:
    return tuple(replace(s, initial=change(s.initial)) for s in states)


def _equations(equations: tuple[Equation, ...], change: Change) -> tuple[Equation, ...]:
    return tuple(replace(e, expression=change(e.expression), start=e.start and change(e.start)) for e in equations)


def exchanged(graph: Graph, old: CellType | PlasticityRule | Projection, new: object) -> Graph:
    """The graph with another part in the place of one of its own."""
    kind = FIELDS[type(old)]
    return graph.with_(**{kind: tuple(new if part is old else part for part in getattr(graph, kind))})


def product(factors: Iterable[Expression]) -> Expression:
    return reduce(operator.mul, factors)


def total(terms: Iterable[Expression]) -> Expression:
    return reduce(operator.add, terms)
