"""A synapse class and its rule in fixed point: weights that move by whole units, increments kept in a tag."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from cortexc.compiler.ir import CortexError, Equation, Expression, Graph, PlasticityRule, Projection
from cortexc.compiler.ir.expressions import WEIGHT_SUM, Binary, Call, Name, Negate, Number, Prev, Where, rename, walk
from cortexc.compiler.ir.model import Optimiser, State, SynapseClass
from cortexc.compiler.passes.fixed_point import Extent, Format, extent, rounding_of
from cortexc.compiler.passes.fold import literal, simplify
from cortexc.compiler.passes.name_products import normal
from cortexc.compiler.passes.quantised_formats import Formats, read_of_cells
from cortexc.compiler.passes.widths import COUNTER, TAG, Options, is_counter, tally

LAVA_BITS = 24
"""So much of Lava's number counts, so that sums with it stay exact."""
GATE_BITS = 8
"""Fraction of a gate that rules are multiplied with."""
Noise = tuple[tuple[str, str], ...]


def quantised_projection(formats: Formats, q: Projection) -> tuple[SynapseClass, PlasticityRule | None, Projection]:
    """Its class, its rule and the projection itself. Raises E610, E612, E616."""
    graph, arrays = formats.graph, formats.arrays
    synapse, rule = replace(graph.class_of(q.name), message=formats.message(q)), graph.rule_of(q)
    if q.name not in formats.weights:
        return synapse, None, q
    found = formats.weights[q.name]
    limits = _limits(q, found, *graph.class_of(q.name).bounds, as_lava=formats.options.rounding == "lava")
    arrays[f"{q.name}.w"] = np.clip(found.round(arrays[f"{q.name}.w"]), *limits)
    synapse = replace(synapse, unit=found.unit, limits=limits)
    if rule is None:
        return synapse, None, q
    quantised, after = _quantised(formats, q, _over_copies(formats, q, rule), found)
    _check_rule(formats, after, quantised, found)
    return synapse, quantised, after


def _limits(q: Projection, found: Format, low: float, high: float, as_lava: bool) -> tuple[float, float]:
    """The numbers of a format that lie within limits: the lowest and the highest. Lava's have one more below."""
    lowest = -found.largest - (found.unit if as_lava else 0.0)
    least = max(lowest if low < 0 else 0.0, np.ceil(low * found.scale) / found.scale)
    most = min(found.largest, np.floor(high * found.scale) / found.scale)
    if least > most:
        raise CortexError("E616", f"weights of projection '{q.name}' are to stay from {low:g} to {high:g}, where the "
                                  f"format {found} has no number: it reaches {found.largest:g} in steps of "
                                  f"{1 / found.scale:g}.", "Widen the limits, or give another format.")
    return float(least), float(most)


def check_synapses(graph: Graph) -> None:
    """Raises E612 for what reads other synapses or delivers something else than the weight."""
    for q in graph.projections:
        rule = graph.rule_of(q)
        if rule and (rule.sums_weights or rule.shapes or rule.arrivals):
            what = (f"'{WEIGHT_SUM}'" if rule.sums_weights else "a 'deliver' of its own" if rule.shapes
                    else f"'{min(rule.arrivals)}'")
            raise CortexError("E612", f"rule '{rule.name}' of projection '{q.name}' has {what}, which has no integer "
                                      "form.", "Run it in real numbers.")


def _check_rule(formats: Formats, q: Projection, rule: PlasticityRule, found: Format) -> None:
    """Raises E610 where what a synapse computes before it rounds takes more than 53 bits."""
    known = {s.name: Extent(-round(np.log2(s.scale)), 2.0 ** (int(s.dtype[3:]) - 1) * s.scale)
             for s in rule.states if not is_counter(s.name)}
    known |= {name: Extent(24, 1.0) for name, _ in rule.noise} | {"w": found.extent}

    def look(node: Name | Prev) -> Extent:
        if node.name.startswith("gate."):
            return Extent(GATE_BITS, 1.0)
        return known.get(node.name) or formats.extents[".".join(formats.owner(q, node.name))]

    held = [each for e in rule.expressions for node in walk(e) if (each := rounding_of(node))]
    for e in (*(h.inner * h.scale + h.offset for h in held), rule.increment):
        extent(e, look, lambda name: Extent(0, 0.0), f"rule of projection '{q.name}'")


def _over_copies(formats: Formats, q: Projection, rule: PlasticityRule) -> PlasticityRule:
    """The rule over what is sent and over the factors of the quantised cells."""
    names = {}
    for node in read_of_cells(rule):
        owner, quantity = formats.owner(q, node.name)
        copy, cell = formats.copies.get((owner, quantity, formats.kind(q, node.name))), formats.graph.cell_of(owner)
        if quantity in (*cell.inputs, *(name for name, _ in cell.noise)):
            copy = f"{quantity}_in"
        names[node.name] = f"{node.name.split('.')[0]}.{copy}" if copy else node.name
    return replace(rule, increment=rename(rule.increment, names),
                   updates=tuple(replace(u, expression=rename(u.expression, names)) for u in rule.updates))


def _quantised(formats: Formats, q: Projection, rule: PlasticityRule,
               found: Format) -> tuple[PlasticityRule, Projection]:
    """Random numbers are those of the weight, of what the optimiser keeps, then of the rule's states, in this order."""
    _check_form(q, rule)
    if rule.optimiser.traits.integers:
        moved, q = _tagged(formats, q, rule, found)
    else:
        offset, noise = _offset(formats.options, "rounding")
        increment = whole(found, _terms(formats, rule.increment, found.scale), offset)
        moved = replace(rule, increment=increment, noise=noise, states=(), updates=())
    return _with_states(formats, q, rule, moved), q


