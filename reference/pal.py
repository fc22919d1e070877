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
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from operator import mul
from typing import Any, NamedTuple

import numpy
import torch
from torch import Tensor

Layers = list[Tensor]


def logistic(x: Tensor) -> Tensor:
    """1 / (1 + e^-x)."""
    return 1 / (1 + torch.exp(-x))


# phi, section 2.
ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "linear": lambda x: x,
    "relu": lambda x: torch.clamp(x, min=0),
    "soft_relu": lambda x: torch.log(1 + torch.exp(x)),
    "logistic": logistic,
    "tanh": torch.tanh,
    "hard_sigmoid": lambda x: torch.clamp(x / 6 + 0.5, 0, 1),
}

# phi', section 2: relu'(0) = 0; that of hard_sigmoid is the published 0/1 gate, without the factor 1/6.
DERIVATIVES: dict[str, Callable[[Tensor], Tensor]] = {
    "linear": torch.ones_like,
    "relu": lambda x: (x > 0).double(),
    "soft_relu": logistic,
    "logistic": lambda x: logistic(x) * (1 - logistic(x)),
    "tanh": lambda x: 1 - torch.tanh(x) ** 2,
    "hard_sigmoid": lambda x: ((x > -3) & (x < 3)).double(),
}

WEIGHTS = ("WPP", "WIP", "BPP", "BPI")
# Published option -> field of PalParameters, where they differ.
RENAMED = {"tauxi": "tau_xi", "tauHP": "tau_HP", "tauLO": "tau_LO"}
RENAMED |= {"noise_scale": "sigma", "model_type": "variant"}
# Published options that have one supported value.
ONLY: dict[str, Any] = {"noise_type": "OU", "noise_mode": "const", "input_signal": "step"}
ONLY |= {"bw_connection_mode": "layered", "varphi_regularizer": False, "dWPP_post_low_pass": False}
ONLY |= {"inter_low_pass": False, "gate_regularizer": False, "dWPP_r_low_pass": False}
ONLY |= {"copy_teacher_weights": False, "copy_teacher_voltages": False}
# Options of the protocol, and noise_deg, which only a refused noise mode reads.
ELSEWHERE = {"Tpres", "dataset_size", "epochs", "settling_time", "random_seed", "task", "noise_deg", "dtxi"}
ELSEWHERE |= {f"init_teacher_{name}_range" for name in WEIGHTS}


