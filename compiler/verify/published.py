"""The published recordings: `params_json` and arrays named as in the authors' simulators.

`CIRCUITS` maps the circuit of a file to its reader.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from compiler.ir import CortexError, unknown
from compiler.verify.published_errors import error_recording
from compiler.verify.published_pal import pal_recording
from compiler.verify.recordings import Arrays, Recording, text_of

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
