"""How long a cell is refractory, and when it may spike again.

U109: a refractoriness that cannot be said.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from cortexc.compiler.front.brian2.naming import plain
from cortexc.compiler.front.brian2.units import powers, to_graph
from cortexc.compiler.ir import Binary, Call, CortexError, Expression, Name, Number, Prev, State, Where

if TYPE_CHECKING:
    from cortexc.compiler.front.brian2.cells import Cell

ONE, ZERO = Number(1.0), Number(0.0)
Pause = tuple[Expression, tuple[str, Expression, Expression]]
"""Whether a cell may spike, and a state: its name, its value after a spike, and without one."""


def pause(cell: Cell) -> Pause | None:
    """None for a cell that is never refractory. Raises U109."""
    said: Any = getattr(cell.group, "_refractory", False)
    if said is False:
        return None
    if np.any(cell.group.variables["lastspike"].get_value() != -1e4):
        raise CortexError("U109", f"{cell.where} starts with times of last spikes.", "Let it start without.")
    if isinstance(said, str):
        from brian2.parsing.expressions import parse_expression_dimensions
        from brian2.utils.stringtools import get_identifiers

        known = {name: cell.variable(name) for name in get_identifiers(said)}
        if not any(powers(parse_expression_dimensions(said, known))):
            return _until(cell, said)
    return _for(cell, said)


def _until(cell: Cell, condition: str) -> Pause:
    """Refractory from a spike on until the condition is over."""
    active, eligible = plain("active", cell.taken), plain("eligible", cell.taken)
    cell.states.append(State(active))
    cell.arrays[active] = np.broadcast_to(cell.value("not_refractory"), (len(cell.group),)).copy()
    over = Binary("==", cell.translated(condition), ZERO)
    value = Where(Binary("or", Prev(active, 1).above(0.0), over), ONE, ZERO)
    return cell.emit(eligible, value, cell.stage).above(0.0), (active, ZERO, Name(eligible))


def _for(cell: Cell, said: Any) -> Pause:
    """Refractory for so many whole steps, of which that of the spike is the first."""
    if isinstance(said, str):
        length = cell.translated(said)
    else:
        length = Number(float(to_graph(float(said), powers(said.dim))), "ms")
    if not cell.is_constant(length):
        raise CortexError("U109", f"refractory='{said}' of {cell.where} changes while it runs.",
                          "Give a time, a parameter that nothing changes, or a condition.")
    left = plain("refractory", cell.taken)
    cell.states.append(State(left))
    steps = Call("floor", (length / Name("dt") + 0.001,))
    after = Call("max", (steps - 1.0, ZERO))
    return Binary("<=", Prev(left, 1), ZERO), (left, after, Call("max", (Prev(left, 1) - 1.0, ZERO)))
