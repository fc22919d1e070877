"""What backends in this process have in common: a feed, a record buffer, and a loop over blocks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from cortexc.compiler.backends.blocks import Pace, most_steps
from cortexc.compiler.backends.feeding import make_feed, sample_table
from cortexc.compiler.backends.runtime import Block, Feed
from cortexc.compiler.ir import Graph
from cortexc.compiler.ir.model import Array
from cortexc.compiler.ir.protocol import Protocol

State = dict[str, Array]


def sized(protocol: Protocol, sizes: Mapping[str, int]) -> Protocol:
    """The protocol with the width of every stream, from the sizes of quantities."""
    streams = tuple(replace(s, width=sum(sizes[q] for q in s.quantities)) for s in protocol.streams)
    return replace(protocol, streams=streams)


@dataclass(frozen=True)
class Records:
    """What a run recorded, by stream. `shaped(quantity, flat)` gives the user's shape."""

    protocol: Protocol
    feed: Feed
    buffer: Array
    sizes: Mapping[str, int]
    shaped: Callable[[str, Array], Array]

    def rows(self, stream: str, quantity: str, first: int = 0, stop: int | None = None) -> Array:
        """Rows `first` to `stop` (None: to the last), which a stream with a window must still hold. States: (rows,
        batch, n). Weights: (rows, copies, n_post, n_pre). Raises E279."""
        index, place = self.protocol.place(stream, quantity)
        spec, start = self.protocol.streams[index], int(self.feed.bases[index])
        count = self.feed.rows_written[index] if stop is None else stop
        column = sum(self.sizes[q] for q in spec.quantities[:place])
        own = slice(column, column + self.sizes[quantity])
        if not spec.window:
            table = self.buffer[start:start + count * spec.width].reshape(count, spec.width)
            return self.shaped(quantity, table[first:, own])
        held = min(spec.window, self.feed.counts[index])
        table = self.buffer[start:int(self.feed.bases[index + 1])].reshape(held, spec.width)[:, own]
        begin, end = first % spec.window, first % spec.window + count - first
        whole = end <= spec.window
        return self.shaped(quantity, table[begin:end] if whole else np.concatenate(
            [table[begin:], table[:end - spec.window]]))


class InProcess(ABC):
    """`stored`: sizes of the quantities that have a value, by name."""

    block = 1000

    def __init__(self, graph: Graph, stored: Mapping[str, int], protocol: Protocol, samples: Array,
                 seeds: Sequence[int], recorded_noise: Array | None):
        self.graph, self.stored, self.protocol = graph, stored, sized(protocol, stored)
        self.feed = make_feed(graph, self.protocol, seeds, recorded_noise)
        self.samples = sample_table(graph, self.protocol, samples)
        self.buffer = np.zeros(max(self.feed.record_size, 1))
        self.pace = Pace(most_steps(self.feed.noise.width))

    @property
    def position(self) -> int:
        """Network steps done."""
        return self.feed.position

    @property
    def records(self) -> Records:
        return Records(self.protocol, self.feed, self.buffer, self.stored, self._shaped)

    @abstractmethod
    def _shaped(self, quantity: str, flat: Array) -> Array:
        """A quantity's recorded numbers in user shape."""

    @abstractmethod
    def _block(self, block: Block) -> None:
        """Advances by the steps of a block."""

    def run(self, steps: int | None = None, block: int | None = None,
            on_block: Callable[[int], None] | None = None) -> int:
        """Advances by `steps` (default: to the end), in blocks; returns the position."""
        end = self.feed.total if steps is None else min(self.feed.total, self.feed.position + steps)
        while self.feed.position < end:
            self._block(self.feed.block(min(block or self.block, end - self.feed.position)))
            if on_block:
                on_block(self.feed.position)
        return self.feed.position

    def state(self) -> State:
        """Everything that the next step depends on, besides what `_memory` gives."""
        fed = {f"feed.{name}": array for name, array in self.feed.state().items()}
        return {**self._memory(), **fed, "records": self.buffer.copy()}

    @abstractmethod
    def _memory(self) -> State:
        """What the next step depends on, but for the feed."""

    def restore(self, state: State) -> None:
        self.feed.restore({k.removeprefix("feed."): v for k, v in state.items() if k.startswith("feed.")})
        self.buffer[:] = state["records"]

    def close(self) -> None:  # noqa: B027 - nothing to end is an answer too
        """Nothing to end; for the interface shared with Lava."""
