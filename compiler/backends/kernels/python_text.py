"""Kernels as Python: what numba compiles, and what runs as it is. Printers to other languages say where they differ.

A kernel works on one memory `m` and one of whole numbers, `indices`; `program[i, ...]` is its row of the table, with
lengths and offsets. Whole numbers are unsigned for numba, so that indexing needs no wrap-around test; literal ones are
constants of the module.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from cortexc.compiler.backends.kernels import nest
from cortexc.compiler.backends.kernels.operations import FIRST_ARGUMENT, Argument, Constant, Gate, Key
from cortexc.compiler.backends.kernels.whole import Entry, Int, Joined, Whole
from cortexc.compiler.backends.quoting import docstring, identifier
from cortexc.compiler.ir.errors import CortexError
from cortexc.compiler.ir.expressions import Binary, Call, Lookup, Name, Negate, Node, Number, Where
from cortexc.compiler.ir.functions import ARITY

SIGNATURES = {"": ("kernel", "m, indices, program, i, gates, t"),
              "delivery": ("across_steps", "m, indices, program, i, gates, rows_of_samples, t, pending"),
              "closing": ("closing", "m, indices, program, i, gates, t, end_of_block")}
COMPARISONS = {"<", "<=", ">", ">=", "==", "!="}
TRUTHS = COMPARISONS | {"and", "or"}


class PythonText:
    """`words`: logical operators, and the division of whole numbers; `other`: what begins a second branch. `literals`:
    the whole numbers that it has written."""

    words: Mapping[str, str] = {}
    other = "else:"

    def __init__(self) -> None:
        self.literals: set[int] = set()

    # ---- whole numbers

    def whole(self, number: Int) -> str:
        match number:
            case Joined("wrap", left, right):
                return f"wrapped({self.whole(left)}, {self.whole(right)})"
            case Joined(operator, left, right):
                return f"({self.whole(left)} {self.words.get(operator, operator)} {self.whole(right)})"
            case Entry(indices, at):
                return self.entry(indices, at)
            case nest.Counter(load):
                return self.counter(self.place(load))
            case Whole():
                return self.size(number.name)  # type: ignore[attr-defined]
        return self.literal(int(number))

    def size(self, name: str) -> str:
        """A loop variable or an argument."""
        return name

    def literal(self, number: int) -> str:
        self.literals.add(number)
        return f"unsigned_{number}"

    def entry(self, indices: str, at: Int) -> str:
        """The whole number at a place of an index array."""
        return f"unsigned({self._element('indices', indices, at)})"

    def counter(self, place: str) -> str:
        """The float64 at a place as a whole number."""
        return f"unsigned({place})"

    # ---- values

    def value(self, node: Node) -> str:
        """Text of a float64. Raises E514 for what is no value."""
        match node:
            case Number(number):
                return self.number(float(number))
            case Name(name):
                return self.local(name)
            case nest.Load():
                return self.place(node)
            case Negate(operand):
                return f"(-{self.value(operand)})"
            case Binary("/", left, right):
                return f"({self.value(left)} / {self.divisor(right)})"
            case Binary("+" | "-" | "*" as operator, left, right):
                return f"({self.value(left)} {operator} {self.value(right)})"
            case Binary(operator) if operator in TRUTHS:
                return self.choice(node, Number(1.0), Number(0.0))
            case Call("fixed", (x, scale, *others)) if len(others) == 2:
                return self.call("fixed", [self.value(x), self.divisor(scale), *map(self.value, others)])
            case Call(function, arguments) if len(arguments) == ARITY.get(function):
                return self.call(function, list(map(self.value, arguments)))
            case Where(condition, then, otherwise):
                return self.choice(condition, then, otherwise)
            case Lookup(_, index):
                return self.lookup(node, self.value(index))
            case nest.Flipped(of, by):
                return self.flipped(self.value(of), self.value(by))
            case nest.Shown(sample):
                return self.shown(sample)
            case nest.Uniform():
                return self.uniform(node)
        raise CortexError("E514", f"cannot lower {str(node)[:80]}: no such operator or function, or not so many "
                                  "arguments.", "Build expressions with cortexc.parse.")

    def condition(self, node: Node) -> str:
        """Text of a truth value."""
        match node:
            case Binary(operator, left, right) if operator in COMPARISONS:
                return f"({self.value(left)} {operator} {self.value(right)})"
            case nest.Below(left, right):
                return f"({self.whole(left)} < {self.whole(right)})"
            case nest.Signed(of):
                return self.sign_bit(self.value(of))
            case Binary(operator, left, right) if operator in TRUTHS:
                return f"({self.condition(left)} {self.words.get(operator, operator)} {self.condition(right)})"
        return f"({self.value(node)} != 0.0)"

    def number(self, value: float) -> str:
        return repr(value) if math.isfinite(value) else "(-math.inf)" if value < 0 else f"math.{value}"

    def divisor(self, node: Node) -> str:
        """A number of Python's raises where it divides and is 0; one of numpy's, as memory holds, does not."""
        safe = isinstance(node, nest.Load) or (isinstance(node, Number) and node.value != 0)
        return self.value(node) if safe else f"np.float64({self.value(node)})"

    def local(self, name: str) -> str:
        return name

    def place(self, load: nest.Load) -> str:
        return self._element("m", load.array, load.at)

    def _element(self, memory: str, first: str, at: Int) -> str:
        return f"{memory}[{first}]" if at == 0 else f"{memory}[{first} + {self._bare(at)}]"

    def _bare(self, number: Int) -> str:
        """Without the outer brackets of a sum."""
        text = self.whole(number)
        return text[1:-1] if getattr(number, "operator", "") == "+" else text

    def choice(self, condition: Node, then: Node, otherwise: Node) -> str:
        return f"({self.value(then)} if {self.condition(condition)} else {self.value(otherwise)})"

    def call(self, function: str, arguments: list[str]) -> str:
        return f"{function}({', '.join(arguments)})"

    def lookup(self, lookup: Lookup, index: str) -> str:
        return f"{lookup.function}(m, table_{lookup.table}, entries_{lookup.table}, {index})"

    def sign_bit(self, value: str) -> str:
        return f"np.signbit({value})"

    def flipped(self, value: str, by: str) -> str:
        return f"(-{value} if {self.sign_bit(by)} else {value})"

    def shown(self, sample: Int) -> str:
        return f"rows_of_samples[t, {self.whole(sample)}]"

    def uniform(self, drawn: nest.Uniform) -> str:
        index = f"signed({self.whole(drawn.index)})"
        if drawn.number is None:
            return f"uniform(low_{drawn.key}, high_{drawn.key}, {index})"
        at = self.whole(2 * drawn.number)
        return f"uniform(signed(m[{drawn.key} + {at}]), signed(m[{drawn.key} + {at} + one]), {index})"

    # ---- statements

    def lines(self, body: Iterable[nest.Statement]) -> list[str]:
        return [line for statement in body for line in self.statement(statement)]

    def statement(self, statement: nest.Statement) -> list[str]:
        match statement:
            case nest.Let(name, value, again):
                return [self.let(name, self.value(value), again)]
            case nest.Store(to, value, add):
                return [self.store(self.place(to), self.value(value), add)]
            case nest.For(_, _, _, _, body):
                return self.block(self.loop(statement), self.lines(body))
            case nest.If(condition, then, otherwise):
                lines = self.block(self.when(self.condition(condition)), self.lines(then))
                return [*lines, *self.block(self.other, self.lines(otherwise))] if otherwise else lines
            case nest.Accumulation():
                return self.lines(statement.plain())
        raise TypeError(statement)

    def let(self, name: str, value: str, again: bool) -> str:
        return f"{name} = {_without(value)}"

    def store(self, to: str, value: str, add: bool) -> str:
        return f"{to} {'+=' if add else '='} {_without(value)}"

    def loop(self, statement: nest.For) -> str:
        bounds = [self.whole(statement.stop)]
        if statement.start != 0 or statement.step != 1:
            bounds.insert(0, self.whole(statement.start))
        bounds += [self.literal(statement.step)] if statement.step != 1 else []
        return f"for {statement.index.name} in range({', '.join(map(_without, bounds))}):"

    def when(self, condition: str) -> str:
        return f"if {_without(condition)}:"

    def block(self, head: str, body: list[str]) -> list[str]:
        return [head, *("    " + line for line in body)]


def _without(text: str) -> str:
    """Without brackets around the whole."""
    depth = 0
    for position, letter in enumerate(text):
        depth += (letter == "(") - (letter == ")")
        if depth == 0 and position < len(text) - 1:
            return text
    return text[1:-1] if text.startswith("(") else text


def kernel_source(name: str, kernel: nest.Kernel, printer: PythonText) -> str:
    """The function's text."""
    decorator, signature = SIGNATURES[kernel.kind]
    body = [docstring(kernel.doc), *arguments_source(kernel.arguments), *printer.lines(kernel.body)]
    return "\n".join([f"@{decorator}", f"def {name}({signature}):", *("    " + line for line in body)]) + "\n"


def arguments_source(names: Mapping[str, Argument]) -> list[str]:
    """Lines that unpack a program row into local names; constants are loaded from memory at once."""
    lines = []
    for index, (name, argument) in enumerate(names.items(), FIRST_ARGUMENT):
        column = f"program[i, {index}]"
        match argument:
            case Constant():
                column = f"m[{column}]"
            case Gate():
                column = f"gates[t, {column}]"
        lines.append(f"{identifier(name)} = {column}")
        if isinstance(argument, Key):
            lines.append(f"low_{name}, high_{name} = signed(m[{name}]), signed(m[{name} + one])")
    return lines
