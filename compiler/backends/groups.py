"""What a partition means: every group has its own memory, and data moves only where the program says so.

The operations of a step run in their common order, each on the memory of the group that owns it; after an operation
whose result another group reads, the slot is copied. A backend that gives each group a process of its own keeps this
order of sends and receives, and so its bits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from compiler.backends.lowering.program import GroupProgram, Program, Transfer
from compiler.backends.native import Native
from compiler.backends.recording import current, record_pieces
from compiler.backends.runtime import Block
from compiler.ir.protocol import Protocol


@dataclass
class Part:
    """One group: its cut of the program, memory (float64), table, recorded pieces and unapplied increments."""

    program: GroupProgram
    memory: np.ndarray
    table: np.ndarray
    pieces: np.ndarray
    row_of: dict[int, int]
    pending: bool = False


class Grouped(Native):
    """A program run group by group in this process; the interface is that of `Native`."""

    def __init__(self, program: Program, protocol: Protocol, samples: np.ndarray, seeds: Sequence[int],
                 recorded_noise: np.ndarray | None = None):
        super().__init__(program, protocol, samples, seeds, recorded_noise)
        self.parts = {group: self._part(program.select(group)) for group in program.groups}
        self.moves: dict[int, list[Transfer]] = {}
        for transfer in program.transfers:
            self.moves.setdefault(transfer.position, []).append(transfer)

    def _part(self, group: GroupProgram) -> Part:
        table, pieces = group.table, record_pieces(group, self.protocol)
        if not self.kernels.JIT:
            table, pieces = table.astype(object), pieces.astype(object)
        rows = {position: row for row, position in enumerate(group.positions)}
        return Part(group, group.memory(), table, pieces, rows)

    def _block(self, b: Block) -> None:
        with np.errstate(all="ignore"):
            for t in range(len(b.gates)):
                self._step(b, t)
                for part in self.parts.values():
                    part.pending = True
                    if self.kernels.weights_due(part.pieces, b.positions, t):
                        self._flush(part, b, t, False)
                    self.kernels.record(part.memory, part.pieces, b.positions, self.buffer, t)
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
        integer = np.uint64 if self.kernels.JIT else int
        self.kernels.run(part.memory, part.table, integer(first), integer(last), self.samples, b.rows, b.gates,
                         b.noise, t, t + 1, pending, part.pieces, b.positions, self.buffer, False)

    def _flush(self, part: Part, b: Block, t: int, pending: bool) -> None:
        self._execute(part, len(part.program.step), len(part.table), b, t, pending)
        part.pending = False

    def _move(self, transfer: Transfer) -> None:
        source = self.parts[transfer.source]
        cells = slice(transfer.first, transfer.last)
        sent = source.program.view(source.memory, transfer.slot)[cells]
        for target in map(self.parts.__getitem__, transfer.targets):
            target.program.view(target.memory, transfer.slot)[cells] = sent

    def value(self, quantity: str) -> np.ndarray:
        """A stored quantity now, in user shape."""
        return current(self.program, quantity, self._read)

    def _read(self, slot: str) -> np.ndarray:
        found = np.zeros(self.program.slots.sizes[slot])
        for part in self.parts.values():
            for start, length in part.program.owned(slot):
                found[start:start + length] = part.program.view(part.memory, slot)[start:start + length]
        return found
