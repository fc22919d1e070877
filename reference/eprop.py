"""E-prop in a recurrent network of spiking cells (Bellec et al. 2020, Nat Commun 11:3625), in torch, float64.

Written from the paper's equations (Methods: "Network models", "Eligibility traces", "Synaptic plasticity rules"), in
steps of dt = 1 ms unless said otherwise; batches of seeds along the first axis. `bptt_gradient` differentiates the same
network through time, with the pseudo-derivative in the place of the step's: without recurrent weights, that is what
e-prop computes.

What the paper leaves open and this circuit chooses: a spike of t - 1 acts on the readout at t, as it does on the cells;
eligibility is paired with the learning signal of the next step for that reason; the rate of the regularisation is a
running mean over `tau_rate`, and its term goes with the unfiltered eligibility trace.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

PLASTIC = ("W_in", "W", "W_out")
BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8
"""Of Adam (Kingma & Ba 2015)."""


@dataclass(frozen=True)
class EpropParameters:
    """Times in ms, rates in Hz. `beta` (cells,): 0 for cells that do not adapt. `feedback`: symmetric, random or
    adaptive."""

    beta: Tensor
    feedback: str = "symmetric"
    dt: float = 1.0
    tau_m: float = 20.0
    tau_a: float = 2000.0
    tau_out: float = 20.0
    threshold: float = 0.6
    dampening: float = 0.3
    t_refractory: float = 5.0
    highest_rate: float = 40.0
    target_rate: float = 10.0
    regularisation: float = 0.1
    tau_rate: float = 1000.0
    rate: float = 5e-3

    @property
    def refractory_steps(self) -> float:
        return float(math.floor(self.t_refractory / self.dt + 0.5))

    @property
    def alpha(self) -> float:
        return math.exp(-self.dt / self.tau_m)

    @property
    def rho(self) -> float:
        return math.exp(-self.dt / self.tau_a)

    @property
    def kappa(self) -> float:
        return math.exp(-self.dt / self.tau_out)


@dataclass(frozen=True)
class Adam:
    """Of one matrix: the sum of increments since the last update, both moments, and the number of updates."""

    total: Tensor
    first: Tensor
    second: Tensor
    count: int = 0

    def added(self, increment: Tensor) -> Adam:
        return replace(self, total=self.total + increment)

    def step(self, rate: float) -> tuple[Adam, Tensor]:
        """The state after an update, and what is added to the weights (ascent)."""
        count = self.count + 1
        first = BETA1 * self.first + (1 - BETA1) * self.total
        second = BETA2 * self.second + (1 - BETA2) * self.total**2
        change = rate * (first / (1 - BETA1**count)) / ((second / (1 - BETA2**count)).sqrt() + EPSILON)
        return Adam(torch.zeros_like(self.total), first, second, count), change


@dataclass(frozen=True)
class EpropState:
    """After a step. Cells (seeds, n), weights (seeds, post, pre). `fired`: who spikes next; `x_trace`, `z_trace`:
    spikes filtered by the membrane, `z_filtered` by the readout. `slow` and `eligibility`: of W_in and W."""

    weights: dict[str, Tensor]
    x_trace: Tensor
    v: Tensor
    a: Tensor
    fired: Tensor
    refractory: Tensor
    z_trace: Tensor
    z_filtered: Tensor
    mean_rate: Tensor
    y: Tensor
    total: Tensor
    slow: dict[str, Tensor]
    eligibility: dict[str, Tensor]
    adam: dict[str, Adam]
    seen: dict[str, Tensor] = field(default_factory=dict)
    """What a step computed besides, by its symbol."""


def fresh_state(p: EpropParameters, weights: dict[str, Tensor]) -> EpropState:
    """Before the first step, everything at rest; `weights`: W_in, W, W_out, B."""
    seeds, n, cues = weights["W_in"].shape
    cells, traces = torch.zeros(seeds, n, dtype=torch.float64), {k: torch.zeros_like(weights[k]) for k in ("W_in", "W")}
    readouts = torch.zeros(seeds, weights["W_out"].shape[1], dtype=torch.float64)
    plastic = (*PLASTIC, *(("B",) if p.feedback == "adaptive" else ()))
    adam = {k: Adam(torch.zeros_like(weights[k]), torch.zeros_like(weights[k]), torch.zeros_like(weights[k]))
            for k in plastic}
    return EpropState(dict(weights), torch.zeros(seeds, cues, dtype=torch.float64), cells, cells, cells, cells, cells,
                      cells, torch.full_like(cells, p.target_rate), readouts, readouts, traces, dict(traces), adam)


def pseudo_derivative(p: EpropParameters, v: Tensor, a: Tensor, refractory: Tensor) -> Tensor:
    """psi, piecewise linear round the threshold, 0 while a cell is refractory."""
    away = (v - (p.threshold + p.beta * a)).abs() / p.threshold
    return torch.where(refractory > 0, 0.0, p.dampening * torch.clamp(1 - away, min=0) / p.threshold)


class EpropReference:
    """Step by step; `state` is the present one."""

    def __init__(self, parameters: EpropParameters, state: EpropState):
        self.parameters, self.state = parameters, state

    def step(self, level: Tensor, uniform: Tensor, target: Tensor, begin: bool, recall: bool, learn: bool,
             update: bool) -> None:
        """One step. `level` (seeds, cues): the inputs' rates in units of the highest; `uniform` alike: the draws that
        make spikes of them; `target` (seeds, readouts). `begin`: a trial starts here."""
        p, s = self.parameters, self._begun() if begin else self.state
        x = (uniform < level * p.highest_rate * p.dt / 1000).to(torch.float64)
        z, w = s.fired, s.weights
        x_trace, z_trace = p.alpha * s.x_trace + x, p.alpha * s.z_trace + z
        z_filtered = p.kappa * s.z_filtered + z
        a = p.rho * s.a + z
        v = p.alpha * s.v + _product(w["W_in"], x) + _product(w["W"], z) - p.threshold * z
        refractory = torch.where(z > 0, p.refractory_steps, torch.clamp(s.refractory - 1, min=0))
        fired = ((v > p.threshold + p.beta * a) & (refractory <= 0)).to(torch.float64)
        psi = pseudo_derivative(p, v, a, refractory)
        y = p.kappa * s.y + _product(w["W_out"], z)
        share = torch.softmax(y, dim=-1)
        error = share - target if recall else torch.zeros_like(share)
        mean_rate = s.mean_rate + p.dt / p.tau_rate * (1000 / p.dt * z - s.mean_rate)
        own, slow, eligibility = self._traces(s, psi, {"W_in": x_trace, "W": z_trace})
        learning = _product(w["B"], error)
        after = replace(s, x_trace=x_trace, v=v, a=a, fired=fired, refractory=refractory, z_trace=z_trace,
                        z_filtered=z_filtered, mean_rate=mean_rate, y=y, total=s.total + share if recall else s.total,
                        slow=slow, eligibility=eligibility,
                        seen={"z": z, "psi": psi, "error": error, "share": share, "learning": learning, "x": x})
        self.state = self._learnt(s, after, own, learn, update)

    def _begun(self) -> EpropState:
        s = self.state
        cells, readouts = torch.zeros_like(s.v), torch.zeros_like(s.y)
        return replace(s, x_trace=torch.zeros_like(s.x_trace), v=cells, a=cells, fired=cells, refractory=cells,
                       z_trace=cells, z_filtered=cells, y=readouts, total=readouts,
                       slow={k: torch.zeros_like(t) for k, t in s.slow.items()},
                       eligibility={k: torch.zeros_like(t) for k, t in s.eligibility.items()})

    def _traces(self, s: EpropState, psi: Tensor, traces: dict[str, Tensor]) -> tuple[dict[str, Tensor], ...]:
        """e(t), slow(t + 1) and the filtered e(t) of both kinds of synapses."""
        p, own, slow, eligibility = self.parameters, {}, {}, {}
        gain, beta = psi[:, :, None], p.beta[None, :, None]
        for name, trace in traces.items():
            own[name] = gain * (trace[:, None, :] - beta * s.slow[name])
            slow[name] = gain * trace[:, None, :] + (p.rho - gain * beta) * s.slow[name]
            eligibility[name] = p.kappa * s.eligibility[name] + own[name]
        return own, slow, eligibility

    def _learnt(self, before: EpropState, s: EpropState, own: dict[str, Tensor], learn: bool,
                update: bool) -> EpropState:
        p, adam, weights = self.parameters, dict(s.adam), dict(s.weights)
        error, learning = s.seen["error"], s.seen["learning"]
        excess = (s.mean_rate - p.target_rate)[:, :, None]
        increments = {name: -(learning[:, :, None] * before.eligibility[name])
                      - p.regularisation / 1000 * excess * own[name] for name in own}
        increments["W"] = increments["W"] * (1 - torch.eye(len(p.beta), dtype=torch.float64))
        increments["W_out"] = -(error[:, :, None] * s.z_filtered[:, None, :])
        increments["B"] = -(error[:, None, :] * s.z_filtered[:, :, None])
        for name in adam:
            if learn:
                adam[name] = adam[name].added(increments[name])
            if update:
                adam[name], change = adam[name].step(p.rate)
                weights[name] = weights[name] + change
        if p.feedback == "symmetric":
            weights["B"] = weights["W_out"].transpose(1, 2).clone()
        return replace(s, adam=adam, weights=weights)


def _product(w: Tensor, message: Tensor) -> Tensor:
    return torch.einsum("sij,sj->si", w, message)


# ---- the same network, differentiated through time


class _Spike(torch.autograd.Function):
    """Whether the distance to the threshold, in units of the threshold, is positive; its derivative is the
    pseudo-derivative in these units."""

    @staticmethod
    def forward(context: torch.autograd.function.FunctionCtx, distance: Tensor, free: Tensor,
                dampening: float) -> Tensor:
        context.save_for_backward(distance, free)
        context.dampening = dampening  # type: ignore[attr-defined]
        return ((distance > 0) & free).to(distance.dtype)

    @staticmethod
    def backward(context: torch.autograd.function.FunctionCtx, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        distance, free = context.saved_tensors  # type: ignore[attr-defined]
        slope = context.dampening * torch.clamp(1 - distance.abs(), min=0) * free  # type: ignore[attr-defined]
        return gradients[0] * slope, None, None


def bptt_gradient(p: EpropParameters, weights: dict[str, Tensor], x: Tensor, targets: Tensor,
                  recall: Tensor) -> dict[str, Tensor]:
    """The gradient of the summed cross-entropy over one trial from rest. `x` (steps, seeds, cues): spikes; `targets`
    (seeds, readouts); `recall` (steps,). Resets and refractoriness pass no gradient, as in the paper."""
    leaves = {name: weights[name].clone().requires_grad_(True) for name in PLASTIC}
    seeds, n = weights["W"].shape[:2]
    v = a = z = refractory = torch.zeros(seeds, n, dtype=torch.float64)
    y = torch.zeros(seeds, weights["W_out"].shape[1], dtype=torch.float64)
    loss = torch.zeros((), dtype=torch.float64)
    for t in range(len(x)):
        y = p.kappa * y + _product(leaves["W_out"], z)
        a = p.rho * a + z
        v = p.alpha * v + _product(leaves["W_in"], x[t]) + _product(leaves["W"], z) - p.threshold * z.detach()
        refractory = torch.where(z.detach() > 0, p.refractory_steps, torch.clamp(refractory - 1, min=0))
        distance = (v - p.threshold - p.beta * a) / p.threshold
        z = _Spike.apply(distance, refractory <= 0, p.dampening)  # type: ignore[no-untyped-call]
        if recall[t]:
            loss = loss - (targets * torch.log_softmax(y, dim=-1)).sum()
    loss.backward()  # type: ignore[no-untyped-call]
    return {name: leaf.grad for name, leaf in leaves.items() if leaf.grad is not None}
