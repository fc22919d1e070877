"""What a partition means: every group has its own memory, and data moves only where the program says so.

The operations of a step run in their common order, each on the memory of the group that owns it; after an operation
whose result another group reads, the slot is copied. A backend that gives each group a process of its own keeps this
order of sends and receives, and so its bits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from cortexc.compiler.backends.loading import Kernels, load_kernels
from cortexc.compiler.backends.lowering.c_module import c_source
from cortexc.compiler.backends.lowering.program import GroupProgram
from cortexc.compiler.backends.lowering.transfers import Transfer
from cortexc.compiler.backends.native import Native
from cortexc.compiler.backends.recording import record_pieces
from cortexc.compiler.backends.runtime import Block
from cortexc.compiler.ir.model import Array


@dataclass
class Part:
    """One group: its cut of the program, memory (float64), kernels and unapplied increments."""

    program: GroupProgram
    memory: Array
    kernels: Any
    row_of: dict[int, int]
    pending: bool = False


class Grouped(Native):
    """A program run group by group in this process; the interface is that of `Native`."""

    def _load(self) -> None:
        program = self.program
        groups = [program.select(group) for group in program.groups]
        kernels = load_kernels(program.source, lambda: c_source(program, groups))
        self.parts = {name: self._part(number, group, kernels)
                      for number, (name, group) in enumerate(zip(program.groups, groups, strict=True))}
        self.moves: dict[int, list[Transfer]] = {}
        for transfer in program.transfers:
            self.moves.setdefault(transfer.position, []).append(transfer)

    def _part(self, number: int, group: GroupProgram, kernels: Kernels) -> Part:
        memory, rows = group.memory(), {position: row for row, position in enumerate(group.positions)}
        return Part(group, memory, kernels.bind(number, memory, group.indices(), group.table,
                                                record_pieces(group, self.protocol), self.samples, self.buffer), rows)

    def _block(self, b: Block) -> None:
        for t in range(len(b.gates)):
            self._step(b, t)
            for part in self.parts.values():
                part.pending = True
                if part.kernels.weights_due(b, t):
                    self._flush(part, b, t, False)
                part.kernels.record(b, t)
        for part in self.parts.values():
            if part.pending:
                self._flush(part, b, len(b.gates) - 1, True)

    def _step(self, b: Block, t: int) -> None:
        for position, operation in enumerate(self.program.step):
            part = self.parts[operation.group]
            row = part.row_of[position]
            self._execute(part, row, row + 1, b, t, part.pending)
            for transfer in self.moves.get(position, ()):
                self._move(transfer)

    def _execute(self, part: Part, first: int, last: int, b: Block, t: int, pending: bool) -> None:
        part.kernels.run(b, first, last, t, t + 1, pending, False)

    def _flush(self, part: Part, b: Block, t: int, pending: bool) -> None:
        self._execute(part, len(part.program.step), len(part.program.table), b, t, pending)
        part.pending = False

    def _move(self, transfer: Transfer) -> None:
        source = self.parts[transfer.source]
        cells = slice(transfer.first, transfer.last)
        sent = source.program.view(source.memory, transfer.slot)[cells]
        for target in map(self.parts.__getitem__, transfer.targets):
            target.program.view(target.memory, transfer.slot)[cells] = sent

    def _read(self, slot: str) -> Array:
        found = np.zeros(self.program.slots.sizes[slot])
        for part in self.parts.values():
            for start, length in part.program.owned(slot):
                found[start:start + length] = part.program.view(part.memory, slot)[start:start + length]
        return found
