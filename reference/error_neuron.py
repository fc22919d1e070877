"""The error-neuron microcircuit and its comparison models in float64 torch: an oracle written from the equations.

Models: Max et al., "'Backpropagation and the brain' realized in cortical error neuron microcircuits" (doi
10.1371/journal.pcbi.1014164): errormc, sacramento2018 (dendritic microcircuit), dPC (dendritic hierarchical
predictive coding) and ann, in the explicit Euler form of the published simulator. "Section" and "item" refer
to the error-neuron specification; the items of a step are those of its section 6, in their order.

Every array has a leading batch axis of S seeds: states (S, n), weights (S, post, pre). Times are in ms,
conductances in 1/ms; voltages, rates and weights have no unit. Only operations whose bits do not depend on an
element's place in its tensor are used (see `cortexc.reference.pal`): a batch has the bits of its single runs.
"""

import copy
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from cortexc.reference.error_neuron_parameters import ACTIVATIONS, ErrorNeuronParameters
from cortexc.reference.error_neuron_state import (
    GOLDEN_NAMES,
    ErrorNeuronState,
    activate,
    copied_feedback,
    rectangular_identity,
    slopes,
)
from cortexc.reference.pal import Layers, hebbian, outer, product

__all__ = ["ErrorNeuronParameters", "ErrorNeuronReference", "ErrorNeuronState", "reference_model"]


