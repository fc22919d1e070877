"""Circuits whose synapses are lists, with their stimulus, and what their currents are by definition."""

from __future__ import annotations

from contextlib import nullcontext

import numpy as np
from random_graphs.differences import expected, outcome, watched

from cortexc.compiler.ir import Graph, parse_graph
from cortexc.compiler.ir.protocol import Phase, Protocol
from cortexc.compiler.verify import Setup
from cortexc.compiler.verify.mutation.campaign import plain_python

TEXT = """
graph lists
  dt 0.1
  gate learn
  batch seeds {seeds} samples {samples}
cell source
  input value
  state rate = 0
  send rate = where(value > 0.2, value, 0)
  message rate
cell spiking
  port a
  state v = 0
  state spike = 0
  state trace = 0
  send spike = where(prev(v) > 0.6, 1, 0)
  receive v = where(spike > 0.5, 0, 0.9 * prev(v) + a)
  receive trace = 0.8 * prev(trace) + spike
  message spike
rule hebb
  state tag = 0.25
  update tag = 0.7 * prev(tag) + post.spike * prev(pre.trace)
  increment 0.05 * tag - 0.01 * w * post.trace
  optimiser low_pass(0.5)
synapse forward
  message rate
  port a
  connectivity {kind}
synapse recurrent
  message spike
  port a
  connectivity {kind}
  rule hebb
  limits -1 1.5
  role {role}
population I source 6 area=low
population C spiking 8 area=high
projection W forward I -> C
projection R recurrent C -> C gate=learn
output v = C.v
"""
STEPS = 40


def graph_of(kind: str = "sparse", seeds: int = 1, samples: int = 1, role: str = "shared"):
    return parse_graph(TEXT.format(kind=kind, seeds=seeds, samples=samples, role=role))


def setup_of(graph) -> Setup:
    rng = np.random.default_rng(3)
    phase = Phase("all", STEPS, 1, order="all", gates=(("learn", (1.0, 1.0, 0.0)),))
    return Setup(graph, Protocol((phase,), ("all",)), rng.uniform(-1, 1, (STEPS * graph.samples, 6)),
                 tuple(range(graph.seeds)))


def lists(rng: np.random.Generator, name: str, pre: int, post: int, count: int, most_delay: int = 0) -> dict:
    """Synapses in no order, several of a pair among them."""
    found = {"pre": rng.integers(0, pre, count), "post": rng.integers(0, post, count), "w": rng.uniform(-0.4, 1, count)}
    found |= {"delay": rng.integers(1, most_delay + 1, count)} if most_delay else {}
    return {f"{name}.{key}": array for key, array in found.items()}


def circuit(seed: int = 0, most_delay: int = 0, **options) -> Setup:
    rng = np.random.default_rng(seed)
    graph = graph_of(**options)
    return setup_of(graph.with_(arrays=lists(rng, "W", 6, 8, 30) | lists(rng, "R", 8, 8, 50, most_delay)))


def currents_by_hand(pre, post, w, delay, messages, cells: int) -> np.ndarray:
    """(steps, cells): for each step, the sum of w * message one after the other: those that left first, then by
    presynaptic cell, then as listed. `messages` (steps, n_pre); before the first step cells are silent."""
    order = sorted(range(len(pre)), key=lambda s: (-delay[s], pre[s], post[s], s))
    found = np.zeros((len(messages), cells))
    for t in range(len(messages)):
        for s in order:
            left = t - (delay[s] - 1)
            if left >= 0:
                found[t, post[s]] += w[s] * messages[left, pre[s]]
    return found


def outcomes(graph: Graph, on: str, *granularities: str) -> list[tuple[str, list]]:
    """What became of the circuit on a backend, beside the interpreter; native is run as plain Python."""
    setup = setup_of(graph)
    wanted = watched(setup.graph, increments=False)
    reference = expected(setup, wanted)
    with plain_python() if on == "native" else nullcontext():
        return [outcome(setup, reference, wanted, on, granularity) for granularity in granularities]
