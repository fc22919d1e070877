"""hoist-constant-input: a projection from an input that is held during a presentation costs O(n_post) a step.

before    projection W up input -> P0 gate=learn
after     projection W up input -> P0 gate=learn lowering=hoisted

While the input x is constant, W x of a plastic projection follows from a few vectors, and the matrix is rewritten once
per presentation: equal algebraically, not to the bit. Where an optimiser sums increments until an update, x may come
times one number that all cells share in a step (an input trace), in minibatches and between feature maps too. What the
word stands for is a form (held_forms.py), which the interpreter evaluates and the lowering prints.

A static projection is delivered once per presentation, to the same bits. Left alone where it would not be the same or
would not pay: weights that clip at every step, that a mirror reads or writes, that belong to a batch; whose increment
is observed, or whose current, which is on the way to the next step where a block ends or weights are recorded; a
presynaptic cell that does more than pass its input on; a rule that is not one postsynaptic factor times the (previous)
message.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from cortexc.compiler.ir import Graph, Projection
from cortexc.compiler.passes.base import Request
from cortexc.compiler.passes.defer_decay import DeferDecay
from cortexc.compiler.passes.fuse_update import can_defer
from cortexc.compiler.passes.held_forms import held_input, postsynaptic_factor


@dataclass(frozen=True)
class HoistConstantInput:
    name: ClassVar[str] = "hoist-constant-input"
    fidelity: ClassVar[str] = "algebra"
    least_inputs: int = 32
    """Projections from fewer cells are left alone: the bookkeeping would cost more than it saves."""

    def apply(self, graph: Graph, request: Request) -> Graph:
        return graph.with_(projections=tuple(
            replace(q, lowering="hoisted") if self.fits(graph, q, request) else q for q in graph.projections))

    def fits(self, graph: Graph, q: Projection, request: Request) -> bool:
        """Whether this projection, not lowered yet, is one of those."""
        rule, mirrored = graph.rule_of(q), any(q.name in (m.source, m.target) for m in graph.mirrors)
        if rule and rule.shapes or mirrored or q.lowering or graph.population(q.pre).size < self.least_inputs or \
                q.delay != 1:
            return False
        if rule and rule.optimiser.traits.sums:
            return _sums(graph, q, request)
        unbounded = graph.class_of(q.name).bounds == (-float("inf"), float("inf"))
        plastic = (rule is not None and can_defer(graph, q, request) and unbounded
                   and postsynaptic_factor(graph, q, rule.increment) is not None
                   and not request.observes(f"{q.name}.current"))
        held = held_input(graph, q)
        return ((plastic or rule is None) and graph.batch == 1 and graph.class_of(q.name).kind.full
                and held is not None and held[1] is None)


def _sums(graph: Graph, q: Projection, request: Request) -> bool:
    """Whether increments are summed until an update, and the message is the input, or the input times one number."""
    rule, kind = graph.rule_of(q), graph.class_of(q.name).kind
    assert rule is not None
    return (not kind.pairs and not kind.listed and not rule.states and not rule.noise
            and held_input(graph, q) is not None
            and postsynaptic_factor(graph, q, rule.increment, earlier=False) is not None
            and not request.observes(f"{q.name}.increment") and not request.observes(f"{q.name}.{rule.optimiser.kind}"))


def permitted(graph: Graph, observed: frozenset[str]) -> Graph:
    """Without the `lowering` of projections to which it may not be applied: the passes' own conditions, and one group.
    Written into a graph by hand, it would make a step wait for an update that never comes, or read what is not there.
    """
    groups = {*(p.group for p in graph.populations), *(q.group for q in graph.projections)}
    one = len(groups) == 1 and "+" not in "".join(groups)
    request = Request(frozenset(name for name in observed if name.endswith((".increment", ".current"))))
    fits = {"fused": can_defer, "hoisted": HoistConstantInput(least_inputs=0).fits, "lazy": DeferDecay(0).fits}

    def holds(q: Projection) -> bool:
        return one and q.lowering in fits and fits[q.lowering](graph, replace(q, lowering=""), request)

    return graph.with_(projections=tuple(q if not q.lowering or holds(q) else replace(q, lowering="")
                                         for q in graph.projections))
