"""The task `conditioning` (after Izhikevich 2007, Fig 1): one stimulus of several is followed by reward.

In every trial the cells of one stimulus spike together once; if it is the first one, a reward comes 200 to 800 steps
later, so that other spikes lie between. Tests, without learning and reward, are before and after training. Gates:
`begin` in a trial's first step, `window` for the steps after the stimulus in which spikes are the response, `learn` in
training. The circuit's first input is the stimulus, its second one the reward; its output, read in a trial's last step,
is the response, cell by cell. The accuracy is the chance that a response to the rewarded stimulus is larger than one to
another (0.5: they are alike; ties count half).

X122 a protocol that cannot be made; X124 a circuit that does not fit.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

import msgspec
import numpy as np

from cortexc.compiler.experiments.tables import Samples, Setting
from cortexc.compiler.experiments.tasks.base import Task, Teacher
from cortexc.compiler.experiments.tasks.plans import (
    READOUT,
    Column,
    Measured,
    Plan,
    columns,
    completed,
    laid_out,
    output,
    pulse,
    read_in,
    recorded,
)
from cortexc.compiler.ir import CortexError, Graph
from cortexc.compiler.ir.protocol import Phase, Protocol, Record

HELD = 10
"""Steps for which an input stays the same; a stimulus and a reward are there in the first of them, by gate `pulse`."""
TRIAL, SHOWN, WINDOW, DELAY = 1200, 100, 20, (200, 800)
"""Steps of a trial; when the stimulus comes; the steps that count as response; the range of the reward's delay."""
GENERATORS = {"train": 42, "test": 44}
"""Seeds of the trials."""
GATES = ("begin", "pulse", "window", "learn")


class Conditioning(Task, frozen=True, tag="conditioning"):
    """`dataset_size`: trials of an epoch; `tests`: trials of a test; `stimuli`: groups of equal size, into which the
    cells of the first input fall."""

    dataset_size: Samples = 200
    tests: Samples = 100
    stimuli: Annotated[int, msgspec.Meta(ge=2, le=1000)] = 5

    @property
    def steps(self) -> int:
        return HELD

    def plan(self, setting: Setting, graph: Graph, teacher: Teacher | None) -> Plan:
        """A test, training, and a test after every epoch. Raises X122, X124."""
        into, reward = self._inputs(graph)
        counts = {"train": self.dataset_size, "test": self.tests}
        shown = {name: np.random.default_rng(seed).integers(0, self.stimuli, counts[name])
                 for name, seed in GENERATORS.items()}
        units = TRIAL // HELD
        samples = np.zeros((sum(counts.values()), units, columns(graph)[-1].stop))
        everything = np.concatenate([shown["train"], shown["test"]])
        groups = np.eye(self.stimuli)[everything].repeat(into.size // self.stimuli, axis=1)
        samples[:, SHOWN // HELD, into.start:into.stop] = groups
        delays = np.random.default_rng(GENERATORS["train"] + 1).integers(*DELAY, counts["train"]) // HELD
        rewarded = np.flatnonzero(shown["train"] == 0)
        samples[rewarded, SHOWN // HELD + delays[rewarded], reward.start:reward.stop] = 1.0
        phases = (self._phase("train", 0, counts["train"]),
                  self._phase("test", counts["train"] * units, counts["test"]))
        sequence, epochs = laid_out(["test"], self.epochs, lambda _: ["train", "test"])
        labels = {name: np.tile(shown[name], (graph.seeds, 1)) for name in counts}
        return Plan(Protocol(phases, sequence, read_in(counts, output(graph))), samples.reshape(-1, samples.shape[2]),
                    epochs, labels, "trials of conditioning")

    def _inputs(self, graph: Graph) -> tuple[Column, Column]:
        found, missing = columns(graph), [gate for gate in GATES if gate not in graph.gates]
        if missing or len(found) != 2 or found[0].size % self.stimuli:
            raise CortexError("X124", f"task conditioning needs gates {', '.join(GATES)}, and two inputs, the first of "
                                      f"them of {self.stimuli} equal groups; '{graph.name}' has gates "
                                      f"{', '.join(graph.gates)} and inputs of {[c.size for c in found]} cells.")
        if min(self.dataset_size, self.tests) < 1 or graph.samples > 1:
            raise CortexError("X122", f"task conditioning: dataset_size = {self.dataset_size} and tests = {self.tests} "
                                      f"are at least 1, minibatch = {graph.samples} is at most 1.")
        return found[0], found[1]

    def _phase(self, name: str, first: int, count: int) -> Phase:
        gates = {"begin": pulse(TRIAL, 0), "pulse": pulse(HELD, 0), "window": pulse(TRIAL, SHOWN, SHOWN + WINDOW)}
        gates |= {"learn": (1.0,)} if name == "train" else {}
        return Phase(name, count * TRIAL // HELD, HELD, (first,), "", tuple(gates.items()),
                     ((f"{READOUT}{name}", Record(every=TRIAL, offset=TRIAL - 1)),))

    # ---- what is measured

    def scores(self, plan: Plan, records: Any, position: int) -> list[Measured]:
        """Of every completed test; nan where a stimulus was never shown."""
        def larger(first: np.ndarray, second: np.ndarray) -> float:
            found = (first[:, None] > second) + 0.5 * (first[:, None] == second)
            return float(np.mean(found)) if found.size else float("nan")

        return completed(plan, ("test",), position, lambda part, index: tuple(
            larger(r[labels == 0], r[labels != 0]) for r, labels in self._responses(plan, records, index)))

    def measures(self, plan: Plan, records: Any, position: int) -> dict[str, Any]:
        """`responses`: of every test, per seed the mean response to every stimulus, in spikes."""
        def of(part: Any, index: int) -> tuple[Any, ...]:
            return tuple([float(r[labels == k].mean()) if (labels == k).any() else None for k in range(self.stimuli)]
                         for r, labels in self._responses(plan, records, index))

        return {"chance": 0.5, "responses": [list(each.values) for each in completed(plan, ("test",), position, of)]}

    def _responses(self, plan: Plan, records: Any, index: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Of a test, per seed the spikes of all cells in every trial, and its labels."""
        labels = plan.labels["test"]
        spikes = recorded(plan, records, f"{READOUT}test", index, labels.shape[1]).sum(axis=-1)
        return zip(np.ascontiguousarray(spikes.T), labels, strict=True)
