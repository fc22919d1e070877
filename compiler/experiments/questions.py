"""What is asked of a circuit, be it an experiment, a graph or a `Network`: is it right, local, legal, does it fit.

Experiments and recordings are verified for the command line, too."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from html import escape
from typing import Any

from cortexc.compiler.experiments.circuits import circuit_options
from cortexc.compiler.experiments.compilation import (
    Compiled,
    circuit_after_passes,
    compile_experiment,
    cores_at,
    make_runner,
    observed_quantities,
)
from cortexc.compiler.experiments.config import Experiment
from cortexc.compiler.experiments.simulation import check_is_graph, verify_graph
from cortexc.compiler.experiments.target import target_of
from cortexc.compiler.experiments.tasks.plans import RATE, UPDATE, check_steps
from cortexc.compiler.front.builder import Network
from cortexc.compiler.ir import CortexError, Graph
from cortexc.compiler.ir.errors import check_type
from cortexc.compiler.ir.protocol import Protocol
from cortexc.compiler.microcircuits import CIRCUITS
from cortexc.compiler.passes import Request, Target, run_pipeline
from cortexc.compiler.passes.legalise import the_map
from cortexc.compiler.passes.legality import RuleReport, legality_text, rule_reports
from cortexc.compiler.passes.partition import GRANULARITIES, check_granularity
from cortexc.compiler.passes.read_sets import ReadSet, explain_text, read_sets
from cortexc.hardware_maps import shipped_maps

# ---- experiments and recordings, verified

STEPS = {"independent-reference": 20_000, "interpreter": 1_000}
"""Steps that are compared by default, divided by the samples of a minibatch; the interpreter is slow."""
EVERY = ("population", "area", "network")
"""What the granularity `all` stands for."""


def verify_recording_file(path: str, on: str | None = None, granularity: str | None = None,
                          passes: bool = False) -> Any:
    """A recorded trajectory against a side (default: native; of NEST: the interpreter, and native at
    every granularity). `granularity` may be `all`. Raises E601 and V codes."""
    from cortexc.compiler.verify import load_recording, verify_golden, verify_recording
    from cortexc.compiler.verify.compare import worst

    if on is None and granularity is None and (recording := load_recording(path)).sampled:
        found = [verify_recording(recording, "interpreter", passes=passes)]
        found += [verify_recording(recording, "native", each, passes) for each in EVERY]
        return replace(worst(found), granularities=tuple(found))
    on = on or ("lava" if granularity else "native")
    return _at_every(granularity or "network", lambda each: verify_golden(path, on, each, passes))


def verify_experiment(experiment: Experiment, on: str | None = None, granularity: str | None = None,
                      steps: int | None = None, reference: str | None = None) -> Any:
    """An experiment's circuit with its own data and learning phases: a shipped circuit against its hand-written
    reference, any other against the interpreter or the user's `reference` (`FILE.py:function`, or `interpreter`).

    Two lines of one result: the graph as written, all of it observed in every step, and the graph as `run` lowers it,
    at its recordings and between blocks. With granularity `all` the result is the worst of three, which are its
    `granularities`. Raises V120, V121 where Lava or torch is missing, X205, E601, and what compiling raises.
    """
    from cortexc.compiler.verify.runs import require

    check_type("verify", experiment, Experiment, "an Experiment", "cortexc.load reads one.")
    check_steps(steps, least=1)
    on = on or ("lava" if granularity else experiment.run.backend)
    require(on)
    return _at_every(granularity or experiment.run.granularity,
                     lambda each: _verified(experiment.with_run(backend=on, granularity=each), steps, reference))


def _at_every(granularity: str, verified: Callable[[str], Any]) -> Any:
    from cortexc.compiler.verify.compare import worst

    check_granularity(granularity, (*GRANULARITIES, "all"))
    if granularity != "all":
        return verified(granularity)
    found = [verified(each) for each in EVERY]
    head = found[-1] if all(each.passed for each in found) else worst(found)
    return replace(head, granularities=tuple(found))


def _verified(experiment: Experiment, steps: int | None, reference: str | None) -> Any:
    """At one granularity, on `run.backend`."""
    grouped = experiment.run.backend == "native" and experiment.run.granularity != "network"  # with Lava's passes
    compiled = compile_experiment(experiment.with_run(backend="lava") if grouped else experiment)
    shipped = experiment.model.circuit in CIRCUITS
    unchanged = not experiment.protocol.resets and {RATE, UPDATE}.isdisjoint(compiled.graph.gates)
    if reference is None and experiment.precision.weights:
        try:
            return _against_integers(experiment, compiled, steps)
        except CortexError as error:
            if error.code != "V122" and (shipped or error.code != "V121"):
                raise
    elif reference is None and shipped and unchanged:  # the references do not know what a protocol changes in rules
        return _against_torch(experiment, compiled, steps)
    from cortexc.compiler import verify

    setup, count = _setup(experiment, compiled, "interpreter", steps)
    return verify.verify_setup(setup, experiment.run.backend, experiment.run.granularity, reference or "interpreter",
                               count)


def _against_torch(experiment: Experiment, compiled: Compiled, steps: int | None) -> Any:
    """Against the circuit's independent reference. Raises V121, V122 where there is none."""
    from cortexc.compiler import verify

    run, model = experiment.run, experiment.model
    setup, count = _setup(experiment, compiled, "independent-reference", steps)
    noise = {"noise": setup.graph.noise.kind} if hasattr(CIRCUITS[model.circuit].options_class(), "noise") else {}
    circuit = circuit_options(model, arrays=compiled.graph.arrays, **noise)
    return verify.verify_against_reference(circuit, count, run.seeds, run.backend, run.granularity, setup=setup)


