"""The hand-written sign-concordant circuit in integers, fed with a quantised graph; and what its quantities are called
there."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from witness.registers import registers, rows, synaptic_names, torch_module, whole_units, with_copies

from cortexc.compiler.ir import Graph
from cortexc.compiler.microcircuits.sign_concordant_options import SignConcordant
from cortexc.compiler.verify.oracles import sign_concordant as spiking_oracle
from cortexc.compiler.verify.runs import Chunk, Setup

if TYPE_CHECKING:
    from witness.sign_concordant import IntegerSpikingNetwork

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


def bridged(circuit: SignConcordant, setup: Setup, significant: int = 12, mapped: bool = False) -> Bridged:
    """The witness of a quantised circuit. `significant`: bits of its constants; `mapped`: its rules were made legal on a
    chip. Raises DishonestRegister for constants that are not its equations'."""
    return _spiking(circuit, setup, significant, mapped)


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
    from witness.sign_concordant import IntegerSignedNetwork, IntegerThreeCellNetwork

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


def _indexed(patterns: Names, numbers: Iterable[int]) -> Names:
    return {f"{name}_{i}": pattern.format(i) for i in numbers for name, pattern in patterns.items()}
