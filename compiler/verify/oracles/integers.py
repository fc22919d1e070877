"""Which integer reference stands for which quantised circuit, and what its quantities are called in the graph."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from compiler.ir import CortexError, Graph
from compiler.ir.model import weight_copies, weight_shape
from compiler.microcircuits.error_neuron import ErrorNeuron
from compiler.microcircuits.pal import Pal
from compiler.microcircuits.rivals import Ann, Dendritic, Dpc, Rival
from compiler.microcircuits.sign_concordant_options import SignConcordant
from compiler.microcircuits.targets import UNDELAYED
from compiler.verify.oracles import error_neuron as error_oracle
from compiler.verify.oracles import pal as oracle
from compiler.verify.oracles import sign_concordant as spiking_oracle
from compiler.verify.oracles.registers import registers, rows, synaptic_names, torch_module, whole_units, with_copies
from compiler.verify.runs import Chunk, Setup, require

if TYPE_CHECKING:
    from reference.integer_sign_concordant import IntegerSpikingNetwork

Names = dict[str, str]
MANTISSA_BITS = 3
"""Of a rule's scale on a chip."""


@dataclass(frozen=True)
class Bridged:
    """An integer reference: its own names of the graph's quantities, and one step from (inputs, gates, noise)."""

    model: Any
    names: Names
    step: Callable[[Chunk, Mapping[str, float], Chunk], Mapping[str, Any]]

    def trajectory(self, setup: Setup, steps: int) -> Iterator[Chunk]:
        """Under the graph's names."""
        return rows(setup, self._jittered, self.names, steps)

    def _jittered(self, inputs: Chunk, gates: Mapping[str, float], noise: Chunk) -> Mapping[str, Any]:
        torch = torch_module()
        self.model.draws = {name: torch.tensor(drawn) for name, drawn in noise.items() if name.endswith("_jitter")}
        return self.step(inputs, gates, noise)


def bridged(circuit: Any, setup: Setup, significant: int = 12, mapped: bool = False) -> Bridged:
    """The integer reference of a quantised circuit. `significant`: bits of its constants; `mapped`: its rules were
    made legal on a chip. Raises V122 for a circuit without one, V128 for constants that are not its equations'."""
    graph = setup.graph
    try:
        if graph.samples > 1 or any(weight_copies(graph, q.name) != graph.seeds for q in graph.projections
                                    if weight_shape(graph, q)):
            raise ValueError("several samples or seeds that share their weights")
        for kind, build in BRIDGES.items():
            if isinstance(circuit, kind):
                require("reference", ("reference",))
                return build(circuit, setup, significant, mapped)
    except ValueError as error:
        if type(error).__name__ == "DishonestRegister":
            raise CortexError("V128", f"the quantised circuit is not the circuit: {error}.") from None
        raise CortexError("V122", f"the integer reference has no such circuit: {error}.",
                          "Verify it against the interpreter: --reference interpreter.") from None
    raise CortexError("V122", f"there is no integer reference of {type(circuit).__name__}.",
                      "Verify it against the interpreter: --reference interpreter.")


def _data(graph: Graph, names: Names, significant: int, mapped: bool) -> dict[str, Any]:
    return registers(graph, names, significant) | ({"mantissa_bits": MANTISSA_BITS} if mapped else {})


CREDIT = {"credit_{}": "{}.credit_{}", "credit_{}_1": "{}.credit_{}_1", "credit_{}_done": "{}.credit_{}_done",
          "kernel_{}": "{}.kernel_{}", "factor_{}": "{}.factor_{}", "factor_{}_1": "{}.factor_{}_1"}


def _credits(graph: Graph) -> Names:
    """What a cell keeps for synapses that learn once a presentation, and factors that it forms for a rule."""
    return {ours.format(q.name): theirs.format(q.post, q.name) for q in graph.projections
            for ours, theirs in CREDIT.items()}


def _all_names(graph: Graph, names: Names) -> Names:
    return with_copies(names) | synaptic_names(graph)


# ---- sign-concordant


LAYER = {"u": "PC{}.u", "spike": "PC{}.spike", "psc": "PC{}.psc", "apical": "PC{}.apical_potential",
         "basal_trace": "PC{}.basal_trace", "sensitivity": "PC{}.sensitivity", "error": "PC{}.error",
         "error_positive": "PC{}.error_positive", "error_negative": "PC{}.error_negative"}
INTERNEURONS = {"pv": "PV{}.rate", "modulation": "PV{}.error", "sst": "SST{}.rate"}
ENDS = {"value_0": "image.value_in", "kernel": "image.kernel", "psc_0": "image.psc",
        "basal_trace_0": "image.basal_trace", "label": "teacher.value_in", "teacher_spike": "teacher.spike",
        "teacher": "teacher.psc"}


