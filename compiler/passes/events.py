"""Which quantities are events, 0 for most cells in most steps, and which synapses move at events alone.

    increment 0.01 * pre.x * post.spike - 0.0001 * pre.spike * post.y     moves where pre.spike or post.spike is not 0

An event is what a cell sends or is reset by, and is a number where a condition holds, else 0, or a count of Poisson
events. This names what is worth leaving out; that it may be is proved in `backends/lowering/visits.py`.
"""

from __future__ import annotations

from collections.abc import Callable

from cortexc.compiler.ir.expressions import Binary, Call, Expression, Name, Negate, Number, Prev, Where, walk
from cortexc.compiler.ir.model import CellType, Graph, Projection

GATE = "gate."


def is_event(cell: CellType, quantity: str, above: frozenset[str] = frozenset()) -> bool:
    """Whether a quantity of a cell is an event, or something that is 0 without one. `above`: what depends on it."""
    equation = cell.equation(quantity)
    if equation is None or equation.derivative:
        return False
    match equation.expression:
        case Where(_, Number(), Number(0.0)) | Call("poisson"):
            asked = Binary(">", Name(quantity), Number(0.0))  # a cell is reset by it: where(spike > 0, ...)
            return quantity in cell.messages or any(isinstance(node, Where) and node.condition == asked
                                                    for e in cell.equations for node in walk(e.expression))
        case Binary("*" | "/"):
            known = above | {quantity}
            waiting = waits_for(equation.expression, lambda name: name not in known and is_event(cell, name, known))
            return waiting is not None and not _all_gates(waiting)
    return False


def sends_events(graph: Graph, projection: Projection) -> bool:
    return is_event(graph.cell_of(projection.pre), graph.class_of(projection.name).message)


def waits_for(expression: Expression, event: Callable[[str], bool]) -> frozenset[str] | None:
    """Names, of events or gates, such that the expression is 0 where all of them are; None where there are none."""
    match expression:
        case Name(name) | Prev(name):
            return frozenset({name}) if name.startswith(GATE) or event(name) else None
        case Binary("*", left, right):
            found = [names for part in (left, right) if (names := waits_for(part, event)) is not None]
            return min(found, key=lambda names: (_all_gates(names), len(names))) if found else None
        case Binary("/", left, _):
            return waits_for(left, event)
        case Binary("+" | "-", left, right):
            first, second = waits_for(left, event), waits_for(right, event)
            return None if first is None or second is None else first | second
        case Negate(operand):
            return waits_for(operand, event)
        case Where(Binary(">", Name(name), Number(0.0)), _, Number(0.0)) if name.startswith(GATE):
            return frozenset({name})
    return None


def _all_gates(names: frozenset[str]) -> bool:
    return all(name.startswith(GATE) for name in names)


def moves_at_events(graph: Graph, projection: Projection) -> bool:
    """Whether a dense matrix of one copy, without state at the synapse, moves its weights at events alone."""
    rule = graph.rule_of(projection)
    if rule is None or rule.states or rule.noise or rule.optimiser.kind != "none" or graph.batch > 1:
        return False
    ends = {"pre": graph.cell_of(projection.pre), "post": graph.cell_of(projection.post)}

    def event(name: str) -> bool:
        side, _, quantity = name.partition(".")
        return side in ends and is_event(ends[side], quantity)

    waiting = waits_for(rule.increment, event)
    return graph.class_of(projection.name).kind.matrix and waiting is not None and not _all_gates(waiting)
