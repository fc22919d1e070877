"""Quantities of a running session, by the names of the IR: what is read and set between two steps.

Weights, optimisers' and synapses' states (`W.w`, `W.low_pass`, `W.e`), states of populations (`B.v`), parameters of
cells and rules (`B.tau`, `W.eta`). Shapes are those of the arrays that a graph binds: weights (n_post, n_pre), states
and parameters of cells (n,), with a leading axis where the session has seeds or samples; a rule's are numbers.

X201 an unknown quantity; X202 a quantity that is not kept, or cannot be set in this program; X203 a wrong shape or
type; X204 a value that the quantity cannot take.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from cortexc.compiler.experiments.compilation import Compiled
from cortexc.compiler.experiments.running import Running
from cortexc.compiler.ir import CortexError, Graph, parse_graph, unknown
from cortexc.compiler.ir.arrays import connection_mask
from cortexc.compiler.ir.expressions import reads
from cortexc.compiler.ir.model import Population, Projection, cell_parameters, rule_parameters, weight_shape
from cortexc.compiler.passes import observable
from cortexc.compiler.passes.defer_decay import LAZY
from cortexc.compiler.passes.discretise import with_constants
from cortexc.compiler.passes.group_weights import in_parts

Owner = Population | Projection


def get(run: Running, name: str) -> np.ndarray:
    """A copy of the quantity's value after the last step. Raises X201, X202."""
    graph, key = run.compiled.graph, name.partition(".")[2]
    match parameters(graph).get(name):
        case Projection() as owner:
            return np.array(rule_parameters(graph, owner)[key])
        case Population() as owner:  # (n,), or with its batch axis where it was bound so
            return np.array(graph.arrays.get(name, np.full(owner.size, cell_parameters(graph, owner).get(key))), float)
    known = observable(graph) | set(states(graph))
    if name not in known:
        raise unknown("X201", f"quantity of circuit '{graph.name}'", name, known | set(parameters(graph)))
    value = _kept(run, name)
    return np.array(value[0] if len(value) == 1 and (graph.batch == 1 or name in synaptic(graph)) else value)


def set_state(run: Running, name: str, value: Any) -> None:
    """Sets what is kept from step to step. Raises X201 to X204."""
    graph = run.compiled.graph
    known = states(graph)
    if name not in known:
        raise unknown("X201", f"weight, state or parameter of circuit '{graph.name}'", name,
                      {*known, *parameters(graph)})
    lowered, parts = run.compiled.report.graph, in_parts([name], run.compiled.parts)
    for part in parts:
        _refuse(run, part)
    whole = (len(_kept(run, name)), *known[name])
    array = np.broadcast_to(shaped(name, value, known[name], whole), whole)
    own = {name: array} if parts == (name,) else {
        part: array * lowered.arrays[f"{part.partition('.')[0]}.mask"] for part in parts}
    for part, values in own.items():
        _check_values(lowered, part, values)
    for part, values in own.items():
        run.runner.put(part, values)


# ---- what there is


def synaptic(graph: Graph) -> dict[str, tuple[int, ...]]:
    """Weights, optimisers' and synapses' states, with their shapes."""
    owners = [(q, graph.rule_of(q), weight_shape(graph, q)) for q in graph.projections]
    return {f"{q.name}.{key}": shape for q, rule, shape in owners if shape
            for key in ("w", *(rule.learnt if rule else ()))}


def of_cells(graph: Graph) -> dict[str, tuple[int, ...]]:
    """States of populations, with their shapes."""
    return {f"{p.name}.{s.name}": (p.size,) for p in graph.populations for s in graph.cell(p.cell).states}


def states(graph: Graph) -> dict[str, tuple[int, ...]]:
    """Everything that is kept from step to step."""
    return synaptic(graph) | of_cells(graph)


def waiting(graph: Graph) -> list[str]:
    """States of synapses that a pass lets wait for events; a value that is set is up to date, and so are all."""
    return [f"{q.name}.{state.name}" for q in graph.projections if q.lowering == LAZY and (rule := graph.rule_of(q))
            for state in rule.states]


def parameters(graph: Graph) -> dict[str, Owner]:
    """`population.parameter` and `projection.parameter` -> the owner."""
    owners = [(p, graph.cell(p.cell)) for p in graph.populations] + [(q, graph.rule_of(q)) for q in graph.projections]
    return {f"{owner.name}.{p.name}": owner for owner, kind in owners if kind for p in kind.parameters}


# ---- what a value must be


