"""What a hardware map must say: every field with its unit and its meaning.

Fields of `LIMITS` bound what one core holds; the others describe formats, the learning engine, chips and systems.
"""

from __future__ import annotations

import math
from typing import NamedTuple

FIELDS: dict[str, tuple[str, str]] = {
    "core.compartments": ("compartments", "compartments (Loihi 2: neurons) of one core"),
    "core.synapse_bits": ("bits", "synaptic memory of one core, where it is a memory of its own"),
    "core.memory_bits": ("bits", "all memory of one core: synapses, states and tables"),
    "core.axons_in": ("axons", "input axons of one core"),
    "core.axons_out": ("axons", "output axons (edges from core to core) of one core"),
    "core.routing_bytes": ("bytes", "routing tables of one core"),
    "core.state_bytes": ("bytes", "state of one compartment"),
    "core.program_bytes": ("bytes", "microcode of one core"),
    "core.compartment_configurations": ("entries", "distinct settings of compartments on one core"),
    "core.threshold_configurations": ("entries", "distinct thresholds on one core"),
    "core.synapse_formats": ("entries", "distinct synapse formats on one core"),
    "core.pre_trace_configurations": ("entries", "distinct presynaptic trace settings on one core"),
    "core.slot_per_compartment": ("flag", "1: every compartment of a cell takes a slot; 0: a cell takes one"),
    "core.slots_per_learning_axon": ("slots", "input axons that one learning axon takes"),
    "core.word_bits": ("bits", "unit in which synaptic memory is allocated"),
    "core.state_word_bits": ("bits", "unit in which a neuron's state is allocated"),
    "core.synapses_per_block": ("synapses", "synapses that share one header"),
    "core.header_bits": ("bits", "header of a block of synapses"),
    "core.index_bits": ("bits", "index of a target in a sparse list"),
    "numeric.weight_bits": ("bits", "a stored weight, sign included"),
    "numeric.weight_signed": ("flag", "whether a weight has a sign"),
    "numeric.tag_bits": ("bits", "a synaptic tag, sign included"),
    "numeric.delay_bits": ("bits", "a stored delay"),
    "numeric.delay_steps": ("steps", "the longest delay"),
    "numeric.trace_bits": ("bits", "a trace"),
    "numeric.state_bits": ("bits", "a state, sign included"),
    "numeric.decay_bits": ("bits", "a decay constant"),
    "numeric.threshold_bits": ("bits", "mantissa of a threshold"),
    "numeric.threshold_exponent": ("bits", "left shift of a threshold's mantissa"),
    "numeric.message_bits": ("bits", "payload of a message; 1: a binary spike"),
    "numeric.accumulator_bits": ("bits", "accumulator of the learning engine"),
    "learning.pre_variables": ("names", "presynaptic factors"),
    "learning.post_variables": ("names", "postsynaptic factors"),
    "learning.synaptic_variables": ("names", "what is stored per synapse: weight, delay, tag"),
    "learning.synaptic_states": ("variables", "variables of one synapse besides its weight"),
    "learning.dependencies": ("names", "what may start a product"),
    "learning.graded_messages": ("flag", "whether messages carry a number"),
    "learning.graded_post_factors": ("flag", "whether the neuron can write a number as a postsynaptic factor"),
    "learning.graded_pre_traces": ("flag", "whether presynaptic traces carry numbers, not filtered spikes only"),
    "learning.scale_mantissa_low": ("1", "smallest mantissa of a product's scale"),
    "learning.scale_mantissa_high": ("1", "largest mantissa of a product's scale"),
    "learning.scale_exponent_low": ("1", "smallest exponent of a product's scale"),
    "learning.scale_exponent_high": ("1", "largest exponent of a product's scale"),
    "learning.constant_bits": ("bits", "a constant of a rule"),
    "learning.max_products": ("products", "products in one rule"),
    "learning.epoch_max": ("steps", "the longest learning epoch"),
    "learning.trace_bits": ("bits", "integer part of a trace"),
    "learning.trace_signed": ("flag", "whether a trace has a sign"),
    "chip.cores": ("cores", "neurocores of one chip, as built"),
    "chip.usable_cores": ("cores", "neurocores of one chip that a program can use"),
    "chip.neurons": ("neurons", "neurons of one chip"),
    "chip.synapses": ("synapses", "synapses of one chip"),
    "chip.mesh_columns": ("tiles", "tiles of one chip in a row"),
    "chip.mesh_rows": ("tiles", "rows of tiles of one chip"),
    "chip.cores_per_tile": ("cores", "cores of one tile"),
    "chip.processors": ("processors", "embedded processors of one chip"),
    "chip.minimum_step": ("s", "the shortest time step of the whole chip"),
    "system.chips": ("chips", "chips of the system"),
    "system.neurons": ("neurons", "neurons of the system"),
    "system.synapses": ("synapses", "synapses of the system"),
    "system.columns": ("chips", "chips in a row of the system's mesh"),
    "system.rows": ("chips", "rows of chips of the system's mesh"),
    "system.link_slowdown": ("1", "bandwidth of a link on the chip over that of a link between chips"),
    "system.link_bandwidth": ("B/s", "bandwidth between chips, of the whole system"),
    "system.power_max": ("W", "the largest power of the system"),
}
"""Field -> (unit, meaning)."""

