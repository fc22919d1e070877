"""What a cell is: ports, parameters, states, equations and messages. `compiler.ir.model` has the rest of a circuit."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal, TypeVar

from cortexc.compiler.ir.expressions import Expression, Number, Prev

Part = TypeVar("Part")
Stage = Literal["send", "receive", "factor"]
STAGES: tuple[Stage, ...] = ("send", "receive", "factor")
STREAMS = ("normal", "uniform")
"""Noise of cells: standard normal numbers, or numbers in [0, 1)."""
INTEGRATORS = ("euler", "exponential_euler", "exact", "rk4", "rk5")
"""What derivatives of a cell may mean."""


class Index(cached_property["dict[str, Part]"]):
    """The parts of a kind by their names; of one name the first."""

    def __init__(self, kind: str):
        super().__init__(lambda owner: {part.name: part for part in reversed(getattr(owner, kind))})


@dataclass(frozen=True)
class Port:
    """Where currents arrive; projections add up in declaration order. `compartment` defaults to the port's name."""

    name: str
    compartment: str


@dataclass(frozen=True)
class Parameter:
    """A constant of a cell or rule; "" is a unit that nobody said. `default` None means that each instance must give a
    value.

    With a `formula`, over `dt` and the parameters above it, no instance gives one; a pass puts it in their places.
    """

    name: str
    unit: str = ""
    default: float | None = None
    formula: Expression | None = None


@dataclass(frozen=True)
class State:
    """A quantity whose earlier values are read, with its value before the first step.

    `initial` may read parameters and states declared above it; an array bound as `population.name` overrides it.
    `dtype` is `float64` or `intB` (an integer of B bits, two's complement) with `scale` = value of one unit.
    """

    name: str
    initial: Expression = Number(0.0)
    dtype: str = "float64"
    scale: float = 1.0


@dataclass(frozen=True)
class Equation:
    """`name = expression` in one stage; `derivative` marks `dname/dt = expression` (discretised by a pass), which goes
    on from `start`, by default from the earlier `name`."""

    name: str
    expression: Expression
    stage: Stage
    compartment: str | None = None
    derivative: bool = False
    start: Expression | None = None

    @property
    def begins(self) -> Expression:
        """Where a derivative goes on from."""
        return self.start or Prev(self.name, 1)


@dataclass(frozen=True)
class CellType:
    """Equations of one cell; every quantity is a vector over the population.

    `inputs` are exogenous values of the step; `noise` are draws of the step (`normal` or `uniform`); `messages` are the
    quantities that projections may transmit; what plasticity may read of a cell are its messages and `factor`s.
    `integrator` says what its derivatives mean. Messages that are `late` leave at the end of the step. `units`:
    quantities and their units, where they are said. A cell is a *relay* if it has no state: it passes its input on
    within the step, and its outgoing delay is 0.
    """

    name: str
    ports: tuple[Port, ...] = ()
    parameters: tuple[Parameter, ...] = ()
    inputs: tuple[str, ...] = ()
    noise: tuple[tuple[str, str], ...] = ()
    states: tuple[State, ...] = ()
    equations: tuple[Equation, ...] = ()
    messages: tuple[str, ...] = ()
    integrator: str = "euler"
    late: tuple[str, ...] = ()
    units: tuple[tuple[str, str], ...] = ()

    _equations, _states = Index[Equation]("equations"), Index[State]("states")

    @property
    def relay(self) -> bool:
        return not self.states and bool(self.ports)

    def equation(self, name: str) -> Equation | None:
        return self._equations.get(name)

    def state(self, name: str) -> State | None:
        return self._states.get(name)
