"""The sign-concordant spiking microcircuit: pyramidal, parvalbumin and somatostatin cells.

A reconstruction from the abstract of Yang & Li 2022 (arXiv 2205.07292): wiring and equations are those of
specs/sign_concordant.md sections 1 to 4, and the paper's own numbers are not claimed.

Layers 1 .. L of cells above the `image`. `PC1` .. are pyramidal cells, `PV1` .. and `SST1` .. interneurons that pass
their input on within the step, one of each per pyramidal cell. A pair of columns is joined by one of two types of
connectivity, drawn once. E-type: PC -> PC forward (`wE_l`), PC -> PC apical back (`cE_l`). I-type: PC -> PV -> PC
forward (`wI_l`), PC -> SST -> PC apical back (`cI_l`). All four are non-negative, so that feedback has the sign of the
forward path by structure. The apical potential of the top layer is the teacher's trace minus the cell's own,
minus the derivative of the Van Rossum distance.

Feedback `locked` is this circuit. The other policies let a pair change its sign, which two fixed types cannot say:
there a pair has one signed weight forward (`W_l`) and back (`B_l`): `FA` and `DFA` fixed at random, `frSF` and `uSF`
the sign of W times fixed magnitudes or one constant, `brSF` redrawn with every update, `BP` W itself (mirrors).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from cortexc.compiler.ir import CortexError, Graph, Mirror, Noise, Population, Projection, parse_graph
from cortexc.compiler.ir.protocol import Presentation
from cortexc.compiler.microcircuits.parts import check_words, hyphenated
from cortexc.compiler.microcircuits.sign_concordant_cells import (
    OPTIMISERS,
    SURROGATES,
    cell_name,
    cells,
    learning,
    rules,
    synapses,
)
from cortexc.compiler.microcircuits.sign_concordant_options import FEEDBACK, MESSAGES, SignConcordant


def build(circuit: SignConcordant) -> Graph:
    """The graph with the given arrays (`wE_1.w`, `wE_1.mask`, `cE_2.w` ... or `W_1.w`, `B_2.w` ...). Raises E310 to
    E316."""
    check(circuit)
    graph = parse_graph(cells(circuit) + rules(circuit) + synapses(circuit))
    return graph.with_(
        name=hyphenated("sign-concordant", circuit.layers), gates=gates(circuit),
        populations=tuple(_populations(circuit)), projections=tuple(_projections(circuit)),
        mirrors=tuple(_mirrors(circuit)), noise=Noise(circuit.noise),
        outputs=(("output", f"PC{circuit.top}.psc"),), arrays=circuit.arrays)


def check(circuit: SignConcordant) -> None:
    """Raises E310 to E316 for options that do not fit each other."""
    words = {"feedback": FEEDBACK, "message": MESSAGES, "trace": ("psc", "membrane"), "surrogate": SURROGATES,
             "optimiser": OPTIMISERS, "update": ("presentation", "step"), "timing": ("phase_locked", "pipelined")}
    check_words("E311", *((f"{what} of circuit 'sign-concordant'", getattr(circuit, what), known)
                          for what, known in words.items()))
    layers = circuit.shapes
    if len(circuit.eta) not in (1, circuit.top):
        raise CortexError("E312", f"'eta' has {len(circuit.eta)} entries, expected 1 or {circuit.top}.")
    if circuit.message == "two_line" and not circuit.locked:
        raise CortexError("E314", f"message 'two_line' needs the two types of connectivity; feedback "
                                  f"'{circuit.feedback}' has signed weights.", "Use feedback 'locked'.")
    if circuit.pipelined and circuit.update == "step":
        raise CortexError("E314", "updates at every step and pipelined timing exclude each other: increments of one "
                                  "step belong to different times of the sample.", "Use update 'presentation'.")
    if circuit.feedback == "DFA" and any(layer.maps and layer.maps[1:] != (1, 1) for layer in layers[1:-1]):
        raise CortexError("E314", "feedback 'DFA' goes to dense layers only.")
    _check_types(circuit)


def _check_types(circuit: SignConcordant) -> None:
    """Every pair has exactly one type of connectivity."""
    for forward in range(1, circuit.top + 1):
        for e, i in ((f"wE_{forward}.mask", f"wI_{forward}.mask"), (f"cE_{forward}.mask", f"cI_{forward}.mask")):
            if e not in circuit.arrays or i not in circuit.arrays:
                continue
            types = (circuit.arrays[e] != 0).astype(int) + (circuit.arrays[i] != 0)
            if (types != 1).any():
                at = tuple(int(k) for k in np.argwhere(types != 1)[0])
                count, both = int((types != 1).sum()), "both types" if types[at] == 2 else "no type"
                raise CortexError("E313", f"masks '{e}' and '{i}' give {both} to the pair {at} ({count} pairs in all).",
                                  "Every pair has one type of connectivity: the masks must be complementary.")


# ---- timing


def gates(circuit: SignConcordant) -> tuple[str, ...]:
    """`start` resets the cells, `teach` carries the target spikes, `learn` gates all rules, `apply` their updates;
    pipelined, every layer has its own `start_l` and `learn_l`."""
    own = [f"{name}_{layer}" for name in ("start", "learn") for layer in range(1, circuit.top + 1)]
    return ("start", "teach", *(own if circuit.pipelined else ["learn"]), "apply")


def presentation(circuit: SignConcordant, steps: int) -> Presentation:
    """How a sample of `steps` steps is presented: its prediction is the largest trace of the top layer, summed over
    the sample's steps. Pipelined, it takes 2 L steps more. Raises E315."""
    patterns = gate_patterns(circuit, steps)
    test = {name: pattern for name, pattern in patterns.items() if name.startswith("start")}
    late = circuit.top - 1 if circuit.pipelined else 0
    return Presentation(len(patterns["start"]), patterns, test, tuple(range(late, late + steps)))


