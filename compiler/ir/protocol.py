"""What happens when, as data: phases of presentations, with gates and recordings as per-step columns.

A `Phase` presents `count` samples of the sample table, `steps` steps each. Gates are patterns over the steps, tiled
through the phase. Kernels read all of this as arrays; nothing is compiled per phase.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from cortexc.compiler.ir.errors import CortexError, unknown


@dataclass(frozen=True)
class Record:
    """A stream records every `every` steps of the phase, first after `offset` steps (0-based), or at the steps `at`
    of each presentation, or at the steps `steps` of the phase (0-based, rising)."""

    every: int = 0
    offset: int = 0
    at: tuple[int, ...] = ()
    steps: tuple[int, ...] = ()

    def check(self, phase: Phase, stream: str) -> None:
        """Raises E275 for steps that are negative, do not rise, or come after the end."""
        rising = all(a < b for a, b in zip(self.steps, self.steps[1:], strict=False))
        if min(self.every, self.offset, *self.steps, *self.at) < 0 or not rising:
            raise CortexError("E275", f"phase '{phase.name}' records '{stream}' at steps that are negative or do not "
                                      f"rise: {self}.", "Count from 0 and upward.")
        for which, end, whole in ((self.at, phase.steps, "each presentation"), (self.steps, phase.total, "the phase")):
            if phase.total and max(which, default=0) >= end:
                raise CortexError("E275", f"phase '{phase.name}' records '{stream}' at step {max(which)}, but {whole} "
                                          f"has {end} steps.", "Count from 0; leave out what comes after the end.")


@dataclass(frozen=True)
class Presentation:
    """How a circuit wants a sample presented: steps, gates while it trains and while it is tested, and the steps at
    which its output is read."""

    steps: int
    train: Mapping[str, tuple[float, ...]]
    test: Mapping[str, tuple[float, ...]]
    readout: tuple[int, ...]


@dataclass(frozen=True)
class Phase:
    """`first`: row of the sample table where this phase's samples start (one entry, or one per batch element).
    `order`: name of a persistent order that is shuffled before the phase; "" presents the rows as they stand. `later`:
    it is shuffled after the phase has taken it, for the next time.
    `rows`: 0, and all samples of a seed see the same row; else so many rows are spread over the samples, those that do
    not fill the last presentation are left out, or, if there is no other way, the last row is repeated."""

    name: str
    count: int
    steps: int
    first: tuple[int, ...] = (0,)
    order: str = ""
    gates: tuple[tuple[str, tuple[float, ...]], ...] = ()
    records: tuple[tuple[str, Record], ...] = ()
    rows: int = 0
    later: bool = False

    @property
    def total(self) -> int:
        return self.count * self.steps


@dataclass(frozen=True)
class Stream:
    """A recording: `quantities` are names of the program, written together; `width` float64 a row; at most `most`
    rows (0: all). `window`: so many rows are held, and later ones take the place of earlier ones (0: all are held)."""

    name: str
    quantities: tuple[str, ...]
    width: int = 0
    most: int = 0
    window: int = 0


@dataclass(frozen=True)
class Protocol:
    """`sequence` names the phases in order; repeats are allowed. `spent`: numbers that a legacy generator has given
    before the run."""

    phases: tuple[Phase, ...]
    sequence: tuple[str, ...]
    streams: tuple[Stream, ...] = field(default=())
    spent: int = 0

    @property
    def total(self) -> int:
        lengths = {p.name: p.total for p in self.phases}
        return sum(lengths[name] for name in self.sequence)

    def check(self, gates: tuple[str, ...]) -> None:
        """Raises E271 to E275 for a phase that is not there, an unknown gate or a negative count."""
        names, streams = {p.name for p in self.phases}, {s.name for s in self.streams}
        for name in self.sequence:
            if name not in names:
                raise unknown("E271", "phase of the protocol's sequence", name, names)
        for phase in self.phases:
            if phase.count < 0 or phase.steps < 1:
                raise CortexError("E272", f"phase '{phase.name}' has {phase.count} presentations of {phase.steps} "
                                          "steps; they must be at least 0 and 1.")
            for gate, pattern in phase.gates:
                if gate not in gates:
                    raise unknown("E273", f"gate of phase '{phase.name}'", gate, gates)
                if not len(pattern):
                    raise CortexError("E275", f"phase '{phase.name}' gives gate '{gate}' a pattern of no steps.",
                                      "Give at least one value.")
            for stream, rule in phase.records:
                if stream not in streams:
                    raise unknown("E274", f"recording of phase '{phase.name}'", stream, streams)
                rule.check(phase, stream)

    def place(self, stream: str, quantity: str) -> tuple[int, int]:
        """Where a recording stands among the streams, and a quantity in it. Raises E279."""
        names = [s.name for s in self.streams]
        if stream not in names:
            raise unknown("E279", "recording", stream, names)
        quantities = self.streams[names.index(stream)].quantities
        if quantity not in quantities:
            raise unknown("E279", f"quantity of recording '{stream}'", quantity, quantities)
        return names.index(stream), quantities.index(quantity)

    def as_data(self) -> dict[str, Any]:
        """Plain data for the runtime."""
        return asdict(self)