def _spiking(circuit: SignConcordant, setup: Setup, significant: int, mapped: bool) -> Bridged:
    torch = torch_module()
    from reference.integer_sign_concordant import IntegerSignedNetwork, IntegerThreeCellNetwork

    own, graph = spiking_oracle.parameters(circuit), setup.graph
    if circuit.message == "spiking" or any(q.convolution for q in graph.projections):
        raise ValueError("only dense layers and messages that are not spikes")
    layers = range(1, circuit.top + 1)
    names = ENDS | _indexed(LAYER, layers) | _credits(graph)
    names |= _indexed(INTERNEURONS, layers) if circuit.locked else {f"sst_{circuit.top}": f"SST{circuit.top}.rate"}
    data = _data(graph, names, significant, mapped) | {"sizes": [layer.size for layer in circuit.shapes]}
    if circuit.locked:
        strict = circuit.message == "two_line"
        model: IntegerSpikingNetwork = IntegerThreeCellNetwork(own, data, setup.seeds, strict)
    else:
        model = IntegerSignedNetwork(own, data | {"magnitudes": _magnitudes(graph, layers[1:])}, setup.seeds)

    def step(inputs: Chunk, gates: Mapping[str, float], _noise: Chunk) -> Mapping[str, Any]:
        model.step(gates["start"] > 0, torch.tensor(inputs["image.value"]), torch.tensor(inputs["teacher.value"]),
                   gates["teach"] > 0, gates["learn"] > 0, gates["apply"] > 0, gates.get("rate", 1.0))
        return model.snapshot()

    return Bridged(model, _all_names(graph, names), step)


def _magnitudes(graph: Graph, layers: Iterable[int]) -> dict[int, dict[str, Any]]:
    """|B| of the layers where only the sign of the feedback follows the forward weights."""
    found = {}
    for layer in layers:
        array = graph.arrays.get(f"B_{layer}.magnitude")
        if array is not None:
            fraction = round(-math.log2(graph.class_of(f"B_{layer}").unit))
            found[layer] = {"units": whole_units(array, fraction, 2), "fraction": fraction}
    return found


# ---- PAL


PYRAMIDAL = {"drive": "P{}.drive", "breve": "P{}.breve", "rate": "P{}.rate", "basal": "P{}.basal_potential",
             "apical": "P{}.apical_potential", "noisy_apical": "P{}.noisy_apical", "xi": "P{}.xi",
             "white": "P{}.white_in", "high_pass": "P{}.rate_high_pass", "predicted": "P{}.mismatch_1",
             "error": "P{}.mismatch"}
INTERNEURON = {"twin_drive": "I{}.drive", "twin_breve": "I{}.breve", "twin_rate": "I{}.rate",
               "dendritic": "I{}.dendritic_potential", "twin_predicted": "I{}.mismatch_1", "twin_error": "I{}.mismatch"}
SOURCES = {"input_in": "input.value_in", "input": "input.rate", "target_in": "teacher.value_in",
           "target": "teacher.rate"}
SHOWN = {"shown": "teacher.shown"}


def _pal(circuit: Pal, setup: Setup, significant: int, mapped: bool) -> Bridged:
    torch = torch_module()
    from reference.integer_pal import IntegerPal

    hidden = range(circuit.hidden)
    names = SOURCES | _indexed(PYRAMIDAL, range(circuit.hidden + 1)) | _indexed(INTERNEURON, hidden)
    names |= _credits(setup.graph)
    model = IntegerPal(oracle.pal_parameters(circuit), _data(setup.graph, names, significant, mapped), setup.seeds)

    def step(inputs: Chunk, gates: Mapping[str, float], noise: Chunk) -> Mapping[str, Any]:
        forward, lateral, feedback = (gates[f"learn_{kind}"] > 0 for kind in ("forward", "lateral", "feedback"))
        white = [torch.tensor(noise[f"P{i}.white"]) for i in hidden] if circuit.variant == "PAL" else None
        model.step(torch.tensor(inputs["input.value"]), torch.tensor(inputs["teacher.value"]), gates["target"] > 0,
                   forward, lateral, feedback, gates["noise"] > 0, white, gates.get("update", 1.0) > 0,
                   gates.get("rate", 1.0))
        return model.snapshot()

    return Bridged(model, _all_names(setup.graph, names), step)


def _indexed(patterns: Names, numbers: Iterable[int]) -> Names:
    return {f"{name}_{i}": pattern.format(i) for i in numbers for name, pattern in patterns.items()}


# ---- error neurons


AREA = {"drive": "R{}.drive", "breve": "R{}.breve", "rate": "R{}.rate", "slope": "R{}.slope",
        "slope_square": "R{}.slope_1",
        "basal": "R{}.basal_potential", "apical": "R{}.apical_potential", "error": "R{}.mismatch",
        "predicted": "R{}.mismatch_1", "error_drive": "E{}.drive", "error_breve": "E{}.breve",
        "error_rate": "E{}.rate", "gating": "E{}.dendritic_potential_1", "descending": "E{}.dendritic_potential_2",
        "dendritic": "E{}.dendritic_potential"}
