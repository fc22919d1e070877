"""The canonical text of a graph, as it is written; `compiler.ir.reader` reads it: `parse_graph(show_graph(g)) == g`.
Arrays travel beside it (safetensors).

Two-level text: a keyword opens a block, indented lines describe it. `#` starts a comment.

    graph chain
      dt 0.01
      gate learn
    cell rate_unit
      port basal @ basal
      parameter tau ms = 5
      state u = 0
      send rate = logistic(prev(u))
      receive u = prev(u) + dt * (basal - prev(u)) / tau
      message rate
    rule hebb
      parameter eta 1/ms
      increment dt * eta * post.u * prev(pre.rate)
    synapse forward
      message rate
      port basal
      rule hebb
    population hidden rate_unit 3 area=L1
      tau = 4
    projection W forward input -> hidden gate=learn
      eta = 0.1
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from cortexc.compiler.ir import model
from cortexc.compiler.ir.errors import check_type
from cortexc.compiler.ir.expressions import number, show
from cortexc.compiler.ir.model import Graph
from cortexc.compiler.ir.wiring_text import place_line, wiring_lines


def show_graph(graph: Graph) -> str:
    """The canonical text, ending with a newline."""
    check_type("show_graph", graph, Graph, "a Graph")
    lines = [f"graph {graph.name}", *_indent(_header(graph))]
    for cell in graph.cells:
        lines += [f"cell {cell.name}", *_indent(_cell(cell))]
    for rule in graph.rules:
        lines += [f"rule {rule.name}", *_indent(_rule(rule))]
    for synapse in graph.synapses:
        lines += [f"synapse {synapse.name}", *_indent(_synapse(synapse))]
    for population in graph.populations:
        area = "".join(f" {k}={getattr(population, k)}" for k in ("area", "group") if getattr(population, k))
        lines += [f"population {population.name} {population.cell} {population.size}{area}"]
        lines += _indent([place_line(population.place)] if population.place else [])
        lines += _indent(_given(population))
        lines += _indent(f"{k} = {_distribution(v, dict(population.units).get(k, ''))}" for k, v in population.drawn)
    for projection in graph.projections:
        lines += [_projection(projection)]
        lines += _indent(wiring_lines(projection.wiring, projection.weights, projection.delays))
        lines += _indent(_given(projection))
    lines += [f"mirror {m.target} = {m.source} : {' '.join((*m.operations, *_when(m)))}" for m in graph.mirrors]
    lines += [f"output {name} = {quantity}" for name, quantity in graph.outputs]
    return "\n".join(lines) + "\n"


def _float(value: float) -> str:
    return "-" + number(-value) if str(value)[0] == "-" else number(value)


def _indent(lines: Iterator[str] | list[str]) -> list[str]:
    return ["  " + line for line in lines]


def _header(graph: Graph) -> Iterator[str]:
    yield f"dt {number(graph.dt)}"
    if graph.seeds != 1 or graph.samples != 1:
        yield f"batch seeds {graph.seeds} samples {graph.samples}"
    for gate in graph.gates:
        yield f"gate {gate}"
    if graph.noise != model.Noise():
        gate = f" gate={graph.noise.gate}" if graph.noise.gate else ""
        yield f"noise {graph.noise.kind}{gate} {' '.join(graph.noise.order)}".rstrip()


def _parameter(parameter: model.Parameter) -> str:
    default = "" if parameter.default is None else f" = {_float(parameter.default)}"
    default = default if parameter.formula is None else f" = {show(parameter.formula)}"
    return f"parameter {_of(parameter.name, parameter.unit)}{default}"


def _of(name: str, unit: str) -> str:
    return f"{name} {unit}".rstrip()


def _state(state: model.State, units: dict[str, str]) -> str:
    kind = "" if state.dtype == "float64" else f" : {state.dtype} {number(state.scale)}"
    return f"state {_of(state.name, units.pop(state.name, ''))} = {show(state.initial)}{kind}"


def _cell(cell: model.CellType) -> Iterator[str]:
    units = dict(cell.units)
    for port in cell.ports:
        yield f"port {_of(port.name, units.pop(port.name, ''))} @ {port.compartment}"
    yield from map(_parameter, cell.parameters)
    for name in cell.inputs:
        yield f"input {_of(name, units.pop(name, ''))}"
    for name, kind in cell.noise:
        yield f"noise {name} {kind}"
    yield from (_state(state, units) for state in cell.states)
    for e in cell.equations:
        place = f" @ {e.compartment}" if e.compartment else ""
        start = f" from {show(e.start)}" if e.start else ""
        yield f"{e.stage} {_of(_left(e), units.pop(e.name, ''))} = {show(e.expression)}{start}{place}"
    if cell.integrator != "euler":
        yield f"integrator {cell.integrator}"
    for name in cell.messages:
        yield f"message {name}{' late' * (name in cell.late)}"


def _given(owner: model.Population | model.Projection) -> Iterator[str]:
    units = dict(owner.units)
    yield from (f"{name} = {_of(_float(value), units.get(name, ''))}" for name, value in owner.parameters)


def _distribution(drawn: model.Distribution, unit: str) -> str:
    seed = f" seed={drawn.seed}" if drawn.seed else ""
    return f"{drawn.kind}({', '.join(_of(_float(value), unit) for value in drawn.arguments)}){seed}"


def _left(equation: model.Equation) -> str:
    return f"d{equation.name}/dt" if equation.derivative else equation.name


def _rule(rule: model.PlasticityRule) -> Iterator[str]:
    yield from map(_parameter, rule.parameters)
    for name, kind in rule.noise:
        yield f"noise {name} {kind}"
    units = dict(rule.units)
    yield from (_state(state, units) for state in rule.states)
    for e in rule.updates:
        yield f"update {_left(e)} = {show(e.expression)}"
    yield f"increment {show(rule.increment)}"
    if rule.shapes:
        yield f"deliver {show(rule.deliver)}"
    if rule.optimiser.kind != "none":
        yield f"optimiser {rule.optimiser.kind}({', '.join(map(show, rule.optimiser.arguments))})"


def _synapse(synapse: model.SynapseClass) -> Iterator[str]:
    yield f"message {synapse.message}"
    yield f"port {synapse.port}"
    default = model.SynapseClass("", "", "")
    for key in ("connectivity", "sign", "rule", "role"):
        if getattr(synapse, key) != getattr(default, key):
            yield f"{key} {getattr(synapse, key)}"
    if synapse.weight:
        yield f"weight {synapse.weight}"
    if synapse.unit:
        yield f"unit {_float(synapse.unit)}"
    if synapse.limits != default.limits:
        yield f"limits {_float(synapse.limits[0])} {_float(synapse.limits[1])}"


def _projection(p: model.Projection) -> str:
    words = [f"projection {p.name} {p.synapse} {p.pre} -> {p.post}"]
    words += [f"delay={p.delay}"] if p.delay != 1 else []
    words += [f"{key}={getattr(p, key)}" for key in ("gate", "apply", "group", "lowering") if getattr(p, key)]
    if p.blocks:
        post, pre, pairs = p.blocks
        joined = ",".join(f"{i}:{j}" for i, j in pairs)
        words += [f"blocks={','.join(map(str, post))}/{','.join(map(str, pre))}/{joined}"]
    if p.convolution:
        c = p.convolution
        shapes = "x".join(map(str, c.pre)) + "/" + "x".join(map(str, c.post))
        words += [f"convolution={shapes}/{c.kernel},{c.stride},{c.padding},{c.pool}"]
    return " ".join(words)


def _when(mirror: model.Mirror) -> list[str]:
    return [*["after"] * mirror.after, *([f"gate={mirror.gate}"] if mirror.gate else [])]


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """The lines of a table, its columns below each other."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