LIMITS: tuple[str, ...] = (
    "core.compartments", "core.synapse_bits", "core.memory_bits", "core.axons_in", "core.axons_out",
    "core.routing_bytes", "core.state_bytes", "core.program_bytes", "core.compartment_configurations",
    "core.threshold_configurations", "core.synapse_formats", "core.pre_trace_configurations",
    "numeric.delay_steps", "numeric.message_bits", "learning.synaptic_states",
    "chip.usable_cores", "chip.neurons", "chip.synapses", "system.chips", "system.neurons", "system.synapses")
"""What a mapping can exceed."""

PROFILE: dict[str, tuple[str, str]] = {
    "boundary": ("text", "what the figures cover"),
    "conditions": ("text", "voltage, silicon or simulation"),
    "synapse_energy": ("J", "one synaptic operation"),
    "synapse_time": ("s", "one synaptic operation"),
    "synapse_sparse_energy": ("J", "one synaptic operation of a sparse list"),
    "synapse_sparse_time": ("s", "one synaptic operation of a sparse list"),
    "synapse_shared_energy": ("J", "one synaptic operation of a shared kernel"),
    "synapse_shared_time": ("s", "one synaptic operation of a shared kernel"),
    "learning_energy": ("J", "one synaptic update of pairwise plasticity"),
    "learning_time": ("s", "one synaptic update of pairwise plasticity"),
    "neuron_active_energy": ("J", "one update of a neuron that has input or state"),
    "neuron_active_time": ("s", "one update of a neuron that has input or state"),
    "neuron_inactive_energy": ("J", "one update of an inactive neuron"),
    "neuron_inactive_time": ("s", "one update of an inactive neuron"),
    "spike_energy": ("J", "making one spike, over the update of the neuron"),
    "spike_time": ("s", "making one spike, over the update of the neuron"),
    "message_energy": ("J", "sending one message off the core, or within its tile"),
    "message_time": ("s", "sending one message off the core, or within its tile"),
    "hop_east_west_energy": ("J", "one hop to a neighbouring tile, east or west"),
    "hop_east_west_time": ("s", "one hop to a neighbouring tile, east or west"),
    "hop_north_south_energy": ("J", "one hop to a neighbouring tile, north or south"),
    "hop_north_south_time": ("s", "one hop to a neighbouring tile, north or south"),
    "barrier_time_low": ("s", "synchronising the smallest mesh"),
    "barrier_time_high": ("s", "synchronising the largest mesh"),
    "static_power": ("W", "power of one chip that does nothing"),
}
"""Field of a cost profile -> (unit, meaning)."""

GROUPS = (*dict.fromkeys(name.partition(".")[0] for name in FIELDS), "cost_profiles")
NUMBERS_AS_TEXT = {"text": str, "names": list}
"""Units whose values are no numbers -> their type."""


NOT_COUNTED = ("s", "J", "W", "B/s")
"""Units of measured quantities: at least 0, with fractions; all others count something."""
FROM_ZERO = ("core.routing_bytes", "core.program_bytes", "core.header_bits", "core.index_bits", "core.state_bytes",
             "numeric.tag_bits", "numeric.delay_bits", "numeric.decay_bits", "numeric.threshold_exponent",
             "learning.synaptic_states", "chip.processors")
"""Counts that can be 0; the others are at least 1."""
FORMATS = ("core.slots_per_learning_axon", "core.word_bits", "core.state_word_bits", "core.header_bits",
           "core.index_bits", "numeric.weight_bits", "numeric.tag_bits", "numeric.delay_bits", "numeric.state_bits")
"""What memory is counted with: a finite value is needed."""
KNOWN = (*FORMATS, "core.slot_per_compartment", "core.synapses_per_block")
"""Fields that cannot be unpublished; `boundary` and `conditions` of a profile neither."""


class Domain(NamedTuple):
    """Values that a field can have: `low` <= value (`above`: low < value), `whole` numbers, `finite`; `known`: one is
    needed."""

    low: float = -math.inf
    above: bool = False
    whole: bool = False
    finite: bool = False
    known: bool = False

    def holds(self, value: float) -> bool:
        if not math.isfinite(value):
            return not self.finite and value >= self.low
        return (value > self.low if self.above else value >= self.low) and (not self.whole or value == int(value))

    @property
    def text(self) -> str:
        """`a finite whole number, at least 1`"""
        kind = f"a {'finite ' if self.finite else ''}{'whole ' if self.whole else ''}number"
        if math.isinf(self.low):
            return kind
        return f"{kind}, {'more than' if self.above else 'at least'} {self.low:g}"


def domain_of(name: str, unit: str) -> Domain:
    """The domain of a field, `group.field` or `cost_profiles.PROFILE.field`."""
    known = name in KNOWN or unit == "text"
    if unit in ("flag", "names", "text"):
        return Domain(known=known)
    if unit in NOT_COUNTED:
        return Domain(0.0, finite=name.startswith("cost_profiles.") or unit == "s")
    if unit == "1":
        return Domain(0.0, above=True, finite=True) if name == "system.link_slowdown" else Domain(whole=True)
    return Domain(float(name not in FROM_ZERO), whole=True, finite=name in FORMATS, known=known)
