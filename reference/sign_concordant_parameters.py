"""What both levels of the sign-concordant oracle share: parameters, target train, scalar functions.

Reconstruction from the abstract of Yang & Li 2022 (arXiv 2205.07292); "section" refers to its specification.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from cortexc.reference.sign_concordant_geometry import Projection, parse_layers

Layers = list[Tensor]
Snapshot = dict[str, Tensor]

TRACKING = ("frSF", "brSF", "uSF")  # B = sign(W) . magnitude, live
CHOICES = {
    "policy": ("locked", *TRACKING, "FA", "DFA", "BP"),
    "surrogate": ("logistic", "boxcar"),
    "trace": ("psc", "membrane"),
    "update": ("minibatch", "step"),
    "optimiser": ("none", "clipped", "adam"),
    "timing": ("phase_locked", "pipelined"),
}


@dataclass(frozen=True)
class SignConcordantParameters:
    """Network, neurons (section 2), feedback (1.4), surrogate (3.4) and step rule (4.1).

    layers: see `parse_layers`. steps: T, see `target_train`. policy: origin of the feedback B, see
    `SignConcordantNetwork`. tau_m, tau_s >= 1: membrane and synapse, steps. threshold: V_th > 0.
    surrogate: logistic of width surrogate_width (alpha), or 1/(2h) where |u - V_th| < h = boxcar_half_width.
    trace: presynaptic factor, psc (a) or membrane (e[t] = (1 - 1/tau_m) e[t-1] + a[t]). update: apply the
    accumulated sum at the end of a minibatch, or after every step. learning_rate: eta, on each increment.
    optimiser: none (w += sum), clipped (sum scaled to a norm of at most clip_norm per stored matrix) or adam
    (ascent; adam_rate, beta1, beta2, epsilon). limit: bound of |W|, wE and wI. timing: phase_locked or
    pipelined (section 6.3). Raises ValueError for a value outside these.
    """

    layers: tuple[int | str, ...]
    steps: int = 5
    policy: str = "locked"
    tau_m: float = 5.0
    tau_s: float = 3.0
    threshold: float = 1.0
    surrogate: str = "logistic"
    surrogate_width: float = 0.2
    boxcar_half_width: float = 0.5
    trace: str = "psc"
    update: str = "minibatch"
    learning_rate: float = 1.0
    optimiser: str = "none"
    clip_norm: float = 100.0
    adam_rate: float = 5e-4
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    limit: float = 4.0
    timing: str = "phase_locked"

    def __post_init__(self) -> None:
        for name, known in CHOICES.items():
            if getattr(self, name) not in known:
                raise ValueError(f"{name} {getattr(self, name)!r} unknown; known: {known}")
        if self.tau_m < 1 or self.tau_s < 1 or self.threshold <= 0:
            neuron = f"tau_m {self.tau_m}, tau_s {self.tau_s} (at least 1), threshold {self.threshold} (above 0)"
            raise ValueError(neuron)
        if self.pipelined and (self.update == "step" or self.policy == "DFA"):
            raise ValueError("pipelined timing needs update 'minibatch' and feedback from layer to layer, not DFA")
        _ = self.projections, target_train(self.steps)

    @cached_property
    def projections(self) -> tuple[Projection, ...]:
        """Projection l at index l - 1. (L,)"""
        return parse_layers(self.layers)

    @property
    def pipelined(self) -> bool:
        """Whether each hop between layers costs one step (section 6.3)."""
        return self.timing == "pipelined"

    @property
    def delays(self) -> list[int]:
        """D_l = 2 (L - l) of the lines on a_{l-1} and g(u_l) if pipelined, else 0 (section 6.3). (L,)"""
        count = len(self.projections)
        return [2 * (count - layer) if self.pipelined else 0 for layer in range(1, count + 1)]

    @property
    def potential_decay(self) -> float:
        """1 - 1/tau_m."""
        return 1 - 1 / self.tau_m

    @property
    def psc_decay(self) -> float:
        """1 - 1/tau_s."""
        return 1 - 1 / self.tau_s


def target_train(steps: int) -> Tensor:
    """Spikes of the true class, (T,) of 0 and 1 (section 3.1).

    0,1,1,1,1 repeated for 5 <= T < 10; 0,1 alternating for T >= 10. Raises ValueError for T < 5, too short
    for the target train, and for T > 10 that is no multiple of 10.
    """
    if steps < 5 or (steps >= 10 and steps % 10):
        reason = "is too short for the target train (at least 5)" if steps < 5 else "is no multiple of 10"
        raise ValueError(f"a presentation of {steps} steps {reason}")
    period = [0, 1, 1, 1, 1] if steps < 10 else [0, 1]
    return torch.tensor([period[step % len(period)] for step in range(steps)], dtype=torch.float64)


def surrogate(parameters: SignConcordantParameters, potential: Tensor) -> Tensor:
    """g(u): z / (alpha (1+z)^2), z = exp(-|u - V_th|/alpha), peak 1/(4 alpha); or the boxcar (section 3.4)."""
    distance = (potential - parameters.threshold).abs()
    if parameters.surrogate == "boxcar":
        return (distance < parameters.boxcar_half_width).double() / (2 * parameters.boxcar_half_width)
    z = torch.exp(-distance / parameters.surrogate_width)
    return z / (parameters.surrogate_width * (1 + z) ** 2)


class Moments(NamedTuple):
    """Adam's running means of the sum and of its square, of the shape of one stored matrix."""

    first: Tensor
    second: Tensor


def optimise(p: SignConcordantParameters, total: Tensor, moments: Moments, count: int) -> tuple[Tensor, Moments]:
    """Increment of a stored matrix for its accumulated sum, and the new moments; count = 1 at the first update.

    adam: bias-corrected as in Kingma & Ba 2015, algorithm 1, upwards; clipped: Frobenius norm (section 4.1).
    """
    if p.optimiser == "none":
        return total, moments
    if p.optimiser == "clipped":
        norm = float(total.norm())
        return (total * (p.clip_norm / norm) if norm > p.clip_norm else total), moments
    first = p.beta1 * moments.first + (1 - p.beta1) * total
    second = p.beta2 * moments.second + (1 - p.beta2) * total**2
    root = (second / (1 - p.beta2**count)).sqrt() + p.epsilon
    return p.adam_rate * (first / (1 - p.beta1**count)) / root, Moments(first, second)
