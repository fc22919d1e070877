"""How the C of a sum is cut into blocks, and what of a loop a compiler may take out of it or do at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from cortexc.compiler.backends.kernels.nest import Accumulation, For, Let, Load, Store, indices_in, nodes, stored
from cortexc.compiler.backends.kernels.whole import Index, Int, Joined, Size
from cortexc.compiler.ir.expressions import walk

VECTORS = 4
"""Vectors of sums per block, and places of a tile along one of its axes."""
MOST_KEPT = 3
"""What else a turn reads that does not change, and registers hold."""


@dataclass(frozen=True)
class Stretch:
    """Equal blocks of so many vectors; of the last vector, the first lanes may be `twice` there."""

    cut: range
    lanes: int
    vectors: int
    twice: int = 0


def stretches(width: int, most: int, may_overlap: bool, lanes: Sequence[int]) -> Iterator[Stretch]:
    """Blocks of at most `most` vectors, the widest vectors first; of one more where that leaves no single one. What is
    less than a vector joins the last block, as a vector that begins before its end, or has narrower ones."""
    done = 0
    for wide in lanes:
        count, left = divmod(width - done, wide)
        overlaps = bool(may_overlap and most > 1 and left and count)
        count += overlaps
        last = count % most
        if count > last and (last == 1 < most or overlaps and not last):
            last = most + last
        for blocks, vectors, twice in (((count - last) // most, most, 0), (1, last, overlaps * (wide - left))):
            if blocks * vectors:
                end = done + blocks * vectors * wide
                yield Stretch(range(done, end, vectors * wide), wide, vectors, twice)
                done = end - twice
        if done == width:
            return


def unmoved(sum_: Accumulation) -> list[Load]:
    """What is read in every turn, moves along the lanes alone, and is not stored to."""
    values = [*nodes(sum_.each), *(node for _, term in sum_.sums for node in walk(term))]
    written = stored((*sum_.row, *sum_.each))
    turning = {axis.index.name for axis in sum_.over}
    loads = dict.fromkeys(n for n in values if isinstance(n, Load) and n.array not in written)
    return [load for load in loads if _along(sum_, load) and turning.isdisjoint(indices_in(load.at))][:MOST_KEPT]


def _along(sum_: Accumulation, load: Load) -> bool:
    """Whether it is another place for every lane."""
    return sum_.lanes.index.name in indices_in(load.at)


def shared(sum_: Accumulation) -> list[Load]:
    """What all places of the tile read in a turn."""
    own = {axis.index.name for axis in sum_.tile}
    loads = dict.fromkeys(n for _, term in sum_.sums for n in walk(term) if isinstance(n, Load))
    return [load for load in loads if own and _along(sum_, load) and own.isdisjoint(indices_in(load.at))
            and not sum_.each]


def turns_are_apart(loop: For) -> bool:
    """Whether its turns store to places of their own, which no other turn reads. Slots never overlap."""
    body = loop.body
    if not all(isinstance(s, Let | Store) for s in body):
        return False
    places = dict.fromkeys(s.to for s in body if isinstance(s, Store))
    touched = {n for n in (*places, *nodes(body)) if isinstance(n, Load) and n.array in {p.array for p in places}}
    return bool(places) and len({p.array for p in places}) == len(touched) and all(
        _strides_with(place.at, loop.index.name) for place in places)


def _strides_with(place: Int, index: str) -> bool:
    """Whether a place is another one for every value of an index."""
    match place:
        case Joined("+" | "-", left, right):
            moves = [index in indices_in(side) for side in (left, right)]
            return sum(moves) == 1 and _strides_with((left, right)[moves.index(True)], index)
        case Joined("*", left, right):
            return any(_strides_with(side, index) and isinstance(other, int | Size) for side, other in (
                (left, right), (right, left)))
    return place == Index(index)


def cuts(length: int) -> list[range]:
    """Of an axis of a tile, into equal parts and what is left."""
    step = length if length <= VECTORS + 1 else VECTORS
    whole = length - length % step
    return [cut for cut in (range(0, whole, step), range(whole, length, max(length - whole, 1))) if cut]
