"""Recorded trajectories: npz files that say what a circuit was fed with and what every quantity was at every step.

Three formats. The published one (`pal_*.npz`: `params_json` and arrays such as `uP_0`) is read by `readers`, that of
NEST (`nest_*.npz`: `about`) by `nest`. The general one is for a user's own circuit and carries it:

    graph.ir            text of the graph
    init_NAME           array bound to the graph (`init_hidden.u`, `init_W.w`, `init_W.mask` ...)
    POPULATION.INPUT    (T, n) or (T, batch, n), exogenous inputs
    POPULATION.NOISE    (T, n) or (T, batch, n), draws, where the circuit has noise
    gate.NAME           (T,), default 0 throughout
    seeds               (seeds,), default 1, 2 ...: from them come the random numbers of rules and mirrors
    OWNER.QUANTITY      what to compare: (T, n) or (T, batch, n), weights (T, n_post, n_pre) or (T, copies, ...)
    evidence            text, who recorded it; default `user-recording`

Errors: V101 unreadable file, V102 no recording, V103 circuit not there, V104..V107 options, V108 array missing,
V109 shape, V110 not finite, V111 kind of number, V112 unknown quantity, V113 lengths, V114 target, V115 start.
"""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from cortexc.compiler.ir import CortexError, Graph, parse_graph, show_graph, unknown, verify
from cortexc.compiler.ir.model import weight_copies, weight_shape
from cortexc.compiler.verify.recorded.format import (
    Arrays,
    Recording,
    Source,
    drawn_by_cells,
    numbers,
    one_step_protocol,
    stimulus_chunks,
    text_of,
)
from cortexc.compiler.verify.recorded.nest_eprop import nest_recording
from cortexc.compiler.verify.recorded.readers import published_recording
from cortexc.compiler.verify.runs import Setup, aligned, input_columns, quantities, trajectory

TEXT_KEYS = ("graph.ir", "params_json", "evidence")
OTHER_KEYS = (*TEXT_KEYS, "seeds")


def load_recording(path: str | Path) -> Recording:
    """Reads a recording of any format. Raises V101..V117."""
    path = Path(path)
    arrays = read_arrays(path)
    if "graph.ir" in arrays:
        return _general(path.name, arrays)
    if "params_json" in arrays:
        return published_recording(path.name, arrays)
    if "about" in arrays:
        return nest_recording(path.name, arrays)
    raise CortexError("V102", f"'{path}' is no recording: it has none of 'params_json', 'graph.ir' and 'about' among "
                              f"its {len(arrays)} arrays ({', '.join(sorted(arrays)[:8])}).",
                      "Give a file of recorded trajectories; record_trajectory() writes one.")


def read_arrays(path: Path) -> Arrays:
    """Every array of an npz file, read completely. Raises V101, V111."""
    if not path.is_file():
        raise CortexError("V101", f"recording '{path}' {'is a folder' if path.exists() else 'does not exist'}.")
    name = ""
    try:
        file = np.load(path, allow_pickle=False)
        if not isinstance(file, np.lib.npyio.NpzFile):
            raise CortexError("V102", f"'{path}' holds a single array; a recording is an npz file of named arrays.")
        arrays = {}
        with file:
            for name in file.files:
                arrays[name] = file[name]
        return arrays
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile, zlib.error, NotImplementedError) as error:
        where = f", at array '{name}'" if name else ""
        if "Object arrays" in str(error):
            raise CortexError("V111", f"array '{name}' of '{path}' holds Python objects.", "Save numbers.") from None
        raise CortexError("V101", f"cannot read '{path}' as an npz file{where}: {error or type(error).__name__}.",
                          "It may be truncated or damaged; copy or record it again.") from None


# ---- the general format


def _general(name: str, arrays: Arrays) -> Recording:
    graph = parse_graph(text_of(arrays, "graph.ir"))
    bound = {key[5:]: numbers(arrays, key, [None] * arrays[key].ndim) for key in arrays if key.startswith("init_")}
    graph = graph.with_(arrays=bound, noise=replace(graph.noise, kind="recorded"))
    verify(graph)
    steps = _length(graph, arrays)
    setup = Setup(graph, one_step_protocol(steps, _gates(graph, arrays, steps), graph.batch),
                  _samples(graph, arrays, steps), _seeds(graph, arrays), _noise(graph, arrays, steps))
    exogenous = {*dict(input_columns(graph)), *drawn_by_cells(graph), *(f"gate.{g}" for g in graph.gates)}
    compared = [k for k in arrays if "." in k and k not in exogenous and k not in TEXT_KEYS
                and not k.startswith("init_")]
    sources, expected = {}, {}
    for key in compared:
        sources[key], expected[key] = _compared(graph, arrays, key, steps)
    evidence = text_of(arrays, "evidence") if "evidence" in arrays else "user-recording"
    rest = tuple(k for k in arrays if "." not in k and k not in OTHER_KEYS and not k.startswith("init_"))
    return Recording(name, setup, expected, sources, evidence, not_compared=rest, arrays=arrays)


