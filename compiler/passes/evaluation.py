"""Values of expressions at many points at once, in the IR's own arithmetic."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from compiler.ir import Expression
from compiler.ir.expressions import Binary, Call, Lookup, Name, Negate, Number, Prev, Where, depth_of
from compiler.ir.functions import OPERATORS, VECTOR, Floats

Values = Floats
Look = Callable[[str, int], Values]
"""(name, steps ago) -> its values."""


def evaluate(expression: Expression, look: Look, table: Callable[[Values], Values] | None = None) -> Values:
    """Arrays of one shape. Tables are not known here: `table`, a function of the index, stands for every one."""
    def go(inner: Expression) -> Values:
        return evaluate(inner, look, table)

    with np.errstate(all="ignore"):
        match expression:
            case Number(value):
                return np.asarray(value)
            case Name() | Prev():
                return look(expression.name, depth_of(expression))
            case Negate(operand):
                return -go(operand)
            case Binary(operator, left, right):
                return np.asarray(OPERATORS[operator](go(left), go(right)), np.float64)
            case Call(function, arguments):
                return VECTOR[function](*map(go, arguments))
            case Where(condition, then, otherwise):
                return np.where(go(condition) != 0, go(then), go(otherwise))
            case Lookup(_, index) if table:
                return table(go(index))
    raise TypeError(expression)
