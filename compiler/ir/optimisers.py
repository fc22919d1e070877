"""How an increment becomes a step of the weight: the table of optimisers that every pass, report and map consults."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Traits:
    """What an optimiser is. `arguments`: names of its parameters, in order; `sums`: increments until the projection's
    `apply` gate; `kept`: values per synapse besides the weight; `needs`: what it takes at the synapse beyond the rule;
    `integers`: whether it has an integer form; `divides`: by what can be 0 where all increments are; `elsewhere`,
    `illegal`: why it is not local, why no chip's rule."""

    arguments: tuple[str, ...] = ()
    sums: bool = True
    kept: int = 1
    needs: str = ""
    integers: bool = False
    divides: bool = False
    elsewhere: str = ""
    illegal: str = ""


OPTIMISERS: dict[str, Traits] = {
    "none": Traits(sums=False, kept=0),
    "low_pass": Traits(("rate",), sums=False, needs="a filtered increment per synapse", integers=True),
    "accumulate": Traits(needs="a sum per synapse until the update; no other arithmetic than the rule's",
                         integers=True),
    "clipped": Traits(("norm",), needs="a sum per synapse until the update, and its norm over all synapses: not local",
                      elsewhere="optimiser 'clipped' scales by the norm over all synapses of the projection"),
    "adam": Traits(("rate", "beta1", "beta2", "epsilon"), kept=3, divides=True,
                   needs="a sum and two moments per synapse: local, but no chip's rule has its square root and "
                         "divisions",
                   illegal="optimiser 'adam' divides by a square root, and keeps two moments beside its sum"),
}
"""`low_pass(rate)`: D += rate * (dw - D); w += D. `accumulate`: sums dw until the `apply` gate; `clipped`: the same,
scaled to at most `norm`; `adam`: the same, through Adam (ascent)."""
SUMMED = tuple(kind for kind, traits in OPTIMISERS.items() if traits.sums)
"""Optimisers that sum increments until the projection's `apply` gate."""
