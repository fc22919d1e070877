"""The quantised PAL microcircuit in torch int64: the equations of `pal` in fixed point.

Numbers are those of docs/fixed_point.md ("item"); "section" refers to the PAL specification. With taur = 1 the
prospective voltage cancels the Euler membrane: ubreve of a step is the steady potential u_eff (section 2) of the step
before, so potentials need not be kept. Symbols, with the layer's index: drive (u_eff), breve, rate, basal, apical,
noisy_apical, xi, white, high_pass, predicted (phi of the attenuated last basal potential) and error (of the plasticity)
of pyramidal cells; twin_drive, twin_breve, twin_rate, dendritic, twin_predicted and twin_error of interneurons;
input_in, input, target_in and target of the sources. Synapses WPP, WIP, BPP, BPI as there, stored (post, pre).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from reference.integers import ONE, Exact, IntegerCircuit, choose, dyadic
from reference.pal import ACTIVATIONS, Layers, PalParameters

TABLED = ("logistic", "tanh", "soft_relu", "hard_sigmoid")
"""Activations that are tables; the others have an exact form of their own."""


class IntegerPal(IntegerCircuit):
    """registers: see `IntegerCircuit`. seeds: of the random numbers, one per network. Rules may sum their increments or
    leave that to the cell. Raises ValueError for options beyond those above, DishonestRegister for registers of other
    equations."""

    def __init__(self, parameters: PalParameters, registers: Mapping[str, Any], seeds: Sequence[int]) -> None:
        p = parameters
        if p.taur != 1 or not p.pyr_hi_pass or set(p.activation) - set(TABLED):
            raise ValueError(f"only taur 1, high-passed rates and activations {TABLED}")
        super().__init__(registers, seeds)
        self.parameters, self.hidden = p, len(p.layers) - 2
        self.noisy_feedback = p.variant == "PAL"
        self.check(self._constants(), self._functions())
        self._begin()

    # ---- what the registers must be

    def _constants(self) -> dict[str, list[float]]:
        found: dict[str, list[float]] = {"input": [1], "target": [1]}
        for i in range(self.hidden + 1):
            found |= self._pyramidal_constants(i)
        for i in range(self.hidden):
            found |= self._hidden_constants(i)
        return found | self._rule_constants()

    def _pyramidal_constants(self, i: int) -> dict[str, list[float]]:
        """u_eff with and without a target (section 2); item 12 of a step."""
        p, tau = self.parameters, self.parameters.pyramidal_tau[i]
        top = [tau * p.gbas, tau * p.gntgt, p.gbas / (p.gl + p.gbas)]
        found: dict[str, list[float]] = {
            f"drive_{i}": top if i == self.hidden else [tau * p.gbas, tau * p.gapi], f"breve_{i}": [1],
            f"basal_{i}": [1],
            f"error_{i}": [1, -1] if p.dWPP_use_activation else [1, -p.basal_attenuation[i]]}
        if self._filters(i):
            found[f"high_pass_{i}"] = [1, 1, -1, -p.dt / p.tau_HP]
        return found

    def _filters(self, i: int) -> bool:
        """Whether rates are high-passed; in the lowest layer nothing reads them, and a circuit may leave them out."""
        return self.noisy_feedback and (i > 0 or f"high_pass_{i}" in self.registers)

    def _hidden_constants(self, i: int) -> dict[str, list[float]]:
        """u_eff of the interneurons (section 2); noise of item 5 of a step."""
        p, tau = self.parameters, self.parameters.interneuron_tau
        found: dict[str, list[float]] = {
            f"twin_drive_{i}": [tau * p.gden, tau * p.gnI], f"twin_breve_{i}": [1], f"dendritic_{i}": [1],
            f"twin_error_{i}": [1, -1], f"apical_{i}": [1]}
        if self.noisy_feedback:
            grow = math.sqrt(p.dt * p.tau_xi) * p.sigma[i] / p.tau_xi
            found |= {f"noisy_apical_{i}": [1, 1], f"xi_{i}": [1, grow, -p.dt / p.tau_xi, 1]}
        return found

    def _rule_constants(self) -> dict[str, list[float]]:
        """Of the rules of item 7 of a step, in units of the weight."""
        p = self.parameters
        found: dict[str, list[float]] = {}
        for i in range(self.hidden + 1):
            found |= self.rule_constants(f"WPP_{i}", [p.dt * p.eta_fw[i]], p.dt / p.tau_LO)
        for i in range(self.hidden):
            found |= self.rule_constants(f"WIP_{i}", [p.dt * p.eta_IP[i]])
            found |= self.rule_constants(f"BPI_{i}", [-p.dt * p.eta_PI[i]])
            decayed = [p.dt * p.eta_bw[i], -p.dt * p.alpha[i] * p.eta_bw[i]]
            found |= self.rule_constants(f"BPP_{i}", decayed) if self.noisy_feedback else {}
        return found

    def _functions(self) -> dict[str, Callable[[Tensor], Tensor]]:
        """phi of the prospective voltage, and of the attenuated basal potential (item 7 of a step)."""
        p, found = self.parameters, dict[str, Callable[[Tensor], Tensor]]()
        for i in range(self.hidden + 1):
            found[f"rate_{i}"] = ACTIVATIONS[p.activation[i]]
            if p.dWPP_use_activation:
                found[f"predicted_{i}"] = partial(self._attenuated, p.activation[i], p.basal_attenuation[i])
        for i in range(self.hidden):
            found[f"twin_rate_{i}"] = ACTIVATIONS[p.activation[i + 1]]
            found[f"twin_predicted_{i}"] = partial(self._attenuated, p.activation[i + 1], p.dendritic_attenuation)
        return found

    @staticmethod
    def _attenuated(activation: str, attenuation: float, potential: Tensor) -> Tensor:
        return ACTIVATIONS[activation](attenuation * potential)

    # ---- before the first step

    def _begin(self) -> None:
        """Potentials from `start`, rates and their high-pass phi of them; all else 0 (section 4, Initial)."""
        p, sizes = self.parameters, self.parameters.layers
        kinds = {"drive": 0, "basal": 0} | ({"xi": -1} if self.noisy_feedback else {})
        states = {f"{kind}_{i}": sizes[i + 1] for kind, less in kinds.items() for i in range(self.hidden + 1 + less)}
        states |= {f"apical_{i}": sizes[i + 1] for i in range(self.hidden)}
        states |= {f"{kind}_{i}": sizes[i + 2] for kind in ("twin_drive", "dendritic") for i in range(self.hidden)}
        self.begin(states | self.credit_sizes() | {"input": sizes[0]})
        for i in range(self.hidden + 1):
            names = ["rate", *(["high_pass"] if self._filters(i) else [])]
            self._begin_rates([f"{name}_{i}" for name in names], p.activation[i], f"drive_{i}")
        for i in range(self.hidden):
            self._begin_rates([f"twin_rate_{i}"], p.activation[i + 1], f"twin_drive_{i}")

    def _begin_rates(self, names: Sequence[str], activation: str, drive: str) -> None:
        for name in names:
            self.begin_at(name, ACTIVATIONS[activation](self.now[drive].real))

    # ---- a step

    @torch.no_grad()
    def step(
        self,
        r0: Tensor,
        u_target: Tensor,
        targeted: bool,
        learn_weights: bool,
        learn_lateral: bool,
        learn_feedback: bool,
        noisy: bool,
        white: Layers | None = None,
        applies: bool = True,
        rate: float = 1.0,
    ) -> None:
        """One Euler step dt of section 4.

        r0 (S, n_0); u_target (S, n_N), which counts where `targeted`. noisy: the apical dendrites feel the noise, which
        moves by `white`, a normal draw (S, n) per hidden layer. applies: where rules sum their increments, whether the
        sum moves the weights. rate: what all increments are multiplied with.
        """
        self.next_step()
        self.rate = dyadic(rate)
        self._transmit(r0, u_target)
        self._receive(noisy and self.noisy_feedback, white)
        self._drive(targeted, noisy and self.noisy_feedback)
        self._compare()
        if self.parameters.variant == "BP":
            self._copy_feedback()
        self._increments(learn_weights, learn_lateral, learn_feedback, applies)
        self.end_step()

    def _transmit(self, r0: Tensor, u_target: Tensor) -> None:
        """Items 2 and 3 of a step: the prospective voltages and their rates."""
        self.keep("input", self.enter("input_in", r0))
        self.keep("target", self.enter("target_in", u_target))
        for i in range(self.hidden + 1):
            self.function(f"rate_{i}", self.keep(f"breve_{i}", self.before[f"drive_{i}"]))
        for i in range(self.hidden):
            self.function(f"twin_rate_{i}", self.keep(f"twin_breve_{i}", self.before[f"twin_drive_{i}"]))

    def _below(self, i: int) -> str:
        return f"rate_{i - 1}" if i else "input"

    def _receive(self, noisy: bool, white: Layers | None) -> None:
        """Items 4 and 5 of a step: potentials of the dendrites; the noise, whose old value is felt."""
        for i in range(self.hidden + 1):
            self.keep(f"basal_{i}", self.deliver(f"WPP_{i}", self.sent(self._below(i))))
        for i in range(self.hidden):
            self.keep(f"dendritic_{i}", self.deliver(f"WIP_{i}", self.sent(f"rate_{i}")))
            above = self.deliver(f"BPP_{i}", self.sent(f"rate_{i + 1}"))
            apical = self.keep(f"apical_{i}", above + self.deliver(f"BPI_{i}", self.sent(f"twin_rate_{i}")))
            if self.noisy_feedback:
                assert white is not None
                self.keep(f"noisy_apical_{i}", apical + self.before[f"xi_{i}"])
                self._wander(i, noisy, self.enter(f"white_{i}", white[i]))

    def _wander(self, i: int, noisy: bool, white: Exact) -> None:
        """xi + (sqrt(dt tau_xi) sigma z - dt xi) / tau_xi."""
        old, grow, shrink = self.before[f"xi_{i}"], self.factor_of(f"xi_{i}", 1), self.factor_of(f"xi_{i}", 2)
        self.keep(f"xi_{i}", choose(noisy, old + grow * white + shrink * old, old))

    def _drive(self, targeted: bool, noisy: bool) -> None:
        """u_eff of item 6 of a step."""
        for i in range(self.hidden):
            top = self.now[f"noisy_apical_{i}" if noisy else f"apical_{i}"]
            self._two(f"drive_{i}", self.now[f"basal_{i}"], top)
            self._two(f"twin_drive_{i}", self.now[f"dendritic_{i}"], self.now[f"breve_{i + 1}"])
        name, basal = f"drive_{self.hidden}", self.now[f"basal_{self.hidden}"]
        if targeted:
            self._two(name, basal, self.now["target"])
        else:
            self.keep(name, self.factor_of(name, 2) * basal)

    def _two(self, name: str, first: Exact, second: Exact) -> None:
        self.keep(name, self.factor_of(name, 0) * first + self.factor_of(name, 1) * second)

    def _compare(self) -> None:
        """The postsynaptic factors of item 7, and item 12 of a step."""
        for i in range(self.hidden + 1):
            self._error(i)
            if self._filters(i):
                old, change = self.before[f"high_pass_{i}"], self.now[f"rate_{i}"] - self.before[f"rate_{i}"]
                self.keep(f"high_pass_{i}", old + change + self.factor_of(f"high_pass_{i}", 3) * old)
        for i in range(self.hidden):
            predicted = self.function(f"twin_predicted_{i}", self.before[f"dendritic_{i}"])
            self.keep(f"twin_error_{i}", self.now[f"twin_rate_{i}"] - predicted)

    def _error(self, i: int) -> None:
        basal = self.before[f"basal_{i}"]
        if self.parameters.dWPP_use_activation:
            self.keep(f"error_{i}", self.now[f"rate_{i}"] - self.function(f"predicted_{i}", basal))
        else:
            self.keep(f"error_{i}", self.now[f"breve_{i}"] + self.factor_of(f"error_{i}", 1) * basal)

    def _copy_feedback(self) -> None:
        """BP: the feedback is the transposed forward weights before they move, its inverse cancels it (section 3)."""
        for i in range(self.hidden):
            self.synapses[f"BPP_{i}"].copy(self.synapses[f"WPP_{i + 1}"].weights.turned)
            self.synapses[f"BPI_{i}"].copy(-self.synapses[f"BPP_{i}"].weights)

    def _increments(self, weights: bool, lateral: bool, feedback: bool, applies: bool) -> None:
        """Items 7 and 9 to 11 of a step; factors and rates of the step before are late."""
        for i in range(self.hidden + 1):
            self._hebbian(f"WPP_{i}", f"error_{i}", self._below(i), weights, applies)
        for i in range(self.hidden):
            self._hebbian(f"WIP_{i}", f"twin_error_{i}", f"rate_{i}", lateral, applies)
            self._hebbian(f"BPI_{i}", f"apical_{i}", f"twin_rate_{i}", lateral, applies, late=True)
            if self.noisy_feedback:
                self._feedback(f"BPP_{i}", i, feedback, applies)

    def _feedback(self, name: str, i: int, learns: bool, applies: bool) -> None:
        """xi x last high-passed rate above, and the decay of the weight."""
        xi = self.formed(name, self.now[f"xi_{i}"], self.read(f"xi_{i}"))
        one = self.formed(name, Exact(torch.ones_like(xi.units)), ONE.axis(0).axis(0), place=1)
        decay = self.synapses[name].weights * one.axis(2)
        self.learn(name, [self.outer(xi, self.read(f"high_pass_{i + 1}", late=True)), decay], learns, applies)

    def _hebbian(self, name: str, post: str, pre: str, learns: bool, applies: bool, late: bool = False) -> None:
        """post x last pre, post of this or the last step."""
        if self.synapses[name].kind == "credited":
            value = (self.before if late else self.now)[post]
            factor = self.collect_credit(name, value, learns, applies)
        else:
            factor = self.formed(name, (self.before if late else self.now)[post], self.read(post, late))
        self.learn(name, [self.outer(factor, self.message_read(pre, late=True))], learns, applies)
