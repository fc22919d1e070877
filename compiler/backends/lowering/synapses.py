"""Kernels of projections: delivery, factors, updates.

Weights are stored pre-major, (n_pre, n_post, copies), the postsynaptic index padded to 8 when there is no batch, so
that every inner loop runs over postsynaptic cells and vectorises with the bits of the plain row sum.

An increment is cut at its largest subtrees that read one side only: `P0 ..` are vectors over postsynaptic cells,
`Q0 ..` over presynaptic ones; both are computed by *factor* operations in the cells' groups. What remains runs once
per synapse. With `fused` lowering the increment of one step is applied on the way to the product of the next.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from compiler.backends.kernels.operations import (
    Argument,
    Constant,
    First,
    Gate,
    KernelTable,
    Key,
    Operation,
    Slot,
    SlotTable,
    Span,
    along,
    function_source,
    padded,
    slot_name,
)
from compiler.backends.lowering.cells import message_slot, vector_parameters
from compiler.backends.lowering.emit import Emitter
from compiler.backends.lowering.held import Held
from compiler.backends.lowering.hoist import Hoisted, cached_delivery, product_of_sides
from compiler.backends.lowering.storage import Storage, inline_factors
from compiler.backends.lowering.summed import BLOCK, Summed
from compiler.backends.quoting import fresh, identifier
from compiler.ir.connections import connection_mask
from compiler.ir.errors import CortexError
from compiler.ir.expressions import Binary, Call, Expression, Name, Negate, Number, Prev, children, rebuild, show, walk
from compiler.ir.model import LAVA_DRAWS, SUMMED, Graph, PlasticityRule, Projection, cell_parameters, rule_parameters
from compiler.ir.schedule import message_depth
from compiler.ir.verify import bounds

VECTOR = "@"
"""Before the name of a one-sided vector in what is left of an increment; no name of the user's has it."""


@dataclass(frozen=True)
class Shape:
    """Sizes of one projection in memory: rows, row width, copies of the weight and samples per copy.

    `pre` and `post` are those of the weight matrix; between maps, taps and kernels (`cells`: pre- and postsynaptic
    cells).
    """

    pre: int
    post: int
    copies: int
    repeats: int
    one_to_one: bool
    cells: tuple[int, int]
    maps: bool = False
    """Whether it joins feature maps that are no plain vectors of cells."""

    @property
    def batch(self) -> int:
        return self.copies * self.repeats

    @property
    def literals(self) -> tuple[str, str]:
        """Copies and repeats as constants of the kernel text, so that their loops unroll."""
        return f"unsigned_{self.copies}", f"unsigned_{self.repeats}"

    @property
    def width(self) -> int:
        return padded(self.post) if self.batch == 1 else self.post

    @property
    def rows(self) -> int:
        return 1 if self.one_to_one else self.pre

    @property
    def weights(self) -> int:
        return self.rows * self.width * self.copies

    @property
    def post_cells(self) -> int:
        """Length of postsynaptic vectors per sample, padded where the weights are."""
        return self.width if self.cells[1] == self.post else self.cells[1]


def shape_of(graph: Graph, projection: Projection) -> Shape:
    synapse, maps = graph.class_of(projection.name), projection.convolution
    copies = {"shared": 1, "per_seed": graph.seeds, "per_sample": graph.batch}[synapse.role]
    cells = pre, post = graph.population(projection.pre).size, graph.population(projection.post).size
    if maps:
        pre, post = maps.taps, maps.post[0] * (maps.positions if synapse.connectivity.endswith("local") else 1)
    return Shape(pre, post, copies, graph.batch // copies, synapse.connectivity == "one_to_one", cells,
                 maps is not None and (cells != (pre, post) or maps.pool > 1 or maps.padding > 0))


