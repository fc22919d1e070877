"""The quantised models that the error-neuron circuit is compared with, in torch int64: the dendritic microcircuit,
dendritic predictive coding and the layered net of `error_neuron` in fixed point.

Numbers are those of docs/fixed_point.md ("item"); "section" refers to the error-neuron specification. In the first two
the prospective voltage cancels the Euler membrane: u˘ of a step is u_eff (sections 3.2, 3.3) of the step before. Beside
the symbols of `integer_areas`: apical (v_api) of pyramidal cells; twin_drive, twin_breve, twin_rate, dendritic (v_den),
twin_predicted and twin_error of the interneurons. The layered net has no u˘: drive is u; slope (phi') and delta (the
error that a unit hears) of units; error_drive (e), error_rate, gating (phi'), descending (B e_above) of errors; at the
output missing_slope, missing (target - r_L) and difference (their product). Synapses stored (post, pre).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from reference.error_neuron_parameters import DERIVATIVES, ErrorNeuronParameters
from reference.integer_areas import IntegerAreas
from reference.integers import NOTHING, Exact, Register, dyadic

TABLED = ("logistic", "tanh", "soft_relu")
"""Activations that are tables; `linear` is exact, the others have a form of their own."""


class IntegerDendriticMicrocircuit(IntegerAreas):
    """registers: see `IntegerAreas`. Raises ValueError for options beyond those of the class, DishonestRegister for
    registers of other equations."""

    model, twins = "sacramento2018", True

    def __init__(
        self, parameters: ErrorNeuronParameters, registers: Mapping[str, Any], seeds: Sequence[int],
        target_delay: int = 0,
    ) -> None:
        self._refuse(parameters)
        super().__init__(parameters, registers, seeds, target_delay)
        self.hidden, self.copied = self.areas - 1, parameters.model_type == "BP"
        self.check(self._constants(), self._functions())
        self._begin()
        self.earlier = self.now

    def _refuse(self, p: ErrorNeuronParameters) -> None:
        if p.mc_model != self.model or set(p.activation) - {*TABLED, "linear"}:
            raise ValueError(f"only {self.model} and activations {(*TABLED, 'linear')}")
        if set(p.activation_slope) != {1} or set(p.activation_offset) != {0} or not all(p.rep_lookahead):
            raise ValueError("only plain activations and prospective rates")

    # ---- what the registers must be

    def _constants(self) -> dict[str, list[float]]:
        p, found = self.parameters, self.source_constants()
        for i in range(self.areas):
            found |= self._pyramidal_constants(i)
            found |= self.rule_constants(f"WPP_{i}", [p.dt * p.eta_fw[i]])
        for i in range(self.hidden):
            found |= self.rule_constants(f"BPI_{i}", [-p.dt * p.eta_PI[i]])
            if self.twins:
                found |= self._twin_constants(i) | self.rule_constants(f"WIP_{i}", [p.dt * p.eta_IP[i]])
        return found

    def _pyramidal_constants(self, i: int) -> dict[str, list[float]]:
        """u_eff with and without a target (section 3.2), and the postsynaptic factor of section 4."""
        p, tau = self.parameters, self.parameters.pyramidal_tau[i]
        found: dict[str, list[float]] = {f"breve_{i}": [1], f"basal_{i}": [1]}
        found |= {f"rate_{i}": [1]} if self._linear(i) else {}
        if i < self.hidden:
            found |= {f"drive_{i}": [tau * p.gbas, tau * p.gapi], f"apical_{i}": [1]}
        else:
            found[f"drive_{i}"] = [tau * p.gbas, tau * p.gntgt, p.gbas / (p.gl + p.gbas)]
        return found | {f"error_{i}": [1, -1 if self._predicts(i) else -p.basal_attenuation[i]]}

    def _twin_constants(self, i: int) -> dict[str, list[float]]:
        """u_eff,I (section 3.2), and the factor of dWIP (section 4)."""
        p, tau = self.parameters, self.parameters.partner_tau[i]
        found: dict[str, list[float]] = {f"twin_drive_{i}": [tau * p.gden, tau * p.gnI], f"twin_breve_{i}": [1],
                                         f"dendritic_{i}": [1]}
        found |= {f"twin_rate_{i}": [1]} if self._linear(i + 1) else {}
        return found | {f"twin_error_{i}": [1, -p.dendritic_attenuation if self._linear(i + 1) else -1]}

    def _functions(self) -> dict[str, Callable[[Tensor], Tensor]]:
        p, found = self.parameters, dict[str, Callable[[Tensor], Tensor]]()
        for i in range(self.areas):
            phi = p.activation[i]
            found |= {} if self._linear(i) else {f"rate_{i}": partial(self.activated, phi, 1.0)}
            if self._predicts(i):
                found[f"predicted_{i}"] = partial(self.activated, phi, p.basal_attenuation[i])
        for i in range(self.hidden if self.twins else 0):
            if not self._linear(i + 1):
                phi = p.activation[i + 1]
                found[f"twin_rate_{i}"] = partial(self.activated, phi, 1.0)
                found[f"twin_predicted_{i}"] = partial(self.activated, phi, p.dendritic_attenuation)
        return found

    def _linear(self, i: int) -> bool:
        return self.parameters.activation[i] == "linear"

    def _predicts(self, i: int) -> bool:
        """Whether the forward rule compares rates that are not voltages."""
        return self.parameters.dWPP_use_activation and not self._linear(i)

    # ---- before the first step

    def _begin(self) -> None:
        """Potentials from `start`, rates phi of them, all else 0 (section 6, First call)."""
        p, sizes = self.parameters, self.parameters.sizes
        states = {f"{kind}_{i}": sizes[i] for kind in ("drive", "basal") for i in range(self.areas)}
        states |= {f"apical_{i}": sizes[i] for i in range(self.hidden)}
        if self.twins:
            states |= {f"{kind}_{i}": sizes[i + 1] for kind in ("twin_drive", "dendritic") for i in range(self.hidden)}
        self.begin(states | self.credit_sizes() | {"input": p.layers[0], "target": p.layers[-1]})
        for i in range(self.areas):
            self._begin_rate("", i, i)
        for i in range(self.hidden if self.twins else 0):
            self._begin_rate("twin_", i, i + 1)
        self.wait_for_targets()

    def _begin_rate(self, cell: str, i: int, area: int) -> None:
        """phi of the potential; a linear rate is u˘ and in its unit."""
        name, phi = f"{cell}rate_{i}", self.parameters.activation[area]
        potential = self.now[f"{cell}drive_{i}"]
        self.begin_at(name, self.activated(phi, 1.0, potential.real))
        if self._linear(area) and name not in self.registers:
            unit = self.registers.get(f"{cell}breve_{i}", Register(potential.fraction, 2**53))
            self.now[name] = unit.entering(potential.real)

    # ---- a step

    @torch.no_grad()
    def step(
        self,
        r0: Tensor,
        target: Tensor,
        targeted: bool,
        learn_weights: bool,
        learn_lateral: bool,
        copy: bool,
        undelayed: bool = False,
        applies: bool = True,
        rate: float = 1.0,
    ) -> None:
        """One Euler step dt of section 6.

        r0 (S, n_0); target (S, n_L): voltages, which count where `targeted`, delayed unless `undelayed`. copy: feedback
        that is copied is copied. applies: where rules sum their increments, whether the sum moves the weights. rate:
        what all increments are multiplied with.
        """
        if self.steps_done:
            self.earlier = self.before
        self.next_step()
        self.rate = dyadic(rate)
        self._transmit(r0, target, undelayed)
        self._receive()
        self._settle(targeted)
        self._compare()
        if copy and self.copied:
            self._copy_down()
        for i in range(self.areas):
            pre = self.message_read(self.source(i - 1), late=True)
            self.hebbian(f"WPP_{i}", f"error_{i}", pre, learn_weights, applies)
        for i in range(self.hidden):
            self._learn_laterals(i, learn_lateral, applies)
        self.end_step()

    def _transmit(self, r0: Tensor, target: Tensor, undelayed: bool) -> None:
        """Items 2 and 3 of a step: u˘ and r = phi(u˘) of both kinds of cells."""
        self.enter_sources(r0, target, undelayed)
        for i in range(self.areas):
            self._activate("", i, i)
        for i in range(self.hidden if self.twins else 0):
            self._activate("twin_", i, i + 1)

    def _activate(self, cell: str, i: int, area: int) -> None:
        breve = self.keep(f"{cell}breve_{i}", self.before[f"{cell}drive_{i}"])
        name = f"{cell}rate_{i}"
        if self._linear(area):
            self.keep(name, breve)
        else:
            self.function(name, breve)

    def _receive(self) -> None:
        """Item 5: v_bas = W r_below, v_api = BPP r_above + BPI rI, v_den = WIP r."""
        for i in range(self.areas):
            self.keep(f"basal_{i}", self.deliver(f"WPP_{i}", self.sent(self.source(i - 1))))
        for i in range(self.hidden):
            above = self.deliver(f"BPP_{i}", self.sent(f"rate_{i + 1}"))
            self.keep(f"apical_{i}", above + self.deliver(f"BPI_{i}", self._cancelling(i)))
            if self.twins:
                self.keep(f"dendritic_{i}", self.deliver(f"WIP_{i}", self.sent(f"rate_{i}")))

    def _cancelling(self, i: int) -> Exact:
        """rI, as it is sent."""
        return self.sent(f"twin_rate_{i}")

    def _settle(self, targeted: bool) -> None:
        """Item 6: u_eff; the target nudges u_P(L), u˘_P of the area above the interneurons."""
        for i in range(self.hidden):
            self.two(f"drive_{i}", self.now[f"basal_{i}"], self.now[f"apical_{i}"])
            if self.twins:
                self.two(f"twin_drive_{i}", self.now[f"dendritic_{i}"], self.now[f"breve_{i + 1}"])
        name, basal = f"drive_{self.hidden}", self.now[f"basal_{self.hidden}"]
        if targeted:
            self.two(name, basal, self.now["target"])
        else:
            self.keep(name, self.factor_of(name, 2) * basal)

    def _compare(self) -> None:
        """The postsynaptic factors of dWPP and dWIP (section 4)."""
        for i in range(self.areas):
            self.compare(i)
        for i in range(self.hidden if self.twins else 0):
            name, dendritic = f"twin_error_{i}", self.before[f"dendritic_{i}"]
            predicted = self.factor_of(name, 1) * dendritic if self._linear(i + 1) else -self.function(
                f"twin_predicted_{i}", dendritic)
            self.keep(name, self.now[f"twin_rate_{i}"] + predicted)

    def _copy_down(self) -> None:
        """BPI = -BPP is copied with BPP (section 4)."""
        self.copy_feedback()
        for i in range(self.hidden):
            self.synapses[f"BPI_{i}"].copy(-self.synapses[f"BPP_{i}"].weights)

    def _learn_laterals(self, i: int, learns: bool, applies: bool) -> None:
        """dWIP = dt eta_IP (rI - phi(s v_den)) x r; dBPI = -dt eta_PI v_api x rI of the step before."""
        pre = self.message_read(f"rate_{i}", late=True)
        self.hebbian(f"WIP_{i}", f"twin_error_{i}", pre, learns, applies)
        pre = self.message_read(f"twin_rate_{i}", late=True)
        self.hebbian(f"BPI_{i}", f"apical_{i}", pre, learns, applies, late=True)


class IntegerPredictiveCoding(IntegerDendriticMicrocircuit):
    """dPC (section 3.3): rI is the own area's rate of the step before."""

    model, twins = "dPC", False

    def _cancelling(self, i: int) -> Exact:
        return self.sent(f"rate_{i}", late=True)

    def _copy_down(self) -> None:
        """BPI is learned, not copied."""
        self.copy_feedback()

    def _learn_laterals(self, i: int, learns: bool, applies: bool) -> None:
        """dBPI = -dt eta_PI v_api x rI of the step before, which is r of two steps before."""
        name = f"rate_{i}"
        pre = self.earlier.get(f"{name}_{self.rules_read}", self.earlier[name])
        self.hebbian(f"BPI_{i}", f"apical_{i}", pre, learns, applies, late=True)


