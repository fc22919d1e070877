"""What a valid graph is: one small check per rule, each with a stable code.

`verify(graph)` returns nothing or raises the first `CortexError`; `problems(graph)` lists all of them.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable

import numpy as np

from cortexc.compiler.ir import model
from cortexc.compiler.ir.arrays import amounts, arrays_fit, mirrors_fit
from cortexc.compiler.ir.dimensions import units_fit
from cortexc.compiler.ir.errors import CortexError, check_type, unknown
from cortexc.compiler.ir.expressions import WEIGHT_SUM, Expression, Lookup, names, previous, reads, walk
from cortexc.compiler.ir.language import Problems, part_problems
from cortexc.compiler.ir.model import CellType, Graph, PlasticityRule, Projection
from cortexc.compiler.ir.parameters import formulas, parameters_given, said_twice, values_fit
from cortexc.compiler.ir.place_checks import places_fit
from cortexc.compiler.ir.schedule import instantaneous, message_depth, schedule
from cortexc.compiler.ir.synapses import lists_fit, most_delay
from cortexc.compiler.ir.wiring_checks import wirings_fit

OF_WEIGHTS = frozenset({"mask", "current", "increment", "redrawn", "adam_first", "adam_second", "adam_powers",
                        *model.OPTIMISERS} - {"none"})
"""What a projection has beside its rule's states and draws."""


def problems(graph: Graph, units: bool = True) -> list[CortexError]:
    """Every violation; later checks run only when every value is of the language, then when names resolve. `units`:
    whether those have to fit, as in all that people write."""
    check_type("check_graph", graph, Graph, "a Graph", "cortexc.parse_graph reads text.")
    for checks in ((part_problems,), NAME_CHECKS, (places_fit,), (wirings_fit,), MEANING_CHECKS,
                   (values_fit, *((units_fit,) if units else ()))):
        found = [p for check in checks for p in check(graph)]
        if found:
            return found
    return []


def verify(graph: Graph, units: bool = True) -> None:
    """Raises the first violation; the others are named in its hint. After passes, which compute with numbers, `units`
    are not looked at."""
    found = problems(graph, units)
    if found:
        more = f" ({len(found) - 1} more: {', '.join(p.code for p in found[1:6])})" if len(found) > 1 else ""
        raise CortexError(found[0].code, found[0].message, (found[0].hint + more).strip())


def unique_names(graph: Graph) -> Problems:
    for kind in ("gates", "cells", "rules", "synapses", "populations", "projections", "outputs"):
        names = Counter(x[0] if isinstance(x, tuple) else getattr(x, "name", x) for x in getattr(graph, kind))
        for name in sorted(name for name, count in names.items() if count > 1):
            yield CortexError("E201", f"two {kind} of graph '{graph.name}' are called '{name}'.", "Rename one.")


def references(graph: Graph) -> Problems:
    cells, rules = {c.name for c in graph.cells}, {r.name for r in graph.rules}
    synapses, populations = {s.name for s in graph.synapses}, {p.name for p in graph.populations}
    projections, gates = {p.name for p in graph.projections}, set(graph.gates)
    for p in graph.populations:
        yield from _known("E202", f"cell type of population '{p.name}'", p.cell, cells)
    for s in graph.synapses:
        yield from _known("E203", f"rule of synapse class '{s.name}'", s.rule, rules)
    for q in graph.projections:
        yield from _known("E205", f"synapse class of projection '{q.name}'", q.synapse, synapses)
        yield from _known("E206", f"presynaptic population of projection '{q.name}'", q.pre, populations)
        yield from _known("E206", f"postsynaptic population of projection '{q.name}'", q.post, populations)
        yield from _known("E207", f"gate of projection '{q.name}'", q.gate, gates)
        yield from _known("E207", f"gate of projection '{q.name}'", q.apply, gates)
    for m in graph.mirrors:
        yield from _known("E208", "projection in mirror", m.target, projections)
        yield from _known("E208", "projection in mirror", m.source, projections)
        yield from _known("E207", f"gate of mirror '{m.target}'", m.gate, gates)
    yield from _known("E207", "gate of the noise", graph.noise.gate, gates)
    for name in graph.noise.order:
        yield from _known("E206", "population in the noise order", name, populations)


