"""Mutation operators: every small mistake that a compiler, or the author of a circuit, could make, at every site.

`mutants(graph)` yields (description, graph) pairs; a description holds names and the changed text, not sizes, so the
same mistake has the same description in a larger circuit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from typing import Any, TypeVar

import numpy as np

from cortexc.compiler.ir import Expression, Graph, show
from cortexc.compiler.ir.expressions import Binary, Call, Name, Negate, Number, Prev, Where, children, rebuild
from cortexc.compiler.ir.functions import ACTIVATIONS, ARITY
from cortexc.compiler.ir.model import (
    CellType,
    Equation,
    Mirror,
    Optimiser,
    PlasticityRule,
    Population,
    Projection,
    SynapseClass,
    weight_shape,
)
from cortexc.compiler.ir.schedule import message_depth

Mutant = tuple[str, Graph]
Named = TypeVar("Named", CellType, PlasticityRule, SynapseClass, Population, Projection)
Owner = TypeVar("Owner", CellType, PlasticityRule)
Instance = TypeVar("Instance", Population, Projection)

SCALES = (1.001, 2.0)
OPPOSITE = {"<": ">=", ">=": "<", ">": "<=", "<=": ">", "==": "!=", "!=": "=="}
TOUCHING = {"<": "<=", "<=": "<", ">": ">=", ">=": ">"}
STAGES = ("send", "receive", "factor")


def mutants(graph: Graph) -> Iterator[Mutant]:
    """Every single mistake in the graph, without repeats. They need not be valid."""
    seen: set[str] = set()
    for operator in OPERATORS:
        for description, mutant in operator(graph):
            if description not in seen:
                seen.add(description)
                yield description, mutant


def _each(word: str, field: str, kinds: Callable[[Graph, Any], Iterator[tuple[str, Any]]],
          graph: Graph) -> Iterator[Mutant]:
    """Every mistake in one of the graph's cells, rules, populations ..."""
    for item in getattr(graph, field):
        for label, changed in kinds(graph, item):
            yield f"{word} {item.name}: {label}", graph.with_(**{field: _replaced(getattr(graph, field), changed)})


def _at(items: tuple[Any, ...], index: int, *new: Any) -> tuple[Any, ...]:
    """With other items from a place on."""
    return (*items[:index], *new, *items[index + len(new):])


# ---- expressions


@dataclass(frozen=True)
class Scope:
    """What may stand in an expression: `groups` of names that can be taken for each other, names with a `prev`."""

    groups: tuple[tuple[str, ...], ...] = ()
    stored: frozenset[str] = frozenset()
    initial: bool = False

    def others(self, name: str) -> list[str]:
        found = [other for group in self.groups if name in group for other in group if other != name]
        return list(dict.fromkeys(found))


def variants(expression: Expression, scope: Scope, product: bool = False) -> Iterator[Expression]:
    """The expression with one mistake; `product`: it is a factor of a product, whose sign is changed elsewhere."""
    yield from _local(expression, scope, product)
    parts = children(expression)
    inside = isinstance(expression, Binary) and expression.operator in "*/"
    for index, part in enumerate(parts):
        for other in variants(part, scope, inside):
            yield rebuild(expression, _at(parts, index, other))


def _local(expression: Expression, scope: Scope, product: bool) -> Iterator[Expression]:
    match expression:
        case Number(value):
            yield from _number(value, scope)
        case Name(name):
            yield from _name(name, scope)
        case Prev(name, depth):
            yield Name(name) if depth == 1 else Prev(name, depth - 1)
            yield Prev(name, depth + 1)
            yield from (Prev(other, depth) for other in scope.others(name) if other in scope.stored)
        case Negate(operand):
            yield operand
        case Binary(operator, left, right):
            yield from _binary(operator, left, right, product)
        case Call(function, arguments):
            yield from _call(function, arguments)
        case Where(condition, then, otherwise):
            yield from (then, otherwise, Where(condition, otherwise, then))


def _number(value: float, scope: Scope) -> Iterator[Expression]:
    if value:
        yield from (Number(value * scale) for scale in SCALES)
    elif scope.initial:
        yield Number(0.1)


def _name(name: str, scope: Scope) -> Iterator[Expression]:
    if name in scope.stored:
        yield Prev(name, 1)
    yield from map(Name, scope.others(name))
    if scope.initial:
        yield Number(0.0)


