"""The functions an equation may call, defined once, on scalars.

Interpreter and generated kernels use the same formulas in the same order, with libm's transcendentals, so their
float64 results are equal to the bit. Each entry is Python source over `exp`, `log`, `tanh`, `sqrt`, `floor`, `pow`
and the earlier entries. Integer quantities live in float64 with integer values (exact below 2**53), so shifts and
saturation are ordinary arithmetic.
"""

from __future__ import annotations

PRIMITIVES: dict[str, int] = {"exp": 1, "log": 1, "tanh": 1, "sqrt": 1, "floor": 1, "pow": 2}
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
    "hard_sigmoid": (("x",), "clip(x / 6.0 + 0.5, 0.0, 1.0)"),
    "d_linear": (("x",), "1.0"),
    "d_relu": (("x",), "1.0 if x > 0.0 else 0.0"),
    "d_logistic": (("x",), "logistic(x) * (1.0 - logistic(x))"),
    "d_soft_relu": (("x",), "logistic(x)"),
    "d_tanh": (("x",), "1.0 - tanh(x) * tanh(x)"),
    "d_hard_sigmoid": (("x",), "1.0 if -3.0 < x and x < 3.0 else 0.0"),
    "shift_left": (("x", "bits"), "x * pow(2.0, bits)"),
    "shift_right": (("x", "bits"), "floor(x * pow(2.0, -bits))"),
    "saturate": (("x", "low", "high"), "min(max(floor(x), low), high)"),
    "stochastic_round": (("x", "uniform"), "floor(x + uniform)"),
}
"""Name -> (arguments, body). `shift_right` floors, like an arithmetic shift of a two's complement integer."""

ARITY: dict[str, int] = PRIMITIVES | {name: len(args) for name, (args, _) in DEFINITIONS.items()}

ACTIVATIONS = ("linear", "relu", "soft_relu", "logistic", "tanh", "hard_sigmoid")
"""Names that circuits offer as an activation; `d_<name>` is the derivative."""
