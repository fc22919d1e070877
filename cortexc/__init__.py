"""Cortical microcircuits with local learning rules, compiled to Lava.

    import cortexc

    experiment = cortexc.load("pal_digits", ["run.backend=native"])
    results = cortexc.run(experiment, "runs/digits")
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from cortexc.lava_procs.mend import mend_lava

if TYPE_CHECKING:
    from cortexc.compiler.experiments.compilation import compile_experiment as compile
    from cortexc.compiler.experiments.config import load_experiment as load
    from cortexc.compiler.experiments.export import RunFolder as RunFolder
    from cortexc.compiler.experiments.export import compile_to_folder as compile_to_folder
    from cortexc.compiler.experiments.export import export_run as export
    from cortexc.compiler.experiments.export import open_run as open_run
    from cortexc.compiler.experiments.questions import (
        Answer as Answer,
    )
    from cortexc.compiler.experiments.questions import (
        explain as explain,
    )
    from cortexc.compiler.experiments.questions import (
        fit_chip as fit_chip,
    )
    from cortexc.compiler.experiments.questions import (
        verify as verify,
    )
    from cortexc.compiler.experiments.session import Interrupted as Interrupted
    from cortexc.compiler.experiments.session import Session as Session
    from cortexc.compiler.experiments.session import run_experiment as run
    from cortexc.compiler.experiments.simulation import Simulation as Simulation
    from cortexc.compiler.experiments.simulation import simulate as simulate
    from cortexc.compiler.experiments.training import Trained as Trained
    from cortexc.compiler.experiments.training import train as train
    from cortexc.compiler.front.brian2 import from_brian2 as from_brian2
    from cortexc.compiler.front.builder import Network as Network
    from cortexc.compiler.front.nir import from_nir as from_nir
    from cortexc.compiler.front.nir import losses as nir_losses
    from cortexc.compiler.front.nir import to_nir as to_nir
    from cortexc.compiler.ir import (
        CellType as CellType,
    )
    from cortexc.compiler.ir import (
        Convolution as Convolution,
    )
    from cortexc.compiler.ir import (
        CortexError as CortexError,
    )
    from cortexc.compiler.ir import (
        Equation as Equation,
    )
    from cortexc.compiler.ir import (
        Graph as Graph,
    )
    from cortexc.compiler.ir import (
        Mirror as Mirror,
    )
    from cortexc.compiler.ir import (
        Noise as Noise,
    )
    from cortexc.compiler.ir import (
        Optimiser as Optimiser,
    )
    from cortexc.compiler.ir import (
        Parameter as Parameter,
    )
    from cortexc.compiler.ir import (
        PlasticityRule as PlasticityRule,
    )
    from cortexc.compiler.ir import (
        Population as Population,
    )
    from cortexc.compiler.ir import (
        Port as Port,
    )
    from cortexc.compiler.ir import (
        Projection as Projection,
    )
    from cortexc.compiler.ir import (
        State as State,
    )
    from cortexc.compiler.ir import (
        SynapseClass as SynapseClass,
    )
    from cortexc.compiler.ir import (
        parse as parse,
    )
    from cortexc.compiler.ir import (
        parse_graph as parse_graph,
    )
    from cortexc.compiler.ir import (
        show_graph as show_graph,
    )
    from cortexc.compiler.ir import verify as check_graph
    from cortexc.compiler.ir.protocol import Phase as Phase
    from cortexc.compiler.ir.protocol import Protocol as Protocol
    from cortexc.compiler.ir.protocol import Record as Record
    from cortexc.compiler.ir.protocol import Stream as Stream
    from cortexc.compiler.ir.synapses import with_drawn as with_drawn
    from cortexc.compiler.passes import pipeline as pipeline
    from cortexc.compiler.passes import run_passes as run_passes

mend_lava()

__all__ = [
    "Answer", "CellType", "Convolution", "CortexError", "Equation", "Graph", "Interrupted", "Mirror", "Network",
    "Noise", "Optimiser", "Parameter", "Phase", "PlasticityRule", "Population", "Port", "Projection", "Protocol",
    "Record", "RunFolder", "Session", "Simulation", "State", "Stream", "SynapseClass", "Trained", "check_graph",
    "compile", "compile_to_folder", "explain", "export", "fit_chip", "from_brian2", "from_nir", "load", "nir_losses",
    "open_run", "parse", "parse_graph", "pipeline", "run", "run_passes", "show_graph", "simulate", "to_nir", "train",
    "verify", "with_drawn"]

_PLACES = {
    "compiler.experiments.compilation": "compile=compile_experiment",
    "compiler.experiments.config": "load=load_experiment",
    "compiler.experiments.export": "RunFolder compile_to_folder export=export_run open_run",
    "compiler.experiments.questions": "Answer explain fit_chip verify",
    "compiler.experiments.session": "Interrupted Session run=run_experiment",
    "compiler.experiments.simulation": "Simulation simulate",
    "compiler.experiments.training": "Trained train",
    "compiler.front.brian2": "from_brian2",
    "compiler.front.builder": "Network",
    "compiler.front.nir": "from_nir nir_losses=losses to_nir",
    "compiler.ir": "CellType Convolution CortexError Equation Graph Mirror Noise Optimiser Parameter PlasticityRule "
                   "Population Port Projection State SynapseClass check_graph=verify parse parse_graph show_graph",
    "compiler.ir.protocol": "Phase Protocol Record Stream",
    "compiler.ir.synapses": "with_drawn",
    "compiler.passes": "pipeline run_passes",
}
"""Module -> what is public of it, `name` or `name=its name there`: read when it is asked for, so that Lava's processes
and the reference, which are parts of this package, load nothing of the compiler."""


_PUBLIC = {entry.partition("=")[0]: (module, entry.rpartition("=")[2])
           for module, entries in _PLACES.items() for entry in entries.split()}


def __getattr__(name: str) -> Any:
    if name == "plots":
        return import_module("cortexc.plots")
    if name == "__version__":
        return import_module("importlib.metadata").version("cortexc")
    if name not in _PUBLIC:
        raise AttributeError(f"module 'cortexc' has no attribute '{name}'")
    module, own_name = _PUBLIC[name]
    return getattr(import_module(f"cortexc.{module}"), own_name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, "plots"})
