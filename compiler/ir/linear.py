"""Expressions that are linear in some of their names."""

from __future__ import annotations

from collections.abc import Callable, Set
from dataclasses import dataclass

from cortexc.compiler.ir.expressions import Binary, Expression, Name, Negate, Number, names


@dataclass(frozen=True)
class Linear:
    """`sum of coefficients[x] * x`, and what is left without any of them (None: nothing)."""

    coefficients: dict[str, Expression]
    rest: Expression | None

    def mapped(self, change: Callable[[Expression], Expression]) -> Linear:
        return Linear({name: change(e) for name, e in self.coefficients.items()},
                      None if self.rest is None else change(self.rest))

    def plus(self, other: Linear) -> Linear:
        found = dict(self.coefficients)
        for name, e in other.coefficients.items():
            found[name] = found[name] + e if name in found else e
        if self.rest is None or other.rest is None:
            return Linear(found, self.rest if other.rest is None else other.rest)
        return Linear(found, self.rest + other.rest)


def linear(expression: Expression, unknowns: Set[str]) -> Linear | None:
    """The expression as one that is linear in the unknowns; None where it is not."""
    if not names(expression) & unknowns:
        return Linear({}, expression)
    match expression:
        case Name(name):
            return Linear({name: Number(1.0)}, None)
        case Negate(operand):
            found = linear(operand, unknowns)
            return found and found.mapped(Negate)
        case Binary("+" | "-" as operator, left, right):
            one, other = linear(left, unknowns), linear(right, unknowns)
            return one and other and one.plus(other.mapped(Negate) if operator == "-" else other)
        case Binary("*", left, right) if not names(left) & unknowns:
            found = linear(right, unknowns)
            return found and found.mapped(lambda e: Binary("*", left, e))
        case Binary("*" | "/" as operator, left, right) if not names(right) & unknowns:
            found = linear(left, unknowns)
            return found and found.mapped(lambda e: Binary(operator, e, right))
    return None
