"""Operations of a program: which kernel runs on which slots, in which group, under which gate."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from numbers import Integral


@dataclass(frozen=True)
class Slot:
    """A named stretch of a group's memory. `along`: the operation goes along it cell by cell; a part of the operation
    begins at cell `first`."""

    name: str
    along: bool = False
    first: int = 0


@dataclass(frozen=True)
class IndexSlot:
    """A named stretch of a group's index memory, which holds int32. `end`: from its second number on."""

    name: str
    end: bool = False


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


def number_of(argument: object) -> int | None:
    """Of a length or a first cell; None for what is no number."""
    if isinstance(argument, Span | First):
        return argument.value
    return int(argument) if isinstance(argument, Integral) else None  # numpy's, too


Argument = int | Slot | IndexSlot | Span | First | Constant | Key | Gate


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
    apart: tuple[str, ...] = ()
    """Slots that parts of it, over stretches of postsynaptic cells, write to at numbers of their own; if any, it can be
    so divided."""


@dataclass
class SlotTable:
    """Length in float64 of every slot."""

    sizes: dict[str, int] = field(default_factory=dict)

    def add(self, name: str, size: int) -> Slot:
        self.sizes[name] = max(size, self.sizes.get(name, 0))
        return Slot(name)


def along(slot: Slot) -> Slot:
    """The slot, gone along cell by cell."""
    return replace(slot, along=True)


PADDING = 8


def padded(size: int) -> int:
    return -(-size // PADDING) * PADDING


def slot_name(owner: str, quantity: str, slot: int = 0) -> str:
    return f"{owner}.{quantity}" + (f"#{slot}" if slot else "")


def ring_slot(owner: str, quantity: str) -> str:
    """Of a quantity's last values."""
    return f"{owner}.{quantity}#ring"


FIRST_ARGUMENT = 2
