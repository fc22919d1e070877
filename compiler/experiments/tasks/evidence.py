"""The task `evidence` (Bellec et al. 2020, Fig 4; Morcos & Harvey 2016): on which side were there more cues?

A trial shows `cues` cues of 100 steps, each on the left or on the right and followed by a gap of 50 steps, then nothing
for `delay_steps`, then a signal for 150 steps, in which the answer is asked for. The input cells are four groups of
equal size: left, right, signal, and a background that fires at a quarter of their rate all the time. One side is more
likely in every trial (0.7); the target is the side of most cues. Gates: `begin` in a trial's first step, `recall` while
the answer is asked for, `learn` in training, `apply` in the last step of every `update_every`-th trial. The circuit's
output, summed over the answer's steps, is read in a trial's last step; the largest wins.

X122 a protocol that cannot be made; X120 and X124 a circuit that does not fit.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
import numpy as np

from cortexc.compiler.experiments.tables import Count, Samples, Setting
from cortexc.compiler.experiments.tasks.base import Task, Teacher
from cortexc.compiler.experiments.tasks.plans import (
    READOUT,
    Measured,
    Plan,
    after_epochs,
    check_gates,
    columns,
    completed,
    laid_out,
    output,
    pulse,
    read_in,
    recorded,
    two_inputs,
)
from cortexc.compiler.ir import CortexError, Graph
from cortexc.compiler.ir.protocol import Phase, Protocol, Record

HELD = 50
"""Steps for which an input stays the same: everything lasts a multiple of it."""
CUE, GAP, RECALL = 2, 1, 3
"""Lengths of the parts of a trial, in units of HELD."""
LIKELY, BACKGROUND = 0.7, 0.25
GENERATORS = {"train": 42, "test": 44}
"""Seeds of the trials."""
GATES = ("begin", "recall", "learn", "apply")


class Evidence(Task, frozen=True, tag="evidence"):
    """`dataset_size`: trials of an epoch; `tests`: trials of a test, one after every `test_every`-th epoch and at the
    end. `update_every`: trials after which what was summed is applied."""

    dataset_size: Samples = 64
    tests: Samples = 100
    test_every: Count = 1
    cues: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 7
    delay_steps: Annotated[int, msgspec.Meta(ge=0, le=10**6)] = 1000
    update_every: Annotated[int, msgspec.Meta(ge=1, le=10**6)] = 32

    @property
    def units(self) -> int:
        """Of HELD steps, in a trial."""
        return self.cues * (CUE + GAP) + self.delay_steps // HELD + RECALL

    @property
    def steps(self) -> int:
        return HELD

    def plan(self, setting: Setting, graph: Graph, teacher: Teacher | None) -> Plan:
        """Raises X120, X122, X124."""
        self._check(graph)
        into, target = two_inputs(self.task, graph)
        if into.size % 4 or target.size != 2:
            raise CortexError("X120", f"circuit '{graph.name}' has {into.size} inputs and {target.size} answers; task "
                                      "evidence needs inputs in four groups, and two answers.")
        counts = {"train": self.dataset_size, "test": self.tests}
        found = {name: self.trials(seed, counts[name]) for name, seed in GENERATORS.items()}
        samples = np.zeros((sum(counts.values()) * self.units, columns(graph)[-1].stop))
        levels = np.concatenate([groups for groups, _ in found.values()])
        samples[:, into.start:into.stop] = levels.repeat(into.size // 4, axis=1)
        sides = np.concatenate([labels for _, labels in found.values()]).repeat(self.units)
        samples[:, target.start:target.stop] = np.eye(2)[sides]
        phases = (self._phase("train", 0, counts["train"]),
                  self._phase("test", counts["train"] * self.units, counts["test"]))
        sequence, epochs = laid_out([], self.epochs, after_epochs(self.epochs, self.test_every), ["test"])
        labels = {name: np.tile(found[name][1], (graph.seeds, 1)) for name in counts}
        return Plan(Protocol(phases, sequence, read_in(counts, output(graph))), samples, epochs, labels,
                    "trials of accumulated evidence")

    def _check(self, graph: Graph) -> None:
        check_gates(self.task, graph, GATES, "Use circuit eprop.")
        whole = self.delay_steps % HELD == 0 and self.dataset_size % self.update_every == 0
        if not whole or min(self.dataset_size, self.tests) < 1 or graph.samples > 1:
            raise CortexError("X122", f"task evidence: delay_steps = {self.delay_steps} must be a multiple of {HELD}, "
                                      f"dataset_size = {self.dataset_size} of update_every = {self.update_every}; "
                                      f"tests = {self.tests} at least 1, minibatch = {graph.samples} at most 1.")

    def trials(self, seed: int, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Levels of the four groups, (count * units, 4), and the sides with most cues (count,); ties go right."""
        generator, levels = np.random.default_rng(seed), np.zeros((count, self.units, 4))
        levels[:, :, 3] = BACKGROUND
        levels[:, -RECALL:, 2] = 1.0
        likely = generator.integers(0, 2, count)
        others = generator.uniform(size=(count, self.cues)) >= LIKELY
        sides = np.where(others, 1 - likely[:, None], likely[:, None])
        for cue in range(self.cues):
            for unit in range(cue * (CUE + GAP), cue * (CUE + GAP) + CUE):
                levels[np.arange(count), unit, sides[:, cue]] = 1.0
        return levels.reshape(-1, 4), (2 * sides.sum(axis=1) >= self.cues).astype(np.int64)

    def _phase(self, name: str, first: int, count: int) -> Phase:
        length = self.units * HELD
        gates = {"begin": pulse(length, 0), "recall": pulse(length, length - RECALL * HELD, length)}
        if name == "train":
            gates |= {"learn": (1.0,), "apply": pulse(length * self.update_every, -1)}
        return Phase(name, count * self.units, HELD, (first,), "", tuple(gates.items()),
                     ((f"{READOUT}{name}", Record(every=length, offset=length - 1)),))

    # ---- what is measured

    def scores(self, plan: Plan, records: Any, position: int) -> list[Measured]:
        """The accuracy of every completed test."""
        return completed(plan, ("test",), position, lambda part, index: self._accuracy(plan, records, "test", index))

    def measures(self, plan: Plan, records: Any, position: int) -> dict[str, Any]:
        """`training`: per epoch the share of trials that were answered right while it learned, per seed."""
        found = completed(plan, ("train",), position,
                          lambda part, index: self._accuracy(plan, records, "train", index))
        return {"chance": 0.5, "training": [list(each.values) for each in found]}

    def _accuracy(self, plan: Plan, records: Any, phase: str, index: int) -> tuple[float, ...]:
        labels = plan.labels[phase]
        rows = recorded(plan, records, f"{READOUT}{phase}", index, labels.shape[1])
        return tuple(float(np.mean(rows[:, seed].argmax(axis=-1) == own)) for seed, own in enumerate(labels))
