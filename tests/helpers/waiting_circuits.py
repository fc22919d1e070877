"""Circuits whose synapses keep a trace that decays between events, drawn or fixed, with long silences."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from cortexc.compiler.ir import Graph, parse_graph
from cortexc.compiler.ir.protocol import Phase, Protocol
from cortexc.compiler.passes.base import Request
from cortexc.compiler.passes.defer_decay import DeferDecay
from cortexc.compiler.verify import Setup

TEXT = """
graph waiting
  dt 1
  gate learn
  gate tag
cell source
  input value
  state spike = 0
  state trace = 0
  send spike = where(value > 0.8, 1, 0)
  send trace = 0.9 * prev(trace) + spike
  message spike
cell reward_cell
  input value
  send dopamine = where(value > 0.9, value, 0)
  message dopamine
cell target
  port a
  port dopamine
  state v = 0
  state spike = 0
  state trace = 0
  state reward = 0
  send spike = where(prev(v) > 0.6, 1, 0)
  receive v = where(spike > 0.5, 0, 0.8 * prev(v) + a)
  receive trace = 0.85 * prev(trace) + spike
  factor reward = dopamine
  message spike
rule tagged
{rule}
synapse plastic
  message spike
  port a
  connectivity {kind}
  rule tagged
  limits {limits}
synapse broadcast
  message dopamine
  port dopamine
population I source {pre}
population R reward_cell 1
population C target {post}
projection W plastic I -> C delay={delay} gate=learn
projection D broadcast R -> C
"""
RULE = """  parameter tau ms = 20
  state x = 0
  state c = 0.1
  update x = 0.9 * prev(x) + pre.spike
  update c = exp(-dt / tau) * prev(c) + 0.1 * x * post.spike - 0.08 * post.trace * pre.spike
  increment 0.05 * c * post.reward"""
DECAYS = ("0.93 * prev(c)", "prev(c) - prev(c) * dt / 15", "0.999 * prev(c)", "prev(c)", "0 * prev(c)")
DRIVES = ("0.1 * pre.trace * post.spike", "-0.1 * post.trace * pre.spike", "0.07 * prev(x) * post.spike", "0.05 * pre.spike * w",
          "where(post.spike > 0, 0.1 * x, 0)", "gate.tag * 0.02 * pre.trace * post.trace", "-0.03 * post.spike")
READERS = ("0.05 * c * post.reward", "0.04 * prev(c) * post.spike", "where(gate.tag > 0, 0.02 * c, 0)", "-0.03 * e * pre.spike",
           "0.02 * e * prev(post.reward)")
PRE, POST = 12, 20
WANTED = ["W.w", "W.x", "W.c", "C.v", "C.spike"]


def drawn_rule(rng: np.random.Generator) -> str:
    drives = " + ".join(rng.choice(DRIVES, rng.integers(1, 4), replace=False))
    readers = " + ".join(rng.choice(READERS, rng.integers(1, 3), replace=False))
    return f"""  state x = 0
  state c = 0.1
  state e = 0
  update x = 0.9 * prev(x) + pre.spike
  update c = {rng.choice(DECAYS)} + {drives}
  update e = {rng.choice(["0.97", "0.9", "0.93"])} * prev(e) + c * {rng.choice(["pre", "post"])}.spike + 0.02 * pre.trace * post.spike
  increment {readers}"""


def graph_of(kind: str, rule: str = RULE, limits: str = "0 1.5", seed: int = 0, delay: int = 1) -> Graph:
    rng = np.random.default_rng(seed)
    graph = parse_graph(TEXT.format(kind=kind, rule=rule, limits=limits, pre=PRE, post=POST, delay=delay))
    arrays = {"D.w": np.ones((POST, 1)), "W.w": rng.uniform(0, 0.3, (POST, PRE))}
    if kind == "masked":
        arrays["W.mask"] = (rng.uniform(size=(POST, PRE)) < 0.5).astype(float)
        arrays["W.w"] *= arrays["W.mask"]
    if kind == "sparse":
        arrays |= {"W.pre": rng.integers(0, PRE, 80), "W.post": rng.integers(0, POST, 80), "W.w": rng.uniform(0, 1, 80)}
    return graph.with_(arrays=arrays)


def setup_of(graph: Graph, steps: int = 160, silent: tuple[int, int] = (40, 110), seed: int = 1) -> Setup:
    """Events, silence, and events again; reward in a tenth of the steps."""
    rng = np.random.default_rng(seed)
    samples = rng.uniform(0, 1, (steps, PRE + 1))
    samples[:, PRE] = np.where(rng.uniform(size=steps) < 0.1, 0.91 + samples[:, PRE], 0)
    samples[slice(*silent), :PRE] = 0
    gates = (("learn", (1.0, 1.0, 0.0)), ("tag", (*[0.0] * 16, 1.0)))
    return Setup(graph, Protocol((Phase("all", steps, 1, gates=gates),), ("all",)), samples, (0,))


def lazily(setup: Setup) -> Setup:
    return replace(setup, graph=DeferDecay(0).apply(setup.graph, Request()))
