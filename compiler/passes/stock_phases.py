"""Which projections of a circuit in fixed point Lava's own Dense and LearningDense compute to the bit.

    W  is LearningDense: dw = '5*2^-6*u0*(x1-64)*y1' with x1 = prev(pre.rate_sent), y1 = 8 * post.mismatch_factor
    B  is Dense
    V  stays a process of ours: its rule keeps 'tag' in every synapse

A stock process delivers one step of Lava's after it has received. So a step of the circuit takes several of Lava's,
its *phases*: an equation runs in the phase in which the last of what it reads arrives. In the last phase every
LearningDense gets what its rule multiplies (`stock_products`): the presynaptic factor as a graded spike, which becomes
x1, and the postsynaptic ones as y1 to y3; in others these are 0. Its epoch is the circuit's step, so its random number
of a step is the circuit's (`rounding = "lava"`). Where a rule reads an event of the presynaptic cell besides, the
graded spike comes in a phase before that, and once more in the last one where the event is: x2 counts those alone.

Exact, because everything is a whole multiple of its unit: sums of such numbers below 2^53 are the same in any order.

Sources: lava-nc 0.10.0, proc/dense/models.py, magma/core/model/py/connection.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from cortexc.compiler.ir import Graph, Projection
from cortexc.compiler.ir.arrays import connection_mask
from cortexc.compiler.ir.expressions import names
from cortexc.compiler.ir.model import Array
from cortexc.compiler.ir.schedule import Delivery, Segment, message_depth, schedule
from cortexc.compiler.passes.stock_forms import NotStock
from cortexc.compiler.passes.stock_products import LIMITS, StockRule, grid_of, stock_rule
from cortexc.compiler.passes.whole_numbers import initial_values

SUMS = 2.0**31
"""Lava's currents are int32."""
DELAY = 63
"""Most steps of a DelaySparse."""


@dataclass(frozen=True)
class StockSynapse:
    """A stock process: its weights are those of the projection in units of `unit`, its messages in units of
    `message_unit`, `late` steps old. `sign`: its sign mode."""

    unit: float
    message_unit: float
    late: int
    sign: str
    rule: StockRule | None = None
    listed: bool = False
    delayed: bool = False

    @property
    def process(self) -> str:
        prefix = "Learning" if self.rule else "Delay" if self.delayed else ""
        return f"{prefix}{'Sparse' if self.listed else 'Dense'}"

    @property
    def text(self) -> str:
        return f"{self.process}: {self.rule.text}" if self.rule else self.process


@dataclass
class PhasePlan:
    """`why` the other projections with weights are no stock processes. `made`: population, quantity -> the phase in
    which it is there; `arrives`: projection -> the phase in which it delivers; `traced`: those whose graded spike comes
    before the last phase -> in which. `phases` of a step."""

    stock: dict[str, StockSynapse] = field(default_factory=dict)
    why: dict[str, str] = field(default_factory=dict)
    made: dict[tuple[str, str], int] = field(default_factory=dict)
    arrives: dict[str, int] = field(default_factory=dict)
    traced: dict[str, int] = field(default_factory=dict)
    phases: int = 1


def phase_plan(graph: Graph) -> PhasePlan:
    """Of a graph in fixed point, whose rules round with Lava's numbers; without any stock process if nothing is."""
    plan = PhasePlan()
    for q in graph.projections:
        if not graph.class_of(q.name).kind.weighted:
            continue
        try:
            plan.stock[q.name] = _synapse(graph, q)
        except NotStock as reason:
            plan.why[q.name] = str(reason)
    _count(graph, plan)
    slowest = {name: int(graph.arrays[f"{name}.delay"].max(initial=1) - 1) for name, stock in plan.stock.items()
               if stock.delayed}
    while late := [name for name, steps in slowest.items() if name in plan.stock and steps * plan.phases > DELAY]:
        for name in late:
            del plan.stock[name]
            plan.why[name] = f"its delays exceed {DELAY} of Lava's steps"
        _count(graph, plan)
    return plan


def _count(graph: Graph, plan: PhasePlan) -> None:
    for operation in schedule(graph):
        if isinstance(operation, Delivery):
            plan.arrives[operation.projection] = _sent(graph, plan, operation.projection) + (
                operation.projection in plan.stock)
        elif isinstance(operation, Segment):
            for name in operation.equations:
                plan.made[operation.population, name] = _phase(graph, plan, operation.population, name)
    for name, stock in plan.stock.items():
        if stock.rule and stock.rule.event:
            made = plan.made.get((graph.projection(name).pre, stock.rule.pre.name), 0)
            plan.traced[name] = max(_sent(graph, plan, name) + 1, made)
    plan.phases = 1 + max([*plan.made.values(), *plan.arrives.values(), *(each + 1 for each in plan.traced.values())],
                          default=0)


def _sent(graph: Graph, plan: PhasePlan, projection: str) -> int:
    """The phase in which a projection gets its message."""
    q = graph.projection(projection)
    return 0 if message_depth(graph, q) else plan.made.get((q.pre, graph.class_of(q.name).message), 0)