class ErrorNeuronReference(ABC):
    """A batch of networks; `step` is section 6, item by item, and the subclasses are the four models."""

    def __init__(self, parameters: ErrorNeuronParameters, state: ErrorNeuronState) -> None:
        self.parameters, self.state = parameters, state

    @torch.no_grad()
    def step(
        self,
        r0: Tensor,
        target: Tensor | None,
        learn_weights: bool,
        learn_lateral: bool,
        learn_feedback: bool,
        reset_potential: bool = False,
    ) -> None:
        """One Euler step dt.

        r0 (S, n_0): input rates; target (S, n_L): rates (errormc, ann) or voltages (sacramento2018, dPC), or
        None. learn_feedback adds nothing to B (dBPP = 0), but like the others has it copied from W (item 7).
        reset_potential: first set u, but not u_old, of the pyramidal cells to 0 (section 8.2).
        """
        before = self.state  # item 1
        if reset_potential:
            silent = list(map(torch.zeros_like, before.pyramidal_potential))
            before = replace(before, pyramidal_potential=silent)
        now = self.state = copy.copy(before)
        now.input_rate = [torch.as_tensor(r0, dtype=torch.float64)]
        self._transmit(now, before)
        now.pyramidal_potential_old = before.pyramidal_potential  # item 4
        now.partner_potential_old = before.partner_potential
        self._receive(now)
        self._settle(now, target)
        plastic = learn_weights or learn_lateral or learn_feedback
        self._plan_changes(now, before, plastic)
        if plastic and self.parameters.model_type == "BP":
            self._copy_feedback(now)
        self._integrate(now, before)
        if learn_weights:
            now.forward = list(map(torch.add, now.forward, now.forward_change))
        if learn_lateral:
            now.lateral = list(map(torch.add, now.lateral, now.lateral_change))
            now.returning = list(map(torch.add, now.returning, now.returning_change))

    def _transmit(self, now: ErrorNeuronState, before: ErrorNeuronState) -> None:
        """Items 2, 3: u˘ = u_old + tau (u - u_old)/dt, phi'(u˘), r = phi(u˘) or phi(u), and the partner's rate."""
        p = self.parameters
        now.pyramidal_prospective = self._look_ahead(
            p.pyramidal_tau, before.pyramidal_potential, before.pyramidal_potential_old
        )
        now.slope = slopes(p, now.pyramidal_prospective)
        chosen = zip(p.rep_lookahead, now.pyramidal_prospective, before.pyramidal_potential, strict=True)
        now.pyramidal_rate = activate(p, [ahead if prospective else u for prospective, ahead, u in chosen])
        self._transmit_partner(now, before)

    def _look_ahead(self, taus: Sequence[float], potential: Layers, old: Layers) -> Layers:
        cells = zip(taus, potential, old, strict=True)
        return [old + tau * (u - old) / self.parameters.dt for tau, u, old in cells]

    @abstractmethod
    def _transmit_partner(self, now: ErrorNeuronState, before: ErrorNeuronState) -> None:
        """Items 2, 3 of the partner."""

    @abstractmethod
    def _receive(self, now: ErrorNeuronState) -> None:
        """Item 5: v_bas, v_api and v_den from the new rates."""

    @abstractmethod
    def _settle(self, now: ErrorNeuronState, target: Tensor | None) -> None:
        """Item 6: u_eff of all cells (section 3)."""

    def _integrate(self, now: ErrorNeuronState, before: ErrorNeuronState) -> None:
        """Items 6, 8: u += dt (u_eff - u)/tau."""
        p = self.parameters
        cells = zip(p.pyramidal_tau, now.pyramidal_effective, before.pyramidal_potential, strict=True)
        now.pyramidal_potential = [u + p.dt * (effective - u) / tau for tau, effective, u in cells]
        if before.partner_potential:
            partners = zip(p.partner_tau, now.partner_effective, before.partner_potential, strict=True)
            now.partner_potential = [u + p.dt * (effective - u) / tau for tau, effective, u in partners]

    def _plan_changes(self, now: ErrorNeuronState, before: ErrorNeuronState, plastic: bool) -> None:
        """Item 7: increments, times dt eta, of this step's u˘ and r and the last step's compartments; else 0."""
        kinds = (now.forward, now.lateral, now.returning)
        changes = [list(map(torch.zeros_like, weights)) for weights in kinds]
        if plastic:
            changes = [self._forward_changes(now, before), *self._lateral_changes(now, before)]
        now.forward_change, now.lateral_change, now.returning_change = changes

    def _forward_changes(self, now: ErrorNeuronState, before: ErrorNeuronState) -> Layers:
        """dW_l = dt eta_l (u˘_l - c_l v_bas_l) x r_{l-1}, or with phi of both terms (section 4)."""
        p = self.parameters
        post, attenuated = now.pyramidal_prospective, zip(p.basal_attenuation, before.basal, strict=True)
        expected = [attenuation * basal for attenuation, basal in attenuated]
        if p.dWPP_use_activation:
            post, expected = activate(p, post), activate(p, expected)
        mismatch = list(map(torch.sub, post, expected))
        rates = before.input_rate + before.pyramidal_rate
        if p.skip_forward:
            return [self._skip_rates(before.forward[0]) * outer(_after_input(rates, mismatch), torch.cat(rates, 1))]
        return hebbian(p.dt, p.eta_fw, mismatch, rates[:-1])

    def _skip_rates(self, like: Tensor) -> Tensor:
        """dt eta_{l,k} of each synapse of the one matrix."""
        p, rows = self.parameters, []
        for size, etas in zip(p.layers, [[0.0] * p.areas, *p.forward_rates], strict=True):
            sources = zip(p.layers, [*etas, 0.0], strict=True)
            rows.append(torch.cat([like.new_full((size, n), p.dt * eta) for n, eta in sources], 1))
        return torch.cat(rows, 0)

    @abstractmethod
    def _lateral_changes(self, now: ErrorNeuronState, before: ErrorNeuronState) -> tuple[Layers, Layers]:
        """dWIP, dBPI (section 4)."""

    def _copy_feedback(self, now: ErrorNeuronState) -> None:
        """Item 7: B = W^T + N from W before its increment."""
        now.feedback = copied_feedback(self.parameters, now.forward, now.feedback_noise)

    def snapshot(self) -> dict[str, Tensor]:
        """Every variable after the last call under its golden name, `uP_0` and so on, each (S, ...)."""
        feedback = "BII" if self.parameters.mc_model == "errormc" else "BPP"
        names = {symbol: field for symbol, field in GOLDEN_NAMES.items() if symbol not in self._unrecorded}
        lists = ((feedback if symbol == "B" else symbol, getattr(self.state, f)) for symbol, f in names.items())
        return {f"{symbol}_{index}": tensor for symbol, tensors in lists for index, tensor in enumerate(tensors)}

    _unrecorded: tuple[str, ...] = ()

    def output_rate(self) -> Tensor:
        """r_L as computed in the last call. (S, n_L)"""
        return self.state.pyramidal_rate[-1]

    def output_voltage(self) -> Tensor:
        """u˘_L as computed in the last call. (S, n_L)"""
        return self.state.pyramidal_prospective[-1]


def _after_input(rates: Layers, areas: Layers) -> Tensor:
    """Postsynaptic values of all areas behind zeros for the input. (S, sum of layers)"""
    return torch.cat([torch.zeros_like(rates[0]), *areas], 1)


