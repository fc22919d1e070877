"""Cell types, synapse classes and rules of the error-neuron circuit, as text (specs/error_neuron.md 3 and 4)."""

from __future__ import annotations

from cortexc.compiler.microcircuits import pal
from cortexc.compiler.microcircuits.error_neuron_options import ErrorNeuron
from cortexc.compiler.microcircuits.parts import identities, synapse

SLOPES = {"logistic": "rate * (1.0 - rate)", "tanh": "1.0 - rate * rate"}
"""Derivative by the rate, where that saves a transcendental."""

ERROR = """
cell {name}
  port dendrite @ dendrite
  port modulation @ dendrite
{ports}  parameter tau ms
  parameter gden 1/ms
{parameters}  state u = 0
  state rate = {phi_u}
{states}  send breve = {breve}
  send rate = {phi_breve}
  receive dendritic_potential = {dendritic} @ dendrite
{noise}  receive drive = tau * gden * {noisy} @ soma
  receive u = prev(u) + dt * (drive - prev(u)) / tau @ soma
{companion}  message rate
"""

OUTPUT_ERROR = """
cell {name}
  port dendrite @ dendrite
{ports}  parameter tau ms
  parameter gntgt 1/ms
{parameters}  state u = 0
  state rate = {phi_u}
{states}  send breve = {breve}
  send rate = {phi_breve}
  receive drive = where(gate.target > 0, tau * gntgt * dendrite, 0.0) @ soma
  receive u = prev(u) + dt * (drive - prev(u)) / tau @ soma
{companion}  message rate
"""

COMPARISON = """
cell comparison
  port rate @ dendrite
  port slope @ dendrite
  port target @ dendrite
  receive difference = slope * (target - rate)
  message difference
"""

NOISE = """  receive noisy_dendrite = dendritic_potential + prev(xi) @ dendrite
  receive xi = where(gate.noise > 0, prev(xi) + (sqrt(dt * tau_xi) * sigma * white - dt * prev(xi)) / tau_xi, \
prev(xi)) @ dendrite
"""

HIGH_PASS = """  receive companion_rate = companion @ dendrite
  receive companion_high_pass = prev(companion_high_pass) + (companion_rate - prev(companion_rate)) \
- dt / tau_high_pass * prev(companion_high_pass) @ dendrite
  factor rate_high_pass = prev(rate_high_pass) + (rate - prev(rate)) - dt / tau_high_pass * prev(rate_high_pass)
"""

RELAXATION = """
rule relaxation
  parameter eta 1/ms
  state identity = 0
  update identity = prev(identity)
  increment -dt * eta * (w - identity)
"""

DECAYING_FORWARD = """
rule forward
  parameter eta 1/ms
  parameter decay 1
  increment dt * eta * (post.mismatch * prev(pre.rate) - decay * w)
"""

KOLEN_POLLACK = """
rule kolen_pollack
  parameter eta 1/ms
  parameter gain 1
  parameter decay 1
  increment dt * eta * (gain * prev(pre.rate) * prev(post.companion_rate) - decay * w)
"""



def activated(phi: str, gain: float, offset: float, x: str) -> str:
    """phi with gain and offset: gain multiplies the input of tanh and logistic, the output of the others."""
    shifted = f"({x} - {offset})" if offset else x
    if gain == 1:
        return f"{phi}({shifted})"
    return f"{phi}({gain} * {shifted})" if phi in ("tanh", "logistic") else f"{gain} * {phi}({shifted})"


def _lookahead(start: str = "prev(u)", before: str = "prev(prev(u))") -> str:
    return f"{before} + tau * ({start} - {before}) / dt"


