"""The loop language of kernels: nests over whole numbers, on arrays of float64; printers turn them into text.

A `Kernel` is built statement by statement; each array is named once and knows its axes:

    kernel = Kernel("current[k] = sum over j of w[j, k] * pre[j].")
    rows, width = kernel.size("rows", 20), kernel.size("width", Span(24))
    w, pre, current = kernel.array("w", slot, rows, width), ...
    with kernel.loop("j", rows) as j, kernel.loop("k", width) as k:
        kernel.add(current[k], w[j, k] * pre[j])

Values are expressions of the IR whose leaves are locals (`Name`), numbers and places of arrays (`Load`). Sizes and
places in memory are arguments: one text serves every operation that differs in them alone.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import reduce

from cortexc.compiler.backends.kernels.operations import Argument, Constant, First, Gate, IndexSlot, Key, Slot, Span
from cortexc.compiler.backends.kernels.whole import Entry, Index, Int, Joined, Size, Whole
from cortexc.compiler.backends.quoting import identifier
from cortexc.compiler.ir.expressions import Binary, Call, Lookup, Name, Node, Number, as_node, walk


@dataclass(frozen=True)
class Counter(Whole):
    """A whole number that changes as the program runs, kept with the float64."""

    load: Load


@dataclass(frozen=True)
class Array:
    """A stretch of memory with axes, the outermost first; an axis of length 1 takes no index to walk along."""

    name: str
    axes: tuple[Int, ...]

    def __getitem__(self, places: Int | tuple[Int, ...]) -> Load:
        at: Int = 0
        places = places if isinstance(places, tuple) else (places,)
        if len(places) != len(self.axes):
            raise ValueError(f"{self.name} has {len(self.axes)} axes, not {len(places)}")
        for place, length in zip(places, self.axes, strict=True):
            at = at * length + place
        return Load(self.name, at)


@dataclass(frozen=True)
class Indices:
    """A stretch of index memory: whole numbers that never change."""

    name: str

    def __getitem__(self, at: Int) -> Entry:
        return Entry(self.name, at)


@dataclass(frozen=True)
class Load(Node):
    """The number at a place of an array."""

    array: str
    at: Int


@dataclass(frozen=True)
class Shown(Node):
    """The row of the sample table that batch element `sample` sees in this step."""

    sample: Int


@dataclass(frozen=True)
class Uniform(Node):
    """A random number in [0, 1): number `index` of this step, under key `number` of several (None: of the only one)."""

    key: str
    index: Int
    number: Int | None = None


@dataclass(frozen=True)
class Below(Node):
    """Whether a whole number is less than another."""

    left: Int
    right: Int


@dataclass(frozen=True)
class Signed(Node):
    """Whether the sign bit of a number is set, also that of a zero."""

    of: Name | Load


@dataclass(frozen=True)
class Flipped(Node):
    """A local, times -1 where the sign bit of another one is set."""

    of: Name
    by: Name


@dataclass(frozen=True)
class Let:
    """A local; `again`: it has a value already."""

    name: str
    value: Node
    again: bool = False


@dataclass(frozen=True)
class Store:
    """`add`: the value is added to what is there."""

    to: Load
    value: Node
    add: bool = False


@dataclass(frozen=True)
class For:
    index: Index
    start: Int
    stop: Int
    step: int
    body: tuple[Statement, ...]


@dataclass(frozen=True)
class If:
    condition: Node
    then: tuple[Statement, ...]
    otherwise: tuple[Statement, ...] = ()


@dataclass(frozen=True)
class Axis:
    """An index, so many values of it from the first on."""

    index: Index
    length: Int
    first: int = 0


@dataclass(frozen=True)
class Accumulation:
    """to := `start` (None: what is there) and the sum of `term` over nested loops, in their order, at every place of
    `tile` and `lanes`.

    Along `lanes` neighbours lie side by side in memory. `row` comes first in every turn of the loops; only turns for
    which `keep` holds are looked at; `each` comes before a term and stores only at places of its own. So tile and lanes
    may be cut into blocks whose sums stay in registers.
    """

    to: Load
    lanes: Axis
    over: tuple[Axis, ...]
    term: Node
    tile: tuple[Axis, ...] = ()
    row: tuple[Statement, ...] = ()
    keep: Node | None = None
    each: tuple[Statement, ...] = ()
    start: float | None = 0.0
    more: tuple[tuple[Load, Node], ...] = ()
    """Other sums with their terms, made on the way."""

    @property
    def sums(self) -> tuple[tuple[Load, Node], ...]:
        return ((self.to, self.term), *self.more)

    def plain(self) -> tuple[Statement, ...]:
        """One place of the tile after the other, row by row."""
        along = nested((self.lanes,), (*self.each, *(Store(to, term, add=True) for to, term in self.sums)))
        kept: Statement = If(self.keep, along) if self.keep is not None else along[0]
        zeros = () if self.start is None else tuple(Store(to, Number(self.start)) for to, _ in self.sums)
        begin = nested((self.lanes,), zeros) if zeros else ()
        return nested(self.tile, (*begin, *nested(self.over, (*self.row, kept))))


def nested(axes: Iterable[Axis], body: tuple[Statement, ...]) -> tuple[Statement, ...]:
    """Loops, the first one outermost."""
    for axis in reversed([*axes]):
        body = (For(axis.index, axis.first, axis.first + axis.length, 1, body),)
    return body


@dataclass(frozen=True)
class Meet:
    """All threads of a kernel wait here for each other."""


Statement = Let | Store | For | If | Accumulation | Meet


class Kernel:
    """A kernel that is being built. `arguments`: what its row of the program holds, by the names of the text.

    `kind`: "" for one that computes a step; "delivery" also sees the samples that are shown and `pending`, whether the
    last step learned; "closing" sees `end_of_block`.
    """

    def __init__(self, doc: str, kind: str = ""):
        self.doc, self.kind = doc, kind
        self.arguments: dict[str, Argument] = {}
        self.body: list[Statement] = []

    def functions(self) -> set[str]:
        """Names of the functions that the kernel calls."""
        found = [*nodes(self.body)]
        drawing = {"uniform" for node in found if isinstance(node, Uniform)}
        return drawing | {node.function for node in found if isinstance(node, Call | Lookup)}

    @property
    def content(self) -> tuple[object, ...]:
        """What makes two kernels the same."""
        arguments = tuple((name, type(argument)) for name, argument in self.arguments.items())
        return self.doc, self.kind, arguments, tuple(self.body)

    # ---- arguments

    def argument(self, name: str, argument: Argument) -> str:
        """Raises ValueError for a second meaning of a name."""
        if self.arguments.setdefault(identifier(name), argument) != argument:
            raise ValueError(f"{name} is {self.arguments[name]} and {argument}")
        return name

    def array(self, name: str, slot: Slot | Key, *axes: Int) -> Array:
        """A slot under the name that stands for it first: one slot has one name."""
        for known, argument in self.arguments.items():
            if argument == slot:
                return Array(known, axes)
        return Array(self.argument(name, slot), axes)

    def indices(self, name: str, slot: IndexSlot) -> Indices:
        return Indices(self.argument(name, slot))

    def size(self, name: str, value: int | Span | First) -> Size:
        return Size(self.argument(name, value))

    def scalar(self, name: str, value: float) -> Name:
        return Name(self.argument(name, Constant(value)))

    def gate(self, name: str, gate: str) -> Name:
        return Name(self.argument(name, Gate(gate)))

    # ---- statements

    @contextmanager
    def apart(self) -> Iterator[list[Statement]]:
        """Statements within are collected, and stand nowhere yet."""
        outer, self.body = self.body, []
        try:
            yield self.body
        finally:
            self.body = outer

    @contextmanager
    def loop(self, name: str, stop: Int, start: Int = 0, step: int = 1) -> Iterator[Int]:
        """Statements within run for every value of the index; no loop is made for one value alone."""
        if isinstance(start, int) and isinstance(stop, int) and start < stop <= start + step:
            yield start
            return
        index = Index(name)
        with self.apart() as body:
            yield index
        if body:
            self.body.append(For(index, start, stop, step, tuple(body)))

    def blocks(self, name: str, length: int, size: int, least: int = 1) -> Iterator[tuple[Int, int]]:
        """Stretches of an axis, each with its first index and its length. What is left, if less than `least`, joins the
        last one."""
        whole = length - length % size
        whole -= size if whole and 0 < length % size < least else 0
        for start, stop, count in ((0, whole, size), (whole, length, length - whole)):
            if stop > start:
                with self.loop(name, stop, start, count) as first:
                    yield first, count

    @contextmanager
    def when(self, condition: Node | None) -> Iterator[None]:
        """Always, if None."""
        with self.apart() as body:
            yield
        self.body += body if condition is None else [If(condition, tuple(body))]

    @contextmanager
    def otherwise(self) -> Iterator[None]:
        """Follows `when`."""
        with self.apart() as body:
            yield
        last = self.body.pop()
        assert isinstance(last, If)
        self.body.append(replace(last, otherwise=tuple(body)))

    def let(self, name: str, value: Node | float) -> Name:
        """A new local."""
        self.body.append(Let(identifier(name), as_node(value)))
        return Name(name)

    def set(self, local: Name, value: Node | float) -> None:
        """A new value of a local."""
        self.body.append(Let(local.name, as_node(value), again=True))

    def store(self, to: Load, value: Node | float) -> None:
        self.body.append(Store(to, as_node(value)))

    def add(self, to: Load, value: Node) -> None:
        self.body.append(Store(to, value, add=True))


def statements(body: Iterable[Statement]) -> Iterator[Statement]:
    """Every statement, also those within others."""
    for statement in body:
        yield statement
        match statement:
            case For():
                yield from statements(statement.body)
            case If():
                yield from statements((*statement.then, *statement.otherwise))


def nodes(body: Iterable[Statement]) -> Iterator[Node]:
    """Every node of every value."""
    for statement in statements(body):
        match statement:
            case Let(_, value) | Store(_, value) | If(value):
                yield from walk(value)
            case Accumulation():
                yield from nodes(statement.plain())


def calls(body: Iterable[Statement], functions: Collection[str]) -> dict[Call, None]:
    """Of these functions, each once."""
    return dict.fromkeys(node for node in nodes(body) if isinstance(node, Call) and node.function in functions)


def needed(body: Sequence[Statement], values: Iterable[Node]) -> list[Statement]:
    """The assignments from which values are computed, in their order."""
    names = {n.name for value in values for n in walk(value) if isinstance(n, Name)}
    found: list[Statement] = []
    for statement in reversed(body):
        if isinstance(statement, Let) and statement.name in names:
            names |= {n.name for n in walk(statement.value) if isinstance(n, Name)}
            found.insert(0, statement)
    return found


def stored(body: Iterable[Statement]) -> set[str]:
    """Arrays that statements write to."""
    found = [*statements(body)]
    sums = (stored(s.plain()) for s in found if isinstance(s, Accumulation))
    return {s.to.array for s in found if isinstance(s, Store)}.union(*sums)


def parts(place: Int) -> Iterator[Int]:
    """A whole number and all that it is computed from."""
    yield place
    match place:
        case Joined(_, left, right):
            yield from (*parts(left), *parts(right))
        case Entry(_, at) | Counter(Load(_, at)):
            yield from parts(at)


def indices_in(place: Int) -> set[str]:
    """Loop variables that a place depends on."""
    return {part.name for part in parts(place) if isinstance(part, Index)}


def compared(left: Node, operator: str, right: Node | float) -> Node:
    return Binary(operator, left, as_node(right))


def any_of(conditions: Sequence[Node]) -> Node:
    return reduce(lambda left, right: Binary("or", left, right), conditions)
