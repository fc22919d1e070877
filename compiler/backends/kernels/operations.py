"""Operations of a program: which kernel runs on which slots, in which group, under which gate."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from compiler.backends.quoting import docstring, identifier
from compiler.ir.model import Graph


@dataclass(frozen=True)
class Slot:
    """A named stretch of a group's memory. `along`: the operation goes along it cell by cell; a part of the operation
    begins at cell `first`."""

    name: str
    along: bool = False
    first: int = 0


@dataclass(frozen=True)
class Span:
    """How many cells an operation runs over, with padding."""

    value: int


@dataclass(frozen=True)
class First:
    """The first of these cells, plus a number."""

    value: int = 0


@dataclass(frozen=True)
class Constant:
    """A scalar that the program keeps in memory."""

    value: float


@dataclass(frozen=True)
class Key:
    """A slot with both halves of the key of this step's random numbers, per copy of the weights."""

    name: str


@dataclass(frozen=True)
class Gate:
    """A column of the protocol; "" is the column that is always 1."""

    name: str


NUMBER = re.compile(r"\bunsigned_(\d+)\b")
"""Whole numbers in kernels are constants of the module."""
Argument = int | Slot | Span | First | Constant | Key | Gate


@dataclass(frozen=True)
class Operation:
    """One row of the program. `kind`: `load`, `noise`, `kernel` (runs where `gate` > 0) or `fused` (`kernel` delivers;
    `update` learns the increment of the previous step on the way)."""

    kind: str
    kernel: str
    arguments: tuple[Argument, ...]
    group: str
    reads: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()
    gate: str = ""
    update: str = ""
    label: str = ""
    cells: tuple[int, int | None] | None = None
    """The stretch of cells (None: to their end) of an operation that several processes share."""
    copy: bool = False
    """Whether another process does the same and owns the result."""


@dataclass
class KernelTable:
    """Generated kernel texts by name; equal texts share one name."""

    texts: dict[str, str] = field(default_factory=dict)

    def add(self, base: str, body: str) -> str:
        """Registers `body`, a function text with `NAME` for its own name; returns that name."""
        name, count = identifier(base, "kernel"), 2
        while self.texts.get(name, body) != body or NUMBER.fullmatch(name):
            name, count = f"{base}_{count}", count + 1
        self.texts[name] = body
        return name

    def source(self, name: str) -> str:
        return self.texts[name].replace("NAME", name, 1)


@dataclass
class SlotTable:
    """Length in float64 of every slot, with its initial values."""

    graph: Graph
    sizes: dict[str, int] = field(default_factory=dict)
    padded: set[str] = field(default_factory=set)

    def add(self, name: str, size: int, *, pad: bool = False) -> Slot:
        self.sizes[name] = max(size, self.sizes.get(name, 0))
        if pad:
            self.padded.add(name)
        return Slot(name)


def along(slot: Slot) -> Slot:
    """The slot, gone along cell by cell."""
    return replace(slot, along=True)


PADDING = 8


def padded(size: int) -> int:
    return -(-size // PADDING) * PADDING


def slot_name(owner: str, quantity: str, slot: int = 0) -> str:
    return f"{owner}.{quantity}" + (f"#{slot}" if slot else "")


def arguments_source(names: Mapping[str, Argument]) -> list[str]:
    """Lines that unpack a program row into local names; constants are loaded from memory at once."""
    lines = []
    for index, (name, argument) in enumerate(names.items(), FIRST_ARGUMENT):
        identifier(name)
        match argument:
            case Constant():
                lines.append(f"{name} = m[program[i, {index}]]")
            case Key():
                lines.append(f"{name} = program[i, {index}]")
                lines.append(f"low_{name}, high_{name} = signed(m[{name}]), signed(m[{name} + one])")
            case Gate():
                lines.append(f"{name} = gates[t, program[i, {index}]]")
            case _:
                lines.append(f"{name} = program[i, {index}]")
    return lines


FIRST_ARGUMENT = 2
SIGNATURE = "(m, program, i, gates, t)"


def function_source(doc: str, names: Mapping[str, Argument], body: list[str]) -> str:
    """A kernel text: header, unpacked arguments, body (already indented relative to the function)."""
    lines = [*arguments_source(names), *body]
    head = [f"@kernel\ndef NAME{SIGNATURE}:", f"    {docstring(doc)}"]
    return "\n".join([*head, *("    " + line for line in lines)]) + "\n"
