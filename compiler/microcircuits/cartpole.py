"""A pole on a cart as a cell type, so that a circuit and what it controls are one graph (specs/error_neuron.md 8.1).

The equations are those of the classic control task, explicit Euler in steps of `step` seconds: force on the cart (N),
cart and pole masses (kg), half length (m), g (m/s^2). Where gate `move` is on, the pole moves by one step; where it
falls (angle beyond `angle_limit` rad, position beyond `position_limit` m), or gate `restart` is on, it starts anew from
its exogenous inputs. `failures` counts the falls since gate `begin`. Where gate `control` is on, the circuit's input is
the pole's state instead of the sample.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from cortexc.compiler.ir import Graph, Population, Projection, parse_graph

GATES = ("control", "move", "restart", "begin")
STATE = ("position", "velocity", "angle", "speed")
"""What the circuit sees of the pole, in the order of its input cells."""

CELLS = """
cell cartpole
  port force @ cart
  parameter scale N
  parameter step s = 0.01
  parameter gravity m/s^2 = 9.8
  parameter cart kg = 1.0
  parameter pole kg = 0.1
  parameter half_length m = 0.5
  parameter position_limit m = 2.4
  parameter angle_limit rad = 1.222
  input start_position
  input start_velocity
  input start_angle
  input start_speed
  state position = 0
  state velocity = 0
  state angle = 0
  state speed = 0
  state failures = 0
  send seen_position = prev(position)
  send seen_velocity = prev(velocity)
  send seen_angle = prev(angle)
  send seen_speed = prev(speed)
  receive moves = gate.move
  receive push = (scale * force + pole * half_length * prev(speed) * prev(speed) * sin(prev(angle))) / (cart + pole)
  receive spin = (gravity * sin(prev(angle)) - cos(prev(angle)) * push) / \
(half_length * (4.0 / 3.0 - pole * cos(prev(angle)) * cos(prev(angle)) / (cart + pole)))
  receive pull = push - pole * half_length * spin * cos(prev(angle)) / (cart + pole)
  receive next_position = prev(position) + step * prev(velocity)
  receive next_angle = prev(angle) + step * prev(speed)
  receive fallen = where(moves > 0 and (abs(next_position) > position_limit or abs(next_angle) > angle_limit), 1.0, 0.0)
  receive anew = where(fallen > 0 or gate.restart > 0, 1.0, 0.0)
  receive position = where(anew > 0, start_position, where(moves > 0, next_position, prev(position)))
  receive velocity = where(anew > 0, start_velocity, where(moves > 0, prev(velocity) + step * pull, prev(velocity)))
  receive angle = where(anew > 0, start_angle, where(moves > 0, next_angle, prev(angle)))
  receive speed = where(anew > 0, start_speed, where(moves > 0, prev(speed) + step * spin, prev(speed)))
  receive failures = where(gate.begin > 0, 0.0, prev(failures)) + fallen
  message seen_position
  message seen_velocity
  message seen_angle
  message seen_speed
cell controlled_source
  port pole @ pole
  input value
  state rate = 0
  receive rate = where(gate.control > 0, pole, value)
  message rate
synapse force
  message rate
  port force
  connectivity identity
"""

OBSERVATION = "synapse see_{name}\n  message seen_{name}\n  port pole\n"


def with_cartpole(graph: Graph, output: str, scale: float) -> Graph:
    """The graph whose population `input` (4 cells) may see the pole that its population `output` (1 cell) pushes with
    `scale` times its rate, in N."""
    more = parse_graph(CELLS + "".join(OBSERVATION.format(name=name) for name in STATE))
    populations = tuple(replace(p, cell="controlled_source") if p.name == "input" else p for p in graph.populations)
    pole = Population("pole", "cartpole", 1, "plant", (("scale", scale),))
    projections = tuple(replace(q, delay=0) if q.pre == "input" else q for q in graph.projections)
    seen = tuple(Projection(f"see_{name}", f"see_{name}", "pole", "input") for name in STATE)
    arrays = {f"see_{name}.w": np.eye(len(STATE))[:, i:i + 1] for i, name in enumerate(STATE)}
    return graph.with_(
        cells=(*graph.cells, *more.cells), synapses=(*graph.synapses, *more.synapses), gates=(*graph.gates, *GATES),
        populations=(*populations, pole), arrays={**graph.arrays, **arrays},
        projections=(*projections, *seen, Projection("force", "force", output, "pole")))