def separate_owners(graph: Graph) -> Problems:
    for name in sorted({p.name for p in graph.populations} & {q.name for q in graph.projections}):
        yield CortexError("E201", f"a population and a projection are both called '{name}'.",
                          "Rename one: both own quantities and arrays under their name.")


def _known(code: str, what: str, name: str | None, known: Iterable[str]) -> Problems:
    if name is not None and name not in set(known):
        yield unknown(code, what, name, known)


def ends_of_projections(graph: Graph) -> Problems:
    for projection in graph.projections:
        synapse = graph.class_of(projection.name)
        pre, post = graph.cell_of(projection.pre), graph.cell_of(projection.post)
        yield from _known("E210", f"message of synapse class '{synapse.name}' from cell '{pre.name}' (projection "
                                  f"'{projection.name}')", synapse.message, pre.messages)
        yield from _known("E211", f"port of synapse class '{synapse.name}' on cell '{post.name}' (projection "
                                  f"'{projection.name}')", synapse.port, {p.name for p in post.ports})


def names_in_cells(graph: Graph) -> Problems:
    for cell in graph.cells:
        yield from _cell_names(graph, cell)


def _cell_names(graph: Graph, cell: CellType) -> Problems:
    fixed = {"dt", *(p.name for p in cell.parameters), *cell.inputs, *(n for n, _ in cell.noise),
             *(f"gate.{g}" for g in graph.gates)}
    ports, states = {p.name for p in cell.ports}, {s.name for s in cell.states}
    defined = [e.name for e in cell.equations]
    yield from said_twice(f"cell '{cell.name}'", [
        *defined, *(p.name for p in cell.ports), *(p.name for p in cell.parameters), *cell.inputs,
        *(name for name, _ in cell.noise)])
    yield from said_twice(f"the states of cell '{cell.name}'", [s.name for s in cell.states])
    yield from said_twice(f"the messages of cell '{cell.name}'", [*cell.messages])
    for name in sorted(set(cell.late) - set(cell.messages)):
        yield unknown("E213", f"late message of cell '{cell.name}'", name, cell.messages)
    for name in sorted(set(cell.messages) - set(defined)):
        yield unknown("E213", f"message of cell '{cell.name}'", name, defined)
    for e in cell.equations:
        if e.name in cell.messages and e.stage == "factor":
            yield CortexError("E213", f"message '{e.name}' of cell '{cell.name}' is a factor; factors are not sent.",
                              "Define it in a send or receive equation.")
    for name in sorted(states - set(defined)):
        yield CortexError("E214", f"state '{name}' of cell '{cell.name}' has no equation.", "Add one or remove it.")
    constants = {"dt", *(p.name for p in cell.parameters)}
    yield from _initial_values(f"cell '{cell.name}'", cell.states, constants, earlier=True)
    for equation in cell.equations:
        if equation.derivative and equation.start is None and equation.name not in states:
            yield CortexError("E217", f"equation 'd{equation.name}/dt' of cell '{cell.name}' needs an earlier"
                                      f" '{equation.name}', which has no declared initial value.",
                              f"Add 'state {equation.name} = ...' to the cell.")
        visible = fixed | set(defined) | (ports if equation.stage != "send" else set())
        visible |= ports if cell.relay else set()
        for expression in (equation.expression, *([equation.start] if equation.start else [])):
            yield from _readable(cell, equation.name, expression, visible, states)


def _initial_values(where: str, states: tuple[model.State, ...], known: set[str], earlier: bool) -> Problems:
    """`earlier`: whether an initial value may read the states declared above it."""
    for state in states:
        for name in sorted(names(state.initial) - known):
            yield unknown("E215", f"name in the initial value of '{state.name}' of {where}", name, known)
        for name in sorted(previous(state.initial)):
            yield CortexError("E215", f"the initial value of '{state.name}' of {where} reads prev({name}).",
                              "Nothing comes before the first step; read a parameter or a state above.")
        known = known | {state.name} if earlier else known


