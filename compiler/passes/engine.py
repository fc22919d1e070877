"""What a learning engine says to the integers of a quantised circuit: widths, and the range of scales.

    rule hebbian_W (W): the scale 2^-12 of '0.000244 * post.error_factor * pre.rate_sent' is below the least, 2^-10

The engine multiplies integers: traces of `trace_bits` (two of them for a factor with a sign), weights, tags; m * 2**e
with e from `scale_exponent_low`. It shifts a product right by what the widths of its factors and of the mantissa exceed
the accumulator's 15 bits, so the least scale of two 7-bit traces is 2**-10 (specs/lava.md 6; the code of Lava 0.10).
Weights of fewer bits than the map's are the high bits of a weight, and move in its units.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from cortexc.compiler.ir import Expression, Graph, PlasticityRule, Projection, State, SynapseClass, show
from cortexc.compiler.ir.expressions import Binary, Call, Name, Number, Prev, Where, leaves, walk
from cortexc.compiler.passes.engine_limits import Limits, has_engine
from cortexc.compiler.passes.fixed_point import bits_between, rounding_of
from cortexc.compiler.passes.fold import constant
from cortexc.compiler.passes.legalise import Term, expanded
from cortexc.compiler.passes.read_sets import read_sets
from cortexc.hardware_maps import HardwareMap

MANTISSA_WIDTH, ACCUMULATOR = 4, 15


def engine_reasons(graph: Graph, hardware: HardwareMap) -> list[str]:
    """Why the rules of a quantised graph do not fit the engine's integers; empty if they do, and where the map has no
    engine."""
    if not has_engine(hardware):
        return []
    reads, limits = {found.projection: found for found in read_sets(graph)}, Limits(hardware)
    return [reason for q in graph.projections if (rule := graph.rule_of(q))
            for reason in (*reads[q.name].elsewhere, *_widths(graph, q, rule, limits),
                           *_scales(graph, q, rule, limits), *_applied(graph, q, rule, limits))]


def _applied(graph: Graph, q: Projection, rule: PlasticityRule, limits: Limits) -> Iterator[str]:
    """dw = t: the tag's unit in those of the weight."""
    low, unit = limits.number("scale_exponent_low"), _register_unit(graph, q, limits)
    for state in _tags(rule):
        if low is not None and unit and state.scale < unit * 2.0**low:
            yield f"a unit of the tag of '{q.name}' is 2^{math.log2(state.scale / unit):.0f} of the weight's; the " \
                  f"least scale is 2^{low:.0f} {limits.source('scale_exponent_low')}"


def _tags(rule: PlasticityRule) -> list[State]:
    """Without counts of their saturation, which are the simulator's."""
    return [state for state in rule.states if state.dtype != "float64"]


def _register_unit(graph: Graph, q: Projection, limits: Limits) -> float:
    """Of a weight in all the bits that the map has."""
    synapse, bits = graph.class_of(q.name), limits.number("numeric.weight_bits")
    if not synapse.unit or bits is None:
        return synapse.unit
    return synapse.unit * float(2.0**min(0.0, _weight_bits(synapse) - bits))


def _weight_bits(synapse: SynapseClass) -> int:
    """Inhibitory weights have no sign of their own."""
    low, high = synapse.limits if synapse.limits[1] > 0 else sorted(abs(limit) for limit in synapse.limits)
    return bits_between(low / synapse.unit, high / synapse.unit) if synapse.unit else 2


def least_scale(hardware: HardwareMap, factor_bits: int) -> float:
    """Of a product of two traces; 0 where the map says nothing, or factors have more bits than its traces anyway."""
    low, traces = (Limits(hardware).number(name) for name in ("scale_exponent_low", "trace_bits"))
    if low is None or traces is not None and factor_bits > traces + 1:
        return 0.0
    return float(2.0**_least_exponent(Limits(hardware), low, 2))


def _least_exponent(limits: Limits, low: float, factors: int, variables: int = 0) -> float:
    """`variables`: factors that are the weight or a tag, without their signs."""
    width = (limits.number("trace_bits") or 7) * factors + (limits.number("numeric.tag_bits") or 8) * variables
    return low - max(0, width + MANTISSA_WIDTH - ACCUMULATOR)


