"""What Synapses do when: pathways, and what they bring to cells."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cortexc.compiler.front.brian2.cells import Cell
from cortexc.compiler.front.brian2.translating import Statement, Term
from cortexc.compiler.ir.expressions import Expression

OTHER = {"pre": "post", "post": "pre"}


@dataclass(frozen=True)
class Pathway:
    """`key`: its place among the pathways of a step. `steps` (synapses,): how long its spikes take."""

    name: str
    side: str
    key: tuple[int, str]
    statements: tuple[Statement, ...]
    steps: np.ndarray


@dataclass
class Effect:
    """`term` times the spikes of a pathway is added to `variable` on one side. `early`: it is summed in every step,
    from values before the step, instead."""

    pathway: Pathway | None
    side: str
    variable: str
    term: Term
    port: str = ""

    @property
    def early(self) -> bool:
        return self.pathway is None

    @property
    def source(self) -> str:
        """The side that sends it."""
        return self.pathway.side if self.pathway else OTHER[self.side]

    def part(self, side: str) -> Expression | None:
        return self.term.pre if side == "pre" else self.term.post

    @property
    def message(self) -> Expression | None:
        """What is sent, beside spikes."""
        return None if self.source == self.side else self.part(self.source)


@dataclass
class Ends:
    """The cells on both sides."""

    pre: Cell
    post: Cell

    def of(self, side: str) -> Cell:
        return self.pre if side.endswith("pre") else self.post
