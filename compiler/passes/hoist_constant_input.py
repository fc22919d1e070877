"""hoist-constant-input: a projection from an input that is held during a presentation costs O(n_post) a step.

before    projection W up input -> P0 gate=learn
after     projection W up input -> P0 gate=learn lowering=hoisted

While the input x is constant, W x of a plastic projection follows from a few vectors, and the matrix is rewritten once
per presentation: equal algebraically, not to the bit. A static projection is delivered once per presentation, to the
same bits. Left alone where it would not be the same or would not pay: weights that clip, that a mirror reads or
writes, whose increment is observed, that belong to a batch; a presynaptic cell that does more than pass its input on;
a rule that is not one postsynaptic factor times the (previous) message.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from compiler.ir import Graph, Projection
from compiler.ir.expressions import Binary, Expression, Name, Prev, reads
from compiler.ir.verify import bounds
from compiler.passes.base import Request
from compiler.passes.fuse_update import can_defer


@dataclass(frozen=True)
class HoistConstantInput:
    name: ClassVar[str] = "hoist-constant-input"
    least_inputs: int = 32
    """Projections from fewer cells are left alone: the bookkeeping would cost more than it saves."""

    def apply(self, graph: Graph, request: Request) -> Graph:
        return graph.with_(projections=tuple(
            replace(q, lowering="hoisted") if self._fits(graph, q, request) else q for q in graph.projections))

    def _fits(self, graph: Graph, q: Projection, request: Request) -> bool:
        synapse, unbounded = graph.class_of(q.name), (-float("inf"), float("inf"))
        mirrored = any(q.name in (m.source, m.target) for m in graph.mirrors)
        plastic = can_defer(graph, q, request) and bounds(synapse) == unbounded and _is_product(graph, q)
        return ((plastic or graph.rule_of(q) is None) and not mirrored and not q.lowering and graph.batch == 1
                and synapse.connectivity == "dense" and graph.population(q.pre).size >= self.least_inputs
                and q.delay == 1 and _passes_input_on(graph, q))


def _passes_input_on(graph: Graph, q: Projection) -> bool:
    cell = graph.cell_of(q.pre)
    equation = cell.equation(graph.class_of(q.name).message)
    return equation is not None and equation.expression in [Name(name) for name in cell.inputs]


def _is_product(graph: Graph, q: Projection) -> bool:
    """Whether the increment is (something postsynaptic) * (the message, now or one step earlier)."""
    rule, message = graph.rule_of(q), f"pre.{graph.class_of(q.name).message}"
    if rule is None:
        return False
    expression: Expression = rule.increment
    return (isinstance(expression, Binary) and expression.operator == "*"
            and expression.right in (Name(message), Prev(message, 1))
            and any(name.startswith("post.") for name in reads(expression.left))
            and not any(name.startswith("pre.") or name == "w" for name in reads(expression.left)))
