"""Which parts of a circuit stock Lava processes compute to the bit, and why the others are not theirs.

    population L1   is exactly stock LIF in fixed point with du=409, dv=200, vth=200, bias=0
    population PC1  not LIF: gate 'start' acts on it, and LIF has no input for that
    projection wE_1 not LearningDense: rule 'hebbian' does not round with LearningDense's own random numbers

A stock Dense takes what is sent in one step and delivers its sum in the next; a LearningDense multiplies with the
weights that the last step left. A part that computes the same numbers otherwise is not substituted, so in floating
point nothing is: Lava adds in another order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np

from cortexc.compiler.ir import CellType, Graph, Projection
from cortexc.compiler.ir.expressions import Call, Number, Where, names, previous, reads, walk
from cortexc.compiler.ir.model import Array
from cortexc.compiler.ir.schedule import Segment, instantaneous, message_depth, schedule
from cortexc.compiler.passes.stock_forms import LifForm, NotStock, lif_form
from cortexc.compiler.passes.stock_rules import DenseForm, RuleForm, RuleScope, rule_form, stock_weights
from cortexc.compiler.passes.whole_numbers import initial_values, message_range, whole_quantities

INTEGER = {"floor", "clip", "min", "max", "abs", "saturate", "shift_left", "shift_right", "fixed", "pow"}
"""Functions that the integer form of a LIF may use."""
WORD = 2**31
"""Lava's currents are int32."""
Found = TypeVar("Found")


@dataclass(frozen=True)
class StockNote:
    """`reason` why the part is not this stock process; "" where nothing excludes it. `exact`: the arguments with which
    it is the process in fixed point; `inexact`: why it is not to the bit; `stays`: why it is not substituted."""

    kind: str
    name: str
    process: str
    reason: str
    exact: str = ""
    inexact: str = ""
    stays: str = ""

    @property
    def text(self) -> str:
        if self.reason:
            return f"not {self.process}: {self.reason}"
        if not self.exact:
            return f"could be {self.process} in floating point; in fixed point it is not: {self.inexact}"
        stays = f"; stays as it is: {self.stays}" if self.stays else ""
        return f"is exactly stock {self.process} in fixed point with {self.exact}{stays}"


@dataclass
class StockPlan:
    """What is emitted as stock processes; `why` the others are not, by name."""

    populations: dict[str, LifForm] = field(default_factory=dict)
    projections: dict[str, DenseForm] = field(default_factory=dict)
    why: dict[str, str] = field(default_factory=dict)


def stock_plan(graph: Graph, observed: frozenset[str] = frozenset(), whole: frozenset[str] | None = None) -> StockPlan:
    """The largest set of populations and projections that stock processes can replace together; a LIF only with all
    its projections. `observed` are quantities that are recorded."""
    whole, plan = _whole(graph) if whole is None else whole, StockPlan()
    observed = observed | {quantity for _, quantity in graph.outputs}
    for p in graph.populations:
        _try(plan.why, plan.populations, p.name, _lif, graph, p.name, whole, observed)
    while True:
        plan.projections = {}
        for q in _weighted(graph):
            _try(plan.why, plan.projections, q.name, _dense, graph, q, plan, whole, observed)
        alone = {end: q.name for q in reversed(graph.projections) if q.name not in plan.projections
                 for end in (q.pre, q.post) if end in plan.populations}
        if not alone:
            return plan
        for name, missing in alone.items():
            del plan.populations[name]
            plan.why[name] = f"its projection '{missing}' is not a stock one: {plan.why.get(missing, 'an identity')}"


def hidden_quantities(graph: Graph, plan: StockPlan) -> frozenset[str]:
    """What cannot be seen at the end of a step: it is inside a stock process, or comes from one a step later."""
    found = {f"{p}.{e.name}" for p, form in plan.populations.items() for e in graph.cell_of(p).equations
             if e.name not in (form.u, form.v, form.spike)}
    for q in map(graph.projection, plan.projections):
        rule = graph.rule_of(q)
        states = [s.name for s in rule.states] if rule else []
        found |= {f"{q.name}.{name}" for name in ("current", "increment", *states)}
        if q.post not in plan.populations and message_depth(graph, q) == 0:
            late = instantaneous(graph.cell_of(q.post), [graph.class_of(q.name).port])
            found |= {f"{q.post}.{name}" for name in late}
    return frozenset(found)


