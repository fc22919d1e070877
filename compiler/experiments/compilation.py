"""From an experiment to a graph that can be lowered: circuit, data and protocol, passes; and to a backend's runner.

X150 the backend is not installed; X151 a quantity that is not there; X153 code of another circuit; X155 stock processes
at another granularity; X157 no such backend; X203 an angle or error of quantities whose shapes do not fit.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cortexc.compiler.backends.table import BACKENDS, Given, Runner, Work
from cortexc.compiler.experiments.checkpoints import Identity, arrays_sha256, graph_sha256
from cortexc.compiler.experiments.circuits import build_circuit
from cortexc.compiler.experiments.config import Experiment
from cortexc.compiler.experiments.tables import Model, RecordTable, Run
from cortexc.compiler.experiments.target import Cores, granularity_of, recorded, target_of
from cortexc.compiler.experiments.tasks.plans import Plan
from cortexc.compiler.experiments.tasks.published import FwBw, teacher_plan
from cortexc.compiler.experiments.tasks.records import make_plan
from cortexc.compiler.ir import CortexError, Graph, unknown
from cortexc.compiler.ir.errors import check_type
from cortexc.compiler.ir.model import weight_shape
from cortexc.compiler.ir.protocol import Protocol
from cortexc.compiler.passes import PassReport, Request, Target, observable, run_passes, run_pipeline
from cortexc.compiler.passes.group_weights import Parts, in_parts, parts_of
from cortexc.compiler.passes.partition import check_granularity

if TYPE_CHECKING:
    from cortexc.compiler.experiments.precision import Calibration
    from cortexc.compiler.experiments.underflow import Underflow

GRAPH, CODE = "graph.ir", ("network_lava.py", "kernels.py", "kernels.c")
"""Files of a compiled folder: the graph after the passes, and what may be edited."""


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
    def recordings(self) -> Mapping[str, RecordTable]:
        """The experiment's, or those of its task."""
        return self.experiment.record or self.experiment.protocol.recorded(self.graph)

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
    check_type("compile", experiment, Experiment, "an Experiment", "cortexc.load reads one.")
    start = time.perf_counter()
    run = experiment.run
    check_run(run)
    graph = written_graph(experiment)
    plan = make_plan(experiment, graph, lambda inputs, seed: teacher_targets(experiment, inputs, seed))
    for stream in plan.protocol.streams:
        check_recorded(f"[record.{stream.name}]", stream.quantities, graph)
    for name, table in experiment.record.items():
        _check_pairs(f"[record.{name}]", table, graph)
    built = time.perf_counter()
    calibration = _calibration(experiment, plan)
    report = run_pipeline(graph, Request(observed_quantities(plan.protocol)), _target(experiment, calibration))
    underflow = calibration.underflow(report.graph) if calibration else ()
    seconds = {"build": built - start, "passes": time.perf_counter() - built}
    return Compiled(experiment, graph, plan, report, seconds, underflow)


def written_graph(experiment: Experiment, seeds: Sequence[int] = ()) -> Graph:
    """The circuit before the passes, of all seeds or of these, with the gates of its task."""
    protocol, run = experiment.protocol, experiment.run
    return protocol.with_gates(build_circuit(experiment.model, seeds or run.seeds, run.noise, protocol.minibatch))


def _calibration(experiment: Experiment, plan: Plan) -> Calibration | None:
    if not experiment.precision.weights:
        return None
    from cortexc.compiler.experiments.precision import Calibration

    return Calibration(experiment.precision, plan, list(experiment.run.seeds))


ENVIRONMENT = {"CORTEXC_JIT": ("1", "0"), "CORTEXC_KERNELS": ("c", "numba")}
"""What variables of the environment may be, the default first."""


def check_run(run: Run) -> None:
    """Raises X157 for an unknown backend and E601 for an unknown granularity, which were set in Python."""
    check_backend(run.backend)
    check_granularity(run.granularity)


def check_backend(name: str) -> None:
    """Raises X157 for an unknown one, and X159 where the environment asks for what is not there."""
    if not isinstance(name, str) or name not in BACKENDS:
        raise unknown("X157", "backend", name, BACKENDS)
    for variable, known in ENVIRONMENT.items():
        if os.environ.get(variable, known[0]) not in known:
            raise unknown("X159", f"value of the environment variable {variable}", os.environ[variable], known)


def circuit_after_passes(experiment: Experiment, passes: bool = True) -> tuple[Graph, PassReport]:
    """The graph as written and what the passes make of it, short of fixed point, which takes data; none are loaded. The
    seeds axis has length 1."""
    graph = build_circuit(experiment.model, experiment.run.seeds[:1], experiment.run.noise)
    graph = experiment.protocol.with_gates(graph)
    request = recorded(experiment)
    report = run_pipeline(graph, request, _target(experiment)) if passes else run_passes(graph, (), request)
    return graph, report


def _target(experiment: Experiment, calibration: Calibration | None = None) -> Target:
    return target_of(experiment, cores_at(experiment, granularity_of(experiment.run)), calibration)


def cores_at(experiment: Experiment, granularity: str) -> Cores:
    """Of every population at granularity `neurocore`; none at the others. Raises X154 and what mapping raises."""
    if granularity != "neurocore":
        return ()
    from cortexc.compiler.experiments.cores import neurocores

    return neurocores(experiment)


