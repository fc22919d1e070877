"""Read-sets: what each learning rule reads, where that is computed, and whether it is at the synapse.

    rule forward: local
      projections V, W
      post.mismatch   soma   this step    local: computed in the postsynaptic cell
      prev(pre.rate)  soma   1 step ago   local: transmitted as the message, kept at the synapse for 1 step
      constants       dt, eta
      increment is a sum of products

It decides by what a quantity is, not by its name. A quantity of the postsynaptic cell is at the synapse. A
quantity of the presynaptic cell is there if it is the transmitted message, or a trace: a function of that
message's history and of constants alone, so that the synapse can compute it too, whatever the cell computes it
from; and only from the step in which the message has arrived. A late message with delay 1, such as `spike`, has:
it arrives before the next step uses the weight, so a synapse that learns when it arrives has the same weights. The
weight and per-synapse states are at the synapse. Weights copied by a mirror, a kernel shared by many positions and
an optimiser over a whole weight matrix need what is elsewhere, and are named non-local.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

from cortexc.compiler.ir import CellType, CortexError, Expression, Graph, PlasticityRule, Projection, show
from cortexc.compiler.ir.expressions import WEIGHT_SUM, Binary, Name, Negate, Prev, Where, depth_of, leaves, reads
from cortexc.compiler.ir.model import OPTIMISERS
from cortexc.compiler.ir.schedule import message_depth, settled
from cortexc.compiler.ir.text import aligned
from cortexc.compiler.passes.quantities import Quantities, sources_of
from cortexc.compiler.passes.ranges import value_ranges
from cortexc.compiler.passes.specialise import specialised

Kind = Literal["transmitted", "trace", "postsynaptic", "synaptic", "protocol", "constant", "elsewhere"]
PROTOCOL, SYNAPSE = "protocol", "synapse"
SIDES = {"pre": "presynaptic", "arrived": "presynaptic", "post": "postsynaptic"}


@dataclass(frozen=True)
class Read:
    """One quantity that a rule reads, `depth` steps before the current one (0 = this step).

    `compartment` is where it is computed (`synapse` and `protocol` included). `kind` says how it gets to the
    synapse: `transmitted` (the message), `trace` (computed from the message), `synaptic` (the weight and
    per-synapse states), `postsynaptic`, `protocol` (gates), `constant`, or `elsewhere`: not at all.
    """

    name: str
    depth: int
    compartment: str
    kind: Kind
    reason: str

    @property
    def local(self) -> bool:
        return self.kind != "elsewhere"

    @property
    def text(self) -> str:
        """The quantity as an expression: `prev(pre.rate)`."""
        return show(Prev(self.name, self.depth) if self.depth else Name(self.name))


@dataclass(frozen=True)
class ReadSet:
    """All that one projection's learning reads; `rule` is None where only a mirror sets the weights.

    `offending` is the first term of the increment that is no product of factors of one side each, if any; `delivered`:
    what messages are multiplied with, where it is not the weight.
    """

    projection: str
    rule: str | None
    reads: tuple[Read, ...]
    offending: str | None = None
    optimiser: str = "none"
    delivered: str | None = None

    @property
    def local(self) -> bool:
        return all(read.local for read in self.reads)

    @property
    def nonlocal_reads(self) -> tuple[Read, ...]:
        return tuple(read for read in self.reads if not read.local)

    @property
    def elsewhere(self) -> list[str]:
        """Why it is not local."""
        return [f"{read.text} is not at the synapse: {read.reason}" for read in self.nonlocal_reads]

    def read(self, text: str) -> Read:
        """The read that shows as this expression. Raises KeyError."""
        found = {read.text: read for read in self.reads}
        return found[text]


def read_sets(graph: Graph) -> list[ReadSet]:
    """One for every projection that learns or that a mirror overwrites, in declaration order."""
    found = []
    for q in graph.projections:
        rule, mirrors = graph.rule_of(q), [m for m in graph.mirrors if m.target == q.name]
        read = [*(_rule_reads(graph, q, rule) if rule else ()), *(
            Read(f"{m.source}.w", 0, SYNAPSE, "elsewhere", f"weight transport: a mirror copies projection '{m.source}' "
                 f"({' '.join(m.operations) or 'as it is'})") for m in mirrors)]
        if rule is None and mirrors:
            found.append(ReadSet(q.name, None, tuple(read)))
        elif rule:
            term = offending_term(rule)
            found.append(ReadSet(q.name, rule.name, tuple(read), show(term) if term else None, rule.optimiser.kind,
                                 show(rule.deliver) if rule.shapes else None))
    return found


def _rule_reads(graph: Graph, projection: Projection, rule: PlasticityRule) -> Iterator[Read]:
    """What its expressions name, and what it needs of other synapses without naming them."""
    delivered = (rule.deliver,) if rule.shapes else ()
    every = (*(u.expression for u in rule.updates), rule.increment, *rule.optimiser.arguments, *delivered)
    for name, depth in dict.fromkeys((node.name, depth_of(node)) for e in every for node in leaves(e)):
        yield _classify(graph, projection, rule, name, depth)
    if projection.convolution:
        yield Read("increment", 0, SYNAPSE, "elsewhere",
                   f"the kernel is shared: increments of {projection.convolution.positions} positions are summed")
    if why := rule.optimiser.traits.elsewhere:
        yield Read("increment", 0, SYNAPSE, "elsewhere", why)


def _classify(graph: Graph, projection: Projection, rule: PlasticityRule, name: str, depth: int) -> Read:
    if name == WEIGHT_SUM:
        return Read(name, depth, SYNAPSE, "elsewhere", "the weights of all synapses of the cell are summed")
    if name.startswith("post."):
        place = compartment(graph.cell_of(projection.post), name.removeprefix("post."))
        return Read(name, depth, place, "postsynaptic", "computed in the postsynaptic cell")
    if name.startswith("pre."):
        return _presynaptic(graph, projection, name, depth)
    if name.startswith("arrived."):
        age = depth + message_depth(graph, projection)
        found = _presynaptic(graph, projection, f"pre.{name.split('.', 1)[1]}", age)
        return replace(found, name=name, depth=depth)
    if name.startswith("gate."):
        return Read(name, depth, PROTOCOL, "protocol", "broadcast by the protocol")
    if name == "w" or name in {state.name for state in rule.states}:
        return Read(name, depth, SYNAPSE, "synaptic", "the weight" if name == "w" else "kept at the synapse")
    return Read(name, depth, SYNAPSE, "constant", "constant")


def _presynaptic(graph: Graph, projection: Projection, name: str, depth: int) -> Read:
    cell, message = graph.cell_of(projection.pre), graph.class_of(projection.name).message
    quantity, travel = name.removeprefix("pre."), message_depth(graph, projection)
    travel -= message in cell.late  # it arrives before the weight is used again
    kind: Kind = "elsewhere"
    if quantity != message and quantity not in traces(cell, message) and not _made_of(graph, projection, quantity):
        reason = f"not transmitted: the synapse receives '{message}' of cell '{cell.name}'"
    elif depth < travel:
        after = _steps(message_depth(graph, projection))
        reason = f"not there yet: message '{message}' arrives {after} after it is computed"
    elif quantity == message:
        kept = f", kept at the synapse for {_steps(depth - travel)}" if depth > travel else ""
        kind, reason = "transmitted", f"transmitted as the message{kept}"
    else:
        kind, reason = "trace", f"a trace that the synapse can compute from message '{message}'"
    return Read(name, depth, compartment(cell, quantity), kind, reason)


def _made_of(graph: Graph, projection: Projection, quantity: str) -> bool:
    """Whether a quantity is, whatever it is computed from, a polynomial of messages that have been sent and of their
    traces."""
    message = graph.class_of(projection.name).message
    found = Quantities(value_ranges(specialised(graph), projection.pre), message)
    (sent, *_), sources = sources_of(found.of(Name(message))), sources_of(found.of(Name(quantity)))
    return all(source[:2] == sent[:2] and source[2] >= sent[2] for source in sources)


def _steps(count: int) -> str:
    return f"{count} step" if count == 1 else f"{count} steps"


# --- where a quantity is computed -----------------------------------------------------------------------


def compartment(cell: CellType, quantity: str) -> str:
    """The declared compartment, or that of the one port behind it; several or none give the soma."""
    found = _compartments(cell, quantity, frozenset())
    return next(iter(found)) if len(found) == 1 else "soma"


def _compartments(cell: CellType, quantity: str, visited: frozenset[str]) -> set[str]:
    """Compartments of the ports that a quantity reads, directly or through others, now or earlier."""
    for port in cell.ports:
        if port.name == quantity:
            return {port.compartment}
    equation = cell.equation(quantity)
    if equation is None or quantity in visited:
        return set()
    if equation.compartment:
        return {equation.compartment}
    sources = (_compartments(cell, name, visited | {quantity}) for name in reads(equation.expression))
    return set[str]().union(*sources)


def traces(cell: CellType, message: str) -> set[str]:
    """Quantities that are functions of the message's history, of themselves and of constants alone."""
    constants = {"dt", message, *(p.name for p in cell.parameters)}
    read = {e.name: {n for n in reads(e.expression) if not n.startswith("gate.")} for e in cell.equations}
    return settled(read.keys() - {message}, lambda found: {n for n in found if read[n] <= constants | found})


