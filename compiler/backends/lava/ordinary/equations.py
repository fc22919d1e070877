"""Equations as text of numpy, with the circuit's names and no more parentheses than Python needs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from compiler.ir.expressions import (
    ATOM,
    PRECEDENCE,
    UNARY,
    Binary,
    Call,
    Expression,
    Lookup,
    Name,
    Negate,
    Number,
    Prev,
    Where,
    number,
)

COMPARISONS = frozenset({"<", "<=", ">", ">=", "==", "!="})
LOGICAL = {"and": "&", "or": "|"}


@dataclass(frozen=True)
class Text:
    """`now(name)` and `before(name, depth)` say how a value is written; `called` collects functions that are used."""

    now: Callable[[str], str]
    before: Callable[[str, int], str]
    called: set[str]

    def value(self, expression: Expression) -> str:
        return self._value(expression)[0]

    def condition(self, expression: Expression) -> str:
        """A truth value per cell."""
        match expression:
            case Binary(operator, left, right) if operator in COMPARISONS:
                return f"{self._wrapped(left, 5)} {operator} {self._wrapped(right, 5)}"
            case Binary(operator, left, right) if operator in LOGICAL:
                return f"({self.condition(left)}) {LOGICAL[operator]} ({self.condition(right)})"
        return f"{self._wrapped(expression, 5)} != 0"

    def _value(self, expression: Expression) -> tuple[str, int]:
        match expression:
            case Number(value):
                return ("np.inf" if value == float("inf") else number(value)), ATOM
            case Name(name):
                return self.now(name), ATOM
            case Prev(name, depth):
                return self.before(name, depth), ATOM
            case Negate(operand):
                return "-" + self._wrapped(operand, UNARY), UNARY
            case Binary(operator, left, right) if operator in COMPARISONS or operator in LOGICAL:
                return f"where({self.condition(expression)}, 1.0, 0.0)", ATOM
            case Binary(operator, left, right):
                return self._arithmetic(operator, left, right)
            case Call(function, arguments):
                self.called.add(function)
                return f"{function}({', '.join(map(self.value, arguments))})", ATOM
            case Where(condition, then, otherwise):
                return f"where({self.condition(condition)}, {self.value(then)}, {self.value(otherwise)})", ATOM
            case Lookup(table, index):
                self.called.add(expression.function)
                return f"{expression.function}({self.now(f'table.{table}')}, {self.value(index)})", ATOM
        raise TypeError(expression)

    def _arithmetic(self, operator: str, left: Expression, right: Expression) -> tuple[str, int]:
        level = PRECEDENCE[operator]
        first = self._wrapped(left, level)
        if isinstance(left, Number) and isinstance(right, Number):
            first = f"np.float64({first})"
        return f"{first} {operator} {self._wrapped(right, level + 1)}", level

    def _wrapped(self, expression: Expression, level: int) -> str:
        text, own = self._value(expression)
        return text if own >= level else f"({text})"