class ErrorMicrocircuit(ErrorNeuronReference):
    """errormc (sections 1.1, 3.1): representation neurons R and error neurons E in every area."""

    def _transmit_partner(self, now: ErrorNeuronState, before: ErrorNeuronState) -> None:
        p = self.parameters
        now.partner_prospective = self._look_ahead(
            p.partner_tau, before.partner_potential, before.partner_potential_old
        )
        chosen = zip(p.error_lookahead, now.partner_prospective, before.partner_potential, strict=True)
        phi = ACTIVATIONS[p.error_activation]
        now.partner_rate = [phi(ahead if prospective else u, 1, 0) for prospective, ahead, u in chosen]

    def _receive(self, now: ErrorNeuronState) -> None:
        """v_bas = sum_k W r_k, v_api = BPI rE, v_den = [WIP phi'] sum_k BII rE_k; the last v_den stays 0."""
        p, rates = self.parameters, now.input_rate + now.pyramidal_rate
        if p.skip_forward:
            now.basal = list(product(now.forward[0], torch.cat(rates, 1)).split(p.layers, 1))[1:]
        else:
            now.basal = list(map(product, now.forward, rates[:-1]))
        now.apical = list(map(product, now.returning, now.partner_rate))
        if p.skip_feedback:
            whole = product(now.feedback[0], torch.cat(now.partner_rate, 1))
            descending = list(whole.split(p.partner_sizes, 1))[:-1]
        else:
            descending = list(map(product, now.feedback, now.partner_rate[1:]))
        if p.varphi_transfer:
            gates = map(product, now.lateral[:-1], now.slope[:-1])
            descending = [gate * error for gate, error in zip(gates, descending, strict=True)]
        now.dendritic = [*descending, torch.zeros_like(now.partner_rate[-1])]

    def _settle(self, now: ErrorNeuronState, target: Tensor | None) -> None:
        """The output error is g_tgt WIP [phi' (target - r)]: gated whatever varphi_transfer is."""
        p = self.parameters
        somata = zip(p.pyramidal_tau, now.basal, now.apical, strict=True)
        now.pyramidal_effective = [tau * (p.gbas * basal + p.gapi * apical) for tau, basal, apical in somata]
        hidden = zip(p.partner_tau[:-1], now.dendritic[:-1], strict=True)
        errors = [tau * p.gden * dendritic for tau, dendritic in hidden]
        output = torch.zeros_like(now.partner_rate[-1])
        if target is not None:
            missing = now.slope[-1] * (target - now.pyramidal_rate[-1])
            output = p.partner_tau[-1] * p.gntgt * product(now.lateral[-1], missing)
        now.partner_effective = [*errors, output]

    def _lateral_changes(self, now: ErrorNeuronState, before: ErrorNeuronState) -> tuple[Layers, Layers]:
        """dWIP = -dt eta_IP (WIP - I), dBPI = -dt eta_PI (BPI - I)."""
        return self._relaxed(self.parameters.eta_IP, now.lateral), self._relaxed(self.parameters.eta_PI, now.returning)

    def _relaxed(self, rates: Sequence[float], weights: Layers) -> Layers:
        pairs = zip(rates, weights, strict=True)
        return [-self.parameters.dt * eta * (weight - rectangular_identity(weight)) for eta, weight in pairs]


class DendriticMicrocircuit(ErrorNeuronReference):
    """sacramento2018 (sections 1.2, 3.2): interneurons twinned with the pyramidal cells of the area above."""

    def _transmit_partner(self, now: ErrorNeuronState, before: ErrorNeuronState) -> None:
        now.partner_prospective = self._look_ahead(
            self.parameters.partner_tau, before.partner_potential, before.partner_potential_old
        )
        now.partner_rate = activate(self.parameters, now.partner_prospective, 1)

    def _receive(self, now: ErrorNeuronState) -> None:
        """v_bas = W r_below, v_api = BPP r_above + BPI rI, v_den = WIP r."""
        now.basal = list(map(product, now.forward, now.input_rate + now.pyramidal_rate[:-1]))
        descending = map(product, now.feedback, now.pyramidal_rate[1:])
        cancelling = map(product, now.returning, now.partner_rate[: len(now.returning)])
        now.apical = list(map(torch.add, descending, cancelling))
        now.dendritic = list(map(product, now.lateral, now.pyramidal_rate[: len(now.lateral)]))

    def _settle(self, now: ErrorNeuronState, target: Tensor | None) -> None:
        """The target nudges u_P(L); interneurons are nudged by u˘_P of the area above."""
        p = self.parameters
        hidden = zip(p.pyramidal_tau[:-1], now.basal[:-1], now.apical, strict=True)
        effective = [tau * (p.gbas * basal + p.gapi * apical) for tau, basal, apical in hidden]
        if target is None:
            effective.append(p.gbas * now.basal[-1] / (p.gl + p.gbas))
        else:
            effective.append(p.pyramidal_tau[-1] * (p.gbas * now.basal[-1] + p.gntgt * target))
        now.pyramidal_effective = effective
        twins = zip(p.partner_tau, now.dendritic, now.pyramidal_prospective[1:], strict=False)
        now.partner_effective = [tau * (p.gden * dendritic + p.gnI * twin) for tau, dendritic, twin in twins]

    def _copy_feedback(self, now: ErrorNeuronState) -> None:
        """BPI = -BPP is copied with it (section 4)."""
        super()._copy_feedback(now)
        now.returning = [-feedback for feedback in now.feedback]

    def _lateral_changes(self, now: ErrorNeuronState, before: ErrorNeuronState) -> tuple[Layers, Layers]:
        """dWIP = dt eta_IP (rI - phi(s v_den)) x r; dBPI = -dt eta_PI v_api x rI."""
        p = self.parameters
        twin = activate(p, [p.dendritic_attenuation * dendritic for dendritic in before.dendritic], 1)
        mismatch = list(map(torch.sub, now.partner_rate, twin))
        lateral = hebbian(p.dt, p.eta_IP, mismatch, before.pyramidal_rate[:-1])
        return lateral, hebbian(-p.dt, p.eta_PI, before.apical, before.partner_rate[: p.areas - 1])


