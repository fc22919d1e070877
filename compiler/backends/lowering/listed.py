"""Projections whose synapses are a list: each presynaptic cell has a row of synapses, with a target and a weight each.

Only cells that are not silent are delivered. Where synapses have delays of their own, a message goes into the currents
of later steps, which lie in a ring: what is sent first is added first, so every current is summed from the oldest
message to the newest, and within a step in the order of the list.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from compiler.backends.kernels.layout import Shape
from compiler.backends.kernels.nest import Array, Counter, Indices, Int, Joined, Kernel, compared
from compiler.backends.kernels.operations import IndexSlot, Operation, Slot
from compiler.backends.lowering.learning import Axes
from compiler.ir.expressions import Name, Number, Where

if TYPE_CHECKING:
    from compiler.backends.lowering.projections import ProjectionLowering


class ListedAxes(Axes):
    """Rows j and the synapses of each, which are numbered through: places (j, s, c) of weights depend on s alone."""

    def __init__(self, kernel: Kernel, shape: Shape, projection: str):
        self.kernel, self.shape, self.projection = kernel, shape, projection
        self.rows, self.width, self.stride = kernel.size("rows", shape.pre), shape.post, 0

    def indices(self, key: str) -> Indices:
        return self.kernel.indices(f"of_{key}", IndexSlot(f"{self.projection}.{key}"))

    @contextmanager
    def each_along(self, j: Int = 0) -> Iterator[tuple[Int, Int]]:
        starts = self.indices("starts")
        with self.kernel.loop("s", starts[j + 1], starts[j]) as s, self.kernel.loop("c", self.shape.copies) as c:
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
        owner = self.owner
        return owner.operation(f"deliver_{owner.variant}", self.kernel, (*owner.read_by_delivery, self.message),
                               (owner.slot("current"),))

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
        starts = self.axes.indices("starts")
        with self.kernel.loop("s", starts[j + 1], starts[j]) as s:
            yield s, self.axes.post_place(s)


def delivery(owner: ProjectionLowering, message: str) -> Operation:
    """The operation that delivers this step's messages."""
    return _now(owner, message) if owner.steps_ahead == 1 else _later(owner, message)


def _now(owner: ProjectionLowering, message: str) -> Operation:
    d = Delivery(owner, message, "current[post] = sum over synapses of w * pre[j], cells that are silent left out.")
    owner.clear(d.kernel, d.current)
    with d.each_event() as (j, c, r, p), d.each_synapse(j) as (s, k):
        d.kernel.add(d.current[k, c, r], d.w((j, s, c)) * p)
    return d.operation()


def _later(owner: ProjectionLowering, message: str) -> Operation:
    d = Delivery(owner, message, "underway[now + late, post] += w * pre[j] of every synapse whose cell is not silent; "
                                 "current = underway[now].")
    kernel, shape, steps = d.kernel, owner.shape, owner.steps_ahead
    count = kernel.size("steps", steps)
    slot = owner.slots.add(owner.slot("underway"), steps * shape.post * shape.batch)
    underway = kernel.array("underway", slot, count, shape.post, shape.copies, shape.repeats)
    cursor = kernel.array("cursor", owner.slots.add(owner.slot("cursor"), 1), 1)
    first = Counter(cursor[0])
    with kernel.loop("now", first + 1, first) as now:
        with d.each_event() as (j, c, r, p), d.each_synapse(j) as (s, k):
            at = Joined("%", now + d.axes.indices("late")[s], count)
            kernel.add(underway[at, k, c, r], d.w((j, s, c)) * p)
        _arrive(kernel, shape, underway, now, d.current)
    following = kernel.let("following", cursor[0] + Number(1.0))
    kernel.store(cursor[0], Where(compared(following, "<", float(steps)), following, Number(0.0)))
    return d.operation()


def _arrive(kernel: Kernel, shape: Shape, underway: Array, now: Int, current: Array) -> None:
    """What is under way for this step becomes the current."""
    with kernel.loop("k", kernel.size("cells", shape.post)) as k, kernel.loop("c", shape.copies) as c, \
            kernel.loop("r", shape.repeats) as r:
        kernel.store(current[k, c, r], underway[now, k, c, r])
        kernel.store(underway[now, k, c, r], 0.0)
