"""The text of random expressions: every function, operator and form of the language.

Tame ones stay finite and of the size of their operands; wild ones overflow, divide by zero and are not numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cortexc.compiler.ir.expressions import LOOKUPS
from cortexc.compiler.ir.functions import ARITY, OPERATORS

if TYPE_CHECKING:
    from random_graphs.choices import Choices

GATES = ("ga", "gb")
TABLES = ("t0", "t1")
BOUNDED = {
    "exp": "exp(clip({a}, -3, 2))", "log": "log(1.5 + abs({a}))", "sqrt": "sqrt(abs({a}))", "cos": "cos(3 * {a})",
    "pow": "pow(0.5 + abs({a}), clip({b}, -2, 2))", "soft_relu": "soft_relu(clip({a}, -4, 4))",
    "sharp_soft_relu": "sharp_soft_relu(clip({a}, -4, 4))", "floor": "floor(4 * {a})", "clip": "clip({a}, -1, 1)",
    "saturate": "saturate(8 * {a}, -8, 7)", "shift_right": "shift_right(8 * {a}, 2)",
    "shift_left": "shift_left({a}, 1)", "stochastic_round": "stochastic_round(4 * {a}, logistic({b}))",
    "fixed": "fixed({a}, 16, 100, 0.5)", "poisson": "poisson(logistic({a}), abs({b}))"}
"""Functions whose arguments must be kept small, or are constants in practice."""
QUOTIENT = "({a} / (1.5 + abs({b})))"
WILD_NUMBERS = ("0", "-1", "-0.0", "inf", "1e308", "5e-324", "1e-300", "40", "-3", "0.5")
LETTERS = "abcd"


@dataclass(frozen=True)
class Words:
    """Forms over {a} .. {d}. `numbers`: what stands beside names; `bound`: what is put around an equation."""

    forms: tuple[str, ...]
    numbers: tuple[str, ...] = ("0.5", "1")
    bound: str = "tanh({a})"
    tables: bool = True
    gates: bool = True


def plain_form(function: str) -> str:
    return f"{function}({', '.join('{' + x + '}' for x in LETTERS[:ARITY[function]])})"


def operator_form(operator: str) -> str:
    return f"({{a}} {operator} {{b}})"


CHOSEN = ("-{a}", "where({a} > {b}, {a}, 0.5)", "where({a}, {b}, {c})")
TAME = Words((*(BOUNDED.get(name, plain_form(name)) for name in ARITY),
              *(QUOTIENT if op == "/" else operator_form(op) for op in OPERATORS), *CHOSEN))
WILD = Words((*map(plain_form, ARITY), *map(operator_form, OPERATORS), *CHOSEN), WILD_NUMBERS, "{a}")
INTEGER = Words(("tanh({a})", "-{a}", "logistic({a})", "relu({a})", "abs({a})", "clip({a}, -1, 1)",
                 "exp(clip({a}, -3, 2))", "({a} + {b})", "({a} - {b})", "({a} * {b})", "min({a}, {b})",
                 "max({a}, {b})", "where({a} > {b}, {a}, 0.5)", "({a} <= {b})", "({a} > 0 and {b} < 1)"), tables=False)
"""What has an integer form."""
GATED = ("where(gate.ga > 0, {a}, {b})", "({a} + gate.gb * {b})")


def expression(c: Choices, words: Words, leaves: Sequence[str], depth: int) -> str:
    """The text of an expression over the leaves."""
    kind = c.integer(0, 7) if depth else 0
    if kind <= 1:
        return c.pick([*leaves, *words.numbers])
    form = c.pick(words.forms)
    if kind == 6 and words.gates:
        form = c.pick(GATED)
    if kind == 7 and words.tables:
        form = f"{c.pick(LOOKUPS)}({c.pick(TABLES)}, 4 * {{a}})"
    operands = {x: expression(c, words, leaves, depth - 1) for x in LETTERS if "{" + x + "}" in form}
    return form.format(**operands)


def bounded(c: Choices, words: Words, leaves: Sequence[str], depth: int) -> str:
    """An expression whose value is that of a rate, where the words are tame."""
    return words.bound.format(a=expression(c, words, leaves, depth))
