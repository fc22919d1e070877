"""Which projections carry an input that is held while a presentation lasts."""

from __future__ import annotations

from cortexc.compiler.ir.expressions import WEIGHT_SUM, Binary, Expression, Name, Prev, reads
from cortexc.compiler.ir.model import CellType, Graph, Projection


def held_input(graph: Graph, projection: Projection) -> tuple[str, str | None] | None:
    """(the input x, the quantity u or None) if the message is x or x times u."""
    cell, population = graph.cell_of(projection.pre), projection.pre
    equation = cell.equation(graph.class_of(projection.name).message)
    if equation is None:
        return None
    match equation.expression:
        case Name(x) if x in cell.inputs:
            return x, None
        case Binary("*", Name(left), Name(right)):
            for x, u in ((left, right), (right, left)):
                if x in cell.inputs and is_uniform(graph, population, u, frozenset()):
                    return x, u
    return None


def is_uniform(graph: Graph, population: str, name: str, visited: frozenset[str]) -> bool:
    """Whether a state has the same value in all cells of the population: it reads gates and numbers alone."""
    cell = graph.cell_of(population)
    equation, state = cell.equation(name), cell.state(name)
    if equation is None or state is None or f"{population}.{name}" in graph.arrays:
        return False
    leaves = reads(equation.expression) | reads(state.initial)
    return all(leaf in visited | {name} or _is_number(graph, cell, population, leaf)
               or is_uniform(graph, population, leaf, visited | {name}) for leaf in leaves)


def _is_number(graph: Graph, cell: CellType, population: str, name: str) -> bool:
    parameter = any(p.name == name for p in cell.parameters) and f"{population}.{name}" not in graph.arrays
    return name == "dt" or name.startswith("gate.") or parameter


def postsynaptic_factor(graph: Graph, projection: Projection, expression: Expression,
                        earlier: bool = True) -> Expression | None:
    """p, if an increment is p times the message of this step, or with `earlier` the last; p reads the postsynaptic
    cell, and nothing else but constants and gates."""
    message = f"pre.{graph.class_of(projection.name).message}"
    match expression:
        case Binary("*", left, right):
            for p, x in ((left, right), (right, left)):
                if x == Name(message) or earlier and x == Prev(message, 1):
                    return p if _is_postsynaptic(p) else None
    return None


def reads_earlier(expression: Expression) -> bool:
    """Whether an increment that is such a product has the message of the last step."""
    return isinstance(expression, Binary) and any(isinstance(side, Prev) and side.name.startswith("pre.")
                                                  for side in (expression.left, expression.right))


def _is_postsynaptic(expression: Expression) -> bool:
    found = reads(expression)
    return any(name.startswith("post.") for name in found) and not any(
        name.startswith("pre.") or name in ("w", WEIGHT_SUM) for name in found)
