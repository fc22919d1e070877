"""What fixes a sign-concordant circuit."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from cortexc.compiler.microcircuits.layers import Layer, read_layers

FEEDBACK = ("locked", "frSF", "brSF", "uSF", "FA", "DFA", "BP")
MESSAGES = ("graded", "two_line", "spiking")


@dataclass(frozen=True)
class SignConcordant:
    """Everything that fixes the circuit; times in steps (specs/sign_concordant.md 2 to 4).

    layers: see `compiler.microcircuits.layers`. feedback: how errors come down. message: `graded` (signed), `two_line`
    (Dale-strict: a positive and a negative line) or `spiking` (unbiased stochastic rounding to multiples of `theta`).
    trace: what a synapse multiplies the error with, the presynaptic trace (`psc`) or that filtered by the membrane.
    optimiser: `none`, `clipped` (the summed increment is scaled to at most `norm`) or `adam` (`rate`, `beta1`,
    `beta2`, `epsilon`). eta: factor of every increment, per layer. limit: greatest weight. update: increments are
    applied after every `presentation` or every `step`. timing: `phase_locked` (layers in order within a step) or
    `pipelined` (one step per hop).
    """

    layers: tuple[int | str, ...]
    feedback: str = "locked"
    message: str = "graded"
    trace: str = "psc"
    surrogate: str = "logistic"
    optimiser: str = "adam"
    eta: tuple[float, ...] = (0.01,)
    rate: float = 5e-4
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    norm: float = 100.0
    theta: float = 0.25
    tau_m: float = 5.0
    tau_s: float = 3.0
    threshold: float = 1.0
    width: float = 0.2
    limit: float = 4.0
    update: str = "presentation"
    timing: str = "phase_locked"
    noise: str = "counter"
    arrays: dict[str, np.ndarray] = field(default_factory=dict, compare=False)

    @property
    def shapes(self) -> list[Layer]:
        """The input and layers 1 .. L."""
        return read_layers(self.layers)

    @property
    def top(self) -> int:
        """L, the number of layers of cells."""
        return len(self.shapes) - 1

    @property
    def locked(self) -> bool:
        return self.feedback == "locked"

    @property
    def pipelined(self) -> bool:
        return self.timing == "pipelined"
