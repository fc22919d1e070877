"""Verification of experiments and recordings, for the command line."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec

from compiler.experiments.circuits import build_circuit, circuit_options
from compiler.experiments.compilation import compile_experiment, teacher_targets
from compiler.experiments.protocols import make_plan
from compiler.experiments.tables import Experiment
from compiler.ir import CortexError
from compiler.ir.protocol import Protocol
from compiler.microcircuits import CIRCUITS

STEPS = {"independent-reference": 20_000, "interpreter": 1_000}
"""Steps that are compared by default, divided by the samples of a minibatch; the interpreter is slow."""


def verify_recording_file(path: str, on: str | None = None, granularity: str | None = None,
                          passes: bool = False) -> Any:
    """A recorded trajectory against a side (default: native). Raises the V codes."""
    from compiler.verify import verify_golden

    return verify_golden(path, on or ("lava" if granularity else "native"), granularity or "network", passes)


def verify_experiment(experiment: Experiment, on: str | None = None, granularity: str | None = None,
                      steps: int | None = None, reference: str | None = None) -> Any:
    """An experiment's circuit with its own data and learning phases: a shipped circuit against its hand-written
    reference, any other against the interpreter or the user's `reference`."""
    from compiler import verify

    run, model = experiment.run, experiment.model
    on = on or ("lava" if granularity else run.backend)
    granularity = granularity or run.granularity
    if experiment.precision.weights:
        return verify_fixed_point(experiment, on, granularity, steps, reference)
    shipped = model.circuit in CIRCUITS and reference is None and on != "interpreter"
    graph = build_circuit(model, run.seeds, run.noise, experiment.protocol.minibatch)
    plan = make_plan(experiment, graph, lambda inputs, seed: teacher_targets(experiment, inputs, seed))
    count = STEPS["independent-reference" if shipped else "interpreter"] // graph.samples if steps is None else steps
    setup = verify.Setup(graph, learning_first(plan.protocol, count), plan.samples, tuple(run.seeds), stock=run.stock)
    if not shipped:
        return verify.verify_setup(setup, on, granularity, reference or "interpreter", count)
    noise = {"noise": graph.noise.kind} if hasattr(CIRCUITS[model.circuit].options_class(), "noise") else {}
    circuit = circuit_options(model, arrays=graph.arrays, **noise)
    return verify.verify_against_reference(circuit, count, run.seeds, on, granularity, setup=setup)


def verify_fixed_point(experiment: Experiment, on: str, granularity: str, steps: int | None = None,
                       reference: str | None = None) -> Any:
    """An experiment's integer program: against the integer reference where its circuit has one, and with equal
    integers; else against the interpreter, or the user's `reference`."""
    from compiler import verify

    run = msgspec.structs.replace(experiment.run, backend=on, granularity=granularity)
    compiled = compile_experiment(msgspec.structs.replace(experiment, run=run))
    graph, plan, model = compiled.report.graph, compiled.plan, experiment.model

    def setup(kind: str) -> verify.Setup:
        count = STEPS[kind] // graph.samples if steps is None else steps
        return verify.Setup(graph, learning_first(plan.protocol, count), plan.samples, tuple(run.seeds))

    if model.circuit in CIRCUITS and reference is None and on != "interpreter":
        noise = {"noise": graph.noise.kind} if hasattr(CIRCUITS[model.circuit].options_class(), "noise") else {}
        circuit, precision = circuit_options(model, arrays=compiled.graph.arrays, **noise), experiment.precision
        try:
            return verify.verify_quantised(circuit, setup("independent-reference"),
                                           STEPS["independent-reference"] if steps is None else steps, on, granularity,
                                           precision.coefficients, bool(precision.map))
        except CortexError as error:
            if error.code != "V122":
                raise
    against = reference or "interpreter"
    return verify.verify_setup(setup("interpreter"), on, granularity, against,
                               STEPS["interpreter"] // graph.samples if steps is None else steps)


def learning_first(protocol: Protocol, steps: int) -> Protocol:
    """The phases in which something is on before the others, over and over for at least so many steps (unless there
    are none); nothing is recorded."""
    phases = tuple(replace(phase, records=()) for phase in protocol.phases)
    ordered = [phase for phase in sorted(phases, key=lambda phase: -len(phase.gates)) if phase.total]
    rounds = -(-steps // sum(phase.total for phase in ordered)) if ordered else 0
    return Protocol(phases, tuple(phase.name for phase in ordered) * max(rounds, 1))
