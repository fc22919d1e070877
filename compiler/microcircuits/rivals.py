"""The circuits that the error-neuron microcircuit is compared with (specs/error_neuron.md 1.2 to 1.4, 3.2 to 3.4).

`dendritic` (Sacramento et al. 2018) is PAL's circuit without its noise; its feedback is a copy of the forward weights
plus a fixed error, or fixed. `dpc` (dendritic predictive coding, after Mikulasch et al.) has pyramidal cells only: the
top-down input of an apical dendrite is cancelled by its own layer, one step later (`BPI_0`, within the layer). `ann` is
a layered net with backprop, one step per layer: `R0` .. are its units and `E0` .. hold their errors.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from cortexc.compiler.ir import CortexError, Graph, Mirror, Population, Projection, parse_graph
from cortexc.compiler.ir.functions import ACTIVATIONS
from cortexc.compiler.microcircuits import pal
from cortexc.compiler.microcircuits.parts import check_activations, check_words, hyphenated, identities, repeated
from cortexc.compiler.microcircuits.targets import UNDELAYED, with_delayed_target

VARIANTS = ("BP", "FA")
GATES = ("learn_forward", "learn_lateral", "copy", "target")

DPC_RULE = """
rule apical_cancellation
  parameter eta 1/ms
  increment dt * eta * -prev(post.apical_potential) * prev(prev(pre.rate))
"""

UNIT = """
cell unit{suffix}
  port basal @ basal
  port error @ soma
  parameter gain 1
  state u = 0
  state rate = {phi}(u)
  send rate = {phi}(prev(u))
  send slope = d_{phi}(prev(u))
  receive delta = error
  receive u = gain * basal @ soma
  message rate
  message slope
"""

BACKPROP = """
cell backprop_error
  port dendrite @ dendrite
  port modulation @ dendrite
  state u = 0
  send rate = prev(u)
  receive u = modulation * dendrite @ soma
  message rate
cell output_backprop_error
  port modulation @ dendrite
  port output @ dendrite
  port target @ dendrite
  state u = 0
  send rate = prev(u)
  receive u = where(gate.target > 0, modulation * (target - output), 0.0) @ soma
  message rate
rule delta
  parameter eta 1/ms
  increment dt * eta * post.delta * prev(pre.rate)
