"""What a hand-written quantised circuit needs: registers, constants that are checked, plastic synapses.

Written from docs/fixed_point.md; "item" refers to its section "What the integers mean". Numbers are those of
`cortexc.reference.integers`; tensors have a leading axis of S seeds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from cortexc.reference.integers import (
    BITS_OF_UNIFORM,
    HALF,
    LAVA,
    NOTHING,
    ONE,
    SLACK,
    DishonestRegister,
    Exact,
    Register,
    Table,
    choose,
    uniform,
)

LEAST_EXPONENT = -7
"""Of a scale on a chip (item 9)."""


class Coefficient(NamedTuple):
    """units * 2**-fraction."""

    units: int
    fraction: int

    @property
    def value(self) -> float:
        return math.ldexp(self.units, -self.fraction)

    @property
    def exact(self) -> Exact:
        return Exact(torch.tensor(self.units), self.fraction)


def check_coefficient(name: str, found: Coefficient, true: float, significant: int) -> None:
    """DishonestRegister unless it is the number with so many significant bits that is nearest to the true one: bits of
    the number or of its distance from 1, whichever takes more (item 3)."""
    gaps = [gap for gap in (abs(true), abs(1 - abs(true))) if gap > 1e-15]
    unit = 2.0 ** -(significant - 1 - math.floor(math.log2(min(gaps))))
    if abs(found.value - true) > unit * (0.5 + SLACK) or math.fmod(found.value, unit) != 0:
        raise DishonestRegister(f"{name} is {found.value!r}, not {true!r} to {significant} significant bits")


def nearest_mantissa(value: float, bits: int = 3) -> float:
    """m * 2**e with m of so many bits: the scale of a chip's learning rule (item 9)."""
    mantissa, exponent = math.frexp(value)
    return math.ldexp(math.floor(mantissa * 2**bits + 0.5), exponent - bits)


# ---- plastic synapses


@dataclass(frozen=True)
class Limits:
    """Weights are integers between `low` and `high`, units of 2**-fraction (item 7)."""

    fraction: int
    low: int
    high: int


class Synapses:
    """Weights (S, post, pre) of one projection, and the tags of its rule.

    data: `fraction`, `low`, `high`, `units`; `mask` (post, pre) or none; and of a rule `place` (the projection's place
    in the graph), `draws` (uniform, shared, lava, nearest), `kind` (none, low_pass, accumulate, credited; items 7 to
    9) and `tag` (fraction and limit, or none).
    """

    def __init__(self, data: Mapping[str, Any], seeds: Sequence[int]) -> None:
        self.limits = Limits(data["fraction"], data["low"], data["high"])
        self.fraction, self.units = self.limits.fraction, data["units"]
        self.mask: Tensor | None = data.get("mask")
        self.plastic, self.kind = "place" in data, data.get("kind", "none")
        self.seeds, self.place, self.draws = seeds, data.get("place", 0), data.get("draws", "nearest")
        self.register = Register(**data["tag"]) if data.get("tag") else None
        shape = self.units.shape[1:]
        self.index = torch.arange(math.prod(shape)).view(shape)
        self.tag = Exact(torch.zeros_like(self.units), self.register.fraction) if self.register else None

    @property
    def weights(self) -> Exact:
        return Exact(self.units, self.fraction)

    def copy(self, weights: Exact) -> None:
        """Weight transport: the values of others, in their unit."""
        self.units, self.fraction = weights.units, weights.fraction

    def deliver(self, message: Exact) -> Exact:
        """The exact sum over the presynaptic cells: message (S, pre), result (S, post)."""
        total = (self.units * message.units.unsqueeze(1)).sum(-1)
        return Exact(total, self.fraction + message.fraction)

    def random(self, number: int, step: int) -> Exact:
        """What rounding adds: number 0 `rounding`, 1 `tag_rounding` of the rule, in every step."""
        if self.draws == "nearest":
            return HALF
        if self.draws == "lava":
            return LAVA.offset(step)
        index = self.index if self.draws == "uniform" else torch.zeros_like(self.index)
        return uniform(self.seeds, 16 * self.place + number, step, index)

    def move(self, in_units: Exact, step: int) -> None:
        """w := clip(w + floor(increment / unit + r)), in units (item 7)."""
        moved = (in_units + self.random(0, step)).floor()
        moved = moved if self.mask is None else moved * self.mask
        self.units = (self.units + moved).clamp(self.limits.low, self.limits.high)

    def sum_up(self, increment: Exact, learns: bool, applies: bool, step: int) -> None:
        """`accumulate` (item 8): the tag keeps the sum of increments until it is applied."""
        assert self.register is not None and self.tag is not None
        total = self.register.rounded(self.tag + (increment if learns else NOTHING), self.random(1, step))
        if applies:
            self.move(total.times_two_to(self.limits.fraction), step)
        self.tag = Exact(torch.zeros_like(total.units), total.fraction) if applies else total

    def low_pass(self, leak: Exact, increment: Exact, learns: bool, step: int) -> None:
        """`low_pass` (item 8): tag - leak * tag + increment, where the gate is on; then w moves by the tag."""
        assert self.register is not None and self.tag is not None
        if learns:
            self.tag = self.register.rounded(self.tag - leak * self.tag + increment, self.random(1, step))
            self.move(self.tag.times_two_to(self.limits.fraction), step)


