"""Brian2's expressions and statements as expressions of the language.

U104: an expression has something that cannot be said.
"""

from __future__ import annotations

import ast
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from cortexc.compiler.ir import Binary, Call, CortexError, Expression, Negate, Number, Where
from cortexc.compiler.ir.expressions import ARITHMETIC, COMPARISON, LOGICAL, chained, children

Lookup = Callable[[str], Expression]
"""What a name means where it stands. Raises U104."""
Called = Callable[[str, "list[ast.expr]"], "Expression | None"]
"""Functions that are more than arithmetic (draws, arrays over time), or None."""
ZERO, ONE = Number(0.0), Number(1.0)


@dataclass(frozen=True)
class Statement:
    """`name = value`; `line` is as it was written."""

    name: str
    value: ast.expr
    line: str
    added: bool = False
    """Whether it is `name += value`."""


def statements(code: str, where: str) -> Iterator[Statement]:
    """Raises U104."""
    for node in _parsed(textwrap.dedent(code), "exec", where).body:  # type: ignore[attr-defined]
        line = ast.unparse(node)
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                yield Statement(name, value, line)
            case ast.AugAssign(target=ast.Name(id=name), op=ast.Add(), value=value):
                yield Statement(name, value, line, True)
            case ast.AugAssign(target=ast.Name(id=name), op=ast.Sub(), value=value):
                yield Statement(name, ast.UnaryOp(ast.USub(), value), line, True)
            case ast.AugAssign(target=ast.Name(id=name), op=op, value=value):
                yield Statement(name, ast.BinOp(ast.Name(name), op, value), line)
            case _:
                raise refusal(line, where, "it is no assignment")


def _parsed(text: str, mode: str, where: str) -> ast.AST:
    try:
        return ast.parse(text, mode=mode)
    except SyntaxError as error:
        raise refusal(text, where, str(error.msg)) from None


def refusal(text: str, where: str, why: str, hint: str = "") -> CortexError:
    return CortexError("U104", f"{where}: '{text}' cannot be said: {why}.", hint or "docs/brian2.md lists what can.")


def names_in(node: ast.expr) -> set[str]:
    """What it reads and calls."""
    return {child.id for child in ast.walk(node) if isinstance(child, ast.Name)}


@dataclass(frozen=True)
class Translator:
    """`where`: whose expression it is, for messages."""

    lookup: Lookup
    called: Called
    where: str

    def text(self, text: str) -> Expression:
        return self(_parsed(" ".join(text.split()), "eval", self.where).body)  # type: ignore[attr-defined]

    def __call__(self, node: ast.expr) -> Expression:
        match node:
            case ast.Constant(value=bool() | int() | float() as value):
                return Number(float(value))
            case ast.Name(id=name):
                return self.lookup(name)
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                found = self(operand)
                return Number(-found.value, found.unit) if isinstance(found, Number) else Negate(found)
            case ast.UnaryOp(op=ast.UAdd(), operand=operand):
                return self(operand)
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                return Binary("==", self(operand), ZERO)
            case ast.BinOp(op=op, left=left, right=right):
                return self._binary(op, self(left), self(right), node)
            case ast.Compare(left=left, ops=ops, comparators=others) if all(type(op) in COMPARISON for op in ops):
                compared = [self(operand) for operand in (left, *others)]
                pairs = zip(ops, compared, compared[1:], strict=False)
                return chained("and", [Binary(COMPARISON[type(op)], a, b) for op, a, b in pairs])
            case ast.BoolOp(op=op, values=operands):
                return chained(LOGICAL[type(op)], [self(operand) for operand in operands])
            case ast.Call(func=ast.Name(id=function), args=arguments, keywords=[]):
                return self._call(function, arguments, node)
        raise refusal(ast.unparse(node), self.where, "the language has nothing like it")

    def _binary(self, op: ast.operator, left: Expression, right: Expression, node: ast.expr) -> Expression:
        match op:
            case ast.Mult():
                return product(left, right)
            case ast.Pow():
                return Call("pow", (left, right))
            case ast.FloorDiv():
                return Call("floor", (left / right,))
            case ast.Mod():
                return left - Binary("*", Call("floor", (left / right,)), right)
        if type(op) in ARITHMETIC:
            return Binary(ARITHMETIC[type(op)], left, right)
        raise refusal(ast.unparse(node), self.where, "the language has no such operator")

    def _call(self, function: str, arguments: list[ast.expr], node: ast.expr) -> Expression:
        special = self.called(function, arguments)
        if special is not None:
            return special
        if function not in FUNCTIONS:
            raise refusal(ast.unparse(node), self.where, f"there is no function '{function}'",
                          f"There are {', '.join(sorted(FUNCTIONS))}, rand, randn and TimedArrays.")
        return FUNCTIONS[function](*map(self, arguments))


def product(left: Expression, right: Expression) -> Expression:
    """`10 * mV` is the number 10 mV."""
    match left, right:
        case Number(a, ""), Number(b, unit) if unit:
            return Number(a * b, unit)
        case Number(a, unit), Number(b, "") if unit:
            return Number(a * b, unit)
    return Binary("*", left, right)


