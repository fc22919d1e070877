"""Which values a quantity of a cell can take: an interval, and the values themselves where they are few.

    send spike = where(prev(v) > 1, 1, 0)        {0, 1}
    send out = prev(spike)                       {0, 1}
    send x = 0.875 * prev(x) + spike             [0, 8]        x <= 0.875 x + 1 holds for ever from 8 on
    send x = 1.5 * prev(x) + spike               [0, inf]

Intervals are computed over the step, and over steps until nothing grows; what still grows is unbounded, but for what is
a * prev(x) + rest with |a| < 1 and a bounded rest. Ports, exogenous inputs and normal noise are unbounded, gates are
not negative.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from cortexc.compiler.ir import CellType, Expression, Graph
from cortexc.compiler.ir.expressions import Binary, Call, Lookup, Name, Negate, Number, Prev, Where, names, previous
from cortexc.compiler.ir.functions import OPERATORS, SCALAR
from cortexc.compiler.ir.model import cell_parameters
from cortexc.compiler.ir.schedule import reached

FEW, ROUNDS, ZERO = 16, 6, frozenset([0.0])
RISING = ("linear", "relu", "logistic", "soft_relu", "sharp_soft_relu", "hard_sigmoid", "exp", "log", "tanh", "sqrt",
          "floor")
BETWEEN = {"sin": (-1.0, 1.0), "cos": (-1.0, 1.0), "d_logistic": (0.0, 0.25), "d_soft_relu": (0.0, 1.0),
           "d_sharp_soft_relu": (0.0, 1.0), "d_tanh": (0.0, 1.0)}
TRUTH = ("<", "<=", ">", ">=", "==", "!=", "and", "or")


@dataclass(frozen=True)
class Values:
    """From `low` to `high`; `members`: all there are, where they are few."""

    low: float
    high: float
    members: frozenset[float] | None = None

    @property
    def binary(self) -> bool:
        return self.members is not None and self.members <= {0.0, 1.0}

    @property
    def never_negative(self) -> bool:
        return self.low >= 0

    def joined(self, other: Values) -> Values:
        both = None if self.members is None or other.members is None else self.members | other.members
        return Values(min(self.low, other.low), max(self.high, other.high), both if both and len(both) <= FEW else None)

    def widened(self, before: Values) -> Values:
        """Without a bound where it has moved."""
        if self == before:
            return self
        return Values(self.low if self.low == before.low else -math.inf,
                      self.high if self.high == before.high else math.inf)

    def within(self, low: float, high: float) -> Values:
        return Values(max(self.low, low), min(self.high, high), self.members)


ALL = Values(-math.inf, math.inf)


def only(*values: float) -> Values:
    return Values(min(values), max(values), frozenset(map(float, values)))


def value_ranges(graph: Graph, population: str) -> Ranges:
    """Of every quantity of a population's cells, over all steps."""
    cell = graph.cell_of(population)
    constants = {name: only(value) for name, value in cell_parameters(graph, graph.population(population)).items()}

    def spans(owner: str) -> dict[str, Values]:
        return {name.split(".", 1)[1]: Values(float(np.min(values)), float(np.max(values)))
                for name, values in graph.arrays.items() if name.startswith(f"{owner}.") and np.size(values)}

    return Ranges(cell, {**constants, **spans(population)}, spans("table"))


@dataclass
class _Step:
    """`earlier`: what prev() can be; `upper`: what holds in this step as well; `now`: what has been found of it."""

    earlier: Mapping[str, Values]
    upper: Mapping[str, Values] = field(default_factory=dict)
    now: dict[str, Values] = field(default_factory=dict)


