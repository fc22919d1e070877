"""Expressions of the IR as values of a kernel.

Leaves become locals or places in memory; gates, tables and *scalars*, the largest subtrees of parameters alone, become
arguments of the kernel, named by what they are: `dt / tau` is `dt_over_tau`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field

from cortexc.compiler.backends.kernels.nest import Kernel
from cortexc.compiler.backends.kernels.operations import SlotTable
from cortexc.compiler.backends.quoting import fresh, identifier
from cortexc.compiler.ir.expressions import (
    Call,
    Expression,
    Lookup,
    Name,
    Node,
    Prev,
    children,
    leaves,
    rebuild,
    show,
    walk,
)
from cortexc.compiler.ir.model import Graph

WORDS = {"+": "plus", "-": "minus", "*": "times", "/": "over", "<": "below", ">": "above", "=": "is"}
LONGEST_NAME = 40


def is_literal(expression: Expression) -> bool:
    """Whether numbers alone make it. LLVM turns `pow` of a visible one into exp2, a product or a square root, whose
    last bit may differ from libm's; a scalar in memory is out of its sight."""
    return not _looks_up(expression) and not any(leaves(expression))


def _looks_up(expression: Expression) -> bool:
    """Whether a table has a part in it, which is no parameter."""
    return any(isinstance(node, Lookup) for node in walk(expression))


def spelled(expression: Expression) -> str:
    """A name for a scalar that says what it is, as far as a name can."""
    text = re.sub(r"\b(\d+)\.(\d+)\b", r"\1p\2", show(expression)).replace("==", "=").replace(".", "_")
    words = [WORDS.get(word, word) for word in re.findall(r"\w+|[-+*/<>=]", text)]
    name = "_".join(words)
    return f"c_{name}" if len(name) <= LONGEST_NAME and name.isascii() else "constant"


@dataclass
class Translation:
    """Into one kernel. `leaf(node)` gives the value of a name; `constant(name)` says whether a name is a scalar
    parameter; `scalar(expression)` computes a subtree of such."""

    kernel: Kernel
    graph: Graph
    slots: SlotTable
    leaf: Callable[[Name | Prev], Node]
    constant: Callable[[str], bool]
    scalar: Callable[[Expression], float]
    names: dict[Expression, str] = field(default_factory=dict)

    def value(self, expression: Expression) -> Node:
        if self._is_scalar(expression):
            return self.named(expression)
        match expression:
            case Name(name) if name.startswith("gate."):
                gate = name.removeprefix("gate.")
                return self.kernel.gate(f"gate_{identifier(gate, 'gate')}", gate)
            case Name() | Prev():
                return self.leaf(expression)
            case Call("pow", arguments):
                return Call("pow", tuple(self.named(a) if is_literal(a) else self.value(a) for a in arguments))
            case Lookup():
                self._table(identifier(expression.table, "table"))
        parts = tuple(map(self.value, children(expression)))
        return rebuild(expression, parts) if parts else expression

    def named(self, expression: Expression) -> Name:
        """A scalar under a name of its own."""
        if expression not in self.names:
            self.names[expression] = fresh(spelled(expression), self.kernel.arguments)
            self.kernel.scalar(self.names[expression], self.scalar(expression))
        return Name(self.names[expression])

    def _is_scalar(self, expression: Expression) -> bool:
        read = [*leaves(expression)]
        return bool(read) and not _looks_up(expression) and all(
            isinstance(node, Name) and self.constant(node.name) for node in read)

    def _table(self, table: str) -> None:
        """Offset and length of a table."""
        size = len(self.graph.arrays[f"table.{table}"])
        self.kernel.array(f"table_{table}", self.slots.add(f"table.{table}", size))
        self.kernel.size(f"entries_{table}", size)
