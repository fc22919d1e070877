"""The published recordings of the error-neuron circuit and of those it is compared with (`errormc_*.npz`).

Every depth, size, wiring, activation and variant is read; an option that changes the equations and is not modelled is
refused by name. The names of the variables are in the notes beside the recordings, those of the options in
specs/error_neuron.md.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from cortexc.compiler.backends.interpreter import Interpreter
from cortexc.compiler.ir import CortexError, Graph, unknown
from cortexc.compiler.ir.functions import VECTOR
from cortexc.compiler.microcircuits import error_neuron, rivals
from cortexc.compiler.microcircuits.error_neuron import ErrorNeuron
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
from cortexc.compiler.verify.runs import Setup, input_columns

Circuit = ErrorNeuron | rivals.Rival

CONDUCTANCES = ("dt", "gl", "gbas", "gapi", "gden", "gnI", "gntgt")
NEEDED = ("mc_model", "model_type", "layers", "activation", "dt", "eta_fw")
WORDS = ("eta_IP", "eta_PI", "varphi_transfer", "dWPP_use_activation", "error_layers", "error_activation",
         "fw_connection_mode", "bw_connection_mode", "eta_fw_conversion", "init_realistic_connectivity",
         "rep_lookahead", "error_lookahead")
ONLY: dict[str, Any] = {"dWPP_low_pass": False, "dWPP_post_low_pass": False, "dWPP_r_low_pass": False,
                        "inter_low_pass": False, "taur": 1}
"""Options of which one value is modelled."""
ELSEWHERE = {"Tpres", "WT_noise", "alpha", "copy_teacher_voltages", "copy_teacher_weights", "dataset_size", "dtxi",
             "epochs", "eta_bw", "gate_regularizer", "input_signal", "noise_deg", "noise_mode", "noise_scale",
             "noise_type", "pyr_hi_pass", "random_seed", "settling_time", "tauHP", "tauLO", "tauxi", "task",
             "init_in_SPS", "init_BPI_identity", "init_WIP_identity"}
"""Options that act through what is recorded anyway (first values, inputs, targets), or that no circuit here reads."""
ELSEWHERE_PATTERN = re.compile(r"rec_\w+|init_\w+_range|\w+_skip_connection_range")
RENAMED = {"soft_relu": "sharp_soft_relu"}
RATES = {"fill_diag": "diagonal", "fill_all": "all", "fill_scaled": "scaled"}
FLAGS = ("learn_weights", "learn_lat_weights", "learn_bw_weights")


def error_recording(name: str, arrays: Arrays, options: dict[str, Any]) -> Recording:
    """Raises V105 to V113 for what does not fit."""
    _refuse(options)
    circuit = _with_recorded_lookahead(READERS[str(options["mc_model"])](options), arrays, options)
    steps, build = count_steps(arrays), BUILDERS[type(circuit)]
    flags = _flags(arrays, steps)
    sources = present_sources(error_sources(circuit, bool(flags.any())), arrays)
    bound = {quantity: value for key, source in sources.items() if source.kind in ("now", "assembled")
             for quantity, value in _first_values(circuit, key, source, arrays)}
    bound |= _copy_errors(circuit, arrays) | _identities(circuit)
    graph = build(replace(circuit, arrays=bound))
    on = numbers(arrays, "target_on", (steps,), "whether there is a target")
    gates = {"learn_forward": flags[:, 0], "learn_lateral": flags[:, 1], "copy": flags.any(axis=1), "target": on}
    target = numbers(arrays, "target", (steps, circuit.layers[-1]), "targets")
    inputs = {"input.value": numbers(arrays, "r0", (steps, circuit.layers[0])), "teacher.value": target}
    samples = np.concatenate([inputs[key] for key, _ in input_columns(graph)], axis=1)
    for key in [key for key, source in sources.items() if source.kind == "zero" and key.startswith("d")]:
        if arrays[key].shape[1:] != _shape(graph, circuit, key, sources[key]):
            del sources[key]  # increments that were never computed may have any shape
    expected = {key: numbers(arrays, key, (steps, *_shape(graph, circuit, key, source)))
                for key, source in sources.items()}
    start = Interpreter(graph).values
    before = {key: start[source.quantity][0] for key, source in sources.items() if source.kind == "before"}
    known = {*sources, *(f"init_{key}" for key in sources), "r0", "target", "target_on", "learn_flags", "params_json",
             "evidence", *(key for key in arrays if key.endswith(tuple(f"_noise_{i}" for i in range(9))))}
    evidence = text_of(arrays, "evidence") if "evidence" in arrays else EVIDENCE
    return Recording(name, Setup(graph, one_step_protocol(steps, gates), samples), expected, sources, evidence, before,
                     not_compared=tuple(sorted(set(arrays) - known)), circuit=circuit, arrays=arrays)


def _flags(arrays: Arrays, steps: int) -> np.ndarray:
    """(T, 3), from one row for all steps or one for each."""
    once = "learn_flags" in arrays and arrays["learn_flags"].ndim == 1
    shape = (len(FLAGS),) if once else (steps, len(FLAGS))
    return np.broadcast_to(numbers(arrays, "learn_flags", shape, ", ".join(FLAGS)), (steps, len(FLAGS)))


# ---- options


def _refuse(options: Mapping[str, Any]) -> None:
    refuse(options, {*CONDUCTANCES, *NEEDED, *WORDS, *ONLY, *ELSEWHERE}, ELSEWHERE_PATTERN, ONLY, NEEDED)
    if options["model_type"] not in rivals.VARIANTS:
        raise unknown("V106", "option model_type", str(options["model_type"]), rivals.VARIANTS)


def _conductances(options: Mapping[str, Any], names: Sequence[str]) -> dict[str, float]:
    return {name: number_of(name, options[name]) for name in names if name in options}


def _phi(value: Any, count: int) -> tuple[str, ...]:
    names = value if isinstance(value, list) else [value]
    return activations_of([RENAMED.get(name, name) for name in names], count)


def _flag(options: Mapping[str, Any], option: str, default: bool) -> bool:
    value = options.get(option, default)
    if not isinstance(value, bool):
        raise CortexError("V106", f"option {option} = {value!r} must be true or false.")
    return value


def _lookahead(options: Mapping[str, Any], option: str) -> tuple[bool, ...]:
    value = options.get(option, True)
    values = value if isinstance(value, list) else [value]
    if not all(isinstance(one, bool) for one in values):
        raise CortexError("V106", f"option {option} = {value!r} must be true or false, or a list of these.")
    return tuple(values)


def _error_neuron(options: Mapping[str, Any]) -> ErrorNeuron:
    layers = layer_sizes(options["layers"])
    areas = len(layers) - 1
    errors = tuple(options.get("error_layers", [0, *layers[1:]])[1:])
    return ErrorNeuron(
        layers, options["model_type"], errors, _wiring(options), RATES[_conversion(options)],
        activation=_phi(options["activation"], areas), error_activation=_phi(options.get("error_activation", "linear"),
                                                                             areas),
        eta_fw=numbers_of("eta_fw", options["eta_fw"], areas), eta_IP=_laterals("eta_IP", options, areas),
        eta_PI=_laterals("eta_PI", options, areas), transfer=_flag(options, "varphi_transfer", True),
        use_activation=_flag(options, "dWPP_use_activation", False), rep_lookahead=_lookahead(options, "rep_lookahead"),
        error_lookahead=_lookahead(options, "error_lookahead"),
        **_conductances(options, [name for name in CONDUCTANCES if name != "gnI"]))  # type: ignore[arg-type]


def _laterals(option: str, options: Mapping[str, Any], areas: int) -> tuple[float, ...]:
    return numbers_of(option, options.get(option, [0.0]), areas)


def _wiring(options: Mapping[str, Any]) -> str:
    modes = [options.get(f"{way}_connection_mode", "layered") for way in ("fw", "bw")]
    for mode in modes:
        if mode not in ("layered", "skip"):
            raise unknown("V106", "connection mode", str(mode), ("layered", "skip"))
    if modes[0] != modes[1]:
        raise CortexError("V106", f"forward mode '{modes[0]}' with backward mode '{modes[1]}' is not modelled; only "
                                  "the same for both is.")
    realistic = _flag(options, "init_realistic_connectivity", False)
    return "layered" if modes[0] == "layered" else "areas" if realistic else "skip"


def _conversion(options: Mapping[str, Any]) -> str:
    value = options.get("eta_fw_conversion", "fill_diag")
    if value not in RATES:
        raise unknown("V106", "option eta_fw_conversion", str(value), RATES)
    return value


def _rival(kind: type[rivals.Rival], options: Mapping[str, Any]) -> rivals.Rival:
    """The published code makes predictive coding linear, whatever its file says."""
    linear = kind is rivals.Dpc
    layers = layer_sizes(options["layers"])
    hidden = len(layers) - 2
    return kind(
        layers, options["model_type"], ("linear",) if linear else _phi(options["activation"], hidden + 1),
        numbers_of("eta_fw", options["eta_fw"], hidden + 1), _laterals("eta_IP", options, hidden),
        _laterals("eta_PI", options, hidden), use_activation=_flag(options, "dWPP_use_activation", False),
        **_conductances(options, CONDUCTANCES))  # type: ignore[arg-type]


def _with_recorded_lookahead(circuit: Circuit, arrays: Arrays, options: Mapping[str, Any]) -> Circuit:
    """Where the options do not say it, the recorded rates do: phi of the prospective voltage, or of the membrane's."""
    if not isinstance(circuit, ErrorNeuron) or "rep_lookahead" in options:
        return circuit
    found = []
    for i, phi in enumerate(circuit.per_area("activation")):
        names = [f"{kind}_{i}" for kind in ("rP_breve", "uP_breve", "init_uP", "uP")]
        if not all(name in arrays for name in names):
            return circuit
        rates, breve, first, after = (np.asarray(arrays[name], dtype=np.float64) for name in names)
        membrane = np.concatenate((first[None], after[:-1]))
        gaps = [np.abs(VECTOR[phi](x) - rates).max(initial=0.0) for x in (breve, membrane)]
        found.append(bool(gaps[0] <= gaps[1]))
    return replace(circuit, rep_lookahead=tuple(found))


