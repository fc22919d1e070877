"""What a rule does at each synapse, written into a kernel: the increment, the optimiser's step, and both in loops."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

from cortexc.compiler.backends.kernels.layout import Shape
from cortexc.compiler.backends.kernels.nest import Array, Flipped, Kernel, Load, Uniform, any_of, compared
from cortexc.compiler.backends.kernels.operations import First, Key, Slot, Span, slot_name
from cortexc.compiler.backends.kernels.whole import Int
from cortexc.compiler.backends.lowering.factors import VECTOR, Factors
from cortexc.compiler.ir.arrays import connection_mask
from cortexc.compiler.ir.expressions import Expression, Name, Node, Number, Prev, Where, reads
from cortexc.compiler.ir.model import LAVA_DRAWS, State

Delivered = Callable[[tuple[Int, Int, Int]], Node]
"""What a message is multiplied with at (j, k, c)."""


class Axes:
    """The axes of one projection in one kernel: rows j, postsynaptic cells k, copies c, samples r. `whole`: the kernel
    needs all postsynaptic cells; other ones may be cut at them, where there is no batch."""

    def __init__(self, kernel: Kernel, shape: Shape, whole: bool = False):
        self.kernel, self.shape = kernel, shape
        self.rows: Int = kernel.size("rows", shape.rows)
        length = shape.post if shape.one_to_one else shape.width
        cut = shape.batch == 1 and not whole
        self.width: Int = kernel.size("width", Span(length) if cut else length)
        self.stride: Int = kernel.size("stride", length) if cut and not shape.one_to_one else self.width

    def weights(self, name: str, slot: Slot) -> Array:
        return self.kernel.array(name, slot, self.rows, self.stride, self.shape.copies)

    def row(self, name: str, slot: Slot) -> Array:
        """A number per weight of a row."""
        return self.kernel.array(name, slot, self.stride, self.shape.copies)

    def cells(self, name: str, slot: Slot) -> Array:
        """Pre- or postsynaptic cells."""
        return self.kernel.array(name, slot, self.width, self.shape.copies, self.shape.repeats)

    @contextmanager
    def each_row(self) -> Iterator[Int]:
        """One of none for one-to-one connections, whose weights are a row."""
        if self.shape.one_to_one:
            yield 0
            return
        with self.kernel.loop("j", self.rows) as j:
            yield j

    @contextmanager
    def each_weight(self) -> Iterator[tuple[Int, Int, Int]]:
        """(j, k, c) of every weight."""
        with self.each_row() as j, self.each_along(j) as (k, c):
            yield j, k, c

    @contextmanager
    def each_along(self, j: Int = 0) -> Iterator[tuple[Int, Int]]:
        """(k, c) of every weight of row j."""
        with self.kernel.loop("k", self.width) as k, self.kernel.loop("c", self.shape.copies) as c:
            yield k, c

    def pre_place(self, j: Int, k: Int) -> Int:
        """Which presynaptic cell weight (j, k) comes from."""
        return k if self.shape.one_to_one else j

    def post_place(self, k: Int) -> Int:
        """Which postsynaptic cell weight (j, k) goes to."""
        return k


class Learning:
    """The rule of one projection in one kernel."""

    def __init__(self, kernel: Kernel, factors: Factors, axes: Axes, shared: Mapping[str, str]):
        self.kernel, self.factors, self.axes, self.shared = kernel, factors, axes, shared
        self.graph, self.projection, self.slots = factors.graph, factors.projection, factors.slots
        self.rule, self.shape = factors.rule, factors.shape
        self.cell: Int | None = None
        self.arrived_at: Callable[[str, tuple[Int, Int, Int], Int], Node] | None = None
        self.at: tuple[Int, Int, Int] = (0, 0, 0)
        self.sample: Int = 0
        self.drawn: dict[str, Node] = {}
        self.row_locals: dict[str, Name] = {}
        self.signed = False
        self.waited: Callable[[str, Node], Node] | None = None
        self.translation = factors.translation(kernel, self._leaf)

    def slot(self, quantity: str) -> str:
        return slot_name(self.projection.name, quantity)

    def weights(self, name: str, quantity: str) -> Array:
        """An array with a number per weight, which operations go along, but for those of lists."""
        quantity = "signed" if self.signed and quantity == "w" else quantity
        slot = self.slots.add(self.slot(quantity), self.shape.weights)
        return self.axes.weights(name, replace(slot, along=self.shape.listed is None))

    def vector(self, name: str) -> Array:
        """`P0`, `Q0` ... : cells of one side."""
        return self.axes.cells(f"at_{name}", self.factors.vectors[name])

    # ---- leaves

    def _leaf(self, node: Name | Prev) -> Node:
        name = node.name
        if name.startswith(VECTOR):
            return self._vector_at(name.removeprefix(VECTOR))
        if name == "w":
            return Name("x")
        if self.factors.is_drawn(name):
            return self.drawn[name]
        if name in self.shared and self.cell is None:
            return self._shared_at(name, int(isinstance(node, Prev)))
        return Name(f"old_{name}" if isinstance(node, Prev) else f"v_{name}")

    def _vector_at(self, name: str) -> Node:
        """Element of a vector at this synapse."""
        if self.cell is not None:
            return Load(self.vector(name).name, self.cell)
        if name in self.row_locals:
            return self.row_locals[name]
        if name in self.factors.travelling:
            assert self.arrived_at is not None
            return self.arrived_at(name, self._place("pre"), self.at[1])
        return self.vector(name)[self._place("post" if name.startswith("P") else "pre")]

    def _shared_at(self, state: str, age: int) -> Node:
        """What all synapses of a cell of this one share, of this step or of the last one."""
        return self.shared_array(state, age)[self._place(self.shared[state])]

    def shared_array(self, state: str, age: int) -> Array:
        """A state of every cell of its side, of this step or of the last one."""
        slot = Slot(slot_name(self.projection.name, state, age))
        return self.axes.cells(f"{state}_{('now', 'before')[age]}", slot)

    def _place(self, side: str) -> tuple[Int, Int, Int]:
        """Where a cell of this synapse stands among those of its side."""
        j, k, c = self.at
        return self.axes.post_place(k) if side == "post" else self.axes.pre_place(j, k), c, self.sample

    def load_row(self, j: Int) -> None:
        """Presynaptic factors once per row, where a row has one sample."""
        if self.shape.batch == 1 and not self.shape.one_to_one:
            for i in range(len(self.factors.pre)):
                if f"Q{i}" in self.factors.travelling:
                    continue
                self.row_locals[f"Q{i}"] = self.kernel.let(f"Q{i}", self.vector(f"Q{i}")[j, 0, 0])

    def moving(self, *others: Node) -> Node | None:
        """Condition under which a row may move its weights (or, `others`, deliver); None where every row may."""
        if not (self.graph.class_of(self.projection.name).unit and self.factors.idle_when_silent and self.row_locals):
            return None
        return any_of([compared(value, "!=", 0.0) for value in (*others, *self.row_locals.values())])

    # ---- one synapse

    @property
    def own_states(self) -> list[State]:
        """Of every synapse for itself."""
        return [state for state in self.rule.states if state.name not in self.shared]

    def increment(self, at: tuple[Int, Int, Int]) -> Name:
        """Moves the synaptic states of the weight `x` at (j, k, c); its increment, summed over samples."""
        self.move_states(at)
        return self.after_states(at)

    def move_states(self, at: tuple[Int, Int, Int]) -> None:
        """Of the synapse (j, k, c), where its weight stays."""
        kernel, self.at, self.sample, self.drawn = self.kernel, at, 0, {}
        for state in self.own_states:
            found = self.weights(f"o_{state.name}", state.name)[at]
            old = kernel.let(f"old_{state.name}", self.waited(state.name, found) if self.waited else found)
            kernel.let(f"v_{state.name}", old)
        updates = [(name, update) for name, update in self.factors.updates if name not in self.shared]
        self._draw_for(*(update for _, update in updates))
        for name, update in updates:
            kernel.set(Name(f"v_{name}"), self.translation.value(update))
            kernel.store(self.weights(f"o_{name}", name)[at], Name(f"v_{name}"))

    def after_states(self, at: tuple[Int, Int, Int]) -> Name:
        """The increment of the weight `x`, whose states have moved."""
        kernel = self.kernel
        self._draw_for(self.factors.increment)
        increment = kernel.let("dw", self.translation.value(self.factors.increment))
        with kernel.loop("r", self.shape.repeats, 1 if self.shape.repeats > 1 else 0) as self.sample:
            if self.shape.repeats > 1:
                kernel.set(increment, increment + self.translation.value(self.factors.increment))
        masked = self.masked(increment, at)
        if masked is not increment:
            kernel.set(increment, masked)
        return increment

    def masked(self, increment: Node, at: tuple[Int, Int, Int]) -> Node:
        """Times the mask, where the projection has one."""
        if self.signed or connection_mask(self.graph, self.projection) is None:
            return increment
        return increment * self.weights("mask", "mask")[at]

    def _draw_for(self, *expressions: Expression) -> None:
        """The random numbers that these read, each once."""
        read = set[str]().union(*map(reads, expressions)) - self.drawn.keys()
        self.drawn |= {name: self._draw(name, kind) for name, kind in self.rule.noise if name in read}

    def _draw(self, name: str, kind: str) -> Node:
        """A random number of this synapse; the index does not depend on the order in memory. The samples of a seed have
        the same."""
        (j, k, c), copies = self.at, self.shape.copies
        seed = c // (copies // self.graph.seeds) if copies > 1 else 0
        slot = self.slots.add(self.slot(f"{name}.key"), 2 * copies)
        if kind in LAVA_DRAWS:
            return self.kernel.array(f"k_{name}", slot, copies, 2)[seed, 0]
        key = self.kernel.array(f"k_{name}", Key(slot.name), 2 * copies).name
        listed = self.shape.listed is not None
        cell = 0 if kind != "uniform" else k if listed else k + self.kernel.size("first", First())
        index = cell if self.shape.one_to_one or listed or kind != "uniform" else cell * self.axes.rows + j
        return self.kernel.let(f"u_{name}", Uniform(key, index, seed if copies > 1 else None))

    def step(self, at: tuple[Int, Int, Int], increment: Name) -> None:
        """The optimiser's step and the bounds, from the old weight `x` to the stored one; `x` is the new one then."""
        kernel, optimiser, x = self.kernel, self.rule.optimiser, Name("x")
        if optimiser.kind == "low_pass":
            held = self.weights("held", optimiser.kind)[at]
            filtered = kernel.let("d", held)
            rate = self.translation.value(optimiser.arguments[0])
            kernel.set(filtered, filtered + rate * (increment - filtered))
            kernel.store(held, filtered)
            increment = filtered
        kernel.set(x, x + increment)
        self.limit()
        kernel.store(self.weights("w", "w")[at], x)

    def load(self, at: tuple[Int, Int, Int], increment: Node) -> Node:
        """The old weight as `x`; its increment, which is the negative one for the second of two twins."""
        kernel, old = self.kernel, self.weights("w", "w")[at]
        if not self.signed:
            kernel.let("x", old)
            return increment
        sign = kernel.let("old", old)
        kernel.let("x", Flipped(sign, sign))
        return Flipped(kernel.let("of_first", increment), sign)

    def keep(self, at: tuple[Int, Int, Int]) -> None:
        """Stores the weight `x`."""
        x = Name("x")
        self.kernel.store(self.weights("w", "w")[at], Flipped(x, Name("old")) if self.signed else x)

    def limit(self) -> None:
        """The weight `x` within its bounds."""
        x = Name("x")
        low, high = map(float, self.graph.class_of(self.projection.name).bounds)
        for bound, operator in ((low, "<"), (high, ">")):
            if abs(bound) < float("inf"):
                self.kernel.set(x, Where(compared(x, operator, bound), Number(bound), x))

    @property
    def learns(self) -> Node:
        """Whether the gate is on."""
        return compared(self.kernel.gate("learn", self.projection.gate or ""), ">", 0.0)

    # ---- every synapse

    def each_weight(self, visit: Callable[[tuple[Int, Int, Int]], object], skips: bool = True,
                    factors: bool = True) -> None:
        """`visit` at every weight, its value in `x`. `skips`: rows in which nothing moves may be left out. `factors`:
        the rule's are read."""
        with self.axes.each_row() as j:
            if factors:
                self.load_row(j)
            with self.kernel.when(self.moving() if skips else None), self.axes.each_along(j) as (k, c):
                self.kernel.let("x", self.weights("w", "w")[j, k, c])
                visit((j, k, c))
