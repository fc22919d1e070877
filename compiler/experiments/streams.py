"""The task `stream`: the user's own arrays, static or one row after the other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from compiler.experiments.datasets import load_arrays
from compiler.experiments.plans import Column, Plan, columns, gate_columns, settling_phases
from compiler.experiments.tables import Data, Experiment
from compiler.ir import CortexError, Graph, unknown
from compiler.ir.protocol import Phase, Protocol


def stream_plan(experiment: Experiment, graph: Graph) -> Plan:
    table, layout = experiment.protocol, columns(graph)
    arrays = {column.key: _find_array(experiment.data, column, layout) for column in layout}
    lengths = {key: len(array) for key, array in arrays.items() if array.ndim == 2}
    if len(set(lengths.values())) > 1:
        raise CortexError("X123", f"the input arrays have different lengths: {lengths}.", "Give all as many rows.")
    count = next(iter(lengths.values()), 1)
    samples = np.zeros((count, layout[-1].stop if layout else 0))
    for column in layout:
        samples[:, column.start:column.stop] = arrays[column.key]
    gates = gate_columns(graph.gates if table.train_gates is None else table.train_gates)
    settling = settling_phases(table, count)
    run = Phase("run", count, table.steps, order="run" if table.shuffle else "", gates=gates)
    names = tuple(phase.name for phase in settling)
    protocol = Protocol((*settling, run), names + ("run",) * table.epochs)
    return Plan(protocol, samples, (0,) * len(names) + tuple(range(table.epochs)), {}, "the user's arrays")


def _find_array(data: Data, column: Column, layout: list[Column]) -> np.ndarray:
    """The array of one exogenous input: (n,) or (T, n). Raises X123."""
    names = (column.key, column.population)
    for key in data.inputs:
        if key not in {name for c in layout for name in (c.key, c.population)}:
            raise unknown("X123", "exogenous input in [data.inputs]", key, [c.key for c in layout])
    given = next((data.inputs[name] for name in names if name in data.inputs), None)
    if given is None and data.path:
        arrays = load_arrays(data.path)
        given = next((arrays[name] for name in names if name in arrays), None)
    if given is None:
        raise CortexError("X123", f"no array for the exogenous input '{column.key}' ({column.size} values).",
                          f"Add '\"{column.key}\" = [...]' or \"FILE.npz:key\" to [data.inputs].")
    return _as_array(given, column)


def _as_array(given: Any, column: Column) -> np.ndarray:
    if isinstance(given, str):
        given = _from_file(given, column)
    try:
        array = np.asarray(given, dtype=np.float64)
    except (ValueError, TypeError):
        raise CortexError("X123", f"the array of input '{column.key}' is not a table of numbers.") from None
    array = array[None] if array.ndim == 0 else array
    if array.shape[0] == 0:
        return np.zeros((0, column.size))
    if array.ndim > 2 or array.shape[-1] != column.size:
        raise CortexError("X123", f"the array of input '{column.key}' has shape {array.shape}; expected "
                                  f"({column.size},) or (T, {column.size}).")
    if not np.isfinite(array).all():
        raise CortexError("X123", f"the array of input '{column.key}' has values that are not finite.")
    return array


def _from_file(reference: str, column: Column) -> np.ndarray:
    file, _, key = reference.partition(":")
    arrays = load_arrays(Path(file))
    if key and key not in arrays:
        raise unknown("X123", f"array in '{file}'", key, arrays)
    if not key and len(arrays) > 1 and column.key not in arrays:
        raise CortexError("X123", f"'{file}' holds {len(arrays)} arrays ({', '.join(sorted(arrays))}).",
                          f"Say which: \"{file}:KEY\".")
    return arrays[key] if key else arrays.get(column.key, next(iter(arrays.values())))
