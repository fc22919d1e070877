"""The rule of a LearningDense that moves the weights of a quantised rule to the bit.

    increment unit * floor(0.5 * pre.x * post.spike - 0.25 * pre.spike * post.y + 1 - 2^-24 - Lava's number)
    dw = '-1*2^-2*u0*x2*y2 + 4*2^-1*u0*x1*y1' with x1 = pre.x, x2 = 8 * pre.spike, y1 = 8 * post.spike, y2 = post.y

Of the presynaptic side there is one graded trace, x1, and an event, x2: 8 where it is, else 0. A LearningDense cuts 3
bits off a product of a mantissa of 3 bits, x and y; with 2, 4 or 8 times the factor as y (or the event as x2) and a
mantissa that makes up for it, these bits are 0. So a rule whose scales are sums of powers of two from 2^-7 on (in units
of weight and factors) is a sum of exact products. They are added one after the other, each sum cut off at 256 units:
with weights of one sign, what moves them towards 0 comes first, so that only what the limits cut off is. Where a mask
says which synapses there are, the tag t is it.

Sources: lava-nc 0.10.0, magma/core/learning/learning_rule_applier.py, magma/core/model/py/connection.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np

from cortexc.compiler.ir import Graph, PlasticityRule, Projection
from cortexc.compiler.ir.arrays import connection_mask
from cortexc.compiler.ir.expressions import Name, Prev, depth_of
from cortexc.compiler.passes.fixed_point import rounding_of
from cortexc.compiler.passes.normal_form import Atom, NormalForm, Polynomial, of_atom
from cortexc.compiler.passes.quantised_rules import LAVA_BITS
from cortexc.compiler.passes.ranges import value_ranges
from cortexc.compiler.passes.stock_forms import NotStock

OFFSET, TRACE, THIRD = 64, 127, 127
"""Of x1 where its quantity has a sign, which a trace has not; greatest trace; greatest third factor."""
TAG = 128
"""Of synapses that a mask lets learn, in a rule that is multiplied with it; it brings 9 bits, so 2 more are cut off."""
CUT, CUT_WITH_TAG = 3, 5
"""Bits that a product loses."""
LEAST = -7
"""Exponent of the least scale of a product that loses nothing."""
STEP = 32767 / 128
"""So many units a product may move a weight: more saturates."""
HEADROOM = 256
"""Units that a sum reaches on the side where weights of one sign are not."""
LIMITS = {"MIXED": (-256, 255), "EXCITATORY": (0, 255), "INHIBITORY": (-255, 0)}
"""Of a LearningDense's weights, by sign mode."""
Quantity = Name | Prev
"""Of a cell, in the cell's own name."""


@dataclass(frozen=True)
class Grid:
    """A quantity's values: whole multiples of a unit, so many of them at least and at most."""

    unit: float
    low: float
    high: float


@dataclass(frozen=True)
class Third:
    """A postsynaptic factor, sent in units of `unit`, `times` of which are its own."""

    quantity: Quantity
    unit: float
    times: int


@dataclass(frozen=True)
class StockRule:
    """`dw` of a Loihi3FLearningRule. x1 is `pre` in units of `pre_unit`, plus `offset`; x2 is `impulse` where `event`
    is; `thirds` are y1, y2, y3."""

    dw: str
    pre: Quantity
    pre_unit: float
    offset: int
    thirds: tuple[Third, ...]
    event: Quantity | None = None
    impulse: int = 0

    @property
    def text(self) -> str:
        parts = [f"x1 = {_shown('pre', self.pre)}"]
        parts += [f"x2 = {self.impulse} * {_shown('pre', self.event)}"] if self.event else []
        parts += [f"y{i} = {each.times} * {_shown('post', each.quantity)}" for i, each in enumerate(self.thirds, 1)]
        return f"dw = '{self.dw}' with {', '.join(parts)}"


def _shown(side: str, quantity: Quantity) -> str:
    return f"{side}.{quantity.name}" if isinstance(quantity, Name) else f"prev({side}.{quantity.name})"


@dataclass(frozen=True)
class Product:
    """`scale` (weight units) times a presynaptic and a postsynaptic factor, each in its own units."""

    scale: Fraction
    pre: Quantity
    post: Quantity
    x: Grid
    y: Grid

    @property
    def ends(self) -> tuple[float, float]:
        """The least and the greatest of it, in units of the weight."""
        corners = [float(self.scale) * x * y for x in (self.x.low, self.x.high) for y in (self.y.low, self.y.high)]
        return min(corners), max(corners)


