"""Parameters of the error-neuron microcircuit and its three comparison models, under their published names.

"Section" refers to the error-neuron specification. Times are in ms, conductances and learning rates in 1/ms;
voltages, rates and weights have no unit. L areas follow the input; area l has index l - 1 in every list.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from cortexc.reference.pal_parameters import logistic

# phi(x; slope s, offset o), section 2: s scales the output, that of logistic and tanh the input.
ACTIVATIONS: dict[str, Callable[[Tensor, float, float], Tensor]] = {
    "linear": lambda x, s, o: s * (x - o),
    "relu": lambda x, s, o: s * torch.clamp(x - o, min=0),
    "soft_relu": lambda x, s, o: s * (torch.log(1 + torch.exp(10 * (x - o))) / 10),
    "logistic": lambda x, s, o: logistic(s * (x - o)),
    "tanh": lambda x, s, o: torch.tanh(s * (x - o)),
    "hard_sigmoid": lambda x, s, o: s * torch.clamp((x - o) / 6 + 0.5, 0, 1),
}

# phi', always of slope 1 and offset 0 (section 2, Q6); relu'(0) = 0.
DERIVATIVES: dict[str, Callable[[Tensor], Tensor]] = {
    "linear": torch.ones_like,
    "relu": lambda x: (x > 0).double(),
    "soft_relu": lambda x: logistic(10 * x),
    "logistic": lambda x: logistic(x) * (1 - logistic(x)),
    "tanh": lambda x: 1 - torch.tanh(x) ** 2,
    "hard_sigmoid": lambda x: ((x > -3) & (x < 3)).double() / 6,
}

# Exponent k of the strength 10^(-k/2) between cortical areas, None for 0; row = target, column = source (section 5).
AREA_EXPONENTS: tuple[tuple[int | None, ...], ...] = (
    (None, 0, 1, 2, 1, 3, None),
    (0, None, 1, 3, 1, None, None),
    (3, 0, None, 0, 1, 1, None),
    (None, 1, 0, None, 1, 0, None),
    (2, 1, 0, 1, None, 2, 2),
    (None, None, 1, 0, None, None, None),
    (None, 1, 0, None, 0, None, None),
)

MODELS = ("errormc", "sacramento2018", "dPC", "ann")
CONVERSIONS = ("fill_diag", "fill_all", "fill_scaled")
PER_AREA = ("activation", "activation_slope", "activation_offset", "rep_lookahead", "error_lookahead", "eta_fw")
LATERAL_RATES = ("eta_IP", "eta_PI")


@dataclass(frozen=True)
class ErrorNeuronParameters:
    """One network of any of the four models (sections 1 to 5).

    layers: n_0 .. n_L. error_layers (errormc): ignored, m_1 .. m_L; None: as layers.
    activation (L), error_activation: phi of R or P, and of E; linear throughout in dPC, whatever is given.
    A list of length 1 is repeated, here and below. derivative (L): the phi whose slope gates; None: activation.
    activation_slope, activation_offset (L): s and o of section 2. rep_lookahead, error_lookahead (L): rates
    of R and E from the prospective voltage, else from the potential.
    eta_fw (L), eta_IP, eta_PI: learning rates of WPP, WIP and BPI; the latter two L in errormc, unread in ann,
    else L - 1.
    """

    layers: tuple[int, ...]
    mc_model: str = "errormc"
    model_type: str = "BP"
    error_layers: tuple[int, ...] | None = None
    activation: tuple[str, ...] = ("tanh",)
    activation_slope: tuple[float, ...] = (1.0,)
    activation_offset: tuple[float, ...] = (0.0,)
    derivative: tuple[str, ...] | None = None
    error_activation: str = "linear"
    rep_lookahead: tuple[bool, ...] = (True,)
    error_lookahead: tuple[bool, ...] = (True,)
    dt: float = 0.01
    gl: float = 0.03
    gbas: float = 0.1
    gapi: float = 0.06
    gden: float = 0.1
    gnI: float = 0.06
    gntgt: float = 0.06
    eta_fw: tuple[float, ...] = (0.0,)
    eta_IP: tuple[float, ...] = (0.0,)
    eta_PI: tuple[float, ...] = (0.0,)
    eta_fw_conversion: str = "fill_diag"
    fw_connection_mode: str = "layered"
    bw_connection_mode: str = "layered"
    varphi_transfer: bool = True
    dWPP_use_activation: bool = False

    def __post_init__(self) -> None:
        if refused := list(self._refusals()):
            raise ValueError("; ".join(refused))
        areas = len(self.layers) - 1
        linear = {"activation": ("linear",), "derivative": None} if self.mc_model == "dPC" else {}
        for name, value in linear.items():
            object.__setattr__(self, name, value)
        for name in PER_AREA:
            self._repeat(name, areas)
        for name in () if self.mc_model == "ann" else LATERAL_RATES:
            self._repeat(name, areas if self.mc_model == "errormc" else areas - 1)
        object.__setattr__(self, "derivative", self.derivative or self.activation)
        self._repeat("derivative", areas)
        object.__setattr__(self, "error_layers", tuple(self.error_layers or self.layers))

    def _refusals(self) -> Any:
        """What the choices of this object cannot mean, one text each."""
        if len(self.layers) < 2:
            yield f"layers {self.layers} has no area"
        choices = {"mc_model": MODELS, "model_type": ("BP", "FA"), "eta_fw_conversion": CONVERSIONS}
        choices |= dict.fromkeys(("fw_connection_mode", "bw_connection_mode"), ("layered", "skip"))
        for name, known in choices.items():
            if getattr(self, name) not in known:
                yield f"{name} {getattr(self, name)!r} unknown; known: {known}"
        if unknown := {*self.activation, *(self.derivative or ()), self.error_activation} - set(ACTIVATIONS):
            yield f"activation {sorted(unknown)} unknown; known: {sorted(ACTIVATIONS)}"
        modes = {self.fw_connection_mode, self.bw_connection_mode}
        if self.mc_model != "errormc" and modes != {"layered"}:
            yield f"fw_connection_mode, bw_connection_mode: {self.mc_model} is layered"
        if len(self.error_layers or self.layers) != len(self.layers):
            yield f"error_layers {self.error_layers} and layers {self.layers} differ in length"
        unequal = tuple(self.error_layers or self.layers)[1:] != tuple(self.layers)[1:]
        if self.mc_model == "errormc" and unequal and self.model_type == "BP" and "skip" in modes:
            yield "error_layers must equal layers where skip connections are copied"

    def _repeat(self, name: str, length: int) -> None:
        values = tuple(getattr(self, name))
        if len(values) not in (1, length):
            raise ValueError(f"{name} has {len(values)} values; expected 1 or {length}")
        object.__setattr__(self, name, values if len(values) == length else values * length)

    @cached_property
    def areas(self) -> int:
        """L."""
        return len(self.layers) - 1

    @cached_property
    def sizes(self) -> tuple[int, ...]:
        """n_1 .. n_L."""
        return tuple(self.layers[1:])

    @cached_property
    def partner_sizes(self) -> tuple[int, ...]:
        """Cells of uI: m_1 .. m_L (errormc), n_1 .. n_L (ann), n_2 .. n_L (sacramento2018; drawn only in dPC)."""
        if self.mc_model == "errormc":
            return tuple((self.error_layers or self.layers)[1:])
        return self.sizes if self.mc_model == "ann" else self.sizes[1:]

    @cached_property
    def skip_forward(self) -> bool:
        """Whether WPP is one matrix over the input and all areas."""
        return self.fw_connection_mode == "skip"

    @cached_property
    def skip_feedback(self) -> bool:
        """Whether BII is one matrix over all areas."""
        return self.bw_connection_mode == "skip"

    @cached_property
    def pyramidal_tau(self) -> list[float]:
        """tau_R (errormc), tau_P with tau_P(L) (sacramento2018, dPC), ms. (L,)"""
        hidden = 1 / (self.gl + self.gbas + self.gapi)
        output = hidden if self.mc_model == "errormc" else 1 / (self.gl + self.gbas + self.gntgt)
        return [hidden] * (self.areas - 1) + [output]

    @cached_property
    def partner_tau(self) -> list[float]:
        """tau_E with tau_E(L) (errormc), tau_I (sacramento2018), ms. One per entry of partner_sizes."""
        if self.mc_model == "errormc":
            return [1 / (self.gl + self.gden)] * (self.areas - 1) + [1 / (self.gl + self.gntgt)]
        return [1 / (self.gl + self.gden + self.gnI)] * len(self.partner_sizes)

    @cached_property
    def basal_attenuation(self) -> list[float]:
        """c_l of section 4: the share of v_bas in the resting soma. (L,)"""
        hidden = self.gbas / (self.gl + self.gbas + self.gapi)
        output = hidden if self.mc_model == "errormc" else self.gbas / (self.gl + self.gbas)
        return [hidden] * (self.areas - 1) + [output]

    @cached_property
    def dendritic_attenuation(self) -> float:
        """g_den / (g_l + g_den)."""
        return self.gden / (self.gl + self.gden)

    @cached_property
    def area_strengths(self) -> list[list[float]]:
        """Realistic strength of each pair, row = target, column = source, both from the input. (L + 1, L + 1)

        Section 5: the input reaches area 1 with strength 1 and nothing else.
        """
        if self.areas > len(AREA_EXPONENTS):
            raise ValueError(f"{self.areas} areas; the realistic connectivity has {len(AREA_EXPONENTS)}")
        rows = [[0.0 if k is None else 10.0 ** (-k / 2) for k in row[: self.areas]] for row in AREA_EXPONENTS]
        first = [[1.0 if area == 0 else 0.0] + row for area, row in enumerate(rows[: self.areas])]
        return [[0.0] * (self.areas + 1)] + first

    @cached_property
    def forward_rates(self) -> list[list[float]]:
        """eta_{l,k} of skip connections, row = target area, column = source from the input, 1/ms. (L, L)"""
        factors = [[float(source == area) for source in range(self.areas)] for area in range(self.areas)]
        if self.eta_fw_conversion == "fill_all":
            factors = [[float(source <= area) for source in range(self.areas)] for area in range(self.areas)]
        if self.eta_fw_conversion == "fill_scaled":
            rows = enumerate(self.area_strengths[1:])
            factors = [[row[k] * (k <= area) for k in range(self.areas)] for area, row in rows]
        return [[eta * factor for factor in row] for eta, row in zip(self.eta_fw, factors, strict=True)]
