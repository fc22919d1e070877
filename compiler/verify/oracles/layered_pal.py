"""The independent reference of PAL's layer model, fed with a setup's own inputs, gates, draws and weights."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from cortexc.compiler.ir import Graph
from cortexc.compiler.ir.model import weight_shape
from cortexc.compiler.ir.protocol import Phase, Protocol
from cortexc.compiler.microcircuits.layered_pal import LayeredPal, build, normal_start
from cortexc.compiler.verify.oracles.base import Oracle, followed, reference
from cortexc.compiler.verify.runs import Chunk, Setup, input_columns

CELLS = {"u": "L{}.u", "lookahead": "L{}.lookahead", "rate": "L{}.rate", "slope": "L{}.slope", "error": "L{}.error",
         "xi": "L{}.xi", "high_pass": "L{}.rate_high_pass", "W": "W_{}.w", "b": "b_{}.w", "B": "B_{}.w"}
HELD = 5
"""Steps for which a setup shows a minibatch."""


def sources(circuit: LayeredPal) -> dict[str, str]:
    """Name in the reference -> quantity of the graph."""
    return {f"{name}_{i}": pattern.format(i) for name, pattern in CELLS.items() for i in range(1, circuit.top + 1)}


def wanted(circuit: LayeredPal, there: set[str]) -> list[str]:
    """The quantities that both have."""
    return [quantity for quantity in sources(circuit).values() if quantity in there]


def networks(circuit: LayeredPal, graph: Graph) -> list[Any]:
    """One network per seed, with the graph's weights."""
    c, module = circuit, reference("layered_pal")
    rates = {name: tuple(rate * graph.samples for rate in c.per_layer(name)) for name in ("eta_fw", "eta_bw")}
    own = module.LayeredPalParameters(
        tuple(c.layers), c.variant, tuple(c.per_layer("activation")), rates["eta_fw"], rates["eta_bw"],
        tuple(c.per_layer("alpha")), tuple(c.per_layer("sigma")), c.beta, c.dt, c.tau, c.tau_xi, c.tau_HP)
    layers = dict(enumerate(module.parse(own.layers), 1))
    return [module.LayeredPalNetwork(own, *(_weights(graph, kind, layers, seed) for kind in ("W", "b", "B")),
                                     graph.samples) for seed in range(graph.seeds)]


def _weights(graph: Graph, kind: str, layers: dict[int, Any], seed: int) -> dict[int, Any]:
    """The graph's arrays of one seed in the reference's shapes, those of the forward direction."""
    import torch

    found = {}
    for projection in graph.projections:
        name, _, layer = projection.name.partition("_")
        if name == kind:
            array = np.asarray(graph.arrays[f"{projection.name}.w"], dtype=np.float64)
            array = array[seed] if array.ndim > len(weight_shape(graph, projection)) else array
            turned = np.ascontiguousarray(array.T if kind == "B" and not projection.convolution else array)
            kernels = kind != "b" and projection.convolution is not None
            shape = layers[int(layer)].weight_shape if kernels else (-1,) if kind == "b" else turned.shape
            found[int(layer)] = torch.from_numpy(turned).reshape(shape)
    return found


def trajectory(circuit: LayeredPal, setup: Setup, there: set[str], steps: int | None = None) -> Iterator[Chunk]:
    """The reference under the graph's names."""
    found = networks(circuit, setup.graph)
    table = {name: quantity for name, quantity in sources(circuit).items() if quantity in there}
    return followed(setup, partial(_step, setup.graph, found, table), steps, 20)


def _step(graph: Graph, found: list[Any], table: dict[str, str], inputs: Chunk, gates: dict[str, float],
          noise: Chunk) -> Chunk:
    """One step of every seed's network; states stacked along the batch, weights along the copies."""
    import torch

    undrawn = np.zeros((graph.batch, 1))
    shots, shown = [], "teacher.value" if "teacher.value" in inputs else "input.value"
    for seed, network in enumerate(found):
        own = slice(seed * graph.samples, (seed + 1) * graph.samples)
        target = torch.tensor(inputs[shown][own]) if gates["target"] > 0 else None
        white = {i: torch.tensor(noise.get(f"L{i}.white", undrawn)[own]) for i in network.layers if noise}
        network.step(torch.tensor(inputs["input.value"][own]), target, gates["learn_forward"] > 0,
                     gates["learn_feedback"] > 0, gates["noise"] > 0, white)
        shots.append(network.snapshot())
    return {quantity: np.concatenate([_value(graph, quantity, shot[name].numpy()) for shot in shots])
            for name, quantity in table.items() if name in shots[0]}


def _value(graph: Graph, quantity: str, value: np.ndarray) -> np.ndarray:
    """(samples, n) or (1, weights)."""
    owner = quantity.split(".")[0]
    if any(p.name == owner for p in graph.populations):
        return value
    projection = graph.projection(owner)
    back = owner.startswith("B") and projection.convolution is None
    return (value.T if back else value).reshape(1, *weight_shape(graph, projection))


def reference_setup(circuit: LayeredPal, steps: int, seeds: Sequence[int] = (1,), samples: int = 1) -> Setup:
    """Random inputs and targets, held for some steps: first everything is on, then a fifth without the target, without
    noise in the rates, and without one of the two kinds of learning each."""
    arrays = normal_start(circuit, list(seeds), {})
    graph = build(replace(circuit, arrays={name: array[0] for name, array in arrays.items()})).with_(
        seeds=len(seeds), samples=samples)
    graph = graph.with_(arrays=graph.arrays | arrays)
    count = -(-steps // HELD)
    off = ("", "target", "noise", "learn_forward", "learn_feedback")
    gates = tuple((gate, tuple(float(gate != each) for each in off for _ in range(HELD))) for gate in graph.gates)
    phase = Phase("train", count, HELD, gates=gates, rows=count * samples)
    width = input_columns(graph)[-1][1].stop
    inputs = np.random.default_rng(seeds[0]).normal(0, 1, (count * samples, width))
    return Setup(graph, Protocol((phase,), ("train",)), inputs, tuple(seeds))


DEEP = LayeredPal((4, 3, 2, 3), activation=("tanh", "linear", "logistic"), eta_fw=(0.8, 0.4, 0.6), eta_bw=(0, 3, 2),
                  alpha=(0, 1e-2, 1e-3), sigma=(0.3, 0.2, 0.1))
MAPS = LayeredPal(("1x6x6", "2c3", "m2", "2c2", 3), activation=("logistic", "linear", "tanh", "logistic"),
                  eta_fw=(0.5,), eta_bw=(2,), alpha=(1e-2,), sigma=(0.1, 0.2, 0.1, 0.05))
POOLED = LayeredPal(("1x4x4", "2c1", "m2", 3), activation=("relu", "linear", "logistic"), eta_fw=(0.5,), eta_bw=(2,),
                    alpha=(1e-2,), sigma=(0.1, 0.2, 0.1))
REHEARSED = {"layered-pal": {"dense": DEEP, **{v: replace(DEEP, variant=v) for v in ("FA", "BP", "DFA")},
                             "code": replace(DEEP, layers=(4, 3, 2, 4), reconstructs=True), "pooled": POOLED,
                             "maps": MAPS}}
ORACLE = Oracle(reference_setup, wanted, trajectory, rehearsed=REHEARSED)
