"""The graph of an experiment: a shipped circuit, a file of IR text or NIR, or the user's own function.

X108 options that a shipped circuit cannot be built with; X110 a file that cannot be read; X111 the user's function
failed or returned no graph; X112 an option that it does not take; X113 no such function; X114 arrays that cannot be
read.
"""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np

from cortexc.compiler.experiments.files import brief
from cortexc.compiler.experiments.tables import Model, converted
from cortexc.compiler.front.builder import Network
from cortexc.compiler.front.nir import from_nir
from cortexc.compiler.ir import CortexError, Graph, parse_circuit, unknown
from cortexc.compiler.microcircuits import CIRCUITS, Circuit
from cortexc.lava_procs.importing import import_file

Arrays = dict[str, np.ndarray]


def build_circuit(model: Model, seeds: Sequence[int], noise: str = "", samples: int = 1) -> Graph:
    """The graph with the arrays of every seed; several seeds are its `seeds` axis, each with weights of its own.

    `noise`: kind of the noise streams, "" as the circuit says. `samples`: length of its samples axis.
    Raises X108, X110 to X114 and what the IR raises.
    """
    if model.circuit in CIRCUITS:
        graph = _shipped(CIRCUITS[model.circuit], model, seeds)
    elif ".py:" in model.circuit:
        graph = _from_python(model, seeds)
    elif model.circuit.endswith(".nir"):
        takes = inspect.signature(from_nir).parameters.values()  # what a NIR file does not say: keys in [model]
        _check_keys(model, [p.name for p in takes if p.kind is p.KEYWORD_ONLY])
        if not Path(model.circuit).is_file():
            raise CortexError("X110", f"cannot read circuit '{model.circuit}': there is no such file.")
        graph = from_nir(model.circuit, **model.options)
    else:
        _check_keys(model, [])
        graph = parse_circuit(_read_text(Path(model.circuit)))
    if model.arrays:
        graph = graph.with_(arrays={**graph.arrays, **read_arrays(Path(model.arrays))})
    kind = noise or ("counter" if model.circuit in CIRCUITS else graph.noise.kind)
    return with_seeds(graph.with_(noise=replace(graph.noise, kind=kind), samples=max(samples, graph.samples)),
                      len(seeds))


def with_seeds(graph: Graph, seeds: int) -> Graph:
    """The graph with a seeds axis: weights that all samples share become one copy per seed."""
    if seeds == graph.seeds:
        return graph
    synapses = tuple(replace(s, role="per_seed") if s.role == "shared" else s for s in graph.synapses)
    return graph.with_(seeds=seeds, synapses=synapses)


def circuit_options(model: Model, **more: Any) -> Any:
    """The options of a shipped circuit: the experiment's, and `more`."""
    options = CIRCUITS[model.circuit].options_class()
    hints = get_type_hints(options)
    return options(**{k: converted(v, hints[k]) for k, v in model.options.items()}, **more)


def _shipped(circuit: Circuit, model: Model, seeds: Sequence[int]) -> Graph:
    options = circuit_options(model)
    try:
        circuit.graph(options)  # checks the options before anything is drawn
        start = circuit.start(model.start)
        arrays = start(options, list(seeds) if len(seeds) > 1 else seeds[0], model.ranges)  # type: ignore[arg-type]
        return circuit.graph(replace(options, arrays=arrays))
    except ArithmeticError as error:
        raise CortexError("X108", f"circuit '{circuit.name}' cannot be built with these options: {error}.",
                          "Look for conductances and time constants that are 0.") from None


# ---- the user's own files


def _check_keys(model: Model, known: Sequence[str]) -> None:
    for key in model.options:
        if key not in known:
            raise unknown("X112", f"key in [model] of '{Path(model.circuit).name}'", key, ["circuit", "arrays", *known])


def _from_python(model: Model, seeds: Sequence[int]) -> Graph:
    path, _, name = model.circuit.rpartition(":")
    _read_text(Path(path))
    module = _guarded(path, lambda: import_file(Path(path), f"cortexc_user_{Path(path).stem}"))
    function = getattr(module, name, None)
    if not callable(function):
        raise unknown("X113", f"function of '{path}'", name, [k for k, v in vars(module).items() if callable(v)])
    _check_options(function, path, name, model.options)
    if "seed" not in inspect.signature(function).parameters:
        return _called(function, path, model.options)
    graphs = [_called(function, path, {**model.options, "seed": seed}) for seed in seeds]
    if len(seeds) == 1:
        return graphs[0]
    shapes = [{name: array.shape for name, array in graph.arrays.items()} for graph in graphs]
    if any(shape != shapes[0] for shape in shapes):
        raise CortexError("X111", f"'{path}' gave arrays of different names or shapes for different seeds.")
    return graphs[0].with_(arrays={name: np.stack([graph.arrays[name] for graph in graphs]) for name in shapes[0]})


def _check_options(function: Callable, path: str, name: str, options: dict[str, Any]) -> None:
    takes = inspect.signature(function).parameters.values()
    known = [p.name for p in takes if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    if "seed" in known and "seed" in options:
        raise CortexError("X112", f"[model] gives '{Path(path).name}:{name}' the key 'seed', which run.seeds gives.",
                          f"Say run.seeds = [{options['seed']}] instead.")
    for key in options:
        if key not in known and not any(p.kind is p.VAR_KEYWORD for p in takes):
            raise unknown("X112", f"key in [model] of '{Path(path).name}:{name}'", key, known)
    for p in takes:
        if p.default is p.empty and p.name in known and p.name not in options and p.name != "seed":
            raise CortexError("X112", f"'{Path(path).name}:{name}' needs '{p.name}'.", f"Add model.{p.name}.")


def _called(function: Callable, path: str, options: dict[str, Any]) -> Graph:
    graph = _guarded(path, lambda: function(**options))
    graph = graph.graph if isinstance(graph, Network) else graph
    if not isinstance(graph, Graph):
        raise CortexError("X111", f"'{path}' returned a {type(graph).__name__}, not a Graph.")
    return graph


def _guarded(path: str, call: Callable[[], Any]) -> Any:
    """Runs the user's code; what it raises becomes X111 with the file's own line."""
    try:
        return call()
    except CortexError:
        raise
    except Exception as error:
        lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == path]
        line = lines[-1] if lines else getattr(error, "lineno", None)
        where = f"{path}, line {line}" if line else path
        raise CortexError("X111", f"{where}: {type(error).__name__}: {error}.") from error


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise CortexError("X110", f"cannot read circuit '{path}': {error.strerror}.") from None
    except UnicodeDecodeError as error:
        raise CortexError("X110", f"circuit '{path}' is not text: {error}.") from None


def read_arrays(path: Path) -> Arrays:
    """Arrays by name from a .safetensors or .npz file. Raises X114."""
    try:
        if path.suffix == ".safetensors":
            from safetensors.numpy import load_file

            return load_file(path)
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except Exception as error:  # missing, truncated, pickled: whatever it is, the arrays are not there
        raise CortexError("X114", f"cannot read arrays from '{path}': {brief(error)}.") from None
