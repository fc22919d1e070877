"""How an increment becomes a step of the weight: the table of optimisers that every pass, report and map consults."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple


class Range(NamedTuple):
    """What a number may be: in words, and as a question."""

    says: str
    holds: Callable[[float], bool]


SHARE = Range("from 0 to 1", lambda value: 0 <= value <= 1)
DECAY = Range("at least 0 and below 1", lambda value: 0 <= value < 1)
POSITIVE = Range("positive and finite", lambda value: 0 < value < math.inf)
FROM_0 = Range("finite and at least 0", lambda value: 0 <= value < math.inf)
FINITE = Range("finite", math.isfinite)


@dataclass(frozen=True)
class Traits:
    """What an optimiser is. `arguments`: names of its parameters, in order, with their `ranges`; `sums`: increments
    until the projection's `apply` gate; `kept`: values per synapse besides the weight; `needs`: what it takes at
    the synapse beyond the rule; `integers`: whether it has an integer form; `divides`: by what can be 0 where all
    increments are; `elsewhere`, `illegal`: why it is not local, why no chip's rule."""

    arguments: tuple[str, ...] = ()
    ranges: tuple[Range, ...] = ()
    sums: bool = True
    kept: int = 1
    needs: str = ""
    integers: bool = False
    divides: bool = False
    elsewhere: str = ""
    illegal: str = ""


OPTIMISERS: dict[str, Traits] = {
    "none": Traits(sums=False, kept=0),
    "low_pass": Traits(("rate",), (SHARE,), sums=False, needs="a filtered increment per synapse", integers=True),
    "accumulate": Traits(needs="a sum per synapse until the update; no other arithmetic than the rule's",
                         integers=True),
    "clipped": Traits(("norm",), (POSITIVE,),
                      elsewhere="optimiser 'clipped' scales by the norm over all synapses of the projection",
                      needs="a sum per synapse until the update, and its norm over all synapses: not local"),
    "adam": Traits(("rate", "beta1", "beta2", "epsilon"), (FINITE, DECAY, DECAY, FROM_0), kept=3, divides=True,
                   needs="a sum and two moments per synapse: local, but no chip's rule has its square root and "
                         "divisions",
                   illegal="optimiser 'adam' divides by a square root, and keeps two moments beside its sum"),
}
"""`low_pass(rate)`: D += rate * (dw - D); w += D. `accumulate`: sums dw until the `apply` gate; `clipped`: the same,
scaled to at most `norm`; `adam`: the same, through Adam (ascent)."""
SUMMED = tuple(kind for kind, traits in OPTIMISERS.items() if traits.sums)
"""Optimisers that sum increments until the projection's `apply` gate."""
