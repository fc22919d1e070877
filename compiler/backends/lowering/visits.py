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
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import product

import numpy as np

from cortexc.compiler.backends.kernels.nest import Array, Kernel, any_of, compared
from cortexc.compiler.backends.kernels.operations import IndexSlot
from cortexc.compiler.backends.kernels.whole import Int
from cortexc.compiler.backends.lowering.factors import VECTOR, Factors
from cortexc.compiler.backends.lowering.learning import Learning
from cortexc.compiler.backends.lowering.listed import ListedAxes
from cortexc.compiler.ir.expressions import Binary, Call, Expression, Name, Node, Number, Where, reads
from cortexc.compiler.ir.functions import Floats
from cortexc.compiler.ir.model import Graph
from cortexc.compiler.passes.defer_decay import REACH, SILENT, WITHIN, decays, is_nothing, range_of, vanishes
from cortexc.compiler.passes.events import GATE
from cortexc.compiler.passes.ranges import Values, only, value_ranges

DRAWN = Values(0.0, 1 - 2.0**-24)
WILD = "wild"
"""The quantity of a projection that says that all synapses are to be visited, and that weights may not be finite."""
Visit = Callable[[tuple[Int, Int, Int]], object]


@dataclass(frozen=True)
class Visits:
    """`pre`, `post`: vectors (`Q0`, `P1`) of which one is not 0 where a synapse moves; `others`: vectors, and `states`
    that synapses share, which have to be within REACH; `weights`: so have they, and nothing bounds them; `gates`: one
    of them on moves all; `factors`: other gates, within REACH; `decays`: states of single synapses, and what they are
    multiplied with in a step without a visit; `rare`: those of `pre` and `post` that count where the rule learns;
    `resting`: weights rest where these alone are 0."""

    pre: tuple[str, ...]
    post: tuple[str, ...]
    others: tuple[str, ...]
    states: tuple[str, ...]
    weights: bool
    gates: tuple[str, ...] = ()
    factors: tuple[str, ...] = ()
    decays: Mapping[str, float] = field(default_factory=dict)
    rare: tuple[str, ...] = ()
    resting: bool = False


def visits_of(factors: Factors, graph: Graph, shared: Mapping[str, str], lazy: bool = False) -> Visits | None:
    """None where every synapse has to be visited. `lazy`: states of single synapses may wait for a visit."""
    rule, (low, high) = factors.rule, graph.class_of(factors.projection.name).bounds
    own = [s.name for s in rule.states if s.name not in shared]
    if factors.shape.batch > 1 or rule.optimiser.kind != "none" or own and not lazy or any(
            bound == 0 and math.copysign(1.0, bound) < 0 for bound in (low, high)):
        return None
    read = reads(factors.increment).union(*(reads(e) for name, e in factors.updates if name in own))
    if any(VECTOR + name in read for name in factors.travelling):
        return None
    there = [name for name in factors.vectors if VECTOR + name in read]
    spiking = [name for name in there if _spikes(factors, graph, name, gated=bool(own))]
    pre, post = ([name for name in spiking if name.startswith(letter)] for letter in "QP")
    gates = sorted(name for name in read if name.startswith(GATE))
    for rare, off, silent in product(_rare(factors, there, spiking) if own else ((),),
                                     dict.fromkeys(((), *((gate,) for gate in gates), tuple(gates))),
                                     (pre, post, spiking)):
        quiet, moving = [*(VECTOR + name for name in silent), *off], (*silent, *rare)
        found = _decays(factors, graph, own, quiet)
        if (silent or own) and found is not None and _stays(factors, graph, quiet + [VECTOR + name for name in rare]):
            return Visits(tuple(n for n in moving if n.startswith("Q")), tuple(n for n in moving if n.startswith("P")),
                          tuple(n for n in there if n not in silent), tuple(n for n in shared if n in read),
                          "w" in read and not math.isfinite(low - high), off,
                          tuple(gate for gate in gates if gate not in off), found, rare,
                          bool(rare) and _stays(factors, graph, [*(VECTOR + name for name in rare), *off]))
    return None


def _rare(factors: Factors, there: list[str], spiking: list[str]) -> Iterator[tuple[str, ...]]:
    """None, then the other vectors of the increment: of postsynaptic cells, of presynaptic ones, all."""
    read = reads(factors.increment)
    others = [name for name in there if VECTOR + name in read and name not in spiking]
    yield from dict.fromkeys(tuple(n for n in others if n.startswith(side)) for side in ((), "P", "Q", ("P", "Q")))


def _spikes(factors: Factors, graph: Graph, vector: str, gated: bool) -> bool:
    """Whether it is seldom anything but 0: the message, what has few values, 0 among them, or is 0 where all such are;
    `gated`: and gates are off."""
    side, known = ("pre", factors.pre) if vector.startswith("Q") else ("post", factors.post)
    expression = known[int(vector[1:])]
    cells = value_ranges(graph, getattr(factors.projection, side))
    leaves = {name: cells.of(Name(name.split(".", 1)[1])) for name in reads(expression)
              if name.startswith(("post.",) if side == "post" else ("pre.", "arrived."))}
    quiet = {name: SILENT if _few(values) else WITHIN for name, values in leaves.items()}
    quiet |= {name: SILENT for name in reads(expression) if gated and name.startswith(GATE)}
    constants = _constants(factors, expression)
    message = graph.class_of(factors.projection.name).message
    return (expression in (Name(f"pre.{message}"), Name(f"arrived.{message}"))
            or _few(range_of(expression, leaves | constants)) or is_nothing(expression, quiet | constants))


