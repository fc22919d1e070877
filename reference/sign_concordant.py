"""The sign-concordant cortical microcircuit in float64 torch, level 0: signed matrices (an oracle).

Wiring and equations are a reconstruction from the abstract of Yang & Li 2022 (arXiv 2205.07292), not a
transcription: results are not the paper's. "Section" refers to the specification of that reconstruction.
`sign_concordant_cells` is level 1, the same algorithm as a circuit of three cell types.

States have a leading batch axis of N samples, (N, n); one step is dt = 1 and nothing has a unit. Layers
are l = 1..L, layer 0 is the input; the units of a map are flattened channel-major (C, H, W). Tensors are
replaced, never changed: an earlier snapshot stays valid.
"""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from cortexc.reference.sign_concordant_parameters import (
    TRACKING,
    Layers,
    Moments,
    SignConcordantParameters,
    Snapshot,
    optimise,
    surrogate,
)

Redraw = Callable[[int], Sequence[Tensor]]


def _initial_deviations(parameters: SignConcordantParameters) -> Layers:
    """sqrt(2/fan_in) of layers 2..L."""
    deviations = [math.sqrt(2 / projection.fan_in) for projection in parameters.projections[1:]]
    return [torch.tensor(deviation, dtype=torch.float64) for deviation in deviations]


def as_layers(name: str, values: Sequence[Tensor], shapes: Sequence[tuple[int, ...]]) -> Layers:
    """Values as float64; ValueError if their number or a shape differs (a single number fits every shape)."""
    tensors = [torch.as_tensor(value, dtype=torch.float64) for value in values]
    found = [shape if not value.ndim else tuple(value.shape) for value, shape in zip(tensors, shapes, strict=False)]
    if len(tensors) != len(shapes) or found != list(shapes):
        raise ValueError(f"{name} of shapes {[tuple(value.shape) for value in tensors]}; expected {list(shapes)}")
    return tensors


def delayed(line: Layers, value: Tensor) -> Tensor:
    """Push a value into a delay line, in place, and take the one pushed len(line) calls ago."""
    line.append(value)
    return line.pop(0)


