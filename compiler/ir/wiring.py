"""Synapses by rule: which cells are joined, with weights and delays from distributions. Only what is said; drawn in
`cortexc.compiler.ir.drawing`."""

from __future__ import annotations

from dataclasses import dataclass

from cortexc.compiler.ir.distributions import DISTRIBUTIONS, Distribution

RULES = ("fixed_indegree", "fixed_outdegree", "fixed_total", "probability")
KINDS_OF_NUMBERS = (*DISTRIBUTIONS, "constant")


@dataclass(frozen=True)
class Numbers:
    """Of synapses: a distribution with its arguments, as of `compiler.ir.distributions`, or `constant`. `unit`: of
    weights any; of delays "ms", or "", which is steps."""

    kind: str
    arguments: tuple[float, ...]
    unit: str = ""

    @property
    def fault(self) -> str:
        """What is wrong with its arguments; "" where nothing is."""
        if self.kind != "constant":
            return Distribution(self.kind, self.arguments).fault
        return "another number of arguments" if len(self.arguments) != 1 else ""


@dataclass(frozen=True)
class Wiring:
    """`fixed_indegree` k: every postsynaptic cell has k synapses; `fixed_outdegree` k: every presynaptic one;
    `fixed_total` k: the projection; `probability` p: every pair of cells has one with probability p.

    Partners are drawn uniformly, from `seed` and the projection's name. `autapses`: a cell may be joined to itself;
    `multapses`: a pair of cells may have several synapses.
    """

    rule: str
    number: float
    seed: int = 0
    autapses: bool = False
    multapses: bool = False
