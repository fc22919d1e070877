"""name-products: equations in the form that fixed point takes: one coefficient, at most two quantities, or a table.

before    receive error = sensitivity * apical * gain / width        receive rate = logistic(a * u + v)
after     receive error_1 = sensitivity * apical                     receive rate_1 = a * u + v
          receive error = 1.6 * error_1                              receive rate = logistic(rate_1)

Constants of a product become one number of so many significant bits. A product of quantities within a larger
expression is stored on the way, as a register of the cell would be. A function that has no exact fixed-point form
stands alone, over one quantity. Equal algebraically, up to the rounding of the constants.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import ClassVar

from cortexc.compiler.ir import CellType, CortexError, Equation, Expression, Graph, PlasticityRule, show
from cortexc.compiler.ir.expressions import (
    Binary,
    Call,
    Name,
    Negate,
    Number,
    Prev,
    Where,
    children,
    leaves,
    names,
    reads,
    rebuild,
    substitute,
    transform,
)
from cortexc.compiler.ir.schedule import settled
from cortexc.compiler.passes.base import Request
from cortexc.compiler.passes.fixed_point import COMPARISONS, is_nonlinear, rounded_constant
from cortexc.compiler.passes.fold import constant, literal, simplify
from cortexc.compiler.passes.rewriting import product
from cortexc.compiler.passes.specialise import specialised


@dataclass(frozen=True)
class NameProducts:
    """`significant`: bits of a constant."""

    significant: int = 12
    name: ClassVar[str] = "name-products"
    fidelity: ClassVar[str] = "rounded"

    def apply(self, graph: Graph, request: Request) -> Graph:
        graph = specialised(graph)
        used = _read_from_outside(graph) | {name.split(".")[-1] for name in request.observed}
        cells = tuple(_Cell(cell, self.significant, used).result() for cell in graph.cells)
        rules = tuple(_rule(rule, self.significant) for rule in graph.rules)
        return graph.with_(cells=cells, rules=rules)


def _read_from_outside(graph: Graph) -> frozenset[str]:
    """Names of quantities that a message, a rule or an output reads."""
    rules = {name.split(".")[-1] for rule in graph.rules for name in rule.read}
    return frozenset(rules | {m for c in graph.cells for m in c.messages} | {q.split(".")[1] for _, q in graph.outputs})


def quantities(expression: Expression) -> set[Name | Prev]:
    """What an expression reads, gates included."""
    return set(leaves(expression))


def is_table(expression: Expression) -> bool:
    """Whether it is a function of one quantity that has no exact form."""
    return is_nonlinear(expression) and len(quantities(expression)) == 1


def without_division(expression: Expression) -> Expression:
    """x / c as x * (1 / c)."""
    def change(node: Expression) -> Expression:
        if isinstance(node, Binary) and node.operator == "/" and (value := constant(node.right)):
            return node.left * literal(1 / value)
        return node

    return simplify(transform(expression, change))


@dataclass
class _Cell:
    """One cell type on its way."""

    cell: CellType
    significant: int
    used: frozenset[str]
    equations: list[Equation] = field(default_factory=list)
    current: Equation = field(init=False)
    count: int = 0

    def result(self) -> CellType:
        states = {s.name for s in self.cell.states}
        functions = {e.name: e.expression for e in self.cell.equations
                     if e.name not in states and is_table(e.expression)}
        for equation in self.cell.equations:
            self.current, self.count = equation, 0
            expression = without_division(_merged(equation.expression, functions))
            if is_table(expression):
                expression = self._over_stored(expression)
            else:
                expression = self._unwrapped(self._normal(self._pieces(expression)))
            self.equations.append(replace(equation, expression=expression))
        return replace(self.cell, equations=tuple(_live(self.cell, self.equations, self.used)))

    def _unwrapped(self, expression: Expression) -> Expression:
        """An equation that is a product and nothing else needs no second name."""
        if isinstance(expression, Name) and self.equations and self.equations[-1].name == expression.name and \
                expression.name.startswith(f"{self.current.name}_"):
            return self.equations.pop().expression
        return expression

    def _name(self, expression: Expression) -> Expression:
        """A quantity of its own for a part of the present equation."""
        for e in self.equations:
            if e.expression == expression and e.stage == self.current.stage:
                return Name(e.name)
        self.count += 1
        name = f"{self.current.name}_{self.count}"
        self.equations.append(replace(self.current, name=name, expression=expression))
        return Name(name)

    def _pieces(self, expression: Expression) -> Expression:
        """Names the parts that become tables."""
        if not is_nonlinear(expression):
            return expression
        if is_table(expression):
            return self._name(self._over_stored(expression))
        match expression:
            case Call(function, (argument,)) if is_nonlinear(Call(function, (Name("x"),))):
                return self._name(Call(function, (self._quantity(argument),)))
            case Binary("/", left, right):
                inverse = self._name(Number(1.0) / self._quantity(right))
                return self._pieces(left) * inverse
            case Call(function) if is_nonlinear(Call(function, (Name("x"),) * len(children(expression)))):
                raise CortexError("E611", f"cell '{self.cell.name}': '{show(expression)}' is a function of more than "
                                          "one quantity and has no fixed-point form.", "Rewrite it with functions "
                                  "of one quantity.")
        return rebuild(expression, tuple(map(self._pieces, children(expression))))

    def _over_stored(self, expression: Expression) -> Expression:
        """A function of a port is one of what the port's sum is when it has been stored."""
        (node,) = quantities(expression)
        if isinstance(node, Name) and self._reads_port(node):
            return substitute(expression, {node.name: self._name(node)})
        return expression

    def _quantity(self, expression: Expression) -> Expression:
        inner = self._normal(self._pieces(expression))
        return inner if isinstance(inner, Name | Prev) and not self._reads_port(inner) else self._name(inner)

    # ---- products

    def _normal(self, expression: Expression) -> Expression:
        return normal(expression, self.significant, self._stored)

    def _stored(self, coefficient: float, factors: list[Expression]) -> list[Expression]:
        """The coefficient and one quantity; products of quantities are stored first."""
        wide = [f for f in factors if not all(map(self._is_truth, leaves(f)))]
        if len(wide) > 1:
            stored = {id(f): self._name(f) for f in wide if self._reads_port(f)}
            factors, wide = ([stored.get(id(f), f) for f in part] for part in (factors, wide))
        while len(wide) > 1:
            stored_product = self._name(wide[0] * wide[1])
            factors = [stored_product, *(f for f in factors if f is not wide[0] and f is not wide[1])]
            wide = [stored_product, *wide[2:]]
        return factors

    def _reads_port(self, expression: Expression) -> bool:
        """Whether it is wider than any stored quantity."""
        return not names(expression).isdisjoint(port.name for port in self.cell.ports)

    def _is_truth(self, node: Name | Prev) -> bool:
        """Whether it is a gate or a truth value."""
        equation = self.cell.equation(node.name)
        return node.name.startswith("gate.") or (equation is not None and _is_truth(equation.expression))


