"""Learning whose increments are summed until the `apply` gate: optimisers `accumulate`, `clipped` and `adam`.

Each step in which the rule learns adds its increments to a sum per weight; where `apply` > 0 the optimiser turns the
sum into a step, and the sum starts again at 0. An increment that is one postsynaptic times one presynaptic factor is
computed row by row (one row: all synapses of one presynaptic cell, or of one tap of a kernel), eight samples at a
time, with the bits of the plain sum over the samples.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from compiler.backends.lowering.emit import Emitter
from compiler.backends.lowering.hoist import product_of_sides
from compiler.backends.lowering.operations import Argument, Operation, Slot, function_source
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
        self.stride = f"(width * {self.shape.literals[0]})" if self.shape.batch > 1 else "width"

    @property
    def by_rows(self) -> bool:
        """Whether increments need no memory of their own."""
        o = self.owner
        return (product_of_sides(o.factors.increment) and not self.rule.states
                and o.slot("increment") not in o.observed)

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
            names["sums"] = o.slots.add(o.slot("clipped_sums"), self.shape.width * self.shape.copies)
        return names

    # ---- gathering

    def gather(self) -> Operation:
        """Adds this step's increments to the sums."""
        o, names = self.owner, self.names()
        if self.by_rows:
            names, lines = self.with_rows(names, [f"m[held + j * {self.stride} + i] += {self.increment}"])
            reads = o.factors.read_slots()
        else:
            names["increment"] = Slot(o.slot("increment"))
            lines, reads = [f"for i in range(rows * {self.stride}):", "    m[held + i] += m[increment + i]"], ()
        text = function_source(f"Sums increments of rule {self.rule.name}.", names, lines)
        kernel = o.kernels.add(f"sum_{o._variant()}_{self.rule.name}", text)
        return Operation("kernel", kernel, tuple(names.values()), self.projection.group,
                         tuple(dict.fromkeys((*reads, o.slot("w")))), (o.slot(self.kind),),
                         self.projection.gate or "", label=self.projection.name)

    @property
    def increment(self) -> str:
        """The increment of weight i of row j, as `row_lines` leave it."""
        masked = f" * m[mask + j * {self.stride} + i]" if "mask" in self.owner.factors.names else ""
        return f"m[row + i]{masked}"

    def with_rows(self, names: dict[str, Argument], each: list[str], skip: list[str] | None = None,
                  post: Argument | None = None, pre: Argument | None = None) -> tuple[dict[str, Argument], list[str]]:
        """A loop over rows j that computes each row's increments, then does `each` for its weights i.

        `skip`: lines before a row is computed. `post` and `pre`: the factors, if not the rule's own.
        """
        o = self.owner
        names = names | {"post": post or o.factors.names["o_P0"], "pre": pre or o.factors.names["o_Q0"],
                         "row": o.slots.add(o.slot("row"), self.shape.width * self.shape.copies)}
        more, prepared, row = o.increment_rows()
        lines = [*prepared, "for j in range(rows):", *("    " + line for line in [*(skip or []), *row]),
                 f"    for i in range({self.stride}):", *("        " + line for line in each)]
        return names | more, lines

    # ---- applying

    def apply(self) -> Operation:
        """Where `apply` is on: the optimiser's step of every weight; the sums start again at 0."""
        o, names = self.owner, self.names()
        before, step, emitter = self.optimiser_lines()
        lines = [*before, *self.norm_lines(), f"for i in range(rows * {self.stride}):",
                 "    x, total = m[w + i], m[held + i]", *("    " + line for line in step),
                 "    m[w + i], m[held + i] = x, 0.0"]
        names |= o._scalar_arguments(emitter)
        text = function_source(f"Applies the summed increments of rule {self.rule.name} ({self.kind}).", names, lines)
        kernel = o.kernels.add(f"apply_{o._variant()}_{self.rule.name}", text)
        return Operation("kernel", kernel, tuple(names.values()), self.projection.group,
                         (o.slot("w"), o.slot(self.kind)), (o.slot("w"), o.slot(self.kind)), self.apply_gate,
                         label=self.projection.name)

    def optimiser_lines(self) -> tuple[list[str], list[str], Emitter]:
        """Lines once per update, and lines per weight i that turn `x` and `total` into the new `x`."""
        emitter = self.owner.factors.synapse_emitter()
        norm = "m[sums]" if self.shape.copies == 1 else f"m[sums + i % {self.shape.literals[0]}]"
        before, step = OPTIMISERS[self.kind](emitter, self.rule.optimiser.arguments, norm)
        return before, [*step, *self.owner.limit_lines()], emitter

    def norm_lines(self) -> list[str]:
        """`norms`: the norm of every copy's sum, cell by cell."""
        if self.kind != "clipped":
            return []
        return norm_lines(self.stride, self.shape.literals[0] if self.shape.batch > 1 else "one")


def norm_lines(stride: str, copies: str) -> list[str]:
    return [f"for i in range({stride}):", "    m[sums + i] = 0.0", "for j in range(rows):",
            f"    for i in range({stride}):", f"        total = m[held + j * {stride} + i]",
            "        m[sums + i] += total * total", f"for c in range({copies}):", "    total = m[sums + c]",
            "    for k in range(one, width):", f"        total += m[sums + k * {copies} + c]",
            "    m[sums + c] = sqrt(total)"]


def _accumulate(emitter: Emitter, arguments: tuple[Expression, ...], norm: str) -> tuple[list[str], list[str]]:
    return [], ["x = x + total"]


def _clipped(emitter: Emitter, arguments: tuple[Expression, ...], norm: str) -> tuple[list[str], list[str]]:
    limit = emitter.value(arguments[0])
    return [], [f"size = {norm}", f"x = x + (total * ({limit} / size) if size > {limit} else total)"]


def _adam(emitter: Emitter, arguments: tuple[Expression, ...], norm: str) -> tuple[list[str], list[str]]:
    rate, beta1, beta2, epsilon = map(emitter.value, arguments)
    left1, left2 = (emitter.value(Binary("-", Number(1.0), a)) for a in arguments[1:3])
    before = [f"m[powers] = m[powers] * {beta1}", f"m[powers + one] = m[powers + one] * {beta2}",
              "left1, left2 = 1.0 - m[powers], 1.0 - m[powers + one]"]
    return before, [f"a = {beta1} * m[first + i] + {left1} * total",
                    f"b = {beta2} * m[second + i] + {left2} * total * total", "m[first + i], m[second + i] = a, b",
                    f"x = x + {rate} * (a / left1) / (sqrt(b / left2) + {epsilon})"]


OPTIMISERS = {"accumulate": _accumulate, "clipped": _clipped, "adam": _adam}
assert tuple(OPTIMISERS) == SUMMED


def block_sum(target: str, terms: list[str], fresh: bool) -> str:
    """One line: target = (target +) terms, left to right."""
    return f"{target} = " + " + ".join([*([] if fresh else [target]), *terms])
