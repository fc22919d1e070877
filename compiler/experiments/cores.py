"""An experiment's circuit on one hardware map: its graphs, and the cores of its populations.

X154 granularity `neurocore` without a map.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from cortexc.compiler.experiments.circuits import build_circuit
from cortexc.compiler.experiments.config import Experiment
from cortexc.compiler.experiments.target import Cores, recorded, target_of
from cortexc.compiler.ir import CortexError, Graph
from cortexc.compiler.ir.model import group_of
from cortexc.compiler.mapping.fit import Fit, fit, refuse
from cortexc.compiler.passes import run_pipeline
from cortexc.compiler.passes.legalise import the_map


def mapped_graphs(experiment: Experiment) -> tuple[Graph, Graph]:
    """The circuit as written (with `precision.map`, with the legal rules), and after the passes that keep every
    population and projection a part of its own.

    A circuit whose weights are not there is taken as written: it can be mapped, not run.
    """
    run = experiment.run
    plain = build_circuit(experiment.model, run.seeds[:1], run.noise)
    if any(f"{q.name}.w" not in plain.arrays and has_weights(plain, q.name) for q in plain.projections):
        return plain, plain
    target = target_of(experiment.with_run(backend="lava", granularity="population"))
    written = experiment.protocol.with_gates(plain)
    graph = run_pipeline(written, recorded(experiment), target).graph
    return (graph if experiment.precision.map else written), graph


def has_weights(graph: Graph, projection: str) -> bool:
    return graph.class_of(projection).kind.weighted


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


def neurocores(experiment: Experiment) -> Cores:
    """Core of every population on the map `run.hardware`. Raises X154, H101..H108 and M2xx where it does not fit."""
    if not experiment.run.hardware:
        raise CortexError("X154", "granularity 'neurocore' needs a hardware map.",
                          "Set run.hardware, or give --map; `cortexc fit` says what fits.")
    return core_groups(experiment)
