"""legalise: learning rules in the form of a chip's learning engine, or the reason why not and the nearest legal rule.

before    increment 0.01 * gate.rate * post.error * pre.psc      optimiser accumulate, apply gate `apply`
after     increment 0.009765625 * post.credit_W * pre.psc        gate apply   (where the input is held)
          factor credit_W = where(gate.start > 0, 0, prev(credit_W)) + gate.rate * error * kernel_W

The engine of Loihi computes, per synapse, z := z + sum of products, z the weight or a tag: a power of two (times a
small mantissa), the presynaptic trace x, postsynaptic factors y and the synapse's own variables (Davies et al. 2018,
equation 4; specs/hardware.md 2.1, 2.2). What the neuron can compute belongs into y: constants, gates, other
postsynaptic factors. Sums over a presentation are kept in a tag or, where the input is held, in the neuron.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar

from compiler.ir import CellType, CortexError, Equation, Expression, Graph, Projection, show
from compiler.ir.expressions import Binary, Name, Negate, Number, Prev, Where, reads, rename
from compiler.ir.held_input import held_input
from compiler.ir.model import Optimiser, State
from compiler.passes.base import Request
from compiler.passes.fold import constant, literal, simplify
from compiler.passes.name_products import without_division
from compiler.passes.read_sets import read_sets
from compiler.passes.specialise import specialised
from hardware_maps import HardwareMap, MapError, load_map

CREDIT = ("held", "settled", "never")
"""Where the neuron sums its factor for a synapse that learns once a presentation: for inputs that are held (equal
algebraically); for all, as if rates had settled (the synapse takes the last one); or nowhere."""
MANTISSA_BITS = 3
"""Of a scale: 1 .. 7 in size."""


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
            return [a.times(b) for a in expanded(left) for b in expanded(right)]
        case Where(condition, then, otherwise) if _side(condition) == "post":
            on, off = (Term(1.0, post=(Where(condition, Number(a), Number(b)),)) for a, b in ((1.0, 0.0), (0.0, 1.0)))
            return [*(on.times(t) for t in expanded(then)), *(off.times(t) for t in expanded(otherwise) if t.scale)]
    side = _side(expression)
    if side is None:
        raise ValueError(show(expression))
    return [Term(1.0, **{side: (expression,)})]


def _side(expression: Expression) -> str | None:
    """Where an expression can be computed; None if nowhere as a whole."""
    sides = {name.split(".")[0] if "." in name else "synapse" for name in reads(expression)}
    sides = {"post" if side == "gate" else side for side in sides}
    return next(iter(sides)) if len(sides) == 1 else ("post" if not sides else None)


# ---- reports


@dataclass(frozen=True)
class RuleReport:
    """One plastic projection on one map. `form`: the rule in the engine's words, where it has them; `nearest`: that of
    the nearest legal rule, where the rule is not legal itself."""

    projection: str
    rule: str
    legal: bool
    form: str
    reasons: tuple[str, ...]
    nearest: str


def rule_reports(graph: Graph, hardware: HardwareMap, credit: str = "held") -> list[RuleReport]:
    """One per projection that learns or is overwritten by a mirror, in declaration order."""
    written, nearest = specialised(graph), legalised(graph, hardware, credit)
    result = []
    for q in graph.projections:
        mirrored = any(m.target == q.name for m in graph.mirrors)
        rule = graph.rule_of(q)
        if not rule and not mirrored:
            continue
        reasons = tuple(_reasons(written, written.projection(q.name), hardware))
        left = tuple(_reasons(nearest, nearest.projection(q.name), hardware))
        result.append(RuleReport(q.name, rule.name if rule else "mirror", not reasons,
                                 _form(written, q.name) if not reasons else "", reasons,
                                 "" if not reasons else f"none: {left[0]}" if left else _form(nearest, q.name)))
    return result


def _reasons(graph: Graph, q: Projection, hardware: HardwareMap) -> Iterator[str]:
    found = next((r for r in read_sets(graph) if r.projection == q.name), None)
    for read in found.nonlocal_reads if found else ():
        yield f"{read.text} is not at the synapse: {read.reason}"
    rule = graph.rule_of(q)
    if rule is None or hardware.name == "ideal":
        return
    yield from _optimiser_reasons(graph, q)
    try:
        terms = expanded(without_division(rule.increment))
    except ValueError as error:
        yield f"'{error}' mixes both sides in one factor, which is no sum of products"
        return
    yield from _term_reasons(graph, q, terms, hardware)


def _optimiser_reasons(graph: Graph, q: Projection) -> Iterator[str]:
    rule = graph.rule_of(q)
    assert rule is not None
    kind = rule.optimiser.kind
    if kind == "adam":
        yield "optimiser 'adam' divides by a square root, and keeps two moments beside its sum"
    if kind == "low_pass" and not _is_power(constant(rule.optimiser.arguments[0]) or 0.0):
        yield f"the low-pass rate {show(rule.optimiser.arguments[0])} is no power of two"


def _is_power(value: float) -> bool:
    return value > 0 and math.frexp(value)[0] == 0.5


def _term_reasons(graph: Graph, q: Projection, terms: list[Term], hardware: HardwareMap) -> Iterator[str]:
    pre = dict.fromkeys(show(f) for t in terms for f in t.pre)
    post = dict.fromkeys(_product_text(t.post) for t in terms if t.post)
    for term in terms:
        if not _is_scale(term.scale):
            nearest = math.copysign(_scale(abs(term.scale)), term.scale)
            yield f"scale {term.scale:.6g} is not m * 2**e with |m| below 8: the nearest is {_scale_text(nearest)}"
        if not _is_one_factor(term.post):
            yield f"'{_product_text(term.post)}' is to be one factor y that the neuron computes"
        if len(term.pre) > 1:
            yield f"'{_product_text(term.pre)}' multiplies two presynaptic quantities"
    yield from _capabilities(graph, q, list(pre), list(post), hardware)


def _capabilities(graph: Graph, q: Projection, pre: list[str], post: list[str],
                  hardware: HardwareMap) -> Iterator[str]:
    message, cell = graph.class_of(q.name).message, graph.cell_of(q.pre)
    graded = not _is_binary(cell, message)
    if graded and not hardware.value("learning.graded_messages"):
        yield f"message '{message}' is graded; a spike of {hardware.name} is 0 or 1 " + _source(
            hardware, "learning.graded_messages")
    graded_post = [text for text in post if not _is_binary(graph.cell_of(q.post), text.removeprefix("post."))]
    if graded_post and not hardware.value("learning.graded_post_factors"):
        yield (f"'{graded_post[0]}' is a graded postsynaptic factor; {hardware.name} knows traces of the cell's own "
               "spikes ") + _source(hardware, "learning.graded_post_factors")
    for kind, found, variables in (("presynaptic traces", pre, "pre_variables"), ("factors", post, "post_variables")):
        limit = sum(not name.endswith("0") for name in _names(hardware, f"learning.{variables}"))
        if len(found) > limit:
            yield f"it reads {len(found)} {kind} ({', '.join(found)}); {hardware.name} has {limit} " + _source(
                hardware, f"learning.{variables}")


def _names(hardware: HardwareMap, field: str) -> list[str]:
    value = hardware.value(field)
    return list(value) if isinstance(value, list | tuple) else []


def _source(hardware: HardwareMap, field: str) -> str:
    return f"[{hardware.scalar(field).source}]"


def _is_one_factor(post: tuple[Expression, ...]) -> bool:
    """Whether the neuron computes it as one quantity."""
    return not post or len(post) == 1 and isinstance(post[0], Name | Prev) and post[0].name.startswith("post.")


def _is_binary(cell: CellType, message: str) -> bool:
    equation = cell.equation(message)
    return equation is not None and isinstance(equation.expression, Where) and {
        constant(equation.expression.then), constant(equation.expression.otherwise)} <= {0.0, 1.0}


def _scale(value: float) -> float:
    """The nearest m * 2**e with m below 8."""
    mantissa, exponent = math.frexp(value)
    return math.ldexp(round(mantissa * 2**MANTISSA_BITS), exponent - MANTISSA_BITS)


def _is_scale(value: float) -> bool:
    return _scale(abs(value)) == abs(value)


def _scale_text(value: float) -> str:
    if value == 0:
        return "0"
    mantissa, exponent = math.frexp(abs(value))
    whole, exponent = round(mantissa * 8), exponent - 3
    while whole % 2 == 0 and whole:
        whole, exponent = whole // 2, exponent + 1
    sign = "-" if value < 0 else ""
    return f"{sign}2^{exponent}" if whole == 1 else f"{sign}{whole}*2^{exponent}"


def _product_text(factors: tuple[Expression, ...]) -> str:
    return " * ".join(show(f) for f in factors)


def _form(graph: Graph, projection: str) -> str:
    """The rule in the engine's words: x1, x2 presynaptic, y1 .. y3 postsynaptic, w the weight, t the tag."""
    q = graph.projection(projection)
    rule = graph.rule_of(q)
    if rule is None:
        return ""
    terms = expanded(without_division(rule.increment))
    names: dict[str, str] = {}
    for side, letter in (("pre", "x"), ("post", "y")):
        for text in dict.fromkeys(show(f) for t in terms for f in getattr(t, side)):
            names[text] = f"{letter}{1 + sum(n[0] == letter for n in names.values())}"
    product = " + ".join("*".join([_scale_text(t.scale), "u0", *(names.get(show(f), show(f)) for f in (
        *t.pre, *t.post, *t.synapse))]) for t in terms).replace("+ -", "- ")
    where = "; ".join(f"{n} = {text}" for text, n in names.items())
    kind = rule.optimiser.kind
    if kind == "none":
        return f"dw = {product}; {where}"
    if kind == "low_pass":
        rate = _scale_text(constant(rule.optimiser.arguments[0]) or 0.0)
        return f"dt = {rate}*({product}) - {rate}*u0*t; dw = u0*t; {where}"
    y = f"y{1 + sum(n[0] == 'y' for n in names.values())}"
    return f"dt = {product} - u0*{y}*t; dw = u0*{y}*t; {where}; {y} = 1 at gate '{q.apply or q.gate}'"