class IntegerLayeredNetwork(IntegerAreas):
    """ann (section 3.4): one step of delay per area. Raises as `IntegerDendriticMicrocircuit`."""

    def __init__(
        self, parameters: ErrorNeuronParameters, registers: Mapping[str, Any], seeds: Sequence[int],
        target_delay: int = 0,
    ) -> None:
        p = parameters
        if p.mc_model != "ann" or set(p.activation) - set(TABLED) or p.derivative != p.activation:
            raise ValueError(f"only ann and activations {TABLED}")
        if set(p.activation_slope) != {1} or set(p.activation_offset) != {0}:
            raise ValueError("only plain activations")
        super().__init__(p, registers, seeds, target_delay)
        self.check(self._constants(), self._functions())
        self._begin()

    def _constants(self) -> dict[str, list[float]]:
        """The gain of section 3.4, and of the errors a product each."""
        p, found, top = self.parameters, self.source_constants(), self.areas - 1
        for i in range(self.areas):
            found |= {f"drive_{i}": [p.gbas / (p.gl + p.gbas)], f"delta_{i}": [1], f"error_drive_{i}": [1],
                      f"error_rate_{i}": [1]}
            found |= self.rule_constants(f"WPP_{i}", [p.dt * p.eta_fw[i]])
        parts: dict[str, list[float]] = {"missing_slope": [1], "missing": [1, -1], "difference": [1]}
        parts |= {f"{name}_{i}": [1] for name in ("gating", "descending") for i in range(top)}
        return found | {name: values for name, values in parts.items() if name in self.coefficients}

    def _functions(self) -> dict[str, Callable[[Tensor], Tensor]]:
        p, found = self.parameters, dict[str, Callable[[Tensor], Tensor]]()
        for i, phi in enumerate(p.activation):
            found |= {f"rate_{i}": partial(self.activated, phi, 1.0), f"slope_{i}": DERIVATIVES[phi]}
        return found

    def _begin(self) -> None:
        """u and e from `start`, rates phi of u, all else 0."""
        p = self.parameters
        states = {f"{kind}_{i}": p.sizes[i] for kind in ("drive", "error_drive") for i in range(self.areas)}
        self.begin(states | self.credit_sizes() | {"input": p.layers[0], "target": p.layers[-1]})
        for i, phi in enumerate(p.activation):
            self.begin_at(f"rate_{i}", self.activated(phi, 1.0, self.now[f"drive_{i}"].real))
        self.wait_for_targets()

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
        """One step of section 6; arguments as in `IntegerDendriticMicrocircuit`, the target being rates."""
        self.next_step()
        self.rate = dyadic(rate)
        self._transmit(r0, target, undelayed)
        self._settle(targeted)
        if copy:
            self.copy_feedback()
        for i in range(self.areas):
            pre = self.message_read(self.source(i - 1), late=True)
            self.hebbian(f"WPP_{i}", f"delta_{i}", pre, learn_weights, applies)
        self.end_step()

    def _transmit(self, r0: Tensor, target: Tensor, undelayed: bool) -> None:
        """r = phi(u), phi'(u) and e, which the unit hears; u and e as the step before left them."""
        self.enter_sources(r0, target, undelayed)
        for i in range(self.areas):
            potential = self.before[f"drive_{i}"]
            self.function(f"rate_{i}", potential)
            self.function(f"slope_{i}", potential)
            self.keep(f"delta_{i}", self.keep(f"error_rate_{i}", self.before[f"error_drive_{i}"]))

    def _settle(self, targeted: bool) -> None:
        """u_l = gain W r_below; e_l = phi' (B e_above), e_L = phi' (target - r_L), or 0 without a target."""
        top = self.areas - 1
        for i in range(self.areas):
            basal = self.deliver(f"WPP_{i}", self.sent(self.source(i - 1)))
            self.keep(f"drive_{i}", self.factor_of(f"drive_{i}", 0) * basal)
        for i in range(top):
            gate = self.part(f"gating_{i}", self.now[f"slope_{i}"])
            descending = self.deliver(f"BPP_{i}", self.sent(f"error_rate_{i + 1}"))
            self.keep(f"error_drive_{i}", gate * self.part(f"descending_{i}", descending))
        slope = self.part("missing_slope", self.now[f"slope_{top}"])
        missing = self.part("missing", self.now["target"] - self.now[f"rate_{top}"])
        difference = self.part("difference", slope * missing)
        self.keep(f"error_drive_{top}", difference if targeted else NOTHING)
