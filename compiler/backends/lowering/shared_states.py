"""States of a rule that are alike in all synapses of a cell: kept once per cell, with the bits of one per synapse.

    update x = decay * prev(x) + pre.spike       one x per presynaptic cell
    update y = decay * prev(y) + post.spike      one y per postsynaptic cell
    update e = 0.9 * prev(e) + x * post.spike    one e per synapse

Of lists of synapses. What is read of such a state is that of every synapse, as of any other.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from cortexc.compiler.backends.kernels.layout import pack_state, unpack_state
from cortexc.compiler.backends.kernels.nest import Kernel
from cortexc.compiler.backends.kernels.operations import First, Operation, Span
from cortexc.compiler.ir.errors import CortexError
from cortexc.compiler.ir.expressions import Expression, Name, walk
from cortexc.compiler.ir.model import Array
from cortexc.compiler.ir.synapses import Synapses

if TYPE_CHECKING:
    from cortexc.compiler.backends.lowering.factors import Factors
    from cortexc.compiler.backends.lowering.projections import ProjectionLowering
    from cortexc.compiler.backends.start import Start

Sides = dict[str, str]
"""State -> `pre` or `post`."""


def shared_states(factors: Factors, start: Start) -> Sides:
    """Those whose updates read one cell of the synapse and each other, and that begin alike."""
    name = factors.projection.name
    if name not in start.synapses or factors.shape.repeats > 1:
        return {}
    updates = dict(factors.updates)
    found = {state: "" for state in updates if not _read_too_early(state, factors.updates)}
    while True:
        sides = {state: factors.sides(updates[state], found) for state in found}
        known = {state: "".join(read) or "pre" for state, read in sides.items()
                 if len(read) < 2 and "synapse" not in read}
        known = {state: side for state, side in known.items()
                 if _alike(start.values[f"{name}.{state}"], start.synapses[name], side) is not None}
        if known == found:
            return found
        found = known


def _read_too_early(state: str, updates: list[tuple[str, Expression]]) -> bool:
    """Whether an update above its own reads it, and so sees the last step's value as this one's."""
    own = [name for name, _ in updates].index(state)
    return any(Name(state) in walk(expression) for _, expression in updates[:own + 1])


def _alike(values: Array, synapses: Synapses, side: str) -> Array | None:
    """(copies, cells) from (copies, synapses); None where synapses of a cell differ."""
    cells = synapses.cells(side)
    values = synapses.ordered(values)
    found = np.zeros((len(values), int(cells.max(initial=-1)) + 1))
    found[:, cells] = values
    return found if np.array_equal(found[:, cells].view(np.int64), values.view(np.int64)) else None


def pack_shared(values: Array, synapses: Synapses, side: str, name: str) -> Array:
    """(copies, synapses) as it lies in memory. Raises E526 for values that differ within a cell."""
    found = _alike(np.ascontiguousarray(values), synapses, side)
    if found is None:
        raise CortexError("E526", f"state '{name}' is kept once per {side}synaptic cell, but its new values differ "
                                  "between synapses of a cell.",
                          "Bind an array before the run: each synapse has its own then.")
    return pack_state(found)


def unpack_shared(flat: Array, synapses: Synapses, side: str, cells: int, copies: int) -> Array:
    """(..., copies, synapses) of the user."""
    return synapses.given(unpack_state(flat, cells, copies)[..., synapses.cells(side)])


def shared_operation(owner: ProjectionLowering, side: str) -> Operation:
    """Moves the states of one side on, of every cell; the last step's are kept beside them."""
    kernel = Kernel(f"States of rule {owner.factors.rule.name} that all synapses of a {side}synaptic cell share.")
    learning = owner.learning(kernel)
    own = [(name, expression) for name, expression in owner.factors.updates if owner.shared.get(name) == side]
    first, n = kernel.size("first", First()), kernel.size("cells", Span(owner.cells_of(side) * owner.shape.batch))
    with kernel.loop("i", first + n, first) as i:
        learning.cell = i
        for name, _ in own:
            now, before = (kernel.array(f"{name}_{when}", owner.shared_slot(name, age), n)[i]
                           for when, age in (("now", 0), ("before", 1)))
            kernel.store(before, now)
            kernel.let(f"old_{name}", now)
        for name, expression in own:
            kernel.let(f"v_{name}", learning.translation.value(expression))
            kernel.store(kernel.array(f"{name}_now", owner.shared_slot(name), n)[i], Name(f"v_{name}"))
    found = owner.operation(f"share_{side}_{owner.factors.rule.name}", kernel)
    return replace(found, apart=found.writes)
