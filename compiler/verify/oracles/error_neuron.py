"""The independent reference of the error-neuron circuit and its rivals, fed with a setup's inputs, gates and start."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, replace
from typing import Any

import numpy as np

from cortexc.compiler.backends.interpreter import Interpreter
from cortexc.compiler.ir import CortexError, Graph
from cortexc.compiler.microcircuits import CIRCUITS, error_neuron, rivals
from cortexc.compiler.microcircuits.error_neuron import ErrorNeuron
from cortexc.compiler.microcircuits.targets import UNDELAYED
from cortexc.compiler.verify.oracles.base import (
    Oracle,
    followed,
    held_flags,
    held_inputs,
    in_numpy,
    played,
    reference,
    refused,
    settling_setup,
)
from cortexc.compiler.verify.recorded.error_neuron import RATES, RENAMED, Circuit, error_sources
from cortexc.compiler.verify.recorded.format import Arrays, Recording, Source
from cortexc.compiler.verify.runs import Chunk, Setup

NAMES = {ErrorNeuron: "errormc", rivals.Dendritic: "sacramento2018", rivals.Dpc: "dPC", rivals.Ann: "ann"}
WIRING = {"layered": ("layered", False), "skip": ("skip", False), "areas": ("skip", True)}
CONDUCTANCES = ("dt", "gl", "gbas", "gapi", "gden", "gntgt")


def parameters(circuit: Circuit) -> Any:
    """The reference's parameters. Raises V122 for what it does not model."""
    module = reference("error_neuron")
    try:
        values = _error_neuron(circuit) if isinstance(circuit, ErrorNeuron) else _rival(circuit)
        return module.ErrorNeuronParameters(**values)
    except ValueError as error:
        raise refused(str(error)) from None


def _phi(names: Sequence[str]) -> tuple[str, ...]:
    """Under the reference's names. The slope of hard_sigmoid is 1 here and 1/6 there: the published one is unknown."""
    back = {ours: theirs for theirs, ours in RENAMED.items()}
    for name in names:
        if name in (*RENAMED, "hard_sigmoid"):
            raise ValueError(f"activation {name}")
    return tuple(back.get(name, name) for name in names)


def _error_neuron(c: ErrorNeuron) -> dict[str, Any]:
    if c.variant not in rivals.VARIANTS:
        raise ValueError(f"variant {c.variant}")
    if not c.within_area_noise or c.area_matrix != error_neuron.AREA_MATRIX or len(set(c.error_activation)) > 1:
        raise ValueError("copies without noise within areas, an area matrix of one's own, or several error activations")
    mode, realistic = WIRING[c.wiring]
    conversions = {ours: theirs for theirs, ours in RATES.items()}
    return {**{name: getattr(c, name) for name in CONDUCTANCES}, "layers": c.layers, "model_type": c.variant,
            "error_layers": (0, *c.errors), "activation": _phi(c.activation), "activation_slope": c.gain,
            "activation_offset": c.offset, "derivative": _phi(c.derivative) if c.derivative else None,
            "error_activation": _phi(c.error_activation)[0], "rep_lookahead": c.rep_lookahead,
            "error_lookahead": c.error_lookahead, "eta_fw": c.eta_fw, "eta_IP": c.eta_IP, "eta_PI": c.eta_PI,
            "eta_fw_conversion": conversions[c.skip_rates or ("scaled" if realistic else "all")],
            "fw_connection_mode": mode, "bw_connection_mode": mode,
            "varphi_transfer": c.transfer, "dWPP_use_activation": c.use_activation}


def _rival(c: rivals.Rival) -> dict[str, Any]:
    if isinstance(c, rivals.Dpc) and set(c.activation) != {"linear"}:
        raise ValueError("predictive coding that is not linear")
    hidden = {} if isinstance(c, rivals.Ann) or not c.hidden else {"eta_IP": c.eta_IP, "eta_PI": c.eta_PI}
    values = {name: getattr(c, name) for name in (*CONDUCTANCES, "gnI")}
    return {**values, "mc_model": NAMES[type(c)], "layers": c.layers,
            "model_type": c.variant, "activation": _phi(c.activation), "eta_fw": c.eta_fw,
            "dWPP_use_activation": c.use_activation, **hidden}


# ---- the start


def _started(circuit: Circuit, own: Any, graph: Graph) -> Any:
    """The reference's network before the first step, from the first values of the graph; (seeds, ...) each."""
    import torch

    module, start, sources = reference("error_neuron_state"), Interpreter(graph).values, error_sources(circuit, True)

    def layers(kind: str) -> list:
        names = sorted((n for n in sources if n.rpartition("_")[0] == kind), key=lambda n: int(n.rpartition("_")[2]))
        return [torch.from_numpy(_assembled(circuit, name, sources[name], start)) for name in names]

    feedback = "BII" if isinstance(circuit, ErrorNeuron) else "BPP"
    kinds = ("WPP", "WIP", "BPI", feedback)
    weights = module.Weights(*map(layers, kinds), _copy_errors(circuit, own, graph))
    return module.fresh_state(own, layers("uP"), layers("uI"), weights)