OUTPUT = {"missing_slope": "comparison.difference_1", "missing": "comparison.difference_2",
          "difference": "comparison.difference"}


def _error_neuron(circuit: ErrorNeuron, setup: Setup, significant: int, mapped: bool) -> Bridged:
    torch = torch_module()
    from reference.integer_error_neuron import IntegerErrorMicrocircuit

    own, graph = error_oracle.parameters(circuit), setup.graph
    if circuit.reset or circuit.plant or circuit.errors != circuit.layers[1:]:
        raise ValueError("a reset, a plant, or other numbers of error neurons")
    names = SOURCES | SHOWN | OUTPUT | _indexed(AREA, range(circuit.areas)) | _credits(graph)
    data = _data(graph, names, significant, mapped)
    data["wiring"] = {
        "forward": [(circuit.forward_name(*pair), *pair) for pair in circuit.forward_pairs()],
        "feedback": [(circuit.feedback_name(*pair), *pair) for pair in circuit.feedback_pairs()],
        "copies": _copies(graph)}
    model = IntegerErrorMicrocircuit(own, data, setup.seeds, circuit.target_delay)

    def step(inputs: Chunk, gates: Mapping[str, float], _noise: Chunk) -> Mapping[str, Any]:
        model.step(torch.tensor(inputs["input.value"]), torch.tensor(inputs["teacher.value"]), gates["target"] > 0,
                   gates["learn_forward"] > 0, gates["copy"] > 0, gates.get(UNDELAYED, 0.0) > 0,
                   gates.get("update", 1.0) > 0, gates.get("rate", 1.0))
        return model.snapshot()

    return Bridged(model, _all_names(graph, names), step)


def _copies(graph: Graph) -> list[tuple[str, str, dict[str, Any]]]:
    """Of feedback from the forward weights, with the fixed error."""
    return [(m.target, m.source, _fixed_error(graph, m.target)) for m in graph.mirrors if "transpose" in m.operations]


def _fixed_error(graph: Graph, projection: str) -> dict[str, Any]:
    """What a copied weight has besides, in units of its class. Raises V127 for what is no multiple."""
    fraction, error = round(-math.log2(graph.class_of(projection).unit)), f"{projection}.copy_error"
    return {"units": whole_units(graph.arrays.get(error, np.zeros((1, 1))), fraction, 2), "fraction": fraction}


# ---- their rivals


UNIT = {"drive": "R{}.u", "rate": "R{}.rate", "slope": "R{}.slope", "delta": "R{}.delta", "error_drive": "E{}.u",
        "error_rate": "E{}.rate"}
HIDDEN_ERROR = {"gating": "E{}.u_1", "descending": "E{}.u_2"}
OUTPUT_ERROR = {"missing_slope": "E{}.u_1", "missing": "E{}.u_2", "difference": "E{}.u_3"}


def _rival(circuit: Rival, setup: Setup, significant: int, mapped: bool) -> Bridged:
    torch = torch_module()
    from reference import integer_rivals

    own, graph, hidden = error_oracle.parameters(circuit), setup.graph, circuit.hidden
    names = SOURCES | SHOWN | _credits(graph)
    if isinstance(circuit, Ann):
        names |= _indexed(UNIT, range(hidden + 1)) | _indexed(HIDDEN_ERROR, range(hidden))
        names |= {name: pattern.format(hidden) for name, pattern in OUTPUT_ERROR.items()}
    else:
        names |= _indexed(PYRAMIDAL, range(hidden + 1))
        names |= _indexed(INTERNEURON, range(hidden)) if isinstance(circuit, Dendritic) else {}
    data = _data(graph, names, significant, mapped) | {"wiring": {"copies": _copies(graph)}}
    kinds: dict[type[Rival], type[Any]] = {
        Dendritic: integer_rivals.IntegerDendriticMicrocircuit, Dpc: integer_rivals.IntegerPredictiveCoding,
        Ann: integer_rivals.IntegerLayeredNetwork}
    model = kinds[type(circuit)](own, data, setup.seeds, circuit.target_delay)
    learnt = ["learn_forward", *([] if isinstance(circuit, Ann) else ["learn_lateral"])]

    def step(inputs: Chunk, gates: Mapping[str, float], _noise: Chunk) -> Mapping[str, Any]:
        model.step(torch.tensor(inputs["input.value"]), torch.tensor(inputs["teacher.value"]), gates["target"] > 0,
                   *(gates[gate] > 0 for gate in learnt), gates["copy"] > 0, gates.get(UNDELAYED, 0.0) > 0,
                   gates.get("update", 1.0) > 0, gates.get("rate", 1.0))
        return model.snapshot()

    return Bridged(model, _all_names(graph, names), step)


BRIDGES: dict[type, Callable[[Any, Setup, int, bool], Bridged]] = {
    SignConcordant: _spiking, Pal: _pal, ErrorNeuron: _error_neuron, Rival: _rival}