# ---- variables


def error_sources(circuit: Circuit, learns: bool) -> dict[str, Source]:
    """Every variable of the format -> where the graph has it. Without any learning flag all increments are 0."""
    if isinstance(circuit, ErrorNeuron):
        return _error_neuron_sources(circuit, learns)
    twins = isinstance(circuit, rivals.Dendritic)
    L, H = len(circuit.layers) - 1, len(circuit.layers) - 2
    found: dict[str, Source] = {}
    if isinstance(circuit, rivals.Ann):
        for i in range(L):
            found |= {f"{kind}_{i}": Source(f"{owner}{i}.{quantity}") for kind, owner, quantity in (
                ("uP", "R", "u"), ("uI", "E", "u"), ("uP_breve", "R", "u"), ("rP_breve", "R", "rate"),
                ("d_rP_breve", "R", "slope"))}
            found |= _weights("WPP", i, learns)
        return found | {f"BPP_{i}": Source(f"BPP_{i}.w") for i in range(H)}
    for i in range(L):
        found |= {f"{kind}_{i}": Source(f"P{i}.{quantity}") for kind, quantity in (
            ("uP", "u"), ("uP_breve", "breve"), ("rP_breve", "rate"), ("vbas", "basal_potential"))}
        found |= _weights("WPP", i, learns)
        found |= {f"{kind}_{i}": Source(f"P{i}.rate", "before") for kind in ("uI_breve", "rI_breve")} if not twins \
            else {}
    for i in range(H):
        found |= {f"vapi_{i}": Source(f"P{i}.apical_potential"), f"BPP_{i}": Source(f"BPP_{i}.w")}
        plastic = not (twins and circuit.variant == "BP" and not any(circuit.eta_PI))
        found |= _weights("BPI", i, learns and plastic)
        if twins:
            found |= {f"{kind}_{i}": Source(f"I{i}.{quantity}") for kind, quantity in (
                ("uI", "u"), ("uI_breve", "breve"), ("rI_breve", "rate"), ("vden", "dendritic_potential"))}
            found |= _weights("WIP", i, learns)
    return found


