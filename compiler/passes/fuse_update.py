"""fuse-update: the increment of one step is applied on the way to the next product.

before    projection W up input -> P0 gate=learn
after     projection W up input -> P0 gate=learn lowering=fused

So a plastic weight is read and written once a step. The bits stay the same: nothing else reads the weight in between.
Left alone: weights that a mirror reads or writes, that are summed or shaped, or that move at events alone, rules with
per-synapse state or with random numbers (a later step has others), observed increments, projections that another pass
has lowered already.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from cortexc.compiler.ir import Graph, Projection
from cortexc.compiler.passes.base import SAME, Request
from cortexc.compiler.passes.events import moves_at_events


@dataclass(frozen=True)
class FuseUpdate:
    name: ClassVar[str] = "fuse-update"
    fidelity: ClassVar[str] = SAME

    def apply(self, graph: Graph, request: Request) -> Graph:
        return graph.with_(projections=tuple(
            replace(q, lowering="fused") if can_defer(graph, q, request) else q for q in graph.projections))


def can_defer(graph: Graph, projection: Projection, request: Request) -> bool:
    """Whether this projection's increments may wait until the next delivery."""
    rule, kind = graph.rule_of(projection), graph.class_of(projection.name).kind
    mirrored = {name for m in graph.mirrors for name in (m.source, m.target)}
    return (rule is not None and not rule.arrivals and not rule.sums_weights and not rule.shapes and not rule.states
            and not rule.noise and kind.matrix and not projection.lowering and not moves_at_events(graph, projection)
            and projection.name not in mirrored and not request.observes(f"{projection.name}.increment")
            and not rule.optimiser.traits.sums)
