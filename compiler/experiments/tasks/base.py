"""What a task is: its keys in [protocol], the plan that it makes of them, and what it measures.

X122 a protocol that cannot be made.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Literal

import numpy as np

from cortexc.compiler.experiments.tables import Count, Epochs, Length, RecordTable, Setting, Table
from cortexc.compiler.experiments.tasks.plans import Measured, Plan, When, deviations, laid_out, scores
from cortexc.compiler.experiments.tasks.resets import with_reset
from cortexc.compiler.ir import CortexError, Graph
from cortexc.compiler.ir.protocol import Phase, Protocol, Stream

Reset = Literal["none", "states"] | list[str]
"""What is as before the first step at the start of every presentation: "none", "states" (those of all populations, with
what is on its way from them), or names of populations, of their states (`B.v`), or of a synapse's states (`W.trace`);
weights stay."""
Teacher = Callable[[np.ndarray, int], np.ndarray]
"""teacher(inputs (samples, n_0), seed) gives the targets (samples, n_N)."""


class Task(Table, frozen=True, tag_field="task"):
    """The table [protocol] of one task. All lengths are in network steps."""

    reads: ClassVar[tuple[str, ...]] = ()
    """The keys of [data] that it takes; other samples it makes itself."""

    epochs: Epochs = 1

    @property
    def task(self) -> str:
        return str(self.__struct_config__.tag)

    @property
    def steps(self) -> int:
        """Steps of one presentation."""
        return 100

    @property
    def seeds_apart(self) -> bool:
        """Whether each seed of a run learns what it would learn alone."""
        return True

    @property
    def minibatch(self) -> int:
        """Samples that are shown at once."""
        return 1

    @property
    def update_every(self) -> int:
        """Presentations after which summed increments are applied; 0: as the rules say."""
        return 0

    @property
    def reset(self) -> Reset:
        return "none"

    @property
    def resets(self) -> bool:
        """Whether a presentation resets anything."""
        return self.reset not in ("none", [])

    @property
    def curve_rows(self) -> int:
        """Rows of a curve of errors per epoch, if their mean is a figure of the task."""
        return 0

    def with_gates(self, graph: Graph) -> Graph:
        """The circuit with the gates that the protocol adds. Raises X122."""
        return with_reset(graph, self.reset) if self.resets else graph

    def plan(self, setting: Setting, graph: Graph, teacher: Teacher | None) -> Plan:
        """Phases and samples; `teacher` gives the targets of a task that is taught by a circuit."""
        raise NotImplementedError

    def recorded(self, graph: Graph) -> dict[str, RecordTable]:
        """What is recorded where the experiment asks for nothing."""
        return {}

    def scores(self, plan: Plan, records: Any, position: int) -> list[Measured]:
        """Accuracies of all completed validations and tests."""
        return scores(plan, records, position)

    def measures(self, plan: Plan, records: Any, position: int) -> dict[str, Any]:
        """What results.json says beside accuracies: the error per seed of every validation and test, and the last
        test's median."""
        if not plan.followed:
            return {}
        found = deviations(plan, records, position)
        tests = [each for each in found if each.phase == "test"]
        return {"test_error": float(np.median(tests[-1].values)) if tests else None,
                "errors": [{"phase": each.phase, "epoch": each.epoch, "step": each.position, "error": list(each.values)}
                           for each in found]}


class Presented(Task, frozen=True):
    """Samples are presented one after the other, `presentation_steps` each (100). For `settling_steps` the first ones
    are shown without learning, noise or target. `train_gates`: the gates that are on in training. `shuffle`: whether
    every epoch has an order of its own. `schedule`: gate -> when it is on in a presentation of training,
    `learn = {at = [-1]}`, `nudge = {from = 100}`."""

    presentation_steps: Length | None = None
    settling_steps: Count = 0
    train_gates: list[str] | None = None
    shuffle: bool | None = None
    schedule: dict[str, When] = {}

    @property
    def steps(self) -> int:
        return self.presentation_steps or 100

    def gates(self, default: Sequence[str]) -> Sequence[str]:
        """Those that are on in training."""
        return default if self.train_gates is None else self.train_gates

    def settling(self, samples: int) -> list[Phase]:
        """The phases before training; a rest shorter than a presentation is one of its own. Raises X122."""
        count, rest = divmod(self.settling_steps, self.steps)
        needed = count + bool(rest)
        if needed > samples:
            raise CortexError("X122", f"protocol.settling_steps = {self.settling_steps} presents {needed} samples of "
                                      f"{self.steps} steps, but there are {samples}.", "Shorten it.")
        phases = [Phase("settle", count, self.steps)] if count else []
        return phases + ([Phase("settle_rest", 1, rest, (count,))] if rest else [])

    def repeated(self, phase: Phase, samples: np.ndarray, epochs: int, source: str = "",
                 streams: tuple[Stream, ...] = ()) -> Plan:
        """Settling, then the phase in every epoch. Raises X122."""
        settling = self.settling(len(samples))
        sequence, counted = laid_out([each.name for each in settling], epochs, lambda _: [phase.name])
        return Plan(Protocol((*settling, phase), sequence, streams), samples, counted, {}, source)
