"""Gates that are on in some steps of every presentation: `learn = {at = [-1]}`, `nudge = {from = 100, every = 10}`.

X122 steps that no presentation has.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from cortexc.compiler.experiments.tables import Count, Length, Table
from cortexc.compiler.experiments.tasks.plans import Plan, with_column
from cortexc.compiler.ir import CortexError

TRAINING = ("train", "run")
"""What the phases in which a circuit is trained are called, or begin with."""


class When(Table, frozen=True, rename={"from_": "from"}):
    """Steps of every presentation: those listed in `at` (-1 is the last one); or `from` one on, `until` before another,
    `every` so many steps."""

    at: list[int] | None = None
    from_: Count = 0
    until: Length | None = None
    every: Length = 1

    def pattern(self, who: str, steps: int) -> tuple[float, ...]:
        """0 or 1 in each of so many steps. Raises X122."""
        on = np.zeros(steps)
        if self.at is None:
            on[self.from_:self.until:self.every] = 1.0
        elif self.from_ or self.until or self.every > 1 or any(not -steps <= step < steps for step in self.at):
            raise CortexError("X122", f"{who} is at {self.at} from {self.from_} until {self.until} every {self.every}; "
                                      f"a presentation has {steps} steps.",
                              "Give steps of it, or from, until and every.")
        else:
            on[self.at] = 1.0
        return tuple(on.tolist())


Schedule = Mapping[str, When]


def scheduled(plan: Plan, schedule: Schedule) -> Plan:
    """The plan with the gates of a schedule in the phases in which the circuit is trained. Raises X122."""
    phases = plan.protocol.phases
    for gate, when in schedule.items():
        phases = tuple(
            with_column(phase, gate, when.pattern(f"protocol.schedule.{gate}", phase.steps))
            if phase.name.startswith(TRAINING) else phase for phase in phases)
    return replace(plan, protocol=replace(plan.protocol, phases=phases))
