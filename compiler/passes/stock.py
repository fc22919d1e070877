"""Which parts of a circuit stock Lava processes could stand for, and why the others cannot be.

    population PC1   not LIF: gate 'start' resets it, and LIF has no input for that
    projection wE_1  not Dense: rule 'hebbian' changes its weights

LIF and Dense mean exactly: a current and a voltage that decay, one input, a spike of 0 or 1 that leaves in the step in
which it arises; and weights that do not change, with a delay of one step. A cell that computes the same numbers by
another order of operations is not the same to the bit, so nothing is substituted that is only equal algebraically.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from compiler.ir import CellType, Graph, Projection
from compiler.ir.expressions import Call, Number, Where, names, walk
from compiler.ir.schedule import message_depth


@dataclass(frozen=True)
class StockNote:
    """`reason` why the part is not this stock process; "" where nothing excludes it."""

    kind: str
    name: str
    process: str
    reason: str

    @property
    def text(self) -> str:
        return f"not {self.process}: {self.reason}" if self.reason else f"could be {self.process}"


def stock_notes(graph: Graph) -> list[StockNote]:
    """One for every population and every projection with weights, in declaration order."""
    cells = [StockNote("population", p.name, "LIF", next(_not_lif(graph, graph.cell(p.cell), p.name), ""))
             for p in graph.populations]
    weighted = [q for q in graph.projections if graph.class_of(q.name).connectivity != "identity"]
    return [*cells, *(StockNote("projection", q.name, "Dense", next(_not_dense(graph, q), "")) for q in weighted)]


def _not_lif(graph: Graph, cell: CellType, population: str) -> Iterator[str]:
    if cell.inputs:
        yield f"it is a source, with exogenous input '{cell.inputs[0]}'"
    read = {name for e in cell.equations for name in names(e.expression)}
    gates = sorted(name.removeprefix("gate.") for name in read if name.startswith("gate."))
    if gates:
        yield f"gate '{gates[0]}' acts on it, and LIF has no input for that"
    if len(cell.ports) != 1:
        yield f"it has {len(cell.ports)} ports, LIF has one"
    if cell.noise:
        yield f"it draws noise '{cell.noise[0][0]}'"
    functions = sorted({node.function for e in cell.equations for node in walk(e.expression) if isinstance(node, Call)})
    if functions:
        yield f"it computes {', '.join(functions)}, LIF is linear up to its threshold"
    for message in sorted({graph.class_of(q.name).message for q in graph.projections if q.pre == population}):
        equation = cell.equation(message)
        if equation is None or not _spike(equation.expression):
            yield f"it sends '{message}', LIF sends a spike of 0 or 1"
    if len(cell.states) > 2:
        yield f"it keeps {len(cell.states)} states ({', '.join(s.name for s in cell.states)}), LIF two"


def _spike(expression: object) -> bool:
    """where(..., 1, 0)"""
    return isinstance(expression, Where) and (expression.then, expression.otherwise) == (Number(1.0), Number(0.0))


def _not_dense(graph: Graph, projection: Projection) -> Iterator[str]:
    rule, kind = graph.rule_of(projection), graph.class_of(projection.name).connectivity
    if rule:
        yield f"rule '{rule.name}' changes its weights"
    if any(mirror.target == projection.name for mirror in graph.mirrors):
        yield "a mirror overwrites its weights"
    if kind not in ("dense", "masked"):
        yield f"its connectivity is {kind}"
    if projection.delay != 1 or message_depth(graph, projection) != 0:
        yield f"it delivers with delay {projection.delay}, a Dense behind a LIF in the next step"
    if graph.samples > 1:
        yield f"it serves {graph.samples} samples at once"


def stock_text(graph: Graph) -> str:
    """The notes, one line each; equal ones together."""
    groups: dict[tuple[str, str], list[str]] = {}
    for note in stock_notes(graph):
        groups.setdefault((note.kind, note.text), []).append(note.name)
    return "".join(f"{kind} {', '.join(members)}\n  {text}\n" for (kind, text), members in groups.items())
