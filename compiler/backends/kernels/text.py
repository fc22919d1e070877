"""What both printers of kernels share: the walk over values and statements; each says how it writes the pieces."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable

from cortexc.compiler.backends.kernels.nest import (
    Accumulation,
    Below,
    Counter,
    Flipped,
    For,
    If,
    Let,
    Load,
    Shown,
    Signed,
    Statement,
    Store,
    Uniform,
)
from cortexc.compiler.backends.kernels.whole import Entry, Int, Joined, Whole
from cortexc.compiler.ir.errors import CortexError
from cortexc.compiler.ir.expressions import Binary, Call, Lookup, Name, Negate, Node, Number, Where
from cortexc.compiler.ir.functions import ARITY

COMPARISONS = {"<", "<=", ">", ">=", "==", "!="}
TRUTHS = COMPARISONS | {"and", "or"}


class Text(ABC):
    """One way of writing kernels. `words`: its logical operators and its division of whole numbers."""

    words: dict[str, str] = {}

    # ---- whole numbers

    def whole(self, number: Int) -> str:
        match number:
            case Joined("wrap", left, right):
                return f"wrapped({self.whole(left)}, {self.whole(right)})"
            case Joined(operator, left, right):
                return f"({self.whole(left)} {self.words.get(operator, operator)} {self.whole(right)})"
            case Entry(indices, at):
                return self.entry(indices, at)
            case Counter(load):
                return self.counter(self.place(load))
            case Whole():
                return self.size(number.name)  # type: ignore[attr-defined]
        return self.literal(int(number))

    def size(self, name: str) -> str:
        """A loop variable or an argument."""
        return name

    @abstractmethod
    def entry(self, indices: str, at: Int) -> str:
        """The whole number at a place of an index array."""

    @abstractmethod
    def counter(self, place: str) -> str:
        """The float64 at a place as a whole number."""

    @abstractmethod
    def literal(self, number: int) -> str: ...

    # ---- values

    def value(self, node: Node) -> str:
        """Text of a float64. Raises E514 for what is no value."""
        match node:
            case Number(number):
                return self.number(float(number))
            case Name(name):
                return self.local(name)
            case Load():
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
            case Flipped(of, by):
                return self.flipped(self.value(of), self.value(by))
            case Shown(sample):
                return self.shown(sample)
            case Uniform():
                return self.uniform(node)
        raise CortexError("E514", f"cannot lower {str(node)[:80]}: no such operator or function, or not so many "
                                  "arguments.", "Build expressions with cortexc.parse.")

    def condition(self, node: Node) -> str:
        """Text of a truth value."""
        match node:
            case Binary(operator, left, right) if operator in COMPARISONS:
                return f"({self.value(left)} {operator} {self.value(right)})"
            case Below(left, right):
                return f"({self.whole(left)} < {self.whole(right)})"
            case Signed(of):
                return self.sign_bit(self.value(of))
            case Binary(operator, left, right) if operator in TRUTHS:
                return f"({self.condition(left)} {self.words[operator]} {self.condition(right)})"
        return f"({self.value(node)} != 0.0)"

    def divisor(self, node: Node) -> str:
        return self.value(node)

    def local(self, name: str) -> str:
        return name

    def call(self, function: str, arguments: list[str]) -> str:
        return f"{function}({', '.join(arguments)})"

    @abstractmethod
    def number(self, value: float) -> str: ...

    @abstractmethod
    def place(self, load: Load) -> str: ...

    @abstractmethod
    def choice(self, condition: Node, then: Node, otherwise: Node) -> str: ...

    @abstractmethod
    def lookup(self, lookup: Lookup, index: str) -> str: ...

    @abstractmethod
    def sign_bit(self, value: str) -> str: ...

    @abstractmethod
    def flipped(self, value: str, by: str) -> str: ...

    @abstractmethod
    def shown(self, sample: Int) -> str: ...

    @abstractmethod
    def uniform(self, drawn: Uniform) -> str: ...

    # ---- statements

    def lines(self, body: Iterable[Statement]) -> list[str]:
        return [line for statement in body for line in self.statement(statement)]

    def statement(self, statement: Statement) -> list[str]:
        match statement:
            case Let(name, value, again):
                return [self.let(name, self.value(value), again)]
            case Store(to, value, add):
                return [self.store(self.place(to), self.value(value), add)]
            case For(_, _, _, _, body):
                return self.block(self.loop(statement), self.lines(body))
            case If(condition, then, otherwise):
                lines = self.block(self.when(self.condition(condition)), self.lines(then))
                return [*lines, *self.block(self.other, self.lines(otherwise))] if otherwise else lines
            case Accumulation():
                return self.lines(statement.plain())
        raise TypeError(statement)

    other = ""

    @abstractmethod
    def let(self, name: str, value: str, again: bool) -> str: ...

    @abstractmethod
    def store(self, to: str, value: str, add: bool) -> str: ...

    @abstractmethod
    def loop(self, statement: For) -> str: ...

    @abstractmethod
    def when(self, condition: str) -> str: ...

    @abstractmethod
    def block(self, head: str, body: list[str]) -> list[str]: ...
