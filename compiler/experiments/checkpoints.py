"""Checkpoints: one safetensors file with all that the next step depends on; a resumed run ends with the same bits.

X140 no checkpoint; X141 not readable (truncated, corrupt); X142 of another format; X143 of another circuit;
X144 of another experiment; X145 of another program (passes, backend). Writing raises X131.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cortexc.compiler.backends.table import Runner
from cortexc.compiler.experiments.files import brief, write_safetensors
from cortexc.compiler.ir import CortexError, Graph, show_graph
from cortexc.compiler.ir.protocol import Stream

FORMAT = "1"
NAME = "checkpoint.safetensors"
SET, TAKEN = "set.", "taken."


@dataclass(frozen=True)
class Identity:
    """What a checkpoint belongs to: digests of the circuit (text and arrays), the experiment and its samples."""

    graph: str
    experiment: str
    samples: str


def graph_sha256(graph: Graph) -> str:
    """Digest of the canonical text and of every array with its name and shape."""
    digest = hashlib.sha256(show_graph(graph).encode())
    digest.update(arrays_sha256(graph.arrays).encode())
    return digest.hexdigest()


def arrays_sha256(arrays: Mapping[str, np.ndarray]) -> str:
    """Digest over names, shapes, types and little-endian bytes, in the order of the names."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(f"{name} {array.shape} {array.dtype.str[1:]};".encode())
        digest.update(array.astype(array.dtype.newbyteorder("<"), copy=False).data)
    return digest.hexdigest()


Changes = list[list[Any]]
"""[position, name] of every quantity that was set between steps."""


