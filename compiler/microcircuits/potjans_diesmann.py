"""The cortical microcircuit of Potjans & Diesmann 2014 (Cereb Cortex 24:785): 77,169 cells, 0.3 G synapses.

An excitatory and an inhibitory population in each of the layers 2/3, 4, 5 and 6 under 1 mm^2 of early sensory cortex.
All cells are the same leaky integrate-and-fire cell with exponential currents. Between each pair of populations a total
number of synapses is drawn, with multapses, which follows from the published connection probabilities; weights and
delays are drawn around their means. Everything from outside is Poisson trains, or a constant current of the same mean.

`scale` keeps a share of the cells, `indegree_scale` a share of what each of them hears. Weights then grow by
1 / sqrt(indegree_scale), which keeps the variance of a cell's current, and a constant current makes up for what its
mean has lost, at the rates of the full network (`RATES`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import exp, log, log1p, sqrt
from typing import Any

from cortexc.compiler.ir import Graph, parse_circuit
from cortexc.compiler.microcircuits.parts import check_range, check_words

SIZES = {"L23E": 20683, "L23I": 5834, "L4E": 21915, "L4I": 5479, "L5E": 4850, "L5I": 1065, "L6E": 14395, "L6I": 2948}
EXTERNAL = {"L23E": 1600, "L23I": 1500, "L4E": 2100, "L4I": 1900, "L5E": 2000, "L5I": 1900, "L6E": 2900, "L6I": 2100}
"""Inputs of a cell from outside."""
RATES = {"L23E": 0.971, "L23I": 2.868, "L4E": 4.746, "L4I": 5.396, "L5E": 8.142, "L5I": 9.078, "L6E": 0.991,
         "L6I": 7.523}
"""Mean rates of the full network (Hz)."""
PROBABILITIES = (
    (0.1009, 0.1689, 0.0437, 0.0818, 0.0323, 0.0, 0.0076, 0.0),
    (0.1346, 0.1371, 0.0316, 0.0515, 0.0755, 0.0, 0.0042, 0.0),
    (0.0077, 0.0059, 0.0497, 0.1350, 0.0067, 0.0003, 0.0453, 0.0),
    (0.0691, 0.0029, 0.0794, 0.1597, 0.0033, 0.0, 0.1057, 0.0),
    (0.1004, 0.0622, 0.0505, 0.0057, 0.0831, 0.3726, 0.0204, 0.0),
    (0.0548, 0.0269, 0.0257, 0.0022, 0.0600, 0.3158, 0.0086, 0.0),
    (0.0156, 0.0066, 0.0211, 0.0166, 0.0572, 0.0197, 0.0396, 0.2252),
    (0.0364, 0.0010, 0.0034, 0.0005, 0.0277, 0.0080, 0.0658, 0.1443))
"""Of a pair of cells: target population (row) from source population (column), in the order of `SIZES`."""
CAPACITANCE, TAU_M, TAU_SYN = 250.0, 10.0, 0.5
"""Of every cell: pF, ms, ms."""
PSP, DEVIATION, G, EXTERNAL_RATE = 0.15, 0.1, -4.0, 8.0
"""Excitatory postsynaptic potential (mV), relative deviation of weights, inhibition over excitation, rate of every
input from outside (Hz)."""
DELAYS = {"E": (1.5, 0.75), "I": (0.75, 0.375)}
"""Mean and deviation by the kind of source (ms)."""


def excitatory_weight() -> float:
    """Peak of the current (pA) whose potential peaks at PSP: 87.8."""
    peak = log(TAU_M / TAU_SYN) * TAU_M * TAU_SYN / (TAU_M - TAU_SYN)
    rise = exp(-peak / TAU_M) - exp(-peak / TAU_SYN)
    return PSP * CAPACITANCE * (TAU_M - TAU_SYN) / (TAU_M * TAU_SYN * rise)


@dataclass(frozen=True)
class PotjansDiesmann:
    """Everything that fixes the circuit. Shares `scale` of the cells and `indegree_scale` of their inputs; drive
    `poisson` or `dc`; external_rate Hz per input. plastic: excitatory synapses follow additive STDP with
    `learning_rate`, from 0 to 3 times their mean. network_seed: of synapses, weights, delays and first voltages.
    """

    scale: float = 1.0
    indegree_scale: float = 1.0
    drive: str = "poisson"
    external_rate: float = EXTERNAL_RATE
    plastic: bool = False
    learning_rate: float = 0.01
    network_seed: int = 1
    dt: float = 0.1
    arrays: dict[str, Any] = field(default_factory=dict)

    @property
    def sizes(self) -> dict[str, int]:
        return {name: max(round(self.scale * size), 1) for name, size in SIZES.items()}

    @property
    def external(self) -> dict[str, int]:
        """Inputs from outside of every cell."""
        return {name: round(self.indegree_scale * number) for name, number in EXTERNAL.items()}

    @property
    def weight(self) -> float:
        """Mean excitatory weight (pA)."""
        return excitatory_weight() / sqrt(self.indegree_scale)

    def synapses(self, pre: str, post: str) -> int:
        """Of a projection."""
        return round(full_synapses(pre, post) * self.sizes[post] / SIZES[post] * self.indegree_scale)

    def weight_of(self, pre: str, post: str) -> float:
        """Mean weight of a projection (pA); from L4E to L2/3E it is doubled."""
        return self.weight * (G if pre.endswith("I") else 2.0 if (pre, post) == ("L4E", "L23E") else 1.0)

    def poisson_rate(self, name: str) -> float:
        """Spikes per s that come to a cell from outside as Poisson trains."""
        return self.external[name] * self.external_rate if self.drive == "poisson" else 0.0

    def bias(self, name: str) -> float:
        """Constant current of a cell (pA): the drive, if it is one, and what the scaling of its inputs has lost."""
        charge = 1e-3 * TAU_SYN
        within = sum(full_synapses(pre, name) / SIZES[name] * RATES[pre] * self.weight_of(pre, name) for pre in SIZES)
        outside = EXTERNAL[name] * self.external_rate * self.weight
        lost = (within + outside) * (sqrt(self.indegree_scale) - self.indegree_scale)
        drive = self.external[name] * self.external_rate * self.weight if self.drive == "dc" else 0.0
        return charge * (lost + drive)


def full_synapses(pre: str, post: str) -> float:
    """K = ln(1 - p) / ln(1 - 1 / (N_pre N_post)) of the full network."""
    names = list(SIZES)
    probability = PROBABILITIES[names.index(post)][names.index(pre)]
    return log1p(-probability) / log1p(-1.0 / (SIZES[pre] * SIZES[post]))


TEXT = """graph potjans_diesmann
  dt {dt}