def _error_neuron_sources(circuit: ErrorNeuron, learns: bool) -> dict[str, Source]:
    c, L = circuit, circuit.areas
    found: dict[str, Source] = {}
    for i in range(L):
        found |= {f"{kind}_{i}": Source(f"{owner}{i}.{quantity}") for kind, owner, quantity in (
            ("uP", "R", "u"), ("uI", "E", "u"), ("uP_breve", "R", "breve"), ("uI_breve", "E", "breve"),
            ("rP_breve", "R", "rate"), ("rI_breve", "E", "rate"), ("d_rP_breve", "R", "slope"),
            ("vbas", "R", "basal_potential"), ("vapi", "R", "apical_potential"))}
        top = i == L - 1
        found[f"vden_{i}"] = Source(f"E{i}.u", "zero") if top else Source(f"E{i}.dendritic_potential")
        found |= _weights("WIP", i, learns and any(c.eta_IP)) | _weights("BPI", i, learns and any(c.eta_PI))
    if c.layered:
        for i in range(L):
            found |= _weights("WPP", i, learns)
        return found | {f"BII_{i}": Source(f"BII_{i}.w") for i in range(L - 1)}
    into, across = np.cumsum([0, *c.layers]).tolist(), np.cumsum([0, *c.errors]).tolist()
    forward = [(c.forward_name(to, k), into[to + 1], into[k + 1]) for to, k in c.forward_pairs()]
    backward = [(c.feedback_name(to, k), across[to], across[k]) for to, k in c.feedback_pairs()]

    def assembled(blocks: list, quantity: str) -> Source:
        return Source(f"{blocks[0][0]}.{quantity}", "assembled" if blocks else "zero",
                      parts=tuple((f"{name}.{quantity}", row, column) for name, row, column in blocks))

    increments = assembled(forward, "increment") if learns else Source(f"{forward[0][0]}.w", "zero")
    found |= {"WPP_0": assembled(forward, "w"), "dWPP_0": increments}
    return found | ({"BII_0": assembled(backward, "w")} if backward else {})


