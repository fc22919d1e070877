"""How a neuron can send the slope of its activation (Max et al. 2026, Fig 8; specs/error_neuron.md 8.6).

White noise on the voltage makes the rate fluctuate in proportion to the slope; a rectified high-pass at the receiver,
summed in `total`, reads that.
"""

from cortexc import Graph, parse_graph

CELL = """
cell {phi}_neuron
  parameter sigma 1
  parameter tau ms = 0.1
  input voltage
  noise white normal
  state rate = 0
  state high_pass = 0
  state total = 0
  send rate = {phi}(voltage + sigma * white)
  receive high_pass = prev(high_pass) + (rate - prev(rate)) - dt / tau * prev(high_pass)
  receive total = prev(total) + relu(high_pass)
  message rate
population {phi} {phi}_neuron 1
  sigma = {sigma}
"""


def build(sigma: float = 0.1, activations: tuple[str, ...] = ("tanh", "relu", "logistic")) -> Graph:
    """One neuron per activation; sigma is the noise on its voltage."""
    text = "graph derivative-transfer\n  dt 0.01\n  gate noise\n  noise counter gate=noise " + " ".join(activations)
    return parse_graph(text + "".join(CELL.format(phi=phi, sigma=sigma) for phi in activations))