"""
BACKPROP += pal.top_down("delta", "bottom_up", "basal") + pal.top_down(name="error_feedback", port="dendrite")
BACKPROP += identities(("slope", "slope", "modulation"), ("output", "rate", "output"), ("error", "rate", "error"))


@dataclass(frozen=True)
class Rival:
    """What fixes a `dendritic`, `dpc` or `ann` circuit; names and units as in the error-neuron circuit.

    use_activation: phi in the forward rule of dendritic and dpc. eta_IP, eta_PI: one entry per hidden layer. The
    activation of dpc is linear in the published experiments, whatever their files say.
    """

    layers: tuple[int, ...]
    variant: str = "BP"
    activation: tuple[str, ...] = ("tanh",)
    eta_fw: tuple[float, ...] = (1.0,)
    eta_IP: tuple[float, ...] = (0.0,)
    eta_PI: tuple[float, ...] = (0.0,)
    dt: float = 0.01
    gl: float = 0.03
    gbas: float = 0.1
    gapi: float = 0.06
    gden: float = 0.1
    gnI: float = 0.06
    gntgt: float = 0.06
    use_activation: bool = True
    target_delay: int = 0
    arrays: dict[str, np.ndarray] = field(default_factory=dict, compare=False)

    @property
    def hidden(self) -> int:
        """L - 1, the number of hidden layers."""
        return len(self.layers) - 2


@dataclass(frozen=True)
class Dendritic(Rival):
    """Of Sacramento et al. 2018."""


@dataclass(frozen=True)
class Ann(Rival):
    """A layered net with backprop."""


@dataclass(frozen=True)
class Dpc(Rival):
    """Linear by default, as in the published experiments."""

    activation: tuple[str, ...] = ("linear",)
    use_activation: bool = False


def gates(circuit: Rival) -> tuple[str, ...]:
    return (*GATES, UNDELAYED) if circuit.target_delay else GATES


def _check(circuit: Rival, name: str) -> None:
    """Raises E320 for an unknown word, E321 layers, E322 number of entries, E325 the delay."""
    check_words("E320", (f"variant of circuit '{name}'", circuit.variant, VARIANTS))
    check_activations("E320", circuit.activation, ACTIVATIONS)
    if len(circuit.layers) < 2 or min(circuit.layers) < 1:
        raise CortexError("E321", f"circuit '{name}' needs an input and at least one layer, none of them empty; got "
                                  f"layers {list(circuit.layers)}.")
    hidden = max(circuit.hidden, 1)
    for key, count in (("activation", circuit.hidden + 1), ("eta_fw", circuit.hidden + 1), ("eta_IP", hidden),
                       ("eta_PI", hidden)):
        per_layer(circuit, key, count)
    useless = {"ann": ("eta_IP", "eta_PI"), "dpc": ("eta_IP",)}.get(name, ())
    for key in useless:
        if any(getattr(circuit, key)):
            raise CortexError("E327", f"circuit '{name}' has no lateral weights that '{key}' could be the rate of.",
                              "Leave it out.")
    if circuit.target_delay < 0:
        raise CortexError("E325", f"target_delay is {circuit.target_delay} steps; the least is 0.")


def per_layer(circuit: Rival, name: str, count: int) -> list[Any]:
    return repeated("E322", name, getattr(circuit, name), count)


def _as_pal(circuit: Rival) -> pal.Pal:
    """The same conductances, rates and activations as options of the PAL circuit."""
    c = circuit
    return pal.Pal(c.layers, "FA", c.activation, c.eta_fw, eta_IP=c.eta_IP, eta_PI=c.eta_PI, dt=c.dt, gl=c.gl,
                   gbas=c.gbas, gapi=c.gapi, gden=c.gden, gnI=c.gnI, gntgt=c.gntgt, low_pass=False,
                   use_activation=c.use_activation, arrays=c.arrays)


def _copies(circuit: Rival, count: int) -> Iterator[Mirror]:
    """BPP as the transposed forward weights plus their fixed error."""
    for i in range(count if circuit.variant == "BP" else 0):
        yield Mirror(f"BPP_{i}", f"WPP_{i + 1}", ("transpose", f"add:BPP_{i}.copy_error"), gate="copy")


def build_dendritic(circuit: Dendritic) -> Graph:
    """PAL's graph with fixed or copied feedback; where it is copied, BPI is its negative. Raises E320 to E325."""
    _check(circuit, "dendritic")
    graph = pal.build(_as_pal(circuit))
    negated = (Mirror(f"BPI_{i}", f"BPP_{i}", ("negate",), gate="copy") for i in range(circuit.hidden))
    mirrors = (*_copies(circuit, circuit.hidden), *(negated if circuit.variant == "BP" else ()))
    name = hyphenated("dendritic", circuit.layers)
    projections = graph.projections
    if circuit.variant == "BP" and not any(circuit.eta_PI):  # the copies decide: BPI need not learn
        fixed = replace(graph.synapse("lateral_inhibition"), name="copied_inhibition", rule=None)
        graph = graph.with_(synapses=(*graph.synapses, fixed) if circuit.hidden else graph.synapses)
        projections = tuple(replace(q, synapse="copied_inhibition", gate=None, parameters=())
                            if q.synapse == "lateral_inhibition" else q for q in projections)
    graph = graph.with_(name=name, gates=gates(circuit), mirrors=mirrors, projections=projections,
                        outputs=(("output", f"P{circuit.hidden}.rate"),))
    return with_delayed_target(graph, circuit.target_delay)


