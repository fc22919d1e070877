"""The PAL microcircuit: dendritic pyramidal cells, twin interneurons and learned feedback (Max et al. 2024).

Equations and step order: specs/pal.md section 4 (the numpy simulator). Layers n_0 .. n_N; `P0` .. are the pyramidal
populations of layers 1 .. N, `I0` .. the interneurons of layers 1 .. N-1, one for each pyramidal cell of the layer
above. Variants: PAL learns its feedback weights from noise; FA keeps them fixed; BP copies the transpose of the
forward weights every step (a mirror, non-local).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from cortexc.compiler.ir import CortexError, Graph, Mirror, Noise, Population, Projection, parse_graph
from cortexc.compiler.ir.functions import ACTIVATIONS
from cortexc.compiler.microcircuits.parts import (
    check_activations,
    check_words,
    hyphenated,
    identities,
    repeated,
    synapse,
)

VARIANTS = ("PAL", "FA", "BP")
GATES = ("learn_forward", "learn_lateral", "learn_feedback", "noise", "target")

SOURCE = """
cell source
  input value
  state rate = 0
  send rate = value
  message rate
"""

HIDDEN = """
cell hidden_pyramidal{suffix}
  port basal @ basal
  port apical @ apical
  parameter tau ms
  parameter gbas 1/ms
  parameter gapi 1/ms
  parameter attenuation 1
{parameters}  state u = 0
  state rate = {phi}(u)
  state basal_potential = 0
  state apical_potential = 0
{states}  send breve = {breve}
  send rate = {phi}({rate_of})
{sends}  receive basal_potential = basal @ basal
  receive apical_potential = apical @ apical
{noise}  receive drive = tau * (gbas * basal_potential + gapi * {apical}) @ soma
  receive u = prev(u) + dt * (drive - prev(u)) / tau @ soma
  factor mismatch = {mismatch}
{high_pass}  message rate
  message breve
"""

NOISE_PARAMETERS = """  parameter sigma 1
  parameter tau_xi ms
  parameter tau_high_pass ms
  noise white normal
"""

NOISE_STATES = """  state xi = 0
  state rate_high_pass = {phi}(u)
"""

NOISE = """  receive noisy_apical = apical_potential + prev(xi) @ apical
  receive xi = where(gate.noise > 0, prev(xi) + (sqrt(dt * tau_xi) * sigma * white - dt * prev(xi)) / tau_xi, \
prev(xi)) @ apical
"""

NOISY_APICAL = "where(gate.noise > 0, noisy_apical, apical_potential)"

HIGH_PASS = """  factor rate_high_pass = prev(rate_high_pass) + (rate - prev(rate)) \
- dt / tau_high_pass * prev(rate_high_pass)
"""

OUTPUT = """
cell output_pyramidal{suffix}
  port basal @ basal
  port target @ soma
  parameter tau ms
  parameter gl 1/ms
  parameter gbas 1/ms
  parameter gntgt 1/ms
  parameter attenuation 1
{parameters}  state u = 0
  state rate = {phi}(u)
  state basal_potential = 0
{states}  send breve = {breve}
  send rate = {phi}(breve)
  receive basal_potential = basal @ basal
  receive drive = where(gate.target > 0, tau * (gbas * basal_potential + gntgt * target), \
gbas * basal_potential / (gl + gbas)) @ soma
  receive u = prev(u) + dt * (drive - prev(u)) / tau @ soma
  factor mismatch = {mismatch}
{high_pass}  message rate
  message breve
"""

INTERNEURON = """
cell interneuron{suffix}
  port dendrite @ dendrite
  port soma @ soma
  parameter tau ms
  parameter gden 1/ms
  parameter gnI 1/ms
  parameter attenuation 1
{taur}  state u = 0
  state rate = {phi}(u)
  state dendritic_potential = 0
  send breve = {breve}
  send rate = {phi}(breve)
  receive dendritic_potential = dendrite @ dendrite
  receive drive = tau * (gden * dendritic_potential + gnI * soma) @ soma
  receive u = prev(u) + dt * (drive - prev(u)) / tau @ soma
  factor mismatch = rate - {phi}(attenuation * prev(dendritic_potential))
  message rate
"""

FORWARD = """
rule forward
  parameter eta 1/ms
{low_pass_time}  increment dt * eta * post.mismatch * prev(pre.rate)
{low_pass}"""

LATERAL = """
rule interneuron_prediction
  parameter eta 1/ms
  increment dt * eta * post.mismatch * prev(pre.rate)
rule apical_cancellation
  parameter eta 1/ms
  increment dt * eta * -prev(post.apical_potential) * prev(pre.rate)
"""

FEEDBACK = """
rule feedback_alignment
  parameter eta 1/ms
  parameter alpha 1
  increment dt * eta * post.xi * prev(pre.rate_high_pass) - dt * alpha * eta * w