def grid_of(graph: Graph, population: str, name: str) -> Grid:
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
    elif ranges.is_binary(name):
        unit = 1.0
    else:
        raise NotStock(f"'{name}' of '{population}' has no fixed-point format")
    if not np.isfinite([low, high]).all():
        raise NotStock(f"'{name}' of '{population}' has no bounds")
    return Grid(unit, low / unit, high / unit)


def stock_rule(graph: Graph, q: Projection, rule: PlasticityRule, sign: str) -> StockRule:
    """Raises NotStock."""
    for reason in _not_a_rule(graph, q, rule, sign):
        raise NotStock(reason)
    products = _ordered(_products(graph, q, rule), sign)
    graded, event = _presynaptic(graph, q, products)
    products = [replace(p, scale=p.scale / Fraction(p.x.unit), x=Grid(1.0, 0.0, 1.0)) if p.pre == event else p
                for p in products]
    masked = connection_mask(graph, q) is not None
    cut, posts = CUT_WITH_TAG if masked else CUT, {p.post: p.y for p in products}
    if len(posts) > 3:
        raise NotStock(f"its rule reads {len(posts)} postsynaptic factors, a LearningDense 3")
    doublings = {post: _doublings(post.name, y, cut) for post, y in posts.items()}
    impulse = min((cut - doublings[p.post] for p in products if p.pre == event), default=0)
    x = next(p.x for p in products if p.pre == graded)
    offset, names = _offset(graded.name, x), {post: f"y{i}" for i, post in enumerate(posts, 1)}
    terms = []
    for p in products:
        gain = doublings[p.post] + (impulse if p.pre == event else 0)
        trace = "x2" if p.pre == event else f"(x1-{offset})" if offset else "x1"
        terms += [f"{mantissa}*2^{power}*u0*{trace}*{names[p.post]}{'*t' * masked}"
                  for mantissa, power in _scales(p, cut, gain)]
    thirds = tuple(Third(post, y.unit / 2**doublings[post], 2**doublings[post]) for post, y in posts.items())
    return StockRule(" + ".join(terms).replace("+ -", "- "), graded, x.unit, offset, thirds, event,
                     2**impulse if event else 0)


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


def _ordered(products: list[Product], sign: str) -> list[Product]:
    """So that no sum on the way is cut off where the whole one is not."""
    first = [p for p in products if sign == "EXCITATORY" and p.ends[1] <= 0 or sign == "INHIBITORY" and p.ends[0] >= 0]
    rest = [p for p in products if p not in first]
    if sum(max(map(abs, p.ends)) for p in first) > HEADROOM:
        raise NotStock(f"what makes its weights smaller moves them by more than {HEADROOM} units in a step")
    if len(rest) > 1 and any(p.ends[0] < 0 for p in rest) and any(p.ends[1] > 0 for p in rest):
        raise NotStock(f"its rule is a sum of {len(products)} products of either sign, and LearningDense cuts off each "
                       "sum on the way")
    return first + rest


def _presynaptic(graph: Graph, q: Projection, products: Sequence[Product]) -> tuple[Quantity, Quantity | None]:
    """(what is x1, what is x2)."""
    found = list(dict.fromkeys(p.pre for p in products))
    if len(found) == 1:
        return found[0], None
    events = [each for each in found if value_ranges(graph, q.pre).is_binary(each.name)]
    if len(found) > 2 or not events:
        raise NotStock(f"its rule reads {len(found)} presynaptic factors, of which a LearningDense has one that is "
                       "graded and one that is 0 or 1")
    return next(each for each in found if each != events[0]), events[0]


def _offset(name: str, x: Grid) -> int:
    offset = 0 if x.low >= 0 else OFFSET
    if x.low + offset < (1 if offset else 0) or x.high + offset > TRACE:
        raise NotStock(f"'{name}' is {x.low:g} to {x.high:g} units; a trace holds 0 to {TRACE}, or with an offset "
                       f"{1 - OFFSET} to {TRACE - OFFSET}: give messages and factors 7 bits")
    return offset


