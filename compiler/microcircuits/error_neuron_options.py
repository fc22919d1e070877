"""The options of the error-neuron circuit, and what follows from them alone: areas, pairs, rates, names."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from cortexc.compiler.microcircuits.parts import repeated

AREA_MATRIX = (
    (0, 1, .1 ** .5, .1, .1 ** .5, .1 ** 1.5, 0),
    (1, 0, .1 ** .5, .1 ** 1.5, .1 ** .5, 0, 0),
    (.1 ** 1.5, 1, 0, 1, .1 ** .5, .1 ** .5, 0),
    (0, .1 ** .5, 1, 0, .1 ** .5, 1, 0),
    (.1, .1 ** .5, 1, .1 ** .5, 0, .1, .1),
    (0, 0, .1 ** .5, 1, 0, 0, 0),
    (0, .1 ** .5, 1, 0, 1, 0, 0))
"""Strength of the connection to an area (row) from another, after Markov et al. 2014; forward below the diagonal."""


@dataclass(frozen=True)
class ErrorNeuron:
    """Everything that fixes the circuit. Rates in 1/ms, times in ms, conductances in 1/ms (specs/error_neuron.md 0-6).

    layers: sizes n_0 .. n_L; error_layers: error neurons of areas 1 .. L, by default as many as representation
    neurons. Lists with an entry per area may have one entry. eta_IP and eta_PI relax the laterals WIP and BPI
    towards the identity. skip_rates: whether projections that skip areas learn: at `eta_fw` (`all`, default of
    `skip`), not (`diagonal`), or `scaled` by the area matrix (default of `areas`). `area_matrix` replaces the
    published one. gain and offset shape the activation (gain is inside tanh and logistic), derivative names the
    slope that gates errors (by default that of the activation, without gain and offset). transfer: whether slopes
    gate the hidden error neurons. use_activation: phi in the forward rule. rep_lookahead, error_lookahead: rates
    from the prospective voltage. within_area_noise: the copies' fixed error also makes error neurons of one area
    excite each other (as published, in `skip` and `areas`). reset: a gate that sets the representation neurons'
    voltage to 0. copy_seed: of the copies' fixed errors, by default the run's. plant: `cartpole`, which the output
    pushes with action_scale times its rate. target_delay: steps by which the target comes later.
    eta_bw, alpha, sigma, multiplex (how strongly fluctuations are sent on with the error), tau_xi, tau_HP, tau_LO:
    of the variant `noise`; decay: of `KP`.
    """

    layers: tuple[int, ...]
    variant: str = "BP"
    error_layers: tuple[int, ...] = ()
    wiring: str = "layered"
    skip_rates: str = ""
    area_matrix: tuple[tuple[float, ...], ...] = AREA_MATRIX
    activation: tuple[str, ...] = ("tanh",)
    derivative: tuple[str, ...] = ()
    gain: tuple[float, ...] = (1.0,)
    offset: tuple[float, ...] = (0.0,)
    error_activation: tuple[str, ...] = ("linear",)
    eta_fw: tuple[float, ...] = (1.0,)
    eta_IP: tuple[float, ...] = (0.0,)
    eta_PI: tuple[float, ...] = (0.0,)
    eta_bw: tuple[float, ...] = (1.0,)
    decay: float = 0.001
    alpha: tuple[float, ...] = (1e-5,)
    sigma: tuple[float, ...] = (0.05,)
    multiplex: float = 1.0
    dt: float = 0.01
    tau_xi: float = 0.1
    tau_HP: float = 0.1
    tau_LO: float = 100.0
    gl: float = 0.03
    gbas: float = 0.1
    gapi: float = 0.06
    gden: float = 0.1
    gntgt: float = 0.06
    transfer: bool = True
    use_activation: bool = False
    rep_lookahead: tuple[bool, ...] = (True,)
    error_lookahead: tuple[bool, ...] = (True,)
    within_area_noise: bool = True
    reset: bool = False
    copy_seed: int | None = None
    plant: str = ""
    action_scale: float = 76.6
    target_delay: int = 0
    noise: str = "counter"
    arrays: dict[str, np.ndarray] = field(default_factory=dict, compare=False)

    @property
    def areas(self) -> int:
        """L, the number of areas above the input."""
        return len(self.layers) - 1

    @property
    def errors(self) -> tuple[int, ...]:
        """m_1 .. m_L."""
        return self.error_layers or self.layers[1:]

    @property
    def layered(self) -> bool:
        return self.wiring == "layered"

    @property
    def learns_feedback(self) -> bool:
        return self.variant in ("noise", "KP")

    def per_area(self, name: str, count: int | None = None) -> list[Any]:
        """The values of an option, one per area. Raises E322."""
        return repeated("E322", name, getattr(self, name), self.areas if count is None else count,
                        " (areas above the input)")

    def strength(self, to: int, source: int) -> float:
        """Of the connection to area index `to` from `source`; -1 is the input, which reaches area 0 only."""
        if self.wiring == "skip":
            return 1.0
        return float(to - source == 1) if self.layered else self.area_strength(to, source)

    def area_strength(self, to: int, source: int) -> float:
        """The same, by the area matrix."""
        return float(to == 0) if source < 0 else float(self.area_matrix[to][source])

    def forward_rate(self, to: int, source: int) -> float:
        """eta of a forward projection (section 4, `eta_fw_conversion`)."""
        eta, rates = self.per_area("eta_fw")[to], self.skip_rates or ("scaled" if self.wiring == "areas" else "all")
        if rates == "diagonal":
            return eta if to - source == 1 else 0.0
        return eta * self.area_strength(to, source) if rates == "scaled" and not self.layered else eta

    def forward_pairs(self) -> list[tuple[int, int]]:
        """(to, from) of the forward projections, from -1 being the input, in the order of their sums."""
        return [(to, k) for to in range(self.areas) for k in range(-1, to) if self.strength(to, k)]

    def feedback_pairs(self) -> list[tuple[int, int]]:
        """(to, from) of the projections between error populations; equal indices are those within an area."""
        between = [(to, k) for to in range(self.areas) for k in range(to, self.areas)]
        copied = [(to, k) for to, k in between if (k, to) in self.forward_pairs()]
        if self.layered or self.learns_feedback:
            return copied
        if self.variant == "FA":
            return [(to, k) for to, k in between if to != k and self.strength(to, k)]
        return [pair for pair in between if pair != (self.areas - 1, self.areas - 1)] if self.within_area_noise \
            else copied

    def forward_name(self, to: int, source: int) -> str:
        return f"WPP_{to}" if self.layered else f"WPP_{to}_{'in' if source < 0 else source}"

    def feedback_name(self, to: int, source: int) -> str:
        return f"BII_{to}" if self.layered else f"BII_{to}_{source}"
