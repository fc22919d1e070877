"""The native backend: the generated kernels in a plain loop, without Lava."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

import numpy as np

from compiler.backends.blocks import Pace, most_steps
from compiler.backends.feeding import make_feed, sample_table
from compiler.backends.loading import load_kernels
from compiler.backends.lowering.c_module import c_source
from compiler.backends.lowering.program import Program
from compiler.backends.recording import Records, current, pack, record_pieces, sized
from compiler.backends.runtime import Block
from compiler.ir.protocol import Protocol


class Native:
    """Runs a program in this process. `samples` is (rows, sample_width); `records` is a flat float64 buffer."""

    def __init__(self, program: Program, protocol: Protocol, samples: np.ndarray, seeds: Sequence[int],
                 recorded_noise: np.ndarray | None = None):
        self.program, self.protocol = program, sized(program, protocol)
        self.group = program.select()
        self.feed = make_feed(program.graph, self.protocol, seeds, recorded_noise)
        self.samples = sample_table(program.graph, self.protocol, samples)
        self.memory = self.group.memory()
        self.buffer = np.zeros(max(self.feed.record_size, 1))
        self._load()

    def _load(self) -> None:
        """Makes the kernels ready to be called."""
        kernels = load_kernels(self.program.source, lambda: c_source(self.program, [self.group], whole=True))
        self.kernels = kernels.bind(0, self.memory, self.group.table, record_pieces(self.group, self.protocol),
                                    self.samples, self.buffer)

    @property
    def position(self) -> int:
        """Network steps done."""
        return self.feed.position

    @property
    def records(self) -> Records:
        return Records(self.program, self.protocol, self.feed, self.buffer)

    @property
    def stored(self) -> Collection[str]:
        return self.program.slots.sizes

    @property
    def pace(self) -> Pace:
        return Pace(most_steps(self.feed.noise.width))

    def run(self, steps: int | None = None, block: int = 1000, on_block: Callable[[int], None] | None = None) -> int:
        """Advances by `steps` (default: to the end), in blocks; returns the position."""
        end = self.feed.total if steps is None else min(self.feed.total, self.feed.position + steps)
        while self.feed.position < end:
            self._block(self.feed.block(min(block, end - self.feed.position)))
            if on_block:
                on_block(self.feed.position)
        return self.feed.position

    def _block(self, b: Block) -> None:
        self.kernels.run(b, 0, len(self.group.step), 0, len(b.gates), False, True)

    def value(self, quantity: str) -> np.ndarray:
        """A stored quantity now, in user shape."""
        return current(self.program, quantity, lambda slot: np.array(self.group.view(self.memory, slot)))

    def put(self, quantity: str, values: np.ndarray) -> None:
        """Sets a stored quantity, given in user shape; not a hoisted weight."""
        packed = pack(self.program, quantity, values)
        self.group.view(self.memory, quantity)[:len(packed)] = packed

    def state(self) -> dict[str, np.ndarray]:
        """Everything that the next step depends on, by slot name: the same for every backend and granularity."""
        result = {f"memory.{name}": np.array(self.group.view(self.memory, name)) for name in self.group.slot_names}
        result |= {f"feed.{name}": array for name, array in self.feed.state().items()}
        return result | {"records": self.buffer.copy()}

    def restore(self, state: dict[str, np.ndarray]) -> None:
        """Continues from `state()`, to the same bits."""
        for name in self.group.slot_names:
            self.group.view(self.memory, name)[:] = state[f"memory.{name}"]
        self.feed.restore({k.removeprefix("feed."): v for k, v in state.items() if k.startswith("feed.")})
        self.buffer[:] = state["records"]

    def close(self) -> None:
        """Nothing to end; for the interface shared with Lava."""
