"""Parameters and activations of the PAL microcircuit (see `reference.pal`); "section" refers to its specification."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

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
