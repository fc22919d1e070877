"""Operations of projections: delivery, factors, increments, updates.

With `fused` lowering the increment of one step is applied on the way to the product of the next.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from cortexc.compiler.backends.kernels.nest import Kernel
from cortexc.compiler.backends.kernels.operations import Operation, Slot, Span, along
from cortexc.compiler.backends.kernels.whole import Int
from cortexc.compiler.backends.lowering import listed
from cortexc.compiler.backends.lowering.arrivals import arrivals
from cortexc.compiler.backends.lowering.cells import message_slot
from cortexc.compiler.backends.lowering.factors import summing_gate
from cortexc.compiler.backends.lowering.held import Held
from cortexc.compiler.backends.lowering.lazy import Lazy
from cortexc.compiler.backends.lowering.listed import axes_of
from cortexc.compiler.backends.lowering.shared_states import shared_operation
from cortexc.compiler.backends.lowering.summed import Summed
from cortexc.compiler.backends.lowering.synapse_code import SynapseCode
from cortexc.compiler.backends.lowering.visits import WILD, each_moving
from cortexc.compiler.ir.model import SUMMED
from cortexc.compiler.passes.held_forms import form_of


class ProjectionLowering(SynapseCode):
    """Everything that one projection contributes to the program."""

    def __init__(self, *arguments: Any):
        super().__init__(*arguments)
        self.summed = Summed(self) if self.rule and self.rule.optimiser.kind in SUMMED else None
        form = form_of(self.graph, self.projection)
        self.held = Held(self, form, self.summed) if form else None
        self.lazy = Lazy(self, self.visits, self.waiting) if self.visits and self.waiting else None

    @property
    def materialised(self) -> bool:
        """Whether increments go through memory: they are observed, or a mirror rewrites the weight in between."""
        mirrored = any(m.target == self.projection.name and not m.after for m in self.graph.mirrors)
        general = self.summed is not None and not self.summed.by_rows
        between_maps = self.shape.maps and self.summed is None
        return self.slot("increment") in self.observed or mirrored or general or between_maps

    @property
    def deferred(self) -> bool:
        """Whether an increment waits for the next delivery."""
        return bool(self.rule and self.projection.lowering and not self.summed)

    @property
    def _moves_always(self) -> bool:
        """Whether a step changes more than weights at the synapses."""
        assert self.rule is not None
        return len(self.rule.states) > len(self.shared) or self.slot("increment") in self.observed

    @property
    def _gate(self) -> str:
        """Of the rule's operations; states at synapses move whatever the gate."""
        always = self.rule and self.rule.states or self.slot("increment") in self.observed
        return "" if always else self.gate

    # ---- delivery

    def deliveries(self) -> list[Operation]:
        if not self.synapse.kind.weighted:
            return [self._copy()] if self.slot("current") in self.observed else []
        if self.shape.listed is not None:
            return [listed.delivery(self, message_slot(self.storage, self.projection))]
        if self.leader and not self.held:
            return []
        return [self.held.delivery() if self.held else self._delivery()]

    def moving_on(self) -> list[Operation]:
        return listed.moving_on(self) if self.synapse.kind.weighted and self.shape.listed is not None else []

    def _copy(self) -> Operation:
        """Of a message that is itself the current, for who looks at it."""
        kernel, message = Kernel("The current is the message."), message_slot(self.storage, self.projection)
        n = kernel.size("n", Span(self.shape.cells[1] * self.shape.batch))
        sent = kernel.array("sent", along(Slot(message)), n)
        self.slots.add(self.slot("current"), self.shape.post_cells * self.shape.batch)
        current = kernel.array("current", along(Slot(self.slot("current"))), n)
        with kernel.loop("k", n) as k:
            kernel.store(current[k], sent[k])
        found = self.operation("current_of_messages", kernel)
        return replace(found, group=self.graph.population(self.projection.post).group)

    def _delivery(self) -> Operation:
        message = message_slot(self.storage, self.projection)
        if self.projection.lowering == "fused" and self.rule:
            return self._fused(message)
        return self.operation(f"deliver_{self.variant}", self._delivery_kernel(message))

    def _delivery_kernel(self, message: str) -> Kernel:
        kernel = Kernel("current[k] = sum over j, left to right, of w[j, k] * pre[j].")
        self.product(kernel, Slot(message, self.shape.one_to_one), self._currents)
        return kernel

    @property
    def _currents(self) -> list[Slot]:
        return [along(Slot(q.slot("current"))) for q in self.together]

    # ---- learning

    def _fused(self, message: str) -> Operation:
        """Two kernels on one row of arguments, of which plain delivery needs the first ones."""
        name = self.factors.rule.name
        both = Kernel(f"Applies the last step's increment of rule {name}, then delivers, in one pass.")
        deliver = self._delivery_kernel(message)
        for name, argument in deliver.arguments.items():
            both.argument(name, argument)
        self.product(both, Slot(message, self.shape.one_to_one), self._currents, self.learning(both))
        update = self.of_rule("learn_and_deliver", both, self.gate, "fused")
        return replace(update, kernel=self.kernels.add(f"deliver_{self.variant}", deliver), update=update.kernel)

    def factor_operations(self) -> list[Operation]:
        if not self.rule or self.leader:
            return []
        summed = [self._weight_sum()] if self.factors.sums_weights else []
        return [*summed, *arrivals(self), *self.factors.operations(self._gate)]

    def _weight_sum(self) -> Operation:
        assert self.rule is not None
        kernel = Kernel("weight_sum[k] = sum over j, left to right, of w[j, k].")
        axes = axes_of(kernel, self.shape, self.projection.name)
        w, total = axes.weights("w", along(Slot(self.slot("w")))), axes.cells("weight_sum", along(self._sum_slot))
        self.clear(kernel, total)
        with axes.each_weight() as (j, k, c), kernel.loop("r", self.shape.repeats) as r:
            kernel.add(total[axes.post_place(k), c, r], w[j, k, c])
        return self.operation(f"sum_{self.variant}", kernel, summing_gate(self.rule) or self._gate)

    @property
    def _sum_slot(self) -> Slot:
        return self.slots.add(self.factors.own("weight_sum"), self.shape.post_cells * self.shape.batch)

    def early_operations(self) -> list[Operation]:
        """What must run before this step's messages replace the last ones."""
        return [self.factors.keep(self._gate)] if self.rule and self.factors.kept_at_synapse and not self.leader else []

    def increment_operations(self) -> list[Operation]:
        """Increments into memory where the update does not compute them itself, and into their sum."""
        if self.leader:
            return []
        if self.held and self.summed:
            return [self.held.gather()]
        if not self.rule or self.projection.lowering:
            return []
        return [*(shared_operation(self, side) for side in sorted(set(self.shared.values()))),
                *([self._increment_operation()] if self.materialised else []),
                *([self.summed.gather()] if self.summed else []), *([self.lazy.begin()] if self.lazy else [])]

    def _increment_operation(self) -> Operation:
        kernel = Kernel(f"Increment of every synapse by rule {self.factors.rule.name}.")
        learning = self.learning(kernel)
        into = learning.weights("increment", "increment")
        if self.shape.maps:
            self.increments_by_rows(learning, lambda at, increment: kernel.store(into[at], increment))
        else:
            learning.each_weight(lambda at: kernel.store(into[at], learning.increment(at)), skips=False)
        return self.of_rule("increment", kernel, self._gate)

    def update_operation(self) -> Operation | None:
        """The gated step of the weights; flushes the pending one where the projection is fused."""
        if not self.rule or self.leader:
            return None
        if self.held:
            return self.held.apply() if self.summed else self.held.flush()
        if self.summed:
            return self.summed.apply()
        return self._apply_operation() if self.materialised else self._learn_operation()

    def _learn_operation(self) -> Operation:
        kernel = Kernel(f"One step of rule {self.factors.rule.name} for every synapse.")
        learning = self.learning(kernel)

        def learn(at: tuple[Int, Int, Int]) -> None:
            learning.step(at, learning.increment(at))

        if self.lazy:
            self.lazy.learn(learning)
        elif self.visits:
            each_moving(learning, self.visits, kernel.array("wild", self.wild, 1), learn)
        elif self._moves_always and self.gate:
            with kernel.when(learning.learns):
                learning.each_weight(learn)
            with kernel.otherwise():
                learning.each_weight(learning.move_states)
        else:
            learning.each_weight(learn)
        found = self.of_rule("learn", kernel, "" if self._moves_always else self.gate)
        own = tuple(slot for slot in found.writes if slot != self.slot(WILD))
        return replace(found, apart=own) if self.lazy or self.shape.listed is not None else found

    def _apply_operation(self) -> Operation:
        kernel = Kernel(f"Applies increments of rule {self.factors.rule.name}.")
        learning = self.learning(kernel)
        increments = learning.weights("increment", "increment")
        learning.each_weight(lambda at: learning.step(at, kernel.let("dw", increments[at])), factors=False)
        return self.of_rule("apply", kernel, self.gate)
