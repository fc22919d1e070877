"""legalise: learning rules in the form of a chip's learning engine, or as near to it as they come.

before    increment 0.01 * gate.rate * post.error * pre.psc      optimiser accumulate, apply gate `apply`
after     increment 0.009765625 * post.credit_W * pre.psc        gate apply   (where the input is held)
          factor credit_W = where(gate.start > 0, 0, prev(credit_W)) + gate.rate * error * kernel_W

The engine of Loihi computes, per synapse, z := z + sum of products, z the weight or a tag: a power of two (times a
small mantissa), the presynaptic trace x, postsynaptic factors y and the synapse's own variables (Davies et al. 2018,
equation 4; specs/hardware.md 2.1, 2.2). What the neuron can compute belongs into y: constants, gates, other
postsynaptic factors; what keeps one side alone is a trace of that cell (`traces_in_cells`). Sums over a presentation
are kept in a tag or, where the input is held, in the neuron. What stays illegal, and why, is in the reports of
`cortexc.compiler.passes.legality`.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from cortexc.compiler.ir import (
    CellType,
    CortexError,
    Equation,
    Expression,
    Graph,
    Optimiser,
    PlasticityRule,
    Projection,
    State,
    show,
)
from cortexc.compiler.ir.expressions import Binary, Name, Negate, Number, Prev, Where, reads, rename, substitute, walk
from cortexc.compiler.ir.schedule import settled
from cortexc.compiler.passes.base import Request
from cortexc.compiler.passes.engine_limits import Limits, has_engine, nearest_scale
from cortexc.compiler.passes.engine_text import verdict
from cortexc.compiler.passes.fold import constant, literal, simplify
from cortexc.compiler.passes.held_forms import held_input
from cortexc.compiler.passes.name_products import without_division
from cortexc.compiler.passes.normal_form import TooManyTerms
from cortexc.compiler.passes.rewriting import exchanged, product, rule_with, total
from cortexc.compiler.passes.rule_terms import NoProduct, RuleTerms
from cortexc.compiler.passes.specialise import specialised
from cortexc.hardware_maps import HardwareMap, MapError, load_map

MOST_PRODUCTS = 50
"""Of an increment: no engine has near as many, and a sum of more is deeper than an expression may be."""
CREDIT = ("held", "settled", "never")
"""Where the neuron sums its factor for a synapse that learns once a presentation: for inputs that are held (equal
algebraically); for all, as if rates had settled (the synapse takes the last one); or nowhere."""


@dataclass(frozen=True)
class Term:
    """One product of an increment: a number, and factors of the pre- and postsynaptic cell, the synapse, the
    protocol."""

    scale: float
    pre: tuple[Expression, ...] = ()
    post: tuple[Expression, ...] = ()
    synapse: tuple[Expression, ...] = ()

    def times(self, other: Term) -> Term:
        return Term(self.scale * other.scale, self.pre + other.pre, self.post + other.post,
                    self.synapse + other.synapse)

    @property
    def expression(self) -> Expression:
        return simplify(product((literal(self.scale), *self.post, *self.pre, *self.synapse)))


def expanded(expression: Expression) -> list[Term]:
    """An increment as a sum of products; gates go with the postsynaptic side. Raises ValueError for what is none."""
    value = constant(expression)
    if value is not None:
        return [Term(value)]
    match expression:
        case Negate(operand):
            return [replace(t, scale=-t.scale) for t in expanded(operand)]
        case Binary("+", left, right):
            return expanded(left) + expanded(right)
        case Binary("-", left, right):
            return expanded(left) + expanded(Negate(right))
        case Binary("*", left, right):
            return _times(expanded(left), expanded(right))
        case Where(condition, then, otherwise) if _side(condition) == "post":
            on, off = (Term(1.0, post=(Where(condition, Number(a), Number(b)),)) for a, b in ((1.0, 0.0), (0.0, 1.0)))
            return [*(on.times(t) for t in expanded(then)), *(off.times(t) for t in expanded(otherwise) if t.scale)]
    side = _side(expression)
    if side not in ("pre", "post", "synapse"):
        raise ValueError(show(expression))
    return [Term(1.0, **{side: (expression,)})]


def _times(left: list[Term], right: list[Term]) -> list[Term]:
    if len(left) * len(right) > MOST_PRODUCTS:
        raise TooManyTerms(MOST_PRODUCTS)
    return [a.times(b) for a in left for b in right]


def _side(expression: Expression) -> str | None:
    """Where an expression can be computed; None if nowhere as a whole."""
    sides = {name.split(".")[0] if "." in name else "synapse" for name in reads(expression)}
    sides = {"post" if side == "gate" else side for side in sides}
    return next(iter(sides)) if len(sides) == 1 else ("post" if not sides else None)


# ---- the nearest legal rule


@dataclass(frozen=True)
class Legalise:
    """`map`: a shipped map's name or the path of one; `credit`: one of `CREDIT`."""

    map: str
    credit: str = "held"
    name: ClassVar[str] = "legalise"
    fidelity: ClassVar[str] = "other"

    def apply(self, graph: Graph, request: Request) -> Graph:
        return legalised(graph, the_map(self.map), self.credit)


