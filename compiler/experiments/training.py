"""A circuit taught by samples and labels in memory, with its own learning rules, in the manner of scikit-learn.

    found = train(cortexc.load("pal_digits"), X, y, epochs=5)
    found.accuracy, found.predict(X[:10]), found.weights["WPP_0.w"]

It is the task `classify` (tasks/classify.py): samples are presented one after the other, and the largest output wins.
X203 samples or labels that are none; D4 codes for what the task refuses of them.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from cortexc.compiler.experiments.config import Experiment, load_experiment
from cortexc.compiler.experiments.files import write_npz, write_safetensors, write_text
from cortexc.compiler.experiments.quantities import numbers, shaped
from cortexc.compiler.experiments.results import final_arrays, weights
from cortexc.compiler.experiments.session import Session
from cortexc.compiler.experiments.simulation import check_is_graph
from cortexc.compiler.experiments.tasks.plans import is_whole, readouts
from cortexc.compiler.front.builder import Network
from cortexc.compiler.ir import CortexError, Graph, show_graph

Log = Callable[[int, Mapping[str, float]], object]
"""Called as log(epoch, {"accuracy": ...}) after every epoch: what TensorBoard, MLflow and the like are told."""


@dataclass(frozen=True)
class Trained:
    """What was learnt. `accuracy`: on what was held out, after every epoch; `weights`: `projection.w` -> an array;
    `arrays`: all that a graph can start from; `classes`: the labels, in the order of the output's cells."""

    accuracy: tuple[float, ...]
    weights: Mapping[str, np.ndarray]
    arrays: Mapping[str, np.ndarray]
    classes: np.ndarray
    tables: Mapping[str, Any]
    samples: Mapping[str, np.ndarray]

    def scores(self, X: Any) -> np.ndarray:
        """(samples, classes): the mean of the output's readouts, without learning. Raises X203."""
        rows, inputs = _samples("X", X), self.samples["train_x"].shape[1]
        if rows.shape[1] != inputs:
            raise CortexError("X203", f"X has shape {rows.shape}; it must be (samples, {inputs}), as it was taught.")
        shown = {**self.samples, "test_x": rows, "test_y": np.zeros(len(rows), int)}
        tables = {**self.tables, "protocol": {**self.tables["protocol"], "epochs": 0, "settling_steps": 0}}
        with tempfile.TemporaryDirectory() as folder, _session(Path(folder), tables, shown, self.arrays) as run:
            run.run()
            return readouts(run.plan, run.records, [*run.plan.parts()][-1], 0)[0]

    def predict(self, X: Any) -> np.ndarray:
        """(samples,): the class whose output is largest."""
        return self.classes[self.scores(X).argmax(axis=1)]

    def score(self, X: Any, y: Any) -> float:
        """The share of samples that is right. Raises X203."""
        rows = _samples("X", X)
        return float(np.mean(self.predict(rows) == _labels(y, len(rows))))

    def __repr__(self) -> str:
        last = f"{self.accuracy[-1]:.1%} of what was held out" if self.accuracy else "untrained"
        return f"Trained for {len(self.accuracy)} epochs on {len(self.samples['train_x'])} samples: {last}"

    def _repr_html_(self) -> str:
        from cortexc.compiler.experiments.plots import axes, picture

        figure, drawn = axes("", "epoch", "accuracy, held out")
        drawn.plot(range(1, len(self.accuracy) + 1), self.accuracy, marker="o")
        return f"<p>{escape(repr(self))}</p>{picture('Accuracy', figure)}"