def _binary(operator: str, left: Expression, right: Expression, product: bool) -> Iterator[Expression]:
    match operator:
        case "+":
            yield from (Binary("-", left, right), Binary("+", Negate(left), right), left, right)
        case "-":
            yield from (Binary("+", left, right), Binary("-", Negate(left), right), left, Negate(right),
                        Binary("-", right, left))
        case "*" | "/":
            if not product:
                yield Negate(Binary(operator, left, right))
            yield left
            if operator == "*":
                yield right
            else:
                yield from (Binary("/", right, left), Binary("*", left, right))
        case "and" | "or":
            yield Binary("or" if operator == "and" else "and", left, right)
        case _:
            yield Binary(OPPOSITE[operator], left, right)
            if operator in TOUCHING:
                yield Binary(TOUCHING[operator], left, right)


def _call(function: str, arguments: tuple[Expression, ...]) -> Iterator[Expression]:
    if len(arguments) == 1:
        yield arguments[0]
    others = [f for f in (*ACTIVATIONS, "min", "max", "exp", "log", "sqrt", "floor", "abs")
              if ARITY[f] == len(arguments) and f != function]
    if function in ACTIVATIONS:
        others = [f for f in others if f in ACTIVATIONS]
    yield from (Call(other, arguments) for other in others[:3])
    if len(arguments) > 1 and function not in ("min", "max"):
        yield Call(function, tuple(reversed(arguments)))


# ---- cells


def _replaced(items: Sequence[Named], changed: Named) -> tuple[Named, ...]:
    return tuple(changed if item.name == changed.name else item for item in items)


def _cell_scope(graph: Graph, cell: CellType, stage: str, initial: bool = False) -> Scope:
    visible = STAGES[:STAGES.index(stage) + 1] if stage in STAGES else ()
    quantities = tuple(e.name for e in cell.equations if e.stage in visible)
    states = tuple(s.name for s in cell.states)
    parameters = ("dt", *(p.name for p in cell.parameters))
    gates = tuple(f"gate.{g}" for g in graph.gates)
    ports = tuple(p.name for p in cell.ports)
    if initial:
        return Scope((states, parameters), initial=True)
    return Scope((quantities, parameters, gates, ports, states, tuple(cell.inputs), tuple(n for n, _ in cell.noise)),
                 frozenset(states))


def _equation_variants(graph: Graph, cell: CellType) -> Iterator[tuple[str, CellType]]:
    for equation in cell.equations:
        for other in variants(equation.expression, _cell_scope(graph, cell, equation.stage)):
            yield (f"{equation.name} = {show(other)}",
                   replace(cell, equations=_equations(cell.equations, equation.name, other)))


def _equations(equations: tuple[Equation, ...], name: str, expression: Expression) -> tuple[Equation, ...]:
    return tuple(replace(e, expression=expression) if e.name == name else e for e in equations)


def _first_values(owner: Owner, scope: Scope) -> Iterator[tuple[str, Owner]]:
    """Other values of states before the first step."""
    for state in owner.states:
        for other in variants(state.initial, scope):
            states = tuple(replace(s, initial=other) if s is state else s for s in owner.states)
            yield f"state {state.name} = {show(other)}", replace(owner, states=states)


def _state_variants(graph: Graph, cell: CellType) -> Iterator[tuple[str, CellType]]:
    return _first_values(cell, _cell_scope(graph, cell, "", initial=True))


def in_arrays(graph: Graph) -> Iterator[Mutant]:
    """Other values that are bound."""
    for name, array in graph.arrays.items():
        if np.any(array):
            for scale in SCALES:
                yield f"array {name} * {scale}", graph.with_(arrays={**graph.arrays, name: array * scale})


# ---- rules


def _rule_scope(graph: Graph, rule: PlasticityRule, initial: bool = False) -> Scope:
    parameters = ("dt", *(p.name for p in rule.parameters))
    if initial:
        return Scope((parameters,), initial=True)
    owner = next((q for q in graph.projections if graph.rule_of(q) is rule), None)
    groups: list[tuple[str, ...]] = [parameters, tuple(f"gate.{g}" for g in graph.gates)]
    stored = {s.name for s in rule.states}
    if owner:
        for side, cell in (("pre", graph.cell_of(owner.pre)), ("post", graph.cell_of(owner.post))):
            groups.append(tuple(f"{side}.{e.name}" for e in cell.equations))
            stored |= {f"{side}.{s.name}" for s in cell.states}
    return Scope((*groups, tuple(s.name for s in rule.states)), frozenset(stored))


