"""From an experiment to a graph that can be lowered: circuit, data and protocol, passes; and to a backend's runner.

X150 the backend is not installed; X151 a quantity that is not there; X153 code of another circuit; X154
granularity `neurocore` without a map; X155 stock processes at another granularity; X156 no such pass; X157 no
such backend.
"""

from __future__ import annotations

import importlib.util
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args, get_type_hints

import numpy as np

from compiler.experiments.checkpoints import Identity, arrays_sha256, graph_sha256
from compiler.experiments.circuits import build_circuit
from compiler.experiments.experiment import Experiment
from compiler.experiments.rejoined import Rejoined
from compiler.experiments.tables import Model, Run
from compiler.experiments.tasks.plans import Plan
from compiler.experiments.tasks.published import FwBw, teacher_plan
from compiler.experiments.tasks.records import make_plan
from compiler.ir import CortexError, Graph, unknown
from compiler.ir.protocol import Protocol
from compiler.passes import PIPELINE, PassReport, Request, Target, observable, pipeline, run_passes, run_pipeline
from compiler.passes.group_weights import GroupWeights, Parts, in_parts, parts_of
from compiler.passes.legalise import Legalise
from compiler.passes.name_products import NameProducts
from compiler.passes.partition import Partition, check_granularity

if TYPE_CHECKING:
    from compiler.experiments.precision import Calibration
    from compiler.experiments.underflow import Underflow

GRAPH, CODE = "graph.ir", ("network_lava.py", "kernels.py")
"""Files of a compiled folder: the graph after the passes, and what may be edited."""
BLOCK_BYTES = 32 * 2**20


@dataclass
class Compiled:
    """An experiment up to the passes. `graph` is the source, `report.graph` what is lowered; `underflow`: what became 0
    in fixed point; `parts`: projections that became groups there."""

    experiment: Experiment
    graph: Graph
    plan: Plan
    report: PassReport
    seconds: dict[str, float] = field(default_factory=dict)
    underflow: Sequence[Underflow] = ()

    @property
    def parts(self) -> Parts:
        return parts_of(self.graph, self.report.graph)

    @property
    def protocol(self) -> Protocol:
        """The plan's, with the names of what is lowered."""
        parts, protocol = self.parts, self.plan.protocol
        streams = tuple(replace(s, quantities=in_parts(s.quantities, parts)) for s in protocol.streams)
        return replace(protocol, streams=streams) if parts else protocol

    @property
    def observed(self) -> frozenset[str]:
        return observed_quantities(self.protocol)

    def identity(self) -> Identity:
        samples = {"samples": self.plan.samples, **self.plan.labels}
        return Identity(graph_sha256(self.graph), self.experiment.sha256(), arrays_sha256(samples))


def observed_quantities(protocol: Protocol) -> frozenset[str]:
    return frozenset(quantity for stream in protocol.streams for quantity in stream.quantities)


def compile_experiment(experiment: Experiment) -> Compiled:
    """Builds the circuit, its data and protocol, and runs the passes. Raises coded errors only."""
    start = time.perf_counter()
    run = experiment.run
    check_run(run)
    graph = build_circuit(experiment.model, run.seeds, run.noise, experiment.protocol.minibatch)
    graph = experiment.protocol.with_gates(graph)
    plan = make_plan(experiment, graph, lambda inputs, seed: teacher_targets(experiment, inputs, seed))
    _check_recorded(plan.protocol, graph)
    built = time.perf_counter()
    calibration = _calibration(experiment, plan)
    report = run_pipeline(graph, Request(observed_quantities(plan.protocol)), target_of(experiment, calibration))
    underflow = calibration.underflow(report.graph) if calibration else ()
    seconds = {"build": built - start, "passes": time.perf_counter() - built}
    return Compiled(experiment, graph, plan, report, seconds, underflow)