def the_map(name: str) -> HardwareMap:
    """Raises the map's own errors with their codes."""
    try:
        return load_map(name)
    except MapError as error:
        raise CortexError(error.code, error.message, error.hint) from None


def legalised(graph: Graph, hardware: HardwareMap, credit: str = "held") -> Graph:
    """Every rule as near as it comes to the map's form; what stays illegal is in the reports."""
    graph = specialised(graph)
    if not has_engine(hardware):
        return graph
    for q in graph.projections:
        rule = graph.rule_of(q)
        if rule and not (rule.sums_weights or rule.shapes or rule.arrivals):
            moved = _rounded(traces_in_cells(graph, q), q, credit, hardware)
            kept = _rounded(graph, q, credit, hardware) if rule.states and not _is_legal(moved, q, hardware) else None
            graph = kept if kept and _is_legal(kept, q, hardware) else moved
    return graph


def _is_legal(graph: Graph, q: Projection, hardware: HardwareMap) -> bool:
    try:
        return not verdict(RuleTerms(graph, graph.projection(q.name)), Limits(hardware)).reasons
    except (NoProduct, TooManyTerms):
        return False


def _rounded(graph: Graph, q: Projection, credit: str, hardware: HardwareMap) -> Graph:
    """The rule with scales of the map, and with what the neuron computes as one factor."""
    rule = graph.rule_of(q)
    assert rule is not None
    rounded = replace(rule, updates=tuple(_legal_update(u, hardware) for u in rule.updates))
    graph = exchanged(graph, rule, rounded)
    kind, arguments, bits = rule.optimiser.kind, rule.optimiser.arguments, Limits(hardware).bits
    if rule.optimiser.traits.sums:
        bound = graph.arrays.get(f"{q.name}.{kind}")
        kind, arguments = "accumulate" if q.apply or q.gate or bound is not None and np.any(bound) else "none", ()
    if kind == "low_pass":
        least, wanted = hardware.value("learning.scale_exponent_low"), round(math.log2(constant(arguments[0]) or 1.0))
        arguments = (literal(2.0 ** (max(wanted, least) if isinstance(least, int | float) else wanted)),)
    try:
        terms = expanded(without_division(rule.increment))
    except ValueError:
        return graph
    graph = _with_sum(graph, q, rule.optimiser.kind, kind)
    message = f"pre.{graph.class_of(q.name).message}"
    terms = [replace(t, scale=nearest_scale(t.scale, bits)) for t in terms]
    if kind == "accumulate" and len(terms) == 1 and credit != "never" and f"{q.name}.{kind}" not in graph.arrays:
        held = held_input(graph, q)
        if held and terms[0].pre in ((Name(message),), (Prev(message, 1),)):
            return _credited(graph, q, terms[0], held[1])
        if credit == "settled" and len(terms[0].pre) == 1 and not terms[0].synapse:
            return _credited(graph, q, terms[0], None)
    for index, term in enumerate(terms):
        if len(term.post) > 1 or not all(isinstance(f, Name | Prev) and f.name.startswith("post.") for f in term.post):
            name = f"factor_{q.name}" + (f"_{index}" if index else "")
            own = _in_cell(product(term.post), "post", {})
            graph = _with_equations(graph, q.post, [Equation(name, own, "factor")], [])
            terms[index] = replace(term, post=(Name(f"post.{name}"),))
    return _with_rule(graph, q, total(t.expression for t in terms), Optimiser(kind, arguments))


