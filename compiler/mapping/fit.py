"""Does a circuit fit a chip: the answer, the mapping it rests on, the limit that binds and what was not checked.

`no`: a published limit is broken, or a learning rule has no legal rule near it. `not excluded`: nothing known is
broken, but some limits were never published, are assumed or not sure, or a rule has to become the nearest legal one.
`yes`: every limit is known and kept, and every rule is legal.
"""

from __future__ import annotations

from collections.abc import Mapping as Table
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from cortexc.compiler.ir import CortexError, Graph
from cortexc.compiler.mapping.accounting import QUANTILE, Accounting, account
from cortexc.compiler.mapping.connectivity import RANDOM, Connectivity
from cortexc.compiler.mapping.estimate import estimates, neurobench, plasticity_text, spikes_per_neuron
from cortexc.compiler.mapping.items import Rates
from cortexc.compiler.mapping.limits import BREACHES, Breach, breaches, chips_of, holds, open_limits, unchecked
from cortexc.compiler.mapping.methods import METHODS, Problems, mapped
from cortexc.compiler.mapping.problem import Mapping, MappingProblem, usage
from cortexc.compiler.mapping.traffic import Flow, busiest_link, flow, hops
from cortexc.compiler.passes.legality import RuleReport, rule_reports
from cortexc.hardware_maps import HardwareMap

NO, OPEN, YES = "no", "not excluded", "yes"
SAID = ("projection", "rule", "legal", "reasons", "nearest")
"""Of the report on a rule."""


@dataclass(frozen=True, eq=False)
class Fit:
    """A circuit on one map. `steps`: of a sample. `compared`: cores and traffic of every method that was tried."""

    graph: Graph
    accounts: Accounting
    problem: MappingProblem
    mapping: Mapping
    method: str
    rates: Rates
    steps: int
    rules: tuple[RuleReport, ...] = ()
    compared: dict[str, dict[str, float]] = field(default_factory=dict)

    @property
    def hardware(self) -> HardwareMap:
        return self.accounts.hardware

    @cached_property
    def used(self) -> np.ndarray:
        return usage(self.problem, self.mapping)

    @cached_property
    def breaches(self) -> tuple[Breach, ...]:
        return breaches(self.accounts, self.problem, self.mapping, self.used)

    @property
    def excluding(self) -> int:
        """Breaches of limits that are not only assumed."""
        return sum(breach.excludes for breach in self.breaches)

    @cached_property
    def unchecked(self) -> dict[str, str]:
        return unchecked(self.hardware)

    @cached_property
    def open(self) -> dict[str, str]:
        """Limits that are kept, but not for certain -> why."""
        return open_limits(self.accounts, self.problem, self.mapping)

    @property
    def illegal(self) -> tuple[RuleReport, ...]:
        return tuple(rule for rule in self.rules if not rule.legal)

    @property
    def verdict(self) -> str:
        if any(rule.excludes for rule in self.rules) or any(breach.excludes for breach in self.breaches):
            return NO
        doubts = (self.unchecked, self.open, self.hardware.assumed, self.breaches, self.illegal)
        return OPEN if any(doubts) else YES

    @property
    def chips(self) -> int:
        return len(np.unique(chips_of(self.problem, self.mapping)))

    @cached_property
    def loops(self) -> dict[str, int]:
        """Area of several populations (pyramidal cells, interneurons, error neurons) -> cores that it is on."""
        placed = [self.graph.population(name) for name in self.problem.populations]
        areas: dict[str, list[str]] = {}
        for population in placed:
            areas.setdefault(population.area, []).append(population.name)
        held = {p.name: self.mapping.core_of_item[self.problem.population_of == i] for i, p in enumerate(placed)}
        return {area: len(np.unique(np.concatenate([held[name] for name in names])))
                for area, names in areas.items() if area and len(names) > 1}

    @cached_property
    def shares(self) -> np.ndarray:
        """(cores, resources): used over limit; 0 where there is none."""
        return self.used / np.where(self.problem.limits > 0, self.problem.limits, np.inf)

    @property
    def binding(self) -> dict[str, Any] | None:
        """The limit that is broken most, or that a core comes nearest to."""
        if self.breaches:
            b = self.breaches[0].as_dict()
            return {**{k: b[k] for k in ("limit", "amount", "value", "unit", "where", "source", "advice")},
                    "share": self.breaches[0].amount / max(self.breaches[0].value, 1e-9)}
        refused = next((rule for rule in self.rules if rule.excludes), None)
        if refused:
            return {"limit": "learning rule", "amount": None, "value": None, "unit": "", "share": None,
                    "where": f"projection {refused.projection}", "source": refused.text, "advice": refused.nearest}
        if not self.shares.size or not self.shares.max() > 0:
            return None
        core, column = map(int, np.unravel_index(int(np.argmax(self.shares)), self.shares.shape))
        resource = self.problem.columns[column]
        return {"limit": resource.name, "amount": float(self.used[core, column]), "value": resource.bound,
                "unit": resource.unit, "where": f"{self.hardware.name} core {core}", "source": resource.source,
                "advice": BREACHES[resource.name][1], "share": float(self.shares[core, column])}

    @cached_property
    def sent(self) -> Flow:
        return flow(self.problem, self.mapping)

    @cached_property
    def traffic(self) -> dict[str, Any]:
        way = hops(self.problem, self.mapping, self.sent)
        link = busiest_link(self.problem, self.mapping, self.sent)
        return {"packets_per_step": float(self.sent.leaving.sum()), "hops_per_step": way.hops,
                "chip_crossings_per_step": way.crossings, "busiest_link_packets_per_step": link.packets,
                "busiest_link": {"from": list(link.source), "to": list(link.target)},
                "spikes_per_neuron_and_step": spikes_per_neuron(self.accounts, self.rates)
                if self.rates.measured else self.rates.assumed, "rates": self.rates.text}

    @property
    def drawn(self) -> list[str]:
        """Projections that a rule draws: what they need is expected, their memory a quantile; all else is exact."""
        return [q.name for q in self.accounts.projections.values() if isinstance(q.connectivity, RANDOM)]

    def core(self, core: int) -> dict[str, Any]:
        """What is on a core and what it uses."""
        columns = zip(self.problem.columns, self.used[core], strict=True)
        return {"core": core, "position": int(self.mapping.positions[core]),
                "chip": int(chips_of(self.problem, self.mapping)[core]),
                "holds": holds(self.problem, self.mapping, core, 1000),
                "uses": {r.name: {"amount": float(amount), "limit": _finite(r.bound)} for r, amount in columns},
                "share": float(self.shares[core].max(initial=0.0))}

    def as_dict(self) -> dict[str, Any]:
        violations = [breach.as_dict() for breach in self.breaches]
        violations += [{"code": "M290", "limit": "learning rule", "amount": None, "value": None, "unit": "",
                        "where": f"projection {r.projection}", "who": r.rule, "kind": "published", "source": "",
                        "excludes": r.excludes, "message": f"{self.hardware.name}: {r.text}.",
                        "advice": r.nearest} for r in self.illegal]
        binding = self.binding
        return {"map": self.hardware.name, "title": self.hardware.title, "fits": self.verdict,
                "cores": self.mapping.cores, "chips": self.chips, "method": self.method,
                "expected": {"projections": self.drawn, "memory_quantile": QUANTILE} if self.drawn else None,
                "violations": violations, "unchecked": self.unchecked, "open": self.open,
                "assumed": {name: self.hardware.scalar(name).text for name in self.hardware.assumed},
                "binding": binding and {k: _finite(v) for k, v in binding.items()},
                "learning_loops": self.loops, "traffic": self.traffic, "compared": self.compared,
                "utilisation": [self.core(core) for core in range(self.mapping.cores)],
                "rules": [{name: getattr(rule, name) for name in SAID} for rule in self.rules],
                "neurobench": neurobench(self.accounts, self.rates, self.steps),
                "plasticity": plasticity_text(list(self.accounts.projections.values())),
                "estimates": [{**each, "as_if_it_fitted": self.verdict == NO} for each in estimates(
                    self.accounts, self.problem, self.mapping, self.rates, self.steps)]}

    def mapping_dict(self) -> dict[str, Any]:
        """What `compile --map` stores: the blocks and their cores. Cells of the populations in `positions_of_maps` are
        numbered position by position there, the others as in the circuit."""
        cut = zip(map(self.problem.block, range(self.problem.items)), self.mapping.core_of_item, strict=True)
        blocks = [{"population": name, "first": first, "last": last - 1, "core": int(core)}
                  for (name, first, last), core in cut]
        return {"circuit": self.graph.name, "map": self.hardware.name, "method": self.method, "fits": self.verdict,
                "cores": self.mapping.cores, "positions": [int(p) for p in self.mapping.positions],
                "blocks": blocks, "positions_of_maps": self.accounts.positions, "traffic": self.traffic,
                "unchecked": self.unchecked, "open": self.open}