@dataclass
class Ranges:
    """`constants`: ranges of parameters, and of initial values that an array gives."""

    cell: CellType
    constants: Mapping[str, Values] = field(default_factory=dict)
    tables: Mapping[str, Values] = field(default_factory=dict)

    def of(self, expression: Expression) -> Values:
        """Of an expression over the cell's quantities."""
        return self._range(expression, _Step(self._settled, self._settled))

    def is_binary(self, quantity: str) -> bool:
        return self.of(Name(quantity)).binary

    @cached_property
    def _settled(self) -> dict[str, Values]:
        """What prev() can be: first what it grows to from the initial values, then what bounds it from above."""
        known = self._grown()
        for _ in range(ROUNDS):
            known = {name: self._bounded(name, found, known) for name, found in known.items()}
        return known

    def _grown(self) -> dict[str, Values]:
        known = {e.name: self._initial(e.name) for e in self.cell.equations}
        for turn in itertools.count():
            step = _Step(known)
            wider = {name: old.joined(self._range(Name(name), step)) for name, old in known.items()}
            if wider == known:
                return known
            known = wider if turn < ROUNDS else {n: v.widened(known[n]) for n, v in wider.items()}
        raise AssertionError

    def _initial(self, name: str) -> Values:
        state = self.cell.state(name)
        if name in self.constants:
            return self.constants[name]
        return self._range(state.initial, _Step({})) if state else only(0.0)

    def _bounded(self, name: str, found: Values, known: dict[str, Values]) -> Values:
        if found.members is not None:
            return found
        start, step = self._initial(name), _Step(known, known)
        result = start.joined(self._range(Name(name), step))
        parts = self._affine(Name(name), name, step, frozenset())
        if parts and max(abs(parts[0].low), abs(parts[0].high)) < 1:
            result = result.within(*_invariant(*parts)) if _inside(start, _invariant(*parts)) else result
        return found.within(result.low, result.high)

    # ---- within a step

    def _range(self, expression: Expression, step: _Step) -> Values:
        def go(inner: Expression) -> Values:
            return self._range(inner, step)

        match expression:
            case Number(value):
                return only(value)
            case Name(name):
                return self._named(name, step)
            case Prev(name):
                return step.earlier.get(name, self._outside(name))
            case Negate(operand):
                return _computed(lambda x: -x, [go(operand)]) or Values(-go(operand).high, -go(operand).low)
            case Binary(operator, left, right):
                return _binary(operator, go(left), go(right))
            case Call(function, arguments):
                return _call(function, [go(a) for a in arguments])
            case Where(condition, then, otherwise):
                test = go(condition)
                if test.members == ZERO:
                    return go(otherwise)
                return go(then) if test.low > 0 or test.high < 0 else go(then).joined(go(otherwise))
            case Lookup(table):
                return self.tables.get(table, ALL)
        return ALL

    def _named(self, name: str, step: _Step) -> Values:
        equation = self.cell.equation(name)
        if equation is None:
            return self._outside(name)
        if name not in step.now:
            step.now[name] = ALL
            found, bound = ALL if equation.derivative else self._range(equation.expression, step), step.upper.get(name)
            step.now[name] = found.within(bound.low, bound.high) if bound else found
        return step.now[name]

    def _outside(self, name: str) -> Values:
        """Of what no equation gives."""
        if dict(self.cell.noise).get(name) == "uniform":
            return Values(0.0, 1.0)
        return self.constants.get(name, Values(0.0, math.inf) if name.startswith("gate.") else ALL)

    def _affine(self, expression: Expression, name: str, step: _Step,
                open_: frozenset[str]) -> tuple[Values, Values] | None:
        """(slope, rest) of an expression that is slope * prev(name) + rest; None where it is not of this form."""
        def go(inner: Expression) -> tuple[Values, Values] | None:
            return self._affine(inner, name, step, open_)

        match expression:
            case Prev(other, depth) if other == name:
                return (only(1.0), only(0.0)) if depth == 1 else None
            case Name(other) if (equation := self.cell.equation(other)) and not equation.derivative:
                return None if other in open_ else self._affine(equation.expression, name, step, open_ | {other})
            case Negate(operand):
                return go(Binary("*", Number(-1.0), operand))
            case Binary("+" | "-" as operator, left, right):
                one, two = go(left), go(right)
                return one and two and (_binary(operator, one[0], two[0]), _binary(operator, one[1], two[1]))
            case Binary("*" | "/" as operator, left, right):
                if operator == "*" and self._range(left, step).members:
                    left, right = right, left
                factor, parts_of_left = self._range(right, step), go(left)
                if parts_of_left and (factor.members or parts_of_left[0].members == ZERO):
                    return _binary(operator, parts_of_left[0], factor), _binary(operator, parts_of_left[1], factor)
            case Where(_, then, otherwise):
                one, two = go(then), go(otherwise)
                return one and two and (one[0].joined(two[0]), one[1].joined(two[1]))
        return (only(0.0), self._range(expression, step)) if not self._reaches(expression, name) else None

    def _reaches(self, expression: Expression, name: str) -> bool:
        """Whether it reads prev(name), through quantities of this step too."""
        def now(quantity: str) -> set[str]:
            equation = self.cell.equation(quantity)
            return names(equation.expression) if equation else set()

        through = [e for q in reached(names(expression), now) if (e := self.cell.equation(q))]
        return any(name in previous(e) for e in (expression, *(e.expression for e in through)))


def _invariant(slope: Values, rest: Values) -> tuple[float, float]:
    """An interval that slope * x + rest does not leave."""
    most = max(abs(slope.low), abs(slope.high))
    if slope.low >= 0:
        return min(rest.low, 0.0) / (1 - most), max(rest.high, 0.0) / (1 - most)
    reach = max(abs(rest.low), abs(rest.high)) / (1 - most)
    return -reach, reach


def _inside(values: Values, bounds: tuple[float, float]) -> bool:
    return bounds[0] <= values.low and values.high <= bounds[1]


def _computed(function: Callable[..., float], parts: list[Values]) -> Values | None:
    """All results, where the arguments have few values."""
    if any(p.members is None for p in parts) or math.prod(len(p.members or ()) for p in parts) > FEW:
        return None
    with np.errstate(all="ignore"):
        found = {float(function(*values)) for values in itertools.product(*(sorted(p.members or ()) for p in parts))}
    return None if any(math.isnan(v) for v in found) else only(*found)


