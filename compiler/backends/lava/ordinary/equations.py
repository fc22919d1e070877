"""Equations as text of numpy, with the circuit's names and no more parentheses than Python needs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from cortexc.compiler.ir.expressions import (
    COMPARISON,
    LOGICAL,
    Binary,
    Call,
    Expression,
    Lookup,
    Name,
    Number,
    Prev,
    Where,
    children,
    rebuild,
    show,
)

COMPARISONS = frozenset(COMPARISON.values())
TRUTHS = COMPARISONS | frozenset(LOGICAL.values())


@dataclass(frozen=True)
class Text:
    """`now(name)` and `before(name, depth)` say how a value is written; `called` collects functions that are used."""

    now: Callable[[str], str]
    before: Callable[[str, int], str]
    called: set[str]

    def value(self, expression: Expression) -> str:
        return show(self._value(expression))

    def _value(self, expression: Expression) -> Expression:
        """Over names of Python, and what numpy has."""
        match expression:
            case Number(value):
                return Number(value)  # without its unit
            case Name(name):
                return Name(self.now(name))
            case Prev(name, depth):
                return Name(self.before(name, depth))
            case Binary(operator) if operator in TRUTHS:
                return Where(self._truth(expression), Number(1.0), Number(0.0))
            case Binary(operator, Number() as left, Number() as right):  # Python would raise where numpy does not
                return Binary(operator, Call("np.float64", (Number(left.value),)), Number(right.value))
            case Where(condition, then, otherwise):
                return Where(self._truth(condition), self._value(then), self._value(otherwise))
        values = rebuild(expression, tuple(map(self._value, children(expression))))
        if isinstance(expression, Call | Lookup):
            self.called.add(expression.function)
        return replace(values, table=self.now(f"table.{values.table}")) if isinstance(values, Lookup) else values

    def _truth(self, expression: Expression) -> Expression:
        """A truth value per cell."""
        match expression:
            case Binary(operator, left, right) if operator in COMPARISONS:
                return Binary(operator, self._value(left), self._value(right))
            case Binary(operator, left, right) if operator in TRUTHS:
                return Call(f"logical_{operator}", (self._truth(left), self._truth(right)))
        return Binary("!=", self._value(expression), Number(0.0))