def _rule_variants(graph: Graph, rule: PlasticityRule) -> Iterator[tuple[str, PlasticityRule]]:
    """Mistakes in increments, synaptic states and optimisers."""
    scope, initial = _rule_scope(graph, rule), _rule_scope(graph, rule, initial=True)
    for other in variants(rule.increment, scope):
        yield f"increment {show(other)}", replace(rule, increment=other)
    for other in variants(rule.deliver, initial) if rule.shapes else ():
        yield f"deliver {show(other)}", replace(rule, deliver=other)
    for update in rule.updates:
        for other in variants(update.expression, scope):
            yield f"{update.name} = {show(other)}", replace(rule, updates=_equations(rule.updates, update.name, other))
    yield from _first_values(rule, initial)
    kind, arguments = rule.optimiser.kind, rule.optimiser.arguments
    if kind != "none":
        yield "no optimiser", replace(rule, optimiser=Optimiser())
    for index, argument in enumerate(arguments):
        for other in variants(argument, scope):
            changed = Optimiser(kind, _at(arguments, index, other))
            yield f"{kind}({show(other)})", replace(rule, optimiser=changed)


# ---- parameters


def in_steps(graph: Graph) -> Iterator[Mutant]:
    return ((f"dt * {scale}", graph.with_(dt=graph.dt * scale)) for scale in SCALES)


def _value_variants(graph: Graph, owner: Instance) -> Iterator[tuple[str, Instance]]:
    """Scaled and swapped values."""
    parameters = owner.parameters
    for index, (name, value) in enumerate(parameters):
        for scale in (*SCALES, -1.0):
            if value:
                yield f"{name} * {scale}", replace(owner, parameters=_at(parameters, index, (name, value * scale)))
    for index, ((a, x), (b, y)) in enumerate(pairwise(parameters)):
        if x != y:
            yield f"{a} and {b} swapped", replace(owner, parameters=_at(parameters, index, (a, y), (b, x)))


def _default_variants(graph: Graph, cell: CellType) -> Iterator[tuple[str, CellType]]:
    owners = [dict(p.parameters) for p in graph.populations if p.cell == cell.name]
    for index, parameter in enumerate(cell.parameters):
        if parameter.default and any(parameter.name not in owner for owner in owners):
            for scale in SCALES:
                changed = replace(parameter, default=parameter.default * scale)
                yield f"default {parameter.name} * {scale}", replace(
                    cell, parameters=_at(cell.parameters, index, changed))


# ---- wiring


def in_wiring(graph: Graph) -> Iterator[Mutant]:
    """Wrong ends, messages, ports, gates, delays and arrays of projections."""
    for q in graph.projections:
        for label, changed in _projection_variants(graph, q):
            yield f"projection {q.name}: {label}", graph.with_(projections=_replaced(graph.projections, changed))
        yield f"projection {q.name} missing", graph.with_(
            projections=tuple(p for p in graph.projections if p is not q),
            arrays={k: v for k, v in graph.arrays.items() if not k.startswith(f"{q.name}.")},
            mirrors=tuple(m for m in graph.mirrors if q.name not in (m.target, m.source)))
    yield from _swapped_arrays(graph)


def _projection_variants(graph: Graph, q: Projection) -> Iterator[tuple[str, Projection]]:
    yield "delay + 1", replace(q, delay=q.delay + 1)
    shorter = replace(q, delay=q.delay - 1)
    if q.delay and message_depth(graph, shorter) != message_depth(graph, q):
        yield "delay - 1", shorter
    if graph.rule_of(q):
        yield from ((f"gate {g}", replace(q, gate=g)) for g in (*graph.gates, None) if g != q.gate)
        yield from ((f"apply {g}", replace(q, apply=g)) for g in graph.gates if q.apply and g != q.apply)
    message, port = graph.class_of(q.name).message, graph.class_of(q.name).port
    for p in graph.populations:
        cell = graph.cell(p.cell)
        if p.name != q.pre and p.size == graph.population(q.pre).size and message in cell.messages:
            yield f"from {p.name}", replace(q, pre=p.name)
        if p.name != q.post and p.size == graph.population(q.post).size and port in {x.name for x in cell.ports}:
            yield f"into {p.name}", replace(q, post=p.name)
    for other in graph.synapses:
        same = other.connectivity == graph.class_of(q.name).connectivity and other.name != q.synapse
        if same and other.port in {x.name for x in graph.cell_of(q.post).ports}:
            yield f"class {other.name}", replace(q, synapse=other.name)


