"""The function that makes and connects the processes of a circuit, and the process that they are together, as text."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from cortexc.compiler.backends.lava.ordinary.batch import of_cells, of_weights
from cortexc.compiler.backends.lava.ordinary.cells import Cell
from cortexc.compiler.backends.lava.ordinary.synapses import Synapse
from cortexc.compiler.backends.lava.ordinary.text import ClassText, in_lines
from cortexc.compiler.backends.quoting import quoted
from cortexc.compiler.backends.start import Start
from cortexc.compiler.ir.arrays import connection_mask
from cortexc.compiler.ir.expressions import number
from cortexc.compiler.ir.model import (
    Array,
    Graph,
    Population,
    Projection,
    cell_parameters,
    over_batch,
    rule_parameters,
    weight_shape,
)
from cortexc.compiler.ir.synapses import places_copied
from cortexc.compiler.passes.stock_phases import PhasePlan, StockSynapse
from cortexc.compiler.passes.stock_products import TAG


@dataclass
class Parts:
    """What becomes a process: populations and projections, by name, each with its class and its variable in `build`."""

    graph: Graph
    start: Start
    cells: dict[str, Cell]
    synapses: dict[str, Synapse]
    classes: dict[str, str] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    arrays: dict[str, Array] = field(default_factory=dict)
    plan: PhasePlan = field(default_factory=PhasePlan)
    """What stock processes are."""

    @property
    def all(self) -> dict[str, Cell | Synapse]:
        return {**self.cells, **self.synapses}


def build_text(parts: Parts, wired: list[Wire]) -> str:
    """The function that makes and wires all processes; fills in the arrays that it reads."""
    lines = ["def build(arrays, seed):", '    """The processes of the circuit, wired."""']
    for index, population in enumerate(parts.graph.populations):
        lines.append(_population_line(parts, population, index))
    for name in parts.synapses:
        lines.append(_projection_line(parts, parts.graph.projection(name)))
    lines += [_stock_line(parts, name, stock) for name, stock in parts.plan.stock.items()]
    lines += [f"    {parts.names[source]}.{out}.connect({parts.names[target]}.{into})"
              for source, out, target, into in wired]
    pairs = ", ".join(f"{quoted(name)}: {own}" for name, own in parts.names.items())
    return "\n".join(each for line in [*lines, f"    return {{{pairs}}}"] for each in in_lines(line))


def _list(parts: Parts, projection: Projection) -> list[str]:
    """The cells of the synapses of a list, by how many steps they are late, and their order."""
    name, found = projection.name, parts.start.synapses[projection.name]
    arguments = _cells(parts, projection)
    if found.delay is not None:
        size = parts.graph.population(projection.post).size
        underway = parts.start.values[f"{name}.underway"].reshape(parts.graph.batch, -1, size)
        arguments += [f"late={_array(parts, f'{name}.late', found.given(found.late))}",
                      f"underway={_array(parts, f'{name}.underway', of_cells(parts.graph, underway))}"]
    return arguments if found.order is None else [*arguments, f"order={_array(parts, f'{name}.order', found.order)}"]


def _cells(parts: Parts, projection: Projection) -> list[str]:
    """Of the synapses of a list on both sides, and how many there are."""
    found = parts.start.synapses[projection.name]
    sizes = tuple(parts.graph.population(each).size for each in (projection.pre, projection.post))
    return [*(_array(parts, f"{projection.name}.{side}", found.given(found.cells(side))) for side in ("pre", "post")),
            str(sizes)]


def _maps(parts: Parts, projection: Projection) -> list[str]:
    """The cells and the shapes of feature maps."""
    c, kind = projection.convolution, parts.graph.class_of(projection.name).kind
    if c is None:
        return []
    cells = tuple(parts.graph.population(each).size for each in (projection.pre, projection.post))
    return [str(cells), str((c.pre, c.post, c.kernel, c.stride, c.padding, c.pool, kind.back, kind.local))]


def _drawn(text: ClassText, stream: int) -> list[str]:
    draws = "seed" in text.parameters or text.fixed and "seed" in text.fixed.parameters
    return ["seed=seed", f"stream={stream}"] if draws else []


def _made(parts: Parts, name: str, arguments: list[str]) -> str:
    arguments += [f"fixed=fixed_of(arrays, {quoted(name)})"] if parts.all[name].text.fixed else []
    return f"    {parts.names[name]} = {parts.classes[name]}({', '.join([*arguments, f'name={quoted(name)}'])})"


def _population_line(parts: Parts, population: Population, index: int) -> str:
    cell, graph = parts.cells[population.name], parts.graph
    scalars = cell_parameters(graph, population)
    arguments = [str(population.size)]
    for parameter in graph.cell(population.cell).parameters:
        array = f"{population.name}.{parameter.name}"
        value = _of_cells(parts, array, over_batch(graph, graph.arrays[array], 1)) if array in graph.arrays else \
            number(scalars[parameter.name])
        if array in graph.arrays or scalars[parameter.name] != parameter.default:
            arguments.append(f"{cell.names[parameter.name]}={value}")
    for state in graph.cell(population.cell).states:
        if (array := f"{population.name}.{state.name}") in graph.arrays:
            arguments.append(f"{cell.names[state.name]}={_of_cells(parts, array, parts.start.values[array])}")
    arguments += [f"{own}={_array(parts, f'table.{table}', graph.arrays[f'table.{table}'])}"
                  for table, own in cell.tables.items()]
    return _made(parts, population.name, [*arguments, *_drawn(cell.text, index)])


def _array(parts: Parts, name: str, values: Array) -> str:
    parts.arrays[name] = np.asarray(values, np.float64)
    return f"arrays[{quoted(name)}]"


def _of_cells(parts: Parts, name: str, values: Array) -> str:
    """One for the whole batch, or one per element."""
    return _array(parts, name, of_cells(parts.graph, values))


def _of_weights(parts: Parts, projection: str, name: str, values: Array) -> str:
    """One for all copies of a projection's weights, or one per copy."""
    rank = len(weight_shape(parts.graph, parts.graph.projection(projection)))
    copies = values if np.ndim(values) > rank else np.asarray(values)[None]
    return _array(parts, name, of_weights(parts.graph, projection, copies))


