"""The sign-concordant spiking network as a user would write it in plain torch: the yardstick of speed.

The dense network and algorithm of `sign_concordant` (a reconstruction from the abstract of Yang & Li 2022, arXiv
2205.07292) in float32 with Adam. The input is constant, so its projection and the update of its weights take one
product per presentation, not one per step.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

POLICIES = ("locked", "frSF", "brSF", "uSF", "FA", "DFA", "BP")


@dataclass
class PlainSpikingNet:
    """Weights W_l (n_l, n_{l-1}), feedback (magnitudes, or B of FA and DFA) and the fixed signs of `locked`."""

    policy: str
    weights: list[Tensor]
    feedback: list[Tensor]
    signs: list[Tensor]
    optimiser: torch.optim.Optimizer
    generator: torch.Generator
    steps: int = 5
    tau_m: float = 5.0
    tau_s: float = 3.0


def build(sizes: Sequence[int], policy: str = "locked", seed: int = 0, rate: float = 5e-4) -> PlainSpikingNet:
    """W ~ N(0, 2/fan_in) and feedback of that law for sizes n_0..n_L; ValueError if the policy is unknown."""
    if policy not in POLICIES:
        raise ValueError(f"policy {policy!r} unknown; known: {POLICIES}")
    generator, pairs = torch.Generator().manual_seed(seed), list(zip(sizes[1:], sizes[:-1], strict=True))
    weights = [normal(post, pre, generator) for post, pre in pairs]
    feedback = [normal(sizes[-1] if policy == "DFA" else post, pre, generator) for post, pre in pairs[1:]]
    if policy == "uSF":
        feedback = [torch.full_like(matrix, math.sqrt(2 / matrix.shape[1])) for matrix in feedback]
    signs, adam = [weight.sign() for weight in weights], torch.optim.Adam(weights, lr=rate, maximize=True)
    return PlainSpikingNet(policy, weights, feedback, signs, adam, generator)


def normal(post: int, pre: int, generator: torch.Generator) -> Tensor:
    """(post, pre) of N(0, 2/pre)."""
    return torch.randn(post, pre, generator=generator) * math.sqrt(2 / pre)


def backward_weights(net: PlainSpikingNet) -> list[Tensor]:
    """B_2..B_L of the policy (specification, section 1.4)."""
    if net.policy == "BP":
        return net.weights[1:]
    if net.policy in ("FA", "DFA"):
        return net.feedback
    signs = net.signs if net.policy == "locked" else [weight.sign() for weight in net.weights]
    return [sign * size.abs() for sign, size in zip(signs[1:], net.feedback, strict=True)]


def forward(net: PlainSpikingNet, x: Tensor) -> tuple[list[float], list[list[Tensor]], list[list[Tensor]]]:
    """Input kernel, potentials u and PSCs a, [step][layer] (N, n_l), of inputs x (N, n_0)."""
    projected, decay, kernel = x @ net.weights[0].T, 1 - 1 / net.tau_s, 0.0
    u, s, a = ([x.new_zeros(len(x), len(weight)) for weight in net.weights] for _ in range(3))
    kernels: list[float] = []
    potentials: list[list[Tensor]] = []
    traces: list[list[Tensor]] = []
    for _ in range(net.steps):
        kernel = decay * kernel + 1 / net.tau_s
        for layer, weight in enumerate(net.weights):
            drive = a[layer - 1] @ weight.T if layer else kernel * projected
            u[layer] = (1 - 1 / net.tau_m) * u[layer] * (1 - s[layer]) + drive
            s[layer] = (u[layer] > 1).to(x.dtype)
            a[layer] = decay * a[layer] + s[layer] / net.tau_s
        kernels, potentials, traces = [*kernels, kernel], [*potentials, list(u)], [*traces, list(a)]
    return kernels, potentials, traces


def errors(net: PlainSpikingNet, potentials: list[Tensor], outputs: Tensor, wanted: Tensor) -> list[Tensor]:
    """q_1..q_L of all steps at once: u (T N, n_l), a_L and d (T N, n_L)."""
    gates, feedback = [gate(potential) for potential in potentials], backward_weights(net)
    found = [gates[-1] * (wanted - outputs)]
    for layer in reversed(range(len(feedback))):
        found.insert(0, gates[layer] * (found[-1 if net.policy == "DFA" else 0] @ feedback[layer]))
    return found


def gate(potential: Tensor) -> Tensor:
    """g(u) of width 0.2: z / (alpha (1+z)^2), that is s (1-s) / alpha with the logistic s."""
    logistic = torch.sigmoid((potential - 1) / 0.2)
    return logistic * (1 - logistic) / 0.2


def learn(net: PlainSpikingNet, x: Tensor, labels: Tensor) -> None:
    """One minibatch: x (N, n_0), labels (N,)."""
    kernels, potentials, traces = forward(net, x)
    one_hot, wanted, d = torch.eye(len(net.weights[-1]), dtype=x.dtype)[labels], [], torch.zeros(())
    for step in range(net.steps):
        d = (1 - 1 / net.tau_s) * d + one_hot * float(step % 5 > 0) / net.tau_s
        wanted.append(d)
    u, a = ([torch.cat(layer) for layer in zip(*values, strict=True)] for values in (potentials, traces))
    q = errors(net, u, a[-1], torch.cat(wanted))
    first = sum(k * part for k, part in zip(kernels, q[0].split(len(x)), strict=True))
    net.weights[0].grad = torch.as_tensor(first).T @ x / len(x)
    for weight, message, below in zip(net.weights[1:], q[1:], a[:-1], strict=True):
        weight.grad = message.T @ below / len(x)
    update(net)


def update(net: PlainSpikingNet) -> None:
    """Adam, limits, new magnitudes of brSF."""
    net.optimiser.step()
    for weight, sign in zip(net.weights, net.signs, strict=True):
        weight.clamp_(-4, 4)
        if net.policy == "locked":
            weight.mul_(weight * sign > 0)
    if net.policy == "brSF":
        net.feedback = [normal(len(matrix), matrix.shape[1], net.generator) for matrix in net.feedback]


@torch.no_grad()
def train_epoch(net: PlainSpikingNet, x: Tensor, labels: Tensor, batch: int = 100) -> None:
    """One epoch in a new random order: x (samples, n_0) float32, labels (samples,) of whole numbers."""
    for index in torch.randperm(len(x), generator=net.generator).split(batch):
        learn(net, x[index], labels[index])


@torch.no_grad()
def accuracy(net: PlainSpikingNet, x: Tensor, labels: Tensor, batch: int = 1000) -> float:
    """Share of samples whose label is argmax of sum_t a_L."""
    summed = [torch.stack([step[-1] for step in forward(net, part)[2]]).sum(0) for part in x.split(batch)]
    return float((torch.cat(summed).argmax(1) == labels).float().mean())