def _with_sum(graph: Graph, q: Projection, old: str, kind: str) -> Graph:
    """What is bound of an optimiser, under the name of another; zeros need no array."""
    arrays = dict(graph.arrays)
    bound = arrays.pop(f"{q.name}.{old}", None)
    return graph.with_(arrays=arrays | ({} if bound is None or not np.any(bound) else {f"{q.name}.{kind}": bound}))


def _legal_update(update: Equation, hardware: HardwareMap) -> Equation:
    """The leak of a state and the scales of what it gains as m * 2**e; as it is where they are, or where it has no such
    form."""
    try:
        terms = expanded(without_division(update.expression))
    except ValueError:
        return update
    own = Term(1.0, synapse=(Prev(update.name, 1),))
    leak = 1.0 - sum(t.scale for t in terms if replace(t, scale=1.0) == own)
    bits, least = Limits(hardware).bits, hardware.value("learning.scale_exponent_low")
    near = nearest_scale(leak, bits)
    if near and isinstance(least, int | float):
        near = math.copysign(max(abs(near), 2.0**least), near)
    gains = [t for t in terms if replace(t, scale=1.0) != own]
    rounded = [replace(t, scale=nearest_scale(t.scale, bits)) for t in gains]
    if near == leak and rounded == gains:
        return update
    return replace(update, expression=total(t.expression for t in (replace(own, scale=1.0 - near), *rounded)))


def _with_rule(graph: Graph, q: Projection, increment: Expression, optimiser: Optimiser, **changes: object) -> Graph:
    rule = graph.rule_of(q)
    assert rule is not None
    graph = exchanged(graph, rule, replace(rule, increment=increment, optimiser=optimiser))
    return exchanged(graph, graph.projection(q.name), replace(q, **changes))  # type: ignore[arg-type]


def _with_equations(graph: Graph, population: str, equations: list[Equation], states: list[State]) -> Graph:
    cell = graph.cell_of(population)
    return exchanged(graph, cell, replace(cell, equations=(*cell.equations, *equations),
                                          states=(*cell.states, *states)))


def _credited(graph: Graph, q: Projection, term: Term, number: str | None) -> Graph:
    """The input is held: the neuron sums its factor times the number that all inputs share, and the synapse learns
    once, when the sum is applied."""
    credit, applied = f"credit_{q.name}", f"gate.{q.apply or q.gate}"
    own = _in_cell(product(term.post), "post", {})
    equations, states = [], [State(credit), State(f"{credit}_done")]
    if number is not None:
        cell = graph.cell_of(q.pre)
        equation, state = cell.equation(number), cell.state(number)
        assert equation is not None and state is not None
        copied = f"{number}_{q.name}"
        equations.append(Equation(copied, rename(equation.expression, {number: copied}), "factor"))
        states.append(replace(state, name=copied))
        own = own * Name(copied)
    kept = Where(Binary(">", Prev(f"{credit}_done", 1), Number(0.0)), Number(0.0), Prev(credit, 1))
    learns = Binary(">", Name(f"gate.{q.gate}"), Number(0.0))
    gained = Where(learns, own, Number(0.0)) if q.gate else own
    equations += [Equation(credit, kept + gained, "factor"),
                  Equation(f"{credit}_done", Where(Binary(">", Name(applied), Number(0.0)), Number(1.0), Number(0.0)),
                           "factor")]
    graph = _with_equations(graph, q.post, equations, states)
    increment = literal(term.scale) * Name(f"post.{credit}") * term.pre[0]
    return _with_rule(graph, q, increment, Optimiser(), gate=q.apply or q.gate, apply=None)


