"""A learning rule as polynomials: what every variable of a synapse gains in a step, over what is at the synapse.

    update e = 0.75 * prev(e) + pre.x * post.spike       e: -0.25 e + 0.5 T(0.875, s) y    s the message, y `post.spike`
    increment eta * post.reward * e                      w: eta `post.reward` (new e)

Atoms: `("pre", atom)` of `quantities`, `("post", text)` what the postsynaptic cell or the protocol gives, as the rule
writes it, `("syn", name)` the weight or a state as the last step left them, `("new", name)` a state of this step.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

from cortexc.compiler.ir import Binary, Expression, Graph, Name, Negate, Number, Prev, Projection, Where, show
from cortexc.compiler.ir.expressions import WEIGHT_SUM, depth_of, leaves, reads, rename, transform
from cortexc.compiler.ir.schedule import message_depth, reached
from cortexc.compiler.passes.fold import constant as literal_value
from cortexc.compiler.passes.normal_form import ZERO, Atom, Polynomial, of_atom, replaced
from cortexc.compiler.passes.quantities import Algebra, Quantities, aligned
from cortexc.compiler.passes.ranges import value_ranges

SUM = "the optimiser's sum"


class NoProduct(Exception):
    """A part of a rule that is no sum of products: says why."""


def side_of(name: str) -> str:
    side, dot, _ = name.partition(".")
    return "syn" if not dot else {"gate": "post"}.get(side, side)


def sides(expression: Expression) -> set[str]:
    return {side_of(name) for name in reads(expression)}


class _RuleAlgebra(Algebra):
    plain: tuple[str, ...] = ("pre", "post", "syn", "new")

    def __init__(self, look: Callable[[Name | Prev], Polynomial], pre: Quantities):
        super().__init__(look, lambda atom: atom[0] == "pre" and pre.is_binary(atom[1]))
        self.given: dict[str, Expression] = {}

    def of(self, expression: Expression) -> Polynomial:
        match expression:
            case Name() | Prev() | Number() | Negate() | Binary("+" | "-" | "*"):
                return super().of(expression)
            case Binary("/", left, right) if sides(right) == {"post"}:
                return self.of(left) * self.from_post(Number(1.0) / right)
        scaled = isinstance(expression, Binary) and expression.operator == "/" and (
            literal_value(expression.right) is not None)
        if sides(expression) == {"post"} and not scaled:
            return self.from_post(expression)
        if isinstance(expression, Where) and sides(expression.condition) == {"post"}:
            chosen = self.from_post(Where(expression.condition, Number(1.0), Number(0.0)))
            then, otherwise = self.of(expression.then), self.of(expression.otherwise)
            return otherwise + chosen * (then - otherwise)
        try:
            return super().of(expression)
        except _Unknown:
            both = len(sides(expression)) > 1
            raise NoProduct(f"'{show(expression)}' " + (
                "mixes both sides in one factor, which is no sum of products" if both else
                "is neither a trace nor a variable of the synapse")) from None

    def from_post(self, expression: Expression) -> Polynomial:
        """What the postsynaptic cell can compute as a whole."""
        text = show(expression)
        self.given[text] = expression
        return of_atom(("post", text))

    def leaf(self, structure: tuple[Any, ...]) -> Atom:
        raise _Unknown


class _Unknown(ArithmeticError):
    """A structure that is no polynomial."""


class RuleTerms:
    """One projection of a graph with numbers for parameters. Raises NoProduct."""

    def __init__(self, graph: Graph, q: Projection):
        rule = graph.rule_of(q)
        assert rule is not None
        self.graph, self.projection, self.rule = graph, q, rule
        if rule.sums_weights:
            raise NoProduct(f"'{WEIGHT_SUM}' is computed nowhere on a chip")
        if rule.shapes:
            raise NoProduct(f"'{show(rule.deliver)}' is delivered in the place of the weight")
        self.message = graph.class_of(q.name).message
        self.pre = Quantities(value_ranges(graph, q.pre), self.message)
        self.post = Quantities(value_ranges(graph, q.post))
        self.algebra = _RuleAlgebra(self._look, self.pre)
        self.states = {s.name: s for s in rule.states}
        self.changes: dict[str, Polynomial] = {}
        self._news: dict[str, Polynomial] = {}
        self._updates: dict[str, Polynomial] = {}
        for state in self.states:
            self.changes[state] = self.new(state) - of_atom(("syn", state))
        self.increment = self._kept_only(self.algebra.of(rule.increment))
        self.applied = ""
        self._optimised()

    @property
    def arrival(self) -> int:
        """Steps from when the message is computed to when it arrives."""
        return message_depth(self.graph, self.projection)

    @property
    def binary(self) -> bool:
        """Whether the message is 0 or 1."""
        return self.pre.ranges.is_binary(self.message)

    def _look(self, node: Name | Prev) -> Polynomial:
        side, depth = side_of(node.name), depth_of(node)
        if side == "pre":
            return _presynaptic(self.pre.of(without_side(node)))
        if side == "post":
            return self.algebra.from_post(node)
        if side == "arrived":
            raise NoProduct(f"'{show(node)}' is what the presynaptic cell had when the message left")
        if node.name in dict(self.rule.noise):
            raise NoProduct(f"'{node.name}' is drawn at random at the synapse")
        if node.name == "w" and not depth or node.name in self.states and depth == 1:
            return of_atom(("syn", node.name))
        if node.name in self.states and not depth:
            return of_atom(("new", node.name))
        raise NoProduct(f"'{show(node)}' is kept nowhere at the synapse")

    def new(self, state: str) -> Polynomial:
        """A state of this step over the last step's variables."""
        if state not in self._news:
            self._news[state] = of_atom(("syn", state))
            update = next((u for u in self.rule.updates if u.name == state), None)
            if update:
                self._updates[state] = self.algebra.of(update.expression)
                self._news[state] = self.substituted(self._updates[state])
        return self._news[state]

    def _kept_only(self, increment: Polynomial) -> Polynomial:
        """The increment without states of which no earlier value is read: these are names for what is computed."""
        increment = replaced(increment, self._spelled_out)
        needed = reached({a[1] for m, _ in increment for a in m if a[0] in ("syn", "new")}, lambda name: [
            s for s in self.states if name in self.states and _reads(self.new(name), s)])
        self.changes = {s: change for s, change in self.changes.items() if s in needed}
        return increment

    def _spelled_out(self, atom: Atom) -> Polynomial | None:
        """What a state that keeps nothing stands for."""
        if atom[0] != "new" or _reads(self.new(atom[1]), atom[1]):
            return None
        return replaced(self._updates[atom[1]], self._spelled_out)

    def substituted(self, polynomial: Polynomial) -> Polynomial:
        """Over variables as the last step left them."""
        return replaced(polynomial, lambda a: self.new(a[1]) if a[0] == "new" else None)

    def _optimised(self) -> None:
        """What an optimiser keeps is a state like the rule's own."""
        kind, sum_ = self.rule.optimiser.kind, of_atom(("syn", SUM))
        if kind == "low_pass":
            rate = Fraction(literal_value(self.rule.optimiser.arguments[0]) or 0.0)
            self.changes[SUM] = (self.substituted(self.increment) - sum_) * rate
            self._news[SUM] = sum_ + self.changes[SUM]
            self.increment = of_atom(("new", SUM))
        elif kind != "none" and (self.projection.apply or self.projection.gate) and (
                self.projection.apply != self.projection.gate):
            self.changes[SUM] = self.substituted(self.increment)
            self.increment, self.applied = ZERO, self.projection.apply or self.projection.gate or ""

    # ---- the postsynaptic side

    def expression(self, text: str) -> Expression:
        """What the rule writes of the postsynaptic side."""
        return self.algebra.given[text]

    def of_post(self, polynomial: Polynomial) -> Polynomial:
        """Over leaves of the postsynaptic cell."""
        found = replaced(polynomial, lambda a: self.post.of(without_side(self.expression(a[1]))))
        return self.post.algebra.tidy(found)

    def delayed(self, polynomial: Polynomial) -> Polynomial:
        """With what the postsynaptic cell gave in the step before."""
        return replaced(polynomial, lambda a: self.algebra.from_post(_earlier(self.expression(a[1])))
                        if a[0] == "post" else None)

    # ---- the presynaptic side

    @property
    def leaf(self) -> tuple[str, int, Fraction]:
        """The message as a leaf: name, steps ago, factor."""
        (((_, name, depth),), factor), = self.pre.of(Name(self.message))
        return name, depth, factor

    def aligned(self, polynomial: Polynomial, here: int) -> Polynomial:
        """With traces as they are when the message of so many steps ago has arrived."""
        return replaced(polynomial, lambda a: _presynaptic(aligned(of_atom(a[1]), here, self.leaf[0]))
                        if a[0] == "pre" else None)

    def presynaptic_reads(self) -> list[Name | Prev]:
        """Of the presynaptic cell, each once."""
        increment, *updates = self.rule.expressions
        return [*dict.fromkeys(n for e in (*updates, increment) for n in leaves(e) if side_of(n.name) == "pre")]


def _presynaptic(found: Polynomial) -> Polynomial:
    return Polynomial((tuple(("pre", a) for a in m), c) for m, c in found)


def _reads(polynomial: Polynomial, state: str) -> bool:
    """Whether it reads what the last step left of a state."""
    return any(a == ("syn", state) for m, _ in polynomial for a in m)


def without_side(expression: Expression) -> Expression:
    """As the cell names it."""
    return rename(expression, {n: n.split(".", 1)[1] for n in reads(expression) if n.startswith(("pre.", "post."))})


def _earlier(expression: Expression) -> Expression:
    """One step earlier."""
    return transform(expression, lambda n: Prev(n.name, depth_of(n) + 1) if isinstance(n, Name | Prev) else n)