def _phase(graph: Graph, plan: PhasePlan, population: str, equation: str) -> int:
    cell = graph.cell_of(population)
    read = names(cell.equation(equation).expression)  # type: ignore[union-attr]
    ports = {port.name for port in cell.ports} & read
    found = [plan.made.get((population, name), 0) for name in read - ports]
    return max([*found, *(plan.arrives[q.name] for port in ports for q in graph.into(population, port))], default=0)


# ---- what excludes a stock process


def _synapse(graph: Graph, q: Projection) -> StockSynapse:
    for reason in _not_stock(graph, q):
        raise NotStock(reason)
    synapse, rule = graph.class_of(q.name), graph.rule_of(q)
    message = grid_of(graph, q.pre, synapse.message)
    weights = _weights(graph, q)
    least, most = weights.min(initial=0), weights.max(initial=0)
    ends = synapse.limits if rule else (least, most)
    sign = "EXCITATORY" if ends[0] >= 0 else "INHIBITORY" if ends[1] <= 0 else "MIXED"
    low, high = LIMITS[sign] if rule or sign != "MIXED" else (-128, 127)
    if least < low or most > high:
        raise NotStock(f"its weights are not {low} to {high} units")
    if synapse.kind.listed:
        _check_list(graph, q, weights, sign)
    if max(abs(message.low), abs(message.high)) * _reach(graph, q, weights) >= SUMS:
        raise NotStock("its sums may exceed Lava's int32")
    return StockSynapse(synapse.unit, message.unit, message_depth(graph, q), sign,
                        stock_rule(graph, q, rule, sign) if rule else None, synapse.kind.listed, _delayed(graph, q))


def _reach(graph: Graph, q: Projection, weights: Array) -> float:
    """What the magnitudes of the weights of a cell may add up to; those that do not learn are doubled."""
    if graph.rule_of(q):
        return 256.0 * graph.population(q.pre).size
    if graph.class_of(q.name).kind.listed:
        return 2 * float(np.bincount(graph.arrays[f"{q.name}.post"].astype(int), np.abs(weights)).max(initial=0))
    return 2 * float(np.abs(weights).sum(axis=1).max(initial=0))


def _check_list(graph: Graph, q: Projection, weights: Array, sign: str) -> None:
    """A sparse matrix has one weight for two cells. Lava leaves out those of 0 before it learns, and its limit of 0
    for sparse ones that learn raises NotImplementedError."""
    places = np.stack([graph.arrays[f"{q.name}.{side}"] for side in ("pre", "post")])
    if np.unique(places, axis=1).shape[1] < places.shape[1]:
        raise NotStock("it has several synapses between two cells")
    if graph.rule_of(q) and not weights.all():
        raise NotStock("it learns and has weights of 0, which LearningSparse leaves out")
    if graph.rule_of(q) and sign != "MIXED":
        raise NotStock("its weights are of one sign, and Lava 0.10 cannot limit those of a LearningSparse")


def _not_stock(graph: Graph, q: Projection) -> Iterator[str]:
    kind, message = graph.class_of(q.name).kind, graph.class_of(q.name).message
    if graph.batch > 1:
        yield f"it serves {graph.batch} samples at once"
    if not (kind.matrix or kind.listed):
        yield f"its connectivity is {kind.name}"
    if not graph.class_of(q.name).unit:
        yield "its weights have no fixed-point format"
    if any(q.name in (mirror.target, mirror.source) for mirror in graph.mirrors):
        yield "a mirror copies its weights"
    if message_depth(graph, q) and graph.cell_of(q.pre).state(message) is None:
        yield f"its message '{message}' comes later and is no state"
    if _delayed(graph, q) and graph.rule_of(q):
        yield "it learns, and each synapse has a delay of its own"
    if _delayed(graph, q) and np.any(initial_values(graph, q.pre, message)):
        yield f"each synapse has a delay of its own, and the first '{message}' is not 0"


def _delayed(graph: Graph, q: Projection) -> bool:
    return f"{q.name}.delay" in graph.arrays or q.delays is not None


def _weights(graph: Graph, q: Projection) -> Array:
    given, unit = graph.arrays[f"{q.name}.w"], graph.class_of(q.name).unit
    given = given[0] if given.ndim > 2 else given
    mask = connection_mask(graph, q)
    return np.asarray((given if mask is None else given * (np.reshape(mask, given.shape) != 0)) / unit, np.float64)


def phase_text(graph: Graph, plan: PhasePlan) -> str:
    """A line for every projection with weights; equal ones together."""
    groups: dict[str, list[str]] = {}
    for q in graph.projections:
        if q.name in plan.stock:
            groups.setdefault(f"is {plan.stock[q.name].text}", []).append(q.name)
        elif q.name in plan.why:
            groups.setdefault(f"stays a process of ours: {plan.why[q.name]}", []).append(q.name)
    lines = "".join(f"{', '.join(members)}\n  {text}\n" for text, members in groups.items())
    return f"{lines}cells are processes of ours; a step of the circuit takes {plan.phases} of Lava's\n"
