"""Writing the products and increments of one projection into kernels, in the order of the plain sums."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property

from cortexc.compiler.backends.kernels.layout import shape_of
from cortexc.compiler.backends.kernels.nest import Accumulation, Array, Axis, Kernel, Load, Signed, compared
from cortexc.compiler.backends.kernels.operations import IndexSlot, Operation, Slot, SlotTable, along, slot_name
from cortexc.compiler.backends.kernels.table import KernelTable
from cortexc.compiler.backends.kernels.whole import Index, Int
from cortexc.compiler.backends.lowering.arrivals import arrived_at
from cortexc.compiler.backends.lowering.factors import Factors
from cortexc.compiler.backends.lowering.learning import Axes, Delivered, Learning
from cortexc.compiler.backends.lowering.listed import axes_of
from cortexc.compiler.backends.lowering.shared_states import Sides, shared_states
from cortexc.compiler.backends.lowering.storage import Storage
from cortexc.compiler.backends.lowering.visits import WILD, Visits, visits_of
from cortexc.compiler.backends.lowering.waiting import Waiting
from cortexc.compiler.backends.start import Start
from cortexc.compiler.ir.arrays import connection_mask
from cortexc.compiler.ir.errors import CortexError
from cortexc.compiler.ir.expressions import Name, Node, Number, Where
from cortexc.compiler.ir.model import Array as Numbers
from cortexc.compiler.ir.model import PlasticityRule, Projection
from cortexc.compiler.passes.defer_decay import LAZY
from cortexc.compiler.passes.events import moves_at_events, sends_events

ALONG = 8
"""Samples from which on loops go along them."""
BLOCK = 40
"""Presynaptic cells whose messages stay in the innermost cache."""
ROWS = 16
"""Rows whose increments are made at once."""

RowsFiller = Callable[[Int, int, Array], None]
Sums = list[tuple[Array, Delivered]]
"""Currents, and what the message is multiplied with."""


class SynapseCode:
    """One projection: its slots, and how its products and increments are written into kernels."""

    def __init__(self, storage: Storage, projection: Projection, slots: SlotTable, kernels: KernelTable,
                 observed: frozenset[str], start: Start):
        self.storage, self.slots, self.kernels = storage, slots, kernels
        self.graph, self.observed, self.start = storage.graph, observed, start
        self.may_wait = projection.lowering == LAZY
        self.projection = projection = replace(projection, lowering="") if self.may_wait else projection
        self.twin: SynapseCode | None = None
        self.leader: SynapseCode | None = None
        self.synapse, self.gate = self.graph.class_of(projection.name), projection.gate or ""
        self.rule = self.graph.rule_of(projection) if self.synapse.kind.weighted else None
        synapses = start.synapses.get(projection.name)
        self.steps_ahead = synapses.slots if synapses else 1
        self.shared: Sides = {}
        self.shape = shape_of(self.graph, projection)
        if not self.synapse.kind.weighted:
            return
        self.slots.add(self.slot("w"), self.shape.weights)
        self.slots.add(self.slot("current"), self.shape.post_cells * self.shape.batch)
        if self.rule:
            self.factors = Factors(storage, projection, self.rule, self.shape, slots, kernels, synapses)
            self.shared = shared_states(self.factors, start)
            for name in self._per_synapse(self.rule):
                self.slots.add(self.slot(name), self.shape.weights)
            for name in self.shared:
                self.shared_slot(name), self.shared_slot(name, 1)
            self._check_supported(self.rule)

    @cached_property
    def visits(self) -> Visits | None:
        """Which synapses a step of the rule moves, where that is not all of them."""
        at_events = self.may_wait or self.shape.listed is not None or moves_at_events(self.graph, self.projection)
        return visits_of(self.factors, self.graph, self.shared, self.may_wait) if self.rule and at_events else None

    @cached_property
    def waiting(self) -> Waiting | None:
        """The books of states that wait for a visit."""
        if not self.visits or not self.visits.decays:
            return None
        synapses = self.start.synapses.get(self.projection.name)
        return Waiting(self.projection.name, self.factors.own, self.shape, self.visits.decays, synapses)

    @property
    def states_that_wait(self) -> list[Numbers]:
        """Their first values."""
        return [self.start.values[self.slot(state)] for state in self.visits.decays] if self.visits else []

    @property
    def wild(self) -> Slot:
        return self.slots.add(self.slot(WILD), 1)

    @property
    def mirrored(self) -> bool:
        return any(m.target == self.projection.name for m in self.graph.mirrors)

    @property
    def along_samples(self) -> bool:
        """Whether a list delivers graded messages along the samples, silent ones too: weights are finite."""
        return (self.shape.repeats >= ALONG and self.rule is None and not self.mirrored
                and not sends_events(self.graph, self.projection))

    @property
    def sends_events(self) -> bool:
        """Whether silent cells are left out of the product: weights are finite, or the slot `wild` says otherwise."""
        if self.projection.lowering or self.mirrored:
            return False
        finite = self.rule is None or self.visits is not None and self.rule.deliver == Name("w")
        return finite and sends_events(self.graph, self.projection)

    @property
    def weight_slot(self) -> Slot:
        """Where the weights lie; those of twins with their signs."""
        return self.slots.add(self.slot("signed"), self.shape.weights) if self.twin else Slot(self.slot("w"))

    @property
    def together(self) -> list[SynapseCode]:
        """The projections that are delivered with this one."""
        return [self, self.twin] if self.twin else [self]

    def slot(self, quantity: str) -> str:
        return slot_name(self.projection.name, quantity)

    def own(self, quantity: str) -> str:
        return self.factors.own(quantity) if self.rule else self.slot(quantity)

    @cached_property
    def masked(self) -> bool:
        return connection_mask(self.graph, self.projection) is not None

    def _per_synapse(self, rule: PlasticityRule) -> list[str]:
        return [*(s.name for s in rule.states if s.name not in self.shared), *(["mask"] if self.masked else [])]

    def cells_of(self, side: str) -> int:
        return self.shape.pre if side == "pre" else self.shape.post

    def shared_slot(self, state: str, age: int = 0) -> Slot:
        """Of a state that synapses of a cell share, of this step or of the last one."""
        cells = self.cells_of(self.shared[state]) * self.shape.batch
        return self.slots.add(slot_name(self.projection.name, state, age), cells)

    def _check_supported(self, rule: PlasticityRule) -> None:
        maps, several = self.shape.maps, self.shape.repeats > 1
        samples = f"with {self.shape.repeats} samples per weight"
        where = "between feature maps" if maps else samples
        for found, what, hint in (
                (rule.noise and (several or maps), f"random numbers per synapse {where} have",
                 "Present one sample at a time, between vectors of cells."),
                (rule.arrivals and maps, f"'arrived' {where} has", "Connect vectors of cells, or read prev(pre.x)."),
                (rule.shapes and maps, f"'deliver' {where} has", "Connect vectors of cells."),
                (rule.states and several, f"per-synapse state {samples} has",
                 "Give the synapse class the role per_sample.")):
            if found:
                raise CortexError("E503", f"projection '{self.projection.name}': {what} no lowering yet.", hint)

    def operation(self, base: str, kernel: Kernel, gate: str = "", kind: str = "kernel") -> Operation:
        """An operation of this projection that runs a kernel of its own."""
        return self.kernels.operation(base, kernel, self.projection.group, self.projection.name, gate, kind)

    def of_rule(self, what: str, kernel: Kernel, gate: str = "", kind: str = "kernel") -> Operation:
        """The same, named by the rule."""
        rule = f"_{self.rule.name}" if self.rule else ""
        return self.operation(f"{what}_{self.variant}{rule}", kernel, gate, kind)

    def step_on(self, cursor: str, steps: int) -> Operation:
        """The next step of a ring of so many."""
        kernel = Kernel("now: the next step of a ring.")
        place = kernel.array("cursor", self.slots.add(cursor, 1), 1)[0]
        following = kernel.let("following", place + Number(1.0))
        last = compared(following, "<", kernel.scalar("steps", float(steps)))
        kernel.store(place, Where(last, following, Number(0.0)))
        return self.operation("step_on", kernel)

    def learning(self, kernel: Kernel, whole: bool = False) -> Learning:
        axes = axes_of(kernel, self.shape, self.projection.name, whole)
        found = Learning(kernel, self.factors, axes, self.shared)
        found.signed = self.twin is not None
        found.arrived_at = lambda vector, place, s: arrived_at(
            self, kernel, vector, place, kernel.indices("of_late", IndexSlot(f"{self.projection.name}.late"))[s])
        return found

    # ---- products

    @property
    def variant(self) -> str:
        layout = "paired" if self.shape.one_to_one else "dense" if self.shape.listed is None else "listed"
        return layout if self.shape.batch == 1 else f"{layout}_batch"

    def product(self, kernel: Kernel, pre_slot: Slot, currents: Sequence[Slot], learning: Learning | None = None,
                axes: Axes | None = None, skip: bool = False, weights: Slot | None = None) -> None:
        """current := W pre, of every one that is delivered together. `learning`: every weight learns on the way;
        `skip`: rows whose message is 0 are left out; `weights`: others than W."""
        axes = axes or (learning.axes if learning else Axes(kernel, self.shape))
        matrices = [axes.weights("w", weights).__getitem__] if weights else self.delivered_together(kernel, axes)
        pre = axes.cells("pre", pre_slot)
        sums = [(axes.cells(f"current{i or ''}", slot), w) for i, (slot, w) in
                enumerate(zip(currents, matrices, strict=True))]
        if self.shape.batch == 1 and not self.shape.one_to_one and not learning and self.sends_events:
            self._product_of_events(kernel, axes, pre, sums)
        elif self.shape.repeats >= ALONG and not learning and not self.shape.one_to_one:
            self._product_of_samples(kernel, axes, pre, sums)
        elif self.shape.batch > 1 or self.shape.one_to_one:
            for current, w in sums:
                self._product_of_batch(kernel, axes, w, pre, current, learning)
        else:
            self._product_of_rows(kernel, axes, pre, sums, learning, skip)

    def _product_of_events(self, kernel: Kernel, axes: Axes, pre: Array, sums: Sums) -> None:
        (current, w), = sums
        if not self.rule:
            return self._product_of_senders(kernel, axes, w, pre, current)
        with kernel.when(compared(kernel.array("wild", self.wild, 1)[0], "==", 0.0)):
            self._product_of_senders(kernel, axes, w, pre, current)
        with kernel.otherwise():
            self._product_of_rows(kernel, axes, pre, sums, None, False)

    @staticmethod
    def _product_of_senders(kernel: Kernel, axes: Axes, w: Delivered, pre: Array, current: Array) -> None:
        """Row by row of the cells that send something. The others would add 0, as weights are finite."""
        with kernel.loop("k", axes.width) as k:
            kernel.store(current[k, 0, 0], 0.0)
        with axes.each_row() as j:
            p = kernel.let("p", pre[j, 0, 0])
            with kernel.when(compared(p, "!=", 0.0)), axes.each_along(j) as (k, c):
                kernel.add(current[k, c, 0], w((j, k, c)) * p)

    def delivered_together(self, kernel: Kernel, axes: Axes) -> list[Delivered]:
        """For every one that is delivered with this one."""
        if not self.twin:
            return [self.delivered(kernel, axes)]
        w, none = axes.weights("w", along(self.weight_slot)), Number(0.0)
        halves: list[Delivered] = [lambda at: Where(Signed(w[at]), none, w[at]),
                                   lambda at: Where(Signed(w[at]), -w[at], none)]
        return halves if self.shape.repeats < ALONG else self._apart(kernel, axes, halves)

    def _apart(self, kernel: Kernel, axes: Axes, halves: list[Delivered]) -> list[Delivered]:
        """In matrices of their own."""
        found = [axes.weights(f"half{i}", along(self.slots.add(q.slot("half"), self.shape.weights)))
                 for i, q in enumerate(self.together)]
        with axes.each_weight() as at:
            for matrix, half in zip(found, halves, strict=True):
                kernel.store(matrix[at], half(at))
        return [matrix.__getitem__ for matrix in found]

    def delivered(self, kernel: Kernel, axes: Axes) -> Delivered:
        """What the message is multiplied with at (j, k, c): the weight, or what the rule says."""
        rule = self.rule
        if not rule or not rule.shapes:
            return axes.weights("w", self._per_weight("w")).__getitem__
        place: list[tuple[Int, Int, Int]] = []

        def value(name: str) -> Node:
            (j, k, c), side = place[-1], self.shared.get(name)
            if side is None:
                return axes.weights("w" if name == "w" else f"o_{name}", self._per_weight(name))[j, k, c]
            cell = axes.post_place(k) if side == "post" else axes.pre_place(j, k)
            return axes.cells(f"o_{name}", self.shared_slot(name))[cell, c, 0]

        translation = self.factors.translation(kernel, lambda node: value(node.name))

        def shaped(at: tuple[Int, Int, Int]) -> Node:
            place.append(at)
            found = translation.value(rule.deliver)
            return found * value("mask") if self.masked else found

        return shaped

    def _per_weight(self, quantity: str) -> Slot:
        """A number per weight, which operations go along, but for those of lists."""
        return Slot(self.slot(quantity), along=self.shape.listed is None)

    def _product_of_rows(self, kernel: Kernel, axes: Axes, pre: Array, sums: Sums, learning: Learning | None,
                         skip: bool) -> None:
        j, k, keep = Index("j"), Index("k"), None
        with kernel.apart() as row:
            p = kernel.let("p", pre[j, 0, 0])
            if learning:
                learning.load_row(j)
                keep = learning.moving(p)
            elif skip or self.synapse.unit:  # weights in whole units are finite: 0 times them adds nothing
                keep = compared(p, "!=", 0.0)
        with kernel.apart() as each:
            weights = [kernel.let(f"x{i or ''}", w((j, k, 0))) for i, (_, w) in enumerate(sums)]
            if learning:
                learning.step((j, k, 0), learning.increment((j, k, 0)))
        (to, term), *more = [(current[k, 0, 0], x * p) for x, (current, _) in zip(weights, sums, strict=True)]
        kernel.body.append(Accumulation(to, Axis(k, axes.width), (Axis(j, axes.rows),), term, row=tuple(row), keep=keep,
                                        each=tuple(each), more=tuple(more)))

    def _product_of_batch(self, kernel: Kernel, axes: Axes, w: Delivered, pre: Array, current: Array,
                          learning: Learning | None) -> None:
        one = self.shape.one_to_one
        if not one:
            self.clear(kernel, current)
        with axes.each_weight() as (j, k, c):
            x = kernel.let("x", w((j, k, c)))
            if learning:
                learning.step((j, k, c), learning.increment((j, k, c)))
            with kernel.loop("r", self.shape.repeats) as r:
                term = x * pre[axes.pre_place(j, k), c, r]
                (kernel.store if one else kernel.add)(current[k, c, r], term)

    def clear(self, kernel: Kernel, array: Array) -> None:
        length: Int = 1
        for axis in array.axes:
            length = axis * length
        with kernel.loop("i", length) as i:
            kernel.store(Load(array.name, i), 0.0)

    def _product_of_samples(self, kernel: Kernel, axes: Axes, pre: Array, sums: Sums) -> None:
        """Along the samples, which share the weight, and several postsynaptic cells at a time."""
        j, k, r = Index("j"), Index("k"), Index("r")
        for current, _ in sums:
            self.clear(kernel, current)
        for first, count in kernel.blocks("first", self.shape.rows, BLOCK):
            with kernel.loop("c", self.shape.copies) as c:
                for current, w in sums:
                    with kernel.apart() as each:
                        term = w((first + j, k, c)) * pre[first + j, c, r]
                    kernel.body.append(Accumulation(current[k, c, r], Axis(r, self.shape.repeats), (Axis(j, count),),
                                                    term, (Axis(k, axes.width),), each=tuple(each), start=None))

    # ---- increments that are one postsynaptic times one presynaptic factor, row by row

    def increments_by_rows(self, learning: Learning, each: Callable[[tuple[Int, Int, Int], Node], object],
                           skip: bool = False, post: Slot | None = None, pre: Slot | None = None) -> None:
        """`each` of every weight with its increment, summed over samples. `skip`: rows whose presynaptic factor is 0
        are left out. `post` and `pre`: the factors, if not the rule's own."""
        kernel, axes = learning.kernel, learning.axes
        factors = (axes.cells("post", post or self.factors.vectors["P0"]),
                   axes.cells("pre", pre or self.factors.vectors["Q0"]))
        if self.shape.repeats == 1 and not self.shape.maps:
            return self._increments_one_by_one(learning, each, skip, *factors)
        if post is None and self.factors.decay is not None:
            fill, most = self._sums_over_samples(kernel, axes, *factors, self._decays(learning)), ROWS
        else:
            fill, most = self.rows_filler(kernel, axes, *factors, post is None)
        rows = self._block(kernel, axes, "row", most)
        for j, count in kernel.blocks("j", self.shape.rows, most):
            with kernel.when(compared(factors[1][j, 0, 0], "!=", 0.0) if skip else None):
                fill(j, count, rows)
                with kernel.loop("i", count) as i, axes.each_along() as (k, c):
                    each((j + i, k, c), learning.masked(rows[i, c, k], (j + i, k, c)))

    def _block(self, kernel: Kernel, axes: Axes, name: str, rows: int = ROWS) -> Array:
        """A number per weight of so many rows."""
        slot = self.slots.add(self.slot(name), rows * self.shape.width * self.shape.copies)
        return kernel.array(name, slot, rows, self.shape.copies, axes.width)

    def rows_filler(self, kernel: Kernel, axes: Axes, post: Array, pre: Array, own: bool) -> tuple[RowsFiller, int]:
        """Prepares; what leaves the increments of some rows from j on in an array, and of how many at most. `own`: the
        factors are the rule's."""
        return self._sums_over_samples(kernel, axes, post, pre), ROWS

    @staticmethod
    def _increments_one_by_one(learning: Learning, each: Callable[[tuple[Int, Int, Int], Node], object], skip: bool,
                               post: Array, pre: Array) -> None:
        kernel, axes = learning.kernel, learning.axes
        with axes.each_row() as j, kernel.when(compared(pre[j, 0, 0], "!=", 0.0) if skip else None), \
                axes.each_along(j) as (k, c):
            each((j, k, c), learning.masked(kernel.let("dw", post[k, c, 0] * pre[j, c, 0]), (j, k, c)))

    def _decays(self, learning: Learning) -> RowsFiller:
        """Leaves what the weights of some rows decay by in an array."""
        kernel, decay = learning.kernel, self.factors.decay
        assert decay is not None

        def fill(j: Int, count: int, rows: Array) -> None:
            with kernel.loop("i", count) as i, learning.axes.each_along() as (k, c):
                kernel.let("x", learning.weights("w", "w")[j + i, k, c])
                kernel.store(rows[i, c, k], learning.translation.value(decay))

        return fill

    def _sums_over_samples(self, kernel: Kernel, axes: Axes, post: Array, pre: Array,
                           decays: RowsFiller | None = None) -> RowsFiller:
        """Along the postsynaptic cells, which `turned` has innermost; each product is less by its weight's decay."""
        copies, repeats = self.shape.copies, self.shape.repeats
        slot = self.slots.add(self.slot("turned"), self.shape.width * self.shape.batch)
        turned = kernel.array("turned", slot, copies, repeats, axes.width)
        with kernel.loop("c", copies) as c, kernel.loop("r", repeats) as r, kernel.loop("k", axes.width) as k:
            kernel.store(turned[c, r, k], post[k, c, r])

        def fill(j: Int, count: int, rows: Array) -> None:
            i, k, r = Index("i"), Index("k"), Index("r")
            less = self._block(kernel, axes, "decays") if decays else None
            if decays and less:
                decays(j, count, less)
            with kernel.loop("c", copies) as c:
                product = turned[c, r, k] * pre[j + i, c, r]
                term = product - less[i, c, k] if less else product
                kernel.body.append(Accumulation(rows[i, c, k], Axis(k, axes.width), (Axis(r, repeats),), term,
                                                (Axis(i, count),), start=-0.0))

        return fill
