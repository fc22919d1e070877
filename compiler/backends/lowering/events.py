"""Dense matrices whose messages are events: silent rows are left out of products, and only synapses of cells that have
an event learn. What is left out would add 0, so the bits are those of the plain loops."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce

from compiler.backends.kernels.nest import Array, Int, Kernel, any_of, compared
from compiler.backends.lowering.factors import VECTOR, Factors
from compiler.backends.lowering.learning import Axes, Delivered, Learning
from compiler.ir.expressions import Binary, Expression, Name, Negate, Node, Prev
from compiler.passes.events import GATE, is_event_of, waits_for


def vector_events(factors: Factors) -> frozenset[str] | None:
    """The vectors `P0`, `Q0` ... and gates at which a rule moves weights; None where it may move them at any time."""
    waiting = waits_for(factors.increment, lambda name: name.startswith(VECTOR) and _is_event(factors, name))
    return None if waiting is None else frozenset(name.removeprefix(VECTOR) for name in waiting)


def _is_event(factors: Factors, vector: str) -> bool:
    letter, number = vector[len(VECTOR)], int(vector[len(VECTOR) + 1:])
    return _vanishes(factors, (factors.post if letter == "P" else factors.pre)[number])


def _vanishes(factors: Factors, expression: Expression) -> bool:
    """Whether it is 0 where events of the cells are."""
    match expression:
        case Name(name) | Prev(name):
            return is_event_of(factors.graph, factors.projection, name)
        case Binary("*", left, right):
            return _vanishes(factors, left) or _vanishes(factors, right)
        case Binary("/", left, _):
            return _vanishes(factors, left)
        case Binary("+" | "-", left, right):
            return _vanishes(factors, left) and _vanishes(factors, right)
        case Negate(operand):
            return _vanishes(factors, operand)
    return False


def each_weight(learning: Learning, events: frozenset[str], visit: Callable[[tuple[Int, Int, Int]], object]) -> None:
    """`visit` at every weight that may move: all where a gate is on, else the rows of presynaptic events, then the
    columns of postsynaptic ones, without those rows."""
    kernel, axes = learning.kernel, learning.axes
    gates = [learning.translation.value(Name(name)) for name in sorted(events) if name.startswith(GATE)]
    rows, columns = (sorted(name for name in events if name.startswith(letter)) for letter in "QP")

    def at(j: Int, k: Int, c: Int) -> None:
        kernel.let("x", learning.weights("w", "w")[j, k, c])
        visit((j, k, c))

    def active(j: Int) -> list[Node]:
        return [*gates, *(learning.vector(name)[j, 0, 0] for name in rows)]

    if active(0):
        with axes.each_row() as j, kernel.when(any_of([compared(x, "!=", 0.0) for x in active(j)])):
            learning.load_row(j)
            with axes.each_along(j) as (k, c):
                at(j, k, c)
    if columns:
        with kernel.loop("k", axes.width) as k, kernel.when(any_of([
                compared(learning.vector(name)[k, 0, 0], "!=", 0.0) for name in columns])), axes.each_row() as j, \
                kernel.when_any(_all_silent(active(j))):
            learning.load_row(j)
            at(j, k, 0)


def _all_silent(values: list[Node]) -> list[Node]:
    silent = [compared(value, "==", 0.0) for value in values]
    return [reduce(lambda left, right: Binary("and", left, right), silent)] if silent else []


def product(kernel: Kernel, axes: Axes, w: Delivered, pre: Array, current: Array) -> None:
    """current := W pre, row by row of the cells that send something."""
    with kernel.loop("k", axes.width) as k:
        kernel.store(current[k, 0, 0], 0.0)
    with axes.each_row() as j:
        p = kernel.let("p", pre[j, 0, 0])
        with kernel.when(compared(p, "!=", 0.0)), axes.each_along(j) as (k, c):
            kernel.add(current[k, c, 0], w((j, k, c)) * p)
