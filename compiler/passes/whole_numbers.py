"""Which quantities of a circuit are integers in every step, and between which bounds messages lie.

    send rate = clip(floor(value), 0, 254)      whole, 0..254
    receive u = 0.5 * prev(u) + current         not whole
"""

from __future__ import annotations

from collections.abc import Callable, Set

import numpy as np

from cortexc.compiler.ir import Graph, Name, Prev
from cortexc.compiler.ir.functions import Floats
from cortexc.compiler.ir.model import cell_parameters, weight_shape
from cortexc.compiler.ir.schedule import settled
from cortexc.compiler.passes.normal_form import EVERYTHING, Atom, NormalForm, Polynomial, Range, of_atom, polynomial_of


def whole_quantities(graph: Graph, learnt: Callable[[str], bool] = lambda projection: False) -> frozenset[str]:
    """`population.quantity` of everything that is an integer; the greatest set that is true of itself. `learnt` says
    whether a plastic projection keeps its weights integers."""
    def starts(population: str, quantity: str) -> bool:
        values = initial_values(graph, population, quantity)
        return graph.cell_of(population).state(quantity) is None or bool((values == np.floor(values)).all())

    some = frozenset(f"{p.name}.{e.name}" for p in graph.populations for e in graph.cell(p.cell).equations
                     if starts(p.name, e.name))
    return settled(some, lambda found: frozenset(q for q in found if _stays_whole(graph, q, found, learnt)))


def initial_values(graph: Graph, population: str, quantity: str) -> Floats:
    """A state's values before the first step; nan where they depend on anything but parameters."""
    array, state = graph.arrays.get(f"{population}.{quantity}"), graph.cell_of(population).state(quantity)
    if array is not None or state is None:
        return np.asarray(0.0 if array is None else array, np.float64)
    try:
        found = parameter_form(graph, population).of(state.initial)
    except ValueError:
        return np.asarray(np.nan)
    return np.asarray(float(found[0][1]) if found and not found[0][0] else np.nan if found else 0.0)


def _stays_whole(graph: Graph, quantity: str, found: Set[str], learnt: Callable[[str], bool]) -> bool:
    population, _, name = quantity.partition(".")
    cell = graph.cell_of(population)
    equation = cell.equation(name)
    ports = {port.name for port in cell.ports if _whole_port(graph, population, port.name, found, learnt)}
    form = parameter_form(graph, population, lambda atom: atom[1] in ports or f"{population}.{atom[1]}" in found
                          or whole_vector(graph, population, atom))
    try:
        return equation is not None and form.is_whole(form.of(equation.expression))
    except ValueError:
        return False


def whole_vector(graph: Graph, population: str, atom: Atom) -> bool:
    """Whether it is a parameter that an array of integers gives."""
    array = graph.arrays.get(f"{population}.{atom[1]}") if atom[0] == "vector" else None
    return array is not None and bool((array == np.floor(array)).all())


def _whole_port(graph: Graph, population: str, port: str, found: Set[str], learnt: Callable[[str], bool]) -> bool:
    for q in graph.into(population, port):
        synapse = graph.class_of(q.name)
        drawn = (0.0 if q.weights is None else q.weights.arguments[0] if q.weights.kind == "constant" else 0.5,)
        weights = graph.arrays.get(f"{q.name}.w", np.array(drawn))
        if weight_shape(graph, q) and not (weights == np.floor(weights)).all():
            return False
        if f"{q.pre}.{synapse.message}" not in found or synapse.rule and not learnt(q.name):
            return False
    return True


def parameter_form(graph: Graph, population: str, whole: Callable[[Atom], bool] = lambda atom: False,
                   inlined: frozenset[str] = frozenset()) -> NormalForm:
    """The normal form of a population's equations: parameters are numbers, or `vector` where an array is bound;
    equations in `inlined` are replaced by what they compute."""
    cell, values = graph.cell_of(population), cell_parameters(graph, graph.population(population))

    def look(node: Name | Prev) -> Polynomial:
        if isinstance(node, Prev):
            return of_atom(("prev", node.name, node.depth))
        equation = cell.equation(node.name)
        if equation and node.name in inlined:
            return form.of(equation.expression)
        if equation is None and f"{population}.{node.name}" in graph.arrays:
            return of_atom(("vector", node.name))
        return polynomial_of(values[node.name]) if node.name in values else of_atom(("name", node.name))

    form = NormalForm(look, whole)
    return form


def message_range(graph: Graph, population: str, message: str) -> Range:
    """Bounds of a message, from its own equation."""
    equation = graph.cell_of(population).equation(message)
    form = parameter_form(graph, population, inlined=all_equations(graph, population))
    try:
        return form.range(form.of(equation.expression)) if equation else EVERYTHING
    except ValueError:
        return EVERYTHING


def all_equations(graph: Graph, population: str) -> frozenset[str]:
    return frozenset(e.name for e in graph.cell_of(population).equations)