# ---- the nearest legal rule


@dataclass(frozen=True)
class Legalise:
    """`map`: a shipped map's name or the path of one; `credit`: one of `CREDIT`."""

    map: str
    credit: str = "held"
    name: ClassVar[str] = "legalise"

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
    if hardware.name == "ideal":
        return graph
    for q in graph.projections:
        if graph.rule_of(q):
            graph = _legal_projection(graph, q, credit)
    return graph


def _legal_projection(graph: Graph, q: Projection, credit: str) -> Graph:
    rule = graph.rule_of(q)
    assert rule is not None
    kind, arguments = rule.optimiser.kind, rule.optimiser.arguments
    if kind in ("adam", "clipped"):
        kind, arguments = "accumulate", ()
    if kind == "low_pass":
        arguments = (literal(2.0 ** round(math.log2(constant(arguments[0]) or 1.0))),)
    try:
        terms = expanded(without_division(rule.increment))
    except ValueError:
        return graph
    message = f"pre.{graph.class_of(q.name).message}"
    if kind == "accumulate" and len(terms) == 1 and credit != "never":
        held = held_input(graph, q)
        if held and terms[0].pre in ((Name(message),), (Prev(message, 1),)):
            return _credited(graph, q, terms[0], held[1])
        if credit == "settled" and len(terms[0].pre) == 1 and not terms[0].synapse:
            return _credited(graph, q, terms[0], None)
    products = []
    for index, term in enumerate(terms):
        graph, product = _one_factor(graph, q, term, index)
        products.append(product)
    increment = products[0]
    for product in products[1:]:
        increment = Binary("+", increment, product)
    return _with_rule(graph, q, increment, Optimiser(kind, arguments))


