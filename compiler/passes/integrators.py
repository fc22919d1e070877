"""What the derivatives of a cell mean: each integrator gives the equations of a step.

x is a quantity with a derivative f, x0 what it goes on from. All derivatives of a cell go on together; whatever else
they read (inputs, ports, other equations) is held over the step. E265: an integrator cannot solve an equation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from cortexc.compiler.ir import CortexError, Equation, Expression, show
from cortexc.compiler.ir.expressions import Binary, Call, Name, Negate, Number, Where, names, substitute
from cortexc.compiler.ir.firing import fresh, names_of
from cortexc.compiler.ir.model import CellType

DT = Name("dt")


@dataclass(frozen=True)
class Linear:
    """`sum of coefficients[x] * x`, and what is left without any of them (None: nothing)."""

    coefficients: dict[str, Expression]
    rest: Expression | None

    def mapped(self, change: Callable[[Expression], Expression]) -> Linear:
        return Linear({name: change(e) for name, e in self.coefficients.items()},
                      None if self.rest is None else change(self.rest))

    def plus(self, other: Linear) -> Linear:
        found = dict(self.coefficients)
        for name, e in other.coefficients.items():
            found[name] = found[name] + e if name in found else e
        if self.rest is None or other.rest is None:
            return Linear(found, self.rest if other.rest is None else other.rest)
        return Linear(found, self.rest + other.rest)


def linear(expression: Expression, unknowns: Iterable[str], who: str) -> Linear:
    """The expression as one that is linear in the unknowns. Raises E265."""
    if not names(expression) & set(unknowns):
        return Linear({}, expression)
    match expression:
        case Name(name):
            return Linear({name: Number(1.0)}, None)
        case Negate(operand):
            return linear(operand, unknowns, who).mapped(Negate)
        case Binary("+", left, right):
            return linear(left, unknowns, who).plus(linear(right, unknowns, who))
        case Binary("-", left, right):
            return linear(left, unknowns, who).plus(linear(right, unknowns, who).mapped(Negate))
        case Binary("*", left, right) if not names(left) & set(unknowns):
            return linear(right, unknowns, who).mapped(lambda e: Binary("*", left, e))
        case Binary("*" | "/" as operator, left, right) if not names(right) & set(unknowns):
            return linear(left, unknowns, who).mapped(lambda e: Binary(operator, e, right))
    raise CortexError("E265", f"{who} is not linear in {', '.join(sorted(unknowns))}: {show(expression)}.",
                      "Use integrator rk4, or euler.")


def derivatives(equations: Iterable[Equation]) -> list[Equation]:
    return [e for e in equations if e.derivative]


def euler(cell: CellType) -> tuple[Equation, ...]:
    """x = x0 + dt * f(x0)."""
    return stepped(cell.equations)


def stepped(equations: tuple[Equation, ...]) -> tuple[Equation, ...]:
    """The equations of one owner with explicit Euler steps."""
    earlier = {e.name: e.begins for e in derivatives(equations)}
    return tuple(_settled(e, Binary("+", e.begins, Binary("*", DT, substitute(e.expression, earlier))))
                 if e.derivative else e for e in equations)


def _settled(equation: Equation, value: Expression) -> Equation:
    return replace(equation, expression=value, derivative=False, start=None)


def exponential_euler(cell: CellType) -> tuple[Equation, ...]:
    """Each f = a x + b is solved with a and b as they are before the step: x = x0 exp(a dt) + b (exp(a dt) - 1) / a,
    where exp(z) - 1 = tanh(z / 2) (exp(z) + 1), which is exact for small z too."""
    earlier = {e.name: e.begins for e in derivatives(cell.equations)}
    taken, found = names_of(cell), list[Equation]()
    for equation in cell.equations:
        if not equation.derivative:
            found.append(equation)
            continue
        form = linear(equation.expression, [equation.name], f"d{equation.name}/dt of cell '{cell.name}'")
        form = form.mapped(lambda e: substitute(e, earlier))
        own = [fresh(f"{equation.name}_{word}", taken) for word in ("slope", "decay")]
        taken |= {*own}
        found += _relaxed(equation, form, *own)
    return tuple(found)


def _relaxed(equation: Equation, form: Linear, slope: str, decay: str) -> list[Equation]:
    if equation.name not in form.coefficients:
        return [_settled(equation, equation.begins + DT * (form.rest or Number(0.0)))]
    a, z = Name(slope), Binary("*", Name(slope), DT)
    parts = [_settled(replace(equation, name=slope), form.coefficients[equation.name]),
             _settled(replace(equation, name=decay), Call("exp", (z,)))]
    value: Expression = Binary("*", equation.begins, Name(decay))
    if form.rest is not None:
        gain = Call("tanh", (z / 2.0,)) * (Name(decay) + 1.0) / a
        value = value + form.rest * Where(Binary("==", a, Number(0.0)), DT, gain)
    return [*parts, _settled(equation, value)]


def rk4(cell: CellType) -> tuple[Equation, ...]:
    """x = x0 + dt / 6 (k1 + 2 k2 + 2 k3 + k4), k1 = f(x0), k2 = f(x0 + dt / 2 k1), k3 = f(x0 + dt / 2 k2),
    k4 = f(x0 + dt k3)."""
    flows = derivatives(cell.equations)
    slopes = _slopes(cell, 4)
    steps = [None, DT / 2.0, DT / 2.0, DT]
    stages = []
    for number, step in enumerate(steps):
        reached = {e.name: e.begins if step is None else e.begins + step * slopes[number - 1][e.name] for e in flows}
        stages += [_stage(e, slopes[number], reached) for e in flows]
    return (*_kept(cell), *stages, *(_settled(e, _weighted(e, [s[e.name] for s in slopes])) for e in flows))


def _slopes(cell: CellType, count: int) -> list[dict[str, Name]]:
    """New names: of every stage and every quantity with a derivative."""
    taken, found = names_of(cell), list[dict[str, Name]]()
    for number in range(1, count + 1):
        found.append({e.name: Name(fresh(f"{e.name}_k{number}", taken)) for e in derivatives(cell.equations)})
        taken |= {name.name for name in found[-1].values()}
    return found


def _stage(equation: Equation, slopes: dict[str, Name], reached: dict[str, Expression]) -> Equation:
    return _settled(replace(equation, name=slopes[equation.name].name), substitute(equation.expression, reached))


def _kept(cell: CellType) -> list[Equation]:
    return [e for e in cell.equations if not e.derivative]


def _weighted(equation: Equation, slopes: list[Name]) -> Expression:
    k1, k2, k3, k4 = slopes
    return equation.begins + DT / 6.0 * (k1 + (k2 + k2) + (k3 + k3) + k4)


FEHLBERG = ((), (1 / 4,), (3 / 32, 9 / 32), (1932 / 2197, -7200 / 2197, 7296 / 2197),
            (439 / 216, -8.0, 3680 / 513, -845 / 4104), (-8 / 27, 2.0, -3544 / 2565, 1859 / 4104, -11 / 40))
"""Fehlberg's six stages: how far each goes along the slopes of those before, in dt."""
FIFTH = (16 / 135, 0.0, 6656 / 12825, 28561 / 56430, -9 / 50, 2 / 55)
"""What each stage counts for in the solution of order 5."""


def rk5(cell: CellType) -> tuple[Equation, ...]:
    """Order 5 in six stages (Fehlberg 1969, NASA TR R-315, table III, the upper solution)."""
    flows = derivatives(cell.equations)
    slopes = _slopes(cell, len(FEHLBERG))
    stages = [_stage(e, slopes[number], {x.name: _along(x, slopes, weights) for x in flows})
              for number, weights in enumerate(FEHLBERG) for e in flows]
    return (*_kept(cell), *stages, *(_settled(e, _along(e, slopes, FIFTH)) for e in flows))


def _along(equation: Equation, slopes: list[dict[str, Name]], weights: tuple[float, ...]) -> Expression:
    """x0 + dt (the weighted slopes)."""
    terms = [(weight > 0, abs(weight) * slope[equation.name])
             for weight, slope in zip(weights, slopes, strict=False) if weight]
    if not terms:
        return equation.begins
    (adds, total), *rest = terms
    total = total if adds else -total
    for adds, term in rest:
        total = total + term if adds else total - term
    return equation.begins + DT * total
