"""Kernels as C: a function per operation, with its sizes as literals and its slots as pointers under their own names.

Sums over presynaptic cells run in blocks of postsynaptic cells whose partial sums stay in vector registers, with the
bits of the plain row sum: every cell's terms are added in the same order.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping

from cortexc.compiler.backends.kernels.nest import (
    Accumulation,
    For,
    Int,
    Joined,
    Kernel,
    Let,
    Load,
    Size,
    Statement,
    Store,
    Uniform,
    nodes,
    widths,
)
from cortexc.compiler.backends.kernels.operations import Argument, Constant, First, Gate, IndexSlot, Key, Slot, Span
from cortexc.compiler.backends.kernels.text import TRUTHS, Text
from cortexc.compiler.backends.quoting import comment
from cortexc.compiler.ir.expressions import Binary, Lookup, Name, Negate, Node, Number, Where, walk

LANES = {False: (8,), True: (16, 8)}
"""Numbers per vector in double and in single precision, the widest first; rows are padded to the last."""
VECTORS = 4
"""Vectors of sums per block."""


class CText(Text):
    """`sizes`: the values of the kernel's lengths. `single`: numbers are of single precision."""

    words = {"and": "&&", "or": "||", "//": "/"}
    other = "else"

    def __init__(self, sizes: Mapping[str, int], single: bool = False):
        self.sizes, self.single = sizes, single

    def size(self, name: str) -> str:
        return str(self.sizes[name]) if name in self.sizes else c_name(name)

    def literal(self, number: int) -> str:
        return str(number)

    def entry(self, indices: str, at: Int) -> str:
        return f"{c_name(indices)}[{self.whole(at)}]"

    def counter(self, place: str) -> str:
        return f"(long){place}"

    def number(self, value: float) -> str:
        if math.isnan(value):
            return "NAN"
        if math.isfinite(value):
            return f"((number){value!r})" if self.single else repr(value)
        return "(-INFINITY)" if value < 0 else "INFINITY"

    def local(self, name: str) -> str:
        return c_name(name)

    def place(self, load: Load) -> str:
        return f"{c_name(load.array)}[{self.whole(load.at)}]"

    def choice(self, condition: Node, then: Node, otherwise: Node) -> str:
        return f"({self.condition(condition)} ? {self.value(then)} : {self.value(otherwise)})"

    def call(self, function: str, arguments: list[str]) -> str:
        return f"{c_name(function)}({', '.join(arguments)})"

    def lookup(self, lookup: Lookup, index: str) -> str:
        table = f"table_{lookup.table}"
        return f"{lookup.function}({c_name(table)}, {self.sizes[f'entries_{lookup.table}']}, {index})"

    def shown(self, sample: Int) -> str:
        return f"(number)shown[{self.whole(sample)}]"

    def uniform(self, drawn: Uniform) -> str:
        at = self.whole(0 if drawn.number is None else 2 * drawn.number)
        key = c_name(drawn.key)
        return f"uniform((int64_t){key}[{at}], (int64_t){key}[{at} + 1], {self.whole(drawn.index)})"

    def let(self, name: str, value: str, again: bool) -> str:
        return f"{'' if again else 'number '}{c_name(name)} = {value};"

    def store(self, to: str, value: str, add: bool) -> str:
        return f"{to} {'+=' if add else '='} {value};"

    def loop(self, statement: For) -> str:
        name = c_name(statement.index.name)
        step = f"{name}++" if statement.step == 1 else f"{name} += {statement.step}"
        return f"for (long {name} = {self.whole(statement.start)}; {name} < {self.whole(statement.stop)}; {step})"

    def when(self, condition: str) -> str:
        return f"if ({condition})"

    def block(self, head: str, body: list[str]) -> list[str]:
        return [f"{head} {{", *("    " + line for line in body), "}"]

    # ---- blocks of postsynaptic cells

    def statement(self, statement: Statement) -> list[str]:
        if isinstance(statement, Accumulation) and self._fits(statement):
            return self._blocked(statement)
        return super().statement(statement)

    def _fits(self, sum_: Accumulation) -> bool:
        """Whether whole vectors make a row, of operations that vectors have."""
        width = int(self.whole(sum_.width))
        simple = all(isinstance(s, Let | Store) for s in sum_.each)
        found = [*nodes(sum_.each), *walk(sum_.term)]
        return width % LANES[self.single][-1] == 0 and simple and all(isinstance(n, VECTOR_NODES) for n in found)

    def _blocked(self, sum_: Accumulation) -> list[str]:
        width, done, lines = int(self.whole(sum_.width)), 0, []
        for lanes in LANES[self.single]:
            for vectors in (VECTORS, (width - done) // lanes % VECTORS):
                stop = width - (width - done) % (lanes * vectors) if vectors else done
                lines += self._block(sum_, done, stop, vectors, lanes) if stop > done else []
                done = stop
        return lines

    def _block(self, sum_: Accumulation, start: int, stop: int, vectors: int, lanes: int) -> list[str]:
        """Blocks of `vectors` vectors of cells from start to stop."""
        inner = VectorText(self.sizes, self.single, sum_.k.name, lanes)
        each = [f"const long {c_name(sum_.k.name)} = block + {lanes} * lane;", *inner.lines(sum_.each),
                f"sums[lane] += {inner.value(sum_.term)};"]
        lane = f"UNROLL for (long lane = 0; lane < {vectors}; lane++)"
        inside = self.block(lane, each)
        kept = self.block(self.when(self.condition(sum_.keep)), inside) if sum_.keep is not None else inside
        rows = self.loop(For(sum_.j, 0, sum_.rows, 1, ()))
        target = f"{c_name(sum_.to.name)} + block + {lanes} * lane"
        body = [f"vector{lanes} sums[{vectors}];", f"{lane} sums[lane] = ALL{lanes}(0);",
                *self.block(rows, [*self.lines(sum_.row), *kept]), f"{lane} SET{lanes}({target}, sums[lane]);"]
        return self.block(f"for (long block = {start}; block < {stop}; block += {lanes * vectors})", body)


VECTOR_NODES = (Number, Name, Load, Negate, Binary, Where)


class VectorText(CText):
    """What is computed for `lanes` neighbouring values of an index at once."""

    def __init__(self, sizes: Mapping[str, int], single: bool, index: str, lanes: int):
        super().__init__(sizes, single)
        self.index, self.lanes = index, lanes
        self.vectors: set[str] = set()

    def is_vector(self, node: Node) -> bool:
        return any(isinstance(n, Name) and n.name in self.vectors or isinstance(n, Load) and self._moves(n.at)
                   for n in walk(node))

    def _moves(self, place: Int) -> bool:
        if isinstance(place, Joined):
            return self._moves(place.left) or self._moves(place.right)
        return getattr(place, "name", None) == self.index

    def place(self, load: Load) -> str:
        if not self._moves(load.at):
            return super().place(load)
        return f"GET{self.lanes}({c_name(load.array)} + {self.whole(load.at)})"

    def spread(self, node: Node) -> str:
        """As a vector in any case."""
        return self.value(node) if self.is_vector(node) else f"ALL{self.lanes}({self.value(node)})"

    def condition(self, node: Node) -> str:
        """A mask, where it depends on the index."""
        if not self.is_vector(node):
            return super().condition(node)
        match node:
            case Binary("and" | "or" as operator, left, right):
                return f"({self.mask(left)} {'&' if operator == 'and' else '|'} {self.mask(right)})"
            case Binary(operator, left, right) if operator in TRUTHS:
                return f"({self.spread(left)} {operator} {self.spread(right)})"
        return f"({self.value(node)} != ALL{self.lanes}(0))"

    def mask(self, node: Node) -> str:
        return self.condition(node) if self.is_vector(node) else f"MASK{self.lanes}({self.condition(node)})"

    def choice(self, condition: Node, then: Node, otherwise: Node) -> str:
        if self.is_vector(condition):
            return f"choose{self.lanes}({self.condition(condition)}, {self.spread(then)}, {self.spread(otherwise)})"
        if self.is_vector(then) or self.is_vector(otherwise):
            return f"({self.condition(condition)} ? {self.spread(then)} : {self.spread(otherwise)})"
        return super().choice(condition, then, otherwise)

    def statement(self, statement: Statement) -> list[str]:
        match statement:
            case Let(name, value, again):
                self.vectors.add(name)
                return [f"{'' if again else f'vector{self.lanes} '}{c_name(name)} = {self.spread(value)};"]
            case Store(to, value, add):
                place = f"{c_name(to.array)} + {self.whole(to.at)}"
                new = f"GET{self.lanes}({place}) + {self.value(value)}" if add else self.spread(value)
                return [f"SET{self.lanes}({place}, {new});"]
        return super().statement(statement)


RESERVED = frozenset((  # noqa: SIM905
    "auto break case char const continue default do double else enum extern float for goto if inline int long register "
    "restrict return short signed sizeof static struct switch typedef union unsigned void volatile while asm typeof "
    "number whole vector8 vector16 masks8 masks16 GET8 GET16 SET8 SET16 ALL8 ALL16 MASK8 MASK16 choose8 choose16 "
    "UNROLL VECTOR NAN INFINITY IN APART main block lane sums shown gates call m t i record due late before load "
    "draw indices").split())


def c_name(name: str) -> str:
    """The name, as it may stand in C: other letters than ASCII's are spelled by their numbers."""
    plain = "".join(letter if letter.isascii() else f"_u{ord(letter):x}_" for letter in name)
    return f"{plain}_" if plain in RESERVED else plain


def sizes_of(kernel: Kernel, arguments: tuple[Argument, ...]) -> dict[str, int]:
    """The lengths among the arguments, by name."""
    named = zip(kernel.arguments, arguments, strict=False)
    return {n: a.value if isinstance(a, Span | First) else a for n, a in named if isinstance(a, int | Span | First)}


def open_sizes(kernel: Kernel, arguments: tuple[Argument, ...]) -> dict[str, int]:
    """Lengths that a function can also be given: its text need not know them."""
    known = {name for width in widths(kernel.body) for name in _sizes_in(width)}
    return {n: size for n, size in sizes_of(kernel, arguments).items()
            if n not in known and not n.startswith("entries_")}


def _sizes_in(whole: Int) -> Iterator[str]:
    if isinstance(whole, Joined):
        yield from (*_sizes_in(whole.left), *_sizes_in(whole.right))
    elif isinstance(whole, Size):
        yield whole.name


def function_source(name: str, kernel: Kernel, arguments: tuple[Argument, ...], single: bool = False,
                    given: Collection[str] = ()) -> str:
    """The function of one operation: slots come as pointers, in the order of the kernel's arguments. `given`: lengths
    that are arguments, behind the others, instead of literals."""
    named = dict(zip(kernel.arguments, arguments, strict=False))
    sizes = {n: size for n, size in sizes_of(kernel, arguments).items() if n not in given}
    apart = _distinct(named)
    parameters = [f"number *{'restrict ' if apart else ''}const {c_name(n)}" for n, a in named.items()
                  if isinstance(a, Slot | Key)]
    parameters += [f"const int32_t *const {c_name(n)}" for n, a in named.items() if isinstance(a, IndexSlot)]
    parameters += [f"const number {c_name(n)}" for n, a in named.items() if isinstance(a, Constant | Gate)]
    parameters += {"delivery": ["const int64_t *const shown", "const int pending"],
                   "closing": ["const int end_of_block"]}.get(kernel.kind, [])
    parameters += [f"const long {c_name(n)}" for n in given]
    body = CText(sizes, single).lines(kernel.body)
    doc = comment(kernel.doc).replace("*/", "* /").replace("\n", " ")
    return "\n".join([f"/* {doc} */", f"IN void {name}({', '.join(parameters)}) {{",
                      *("    " + line for line in body), "}"]) + "\n"


def _distinct(named: Mapping[str, Argument]) -> bool:
    """Whether every pointer has a stretch of memory of its own."""
    slots = [a.name for a in named.values() if isinstance(a, Slot | Key)]
    return len(slots) == len(set(slots))
