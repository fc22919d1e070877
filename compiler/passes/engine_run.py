"""Runs the text of an engine's form, step by step: what the engine would do with one trace, spike and product after the
other. It reads nothing but the text and what comes from the cells, and shares no code with what made the text.

    engine = EngineRun("dw = 2^-3*y0*x1; x0 = pre.spike; x1 = 0.875*x1 + x0; y0 = post.spike")
    engine.step(lambda name, steps: ...)      # engine.variables: {"w": ..., "t": ..., "d": ...}

One step: spikes, payloads and factors are read; traces decay and take their impulse; all products are computed from
variables as they were; then they are added. Without `x0 = ...` the dependency x0 holds where a payload is not 0.
`apply()` is the step of its own of `y2 = 1 at gate 'G', in a step of its own`: no spike and no factor comes.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable

import numpy as np

Look = Callable[[str, int], np.ndarray]
"""(`pre.spike`, steps ago) -> its values."""


def _logistic(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


FUNCTIONS: dict[str, Callable[..., np.ndarray]] = {
    "exp": np.exp, "log": np.log, "tanh": np.tanh, "sin": np.sin, "cos": np.cos, "sqrt": np.sqrt, "floor": np.floor,
    "abs": np.abs, "min": np.minimum, "max": np.maximum, "pow": np.power, "clip": np.clip, "linear": np.asarray,
    "where": lambda c, a, b: np.where(c != 0, a, b), "relu": lambda x: np.maximum(x, 0.0), "logistic": _logistic,
    "soft_relu": lambda x: np.log(1 + np.exp(x)), "sharp_soft_relu": lambda x: np.log(1 + np.exp(10 * x)) / 10,
    "hard_sigmoid": lambda x: np.clip(x / 6 + 0.5, 0, 1), "d_linear": np.ones_like,
    "d_relu": lambda x: np.asarray(x > 0, float), "d_logistic": lambda x: _logistic(x) * (1 - _logistic(x)),
    "d_soft_relu": _logistic, "d_sharp_soft_relu": lambda x: _logistic(10 * x), "d_tanh": lambda x: 1 - np.tanh(x) ** 2,
    "d_hard_sigmoid": lambda x: np.asarray(np.abs(x) < 3, float), "shift_left": lambda x, b: x * 2.0**b,
    "shift_right": lambda x, b: np.floor(x * 2.0**-b), "saturate": lambda x, a, b: np.clip(np.floor(x), a, b),
    "stochastic_round": lambda x, u: np.floor(x + u),
    "fixed": lambda x, s, m, u: np.clip(np.floor(x * s + u), -m, m) / s}
ARITHMETIC: dict[type, Callable[..., np.ndarray]] = {
    ast.Add: np.add, ast.Sub: np.subtract, ast.Mult: np.multiply, ast.Div: np.divide}
COMPARISONS: dict[type, Callable[..., np.ndarray]] = {
    ast.Gt: np.greater, ast.GtE: np.greater_equal, ast.Lt: np.less, ast.LtE: np.less_equal, ast.Eq: np.equal,
    ast.NotEq: np.not_equal}
PRODUCT = re.compile(r"([+-]?)\s*([^+\-\s][^\s]*)")
SCALE = re.compile(r"(-?\d+)(?:\^(-?\d+))?$")


class UnreadableForm(ValueError):
    """A form that is no text of an engine."""


class EngineRun:
    """`shape`: of the variables. Raises UnreadableForm."""

    def __init__(self, text: str, shape: tuple[int, ...] = ()):
        self.sums: dict[str, list[tuple[float, list[str]]]] = {}
        self.bindings: dict[str, ast.expr] = {}
        self.applied = self.late = ""
        for clause in text.split("; "):
            self._read(clause)
        self.variables = {name: np.zeros(shape) for name in ("w", "t", "d")}
        self.traces: dict[str, np.ndarray] = {name: np.zeros(shape) for name in self.bindings}

    def _read(self, clause: str) -> None:
        if clause.startswith("w moves one step after "):
            self.late = clause.removeprefix("w moves one step after ")
            return
        name, sign, value = clause.partition(" = ")
        if not sign:
            raise UnreadableForm(clause)
        if " at gate " in value:
            self.applied = name
        elif name in ("dw", "dt", "dd"):
            self.sums[name[1]] = [_product(*found) for found in PRODUCT.findall(value)]
        else:
            self.bindings[name] = ast.parse(value, mode="eval").body

    def step(self, look: Look, learns: bool = True) -> None:
        """One step; without `learns` only traces move."""
        with np.errstate(all="ignore"):
            words = self._words(look)
        if learns:
            self._add(words)

    def apply(self) -> None:
        """The step of its own."""
        quiet = {name: np.zeros_like(value) for name, value in self.traces.items()}
        self._add({**quiet, "x0": 0.0, "y0": 0.0, "u0": 1.0, self.applied: 1.0})

    def _words(self, look: Look) -> dict[str, np.ndarray | float]:
        words: dict[str, np.ndarray | float] = {"u0": 1.0, self.applied: 0.0}
        for name in sorted(self.bindings, key=lambda n: n[-1] != "0"):
            words[name] = _value(self.bindings[name], look, {**words, name: self.traces[name]})
            self.traces[name] = np.asarray(words[name])
        if "x0" not in words:
            payloads = [words[n] for n, e in self.bindings.items() if n[0] == "x" and not _reads(e, n)]
            words["x0"] = np.asarray(payloads[0] != 0, float) if payloads else 0.0
        return words

    def _add(self, words: dict[str, np.ndarray | float]) -> None:
        words = {**words, **self.variables}
        gained = {}
        for name, products in self.sums.items():
            gained[name] = sum(scale * np.prod([np.broadcast_to(words[f], self.variables[name].shape) for f in factors],
                                               axis=0) for scale, factors in products)
        self.variables = {name: value + gained.get(name, 0.0) for name, value in self.variables.items()}


def _product(sign: str, text: str) -> tuple[float, list[str]]:
    """`3*2^-5*x0*y1` as (3 / 32, [x0, y1])."""
    scale, factors = -1.0 if sign == "-" else 1.0, []
    for part in text.split("*"):
        found = SCALE.match(part)
        if not found:
            factors.append(part)
        elif found[2]:
            scale *= float(found[1]) ** int(found[2])
        else:
            scale *= float(found[1])
    return scale, factors


def _reads(expression: ast.expr, name: str) -> bool:
    return any(isinstance(node, ast.Name) and node.id == name for node in ast.walk(expression))


def _value(node: ast.expr, look: Look, words: dict) -> np.ndarray | float:
    match node:
        case ast.Constant(value=int() | float() as value):
            return float(value)
        case ast.Name(id=name):
            return words[name]  # type: ignore[no-any-return]
        case ast.Attribute() | ast.Call(func=ast.Name(id="prev")):
            text = ast.unparse(node)
            return look(text.strip("()").replace("prev(", ""), text.count("prev("))
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_value(operand, look, words)
        case ast.BinOp(left=left, op=op, right=right):
            arithmetic = ARITHMETIC[type(op)]
            return arithmetic(_value(left, look, words), _value(right, look, words))
        case ast.Compare(left=left, ops=[op], comparators=[right]):
            compare = COMPARISONS[type(op)]
            return np.asarray(compare(_value(left, look, words), _value(right, look, words)), float)
        case ast.BoolOp(op=op, values=values):
            joined = np.logical_and if isinstance(op, ast.And) else np.logical_or
            found = np.broadcast_arrays(*(_value(v, look, words) for v in values))
            return np.asarray(joined.reduce(found), float)
        case ast.Call(func=ast.Name(id=name), args=arguments) if name in FUNCTIONS:
            return FUNCTIONS[name](*(_value(a, look, words) for a in arguments))
    raise UnreadableForm(ast.unparse(node))
