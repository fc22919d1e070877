"""States that start anew with every presentation (`protocol.reset`): a rewrite of the graph, which every backend runs.

before    send u = 0.9 * prev(v) + drive
after     send u = 0.9 * where(gate.reset * v_resets > 0, v_start, prev(v)) + drive

`v_resets` is 1 in the chosen populations and 0 in others of the same type, `v_start` the value before the first step.
The gate `reset` counts down from the graph's greatest depth D to 0 at the start of a presentation, so a value d steps
old is from before it where gate.reset > D - d. What rules read of earlier steps becomes a factor of the cell, and a
message that is on its way for more than a step is delivered from the cell that sent it; both then start anew too.

X122 a state that is not there or cannot be reset.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from cortexc.compiler.backends.start import Start
from cortexc.compiler.experiments.tasks.plans import with_column
from cortexc.compiler.ir import CortexError, Graph, unknown
from cortexc.compiler.ir.expressions import Expression, Name, Prev, Where, leaves, previous, transform
from cortexc.compiler.ir.firing import fresh, names_of
from cortexc.compiler.ir.model import CellType, Equation, Parameter, PlasticityRule, Population, Projection, Stage
from cortexc.compiler.ir.protocol import Protocol
from cortexc.compiler.ir.schedule import message_depth
from cortexc.compiler.ir.synapses import most_delay
from cortexc.compiler.passes.base import Request
from cortexc.compiler.passes.discretise import Discretise

RESET = "reset"
Change = Mapping[tuple[str, int], Expression]
"""(name, depth) of a `prev` -> what is read instead."""


def with_reset(graph: Graph, reset: str | Sequence[str]) -> Graph:
    """The graph in which the chosen states start anew where its gate `reset` says so. `reset`: "states" (those of all
    populations), or names of states, populations and projections. Raises X122."""
    graph = Discretise().apply(graph, Request())
    if RESET in graph.gates:
        raise CortexError("X122", f"circuit '{graph.name}' has a gate '{RESET}' of its own.",
                          "Leave out protocol.reset.")
    return _Rewrite(graph, _chosen(graph, reset)).result()


def reset_depth(graph: Graph) -> int:
    """The greatest number of steps back that anything reads; the same before and after the rewrite."""
    read = [e.expression for cell in graph.cells for e in cell.equations]
    read += [expression for rule in graph.rules for expression in rule.expressions]
    return max([1, *(message_depth(graph, q) for q in graph.projections),
                *(depth for expression in read for depth in previous(expression).values())])


def with_reset_column(protocol: Protocol, depth: int) -> Protocol:
    """The protocol with the gate's countdown in every presentation."""
    def column(steps: int) -> tuple[float, ...]:
        return tuple(float(max(depth - step, 0)) for step in range(steps))

    return replace(protocol, phases=tuple(with_column(each, RESET, column(each.steps)) for each in protocol.phases))


def _chosen(graph: Graph, reset: str | Sequence[str]) -> frozenset[str]:
    """`population.state` and `projection.state`. Raises X122 with the nearest for a name that is not there."""
    states = {p.name: [f"{p.name}.{s.name}" for s in graph.cell(p.cell).states] for p in graph.populations}
    if isinstance(reset, str):
        return frozenset(name for own in states.values() for name in own)
    for q in graph.projections:
        rule = graph.rule_of(q)
        states[q.name] = [f"{q.name}.{s.name}" for s in rule.states] if rule else []
    known = {name: [name] for own in states.values() for name in own}
    known |= {owner: own for owner, own in states.items() if own}
    for name in reset:
        if name not in known:
            raise unknown("X122", "state in protocol.reset", name, known)
    return frozenset(state for name in reset for state in known[name])


