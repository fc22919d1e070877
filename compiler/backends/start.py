"""Where a run begins: parameters of every cell and rule, first states, weights and synaptic states.

One definition, which the interpreter and the lowering share: a fault in it is the same on both sides of their
comparison. What sees it are recordings of other simulators, the references, and tests of this file alone.
"""

from __future__ import annotations

import numpy as np

from cortexc.compiler.ir import CortexError, model
from cortexc.compiler.ir.arrays import afford_synapses, connection_mask
from cortexc.compiler.ir.evaluation import Values, evaluate, no_history
from cortexc.compiler.ir.expressions import Number
from cortexc.compiler.ir.functions import Floats
from cortexc.compiler.ir.model import Array, Graph, Population, Projection, group_parts
from cortexc.compiler.ir.synapses import Synapses, drawn_weights, synapses_of
from cortexc.compiler.ir.verify import names_in_code, verify, verify_discrete
from cortexc.compiler.passes.partition import splittable


class Start:
    """Of one graph. `values`: `population.state` (batch, n); `projection.w`, `.increment`, `.<optimiser>` and
    `.<state>` (copies, n_post, n_pre). `parameters`: by owner and name, numbers or (1 or batch, n). `later`: weights
    that are drawn and never change are left out, for who has no room for them twice (`drawn_weights` has them). Raises
    what the language forbids, and E511 to E513."""

    def __init__(self, graph: Graph, later: bool = False):
        verify(graph, units=False)
        verify_discrete(graph)
        check_names(graph)
        self.graph = graph
        self.values: Values = {}
        self.later = later
        afford_synapses(graph)
        self.synapses = {q.name: synapses_of(graph, q) for q in graph.projections if graph.class_of(q.name).kind.listed}
        self.parameters: dict[str, dict[str, float | Array]] = {
            p.name: {**model.cell_parameters(graph, p)} for p in graph.populations}
        self.parameters |= {q.name: {**model.rule_parameters(graph, q)} for q in graph.projections}
        with np.errstate(all="ignore"):
            for population in graph.populations:
                self._start_population(population)
            for projection in graph.projections:
                self._start_projection(projection)

    def look(self, owner: str, name: str) -> Array:
        """A name of this step in the scope of a population or projection."""
        if name in self.parameters[owner]:
            return np.asarray(self.parameters[owner][name])
        for key in (f"{owner}.{name}", name):
            if key in self.values:
                return self.values[key]
        return self.graph.arrays[name]  # a table

    def _start_population(self, population: Population) -> None:
        cell, shape = self.graph.cell(population.cell), (self.graph.batch, population.size)
        for parameter in cell.parameters:
            array = self.graph.arrays.get(f"{population.name}.{parameter.name}")
            if array is not None:
                self.parameters[population.name][parameter.name] = model.over_batch(self.graph, array, 1)
        for state in cell.states:
            name = f"{population.name}.{state.name}"
            array = self.graph.arrays.get(name)
            value = evaluate(state.initial, lambda n: self.look(population.name, n), lambda n, d: self.values[n]) \
                if array is None else model.over_batch(self.graph, array, 1)
            self.values[name] = np.broadcast_to(value, shape).astype(np.float64)

    def _start_projection(self, projection: Projection) -> None:
        graph, name, shape = self.graph, projection.name, model.weight_shape(self.graph, projection)
        if not shape:
            return
        copies = model.weight_copies(graph, name)
        rule = graph.rule_of(projection)
        for key in () if self.waits(projection) else ("w", *(rule.learnt if rule else ())):
            array = graph.arrays.get(f"{name}.{key}")
            if array is None and key == "w" and name in self.synapses:
                array = drawn_weights(graph, projection, self.synapses[name])
            if array is None:
                initial = {s.name: s.initial for s in rule.states}.get(key, Number(0.0)) if rule else Number(0.0)
                array = np.broadcast_to(evaluate(initial, lambda n: self.look(name, n), no_history), shape)
            array = np.asarray(array, dtype=np.float64)
            array = array[None] if array.ndim == len(shape) else array
            own = key == "w" and projection.weights is not None and f"{name}.w" not in graph.arrays and copies == 1
            self.values[f"{name}.{key}"] = array if own else np.broadcast_to(array, (copies, *shape)).copy()
        mask = connection_mask(graph, projection)
        if mask is not None:
            self.values[f"{name}.w"] *= mask
        if graph.class_of(name).unit:
            self.values[f"{name}.w"] += 0.0  # a whole number of units has no negative zero
        if rule or not graph.class_of(name).kind.listed:
            self.values[f"{name}.increment"] = np.zeros((copies, *shape))
        if name in self.synapses and self.synapses[name].delay is not None:
            self._start_underway(projection, self.synapses[name])
        if rule and rule.optimiser.kind == "adam":
            self.values |= {f"{name}.adam_{moment}": np.zeros((copies, *shape)) for moment in ("first", "second")}

    def waits(self, projection: Projection) -> bool:
        """Whether its weights are left out of `values`."""
        graph, name = self.graph, projection.name
        return (self.later and name in self.synapses and projection.weights is not None
                and f"{name}.w" not in graph.arrays and graph.rule_of(projection) is None
                and model.weight_copies(graph, name) == 1 and not graph.class_of(name).unit)

    def delivered(self, projection: Projection) -> Array:
        """What messages are multiplied with, per copy of the weights."""
        rule = self.graph.rule_of(projection)
        synapses = self.synapses[projection.name] if self.waits(projection) else None
        waiting = drawn_weights(self.graph, projection, synapses) if synapses else None
        w = self.values[f"{projection.name}.w"] if waiting is None else waiting[None]
        if rule is None or not rule.shapes:
            return w
        value = np.broadcast_to(evaluate(rule.deliver, lambda n: self.look(projection.name, n), no_history), w.shape)
        mask = connection_mask(self.graph, projection)
        return value if mask is None else value * mask

    def _start_underway(self, projection: Projection, synapses: Synapses) -> None:
        """Messages from before the first step that have not arrived, as (batch, steps ahead * n_post)."""
        graph, name, cells = self.graph, projection.name, self.graph.population(projection.post).size
        sent = self.values.get(f"{projection.pre}.{graph.class_of(name).message}")
        found = nothing_underway(synapses, graph.batch, cells)
        if sent is not None and sent.any():
            w = self.delivered(projection)
            w = np.repeat(synapses.ordered(w), graph.batch // len(w), axis=0)
            found = underway_at_start(synapses, w, sent, cells)
        self.values[f"{name}.underway"] = found.reshape(graph.batch, -1)


# ---- what messages add to the currents of this step and of later ones


def nothing_underway(synapses: Synapses, batch: int, cells: int) -> Floats:
    """Currents (batch, steps ahead, n_post) of this step and those that follow."""
    return np.zeros((batch, synapses.slots, cells))


def send(synapses: Synapses, w: Floats, message: Floats, underway: Floats) -> None:
    """Adds w (batch, synapses in canonical order) times message (batch, n_pre) into `underway`, one synapse after the
    other. A message of 0 sends nothing."""
    for weights, values, into in zip(w, message, underway, strict=True):
        found = np.flatnonzero(values[synapses.pre] != 0)
        np.add.at(into.reshape(-1), synapses.late[found] * into.shape[1] + synapses.post[found],
                  weights[found] * values[synapses.pre[found]])


def step_on(underway: Floats) -> Floats:
    """The same, one step later."""
    return np.concatenate([underway[:, 1:], np.zeros_like(underway[:, :1])], axis=1)


def underway_at_start(synapses: Synapses, w: Floats, message: Floats, cells: int) -> Floats:
    """What cells that sent `message` (batch, n_pre) in every step before the first one have under way."""
    found = nothing_underway(synapses, len(message), cells)
    for _ in range(synapses.slots - 1 if message.any() else 0):
        send(synapses, w, message, found)
        found = step_on(found)
    return found


# ---- names that backends can keep apart


def check_names(graph: Graph) -> None:
    """Raises E511 for a name that is no identifier, E512 for one that means something else there, and E513 for a group
    that cannot be divided so."""
    for problem in names_in_code(graph):
        raise CortexError("E511" if problem.code == "E209" else "E512", problem.message, problem.hint)
    for mirror in graph.mirrors:
        for name in (operation.partition(":")[2] for operation in mirror.operations):
            if name == "__metadata__" or name.startswith("table."):
                raise CortexError("E512", f"mirror '{mirror.target}' uses an array '{name}', a name that stands for "
                                          "something else in files.", "Rename it.")
    _check_groups(graph)


def _check_groups(graph: Graph) -> None:
    found = [(p.name, p.group, p) for p in graph.populations]
    found += [(q.name, q.group, graph.population(q.post)) for q in graph.projections]
    divided = [(name, group, population) for name, group, population in found if "+" in group]
    divisible = splittable(graph) if divided else frozenset()
    for name, group, population in divided:
        cells = sum(number for _, number in group_parts(group))
        if cells != population.size or population.name not in divisible:
            cannot = "" if population.name in divisible else " and cannot be divided"
            raise CortexError("E513", f"group '{group}' of '{name}' divides {cells} cells; population "
                                      f"'{population.name}' has {population.size}{cannot}.")
