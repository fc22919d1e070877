"""Learning whose increments are summed until the `apply` gate: optimisers `accumulate`, `clipped` and `adam`.

Each step in which the rule learns adds its increments to a sum per weight; where `apply` > 0 the optimiser turns the
sum into a step, and the sum starts again at 0. An increment that is one postsynaptic times one presynaptic factor is
computed row by row (one row: all synapses of one presynaptic cell, or of one tap of a kernel), eight samples at a
time, with the bits of the plain sum over the samples.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from compiler.backends.kernels.operations import Argument, Operation, Slot, function_source
from compiler.backends.lowering.emit import Emitter
from compiler.ir.expressions import Binary, Expression, Number
from compiler.ir.model import SUMMED

if TYPE_CHECKING:
    from compiler.backends.lowering.synapses import ProjectionLowering

BLOCK = 8
"""Terms of a sum that one pass over a row adds; more than this and LLVM stops vectorising."""


class Summed:
    """The operations of one projection whose optimiser sums increments."""

    def __init__(self, owner: ProjectionLowering):
        self.owner, self.projection, self.shape = owner, owner.projection, owner.shape
        assert owner.rule is not None
        self.rule, self.kind = owner.rule, owner.rule.optimiser.kind
        self.stride = owner.stride

    @property
    def by_rows(self) -> bool:
        """Whether increments need no memory of their own."""
        return self.owner.is_product and self.owner.slot("increment") not in self.owner.observed

    @property
    def apply_gate(self) -> str:
        return self.projection.apply or self.projection.gate or ""

    def names(self) -> dict[str, Argument]:
        """Shape, weight, sum, mask and the optimiser's own slots."""
        o, weights = self.owner, self.shape.weights
        names = o._shape_arguments() | {"w": Slot(o.slot("w")), "held": o.slots.add(o.slot(self.kind), weights)}
        if "mask" in o.factors.names:
            names["mask"] = o.factors.names["mask"]
        if self.kind == "adam":
            names |= {key: o.slots.add(o.slot(f"adam_{key}"), weights) for key in ("first", "second")}
            names["powers"] = o.slots.add(o.slot("adam_powers"), 2)
        if self.kind == "clipped":
            names["sums"] = o.slots.add(o.own("clipped_sums"), max(self.shape.width, 1) * self.shape.copies)
            names["cells"] = self.shape.post
        return names

    # ---- gathering

    def gather(self) -> Operation:
        """Adds this step's increments to the sums."""
        o, names = self.owner, self.names()
        if self.by_rows:
            names, lines = o.increment_loop(names, [f"m[held + j * {self.stride} + i] += {o.increment}"])
            reads = o.factors.read_slots()
        else:
            names["increment"] = Slot(o.slot("increment"))
            lines, reads = [f"for i in range(rows * {self.stride}):", "    m[held + i] += m[increment + i]"], ()
        text = function_source(f"Sums increments of rule {self.rule.name}.", names, lines)
        kernel = o.kernels.add(f"sum_{o._variant()}_{self.rule.name}", text)
        return Operation("kernel", kernel, tuple(names.values()), self.projection.group,
                         tuple(dict.fromkeys((*reads, o.slot("w")))), (o.slot(self.kind),),
                         self.projection.gate or "", label=self.projection.name)

    # ---- applying

    def apply(self) -> Operation:
        """Where `apply` is on: the optimiser's step of every weight; the sums start again at 0."""
        o, names = self.owner, self.names()
        before, step, emitter = self.optimiser_lines()
        lines = [*before, *self.norm_lines(), *self.weight_lines(step)]
        names |= o._scalar_arguments(emitter)
        text = function_source(f"Applies the summed increments of rule {self.rule.name} ({self.kind}).", names, lines)
        kernel = o.kernels.add(f"apply_{o._variant()}_{self.rule.name}", text)
        return Operation("kernel", kernel, tuple(names.values()), self.projection.group,
                         (o.slot("w"), o.slot(self.kind)), (o.slot("w"), o.slot(self.kind)), self.apply_gate,
                         label=self.projection.name)

    def weight_lines(self, step: list[str]) -> list[str]:
        """The step of every weight from its sum, which starts again at 0."""
        return [f"for i in range(rows * {self.stride}):", "    x, total = m[w + i], m[held + i]",
                *("    " + line for line in step), "    m[w + i], m[held + i] = x, 0.0"]

    def optimiser_lines(self, at: str = "i") -> tuple[list[str], list[str], Emitter]:
        """Lines once per update, and lines per weight `at` that turn `x` and `total` into the new `x`."""
        emitter = self.owner.factors.synapse_emitter()
        norm = "m[sums]" if self.shape.copies == 1 else f"m[sums + i % {self.shape.literals[0]}]"
        before, step = OPTIMISERS[self.kind](emitter, self.rule.optimiser.arguments, norm, at)
        return before, [*step, *self.owner.limit_lines()], emitter

    def norm_lines(self) -> list[str]:
        """`norms`: the norm of every copy's sum, cell by cell."""
        if self.kind != "clipped":
            return []
        return norm_lines(self.stride, self.shape.literals[0] if self.shape.batch > 1 else "one")


def norm_lines(stride: str, copies: str) -> list[str]:
    """Rows are padded, and an increment may be other than 0 there; only real cells count."""
    return [f"for i in range({stride}):", "    m[sums + i] = 0.0", "for j in range(rows):",
            f"    for i in range({stride}):", f"        total = m[held + j * {stride} + i]",
            "        m[sums + i] += total * total", f"for c in range({copies}):", "    total = m[sums + c]",
            "    for k in range(one, cells):", f"        total += m[sums + k * {copies} + c]",
            "    m[sums + c] = sqrt(total)"]


def _accumulate(emitter: Emitter, arguments: tuple[Expression, ...], norm: str,
                at: str) -> tuple[list[str], list[str]]:
    return [], ["x = x + total"]


def _clipped(emitter: Emitter, arguments: tuple[Expression, ...], norm: str,
             at: str) -> tuple[list[str], list[str]]:
    limit = emitter.value(arguments[0])
    return [], [f"size = {norm}", f"x = x + (total * ({limit} / size) if size > {limit} else total)"]


def _adam(emitter: Emitter, arguments: tuple[Expression, ...], norm: str,
          at: str) -> tuple[list[str], list[str]]:
    rate, beta1, beta2, epsilon = map(emitter.value, arguments)
    left1, left2 = (emitter.value(Binary("-", Number(1.0), a)) for a in arguments[1:3])
    before = [f"m[powers] = m[powers] * {beta1}", f"m[powers + one] = m[powers + one] * {beta2}",
              "left1, left2 = 1.0 - m[powers], 1.0 - m[powers + one]"]
    return before, [f"a = {beta1} * m[first + {at}] + {left1} * total",
                    f"b = {beta2} * m[second + {at}] + {left2} * total * total",
                    f"m[first + {at}], m[second + {at}] = a, b",
                    f"x = x + {rate} * (a / left1) / (sqrt(b / left2) + {epsilon})"]


OPTIMISERS = {"accumulate": _accumulate, "clipped": _clipped, "adam": _adam}
assert tuple(OPTIMISERS) == SUMMED

