"""A projection of a held input whose increments are summed (`accumulate`, `clipped`, `adam`).

The message is x, or x times one number u that all cells share in a step, and x stays while a presentation lasts. So
W x is made once a presentation (and after an update), and of the increments only q = sum of u p over the steps is
kept: the matrices see one product q x^T per presentation. Equal algebraically to the plain projection, not to the bit.
"""

from __future__ import annotations

from functools import reduce

from compiler.backends.kernels.nest import Array, Kernel, Load, Shown, compared
from compiler.backends.kernels.operations import Operation, Slot, slot_name
from compiler.backends.lowering.learning import Learning
from compiler.backends.lowering.summed import OPTIMISERS, At, Optimiser, Summed
from compiler.backends.lowering.synapse_code import SynapseCode
from compiler.ir.expressions import Binary, Node
from compiler.ir.held_input import held_input

VALID, GATHERED, EMPTY, ROWS = range(4)
"""Places of the book: whether W x is valid, q holds anything, the sums are known to be 0; the samples' rows."""


class Held:
    """The operations of one such projection."""

    def __init__(self, owner: SynapseCode, summed: Summed):
        self.owner, self.projection, self.shape, self.summed = owner, owner.projection, owner.shape, summed
        found = held_input(owner.graph, owner.projection)
        assert found is not None
        self.x, self.u = found
        self.book = owner.slots.add(owner.slot("held_book"), ROWS + self.shape.batch)
        self.input = owner.slots.add(owner.slot("held_x"), self.shape.cells[0] * self.shape.batch)
        self.product = owner.slots.add(owner.slot("held_product"), self.shape.post_cells * self.shape.batch)
        self.factor = owner.slots.add(owner.slot("held_q"), self.shape.post_cells * self.shape.batch)

    def _place(self, kernel: Kernel, what: int) -> Load:
        return kernel.array("book", self.book, ROWS + self.shape.batch)[what]

    def _is(self, kernel: Kernel, what: int) -> Node:
        return compared(self._place(kernel, what), ">", 0.0)

    def _q(self, kernel: Kernel) -> Array:
        return kernel.array("q", self.factor, kernel.size("n_post", self.shape.post_cells * self.shape.batch))

    def _clear(self, kernel: Kernel) -> None:
        kernel.store(self._place(kernel, GATHERED), 0.0)
        self.owner.clear(kernel, self._q(kernel))

    def _gather_sums(self, learning: Learning) -> None:
        """Adds q x^T to the sums."""
        kernel, held = learning.kernel, self.summed.sums(learning)
        self.owner.increments_by_rows(learning, lambda at, increment: kernel.add(held[at], increment), self._skips,
                                      self.factor, self.input)
        self._clear(kernel)
        kernel.store(self._place(kernel, EMPTY), 0.0)

    @property
    def _skips(self) -> bool:
        """Without a batch, inputs of 0 cost nothing: they add nothing."""
        return self.shape.batch == 1 and self.projection.convolution is None

    def _shared(self, kernel: Kernel, value: Node) -> Node:
        """Times the number that all cells share."""
        if self.u is None:
            return value
        return value * kernel.array("u", Slot(slot_name(self.projection.pre, self.u)), 1)[0]

    # ---- delivery

    def deliveries(self) -> list[Operation]:
        o, kernel = self.owner, Kernel("W x of a held input, when the presentation or the weights have changed.",
                                       "delivery")
        learning, batch = o.learning(kernel, whole=True), self.shape.batch
        same = [self._is(kernel, VALID), *(compared(self._place(kernel, ROWS + b), "==", Shown(b))
                                           for b in range(batch))]
        n = kernel.size("n_x", self.shape.cells[0] * batch)
        given = kernel.array("given", self.input, n)
        value = kernel.array("value", Slot(slot_name(self.projection.pre, self.x)), n)
        with kernel.when(compared(reduce(lambda a, b: Binary("and", a, b), same), "==", 0.0)):
            with kernel.when(self._is(kernel, GATHERED)):
                self._gather_sums(learning)
            for b in range(batch):
                kernel.store(self._place(kernel, ROWS + b), Shown(b))
            with kernel.loop("i", n) as i:
                kernel.store(given[i], value[i])
            o.product(kernel, self.input, self.product, axes=learning.axes, skip=self._skips)
            kernel.store(self._place(kernel, VALID), 1.0)
        first = o.operation(f"held_product_{o.variant}_{self.summed.rule.name}", kernel,
                            (o.slot("w"), slot_name(self.projection.pre, self.x)), (self.product.name,),
                            kind="hoisted")
        return [first, self._scaled()]

    def _scaled(self) -> Operation:
        """The current: the product, times u."""
        o, kernel = self.owner, Kernel("The current of a held input.")
        n = kernel.size("n", self.shape.post_cells * self.shape.batch)
        product, current = kernel.array("product", self.product, n), kernel.array("current", Slot(o.slot("current")), n)
        with kernel.loop("k", n) as k:
            kernel.store(current[k], self._shared(kernel, product[k]))
        return o.operation("held_current", kernel, (self.product.name,), (o.slot("current"),))

    # ---- learning

    def gather(self) -> Operation:
        """q += u p."""
        o, kernel = self.owner, Kernel("Sums the postsynaptic factor.")
        q = self._q(kernel)
        post = kernel.array("post", o.factors.vectors["P0"], *q.axes)
        kernel.store(self._place(kernel, GATHERED), 1.0)
        with kernel.loop("k", q.axes[0]) as k:
            kernel.add(q[k], self._shared(kernel, post[k]))
        return o.operation("held_factor", kernel, (o.own("post_factor0"),), (self.factor.name,),
                           self.projection.gate or "")

    def apply(self) -> Operation:
        """The optimiser's step; the product q x^T is made on the way where nothing else has been summed."""
        o, summed = self.owner, self.summed
        kernel = Kernel(f"Applies the summed increments of rule {summed.rule.name} ({summed.kind}).")
        learning = o.learning(kernel, whole=True)
        optimiser, w = OPTIMISERS[summed.kind](summed, learning), learning.weights("w", "w")

        def direct(at: At, increment: Node) -> None:
            kernel.let("x", w[at])
            summed.step(learning, optimiser, at, kernel.let("total", increment))

        if summed.kind == "clipped":  # needs the norm of all sums first
            self._apply_sums(learning, optimiser)
        else:
            with kernel.when(Binary("and", self._is(kernel, EMPTY), self._is(kernel, GATHERED))):
                skips = self._skips and summed.kind == "accumulate"
                o.increments_by_rows(learning, direct, skips, self.factor, self.input)
            with kernel.otherwise():
                self._apply_sums(learning, optimiser)
        self._clear(kernel)
        kernel.store(self._place(kernel, VALID), 0.0)
        kernel.store(self._place(kernel, EMPTY), 1.0)
        return summed.apply_operation(f"held_apply_{o.variant}_{summed.rule.name}", kernel)

    def _apply_sums(self, learning: Learning, optimiser: Optimiser) -> None:
        with learning.kernel.when(self._is(learning.kernel, GATHERED)):
            self._gather_sums(learning)
        self.summed.apply_sums(learning, optimiser)
