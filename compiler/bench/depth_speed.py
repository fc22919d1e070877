"""`cortexc bench speed-depth`: the error-neuron circuit of 16-8-4-2-1, side by side in one run, on one core.

Rows {metric, value, unit, baseline}: native against careful numpy, Lava against native, ten seeds as one batch against
one by one. The numpy loop is checked against the compiled circuit before anything is timed.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from cortexc.compiler.bench import checked
from cortexc.compiler.bench.depth_nets import published
from cortexc.compiler.bench.depth_numpy import NumpyErrorNeuron
from cortexc.compiler.bench.speed import best, one_core, row
from cortexc.compiler.experiments.circuits import circuit_options
from cortexc.compiler.experiments.config import load_experiment
from cortexc.compiler.experiments.session import Session
from cortexc.compiler.experiments.tasks.teacher_student import PARTS
from cortexc.compiler.ir import CortexError

NET, CHECKED, LIMIT = (16, 8, 4, 2, 1), 200, 1e-10


def rows(options: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Option: steps per measurement."""
    checked(options, "steps")
    steps = int(options.get("steps", 40_000))
    with one_core(), _session("native", 1) as native, _session("lava", 1) as lava, _session("native", 10) as batch:
        numpy_step, gap = _numpy(native)
        for session in (native, lava, batch):
            session.run(CHECKED)
        times = best({"native": lambda: _timed(native, steps), "Lava": lambda: _timed(lava, steps),
                      "batch": lambda: _timed(batch, steps), "numpy": lambda: numpy_step(steps // 20)})
    found = [row(f"{name}, microseconds per step", value, "us", "") for name, value in times.items()]
    return [*found, row("numpy differs from native by", gap, "absolute", "native"),
            row("numpy / native", times["numpy"] / times["native"], "ratio", "native"),
            row("Lava network / native", times["Lava"] / times["native"], "ratio", "native"),
            row("ten seeds one by one / as one batch", 10 * times["native"] / times["batch"], "ratio", "batch")]


def _session(backend: str, seeds: int) -> Session:
    overrides = {**published("error-neuron", NET), "run.backend": backend, "protocol.settling_steps": 0,
                 "protocol.validation_every": 0, "protocol.epochs": 10_000, "protocol.shuffle": False}
    experiment = load_experiment("depth_error-neuron", overrides)
    return Session(experiment.with_run(seeds=experiment.run.seeds[:seeds]))


def _timed(session: Session, steps: int) -> float:
    """Microseconds per step, feeding included."""
    start = time.perf_counter()
    session.run(steps)
    return (time.perf_counter() - start) / steps * 1e6


def _numpy(session: Session) -> tuple[Any, float]:
    """The yardstick as a function of steps that returns microseconds per step, and its largest difference in weights
    after `CHECKED` steps. Raises X183 if that is not small."""
    graph, samples = session.compiled.graph, session.plan.samples
    circuit = circuit_options(session.experiment.model)
    count = len(samples) // len(PARTS)
    hold, delay, n = session.experiment.protocol.steps, circuit.target_delay, circuit.layers[0]

    def feed(model: NumpyErrorNeuron, steps: int) -> None:
        for t in range(steps):
            late = t - delay if t >= delay else t
            model.step(samples[t // hold % count, :n], samples[late // hold % count, n:n + 1])

    with _session("native", 1) as fresh:
        fresh.run(CHECKED)
        model = NumpyErrorNeuron(circuit, graph.arrays)
        feed(model, CHECKED)
        names = [(circuit.forward_name(to, k), next(w for j, w, _ in model.forward[to] if j == k + 1))
                 for to, k in circuit.forward_pairs()]
        gap = max(float(np.abs(fresh.runner.value(f"{name}.w")[0] - w).max()) for name, w in names)
    if not gap < LIMIT:
        raise CortexError("X183", f"the numpy yardstick differs by {gap:.3g} after {CHECKED} steps; it would time "
                                  "another circuit.")
    timed = NumpyErrorNeuron(circuit, graph.arrays)

    def measure(steps: int) -> float:
        start = time.perf_counter()
        feed(timed, steps)
        return (time.perf_counter() - start) / steps * 1e6

    return measure, gap
