"""The canonical text of a graph: `parse(show(graph)) == graph`; arrays travel beside it (safetensors).

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

import re
from collections.abc import Callable, Iterator
from dataclasses import replace

from compiler.ir import model
from compiler.ir.errors import CortexError, unknown
from compiler.ir.expressions import Number, number, parse, show
from compiler.ir.model import Graph

Block = tuple[int, list[str], list[tuple[int, str, str]]]


def show_graph(graph: Graph) -> str:
    """The canonical text, ending with a newline."""
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
        lines += _indent(f"{k} = {_float(v)}" for k, v in population.parameters)
    for projection in graph.projections:
        lines += [_projection(projection)]
        lines += _indent(f"{k} = {_float(v)}" for k, v in projection.parameters)
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
    return f"parameter {parameter.name} {parameter.unit}{default}"


def _state(state: model.State) -> str:
    kind = "" if state.dtype == "float64" else f" : {state.dtype} {number(state.scale)}"
    return f"state {state.name} = {show(state.initial)}{kind}"


def _cell(cell: model.CellType) -> Iterator[str]:
    for port in cell.ports:
        yield f"port {port.name} @ {port.compartment}"
    yield from map(_parameter, cell.parameters)
    for name in cell.inputs:
        yield f"input {name}"
    for name, kind in cell.noise:
        yield f"noise {name} {kind}"
    yield from map(_state, cell.states)
    for e in cell.equations:
        place = f" @ {e.compartment}" if e.compartment else ""
        yield f"{e.stage} {_left(e)} = {show(e.expression)}{place}"
    for name in cell.messages:
        yield f"message {name}"


def _left(equation: model.Equation) -> str:
    return f"d{equation.name}/dt" if equation.derivative else equation.name


def _rule(rule: model.PlasticityRule) -> Iterator[str]:
    yield from map(_parameter, rule.parameters)
    for name, kind in rule.noise:
        yield f"noise {name} {kind}"
    yield from map(_state, rule.states)
    for e in rule.updates:
        yield f"update {_left(e)} = {show(e.expression)}"
    yield f"increment {show(rule.increment)}"
    if rule.optimiser.kind != "none":
        yield f"optimiser {rule.optimiser.kind}({', '.join(map(show, rule.optimiser.arguments))})"


def _synapse(synapse: model.SynapseClass) -> Iterator[str]:
    yield f"message {synapse.message}"
    yield f"port {synapse.port}"
    default = model.SynapseClass("", "", "")
    for key in ("connectivity", "sign", "rule", "role"):
        if getattr(synapse, key) != getattr(default, key):
            yield f"{key} {getattr(synapse, key)}"
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


def parse_graph(text: str) -> Graph:
    """Raises E101..E104 with the line number; the result is not verified yet."""
    graph = Graph("unnamed")
    for line, head, body in _blocks(text):
        reader = READERS.get(head[0])
        if reader is None:
            raise unknown("E101", f"keyword in line {line}", head[0], READERS)
        try:
            graph = reader(graph, head[1:], body)
        except CortexError as error:
            raise CortexError(error.code, f"line {line}: {error.message}", error.hint) from None
        except (ValueError, IndexError, TypeError) as error:
            raise CortexError("E102", f"line {line}: cannot read '{' '.join(head)}': {error}.") from None
    return graph


def _blocks(text: str) -> Iterator[Block]:
    block: Block | None = None
    for index, raw in enumerate(text.splitlines(), 1):
        line = raw.split("#", 1)[0].rstrip()
        if not line:
            continue
        if line[0] != " ":
            if block:
                yield block
            block = (index, line.split(), [])
        elif block is None:
            raise CortexError("E103", f"line {index} is indented but opens no block: '{line.strip()}'.")
        else:
            word, _, rest = line.strip().partition(" ")
            block[2].append((index, word, rest.strip()))
    if block:
        yield block


def _entries(body: list[tuple[int, str, str]], known: dict[str, Callable[[str], None]]) -> None:
    for line, word, rest in body:
        if word not in known:
            raise unknown("E101", f"keyword in line {line}", word, known)
        try:
            known[word](rest)
        except CortexError as error:
            raise CortexError(error.code, f"line {line}: {error.message}", error.hint) from None
        except (ValueError, IndexError, TypeError) as error:
            raise CortexError("E102", f"line {line}: cannot read '{word} {rest}': {error}.") from None


def _definition(rest: str) -> tuple[str, str]:
    left, equals, right = rest.partition("=")
    if not equals or not right.strip():
        raise CortexError("E104", f"'{rest}' must have the form NAME = VALUE.")
    return left.strip(), right.strip()


def _read_parameter(rest: str) -> model.Parameter:
    head, _, default = rest.partition("=")
    name, *unit = head.split()
    return model.Parameter(name, unit[0] if unit else "1", float(default) if default.strip() else None)


def _read_state(rest: str) -> model.State:
    name, value = _definition(rest)
    value, _, kind = value.partition(":")
    dtype, *scale = kind.split() or ["float64"]
    return model.State(name, parse(value), dtype, float(scale[0]) if scale else 1.0)


def _read_equation(stage: str, rest: str) -> model.Equation:
    left, right = _definition(rest)
    text, _, compartment = right.partition("@")
    derivative = re.fullmatch(r"d(\w+)\s*/\s*dt", left)
    name = derivative.group(1) if derivative else left
    return model.Equation(name, parse(text), stage, compartment.strip() or None, bool(derivative))  # type: ignore


def _read_port(rest: str) -> model.Port:
    name, _, compartment = rest.partition("@")
    return model.Port(name.strip(), compartment.strip() or name.strip())


def _read_graph(graph: Graph, head: list[str], body: list[tuple[int, str, str]]) -> Graph:
    changes: dict[str, object] = {"name": head[0]}
    gates: list[str] = []

    def batch(rest: str) -> None:
        words = rest.split()
        changes.update(seeds=int(words[words.index("seeds") + 1]), samples=int(words[words.index("samples") + 1]))

    def noise(rest: str) -> None:
        kind, *order = rest.split()
        gate = next((w[5:] for w in order if w.startswith("gate=")), None)
        changes["noise"] = model.Noise(kind, tuple(w for w in order if not w.startswith("gate=")), gate)

    _entries(body, {"dt": lambda r: changes.update(dt=float(r)), "gate": gates.append, "batch": batch, "noise": noise})
    return graph.with_(gates=tuple(gates), **changes)


def _read_noise(rest: str, default: str) -> tuple[str, str]:
    name, *kind = rest.split()
    return name, kind[0] if kind else default


def _read_cell(graph: Graph, head: list[str], body: list[tuple[int, str, str]]) -> Graph:
    ports: list[model.Port] = []
    parameters: list[model.Parameter] = []
    inputs: list[str] = []
    noise: list[tuple[str, str]] = []
    states: list[model.State] = []
    equations: list[model.Equation] = []
    messages: list[str] = []

    known: dict[str, Callable[[str], None]] = {
        "port": lambda r: ports.append(_read_port(r)), "parameter": lambda r: parameters.append(_read_parameter(r)),
        "input": inputs.append, "noise": lambda r: noise.append(_read_noise(r, "normal")),
        "state": lambda r: states.append(_read_state(r)),
        "message": messages.append}
    for stage in model.STAGES:
        known[stage] = lambda r, stage=stage: equations.append(_read_equation(stage, r))  # type: ignore[misc]
    _entries(body, known)
    cell = model.CellType(head[0], tuple(ports), tuple(parameters), tuple(inputs), tuple(noise), tuple(states),
                          tuple(equations), tuple(messages))
    return graph.with_(cells=(*graph.cells, cell))


def _read_optimiser(rest: str) -> model.Optimiser:
    kind, _, arguments = rest.strip().removesuffix(")").partition("(")
    return model.Optimiser(kind.strip(), tuple(parse(a) for a in _split(arguments) if a.strip()))


def _split(text: str) -> list[str]:
    """Parts between the commas that stand outside parentheses."""
    parts, depth = [""], 0
    for letter in text:
        depth += (letter == "(") - (letter == ")")
        if letter == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    return parts


def _read_rule(graph: Graph, head: list[str], body: list[tuple[int, str, str]]) -> Graph:
    parameters: list[model.Parameter] = []
    states: list[model.State] = []
    updates: list[model.Equation] = []
    noise: list[tuple[str, str]] = []
    found: dict[str, object] = {"increment": Number(0.0)}
    _entries(body, {
        "noise": lambda r: noise.append(_read_noise(r, "uniform")),
        "parameter": lambda r: parameters.append(_read_parameter(r)), "state": lambda r: states.append(_read_state(r)),
        "update": lambda r: updates.append(_read_equation("factor", r)),
        "increment": lambda r: found.update(increment=parse(r)),
        "optimiser": lambda r: found.update(optimiser=_read_optimiser(r))})
    rule = model.PlasticityRule(head[0], parameters=tuple(parameters), states=tuple(states), updates=tuple(updates),
                                noise=tuple(noise), **found)  # type: ignore[arg-type]
    return graph.with_(rules=(*graph.rules, rule))


def _read_synapse(graph: Graph, head: list[str], body: list[tuple[int, str, str]]) -> Graph:
    found: dict[str, object] = {"message": "", "port": ""}

    def limits(rest: str) -> None:
        low, high = rest.split()
        found["limits"] = (float(low), float(high))

    known: dict[str, Callable[[str], None]] = {"limits": limits, "unit": lambda r: found.update(unit=float(r))}
    for key in ("message", "port", "connectivity", "sign", "rule", "role"):
        known[key] = lambda r, key=key: found.update({key: r})  # type: ignore[misc]
    _entries(body, known)
    return graph.with_(synapses=(*graph.synapses, model.SynapseClass(head[0], **found)))  # type: ignore[arg-type]


def _options(words: list[str], known: set[str]) -> dict[str, str]:
    table = dict(word.split("=", 1) for word in words)
    for key in table:
        if key not in known:
            raise unknown("E101", "option", key, known)
    return table


def _values(body: list[tuple[int, str, str]]) -> tuple[tuple[str, float], ...]:
    return tuple((word, float(rest.removeprefix("=").strip())) for _, word, rest in body)


def _read_population(graph: Graph, head: list[str], body: list[tuple[int, str, str]]) -> Graph:
    name, cell, size, *options = head
    table = _options(options, {"area", "group"})
    population = model.Population(name, cell, int(size), parameters=_values(body), **table)
    return graph.with_(populations=(*graph.populations, population))


def _read_blocks(text: str) -> tuple[tuple[int, ...], tuple[int, ...], tuple[tuple[int, int], ...]]:
    post, pre, pairs = text.split("/")
    split = [pair.split(":") for pair in pairs.split(",") if pair]
    return (tuple(map(int, post.split(","))), tuple(map(int, pre.split(","))),
            tuple((int(i), int(j)) for i, j in split))


def _read_convolution(text: str) -> model.Convolution:
    pre, post, rest = text.split("/")
    shapes = [tuple(int(v) for v in part.split("x")) for part in (pre, post)]
    return model.Convolution(shapes[0], shapes[1], *map(int, rest.split(",")))  # type: ignore[arg-type]


def _read_projection(graph: Graph, head: list[str], body: list[tuple[int, str, str]]) -> Graph:
    name, synapse, pre, arrow, post, *options = head
    if arrow != "->":
        raise CortexError("E104", f"'{' '.join(head)}' must have the form NAME CLASS PRE -> POST.")
    table = _options(options, {"delay", "gate", "apply", "group", "lowering", "blocks", "convolution"})
    projection = model.Projection(name, synapse, pre, post, int(table.get("delay", 1)), table.get("gate"),
                                  table.get("apply"), _values(body), group=table.get("group", ""),
                                  lowering=table.get("lowering", ""))
    if "blocks" in table:
        projection = replace(projection, blocks=_read_blocks(table["blocks"]))
    if "convolution" in table:
        projection = replace(projection, convolution=_read_convolution(table["convolution"]))
    return graph.with_(projections=(*graph.projections, projection))


def _when(mirror: model.Mirror) -> list[str]:
    return [*["after"] * mirror.after, *([f"gate={mirror.gate}"] if mirror.gate else [])]


def _read_mirror(graph: Graph, head: list[str], body: list[tuple[int, str, str]]) -> Graph:
    left, right = _definition(" ".join(head))
    source, _, words = right.partition(":")
    operations = tuple(word for word in words.split() if word != "after" and not word.startswith("gate="))
    gate = next((word[5:] for word in words.split() if word.startswith("gate=")), None)
    mirror = model.Mirror(left, source.strip(), operations, "after" in words.split(), gate)
    return graph.with_(mirrors=(*graph.mirrors, mirror))


def _read_output(graph: Graph, head: list[str], body: list[tuple[int, str, str]]) -> Graph:
    return graph.with_(outputs=(*graph.outputs, _definition(" ".join(head))))


READERS: dict[str, Callable[[Graph, list[str], list[tuple[int, str, str]]], Graph]] = {
    "graph": _read_graph, "cell": _read_cell, "rule": _read_rule, "synapse": _read_synapse,
    "population": _read_population, "projection": _read_projection, "mirror": _read_mirror, "output": _read_output}
