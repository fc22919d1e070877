"""The quantised sign-concordant circuit in torch int64: the equations of `sign_concordant_cells` in fixed point.

Policy `locked`, messages graded, presynaptic trace `psc`, phase-locked, optimiser `none`. Numbers are those of
docs/fixed_point.md; "section" refers to the circuit's specification, "item" to that document. Symbols: layer l has u_l,
spike_l, psc_l (a), sensitivity_l (g(u)), apical_l (vA), error_l (q) of its PCs, pv_l and modulation_l (the q that
reaches it) of its PVs, sst_l of its SSTs; kernel, value_0 (x) and psc_0 of the input; label, teacher_spike and
teacher (d). Synapses wE_l, wI_l, and from layer 2 on cE_l, cI_l, stored (post, pre).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from reference.integers import NOTHING, ONE, Exact, IntegerCircuit, choose, dyadic
from reference.sign_concordant_parameters import SignConcordantParameters, surrogate

ENDS = ("value_0", "kernel", "psc_0", "label", "teacher_spike", "teacher")


class IntegerThreeCellNetwork(IntegerCircuit):
    """registers: see `IntegerCircuit`, and `sizes` of the layers. seeds: of the random numbers, one per network. Raises
    ValueError for options beyond those above, DishonestRegister for registers of other equations."""

    def __init__(
        self, parameters: SignConcordantParameters, registers: Mapping[str, Any], seeds: Sequence[int]
    ) -> None:
        p = parameters
        if (p.policy, p.trace, p.optimiser, p.timing) != ("locked", "psc", "none", "phase_locked"):
            raise ValueError("only policy locked, trace psc, optimiser none, timing phase_locked")
        super().__init__(registers, seeds)
        self.parameters, self.top = p, len(p.projections)
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
            cell: dict[str, list[float]] = {
                "u": [p.potential_decay, 1, -1], "spike": [1, p.threshold], "psc": trace, "apical": [1, -1],
                "error": [1], "pv": [1], "sst": [1], "modulation": [1]}
            found |= {f"{name}_{layer}": values for name, values in cell.items()}
            if p.surrogate == "boxcar":
                found[f"sensitivity_{layer}"] = [1, p.threshold, p.boxcar_half_width]
            for kind, sign in (("wE", 1), ("wI", -1)):
                found |= self.rule_constants(f"{kind}_{layer}", [sign * p.learning_rate])
        return found | self._kernels()

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
        found |= {f"kernel_{name}": sizes[int(name[3:])] for name in self.credited}
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
            self._descend(layer)
        for layer in range(1, self.top + 1):
            for kind in ("wE", "wI"):
                self._learn(first, f"{kind}_{layer}", layer, learn, apply)
        self.end_step()

    def _leaky(self, name: str, first: bool, drive: Exact | None) -> Exact:
        """(1 - 1/tau_s) a + drive / tau_s; drive none: 1 (sections 2, 3.1)."""
        kept = choose(first, NOTHING, self.factor_of(name, 0) * self.before[name])
        gain = self.factor_of(name, 1)
        return self.keep(name, kept + (gain if drive is None else gain * drive))

    def _drive_ends(self, first: bool, x: Tensor, labels: Tensor, teach: bool) -> None:
        """Input and teacher through the kernel of the synapses."""
        value = self.enter("value_0", x)
        self.keep("psc_0", value * self._leaky("kernel", first, None))
        label = self.enter("label", labels)
        spike = self.keep("teacher_spike", label * (ONE if teach else NOTHING))
        self._leaky("teacher", first, spike)

    def _integrate(self, first: bool, layer: int) -> None:
        """The potential of section 2, from the excitation of the basal dendrite and the inhibition by PV."""
        below = self.sent(f"psc_{layer - 1}")
        self.keep(f"pv_{layer}", self.deliver(f"wI_{layer}", below))
        drive = self.deliver(f"wE_{layer}", below) - self.now[f"pv_{layer}"]
        silent = self.before[f"u_{layer}"] * (ONE - self.before[f"spike_{layer}"])
        u = self.keep(f"u_{layer}", choose(first, NOTHING, self.factor_of(f"u_{layer}", 0) * silent) + drive)
        fired = u.above(self.factor_of(f"spike_{layer}", 1))
        spike = self.keep(f"spike_{layer}", Exact(fired.to(torch.int64)))
        self._leaky(f"psc_{layer}", first, spike)
        self._closeness(layer, u)

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

    def _descend(self, layer: int) -> None:
        """vA = excitation - SST, q = g(u) vA (sections 3.2, 3.3); q reaches the PV of its column (1.1)."""
        if layer == self.top:
            excitation, inhibition = self.now["teacher"], self.now[f"psc_{layer}"]
        else:
            message = self.sent(f"error_{layer + 1}")
            excitation, inhibition = (self.deliver(f"c{kind}_{layer + 1}", message) for kind in "EI")
        self.keep(f"sst_{layer}", inhibition)
        apical = self.keep(f"apical_{layer}", excitation - self.now[f"sst_{layer}"])
        self.keep(f"error_{layer}", self.now[f"sensitivity_{layer}"] * apical)
        self.keep(f"modulation_{layer}", self.now[f"error_{layer}"])

    def _learn(self, first: bool, name: str, layer: int, learn: bool, apply: bool) -> None:
        """Hebbian onto PC, anti-Hebbian onto PV (section 4.1)."""
        post, pre = ("error_" if name[1] == "E" else "modulation_") + str(layer), self.message_read(f"psc_{layer - 1}")
        if name in self.credited:
            kernel = self._leaky(f"kernel_{name}", first, None)
            gained = self.keep(f"credit_{name}_1", self.now[post] * kernel)
            factor = self.collect_credit(name, gained, learn, apply)
        else:
            factor = self.formed(name, self.now[post], self.read(post))
        self.learn(name, [self.outer(factor, pre)], learn, apply)
