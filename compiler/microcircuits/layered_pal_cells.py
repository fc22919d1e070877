"""Cell types, rules and synapse classes of PAL's layer model, as text (specs/pal.md 5.3)."""

from __future__ import annotations

from collections.abc import Sequence

from cortexc.compiler.microcircuits.layers import Layer
from cortexc.compiler.microcircuits.pal import SOURCE
from cortexc.compiler.microcircuits.parts import identities, synapse

SLOPES = {"logistic": "best * (1 - best)", "tanh": "1 - best * best", "relu": "where(best > 0, 1, 0)", "linear": "1"}
"""phi' as a function of the rate."""

NOISELESS = "_noiseless"
"""Behind the names of cells that pixels without noise are, or that follow them."""

CONSTANT = """
cell constant
  send rate = 1
  message rate
"""

LAYER = """
cell {name}
  port basal @ basal
{ports}  parameter tau ms
{parameters}  state u = 0
  state rate = 0
  state slope = 0
  state error = 0
{states}  send transmitted = prev(rate)
  send reported = prev(error)
{sends}  receive lookahead = {drive} @ soma
  receive u = prev(u) + dt * (lookahead - prev(u)) / tau @ soma
  receive rate = {phi}(lookahead) @ soma
  receive slope = d_{phi}(lookahead) @ soma
  receive error = {error} @ soma
{factors}  message transmitted
  message {message}
{messages}"""

STRONGEST = """
cell {name}
{ports}{parameters}  state rate = 0
  state slope = 0
  state error = 0
{states}  send transmitted = prev(rate)
{sends}  receive best = {best} @ basal
{won}  receive rate = {rate} @ soma
  receive slope = {slope} @ soma
{receives}  message transmitted
{messages}"""

NOISE_PARAMETERS = """  parameter sigma 1
  parameter tau_xi ms
"""
NOISE_INPUT = "  noise white normal\n"
HIGH_PASS_PARAMETER = "  parameter tau_high_pass ms\n"
NOISE = "  send {xi} = prev({xi}) + (sqrt(dt * tau_xi) * sigma * white - dt * prev({xi})) / tau_xi\n"
HIGH_PASS = """  factor rate_high_pass = prev(rate_high_pass) + (rate - prev(rate)) \
- dt / tau_high_pass * prev(rate_high_pass)
"""

RULES = """
rule forward
  parameter eta 1/ms
  increment dt * eta * post.error * pre.transmitted
  optimiser accumulate
rule from_input
  parameter eta 1/ms
  increment dt * eta * post.error * pre.rate
  optimiser accumulate
"""
FEEDBACK = """
rule feedback_alignment
  parameter eta 1/ms
  parameter alpha 1
  increment dt * eta * post.xi * pre.rate_high_pass - dt * alpha * eta * w
  optimiser accumulate
"""


def cells(names: Sequence[str], variant: str) -> str:
    """Of `hidden_PHI`, `followed_PHI`, `output_PHI` and `strongest_PHI_SIDE`, some `_noiseless`."""
    text = SOURCE + CONSTANT
    for name in dict.fromkeys(names):
        kind, phi, *side = name.removesuffix(NOISELESS).split("_")
        text += _strongest(name, phi, int(side[0]), variant) if side else _layer(name, kind, phi, variant)
    return text


def _layer(name: str, kind: str, phi: str, variant: str) -> str:
    noisy, is_output, direct = variant == "PAL" and not name.endswith(NOISELESS), kind == "output", variant == "DFA"
    error = "slope * apical" if direct else "apical" if kind == "followed" else "prev(slope) * apical"
    return LAYER.format(
        name=name, phi=phi, ports="  port target @ soma\n" if is_output else "  port apical @ apical\n",
        parameters=("  parameter beta 1\n" if is_output else "")
        + (NOISE_PARAMETERS + HIGH_PASS_PARAMETER + NOISE_INPUT if noisy else ""),
        states="  state xi = 0\n  state rate_high_pass = 0\n" if noisy else "",
        sends=NOISE.format(xi="xi") if noisy else "",
        drive="basal + where(gate.noise > 0, xi, 0)" if noisy else "basal",
        error="where(gate.target > 0, beta * prev(slope) * (target - prev(rate)), 0)" if is_output else error,
        factors=HIGH_PASS if noisy else "", message="error" if direct else "reported",
        messages="  message xi\n" if noisy else "")