@dataclass(frozen=True)
class PalParameters:
    """Parameters of one microcircuit, under the names of the published configuration files (sections 2 to 4).

    layers: sizes n_0 .. n_N. variant: PAL, FA (fixed feedback) or BP (feedback copied from WPP each step).
    activation (N): phi per non-input layer. A list of length 1 is repeated, here and below.
    dt, tau_xi, tau_HP, tau_LO: Euler step; noise, high-pass and weight low-pass time constants, ms.
    gl, gbas, gapi, gden, gnI, gntgt: leak, basal, apical, dendritic, twin and target conductances, 1/ms.
    eta_fw (N), eta_IP, eta_PI, eta_bw (H): learning rates, 1/ms. alpha, sigma (H): BPP decay, noise scale.
    taur: look-ahead factor, 1 prospective, 0 none. dWPP_low_pass None: on in PAL, off in FA and BP.
    """

    layers: tuple[int, ...]
    variant: str = "PAL"
    activation: tuple[str, ...] = ("logistic",)
    dt: float = 0.01
    tau_xi: float = 0.1
    tau_HP: float = 0.1
    tau_LO: float = 100.0
    gl: float = 0.03
    gbas: float = 0.1
    gapi: float = 0.06
    gden: float = 0.1
    gnI: float = 0.06
    gntgt: float = 0.06
    eta_fw: tuple[float, ...] = (0.0,)
    eta_IP: tuple[float, ...] = (0.0,)
    eta_PI: tuple[float, ...] = (0.0,)
    eta_bw: tuple[float, ...] = (0.0,)
    alpha: tuple[float, ...] = (0.0,)
    sigma: tuple[float, ...] = (0.0,)
    taur: float = 1.0
    dWPP_use_activation: bool = True
    dWPP_low_pass: bool | None = None
    pyr_hi_pass: bool = True
    init_in_SPS: bool = True
    init_WPP_range: tuple[float, float] = (-1.0, 1.0)
    init_WIP_range: tuple[float, float] = (-1.0, 1.0)
    init_BPP_range: tuple[float, float] = (-1.0, 1.0)
    init_BPI_range: tuple[float, float] = (-1.0, 1.0)

    def __post_init__(self) -> None:
        if len(self.layers) < 3 or self.variant not in ("PAL", "FA", "BP"):
            raise ValueError(f"layers {self.layers} (at least 3), variant {self.variant!r} (PAL, FA or BP)")
        for name in ("eta_fw", "activation", "eta_IP", "eta_PI", "eta_bw", "alpha", "sigma"):
            length = len(self.layers) - (1 if name in ("eta_fw", "activation") else 2)
            values = tuple(getattr(self, name))
            if len(values) not in (1, length):
                raise ValueError(f"{name} has {len(values)} values; expected 1 or {length}")
            object.__setattr__(self, name, values if len(values) == length else values * length)
        if unknown := set(self.activation) - set(ACTIVATIONS):
            raise ValueError(f"activation {sorted(unknown)} unknown; known: {sorted(ACTIVATIONS)}")

    @classmethod
    def from_golden_json(cls, text: str) -> "PalParameters":
        """Parameters from a published configuration; ValueError names every option without support."""
        options, names = json.loads(text), {field.name for field in fields(cls)}
        _refuse_unsupported(options, names)
        options = {RENAMED.get(name, name): value for name, value in options.items()}
        chosen: dict[str, Any] = {name: value for name, value in options.items() if name in names}
        chosen = {name: tuple(value) if isinstance(value, list) else value for name, value in chosen.items()}
        if isinstance(chosen.get("activation"), str):
            chosen["activation"] = (chosen["activation"],)
        if chosen.get("variant") in ("FA", "BP"):
            chosen.pop("dWPP_low_pass", None)  # the published base class never reads the option
        return cls(**chosen)

    @property
    def low_pass(self) -> bool:
        """Whether WPP moves by the low-passed increment (section 3, variants)."""
        return self.variant == "PAL" if self.dWPP_low_pass is None else self.dWPP_low_pass

    @cached_property
    def pyramidal_tau(self) -> list[float]:
        """tau_P of the hidden layers, then tau_O (with the target conductance, target or not), ms. (N,)"""
        hidden = 1 / (self.gl + self.gbas + self.gapi)
        return [hidden] * (len(self.layers) - 2) + [1 / (self.gl + self.gbas + self.gntgt)]

    @cached_property
    def interneuron_tau(self) -> float:
        """tau_I, ms."""
        return 1 / (self.gl + self.gden + self.gnI)

    @cached_property
    def basal_attenuation(self) -> list[float]:
        """s_h of the hidden layers, then s_o (section 3). (N,)"""
        hidden = self.gbas / (self.gl + self.gbas + self.gapi)
        return [hidden] * (len(self.layers) - 2) + [self.gbas / (self.gl + self.gbas)]

    @cached_property
    def dendritic_attenuation(self) -> float:
        """s_I (section 3)."""
        return self.gden / (self.gl + self.gden)


def _refuse_unsupported(options: Mapping[str, Any], supported: set[str]) -> None:
    known = supported | set(ONLY) | set(RENAMED) | ELSEWHERE
    refused = [f"{name} (unknown)" for name in options if name not in known]
    refused += [f"{k}={options[k]!r} (only {v!r})" for k, v in ONLY.items() if options.get(k, v) != v]
    if options.get("dtxi", options.get("dt")) != options.get("dt"):
        refused.append(f"dtxi={options['dtxi']} (only dt)")
    if refused:
        raise ValueError("options without support: " + ", ".join(refused))


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


def self_predicting(parameters: PalParameters, weights: Weights) -> Weights:
    """Weights with BPI_i = -BPP_i and WIP_i = (s_{i+1} / s_I) WPP_{i+1} (section 3, SPS)."""
    scales = (above / parameters.dendritic_attenuation for above in parameters.basal_attenuation[1:])
    lateral = list(map(mul, scales, weights.forward[1:]))
    return weights._replace(lateral=lateral, cancelling=[-feedback for feedback in weights.feedback])


def draw_weights(parameters: PalParameters, seed: int) -> Weights:
    """Uniform weights from the legacy generator in the order WPP, WIP, BPP, BPI, then the SPS. S = 1."""
    generator, kinds = numpy.random.RandomState(seed), []
    upward = list(zip(parameters.layers[1:], parameters.layers[:-1], strict=True))
    downward = [(pre, post) for post, pre in upward[1:]]
    for name, shapes in zip(WEIGHTS, (upward, upward[1:], downward, downward), strict=True):
        low, high = getattr(parameters, f"init_{name}_range")
        kinds.append([torch.from_numpy(generator.uniform(low, high, (1, *shape))) for shape in shapes])
    weights = Weights(*kinds)
    if parameters.variant == "BP":
        weights = Weights(*weights[:2], *transposed_feedback(weights.forward))
    return self_predicting(parameters, weights) if parameters.init_in_SPS else weights


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


