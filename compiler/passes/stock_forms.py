"""What stock Lava processes compute in fixed point, and the constants with which a circuit computes the same.

A form is found by its structure: constants are read off the normal form of the circuit's equations, Lava's own
equations are written with them, and both normal forms must be equal. Sources: lava-nc 0.10.0, proc/lif/models.py
(PyLifModelBitAcc), proc/dense/models.py (PyDenseModelBitAcc, PyLearningDenseModelBitApproximate),
magma/core/model/py/connection.py, magma/core/learning/learning_rule_applier.py and constants.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import permutations

import numpy as np

from compiler.ir import Graph, Projection
from compiler.ir.expressions import Expression, Name, Prev
from compiler.ir.model import PlasticityRule, rule_parameters
from compiler.passes.normal_form import (
    Atom,
    NormalForm,
    Polynomial,
    add,
    atoms,
    conditions,
    constant,
    multiply,
    number_of,
    of_atom,
    parts,
    scaled,
    split,
)
from compiler.passes.whole_numbers import all_equations, initial_values, parameter_form, whole_vector

WRAP = 2**23
"""Currents wrap and voltages saturate there: 24 bits."""
ACCUMULATOR = 32769
"""Greatest magnitude of a synaptic accumulator, as its code has it (2**15 + 1 downward)."""
POST_DECAY = float(np.exp(-1 / np.array([65535.0]))[0])
"""What a three-factor rule leaves of a postsynaptic trace in a step (Loihi3FLearningRule fixes tau)."""


class NotStock(Exception):
    """Why something is not what a stock process computes. `stage`: how much of it had been recognised."""

    def __init__(self, reason: str, stage: int = 9):
        super().__init__(reason)
        self.stage = stage


@dataclass(frozen=True)
class Arrival:
    """How a LIF takes a port in: `exponent` of the shift, and whether the sum waits one step in a state."""

    exponent: int
    buffer: str = ""


@dataclass(frozen=True)
class LifForm:
    """Arguments of stock LIF: decays in 1/4096 per step, threshold in units of 64. `bias`: a number or a parameter's
    name; `u`, `v`, `spike` are the cell's names for them."""

    du: int
    dv: int
    vth: int
    bias: int | str
    bias_exp: int
    u: str
    v: str
    spike: str
    ports: tuple[tuple[str, Arrival], ...]

    @property
    def text(self) -> str:
        shifted = f", bias_exp={self.bias_exp}" if self.bias_exp else ""
        return f"du={self.du}, dv={self.dv}, vth={self.vth}, bias_mant={self.bias}{shifted}"


@dataclass(frozen=True)
class RuleForm:
    """Arguments of Loihi3FLearningRule. `factors`: the postsynaptic quantities that arrive as y1 and y2."""

    dw: str
    x1_impulse: int
    x1_tau: float
    graded: bool
    factors: tuple[str, ...]

    @property
    def text(self) -> str:
        traces = f"x1_impulse={self.x1_impulse}, x1_tau={self.x1_tau:g}" + (", OVERWRITE" if self.graded else "")
        names = ", ".join(f"y{i}={name}" for i, name in enumerate(self.factors, 1))
        return f"dw = '{self.dw}' with {traces}, {names}"


# ---- LIF


def toward_zero(form: NormalForm, x: Polynomial) -> Polynomial:
    """sign(x) * floor(|x|)"""
    return form.where(form.compared("<", x), scaled(form.floor(scaled(x, -1)), -1), form.floor(x))


