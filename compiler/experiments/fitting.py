"""An experiment's circuit on hardware maps: its graphs, the cores of its populations, and what `cortexc fit` and
`compile --map` ask."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cortexc.compiler.experiments.circuits import build_circuit
from cortexc.compiler.experiments.compilation import Cores, compile_experiment, recorded, target_of, watched
from cortexc.compiler.experiments.config import Experiment
from cortexc.compiler.experiments.files import writable_folder, write_json, write_text
from cortexc.compiler.ir import Graph
from cortexc.compiler.ir.model import group_of
from cortexc.compiler.mapping.fit import Fit, fit, refuse
from cortexc.compiler.mapping.items import ASSUMED_SPIKES, Rates
from cortexc.compiler.mapping.rules import read_rules
from cortexc.compiler.passes import run_pipeline
from cortexc.compiler.passes.legalise import the_map
from cortexc.hardware_maps import shipped_maps


def fit_experiment(experiment: Experiment, maps: Sequence[str] | None = None, rate: float = ASSUMED_SPIKES,
                   folder: Path | None = None, measure: int = 0, rules: Sequence[str] = ()) -> list[Fit]:
    """The circuit on every map (all shipped ones by default); with a folder, fit.json and fit.html in it.

    `measure`: steps of the experiment that are run natively, to see how often messages are sent. `rules`:
    connectivity by rule, as text.
    """
    folder = folder and writable_folder(folder)
    targets = [the_map(name) for name in maps or shipped_maps()]
    written, graph = mapped_graphs(experiment)
    rates = Rates(rate, measured_rates(experiment, measure) if measure else {})
    given = read_rules(graph, rules)
    found = [fit(graph, target, rates, given, experiment.protocol.steps, written=written) for target in targets]
    if folder:
        from cortexc.compiler.mapping.report import fit_table
        from cortexc.compiler.report.fit_page import fit_page

        write_json(folder / "fit.json", fit_table(experiment.name, found))
        write_text(folder / "fit.html", fit_page(experiment.name, found))
    return found


def measured_rates(experiment: Experiment, steps: int) -> dict[str, float]:
    """`population.message` -> the share of its neurons whose message is not 0, mean over the first steps of a run."""
    one = experiment.in_float().with_run(backend="native", seeds=list(experiment.run.seeds[:1]))
    compiled = compile_experiment(one)
    graph = compiled.report.graph
    sent = sorted({f"{q.pre}.{graph.class_of(q.name).message}" for q in graph.projections})
    runner = watched(compiled, compiled.observed | set(sent), compiled.protocol)
    total = dict.fromkeys(sent, 0.0)

    def look(position: int) -> None:
        for name in sent:
            total[name] += float(np.count_nonzero(value := runner.value(name)) / value.size)

    done = runner.run(steps, block=1, on_block=look)
    return {name: share / done for name, share in total.items()}


def mapped_graphs(experiment: Experiment) -> tuple[Graph, Graph]:
    """The circuit as written (with `precision.map`, with the legal rules), and after the passes that keep every
    population and projection a part of its own.

    A circuit whose weights are not there is taken as written: it can be mapped, not run.
    """
    run = experiment.run
    plain = build_circuit(experiment.model, run.seeds[:1], run.noise)
    if any(f"{q.name}.w" not in plain.arrays and plain.class_of(q.name).kind.weighted for q in plain.projections):
        return plain, plain
    target = target_of(experiment.with_run(backend="lava", granularity="population"))
    written = experiment.protocol.with_gates(plain)
    graph = run_pipeline(written, recorded(experiment), target).graph
    return (graph if experiment.precision.map else written), graph


def fitting_mapping(experiment: Experiment, target: str) -> dict[str, Any]:
    """The mapping of the circuit on one map. Raises the coded error of the first limit where it does not fit."""
    return _fitting(experiment, target).mapping_dict()


def _fitting(experiment: Experiment, target: str, rules: bool = True) -> Fit:
    """The fit. Raises as above; a simulation runs `rules` that the chip would not."""
    written, graph = mapped_graphs(experiment)
    found = fit(graph, the_map(target), steps=experiment.protocol.steps, written=written)
    refuse(found, rules)
    return found


def core_groups(experiment: Experiment) -> Cores:
    """The group of every population, by the mapping on `run.hardware`: its core, or `core_0:40+core_3:23` where it is
    on several. Raises the coded error of the first limit where it does not fit."""
    found = _fitting(experiment, experiment.run.hardware, rules=False)
    problem = found.problem
    parts: dict[str, list[tuple[str, int]]] = {}
    for item in np.lexsort((problem.start, problem.population_of)):
        own = parts.setdefault(problem.populations[problem.population_of[item]], [])
        core, cells = f"core_{found.mapping.core_of_item[item]}", int(problem.stop[item] - problem.start[item])
        if own and own[-1][0] == core:
            cells += own.pop()[1]
        own.append((core, cells))
    return tuple((name, group_of(own)) for name, own in parts.items())
