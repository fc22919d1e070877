"""What NEST's models are called in the library, with NEST's names and defaults of their parameters.

Source: the documentation of NEST 3.10.0 (nest-simulator.readthedocs.io), checked against recordings.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import inf

from cortexc.compiler.ir import CortexError

Given = Mapping[str, float]
"""Parameters by NEST's names, all of them."""
Names = dict[str, tuple[str, float]]
"""NEST's name -> (ours, NEST's default)."""

LIMIT = 1e-9
"""Of every error: mV, pA, nS, weights relative to themselves."""
FEHLBERG = "  integrator rk5\n"
"""NEST solves conductance-based cells by Runge-Kutta-Fehlberg steps of order 5; the library's have order 4."""
ONE_STEP = 1e-2
"""NEST's adaptive cells look for their threshold after every step of their integrator. With this tolerance
(gsl_error_tol) or more, and fine resolutions, it takes one per step; otherwise voltages are not compared."""
TRACES: dict[str, float] = {"tau_minus": 20.0, "tau_minus_triplet": 110.0}
"""What NEST's cells keep for plasticity."""


@dataclass(frozen=True)
class CellModel:
    """`states`: recorded quantity -> ours; `start`: our states -> their first values, unless the recording has them;
    `only`: parameters of which one value is modelled; `coarsest`: the longest step (ms) in which NEST's
    integrator takes one of its own."""

    part: str
    ports: tuple[str, ...]
    parameters: Names
    states: dict[str, str]
    start: dict[str, float]
    only: dict[str, float] = field(default_factory=dict)
    coarsest: float = inf
    sizes: bool = False
    """Whether the weights of inhibitory synapses are sizes: negative ones change their sign."""
    solver: dict[str, float] = field(default_factory=dict)
    """Parameters of NEST's integrator."""
    first: dict[str, str] = field(default_factory=lambda: {"V_m": "v"})
    """Parameters that are first values -> our states."""
    lines: str = ""
    """What the cell has beside the library's lines."""
    shared: dict[str, float] = field(default_factory=lambda: dict(TRACES))
    """Parameters that its plastic synapses use."""
    plastic: str = ""
    """The port of plastic synapses, where it is not the first one."""
    fed: bool = False
    """Whether it draws its spikes: those that were recorded are given to it, by its input `fired`."""

    def compared(self, given: Given) -> dict[str, str]:
        """Those of `states` that the two sides have alike."""
        substeps = given.get("gsl_error_tol", ONE_STEP) < ONE_STEP
        return {theirs: ours for theirs, ours in self.states.items() if not substeps or theirs in ("g_ex", "g_in")}


@dataclass(frozen=True)
class RuleModel:
    """`part`: the library's rule; `parameters`: its parameters by NEST's names, beside those that are `computed`;
    `first`: per-synapse states that do not begin as the rule says; `bounds`: limits of the weights. What is a name
    stands for NEST's parameter, of the synapse or of the traces of the cell."""

    part: str
    defaults: dict[str, float]
    parameters: Mapping[str, str]
    first: Mapping[str, str | float]
    bounds: tuple[str | float, str | float] = (0.0, inf)
    only: dict[str, float] = field(default_factory=dict)
    computed: Callable[[Given], dict[str, float]] = lambda given: {}
    rewarded: bool = False
    """Whether a volume transmitter brings dopamine."""
    reads: Mapping[str, float] = field(default_factory=dict)
    """What the rule reads of the postsynaptic cell beside its spikes -> its value before the first step."""

    def values(self, given: Given) -> dict[str, float]:
        return {ours: given[theirs] for ours, theirs in self.parameters.items()} | self.computed(given)


def number(given: Given, value: str | float) -> float:
    return given[value] if isinstance(value, str) else value


TWO = ("excitatory", "inhibitory")
MEMBRANE: Names = {"C_m": ("capacitance", 250.0), "t_ref": ("t_refractory", 2.0), "E_L": ("v_rest", -70.0),
                   "V_reset": ("v_reset", -70.0), "V_th": ("v_threshold", -55.0), "I_e": ("bias", 0.0)}
