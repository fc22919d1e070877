"""Runs a program on Lava's CPU simulator, with the interface of the native backend."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from cortexc.compiler.backends.blocks import Pace, first_block
from cortexc.compiler.backends.feeding import make_feed, sample_table
from cortexc.compiler.backends.in_process import Records, sized
from cortexc.compiler.backends.lava.emit import OWN, emit
from cortexc.compiler.backends.lowering.program import Program
from cortexc.compiler.backends.recording import current, packed, unpack
from cortexc.compiler.backends.runtime import Feed
from cortexc.compiler.ir.errors import CortexError, RunFailed
from cortexc.compiler.ir.model import Array
from cortexc.compiler.ir.protocol import Protocol
from cortexc.compiler.passes.stock import StockPlan
from cortexc.lava_procs.folder import FolderError
from cortexc.lava_procs.host import Host

BLOCK_MS, CALL_SECONDS, MOST_STEPS = 50.0, 0.5, 10**7
"""Aimed duration of one Lava step at granularity `network`, long against Lava's overhead, short against Ctrl-C; and
least duration and greatest length of one call, which costs more."""


class LavaRun:
    """One Lava network, emitted into `folder` (default: a temporary one) and run through the supervisor.

    `synchronisation`: `async` (only messages synchronise the processes) or `loihi` (every step, as a chip would); the
    results are the same. `stock`: groups that stock Lava processes replace.
    Errors of the network become coded errors: E701 a process raised, E702 a process died,
    E703 no progress, E704 interrupted (the state is at a block boundary), E705 a process was lost.
    """

    def __init__(self, program: Program, protocol: Protocol, samples: Array, seeds: Sequence[int],
                 recorded_noise: Array | None = None, *, folder: str | Path | None = None,
                 block: int | None = None, synchronisation: str = "async", stock: StockPlan = OWN):
        self.program, self.protocol = program, sized(protocol, program.slots.sizes)
        self.stored: Mapping[str, int] = program.slots.sizes
        self._temporary = tempfile.TemporaryDirectory(prefix="cortexc_") if folder is None else None
        self.folder = Path(folder or self._temporary.name)  # type: ignore[union-attr]
        make_feed(program.graph, self.protocol, seeds, recorded_noise)
        samples = sample_table(program.graph, self.protocol, samples)
        block = block or first_block(program, BLOCK_MS)
        self.pace = Pace(MOST_STEPS, block if len(program.groups) == 1 else 1, CALL_SECONDS)
        emit(program, self.protocol, samples, list(seeds), self.folder, block=block, recorded_noise=recorded_noise,
             synchronisation=synchronisation, stock=stock)
        self.stock = stock
        self.load()

    def load(self) -> None:
        """Reads the folder, anew where its code was edited. Raises E706 and E707."""
        with supervised(self):
            self.host = Host(self.folder)

    @property
    def feed(self) -> Feed:
        feed: Feed = self.host.leader.feed_now()
        return feed

    @property
    def position(self) -> int:
        """Network steps done."""
        return self.host.position

    @property
    def records(self) -> Records:
        return Records(self.protocol, self.feed, self.host.records, self.stored, partial(unpack, self.program))

    def run(self, steps: int | None = None, block: int | None = None,
            on_block: Callable[[int], None] | None = None) -> int:
        """Advances by `steps` (default: to the end), calling `on_block(position)` about every `block` steps."""
        position, total = self.position, self.host.feed.total
        end = total if steps is None else min(total, position + steps)
        with supervised(self):
            while position < end:
                chunk = end - position if on_block is None or block is None else min(block, end - position)
                position = self.host.run(chunk)
                if on_block:
                    on_block(position)
        return position

    def value(self, quantity: str) -> Array:
        return current(self.program, quantity, self.host.value)

    def put(self, quantity: str, values: Array) -> None:
        """Sets a stored quantity in every process that has it, between runs; not a hoisted weight."""
        for slot, found in packed(self.program, quantity, values, self.host.value).items():
            self.host.put(slot, found)

    def state(self) -> dict[str, Array]:
        """Raises E522 in the middle of a run with stock processes, whose buffers are their own."""
        if self.position and (self.stock.populations or self.stock.projections):
            raise CortexError("E522", "a network with stock processes cannot be continued from a checkpoint.",
                              "Run it without run.stock, with the same results.")
        return self.host.state()

    def restore(self, state: dict[str, Array]) -> None:
        self.host.restore(state)

    def close(self) -> None:
        """Ends the network and removes a temporary folder; safe to call twice."""
        self.host.stop()
        if self._temporary is not None:
            self._temporary.cleanup()

    def __enter__(self) -> LavaRun:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@contextmanager
def supervised(run: LavaRun) -> Iterator[None]:
    """Turns the supervisor's errors into coded ones, and ends the network on any error."""
    try:
        yield
    except BaseException as error:
        if hasattr(run, "host"):
            run.host.stop()
        if coded := coded_error(error):
            raise coded from error
        raise


def coded_error(error: BaseException) -> CortexError | None:
    from cortexc.lava_procs import supervisor as s

    if isinstance(error, FolderError):
        return CortexError(error.code, error.message, error.hint)
    if isinstance(error, s.ChildRaised) and error.coded:
        return CortexError(*error.coded)
    if isinstance(error, s.ChildRaised):
        return RunFailed("E701", f"process '{error.process_name}' raised an exception:\n{error.traceback_text}")
    if isinstance(error, s.ChildDied):
        return RunFailed("E702", f"{error}.", "It may have run out of memory, or was killed.")
    if isinstance(error, s.Stalled):
        return RunFailed("E703", f"{error}")
    if isinstance(error, s.ChildLost):
        return RunFailed("E705", f"{error}.", "Nothing else in the program may collect its children or ignore SIGCHLD.")
    if isinstance(error, s.Interrupted):
        return _interrupted(error)
    return None


def _interrupted(error: Any) -> CortexError:
    coded = RunFailed("E704", f"{error}.")
    coded.exit_code = 128 + error.signal
    return coded