def gate_patterns(circuit: SignConcordant, steps: int) -> Mapping[str, tuple[float, ...]]:
    """The gates of one training presentation. Raises E315 if it is too short for the target train."""
    length, teach = steps + (2 * circuit.top if circuit.pipelined else 0), target_train(steps)

    def window(first: int, count: int) -> tuple[float, ...]:
        return tuple(float(first <= t < first + count) for t in range(length))

    patterns = {"start": window(0, 1), "teach": teach + (0.0,) * (length - steps), "apply": window(length - 1, 1)}
    if circuit.update == "step":
        patterns["apply"] = (1.0,) * length
    if not circuit.pipelined:
        return patterns | {"learn": (1.0,) * length}
    for layer in range(1, circuit.top + 1):
        patterns |= {f"start_{layer}": window(layer - 1, 1),
                     f"learn_{layer}": window(2 * circuit.top - layer - 1, steps)}
    return patterns


def target_train(steps: int) -> tuple[float, ...]:
    """Spikes of the right class (specs/sign_concordant.md 3.1): 0,1,1,1,1, repeated below 10 steps; from there on 0
    and 1 in turn. Raises E315."""
    if steps < 5 or (steps >= 10 and steps % 10):
        raise CortexError("E315", f"a presentation of {steps} steps does not fit the target train: it takes 5 to 9 "
                                  "steps, or a multiple of 10.", "Set protocol.presentation_steps = 5.")
    return tuple(float(t % 5 > 0) if steps < 10 else float(t % 2) for t in range(steps))


# ---- populations and projections


def _populations(circuit: SignConcordant) -> list[Population]:
    layers, c = circuit.shapes, circuit
    membrane = {"tau_m": c.tau_m} if c.trace == "membrane" else {}
    result = [Population("image", "image", layers[0].size, "input", tuple({"tau_s": c.tau_s, **membrane}.items()))]
    values = {"tau_m": c.tau_m, "tau_s": c.tau_s, "threshold": c.threshold, "width": c.width}
    values |= {"theta": c.theta} if c.message == "spiking" else {}
    for i, layer in enumerate(layers[1:], 1):
        result.append(Population(f"PC{i}", cell_name(c, i), layer.size, f"layer{i}", tuple(values.items())))
        if c.locked:
            result.append(Population(f"PV{i}", "parvalbumin", layer.size, f"layer{i}"))
        if c.locked or i == c.top:
            result.append(Population(f"SST{i}", "somatostatin", layer.size, f"layer{i}"))
    return [*result, Population("teacher", "teacher", layers[-1].size, f"layer{c.top}", (("tau_s", c.tau_s),))]