def _calibration(experiment: Experiment, plan: Plan) -> Calibration | None:
    if not experiment.precision.weights:
        return None
    from compiler.experiments.precision import Calibration

    return Calibration(experiment.precision, plan, list(experiment.run.seeds))


def check_run(run: Run) -> None:
    """Raises X157 for an unknown backend and E601 for an unknown granularity, which were set in Python."""
    if run.backend not in get_args(get_type_hints(Run)["backend"]):
        raise unknown("X157", "backend", run.backend, get_args(get_type_hints(Run)["backend"]))
    check_granularity(run.granularity)


def circuit_after_passes(experiment: Experiment, passes: bool = True) -> tuple[Graph, PassReport]:
    """The graph as written and what the passes make of it, short of fixed point, which takes data; none are loaded. The
    seeds axis has length 1."""
    graph = build_circuit(experiment.model, experiment.run.seeds[:1], experiment.run.noise)
    graph = experiment.protocol.with_gates(graph)
    request = Request(frozenset(quantity for table in experiment.record.values() for quantity in table.recorded))
    report = run_pipeline(graph, request, target_of(experiment)) if passes else run_passes(graph, (), request)
    return graph, report


def target_of(experiment: Experiment, calibration: Calibration | None = None) -> Target:
    """What the passes aim at. Raises X156 and what `neurocores` raises."""
    run, precision, disabled = experiment.run, experiment.precision, frozenset(experiment.passes.disable)
    for name in disabled - set(PIPELINE):
        raise unknown("X156", "pass in passes.disable", name, PIPELINE)
    granularity = run.granularity if run.backend == "lava" else "network"
    target = Target(granularity, neurocores(experiment) if granularity == "neurocore" else (),
                    disabled - {Partition.name}, _legalise(experiment), _grouping(experiment))
    if calibration is None:
        return target
    return replace(target, products=NameProducts(precision.coefficients), calibrate=calibration, count=precision.count)


def _legalise(experiment: Experiment) -> Legalise | None:
    credit = experiment.precision.credit if experiment.protocol.update_every <= 1 else "never"
    return Legalise(experiment.precision.map, credit) if experiment.precision.map else None


def _grouping(experiment: Experiment) -> GroupWeights | None:
    """The pass that gives a projection several units, where it is asked for."""
    precision = experiment.precision
    if not precision.weights or precision.groups == 1:
        return None
    given = frozenset(name.removesuffix(".w") for name, text in precision.formats.items() if "." in text)
    return GroupWeights(precision.weights, 0 if precision.groups == "auto" else precision.groups, given)


def neurocores(experiment: Experiment) -> tuple[tuple[str, str], ...]:
    """Core of every population on the map `run.hardware`. Raises X154, H101..H108 and M2xx where it does not fit."""
    from compiler.experiments.fitting import core_groups

    if not experiment.run.hardware:
        raise CortexError("X154", "granularity 'neurocore' needs a hardware map.",
                          "Set run.hardware, or give --map; `cortexc fit` says what fits.")
    return core_groups(experiment)


def _check_recorded(protocol: Protocol, graph: Graph) -> None:
    ports = {f"{p.name}.{port.name}": p.name for p in graph.populations for port in graph.cell(p.cell).ports}
    known = observable(graph) - set(ports)
    for stream in protocol.streams:
        for quantity in stream.quantities:
            if quantity in ports:
                raise CortexError("X151", f"[record.{stream.name}]: '{quantity}' is a port and is not kept.",
                                  "Record the 'current' of a projection into it, or an equation that reads it.")
            if quantity not in known:
                raise unknown("X151", f"quantity in [record.{stream.name}]", quantity, known)


