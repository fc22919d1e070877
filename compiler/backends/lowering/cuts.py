"""Populations in several processes: a group `core_0:40+core_3:23` runs the first 40 cells and the other 23 apart.

Every process has memory for the whole population, computes its own stretch of it, and gets of the others' cells what it
reads. What is summed over presynaptic cells is summed in one place and in their order, so the bits are those of one
process.

before    receive unit_0(n = 63, u, v)               group core_0:40+core_3:23
after     receive unit_0(n = 40, u, v)               group core_0     cells 0..40
          receive unit_0(n = 23, u + 40, v + 40)     group core_3     cells 40..63
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from cortexc.compiler.backends.kernels.operations import Argument, First, Operation, Slot, SlotTable, Span
from cortexc.compiler.ir.model import group_parts


@dataclass(frozen=True)
class Piece:
    """What one group owns of a slot: columns first..last of its rows of `stride` numbers."""

    group: str
    first: int
    last: int
    stride: int

    def stretches(self, size: int) -> Iterator[tuple[int, int]]:
        """(start, length) of each row's stretch in a slot of so many numbers."""
        for row in range(0, size, max(self.stride, 1)):
            yield row + self.first, self.last - self.first


def cut(step: Iterable[Operation]) -> list[Operation]:
    """Every operation as often as processes share it."""
    return [part for operation in step for part in _parts(operation)]


def _parts(operation: Operation) -> list[Operation]:
    parts = group_parts(operation.group)
    if len(parts) == 1:
        return [replace(operation, group=parts[0][0])]
    if operation.apart or not any(isinstance(argument, Span) for argument in operation.arguments):
        return [replace(operation, group=group, copy=index > 0)
                for index, group in enumerate(dict.fromkeys(name for name, _ in parts))]
    result, first = [], 0
    for index, (group, cells) in enumerate(parts):
        last = None if index == len(parts) - 1 else first + cells
        arguments = tuple(part_of(argument, first, last) for argument in operation.arguments)
        result.append(replace(operation, group=group, arguments=arguments, cells=(first, last)))
        first += cells
    return result


def part_of(argument: Argument, first: int, last: int | None) -> Argument:
    """An argument for cells first..last (None: to their end) alone."""
    match argument:
        case Span(value):
            return Span((value if last is None else last) - first)
        case First(value):
            return First(value + first)
        case Slot(name, True):
            return Slot(name, True, first)
    return argument


def needs(operation: Operation, slot: str, size: int) -> range:
    """The stretch of a slot that an operation reads or writes."""
    along = [a.along for a in operation.arguments if isinstance(a, Slot) and a.name == slot]
    if operation.cells is None or not along or not all(along):
        return range(size)
    first, last = operation.cells
    return range(first, size if last is None else last)


def overlap(one: range, other: range) -> bool:
    return max(one.start, other.start) < min(one.stop, other.stop)


def pieces(step: Sequence[Operation], sizes: Mapping[str, int], strides: Mapping[str, int]) -> dict[str, list[Piece]]:
    """Of every slot that operations write: who owns what."""
    found: dict[str, dict[Piece, None]] = {}
    for operation in step:
        if operation.copy:
            continue
        for slot in operation.writes:
            stride = strides.get(slot, sizes[slot])
            stretch = needs(operation, slot, stride)
            found.setdefault(slot, {})[Piece(operation.group, stretch.start, stretch.stop, stride)] = None
    return {slot: list(owners) for slot, owners in found.items()}


# ---- who sends what to whom


@dataclass(frozen=True)
class Transfer:
    """After operation `position`, numbers first..last of `slot` go from group `source` to the groups `targets`."""

    position: int
    slot: str
    source: str
    targets: tuple[str, ...]
    first: int
    last: int
    whole: bool = True

    @property
    def name(self) -> str:
        """The slot, or `slot@first:last` where only a part of it goes."""
        return self.slot if self.whole else f"{self.slot}@{self.first}:{self.last}"


def transfers_of(step: list[Operation], slots: SlotTable) -> list[Transfer]:
    """Who sends what to whom; empty slots are not sent, nor what every reader computes for itself."""
    readers: dict[str, list[tuple[str, range]]] = {}
    for operation in step:
        for slot in operation.reads:
            readers.setdefault(slot, []).append((operation.group, needs(operation, slot, slots.sizes[slot])))
    copied = {slot for operation in step if operation.copy for slot in operation.writes}
    result = []
    for position, operation in enumerate(step):
        for slot in dict.fromkeys(operation.writes):
            size = slots.sizes[slot]
            written = needs(operation, slot, size)
            targets = tuple(dict.fromkeys(group for group, read in readers.get(slot, ())
                                          if group != operation.group and overlap(written, read)))
            if targets and size and slot not in copied:
                result.append(Transfer(position, slot, operation.group, targets, written.start, written.stop,
                                       written == range(size)))
    return result