def train(circuit: Experiment | Graph | Network, X: Any, y: Any, *, epochs: int = 10, held_out: float = 0.2,
          steps: int | None = None, output: str = "", into: str = "", target_into: str = "",
          target: tuple[float, float] = (1.0, 0.1), seed: int = 0, backend: str = "native", log: Log | None = None,
          **protocol: Any) -> Trained:
    """Teaches a circuit to tell classes: X (samples, inputs), y (samples,) of numbers or words.

        found = train(net, X, y, output="out.u", steps=4, epochs=6, schedule={"learn": {"at": [-1]}})

    A graph or `Network` has an input for the sample and one for the target, its first and second unless `into` and
    `target_into` name them, and an `output`, of a cell per class. An experiment brings its own protocol. `held_out`:
    the share of each class that is tested after every epoch and not learnt. `steps`: of a presentation. `target`: what
    the second input has for the right class, and for the others. `protocol`: other keys of the task `classify`, such as
    `train_gates`, `minibatch`, `readout`. Raises X203; and what the task raises for a circuit without inputs (X124), of
    other sizes (X120), for a key (X103) or value (X104).
    """
    rows = _samples("X", X)
    classes, answers = np.unique(_labels(y, len(rows)), return_inverse=True)
    right = shaped("target", target, (2,)).tolist()
    test = _held_out(answers, held_out, seed)
    data = {"train_x": rows[~test], "train_y": answers[~test], "test_x": rows[test], "test_y": answers[test]}
    tables: dict[str, Any]
    if isinstance(circuit, Experiment):
        tables, arrays = circuit.tables(), {}
    else:
        graph = circuit.graph if isinstance(circuit, Network) else circuit
        check_is_graph(graph)
        graph = graph.with_(outputs=(("output", output),)) if output else graph
        tables, arrays = {"model": {"text": show_graph(graph)}}, dict(graph.arrays)
    tables["protocol"] = {**tables.get("protocol", {}), "task": "classify", "epochs": epochs, "test_every": 1,
                          "validation": "", **protocol, **({} if steps is None else {"presentation_steps": steps})}
    tables["data"] = {"into": into, "target_into": target_into, "target": right}
    tables["run"] = {**tables.get("run", {}), "seeds": [seed], "backend": backend}
    with tempfile.TemporaryDirectory() as folder, _session(Path(folder), tables, data, arrays) as run:
        accuracy = _epochs(run, epochs, log)
        learnt = {name: array[0] for name, array in weights(run).items()}
        kept = {**run.compiled.graph.arrays, **final_arrays(run)}
        return Trained(tuple(accuracy), learnt, kept, classes, tables, data)


def _epochs(run: Session, epochs: int, log: Log | None) -> list[float]:
    """Accuracy after each."""
    found: list[float] = []
    for epoch in range(1, epochs + 1):
        run.run(run.plan.end_of_epoch(epoch) - run.position)
        tested = run.experiment.protocol.scores(run.plan, run.records, run.position)
        found.append(tested[-1].mean)
        if log is not None:
            log(epoch, {"accuracy": found[-1]})
    return found


def _session(folder: Path, tables: Mapping[str, Any], data: Mapping[str, np.ndarray],
             arrays: Mapping[str, np.ndarray]) -> Session:
    """Everything that the experiment reads lies in a folder, which may go when the session is there."""
    model = dict(tables["model"])
    write_npz(folder / "data.npz", data)
    if text := model.pop("text", ""):
        write_text(folder / "circuit.ir", text)
        model["circuit"] = str(folder / "circuit.ir")
    if arrays:
        write_safetensors(folder / "arrays.safetensors", arrays)
        model["arrays"] = str(folder / "arrays.safetensors")
    return Session(load_experiment({**tables, "model": model,
                                    "data": {**tables["data"], "name": str(folder / "data.npz")}}))


def _samples(name: str, values: Any) -> np.ndarray:
    """(samples, inputs). Raises X203, X204."""
    found = numbers(name, values)
    if found.ndim != 2 or not len(found):
        raise CortexError("X203", f"{name} has shape {found.shape}; it must be (samples, inputs).")
    return found


def _labels(values: Any, samples: int) -> np.ndarray:
    """(samples,) of whole numbers, words or truth values. Raises X203."""
    try:
        found = np.array(values)
    except ValueError:  # rows of different lengths
        found = np.array(None)
    if found.dtype.kind == "O" and all(isinstance(each, str) for each in found.flat):
        found = found.astype(str)
    parts = found.dtype.kind == "f" and (found != np.floor(found)).any()
    if found.shape != (samples,) or found.dtype.kind not in "biufUS" or parts or isinstance(values, np.ma.MaskedArray):
        raise CortexError("X203", f"y has shape {found.shape} and type {found.dtype}; it must have a class, a whole "
                                  f"number or a word, for each of {samples} samples.")
    return found


def _held_out(answers: np.ndarray, share: float, seed: int) -> np.ndarray:
    """A share of each class, one at least. Raises X203."""
    counts = np.bincount(answers)
    if not is_whole(seed) or seed < 0:
        raise CortexError("X203", f"seed is {seed!r}; it must be a whole number, 0 or more.")
    if isinstance(share, bool) or not isinstance(share, float | int) or not 0 < share < 1 or counts.min() < 2:
        raise CortexError("X203", f"held_out is {share!r}, of classes of {counts.min()} samples and more; it must lie "
                                  "between 0 and 1, and every class needs 2 samples.")
    draw, test = np.random.default_rng(seed), np.zeros(len(answers), bool)
    for each, count in enumerate(counts):
        test[draw.permutation(np.flatnonzero(answers == each))[:min(max(round(share * count), 1), count - 1)]] = True
    return test
