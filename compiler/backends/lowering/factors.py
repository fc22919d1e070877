"""The one-sided factors of a rule, and what is left of its increment at each synapse.

An increment is cut at its largest subtrees that read one side only: `P0 ..` are vectors over postsynaptic cells,
`Q0 ..` over presynaptic ones; both are computed by *factor* operations in the cells' groups. What remains runs once
per synapse.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from cortexc.compiler.backends.kernels.layout import Shape
from cortexc.compiler.backends.kernels.nest import Kernel
from cortexc.compiler.backends.kernels.operations import Operation, Slot, SlotTable, Span, slot_name
from cortexc.compiler.backends.kernels.table import KernelTable
from cortexc.compiler.backends.kernels.whole import Int
from cortexc.compiler.backends.lowering.cells import message_slot, vector_parameters
from cortexc.compiler.backends.lowering.storage import Storage, inline_factors
from cortexc.compiler.backends.lowering.translation import Translation
from cortexc.compiler.backends.quoting import fresh, identifier
from cortexc.compiler.ir.evaluation import evaluate_scalar
from cortexc.compiler.ir.expressions import (
    WEIGHT_SUM,
    Binary,
    Call,
    Expression,
    Name,
    Negate,
    Node,
    Number,
    Prev,
    Where,
    children,
    reads,
    rebuild,
    show,
    walk,
)
from cortexc.compiler.ir.model import PlasticityRule, Projection, cell_parameters, rule_parameters
from cortexc.compiler.ir.schedule import message_depth
from cortexc.compiler.ir.synapses import Synapses

VECTOR = "@"
"""Before the name of a one-sided vector in what is left of an increment; no name of the user's has it."""
P0, Q0 = Name(f"{VECTOR}P0"), Name(f"{VECTOR}Q0")


