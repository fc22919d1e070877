"""Cell types, rules and synapse classes of the sign-concordant circuit, as text (specs/sign_concordant.md 2 to 4)."""

from __future__ import annotations

from cortexc.compiler.microcircuits.parts import identities, synapse
from cortexc.compiler.microcircuits.sign_concordant_options import SignConcordant

OPTIMISERS: dict[str, tuple[str, ...]] = {
    "none": (), "clipped": ("norm",), "adam": ("rate", "beta1", "beta2", "epsilon")}
"""What may be chosen -> the options that are its parameters."""
SURROGATES = {
    "logistic": "closeness / (width * (1 + closeness) * (1 + closeness))",
    "boxcar": "where(abs(u - threshold) < 0.5, 1, 0)"}

SOURCES = """
cell image
  input value
  parameter tau_s 1
{trace_parameter}  state kernel = 0
{states}{trace_state}  send kernel = where(gate.start > 0, 0, (1 - 1 / tau_s) * prev(kernel)) + 1 / tau_s
  send psc = value * kernel
{trace}  message psc
cell teacher
  input value
  parameter tau_s 1
  state psc = 0
  send spike = value * gate.teach
  send psc = where(gate.start > 0, 0, (1 - 1 / tau_s) * prev(psc)) + spike / tau_s
  message psc
"""

PYRAMIDAL = """
cell {name}
{ports}  parameter tau_m 1
  parameter tau_s 1
  parameter threshold 1
  parameter width 1
{parameters}  state u = 0
  state spike = 0
  state psc = 0
{states}  receive u = where({start} > 0, 0, (1 - 1 / tau_m) * prev(u) * (1 - prev(spike))) + {current} @ soma
  receive spike = where(u > threshold, 1, 0) @ soma
  receive psc = where({start} > 0, 0, (1 - 1 / tau_s) * prev(psc)) + spike / tau_s @ soma
{trace}  receive apical_potential = {apical} @ apical
  receive closeness = exp(-abs(u - threshold) / width) @ soma
  receive sensitivity = {surrogate} @ soma
  receive error = {error} @ apical
{lines}  message psc
  message error
"""

LINES = """  receive error_positive = max(error, 0) @ apical
  receive error_negative = max(-error, 0) @ apical
  message error_positive
  message error_negative
"""

INTERNEURONS = """
cell parvalbumin
  port dendrite @ dendrite
  port modulation @ soma
{ports}  receive rate = dendrite
  receive error = {error}
  message rate
cell somatostatin
  port soma @ soma
  receive rate = soma
  message rate
"""

RULES = """
rule hebbian
  parameter eta 1
{parameters}  increment eta * post.error * {trace}
{optimiser}
rule anti_hebbian
  parameter eta 1
{parameters}  increment eta * -post.error * {trace}
{optimiser}
"""


def cells(circuit: SignConcordant) -> str:
    membrane, pipelined = circuit.trace == "membrane", circuit.pipelined
    text = SOURCES.format(
        trace_parameter="  parameter tau_m 1\n" if membrane else "", states="  state psc = 0\n" if pipelined else "",
        trace_state="  state basal_trace = 0\n" if membrane else "", trace=_trace("gate.start", "send", membrane))
    names = dict.fromkeys(cell_name(circuit, layer) for layer in range(1, circuit.top + 1))
    layers = {cell_name(circuit, layer): layer for layer in range(circuit.top, 0, -1)}
    text += "".join(_pyramidal(circuit, layers[name]) for name in names)
    lines = circuit.message == "two_line"
    return text + INTERNEURONS.format(ports="  port modulation_negative @ soma\n" if lines else "",
                                      error="modulation - modulation_negative" if lines else "modulation")


def _trace(start: str, stage: str, membrane: bool) -> str:
    return f"  {stage} basal_trace = where({start} > 0, 0, (1 - 1 / tau_m) * prev(basal_trace)) + psc\n" \
        if membrane else ""


def cell_name(circuit: SignConcordant, layer: int) -> str:
    """Pipelined, every layer has its own delays and so its own cell type; with signed weights, only the top layer's
    apical dendrite is inhibited."""
    if circuit.pipelined:
        return f"pyramidal_{layer}"
    return "pyramidal" if circuit.locked or layer < circuit.top else "output_pyramidal"