def lif_form(graph: Graph, population: str, whole: frozenset[str]) -> LifForm:
    """Raises NotStock with the reason."""
    cell = graph.cell_of(population)
    ports = {port.name for port in cell.ports}
    form = parameter_form(graph, population, lambda atom: atom[1] in ports or whole_vector(graph, population, atom)
                          or atom[0] == "prev" and f"{population}.{atom[1]}" in whole, all_equations(graph, population))
    table = {e.name: _of(form, e.name, e.expression) for e in cell.equations}
    sent = {graph.class_of(q.name).message for q in graph.projections if q.pre == population}
    spikes = sorted(sent) or [n for n in cell.messages if n in table]
    if len(spikes) != 1:
        raise NotStock(f"it sends {', '.join(spikes) or 'nothing'}, a LIF one spike")
    reasons: list[NotStock] = []
    for u, v in permutations([s.name for s in cell.states if s.name != spikes[0]], 2):
        try:
            return _with_states(graph, population, form, table, u, v, spikes[0])
        except NotStock as reason:
            reasons.append(reason)
    if not reasons:
        raise NotStock("it keeps no two states besides its spike, a LIF a current and a voltage")
    raise max(reasons, key=lambda reason: reason.stage)


def _of(form: NormalForm, name: str, expression: Expression) -> Polynomial:
    try:
        return form.of(expression)
    except ValueError as reason:
        raise NotStock(f"'{name}' is not integer arithmetic: {reason}") from None


def _with_states(graph: Graph, population: str, form: NormalForm, table: dict[str, Polynomial], u: str, v: str,
                 spike: str) -> LifForm:
    du = 4095 - _decay(table[u], u, "current")
    dv = 4096 - _decay(table[v], v, "voltage")
    for word, value in (("du", du), ("dv", dv)):
        if value != int(value) or not 0 <= value <= 4095:
            read = [{a[1] for a, _ in atoms(table[name]) if a[0] == "prev"} for name in (u, v)]
            stage = 5 if u in read[0] and v not in read[0] and {u, v} <= read[1] else 1
            raise NotStock(f"its {word} would be {float(value):g}, LIF takes integers of 12 bits", stage)
    arriving = _arriving(form, table[u], u, du)
    ports = _ports(graph, population, table, arriving)
    voltage, bias = _voltage(form, table[u], table[v], v, dv)
    threshold = _threshold(table[spike], voltage, spike)
    condition = form.compared("<", add(constant(threshold), voltage, -1))
    if table[spike] != form.where(condition, constant(1), ()):
        raise NotStock(f"'{spike}' is not 1 where the voltage exceeds the threshold and 0 elsewhere")
    if table[v] != form.where(condition, (), voltage):
        raise NotStock(f"'{v}' is not the voltage, or 0 after a spike")
    for name in (u, v):
        first = initial_values(graph, population, name)
        if not (first == np.floor(first)).all() or np.abs(first).max(initial=0) > WRAP:
            raise NotStock(f"the first value of '{name}' is not an integer of 24 bits")
    if threshold % 64 or not 0 <= threshold / 64 < 2**17:
        raise NotStock(f"its threshold {float(threshold):g} is not 64 times an integer of 17 bits")
    mantissa, exponent = _mantissa(graph, population, bias)
    return LifForm(int(du), int(dv), int(threshold / 64), mantissa, exponent, u, v, spike, ports)


def _mantissa(graph: Graph, population: str, bias: int | str) -> tuple[int | str, int]:
    """The bias as 13 bits and an exponent of 3."""
    values = graph.arrays[f"{population}.{bias}"] if isinstance(bias, str) else np.array([float(bias)])
    for exponent in range(8 if isinstance(bias, int) else 1):
        mantissas = values / 2**exponent
        if (mantissas == np.floor(mantissas)).all() and mantissas.min() >= -4096 and mantissas.max() <= 4095:
            return (int(mantissas[0]) if isinstance(bias, int) else bias), exponent
    raise NotStock("its bias is not 13 bits times a power of 2 up to 128")


def _decay(polynomial: Polynomial, state: str, what: str) -> Fraction:
    """How many of 4096 are left of a state after a step."""
    left = {abs(c) for atom, c in atoms(polynomial) if atom == ("prev", state, 1)}
    if len(left) > 1 or not left and any(a[0] == "prev" for a, _ in atoms(polynomial)) and what == "voltage":
        raise NotStock(f"'{state}' is not a {what} that decays by one factor", 0)
    return 4096 * left.pop() if left else Fraction(0)


