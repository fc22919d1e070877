"""What every independent reference can do."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cortexc.compiler.ir import CortexError
from cortexc.compiler.verify.recorded.format import Arrays, Recording
from cortexc.compiler.verify.runs import Chunk, Setup


def refused(what: str) -> CortexError:
    """V122, for what a reference does not model."""
    return CortexError("V122", f"the independent reference has no such circuit: {what}.",
                       "Verify it against the interpreter: --reference interpreter.")


@dataclass(frozen=True)
class Oracle:
    """The reference of one family of circuits. `setup(circuit, steps, seeds)`: an experiment of its own;
    `wanted(circuit, there)`: which of the graph's quantities it has; `trajectory(circuit, setup, there, steps)`: these,
    step by step; `recorded(recording)`: its variables under the names of a recording's, one seed. `rehearsed`: circuit
    -> name -> options that tell apart what published recordings do not; `record(options, steps, seed)`: arrays as
    published, made by the reference."""

    setup: Callable[[Any, int, Sequence[int]], Setup]
    wanted: Callable[[Any, set[str]], list[str]]
    trajectory: Callable[[Any, Setup, set[str], int], Iterator[Chunk]]
    recorded: Callable[[Recording], Iterator[Chunk]] | None = None
    record: Callable[[Any, int, int], Arrays] | None = None
    rehearsed: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