def _assembled(circuit: Circuit, name: str, source: Source, values: Arrays) -> np.ndarray:
    if source.kind != "assembled":
        return np.array(values[source.quantity])
    assert isinstance(circuit, ErrorNeuron)
    n = sum(circuit.errors if name == "BII_0" else circuit.layers)
    whole = np.zeros((len(values[source.parts[0][0]]), n, n))
    for quantity, row, column in source.parts:
        block = values[quantity]
        whole[:, row:row + block.shape[1], column:column + block.shape[2]] = block
    return whole


def _copy_errors(circuit: Circuit, own: Any, graph: Graph) -> list:
    """The reference's N, (seeds, ...) each, from the arrays of the mirrors and of what stays as it is."""
    import torch

    if circuit.variant != "BP" or own.mc_model == "ann":
        return []
    if not isinstance(circuit, ErrorNeuron) or circuit.layered:
        kind, count = ("BII", circuit.areas - 1) if isinstance(circuit, ErrorNeuron) else ("BPP", circuit.hidden)
        return [torch.from_numpy(_per_seed(graph, f"{kind}_{i}.copy_error")) for i in range(count)]
    ends = np.cumsum([0, *circuit.errors]).tolist()
    whole = np.zeros((graph.seeds, ends[-1], ends[-1]))
    pairs = [(circuit.feedback_name(to, k), ends[to], ends[k]) for to, k in circuit.feedback_pairs()]
    for name, row, column in pairs:
        copied = f"{name}.copy_error" in graph.arrays
        block = _per_seed(graph, f"{name}.{'copy_error' if copied else 'w'}")
        whole[:, row:row + block.shape[1], column:column + block.shape[2]] = block
    return [torch.from_numpy(whole)]


def _per_seed(graph: Graph, name: str) -> np.ndarray:
    array = np.asarray(graph.arrays[name], dtype=np.float64)
    return np.array(np.broadcast_to(array, (graph.seeds, *array.shape[-2:])))


# ---- trajectories


def wanted(circuit: Circuit, there: set[str]) -> list[str]:
    """The quantities that both have."""
    found = [q for s in error_sources(circuit, True).values() if s.kind != "before" for q in s.quantities]
    return [q for q in dict.fromkeys(found) if q in there]


def trajectory(circuit: Circuit, setup: Setup, there: set[str], steps: int | None = None) -> Iterator[Chunk]:
    """The reference under the graph's names, (K, seeds, ...). Raises V121, V122, V123."""
    for rows in reference_rows(circuit, setup, steps):
        found: Chunk = {}
        for name, source in error_sources(circuit, True).items():
            if source.kind == "now" and source.quantity in there:
                found[source.quantity] = rows[name]
            for quantity, row, column in source.parts:
                owner = setup.graph.projection(quantity.split(".")[0])
                height, width = (setup.graph.population(p).size for p in (owner.post, owner.pre))
                if quantity in there:
                    found[quantity] = rows[name][..., row:row + height, column:column + width]
        yield found


def reference_rows(circuit: Circuit, setup: Setup, steps: int | None = None,
                   recorded: Arrays | None = None) -> Iterator[Chunk]:
    """The reference's snapshots under the names of the recordings, (K, seeds, ...). `recorded`: a recording whose
    first values it starts from."""
    own, late = parameters(circuit), _Late(circuit.target_delay)
    state = _started(circuit, own, setup.graph) if recorded is None else reference("error_neuron_state").recorded_state(
        own, recorded)
    model = reference("error_neuron").reference_model(own, state)

    def step(inputs: Chunk, gates: dict[str, float], noise: Chunk) -> Chunk:
        model.step(*_arguments(circuit, late, inputs, gates))
        return in_numpy(model.snapshot())

    return followed(setup, step, steps)


class _Late:
    """A target some steps ago, unless it is asked for as it is."""

    def __init__(self, steps: int):
        self.steps, self.past = steps, list[np.ndarray]()

    def __call__(self, target: np.ndarray, gates: Mapping[str, float]) -> np.ndarray:
        self.past.append(target)
        if not self.steps or gates[UNDELAYED] > 0:
            return target
        return self.past[-1 - self.steps] if len(self.past) > self.steps else np.zeros_like(target)


