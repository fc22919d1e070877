"""Domains of numbers that are worked out before the first step, for every population and projection: formulas (E224),
arguments of optimisers and of noise, refractory times (E235), what divides (E239).

Only what follows from numbers that are known: a mean that reads an input is looked at by nobody.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from cortexc.compiler.ir.cells import CellType, Equation
from cortexc.compiler.ir.distributions import Distribution
from cortexc.compiler.ir.errors import CortexError
from cortexc.compiler.ir.evaluation import Array, evaluate, no_history
from cortexc.compiler.ir.expressions import Binary, Call, Expression, Name, Number, Prev, Where, previous, reads, walk
from cortexc.compiler.ir.language import Problems
from cortexc.compiler.ir.model import Graph, Parameter, Population, rule_parameters
from cortexc.compiler.ir.optimisers import FROM_0, Range

MEAN = Range("from 0 to 700", lambda value: 0 <= value <= 700)
"""Of Poisson numbers: above, there is no number of events."""
Known = Mapping[str, "float | Array"]


def values_fit(graph: Graph) -> Problems:
    for p in graph.populations:
        cell, who = graph.cell(p.cell), f"population '{p.name}'"
        known = dict(parameter_values(graph, p))
        yield from _formulas(who, cell.parameters, known)
        for argument in _arguments(cell):
            yield from argument.problems(f"cell '{cell.name}' ({who})", known)
        yield from _divisors(graph, p, cell)
    for q in graph.projections:
        rule = graph.rule_of(q)
        if rule is not None:
            who, numbers = f"projection '{q.name}'", rule_parameters(graph, q)
            yield from _formulas(who, rule.parameters, numbers)
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


def _formulas(who: str, parameters: Iterable[Parameter], known: Known) -> Problems:
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


def _arguments(cell: CellType) -> Iterator[Argument]:
    """Of noise and of refractory times, as the lines of a cell make equations of them."""
    for e in cell.equations:
        yield from (Argument(f"the mean of poisson noise in '{e.name}'", node.arguments[1], MEAN)
                    for node in walk(e.expression) if isinstance(node, Call) and node.function == "poisson"
                    and _is_drawn(e, node.arguments[0]))
        match e.expression:
            case Binary("+", _, Binary("*", width, drawn)) if _is_drawn(e, drawn):
                yield Argument(f"the width of noise '{e.name}'", width, FROM_0)
        if _counts_down(e):
            assert isinstance(e.expression, Where)
            yield Argument("the refractory time, in steps,", e.expression.then, FROM_0)


def _is_drawn(e: Equation, value: Expression) -> bool:
    """Whether a line of noise made it."""
    return isinstance(value, Name) and value.name.startswith(f"{e.name}_drawn")


def _counts_down(e: Equation) -> bool:
    match e.expression:
        case Where(_, _, Call("max", (Binary("-", Prev(name, 1), Number(1.0)), Number(0.0)))):
            return name == e.name
    return False


def _divisors(graph: Graph, p: Population, cell: CellType) -> Problems:
    """A distribution that may be 0, of what divides."""
    dividing = {name for e in cell.equations for node in walk(e.expression) if isinstance(node, Binary)
                and node.operator == "/" for name in _factors(node.right)}
    dividing |= {name for q in cell.parameters if q.formula for node in walk(q.formula) if isinstance(node, Binary)
                 and node.operator == "/" for name in _factors(node.right)}
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

