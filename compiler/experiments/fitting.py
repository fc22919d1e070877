"""An experiment's circuit on hardware maps: what `cortexc fit` and `compile --map` ask."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from cortexc.compiler.experiments.compilation import compile_experiment, watched
from cortexc.compiler.experiments.config import Experiment
from cortexc.compiler.experiments.cores import mapped_graphs
from cortexc.compiler.experiments.files import writable_folder, write_json, write_text
from cortexc.compiler.mapping.fit import Fit, fit
from cortexc.compiler.mapping.items import ASSUMED_SPIKES, Rates
from cortexc.compiler.mapping.rules import read_rules
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
