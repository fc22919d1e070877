"""Which synapses a step of a rule moves: rows of presynaptic cells and columns of postsynaptic ones that spiked, where
the rule's increment is exactly 0 at all others; all of them where a gate is on that the increment waits for.

    increment a * x * post.spike - b * y * pre.spike        visits where pre.spike or post.spike is not 0
    increment a * x * post.rate                             visits all

What is proved is a range: the increment, with the vectors that spikes make, and perhaps gates, at 0 and everything
else anywhere within REACH, is 0, and nothing on the way leaves the finite numbers. A weight then keeps its bits: it is
within its bounds from the start on, and never -0.0. Whether everything is within REACH is looked at in every step;
where it is not, or a weight was set to -0.0, all synapses are visited from then on.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import product

import numpy as np

from cortexc.compiler.backends.kernels.nest import Array, Kernel, any_of, compared
from cortexc.compiler.backends.kernels.operations import IndexSlot
from cortexc.compiler.backends.kernels.whole import Int
from cortexc.compiler.backends.lowering.factors import VECTOR, Factors
from cortexc.compiler.backends.lowering.learning import Learning
from cortexc.compiler.backends.lowering.listed import ListedAxes
from cortexc.compiler.ir.cells import CellType
from cortexc.compiler.ir.expressions import Call, Expression, Name, Node, Number, Where, reads, walk
from cortexc.compiler.ir.functions import Floats
from cortexc.compiler.ir.model import Graph
from cortexc.compiler.passes.events import GATE
from cortexc.compiler.passes.ranges import Ranges, Values, only, value_ranges

REACH = 2.0**200
WITHIN, SILENT, DRAWN = Values(-REACH, REACH), only(0.0), Values(0.0, 1 - 2.0**-24)
WILD = "wild"
"""The quantity of a projection that says that all synapses are to be visited, and that weights may not be finite."""
Visit = Callable[[tuple[Int, Int, Int]], object]


@dataclass(frozen=True)
class Visits:
    """`pre`, `post`: vectors (`Q0`, `P1`) of which one is not 0 where a synapse moves; `others`: vectors, and `states`
    that synapses share, which have to be within REACH; `weights`: so have they, and nothing bounds them; `gates`: one
    of them on moves all; `factors`: other gates, within REACH."""

    pre: tuple[str, ...]
    post: tuple[str, ...]
    others: tuple[str, ...]
    states: tuple[str, ...]
    weights: bool
    gates: tuple[str, ...] = ()
    factors: tuple[str, ...] = ()


def visits_of(factors: Factors, graph: Graph, shared: Mapping[str, str]) -> Visits | None:
    """None where every synapse has to be visited."""
    rule, (low, high) = factors.rule, graph.class_of(factors.projection.name).bounds
    if factors.shape.batch > 1 or rule.optimiser.kind != "none" or len(shared) < len(rule.states) or any(
            bound == 0 and math.copysign(1.0, bound) < 0 for bound in (low, high)):
        return None
    read = reads(factors.increment)
    if any(VECTOR + name in read for name in factors.travelling):
        return None
    there = [name for name in factors.vectors if VECTOR + name in read]
    spiking = [name for name in there if _spikes(factors, graph, name)]
    pre, post = ([name for name in spiking if name.startswith(letter)] for letter in "QP")
    gates = sorted(name for name in read if name.startswith(GATE))
    for off, silent in product(dict.fromkeys(((), *((gate,) for gate in gates), tuple(gates))), (pre, post, spiking)):
        if silent and _stays(factors, graph, [*(VECTOR + name for name in silent), *off]):
            return Visits(tuple(n for n in silent if n in pre), tuple(n for n in silent if n in post),
                          tuple(n for n in there if n not in silent), tuple(n for n in shared if n in read),
                          "w" in read and not math.isfinite(low - high), off,
                          tuple(gate for gate in gates if gate not in off))
    return None


def _spikes(factors: Factors, graph: Graph, vector: str) -> bool:
    """Whether it is seldom anything but 0: the message, what has few values, 0 among them, or is 0 where all such are.
    """
    side, known = ("pre", factors.pre) if vector.startswith("Q") else ("post", factors.post)
    expression = known[int(vector[1:])]
    cells = value_ranges(graph, getattr(factors.projection, side))
    leaves = {name: cells.of(Name(name.split(".", 1)[1])) for name in reads(expression)
              if name.startswith(("post.",) if side == "post" else ("pre.", "arrived."))}
    quiet = {name: SILENT if _few(values) else WITHIN for name, values in leaves.items()}
    constants = _constants(factors, expression)
    message = graph.class_of(factors.projection.name).message
    return (expression in (Name(f"pre.{message}"), Name(f"arrived.{message}"))
            or _few(_range(expression, leaves | constants)) or _is_nothing(_range(expression, quiet | constants)))


def _few(values: Values) -> bool:
    return values.members is not None and 0.0 in values.members


def _constants(factors: Factors, expression: Expression) -> dict[str, Values]:
    """Parameters that it reads."""
    return {name: only(factors.scalar_value(Name(name))) for name in reads(expression)
            if not name.startswith(VECTOR) and factors.is_parameter(name)}


def _stays(factors: Factors, graph: Graph, silent: list[str]) -> bool:
    """Whether the increment is 0 where these vectors and gates are."""
    low, high = graph.class_of(factors.projection.name).bounds
    known = _constants(factors, factors.increment)
    known |= {name: DRAWN for name, _ in factors.rule.noise} | {s.name: WITHIN for s in factors.rule.states}
    known |= {VECTOR + name: WITHIN for name in factors.vectors}
    known |= {name: WITHIN for name in reads(factors.increment) if name.startswith(GATE)}
    known |= dict.fromkeys(silent, SILENT)
    known["w"] = WITHIN.within(low, high)
    found = [_range(node, known) for node in walk(factors.increment)]
    return all(math.isfinite(v.low) and math.isfinite(v.high) for v in found) and _is_nothing(
        _range(factors.increment, known))


def _range(expression: Expression, known: Mapping[str, Values]) -> Values:
    return Ranges(CellType("rule"), known).of(expression)


def _is_nothing(values: Values) -> bool:
    return values.low == values.high == 0.0


def starts_wild(weights: Floats) -> bool:
    """Whether a weight is -0.0, to which 0.0 may be added."""
    return bool((np.signbit(weights) & (weights == 0)).any())


# ---- loops


def each_moving(learning: Learning, visits: Visits, wild: Array, visit: Visit) -> None:
    """`visit` at every synapse that may move, its weight in `x`."""
    kernel, axes = learning.kernel, learning.axes
    everywhere = kernel.let("everywhere", wild[0])
    for array, side in ((learning.vector(n), "pre" if n.startswith("Q") else "post") for n in visits.others):
        _look(learning, array, side, everywhere)
    for state in visits.states:
        _look(learning, learning.shared_array(state, 0), learning.shared[state], everywhere)
        _look(learning, learning.shared_array(state, 1), learning.shared[state], everywhere)

    def at(j: Int, s: Int) -> None:
        kernel.let("x", learning.weights("w", "w")[j, s, 0])
        visit((j, s, 0))
        if visits.weights:
            with kernel.when(compared(compared(_size(Name("x")), "<=", REACH), "==", 0.0)):
                kernel.store(wild[0], 1.0)

    for gate in visits.factors:
        _note(kernel, everywhere, compared(_size(learning.translation.value(Name(gate))), "<=", REACH))
    kernel.store(wild[0], everywhere)
    for gate in visits.gates:
        _note(kernel, everywhere, compared(learning.translation.value(Name(gate)), "==", 0.0))
    moving = compared(everywhere, "!=", 0.0)
    with axes.each_row() as j:
        learning.load_row(j)
        active = [compared(learning.row_locals[name], "!=", 0.0) for name in visits.pre]
        with kernel.when(any_of([moving, *active])), axes.each_along(j) as (s, _):
            at(j, s)
    if visits.post:
        _each_column(learning, visits, everywhere, at)


def _each_column(learning: Learning, visits: Visits, everywhere: Name, at: Callable[[Int, Int], None]) -> None:
    """Columns of postsynaptic cells that spiked, but for the rows that have been visited."""
    kernel, axes = learning.kernel, learning.axes
    learning.row_locals.clear()

    def unless_visited(j: Int, s: Int) -> None:
        active = [compared(learning.vector(name)[j, 0, 0], "!=", 0.0) for name in visits.pre]
        with kernel.when(compared(any_of(active), "==", 0.0) if active else Number(1.0)):
            at(j, s)

    targets = axes.each_target() if isinstance(axes, ListedAxes) else kernel.loop("k", axes.width)
    with kernel.when(compared(everywhere, "==", 0.0)), targets as k:
        spiked = [compared(learning.vector(name)[k, 0, 0], "!=", 0.0) for name in visits.post]
        with kernel.when(any_of(spiked)):
            if isinstance(axes, ListedAxes):
                starts, places, rows = (kernel.indices(f"of_{key}", IndexSlot(f"{learning.projection.name}.{key}"))
                                        for key in ("column_starts", "column_places", "column_pre"))
                with kernel.loop("i", starts[k + 1], starts[k]) as i:
                    unless_visited(rows[i], places[i])
            else:
                with axes.each_row() as j:
                    unless_visited(j, k)


def _look(learning: Learning, array: Array, side: str, everywhere: Name) -> None:
    """Whether all of an array is within REACH; nan is not."""
    kernel, shape = learning.kernel, learning.shape
    cells = kernel.size(f"{side}_cells", shape.pre if side == "pre" else shape.post)
    with kernel.loop("i", cells) as i:
        _note(kernel, everywhere, compared(_size(array[i, 0, 0]), "<=", REACH))


def _note(kernel: Kernel, everywhere: Name, harmless: Node) -> None:
    kernel.set(everywhere, Where(harmless, everywhere, Number(1.0)))


def _size(value: Node) -> Node:
    return Call("abs", (value,))
