"""defer-decay: a trace at a synapse that only decays between events is brought up to date when the next one comes.

    update c = 0.999 * prev(c) + pre.trace * post.spike - post.trace * pre.spike
    increment 0.01 * c * post.reward

before    projection W reward_modulated a -> b gate=learn
after     projection W reward_modulated a -> b gate=learn lowering=lazy

In a step, the synapses of cells with an event are visited, and all of them where what reads the trace, here the reward,
is not 0 for many cells. k steps without a visit are one product with the k-th power of the decay: equal algebraically,
not to the bit. A trace that is recorded or read is brought up to date for that.

Proved by ranges: with all events and gates of the updates at 0, every state that the synapses do not share is a number
times itself, and with what else the increment reads at 0, the increment is 0. Left alone: several seeds or samples,
increments that are observed or go through an optimiser, random numbers, weights in whole units or that a mirror writes,
rules that shape what is delivered, what arrives at every synapse in its own time, pairs of cells and feature maps.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

from cortexc.compiler.ir import Expression, Graph, PlasticityRule, Projection
from cortexc.compiler.ir.cells import CellType
from cortexc.compiler.ir.evaluation import evaluate_scalar
from cortexc.compiler.ir.expressions import (
    Binary,
    Name,
    Negate,
    Number,
    Prev,
    Where,
    reads,
    substitute,
    transform,
    walk,
)
from cortexc.compiler.ir.linear import linear
from cortexc.compiler.ir.model import rule_parameters, weight_shape
from cortexc.compiler.ir.schedule import reached
from cortexc.compiler.passes.base import Request
from cortexc.compiler.passes.events import GATE, is_event
from cortexc.compiler.passes.ranges import Ranges, Values, only, value_ranges

LAZY = "lazy"
REACH = 2.0**200
WITHIN, SILENT = Values(-REACH, REACH), only(0.0)
ZERO, OLD = Number(0.0), Name("@old")
Known = Mapping[str, Values]


@dataclass(frozen=True)
class DeferDecay:
    name: ClassVar[str] = "defer-decay"
    fidelity: ClassVar[str] = "algebra"
    least_synapses: int = 4096
    """Projections with fewer are left alone: the books would cost more than they save."""

    def apply(self, graph: Graph, request: Request) -> Graph:
        return graph.with_(projections=tuple(
            replace(q, lowering=LAZY) if self.fits(graph, q, request) else q for q in graph.projections))

    def fits(self, graph: Graph, q: Projection, request: Request) -> bool:
        """Whether this projection, not lowered yet, is one of those."""
        rule, synapse = graph.rule_of(q), graph.class_of(q.name)
        if rule is None or q.lowering or graph.batch > 1 or rule.shapes or rule.noise or rule.optimiser.kind != "none":
            return False
        travels = bool(rule.arrivals) and (q.delays is not None or f"{q.name}.delay" in graph.arrays)
        if not (synapse.kind.listed or synapse.kind.matrix) or travels or q.convolution or synapse.unit or any(
                m.target == q.name for m in graph.mirrors) or request.observes(f"{q.name}.increment"):
            return False
        own = _own_states(rule, synapse.kind.listed)
        return bool(own) and math.prod(weight_shape(graph, q)) >= self.least_synapses and _waits(graph, q, rule, own)


def _own_states(rule: PlasticityRule, listed: bool) -> set[str]:
    """States that are kept per synapse: all of a matrix, of a list those that depend on more than one cell."""
    updates = {u.name: reads(u.expression) for u in rule.updates}

    def sides(state: str) -> set[str]:
        found = reached([state], lambda name: updates.get(name, ()))
        return {"post" if name.startswith("post.") else "pre" for name in found if "." in name and not name.startswith(
            GATE)} | ({"pre", "post"} if "w" in found else set())

    return {s.name for s in rule.states if not listed or len(sides(s.name)) > 1}


def _waits(graph: Graph, q: Projection, rule: PlasticityRule, own: Collection[str]) -> bool:
    ends, parameters = {"pre": q.pre, "arrived": q.pre, "post": q.post}, rule_parameters(graph, q)
    values = {name: value_ranges(graph, name) for name in (q.pre, q.post)}

    def event(name: str) -> bool:
        side, _, quantity = name.partition(".")
        if side not in ends:
            return name.startswith(GATE)
        few = values[ends[side]].of(Name(quantity)).members
        return few is not None and 0.0 in few or is_event(graph.cell_of(ends[side]), quantity)

    known = {name: WITHIN for name in rule.read} | {name: only(value) for name, value in parameters.items()}
    known["w"] = WITHIN.within(*graph.class_of(q.name).bounds)
    quiet = known | {name: SILENT for name in rule.read if event(name)}
    silent = quiet | {name: SILENT for name in reads(rule.increment) if "." in name}
    updates = [(u.name, u.expression) for u in rule.updates]
    found = decays(updates, own, quiet, lambda e: evaluate_scalar(e, parameters))
    return found is not None and quiet != known and vanishes(rule.increment, silent)


def vanishes(expression: Expression, known: Known) -> bool:
    """Whether it is exactly 0, and nothing on the way leaves the finite numbers."""
    return _is_finite(expression, known) and is_nothing(expression, known)


def decays(updates: Iterable[tuple[str, Expression]], own: Collection[str], known: Known,
           scalar: Callable[[Expression], float]) -> dict[str, float] | None:
    """State -> the number from 0 to 1 that it is multiplied with in a step, where values are as known; None where one
    of them does anything else. `scalar` computes what reads parameters alone, and raises KeyError for others."""
    found: dict[str, float] = {}
    for name, expression in updates:
        if name in own:
            gone: dict[str, Expression] = {state: ZERO for state, decay in found.items() if decay == 0}
            left = substitute(expression, gone)
            decay = _slope(_rest(left, known), name, scalar) if _is_finite(left, known) else None
            if decay is None or not 0 <= decay <= 1:
                return None
            found[name] = decay
    return found


def _slope(expression: Expression, state: str, scalar: Callable[[Expression], float]) -> float | None:
    """Of an expression that is a number times the earlier state."""
    if expression == ZERO:
        return 0.0
    found = linear(transform(expression, lambda node: OLD if node == Prev(state, 1) else node), {OLD.name})
    if found is None or found.rest is not None:
        return None
    try:
        return scalar(found.coefficients[OLD.name])
    except KeyError:
        return None


def _rest(expression: Expression, known: Known) -> Expression:
    """Without terms that are 0."""
    if is_nothing(expression, known):
        return ZERO
    match expression:
        case Binary("+" | "-" as operator, left, right):
            one, two = _rest(left, known), _rest(right, known)
            if two == ZERO:
                return one
            return Binary(operator, one, two) if one != ZERO else two if operator == "+" else Negate(two)
        case Where(condition, then, otherwise):
            test = range_of(condition, known).members
            if test is not None and len(test) == 1:
                return _rest(then if test != {0.0} else otherwise, known)
    return expression


def _is_finite(expression: Expression, known: Known) -> bool:
    ranges = (range_of(node, known) for node in walk(expression))
    return all(math.isfinite(v.low) and math.isfinite(v.high) for v in ranges)


def is_nothing(expression: Expression, known: Known) -> bool:
    values = range_of(expression, known)
    return values.low == values.high == 0.0


def range_of(expression: Expression, known: Known) -> Values:
    return Ranges(CellType("rule"), known).of(expression)