# ---- a circuit


class IntegerCircuit:
    """Registers, and the values of this step and of the one before, by name.

    registers, plain data: `significant` bits of a constant; `quantities` name -> {fraction, limit} of all that are
    rounded (others are kept exactly); `coefficients` name -> (units, fraction) of each term of its equation, in order;
    `tables` name -> {entries, fraction, scale_units, scale_fraction}; `start` name -> {units, fraction} of states that
    do not begin at 0; `synapses` name -> see `Synapses`. `NAME_sent` and `NAME_factor` are copies (item 6).
    """

    def __init__(self, registers: Mapping[str, Any], seeds: Sequence[int]) -> None:
        self.seeds, self.steps_done = tuple(seeds), 0
        self.significant: int = registers["significant"]
        self.mantissa_bits: int | None = registers.get("mantissa_bits")
        self.jitters: Mapping[str, str] = registers.get("jitters", {})
        self.rules_read: str = registers.get("rules_read", "sent")
        self.draws: Mapping[str, Tensor] = {}
        self.rate = ONE
        self.registers = {name: Register(**data) for name, data in registers["quantities"].items()}
        self.tables = {name: Table(**data) for name, data in registers["tables"].items()}
        self.coefficients = {name: [Coefficient(*c) for c in found]
                             for name, found in registers["coefficients"].items()}
        self._factors = {name: [c.exact for c in found] for name, found in self.coefficients.items()}
        self.synapses = {name: Synapses(data, seeds) for name, data in registers["synapses"].items()}
        self.start = {name: Exact(**data) for name, data in registers["start"].items()}
        self.now: dict[str, Exact] = {}
        self.before: dict[str, Exact] = {}
        self.currents: dict[str, Exact] = {}

    # ---- honest registers

    def check(self, constants: Mapping[str, Sequence[float]], functions: Mapping[str, Callable]) -> None:
        """DishonestRegister unless every equation has the coefficients that `constants` says, to their significant
        bits, and every table the entries of its function."""
        self._same_names("equations", self.coefficients, constants)
        self._same_names("tables", self.tables, functions)
        for name, true in constants.items():
            self._check_equation(name, [value for value in true if value != 0])
        for name, table in self.tables.items():
            table.check(name, functions[name])

    def _check_equation(self, name: str, true: Sequence[float]) -> None:
        found = self.coefficients[name]
        if len(found) != len(true):
            raise DishonestRegister(f"equation {name} has {len(found)} coefficients, not {len(true)}: {found}, {true}")
        for place, (coefficient, value) in enumerate(zip(found, true, strict=True)):
            check_coefficient(f"coefficient {place} of {name}", coefficient, value, self.significant)

    @staticmethod
    def _same_names(what: str, found: Mapping, expected: Mapping) -> None:
        if set(found) != set(expected):
            unknown, missing = sorted(set(found) - set(expected)), sorted(set(expected) - set(found))
            raise DishonestRegister(f"{what}: unknown {unknown}, missing {missing}")

    # ---- values

    def begin(self, sizes: Mapping[str, int]) -> None:
        """States before the first step: those of `start`, else 0; copies are rounded from them (item 6)."""
        for name, size in sizes.items():
            zero = Exact(torch.zeros(len(self.seeds), size, dtype=torch.int64))
            self.keep(name, self.start.get(name, zero))

    def begin_at(self, name: str, values: Tensor) -> None:
        """A state that begins at real values; it and its copies are rounded from them, each on its own."""
        table = self.tables.get(name)
        own = self.registers.get(name) or Register(table.fraction if table else 0, 2**53)
        self.now[name] = own.entering(values)
        for copy in (f"{name}_sent", f"{name}_factor"):
            if copy in self.registers:
                self.now[copy] = self.registers[copy].entering(values)

    def factor_of(self, name: str, place: int) -> Exact:
        """Coefficient `place` of an equation."""
        return self._factors[name][place]

    def keep(self, name: str, value: Exact) -> Exact:
        """The value of an equation: rounded once where it has a register, and its copies."""
        register = self.registers.get(name)
        value = register.rounded(value) if register else value
        shape = self.before[name].units.shape if name in self.before else value.units.shape
        self.now[name] = Exact(value.units.expand(shape), value.fraction)
        for copy in (f"{name}_sent", f"{name}_factor"):
            if copy in self.registers:
                self.now[copy] = self.registers[copy].rounded(self.now[name], self._jitter(copy))
        return self.now[name]

    def _jitter(self, copy: str) -> Exact:
        """What rounding of a copy adds: 1/2, or a draw to 24 bits."""
        draw = self.draws.get(self.jitters.get(copy, ""))
        return HALF if draw is None else Register(BITS_OF_UNIFORM, 2**BITS_OF_UNIFORM).entering(draw, downward=True)

    def function(self, name: str, q: Exact) -> Exact:
        """A function of one quantity, from its table (item 4)."""
        return self.keep(name, self.tables[name].look_up(q))

    def enter(self, name: str, values: Tensor) -> Exact:
        """An input or a normal draw (item 5)."""
        return self.keep(name, self.registers[name].entering(values))

    def sent(self, name: str, late: bool = False) -> Exact:
        """What a projection with weights transmits of a quantity."""
        return self._copy(name, "sent", late)

    def read(self, name: str, late: bool = False) -> Exact:
        """What a rule reads of a quantity."""
        return self._copy(name, "factor", late)

    def message_read(self, name: str, late: bool = False) -> Exact:
        """What a rule reads of the message that its synapse gets."""
        return self._copy(name, self.rules_read, late)

    def _copy(self, name: str, kind: str, late: bool) -> Exact:
        values = self.before if late else self.now
        return values.get(f"{name}_{kind}", values[name])

    # ---- learning

    def rule_constants(self, name: str, rates: Sequence[float], share: float = 0.0) -> dict[str, list[float]]:
        """The real coefficients of a rule from those of its products, share being the rate of a low-pass; in units of
        the weight times 1 / unit (items 7 to 9). None where nothing learns."""
        synapses = self.synapses[name]
        if not synapses.plastic and not any(rates):
            return {}
        formed = {own: [1.0] for own in (f"factor_{name}", f"factor_{name}_1") if own in self.coefficients}
        per_unit, rates = 2.0**synapses.limits.fraction, [self._legal(rate) for rate in rates]
        return formed | self._rule_constants_of(name, rates, per_unit, share)

    def _rule_constants_of(
        self, name: str, rates: Sequence[float], per_unit: float, share: float
    ) -> dict[str, list[float]]:
        synapses = self.synapses[name]
        if synapses.kind == "accumulate":
            return {f"{name}.tag": [1, *rates], f"{name}.step": [per_unit]}
        if synapses.kind == "low_pass":
            share = 2.0 ** max(LEAST_EXPONENT, round(math.log2(share))) if self.mantissa_bits else share
            return {f"{name}.tag": [1, -share, *(share * rate for rate in rates)], f"{name}.step": [per_unit]}
        credit: dict[str, list[float]] = {f"credit_{name}": [1.0, 1.0], f"credit_{name}_done": [1.0]}
        credit = credit if synapses.kind == "credited" else {}
        return credit | {f"{name}.step": [rate * per_unit for rate in rates]}

    def _legal(self, rate: float) -> float:
        return nearest_mantissa(rate, self.mantissa_bits) if self.mantissa_bits else rate

    def credit_sizes(self) -> dict[str, int]:
        """States that credit adds to cells, with the number of cells."""
        return {f"credit_{name}{end}": synapses.units.shape[1] for name, synapses in self.synapses.items()
                if synapses.kind == "credited" for end in ("", "_done")}

    def learn(self, name: str, products: Sequence[Exact], learns: bool, applies: bool = True) -> None:
        """A rule whose increment is the sum of products (S, post, pre), with its coefficients. Where it is credited,
        the product is that of the credit."""
        synapses, step = self.synapses[name], self.steps_done
        if not synapses.plastic or (synapses.kind == "none" and not learns):
            return
        tagged = synapses.kind in ("low_pass", "accumulate")
        first = {"low_pass": 2, "accumulate": 1}.get(synapses.kind, 0)
        key = f"{name}.tag" if tagged else f"{name}.step"
        rate = ONE if f"factor_{name}" in self.coefficients or synapses.kind == "credited" else self.rate
        total = Exact(torch.zeros_like(synapses.units))
        for place, product in zip(range(first, len(self.coefficients[key])), products, strict=False):
            total = total + rate * self.factor_of(key, place) * product
        if synapses.kind == "low_pass":
            synapses.low_pass(-self.factor_of(key, 1), total, learns, step)
        elif synapses.kind == "accumulate":
            synapses.sum_up(total, learns, applies, step)
        elif synapses.kind == "none" or applies:
            synapses.move(total, step)

    def formed(self, name: str, value: Exact, otherwise: Exact, place: int = 0) -> Exact:
        """The postsynaptic factor of product `place`: what rules read of it, `otherwise`, unless the cell forms it
        itself from the value and the rate."""
        own = f"factor_{name}" + (f"_{place}" if place else "")
        if own not in self.coefficients:
            return otherwise
        self.keep(own, self.rate * value)
        return self.read(own)

    def collect_credit(self, name: str, value: Exact, learns: bool, applies: bool) -> Exact:
        """The postsynaptic cell's sum of its factor until it is applied, as rules read it (item 9)."""
        credit, done = f"credit_{name}", f"credit_{name}_done"
        kept = choose(self.before[done].units > 0, NOTHING, self.before[credit])
        self.keep(credit, kept + (self.rate * value if learns else NOTHING))
        self.keep(done, Exact(torch.full_like(self.before[done].units, int(applies))))
        return self.read(credit)

    def deliver(self, name: str, message: Exact) -> Exact:
        """The current of a projection with weights; those without carry the whole quantity."""
        self.currents[name] = self.synapses[name].deliver(message)
        return self.currents[name]

    def outer(self, post: Exact, pre: Exact) -> Exact:
        """(S, post) times (S, pre): (S, post, pre)."""
        return post.axis(2) * pre.axis(1)

    def next_step(self) -> None:
        """What was now is before."""
        self.before, self.now = self.now, {}

    def end_step(self) -> None:
        self.steps_done += 1

    def snapshot(self) -> dict[str, Exact]:
        """Every quantity after the last step; currents `NAME.current`, weights `NAME.w` and tags `NAME.tag`."""
        found = self.now | {f"{name}.current": value for name, value in self.currents.items()}
        for name, synapses in self.synapses.items():
            found[f"{name}.w"] = synapses.weights
            if synapses.tag is not None:
                found[f"{name}.tag"] = synapses.tag
        return found
