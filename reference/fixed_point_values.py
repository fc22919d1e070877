"""What a circuit in fixed point is given and knows, and exact values of expressions.

"Item" refers to docs/fixed_point.md, section "What the integers mean".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from cortexc.reference.equations import COMPARED, Tree, constants, parts
from cortexc.reference.integers import NOTHING, DishonestRegister, Exact, Register, Table, choose, dyadic


@dataclass(frozen=True)
class Options:
    """`significant` bits of a coefficient; bits of a cell's `states`, of `messages` and of `factors`; `rounding` of
    weights: stochastic, shared, lava or nearest."""

    significant: int = 12
    states: int = 24
    messages: int = 8
    factors: int = 8
    rounding: str = "stochastic"


@dataclass(frozen=True)
class Formats:
    """What holds which quantity, by `population.quantity` or `projection.w`. `rounded`: of equations, copies, inputs
    and tags that are rounded; `first`: of values before the first step; `weights`: with the least and greatest number
    of units; `tables`; `draws`: copies whose rounding adds a draw, and its name; `guarded`: equations whose terms are
    rounded first; `constants`: magnitudes of the numbers in the equations and rules, to be checked; `spans`: the least
    and greatest value of arrays that mirrors read, as they saturate."""

    rounded: Mapping[str, Register]
    first: Mapping[str, Register]
    weights: Mapping[str, tuple[Register, int, int]]
    tables: Mapping[str, Table]
    draws: Mapping[str, str]
    guarded: frozenset[str]
    constants: Mapping[str, frozenset[float]]
    spans: Mapping[str, tuple[float, float]]

    def check(self, name: str, e: Tree, significant: int, *others: float) -> None:
        """DishonestRegister unless an equation has these constants, and no others, to their significant bits."""
        if name not in self.constants:
            raise DishonestRegister(f"there is no equation {name}")
        own = {*constants(e), *others} - {0.0, 1.0}
        if self.constants[name] - {0.0, 1.0} != own:
            raise DishonestRegister(f"{name} has the constants {sorted(self.constants[name])}, not {sorted(own)} to "
                                    f"{significant} significant bits")


@dataclass
class Memory:
    """What a circuit knows in a step. `now` and `past`: quantities of this step and of those before, the last one
    first, by `population.quantity`; `exogenous`: inputs and draws; `populations`, `projections`: by name."""

    circuit: Mapping[str, Any]
    formats: Formats
    options: Options
    seeds: tuple[int, ...]
    steps_done: int = 0
    now: dict[str, Exact] = field(default_factory=dict)
    past: list[dict[str, Exact]] = field(default_factory=list)
    gates: dict[str, Exact] = field(default_factory=dict)
    exogenous: Mapping[str, Any] = field(default_factory=dict)
    populations: dict[str, Any] = field(default_factory=dict)
    projections: dict[str, Any] = field(default_factory=dict)

    def array(self, name: str) -> Tensor | None:
        """A bound array."""
        found = self.circuit["arrays"].get(name)
        return None if found is None else torch.as_tensor(found)

    def on(self, gate: str | None) -> bool:
        return gate is None or bool(self.gates[gate].units > 0)


def value_of(e: Tree, look: Any) -> Exact:
    """Exactly. look: of a name or an earlier value."""
    kind = e[0]
    if kind == "Number":
        return dyadic(e[1])
    if kind in ("Name", "Prev"):
        return look(e)
    found = [value_of(part, look) for part in parts(e)]
    if kind == "Negate":
        return -found[0]
    if kind == "Where":
        return choose(found[0].units != 0, found[1], found[2])
    if kind == "Call":
        return called(e[1], found)
    if kind != "Binary" or e[1] == "/":
        raise ValueError(f"{kind} {e[1]}")
    if e[1] in COMPARED:
        a, b = found if e[1] in ("and", "or") else ((found[0] - found[1]), NOTHING)
        return Exact(COMPARED[e[1]](a.units, b.units).to(torch.int64))
    return {"+": Exact.__add__, "-": Exact.__sub__, "*": Exact.__mul__}[e[1]](found[0], found[1])


def called(function: str, x: Sequence[Exact]) -> Exact:
    """A function that has an exact form."""
    first = x[0]
    if function in ("d_relu", "d_linear"):
        positive = first.above(NOTHING) if function == "d_relu" else torch.ones_like(first.units)
        return Exact(positive.to(torch.int64))
    if function == "floor":
        return Exact(first.floor())
    if function == "abs":
        return Exact(first.units.abs(), first.fraction)
    if function == "relu":
        return Exact(first.units.clamp(min=0), first.fraction)
    if function == "clip":
        return called("min", [called("max", x[:2]), x[2]])
    if function not in ("min", "max"):
        raise ValueError(f"function {function}")
    return choose(x[1].above(first) ^ (function == "max"), first, x[1])