def added(value: Expression, more: Expression) -> Expression:
    """What `value += more` and `value -= more` make of it."""
    if isinstance(more, Negate):
        return Binary("-", value, more.operand)
    return Binary("+", value, more)


def _plain(name: str) -> Callable[..., Expression]:
    return lambda *arguments: Call(name, arguments)


def _whole(x: Expression) -> Expression:
    """Towards 0; a comparison is 0 or 1 already."""
    if isinstance(x, Binary) and x.operator in (*COMPARISON.values(), "and", "or"):
        return x
    return Where(Binary("<", x, ZERO), Negate(Call("floor", (Negate(x),))), Call("floor", (x,)))


def stored(value: Expression, variable: Any) -> Expression:
    """As a Brian2 variable keeps it, which may be of integers or truths."""
    kind = np.dtype(getattr(variable, "dtype", float)).kind
    if kind == "b":
        return Where(Binary("!=", value, ZERO), ONE, ZERO)
    return _whole(value) if kind in "iu" else value


def _expm1(x: Expression) -> Expression:
    """exp(x) - 1, exact for small x too."""
    return Binary("*", Call("tanh", (x / 2.0,)), Call("exp", (x,)) + 1.0)


def _half(sign: str) -> Callable[[Expression], Expression]:
    return lambda x: Binary(sign, Call("exp", (x,)), Call("exp", (Negate(x),))) / 2.0


FUNCTIONS: dict[str, Callable[..., Expression]] = {
    **{name: _plain(name) for name in ("exp", "log", "sin", "cos", "sqrt", "tanh", "abs", "clip", "floor")},
    "tan": lambda x: Call("sin", (x,)) / Call("cos", (x,)),
    "sinh": _half("-"), "cosh": _half("+"), "expm1": _expm1,
    "log10": lambda x: Call("log", (x,)) / 2.302585092994046,
    "exprel": lambda x: Where(Binary("==", x, ZERO), ONE, _expm1(x) / x),
    "ceil": lambda x: Negate(Call("floor", (Negate(x),))),
    "sign": lambda x: Where(Binary(">", x, ZERO), ONE, Where(Binary("<", x, ZERO), Negate(ONE), ZERO)),
    "int": _whole}


# ---- sums of products of what stands on one side

@dataclass(frozen=True)
class Term:
    """synapse * pre * post; None is 1."""

    synapse: Expression | None = None
    pre: Expression | None = None
    post: Expression | None = None

    def times(self, other: Term) -> Term:
        return Term(*(b if a is None else a if b is None else Binary("*", a, b)
                      for a, b in zip(self.parts, other.parts, strict=True)))

    @property
    def parts(self) -> tuple[Expression | None, ...]:
        return self.synapse, self.pre, self.post

    def negated(self) -> Term:
        return Term(Negate(self.synapse or ONE), self.pre, self.post)


Side = Callable[[Expression], "str | None"]
"""Of a leaf: `synapse`, `pre` or `post`; None for what is the same everywhere."""


def terms(e: Expression, side: Side) -> list[Term] | None:
    """As a sum of products, or None where a factor has values of both sides."""
    found = _sides(e, side)
    if len(found) < 2:
        return [Term(**{found.pop() if found else "synapse": e})]
    match e:
        case Negate(operand):
            inner = terms(operand, side)
            return inner and [term.negated() for term in inner]
        case Binary("+" | "-" as operator, left, right):
            a, b = terms(left, side), terms(right, side)
            return None if a is None or b is None else a + (b if operator == "+" else [t.negated() for t in b])
        case Binary("*", left, right):
            a, b = terms(left, side), terms(right, side)
            return None if a is None or b is None else [x.times(y) for x in a for y in b]
        case Binary("/", left, right):
            a, b = terms(left, side), terms(right, side)
            return None if a is None or b is None or len(b) > 1 else [x.times(_over(b[0])) for x in a]
        case Call("pow", (base, Number(2.0))):
            return terms(Binary("*", base, base), side)
        case Call("sin" | "cos" as wave, (Binary("+" | "-" as operator, a, b),)):
            return terms(_addition(wave, operator, a, b), side)
    return None


def _over(term: Term) -> Term:
    return Term(*(None if part is None else ONE / part for part in term.parts))


def _addition(wave: str, operator: str, a: Expression, b: Expression) -> Expression:
    """sin(a + b) = sin a cos b + cos a sin b, cos(a + b) = cos a cos b - sin a sin b, and with -b."""
    other = {"sin": "cos", "cos": "sin"}[wave]
    second = operator if wave == "sin" else {"+": "-", "-": "+"}[operator]
    return Binary(second, Binary("*", Call(wave, (a,)), Call("cos", (b,))),
                  Binary("*", Call(other, (a,)), Call("sin", (b,))))


def _sides(e: Expression, side: Side) -> set[str]:
    found = {side(e)} if not children(e) else set().union(*(_sides(child, side) for child in children(e)))
    return {each for each in found if each}
