"""A sheet of cortex: cells whose connections fall off with distance, and whose spikes take time to cross it.

`side` x `side` excitatory cells and half as many along each side of inhibitory ones lie on 1 mm x 1 mm that wraps
around. Two cells are joined with probability `peak` exp(-d^2 / (2 sigma^2)), sigma = `excitatory_mm` or
`inhibitory_mm`; a spike takes 0.5 ms and d / `velocity`, mm/ms (unmyelinated axons of cortex: 0.1 to 0.4, Girard, Hupe
& Bullier 2001, J Neurophysiol 85:1328). What drives it is noise alone, a Poisson train per cell (1/ms). Where
inhibition reaches farther than excitation, activity gathers in bumps that wander; with as much of it that reaches no
farther (`inhibitory_mm` = 0.05, `inhibition` = 360) it does not.
"""

from cortexc.compiler.ir import Graph, parse_circuit

TEXT = """graph sheet
  dt 0.1
cell lif = library.lif_exp
  parameter rate 1/ms = {rate}
  parameter tau_excitatory ms = 5
  parameter tau_inhibitory ms = {tau_inhibitory}
  noise external poisson(rate * dt)
  jump i_excitatory = i_excitatory + excitatory + 20 pA * external
synapse excitation
  message spike
  port excitatory
  connectivity sparse
  sign non_negative
synapse inhibition
  message spike
  port inhibitory
  connectivity sparse
  sign non_positive
population E lif {cells}
  place grid {side}x{side} on 1 mm x 1 mm wrapped
  v = uniform(-70 mV, -55 mV) seed=1
population I lif {fewer}
  place grid {half}x{half} on 1 mm x 1 mm wrapped
  v = uniform(-70 mV, -55 mV) seed=1
"""
PROJECTION = """projection {pre}_{post} {kind} {pre} -> {post}
  connect distance {peak} gaussian({sigma} mm) seed={seed}
  w = {weight} pA
  delay = 0.5 ms + distance / ({velocity} mm/ms)
"""


def build(side: int = 50, excitatory_mm: float = 0.05, inhibitory_mm: float = 0.15, peak: float = 0.5,
          excitation: float = 100.0, inhibition: float = 40.0, tau_inhibitory: float = 10.0, rate: float = 4.0,
          velocity: float = 0.2, network_seed: int = 1) -> Graph:
    """Weights in pA, time constant of inhibition in ms."""
    half = side // 2
    text = TEXT.format(side=side, cells=side**2, half=half, fewer=half**2, rate=rate, tau_inhibitory=tau_inhibitory)
    kinds = {"E": ("excitation", excitatory_mm, excitation), "I": ("inhibition", inhibitory_mm, -inhibition)}
    return parse_circuit(text + "".join(
        PROJECTION.format(pre=pre, post=post, kind=kind, sigma=sigma, weight=weight, peak=peak, velocity=velocity,
                          seed=network_seed) for pre, (kind, sigma, weight) in kinds.items() for post in "EI"))
