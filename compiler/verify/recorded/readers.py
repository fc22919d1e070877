"""The published recordings: `params_json` and arrays named as in the authors' simulators.

`CIRCUITS` says how the files of every circuit are read.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cortexc.compiler.ir import CortexError, unknown
from cortexc.compiler.verify.recorded.error_neuron import error_recording
from cortexc.compiler.verify.recorded.format import Arrays, Recording, text_of
from cortexc.compiler.verify.recorded.pal import pal_recording


@dataclass(frozen=True)
class Published:
    """Recordings of one circuit: what reads them, their files, and part of the name of the one that finds most."""

    circuit: str
    read: Callable[[str, Arrays, dict[str, Any]], Recording]
    files: str
    best: str


CIRCUITS: dict[str, Published] = {
    "pal": Published("pal", pal_recording, "pal_[0-9]*.npz", "232_fw_bw_noise"),
    "errormc": Published("error-neuron", error_recording, "errormc_errormc_*.npz", "3-2_on"),
    "sacramento2018": Published("dendritic", error_recording, "errormc_sacramento2018_*.npz", "3-2_on"),
    "dPC": Published("dpc", error_recording, "errormc_dPC_*.npz", "3-2_on"),
    "ann": Published("ann", error_recording, "errormc_ann_*.npz", "3-2_on")}
"""By the name of the circuit in the files."""


def published_recording(name: str, arrays: Arrays) -> Recording:
    """Raises V103 for a circuit that is not there, V104 for a text that is not a JSON object, and the others."""
    options = _options(arrays)
    model = str(options.get("mc_model", "errormc" if "target_on" in arrays else "pal"))
    if model not in CIRCUITS:
        raise unknown("V103", f"circuit of '{name}'", model, CIRCUITS)
    return CIRCUITS[model].read(name, arrays, options)


def _options(arrays: Arrays) -> dict[str, Any]:
    try:
        options = json.loads(text_of(arrays, "params_json"))
    except json.JSONDecodeError as error:
        raise CortexError("V104", f"'params_json' is no JSON text: {error}.") from None
    if not isinstance(options, dict):
        raise CortexError("V104", f"'params_json' must hold an object of options, not {type(options).__name__}.")
    return options


def published_files(circuit: str, folder: str | Path | None = None) -> list[Path]:
    """The recordings of a circuit, the best first. Raises V101 where there are none, V103 for an unknown circuit."""
    default = os.environ.get("CORTEXC_GOLDEN", str(Path(__file__).resolve().parents[3] / ".." / "shared" / "golden"))
    folder = Path(str(folder or default))
    known = {each.circuit: each for each in CIRCUITS.values()}
    if circuit not in known:
        raise unknown("V103", "circuit of the recordings", circuit, known)
    found = known[circuit]
    files = sorted(folder.glob(found.files), key=lambda path: (found.best not in path.name, path.name))
    if not files:
        raise CortexError("V101", f"folder '{folder}' holds no recording {found.files}.",
                          "Give it with --golden FOLDER.")
    return files