def _weights(kind: str, i: int, plastic: bool) -> dict[str, Source]:
    owner = f"{kind}_{i}"
    return {owner: Source(f"{owner}.w"),
            f"d{owner}": Source(f"{owner}.increment") if plastic else Source(f"{owner}.w", "zero")}


def _shape(graph: Graph, circuit: Circuit, key: str, source: Source) -> tuple[int, ...]:
    if isinstance(circuit, ErrorNeuron) and not circuit.layered and key in ("WPP_0", "dWPP_0", "BII_0"):
        n = sum(circuit.errors if key == "BII_0" else circuit.layers)
        return n, n
    return row_shape(graph, key, source)


# ---- the start


def _first_values(circuit: Circuit, key: str, source: Source, arrays: Arrays) -> list[tuple[str, np.ndarray]]:
    """(array of the graph, value) from `init_` arrays: voltages and weights."""
    if not source.quantity.endswith((".u", ".w")) or key.endswith("_breve") or f"init_{key}" not in arrays:
        return []
    value = arrays[f"init_{key}"]
    if source.kind != "assembled":
        return [(source.quantity, numbers(arrays, f"init_{key}", value.shape, "a first value"))]
    sizes = circuit.errors if key == "BII_0" else circuit.layers  # type: ignore[union-attr]
    whole, ends = numbers(arrays, f"init_{key}", (sum(sizes), sum(sizes)), "a first value"), np.cumsum([0, *sizes])
    until = {int(a): int(b) for a, b in zip(ends[:-1], ends[1:], strict=True)}
    return [(name, whole[row:until[row], column:until[column]]) for name, row, column in source.parts]


def _copy_errors(circuit: Circuit, arrays: Arrays) -> Arrays:
    """Fixed errors of copied feedback: `BII_noise_0` or `BPP_noise_0`; none were recorded where there are none."""
    if circuit.variant != "BP" or isinstance(circuit, rivals.Ann):
        return {}
    if not isinstance(circuit, ErrorNeuron):
        return {f"BPP_{i}.copy_error": numbers(arrays, f"BPP_noise_{i}", (circuit.layers[i + 1], circuit.layers[i + 2]))
                for i in range(len(circuit.layers) - 2)}
    c, found = circuit, Arrays()
    ends = np.cumsum([0, *c.errors])
    for mirror in error_neuron.copies(c):
        to, k = next(pair for pair in c.feedback_pairs() if c.feedback_name(*pair) == mirror.target)
        if c.layered:
            error = numbers(arrays, f"BII_noise_{to}", (c.errors[to], c.errors[k]))
        else:
            whole = numbers(arrays, "BII_noise_0", (sum(c.errors), sum(c.errors)))
            error = whole[ends[to]:ends[to + 1], ends[k]:ends[k + 1]]
        found[f"{mirror.target}.copy_error"] = error
    return found


def _identities(circuit: Circuit) -> Arrays:
    if not isinstance(circuit, ErrorNeuron):
        return {}
    pairs = list(zip(circuit.layers[1:], circuit.errors, strict=True))
    found = {f"WIP_{i}.identity": np.eye(m, n) for i, (n, m) in enumerate(pairs)} if any(circuit.eta_IP) else {}
    return found | ({f"BPI_{i}.identity": np.eye(n, m) for i, (n, m) in enumerate(pairs)}
                    if any(circuit.eta_PI) else {})


READERS: dict[str, Callable[[Mapping[str, Any]], Circuit]] = {
    "errormc": _error_neuron, "sacramento2018": partial(_rival, rivals.Dendritic), "dPC": partial(_rival, rivals.Dpc),
    "ann": partial(_rival, rivals.Ann)}
BUILDERS: dict[type, Callable[[Any], Graph]] = {
    ErrorNeuron: error_neuron.build, rivals.Dendritic: rivals.build_dendritic, rivals.Dpc: rivals.build_dpc,
    rivals.Ann: rivals.build_ann}
