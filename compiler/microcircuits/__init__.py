"""The shipped circuits: functions that return a graph, and the table that names them."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cortexc.compiler.ir.errors import unknown


@dataclass(frozen=True)
class Circuit:
    """A shipped circuit. `options`, `build` and the `starts` are "module:name" of this package, imported when used.

    `options` is a frozen dataclass of everything that fixes the circuit; `build(options)` returns the graph; a start
    is called as `start(options, seeds, ranges)` and returns arrays with a leading axis over the seeds.
    """

    name: str
    summary: str
    source: str
    variants: Mapping[str, str]
    """Name of the variant -> what it is."""
    options: str
    build: str
    starts: Mapping[str, str]
    presentation: str = ""
    """"module:name", called with the options and the steps of a sample; gives a `Presentation`."""
    example: str = ""
    """The shipped experiment that stands for the circuit where an experiment is asked for."""
    target: str = "voltage"
    """Whether it is taught by a voltage or a rate."""
    draws: str = ""
    """"module:name", called with the options: how many numbers its published start draws from the generator that later
    orders the samples."""

    def options_class(self) -> type:
        return imported(self.options)

    def graph(self, options: Any) -> Any:
        return imported(self.build)(options)

    def presented(self, options: Any, steps: int) -> Any:
        return imported(self.presentation)(options, steps)

    def spent_draws(self, options: Any) -> int:
        return imported(self.draws)(options) if self.draws else 0

    def start(self, name: str) -> Callable[[Any, Sequence[int], Mapping[str, tuple[float, float]]], dict]:
        """Raises E306 for an unknown start."""
        if name not in self.starts:
            raise unknown("E306", f"start of circuit '{self.name}'", name, self.starts)
        return imported(self.starts[name])


CIRCUITS: dict[str, Circuit] = {
    "pal": Circuit(
        "pal", "dendritic microcircuit with learned feedback",
        "Max et al. 2024, doi 10.1038/s42256-024-00845-3",
        {"PAL": "feedback weights learn from noise", "FA": "fixed random feedback",
         "BP": "feedback is the transpose of the forward weights (non-local)"},
        "pal:Pal", "pal:build",
        {"legacy": "pal_start:legacy_start",
         "zero": "pal_start:zero_start"}, example="pal_digits"),
    "layered-pal": Circuit(
        "layered-pal", "PAL's layer model for minibatches: errors in variables of their own, learned feedback",
        "Max et al. 2024, doi 10.1038/s42256-024-00845-3, Fig 5 and Tab 1",
        {"PAL": "feedback weights learn from noise", "FA": "fixed random feedback",
         "BP": "feedback is the transpose of the forward weights (non-local)",
         "DFA": "fixed random feedback from the output to every layer"},
        "layered_pal:LayeredPal", "layered_pal:build", {"normal": "layered_pal:normal_start"},
        example="pal_autoencoder", target="rate"),
    "sign-concordant": Circuit(
        "sign-concordant", "spiking microcircuit with three cell types; a reconstruction from the abstract",
        "after the abstract of Yang & Li 2022, arXiv 2205.07292",
        {"locked": "two types of connectivity fix the sign of both ways",
         "frSF": "sign of the forward weight, fixed magnitudes (non-local)",
         "brSF": "the same, magnitudes redrawn at every update (non-local)",
         "uSF": "the same, one magnitude per layer (non-local)", "FA": "fixed random feedback",
         "DFA": "fixed random feedback from the output to every layer",
         "BP": "feedback is the forward weight (non-local)"},
        "sign_concordant_options:SignConcordant", "sign_concordant:build",
        {"normal": "sign_concordant_start:normal_start"},
        presentation="sign_concordant:presentation", example="sign_concordant_mnist"),
    "sign-concordant-errors": Circuit(
        "sign-concordant-errors", "a rival reading of it, with positive and negative error cells",
        "after the abstract of Yang & Li 2022, arXiv 2205.07292",
        {"locked": "two types of connectivity fix the sign of both ways"},
        "sign_concordant_options:SignConcordant",
        "sign_concordant_errors:build_errors",
        {"normal": "sign_concordant_start:normal_start"},
        presentation="sign_concordant:presentation"),
    "error-neuron": Circuit(
        "error-neuron", "representation and error populations in every area",
        "Max et al. 2026, doi 10.1371/journal.pcbi.1014164",
        {"BP": "feedback between error neurons copies the forward weights (non-local)", "FA": "fixed random feedback",
         "noise": "feedback learns from noise, the rule of PAL (beyond the paper)",
         "KP": "feedback repeats the forward updates, both decay (Kolen & Pollack; beyond the paper)"},
        "error_neuron:ErrorNeuron", "error_neuron:build",
        {"legacy": "error_neuron_start:legacy_start",
         "zero": "error_neuron_start:zero_potentials"},
        example="depth_error-neuron", target="rate",
        draws="error_neuron_start:copy_draws"),
    "dendritic": Circuit(
        "dendritic", "dendritic microcircuit with copied feedback: PAL without its noise",
        "Sacramento et al. 2018, as simulated by Max et al. 2026",
        {"BP": "feedback copies the forward weights (non-local)", "FA": "fixed random feedback"},
        "rivals:Dendritic", "rivals:build_dendritic",
        {"legacy": "pal_start:dendritic_start",
         "random": "pal_start:random_dendritic_start"}, example="depth_dendritic",
        draws="pal_start:copy_draws"),
    "dpc": Circuit(
        "dpc", "dendritic hierarchical predictive coding", "after Mikulasch et al., as simulated by Max et al. 2026",
        {"BP": "feedback copies the forward weights (non-local)", "FA": "fixed random feedback"},
        "rivals:Dpc", "rivals:build_dpc",
        {"legacy": "pal_start:dpc_start"}, example="depth_dpc",
        draws="pal_start:copy_draws"),
    "ann": Circuit(
        "ann", "layered net with backprop, a step per layer", "as simulated by Max et al. 2026",
        {"BP": "errors come back through the forward weights (non-local)", "FA": "fixed random feedback"},
        "rivals:Ann", "rivals:build_ann",
        {"legacy": "pal_start:ann_start"}, example="depth_ann", target="rate"),
    "brunel": Circuit(
        "brunel", "sparse random network of excitatory and inhibitory spiking cells",
        "Brunel 2000, J Comput Neurosci 8:183",
        {"SR": "synchronous regular (g 3, eta 2)", "fast-SI": "fast synchronous irregular (g 6, eta 4)",
         "AI": "asynchronous irregular (g 5, eta 2)", "slow-SI": "slow synchronous irregular (g 4.5, eta 0.9)"},
        "brunel:Brunel", "brunel:build",
        {"zero": "starts:drawn_by_rule"}, example="brunel"),
    "potjans-diesmann": Circuit(
        "potjans-diesmann", "four layers of early sensory cortex under 1 mm^2, spiking",
        "Potjans & Diesmann 2014, doi 10.1093/cercor/bhs358", {},
        "potjans_diesmann:PotjansDiesmann", "potjans_diesmann:build",
        {"zero": "starts:drawn_by_rule"}, example="potjans_diesmann"),
    "eprop": Circuit(
        "eprop", "recurrent spiking network with eligibility traces and broadcast errors",
        "Bellec et al. 2020, doi 10.1038/s41467-020-17236-y", {}, "eprop:Eprop",
        "eprop:build", {"normal": "eprop:normal_start"}, example="eprop"),
}


def circuit(name: str) -> Circuit:
    """Raises E300 for a name that is not shipped."""
    if name not in CIRCUITS:
        raise unknown("E300", "circuit", name, [*CIRCUITS, "FILE.ir", "FILE.py:build"])
    return CIRCUITS[name]


def imported(reference: str) -> Any:
    """The object that "module:name" of this package stands for."""
    module, _, name = reference.partition(":")
    return getattr(importlib.import_module(f"{__name__}.{module}"), name)
