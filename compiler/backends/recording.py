"""What a program records, and stores: in user shape (batch, n) of cells, (copies, n_post, n_pre) of synapses."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from cortexc.compiler.backends.kernels.layout import pack_state, pack_weights, shape_of, unpack_state, unpack_weights
from cortexc.compiler.backends.lowering.held import as_packed
from cortexc.compiler.backends.lowering.program import GroupProgram, Program
from cortexc.compiler.backends.lowering.shared_states import pack_shared, unpack_shared
from cortexc.compiler.backends.lowering.visits import WILD, starts_wild
from cortexc.compiler.backends.lowering.waiting import Waiting
from cortexc.compiler.ir.model import Array, weight_shape
from cortexc.compiler.ir.protocol import Protocol
from cortexc.compiler.passes.held_forms import form_of


def record_pieces(group: GroupProgram, protocol: Protocol) -> Array:
    """(stream, offset, length, column, kind) of everything that this group records. Kind 1 is a deferred weight; 2 are
    cells of which each thread can record its own."""
    rows = []
    plastic = {slot for o in group.flush for slot in o.writes}
    for index, stream in enumerate(protocol.streams):
        column = 0
        for quantity in stream.quantities:
            slot = _recorded(group.program, quantity)
            kind = 1 if slot in plastic else 2 if _apart(group, slot) else 0
            rows += [(index, group.offsets[slot] + start, length, column + start, kind)
                     for start, length in group.owned(slot)]
            column += group.program.slots.sizes[quantity]
    return np.array(rows, dtype=np.uint64).reshape(-1, 5)


def _apart(group: GroupProgram, slot: str) -> bool:
    graph = group.program.graph
    return bool(group.shares) and graph.batch == 1 and slot not in group.joint and any(
        p.name == slot.split(".")[0] for p in graph.populations)


def _recorded(program: Program, quantity: str) -> str:
    """The slot in which a quantity is what it is now."""
    waiting, state = _waiting(program, quantity)
    return waiting.shown(state) if waiting else quantity


def _waiting(program: Program, quantity: str) -> tuple[Waiting | None, str]:
    """The books of a state that waits for a visit, and its name."""
    owner, _, name = quantity.partition(".")
    found = program.waiting.get(owner)
    return found if found and name in found.decays else None, name


def unpack(program: Program, quantity: str, flat: Array) -> Array:
    """A slot's values in user shape: (..., batch, n) or (..., copies, n_post, n_pre)."""
    graph, (owner, name) = program.graph, quantity.split("#")[0].split(".", 1)
    if any(q.name == owner for q in graph.projections):
        shape = shape_of(graph, graph.projection(owner))
        rule = graph.rule_of(graph.projection(owner))
        state = rule is not None and any(s.name == name for s in rule.states)
        if name.startswith("pre_factor") and not state:
            return unpack_state(flat, shape.cells[0], shape.batch)
        if name == "current" or (name.startswith("post_factor") and not state):
            return unpack_state(flat, shape.post_cells, shape.batch)[..., :shape.cells[1]]
        if side := program.shared.get(quantity):
            cells = shape.cells[0 if side == "pre" else 1]
            return unpack_shared(flat, program.synapses[owner], side, cells, shape.copies)
        if shape.listed is not None:
            return program.synapses[owner].given(unpack_state(flat, shape.listed, shape.copies))
        weights = unpack_weights(flat, shape)
        of = weight_shape(graph, graph.projection(owner))
        return weights.reshape(*weights.shape[:weights.ndim - (1 if shape.one_to_one else 2)], *of)
    return unpack_state(flat, graph.population(owner).size, graph.batch)


def pack(program: Program, quantity: str, values: Array) -> Array:
    """A state (batch, n) or a synaptic quantity (copies, n_post, n_pre) as it lies in memory."""
    owner = quantity.partition(".")[0]
    if side := program.shared.get(quantity):
        return pack_shared(values, program.synapses[owner], side, quantity)
    if owner in program.synapses:
        return pack_state(program.synapses[owner].ordered(values))
    if any(q.name == owner for q in program.graph.projections):
        return pack_weights(values, shape_of(program.graph, program.graph.projection(owner)))
    return pack_state(values)


def packed(program: Program, quantity: str, values: Array, read: Callable[[str], Array]) -> dict[str, Array]:
    """What a quantity that is set changes, by slot; `read` gives slots as they lie in memory."""
    if half := program.joined.get(quantity):
        return half.written(pack(program, quantity, values), read)
    waiting, name = _waiting(program, quantity)
    found, wild = waiting.all_now(read) if waiting else {}, f"{quantity.partition('.')[0]}.{WILD}"
    found[quantity] = pack(program, quantity, values)
    leaves = starts_wild(np.zeros(0), values) if waiting else name == "w" and starts_wild(values)
    return {**found, wild: np.ones(1)} if wild in program.slots.sizes and leaves else found


def current(program: Program, quantity: str, read: Callable[[str], Array]) -> Array:
    """A quantity in user shape from slots as they lie in memory; hoisted weights are brought up to date."""
    if half := program.joined.get(quantity):
        return unpack(program, quantity, half.read(read))
    waiting, name = _waiting(program, quantity)
    if waiting:
        return unpack(program, quantity, waiting.now(name, read))
    graph, (owner, name) = program.graph, quantity.split(".", 1)
    projection = next((q for q in graph.projections if q.name == owner and q.lowering == "hoisted"), None)
    form = form_of(graph, projection) if projection else None
    if projection is None or form is None or not form.read or name not in ("w", "low_pass"):
        return unpack(program, quantity, read(quantity))
    packed = as_packed(form, name, shape_of(graph, projection), lambda slot: read(f"{owner}.{slot}"))
    return unpack(program, quantity, packed)
