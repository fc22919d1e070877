"""What the derivatives of a cell mean: each integrator gives the equations of a step.

x is a quantity with a derivative f, x0 what it goes on from. All derivatives of a cell go on together; whatever else
they read (inputs, ports, other equations) is held over the step. E265: an integrator cannot solve an equation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import reduce

import numpy as np

from cortexc.compiler.ir import CortexError, Equation, Expression, Graph, show
from cortexc.compiler.ir.evaluation import evaluate, no_history
from cortexc.compiler.ir.expressions import Binary, Call, Name, Number, Where, names, previous, substitute
from cortexc.compiler.ir.firing import fresh, names_of
from cortexc.compiler.ir.functions import Floats
from cortexc.compiler.ir.linear import Linear, linear
from cortexc.compiler.ir.model import CellType, Parameter, Population, cell_parameters, over_batch

DT = Name("dt")


def solvable(expression: Expression, unknowns: Sequence[str], who: str) -> Linear:
    """The expression as one that is linear in the unknowns. Raises E265."""
    if (found := linear(expression, {*unknowns})) is None:
        raise CortexError("E265", f"{who} is not linear in {', '.join(sorted(unknowns))}: {show(expression)}.",
                          "Use integrator rk4, or euler.")
    return found


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
        form = solvable(equation.expression, [equation.name], f"d{equation.name}/dt of cell '{cell.name}'")
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


# ---- exact


TERMS = 20
"""Of the series of exp, for matrices of norm 0.5 or less: the first that is left out is below 1e-25."""


def exact(graph: Graph) -> Graph:
    """Linear equations with constant coefficients, solved: dx/dt = A x + b, with b held over the step.

    before    receive dv/dt = (e - v) / tau + i / c     after     receive v = v_from_v * prev(v) + v_from_i * prev(i)
              receive di/dt = -i / tau_syn                                    + v_per_v * (e / tau)
                                                                  receive i = i_from_i * prev(i)

    `x_from_y` is an entry of exp(A dt), `x_per_y` one of the integral of exp(A s) over the step: parameters of ours,
    whose values every population gets here, as numbers, or as arrays where its own parameters are. E265: an equation
    is not of this kind; E266: a value is not finite.
    """
    systems = {cell.name: System(cell) for cell in graph.cells if cell.integrator == "exact" and derivatives(
        cell.equations)}
    cells = tuple(systems[cell.name].cell() if cell.name in systems else cell for cell in graph.cells)
    populations, arrays = [], dict(graph.arrays)
    for p in graph.populations:
        found = systems[p.cell].values(graph, p) if p.cell in systems else {}
        numbers = tuple((name, float(value)) for name, value in found.items() if not value.ndim)
        populations.append(replace(p, parameters=(*p.parameters, *numbers)))
        arrays |= {f"{p.name}.{name}": np.ascontiguousarray(value[0] if len(value) == 1 else value)
                   for name, value in found.items() if value.ndim}
    return graph.with_(cells=cells, populations=tuple(populations), arrays=arrays)


class System:
    """The derivatives of one cell. `names`: (to, `from` or `per`, by) -> a parameter of ours."""

    def __init__(self, cell: CellType):
        self.given, self.flows = cell, derivatives(cell.equations)
        self.order = [e.name for e in self.flows]
        self.forms = {e.name: solvable(e.expression, self.order, self._who(e)) for e in self.flows}
        self._check()
        self.reach = self._reach()
        self.names: dict[tuple[str, str, str], str] = {}
        taken = names_of(cell)
        for to, by in ((x, y) for x in self.order for y in self.order if y in self.reach[x]):
            for word in ("from", *["per"] * (self.forms[by].rest is not None)):
                self.names[to, word, by] = fresh(f"{to}_{word}_{by}", taken)
                taken.add(self.names[to, word, by])

    def _who(self, equation: Equation) -> str:
        return f"d{equation.name}/dt of cell '{self.given.name}'"

    def _check(self) -> None:
        constants = {"dt", *(p.name for p in self.given.parameters)}
        for flow in self.flows:
            for coefficient in self.forms[flow.name].coefficients.values():
                if others := sorted({*names(coefficient), *previous(coefficient)} - constants):
                    raise CortexError("E265", f"{self._who(flow)} has the coefficient {show(coefficient)}, which "
                                              f"changes with {', '.join(others)}; integrator exact needs constants.",
                                      "Use integrator exponential_euler, or rk4.")

    def _reach(self) -> dict[str, set[str]]:
        """x -> the unknowns that move it within a step."""
        found = {name: {name, *form.coefficients} for name, form in self.forms.items()}
        for _ in self.order:
            found = {name: set().union(*(found[by] for by in moved)) for name, moved in found.items()}
        return found

    def cell(self) -> CellType:
        added = tuple(Parameter(name) for name in self.names.values())
        held, equations = {}, list[Equation]()
        taken = names_of(self.given) | {*self.names.values()}
        for flow in self.flows:
            if (rest := self.forms[flow.name].rest) is not None:
                held[flow.name] = fresh(f"{flow.name}_input", taken)
                equations.append(replace(flow, name=held[flow.name], expression=rest, derivative=False, start=None))
        settled = {e.name: replace(e, expression=self._step(e.name, held), derivative=False, start=None)
                   for e in self.flows}
        equations += [settled.get(e.name, e) for e in self.given.equations]
        return replace(self.given, parameters=(*self.given.parameters, *added), equations=tuple(equations))

    def _step(self, to: str, held: dict[str, str]) -> Expression:
        start = {e.name: e.begins for e in self.flows}
        read: dict[str, Callable[[str], Expression]] = {"from": start.__getitem__, "per": lambda by: Name(held[by])}
        terms = [Binary("*", Name(name), read[word](by)) for word in ("from", "per")
                 for (x, kind, by), name in self.names.items() if x == to and kind == word]
        return reduce(lambda a, b: Binary("+", a, b), terms)

    def values(self, graph: Graph, population: Population) -> dict[str, Floats]:
        """Parameter -> its value (), or (1 or batch, n) where parameters of the population are arrays."""
        known = {**cell_parameters(graph, population), **{
            p.name: over_batch(graph, graph.arrays[f"{population.name}.{p.name}"], 1) for p in self.given.parameters
            if f"{population.name}.{p.name}" in graph.arrays}}
        matrix = self._matrix({name: np.asarray(value, np.float64) for name, value in known.items()})
        moved, summed = propagators(matrix * graph.dt)
        at = {name: i for i, name in enumerate(self.order)}
        found = {name: (moved if word == "from" else summed * graph.dt)[..., at[to], at[by]]
                 for (to, word, by), name in self.names.items()}
        if not all(np.all(np.isfinite(value)) for value in found.values()):
            raise CortexError("E266", f"the exact solution of cell '{self.given.name}' in population "
                                      f"'{population.name}' is not finite.")
        return found

    def _matrix(self, known: dict[str, Floats]) -> Floats:
        """(..., unknowns, unknowns)."""
        zero = np.zeros(np.broadcast_shapes(*(value.shape for value in known.values())))
        rows = [[zero + self._entry(form, by, known) for by in self.order] for form in self.forms.values()]
        return np.moveaxis(np.array(rows), (0, 1), (-2, -1))

    @staticmethod
    def _entry(form: Linear, by: str, known: dict[str, Floats]) -> Floats | float:
        with np.errstate(all="ignore"):
            return evaluate(form.coefficients[by], known.__getitem__, no_history) if by in form.coefficients else 0.0


def propagators(matrix: Floats) -> tuple[Floats, Floats]:
    """exp(M) and the integral of exp(M s) for s from 0 to 1, of (..., d, d): the blocks of exp([[M, 1], [0, 0]]), by a
    Taylor series after halving and squared again."""
    d = matrix.shape[-1]
    if not np.all(np.isfinite(matrix)):
        return np.full(matrix.shape, np.nan), np.full(matrix.shape, np.nan)
    both = np.zeros((*matrix.shape[:-2], 2 * d, 2 * d))
    both[..., :d, :d], both[..., :d, d:] = matrix, np.eye(d)
    halvings = max(0, int(np.ceil(np.log2(np.abs(both).sum(-1).max(initial=1e-300)))) + 1)
    both = both / 2.0**halvings
    total = term = np.broadcast_to(np.eye(2 * d), both.shape)
    for k in range(1, TERMS):
        term = term @ both / k
        total = total + term
    for _ in range(halvings):
        total = total @ total
    return total[..., :d, :d], total[..., :d, d:]
