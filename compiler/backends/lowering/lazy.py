"""Operations of a rule whose states at synapses wait for a visit (`waiting.py` has the books).

    begin    counts the step, and says whether all synapses are visited in it
    learn    visits; a state that has waited is first multiplied with what it is by now
    end      writes down who was visited
    show     brings a state up to date for recordings, beside the one that waits

Where all synapses are visited step after step nothing waits, and the loop is the plain one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from cortexc.compiler.backends.kernels.nest import Array, Kernel, compared
from cortexc.compiler.backends.kernels.operations import Operation, Slot
from cortexc.compiler.backends.kernels.whole import Int
from cortexc.compiler.backends.lowering.learning import Learning
from cortexc.compiler.backends.lowering.visits import (
    Visits,
    active_at,
    each_visited,
    everywhere_in,
    note,
    within_reach,
)
from cortexc.compiler.backends.lowering.waiting import ALL, CLOCK, EVERYWHERE, MOVING, NOW, POWERS, SWEEP, Waiting
from cortexc.compiler.backends.quoting import fresh
from cortexc.compiler.ir.expressions import Binary, Lookup, Name, Node, Number, Where, reads

if TYPE_CHECKING:
    from cortexc.compiler.backends.lowering.projections import ProjectionLowering

MANY = 16
"""Where more than one in so many cells has an event, all synapses are visited: row after row, they are faster."""


class Lazy:
    """Of one projection."""

    def __init__(self, owner: ProjectionLowering, visits: Visits, waiting: Waiting):
        self.owner, self.visits, self.waiting = owner, visits, waiting
        owner.slots.add(waiting.clock, CLOCK)
        for side in ("pre", "post"):
            owner.slots.add(waiting.visited(side), waiting.cells(side))

    def _clock(self, kernel: Kernel) -> Array:
        return kernel.array("clock", Slot(self.waiting.clock), CLOCK)

    def _visited(self, kernel: Kernel, side: str) -> Array:
        slot = Slot(self.waiting.visited(side), along=side == "post" and self.owner.shape.listed is None)
        return kernel.array(f"{side}_visited", slot, kernel.size(f"{side}_places", self.waiting.cells(side)))

    def begin(self) -> Operation:
        kernel = Kernel("Counts the step; says whether all synapses are visited in it.")
        learning, clock = self.owner.learning(kernel, whole=True), self._clock(kernel)
        now = kernel.let("now", clock[NOW] + 1.0)
        kernel.store(clock[NOW], now)
        everywhere = everywhere_in(learning, self.visits, kernel.array("wild", self.owner.wild, 1))
        moving = kernel.let("moving", everywhere if self.visits.resting else 1.0)
        for vector in (*self.visits.pre, *self.visits.post):
            count = self._count(learning, vector)
            note(kernel, everywhere, compared(count, "<=", float(self._cells_of(vector) // MANY)))
            if vector in self.visits.rare:
                note(kernel, moving, compared(count, "==", 0.0))
        note(kernel, everywhere, compared(now, "<", float(SWEEP)))
        kernel.store(clock[EVERYWHERE], everywhere)
        kernel.store(clock[MOVING], Where(learning.learns, moving, Number(0.0)))
        return self.owner.of_rule("begin", kernel)

    def _count(self, learning: Learning, vector: str) -> Name:
        """How many cells have an event."""
        kernel = learning.kernel
        count = kernel.let(f"count_{vector}", 0.0)
        with kernel.loop("i", kernel.size(f"cells_{vector}", self._cells_of(vector))) as i:
            here = active_at(learning, self.visits, vector, learning.vector(vector)[i, 0, 0])
            kernel.set(count, count + Where(here, Number(1.0), Number(0.0)))
        return count

    def _cells_of(self, vector: str) -> int:
        return self.owner.shape.cells[0 if vector.startswith("Q") else 1]

    def learn(self, learning: Learning) -> None:
        """At every synapse of this step, with its states up to date."""
        kernel, clock = learning.kernel, self._clock(learning.kernel)
        everywhere, before = kernel.let("everywhere", clock[EVERYWHERE]), kernel.let("before", clock[NOW] - 1.0)
        kernel.let("moving", clock[MOVING])
        far = kernel.let("far", 0.0)
        again = Binary("and", compared(everywhere, "!=", 0.0), compared(clock[ALL], "==", before))
        with kernel.when(again), learning.axes.each_row() as j:
            learning.load_row(j)
            with learning.axes.each_along(j) as (k, c):
                self._visit(learning, (j, k, c))
        with kernel.otherwise():
            learning.waited = self._waited(learning)
            each_visited(learning, self.visits, everywhere, lambda place: self._late_visit(learning, before, place))
        with kernel.when(compared(far, "!=", 0.0)):
            kernel.store(kernel.array("wild", self.owner.wild, 1)[0], 1.0)

    def _late_visit(self, learning: Learning, before: Name, place: tuple[Int, Int, Int]) -> None:
        self._count_steps(learning, before, place)
        self._visit(learning, place)

    def _visit(self, learning: Learning, place: tuple[Int, Int, Int]) -> None:
        """The states move; the weight, which is looked at only then, where it may."""
        kernel = learning.kernel
        early = any("w" in reads(expression) for _, expression in learning.factors.updates)
        if early:
            kernel.let("x", learning.weights("w", "w")[place])
        learning.move_states(place)
        for state in self.visits.decays:
            note(kernel, Name("far"), within_reach(Name(f"v_{state}")))
        with kernel.when(compared(Name("moving"), "!=", 0.0)):
            if not early:
                kernel.let("x", learning.weights("w", "w")[place])
            learning.step(place, learning.after_states(place))
            if self.visits.weights:
                note(kernel, Name("far"), within_reach(Name("x")))

    def _waited(self, learning: Learning) -> Callable[[str, Node], Node]:
        """What a stored state is after the steps in the local `waits`."""
        def value(state: str, found: Node) -> Node:
            decay = self.waiting.decays[state]
            return found if decay == 1 else found * self._power(learning.kernel, state, decay)

        return value

    def _power(self, kernel: Kernel, state: str, decay: float) -> Node:
        table = fresh(f"powers_{state}", {name.removeprefix("table.") for name in self.owner.graph.arrays})
        powers = kernel.array(f"table_{table}", self.owner.slots.add(f"{POWERS}{decay.hex()}", SWEEP + 1))
        table = powers.name.removeprefix("table_")  # of the first state with this decay
        kernel.size(f"entries_{table}", SWEEP + 1)
        return Lookup(table, Name("waits"))

    def _count_steps(self, learning: Learning, until: Node, place: tuple[Int, Int, Int]) -> None:
        """The steps since a synapse was visited, in the local `waits`."""
        kernel, (j, k, _) = learning.kernel, place
        last = kernel.let("last", self._clock(kernel)[ALL])
        for side, cell in (("pre", j), ("post", learning.axes.post_place(k))):
            visited = kernel.let(f"last_{side}", self._visited(kernel, side)[cell])
            kernel.set(last, Where(compared(visited, ">", last), visited, last))
        kernel.let("waits", until - last)

    def end(self) -> Operation:
        kernel = Kernel("Writes down which synapses were visited.")
        learning, clock = self.owner.learning(kernel, whole=True), self._clock(kernel)
        now = kernel.let("now", clock[NOW])
        with kernel.when(compared(clock[EVERYWHERE], "!=", 0.0)):
            kernel.store(clock[ALL], now)
        with kernel.otherwise():
            for side, vectors in (("pre", self.visits.pre), ("post", self.visits.post)):
                for vector in vectors:
                    self._write_down(learning, side, vector, now)
        with kernel.when(compared(now, ">=", float(SWEEP))):
            self._start_again(kernel, clock)
        return self.owner.of_rule("end", kernel)

    def _write_down(self, learning: Learning, side: str, vector: str, now: Name) -> None:
        kernel = learning.kernel
        visited = self._visited(kernel, side)
        with kernel.loop("i", kernel.size(f"{side}_cells", self._cells_of(vector))) as i:
            value = kernel.let(f"value_{vector}", learning.vector(vector)[i, 0, 0])
            with kernel.when(active_at(learning, self.visits, vector, value)):
                kernel.store(visited[i], now)

    def _start_again(self, kernel: Kernel, clock: Array) -> None:
        kernel.store(clock[NOW], 0.0)
        kernel.store(clock[ALL], 0.0)
        for side in ("pre", "post"):
            visited = self._visited(kernel, side)
            with kernel.loop("i", visited.axes[0]) as i:
                kernel.store(visited[i], 0.0)

    def show(self) -> list[Operation]:
        """Of the states that are observed."""
        return [self._shown(state) for state in self.waiting.decays if self.owner.slot(state) in self.owner.observed]

    def _shown(self, state: str) -> Operation:
        kernel = Kernel("A state that waits, as it is now.")
        learning = self.owner.learning(kernel, whole=True)
        now, value = kernel.let("now", self._clock(kernel)[NOW]), self._waited(learning)
        into = learning.axes.weights("shown", self.owner.slots.add(
            self.waiting.shown(state), self.owner.shape.weights))
        with learning.axes.each_weight() as place:
            self._count_steps(learning, now, place)
            kernel.store(into[place], value(state, learning.weights("state", state)[place]))
        return self.owner.of_rule("show", kernel)
