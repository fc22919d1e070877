"""Protocols of the tasks: phases, the table of samples, and how the readouts are scored.

X120 data that do not fit the circuit; X121 a recording that cannot be made; X122 a protocol that cannot be made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from compiler.experiments.config import Data, Experiment, ProtocolTable, RecordTable
from compiler.experiments.datasets import PARTS, Dataset, load_arrays, load_dataset
from compiler.ir import CortexError, Graph, unknown
from compiler.ir.protocol import Phase, Protocol, Record, Stream

BW_GATES = ("learn_lateral", "learn_feedback", "noise")
FW_BW_GATES = ("learn_forward", *BW_GATES, "target")
READOUT = "readout_"
"""Prefix of the streams that are scored; the rest of the name is the phase."""


@dataclass(frozen=True)
class Part:
    """One run through a phase: steps `start` to `stop` of the protocol, in epoch `epoch` (0-based)."""

    phase: str
    epoch: int
    start: int
    stop: int


@dataclass(frozen=True)
class Plan:
    """`samples`: (rows, columns) in the order of the graph's exogenous inputs. `labels`: phase -> (seeds, count).

    `source` says where the samples come from.
    """

    protocol: Protocol
    samples: np.ndarray
    epochs: tuple[int, ...]
    labels: Mapping[str, np.ndarray]
    source: str = ""

    def parts(self) -> Iterator[Part]:
        """Every phase of the sequence with its place in time."""
        lengths, start = {p.name: p.total for p in self.protocol.phases}, 0
        for name, epoch in zip(self.protocol.sequence, self.epochs, strict=True):
            yield Part(name, epoch, start, start + lengths[name])
            start += lengths[name]

    def end_of_epoch(self, count: int) -> int:
        """Position after the first `count` epochs, with the test that follows them, if any; 0: the whole protocol."""
        stops = [part.stop for part in self.parts() if part.epoch < count]
        return stops[-1] if count and stops else self.protocol.total


@dataclass(frozen=True)
class Column:
    """An exogenous input: `population.name` fills columns `start` to `stop` of the table of samples."""

    population: str
    name: str
    start: int
    stop: int

    @property
    def key(self) -> str:
        return f"{self.population}.{self.name}"

    @property
    def size(self) -> int:
        return self.stop - self.start


def columns(graph: Graph) -> list[Column]:
    """The exogenous inputs of a graph, in the order of the table of samples."""
    result: list[Column] = []
    for population in graph.populations:
        for name in graph.cell(population.cell).inputs:
            start = result[-1].stop if result else 0
            result.append(Column(population.name, name, start, start + population.size))
    return result


Teacher = Callable[[Graph, Protocol, np.ndarray, int], np.ndarray]
"""Runs a circuit and returns what its stream `target` recorded: (rows, n)."""


def make_plan(experiment: Experiment, graph: Graph, teacher: Callable[[np.ndarray, int], np.ndarray] | None = None
              ) -> Plan:
    """The plan of an experiment's task. `teacher(inputs, seed)` gives the targets (samples, n) of the task fw_bw."""
    table = experiment.protocol
    if table.task == "classify":
        plan = _classify(experiment, graph)
    elif table.task == "stream":
        plan = _stream(experiment, graph)
    else:
        plan = _published(experiment, graph, teacher)
    plan = replace(plan, protocol=_with_records(plan.protocol, experiment, graph))
    plan.protocol.check(graph.gates)
    return plan


def _gates(names: Sequence[str]) -> tuple[tuple[str, tuple[float, ...]], ...]:
    return tuple((name, (1.0,)) for name in names)


def _settling(table: ProtocolTable, samples: int) -> list[Phase]:
    """The first samples without learning, noise or target; a rest shorter than a presentation is a phase of its own."""
    count, rest = divmod(table.settling_steps, table.steps)
    needed = count + bool(rest)
    if needed > samples:
        raise CortexError("X122", f"protocol.settling_steps = {table.settling_steps} presents {needed} samples of "
                                  f"{table.steps} steps, but there are {samples}.", "Shorten it.")
    phases = [Phase("settle", count, table.steps)] if count else []
    return phases + ([Phase("settle_rest", 1, rest, (count,))] if rest else [])


# ---- classification


