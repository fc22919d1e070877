"""Thresholds, resets, refractory times and jumps: what a cell says of them, as equations of the core language.

before    jump v = v + syn             after     receive dv_free/dt = ... from prev(v)
          receive dv/dt = ...                    receive v_before = v_free + syn
          spike when v >= theta                  receive spike = where(v_before >= theta and prev(refractory) <= 0,
          reset v = rest                                               1, 0)
          hold 2 ms                              receive refractory = where(spike > 0, N, max(prev(refractory) - 1, 0))
                                                 receive v = where(spike > 0, rest,
                                                                   where(prev(refractory) > 0, prev(v), v_before))

The message `spike` is late: it leaves at the end of the step. Jumps read what the equations gave, the condition and the
resets what jumps gave; everybody else, and a recording, what is there after the reset. While a cell is refractory it
does not spike, and what it holds stays as it was reset. Names of ours get `_` at the end until they are nobody else's.
E247: something is said without what it needs; E248: of what is no state.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from cortexc.compiler.ir.cells import CellType, Equation, Stage, State
from cortexc.compiler.ir.errors import CortexError, unknown
from cortexc.compiler.ir.expressions import Binary, Call, Expression, Name, Number, Prev, Where, names, substitute

SPIKE = "spike"


@dataclass(frozen=True)
class Hold:
    """For how long a cell is refractory, in `unit` (`ms` or `steps`), and which states it holds; none: the first that
    is reset."""

    length: Expression
    unit: str
    states: tuple[str, ...] = ()

    @property
    def steps(self) -> Expression:
        """The nearest whole number of steps."""
        if isinstance(self.length, Number) and self.unit == "steps" and self.length.value == int(self.length.value):
            return self.length
        length = Binary("/", self.length, Name("dt")) if self.unit == "ms" else self.length
        return Call("floor", (length + 0.5,))


@dataclass(frozen=True)
class Firing:
    """What a cell does beside its equations. `jumps` and `resets`: state -> its value."""

    condition: Expression | None = None
    resets: dict[str, Expression] = field(default_factory=dict)
    jumps: dict[str, Expression] = field(default_factory=dict)
    hold: Hold | None = None

    @property
    def held(self) -> tuple[str, ...]:
        return (self.hold.states or tuple(self.resets)[:1]) if self.hold else ()


def fresh(name: str, taken: Iterable[str]) -> str:
    """The name, with `_` at its end until it is not taken."""
    known = set(taken)
    while name in known:
        name += "_"
    return name


def names_of(cell: CellType) -> set[str]:
    """Everything that has a name in a cell."""
    return {*(p.name for p in cell.ports), *(p.name for p in cell.parameters), *(s.name for s in cell.states),
            *(e.name for e in cell.equations), *cell.inputs, *(name for name, _ in cell.noise)}


def with_firing(cell: CellType, firing: Firing) -> CellType:
    """Raises E247 and E248."""
    _check(cell, firing)
    return _Expansion(cell, firing).cell()


def _check(cell: CellType, firing: Firing) -> None:
    who = f"cell '{cell.name}'"
    said = [*["reset"] * bool(firing.resets), *["hold"] * bool(firing.hold)]
    if said and firing.condition is None:
        raise CortexError("E247", f"{who} says '{said[0]}', but not when it spikes.", "Add 'spike when CONDITION'.")
    if firing.hold and not firing.held:
        raise CortexError("E247", f"{who} says 'hold', but resets nothing and names no state to hold.",
                          "Write 'hold TIME ms STATE', or add 'reset STATE = VALUE'.")
    if firing.condition and SPIKE in names_of(replace(cell, states=())):
        raise CortexError("E247", f"{who} says 'spike when', and defines '{SPIKE}' itself too.", "Keep one of them.")
    states = {s.name for s in cell.states} & {e.name for e in cell.equations if e.stage != "factor"}
    for keyword, named in (("jump", firing.jumps), ("reset", firing.resets), ("hold", firing.held)):
        for name in named:
            if name not in states:
                raise unknown("E248", f"state in '{keyword}' of {who}", name, states)


class _Expansion:
    """`free`: state -> what its equation gives; `before`: state -> what it is before a reset."""

    def __init__(self, cell: CellType, firing: Firing):
        self.given, self.firing = cell, firing
        self.taken = names_of(cell) | {SPIKE}
        touched = dict.fromkeys((*firing.jumps, *firing.resets, *firing.held))
        self.free = {name: self._own(f"{name}_free") for name in touched}
        self.late = [name for name in touched if name in firing.resets or name in firing.held]
        self.before = {name: self._own(f"{name}_before") if name in firing.jumps else self.free[name]
                       for name in self.late}
        self.refractory = self._own("refractory") if firing.hold else ""

    def _own(self, name: str) -> str:
        found = fresh(name, self.taken)
        self.taken.add(found)
        return found

    def cell(self) -> CellType:
        fires, states = self.firing.condition is not None, {s.name for s in self.given.states}
        added = [State(name) for name in (SPIKE, self.refractory) if name and fires and name not in states]
        messages = (SPIKE,) if fires and SPIKE not in self.given.messages else ()
        known: dict[str, Expression] = {name: Name(free) for name, free in self.free.items()}
        jumps = [self._equation(self.before.get(name, name), substitute(value, known), name)
                 for name, value in self.firing.jumps.items()]
        equations = (*map(self._freed, self.given.equations), *jumps, *self._spikes(), *self._settled())
        late = (SPIKE,) if fires and SPIKE not in self.given.late else ()
        return replace(self.given, states=(*self.given.states, *added), equations=equations,
                       messages=(*self.given.messages, *messages), late=(*self.given.late, *late))

    def _freed(self, equation: Equation) -> Equation:
        """The equation of what a state would be; derivatives read each other's."""
        derived = [e.name for e in self.given.equations if e.derivative and e.name in self.free]
        flowing: dict[str, Expression] = {name: Name(self.free[name]) for name in derived}
        if equation.derivative:
            equation = replace(equation, expression=substitute(equation.expression, flowing))
        if equation.name not in self.free:
            return equation
        start = equation.begins if equation.derivative else None
        return replace(equation, name=self.free[equation.name], start=start)

    def _spikes(self) -> Iterable[Equation]:
        condition, hold = self.firing.condition, self.firing.hold
        if condition is None:
            return
        condition = self._early(condition)
        if hold:
            condition = Binary("and", condition, Binary("<=", Prev(self.refractory, 1), Number(0.0)))
        yield Equation(SPIKE, Where(condition, Number(1.0), Number(0.0)), self._stage())
        if hold:
            left = Call("max", (Prev(self.refractory, 1) - 1.0, Number(0.0)))
            yield Equation(self.refractory, Where(self._spiked, hold.steps, left), self._stage())

    def _settled(self) -> Iterable[Equation]:
        """What a state is at the end of the step."""
        for name in self.late:
            value: Expression = Name(self.before[name])
            if name in self.firing.held:
                value = Where(Prev(self.refractory, 1).above(0.0), Prev(name, 1), value)
            if name in self.firing.resets:
                value = Where(self._spiked, self._early(self.firing.resets[name]), value)
            yield self._equation(name, value, name)

    @property
    def _spiked(self) -> Expression:
        return Name(SPIKE).above(0.0)

    def _early(self, expression: Expression) -> Expression:
        return substitute(expression, {name: Name(before) for name, before in self.before.items()})

    def _equation(self, name: str, value: Expression, state: str) -> Equation:
        like = self.given.equation(state)
        assert like is not None
        return Equation(name, value, like.stage, like.compartment)

    def _stage(self) -> Stage:
        """Among the `send` equations if nothing that is read comes later."""
        condition = self.firing.condition
        read = {*(names(condition) if condition else ()), *self.free}
        early = {e.name for e in self.given.equations if e.stage == "send"}
        later = {e.name for e in self.given.equations} - early | {port.name for port in self.given.ports}
        return "receive" if read & later else "send"
