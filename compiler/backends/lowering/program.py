"""A lowered circuit: slots, operations in order, generated kernels, and its cut into groups.

The operations are one list in an order that is right for the whole circuit. A group is the sublist that it owns, with
a *transfer* after every operation whose result another group reads: producer sends and consumers receive at that
place of the common order, so no partition can deadlock.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from cortexc.compiler.backends.feeding import input_columns, noise_columns, noise_width, redrawn, redrawn_name
from cortexc.compiler.backends.kernels import operations as op
from cortexc.compiler.backends.kernels.event_loops import events_of
from cortexc.compiler.backends.kernels.layout import shape_of
from cortexc.compiler.backends.kernels.numba_module import module_source
from cortexc.compiler.backends.kernels.table import KernelTable
from cortexc.compiler.backends.lowering.arrivals import nothing_arrived
from cortexc.compiler.backends.lowering.cells import SegmentLowering
from cortexc.compiler.backends.lowering.cuts import Piece, Transfer, cut, pieces, transfers_of
from cortexc.compiler.backends.lowering.initial import Values, initial_values
from cortexc.compiler.backends.lowering.maps import MapLowering
from cortexc.compiler.backends.lowering.mirrors import mirror_operation
from cortexc.compiler.backends.lowering.projections import ProjectionLowering
from cortexc.compiler.backends.lowering.shared_states import pack_shared
from cortexc.compiler.backends.lowering.storage import plan_storage
from cortexc.compiler.backends.lowering.threads import cut_starts, shares, usable
from cortexc.compiler.backends.lowering.twins import Half, join_twins, signed
from cortexc.compiler.backends.lowering.visits import WILD, starts_wild
from cortexc.compiler.backends.lowering.waiting import POWERS, SWEEP, Waiting, powers_of
from cortexc.compiler.backends.start import Start, check_names
from cortexc.compiler.ir import model
from cortexc.compiler.ir.model import Array, Graph
from cortexc.compiler.ir.schedule import Segment
from cortexc.compiler.ir.synapses import Synapses
from cortexc.compiler.passes.events import sends_events
from cortexc.compiler.passes.hoist_constant_input import permitted

LINE = 64
"""Bytes."""
ACTIVE = 0.01
"""About which part of the cells that send events, or of a list of synapses, sends something in a step; for estimates of
time."""


@dataclass
class Program:
    """The whole circuit, lowered. `initial` holds the first value of every slot."""

    graph: Graph
    step: list[op.Operation]
    flush: list[op.Operation]
    slots: op.SlotTable
    initial: Values
    kinds: list[tuple[str, str, str]]
    kernels: KernelTable
    source: str
    """The kernels as Python."""
    synapses: dict[str, Synapses]
    """Of every projection that lists them."""
    shared: dict[str, str] = field(default_factory=dict)
    """States of rules that the synapses of a cell share -> the cell's side."""
    joined: dict[str, Half] = field(default_factory=dict)
    """Numbers per synapse that two projections keep in one slot."""
    waiting: dict[str, Waiting] = field(default_factory=dict)
    """Of projections with states that wait for a visit."""
    transfers: list[Transfer] = field(default_factory=list)
    owners: dict[str, list[Piece]] = field(default_factory=dict)
    """Who owns what of every slot that an operation writes."""
    threads: int = 1
    """How many share a step, in C."""

    @property
    def noise_width(self) -> int:
        return noise_width(self.graph)

    @property
    def step_microseconds(self) -> float:
        """About how long a step takes, from its operations, its products and its draws; for sizes of blocks."""
        synapses, batch = 0, self.graph.batch
        for q in self.graph.projections:
            own = self.graph.class_of(q.name).kind.local
            positions = q.convolution.positions if q.convolution and not own else 1
            active = ACTIVE if q.name in self.synapses or sends_events(self.graph, q) else 1
            synapses += int(np.prod(model.weight_shape(self.graph, q)) * active) * positions
        per_product = 0.0015 if batch == 1 else 0.0001 * batch
        return 0.04 * len(self.step) + per_product * synapses + 0.005 * self.noise_width + 1e-3

    @property
    def groups(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(o.group for o in self.step)) or ("network",)

    @property
    def gates(self) -> tuple[str, ...]:
        """Column 0 is the gate that is always on."""
        return ("", *self.graph.gates)

    def length(self, name: str) -> int:
        """Of `indices`."""
        owner, _, key = name.partition(".")
        found = self.synapses[owner].length(key.partition("@")[0])
        return found - 1 if "@" in key else found

    def indices(self, name: str) -> Array:
        """Of `projection.starts`, `.post` or `.delay`, whole numbers that never change."""
        owner, _, key = name.partition(".")
        key, _, part = key.partition("@")
        synapses = self.synapses[owner]
        found: Array = cut_starts(synapses, *map(int, part.split("/"))) if part else getattr(synapses, key)
        return found

    def select(self, group: str | None = None) -> GroupProgram:
        """The part of one group (None: everything)."""
        return GroupProgram(self, group)