def representation(circuit: ErrorNeuron, i: int) -> str:
    phi, gain, offset, ahead = (circuit.per_area(n)[i] for n in ("activation", "gain", "offset", "rep_lookahead"))
    derivative = (circuit.per_area("derivative") if circuit.derivative else circuit.per_area("activation"))[i]
    start, before = ("start", "prev(start)") if circuit.reset else ("prev(u)", "prev(prev(u))")

    def phi_of(x: str) -> str:
        return activated(phi, gain, offset, x)

    plain = ahead and derivative == phi and gain == 1 and not offset
    slope = SLOPES[phi] if plain and phi in SLOPES else f"d_{derivative}(breve)"
    mismatch = f"{'rate' if ahead else phi_of('breve')} - {phi_of('(attenuation * prev(basal_potential))')}"
    text = pal.HIDDEN.format(
        phi="PHI", suffix="", taur="", breve=_lookahead(start, before), parameters="", noise="", high_pass="",
        states="  state start = u\n" if circuit.reset else "", apical="apical_potential",
        rate_of="breve" if ahead else start, sends=f"  send slope = {slope}\n  message slope\n",
        mismatch=mismatch if circuit.use_activation else "breve - attenuation * prev(basal_potential)")
    for x in ("u", "breve", start):
        text = text.replace(f"PHI({x})", phi_of(x))
    if circuit.reset:
        text = text.replace("  send breve", "  send start = where(gate.reset > 0, 0.0, prev(u))\n  send breve")
        text = text.replace("u = prev(u) + dt * (drive - prev(u))", "u = start + dt * (drive - start)")
    return text.replace("cell hidden_pyramidal", "cell {name}")


def error_cell(circuit: ErrorNeuron, i: int) -> str:
    phi, ahead = circuit.per_area("error_activation")[i], circuit.per_area("error_lookahead")[i]
    top, noisy, knows = i == circuit.areas - 1, circuit.variant == "noise", circuit.learns_feedback
    parts = dict(
        name="{name}", breve=_lookahead(), phi_u=f"{phi}(u)", phi_breve=f"{phi}({'breve' if ahead else 'prev(u)'})",
        dendritic="modulation * dendrite" if circuit.transfer else "dendrite", ports="", parameters="", states="",
        noise="", noisy="dendritic_potential", companion="")
    if knows:
        parts |= dict(ports="  port companion @ dendrite\n", states="  state companion_rate = 0\n",
                      companion="  receive companion_rate = companion @ dendrite\n")
    if noisy:
        parts |= dict(parameters="  parameter tau_high_pass ms\n  parameter multiplex 1\n", companion=HIGH_PASS,
                      states="".join(f"  state {name} = 0\n" for name in (
                          "companion_rate", "companion_high_pass", "rate_high_pass")))
        parts["phi_breve"] += " + where(gate.noise > 0, multiplex * prev(companion_high_pass), 0.0)"
    if noisy and not top:
        parts["parameters"] += "  parameter sigma 1\n  parameter tau_xi ms\n  noise white normal\n"
        parts["states"] += "  state xi = 0\n"
        parts |= dict(noise=NOISE, noisy="where(gate.noise > 0, noisy_dendrite, dendritic_potential)")
    return (OUTPUT_ERROR if top else ERROR).format(**parts)


def rules(circuit: ErrorNeuron) -> str:
    noisy, kolen_pollack = circuit.variant == "noise", circuit.variant == "KP"
    forward = DECAYING_FORWARD if kolen_pollack else pal.FORWARD.format(
        low_pass_time="  parameter tau_low_pass ms\n" if noisy else "",
        low_pass="  optimiser low_pass(dt / tau_low_pass)\n" if noisy else "")
    feedback = {"noise": ("feedback_alignment", pal.FEEDBACK),
                "KP": ("kolen_pollack", KOLEN_POLLACK)}.get(circuit.variant)
    relax = ["relaxation" if any(rates) else "" for rates in (circuit.eta_IP, circuit.eta_PI)]
    text = forward + (feedback[1] if feedback else "") + (RELAXATION if any(relax) else "") + pal.BOTTOM_UP
    weighted = (("error_feedback", "rate", "dendrite", feedback[0] if feedback else ""),
                ("gating", "slope", "modulation", relax[0]), ("output_gating", "difference", "dendrite", relax[0]),
                ("error_to_apical", "rate", "apical", relax[1]))
    text += "".join(synapse(*row, rule=rule, role="per_seed") for *row, rule in weighted)
    text += identities(("output_rate", "rate", "rate"), ("output_slope", "slope", "slope"))
    equal = circuit.errors == circuit.layers[1:]
    companion = synapse("companion", "rate", "companion", connectivity="identity" if equal else "",
                        role="" if equal else "per_seed")
    return text + (companion if feedback else "") + pal.TEACHING
