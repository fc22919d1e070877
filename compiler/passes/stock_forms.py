"""What stock Lava processes compute in fixed point, and the constants with which a circuit computes the same.

A form is found by its structure: constants are read off the normal form of the circuit's equations, Lava's own
equations are written with them, and both normal forms must be equal. Sources: lava-nc 0.10.0, proc/lif/models.py
(PyLifModelBitAcc), proc/dense/models.py (PyDenseModelBitAcc, PyLearningDenseModelBitApproximate),
magma/core/model/py/connection.py, magma/core/learning/learning_rule_applier.py and constants.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from itertools import permutations

import numpy as np

from cortexc.compiler.ir import Expression, Graph
from cortexc.compiler.passes.normal_form import (
    ZERO,
    Atom,
    NormalForm,
    Polynomial,
    atoms,
    conditions,
    number_of,
    of_atom,
    polynomial_of,
    split,
)
from cortexc.compiler.passes.whole_numbers import all_equations, initial_values, parameter_form, whole_vector

WRAP = 2**23
"""Currents wrap and voltages saturate there: 24 bits."""


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


# ---- LIF


def toward_zero(form: NormalForm, x: Polynomial) -> Polynomial:
    """sign(x) * floor(|x|)"""
    return form.where(form.compared("<", x), -form.floor(-x), form.floor(x))


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
    condition = form.compared("<", threshold - voltage)
    if table[spike] != form.where(condition, polynomial_of(1), ZERO):
        raise NotStock(f"'{spike}' is not 1 where the voltage exceeds the threshold and 0 elsewhere")
    if table[v] != form.where(condition, ZERO, voltage):
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
    decayed = toward_zero(form, of_atom(("prev", u, 1)) * ((4095 - du) / 4096))
    for condition in conditions(polynomial):
        shift, rest = split(condition[1])
        for total in (rest, -rest) if abs(shift) == WRAP else ():
            if polynomial in _wrapped(form, total):
                return total - decayed
    raise NotStock(f"'{u}' does not wrap at 2^23 as a LIF's current does", 2)


def _wrapped(form: NormalForm, total: Polynomial) -> tuple[Polynomial, Polynomial]:
    """The total, wrapped at 2^23 either way, in both orders of the two comparisons."""
    above, below = form.compared("<", WRAP - total), form.compared("<=", total + WRAP)
    high, low = total - 2 * WRAP, total + 2 * WRAP
    return (form.where(above, high, form.where(below, low, total)),
            form.where(below, low, form.where(above, high, total)))


def _ports(graph: Graph, population: str, table: dict[str, Polynomial], arriving: Polynomial) \
        -> tuple[tuple[str, Arrival], ...]:
    """Every port's shift and buffer."""
    ports, found = {p.name for p in graph.cell_of(population).ports}, {}
    for monomial, coefficient in arriving * Fraction(1, 64):
        if len(monomial) != 1 or monomial[0][0] not in ("prev", "name", "floor"):
            raise NotStock("its current takes more than 64 times its input")
        buffer = ""
        terms = Polynomial([((monomial[0],), coefficient)])
        if monomial[0][0] == "prev" and monomial[0][2] == 1:
            buffer = monomial[0][1]
            terms = table[buffer] * coefficient
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
    decayed = toward_zero(form, of_atom(("prev", v, 1)) * ((4096 - dv) / 4096))
    for atom, _ in atoms(new):
        for inner in (atom[1], atom[2]) if atom[0] == "max" else ():
            known = _bias(inner - decayed - u)
            voltage = form.clipped(inner, 1 - WRAP, WRAP - 1)
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
        if rest in (voltage, -voltage):
            return abs(shift)
    raise NotStock(f"'{spike}' does not compare the saturated voltage with a constant threshold")
