"""A circuit of one's own: an adapting readout that learns by a local delta rule with an eligibility trace."""

import numpy as np

from cortexc import Graph, parse_graph

TEXT = """
graph adapting-readout
  gate learn
  gate teach
cell source
  input value
  send rate = value
  message rate
cell adapting_readout                      # a leaky cell that adapts to its own activity
  port basal @ basal
  port soma @ soma
  parameter tau ms = 4
  parameter adaptation 1 = 0.1
  state u = 0
  state tired = 0
  send rate = logistic(prev(u) - prev(tired))
  receive u = prev(u) + dt * (basal - prev(u)) / tau @ soma
  receive tired = prev(tired) + dt * (adaptation * rate - prev(tired)) / 20 @ soma
  receive error = where(gate.teach > 0, soma - rate, 0) @ soma
  message rate
rule traced_delta                          # the error meets a trace of the presynaptic rate at the synapse
  parameter eta 1/ms
  state trace = 0
  update trace = 0.7 * prev(trace) + 0.3 * pre.rate
  increment dt * eta * post.error * trace
synapse learned
  message rate
  port basal
  limits -8 8
  rule traced_delta
synapse teaching
  message rate
  port soma
  connectivity identity
population input source 8 area=input
population teacher source 3 area=readout
population readout adapting_readout 3 area=readout
projection W learned input -> readout gate=learn
  eta = 0.05
projection T teaching teacher -> readout
output rate = readout.rate
"""


def build(seed: int = 0, span: float = 0.1) -> Graph:
    """The circuit with seeded uniform weights."""
    weights = np.random.default_rng(seed).uniform(-span, span, (3, 8))
    return parse_graph(TEXT).with_(arrays={"W.w": weights})
