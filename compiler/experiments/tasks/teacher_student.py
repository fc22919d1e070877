"""The task `teacher_student` (specs/error_neuron.md 7 and 8): a student follows a teacher's output, sample by sample.

A teacher net with the student's layers answers random inputs; a third each is for training, validation and the test.
The run settles on training inputs and validates; an epoch holds every sample for a presentation, in a new order each
time; the target comes as many steps after the input as the circuit's `target_delay` says, and in the first steps of
an epoch as it is. Validation has no target; the test is one run without learning; both are shuffled too. The error is
the squared difference to the teacher's output, summed over the output cells and averaged over the steps, without the
first `SKIPPED`.

X122 a protocol that cannot be made; X124 a circuit that lacks what the task needs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np

from cortexc.compiler.experiments.circuits import circuit_options
from cortexc.compiler.experiments.tables import Count, Model, Range, Samples, Seed, Setting
from cortexc.compiler.experiments.tasks.base import Presented, Reset, Teacher
from cortexc.compiler.experiments.tasks.plans import (
    ERRORS,
    TARGET,
    Plan,
    columns,
    gate_columns,
    laid_out,
    output,
    two_inputs,
    validated,
)
from cortexc.compiler.experiments.tasks.published import teacher_seed
from cortexc.compiler.ir import CortexError, Graph, unknown
from cortexc.compiler.ir.functions import ACTIVATIONS, VECTOR
from cortexc.compiler.ir.protocol import Phase, Protocol, Record, Stream
from cortexc.compiler.microcircuits import CIRCUITS
from cortexc.compiler.microcircuits.starts import bounds
from cortexc.compiler.microcircuits.targets import UNDELAYED

SKIPPED = 10
"""First steps of a validation or test that do not count."""
PARTS = ("train", "validation", "test")
SCORED = ("first_validation", "validation", "test")


class Following(Presented, frozen=True):
    """Training, validation and test on samples and targets. `test_gates` and `validation_gates`: what stays on in them;
    the latter after every `validation_every`-th epoch, by default ten times (0: never). `feedback_every`: of so many
    presentations the last is for learned feedback alone, without target and forward learning (0: none, everything
    learns at once)."""

    test_gates: list[str] | None = None
    validation_every: Count | None = None
    validation_gates: list[str] = []
    feedback_every: Count = 0

    def following(self, setting: Setting, graph: Graph, inputs: np.ndarray, targets: np.ndarray, source: str,
                  skipped: int) -> Plan:
        """`inputs` (3 count, n_0) and `targets` (3 count, n_L) of all three; `skipped` first steps of a validation or
        test do not count. Raises X122, X124."""
        layout, count = two_inputs(self.task, graph), len(inputs) // len(PARTS)
        _check_phases(self, graph)
        if count < 1 or self.steps * count <= skipped:
            raise CortexError("X122", f"{count} samples of {self.steps} steps: the test needs more than {skipped} "
                                      "steps.", "Raise protocol.dataset_size.")
        samples = np.zeros((len(inputs), columns(graph)[-1].stop))
        for column, array in zip(layout, (inputs, targets), strict=True):
            samples[:, column.start:column.stop] = array
        phases = _phases(self, graph, count, target_delay(setting.model), skipped)
        streams = tuple(Stream(f"{ERRORS}{name}", (output(graph), TARGET)) for name in SCORED)
        every = max(1, self.epochs // 10) if self.validation_every is None else self.validation_every
        settling = [p.name for p in phases if p.name.startswith("settle")]
        sequence, epochs = laid_out([*settling, *["first_validation"] * (every > 0)], self.epochs,
                                    lambda epoch: ["train", *validated(epoch, every)], ["test"])
        protocol = Protocol(tuple(phases), sequence, streams, spent_draws(setting.model))
        voltage = self.takes_voltage(setting.model) and setting.model.circuit in CIRCUITS
        activation = circuit_options(setting.model).activation[-1] if voltage else "linear"
        followed = dict.fromkeys(SCORED, activation)  # of voltages that teach: the circuit's own of them
        return Plan(protocol, samples, epochs, {}, source, followed)

    def takes_voltage(self, model: Model) -> bool:
        """Whether the target is a voltage, as the circuit takes it."""
        return model.circuit in CIRCUITS and CIRCUITS[model.circuit].target == "voltage"


class Taught(Following, frozen=True):
    """A teacher of the same layers (specs/error_neuron.md 7). `dataset_size`: samples of each part. `teacher`: ranges
    of its weights; `input_range`: of its inputs; `teacher_activation`, or a linear teacher by its matrix, outputs by
    inputs. `teacher_output`: whether the target is a rate or a voltage, by default as the circuit takes it.
    `first_seed`: fixes inputs and teacher; by default it is the run's first."""

    dataset_size: Samples = 100
    teacher: dict[str, Range] = {}
    teacher_activation: str = "tanh"
    teacher_matrix: list[list[float]] = []
    teacher_output: Literal["", "rate", "voltage"] = ""
    input_range: Range = (0.0, 1.0)
    first_seed: Seed | None = None

    @property
    def seeds_apart(self) -> bool:
        return self.first_seed is not None

    def plan(self, setting: Setting, graph: Graph, teacher: Teacher | None) -> Plan:
        """Raises E320 and the like for the circuit's options, X122, X124."""
        _check(self, setting.model)
        first = teacher_seed(setting.run.seeds[0] if self.first_seed is None else self.first_seed)
        inputs, voltages, rates = teacher_answers(self, setting.model, graph, first)
        targets = voltages if self.takes_voltage(setting.model) else rates
        return self.following(setting, graph, inputs, targets, f"a teacher of seed {first}", SKIPPED)

    def takes_voltage(self, model: Model) -> bool:
        """As the circuit takes it, or the table says. Raises X122 where they differ."""
        told, circuit = self.teacher_output, CIRCUITS.get(model.circuit)
        if circuit and told not in ("", circuit.target):
            raise CortexError("X122", f"protocol.teacher_output = '{told}', but circuit '{circuit.name}' is taught by "
                                      f"a {circuit.target}.", "Leave it out.")
        return told == "voltage" or super().takes_voltage(model)