def initial_state(parameters: PalParameters, seed: int) -> PalState:
    """Start of one seed, S = 1: N(0, 1) potentials, then weights from the same seed (section 4, RNG)."""
    generator, count = numpy.random.RandomState(seed), len(parameters.layers) - 1
    sizes = parameters.layers[1:] + parameters.layers[2:]
    drawn = [torch.from_numpy(generator.normal(0, 1, size=(1, size))) for size in sizes]
    return fresh_state(parameters, drawn[:count], drawn[count:], draw_weights(parameters, seed))


def zero_state(parameters: PalParameters, weights: Weights) -> PalState:
    """Start with potentials, rates and traces at 0 (section 5.2); weights (post, pre) or (S, post, pre)."""
    batched = [[torch.as_tensor(weight, dtype=torch.float64) for weight in kind] for kind in weights]
    batched = [[weight if weight.ndim == 3 else weight.unsqueeze(0) for weight in kind] for kind in batched]
    zeros = [torch.zeros_like(weight[:, :, 0]) for weight in batched[0]]
    state = fresh_state(parameters, zeros, zeros[1:], Weights(*batched))
    return replace(state, pyramidal_rate=zeros, interneuron_rate=zeros[1:], high_pass_rate=zeros)


def stack_states(states: Sequence[PalState]) -> PalState:
    """One state whose batch axis joins those of all `states`, in order."""
    columns = ([getattr(state, field.name) for state in states] for field in fields(PalState))
    return PalState(*([torch.cat(parts) for parts in zip(*column, strict=True)] for column in columns))


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


class Stimulus(NamedTuple):
    """Arguments of one call of `PalReference.step`."""

    r0: Tensor
    u_target: Tensor | None = None
    learn_weights: bool = False
    learn_lateral: bool = False
    learn_feedback: bool = False
    white: Layers | None = None


@dataclass(frozen=True)
class Protocol:
    """A published run: settling, then epochs of shuffled presentations (section 4, Protocol).

    task: bw_only (lateral and feedback learn) or fw_bw (all learn, teacher targets). Lengths are in steps.
    first_seed: the first student's, from which inputs and teacher follow. teacher: the teacher's parameters.
    """

    task: str
    dataset_size: int
    presentation_steps: int
    settling_steps: int
    epochs: int
    first_seed: int
    teacher: PalParameters

    @classmethod
    def from_golden_json(cls, text: str) -> "Protocol":
        """The protocol part of a published configuration."""
        options, parameters = json.loads(text), PalParameters.from_golden_json(text)
        bounds = {name: tuple(options[f"init_teacher_{name}_range"]) for name in WEIGHTS}
        ranges: dict[str, Any] = {f"init_{name}_range": pair for name, pair in bounds.items()}
        return cls(
            task=options["task"],
            dataset_size=options["dataset_size"],
            presentation_steps=round(options["Tpres"] / options["dt"]),
            settling_steps=round(options["settling_time"] / options["dt"]),
            epochs=options["epochs"],
            first_seed=options["random_seed"][0],
            teacher=replace(parameters, **ranges),
        )


def input_samples(seed: int, dataset_size: int, n0: int) -> numpy.ndarray:
    """Input rates, uniform in [0, 1). (dataset_size, n0)"""
    return numpy.random.RandomState(seed).uniform(0, 1, size=(dataset_size, n0))


def teacher_seed(first_seed: int) -> int:
    """Seed of the one teacher of all students, 873630 for first seed 123 (section 4, RNG)."""
    return int(numpy.random.RandomState(first_seed).randint(100000, 999999))


def protocol_inputs(protocol: Protocol) -> Tensor:
    """Unshuffled samples: from the first student's seed in bw_only, the teacher's in fw_bw. (samples, n_0)"""
    seed = protocol.first_seed if protocol.task == "bw_only" else teacher_seed(protocol.first_seed)
    return torch.from_numpy(input_samples(seed, protocol.dataset_size, protocol.teacher.layers[0]))


