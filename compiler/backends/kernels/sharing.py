"""Kernels of minibatches for several threads: a rewrite of their nests, after which every thread runs the whole kernel.

    for j: for k: w[j, k] += s[j, k]        thread 0: rows 0..50           thread 1: rows 50..100
    total = s[0]                            both
    powers[0] = powers[0] * beta            thread 0                       nothing
    for j: (scratch = ..., w[j] += scratch) both, and meet: each does its part of what is within

Loops are cut where their turns touch places of their own. Every number is computed by one thread, with its terms in
their order. Threads meet before a statement that touches what another one may have written, or may still read.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, is_dataclass, replace

from cortexc.compiler.backends.kernels.nest import (
    Accumulation,
    Axis,
    For,
    If,
    Let,
    Load,
    Meet,
    Statement,
    Store,
    indices_in,
    statements,
    stored,
)
from cortexc.compiler.backends.kernels.whole import Index, Int, Joined, Size

LANES = 16
"""Lanes are cut at multiples of this: whole vectors."""
UNKNOWN = 2**62


@dataclass(frozen=True)
class Share:
    """Thread `number` of so many."""

    number: int
    threads: int

    def part(self, count: int) -> tuple[int, int]:
        return count * self.number // self.threads, count * (self.number + 1) // self.threads


@dataclass
class Touched:
    """Arrays that have been read and written since the threads met last: by all of them, and by the first alone."""

    reads: set[str] = field(default_factory=set)
    writes: set[str] = field(default_factory=set)
    alone_reads: set[str] = field(default_factory=set)
    alone_writes: set[str] = field(default_factory=set)

    def clash(self, reads: set[str], writes: set[str], alone: bool) -> bool:
        """Whether they have to meet before a statement that touches these."""
        read, written = ((self.reads, self.writes) if alone else
                         (self.reads | self.alone_reads, self.writes | self.alone_writes))
        return bool(written & (reads | writes) or read & writes)

    def add(self, reads: set[str], writes: set[str], alone: bool) -> None:
        for known, new in zip((self.alone_reads, self.alone_writes) if alone else (self.reads, self.writes),
                              (reads, writes), strict=True):
            known |= new

    def or_after(self, other: Touched) -> Touched:
        return Touched(self.reads | other.reads, self.writes | other.writes, self.alone_reads | other.alone_reads,
                       self.alone_writes | other.alone_writes)


class Sharing:
    """The rewrite, for one thread. `sizes`: the lengths that are known; `slots`: array -> the memory that it names."""

    def __init__(self, share: Share, sizes: Mapping[str, int], slots: Mapping[str, str]):
        self.share, self.sizes, self.slots = share, sizes, slots
        self.touched = Touched()

    def body(self, statements: Iterable[Statement]) -> list[Statement]:
        return [new for statement in statements for new in self._statement(statement)]

    def _statement(self, statement: Statement) -> list[Statement]:
        writes = self._slots(stored((statement,)))
        if isinstance(statement, If) and writes:
            return [*self._meeting(self._slots(arrays(statement.condition)), set()), self._branches(statement)]
        reads = self._slots(arrays(statement))
        if not writes or (part := self._part(statement)) is not None:
            return [*self._meeting(reads, writes), *([statement] if not writes else part or ())]
        if isinstance(statement, For) and (sets_outside(statement) or self._any_part(statement.body)):
            return [*self._meeting(reads, writes), self._together(statement)]
        return [*self._meeting(reads, writes, alone=True), *([statement] if self.share.number == 0 else [])]

    def _slots(self, arrays: Iterable[str]) -> set[str]:
        return {self.slots.get(array, array) for array in arrays}

    def _meeting(self, reads: set[str], writes: set[str], alone: bool = False) -> list[Statement]:
        meets = self.touched.clash(reads, writes, alone)
        if meets:
            self.touched = Touched()
        self.touched.add(reads, writes, alone)
        return [Meet()] if meets else []

    def _branches(self, statement: If) -> If:
        before, bodies, after = self.touched, [], Touched()
        for body in (statement.then, statement.otherwise):
            self.touched = before.or_after(Touched())
            bodies.append(tuple(self.body(body)))
            after = after.or_after(self.touched)
        self.touched = after
        return replace(statement, then=bodies[0], otherwise=bodies[1])

    def _together(self, loop: For) -> For:
        """All threads take every turn, each with its part of it."""
        within = Sharing(self.share, self.sizes, self.slots)
        return replace(loop, body=(*within.body(loop.body), Meet()))

    def _any_part(self, body: Iterable[Statement]) -> bool:
        """Whether something within can be cut."""
        return any(self._part(s) is not None or not isinstance(s, Accumulation) and self._any_part(inside(s))
                   for s in body)

    # ---- cutting

    def _part(self, statement: Statement) -> list[Statement] | None:
        """This thread's part of the turns; None: its turns cannot be told apart."""
        if isinstance(statement, Accumulation) and not any(isinstance(s, Store) for s in statement.row):
            return self._part_of_sum(statement)
        if not isinstance(statement, For) or sets_outside(statement):
            return None
        start, stop = self._known(statement.start), self._known(statement.stop)
        if start is None or stop is None:
            return None
        turns, step = -(-(stop - start) // statement.step), statement.step
        uneven = turns < 4 * self.share.threads and turns % self.share.threads
        if turns < self.share.threads or not self._apart(statement, statement.index, step) or (
                uneven and self._any_part(statement.body)):
            return None
        first, last = self.share.part(turns)
        return [replace(statement, start=start + first * step, stop=min(start + last * step, stop))]

    def _part_of_sum(self, sum_: Accumulation) -> list[Statement] | None:
        for n, axis in enumerate(sum_.tile):
            if (part := self._cut(sum_, axis, 1)) is not None:
                return [replace(sum_, tile=(*sum_.tile[:n], axis_, *sum_.tile[n + 1:])) for axis_ in part]
        part = self._cut(sum_, sum_.lanes, LANES)
        return None if part is None else [replace(sum_, lanes=axis_) for axis_ in part]

    def _cut(self, sum_: Accumulation, axis: Axis, unit: int) -> list[Axis] | None:
        length = self._known(axis.length)
        units = -(-(length or 0) // unit)
        if length is None or units < self.share.threads or not self._apart(sum_, axis.index):
            return None
        first, last = (min(end * unit, length) for end in self.share.part(units))
        return [Axis(axis.index, last - first, first)]

    def _apart(self, statement: Statement, index: Index, step: int = 1) -> bool:
        """Whether turns of the index touch places of their own in every array that is stored to."""
        turning = self._extents(statement)
        written = stored((statement,))
        places = {place for place in loads(statement) if place.array in written}
        return len(places) == len(self._slots(written)) and all(
            self._parted(place.at, index, step, turning) for place in places)

    def _extents(self, *body: Statement) -> dict[str, int]:
        """Of every loop within: what its index stays below."""
        found: dict[str, int] = {}
        for statement in body:
            inner = inside(statement)
            own = {statement.index.name: self._end(statement)} if isinstance(statement, For) else {}
            for name, extent in (*own.items(), *self._extents(*inner).items()):
                found[name] = max(extent, found.get(name, 0))
        return found

    def _end(self, loop: For) -> int:
        """What its index stays below."""
        start, stop = self._known(loop.start), self._most(loop.stop)
        return stop if stop >= UNKNOWN or start is None else start + (stop - 1 - start) // loop.step * loop.step + 1

    def _most(self, number: Int) -> int:
        """Its value; of a loop's index, the end of its loop; far too much where it is not known."""
        match number:
            case int():
                return number
            case Size(name) | Index(name):
                return self.sizes.get(name, UNKNOWN)
            case Joined("+", left, right):
                return self._most(left) + self._most(right)
            case Joined("*", left, right):
                return self._most(left) * self._most(right)
        return UNKNOWN

    def _known(self, number: Int) -> int | None:
        most = self._most(number)
        return None if most >= UNKNOWN else most

    def _parted(self, place: Int, index: Index, step: int, turning: Mapping[str, int]) -> bool:
        """Whether a place under one value of the index, some `step` apart, is none under another one, wherever the
        loops within are: it is multiplied with more than what varies below it, and stays below what varies above."""
        terms = [term for term in addends(place) if not indices_in(term).isdisjoint({index.name, *turning})]
        own = [term for term in terms if index.name in indices_in(term)]
        if len(own) != 1:
            return False
        inner, width = (index, step) if own[0] == index else self._product(own[0])
        if inner != index and not self._parted(inner, index, step, turning):
            return False
        others = [term for term in terms if term != own[0]]
        below = [term for term in others if self._below(term, turning) <= width]
        above = [self._product(term)[1] for term in others if term not in below]
        reach = sum(self._below(term, turning) - 1 for term in below) + 1
        return reach <= width and (not above or self._below(own[0], turning) + reach - 1 <= math.gcd(*above))

    def _product(self, place: Int) -> tuple[Int, int]:
        """What is multiplied, and by which number; nothing where that is not known."""
        match place:
            case Joined("*", left, right) if self._most(right) < UNKNOWN:
                return left, self._most(right)
        return 0, 1

    def _below(self, place: Int, turning: Mapping[str, int]) -> int:
        """What a place is below."""
        match place:
            case Joined("+", left, right):
                return self._below(left, turning) + self._below(right, turning) - 1
            case Joined("*", left, right):
                return (self._below(left, turning) - 1) * (self._below(right, turning) - 1) + 1
            case Index(name):
                return turning.get(name, UNKNOWN)
        return self._most(place) + 1


def addends(place: Int) -> Iterator[Int]:
    match place:
        case Joined("+", left, right):
            yield from (*addends(left), *addends(right))
        case _:
            yield place


def inside(statement: Statement) -> tuple[Statement, ...]:
    match statement:
        case For():
            return statement.body
        case If():
            return *statement.then, *statement.otherwise
        case Accumulation():
            return statement.plain()
    return ()


def arrays(thing: object) -> set[str]:
    return {place.array for place in loads(thing)}


def loads(thing: object) -> Iterator[Load]:
    """Every place within, also those that are stored to and those that counters lie at."""
    if isinstance(thing, Accumulation):
        thing = thing.plain()
    if isinstance(thing, Load):
        yield thing
    if isinstance(thing, tuple):
        for part in thing:
            yield from loads(part)
    elif is_dataclass(thing):
        yield from loads(tuple(vars(thing).values()))


def sets_outside(statement: Statement) -> bool:
    """Whether locals from before it get new values."""
    locals_ = [s for s in statements((statement,)) if isinstance(s, Let)]
    return not {s.name for s in locals_ if s.again} <= {s.name for s in locals_ if not s.again}