def _check_form(q: Projection, rule: PlasticityRule) -> None:
    kind, integers = rule.optimiser.kind, rule.optimiser.traits.integers
    wrong = ([f"optimiser '{kind}'"] if kind != "none" and not integers else []) \
        + (["random numbers of its own"] if rule.noise else []) \
        + ([f"a state '{TAG}' beside what its optimiser keeps"] if integers and TAG in {s.name for s in rule.states}
           else [])
    if wrong:
        raise CortexError("E612", f"rule '{rule.name}' of projection '{q.name}' has {wrong[0]}, which has no integer "
                                  "form.", "Use optimiser none, low_pass or accumulate; let a cell draw; give the "
                                           "state another name.")


def _with_states(formats: Formats, q: Projection, rule: PlasticityRule, moved: PlasticityRule) -> PlasticityRule:
    """With the rule's own states, each rounded where it is updated, before what its optimiser keeps."""
    states, updates, noise = list[State](), list[Equation](), moved.noise
    for update in rule.updates:
        found, name = formats.kept(q, update.name), f"{q.name}.{update.name}"
        offset, drawn = _offset(formats.options, f"{update.name}_rounding")
        held = found.wrap(_terms(formats, update.expression, 1.0), offset)
        initial = next(s.initial for s in rule.states if s.name == update.name)
        if name in formats.arrays:
            formats.arrays[name] = found.round(formats.arrays[name])
        states.append(State(update.name, simplify(found.wrap(initial)), found.dtype, found.unit))
        updates.append(replace(update, expression=held))
        noise += drawn
    counters = [c for u in updates for c in _counters(formats, u.name, u.expression, None)]
    return replace(moved, noise=noise,
                   states=(*states, *moved.states, *(State(c.name) for c in counters)),
                   updates=(*updates, *moved.updates, *counters))


def _counters(formats: Formats, name: str, held: Expression, learns: Expression | None) -> list[Equation]:
    """With `count`, every synapse counts the steps (of learning) in which it saturates."""
    saturates = rounding_of(held) if formats.options.count else None
    if not saturates:
        return []
    return [tally(f"{name}{COUNTER}", Binary("and", learns, saturates.beyond) if learns else saturates.beyond)]


def _offset(options: Options, name: str) -> tuple[Expression, Noise]:
    if options.rounding == "nearest":
        return Number(0.5), ()
    if options.rounding == "lava":
        return complement(name), ((name, "lava_weights"),)
    return Name(name), ((name, "uniform" if options.rounding == "stochastic" else "shared"),)


def _terms(formats: Formats, expression: Expression, factor: float) -> Expression:
    """The expression times a constant, which goes into every term of the sum."""
    match expression:
        case Binary("+" | "-" as operator, left, right):
            return Binary(operator, _terms(formats, left, factor), _terms(formats, right, factor))
        case Negate(operand):
            return _terms(formats, operand, -factor)
    return normal(literal(factor) * expression, formats.options.widths.coefficients)


def _tagged(formats: Formats, q: Projection, rule: PlasticityRule, found: Format) -> tuple[PlasticityRule, Projection]:
    """Increments that a synapse keeps: a low-pass, or a sum until the `apply` gate."""
    kind, old = rule.optimiser.kind, Prev(TAG, 1)
    tag = formats.kept(q, kind)
    if (kept := formats.arrays.pop(f"{q.name}.{kind}", None)) is not None:
        formats.arrays[f"{q.name}.{TAG}"] = tag.round(kept)
    (offset, noise), (offset_tag, noise_tag) = (_offset(formats.options, n) for n in ("rounding", f"{TAG}_rounding"))
    learns = Name(f"gate.{q.gate}").above(0.0) if q.gate else None
    if kind == "low_pass":
        (rate,) = rule.optimiser.arguments
        leak = normal(rate * old, formats.options.widths.coefficients)
        held = tag.wrap(old - leak + _terms(formats, rate * rule.increment, 1.0), offset_tag)
        update = Where(learns, held, old) if learns else held
        step = whole(found, _terms(formats, Name(TAG), found.scale), offset)
    else:
        change, apply = _terms(formats, rule.increment, 1.0), q.apply or q.gate
        held = tag.wrap(old + (Where(learns, change, Number(0.0)) if learns else change), offset_tag)
        update = Where(Name(f"gate.{apply}").above(0.0), Number(0.0), held) if apply else Number(0.0)
        step, q = whole(found, found.scale * held, offset), replace(q, gate=apply, apply=None)
    counters = _counters(formats, TAG, held, learns)
    return replace(rule, increment=step, noise=noise + noise_tag, optimiser=Optimiser(),
                   states=(State(TAG, Number(0.0), tag.dtype, tag.unit), *(State(c.name) for c in counters)),
                   updates=(Equation(TAG, update, "factor"), *counters)), q


def complement(name: str) -> Expression:
    """What, added before floor(), rounds up exactly where the number is below the fraction, as Lava does:
    1 - 2^-24 - (the number's first 24 bits)."""
    units = Call("floor", (Name(name) * 2.0**LAVA_BITS,))
    return (2.0**LAVA_BITS - 1 - units) * 2.0**-LAVA_BITS


def whole(found: Format, units: Expression, offset: Expression) -> Expression:
    """A whole number of units."""
    return found.unit * Call("floor", (units + offset,))
