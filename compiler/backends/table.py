"""The backends, by name. Each makes a runner of a graph that the passes have left, and of what it is fed with."""

from __future__ import annotations

import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from cortexc.compiler.backends.blocks import Pace, first_block
from cortexc.compiler.backends.in_process import Records
from cortexc.compiler.backends.lowering.program import Program, lower
from cortexc.compiler.backends.lowering.threads import usable
from cortexc.compiler.backends.native import Grouped, Native, Single
from cortexc.compiler.backends.rewritten import InterpreterRun
from cortexc.compiler.backends.runtime import Feed
from cortexc.compiler.ir import Graph
from cortexc.compiler.ir.model import Array
from cortexc.compiler.ir.protocol import Protocol
from cortexc.compiler.passes.hoist_constant_input import permitted
from cortexc.compiler.passes.stock import StockPlan

BLOCK_MS = 50.0


class Runner(typing.Protocol):
    """A circuit at some step of its protocol. Quantities have the names of the graph that runs: states (batch, n),
    weights and what else a synapse has (copies, n_post, n_pre).

    `position`: network steps done. `stored`: sizes of what has a value. `run` advances by `steps` (default: to the
    end), calling `on_block(position)` about every `block` of them. `value` raises KeyError; `put` sets what is kept
    from step to step, but not a hoisted weight. `state`: everything that the next step depends on; `restore` continues
    from it, to the same bits.
    """

    protocol: Protocol
    stored: Mapping[str, int]
    pace: Pace

    @property
    def feed(self) -> Feed: ...
    @property
    def position(self) -> int: ...
    @property
    def records(self) -> Records: ...
    def run(self, steps: int | None = None, block: int | None = None,
            on_block: Callable[[int], None] | None = None) -> int: ...
    def value(self, quantity: str) -> Array: ...
    def put(self, quantity: str, values: Array) -> None: ...
    def state(self) -> dict[str, Array]: ...
    def restore(self, state: dict[str, Array]) -> None: ...
    def close(self) -> None: ...


@dataclass(frozen=True)
class Work:
    """A graph that the passes have left. `observed` names what must be stored besides what the graph needs; `stock`: on
    Lava, what Lava's own processes compute to the bit is run by them (E521 where that is nothing). `threads` share each
    step of one group, to the same bits (E527); a warning says where one has to do."""

    graph: Graph
    observed: frozenset[str] = frozenset()
    stock: bool = False
    threads: int = 1

    @property
    def program(self) -> Program:
        return self.lowered[0]

    @cached_property
    def lowered(self) -> tuple[Program, StockPlan]:
        if not self.stock:
            return lower(self.graph, self.observed, self.threads), StockPlan()
        from cortexc.compiler.backends.lava.stock import stock_program

        return stock_program(self.graph, self.observed)


class Given(typing.NamedTuple):
    """What a circuit is fed with: `samples` (rows, columns of the exogenous inputs), one seed per element of the seeds
    axis, and `noise` (steps, draws of a step) where the graph replays draws."""

    protocol: Protocol
    samples: Array
    seeds: Sequence[int]
    noise: Array | None = None


def _interpreter(work: Work, given: Given, folder: Path | None = None, block_ms: float = BLOCK_MS) -> Runner:
    usable(work.graph, work.threads, "the interpreter has no more")
    return InterpreterRun(permitted(work.graph, work.observed), *given)


def _native(work: Work, given: Given, folder: Path | None = None, block_ms: float = BLOCK_MS) -> Runner:
    """In this process, group by group where there are several."""
    return (Grouped if len(work.program.groups) > 1 else Native)(work.program, *given)


def _lava(work: Work, given: Given, folder: Path | None = None, block_ms: float = BLOCK_MS) -> Runner:
    """`folder`: where the code is put (default: a temporary one); `block_ms`: aimed duration of a block."""
    from cortexc.compiler.backends.lava import LavaRun

    program, stock = work.lowered
    return LavaRun(program, *given, folder=folder, block=first_block(program, block_ms), stock=stock)


def _native32(work: Work, given: Given, folder: Path | None = None, block_ms: float = BLOCK_MS) -> Runner:
    """In single precision, as one group. Raises E525."""
    return Single(work.program, *given)


BACKENDS: Mapping[str, Callable[..., Runner]] = {"interpreter": _interpreter, "native": _native, "lava": _lava,
                                                 "native32": _native32}
