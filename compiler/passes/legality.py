"""What a chip's learning engine says of every rule: legal and its form, or the reasons why not and the nearest rule.

    rule hebbian (W): not legal
      because scale 0.3 is not m * 2**e with |m| below 8: the nearest is 5*2^-4
      nearest: dw = 5*2^-4*x0*x1*y1; x1 = pre.rate; y1 = post.error
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from compiler.ir import CellType, Graph, Projection, show
from compiler.ir.expressions import Expression, Name, Prev, Where, walk
from compiler.ir.schedule import instantaneous, message_depth
from compiler.passes.fold import constant
from compiler.passes.legalise import (
    Term,
    expanded,
    has_engine,
    is_one_factor,
    legalised,
    mantissa_bits,
    nearest_scale,
)
from compiler.passes.name_products import without_division
from compiler.passes.read_sets import read_sets
from compiler.passes.specialise import specialised
from hardware_maps import HardwareMap

UNCHECKED = ("learning.graded_pre_traces", "learning.max_products")

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
    if rule is None or not has_engine(hardware):
        return
    yield from _optimiser_reasons(graph, q, hardware)
    try:
        terms = expanded(without_division(rule.increment))
    except ValueError as error:
        yield f"'{error}' mixes both sides in one factor, which is no sum of products"
        return
    yield from _term_reasons(graph, q, terms, hardware)


def _optimiser_reasons(graph: Graph, q: Projection, hardware: HardwareMap) -> Iterator[str]:
    rule = graph.rule_of(q)
    assert rule is not None
    kind = rule.optimiser.kind
    if kind == "adam":
        yield "optimiser 'adam' divides by a square root, and keeps two moments beside its sum"
    if kind == "low_pass":
        rate = constant(rule.optimiser.arguments[0]) or 0.0
        if not _is_power(rate):
            yield f"the low-pass rate {show(rule.optimiser.arguments[0])} is no power of two"
        yield from _range_reasons(rate, "leak of the tag", hardware)


def _range_reasons(scale: float, what: str, hardware: HardwareMap) -> Iterator[str]:
    """Of a product of the synapse's own variable, which has no unit that a format could choose."""
    nearest, bits = nearest_scale(abs(scale), mantissa_bits(hardware)), mantissa_bits(hardware)
    low, high = (hardware.value(f"learning.scale_exponent_{end}") for end in ("low", "high"))
    if isinstance(low, int | float) and nearest % 2.0**low:
        yield (f"the {what} has the scale {_scale_text(nearest)}; exponents of {hardware.name} begin at {low:.0f} "
               + _source(hardware, "learning.scale_exponent_low"))
    if isinstance(high, int | float) and nearest >= 2.0**(high + bits):
        yield (f"the {what} has the scale {_scale_text(nearest)}; exponents of {hardware.name} end at {high:.0f} "
               + _source(hardware, "learning.scale_exponent_high"))


def _is_power(value: float) -> bool:
    return value > 0 and math.frexp(value)[0] == 0.5


def _term_reasons(graph: Graph, q: Projection, terms: list[Term], hardware: HardwareMap) -> Iterator[str]:
    pre = dict.fromkeys(show(f) for t in terms for f in t.pre)
    post = dict.fromkeys(_product_text(t.post) for t in terms if t.post)
    bits = mantissa_bits(hardware)
    for term in terms:
        nearest = math.copysign(nearest_scale(abs(term.scale), bits), term.scale)
        if nearest != term.scale:
            yield (f"scale {term.scale:.6g} is not m * 2**e with |m| below {2**bits}: the nearest is "
                   f"{_scale_text(nearest)}")
        if not is_one_factor(term.post):
            yield f"'{_product_text(term.post)}' is to be one factor y that the neuron computes"
        if len(term.pre) > 1:
            yield f"'{_product_text(term.pre)}' multiplies two presynaptic quantities"
        for factor in term.pre:
            yield from _trace_reasons(graph, q, factor, term.post)
        if term.synapse and not term.pre and not term.post:
            yield from _range_reasons(term.scale, f"term in {_product_text(term.synapse)}", hardware)
    yield from _capabilities(graph, q, list(pre), list(post), hardware)
    yield from _words(graph, q, terms, hardware)


