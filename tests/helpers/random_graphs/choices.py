"""Where the decisions of a random circuit come from, and what it may hold."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol as Interface
from typing import TypeVar

import numpy as np
from random_graphs.expressions import TAME, Words

T = TypeVar("T")
NUMBERS = ("0.5", "1", "0.25", "2", "0.1", "3")


class Choices(Interface):
    """The first alternative is the simplest."""

    def integer(self, low: int, high: int) -> int: ...

    def pick(self, items: Sequence[T]) -> T: ...


class RandomChoices:
    """Decisions of a seeded generator."""

    def __init__(self, seed: int):
        self.generator = np.random.default_rng(seed)

    def integer(self, low: int, high: int) -> int:
        return int(self.generator.integers(low, high + 1))

    def pick(self, items: Sequence[T]) -> T:
        return items[self.integer(0, len(items) - 1)]


def maybe(c: Choices, one_in: int = 2) -> bool:
    """False is the simpler answer."""
    return c.integer(0, one_in - 1) == one_in - 1


@dataclass(frozen=True)
class Kinds:
    """What circuits may hold. `steps`: about how long they run. `fused`: updates that wait for the next delivery.
    `maps`: feature maps. `refused`: what only the interpreter runs. `rule`: writes a rule, instead of the usual
    writer. `batch`: several seeds or samples. `empty`: populations without cells."""

    steps: int = 12
    fused: bool = True
    maps: bool = True
    refused: bool = False
    words: Words = TAME
    rule: Callable[..., str] | None = None
    batch: bool = True
    empty: bool = True