def _binary(operator: str, left: Values, right: Values) -> Values:
    exact = _computed(lambda a, b: float(OPERATORS[operator](np.float64(a), np.float64(b))), [left, right])
    if exact or operator in TRUTH:
        return exact or _compared(operator, left, right)
    match operator:
        case "+":
            return _between(left.low + right.low, left.high + right.high)
        case "-":
            return _between(left.low - right.high, left.high - right.low)
        case "*":
            return _product(left, right)
    if right.low > 0 or right.high < 0:
        return _product(left, _between(1 / right.high, 1 / right.low))
    return ALL


def _product(left: Values, right: Values) -> Values:
    ends = [a * b if a and b else 0.0 for a in (left.low, left.high) for b in (right.low, right.high)]
    return _between(min(ends), max(ends))


def _compared(operator: str, left: Values, right: Values) -> Values:
    if operator in (">", ">="):
        operator, left, right = {">": "<", ">=": "<="}[operator], right, left
    if operator == "<" and (left.high < right.low or left.low >= right.high):
        return only(float(left.high < right.low))
    if operator == "<=" and (left.high <= right.low or left.low > right.high):
        return only(float(left.high <= right.low))
    return only(0.0, 1.0)


def _between(low: float, high: float) -> Values:
    return ALL if math.isnan(low) or math.isnan(high) else Values(low, high)


def function_range(function: str, parts: list[Values]) -> Values:
    """Of a function of the language, or of `inverse`, 1 / x."""
    return _binary("/", only(1.0), parts[0]) if function == "inverse" else _call(function, parts)


def _call(function: str, parts: list[Values]) -> Values:
    exact = _computed(SCALAR[function], parts)
    if exact:
        return exact
    if function in BETWEEN:
        return Values(*BETWEEN[function])
    if function in ("d_linear", "d_relu", "d_hard_sigmoid"):
        return only(1.0) if function == "d_linear" else only(0.0, 1.0)
    x, others = parts[0], parts[1:]
    if function == "tanh":  # which may fall by a unit of the last place, and keeps the sign
        least, most = math.nextafter(_at(function, x.low), -1.0), math.nextafter(_at(function, x.high), 1.0)
        return _between(max(least, 0.0) if x.low >= 0 else least, min(most, 0.0) if x.high <= 0 else most)
    if function in RISING:
        return _between(_at(function, x.low), _at(function, x.high))
    match function:
        case "abs":
            return Values(0.0 if x.low <= 0 <= x.high else min(abs(x.low), abs(x.high)), max(abs(x.low), abs(x.high)))
        case "min":
            return Values(min(x.low, others[0].low), min(x.high, others[0].high))
        case "max":
            return Values(max(x.low, others[0].low), max(x.high, others[0].high))
        case "clip" | "saturate":
            low, high = others
            return Values(min(max(x.low, low.low), high.low), min(max(x.high, low.high), high.high))
        case "fixed":
            reach = _binary("/", others[1], others[0])
            most = max(abs(reach.low), abs(reach.high))
            return _rounded(x, *others).within(-most, most)
        case "pow" if x.never_negative:
            return Values(0.0, _power(x.high, others[0].high) if others[0].never_negative else math.inf)
        case "shift_left" | "shift_right" if others[0].members and len(others[0].members) == 1:
            return _between(*(SCALAR[function](end, others[0].low) if math.isfinite(end) else end
                              for end in (x.low, x.high)))
        case "poisson":
            return Values(0.0, math.inf)
        case "stochastic_round":
            return _between(_at("floor", x.low), _at("floor", x.high) + 1)
    return ALL


def _rounded(x: Values, scale: Values, limit: Values, offset: Values) -> Values:
    """Of fixed(), which rises with x and the offset."""
    if scale.members is None or limit.members is None or len(scale.members) * len(limit.members) > 1 or scale.low <= 0:
        return ALL
    low, high = (SCALAR["fixed"](end, scale.low, limit.low, edge) if math.isfinite(end + edge) else end
                 for end, edge in ((x.low, offset.low), (x.high, offset.high)))
    return _between(low, high)


def _power(most: float, exponent: float) -> float:
    """What x**e is at most, for x from 0 to `most` and e from 0 to `exponent`, with room for rounding."""
    with np.errstate(over="ignore"):
        return float(np.float64(max(most, 1.0)) ** exponent * (1 + 1e-12))


def _at(function: str, end: float) -> float:
    """A rising function at an end of an interval, which may be infinite."""
    if math.isfinite(end):
        return SCALAR[function](end)
    limits = {"logistic": (0.0, 1.0), "tanh": (-1.0, 1.0), "hard_sigmoid": (0.0, 1.0), "exp": (0.0, math.inf),
              "relu": (0.0, math.inf), "soft_relu": (0.0, math.inf), "sharp_soft_relu": (0.0, math.inf),
              "sqrt": (0.0, math.inf)}
    return limits.get(function, (-math.inf, math.inf))[end > 0]
