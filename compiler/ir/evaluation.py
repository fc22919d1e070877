"""Values of expressions, and of tables between their entries, in plain numpy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cortexc.compiler.ir.expressions import Binary, Call, Expression, Lookup, Name, Negate, Number, Prev, Where, show
from cortexc.compiler.ir.functions import OPERATORS, VECTOR, Floats

Array = NDArray[Any]
Values = dict[str, Array]


def evaluate(expression: Expression, now: Callable[[str], Array],
             before: Callable[[str, int], Array]) -> Array:
    """Values of an expression; `now(name)` and `before(name, depth)` look names up."""
    match expression:
        case Number(value):
            return np.asarray(value)
        case Name(name):
            return now(name)
        case Prev(name, depth):
            return before(name, depth)
        case Negate(operand):
            return -evaluate(operand, now, before)
        case Binary(operator, left, right):
            result = OPERATORS[operator](evaluate(left, now, before), evaluate(right, now, before))
            return np.asarray(result, dtype=np.float64)
        case Call(function, arguments):
            return VECTOR[function](*(evaluate(a, now, before) for a in arguments))
        case Where(condition, then, otherwise):
            chosen = evaluate(condition, now, before) != 0
            return np.where(chosen, evaluate(then, now, before), evaluate(otherwise, now, before))
        case Lookup(table, index, linear):
            return (interpolated if linear else entries)(now(f"table.{table}"), evaluate(index, now, before))
    raise TypeError(show(expression))


def entries(table: Array, index: Array) -> Floats:
    """Entries floor(index) of a table, the first or last one outside."""
    return np.asarray(np.asarray(table, np.float64)[_within(table, index).astype(np.int64)])


def interpolated(table: Array, index: Array) -> Floats:
    """Between two neighbouring entries of a table, the first or last one outside."""
    index, table = _within(table, index), np.asarray(table, np.float64)
    whole = index.astype(np.int64)
    below, above = table[whole], table[np.minimum(whole + 1, len(table) - 1)]
    return np.asarray(below + (index - whole) * (above - below))


def _within(table: Array, index: Array) -> Floats:
    return np.asarray(np.clip(np.where(np.isnan(index), 0.0, index), 0.0, float(len(table) - 1)))


def evaluate_scalar(expression: Expression, parameters: dict[str, float]) -> float:
    """A parameter expression, which reads nothing of earlier steps."""
    with np.errstate(all="ignore"):
        return float(evaluate(expression, lambda name: np.asarray(parameters[name]), no_history))


def no_history(name: str, depth: int) -> Array:
    """For what has no earlier values."""
    raise KeyError(name)
