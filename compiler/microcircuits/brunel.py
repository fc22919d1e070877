"""Brunel's network of excitatory and inhibitory cells (Brunel 2000, J Comput Neurosci 8:183).

4 `order` excitatory cells `E` and `order` inhibitory ones `I`, all the same leaky integrate-and-fire cell with delta
synapses. Every cell has C_E = 4 `epsilon` `order` excitatory and C_I = `epsilon` `order` inhibitory partners, drawn for
it, and C_E Poisson trains from outside. Inhibition is `g` times as strong as excitation, `J` mV; the trains' rate is
`eta` times that which alone would bring a cell to its threshold. g and eta choose the regime: synchronous or
asynchronous, regular or irregular.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from cortexc.compiler.ir import Graph, parse_circuit
from cortexc.compiler.microcircuits.parts import check_range

TAU_M, THETA = 20.0, 20.0
"""Membrane time constant (ms) and threshold (mV)."""


@dataclass(frozen=True)
class Brunel:
    """Everything that fixes the circuit. J mV, delay and dt ms, share `epsilon` of the cells that each one hears.

    plastic: excitatory synapses follow additive STDP with `learning_rate`, from 0 to 3 J. network_seed: of the
    partners.
    """

    order: int = 2500
    epsilon: float = 0.1
    J: float = 0.1
    g: float = 5.0
    eta: float = 2.0
    delay: float = 1.5
    plastic: bool = False
    learning_rate: float = 0.01
    network_seed: int = 1
    dt: float = 0.1
    variant: str = ""
    arrays: dict[str, Any] = field(default_factory=dict)

    @property
    def sizes(self) -> dict[str, int]:
        return {"E": 4 * self.order, "I": self.order}

    @property
    def indegrees(self) -> dict[str, int]:
        """Partners of every cell, by their population: C_E and C_I."""
        return {name: round(self.epsilon * size) for name, size in self.sizes.items()}

    @property
    def external_rate(self) -> float:
        """Spikes from outside per ms and cell: C_E nu_ext."""
        return self.eta * THETA / (self.J * TAU_M)


TEXT = """graph brunel
  dt {dt}
cell lif = library.lif_delta
  parameter tau_m ms = {tau_m}
  parameter v_rest mV = 0
  parameter v_reset mV = 10
  parameter v_threshold mV = {theta}
  parameter rate 1/ms = {rate}
  parameter J mV = {J}
  noise external poisson(rate * dt)
  jump v = v + synapses + J * external
{rule}synapse excitation
  message spike
  port synapses
  connectivity sparse
  sign non_negative
{learns}synapse inhibition
  message spike
  port synapses
  connectivity sparse
  sign non_positive
population E lif {E}
population I lif {I}
"""
RULE = """rule stdp = library.stdp_additive
  parameter learning_rate 1 = {learning_rate}
  parameter w_max mV = {limit}
"""
LEARNS = """  limits 0 {limit}
  rule stdp
"""
PROJECTION = """projection {pre}_{post} {kind} {pre} -> {post} delay={delay}
  connect fixed_indegree {number} seed={seed} autapses multapses
  w = {weight}
"""


def build(circuit: Brunel) -> Graph:
    """Raises E330."""
    check_range("order", circuit.order, 1, 10**7)
    check_range("epsilon", circuit.epsilon, 0.25 / circuit.order, 1)
    check_range("J", circuit.J, 1e-9, 1e3)
    own = {"limit": repr(3 * circuit.J), "learning_rate": repr(circuit.learning_rate)}
    text = TEXT.format(dt=circuit.dt, tau_m=TAU_M, theta=THETA, rate=circuit.external_rate, J=circuit.J,
                       **circuit.sizes,
                       rule=RULE.format(**own) if circuit.plastic else "",
                       learns=LEARNS.format(**own) if circuit.plastic else "")
    kinds = {"E": ("excitation", circuit.J), "I": ("inhibition", -circuit.g * circuit.J)}
    text += "".join(PROJECTION.format(pre=pre, post=post, kind=kind, number=circuit.indegrees[pre], weight=weight,
                                      seed=circuit.network_seed, delay=round(circuit.delay / circuit.dt))
                    for pre, (kind, weight) in kinds.items() for post in circuit.sizes)
    return parse_circuit(text).with_(arrays=circuit.arrays)
