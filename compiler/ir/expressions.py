"""Expressions: a small immutable tree that keeps the order of evaluation.

Every name means the value of *this* step; `prev(x)` is the value one step earlier, and `prev(prev(x))` two steps.
Text is Python's expression syntax, read through a whitelist of `ast` nodes and never evaluated. `a.b` names belong to
a side: `pre.rate`, `post.error`, `gate.noise`. `where(c, a, b)` chooses; comparisons give 1 or 0. Text alone has
`a ** b`, which is pow(a, b), `not a`, which is a == 0, and `a < b < c`, which is a < b and b < c. `lookup(T, x)` is
entry floor(x) of the graph's array `table.T`, the first or last one where x lies outside; `interpolate(T, x)` is
between entries floor(x) and floor(x) + 1. Rules have `post.sum(w)`, the sum over the weights that end in a cell.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from itertools import accumulate
from typing import Any

from cortexc.compiler.ir.errors import CortexError, check_type, unknown
from cortexc.compiler.ir.functions import ARITY
from cortexc.compiler.ir.limits import EXPRESSION_DEPTH, EXPRESSION_LENGTH, EXPRESSION_NODES, shown
from cortexc.compiler.ir.units import marked


def _binary(operator: str, turned: bool = False) -> Callable[[Any, Any], Expression]:
    """A method that joins a node with another, or with a number; `turned`: from the right."""
    def join(self: Expression, other: Expression | float) -> Expression:
        ends = (other, self) if turned else (self, other)
        return Binary(operator, *map(as_node, ends))
    return join


class Node:
    """What every node can: Python's arithmetic builds the tree, as `parse` does from text."""

    __add__, __radd__ = _binary("+"), _binary("+", turned=True)
    __sub__, __rsub__ = _binary("-"), _binary("-", turned=True)
    __mul__, __rmul__ = _binary("*"), _binary("*", turned=True)
    __truediv__, above = _binary("/"), _binary(">")

    def __neg__(self) -> Expression:
        return Negate(as_node(self))


def as_node(value: object) -> Expression:
    """The node itself, or that of a number."""
    return value if isinstance(value, Expression) else Number(float(value))  # type: ignore[arg-type]


@dataclass(frozen=True)
class Number(Node):
    """`unit`: what the number is of, for `cortexc.compiler.ir.dimensions` alone; it changes nothing of its value."""

    value: float
    unit: str = ""


@dataclass(frozen=True)
class Name(Node):
    name: str


@dataclass(frozen=True)
class Prev(Node):
    """The value of `name`, `depth` steps earlier (depth 1 is the previous step)."""

    name: str
    depth: int


@dataclass(frozen=True)
class Negate(Node):
    operand: Expression


@dataclass(frozen=True)
class Binary(Node):
    operator: str
    left: Expression
    right: Expression


@dataclass(frozen=True)
class Call(Node):
    function: str
    arguments: tuple[Expression, ...]


@dataclass(frozen=True)
class Where(Node):
    condition: Expression
    then: Expression
    otherwise: Expression


@dataclass(frozen=True)
class Lookup(Node):
    """Entry floor(index) of the array `table.<table>`; indices outside take the first or last entry. `linear`: i the
    integer below the index, T[i] + (index - i) * (T[i + 1] - T[i])."""

    table: str
    index: Expression
    linear: bool = False

    @property
    def function(self) -> str:
        return "interpolate" if self.linear else "lookup"


Expression = Node
NODES = (Number, Name, Prev, Negate, Binary, Call, Where, Lookup)
"""Every kind of node that the language has."""

