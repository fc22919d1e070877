"""The native backend: the generated kernels in a plain loop, without Lava.

`Grouped` is what a partition means: every group has its own memory, and data moves only where the program says so. The
operations of a step run in their common order, each on the memory of the group that owns it; after an operation whose
result another group reads, the slot is copied. A backend that gives each group a process of its own keeps this order of
sends and receives, and so its bits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cortexc.compiler.backends.in_process import InProcess, State
from cortexc.compiler.backends.loading import Kernels, c_compiler, load_kernels
from cortexc.compiler.backends.lowering.c_module import c_source
from cortexc.compiler.backends.lowering.cuts import Transfer
from cortexc.compiler.backends.lowering.program import GroupProgram, Program, aligned
from cortexc.compiler.backends.lowering.threads import too_few
from cortexc.compiler.backends.recording import current, packed, record_pieces, unpack
from cortexc.compiler.backends.runtime import Block
from cortexc.compiler.ir.errors import CortexError
from cortexc.compiler.ir.model import Array
from cortexc.compiler.ir.protocol import Protocol


class Native(InProcess):
    """Runs a program in this process. Raises E527 where threads cannot be had."""

    def __init__(self, program: Program, protocol: Protocol, samples: Array, seeds: Sequence[int],
                 recorded_noise: Array | None = None):
        super().__init__(program.graph, program.slots.sizes, protocol, samples, seeds, recorded_noise)
        self.program, self.group = program, program.select()
        self.feed.threads = program.threads
        self._load()

    def _load(self) -> None:
        """Makes memory and kernels ready."""
        self._bind(self._loaded(self.program.source, lambda: c_source(self.program, [self.group], whole=True)),
                   self.group.memory())

    def _loaded(self, python: str | None, c: str | Callable[[], str]) -> Kernels:
        """Kernels of these texts, and what they draw themselves is not fed."""
        kernels = load_kernels(python, c)
        if kernels.draw:
            self.feed.leave_to_kernels()
        return kernels

    def _bind(self, kernels: Kernels, memory: Array) -> None:
        self.memory = memory
        self.kernels = kernels.bind(0, self.memory, self.group.indices(), self.group.table,
                                    record_pieces(self.group, self.protocol), self.samples, self.buffer)

    def _block(self, b: Block) -> None:
        try:
            self.kernels.run(b, 0, len(self.group.step), 0, len(b.gates), False, True)
        except OSError as error:
            raise too_few(len(self.group.shares), error) from error

    def _shaped(self, quantity: str, flat: Array) -> Array:
        return unpack(self.program, quantity, flat)

    def value(self, quantity: str) -> Array:
        """A stored quantity now, in user shape."""
        return current(self.program, quantity, self._read)

    def _read(self, slot: str) -> Array:
        return np.array(self.group.view(self.memory, slot))

    def put(self, quantity: str, values: Array) -> None:
        """Sets a stored quantity, given in user shape; not a hoisted weight."""
        for slot, found in packed(self.program, quantity, values, self._read).items():
            self.group.view(self.memory, slot)[:len(found)] = found

    def _memory(self) -> State:
        """By slot name: the same for every backend and granularity."""
        return {f"memory.{name}": np.array(self.group.view(self.memory, name)) for name in self.group.slot_names}

    def restore(self, state: State) -> None:
        """Continues from `state()`, to the same bits."""
        for name in self.group.slot_names:
            self.group.view(self.memory, name)[:] = state[f"memory.{name}"]
        super().restore(state)


class Single(Native):
    """The same in single precision, which only C has: faster, and no other backend's bits. Functions such as exp are
    computed in double precision; recordings are float64. Raises E525 where the circuit needs more digits."""

    def _load(self) -> None:
        graph = self.program.graph
        drawn = [q.name for q in graph.projections if (rule := graph.rule_of(q)) and rule.noise]
        whole = [s.name for s in graph.synapses if s.unit]
        wide = [s.name for c in graph.cells for s in c.states if s.dtype.startswith("int") and int(s.dtype[3:]) > 24]
        for problem in (*(["no C compiler is there, or CORTEXC_JIT or CORTEXC_KERNELS ask for another target"]
                          if c_compiler() is None else ()), *(f"state '{name}' has more bits" for name in wide),
                        *(f"the rule of '{name}' draws numbers from keys of 32 bits" for name in drawn),
                        *(f"weights of '{name}' are whole units" for name in whole)):
            raise CortexError("E525", f"float32 cannot run this: {problem}; a number has 24 bits.",
                              "Use the backend native.")
        source = c_source(self.program, [self.group], whole=True, single=True)
        memory = aligned(len(found := self.group.memory()), np.float32)
        memory[:] = found
        self._bind(self._loaded(None, source), memory)


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
        kernels = self._loaded(program.source, lambda: c_source(program, groups))
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
            part.kernels.run(b, row, row + 1, t, t + 1, part.pending, False)
            for transfer in self.moves.get(position, ()):
                self._move(transfer)

    def _flush(self, part: Part, b: Block, t: int, pending: bool) -> None:
        part.kernels.run(b, len(part.program.step), len(part.program.table), t, t + 1, pending, False)
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