def _try(why: dict[str, str], found: dict[str, Found], name: str, make: Callable[..., Found], *given: Any) -> None:
    why.pop(name, None)
    try:
        found[name] = make(*given)
    except NotStock as reason:
        why[name] = str(reason)


def _weighted(graph: Graph) -> list[Projection]:
    return [q for q in graph.projections if graph.class_of(q.name).kind.weighted]


def _whole(graph: Graph) -> frozenset[str]:
    """Integer quantities, where rules that are LearningDense's keep weights integers."""
    learnt: dict[str, RuleForm | None] = {}
    for q in _weighted(graph):
        _try({}, learnt, q.name, _rule, graph, q)
    return whole_quantities(graph, lambda name: learnt.get(name) is not None)


# ---- populations


def _lif(graph: Graph, population: str, whole: frozenset[str], observed: frozenset[str]) -> LifForm:
    cell = graph.cell_of(population)
    for reason in _not_lif(graph, cell, population):
        raise NotStock(reason)
    form = lif_form(graph, population, whole)
    for q in graph.projections:
        for read in sorted(_rule_reads(graph, q)):
            side, _, name = read.partition(".")
            if population == {"pre": q.pre, "post": q.post}.get(side) and name != form.spike:
                raise NotStock(f"the rule of '{q.name}' reads its '{name}', LIF sends spikes only")
    for name in sorted({e.name for e in cell.equations} - {form.u, form.v, form.spike}):
        if f"{population}.{name}" in observed:
            raise NotStock(f"its '{name}' is recorded")
    return form


def _rule_reads(graph: Graph, q: Projection) -> set[str]:
    rule = graph.rule_of(q)
    return {name for expression in (rule.expressions if rule else ()) for name in reads(expression)}


def _not_lif(graph: Graph, cell: CellType, population: str) -> Iterator[str]:
    if cell.inputs:
        yield f"it is a source, with exogenous input '{cell.inputs[0]}'" if not cell.ports else \
            f"it has exogenous input '{cell.inputs[0]}'"
    read = {name for e in cell.equations for name in names(e.expression)}
    gates = sorted(name.removeprefix("gate.") for name in read if name.startswith("gate."))
    if gates:
        yield f"gate '{gates[0]}' acts on it, and LIF has no input for that"
    if not cell.ports:
        yield "it has no port"
    if cell.noise:
        yield f"it draws noise '{cell.noise[0][0]}'"
    called = {node.function for e in cell.equations for node in walk(e.expression) if isinstance(node, Call)}
    if called - INTEGER:
        yield f"it computes {', '.join(sorted(called - INTEGER))}, LIF is linear up to its threshold"
    for message in sorted({graph.class_of(q.name).message for q in graph.projections if q.pre == population}):
        equation = cell.equation(message)
        if equation is None or not _spike(equation.expression):
            yield f"it sends '{message}', LIF sends a spike of 0 or 1"
    if graph.batch > 1:
        yield f"it computes {graph.batch} samples at once"


def _spike(expression: object) -> bool:
    """where(..., 1, 0)"""
    return isinstance(expression, Where) and (expression.then, expression.otherwise) == (Number(1.0), Number(0.0))


# ---- projections


def _not_dense(graph: Graph, projection: Projection) -> Iterator[str]:
    """What excludes a Dense whatever its arithmetic."""
    kind = graph.class_of(projection.name).kind
    if any(mirror.target == projection.name for mirror in graph.mirrors):
        yield "a mirror overwrites its weights"
    if any(mirror.source == projection.name for mirror in graph.mirrors):
        yield "a mirror copies its weights"
    if not kind.full and (kind.mask != "array" or graph.rule_of(projection)):
        yield f"its connectivity is {kind.name}"
    if message_depth(graph, projection) > 1 or message_depth(graph, projection) < 1 and projection.delay < 1:
        yield f"it delivers with delay {projection.delay}, a Dense in the next step"
    if graph.batch > 1:
        yield f"it serves {graph.batch} samples at once"


