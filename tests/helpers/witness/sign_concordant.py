"""The quantised sign-concordant circuit in torch int64: the equations of `sign_concordant_cells` (policy `locked`) and
of `sign_concordant` (feedback by signed weights) in fixed point.

Messages graded, phase-locked, optimiser `none`. Numbers are those of docs/fixed_point.md; "section" refers to the
circuit's specification, "item" to that document. Symbols: layer l has u_l, spike_l, psc_l (a), basal_trace_l (e, of
the trace `membrane`), sensitivity_l (g(u)), apical_l (vA), error_l (q) of its PCs; kernel, value_0 (x), psc_0 and
basal_trace_0 of the input; label, teacher_spike and teacher (d). `locked` adds pv_l and modulation_l (the q that
reaches it) of the PVs, sst_l of the SSTs, and has synapses wE_l, wI_l, and from layer 2 on cE_l, cI_l; the other
policies have W_l, from layer 2 on B_l, and sst_L. Weights are stored (post, pre).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from witness.circuit import IntegerCircuit

from cortexc.reference.integers import NOTHING, ONE, Exact, choose, dyadic
from cortexc.reference.sign_concordant_parameters import SignConcordantParameters, surrogate

ENDS = ("value_0", "kernel", "psc_0", "basal_trace_0", "label", "teacher_spike", "teacher")


class IntegerSpikingNetwork(IntegerCircuit):
    """What all policies have in common. registers: see `IntegerCircuit`, and `sizes` of the layers. seeds: of the
    random numbers, one per network. Raises ValueError for options beyond those above, DishonestRegister for registers
    of other equations."""

    forward: Mapping[str, int]
    """Names of a layer's plastic synapses, with the sign of their effect."""

    def __init__(
        self, parameters: SignConcordantParameters, registers: Mapping[str, Any], seeds: Sequence[int]
    ) -> None:
        p = parameters
        if (p.optimiser, p.timing) != ("none", "phase_locked"):
            raise ValueError("only optimiser none and timing phase_locked")
        super().__init__(registers, seeds)
        self.parameters, self.top, self.membrane = p, len(p.projections), p.trace == "membrane"
        self.credited = [name for name, synapses in self.synapses.items() if synapses.kind == "credited"]
        self.check(self._constants(), self._functions())
        self.begin(self._sizes(registers["sizes"]))

    # ---- what the registers must be

    def _constants(self) -> dict[str, list[float]]:
        """The real coefficients of every equation, from the parameters of section 2."""
        p = self.parameters
        trace = [p.psc_decay, 1 / p.tau_s]
        found: dict[str, list[float]] = {"kernel": trace, "psc_0": [1], "teacher_spike": [1], "teacher": trace}
        for layer in range(1, self.top + 1):
            cell: dict[str, list[float]] = {"spike": [1, p.threshold], "psc": trace, "error": [1]}
            cell |= self.cell_constants(layer)
            found |= {f"{name}_{layer}": values for name, values in cell.items()}
            if p.surrogate == "boxcar":
                found[f"sensitivity_{layer}"] = [1, p.threshold, p.boxcar_half_width]
            for kind, sign in self.forward.items():
                found |= self.rule_constants(f"{kind}_{layer}", [sign * p.learning_rate])
        traces = {f"basal_trace_{layer}": [p.potential_decay, 1] for layer in self._traced()}
        return found | traces | self._kernels()

    @abstractmethod
    def cell_constants(self, layer: int) -> dict[str, list[float]]:
        """Of the equations that the policies do not share."""

    def _traced(self) -> list[int]:
        """Layers with a trace `membrane`: all that send, and the top where its cells are of their kind."""
        found = range(self.top + (f"basal_trace_{self.top}" in self.coefficients))
        return list(found) if self.membrane else []

    def _kernels(self) -> dict[str, list[float]]:
        """The input's kernel, which a cell that sums credit keeps too."""
        p = self.parameters
        kernels = {f"kernel_{name}": [p.psc_decay, 1 / p.tau_s] for name in self.credited}
        return kernels | {f"credit_{name}_1": [1.0] for name in self.credited}

    def _functions(self) -> dict[str, Callable[[Tensor], Tensor]]:
        if self.parameters.surrogate == "boxcar":
            return {}
        return {f"sensitivity_{layer}": lambda u: surrogate(self.parameters, u) for layer in range(1, self.top + 1)}

    def _sizes(self, sizes: Sequence[int]) -> dict[str, int]:
        """Names of all states, with the number of their cells."""
        found = {"kernel": sizes[0], "teacher": sizes[-1]}
        for layer in range(1, self.top + 1):
            found |= {f"{name}_{layer}": sizes[layer] for name in ("u", "spike", "psc")}
        found |= {f"basal_trace_{layer}": sizes[layer] for layer in self._traced()}
        found |= {f"kernel_{name}": sizes[_layer_of(name)] for name in self.credited}
        return found | self.credit_sizes()

    # ---- a step

    @torch.no_grad()
    def step(
        self, first: bool, x: Tensor, labels: Tensor, teach: bool, learn: bool, apply: bool, rate: float = 1.0
    ) -> None:
        """One time step, S networks. first: states 0 before the step. x (S, n_0): constant input. labels (S, n_L) of
        which the teacher spikes where `teach`. learn: this step's increments count. apply: their sum moves the weights.
        rate: what all increments are multiplied with, a power of two.
        """
        self.next_step()
        self.rate = dyadic(rate)
        self._drive_ends(first, x, labels, teach)
        for layer in range(1, self.top + 1):
            self._integrate(first, layer)
        for layer in range(self.top, 0, -1):
            self.descend(layer)
        for layer in range(1, self.top + 1):
            for kind in self.forward:
                self._learn(first, kind, layer, learn, apply)
        self.end_step()

    def _leaky(self, name: str, first: bool, drive: Exact | None) -> Exact:
        """(1 - 1/tau_s) a + drive / tau_s; drive none: 1 (sections 2, 3.1)."""
        kept = choose(first, NOTHING, self.factor_of(name, 0) * self.before[name])
        gain = self.factor_of(name, 1)
        return self.keep(name, kept + (gain if drive is None else gain * drive))

    def _basal_trace(self, first: bool, layer: int) -> None:
        """e = (1 - 1/tau_m) e + a, the trace `membrane` (section 4.1)."""
        name = f"basal_trace_{layer}"
        if layer in self._traced():
            kept = choose(first, NOTHING, self.factor_of(name, 0) * self.before[name])
            self.keep(name, kept + self.now[f"psc_{layer}"])

    def _drive_ends(self, first: bool, x: Tensor, labels: Tensor, teach: bool) -> None:
        """Input and teacher through the kernel of the synapses."""
        value = self.enter("value_0", x)
        self.keep("psc_0", value * self._leaky("kernel", first, None))
        self._basal_trace(first, 0)
        label = self.enter("label", labels)
        spike = self.keep("teacher_spike", label * (ONE if teach else NOTHING))
        self._leaky("teacher", first, spike)

    def _integrate(self, first: bool, layer: int) -> None:
        """The potential of section 2, its spike and trace."""
        drive = self.current(layer, self.sent(f"psc_{layer - 1}"))
        silent = self.before[f"u_{layer}"] * (ONE - self.before[f"spike_{layer}"])
        u = self.keep(f"u_{layer}", choose(first, NOTHING, self.factor_of(f"u_{layer}", 0) * silent) + drive)
        fired = u.above(self.factor_of(f"spike_{layer}", 1))
        spike = self.keep(f"spike_{layer}", Exact(fired.to(torch.int64)))
        self._leaky(f"psc_{layer}", first, spike)
        self._basal_trace(first, layer)
        self._closeness(layer, u)

    @abstractmethod
    def current(self, layer: int, below: Exact) -> Exact:
        """What the potential gains from the message of the layer below."""

    def _closeness(self, layer: int, u: Exact) -> None:
        """g(u) of section 3.4."""
        name = f"sensitivity_{layer}"
        if self.parameters.surrogate == "logistic":
            self.function(name, u)
            return
        threshold, half_width = self.factor_of(name, 1), self.factor_of(name, 2)
        distance = u - threshold
        near = Exact(distance.units.abs(), distance.fraction)
        self.keep(name, Exact(half_width.above(near).to(torch.int64)))

    @abstractmethod
    def descend(self, layer: int) -> None:
        """vA and q of a layer (sections 3.2, 3.3)."""

    def set_error(self, layer: int, apical: Exact) -> None:
        """q = g(u) vA (section 3.2)."""
        kept = self.keep(f"apical_{layer}", apical)
        self.keep(f"error_{layer}", self.now[f"sensitivity_{layer}"] * kept)

    def _learn(self, first: bool, kind: str, layer: int, learn: bool, apply: bool) -> None:
        """Hebbian; anti-Hebbian onto PV (section 4.1)."""
        name, post = f"{kind}_{layer}", ("modulation_" if kind == "wI" else "error_") + str(layer)
        below = layer - 1
        pre = self.read(f"basal_trace_{below}") if self.membrane else self.message_read(f"psc_{below}")
        if name in self.credited:
            kernel = self._leaky(f"kernel_{name}", first, None)
            gained = self.keep(f"credit_{name}_1", self.now[post] * kernel)
            factor = self.collect_credit(name, gained, learn, apply)
        else:
            factor = self.formed(name, self.now[post], self.read(post))
        self.learn(name, [self.outer(factor, pre)], learn, apply)


