"""The task `stream`: the user's own arrays, static or one row after the other."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from cortexc.compiler.experiments.data.datasets import load_arrays
from cortexc.compiler.experiments.tables import Data, RecordTable, Samples, Setting
from cortexc.compiler.experiments.tasks.base import Presented, Reset, Teacher
from cortexc.compiler.experiments.tasks.plans import Column, Plan, columns, gate_columns
from cortexc.compiler.ir import CortexError, Graph, unknown
from cortexc.compiler.ir.protocol import Phase


class Stream(Presented, frozen=True, tag="stream"):
    """A presentation has 1 step where `presentation_steps` does not say; `train_gates`: by default all are on.
    `dataset_size` is not read: the arrays say how many rows there are."""

    reads = ("path", "inputs")

    dataset_size: Samples = 100
    reset: Reset = "none"

    @property
    def steps(self) -> int:
        return self.presentation_steps or 1

    def plan(self, setting: Setting, graph: Graph, teacher: Teacher | None) -> Plan:
        """Raises X123, X127."""
        layout = columns(graph)
        given = _given(setting.data, layout)
        arrays = {column.key: _as_array(given[column.key], column) for column in layout}
        lengths = {key: len(array) for key, array in arrays.items() if array.ndim == 2}
        if len(set(lengths.values())) > 1:
            raise CortexError("X123", f"the input arrays have different lengths: {lengths}.", "Give all as many rows.")
        count = next(iter(lengths.values()), 1)
        samples = np.zeros((count, layout[-1].stop if layout else 0))
        for column in layout:
            samples[:, column.start:column.stop] = arrays[column.key]
        gates = gate_columns(self.gates(graph.gates))
        run = Phase("run", count, self.steps, order="run" if self.shuffle else "", gates=gates)
        return self.repeated(run, samples, self.epochs, "the user's arrays")

    def recorded(self, graph: Graph) -> dict[str, RecordTable]:
        """The output in the last step of every presentation."""
        quantities = [quantity for _, quantity in graph.outputs]
        return {"output": RecordTable(quantities=quantities, at=[-1])} if quantities else {}


def _given(data: Data, layout: list[Column]) -> dict[str, Any]:
    """What is given for every exogenous input: in [data.inputs], or else in the file `path`. Raises X123, X127."""
    for key in data.inputs:
        if key not in {name for column in layout for name in (column.key, column.population)}:
            raise unknown("X123", "exogenous input in [data.inputs]", key, [column.key for column in layout])
    own = {column.key: _one_of(data.inputs, column, "[data.inputs]") for column in layout}
    missing = [column for column in layout if own[column.key] is None]
    if not data.path:
        found = {}
    elif not missing:
        raise CortexError("X127", f"nothing is read from data.path '{data.path}': every exogenous input has an array "
                                  "in [data.inputs].", "Leave it out.")
    else:
        found = load_arrays(data.path, {name for column in missing for name in (column.key, column.population)})
    for column in missing:
        own[column.key] = _one_of(found, column, f"'{data.path}'")
        if own[column.key] is None:
            raise CortexError("X123", f"no array for the exogenous input '{column.key}' ({column.size} values).",
                              f"Add '\"{column.key}\" = [...]' or \"FILE.npz:key\" to [data.inputs].")
    return own


def _one_of(arrays: Mapping[str, Any], column: Column, where: str) -> Any:
    """What goes by the input's name or by its population's; None if nothing does. Raises X123 for both."""
    if column.key in arrays and column.population in arrays:
        raise CortexError("X123", f"exogenous input '{column.key}' has two arrays in {where}: '{column.key}' and "
                                  f"'{column.population}'.", "Give one.")
    return arrays.get(column.key, arrays.get(column.population))


def _as_array(given: Any, column: Column) -> np.ndarray:
    """(n,), which is held, or (T, n); (T,) is a stream of one cell. Raises X123."""
    if isinstance(given, str):
        given = _from_file(given, column)
    try:
        array = np.asarray(given, dtype=np.float64)
    except (ValueError, TypeError):
        raise CortexError("X123", f"the array of input '{column.key}' is not a table of numbers.") from None
    array = array[None] if array.ndim == 0 else array
    if array.ndim == 1 and column.size == 1 and len(array) > 1:
        array = array[:, None]
    if array.shape[0] == 0:
        return np.zeros((0, column.size))
    if array.ndim > 2 or array.shape[-1] != column.size:
        raise CortexError("X123", f"the array of input '{column.key}' has shape {array.shape}; expected "
                                  f"({column.size},) or (T, {column.size}).")
    if not np.isfinite(array).all():
        raise CortexError("X123", f"the array of input '{column.key}' has values that are not finite.")
    return array


def _from_file(reference: str, column: Column) -> np.ndarray:
    file, key = re.fullmatch(r"(.*?\.(?:npz|csv)|[^:]*)(?::(.*))?", reference, re.I | re.S).groups()  # type: ignore
    arrays = load_arrays(Path(file), {key or column.key})
    if key and key not in arrays:
        raise unknown("X123", f"array in '{file}'", key, arrays)
    if not key and len(arrays) > 1 and column.key not in arrays:
        raise CortexError("X123", f"'{file}' holds {len(arrays)} arrays ({', '.join(sorted(arrays))}).",
                          f"Say which: \"{file}:KEY\".")
    return arrays[key] if key else arrays.get(column.key, next(iter(arrays.values())))