class _Rewrite:
    """One graph, changed step by step. `names`: (cell, state) -> parameters that say whether it is reset, and to what.
    `added`: wanted name of an added equation -> its name."""

    def __init__(self, graph: Graph, chosen: frozenset[str]):
        self.graph, self.chosen, self.depth = graph, chosen, reset_depth(graph)
        self.added: dict[str, str] = {}
        self.names = {(c.name, s.name): (_free(f"{s.name}_resets", c), _free(f"{s.name}_start", c))
                      for c in graph.cells for s in c.states
                      if any(f"{p.name}.{s.name}" in chosen for p in graph.populations if p.cell == c.name)}

    def result(self) -> Graph:
        start = Start(self.graph).values
        self._early_messages()
        self._early_factors()
        cells = tuple(self._cell(cell) for cell in self.graph.cells)
        rules = tuple(self._rule(rule) for rule in self.graph.rules)
        projections = tuple(self._projection(q) for q in self.graph.projections)
        arrays = {**self.graph.arrays}
        populations = tuple(self._population(p, start, arrays) for p in self.graph.populations)
        return self.graph.with_(gates=(*self.graph.gates, RESET), cells=cells, rules=rules, projections=projections,
                                populations=populations, arrays=arrays)

    def _guarded(self, resets: str, start: Expression, node: Prev) -> Expression:
        return Where((Name(f"gate.{RESET}") * Name(resets)).above(self.depth - node.depth), start, node)

    # ---- what others read of earlier steps becomes an equation of the cell

    def _add(self, cell: CellType, name: str, expression: Prev, stage: Stage) -> str:
        """The name, the same in all cells, under which the cell has this equation; added where it is not there yet."""
        name = self.added.setdefault(name, _free(name, *self.graph.cells))
        if not cell.equation(name):
            changed = replace(cell, equations=(*cell.equations, Equation(name, expression, stage)),
                              messages=(*cell.messages, *([name] if stage == "send" else ())))
            self.graph = self.graph.with_(cells=tuple(changed if c is cell else c for c in self.graph.cells))
        return name

    def _early_messages(self) -> None:
        """Messages that are on their way for more than a step are sent when they arrive."""
        for q in self.graph.projections:
            synapse, cell, depth = self.graph.class_of(q.name), self.graph.cell_of(q.pre), message_depth(self.graph, q)
            if f"{q.pre}.{synapse.message}" in self.chosen and most_delay(self.graph, q) > 1:
                raise CortexError("X122", f"protocol.reset: messages '{synapse.message}' of '{q.pre}' are under way in "
                                          f"projection '{q.name}', whose synapses have delays of their own.",
                                  "Leave the state out, or rest between presentations for the greatest delay.")
            if depth < 1 or f"{q.pre}.{synapse.message}" not in self.chosen:
                continue
            name = self._add(cell, f"{synapse.message}_delayed_{depth}", Prev(synapse.message, depth), "send")
            taken = {s.name for s in self.graph.synapses}
            own = replace(synapse, name=fresh(f"{synapse.name}_of_{q.name}", taken), message=name)
            moved = tuple(replace(p, synapse=own.name, delay=1) if p.name == q.name else p
                          for p in self.graph.projections)
            self.graph = self.graph.with_(synapses=(*self.graph.synapses, own), projections=moved)

    def _early_factors(self) -> None:
        for rule in self.graph.rules:
            read = dict.fromkeys(node for expression in rule.expressions for node in leaves(expression))
            change = {(node.name, node.depth): self._factor(rule, node) for node in read
                      if isinstance(node, Prev) and "." in node.name}
            changed = _changed_rule(rule, change)
            self.graph = self.graph.with_(rules=tuple(changed if r is rule else r for r in self.graph.rules))

    def _factor(self, rule: PlasticityRule, node: Prev) -> Expression:
        """A factor of all cells at that end of the rule for what it reads of earlier steps, if one of them is reset."""
        side, _, state = node.name.partition(".")
        ends = sorted({self.graph.cell_of(q.pre if side == "pre" else q.post).name for q in self._learning(rule)})
        if not any((cell, state) in self.names for cell in ends):
            return node
        for cell in ends:
            name = self._add(self.graph.cell(cell), f"{state}_before_{node.depth}", Prev(state, node.depth), "factor")
        return Name(f"{side}.{name}")

    def _learning(self, rule: PlasticityRule) -> list[Projection]:
        return [q for q in self.graph.projections if self.graph.class_of(q.name).rule == rule.name]

    # ---- cells and rules

    def _cell(self, cell: CellType) -> CellType:
        own = {state: names for (name, state), names in self.names.items() if name == cell.name}

        def change(node: Expression) -> Expression:
            if not isinstance(node, Prev) or node.name not in own:
                return node
            resets, start = own[node.name]
            return self._guarded(resets, Name(start), node)

        equations = tuple(replace(e, expression=transform(e.expression, change)) for e in cell.equations)
        added = tuple(Parameter(name, default=0.0) for names in own.values() for name in names)
        return replace(cell, equations=equations, parameters=(*cell.parameters, *added))

    def _population(self, population: Population, start: Mapping[str, np.ndarray],
                    arrays: dict[str, np.ndarray]) -> Population:
        """With its values before the first step, as a number where all cells have the same one, else as an array."""
        values: dict[str, float] = {}
        for (cell, state), (resets, begins) in self.names.items():
            key = f"{population.name}.{state}"
            if cell != population.cell or key not in self.chosen:
                continue
            found, values[resets] = start[key], 1.0
            if found.size and (found == found.flat[0]).all():
                values[begins] = float(found.flat[0])
            else:
                arrays[f"{population.name}.{begins}"] = found
        return replace(population, parameters=(*population.parameters, *values.items()))

    def _resetting(self, rule: PlasticityRule) -> dict[str, str]:
        """State of a synapse -> parameter that says whether the projection resets it."""
        taken = {*(p.name for p in rule.parameters), *(s.name for s in rule.states), *(n for n, _ in rule.noise)}
        return {s.name: fresh(f"{s.name}_resets", taken) for s in rule.states
                if any(f"{q.name}.{s.name}" in self.chosen for q in self._learning(rule))}

    def _rule(self, rule: PlasticityRule) -> PlasticityRule:
        own, initial = self._resetting(rule), {s.name: s.initial for s in rule.states}
        change = {(name, 1): self._guarded(resets, initial[name], Prev(name, 1)) for name, resets in own.items()}
        added = tuple(Parameter(name, default=0.0) for name in own.values())
        return replace(_changed_rule(rule, change), parameters=(*rule.parameters, *added))

    def _projection(self, projection: Projection) -> Projection:
        rule = self.graph.rule_of(projection)
        own = self._resetting(rule) if rule else {}
        chosen = [name for name in own if f"{projection.name}.{name}" in self.chosen]
        for name in chosen:
            if f"{projection.name}.{name}" in self.graph.arrays:
                raise CortexError("X122", f"protocol.reset names '{projection.name}.{name}', which starts from an "
                                          "array; only states of populations can go back to one.", "Leave it out.")
        values = tuple((own[name], 1.0) for name in chosen)
        return replace(projection, parameters=(*projection.parameters, *values))


def _changed_rule(rule: PlasticityRule, change: Change) -> PlasticityRule:
    def swap(node: Expression) -> Expression:
        return change.get((node.name, node.depth), node) if isinstance(node, Prev) else node

    updates = tuple(replace(u, expression=transform(u.expression, swap)) for u in rule.updates)
    return replace(rule, increment=transform(rule.increment, swap), updates=updates)


def _free(name: str, *cells: CellType) -> str:
    """A name that none of the cells uses yet."""
    return fresh(name, set[str]().union(*map(names_of, cells)))