def _with_rule(graph: Graph, q: Projection, increment: Expression, optimiser: Optimiser, **changes: object) -> Graph:
    rule = graph.rule_of(q)
    rules = tuple(replace(r, increment=increment, optimiser=optimiser) if r is rule else r for r in graph.rules)
    projections = tuple(replace(p, **changes) if p.name == q.name else p  # type: ignore[arg-type]
                        for p in graph.projections)
    return graph.with_(rules=rules, projections=projections)


def _one_factor(graph: Graph, q: Projection, term: Term, index: int) -> tuple[Graph, Expression]:
    """The product with a legal scale and one postsynaptic factor, which the neuron computes."""
    scale = math.copysign(_scale(abs(term.scale)), term.scale) if term.scale else 0.0
    product: Expression = literal(scale)
    post = term.post
    if not _is_one_factor(post):
        graph, name = _with_factor(graph, q, _product(post), f"factor_{q.name}" + (f"_{index}" if index else ""))
        post = (Name(f"post.{name}"),)
    for factor in (*post, *term.pre, *term.synapse):
        product = Binary("*", product, factor)
    return graph, simplify(product)


def _product(factors: tuple[Expression, ...]) -> Expression:
    result = factors[0]
    for factor in factors[1:]:
        result = Binary("*", result, factor)
    return result


