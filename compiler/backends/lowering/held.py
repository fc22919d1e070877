"""A projection of a held input whose increments are summed (`accumulate`, `clipped`, `adam`).

The message is x, or x times one number u that all cells share in a step, and x stays while a presentation lasts. So
W x is made once a presentation (and after an update), and of the increments only q = sum of u p over the steps is
kept: the matrices see one product q x^T per presentation. Equal algebraically to the plain projection, not to the
bit. `book` holds whether W x is valid, whether q holds anything, whether the sum does, and the samples' rows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from compiler.backends.kernels.operations import Argument, Operation, Slot, arguments_source, slot_name
from compiler.ir.held_input import held_input

if TYPE_CHECKING:
    from compiler.backends.lowering.synapses import ProjectionLowering


class Held:
    """The operations of one such projection."""

    def __init__(self, owner: ProjectionLowering):
        self.owner, self.projection, self.shape = owner, owner.projection, owner.shape
        found = held_input(owner.graph, owner.projection)
        assert found is not None and owner.summed is not None
        self.summed = owner.summed
        self.x, self.u = found
        pre = owner.projection.pre
        self.shared: dict[str, Argument] = {} if self.u is None else {"u": Slot(slot_name(pre, self.u))}
        self.book = owner.slots.add(owner.slot("held_book"), 3 + self.shape.batch)
        self.input = owner.slots.add(owner.slot("held_x"), self.shape.cells[0] * self.shape.batch)
        self.product = owner.slots.add(owner.slot("held_product"), self.shape.post_cells * self.shape.batch)
        self.factor = owner.slots.add(owner.slot("held_q"), self.shape.post_cells * self.shape.batch)

    def _names(self) -> dict[str, Argument]:
        s = self.shape
        return {"book": self.book, "given": self.input, "q": self.factor, "n_x": s.cells[0] * s.batch,
                "n_post": s.post_cells * s.batch}

    def _gathered(self) -> tuple[dict[str, Argument], list[str]]:
        """Lines that add q x^T to the sums."""
        each = [f"m[held + j * {self.summed.stride} + i] += {self.owner.increment}"]
        names, lines = self.owner.increment_loop(self.summed.names(), each, self._skip(), self.factor, self.input)
        return names, [*lines, *self._cleared(), "m[book + two] = 1.0"]

    def _skip(self) -> list[str]:
        """Without a batch, inputs of 0 cost nothing: they add nothing."""
        plain = self.shape.batch == 1 and self.projection.convolution is None
        return ["if m[pre + j] == 0.0:", "    continue"] if plain else []

    def _cleared(self) -> list[str]:
        return ["m[book + one] = 0.0", "for i in range(n_post):", "    m[q + i] = 0.0"]

    # ---- delivery

    def deliveries(self) -> list[Operation]:
        o = self.owner
        names, gathered = self._gathered()
        product_names, product = o.product_lines(self.input, self.product, self._skip())
        names = names | product_names | self._names() | {
            "value": Slot(slot_name(self.projection.pre, self.x)), "current": self.product}
        body = [*arguments_source(names), "two = one + one", "three = two + one", "same = m[book] > 0.0",
                f"for b in range(unsigned_{self.shape.batch}):",
                "    same = same and m[book + three + b] == rows_of_samples[t, b]", "if same:", "    return",
                "if m[book + one] > 0.0:", *("    " + line for line in gathered),
                f"for b in range(unsigned_{self.shape.batch}):", "    m[book + three + b] = rows_of_samples[t, b]",
                "for i in range(n_x):", "    m[given + i] = m[value + i]", *product, "m[book] = 1.0"]
        text = "\n".join(["@across_steps", "def NAME(m, program, i, gates, rows_of_samples, t, pending):",
                          '    """W x of a held input, when the presentation or the weights have changed."""',
                          *("    " + line for line in body)])
        kernel = o.kernels.add(f"held_product_{o._variant()}_{self.summed.rule.name}", text + "\n")
        first = Operation("hoisted", kernel, tuple(names.values()), self.projection.group,
                          (o.slot("w"), slot_name(self.projection.pre, self.x)), (self.product.name,),
                          label=self.projection.name)
        return [first, self._scaled()]

    def _scaled(self) -> Operation:
        """The current: the product, times u."""
        o, s = self.owner, self.shape
        names: dict[str, Argument] = {"n": s.post_cells * s.batch, "product": self.product,
                                      "current": Slot(o.slot("current")), **self.shared}
        times = " * by" if self.u else ""
        lines = [*(["by = m[u]"] if self.u else []), "for k in range(n):",
                 f"    m[current + k] = m[product + k]{times}"]
        kernel = o.plain_kernel(f"held_current{'_scaled' if self.u else ''}", "The current of a held input.", names,
                                lines)
        return Operation("kernel", kernel, tuple(names.values()), self.projection.group,
                         (self.product.name,), (o.slot("current"),), label=self.projection.name)

    # ---- learning

    def gather(self) -> Operation:
        """q += u p."""
        o, s = self.owner, self.shape
        names: dict[str, Argument] = {"n": s.post_cells * s.batch, "q": self.factor, "book": self.book,
                                      "post": o.factors.names["at_P0"], **self.shared}
        times = " * by" if self.u else ""
        lines = [*(["by = m[u]"] if self.u else []), "m[book + one] = 1.0", "for k in range(n):",
                 f"    m[q + k] += m[post + k]{times}"]
        kernel = o.plain_kernel(f"held_factor{'_scaled' if self.u else ''}", "Sums the postsynaptic factor.", names,
                                lines)
        return Operation("kernel", kernel, tuple(names.values()), self.projection.group,
                         (o.own("post_factor0"),), (self.factor.name,),
                         self.projection.gate or "", label=self.projection.name)

    def apply(self) -> Operation:
        """The optimiser's step; the product q x^T is made on the way where nothing else has been summed."""
        o, summed, stride = self.owner, self.summed, self.summed.stride
        before, step, emitter = summed.optimiser_lines()
        names, gathered = self._gathered()
        at = f"j * {stride} + i"
        direct = [f"x, total = m[w + {at}], {o.increment}", *summed.optimiser_lines(at)[1], f"m[w + {at}] = x"]
        skip = self._skip() if summed.kind == "accumulate" else []
        _, rows = o.increment_loop(summed.names(), direct, skip, self.factor, self.input)
        from_sum = [*summed.norm_lines(), *summed.weight_lines(step)]
        clipped = "True" if summed.kind == "clipped" else "False"
        lines = [*before, "two = one + one", f"if m[book + two] > 0.0 or m[book + one] == 0.0 or {clipped}:",
                 "    if m[book + one] > 0.0:", *("        " + line for line in gathered),
                 *("    " + line for line in from_sum), "else:", *("    " + line for line in rows),
                 *self._cleared(), "m[book] = 0.0", "m[book + two] = 0.0"]
        names = names | self._names() | o._scalar_arguments(emitter)
        kernel = o.plain_kernel(f"held_apply_{o._variant()}_{summed.rule.name}",
                                f"Applies the summed increments of rule {summed.rule.name} ({summed.kind}).",
                                names, lines)
        return Operation("kernel", kernel, tuple(names.values()), self.projection.group,
                         (o.slot("w"), o.slot(summed.kind)), (o.slot("w"), o.slot(summed.kind)), summed.apply_gate,
                         label=self.projection.name)