def _projection_line(parts: Parts, projection: Projection) -> str:
    graph, name, synapse = parts.graph, projection.name, parts.synapses[projection.name]
    rule, values = graph.rule_of(projection), parts.start.values
    weighted = graph.class_of(name).kind.weighted
    arguments = [_of_weights(parts, name, f"{name}.w", values[f"{name}.w"]) if weighted else
                 str(graph.population(projection.post).size)]
    arguments += _list(parts, projection) if graph.class_of(name).kind.listed else _maps(parts, projection)
    if "mask" in synapse.text.variables:
        mask = connection_mask(graph, projection)
        assert mask is not None
        arguments.append(_of_weights(parts, name, f"{name}.mask", mask))
    if rule:
        scalars = rule_parameters(graph, projection)
        arguments += [f"{synapse.names[p.name]}={number(scalars[p.name])}" for p in rule.parameters
                      if scalars[p.name] != p.default]
        for learnt in rule.learnt:
            if f"{name}.{learnt}" in graph.arrays:
                own = synapse.names.get(learnt, learnt)
                array = f"{name}.{learnt}"
                arguments.append(f"{own}={_of_weights(parts, name, array, values[array])}")
    for (side, quantity), own in synapse.starts.items():
        owner = projection.pre if side == "pre" else projection.post
        arguments.append(f"{own}={parts.names[owner]}.{parts.cells[owner].names[quantity]}.init")
    arguments += [f"{own}={_of_weights(parts, name, array, graph.arrays[array])}"
                  for own, array in synapse.mirrors.arrays.items()]
    arguments += [f"{own}={_array(parts, f'table.{table}', graph.arrays[f'table.{table}'])}"
                  for table, own in synapse.tables.items()]
    arguments += _drawn(synapse.text, 16 * graph.projections.index(projection))
    for i, port in synapse.mirrors.ins.items():
        source = graph.mirrors[i].source
        shape = of_weights(graph, source, parts.start.values[f"{source}.w"]).shape
        arguments.append(f"{port.removesuffix('_in')}_shape={shape}")
    for i, own in synapse.mirrors.places.items():
        lists = parts.start.synapses
        copied = places_copied(graph.mirrors[i], lists[graph.mirrors[i].source], lists[name])
        arguments.append(f"{own}={_array(parts, f'{name}.{own}', copied)}")
    return _made(parts, name, arguments)


