"""What is asked of a circuit, be it an experiment, a graph or a `Network`: is it right, local, legal, does it fit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from cortexc.compiler.experiments.checks import verify_experiment
from cortexc.compiler.experiments.compilation import circuit_after_passes
from cortexc.compiler.experiments.experiment import Experiment
from cortexc.compiler.experiments.simulation import check_is_graph, verify_graph
from cortexc.compiler.front.builder import Network
from cortexc.compiler.ir import Graph
from cortexc.compiler.passes import Target, run_pipeline
from cortexc.compiler.passes.legalise import the_map
from cortexc.compiler.passes.legality import RuleReport, legality_text, rule_reports
from cortexc.compiler.passes.read_sets import ReadSet, explain_text, read_sets
from cortexc.hardware_maps import shipped_maps

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