def _length(graph: Graph, arrays: Arrays) -> int:
    """The number of steps on which all arrays agree. Raises V113."""
    lengths = {k: len(v) for k, v in arrays.items() if "." in k and not k.startswith("init_") and k not in TEXT_KEYS
               and v.ndim}
    if not lengths or min(lengths.values()) < 1:
        raise CortexError("V113", f"the recording of graph '{graph.name}' has no steps.", "Record at least one.")
    if len(set(lengths.values())) > 1:
        listed = ", ".join(f"{k} {n}" for k, n in sorted(lengths.items(), key=lambda item: item[1]))
        raise CortexError("V113", f"the arrays have different numbers of steps: {listed}.")
    return next(iter(lengths.values()))


def _gates(graph: Graph, arrays: Arrays, steps: int) -> Arrays:
    for key in arrays:
        if key.startswith("gate.") and key[5:] not in graph.gates:
            raise unknown("V112", "gate", key[5:], graph.gates)
    return {g: numbers(arrays, f"gate.{g}", (steps,)) for g in graph.gates if f"gate.{g}" in arrays}


def _per_element(graph: Graph, arrays: Arrays, key: str, steps: int, what: str) -> np.ndarray:
    """(T, batch, n) from an array with or without a batch axis."""
    size = graph.population(key.split(".")[0]).size
    if key in arrays and arrays[key].ndim == 2:
        return np.repeat(numbers(arrays, key, (steps, size), what)[:, None], graph.batch, axis=1)
    return numbers(arrays, key, (steps, graph.batch, size), what)


def _samples(graph: Graph, arrays: Arrays, steps: int) -> np.ndarray:
    """(batch * T, width)."""
    parts = [_per_element(graph, arrays, name, steps, "an exogenous input") for name, _ in input_columns(graph)]
    if not parts:
        return np.zeros((graph.batch * steps, 0))
    return np.concatenate(parts, axis=2).swapaxes(0, 1).reshape(graph.batch * steps, -1)


def _seeds(graph: Graph, arrays: Arrays) -> tuple[int, ...]:
    if "seeds" not in arrays:
        return tuple(range(1, graph.seeds + 1))
    numbers(arrays, "seeds", (graph.seeds,))
    return tuple(int(seed) for seed in arrays["seeds"])


def _noise(graph: Graph, arrays: Arrays, steps: int) -> np.ndarray:
    """(T, cells * batch of every stream)."""
    parts = [_per_element(graph, arrays, name, steps, "the draws of the noise").swapaxes(1, 2).reshape(steps, -1)
             for name in drawn_by_cells(graph)]
    return np.concatenate(parts, axis=1) if parts else np.zeros((steps, 0))


def _compared(graph: Graph, arrays: Arrays, key: str, steps: int) -> tuple[Source, np.ndarray]:
    known = {*quantities(graph, increments=True), *(f"{p.name}.{port.name}" for p in graph.populations
                                                     for port in graph.cell(p.cell).ports)}
    if key not in known:
        raise unknown("V112", f"quantity of graph '{graph.name}'", key, known)
    owner, _, quantity = key.partition(".")
    weights = any(q.name == owner for q in graph.projections) and quantity != "current"
    if weights:
        copies, shape = weight_copies(graph, owner), weight_shape(graph, graph.projection(owner))
    else:
        end = graph.projection(owner).post if quantity == "current" else owner
        copies, shape = graph.batch, (graph.population(end).size,)
    single = arrays[key].ndim == 1 + len(shape) and copies == 1
    return Source(key, single=single), numbers(arrays, key, (steps, *shape) if single else (steps, copies, *shape))


def record_trajectory(path: str | Path, setup: Setup, on: str = "interpreter", granularity: str = "network",
                      wanted: Sequence[str] | None = None, steps: int | None = None) -> None:
    """Runs a graph and writes the general format: stimulus, start and every quantity of every step."""
    graph = setup.graph
    names = list(wanted) if wanted is not None else quantities(graph, increments=True)
    parts: dict[str, list[np.ndarray]] = {}
    both = aligned(stimulus_chunks(setup, steps), trajectory(setup, names, on, granularity, steps))
    for _, stimulus, chunk in both:
        for name, values in {**stimulus, **chunk}.items():
            parts.setdefault(name, []).append(_plain(values))
    arrays: dict[str, Any] = {"graph.ir": show_graph(graph), "evidence": on}
    arrays |= {name: np.concatenate(found) for name, found in parts.items()}
    arrays |= {f"init_{name}": array for name, array in graph.arrays.items()}
    arrays["seeds"] = np.asarray(setup.seeds)
    buffer, place = io.BytesIO(), Path(path if str(path).endswith(".npz") else f"{path}.npz")
    np.savez_compressed(buffer, **arrays)
    partial = place.with_name(f".{place.name}.partial")
    partial.write_bytes(buffer.getvalue())
    partial.replace(place)


def _plain(values: np.ndarray) -> np.ndarray:
    """Without a batch axis of length 1."""
    return values[:, 0] if values.ndim > 1 and values.shape[1] == 1 else values
