"""The PAL cortical microcircuit in float64 torch: an oracle written from the equations alone.

Model: Max et al., "Learning efficient backprojections across cortical hierarchies in real time" (arXiv
2212.10249, doi 10.1038/s42256-024-00845-3), in the explicit Euler form of its published simulator. "Section"
and "item" refer to the PAL specification; the items of a step are those of its section 4, in their order.

Every array has a leading batch axis of S seeds: states (S, n), weights (S, post, pre). Times are in ms,
conductances in 1/ms; voltages, rates and weights have no unit. N layers follow the input, H = N - 1 of them
hidden. Only operations whose bits do not depend on an element's place in its tensor are used
(exp and log, not sigmoid and log1p; product and sum, not matmul): a batch has the bits of its single runs.
"""

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from operator import mul
from typing import NamedTuple

import torch
from torch import Tensor

from cortexc.reference.pal_parameters import ACTIVATIONS, WEIGHTS, Layers, PalParameters


class Weights(NamedTuple):
    """WPP (N of them), WIP, BPP and BPI (H each) of section 1, (S, post, pre)."""

    forward: Layers
    lateral: Layers
    feedback: Layers
    cancelling: Layers


@dataclass
class PalState:
    """What the Euler step carries, one tensor per layer; `*_old` is the value of one step earlier.

    `GOLDEN_NAMES` gives the symbols. Tensors are replaced, never changed: an earlier state stays valid.
    """

    pyramidal_potential: Layers
    interneuron_potential: Layers
    pyramidal_potential_old: Layers
    interneuron_potential_old: Layers
    pyramidal_prospective: Layers
    interneuron_prospective: Layers
    pyramidal_rate: Layers
    interneuron_rate: Layers
    basal: Layers
    dendritic: Layers
    apical: Layers
    noisy_apical: Layers
    noise: Layers
    high_pass_rate: Layers
    forward: Layers
    lateral: Layers
    feedback: Layers
    cancelling: Layers
    forward_change: Layers
    lateral_change: Layers
    feedback_change: Layers
    cancelling_change: Layers
    forward_low_pass: Layers
    input_rate: Layers  # r0 in a list of one


# Variable of the golden files -> field of PalState, in the order of its fields.
SYMBOLS = ["uP", "uI", "uP_old", "uI_old", "uP_breve", "uI_breve", "rP_breve", "rI_breve", "vbas", "vden"]
SYMBOLS += ["vapi", "vapi_noise", "noise", "rP_breve_HI", *WEIGHTS, "dWPP", "dWIP", "dBPP", "dBPI", "dWPP_LO"]
GOLDEN_NAMES = dict(zip(SYMBOLS, [field.name for field in fields(PalState)[:-1]], strict=True))


def activate(parameters: PalParameters, values: Layers, first: int = 0) -> Layers:
    """phi of each layer from `first`; interneurons use that of their twins, hence first = 1 (section 2)."""
    names = parameters.activation[first:]
    return [ACTIVATIONS[name](value) for name, value in zip(names, values, strict=True)]


def product(weights: Tensor, rates: Tensor) -> Tensor:
    """(S, post, pre) times (S, pre): (S, post)."""
    return (weights * rates.unsqueeze(1)).sum(-1)


def outer(post: Tensor, pre: Tensor) -> Tensor:
    """(S, post) times (S, pre): (S, post, pre)."""
    return post.unsqueeze(2) * pre.unsqueeze(1)


def hebbian(dt: float, rates: Sequence[float], post: Layers, pre: Layers) -> Layers:
    """dt eta post x pre of each layer."""
    return [outer(dt * eta * a, b) for eta, a, b in zip(rates, post, pre, strict=True)]


def transposed_feedback(forward: Layers) -> tuple[Layers, Layers]:
    """BPP_i = WPP_{i+1}^T and BPI_i = -BPP_i of the variant BP (section 3)."""
    feedback = [weight.transpose(1, 2).contiguous() for weight in forward[1:]]
    return feedback, [-weight for weight in feedback]


def fresh_state(
    parameters: PalParameters, pyramidal: Layers, interneuron: Layers, weights: Weights
) -> PalState:
    """State before the first step from potentials (S, n) and weights (section 4, Initial)."""
    rate, interneuron_rate = activate(parameters, pyramidal), activate(parameters, interneuron, 1)
    zeros, dendritic = ([torch.zeros_like(u) for u in potentials] for potentials in (pyramidal, interneuron))
    changes = [[torch.zeros_like(weight) for weight in kind] for kind in weights]
    potentials, rates = [pyramidal, interneuron] * 3, [rate, interneuron_rate]
    compartments, noise = [zeros, dendritic, zeros[:-1], zeros[:-1]], [zeros, rate]
    input_rate = [zeros[0].new_zeros(len(zeros[0]), parameters.layers[0])]
    values = [*potentials, *rates, *compartments, *noise, *weights, *changes, changes[0], input_rate]
    return PalState(*values)