class ProjectionLowering:
    """Everything that one projection contributes to the program."""

    def __init__(self, storage: Storage, projection: Projection, slots: SlotTable, kernels: KernelTable,
                 observed: frozenset[str], evaluate_scalar: Callable):
        self.storage, self.projection, self.slots, self.kernels = storage, projection, slots, kernels
        self.graph, self.observed, self.evaluate_scalar = storage.graph, observed, evaluate_scalar
        self.synapse = self.graph.class_of(projection.name)
        self.rule = self.graph.rule_of(projection)
        self.summed: Summed | None = None
        self.held: Held | None = None
        if self.synapse.connectivity == "identity":
            return
        self.shape = shape_of(self.graph, projection)
        self.slots.add(self.slot("w"), self.shape.weights)
        self.slots.add(self.slot("current"), self.shape.post_cells * self.shape.batch)
        if self.rule:
            self.factors = Factors(self)
            self.summed = Summed(self) if self.rule.optimiser.kind in SUMMED else None
            self.held = Held(self) if self.summed and projection.lowering == "hoisted" else None
            self._check_supported(self.rule)

    def slot(self, quantity: str) -> str:
        return slot_name(self.projection.name, quantity)

    def own(self, quantity: str) -> str:
        """Slot of what the lowering itself keeps at the synapse, named apart from the states of the rule."""
        taken = {state.name for state in self.rule.states} if self.rule else ()
        return self.slot(fresh(quantity, taken, lambda name, i: name + "_own" * (i - 1)))

    def _cellwise(self, quantity: str) -> Slot:
        """A slot that operations go along, one postsynaptic cell after the other."""
        return Slot(self.slot(quantity), along=True)

    def _check_supported(self, rule: PlasticityRule) -> None:
        if rule.noise and (self.shape.repeats > 1 or self.shape.maps):
            why = "between feature maps" if self.shape.maps else f"with {self.shape.repeats} samples per weight"
            raise CortexError("E503", f"projection '{self.projection.name}': random numbers per synapse {why} have no "
                                      "lowering yet.", "Present one sample at a time, between vectors of cells.")
        if rule.states and self.shape.repeats > 1:
            raise CortexError("E503", f"projection '{self.projection.name}': per-synapse state with "
                                      f"{self.shape.repeats} samples per weight has no lowering yet.",
                              "Give the synapse class the role per_sample.")

    @property
    def materialised(self) -> bool:
        """Whether increments go through memory: they are observed, or a mirror rewrites the weight in between."""
        mirrored = any(m.target == self.projection.name for m in self.graph.mirrors)
        general = self.summed is not None and not self.summed.by_rows
        between_maps = self.shape.maps and self.summed is None
        return self.slot("increment") in self.observed or mirrored or general or between_maps

    @property
    def always_learns(self) -> bool:
        """Whether the rule's operations run whatever the gate."""
        return bool(self.rule and self.rule.states) or self.slot("increment") in self.observed

    # ---- delivery

    def deliveries(self) -> list[Operation]:
        if self.synapse.connectivity == "identity":
            return []
        return self.held.deliveries() if self.held else [self._delivery()]

    def _delivery(self) -> Operation:
        message = message_slot(self.storage, self.projection)
        names = self._shape_arguments() | {"w": self._cellwise("w"), "pre": Slot(message, self.shape.one_to_one),
                                           "current": self._cellwise("current")}
        if self.projection.lowering == "fused" and self.rule:
            return self._fused(names, message)
        if self.projection.lowering == "hoisted" and self.rule:
            return Hoisted(self).operation(message)
        if self.projection.lowering == "hoisted":
            return cached_delivery(self, names, message)
        kernel = self._deliver_kernel(names)
        return Operation("kernel", kernel, tuple(names.values()), self.projection.group,
                         (self.slot("w"), message), (self.slot("current"),), label=self.projection.name)

    def product_lines(self, pre: Slot, current: Slot, skip: list[str]) -> tuple[dict[str, Argument], list[str]]:
        """current := W pre; `skip`: lines that leave out row j."""
        names = self._shape_arguments() | {"w": Slot(self.slot("w")), "pre": pre, "current": current}
        lines = self._product(None)
        at = lines.index("for j in range(rows):") + 1 if skip else 0
        return names, [*lines[:at], *("    " + line for line in skip), *lines[at:]]

    def plain_kernel(self, name: str, doc: str, names: dict[str, Argument], lines: list[str]) -> str:
        return self.kernels.add(name, function_source(doc, names, lines))

    def _deliver_kernel(self, names: dict[str, Argument]) -> str:
        return self.kernels.add(f"deliver_{self._variant()}", function_source(
            "current[k] = sum over j, left to right, of w[j, k] * pre[j].", names, self._product(None)))

    def _variant(self) -> str:
        layout = "one_to_one" if self.shape.one_to_one else "dense"
        return layout if self.shape.batch == 1 else f"{layout}_batch"

    def _shape_arguments(self) -> dict[str, Argument]:
        s = self.shape
        if s.batch == 1 and s.one_to_one:
            return {"rows": s.rows, "width": Span(s.post)}
        if s.batch == 1:
            return {"rows": s.rows, "width": Span(s.width), "stride": s.width}
        return {"rows": s.rows, "width": s.width}

    def _product(self, update: list[str] | None) -> list[str]:
        """The delivery loops; `update` are lines that turn the old weight `x` into the new one."""
        if self.shape.repeats >= BLOCK and not update and not self.shape.one_to_one:
            return self._product_of_samples()
        if self.shape.batch > 1:
            return self._product_batch(update)
        if self.shape.one_to_one:
            body = ["x = m[w + k]", *(update or []), "m[current + k] = x * m[pre + k]"]
            return ["for k in range(width):", *("    " + line for line in body)]
        body = ["x = m[row + k]", *(update or []), "m[current + k] += x * p"]
        return ["for k in range(width):", "    m[current + k] = 0.0", "for j in range(rows):", "    p = m[pre + j]",
                *("    " + line for line in (self.factors.row_loads() if update else [])),
                *("    " + line for line in self._silent(bool(update))),
                "    row = w + j * stride", "    for k in range(width):", *("        " + line for line in body)]

    def _silent(self, learns: bool) -> list[str]:
        """Passes over the rows of silent cells: weights in whole units are finite, so a message of 0 adds nothing."""
        if not self.synapse.unit:
            return []
        if not learns:
            return ["if p == 0.0:", "    continue"]
        if not self.factors.idle_when_silent:
            return []
        quiet = " and ".join(["p == 0.0", *(f"Q{i} == 0.0" for i in range(len(self.factors.pre)))])
        return [f"if {quiet}:", "    continue"]

    def _product_batch(self, update: list[str] | None) -> list[str]:
        one, (copies, repeats) = self.shape.one_to_one, self.shape.literals
        lines = [f"for k in range(width * {copies} * {repeats}):", "    m[current + k] = 0.0"] if not one else []
        index = f"k * {copies} + c" if one else f"(j * width + k) * {copies} + c"
        source = f"({'k' if one else 'j'} * {copies} + c) * {repeats} + r"
        assign = "=" if one else "+="
        body = [f"x = m[w + {index}]", *(update or []), f"for r in range({repeats}):",
                f"    m[current + (k * {copies} + c) * {repeats} + r] {assign} x * m[pre + {source}]"]
        loops = ["for k in range(width):", f"    for c in range({copies}):", *("        " + line for line in body)]
        return [*lines, *loops] if one else [*lines, "for j in range(rows):", *("    " + line for line in loops)]

    def _product_of_samples(self) -> list[str]:
        """Eight presynaptic cells at a time; the inner loop runs over samples, which share the weight."""
        copies, repeats = self.shape.literals
        size = f"unsigned_{BLOCK}"

        def block(count: int) -> list[str]:
            taken = [f"x{u} = m[at + unsigned_{u} * width * {copies}]" for u in range(count)]
            terms = [f"x{u} * m[source + unsigned_{u} * {copies} * {repeats} + r]" for u in range(count)]
            return ["for k in range(width):", f"    for c in range({copies}):",
                    f"        at, source = w + (j * width + k) * {copies} + c, pre + (j * {copies} + c) * {repeats}",
                    *("        " + line for line in taken), f"        to = current + (k * {copies} + c) * {repeats}",
                    f"        for r in range({repeats}):",
                    f"            m[to + r] = {' + '.join(['m[to + r]', *terms])}"]

        return [f"for i in range(width * {copies} * {repeats}):", "    m[current + i] = 0.0",
                f"for j in range(zero, rows - rows % {size}, {size}):", *("    " + line for line in block(BLOCK)),
                f"for j in range(rows - rows % {size}, rows):", *("    " + line for line in block(1))]

    # ---- learning

    @property
    def is_product(self) -> bool:
        """Whether an increment is one postsynaptic times one presynaptic factor, for every pair of cells and without
        state at the synapse."""
        return (self.rule is not None and product_of_sides(self.factors.increment) and not self.rule.states
                and not self.shape.one_to_one)

    @property
    def stride(self) -> str:
        """Length of a row in memory."""
        return f"(width * {self.shape.literals[0]})" if self.shape.batch > 1 else "width"

    @property
    def increment(self) -> str:
        """The increment of weight i of row j, as `increment_rows` leave it."""
        masked = f" * m[mask + j * {self.stride} + i]" if "mask" in self.factors.names else ""
        return f"m[row + i]{masked}"

    def increment_loop(self, names: dict[str, Argument], each: list[str], skip: list[str] | None = None,
                       post: Argument | None = None, pre: Argument | None = None) \
            -> tuple[dict[str, Argument], list[str]]:
        """A loop over rows j that computes each row's increments, then does `each` for its weights i.

        `skip`: lines before a row is computed. `post` and `pre`: the factors, if not the rule's own.
        """
        names = names | {"post": post or self.factors.names["at_P0"], "pre": pre or self.factors.names["at_Q0"],
                         "row": self.slots.add(self.slot("row"), self.shape.width * self.shape.copies)}
        if "mask" in self.factors.names:
            names["mask"] = self.factors.names["mask"]
        more, prepared, row = self.increment_rows()
        lines = [*prepared, "for j in range(rows):", *("    " + line for line in [*(skip or []), *row]),
                 f"    for i in range({self.stride}):", *("        " + line for line in each)]
        return names | more, lines

    def increment_rows(self) -> tuple[dict[str, Argument], list[str], list[str]]:
        """For a product of sides: more arguments, lines before the rows, and lines that leave the increments of row j
        in `row`, summed over samples; `post` and `pre` are the factors."""
        copies, repeats = self.shape.literals
        if self.shape.batch == 1:
            return {}, [], ["p = m[pre + j]", "for i in range(width):", "    m[row + i] = m[post + i] * p"]
        if self.shape.repeats == 1:
            at = f"k * {copies} + c"
            return {}, [], ["for k in range(width):", f"    for c in range({copies}):",
                            f"        m[row + {at}] = m[post + {at}] * m[pre + j * {copies} + c]"]
        size = self.shape.width * self.shape.batch
        turned: dict[str, Argument] = {"turned": self.slots.add(self.slot("turned"), size)}
        prepared = [f"for c in range({copies}):", f"    for r in range({repeats}):", "        for k in range(width):",
                    f"            m[turned + (c * {repeats} + r) * width + k] = "
                    f"m[post + (k * {copies} + c) * {repeats} + r]"]

        def block(count: int, fresh: bool = False) -> list[str]:
            taken = [f"p{u} = m[at + r + unsigned_{u}]" for u in range(count)]
            terms = [f"m[source + unsigned_{u} * width + k] * p{u}" for u in range(count)]
            to = f"m[row + k * {copies} + c]"
            return [*taken, "source = from_c + r * width", "for k in range(width):",
                    f"    {to} = {' + '.join([*([] if fresh else [to]), *terms])}"]

        blocks = (self.shape.repeats - 1) // BLOCK
        end, left = 1 + blocks * BLOCK, (self.shape.repeats - 1) % BLOCK
        lines = ["r = zero", *block(1, fresh=True),
                 f"for r in range(one, unsigned_{end}, unsigned_{BLOCK}):", *("    " + line for line in block(BLOCK))]
        lines += [f"r = unsigned_{end}", *block(left)] if left else []
        row = [f"for c in range({copies}):", f"    at = pre + (j * {copies} + c) * {repeats}",
               f"    from_c = turned + c * {repeats} * width", *("    " + line for line in lines)]
        return turned, prepared, row

    def _update_arguments(self) -> tuple[dict[str, Argument], list[str]]:
        """Arguments and lines of the update of one weight `x` from factors."""
        assert self.rule is not None
        lines, emitter = self.factors.increment_lines()
        names = self._shape_arguments() | {"w": self._cellwise("w")} | self.factors.names
        names |= self._optimiser_arguments()
        lines += self._optimiser_lines(emitter)
        return names | self._scalar_arguments(emitter), lines

    def _scalar_arguments(self, emitter: Emitter) -> dict[str, Argument]:
        return self._scalar_arguments_with(emitter, self.factors.scoped_parameters())

    def _scalar_arguments_with(self, emitter: Emitter, parameters: dict[str, float]) -> dict[str, Argument]:
        names: dict[str, Argument] = {f"s{j}": Constant(self.evaluate_scalar(s, parameters))
                                      for j, s in enumerate(emitter.scalars)}
        names |= emitter.table_arguments(self.slots, self.graph)
        return names | {f"g{j}": Gate(g.removeprefix("gate.")) for j, g in enumerate(emitter.gates)}

    def _optimiser_arguments(self) -> dict[str, Argument]:
        assert self.rule is not None
        if self.rule.optimiser.kind == "none":
            return {}
        name = self.slot(self.rule.optimiser.kind)
        return {"held": along(self.slots.add(name, self.shape.weights))}

    def _optimiser_lines(self, emitter: Emitter) -> list[str]:
        assert self.rule is not None
        lines, at = [], self.factors.weight_index()
        if self.rule.optimiser.kind == "low_pass":
            rate = emitter.value(self.rule.optimiser.arguments[0])
            lines += [f"d = m[held + {at}]", f"d = d + {rate} * (dw - d)", f"m[held + {at}] = d", "dw = d"]
        return [*lines, "x = x + dw", *self.limit_lines(), f"m[w + {at}] = x"]

    def limit_lines(self) -> list[str]:
        """The weight `x` within its bounds."""
        low, high = map(float, bounds(self.synapse))
        return [*([f"x = {low!r} if x < {low!r} else x"] if low > -float("inf") else []),
                *([f"x = {high!r} if x > {high!r} else x"] if high < float("inf") else [])]

    def _fused(self, names: dict[str, Argument], message: str) -> Operation:
        update_names, lines = self._update_arguments()
        both = names | update_names
        deliver = self._deliver_kernel(names)
        update = self.kernels.add(f"learn_and_deliver_{self._variant()}_{self._rule_name()}", function_source(
            f"Applies the last step's increment of rule {self._rule_name()}, then delivers, in one pass.",
            both, self._product(lines)))
        writes = (self.slot("current"), self.slot("w"))
        return Operation("fused", deliver, tuple(both.values()), self.projection.group, (self.slot("w"), message),
                         writes, gate=self.projection.gate or "", update=update, label=self.projection.name)

    def _rule_name(self) -> str:
        assert self.rule is not None
        return self.rule.name

    def factor_operations(self) -> list[Operation]:
        if not self.rule or self.synapse.connectivity == "identity":
            return []
        gate = "" if self.always_learns else self.projection.gate or ""
        return self.factors.operations(gate)

    def early_operations(self) -> list[Operation]:
        """What must run before this step's messages replace the last ones."""
        if not self.rule or self.synapse.connectivity == "identity" or not self.factors.kept_at_synapse:
            return []
        return [self.factors.keep("" if self.always_learns else self.projection.gate or "")]

    def increment_operations(self) -> list[Operation]:
        """Increments into memory where the update does not compute them itself, and into their sum."""
        if self.held:
            return [self.held.gather()]
        if not self.rule or self.synapse.connectivity == "identity" or self.projection.lowering:
            return []
        return [*([self._increment_operation()] if self.materialised else []),
                *([self.summed.gather()] if self.summed else [])]

    def _increments_by_rows(self) -> Operation:
        names = self._shape_arguments() | {"increment": self.slots.add(self.slot("increment"), self.shape.weights)}
        names, lines = self.increment_loop(names, [f"m[increment + j * {self.stride} + i] = {self.increment}"])
        kernel = self.plain_kernel(f"increment_{self._variant()}_{self._rule_name()}",
                                   f"Increment of every synapse by rule {self._rule_name()}.", names, lines)
        gate = "" if self.always_learns else self.projection.gate or ""
        return Operation("kernel", kernel, tuple(names.values()), self.projection.group,
                         self.factors.read_slots(), (self.slot("increment"),), gate, label=self.projection.name)

    def _increment_operation(self) -> Operation:
        if self.shape.maps:
            return self._increments_by_rows()
        lines, emitter = self.factors.increment_lines()
        names = self._shape_arguments() | {"w": self._cellwise("w"), "increment": along(self.slots.add(
            self.slot("increment"), self.shape.weights))} | self.factors.names | self._scalar_arguments(emitter)
        body = self._weight_loops([f"x = m[w + {self.factors.weight_index()}]", *lines,
                                   f"m[increment + {self.factors.weight_index()}] = dw"], skips=False)
        kernel = self.kernels.add(f"increment_{self._variant()}_{self._rule_name()}", function_source(
            f"Increment of every synapse by rule {self._rule_name()}.", names, body))
        gate = "" if self.always_learns else self.projection.gate or ""
        return Operation("kernel", kernel, tuple(names.values()), self.projection.group,
                         (self.slot("w"), *self.factors.read_slots()), (self.slot("increment"), *self._states()), gate,
                         label=self.projection.name)

    def update_operation(self) -> Operation | None:
        """The gated step of the weights; flushes the pending one where the projection is fused."""
        if not self.rule or self.synapse.connectivity == "identity":
            return None
        if self.held:
            return self.held.apply()
        if self.projection.lowering == "hoisted":
            return Hoisted(self).flush()
        if self.summed:
            return self.summed.apply()
        if self.materialised:
            return self._apply_operation()
        names, lines = self._update_arguments()
        gated = lines
        if self.always_learns:
            names = names | {"learn": Gate(self.projection.gate or "")}
            gated = self._with_gate(lines)
        body = self._weight_loops([f"x = m[w + {self.factors.weight_index()}]", *gated])
        kernel = self.kernels.add(f"learn_{self._variant()}_{self._rule_name()}", function_source(
            f"One step of rule {self._rule_name()} for every synapse.", names, body))
        gate = "" if self.always_learns else self.projection.gate or ""
        return Operation("kernel", kernel, tuple(names.values()), self.projection.group,
                         (self.slot("w"), *self.factors.read_slots()),
                         (self.slot("w"), *self._filtered(), *self._states()), gate, label=self.projection.name)

    def _states(self) -> tuple[str, ...]:
        assert self.rule is not None
        return tuple(self.slot(state.name) for state in self.rule.states)

    def _filtered(self) -> tuple[str, ...]:
        return tuple(a.name for a in self._optimiser_arguments().values() if isinstance(a, Slot))

    def _with_gate(self, lines: list[str]) -> list[str]:
        """Synaptic states move in every step, the weight only where the gate is on."""
        cut = next(i for i, line in enumerate(lines) if line.startswith(("d = m[held", "x = x + dw")))
        return [*lines[:cut], "if learn > 0.0:", *("    " + line for line in lines[cut:])]

    def _apply_operation(self) -> Operation:
        assert self.rule is not None
        emitter = self.factors.synapse_emitter()
        lines = self._optimiser_lines(emitter)
        names = self._shape_arguments() | {"w": self._cellwise("w"), "increment": self._cellwise("increment")}
        names |= self._optimiser_arguments() | self._scalar_arguments(emitter)
        at = self.factors.weight_index()
        body = self._weight_loops([f"x = m[w + {at}]", f"dw = m[increment + {at}]", *lines], factors=False)
        kernel = self.kernels.add(f"apply_{self._variant()}_{self._rule_name()}", function_source(
            f"Applies increments of rule {self._rule_name()}.", names, body))
        return Operation("kernel", kernel, tuple(names.values()), self.projection.group,
                         (self.slot("w"), self.slot("increment")), (self.slot("w"), *self._filtered()),
                         self.projection.gate or "", label=self.projection.name)

    def _weight_loops(self, body: list[str], factors: bool = True, skips: bool = True) -> list[str]:
        """Loops over every weight; `row_loads` fetch presynaptic factors once per row. `skips`: rows in which nothing
        moves may be left out."""
        inner = ["    " + line for line in body]
        if self.shape.batch > 1:
            copies = self.shape.literals[0]
            loops = ["for k in range(width):", f"    for c in range({copies}):", *("    " + line for line in inner)]
            return loops if self.shape.one_to_one else ["for j in range(rows):", *("    " + line for line in loops)]
        if self.shape.one_to_one:
            return ["for k in range(width):", *inner]
        loads = self.factors.row_loads() if factors else []
        if factors and skips and self.synapse.unit and self.factors.idle_when_silent:
            quiet = " and ".join(f"Q{i} == 0.0" for i in range(len(self.factors.pre)))
            loads += [f"if {quiet}:", "    continue"]
        return ["for j in range(rows):", *("    " + line for line in loads), "    for k in range(width):",
                *("    " + line for line in inner)]


