"""What leaves a run: its folder, read, and arrays for numpy and torch, and Lava code, with what has been learnt.

A run folder may be somebody else's: nothing in it is run. X143 a circuit that has changed since it learnt; X148
compiled code that was edited; X170 no finished run, or no run folder at all; X171 an unknown format; X173 one whose
library is not installed; X175 a file that cannot be read.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from os.path import isfile
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from cortexc.compiler.backends.blocks import first_block
from cortexc.compiler.experiments.checkpoints import graph_sha256
from cortexc.compiler.experiments.circuits import read_arrays
from cortexc.compiler.experiments.compilation import compile_experiment, work_of, written_graph
from cortexc.compiler.experiments.config import Experiment, load_experiment
from cortexc.compiler.experiments.files import (
    brief,
    user_path,
    writable_folder,
    write_bytes,
    write_json,
    write_npz,
    write_text,
    written_aside,
)
from cortexc.compiler.experiments.results import FINAL, MANIFEST, STATES
from cortexc.compiler.front.nir.exporting import to_nir
from cortexc.compiler.front.nir.reading import package
from cortexc.compiler.ir import CortexError, parse_graph, show_graph, unknown
from cortexc.compiler.ir.errors import check_type

# ---- run folders, read

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


def export_run(folder: str | Path, to: str, output: str | Path | None = None) -> Path:
    """Writes what a run has learnt as `npz`, `torch` (a state dict of plain tensors), `lava` (a folder that runs on
    its own) or `nir` (with its rules beside it, in the metadata); returns the path. Only `lava` builds the circuit,
    which runs code where it is a function; the others read text and arrays. Raises X170 to X175, for `nir` what
    `to_nir` raises, and what writing raises."""
    if to not in EXPORTERS:
        raise unknown("X171", "export format", to, EXPORTERS)
    run = open_run(folder)
    arrays, (path, export) = run.arrays, EXPORTERS[to]
    target = Path(output) if output else run.folder / path
    if to != "lava":
        writable_folder(target.parent)
    export(run.folder, arrays, target)
    return target


def _to_npz(folder: Path, arrays: Mapping[str, np.ndarray], path: Path) -> None:
    write_npz(path, arrays)


def _to_torch(folder: Path, arrays: Mapping[str, np.ndarray], path: Path) -> None:
    try:
        import torch
    except ImportError:
        raise CortexError("X173", "torch is not installed.", "pip install 'cortexc[reference]'.") from None
    buffer = io.BytesIO()
    torch.save({name: torch.from_numpy(np.array(array)) for name, array in arrays.items()}, buffer)
    write_bytes(path, buffer.getvalue())


def _to_lava(folder: Path, arrays: Mapping[str, np.ndarray], path: Path) -> None:
    """The circuit starts from what has been learnt; data and protocol are the experiment's."""
    check_circuit(folder)
    experiment = load_experiment(folder)
    model = msgspec.structs.replace(experiment.model, arrays=str((folder / FINAL).resolve()))
    compile_to_folder(msgspec.structs.replace(experiment.with_run(backend="lava"), model=model), path)


def check_circuit(folder: Path) -> None:
    """Raises X143 where the circuit of a run's experiment, built again, is no longer that which learnt."""
    experiment = load_experiment(folder)
    if graph_sha256(written_graph(experiment)) != open_run(folder).results.get("graph_sha256"):
        raise CortexError("X143", f"what run folder '{folder}' holds was learnt by another circuit than "
                                  f"'{experiment.model.circuit}' is now.",
                          "Put its files back as they were, or run it again. A function that draws must take `seed`.")


def _to_nir(folder: Path, arrays: Mapping[str, np.ndarray], path: Path) -> None:
    """The circuit with the weights that were learnt; its states begin as they did."""
    run = open_run(folder)
    graph = parse_graph(run.graph_text).with_(arrays={**run.start, **run.weights})
    nodes, buffer = to_nir(graph, plasticity="sidecar"), io.BytesIO()
    package().write(buffer, nodes)
    write_bytes(path, buffer.getvalue())


EXPORTERS: dict[str, tuple[str, Callable[[Path, Mapping[str, np.ndarray], Path], None]]] = {
    "npz": ("export.npz", _to_npz), "torch": ("export.pt", _to_torch), "lava": ("export_lava", _to_lava),
    "nir": ("export.nir", _to_nir)}
"""Format -> (name in the run folder, what writes it)."""


def compile_to_folder(experiment: Experiment, folder: str | Path, hardware: str | None = None,
                      force: bool = False) -> dict[str, Any]:
    """The Lava program of an experiment: graph, arrays, kernels, network_lava.py, manifest. Returns the manifest.

    With a hardware map also mapping.json; raises the coded error of the limit (M2xx) where it does not fit, X132 for a
    folder that holds something else, X148 for one whose code was edited, unless `force`. Nothing is written where
    something fails, and an older program stays.
    """
    check_type("compile_to_folder", experiment, Experiment, "an Experiment", "cortexc.load reads one.")
    from cortexc.compiler.backends.in_process import sized
    from cortexc.compiler.backends.lava import emit
    from cortexc.compiler.experiments.cores import fitting_mapping

    if not force:
        check_unedited(user_path(folder))
    with written_aside(folder, MANIFEST) as aside:
        mapping = fitting_mapping(experiment, hardware) if hardware else None
        compiled = compile_experiment(experiment.with_run(backend="lava"))
        program, stock = work_of(compiled).lowered
        protocol, seeds = sized(compiled.protocol, program.slots.sizes), list(experiment.run.seeds)
        emit(program, protocol, compiled.plan.samples, seeds, aside, stock=stock,
             block=first_block(program, experiment.run.block_ms))
        write_text(aside / "source.ir", show_graph(compiled.graph))
        write_text(aside / "experiment.toml", compiled.experiment.text())
        if mapping:
            write_json(aside / "mapping.json", mapping)
        manifest = {"circuit": compiled.graph.name, "experiment": experiment.name, "processes": len(program.groups),
                    "granularity": experiment.run.granularity, "seeds": list(experiment.run.seeds),
                    "steps": compiled.plan.protocol.total, "graph_sha256": compiled.identity().graph,
                    "experiment_sha256": experiment.sha256(), "passes": [r.name for r in compiled.report.records],
                    "files": digests(aside)}
        write_json(aside / MANIFEST, manifest)
    return manifest


def check_unedited(folder: Path) -> None:
    """Raises X148 where a file is not what the folder's manifest says."""
    try:
        files = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["files"]
        now = digests(folder)
        edited = sorted(name for name, digest in files.items() if now.get(name, digest) != digest)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return  # no manifest of ours
    if edited:
        raise CortexError("X148", f"folder '{folder}' holds code that was edited since it was compiled: "
                                  f"{', '.join(edited)}.", "Choose another folder with -o; or --force replaces it.")


def digests(folder: Path) -> dict[str, str]:
    files = [path for path in sorted(folder.iterdir()) if path.is_file() and path.name != MANIFEST]
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files if path.name[0] != "."}
