"""The sign-concordant circuit's independent reference, fed with a setup's own inputs, gates and weights.

`locked` is compared with the three-cell circuit (level 1), the other policies with the signed-matrix algorithm
(level 0) of `reference/`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from cortexc.compiler.ir import CortexError, Graph
from cortexc.compiler.ir.model import weight_shape
from cortexc.compiler.ir.protocol import Phase, Protocol
from cortexc.compiler.microcircuits.sign_concordant import build, presentation
from cortexc.compiler.microcircuits.sign_concordant_options import SignConcordant
from cortexc.compiler.microcircuits.sign_concordant_start import normal_start
from cortexc.compiler.verify.oracles.base import Oracle, followed, reference
from cortexc.compiler.verify.runs import Chunk, Setup, input_columns

CELLS = {"u": "PC{}.u", "spike": "PC{}.spike", "psc": "PC{}.psc", "apical": "PC{}.apical_potential",
         "error": "PC{}.error", "gate": "PC{}.sensitivity"}
THREE_CELLS = {"basal": "wE_{}.current", "parvalbumin": "PV{}.rate", "somatostatin": "SST{}.rate", "wE": "wE_{}.w",
               "wI": "wI_{}.w", "cE": "cE_{}.w", "cI": "cI_{}.w", "dwE": "wE_{}.{sum}", "dwI": "wI_{}.{sum}"}
SIGNED = {"W": "W_{}.w", "B": "B_{}.w", "dW": "W_{}.{sum}"}
ENDS = {"kernel": "image.kernel", "psc_0": "image.psc", "teacher": "teacher.psc"}


def sources(circuit: SignConcordant) -> dict[str, str]:
    """Name in the reference -> quantity of the graph."""
    kind = "accumulate" if circuit.optimiser == "none" else circuit.optimiser
    table = THREE_CELLS if circuit.locked else SIGNED
    if circuit.pipelined:  # there the two differ in the steps before a sample has reached a layer, and after it
        return {f"{name}_{i}": pattern.format(i) for name, pattern in table.items() for i in range(1, circuit.top + 1)
                if pattern.endswith(".w")}
    found = dict(ENDS)
    for i in range(1, circuit.top + 1):
        found |= {f"{name}_{i}": pattern.format(i, sum=kind) for name, pattern in (CELLS | table).items()}
    if circuit.feedback == "DFA":  # the reference names B by the layer that it ends in
        found |= {f"B_{i - 1}": f"B_{i}.w" for i in range(2, circuit.top + 1)}
        del found[f"B_{circuit.top}"]
    return found


def wanted(circuit: SignConcordant, there: set[str]) -> list[str]:
    return [quantity for quantity in sources(circuit).values() if quantity in there]


def parameters(circuit: SignConcordant) -> Any:
    """The reference's parameters. Raises V122 for what it does not model."""
    if circuit.message == "spiking" or circuit.feedback == "brSF" or len(set(circuit.eta)) > 1:
        raise CortexError("V122", "the independent reference has no spiking messages, no redrawn feedback with the "
                                  "circuit's own draws, and one eta for all layers.", "Verify against the interpreter.")
    c = circuit
    return reference("sign_concordant").SignConcordantParameters(
        tuple(c.layers), policy=c.feedback, tau_m=c.tau_m, tau_s=c.tau_s, threshold=c.threshold, surrogate=c.surrogate,
        surrogate_width=c.width, trace=c.trace, update="step" if c.update == "step" else "minibatch",
        learning_rate=c.eta[0], optimiser=c.optimiser, clip_norm=c.norm, adam_rate=c.rate, beta1=c.beta1,
        beta2=c.beta2, epsilon=c.epsilon, limit=c.limit, timing=c.timing)


def networks(circuit: SignConcordant, graph: Graph) -> list[Any]:
    """One network per seed, with the graph's weights."""
    level0, level1 = map(reference, ("sign_concordant", "sign_concordant_cells"))
    own, found = parameters(circuit), []
    for seed in range(graph.seeds):
        weights = _Weights(circuit, graph, seed)
        if circuit.locked:
            found.append(level1.ThreeCellNetwork(own, weights.synapses(level1, own), circuit.message == "two_line"))
        else:
            found.append(level0.SignConcordantNetwork(own, *weights.signed(own)))
    return found