def _arriving(form: NormalForm, polynomial: Polynomial, u: str, du: Fraction) -> Polynomial:
    """What is added to the decayed current, from the comparison with the wrap; raises NotStock."""
    decayed = toward_zero(form, scaled(of_atom(("prev", u, 1)), (4095 - du) / 4096))
    for condition in conditions(polynomial):
        shift, rest = split(condition[1])
        for total in (rest, scaled(rest, -1)) if abs(shift) == WRAP else ():
            if polynomial in _wrapped(form, total):
                return add(total, decayed, -1)
    raise NotStock(f"'{u}' does not wrap at 2^23 as a LIF's current does", 2)


def _wrapped(form: NormalForm, total: Polynomial) -> tuple[Polynomial, Polynomial]:
    """The total, wrapped at 2^23 either way, in both orders of the two comparisons."""
    above, below = form.compared("<", add(constant(WRAP), total, -1)), form.compared("<=", add(total, constant(WRAP)))
    high, low = add(total, constant(2 * WRAP), -1), add(total, constant(2 * WRAP))
    return (form.where(above, high, form.where(below, low, total)),
            form.where(below, low, form.where(above, high, total)))


def _ports(graph: Graph, population: str, table: dict[str, Polynomial], arriving: Polynomial) \
        -> tuple[tuple[str, Arrival], ...]:
    """Every port's shift and buffer."""
    ports, found = {p.name for p in graph.cell_of(population).ports}, {}
    for monomial, coefficient in scaled(arriving, Fraction(1, 64)):
        if len(monomial) != 1 or monomial[0][0] not in ("prev", "name", "floor"):
            raise NotStock("its current takes more than 64 times its input")
        buffer = ""
        terms: Polynomial = (((monomial[0],), coefficient),)
        if monomial[0][0] == "prev" and monomial[0][2] == 1:
            buffer = monomial[0][1]
            terms = scaled(table[buffer], coefficient)
            if np.any(initial_values(graph, population, buffer) != 0):
                raise NotStock(f"'{buffer}' does not start from 0, a Dense's buffer does")
        for inner, factor in terms:
            port, exponent = _shifted(inner, factor)
            if port not in ports or port in found:
                raise NotStock(f"its current takes '{port}', which is not its input")
            found[port] = Arrival(exponent, buffer)
    return tuple(sorted(found.items()))


def _shifted(monomial: tuple[Atom, ...], factor: Fraction) -> tuple[str, int]:
    """(port, exponent) of floor(port * 2^exponent)."""
    match monomial:
        case (("name", str(port)),) if factor >= 1:
            exponent = _power(factor)
        case (("floor", ((((("name", str(port)),)), inner),)),) if factor == 1:
            exponent = _power(inner)
        case _:
            raise NotStock("its current takes something else than its input, shifted by a power of 2")
    return port, exponent


def _power(value: Fraction) -> int:
    exponent = value.numerator.bit_length() - value.denominator.bit_length()
    if value != Fraction(2) ** exponent:
        raise NotStock(f"its input is multiplied by {float(value):g}, not by a power of 2")
    return exponent


def _voltage(form: NormalForm, u: Polynomial, new: Polynomial, v: str, dv: Fraction) -> tuple[Polynomial, int | str]:
    """The voltage before the threshold, and the bias."""
    decayed = toward_zero(form, scaled(of_atom(("prev", v, 1)), (4096 - dv) / 4096))
    for atom, _ in atoms(new):
        for inner in (atom[1], atom[2]) if atom[0] == "max" else ():
            bias = add(add(inner, decayed, -1), u, -1)
            known = _bias(bias)
            total = add(add(decayed, u), bias)
            voltage = form.least(form.greatest(total, constant(1 - WRAP)), constant(WRAP - 1))
            if known is not None and voltage in (of_atom(found) for found, _ in atoms(new)):
                return voltage, known
    raise NotStock(f"'{v}' is not its decayed self plus current and bias, saturated at 2^23 - 1", 3)