class PredictiveCoding(DendriticMicrocircuit):
    """dPC (sections 1.3, 3.3): BPI is lateral inhibition by the own area's rate of the step before."""

    _unrecorded = ("uI",)

    def _transmit_partner(self, now: ErrorNeuronState, before: ErrorNeuronState) -> None:
        now.partner_prospective = now.partner_rate = before.pyramidal_rate

    def _copy_feedback(self, now: ErrorNeuronState) -> None:
        """BPI is learned, not copied."""
        ErrorNeuronReference._copy_feedback(self, now)

    def _lateral_changes(self, now: ErrorNeuronState, before: ErrorNeuronState) -> tuple[Layers, Layers]:
        """dBPI = -dt eta_PI v_api x rI."""
        p = self.parameters
        return [], hebbian(-p.dt, p.eta_PI, before.apical, before.partner_rate[: p.areas - 1])


class LayeredNetwork(ErrorNeuronReference):
    """ann (sections 1.4, 3.4): one step of delay per area; the recorded u˘ is u after the step (Q11)."""

    _unrecorded = ("uI_breve", "rI_breve")

    def _look_ahead(self, taus: Sequence[float], potential: Layers, old: Layers) -> Layers:
        return potential

    def _transmit_partner(self, now: ErrorNeuronState, before: ErrorNeuronState) -> None:
        now.partner_prospective = now.partner_rate = before.partner_potential

    def _receive(self, now: ErrorNeuronState) -> None:
        """No compartments."""

    def _settle(self, now: ErrorNeuronState, target: Tensor | None) -> None:
        """u_l = g_bas/(g_l + g_bas) W r_below; e_l = phi' (B e_above), e_L = phi' (target - r_L) or 0."""
        p, rates = self.parameters, now.input_rate + now.pyramidal_rate[:-1]
        gain = p.gbas / (p.gl + p.gbas)
        now.pyramidal_effective = [gain * product(w, r) for w, r in zip(now.forward, rates, strict=True)]
        missing = torch.zeros_like(now.slope[-1]) if target is None else target - now.pyramidal_rate[-1]
        errors = [*map(product, now.feedback, now.partner_rate[1:]), missing]
        now.partner_effective = [slope * error for slope, error in zip(now.slope, errors, strict=True)]

    def _integrate(self, now: ErrorNeuronState, before: ErrorNeuronState) -> None:
        """u += new - u."""
        pyramidal = zip(before.pyramidal_potential, now.pyramidal_effective, strict=True)
        now.pyramidal_potential = [u + (effective - u) for u, effective in pyramidal]
        partner = zip(before.partner_potential, now.partner_effective, strict=True)
        now.partner_potential = [u + (effective - u) for u, effective in partner]

    def _forward_changes(self, now: ErrorNeuronState, before: ErrorNeuronState) -> Layers:
        """dW_l = dt eta_l e_l x r_{l-1}."""
        p, rates = self.parameters, before.input_rate + before.pyramidal_rate[:-1]
        return hebbian(p.dt, p.eta_fw, now.partner_rate, rates)

    def _lateral_changes(self, now: ErrorNeuronState, before: ErrorNeuronState) -> tuple[Layers, Layers]:
        return [], []

    def snapshot(self) -> dict[str, Tensor]:
        shown = super().snapshot()
        breve = {f"uP_breve_{index}": u for index, u in enumerate(self.state.pyramidal_potential)}
        return shown | breve


CLASSES = {"errormc": ErrorMicrocircuit, "sacramento2018": DendriticMicrocircuit}
CLASSES |= {"dPC": PredictiveCoding, "ann": LayeredNetwork}


def reference_model(parameters: ErrorNeuronParameters, state: ErrorNeuronState) -> ErrorNeuronReference:
    """The oracle of the model that the parameters name."""
    return CLASSES[parameters.mc_model](parameters, state)
