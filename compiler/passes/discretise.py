"""Discretise: derivatives become difference equations, formulas and distributions constants.

before    receive du/dt = (drive - u) / tau
after     receive u = prev(u) + dt * ((drive - prev(u)) / tau)

before    parameter decay = exp(-dt / tau)        after     (gone)
          receive u = decay * prev(u)                       receive u = exp(-dt / tau) * prev(u)
          tau = normal(20, 2)                               array `population.tau`
          w = normal(0.5, 0.1), of a matrix                 array `projection.w`

Every cell has its integrator (`compiler.passes.integrators`); states of rules take explicit Euler steps. Every
quantity of the cell (or rule) that has a derivative is taken before the step, so that coupled equations read each
other's earlier values; all other names keep their value of this step.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar, TypeVar

from cortexc.compiler.ir import Expression, Graph, unknown
from cortexc.compiler.ir.expressions import substitute
from cortexc.compiler.ir.model import INTEGRATORS, CellType, Equation, PlasticityRule
from cortexc.compiler.ir.synapses import drawn_matrices
from cortexc.compiler.passes.base import Request
from cortexc.compiler.passes.integrators import euler, exact, exponential_euler, rk4, rk5, stepped
from cortexc.compiler.passes.rewriting import Change, cell_with, rule_with

Owner = TypeVar("Owner", CellType, PlasticityRule)
STEPS: dict[str, Callable[[CellType], tuple[Equation, ...]]] = {
    "euler": euler, "exponential_euler": exponential_euler, "rk4": rk4, "rk5": rk5}


@dataclass(frozen=True)
class Discretise:
    """`integrator`: for all cells, in place of their own. Raises E264 for one that is not there, E265 and E266."""

    integrator: str | None = None
    name: ClassVar[str] = "discretise"
    fidelity: ClassVar[str] = "meaning"

    def apply(self, graph: Graph, request: Request) -> Graph:
        if self.integrator not in (None, *INTEGRATORS):
            raise unknown("E264", "integrator", self.integrator, INTEGRATORS)
        graph = with_constants(graph)
        if self.integrator:
            graph = graph.with_(cells=tuple(replace(c, integrator=self.integrator) for c in graph.cells))
        graph = exact(graph)
        rules = tuple(replace(rule, updates=stepped(rule.updates)) for rule in graph.rules)
        return graph.with_(cells=tuple(map(_discrete, graph.cells)), rules=rules)


def _discrete(cell: CellType) -> CellType:
    steps = STEPS.get(cell.integrator)
    return replace(cell, equations=steps(cell) if steps else cell.equations, integrator="euler")


def with_constants(graph: Graph) -> Graph:
    """The graph without formulas, which stand where they were read, and without distributions, which are arrays."""
    drawn = {f"{p.name}.{name}": distribution.draw(f"{p.name}.{name}", p.size)
             for p in graph.populations for name, distribution in p.drawn} | drawn_matrices(graph)
    return graph.with_(cells=tuple(_without_formulas(cell, cell_with) for cell in graph.cells),
                       rules=tuple(_without_formulas(rule, rule_with) for rule in graph.rules),
                       populations=tuple(replace(p, drawn=()) for p in graph.populations),
                       projections=tuple(q if graph.class_of(q.name).kind.listed else replace(q, weights=None)
                                         for q in graph.projections),
                       arrays={**drawn, **graph.arrays})


def _without_formulas(owner: Owner, changed: Callable[[Owner, Change], Owner]) -> Owner:
    found: dict[str, Expression] = {}
    for parameter in owner.parameters:
        if parameter.formula is not None:
            found[parameter.name] = substitute(parameter.formula, found)
    given = tuple(p for p in owner.parameters if p.formula is None)
    return replace(changed(owner, lambda e: substitute(e, found)), parameters=given) if found else owner