def _finite(value: Any) -> Any:
    """JSON has no infinity: no limit is null."""
    return None if isinstance(value, float) and not np.isfinite(value) else value


def fit(graph: Graph, hardware: HardwareMap, rates: Rates | None = None,
        rules: Table[str, Connectivity] | None = None, steps: int = 1, methods: tuple[str, ...] = METHODS,
        written: Graph | None = None) -> Fit:
    """The circuit on the map, by the best of these methods: fewest breaches that exclude, then of assumed limits, then
    cores, then traffic, then room.

    `rules`: connectivity that the graph has no word for; `written`: the graph before the passes, whose learning rules
    are judged.
    """
    rates = rates or Rates()
    accounts = account(graph, hardware, rules)
    if not accounts.placed:
        raise CortexError("M112", f"graph '{graph.name}' has no population to place: all are fed from outside.")
    legal = tuple(rule_reports(written or graph, hardware))
    problems = Problems(graph, accounts, rates)
    found = [Fit(graph, accounts, problem, mapping, method, rates, steps, legal)
             for method in methods for problem, mapping in mapped(graph, accounts, method, rates, problems)]
    found.sort(key=lambda f: (f.excluding, len(f.breaches), f.mapping.cores, f.traffic["packets_per_step"],
                              f.traffic["hops_per_step"], float(f.shares.max(initial=0.0))), reverse=True)
    compared = {f.method: {"cores": float(f.mapping.cores), "violations": float(len(f.breaches)),
                           "excluding": float(f.excluding), "packets_per_step": f.traffic["packets_per_step"],
                           "hops_per_step": f.traffic["hops_per_step"]} for f in found}
    best = found[-1]
    best.compared.update(compared)
    return best


def refuse(found: Fit, rules: bool = True) -> None:
    """Raises the coded error of the worst breach where the circuit does not fit, and with `rules` M290 where a learning
    rule has no legal one near it."""
    excluding = [breach for breach in found.breaches if breach.excludes]
    if excluding:
        more = f" {len(excluding) - 1} other limits are broken too." if len(excluding) > 1 else ""
        raise CortexError(excluding[0].code, excluding[0].message, excluding[0].error.hint + more)
    for rule in found.rules:
        if rules and rule.excludes:
            raise CortexError("M290", f"{found.hardware.name}: {rule.text}.", rule.nearest)