class SignConcordantNetwork:
    """Level 0: signed W_l and B_l, the online algorithm of section 1.3 with the equations of 2 to 4.

    weights: W_1..W_L. feedback: for l = 2..L (DFA: l = 1..L-1) Bmag >= 0 of locked, frSF, brSF and uSF (single
    numbers allowed; uSF's default is sqrt(2/fan_in)), B of FA and DFA, nothing for BP. types: the E/I typing of
    `locked`, +1, -1 or 0 (no synapse) per weight; default sign(W_l). redraw(k): Bmag of brSF after update k.
    Policies (section 1.4): locked B = types . Bmag, W clipped to its type; frSF, brSF, uSF B = sign(W) . Bmag,
    sign(0) = 0; FA, DFA fixed; BP B = W. Raises ValueError for shapes or signs that do not fit.
    """

    def __init__(
        self,
        parameters: SignConcordantParameters,
        weights: Sequence[Tensor],
        feedback: Sequence[Tensor] = (),
        types: Sequence[Tensor] | None = None,
        redraw: Redraw | None = None,
    ) -> None:
        self.parameters, self.redraw, self.update_count = parameters, redraw, 0
        shapes = [projection.weight_shape for projection in parameters.projections]
        self.weights = as_layers("weights", weights, shapes)
        self.types = [w.sign() for w in self.weights] if types is None else as_layers("types", types, shapes)
        typed = all(bool((w * t == w.abs()).all()) for w, t in zip(self.weights, self.types, strict=True))
        if parameters.policy == "locked" and not typed:
            raise ValueError("weights have not the sign of their types")
        self._set_feedback(feedback)
        self.sums = [torch.zeros_like(weight) for weight in self.weights]
        self.moments = [Moments(total, total) for total in self.sums]
        self.potential: Layers = []

    def _set_feedback(self, given: Sequence[Tensor]) -> None:
        """Bmag (`magnitudes`) and B (`feedback`) before the first update."""
        p = self.parameters
        shapes = [projection.weight_shape for projection in p.projections[1:]]
        sizes = [math.prod(projection.target) for projection in p.projections]
        if p.policy == "DFA":
            shapes = [(sizes[-1], size) for size in sizes[:-1]]
        given = _initial_deviations(p) if p.policy == "uSF" and not given else given
        self.magnitudes = as_layers("feedback", given, shapes if p.policy != "BP" else [])
        if p.policy in ("locked", *TRACKING) and any((magnitude < 0).any() for magnitude in self.magnitudes):
            raise ValueError(f"feedback of {p.policy} are magnitudes, at least 0")
        self.feedback = self.magnitudes
        if p.policy == "locked":
            self.feedback = [sign * size for sign, size in zip(self.types[1:], self.magnitudes, strict=True)]
        self._follow_weights()

    def _follow_weights(self) -> None:
        """B of the policies that read W (section 1.4)."""
        if self.parameters.policy == "BP":
            self.feedback = self.weights[1:]
        if self.parameters.policy in TRACKING:
            pairs = zip(self.weights[1:], self.magnitudes, strict=True)
            self.feedback = [weight.sign() * magnitude for weight, magnitude in pairs]

    def reset(self, samples: int) -> None:
        """All states 0 for N samples; weights, sums and moments stay."""
        p = self.parameters
        pre = [torch.zeros(samples, math.prod(projection.source), dtype=torch.float64) for projection in p.projections]
        post = [torch.zeros(samples, math.prod(projection.target), dtype=torch.float64) for projection in p.projections]
        self.kernel, self.teacher = torch.zeros((), dtype=torch.float64), post[-1]
        self.psc, self.basal_trace, self.trace = [pre[0], *post], list(pre), list(pre)
        self.current, self.potential, self.spike = list(post), list(post), list(post)
        self.gate, self.apical, self.error = list(post), list(post), list(post)
        self.trace_lines = [[zero] * delay for zero, delay in zip(pre, p.delays, strict=True)]
        self.gate_lines = [[zero] * delay for zero, delay in zip(post, p.delays, strict=True)]

    @torch.no_grad()
    def step(
        self,
        first: bool,
        x: Tensor,
        target_spikes: Tensor,
        learn: bool | Sequence[bool],
        apply: bool,
        magnitudes: Sequence[Tensor] | None = None,
    ) -> None:
        """One time step of N samples.

        first: states 0 before the step. x (N, n_0): constant input. target_spikes (N, n_L): 0 or 1. learn:
        accumulate this step's increments, or so per layer. apply: the optimiser at the end of the step, the sum
        then 0. magnitudes: Bmag of brSF from this update on, in place of `redraw`.
        Raises ValueError before the first reset, and for shapes that do not fit.
        """
        if first:
            self.reset(len(x))
        self._drive_ends(x, target_spikes)
        self._forward()
        self._send_errors()
        self._accumulate(learn)
        if apply:
            self._apply(magnitudes)

    def _drive_ends(self, x: Tensor, target_spikes: Tensor) -> None:
        """a_0 = x kernel (section 2) and d = eps * target train (section 3.1)."""
        p = self.parameters
        if not self.potential or x.shape != self.psc[0].shape or target_spikes.shape != self.teacher.shape:
            found = f"x {tuple(x.shape)}, target spikes {tuple(target_spikes.shape)}"
            raise ValueError(f"{found}: not the shapes of the states, or no step with `first` before")
        self.kernel = p.psc_decay * self.kernel + 1 / p.tau_s
        self.teacher = p.psc_decay * self.teacher + target_spikes.double() / p.tau_s
        self.input = x.double() * self.kernel

    def _forward(self) -> None:
        """I, u, s, a and the basal trace of layers 1..L (section 2); a hop costs a step if pipelined."""
        p, before = self.parameters, self.psc
        self.psc = [self.input]
        for layer, projection in enumerate(p.projections):
            below = before[layer] if p.pipelined and layer else self.psc[layer]
            current = projection.drive(self.weights[layer], below)
            kept = p.potential_decay * self.potential[layer] * (1 - self.spike[layer])
            self.current[layer], self.potential[layer] = current, kept + current
            self.spike[layer] = (self.potential[layer] > p.threshold).double()
            self.psc.append(p.psc_decay * before[layer + 1] + self.spike[layer] / p.tau_s)
            self._keep_for_error(layer, below)

    def _keep_for_error(self, layer: int, below: Tensor) -> None:
        """The trace (section 4.1) and g(u), delayed until their error arrives (section 6.3)."""
        p = self.parameters
        if p.trace == "membrane":
            below = p.potential_decay * self.basal_trace[layer] + below
        self.basal_trace[layer] = below
        self.trace[layer] = delayed(self.trace_lines[layer], below)
        self.gate[layer] = delayed(self.gate_lines[layer], surrogate(p, self.potential[layer]))

    def _send_errors(self) -> None:
        """vA_L = d - a_L, vA_l = B_{l+1}^T q_{l+1} (DFA: B_l^T q_L), q = g(u) . vA (sections 3.2, 3.3)."""
        p, top = self.parameters, len(self.potential) - 1
        before = list(self.error)
        self.apical[top] = self.teacher - self.psc[-1]
        self.error[top] = self.gate[top] * self.apical[top]
        for layer in reversed(range(top)):
            message = (before if p.pipelined else self.error)[layer + 1]
            if p.policy == "DFA":
                self.apical[layer] = self.error[top] @ self.feedback[layer]
            else:
                self.apical[layer] = p.projections[layer + 1].send_back(self.feedback[layer], message)
            self.error[layer] = self.gate[layer] * self.apical[layer]

    def _accumulate(self, learn: bool | Sequence[bool]) -> None:
        """sum += eta q_l trace^T of the layers that learn (section 4.1)."""
        gates = [learn] * len(self.sums) if isinstance(learn, bool) else learn
        for layer in [layer for layer, gate in enumerate(gates) if gate]:
            product = self.parameters.projections[layer].correlate(self.error[layer], self.trace[layer])
            self.sums[layer] = self.sums[layer] + self.parameters.learning_rate * product

    def _apply(self, magnitudes: Sequence[Tensor] | None) -> None:
        """Optimiser, limits, then B (sections 4.1, 1.4)."""
        p, self.update_count = self.parameters, self.update_count + 1
        if p.policy == "brSF":
            self._redraw(magnitudes)
        for layer, (total, moments) in enumerate(zip(self.sums, self.moments, strict=True)):
            increment, self.moments[layer] = optimise(p, total, moments, self.update_count)
            self.weights[layer] = self._limited(layer, self.weights[layer] + increment)
            self.sums[layer] = torch.zeros_like(total)
        self._follow_weights()

    def _limited(self, layer: int, weight: Tensor) -> Tensor:
        """W in [-limit, limit]; of its own sign if locked."""
        limit = self.parameters.limit
        if self.parameters.policy != "locked":
            return weight.clamp(-limit, limit)
        return weight.clamp(limit * self.types[layer].clamp(max=0), limit * self.types[layer].clamp(min=0))

    def _redraw(self, magnitudes: Sequence[Tensor] | None) -> None:
        if magnitudes is None and self.redraw is None:
            raise ValueError("brSF needs new magnitudes at each update: `magnitudes` of the step, or `redraw`")
        drawn = self.redraw(self.update_count) if magnitudes is None and self.redraw else magnitudes
        self.magnitudes = as_layers("magnitudes", drawn or (), [tuple(old.shape) for old in self.magnitudes])

    def output(self) -> Tensor:
        """a_L, (N, n_L)."""
        return self.psc[-1]

    def snapshot(self) -> Snapshot:
        """Every quantity after the last step, its layer l as suffix.

        kernel (), teacher (N, n_L): d; psc_0..psc_L (N, n): a; for l = 1..L (N, n_l) current: I, u, spike, gate:
        g(u), apical: vA, error: q; trace (N, n_{l-1}), before pooling; W, dW: weights, accumulated sum;
        first_moment_W, second_moment_W: Adam's; B for l = 2..L, of W's shape (DFA: l = 1..L-1). gate and trace
        are those that meet the error of this step, delayed if pipelined.
        """
        columns = {"current": self.current, "u": self.potential, "spike": self.spike, "gate": self.gate}
        columns |= {"trace": self.trace, "apical": self.apical, "error": self.error}
        columns |= {"W": self.weights, "dW": self.sums}
        columns["first_moment_W"], columns["second_moment_W"] = map(list, zip(*self.moments, strict=True))
        named = {f"{name}_{layer}": value for name, values in columns.items() for layer, value in enumerate(values, 1)}
        named |= {f"psc_{layer}": value for layer, value in enumerate(self.psc)}
        start = 1 if self.parameters.policy == "DFA" else 2
        named |= {f"B_{layer}": value for layer, value in enumerate(self.feedback, start)}
        return {"kernel": self.kernel, "teacher": self.teacher, **named}
