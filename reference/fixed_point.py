"""Any circuit in fixed point, in torch int64: every integer of every step, from its equations in real numbers.

Written from docs/fixed_point.md ("item" refers to its section "What the integers mean") and from what a step is; knows
no circuit, and shares nothing with the passes and backends that compute the same. Formats are given; coefficients,
first values, sums, products, roundings, random numbers, delays and the order of a step are computed here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from cortexc.reference.fixed_point_cells import Population
from cortexc.reference.fixed_point_synapses import Projection
from cortexc.reference.fixed_point_values import Formats, Memory, Options
from cortexc.reference.integers import Exact, dyadic


class FixedPoint:
    """circuit: the graph as plain data, dataclasses being dictionaries and expressions tuples (`equations.Tree`);
    arrays are numpy's. seeds: one per network, each with its own weights. Raises ValueError for what fixed point has
    no form of, DishonestRegister for tables that do not hold their functions."""

    def __init__(self, circuit: Mapping[str, Any], formats: Formats, options: Options, seeds: Sequence[int]) -> None:
        if circuit["noise"]["kind"] == "none" and options.rounding != "nearest":
            raise ValueError("rounding at random without random numbers")
        self.memory = memory = Memory(circuit, formats, options, tuple(seeds))
        cells, rules, synapses = ({each["name"]: each for each in circuit[kind]}
                                  for kind in ("cells", "rules", "synapses"))
        for data in circuit["populations"]:
            memory.populations[data["name"]] = Population(memory, data, cells[data["cell"]])
        for place, data in enumerate(circuit["projections"]):
            memory.projections[data["name"]] = Projection(memory, place, data, synapses[data["synapse"]], rules)
        for population in memory.populations.values():
            population.begin()
        parts = (*memory.populations.values(), *memory.projections.values())
        memory.past = [memory.now] * max(part.depth for part in parts)

    @torch.no_grad()
    def step(self, inputs: Mapping[str, Any], gates: Mapping[str, float], noise: Mapping[str, Any]) -> None:
        """inputs, noise: `population.name` -> (S, n)."""
        memory = self.memory
        if memory.steps_done:
            memory.past = [memory.now, *memory.past][:len(memory.past)]
        memory.now, memory.exogenous = {}, {**inputs, **noise}
        memory.gates = {name: dyadic(gates.get(name, 0.0)) for name in memory.circuit["gates"]}
        for population in memory.populations.values():
            population.compute()
        plastic = [q for q in memory.projections.values() if q.rule]
        for q in memory.projections.values():
            q.current()
        increments = [q.increment() for q in plastic]
        self._mirror(after=False)
        for q, increment in zip(plastic, increments, strict=True):
            q.learn(increment)
        self._mirror(after=True)
        memory.steps_done += 1

    def _mirror(self, after: bool) -> None:
        """Weight transport (item 10), in declared order."""
        for mirror in self.memory.circuit["mirrors"]:
            if mirror["after"] == after and self.memory.on(mirror["gate"]):
                source = self.memory.projections[mirror["source"]]
                self.memory.projections[mirror["target"]].take(source.weights, mirror["operations"])

    def value(self, name: str) -> Exact | None:
        """Of the last step: `population.quantity`, `projection.current`, `.w`, `.tag` or a state; None for what is
        not there."""
        owner, _, quantity = name.partition(".")
        if owner in self.memory.projections and quantity != "current":
            q = self.memory.projections[owner]
            return q.weights if quantity == "w" else q.states.get(quantity, q.tag if quantity == "tag" else None)
        return self.memory.now.get(name)