LEAKY: Names = {**MEMBRANE, "tau_m": ("tau_m", 10.0)}
SYNAPSES: Names = {"tau_syn_ex": ("tau_excitatory", 2.0), "tau_syn_in": ("tau_inhibitory", 2.0)}
QUICK: Names = {"tau_syn_ex": ("tau_excitatory", 0.2), "tau_syn_in": ("tau_inhibitory", 2.0)}
REVERSALS: Names = {"E_ex": ("e_excitatory", 0.0), "E_in": ("e_inhibitory", -85.0), **QUICK}
LEAKY_CONDUCTANCE: Names = {**MEMBRANE, **REVERSALS, "g_L": ("leak", 16.6667), "V_reset": ("v_reset", -60.0)}
ADAPTIVE: Names = {
    **LEAKY_CONDUCTANCE, "C_m": ("capacitance", 281.0), "g_L": ("leak", 30.0), "E_L": ("v_rest", -70.6),
    "V_th": ("v_threshold", -50.4), "V_peak": ("v_peak", 0.0), "t_ref": ("t_refractory", 0.0),
    "Delta_T": ("slope", 2.0), "tau_w": ("tau_w", 144.0), "a": ("a", 4.0), "b": ("b", 80.5)}
CONDUCTANCES = {"V_m": "v", "g_ex": "g_excitatory", "g_in": "g_inhibitory"}
ADAPTING = {**CONDUCTANCES, "w": "adaptation"}
STEEP = 0.02
"""ms: membranes of Hodgkin and Huxley that spike need finer steps of NEST's integrator above."""
HODGKIN_HUXLEY: Names = {
    "C_m": ("capacitance", 100.0), "g_Na": ("g_na", 12000.0), "g_K": ("g_k", 3600.0), "g_L": ("g_leak", 30.0),
    "E_Na": ("e_na", 50.0), "E_K": ("e_k", -77.0), "E_L": ("e_leak", -54.402), "t_ref": ("t_refractory", 2.0),
    "I_e": ("bias", 0.0), **QUICK}
RESTING = {"v": -65.0, "m": 0.05293248525724958, "h": 0.5961207535084603, "n": 0.3176769140606974}
LOW_PASSED = """  integrator rk5
  parameter tau_u_plus ms = 114
  parameter tau_u_minus ms = 10
  state u_plus = v
  state u_minus = v
  receive du_plus/dt = (v - u_plus) / tau_u_plus @ soma
  receive du_minus/dt = (v - u_minus) / tau_u_minus @ soma
""" + "".join(f"  state {name}_told = -1000\n  receive {name}_told = {name}\n  message {name}_told late\n"
              for name in ("v", "u_plus", "u_minus"))
"""Before the first step NEST has told its synapses of no voltage."""
TOLERANCE = {"gsl_error_tol": 1e-6}
TAUGHT = FEHLBERG + """  input fired
  spike when fired > 0
  state mismatch_told = 0
  receive mismatch_told = mismatch
  message mismatch_told late
"""
TWO_COMPARTMENTS: Names = {
    "C_m.s": ("capacitance", 300.0), "g_L.s": ("leak", 30.0), "E_L.s": ("v_rest", -70.0), "I_e.s": ("bias", 0.0),
    "E_ex.s": ("e_excitatory", 0.0), "E_in.s": ("e_inhibitory", -75.0), "tau_syn_ex.s": ("tau_excitatory", 3.0),
    "tau_syn_in.s": ("tau_inhibitory", 3.0), "C_m.p": ("dendrite_capacitance", 300.0), "g_L.p": ("dendrite_leak", 30.0),
    "E_L.p": ("dendrite_rest", -70.0), "tau_syn_ex.p": ("tau_dendritic", 3.0), "I_e.p": ("dendrite_bias", 0.0),
    "g_sp": ("coupling", 600.0), "g_ps": ("back_coupling", 0.0), "phi_max": ("phi_max", 0.15), "rate_slope": ("k", 0.5),
    "beta": ("beta", 1 / 3), "theta": ("theta", -55.0), "t_ref": ("t_refractory", 3.0)}
"""NEST's nested parameters by the suffixes of its recordables: `.s` of the soma, `.p` of the dendrite."""
CURRENTS = {"V_m": "v", "I_syn_ex": "i_excitatory", "I_syn_in": "i_inhibitory"}

