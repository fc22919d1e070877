"""The sign-concordant cortical microcircuit in float64 torch, level 1: the circuit of three cell types.

Wiring and equations are a reconstruction ("SC-3") from the abstract of Yang & Li 2022 (arXiv 2205.07292), not a
transcription: results are not the paper's. "Section" refers to the specification of that reconstruction. Nothing
here calls level 0 (`sign_concordant`); the two share parameters, geometry, g(u) and the step rule.

Unit i of layer l is one pyramidal cell (PC), one parvalbumin basket cell (PV) and one somatostatin Martinotti cell
(SST), relays of gain 1. A pair (j below, i) is of E-type, PC_j -> PC_i, or of I-type, PC_j -> PV_i -> PC_i; its
fixed feedback leg has the same type, PC_i -> PC_j apical or PC_i -> SST_j -> PC_j apical (section 1.1).
States are (N, n), efficacies of `Projection.weight_shape` and >= 0.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from cortexc.reference.sign_concordant_geometry import Projection
from cortexc.reference.sign_concordant_parameters import (
    Moments,
    SignConcordantParameters,
    Snapshot,
    optimise,
    surrogate,
)


class Synapses(NamedTuple):
    """The stored efficacies of one projection, each of `Projection.weight_shape`, float64 (section 1.1).

    excitatory wE >= 0 onto PC basal; inhibitory wI >= 0 onto PV; feedback_excitatory cE >= 0 and
    feedback_inhibitory cI >= 0 of the same pairs, not read in layer 1; excitatory_mask E and inhibitory_mask I:
    0 or 1, complementary where there is a synapse, both 0 where there is none.
    """

    excitatory: Tensor
    inhibitory: Tensor
    feedback_excitatory: Tensor
    feedback_inhibitory: Tensor
    excitatory_mask: Tensor
    inhibitory_mask: Tensor


def check_synapses(layer: int, synapses: Synapses, shape: tuple[int, ...]) -> None:
    """ValueError unless all have that shape, the masks exclude each other, and efficacies are >= 0 and masked."""
    if any(tuple(part.shape) != shape for part in synapses):
        raise ValueError(f"synapses of layer {layer}: expected shape {shape}")
    masks = synapses.excitatory_mask, synapses.inhibitory_mask
    if any(bool((mask * (1 - mask) != 0).any()) for mask in masks) or bool((masks[0] * masks[1]).any()):
        raise ValueError(f"masks of layer {layer}: expected 0 or 1, and one connectivity type per pair")
    for efficacy, mask in zip(synapses[:4], masks * 2, strict=True):
        if bool((efficacy < 0).any()) or bool((efficacy * (1 - mask)).any()):
            raise ValueError(f"efficacies of layer {layer}: expected at least 0, and 0 outside the mask")


class CellLayer:
    """Layer l: its PC, PV and SST cells, and the synapses onto them from the layer below."""

    def __init__(self, parameters: SignConcordantParameters, layer: int, synapses: Synapses) -> None:
        self.parameters, self.synapses = parameters, synapses
        self.projection: Projection = parameters.projections[layer - 1]
        check_synapses(layer, synapses, self.projection.weight_shape)
        self.excitatory_sum, self.inhibitory_sum = (torch.zeros_like(synapses.excitatory) for _ in range(2))
        self.excitatory_moments = Moments(self.excitatory_sum, self.excitatory_sum)
        self.inhibitory_moments = Moments(self.inhibitory_sum, self.inhibitory_sum)
        self.delay = parameters.delays[layer - 1]

    def rest(self, samples: int) -> None:
        """All cells at 0 for N samples."""
        zero = torch.zeros(samples, math.prod(self.projection.target), dtype=torch.float64)
        below = torch.zeros(samples, math.prod(self.projection.source), dtype=torch.float64)
        self.basal = self.parvalbumin = self.somatostatin = self.current = zero
        self.potential = self.spike = self.psc = self.gate = zero
        self.excitation = self.apical = self.error = zero
        self.basal_trace = self.trace = below
        self.past_gates, self.past_traces = [zero] * self.delay, [below] * self.delay

    def integrate(self, below: Tensor) -> None:
        """PSCs (N, n_{l-1}) of the PCs below: onto the basal dendrite, and onto PV for the soma (section 2)."""
        p = self.parameters
        self.basal = self.projection.drive(self.synapses.excitatory, below)
        self.parvalbumin = self.projection.drive(self.synapses.inhibitory, below)
        self.current = self.basal - self.parvalbumin
        self.potential = (1 - 1 / p.tau_m) * self.potential * (1 - self.spike) + self.current
        self.spike = (self.potential > p.threshold).double()
        self.psc = (1 - 1 / p.tau_s) * self.psc + self.spike / p.tau_s
        self._remember(below)

    def _remember(self, below: Tensor) -> None:
        """Basal trace and g(u), kept for the error that comes 2 (L - l) steps later if pipelined (section 6.3)."""
        p = self.parameters
        kept = 1 - 1 / p.tau_m if p.trace == "membrane" else 0
        self.basal_trace = kept * self.basal_trace + below
        self.trace, *self.past_traces = [*self.past_traces, self.basal_trace]
        self.gate, *self.past_gates = [*self.past_gates, surrogate(p, self.potential)]

    def compare(self, teacher: Tensor) -> None:
        """Top layer: d (N, n_L) excites the apical dendrite, SST copies the own PSC and inhibits it (3.2)."""
        self._receive(teacher, self.psc)

    def listen(self, above: "CellLayer", message: Tensor) -> None:
        """The signed apical message q (N, n_{l+1}) of the PCs above, onto the apical dendrite and SST (3.3)."""
        send, synapses = above.projection.send_back, above.synapses
        self._receive(send(synapses.feedback_excitatory, message), send(synapses.feedback_inhibitory, message))

    def listen_to_lines(self, above: "CellLayer", message: Tensor) -> None:
        """The same as two lines, q+ and q- >= 0, that each feed the dendrite and SST, swapped for q- (3.3)."""
        send, synapses = above.projection.send_back, above.synapses
        positive, negative = message.clamp(min=0), (-message).clamp(min=0)
        dendrite = send(synapses.feedback_excitatory, positive) + send(synapses.feedback_inhibitory, negative)
        martinotti = send(synapses.feedback_inhibitory, positive) + send(synapses.feedback_excitatory, negative)
        self._receive(dendrite, martinotti)

    def _receive(self, excitation: Tensor, somatostatin: Tensor) -> None:
        """vA and q = g(u) . vA."""
        self.excitation, self.somatostatin = excitation, somatostatin
        self.apical = excitation - somatostatin
        self.error = self.gate * self.apical

    def accumulate(self) -> None:
        """Hebbian at PC_j -> PC_i, anti-Hebbian at PC_j -> PV_i, which q_i reaches from its own PC (4.1)."""
        product = self.parameters.learning_rate * self.projection.correlate(self.error, self.trace)
        self.excitatory_sum = self.excitatory_sum + self.synapses.excitatory_mask * product
        self.inhibitory_sum = self.inhibitory_sum - self.synapses.inhibitory_mask * product

    def update(self, count: int) -> None:
        """Apply both sums to the stored efficacies, within [0, limit]; then sums of 0 (4.1)."""
        p, old = self.parameters, self.synapses
        up, self.excitatory_moments = optimise(p, self.excitatory_sum, self.excitatory_moments, count)
        down, self.inhibitory_moments = optimise(p, self.inhibitory_sum, self.inhibitory_moments, count)
        excitatory, inhibitory = (old.excitatory + up).clamp(0, p.limit), (old.inhibitory + down).clamp(0, p.limit)
        self.synapses = old._replace(excitatory=excitatory, inhibitory=inhibitory)
        self.excitatory_sum, self.inhibitory_sum = torch.zeros_like(up), torch.zeros_like(down)

    def quantities(self) -> Snapshot:
        """All by name, without the layer; see `ThreeCellNetwork.snapshot`."""
        state = {"basal": self.basal, "parvalbumin": self.parvalbumin, "current": self.current, "u": self.potential}
        state |= {"spike": self.spike, "psc": self.psc, "gate": self.gate, "trace": self.trace}
        state |= {"apical_excitation": self.excitation, "somatostatin": self.somatostatin, "apical": self.apical}
        state |= {"error": self.error}
        state |= {"error_positive": self.error.clamp(min=0), "error_negative": (-self.error).clamp(min=0)}
        sums = {"dwE": self.excitatory_sum, "dwI": self.inhibitory_sum, "dW": self.excitatory_sum - self.inhibitory_sum}
        return state | sums | self._efficacies() | self._adam()

    def _efficacies(self) -> Snapshot:
        synapses = self.synapses
        stored = {"wE": synapses.excitatory, "wI": synapses.inhibitory, "E": synapses.excitatory_mask}
        stored |= {"I": synapses.inhibitory_mask, "W": synapses.excitatory - synapses.inhibitory}
        stored |= {"cE": synapses.feedback_excitatory, "cI": synapses.feedback_inhibitory}
        return stored | {"B": synapses.feedback_excitatory - synapses.feedback_inhibitory}

    def _adam(self) -> Snapshot:
        kinds = {"wE": self.excitatory_moments, "wI": self.inhibitory_moments}
        first = {f"first_moment_{name}": moments.first for name, moments in kinds.items()}
        return first | {f"second_moment_{name}": moments.second for name, moments in kinds.items()}


class ThreeCellNetwork:
    """Level 1, of the policy `locked`: types and feedback fixed, efficacies >= 0.

    synapses: of the projections 1..L. dale_strict: the apical message as two non-negative lines (section 3.3).
    Raises ValueError for another policy, and for numbers or shapes that do not fit.
    """

    def __init__(
        self, parameters: SignConcordantParameters, synapses: Sequence[Synapses], dale_strict: bool = False
    ) -> None:
        count = len(parameters.projections)
        if parameters.policy != "locked" or len(synapses) != count:
            raise ValueError(f"policy {parameters.policy!r} (only 'locked'), {len(synapses)} of {count} projections")
        self.parameters, self.dale_strict, self.update_count = parameters, dale_strict, 0
        self.layers = [CellLayer(parameters, layer, given) for layer, given in enumerate(synapses, 1)]
        self.input: Tensor | None = None

    def reset(self, samples: int) -> None:
        """All states 0 for N samples; efficacies, sums and moments stay."""
        for layer in self.layers:
            layer.rest(samples)
        self.kernel = torch.zeros((), dtype=torch.float64)
        self.teacher, self.input = torch.zeros_like(self.layers[-1].psc), torch.zeros_like(self.layers[0].trace)

    @torch.no_grad()
    def step(self, first: bool, x: Tensor, target_spikes: Tensor, learn: bool | Sequence[bool], apply: bool) -> None:
        """One time step of N samples.

        first: states 0 before the step. x (N, n_0): constant input. target_spikes (N, n_L): 0 or 1. learn:
        accumulate this step's increments, or so per layer. apply: the optimiser at the end of the step, the
        sums then 0. Raises ValueError before the first reset, and for shapes that do not fit.
        """
        if first:
            self.reset(len(x))
        self._drive_ends(x, target_spikes)
        self._upward()
        self._downward()
        for index, layer in enumerate(self.layers):
            if learn if isinstance(learn, bool) else learn[index]:
                layer.accumulate()
        self.update_count += apply
        for layer in self.layers if apply else []:
            layer.update(self.update_count)

    def _drive_ends(self, x: Tensor, target_spikes: Tensor) -> None:
        """Input and teacher through the PSC kernel of the cells (sections 2, 3.1)."""
        if self.input is None or x.shape != self.input.shape or target_spikes.shape != self.teacher.shape:
            found = f"x {tuple(x.shape)}, target spikes {tuple(target_spikes.shape)}"
            raise ValueError(f"{found}: not the shapes of the states, or no step with `first` before")
        tau = self.parameters.tau_s
        self.kernel = (1 - 1 / tau) * self.kernel + 1 / tau
        self.teacher = (1 - 1 / tau) * self.teacher + target_spikes.double() / tau
        self.input = x.double() * self.kernel

    def _upward(self) -> None:
        """Layers 1..L of this step; pipelined, from the last one down: each hears the step before (6.3)."""
        order = list(range(len(self.layers)))
        for index in reversed(order) if self.parameters.pipelined else order:
            below = self.layers[index - 1].psc if index else self.input
            assert below is not None
            self.layers[index].integrate(below)

    def _downward(self) -> None:
        """Apical messages of layers L..1 (3.2, 3.3); pipelined, those of the step before (6.3)."""
        before = [layer.error for layer in self.layers]
        self.layers[-1].compare(self.teacher)
        for index in reversed(range(len(self.layers) - 1)):
            above = self.layers[index + 1]
            message = before[index + 1] if self.parameters.pipelined else above.error
            hear = self.layers[index].listen_to_lines if self.dale_strict else self.layers[index].listen
            hear(above, message)

    def output(self) -> Tensor:
        """a_L, (N, n_L)."""
        return self.layers[-1].psc

    def snapshot(self) -> Snapshot:
        """Every quantity after the last step, its layer l = 1..L as suffix, (N, n_l) where not said.

        kernel (), psc_0, teacher: d. basal: wE a; parvalbumin: pv; current: I; u, spike, psc: a; gate: g(u);
        trace (N, n_{l-1}), before pooling; apical_excitation; somatostatin: sst; apical: vA; error: q, its
        parts error_positive, error_negative. Of `weight_shape`: wE, wI, masks E, I, effective W; sums dwE, dwI,
        dW = dwE - dwI; first_moment_wE, second_moment_wE and of wI: Adam's; from layer 2 on cE, cI, B.
        gate and trace are those that meet the error of this step, delayed if pipelined.
        """
        assert self.input is not None
        taken = {"kernel": self.kernel, "psc_0": self.input, "teacher": self.teacher}
        for number, layer in enumerate(self.layers, 1):
            unread = () if number > 1 else ("cE", "cI", "B")
            taken |= {f"{name}_{number}": value for name, value in layer.quantities().items() if name not in unread}
        return taken