def _projections(circuit: SignConcordant) -> list[Projection]:
    result: list[Projection] = []
    for i in range(1, circuit.top + 1):
        result += _forward(circuit, i)
        result += _backward(circuit, i) if i > 1 else []
    top = circuit.top
    return [*result,
            Projection("teaching", "teaching", "teacher", f"PC{top}", top if circuit.pipelined else 1),
            Projection("copy", "copy", f"PC{top}", f"SST{top}", 0),
            Projection(f"sst_{top}", "martinotti_inhibition", f"SST{top}", f"PC{top}", 0)]


def _forward(circuit: SignConcordant, i: int) -> list[Projection]:
    c, layer = circuit, circuit.shapes[i]
    end = f"_{i}" if c.pipelined else ""
    shared = dict(delay=1 if i == 1 or c.pipelined else 0, gate=f"learn{end}", apply="apply",
                  parameters=learning(c, i), convolution=layer.convolution)
    below, kind = (f"PC{i - 1}" if i > 1 else "image"), layer.connectivity
    if not c.locked:
        return [Projection(f"W_{i}", f"excitatory_{kind}{end}", below, f"PC{i}", **shared)]  # type: ignore[arg-type]
    modulation = [Projection(f"modulation_{i}", "modulation", f"PC{i}", f"PV{i}", 0)]
    if c.message == "two_line":
        modulation.append(Projection(f"modulation_negative_{i}", "modulation_negative", f"PC{i}", f"PV{i}", 0))
    return [Projection(f"wE_{i}", f"excitatory_{kind}{end}", below, f"PC{i}", **shared),  # type: ignore[arg-type]
            Projection(f"wI_{i}", f"disynaptic_{kind}{end}", below, f"PV{i}", **shared),  # type: ignore[arg-type]
            Projection(f"pv_{i}", "perisomatic_inhibition", f"PV{i}", f"PC{i}", 0), *modulation]


def _backward(circuit: SignConcordant, i: int) -> list[Projection]:
    """From layer i to the layer below it; `DFA` from the top layer."""
    c, kind = circuit, circuit.shapes[i].connectivity
    above, below, delay = f"PC{i}", i - 1, int(c.pipelined)
    if not c.locked:
        direct = c.feedback == "DFA"
        kind = "dense" if direct else kind
        hops = c.top - below if c.pipelined else 0
        return [Projection(f"B_{i}", f"apical_{kind}", f"PC{c.top}" if direct else above, f"PC{below}",
                           hops if direct else delay, convolution=None if direct else c.shapes[i].convolution)]
    cells, shape = (f"PC{below}", f"SST{below}"), c.shapes[i].convolution

    def pair(line: str, to_e: str, to_i: str) -> list[Projection]:
        classes = {f"PC{below}": f"apical_{kind}{line}", f"SST{below}": f"to_somatostatin_{kind}{line}"}
        return [Projection(f"cE{line}_{i}", classes[to_e], above, to_e, delay, convolution=shape),
                Projection(f"cI{line}_{i}", classes[to_i], above, to_i, delay, convolution=shape)]

    lines = pair("", *cells) + (pair("_negative", *cells[::-1]) if c.message == "two_line" else [])
    return [*lines, Projection(f"sst_{below}", "martinotti_inhibition", f"SST{below}", f"PC{below}", 0)]


def _mirrors(circuit: SignConcordant) -> list[Mirror]:
    """Weight transport of the policies that need it: of the sign, or of the weight."""
    if circuit.feedback in ("locked", "FA", "DFA"):
        return []
    result = []
    for i in range(2, circuit.top + 1):
        turned = () if circuit.shapes[i].convolution else ("transpose",)
        word, gate = ("redraw", "apply") if circuit.feedback == "brSF" else ("times", None)
        scaled = () if circuit.feedback == "BP" else ("sign", f"{word}:B_{i}.magnitude")
        result.append(Mirror(f"B_{i}", f"W_{i}", turned + scaled, True, gate))
    return result

