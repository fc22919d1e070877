"""A rival reading of the sign-concordant microcircuit: error cells instead of apical errors (specs/sign_concordant.md
1.2, R2).

Three cell types: pyramidal cells `PC_l` that represent, and two error cells for each, `EP_l` for positive and `EN_l`
for negative errors, both of which send non-negative messages. Two types of connectivity, excitatory and inhibitory, fix
the sign of the forward and the feedback path of a pair. An error cell is gated by its pyramidal cell's sensitivity, and
teaches its pyramidal cell. A reconstruction like `sign_concordant`, with whose updates it agrees.
"""

from __future__ import annotations

from cortexc.compiler.ir import CortexError, Graph, Noise, Population, Projection, parse_graph
from cortexc.compiler.microcircuits.parts import hyphenated, identities, synapse
from cortexc.compiler.microcircuits.sign_concordant import check, gates
from cortexc.compiler.microcircuits.sign_concordant_cells import PYRAMIDAL, SOURCES, SURROGATES, learning, rules
from cortexc.compiler.microcircuits.sign_concordant_options import SignConcordant

PORTS = """  port basal @ basal
  port inhibition @ soma
  port positive @ apical
  port negative @ apical
"""

ERROR_CELL = """
cell error_cell
  port excitation @ soma
  port inhibition @ soma
  port gain @ soma
  receive error = max(gain * (excitation - inhibition), 0) @ soma
  message error
"""


def build_errors(circuit: SignConcordant) -> Graph:
    """The graph with the arrays of the first reading (`wE_1.w`, `cE_2.w` ...). Raises E310 to E316."""
    check(circuit)
    if not circuit.locked or circuit.message != "graded" or circuit.pipelined or circuit.trace != "psc":
        raise CortexError("E314", "circuit 'sign-concordant-errors' has feedback 'locked', graded messages, trace "
                                  "'psc' and phase-locked timing only.", "Use circuit 'sign-concordant'.")
    arrays = dict(circuit.arrays)
    for name, array in circuit.arrays.items():
        if name.startswith("c"):  # each feedback synapse has a twin: q+ and q- go crosswise to the two error cells
            arrays |= {name.replace("_", f"_{way}_", 1): array for way in ("pp", "pn", "np", "nn")}
            del arrays[name]
    graph = parse_graph(_cells(circuit) + rules(circuit) + _synapses(circuit))
    return graph.with_(
        name=hyphenated("sign-concordant-errors", circuit.layers), gates=gates(circuit),
        populations=tuple(_populations(circuit)), projections=tuple(_projections(circuit)),
        noise=Noise(circuit.noise), outputs=(("output", f"PC{circuit.top}.psc"),), arrays=arrays)


def _cells(circuit: SignConcordant) -> str:
    cell = PYRAMIDAL.format(
        name="pyramidal", ports=PORTS, start="gate.start", parameters="", states="", trace="", lines="",
        current="(basal - inhibition)", apical="positive - negative", surrogate=SURROGATES[circuit.surrogate],
        error="apical_potential")
    return SOURCES.format(trace_parameter="", states="", trace_state="", trace="") + cell.replace(
        "  message error\n", "  message sensitivity\n").replace("apical_potential", "received_error") + ERROR_CELL


def _synapses(circuit: SignConcordant) -> str:
    text = ""
    for kind in dict.fromkeys(layer.connectivity for layer in circuit.shapes[1:]):
        masked, back = ("masked", "masked") if kind == "dense" else (kind, f"transposed_{kind}")
        for name, port, rule in (("excitatory", "basal", "hebbian"), ("inhibitory", "inhibition", "anti_hebbian")):
            text += synapse(f"{name}_{kind}", "psc", port, connectivity=masked, rule=rule,
                            limits=f"0 {circuit.limit}", sign="non_negative")
        for port in ("excitation", "inhibition"):
            text += synapse(f"{port}_{kind}", "error", port, connectivity=back, sign="non_negative")
    return text + identities(("gating", "sensitivity", "gain"), ("teach_up", "error", "positive"),
                             ("teach_down", "error", "negative"), ("above", "psc", "excitation"),
                             ("below", "psc", "inhibition"))


def _populations(circuit: SignConcordant) -> list[Population]:
    layers, c = circuit.shapes, circuit
    result = [Population("image", "image", layers[0].size, "input", (("tau_s", c.tau_s),))]
    values = {"tau_m": c.tau_m, "tau_s": c.tau_s, "threshold": c.threshold, "width": c.width}
    for i, layer in enumerate(layers[1:], 1):
        result += [Population(f"PC{i}", "pyramidal", layer.size, f"layer{i}", tuple(values.items())),
                   Population(f"EP{i}", "error_cell", layer.size, f"layer{i}"),
                   Population(f"EN{i}", "error_cell", layer.size, f"layer{i}")]
    return [*result, Population("teacher", "teacher", layers[-1].size, f"layer{c.top}", (("tau_s", c.tau_s),))]


def _projections(circuit: SignConcordant) -> list[Projection]:
    c, top, result = circuit, circuit.top, []
    for i in range(1, top + 1):
        kind, shape = c.shapes[i].connectivity, c.shapes[i].convolution
        below = f"PC{i - 1}" if i > 1 else "image"
        result += [Projection(f"{name}_{i}", f"{kinds}_{kind}", below, f"PC{i}", int(i == 1), "learn", "apply",
                              learning(c, i), convolution=shape)
                   for name, kinds in (("wE", "excitatory"), ("wI", "inhibitory"))]
        result += [Projection(f"gating_{way}_{i}", "gating", f"PC{i}", f"E{way}{i}", 0) for way in "PN"]
        result += [Projection(f"teach_{way}_{i}", f"teach_{word}", f"E{way}{i}", f"PC{i}", 0)
                   for way, word in (("P", "up"), ("N", "down"))]
        for source, target in (("p", "p"), ("p", "n"), ("n", "p"), ("n", "n")) if i > 1 else ():
            ends = (f"E{source.upper()}{i}", f"E{target.upper()}{i - 1}", 0)
            ports = ("excitation", "inhibition") if source == target else ("inhibition", "excitation")
            result += [Projection(f"c{letter}_{source}{target}_{i}", f"{port}_{kind}", *ends, convolution=shape)
                       for letter, port in zip("EI", ports, strict=True)]
    return [*result, Projection("teacher_P", "above", "teacher", f"EP{top}"),
            Projection("own_P", "below", f"PC{top}", f"EP{top}", 0),
            Projection("own_N", "above", f"PC{top}", f"EN{top}", 0),
            Projection("teacher_N", "below", "teacher", f"EN{top}")]