CELLS: dict[str, CellModel] = {
    "iaf_psc_exp": CellModel("lif_exp", TWO, LEAKY | SYNAPSES, CURRENTS, {"v": -70.0},
                             {"rho": 0.01, "delta": 0.0}),
    "iaf_psc_alpha": CellModel("lif_alpha", TWO, LEAKY | SYNAPSES, CURRENTS, {"v": -70.0}),
    "iaf_psc_delta": CellModel("lif_delta", ("synapses",), LEAKY, {"V_m": "v"}, {"v": -70.0},
                               {"refractory_input": 0.0}),
    "izhikevich": CellModel("izhikevich", ("synapses",), {
        "a": ("a", 0.02), "b": ("b", 0.2), "c": ("c", -65.0), "d": ("d", 8.0), "I_e": ("bias", 0.0),
        "V_th": ("v_peak", 30.0)}, {"V_m": "v", "U_m": "u"}, {"v": -65.0, "u": -13.0}, {"consistent_integration": 1.0}),
    "hh_psc_alpha_clopath": CellModel("hodgkin_huxley_alpha", TWO, {
        **HODGKIN_HUXLEY, "tau_u_bar_plus": ("tau_u_plus", 114.0), "tau_u_bar_minus": ("tau_u_minus", 10.0)}, {
        **CURRENTS, "u_bar_plus": "u_plus", "u_bar_minus": "u_minus"}, {**RESTING, "u_plus": 0.0, "u_minus": 0.0}, {
        "A_LTD_const": 1.0}, STEEP, first={"V_m": "v", "u_bar_plus": "u_plus", "u_bar_minus": "u_minus"},
        lines=LOW_PASSED, shared={"A_LTP": 8e-5, "A_LTD": 14e-5, "theta_plus": -45.3, "theta_minus": -70.6,
                                  "delay_u_bars": 5.0}),
    "iaf_cond_exp": CellModel("lif_cond_exp", TWO, LEAKY_CONDUCTANCE, CONDUCTANCES, {"v": -70.0}, sizes=True,
                              lines=FEHLBERG),
    "iaf_cond_alpha": CellModel("lif_cond_alpha", TWO, LEAKY_CONDUCTANCE, CONDUCTANCES, {"v": -70.0}, sizes=True,
                              lines=FEHLBERG),
    "aeif_cond_exp": CellModel("adex", TWO, ADAPTIVE, ADAPTING, {"v": -70.6}, sizes=True, solver=TOLERANCE,
                               lines=FEHLBERG),
    "aeif_cond_alpha": CellModel("adex_alpha", TWO, ADAPTIVE, ADAPTING, {"v": -70.6}, sizes=True, solver=TOLERANCE,
                                 lines=FEHLBERG),
    "hh_psc_alpha": CellModel("hodgkin_huxley_alpha", TWO, HODGKIN_HUXLEY, {
        **CURRENTS, "Act_m": "m", "Inact_h": "h", "Act_n": "n"}, RESTING, coarsest=STEEP,
        lines=FEHLBERG),
    "pp_cond_exp_mc_urbanczik": CellModel(
        "urbanczik_senn_cell", TWO, TWO_COMPARTMENTS,
        {"V_m": "v", "V_m.p": "v_dendrite", "g_ex.s": "g_excitatory", "g_in.s": "g_inhibitory",
         "I_ex.p": "i_dendritic"},
        {"v": -70.0, "v_dendrite": -70.0}, sizes=True, lines=TAUGHT,
        first={"V_m.s": "v", "V_m.p": "v_dendrite"}, shared={"C_m.p": 300.0, "g_L.p": 30.0, "tau_syn_ex.p": 3.0},
        plastic="dendritic", fed=True)}


def _rates(given: Given) -> dict[str, float]:
    """NEST's learning rate has 15^2 beside the membrane's constants."""
    tau = given["C_m.p"] / given["g_L.p"]
    return {"learning_rate": 225.0 * given["eta"] * tau * given["tau_syn_ex.p"], "tau_l": tau}


def _facilitation(given: Given) -> dict[str, float]:
    if given["u"] != given["U"]:
        raise CortexError("V106", f"option u = {given['u']} is not modelled; only that of U, {given['U']}, is.")
    return {"tau_fac": max(given["tau_fac"], 1e-9)}


