"""Kernels as C: a function per operation, with its sizes as literals and its slots as pointers under their own names.

Sums over presynaptic cells run in blocks of postsynaptic cells whose partial sums stay in vector registers, with the
bits of the plain row sum: every cell's terms are added in the same order.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import reduce
from itertools import product

from cortexc.compiler.backends.kernels import blocking, nest
from cortexc.compiler.backends.kernels import operations as op
from cortexc.compiler.backends.kernels.event_loops import arrays_at, event_of, events_in
from cortexc.compiler.backends.kernels.nest import Accumulation, Axis, For, Kernel, Let, Load, Meet, Signed, Store
from cortexc.compiler.backends.kernels.python_text import TRUTHS, PythonText
from cortexc.compiler.backends.kernels.sharing import Share, Sharing
from cortexc.compiler.backends.kernels.whole import Int, Size
from cortexc.compiler.backends.quoting import comment
from cortexc.compiler.ir.expressions import Binary, Lookup, Name, Negate, Node, Number, Where, walk

LANES = {False: (8, 4, 1), True: (16, 8, 4, 1)}
"""Numbers per vector in double and in single precision, the widest first."""
AHEAD = 2
"""Rows that are fetched while another one is added."""
SUMS = 16
"""Vectors of sums that registers hold."""
BEGUN, AT_ONCE = {"poisson": 6.0}, 64
"""Functions that loop: what their beginning gives where it is not the end."""


class CText(PythonText):
    """`sizes`: the values of the kernel's lengths. `single`: numbers are of single precision. `apart`: every array is
    a stretch of memory of its own."""

    words = {"and": "&&", "or": "||", "//": "/"}
    other = "else"

    def __init__(self, sizes: Mapping[str, int], single: bool = False, apart: bool = True):
        self.sizes, self.single, self.apart = sizes, single, apart
        self.kept: dict[Load, str] = {}
        self.looped: dict[Node, str] = {}

    def size(self, name: str) -> str:
        return str(self.sizes[name]) if name in self.sizes else c_name(name)

    def literal(self, number: int) -> str:
        return str(number)

    def entry(self, indices: str, at: Int) -> str:
        return f"{c_name(indices)}[{self.whole(at)}]"

    def counter(self, place: str) -> str:
        return f"(long){place}"

    def divisor(self, node: Node) -> str:
        return self.value(node)

    def number(self, value: float) -> str:
        if math.isnan(value):
            return "NAN"
        if math.isfinite(value):
            return f"((number){value!r})" if self.single else repr(value)
        return "(-INFINITY)" if value < 0 else "INFINITY"

    def local(self, name: str) -> str:
        return c_name(name)

    def value(self, node: Node) -> str:
        return self.looped.get(node) or super().value(node)

    def place(self, load: Load) -> str:
        return self.kept.get(load) or f"{c_name(load.array)}[{self.whole(load.at)}]"

    def choice(self, condition: Node, then: Node, otherwise: Node) -> str:
        return f"({self.condition(condition)} ? {self.value(then)} : {self.value(otherwise)})"

    def call(self, function: str, arguments: list[str]) -> str:
        return f"{c_name(function)}({', '.join(arguments)})"

    def lookup(self, lookup: Lookup, index: str) -> str:
        table = f"table_{lookup.table}"
        return f"{lookup.function}({c_name(table)}, {self.sizes[f'entries_{lookup.table}']}, {index})"

    def sign_bit(self, value: str) -> str:
        return f"sign_bit({value})"

    def flipped(self, value: str, by: str) -> str:
        return f"flipped({value}, {by})"

    def shown(self, sample: Int) -> str:
        return f"(number)shown[{self.whole(sample)}]"

    def uniform(self, drawn: nest.Uniform) -> str:
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

    def statement(self, statement: nest.Statement) -> list[str]:
        if isinstance(statement, Meet):
            return ["meet(gate);"]
        if isinstance(statement, Accumulation) and self._fits(statement):
            return self._blocked(statement)
        if isinstance(statement, For) and (event := event_of(statement)):
            return self._events(statement, *event)
        if isinstance(statement, For) and self.apart and blocking.turns_are_apart(statement):
            return self._elementwise(statement)
        return super().statement(statement)

    def _elementwise(self, loop: For) -> list[str]:
        """A loop that the compiler may turn into vectors; what is the same in all turns is loaded before, as it cannot
        see that no turn stores there."""
        inner, written = CText(self.sizes, self.single), nest.stored(loop.body)
        same = dict.fromkeys(n for n in nest.nodes(loop.body) if isinstance(n, Load) and n.array not in written
                             and loop.index.name not in nest.indices_in(n.at))
        inner.kept = {load: f"same_{i}" for i, load in enumerate(same)}
        loads = [f"const number {name} = {self.place(load)};" for load, name in inner.kept.items()]
        lines = self._begun(loop, inner) or self.block(f"APART_EACH {self.loop(loop)}", inner.lines(loop.body))
        return self.block("", [*loads, *lines]) if loads else lines

    def _begun(self, loop: For, inner: CText) -> list[str]:
        """Functions that loop are computed before all else, for AT_ONCE turns at a time, and in a few of them to their
        end; what remains becomes vectors. Nothing where there are none, where they have no beginning that all turns
        share, or where their arguments wait for others."""
        calls = nest.calls(loop.body, BEGUN)
        before, shared = nest.needed(loop.body, calls), [call.arguments[1] for call in calls]
        read = {n.array for n in nest.nodes(before) if isinstance(n, Load)}
        moving = {n for value in shared for n in walk(value) if isinstance(n, Load)} - inner.kept.keys()
        if not calls or loop.step != 1 or read & nest.stored(loop.body) or calls.keys() & {
                *nest.nodes(before)} or moving or nest.needed(loop.body, shared):
            return []
        k, stop = c_name(loop.index.name), self.whole(loop.stop)
        some = f"for (long {k} = first_{k}; {k} < last_{k}; {k}++)"
        heads, first, rest = [], inner.lines(before), []
        for i, call in enumerate(calls):
            place, (given, common) = f"looped_{i}[{k} - first_{k}]", map(inner.value, call.arguments)
            heads += [f"double begins_{i}[7];", f"{call.function}_begins({common}, begins_{i});"]
            first.append(f"{place} = {call.function}_begun({given}, begins_{i});")
            rest += self.block(f"{some} if ({place} == {BEGUN[call.function]})",
                               [*inner.lines(before), f"{place} = {call.function}({given}, {common});"])
        inner.looped = {call: f"looped_{i}[{k} - first_{k}]" for i, call in enumerate(calls)}
        chunk = [f"const long last_{k} = first_{k} + {AT_ONCE} < {stop} ? first_{k} + {AT_ONCE} : {stop};",
                 *(f"number looped_{i}[{AT_ONCE}];" for i in range(len(calls))),
                 *self.block(f"APART_EACH {some}", first), *rest,
                 *self.block(f"APART_EACH {some}", inner.lines(loop.body))]
        steps = f"for (long first_{k} = {self.whole(loop.start)}; first_{k} < {stop}; first_{k} += {AT_ONCE})"
        return self.block("", [*heads, *self.block(steps, chunk)])

    def _events(self, rows: For, sent: Let, load: Load, body: nest.If) -> list[str]:
        """Over the rows that send something, which are known; what they read is fetched while others are added."""
        j, array = c_name(rows.index.name), c_name(load.array)
        after = f"next < count_{array} && next <= at + {AHEAD}"
        ahead = self.block(f"for (long next = at ? at + {AHEAD} : 0; {after}; next++)",
                           [f"const long {j} = found_{array}[next];", *self._fetches(body)])
        inner = [*ahead, f"const long {j} = found_{array}[at];", *self.lines((sent, *body.then))]
        return self.block(f"for (long at = 0; at < count_{array}; at++)", inner)

    def _fetches(self, body: nest.If) -> list[str]:
        """Of the first numbers that the loop over a row reads."""
        loop = next((s for s in body.then if isinstance(s, For)), None)
        if loop is None:
            return []
        read = dict.fromkeys(name for node in nest.nodes(loop.body) if isinstance(node, Load)
                             for name in arrays_at(node, loop.index))
        read |= dict.fromkeys(name for s in loop.body if isinstance(s, Store) for name in arrays_at(s.to, loop.index))
        ends = [self.whole(end) for end in (loop.start, loop.stop)]
        return [f"fetch({', '.join(f'{c_name(name)} + {end}' for end in ends)});" for name in read]

    def _fits(self, sum_: Accumulation) -> bool:
        """Whether vectors have all its operations."""
        simple = all(isinstance(s, Let | Store) for s in sum_.each)
        found = [*nest.nodes(sum_.each), *(node for _, term in sum_.sums for node in walk(term))]
        return simple and all(isinstance(n, VECTOR_NODES) for n in found)

    def _blocked(self, sum_: Accumulation) -> list[str]:
        tiles = [*product(*(blocking.cuts(int(self.whole(axis.length))) for axis in sum_.tile))]
        most = max(SUMS // math.prod((*(cut.step for cut in tiles[0]), len(sum_.sums))), 1)
        plain = not blocking.unmoved(sum_) and not any(isinstance(s, Store) for s in sum_.each)
        lines = []
        most = most if plain else min(most, blocking.VECTORS)
        for stretch in blocking.stretches(int(self.whole(sum_.lanes.length)), most, plain, LANES[self.single]):
            found = [line for tile in tiles for line in self._block(sum_, tile, stretch)]
            lines += self.block(self._steps(sum_.lanes, stretch.cut), found)
        return lines

    def _steps(self, axis: Axis, cut: range) -> str:
        name = f"first_{c_name(axis.index.name)}"
        return f"for (long {name} = {axis.first + cut.start}; {name} < {axis.first + cut.stop}; {name} += {cut.step})"

    def _block(self, sum_: Accumulation, tile: tuple[range, ...], stretch: blocking.Stretch) -> list[str]:
        """Blocks of the tile for neighbours from one of the lanes on; the sums of a block stay in registers."""
        lanes, units = stretch.lanes, [Unit(c_name(axis.index.name), cut.step) for axis, cut in
                                       zip(sum_.tile, tile, strict=True)]
        units.append(Unit(c_name(sum_.lanes.index.name), stretch.vectors, lanes, stretch.twice))
        size = math.prod(unit.count for unit in units)
        place = reduce(lambda at, unit: f"({at} * {unit.count} + unit_{unit.name})", units, "0")
        sums = [(f"sums[{place} + {i * size}]", f"{c_name(to.array)} + {self.whole(to.at)}") for i, (to, _) in
                enumerate(sum_.sums)]
        inner = VectorText(self.sizes, self.single, sum_.lanes.index.name, lanes) if lanes > 1 else CText(
            self.sizes, self.single)
        unmoved = blocking.unmoved(sum_) if self.apart else ()
        fixed = {load: f"kept[{place} + {i * size}]" for i, load in enumerate(unmoved)}
        loads = [f"{own} = {inner.value(load)};" for load, own in fixed.items()]
        turn = self._turn(sum_, units, inner, fixed, [own for own, _ in sums])
        for axis in reversed(sum_.over):
            turn = self.block(self.loop(For(axis.index, 0, axis.length, 1, ())), turn)
        zero = None if sum_.start is None else f"ALL{lanes}({self.number(sum_.start)})"
        lines = [f"vector{lanes} sums[{len(sums) * size}];",
                 *([f"vector{lanes} kept[{len(loads) * size}];", *self._every(units, *loads)] if loads else []),
                 *self._every(units, *(f"{own} = {zero or f'GET{lanes}({to})'};" for own, to in sums)), *turn,
                 *self._every(units, *(f"SET{lanes}({to}, {own});" for own, to in sums))]
        for axis, cut in reversed([*zip(sum_.tile, tile, strict=True)]):
            lines = self.block(self._steps(axis, cut), lines)
        return lines

    def _turn(self, sum_: Accumulation, units: list[Unit], inner: CText, fixed: dict[Load, str],
              sums: list[str]) -> list[str]:
        """One turn of the loops around a block. What its tile shares is loaded once."""
        *_, lane = units
        once = {load: f"shared[unit_{lane.name} + {i * lane.count}]" for i, load in enumerate(blocking.shared(sum_))}
        loads = [f"{own} = {inner.value(load)}; IN_REGISTER({own});" for load, own in once.items()]
        inner.kept = fixed | once
        terms = [f"{own} += {inner.value(term)};" for own, (_, term) in zip(sums, sum_.sums, strict=True)]
        lines = self._every(units, *inner.lines(sum_.each), *terms)
        if loads:
            lines = [f"vector{lane.width} shared[{len(loads) * lane.count}];", *self._every([lane], *loads), *lines]
        kept = self.block(self.when(self.condition(sum_.keep)), lines) if sum_.keep is not None else lines
        return [*self.lines(sum_.row), *kept]

    def _every(self, units: list[Unit], *lines: str) -> list[str]:
        """At every place of a block."""
        found = [*lines]
        for unit in reversed(units):
            found = self.block(f"UNROLL for (long unit_{unit.name} = 0; unit_{unit.name} < {unit.count}; "
                               f"unit_{unit.name}++)", [f"const long {unit.name} = {unit.place};", *found])
        return found


@dataclass(frozen=True)
class Unit:
    """One axis of a block: so many vectors (or numbers, of width 1) side by side. `twice`: see `Stretch`."""

    name: str
    count: int
    width: int = 1
    twice: int = 0

    @property
    def place(self) -> str:
        back = f" - (unit_{self.name} == {self.count - 1} ? {self.twice} : 0)" if self.twice else ""
        return f"first_{self.name} + {self.width} * unit_{self.name}{back}"


VECTOR_NODES = (Number, Name, Load, Negate, Binary, Where, Signed)


class VectorText(CText):
    """What is computed for `lanes` neighbouring values of an index at once."""

    def __init__(self, sizes: Mapping[str, int], single: bool, index: str, lanes: int):
        super().__init__(sizes, single)
        self.index, self.lanes = index, lanes
        self.vectors: set[str] = set()

    def is_vector(self, node: Node) -> bool:
        leaves = (n.of if isinstance(n, Signed) else n for n in walk(node))
        return any(isinstance(n, Name) and n.name in self.vectors or isinstance(n, Load) and self._moves(n.at)
                   for n in leaves)

    def _moves(self, place: Int) -> bool:
        return self.index in nest.indices_in(place)

    def place(self, load: Load) -> str:
        if load in self.kept or not self._moves(load.at):
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
            case Signed(of):
                return f"((masks{self.lanes}){self.value(of)} < 0)"
        return f"({self.value(node)} != ALL{self.lanes}(0))"

    def mask(self, node: Node) -> str:
        return self.condition(node) if self.is_vector(node) else f"MASK{self.lanes}({self.condition(node)})"

    def choice(self, condition: Node, then: Node, otherwise: Node) -> str:
        if self.is_vector(condition):
            return f"choose{self.lanes}({self.condition(condition)}, {self.spread(then)}, {self.spread(otherwise)})"
        if self.is_vector(then) or self.is_vector(otherwise):
            return f"({self.condition(condition)} ? {self.spread(then)} : {self.spread(otherwise)})"
        return super().choice(condition, then, otherwise)

    def statement(self, statement: nest.Statement) -> list[str]:
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
    "number whole vector1 vector4 vector8 vector16 masks4 masks8 masks16 GET1 GET4 GET8 GET16 SET1 SET4 SET8 SET16 "
    "ALL1 ALL4 ALL8 ALL16 MASK4 MASK8 MASK16 choose4 choose8 choose16 UNROLL VECTOR NAN INFINITY IN APART main sums "
    "sign_bit flipped IN_REGISTER kept APART_EACH "
    "shown gates call m t i record due late before load "
    "draw indices wrapped events fetch gate meet").split())


def c_name(name: str) -> str:
    """The name, as it may stand in C: other letters than ASCII's are spelled by their numbers."""
    plain = "".join(letter if letter.isascii() else f"_u{ord(letter):x}_" for letter in name)
    return f"{plain}_" if plain in RESERVED else plain


