"""Projections whose synapses are a list: each presynaptic cell has a row of synapses, with a target and a weight each.

Only cells that are not silent are delivered. Where synapses have delays of their own, a message goes into the currents
of later steps, which lie in a ring: what is sent first is added first, so every current is summed from the oldest
message to the newest, and within a step in the order of the list.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from cortexc.compiler.backends.kernels.layout import Shape
from cortexc.compiler.backends.kernels.nest import Counter, Indices, Kernel, Load, compared
from cortexc.compiler.backends.kernels.operations import First, IndexSlot, Operation, Slot, Span
from cortexc.compiler.backends.kernels.whole import Int, Joined
from cortexc.compiler.backends.lowering.learning import Axes
from cortexc.compiler.ir.expressions import Name
from cortexc.compiler.ir.limits import SIZE

if TYPE_CHECKING:
    from cortexc.compiler.backends.lowering.projections import ProjectionLowering


class ListedAxes(Axes):
    """Rows j and the synapses of each, which are numbered through: places (j, s, c) of weights depend on s alone."""

    def __init__(self, kernel: Kernel, shape: Shape, projection: str):
        self.kernel, self.shape, self.projection = kernel, shape, projection
        self.rows, self.width, self.stride = kernel.size("rows", shape.pre), shape.post, 0

    @contextmanager
    def each_target(self, name: str = "k") -> Iterator[Int]:
        """The postsynaptic cells, or those of a part of the operation."""
        first = self.kernel.size("first", First())
        with self.kernel.loop(name, first + self.kernel.size("targets", Span(self.shape.post)), first) as k:
            yield k

    def stretch(self, j: Int) -> tuple[Int, Int]:
        """Where the synapses of a row end and begin, those to a part of the targets for a part of the operation."""
        starts = f"{self.projection}.starts"
        return (self.kernel.indices("of_ends", IndexSlot(starts, end=True))[j],
                self.kernel.indices("of_starts", IndexSlot(starts))[j])

    def indices(self, key: str) -> Indices:
        return self.kernel.indices(f"of_{key}", IndexSlot(f"{self.projection}.{key}"))

    @contextmanager
    def each_along(self, j: Int = 0) -> Iterator[tuple[Int, Int]]:
        with self.kernel.loop("s", *self.stretch(j)) as s, self.kernel.loop("c", self.shape.copies) as c:
            yield s, c

    def post_place(self, k: Int) -> Int:
        return self.indices("post")[k]


def axes_of(kernel: Kernel, shape: Shape, projection: str, whole: bool = False) -> Axes:
    return Axes(kernel, shape, whole) if shape.listed is None else ListedAxes(kernel, shape, projection)


class Delivery:
    """Of one projection, in one kernel."""

    def __init__(self, owner: ProjectionLowering, message: str, doc: str):
        self.owner, self.shape, self.message, self.kernel = owner, owner.shape, message, Kernel(doc)
        self.axes = ListedAxes(self.kernel, owner.shape, owner.projection.name)
        self.w = owner.delivered(self.kernel, self.axes)
        self.pre = self.axes.cells("pre", Slot(message))
        self.current = self.axes.cells("current", Slot(owner.slot("current")))

    def operation(self) -> Operation:
        found = self.owner.operation(f"deliver_{self.owner.variant}", self.kernel)
        return replace(found, apart=(self.owner.slot("current"),))

    @contextmanager
    def each_event(self) -> Iterator[tuple[Int, Int, Int, Name]]:
        """(j, c, r, message) of every cell that is not silent."""
        with self.axes.each_row() as j, self.kernel.loop("c", self.shape.copies) as c, \
                self.kernel.loop("r", self.shape.repeats) as r:
            p = self.kernel.let("p", self.pre[j, c, r])
            with self.kernel.when(compared(p, "!=", 0.0)):
                yield j, c, r, p

    @contextmanager
    def each_synapse(self, j: Int) -> Iterator[tuple[Int, Int]]:
        """(synapse, its target)."""
        with self.kernel.loop("s", *self.axes.stretch(j)) as s:
            yield s, self.axes.post_place(s)

    @contextmanager
    def each_place(self, j: Int, joined: bool) -> Iterator[tuple[Int, Int]]:
        """(synapse, its place in a ring of currents, from this step's on). `joined`: one number says it."""
        with self.kernel.loop("s", *self.axes.stretch(j)) as s:
            index = self.axes.indices
            cells = self.kernel.size("cells", self.shape.post)
            yield s, index("place")[s] if joined else cells * index("late")[s] + index("post")[s]

    @contextmanager
    def each_current(self) -> Iterator[tuple[Int, Int, Int]]:
        with self.axes.each_target() as k, self.kernel.loop("c", self.shape.copies) as c, \
                self.kernel.loop("r", self.shape.repeats) as r:
            yield k, c, r


def delivery(owner: ProjectionLowering, message: str) -> Operation:
    """The operation that delivers this step's messages."""
    return _now(owner, message) if owner.steps_ahead == 1 else _later(owner, message)


def moving_on(owner: ProjectionLowering) -> list[Operation]:
    """What comes behind all deliveries of a step, so that threads meet once for all of it."""
    return [owner.step_on(owner.slot("cursor"), owner.steps_ahead)] if owner.steps_ahead > 1 else []


def _now(owner: ProjectionLowering, message: str) -> Operation:
    """Graded messages of a minibatch synapse by synapse, along the samples; the silent ones among them add 0."""
    d = Delivery(owner, message, "current[post] = sum over synapses of w * pre[j]"
                                 + ("." if owner.along_samples else ", cells that are silent left out."))
    kernel = d.kernel
    with d.each_current() as (k, c, r):
        kernel.store(d.current[k, c, r], 0.0)
    if owner.along_samples:
        with d.axes.each_row() as j, d.each_synapse(j) as (s, k), kernel.loop("c", owner.shape.copies) as c:
            x = kernel.let("x", d.w((j, s, c)))
            with kernel.loop("r", owner.shape.repeats) as r:
                kernel.add(d.current[k, c, r], x * d.pre[j, c, r])
        return d.operation()
    with d.each_event() as (j, c, r, p), d.each_synapse(j) as (s, k):
        kernel.add(d.current[k, c, r], d.w((j, s, c)) * p)
    return d.operation()


def _later(owner: ProjectionLowering, message: str) -> Operation:
    d = Delivery(owner, message, "underway[now + late, post] += w * pre[j] of every synapse whose cell is not silent; "
                                 "current = underway[now].")
    kernel, shape, steps = d.kernel, owner.shape, owner.steps_ahead
    places = steps * shape.post
    count, cells = kernel.size("places", places), kernel.size("cells", shape.post)
    slot = owner.slots.add(owner.slot("underway"), places * shape.batch)
    underway = kernel.array("underway", slot, count, shape.copies, shape.repeats)
    first = cells * Counter(_cursor(owner, kernel))
    with kernel.loop("now", first + 1, first) as now:
        with d.each_event() as (j, c, r, p), d.each_place(j, owner.rule is None and places <= SIZE) as (s, place):
            kernel.add(underway[Joined("wrap", now + place, count), c, r], d.w((j, s, c)) * p)
        with d.each_current() as (k, c, r):
            kernel.store(d.current[k, c, r], underway[now + k, c, r])
            kernel.store(underway[now + k, c, r], 0.0)
    return d.operation()


def _cursor(owner: ProjectionLowering, kernel: Kernel) -> Load:
    return kernel.array("cursor", owner.slots.add(owner.slot("cursor"), 1), 1)[0]