ARITHMETIC = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/"}
COMPARISON = {ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=", ast.Eq: "==", ast.NotEq: "!="}
LOGICAL = {ast.And: "and", ast.Or: "or"}
PRECEDENCE = {"or": 1, "and": 2, "<": 4, "<=": 4, ">": 4, ">=": 4, "==": 4, "!=": 4, "+": 5, "-": 5, "*": 6, "/": 6}
UNARY, ATOM = 7, 9
WEIGHT_SUM = "post.sum(w)"
"""A name of rules: the sum over the weights of a projection that end in the postsynaptic cell, from the first
presynaptic cell to the last."""
LOOKUPS = ("lookup", "interpolate")
ALLOWED = "Use numbers, names, + - * / **, comparisons, and, or, not, prev(), where() and the listed functions."


def children(expression: Expression) -> tuple[Expression, ...]:
    match expression:
        case Negate(operand):
            return (operand,)
        case Binary(_, left, right):
            return (left, right)
        case Call(_, arguments):
            return arguments
        case Where(condition, then, otherwise):
            return (condition, then, otherwise)
        case Lookup(_, index):
            return (index,)
    return ()


def rebuild(expression: Expression, parts: tuple[Expression, ...]) -> Expression:
    """The same node over other children."""
    match expression:
        case Negate():
            return Negate(*parts)
        case Binary(operator):
            return Binary(operator, *parts)
        case Call(function):
            return Call(function, parts)
        case Where():
            return Where(*parts)
        case Lookup(table, _, linear):
            return Lookup(table, parts[0], linear)
    return expression


def walk(expression: Expression) -> Iterator[Expression]:
    """Every node, those above before those below, from left to right."""
    waiting = [expression]
    while waiting:
        node = waiting.pop()
        yield node
        waiting += reversed(children(node))


def leaves(expression: Expression) -> Iterator[Name | Prev]:
    """Every name and earlier value, from left to right."""
    return (node for node in walk(expression) if isinstance(node, Name | Prev))


def depth_of(node: Name | Prev) -> int:
    """How many steps ago a leaf is read: 0 for a value of this step."""
    return node.depth if isinstance(node, Prev) else 0


def transform(expression: Expression, rewrite: Callable[[Expression], Expression]) -> Expression:
    """Rewrites bottom-up: children first, then the node itself."""
    parts = tuple(transform(child, rewrite) for child in children(expression))
    return rewrite(rebuild(expression, parts) if parts else expression)


def names(expression: Expression) -> set[str]:
    """Names read as values of this step."""
    return {node.name for node in walk(expression) if isinstance(node, Name)}


def previous(expression: Expression) -> dict[str, int]:
    """Name -> greatest depth at which `prev` reads it."""
    depths: dict[str, int] = {}
    for node in walk(expression):
        if isinstance(node, Prev):
            depths[node.name] = max(node.depth, depths.get(node.name, 0))
    return depths


def reads(expression: Expression) -> set[str]:
    """Every name read, now or earlier."""
    return {node.name for node in leaves(expression)}


def substitute(expression: Expression, table: dict[str, Expression]) -> Expression:
    """Replaces names of this step; `prev` stays."""
    return transform(expression, lambda e: table.get(e.name, e) if isinstance(e, Name) else e)


def rename(expression: Expression, table: dict[str, str]) -> Expression:
    return transform(expression, lambda e: replace(e, name=table.get(e.name, e.name)) if isinstance(e, Name | Prev)
                     else e)


def size_problem(expression: Expression, who: str) -> CortexError | None:
    """E114 where a tree is beyond the language's limits; it stops there, whatever the size."""
    waiting, nodes = [(expression, 0)], 0
    while waiting:
        node, depth = waiting.pop()
        nodes += 1
        depth += node.depth if isinstance(node, Prev) and isinstance(node.depth, int) else 0
        if depth > EXPRESSION_DEPTH or nodes > EXPRESSION_NODES:
            return _too_large(who)
        waiting += [(child, depth + 1) for child in children(node) or ()]
    return None


def _too_large(who: str) -> CortexError:
    return CortexError("E114", f"{who} is too large: at most {EXPRESSION_DEPTH} operations may be inside one another, "
                               f"and {EXPRESSION_NODES} names, numbers and operations in all.",
                       "Give parts of it names of their own.")


def parse(text: str) -> Expression:
    """Raises E110 for text that is not one of our expressions, E111 to E113 for its calls, E114 beyond the limits, E234
    for a unit that is none."""
    check_type("parse", text, str, "the text of an expression")
    plain, brackets, units = marked(text) if len(text) <= EXPRESSION_LENGTH else (text, text, [])
    _scan(plain)
    try:
        tree = ast.parse(brackets.strip(), mode="eval").body
        if _ast_depth(tree) > EXPRESSION_DEPTH + 2:
            raise _too_large(f"expression {shown(text)}")
        expression = converted(tree, text, units)
    except SyntaxError as error:
        raise CortexError("E110", f"cannot read expression {shown(text)}: {error.msg}.") from None
    except (ValueError, OverflowError, RecursionError, MemoryError) as error:
        raise CortexError("E110", f"cannot read expression {shown(text)}: {error or type(error).__name__}.") from None
    if problem := size_problem(expression, f"expression {shown(text)}"):
        raise problem
    return expression


FOREIGN = re.compile(r"[^A-Za-z0-9_\s.,()+*/<>=!-]", re.ASCII)
TOKEN = re.compile(r"(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?|(?!prev\b)[A-Za-z_][\w.]*|[<>=!]=?|[+*/-]",
                   re.ASCII)
"""Numbers, names and operators; `prev` is counted with its name."""


def _scan(text: str) -> None:
    """What Python's parser must not see: other alphabets, and what would exhaust its stack. E110, E114."""
    if found := FOREIGN.search(text):
        raise CortexError("E110", f"cannot read expression {shown(text)}: {ascii(found[0])} is not of the language.",
                          ALLOWED)
    tokens = sum(1 for _ in TOKEN.finditer(text)) if len(text) <= EXPRESSION_LENGTH else 0
    if len(text) > EXPRESSION_LENGTH or tokens > 2 * EXPRESSION_NODES or _nested(text) > EXPRESSION_DEPTH:
        raise _too_large(f"expression {shown(text)} ({len(text)} characters)")


def _nested(text: str) -> int:
    return max(accumulate((letter == "(") - (letter == ")") for letter in text), default=0)


def _ast_depth(tree: ast.AST) -> int:
    deepest, waiting = 0, [(tree, 0)]
    while waiting:
        node, depth = waiting.pop()
        deepest = max(deepest, depth)
        waiting += [(child, depth + 1) for child in ast.iter_child_nodes(node) if isinstance(child, ast.expr)]
    return deepest


def converted(node: ast.expr, text: str, units: Sequence[str] = ()) -> Expression:
    """Of Python's tree, whatever its size; `text` is what messages show of it. Raises E110 to E113."""
    def convert(child: ast.expr) -> Expression:
        return converted(child, text, units)

    match node:
        case ast.Constant(value=bool() | int() | float() as value):
            return Number(float(value))
        case ast.Subscript(value=ast.Constant(value=value), slice=ast.Constant(value=int() as place)):
            return Number(float(value), units[place])  # type: ignore[arg-type]
        case ast.Name(id=name):
            return Number(float("inf")) if name == "inf" else Name(name)
        case ast.Attribute(value=ast.Name(id=side), attr=name):
            return Name(f"{side}.{name}")
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return Negate(convert(operand))
        case ast.BinOp(op=op, left=left, right=right) if type(op) in ARITHMETIC:
            return Binary(ARITHMETIC[type(op)], convert(left), convert(right))
        case ast.BinOp(op=ast.Pow(), left=left, right=right):
            return Call("pow", (convert(left), convert(right)))
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return Binary("==", convert(operand), Number(0.0))
        case ast.Compare(left=left, ops=ops, comparators=others) if all(type(op) in COMPARISON for op in ops):
            compared = [convert(operand) for operand in (left, *others)]
            pairs = zip(ops, compared, compared[1:], strict=False)
            return chained("and", [Binary(COMPARISON[type(op)], a, b) for op, a, b in pairs])
        case ast.BoolOp(op=op, values=operands):
            return chained(LOGICAL[type(op)], [convert(operand) for operand in operands])
        case ast.Call(func=ast.Attribute()) if ast.unparse(node) == WEIGHT_SUM:
            return Name(WEIGHT_SUM)
        case ast.Call(func=ast.Name(id=function), args=arguments, keywords=[]):
            return _call(function, tuple(map(convert, arguments)), text)
    raise CortexError("E110", f"{shown(ast.unparse(node))} is not allowed in expression {shown(text)}.", ALLOWED)


def chained(operator: str, operands: Sequence[Expression]) -> Expression:
    """All of them, from left to right."""
    return reduce(lambda left, right: Binary(operator, left, right), operands)


def _call(function: str, arguments: tuple[Expression, ...], text: str) -> Expression:
    if function == "prev" and len(arguments) == 1:
        match arguments[0]:
            case Name(name):
                return Prev(name, 1)
            case Prev(name, depth):
                return Prev(name, depth + 1)
        raise CortexError("E111", f"prev() takes a name in {shown(text)}, not {shown(show(arguments[0]))}.",
                          "Give the inner expression a name of its own first.")
    if function == "where" and len(arguments) == 3:
        return Where(*arguments)
    if function in LOOKUPS and len(arguments) == 2:
        if not isinstance(arguments[0], Name):
            raise CortexError("E111", f"{function}() takes a table's name in {shown(text)}, not "
                                      f"{shown(show(arguments[0]))}.")
        return Lookup(arguments[0].name, arguments[1], function == "interpolate")
    known = {**ARITY, "prev": 1, "where": 3, **dict.fromkeys(LOOKUPS, 2)}
    expected = known.get(function)
    if expected is None:
        raise unknown("E112", f"function in {shown(text)}", function, known)
    if expected != len(arguments):
        raise CortexError("E113", f"{function}() takes {expected} arguments, got {len(arguments)} in {shown(text)}.")
    return Call(function, arguments)


def show(expression: Expression) -> str:
    """Canonical text; `parse(show(e)) == e`."""
    return _show(expression)[0]


def number(value: float) -> str:
    if not abs(value) < float("inf"):
        return repr(float(value))
    return str(int(value)) if value == int(value) and abs(value) < 1e15 else repr(float(value))


def _show(expression: Expression) -> tuple[str, int]:
    match expression:
        case Number(value, unit):
            text = number(abs(value)) + f" {unit}" * bool(unit)
            return (text, ATOM) if str(value)[0] != "-" else ("-" + text, UNARY)
        case Name(name):
            return name, ATOM
        case Prev(name, depth):
            return "prev(" * depth + name + ")" * depth, ATOM
        case Negate(operand):
            return "-" + _wrap(operand, UNARY), UNARY
        case Binary(operator, left, right):
            level = PRECEDENCE[operator]
            tight = level + 1 if level == 4 else level
            return f"{_wrap(left, tight)} {operator} {_wrap(right, level + 1)}", level
        case Call(function, arguments):
            return f"{function}({', '.join(map(show, arguments))})", ATOM
        case Where(condition, then, otherwise):
            return f"where({show(condition)}, {show(then)}, {show(otherwise)})", ATOM
        case Lookup(table, index):
            return f"{expression.function}({table}, {show(index)})", ATOM
    raise TypeError(expression)


def _wrap(expression: Expression, level: int) -> str:
    text, own = _show(expression)
    return f"({text})" if own < level else text