def sizes_of(kernel: Kernel, arguments: tuple[op.Argument, ...]) -> dict[str, int]:
    """The lengths among the arguments, by name."""
    named = zip(kernel.arguments, arguments, strict=False)
    return {n: size for n, argument in named if (size := op.number_of(argument)) is not None}


def open_sizes(kernel: Kernel, arguments: tuple[op.Argument, ...]) -> dict[str, int]:
    """Lengths that a function can also be given: its text need not know them."""
    cut = (axis.length for s in nest.statements(kernel.body) if isinstance(s, Accumulation)
           for axis in (s.lanes, *s.tile))
    known = {part.name for length in cut for part in nest.parts(length) if isinstance(part, Size)}
    return {n: size for n, size in sizes_of(kernel, arguments).items()
            if n not in known and not n.startswith("entries_")}


def function_source(name: str, kernel: Kernel, arguments: tuple[op.Argument, ...], single: bool = False,
                    given: Collection[str] = (), share: Share | None = None) -> str:
    """The function of one operation: slots come as pointers, in the order of the kernel's arguments. `given`: lengths
    that are arguments, behind the others, instead of literals. `share`: for one of several threads.

    The pointers are not `restrict`: gcc 12.2 then takes a sum from before its last store where it inlines a tile."""
    named = dict(zip(kernel.arguments, arguments, strict=False))
    sizes = {n: size for n, size in sizes_of(kernel, arguments).items() if n not in given}
    parameters = [f"number *const {c_name(n)}" for n, a in named.items()
                  if isinstance(a, op.Slot | op.Key)]
    parameters += [f"const int32_t *const {c_name(n)}" for n, a in named.items() if isinstance(a, op.IndexSlot)]
    parameters += [f"const number {c_name(n)}" for n, a in named.items() if isinstance(a, op.Constant | op.Gate)]
    parameters += {"delivery": ["const int64_t *const shown", "const int pending"],
                   "closing": ["const int end_of_block"]}.get(kernel.kind, [])
    parameters += [f"const long {c_name(n)}" for n in given]
    parameters += [f"const int32_t *const found_{c_name(n)}, const long count_{c_name(n)}"
                   for n in events_in(kernel.body)]
    parameters += ["Gate *const gate"] if share else []
    slots = {n: a.name for n, a in named.items() if isinstance(a, op.Slot | op.Key)}
    statements = Sharing(share, sizes, slots).body(kernel.body) if share else kernel.body
    body = CText(sizes, single, len(slots) == len({*slots.values()})).lines(statements)
    doc = comment(kernel.doc).replace("*/", "* /").replace("\n", " ")
    return "\n".join([f"/* {doc} */", f"IN void {name}({', '.join(parameters)}) {{",
                      *("    " + line for line in body), "}"]) + "\n"
