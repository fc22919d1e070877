"""Which projections of a circuit in fixed point Lava's own Dense and LearningDense compute to the bit.

    W  is LearningDense: dw = '5*2^-6*u0*(x1-64)*y1' with x1 = prev(pre.rate_sent), y1 = 8 * post.mismatch_factor
    B  is Dense
    V  stays a process of ours: its rule is a sum of 2 products

A stock process delivers one step of Lava's after it has received. So a step of the circuit takes several of Lava's,
its *phases*: an equation runs in the phase in which the last of what it reads arrives. In the last phase every
LearningDense gets what its rule multiplies: `pre` as a graded spike, which becomes x1, and `post` as y1; in others y1
is 0. Its epoch is the circuit's step, so its random number of a step is the circuit's (`rounding = "lava"`).

Exact, because everything is a whole multiple of its unit: sums of such numbers below 2^53 are the same in any order. A
LearningDense cuts 3 bits off a product of x1, y1 and a mantissa of 3 bits; with 2, 4 or 8 times the factor as y1, and
a mantissa that makes up for it, these bits are 0. So a rule whose scale is a sum of powers of two from 2^-7 on (in
units of weight and factors) is a sum of exact products. Where a mask says which synapses there are, the tag t is it.

Sources: lava-nc 0.10.0, proc/dense/models.py, magma/core/model/py/connection.py, magma/core/learning/
learning_rule_applier.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np

from cortexc.compiler.ir import Graph, Projection
from cortexc.compiler.ir.connections import connection_mask
from cortexc.compiler.ir.expressions import Name, Prev, depth_of, names
from cortexc.compiler.ir.model import Array, PlasticityRule
from cortexc.compiler.ir.schedule import Delivery, Segment, message_depth, schedule
from cortexc.compiler.passes.fixed_point import rounding_of
from cortexc.compiler.passes.normal_form import NormalForm, Polynomial, of_atom
from cortexc.compiler.passes.quantised_rules import LAVA_BITS
from cortexc.compiler.passes.ranges import value_ranges
from cortexc.compiler.passes.stock_forms import NotStock

OFFSET, TRACE, THIRD = 64, 127, 127
"""Of x1 where its quantity has a sign, which a trace has not; greatest trace; greatest third factor."""
TAG = 128
"""Of synapses that a mask lets learn, in a rule that is multiplied with it; it brings 9 bits, so 2 more are cut off."""
LEAST = -7
"""Exponent of the least scale of a product that loses nothing."""
STEP = 32767 / 128
"""So many units a product may move a weight: more saturates."""
LIMITS = {"MIXED": (-256, 255), "EXCITATORY": (0, 255), "INHIBITORY": (-255, 0)}
"""Of a LearningDense's weights, by sign mode."""
SUMS = 2.0**31
Quantity = Name | Prev
"""Of a cell, in the cell's own name."""


@dataclass(frozen=True)
class Grid:
    """A quantity's values: whole multiples of a unit, so many of them at least and at most."""

    unit: float
    low: float
    high: float


@dataclass(frozen=True)
class StockRule:
    """`dw` of a Loihi3FLearningRule. x1 is `pre` in units of `pre_unit`, plus `offset`; y1 is `post` in units of
    `post_unit`, `times` of which are its own."""

    dw: str
    pre: Quantity
    pre_unit: float
    offset: int
    post: Quantity
    post_unit: float
    times: int

    @property
    def text(self) -> str:
        shown = {side: f"{side}.{each.name}" if isinstance(each, Name) else f"prev({side}.{each.name})"
                 for side, each in (("pre", self.pre), ("post", self.post))}
        return f"dw = '{self.dw}' with x1 = {shown['pre']}, y1 = {self.times} * {shown['post']}"


@dataclass(frozen=True)
class StockSynapse:
    """A stock process: its weights are those of the projection in units of `unit`, its messages in units of
    `message_unit`, `late` steps old. `sign`: its sign mode."""

    unit: float
    message_unit: float
    late: int
    sign: str
    rule: StockRule | None = None

    @property
    def process(self) -> str:
        return "LearningDense" if self.rule else "Dense"

    @property
    def text(self) -> str:
        return f"{self.process}: {self.rule.text}" if self.rule else self.process


@dataclass
class PhasePlan:
    """`why` the other projections with weights are no stock processes. `made`: population, quantity -> the phase in
    which it is there; `arrives`: projection -> the phase in which it delivers. `phases` of a step."""

    stock: dict[str, StockSynapse] = field(default_factory=dict)
    why: dict[str, str] = field(default_factory=dict)
    made: dict[tuple[str, str], int] = field(default_factory=dict)
    arrives: dict[str, int] = field(default_factory=dict)
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
    return plan


