"""Run folders, read: results, weights and recordings of your own or of somebody else. Nothing in them is run.

X170 no finished run, or no run folder at all; X175 a file of it that cannot be read.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from os.path import isfile
from pathlib import Path
from typing import Any

import numpy as np

from cortexc.compiler.experiments.circuits import read_arrays
from cortexc.compiler.experiments.files import brief, user_path
from cortexc.compiler.experiments.results import FINAL, STATES
from cortexc.compiler.ir import CortexError
from cortexc.compiler.ir.errors import check_type

EXPERIMENT, GRAPH, START, RESULTS, RECORDS = (
    "experiment.toml", "graph.ir", "arrays.safetensors", "results.json", "records.npz")


def open_run(folder: str | Path) -> RunFolder:
    """A run folder, to be read. Nothing in it is imported or run, and its circuit is not built. Raises X170."""
    check_type("open_run", folder, (str, Path), "the path of a folder")
    path = user_path(folder)
    if not isfile(path / EXPERIMENT):
        raise CortexError("X170", f"'{path}' is no run folder: there is no {EXPERIMENT} in it.",
                          "Name the folder that `cortexc run -o` wrote.")
    return RunFolder(path)


@dataclass(frozen=True)
class RunFolder:
    """What a run left. Every property reads its file when it is asked for first; X170 where the run has not come so
    far, X175 where the file is broken."""

    folder: Path

    @cached_property
    def results(self) -> dict[str, Any]:
        """What `cortexc run --json` printed."""
        try:
            found = json.loads(self._text(RESULTS, finished=True))
        except (ValueError, RecursionError) as error:
            raise self._broken(RESULTS, error) from None
        if not isinstance(found, dict):
            raise self._broken(RESULTS, "it holds no table")
        return found

    @cached_property
    def arrays(self) -> dict[str, np.ndarray]:
        """All that was learnt or kept, by name in the circuit: `projection.w` (n_post, n_pre), (n,) for one_to_one and
        (channels_post, channels_pre, kernel, kernel) for convolutions; optimiser and synaptic states alike; states
        `population.state` (n,) or (batch, n). Weights of several seeds have an axis of seeds in front."""
        return {**self._arrays(STATES), **self._arrays(FINAL)}

    @property
    def weights(self) -> dict[str, np.ndarray]:
        """Of `arrays`, the weights: `projection.w`."""
        return {name: array for name, array in self.arrays.items() if name.endswith(".w")}

    @cached_property
    def start(self) -> dict[str, np.ndarray]:
        """The arrays that the run began with, as they were bound: weights, masks, initial states, tables."""
        return self._arrays(START)

    @cached_property
    def records(self) -> dict[str, np.ndarray]:
        """`STREAM/population.quantity` (rows, batch, n), `STREAM/projection.w` (rows, copies, n_post, n_pre) and curves
        such as `STREAM/angle B W` (rows, seeds); one row per recorded step."""
        return self._arrays(RECORDS)

    @cached_property
    def experiment_text(self) -> str:
        """The experiment in TOML, resolved."""
        return self._text(EXPERIMENT)

    @cached_property
    def graph_text(self) -> str:
        """The circuit in IR text, before the passes; `cortexc.parse_graph` reads it."""
        return self._text(GRAPH)

    def _arrays(self, name: str) -> dict[str, np.ndarray]:
        self._finished(name)
        try:
            return read_arrays(self.folder / name)
        except CortexError as error:
            raise self._broken(name, error.message) from None

    def _text(self, name: str, finished: bool = False) -> str:
        if finished:
            self._finished(name)
        try:
            return (self.folder / name).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise self._broken(name, error) from None

    def _finished(self, name: str) -> None:
        if not (self.folder / name).is_file():
            raise CortexError("X170", f"'{self.folder}' holds no finished run: there is no {name}.",
                              "Run it to the end, or as far as --steps says; an interrupted run goes on with --resume.")

    def _broken(self, name: str, error: object) -> CortexError:
        return CortexError("X175", f"cannot read {name} of '{self.folder}': {brief(error)}.", "Run it again.")
