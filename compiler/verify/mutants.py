"""Mutation operators: every small mistake that a compiler, or the author of a circuit, could make, at every site.

`mutants(graph)` yields (description, graph) pairs; a description holds names and the changed text, not sizes, so the
same mistake has the same description in a larger circuit. `still_the_same` proves some of them harmless.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

import numpy as np

from compiler.ir import Expression, Graph, show
from compiler.ir.expressions import (
    Binary,
    Call,
    Name,
    Negate,
    Number,
    Prev,
    Where,
    children,
    names,
    previous,
    reads,
    rebuild,
    substitute,
    transform,
)
from compiler.ir.functions import ACTIVATIONS, ARITY
from compiler.ir.model import (
    CellType,
    Equation,
    Mirror,
    Optimiser,
    PlasticityRule,
    Population,
    Projection,
    SynapseClass,
    cell_parameters,
    rule_parameters,
    weight_shape,
)
from compiler.ir.schedule import message_depth

Mutant = tuple[str, Graph]
Variant = Expression
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
    alternatives: dict[str, list[str]] = field(default_factory=dict, compare=False)

    def others(self, name: str) -> list[str]:
        found = [other for group in self.groups if name in group for other in group if other != name]
        return list(dict.fromkeys(found))


def variants(expression: Expression, scope: Scope, product: bool = False) -> Iterator[Variant]:
    """The expression with one mistake; `product`: it is a factor of a product, whose sign is changed elsewhere."""
    yield from _local(expression, scope, product)
    parts = children(expression)
    inside = isinstance(expression, Binary) and expression.operator in "*/"
    for index, part in enumerate(parts):
        for other in variants(part, scope, inside):
            yield rebuild(expression, (*parts[:index], other, *parts[index + 1:]))


def _local(expression: Expression, scope: Scope, product: bool) -> Iterator[Variant]:
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


def _number(value: float, scope: Scope) -> Iterator[Variant]:
    if value:
        yield from (Number(value * scale) for scale in SCALES)
    elif scope.initial:
        yield Number(0.1)


def _name(name: str, scope: Scope) -> Iterator[Variant]:
    if name in scope.stored:
        yield Prev(name, 1)
    yield from map(Name, scope.others(name))
    if scope.initial:
        yield Number(0.0)


def _binary(operator: str, left: Expression, right: Expression, product: bool) -> Iterator[Variant]:
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


def _call(function: str, arguments: tuple[Expression, ...]) -> Iterator[Variant]:
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
    if q.delay:
        yield "delay - 1", replace(q, delay=q.delay - 1)
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
    for rule in (*(r.name for r in graph.rules), None):
        if owners and rule != synapse.rule and (synapse.rule or rule) and synapse.connectivity != "identity":
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


# ---- proofs that nothing changed


def still_the_same(graph: Graph, mutant: Graph) -> str:
    """Why the mutant is the same circuit, or "" where that is not proven."""
    return next((reason for proof, reason in PROOFS if proof(graph, mutant)), "")


def _draws_without_a_gate(graph: Graph, mutant: Graph) -> bool:
    """More draws than before, none of which is read: replayed draws do not move on by being drawn."""
    bare = graph.with_(noise=replace(graph.noise, gate=None))
    if graph.noise.kind != "recorded" or graph.noise.gate is None or not _identical(mutant, bare):
        return False
    condition = Binary(">", Name(f"gate.{graph.noise.gate}"), Number(0.0))

    def off(node: Expression) -> Expression:
        return node.otherwise if isinstance(node, Where) and node.condition == condition else node

    return all(not names(transform(e.expression, off)) & {n for n, _ in cell.noise}
               for cell in graph.cells for e in cell.equations) and not any(
                   name.endswith(f".{n}") for cell in graph.cells for n, _ in cell.noise
                   for rule in graph.rules for name in reads(rule.increment))


def _independent_mirrors(graph: Graph, mutant: Graph) -> bool:
    """Two neighbours changed places, and neither touches what the other writes."""
    if not _identical(mutant, graph.with_(mirrors=mutant.mirrors)) or len(mutant.mirrors) != len(graph.mirrors):
        return False
    changed = [pair for pair in zip(graph.mirrors, mutant.mirrors, strict=True) if pair[0] != pair[1]]
    if len(changed) != 2 or changed[0] != changed[1][::-1]:
        return False
    a, b = changed[0]
    return a.target not in (b.source, b.target) and b.target != a.source


def _equal_equations_only(graph: Graph, mutant: Graph) -> bool:
    return _same_but_equations(graph, mutant) and _equal_equations(graph, mutant)


def _unread_first_values_only(graph: Graph, mutant: Graph) -> bool:
    return _same_but_equations(graph, mutant) and _unread_first_value(graph, mutant)


def _unread_first_value(graph: Graph, mutant: Graph) -> bool:
    """Whether only first values of states differ, each of which drops out of whatever reads it in the first step."""
    if graph.rules != mutant.rules:
        return False
    for old, new in zip(graph.cells, mutant.cells, strict=True):
        changed = [a.name for a, b in zip(old.states, new.states, strict=True) if a.initial != b.initial]
        if old.equations != new.equations or not all(_drops_out(graph, old, name) for name in changed):
            return False
    return True


def _drops_out(graph: Graph, cell: CellType, state: str) -> bool:
    if any(state in reads(s.initial) for s in cell.states):
        return False
    if any(state in _first_step(graph, cell, e.expression, "", state) for e in cell.equations):
        return False
    for q in graph.projections:
        if graph.cell_of(q.pre) is cell and message_depth(graph, q) > 0 and graph.class_of(q.name).message == state:
            return False
        rule = graph.rule_of(q)
        for expression in [rule.increment, *(u.expression for u in rule.updates)] if rule else []:
            sides = [side for side, end in (("pre.", q.pre), ("post.", q.post)) if graph.cell_of(end) is cell]
            if any(f"{side}{state}" in _first_step(graph, cell, expression, q.name, state) for side in sides):
                return False
    return True


def _first_step(graph: Graph, cell: CellType, expression: Expression, projection: str, state: str) -> set[str]:
    """Earlier values that an expression really reads in the first step; deeper reads count whatever they meet."""
    read = previous(expression)
    deep = {name for name, depth in read.items() if depth > 1}

    def first(node: Expression) -> Expression:
        if not isinstance(node, Prev) or node.name.rpartition(".")[2] == state:
            return node
        value = _first_value(graph, cell, node.name, projection)
        return node if value is None else Number(value)

    return deep | set(previous(reduced(transform(expression, first), {})))


def _first_value(graph: Graph, cell: CellType, name: str, projection: str) -> float | None:
    """The declared literal that every instance starts from, or None."""
    side, _, quantity = name.rpartition(".")
    owners = [p.name for p in graph.populations if p.cell == cell.name]
    if side:
        q = graph.projection(projection)
        owners = [q.pre if side == "pre" else q.post]
        cell = graph.cell_of(owners[0])
    declared = cell.state(quantity)
    if declared is None or any(f"{owner}.{quantity}" in graph.arrays for owner in owners):
        return None
    return declared.initial.value if isinstance(declared.initial, Number) else None


def _identical(graph: Graph, other: Graph) -> bool:
    """Equal, and bound to the same arrays."""
    return graph == other and graph.arrays.keys() == other.arrays.keys() and all(
        other.arrays[name] is array for name, array in graph.arrays.items())


def _same_but_equations(graph: Graph, mutant: Graph) -> bool:
    shapes = zip(graph.cells, mutant.cells, strict=True)
    return _identical(graph.with_(cells=mutant.cells, rules=mutant.rules), mutant) and all(
        a == replace(b, equations=a.equations, states=a.states) for a, b in shapes)


def _equal_equations(graph: Graph, mutant: Graph) -> bool:
    for p in graph.populations:
        table = {name: Number(value) for name, value in cell_parameters(graph, p).items()
                 if f"{p.name}.{name}" not in graph.arrays}
        old, new = graph.cell(p.cell), mutant.cell(p.cell)
        bound = {s.name for s in old.states if f"{p.name}.{s.name}" in graph.arrays}
        pairs = [(a.expression, b.expression) for a, b in zip(old.equations, new.equations, strict=True)]
        pairs += [(a.initial, b.initial) for a, b in zip(old.states, new.states, strict=True) if a.name not in bound]
        if any(reduced(a, table) != reduced(b, table) for a, b in pairs):
            return False
    return all(_equal_rules(graph, mutant, q) for q in graph.projections)


def _equal_rules(graph: Graph, mutant: Graph, q: Projection) -> bool:
    old, new = graph.rule_of(q), mutant.rule_of(q)
    if old is None or new is None or old == new:
        return old == new
    table = {name: Number(value) for name, value in rule_parameters(graph, q).items()}
    expressions = [[r.increment, *_updates(r), *(s.initial for s in r.states), *r.optimiser.arguments]
                   for r in (old, new)]
    return old.optimiser.kind == new.optimiser.kind and all(
        reduced(a, table) == reduced(b, table) for a, b in zip(*expressions, strict=True))


def _updates(rule: PlasticityRule) -> list[Expression]:
    """Updates, where a state that is not updated yet is its own last value."""
    return [substitute(update.expression, {later.name: Prev(later.name, 1) for later in rule.updates[index:]})
            for index, update in enumerate(rule.updates)]


def reduced(expression: Expression, table: dict[str, Number]) -> Expression:
    """With parameters as numbers, numbers computed, and terms and factors that are 0 left out."""
    return transform(substitute(expression, dict(table)), _reduce)


def _reduce(node: Expression) -> Expression:
    match node:
        case Binary("*", Number(0.0), _) | Binary("*", _, Number(0.0)) | Binary("/", Number(0.0), _):
            return Number(0.0)
        case Binary("+", Number(0.0), x) | Binary("+" | "-", x, Number(0.0)):
            return x
        case Binary("-", Number(0.0), x):
            return Negate(x)
        case Negate(Number(value)):
            return Number(-value)
        case Negate(Negate(x)) | Call("linear", (x,)):
            return x
        case Binary(operator, Number(a), Number(b)) if operator in "+-*/" and b:
            return Number({"+": a + b, "-": a - b, "*": a * b, "/": a / b}[operator])
        case Where(_, then, otherwise) if then == otherwise:
            return then
    return node


PROOFS: tuple[tuple[Callable[[Graph, Graph], bool], str], ...] = (
    (_draws_without_a_gate, "replayed draws are read only while their gate is on"),
    (_independent_mirrors, "the two mirrors do not touch each other's weights"),
    (_equal_equations_only, "equal for these parameters: the change is multiplied by 0, or written in another way"),
    (_unread_first_values_only, "the first value is multiplied by 0 where it is read"))