def _with_factor(graph: Graph, q: Projection, expression: Expression, name: str) -> tuple[Graph, str]:
    """A factor of the postsynaptic cell that computes an expression over `post.` quantities."""
    own = rename(expression, {n: n.removeprefix("post.") for n in reads(expression)})
    return _with_equations(graph, q.post, [Equation(name, own, "factor")], []), name


def _with_equations(graph: Graph, population: str, equations: list[Equation], states: list[State]) -> Graph:
    cell = graph.cell_of(population)
    changed = replace(cell, equations=(*cell.equations, *equations), states=(*cell.states, *states))
    return graph.with_(cells=tuple(changed if c is cell else c for c in graph.cells))


def _credited(graph: Graph, q: Projection, term: Term, number: str | None) -> Graph:
    """The input is held: the neuron sums its factor times the number that all inputs share, and the synapse learns
    once, when the sum is applied."""
    scale = math.copysign(_scale(abs(term.scale)), term.scale)
    credit, applied = f"credit_{q.name}", f"gate.{q.apply or q.gate}"
    factor = _product(term.post)
    own = rename(factor, {n: n.removeprefix("post.") for n in reads(factor)})
    equations, states = [], [State(credit), State(f"{credit}_done")]
    if number is not None:
        cell = graph.cell_of(q.pre)
        equation, state = cell.equation(number), cell.state(number)
        assert equation is not None and state is not None
        copied = f"{number}_{q.name}"
        equations.append(Equation(copied, rename(equation.expression, {number: copied}), "factor"))
        states.append(replace(state, name=copied))
        own = Binary("*", own, Name(copied))
    kept = Where(Binary(">", Prev(f"{credit}_done", 1), Number(0.0)), Number(0.0), Prev(credit, 1))
    learns = Binary(">", Name(f"gate.{q.gate}"), Number(0.0))
    gained = Where(learns, own, Number(0.0)) if q.gate else own
    equations += [Equation(credit, Binary("+", kept, gained), "factor"),
                  Equation(f"{credit}_done", Where(Binary(">", Name(applied), Number(0.0)), Number(1.0), Number(0.0)),
                           "factor")]
    graph = _with_equations(graph, q.post, equations, states)
    increment = Binary("*", Binary("*", literal(scale), Name(f"post.{credit}")), term.pre[0])
    return _with_rule(graph, q, increment, Optimiser(), gate=q.apply or q.gate, apply=None)


# ---- text


def legality_text(graph: Graph, hardware: HardwareMap) -> str:
    """The reports; projections that read the same are listed together."""
    groups: dict[tuple, list[str]] = {}
    for r in rule_reports(graph, hardware):
        groups.setdefault((r.rule, r.legal, r.form, r.reasons, r.nearest), []).append(r.projection)
    lines = [f"on {hardware.name}: {hardware.title}"]
    for (rule, legal, form, reasons, nearest), projections in groups.items():
        lines.append(f"rule {rule} ({', '.join(projections)}): {'legal' if legal else 'not legal'}")
        lines += [f"  {form}"] if form else []
        lines += [f"  because {reason}" for reason in reasons]
        lines += [f"  nearest: {nearest}"] if nearest else []
    return "\n".join(lines) + "\n"
