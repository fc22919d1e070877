"""How many network steps a runner takes at a time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cortexc.compiler.backends.lowering.program import Program

BLOCK_BYTES, LONGEST, FIRST_STEPS = 32 * 2**20, 50_000, 100


def most_steps(noise_width: int) -> int:
    """A block's arrays stay within BLOCK_BYTES."""
    return max(1, min(LONGEST, BLOCK_BYTES // (8 * (noise_width + 16))))


def first_block(program: Program, milliseconds: float) -> int:
    """Steps in a block of about that duration."""
    return int(np.clip(milliseconds * 1000 / program.step_microseconds, 1, most_steps(program.noise_width)))


@dataclass(frozen=True)
class Pace:
    """Calls of a runner take at most `most` steps and at least `seconds`, a multiple of `unit` steps."""

    most: int
    unit: int = 1
    seconds: float = 0.0


class Blocks:
    """`steps` of the next call, which is to take about so many milliseconds; the first is short, since the speed is not
    known yet."""

    def __init__(self, pace: Pace, milliseconds: float):
        self.pace, self.seconds = pace, max(milliseconds / 1000, pace.seconds)
        self.steps = min(max(pace.unit, FIRST_STEPS), pace.most)

    def took(self, seconds: float) -> None:
        """So long the last call took."""
        factor = np.clip(self.seconds / max(seconds, 1e-6), 0.25, 4.0)
        unit = self.pace.unit
        steps = int(np.clip(self.steps * factor, 1, self.pace.most))
        self.steps = min(max(steps // unit, 1) * unit, self.pace.most)
