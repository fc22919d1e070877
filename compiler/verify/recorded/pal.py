"""The published recordings of PAL.

Every depth, size, activation, variant, seed and option is read; an option that changes the equations and is not
modelled is refused by name. The names of the variables are in specs/pal.md section 4 and in the notes beside the
recordings.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from cortexc.compiler.backends.interpreter import Interpreter
from cortexc.compiler.ir import CortexError, Graph, parse, unknown
from cortexc.compiler.ir.model import cell_parameters
from cortexc.compiler.microcircuits import pal
from cortexc.compiler.verify.recorded.format import Arrays, Recording, Source, numbers, one_step_protocol, text_of
from cortexc.compiler.verify.recorded.options import (
    EVIDENCE,
    activations_of,
    count_steps,
    layer_sizes,
    number_of,
    numbers_of,
    present_sources,
    refuse,
    row_shape,
)
from cortexc.compiler.verify.runs import Setup, input_columns, noise_columns

NUMBERS = {"dt": "dt", "tauxi": "tau_xi", "tauHP": "tau_HP", "tauLO": "tau_LO", "gl": "gl", "gbas": "gbas",
           "gapi": "gapi", "gden": "gden", "gnI": "gnI", "gntgt": "gntgt", "taur": "taur"}
PER_LAYER = {"eta_fw": "eta_fw", "eta_IP": "eta_IP", "eta_PI": "eta_PI", "eta_bw": "eta_bw", "alpha": "alpha",
             "noise_scale": "sigma"}
"""Option -> field of `Pal`; all but `eta_fw` have one entry per hidden layer."""
NEEDED = ("layers", "model_type", "activation", "dt", "eta_fw", "eta_IP", "eta_PI")
NEEDED_IN_PAL = ("eta_bw", "alpha", "noise_scale")
FLAGS = {"dWPP_low_pass", "dWPP_use_activation", "pyr_hi_pass"}
ONLY: dict[str, Any] = {"bw_connection_mode": "layered", "inter_low_pass": False, "dWPP_r_low_pass": False,
                        "dWPP_post_low_pass": False}
ONLY_IN_PAL: dict[str, Any] = {"noise_type": "OU", "noise_mode": "const", "gate_regularizer": False,
                               "varphi_regularizer": False}
"""Options of which one value is modelled."""
ELSEWHERE = {"Tpres", "dataset_size", "epochs", "settling_time", "random_seed", "task", "noise_deg", "dtxi",
             "init_in_SPS", "input_signal", "copy_teacher_weights", "copy_teacher_voltages"}
"""Options that act through what is recorded anyway: inputs, targets, draws, first values."""
ELSEWHERE_PATTERN = re.compile(r"rec_\w+|init_\w+_range")
TEACHER = re.compile(r"teacher_\w+|input_unshuffled")


def pal_recording(name: str, arrays: Arrays, options: dict[str, Any]) -> Recording:
    circuit = replace(pal_circuit(options), arrays={})
    steps = count_steps(arrays)
    graph = with_start(pal_graph(circuit, options), circuit, arrays)
    flags = numbers(arrays, "flags", (steps, 3), "learn W, lateral, feedback and noise")
    target, gates = _targets(arrays, circuit, steps)
    gates |= dict(learn_forward=flags[:, 0], learn_lateral=flags[:, 1], learn_feedback=flags[:, 2], noise=flags[:, 2])
    inputs = {"input.value": numbers(arrays, "r0", (steps, circuit.layers[0])), "teacher.value": target}
    samples = np.concatenate([inputs[key] for key, _ in input_columns(graph)], axis=1)
    setup = Setup(graph, one_step_protocol(steps, gates), samples, noise=_white(graph, circuit, arrays, flags))
    sources = present_sources(pal_sources(circuit), arrays)
    expected = {key: numbers(arrays, key, (steps, *row_shape(graph, key, source)))
                for key, source in sources.items()}
    before = {key: numbers(arrays, "init_" + key.replace("_old", ""), expected[key].shape[1:])
              for key, source in sources.items() if source.kind == "before"}
    rest = tuple(sorted(key for key in arrays if TEACHER.fullmatch(key) or key not in _known(circuit)))
    evidence = text_of(arrays, "evidence") if "evidence" in arrays else EVIDENCE
    return Recording(name, setup, expected, sources, evidence, before, _time_constants(graph, circuit, arrays), rest,
                     circuit, arrays)


# ---- options


def pal_circuit(options: Mapping[str, Any]) -> pal.Pal:
    """The circuit that the options describe. Raises V105 unknown, V106 value, V107 missing option."""
    variant = options.get("model_type")
    in_pal = variant == "PAL"
    _refuse(options, in_pal)
    if variant not in pal.VARIANTS:
        raise unknown("V106", "option model_type", str(variant), pal.VARIANTS)
    layers = layer_sizes(options["layers"])
    hidden = len(layers) - 2
    values: dict[str, Any] = {field: number_of(option, options[option]) for option, field in NUMBERS.items()
                              if option in options}
    for option, field in PER_LAYER.items():
        if option in options and (in_pal or option not in NEEDED_IN_PAL):
            values[field] = numbers_of(option, options[option], hidden + (option == "eta_fw"))
    if in_pal and "dWPP_low_pass" in options:
        values["low_pass"] = options["dWPP_low_pass"]
    return pal.Pal(layers, str(variant), activations_of(options["activation"], hidden + 1),
                   use_activation=options.get("dWPP_use_activation", True), **values)


def _refuse(options: Mapping[str, Any], in_pal: bool) -> None:
    known = {*NUMBERS, *PER_LAYER, *NEEDED, *FLAGS, *ONLY, *ONLY_IN_PAL, *ELSEWHERE, "mc_model"}
    refuse(options, known, ELSEWHERE_PATTERN, ONLY | (ONLY_IN_PAL if in_pal else {}),
           (*NEEDED, *(NEEDED_IN_PAL if in_pal else ())))
    for option in FLAGS & set(options):
        if not isinstance(options[option], bool):
            raise CortexError("V106", f"option {option} = {options[option]!r} must be true or false.")
    if in_pal and options.get("dtxi", options["dt"]) != options["dt"]:
        raise CortexError("V106", f"option dtxi = {options['dtxi']} is not modelled; only dt ({options['dt']}) is.")


# ---- the graph and its start


def pal_graph(circuit: pal.Pal, options: Mapping[str, Any]) -> Graph:
    """The circuit that replays recorded draws; `pyr_hi_pass` false learns feedback from the rate as it is."""
    graph = pal.build(replace(circuit, noise="recorded"))
    if options.get("pyr_hi_pass", True) or circuit.variant != "PAL":
        return graph
    increment = parse("dt * eta * post.xi * pre.rate - dt * alpha * eta * w")
    return graph.with_(rules=tuple(replace(r, increment=increment) if r.name == "feedback_alignment" else r
                                   for r in graph.rules))


def with_start(graph: Graph, circuit: pal.Pal, arrays: Arrays) -> Graph:
    """Binds first voltages and weights, and every other first value that is not the one the graph starts from."""
    sources = {key: source for key, source in pal_sources(circuit).items() if source.kind == "now"}
    bound = {source.quantity: numbers(arrays, f"init_{key}", row_shape(graph, key, source), "a first value")
             for key, source in sources.items() if source.quantity.endswith((".u", ".w"))}
    _check_start(circuit, arrays, bound)
    graph = graph.with_(arrays=bound)
    start = Interpreter(graph).values
    states = {f"{p.name}.{s.name}" for p in graph.populations for s in graph.cell(p.cell).states}
    states |= {f"{q.name}.low_pass" for q in graph.projections}
    for key, source in sources.items():
        if f"init_{key}" in arrays and source.quantity in states - set(bound) and source.quantity in start:
            value = numbers(arrays, f"init_{key}", row_shape(graph, key, source))
            if np.abs(value - start[source.quantity][0]).max(initial=0.0) > 1e-12:
                bound[source.quantity] = value
    return graph.with_(arrays=bound)


def _check_start(circuit: pal.Pal, arrays: Arrays, bound: Arrays) -> None:
    """A graph has one value before the first step, so the look-ahead starts from rest."""
    for key in (f"{kind}_{i}" for kind in ("uP", "uI") for i in range(circuit.hidden + 1)):
        old, quantity = f"init_{key.replace('_', '_old_')}", f"{key[1]}{key[3:]}.u"
        if old in arrays and quantity in bound:
            gap = np.abs(numbers(arrays, old, bound[quantity].shape) - bound[quantity]).max(initial=0.0)
            if gap > 0:
                raise CortexError("V115", f"the recording starts in motion: '{old}' differs from 'init_{key}' by up to "
                                          f"{gap:.3g}, and a graph starts from one voltage.",
                                  "Record from the simulator's first call.")


def _targets(arrays: Arrays, circuit: pal.Pal, steps: int) -> tuple[np.ndarray, Arrays]:
    """(T, n_N) target voltages with 0 where there is none, and the column that says where there is one."""
    target = numbers(arrays, "u_tgt", (steps, circuit.layers[-1]), "target voltages, NaN where there is none", nan=True)
    absent = np.isnan(target)
    mixed = np.flatnonzero(absent.any(1) & ~absent.all(1))
    if len(mixed):
        raise CortexError("V114", f"row {mixed[0]} of 'u_tgt' gives a target to some of the output cells only "
                                  f"({len(mixed)} such rows).", "A row is a whole target or NaN throughout.")
    return np.where(absent, 0.0, target), {"target": ~absent.all(1)}


def _white(graph: Graph, circuit: pal.Pal, arrays: Arrays, flags: np.ndarray) -> np.ndarray:
    """(T, cells of the hidden layers); may be missing where nothing draws."""
    parts, steps = [], len(flags)
    for name, part in noise_columns(graph):
        layer = int(name.split(".")[0][1:])
        silent = not flags[:, 2].any() or f"white_{layer}" not in arrays and not any(circuit.sigma)
        parts.append(np.zeros((steps, part.stop - part.start)) if silent else numbers(
            arrays, f"white_{layer}", (steps, circuit.layers[layer + 1]), "the normal draws of a step"))
    return np.concatenate(parts, axis=1) if parts else np.zeros((steps, 0))


# ---- names


def pal_sources(circuit: pal.Pal) -> dict[str, Source]:
    """Every variable of the format -> where the graph has it."""
    found: dict[str, Source] = {}
    learns, H = circuit.variant == "PAL", circuit.hidden
    for i in range(H + 1):
        found |= _cell(f"P{i}", i, ("uP", "u"), ("uP_breve", "breve"), ("rP_breve", "rate"),
                       ("vbas", "basal_potential"), *([("rP_breve_HI", "rate_high_pass")] if learns else []))
        found[f"uP_old_{i}"] = Source(f"P{i}.u", "before")
        found |= _weights("WPP", i, True, circuit.filtered)
    for i in range(H):
        found |= _cell(f"P{i}", i, ("vapi", "apical_potential"),
                       *([("vapi_noise", "noisy_apical"), ("noise", "xi")] if learns else []))
        found |= _cell(f"I{i}", i, ("uI", "u"), ("uI_breve", "breve"), ("rI_breve", "rate"),
                       ("vden", "dendritic_potential"))
        found[f"uI_old_{i}"] = Source(f"I{i}.u", "before")
        found |= _weights("WIP", i, True) | _weights("BPP", i, learns) | _weights("BPI", i, True)
    return found | ({f"noise_{H}": Source(f"P{H}.u", "zero")} if learns else {})


def _cell(population: str, i: int, *pairs: tuple[str, str]) -> dict[str, Source]:
    return {f"{name}_{i}": Source(f"{population}.{quantity}") for name, quantity in pairs}


def _weights(kind: str, i: int, plastic: bool, low_pass: bool = False) -> dict[str, Source]:
    owner = f"{kind}_{i}"
    found = {owner: Source(f"{owner}.w"),
             f"d{owner}": Source(f"{owner}.increment") if plastic else Source(f"{owner}.w", "zero")}
    return found | ({f"d{kind}_LO_{i}": Source(f"{owner}.low_pass")} if low_pass else {})


def _known(circuit: pal.Pal) -> set[str]:
    """Arrays that serve the comparison."""
    names = (*pal_sources(circuit), "taueffP", "taueffP_notgt", "taueffI", "params_json", "evidence", "r0", "u_tgt",
                            "flags", *(f"white_{i}" for i in range(circuit.hidden)))
    return {*names, *(f"init_{name}" for name in names)}


def _time_constants(graph: Graph, circuit: pal.Pal, arrays: Arrays) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Name -> (the graph's, the recorded): effective time constants in ms."""
    H = circuit.hidden
    table = {p.name: cell_parameters(graph, p) for p in graph.populations}
    top = table[f"P{H}"]
    own = {"taueffP": [table[f"P{i}"]["tau"] for i in range(H + 1)], "taueffP_notgt": [1 / (top["gl"] + top["gbas"])]}
    own |= {"taueffI": [table[f"I{i}"]["tau"] for i in range(H)]}
    found = {}
    for name, values in own.items():
        if name in arrays:
            once = arrays[name].shape == (1,) and len(set(values)) == 1
            chosen = values[:1] if once else values
            found[name] = np.array(chosen), numbers(arrays, name, (len(chosen),), "time constants, ms")
    return found