def _classify(experiment: Experiment, graph: Graph) -> Plan:
    table, sets = experiment.protocol, load_sets(experiment.data, len(experiment.run.seeds))
    for part in ("train", "test"):
        sets[0].require(part)
    into, target = _classify_columns(experiment.data, graph, sets[0])
    samples = np.concatenate([_rows(graph, s, into, target, experiment.data.target) for s in sets])
    per_seed = [sets[i % len(sets)] for i in range(graph.seeds)]
    validates = table.validation != "" and len(per_seed[0].part(table.validation)[0]) > 0
    phases = [*_settling(table, len(sets[0].train_x)), _train_phase(table, graph, sets)]
    phases += [_scored_phase(table, graph, sets, "validation", table.validation)] if validates else []
    phases += [_scored_phase(table, graph, sets, "test", "test")]
    settling = [phase.name for phase in phases if phase.name.startswith("settle")]
    sequence, epochs = _epochs(table, settling, validates)
    streams = tuple(Stream(f"{READOUT}{p.name}", (_output(graph),)) for p in phases if p.name in ("validation", "test"))
    labels = {"test": np.stack([s.test_y for s in per_seed])}
    labels |= {"validation": np.stack([s.part(table.validation)[1] for s in per_seed])} if validates else {}
    protocol = Protocol(tuple(phases), sequence, streams)
    return Plan(protocol, samples, epochs, labels, sets[0].source)


def load_sets(data: Data, seeds: int) -> list[Dataset]:
    """One data set, or one per seed where `split_seed` is a list. Raises D401 to D406, X120."""
    if not data.name:
        raise CortexError("X120", "[data] gives no 'name'.", "Name a data set, or a .npz or .csv file.")
    chosen = data.split_seed if isinstance(data.split_seed, list) else [data.split_seed]
    if len(chosen) not in (1, seeds):
        raise CortexError("X120", f"data.split_seed has {len(chosen)} entries, but run.seeds has {seeds}.",
                          "Give one, or as many as there are seeds.")
    return [load_dataset(data.name, split=data.split, split_seed=seed, data_dir=data.folder or None,
                         limits=data.limits, valid_fraction=data.valid_fraction) for seed in chosen]


def _classify_columns(data: Data, graph: Graph, dataset: Dataset) -> tuple[Column, Column]:
    known = columns(graph)
    if len(known) < 2:
        raise CortexError("X120", f"circuit '{graph.name}' has {len(known)} exogenous inputs; classification needs one "
                                  "for the sample and one for the target.")
    into, target = (_column(known, name, default) for name, default in ((data.into, 0), (data.target_into, 1)))
    for column, size, what in ((into, dataset.n_in, "features"), (target, dataset.classes, "classes")):
        if column.size != size:
            raise CortexError("X120", f"population '{column.population}' has {column.size} cells, but data set "
                                      f"'{dataset.name}' has {size} {what}.", "Make the layer as large.")
    size = graph.population(_output(graph).split(".")[0]).size
    if size != dataset.classes:
        raise CortexError("X120", f"the output '{_output(graph)}' has {size} cells, but data set '{dataset.name}' has "
                                  f"{dataset.classes} classes.")
    return into, target


def _column(known: list[Column], name: str, default: int) -> Column:
    if not name:
        return known[default]
    found = [c for c in known if name in (c.key, c.population)]
    if not found:
        raise unknown("X120", "exogenous input", name, [c.key for c in known])
    return found[0]


def _output(graph: Graph) -> str:
    if not graph.outputs:
        raise CortexError("X120", f"circuit '{graph.name}' names no output.", "Add 'output NAME = population.quantity'.")
    return graph.outputs[0][1]


def _rows(graph: Graph, dataset: Dataset, into: Column, target: Column, voltages: tuple[float, float]) -> np.ndarray:
    """Rows of train, valid and test; the target of the latter two is 0, so that nothing can leak."""
    x = np.concatenate([dataset.part(part)[0] for part in PARTS])
    rows = np.zeros((len(x), columns(graph)[-1].stop))
    rows[:, into.start:into.stop] = x
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


def _train_phase(table: ProtocolTable, graph: Graph, sets: Sequence[Dataset]) -> Phase:
    gates = graph.gates if table.train_gates is None else table.train_gates
    order = "" if table.shuffle is False else "train"
    return Phase("train", len(sets[0].train_x), table.steps, _first(graph, sets, "train"), order, _gates(gates))


def _scored_phase(table: ProtocolTable, graph: Graph, sets: Sequence[Dataset], name: str, part: str) -> Phase:
    default = [gate for gate in graph.gates if gate == "noise"]
    gates = default if table.test_gates is None else table.test_gates
    record = (f"{READOUT}{name}", Record(at=readout_steps(table)))
    return Phase(name, len(sets[0].part(part)[0]), table.steps, _first(graph, sets, part), "", _gates(gates), (record,))