class Factors:
    """Of one projection with a rule. `post` and `pre`: the vectors; `increment` and `updates`: what is left, in which
    `@P0`, `@Q0` ... stand for them."""

    def __init__(self, storage: Storage, projection: Projection, rule: PlasticityRule, shape: Shape, slots: SlotTable,
                 kernels: KernelTable, synapses: Synapses | None):
        self.storage, self.graph, self.projection, self.rule = storage, storage.graph, projection, rule
        self.shape, self.slots, self.kernels = shape, slots, kernels
        self.delayed = synapses is not None and synapses.delay is not None
        self.steps_ahead = synapses.slots if synapses else 1
        self.post: list[Expression] = []
        self.pre: list[Expression] = []
        stored = frozenset(storage.needed)
        *updates, self.increment = (self._cut(inline_factors(self.graph, projection, e, stored))
                                    for e in (*(u.expression for u in rule.updates), rule.increment))
        self.updates = [(u.name, e) for u, e in zip(rule.updates, updates, strict=True)]
        post = [replace(self._vector("post", i, shape.post_cells), along=shape.listed is None)
                for i in range(len(self.post))]
        pre = [replace(self._vector("pre", i, shape.cells[0]), along=shape.one_to_one) for i in range(len(self.pre))]
        if self.is_delivered:
            pre = [Slot(message_slot(storage, projection), shape.one_to_one)]
        for name in self.travelling:
            pre[int(name[1:])] = self.ring(name)
        self.vectors = {f"P{i}": slot for i, slot in enumerate(post)} | {f"Q{i}": slot for i, slot in enumerate(pre)}

    @property
    def age(self) -> int:
        """How many steps before they arrive messages are computed, at least."""
        return message_depth(self.graph, self.projection)

    @property
    def ring_steps(self) -> int:
        """Steps that a ring of what has left holds."""
        return self.age + self.steps_ahead

    def ring(self, vector: str) -> Slot:
        cells = self.shape.cells[0] * self.shape.batch
        return self.slots.add(self.own(f"left_{vector}"), self.ring_steps * cells)

    def own(self, quantity: str) -> str:
        """Slot of what the lowering itself keeps at the synapse, named apart from the states of the rule."""
        taken = {state.name for state in self.rule.states}
        return slot_name(self.projection.name, fresh(quantity, taken, lambda name, i: name + "_own" * (i - 1)))

    def _vector(self, side: str, index: int, cells: int) -> Slot:
        return self.slots.add(self.own(f"{side}_factor{index}"), cells * self.shape.batch)

    def _cut(self, expression: Expression) -> Expression:
        """Replaces the largest one-sided subtrees by `P0`, `Q0` ...; between feature maps, presynaptic ones that are
        one quantity, as pixels are pooled and padded before anything is computed with them."""
        sides = self._sides(expression)
        pixels = self.projection.convolution is not None and not isinstance(expression, Name | Prev)
        gated = any(name.startswith("gate.") for name in reads(expression))  # by this step, not by leaving
        if sides == {"post"} or sides == {"pre"} and not pixels or sides == {"arrived"} and not gated:
            vectors, letter = (self.post, "P") if sides == {"post"} else (self.pre, "Q")
            if expression not in vectors:
                vectors.append(expression)
            return Name(f"{VECTOR}{letter}{vectors.index(expression)}")
        parts = tuple(map(self._cut, children(expression)))
        return rebuild(expression, parts) if parts else expression

    def sides(self, expression: Expression, shared: Mapping[str, str]) -> set[str]:
        """What an expression with `@P0`, `@Q0` ... reads: `pre`, `post`, `synapse`; `shared`: states that are of one
        side (`""`: of none so far)."""
        found = set()
        for node in walk(expression):
            if isinstance(node, (Name, Prev)):
                name = node.name
                known = self.side_of(name[1:]) if name.startswith(VECTOR) else shared.get(name)
                found |= {known} if known is not None else self._sides(node)
        return found - {""}

    def _sides(self, expression: Expression) -> set[str]:
        sides = set()
        for node in walk(expression):
            if isinstance(node, (Name, Prev)):
                side, dot, _ = node.name.partition(".")
                if node.name == "w" or any(s.name == node.name for s in self.rule.states) or self.is_drawn(node.name):
                    sides.add("synapse")
                elif dot and side in ("pre", "arrived", "post") and not self.is_parameter(node.name):
                    sides.add(side)
        return sides

    def side_of(self, vector: str) -> str:
        """`post`, `pre`, or `synapse` for what arrives at each synapse in its own time."""
        return "post" if vector.startswith("P") else "synapse" if vector in self.travelling else "pre"

    @property
    def arriving(self) -> list[str]:
        """Vectors of what arrives in this step."""
        return [f"Q{i}" for i, e in enumerate(self.pre) if any(name.startswith("arrived.") for name in reads(e))]

    @property
    def travelling(self) -> list[str]:
        """Those of which every synapse has its own, by its delay; their slots are rings of what has left."""
        return self.arriving if self.delayed else []

    def is_drawn(self, name: str) -> bool:
        return any(name == drawn for drawn, _ in self.rule.noise)

    def is_parameter(self, name: str) -> bool:
        side, dot, quantity = name.partition(".")
        if not dot or side not in ("pre", "post"):
            return name == "dt" or any(p.name == name for p in self.rule.parameters)
        cell = self.graph.cell_of(self.projection.pre if side == "pre" else self.projection.post)
        return any(p.name == quantity for p in cell.parameters) and quantity not in vector_parameters(self.graph, cell)

    def translation(self, kernel: Kernel, leaf: Callable[[Name | Prev], Node]) -> Translation:
        """Of the rule's expressions."""
        return Translation(kernel, self.graph, self.slots, leaf, self.is_parameter, self.scalar_value)

    def scalar_value(self, expression: Expression) -> float:
        """Of parameters of the rule, and of both cells as `pre.x` and `post.x`."""
        table = dict(rule_parameters(self.graph, self.projection))
        for side, population in (("pre", self.projection.pre), ("post", self.projection.post)):
            values = cell_parameters(self.graph, self.graph.population(population))
            table |= {f"{side}.{name}": value for name, value in values.items()}
        return evaluate_scalar(expression, table)

    # ---- operations

    def operations(self, gate: str) -> list[Operation]:
        post = [self._operation(gate, "post")] if self.post else []
        hoisted = self.projection.lowering == "hoisted"  # keeps the held input itself
        there = hoisted or self.kept_at_synapse or self.is_delivered
        return post + ([self._operation(gate, "pre")] if len(self.pre) > len(self.arriving) and not there else [])

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
        message = message_slot(self.storage, self.projection)
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
        letter, vectors = ("P", self.post) if side == "post" else ("Q", self.pre)
        population = self.projection.post if side == "post" else self.projection.pre
        computed = {i: v for i, v in enumerate(vectors) if f"{letter}{i}" not in self.arriving}
        kernel = Kernel(f"{side}synaptic factors of rule {self.rule.name}: {'; '.join(map(show, computed.values()))}.")
        n = kernel.size("n", Span(self.graph.population(population).size * self.graph.batch))
        loaded: dict[str, Name] = {}
        with kernel.loop("k", n) as k:
            def leaf(node: Name | Prev) -> Name:
                if node.name == WEIGHT_SUM:
                    return self._loaded_sum(kernel, n, k, loaded)
                depth = node.depth if isinstance(node, Prev) else 0
                quantity = identifier(node.name.split(".")[1])
                slot = slot_name(population, quantity, depth - age)
                if slot not in loaded:
                    place = kernel.array(f"o_{quantity}_{depth}", Slot(slot, along=True), n)[k]
                    loaded[slot] = kernel.let(f"v_{quantity}_{depth}", place)
                return loaded[slot]

            translation = self.translation(kernel, leaf)
            values = [translation.value(v) for v in computed.values()]
            for index, value in zip(computed, values, strict=True):
                slot = Slot(self.own(f"{side}_factor{index}"), along=True)
                kernel.store(kernel.array(f"at_{letter}{index}", slot, n)[k], value)
        return self.kernels.operation(f"{side}_factors_{self.rule.name}", kernel,
                                      self.graph.population(population).group, self.projection.name, gate)

    @property
    def sums_weights(self) -> bool:
        return any(WEIGHT_SUM in reads(e) for e in self.post)

    def _loaded_sum(self, kernel: Kernel, n: Int, k: Int, loaded: dict[str, Name]) -> Name:
        slot = self.own("weight_sum")
        if slot not in loaded:
            loaded[slot] = kernel.let("v_weight_sum", kernel.array("o_weight_sum", Slot(slot, along=True), n)[k])
        return loaded[slot]

    # ---- what is left per synapse

    @property
    def is_product(self) -> bool:
        """Whether an increment is one postsynaptic times one presynaptic factor, for every pair of cells and without
        state at the synapse."""
        return (self.increment == Binary("*", P0, Q0) and not self.rule.states and not self.shape.one_to_one
                and self.shape.listed is None)

    @property
    def decay(self) -> Expression | None:
        """What such a product lessens by, the same for all samples, as the weight alone says; None where there is none.
        """
        match self.increment:
            case Binary("-", product, decay) if product == Binary("*", P0, Q0) and not self.rule.states and all(
                    node.name == "w" or self.is_parameter(node.name) for node in walk(decay)
                    if isinstance(node, Name | Prev)):
                return None if self.shape.one_to_one or self.shape.listed is not None or self.shape.maps else decay
        return None

    @property
    def is_pointwise(self) -> bool:
        """Whether an increment is computed from the factors of both sides alone, of which one is presynaptic."""
        left = (node for node in walk(self.increment) if isinstance(node, Name | Prev))
        return len(self.pre) == 1 and not self.rule.states and all(
            node.name.startswith((VECTOR, "gate.")) or self.is_parameter(node.name) for node in left)

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
                return self._vanishes(units) and self.is_drawn(drawn)
            case Call("floor", (Binary("+", units, Number(0.5)),)):
                return self._vanishes(units)
        return False


def summing_gate(rule: PlasticityRule) -> str:
    """The gate without which no sum over weights is read: `where(gate.g > 0, ..., ...)` has all of them; "" if none."""
    found = {_gate_around(e) for e in rule.expressions if WEIGHT_SUM in reads(e)}
    return found.pop() if len(found) == 1 else ""


def _gate_around(expression: Expression) -> str:
    match expression:
        case Where(Binary(">", Name(gate), Number(0.0)), _, otherwise) if (
                gate.startswith("gate.") and WEIGHT_SUM not in reads(otherwise)):
            return gate.removeprefix("gate.")
    found = {_gate_around(child) for child in children(expression) if WEIGHT_SUM in reads(child)}
    return found.pop() if len(found) == 1 else ""
