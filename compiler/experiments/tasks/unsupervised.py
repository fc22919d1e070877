"""The task `unsupervised`: samples are shown without targets; what cells respond to is their label afterwards.

Every presentation has `shown_steps` steps with input and a rest without. A circuit takes part by gates of these names,
as far as it has them: `show` while there is input, `begin` in the first step, `normalise` in the last one, `learn` in
training. `pace` is 1 in training, and `slow_pace` for the last `slow_samples` of an epoch, so that weights become means
over more samples. Its output is what is counted, by the end of a presentation: spikes since its beginning, cell by
cell. In training samples come as they stand. Then the last `label_samples` of them are shown without learning, and
every cell gets the class to which it responds most, on average over the samples of a class; of a test sample, the
class whose cells respond most on average is the answer.

X122 a protocol that cannot be made; X120 data that do not fit the circuit.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from cortexc.compiler.experiments.tables import Count, Length, Samples, Setting
from cortexc.compiler.experiments.tasks.base import Presented, Reset, Teacher
from cortexc.compiler.experiments.tasks.classify import load_sets
from cortexc.compiler.experiments.tasks.plans import (
    READOUT,
    Measured,
    Plan,
    columns,
    completed,
    laid_out,
    one_input,
    output,
    pulse,
    read_in,
    recorded,
)
from cortexc.compiler.ir import CortexError, Graph
from cortexc.compiler.ir.protocol import Phase, Protocol, Record

SLOW = "train_slow"
"""The phase of the last samples of an epoch."""
WINDOWS = 20
"""Parts of an epoch's training samples, for the curve."""