def _bias(polynomial: Polynomial) -> int | str | None:
    match polynomial:
        case (((("vector", str(name)),), coefficient),) if coefficient == 1:
            return name
    value = number_of(polynomial)
    return None if value is None or value.denominator != 1 else int(value)


def _threshold(polynomial: Polynomial, voltage: Polynomial, spike: str) -> Fraction:
    for condition in conditions(polynomial):
        shift, rest = split(condition[1])
        if rest in (voltage, scaled(voltage, -1)):
            return abs(shift)
    raise NotStock(f"'{spike}' does not compare the saturated voltage with a constant threshold")


# ---- weights


@dataclass(frozen=True)
class DenseForm:
    """Arguments of a stock Dense: weights and their exponent, and the bits of its messages (0: spikes)."""

    weights: np.ndarray
    exponent: int
    sign: str
    scale: float
    """Dense's weights are the circuit's times this."""
    message_bits: int
    rule: RuleForm | None = None

    @property
    def text(self) -> str:
        learns = f", learning rule {self.rule.text}" if self.rule else ""
        return (f"weight_exp={self.exponent}, sign_mode={self.sign}, "
                f"{'graded messages' if self.message_bits else 'spikes'}{learns}")


def stock_weights(weights: np.ndarray, exponent: int) -> tuple[np.ndarray, int, str, float]:
    """The same weights as 8 bits and an exponent, so that Dense truncates nothing. Raises NotStock."""
    values, common = np.asarray(weights, np.float64), 0
    while values.any() and (values / 2 == np.floor(values / 2)).all():
        values, common = values / 2, common + 1
    while not (values == np.floor(values)).all() and common > -30:
        values, common = values * 2, common - 1
    sign = "EXCITATORY" if values.min(initial=0) >= 0 else "INHIBITORY" if values.max(initial=0) <= 0 else "MIXED"
    low, high = {"EXCITATORY": (0, 255), "INHIBITORY": (-255, 0), "MIXED": (-128, 127)}[sign]
    if not (values == np.floor(values)).all() or values.min(initial=0) < low or values.max(initial=0) > high:
        raise NotStock(f"its weights are not integers of {low} to {high} times a power of 2")
    if sign == "MIXED":
        values, common = values * 2, common - 1
    return values.astype(np.int64), exponent + common, sign, 2.0**-common


# ---- rules


@dataclass(frozen=True)
class RuleScope:
    """A rule as one projection uses it: the message, whether it is a spike, and its bounds."""

    graph: Graph
    projection: Projection
    rule: PlasticityRule
    message: str
    spikes: bool


def rule_form(scope: RuleScope) -> RuleForm:
    """Raises NotStock with the reason."""
    try:
        return _rule_form(scope)
    except ValueError as reason:
        raise NotStock(f"rule '{scope.rule.name}' is not integer arithmetic: {reason}") from None


