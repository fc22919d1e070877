"""Checkpoints: one safetensors file with all that the next step depends on; a resumed run ends with the same bits.

X140 no checkpoint; X141 not readable (truncated, corrupt); X142 of another format; X143 of another circuit;
X144 of another experiment; X145 of another program (passes, backend). Writing raises X131.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cortexc.compiler.backends.table import Runner
from cortexc.compiler.experiments.files import brief, write_safetensors
from cortexc.compiler.ir import CortexError, Graph, show_graph

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
    arrays |= {name: records[place] for name, place in _places(runner, runner.feed.rows_written)}
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
        self._check_quantities(runner.state())
        state = {name: array for name, array in self.arrays.items() if not name.startswith("records.")}
        try:
            records = np.zeros(max(runner.feed.record_size, 1))
            for name, place in _places(runner, self.arrays["feed.rows_written"]):
                records[place] = self.arrays[name]
            runner.restore({**state, "records": records})
        except (KeyError, ValueError, TypeError, IndexError, OverflowError) as error:
            raise CortexError("X145", f"checkpoint '{self.path}' does not fit the program ({brief(error)}).",
                              "Resume with the passes and the backend that it was made with.") from None
        return runner.position


    def _check_quantities(self, expected: Mapping[str, np.ndarray]) -> None:
        """Every quantity of the program is there, with its size. (The interpreter adds some when they first appear.)"""
        wanted = [name for name in expected if name.startswith(("memory.", "history."))]
        there = [name for name in wanted if name in self.arrays]
        different = [name for name in there if self.arrays[name].size != expected[name].size]
        if len(there) < len(wanted) or different:
            raise CortexError("X145", f"checkpoint '{self.path}' is of another program: {len(wanted) - len(there)} of "
                                      f"{len(wanted)} quantities are missing, {len(different)} differ in size.",
                              "Resume with the passes and the backend that it was made with.")


def open_checkpoint(path: Path, identity: Identity) -> Checkpoint:
    """Raises X140 to X144."""
    metadata, arrays = read_checkpoint(path)
    if metadata.get("graph") != identity.graph:
        raise CortexError("X143", f"checkpoint '{path}' is of another circuit.",
                          "Resume with the experiment that it was made with, or start without --resume.")
    if (metadata.get("experiment"), metadata.get("samples")) != (identity.experiment, identity.samples):
        raise CortexError("X144", f"checkpoint '{path}' is of the same circuit in another experiment.",
                          "Resume with the same data and protocol, or start without --resume.")
    return Checkpoint(path, metadata, arrays)


def read_checkpoint(path: Path) -> tuple[dict[str, str], dict[str, np.ndarray]]:
    """Metadata and arrays, checked against their digest. Raises X140, X141, X142."""
    from safetensors.numpy import load

    if not path.exists():
        raise CortexError("X140", f"no checkpoint '{path}'.", "Start without --resume, or name the run's folder.")
    try:
        content = path.read_bytes()
        arrays, (length,) = load(content), struct.unpack("<Q", content[:8])
        metadata = json.loads(content[8:8 + length]).get("__metadata__", {})
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


def _places(runner: Runner, rows: Iterable[int]) -> Iterator[tuple[str, slice]]:
    """Where in the record buffer the rows of each stream lie that have been written; nothing of a window, whose rows
    have been taken out."""
    for i, (stream, written) in enumerate(zip(runner.protocol.streams, rows, strict=True)):
        start = int(runner.feed.bases[i])
        yield f"records.{i}", slice(start, start + (0 if stream.window else int(written) * stream.width))