class Unsupervised(Presented, frozen=True, tag="unsupervised"):
    """`shown_steps`: 0, and samples are shown during the whole presentation. `label_samples`: the training samples, the
    last ones, that give cells their labels. `records_training`: responses in training are kept, for a curve."""

    reads = ("name", "split", "folder", "limits", "normalise", "split_seed", "valid_fraction", "crop")


    shown_steps: Count = 0
    slow_samples: Samples = 0
    slow_pace: float = 0.2
    label_samples: Samples = 10_000
    records_training: bool = True
    reset: Reset = "none"
    presentation_steps: Length | None = None

    def plan(self, setting: Setting, graph: Graph, teacher: Teacher | None) -> Plan:
        """Raises D401 to D408, X120, X122, X124, X126."""
        data = load_sets(setting.data, 1)[0]
        (train, train_labels), (test, test_labels) = data.require("train"), data.require("test")
        into = one_input(self.task, graph, data.n_in)
        self._check(graph, len(train))
        samples = np.zeros((len(train) + len(test), columns(graph)[-1].stop))
        samples[:, into.start:into.stop] = np.concatenate([train, test])
        known = min(self.label_samples, len(train))
        slow = len(train) - self.slow_samples
        parts = {"train": (0, train_labels[:slow]), SLOW: (slow, train_labels[slow:]),
                 "label": (len(train) - known, train_labels[len(train) - known:]), "test": (len(train), test_labels)}
        phases = tuple(self._phase(graph, name, first, len(labels)) for name, (first, labels) in parts.items())
        trained = ["train", *([SLOW] if self.slow_samples else [])]
        sequence, epochs = laid_out([], self.epochs, lambda _: trained, ["label", "test"])
        kept = [name for name in ("train", "label", "test") if name != "train" or self.records_training]
        protocol = Protocol(phases, sequence, read_in(kept, output(graph)))
        labels = {name: np.tile(train_labels if name == "train" else parts[name][1], (graph.seeds, 1))
                  for name in kept}
        return Plan(protocol, samples, epochs, labels, data.source, words=data.words)

    def _check(self, graph: Graph, train: int) -> None:
        few = not 0 < self.label_samples <= train or self.slow_samples > train
        if graph.samples > 1 or self.shown_steps > self.steps or few:
            raise CortexError("X122", f"task unsupervised shows one sample at a time (samples = {graph.samples}), for "
                                      f"{self.shown_steps} of {self.steps} steps, and takes {self.label_samples} of "
                                      f"{train} training samples for labels, {self.slow_samples} at a slow pace.",
                              "Shorten protocol.shown_steps, label_samples or slow_samples.")

    def _phase(self, graph: Graph, name: str, first: int, count: int) -> Phase:
        steps, shown = self.steps, self.shown_steps or self.steps
        patterns = {"show": pulse(steps, 0, shown), "begin": pulse(steps, 0)}
        if name in ("train", SLOW):
            patterns |= {"normalise": pulse(steps, -1)} | {gate: (1.0,) for gate in self.gates(["learn"])}
            patterns["pace"] = (self.slow_pace if name == SLOW else 1.0,)
        gates = tuple((gate, pattern) for gate, pattern in patterns.items() if gate in graph.gates)
        stream = f"{READOUT}{'train' if name == SLOW else name}"
        recorded = self.records_training or name not in ("train", SLOW)
        return Phase(name, count, steps, (first,), "", gates, ((stream, Record(at=(steps - 1,))),) if recorded else ())

    # ---- what is measured

    def scores(self, plan: Plan, records: Any, position: int) -> list[Measured]:
        """The accuracy of the test."""
        return completed(plan, ("test",), position, lambda part, index: tuple(
            float(np.mean(found == labels)) for found, labels in zip(*self._answers(plan, records), strict=True)))

    def measures(self, plan: Plan, records: Any, position: int) -> dict[str, Any]:
        """`assigned`: per seed the class of every cell, `confusion`: per seed the number of test samples of each class
        (rows) that got each answer, both after the test; `curve`: per seed and part of the training samples the share
        that is answered right with labels from the part before."""
        done = Counter(part.phase for part in plan.parts() if part.stop <= position)
        trained = done[SLOW if self.slow_samples else "train"]
        found: dict[str, Any] = {"curve": self._curve(plan, records, trained) if "train" in plan.labels else []}
        if not done["test"]:
            return found
        classes = _classes(plan)
        assigned = [assign(*pair, classes) for pair in self._responses(plan, records, "label")]
        confusion = [np.bincount(labels * classes + answers, minlength=classes**2).reshape(classes, classes).tolist()
                     for answers, labels in zip(*self._answers(plan, records), strict=True)]
        return found | {"assigned": [each.tolist() for each in assigned], "confusion": confusion}

    def _answers(self, plan: Plan, records: Any) -> tuple[list[np.ndarray], np.ndarray]:
        """Per seed the answers to the test samples; their labels."""
        given, asked = (self._responses(plan, records, phase) for phase in ("label", "test"))
        classes = _classes(plan)
        return ([answers(responses, assign(*known, classes), classes)
                 for known, (responses, _) in zip(given, asked, strict=True)], plan.labels["test"])

    def _responses(self, plan: Plan, records: Any, phase: str) -> list[tuple[np.ndarray, np.ndarray]]:
        """Per seed (presentations, cells) and their labels."""
        rows = recorded(plan, records, f"{READOUT}{phase}")
        return [(rows[:, seed], np.resize(labels, len(rows))) for seed, labels in enumerate(plan.labels[phase])]

    def _curve(self, plan: Plan, records: Any, epochs: int) -> list[list[float]]:
        size, classes = max(len(plan.labels["train"][0]) // WINDOWS, 1), _classes(plan)
        return [[float(np.mean(answers(responses[at:at + size], assign(
            responses[at - size:at], labels[at - size:at], classes), classes) == labels[at:at + size]))
            for at in range(size, epochs * len(plan.labels["train"][0]), size)]
            for responses, labels in self._responses(plan, records, "train")]


def _classes(plan: Plan) -> int:
    return int(max(labels.max() for labels in plan.labels.values())) + 1


def assign(responses: np.ndarray, labels: np.ndarray, classes: int) -> np.ndarray:
    """The class to which every cell responds most, on average; -1 for a cell that is silent.

    `responses` (samples, cells), `labels` (samples,)."""
    means = np.zeros((classes, responses.shape[1]))
    for label in range(classes):
        own = responses[labels == label]
        means[label] = own.mean(axis=0) if len(own) else 0.0
    return np.where(means.max(axis=0) > 0, means.argmax(axis=0), -1)


def answers(responses: np.ndarray, assigned: np.ndarray, classes: int) -> np.ndarray:
    """For every sample the class whose cells respond most, on average over its cells."""
    means = np.full((len(responses), classes), -1.0)
    for label in range(classes):
        own = responses[:, assigned == label]
        if own.shape[1]:
            means[:, label] = own.mean(axis=1)
    return means.argmax(axis=1)