def _arguments(circuit: Circuit, late: _Late, inputs: Chunk, gates: Mapping[str, float]) -> tuple:
    """Of one call of the reference. Raises V123 where copies are refreshed without learning, or the other way."""
    import torch

    learns = [gates[gate] > 0 for gate in ("learn_forward", "learn_lateral")]
    copies, copied = gates["copy"] > 0, circuit.variant == "BP"
    if copied and any(learns) and not copies:
        raise CortexError("V123", "gate 'copy' is off while something learns; in the independent reference feedback is "
                                  "copied whenever anything learns.", "Set it too, or verify against the interpreter.")
    if gates.get("control", 0.0) > 0:
        raise CortexError("V123", "gate 'control' is on; the independent reference has no pole.",
                          "Verify against the interpreter.")
    target = late(inputs["teacher.value"], gates)
    return (torch.tensor(inputs["input.value"]), torch.tensor(target) if gates["target"] > 0 else None, *learns,
            copies, gates.get("reset", 0.0) > 0)


def recorded(recording: Recording) -> Iterator[Chunk]:
    """The reference from a recording's first values, under its names."""
    return reference_rows(recording.circuit, recording.setup, recorded=recording.arrays)


# ---- a setup


LATERALS = {"WIP": (-0.3, 0.3), "BPI": (-0.3, 0.3)}


def _graph(circuit: Circuit, seeds: Sequence[int], error: float) -> Graph:
    """As published, with copies that err by up to `error`."""
    ranges = {"copy_error": (-error, error), **(LATERALS if isinstance(circuit, ErrorNeuron) else {})}
    shipped = next(each for each in CIRCUITS.values() if each.options_class() is type(circuit))
    arrays = shipped.start("legacy")(circuit, list(seeds), ranges)
    return shipped.graph(replace(circuit, arrays=arrays)).with_(seeds=len(seeds))


def reference_setup(circuit: Circuit, steps: int, seeds: Sequence[int], presentation: int = 20) -> Setup:
    """Every seed starts as the published simulator starts it."""
    graph = _graph(circuit, seeds, 0.5)
    delay, length = circuit.target_delay, -(-steps // presentation) * presentation
    early = {UNDELAYED: (1.0,) * delay + (0.0,) * (length - delay)} if delay else {}
    return settling_setup(graph, seeds, steps, presentation, ("learn_forward", "learn_lateral", "copy"), early)


def reference_arrays(circuit: Circuit, steps: int, seed: int) -> Arrays:
    """A recording in the published format, made by the reference: inputs and targets held for 5 steps, and learning
    flags and target that change independently of each other."""
    import torch

    module, own, rng = reference("error_neuron"), parameters(circuit), np.random.default_rng(seed)
    start, held = _started(circuit, own, _graph(circuit, [seed], 0.25)), held_flags(rng, steps)
    model = module.reference_model(own, start)
    unread = {"activation_slope", "activation_offset", "derivative"}
    options = {field.name: getattr(own, field.name) for field in fields(own) if field.name not in unread}
    arrays: Arrays = {"learn_flags": held[:3].T.astype(bool), "target_on": held[3].astype(bool),
                      "params_json": np.array(json.dumps(options)), "evidence": np.array("independent-reference"),
                      "r0": held_inputs(rng, steps, circuit.layers[0]),
                      "target": rng.uniform(-1, 1, (steps, circuit.layers[-1]))}
    feedback = "BII" if isinstance(circuit, ErrorNeuron) else "BPP"
    noise = {f"{feedback}_noise_{i}": part.numpy()[0] for i, part in enumerate(model.state.feedback_noise)}
    r0, target = (torch.tensor(arrays[name])[:, None] for name in ("r0", "target"))
    calls = ((r0[t], target[t] if held[3, t] else None, *map(bool, held[:3, t])) for t in range(steps))
    shown = [name for name in error_sources(circuit, True) if not name.startswith("d") or name[1] == "_"]
    return arrays | noise | played(model, calls, shown)


DEEP, ETA = (2, 3, 4, 2), (2.0, 0.5, 0.3)
REHEARSED: dict[str, dict[str, Circuit]] = {
    "error-neuron": {"error-neuron_0": ErrorNeuron(DEEP, eta_IP=(1.0, 0.5, 0.3), eta_PI=(0.7, 0.4, 0.2), eta_fw=ETA),
                     "error-neuron_1": ErrorNeuron(DEEP, "FA", wiring="skip", rep_lookahead=(True, False, True),
                                                   eta_fw=ETA)},
    "dendritic": {"dendritic_0": rivals.Dendritic(DEEP, eta_IP=(0.5, 0.3), eta_fw=ETA),
                  "dendritic_1": rivals.Dendritic(DEEP, "FA", eta_IP=(0.5, 0.3), eta_PI=(0.4, 0.2), eta_fw=ETA)},
    "dpc": {"dpc_0": rivals.Dpc(DEEP, eta_PI=(0.5, 0.3), eta_fw=ETA),
            "dpc_1": rivals.Dpc(DEEP, "FA", eta_PI=(0.5, 0.3), eta_fw=ETA)},
    "ann": {"ann_0": rivals.Ann(DEEP, eta_fw=ETA), "ann_1": rivals.Ann(DEEP, "FA", eta_fw=ETA)}}
ORACLE = Oracle(reference_setup, wanted, trajectory, recorded, reference_arrays, REHEARSED)
