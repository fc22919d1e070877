"""What a projection becomes whose input x is held while a presentation lasts: its form, line by line.

A form keeps numbers of its own beside the weights: scalars, and vectors over pre- and postsynaptic cells. Its lines
run in order as they are written: the interpreter evaluates them, the lowering prints them. `y = v` gives y a value,
`y += v` adds to it, `c > 0: y = v` does so where c holds, and `sum(v)` adds v up, left to right, over what v goes along
and y does not: presynaptic cells in `sum(w * x)`, samples in `sum(q * x)`. Equal algebraically to the plain projection,
not to the bit, but for `static`, which has no rule.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cortexc.compiler.ir.evaluation import evaluate, no_history
from cortexc.compiler.ir.expressions import WEIGHT_SUM, Binary, Expression, Name, Prev, children, parse, reads
from cortexc.compiler.ir.model import Array, CellType, Graph, Projection

SCALARS = ("valid", "first", "behind", "keep", "total", "share", "shares", "square", "cross", "gathered", "empty")
POST = ("current", "moved", "g", "sum_g", "p_first", "product", "q", "p")
PRE = ("x", "x_old", "given")
MATRICES = ("w", "held")
"""The weights, and what the optimiser keeps of each."""


@dataclass(frozen=True)
class Line:
    target: str
    value: Expression
    adds: bool = False
    sums: bool = False
    when: Expression | None = None


Lines = tuple[Line, ...]


def lines(text: str) -> Lines:
    return tuple(map(_line, text.strip().splitlines()))


def _line(text: str) -> Line:
    when, _, rest = text.strip().rpartition(": ")
    target, sign, value = rest.partition(" += " if " += " in rest else " = ")
    sums = value.startswith("sum(") and value.endswith(")")
    return Line(target, parse(value[4:-1] if sums else value), "+" in sign, sums, parse(when) if when else None)


@dataclass(frozen=True)
class Form:
    """When its lines run. `deliver`: at every delivery; then `learn`, where the increment of the last step waits;
    `turn`, where another presentation has begun or the product is not valid; `send`. `catch_up`: the matrices take what
    they lag behind. `gather`: at the end of a step that learns. `update`: before the optimiser's step. `read`: what a
    matrix would be without the form.
    """

    deliver: Lines = ()
    learn: Lines = ()
    turn: Lines = ()
    send: Lines = ()
    catch_up: Lines = ()
    gather: Lines = ()
    update: Lines = ()
    read: Lines = ()
    x: str = ""
    """The quantity of the presynaptic cell that is held, `given`."""
    u: str | None = None
    """What of the presynaptic cell the message is times."""
    p: Expression | None = None
    """The postsynaptic factor of the increment."""
    rate: Expression | None = None
    """Of the low-pass."""

    @property
    def keeps(self) -> tuple[str, ...]:
        """What has a value from one step to the next, besides the weights and the current."""
        every = (*self.deliver, *self.learn, *self.turn, *self.send, *self.catch_up, *self.gather, *self.update)
        return tuple(dict.fromkeys(line.target for line in every if line.target != "current"
                                   and line.target in (*SCALARS, *POST, *PRE)))


def form_of(graph: Graph, q: Projection) -> Form | None:
    """Of a projection whose `lowering` is `hoisted`."""
    found = held_input(graph, q) if q.lowering == "hoisted" else None
    if found is None:
        return None
    (x, u), rule = found, graph.rule_of(q)
    if rule is None:
        return static(x)
    p = postsynaptic_factor(graph, q, rule.increment)
    assert p is not None
    if rule.optimiser.traits.sums:
        return summed(x, u, p)
    earlier = any(isinstance(side, Prev) and side.name.startswith("pre.") for side in children(rule.increment))
    return moving(x, p, earlier, rule.optimiser.arguments)


def moving(x: str, p: Expression, earlier: bool, rate: Sequence[Expression]) -> Form:
    """Of a rule that moves the weights in every step, through a low-pass D of this `rate` or none.

    W x and D x move by rank-one terms, so a step costs O(n_post); the matrices take theirs once a presentation:

        dw = p q^T,  q = x (or x_old in the first step of a presentation, where the rule reads the `earlier` input)
        D x <- D x + rate (p (q . x) - D x);   W x <- W x + D x
        D_n = keep_n D_0 + g x^T + c_n p_1 x_old^T;  W_n = W_0 + sum_n D_0 + G x^T + (sum of c) p_1 x_old^T

    p_1 is the factor p of the presentation's first step, c_n (`share`) what is left of it.
    """
    held = "held" if rate else "0"
    return Form(
        lines(f"""opening = {'first' if earlier else '0'}
                  first = 0"""),
        lines("""loss = 1 - rate
                 keep = loss * keep
                 total += keep
                 behind = 1
                 dot = where(opening > 0, cross, square)
                 late = where(opening > 0, 0, rate)
                 opening > 0: p_first = p
                 share = where(opening > 0, rate, loss * share)
                 shares += share
                 moved = loss * moved + rate * dot * p
                 current += moved
                 g = loss * g + late * p
                 sum_g += g"""),
        lines(f"""x_old = x
                  x = given
                  square = sum(x * x)
                  cross = sum(x_old * x)
                  current = sum(w * x)
                  moved = {'sum(held * x)' if rate else '0'}
                  first = 1
                  valid = 1"""),
        catch_up=lines(f"""w += {'total * held + ' if rate else ''}sum_g * x + p_first * (shares * x_old)
                           {'held = keep * held + g * x + p_first * (share * x_old)' if rate else 'keep = 1'}
                           g = 0
                           sum_g = 0
                           p_first = 0
                           keep = 1
                           total = 0
                           share = 0
                           shares = 0
                           behind = 0"""),
        read=lines(f"""w = w + total * {held} + (x * sum_g + shares * (x_old * p_first))
                       held = keep * {held} + (x * g + share * (x_old * p_first))"""),
        x=x, p=p, rate=rate[0] if rate else parse("1"))


def summed(x: str, u: str | None, p: Expression) -> Form:
    """Of a rule whose optimiser sums increments until an update. The message is x, or x times one number u that all
    cells share in a step. Of the increments only q = sum of u p over the steps is kept: the sums see one product q x^T
    per presentation, and W x is made once a presentation and after an update."""
    shared, take = ("" if u is None else " * u"), """gathered > 0: held += sum(q * x)
                                                     gathered > 0: empty = 0
                                                     gathered > 0: q = 0
                                                     gathered = 0"""
    return Form(turn=lines(f"""{take}
                               x = given
                               product = sum(w * x)
                               valid = 1"""),
                send=lines(f"current = product{shared}"),
                gather=lines(f"""q += p{shared}
                                 gathered = 1"""),
                update=lines(f"""{take}
                                 empty = 1
                                 valid = 0"""),
                x=x, u=u, p=p)


def static(x: str) -> Form:
    """Without a rule: the product is made once a presentation."""
    return Form(turn=lines("""current = sum(w * given)
                              valid = 1"""), x=x)


def as_read(form: Form, name: str, look: Callable[[str], Array]) -> Array:
    """A matrix (`w` or `held`) as it would be without the form; `look` gives what the form keeps and the matrices,
    along the matrix."""
    line = next((line for line in form.read if line.target == name), None)
    return look(name) if line is None else evaluate(line.value, look, no_history)


def first_values(form: Form) -> dict[str, float]:
    """Of scalars that do not begin at 0."""
    return {"keep": 1.0} if "keep" in form.keeps else {}


# ---- which projections these are


def held_input(graph: Graph, projection: Projection) -> tuple[str, str | None] | None:
    """(the input x, the quantity u or None) if the message is x or x times u."""
    cell, population = graph.cell_of(projection.pre), projection.pre
    equation = cell.equation(graph.class_of(projection.name).message)
    if equation is None:
        return None
    match equation.expression:
        case Name(x) if x in cell.inputs:
            return x, None
        case Binary("*", Name(left), Name(right)):
            for x, u in ((left, right), (right, left)):
                if x in cell.inputs and is_uniform(graph, population, u, frozenset()):
                    return x, u
    return None


def is_uniform(graph: Graph, population: str, name: str, visited: frozenset[str]) -> bool:
    """Whether a state has the same value in all cells of the population: it reads gates and numbers alone."""
    cell = graph.cell_of(population)
    equation, state = cell.equation(name), cell.state(name)
    if equation is None or state is None or f"{population}.{name}" in graph.arrays:
        return False
    leaves = reads(equation.expression) | reads(state.initial)
    return all(leaf in visited | {name} or _is_number(graph, cell, population, leaf)
               or is_uniform(graph, population, leaf, visited | {name}) for leaf in leaves)


def _is_number(graph: Graph, cell: CellType, population: str, name: str) -> bool:
    parameter = any(p.name == name for p in cell.parameters) and f"{population}.{name}" not in graph.arrays
    return name == "dt" or name.startswith("gate.") or parameter


def postsynaptic_factor(graph: Graph, projection: Projection, expression: Expression,
                        earlier: bool = True) -> Expression | None:
    """p, if an increment is p times the message of this step, or with `earlier` the last; p reads the postsynaptic
    cell, and nothing else but constants and gates."""
    message = f"pre.{graph.class_of(projection.name).message}"
    match expression:
        case Binary("*", left, right):
            for p, x in ((left, right), (right, left)):
                if x == Name(message) or earlier and x == Prev(message, 1):
                    found = reads(p)
                    only_post = not any(name.startswith("pre.") or name in ("w", WEIGHT_SUM) for name in found)
                    return p if only_post and any(name.startswith("post.") for name in found) else None
    return None