def save_checkpoint(path: Path, runner: Runner, identity: Identity, parameters: Mapping[str, np.ndarray] | None = None,
                    changes: Changes | None = None, taken: Mapping[str, np.ndarray] | None = None) -> None:
    """Writes the runner's state; an older checkpoint stays intact until the new one is complete. `parameters`: those
    that were set since the start; `changes`: all that was; `taken`: what was taken out of the recordings. Raises X131.
    """
    arrays = runner.state()
    records = arrays.pop("records")
    arrays |= _written(runner, records)
    arrays |= {f"{SET}{name}": value for name, value in (parameters or {}).items()}
    arrays |= {f"{TAKEN}{name}": value for name, value in (taken or {}).items()}
    metadata = {"format": FORMAT, "position": str(int(arrays["feed.position"][0])), **asdict(identity),
                **({"set": json.dumps(changes)} if changes else {}), "sha256": arrays_sha256(arrays)}
    write_safetensors(path, arrays, metadata)


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint of this experiment, read and checked."""

    path: Path
    metadata: Mapping[str, str]
    arrays: Mapping[str, np.ndarray]

    @property
    def parameters(self) -> dict[str, np.ndarray]:
        """Those that were set between steps; the runner has to have them before its state is restored."""
        return {name.removeprefix(SET): array for name, array in self.arrays.items() if name.startswith(SET)}

    @property
    def taken(self) -> dict[str, np.ndarray]:
        """What had been taken out of the recordings."""
        return {name.removeprefix(TAKEN): array for name, array in self.arrays.items() if name.startswith(TAKEN)}

    @property
    def changes(self) -> Changes:
        return json.loads(self.metadata.get("set", "[]"))

    def restore(self, runner: Runner) -> int:
        """Puts a fresh runner where the checkpoint was taken; returns the position. Raises X145."""
        _check_quantities(self.path, self.arrays, runner.state())
        state = {name: array for name, array in self.arrays.items() if not name.startswith("records.")}
        try:
            runner.restore({**state, "records": _expanded(runner, self.arrays)})
        except (KeyError, ValueError, TypeError, IndexError, OverflowError) as error:
            raise CortexError("X145", f"checkpoint '{self.path}' does not fit the program ({brief(error)}).",
                              "Resume with the passes and the backend that it was made with.") from None
        return runner.position


def open_checkpoint(path: Path, identity: Identity) -> Checkpoint:
    """Raises X140 to X144."""
    metadata, arrays = read_checkpoint(path)
    _check_identity(path, metadata, identity)
    return Checkpoint(path, metadata, arrays)


def _check_quantities(path: Path, found: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray]) -> None:
    """Every quantity of the program is there, with its size. (The interpreter adds some when they first appear.)"""
    wanted = [name for name in expected if name.startswith(("memory.", "history."))]
    missing = [name for name in wanted if name not in found]
    different = [name for name in wanted if name in found and found[name].size != expected[name].size]
    if missing or different:
        raise CortexError("X145", f"checkpoint '{path}' is of another program: {len(missing)} of {len(wanted)} "
                                  f"quantities are missing, {len(different)} differ in size.",
                          "Resume with the passes and the backend that it was made with.")


def read_checkpoint(path: Path) -> tuple[dict[str, str], dict[str, np.ndarray]]:
    """Metadata and arrays, checked against their digest. Raises X140, X141, X142."""
    if not path.exists():
        raise CortexError("X140", f"no checkpoint '{path}'.", "Start without --resume, or name the run's folder.")
    try:
        content = path.read_bytes()
        metadata, arrays = _parse(content)
    except OSError as error:
        raise CortexError("X141", f"cannot read checkpoint '{path}': {error.strerror}.") from None
    except Exception as error:  # truncated or not a safetensors file: whatever it is, it cannot be resumed
        raise CortexError("X141", f"checkpoint '{path}' is truncated or corrupt ({brief(error)}).",
                          "Delete it and start again.") from None
    if metadata.get("format") != FORMAT:
        raise CortexError("X142", f"checkpoint '{path}' has format {metadata.get('format')}, this version reads "
                                  f"{FORMAT}.")
    if metadata.get("sha256") != arrays_sha256(arrays):
        raise CortexError("X141", f"checkpoint '{path}' is corrupt: its content does not match its digest.",
                          "Delete it and start again.")
    return metadata, arrays


def _parse(content: bytes) -> tuple[dict[str, str], dict[str, np.ndarray]]:
    from safetensors.numpy import load

    arrays = load(content)
    (length,) = struct.unpack("<Q", content[:8])
    return json.loads(content[8:8 + length]).get("__metadata__", {}), arrays


def _check_identity(path: Path, metadata: Mapping[str, str], identity: Identity) -> None:
    if metadata.get("graph") != identity.graph:
        raise CortexError("X143", f"checkpoint '{path}' is of another circuit.",
                          "Resume with the experiment that it was made with, or start without --resume.")
    if (metadata.get("experiment"), metadata.get("samples")) != (identity.experiment, identity.samples):
        raise CortexError("X144", f"checkpoint '{path}' is of the same circuit in another experiment.",
                          "Resume with the same data and protocol, or start without --resume.")


# ---- the record buffer: only what has been written


def _written(runner: Runner, buffer: np.ndarray) -> dict[str, np.ndarray]:
    feed, streams = runner.feed, runner.protocol.streams
    sizes = [_kept_rows(stream, rows) * stream.width for stream, rows in zip(streams, feed.rows_written, strict=True)]
    return {f"records.{i}": buffer[int(feed.bases[i]):int(feed.bases[i]) + size] for i, size in enumerate(sizes)}


def _kept_rows(stream: Stream, written: int) -> int:
    """Nothing of a window, whose rows have been taken out."""
    return 0 if stream.window else int(written)


def _expanded(runner: Runner, arrays: Mapping[str, np.ndarray]) -> np.ndarray:
    feed, buffer = runner.feed, np.zeros(max(runner.feed.record_size, 1))
    for i, (stream, rows) in enumerate(zip(runner.protocol.streams, arrays["feed.rows_written"], strict=True)):
        start = int(feed.bases[i])
        buffer[start:start + _kept_rows(stream, rows) * stream.width] = arrays[f"records.{i}"]
    return buffer
