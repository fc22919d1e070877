"""The task `autoencode` (specs/pal.md 5.3): a circuit that reconstructs its input, judged by its code of it.

An epoch shows the training samples in minibatches, `presentation_steps` each, in a new order. Before the first epoch
and after every `probe_every`-th, training and test samples are shown for `probe_steps` without learning or target, and
`code`, the rates of a narrow layer, is read at the end. A linear classifier (scikit-learn's SGDClassifier on
standardised codes) learns the labels of the training samples' codes; its accuracy on those of the test is the score.

X122 a protocol that cannot be made; X120 data that do not fit the circuit.
"""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec
from typing import Annotated, Any

import msgspec
import numpy as np

from cortexc.compiler.experiments.data.datasets import Dataset
from cortexc.compiler.experiments.data.loading import no_scikit_learn
from cortexc.compiler.experiments.tables import Epochs, Length, Setting
from cortexc.compiler.experiments.tasks.base import Presented, Reset, Teacher
from cortexc.compiler.experiments.tasks.classify import load_sets
from cortexc.compiler.experiments.tasks.plans import (
    READOUT,
    Measured,
    Plan,
    completed,
    gate_columns,
    laid_out,
    one_input,
    read_in,
)
from cortexc.compiler.ir import CortexError, Graph
from cortexc.compiler.ir.protocol import Phase, Protocol, Record

PROBES = ("label", "test")


class Autoencode(Presented, frozen=True, tag="autoencode"):
    """`code`: the quantity that is read. `minibatch`: samples that are shown at once and share the weights.
    `test_gates`: the gates that are on while it is read."""

    reads = ("name", "split", "folder", "limits", "normalise", "split_seed", "valid_fraction", "crop")

    code: str = ""
    minibatch: Annotated[int, msgspec.Meta(ge=1, le=10**5)] = 1
    probe_steps: Length = 10
    probe_every: Epochs = 1
    test_gates: list[str] | None = None
    reset: Reset = "none"

    def plan(self, setting: Setting, graph: Graph, teacher: Teacher | None) -> Plan:
        """Raises D401 to D408, D411, X120, X122, X126."""
        data = load_sets(setting.data, 1)[0]
        samples = np.concatenate([data.require("train")[0], data.require("test")[0]])
        self._check(graph, data)
        count = len(data.train_x)
        train = Phase("train", count // graph.samples, self.steps, (0,), "" if self.shuffle is False else "train",
                      gate_columns(self.gates(graph.gates)), rows=count if graph.samples > 1 else 0)
        labels = {"label": data.train_y, "test": data.part("test")[1]}
        probes = (self._probe(graph, *each) for each in (("label", 0, count), ("test", count, len(labels["test"]))))
        every = self.probe_every or self.epochs
        sequence, epochs = laid_out(
            PROBES, self.epochs, lambda epoch: ["train", *(PROBES if (epoch + 1) % every == 0 else ())])
        return Plan(Protocol((train, *probes), sequence, read_in(PROBES, self.code)), samples, epochs,
                    {name: np.tile(each, (graph.seeds, 1)) for name, each in labels.items()}, data.source)

    def _check(self, graph: Graph, data: Dataset) -> None:
        if find_spec("sklearn") is None:
            raise no_scikit_learn("the linear classifier of task autoencode")
        one_input(self.task, graph, data.n_in, "With circuit 'layered-pal', set model.reconstructs = true.")
        if graph.samples > len(data.train_x) or not self.code:
            raise CortexError("X122", f"task autoencode reads '{self.code}' and shows {graph.samples} of "
                                      f"{len(data.train_x)} training samples at once.",
                              "Name a quantity such as L2.rate in protocol.code, and a smaller minibatch.")

    def _probe(self, graph: Graph, name: str, first: int, count: int) -> Phase:
        default = [gate for gate in graph.gates if gate == "noise"]
        gates = gate_columns(default if self.test_gates is None else self.test_gates)
        return Phase(name, -(-count // graph.samples), self.probe_steps, (first,), "", gates,
                     ((f"{READOUT}{name}", Record(at=(self.probe_steps - 1,))),),
                     rows=count if graph.samples > 1 else 0)

    def scores(self, plan: Plan, records: Any, position: int) -> list[Measured]:
        """The probe's accuracy on the test samples, every time they have been shown: first by the untrained circuit."""
        codes = {name: self._codes(plan, records, name) for name in PROBES}
        found = completed(plan, ("test",), position, lambda part, index: tuple(
            probe(codes["label"][index][seed], plan.labels["label"][seed], codes["test"][index][seed], labels)
            for seed, labels in enumerate(plan.labels["test"])))
        return [*(replace(untrained, epoch=-1) for untrained in found[:1]), *found[1:]]

    def _codes(self, plan: Plan, records: Any, name: str) -> list[np.ndarray]:
        """Every time they were shown: (seeds, samples, n)."""
        rows, labels = records.rows(f"{READOUT}{name}", self.code), plan.labels[name]
        count = next(phase.count for phase in plan.protocol.phases if phase.name == name)
        seeds, width = len(labels), rows.shape[-1]
        times = [rows[at:at + count] for at in range(0, len(rows) - count + 1, count)]
        return [each.reshape(count, seeds, -1, width).swapaxes(0, 1).reshape(seeds, -1, width)[:, :labels.shape[1]]
                for each in times]


def probe(codes: np.ndarray, labels: np.ndarray, test_codes: np.ndarray, test_labels: np.ndarray) -> float:
    """Accuracy of a linear classifier that has seen `codes` (samples, n)."""
    from sklearn.linear_model import SGDClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    classifier = make_pipeline(StandardScaler(), SGDClassifier(max_iter=1000, tol=1e-3, random_state=0))
    return float(classifier.fit(codes, labels).score(test_codes, test_labels))
