"""The published tasks (specs/pal.md 4): `bw_only` learns the feedback, `fw_bw` everything, from a teacher.

Both settle first, then present the same samples in every epoch, in an order that is shuffled further each time.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from compiler.experiments.tables import Experiment, ProtocolTable
from compiler.experiments.tasks.plans import Plan, columns, gate_columns, output, settling_phases
from compiler.ir import CortexError, Graph
from compiler.ir.protocol import Phase, Protocol, Record, Stream

BW_GATES = ("learn_lateral", "learn_feedback", "noise")
FW_BW_GATES = ("learn_forward", *BW_GATES, "target")
Teacher = Callable[[np.ndarray, int], np.ndarray]
"""teacher(inputs (samples, n_0), seed) gives the targets (samples, n_N)."""


def published_plan(experiment: Experiment, graph: Graph, teacher: Teacher | None) -> Plan:
    """bw_only: inputs of the first seed, no target. fw_bw: inputs and targets of one teacher for all seeds."""
    table = experiment.protocol
    first_seed = experiment.run.seeds[0] if table.first_seed is None else table.first_seed
    layout = columns(graph)
    if len(layout) < 2:
        raise CortexError("X124", f"task {table.task} needs a circuit with an input and a target, but '{graph.name}' "
                                  f"has {len(layout)} exogenous inputs.")
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
    gates = gate_columns(default if table.train_gates is None else table.train_gates)
    settling = settling_phases(table, table.dataset_size)
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
    settling = settling_phases(table, len(inputs))
    names = (*(phase.name for phase in settling), "run")
    protocol = Protocol((*settling, run), names, (Stream("target", (output(graph),)),))
    return Plan(protocol, samples, (0,) * len(names), {})