def readout_steps(table: ProtocolTable) -> tuple[int, ...]:
    """Steps of a presentation at which the output is read: 39, 59, 79, 99 of 100 by default. Raises X122."""
    steps = table.readout or sorted({max(i * table.steps // 5 - 1, 0) for i in range(2, 6)})
    for step in steps:
        if step >= table.steps:
            raise CortexError("X122", f"protocol.readout names step {step}, but a presentation has {table.steps} steps "
                                      f"(0 to {table.steps - 1}).")
    return tuple(sorted(set(steps)))


def _epochs(table: ProtocolTable, settling: list[str], validates: bool) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """The sequence of phases and the epoch of each; what comes after the last epoch counts to it."""
    sequence, epochs, every = list(settling), [0] * len(settling), table.validation_every if validates else 0
    for epoch in range(table.epochs):
        tests = table.test_every and (epoch + 1) % table.test_every == 0 and epoch + 1 < table.epochs
        phases = [*(["validation"] if every and epoch % every == 0 else []), "train", *(["test"] if tests else [])]
        sequence, epochs = sequence + phases, epochs + [epoch] * len(phases)
    final = [*(["validation"] if every else []), "test"]
    return tuple(sequence + final), tuple(epochs + [max(table.epochs - 1, 0)] * len(final))


# ---- the published tasks


def _published(experiment: Experiment, graph: Graph, teacher: Callable[[np.ndarray, int], np.ndarray] | None) -> Plan:
    """bw_only: inputs of the first seed, no target. fw_bw: inputs and targets of one teacher for all seeds."""
    table, first_seed = experiment.protocol, experiment.run.seeds[0]
    layout = columns(graph)
    seed = first_seed if table.task == "bw_only" else teacher_seed(first_seed)
    inputs = input_samples(seed, table.dataset_size, layout[0].size)
    samples = np.zeros((table.dataset_size, layout[-1].stop))
    samples[:, :layout[0].stop] = inputs
    if table.task == "fw_bw" and teacher is not None:
        if layout[0].size != layout[1].size:
            raise CortexError("X120", f"task fw_bw needs as many outputs as inputs, got {layout[0].size} inputs and "
                                      f"{layout[1].size} outputs.")
        samples[:, layout[1].start:layout[1].stop] = teacher(inputs, seed)
    default = BW_GATES if table.task == "bw_only" else FW_BW_GATES
    gates = _gates(default if table.train_gates is None else table.train_gates)
    settling = _settling(table, table.dataset_size)
    train = Phase("train", table.dataset_size, table.steps, (0,), "" if table.shuffle is False else "train", gates)
    names = tuple(phase.name for phase in settling)
    protocol = Protocol((*settling, train), names + ("train",) * table.epochs)
    epochs = (0,) * len(names) + tuple(range(table.epochs))
    return Plan(protocol, samples, epochs, {}, f"uniform inputs of seed {seed}")


def input_samples(seed: int, count: int, size: int) -> np.ndarray:
    """Input rates of the published tasks, uniform in [0, 1): (count, size)."""
    return np.random.RandomState(seed % 2**32).uniform(0, 1, (count, size))


def teacher_seed(first_seed: int) -> int:
    """Seed of the one teacher of all students: 873630 for first seed 123."""
    return int(np.random.RandomState(first_seed % 2**32).randint(100000, 999999))


def teacher_plan(table: ProtocolTable, graph: Graph, inputs: np.ndarray) -> Plan:
    """The teacher's run: settled, then every sample once; its output one step before the end of each presentation.

    (The numpy simulator reads the output before the last call of a presentation.) Raises X122.
    """
    if table.steps < 2:
        raise CortexError("X122", f"task fw_bw with presentations of {table.steps} step: the teacher's output is read "
                                  "one step before their end.", "Use at least 2.")
    samples = np.zeros((len(inputs), columns(graph)[-1].stop))
    samples[:, :inputs.shape[1]] = inputs
    record = ("target", Record(at=(table.steps - 2,)))
    run = Phase("run", len(inputs), table.steps, records=(record,))
    settling = _settling(table, len(inputs))
    names = (*(phase.name for phase in settling), "run")
    protocol = Protocol((*settling, run), names, (Stream("target", (_output(graph),)),))
    return Plan(protocol, samples, (0,) * len(names), {})


# ---- the user's own arrays


def _stream(experiment: Experiment, graph: Graph) -> Plan:
    table, layout = experiment.protocol, columns(graph)
    arrays = {column.key: _find_array(experiment.data, column, layout) for column in layout}
    lengths = {key: len(array) for key, array in arrays.items() if array.ndim == 2}
    if len(set(lengths.values())) > 1:
        raise CortexError("X120", f"the input arrays have different lengths: {lengths}.", "Give all as many rows.")
    count = next(iter(lengths.values()), 1)
    samples = np.zeros((count, layout[-1].stop if layout else 0))
    for column in layout:
        samples[:, column.start:column.stop] = arrays[column.key]
    gates = _gates(graph.gates if table.train_gates is None else table.train_gates)
    settling = _settling(table, count)
    run = Phase("run", count, table.steps, order="run" if table.shuffle else "", gates=gates)
    names = tuple(phase.name for phase in settling)
    protocol = Protocol((*settling, run), names + ("run",) * table.epochs)
    return Plan(protocol, samples, (0,) * len(names) + tuple(range(table.epochs)), {}, "the user's arrays")


def _find_array(data: Data, column: Column, layout: list[Column]) -> np.ndarray:
    """The array of one exogenous input: (n,) or (T, n). Raises X120."""
    names = (column.key, column.population)
    for key in data.inputs:
        if key not in {name for c in layout for name in (c.key, c.population)}:
            raise unknown("X120", "exogenous input in [data.inputs]", key, [c.key for c in layout])
    given = next((data.inputs[name] for name in names if name in data.inputs), None)
    if given is None and data.path:
        arrays = load_arrays(data.path)
        given = next((arrays[name] for name in names if name in arrays), None)
    if given is None:
        raise CortexError("X120", f"no array for the exogenous input '{column.key}' ({column.size} values).",
                          f"Add '\"{column.key}\" = [...]' or \"FILE.npz:key\" to [data.inputs].")
    return _as_array(given, column)


def _as_array(given: Any, column: Column) -> np.ndarray:
    if isinstance(given, str):
        given = _from_file(given, column)
    try:
        array = np.asarray(given, dtype=np.float64)
    except (ValueError, TypeError):
        raise CortexError("X120", f"the array of input '{column.key}' is not a table of numbers.") from None
    array = array[None] if array.ndim == 0 else array
    if array.ndim == 2 and array.shape[0] == 0:
        array = np.zeros((0, column.size))
    if array.ndim > 2 or array.shape[-1] != column.size:
        raise CortexError("X120", f"the array of input '{column.key}' has shape {array.shape}; expected "
                                  f"({column.size},) or (T, {column.size}).")
    if not np.isfinite(array).all():
        raise CortexError("X120", f"the array of input '{column.key}' has values that are not finite.")
    return array


def _from_file(reference: str, column: Column) -> np.ndarray:
    file, _, key = reference.partition(":")
    arrays = load_arrays(Path(file))
    if key and key not in arrays:
        raise unknown("X120", f"array in '{file}'", key, arrays)
    if not key and len(arrays) > 1 and column.key not in arrays:
        raise CortexError("X120", f"'{file}' holds {len(arrays)} arrays ({', '.join(sorted(arrays))}).",
                          f"Say which: \"{file}:KEY\".")
    return arrays[key] if key else arrays.get(column.key, next(iter(arrays.values())))


# ---- recordings


def _with_records(protocol: Protocol, experiment: Experiment, graph: Graph) -> Protocol:
    tables = dict(experiment.record)
    if not tables and experiment.protocol.task == "stream" and graph.outputs:
        tables["output"] = RecordTable(quantities=[quantity for _, quantity in graph.outputs], at=[-1])
    for name, table in tables.items():
        _check_record(name, table, protocol)
    streams = tuple(Stream(name, table.recorded) for name, table in tables.items())
    phases = tuple(replace(phase, records=phase.records + tuple(_due(tables, phase))) for phase in protocol.phases)
    return replace(protocol, phases=phases, streams=protocol.streams + streams)


def _check_record(name: str, table: RecordTable, protocol: Protocol) -> None:
    known = [phase.name for phase in protocol.phases]
    if name.startswith(READOUT):
        raise CortexError("X121", f"[record.{name}]: names that start with '{READOUT}' are taken.", "Choose another.")
    if not table.recorded:
        raise CortexError("X121", f"[record.{name}] names no quantities.", "Add quantities = [\"population.quantity\"].")
    if bool(table.every) + bool(table.at) + table.at_end != 1:
        raise CortexError("X121", f"[record.{name}] must have exactly one of 'every' (> 0), 'at' and 'at_end'.")
    for phase in table.phases:
        if phase not in known:
            raise unknown("X121", f"phase in [record.{name}]", phase, known)
    for phase in protocol.phases:
        for step in table.at:
            if (phase.name in table.phases or not table.phases) and not -phase.steps <= step < phase.steps:
                raise CortexError("X121", f"[record.{name}] records at step {step}, but a presentation of phase "
                                          f"'{phase.name}' has {phase.steps} steps.", "Name other 'phases'.")


def _due(tables: Mapping[str, RecordTable], phase: Phase) -> Iterator[tuple[str, Record]]:
    for name, table in tables.items():
        if table.phases and phase.name not in table.phases or not phase.total:
            continue
        if table.at_end:
            yield name, Record(every=phase.total, offset=phase.total - 1)
        elif table.every:
            yield name, Record(every=table.every, offset=table.offset)
        else:
            yield name, Record(at=tuple(sorted({step % phase.steps for step in table.at})))