# --- sums of products -----------------------------------------------------------------------------------


def check_increments(graph: Graph) -> None:
    """Raises E260 for the first rule whose increment is not a sum of products."""
    for problem in increment_problems(graph):
        raise problem


def increment_problems(graph: Graph) -> Iterator[CortexError]:
    for rule in graph.rules:
        term = offending_term(rule)
        if term:
            sides = " and ".join(sorted(sides_of(rule, term)))
            yield CortexError("E260", f"the increment of rule '{rule.name}' is not a sum of products: "
                                      f"'{show(term)}' mixes {sides} quantities in one factor.",
                              "Let each factor read one side, or keep the term as a per-synapse state.")


def offending_term(rule: PlasticityRule, expression: Expression | None = None) -> Expression | None:
    """The first part of the increment, or of a part of it, that is no sum of products of factors of one side each."""
    expression = rule.increment if expression is None else expression
    if _one_side(rule, expression):
        return None
    match expression:
        case Negate(operand):
            return offending_term(rule, operand)
        case Binary("+" | "-" | "*", left, right):
            return offending_term(rule, left) or offending_term(rule, right)
        case Binary("/", left, right) if _is_product(rule, right):
            return offending_term(rule, left)
        case Where(condition, then, otherwise) if _is_indicator(rule, condition):
            return offending_term(rule, then) or offending_term(rule, otherwise)
        case _ if _is_indicator(rule, expression):
            return None
    return expression