cell lif = library.lif_exp
  parameter capacitance pF = {capacitance}
  parameter tau_m ms = {tau_m}
  parameter tau_excitatory ms = {tau_syn}
  parameter tau_inhibitory ms = {tau_syn}
  parameter v_rest mV = -65
  parameter v_reset mV = -65
  parameter v_threshold mV = -50
{external}{rule}synapse excitation
  message spike
  port excitatory
  connectivity sparse
  sign non_negative
{learns}synapse inhibition
  message spike
  port inhibitory
  connectivity sparse
  sign non_positive
"""
EXTERNAL_LINES = """  parameter rate Hz
  parameter weight pA = {weight}
  noise external poisson(rate * dt / 1000)
  jump i_excitatory = i_excitatory + excitatory + weight * external
"""
RULE = """rule stdp = library.stdp_additive
  parameter learning_rate 1 = {learning_rate}
  parameter w_max pA = {limit}
"""
LEARNS = """  limits 0 {limit}
  rule stdp
"""
POPULATION = """population {name} lif {size} area={area}
  v = normal(-58, 10) seed={seed}
  bias = {bias}
{more}"""
PROJECTION = """projection {post}_{pre} {kind} {pre} -> {post}
  connect fixed_total {number} seed={seed} autapses multapses
  w = normal({weight}, {deviation})
  delay = normal({mean} ms, {sd} ms)
"""


def build(circuit: PotjansDiesmann) -> Graph:
    """Raises E330, E331."""
    check_range("scale", circuit.scale, 1e-3, 1)
    check_range("indegree_scale", circuit.indegree_scale, 1e-3, 1)
    check_words("E331", ("drive of circuit 'potjans-diesmann'", circuit.drive, ("poisson", "dc")))
    own = {"limit": repr(3 * circuit.weight), "learning_rate": repr(circuit.learning_rate)}
    trains = circuit.drive == "poisson"
    text = TEXT.format(dt=circuit.dt, capacitance=CAPACITANCE, tau_m=TAU_M, tau_syn=TAU_SYN,
                       external=EXTERNAL_LINES.format(weight=circuit.weight) if trains else "",
                       rule=RULE.format(**own) if circuit.plastic else "",
                       learns=LEARNS.format(**own) if circuit.plastic else "")
    text += "".join(_population(circuit, name) for name in SIZES)
    text += "".join(_projection(circuit, pre, post) for post in SIZES for pre in SIZES if circuit.synapses(pre, post))
    return parse_circuit(text).with_(arrays=circuit.arrays)


def _population(circuit: PotjansDiesmann, name: str) -> str:
    rate = f"  rate = {circuit.poisson_rate(name)}\n" if circuit.drive == "poisson" else ""
    return POPULATION.format(name=name, size=circuit.sizes[name], area=name[:-1], seed=circuit.network_seed,
                             bias=circuit.bias(name), more=rate)


def _projection(circuit: PotjansDiesmann, pre: str, post: str) -> str:
    mean, sd = DELAYS[pre[-1]]
    weight = circuit.weight_of(pre, post)
    return PROJECTION.format(pre=pre, post=post, kind="excitation" if pre.endswith("E") else "inhibition",
                             number=circuit.synapses(pre, post), seed=circuit.network_seed, weight=weight,
                             deviation=abs(weight) * DEVIATION, mean=mean, sd=sd)
