"""Proofs that a mutant is the same circuit: what no recording could ever find, and need not.

`still_the_same(graph, mutant)` gives the reason, or "" where nothing is proven.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from cortexc.compiler.ir import Expression, Graph
from cortexc.compiler.ir.expressions import (
    Binary,
    Call,
    Name,
    Negate,
    Number,
    Prev,
    Where,
    names,
    previous,
    reads,
    substitute,
    transform,
)
from cortexc.compiler.ir.model import CellType, PlasticityRule, Projection, cell_parameters, rule_parameters
from cortexc.compiler.ir.schedule import message_depth
from cortexc.compiler.ir.synapses import most_delay


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
        delayed = message_depth(graph, q) > 0 or most_delay(graph, q) > 1
        if graph.cell_of(q.pre) is cell and delayed and graph.class_of(q.name).message == state:
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
    expressions = [[r.increment, r.deliver, *_updates(r), *(s.initial for s in r.states), *r.optimiser.arguments]
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
