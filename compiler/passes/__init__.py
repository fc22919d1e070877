"""Transformations from graph to graph, one per file.

`run_passes(graph, pipeline(), request)` runs them in order. A pass that is not in the table may be given too:
any frozen dataclass with a `name` and `apply(graph, request)`.
"""

from __future__ import annotations

from collections.abc import Iterable

from compiler.ir import unknown
from compiler.passes.base import BITS, Pass, PassReport, Record, Request, observable, run_passes
from compiler.passes.discretise import Discretise
from compiler.passes.eliminate_lookahead import EliminateLookahead
from compiler.passes.fold import Fold
from compiler.passes.fuse_update import FuseUpdate
from compiler.passes.hoist_constant_input import HoistConstantInput
from compiler.passes.partition import Partition

PASSES: dict[str, type[Pass]] = {
    "discretise": Discretise,
    "fold": Fold,
    "eliminate-lookahead": EliminateLookahead,
    "hoist-constant-input": HoistConstantInput,
    "fuse-update": FuseUpdate,
    "partition": Partition,
}
"""Name -> pass, in the order in which they run."""

PIPELINE: tuple[str, ...] = tuple(PASSES)


def pipeline(names: Iterable[str] = PIPELINE) -> list[Pass]:
    """The named passes with their default options, in the order given. Raises E261 for an unknown name."""
    passes = []
    for name in names:
        if name not in PASSES:
            raise unknown("E261", "pass", name, PASSES)
        passes.append(PASSES[name]())
    return passes


__all__ = [
    "BITS", "PASSES", "PIPELINE", "Pass", "PassReport", "Record", "Request", "observable", "pipeline", "run_passes"]
