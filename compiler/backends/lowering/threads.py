"""Several threads for the steps of one group: each computes stretches of cells of its own, to the same bits.

    cells of E (n = 10000)          thread 0: cells 0..5000            thread 1: cells 5000..10000
    W: E -> E, a list               synapses whose target is below     the other ones
                                    5000, row by row
    minibatches, feature maps       the first turns of the loops       the other ones (`kernels/sharing.py`)

Every number is still computed by one thread, with its terms in their order. Threads meet between two operations where
one may touch what the other one has written, or writes what the other one may still read.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from cortexc.compiler.backends.kernels.nest import Kernel, stored
from cortexc.compiler.backends.kernels.operations import IndexSlot, Key, Operation, Slot, Span, padded
from cortexc.compiler.backends.kernels.table import KernelTable
from cortexc.compiler.backends.loading import c_compiler
from cortexc.compiler.backends.lowering.cuts import part_of
from cortexc.compiler.ir.errors import CortexError
from cortexc.compiler.ir.model import Array, Graph
from cortexc.compiler.ir.synapses import Synapses

LANES = 16
"""Stretches begin at multiples of this: whole vectors, and cache lines of one thread."""
MOST = 64
"""Threads that may be asked for."""


def check_threads(threads: object) -> None:
    """Raises E527 for a number that cannot be."""
    if isinstance(threads, bool) or not isinstance(threads, int) or not 1 <= threads <= MOST:
        raise CortexError("E527", f"threads is {threads!r}; it must be a whole number from 1 to {MOST}.",
                          "Ask for as many as there are cores.")


def too_few(threads: int, why: Exception) -> CortexError:
    return CortexError("E527", f"{threads} threads were asked for, but {why}.", "Ask for fewer, or end other programs.")


def usable(graph: Graph, threads: int, why: str = "") -> int:
    """1, with a warning, for what runs in one thread only, or for the reason `why`. Raises E527."""
    check_threads(threads)
    groups = {*(p.group for p in graph.populations), *(q.group for q in graph.projections)}
    why = why or ("there is no C compiler, or another target is asked for" if c_compiler() is None else
                  "it runs as several processes" if len(groups) > 1 or "+" in "".join(groups) else "")
    if threads > 1 and why:
        warnings.warn(f"graph '{graph.name}' runs in 1 thread, not {threads}: {why}", stacklevel=2)
    return 1 if why else threads


def boundary(cells: int, part: int, parts: int) -> int:
    """The first cell of a part."""
    return min(padded(cells) * part // parts // LANES * LANES, cells) if part < parts else cells


@dataclass(frozen=True)
class Part:
    """What one thread does of an operation; None: nothing. `meet`: all threads meet before it. `together`: all of them
    take the whole operation, each its share of the loops."""

    operation: Operation | None
    meet: bool
    together: bool


def shares(graph: Graph, step: Sequence[Operation], kernels: KernelTable,
           parts: int) -> tuple[list[list[Part]], frozenset[str]]:
    """For every thread, its part of every operation of a step; and the slots in which, at its end, no thread knows its
    own stretch of cells without having met the others."""
    found: list[list[Part]] = [[] for _ in range(parts)]
    touched, alone = _Touched(), _alone(graph)
    for operation in step:
        split = graph.batch == 1 and operation.label not in alone and _splits(operation, kernels)
        together = not split and operation.kind not in ("load", "noise")
        meet = touched.add(_accesses(operation, kernels, split), split)
        for number, own in enumerate(found):
            mine = _part(operation, number, parts) if split else operation if together or number == 0 else None
            own.append(Part(mine, meet, together))
    return found, frozenset(slot for slot, own in touched.writes.items() if not own)


def _alone(graph: Graph) -> set[str]:
    """Projections whose operations are not cut: feature maps, and increments that an optimiser sums."""
    return {q.name for q in graph.projections if q.convolution or (
        (rule := graph.rule_of(q)) and rule.optimiser.traits.sums)}


def _part(operation: Operation, number: int, parts: int) -> Operation:
    cells = next(a.value for a in operation.arguments if isinstance(a, Span))
    first, last = (boundary(cells, n, parts) for n in (number, number + 1))
    arguments = (_of_rows(a, number, parts) if isinstance(a, IndexSlot) else part_of(a, first, last)
                 for a in operation.arguments)
    return replace(operation, arguments=tuple(arguments))


def _of_rows(argument: IndexSlot, number: int, parts: int) -> IndexSlot:
    """Where a thread's part of each row begins or ends."""
    at = number + argument.end
    if not argument.name.endswith(".starts") or at in (0, parts):
        return argument
    return IndexSlot(f"{argument.name}@{at}/{parts}")


def cut_starts(synapses: Synapses, at: int, parts: int) -> Array:
    """Where, in each row, the synapses begin whose targets are those of a part and of the later ones."""
    below = synapses.post < boundary(synapses.targets, at, parts)
    counts = np.concatenate([[0], np.cumsum(below)])
    starts = synapses.starts
    found: Array = starts[:-1] + counts[starts[1:]] - counts[starts[:-1]]
    return found


# ---- what operations touch


@dataclass
class _Touched:
    """What has been read and written since the threads met last, by slot: whether each thread kept to its stretch."""

    reads: dict[str, bool] = field(default_factory=dict)
    writes: dict[str, bool] = field(default_factory=dict)

    def add(self, accesses: tuple[dict[str, bool], dict[str, bool]], split: bool) -> bool:
        """Whether the threads have to meet before an operation."""
        reads, writes = accesses
        meet = _clash(self.writes, {**reads, **writes}) or _clash(self.reads, writes)
        if meet:
            self.reads, self.writes = {}, {}
        for known, new in ((self.reads, reads), (self.writes, writes)):
            known |= {slot: own and split and known.get(slot, True) for slot, own in new.items()}
        return meet


def _clash(earlier: dict[str, bool], later: dict[str, bool]) -> bool:
    return any(slot in earlier and not (own and earlier[slot]) for slot, own in later.items())


def _accesses(operation: Operation, kernels: KernelTable, split: bool) -> tuple[dict[str, bool], dict[str, bool]]:
    """(read, written) slots of an operation -> whether every thread keeps to its stretch of them."""
    reads: dict[str, bool] = {}
    writes: dict[str, bool] = {}
    if operation.kind in ("load", "noise"):
        return reads, {a.name: split for a in operation.arguments if isinstance(a, Slot)}
    for kernel in _kernels(operation, kernels):
        slots = dict(zip(kernel.arguments, operation.arguments, strict=False))
        for names, found in ((stored(kernel.body), writes), (set(kernel.arguments), reads)):
            for name in names:
                slot = slots.get(name)
                if isinstance(slot, Slot | Key):
                    own = split and isinstance(slot, Slot) and (
                        slot.along or slot.name in operation.apart)
                    found[slot.name] = own and found.get(slot.name, True)
    return reads, writes


def _splits(operation: Operation, kernels: KernelTable) -> bool:
    """Whether threads can share it: it goes along cells, and writes to those cells alone."""
    if operation.kind not in ("load", "noise", "kernel", "fused") or not any(
            isinstance(a, Span) for a in operation.arguments):
        return False
    if operation.kind in ("load", "noise") or operation.apart:
        return True
    return all(isinstance(slot, Slot) and slot.along for kernel in _kernels(operation, kernels)
               for name in stored(kernel.body)
               for slot in [dict(zip(kernel.arguments, operation.arguments, strict=False))[name]])


def _kernels(operation: Operation, kernels: KernelTable) -> Iterable[Kernel]:
    return [kernels.kernels[name] for name in (operation.kernel, operation.update) if name]
