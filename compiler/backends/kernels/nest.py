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

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import reduce

from cortexc.compiler.backends.kernels.operations import Argument, Constant, First, Gate, IndexSlot, Key, Slot, Span
from cortexc.compiler.backends.quoting import identifier
from cortexc.compiler.ir.expressions import Binary, Call, Lookup, Name, Node, Number, as_node, walk


class Whole:
    """A whole number that a kernel computes with: loop variables, sizes, and sums, products, quotients, remainders."""

    def __add__(self, other: Int) -> Int:
        if isinstance(other, int) and other < 0:
            return Joined("-", self, -other)
        return self if other == 0 else Joined("+", self, other)

    def __radd__(self, other: int) -> Int:
        return self + other if other <= 0 else Joined("+", other, self)

    def __sub__(self, other: Int) -> Int:
        return self if other == 0 else Joined("-", self, other)

    def __rsub__(self, other: int) -> Int:
        return Joined("-", other, self)

    def __mul__(self, other: Int) -> Int:
        return other if other == 0 else self if other == 1 else Joined("*", self, other)

    def __rmul__(self, other: int) -> Int:
        return other if other == 0 else self if other == 1 else Joined("*", other, self)

    def __floordiv__(self, other: Int) -> Int:
        return self if other == 1 else Joined("//", self, other)

    def __mod__(self, other: Int) -> Int:
        return 0 if other == 1 else Joined("%", self, other)


Int = int | Whole


@dataclass(frozen=True)
class Index(Whole):
    """A loop variable."""

    name: str


@dataclass(frozen=True)
class Size(Whole):
    """An argument: a length, or the first of some cells."""

    name: str


@dataclass(frozen=True)
class Entry(Whole):
    """The whole number at a place of an index array."""

    indices: str
    at: Int


@dataclass(frozen=True)
class Counter(Whole):
    """A whole number that changes as the program runs, kept with the float64."""

    load: Load


@dataclass(frozen=True)
class Joined(Whole):
    operator: str
    left: Int
    right: Int


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
class Accumulation:
    """to[k] := the sum over j, left to right, of `term`.

    `row` comes first in every j; only rows for which `keep` holds are looked at; `each` comes before the term of (j, k)
    and stores only at places of its own (j, k). So k may be cut into blocks whose sums stay in registers.
    """

    to: Array
    j: Index
    rows: Int
    k: Index
    width: Int
    row: tuple[Statement, ...]
    keep: Node | None
    each: tuple[Statement, ...]
    term: Node

    def plain(self) -> tuple[Statement, ...]:
        """Row by row."""
        along = For(self.k, 0, self.width, 1, (*self.each, Store(self.to[self.k], self.term, add=True)))
        kept: Statement = If(self.keep, (along,)) if self.keep is not None else along
        return (For(self.k, 0, self.width, 1, (Store(self.to[self.k], Number(0.0)),)),
                For(self.j, 0, self.rows, 1, (*self.row, kept)))


Statement = Let | Store | For | If | Accumulation


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
        return {name for node in nodes(self.body) if (name := called(node))}

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
    def _nested(self) -> Iterator[list[Statement]]:
        outer, self.body = self.body, []
        try:
            yield self.body
        finally:
            self.body = outer

    @contextmanager
    def loop(self, name: str, stop: Int, start: Int = 0, step: int = 1) -> Iterator[Int]:
        """Statements within run for every value of the index; no loop is made for one value alone."""
        if (start, stop) == (0, 1):
            yield 0
            return
        index = Index(name)
        with self._nested() as body:
            yield index
        if body:
            self.body.append(For(index, start, stop, step, tuple(body)))

    @contextmanager
    def when(self, condition: Node) -> Iterator[None]:
        with self._nested() as body:
            yield
        self.body.append(If(condition, tuple(body)))

    @contextmanager
    def when_any(self, conditions: Sequence[Node]) -> Iterator[None]:
        """Of several conditions; always, where there are none."""
        if not conditions:
            yield
            return
        with self.when(any_of(conditions)):
            yield

    @contextmanager
    def otherwise(self) -> Iterator[None]:
        """Follows `when`."""
        with self._nested() as body:
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

    @contextmanager
    def apart(self) -> Iterator[list[Statement]]:
        """Statements within are collected, and stand nowhere yet."""
        with self._nested() as body:
            yield body


def nodes(body: Iterable[Statement]) -> Iterator[Node]:
    """Every node of every value."""
    for statement in body:
        match statement:
            case Let(_, value) | Store(_, value):
                yield from walk(value)
            case For(_, _, _, _, within):
                yield from nodes(within)
            case If(condition, then, otherwise):
                yield from walk(condition)
                yield from nodes((*then, *otherwise))
            case Accumulation():
                yield from nodes(statement.plain())


def widths(body: Iterable[Statement]) -> Iterator[Int]:
    """Of every accumulation."""
    for statement in body:
        match statement:
            case For(_, _, _, _, within):
                yield from widths(within)
            case If(_, then, otherwise):
                yield from widths((*then, *otherwise))
            case Accumulation():
                yield statement.width


def called(node: Node) -> str | None:
    match node:
        case Call(function):
            return function
        case Lookup():
            return node.function
        case Uniform():
            return "uniform"
    return None


def compared(left: Node, operator: str, right: Node | float) -> Node:
    return Binary(operator, left, as_node(right))


def sum_of(terms: Sequence[Node]) -> Node:
    """From left to right."""
    return reduce(lambda left, right: left + right, terms)


def any_of(conditions: Sequence[Node]) -> Node:
    return reduce(lambda left, right: Binary("or", left, right), conditions)


@dataclass
class KernelTable:
    """Kernels by name; equal ones share a name, whatever their arguments are."""

    kernels: dict[str, Kernel] = field(default_factory=dict)

    def add(self, base: str, kernel: Kernel) -> str:
        """Registers a kernel under `base`, or `base_2` ... where another one has that name; returns the name."""
        name, count = identifier(base, "kernel"), 2
        while CONSTANT.fullmatch(name) or self.kernels.setdefault(name, kernel).content != kernel.content:
            name, count = f"{base}_{count}", count + 1
        return name


CONSTANT = re.compile(r"unsigned_\d+")
"""Names of the whole numbers of a printed module."""
