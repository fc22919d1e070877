"""Mutation operators: every small mistake that a compiler, or the author of a circuit, could make, at every site.

`mutants(graph)` yields (description, graph) pairs; a description holds names and the changed text, not sizes, so the
same mistake has the same description in a larger circuit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

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
            yield rebuild(expression, (*parts[:index], other, *parts[index + 1:]))


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


def in_cells(graph: Graph) -> Iterator[Mutant]:
    """Mistakes in the equations of a cell."""
    for cell in graph.cells:
        for equation in cell.equations:
            for other in variants(equation.expression, _cell_scope(graph, cell, equation.stage)):
                changed = replace(cell, equations=_equations(cell.equations, equation.name, other))
                yield (f"cell {cell.name}: {equation.name} = {show(other)}",
                       graph.with_(cells=_replaced(graph.cells, changed)))


def _equations(equations: tuple[Equation, ...], name: str, expression: Expression) -> tuple[Equation, ...]:
    return tuple(replace(e, expression=expression) if e.name == name else e for e in equations)


def in_first_values(graph: Graph) -> Iterator[Mutant]:
    """Other values before the first step, declared or bound."""
    for cell in graph.cells:
        for state in cell.states:
            for other in variants(state.initial, _cell_scope(graph, cell, "", initial=True)):
                states = tuple(replace(s, initial=other) if s is state else s for s in cell.states)
                yield (f"cell {cell.name}: state {state.name} = {show(other)}",
                       graph.with_(cells=_replaced(graph.cells, replace(cell, states=states))))
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


def in_rules(graph: Graph) -> Iterator[Mutant]:
    """Mistakes in increments, synaptic states and optimisers."""
    for rule in graph.rules:
        for label, changed in _rule_variants(graph, rule):
            yield f"rule {rule.name}: {label}", graph.with_(rules=_replaced(graph.rules, changed))


def _rule_variants(graph: Graph, rule: PlasticityRule) -> Iterator[tuple[str, PlasticityRule]]:
    scope = _rule_scope(graph, rule)
    for other in variants(rule.increment, scope):
        yield f"increment {show(other)}", replace(rule, increment=other)
    for other in variants(rule.deliver, _rule_scope(graph, rule, initial=True)) if rule.shapes else ():
        yield f"deliver {show(other)}", replace(rule, deliver=other)
    for update in rule.updates:
        for other in variants(update.expression, scope):
            yield f"{update.name} = {show(other)}", replace(rule, updates=_equations(rule.updates, update.name, other))
    for state in rule.states:
        for other in variants(state.initial, _rule_scope(graph, rule, initial=True)):
            states = tuple(replace(s, initial=other) if s is state else s for s in rule.states)
            yield f"state {state.name} = {show(other)}", replace(rule, states=states)
    kind, arguments = rule.optimiser.kind, rule.optimiser.arguments
    if kind != "none":
        yield "no optimiser", replace(rule, optimiser=Optimiser())
    for index, argument in enumerate(arguments):
        for other in variants(argument, _rule_scope(graph, rule, initial=False)):
            changed = Optimiser(kind, (*arguments[:index], other, *arguments[index + 1:]))
            yield f"{kind}({show(other)})", replace(rule, optimiser=changed)


# ---- parameters


def in_parameters(graph: Graph) -> Iterator[Mutant]:
    """Scaled values, swapped values, a scaled step."""
    for scale in SCALES:
        yield f"dt * {scale}", graph.with_(dt=graph.dt * scale)
    for p in graph.populations:
        for label, values in _values(p.parameters):
            changed = _replaced(graph.populations, replace(p, parameters=values))
            yield f"population {p.name}: {label}", graph.with_(populations=changed)
    for q in graph.projections:
        for label, values in _values(q.parameters):
            changed_q = _replaced(graph.projections, replace(q, parameters=values))
            yield f"projection {q.name}: {label}", graph.with_(projections=changed_q)
    yield from _defaults(graph)


def _values(parameters: tuple[tuple[str, float], ...]) -> Iterator[tuple[str, tuple[tuple[str, float], ...]]]:
    for index, (name, value) in enumerate(parameters):
        for scale in (*SCALES, -1.0):
            if value:
                yield f"{name} * {scale}", (*parameters[:index], (name, value * scale), *parameters[index + 1:])
    for index in range(len(parameters) - 1):
        (a, x), (b, y) = parameters[index:index + 2]
        if x != y:
            yield f"{a} and {b} swapped", (*parameters[:index], (a, y), (b, x), *parameters[index + 2:])


def _defaults(graph: Graph) -> Iterator[Mutant]:
    for cell in graph.cells:
        owners = [dict(p.parameters) for p in graph.populations if p.cell == cell.name]
        for parameter in cell.parameters:
            if parameter.default and any(parameter.name not in owner for owner in owners):
                for scale in SCALES:
                    changed = tuple(replace(p, default=parameter.default * scale) if p is parameter else p
                                    for p in cell.parameters)
                    yield (f"cell {cell.name}: default {parameter.name} * {scale}",
                           graph.with_(cells=_replaced(graph.cells, replace(cell, parameters=changed))))


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


def in_classes(graph: Graph) -> Iterator[Mutant]:
    """Another message, port, rule or constraint for a synapse class."""
    for synapse in graph.synapses:
        for label, changed in _class_variants(graph, synapse):
            yield f"synapse {synapse.name}: {label}", graph.with_(synapses=_replaced(graph.synapses, changed))


def _class_variants(graph: Graph, synapse: SynapseClass) -> Iterator[tuple[str, SynapseClass]]:
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
        rest = (*graph.mirrors[:index], *graph.mirrors[index + 1:])
        yield f"mirror {mirror.target} missing", graph.with_(mirrors=rest)
        for label, changed in _mirror_variants(graph, mirror):
            yield (f"mirror {mirror.target}: {label}",
                   graph.with_(mirrors=(*graph.mirrors[:index], changed, *graph.mirrors[index + 1:])))
        if index:
            before = graph.mirrors[index - 1]
            order = (*graph.mirrors[:index - 1], mirror, before, *graph.mirrors[index + 1:])
            yield f"mirror {mirror.target} before {before.target}", graph.with_(mirrors=order)


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
    in_cells, in_first_values, in_rules, in_parameters, in_wiring, in_classes, in_mirrors, in_noise)
