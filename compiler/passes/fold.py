"""Fold: what is known now is computed now, and what nothing reads is left out. Results keep their bits.

before    receive u = where(1 > 0, 1 * (prev(u) * (2 + 3)), basal)
after     receive u = prev(u) * 5

before    synapse lateral                         (rule hebb: increment eta * post.rate * pre.rate)
            rule hebb
          projection W lateral a -> b gate=learn
            eta = 0
after     synapse lateral_static
          projection W lateral_static a -> b

Three parts, in this order:
1. constants, with the scalar functions of the IR; x * 1, 1 * x, x / 1, --x, linear(x), where(constant, ...).
   Not x + 0 nor x * 0, which change the sign of a zero or hide an infinity;
2. rules that cannot move their weight, because a parameter that is 0 in this projection multiplies every
   term (for finite activity; a weight of -0 keeps its sign);
3. dead code: equations, states, parameters, classes that no message, rule, output or request needs.

Projections, populations, ports, inputs, noise and gates stay: weights are results, and inputs, draws and
gates belong to the protocol.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import ClassVar, TypeVar

import numpy as np

from cortexc.compiler.ir import (
    Binary,
    Call,
    CellType,
    Expression,
    Graph,
    Name,
    Negate,
    Number,
    Parameter,
    PlasticityRule,
    Population,
    Projection,
    SynapseClass,
    Where,
)
from cortexc.compiler.ir.arrays import expected_shapes
from cortexc.compiler.ir.expressions import children, previous, reads, substitute, transform
from cortexc.compiler.ir.functions import OPERATORS, SCALAR
from cortexc.compiler.ir.model import rule_parameters
from cortexc.compiler.ir.schedule import as_old_as, message_depth
from cortexc.compiler.ir.synapses import most_delay
from cortexc.compiler.passes.base import SAME, Request
from cortexc.compiler.passes.rewriting import cell_with, exchanged, rule_with

Parameters = tuple[Parameter, ...]
Owner = TypeVar("Owner", Population, Projection)


@dataclass(frozen=True)
class Fold:
    name: ClassVar[str] = "fold"
    fidelity: ClassVar[str] = SAME

    def apply(self, graph: Graph, request: Request) -> Graph:
        return remove_dead(freeze_idle_rules(fold_constants(graph), request), request)


# --- 1. constants ---------------------------------------------------------------------------------------


def fold_constants(graph: Graph) -> Graph:
    return as_old_as(graph, graph.with_(cells=tuple(cell_with(cell, simplify) for cell in graph.cells),
                                        rules=tuple(rule_with(rule, simplify) for rule in graph.rules)))


def simplify(expression: Expression) -> Expression:
    """An expression with the same bits for all values of its names."""
    return transform(expression, _simplify_node)


def _simplify_node(node: Expression) -> Expression:
    match node:
        case Negate(Negate(operand)) | Call("linear", (operand,)):
            return operand
        case Binary("*", Number(1.0), x) | Binary("*" | "/", x, Number(1.0)):
            return x
        case Where(condition, then, otherwise) if (chosen := constant(condition)) is not None:
            return then if chosen != 0 else otherwise
    value = _computed(node)
    return node if value is None or math.isnan(value) else literal(value)


def constant(expression: Expression) -> float | None:
    """The value of a literal; negative literals are written as a negated number."""
    match expression:
        case Number(value):
            return value
        case Negate(Number(value)):
            return -value
    return None


def literal(value: float) -> Expression:
    """The expression whose text reads back as itself; keeps the sign of zero."""
    return Number(value) if math.copysign(1.0, value) > 0 else Negate(Number(-value))


def _computed(node: Expression) -> float | None:
    """The value of an operation on literals, as the interpreter computes it."""
    values = [constant(child) for child in children(node)]
    if not values or any(value is None for value in values):
        return None
    with np.errstate(all="ignore"):
        match node:
            case Binary(operator):
                return float(OPERATORS[operator](*(np.float64(v) for v in values)))
            case Call(function):
                return float(SCALAR[function](*values))
    return None


# --- 2. rules that cannot move their weight -------------------------------------------------------------


def freeze_idle_rules(graph: Graph, request: Request) -> Graph:
    """Gives every projection whose increment is identically zero a synapse class without a rule."""
    for projection in graph.projections:
        if _idle(graph, projection, request):  # the array of its optimiser goes with the dead code
            static, graph = _static_class(graph, graph.class_of(projection.name))
            graph = exchanged(graph, projection, replace(projection, synapse=static, gate=None, apply=None,
                                                         parameters=()))
    return graph


def _idle(graph: Graph, projection: Projection, request: Request) -> bool:
    rule = graph.rule_of(projection)
    if rule is None or rule.shapes:
        return False
    learnt = ("increment", rule.optimiser.kind, *(state.name for state in rule.states))
    if request.observes(*(f"{projection.name}.{quantity}" for quantity in learnt)):
        return False
    zero = is_zero(rule.increment, rule_parameters(graph, projection))
    return zero and _zero_moves_nothing(graph, projection, rule)


def _zero_moves_nothing(graph: Graph, projection: Projection, rule: PlasticityRule) -> bool:
    """The optimiser starts empty, no limit clips a mirrored weight, Adam does not divide 0 by 0."""
    if np.any(graph.arrays.get(f"{projection.name}.{rule.optimiser.kind}", 0.0)):
        return False
    mirrored = any(mirror.target == projection.name for mirror in graph.mirrors)
    if mirrored and graph.class_of(projection.name).bounds != (-math.inf, math.inf):
        return False
    if not rule.optimiser.traits.divides:
        return True
    table = {name: literal(value) for name, value in rule_parameters(graph, projection).items()}
    arguments = [constant(simplify(substitute(a, table))) for a in rule.optimiser.arguments]
    rate, first, second, epsilon = arguments
    return bool(rate is not None and first not in (None, 1.0) and second not in (None, 1.0) and epsilon)


def is_zero(expression: Expression, values: dict[str, float]) -> bool:
    """Whether a zero constant multiplies every term."""
    match expression:
        case Number(value):
            return value == 0
        case Name(name):
            return values.get(name) == 0
        case Negate(operand):
            return is_zero(operand, values)
        case Binary("*", left, right):
            return is_zero(left, values) or is_zero(right, values)
        case Binary("/", left, _):
            return is_zero(left, values)
        case Binary("+" | "-", left, right) | Where(_, left, right):
            return is_zero(left, values) and is_zero(right, values)
    return False


def _static_class(graph: Graph, synapse: SynapseClass) -> tuple[str, Graph]:
    """The name of the class without a rule, and the graph that has it right after the original."""
    name, known = f"{synapse.name}_static", {s.name: s for s in graph.synapses}
    while name in known and known[name] != replace(synapse, name=name, rule=None):
        name += "_static"
    if name in known:
        return name, graph
    place = graph.synapses.index(synapse) + 1
    added = replace(synapse, name=name, rule=None)
    return name, graph.with_(synapses=(*graph.synapses[:place], added, *graph.synapses[place:]))


# --- 3. dead code ---------------------------------------------------------------------------------------


def remove_dead(graph: Graph, request: Request) -> Graph:
    """Leaves out what no message, rule, output or request needs."""
    synapses = {p.synapse for p in graph.projections}
    graph = graph.with_(synapses=tuple(s for s in graph.synapses if s.name in synapses))
    taught = {s.rule for s in graph.synapses}
    graph = graph.with_(rules=tuple(_live_rule(graph, r, request) for r in graph.rules if r.name in taught))
    used = {p.cell for p in graph.populations}
    cells = tuple(_live_cell(graph, cell, request) for cell in graph.cells if cell.name in used)
    return _drop_values(graph.with_(cells=cells))


def _live_rule(graph: Graph, rule: PlasticityRule, request: Request) -> PlasticityRule:
    owners = [p.name for p in graph.projections if graph.rule_of(p) is rule]
    needed = reads(rule.increment) | reads(rule.deliver)
    needed |= {s.name for s in rule.states if request.observes(*(f"{owner}.{s.name}" for owner in owners))}
    for _ in rule.updates:
        needed = needed.union(*(reads(u.expression) for u in rule.updates if u.name in needed))
    rule = replace(rule, states=tuple(s for s in rule.states if s.name in needed),
                   updates=tuple(u for u in rule.updates if u.name in needed))
    expressions = [*rule.expressions, rule.deliver, *rule.optimiser.arguments, *(s.initial for s in rule.states)]
    drawn = [i for i, (name, _) in enumerate(rule.noise) if any(name in reads(e) for e in expressions)]
    noise = rule.noise[:max(drawn, default=-1) + 1]  # a draw's place among the others says what is drawn
    return replace(rule, parameters=_read_parameters(rule.parameters, expressions), noise=noise)


def _read_parameters(parameters: Parameters, expressions: Iterable[Expression]) -> Parameters:
    needed = set[str]().union(*(reads(e) for e in expressions))
    return tuple(p for p in parameters if p.name in needed)


def _live_cell(graph: Graph, cell: CellType, request: Request) -> CellType:
    now, earlier = _read_from_outside(graph, cell)
    owners = [p.name for p in graph.populations if p.cell == cell.name]
    observed = {e.name for e in cell.equations if request.observes(*(f"{owner}.{e.name}" for owner in owners))}
    now, earlier = _closure(cell, now | observed, earlier)
    equations = tuple(e for e in cell.equations if e.name in now)
    states = tuple(s for s in cell.states if s.name in earlier)
    expressions = [*(e.expression for e in equations), *(s.initial for s in states)]
    taken = {graph.class_of(q.name).message for q in graph.projections if graph.population(q.pre).cell == cell.name}
    sent, late = (tuple(name for name in names if name in taken) for names in (cell.messages, cell.late))
    return replace(cell, equations=equations, states=states, messages=sent, late=late,
                   parameters=_read_parameters(cell.parameters, expressions))


def _closure(cell: CellType, now: set[str], earlier: set[str]) -> tuple[set[str], set[str]]:
    """All names that these need: read at all, and read from before this step.

    A state needs its equation, and whatever its initial value reads must be a state too.
    """
    before = (now, earlier)
    live = [e for e in cell.equations if e.name in now | earlier]
    now = now.union(*({e.name} | reads(e.expression) for e in live))
    earlier = earlier.union(*(previous(e.expression) for e in live), (e.name for e in live if e.derivative))
    earlier = earlier.union(*(reads(s.initial) for s in cell.states if s.name in earlier))
    return before if before == (now, earlier) else _closure(cell, now, earlier)


def _read_from_outside(graph: Graph, cell: CellType) -> tuple[set[str], set[str]]:
    """Quantities of a cell that projections, rules and outputs read: at all, and from before this step."""
    ours = {p.name for p in graph.populations if p.cell == cell.name}
    now = {quantity for owner, _, quantity in (q.partition(".") for _, q in graph.outputs) if owner in ours}
    earlier: set[str] = set()
    for projection in graph.projections:
        if projection.pre in ours:
            now.add(graph.class_of(projection.name).message)
            if message_depth(graph, projection) > 0 or most_delay(graph, projection) > 1:
                earlier.add(graph.class_of(projection.name).message)
        rule = graph.rule_of(projection)
        for expression in rule.expressions if rule else ():
            ends = {"pre": projection.pre, "arrived": projection.pre, "post": projection.post}
            sides = [side for side, end in ends.items() if end in ours]
            now |= _of_side(reads(expression), sides)
            earlier |= _of_side(previous(expression), sides)
            earlier |= _of_side(rule.arrivals if rule else (), sides)
    return now, earlier


def _of_side(found: Iterable[str], sides: list[str]) -> set[str]:
    return {name.split(".", 1)[1] for name in found if "." in name and name.split(".", 1)[0] in sides}


def _drop_values(graph: Graph) -> Graph:
    """Leaves out values and arrays of parameters, states and optimisers that are gone."""
    populations = tuple(_only(p, graph.cell(p.cell).parameters) for p in graph.populations)
    projections = tuple(_only(p, rule.parameters if rule else ())
                        for p, rule in ((p, graph.rule_of(p)) for p in graph.projections))
    graph = graph.with_(populations=populations, projections=projections)
    known = expected_shapes(graph)
    return graph.with_(arrays={name: array for name, array in graph.arrays.items()
                               if name in known or name.startswith("table.")})


def _only(owner: Owner, declared: Parameters) -> Owner:
    """A population or projection with values for declared parameters alone."""
    known = {parameter.name for parameter in declared}
    return replace(owner, parameters=tuple(item for item in owner.parameters if item[0] in known))