def _is_truth(expression: Expression) -> bool:
    match expression:
        case Binary(operator):
            return operator in COMPARISONS
        case Where(_, then, otherwise):
            return all(constant(e) in (0, 1) for e in (then, otherwise))
    return False


def _merged(expression: Expression, functions: dict[str, Expression]) -> Expression:
    """A function of a function of one quantity as one function."""
    found = quantities(expression)
    while is_nonlinear(expression) and len(found) == 1 and (only := next(iter(found))) and isinstance(only, Name) \
            and only.name in functions:
        expression = substitute(expression, {only.name: functions[only.name]})
        found = quantities(expression)
    return expression


def _live(cell: CellType, equations: list[Equation], used: frozenset[str]) -> list[Equation]:
    """Without inner quantities that nothing reads any more."""
    before, states = {e.name: e for e in cell.equations}, {s.name for s in cell.states}

    def kept(equations: list[Equation]) -> list[Equation]:
        read = states.union(used, *(reads(e.expression) for e in equations))
        return [e for e in equations if e.name in read or not is_table(before.get(e.name, e).expression)]

    return settled(equations, kept)


def normal(expression: Expression, significant: int, stored: object = None) -> Expression:
    """Sums of products with one rounded coefficient each. `stored(coefficient, factors)` may store parts."""
    if isinstance(expression, Number):
        return literal(rounded_constant(expression.value, significant))
    coefficient, factors = _factors(expression)
    match factors:
        case []:
            return literal(rounded_constant(coefficient, significant))
        case [Binary("+" | "-" as operator, left, right)]:
            terms = (normal(literal(coefficient) * e, significant, stored) for e in (left, right))
            return Binary(operator, *terms)
    factors = [_inside(factor, significant, stored) for factor in factors]
    coefficient = rounded_constant(coefficient, significant)
    whole = product(stored(coefficient, factors) if callable(stored) else factors)
    if coefficient == 1:
        return whole
    return -whole if coefficient == -1 else literal(coefficient) * whole


def _inside(expression: Expression, significant: int, stored: object) -> Expression:
    inner = tuple(normal(child, significant, stored) for child in children(expression))
    return rebuild(expression, inner) if inner else expression


def _factors(expression: Expression) -> tuple[float, list[Expression]]:
    """The constant and the other factors of a product."""
    value = constant(expression)
    if value is not None:
        return value, []
    match expression:
        case Negate(operand):
            coefficient, factors = _factors(operand)
            return -coefficient, factors
        case Binary("*", left, right):
            (a, left_factors), (b, right_factors) = (_factors(e) for e in (left, right))
            return a * b, left_factors + right_factors
    return 1.0, [expression]


def _rule(rule: PlasticityRule, significant: int) -> PlasticityRule:
    for e in (*rule.expressions, *rule.optimiser.arguments):
        if is_nonlinear(without_division(e)):
            raise CortexError("E611", f"rule '{rule.name}': '{show(e)}' has no fixed-point form at a synapse.",
                              "Let the cell compute it and offer it as a factor.")
    updates = tuple(replace(u, expression=without_division(u.expression)) for u in rule.updates)
    return replace(rule, increment=without_division(rule.increment), updates=updates)
