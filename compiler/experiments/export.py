"""What leaves a run: arrays for numpy and torch, and Lava code, with what has been learnt.

X148 compiled code that was edited; X171 an unknown format; X173 one whose library is not installed.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from cortexc.compiler.backends.blocks import first_block
from cortexc.compiler.experiments.compilation import compile_experiment, work_of
from cortexc.compiler.experiments.config import load_experiment
from cortexc.compiler.experiments.experiment import Experiment
from cortexc.compiler.experiments.files import (
    user_path,
    writable_folder,
    write_bytes,
    write_json,
    write_npz,
    write_text,
    written_aside,
)
from cortexc.compiler.experiments.opened import open_run
from cortexc.compiler.experiments.results import FINAL, MANIFEST
from cortexc.compiler.front.nir.exporting import to_nir
from cortexc.compiler.front.nir.reading import package
from cortexc.compiler.ir import CortexError, parse_graph, show_graph, unknown
from cortexc.compiler.ir.errors import check_type


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
    experiment = load_experiment(folder)
    model = msgspec.structs.replace(experiment.model, arrays=str((folder / FINAL).resolve()))
    compile_to_folder(msgspec.structs.replace(experiment.with_run(backend="lava"), model=model), path)


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