class GroupProgram:
    """Memory and table of the operations that one process owns. `shares`: those of each of its threads, if several, and
    `joint`, the slots that they have to meet for."""

    def __init__(self, program: Program, group: str | None):
        self.program, self.group = program, group
        own = [(i, o) for i, o in enumerate(program.step) if group in (None, o.group)]
        self.step = [o for _, o in own]
        self.flush = [o for o in program.flush if group in (None, o.group)]
        self.positions = [i for i, _ in own]
        self.offsets: dict[str, int] = {}
        self.index_offsets: dict[str, int] = {}
        self.size = self.index_size = 0
        self.shares, self.joint = (shares(program.graph, self.step, program.kernels, program.threads)
                                   if program.threads > 1 else ([], frozenset[str]()))
        parts = (part.operation for own in self.shares for part in own)
        for operation in (*self.step, *self.flush, *filter(None, parts)):
            for argument in operation.arguments:
                if isinstance(argument, op.Slot | op.Key | op.Constant):
                    self._place(_key(argument))
                elif isinstance(argument, op.IndexSlot) and argument.name not in self.index_offsets:
                    self.index_offsets[argument.name] = self.index_size
                    self.index_size += program.length(argument.name)
        self.sending = list(dict.fromkeys(slot for o in self.step if o.kernel in program.kernels.kernels
                                          for slot, _ in events_of(program.kernels.kernels[o.kernel], o)))
        self.lists = self.size
        for slot in self.sending:
            self.size += program.threads * op.padded(program.slots.sizes[slot])
        self.table = self._table()

    def found(self, slot: str, thread: int) -> int:
        """Where a thread keeps which cells of a slot are not silent."""
        sizes, at = [op.padded(self.program.slots.sizes[name]) for name in self.sending], self.sending.index(slot)
        return self.lists + self.program.threads * sum(sizes[:at]) + thread * sizes[at]

    def _place(self, key: str) -> None:
        if key in self.offsets:
            return
        alone = not key.startswith("constant ")
        self.offsets[key] = op.padded(self.size) if alone else self.size
        self.size = self.offsets[key] + (op.padded(max(self.program.slots.sizes[key], 1)) if alone else 1)

    def _table(self) -> Array:
        width = max((len(o.arguments) for o in (*self.step, *self.flush)), default=0) + 2
        rows = np.zeros((len(self.step) + len(self.flush), width), dtype=np.uint64)
        for row, operation in zip(rows, (*self.step, *self.flush), strict=True):
            kind = (operation.kind, operation.kernel, operation.update)
            values = [self.place(a) for a in operation.arguments]
            row[:2 + len(values)] = [self.program.kinds.index(kind), self.program.gates.index(operation.gate), *values]
        return rows

    def place(self, argument: op.Argument) -> int:
        match argument:
            case op.Slot(name, _, first):
                return self.offsets[name] + first
            case op.IndexSlot(name, end):
                return self.index_offsets[name] + end
            case op.Key() | op.Constant():
                return self.offsets[_key(argument)]
            case op.Span(value) | op.First(value):
                return value
            case op.Gate(name):
                return self.program.gates.index(name)
        return argument

    def owned(self, slot: str) -> list[tuple[int, int]]:
        """(start, length) of the stretches of a slot that this group owns: those that its operations write, or all of
        one that never changes and that it holds first."""
        if slot not in self.offsets:
            return []
        size, owners = self.program.slots.sizes[slot], self.program.owners.get(slot)
        if self.group is None:
            return [(0, size)]
        if owners is None:
            holders = (g for g in self.program.groups if slot in self.program.select(g).offsets)
            return [(0, size)] if next(holders) == self.group else []
        return [stretch for piece in owners if piece.group == self.group for stretch in piece.stretches(size)]

    def indices(self) -> Array:
        """The whole numbers of every list of synapses, int32."""
        found = aligned(self.index_size, np.int32)
        for name, offset in self.index_offsets.items():
            values = self.program.indices(name)
            found[offset:offset + len(values)] = values
        return found

    def memory(self) -> Array:
        """A fresh memory with every slot's initial value."""
        m = aligned(max(self.size, 1))
        self.fill(m)
        return m

    def fill(self, m: Array) -> None:
        for key, offset in self.offsets.items():
            if key.startswith("constant "):
                m[offset] = float.fromhex(key.split(" ", 1)[1])
            elif key.startswith(POWERS):
                m[offset:offset + SWEEP + 1] = powers_of(float.fromhex(key.removeprefix(POWERS)))
            elif key in self.program.initial:
                found = self.program.initial[key]
                values = found() if callable(found) else found
                m[offset:offset + len(values)] = values

    @property
    def slot_names(self) -> list[str]:
        """Without what never changes."""
        return [key for key in self.offsets if not key.startswith(("constant ", POWERS))]

    def view(self, m: Array, name: str) -> Array:
        """A slot of this group's memory."""
        offset = self.offsets[name]
        return m[offset:offset + self.program.slots.sizes[name]]


