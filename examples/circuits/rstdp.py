"""Spike timing with reward (Izhikevich 2007, Cereb Cortex 17:2443), in small: a stimulus that is followed by reward,
and others that are not, excite spiking cells. Pairs of spikes leave an eligibility c at the synapse for about a second;
dopamine, which a reward releases, turns it into weight.

    dc/dt = -c / tau_c + STDP        dw/dt = c dopamine        d dopamine/dt = -dopamine / tau_dopamine + reward
"""

import numpy as np

from cortexc import Graph, parse_graph

TEXT = """
graph rstdp
  dt 1
  gate begin
  gate pulse
  gate window
  gate learn
cell stimulus_cell
  parameter background Hz = {background}
  parameter tau ms = 20
  input shown
  noise u uniform
  state trace = 0
  send spike = where(u < background * dt / 1000 or shown * gate.pulse > 0, 1, 0)
  send trace = exp(-dt / tau) * prev(trace) + spike
  message spike
  message trace
cell dopamine_cell
  parameter tau ms = 200
  input reward
  state dopamine = 0
  send dopamine = exp(-dt / tau) * prev(dopamine) + reward * gate.pulse
  message dopamine
cell cortical_cell = library.izhikevich
  port dopamine
  parameter tau ms = 20
  parameter strength 1 = 13
  noise white uniform(-0.5, 0.5)
{chance}  receive dv/dt = 0.04 * v * v + 5 * v + 140 - u + strength * white @ soma
  state trace = 0
  state response = 0
  receive trace = exp(-dt / tau) * prev(trace) + spike
  receive response = where(gate.begin > 0, 0, prev(response)) + where(gate.window > 0, spike, 0)
  factor reward = {reward}
{forgets}rule dopamine_timing
  parameter tau_c ms = 1000
  parameter rate 1/ms = {rate}
  parameter potentiation 1 = 0.1
  parameter depression 1 = 0.15
  state c = 0
  update c = {kept} + potentiation * pre.trace * post.spike - depression * post.trace * pre.spike
  increment dt * rate * c * post.reward
synapse plastic
  message spike
  port synapses
  limits 0 4
  rule dopamine_timing
synapse broadcast
  message dopamine
  port dopamine
population stimuli stimulus_cell {inputs} area=thalamus
population reward dopamine_cell 1 area=midbrain
population cortex cortical_cell {cells} area=cortex
projection W plastic stimuli -> cortex gate=learn
projection D broadcast reward -> cortex
output response = cortex.response
"""

KEPT = {"reward": "dopamine", "chance": "", "forgets": "", "kept": "exp(-dt / tau_c) * prev(c)"}
DROPPED = {"reward": "max(dopamine, 0)", "chance": "  noise chance uniform\n",
           "forgets": "  factor forgets = where(chance < 0.128 * dt, 1, 0)\n",
           "kept": "prev(c) - 0.0078125 * post.forgets * prev(c)"}


def build(inputs: int = 40, cells: int = 10, background: float = 2.0, rate: float = 0.005, first: float = 2.0,
          dropped: bool = False, seed: int = 0) -> Graph:
    """`background` Hz; `first`: largest first weight in mV, of a uniform distribution from half of it. `dropped`: now
    and then a cell lets all its eligibilities fall by 2^-7, as often as gives tau_c on average: no engine's leak is
    smaller."""
    decay = DROPPED if dropped else KEPT
    graph = parse_graph(TEXT.format(inputs=inputs, cells=cells, background=background, rate=rate, **decay))
    return graph.with_(arrays={"W.w": np.random.default_rng(seed).uniform(first / 2, first, (cells, inputs)),
                               "D.w": np.ones((cells, 1))})