class TeacherStudent(Taught, frozen=True, tag="teacher_student"):
    reset: Reset = "none"


def _check(table: Taught, model: Model) -> None:
    """Raises X122 for tables that would train or score something else than they say; E304, E305 for the teacher."""
    if table.teacher_activation not in ACTIVATIONS:
        raise unknown("X122", "protocol.teacher_activation", table.teacher_activation, ACTIVATIONS)
    bounds(table.teacher, {"WPP": (-1.0, 1.0)})
    if not table.input_range[0] <= table.input_range[1]:
        raise CortexError("X122", f"protocol.input_range is {list(table.input_range)}.", "Give the lower number first.")
    delay = target_delay(model)
    if delay >= table.steps:
        raise CortexError("X122", f"model.target_delay = {delay} steps, but a presentation has {table.steps}: the "
                                  "target would be that of another sample.", "Make it one step per area.")


def _check_phases(table: Following, graph: Graph) -> None:
    if graph.samples > 1:
        raise CortexError("X122", f"circuit '{graph.name}' shows {graph.samples} samples at once: only task classify "
                                  "has minibatches.")
    if "target" in table.validation_gates:
        raise CortexError("X122", "protocol.validation_gates names 'target': the circuit would be told the answer that "
                                  "it is scored on.")
    if table.feedback_every == 1 or table.feedback_every and "learn_feedback" not in graph.gates:
        raise CortexError("X122", f"protocol.feedback_every = {table.feedback_every}: circuit '{graph.name}' would "
                                  f"{'learn nothing else' if table.feedback_every == 1 else 'learn nothing then'}.",
                          "Give at least 2, with a variant that learns its feedback.")


