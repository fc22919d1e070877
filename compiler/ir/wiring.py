"""Synapses by rule: which cells are joined, with weights and delays from distributions. Only what is said; drawn in
`cortexc.compiler.ir.drawing`."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from cortexc.compiler.ir.distributions import DISTRIBUTIONS, Distribution, Floats
from cortexc.compiler.ir.functions import VECTOR

RULES = ("fixed_indegree", "fixed_outdegree", "fixed_total", "probability", "distance")
KINDS_OF_NUMBERS = (*DISTRIBUTIONS, "constant")


@dataclass(frozen=True)
class Numbers:
    """Of synapses: a distribution with its arguments, as of `compiler.ir.distributions`, or `constant`. `unit`: of
    weights any; of delays "ms", or "", which is steps. With a `velocity`, distance / velocity is added to delays."""

    kind: str
    arguments: tuple[float, ...]
    unit: str = ""
    velocity: float = 0.0
    velocity_unit: str = ""

    @property
    def fault(self) -> str:
        """What is wrong with its arguments; "" where nothing is."""
        if self.kind != "constant":
            return Distribution(self.kind, self.arguments).fault
        return "another number of arguments" if len(self.arguments) != 1 else ""


NEVER = 1e-12
"""Pairs of a smaller probability are never joined, so every kernel ends somewhere."""
ROUNDING = 1 + 1e-9
"""Distances of a grid that are equal to a radius are within it, whatever their last bits."""
KERNELS: dict[str, tuple[Callable[[Floats], Floats], float]] = {
    "gaussian": (lambda x: VECTOR["exp"](-0.5 * x * x), math.sqrt(-2 * math.log(NEVER))),
    "exponential": (lambda x: VECTOR["exp"](-x), -math.log(NEVER)),
    "linear": (lambda x: np.maximum(1.0 - x, 0.0), 1.0), "box": (np.ones_like, 1.0)}
"""Kernel -> (its value at so many scales, at how many it ends)."""


@dataclass(frozen=True)
class Kernel:
    """How a probability falls with distance: `gaussian` exp(-(d / scale)^2 / 2), `exponential` exp(-d / scale),
    `linear` 1 - d / scale, `box` 1; the last two end at the scale. `arguments`: the scale, and a radius beyond which
    nothing is joined, if any."""

    kind: str
    arguments: tuple[float, ...]
    unit: str = ""

    @property
    def reach(self) -> float:
        scale, *radius = self.arguments
        return min(scale * KERNELS[self.kind][1], *radius, math.inf)

    def at(self, distance: Floats) -> Floats:
        """From 0 to 1."""
        value = KERNELS[self.kind][0](distance / self.arguments[0])
        return np.where((distance <= self.reach * ROUNDING) & (value >= NEVER), value, 0.0)


@dataclass(frozen=True)
class Wiring:
    """`fixed_indegree` k: every postsynaptic cell has k synapses; `fixed_outdegree` k: every presynaptic one;
    `fixed_total` k: the projection; `probability` p: every pair of cells has one with probability p;
    `distance` p: with probability p times the `kernel` of the distance between them.

    Partners are drawn uniformly, from `seed` and the projection's name. `autapses`: a cell may be joined to itself;
    `multapses`: a pair of cells may have several synapses.
    """

    rule: str
    number: float
    seed: int = 0
    autapses: bool = False
    multapses: bool = False
    kernel: Kernel | None = None