def aligned(size: int, dtype: type = np.float64) -> Array:
    """Zeros that begin where a line of the cache does; written, so that numpy asks for large pages, which rows of
    synapses all over memory need."""
    width = np.dtype(dtype).itemsize * size
    room = np.empty(width + LINE, np.uint8)
    room.fill(0)
    start = -room.ctypes.data % LINE
    return room[start:start + width].view(dtype)


def _key(argument: op.Slot | op.Key | op.Constant) -> str:
    return f"constant {float(argument.value).hex()}" if isinstance(argument, op.Constant) else argument.name


def lower(graph: Graph, observed: frozenset[str] = frozenset(), threads: int = 1) -> Program:
    """Raises E5xx for what has no lowering yet. `observed` names quantities that must live in memory; `threads` share a
    step."""
    program = _Lowering(graph, observed).program()
    program.threads = usable(program.graph, threads)
    return program


class _Lowering:
    def __init__(self, graph: Graph, observed: frozenset[str]):
        check_names(graph)
        self.observed = observed | {quantity for _, quantity in graph.outputs}
        self.graph = permitted(_with_groups(graph), self.observed)
        self.storage, self.start = plan_storage(self.graph, self.observed), Start(self.graph, later=True)
        self.slots, self.kernels = op.SlotTable(), KernelTable()
        self.projections = {q.name: (MapLowering if q.convolution else ProjectionLowering)(
            self.storage, q, self.slots, self.kernels, self.observed, self.start)
            for q in self.graph.projections}
        self.joined = join_twins(self.projections.values())

    def program(self) -> Program:
        kept = [o for q in self.projections.values() for o in q.early_operations()]
        step = cut([*kept, *self._loads(), *self._draws(), *self._schedule(), *self._learning()])
        flush = [o for q in self._deferred() if (o := self.projections[q].update_operation())]
        lazy = [q.lazy for q in self.projections.values() if q.lazy]
        flush += [o for each in lazy for o in each.show()]
        kinds = list(dict.fromkeys((o.kind, o.kernel, o.update) for o in (*step, *flush)))
        source = module_source(self.kernels, kinds)
        initial = initial_values(self.graph, self.storage, self.start)
        shared = {q.slot(state): side for q in self.projections.values() for state, side in q.shared.items()}
        initial |= {q.slot(WILD): np.ones(1) for q in self.projections.values() if q.slot(WILD) in self.slots.sizes
                    and starts_wild(self.start.values[q.slot("w")], *q.states_that_wait)}
        initial |= {slot: np.ones(self.slots.sizes[slot]) for q in self.projections.values()
                    if q.rule and (slot := q.own("weight_sum")) in self.slots.sizes}
        for q in self.projections.values():
            initial |= nothing_arrived(q, self.start) if q.rule else {}
        initial |= {q.weight_slot.name: signed(q) for q in self.projections.values() if q.twin}
        for slot, side in shared.items():
            initial[slot] = pack_shared(self.start.values[slot], self.start.synapses[slot.split(".")[0]], side, slot)
        for name, lowering in self.projections.items():
            if lowering.held:
                message = f"{lowering.projection.pre}.{self.graph.class_of(name).message}"
                nothing = np.zeros(self.slots.sizes[message])  # where no earlier value is read
                initial |= lowering.held.initial(np.asarray(initial.get(message, nothing)))
        waiting = {each.waiting.projection: each.waiting for each in lazy}
        program = Program(self.graph, step, flush, self.slots, initial, kinds, self.kernels, source,
                          self.start.synapses, shared, self.joined, waiting)
        program.transfers = transfers_of(step, self.slots)
        program.owners = pieces(step, self.slots.sizes, self._strides())
        return program

    def _strides(self) -> dict[str, int]:
        """Length of a row of every slot that holds a number per synapse, and of rings."""
        shapes = {q.name: shape_of(self.graph, q) for q in self.graph.projections
                  if self.graph.class_of(q.name).kind.weighted and not self.graph.class_of(q.name).kind.listed}
        rings = {op.ring_slot(p.name, e.name): p.size * self.graph.batch
                 for p in self.graph.populations for e in self.graph.cell(p.cell).equations}
        return rings | {slot: shapes[owner].width * shapes[owner].copies for slot, size in self.slots.sizes.items()
                        if (owner := slot.split(".")[0]) in shapes and size == shapes[owner].weights}

    def _deferred(self) -> list[str]:
        return [name for name, q in self.projections.items() if q.deferred]

    def _loads(self) -> list[op.Operation]:
        result, batch = [], self.graph.batch
        for name, columns in input_columns(self.graph):
            population = self.graph.population(name.split(".")[0])
            slot = op.along(self.slots.add(name, population.size * batch))
            arguments = (op.Span(population.size), batch, slot, op.First(columns.start))
            result.append(op.Operation("load", "load", arguments, population.group, (), (name,), label=population.name))
        return result

    def _draws(self) -> list[op.Operation]:
        graph, result = self.graph, []
        cells = {p.name: p.group for p in graph.populations}
        gates = {redrawn_name(graph, mirror): mirror.gate for mirror in redrawn(graph)}
        for name, columns in noise_columns(graph):
            owner, first, size = name.split(".")[0], columns.start, columns.stop - columns.start
            slot, of_cells = self.slots.add(name, size), owner in cells
            arguments = (op.Span(size), op.along(slot), op.First(first)) if of_cells else (size, slot, first)
            group = cells[owner] if of_cells else graph.projection(owner).group
            gate = graph.noise.gate if of_cells else gates.get(name)
            result.append(op.Operation("noise", "draw", arguments, group, (), (name,), gate or "", label=owner))
        return result

    def _schedule(self) -> list[op.Operation]:
        result: list[op.Operation] = []
        for operation in self.storage.order:
            if isinstance(operation, Segment):
                lowered = SegmentLowering(self.storage, operation, self.slots).lower(self.kernels)
                result += [lowered] if lowered else []
            else:
                result += self.projections[operation.projection].deliveries()
        return result + [operation for q in self.projections.values() for operation in q.moving_on()]

    def _learning(self) -> list[op.Operation]:
        """Factors, increments from un-incremented weights, mirrors, then the gated steps."""
        factors = [o for q in self.projections.values() for o in q.factor_operations()]
        increments = [o for q in self.projections.values() for o in q.increment_operations()]
        mirrors = [(m.after, mirror_operation(self.graph, m, self.slots, self.kernels)) for m in self.graph.mirrors]
        before, after = ([operation for late, operation in mirrors if late == wanted] for wanted in (False, True))
        deferred = set(self._deferred())
        updates = [o for name, q in self.projections.items() if name not in deferred and (o := q.update_operation())]
        ends = [q.lazy.end() for q in self.projections.values() if q.lazy]
        return [*factors, *increments, *before, *updates, *ends, *after]


def _with_groups(graph: Graph) -> Graph:
    """Populations and projections that no partition has placed go to one group."""
    return graph.with_(populations=tuple(replace(p, group=p.group or "network") for p in graph.populations),
                       projections=tuple(replace(q, group=q.group or "network") for q in graph.projections))


