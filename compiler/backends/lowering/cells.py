"""Kernels of cells: one function per cell type and segment, one loop over the population.

    for k in range(n):            # k runs over cells times batch
        p1_u = m[u + k]           # earlier values, before they are shifted
        basal = m[basal_0 + k]    # ports add their projections' currents in declaration order
        drive = ...
        m[u + k] = ...
"""

from __future__ import annotations

from collections.abc import Callable

from compiler.backends.kernels.operations import (
    Argument,
    Constant,
    Gate,
    KernelTable,
    Operation,
    Slot,
    SlotTable,
    Span,
    along,
    function_source,
    slot_name,
)
from compiler.backends.lowering.emit import Emitter
from compiler.backends.lowering.storage import Storage
from compiler.backends.quoting import identifier
from compiler.ir.expressions import Expression, Name, Prev, walk
from compiler.ir.model import CellType, Equation, Graph, Population, Projection
from compiler.ir.schedule import Delivery, Segment, message_depth


class SegmentLowering:
    """Lowers one segment of one population; the kernel text depends only on the cell type."""

    def __init__(self, storage: Storage, segment: Segment, slots: SlotTable, vector_parameters: frozenset[str]):
        self.storage, self.segment, self.slots = storage, segment, slots
        self.graph: Graph = storage.graph
        self.population: Population = self.graph.population(segment.population)
        self.cell: CellType = self.graph.cell(self.population.cell)
        self.vectors = vector_parameters
        self.reader = storage.order.index(segment)
        self.names: dict[str, Argument] = {}
        self.loads: dict[str, str] = {}
        self.reads: list[str] = []
        self.writes: list[str] = []
        self.emitter = Emitter(self._leaf, self._constant)

    def lower(self, kernels: KernelTable, parameters: dict[str, float],
              evaluate_scalar: Callable[[Expression, dict[str, float]], float]) -> Operation | None:
        """None for a segment of which nothing is read or observed."""
        if not self._equations():
            return None
        body = [f"{self._local(e.name)} = {self.emitter.value(e.expression)}" for e in self._equations()]
        stores = self._stores()
        names: dict[str, Argument] = {"n": Span(self.population.size * self.graph.batch), **self.names}
        names |= {f"s{j}": Constant(evaluate_scalar(s, parameters)) for j, s in enumerate(self.emitter.scalars)}
        names |= {f"g{j}": Gate(g.removeprefix("gate.")) for j, g in enumerate(self.emitter.gates)}
        names |= self.emitter.table_arguments(self.slots, self.graph)
        loop = ["for k in range(n):", *("    " + line for line in [*self.loads.values(), *body, *stores])]
        doc = f"{self.cell.name}: {', '.join(self.segment.equations)}."
        kernel = kernels.add(f"{self.cell.name}_{self.segment.index}", function_source(doc, names, loop))
        return Operation("kernel", kernel, tuple(names.values()), self.population.group, tuple(self.reads),
                         tuple(self.writes), label=self.population.name)

    def _equations(self) -> list[Equation]:
        """The segment's equations that memory needs, directly or through another one."""
        needed: set[str] = {e for e in self.segment.equations if self.storage.stored(self.cell.name, e)}
        kept: list[Equation] = []
        for name in reversed(self.segment.equations):
            equation = self.cell.equation(name)
            if equation and name in needed:
                needed |= scalar_reads(equation.expression)
                kept.insert(0, equation)
        return kept

    def _constant(self, name: str) -> bool:
        return name == "dt" or (name not in self.vectors and any(p.name == name for p in self.cell.parameters))

    def _slot(self, quantity: str, slot: int = 0) -> str:
        """The local name of a slot's offset, registered as an argument."""
        local = f"o{slot or ''}_{identifier(quantity)}"
        name = slot_name(self.population.name, quantity, slot)
        self.names.setdefault(local, along(self.slots.add(name, self.population.size * self.graph.batch)))
        return local

    @staticmethod
    def _local(quantity: str) -> str:
        return f"v_{identifier(quantity)}"

    def _leaf(self, node: Name | Prev) -> str:
        if isinstance(node, Prev):
            return self._previous(node)
        if node.name in self.segment.equations:
            return self._local(node.name)
        if any(port.name == node.name for port in self.cell.ports):
            return self._port(node.name)
        local = self._local(node.name)
        self.loads.setdefault(local, f"{local} = m[{self._slot(node.name)} + k]")
        self._note_read(slot_name(self.population.name, node.name))
        return local

    def _note_read(self, name: str) -> None:
        if name not in self.reads:
            self.reads.append(name)

    def _previous(self, node: Prev) -> str:
        local = f"p{int(node.depth)}_{identifier(node.name)}"
        slot = self.storage.slot(self.population.name, node.name, node.depth, self.reader)
        self.loads.setdefault(local, f"{local} = m[{self._slot(node.name, slot)} + k]")
        self._note_read(slot_name(self.population.name, node.name, slot))
        return local

    def _port(self, port: str) -> str:
        """The sum of the port's currents, left to right."""
        local = self._local(port)
        if local in self.loads:
            return local
        terms = []
        for index, projection in enumerate(self.graph.into(self.population.name, port)):
            current = current_slot(self.storage, projection, self.reader)
            self.names[f"in{index}_{port}"] = Slot(current, along=True)
            self._note_read(current)
            terms.append(f"m[in{index}_{port} + k]")
        self.loads[local] = f"{local} = {' + '.join(terms) if terms else 'np.float64(0.0)'}"
        return local

    def _stores(self) -> list[str]:
        lines = []
        for name in self.segment.equations:
            depth = self.storage.depth.get((self.cell.name, name))
            if depth is None:
                continue
            for slot in range(depth, 0, -1):
                lines.append(f"m[{self._slot(name, slot)} + k] = m[{self._slot(name, slot - 1)} + k]")
            lines.append(f"m[{self._slot(name)} + k] = {self._local(name)}")
            self.writes += [slot_name(self.population.name, name, s) for s in range(depth + 1)]
        return lines


def current_slot(storage: Storage, projection: Projection, reader: int) -> str:
    """Where the operation at position `reader` finds a current; an identity projection's is the message itself."""
    graph = storage.graph
    synapse = graph.class_of(projection.name)
    if synapse.connectivity != "identity":
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


def scalar_reads(expression: Expression) -> set[str]:
    return {node.name for node in walk(expression) if isinstance(node, Name)}
