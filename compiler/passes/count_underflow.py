"""count-underflow: a quantised circuit counts what of its signals and increments becomes 0.

before    send rate_sent = fixed(rate, 128, 127, 0.5)    increment unit * floor(u + 0.5)
after     factor rate_sent_nonzero = prev(rate_sent_nonzero) + where(rate != 0, 1, 0)
          factor rate_sent_underflowed = prev(rate_sent_underflowed) + where(rate != 0 and rate_sent == 0, 1, 0)
                                                         update increment_nonzero = ...
                                                         update increment_underflowed = ...

Cells count their copies and inputs, per cell; synapses, in the steps in which they learn, what goes into the weight and
into the tag. What is rounded at random is not counted: it is lost below the least number that a draw tells from 0, of
which 2**24 make a unit. Relays count nothing, as they have no state; nor do synapses between feature maps, or whose
weights several samples share.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar

from cortexc.compiler.ir import CellType, Equation, Expression, Graph, PlasticityRule, Projection, State
from cortexc.compiler.ir.expressions import Binary, Call, Name, Number, Prev, Where, walk
from cortexc.compiler.passes.base import SAME, Request
from cortexc.compiler.passes.fixed_point import rounding_of
from cortexc.compiler.passes.rewriting import exchanged
from cortexc.compiler.passes.specialise import merge_equal
from cortexc.compiler.passes.widths import NONZERO, RESOLUTION, TAG, UNDERFLOWED, is_counter, tally

ZERO = Number(0.0)


@dataclass(frozen=True)
class CountUnderflow:
    name: ClassVar[str] = "count-underflow"
    fidelity: ClassVar[str] = SAME

    def apply(self, graph: Graph, request: Request) -> Graph:
        graph = graph.with_(cells=tuple(_counting_cell(cell) for cell in graph.cells))
        for q in graph.projections:
            shared = graph.samples > 1 and graph.class_of(q.name).role != "per_sample"
            if graph.rule_of(q) and not shared and q.convolution is None:
                graph = _counting_projection(graph, q)
        synapses = tuple(s for s in graph.synapses if any(q.synapse == s.name for q in graph.projections))
        rules = tuple(r for r in graph.rules if any(s.rule == r.name for s in synapses))
        return merge_equal(graph.with_(synapses=synapses, rules=rules))


# ---- cells


def _counting_cell(cell: CellType) -> CellType:
    if cell.relay:
        return cell
    tallies = [each for e in cell.equations for each in _of_copy(e)]
    return replace(cell, states=(*cell.states, *(State(t.name) for t in tallies)),
                   equations=(*cell.equations, *tallies))


def _of_copy(e: Equation) -> Iterator[Equation]:
    """Of an equation that only rounds another quantity, to the nearest."""
    match e.expression:
        case Call("fixed", (Name(source), _, _, Number(0.5))) if not is_counter(e.name):
            some = Binary("!=", Name(source), ZERO)
            yield tally(e.name + NONZERO, some)
            yield tally(e.name + UNDERFLOWED, Binary("and", some, Binary("==", Name(e.name), ZERO)))


# ---- synapses


@dataclass(frozen=True)
class Change:
    """What goes into a weight (`increment`) or a tag in a step: `new`, before it is rounded with the offset to
    multiples of 2**-fraction, against `old`; `stays`: whether nothing is left of it then; `learns`: the condition under
    which it counts."""

    name: str
    new: Expression
    old: Expression
    stays: Expression
    offset: Expression
    fraction: int
    learns: Expression | None

    @property
    def at_random(self) -> bool:
        return self.offset != Number(0.5)

    @property
    def moves(self) -> Expression:
        moves = Binary("!=", self.new, self.old)
        return Binary("and", self.learns, moves) if self.learns else moves

    @property
    def lost(self) -> Expression:
        """Whether it is rounded to nothing, for good."""
        if not self.at_random:
            return self.stays
        return Binary("<", Call("abs", (self.new - self.old,)), Number(RESOLUTION * 2.0**-self.fraction))


def changes(q: Projection, rule: PlasticityRule) -> list[Change]:
    """Of the tag, where a quantised rule has one, and of the weight: unit * floor(units + offset)."""
    found = []
    update = next((u.expression for u in rule.updates if u.name == TAG), ZERO)
    node, held = next(((node, held) for node in walk(update) if (held := rounding_of(node))), (None, None))
    if node and held:
        learns = update.condition if isinstance(update, Where) and update.then is node else None
        old = Prev(TAG, 1)
        found.append(Change(TAG, held.inner, old, Binary("==", node, old), held.offset,
                            round(math.log2(held.scale)), learns))
    match rule.increment:
        case Binary("*", Number(), Call("floor", (Binary("+", units, offset),)) as whole):
            learns = Name(f"gate.{q.gate}").above(0.0) if q.gate else None
            found.append(Change("increment", units, ZERO, Binary("==", whole, ZERO), offset, 0, learns))
    return found


def _counting_projection(graph: Graph, q: Projection) -> Graph:
    """The projection with a rule and a class of its own, as gates are a projection's."""
    rule, synapse = graph.rule_of(q), graph.class_of(q.name)
    assert rule is not None
    tallies = [tally(change.name + suffix, condition) for change in changes(q, rule) if not change.at_random
               for suffix, condition in ((NONZERO, change.moves),
                                         (UNDERFLOWED, Binary("and", change.moves, change.lost)))]
    rule = replace(rule, name=f"{rule.name}_of_{q.name}", updates=(*rule.updates, *tallies),
                   states=(*rule.states, *(State(t.name) for t in tallies)))
    synapse = replace(synapse, name=f"{synapse.name}_of_{q.name}", rule=rule.name)
    graph = graph.with_(rules=(*graph.rules, rule), synapses=(*graph.synapses, synapse))
    return exchanged(graph, q, replace(q, synapse=synapse.name))
