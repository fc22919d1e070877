"""The first value of every slot of a program's memory."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from cortexc.compiler.backends.kernels.layout import pack_state, pack_weights, shape_of
from cortexc.compiler.backends.kernels.operations import ring_slot, slot_name
from cortexc.compiler.backends.lowering.cells import vector_parameters
from cortexc.compiler.backends.lowering.mirrors import mirror_arrays
from cortexc.compiler.backends.lowering.storage import Storage
from cortexc.compiler.backends.start import Start
from cortexc.compiler.ir import model
from cortexc.compiler.ir.arrays import connection_mask
from cortexc.compiler.ir.model import Array, Graph
from cortexc.compiler.ir.synapses import Synapses, drawn_weights

Values = dict[str, Array | Callable[[], Array]]
"""By slot, as they lie in memory; what is drawn anew for every memory is a function."""


def initial_values(graph: Graph, storage: Storage, start: Start) -> Values:
    result: Values = {name: np.asarray(array, np.float64) for name, array in graph.arrays.items()
                      if name.startswith("table.")}
    for population in graph.populations:
        cell = graph.cell(population.cell)
        for state in cell.states:
            values = pack_state(start.values[f"{population.name}.{state.name}"])
            far = storage.far(cell.name, state.name)
            for slot in (*storage.near(cell.name, state.name), *far):
                result[slot_name(population.name, state.name, slot)] = values
            if far:
                result[ring_slot(population.name, state.name)] = np.tile(values, far[-1])
        for name in vector_parameters(graph, cell):
            values = np.broadcast_to(start.parameters[population.name][name], (graph.batch, population.size))
            result[slot_name(population.name, name)] = pack_state(values)
    for projection in graph.projections:
        result |= _initial_weights(graph, projection, start)
    for mirror in graph.mirrors:
        shape, own = shape_of(graph, graph.projection(mirror.target)), start.synapses.get(mirror.target)
        result |= {slot: pack_state(own.ordered(array)) if own else pack_weights(array, shape)
                   for slot, array in mirror_arrays(graph, mirror).items()}
    return result


def _initial_weights(graph: Graph, projection: model.Projection, start: Start) -> Values:
    if not graph.class_of(projection.name).kind.weighted:
        return {}
    shape = shape_of(graph, projection)
    rule = graph.rule_of(projection)
    keys = ["w", *([s.name for s in rule.states] if rule else [])]
    keys += [rule.optimiser.kind] if rule and rule.optimiser.kind != "none" else []
    powers = {slot_name(projection.name, "adam_powers"): np.ones(2)} if "adam" in keys else {}
    if start.waits(projection):
        return _initial_lists(projection.name, start, {}) | {
            slot_name(projection.name, "w"): partial(_drawn, graph, projection, start.synapses[projection.name])}
    values = {key: start.values[f"{projection.name}.{key}"] for key in keys}
    if projection.name in start.synapses:
        return _initial_lists(projection.name, start, values) | powers
    result: Values = {slot_name(projection.name, key): pack_weights(found, shape) for key, found in values.items()}
    mask = connection_mask(graph, projection)
    if mask is not None:
        copies = np.broadcast_to(mask, (shape.copies, *model.weight_shape(graph, projection)))
        result[slot_name(projection.name, "mask")] = pack_weights(copies, shape)
    return result | powers


def _drawn(graph: Graph, projection: model.Projection, synapses: Synapses) -> Array:
    weights = drawn_weights(graph, projection, synapses)
    assert weights is not None
    return synapses.ordered(weights)


def _initial_lists(name: str, start: Start, values: dict[str, Array]) -> Values:
    """Weights and what is beside them, in canonical order, and currents that are under way."""
    result: Values = {slot_name(name, key): pack_state(start.synapses[name].ordered(found))
                      for key, found in values.items()}
    underway = start.values.get(f"{name}.underway")
    return result if underway is None else result | {slot_name(name, "underway"): pack_state(underway)}
