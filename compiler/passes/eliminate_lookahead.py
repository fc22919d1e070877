"""Eliminate-lookahead: a prospective quantity that undoes its own Euler membrane is the drive one step ago.

before    state u = 0
          state rate = logistic(u)
          send breve = prev(prev(u)) + tau * (prev(u) - prev(prev(u))) / dt
          receive drive = ...
          receive u = prev(u) + dt * (drive - prev(u)) / tau
after     state drive = 0
          state rate = logistic(drive)
          send breve = prev(drive)
          receive drive = ...

With u[n-1] = u[n-2] + dt * (drive[n-1] - u[n-2]) / tau, u[n-2] + tau * (u[n-1] - u[n-2]) / dt is drive[n-1]
for all values of u, tau and dt. The first step has no drive behind it: `drive` starts at the value that
`breve` has there, which is u. A look-ahead time other than the membrane's leaves u in the result, and the
cell as it is.

Equal algebraically, not to the bit: the subtraction of two close voltages disappears, with its rounding. The
voltage goes too where nothing else reads or observes it; an array bound to it is then bound to the drive.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from hashlib import sha256
from types import MappingProxyType
from typing import ClassVar

from cortexc.compiler.ir import Binary, CellType, Equation, Expression, Graph, Name, Negate, Number, Prev, State
from cortexc.compiler.ir.expressions import children, names, previous, rename, transform
from cortexc.compiler.passes.base import Request
from cortexc.compiler.passes.fold import remove_dead
from cortexc.compiler.passes.rewriting import exchanged


@dataclass(frozen=True)
class Lookahead:
    """Equation `prospective` of a cell is `prev(drive)`, where `drive` drives the membrane `voltage`.

    `initial` is the value of the prospective quantity in the first step.
    """

    prospective: str
    voltage: str
    drive: str
    initial: Expression


@dataclass(frozen=True)
class EliminateLookahead:
    name: ClassVar[str] = "eliminate-lookahead"
    fidelity: ClassVar[str] = "algebra"

    def apply(self, graph: Graph, request: Request) -> Graph:
        for name in [cell.name for cell in graph.cells]:
            while (found := next(lookaheads(graph, graph.cell(name)), None)) is not None:
                kept = _rewrite(graph, name, found, found.initial)
                graph = _without_voltage(graph, name, found, request) or remove_dead(kept, request)
        return graph


def lookaheads(graph: Graph, cell: CellType) -> Iterator[Lookahead]:
    """The look-aheads of a cell that cancel their membrane, in the order of its equations."""
    for quantity in cell.equations:
        read = previous(quantity.expression)
        if quantity.stage != "send" or len(read) != 1 or not names(quantity.expression) <= _constants(cell):
            continue
        membrane = cell.equation(next(iter(read)))
        if membrane and not membrane.derivative and membrane.name in previous(membrane.expression):
            yield from _cancelling(graph, cell, quantity, membrane)


def _cancelling(graph: Graph, cell: CellType, quantity: Equation, membrane: Equation) -> Iterator[Lookahead]:
    """The named quantity that a look-ahead over a membrane reduces to, if there is one."""
    algebra = Algebra(_constants(cell))
    with suppress(ZeroDivisionError):
        one_step_earlier = algebra.convert(membrane.expression, 1)
        result = algebra.convert(quantity.expression, 0, {algebra.symbol(membrane.name, 1): one_step_earlier})
        initial = _first_value(algebra, quantity, membrane.name)
        for drive in sorted(names(membrane.expression)):
            if cell.equation(drive) and result == algebra.convert(Name(drive), 1) \
                    and _may_start_at(graph, cell, drive, initial, membrane.name):
                yield Lookahead(quantity.name, membrane.name, drive, initial)


def _first_value(algebra: Algebra, quantity: Equation, voltage: str) -> Expression:
    """The prospective quantity over initial values: every earlier voltage is the declared one."""
    start = transform(quantity.expression, lambda e: Name(e.name) if isinstance(e, Prev) else e)
    same = algebra.convert(start, 0) == algebra.convert(Name(voltage), 0)
    return Name(voltage) if same else start


def _may_start_at(graph: Graph, cell: CellType, drive: str, initial: Expression, voltage: str) -> bool:
    """Whether `prev(drive)` may be given this value in the first step: nobody declared another."""
    declared, algebra = cell.state(drive), Algebra(_constants(cell))
    states = [state for state in (declared, cell.state(voltage)) if state]
    if any(state.dtype != "float64" for state in states):
        return False
    if declared is None:
        return True
    bound = any(f"{p.name}.{drive}" in graph.arrays for p in graph.populations if p.cell == cell.name)
    return not bound and algebra.convert(declared.initial, 0) == algebra.convert(initial, 0)


def _rewrite(graph: Graph, name: str, found: Lookahead, initial: Expression) -> Graph:
    """`prospective = prev(drive)`, with the state `drive = initial` declared right after the voltage."""
    cell = graph.cell(name)
    equations = tuple(replace(e, expression=Prev(found.drive, 1)) if e.name == found.prospective else e
                      for e in cell.equations)
    states = [s for s in cell.states if s.name != found.drive]
    place = [s.name for s in states].index(found.voltage) + 1
    states.insert(place, State(found.drive, initial))
    return exchanged(graph, cell, replace(cell, equations=equations, states=tuple(states)))


def _without_voltage(graph: Graph, name: str, found: Lookahead, request: Request) -> Graph | None:
    """The drive takes over the voltage's initial value and arrays; None if the voltage is still needed."""
    voltage = graph.cell(name).state(found.voltage)
    if voltage is None or found.initial != Name(found.voltage):
        return None
    graph = _rewrite(graph, name, found, voltage.initial)
    cell, table = graph.cell(name), {found.voltage: found.drive}
    states = tuple(replace(s, initial=rename(s.initial, table)) for s in cell.states)
    bound = {f"{p.name}.{found.drive}": graph.arrays[old] for p in graph.populations
             if p.cell == name and (old := f"{p.name}.{found.voltage}") in graph.arrays}
    graph = exchanged(graph, cell, replace(cell, states=states)).with_(arrays={**graph.arrays, **bound})
    graph = remove_dead(graph, request)
    return graph if graph.cell(name).equation(found.voltage) is None else None