class PalReference:
    """The PAL microcircuit of a batch of seeds; `step` is section 4 of the specification, item by item."""

    def __init__(self, parameters: PalParameters, state: PalState) -> None:
        self.parameters, self.state = parameters, state

    @torch.no_grad()
    def step(
        self,
        r0: Tensor,
        u_target: Tensor | None,
        learn_weights: bool,
        learn_lateral: bool,
        learn_feedback: bool,
        white: Layers | None = None,
    ) -> None:
        """One Euler step dt.

        r0 (S, n_0): input rates; u_target (S, n_N): target voltages or None; white: per hidden layer a
        standard normal draw (S, n), read in PAL while the feedback learns.
        """
        before = self.state  # item 1
        now = self.state = copy.copy(before)
        noisy = learn_feedback and self.parameters.variant == "PAL"
        self._transmit(now, before, r0)
        self._receive(now, before)
        if noisy:
            now.noise = self._next_noise(before, white)
        changes = self._soma_changes(now, before, u_target, now.noisy_apical if noisy else now.apical)
        self._plan_changes(now, before)
        now.pyramidal_potential = list(map(torch.add, before.pyramidal_potential, changes[0]))  # item 8
        now.interneuron_potential = list(map(torch.add, before.interneuron_potential, changes[1]))
        self._learn(now, learn_weights, learn_lateral, noisy)
        self._filter_rates(now, before)

    def _transmit(self, now: PalState, before: PalState, r0: Tensor) -> None:
        """Items 2, 3: ubreve = u_prev + taur tau (u - u_prev)/dt, r = phi(ubreve), r0; then u_prev = u."""
        p = self.parameters
        layers = zip(p.pyramidal_tau, before.pyramidal_potential, before.pyramidal_potential_old, strict=True)
        now.pyramidal_prospective = [old + p.taur * tau / p.dt * (u - old) for tau, u, old in layers]
        factor = p.taur * p.interneuron_tau / p.dt
        twins = zip(before.interneuron_potential, before.interneuron_potential_old, strict=True)
        now.interneuron_prospective = [old + factor * (u - old) for u, old in twins]
        now.pyramidal_rate = activate(p, now.pyramidal_prospective)
        now.interneuron_rate = activate(p, now.interneuron_prospective, 1)
        now.input_rate = [torch.as_tensor(r0, dtype=torch.float64)]
        now.pyramidal_potential_old = before.pyramidal_potential
        now.interneuron_potential_old = before.interneuron_potential

    def _receive(self, now: PalState, before: PalState) -> None:
        """Item 4: vbas = WPP r_below, vden = WIP r, vapi = BPP r_above + BPI rI; noisy with the old xi."""
        now.basal = list(map(product, now.forward, now.input_rate + now.pyramidal_rate[:-1]))
        now.dendritic = list(map(product, now.lateral, now.pyramidal_rate[:-1]))
        feedback = map(product, now.feedback, now.pyramidal_rate[1:])
        now.apical = list(map(torch.add, feedback, map(product, now.cancelling, now.interneuron_rate)))
        now.noisy_apical = list(map(torch.add, now.apical, before.noise[:-1]))

    def _next_noise(self, before: PalState, white: Layers | None) -> Layers:
        """Item 5: xi += (-dt xi + sqrt(dt tau_xi) sigma z) / tau_xi in the hidden layers."""
        if white is None:
            raise ValueError("PAL needs `white`, one normal draw per hidden layer, while the feedback learns")
        p = self.parameters
        root, hidden = math.sqrt(p.dt * p.tau_xi), zip(before.noise[:-1], p.sigma, white, strict=True)
        moved = [xi + (-p.dt * xi + root * sigma * z) / p.tau_xi for xi, sigma, z in hidden]
        return moved + before.noise[-1:]

    def _soma_changes(
        self, now: PalState, before: PalState, u_target: Tensor | None, apical: Layers
    ) -> tuple[Layers, Layers]:
        """Item 6: du = dt (u_eff - u)/tau of pyramidal cells and interneurons, u_eff from section 2."""
        p, tau = self.parameters, self.parameters.pyramidal_tau
        hidden = zip(tau[:-1], now.basal[:-1], apical, strict=True)
        steady = [tau_P * (p.gbas * basal + p.gapi * top) for tau_P, basal, top in hidden]
        if u_target is None:
            steady.append(p.gbas * now.basal[-1] / (p.gl + p.gbas))
        else:
            steady.append(tau[-1] * (p.gbas * now.basal[-1] + p.gntgt * u_target))
        twins = zip(now.dendritic, now.pyramidal_prospective[1:], strict=True)
        steady_twins = [p.interneuron_tau * (p.gden * dendritic + p.gnI * twin) for dendritic, twin in twins]
        pyramidal = zip(tau, steady, before.pyramidal_potential, strict=True)
        interneuron = zip(steady_twins, before.interneuron_potential, strict=True)
        inter_change = [p.dt * (effective - u) / p.interneuron_tau for effective, u in interneuron]
        return [p.dt * (effective - u) / own for own, effective, u in pyramidal], inter_change

    def _plan_changes(self, now: PalState, before: PalState) -> None:
        """Item 7: raw increments, times dt eta, of this step's rates and the last step's compartments."""
        p = self.parameters
        post, expected = now.pyramidal_prospective, list(map(mul, p.basal_attenuation, before.basal))
        if p.dWPP_use_activation:
            post, expected = now.pyramidal_rate, activate(p, expected)
        twin = activate(p, [p.dendritic_attenuation * dendritic for dendritic in before.dendritic], 1)
        error = list(map(torch.sub, post, expected))
        twin_error = list(map(torch.sub, now.interneuron_rate, twin))
        now.forward_change = hebbian(p.dt, p.eta_fw, error, before.input_rate + before.pyramidal_rate[:-1])
        now.lateral_change = hebbian(p.dt, p.eta_IP, twin_error, before.pyramidal_rate[:-1])
        now.cancelling_change = hebbian(-p.dt, p.eta_PI, before.apical, before.interneuron_rate)
        if p.variant == "BP":
            now.feedback, now.cancelling = transposed_feedback(now.forward)
        if p.variant == "PAL":
            pre = before.high_pass_rate if p.pyr_hi_pass else now.pyramidal_rate
            decay = (p.dt * alpha * eta for alpha, eta in zip(p.alpha, p.eta_bw, strict=True))
            grown = hebbian(p.dt, p.eta_bw, now.noise[:-1], pre[1:])
            now.feedback_change = list(map(torch.sub, grown, map(mul, decay, before.feedback)))

    def _learn(self, now: PalState, learn_weights: bool, learn_lateral: bool, learn_feedback: bool) -> None:
        """Items 9 to 11: apply the increments; WPP through DW += dt/tau_LO (dWPP - DW) where low-passed."""
        p = self.parameters
        if learn_weights and p.low_pass:
            pairs = zip(now.forward_low_pass, now.forward_change, strict=True)
            now.forward_low_pass = [low + p.dt / p.tau_LO * (raw - low) for low, raw in pairs]
        if learn_weights:
            applied = now.forward_low_pass if p.low_pass else now.forward_change
            now.forward = list(map(torch.add, now.forward, applied))
        if learn_lateral:
            now.lateral = list(map(torch.add, now.lateral, now.lateral_change))
            now.cancelling = list(map(torch.add, now.cancelling, now.cancelling_change))
        if learn_feedback:
            now.feedback = list(map(torch.add, now.feedback, now.feedback_change))

    def _filter_rates(self, now: PalState, before: PalState) -> None:
        """Item 12, PAL only: rHP += (r - r_old) - dt/tau_HP rHP."""
        p = self.parameters
        if p.variant == "PAL":
            layers = zip(before.high_pass_rate, now.pyramidal_rate, before.pyramidal_rate, strict=True)
            now.high_pass_rate = [high + ((r - old) - p.dt / p.tau_HP * high) for high, r, old in layers]

    def snapshot(self) -> dict[str, Tensor]:
        """Every variable after the last call under its golden name, `uP_0` and so on, each (S, ...)."""
        lists = ((name, getattr(self.state, field)) for name, field in GOLDEN_NAMES.items())
        return {f"{name}_{index}": tensor for name, tensors in lists for index, tensor in enumerate(tensors)}

    def output_voltage(self) -> Tensor:
        """Prospective voltage ubreve of the output population. (S, n_N)"""
        return self.state.pyramidal_prospective[-1]