def _stock_line(parts: Parts, name: str, stock: StockSynapse) -> str:
    """Signed weights that do not learn are twice as large, since Lava clears their lowest bit."""
    mask = connection_mask(parts.graph, parts.graph.projection(name))
    weights = parts.start.values[f"{name}.w"][0]
    mask = None if mask is None else np.reshape(mask, weights.shape) != 0
    given = _array(parts, f"{name}.w", weights if mask is None else weights * mask)
    units = f"integers({given}, {number(stock.unit)})"
    if stock.listed:
        pre, post, cells = _cells(parts, parts.graph.projection(name))
        units = f"sparse({units}, {pre}, {post}, {cells})"
    doubled = stock.sign == "MIXED" and not stock.rule
    arguments = [f"weights={'2 * ' * doubled}{units}", f"weight_exp={-1 if doubled else 0}",
                 f"sign_mode=SignMode.{stock.sign}", "num_message_bits=24"]
    if stock.rule:
        bits = 9 if stock.sign == "MIXED" else 8
        impulse = f", {stock.rule.impulse}" if stock.rule.event else ""
        dw = quoted(stock.rule.dw.replace(" ", ""))
        arguments += [f"num_weight_bits={bits}", "graded_spike_cfg=GradedSpikeCfg.OVERWRITE",
                      f"learning_rule=three_factors({dw}, {parts.plan.phases}{impulse})"]
        arguments += [f"tag_1={TAG} * {_array(parts, f'{name}.mask', mask)}"] if mask is not None else []
    if stock.delayed:
        late = parts.start.synapses[name]
        steps = f"{parts.plan.phases} * integers({_array(parts, f'{name}.late', late.given(late.late))}, 1)"
        arguments.append(f"delays=sparse({steps}, {pre}, {post}, {cells}).astype(int)")
    made = f"stock{'_sparse' if stock.listed else ''}.{stock.process}"
    return f"    {parts.names[name]} = {made}({', '.join([*arguments, f'name={quoted(name)}'])})"


Wire = tuple[str, str, str, str]
"""(process, its out-port, process, its in-port)."""


def wires(parts: Parts) -> list[Wire]:
    """From cells into projections, from there into ports; messages that arrive as they are; weights that are copied."""
    found = [wire for projection in parts.graph.projections for wire in _wires(parts, projection)]
    for i, mirror in enumerate(parts.graph.mirrors):
        source, target = parts.synapses[mirror.source].mirrors.outs[i], parts.synapses[mirror.target].mirrors.ins[i]
        found.append((mirror.source, source, mirror.target, target))
    return found


def _wires(parts: Parts, projection: Projection) -> list[Wire]:
    graph, name, port = parts.graph, projection.name, _port(parts, projection)
    if name in parts.plan.stock:
        owners = dict.fromkeys((projection.pre, projection.post))
        fed = [(owner, out, name, into) for owner in owners
               for (each, into), out in parts.cells[owner].stock.items() if each == name]
        return [*fed, (name, "a_out", projection.post, port)]
    if name not in parts.synapses:
        message = parts.cells[projection.pre].sends[graph.class_of(name).message]
        return [(projection.pre, message, projection.post, port)]
    found = []
    for (side, quantity), own in parts.synapses[name].takes.items():
        owner = projection.pre if side == "pre" else projection.post
        found.append((owner, parts.cells[owner].sends[quantity], name, own))
    return [*found, (name, "current_out", projection.post, port)]


def _port(parts: Parts, projection: Projection) -> str:
    port = parts.graph.class_of(projection.name).port
    number_ = [q.name for q in parts.graph.into(projection.post, port)].index(projection.name)
    ports = parts.cells[projection.post].ports
    return ports.get((port, number_), ports[port, 0])


def circuit_text(parts: Parts) -> str:
    """The hierarchical process."""
    graph = parts.graph
    populations = "(" + "".join(f"{quoted(p.name)}, " for p in graph.populations) + ")"
    gates = "".join(f"\n            {quoted(gate)}: [{', '.join(_gate_ports(parts, gate))}],"
                    for gate in graph.gates)
    return f'''class Circuit(Whole):
    """The circuit as one process: `circuit.populations["NAME"].STATE` and `circuit.projections["NAME"].w` are Vars,
    `circuit.NAME_INPUT_in` and `circuit.NAME_MESSAGE_out` ports, `circuit.gates["NAME"]` is set, or fed by a port.

    `arrays`: by name, in place of those of arrays.npz. `gates`: gate -> a number; on where it is above 0.
    """

    def __init__(self, arrays=(), gates=(), seed=1, name={quoted(graph.name)}):
        with np.load(Path(__file__).with_name("arrays.npz")) as stored:
            parts = build({{**stored, **dict(arrays)}}, seed)
        super().__init__(name, parts, {populations}, {{{gates}
        }})
        for gate, value in dict(gates).items():
            self.gates[gate].set(value)


@implements(Circuit, protocol=LoihiProtocol)
@tag("floating_pt", "fixed_pt")
class CircuitModel(Wired):
    """All processes of the circuit."""


if __name__ == "__main__":
    import sys

    from lava.magma.core.run_conditions import RunSteps
    from lava.magma.core.run_configs import Loihi2SimCfg

    circuit = Circuit()
    circuit.run(RunSteps(int(sys.argv[1]) if len(sys.argv) > 1 else 10), Loihi2SimCfg())
    circuit.stop()'''


def _gate_ports(parts: Parts, gate: str) -> list[str]:
    return [f"parts[{quoted(name)}].{port}" for name, part in parts.all.items() for port in part.gates.get(gate, ())]
