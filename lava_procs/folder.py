"""The files of a compiled folder that are data: read, and checked before anything runs by them."""

from __future__ import annotations

import contextlib
import hashlib
import json
import traceback
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

DESCRIPTION, ARRAYS = "program.json", "program.safetensors"
DIGEST = "sha256"
KERNELS = "kernels"
"""In the description: digests of `kernels.py` and `kernels.c` as they were written."""


class FolderError(Exception):
    """A compiled folder that cannot run. `code` is stable, `message` says which file and what."""

    def __init__(self, code: str, message: str, hint: str = ""):
        super().__init__(f"{code} {message}" + (f" {hint}" if hint else ""))
        self.code, self.message, self.hint = code, message, hint


def digest(description: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> str:
    """Over everything that tells kernels where to read and write: the description, the tables of operations and of
    recordings, the lists of synapses, and the shape of all arrays. Samples and first values may be edited."""
    plain = {key: value for key, value in description.items() if key != DIGEST}
    found = hashlib.sha256(json.dumps(plain, sort_keys=True).encode())
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        found.update(f"{name} {array.shape} {array.dtype.str};".encode())
        found.update(array.tobytes() if name.startswith(("table.", "pieces.", "indices.")) else b"")
    return found.hexdigest()


def text_digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def kernels_of(folder: Path, description: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """The kernels as Python and as C, without the other where one was edited: what was edited is what runs. Raises E707
    where both were."""
    texts = {name: (folder / name).read_text(encoding="utf-8") for name in description[KERNELS]}
    edited = [name for name, text in texts.items() if text_digest(text) != description[KERNELS][name]]
    if len(edited) > 1:
        raise FolderError("E707", f"{' and '.join(edited)} of '{folder}' were edited, and only one of them can run.",
                          "Undo the changes of one; kernels.c is what runs where there is a C compiler.")
    return (None if edited == ["kernels.c"] else texts["kernels.py"],
            None if edited == ["kernels.py"] else texts["kernels.c"])


def read_folder(folder: Path) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """The description and the arrays of a compiled folder. Raises FolderError (E706)."""
    try:
        description = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
        arrays = load_file(folder / ARRAYS)
    except Exception as error:  # missing, truncated, no JSON: whatever it is, the folder cannot run
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise FolderError("E706", f"cannot read {DESCRIPTION} and {ARRAYS} of '{folder}': {reason}.",
                          "Compile it again.") from None
    if not isinstance(description, dict) or description.get(DIGEST) != digest(description, arrays):
        raise FolderError("E706", f"{DESCRIPTION} and {ARRAYS} of '{folder}' do not belong together: one was edited or "
                                  "is of another program.", "Compile it again; what may be edited is the code.")
    return description, arrays


@contextlib.contextmanager
def running_code_of(path: Path) -> Iterator[None]:
    """What the code of a folder raises when it is loaded becomes a FolderError (E707) with its own line."""
    try:
        yield
    except FolderError:
        raise
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)
        lines = [frame.lineno for frame in frames if Path(frame.filename).name == path.name]
        line = lines[-1] if lines else getattr(error, "lineno", None)
        reason = (str(error) or "no more is known").strip().splitlines()[0]
        raise FolderError("E707", f"the code in '{path}'{f', line {line},' if line else ''} cannot run: "
                                  f"{type(error).__name__}: {reason}.",
                          "Mend it, or compile the folder again.") from error
