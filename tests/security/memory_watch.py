"""Un-jitted kernels whose every access to memory is checked: an operation reads and writes what its row names."""

from __future__ import annotations

import functools
from types import ModuleType
from typing import Any

import numpy as np

from cortexc.compiler.backends.kernels.operations import Key, Slot, padded
from cortexc.compiler.backends.lowering.program import GroupProgram
from cortexc.compiler.backends.native import Grouped, Native
from cortexc.compiler.backends.runtime import Block


class OutsideError(AssertionError):
    """A kernel went beyond its memory."""


class Watched:
    """A float64 memory. `row`: of the program, while a kernel runs; None where anything of the memory may be read."""

    def __init__(self, memory: np.ndarray, program: GroupProgram):
        self.memory, self.program, self.row = memory, program, None
        self.windows = [self._window(o) for o in (*program.step, *program.flush)]

    def _window(self, operation: Any) -> set[int]:
        cells: set[int] = set()
        for argument in operation.arguments:
            if isinstance(argument, Slot | Key):
                start = self.program.offsets[argument.name]
                cells |= set(range(start, start + padded(max(self.program.program.slots.sizes[argument.name], 1))))
        return cells | {offset for key, offset in self.program.offsets.items() if key.startswith("constant ")}

    def _check(self, index: Any) -> Any:
        if isinstance(index, slice):
            return index
        allowed = self.windows[self.row] if self.row is not None else range(len(self.memory))
        if int(index) not in allowed:
            operation = (*self.program.step, *self.program.flush)[self.row or 0]
            raise OutsideError(f"{operation.kernel} of {operation.label}: {index} of {len(self.memory)}")
        return index

    def __getitem__(self, index: Any) -> Any:
        return self.memory[self._check(index)]

    def __setitem__(self, index: Any, value: Any) -> None:
        self.memory[self._check(index)] = value


class Strict(np.ndarray):
    """An array that wraps no negative index around."""

    def __getitem__(self, index: Any) -> Any:
        parts = index if isinstance(index, tuple) else (index,)
        if any(isinstance(part, int | np.integer) and part < 0 for part in parts):
            raise OutsideError(f"{index} of an array of shape {self.shape}")
        return super().__getitem__(index)


def strict(array: np.ndarray) -> np.ndarray:
    return array.view(Strict)


class WatchedRun:
    """In front of Native or Grouped: their memories are watched, everything else that kernels read is strict."""

    memory: Any
    kernels: Any

    def _load(self) -> None:
        super()._load()  # type: ignore[misc]
        if not hasattr(self, "parts"):
            self.memory = watched(self.kernels, self.group)  # type: ignore[attr-defined]
        for part in getattr(self, "parts", {}).values():
            part.memory = watched(part.kernels, part.program)

    def _block(self, b: Block) -> None:
        super()._block(Block(*map(strict, (b.rows, b.gates, b.noise, b.positions, b.drawn)), b.first))  # type: ignore[misc]


class WatchedNative(WatchedRun, Native):
    pass


class WatchedGroups(WatchedRun, Grouped):
    pass


def watched(kernels: Any, program: GroupProgram) -> Watched:
    """Makes a group's kernels, which are plain Python, say where they read and write; returns their memory."""
    assert not kernels.module.JIT
    watch(kernels.module)
    kernels.samples, kernels.records = strict(kernels.samples), strict(kernels.records)
    kernels.memory = Watched(kernels.memory, program)
    return kernels.memory


def watch(module: ModuleType) -> None:
    """Makes every kernel of the module say which row it runs."""
    for name, function in vars(module).copy().items():
        names = getattr(getattr(function, "__code__", None), "co_varnames", ())
        if names[:1] == ("m",) and "program" in names[1:3] and not hasattr(function, "watched") and name != "run":
            setattr(module, name, _watched(function))


def _watched(function: Any) -> Any:
    place = function.__code__.co_varnames.index("i") - 1

    @functools.wraps(function)
    def call(m: Any, *rest: Any) -> None:
        if not isinstance(m, Watched):
            return function(m, *rest)
        m.row = int(rest[place])
        function(m, *rest)
        m.row = None

    call.watched = True  # type: ignore[attr-defined]
    return call
