"""Weights that other projections copy: sent whole in every step, as messages."""

from __future__ import annotations

from dataclasses import dataclass, field

from cortexc.compiler.backends.feeding import redrawn
from cortexc.compiler.backends.lava.ordinary.batch import weight_axes, with_axes
from cortexc.compiler.backends.lava.ordinary.naming import attribute
from cortexc.compiler.backends.lava.ordinary.text import ClassText
from cortexc.compiler.ir.model import Graph, Mirror, Projection


@dataclass
class Mirroring:
    """Lines before and after the weights' own step. `outs` and `ins`: ports, by number of the mirror, `places`: Vars of
    lists; `arrays`: Var -> the graph's array."""

    before: list[str] = field(default_factory=list)
    after: list[str] = field(default_factory=list)
    outs: dict[int, str] = field(default_factory=dict)
    ins: dict[int, str] = field(default_factory=dict)
    arrays: dict[str, str] = field(default_factory=dict)
    places: dict[int, str] = field(default_factory=dict)
    overwritten: bool = False


def mirroring(graph: Graph, projection: Projection, text: ClassText) -> Mirroring:
    made = Mirroring()
    for i, mirror in enumerate(graph.mirrors):
        lines = made.after if mirror.after else made.before
        if mirror.source == projection.name:
            made.outs[i] = text.port("w" if not made.outs else f"w_{len(made.outs) + 1}", "Out", "w.shape")
            lines.append(f"self.{made.outs[i]}.send(self.w)")
        if mirror.target == projection.name:
            made.overwritten = True
            lines += _copy(graph, mirror, i, made, text)
    return made


def _copy(graph: Graph, mirror: Mirror, i: int, made: Mirroring, text: ClassText) -> list[str]:
    source = graph.projection(mirror.source)
    sizes = graph.population(source.post).size, graph.population(source.pre).size
    name = "source" if not made.ins else f"source_{len(made.ins) + 1}"
    text.arguments.insert(-1, f"{name}_shape={sizes}")
    made.ins[i] = text.port(name, "In", f"{name}_shape", "weights that these are a copy of")
    copies = weight_axes(graph, mirror.target)
    value = with_axes(f"self.{made.ins[i]}.recv()", len(copies) - len(weight_axes(graph, mirror.source)))
    if graph.class_of(mirror.target).kind.listed:
        made.places[i] = f"{name}_places"
        text.arguments.insert(-1, f"{made.places[i]}=0.0")
        text.variable(made.places[i], f"np.shape({made.places[i]})", made.places[i], "which synapse each is a copy of")
        value = f"{value}[..., self.{made.places[i]}.astype(int)]"
    draws = mirror in redrawn(graph) and graph.noise.kind != "none"
    stream = redrawn(graph).index(mirror) if draws else None
    for operation in mirror.operations:
        value = f"({value}).swapaxes(0, 1)" if operation == "transpose" and copies else \
            _operated(operation, value, made, text, stream)
    if not mirror.gate:
        return [f"self.w[:] = {value}"]
    return [f"copy = {value}", f"if self.gate_{mirror.gate}[0] > 0:", "    self.w[:] = copy"]


def _operated(operation: str, value: str, made: Mirroring, text: ClassText, stream: int | None) -> str:
    word, _, array = operation.partition(":")
    if word == "transpose" and made.places:
        return value
    if word == "transpose":
        return f"({value}).T" if " " in value else f"{value}.T"
    if word == "negate":
        return f"-({value})"
    if word == "truncate":
        return f"truncated({value}, self.w.shape)"
    if word == "sign":
        return f"sign({value})"
    name = attribute(array.rpartition(".")[2], text.members())
    made.arrays[name] = array
    text.arguments.insert(-1, f"{name}=0.0")
    text.variable(name, "np.shape(w)", name)
    if word == "redraw" and stream is None:
        return f"{value} * (self.{name} * 0.0)"
    if word == "redraw":
        return f"redrawn({value}, self.{name}, self.seed, {stream}, self.time_step)"
    return f"({value} {'+' if word == 'add' else '*'} self.{name})"