def _trace_reasons(
    graph: Graph, q: Projection, factor: Expression, post: tuple[Expression, ...]
) -> Iterator[str]:
    """x1 takes the payload of the message that arrives in this step, or a low-pass of payloads; the second trace of a
    synapse takes only that there was a message (specs/lava.md 2). The message of the step before will do where the
    postsynaptic factors are known by the end of that step."""
    message = graph.class_of(q.name).message
    name, depth = (factor.name, factor.depth) if isinstance(factor, Prev) else (getattr(factor, "name", ""), 0)
    own = name.removeprefix("pre.")
    if own == message:
        early = not reads_now(graph.cell_of(q.post), post)
        if depth - message_depth(graph, q) not in (0, int(early)):
            yield f"'{show(factor)}' is the message of another step than that which arrives"
    elif not _is_low_pass(graph.cell_of(q.pre), own, message):
        yield f"'{show(factor)}' is neither the message '{message}' nor a low-pass of it, which are the engine's traces"


def reads_now(cell: CellType, post: tuple[Expression, ...]) -> bool:
    """Whether postsynaptic factors depend on messages of this very step."""
    now = instantaneous(cell)
    return any(isinstance(node, Name) and node.name.removeprefix("post.") in now for f in post for node in walk(f))


def _is_low_pass(cell: CellType, name: str, message: str) -> bool:
    """a * prev(name) + b * message, with constants a and b."""
    equation = cell.equation(name)
    try:
        terms = expanded(without_division(equation.expression)) if equation else []
    except ValueError:
        return False
    factors = [(*t.pre, *t.post, *t.synapse) for t in terms]
    return sorted(map(len, factors)) == [1, 1] and {f[0] for f in factors} == {Prev(name, 1), Name(message)}


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
    rule = graph.rule_of(q)
    applied = ["the gate of the update"] if rule and rule.optimiser.kind == "accumulate" else []
    parts = ("",) if hardware.value("learning.trace_signed") else ("positive part of ", "negative part of ")
    signed = [part + text for text in post for part in parts]
    for kind, found, variables in (("presynaptic traces", pre, "pre_variables"),
                                   ("factors", signed + applied, "post_variables")):
        limit = sum(not name.endswith("0") for name in _names(hardware, f"learning.{variables}"))
        if len(found) > limit:
            yield f"it reads {len(found)} {kind} ({', '.join(found)}); {hardware.name} has {limit} " + _source(
                hardware, f"learning.{variables}")


def _words(graph: Graph, q: Projection, terms: list[Term], hardware: HardwareMap) -> Iterator[str]:
    """What the form is written with: products, what they depend on, variables of the synapse."""
    rule = graph.rule_of(q)
    tagged = bool(rule) and rule.optimiser.kind in ("low_pass", "accumulate")  # type: ignore[union-attr]
    products, limit = len(terms) + tagged, hardware.value("learning.max_products")
    if isinstance(limit, int | float) and products > limit:
        yield f"it is a sum of {products} products; {hardware.name} has {limit:.0f} " + _source(
            hardware, "learning.max_products")
    variables = {f.name for t in terms for f in t.synapse if isinstance(f, Name)} | ({"t"} if tagged else set())
    depends = {"x0" if t.pre else "u" for t in terms} | ({"u"} if tagged else set())
    for what, found, name in (("variable of the synapse", variables, "synaptic_variables"),
                              ("dependency", depends, "dependencies")):
        for missing in sorted(found - set(_names(hardware, f"learning.{name}"))):
            yield f"{hardware.name} has no {what} '{missing}' " + _source(hardware, f"learning.{name}")