def _rule_form(scope: RuleScope) -> RuleForm:
    rule = scope.rule
    drawn = {kind: name for name, kind in rule.noise}
    if "lava_weights" not in drawn or "lava_post_trace" not in drawn:
        raise NotStock(f"rule '{rule.name}' does not round with LearningDense's own random numbers (noise lava_weights "
                       "and lava_post_trace)")
    form = _rule_normal_form(scope)
    increment = form.of(rule.increment)
    factors = tuple(sorted({a[1].removeprefix("post.") for a, _ in atoms(increment) if str(a[1])[:5] == "post."}))
    if len(factors) not in (1, 2):
        raise NotStock(f"rule '{rule.name}' reads {len(factors)} postsynaptic quantities, 1 or 2 are supported")
    impulse, tau, presynaptic = _presynaptic(scope, form, drawn.get("lava_pre_trace", ""))
    y = [_rounded(form, scaled(of_atom(("name", f"post.{f}")), Fraction(POST_DECAY)), drawn["lava_post_trace"])
         for f in factors]
    for mantissa, shift in _scales(increment, len(factors)):
        if increment == _increment(form, [presynaptic, *y], mantissa, shift, drawn["lava_weights"]):
            found = _named(mantissa, shift, impulse, tau == 0)
            if found:
                ys = "*".join(f"y{i}" for i in range(1, len(factors) + 1))
                dw = f"{found[0]}*2^{shift - 7}*{'u0' if rule.states else 'x0'}*x1*{ys}"
                return RuleForm(dw, found[1], tau, not scope.spikes, factors)
    raise NotStock(f"rule '{rule.name}' is not a product x1 * y1 in LearningDense's arithmetic (7-bit factors, product "
                   "cut to 15 bits, accumulator 128 * w, one draw for all weights)")


def _named(mantissa: int, shift: int, impulse: int, free: bool) -> tuple[int, int] | None:
    """(mantissa of 4 bits, impulse of 7 bits); where the impulse is `free`, it takes powers of 2 off the mantissa."""
    while free and not -8 <= mantissa <= 7 and mantissa % 2 == 0:
        mantissa, impulse = mantissa // 2, impulse * 2
    return (mantissa, impulse) if -8 <= mantissa <= 7 and impulse <= 127 and shift <= 15 else None


def _rule_normal_form(scope: RuleScope) -> NormalForm:
    values = rule_parameters(scope.graph, scope.projection)

    def look(node: Name | Prev) -> Polynomial:
        if isinstance(node, Prev):
            return of_atom(("prev", node.name, node.depth))
        return constant(values[node.name]) if node.name in values else of_atom(("name", node.name))

    def whole(atom: Atom) -> bool:
        return atom[0] in ("name", "prev") and (
            atom[1] == "w" or atom[1][:4] in ("pre.", "post") or any(s.name == atom[1] for s in scope.rule.states))

    def ranges(atom: Atom) -> tuple[float, float]:
        known = {"w": (-256.0, 255.0), **{s.name: (0.0, 127.0) for s in scope.rule.states}}
        known |= {name: (0.0, 1.0) for name, _ in scope.rule.noise}
        known[f"pre.{scope.message}"] = (0.0, 1.0) if scope.spikes else (0.0, 510.0)
        return known.get(atom[1], (-float("inf"), float("inf")))

    return NormalForm(look, whole, ranges)


def _presynaptic(scope: RuleScope, form: NormalForm, drawn: str) -> tuple[int, float, Polynomial]:
    """(impulse, tau, x1)."""
    message, rule = of_atom(("name", f"pre.{scope.message}")), scope.rule
    if rule.states:
        return _trace(scope, form, drawn, message)
    if scope.spikes:
        return 1, 0.0, message
    return 0, 1e18, _half(form, message)


def _half(form: NormalForm, message: Polynomial) -> Polynomial:
    """Half of the message, to even where it lies between."""
    quarter = add(form.floor(scaled(add(message, constant(1)), Fraction(1, 4))),
                  form.floor(scaled(message, Fraction(1, 4))), -1)
    return add(form.floor(scaled(message, Fraction(1, 2))), quarter)


