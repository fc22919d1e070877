"""What presynaptic cells had when the messages left that arrive now: `arrived.x` of rules.

What leaves in a step is kept in a ring, once per presynaptic cell. Where all synapses have one delay, what arrives is
one vector, as `pre.x` is; where they have their own, every synapse reads the ring at its own place.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cortexc.compiler.backends.kernels.layout import pack_state
from cortexc.compiler.backends.kernels.nest import Counter, Kernel
from cortexc.compiler.backends.kernels.operations import Operation, Slot, slot_name
from cortexc.compiler.backends.kernels.whole import Int, Joined
from cortexc.compiler.backends.quoting import identifier
from cortexc.compiler.backends.start import Start
from cortexc.compiler.ir.evaluation import evaluate
from cortexc.compiler.ir.expressions import Name, Node, Prev
from cortexc.compiler.ir.model import Array

if TYPE_CHECKING:
    from cortexc.compiler.backends.lowering.synapse_code import SynapseCode


def arrivals(owner: SynapseCode) -> list[Operation]:
    """The operations that keep what leaves, and say what arrives; none for rules that do not ask."""
    factors, shape = owner.factors, owner.shape
    if not factors.arriving:
        return []
    kernel = Kernel(f"What leaves for rule {factors.rule.name}, and what arrives.")
    cells, steps = kernel.size("cells", shape.cells[0] * shape.batch), kernel.size("steps", factors.ring_steps)
    cursor = factors.own("leaving")

    def leaf(node: Name | Prev) -> Node:
        quantity, depth = identifier(node.name.split(".")[1]), node.depth if isinstance(node, Prev) else 0
        return kernel.array(f"o_{quantity}_{depth}", Slot(slot_name(factors.projection.pre, quantity, depth)), cells)[k]

    translation = factors.translation(kernel, leaf)
    first = Counter(kernel.array("cursor", owner.slots.add(cursor, 1), 1)[0])
    with kernel.loop("now", first + 1, first) as now, kernel.loop("k", cells) as k:
        for name in factors.arriving:
            ring = kernel.array(f"left_{name}", factors.ring(name), steps, cells)
            kernel.store(ring[now, k], translation.value(factors.pre[int(name[1:])]))
            if name not in factors.travelling:
                there = Joined("%", now + 1, steps) if factors.ring_steps > 1 else 0
                kernel.store(kernel.array(f"at_{name}", factors.vectors[name], cells)[k], ring[there, k])
    return [owner.step_on(cursor, factors.ring_steps), owner.operation(f"arrive_{factors.rule.name}", kernel)]


def arrived_at(owner: SynapseCode, kernel: Kernel, vector: str, place: tuple[Int, Int, Int], late: Int) -> Node:
    """What arrives at a synapse whose messages take `late` steps more than the least."""
    factors, shape = owner.factors, owner.shape
    steps = kernel.size("left_steps", factors.ring_steps)
    ring = kernel.array(f"left_{vector}", factors.ring(vector), steps, shape.cells[0], shape.copies, shape.repeats)
    now = Counter(kernel.array("leaving", owner.slots.add(factors.own("leaving"), 1), 1)[0])
    least = factors.ring_steps - factors.age
    j, c, r = place
    return ring[Joined("%", now + least - late, steps), j, c, r]


def nothing_arrived(owner: SynapseCode, start: Start) -> dict[str, Array]:
    """The rings before the first step, by slot: what cells had then, in every step."""
    factors, population = owner.factors, owner.projection.pre
    size, found = (owner.graph.batch, owner.shape.cells[0]), {}

    def look(read: str, depth: int = 0) -> Array:
        if not read.startswith("arrived."):
            return start.look(owner.projection.name, read)
        return start.values.get(f"{population}.{read.split('.', 1)[1]}", np.zeros(size))

    for name in factors.arriving:
        with np.errstate(all="ignore"):
            values = np.broadcast_to(evaluate(factors.pre[int(name[1:])], look, look), size).astype(np.float64)
        found[factors.ring(name).name] = np.tile(pack_state(values), factors.ring_steps)
    return found