def _widths(graph: Graph, q: Projection, rule: PlasticityRule, limits: Limits) -> Iterator[str]:
    synapse = graph.class_of(q.name)
    found = [(f"weight of '{q.name}'", _weight_bits(synapse), "numeric.weight_bits", 0)] if synapse.unit else []
    found += [(f"tag of '{q.name}'", _dtype_bits(s.dtype), "numeric.tag_bits", 1) for s in _tags(rule)]
    for name in sorted(rule.read):
        if name.startswith(("pre.", "post.")):
            found.append((f"'{name}' of rule '{rule.name}'", _quantity(graph, q, name)[1], "trace_bits", 1))
    for what, bits, field, sign in found:
        limit = limits.number(field)
        if limit is not None and bits > limit + sign:
            yield f"{what} has {bits} bits; {limits.hardware.name} has {limit:.0f}{' and a sign' if sign else ''} " \
                  f"{limits.source(field)}"


def _dtype_bits(dtype: str) -> int:
    return int(dtype.removeprefix("int")) if dtype.startswith("int") else 64


def _quantity(graph: Graph, q: Projection, name: str) -> tuple[float, int]:
    """(unit, bits with the sign) of a quantity of either cell, or of what the synapse keeps."""
    side, dot, quantity = name.partition(".")
    if not dot:
        rule, synapse = graph.rule_of(q), graph.class_of(q.name)
        kept = next((s for s in rule.states if s.name == name), None) if rule else None
        return (kept.scale, _dtype_bits(kept.dtype)) if kept else (synapse.unit or 1.0, _weight_bits(synapse))
    cell = graph.cell_of(q.pre if side == "pre" else q.post)
    equation, state = cell.equation(quantity), cell.state(quantity)
    if equation and (held := rounding_of(equation.expression)):
        return 1 / held.scale, max(math.ceil(math.log2(held.limit + 1)), 1) + 1
    return (state.scale, _dtype_bits(state.dtype)) if state and state.dtype != "float64" else (1.0, 2)


def _scales(graph: Graph, q: Projection, rule: PlasticityRule, limits: Limits) -> Iterator[str]:
    low, synapse = limits.number("scale_exponent_low"), graph.class_of(q.name)
    register = _register_unit(graph, q, limits) / synapse.unit if synapse.unit else 1.0
    try:
        terms = _terms(graph, q, rule)
    except ValueError as error:
        yield f"rule '{rule.name}' ('{q.name}'): {error}"
        return
    for term, unit in terms:
        if low is None or not (term.pre or term.post):
            continue
        factors = [node for f in (*term.pre, *term.post) for node in leaves(f)]
        own = [node for f in term.synapse for node in leaves(f)]
        units = math.prod(_quantity(graph, q, n.name)[0] for n in (*factors, *own))
        least = _least_exponent(limits, low, len(factors), len(own))
        scale = abs(term.scale) * units / (unit or register)
        if scale and math.log2(scale) < least:
            yield f"the scale 2^{math.log2(scale):.3g} of '{show(rule.increment)}' ('{q.name}') is below the least, " \
                  f"2^{least:.0f} {limits.source('scale_exponent_low')}"


def _terms(graph: Graph, q: Projection, rule: PlasticityRule) -> list[tuple[Term, float]]:
    """Products before rounding, each with the unit of what it moves; 0: of the weight, in whose units it is."""
    sums = [(held.inner, 1 / held.scale) for u in rule.updates for e in walk(u.expression) if (held := rounding_of(e))]
    sums += [(e.arguments[0], 0.0) for e in walk(rule.increment) if isinstance(e, Call) and e.function == "floor"
             and not any(map(rounding_of, walk(e)))]
    return [(term, unit) for expression, unit in sums for part in _products(expression)
            for term in expanded(part) if constant(part) is None]


def _products(expression: Expression) -> Iterator[Expression]:
    match expression:
        case Binary("+" | "-", left, right):
            yield from _products(left)
            yield from _products(right)
        case Where(_, then, otherwise):
            yield from _products(then)
            yield from _products(otherwise)
        case Name() | Prev() | Number():
            return
        case _:
            yield expression
