"""The task `control` (specs/error_neuron.md 8.1): a student of a linear controller balances a pole after every epoch.

Training is that of `teacher_student`. In a control test the circuit sees the pole, and the pole feels its output, four
network steps for each of its own; it starts anew at random every 2,000 of its steps and when it falls. The score is the
number of falls.

X124 a circuit without a pole.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from cortexc.compiler.experiments.tables import Samples, Seed, Setting
from cortexc.compiler.experiments.tasks.base import Teacher
from cortexc.compiler.experiments.tasks.plans import Measured, Part, Plan, columns, completed, pulse
from cortexc.compiler.experiments.tasks.teacher_student import Taught
from cortexc.compiler.ir import CortexError, Graph
from cortexc.compiler.ir.protocol import Phase, Protocol, Record, Stream
from cortexc.compiler.microcircuits.cartpole import GATES, STATE

PHASE, STREAM, FAILURES = "control", "control_failures", "pole.failures"
NETWORK_STEPS, EPISODE, MOVES = 4, 2000, 19_999
"""Network steps per step of the pole; its steps per episode and per test."""
SPREAD = (-1.0, 1.0)


class Control(Taught, frozen=True, tag="control"):
    """As `teacher_student`, and after every epoch the circuit controls the pole, for `control_moves` of its steps (0:
    as published) from starts drawn with `control_seed`."""

    control_moves: Samples = 0
    control_seed: Seed = 0

    def gates(self, default: Sequence[str]) -> Sequence[str]:
        return super().gates([gate for gate in default if gate not in GATES])

    def plan(self, setting: Setting, graph: Graph, teacher: Teacher | None) -> Plan:
        """`teacher_student` with a control test after every epoch and before the first. Raises X124."""
        missing = [gate for gate in GATES if gate not in graph.gates]
        if missing:
            raise CortexError("X124", f"task control needs a pole, but '{graph.name}' has no gates "
                                      f"{', '.join(missing)}.", "Set model.plant = \"cartpole\".")
        plan = super().plan(setting, graph, teacher)
        moves = self.control_moves or MOVES
        starts = np.zeros((moves + 1, plan.samples.shape[1]))
        for column in columns(graph):
            if column.population == "pole":
                drawn = np.random.default_rng([self.control_seed, STATE.index(column.key.removeprefix("pole.start_"))])
                starts[:, column.start] = drawn.uniform(*SPREAD, moves + 1)
        protocol, epochs = _with_tests(plan.protocol, plan.epochs, _phases(len(plan.samples), moves))
        return replace(plan, protocol=protocol, epochs=epochs, samples=np.concatenate([plan.samples, starts]))

    def measures(self, plan: Plan, records: Any, position: int) -> dict[str, Any]:
        tests = [{"epochs": test.epoch + 1 if index else 0, "position": test.position, "failures": list(test.values)}
                 for index, test in enumerate(control_tests(plan, records, position))]
        return super().measures(plan, records, position) | ({"control": tests} if tests else {})


def _phases(first: int, moves: int) -> tuple[Phase, Phase]:
    """A presentation that only starts the pole, and the moves."""
    gates = (("control", (1.0,)), ("move", pulse(NETWORK_STEPS, -1)), ("restart", pulse(NETWORK_STEPS * EPISODE, -1)))
    total = moves * NETWORK_STEPS
    return (Phase("start_pole", 1, NETWORK_STEPS, (first,), "", (("restart", (1.0,)), ("begin", (1.0,)))),
            Phase(PHASE, moves, NETWORK_STEPS, (first + 1,), "", gates,
                  ((STREAM, Record(every=total, offset=total - 1)),)))


def _with_tests(protocol: Protocol, epochs: tuple[int, ...], phases: tuple[Phase, Phase]) \
        -> tuple[Protocol, tuple[int, ...]]:
    names = [phase.name for phase in phases]
    found: list[tuple[str, int]] = []
    for name, epoch in zip(protocol.sequence, epochs, strict=True):
        tests = [(test, epoch) for test in names if name == "train"]
        found += [*(() if ("train", 0) in found else tests), (name, epoch), *tests]
    streams = (*protocol.streams, Stream(STREAM, (FAILURES,)))
    sequence, counted = tuple(name for name, _ in found), tuple(epoch for _, epoch in found)
    return Protocol((*protocol.phases, *phases), sequence, streams), counted


def control_tests(plan: Plan, records: Any, position: int) -> list[Measured]:
    """The number of falls in every control test that has been completed; the first one is before the first epoch."""
    def falls(part: Part, index: int) -> tuple[float, ...]:
        return tuple(int(n) for n in records.rows(STREAM, FAILURES)[index][:, 0])

    return completed(plan, (PHASE,), position, falls)
