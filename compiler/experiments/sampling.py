"""How much of what cells send and synapses learn in a calibration run would become 0: some of both, in some steps.

Steps, cells and synapses are drawn with a seed of their own, before the run. A sample has messages and what rules read;
when the formats are known, each increment is computed twice from it, as it is and as the quantised rule would.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from cortexc.compiler.backends.table import Runner
from cortexc.compiler.experiments.underflow import Underflow
from cortexc.compiler.ir import Expression, Graph, PlasticityRule, Projection
from cortexc.compiler.ir.arrays import connection_mask
from cortexc.compiler.ir.evaluation import evaluate
from cortexc.compiler.ir.expressions import WEIGHT_SUM, Name, Prev, walk
from cortexc.compiler.ir.model import weight_shape
from cortexc.compiler.ir.protocol import Protocol
from cortexc.compiler.passes.count_underflow import Change, changes
from cortexc.compiler.passes.fixed_point import Format
from cortexc.compiler.passes.widths import TAG, TAGGED, formats_of

STEPS, SIDE = 300, 32
"""Steps that are sampled at most, and cells of either side of a projection."""
Values = dict[str, np.ndarray]


@dataclass
class Sampler:
    """Before and after each step of a run, `before` and `after` keep what is needed. `taken`: the samples; values of
    the step before end in `#1`."""

    graph: Graph
    protocol: Protocol
    steps: int
    taken: list[Values] = field(default_factory=list)

    def __post_init__(self) -> None:
        draw = np.random.default_rng(0)
        wanted = draw.permutation(np.arange(1, max(self.steps, 1)))[:STEPS]
        self.wanted = {int(step) for step in wanted}
        self.cells = {p.name: draw.permutation(p.size)[:SIDE] for p in self.graph.populations}
        kinds = {q.name: self.graph.class_of(q.name).kind for q in self.graph.projections}
        self.plastic = [q for q in self.graph.projections if self.graph.rule_of(q) is not None
                        and not (kinds[q.name].maps or kinds[q.name].listed)]
        now, self.earlier, weights = _read(self.graph, self.plastic)
        self.held = weights + [f"{q.name}.{key}" for q in self.plastic for key in _tag(self.graph, q)]
        sent = [f"{q.pre}.{self.graph.class_of(q.name).message}" for q in self.graph.projections]
        self.now = list(dict.fromkeys([*now, *sent]))
        self.current: Values = {}

    def before(self, runner: Runner, step: int) -> None:
        if step in self.wanted:
            self.current = {f"{name}#1": array for name, array in self._values(runner, [*self.earlier, *self.held])}

    def after(self, runner: Runner, step: int) -> None:
        if step not in self.wanted:
            return
        self.current |= dict(self._values(runner, [*self.now, *(n for n in self.held if not n.endswith(".w"))]))
        gates = {f"gate.{name}": np.asarray(value) for name, value in gates_at(self.protocol, step).items()}
        self.taken.append(self.current | gates)

    def _values(self, runner: Runner, names: Iterable[str]) -> Iterator[tuple[str, np.ndarray]]:
        for name in names:
            try:
                yield name, self._chosen(name, np.asarray(runner.value(name))[0])
            except KeyError:
                continue  # not kept by the program: what reads it is not measured

    def _chosen(self, name: str, values: np.ndarray) -> np.ndarray:
        """Of the drawn cells or synapses."""
        owner = name.partition(".")[0]
        if owner in self.cells:
            return values[self.cells[owner]]
        return values[chosen_synapses(self, self.graph.projection(owner))]


def chosen_synapses(sampler: Sampler, q: Projection) -> np.ndarray | tuple[np.ndarray, ...]:
    """Index of the drawn synapses of a weight array."""
    post, pre = sampler.cells[q.post], sampler.cells[q.pre]
    return post if sampler.graph.class_of(q.name).kind.pairs else np.ix_(post, pre)


def gates_at(protocol: Protocol, step: int) -> dict[str, float]:
    """Gates that a phase sets, in one step of a protocol."""
    phases = {phase.name: phase for phase in protocol.phases}
    for name in protocol.sequence:
        if step < phases[name].total:
            return {gate: pattern[step % len(pattern)] for gate, pattern in phases[name].gates}
        step -= phases[name].total
    return {}


def _tag(graph: Graph, q: Projection) -> tuple[str, ...]:
    rule = graph.rule_of(q)
    return (rule.optimiser.kind,) if rule and rule.optimiser.kind in TAGGED else ()


def _read(graph: Graph, projections: Iterable[Projection]) -> tuple[list[str], list[str], list[str]]:
    """Quantities of cells that rules read, of this step and of the one before, and weights."""
    now: dict[str, None] = {}
    earlier: dict[str, None] = {}
    weights: dict[str, None] = {}
    for q in projections:
        rule = graph.rule_of(q)
        for node in walk(rule.increment) if rule else ():
            if node == Name("w"):
                weights[f"{q.name}.w"] = None
            elif isinstance(node, Name | Prev) and node.name.startswith(("pre.", "post.")) and node.name != WEIGHT_SUM:
                (earlier if isinstance(node, Prev) else now)[_owned(q, node.name)] = None
    return list(now), list(earlier), list(weights)


def _owned(q: Projection, name: str) -> str:
    side, _, quantity = name.partition(".")
    return f"{q.pre if side == 'pre' else q.post}.{quantity}"


# ---- when the formats are known


def measured(sampler: Sampler, after: Graph) -> list[Underflow]:
    """What of the sampled signals, and changes of weights and tags, becomes 0 in the quantised graph."""
    synaptic, found = {q.name for q in after.projections}, []
    formats = {name: held for name, (held, nearest) in formats_of(after)  # cells' random rounding is right on average
               if nearest or name.partition(".")[0] in synaptic}
    for name, held in formats.items():
        source = _source(sampler.graph, name)
        if source not in (name, "") and all(source in values for values in sampler.taken):
            pairs = [(values[source], held.round(values[source]) == 0) for values in sampler.taken]
            found += _measured(name, "signal", held, pairs)
    for q in sampler.plastic:
        rule = after.rule_of(after.projection(q.name))
        for change in changes(after.projection(q.name), rule) if rule else ():
            if change.name == TAG and not _tag(sampler.graph, q):
                continue  # a state of the rule's own of this name
            what = f"{q.name}.{'w' if change.name == 'increment' else change.name}"
            found += _measured(what, "increments", formats[what], list(_pairs(sampler, q, change, formats)))
    return found


def _measured(quantity: str, kind: str, unit: Format,
              pairs: list[tuple[np.ndarray, np.ndarray]]) -> list[Underflow]:
    """`pairs`: what the values are in float, and whether each becomes 0."""
    if not pairs:
        return []
    exact, lost = (np.concatenate([np.ravel(part) for part in parts]) for parts in zip(*pairs, strict=True))
    sizes, of = np.abs(exact), int(np.count_nonzero(exact))
    zero = int(np.count_nonzero(lost & (exact != 0)))
    if not zero:
        return []
    return [Underflow(quantity, kind, zero / of, zero, of, unit.unit, float(sizes.max()), "calibration",
                      float(sizes[lost].sum() / sizes.sum()))]


def _pairs(sampler: Sampler, q: Projection, change: Change,
           formats: Mapping[str, Format]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    graph = sampler.graph
    rule, mask = graph.rule_of(q), connection_mask(graph, q)
    assert rule is not None
    joined = np.ones(1) if mask is None else mask.reshape(-1, *weight_shape(graph, q))[0][chosen_synapses(sampler, q)]
    for values in sampler.taken:
        real, fixed = (_Scope(graph, q, values, f) for f in ({}, formats))
        try:
            exact = np.asarray(_change(graph, q, rule, change.name, real) * joined)
            if exact.any():
                lost = evaluate(change.lost, fixed.now, fixed.before) != 0
                yield exact, np.broadcast_to(lost, exact.shape)
        except KeyError:
            return


def _change(graph: Graph, q: Projection, rule: PlasticityRule, name: str, scope: _Scope) -> np.ndarray:
    """In float: what goes into the tag, or the weight."""
    kind = rule.optimiser.kind

    def is_on(gate: str | None) -> float:
        return 1.0 if gate is None else float(scope.now(f"gate.{gate}") > 0)

    def increment() -> np.ndarray:
        return scope.of(rule.increment) * is_on(q.gate)

    if kind not in TAGGED:
        return increment()
    held = scope.values[f"{q.name}.{kind}#1"]
    if kind == "low_pass":
        rate = scope.of(rule.optimiser.arguments[0])
        change = rate * (scope.of(rule.increment) - held) if name == TAG else scope.values[f"{q.name}.{kind}"]
        return change * is_on(q.gate)
    return increment() if name == TAG else is_on(q.apply or q.gate) * (held + increment())


@dataclass(frozen=True)
class _Scope:
    """Names of a rule in one sample, rounded to their formats where these are given. Raises KeyError."""

    graph: Graph
    q: Projection
    values: Values
    formats: Mapping[str, Format]

    def of(self, expression: Expression) -> np.ndarray:
        return evaluate(expression, self.now, self.before)

    def now(self, name: str) -> np.ndarray:
        if name.startswith("gate."):
            return self.values.get(name, np.zeros(()))
        if name == "w":
            return self._rounded(f"{self.q.name}.w", self.values[f"{self.q.name}.w#1"])
        if name == TAG:
            return self._tagged("")
        return self._side(name, "")

    def before(self, name: str, depth: int) -> np.ndarray:
        if name == TAG:
            return self._tagged("#1")
        return self._side(name, "#" + str(depth))

    def _tagged(self, when: str) -> np.ndarray:
        return self._rounded(f"{self.q.name}.{TAG}", self.values[f"{self.q.name}.{_tag(self.graph, self.q)[0]}{when}"])

    def _side(self, name: str, when: str) -> np.ndarray:
        """Along the last axis for `pre`, the one before it for `post`."""
        owned = _owned(self.q, name)
        array = self._rounded(owned, self.values[_source(self.graph, owned) + when])
        if self.graph.class_of(self.q.name).kind.pairs:
            return array
        return array[None, :] if name.startswith("pre.") else array[:, None]

    def _rounded(self, name: str, array: np.ndarray) -> np.ndarray:
        return self.formats[name].round(array) if name in self.formats else array


def _source(graph: Graph, name: str) -> str:
    """What the float circuit calls a quantity of a cell: of a copy what it copies; empty where it is none."""
    owner, _, quantity = name.partition(".")
    population = next((p for p in graph.populations if p.name == owner), None)
    if population is None:
        return ""
    cell = graph.cell(population.cell)
    if cell.equation(quantity) or quantity in cell.inputs:
        return name
    return f"{owner}.{quantity.removesuffix('_sent').removesuffix('_factor').removesuffix('_in')}"
