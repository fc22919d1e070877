"""Circuits that mean exactly what Lava's stock processes compute in fixed point: LIF, Dense and LearningDense.

Integers only, held in float64. A cell's buffer `held` is Dense's own: what arrives in one step acts in the next.
Sources: lava-nc 0.10.0, proc/lif/models.py (PyLifModelBitAcc), proc/dense/models.py,
magma/core/model/py/connection.py and magma/core/learning/learning_rule_applier.py (LearningRuleApplierBitApprox).
"""

from __future__ import annotations

import math

import numpy as np

from cortexc import Graph, parse_graph

LIF = """
cell lif                          # current and voltage: 24 bits; times in steps
  port current @ dendrite
  parameter du 1 = 409            # decay of the current, (du + 1) / 4096 per step
  parameter dv 1 = 200            # decay of the voltage, dv / 4096 per step
  parameter vth 1 = 200           # threshold, in units of 64
  parameter bias 1 = 0
  parameter weight_exp 1 = 0      # binary exponent of all weights
  state held = 0
  state u = 0
  state v = 0
  send u_left = prev(u) * (4096 - (du + 1)) / 4096
  send u_sum = where(u_left < 0, -floor(-u_left), floor(u_left)) + 64 * prev(held)
  send u = where(u_sum > 8388608, u_sum - 16777216, where(u_sum <= -8388608, u_sum + 16777216, u_sum))
  send v_left = prev(v) * (4096 - dv) / 4096
  send v_sum = clip(where(v_left < 0, -floor(-v_left), floor(v_left)) + u + bias, -8388607, 8388607)
  send spike = where(v_sum > 64 * vth, 1, 0)
  send v = where(spike > 0, 0, v_sum)
  receive held = floor(current * pow(2, weight_exp))
  message spike
"""

SPIKES = """
cell spikes
  input value
  state spike = 0
  send spike = where(value > 0, 1, 0)
  message spike
"""

RATES = """
cell rates                        # graded messages of 0 to 254
  input value
  state rate = 0
  send rate = clip(floor(value), 0, 254)
  message rate
"""

LEARNER = LIF.replace("cell lif  ", "cell learner") \
    .replace("  port current", "  input target\n  port current") \
    .replace("  message spike", "  send error = clip(floor(target) - 90 * spike, -128, 127)\n  message spike\n"
                                "  message error")
"""A LIF cell that also computes the third factor of a rule, which a stock LIF cannot send."""

HALF = "floor({m} / 2) + floor(({m} + 1) / 4) - floor({m} / 4)"
"""Half of a message, rounded half to even: what LearningDense takes as x1 of a graded spike."""
FORGOTTEN = "(exp(-1 / 65535) * {y})"
"""Loihi's third factor loses this much on the way into its trace, before stochastic rounding."""


def quantised(weights: np.ndarray) -> np.ndarray:
    """Weights as a stock Dense takes them: signed ones lose their lowest bit."""
    signed = weights.min() < 0 < weights.max()
    return np.clip(np.floor(weights / 2) * 2, -256, 254) if signed else np.clip(weights, -255, 255)


def rounded(value: str, drawn: str) -> str:
    """The value rounded up where the drawn number is below its fraction, else downward."""
    return f"(floor({value}) + where({drawn} < {value} - floor({value}), 1, 0))"


def rule(presynaptic: str, scale: int, factor: str = "post.error", more: str = "") -> str:
    """`dw = 2^scale * x0 * x1 * y1` with Lava's widths: 7 bits of x1 and y1, an accumulator of 16 bits."""
    y1 = rounded(FORGOTTEN.format(y=factor), "decay")
    product = f"floor(clip({presynaptic}, -128, 127) * clip({y1}, -128, 127) / 8) * {2 ** (scale + 7)}"
    total = f"clip(128 * w + clip({product}, -32769, 32767), -32769, 32767)"
    return f"""
rule three_factor
  noise rounding lava_weights
  noise decay lava_post_trace
{more}  increment clip({rounded(f'{total} / 128', 'rounding')}, -256, 255) - w
synapse plastic
  message {{message}}
  port current
  rule three_factor
"""


def trace(impulse: int, tau: float) -> str:
    """x1 grows by `impulse` at a spike and decays with `tau` steps, rounded with Lava's numbers."""
    left = f"({math.exp(-1 / tau)!r} * prev(x1))"
    return (f"  noise forget lava_pre_trace\n  state x1 = 0\n"
            f"  update x1 = clip({rounded(left, 'forget')} + {impulse} * pre.spike, 0, 127)\n")


def chain(sizes: tuple[int, ...] = (12, 9, 6), seed: int = 0, weight_exp: int = 5, sign: str = "mixed",
          vth: int = 200) -> Graph:
    """Input spikes -> LIF -> ... -> LIF; `sign`: mixed, excitatory or inhibitory weights."""
    rng = np.random.default_rng(seed)
    low, high = {"mixed": (-256, 256), "excitatory": (0, 256), "inhibitory": (-255, 1)}[sign]
    layers = [f"population L{i} lif {size}\n  weight_exp = {weight_exp}\n  vth = {vth}\n"
              for i, size in enumerate(sizes[1:], 1)]
    ways = [f"projection W{i} dense L{i - 1} -> L{i}\n" for i in range(1, len(sizes))]
    text = ("graph stock-lif\n" + SPIKES + LIF + "synapse dense\n  message spike\n  port current\n"
            + f"population L0 spikes {sizes[0]}\n" + "".join(layers + ways))
    arrays = {f"W{i}.w": quantised(rng.integers(low, high, (sizes[i], sizes[i - 1])).astype(float))
              for i in range(1, len(sizes))}
    return parse_graph(text).with_(arrays=arrays)


def learning(pre: int = 8, post: int = 3, seed: int = 0, scale: int = -3, traced: bool = False) -> Graph:
    """Graded rates (or, `traced`, spikes with a trace) -> plastic projection -> LIF cells with an error."""
    rng = np.random.default_rng(seed)
    message, cell = ("spike", "spikes") if traced else ("rate", "rates")
    x1 = "x1" if traced else HALF.format(m="pre.rate")
    text = ("graph stock-learning\n" + (SPIKES if traced else RATES) + LEARNER
            + rule(x1, scale, more=trace(20, 10.0) if traced else "").format(message=message)
            + f"population X {cell} {pre}\npopulation Y learner {post}\n  weight_exp = 1\n  vth = 900\n"
              "projection W plastic X -> Y\n")
    return parse_graph(text).with_(arrays={"W.w": quantised(rng.integers(-200, 200, (post, pre)).astype(float))})


def build() -> Graph:
    """The chain, for experiments."""
    return chain()
