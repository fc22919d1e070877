"""The published tasks (specs/pal.md 4): `bw_only` learns the feedback, `fw_bw` everything, from a teacher.

Both settle first, then present the same samples in every epoch, in an order that is shuffled further each time.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cortexc.compiler.experiments.tables import Range, Samples, Seed, Setting
from cortexc.compiler.experiments.tasks.base import Presented, Reset, Teacher
from cortexc.compiler.experiments.tasks.plans import Plan, columns, gate_columns, output, two_inputs
from cortexc.compiler.ir import CortexError, Graph
from cortexc.compiler.ir.protocol import Phase, Record, Stream

BW_GATES = ("learn_lateral", "learn_feedback", "noise")


class BwOnly(Presented, frozen=True, tag="bw_only"):
    """`first_seed`: fixes inputs and teacher; by default it is the run's first. `dataset_size`: samples."""

    dataset_size: Samples = 100
    first_seed: Seed | None = None
    reset: Reset = "none"

    @property
    def seeds_apart(self) -> bool:
        return self.first_seed is not None

    def plan(self, setting: Setting, graph: Graph, teacher: Teacher | None) -> Plan:
        """Inputs of the first seed, no target."""
        return self._plan(graph, self.seed(setting), BW_GATES)

    def seed(self, setting: Setting) -> int:
        return setting.run.seeds[0] if self.first_seed is None else self.first_seed

    def _plan(self, graph: Graph, seed: int, gates: Sequence[str]) -> Plan:
        inputs, _ = two_inputs(self.task, graph)
        samples = np.zeros((self.dataset_size, columns(graph)[-1].stop))
        samples[:, :inputs.stop] = input_samples(seed, self.dataset_size, inputs.size)
        train = Phase("train", self.dataset_size, self.steps, (0,), "" if self.shuffle is False else "train",
                      gate_columns(self.gates(gates)))
        return self.repeated(train, samples, self.epochs, f"uniform inputs of seed {seed}")


class FwBw(BwOnly, frozen=True, tag="fw_bw"):
    """As `bw_only`; `teacher`: ranges of the teacher's weights."""

    teacher: dict[str, Range] = {}

    @property
    def curve_rows(self) -> int:
        return self.dataset_size

    def plan(self, setting: Setting, graph: Graph, teacher: Teacher | None) -> Plan:
        """Inputs and targets of one teacher for all seeds. Raises X120, X124."""
        seed = teacher_seed(self.seed(setting))
        plan = self._plan(graph, seed, ("learn_forward", *BW_GATES, "target"))
        inputs, targets = two_inputs(self.task, graph)
        if inputs.size != targets.size:
            raise CortexError("X120", f"task fw_bw needs as many outputs as inputs, got {inputs.size} inputs and "
                                      f"{targets.size} outputs.")
        if teacher is not None:
            plan.samples[:, targets.start:targets.stop] = teacher(plan.samples[:, :inputs.stop], seed)
        return plan


def input_samples(seed: int, count: int, size: int) -> np.ndarray:
    """Input rates of the published tasks, uniform in [0, 1): (count, size)."""
    return np.random.RandomState(seed % 2**32).uniform(0, 1, (count, size))


def teacher_seed(first_seed: int) -> int:
    """Seed of the one teacher of all students: 873630 for first seed 123."""
    return int(np.random.RandomState(first_seed % 2**32).randint(100000, 999999))


def teacher_plan(table: FwBw, graph: Graph, inputs: np.ndarray) -> Plan:
    """The teacher's run: settled, then every sample once; its output one step before the end of each presentation.

    (The numpy simulator reads the output before the last call of a presentation.) Raises X122.
    """
    if table.steps < 2:
        raise CortexError("X122", f"task fw_bw with presentations of {table.steps} step: the teacher's output is read "
                                  "one step before their end.", "Use at least 2.")
    samples = np.zeros((len(inputs), columns(graph)[-1].stop))
    samples[:, :inputs.shape[1]] = inputs
    run = Phase("run", len(inputs), table.steps, records=(("target", Record(at=(table.steps - 2,))),))
    return table.repeated(run, samples, 1, streams=(Stream("target", (output(graph),)),))
