"""Files of a run folder, never half-written: everything goes to a temporary name and is renamed when complete.

X130 a folder that cannot be written; X131 a file that cannot be written (disk full, no permission); X132 a folder that
holds something else; X133 a home folder that is not there; X149 a folder that another process writes to.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import io
import itertools
import json
import math
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

import cortexc
from cortexc.compiler.ir.errors import CortexError

SAFETENSORS = {**{f"{kind}{size}": f"{letter}{8 * size}" for kind, letter in zip("fiu", "FIU", strict=True)
                for size in (1, 2, 4, 8)}, "b1": "BOOL"}
"""NumPy's kinds of numbers -> those of the format."""
LOCK = ".lock"
EXAMPLES = Path(cortexc.__file__).with_name("examples")


def shipped_experiments() -> dict[str, Path]:
    """Name -> file."""
    return {path.stem: path for path in sorted(EXAMPLES.glob("*.toml"))}


def brief(error: object) -> str:
    """The first line of an error, or its type if it says nothing."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


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
        try:
            probe.write_bytes(b"cortexc")
        finally:
            probe.unlink(missing_ok=True)
    except OSError as error:
        raise CortexError("X130", f"cannot write to folder '{path}': {error.strerror}.",
                          "Choose another one with -o.") from None
    return path


@contextlib.contextmanager
def made_for(folder: Path | None) -> Iterator[None]:
    """Removes the folder again, if it is empty, when what it was made for fails."""
    try:
        yield
    except BaseException:
        if folder is not None:
            with contextlib.suppress(OSError):
                folder.rmdir()
        raise


@contextlib.contextmanager
def held(folder: Path | None) -> Iterator[None]:
    """A folder that no other process holds meanwhile; one that was made for it goes again if it stays empty. Raises
    X130 and X149."""
    if folder is None:
        yield
        return
    made = None if folder.exists() else folder
    with made_for(made):
        lock = writable_folder(folder) / LOCK
        file = _locked(lock)
        try:
            yield
        finally:
            lock.unlink(missing_ok=True)
            os.close(file)


def _locked(path: Path) -> int:
    """A lock of this process, which ends with it, whoever it has started. Raises X149."""
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EAGAIN):
                os.close(file)
                raise CortexError("X149", f"another run writes to folder '{path.parent}'.",
                                  "Wait for it, or choose another folder with -o.") from None
            return file  # a file system without locks
        if path.exists() and os.path.samestat(os.fstat(file), path.stat()):
            return file
        os.close(file)  # whoever held it has removed it


@contextlib.contextmanager
def written_aside(folder: str | Path, last: str) -> Iterator[Path]:
    """A folder to write into, which takes the place of `folder` when everything is there; it goes when something fails.

    `last`: the file that every such folder holds; it is put in place after the others. Files that are not ours stay.
    Raises X130, X131, and X132 for a folder that is not empty and not of this kind, before anything is written.
    """
    target = user_path(folder).absolute()
    if target.is_dir() and any(target.iterdir()) and not (target / last).is_file():
        raise CortexError("X132", f"folder '{folder}' holds something else, without a {last}: "
                                  f"{', '.join(sorted(path.name for path in target.iterdir())[:4])}.",
                          "Choose a new one with -o.")
    if target.exists() and not target.is_dir():
        raise CortexError("X130", f"cannot write to folder '{folder}': it is a file.", "Choose another one with -o.")
    beside = writable_folder(target if target.is_dir() else target.parent)
    aside = beside / f".{target.name}.{os.getpid()}.partial"
    try:
        aside.mkdir()
        yield aside
        if target.exists():
            for path in sorted(aside.iterdir(), key=lambda path: (path.name == last, path.name)):
                os.replace(path, target / path.name)
        else:
            aside.rename(target)
    except OSError as error:
        raise CortexError("X131", f"cannot write into '{folder}': {error.strerror or error}.",
                          "Free some space or choose another folder; what was there before is intact.") from None
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def write_bytes(path: Path, content: bytes) -> None:
    """Writes a file completely or not at all; what was there before stays until then. Raises X131."""
    write_parts(path, [content], len(content))


def write_parts(path: Path, content: Iterable[bytes | memoryview], size: int) -> None:
    """The same, part by part; `size` in all."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with open(partial, "wb") as file:
            for part in content:
                file.write(part)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except OSError as error:
        raise CortexError("X131", f"cannot write '{path}' ({size} bytes): {error.strerror}.",
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
    """One array after the other: those of a mapping that makes them when it is asked never lie in memory together."""
    table: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    end = 0
    kinds = {name: (array.dtype.str[1:], array.shape, array.nbytes) for name, array in arrays.items()}
    names = sorted(kinds, key=lambda name: (-int(kinds[name][0][1:]), name))
    for name in names:
        kind, shape, size = kinds[name]
        table[name] = {"dtype": SAFETENSORS[kind], "shape": list(shape), "data_offsets": [end, end + size]}
        end += size
    head = json.dumps(table, separators=(",", ":")).encode()
    head += b" " * (-len(head) % 8)
    parts = (np.ascontiguousarray(arrays[name]).reshape(-1).view(np.uint8).data for name in names)
    write_parts(path, itertools.chain([len(head).to_bytes(8, "little"), head], parts), 8 + len(head) + end)


def write_npz(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type]
    write_bytes(path, buffer.getvalue())