def _is_product(rule: PlasticityRule, expression: Expression) -> bool:
    """A product of factors of one side each; so is its inverse."""
    match expression:
        case Binary("*" | "/", left, right):
            return _is_product(rule, left) and _is_product(rule, right)
        case Negate(operand):
            return _is_product(rule, operand)
    return _one_side(rule, expression)


def _is_indicator(rule: PlasticityRule, expression: Expression) -> bool:
    """A condition that is a product of conditions of one side each."""
    match expression:
        case Binary("and", left, right):
            return _is_indicator(rule, left) and _is_indicator(rule, right)
    return _one_side(rule, expression)


def _one_side(rule: PlasticityRule, expression: Expression) -> bool:
    return len(sides_of(rule, expression)) <= 1


def sides_of(rule: PlasticityRule, expression: Expression) -> set[str]:
    """Which of `presynaptic`, `postsynaptic` and `synaptic` quantities an expression reads."""
    read, own = reads(expression), {"w", *(state.name for state in rule.states)}
    found = {SIDES[side] for side, dot, _ in (name.partition(".") for name in read) if dot and side in SIDES}
    return found | ({"synaptic"} if read & own else set())


# --- text -----------------------------------------------------------------------------------------------


def explain_text(graph: Graph) -> str:
    """The read-sets rule by rule; projections that read the same are listed together."""
    groups: dict[tuple[Any, ...], list[str]] = {}
    for found in read_sets(graph):
        key = found.rule, found.reads, found.offending, found.optimiser, found.delivered
        groups.setdefault(key, []).append(found.projection)
    blocks = [_explain(ReadSet(", ".join(projections), *key)) for key, projections in groups.items()]
    return "\n".join(blocks) if blocks else f"graph {graph.name} has no plastic projection.\n"


def _explain(found: ReadSet) -> str:
    title = f"rule {found.rule}" if found.rule else "no rule"
    lines = [f"{title}: {'local' if found.local else 'NON-LOCAL'}", f"  projections {found.projection}"]
    rows = [(read.text, read.compartment, f"{_steps(read.depth)} ago" if read.depth else "this step",
             f"{'local' if read.local else 'NON-LOCAL'}: {read.reason}")
            for read in found.reads if read.kind != "constant"]
    lines += [f"  {line}" for line in aligned(rows)]
    constants = sorted(read.name for read in found.reads if read.kind == "constant")
    lines += [f"  constants {', '.join(constants)}"] if constants else []
    if found.rule and found.offending:
        lines.append(f"  increment is NOT a sum of products (E260): {found.offending}")
    elif found.rule:
        lines.append("  increment is a sum of products")
    lines += [f"  delivers {found.delivered}"] if found.delivered else []
    needs = OPTIMISERS[found.optimiser].needs
    lines += [f"  optimiser {found.optimiser}: {needs}"] if needs else []
    return "\n".join(lines) + "\n"
