"""Kernels of cells: one function per cell type and segment, one loop over the population.

    for k in range(n):            # k runs over cells times batch
        p1_u = m[u + k]           # earlier values, before they are shifted
        basal = m[basal_0 + k]    # ports add their projections' currents in declaration order
        drive = ...
        m[u + k] = ...
"""

from __future__ import annotations

from contextlib import ExitStack

from cortexc.compiler.backends.kernels.nest import Array, Counter, Kernel, Load, compared
from cortexc.compiler.backends.kernels.operations import Operation, Slot, SlotTable, Span, along, ring_slot, slot_name
from cortexc.compiler.backends.kernels.table import KernelTable
from cortexc.compiler.backends.kernels.whole import Int, Joined
from cortexc.compiler.backends.lowering.storage import Storage
from cortexc.compiler.backends.lowering.translation import Translation
from cortexc.compiler.backends.quoting import identifier
from cortexc.compiler.ir.evaluation import evaluate_scalar
from cortexc.compiler.ir.expressions import Name, Node, Number, Prev, Where, names
from cortexc.compiler.ir.model import CellType, Equation, Graph, Population, Projection, cell_parameters
from cortexc.compiler.ir.schedule import Delivery, Segment, message_depth


class SegmentLowering:
    """Lowers one segment of one population; the kernel text depends only on the cell type."""

    def __init__(self, storage: Storage, segment: Segment, slots: SlotTable):
        self.storage, self.segment, self.slots = storage, segment, slots
        self.graph: Graph = storage.graph
        self.population: Population = self.graph.population(segment.population)
        self.cell: CellType = self.graph.cell(self.population.cell)
        self.vectors = vector_parameters(self.graph, self.cell)
        for name in self.vectors:
            slots.add(slot_name(self.population.name, name), self.population.size * self.graph.batch)
        parameters = cell_parameters(self.graph, self.population)
        self.reader = storage.order.index(segment)
        self.loaded: dict[str, Node] = {}
        self.kernel = Kernel(f"{self.cell.name}: {', '.join(segment.equations)}.")
        self.translation = Translation(self.kernel, self.graph, slots, self._leaf, self._constant,
                                       lambda e: evaluate_scalar(e, parameters))
        self.k: Int = 0
        self.now: dict[str, Int] = {}
        self.rings: dict[str, tuple[Array, int]] = {}

    def lower(self, kernels: KernelTable) -> Operation | None:
        """None for a segment of which nothing is read or observed."""
        if not self._equations():
            return None
        n = self.kernel.size("n", Span(self.population.size * self.graph.batch))
        self.rings = {name: (self._ring_place(name), far[-1]) for name in self.segment.equations
                      if (far := self.storage.far(self.cell.name, name))}
        with ExitStack() as rings:
            for name in self.rings:
                first = Counter(self.rings[name][0][0])
                self.now[name] = rings.enter_context(self.kernel.loop(f"now_{identifier(name)}", first + 1, first))
            self.k = rings.enter_context(self.kernel.loop("k", n))
            body = [(e.name, self.translation.value(e.expression)) for e in self._equations()]
            for local, value in self.loaded.items():
                self.kernel.let(local, value)
            for name, value in body:
                self.kernel.let(self._local(name), value)
            self._store_all()
        for place, length in self.rings.values():
            with self.kernel.loop("k", n) as k:
                after = place[k] + 1.0
                self.kernel.store(place[k], Where(compared(after, "<", float(length)), after, Number(0.0)))
        return kernels.operation(f"{self.cell.name}_{self.segment.index}", self.kernel, self.population.group,
                                 self.population.name)

    def _ring_place(self, name: str) -> Array:
        """Where a ring's oldest values are: the same for every cell, so that each stretch of cells has its own."""
        cells = self.population.size * self.graph.batch
        return self._array(f"place_{identifier(name)}",
                           along(self.slots.add(slot_name(self.population.name, f"{name}#place"), cells)))

    def _equations(self) -> list[Equation]:
        """The segment's equations that memory needs, directly or through another one."""
        needed: set[str] = {e for e in self.segment.equations if self.storage.stored(self.cell.name, e)}
        kept: list[Equation] = []
        for name in reversed(self.segment.equations):
            equation = self.cell.equation(name)
            if equation and name in needed:
                needed |= names(equation.expression)
                kept.insert(0, equation)
        return kept

    def _constant(self, name: str) -> bool:
        return name == "dt" or (name not in self.vectors and any(p.name == name for p in self.cell.parameters))

    def _place(self, quantity: str, slot: int = 0) -> Load:
        """Of this cell's value in a slot of a quantity."""
        name = slot_name(self.population.name, quantity, slot)
        return self._array(f"o{slot or ''}_{identifier(quantity)}",
                           along(self.slots.add(name, self.population.size * self.graph.batch)))[self.k]

    def _array(self, name: str, slot: Slot) -> Array:
        return self.kernel.array(name, slot, self.kernel.size("n", Span(self.population.size * self.graph.batch)))

    @staticmethod
    def _local(quantity: str) -> str:
        return f"v_{identifier(quantity)}"

    def _leaf(self, node: Name | Prev) -> Node:
        if isinstance(node, Prev):
            slot = self.storage.slot(self.population.name, node.name, node.depth, self.reader)
            return self._loaded(f"p{int(node.depth)}_{identifier(node.name)}", node.name, slot)
        if node.name in self.segment.equations:
            return Name(self._local(node.name))
        if any(port.name == node.name for port in self.cell.ports):
            return self._port(node.name)
        return self._loaded(self._local(node.name), node.name, 0)

    def _loaded(self, local: str, quantity: str, slot: int) -> Name:
        """A local that is loaded before anything is stored."""
        self.loaded.setdefault(local, self._place(quantity, slot))
        return Name(local)

    def _port(self, port: str) -> Name:
        """The sum of the port's currents, left to right."""
        local = self._local(port)
        if local not in self.loaded:
            total: Node | None = None
            for index, projection in enumerate(self.graph.into(self.population.name, port)):
                current = Slot(current_slot(self.storage, projection, self.reader), along=True)
                term = self._array(f"in{index}_{port}", current)[self.k]
                total = term if total is None else total + term
            self.loaded[local] = Number(0.0) if total is None else total
        return Name(local)

    def _store_all(self) -> None:
        for name in self.segment.equations:
            near, far = self.storage.near(self.cell.name, name), self.storage.far(self.cell.name, name)
            for slot in reversed(near[1:]):
                self.kernel.store(self._place(name, slot), self._place(name, slot - 1))
            if far:
                self._turn_ring(name, far)
            if near:
                self.kernel.store(self._place(name), Name(self._local(name)))

    def _turn_ring(self, name: str, far: list[int]) -> None:
        """Takes values so many steps old from a quantity's ring, and puts the newest in the place of the oldest."""
        cells, length = self.population.size * self.graph.batch, far[-1]
        whole = along(self.slots.add(ring_slot(self.population.name, name), length * cells))
        ring = self.kernel.array(f"ring_{identifier(name)}", whole, length, self.kernel.size("stride", cells))
        now = self.now[name]
        for slot in far:
            at = Joined("wrap", now + (length - slot), length) if slot < length else now
            self.kernel.store(self._place(name, slot), ring[at, self.k])
        self.kernel.store(ring[now, self.k], Name(self._local(name)))


def current_slot(storage: Storage, projection: Projection, reader: int) -> str:
    """Where the operation at position `reader` finds a current; an identity projection's is the message itself."""
    graph = storage.graph
    synapse = graph.class_of(projection.name)
    if synapse.kind.weighted:
        return slot_name(projection.name, "current")
    return message_slot(storage, projection, reader)


def message_slot(storage: Storage, projection: Projection, reader: int | None = None) -> str:
    """Where `reader` (default: the delivery) finds the message that this step delivers."""
    graph = storage.graph
    message = graph.class_of(projection.name).message
    reader = storage.order.index(Delivery(projection.name)) if reader is None else reader
    slot = storage.slot(projection.pre, message, message_depth(graph, projection), reader)
    return slot_name(projection.pre, message, slot)


def vector_parameters(graph: Graph, cell: CellType) -> frozenset[str]:
    """Parameters that some population of this type binds as an array."""
    owners = [p.name for p in graph.populations if p.cell == cell.name]
    return frozenset(p.name for p in cell.parameters if any(f"{o}.{p.name}" in graph.arrays for o in owners))