def _layer_of(name: str) -> int:
    return int(name.rpartition("_")[2])


class IntegerThreeCellNetwork(IntegerSpikingNetwork):
    """Policy `locked`: pyramidal, parvalbumin and somatostatin cells (section 1.1). dale_strict: errors are sent as two
    lines that are not negative, error_positive_l and error_negative_l (section 3.3); the second has the synapses
    cE_negative_l and cI_negative_l."""

    forward = {"wE": 1, "wI": -1}

    def __init__(
        self, parameters: SignConcordantParameters, registers: Mapping[str, Any], seeds: Sequence[int],
        dale_strict: bool = False,
    ) -> None:
        if parameters.policy != "locked":
            raise ValueError(f"policy {parameters.policy}")
        self.dale_strict = dale_strict
        super().__init__(parameters, registers, seeds)

    def cell_constants(self, layer: int) -> dict[str, list[float]]:
        found: dict[str, list[float]] = {"u": [self.parameters.potential_decay, 1, -1], "apical": [1, -1], "pv": [1],
                                         "sst": [1], "modulation": [1]}
        lines = {"error_positive": [1.0], "error_negative": [1.0], "modulation": [1.0, -1.0]}
        return found | (lines if self.dale_strict else {})

    def current(self, layer: int, below: Exact) -> Exact:
        """Excitation of the basal dendrite, less the inhibition by PV."""
        self.keep(f"pv_{layer}", self.deliver(f"wI_{layer}", below))
        return self.deliver(f"wE_{layer}", below) - self.now[f"pv_{layer}"]

    def descend(self, layer: int) -> None:
        """vA = excitation - SST; q reaches the PV of its column (1.1)."""
        if layer == self.top:
            excitation, inhibition = self.now["teacher"], self.now[f"psc_{layer}"]
        else:
            excitation, inhibition = self._errors_of(layer + 1)
        self.keep(f"sst_{layer}", inhibition)
        self.set_error(layer, excitation - self.now[f"sst_{layer}"])
        error = self.now[f"error_{layer}"]
        if self.dale_strict:
            for line, sign in (("positive", 1), ("negative", -1)):
                self.keep(f"error_{line}_{layer}", Exact((sign * error.units).clamp(min=0), error.fraction))
            error = self.now[f"error_positive_{layer}"] - self.now[f"error_negative_{layer}"]
        self.keep(f"modulation_{layer}", error)

    def _errors_of(self, layer: int) -> tuple[Exact, Exact]:
        """Excitation of the apical dendrites below a layer, and of their SSTs; negative errors the other way round."""
        if not self.dale_strict:
            message = self.sent(f"error_{layer}")
            return self.deliver(f"cE_{layer}", message), self.deliver(f"cI_{layer}", message)
        more, less = self.sent(f"error_positive_{layer}"), self.sent(f"error_negative_{layer}")
        return (self.deliver(f"cE_{layer}", more) + self.deliver(f"cI_negative_{layer}", less),
                self.deliver(f"cI_{layer}", more) + self.deliver(f"cE_negative_{layer}", less))


