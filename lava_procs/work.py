"""The work of one group of operations: its memory, its rows of the program, and its feed. Knows no Lava.

Memory, recordings and the mailbox lie in anonymous shared memory made before the processes are forked, so the parent
reads weights and recordings directly, at block boundaries, without asking Lava.
"""

from __future__ import annotations

import json
import mmap
from typing import Any

import numpy as np
from numpy.typing import NDArray

FETCH = 256
"""Steps that a group fetches at once when it runs one step per Lava step."""


def shared_array(size: int, dtype: type = np.float64) -> NDArray[Any]:
    """A zeroed array in anonymous shared memory; it has no name, so nothing can be left behind."""
    itemsize = np.dtype(dtype).itemsize
    return np.frombuffer(mmap.mmap(-1, max(size, 1) * itemsize), dtype=dtype)[:size]


class Mailbox:
    """A feed's state in shared memory: a length, a JSON header, and the arrays behind it."""

    def __init__(self, capacity: int):
        self.bytes = shared_array(capacity + 16, np.uint8)

    def write(self, state: dict[str, NDArray[Any]]) -> None:
        """Raises ValueError when the state does not fit."""
        arrays = {k: np.ascontiguousarray(v) for k, v in state.items()}
        header = json.dumps([[k, v.dtype.str, list(v.shape)] for k, v in arrays.items()]).encode()
        payload = b"".join([len(header).to_bytes(8, "little"), header, *(v.tobytes() for v in arrays.values())])
        self.bytes[:len(payload)] = np.frombuffer(payload, np.uint8)

    def read(self) -> dict[str, NDArray[Any]]:
        """The state written last; empty if there was none."""
        raw = self.bytes.tobytes()
        length, result = int.from_bytes(raw[:8], "little"), {}
        at = 8 + length
        for name, dtype, shape in json.loads(raw[8:at]) if length else []:
            count = int(np.prod(shape))
            result[name] = np.frombuffer(raw, dtype, count, at).reshape(shape).copy()
            at += count * np.dtype(dtype).itemsize
        return result


class GroupWork:
    """What a group's process model does, apart from sending and receiving.

    name: the group. memory: float64. offsets: slot name -> (offset, size). kernels: bound to this memory; their first
    `n_step` rows make one step. records: whether the group records anything. limit: shared int64, the step at which to
    stop.
    """

    def __init__(self, name: str, memory: NDArray[Any], offsets: dict[str, tuple[int, int]], n_step: int, kernels: Any,
                 feed: Any, records: bool, limit: NDArray[Any], block: int):
        self.name, self.memory, self.offsets, self.n_step = name, memory, offsets, n_step
        self.kernels, self.feed, self.records, self.limit = kernels, feed, records, limit
        self.block_steps = block
        self.mailbox = Mailbox(2 * _size_of(feed))
        self.at = shared_array(2, np.int64)  # steps done of the present block; network steps done in all
        self.block: Any = None
        self.local: dict[str, str] = {}
        self.cells: dict[str, int] = {}
        self.step = 0  # of the present block

    def bind(self, names: dict[str, str], cells: dict[str, int] | None = None) -> GroupWork:
        """Lets the process model call slots by its own names. `cells`: lengths of those that arrive without padding."""
        self.local, self.cells = dict(names), dict(cells or {})
        return self

    def memory_of(self, slot: str) -> NDArray[Any]:
        """A slot of this group's memory; `slot@first:last` is a part of one."""
        slot, _, cells = slot.partition("@")
        offset, size = self.offsets[slot]
        first, last = map(int, cells.split(":")) if cells else (0, size)
        return self.memory[offset + first:offset + last]

    def view(self, name: str) -> NDArray[Any]:
        """A slot of this group's memory, by the model's own name."""
        return self.memory_of(self.local[name])

    def size(self, name: str) -> int:
        """Length of a slot, or 1 for the tick that holds unconnected circuits together, which is bound to none."""
        if name in self.cells:
            return self.cells[name]
        return len(self.view(name)) if name in self.local else 1

    def warm_up(self) -> None:
        """Compiles (or loads from the cache) what this group calls, so that forked children inherit it."""
        empty = self.feed.block(0)
        self._run(empty, 0, 0, 0, 0, False)

    def _run(self, block: Any, first: int, last: int, start: int, stop: int, whole: bool) -> None:
        self.kernels.run(block, first, last, start, stop, False, whole)

    def _fetch(self, steps: int) -> None:
        self.mailbox.write(self.feed.state())
        self.block = self.feed.block(steps)
        self.at[0] = self.step = 0

    # ---- for stock processes, whose Vars are integers

    @property
    def seed(self) -> int:
        """The run's seed."""
        return int(self.feed.noise.seeds[0])

    def integers(self, name: str) -> NDArray[Any]:
        return self.view(name).astype(np.int64)

    def weights(self, shape: tuple[int, int], scale: float) -> NDArray[Any]:
        """The slot `w` as (n_post, n_pre) integers, times `scale`."""
        return (self._matrix("w", shape) * scale).T.astype(np.int64)

    def _matrix(self, name: str, shape: tuple[int, int]) -> NDArray[Any]:
        """(n_pre, n_post), a view."""
        return self.view(name).reshape(shape[1], -1)[:, :shape[0]]

    def copy(self, name: str, values: NDArray[Any]) -> None:
        """Values into a slot, if this group keeps it."""
        if name in self.local:
            self.view(name)[:] = values

    def copy_weights(self, name: str, values: NDArray[Any]) -> None:
        self._matrix(name, (values.shape[0], values.shape[1]))[:] = values.T

    # ---- one group for the whole network: many steps per Lava step

    def run_block(self) -> None:
        """The next block of network steps, up to the limit."""
        self._fetch(min(self.block_steps, int(self.limit[0]) - self.feed.position))
        b = self.block
        self._run(b, 0, self.n_step, 0, len(b.gates), True)
        self.at[:] = len(b.gates), self.feed.position

    # ---- several groups: one network step per Lava step

    def begin(self) -> None:
        """Makes the next step's gates, samples and noise ready."""
        if self.block is None or self.step == len(self.block.gates):
            self._fetch(FETCH)

    def compute(self, first: int, last: int) -> None:
        """Runs rows first..last of this group for the present step. Raises ValueError for rows that are not there."""
        if not 0 <= first <= last <= self.n_step:
            raise ValueError(f"{self.name} has rows 0 to {self.n_step}, not {first} to {last}")
        self._run(self.block, first, last, self.step, self.step + 1, False)

    def end(self) -> None:
        """Records what is due and closes the step."""
        if self.records:
            self.kernels.record(self.block, self.step)
        self.step += 1
        self.at += 1

    # ---- for the parent, between runs

    def feed_now(self) -> Any:
        """Brings the parent's copy of the feed to the child's position; returns it."""
        state = self.mailbox.read() if self.feed.position != self.at[1] else None
        if state:
            self.feed.restore(state)
            self.feed.block(int(self.at[0]), drawn=False)
        return self.feed


def _size_of(feed: Any) -> int:
    """Bytes that the feed's state may take, with orders of every phase."""
    samples = sum(p["count"] for p in feed.phases.values()) * feed.batch * 8
    return int(2 * samples + 6000 * max(len(feed.generators), 1) + 65536)
