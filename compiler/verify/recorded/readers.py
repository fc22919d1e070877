"""The published recordings: `params_json` and arrays named as in the authors' simulators.

`CIRCUITS` maps the circuit of a file to its reader.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from compiler.ir import CortexError, unknown
from compiler.verify.recorded.error_neuron import error_recording
from compiler.verify.recorded.format import Arrays, Recording, text_of
from compiler.verify.recorded.pal import pal_recording

CIRCUITS: dict[str, Callable[[str, Arrays, dict[str, Any]], Recording]] = {
    "pal": pal_recording, "errormc": error_recording, "sacramento2018": error_recording, "dPC": error_recording,
    "ann": error_recording}
"""Circuit -> reader of its recordings."""


def published_recording(name: str, arrays: Arrays) -> Recording:
    """Raises V103 for a circuit that is not there, V104 for a text that is not a JSON object, and the others."""
    options = _options(arrays)
    model = str(options.get("mc_model", "errormc" if "target_on" in arrays else "pal"))
    if model not in CIRCUITS:
        raise unknown("V103", f"circuit of '{name}'", model, CIRCUITS)
    return CIRCUITS[model](name, arrays, options)


def _options(arrays: Arrays) -> dict[str, Any]:
    try:
        options = json.loads(text_of(arrays, "params_json"))
    except json.JSONDecodeError as error:
        raise CortexError("V104", f"'params_json' is no JSON text: {error}.") from None
    if not isinstance(options, dict):
        raise CortexError("V104", f"'params_json' must hold an object of options, not {type(options).__name__}.")
    return options


RECORDINGS = {"pal": ("pal_[0-9]*.npz", "232_fw_bw_noise"), "error-neuron": ("errormc_errormc_*.npz", "3-2_on"),
              "dendritic": ("errormc_sacramento2018_*.npz", "3-2_on"), "dpc": ("errormc_dPC_*.npz", "3-2_on"),
              "ann": ("errormc_ann_*.npz", "3-2_on")}
"""Circuit -> its recordings, and the one that finds most."""


def published_files(circuit: str, folder: str | Path | None = None) -> list[Path]:
    """The recordings of a circuit, the best first. Raises V101 where there are none, V103 for an unknown circuit."""
    default = os.environ.get("CORTEXC_GOLDEN", str(Path(__file__).parents[3] / ".." / "shared" / "golden"))
    folder = Path(str(folder or default))
    if circuit not in RECORDINGS:
        raise unknown("V103", "circuit of the recordings", circuit, RECORDINGS)
    pattern, best = RECORDINGS[circuit]
    files = sorted(folder.glob(pattern), key=lambda path: (best not in path.name, path.name))
    if not files:
        raise CortexError("V101", f"folder '{folder}' holds no recording {pattern}.", "Give it with --golden FOLDER.")
    return files