def target_delay(model: Model) -> int:
    return int(getattr(circuit_options(model), "target_delay", 0)) if model.circuit in CIRCUITS else 0


def spent_draws(model: Model) -> int:
    """Numbers that the published generator has given for the copies' errors before it orders the samples."""
    circuit = CIRCUITS.get(model.circuit)
    return circuit.spent_draws(circuit_options(model)) if circuit else 0


# ---- the teacher


def teacher_answers(table: Taught, model: Model, graph: Graph, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(inputs, output voltages, output rates) of three times `dataset_size` samples."""
    layout = two_inputs(table.task, graph)
    inputs = np.random.RandomState(seed).uniform(*table.input_range, (3 * table.dataset_size, layout[0].size))
    if table.teacher_matrix:
        widths = {len(row) for row in table.teacher_matrix}
        matrix = np.array(table.teacher_matrix, dtype=np.float64) if len(widths) == 1 else np.zeros((0, 0))
        if matrix.shape != (layout[1].size, layout[0].size):
            raise CortexError("X122", f"protocol.teacher_matrix has shape {matrix.shape}, expected "
                                      f"({layout[1].size}, {layout[0].size}): outputs by inputs.")
        return inputs, inputs @ matrix.T, inputs @ matrix.T
    sizes = model.options.get("layers")
    if not sizes:
        raise CortexError("X122", f"task teacher_student: circuit '{graph.name}' has no option 'layers' that the "
                                  "teacher could share.", "Give protocol.teacher_matrix.")
    return inputs, *net_answers(sizes, seed, table, inputs)


def net_answers(layers: Sequence[int], seed: int, table: Taught, inputs: np.ndarray) \
        -> tuple[np.ndarray, np.ndarray]:
    """(voltages, rates) of a layered net with weights of this seed, once they have settled."""
    generator, phi = np.random.RandomState(seed), VECTOR[table.teacher_activation]
    limits = table.teacher.get("WPP", (-1.0, 1.0))
    rates, voltages, gain = inputs, inputs, 0.1 / (0.03 + 0.1)
    for pre, post in zip(layers[:-1], layers[1:], strict=True):
        voltages = gain * (rates @ generator.uniform(*limits, (post, pre)).T)
        rates = phi(voltages)
    return voltages, rates


# ---- phases


def _phases(table: Following, graph: Graph, count: int, delay: int, skipped: int) -> list[Phase]:
    total = count * table.steps
    default = [gate for gate in graph.gates if gate != "reset"]
    on = [gate for gate in table.gates(default) if gate != UNDELAYED]
    early = ((UNDELAYED, (1.0,) * delay + (0.0,) * (total - delay)),) if delay else ()

    shuffled = table.shuffle is not False

    def phase(name: str, gates: Sequence[str], part: int, order: bool = shuffled, records: tuple = ()) -> Phase:
        return Phase(name, count, table.steps, (part * count,), name if order else "", gate_columns(gates) + early,
                     records, later=name == "validation")

    def scored(name: str, gates: Sequence[str], part: int, order: bool = shuffled) -> Phase:
        return phase(name, gates, part, order, ((f"{ERRORS}{name}", Record(every=1, offset=skipped)),))

    return [*table.settling(count), _alternating(phase("train", on, 0), table.feedback_every),
            scored("first_validation", table.validation_gates, 1, False),
            scored("validation", table.validation_gates, 1), scored("test", table.test_gates or [], 2)]


FEEDBACK_GATES = ("learn_feedback", "noise")


def _alternating(phase: Phase, every: int) -> Phase:
    """The last of every `every` presentations for learned feedback alone, the others for all else."""
    if not every:
        return phase
    alone = (0.0,) * (phase.steps * (every - 1)) + (1.0,) * phase.steps
    others = tuple(1.0 - value for value in alone)
    return replace(phase, gates=tuple((name, pattern if name == UNDELAYED else alone if name in FEEDBACK_GATES
                                       else others) for name, pattern in phase.gates))
