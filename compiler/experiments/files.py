"""Files of a run folder, never half-written: everything goes to a temporary name and is renamed when complete.

X130 a folder that cannot be written; X131 a file that cannot be written (disk full, no permission); X133 a home folder
that is not there.
"""

from __future__ import annotations

import contextlib
import io
import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from compiler.ir.errors import CortexError


def user_path(path: str | Path) -> Path:
    """A path as a user writes it: `~` and `~name` are home folders. Raises X133."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise CortexError("X133", f"there is no home folder for '{path}'.", "Write the path in full.") from None


def writable_folder(folder: str | Path) -> Path:
    """The folder, made if it is not there; a file is written and removed to be sure. Raises X130."""
    path = user_path(folder)
    probe = path / f".cortexc_probe_{os.getpid()}"
    try:
        path.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(b"cortexc")
        probe.unlink()
    except OSError as error:
        raise CortexError("X130", f"cannot write to folder '{path}': {error.strerror}.",
                          "Choose another one with -o.") from None
    return path


def write_bytes(path: Path, content: bytes) -> None:
    """Writes a file completely or not at all; what was there before stays until then. Raises X131."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with open(partial, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except OSError as error:
        raise CortexError("X131", f"cannot write '{path}' ({len(content)} bytes): {error.strerror}.",
                          "Free some space or choose another folder; what was there before is intact.") from None
    finally:
        with contextlib.suppress(OSError):
            partial.unlink()


def write_text(path: Path, text: str) -> None:
    write_bytes(path, text.encode())


def write_json(path: Path, table: Mapping[str, Any]) -> None:
    write_text(path, json_text(table) + "\n")


def json_text(table: Mapping[str, Any]) -> str:
    """Indented JSON; numpy's numbers and arrays become plain ones, a number that is not finite becomes null."""
    return json.dumps(_plain(table), indent=2, allow_nan=False)


def _plain(value: Any) -> Any:
    if isinstance(value, (np.ndarray, np.generic)):
        value = value.tolist()
    if isinstance(value, Mapping):
        return {str(key): _plain(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(part) for part in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if isinstance(value, (str, int, float)) or value is None else str(value)


def write_safetensors(path: Path, arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str] | None = None) -> None:
    from safetensors.numpy import save

    contiguous = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    write_bytes(path, save(contiguous, dict(metadata or {})))


def write_npz(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type]
    write_bytes(path, buffer.getvalue())
