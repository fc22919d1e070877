"""The quantised error-neuron circuit in torch int64: the equations of `error_neuron.ErrorMicrocircuit` in fixed point.

Numbers are those of docs/fixed_point.md ("item"); "section" refers to the error-neuron specification. The prospective
voltage cancels the Euler membrane: u˘ of a step is u_eff (section 3.1) of the step before. Symbols, with the area's
index from 0: drive (u_eff), breve, rate, slope (phi'), basal, apical, error (of the forward rule) of representation
neurons; error_drive, error_breve, error_rate, gating (WIP phi'), descending (sum of BII rE) and dendritic (their
product) of error neurons; missing_slope, missing (target - r_L) and difference (their product) at the output; input_in,
input, target_in, shown and target of the sources. Synapses of areas (`wiring`), stored (post, pre).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from reference.error_neuron_parameters import ErrorNeuronParameters
from reference.integer_areas import IntegerAreas
from reference.integers import NOTHING, ONE, Exact, dyadic

SLOPED = ("logistic", "tanh")
"""Activations whose slope is a polynomial of the rate."""


class IntegerErrorMicrocircuit(IntegerAreas):
    """registers: see `IntegerAreas`, and in `wiring`: `forward` and `feedback`, (name, to, from) of every projection,
    areas counted from 0 and the input being -1. Raises ValueError for options beyond those of the class,
    DishonestRegister for registers of other equations."""

    def __init__(
        self, parameters: ErrorNeuronParameters, registers: Mapping[str, Any], seeds: Sequence[int],
        target_delay: int = 0,
    ) -> None:
        self._refuse(parameters)
        super().__init__(parameters, registers, seeds, target_delay)
        self.forward, self.feedback = registers["wiring"]["forward"], registers["wiring"]["feedback"]
        self.check(self._constants(), self._functions())
        self._begin()

    @staticmethod
    def _refuse(p: ErrorNeuronParameters) -> None:
        plain = set(p.activation_slope) == {1} and set(p.activation_offset) == {0} and p.derivative == p.activation
        ahead = all(p.rep_lookahead) and all(p.error_lookahead)
        if p.mc_model != "errormc" or set(p.activation) - set(SLOPED) or p.error_activation != "linear":
            raise ValueError(f"only errormc, activations {SLOPED} and linear error neurons")
        if not (plain and ahead and p.varphi_transfer) or any(p.eta_IP) or any(p.eta_PI):
            raise ValueError("only plain activations, prospective rates, gated errors and fixed laterals")

    # ---- what the registers must be

    def _constants(self) -> dict[str, list[float]]:
        p = self.parameters
        found: dict[str, list[float]] = self.source_constants() | {"difference": [1]}
        found |= {name: values for name, values in (("missing_slope", [1.0]), ("missing", [1.0, -1.0]))
                  if name in self.coefficients}
        for i in range(self.areas):
            found |= self._area_constants(i)
        for name, to, source in self.forward:
            eta = p.forward_rates[to][source + 1] if p.skip_forward else p.eta_fw[to]
            found |= self.rule_constants(name, [p.dt * eta])
        return found

    def _area_constants(self, i: int) -> dict[str, list[float]]:
        """u_eff of both kinds of cells (section 3.1), slopes, and the postsynaptic factor of section 4."""
        p, tau, error_tau = self.parameters, self.parameters.pyramidal_tau[i], self.parameters.partner_tau[i]
        top = i == self.areas - 1
        found: dict[str, list[float]] = {f"drive_{i}": [tau * p.gbas, tau * p.gapi], f"breve_{i}": [1],
                 f"basal_{i}": [1], f"apical_{i}": [1],
                 f"slope_{i}": [1, -1] if p.activation[i] == "tanh" else [1],
                 f"error_{i}": [1, -1] if p.dWPP_use_activation else [1, -p.basal_attenuation[i]],
                 f"error_drive_{i}": [error_tau * (p.gntgt if top else p.gden)], f"error_breve_{i}": [1],
                 f"error_rate_{i}": [1]}
        found |= {f"slope_square_{i}": [1.0]} if p.activation[i] == "tanh" else {}
        parts: dict[str, list[float]] = {} if top else {f"dendritic_{i}": [1.0]} | {
            name: [1.0] for name in (f"gating_{i}", f"descending_{i}") if name in self.coefficients}
        return found | parts

    def _functions(self) -> dict[str, Callable[[Tensor], Tensor]]:
        p, found = self.parameters, dict[str, Callable[[Tensor], Tensor]]()
        for i in range(self.areas):
            found[f"rate_{i}"] = partial(self.activated, p.activation[i], 1.0)
            if p.dWPP_use_activation:
                found[f"predicted_{i}"] = partial(self.activated, p.activation[i], p.basal_attenuation[i])
        return found

    # ---- before the first step

    def _begin(self) -> None:
        """Potentials from `start`, rates phi of them, all else 0 (section 6, Initial)."""
        p = self.parameters
        kinds = {"drive": p.sizes, "basal": p.sizes, "error_drive": p.partner_sizes}
        states = {f"{kind}_{i}": sizes[i] for kind, sizes in kinds.items() for i in range(self.areas)}
        self.begin(states | self.credit_sizes() | {"input": p.layers[0], "target": p.layers[-1]})
        for i in range(self.areas):
            self.begin_at(f"rate_{i}", self.activated(p.activation[i], 1.0, self.now[f"drive_{i}"].real))
        self.wait_for_targets()

    # ---- a step

    @torch.no_grad()
    def step(
        self,
        r0: Tensor,
        target: Tensor,
        targeted: bool,
        learn_weights: bool,
        copy: bool,
        undelayed: bool = False,
        applies: bool = True,
        rate: float = 1.0,
    ) -> None:
        """One Euler step dt of section 6.

        r0 (S, n_0); target (S, n_L): rates, which count where `targeted`, delayed unless `undelayed`. copy: the
        feedback is copied. applies: where rules sum their increments, whether the sum moves the weights. rate: what
        all increments are multiplied with.
        """
        self.next_step()
        self.rate = dyadic(rate)
        self._transmit(r0, target, undelayed)
        self._receive()
        self._settle(targeted)
        for i in range(self.areas):
            self.compare(i)
        if copy:
            self.copy_feedback()
        for name, to, source in self.forward:
            pre = self.message_read(self.source(source), late=True)
            self.hebbian(name, f"error_{to}", pre, learn_weights, applies)
        self.end_step()

    def _transmit(self, r0: Tensor, target: Tensor, undelayed: bool) -> None:
        """Items 2 and 3 of a step: u˘, phi'(u˘) and r = phi(u˘) of both kinds of cells."""
        self.enter_sources(r0, target, undelayed)
        for i in range(self.areas):
            r = self.function(f"rate_{i}", self.keep(f"breve_{i}", self.before[f"drive_{i}"]))
            if self.parameters.activation[i] == "tanh":
                self.keep(f"slope_{i}", ONE - self.keep(f"slope_square_{i}", r * r))
            else:
                self.keep(f"slope_{i}", r * (ONE - r))
            self.keep(f"error_rate_{i}", self.keep(f"error_breve_{i}", self.before[f"error_drive_{i}"]))

    def _summed(self, connections: Sequence[tuple[str, int, int]], to: int, source: Callable[[int], str]) -> Exact:
        total = NOTHING
        for name, area, below in connections:
            if area == to:
                total = total + self.deliver(name, self.sent(source(below)))
        return total

    def _receive(self) -> None:
        """Item 5: v_bas = sum_k W r_k, v_api = BPI rE, v_den = [WIP phi'] sum_k BII rE_k."""
        for i in range(self.areas):
            self.keep(f"basal_{i}", self._summed(self.forward, i, self.source))
            self.keep(f"apical_{i}", self.deliver(f"BPI_{i}", self.sent(f"error_rate_{i}")))
        for i in range(self.areas - 1):
            gate = self.part(f"gating_{i}", self.deliver(f"WIP_{i}", self.sent(f"slope_{i}")))
            descending = self._summed(self.feedback, i, lambda area: f"error_rate_{area}")
            self.keep(f"dendritic_{i}", gate * self.part(f"descending_{i}", descending))

    def _settle(self, targeted: bool) -> None:
        """Item 6: u_eff; the output error is g_tgt WIP [phi' (target - r)]."""
        top = self.areas - 1
        slope = self.part("missing_slope", self.now[f"slope_{top}"])
        missing = self.part("missing", self.now["target"] - self.now[f"rate_{top}"])
        self.keep("difference", slope * missing)
        output = self.deliver(f"WIP_{top}", self.sent("difference"))
        for i in range(self.areas):
            self.two(f"drive_{i}", self.now[f"basal_{i}"], self.now[f"apical_{i}"])
            error = (output if targeted else NOTHING) if i == top else self.now[f"dendritic_{i}"]
            self.keep(f"error_drive_{i}", self.factor_of(f"error_drive_{i}", 0) * error)
