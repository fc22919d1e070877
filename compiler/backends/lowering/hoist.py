"""Kernels of a hoisted projection: a plastic projection whose input is constant during a presentation.

With input x held, W x and D x (D: the low-passed increment) move by rank-one terms, so a step costs O(n_post):

    dw = p q^T,  q = x (or x_old in the first step of a presentation, where the rule reads the previous input)
    D x <- D x + rate (p (q . x) - D x);   W x <- W x + D x
    D_n = keep_n D_0 + g x^T + c_n p_1 x_old^T;  W_n = W_0 + sum_n D_0 + G x^T + (sum of c) p_1 x_old^T

p_1 is the factor p of the presentation's first step, c_n its share that is left.

The matrices are rewritten once a presentation, in the pass that computes the next W x. Equal algebraically, not to
the bit. `book` holds keep, sum, x.x, x.x_old, whether this is a presentation's first step, whether the matrices lag
behind, whether W x is valid, the sample's row, c and the sum of c.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from compiler.backends.kernels.operations import (
    Argument,
    Gate,
    Operation,
    Slot,
    arguments_source,
)
from compiler.backends.lowering.cells import message_slot
from compiler.ir.expressions import Binary, Name, Prev

if TYPE_CHECKING:
    from compiler.backends.lowering.synapses import ProjectionLowering, Shape

def materialised(shape: Shape, read: Callable[[str], np.ndarray], weights: str, low_pass: bool) -> np.ndarray:
    """The packed weights (or `low_pass` increments) of a hoisted projection as they would be without hoisting.

    `read` gives a slot by its name without the owner, as in memory.
    """
    keep, total = read("hoist_book")[:2]
    x, x_old = read("hoist_x")[:shape.rows], read("hoist_x_old")[:shape.rows]
    held = read("low_pass" if low_pass else "w").reshape(shape.rows, shape.width)
    vector, share = ("hoist_sum_g", 9) if weights == "w" else ("hoist_g", 8)
    moved = np.outer(x, read(vector)) + read("hoist_book")[share] * np.outer(x_old, read("hoist_p_first"))
    if weights == "w":
        return (read("w").reshape(held.shape) + (total * held if low_pass else 0.0) + moved).reshape(-1)
    return (keep * held + moved).reshape(-1)


class Hoisted:
    def __init__(self, owner: ProjectionLowering):
        self.owner, self.projection = owner, owner.projection

    def _names(self, message: str) -> dict[str, Argument]:
        o, shape = self.owner, self.owner.shape
        names: dict[str, Argument] = {"rows_pre": shape.rows, "width": shape.width, "w": Slot(o.slot("w"))}
        names["held"] = o.slots.add(o.slot("low_pass"), shape.weights) if self._low_pass else Slot(o.slot("w"))
        names |= {"pre": Slot(message), "current": Slot(o.slot("current")), "p": Slot(o.own("post_factor0"))}
        for vector in ("dx", "g", "sum_g", "p_first"):
            names[vector] = o.slots.add(o.slot(f"hoist_{vector}"), shape.width)
        for vector in ("x", "x_old"):
            names[vector] = o.slots.add(o.slot(f"hoist_{vector}"), shape.rows)
        return names | {"book": o.slots.add(o.slot("hoist_book"), 16)}

    @property
    def _low_pass(self) -> bool:
        return self.owner.rule is not None and self.owner.rule.optimiser.kind == "low_pass"

    def _arguments(self, message: str) -> tuple[dict[str, Argument], str]:
        emitter = self.owner.factors.synapse_emitter()
        rule = self.owner.rule
        assert rule is not None
        rate = emitter.value(rule.optimiser.arguments[0]) if self._low_pass else "1.0"
        return self._names(message) | self.owner._scalar_arguments(emitter), rate

    def operation(self, message: str) -> Operation:
        """Delivers W x; `pending` says that the last step learned."""
        names, rate = self._arguments(message)
        body = ["    " + line for line in [*arguments_source(names), *self._step_lines(rate)]]
        text = "\n".join(["@across_steps", "def NAME(m, program, i, gates, rows, t, pending):",
                          '    """W x of a held input; rewrites the matrices when the presentation changes."""', *body])
        kernel = self.owner.kernels.add(f"hoisted_{self._variant()}", text + "\n")
        return Operation("hoisted", kernel, tuple(names.values()), self.projection.group,
                         (self.owner.slot("w"), message), (self.owner.slot("current"), self.owner.slot("w")),
                         gate=self.projection.gate or "", label=self.projection.name)

    def _variant(self) -> str:
        assert self.owner.rule is not None
        return f"{self.owner.rule.name}{'' if reads_previous(self.owner) else '_now'}"

    def _step_lines(self, rate: str) -> list[str]:
        first = "m[book + four] > 0.0" if reads_previous(self.owner) else "False"
        return [
            *_constants(), f"first = {first}", "m[book + four] = 0.0", "if pending:",
            *("    " + line for line in _advance(rate)),
            "if m[book + six] > 0.0 and m[book + seven] == rows[t, zero]:", "    return",
            "keep, total, dirty = m[book], m[book + one], m[book + five] > 0.0",
            "for k in range(width):", "    m[current + k] = 0.0", "    m[dx + k] = 0.0",
            "xx = 0.0", "xo = 0.0",
            "for j in range(rows_pre):", "    new, x_j, o_j = m[pre + j], m[x + j], m[x_old + j]",
            "    row, low = w + j * width, held + j * width",
            "    left, late = m[book + eight] * o_j, m[book + nine] * o_j", "    if dirty:",
            *("        " + line for line in self._rewrite()),
            "    m[x_old + j] = x_j", "    m[x + j] = new", "    xx += new * new", "    xo += x_j * new",
            "    for k in range(width):", "        m[current + k] += m[row + k] * new",
            *(["        m[dx + k] += m[low + k] * new"] if self._low_pass else []),
            *_reset(), "m[book + two] = xx", "m[book + three] = xo", "m[book + four] = 1.0", "m[book + six] = 1.0",
            "m[book + seven] = rows[t, zero]"]

    def _rewrite(self) -> list[str]:
        """Brings one row of the matrices up to date."""
        if self._low_pass:
            return ["for k in range(width):", "    d = m[low + k]",
                    "    m[row + k] += total * d + m[sum_g + k] * x_j + m[p_first + k] * late",
                    "    m[low + k] = keep * d + m[g + k] * x_j + m[p_first + k] * left"]
        return ["for k in range(width):", "    m[row + k] += m[sum_g + k] * x_j + m[p_first + k] * late"]

    def flush(self) -> Operation:
        """Applies the present step's increment and, for a recording, brings the matrices up to date.

        At the end of a block only the books move, so results do not depend on where blocks are cut.
        """
        message = self._message()
        names, rate = self._arguments(message)
        first = "m[book + four] > 0.0" if reads_previous(self.owner) else "False"
        body = [*_constants(), f"first = {first}", "m[book + four] = 0.0", "if learn > 0.0:",
                *("    " + line for line in _advance(rate)),
                "if m[book + five] > 0.0 and not end_of_block:", "    keep, total = m[book], m[book + one]",
                "    for j in range(rows_pre):", "        x_j, o_j = m[x + j], m[x_old + j]",
                "        row, low = w + j * width, held + j * width",
                "        left, late = m[book + eight] * o_j, m[book + nine] * o_j",
                *("        " + line for line in self._rewrite()), *("    " + line for line in _reset()),
                "    m[book + six] = 0.0"]
        named = names | {"learn": Gate(self.projection.gate or "")}
        text = "\n".join(["@closing", "def NAME(m, program, i, gates, t, end_of_block):",
                          '    """Closes a step; brings the matrices up to date unless a block merely ends."""',
                          *("    " + line for line in [*arguments_source(named), *body])])
        kernel = self.owner.kernels.add(f"materialise_{self._variant()}", text + "\n")
        return Operation("materialise", kernel, tuple(named.values()), self.projection.group,
                         (self.owner.slot("w"),), (self.owner.slot("w"), self.owner.slot("low_pass")),
                         label=self.projection.name)

    def _message(self) -> str:
        return message_slot(self.owner.storage, self.projection)

    def initial(self, before: np.ndarray) -> dict[str, np.ndarray]:
        """First values of the books: keep = 1, the last input = the message's initial value."""
        book = np.zeros(16)
        book[0] = 1.0
        return {self.owner.slot("hoist_book"): book, self.owner.slot("hoist_x"): before}