def _count(graph: Graph, plan: PhasePlan) -> None:
    for operation in schedule(graph):
        if isinstance(operation, Delivery):
            q = graph.projection(operation.projection)
            sent = 0 if message_depth(graph, q) else plan.made.get((q.pre, graph.class_of(q.name).message), 0)
            plan.arrives[q.name] = sent + (q.name in plan.stock)
        elif isinstance(operation, Segment):
            for name in operation.equations:
                plan.made[operation.population, name] = _phase(graph, plan, operation.population, name)
    plan.phases = 1 + max([*plan.made.values(), *plan.arrives.values()], default=0)


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
    message = _grid(graph, q.pre, synapse.message)
    weights = _weights(graph, q)
    sign = _sign(weights, synapse.limits if rule else None)
    _check_range(weights, sign, bool(rule))
    most = (256 if rule else 1.0) * max(abs(message.low), abs(message.high))
    if most * (weights.shape[1] if rule else np.abs(weights).sum(axis=1).max(initial=0) * 2) >= SUMS:
        raise NotStock("its sums may exceed Lava's int32")
    return StockSynapse(synapse.unit, message.unit, message_depth(graph, q), sign,
                        _rule(graph, q, rule, sign) if rule else None)


def _not_stock(graph: Graph, q: Projection) -> Iterator[str]:
    kind, message = graph.class_of(q.name).kind, graph.class_of(q.name).message
    if graph.batch > 1:
        yield f"it serves {graph.batch} samples at once"
    if not kind.matrix or kind.listed or kind.maps:
        yield f"its connectivity is {kind.name}"
    if not graph.class_of(q.name).unit:
        yield "its weights have no fixed-point format"
    if any(q.name in (mirror.target, mirror.source) for mirror in graph.mirrors):
        yield "a mirror copies its weights"
    if message_depth(graph, q) and graph.cell_of(q.pre).state(message) is None:
        yield f"its message '{message}' comes later and is no state"
    if f"{q.name}.delay" in graph.arrays or q.delays is not None:
        yield "each synapse has a delay of its own"


def _grid(graph: Graph, population: str, name: str) -> Grid:
    cell = graph.cell_of(population)
    state, equation = cell.state(name), cell.equation(name)
    held = rounding_of(equation.expression if equation else None)
    ranges = value_ranges(graph, population)
    low, high = (getattr(ranges.of(Name(name)), end) for end in ("low", "high"))
    if held:
        unit = 1.0 / held.scale
        low, high = max(low, -held.limit * unit), min(high, held.limit * unit)
    elif state and state.scale and state.dtype.startswith("int"):
        unit = state.scale
    else:
        raise NotStock(f"'{name}' of '{population}' has no fixed-point format")
    if not np.isfinite([low, high]).all():
        raise NotStock(f"'{name}' of '{population}' has no bounds")
    return Grid(unit, low / unit, high / unit)


def _weights(graph: Graph, q: Projection) -> Array:
    given, unit = graph.arrays[f"{q.name}.w"], graph.class_of(q.name).unit
    given = given[0] if given.ndim > 2 else given
    mask = connection_mask(graph, q)
    return np.asarray((given if mask is None else given * (np.reshape(mask, given.shape) != 0)) / unit, np.float64)


def _sign(weights: Array, limits: tuple[float, float] | None) -> str:
    low, high = limits or (weights.min(initial=0), weights.max(initial=0))
    return "EXCITATORY" if low >= 0 else "INHIBITORY" if high <= 0 else "MIXED"


def _check_range(weights: Array, sign: str, plastic: bool) -> None:
    low, high = LIMITS[sign] if plastic or sign != "MIXED" else (-128, 127)
    if weights.min(initial=0) < low or weights.max(initial=0) > high:
        raise NotStock(f"its weights are not {low} to {high} units")


# ---- rules


def _rule(graph: Graph, q: Projection, rule: PlasticityRule, sign: str) -> StockRule:
    for reason in _not_a_rule(graph, q, rule, sign):
        raise NotStock(reason)
    scale, pre, post = _product(rule, graph.class_of(q.name).unit)
    x, y = _factor(graph, q.pre, pre), _factor(graph, q.post, post)
    offset = 0 if x.low >= 0 else OFFSET
    if x.low + offset < (1 if offset else 0) or x.high + offset > TRACE:
        raise NotStock(f"'{pre.name}' is {x.low:g} to {x.high:g} units; a trace holds 0 to {TRACE}, or with an offset "
                       f"{1 - OFFSET} to {TRACE - OFFSET}: give messages and factors 7 bits")
    masked = connection_mask(graph, q) is not None
    cut = 5 if masked else 3
    doublings = max((j for j in range(cut + 1) if max(-y.low, y.high) * 2**j <= THIRD), default=0)
    if doublings < cut - 2:
        raise NotStock(f"'{post.name}' is {y.low:g} to {y.high:g} units; {2**(cut - 2)} times that does not fit a "
                       f"third factor of {-THIRD} to {THIRD}: give factors {10 - cut} bits")
    units = scale * Fraction(x.unit) * Fraction(y.unit)
    most = float(abs(units)) * max(-x.low, x.high) * max(-y.low, y.high)
    x1, minus = f"(x1-{offset})" if offset else "x1", "-" if units < 0 else ""
    tag = "*t" * masked
    dw = f" {minus or '+'} ".join(f"{mantissa << cut - doublings}*2^{power}*u0*{x1}*y1{tag}"
                                  for mantissa, power in _products(abs(units), most, 3 - cut + doublings))
    return StockRule(minus + dw, pre, x.unit, offset, post, y.unit / 2**doublings, 2**doublings)


