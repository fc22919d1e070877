"""Who sends what to whom, where a circuit is cut into groups."""

from __future__ import annotations

from dataclasses import dataclass

from cortexc.compiler.backends.kernels.operations import Operation, SlotTable
from cortexc.compiler.backends.lowering.cuts import needs, overlap


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