def _pyramidal(circuit: SignConcordant, layer: int) -> str:
    membrane, lines, is_top = circuit.trace == "membrane", circuit.message == "two_line", layer == circuit.top
    ports = ["basal @ basal", *(["perisomatic @ soma"] if circuit.locked else []), "apical @ apical"]
    inhibited = circuit.locked or is_top
    ports += ["martinotti @ apical"] if inhibited else []
    delay = 2 * (circuit.top - layer) if circuit.pipelined else 0
    sensitivity = "prev(" * delay + "sensitivity" + ")" * delay
    states = [*(["sensitivity = 0"] if delay else []), *(["basal_trace = 0"] if membrane else []),
              *(["error = 0"] if circuit.pipelined else []),
              *(["error_positive = 0", "error_negative = 0"] if circuit.pipelined and lines else [])]
    message = f"{sensitivity} * apical_potential"
    spiking = circuit.message == "spiking"
    start = f"gate.start_{layer}" if circuit.pipelined else "gate.start"
    return PYRAMIDAL.format(
        name=cell_name(circuit, layer), ports="".join(f"  port {p}\n" for p in ports), start=start,
        parameters="  parameter theta 1\n  noise jitter uniform\n" if spiking else "",
        states="".join(f"  state {s}\n" for s in states), trace=_trace(start, "receive", membrane),
        current="(basal - perisomatic)" if circuit.locked else "basal",
        apical="apical - martinotti" if inhibited else "apical", surrogate=SURROGATES[circuit.surrogate],
        error=f"theta * floor({message} / theta + jitter)" if spiking else message, lines=LINES if lines else "")


def rules(circuit: SignConcordant) -> str:
    names = OPTIMISERS[circuit.optimiser]
    kind = "accumulate" if circuit.optimiser == "none" else f"{circuit.optimiser}({', '.join(names)})"
    learns = dict(parameters="".join(f"  parameter {name} 1\n" for name in names), optimiser=f"  optimiser {kind}")
    trace = "pre.psc" if circuit.trace == "psc" else "pre.basal_trace"
    if not circuit.pipelined:
        return RULES.format(**learns, trace=trace)
    text = ""
    for layer in range(1, circuit.top + 1):
        delay = 2 * (circuit.top - layer) + (layer > 1)
        own = RULES.format(**learns, trace="prev(" * delay + trace + ")" * delay)
        text += own.replace("hebbian\n", f"hebbian_{layer}\n")
    return text


def learning(circuit: SignConcordant, layer: int) -> tuple[tuple[str, float], ...]:
    """Parameters of a layer's rule."""
    eta = circuit.eta[0] if len(circuit.eta) == 1 else circuit.eta[layer - 1]
    return ("eta", eta), *((name, getattr(circuit, name)) for name in OPTIMISERS[circuit.optimiser])


def synapses(circuit: SignConcordant) -> str:
    """Synapse classes by connectivity; the signs and limits are theirs."""
    suffix = [f"_{layer}" for layer in range(1, circuit.top + 1)] if circuit.pipelined else [""]
    limits = dict(limits=f"0 {circuit.limit}", sign="non_negative") if circuit.locked else dict(
        limits=f"{-circuit.limit} {circuit.limit}")
    forward = [("excitatory", "basal", "hebbian")]
    forward += [("disynaptic", "dendrite", "anti_hebbian")] if circuit.locked else []
    text = ""
    for kind in dict.fromkeys(layer.connectivity for layer in circuit.shapes[1:]):
        text += "".join(synapse(f"{name}_{kind}{end}", "psc", port, connectivity=_masked(circuit, kind),
                                rule=f"{rule}{end}", **limits) for end in suffix for name, port, rule in forward)
        text += _feedback_synapses(circuit, kind)
    one_to_one = [("perisomatic_inhibition", "rate", "perisomatic"), ("modulation", "error", "modulation"),
                  ("martinotti_inhibition", "rate", "martinotti"), ("teaching", "psc", "apical"),
                  ("copy", "psc", "soma")]
    if circuit.message == "two_line":
        one_to_one[1:2] = [("modulation", "error_positive", "modulation"),
                           ("modulation_negative", "error_negative", "modulation_negative")]
    return text + identities(*one_to_one)


def _masked(circuit: SignConcordant, kind: str) -> str:
    return "masked" if kind == "dense" and circuit.locked else kind


def _feedback_synapses(circuit: SignConcordant, kind: str) -> str:
    back = kind if kind == "dense" else f"transposed_{kind}"
    lines = [("", "error_positive"), ("_negative", "error_negative")] if circuit.message == "two_line" else [
        ("", "error")]
    ends = [("apical", "apical"), ("to_somatostatin", "soma")] if circuit.locked else [("apical", "apical")]
    sign = "non_negative" if circuit.locked else ""
    return "".join(synapse(f"{end}_{kind}{line}", message, port, connectivity=_masked(circuit, back), sign=sign)
                   for line, message in lines for end, port in ends)
