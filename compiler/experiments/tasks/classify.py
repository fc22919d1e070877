"""The task `classify`: per epoch a validation and a shuffled training phase, tests at the end and in between.

The output is read at some steps of every presentation; the mean of these is the score, and the largest wins.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any, Literal

import msgspec
import numpy as np

from cortexc.compiler.experiments.circuits import circuit_options
from cortexc.compiler.experiments.data.datasets import PARTS, Dataset, load_dataset
from cortexc.compiler.experiments.tables import Count, Data, Epochs, Model, Setting
from cortexc.compiler.experiments.tasks.base import Presented, Reset, Teacher
from cortexc.compiler.experiments.tasks.plans import (
    HALVED,
    RATE,
    READOUT,
    UPDATE,
    Column,
    Plan,
    after_epochs,
    columns,
    confusion,
    gate_columns,
    laid_out,
    output,
    pulse,
    read_in,
    validated,
    with_column,
    with_rate,
    with_updates,
)
from cortexc.compiler.ir import CortexError, Graph, unknown
from cortexc.compiler.ir.protocol import Phase, Presentation, Protocol, Record
from cortexc.compiler.microcircuits import CIRCUITS


class Classify(Presented, frozen=True, tag="classify"):
    """`minibatch`: samples that are shown at once and share the weights; what is left over of an epoch waits for
    another order. `readout`: steps of a presentation at which the output is read; by default the last four of five
    instants. `learning_lag`: steps at the start of a presentation
    in which rules do not learn, so that the new sample can reach all layers. `halve_at`: epochs (0-based) from which
    on all rules learn half as fast as before. `update_every`: increments of rules without an optimiser or with a
    low-pass are summed at the synapse and applied after every so many presentations (0: as the rule says).
    `validation`: its part of the data, before every `validation_every`-th epoch; a test follows every
    `test_every`-th. `test_gates`: the gates that are on in both."""

    reads = tuple(key for key in Data.__struct_fields__ if key not in ("path", "inputs"))

    minibatch: Annotated[int, msgspec.Meta(ge=1, le=10**5)] = 1
    readout: list[Count] = []
    learning_lag: Count = 0
    halve_at: list[Count] = []
    update_every: Epochs = 0
    test_gates: list[str] | None = None
    reset: Reset = "none"
    validation: Literal["", "train", "valid", "test"] = "valid"
    validation_every: Count | None = None
    test_every: Count = 0

    def with_gates(self, graph: Graph) -> Graph:
        graph = with_updates(graph) if self.update_every else graph
        return super().with_gates(with_rate(graph) if self.halve_at else graph)

    def plan(self, setting: Setting, graph: Graph, teacher: Teacher | None) -> Plan:
        """Raises D401 to D408, E315, X120, X122 to X126."""
        sets = load_sets(setting.data, len(setting.run.seeds))
        for part in ("train", "test"):
            sets[0].require(part)
        into, target = _classify_columns(setting.data, graph, sets[0])
        rows = [_rows(graph, s, into, target, setting.data.target) for s in sets]
        samples = np.concatenate(rows) if len(rows) > 1 else rows[0]
        shown = presentation(self, setting.model)
        validates = self.validation != "" and len(sets[0].part(self.validation)[0]) > 0
        parts = {"validation": self.validation, "test": "test"} if validates else {"test": "test"}
        settling = self.settling(len(sets[0].train_x))
        scored = [_scored_phase(self, graph, sets, shown, name, part) for name, part in parts.items()]
        sequence, epochs = _epochs(self, [phase.name for phase in settling], validates)
        protocol = Protocol((*settling, *_train_phases(self, graph, sets, shown), *scored), sequence,
                            read_in(parts, output(graph)))
        per_seed = [sets[i % len(sets)] for i in range(graph.seeds)]
        labels = {name: np.stack([s.part(part)[1] for s in per_seed]) for name, part in parts.items()}
        return Plan(protocol, samples, epochs, labels, sets[0].source, words=sets[0].words)

    def measures(self, plan: Plan, records: Any, position: int) -> dict[str, Any]:
        """`confusion`: per seed the number of test samples of each class (rows) with each answer."""
        return {**super().measures(plan, records, position), "confusion": confusion(plan, records, position)}


def load_sets(data: Data, seeds: int) -> list[Dataset]:
    """One data set, or one per seed where `split_seed` is a list. Raises D401 to D408, X125, X126."""
    if not data.name:
        raise CortexError("X126", "[data] gives no 'name'.", "Name a data set, or a .npz or .csv file.")
    chosen = data.split_seed if isinstance(data.split_seed, list) else [data.split_seed]
    if len(chosen) not in (1, seeds):
        raise CortexError("X125", f"data.split_seed has {len(chosen)} entries, but run.seeds has {seeds}.",
                          "Give one, or as many as there are seeds.")
    sets = [load_dataset(data.name, split=data.split, split_seed=seed, data_dir=data.folder or None,
                         limits=data.limits, valid_fraction=data.valid_fraction, normalise=data.normalise)
            for seed in chosen]
    sets = [_cropped(dataset, data.crop) for dataset in sets] if data.crop else sets
    sizes = {tuple(len(s.part(part)[0]) for part in PARTS) for s in sets}
    if len(sizes) > 1:
        raise CortexError("X125", f"the splits of '{data.name}' have different sizes {sorted(sizes)} (train, valid, "
                                  "test); the seeds of one run share the protocol.", "Run them one by one.")
    return sets


def _cropped(dataset: Dataset, pixels: int) -> Dataset:
    """Images without `pixels` at every edge. Raises X120 for what is no square grey image, or too small."""
    side = math.isqrt(dataset.n_in)
    if side * side != dataset.n_in or 2 * pixels >= side:
        raise CortexError("X120", f"data.crop = {pixels}: samples of '{dataset.name}' with {dataset.n_in} features are "
                                  "no square grey images that large.")
    kept = slice(pixels, side - pixels)
    images = {part: dataset.part(part)[0].reshape(-1, side, side)[:, kept, kept] for part in PARTS}
    width = (side - 2 * pixels) ** 2
    cut: dict[str, Any] = {f"{part}_x": np.ascontiguousarray(x).reshape(len(x), width) for part, x in images.items()}
    return replace(dataset, source=f"{dataset.source}; {pixels} pixels cut off at every edge", **cut)


def _classify_columns(data: Data, graph: Graph, dataset: Dataset) -> tuple[Column, Column]:
    known = columns(graph)
    if len(known) < 2:
        raise CortexError("X124", f"circuit '{graph.name}' has {len(known)} exogenous inputs; classification needs one "
                                  "for the sample and one for the target.")
    chosen = []
    for name, default in ((data.into, known[0]), (data.target_into, known[1])):
        found = [c for c in known if name in (c.key, c.population)] if name else [default]
        if not found:
            raise unknown("X123", "exogenous input", name, [c.key for c in known])
        chosen.append(found[0])
    into, target = chosen
    for column, size, what in ((into, dataset.n_in, "features"), (target, dataset.classes, "classes")):
        if column.size != size:
            raise CortexError("X120", f"population '{column.population}' has {column.size} cells, but data set "
                                      f"'{dataset.name}' has {size} {what}.", "Make the layer as large.")
    size = graph.population(output(graph).split(".")[0]).size
    if size != dataset.classes:
        raise CortexError("X120", f"the output '{output(graph)}' has {size} cells, but data set '{dataset.name}' has "
                                  f"{dataset.classes} classes.")
    return into, target


def _rows(graph: Graph, dataset: Dataset, into: Column, target: Column, voltages: tuple[float, float]) -> np.ndarray:
    """Rows of train, valid and test; the target of the latter two is 0, so that nothing can leak."""
    parts = [dataset.part(part)[0] for part in PARTS]
    rows = np.zeros((sum(map(len, parts)), columns(graph)[-1].stop))
    np.concatenate(parts, out=rows[:, into.start:into.stop])
    right, others = voltages
    one_hot = np.where(np.eye(dataset.classes)[dataset.train_y] == 1, right, others)
    rows[:len(one_hot), target.start:target.stop] = one_hot
    return rows


def _first(graph: Graph, sets: Sequence[Dataset], part: str) -> tuple[int, ...]:
    """Row where a part starts, for every batch element (one entry if all agree)."""
    lengths = [sum(len(s.part(p)[0]) for p in PARTS) for s in sets]
    before = sum(len(sets[0].part(p)[0]) for p in PARTS[:PARTS.index(part)])
    starts = [sum(lengths[:i]) + before for i in range(len(sets))]
    return tuple(starts[0:1]) if len(sets) == 1 else tuple(s for s in starts for _ in range(graph.samples))


def presentation(table: Classify, model: Model) -> Presentation:
    """How a sample is presented: as the shipped circuit says, or all gates on, and the output read at
    `protocol.readout`. Raises E315, X122."""
    if table.learning_lag >= table.steps:
        raise CortexError("X122", f"protocol.learning_lag = {table.learning_lag}, but a presentation has {table.steps} "
                                  "steps: no rule would learn.", "Make it shorter, or train_gates = [].")
    if model.circuit in CIRCUITS and CIRCUITS[model.circuit].presentation:
        if table.readout:
            raise CortexError("X122", f"protocol.readout has no meaning for circuit '{model.circuit}', which says when "
                                      "its output is read.", "Leave it out.")
        return CIRCUITS[model.circuit].presented(circuit_options(model), table.steps)
    return Presentation(table.steps, {}, {}, readout_steps(table))


def _train_phases(table: Classify, graph: Graph, sets: Sequence[Dataset], shown: Presentation) -> list[Phase]:
    """One, or one per rate at which the rules learn; they share the order of the samples."""
    phase = _train_phase(table, graph, sets, shown)
    if table.update_every > phase.count:
        raise CortexError("X122", f"protocol.update_every = {table.update_every}, but an epoch has {phase.count} "
                                  "presentations: nothing would be applied.", "Make it shorter.")
    if table.update_every:
        length = table.update_every * shown.steps
        phase = with_column(phase, UPDATE, pulse(length, -1))
    if not table.halve_at:
        return [phase]
    return [with_column(replace(phase, name=train_name(k)), RATE, (0.5**k,)) for k in range(len(table.halve_at) + 1)]


def train_name(halvings: int) -> str:
    """Name of the training phase after so many halvings of the rate."""
    return f"train{HALVED}{halvings}" if halvings else "train"


def _train_phase(table: Classify, graph: Graph, sets: Sequence[Dataset], shown: Presentation) -> Phase:
    order = "" if table.shuffle is False else "train"
    lag, plastic = table.learning_lag, {q.gate for q in graph.projections}  # in which the gates of rules are off
    columns = {gate: pulse(table.steps, lag, table.steps) if lag and gate in plastic else (1.0,)
               for gate in table.gates(graph.gates)}
    count, samples = len(sets[0].train_x), graph.samples
    if samples > count:
        raise CortexError("X122", f"protocol.minibatch = {samples}, but there are {count} training samples: nothing "
                                  "would be learnt.", "Make it smaller.")
    return Phase("train", count // samples, shown.steps, _first(graph, sets, "train"), order,
                 tuple((name, shown.train.get(name, pattern)) for name, pattern in columns.items()),
                 rows=count if samples > 1 else 0)


def _scored_phase(table: Classify, graph: Graph, sets: Sequence[Dataset], shown: Presentation, name: str,
                  part: str) -> Phase:
    default = [gate for gate in graph.gates if gate == "noise" or gate in shown.test]
    gates = default if table.test_gates is None else table.test_gates
    record = (f"{READOUT}{name}", Record(at=shown.readout))
    count, first, samples = len(sets[0].part(part)[0]), _first(graph, sets, part), graph.samples
    columns = tuple((gate, shown.test.get(gate, pattern)) for gate, pattern in gate_columns(gates))
    return Phase(name, -(-count // samples), shown.steps, first, "", columns, (record,),
                 rows=count if samples > 1 else 0)


def readout_steps(table: Classify) -> tuple[int, ...]:
    """Steps of a presentation at which the output is read: 39, 59, 79, 99 of 100 by default. Raises X122."""
    steps = table.readout or sorted({max(i * table.steps // 5 - 1, 0) for i in range(2, 6)})
    for step in steps:
        if step >= table.steps:
            raise CortexError("X122", f"protocol.readout names step {step}, but a presentation has {table.steps} steps "
                                      f"(0 to {table.steps - 1}).")
    return tuple(sorted(set(steps)))


def _epochs(table: Classify, settling: list[str], validates: bool) -> tuple[tuple[str, ...], tuple[int, ...]]:
    every = (1 if table.validation_every is None else table.validation_every) if validates else 0
    tested = after_epochs(table.epochs, table.test_every)

    def phases(epoch: int) -> list[str]:
        train = train_name(sum(epoch >= start for start in table.halve_at))
        return [*validated(epoch, every), train, *tested(epoch)[1:]]

    return laid_out(settling, table.epochs, phases, [*validated(0, every), "test"])