def settling(protocol: Protocol, seeds: int) -> Iterator[Stimulus]:
    """The first unshuffled samples, without target or learning."""
    inputs = protocol_inputs(protocol)
    for step in range(protocol.settling_steps):
        yield Stimulus(inputs[step // protocol.presentation_steps].expand(seeds, -1))


def teacher_output(protocol: Protocol) -> Tensor:
    """The teacher's output voltage, read before each call of its unshuffled, settled epoch. (steps, n_N)"""
    start = initial_state(protocol.teacher, teacher_seed(protocol.first_seed))
    teacher = PalReference(protocol.teacher, start)
    for stimulus in settling(protocol, 1):
        teacher.step(*stimulus)
    read = []
    for sample in protocol_inputs(protocol).repeat_interleave(protocol.presentation_steps, 0):
        read.append(teacher.output_voltage())
        teacher.step(*Stimulus(sample.unsqueeze(0)))
    return torch.cat(read)


def legacy_protocol(
    parameters: PalParameters, protocol: Protocol, seeds: Sequence[int]
) -> Iterator[Stimulus]:
    """All calls of a batch of students in order, shuffles and noise from one legacy stream per seed.

    Shuffles compound over epochs. Of each presentation the teacher's entry Tpres/dt - 1 is the target.
    """
    last, learns = protocol.presentation_steps - 1, protocol.task == "fw_bw"
    inputs = protocol_inputs(protocol)
    targets = teacher_output(protocol)[last :: last + 1] if learns else None
    yield from settling(protocol, len(seeds))
    generators = [numpy.random.RandomState(seed) for seed in seeds]
    orders = [numpy.arange(protocol.dataset_size) for _ in seeds]
    for _ in range(protocol.epochs):
        for generator, order in zip(generators, orders, strict=True):
            generator.shuffle(order)
        for samples in map(list, zip(*orders, strict=True)):
            target = None if targets is None else targets[samples]
            for white in _draws(parameters, protocol.presentation_steps, generators):
                yield Stimulus(inputs[samples], target, learns, True, True, white)


def _draws(parameters: PalParameters, steps: int, generators: Sequence[Any]) -> Iterator[Layers | None]:
    """White noise of a presentation's steps, per hidden layer (S, n), in step-wise order; None off PAL."""
    if parameters.variant != "PAL":
        yield from [None] * steps
        return
    hidden = parameters.layers[1:-1]
    drawn = [generator.normal(0, 1, size=(steps, sum(hidden))) for generator in generators]
    for step in torch.from_numpy(numpy.stack(drawn, axis=1)):
        yield list(step.split(hidden, dim=1))


def angle(first: Tensor, second: Tensor) -> Tensor:
    """Degrees between matrices under the Frobenius product (section 5.1). (S, a, b) twice: (S,)"""
    cosine = (first * second).sum((1, 2)) / (first.norm(dim=(1, 2)) * second.norm(dim=(1, 2)))
    return torch.rad2deg(torch.arccos(cosine.clamp(-1, 1)))


def transpose_angles(state: PalState) -> Tensor:
    """WPPT_BPP: BPP_i against WPP_{i+1}^T (section 5.1), degrees. (S, H)"""
    return torch.stack(list(map(angle, state.feedback, transposed_feedback(state.forward)[0])), dim=1)


def jacobian_angles(parameters: PalParameters, state: PalState) -> Tensor:
    """BPP_RHS: BPP_i against phi'(s_h vbas_i) WPP_{i+1}^T phi'(s_h vbas_{i+1}), s_h everywhere. (S, H)"""
    attenuation = parameters.basal_attenuation[0]
    layers = zip(parameters.activation, state.basal, strict=True)
    slopes = [DERIVATIVES[name](attenuation * basal) for name, basal in layers]
    expected = map(mul, map(outer, slopes[:-1], slopes[1:]), transposed_feedback(state.forward)[0])
    return torch.stack(list(map(angle, state.feedback, expected)), dim=1)


def backprop_update(parameters: PalParameters, forward: Layers, r0: Tensor, target: Tensor) -> Layers:
    """-dE/dW of E = |target - v_N|^2 / 2 in the layered net v_i = s_i W_i phi(v_{i-1}), phi(v_0) = r0.

    s is the basal attenuation; the error is one of voltages, so phi' of the output does not enter
    (section 5.1, BP). r0 (S, n_0), target (S, n_N): N arrays (S, post, pre).
    """
    rates, slopes, updates, voltage = [r0], [], list[Tensor](), r0
    for name, scale, weight in zip(parameters.activation, parameters.basal_attenuation, forward, strict=True):
        voltage = scale * product(weight, rates[-1])
        rates.append(ACTIVATIONS[name](voltage))
        slopes.append(DERIVATIVES[name](voltage))
    error = target - voltage
    for layer in reversed(range(len(forward))):
        error = error * parameters.basal_attenuation[layer]
        updates.insert(0, outer(error, rates[layer]))
        if layer:
            transposed = forward[layer].transpose(1, 2).contiguous()
            error = product(transposed, error) * slopes[layer - 1]
    return updates
