"""Python source for expressions, in the shape that numba compiles and plain Python runs.

An `Emitter` turns leaves into local variables and collects what a kernel needs as arguments: memory slots, gate
columns, and *scalars*: the largest subtrees of parameters alone, evaluated once when the program is built.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

from compiler.backends.kernels.operations import Argument, SlotTable
from compiler.backends.quoting import identifier
from compiler.ir import CortexError
from compiler.ir.expressions import (
    Binary,
    Call,
    Expression,
    Lookup,
    Name,
    Negate,
    Number,
    Prev,
    Where,
    children,
    walk,
)
from compiler.ir.functions import ARITY, PRIMITIVES
from compiler.ir.model import Graph

COMPARISONS = {"<", "<=", ">", ">=", "==", "!="}
TRUTHS = COMPARISONS | {"and", "or"}


def is_literal(expression: Expression) -> bool:
    """Whether numbers alone make it. LLVM turns `pow` of a visible one into exp2, a product or a square root, whose
    last bit may differ from libm's; a scalar in memory is out of its sight."""
    leaves = [node for node in walk(expression) if not children(node)]
    return all(isinstance(leaf, Number) for leaf in leaves) and not _looks_up(expression)


def _looks_up(expression: Expression) -> bool:
    """Whether a table has a part in it, which is no parameter."""
    return any(isinstance(node, Lookup) for node in walk(expression))


def _from_memory(expression: Expression) -> bool:
    """Whether what it computes with lies in memory, whatever its conditions say."""
    match expression:
        case Name() | Prev() | Lookup():
            return True
        case Negate(operand):
            return _from_memory(operand)
        case Binary(operator, left, right) if operator in "+-*/":
            return _from_memory(left) or _from_memory(right)
        case Where(_, then, otherwise):
            return _from_memory(then) and _from_memory(otherwise)
        case Call(function):
            return function in PRIMITIVES
    return False


def _nonzero(expression: Expression) -> bool:
    return isinstance(expression, Number) and expression.value != 0


@dataclass
class Emitter:
    """`leaf(node)` gives the source of a name; `constant(name)` says whether a name is a scalar parameter."""

    leaf: Callable[[Name | Prev], str]
    constant: Callable[[str], bool]
    scalars: list[Expression] = field(default_factory=list)
    gates: list[str] = field(default_factory=list)
    tables: list[str] = field(default_factory=list)

    def value(self, expression: Expression) -> str:
        """Source of a float64 value."""
        if self._is_scalar(expression):
            return self._scalar(expression)
        match expression:
            case Number(value):
                return _number(float(value))
            case Name(name) if name.startswith("gate."):
                return self._gate(name)
            case Name() | Prev():
                return self.leaf(expression)
            case Negate(operand):
                return f"(-{self.value(operand)})"
            case Binary("/", left, right):
                return f"({self.value(left)} / {self._divisor(right)})"
            case Binary("+" | "-" | "*" as operator, left, right):
                return f"({self.value(left)} {operator} {self.value(right)})"
            case Binary(operator) if operator in TRUTHS:
                return f"(1.0 if {self.condition(expression)} else 0.0)"
            case Call("pow", arguments):
                return f"pow({', '.join(self._scalar(a) if is_literal(a) else self.value(a) for a in arguments)})"
            case Call("fixed", (x, scale, limit, offset)):
                return f"fixed({self.value(x)}, {self._divisor(scale)}, {self.value(limit)}, {self.value(offset)})"
            case Call(function, arguments) if len(arguments) == ARITY.get(function):
                return f"{function}({', '.join(map(self.value, arguments))})"
            case Where(condition, then, otherwise):
                return f"({self.value(then)} if {self.condition(condition)} else {self.value(otherwise)})"
            case Lookup(_, index):
                return self._lookup(expression, self.value(index))
        raise CortexError("E514", f"cannot lower {str(expression)[:80]}: no such operator or function, or not so many "
                                  "arguments.", "Build expressions with cortexc.parse.")

    def _divisor(self, expression: Expression) -> str:
        """A number of Python's raises where it divides and is 0; one of numpy's, as memory holds, does not."""
        source = self.value(expression)
        return source if _from_memory(expression) or _nonzero(expression) else f"np.float64({source})"

    def _lookup(self, lookup: Lookup, index: str) -> str:
        table = identifier(lookup.table, "table")
        if table not in self.tables:
            self.tables.append(table)
        return f"{lookup.function}(m, table_{table}, entries_{table}, {index})"

    def table_arguments(self, slots: SlotTable, graph: Graph) -> dict[str, Argument]:
        """Offset and length of every table that was read."""
        result: dict[str, Argument] = {}
        for table in self.tables:
            size = len(graph.arrays[f"table.{table}"])
            result |= {f"table_{table}": slots.add(f"table.{table}", size), f"entries_{table}": size}
        return result

    def condition(self, expression: Expression) -> str:
        """Source of a truth value."""
        match expression:
            case Binary(operator, left, right) if operator in COMPARISONS:
                return f"({self.value(left)} {operator} {self.value(right)})"
            case Binary(operator, left, right) if operator in ("and", "or"):
                return f"({self.condition(left)} {operator} {self.condition(right)})"
        return f"({self.value(expression)} != 0.0)"

    def _is_scalar(self, expression: Expression) -> bool:
        leaves = [node for node in walk(expression) if not children(node)]
        return not _looks_up(expression) and any(isinstance(n, Name) for n in leaves) and all(
            isinstance(n, Number) or (isinstance(n, Name) and self.constant(n.name)) for n in leaves)

    def _scalar(self, expression: Expression) -> str:
        if expression not in self.scalars:
            self.scalars.append(expression)
        return f"s{self.scalars.index(expression)}"

    def _gate(self, name: str) -> str:
        if name not in self.gates:
            self.gates.append(name)
        return f"g{self.gates.index(name)}"


def _number(value: float) -> str:
    return repr(value) if math.isfinite(value) else "(-math.inf)" if value < 0 else f"math.{value}"