def _dense(graph: Graph, q: Projection, plan: StockPlan, whole: frozenset[str], observed: frozenset[str]) -> DenseForm:
    rule = _rule(graph, q)
    for reason in _not_dense(graph, q):
        raise NotStock(reason)
    for name in sorted(observed):
        if name.startswith(f"{q.name}.") and name != f"{q.name}.w":
            raise NotStock(f"its '{name.partition('.')[2]}' is recorded, of a Dense only the weights are seen")
    exponent = _exponent(graph, q, plan, observed)
    bits, most = _message(graph, q, whole, rule)
    weights = graph.arrays.get(f"{q.name}.w", np.zeros((graph.population(q.post).size, graph.population(q.pre).size)))
    mask = graph.arrays.get(f"{q.name}.mask")
    weights = weights if mask is None else weights * (mask != 0)
    if not (weights == np.floor(weights)).all():
        raise NotStock("its weights are not integers")
    rows = 256 * weights.shape[1] if rule else np.abs(weights).sum(axis=1).max(initial=0)
    together = sum(other.post == q.post for other in graph.projections)
    if float(rows) * most * 2.0**max(exponent, 0) * 64 * together > WORD - 2**23:
        raise NotStock("its sums may exceed Lava's int32")
    if not rule:
        return DenseForm(*stock_weights(weights, exponent), message_bits=bits)
    _check_learning(graph, q, plan, weights, rule, whole)
    return DenseForm(weights.astype(np.int64), exponent, "MIXED", 1.0, bits, rule)


def _rule(graph: Graph, q: Projection) -> RuleForm | None:
    rule = graph.rule_of(q)
    if rule is None:
        return None
    message = graph.class_of(q.name).message
    return rule_form(RuleScope(graph, q, rule, message, message_range(graph, q.pre, message) == (0.0, 1.0)))


def _message(graph: Graph, q: Projection, whole: frozenset[str], rule: RuleForm | None) -> tuple[int, float]:
    """(bits of the message, its greatest magnitude)."""
    message = graph.class_of(q.name).message
    low, high = message_range(graph, q.pre, message)
    if f"{q.pre}.{message}" not in whole:
        raise NotStock(f"its message '{message}' is not an integer")
    if not np.isfinite([low, high]).all():
        raise NotStock(f"its message '{message}' has no bounds")
    if rule and (low < 0 or high > 510):
        raise NotStock(f"its message '{message}' is between {low:g} and {high:g}; graded spikes that are learnt "
                       "from are 0 to 510")
    return (0 if (low, high) == (0, 1) else 8), max(abs(low), abs(high))


def _exponent(graph: Graph, q: Projection, plan: StockPlan, observed: frozenset[str]) -> int:
    """The shift that the Dense does; raises NotStock where its delay of one step is not the circuit's."""
    port, depth, form = graph.class_of(q.name).port, message_depth(graph, q), plan.populations.get(q.post)
    message = graph.class_of(q.name).message
    if depth == 1 and np.any(initial_values(graph, q.pre, message) != 0):
        raise NotStock(f"the first '{message}' is not 0, what a Dense sends first is")
    if form is None:
        if depth == 0 and (reason := _not_waiting(graph, q.post, port, observed)):
            raise NotStock(reason)
        return 0
    arrival = dict(form.ports).get(port)
    if arrival is None:
        raise NotStock(f"port '{port}' of '{q.post}' does not drive it")
    if depth + bool(arrival.buffer) != 1:
        raise NotStock(f"what it sends acts {depth + bool(arrival.buffer)} steps later, behind a Dense it is 1")
    if arrival.exponent < 0 and len(graph.into(q.post, port)) > 1:
        raise NotStock(f"port '{port}' of '{q.post}' rounds the sum of several projections, each Dense its own")
    return arrival.exponent


def _not_waiting(graph: Graph, population: str, port: str, observed: frozenset[str]) -> str:
    """Why what arrives at a port cannot come one step later; "" where only `prev` reads what it makes."""
    waiting = instantaneous(graph.cell_of(population), [port])
    if reason := _not_apart(graph, population, waiting):
        return reason
    for name in sorted(waiting):
        equation = graph.cell_of(population).equation(name)
        if equation and any(read.startswith("gate.") for read in names(equation.expression)):
            return f"'{name}' of '{population}' reads a gate when it arrives"
        if any(q.pre == population and graph.class_of(q.name).message == name for q in graph.projections):
            return f"what it delivers acts on '{name}' in the same step, a Dense delivers in the next"
        for q in graph.projections:
            side = {"pre": q.pre, "post": q.post}
            if any(side.get(r.partition(".")[0]) == population and r.partition(".")[2] == name
                   for r in _rule_reads(graph, q)):
                return f"the rule of '{q.name}' reads '{name}' in the step in which it changes"
        if f"{population}.{name}" in observed:
            return f"'{population}.{name}' is recorded, behind a Dense it changes a step later"
    return ""


