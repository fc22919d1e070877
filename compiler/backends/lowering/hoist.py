"""Kernels of a hoisted projection: a plastic projection whose input is constant during a presentation.

With input x held, W x and D x (D: the low-passed increment) move by rank-one terms, so a step costs O(n_post):

    dw = p q^T,  q = x (or x_old in the first step of a presentation, where the rule reads the previous input)
    D x <- D x + rate (p (q . x) - D x);   W x <- W x + D x
    D_n = keep_n D_0 + g x^T + c_n p_1 x_old^T;  W_n = W_0 + sum_n D_0 + G x^T + (sum of c) p_1 x_old^T

p_1 is the factor p of the presentation's first step, c_n its share that is left.

The matrices are rewritten once a presentation, in the pass that computes the next W x. Equal algebraically, not to
the bit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np

from compiler.backends.kernels.layout import Shape
from compiler.backends.kernels.nest import Array, Int, Kernel, Shown, compared
from compiler.backends.kernels.operations import Gate, Operation, Slot
from compiler.backends.lowering.cells import message_slot
from compiler.backends.lowering.synapse_code import SynapseCode
from compiler.ir.expressions import Binary, Name, Node, Number, Prev, Where

KEEP, SUM, XX, X_OLD, FIRST, BEHIND, VALID, ROW, SHARE, SHARES = range(10)
"""Places of the book: keep, sum, x.x, x.x_old, whether this is a presentation's first step, whether the matrices lag
behind, whether W x is valid, the sample's row, c and the sum of c."""
BOOK = 16


def materialised(shape: Shape, read: Callable[[str], np.ndarray], weights: str, low_pass: bool) -> np.ndarray:
    """The packed weights (or `low_pass` increments) of a hoisted projection as they would be without hoisting.

    `read` gives a slot by its name without the owner, as in memory.
    """
    keep, total = read("hoist_book")[[KEEP, SUM]]
    x, x_old = read("hoist_x")[:shape.rows], read("hoist_x_old")[:shape.rows]
    held = read("low_pass" if low_pass else "w").reshape(shape.rows, shape.width)
    vector, share = ("hoist_sum_g", SHARES) if weights == "w" else ("hoist_g", SHARE)
    moved = np.outer(x, read(vector)) + read("hoist_book")[share] * np.outer(x_old, read("hoist_p_first"))
    if weights == "w":
        return (read("w").reshape(held.shape) + (total * held if low_pass else 0.0) + moved).reshape(-1)
    return (keep * held + moved).reshape(-1)


class Hoisted:
    """The operations of one such projection."""

    def __init__(self, owner: SynapseCode):
        self.owner, self.projection, self.shape = owner, owner.projection, owner.shape
        assert owner.rule is not None
        self.rule = owner.rule
        self.low_pass = owner.rule.optimiser.kind == "low_pass"
        self.message = message_slot(owner.storage, owner.projection)

    def operation(self, message: str) -> Operation:
        """Delivers W x; `pending` says that the last step learned."""
        code = HoistedCode(self, Kernel("W x of a held input; rewrites the matrices when the presentation changes.",
                                        "delivery"))
        kernel, o = code.kernel, self.owner
        code.begin()
        with kernel.when(compared(Name("pending"), "!=", 0.0)):
            code.advance()
        same = Binary("and", compared(code.book[VALID], ">", 0.0), compared(code.book[ROW], "==", Shown(0)))
        with kernel.when(compared(same, "==", 0.0)):
            code.new_presentation()
        return o.operation(f"hoisted_{self._variant}", kernel, (o.slot("w"), message), (o.slot("current"), o.slot("w")),
                           self.projection.gate or "", "hoisted")

    def flush(self) -> Operation:
        """Applies the present step's increment and, for a recording, brings the matrices up to date.

        At the end of a block only the books move, so results do not depend on where blocks are cut.
        """
        code = HoistedCode(self, Kernel("Closes a step; brings the matrices up to date unless a block merely ends.",
                                        "closing"))
        kernel, o = code.kernel, self.owner
        code.begin()
        learn = Name(kernel.argument("learn", Gate(self.projection.gate or "")))
        with kernel.when(compared(learn, ">", 0.0)):
            code.advance()
        with kernel.when(Binary("and", compared(code.book[BEHIND], ">", 0.0),
                                compared(Name("end_of_block"), "==", 0.0))):
            code.bring_up_to_date()
        return o.operation(f"materialise_{self._variant}", kernel, (o.slot("w"),), (o.slot("w"), o.slot("low_pass")),
                           kind="materialise")

    @property
    def reads_previous(self) -> bool:
        """Whether the rule multiplies with the previous input (`prev(pre.x)`) and not with the present one."""
        return isinstance(self.owner.factors.pre[0], Prev)

    @property
    def _variant(self) -> str:
        return f"{self.rule.name}{'' if self.reads_previous else '_now'}"

    def initial(self, before: np.ndarray) -> dict[str, np.ndarray]:
        """First values of the books: keep = 1, the last input = the message's initial value."""
        book = np.zeros(BOOK)
        book[KEEP] = 1.0
        return {self.owner.slot("hoist_book"): book, self.owner.slot("hoist_x"): before}


