"""A graph as a NIR network, where NIR can say it. N109: what it cannot say."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np

from cortexc.compiler.front.nir.cells import CURRENTS, MS, NEURONS, RESETS, Choices, cell_text, message, unit
from cortexc.compiler.front.nir.reading import TOLD, package, read
from cortexc.compiler.front.nir.sidecar import sidecar, static
from cortexc.compiler.front.nir.wiring import ARRIVALS, Order
from cortexc.compiler.ir import CellType, CortexError, Graph, Parameter, Population, Projection, parse_graph, unknown
from cortexc.compiler.ir.firing import fresh
from cortexc.compiler.ir.model import cell_parameters, weight_shape
from cortexc.compiler.ir.schedule import message_depth
from cortexc.compiler.ir.verify import verify

KINDS = (*NEURONS, "Input", "Threshold", "Affine", "Relay")
SAID = ("dense", "one_to_one", "identity", "convolution", "masked", "sparse")
CONCERNED = {"reset": ("IF", "LIF", "CubaLIF"), "current": ("CubaLI", "CubaLIF"), "integrator": tuple(NEURONS)}
"""What NIR does not say -> the kinds of nodes that need it."""


def to_nir(graph: Graph, plasticity: str = "refuse") -> Any:
    """The `nir.NIRGraph` of a graph, for `nir.write`; the way back from `from_nir`.

    Cells have to be those of `from_nir`, whatever they are called; a projection with weights becomes a Linear, Scale or
    Conv2d node (lists of synapses and masks the matrix of a Linear), steps of delay a Delay node, a relay with one
    way in the node of that. What NIR has no words for (dt, reset, current, arrival, integrator) goes into the
    metadata, where `from_nir` finds it; other tools do not read it.

    `plasticity`: `refuse` rules and mirrors, or write the circuit as it stands and the whole graph beside it in the
    metadata (`sidecar`), which `from_nir` gives back; `nir_losses(graph)` says what other tools do not see of it.

    Raises N101 without the extra, N109 for what cannot be said, N105 for another `plasticity`, and what `check_graph`
    raises.
    """
    nir = package()
    if plasticity not in ("refuse", "sidecar"):
        raise unknown("N105", "plasticity", plasticity, ("refuse", "sidecar"))
    verify(graph)
    said = static(graph) if plasticity == "sidecar" else graph
    _check(said)
    network = _Export(said, nir).network()
    if plasticity == "sidecar":
        network.metadata |= sidecar(graph, read(network))
    return network


def _check(graph: Graph) -> None:
    many = [*["a batch axis"] * (graph.batch > 1), *(f"mirror '{m.target}'" for m in graph.mirrors)]
    many += [f"distributions of population '{p.name}'" for p in graph.populations if p.drawn]
    many += [f"rule '{graph.class_of(q.name).rule}' of projection '{q.name}'" for q in graph.projections
             if graph.class_of(q.name).rule]
    many += [f"connectivity '{graph.class_of(q.name).connectivity}' of projection '{q.name}'" for q in graph.projections
             if graph.class_of(q.name).connectivity not in SAID]
    many += [f"delays of single synapses of projection '{q.name}'" for q in graph.projections
             if f"{q.name}.delay" in graph.arrays]
    many += [f"pooling of projection '{q.name}'" for q in graph.projections if q.convolution and q.convolution.pool > 1]
    if many:
        raise _refused(f"{many[0]} of graph '{graph.name}'")


def _refused(what: str, hint: str = "") -> CortexError:
    return CortexError("N109", f"NIR cannot say {what}.", hint)


def _kind(cell: CellType) -> tuple[str, Choices]:
    """The kind of NIR node that a cell is. Raises N109."""
    for reset, current, kept, kind in product(RESETS, CURRENTS, (False, True), KINDS):
        choices = Choices(reset, current, cell.integrator)
        known = parse_graph(cell_text(kind, kept, choices)).cells[0]
        if _bare(known) == _bare(cell):
            return kind, choices
    raise _refused(f"cell '{cell.name}'", "Its lines must be those of a cell of from_nir; docs/nir.md has them.")


def _bare(cell: CellType) -> CellType:
    """Without what has no influence on what it computes."""
    ports = tuple(replace(port, compartment="") for port in cell.ports)
    parameters = sorted((Parameter(p.name, formula=p.formula) for p in cell.parameters), key=lambda p: p.name)
    equations = tuple(replace(equation, compartment=None) for equation in cell.equations)
    return replace(cell, name="", ports=ports, parameters=tuple(parameters), equations=equations)


class _Export:
    """`kinds`: population -> kind of node; `order`: of populations."""

    def __init__(self, graph: Graph, nir: Any):
        self.graph, self.nir = graph, nir
        found = {p.name: _kind(graph.cell(p.cell)) for p in graph.populations}
        self.kinds = {name: kind for name, (kind, _) in found.items()}
        self.choices = self._agreed(list(found.values()))
        edges = [(q.pre, q.post) for q in graph.projections]
        self.order = Order(found, edges, [name for name, kind in self.kinds.items() if kind in NEURONS])
        self.arrival = self._arrival()
        self.nodes, self.edges = dict[str, Any](), list[tuple[str, str]]()

    def _agreed(self, found: list[tuple[str, Choices]]) -> dict[str, str]:
        """What holds for all neurons that it concerns. Raises N109."""
        told = dict[str, str]()
        for what, kinds in CONCERNED.items():
            words = {getattr(choices, what) for kind, choices in found if kind in kinds}
            if len(words) > 1:
                raise _refused(f"that cells differ in '{what}': {', '.join(sorted(words))}")
            if words:
                told[what] = words.pop()
        return told

    def _late(self, q: Projection, arrival: str) -> int:
        """Steps of delay beside those that the order of a step has."""
        return message_depth(self.graph, q) - self.order.depth((q.pre, q.post), arrival)

    def _arrival(self) -> str:
        """The one that needs the fewest delays. Raises N109."""
        late = {a: [self._late(q, a) for q in self.graph.projections] for a in ARRIVALS}
        fitting = [a for a in ARRIVALS if min(late[a], default=0) >= 0]
        if not fitting:
            raise _refused("a circle that takes no time", "Give its projections delay=1.")
        return min(fitting, key=lambda a: sum(map(bool, late[a])))

    def network(self) -> Any:
        merged = {p.name: q for p in self.graph.populations if (q := self._merged(p)) is not None}
        for p in self.graph.populations:
            self.nodes[p.name] = None if p.name in merged else self._node(p)
        for q in self.graph.projections:
            self._join(q, q.post if merged.get(q.post) is q else None)
        self._outputs()
        told = {"dt": self.graph.dt / MS, "arrival": self.arrival, **self.choices}
        return self.nir.NIRGraph(self.nodes, self.edges, {TOLD + name: value for name, value in told.items()},
                                 type_check=False)

    def _merged(self, p: Population) -> Projection | None:
        """The projection whose node a relay is."""
        into = [q for q in self.graph.projections if q.post == p.name]
        if self.kinds[p.name] == "Affine" and (len(into) != 1 or self.graph.class_of(into[0].name).kind.pairs):
            raise _refused(f"population '{p.name}', whose bias comes after {len(into)} projections",
                           "A bias needs one dense projection or convolution before it.")
        if self.kinds[p.name] == "Affine":
            return into[0]
        if self.kinds[p.name] != "Relay" or self._output(p.name) or len(into) != 1:
            return None
        plain = self.graph.class_of(into[0].name).connectivity == "identity" and not self._late(into[0], self.arrival)
        return None if plain else into[0]

    def _output(self, name: str) -> bool:
        """Whether it becomes an Output node."""
        declared = (name, f"{name}.out") in self.graph.outputs
        return declared and self.kinds[name] == "Relay" and all(q.pre != name for q in self.graph.projections)

    def _node(self, p: Population) -> Any:
        shape, kind = np.array([p.size]), self.kinds[p.name]
        if kind == "Input":
            return self.nir.Input(shape)
        if kind == "Relay":
            return self.nir.Output(shape) if self._output(p.name) else self.nir.Flatten(shape, 0)
        names = NEURONS[kind].parameters if kind in NEURONS else ("threshold",)
        for state in NEURONS[kind].flow if kind in NEURONS else ():
            if np.any(self.graph.arrays.get(f"{p.name}.{state}", 0.0)):
                raise _refused(f"the first value of '{p.name}.{state}'", "NIR begins at 0.")
        return getattr(self.nir, kind)(**{name: self._value(p, name) / unit(kind, name)[1] for name in names})

    def _value(self, p: Population, name: str) -> np.ndarray:
        found = self.graph.arrays.get(f"{p.name}.{name}", cell_parameters(self.graph, p).get(name))
        return np.array(np.broadcast_to(np.asarray(found, np.float64).reshape(-1), p.size))

    def _join(self, q: Projection, merged: str | None) -> None:
        """Edges and nodes of a projection; the last node is called as `merged` says."""
        parts = list(self._parts(q, merged))
        names = [fresh(f"{q.name}_{part}", self.nodes) for part, _ in parts]
        if merged:
            names[-1] = merged
        self.nodes |= dict(zip(names, (node for _, node in parts), strict=True))
        way = [q.pre, *names, *([] if merged else [q.post])]
        self.edges += zip(way, way[1:], strict=False)

    def _parts(self, q: Projection, merged: str | None) -> Iterator[tuple[str, Any]]:
        size, late = self.graph.population(q.pre).size, self._late(q, self.arrival)
        if late:
            yield "delay", self.nir.Delay(np.full(size, late * self.graph.dt / MS))
        if self.graph.class_of(q.name).kind.weighted:
            yield "weights", self._weights(q, merged)

    def _weights(self, q: Projection, merged: str | None) -> Any:
        kind = self.graph.class_of(q.name).kind
        w = self.graph.arrays[f"{q.name}.w"].reshape(weight_shape(self.graph, q))
        bias = self._value(self.graph.population(q.post), "bias") if merged and self.kinds[q.post] == "Affine" else None
        if kind.maps:
            return self._convolution(q, w, bias)
        if kind.pairs:
            return self.nir.Scale(np.array(w))
        matrix = self._matrix(q, w)
        return self.nir.Linear(matrix) if bias is None else self.nir.Affine(matrix, bias)

    def _matrix(self, q: Projection, w: np.ndarray) -> np.ndarray:
        """(n_post, n_pre)"""
        arrays, shape = self.graph.arrays, (self.graph.population(q.post).size, self.graph.population(q.pre).size)
        if not self.graph.class_of(q.name).kind.listed:
            return np.array(w) * arrays.get(f"{q.name}.mask", 1.0)
        matrix = np.zeros(shape)
        np.add.at(matrix, (arrays[f"{q.name}.post"].astype(int), arrays[f"{q.name}.pre"].astype(int)), w)
        return matrix

    def _convolution(self, q: Projection, w: np.ndarray, bias: np.ndarray | None) -> Any:
        c = q.convolution
        assert c is not None
        places = np.zeros(c.post) if bias is None else bias.reshape(c.post)
        own = places[:, :1, :1]
        if np.any(places != own) or f"{q.name}.mask" in self.graph.arrays:
            raise _refused(f"projection '{q.name}', whose bias or mask differs within a feature map")
        return self.nir.Conv2d(c.pre[1:], np.array(w), c.stride, c.padding, 1, 1, own.reshape(-1))

    def _outputs(self) -> None:
        """Output nodes of quantities that are not populations of that kind already."""
        for name, quantity in self.graph.outputs:
            population, _, sent = quantity.partition(".")
            if sent != message(self.kinds[population]):
                raise _refused(f"output '{name}', which is not what population '{population}' sends")
            if not self._output(population):
                node = fresh(f"{name}_output", self.nodes)
                self.nodes[node] = self.nir.Output(np.array([self.graph.population(population).size]))
                self.edges.append((population, node))