def _not_apart(graph: Graph, population: str, waiting: set[str]) -> str:
    """Why the equations that wait cannot run at the start of the next step: others run with them, or read their earlier
    values after them."""
    segments = [s for s in schedule(graph) if isinstance(s, Segment) and s.population == population]
    first = next((i for i, s in enumerate(segments) if waiting & set(s.equations)), len(segments))
    for index, name in ((i, n) for i, s in enumerate(segments[first:]) for n in s.equations):
        equation = graph.cell_of(population).equation(name)
        if (name in waiting) != (index == 0):
            return f"'{name}' of '{population}' is computed {'together with' if index == 0 else 'after'} what arrives"
        if index and equation and waiting & set(previous(equation.expression)):
            return f"'{name}' of '{population}' is computed after what arrives and reads an earlier value of it"
    return ""


def _check_learning(graph: Graph, q: Projection, plan: StockPlan, weights: Array, rule: RuleForm,
                    whole: frozenset[str]) -> None:
    low, high = graph.class_of(q.name).bounds
    used = graph.rule_of(q)
    if q.gate or q.apply or used is None or used.optimiser.kind != "none":
        raise NotStock("a gate or an optimiser acts on its rule, LearningDense learns in every step")
    if message_depth(graph, q) != 0:
        raise NotStock("its message meets the weights of the step after it was sent, in LearningDense those before it")
    if low > -256 or high < 255:
        raise NotStock(f"its weights are limited to {low:g} to {high:g}, those of LearningDense to -256 to 255")
    if (weights % 2).any() or weights.min(initial=0) < -256 or weights.max(initial=0) > 255:
        raise NotStock("its first weights are not even numbers of -256 to 254; LearningDense clears their lowest bit")
    port = graph.class_of(q.name).port
    for name in rule.factors:
        if f"{q.post}.{name}" not in whole:
            raise NotStock(f"its factor '{name}' is not an integer")
        if q.post not in plan.populations and name in instantaneous(graph.cell_of(q.post), [port]):
            raise NotStock(f"its factor '{name}' depends on what it delivers in the same step")
    extra = {r for r in _rule_reads(graph, q) if r.startswith("pre.")} - {f"pre.{graph.class_of(q.name).message}"}
    if extra:
        raise NotStock(f"its rule reads {', '.join(sorted(extra))}, a LearningDense only what it transmits")


# ---- the report


def stock_notes(graph: Graph) -> list[StockNote]:
    """One for every population and every projection with weights, in declaration order."""
    whole, forms, notes = _whole(graph), dict[str, LifForm](), list[StockNote]()
    plan = stock_plan(graph, whole=whole)
    for p in graph.populations:
        _try({}, forms, p.name, _lif, graph, p.name, whole, frozenset())
        reason = next(_not_lif(graph, graph.cell(p.cell), p.name), "")
        notes.append(_note("population", p.name, "LIF", reason, forms.get(p.name), plan))
    for q in _weighted(graph):
        plastic = graph.rule_of(q) is not None
        reason = plan.why.get(q.name, "") if plastic else next(_not_dense(graph, q), "")
        process = "LearningDense" if plastic else "Dense"
        notes.append(_note("projection", q.name, process, reason, plan.projections.get(q.name), plan))
    return notes


def _note(kind: str, name: str, process: str, reason: str, form: LifForm | DenseForm | None,
          plan: StockPlan) -> StockNote:
    if reason:
        return StockNote(kind, name, process, reason)
    why = plan.why.get(name, "")
    return StockNote(kind, name, process, "", form.text, stays=why) if form else \
        StockNote(kind, name, process, "", inexact=why)


def stock_text(graph: Graph) -> str:
    """The notes, one line each; equal ones together."""
    groups: dict[tuple[str, str], list[str]] = {}
    for note in stock_notes(graph):
        groups.setdefault((note.kind, note.text), []).append(note.name)
    return "".join(f"{kind} {', '.join(members)}\n  {text}\n" for (kind, text), members in groups.items())
