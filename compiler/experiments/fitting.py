"""An experiment's circuit on hardware maps: what `cortexc fit` and `compile --map` ask."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from compiler.experiments.compilation import circuit_after_passes
from compiler.experiments.files import writable_folder, write_json, write_text
from compiler.experiments.tables import Experiment
from compiler.ir import Graph
from compiler.mapping.fit import Fit, fit, hardware_map, refuse
from compiler.mapping.items import ASSUMED_SPIKES, Rates
from hardware_maps import shipped_maps


def mapped_graphs(experiment: Experiment) -> tuple[Graph, Graph]:
    """The circuit as written, and after the passes that keep every population and projection a part of its own."""
    written, report = circuit_after_passes(experiment.with_run(backend="lava", granularity="population"))
    return written, report.graph


def fit_experiment(experiment: Experiment, maps: Sequence[str] | None = None, rate: float = ASSUMED_SPIKES,
                   folder: Path | None = None) -> list[Fit]:
    """The circuit on every map (all shipped ones by default); with a folder, fit.json and fit.html in it."""
    targets = [hardware_map(name) for name in maps or shipped_maps()]
    written, graph = mapped_graphs(experiment)
    found = [fit(graph, target, Rates(rate), steps=experiment.protocol.steps, written=written) for target in targets]
    if folder:
        from compiler.mapping.page import fit_page
        from compiler.mapping.report import fit_table

        writable_folder(folder)
        write_json(folder / "fit.json", fit_table(experiment.name, found))
        write_text(folder / "fit.html", fit_page(experiment.name, found))
    return found


def fitting_mapping(experiment: Experiment, target: str) -> dict[str, Any]:
    """The mapping of the circuit on one map. Raises the coded error of the first limit where it does not fit."""
    written, graph = mapped_graphs(experiment)
    found = fit(graph, hardware_map(target), steps=experiment.protocol.steps, written=written)
    refuse(found)
    return found.mapping_dict()
