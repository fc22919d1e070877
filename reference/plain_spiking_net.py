"""The sign-concordant spiking network as a user would write it in plain torch: the yardstick of speed.

The algorithm of `sign_concordant` (a reconstruction from the abstract of Yang & Li 2022, arXiv 2205.07292) in float32
with Adam. Weights are (n_post, n_pre) of dense layers, (kernels, channels, k, k) of convolutions, each followed by mean
pooling of 2 x 2. The input is constant, so its projection and the update of its weights take one product per
presentation, not one per step.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.grad import conv2d_weight

POLICIES = ("locked", "frSF", "uSF", "FA", "BP")
TAU_M, TAU_S, STEPS = 5.0, 3.0, 5


@dataclass
class PlainSpikingNet:
    """Weights, feedback of the shapes of W_2..W_L (magnitudes, or B of FA), and the fixed signs of `locked`."""

    policy: str
    weights: list[Tensor]
    feedback: list[Tensor]
    signs: list[Tensor]
    optimiser: torch.optim.Optimizer


def build(shapes: Sequence[tuple[int, ...]], policy: str = "locked", seed: int = 0,
          rate: float = 5e-4) -> PlainSpikingNet:
    """W ~ N(0, 2/fan_in) of these shapes, and feedback of that law; ValueError if the policy is unknown."""
    if policy not in POLICIES:
        raise ValueError(f"policy {policy!r} unknown; known: {POLICIES}")
    generator = torch.Generator().manual_seed(seed)
    weights, drawn = ([torch.randn(*shape, generator=generator) * deviation(shape) for shape in shapes]
                      for _ in range(2))
    feedback = [torch.full(shape, deviation(shape)) for shape in shapes] if policy == "uSF" else drawn
    adam = torch.optim.Adam(weights, lr=rate, maximize=True)
    return PlainSpikingNet(policy, weights, feedback[1:], [weight.sign() for weight in weights], adam)


def deviation(shape: Sequence[int]) -> float:
    return math.sqrt(2 / math.prod(shape[1:]))


def backward_weights(net: PlainSpikingNet) -> list[Tensor]:
    """B_2..B_L of the policy (specification, section 1.4)."""
    if net.policy == "BP":
        return net.weights[1:]
    if net.policy == "FA":
        return net.feedback
    signs = net.signs if net.policy == "locked" else [weight.sign() for weight in net.weights]
    return [sign * size.abs() for sign, size in zip(signs[1:], net.feedback, strict=True)]


def product(weight: Tensor, message: Tensor) -> Tensor:
    return functional.conv2d(message, weight) if weight.dim() == 4 else message @ weight.T


def sent(net: PlainSpikingNet, layer: int, trace: Tensor) -> Tensor:
    """What layer `layer` + 1 sees of this one's traces."""
    if net.weights[layer].dim() == 4:
        trace = functional.avg_pool2d(trace, 2)
    return trace.flatten(1) if net.weights[layer + 1].dim() == 2 else trace


def returned(weight: Tensor, error: Tensor, below: Tensor) -> Tensor:
    """Feedback to the layer below, whose potentials are `below`."""
    back = functional.conv_transpose2d(error, weight) if weight.dim() == 4 else error @ weight
    if below.dim() == 2:
        return back
    pooled = back.view(len(below), below.shape[1], below.shape[2] // 2, below.shape[3] // 2)
    return functional.interpolate(pooled, scale_factor=2) / 4


def gate(potential: Tensor) -> Tensor:
    """g(u) of width 0.2: z / (alpha (1+z)^2), that is s (1-s) / alpha with the logistic s."""
    logistic = torch.sigmoid((potential - 1) / 0.2)
    return logistic * (1 - logistic) / 0.2


@torch.no_grad()
def learn(net: PlainSpikingNet, x: Tensor, labels: Tensor) -> None:
    """One minibatch: x (N, n_0) or (N, channels, height, width), labels (N,)."""
    projected, decay, kernel, d = product(net.weights[0], x), 1 - 1 / TAU_S, 0.0, torch.zeros(())
    wanted, top = torch.eye(len(net.weights[-1]), dtype=x.dtype)[labels], len(net.weights) - 1
    u: list[Tensor | float] = [0.0] * len(net.weights)
    s, a, feedback = list(u), list(u), backward_weights(net)
    first, gradients = torch.zeros_like(projected), [torch.zeros_like(weight) for weight in net.weights]
    for step in range(STEPS):
        kernel, messages = decay * kernel + 1 / TAU_S, [x]
        for layer, weight in enumerate(net.weights):
            drive = product(weight, messages[-1]) if layer else kernel * projected
            u[layer] = (1 - 1 / TAU_M) * u[layer] * (1 - s[layer]) + drive
            s[layer] = (u[layer] > 1).to(x.dtype)  # type: ignore[union-attr]
            a[layer] = decay * a[layer] + s[layer] / TAU_S
            messages += [sent(net, layer, a[layer])] if layer < top else []  # type: ignore[arg-type]
        d = decay * d + wanted * float(step % 5 > 0) / TAU_S
        error = gate(u[top]) * (d - a[top])  # type: ignore[arg-type]
        for layer in range(top, 0, -1):
            gradients[layer] += increment(net.weights[layer], error, messages[layer])
            below = u[layer - 1]
            error = gate(below) * returned(feedback[layer - 1], error, below)  # type: ignore[arg-type]
        first += kernel * error
    gradients[0] = increment(net.weights[0], first, x)
    update(net, [gradient / len(x) for gradient in gradients])


def increment(weight: Tensor, error: Tensor, message: Tensor) -> Tensor:
    """Summed over samples and positions."""
    return conv2d_weight(message, weight.shape, error) if weight.dim() == 4 else error.T @ message


def update(net: PlainSpikingNet, gradients: Sequence[Tensor]) -> None:
    """Adam and limits."""
    for weight, gradient in zip(net.weights, gradients, strict=True):
        weight.grad = gradient
    net.optimiser.step()
    for weight, sign in zip(net.weights, net.signs, strict=True):
        weight.clamp_(-4, 4)
        if net.policy == "locked":
            weight.mul_(weight * sign > 0)