def _readable(cell: CellType, name: str, expression: Expression, visible: set[str], states: set[str]) -> Problems:
    who = f"equation '{name}' of cell '{cell.name}'"
    for read in sorted(names(expression) - visible):
        yield unknown("E216", f"name in {who}", read, visible)
    for read in sorted(set(previous(expression)) - states):
        yield CortexError("E217", f"{who} reads prev({read}), but '{read}' has no declared initial value.",
                          f"Add 'state {read} = ...' to the cell.")


def names_in_rules(graph: Graph) -> Problems:
    for projection in graph.projections:
        rule = graph.rule_of(projection)
        if rule:
            yield from _rule_names(graph, projection, rule)


def _rule_names(graph: Graph, projection: Projection, rule: PlasticityRule) -> Problems:
    pre, post = graph.cell_of(projection.pre), graph.cell_of(projection.post)
    sides = (("pre", pre), ("arrived", pre), ("post", post))
    offered = {f"{side}.{n}" for side, cell in sides for n in (*(e.name for e in cell.equations), *cell.inputs)}
    own, drawn = {s.name for s in rule.states}, {name for name, _ in rule.noise}
    visible = offered | own | drawn | {"w", "dt", *(p.name for p in rule.parameters),
                                       *(f"gate.{g}" for g in graph.gates)}
    visible |= {WEIGHT_SUM} if not projection.convolution else set()
    stored = own | {f"{side}.{s.name}" for side, cell in sides for s in cell.states}
    constants = {"dt", *(p.name for p in rule.parameters)}
    yield from said_twice(f"rule '{rule.name}'", [*(s.name for s in rule.states),
                                                      *(p.name for p in rule.parameters), *(n for n, _ in rule.noise)])
    yield from _taken(rule)
    yield from _initial_values(f"rule '{rule.name}'", rule.states, constants, earlier=False)
    for argument in rule.optimiser.arguments:
        for read in sorted(reads(argument) - constants):
            where = f"name in the optimiser of rule '{rule.name}' (projection '{projection.name}')"
            yield unknown("E218", where, read, constants)
    for read in sorted(reads(rule.deliver) - own - constants - {"w"} | set(previous(rule.deliver))):
        yield unknown("E218", f"name in 'deliver' of rule '{rule.name}' (projection '{projection.name}')", read,
                      {*own, *constants, "w"})
    for expression in rule.expressions:
        for read in sorted(names(expression) - visible):
            yield unknown("E218", f"name in rule '{rule.name}' (projection '{projection.name}')", read, visible)
        for read in sorted(set(previous(expression)) - stored):
            yield CortexError("E219", f"rule '{rule.name}' (projection '{projection.name}') reads prev({read}), but "
                                      f"'{read}' has no declared initial value.", "Declare it as a state.")
        for read in sorted(n for n, depth in previous(expression).items() if n in own and depth > 1):
            yield CortexError("E219", f"rule '{rule.name}' (projection '{projection.name}') reads "
                                      f"prev(prev({read})); a synapse keeps one earlier value of its states.",
                              f"Add a state whose update is prev({read}).")
    age = message_depth(graph, projection) + most_delay(graph, projection) - 1
    for name in sorted(rule.arrivals - stored if age else ()):
        yield CortexError("E219", f"rule '{rule.name}' (projection '{projection.name}') reads {name}, which has left "
                                  f"up to {age} steps before, but has no declared initial value.",
                          "Declare it as a state.")
    for name in sorted(own ^ {u.name for u in rule.updates}):
        yield CortexError("E220", f"state '{name}' of rule '{rule.name}' needs exactly one 'state' and one 'update'.")
    yield from _read_early(rule)
    kind, wanted, given = rule.optimiser.kind, rule.optimiser.traits.arguments, len(rule.optimiser.arguments)
    if given != len(wanted):
        yield CortexError("E221", f"optimiser '{kind}' of rule '{rule.name}' takes {len(wanted)} arguments {wanted}, "
                                  f"got {given}.")