def _against_integers(experiment: Experiment, compiled: Compiled, steps: int | None) -> Any:
    """Against the integers that the circuit's equations give. Raises V121, V122 for what has no integer reference."""
    from cortexc.compiler import verify

    run, precision = experiment.run, experiment.precision
    setup, count = _setup(experiment, compiled, "independent-reference", steps)
    real = target_of(experiment.with_run(backend="lava", granularity="population"))
    graph = run_pipeline(compiled.graph, Request(observed_quantities(compiled.plan.protocol)), real).graph
    source = verify.Source(graph, precision.coefficients, precision.states, precision.messages, precision.factors,
                           precision.rounding)
    return verify.verify_quantised(setup, source, count, run.backend, run.granularity)


def _setup(experiment: Experiment, compiled: Compiled, kind: str, steps: int | None) -> tuple[Any, int]:
    """The circuit as written (or its integer program) with what `run` would lower beside it; and how many steps."""
    from cortexc.compiler import verify

    run, quantised = experiment.run, bool(experiment.precision.weights)
    graph = compiled.report.graph if quantised else compiled.graph
    pace = "interpreter" if run.backend == "interpreter" else kind
    count = STEPS[pace] // graph.samples if steps is None else steps
    setup = verify.Setup(graph, learning_first(compiled.plan.protocol, count), compiled.plan.samples, tuple(run.seeds),
                         stock=run.stock and not quantised,
                         cores=cores_at(experiment, run.granularity),
                         as_run=_as_run(experiment, compiled, count))
    return setup, count


def _as_run(experiment: Experiment, compiled: Compiled, count: int) -> Any:
    """What `run` would run, in the order of phases in which it is verified."""
    from cortexc.compiler.passes.stock import hidden_quantities, stock_plan
    from cortexc.compiler.verify.as_run import AsRun, trimmed

    protocol = trimmed(compiled.graph, learning_first(compiled.plan.protocol, count, recorded=True), count)
    compiled = replace(compiled, experiment=experiment, plan=replace(compiled.plan, protocol=protocol))
    passes = tuple(record.name for record in compiled.report.records)
    graph, stock = compiled.report.graph, experiment.run.stock and experiment.run.backend == "lava"
    hidden = hidden_quantities(graph, stock_plan(graph, compiled.observed)) if stock else frozenset()
    return AsRun(graph, compiled.protocol, lambda: make_runner(compiled), passes, hidden)