class IntegerSignedNetwork(IntegerSpikingNetwork):
    """Policies FA, DFA, frSF, uSF and BP (section 1.4): signed W_l and B_l. registers: and `magnitudes`, layer l ->
    Bmag as {units, fraction} (S, n_(l-1), n_l) of frSF and uSF."""

    forward = {"W": 1}

    def __init__(
        self, parameters: SignConcordantParameters, registers: Mapping[str, Any], seeds: Sequence[int]
    ) -> None:
        if parameters.policy in ("locked", "brSF"):
            raise ValueError(f"policy {parameters.policy}")
        super().__init__(parameters, registers, seeds)
        self.magnitudes = {layer: Exact(**data) for layer, data in registers["magnitudes"].items()}

    def cell_constants(self, layer: int) -> dict[str, list[float]]:
        found: dict[str, list[float]] = {"u": [self.parameters.potential_decay, 1], "apical": [1]}
        return found | ({"apical": [1, -1], "sst": [1]} if layer == self.top else {})

    def current(self, layer: int, below: Exact) -> Exact:
        return self.deliver(f"W_{layer}", below)

    def descend(self, layer: int) -> None:
        """vA_L = d - a_L, vA_l = B q of the layer above, or of the top (DFA)."""
        if layer == self.top:
            self.keep(f"sst_{layer}", self.now[f"psc_{layer}"])
            self.set_error(layer, self.now["teacher"] - self.now[f"sst_{layer}"])
            return
        source = self.top if self.parameters.policy == "DFA" else layer + 1
        self.set_error(layer, self.deliver(f"B_{layer + 1}", self.sent(f"error_{source}")))

    def end_step(self) -> None:
        """B follows W (section 1.4): W itself, or its sign times Bmag; sign(0) = 0."""
        super().end_step()
        for layer in range(2, self.top + 1):
            turned = self.synapses[f"W_{layer}"].weights.turned
            if self.parameters.policy == "BP":
                self.synapses[f"B_{layer}"].copy(turned)
            elif layer in self.magnitudes:
                self.synapses[f"B_{layer}"].copy(Exact(turned.units.sign()) * self.magnitudes[layer])