"""

BOTTOM_UP = synapse("bottom_up", "rate", "basal", rule="forward", role="per_seed")
INHIBITION = synapse("lateral_inhibition", "rate", "apical", rule="apical_cancellation", role="per_seed")
TEACHING = identities(("teaching", "rate", "target"))


@dataclass(frozen=True)
class Pal:
    """Everything that fixes a PAL circuit. Rates in 1/ms, times in ms, conductances in 1/ms (specs/pal.md 2-3).

    Per-layer lists of length 1 are repeated. `low_pass` None follows the variant: on for PAL, off for FA and BP, as in
    the numpy simulator. `use_activation` False drops phi from the forward rule. `taur` 0 turns the look-ahead off.
    """

    layers: tuple[int, ...]
    variant: str = "PAL"
    activation: tuple[str, ...] = ("logistic",)
    eta_fw: tuple[float, ...] = (1.0,)
    eta_bw: tuple[float, ...] = (1.0,)
    eta_IP: tuple[float, ...] = (0.0,)
    eta_PI: tuple[float, ...] = (0.0,)
    alpha: tuple[float, ...] = (1e-5,)
    sigma: tuple[float, ...] = (0.0,)
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
    taur: float = 1.0
    low_pass: bool | None = None
    use_activation: bool = True
    noise: str = "counter"
    arrays: dict[str, np.ndarray] = field(default_factory=dict, compare=False)

    @property
    def hidden(self) -> int:
        """Number of hidden layers, H = N - 1."""
        return len(self.layers) - 2

    @property
    def filtered(self) -> bool:
        """Whether forward increments pass a low-pass."""
        return self.variant == "PAL" if self.low_pass is None else self.low_pass


def build(circuit: Pal) -> Graph:
    """The graph of a PAL circuit with the given arrays (`WPP_0.w`, `P0.u` ...). Raises E301, E302, E303."""
    _check(circuit)
    activations = _per_layer(circuit, "activation", len(circuit.layers) - 1)
    text = SOURCE + _cells(circuit, activations) + _rules(circuit)
    graph = parse_graph(text).with_(name=hyphenated("pal", circuit.layers), dt=circuit.dt, gates=GATES)
    top = circuit.hidden
    return graph.with_(
        populations=_populations(circuit, activations), projections=tuple(_projections(circuit)),
        mirrors=tuple(_mirrors(circuit)), noise=_noise(circuit), outputs=(("output", f"P{top}.breve"),),
        arrays=circuit.arrays)


def _check(circuit: Pal) -> None:
    check_words("E301", ("variant of circuit 'pal'", circuit.variant, VARIANTS))
    if len(circuit.layers) < 2 or min(circuit.layers) < 0:
        raise CortexError("E302", f"circuit 'pal' needs at least an input and an output layer, got {circuit.layers}.")
    check_activations("E301", circuit.activation, ACTIVATIONS)


def _per_layer(circuit: Pal, name: str, count: int) -> list[Any]:
    return repeated("E303", name, getattr(circuit, name), count)


def _suffix(activation: str, activations: Sequence[str]) -> str:
    return "" if len(set(activations)) == 1 else f"_{activation}"


def _cells(circuit: Pal, activations: list[str]) -> str:
    hidden, twins, top = dict.fromkeys(activations[:-1]), dict.fromkeys(activations[1:]), activations[-1]
    text = "".join(_cell(HIDDEN, circuit, phi, activations) for phi in hidden)
    text += _cell(OUTPUT, circuit, top, activations)
    return text + "".join(_cell(INTERNEURON, circuit, phi, activations) for phi in (twins if circuit.hidden else ()))


def _cell(template: str, circuit: Pal, phi: str, activations: list[str]) -> str:
    learns_feedback, is_hidden = circuit.variant == "PAL", template is HIDDEN
    ahead = "tau" if circuit.taur == 1 else "taur * tau"
    taur = "" if circuit.taur == 1 else "  parameter taur 1\n"
    noise_parameters = NOISE_PARAMETERS if is_hidden else "  parameter tau_high_pass ms\n"
    noise_states = NOISE_STATES if is_hidden else "  state rate_high_pass = {phi}(u)\n"
    activated = "rate - {phi}(attenuation * prev(basal_potential))"
    return template.format(
        phi=phi, suffix=_suffix(phi, activations), taur=taur, rate_of="breve", sends="",
        breve=f"prev(prev(u)) + {ahead} * (prev(u) - prev(prev(u))) / dt",
        parameters=taur + (noise_parameters if learns_feedback else ""),
        states=noise_states.format(phi=phi) if learns_feedback else "",
        noise=NOISE if learns_feedback else "", high_pass=HIGH_PASS if learns_feedback else "",
        apical=NOISY_APICAL if learns_feedback else "apical_potential",
        mismatch=activated.format(phi=phi) if circuit.use_activation
        else "breve - attenuation * prev(basal_potential)")


def _rules(circuit: Pal) -> str:
    learns = circuit.variant == "PAL"
    forward = FORWARD.format(low_pass_time="  parameter tau_low_pass ms = 100\n" if circuit.filtered else "",
                             low_pass="  optimiser low_pass(dt / tau_low_pass)\n" if circuit.filtered else "")
    synapses = (BOTTOM_UP, synapse("lateral_excitation", "rate", "dendrite", rule="interneuron_prediction",
                                   role="per_seed"), top_down("feedback_alignment" if learns else ""), INHIBITION,
                identities(("twin_nudging", "breve", "soma")), TEACHING)
    return forward + LATERAL + (FEEDBACK if learns else "") + "".join(synapses)


def top_down(rule: str = "", name: str = "top_down", port: str = "apical") -> str:
    """The class of feedback weights, which may learn."""
    return synapse(name, "rate", port, rule=rule, role="per_seed")


def _populations(circuit: Pal, activations: list[str]) -> tuple[Population, ...]:
    c, H, n = circuit, circuit.hidden, circuit.layers
    sigma = _per_layer(c, "sigma", H) if H else []
    learns = c.variant == "PAL"
    shared = {} if c.taur == 1 else {"taur": c.taur}
    result = [Population("input", "source", n[0], "input")]
    for i in range(H):
        values = dict(tau=1 / (c.gl + c.gbas + c.gapi), gbas=c.gbas, gapi=c.gapi,
                      attenuation=c.gbas / (c.gl + c.gbas + c.gapi), **shared)
        values |= dict(sigma=sigma[i], tau_xi=c.tau_xi, tau_high_pass=c.tau_HP) if learns else {}
        cell = f"hidden_pyramidal{_suffix(activations[i], activations)}"
        result.append(Population(f"P{i}", cell, n[i + 1], f"layer{i + 1}", tuple(values.items())))
    values = dict(tau=1 / (c.gl + c.gbas + c.gntgt), gl=c.gl, gbas=c.gbas, gntgt=c.gntgt,
                  attenuation=c.gbas / (c.gl + c.gbas), **shared)
    values |= dict(tau_high_pass=c.tau_HP) if learns else {}
    cell = f"output_pyramidal{_suffix(activations[-1], activations)}"
    result.append(Population(f"P{H}", cell, n[-1], f"layer{H + 1}", tuple(values.items())))
    values = dict(tau=1 / (c.gl + c.gden + c.gnI), gden=c.gden, gnI=c.gnI,
                  attenuation=c.gden / (c.gl + c.gden), **shared)
    for i in range(H):
        cell = f"interneuron{_suffix(activations[i + 1], activations)}"
        result.append(Population(f"I{i}", cell, n[i + 2], f"layer{i + 1}", tuple(values.items())))
    return (*result, Population("teacher", "source", n[-1], f"layer{H + 1}"))


def _projections(circuit: Pal) -> list[Projection]:
    c, H = circuit, circuit.hidden
    rates = {name: _per_layer(c, name, H) if H else [] for name in ("eta_bw", "eta_IP", "eta_PI", "alpha")}
    low_pass = (("tau_low_pass", c.tau_LO),) if c.filtered else ()
    result = forward_chain("P", _per_layer(c, "eta_fw", H + 1), low_pass)
    for i in range(H):
        learns: dict[str, Any] = dict(gate="learn_feedback", parameters=(
            ("eta", rates["eta_bw"][i]), ("alpha", rates["alpha"][i]))) if c.variant == "PAL" else {}
        result += [
            Projection(f"WIP_{i}", "lateral_excitation", f"P{i}", f"I{i}", gate="learn_lateral",
                       parameters=(("eta", rates["eta_IP"][i]),)),
            Projection(f"BPP_{i}", "top_down", f"P{i + 1}", f"P{i}", **learns),
            Projection(f"BPI_{i}", "lateral_inhibition", f"I{i}", f"P{i}", gate="learn_lateral",
                       parameters=(("eta", rates["eta_PI"][i]),)),
            Projection(f"twin_{i}", "twin_nudging", f"P{i + 1}", f"I{i}")]
    return [*result, Projection("target", "teaching", "teacher", f"P{H}")]


def forward_chain(kind: str, rates: list[float], more: tuple[tuple[str, float], ...] = ()) -> list[Projection]:
    """`WPP_0` .. from the input up, with the rate of each."""
    return [Projection(f"WPP_{i}", "bottom_up", f"{kind}{i - 1}" if i else "input", f"{kind}{i}", gate="learn_forward",
                       parameters=(("eta", eta), *more)) for i, eta in enumerate(rates)]


def _mirrors(circuit: Pal) -> list[Mirror]:
    if circuit.variant != "BP":
        return []
    return [Mirror(f"BPP_{i}", f"WPP_{i + 1}", ("transpose",)) for i in range(circuit.hidden)] + [
        Mirror(f"BPI_{i}", f"BPP_{i}", ("negate",)) for i in range(circuit.hidden)]


def _noise(circuit: Pal) -> Noise:
    if circuit.variant != "PAL":
        return Noise()
    return Noise(circuit.noise, tuple(f"P{i}" for i in range(circuit.hidden)), "noise")