def numbers(name: str, value: Any) -> np.ndarray:
    """float64. Raises X203 for what is no array of numbers, X204 for values that are not finite."""
    if isinstance(value, np.ma.MaskedArray):
        raise CortexError("X203", f"the value of '{name}' is a masked array, and what lies under a mask is no value.",
                          "Fill it first.")
    try:
        array = np.array(value)
        if array.dtype.kind not in "biuf":
            raise TypeError(str(array.dtype))
    except (TypeError, ValueError) as error:
        raise CortexError("X203", f"the value of '{name}' is no array of real numbers ({error}).") from None
    array = array.astype(np.float64)
    if not np.isfinite(array).all():
        index = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
        raise CortexError("X204", f"the value of '{name}' is {array[index]} at index {index}; it must be finite.")
    return array


def shaped(name: str, value: Any, *shapes: tuple[int, ...]) -> np.ndarray:
    """float64 in one of the shapes. Raises X203, X204."""
    array = numbers(name, value)
    if array.shape not in shapes:
        known = " or ".join(map(str, dict.fromkeys(shapes)))
        raise CortexError("X203", f"the value of '{name}' has shape {array.shape}, expected {known}.")
    return array


def _check_values(graph: Graph, name: str, array: np.ndarray) -> None:
    """Raises X204 for weights beyond limits, sign, unit or mask, and for states that are no integers of theirs."""
    owner, _, key = name.partition(".")
    projection = next((q for q in graph.projections if q.name == owner), None)
    state = None if projection else graph.cell_of(owner).state(key)
    if projection and key == "w" and array.size:
        _check_weights(graph, projection, array)
    if state and state.dtype != "float64" and array.size:
        most = 2.0 ** (int(state.dtype.removeprefix("int")) - 1) * state.scale
        _on_grid(name, array, state.scale, f"dtype {state.dtype}")
        _within(name, array, -most, most - state.scale, f"dtype {state.dtype}")


def _check_weights(graph: Graph, q: Projection, array: np.ndarray) -> None:
    synapse, mask = graph.class_of(q.name), connection_mask(graph, q)
    _within(f"{q.name}.w", array, *synapse.bounds, f"synapse class '{synapse.name}' ({synapse.sign})")
    if synapse.unit:
        _on_grid(f"{q.name}.w", array, synapse.unit, f"synapse class '{synapse.name}'")
    if mask is not None and np.any(array * (1 - mask)):
        raise CortexError("X204", f"the value of '{q.name}.w' is not 0 where projection '{q.name}' has no synapse.",
                          "Multiply it with the mask.")


def _within(name: str, array: np.ndarray, low: float, high: float, who: str) -> None:
    if array.min() < low or array.max() > high:
        raise CortexError("X204", f"the value of '{name}' spans [{array.min()}, {array.max()}]; {who} allows "
                                  f"[{low}, {high}].")


def _on_grid(name: str, array: np.ndarray, unit: float, who: str) -> None:
    if np.any(np.floor(array / unit) * unit != array):
        raise CortexError("X204", f"the value of '{name}' has other numbers than multiples of {unit}, the unit of "
                                  f"{who}.", "Round it first.")


# ---- what the program has made of it


def _kept(run: Running, name: str) -> np.ndarray:
    """The value as the runner has it, (copies or batch, ...). Raises X202 where a pass or the lowering left it out."""
    try:
        return run.value(name)
    except KeyError:
        records = run.compiled.report.records
        found = next((record.name for record in records if name not in observable(parse_graph(record.text))), "")
    by = f"pass '{found}' left it out" if found else "nothing reads it in a later step"
    or_disable = f'; or leave the pass out: passes.disable = ["{found}"]' if found else ""
    raise CortexError("X202", f"'{name}' is not kept: {by}.",
                      f"Observe it: list it in the quantities of a [record.NAME]{or_disable}.")


def _refuse(run: Running, name: str) -> None:
    """Raises X202 for what is overwritten, or lives on in another form."""
    graph, (owner, _, key) = run.compiled.report.graph, name.partition(".")
    if run.experiment.run.stock:
        raise _fixed(name, "stock Lava processes keep values of their own.",
                     "Run without run.stock, with the same results.")
    mirror = next((m for m in graph.mirrors if m.target == owner and key == "w"), None)
    if mirror:
        raise _fixed(name, f"a mirror copies '{mirror.source}' into it.", f"Set '{mirror.source}.w'.")
    for q in graph.projections:
        if q.lowering == "hoisted" and (owner == q.name or name == f"{q.pre}.{graph.class_of(q.name).message}"):
            raise _hoisted(name, q)


def _hoisted(name: str, q: Projection) -> CortexError:
    return _fixed(name, f"pass 'hoist-constant-input' keeps '{q.name}' in another form while a presentation lasts.",
                  'Leave the pass out: passes.disable = ["hoist-constant-input"].')


