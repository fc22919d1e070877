"""What fixed point may choose: bits of each kind of number, how it rounds, formats by name; and what is counted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from cortexc.compiler.ir import CortexError, Equation, Expression
from cortexc.compiler.ir.expressions import Number, Prev, Where
from cortexc.compiler.ir.model import OPTIMISERS
from cortexc.compiler.passes.fixed_point import Format, format_for

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
