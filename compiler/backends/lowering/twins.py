"""Two projections whose synapses lie in one matrix: where one has a synapse, the other one has none.

    masks of A and B    1 0 1    0 1 0
    weights             a 0 c    0 b 0
    in memory           a -b c             the sign bit says whose synapse it is, also where its weight is 0

Both have the same presynaptic cells, message and shape, weights that are never negative, and increments that are each
other's negative: E-type and I-type synapses, of which the ones hear an error and the others its negative. So one sum
of increments, one step of the optimiser, and a memory half as large serve both. Found by masks and algebra, with the
bits of two matrices as long as weights are finite; two currents are still summed apart.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from cortexc.compiler.backends.kernels.layout import pack_weights
from cortexc.compiler.backends.lowering.cells import message_slot
from cortexc.compiler.ir.arrays import connection_mask
from cortexc.compiler.ir.evaluation import evaluate_scalar
from cortexc.compiler.ir.expressions import Binary, Expression, Name, Negate, Number, Prev, transform
from cortexc.compiler.ir.model import Array, Graph, Projection, rule_parameters

if TYPE_CHECKING:
    from cortexc.compiler.backends.lowering.projections import ProjectionLowering

Read = Callable[[str], Array]


@dataclass(frozen=True)
class Half:
    """Where a number per synapse of one of two such projections lies: in the slot `matrix`, where the sign bit in the
    slot `signs` is `second`. `sums`: a sum of increments, which are the first one's."""

    matrix: str
    signs: str
    second: bool
    sums: bool = False

    def read(self, read: Read) -> Array:
        """As it would lie alone."""
        values, own = read(self.matrix), np.signbit(read(self.signs)) == self.second
        values = np.abs(values) if self.matrix == self.signs else self._turned(values)
        return np.where(own, values, 0.0)

    def written(self, values: Array, read: Read) -> dict[str, Array]:
        """The matrix with other values of its own."""
        before, signs = read(self.matrix), read(self.signs)
        values = np.copysign(values, signs) if self.matrix == self.signs else self._turned(values)
        return {self.matrix: np.where(np.signbit(signs) == self.second, values, before)}

    def _turned(self, values: Array) -> Array:
        return 0.0 - values if self.sums and self.second else values


def join_twins(projections: Iterable[ProjectionLowering]) -> dict[str, Half]:
    """Tells each of two such projections of the other one; where their numbers per synapse lie, by slot."""
    found: dict[str, Half] = {}
    alone: list[ProjectionLowering] = []
    for q in projections:
        first = next((other for other in alone if _are_twins(other, q)), None) if _may_join(q) else None
        if first:
            alone.remove(first)
            first.twin, q.leader = q, first
            if first.held:
                first.held.twin = q.held
            found |= dict(_halves(first, q))
        elif _may_join(q):
            alone.append(q)
    return found


def _halves(first: ProjectionLowering, second: ProjectionLowering) -> Iterator[tuple[str, Half]]:
    assert first.summed
    signs, kind = first.weight_slot.name, first.summed.kind
    matrices = {"w": signs} | {key: first.slot(key) for key in (kind, *(("adam_first", "adam_second")
                                                                        if kind == "adam" else ()))}
    for key, matrix in matrices.items():
        for own, is_second in ((first, False), (second, True)):
            yield own.slot(key), Half(matrix, signs, is_second, key == kind)


def signed(first: ProjectionLowering) -> Array:
    """The matrix at the start, as it lies in memory."""
    assert first.twin
    values = first.start.values
    own, other = (np.abs(values[q.slot("w")]) for q in (first, first.twin))
    return pack_weights(np.where(_mask(first) > 0, own, -other), first.shape)


