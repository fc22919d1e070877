"""PAL's layer model in float64 torch: an oracle written from the equations alone.

Model: Max et al., "Learning efficient backprojections across cortical hierarchies in real time" (arXiv 2212.10249),
in the form of its published program for minibatches ("item" is one of section 5.3 of the PAL specification). All states
start at 0, and the first difference of rates is that to 0.

Layers are l = 1..N above the input, states (samples, n); units of a map are flattened channel-major. Times are in ms.
Weights of layer l have `Projection.weight_shape`, and so has B_l, which takes errors from layer l to l - 1 (DFA:
(n_N, n_{l-1}), from the output). Tensors are replaced, never changed: an earlier snapshot stays valid.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from cortexc.reference.pal_parameters import ACTIVATIONS, DERIVATIVES
from cortexc.reference.sign_concordant_geometry import Projection, Shape, parse_layers

Numbered = dict[int, Tensor]
"""By layer."""


@dataclass(frozen=True)
class MaxPool:
    """The largest of `side` x `side` pixels of the maps `source`, (C, H, W)."""

    source: Shape
    side: int

    @property
    def target(self) -> Shape:
        return self.source[0], self.source[1] // self.side, self.source[2] // self.side

    def largest(self, rates: Tensor) -> tuple[Tensor, Tensor]:
        """(samples, n) of the pooled maps, and the places in the maps below where they were found."""
        found, places = functional.max_pool2d(rates.view(-1, *self.source), self.side, return_indices=True)
        return found.flatten(1), places

    def at(self, values: Tensor, places: Tensor) -> Tensor:
        return values.view(len(values), self.source[0], -1).gather(2, places.flatten(2)).flatten(1)

    def back(self, errors: Tensor, places: Tensor) -> Tensor:
        """Errors at those places, 0 elsewhere."""
        return functional.max_unpool2d(errors.view(-1, *self.target), places, [self.side] * 2).flatten(1)


def parse(layers: tuple[int | str, ...]) -> tuple[Projection | MaxPool, ...]:
    """As `parse_layers`; besides, "m2" is max pooling, a layer of its own."""
    head, found, pool = str(layers[0]), list[Projection | MaxPool](), list[int | str]()
    for item in layers[1:]:
        shape = "x".join(map(str, found[-1].target)) if found else head
        if window := re.fullmatch(r"m(\d)", str(item)):
            found.append(MaxPool(found[-1].target, int(window[1])))
        elif re.fullmatch(r"p\d+", str(item)):
            pool.append(item)
        else:
            found += parse_layers((int(shape) if shape.isdigit() else shape, *pool, item))
            pool = []
    return tuple(found)


@dataclass(frozen=True)
class LayeredPalParameters:
    """Values per layer 1..N: phi; rates lr f in 1/ms, of the mean over a minibatch: `forward_rates`, and
    `feedback_rates` and `decays` (reg) of B_l; `noise_scales` sigma."""

    layers: tuple[int | str, ...]
    variant: str
    activation: tuple[str, ...]
    forward_rates: tuple[float, ...]
    feedback_rates: tuple[float, ...]
    decays: tuple[float, ...]
    noise_scales: tuple[float, ...]
    beta: float = 0.1
    dt: float = 0.1
    tau: float = 10.0
    tau_xi: float = 1.0
    tau_HP: float = 1.0


class LayeredPalNetwork:
    """One network. weights W_l; biases b_l, one per channel of a map; feedback B_l, not for BP; all by layer."""

    def __init__(self, parameters: LayeredPalParameters, weights: Mapping[int, Tensor], biases: Mapping[int, Tensor],
                 feedback: Mapping[int, Tensor], samples: int) -> None:
        self.parameters = parameters
        self.layers = dict(enumerate(parse(parameters.layers), 1))
        self.top = len(self.layers)
        self.weights, self.biases, self.feedback = dict(weights), dict(biases), dict(feedback)
        self._follow_weights()
        zeros = {i: torch.zeros(samples, math.prod(layer.target), dtype=torch.float64)
                 for i, layer in self.layers.items()}
        self.potential, self.lookahead, self.rate, self.slope = dict(zeros), dict(zeros), dict(zeros), dict(zeros)
        self.error, self.noise, self.sent_noise, self.high_pass = dict(zeros), dict(zeros), dict(zeros), dict(zeros)
        self.places: Numbered = {}

    def _follow_weights(self) -> None:
        if self.parameters.variant == "BP":
            self.feedback = {i: w for i, w in self.weights.items() if i > 1}

    @property
    def noisy(self) -> bool:
        return self.parameters.variant == "PAL"

    def step(self, image: Tensor, target: Tensor | None, learn_forward: bool, learn_feedback: bool,
             inject: bool, white: Mapping[int, Tensor]) -> None:
        """One update. image: (samples, n_0); target: (samples, n_N); inject: noise into rates; white: normal draws per
        layer (PAL)."""
        rates, slopes, errors = {0: image, **self.rate}, dict(self.slope), dict(self.error)
        top = torch.zeros_like(self.error[self.top]) if target is None else \
            self.parameters.beta * slopes[self.top] * (target - rates[self.top])
        for i, layer in self.layers.items():
            if self.noisy:
                self._drift(i, white[i])
            if isinstance(layer, MaxPool):
                self._pool(i, layer, rates[i - 1], slopes[i - 1], inject)
            else:
                self._drive(i, layer, rates[i - 1], inject)
        self._take_errors(top, errors, slopes)
        changes = self._feedback_changes() if learn_feedback and self.noisy else {}
        if learn_forward:
            self._learn(rates)
        self.feedback = {i: b + changes[i] if i in changes else b for i, b in self.feedback.items()}
        self._follow_weights()

    def _drift(self, i: int, draw: Tensor) -> None:
        """xi += (sqrt(tau_xi dt) sigma z - dt xi) / tau_xi (item 2)."""
        p = self.parameters
        change = math.sqrt(p.tau_xi * p.dt) * p.noise_scales[i - 1] * draw - p.dt * self.noise[i]
        self.noise[i] = self.noise[i] + change / p.tau_xi
        self.sent_noise[i] = self.noise[i]

    def _drive(self, i: int, layer: Projection, below: Tensor, inject: bool) -> None:
        """a = W rho_in + b; dV = (a + xi - V) / tau; lookahead = V + tau dV; V += dt dV; rho = phi (item 2)."""
        p = self.parameters
        bias = self.biases[i].repeat_interleave(self.rate[i].shape[1] // len(self.biases[i]))
        drive = layer.drive(self.weights[i], below) + bias
        drive = drive + self.noise[i] if inject and self.noisy else drive
        change = (drive - self.potential[i]) / p.tau
        self.lookahead[i] = self.potential[i] + p.tau * change
        self.potential[i] = self.potential[i] + p.dt * change
        before = self.rate[i]
        self.rate[i] = ACTIVATIONS[p.activation[i - 1]](self.lookahead[i])
        self.slope[i] = DERIVATIVES[p.activation[i - 1]](self.lookahead[i])
        self.high_pass[i] = self.high_pass[i] + (self.rate[i] - before - p.dt / p.tau_HP * self.high_pass[i])

    def _pool(self, i: int, layer: MaxPool, below: Tensor, slopes: Tensor, inject: bool) -> None:
        """The largest rate with noise of its own; on goes the noise of where it was found, and its own."""
        self.rate[i], self.places[i] = layer.largest(below)
        self.slope[i] = layer.at(slopes, self.places[i])
        if self.noisy:
            self.sent_noise[i] = layer.at(self.sent_noise[i - 1], self.places[i]) + self.noise[i]
        if inject and self.noisy:
            self.rate[i] = self.rate[i] + self.noise[i]

    def _take_errors(self, top: Tensor, errors: Numbered, slopes: Numbered) -> None:
        """Item 3; DFA: e_l = phi'(lookahead_l) (e_N B), without delay."""
        self.error[self.top] = top
        for i in range(self.top - 1, 0, -1):
            above = self.layers[i + 1]
            if self.parameters.variant == "DFA":
                if isinstance(self.layers[i], Projection):
                    self.error[i] = self.slope[i] * (top @ self.feedback[i + 1])
            elif isinstance(above, MaxPool):
                self.error[i] = above.back(self.error[i + 1], self.places[i + 1])
            else:
                self.error[i] = slopes[i] * above.send_back(self.feedback[i + 1], errors[i + 1])

    def _learn(self, rates: Numbered) -> None:
        """W += dt lr f mean(e rho_in), a kernel's summed over its positions; b likewise, but averaged over them."""
        for i, weight in self.weights.items():
            layer, error = self.layers[i], self.error[i]
            assert isinstance(layer, Projection)
            step = self.parameters.dt * self.parameters.forward_rates[i - 1]
            self.weights[i] = weight + step * layer.correlate(error, rates[i - 1]) / len(error)
            self.biases[i] = self.biases[i] + step * error.view(len(error), len(self.biases[i]), -1).mean((0, 2))

    def _feedback_changes(self) -> Numbered:
        """dt lr f_bw (mean(rHP xi_below) - reg B) (item 4); kernels do not learn."""
        p, found = self.parameters, {}
        for i, b in self.feedback.items():
            layer = self.layers[i]
            if isinstance(layer, Projection) and layer.kind == "dense" and layer.pool == 1:
                product = self.high_pass[i].T @ self.sent_noise[i - 1] / len(self.high_pass[i])
                found[i] = p.dt * p.feedback_rates[i - 1] * (product - p.decays[i - 1] * b)
        return found

    def snapshot(self) -> dict[str, Tensor]:
        """Every quantity after the last step, its layer as suffix; u, lookahead, slope, W and b not of max pooling."""
        columns = {"rate": self.rate, "W": self.weights, "b": self.biases, "B": self.feedback}
        columns |= {name: {i: value for i, value in values.items() if isinstance(self.layers[i], Projection)}
                    for name, values in (("u", self.potential), ("lookahead", self.lookahead), ("slope", self.slope))}
        columns["error"] = {i: value for i, value in self.error.items()
                            if self.parameters.variant != "DFA" or isinstance(self.layers[i], Projection)}
        if self.noisy:
            columns |= {"xi": self.sent_noise, "high_pass": {i: self.high_pass[i] for i in self.weights}}
        return {f"{name}_{i}": value for name, values in columns.items() for i, value in values.items()}