def _constants(cell: CellType) -> set[str]:
    return {"dt", *(p.name for p in cell.parameters)}


@dataclass(frozen=True)
class Algebra:
    """Rational functions with exact numbers, compared by their values at one random point of a prime field.

    Every name of every age is a number there, and so is every other function of given arguments. Two functions that
    differ have the same value with a probability of their degree over 2**127 (Schwartz 1980).
    """

    constants: set[str]

    def symbol(self, name: str, age: int) -> str:
        return name if name in self.constants else f"{name}[-{age}]"

    def convert(self, expression: Expression, age: int, given: Mapping[str, int] = MappingProxyType({})) -> int:
        """The value of the expression as it stood `age` steps ago, with values `given` for some symbols. Raises
        ZeroDivisionError."""
        match expression:
            case Number(value) if math.isfinite(value):
                return _quotient(*value.as_integer_ratio())
            case Name(name):
                symbol = self.symbol(name, age)
            case Prev(name, depth):
                symbol = self.symbol(name, age + depth)
            case _:
                parts = [self.convert(child, age, given) for child in children(expression)]
                return _operation(expression, parts) % PRIME
        return given[symbol] if symbol in given else _drawn(symbol)


PRIME = 2**127 - 1


def _drawn(*key: object) -> int:
    return int.from_bytes(sha256(repr(key).encode()).digest(), "big") % PRIME


def _quotient(above: int, below: int) -> int:
    if below % PRIME == 0:
        raise ZeroDivisionError
    return above * pow(below, -1, PRIME) % PRIME


ARITHMETIC: dict[str, Callable[[int, int], int]] = {
    "+": operator.add, "-": operator.sub, "*": operator.mul, "/": _quotient}


def _operation(expression: Expression, parts: list[int]) -> int:
    match expression:
        case Negate():
            return -parts[0]
        case Binary(sign) if sign in ARITHMETIC:
            return ARITHMETIC[sign](*parts)
    own = [value for value in vars(expression).values() if isinstance(value, str | bool | float)]
    return _drawn(type(expression).__name__, own, parts)