def build_dpc(circuit: Dpc) -> Graph:
    """Pyramidal cells with lateral inhibition from their own layer. Raises E320 to E325."""
    _check(circuit, "dpc")
    plain, H = pal.build(_as_pal(circuit)), circuit.hidden
    text = DPC_RULE + pal.FORWARD.format(low_pass_time="", low_pass="") + "".join(
        (pal.BOTTOM_UP, pal.top_down(), pal.INHIBITION, pal.TEACHING))
    kept = {p.name for p in plain.populations if not p.name.startswith("I")}
    cells = {p.cell for p in plain.populations if p.name in kept}
    projections = pal.forward_chain("P", per_layer(circuit, "eta_fw", H + 1))
    for i in range(H):
        eta = per_layer(circuit, "eta_PI", H)[i]
        projections += [Projection(f"BPP_{i}", "top_down", f"P{i + 1}", f"P{i}"),
                        Projection(f"BPI_{i}", "lateral_inhibition", f"P{i}", f"P{i}", delay=2, gate="learn_lateral",
                                   parameters=(("eta", eta),))]
    projections.append(Projection("target", "teaching", "teacher", f"P{H}"))
    graph = parse_graph(text).with_(
        name=hyphenated("dpc", circuit.layers), dt=circuit.dt, gates=gates(circuit),
        cells=tuple(c for c in plain.cells if c.name in cells),
        populations=tuple(p for p in plain.populations if p.name in kept), projections=tuple(projections),
        mirrors=tuple(_copies(circuit, H)), outputs=(("output", f"P{H}.rate"),), arrays=circuit.arrays)
    return with_delayed_target(graph, circuit.target_delay)


def build_ann(circuit: Ann) -> Graph:
    """Units and their errors, a step per layer each way. Raises E320 to E325."""
    _check(circuit, "ann")
    top, activations = circuit.hidden, per_layer(circuit, "activation", circuit.hidden + 1)
    names = {phi: f"unit_{phi}" if len(set(activations)) > 1 else "unit" for phi in activations}
    text = pal.SOURCE + BACKPROP + pal.TEACHING
    text += "".join(UNIT.format(suffix=name.removeprefix("unit"), phi=phi) for phi, name in names.items())
    L = range(top + 1)
    gain = circuit.gbas / (circuit.gl + circuit.gbas)
    populations = [Population("input", "source", circuit.layers[0], "input")]
    populations += [Population(f"R{i}", names[activations[i]], circuit.layers[i + 1], f"layer{i + 1}",
                               (("gain", gain),)) for i in L]
    populations += [Population(f"E{i}", "output_backprop_error" if i == top else "backprop_error",
                               circuit.layers[i + 1], f"layer{i + 1}") for i in L]
    populations.append(Population("teacher", "source", circuit.layers[-1], f"layer{top + 1}"))
    projections = pal.forward_chain("R", per_layer(circuit, "eta_fw", top + 1))
    projections += [Projection(f"BPP_{i}", "error_feedback", f"E{i + 1}", f"E{i}") for i in range(top)]
    for i in L:
        projections += [Projection(f"slope_{i}", "slope", f"R{i}", f"E{i}"),
                        Projection(f"error_{i}", "error", f"E{i}", f"R{i}")]
    projections += [Projection("output", "output", f"R{top}", f"E{top}"),
                    Projection("target", "teaching", "teacher", f"E{top}")]
    mirrors = tuple(Mirror(f"BPP_{i}", f"WPP_{i + 1}", ("transpose",), gate="copy") for i in range(top))
    graph = parse_graph(text).with_(
        name=hyphenated("ann", circuit.layers), dt=circuit.dt, gates=gates(circuit),
        populations=tuple(populations), projections=tuple(projections),
        mirrors=mirrors if circuit.variant == "BP" else (), outputs=(("output", f"R{top}.rate"),),
        arrays=circuit.arrays)
    return with_delayed_target(graph, circuit.target_delay)
