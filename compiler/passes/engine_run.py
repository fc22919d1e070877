"""Runs the text of an engine's form, step by step: what the engine would do with one trace, spike and product after the
other. It reads nothing but the text and what comes from the cells, and shares with what made the text only the language
of expressions.

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

from cortexc.compiler.ir import Expression, show
from cortexc.compiler.ir.evaluation import evaluate
from cortexc.compiler.ir.expressions import Lookup, converted, names, walk
from cortexc.compiler.ir.functions import Floats

Look = Callable[[str, int], Floats]
"""(`pre.spike`, steps ago) -> its values."""
Words = dict[str, Floats | float]
PRODUCT = re.compile(r"([+-]?)\s*([^+\-\s][^\s]*)")
SCALE = re.compile(r"(-?\d+)(?:\^(-?\d+))?$")


class UnreadableForm(ValueError):
    """A form that is no text of an engine."""


class EngineRun:
    """`shape`: of the variables. Raises UnreadableForm."""

    def __init__(self, text: str, shape: tuple[int, ...] = ()):
        self.sums: dict[str, list[tuple[float, list[str]]]] = {}
        self.bindings: dict[str, Expression] = {}
        self.applied = self.late = ""
        for clause in text.split("; "):
            self._read(clause)
        self.variables = {name: np.zeros(shape) for name in ("w", "t", "d")}
        self.traces: dict[str, Floats] = {name: np.zeros(shape) for name in self.bindings}

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
            self.bindings[name] = converted(ast.parse(value, mode="eval").body, value)

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

    def _words(self, look: Look) -> Words:
        words: Words = {"u0": 1.0, self.applied: 0.0}
        for name in sorted(self.bindings, key=lambda n: n[-1] != "0"):
            words[name] = self._value(self.bindings[name], look, {**words, name: self.traces[name]})
            self.traces[name] = np.asarray(words[name])
        if "x0" not in words:
            payloads = [words[n] for n, e in self.bindings.items() if n[0] == "x" and n not in names(e)]
            words["x0"] = np.asarray(payloads[0] != 0, float) if payloads else 0.0
        return words

    @staticmethod
    def _value(binding: Expression, look: Look, known: Words) -> Floats:
        for table in (node for node in walk(binding) if isinstance(node, Lookup)):
            raise UnreadableForm(show(table))
        return evaluate(binding, lambda name: look(name, 0) if "." in name else np.asarray(known[name]), look)

    def _add(self, words: Words) -> None:
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
