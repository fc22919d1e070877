"""A circuit with a name of every kind, and how to give its names away: `circuit({"state": "np"})`."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from cortexc.compiler.ir import Graph, parse_graph
from cortexc.compiler.ir.protocol import Phase, Protocol
from cortexc.compiler.verify import Setup

KINDS = ("source", "unit", "relay", "x", "noise", "rate", "drive", "port", "other_port", "tau", "gain", "u", "spike",
         "factor", "hebb", "eta", "trace", "draw", "plain", "clip", "kept", "forward", "back", "pass", "summed", "T",
         "input", "hidden", "top", "side", "W", "B", "I", "V", "learn", "apply", "area")
"""Every name of the circuit; what is called so in `TEXT` stands for it."""
TEXT = """
graph hostile
  dt 0.5
  gate {learn}
  gate {apply}
  noise counter gate={learn}
cell {source}
  parameter {gain} 1 = 0.5
  input {x}
  noise {noise} normal
  state {rate} = 0.25
  send {drive} = {x} + 0.1 * {noise} * {gain}
  send {rate} = tanh({drive} + prev({rate})) + {gain} * lookup({T}, 2 * {x})
  message {rate}
cell {unit}
  port {port} @ soma
  port {other_port} @ soma
  parameter {tau} ms = 4
  parameter {gain} 1 = 0.5
  state {u} = {gain} * 0.1
  state {spike} = 0
  send {spike} = prev({u}) > 0.2
  receive {u} = prev({u}) + dt * ({port} + {gain} * {other_port} - prev(prev({u})) * where(gate.{learn} > 0, 1, {gain})) / {tau}
  factor {factor} = {u} * logistic({u}) - prev({u})
  message {spike}
  message {u}
cell {relay}
  port {port} @ soma
  send {rate} = 2 * {port}
  message {rate}
rule {hebb}
  parameter {eta} 1 = 0.1
  noise {draw} uniform
  state {trace} = 0.1
  update {trace} = 0.5 * prev({trace}) + post.{factor} * prev(pre.{rate}) + 0.01 * {draw}
  increment {eta} * {trace} * gate.{learn} - 0.01 * w * {eta}
  optimiser low_pass({eta} * 0.5)
rule {plain}
  parameter {eta} 1 = 0.2
  increment {eta} * post.{u} * prev(pre.{rate})
rule {clip}
  parameter {eta} 1 = 0.1
  state {kept} = 0
  update {kept} = prev({kept}) + pre.{spike}
  increment {eta} * (post.{rate} + {kept}) * pre.{u}
  optimiser clipped({eta})
synapse {forward}
  message {rate}
  port {port}
  rule {hebb}
synapse {back}
  message {spike}
  port {other_port}
synapse {pass}
  message {u}
  port {port}
  connectivity identity
synapse {summed}
  message {u}
  port {port}
  rule {clip}
synapse {plain}
  message {rate}
  port {other_port}
  rule {plain}
population {input} {source} 3
population {hidden} {unit} 2 area={area}
population {top} {relay} 2 area={area}
population {side} {relay} 2
projection {W} {forward} {input} -> {hidden} gate={learn}
projection {V} {plain} {input} -> {hidden} gate={learn}
projection {B} {back} {hidden} -> {hidden}
projection {I} {pass} {hidden} -> {top}
projection {K} {summed} {hidden} -> {side} gate={learn} apply={apply}
"""


def circuit(names: Mapping[str, str]) -> Graph:
    """The circuit with some of its names replaced, not verified; every array is drawn again, to the same numbers."""
    n = {kind: kind for kind in (*KINDS, "K")} | dict(names)
    rng = np.random.default_rng(3)
    arrays = {f"{n[q]}.w": rng.uniform(-0.5, 0.5, shape) for q, shape in (
        ("W", (2, 3)), ("V", (2, 3)), ("B", (2, 2)), ("K", (2, 2)))}
    arrays |= {f"{n['hidden']}.{n['tau']}": rng.uniform(3, 5, 2), f"table.{n['T']}": rng.uniform(size=4)}
    return parse_graph(TEXT.format(**n)).with_(arrays=arrays)


def setup(graph: Graph, steps: int = 7, width: int = 3) -> Setup:
    gates = {graph.gates[0]: (1.0, 1.0, 0.0), graph.gates[1]: (0.0, 1.0)}
    protocol = Protocol((Phase("all", steps, 1, gates=tuple(gates.items())),), ("all",))
    samples = np.random.default_rng(0).uniform(-1, 1, (steps, width))
    return Setup(graph, protocol, samples, tuple(range(1, 1 + graph.seeds)))
