"""The functions an equation may call, defined once, on scalars.

Interpreter and generated kernels use the same formulas in the same order, with libm's transcendentals, so their
float64 results are equal to the bit. Each entry is Python source over `exp`, `log`, `tanh`, `sin`, `cos`, `sqrt`,
`floor`, `pow` and the earlier entries. Integer quantities live in float64 with integer values (exact below 2**53), so
shifts and saturation are ordinary arithmetic.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

PRIMITIVES: dict[str, int] = {"exp": 1, "log": 1, "tanh": 1, "sin": 1, "cos": 1, "sqrt": 1, "floor": 1, "pow": 2}
"""Name -> number of arguments; taken from libm (`math`), with infinities instead of exceptions."""

DEFINITIONS: dict[str, tuple[tuple[str, ...], str]] = {
    "abs": (("x",), "-x if x < 0.0 else x"),
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
    "d_logistic": (("x",), "logistic(x) * (1.0 - logistic(x))"),
    "d_soft_relu": (("x",), "logistic(x)"),
    "d_sharp_soft_relu": (("x",), "logistic(10.0 * x)"),
    "d_tanh": (("x",), "1.0 - tanh(x) * tanh(x)"),
    "d_hard_sigmoid": (("x",), "1.0 if -3.0 < x and x < 3.0 else 0.0"),
    "shift_left": (("x", "bits"), "x * pow(2.0, bits)"),
    "shift_right": (("x", "bits"), "floor(x * pow(2.0, -bits))"),
    "saturate": (("x", "low", "high"), "min(max(floor(x), low), high)"),
    "stochastic_round": (("x", "uniform"), "floor(x + uniform)"),
    "fixed": (("x", "scale", "limit", "offset"), "min(max(floor(x * scale + offset), -limit), limit) / scale"),
}
"""Name -> (arguments, body). `shift_right` floors, like an arithmetic shift of a two's complement integer. `fixed` is
the fixed-point number nearest to x with offset 0.5, the one below with offset 0, and one of both at random with a
uniform offset: an integer number of units 1 / scale, at most `limit` of them either way."""

ARITY: dict[str, int] = PRIMITIVES | {name: len(args) for name, (args, _) in DEFINITIONS.items()}


def _guard(function: Callable[[float], float], overflow: float) -> Callable[[float], float]:
    def call(x: float) -> float:
        try:
            return function(x)
        except OverflowError:
            return overflow
        except ValueError:
            return -math.inf if function is math.log and x == 0 else math.nan
    return call


def _floor(x: float) -> float:
    return float(math.floor(x)) if math.isfinite(x) and x != 0 else x  # libm's keeps the sign of zero


def _pow(x: float, y: float) -> float:
    """libm's pow: where `math.pow` raises, numpy gives libm's infinity or nan."""
    try:
        return math.pow(x, y)
    except (OverflowError, ValueError):
        with np.errstate(all="ignore"):
            return float(np.power(np.float64(x), np.float64(y)))


def _divided(function: Callable[..., float]) -> Callable[..., float]:
    """A division by zero is an infinity or nan, as in the kernels."""
    def call(*values: float) -> float:
        try:
            return function(*values)
        except ZeroDivisionError:
            with np.errstate(all="ignore"):
                return float(function(*(np.float64(value) for value in values)))
    return call


SCALAR: dict[str, Callable[..., float]] = {
    "exp": _guard(math.exp, math.inf), "log": _guard(math.log, math.inf), "tanh": math.tanh,
    "sin": _guard(math.sin, math.nan), "cos": _guard(math.cos, math.nan), "sqrt": _guard(math.sqrt, math.inf),
    "floor": _floor, "pow": _pow}
"""Name -> the function on Python floats."""
for _name, (_arguments, _body) in DEFINITIONS.items():
    SCALAR[_name] = eval(f"lambda {', '.join(_arguments)}: {_body}", SCALAR)  # our own constant table
SCALAR["fixed"] = _divided(SCALAR["fixed"])  # the one that divides by what may be 0

OPERATORS: dict[str, Callable] = {
    "+": np.add, "-": np.subtract, "*": np.multiply, "/": np.divide, "<": np.less, "<=": np.less_equal,
    ">": np.greater, ">=": np.greater_equal, "==": np.equal, "!=": np.not_equal,
    "and": lambda a, b: np.logical_and(a != 0, b != 0), "or": lambda a, b: np.logical_or(a != 0, b != 0)}
"""Operator -> the function on arrays; comparisons and logic give booleans, to be read as 1.0 and 0.0."""

ACTIVATIONS = ("linear", "relu", "soft_relu", "sharp_soft_relu", "logistic", "tanh", "hard_sigmoid")
"""Names that circuits offer as an activation; `d_<name>` is the derivative."""
