"""The text of an engine's form against the rule as the circuit writes it: a thousand random steps must agree.

Cells get random inputs, currents, noise and gates, and values around their thresholds for states that are no trace;
synapses random weights and states. The rule's own equations run on one side, `EngineRun` of the text on the other, side
by side for 8 runs of 125 steps with 8 synapses each. What both know of the circuit is its equations.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from cortexc.compiler.ir import CellType, CortexError, Expression, PlasticityRule
from cortexc.compiler.ir.evaluation import evaluate
from cortexc.compiler.ir.expressions import Binary, Prev, walk
from cortexc.compiler.ir.functions import Floats
from cortexc.compiler.passes.engine_run import EngineRun, Look, UnreadableForm
from cortexc.compiler.passes.fold import constant
from cortexc.compiler.passes.ranges import TRUTH

STEPS, LANES, WARM_UP, HISTORY, APPLY_EVERY, SEED = 125, 64, 8, 8, 10, 20261129
TOLERANCE = 1e-9
ANY_TABLE = np.sin(np.arange(16.0))
"""Tables are not part of what is compared."""


@lru_cache(maxsize=256)
def disagreement(text: str, rule: PlasticityRule, pre: CellType, post: CellType, states: tuple[tuple[str, str], ...],
                 drawn: tuple[frozenset[str], frozenset[str]], applied: bool) -> str:
    """Where the form does something else than the rule; empty if nowhere. `states`: (state of the rule or "" for what
    the optimiser keeps, t or d); `drawn`: states of either cell that are drawn at random, as they are no traces."""
    rng = np.random.default_rng(SEED)
    gates = _Cell(CellType("gates"), frozenset(), rng)
    cells = {"gate": gates, "pre": _Cell(pre, drawn[0], rng, gates), "post": _Cell(post, drawn[1], rng, gates)}
    written = _Rule(rule, cells, applied)
    try:
        engine = EngineRun(text, (LANES,))
    except (UnreadableForm, CortexError, SyntaxError) as error:
        return f"'{error}' is no form"
    for step in range(-WARM_UP, STEPS):
        for cell in cells.values():
            cell.advance()
        if step == 0:
            _start(written, engine, dict(states), rng)
        found = _step(written, engine, dict(states), step)
        if found:
            return found
    return ""


def _start(written: _Rule, engine: EngineRun, states: dict[str, str], rng: np.random.Generator) -> None:
    """Random weights and states, in both."""
    written.weight = engine.variables["w"] = rng.normal(size=LANES)
    for state, role in states.items():
        written.states[state] = engine.variables[role] = rng.normal(size=LANES)


def _step(written: _Rule, engine: EngineRun, states: dict[str, str], step: int) -> str:
    before, learns = written.weight, step >= 0
    applies = learns and step % APPLY_EVERY == APPLY_EVERY - 1
    try:
        engine.step(written.look, learns)
    except (UnreadableForm, KeyError) as error:
        return f"{error} is nothing that an engine reads"
    if learns:
        written.step(applies)
    if applies and engine.applied:
        engine.apply()
    if not learns:
        return ""
    if engine.late and step == 0:
        engine.variables["w"] = before
    pairs = [("w", before if engine.late else written.weight, engine.variables["w"])]
    pairs += [(name or "the sum", written.states[name], engine.variables[role]) for name, role in states.items()]
    for name, expected, got in pairs:
        room = TOLERANCE * (1 + np.abs(expected).max())
        if not np.allclose(got, expected, rtol=TOLERANCE, atol=room, equal_nan=True):
            where = int(np.argmax(np.abs(got - expected)))
            return f"after {step + 1} steps {name} is {got[where]:.6g}, by the rule {expected[where]:.6g}"
    return ""


class _Cell:
    """Cells with random inputs, one per lane; `look(name, steps ago)`."""

    def __init__(self, cell: CellType, drawn: frozenset[str], rng: np.random.Generator, gates: _Cell | None = None):
        self.cell, self.drawn, self.rng, self.gates = cell, drawn, rng, gates
        self.uniform = {name for name, kind in cell.noise if kind == "uniform"}
        self.constants = {p.name: rng.normal(size=LANES) for p in cell.parameters}
        nodes = [n for e in cell.equations for n in walk(e.expression)]
        limits = [constant(n.right) for n in nodes if isinstance(n, Binary) and n.operator in TRUTH]
        self.around = np.array([0.0, *(x for x in limits if x is not None and abs(x) < 1e300)])
        self.past: list[dict[str, Floats]] = []

    def advance(self) -> None:
        self.past = [{}, *self.past[:HISTORY]]
        for state in self.cell.states:
            self.look(state.name, 0)

    def look(self, name: str, steps: int) -> Floats:
        if name.startswith("gate.") and self.gates:
            return self.gates.look(name, steps)
        if steps >= len(self.past) or name in self.constants:
            return self.constants.get(name, np.zeros(LANES))
        if name not in self.past[steps]:
            self.past[steps][name] = self._value(name, steps)
        return self.past[steps][name]

    def _value(self, name: str, steps: int) -> Floats:
        equation = self.cell.equation(name)
        if equation is None or equation.derivative or name in self.drawn:
            return self._random(name)
        return _in_lanes(equation.expression, lambda n, s: self.look(n, s + steps))

    def _random(self, name: str) -> Floats:
        if name.startswith("gate."):
            return np.asarray(self.rng.choice([0.0, 0.5, 1.0], LANES))
        if name in self.uniform:
            return self.rng.random(LANES)
        return np.asarray(self.rng.choice(self.around, LANES) + self.rng.normal(size=LANES))


class _Rule:
    """The rule's equations, with its learning gate on."""

    def __init__(self, rule: PlasticityRule, cells: dict[str, _Cell], applied: bool):
        self.rule, self.cells, self.applied = rule, cells, applied
        self.weight = np.zeros(LANES)
        self.states = {s.name: np.zeros(LANES) for s in rule.states} | {"": np.zeros(LANES)}

    def look(self, name: str, steps: int) -> Floats:
        side, _, quantity = name.partition(".")
        return self.cells[side].look(name if side == "gate" else quantity, steps)

    def step(self, applies: bool) -> None:
        new: dict[str, Floats] = {}

        def look(name: str, steps: int) -> Floats:
            if "." in name:
                return self.look(name, steps)
            if name == "w" or steps:
                return self.weight if name == "w" else self.states[name]
            if name not in new:
                update = next((u.expression for u in self.rule.updates if u.name == name), Prev(name, 1))
                new[name] = _in_lanes(update, look)
            return new[name]

        for state in self.rule.states:
            look(state.name, 0)
        self._optimise(_in_lanes(self.rule.increment, look), applies)
        self.states = {**self.states, **new}

    def _optimise(self, increment: Floats, applies: bool) -> None:
        kind, kept = self.rule.optimiser.kind, self.states[""]
        if kind == "low_pass":
            rate = constant(self.rule.optimiser.arguments[0]) or 0.0
            self.states[""] = increment = kept + rate * (increment - kept)
        elif self.applied:
            summed = kept + increment
            self.states[""], increment = (np.zeros(LANES), summed) if applies else (summed, np.zeros(LANES))
        self.weight = self.weight + increment


def _in_lanes(expression: Expression, look: Look) -> Floats:
    with np.errstate(all="ignore"):
        found = evaluate(expression, lambda name: ANY_TABLE if name.startswith("table.") else look(name, 0), look)
    return np.broadcast_to(found, (LANES,))
