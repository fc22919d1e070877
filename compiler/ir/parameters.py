"""Parameters: their formulas, and the values that instances give them, as numbers or as distributions.

E222: an unknown one; E223: none given; E238: a formula reads what stands not above it; E239: arguments of a
distribution; E249: a value for a formula.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from cortexc.compiler.ir.cells import Parameter
from cortexc.compiler.ir.distributions import DISTRIBUTIONS, Distribution
from cortexc.compiler.ir.errors import CortexError, unknown
from cortexc.compiler.ir.expressions import names, previous
from cortexc.compiler.ir.language import Problems
from cortexc.compiler.ir.model import Graph, Population


def parameters_given(graph: Graph) -> Problems:
    for p in graph.populations:
        cell = graph.cell(p.cell)
        drawn = {name for name, _ in p.drawn}
        yield from _given(f"population '{p.name}'", cell.parameters, p.parameters, _bound(graph, p.name) | drawn)
        yield from _drawn(graph, p)
    for q in graph.projections:
        rule = graph.rule_of(q)
        yield from _given(f"projection '{q.name}'", rule.parameters if rule else (), q.parameters, set())


def _bound(graph: Graph, owner: str) -> set[str]:
    return {key.split(".", 1)[1] for key in graph.arrays if key.startswith(owner + ".")}


def _given(who: str, declared: tuple[Parameter, ...], given: tuple[tuple[str, float], ...],
           bound: set[str]) -> Problems:
    known, values = {p.name for p in declared}, dict(given)
    yield from said_twice(f"the parameters of {who}", [name for name, _ in given])
    for name in sorted(set(values) - known):
        yield unknown("E222", f"parameter of {who}", name, known)
    for parameter in declared:
        if parameter.formula is not None:
            yield from _not_given(who, parameter.name, {*values, *bound})
        elif parameter.default is None and parameter.name not in values and parameter.name not in bound:
            yield CortexError("E223", f"{who} gives no value for parameter '{parameter.name}' ({parameter.unit}).")


def _not_given(who: str, name: str, given: set[str]) -> Problems:
    if name in given:
        yield CortexError("E249", f"{who} gives a value for '{name}', which has a formula.",
                          "Give values to what the formula reads.")


def _drawn(graph: Graph, population: Population) -> Problems:
    cell, who = graph.cell(population.cell), f"population '{population.name}'"
    known = {p.name for p in cell.parameters} | {s.name for s in cell.states}
    named = [name for name, _ in population.drawn]
    yield from said_twice(f"the parameters of {who}", [*named, *{n for n, _ in population.parameters} & {*named}])
    for name, distribution in population.drawn:
        if name not in known:
            yield unknown("E222", f"parameter of {who}", name, known)
        yield from _arguments(f"'{name}' of {who}", distribution)


def _arguments(who: str, distribution: Distribution) -> Problems:
    if distribution.fault:
        wanted = ", ".join(DISTRIBUTIONS[distribution.kind][0])
        yield CortexError("E239", f"{who} is drawn from {distribution.kind}{distribution.arguments}; it takes "
                                  f"{wanted}, and perhaps two limits, the lower one first.",
                          f"This has {distribution.fault}.")


def said_twice(where: str, found: list[str]) -> Problems:
    for name in sorted(name for name, count in Counter(found).items() if count > 1):
        yield CortexError("E212", f"'{name}' is defined twice in {where}.", "Each name has one meaning.")


def formulas(graph: Graph) -> Problems:
    for cell in graph.cells:
        yield from _formulas(f"cell '{cell.name}'", cell.parameters)
    for rule in graph.rules:
        yield from _formulas(f"rule '{rule.name}'", rule.parameters)


def _formulas(who: str, parameters: Iterable[Parameter]) -> Problems:
    known = {"dt"}
    for parameter in parameters:
        if parameter.formula is not None:
            for name in sorted(previous(parameter.formula)):
                yield CortexError("E238", f"the formula of parameter '{parameter.name}' of {who} reads prev({name}).",
                                  "Parameters do not change: nothing has an earlier value in a formula.")
            for name in sorted(names(parameter.formula) - known):
                yield unknown("E238", f"name in the formula of parameter '{parameter.name}' of {who}", name, known)
        known.add(parameter.name)
