"""Cortical microcircuits with local learning rules, compiled to Lava.

    import cortexc

    experiment = cortexc.load("pal_digits", ["run.backend=native"])
    results = cortexc.run(experiment, "runs/digits")
"""

from importlib import import_module
from typing import Any

from compiler.experiments.compilation import compile_experiment as compile
from compiler.experiments.config import load_experiment as load
from compiler.experiments.export import compile_to_folder
from compiler.experiments.export import export_run as export
from compiler.experiments.opened import RunFolder, open_run
from compiler.experiments.questions import Answer, explain, fit_chip, verify
from compiler.experiments.session import Interrupted, Session
from compiler.experiments.session import run_experiment as run
from compiler.experiments.simulation import Simulation, simulate
from compiler.front.builder import Network
from compiler.front.nir import from_nir, to_nir
from compiler.front.nir import losses as nir_losses
from compiler.ir import (
    CellType,
    Convolution,
    CortexError,
    Equation,
    Graph,
    Mirror,
    Noise,
    Optimiser,
    Parameter,
    PlasticityRule,
    Population,
    Port,
    Projection,
    State,
    SynapseClass,
    parse,
    parse_graph,
    show_graph,
)
from compiler.ir import verify as check_graph
from compiler.ir.protocol import Phase, Protocol, Record, Stream
from compiler.ir.synapses import with_drawn
from compiler.passes import pipeline, run_passes
from lava_procs.mend import mend_lava

mend_lava()

__all__ = [
    "Answer", "CellType", "Convolution", "CortexError", "Equation", "Graph", "Interrupted", "Mirror", "Network",
    "Noise", "Optimiser", "Parameter", "Phase", "PlasticityRule", "Population", "Port", "Projection", "Protocol",
    "Record", "RunFolder", "Session", "Simulation", "State", "Stream", "SynapseClass", "check_graph", "compile",
    "compile_to_folder", "explain", "export", "fit_chip", "from_nir", "load", "nir_losses", "open_run", "parse",
    "parse_graph", "pipeline", "run", "run_passes", "show_graph", "simulate", "to_nir", "verify", "with_drawn"]


def __getattr__(name: str) -> Any:
    if name == "plots":  # draws with matplotlib, which takes its time
        return import_module("cortexc.plots")
    raise AttributeError(f"module 'cortexc' has no attribute '{name}'")
