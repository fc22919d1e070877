"""The error-neuron microcircuit: representation and error populations in every area (Max et al. 2026).

Equations and step order: specs/error_neuron.md sections 3 to 6. Areas 1 .. L above the `input`; `R0` .. `R{L-1}` are
their representation neurons, `E0` .. their error neurons. WPP carries rates up, BII errors down, WIP gates an area's
error neurons with the slope of its representation neurons' activation, and BPI brings the error into their apical
dendrites. At the top `comparison` subtracts the output from the target.

Wiring `layered` joins neighbouring areas (`WPP_1`, `BII_0`). `skip` joins every area with all areas above it, `areas`
those which the area matrix joins; there the projections are named by both ends: `WPP_2_0` ends in area index 2,
`WPP_1_in` comes from the input.

Variants differ in where BII comes from. `BP` copies the transpose of WPP plus a fixed error (non-local), `FA` keeps
it fixed. Learned from what is at the synapse, beyond the paper, and for that every error neuron hears the rate of its
representation neuron (`companion_0`): `noise` correlates noise in the error neurons of the lower area with the upper
area's fluctuations, which its error neurons send on with the error (the rule of Max et al. 2024, gates `noise` and
`learn_feedback`); `KP` repeats the forward update from the other side, both with the same decay (Kolen & Pollack).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from cortexc.compiler.ir import CortexError, Graph, Mirror, Noise, Population, Projection, parse_graph, unknown
from cortexc.compiler.ir.functions import ACTIVATIONS
from cortexc.compiler.microcircuits import pal
from cortexc.compiler.microcircuits.cartpole import with_cartpole
from cortexc.compiler.microcircuits.error_neuron_cells import COMPARISON, error_cell, representation, rules
from cortexc.compiler.microcircuits.error_neuron_options import AREA_MATRIX as AREA_MATRIX
from cortexc.compiler.microcircuits.error_neuron_options import ErrorNeuron as ErrorNeuron
from cortexc.compiler.microcircuits.parts import check_activations, check_words, hyphenated
from cortexc.compiler.microcircuits.targets import UNDELAYED, with_delayed_target

VARIANTS = ("BP", "FA", "noise", "KP")
WIRINGS = ("layered", "skip", "areas")
PLANTS = ("", "cartpole")
SKIP_RATES = ("all", "diagonal", "scaled")
GATES = ("learn_forward", "learn_lateral", "copy", "target")


def build(circuit: ErrorNeuron) -> Graph:
    """The graph with the given arrays (`WPP_0.w`, `BII_0.w`, `R0.u` ...). Raises E320 to E325."""
    check(circuit)
    cells, populations = _populations(circuit)
    graph = parse_graph(pal.SOURCE + COMPARISON + cells + rules(circuit))
    graph = graph.with_(
        name=hyphenated("error-neuron", circuit.layers), dt=circuit.dt, gates=gates(circuit), populations=populations,
        projections=tuple(_projections(circuit)), mirrors=tuple(copies(circuit)), noise=_noise(circuit),
        outputs=(("output", f"R{circuit.areas - 1}.rate"),), arrays=circuit.arrays)
    graph = with_delayed_target(graph, circuit.target_delay)
    return with_cartpole(graph, f"R{circuit.areas - 1}", circuit.action_scale) if circuit.plant else graph


def check(circuit: ErrorNeuron) -> None:
    """Raises E320 for an unknown word, E321 layers, E322 number of entries, E323 error layers, E324 area matrix, E325
    options that exclude each other."""
    own = "of circuit 'error-neuron'"
    check_words("E320", (f"variant {own}", circuit.variant, VARIANTS), (f"wiring {own}", circuit.wiring, WIRINGS),
                (f"skip_rates {own}", circuit.skip_rates, ("", *SKIP_RATES)))
    check_activations("E320", (*circuit.activation, *circuit.derivative, *circuit.error_activation), ACTIVATIONS)
    if len(circuit.layers) < 2 or min(circuit.layers) < 1:
        raise CortexError("E321", f"circuit 'error-neuron' needs an input and at least one area, none of them empty; "
                                  f"got layers {list(circuit.layers)}.")
    for name in ("activation", "gain", "offset", "error_activation", "eta_fw", "eta_IP", "eta_PI", "rep_lookahead",
                 "error_lookahead", *(["derivative"] if circuit.derivative else [])):
        circuit.per_area(name)
    if circuit.plant not in PLANTS:
        raise unknown("E320", "plant of circuit 'error-neuron'", circuit.plant, PLANTS[1:])
    if circuit.plant and (circuit.layers[0], circuit.layers[-1]) != (4, 1):
        raise CortexError("E326", f"plant 'cartpole' has 4 states and takes 1 force, but layers are "
                                  f"{list(circuit.layers)}.", "Begin with 4 cells and end with 1.")
    _check_errors(circuit)
    _check_areas(circuit)
    if circuit.target_delay < 0:
        raise CortexError("E325", f"target_delay is {circuit.target_delay} steps; the least is 0.")


def _check_errors(circuit: ErrorNeuron) -> None:
    if len(circuit.errors) != circuit.areas or min(circuit.errors) < 1:
        raise CortexError("E323", f"error_layers {list(circuit.error_layers)} do not fit layers "
                                  f"{list(circuit.layers)}: they need {circuit.areas} sizes, one per area above the "
                                  "input, none of them 0.")
    if circuit.learns_feedback and circuit.areas > 1:
        for name in ("eta_bw", "alpha", "sigma"):
            circuit.per_area(name, circuit.areas - 1)


def _check_areas(circuit: ErrorNeuron) -> None:
    matrix, count = circuit.area_matrix, circuit.areas
    if circuit.layered or circuit.wiring == "skip" and circuit.skip_rates != "scaled":
        return
    if any(len(row) != len(matrix) for row in matrix) or len(matrix) < count:
        rows = sorted({len(row) for row in matrix})
        raise CortexError("E324", f"the area matrix has {len(matrix)} rows of {rows} entries; {count} areas above the "
                                  f"input need a square matrix of at least {count} rows.",
                          "Give area_matrix, or wiring 'skip'.")
    for to in range(count):
        if to and not any(circuit.strength(to, k) for k in range(to)):
            raise CortexError("E324", f"the area matrix connects no lower area to area {to + 1}.")


def gates(circuit: ErrorNeuron) -> tuple[str, ...]:
    """`copy` refreshes copied feedback; `learn_feedback` and `noise` gate learned feedback."""
    learned = ("learn_feedback", *(("noise",) if circuit.variant == "noise" else ())) if circuit.learns_feedback else ()
    extra = (*(("reset",) if circuit.reset else ()), *((UNDELAYED,) if circuit.target_delay else ()))
    return (*GATES, *learned, *extra)


# ---- wiring


def _populations(circuit: ErrorNeuron) -> tuple[str, tuple[Population, ...]]:
    """The text of the cell types, equal ones once, and the populations that use them."""
    texts: dict[str, str] = {}

    def cell(kind: str, text: str) -> str:
        if text not in texts:
            alike = sum(name.startswith(kind) for name in texts.values())
            texts[text] = kind if not alike else f"{kind}_{alike + 1}"
        return texts[text]

    c, L = circuit, circuit.areas
    found = [Population("input", "source", c.layers[0], "input")]
    for i in range(L):
        values = dict(tau=1 / (c.gl + c.gbas + c.gapi), gbas=c.gbas, gapi=c.gapi,
                      attenuation=c.gbas / (c.gl + c.gbas + c.gapi))
        found.append(Population(f"R{i}", cell("representation", representation(c, i)), c.layers[i + 1],
                                f"area{i + 1}", tuple(values.items())))
    for i in range(L):
        top = i == L - 1
        values = dict(tau=1 / (c.gl + c.gntgt), gntgt=c.gntgt) if top else dict(tau=1 / (c.gl + c.gden), gden=c.gden)
        if c.variant == "noise":
            values |= dict(tau_high_pass=c.tau_HP, multiplex=c.multiplex)
            values |= {} if top else dict(sigma=c.per_area("sigma", L - 1)[i], tau_xi=c.tau_xi)
        kind = cell("output_error" if top else "error", error_cell(c, i))
        found.append(Population(f"E{i}", kind, c.errors[i], f"area{i + 1}", tuple(values.items())))
    found += [Population("comparison", "comparison", c.layers[-1], f"area{L}"),
              Population("teacher", "source", c.layers[-1], f"area{L}")]
    return "".join(text.replace("{name}", name) for text, name in texts.items()), tuple(found)


def _projections(circuit: ErrorNeuron) -> Iterator[Projection]:
    c, L = circuit, circuit.areas
    more = {"noise": {"tau_low_pass": c.tau_LO}, "KP": {"decay": c.decay}}.get(c.variant, {})
    for to, source in c.forward_pairs():
        yield Projection(c.forward_name(to, source), "bottom_up", "input" if source < 0 else f"R{source}", f"R{to}",
                         gate="learn_forward", parameters=tuple({"eta": c.forward_rate(to, source), **more}.items()))
    for i in range(L):
        relaxes = [c.per_area(name)[i] if any(getattr(c, name)) else None for name in ("eta_IP", "eta_PI")]
        yield _lateral(f"WIP_{i}", *(("output_gating", "comparison") if i == L - 1 else ("gating", f"R{i}")), f"E{i}",
                       relaxes[0], delay=int(i < L - 1))
        yield _lateral(f"BPI_{i}", "error_to_apical", f"E{i}", f"R{i}", relaxes[1])
        if c.learns_feedback:
            yield Projection(f"companion_{i}", "companion", f"R{i}", f"E{i}")
    for to, source in c.feedback_pairs():
        yield Projection(c.feedback_name(to, source), "error_feedback", f"E{source}", f"E{to}",
                         **_feedback_learning(c, to, source))
    top = f"R{L - 1}"
    yield Projection("output_rate", "output_rate", top, "comparison")
    yield Projection("output_slope", "output_slope", top, "comparison")
    yield Projection("target", "teaching", "teacher", "comparison")


def _lateral(name: str, synapse: str, pre: str, post: str, eta: float | None, delay: int = 1) -> Projection:
    if eta is None:
        return Projection(name, synapse, pre, post, delay)
    return Projection(name, synapse, pre, post, delay, gate="learn_lateral", parameters=(("eta", eta),))


def _feedback_learning(circuit: ErrorNeuron, to: int, source: int) -> Mapping:
    """Gate and parameters of a learned feedback projection."""
    c = circuit
    if c.variant == "noise":
        values = {"eta": c.per_area("eta_bw", c.areas - 1)[to], "alpha": c.per_area("alpha", c.areas - 1)[to]}
    elif c.variant == "KP":
        gain = c.gapi / (c.gl + c.gbas + c.gapi)
        values = {"eta": c.forward_rate(source, to), "gain": gain, "decay": c.decay}
    else:
        return {}
    return dict(gate="learn_feedback", parameters=tuple(values.items()))


def copies(circuit: ErrorNeuron) -> Iterator[Mirror]:
    """Copies of the forward weights, with their fixed error (`BII_0.copy_error`)."""
    if circuit.variant != "BP":
        return
    for to, source in circuit.feedback_pairs():
        if (source, to) in circuit.forward_pairs():
            name, forward = circuit.feedback_name(to, source), circuit.forward_name(source, to)
            ends = (to, source)
            cut = any(circuit.layers[i + 1] != circuit.errors[i] for i in ends)
            yield Mirror(name, forward, ("transpose", *(("truncate",) if cut else ()), f"add:{name}.copy_error"),
                         gate="copy")


def _noise(circuit: ErrorNeuron) -> Noise:
    if circuit.variant != "noise":
        return Noise()
    return Noise(circuit.noise, tuple(f"E{i}" for i in range(circuit.areas - 1)), "noise")
