"""Kernels of projections between feature maps: convolutions, locally connected layers, and their way back.

Weights lie as a matrix (taps, kernels): a row per tap (channel, kernel row, kernel column), a column per channel, or,
`local`, per unit of the upper maps. Lower maps are pooled and padded into a scratch `patches` first. Inner loops run
over a row of pixels times samples; the taps of one kernel row are added in one pass, left to right.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from cortexc.compiler.backends.kernels.nest import Accumulation, Array, Axis, Below, Kernel, Load
from cortexc.compiler.backends.kernels.operations import Slot
from cortexc.compiler.backends.kernels.whole import Index, Int
from cortexc.compiler.backends.lowering.factors import VECTOR
from cortexc.compiler.backends.lowering.learning import Axes, Delivered, Learning
from cortexc.compiler.backends.lowering.projections import ProjectionLowering
from cortexc.compiler.backends.lowering.synapse_code import ROWS, RowsFiller
from cortexc.compiler.backends.lowering.translation import Translation
from cortexc.compiler.ir.errors import CortexError
from cortexc.compiler.ir.expressions import Binary, Expression, Name, Node, Prev
from cortexc.compiler.ir.model import Convolution, PlasticityRule

ONE = Axis(Index("one"), 1)
"""No lanes."""
FEW_SAMPLES, KERNELS = 16, 4
"""Of as many kernels, so many samples stay in the innermost cache."""
SAMPLES = 32
"""Samples whose maps stay in a cache."""
LEAST = 8
"""Samples that are worth a loop of their own."""


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

    def product(self, kernel: Kernel, pre_slot: Slot, currents: Sequence[Slot], learning: Learning | None = None,
                axes: Axes | None = None, skip: bool = False, weights: Slot | None = None) -> None:
        axes = axes or Axes(kernel, self.shape)
        code = MapCode(self, kernel, axes, pre_slot)
        if not self.back:
            code.pool()
        for i, (slot, w) in enumerate(zip(currents, self.delivered_together(kernel, axes), strict=True)):
            current = kernel.array(f"current{i or ''}", slot, self.shape.post_cells * self.shape.batch)
            code.w = w
            if self.back:
                code.backward(current.name)
            else:
                self.clear(kernel, current)
                (code.forward_local if self.local else code.forward)(current.name)

    def rows_filler(self, kernel: Kernel, axes: Axes, post: Array, pre: Array, own: bool) -> tuple[RowsFiller, int]:
        code = MapCode(self, kernel, axes, pre)
        if own:
            code.rule = self._increment(kernel)
        if not (self.factors.is_delivered and code.pads):
            code.pool()  # else this step's delivery has
        if code.taps_are_cells and self.shape.repeats > 1 and (self.factors.is_product or not own):
            return self._sums_over_samples(kernel, axes, post, Array(code.seen.name, pre.axes)), ROWS
        if self.local:
            return lambda j, count, rows: code.row_local(j, rows, post.name), 1
        return lambda j, count, rows: code.all_rows(rows, post.name), self.shape.rows

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
        self.w: Delivered
        self.rule: Term | None = None

    @property
    def taps_are_cells(self) -> bool:
        """Whether a kernel covers all of the lower maps, once."""
        return self.height == self.columns == self.size

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

    def forward(self, current: str) -> None:
        """Several kernels at a time, along samples, or along the pixels of one."""
        o, h, ky, kx, i = map(Index, ("o", "h", "ky", "kx", "i"))
        upper, joined = self._above(current), self.stride == 1 and self.batch == 1
        for first, count in self.kernel.blocks("first", self.repeats, SAMPLES, LEAST):
            with self.loops(y=self.above[0], x=1 if joined else self.above[1], c=self.copies) as (y, x, c):
                seen = self.seen[h, y * self.stride + ky, x * self.stride + kx, c, first]
                self.kernel.body.append(Accumulation(
                    beside(upper[o, y, x, c, first], i), Axis(i, self.above[1] if joined else count),
                    self._taps(self.channels, h, ky, kx), self.w((self.tap(h, ky, kx), o, c)) * beside(seen, i),
                    (Axis(o, self.kernels),)))

    def _taps(self, maps: int, *indices: Index) -> tuple[Axis, ...]:
        """Over so many maps and the kernel."""
        return tuple(map(Axis, indices, (maps, self.size, self.size)))

    def forward_local(self, current: str) -> None:
        upper, (h, ky, kx, r) = self._above(current), map(Index, ("h", "ky", "kx", "r"))
        with self.loops(o=self.kernels, y=self.above[0], x=self.above[1], c=self.copies) as (o, y, x, c):
            unit = (o * self.above[0] + y) * self.above[1] + x
            seen = self.seen[h, y * self.stride + ky, x * self.stride + kx, c, r]
            term = self.w((self.tap(h, ky, kx), unit, c)) * seen
            self.kernel.body.append(Accumulation(upper[o, y, x, c, r], Axis(r, self.repeats),
                                                 self._taps(self.channels, h, ky, kx), term))

    # ---- back

    def backward(self, current: str) -> None:
        """Sums over the upper channels and the kernel in `patches`, then shared out over pools."""
        along = self.stride == 1 and self.batch == 1 and not self.owner.local
        (self._backward_rows if along else self._backward_taps)()
        lower = Array(current, (self.channels, *self.below, self.batch))
        patches = Array(self.patches.name, (self.channels, self.height, self.columns, self.batch))
        with self.loops(h=self.channels, y=self.below[0], x=self.below[1], b=self.batch) as (h, y, x, b):
            share: Node = patches[h, y // self.pool_size + self.padding, x // self.pool_size + self.padding, b]
            self.kernel.store(lower[h, y, x, b], share / float(self.pool_size ** 2) if self.pool_size > 1 else share)

    def _backward_rows(self) -> None:
        """Along a row of pixels; `widened` are the upper maps with kernel - 1 zeros at both ends of a row."""
        wide, h, o, ky, kx, x = self.above[1] + 2 * (self.size - 1), *map(Index, ("h", "o", "ky", "kx", "x"))
        slot = self.owner.slots.add(self.owner.slot("widened"), self.kernels * self.above[0] * wide)
        widened = self.kernel.array("widened", slot, self.kernels, self.above[0], wide)
        upper = Array(self.pre.name, (self.kernels, *self.above))
        with self.loops(o=self.kernels, y=self.above[0], x=self.above[1]) as (up, y, right):
            self.kernel.store(widened[up, y, right + (self.size - 1)], upper[up, y, right])
        with self.kernel.loop("y", self.height) as y:
            term = self.w((self.tap(h, ky, kx), o, 0)) * widened[o, y - ky, x + (self.size - 1) - kx]
            self.kernel.body.append(Accumulation(
                self.patches[h, y, x, 0, 0], Axis(x, self.columns), self._taps(self.kernels, o, ky, kx), term,
                (Axis(h, self.channels),), keep=self._falls_into(y, ky, self.above[0])))

    def _falls_into(self, place: Int, tap: Int, length: Int) -> Node:
        """Whether a pixel below is seen through the tap by one of so many above."""
        inside = Binary("and", Below(tap, place + 1), Below(place, tap + ((length - 1) * self.stride + 1)))
        if self.stride == 1:
            return inside
        return Binary("and", inside, Below((place + self.size * self.stride - tap) % self.stride, 1))

    def _backward_taps(self) -> None:
        """Along the samples of a pixel."""
        h, o, ky, kx, r = map(Index, ("h", "o", "ky", "kx", "r"))
        upper = self._above(self.pre.name)
        for first, count in self.kernel.blocks("first", self.repeats, SAMPLES, LEAST):
            with self.loops(y=self.height, x=self.columns, c=self.copies) as (y, x, c):
                above_y, above_x = (y - ky) // self.stride, (x - kx) // self.stride
                column = (o * self.above[0] + above_y) * self.above[1] + above_x if self.owner.local else o
                keep = Binary("and", self._falls_into(y, ky, self.above[0]), self._falls_into(x, kx, self.above[1]))
                term = self.w((self.tap(h, ky, kx), column, c)) * upper[o, above_y, above_x, c, first + r]
                self.kernel.body.append(Accumulation(
                    self.patches[h, y, x, c, first + r], Axis(r, count), self._taps(self.kernels, o, ky, kx), term,
                    (Axis(h, self.channels),), keep=keep))

    # ---- learning

    def _term(self, post: str, place: tuple[Int, ...], seen: Node) -> Node:
        """An increment at one position: the rule's, or the product with another factor than its own."""
        if self.rule is None:
            return self._above(post)[place] * seen
        return self.rule(lambda name: self._above(name)[place], seen)

    def all_rows(self, rows: Array, post: str) -> None:
        """Products summed over positions, for every sample; then over samples. To begin with -0 keeps the sign of a
        zero."""
        kernel, kx, o, y, x, r = self.kernel, *map(Index, ("kx", "o", "y", "x", "r"))
        slot = self.owner.slots.add(self.owner.slot("sample"), self.size * self.kernels * (FEW_SAMPLES + LEAST))
        sample = kernel.array("sample", slot, self.size, self.kernels, FEW_SAMPLES + LEAST)
        over = (Axis(y, self.above[0]), Axis(x, self.above[1]))
        with self.loops(i=self.owner.shape.weights) as (i,):
            kernel.store(Load(rows.name, i), -0.0)
        for first, count in kernel.blocks("first", self.repeats, FEW_SAMPLES, LEAST):
            for some, kernels in kernel.blocks("some", self.kernels, KERNELS):
                tile = (Axis(kx, self.size), Axis(o, kernels))
                with self.loops(h=self.channels, ky=self.size, c=self.copies) as (h, ky, c):
                    with kernel.apart() as each:
                        seen = self.seen[h, y * self.stride + ky, x * self.stride + kx, c, first + r]
                        term = self._term(post, (some + o, y, x, c, first + r), seen)
                    kernel.body += [
                        Accumulation(sample[kx, o, r], Axis(r, count), over, term, tile, each=tuple(each), start=-0.0),
                        Accumulation(rows[self.tap(h, ky, kx), c, some + o], ONE, (Axis(r, count),), sample[kx, o, r],
                                     tile, start=None)]

    def row_local(self, j: Int, rows: Array, post: str) -> None:
        h, ky, kx = j // (self.size * self.size), j // self.size % self.size, j % self.size
        with self.loops(o=self.kernels, y=self.above[0], x=self.above[1], c=self.copies) as (o, y, x, c):
            def product(r: Int) -> Node:
                return self._term(post, (o, y, x, c, r), self.seen[h, y * self.stride + ky, x * self.stride + kx, c, r])

            total = self.kernel.let("total", product(0))
            self._sum_samples(total, product)
            self.kernel.store(rows[0, c, (o * self.above[0] + y) * self.above[1] + x], total)

    def _sum_samples(self, total: Name, of: Callable[[Int], Node]) -> None:
        """Adds samples 1, 2 ... to the first one's."""
        if self.repeats > 1:
            with self.kernel.loop("r", self.repeats, 1) as r:
                self.kernel.set(total, total + of(r))


def beside(place: Load, steps: Int) -> Load:
    """The place so many numbers on."""
    return Load(place.array, place.at + steps)