def _trace(scope: RuleScope, form: NormalForm, drawn: str, message: Polynomial) -> tuple[int, float, Polynomial]:
    rule = scope.rule
    if len(rule.states) > 1 or not drawn or not scope.spikes:
        raise NotStock(f"rule '{rule.name}' keeps {len(rule.states)} quantities per synapse; a trace x1 of spikes, "
                       "rounded with noise lava_pre_trace, is supported")
    name = rule.states[0].name
    new = form.of(rule.updates[0].expression)
    left = {abs(c) for a, c in atoms(new) if a == ("prev", name, 1)}
    jumps = {c for a, c in atoms(new) if a == ("name", f"pre.{scope.message}")}
    if len(left) == 1 and len(jumps) == 1:
        tau, impulse = _tau(float(left.copy().pop())), jumps.pop()
        decayed = _rounded(form, scaled(of_atom(("prev", name, 1)), left.pop()), drawn)
        total = add(decayed, message, impulse)
        clipped = form.least(form.greatest(total, ()), constant(127))
        start = number_of(form.of(rule.states[0].initial))
        if new == clipped and tau and impulse.denominator == 1 and 0 <= impulse <= 127 and start == 0:
            return int(impulse), tau, of_atom(("name", name))
    raise NotStock(f"state '{name}' of rule '{rule.name}' is not a trace x1 that decays, rounded with noise "
                   f"lava_pre_trace, grows by an integer at a spike and stays within 0 to 127")


def _tau(left: float) -> float | None:
    """The time constant, if Lava's exp(-1 / tau) is that very number."""
    tau = -1 / np.log(left) if 0 < left < 1 else np.nan
    for candidate in (float(np.round(tau)), float(np.round(tau, 3)), float(tau)) if np.isfinite(tau) else ():
        if candidate and float(np.exp(-1 / np.array([candidate]))[0]) == left:
            return candidate
    return None


def _rounded(form: NormalForm, x: Polynomial, drawn: str) -> Polynomial:
    """x rounded up where the drawn number is below its fraction."""
    below = form.floor(x)
    up = form.compared("<", add(of_atom(("name", drawn)), add(x, below, -1), -1))
    return add(below, form.where(up, constant(1), ()))


def _scales(increment: Polynomial, factors: int) -> Iterator[tuple[int, int]]:
    """(mantissa, shift) that may stand in the rule: candidates, to be compared."""
    return iter(dict.fromkeys(_found_scales(increment, factors)))


def _found_scales(increment: Polynomial, factors: int) -> Iterator[tuple[int, int]]:
    cut = Fraction(2) ** (7 * factors - 4)
    for atom, outer in dict.fromkeys(atoms(increment)):
        for monomial, coefficient in atom[1] if atom[0] == "floor" else ():
            mantissa = coefficient * cut
            powers = outer.denominator == 1 and outer > 0 and outer.numerator & (outer.numerator - 1) == 0
            if mantissa.denominator == 1 and len(monomial) >= factors and powers:
                yield int(mantissa), outer.numerator.bit_length() - 1
    for coefficient in (c for inner in _insides(increment) for monomial, c in inner if len(monomial) > factors):
        for shift in range(16):  # a product that is whole before it is cut
            mantissa = coefficient * cut / 2**shift
            if mantissa.denominator == 1 and abs(mantissa) <= 8 * 127:
                yield int(mantissa), shift


def _insides(polynomial: Polynomial) -> Iterator[Polynomial]:
    """It and every polynomial in it."""
    yield polynomial
    for atom, _ in atoms(polynomial):
        yield from parts(atom)


def _increment(form: NormalForm, factors: list[Polynomial], mantissa: int, shift: int, drawn: str) -> Polynomial:
    """The change of the weight, with Lava's widths: W_TRACE 7, W_S_MANT 4, W_ACCUMULATOR_U 15."""
    clip: Callable[[Polynomial, int, int], Polynomial] = lambda x, low, high: form.least(  # noqa: E731
        form.greatest(x, constant(low)), constant(high))
    product, w = constant(mantissa), of_atom(("name", "w"))
    for factor in factors:
        product = multiply(product, clip(factor, -128, 127))
    cut = form.floor(scaled(product, Fraction(1, 2 ** (7 * len(factors) + 4 - 15))))
    step = clip(scaled(cut, 2**shift), -ACCUMULATOR, ACCUMULATOR - 2)
    total = clip(add(scaled(w, 128), step), -ACCUMULATOR, ACCUMULATOR - 2)
    return add(clip(_rounded(form, scaled(total, Fraction(1, 128)), drawn), -256, 255), w, -1)
