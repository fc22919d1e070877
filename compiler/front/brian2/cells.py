"""NeuronGroup and PoissonGroup as cells: one step of Brian2, worked out slot by slot.

`now` has what every variable is worth at the place of the step that has been reached; docs/brian2.md has the order.
U105: a method of integration that cannot be said.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from cortexc.compiler.front.brian2.binomial import brought
from cortexc.compiler.front.brian2.naming import NEVER, Owner, plain
from cortexc.compiler.front.brian2.refractoriness import pause
from cortexc.compiler.front.brian2.translating import (
    ONE,
    ZERO,
    Statement,
    Translator,
    added,
    names_in,
    refusal,
    statements,
    stored,
)
from cortexc.compiler.front.brian2.units import powers, text, to_graph
from cortexc.compiler.ir.cells import CellType, Equation, Port, Stage, State
from cortexc.compiler.ir.errors import CortexError
from cortexc.compiler.ir.expressions import Binary, Expression, Name, Number, Prev, Where, chained, names, previous
from cortexc.compiler.ir.firing import SPIKE
from cortexc.compiler.ir.linear import linear

INTEGRATORS = {"exact": "exact", "linear": "exact", "euler": "euler", "exponential_euler": "exponential_euler",
               "rk4": "rk4"}
"""Brian2's methods that the language has too; of others, Brian2's own statements are taken."""


@dataclass(frozen=True)
class Arrival:
    """What `port` brings is added to `variable`, times `factor`."""

    variable: str
    port: str
    factor: Expression | None = None


class Cell(Owner):
    """`summed`: variables that Synapses sum into; `targets`: those that pathways and PoissonInputs add to, which are
    known before `begin`; `arrivals`, what they add, before `arrive`. `published`: quantities that others read.
    `early`: what variables are worth before a step; `at_synapses`: when spikes arrive."""

    def __init__(self, group: Any, population: str, namespace: Mapping[str, Any], steps: int):
        super().__init__(group, namespace, steps, {SPIKE})
        self.population = population
        self.ports: list[Port] = []
        self.inputs: dict[str, np.ndarray] = {}
        self.noise: list[tuple[str, str]] = []
        self.states: list[State] = []
        self.equations: list[Equation] = []
        self.units: dict[str, str] = {}
        self.published: list[str] = []
        self.integrator = "euler"
        self.summed: dict[str, list[Arrival]] = {}
        self.arrivals: list[Arrival] = []
        self.shared_ports: dict[str, str] = {}
        self.poisson: list[Any] = []
        self.now: dict[str, Expression] = {}
        self.early: dict[str, Expression] = {}
        self.at_synapses: dict[str, Expression] = {}
        self.eligible: Expression | None = None
        self.time = ""
        self.targets: set[str] = set()
        self._after_spike: tuple[str, Expression, Expression] | None = None
        self._timed: dict[str, str] = {}

    # ---- what the group says

    @property
    def flows(self) -> dict[str, str]:
        """Variable -> its derivative, as the user wrote it."""
        found: Any = getattr(self.group, "user_equations", {})
        return {name: found[name].expr.code for name in found if name in found.diff_eq_names}

    @property
    def resets(self) -> list[Statement]:
        code = getattr(self.group, "event_codes", {}).get("spike", "")
        return list(statements(code, self.where)) if code.strip() else []

    @property
    def held(self) -> list[Statement]:
        """Subexpressions that are constant over a step."""
        updater = getattr(self.group, "subexpression_updater", None)
        return list(statements(updater.abstract_code, self.where)) if updater else []

    @property
    def changing(self) -> list[str]:
        """Variables that have another value after a step."""
        assigned = [s.name for s in self.resets if s.name in self.group.variables]
        found = dict.fromkeys([*self.flows, *self.summed, *assigned, *sorted(self.targets)])
        return list(found)

    def unit(self, name: str) -> str:
        return text(powers(self.group.variables[name].dim))

    def value(self, name: str) -> np.ndarray:
        """Of a variable before the first step, in the graph's units."""
        variable = self.group.variables[name]
        return to_graph(variable.get_value(), powers(variable.dim))

    def changes(self, name: str) -> bool:
        return name in self.changing

    def is_constant(self, e: Expression) -> bool:
        known = {p.name for p in self.parameters.values()} | {"dt"}
        return not previous(e) and names(e) <= known

    # ---- expressions

    def translated(self, node: ast.expr | str, known: Mapping[str, Expression] | None = None) -> Expression:
        """`known` goes before what the variables are worth now."""
        own = known or {}
        translator = Translator(lambda name: own.get(name) or self.lookup(name, own), self.called, self.where)
        return translator.text(node) if isinstance(node, str) else translator(node)

    def lookup(self, name: str, known: Mapping[str, Expression] | None = None) -> Expression:
        if name in self.now:
            return self.now[name]
        if name == "dt":
            return Name("dt")
        if name in ("t", "t_in_timesteps"):
            return self.clock(name)
        if name == "not_refractory" and not self.at_synapses:
            return self.eligible or ONE
        if name in (*NEVER, "not_refractory"):
            raise refusal(name, self.where, "it is not kept")
        variable = self.group.variables.get(name)
        if variable is None:
            return self.constant(name)
        if hasattr(variable, "expr"):
            return self.translated(variable.expr, known)
        if not hasattr(variable, "get_value") or name.startswith("_"):
            raise refusal(name, self.where, "it has no value of its own")
        return Name(self.parameter(name, self.value(name), self.unit(name)))

    def called(self, function: str, arguments: list[ast.expr]) -> Expression | None:
        if function == "rand" and not arguments:
            return self.drawn("uniform")
        if function == "randn" and not arguments:
            return self.drawn("normal")
        if (rows := self.timed(function, arguments)) is None:
            return None
        key = ast.unparse(ast.Call(ast.Name(function), arguments, []))
        if key not in self._timed:
            name = self._timed[key] = plain(function, self.taken)
            wide = rows if rows.ndim == 2 else rows[:, None]
            self.inputs[name] = np.array(np.broadcast_to(wide, (self.steps, len(self.group))))
            self.units[name] = text(powers(self.variable(function).dim))
        return Name(self._timed[key])

    def drawn(self, kind: str) -> Name:
        name = plain(kind, self.taken)
        self.noise.append((name, kind))
        return Name(name)

    def clock(self, name: str) -> Expression:
        """t of this step: 0 in the first one."""
        if not self.time:
            count, self.time = plain("step", self.taken), plain("t", self.taken)
            self.states.append(State(count, Number(-1.0)))
            self.equations[:0] = [Equation(count, Prev(count, 1) + 1.0, "send"),
                                  Equation(self.time, Name(count) * Name("dt"), "send")]
            self.units |= {self.time: "ms", count: "1"}
            self.names["t_in_timesteps"] = count
        return Name(self.time if name == "t" else self.names["t_in_timesteps"])

    def emit(self, name: str, value: Expression, stage: Stage, unit: str = "", **how: Any) -> Name:
        self.equations.append(Equation(name, value, stage, **how))
        if unit:
            self.units[name] = unit
        return Name(name)

    def quantity(self, wanted: str, value: Expression, unit: str, stage: Stage) -> Name:
        """The value under a name of its own."""
        return value if isinstance(value, Name) else self.emit(plain(wanted, self.taken), value, stage, unit)

    def publish(self, value: Expression, wanted: str, unit: str = "", stage: Stage = "receive") -> str:
        """The name under which others read a value."""
        name = self.quantity(wanted, value, unit, stage).name
        self.published = [*dict.fromkeys([*self.published, name])]
        return name

    # ---- a step

    @property
    def stage(self) -> Stage:
        return "receive" if self.summed else "send"

    def begin(self) -> None:
        """Every variable that changes is a state."""
        for name in self.changing:
            self._begin(name)
        self.early = dict(self.now)
        for statement in self.held:
            value = self.translated(statement.value)
            self.now[statement.name] = self.emit(self.own(statement.name), value, "send", self.unit(statement.name))
        self.early |= self.now

    def _begin(self, name: str) -> None:
        value = np.broadcast_to(self.value(name), (len(self.group),))
        same = bool(np.all(value == value[0]))
        self.states.append(State(self.own(name), Number(float(value[0])) if same else ZERO))
        if not same:
            self.arrays[self.own(name)] = np.array(value)
        if unit := self.unit(name):
            self.units[self.own(name)] = unit
        self.now[name] = Prev(self.own(name), 1)

    def build(self) -> None:
        for variable, arrivals in self.summed.items():
            if variable in self._later():
                raise CortexError("U106", f"'{variable}' of {self.where} is summed, and something else changes it too.",
                                  "Let a variable of its own be changed.")
            total = chained("+", [_times(Name(a.port), a.factor) for a in arrivals])
            self.now[variable] = self.emit(self.own(variable), total, "receive", self.unit(variable))
        if (found := pause(self)) is not None:
            self.eligible, self._after_spike = found
        if self.flows:
            self._flow()
        self._threshold()
        self.at_synapses = dict(self.now)

    @property
    def paused(self) -> list[str]:
        """Variables that stand still while the cell is refractory."""
        found = getattr(self.group, "user_equations", {})
        return [n for n in self.flows if self.eligible is not None and "unless refractory" in found[n].flags]

    def _later(self) -> set[str]:
        """Variables that something changes after the state update."""
        return {s.name for s in self.resets} | self.targets

    def _flow(self) -> None:
        method, code = self._method()
        outside = [] if method == "rk4" else self.paused
        held, later = set(outside), self._later()
        if method in INTEGRATORS and (flows := self._kept(INTEGRATORS[method], held | later)):
            self.integrator = INTEGRATORS[method]
            for name, (own, value) in flows.items():
                start = None if own == self.own(name) else Prev(self.own(name), 1)
                self.emit(own, value, self.stage, self.unit(name), derivative=True, start=start)
                self.now[name] = Name(own)
        else:
            held = set(self.paused)
            self._stated(code)
        for name in self.paused:
            if name in held and self.eligible is not None:
                value = Where(self.eligible, self.now[name], Prev(self.own(name), 1))
                own = plain(f"{name}_free", self.taken) if name in later else self.own(name)
                self.now[name] = self.emit(own, value, self.stage, self.unit(name))

    def _method(self) -> tuple[str, str]:
        """Its name, and Brian2's statements. Raises U105."""
        from brian2.stateupdaters.base import StateUpdateMethod, UnsupportedEquationsException

        group, said = self.group, self.group.method_choice
        variables = self.resolved(group.equations)
        for method in [said] if isinstance(said, str) or callable(said) else said:
            try:
                code = StateUpdateMethod.apply_stateupdater(group.equations, variables, method)
            except UnsupportedEquationsException:
                continue
            if isinstance(code, str) and isinstance(method, str):
                return method.lower(), code
        raise CortexError("U105", f"method {said!r} of {self.where} cannot be said.",
                          "Use exact, exponential_euler, euler, rk2, rk4, milstein or heun.")

    def _kept(self, integrator: str, moved: set[str]) -> dict[str, tuple[str, Expression]]:
        """Variable -> (name, derivative); nothing where the language's integrator would do something else."""
        never = {*self.group.equations.stochastic_variables, *["t"] * (integrator == "rk4")}
        if any(names_in(ast.parse(code, mode="eval").body) & never for code in self._whole):
            return {}
        own = {name: plain(f"{name}_{'flow' if name in self.paused and integrator != 'rk4' else 'free'}", self.taken)
               if name in moved else self.own(name) for name in self.flows}
        known: dict[str, Expression] = {name: Name(found) for name, found in own.items()}
        found = {name: self.translated(code, known) for name, code in self.flows.items()}
        if integrator == "rk4":
            found = {name: Where(self.eligible, value, ZERO) if name in self.paused and self.eligible else value
                     for name, value in found.items()}
        if not all(self._solvable(integrator, name, own, value) for name, value in found.items()):
            return {}
        return {name: (own[name], value) for name, value in found.items()}

    @property
    def _whole(self) -> list[str]:
        """Derivatives with their subexpressions put in."""
        return [e.code for _, e in self.group.equations.get_substituted_expressions()]

    def _solvable(self, integrator: str, name: str, own: Mapping[str, str], value: Expression) -> bool:
        if integrator in ("euler", "rk4"):
            return True
        if integrator == "exponential_euler":
            return linear(value, {own[name]}) is not None
        found, still = linear(value, {*own.values()}), {own[n] for n in self.paused} - {own[name]}
        return found is not None and all(map(self.is_constant, found.coefficients.values())) \
            and not names(value) & still

    def _stated(self, code: str) -> None:
        """Brian2's own statements of a step."""
        own: dict[str, Expression] = {}
        for statement in statements(code, self.where):
            value = self.translated(statement.value, own)
            if statement.name in self.flows:
                own[statement.name] = value
            else:
                own[statement.name] = self.quantity(statement.name.strip("_"), value, "", self.stage)
        self.now |= {name: own[name] for name in self.flows}

    def _threshold(self) -> None:
        condition = self.group.events.get("spike")
        if condition is None:
            return
        value = self.translated(condition)
        if self.eligible is not None:
            value = Binary("and", value, self.eligible)
        self.states.append(State(SPIKE))
        self.emit(SPIKE, Where(value, ONE, ZERO), self.stage)
        self.publish(Name(SPIKE), SPIKE)
        if self._after_spike:
            state, fired, rest = self._after_spike
            self.emit(state, Where(_fired(), fired, rest), self.stage)

    def arrive(self) -> None:
        for arrival in self.arrivals:
            self._add(arrival.variable, _times(Name(arrival.port), arrival.factor))
        for source in self.poisson:
            self._add(source._target_var, brought(self, source))
        used = {s.name for s in self.resets}.union(*(names_in(s.value) for s in self.resets))
        for name in sorted(self.targets & used):
            if not isinstance(self.now[name], Prev):
                self.now[name] = self.quantity(f"{name}_arrived", self.now[name], self.unit(name), "receive")

    def _add(self, variable: str, value: Expression) -> None:
        if variable in self.paused and self.eligible is not None:
            free = Binary("and", self.eligible, Binary("==", Name(SPIKE), ZERO))
            value = Where(free, value, ZERO)
        self.now[variable] = Binary("+", self.now[variable], value)

    def reset(self) -> None:
        known: dict[str, Expression] = {}
        for statement in self.resets:
            value = self.translated(statement.value, known)
            if statement.added:
                value = added(known.get(statement.name) or self.lookup(statement.name), value)
            known[statement.name] = stored(value, self.group.variables.get(statement.name))
        for name, value in known.items():
            if name in self.now:
                self.now[name] = Where(_fired(), value, self.now[name])

    def end(self) -> None:
        """Every state gets the value that the step has left."""
        made = {e.name for e in self.equations}
        for name in self.changing:
            if self.own(name) not in made:
                self.emit(self.own(name), self.now[name], "receive" if self.summed or name in self._later() else "send")

    def cell(self) -> CellType:
        units = tuple((name, unit) for name, unit in self.units.items() if unit)
        return CellType(f"{self.population}_cell", tuple(self.ports), tuple(self.parameters.values()),
                        tuple(self.inputs), tuple(self.noise), tuple(self.states), tuple(self.equations),
                        tuple(self.published), self.integrator, units=units)


def _fired() -> Expression:
    return Name(SPIKE).above(0.0)


def _times(value: Expression, factor: Expression | None) -> Expression:
    return value if factor is None else Binary("*", value, factor)
