"""Learning whose increments are summed until the `apply` gate: optimisers `accumulate`, `clipped` and `adam`.

Each step in which the rule learns adds its increments to a sum per weight; where `apply` > 0 the optimiser turns the
sum into a step, and the sum starts again at 0. An increment that is one postsynaptic times one presynaptic factor,
less a decay of the weight perhaps, is computed row by row (one row: all synapses of one presynaptic cell, or of one
tap of a kernel), eight samples at a time, with the bits of the plain sum over the samples.
"""

from __future__ import annotations

from cortexc.compiler.backends.kernels.nest import Array, Kernel, compared
from cortexc.compiler.backends.kernels.operations import Operation
from cortexc.compiler.backends.kernels.whole import Int
from cortexc.compiler.backends.lowering.learning import Learning
from cortexc.compiler.backends.lowering.synapse_code import SynapseCode
from cortexc.compiler.ir.expressions import Call, Name, Node, Where
from cortexc.compiler.ir.model import SUMMED

At = tuple[Int, Int, Int]


class Summed:
    """The operations of one projection whose optimiser sums increments."""

    def __init__(self, owner: SynapseCode):
        self.owner, self.projection, self.shape = owner, owner.projection, owner.shape
        assert owner.rule is not None
        self.rule, self.kind = owner.rule, owner.rule.optimiser.kind
        owner.slots.add(owner.slot(self.kind), self.shape.weights)

    @property
    def by_rows(self) -> bool:
        """Whether increments need no memory of their own."""
        o = self.owner
        alike = o.factors.is_product or o.factors.decay is not None and self.shape.repeats > 1
        return alike and o.slot("increment") not in o.observed

    @property
    def apply_gate(self) -> str:
        return self.projection.apply or self.owner.gate

    def sums(self, learning: Learning) -> Array:
        return learning.axes.weights("held", self.owner.slots.add(self.owner.slot(self.kind), self.shape.weights))

    # ---- gathering

    def gather(self) -> Operation:
        """Adds this step's increments to the sums."""
        o, kernel = self.owner, Kernel(f"Sums increments of rule {self.rule.name}.")
        learning = o.learning(kernel, whole=True)
        held = self.sums(learning)
        if self.by_rows:
            o.increments_by_rows(learning, lambda at, increment: kernel.add(held[at], increment))
        else:
            increments = learning.weights("increment", "increment")
            with learning.axes.each_weight() as at:
                kernel.add(held[at], increments[at])
        return o.of_rule("sum", kernel, o.gate)

    # ---- applying

    def apply(self) -> Operation:
        """Where `apply` is on: the optimiser's step of every weight; the sums start again at 0."""
        kernel = Kernel(f"Applies the summed increments of rule {self.rule.name} ({self.kind}).")
        learning = self.owner.learning(kernel, whole=True)
        optimiser = OPTIMISERS[self.kind](self, learning)
        self.apply_sums(learning, optimiser)
        return self.owner.of_rule("apply", kernel, self.apply_gate)

    def apply_sums(self, learning: Learning, optimiser: Optimiser) -> None:
        """The step of every weight from its sum, which starts again at 0."""
        kernel, held = learning.kernel, self.sums(learning)
        optimiser.prepare(held)
        with learning.axes.each_weight() as at:
            self.step(learning, optimiser, at, held[at])
            kernel.store(held[at], 0.0)

    def step(self, learning: Learning, optimiser: Optimiser, at: At, total: Node) -> None:
        """One update of a weight from its summed increments."""
        optimiser.step(at, learning.kernel.let("total", learning.load(at, total)))
        learning.limit()
        learning.keep(at)


class Optimiser:
    """Plain sum: x + total. It may write what comes once per update when it is made."""

    def __init__(self, summed: Summed, learning: Learning):
        self.summed, self.learning, self.kernel = summed, learning, learning.kernel
        self.arguments = [learning.translation.value(a) for a in summed.rule.optimiser.arguments]

    def prepare(self, held: Array) -> None:
        """What must be known of all sums before the first weight moves."""

    def step(self, at: At, total: Node) -> None:
        self.kernel.set(Name("x"), Name("x") + total)


class Clipped(Optimiser):
    """The sum, scaled down to a norm of at most `limit` over all weights of a copy."""

    def __init__(self, summed: Summed, learning: Learning):
        super().__init__(summed, learning)
        owner, shape = summed.owner, summed.shape
        self.listed = shape.listed is not None
        slot = owner.slots.add(owner.own("clipped_sums"), max(shape.width, 1) * shape.copies)
        self.norms = learning.axes.row("sums", slot)
        self.cells = 1 if self.listed else self.kernel.size("cells", shape.post)

    def prepare(self, held: Array) -> None:
        """`norms`: the norm of every copy's sum, cell by cell; of a list, one synapse after the other. Rows are padded,
        and an increment may be other than 0 there; only real cells count."""
        kernel, axes = self.kernel, self.learning.axes
        width = 1 if self.listed else axes.width
        with kernel.loop("k", width) as k, kernel.loop("c", self.summed.shape.copies) as c:
            kernel.store(self.norms[k, c], 0.0)
        with axes.each_weight() as (j, k, c):
            total = kernel.let("total", held[j, k, c])
            kernel.add(self.norms[0 if self.listed else k, c], total * total)
        with kernel.loop("c", self.summed.shape.copies) as c:
            total = kernel.let("norm", self.norms[0, c])
            with kernel.loop("k", self.cells, 1) as k:
                kernel.set(total, total + self.norms[k, c])
            kernel.store(self.norms[0, c], Call("sqrt", (total,)))

    def step(self, at: At, total: Node) -> None:
        limit, x = self.arguments[0], Name("x")
        size = self.kernel.let("size", self.norms[0, at[2]])
        self.kernel.set(x, x + Where(compared(size, ">", limit), total * (limit / size), total))


class Adam(Optimiser):
    """Kingma and Ba 2015: `powers` are those of beta1 and beta2."""

    def __init__(self, summed: Summed, learning: Learning):
        super().__init__(summed, learning)
        owner = summed.owner
        _, beta1, beta2 = summed.rule.optimiser.arguments[:3]
        self.left = [learning.translation.value(1.0 - a) for a in (beta1, beta2)]
        self.moments = [learning.axes.weights(key, owner.slots.add(owner.slot(f"adam_{key}"), summed.shape.weights))
                        for key in ("first", "second")]
        powers = self.kernel.array("powers", owner.slots.add(owner.slot("adam_powers"), 2), 2)
        for i, beta in enumerate(self.arguments[1:3]):
            self.kernel.store(powers[i], powers[i] * beta)
        self.corrections = [self.kernel.let(f"left{i + 1}", 1.0 - powers[i]) for i in range(2)]

    def step(self, at: At, total: Node) -> None:
        (rate, beta1, beta2, epsilon), x = self.arguments, Name("x")
        a = self.kernel.let("a", beta1 * self.moments[0][at] + self.left[0] * total)
        b = self.kernel.let("b", beta2 * self.moments[1][at] + self.left[1] * total * total)
        for moment, value in zip(self.moments, (a, b), strict=True):
            self.kernel.store(moment[at], value)
        root = Call("sqrt", (b / self.corrections[1],))
        self.kernel.set(x, x + rate * (a / self.corrections[0]) / (root + epsilon))


OPTIMISERS = {"accumulate": Optimiser, "clipped": Clipped, "adam": Adam}
assert tuple(OPTIMISERS) == SUMMED
