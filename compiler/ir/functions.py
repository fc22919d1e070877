"""The functions an equation may call, defined once, on scalars.

Interpreter and generated kernels use the same formulas in the same order, so their float64 results are equal to the
bit. A definition is Python source: lines that each give a name a value, then an expression, over the primitives, `BITS`
and the earlier entries. It is straight-line code: float arithmetic without fused multiply-add, comparisons and
selections `a if c else b`, so that compilers turn a loop over it into vector code without changing a bit. Integer
quantities live in float64 with integer values (exact below 2**53), so shifts and saturation are ordinary arithmetic.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
PRIMITIVES: dict[str, int] = {"sin": 1, "cos": 1, "sqrt": 1, "floor": 1, "pow": 2}
"""Name -> number of arguments; taken from libm (`math`), with infinities instead of exceptions."""

BITS: dict[str, int] = {"power_of_two": 1, "exponent": 1, "mantissa": 1}
"""For definitions alone, no part of the language: `power_of_two(n)` is 2**n for whole n from -1022 to 1023, and a
positive normal x is mantissa(x) * 2**exponent(x) with 1 <= mantissa(x) < 2. For other arguments they are any number or
nan, which the definition does not select. On bits: int64(n + 6755399441056767.0) << 52, as 1.5 * 2**52 + 1023 brings
n + 1023 into the lowest bits; (x >> 52 | 0x433 << 52) - (2**52 + 1023); and x & 2**52 - 1 | 1023 << 52."""

_EXP = """
above = -746.0 if x < -746.0 else x
y = 710.0 if above > 710.0 else above
n = (y * 1.4426950408889634 + 6755399441055744.0) - 6755399441055744.0
high = y - n * 0.6931471803691238
low = n * 1.9082149292705877e-10
r = high - low
r2 = r * r
r4 = r2 * r2
c0 = (0.5 + 0.16666666666666685 * r) + (0.04166666666660264 + 0.008333333333313925 * r) * r2
c4 = (0.0013888888927336865 + 0.000198412699049222 * r) + (2.4801507998925286e-05 + 2.755722605999931e-06 * r) * r2
c8 = 2.7625459338856613e-07 + 2.5115104405119702e-08 * r
tail = r2 * (c0 + c4 * r4 + c8 * (r4 * r4)) - low
one = 1.0 + high
half = (n * 0.5 + 6755399441055744.0) - 6755399441055744.0
(one + (((1.0 - one) + high) + tail)) * power_of_two(half) * power_of_two(n - half)
"""
"""x = n log 2 + r with whole n and |r| <= log(2) / 2; exp(r) = 1 + r + r**2 (minimax polynomial); 1.5 * 2**52 rounds to
whole numbers. `high` is exact and 1 + high is kept in two parts; 2**n comes in two factors, for gradual underflow."""

_LOG = """
normal = x * 18014398509481984.0 if x < 2.2250738585072014e-308 else x
m = mantissa(normal)
f = (0.5 * m if m > 1.4142135623730951 else m) - 1.0
n = exponent(normal) + (1.0 if m > 1.4142135623730951 else 0.0) - (54.0 if x < 2.2250738585072014e-308 else 0.0)
s = f / (2.0 + f)
s2 = s * s
s4 = s2 * s2
odd = s2 * (0.6666666666666735 + s4 * (0.2857142874366239 + s4 * (0.1818357216161805 + s4 * 0.14798198605116586)))
even = s4 * (0.3999999999940942 + s4 * (0.22222198432149784 + s4 * 0.15313837699209373))
square = 0.5 * f * f
rest = (square - (s * (square + (even + odd)) + n * 1.9082149292705877e-10)) - f
infinity = 1e308 * 10.0
positive = n * 0.6931471803691238 - rest if x < infinity else x
positive if x > 0.0 else -infinity if x == 0.0 else infinity - infinity
"""
"""x = 2**n (1 + f) with 1 + f between sqrt(0.5) and sqrt(2), and log(1 + f) in powers of f / (2 + f), as in fdlibm's
e_log.c (Sun Microsystems 1993)."""

_TANH = """
size = abs(x)
e = exp(-2.0 * size)
z = size * size
p = 0.3333333333333333 + z * (0.020501875186673355 + z * 0.0001993143443232957)
q = 1.0 + z * (0.4615056255600191 + z * (0.023295431352254634 + z * 0.00020667972480682697))
numerator = size * z * p if size < 0.55 else e + e
denominator = q if size < 0.55 else 1.0 + e
t = (size if size < 0.55 else 1.0) - numerator / denominator
-t if x < 0.0 else t if x > 0.0 else x
"""
"""1 - 2 e / (1 + e) with e = exp(-2 |x|); where |x| < 0.55, |x| - |x|**3 p / q, a minimax fraction."""

DEFINITIONS: dict[str, tuple[tuple[str, ...], str]] = {
    "abs": (("x",), "-x if x < 0.0 else x"),
    "exp": (("x",), _EXP),
    "log": (("x",), _LOG),
    "tanh": (("x",), _TANH),
    "min": (("x", "y"), "x if x < y else y"),
    "max": (("x", "y"), "x if x > y else y"),
    "clip": (("x", "low", "high"), "min(max(x, low), high)"),
    "linear": (("x",), "x"),
    "relu": (("x",), "x if x > 0.0 else 0.0"),
    "logistic": (("x",), "1.0 / (1.0 + exp(-x))"),
    "soft_relu": (("x",), "log(1.0 + exp(x))"),
    "sharp_soft_relu": (("x",), "log(1.0 + exp(10.0 * x)) / 10.0"),
    "hard_sigmoid": (("x",), "clip(x / 6.0 + 0.5, 0.0, 1.0)"),
    "d_linear": (("x",), "1.0"),
    "d_relu": (("x",), "1.0 if x > 0.0 else 0.0"),
    "d_logistic": (("x",), "y = logistic(x)\ny * (1.0 - y)"),
    "d_soft_relu": (("x",), "logistic(x)"),
    "d_sharp_soft_relu": (("x",), "logistic(10.0 * x)"),
    "d_tanh": (("x",), "y = tanh(x)\n1.0 - y * y"),
    "d_hard_sigmoid": (("x",), "1.0 if -3.0 < x and x < 3.0 else 0.0"),
    "shift_left": (("x", "bits"), "x * pow(2.0, bits)"),
    "shift_right": (("x", "bits"), "floor(x * pow(2.0, -bits))"),
    "saturate": (("x", "low", "high"), "min(max(floor(x), low), high)"),
    "stochastic_round": (("x", "uniform"), "floor(x + uniform)"),
    "fixed": (("x", "scale", "limit", "offset"), "min(max(floor(x * scale + offset), -limit), limit) / scale"),
}
"""Name -> (arguments, body). Errors in units of the last place: exp and log below 0.9, tanh below 1.6, logistic below
2.7 (as libm's exp makes it, and 0 below -709.79); infinities, nan, signs of zero and gradual underflow are libm's. All
rise, but for single units of tanh's last place. `shift_right` floors, like an arithmetic shift of a two's complement
integer. `fixed` is the fixed-point number nearest to x with offset 0.5, the one below with offset 0, and one of both at
random with a uniform offset: an integer number of units 1 / scale, at most `limit` of them either way."""

LOOPS: dict[str, tuple[tuple[str, ...], str]] = {"poisson": (("uniform", "rate"), """
if not rate <= 700.0:
    return 1e308 * 10.0 - 1e308 * 10.0
share = exp(-rate)
below, count = share, 0.0
while uniform >= below and below + share > below:
    count += 1.0
    share = share * rate / count
    below += share
return count""")}
"""Name -> (arguments, body as Python's statements); C has its own text. `poisson` is the number that a uniform one in
[0, 1) stands for among Poisson numbers of mean `rate`, 0 for a rate below 0, and nan for one above 700."""

ARITY: dict[str, int] = PRIMITIVES | {name: len(args) for name, (args, _) in {**DEFINITIONS, **LOOPS}.items()}


def definition(name: str) -> str:
    """The function as Python source."""
    if name in LOOPS:
        arguments, body = LOOPS[name]
        return f"def {name}({', '.join(arguments)}):" + body.replace("\n", "\n    ") + "\n"
    arguments, body = DEFINITIONS[name]
    *lines, result = body.strip().split("\n")
    return "\n    ".join([f"def {name}({', '.join(arguments)}):", *lines, f"return {result}"]) + "\n"


def closure(names: Iterable[str]) -> set[str]:
    """The names, and those of everything that their definitions call."""
    found: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            body = ast.parse(definition(name) if name not in PRIMITIVES and name in ARITY else "")
            waiting += [node.id for node in ast.walk(body) if isinstance(node, ast.Name) and node.id in ARITY]
    return found


# ---- on Python's floats


def _libm(name: str) -> Callable[..., float]:
    """Where `math` raises, numpy gives libm's infinity or nan."""
    python, numpy = getattr(math, name), getattr(np, {"pow": "power"}.get(name, name))

    def call(*values: float) -> float:
        try:
            return float(python(*values))
        except (OverflowError, ValueError):
            with np.errstate(all="ignore"):
                return float(numpy(*map(np.float64, values)))
    return call


def _divided(function: Callable[..., float]) -> Callable[..., float]:
    """A division by zero is an infinity or nan, as in the kernels."""
    def call(*values: float) -> float:
        try:
            return function(*values)
        except ZeroDivisionError:
            with np.errstate(all="ignore"):
                return float(function(*(np.float64(value) for value in values)))
    return call


class _Powers(dict[float, float]):
    """n -> 2**n: half the time of `math.ldexp`."""

    def __missing__(self, n: float) -> float:
        return math.nan


def _scalar_functions() -> dict[str, Callable[..., float]]:
    names: dict[str, Any] = {name: _libm(name) for name in PRIMITIVES} | {
        "floor": lambda x: float(math.floor(x)) if math.isfinite(x) and x != 0 else x,  # libm's keeps the sign of zero
        "power_of_two": _Powers((float(n), 2.0**n) for n in range(-1022, 1024)).__getitem__,
        "exponent": lambda x: math.frexp(x)[1] - 1.0, "mantissa": lambda x: 2.0 * abs(math.frexp(x)[0])}
    for name in (*DEFINITIONS, *LOOPS):
        exec(definition(name), names)
    names["fixed"] = _divided(names["fixed"])  # the one that divides by what may be 0
    return {name: names[name] for name in ARITY}


SCALAR = _scalar_functions()
"""Name -> the function on Python floats."""

# ---- on arrays

FEW = 32
"""Up to so many values, Python's floats are faster than numpy's arrays."""


class _Selections(ast.NodeTransformer):
    """`a if c else b` and `c and d`, for every element of arrays."""

    def visit_IfExp(self, node: ast.IfExp) -> ast.AST:
        self.generic_visit(node)
        return ast.Call(ast.Name("where", ast.Load()), [node.test, node.body, node.orelse], [])

    def visit_BoolOp(self, node: ast.BoolOp) -> ast.AST:
        self.generic_visit(node)
        return ast.Call(ast.Name(f"logical_{type(node.op).__name__.lower()}", ast.Load()), node.values, [])


def _exponent(x: Floats) -> Floats:
    return ((x.view(np.int64) >> 52) & 0x7FF).astype(np.float64) - 1023.0


def _mantissa(x: Floats) -> Floats:
    return (x.view(np.int64) & (1 << 52) - 1 | 1023 << 52).view(np.float64)


def _power_of_two(n: Floats) -> Floats:
    return ((n + 6755399441056767.0).view(np.int64) << 52).view(np.float64)


def _element_by_element(name: str) -> Callable[..., Floats]:
    function = np.frompyfunc(SCALAR[name], ARITY[name], 1)
    return lambda *values: np.asarray(function(*values), np.float64)


def _array_functions() -> dict[str, Callable[..., Floats]]:
    names: dict[str, Any] = {name: _element_by_element(name) for name in (*PRIMITIVES, *LOOPS)} | {
        "sqrt": np.sqrt, "floor": np.floor, "where": np.where, "logical_and": np.logical_and,
        "power_of_two": _power_of_two, "exponent": _exponent, "mantissa": _mantissa}
    for name in DEFINITIONS:
        tree = ast.fix_missing_locations(_Selections().visit(ast.parse(definition(name))))
        exec(compile(tree, "<functions>", "exec"), names)
    return {name: _on_arrays(_element_by_element(name), names[name]) for name in ARITY}


def _on_arrays(few: Callable[..., Floats], many: Callable[..., Floats]) -> Callable[..., Floats]:
    def call(*values: Any) -> Floats:
        arrays = [np.asarray(value, np.float64) for value in values]
        with np.errstate(all="ignore"):
            if max(array.size for array in arrays) <= FEW:
                return few(*arrays)
            result = np.asarray(many(*arrays), np.float64)
        return result if result.ndim else np.full(np.broadcast_shapes(*(a.shape for a in arrays)), result)
    return call


VECTOR = _array_functions()
"""Name -> the function on arrays, with the bits of `SCALAR`."""

OPERATORS: dict[str, Callable[..., Any]] = {
    "+": np.add, "-": np.subtract, "*": np.multiply, "/": np.divide, "<": np.less, "<=": np.less_equal,
    ">": np.greater, ">=": np.greater_equal, "==": np.equal, "!=": np.not_equal,
    "and": lambda a, b: np.logical_and(a != 0, b != 0), "or": lambda a, b: np.logical_or(a != 0, b != 0)}
"""Operator -> the function on arrays; comparisons and logic give booleans, to be read as 1.0 and 0.0."""

ACTIVATIONS = ("linear", "relu", "soft_relu", "sharp_soft_relu", "logistic", "tanh", "hard_sigmoid")
"""Names that circuits offer as an activation; `d_<name>` is the derivative."""