class HoistedCode:
    """Writing into one kernel of a hoisted projection."""

    def __init__(self, hoisted: Hoisted, kernel: Kernel):
        self.hoisted, self.kernel, self.low_pass = hoisted, kernel, hoisted.low_pass
        o, shape = hoisted.owner, hoisted.shape
        self.rows, self.width = kernel.size("rows", shape.rows), kernel.size("width", shape.width)
        self.w = kernel.array("w", Slot(o.slot("w")), self.rows, self.width)
        self.held = kernel.array("held", o.slots.add(o.slot("low_pass"), shape.weights), self.rows, self.width) \
            if self.low_pass else self.w
        self.pre = kernel.array("pre", Slot(hoisted.message), self.rows)
        self.current = kernel.array("current", Slot(o.slot("current")), self.width)
        self.p = kernel.array("p", Slot(o.own("post_factor0")), self.width)
        self.dx, self.g, self.sum_g, self.p_first = (self._vector(n, self.width, shape.width)
                                                     for n in ("dx", "g", "sum_g", "p_first"))
        self.x, self.x_old = (self._vector(name, self.rows, shape.rows) for name in ("x", "x_old"))
        self.book = kernel.array("book", o.slots.add(o.slot("hoist_book"), BOOK), BOOK)
        self.rate: Node = Number(1.0)
        if self.low_pass:
            self.rate = o.learning(kernel, whole=True).translation.value(hoisted.rule.optimiser.arguments[0])

    def _vector(self, name: str, axis: Int, length: int) -> Array:
        o = self.hoisted.owner
        return self.kernel.array(name, o.slots.add(o.slot(f"hoist_{name}"), length), axis)

    @contextmanager
    def _along(self) -> Iterator[Int]:
        with self.kernel.loop("k", self.width) as k:
            yield k

    def begin(self) -> None:
        first: Node = compared(self.book[FIRST], ">", 0.0) if self.hoisted.reads_previous else Number(0.0)
        self.first = self.kernel.let("first", first)
        self.kernel.store(self.book[FIRST], 0.0)

    def advance(self) -> None:
        """Adds the increment of one step to W x and to the books."""
        kernel, book, first = self.kernel, self.book, self.first
        rate = kernel.let("rate", self.rate)
        loss = kernel.let("loss", 1.0 - rate)
        kernel.store(book[KEEP], loss * book[KEEP])
        kernel.add(book[SUM], book[KEEP])
        kernel.store(book[BEHIND], 1.0)
        dot = kernel.let("dot", Where(first, book[X_OLD], book[XX]))
        share = kernel.let("share", Where(first, Number(0.0), rate))
        with kernel.when(compared(first, "!=", 0.0)), self._along() as k:
            kernel.store(self.p_first[k], self.p[k])
        kernel.store(book[SHARE], Where(first, rate, loss * book[SHARE]))
        kernel.add(book[SHARES], book[SHARE])
        with self._along() as k:
            e = kernel.let("e", self.p[k])
            d = kernel.let("d", loss * self.dx[k] + (rate * dot) * e)
            kernel.store(self.dx[k], d)
            kernel.add(self.current[k], d)
            a = kernel.let("a", loss * self.g[k] + share * e)
            kernel.store(self.g[k], a)
            kernel.add(self.sum_g[k], a)

    def new_presentation(self) -> None:
        kernel, book = self.kernel, self.book
        self._take_books()
        dirty = kernel.let("dirty", book[BEHIND])
        with self._along() as k:
            kernel.store(self.current[k], 0.0)
            kernel.store(self.dx[k], 0.0)
        xx, xo = kernel.let("xx", 0.0), kernel.let("xo", 0.0)
        with kernel.loop("j", self.rows) as j:
            new, x_j = kernel.let("new", self.pre[j]), kernel.let("x_j", self.x[j])
            left, late = self._shares(j)
            with kernel.when(compared(dirty, ">", 0.0)):
                self._rewrite(j, x_j, left, late)
            kernel.store(self.x_old[j], x_j)
            kernel.store(self.x[j], new)
            kernel.set(xx, xx + new * new)
            kernel.set(xo, xo + x_j * new)
            with self._along() as k:
                kernel.add(self.current[k], self.w[j, k] * new)
                if self.low_pass:
                    kernel.add(self.dx[k], self.held[j, k] * new)
        self._reset()
        for place, value in ((XX, xx), (X_OLD, xo), (FIRST, 1.0), (VALID, 1.0), (ROW, Shown(0))):
            kernel.store(book[place], value)

    def bring_up_to_date(self) -> None:
        self._take_books()
        with self.kernel.loop("j", self.rows) as j:
            x_j = self.kernel.let("x_j", self.x[j])
            self._rewrite(j, x_j, *self._shares(j))
        self._reset()
        self.kernel.store(self.book[VALID], 0.0)

    def _take_books(self) -> None:
        self.keep = self.kernel.let("keep", self.book[KEEP])
        self.total = self.kernel.let("total", self.book[SUM])

    def _shares(self, j: Int) -> tuple[Name, Name]:
        o_j = self.kernel.let("o_j", self.x_old[j])
        return (self.kernel.let("left", self.book[SHARE] * o_j), self.kernel.let("late", self.book[SHARES] * o_j))

    def _rewrite(self, j: Int, x_j: Name, left: Name, late: Name) -> None:
        """Brings one row of the matrices up to date."""
        kernel = self.kernel
        with self._along() as k:
            moved = self.sum_g[k] * x_j
            if not self.low_pass:
                kernel.add(self.w[j, k], moved + self.p_first[k] * late)
            else:
                d = kernel.let("d", self.held[j, k])
                kernel.add(self.w[j, k], self.total * d + moved + self.p_first[k] * late)
                kernel.store(self.held[j, k], self.keep * d + self.g[k] * x_j + self.p_first[k] * left)

    def _reset(self) -> None:
        with self._along() as k:
            for vector in (self.g, self.sum_g, self.p_first):
                self.kernel.store(vector[k], 0.0)
        self.kernel.store(self.book[KEEP], 1.0)
        for place in (SUM, BEHIND, SHARE, SHARES):
            self.kernel.store(self.book[place], 0.0)


def cached_delivery(owner: SynapseCode, message: str) -> Operation:
    """A static projection of a held input: the product is made once a presentation; same bits."""
    kernel = Kernel("Delivers only when the presentation changes.", "delivery")
    book = kernel.array("book", owner.slots.add(owner.slot("hoist_book"), 8), 8)
    same = Binary("and", compared(book[0], ">", 0.0), compared(book[1], "==", Shown(0)))
    with kernel.when(compared(same, "==", 0.0)):
        kernel.store(book[0], 1.0)
        kernel.store(book[1], Shown(0))
        owner.product(kernel, Slot(message), Slot(owner.slot("current")))
    return owner.operation("cached_delivery", kernel, (owner.slot("w"), message), (owner.slot("current"),),
                           kind="hoisted")