# ---- states of a rule that a chip keeps elsewhere than at the synapse, or nowhere


SIDES = ("pre", "post")


def traces_in_cells(graph: Graph, q: Projection) -> Graph:
    """The graph whose rule of this projection keeps nothing but tags. Every rule and cell is of one part alone.

    before    update x = 0.875 * prev(x) + pre.spike          rule reads x and gain
              update gain = x * post.error
    after     factor x_W = 0.875 * prev(x_W) + spike          of the presynaptic cell; the rule reads pre.x_W
                                                              and pre.x_W * post.error in the place of gain

    A state that reads one side of the synapse alone is a trace of that cell, which all its synapses share; one of which
    no earlier value is read is a name. What is left is a tag. Equal to the bit in real numbers.
    """
    rule = graph.rule_of(q)
    if rule is None or not rule.states:
        return graph
    graph = exchanged(graph, rule, spelled_out(rule))
    for side, population in zip(SIDES, (q.pre, q.post), strict=True):
        rule = graph.rule_of(q)
        assert rule is not None
        own = _of_side(graph, q, rule, side)
        if not own:
            continue
        named = {name: f"{name}_{q.name}" for name in own}
        cell = graph.cell_of(population)
        graph = exchanged(graph, cell, _with_traces(cell, rule, named, side))
        graph = exchanged(graph, rule, _without(rule, {name: f"{side}.{new}" for name, new in named.items()}))
    return graph


def spelled_out(rule: PlasticityRule) -> PlasticityRule:
    """Without states that are names of what is computed."""
    kept = {node.name for e in rule.expressions for node in walk(e) if isinstance(node, Prev)}
    table: dict[str, Expression] = {}
    for update in rule.updates:
        if update.name not in kept and not _reads_later(rule, update.name):
            table[update.name] = substitute(update.expression, table)
    changed = rule_with(rule, lambda e: substitute(e, table))
    return _without_states(changed, table)


def _reads_later(rule: PlasticityRule, state: str) -> bool:
    """Whether an update down to its own reads it, and so gets the value of the last step."""
    own = [u.name for u in rule.updates].index(state)
    return any(Name(state) in walk(u.expression) for u in rule.updates[:own + 1])


def _of_side(graph: Graph, q: Projection, rule: PlasticityRule, side: str) -> set[str]:
    """States that the cell of one side can keep."""
    read = {u.name: reads(u.expression) for u in rule.updates}
    some = {name for name in read if f"{q.name}.{name}" not in graph.arrays and not _reads_later(rule, name)
            and any(n.startswith(f"{side}.") for n in read[name])}
    return settled(some, lambda found: {name for name in found if all(
        n in found or n.startswith((f"{side}.", "gate.")) for n in read[name])})


def _with_traces(cell: CellType, rule: PlasticityRule, named: dict[str, str], side: str) -> CellType:
    """With the traces behind all that they read."""
    states = [replace(s, name=named[s.name]) for s in rule.states if s.name in named]
    equations = [Equation(named[u.name], _in_cell(u.expression, side, named), "factor")
                 for u in rule.updates if u.name in named]
    return replace(cell, states=(*cell.states, *states), equations=(*cell.equations, *equations))


def _in_cell(expression: Expression, side: str, named: Mapping[str, str]) -> Expression:
    """As the cell of this side names it; `named`: names of the rule's states there."""
    return rename(expression, {**named, **{n: n.removeprefix(f"{side}.") for n in reads(expression)
                                           if n.startswith(f"{side}.")}})


def _without(rule: PlasticityRule, named: dict[str, str]) -> PlasticityRule:
    changed = rule_with(rule, lambda e: rename(e, named))
    return _without_states(changed, named)


def _without_states(rule: PlasticityRule, gone: Collection[str]) -> PlasticityRule:
    return replace(rule, states=tuple(s for s in rule.states if s.name not in gone),
                   updates=tuple(u for u in rule.updates if u.name not in gone),
                   units=tuple(pair for pair in rule.units if pair[0] not in gone))