def _read_early(rule: PlasticityRule) -> Problems:
    """Updates run in their order; derivatives go on from the last step together."""
    for at, update in enumerate(rule.updates):
        later = {u.name for u in rule.updates[at:] if not (update.derivative and u.derivative)}
        for read in sorted(names(update.expression) & later):
            yield CortexError("E269", f"state '{update.name}' of rule '{rule.name}' reads '{read}', whose value of "
                                      "this step is not there yet.", f"Write prev({read}), or put its update first.")


def names_in_code(graph: Graph) -> Problems:
    """Names that are not of the language, and those that have two meanings: what a backend must not see."""
    for problem in (*part_problems(graph), *(p for rule in graph.rules for p in _taken(rule))):
        if problem.code in ("E209", "E212"):
            yield problem


def _taken(rule: PlasticityRule) -> Problems:
    for name in sorted({*(s.name for s in rule.states), *(n for n, _ in rule.noise)} & OF_WEIGHTS):
        yield CortexError("E212", f"'{name}' is defined twice in rule '{rule.name}': every projection has such a "
                                  "quantity.", "Rename it.")


def sizes(graph: Graph) -> Problems:
    for q in graph.projections:
        yield from _sizes_of_projection(graph, q)


def _sizes_of_projection(graph: Graph, q: Projection) -> Problems:
    pre, post = graph.population(q.pre).size, graph.population(q.post).size
    synapse = graph.class_of(q.name)
    kind = synapse.kind
    if not kind.weighted and synapse.rule:
        yield CortexError("E229", f"projection '{q.name}' is an identity and has no weights, but "
                                  f"its synapse class '{synapse.name}' has rule '{synapse.rule}'.",
                          "Use connectivity one_to_one for a weight per pair.")
    if kind.pairs and pre != post:
        yield CortexError("E227", f"projection '{q.name}' is {kind.name}, but '{q.pre}' has {pre} cells and '{q.post}' "
                                  f"{post}.", "Make the populations equal in size, or use dense connectivity.")
    in_blocks = kind.mask == "blocks"
    if kind.maps != (q.convolution is not None) or in_blocks != (q.blocks is not None):
        yield CortexError("E228", f"projection '{q.name}' is of connectivity '{kind.name}' and must "
                                  f"{'give' if kind.maps or in_blocks else 'not give'} its shapes.")
    elif q.convolution:
        c = q.convolution
        lower, upper = (post, pre) if kind.back else (pre, post)
        yield from _equal("E227", q.name, "lower channels x height x width", math.prod(c.pre), lower)
        yield from _equal("E227", q.name, "upper channels x height x width", math.prod(c.post), upper)
        for axis in (1, 2):
            left_over = f"pixels along axis {axis} that pooling by {c.pool} leaves over"
            yield from _equal("E227", q.name, left_over, c.pre[axis] % c.pool, 0)
            out = (c.pre[axis] // c.pool + 2 * c.padding - c.kernel) // c.stride + 1
            yield from _equal("E227", q.name, f"output pixels along axis {axis}", out, c.post[axis])
    elif q.blocks:
        yield from _equal("E227", q.name, "sum of the postsynaptic area sizes", sum(q.blocks[0]), post)
        yield from _equal("E227", q.name, "sum of the presynaptic area sizes", sum(q.blocks[1]), pre)
        for i, j in q.blocks[2]:
            if not (0 <= i < len(q.blocks[0]) and 0 <= j < len(q.blocks[1])):
                yield CortexError("E227", f"projection '{q.name}': block {i}:{j} is outside the areas.")


def _equal(code: str, who: str, what: str, got: int, expected: int) -> Problems:
    if got != expected:
        yield CortexError(code, f"projection '{who}': {what} is {got}, expected {expected}.")


def tables_exist(graph: Graph) -> Problems:
    known = {name.removeprefix("table.") for name in graph.arrays if name.startswith("table.")}
    owners = [(f"cell '{c.name}'", [e.expression for e in c.equations]) for c in graph.cells]
    owners += [(f"rule '{r.name}'", [*r.expressions, r.deliver]) for r in graph.rules]
    for owner, expressions in owners:
        for node in (node for e in expressions for node in walk(e)):
            if isinstance(node, Lookup):
                yield from _known("E245", f"table of {owner}", node.table, known)


def signs_hold(graph: Graph) -> Problems:
    for q in graph.projections:
        synapse, w = graph.class_of(q.name), graph.arrays.get(f"{q.name}.w")
        low, high = synapse.bounds
        if synapse.kind.mask and not low <= 0 <= high:
            yield CortexError("E244", f"synapses that projection '{q.name}' leaves out have weight 0, synapse class "
                                      f"'{synapse.name}' ({synapse.sign}) allows [{low}, {high}].",
                              "Widen the limits, or list the synapses that are there: connectivity sparse.")
        if q.weights and w is None:
            w = np.array(q.weights.arguments if q.weights.kind == "constant" else ())
            if synapse.unit and q.weights.kind != "constant":
                yield CortexError("E246", f"weights of projection '{q.name}' are drawn, and no multiples of the unit "
                                          f"{synapse.unit} of synapse class '{synapse.name}'.", "Bind them, rounded.")
        if w is None or not w.size:
            continue
        if w.min() < low or w.max() > high:
            yield CortexError("E244", f"weights of projection '{q.name}' span [{w.min()}, {w.max()}], synapse class "
                                      f"'{synapse.name}' ({synapse.sign}) allows [{low}, {high}].")
        elif synapse.unit and np.any(np.floor(w / synapse.unit) * synapse.unit != w):
            yield CortexError("E246", f"weights of projection '{q.name}' are not all multiples of the unit "
                                      f"{synapse.unit} of synapse class '{synapse.name}'.", "Round them first.")


def delays(graph: Graph) -> Problems:
    for q in graph.projections:
        cell, message = graph.cell_of(q.pre), graph.class_of(q.name).message
        depth = message_depth(graph, q) + most_delay(graph, q) - 1
        if depth < 0 or q.delay < 0:
            yield CortexError("E231", f"projection '{q.name}' has delay {q.delay}, but message '{message}' of cell "
                                      f"'{cell.name}' is sent from state: the least delay is 1.")
        elif depth > 0 and cell.state(message) is None:
            yield CortexError("E232", f"projection '{q.name}' delays message '{message}' of cell '{cell.name}' by "
                                      f"{depth} steps, but the message has no declared initial value.",
                              f"Add 'state {message} = ...' to the cell.")
        if cell.relay and message in instantaneous(cell) and q.delay != 0:
            yield CortexError("E233", f"projection '{q.name}' leaves relay '{cell.name}' with delay {q.delay}; a relay "
                                      "passes its input on within the step.", "Write delay=0.")


def same_step_order(graph: Graph) -> Problems:
    try:
        schedule(graph)
    except CortexError as error:
        yield error


def outputs_exist(graph: Graph) -> Problems:
    for name, quantity in graph.outputs:
        known = {f"{p.name}.{e.name}" for p in graph.populations for e in graph.cell(p.cell).equations}
        yield from _known("E252", f"quantity of output '{name}'", quantity, known)


def verify_discrete(graph: Graph) -> None:
    """Raises E255 for what the pass 'discretise' makes numbers and difference equations of: backends run nothing else.
    """
    owners = [(f"cell '{cell.name}'", cell.equations, cell.parameters) for cell in graph.cells]
    owners += [(f"rule '{rule.name}'", rule.updates, rule.parameters) for rule in graph.rules]
    left = [f"equation 'd{e.name}/dt' of {owner} is a derivative" for owner, found, _ in owners for e in found
            if e.derivative]
    left += [f"parameter '{p.name}' of {owner} is a formula" for owner, _, found in owners for p in found if p.formula]
    left += [f"'{name}' of population '{p.name}' is a distribution" for p in graph.populations for name, _ in p.drawn]
    if left:
        raise CortexError("E255", f"{left[0]}.", "Run the pass 'discretise' first.")


NAME_CHECKS: tuple[Callable[[Graph], Problems], ...] = (unique_names, separate_owners, references)
MEANING_CHECKS: tuple[Callable[[Graph], Problems], ...] = (
    ends_of_projections, formulas, names_in_cells, names_in_rules, parameters_given, sizes, amounts, mirrors_fit,
    arrays_fit, lists_fit, tables_exist, signs_hold, delays, same_step_order, outputs_exist)
