"""A NIR network as a graph: a population per node, projections along its edges.

N103 dt, N104 reset, N105 the order in which things happen: what the file is silent about, and nobody has told.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterable
from dataclasses import replace
from graphlib import CycleError, TopologicalSorter
from typing import Any

import numpy as np

from cortexc.compiler.front.nir.cells import (
    CURRENTS,
    MS,
    NEURONS,
    RESETS,
    Choices,
    cell_name,
    cell_text,
    fires,
    message,
    parameters,
)
from cortexc.compiler.front.nir.reading import Edge, Network, Node, read
from cortexc.compiler.front.nir.shapes import shapes
from cortexc.compiler.front.nir.sidecar import SIDECARS, graph_beside
from cortexc.compiler.front.nir.wiring import ARRIVALS, Order, Wiring, weighted, wirings
from cortexc.compiler.ir import CortexError, Graph, Population, Projection, SynapseClass, parse_graph, unknown, verify
from cortexc.compiler.ir.cells import INTEGRATORS
from cortexc.compiler.ir.firing import fresh
from cortexc.compiler.ir.schedule import instantaneous


def from_nir(source: Any, *, dt: float | None = None, reset: str | None = None, current: str | None = None,
             arrival: str | None = None, integrator: str | None = None, name: str = "nir",
             plasticity: str = "use") -> Graph:
    """The graph of a NIR file or of a `nir.NIRGraph`; `to_nir` is the way back.

        graph = from_nir("network.nir", dt=1e-4, reset="subtract", current="first", arrival="same")
        simulate(graph, 100, inputs={"input.value": x}, record=["output.out"])

    NIR describes neurons by differential equations, in seconds, and says nothing of steps. What a file leaves open has
    to be told, where its nodes make it matter (files of `to_nir` tell it themselves):

    `dt`: one step, in seconds (always). `reset`, for IF, LIF, CubaLIF, after a spike: `v_reset`: v = v_reset, NIR's own
    equation; `zero`: v = 0; `subtract`: v = v - (v_threshold - v_reset); `zero_next`, `subtract_next`: the same happens
    to the v of the next step (snnTorch's default). `current`, for CubaLI, CubaLIF: v reads the current of the step
    before (`together`: both equations are solved together) or that of this step (`first`). `arrival`: what a node with
    state (I, IF, LI, LIF, CubaLI, CubaLIF) sends to another one arrives in the `same` step or in the `next` one; along
    edges on a circle it is always the next one, and what only goes on to outputs arrives in the same step.
    `integrator`: Euler's method unless told otherwise (`exact`, `exponential_euler`, `rk4`: docs/ir.md).

    One Euler step, with x the sum of what arrives; states begin at 0 (bind arrays `population.v` for others):

        Linear, Affine     out = W x, out = W x + b            Scale      out = s x
        Conv1d, Conv2d     out = sum over taps w x + b         Threshold  out = 1 if x > threshold else 0
        SumPool2d          out = sum over the kernel x         AvgPool2d  the same / kernel pixels, padding counted
        Flatten            out = x                             Delay      out = x, delay / dt steps ago; before it, 0
        I                  v += dt r x
        IF                 v += dt r x                             then z = 1 if v > v_threshold, and the reset
        LI                 v += dt (v_leak - v + r x) / tau
        LIF                v += dt (v_leak - v + r x) / tau        then as IF
        CubaLI             i += dt (w_in x - i) / tau_syn, v += dt (v_leak - v + r i) / tau_mem
        CubaLIF            as CubaLI                               then as IF

    I, LI and CubaLI send v; IF, LIF and CubaLIF send z. A node is a population of its name, with `_` for what may not
    stand in one; `Input` has the input `value`, `Output` the message `out`. Times become ms.

    Where `to_nir(graph, plasticity="sidecar")` has put a graph beside the nodes, that is the result, rules and all, and
    nothing is asked for. `plasticity="ignore"` takes the nodes.

    Raises N101 without the extra; N102 and N108 for files and edges that are broken; N103, N104, N105 for what has to
    be told; N106 for a node, N107 for shapes that the IR cannot say; N110 for nodes that are no longer those of the
    graph beside them; and what `check_graph` raises.
    """
    found = read(source)
    if _known("plasticity", plasticity, SIDECARS) == "use" and (beside := graph_beside(found)):
        verify(beside)
        return beside
    network = _summed(found)
    given = {"dt": dt, "reset": reset, "current": current, "arrival": arrival, "integrator": integrator}
    told = {**network.told, **{what: value for what, value in given.items() if value is not None}}
    step, integrator = _step(told.get("dt")), told.get("integrator", "euler")
    choices = Choices(_choice("N104", network, "reset", told.get("reset"), RESETS, fires),
                      _choice("N105", network, "current", told.get("current"), CURRENTS, lambda kind: "Cuba" in kind),
                      _known("integrator", integrator, INTEGRATORS))
    _check_reset(network, choices.reset)
    graph = _Import(network, step, choices, told.get("arrival")).graph(name)
    verify(graph)
    return graph


def _step(dt: float | None) -> float:
    """Raises N103."""
    if dt is None:
        raise CortexError("N103", "a NIR file says no time step.", "Say dt=SECONDS, the one it was made for.")
    if isinstance(dt, bool) or not isinstance(dt, int | float | np.number) or not 0 < dt < math.inf:
        raise CortexError("N103", f"dt is {dt!r}; it must be a positive number of seconds.")
    return float(dt)


def _choice(code: str, network: Network, what: str, told: Any, known: Iterable[str], concerns: Any) -> str:
    """The word that was told; the first one where it concerns no node. Raises the code."""
    words = tuple(known)
    concerned = next((node for node in network.nodes.values() if concerns(node.kind)), None)
    if told is None and concerned:
        raise CortexError(code, f"{concerned.shown} needs to know '{what}', which NIR does not say.",
                          f"Say {what}= one of {', '.join(words)}.")
    return words[0] if told is None else _known(what, told, words, code)


def _known(what: str, told: Any, words: Collection[str], code: str = "N105") -> str:
    if not isinstance(told, str) or told not in words:
        raise unknown(code, what, told, words)
    return told


def _check_reset(network: Network, reset: str) -> None:
    for node in network.nodes.values():
        if reset.startswith("zero") and fires(node.kind) and np.any(node.fields["v_reset"]):
            raise CortexError("N104", f"reset is '{reset}', but {node.shown} has a v_reset that is not 0.",
                              "Say reset='v_reset' to use it.")


def _summed(network: Network) -> Network:
    """Where several nodes send to one that multiplies, a node in front that adds them up."""
    nodes, edges = dict(network.nodes), list(network.edges)
    for name, node in network.nodes.items():
        if weighted(node.kind) and len(network.before(name)) > 1:
            front = fresh(f"{name}.sum", nodes)
            nodes[front] = Node(front, "Sum", {})
            edges = [*((a, front if b == name else b) for a, b in edges), (front, name)]
    return Network(nodes, tuple(edges), network.told)


class _Import:
    """`names`: node -> population."""

    def __init__(self, network: Network, dt: float, choices: Choices, arrival: Any):
        self.network, self.dt, self.choices = network, dt, choices
        self.shapes = shapes(network)
        self.taken = {"gate", "table"}
        self.names = {name: self._own(re.sub(r"\W", "_", name, flags=re.ASCII)) for name in network.nodes}
        self.delays = {name: self._steps(node) for name, node in network.nodes.items() if node.kind == "Delay"}
        stateful = [name for name, node in network.nodes.items() if node.kind in NEURONS]
        self.order = Order(network.nodes, network.edges, stateful)
        self.arrival = self._arrival(arrival)
        self.wirings = {(a, b): [
            replace(w, steps=w.steps + self.order.depth((a, b), self.arrival)) for w in wirings(
                network.nodes[b], self.shapes[a], self.shapes[b], self.delays.get(b))] for a, b in network.edges}

    def _own(self, wanted: str) -> str:
        name = wanted if re.match(r"[A-Za-z_]", wanted) else f"n_{wanted}"
        found = fresh(name[:90], self.taken)
        self.taken.add(found)
        return found

    def _steps(self, node: Node) -> np.ndarray:
        """Raises N106."""
        steps = np.ravel(node.fields["delay"]).astype(np.float64) / self.dt
        whole = np.round(steps)
        odd = np.flatnonzero(~np.isclose(steps, whole, rtol=1e-6, atol=1e-6) | (whole < 0))
        if odd.size:
            raise CortexError("N106", f"{node.shown} delays element {odd[0]} by {steps[odd[0]]:g} steps of {self.dt:g} "
                                      "s; only whole numbers of steps can be said.", "Choose another dt.")
        return whole.astype(np.int64)

    def _arrival(self, told: Any) -> str:
        """Raises N105."""
        open_ = [e for e in self.network.edges if self.order.arrives(e) and not self.order.on_circle(e)]
        if told is None and open_:
            raise CortexError("N105", f"what '{open_[0][0]}' sends to '{open_[0][1]}' arrives in the same step or in "
                                      "the next one, which NIR does not say.", "Say arrival= one of same, next.")
        return ARRIVALS[0] if told is None else _known("arrival", told, ARRIVALS)

    def graph(self, name: str) -> Graph:
        self._check_circles()
        kinds = {self._cell(name): (node.kind, self._kept(name)) for name, node in self.network.nodes.items()}
        cells = "".join(cell_text(*kind, self.choices) for kind in kinds.values())
        graph = Graph(name, self.dt * MS, cells=parse_graph(cells).cells, outputs=self._outputs(),
                      populations=tuple(map(self._population, self.network.nodes)))
        for edge in self.network.edges:
            for wiring in self.wirings[edge]:
                graph = self._joined(graph, edge, wiring)
        return graph.with_(arrays={**self._parameters(), **graph.arrays})

    def _kept(self, name: str) -> bool:
        return any(after in self.delays for after in self.network.after(name))

    def _cell(self, name: str) -> str:
        return cell_name(self.network.nodes[name].kind, self._kept(name))

    def _population(self, name: str) -> Population:
        return Population(self.names[name], self._cell(name), math.prod(self.shapes[name]))

    def _outputs(self) -> tuple[tuple[str, str], ...]:
        found = [self.names[name] for name, node in self.network.nodes.items() if node.kind == "Output"]
        return tuple((name, f"{name}.out") for name in found)

    def _parameters(self) -> dict[str, np.ndarray]:
        return {f"{self.names[name]}.{key}": value for name, node in self.network.nodes.items()
                for key, value in parameters(node, math.prod(self.shapes[name])).items()}

    def _joined(self, graph: Graph, edge: Edge, wiring: Wiring) -> Graph:
        a, b = edge
        sent = message(self.network.nodes[a].kind)
        synapse = SynapseClass(f"{sent}_{wiring.connectivity}", sent, "arriving", wiring.connectivity)
        name = self._own(f"{self.names[a][:40]}_to_{self.names[b][:40]}")
        cell = graph.cell(self._cell(a))  # what waits for no port, and not for the step's end, arrives with delay 1
        delay = wiring.steps + int(sent not in instantaneous(cell) and sent not in cell.late)
        joined = Projection(name, synapse.name, self.names[a], self.names[b], delay, convolution=wiring.convolution)
        return graph.with_(synapses=tuple(dict.fromkeys((*graph.synapses, synapse))),
                           projections=(*graph.projections, joined),
                           arrays={**graph.arrays, **{f"{name}.{key}": value for key, value in wiring.arrays.items()}})

    def _check_circles(self) -> None:
        """Raises N108 for a circle on which everything happens at once."""
        order: TopologicalSorter[str] = TopologicalSorter()
        for edge in self.network.edges:
            if min(w.steps for w in self.wirings[edge]) == 0:
                order.add(edge[1], edge[0])
        try:
            order.prepare()
        except CycleError as error:
            raise CortexError("N108", f"the circle {' <- '.join(error.args[1])} has neither a node with state nor a "
                                      "delay, so its values depend on each other.") from None
