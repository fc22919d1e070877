"""What fixed point may choose: bits of each kind of number, how it rounds, formats by name; and what is counted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from cortexc.compiler.ir import CortexError, Equation, Expression, Graph, Number, Prev, Where
from cortexc.compiler.ir.model import OPTIMISERS
from cortexc.compiler.passes.fixed_point import Format, bits_between, format_for, rounding_of

ROUNDING = ("stochastic", "shared", "lava", "nearest")
"""A number per synapse; one for all synapses; the one that a stock LearningDense would draw; none."""
TAG = "tag"
"""What a synapse in integers calls that which its optimiser keeps."""
COUNTER = "_saturated"
"""What the count of a quantity's saturation is called behind its name."""
NONZERO, UNDERFLOWED = "_nonzero", "_underflowed"
"""The same of its values that are not 0 before they are rounded, and of those that then are."""
RESOLUTION = 2.0**-24
"""The least share of a unit that the random numbers tell from 0."""
TAGGED = tuple(kind for kind, traits in OPTIMISERS.items() if traits.integers)
HEADROOM, STATES_HEADROOM, TABLES_HEADROOM = 2.0, 16.0, 4.0
"""How much larger than in the calibration run a weight or a table's value may become, a state, a table's argument."""


@dataclass(frozen=True)
class Widths:
    """Bits of each kind of number, with the sign. `states`: what a cell keeps; `messages`: what it sends; `factors`:
    what a rule reads besides; `weights` (without a sign where they have none); `tags`: what a synapse keeps beside its
    weight; `tables`: log2 of a table's entries; `values`: of its entries; `coefficients`: of a constant."""

    states: int = 24
    messages: int = 8
    factors: int = 8
    weights: int = 8
    tags: int = 9
    tables: int = 10
    values: int = 16
    coefficients: int = 12


@dataclass(frozen=True)
class Options:
    """`formats`: formats of single quantities and weights (`PC1.u`, `W_1.w`), which come before all others.
    `least_scale`: of a product of two factors in a learning engine's integers; where a rule's scale is smaller, its
    postsynaptic factor gets larger units and is rounded at random in the cell; with `factor_rounding` "stochastic" all
    factors are."""

    peaks: Mapping[str, float]
    widths: Widths = Widths()
    rounding: str = "stochastic"
    formats: Mapping[str, Format] = field(default_factory=dict)
    count: bool = False
    least_scale: float = 0.0
    factor_rounding: str = "nearest"

    def format(self, name: str, bits: int, unsigned: bool = False, headroom: float = HEADROOM) -> Format:
        """`headroom`: how much larger than in the calibration run a quantity may become. Raises E613."""
        if name in self.formats:
            return self.formats[name]
        if name not in self.peaks:
            raise CortexError("E613", f"quantise knows no range of '{name}'.", "Calibrate the circuit first.")
        return format_for(self.peaks[name] * headroom, bits, unsigned)


def least_step(rounding: str) -> float:
    """Which share of a unit an increment must have to move anything, now or on average."""
    return 0.5 if rounding == "nearest" else RESOLUTION


def is_counter(name: str) -> bool:
    """Whether a state counts instead of being a quantity of the circuit."""
    return name.endswith((COUNTER, NONZERO, UNDERFLOWED))


def tally(name: str, condition: Expression) -> Equation:
    """Counts the steps in which it holds."""
    return Equation(name, Prev(name, 1) + Where(condition, Number(1.0), Number(0.0)), "factor")


# ---- read back from a quantised graph


def formats_of(graph: Graph) -> Iterator[tuple[str, tuple[Format, bool]]]:
    """(quantity, (format, whether it is rounded to the nearest)) of what is rounded: cells, then weights and tags."""
    for p in graph.populations:
        for e in graph.cell(p.cell).equations:
            if held := rounding_of(e.expression):
                found = Format(int(held.limit + 1).bit_length(), int(np.log2(held.scale)))
                yield f"{p.name}.{e.name}", (found, held.offset == Number(0.5))
    for q in graph.projections:
        synapse, rule = graph.class_of(q.name), graph.rule_of(q)
        if synapse.unit:
            low, high = synapse.limits
            bits = bits_between(low / synapse.unit, high / synapse.unit)
            yield f"{q.name}.w", (Format(bits, -int(np.log2(synapse.unit)), low >= 0), not (rule and rule.noise))
        for s in rule.states if rule else ():
            if s.dtype != "float64" and not is_counter(s.name):
                found = Format(int(s.dtype[3:]), -int(np.log2(s.scale)))
                yield f"{q.name}.{s.name}", (found, not (rule and rule.noise))
