"""Digits without a teacher (Diehl & Cook 2015, Front Comput Neurosci 9:99).

Every pixel is a Poisson source to all excitatory cells; each of those has an inhibitory cell of its own, which inhibits
all the others. Thresholds adapt; weights learn by spike timing and are scaled to a sum after every image. Parameters
are the paper's; weights and conductances are in units of the leak, 1 nS.
"""

import numpy as np

from cortexc import Graph, parse_graph

TEXT = """
graph diehl-cook
  dt {dt}
  noise counter gate=show pixels
  gate show
  gate begin
  gate learn
  gate pace
  gate normalise
cell pixel
  port arousal
  input brightness
  parameter highest_rate Hz = {highest_rate}
  parameter tau ms = 20
  parameter keep = exp(-dt / tau)
  noise u uniform
  state spike = 0
  state trace = 0
  state gain = 1
  send spike = where(gate.show > 0 and u < brightness * highest_rate * prev(gain) * dt / 1000, 1, 0)
  send trace = where(spike > 0, 1, keep * prev(trace))
  receive gain = arousal
  message spike
  message trace
cell arousal_cell
  port spikes
  parameter least 1 = 5
  parameter ramp ms = {ramp}
  state count = 0
  state gain = 1
  receive count = where(gate.begin > 0, 0, prev(count)) + spikes
  receive gain = where(gate.begin > 0, 1, where(gate.show > 0 and count < least, prev(gain) + dt / ramp, prev(gain)))
  message gain late
cell excitatory_cell
  port excitatory
  port inhibitory
  parameter tau ms = 100
  parameter v_rest mV = -65
  parameter v_threshold mV = -72
  parameter e_excitatory mV = 0
  parameter e_inhibitory mV = -100
  parameter t_refractory ms = 5
  parameter tau_excitatory ms = 1
  parameter tau_inhibitory ms = 2
  parameter keep_excitatory = exp(-dt / tau_excitatory)
  parameter keep_inhibitory = exp(-dt / tau_inhibitory)
  parameter gain_excitatory = (1 - keep_excitatory) * tau_excitatory / dt
  parameter gain_inhibitory = (1 - keep_inhibitory) * tau_inhibitory / dt
  parameter theta_step mV = {theta_step}
  parameter tau_theta ms = {tau_theta}
  parameter keep_theta = exp(-dt / tau_theta)
  parameter tau_fast ms = 20
  parameter tau_slow ms = 40
  parameter keep_fast = exp(-dt / tau_fast)
  parameter keep_slow = exp(-dt / tau_slow)
  state v = v_rest
  state g_excitatory = 0
  state g_inhibitory = 0
  state theta = 20
  state fast = 0
  state slow = 0
  state count = 0
  receive g_excitatory = keep_excitatory * prev(g_excitatory) + gain_excitatory * excitatory
  receive g_inhibitory = keep_inhibitory * prev(g_inhibitory) + gain_inhibitory * inhibitory
  integrator exponential_euler
  receive dv/dt = (v_rest - v + g_excitatory * (e_excitatory - v) + g_inhibitory * (e_inhibitory - v)) / tau
  spike when v >= v_threshold + prev(theta)
  reset v = v_rest
  hold t_refractory ms
  receive theta = where(gate.learn > 0, keep_theta * prev(theta) + theta_step * spike, prev(theta))
  receive fast = where(spike > 0, 1, keep_fast * prev(fast))
  receive slow = where(spike > 0, 1, keep_slow * prev(slow))
  receive count = where(gate.begin > 0, 0, prev(count)) + spike
  factor paired = spike * keep_slow * prev(slow)
  factor recent = fast
  message spike
cell inhibitory_cell
  port excitatory
  parameter tau ms = 10
  parameter v_rest mV = -60
  parameter v_reset mV = -45
  parameter v_threshold mV = -40
  parameter e_excitatory mV = 0
  parameter t_refractory ms = 2
  parameter tau_excitatory ms = 1
  parameter keep_excitatory = exp(-dt / tau_excitatory)
  parameter gain_excitatory = (1 - keep_excitatory) * tau_excitatory / dt
  state v = v_rest
  state g_excitatory = 0
  receive g_excitatory = keep_excitatory * prev(g_excitatory) + gain_excitatory * excitatory
  integrator exponential_euler
  receive dv/dt = (v_rest - v + g_excitatory * (e_excitatory - v)) / tau
  spike when v >= v_threshold
  reset v = v_reset
  hold t_refractory ms
  message spike
rule timing
  parameter rate_pre 1 = {rate_pre}
  parameter rate_post 1 = {rate_post}
  parameter total nS = {total}
  increment rate_post * pre.trace * post.paired * gate.pace - rate_pre * pre.spike * post.recent * gate.pace \
+ where(gate.normalise > 0, w * (total / post.sum(w) - 1), 0)
synapse seen
  message spike
  port excitatory
  sign non_negative
  limits 0 1
  rule timing
synapse excite
  message spike
  port excitatory
  connectivity one_to_one
synapse inhibit
  message spike
  port inhibitory
synapse counted
  message spike
  port spikes
synapse arouse
  message gain
  port arousal
population pixels pixel {pixels} area=input
population excitatory excitatory_cell {cells} area=cortex
population inhibitory inhibitory_cell {cells} area=cortex
population arousal arousal_cell 1 area=input
projection to_excitatory seen pixels -> excitatory gate=learn
projection to_inhibitory excite excitatory -> inhibitory
projection lateral inhibit inhibitory -> excitatory
projection to_arousal counted excitatory -> arousal
projection to_pixels arouse arousal -> pixels
output count = excitatory.count
"""


def build(cells: int = 400, pixels: int = 784, dt: float = 0.5, highest_rate: float = 63.75, excite: float = 10.4,
          inhibit: float = 17.0, total: float = 78.4, rate_pre: float = 1e-4, rate_post: float = 1e-2,
          theta_step: float = 0.05, tau_theta: float = 1e7, ramp: float = 100.0, seed: int = 0) -> Graph:
    """`dt` ms; `highest_rate` Hz of a white pixel; `total`: sum of a cell's weights after every image."""
    first = np.random.default_rng(seed).uniform(0.003, 0.303, (cells, pixels))
    graph = parse_graph(TEXT.format(cells=cells, pixels=pixels, dt=dt, highest_rate=highest_rate, total=total,
                                    rate_pre=rate_pre, rate_post=rate_post, theta_step=theta_step, tau_theta=tau_theta,
                                    ramp=ramp))
    return graph.with_(arrays={
        "to_excitatory.w": first * (total / first.sum(axis=1, keepdims=True)),
        "to_arousal.w": np.ones((1, cells)), "to_pixels.w": np.ones((pixels, 1)),
        "to_inhibitory.w": np.full(cells, excite), "lateral.w": inhibit * (1 - np.eye(cells))})
