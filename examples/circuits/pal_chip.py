"""PAL (Max et al. 2024) in the nearest form that we know whose every rule a chip's learning engine has; conductances
and look-ahead are those of the shipped circuit `pal`.

1. The noise of a pyramidal cell comes in pairs, +sigma and -sigma with a random sign, and the rule reads the cell's own
   noise as it was when it made what now arrives. What stays the same in both steps of a pair cancels: the filter is at
   the noise, where the neuron can compute it, in the place of PAL's high-pass of the presynaptic rate.
2. Interneurons send by how much the rate of their twin above differs from their own. One projection B carries it to
   the apical dendrite, in the place of feedback (BPP) and lateral inhibition (BPI) that cancel. Interneurons follow
   a step late, so pairs of noise are in that difference, while what they predict is not.
3. Feedback weights do not decay.

`joined=False` leaves out 2 and `alpha` 3, so that what each step costs can be measured: `cortexc bench chip-steps`.
"""

from collections.abc import Sequence

import numpy as np

from cortexc import Graph, parse_graph

TEXT = """
graph pal-chip
  dt 0.01
  gate learn_forward
  gate learn_lateral
  gate learn_feedback
  gate noise
  gate target
cell source
  input value
  state rate = 0
  send rate = value
  message rate
cell hidden_pyramidal
  port basal @ basal
  port apical @ apical
  parameter sigma 1
  noise chance uniform
  state u = 0
  state rate = 0.5
  state basal_potential = 0
{state}  state first = 0
  state sign = 0
  state xi = 0
  send breve = prev(prev(u)) + {tau} * (prev(u) - prev(prev(u))) / dt
  send rate = logistic(breve)
  receive basal_potential = basal @ basal
{receive}  receive first = where(prev(first) > 0, 0, 1) @ apical
  receive sign = where(first > 0, where(chance < 0.5, -1, 1), prev(sign)) @ apical
  receive xi = where(gate.noise > 0, sigma * sign * (2 * first - 1), 0) @ apical
  receive drive = {tau} * (0.1 * basal_potential + 0.06 * (apical + xi)) @ soma
  receive u = prev(u) + dt * (drive - prev(u)) / {tau} @ soma
  factor mismatch = rate - logistic({hidden} * prev(basal_potential))
  factor probe = {probe}
  message rate
  message breve
cell output_pyramidal
  port basal @ basal
  port target @ soma
  state u = 0
  state rate = 0.5
  state basal_potential = 0
  send breve = prev(prev(u)) + {tau} * (prev(u) - prev(prev(u))) / dt
  send rate = logistic(breve)
  receive basal_potential = basal @ basal
  receive taught = {tau} * (0.1 * basal_potential + 0.06 * target) @ soma
  receive drive = where(gate.target > 0, taught, {top} * basal_potential) @ soma
  receive u = prev(u) + dt * (drive - prev(u)) / {tau} @ soma
  factor mismatch = rate - logistic({top} * prev(basal_potential))
  message rate
  message breve
cell interneuron
  port dendrite @ dendrite
  port soma @ soma
  state u = 0
  state rate = 0.5
  state twin = 0
  state difference = 0
  state dendritic_potential = 0
  send breve = prev(prev(u)) + {tau} * (prev(u) - prev(prev(u))) / dt
  send rate = logistic(breve)
  send difference = logistic(prev(twin)) - rate
  receive dendritic_potential = dendrite @ dendrite
  receive twin = soma @ soma
  receive drive = {tau} * (0.1 * dendritic_potential + 0.06 * twin) @ soma
  receive u = prev(u) + dt * (drive - prev(u)) / {tau} @ soma
  factor mismatch = rate - logistic({top} * prev(dendritic_potential))
  message {message}
rule delta
  parameter eta 1/ms
  increment dt * eta * post.mismatch * prev(pre.rate)
rule feedback_alignment
  parameter eta 1/ms
  increment dt * eta * post.probe * prev(pre.{message}){decay}
synapse bottom_up
  message rate
  port basal
  rule delta
synapse lateral_excitation
  message rate
  port dendrite
  rule delta
synapse top_down
  message {message}
  port apical
  rule feedback_alignment
{inhibition}synapse twin_nudging
  message breve
  port soma
  connectivity identity
synapse teaching
  message rate
  port target
  connectivity identity
population input source {inputs} area=input
{populations}population teacher source {outputs} area=layer{top_layer}
{projections}projection target teaching teacher -> P{last}
output output = P{last}.breve
"""
SEPARATE = dict(message="rate", probe="prev(prev(prev(xi)))", state="  state apical_potential = 0\n",
                receive="  receive apical_potential = apical @ apical\n", inhibition="""rule apical_cancellation
  parameter eta 1/ms
  increment dt * eta * -prev(post.apical_potential) * prev(pre.rate)
synapse lateral_inhibition
  message rate
  port apical
  rule apical_cancellation
""")
JOINED = dict(message="difference", probe="prev(prev(prev(prev(xi))))", state="", receive="", inhibition="")
TAU, HIDDEN, TOP = 1 / 0.19, 0.1 / 0.19, 0.1 / 0.13