def _few(values: Values) -> bool:
    return values.members is not None and 0.0 in values.members


def _constants(factors: Factors, expression: Expression) -> dict[str, Values]:
    """Parameters that it reads."""
    return {name: only(factors.scalar_value(Name(name))) for name in reads(expression)
            if not name.startswith(VECTOR) and factors.is_parameter(name)}


def _stays(factors: Factors, graph: Graph, silent: list[str]) -> bool:
    """Whether the increment is 0 where these vectors and gates are."""
    return vanishes(factors.increment, _known(factors, graph, factors.increment, silent))


def _decays(factors: Factors, graph: Graph, own: list[str], silent: list[str]) -> dict[str, float] | None:
    """What these states are multiplied with where these vectors and gates are 0; None if more happens to them."""
    known: dict[str, Values] = {}
    for _, expression in factors.updates:
        known |= _known(factors, graph, expression, silent)
    return decays(factors.updates, own, known, factors.scalar_value)


def _known(factors: Factors, graph: Graph, expression: Expression, silent: list[str]) -> dict[str, Values]:
    low, high = graph.class_of(factors.projection.name).bounds
    known = _constants(factors, expression)
    known |= {name: DRAWN for name, _ in factors.rule.noise} | {s.name: WITHIN for s in factors.rule.states}
    known |= {VECTOR + name: WITHIN for name in factors.vectors}
    known |= {name: WITHIN for name in reads(expression) if name.startswith(GATE)}
    known |= dict.fromkeys(silent, SILENT)
    known["w"] = WITHIN.within(low, high)
    return known


def starts_wild(weights: Floats, *states: Floats) -> bool:
    """Whether a weight is -0.0, to which 0.0 may be added, or a state is not within REACH; nan is not."""
    return bool((np.signbit(weights) & (weights == 0)).any()) or not all(
        (np.abs(values) <= REACH).all() for values in states)


# ---- loops


def each_moving(learning: Learning, visits: Visits, wild: Array, visit: Visit) -> None:
    """`visit` at every synapse that may move, its weight in `x`."""
    kernel = learning.kernel

    def at(place: tuple[Int, Int, Int]) -> None:
        kernel.let("x", learning.weights("w", "w")[place])
        visit(place)
        if visits.weights:
            with kernel.when(compared(within_reach(Name("x")), "==", 0.0)):
                kernel.store(wild[0], 1.0)

    each_visited(learning, visits, everywhere_in(learning, visits, wild), at)


def everywhere_in(learning: Learning, visits: Visits, wild: Array) -> Name:
    """A local that is not 0 where all synapses are to be visited."""
    kernel = learning.kernel
    everywhere = kernel.let("everywhere", wild[0])
    for array, side in ((learning.vector(n), "pre" if n.startswith("Q") else "post") for n in visits.others):
        _look(learning, array, side, everywhere)
    for state in visits.states:
        _look(learning, learning.shared_array(state, 0), learning.shared[state], everywhere)
        _look(learning, learning.shared_array(state, 1), learning.shared[state], everywhere)
    for gate in visits.factors:
        note(kernel, everywhere, within_reach(learning.translation.value(Name(gate))))
    kernel.store(wild[0], everywhere)
    for gate in visits.gates:
        note(kernel, everywhere, compared(learning.translation.value(Name(gate)), "==", 0.0))
    return everywhere


def each_visited(learning: Learning, visits: Visits, everywhere: Name, at: Visit) -> None:
    """Rows of presynaptic cells with an event, or all of them, and columns of postsynaptic cells with one."""
    kernel, axes = learning.kernel, learning.axes
    moving = compared(everywhere, "!=", 0.0)
    with axes.each_row() as j:
        learning.load_row(j)
        active = [active_at(learning, visits, name, learning.row_locals[name]) for name in visits.pre]
        with kernel.when(any_of([moving, *active])), axes.each_along(j) as (s, _):
            at((j, s, 0))
    if visits.post:
        _each_column(learning, visits, everywhere, at)


def active_at(learning: Learning, visits: Visits, vector: str, value: Node) -> Node:
    """Whether this value of a vector makes its cell's synapses move."""
    here = compared(value, "!=", 0.0)
    return Binary("and", learning.learns, here) if vector in visits.rare else here


def _each_column(learning: Learning, visits: Visits, everywhere: Name, at: Visit) -> None:
    """Columns of postsynaptic cells that spiked, but for the rows that have been visited."""
    kernel, axes = learning.kernel, learning.axes
    learning.row_locals.clear()

    def unless_visited(j: Int, s: Int) -> None:
        active = [active_at(learning, visits, name, learning.vector(name)[j, 0, 0]) for name in visits.pre]
        with kernel.when(compared(any_of(active), "==", 0.0) if active else Number(1.0)):
            at((j, s, 0))

    targets = axes.each_target() if isinstance(axes, ListedAxes) else kernel.loop("k", axes.width)
    with kernel.when(compared(everywhere, "==", 0.0)), targets as k:
        spiked = [active_at(learning, visits, name, learning.vector(name)[k, 0, 0]) for name in visits.post]
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
        note(kernel, everywhere, within_reach(array[i, 0, 0]))


def note(kernel: Kernel, everywhere: Name, harmless: Node) -> None:
    """Sets a local to 1 unless something is harmless."""
    kernel.set(everywhere, Where(harmless, everywhere, Number(1.0)))


def within_reach(value: Node) -> Node:
    """False for nan."""
    return compared(Call("abs", (value,)), "<=", REACH)