def learning_first(protocol: Protocol, steps: int, recorded: bool = False) -> Protocol:
    """The phases in which something is on before the others, over and over for at least so many steps (unless there
    are none); nothing is recorded unless `recorded`."""
    phases = tuple(phase if recorded else replace(phase, records=()) for phase in protocol.phases)
    ordered = [phase for phase in sorted(phases, key=lambda phase: -len(phase.gates)) if phase.total]
    rounds = -(-steps // sum(phase.total for phase in ordered)) if ordered else 0
    return Protocol(phases, tuple(phase.name for phase in ordered) * max(rounds, 1),
                    protocol.streams if recorded else ())


# ---- what is asked from Python

Circuit = Experiment | Graph | Network


@dataclass(frozen=True)
class Answer:
    """`found`, and the text that says so, which a notebook shows."""

    text: str
    found: tuple[Any, ...]

    def __repr__(self) -> str:
        return self.text

    def _repr_html_(self) -> str:
        return f"<pre>{escape(self.text)}</pre>"


def verify(circuit: Circuit, *arguments: Any, **options: Any) -> Any:
    """An experiment by `verify_experiment`, which `cortexc verify` asks, a graph or `Network` by `verify_graph`, which
    takes what `simulate` takes. Their results have `passed`, `outcome`, `evidence`, `variables` and `lines`."""
    if isinstance(circuit, Experiment):
        return verify_experiment(circuit, *arguments, **options)
    return verify_graph(circuit, *arguments, **options)


def explain(circuit: Circuit, map: str | None = None) -> Answer:
    """What every learning rule reads and whether that is at the synapse (`found`: `ReadSet`s), or, with a hardware map,
    whether its engine can run the rules (`RuleReport`s). Raises H101 for a map that is not there, X111 for what is
    no circuit."""
    graph = _graph(circuit)
    if map is None:
        sets: list[ReadSet] = read_sets(graph)
        return Answer(explain_text(graph), tuple(sets))
    hardware, credit = the_map(map), circuit.precision.credit if isinstance(circuit, Experiment) else "held"
    rules: list[RuleReport] = rule_reports(graph, hardware, credit)
    return Answer(legality_text(graph, hardware, credit), tuple(rules))


def fit_chip(circuit: Circuit, maps: str | Sequence[str] | None = None, rate: float | None = None) -> Answer:
    """The circuit on hardware maps, all shipped ones unless some are named (`found`: a `Fit` per map). `rate`: the
    share of cells that send in a step, 0.1 unless said. Raises H101 for a map that is not there, X111 for what is
    no circuit."""
    from cortexc.compiler.experiments.fitting import fit_experiment
    from cortexc.compiler.mapping.fit import fit
    from cortexc.compiler.mapping.items import ASSUMED_SPIKES, Rates
    from cortexc.compiler.mapping.report import fit_text

    rate = ASSUMED_SPIKES if rate is None else rate
    names = [maps] if isinstance(maps, str) else list(maps or shipped_maps())
    if isinstance(circuit, Experiment):
        found = fit_experiment(circuit, names, rate)
        return Answer(fit_text(circuit.name, found), tuple(found))
    written = _graph(circuit)
    graph = run_pipeline(written, target=Target("population")).graph
    found = [fit(graph, the_map(name), Rates(rate), written=written) for name in names]
    return Answer(fit_text(graph.name, found), tuple(found))


def _graph(circuit: Circuit) -> Graph:
    if isinstance(circuit, Experiment):
        return circuit_after_passes(circuit, passes=False)[0]
    graph = circuit.graph if isinstance(circuit, Network) else circuit
    check_is_graph(graph)
    return graph