def _doublings(name: str, y: Grid, cut: int) -> int:
    """How often it may be doubled as a third factor, and need be."""
    found = [j for j in range(cut + 1) if max(-y.low, y.high) * 2**j <= THIRD]
    if not found:
        raise NotStock(f"'{name}' is {y.low:g} to {y.high:g} units; a third factor is {-THIRD} to {THIRD}: give "
                       "factors 7 bits")
    return max(found)


def _products(graph: Graph, q: Projection, rule: PlasticityRule) -> list[Product]:
    """Of an increment that is a sum of products, rounded."""
    leaves: dict[Atom, Quantity] = {}

    def look(node: Name | Prev) -> Polynomial:
        atom = ("prev", node.name, depth_of(node)) if isinstance(node, Prev) else ("name", node.name)
        leaves[atom] = node
        return of_atom(atom)

    form = NormalForm(look, lambda atom: False, lambda atom: (0.0, 1.0))
    try:
        increment = form.of(rule.increment) * (1 / Fraction(graph.class_of(q.name).unit))
    except ValueError as reason:
        raise NotStock(f"its rule is not integer arithmetic: {reason}") from None
    inside = [dict(atom[1]) for ((atom,), factor) in increment if atom[0] == "floor" and factor == 1] \
        if len(increment) == 1 and len(increment[0][0]) == 1 else []
    if not inside:
        raise NotStock("its rule is no rounded sum of products")
    drawn = {name for name, _ in rule.noise}
    found = {atoms: scale for atoms, scale in inside[0].items()
             if atoms and not any(atom[0] == "floor" or atom[1] in drawn for atom in atoms)}
    _check_rounding({atoms: scale for atoms, scale in inside[0].items() if atoms not in found}, drawn)
    if not found:
        raise NotStock("its rule is no rounded sum of products")
    return [_product(graph, q, [leaves[atom] for atom in atoms], scale) for atoms, scale in found.items()]


def _check_rounding(rest: dict[Any, Fraction], drawn: set[str]) -> None:
    """What is added before floor() rounds up where Lava's number is below the fraction."""
    units, constant = Fraction(1, 2**LAVA_BITS), rest.pop((), None)
    number = of_atom(("name", next(iter(drawn)))) * 2**LAVA_BITS
    if constant != 1 - units or rest != {(("floor", number),): -units}:
        raise NotStock("its rule does not round as Lava does")


def _product(graph: Graph, q: Projection, factors: list[Quantity], scale: Fraction) -> Product:
    read = {each.name.partition(".")[0]: each for each in factors}
    if len(factors) != 2 or read.keys() != {"pre", "post"}:
        raise NotStock(f"its rule has the product {' * '.join(each.name for each in factors)}, which is not one of a "
                       "presynaptic and a postsynaptic factor")
    pre, post = (_own(read[side]) for side in ("pre", "post"))
    x, y = grid_of(graph, q.pre, pre.name), grid_of(graph, q.post, post.name)
    return Product(scale * Fraction(x.unit) * Fraction(y.unit), pre, post, x, y)


def _own(node: Quantity) -> Quantity:
    name = node.name.partition(".")[2]
    return Prev(name, node.depth) if isinstance(node, Prev) else Name(name)


def _scales(product: Product, cut: int, gain: int) -> list[tuple[int, int]]:
    """(mantissa, exponent) of terms whose factors are 2^gain times as large as they are, and that lose `cut` bits."""
    width = 3 - cut + gain
    if width < 1:
        raise NotStock(f"'{product.post.name}' is {product.y.low:g} to {product.y.high:g} units; {2**(cut - 2)} times "
                       f"that does not fit a third factor of {-THIRD} to {THIRD}: give factors {10 - cut} bits")
    bits = abs(product.scale) / Fraction(2)**LEAST
    if bits.denominator != 1:
        raise NotStock(f"its scale {float(product.scale):g} (in units of weight and factors) has bits below 2^{LEAST}, "
                       "which LearningDense cuts off: give precision.map, so that factors get larger units")
    if (most := max(map(abs, product.ends))) > STEP:
        raise NotStock(f"a step can move a weight by {most:g} units, LearningDense saturates at {STEP:g}")
    left, power, sign, found = bits.numerator, LEAST, -1 if product.scale < 0 else 1, []
    while left:
        zeros = (left & -left).bit_length() - 1
        left, power = left >> zeros, power + zeros
        found.append((sign * ((left & (1 << width) - 1) << cut - gain), power))
        left, power = left >> width, power + width
    return found