PAIR = {"Kplus": 0.0, "tau_plus": 20.0, "lambda": 0.01, "alpha": 1.0, "mu_plus": 1.0, "mu_minus": 1.0, "Wmax": 100.0}
PAIRED = {"learning_rate": "lambda", "asymmetry": "alpha", "w_max": "Wmax", **{
    name: name for name in ("mu_plus", "mu_minus", "tau_plus", "tau_minus")}}
RULES: dict[str, RuleModel] = {
    "stdp_synapse": RuleModel("stdp", PAIR, PAIRED, {"x": "Kplus"}),
    "stdp_nn_symm_synapse": RuleModel("stdp_nearest", PAIR, PAIRED, {"x": 1.0}),
    "stdp_pl_synapse_hom": RuleModel(
        "stdp_power_law", {"Kplus": 0.0, "tau_plus": 20.0, "lambda": 0.1, "alpha": 1.0, "mu": 0.4},
        {"learning_rate": "lambda", "asymmetry": "alpha", "mu": "mu", "tau_plus": "tau_plus",
         "tau_minus": "tau_minus"}, {"x": "Kplus"}),
    "stdp_triplet_synapse": RuleModel(
        "stdp_triplet", {
            "tau_plus": 16.8, "tau_plus_triplet": 101.0, "Aplus": 5e-10, "Aplus_triplet": 6.2e-3, "Aminus": 7e-3,
            "Aminus_triplet": 2.3e-4, "Wmax": 100.0, "Kplus": 0.0, "Kplus_triplet": 0.0},
        {"a2_plus": "Aplus", "a3_plus": "Aplus_triplet", "a2_minus": "Aminus", "a3_minus": "Aminus_triplet",
         "w_max": "Wmax", "tau_plus": "tau_plus", "tau_x": "tau_plus_triplet", "tau_minus": "tau_minus",
         "tau_y": "tau_minus_triplet"}, {"x1": "Kplus", "x2": "Kplus_triplet"}),
    "stdp_dopamine_synapse": RuleModel(
        "stdp_dopamine", {"Kplus": 0.0, "c": 0.0, "A_plus": 1.0, "A_minus": 1.5, "tau_plus": 20.0, "tau_c": 1000.0,
                          "tau_n": 200.0, "b": 0.0, "Wmin": 0.0, "Wmax": 200.0},
        {"a_plus": "A_plus", "a_minus": "A_minus", "baseline": "b", "tau_plus": "tau_plus", "tau_minus": "tau_minus",
         "tau_c": "tau_c", "tau_n": "tau_n"}, {"x": "Kplus", "c": "c"}, ("Wmin", "Wmax"), {"n": 0.0}, rewarded=True),
    "vogels_sprekeler_synapse": RuleModel(
        "vogels_sprekeler", {"tau": 20.0, "eta": 0.001, "alpha": 0.12, "Wmax": 1.0, "Kplus": 0.0},
        {"learning_rate": "eta", "alpha": "alpha", "w_max": "Wmax", "tau": "tau"}, {"x": "Kplus"}, (0.0, "Wmax")),
    "clopath_synapse": RuleModel(
        "clopath", {"tau_x": 15.0, "x_bar": 0.0, "Wmin": 0.0, "Wmax": 100.0},
        {"a_ltp": "A_LTP", "a_ltd": "A_LTD", "tau_x": "tau_x", "theta_plus": "theta_plus",
         "theta_minus": "theta_minus"}, {"x": "x_bar"}, ("Wmin", "Wmax"),
        reads=dict.fromkeys(("v", "u_plus", "u_minus"), -1000.0)),
    "urbanczik_synapse": RuleModel(
        "urbanczik_senn_exact", {"eta": 0.07, "tau_Delta": 100.0, "Wmin": 0.0, "Wmax": 100.0},
        {"tau_s": "tau_syn_ex.p", "tau_delta": "tau_Delta"}, {}, ("Wmin", "Wmax"), computed=_rates,
        reads={"mismatch": 0.0}),
    "tsodyks2_synapse": RuleModel(
        "tsodyks_markram", {"U": 0.5, "u": 0.5, "x": 1.0, "tau_rec": 800.0, "tau_fac": 0.0},
        {"U": "U", "tau_rec": "tau_rec"}, {}, only={"x": 1.0}, computed=_facilitation)}
