"""Parameters: their formulas, the values that instances give them, as numbers or as distributions, and the domains of
numbers that are worked out before the first step, for every population and projection: formulas, arguments of
optimisers and of noise, refractory times, what divides. Only what follows from numbers that are known: a mean that
reads an input is looked at by nobody.

E222: an unknown one; E223: none given; E224: a formula that is not finite; E235: an argument out of its range; E238: a
formula reads what stands not above it; E239: arguments of a distribution, or one that divides and may be 0; E249: a
value for a formula.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from cortexc.compiler.ir.cells import CellType, Equation, Parameter
from cortexc.compiler.ir.distributions import DISTRIBUTIONS, Distribution
from cortexc.compiler.ir.errors import CortexError, unknown
from cortexc.compiler.ir.evaluation import Array, evaluate, no_history
from cortexc.compiler.ir.expressions import (
    Binary,
    Call,
    Expression,
    Name,
    Number,
    Prev,
    Where,
    names,
    previous,
    reads,
    walk,
)
from cortexc.compiler.ir.language import Problems
from cortexc.compiler.ir.model import Graph, Population, rule_parameters
from cortexc.compiler.ir.optimisers import FROM_0, Range


def parameters_given(graph: Graph) -> Problems:
    for p in graph.populations:
        cell = graph.cell(p.cell)
        drawn = {name for name, _ in p.drawn}
        bound = {key.split(".", 1)[1] for key in graph.arrays if key.startswith(f"{p.name}.")}
        yield from _given(f"population '{p.name}'", cell.parameters, p.parameters, bound | drawn)
        yield from _drawn(graph, p)
    for q in graph.projections:
        rule = graph.rule_of(q)
        yield from _given(f"projection '{q.name}'", rule.parameters if rule else (), q.parameters, set())


def _given(who: str, declared: tuple[Parameter, ...], given: tuple[tuple[str, float], ...],
           bound: set[str]) -> Problems:
    known, values = {p.name for p in declared}, dict(given)
    yield from said_twice(f"the parameters of {who}", [name for name, _ in given])
    for name in sorted(set(values) - known):
        yield unknown("E222", f"parameter of {who}", name, known)
    for parameter in declared:
        if parameter.formula is not None and parameter.name in {*values, *bound}:
            yield CortexError("E249", f"{who} gives a value for '{parameter.name}', which has a formula.",
                              "Give values to what the formula reads.")
        elif parameter.formula is None and parameter.default is None and parameter.name not in {*values, *bound}:
            yield CortexError("E223", f"{who} gives no value for parameter '{parameter.name}' ({parameter.unit}).")


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


# ---- what they are worth


MEAN = Range("from 0 to 700", lambda value: 0 <= value <= 700)
"""Of Poisson numbers: above, there is no number of events."""
Known = Mapping[str, "float | Array"]


def values_fit(graph: Graph) -> Problems:
    for p in graph.populations:
        cell, who = graph.cell(p.cell), f"population '{p.name}'"
        known = dict(parameter_values(graph, p))
        yield from _finite(who, cell.parameters, known)
        for argument in _ranged(cell):
            yield from argument.problems(f"cell '{cell.name}' ({who})", known)
        yield from _divisors(graph, p, cell)
    for q in graph.projections:
        rule = graph.rule_of(q)
        if rule is not None:
            who, numbers = f"projection '{q.name}'", rule_parameters(graph, q)
            yield from _finite(who, rule.parameters, numbers)
            ranges = zip(rule.optimiser.traits.arguments, rule.optimiser.arguments, rule.optimiser.traits.ranges,
                         strict=False)
            for name, value, allowed in ranges:
                argument = Argument(f"{name} of optimiser '{rule.optimiser.kind}'", value, allowed)
                yield from argument.problems(f"rule '{rule.name}' ({who})", numbers)


def parameter_values(graph: Graph, p: Population) -> Iterator[tuple[str, float | Array]]:
    """`dt` and the parameters of a population: a number, or one per cell."""
    known: dict[str, float | Array] = {"dt": graph.dt}
    given, drawn = dict(p.parameters), dict(p.drawn)
    for parameter in graph.cell(p.cell).parameters:
        name, bound = parameter.name, graph.arrays.get(f"{p.name}.{parameter.name}")
        if bound is not None:
            known[name] = bound
        elif name in drawn:
            known[name] = drawn[name].draw(f"{p.name}.{name}", p.size)
        elif parameter.formula is None and (value := given.get(name, parameter.default)) is not None:
            known[name] = value
        elif parameter.formula is not None and reads(parameter.formula) <= known.keys():
            known[name] = worked_out(parameter.formula, known)
    yield from known.items()


def worked_out(expression: Expression, known: Known) -> Array:
    with np.errstate(all="ignore"):
        return np.asarray(evaluate(expression, lambda name: np.asarray(known[name]), no_history))


def _finite(who: str, parameters: Iterable[Parameter], known: Known) -> Problems:
    for parameter in parameters:
        value = known.get(parameter.name)
        if value is not None and not np.isfinite(value).all():
            wrong = np.asarray(value)[~np.isfinite(value)].flat[0]
            yield CortexError("E224", f"parameter '{parameter.name}' of {who} is {wrong:g}; it must be finite.",
                              "Look at the values that its formula reads." if parameter.formula else "")


@dataclass(frozen=True)
class Argument:
    """A value, and what it may be."""

    what: str
    value: Expression
    allowed: Range

    def problems(self, owner: str, known: Known) -> Problems:
        if reads(self.value) - known.keys() or previous(self.value):
            return
        values = worked_out(self.value, known)
        wrong = values[~np.vectorize(self.allowed.holds, otypes=[bool])(values)]
        if wrong.size:
            yield CortexError("E235", f"{self.what} of {owner} is {wrong.flat[0]:g}; it must be {self.allowed.says}.")


def _ranged(cell: CellType) -> Iterator[Argument]:
    """Of noise and of refractory times, as the lines of a cell make equations of them."""
    for e in cell.equations:
        yield from (Argument(f"the mean of poisson noise in '{e.name}'", node.arguments[1], MEAN)
                    for node in walk(e.expression) if isinstance(node, Call) and node.function == "poisson"
                    and _is_drawn(e, node.arguments[0]))
        match e.expression:
            case Binary("+", _, Binary("*", width, drawn)) if _is_drawn(e, drawn):
                yield Argument(f"the width of noise '{e.name}'", width, FROM_0)
            case Where(_, steps, Call("max", (Binary("-", Prev(name, 1), Number(1.0)), Number(0.0)))) if name == e.name:
                yield Argument("the refractory time, in steps,", steps, FROM_0)


def _is_drawn(e: Equation, value: Expression) -> bool:
    """Whether a line of noise made it."""
    return isinstance(value, Name) and value.name.startswith(f"{e.name}_drawn")


def _divisors(graph: Graph, p: Population, cell: CellType) -> Problems:
    """A distribution that may be 0, of what divides."""
    every = (*(e.expression for e in cell.equations), *(q.formula for q in cell.parameters if q.formula))
    dividing = {name for e in every for node in walk(e) if isinstance(node, Binary) and node.operator == "/"
                for name in _factors(node.right)}
    for name, drawn in p.drawn:
        low, high = drawn.support
        if name in dividing and low <= 0 <= high and f"{p.name}.{name}" not in graph.arrays:
            yield CortexError("E239", f"'{name}' of population '{p.name}' divides, and {_shown(drawn)} may be 0 and of "
                                      "either sign.", f"Give it limits: {_shown(drawn, ', LOWEST, HIGHEST')}.")


def _factors(expression: Expression) -> set[str]:
    match expression:
        case Name(name):
            return {name}
        case Binary("*", left, right):
            return _factors(left) | _factors(right)
    return set()


def _shown(drawn: Distribution, more: str = "") -> str:
    return f"{drawn.kind}({', '.join(f'{value:g}' for value in drawn.arguments[:2])}{more})"
