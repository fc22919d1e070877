"""Kernels as Python: what numba compiles, and what runs as it is.

A kernel works on one memory `m` and one of whole numbers, `indices`; `program[i, ...]` is its row of the table, with
lengths and offsets. Whole numbers are unsigned for numba, so that indexing needs no wrap-around test; literal ones are
constants of the module.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from cortexc.compiler.backends.kernels.nest import For, Kernel, Load, Uniform
from cortexc.compiler.backends.kernels.operations import FIRST_ARGUMENT, Argument, Constant, Gate, Key
from cortexc.compiler.backends.kernels.text import Text
from cortexc.compiler.backends.kernels.whole import Int
from cortexc.compiler.backends.quoting import docstring, identifier
from cortexc.compiler.ir.expressions import Lookup, Node, Number

SIGNATURES = {"": ("kernel", "m, indices, program, i, gates, t"),
              "delivery": ("across_steps", "m, indices, program, i, gates, rows_of_samples, t, pending"),
              "closing": ("closing", "m, indices, program, i, gates, t, end_of_block")}


class NumbaText(Text):
    """`literals`: the whole numbers that it has written."""

    words = {"and": "and", "or": "or", "//": "//"}
    other = "else:"

    def __init__(self) -> None:
        self.literals: set[int] = set()

    def literal(self, number: int) -> str:
        self.literals.add(number)
        return f"unsigned_{number}"

    def entry(self, indices: str, at: Int) -> str:
        return f"unsigned(indices[{indices}])" if at == 0 else f"unsigned(indices[{indices} + {self._bare(at)}])"

    def counter(self, place: str) -> str:
        return f"unsigned({place})"

    def number(self, value: float) -> str:
        return repr(value) if math.isfinite(value) else "(-math.inf)" if value < 0 else f"math.{value}"

    def divisor(self, node: Node) -> str:
        """A number of Python's raises where it divides and is 0; one of numpy's, as memory holds, does not."""
        safe = isinstance(node, Load) or (isinstance(node, Number) and node.value != 0)
        return self.value(node) if safe else f"np.float64({self.value(node)})"

    def place(self, load: Load) -> str:
        return f"m[{load.array}]" if load.at == 0 else f"m[{load.array} + {self._bare(load.at)}]"

    def _bare(self, number: Int) -> str:
        """Without the outer brackets of a sum."""
        text = self.whole(number)
        return text[1:-1] if getattr(number, "operator", "") == "+" else text

    def choice(self, condition: Node, then: Node, otherwise: Node) -> str:
        return f"({self.value(then)} if {self.condition(condition)} else {self.value(otherwise)})"

    def lookup(self, lookup: Lookup, index: str) -> str:
        return f"{lookup.function}(m, table_{lookup.table}, entries_{lookup.table}, {index})"

    def sign_bit(self, value: str) -> str:
        return f"np.signbit({value})"

    def flipped(self, value: str, by: str) -> str:
        return f"(-{value} if {self.sign_bit(by)} else {value})"

    def shown(self, sample: Int) -> str:
        return f"rows_of_samples[t, {self.whole(sample)}]"

    def uniform(self, drawn: Uniform) -> str:
        index = f"signed({self.whole(drawn.index)})"
        if drawn.number is None:
            return f"uniform(low_{drawn.key}, high_{drawn.key}, {index})"
        at = self.whole(2 * drawn.number)
        return f"uniform(signed(m[{drawn.key} + {at}]), signed(m[{drawn.key} + {at} + one]), {index})"

    def let(self, name: str, value: str, again: bool) -> str:
        return f"{name} = {_without(value)}"

    def store(self, to: str, value: str, add: bool) -> str:
        return f"{to} {'+=' if add else '='} {_without(value)}"

    def loop(self, statement: For) -> str:
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


def kernel_source(name: str, kernel: Kernel, printer: NumbaText) -> str:
    """The function's text."""
    decorator, signature = SIGNATURES[kernel.kind]
    body = [docstring(kernel.doc), *arguments_source(kernel.arguments), *printer.lines(kernel.body)]
    return "\n".join([f"@{decorator}", f"def {name}({signature}):", *("    " + line for line in body)]) + "\n"


def arguments_source(names: Mapping[str, Argument]) -> list[str]:
    """Lines that unpack a program row into local names; constants are loaded from memory at once."""
    lines = []
    for index, (name, argument) in enumerate(names.items(), FIRST_ARGUMENT):
        identifier(name)
        match argument:
            case Constant():
                lines.append(f"{name} = m[program[i, {index}]]")
            case Key():
                lines.append(f"{name} = program[i, {index}]")
                lines.append(f"low_{name}, high_{name} = signed(m[{name}]), signed(m[{name} + one])")
            case Gate():
                lines.append(f"{name} = gates[t, program[i, {index}]]")
            case _:
                lines.append(f"{name} = program[i, {index}]")
    return lines
