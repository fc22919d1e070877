"""Kernels of projections between feature maps: convolutions, locally connected layers, and their way back.

Weights lie as a matrix (taps, kernels): a row per tap (channel, kernel row, kernel column), a column per channel, or,
`local`, per unit of the upper maps. Lower maps are pooled and padded into a scratch `patches` first. Inner loops run
over a row of pixels times samples; the taps of one kernel row are added in one pass, left to right.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from cortexc.compiler.backends.kernels.nest import Array, Int, Kernel, Load, sum_of
from cortexc.compiler.backends.kernels.operations import Slot
from cortexc.compiler.backends.lowering.factors import VECTOR
from cortexc.compiler.backends.lowering.learning import Axes, Learning
from cortexc.compiler.backends.lowering.projections import ProjectionLowering
from cortexc.compiler.backends.lowering.synapse_code import BLOCK
from cortexc.compiler.backends.lowering.translation import Translation
from cortexc.compiler.ir.errors import CortexError
from cortexc.compiler.ir.expressions import Expression, Name, Node, Prev
from cortexc.compiler.ir.model import Convolution, PlasticityRule

PIXELS = 4
"""Pixels whose products one pass of a learning rule adds."""


Term = Callable[[Callable[[str], Node], Node], Node]
"""An increment, from what gives the postsynaptic vector of a name here, and the pixel."""


class MapLowering(ProjectionLowering):
    """A projection with a `Convolution`."""

    @property
    def maps(self) -> Convolution:
        assert self.projection.convolution is not None
        return self.projection.convolution

    @property
    def local(self) -> bool:
        return self.synapse.kind.local

    @property
    def back(self) -> bool:
        return self.synapse.kind.back

    @property
    def variant(self) -> str:
        return f"{self.synapse.connectivity}{'' if self.shape.batch == 1 else '_batch'}"

    def _check_supported(self, rule: PlasticityRule) -> None:
        super()._check_supported(rule)
        if self.back or not self.factors.is_pointwise or not self.factors.post:
            raise CortexError("E501", f"projection '{self.projection.name}': rule '{rule.name}' on connectivity "
                                      f"'{self.synapse.connectivity}' has no lowering yet.",
                              "Lowered are rules over the postsynaptic cell and one presynaptic quantity, on forward "
                              "connectivity. Run others on the interpreter (--backend interpreter).")

    def product(self, kernel: Kernel, pre_slot: Slot, current_slot: Slot, learning: Learning | None = None,
                axes: Axes | None = None, skip: bool = False, weights: Slot | None = None) -> None:
        code = MapCode(self, kernel, axes or Axes(kernel, self.shape), pre_slot)
        current = kernel.array("current", current_slot, self.shape.post_cells * self.shape.batch)
        if self.back:
            code.backward(current.name)
        else:
            code.pool()
            self.clear(kernel, current)
            (code.forward_local if self.local else code.forward)(current.name)

    def row_filler(self, kernel: Kernel, axes: Axes, row: Array, post: Array, pre: Array,
                   own: bool) -> Callable[[Int], None]:
        code = MapCode(self, kernel, axes, pre)
        if own:
            code.rule = self._increment(kernel)
        if not (self.factors.is_delivered and code.pads):
            code.pool()  # else this step's delivery has
        return lambda j: (code.row_local if self.local else code.row)(j, row, post.name)


    def _increment(self, kernel: Kernel) -> Term:
        """The rule at one synapse."""
        factors = self.factors

        def increment(at: Callable[[str], Node], seen: Node) -> Node:
            def leaf(node: Name | Prev) -> Node:
                name = node.name.removeprefix(VECTOR)
                return seen if name.startswith("Q") else at(kernel.array(f"at_{name}", factors.vectors[name], 1).name)

            translation = Translation(kernel, self.graph, self.slots, leaf, factors.is_parameter, factors.scalar_value,
                                      names)
            return translation.value(factors.increment)

        names: dict[Expression, str] = {}
        return increment


class MapCode:
    """Writing into one kernel of such a projection. `seen`: the pooled and padded lower maps."""

    def __init__(self, owner: MapLowering, kernel: Kernel, axes: Axes, pre: Slot | Array):
        self.owner, self.kernel, self.axes, c = owner, kernel, axes, owner.maps
        self.channels, self.kernels, self.size, self.stride = c.pre[0], c.post[0], c.kernel, c.stride
        self.pool_size, self.padding = c.pool, c.padding
        self.below = c.pre[1:]
        self.height, self.columns = (n // c.pool + 2 * c.padding for n in c.pre[1:])
        self.above = c.post[1:]
        self.copies, self.repeats = owner.shape.copies, owner.shape.repeats
        self.batch = self.copies * self.repeats
        self.pads = c.pool > 1 or c.padding > 0
        self.pre = pre if isinstance(pre, Array) else kernel.array("pre", pre, self.channels * self.below[0])
        slot = owner.slots.add(owner.slot("patches"), self.channels * self.height * self.columns * self.batch)
        self.patches = kernel.array("patches", slot, self.channels, self.height, self.columns, self.copies,
                                    self.repeats)
        self.seen = Array(self.patches.name if self.pads or owner.back else self.pre.name, self.patches.axes)
        self.w = axes.weights("w", Slot(owner.slot("w"), along=True))
        self.rule: Term | None = None

    @contextmanager
    def loops(self, **stops: Int) -> Iterator[list[Int]]:
        """Nested loops by the names of their variables."""
        names = list(stops)
        if not names:
            yield []
            return
        with self.kernel.loop(names[0], stops[names[0]]) as first, \
                self.loops(**{name: stops[name] for name in names[1:]}) as rest:
            yield [first, *rest]

    def tap(self, h: Int, ky: Int, kx: Int = 0) -> Int:
        return (h * self.size + ky) * self.size + kx

    def _above(self, name: str) -> Array:
        """The upper maps."""
        return Array(name, (self.kernels, *self.above, self.copies, self.repeats))

    def _kernel_rows(self) -> list[range]:
        """Kernel columns that one pass adds."""
        return [range(first, min(first + BLOCK, self.size)) for first in range(0, self.size, BLOCK)]

    # ---- forward

    def pool(self) -> None:
        """Fills `seen` where lower maps differ from its pixels."""
        if not self.pads:
            return
        rows, columns = (n // self.pool_size for n in self.below)
        lower = Array(self.pre.name, (self.channels, *self.below, self.batch))
        seen = Array(self.seen.name, (self.channels, self.height, self.columns, self.batch))
        with self.loops(h=self.channels, y=rows, x=columns, b=self.batch) as (h, y, x, b):
            total = self.kernel.let("total", 0.0)
            with self.loops(dy=self.pool_size, dx=self.pool_size) as (dy, dx):
                self.kernel.set(total, total + lower[h, y * self.pool_size + dy, x * self.pool_size + dx, b])
            mean = total / float(self.pool_size ** 2) if self.pool_size > 1 else total
            self.kernel.store(seen[h, y + self.padding, x + self.padding, b], mean)

    def _along(self, to: Load, at: Load, pixels: Int, taken: list[tuple[int, Node]], sign: int) -> None:
        """Adds the taps' products to a row of pixels that begins at `to` from one at `at`; tap u is u pixels away."""
        pixel = self.batch
        if self.stride == 1 and self.copies == 1:  # contiguous at both ends
            with self.kernel.loop("i", pixels * self.repeats) as i:
                terms = [x * Load(at.array, at.at + i + sign * u * pixel) for u, x in taken]
                self.kernel.store(Load(to.array, to.at + i), sum_of([Load(to.array, to.at + i), *terms]))
            return
        with self.loops(x=pixels, r=self.repeats) as (x, r):
            here = Load(to.array, to.at + (x * pixel + r))
            terms = [weight * Load(at.array, at.at + ((x * self.stride + sign * u) * pixel + r)) for u, weight in taken]
            self.kernel.store(here, sum_of([here, *terms]))

    def _weights(self, taps: range, tap: Int, column: Int, c: Int) -> list[tuple[int, Node]]:
        return [(u, self.kernel.let(f"x{u}", self.w[tap + u, column, c])) for u in taps]

    def forward(self, current: str) -> None:
        upper = self._above(current)
        with self.loops(o=self.kernels, h=self.channels, ky=self.size, c=self.copies) as (o, h, ky, c):
            for taps in self._kernel_rows():
                taken = self._weights(taps, self.tap(h, ky), o, c)
                with self.kernel.loop("y", self.above[0]) as y:
                    self._along(upper[o, y, 0, c, 0], self.seen[h, y * self.stride + ky, 0, c, 0], self.above[1], taken,
                                1)

    def forward_local(self, current: str) -> None:
        upper = self._above(current)
        with self.loops(o=self.kernels, y=self.above[0], x=self.above[1], h=self.channels, ky=self.size,
                        c=self.copies) as (o, y, x, h, ky, c):
            unit = (o * self.above[0] + y) * self.above[1] + x
            for taps in self._kernel_rows():
                taken = self._weights(taps, self.tap(h, ky), unit, c)
                with self.kernel.loop("r", self.repeats) as r:
                    to = upper[o, y, x, c, r]
                    terms = [weight * self.seen[h, y * self.stride + ky, x * self.stride + u, c, r]
                             for u, weight in taken]
                    self.kernel.store(to, sum_of([to, *terms]))

    # ---- back

    def backward(self, current: str) -> None:
        """Sums over the upper channels and the kernel in `patches`, then shared out over pools."""
        self.owner.clear(self.kernel, self.patches)
        if not self.owner.local and self.stride == 1:
            self._backward_rows()
        else:
            self._backward_taps()
        lower = Array(current, (self.channels, *self.below, self.batch))
        patches = Array(self.patches.name, (self.channels, self.height, self.columns, self.batch))
        with self.loops(h=self.channels, y=self.below[0], x=self.below[1], b=self.batch) as (h, y, x, b):
            share: Node = patches[h, y // self.pool_size + self.padding, x // self.pool_size + self.padding, b]
            self.kernel.store(lower[h, y, x, b], share / float(self.pool_size ** 2) if self.pool_size > 1 else share)

    def _backward_rows(self) -> None:
        """A kernel row at a time; `widened` are the upper maps with kernel - 1 zeros at both ends of a row."""
        wide = self.above[1] + 2 * (self.size - 1)
        owner, rows = self.owner, self.kernels * self.above[0]
        slot = owner.slots.add(owner.slot("widened"), rows * wide * self.batch)
        widened = self.kernel.array("widened", slot, rows, wide, self.copies, self.repeats)
        upper = Array(self.pre.name, (rows, self.above[1] * self.batch))
        with self.loops(o=rows, i=self.above[1] * self.batch) as (o, i):
            self.kernel.store(Load(widened.name, widened[o, self.size - 1, 0, 0].at + i), upper[o, i])
        with self.loops(o=self.kernels, ky=self.size, h=self.channels, c=self.copies) as (o, ky, h, c):
            for taps in self._kernel_rows():
                taken = self._weights(taps, self.tap(h, ky), o, c)
                with self.kernel.loop("y", self.above[0]) as y:
                    self._along(self.patches[h, y + ky, 0, c, 0], widened[o * self.above[0] + y, self.size - 1, c, 0],
                                self.columns, taken, -1)

    def _backward_taps(self) -> None:
        """One tap at a time: for strides, and for weights that differ between positions."""
        upper = self._above(self.pre.name)
        with self.loops(o=self.kernels, ky=self.size, kx=self.size, h=self.channels, y=self.above[0], x=self.above[1],
                        c=self.copies) as (o, ky, kx, h, y, x, c):
            column = (o * self.above[0] + y) * self.above[1] + x if self.owner.local else o
            weight = self.kernel.let("x0", self.w[self.tap(h, ky, kx), column, c])
            with self.kernel.loop("r", self.repeats) as r:
                to = self.patches[h, y * self.stride + ky, x * self.stride + kx, c, r]
                self.kernel.store(to, to + weight * upper[o, y, x, c, r])

    # ---- learning

    def _of_tap(self, j: Int) -> tuple[Int, Int, Int]:
        """(channel, kernel row, kernel column)."""
        return j // (self.size * self.size), j // self.size % self.size, j % self.size

    def _term(self, post: str, place: tuple[Int, ...], seen: Node) -> Node:
        """An increment at one position: the rule's, or the product with another factor than its own."""
        if self.rule is None:
            return self._above(post)[place] * seen
        return self.rule(lambda name: self._above(name)[place], seen)

    def row(self, j: Int, row: Array, post: str) -> None:
        """Per kernel: products summed over positions, for every sample; then over samples. To begin with -0 keeps the
        sign of a zero."""
        (h, ky, kx), kernel = self._of_tap(j), self.kernel
        slot = self.owner.slots.add(self.owner.slot("sample"), self.repeats)
        sample = kernel.array("sample", slot, self.repeats)

        def block(o: Int, y: Int, x: Int, c: Int, count: int) -> None:
            with kernel.loop("r", self.repeats) as r:
                terms = [self._term(post, (o, y, x + u, c, r),
                                    self.seen[h, y * self.stride + ky, (x + u) * self.stride + kx, c, r])
                         for u in range(count)]
                kernel.store(sample[r], sum_of([sample[r], *terms]))

        whole, left = self.above[1] // PIXELS * PIXELS, self.above[1] % PIXELS
        with self.loops(o=self.kernels, c=self.copies) as (o, c):
            with kernel.loop("r", self.repeats) as r:
                kernel.store(sample[r], -0.0)
            with kernel.loop("y", self.above[0]) as y:
                if whole:
                    with kernel.loop("x", whole, 0, PIXELS) as x:
                        block(o, y, x, c, PIXELS)
                if left:
                    block(o, y, whole, c, left)
            total = kernel.let("total", sample[0])
            self._sum_samples(total, lambda r: sample[r])
            kernel.store(row[o, c], total)

    def row_local(self, j: Int, row: Array, post: str) -> None:
        h, ky, kx = self._of_tap(j)
        with self.loops(o=self.kernels, y=self.above[0], x=self.above[1], c=self.copies) as (o, y, x, c):
            def product(r: Int) -> Node:
                return self._term(post, (o, y, x, c, r), self.seen[h, y * self.stride + ky, x * self.stride + kx, c, r])

            total = self.kernel.let("total", product(0))
            self._sum_samples(total, product)
            self.kernel.store(row[(o * self.above[0] + y) * self.above[1] + x, c], total)

    def _sum_samples(self, total: Name, of: Callable[[Int], Node]) -> None:
        """Adds samples 1, 2 ... to the first one's."""
        if self.repeats > 1:
            with self.kernel.loop("r", self.repeats, 1) as r:
                self.kernel.set(total, total + of(r))
