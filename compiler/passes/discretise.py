"""Discretise: derivatives become difference equations.

before    receive du/dt = (drive - u) / tau
after     receive u = prev(u) + dt * ((drive - prev(u)) / tau)

Explicit Euler: every quantity of the cell (or rule) that has a derivative is taken before the step, so that
coupled equations read each other's earlier values; all other names keep their value of this step.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from compiler.ir import Equation, Expression, Graph, unknown
from compiler.ir.expressions import Binary, Name, Prev, substitute
from compiler.passes.base import Request

INTEGRATORS = ("euler",)


@dataclass(frozen=True)
class Discretise:
    """Explicit Euler by default. Raises E264 for another integrator."""

    integrator: str = "euler"
    name: ClassVar[str] = "discretise"
    fidelity: ClassVar[str] = "meaning"

    def apply(self, graph: Graph, request: Request) -> Graph:
        if self.integrator not in INTEGRATORS:
            raise unknown("E264", "integrator", self.integrator, INTEGRATORS)
        cells = tuple(replace(cell, equations=discretised(cell.equations)) for cell in graph.cells)
        rules = tuple(replace(rule, updates=discretised(rule.updates)) for rule in graph.rules)
        return graph.with_(cells=cells, rules=rules)


def discretised(equations: tuple[Equation, ...]) -> tuple[Equation, ...]:
    """The equations of one owner without derivatives."""
    earlier: dict[str, Expression] = {e.name: Prev(e.name, 1) for e in equations if e.derivative}
    return tuple(_step(e, earlier) if e.derivative else e for e in equations)


def _step(equation: Equation, earlier: dict[str, Expression]) -> Equation:
    slope = substitute(equation.expression, earlier)
    step = Binary("+", Prev(equation.name, 1), Binary("*", Name("dt"), slope))
    return replace(equation, expression=step, derivative=False)
