"""Which projections carry an input that is held while a presentation lasts."""

from __future__ import annotations

from compiler.ir.expressions import WEIGHT_SUM, Binary, Expression, Name, Prev, reads
from compiler.ir.model import CellType, Graph, Projection


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


def is_hebbian(graph: Graph, projection: Projection, expression: Expression, earlier: bool = False) -> bool:
    """Whether an increment is (something postsynaptic) * (the message of this step, or with `earlier` the last)."""
    message = f"pre.{graph.class_of(projection.name).message}"
    match expression:
        case Binary("*", left, right) if right == Name(message) or earlier and right == Prev(message, 1):
            return _is_postsynaptic(left)
    return False


def _is_postsynaptic(expression: Expression) -> bool:
    """Whether it reads the postsynaptic cell, and nothing else but constants and gates."""
    found = reads(expression)
    return any(name.startswith("post.") for name in found) and not any(
        name.startswith("pre.") or name in ("w", WEIGHT_SUM) for name in found)
