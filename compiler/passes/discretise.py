"""Discretise: derivatives become difference equations, formulas and distributions constants.

before    receive du/dt = (drive - u) / tau
after     receive u = prev(u) + dt * ((drive - prev(u)) / tau)

Every cell has its integrator (`compiler.passes.integrators`, `exact`); states of rules take explicit Euler steps. Every
quantity of the cell (or rule) that has a derivative is taken before the step, so that coupled equations read each
other's earlier values; all other names keep their value of this step.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar

from cortexc.compiler.ir import Graph, unknown
from cortexc.compiler.ir.model import INTEGRATORS, CellType, Equation
from cortexc.compiler.passes.base import Request
from cortexc.compiler.passes.constants import with_constants
from cortexc.compiler.passes.exact import exact
from cortexc.compiler.passes.integrators import euler, exponential_euler, rk4, rk5, stepped

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
