"""What a Dense and a LearningDense compute in fixed point, and the weights and rule with which a circuit computes
the same; see `stock_forms`.

Sources: lava-nc 0.10.0, proc/dense/models.py (PyLearningDenseModelBitApproximate), magma/core/model/py/connection.py,
magma/core/learning/learning_rule_applier.py and constants.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from cortexc.compiler.ir import Graph, Projection
from cortexc.compiler.ir.expressions import Name, Prev, depth_of
from cortexc.compiler.ir.model import Array, PlasticityRule, rule_parameters
from cortexc.compiler.passes.normal_form import (
    EVERYTHING,
    ZERO,
    Atom,
    NormalForm,
    Polynomial,
    Range,
    atoms,
    number_of,
    of_atom,
    parts,
    polynomial_of,
)
from cortexc.compiler.passes.stock_forms import NotStock

ACCUMULATOR = 32769
"""Greatest magnitude of a synaptic accumulator, as its code has it (2**15 + 1 downward)."""
POST_DECAY = float(np.exp(-1 / np.array([65535.0]))[0])
"""What a three-factor rule leaves of a postsynaptic trace in a step (Loihi3FLearningRule fixes tau)."""


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


@dataclass(frozen=True)
class DenseForm:
    """Arguments of a stock Dense: weights and their exponent, and the bits of its messages (0: spikes)."""

    weights: Array
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


def stock_weights(weights: Array, exponent: int) -> tuple[Array, int, str, float]:
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
    if rule.shapes:
        raise NotStock(f"rule '{rule.name}' delivers something else than the weight")
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
    y = [_rounded(form, of_atom(("name", f"post.{f}")) * POST_DECAY, drawn["lava_post_trace"])
         for f in factors]
    for mantissa, shift in dict.fromkeys(_scales(increment, len(factors))):
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
        if depth := depth_of(node):
            return of_atom(("prev", node.name, depth))
        return polynomial_of(values[node.name]) if node.name in values else of_atom(("name", node.name))

    def whole(atom: Atom) -> bool:
        return atom[0] in ("name", "prev") and (
            atom[1] == "w" or atom[1][:4] in ("pre.", "post") or any(s.name == atom[1] for s in scope.rule.states))

    def ranges(atom: Atom) -> Range:
        known = {"w": (-256.0, 255.0), **{s.name: (0.0, 127.0) for s in scope.rule.states}}
        known |= {name: (0.0, 1.0) for name, _ in scope.rule.noise}
        known[f"pre.{scope.message}"] = (0.0, 1.0) if scope.spikes else (0.0, 510.0)
        return known.get(atom[1], EVERYTHING)

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
    quarter = form.floor((message + 1) * 0.25) - form.floor(message * 0.25)
    return form.floor(message * 0.5) + quarter


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
        decayed = _rounded(form, of_atom(("prev", name, 1)) * left.pop(), drawn)
        total = decayed + message * impulse
        clipped = form.clipped(total, 0, 127)
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
    up = form.compared("<", of_atom(("name", drawn)) - (x - below))
    return below + form.where(up, polynomial_of(1), ZERO)


def _scales(increment: Polynomial, factors: int) -> Iterator[tuple[int, int]]:
    """(mantissa, shift) that may stand in the rule: candidates, to be compared."""
    cut = Fraction(2) ** (7 * factors - 4)
    for atom, outer in dict.fromkeys(atoms(increment)):
        for monomial, coefficient in atom[1] if atom[0] == "floor" else ():
            mantissa = coefficient * cut
            powers = outer.denominator == 1 and outer > 0 and outer.numerator & (outer.numerator - 1) == 0
            if mantissa.denominator == 1 and len(monomial) >= factors and powers:
                yield int(mantissa), outer.numerator.bit_length() - 1
    inside = [increment, *(part for atom, _ in atoms(increment) for part in parts(atom))]
    for coefficient in (c for inner in inside for monomial, c in inner if len(monomial) > factors):
        for shift in range(16):  # a product that is whole before it is cut
            mantissa = coefficient * cut / 2**shift
            if mantissa.denominator == 1 and abs(mantissa) <= 8 * 127:
                yield int(mantissa), shift


def _increment(form: NormalForm, factors: list[Polynomial], mantissa: int, shift: int, drawn: str) -> Polynomial:
    """The change of the weight, with Lava's widths: W_TRACE 7, W_S_MANT 4, W_ACCUMULATOR_U 15."""
    clip = form.clipped
    product, w = polynomial_of(mantissa), of_atom(("name", "w"))
    for factor in factors:
        product *= clip(factor, -128, 127)
    cut = form.floor(product * Fraction(1, 2 ** (7 * len(factors) + 4 - 15)))
    step = clip(cut * 2**shift, -ACCUMULATOR, ACCUMULATOR - 2)
    total = clip(w * 128 + step, -ACCUMULATOR, ACCUMULATOR - 2)
    return clip(_rounded(form, total * Fraction(1, 128), drawn), -256, 255) - w
