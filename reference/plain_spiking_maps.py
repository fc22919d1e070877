"""The convolutional sign-concordant network as a user would write it in plain torch: the yardstick of speed.

As `plain_spiking_net` (a reconstruction from the abstract of Yang & Li 2022, arXiv 2205.07292), with convolutions, each
followed by mean pooling of 2 x 2; feedback of policies `BP` and `locked` goes back through the same geometry.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.grad import conv2d_weight

from cortexc.reference.plain_spiking_net import gate

TAU_M, TAU_S, STEPS = 5.0, 3.0, 5


@dataclass
class PlainSpikingMaps:
    """Weights (kernels, channels, k, k) of convolutions, (n_post, n_pre) of dense layers. `signs`: of `locked`."""

    weights: list[Tensor]
    feedback: list[Tensor]
    signs: list[Tensor]
    optimiser: torch.optim.Optimizer


def build(shapes: Sequence[tuple[int, ...]], policy: str = "BP", seed: int = 0, rate: float = 5e-4) -> PlainSpikingMaps:
    """Weights of these shapes from N(0, 2/fan_in), and feedback magnitudes of that law."""
    generator = torch.Generator().manual_seed(seed)
    drawn = [[torch.randn(*shape, generator=generator) * math.sqrt(2 / math.prod(shape[1:])) for shape in shapes]
             for _ in range(2)]
    weights, signs = drawn[0], [weight.sign() for weight in drawn[0]]
    locked = policy == "locked"
    feedback = [sign * size.abs() for sign, size in zip(signs, drawn[1], strict=True)] if locked else weights
    return PlainSpikingMaps(weights, feedback, signs if locked else [],
                            torch.optim.Adam(weights, lr=rate, maximize=True))


def sent(net: PlainSpikingMaps, layer: int, trace: Tensor) -> Tensor:
    """What layer `layer` + 1 sees of this one's traces."""
    if net.weights[layer].dim() == 4:
        trace = functional.avg_pool2d(trace, 2)
    return trace.flatten(1) if net.weights[layer + 1].dim() == 2 else trace


def product(weight: Tensor, message: Tensor) -> Tensor:
    return functional.conv2d(message, weight) if weight.dim() == 4 else message @ weight.T


def returned(net: PlainSpikingMaps, layer: int, error: Tensor, below: Tensor) -> Tensor:
    """Feedback of layer `layer` to the layer below, whose potentials are `below`."""
    weight = net.feedback[layer]
    back = functional.conv_transpose2d(error, weight) if weight.dim() == 4 else error @ weight
    if below.dim() == 2:
        return back
    pooled = back.view(len(below), below.shape[1], below.shape[2] // 2, below.shape[3] // 2)
    return functional.interpolate(pooled, scale_factor=2) / 4


@torch.no_grad()
def learn(net: PlainSpikingMaps, x: Tensor, labels: Tensor) -> None:
    """One minibatch: x (N, channels, height, width), labels (N,)."""
    projected, decay, kernel, d = product(net.weights[0], x), 1 - 1 / TAU_S, 0.0, torch.zeros(())
    wanted, top = torch.eye(len(net.weights[-1]), dtype=x.dtype)[labels], len(net.weights) - 1
    u: list[Tensor | float] = [0.0] * len(net.weights)
    s, a = list(u), list(u)
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
            error = gate(below) * returned(net, layer, error, below)  # type: ignore[arg-type]
        first += kernel * error
    gradients[0] = increment(net.weights[0], first, x)
    update(net, [gradient / len(x) for gradient in gradients])


def increment(weight: Tensor, error: Tensor, message: Tensor) -> Tensor:
    """Summed over samples and positions."""
    return conv2d_weight(message, weight.shape, error) if weight.dim() == 4 else error.T @ message


def update(net: PlainSpikingMaps, gradients: Sequence[Tensor]) -> None:
    """Adam and limits."""
    for weight, gradient in zip(net.weights, gradients, strict=True):
        weight.grad = gradient
    net.optimiser.step()
    for weight in net.weights:
        weight.clamp_(-4, 4)
    for weight, sign in zip(net.weights, net.signs, strict=False):
        weight.mul_(weight * sign > 0)
