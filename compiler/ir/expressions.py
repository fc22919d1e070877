"""Expressions: a small immutable tree that keeps the order of evaluation.

Every name means the value of *this* step; `prev(x)` is the value one step earlier, and `prev(prev(x))` two steps.
Text is Python's expression syntax, read through a whitelist of `ast` nodes and never evaluated. `a.b` names belong to
a side: `pre.rate`, `post.error`, `gate.noise`. `where(c, a, b)` chooses; comparisons give 1 or 0. `lookup(T, x)` is
entry floor(x) of the graph's array `table.T`, the first or last one where x lies outside; `interpolate(T, x)` is
between entries floor(x) and floor(x) + 1.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from compiler.ir.errors import CortexError, unknown
from compiler.ir.functions import ARITY


@dataclass(frozen=True)
class Number:
    value: float


@dataclass(frozen=True)
class Name:
    name: str


@dataclass(frozen=True)
class Prev:
    """The value of `name`, `depth` steps earlier (depth 1 is the previous step)."""

    name: str
    depth: int


@dataclass(frozen=True)
class Negate:
    operand: Expression


@dataclass(frozen=True)
class Binary:
    operator: str
    left: Expression
    right: Expression


@dataclass(frozen=True)
class Call:
    function: str
    arguments: tuple[Expression, ...]


@dataclass(frozen=True)
class Where:
    condition: Expression
    then: Expression
    otherwise: Expression


@dataclass(frozen=True)
class Lookup:
    """Entry floor(index) of the array `table.<table>`; indices outside take the first or last entry. `linear`: i the
    integer below the index, T[i] + (index - i) * (T[i + 1] - T[i])."""

    table: str
    index: Expression
    linear: bool = False

    @property
    def function(self) -> str:
        return "interpolate" if self.linear else "lookup"


Expression = Number | Name | Prev | Negate | Binary | Call | Where | Lookup

ARITHMETIC = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/"}
COMPARISON = {ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=", ast.Eq: "==", ast.NotEq: "!="}
LOGICAL = {ast.And: "and", ast.Or: "or"}
PRECEDENCE = {"or": 1, "and": 2, "<": 4, "<=": 4, ">": 4, ">=": 4, "==": 4, "!=": 4, "+": 5, "-": 5, "*": 6, "/": 6}
UNARY, ATOM = 7, 9
LOOKUPS = ("lookup", "interpolate")


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
    yield expression
    for child in children(expression):
        yield from walk(child)


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
    return names(expression) | set(previous(expression))


def substitute(expression: Expression, table: dict[str, Expression]) -> Expression:
    """Replaces names of this step; `prev` stays."""
    return transform(expression, lambda e: table.get(e.name, e) if isinstance(e, Name) else e)


def rename(expression: Expression, table: dict[str, str]) -> Expression:
    def change(node: Expression) -> Expression:
        match node:
            case Name(name):
                return Name(table.get(name, name))
            case Prev(name, depth):
                return Prev(table.get(name, name), depth)
        return node

    return transform(expression, change)


def parse(text: str) -> Expression:
    """Raises E110 for text that is not one of our expressions."""
    try:
        return _convert(ast.parse(text.strip(), mode="eval").body, text)
    except (SyntaxError, ValueError, OverflowError, RecursionError, MemoryError) as error:
        raise CortexError("E110", f"cannot read expression '{text}': {error}.") from None


def _convert(node: ast.expr, text: str) -> Expression:
    def convert(child: ast.expr) -> Expression:
        return _convert(child, text)

    match node:
        case ast.Constant(value=bool() | int() | float() as value):
            return Number(float(value))
        case ast.Name(id=name):
            return Number(float("inf")) if name == "inf" else Name(name)
        case ast.Attribute(value=ast.Name(id=side), attr=name):
            return Name(f"{side}.{name}")
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return Negate(convert(operand))
        case ast.BinOp(op=op, left=left, right=right) if type(op) in ARITHMETIC:
            return Binary(ARITHMETIC[type(op)], convert(left), convert(right))
        case ast.Compare(left=left, ops=[op], comparators=[right]) if type(op) in COMPARISON:
            return Binary(COMPARISON[type(op)], convert(left), convert(right))
        case ast.BoolOp(op=op, values=operands):
            result = convert(operands[0])
            for operand in operands[1:]:
                result = Binary(LOGICAL[type(op)], result, convert(operand))
            return result
        case ast.Call(func=ast.Name(id=function), args=arguments, keywords=[]):
            return _call(function, tuple(map(convert, arguments)), text)
    raise CortexError("E110", f"'{ast.unparse(node)}' is not allowed in expression '{text}'.",
                      "Use numbers, names, + - * /, comparisons, prev(), where() and the listed functions.")


def _call(function: str, arguments: tuple[Expression, ...], text: str) -> Expression:
    if function == "prev" and len(arguments) == 1:
        match arguments[0]:
            case Name(name):
                return Prev(name, 1)
            case Prev(name, depth):
                return Prev(name, depth + 1)
        raise CortexError("E111", f"prev() takes a name in '{text}', not '{show(arguments[0])}'.",
                          "Give the inner expression a name of its own first.")
    if function == "where" and len(arguments) == 3:
        return Where(*arguments)
    if function in LOOKUPS and len(arguments) == 2:
        if not isinstance(arguments[0], Name):
            raise CortexError("E111", f"{function}() takes a table's name in '{text}', not '{show(arguments[0])}'.")
        return Lookup(arguments[0].name, arguments[1], function == "interpolate")
    known = {**ARITY, "prev": 1, "where": 3, **dict.fromkeys(LOOKUPS, 2)}
    expected = known.get(function)
    if expected is None:
        raise unknown("E112", f"function in '{text}'", function, known)
    if expected != len(arguments):
        raise CortexError("E113", f"{function}() takes {expected} arguments, got {len(arguments)} in '{text}'.")
    return Call(function, arguments)


def show(expression: Expression) -> str:
    """Canonical text; `parse(show(e)) == e`."""
    return _show(expression)[0]


def number(value: float) -> str:
    if not abs(value) < float("inf"):
        return repr(float(value))
    return str(int(value)) if value == int(value) and abs(value) < 1e15 else repr(value)


def _show(expression: Expression) -> tuple[str, int]:
    match expression:
        case Number(value):
            return (number(value), ATOM) if str(value)[0] != "-" else ("-" + number(-value), UNARY)
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