def cached_delivery(owner: ProjectionLowering, names: dict[str, Argument], message: str) -> Operation:
    """A static projection of a held input: the product is made once a presentation; same bits."""
    names = names | {"book": owner.slots.add(owner.slot("hoist_book"), 8)}
    body = [*arguments_source(names), "if m[book] > 0.0 and m[book + one] == rows_of_samples[t, zero]:", "    return",
            "m[book] = 1.0", "m[book + one] = rows_of_samples[t, zero]", *owner._product(None)]
    text = "\n".join(["@across_steps", "def NAME(m, program, i, gates, rows_of_samples, t, pending):",
                      '    """Delivers only when the presentation changes."""', *("    " + line for line in body)])
    kernel = owner.kernels.add("cached_delivery", text + "\n")
    return Operation("hoisted", kernel, tuple(names.values()), owner.projection.group, (owner.slot("w"), message),
                     (owner.slot("current"),), label=owner.projection.name)


def _constants() -> list[str]:
    return ["two = one + one", "three = two + one", "four = two + two", "five = four + one", "six = four + two",
            "seven = six + one", "eight = four + four", "nine = eight + one"]


def _reset() -> list[str]:
    return ["for k in range(width):", "    m[g + k] = 0.0", "    m[sum_g + k] = 0.0",
            "    m[p_first + k] = 0.0", "m[book] = 1.0", "m[book + one] = 0.0", "m[book + five] = 0.0",
            "m[book + eight] = 0.0", "m[book + nine] = 0.0"]


def _advance(rate: str) -> list[str]:
    """Adds the increment of one step to W x and to the books."""
    return [f"rate = {rate}", "loss = 1.0 - rate", "m[book] = loss * m[book]", "m[book + one] += m[book]",
            "m[book + five] = 1.0", "dot = m[book + three] if first else m[book + two]",
            "share = 0.0 if first else rate",
            "if first:", "    for k in range(width):", "        m[p_first + k] = m[p + k]",
            "m[book + eight] = rate if first else loss * m[book + eight]",
            "m[book + nine] += m[book + eight]",
            "for k in range(width):", "    e = m[p + k]", "    d = loss * m[dx + k] + (rate * dot) * e",
            "    m[dx + k] = d", "    m[current + k] += d",
            "    a = loss * m[g + k] + share * e", "    m[g + k] = a", "    m[sum_g + k] += a"]


def reads_previous(owner: ProjectionLowering) -> bool:
    """Whether the rule multiplies with the previous input (`prev(pre.x)`) and not with the present one."""
    return isinstance(owner.factors.pre[0], Prev)


def product_of_sides(expression: object) -> bool:
    """Whether what is left of an increment is one postsynaptic times one presynaptic factor."""
    return (isinstance(expression, Binary) and expression.operator == "*"
            and expression.left == Name("@P0") and expression.right == Name("@Q0"))