class Factors:
    """The one-sided vectors of a rule and the expression that is left per synapse."""

    def __init__(self, owner: ProjectionLowering):
        self.owner = owner
        self.graph, self.projection, self.shape = owner.graph, owner.projection, owner.shape
        rule = owner.rule
        assert rule is not None
        self.rule = rule
        self.post: list[Expression] = []
        self.pre: list[Expression] = []
        stored = frozenset(owner.storage.depth)
        cut = lambda e: self._cut(inline_factors(self.graph, self.projection, e, stored))  # noqa: E731
        self.updates = [(u.name, cut(u.expression)) for u in rule.updates]
        self.increment = cut(rule.increment)
        self.names: dict[str, Argument] = {}
        for index in range(len(self.post)):
            size = self.shape.post_cells * self.shape.batch
            self.names[f"at_P{index}"] = along(self._vector("post_factor", index, size))
        for index in range(len(self.pre)):
            vector = self._vector("pre_factor", index, self.shape.cells[0] * self.shape.batch)
            self.names[f"at_Q{index}"] = replace(vector, along=self.shape.one_to_one)
        if self.is_delivered:
            self.names["at_Q0"] = Slot(message_slot(owner.storage, self.projection), self.shape.one_to_one)
        for state in rule.states:
            self.names[f"o_{state.name}"] = along(owner.slots.add(owner.slot(state.name), self.shape.weights))
        for name, kind in rule.noise:
            key = owner.slots.add(owner.slot(f"{name}.key"), 2 * self.shape.copies)
            self.names[f"k_{name}"] = key if kind in LAVA_DRAWS else Key(key.name)
        if any(kind == "uniform" for _, kind in rule.noise):
            self.names["first"] = First()
        if connection_mask(self.graph, self.projection) is not None:
            self.names["mask"] = along(owner.slots.add(owner.slot("mask"), self.shape.weights))

    def _vector(self, side: str, index: int, size: int) -> Slot:
        return self.owner.slots.add(self.owner.own(f"{side}{index}"), size)

    def read_slots(self) -> tuple[str, ...]:
        return tuple(a.name for a in self.names.values() if isinstance(a, Slot | Key))

    def _cut(self, expression: Expression) -> Expression:
        """Replaces the largest one-sided subtrees by `P0`, `Q0` ..."""
        sides = self._sides(expression)
        if sides in ({"post"}, {"pre"}):
            vectors, letter = (self.post, "P") if sides == {"post"} else (self.pre, "Q")
            if expression not in vectors:
                vectors.append(expression)
            return Name(f"{VECTOR}{letter}{vectors.index(expression)}")
        parts = tuple(map(self._cut, children(expression)))
        return rebuild(expression, parts) if parts else expression

    def _sides(self, expression: Expression) -> set[str]:
        sides = set()
        for node in walk(expression):
            if isinstance(node, (Name, Prev)):
                side, dot, _ = node.name.partition(".")
                if node.name == "w" or any(s.name == node.name for s in self.rule.states) or self._drawn(node.name):
                    sides.add("synapse")
                elif dot and side in ("pre", "post") and not self._is_parameter(node.name):
                    sides.add(side)
        return sides

    def _drawn(self, name: str) -> bool:
        return any(name == drawn for drawn, _ in self.rule.noise)

    def _is_parameter(self, name: str) -> bool:
        side, dot, quantity = name.partition(".")
        if not dot or side not in ("pre", "post"):
            return name == "dt" or any(p.name == name for p in self.rule.parameters)
        cell = self.graph.cell_of(self.projection.pre if side == "pre" else self.projection.post)
        return any(p.name == quantity for p in cell.parameters) and quantity not in vector_parameters(self.graph, cell)

    # ---- one-sided factors

    def operations(self, gate: str) -> list[Operation]:
        post = [self._operation(gate, "post")] if self.post else []
        hoisted = self.projection.lowering == "hoisted"  # keeps the held input itself
        there = hoisted or self.kept_at_synapse or self.is_delivered
        return post + ([self._operation(gate, "pre")] if self.pre and not there else [])

    @property
    def is_delivered(self) -> bool:
        """Whether the presynaptic factor is the very message that this step delivers, computed in this step."""
        message = self.graph.class_of(self.projection.name).message
        return (self.pre == [Name(f"pre.{message}")] and not self.projection.lowering
                and message_depth(self.graph, self.projection) == 0)

    @property
    def kept_at_synapse(self) -> bool:
        """Whether the presynaptic factors are the message of one step ago, which the projection still holds when a
        step begins: then nobody needs to send it again."""
        message = message_slot(self.owner.storage, self.projection)
        earlier = Prev(f"pre.{self.graph.class_of(self.projection.name).message}", 1)
        return (self.pre == [earlier] and not self.projection.lowering
                and message == slot_name(self.projection.pre, earlier.name.split(".")[1]))

    def keep(self, gate: str) -> Operation:
        """At the beginning of a step: keeps the message of one step ago, in the projection's own group, all of it."""
        found = self._operation(gate, "pre", age=1)
        whole = (replace(a, along=False) if isinstance(a, Slot) else a.value if isinstance(a, Span) else a
                 for a in found.arguments)
        return replace(found, group=self.projection.group, arguments=tuple(whole))

    def _operation(self, gate: str, side: str, age: int = 0) -> Operation:
        """Computes one side's factors from what is in memory; `age`: how many steps older that is than this step."""
        post = side == "post"
        letter, vectors = ("P", self.post) if post else ("Q", self.pre)
        population = self.projection.post if post else self.projection.pre
        reads: list[str] = []
        names: dict[str, Argument] = {"n": Span(self.graph.population(population).size * self.graph.batch)}
        loads: dict[str, str] = {}

        def leaf(node: Name | Prev) -> str:
            depth = node.depth if isinstance(node, Prev) else 0
            quantity = node.name.split(".")[1]
            local, slot = f"v_{identifier(quantity)}_{depth}", slot_name(population, quantity, depth - age)
            names[f"o_{quantity}_{depth}"] = Slot(slot, along=True)
            loads[local] = f"{local} = m[o_{quantity}_{depth} + k]"
            reads.append(slot)
            return local

        emitter = Emitter(leaf, self._is_parameter)
        values = [emitter.value(v) for v in vectors]
        for index in range(len(vectors)):
            names[f"at_{letter}{index}"] = Slot(self.owner.own(f"{side}_factor{index}"), along=True)
        names |= self.owner._scalar_arguments_with(emitter, self.scoped_parameters())
        stores = [f"m[at_{letter}{i} + k] = {v}" for i, v in enumerate(values)]
        body = ["for k in range(n):", *("    " + line for line in [*loads.values(), *stores])]
        kernel = self.owner.kernels.add(f"{side}_factors_{self.rule.name}", function_source(
            f"{side}synaptic factors of rule {self.rule.name}: {'; '.join(map(show, vectors))}.", names, body))
        writes = tuple(self.owner.own(f"{side}_factor{i}") for i in range(len(vectors)))
        group = self.graph.population(population).group
        return Operation("kernel", kernel, tuple(names.values()), group, tuple(dict.fromkeys(reads)), writes, gate,
                         label=self.projection.name)

    def scoped_parameters(self) -> dict[str, float]:
        """Of the rule, and of both cells as `pre.x` and `post.x`."""
        table = dict(rule_parameters(self.graph, self.projection))
        for side, population in (("pre", self.projection.pre), ("post", self.projection.post)):
            values = cell_parameters(self.graph, self.graph.population(population))
            table |= {f"{side}.{name}": value for name, value in values.items()}
        return table

    # ---- what is left per synapse

    def weight_index(self) -> str:
        """Index of the weight relative to the start of its array."""
        if self.shape.one_to_one:
            return "k" if self.shape.batch == 1 else f"k * {self.shape.literals[0]} + c"
        return "j * stride + k" if self.shape.batch == 1 else f"(j * width + k) * {self.shape.literals[0]} + c"

    def row_loads(self) -> list[str]:
        if self.shape.batch > 1 or self.shape.one_to_one:
            return []
        return [f"Q{i} = m[at_Q{i} + j]" for i in range(len(self.pre))]

    @property
    def idle_when_silent(self) -> bool:
        """Whether no synapse moves while its presynaptic factors are 0."""
        return (not self.rule.states and self.rule.optimiser.kind == "none" and bool(self.pre)
                and self._vanishes(self.increment))

    def _vanishes(self, expression: Expression) -> bool:
        """Whether it is 0 where all presynaptic factors are; less than a unit, rounded downward, is 0 too."""
        match expression:
            case Name(name):
                return name.startswith(f"{VECTOR}Q")
            case Binary("*", left, right):
                return self._vanishes(left) or self._vanishes(right)
            case Binary("+" | "-", left, right):
                return self._vanishes(left) and self._vanishes(right)
            case Negate(operand):
                return self._vanishes(operand)
            case Call("floor", (Binary("+", units, Name(drawn)),)):
                return self._vanishes(units) and self._drawn(drawn)
            case Call("floor", (Binary("+", units, Number(0.5)),)):
                return self._vanishes(units)
        return False

    def synapse_emitter(self) -> Emitter:
        return Emitter(self._leaf, self._is_parameter)

    def _leaf(self, node: Name | Prev) -> str:
        vector, name = node.name.startswith(VECTOR), identifier(node.name.removeprefix(VECTOR))
        if vector:
            return self._vector_at(name)
        if name == "w":
            return "x"
        if self._drawn(name):
            return f"u_{name}"
        if any(s.name == name for s in self.rule.states):
            return f"old_{name}" if isinstance(node, Prev) else f"v_{name}"
        raise CortexError("E515", f"rule '{self.rule.name}' reads '{name}', which is nothing that it has.")

    def _vector_at(self, name: str) -> str:
        """Element of the vector `P0`, `Q0` ... at this synapse."""
        batch = self.shape.batch > 1
        if name.startswith("Q") and not batch and not self.shape.one_to_one:
            return name
        copies, repeats = self.shape.literals
        post = "k" if not batch else f"(k * {copies} + c) * {repeats} + r"
        pre = post if self.shape.one_to_one else f"(j * {copies} + c) * {repeats} + r"
        return f"m[at_{name} + {post if name.startswith('P') else pre}]"

    def increment_lines(self) -> tuple[list[str], Emitter]:
        """Lines that leave the increment of the weight `x` in `dw`, after moving the synaptic states."""
        emitter, at, lines = self.synapse_emitter(), self.weight_index(), []
        for state in self.rule.states:
            lines.append(f"old_{state.name} = m[o_{state.name} + {at}]")
            lines.append(f"v_{state.name} = old_{state.name}")
        lines += [self._draw(name, kind) for name, kind in self.rule.noise]
        prefix = ["r = zero"] if self.shape.batch > 1 else []
        for name, expression in self.updates:
            lines += [*prefix, f"v_{name} = {emitter.value(expression)}", f"m[o_{name} + {at}] = v_{name}"]
        lines += self._sum_over_samples(emitter.value(self.increment))
        if "mask" in self.names:
            lines.append(f"dw = dw * m[mask + {at}]")
        return lines, emitter

    def _draw(self, name: str, kind: str) -> str:
        """A random number of this synapse; the index does not depend on the order in memory. The samples of a seed have
        the same."""
        samples = self.shape.copies // self.graph.seeds
        seed = f"c // unsigned_{samples}" if samples > 1 else "c"
        key = f"m[k_{name} + {seed} + {seed}"
        if kind in LAVA_DRAWS:
            return f"u_{name} = " + (f"{key}]" if self.shape.copies > 1 else f"m[k_{name}]")
        cell = "(k + first)"
        index = (cell if self.shape.one_to_one else f"{cell} * rows + j") if kind == "uniform" else "zero"
        if self.shape.copies == 1:
            return f"u_{name} = uniform(low_k_{name}, high_k_{name}, signed({index}))"
        return f"u_{name} = uniform(signed({key}]), signed({key} + one]), signed({index}))"

    def _sum_over_samples(self, value: str) -> list[str]:
        if self.shape.batch == 1:
            return [f"dw = {value}"]
        if self.shape.repeats == 1:
            return ["r = zero", f"dw = {value}"]
        return ["r = zero", f"dw = {value}", f"for r in range(one, {self.shape.literals[1]}):", f"    dw += {value}"]
