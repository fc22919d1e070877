"""States at synapses that only decay until the next visit: the books of who was visited when, and what reads them.

    clock    steps since a sweep, the last of them in which all synapses were visited, whether this is such a step, and
             whether weights may move in it
    visited  per presynaptic and per postsynaptic cell: the last step in which its synapses were visited

A synapse was visited last in the latest of three steps, so no step is kept per synapse. After SWEEP steps all are
visited, and steps are counted from 0 again: tables of powers are short, and a count is exact in single precision too.
Each power is rounded once, and so is each product, whatever the number of steps: closer than steps are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal, localcontext
from functools import lru_cache

import numpy as np

from cortexc.compiler.backends.kernels.layout import Shape
from cortexc.compiler.ir.model import Array
from cortexc.compiler.ir.synapses import Synapses

SWEEP = 2**14
POWERS = "powers "
"""Before a decay, names a table, which is no state."""
NOW, ALL, EVERYWHERE, MOVING = range(CLOCK := 4)
Read = Callable[[str], Array]
"""Slots as they lie in memory."""


@dataclass(frozen=True)
class Waiting:
    """Of one projection. `own(quantity)`: its slots; `decays`: what its states are multiplied with in a step."""

    projection: str
    own: Callable[[str], str]
    shape: Shape
    decays: Mapping[str, float]
    synapses: Synapses | None

    @property
    def clock(self) -> str:
        return self.own("clock")

    def visited(self, side: str) -> str:
        return self.own(f"{side}_visited")

    def cells(self, side: str) -> int:
        return self.shape.cells[0] if side == "pre" else self.shape.post_cells

    def shown(self, state: str) -> str:
        """Where an observed state lies, up to date when it is recorded."""
        return self.own(f"{state}_shown")

    def slot(self, state: str) -> str:
        return f"{self.projection}.{state}"

    def now(self, state: str, read: Read) -> Array:
        """What a state is, as it would lie in memory."""
        found: Array = np.asarray(read(self.slot(state)), np.float64) * powers_of(self.decays[state])[self._steps(read)]
        return found

    def _steps(self, read: Read) -> Array:
        """Since every synapse was visited."""
        now, everywhere = read(self.clock)[:EVERYWHERE]
        pre, post = (read(self.visited(side)) for side in ("pre", "post"))
        if self.synapses is not None:
            rows, columns = pre[self.synapses.pre], post[self.synapses.post]
        else:
            rows, columns = np.repeat(pre, self.shape.width), np.tile(post, self.shape.rows)
        steps: Array = (now - np.maximum(np.maximum(rows, columns), everywhere)).astype(np.int64)
        return steps

    def all_now(self, read: Read) -> dict[str, Array]:
        """Slots in which everything is up to date, with the same meaning."""
        clock = np.array(read(self.clock))
        clock[ALL] = clock[NOW]
        return {self.clock: clock, **{self.slot(state): self.now(state, read) for state in self.decays}}


@lru_cache(maxsize=16)
def powers_of(decay: float) -> Array:
    """Of a number from 0 to 1, from the 0th to the SWEEPth."""
    found, power = [], Decimal(1)
    with localcontext() as context:
        context.prec = 40
        for _ in range(SWEEP + 1):
            found.append(float(power))
            power *= Decimal(decay)
    return np.array(found)