def _strongest(name: str, phi: str, side: int, variant: str) -> str:
    """Of several pixels that are alike the first is followed, row by row."""
    noisy, down, taps = variant == "PAL", variant != "DFA", range(side * side)
    passes = noisy and not name.endswith(NOISELESS)
    best, won = "tap_0", "  receive won_0 = where(tap_0 == best, 1, 0)\n  receive seen_0 = won_0\n"
    for k in taps[1:]:
        best = f"max({best}, tap_{k})"
        won += f"  receive won_{k} = where(tap_{k} == best, 1 - seen_{k - 1}, 0)\n"
        won += f"  receive seen_{k} = seen_{k - 1} + won_{k}\n"
    ports = [f"tap_{k} @ basal" for k in taps] + ([f"noise_{k} @ apical" for k in taps] if passes else [])
    passed = "".join(f"won_{k} * noise_{k} + " for k in taps) if passes else ""
    receives = f"  receive xi = {passed}own_noise @ apical\n" if noisy else ""
    receives += "  receive error = prev(slope) * apical @ apical\n" if down else ""
    receives += "".join(f"  receive error_{k} = won_{k} * error\n" for k in taps) if down else ""
    text = STRONGEST.format(
        name=name, ports="".join(f"  port {port}\n" for port in ports + (["apical @ apical"] if down else [])),
        parameters=NOISE_PARAMETERS + NOISE_INPUT if noisy else "", states="  state own_noise = 0\n" if noisy else "",
        sends=NOISE.format(xi="own_noise") if noisy else "", best=best, won=won, slope=SLOPES[phi], receives=receives,
        rate="best + where(gate.noise > 0, own_noise, 0)" if noisy else "best",
        messages="".join(f"  message error_{k}\n" for k in taps) if down else "")
    return text if down else text.replace("  state error = 0\n", "")


def rules(variant: str) -> str:
    return RULES + (FEEDBACK if variant == "PAL" else "")


def synapses(layers: Sequence[Layer], variant: str) -> str:
    """Synapse classes by connectivity; `layers` are those of cells."""
    text, own = identities(("teaching", "rate", "target")), dict(role="per_seed")
    for kind, back in dict.fromkeys((layer.connectivity, layer.backward) for layer in layers if not layer.strongest):
        text += synapse(f"bottom_up_{kind}", "transmitted", "basal", connectivity=kind, rule="forward", **own)
        text += "".join(synapse(f"{name}_{kind}", "rate", "basal", connectivity=kind, rule="from_input", **own)
                        for name in ("input", "bias"))
        learns = "feedback_alignment" if variant == "PAL" and kind == "dense" else ""
        if variant != "DFA":
            text += synapse(f"top_down_{kind}", "reported", "apical", connectivity=back, rule=learns, **own)
    if variant == "DFA":
        text += synapse("direct", "error", "apical", **own)
    return text + "".join(_taps(side, variant) for side in {layer.strongest for layer in layers} - {0})


def _taps(side: int, variant: str) -> str:
    rows = [(f"tap_{k}", "transmitted", f"tap_{k}") for k in range(side * side)]
    rows += [(f"noise_{k}", "xi", f"noise_{k}") for k in range(side * side)] if variant == "PAL" else []
    rows += [(f"won_{k}", f"error_{k}", "apical") for k in range(side * side)] if variant != "DFA" else []
    return "".join(synapse(*row, connectivity="sparse") for row in rows)