def _names(hardware: HardwareMap, field: str) -> list[str]:
    value = hardware.value(field)
    return list(value) if isinstance(value, list | tuple) else []


def _source(hardware: HardwareMap, field: str) -> str:
    return f"[{hardware.scalar(field).source}]"


def _is_binary(cell: CellType, message: str) -> bool:
    equation = cell.equation(message)
    return equation is not None and isinstance(equation.expression, Where) and {
        constant(equation.expression.then), constant(equation.expression.otherwise)} <= {0.0, 1.0}


def _scale_text(value: float) -> str:
    if value == 0:
        return "0"
    numerator, denominator = abs(value).as_integer_ratio()
    exponent = (numerator & -numerator).bit_length() - denominator.bit_length()
    whole = numerator >> ((numerator & -numerator).bit_length() - 1)
    sign = "-" if value < 0 else ""
    return f"{sign}2^{exponent}" if whole == 1 else f"{sign}{whole}*2^{exponent}"


def _product_text(factors: tuple[Expression, ...]) -> str:
    return " * ".join(show(f) for f in factors)


def _form(graph: Graph, projection: str) -> str:
    """The rule in the engine's words: x1, x2 presynaptic, x0 that a message came, y1 .. y3 postsynaptic (a factor with
    a sign takes two, its positive and its negative part), u0 in every step, w the weight, t the tag."""
    q = graph.projection(projection)
    rule = graph.rule_of(q)
    if rule is None:
        return ""
    terms = expanded(without_division(rule.increment))
    names: dict[str, str] = {}
    for side, letter in (("pre", "x"), ("post", "y")):
        for text in dict.fromkeys(show(f) for t in terms for f in getattr(t, side)):
            names[text] = f"{letter}{1 + sum(n[0] == letter for n in names.values())}"
    product = " + ".join("*".join([
        _scale_text(t.scale), "x0" if t.pre else "u0", *(names.get(show(f), show(f)) for f in (
            *t.pre, *t.post, *t.synapse))]) for t in terms).replace("+ -", "- ")
    where = "; ".join(f"{n} = {text}" for text, n in names.items())
    kind = rule.optimiser.kind
    if kind == "none":
        return f"dw = {product}; {where}"
    if kind == "low_pass":
        rate = _scale_text(constant(rule.optimiser.arguments[0]) or 0.0)
        return f"dt = {rate}*({product}) - {rate}*u0*t; dw = u0*t; {where}"
    y = f"y{1 + sum(n[0] == 'y' for n in names.values())}"
    return (f"dt = {product} - u0*{y}*t; dw = u0*{y}*t; {where}; {y} = 1 at gate '{q.apply or q.gate}', in a step of "
            "its own")


# ---- text


def unpublished(hardware: HardwareMap) -> list[str]:
    """What the map does not know of its engine, with what was looked for."""
    return [f"{name} ({hardware.scalar(name).source})" for name in UNCHECKED if hardware.value(name) is None]


def legality_text(graph: Graph, hardware: HardwareMap, credit: str = "held") -> str:
    """The reports; projections that read the same are listed together."""
    groups: dict[tuple, list[str]] = {}
    for r in rule_reports(graph, hardware, credit):
        groups.setdefault((r.rule, r.legal, r.form, r.reasons, r.nearest), []).append(r.projection)
    lines = [f"on {hardware.name}: {hardware.title}"]
    for (rule, legal, form, reasons, nearest), projections in groups.items():
        lines.append(f"rule {rule} ({', '.join(projections)}): {'legal' if legal else 'not legal'}")
        lines += [f"  {form}"] if form else []
        lines += [f"  because {reason}" for reason in reasons]
        lines += [f"  nearest: {nearest}"] if nearest else []
    lines += [f"never published, so not checked: {name}" for name in unpublished(hardware)]
    return "\n".join(lines) + "\n"