class _Weights:
    """The graph's arrays of one seed in the reference's shapes: always those of the forward direction."""

    def __init__(self, circuit: SignConcordant, graph: Graph, seed: int):
        self.circuit, self.graph, self.seed = circuit, graph, seed

    def tensor(self, name: str, shape: tuple[int, ...], turned: bool = False) -> Any:
        import torch

        if name not in self.graph.arrays:  # with error cells a feedback synapse has four copies
            name = name.replace("_", "_pp_", 1)
        projection = self.graph.projection(name.split(".")[0])
        array = np.asarray(self.graph.arrays[name], dtype=np.float64)
        own = weight_shape(self.graph, projection)
        array = array[self.seed % len(array)] if array.ndim > len(own) else array
        array = array.T if turned and projection.convolution is None else array
        return torch.from_numpy(np.ascontiguousarray(array).reshape(shape))

    def synapses(self, level1: Any, own: Any) -> list[Any]:
        import torch

        found = []
        for i, projection in enumerate(own.projections, 1):
            shape = projection.weight_shape
            e, ei, masks = (f"w{{}}_{i}.{key}" for key in ("w", "w", "mask"))
            zero = torch.zeros(shape, dtype=torch.float64)
            back = [self.tensor(f"c{letter}_{i}.w", shape, True) if i > 1 else zero for letter in "EI"]
            found.append(level1.Synapses(self.tensor(e.format("E"), shape), self.tensor(ei.format("I"), shape), *back,
                                         *(self.tensor(masks.format(letter), shape) for letter in "EI")))
        return found

    def signed(self, own: Any) -> tuple[list[Any], list[Any]]:
        policy, shapes = self.circuit.feedback, [p.weight_shape for p in own.projections]
        weights = [self.tensor(f"W_{i}.w", shape) for i, shape in enumerate(shapes, 1)]
        if policy == "BP":
            return weights, []
        key = "w" if policy in ("FA", "DFA") else "magnitude"
        if policy == "DFA":
            top = self.circuit.shapes[-1].size
            return weights, [self.tensor(f"B_{i}.w", (top, self.circuit.shapes[i - 1].size), True)
                             for i in range(2, len(shapes) + 1)]
        return weights, [self.tensor(f"B_{i}.{key}", shapes[i - 1], True) for i in range(2, len(shapes) + 1)]


def trajectory(circuit: SignConcordant, setup: Setup, there: set[str], steps: int | None = None) -> Iterator[Chunk]:
    """The reference under the graph's names, fed with the very inputs and gates of a setup."""
    found, late = networks(circuit, setup.graph), [np.zeros(1)] * (circuit.top - 1 if circuit.pipelined else 0)
    table = {name: quantity for name, quantity in sources(circuit).items() if quantity in there}

    def step(inputs: Chunk, gates: Mapping[str, float], _: Chunk) -> Chunk:
        late.append(inputs["teacher.value"] * gates["teach"])  # as late as the top layer's sample
        inputs["teacher.spike"] = np.broadcast_to(late.pop(0), inputs["teacher.value"].shape)
        return _step(circuit, setup.graph, found, table, inputs, gates)

    return followed(setup, step, steps, 64)


def _step(circuit: SignConcordant, graph: Graph, found: list[Any], table: Mapping[str, str],
          inputs: Chunk, gates: Mapping[str, float]) -> Chunk:
    """One step of every seed's network; quantities stacked along the batch, weights along the copies."""
    import torch

    learn = [gates[f"learn_{i}"] > 0 for i in range(1, circuit.top + 1)] if circuit.pipelined else gates["learn"] > 0
    shots = []
    for seed, network in enumerate(found):
        own = slice(seed * graph.samples, (seed + 1) * graph.samples)
        network.step(gates["start"] > 0, torch.tensor(inputs["image.value"][own]),
                     torch.tensor(inputs["teacher.spike"][own]), learn, gates["apply"] > 0)
        shots.append(network.snapshot())
    return {quantity: np.concatenate([_value(graph, quantity, shot[name]) for shot in shots])
            for name, quantity in table.items() if name in shots[0]}


def _value(graph: Graph, quantity: str, value: Any) -> np.ndarray:
    """(samples, n) or (1, weights)."""
    owner = quantity.split(".")[0]
    array = np.asarray(value)
    if any(p.name == owner for p in graph.populations):
        return np.broadcast_to(array, (graph.samples, graph.population(owner).size))
    if quantity.endswith(".current"):
        return array
    projection = graph.projection(owner)
    back = owner[0] in "cB" and projection.convolution is None
    return (array.T if back else array).reshape(1, *weight_shape(graph, projection))


def reference_setup(circuit: SignConcordant, presentations: int, samples: int = 1, seeds: tuple[int, ...] = (1,),
                    steps: int = 5) -> Setup:
    """Random inputs and labels, a fifth of the inputs 0; every sample sees its own."""
    arrays = normal_start(circuit, list(seeds), {})
    graph = build(replace(circuit, arrays={name: array[0] for name, array in arrays.items()})).with_(
        arrays=arrays, seeds=len(seeds), samples=samples)
    if len(seeds) > 1:
        graph = graph.with_(synapses=tuple(replace(s, role="per_seed") for s in graph.synapses))
    shown, rng = presentation(circuit, steps), np.random.default_rng(seeds[0])
    count, columns = presentations * samples, input_columns(graph)
    inputs, classes = (graph.population(columns[k][0].split(".")[0]).size for k in (0, 1))
    x = rng.normal(0, 1, (count, inputs)) * (rng.uniform(size=(count, inputs)) > 0.2)
    labels = np.eye(classes)[rng.integers(0, classes, count)]
    phase = Phase("train", presentations, shown.steps, gates=tuple(shown.train.items()), rows=count)
    return Setup(graph, Protocol((phase,), ("train",)), np.concatenate([x, labels], axis=1), seeds)


def _setup(circuit: SignConcordant, steps: int, seeds: Sequence[int]) -> Setup:
    return reference_setup(circuit, -(-steps // 5), seeds=tuple(seeds))


ORACLE = Oracle(_setup, wanted, trajectory)
