"""The task `match_to_sample` (specs/error_neuron.md 8.2): was the second cue the first one?

A trial is a fixation, a cue of 1 or -1, a delay of random length and a second cue; the target is 1 for a match and -1
for none. The circuit must remember the first cue by its membranes. In training it learns in the last step of a trial;
copied feedback is refreshed (`copy`) and the target is there in all of them, in validations and tests neither. `reset`
starts a trial. The error is the squared difference in the last step of a trial, averaged over trials.

X122 a protocol that cannot be made; X124 a circuit that lacks what the task needs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cortexc.compiler.experiments.tables import Count, Samples, Setting
from cortexc.compiler.experiments.tasks.base import Task, Teacher
from cortexc.compiler.experiments.tasks.plans import (
    ERRORS,
    TARGET,
    Plan,
    check_gates,
    columns,
    laid_out,
    output,
    validated,
)
from cortexc.compiler.experiments.tasks.teacher_student import target_delay
from cortexc.compiler.ir import CortexError, Graph
from cortexc.compiler.ir.protocol import Phase, Protocol, Record, Stream

FIXATION, CUE, DELAYS = 250, 250, (50, 250)
"""Steps of the parts of a trial; delays are drawn from this range, its end excluded."""
GENERATORS = {"train": 42, "validation": 123456, "test": 44}
"""Seeds of the trials."""
GATES = ("learn_forward", "copy", "reset", "target")


@dataclass(frozen=True)
class Trials:
    """Inputs and targets of every step of some trials; `starts` and `ends`: first and last step of each."""

    inputs: np.ndarray
    targets: np.ndarray
    starts: np.ndarray
    ends: np.ndarray

    @property
    def steps(self) -> int:
        return len(self.inputs)


class MatchToSample(Task, frozen=True, tag="match_to_sample"):
    """`dataset_size`: trials of each kind. A validation comes before every `validation_every`-th epoch (by default
    every one; 0: none)."""

    dataset_size: Samples = 100
    validation_every: Count | None = None

    def plan(self, setting: Setting, graph: Graph, teacher: Teacher | None) -> Plan:
        """Per epoch a validation and the training trials; a test at the end. Raises X122, X124."""
        self._check(setting, graph)
        found = {name: trials(seed, self.dataset_size) for name, seed in GENERATORS.items()}
        samples = np.concatenate([np.stack((t.inputs, t.targets), axis=1) for t in found.values()])
        firsts = np.cumsum([0, *(t.steps for t in found.values())])
        phases = tuple(_phase(name, t, int(first)) for (name, t), first in zip(found.items(), firsts, strict=False))
        scored = ("validation", "test")
        streams = tuple(Stream(f"{ERRORS}{name}", (output(graph), TARGET)) for name in scored)
        every = 1 if self.validation_every is None else self.validation_every
        sequence, epochs = laid_out([], self.epochs, lambda epoch: [*validated(epoch, every), "train"], ["test"])
        return Plan(Protocol(phases, sequence, streams), samples, epochs, {}, "delayed match-to-sample trials",
                    dict.fromkeys(scored, "linear"))

    def _check(self, setting: Setting, graph: Graph) -> None:
        if "learn_feedback" in graph.gates or target_delay(setting.model) or graph.samples > 1:
            raise CortexError("X122", "task match_to_sample learns forward weights in the last step of a trial, one "
                                      "sample at a time: no learned feedback, no delayed target, no minibatch.")
        if self.dataset_size < 1:
            raise CortexError("X122", "protocol.dataset_size = 0: there are no trials.")
        sizes = [column.size for column in columns(graph)]
        if sizes != [1, 1]:
            raise CortexError("X124", f"task match_to_sample needs a circuit with one input and one output, but "
                                      f"'{graph.name}' has exogenous inputs of {sizes} cells.")
        check_gates(self.task, graph, GATES, "Use circuit error-neuron with reset = true.")


def trials(seed: int, count: int) -> Trials:
    """Trials from a generator: for each its delay, then its two cues; the second one lasts a step longer."""
    generator = np.random.default_rng(seed)
    inputs, targets, lengths = [], [], []
    for _ in range(count):
        delay = int(generator.integers(*DELAYS))
        first, second = (float(generator.choice([-1, 1])) for _ in range(2))
        trial = np.repeat([0.0, first, 0.0, second], [FIXATION, CUE, delay, CUE + 1])
        inputs.append(trial)
        targets.append(np.full(len(trial), abs(first + second) - 1))
        lengths.append(len(trial))
    ends = np.cumsum(lengths, dtype=np.int64)
    empty = np.zeros(0)
    return Trials(np.concatenate([empty, *inputs]), np.concatenate([empty, *targets]), ends - lengths, ends - 1)


def _phase(name: str, found: Trials, first: int) -> Phase:
    """Every step is a presentation."""
    def column(at: np.ndarray) -> tuple[float, ...]:
        values = np.zeros(found.steps)
        values[at] = 1.0
        return tuple(values.tolist())

    if name == "train":
        gates = (("reset", column(found.starts)), ("learn_forward", column(found.ends)), ("copy", (1.0,)),
                 ("target", (1.0,)))
        return Phase(name, found.steps, 1, (first,), "", gates)
    record = (f"{ERRORS}{name}", Record(steps=tuple(found.ends.tolist())))
    return Phase(name, found.steps, 1, (first,), "", (("reset", column(found.starts)),), (record,))
