"""States of a rule that a chip keeps elsewhere than at the synapse, or nowhere.

before    update x = 0.875 * prev(x) + pre.spike          rule reads x and gain
          update gain = x * post.error
after     factor x_W = 0.875 * prev(x_W) + spike          of the presynaptic cell; the rule reads pre.x_W
                                                          and pre.x_W * post.error in the place of gain

A state that reads one side of the synapse alone is a trace of that cell, which all its synapses share; one of which no
earlier value is read is a name. What is left is a tag. Equal to the bit in real numbers.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from cortexc.compiler.ir import CellType, Equation, Expression, Graph, PlasticityRule, Projection
from cortexc.compiler.ir.expressions import Name, Prev, reads, rename, substitute, walk
from cortexc.compiler.ir.schedule import settled
from cortexc.compiler.passes.rewriting import exchanged, rule_with

SIDES = ("pre", "post")


def traces_in_cells(graph: Graph, q: Projection) -> Graph:
    """The graph whose rule of this projection keeps nothing but tags. Every rule and cell is of one part alone."""
    rule = graph.rule_of(q)
    if rule is None or not rule.states:
        return graph
    graph = exchanged(graph, rule, spelled_out(rule))
    for side, population in zip(SIDES, (q.pre, q.post), strict=True):
        rule = graph.rule_of(q)
        assert rule is not None
        own = _of_side(graph, q, rule, side)
        if not own:
            continue
        named = {name: f"{name}_{q.name}" for name in own}
        cell = graph.cell_of(population)
        graph = exchanged(graph, cell, _with_traces(cell, rule, named, side))
        graph = exchanged(graph, rule, _without(rule, {name: f"{side}.{new}" for name, new in named.items()}))
    return graph


def spelled_out(rule: PlasticityRule) -> PlasticityRule:
    """Without states that are names of what is computed."""
    kept = {node.name for e in rule.expressions for node in walk(e) if isinstance(node, Prev)}
    table: dict[str, Expression] = {}
    for update in rule.updates:
        if update.name not in kept and not _reads_later(rule, update.name):
            table[update.name] = substitute(update.expression, table)
    changed = rule_with(rule, lambda e: substitute(e, table))
    return _without_states(changed, table)


def _reads_later(rule: PlasticityRule, state: str) -> bool:
    """Whether an update down to its own reads it, and so gets the value of the last step."""
    own = [u.name for u in rule.updates].index(state)
    return any(Name(state) in walk(u.expression) for u in rule.updates[:own + 1])


def _of_side(graph: Graph, q: Projection, rule: PlasticityRule, side: str) -> set[str]:
    """States that the cell of one side can keep."""
    read = {u.name: reads(u.expression) for u in rule.updates}
    some = {name for name in read if f"{q.name}.{name}" not in graph.arrays and not _reads_later(rule, name)
            and any(n.startswith(f"{side}.") for n in read[name])}
    return settled(some, lambda found: {name for name in found if all(
        n in found or n.startswith((f"{side}.", "gate.")) for n in read[name])})


def _with_traces(cell: CellType, rule: PlasticityRule, named: dict[str, str], side: str) -> CellType:
    """With the traces behind all that they read."""
    states = [replace(s, name=named[s.name]) for s in rule.states if s.name in named]
    equations = [Equation(named[u.name], _in_cell(u.expression, named, side), "factor")
                 for u in rule.updates if u.name in named]
    return replace(cell, states=(*cell.states, *states), equations=(*cell.equations, *equations))


def _in_cell(expression: Expression, named: dict[str, str], side: str) -> Expression:
    return rename(expression, named | {n: n.removeprefix(f"{side}.") for n in reads(expression)
                                       if n.startswith(f"{side}.")})


def _without(rule: PlasticityRule, named: dict[str, str]) -> PlasticityRule:
    changed = rule_with(rule, lambda e: rename(e, named))
    return _without_states(changed, named)


def _without_states(rule: PlasticityRule, gone: Collection[str]) -> PlasticityRule:
    return replace(rule, states=tuple(s for s in rule.states if s.name not in gone),
                   updates=tuple(u for u in rule.updates if u.name not in gone),
                   units=tuple(pair for pair in rule.units if pair[0] not in gone))