def _may_join(q: ProjectionLowering) -> bool:
    """Whether it is alone with its weights, and its increments are a product that an optimiser sums."""
    graph, kind = q.graph, q.synapse.kind
    if not q.rule or not q.summed or not q.summed.by_rows or kind.pairs or kind.listed or kind.back or q.rule.shapes:
        return False
    if q.factors.decay is not None:
        return False
    watched = {q.slot(key) for key in ("w", *q.rule.learnt)} & q.observed
    fresh = not any(q.start.values[q.slot(key)].any() for key in q.rule.learnt)
    mirrored = any(q.projection.name in (m.source, m.target) for m in graph.mirrors)
    never_negative = q.synapse.bounds[0] >= 0 and bool((q.start.values[q.slot("w")] >= 0).all())
    one_process = "+" not in q.projection.group
    return (one_process and fresh and not watched and not mirrored and never_negative and not q.synapse.unit
            and not q.sends_events and connection_mask(graph, q.projection) is not None and _optimiser(q) is not None)


def _optimiser(q: ProjectionLowering) -> tuple[object, ...] | None:
    """Its kind and numbers, where synapses that are not there stay at 0 and every synapse is for itself."""
    assert q.rule
    values = dict(rule_parameters(q.graph, q.projection))
    numbers = [evaluate_scalar(a, values) for a in q.rule.optimiser.arguments]
    alone = q.rule.optimiser.kind == "accumulate" or q.rule.optimiser.kind == "adam" and numbers[-1] > 0
    return (q.rule.optimiser.kind, *numbers) if alone else None


def _are_twins(first: ProjectionLowering, second: ProjectionLowering) -> bool:
    a, b = first.projection, second.projection
    same = ("pre", "delay", "gate", "apply", "lowering", "convolution", "group")
    if any(getattr(a, key) != getattr(b, key) for key in same) or first.shape != second.shape:
        return False
    if first.synapse.bounds != second.synapse.bounds or first.synapse.kind != second.synapse.kind:
        return False
    if message_slot(first.storage, a) != message_slot(second.storage, b) or _optimiser(first) != _optimiser(second):
        return False
    return np.array_equal(_mask(first), 1 - _mask(second)) and _opposite(first, second)


def _mask(q: ProjectionLowering) -> Array:
    mask = connection_mask(q.graph, q.projection)
    return np.ones(()) if mask is None else mask


def _opposite(first: ProjectionLowering, second: ProjectionLowering) -> bool:
    """Whether the increments are each other's negative, to the bit: the same products, of which one more or one less
    has a minus."""
    (sign, product), (other, same) = (_sign_and_product(_of_cells(q)) for q in (first, second))
    return sign != other and product == same


def _of_cells(q: ProjectionLowering) -> Expression:
    """The increment, over quantities of populations and over numbers; what identities hand on is whose it is."""
    assert q.rule
    ends = {"pre": q.projection.pre, "post": q.projection.post}

    def leaf(e: Expression) -> Expression:
        if not isinstance(e, Name | Prev):
            return e
        side, _, quantity = e.name.partition(".")
        if side in ends:
            earlier = isinstance(e, Prev)
            return replace(e, name=f"{ends[side]}.{quantity}" if earlier else _origin(q.graph, ends[side], quantity))
        return Number(numbers[e.name]) if e.name in numbers else e

    numbers = rule_parameters(q.graph, q.projection)
    return transform(q.rule.increment, leaf)


def _origin(graph: Graph, population: str, quantity: str) -> str:
    """Where the same number was computed in the same step."""
    equation = graph.cell_of(population).equation(quantity)
    name = equation.expression.name if equation and isinstance(equation.expression, Name) else None
    source = [*graph.into(population, name)] if name and any(
        port.name == name for port in graph.cell_of(population).ports) else []
    if len(source) == 1 and _hands_on(graph, source[0]):
        return _origin(graph, source[0].pre, graph.class_of(source[0].name).message)
    return f"{population}.{quantity}"


def _hands_on(graph: Graph, q: Projection) -> bool:
    return not graph.class_of(q.name).kind.weighted and q.delay == 0


def _sign_and_product(expression: Expression) -> tuple[bool, Expression]:
    """Whether it is negative, and what is left of products and quotients without their minus signs."""
    match expression:
        case Negate(operand):
            negative, left = _sign_and_product(operand)
            return not negative, left
        case Binary("*" | "/" as operator, left, right):
            (one, a), (other, b) = map(_sign_and_product, (left, right))
            return one != other, Binary(operator, a, b)
    return False, expression