def _not_a_rule(graph: Graph, q: Projection, rule: PlasticityRule, sign: str) -> Iterator[str]:
    if rule.optimiser.kind != "none":
        yield f"its optimiser is '{rule.optimiser.kind}'"
    if rule.states:
        yield f"its rule keeps '{rule.states[0].name}' in every synapse, of which LearningDense rounds each step alone"
    if [kind for _, kind in rule.noise] != ["lava_weights"]:
        yield 'it does not round with Lava\'s numbers: precision.rounding = "lava"'
    if q.apply:
        yield "two gates act on its rule"
    low, high = (round(limit / graph.class_of(q.name).unit) for limit in graph.class_of(q.name).limits)
    wanted = LIMITS[sign]
    if (low, high) != wanted:
        yield (f"its weights stay within {low} to {high} units, those of LearningDense within {wanted[0]} to "
               f"{wanted[1]}: give weights {'9 bits' if sign == 'MIXED' else '8 bits'}")


def _product(rule: PlasticityRule, unit: float) -> tuple[Fraction, Quantity, Quantity]:
    """(scale in units of the weight, presynaptic, postsynaptic factor) of an increment that is one product, rounded."""
    sides: dict[str, Quantity] = {}

    def look(node: Name | Prev) -> Polynomial:
        sides[node.name] = node
        return of_atom(("prev", node.name, depth_of(node)) if isinstance(node, Prev) else ("name", node.name))

    form = NormalForm(look, lambda atom: False, lambda atom: (0.0, 1.0))
    try:
        increment = form.of(rule.increment) * (1 / Fraction(unit))
    except ValueError as reason:
        raise NotStock(f"its rule is not integer arithmetic: {reason}") from None
    inside = [dict(atom[1]) for ((atom,), factor) in increment if atom[0] == "floor" and factor == 1] \
        if len(increment) == 1 and len(increment[0][0]) == 1 else []
    drawn = {name for name, _ in rule.noise}
    products = [(atoms, scale) for found in inside for atoms, scale in found.items()
                if atoms and not any(atom[0] == "floor" for atom in atoms)]
    if len(products) != 1 or drawn & {atom[1] for atom in products[0][0]}:
        raise NotStock(f"its rule is a sum of {len(products)} products" if inside else "its rule is no rounded product")
    (atoms, scale), = products
    _check_rounding(inside[0], atoms, drawn)
    read = {str(atom[1]).partition(".")[0]: sides[atom[1]] for atom in atoms}
    if len(atoms) != 2 or read.keys() != {"pre", "post"}:
        raise NotStock("its product is not of one presynaptic and one postsynaptic factor")
    pre, post = (_own(read[side]) for side in ("pre", "post"))
    return scale, pre, post


def _check_rounding(inside: dict[Any, Fraction], product: Any, drawn: set[str]) -> None:
    """What is added before floor() rounds up where Lava's number is below the fraction."""
    rest = {atoms: scale for atoms, scale in inside.items() if atoms != product}
    units, constant = Fraction(1, 2**LAVA_BITS), rest.pop((), None)
    number = of_atom(("name", next(iter(drawn)))) * 2**LAVA_BITS
    if constant != 1 - units or rest != {(("floor", number),): -units}:
        raise NotStock("its rule does not round as Lava does")


def _own(node: Quantity) -> Quantity:
    name = node.name.partition(".")[2]
    return Prev(name, node.depth) if isinstance(node, Prev) else Name(name)


def _factor(graph: Graph, population: str, leaf: Quantity) -> Grid:
    return _grid(graph, population, leaf.name)


def _products(scale: Fraction, most: float, width: int) -> list[tuple[int, int]]:
    """(mantissa of so many bits, exponent): what the scale is a sum of."""
    bits = scale / Fraction(2)**LEAST
    if bits.denominator != 1:
        raise NotStock(f"its scale {float(scale):g} (in units of weight and factors) has bits below 2^{LEAST}, which "
                       "LearningDense cuts off: give precision.map, so that factors get larger units")
    if most > STEP:
        raise NotStock(f"a step can move a weight by {most:g} units, LearningDense saturates at {STEP:g}")
    left, power, found = bits.numerator, LEAST, []
    while left:
        zeros = (left & -left).bit_length() - 1
        left, power = left >> zeros, power + zeros
        found.append((left & (1 << width) - 1, power))
        left, power = left >> width, power + width
    return found


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

