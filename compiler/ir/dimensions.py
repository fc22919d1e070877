"""Units that do not fit (E267), and units of what is not there (E268).

Every quantity has a unit: one that is said, or one that follows from the equations, or any. An equation says that both
its sides have one unit, dx/dt that of x over ms, an operation what `_Reader` knows of it; all of that together has a
solution, or an equation that contradicts the others. Scales count: nA and pA differ.

A cell or rule that says no unit is taken as it is. Elsewhere a number without a unit may have any, as whatever else
says none: that of what it is added to, or as a factor the one that is missing. Only in an equation that gives units to
other numbers is such a factor a plain number.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from fractions import Fraction
from itertools import count

from cortexc.compiler.ir.cells import CellType, Equation, Parameter, State
from cortexc.compiler.ir.errors import CortexError, unknown
from cortexc.compiler.ir.evaluation import evaluate_scalar
from cortexc.compiler.ir.expressions import (
    WEIGHT_SUM,
    Binary,
    Call,
    Expression,
    Name,
    Negate,
    Number,
    Prev,
    Where,
    children,
    rename,
    show,
    walk,
)
from cortexc.compiler.ir.firing import SPIKE
from cortexc.compiler.ir.language import Problems
from cortexc.compiler.ir.limits import shown
from cortexc.compiler.ir.model import Graph, Mirror, PlasticityRule, Population, Projection
from cortexc.compiler.ir.units import Solver, Unit, Variable, factor_between, shown_unit, times, unit

SAME = frozenset({"abs", "min", "max", "clip", "linear", "relu", "saturate", "stochastic_round"})
"""Functions of values of one unit, which is that of their own."""
FIRST = frozenset({"shift_left", "shift_right", "fixed"})
"""Functions with the unit of their first argument; the others are plain numbers."""
SLOPES = frozenset({"d_linear", "d_relu"})
"""Plain numbers, whatever they are of. All other functions but `sqrt` and `pow` take and give plain numbers."""
KEPT = ("transpose", "negate", "truncate", "add")
"""Operations of mirrors that keep the unit."""
ONE: Unit = {}
MS = unit("ms")


def units_fit(graph: Graph) -> Problems:
    """Nothing, where no unit is said."""
    if not any(map(_says_units, (*graph.cells, *graph.rules, *graph.synapses, *graph.projections,
                                 *graph.populations))):
        return
    cells, rules, solver = {}, {}, Solver()
    for cell in graph.cells:
        cells[cell.name] = found = _Cell(cell)
        yield from found.problems
    for rule in graph.rules:
        rules[rule.name] = learnt = _Rule(rule)
        yield from learnt.problems
    circuit = _Circuit(graph, solver, cells, rules)
    yield from circuit.given()
    for q in graph.projections:
        yield from circuit.joined(q)
    for mirror in graph.mirrors:
        yield from circuit.copied(mirror)


def _says_units(part: object) -> bool:
    if isinstance(part, CellType | PlasticityRule):
        return (bool(part.units) or any(p.unit not in ("", "1") for p in part.parameters)
                or any(map(_measured, _expressions(part))))
    return any(getattr(part, name, None) for name in ("units", "weight")) or bool(
        getattr(getattr(part, "weights", None), "unit", ""))


def _measured(expression: Expression) -> bool:
    """Whether it gives units to numbers."""
    return any(isinstance(node, Number) and node.unit for node in walk(expression))


def _expressions(part: CellType | PlasticityRule) -> Iterable[Expression]:
    yield from (p.formula for p in part.parameters if p.formula)
    yield from (s.initial for s in part.states)
    if isinstance(part, PlasticityRule):
        yield from (*part.expressions, *part.optimiser.arguments, part.deliver)
    else:
        yield from (e.expression for e in part.equations)


class _Reader:
    """Units of expressions of one cell or rule. `named`: its quantities."""

    def __init__(self, owner: str):
        self.owner, self.where, self.strict = owner, owner, False
        self.solver, self.named = Solver(), dict[str, Unit]()
        self.problems: list[CortexError] = []
        self.spoken: dict[str, str] = {}
        self._count = count()

    def any_unit(self) -> Unit:
        return {Variable(self.owner, next(self._count)): Fraction(1)}

    def of_name(self, name: str) -> Unit:
        if name.startswith("gate."):
            return ONE
        if name == WEIGHT_SUM:
            return self.of_name("w")
        return self.named.setdefault(name, {Variable(self.owner, name): Fraction(1)})

    def value(self, name: str) -> Unit:
        return self.solver.value(self.of_name(name))

    def equate(self, first: Unit, second: Unit, says: str, hint: str = "") -> None:
        """E267, where the units differ; `says` has {0} and {1} for them."""
        if not self.solver.equate(first, second):
            self.problems.append(mismatch(self.where, says, self.solver.value(first), self.solver.value(second), hint))

    def says(self, expression: Expression) -> str:
        """As it was written, before a threshold made equations of it."""
        return shown(show(rename(expression, self.spoken)))

    def whole(self, expression: Expression) -> Unit:
        """Of one side of an equation."""
        self.strict = _measured(expression)
        return self.of(expression, beside=is_number(expression))

    def same(self, expressions: Iterable[Expression], within: Expression) -> Unit:
        """The one unit of several values."""
        first, *others = expressions
        result = self.of(first, beside=True)
        for other in others:
            self.equate(result, self.of(other, beside=True),
                        f"in {self.says(within)}, {self.says(first)} is {{0}} and {self.says(other)} is {{1}}")
        return result

    def plain(self, expression: Expression, within: Expression) -> Unit:
        """The unit of a plain number, which the value must be."""
        self.equate(self.of(expression, beside=is_number(expression)), ONE,
                    f"{self.says(within)} takes a plain number, and {self.says(expression)} is {{0}}",
                    "Divide by a quantity of that unit first.")
        return ONE

    def of(self, expression: Expression, beside: bool = False) -> Unit:
        """`beside`: whether a number that stands here takes the unit of its neighbour."""
        if is_number(expression):
            return self._of_number(expression, beside)
        match expression:
            case Number(_, text):
                return unit(text)
            case Name(name) | Prev(name):
                return self.of_name(name)
            case Negate(operand):
                return self.of(operand, beside)
            case Binary("*" | "/" as operator, left, right):
                return times(self.of(left), self.of(right), 1 if operator == "*" else -1)
            case Binary("+" | "-", left, right):
                return self.same((left, right), expression)
            case Binary("and" | "or", left, right):
                for operand in (left, right):
                    self.of(operand, True)
                return ONE
            case Binary(_, left, right):
                self.same((left, right), expression)
                return ONE
            case Where(condition, then, otherwise):
                self.of(condition, True)
                if is_number(then) and is_number(otherwise):
                    return self._of_number(expression, beside)
                return self.same((then, otherwise), expression)
            case Call(function, arguments):
                return self._of_call(expression, function, arguments)
        for child in children(expression):
            self.of(child, True)
        return self.any_unit()

    def _of_number(self, expression: Expression, beside: bool) -> Unit:
        return ONE if self.strict and not beside and not _is_zero(expression) else self.any_unit()

    def _of_call(self, call: Expression, function: str, arguments: tuple[Expression, ...]) -> Unit:
        if function in SAME:
            return self.same(arguments, call)
        if function in FIRST or function == "pow":
            result = self.of(arguments[0])
            for argument in arguments[1:]:
                self.plain(argument, call)
            return result if function in FIRST else self._power(result, arguments[1])
        if function == "sqrt":
            return times(ONE, self.of(arguments[0]), Fraction(1, 2))
        if function in SLOPES:
            self.of(arguments[0], True)
            return ONE
        for argument in arguments:
            self.plain(argument, call)
        return ONE

    def _power(self, base: Unit, exponent: Expression) -> Unit:
        """Where the exponent is no number, any unit, of what has one."""
        power = evaluate_scalar(exponent, {}) if is_number(exponent) else math.nan
        if math.isfinite(power):
            return times({}, base, Fraction(power).limit_denominator(10**6))
        return self.any_unit() if self.solver.value(base) else ONE

    def declare(self, parameters: Iterable[Parameter], units: Iterable[tuple[str, str]], known: set[str],
                noise: Iterable[str]) -> None:
        self.named |= {"dt": MS, **{p.name: unit(p.unit) for p in parameters if p.unit}}
        self.named |= {name: ONE for name in noise}
        for name, text in units:
            if name not in known:
                self.problems.append(unknown("E268", f"quantity with unit {text} of {self.owner}", name, known))
            self.named[name] = unit(text)

    def formulas(self, parameters: Iterable[Parameter], states: Iterable[State]) -> None:
        for p in (p for p in parameters if p.formula):
            self.where = f"parameter '{p.name}' of {self.owner}"
            self.defined(p.name, p.formula)
        for state in states:
            self.where = f"the initial value of '{state.name}' of {self.owner}"
            self.defined(state.name, state.initial)

    def defined(self, name: str, value: Expression | None, per: Unit = ONE) -> None:
        """The value of a quantity, or of its derivative."""
        if value is not None:
            left = times(self.of_name(name), per, -1)
            self.equate(left, self.whole(value), "the left side is {0}, the right side is {1}")

    def begins(self, e: Equation) -> None:
        self.where = f"where 'd{e.name}/dt' goes on from, of {self.owner}"
        self.defined(e.name, e.start)
        if isinstance(e.start, Prev):
            self.spoken |= {e.name: e.start.name, f"{e.start.name}_before": e.start.name}

    def equation(self, e: Equation) -> None:
        written = self.spoken.get(e.name, e.name)
        self.where = f"equation '{f'd{written}/dt' if e.derivative else e.name}' of {self.owner}"
        self.defined(e.name, e.expression, MS if e.derivative else ONE)


class _Cell(_Reader):
    def __init__(self, cell: CellType):
        super().__init__(f"cell '{cell.name}'")
        if not _says_units(cell):
            return
        known = {*(p.name for p in cell.ports), *cell.inputs, *(e.name for e in cell.equations)}
        self.named |= {SPIKE: ONE} if SPIKE in cell.late else {}
        self.declare(cell.parameters, cell.units, known, [name for name, _ in cell.noise])
        self.formulas(cell.parameters, cell.states)
        for e in cell.equations:
            self.begins(e)
        for e in cell.equations:
            self.equation(e)


class _Rule(_Reader):
    """Also of `w`, and of what the rule reads of its two cells."""

    def __init__(self, rule: PlasticityRule):
        super().__init__(f"rule '{rule.name}'")
        self.shapes, self.delivered = rule.shapes, self.any_unit()
        if not _says_units(rule):
            return
        self.declare(rule.parameters, rule.units, {s.name for s in rule.states}, [name for name, _ in rule.noise])
        self.formulas(rule.parameters, rule.states)
        for e in rule.updates:
            self.equation(e)
        self.where = f"the increment of {self.owner}"
        increment = self.whole(rule.increment)
        if rule.optimiser.kind != "adam":
            self.equate(self.of_name("w"), increment, "the weight is {0}, the increment is {1}")
        self._optimiser(rule, increment)
        self.where = f"what {self.owner} delivers"
        self.delivered = self.whole(rule.deliver)

    def _optimiser(self, rule: PlasticityRule, increment: Unit) -> None:
        self.where = f"the optimiser of {self.owner}"
        wanted = {"norm": self.of_name("w"), "epsilon": increment}
        if rule.optimiser.kind == "adam":
            wanted["rate"] = self.of_name("w")
        for name, value in zip(rule.optimiser.traits.arguments, rule.optimiser.arguments, strict=False):
            self.equate(self.whole(value), wanted.get(name, ONE),
                        f"{name} {shown(show(value))} is {{0}}, and must be {{1}}")

    @property
    def outside(self) -> list[str]:
        """What the rule reads of its projection."""
        return [name for name in self.named if name == "w" or name.startswith(("pre.", "post."))]


class _Circuit:
    """Every population has units of its own where its cell leaves them open, and so has every projection."""

    def __init__(self, graph: Graph, solver: Solver, cells: Mapping[str, _Cell], rules: Mapping[str, _Rule]):
        self.graph, self.solver, self.cells, self.rules = graph, solver, cells, rules

    def of(self, population: str, name: str) -> Unit:
        return _owned(self.cells[self.graph.population(population).cell].value(name), population)

    def weight(self, q: Projection) -> Unit:
        return {Variable(q.name, "w"): Fraction(1)}

    def given(self) -> Problems:
        """Values of instances."""
        parts: list[tuple[str, Population | Projection, _Reader]] = [
            (f"population '{p.name}'", p, self.cells[p.cell]) for p in self.graph.populations]
        parts += [(f"projection '{q.name}'", q, self.rules[rule.name]) for q in self.graph.projections
                  if (rule := self.graph.rule_of(q))]
        for who, part, reader in parts:
            for name, text in part.units:
                yield from self._equal(who, f"'{name}' is given in {{1}}, and {reader.owner} has it in {{0}}",
                                       _owned(reader.value(name), part.name), unit(text))

    def joined(self, q: Projection) -> Problems:
        """The weight, what arrives, and what the rule reads."""
        synapse, who = self.graph.class_of(q.name), f"projection '{q.name}'"
        if not synapse.kind.weighted:
            self.solver.equate(self.weight(q), ONE)
        for text in filter(None, (synapse.weight, q.weights.unit if q.weights else "")):
            yield from self._equal(who, "its weights are {1}, and elsewhere {0}", self.weight(q), unit(text))
        rule = self.rules[synapse.rule] if synapse.rule else None
        shaped = rule if rule and rule.shapes else None
        passed = _owned(shaped.solver.value(shaped.delivered), q.name) if shaped else self.weight(q)
        arrives = times(passed, self.of(q.pre, synapse.message))
        for name in rule.outside if rule else ():
            side, _, quantity = name.partition(".")
            known = self.weight(q) if name == "w" else self.of(q.pre if side == "pre" else q.post, quantity)
            yield from self._equal(f"rule '{synapse.rule}' of {who}", f"it takes '{name}' to be {{1}}, which is {{0}}",
                                   known, _owned(rule.value(name), q.name) if rule else ONE)
        what = "what the rule delivers" if shaped else "weight"
        yield from self._equal(who, f"port '{synapse.port}' is {{0}}, and {what} * '{synapse.message}' is {{1}}",
                               self.of(q.post, synapse.port), arrives)

    def copied(self, mirror: Mirror) -> Problems:
        if all(word.partition(":")[0] in KEPT for word in mirror.operations):
            target, source = (self.weight(self.graph.projection(name)) for name in (mirror.target, mirror.source))
            yield from self._equal(f"mirror '{mirror.target}' of '{mirror.source}'",
                                   "the target's weights are {0}, the source's {1}", target, source)

    def _equal(self, who: str, says: str, first: Unit, second: Unit) -> Problems:
        if not self.solver.equate(first, second):
            yield mismatch(who, says, self.solver.value(first), self.solver.value(second))


def _owned(given: Unit, owner: str) -> Unit:
    """With variables of an owner of its own."""
    return {key if isinstance(key, str) else Variable(owner, f"{key.owner} {key.name}"): power
            for key, power in given.items()}


def mismatch(who: str, says: str, first: Unit, second: Unit, hint: str = "") -> CortexError:
    """E267 with both sides, and the factor between them where they differ in scale alone."""
    factor = factor_between(first, second)
    apart = "" if factor is None else f"; they differ by a factor of {float(factor):g}"
    scaled = ("Numbers are taken as they are: write both in one system, such as pA and pF, mV and ms, or nA and nF, or "
              "multiply by a number such as 1000 pA/nA.")
    return CortexError("E267", f"{who}: {says.format(shown_unit(first), shown_unit(second))}{apart}.",
                       hint if factor is None else scaled)


def is_number(expression: Expression) -> bool:
    """Whether it has numbers without a unit alone."""
    if isinstance(expression, Number):
        return not expression.unit
    below = children(expression)
    return bool(below) and all(map(is_number, below))


def _is_zero(expression: Expression) -> bool:
    match expression:
        case Where(_, then, otherwise):
            return _is_zero(then) and _is_zero(otherwise)
        case Negate(operand):
            return _is_zero(operand)
    return isinstance(expression, Number) and expression.value == 0
