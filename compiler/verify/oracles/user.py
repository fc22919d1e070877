"""Trajectories that a user's own function computes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from cortexc.compiler.ir import CortexError, Graph, unknown
from cortexc.compiler.ir.model import weight_copies, weight_shape
from cortexc.compiler.verify.recorded.format import stimulus_chunks
from cortexc.compiler.verify.runs import Chunk, Setup, quantities
from cortexc.lava_procs.importing import import_file

UserReference = Callable[[Graph, Mapping[str, np.ndarray], int], Mapping[str, np.ndarray]]


def load_function(place: str) -> UserReference:
    """`FILE.py:function`. Raises V130 for a file or function that is not there, V131 where the file raises."""
    file, _, name = place.rpartition(":")
    path = Path(file)
    if not file or not path.is_file():
        raise CortexError("V130", f"reference '{place}': file '{file or place}' does not exist.",
                          "Write --reference FILE.py:function.")
    if path.suffix != ".py":
        raise CortexError("V130", f"reference '{place}': '{file}' is no Python file.")
    try:
        module = import_file(path, f"cortexc_reference_{path.stem}")
    except Exception as error:
        raise _raised(f"'{file}'", error) from error
    found = {key: value for key, value in vars(module).items() if callable(value)}
    if name not in found:
        raise unknown("V130", f"function in '{file}'", name, (key for key in found if not key.startswith("_")))
    return found[name]


def _raised(who: str, error: Exception) -> CortexError:
    trace, line = error.__traceback__, 0
    while trace:
        line, trace = trace.tb_lineno, trace.tb_next
    return CortexError("V131", f"reference {who} raised {type(error).__name__}: {error} (line {line}).")


def user_trajectory(function: UserReference, setup: Setup, steps: int) -> Iterator[Chunk]:
    """What `function(graph, inputs, steps)` returns, as one chunk.

    `inputs` holds inputs and draws `population.name` (steps, batch, n) and gates `gate.name` (steps,); a batch axis
    of 1 is left out there and may be left out in the answer. Raises V131 where it raises, V132 for what it returns.
    """
    parts: dict[str, list[np.ndarray]] = {}
    for chunk in stimulus_chunks(setup, steps):
        for name, values in chunk.items():
            parts.setdefault(name, []).append(values[:, 0] if values.ndim > 1 and setup.graph.batch == 1 else values)
    who = f"'{getattr(function, '__name__', 'function')}'"
    try:
        answer = function(setup.graph, {name: np.concatenate(found) for name, found in parts.items()}, steps)
    except Exception as error:
        raise _raised(who, error) from error
    if not isinstance(answer, Mapping):
        raise CortexError("V132", f"reference {who} returned {type(answer).__name__}, not a dict of arrays.")
    known = set(quantities(setup.graph, increments=True))
    yield {name: _answer(who, name, values, known, setup, steps) for name, values in answer.items()}


def _answer(who: str, name: str, values: Any, known: set[str], setup: Setup, steps: int) -> np.ndarray:
    if name not in known:
        raise unknown("V132", f"quantity returned by reference {who}", name, known)
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise CortexError("V132", f"reference {who} returned no numbers for '{name}': {error}.") from None
    if not array.ndim or len(array) != steps:
        raise CortexError("V132", f"reference {who} returned shape {array.shape} for '{name}'; the first axis must be "
                                  f"the {steps} steps.")
    rank, copies = _rank(setup.graph, name)
    return array[:, None] if copies == 1 and array.ndim == rank else array


def _rank(graph: Graph, name: str) -> tuple[int, int]:
    """Axes of a quantity with its batch axis, and the length of that axis."""
    owner, _, quantity = name.partition(".")
    if quantity == "current" or all(q.name != owner for q in graph.projections):
        return 2, graph.batch
    return 1 + len(weight_shape(graph, graph.projection(owner))), weight_copies(graph, owner)