def _fixed(name: str, why: str, hint: str) -> CortexError:
    return CortexError("X202", f"'{name}' cannot be set: {why}", hint)


# ---- parameters


def with_parameters(run: Running, values: Mapping[str, np.ndarray]) -> Compiled:
    """The compiled experiment with other parameters, in its graph and in what the passes have made of it. Raises X201
    to X204."""
    compiled = run.compiled
    for name, value in values.items():
        _check_parameter(run, compiled, name)
        source = _with_parameter(compiled.graph, name, value)
        lowered = _with_parameter(compiled.report.graph, name, value)
        compiled = replace(compiled, graph=source, report=replace(compiled.report, graph=lowered))
    return compiled


def _check_parameter(run: Running, compiled: Compiled, name: str) -> None:
    if run.experiment.precision.weights:
        raise _fixed(name, "in fixed point, parameters are in the formats.",
                     "Start another session with the value in its circuit.")
    if run.experiment.run.stock or run.edited:
        raise _fixed(name, "the code that runs is not generated from the graph.",
                     "Run without run.stock and without a compiled folder.")
    if _solved_with(compiled.graph, name):
        raise _fixed(name, "its cell's integrator 'exact' solved the equations with it before the run.",
                     "Use another integrator, or start a session with the new value.")
    if changed_by := _folded_by(compiled, name):
        raise _fixed(name, f"pass '{changed_by}' has computed with it.",
                     f'Leave the pass out: passes.disable = ["{changed_by}"].')
    graph, owner = compiled.report.graph, name.partition(".")[0]
    for q in graph.projections:
        if q.lowering == "hoisted" and owner in (q.name, q.pre):
            raise _hoisted(name, q)


def _solved_with(graph: Graph, name: str) -> bool:
    """Whether an exact integrator has computed with a parameter."""
    owner, graph = name.partition(".")[0], with_constants(graph)
    cells = [graph.cell(p.cell) for p in graph.populations if p.name == owner]
    derived = {e.name for cell in cells if cell.integrator == "exact" for e in cell.equations if e.derivative}
    return not derived.isdisjoint(_readers(graph, name))


def _folded_by(compiled: Compiled, name: str) -> str:
    """The first pass after which an equation that it kept no longer reads the parameter, or the parameter is gone."""
    readers = _readers(with_constants(compiled.graph), name)
    for record in compiled.report.records:
        graph = parse_graph(record.text)
        still = readers & _equations(graph, name).keys()
        if still - _readers(graph, name, _equations(compiled.graph, name)) or name not in parameters(graph):
            return record.name
    return ""


def _equations(graph: Graph, name: str) -> dict[str, set[str]]:
    """Equations of the parameter's owner, with what each reads; a rule's increment and optimiser are two of them."""
    owner = name.partition(".")[0]
    for p in graph.populations:
        if p.name == owner:
            return {e.name: reads(e.expression) for e in graph.cell(p.cell).equations}
    rule = graph.rule_of(graph.projection(owner))
    if rule is None:
        return {}
    arguments = set[str]().union(*map(reads, rule.optimiser.arguments))
    return {**{u.name: reads(u.expression) for u in rule.updates}, "increment": reads(rule.increment),
            "optimiser": arguments}


def _readers(graph: Graph, name: str, written: Collection[str] | None = None) -> set[str]:
    """Equations that read the parameter; also through others that a pass made, where the `written` ones are known."""
    equations, found = _equations(graph, name), {name.partition(".")[2]}
    made = set() if written is None else equations.keys() - written
    while more := {key for key in made if equations[key] & found} - found:
        found |= more
    return {key for key, read in equations.items() if read & found}


def fitting_parameter(graph: Graph, name: str, value: Any) -> np.ndarray:
    """The value in one of the shapes in which the graph takes it. Raises X203, X204."""
    owner = parameters(graph)[name]
    if isinstance(owner, Projection):
        return shaped(name, value, ())
    return shaped(name, value, (), (owner.size,), (graph.seeds, owner.size), (graph.batch, owner.size))


def _with_parameter(graph: Graph, name: str, value: np.ndarray) -> Graph:
    owner, key = parameters(graph)[name], name.partition(".")[2]
    others = tuple(item for item in owner.parameters if item[0] != key)
    arrays = {array: held for array, held in graph.arrays.items() if array != name}
    if value.ndim:
        arrays[name] = value
    changed: Any = replace(owner, parameters=others if value.ndim else (*others, (key, float(value))))
    kind = "populations" if isinstance(owner, Population) else "projections"
    return graph.with_(arrays=arrays, **{kind: tuple(changed if each.name == owner.name else each
                                                     for each in getattr(graph, kind))})