def teacher_targets(experiment: Experiment, inputs: np.ndarray, seed: int) -> np.ndarray:
    """Targets (samples, n) of the task fw_bw: the output of the teacher, run natively. Raises X122."""
    from compiler.backends.lowering.program import lower
    from compiler.backends.native import Native

    table = experiment.protocol
    assert isinstance(table, FwBw)
    model = Model(circuit=experiment.model.circuit, start="legacy", ranges=table.teacher,
                  options=experiment.model.options)
    graph = build_circuit(model, [seed])
    plan = teacher_plan(table, graph, inputs)
    observed = observed_quantities(plan.protocol)
    plain = run_passes(graph, pipeline(["discretise", "fold"]), Request(observed)).graph
    runner = Native(lower(plain, observed), plan.protocol, plan.samples, [seed])
    runner.run()
    return runner.records.rows("target", graph.outputs[0][1])[:, 0]


def make_runner(compiled: Compiled, folder: Path | None = None, edited: Path | None = None) -> Any:
    """The backend's runner: `run`, `value`, `records`, `feed`, `state`, `restore`, `close`. Raises X150, X153.

    `folder`: where the Lava backend puts its code. `edited`: a compiled folder whose code is run instead.
    """
    runner = _make_runner(compiled, folder, edited)
    return Rejoined(runner, compiled.parts) if compiled.parts else runner


def _make_runner(compiled: Compiled, folder: Path | None, edited: Path | None) -> Any:
    experiment = compiled.experiment
    protocol, samples, seeds = compiled.protocol, compiled.plan.samples, list(experiment.run.seeds)
    if experiment.run.backend == "interpreter":
        from compiler.backends.interpreter_run import InterpreterRun

        return InterpreterRun(compiled.report.graph, protocol, samples, seeds)
    program, options = lowered(compiled)
    if experiment.run.backend == "native":
        from compiler.backends.native import Native

        return Native(program, protocol, samples, seeds)
    block = first_block(program, experiment.run.block_ms)
    runner = lava_run()(program, protocol, samples, seeds, folder=folder, block=block, **options)
    return _with_code_of(runner, edited) if edited else runner


def lowered(compiled: Compiled) -> tuple[Any, dict[str, Any]]:
    """The lowered program, and options of the Lava backend: with `run.stock` which parts stock processes compute.
    Raises X155 where that does not fit the granularity, E521 where there are none."""
    from compiler.backends.lowering.program import lower

    run = compiled.experiment.run
    if not run.stock or run.backend != "lava":
        return lower(compiled.report.graph, compiled.observed), {}
    if run.granularity != "population":
        raise CortexError("X155", f"run.stock replaces single populations and projections, but granularity is "
                                  f"'{run.granularity}'.", "Use --granularity population.")
    lava_run()
    from compiler.backends.lava.stock import stock_program

    program, stock = stock_program(compiled.report.graph, compiled.observed)
    return program, {"stock": stock}


def _with_code_of(runner: Any, edited: Path) -> Any:
    """The Lava runner with the network and kernels of a compiled folder, as they are now. Raises X153, E706, E707."""
    if (edited / GRAPH).read_bytes() != (runner.folder / GRAPH).read_bytes():
        raise CortexError("X153", f"the code in '{edited}' was compiled from another circuit or for other passes.",
                          "Compile it again, or run the experiment without its folder.")
    for name in CODE:
        shutil.copyfile(edited / name, runner.folder / name)
    runner.load()
    return runner


def lava_run() -> Any:
    """The Lava backend's runner class. Raises X150 where Lava is not installed."""
    if importlib.util.find_spec("lava") is None:
        raise CortexError("X150", "the backend 'lava' is not installed.",
                          "pip install 'cortexc[lava]' on Python 3.10, or use --backend native.")
    from compiler.backends.lava import LavaRun

    return LavaRun


def first_block(program: Any, milliseconds: float) -> int:
    """Steps in a block of about that duration."""
    return int(np.clip(milliseconds * 1000 / program.step_microseconds, 1, most_steps(program.noise_width)))


def most_steps(noise_width: int) -> int:
    """A block's arrays stay within BLOCK_BYTES."""
    return max(1, min(50_000, BLOCK_BYTES // (8 * (noise_width + 16))))
