"""Which quantities of a circuit live in memory between operations, and how many past values each needs.

A quantity that one segment computes and nobody else reads stays in a register. `slot 0` of a quantity is its newest
value, `slot d` the value d steps older; the operation that computes it shifts the others first. So a reader that runs
before (or in) that operation finds `prev` of depth d in slot d - 1, and a later reader in slot d. Of slots beyond
`NEAR` there are only those that somebody reads; their values wait in a ring of the last steps.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from cortexc.compiler.ir.expressions import Expression, Name, Prev, names, reads, rename, size_problem, substitute, walk
from cortexc.compiler.ir.model import CellType, Graph, Projection
from cortexc.compiler.ir.schedule import Delivery, Operation, Segment, message_depth, schedule

NEAR = 4
"""So many earlier values move from slot to slot."""


@dataclass
class Storage:
    """Slots per cell type (`needed[cell, quantity]`) and where every operation stands."""

    graph: Graph
    order: tuple[Operation, ...]
    needed: dict[tuple[str, str], set[int]] = field(default_factory=dict)
    segment_of: dict[tuple[str, str], int] = field(default_factory=dict)
    position: dict[tuple[str, str], int] = field(default_factory=dict)

    def keep(self, cell: str, quantity: str, slot: int = 0) -> None:
        self.needed.setdefault((cell, quantity), {0}).add(slot)

    def stored(self, cell: str, quantity: str) -> bool:
        return (cell, quantity) in self.needed

    def near(self, cell: str, quantity: str) -> range:
        """Slots that move up step by step."""
        return range(1 + max((s for s in self.needed.get((cell, quantity), ()) if s <= NEAR), default=-1))

    def far(self, cell: str, quantity: str) -> list[int]:
        """Slots that get their value from a ring, which is as long as the last of them."""
        return sorted(s for s in self.needed.get((cell, quantity), ()) if s > NEAR)

    def slot(self, population: str, quantity: str, depth: int, reader: int) -> int:
        """Slot in which an operation at position `reader` finds the value `depth` steps old."""
        return depth - 1 if depth > 0 and reader <= self.position[population, quantity] else depth


def plan_storage(graph: Graph, observed: frozenset[str]) -> Storage:
    storage = Storage(graph, schedule(graph))
    for position, operation in enumerate(storage.order):
        if isinstance(operation, Segment):
            for name in operation.equations:
                storage.position[operation.population, name] = position
                storage.segment_of[operation.population, name] = operation.index
    for operation in storage.order:
        if isinstance(operation, Segment):
            _keep_for_segment(storage, operation)
        else:
            _keep_for_delivery(storage, graph.projection(operation.projection))
    for projection in graph.projections:
        _keep_for_rule(storage, projection)
    for name in observed:
        owner, _, quantity = name.partition(".")
        if any(p.name == owner for p in graph.populations) and graph.cell_of(owner).equation(quantity):
            storage.keep(graph.population(owner).cell, quantity)
        if quantity == "current" and owner in {q.name for q in graph.projections}:
            _keep_for_delivery(storage, graph.projection(owner), copied=True)
    return storage


def _keep_for_segment(storage: Storage, segment: Segment) -> None:
    cell = storage.graph.cell_of(segment.population)
    reader = storage.order.index(segment)
    for name in segment.equations:
        equation = cell.equation(name)
        assert equation is not None
        for node in walk(equation.expression):
            if isinstance(node, Prev):
                storage.keep(cell.name, node.name, storage.slot(segment.population, node.name, node.depth, reader))
            elif isinstance(node, Name) and cell.equation(node.name) and node.name not in segment.equations:
                storage.keep(cell.name, node.name)


def _keep_for_delivery(storage: Storage, projection: Projection, copied: bool = False) -> None:
    graph = storage.graph
    message = graph.class_of(projection.name).message
    reader = storage.order.index(Delivery(projection.name))
    depth = message_depth(graph, projection)
    slot = storage.slot(projection.pre, message, depth, reader)
    if not copied and not graph.class_of(projection.name).kind.weighted:
        slot = depth  # no delivery copies the message: the postsynaptic cell reads it, perhaps after it has shifted
    storage.keep(graph.population(projection.pre).cell, message, slot)


def _keep_for_rule(storage: Storage, projection: Projection) -> None:
    graph, rule = storage.graph, storage.graph.rule_of(projection)
    if rule is None:
        return
    for expression in (rule.increment, *(u.expression for u in rule.updates)):
        for node in walk(inline_factors(graph, projection, expression, frozenset())):
            if isinstance(node, (Name, Prev)) and node.name.startswith(("pre.", "arrived.", "post.")):
                side, quantity = node.name.split(".")
                if side == "pre" and projection.lowering == "hoisted":
                    continue  # it keeps the held input itself
                cell = graph.cell_of(projection.post if side == "post" else projection.pre)
                if cell.equation(quantity):
                    storage.keep(cell.name, quantity, node.depth if isinstance(node, Prev) else 0)


def inline_factors(graph: Graph, projection: Projection, expression: Expression,
                   stored: frozenset[tuple[str, str]]) -> Expression:
    """Replaces `post.f` and `pre.f` by f's own equation where f is a stateless factor that nothing stores and that
    reads no port: the sum of a port's currents is nowhere in memory.

    So a factor is computed only in steps in which a rule that reads it learns. Where the result would be beyond the
    language's limits, it reads the factors, which are stored then.
    """
    table: dict[str, Expression] = {}
    for name in names(expression):
        side, _, quantity = name.partition(".")
        if side not in ("pre", "post"):
            continue
        cell = graph.cell_of(projection.pre if side == "pre" else projection.post)
        equation = cell.equation(quantity)
        kept = bool(cell.state(quantity)) or (cell.name, quantity) in stored
        if equation and equation.stage == "factor" and not kept and not _reads_port(cell, equation.expression):
            inner = _qualify(cell, equation.expression, side)
            table[name] = inline_factors(graph, projection, inner, stored)
    result = substitute(expression, table)
    return expression if size_problem(result, "rule") else result


def _reads_port(cell: CellType, expression: Expression) -> bool:
    return any(port.name in names(expression) for port in cell.ports)


def _qualify(cell: CellType, expression: Expression, side: str) -> Expression:
    """`x` of the cell as `side.x` (gates and dt keep their names)."""
    return rename(expression, {n: f"{side}.{n}" for n in reads(expression) if not n.startswith("gate.") and n != "dt"})