def _swapped_arrays(graph: Graph) -> Iterator[Mutant]:
    weights = [q.name for q in graph.projections if f"{q.name}.w" in graph.arrays]
    for index, first in enumerate(weights):
        for second in weights[index + 1:]:
            a, b = graph.arrays[f"{first}.w"], graph.arrays[f"{second}.w"]
            if a.shape == b.shape and not np.array_equal(a, b):
                yield (f"weights of {first} and {second} swapped",
                       graph.with_(arrays={**graph.arrays, f"{first}.w": b, f"{second}.w": a}))


def _class_variants(graph: Graph, synapse: SynapseClass) -> Iterator[tuple[str, SynapseClass]]:
    """Another message, port, rule or constraint for a synapse class."""
    owners = [q for q in graph.projections if q.synapse == synapse.name]
    for message in dict.fromkeys(m for q in owners for m in graph.cell_of(q.pre).messages):
        if message != synapse.message:
            yield f"message {message}", replace(synapse, message=message)
    for port in dict.fromkeys(p.name for q in owners for p in graph.cell_of(q.post).ports):
        if port != synapse.port:
            yield f"port {port}", replace(synapse, port=port)
    own = graph.rule(synapse.rule) if synapse.rule else None
    others = (r.name for r in graph.rules if own is None or replace(r, name=own.name) != own)
    for rule in (*others, None):
        if owners and (synapse.rule or rule) and synapse.kind.weighted:
            yield f"rule {rule}", replace(synapse, rule=rule)
    if synapse.sign != "free" and synapse.rule:
        yield "sign free", replace(synapse, sign="free")
    if synapse.limits != SynapseClass("", "", "").limits and synapse.rule:
        yield "no limits", replace(synapse, limits=SynapseClass("", "", "").limits)


# ---- mirrors and noise


def in_mirrors(graph: Graph) -> Iterator[Mutant]:
    """Mirrors that are missing, out of order, from elsewhere, or lack or gain an operation."""
    for index, mirror in enumerate(graph.mirrors):
        yield f"mirror {mirror.target} missing", graph.with_(mirrors=tuple(m for m in graph.mirrors if m is not mirror))
        for label, changed in _mirror_variants(graph, mirror):
            yield f"mirror {mirror.target}: {label}", graph.with_(mirrors=_at(graph.mirrors, index, changed))
        if index:
            before = graph.mirrors[index - 1]
            yield (f"mirror {mirror.target} before {before.target}",
                   graph.with_(mirrors=_at(graph.mirrors, index - 1, mirror, before)))


def _mirror_variants(graph: Graph, mirror: Mirror) -> Iterator[tuple[str, Mirror]]:
    for index, operation in enumerate(mirror.operations):
        rest = (*mirror.operations[:index], *mirror.operations[index + 1:])
        yield f"without {operation}", replace(mirror, operations=rest)
        if operation == "transpose":
            yield "truncate for transpose", replace(mirror, operations=("truncate", *rest))
    if "negate" not in mirror.operations:
        yield "negated", replace(mirror, operations=(*mirror.operations, "negate"))
    shape = weight_shape(graph, graph.projection(mirror.source))
    for q in graph.projections:
        if q.name != mirror.source and q.name != mirror.target and weight_shape(graph, q) == shape:
            yield f"from {q.name}", replace(mirror, source=q.name)


def in_noise(graph: Graph) -> Iterator[Mutant]:
    """Another gate or order of the draws."""
    if not any(cell.noise for cell in graph.cells):
        return
    for gate in (*graph.gates, None):
        if gate != graph.noise.gate:
            yield f"draws: gate {gate}", graph.with_(noise=replace(graph.noise, gate=gate))
    if len(graph.noise.order) > 1:
        order = tuple(reversed(graph.noise.order))
        yield "draws: order reversed", graph.with_(noise=replace(graph.noise, order=order))


OPERATORS: tuple[Callable[[Graph], Iterator[Mutant]], ...] = (
    partial(_each, "cell", "cells", _equation_variants), partial(_each, "cell", "cells", _state_variants), in_arrays,
    partial(_each, "rule", "rules", _rule_variants), in_steps,
    partial(_each, "population", "populations", _value_variants),
    partial(_each, "projection", "projections", _value_variants), partial(_each, "cell", "cells", _default_variants),
    in_wiring, partial(_each, "synapse", "synapses", _class_variants), in_mirrors, in_noise)