def check_recorded(where: str, quantities: Iterable[str], graph: Graph) -> None:
    """Raises X151 for a quantity that is not there, or is not kept."""
    ports = {f"{p.name}.{port.name}": p.name for p in graph.populations for port in graph.cell(p.cell).ports}
    known = observable(graph) - set(ports)
    for quantity in quantities:
        if quantity in ports:
            raise CortexError("X151", f"{where}: '{quantity}' is a port and is not kept.",
                              "Record the 'current' of a projection into it, or an equation that reads it.")
        if quantity not in known:
            raise unknown("X151", f"quantity in {where}", quantity, known)


def _check_pairs(where: str, table: RecordTable, graph: Graph) -> None:
    """Raises X203 for an angle or an error between quantities whose shapes do not fit."""
    for first, second in table.angles:
        one, other = (_shape(graph, name) for name in (first, second))
        if len(one) != 2 or one != other[::-1]:
            raise CortexError("X203", f"{where} has an angle between '{first}' of shape {one} and the transpose of "
                                      f"'{second}' of shape {other}.", "Give two matrices, one the other's way back.")
    for first, second in table.errors:
        one, other = (_shape(graph, name) for name in (first, second))
        if one != other:
            raise CortexError("X203", f"{where} has an error between '{first}' of shape {one} and '{second}' of shape "
                                      f"{other}.", "Give two quantities of as many cells.")


def _shape(graph: Graph, quantity: str) -> tuple[int, ...]:
    """Of a recorded quantity, for one seed and sample: (n,) of cells, of synapses that of their weights."""
    owner, _, name = quantity.partition(".")
    if any(p.name == owner for p in graph.populations):
        return (graph.population(owner).size,)
    projection = graph.projection(owner)
    return (graph.population(projection.post).size,) if name == "current" else weight_shape(graph, projection)


def teacher_targets(experiment: Experiment, inputs: np.ndarray, seed: int) -> np.ndarray:
    """Targets (samples, n) of the task fw_bw: the output of the teacher, run natively. Raises X122."""
    table = experiment.protocol
    assert isinstance(table, FwBw)
    model = Model(circuit=experiment.model.circuit, start="legacy", ranges=table.teacher,
                  options=experiment.model.options)
    graph = build_circuit(model, [seed])
    plan = teacher_plan(table, graph, inputs)
    observed = observed_quantities(plan.protocol)
    target = Target(without=frozenset({"eliminate-lookahead", "hoist-constant-input", "fuse-update"}))
    work = Work(run_pipeline(graph, Request(observed), target).graph, observed)
    runner = BACKENDS["native"](work, Given(plan.protocol, plan.samples, [seed]))
    runner.run()
    return runner.records.rows("target", graph.outputs[0][1])[:, 0]


def make_runner(compiled: Compiled, folder: Path | None = None, edited: Path | None = None) -> Runner:
    """The backend's runner. Raises X150, X153 and what lowering raises.

    `folder`: where the Lava backend puts its code. `edited`: a compiled folder whose code is run instead.
    """
    run, work = compiled.experiment.run, work_of(compiled)
    check_installed(run.backend)
    given = Given(compiled.protocol, compiled.plan.samples, run.seeds)
    runner = BACKENDS[run.backend](work, given, folder, run.block_ms)
    if edited and run.backend == "lava":
        _take_code(runner, edited)
    return runner


def watched(compiled: Compiled, names: Iterable[str], protocol: Protocol) -> Runner:
    """A native runner that stores these quantities."""
    given = Given(protocol, compiled.plan.samples, compiled.experiment.run.seeds)
    return BACKENDS["native"](Work(compiled.report.graph, frozenset(names)), given)


def work_of(compiled: Compiled) -> Work:
    """What the backend runs. Raises X155 for stock processes where they do not fit the granularity."""
    run = compiled.experiment.run
    stock = run.stock and run.backend == "lava"
    if stock and run.granularity != "population":
        raise CortexError("X155", f"run.stock replaces single populations and projections, but granularity is "
                                  f"'{run.granularity}'.", "Use --granularity population.")
    return Work(compiled.report.graph, compiled.observed, stock, run.threads)


def check_installed(backend: str) -> None:
    """Raises X150 where Lava is not installed."""
    if backend == "lava" and importlib.util.find_spec("lava") is None:
        raise CortexError("X150", "the backend 'lava' is not installed.",
                          "pip install 'cortexc[lava]' && pip install --no-deps --ignore-requires-python "
                          "lava-nc==0.10.0 && python -m cortexc.lava_procs, or use --backend native.")


def _take_code(runner: Any, edited: Path) -> None:
    """The network and kernels of a compiled folder, as they are now. Raises X153, E706, E707."""
    if (edited / GRAPH).read_bytes() != (runner.folder / GRAPH).read_bytes():
        raise CortexError("X153", f"the code in '{edited}' was compiled from another circuit or for other passes.",
                          "Compile it again, or run the experiment without its folder.")
    for name in CODE:
        shutil.copyfile(edited / name, runner.folder / name)
    runner.load()