def build(layers: Sequence[int] = (64, 30, 10), eta_fw: Sequence[float] = (30.0, 0.1), eta_IP: float = 0.9,
          eta_bw: float = 12.8, sigma: float = 0.0625, up: Sequence[float] = (-0.1, 0.1),
          down: Sequence[float] = (-1.0, 1.0), seed: int = 0,
          joined: bool = True, eta_PI: float = 0.02, alpha: float = 0.0) -> Graph:
    """Rates in 1/ms; `up`, `down`: ranges of the first forward and feedback weights, drawn as for the circuit `pal`;
    `eta_PI` is of the lateral inhibition, where feedback is not `joined`; `alpha`: the decay of feedback weights, times
    their rate."""
    last, generator = len(layers) - 2, np.random.RandomState(seed)
    populations, projections, arrays = "", "", {}
    for i, size in enumerate(layers[1:]):
        below, kind = (f"P{i - 1}" if i else "input"), "hidden_pyramidal" if i < last else "output_pyramidal"
        populations += f"population P{i} {kind} {size} area=layer{i + 1}\n" + f"  sigma = {sigma}\n" * (i < last)
        projections += f"projection WPP_{i} bottom_up {below} -> P{i} gate=learn_forward\n  eta = {eta_fw[i]}\n"
        arrays[f"WPP_{i}.w"] = generator.uniform(*up, (layers[i], size)).T.copy()
    down_name = "B" if joined else "BPP"
    for i in reversed(range(last)):
        arrays[f"{down_name}_{i}.w"] = generator.uniform(*down, (layers[i + 2], layers[i + 1])).T.copy()
    for i in range(last):
        populations += f"population I{i} interneuron {layers[i + 2]} area=layer{i + 1}\n"
        projections += (f"projection WIP_{i} lateral_excitation P{i} -> I{i} gate=learn_lateral\n  eta = {eta_IP}\n"
                        f"projection {down_name}_{i} top_down {f'I{i}' if joined else f'P{i + 1}'} -> P{i} "
                        f"gate=learn_feedback\n  eta = {eta_bw}\n"
                        f"projection twin_{i} twin_nudging P{i + 1} -> I{i}\n")
        if not joined:
            projections += f"projection BPI_{i} lateral_inhibition I{i} -> P{i} gate=learn_lateral\n  eta = {eta_PI}\n"
            arrays[f"BPI_{i}.w"] = -arrays[f"BPP_{i}.w"]
        arrays[f"WIP_{i}.w"] = (HIDDEN if i < last - 1 else TOP) / TOP * arrays[f"WPP_{i + 1}.w"]
    text = TEXT.format(tau=TAU, hidden=HIDDEN, top=TOP, inputs=layers[0], outputs=layers[-1], last=last,
                       top_layer=last + 1, populations=populations, projections=projections,
                       decay=f" - dt * {alpha} * eta * w" if alpha else "", **(JOINED if joined else SEPARATE))
    return parse_graph(text).with_(arrays=arrays)
