"""The order of one step: which equations of which population run when, and when each projection delivers.

Greedy list scheduling over equations and projections. In an ordinary circuit this gives: all `send` equations, all
projections, all `receive` and `factor` equations. Same-step edges (relays, delay 0) split a cell's equations into
several segments. The order is one line through the whole circuit, so any partition of it runs without deadlock: the
earliest operation that has not run can always run.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, replace
from typing import TypeVar

from cortexc.compiler.ir.errors import CortexError
from cortexc.compiler.ir.expressions import names, previous
from cortexc.compiler.ir.model import CellType, Equation, Graph, Population, Projection


@dataclass(frozen=True)
class Segment:
    """Equations of one population that run together; `index` counts the segments of that population."""

    population: str
    equations: tuple[str, ...]
    index: int


@dataclass(frozen=True)
class Delivery:
    projection: str


Operation = Segment | Delivery
Found = TypeVar("Found")


def reached(start: Iterable[str], following: Callable[[str], Iterable[str]]) -> set[str]:
    """All names that lead on from these, with themselves."""
    found, waiting = set[str](), list(start)
    while waiting:
        if (name := waiting.pop()) not in found:
            found.add(name)
            waiting += following(name)
    return found


def settled(found: Found, step: Callable[[Found], Found]) -> Found:
    """What a step that is taken again and again no longer changes."""
    while (after := step(found)) != found:
        found = after
    return found


def instantaneous(cell: CellType, ports: Collection[str] | None = None) -> set[str]:
    """Quantities of a cell that depend on this step's ports, or on some of them, directly or not, in any order of
    equations."""
    chosen = {port.name for port in cell.ports} if ports is None else set(ports)
    read = {e.name: needed(cell, e) for e in cell.equations}
    return reached(chosen, lambda name: [e for e, names_read in read.items() if name in names_read]) & read.keys()


def needed(cell: CellType, equation: Equation) -> set[str]:
    """Names whose value of this step an equation reads; `dx/dt = ...` reads the earlier x."""
    earlier = {e.name for e in cell.equations if e.derivative} if equation.derivative else set()
    return names(equation.expression) - earlier | (names(equation.start) if equation.start else set())


def message_depth(graph: Graph, projection: Projection) -> int:
    """How many steps before this one the delivered message was computed (0 = in this step)."""
    message, cell = graph.class_of(projection.name).message, graph.cell_of(projection.pre)
    if message in cell.late:
        return projection.delay
    same_step = message in instantaneous(cell) or projection.delay == 0 and not _remembers(cell, message)
    return projection.delay if same_step else projection.delay - 1


def _remembers(cell: CellType, name: str) -> bool:
    """Whether a quantity depends on an earlier step, directly or not; otherwise on inputs and noise of this one."""
    equations = {e.name: e for e in cell.equations}
    found = reached([name], lambda n: names(equations[n].expression) if n in equations else ())
    return any(previous(equations[n].expression) or equations[n].derivative for n in found & equations.keys())


def as_old_as(before: Graph, graph: Graph) -> Graph:
    """`graph` with delays by which every message arrives as old as in `before`, also one that no longer depends on this
    step's ports."""
    return graph.with_(projections=tuple(
        replace(q, delay=q.delay + message_depth(before, before.projection(q.name)) - message_depth(graph, q))
        for q in graph.projections))


def schedule(graph: Graph) -> tuple[Operation, ...]:
    """Raises E230 naming the populations of a same-step cycle."""
    order: list[Operation] = []
    done: dict[str, set[str]] = {p.name: set() for p in graph.populations}
    segments = {p.name: 0 for p in graph.populations}
    delivered: set[str] = set()

    def run(population: Population, ready: tuple[str, ...]) -> None:
        order.append(Segment(population.name, ready, segments[population.name]))
        segments[population.name] += 1
        done[population.name] |= set(ready)

    def advance() -> bool:
        before = len(order)
        for projection in graph.projections:
            sent = graph.class_of(projection.name).message in done[projection.pre]
            if projection.name not in delivered and (sent or message_depth(graph, projection) > 0):
                delivered.add(projection.name)
                order.append(Delivery(projection.name))
        for population in graph.populations:
            if ready := _ready(graph, population, done[population.name], delivered):
                run(population, ready)
        return len(order) > before

    def release() -> bool:
        """What reads no port need not wait for one, if others wait for it."""
        for population in graph.populations:
            if ready := _ready(graph, population, done[population.name], delivered, hold=False):
                run(population, ready)
                return True
        return False

    while advance() or release():
        pass
    _check_complete(graph, done, delivered)
    return tuple(order)


def _ready(graph: Graph, population: Population, done: set[str], delivered: set[str],
           hold: bool = True) -> tuple[str, ...]:
    """Equations that can run; `hold` keeps those after `send` together until the ports are there."""
    cell = graph.cell(population.cell)
    waiting = {port.name for port in cell.ports
               if any(p.name not in delivered for p in graph.into(population.name, port.name))}
    available, ready = set(done), []
    pending = {e.name for e in cell.equations} - done
    for equation in sorted(cell.equations, key=lambda e: e.stage == "factor"):
        read = needed(cell, equation)
        if equation.stage == "factor":
            read |= {e.name for e in cell.equations if e.stage != "factor"}
        if equation.name in pending and not read & waiting and not read & (pending - available):
            ready.append(equation.name)
            available.add(equation.name)
    late = {e for e in ready if cell.equation(e).stage != "send"}  # type: ignore[union-attr]
    if not hold or not waiting or late & instantaneous(cell):
        return tuple(ready)
    for name in ready:
        if needed(cell, cell.equation(name)) & late:  # type: ignore[arg-type]
            late.add(name)
    return tuple(e for e in ready if e not in late)


def _check_complete(graph: Graph, done: dict[str, set[str]], delivered: set[str]) -> None:
    stuck = [p.name for p in graph.projections if p.name not in delivered]
    if stuck:
        raise CortexError("E230", f"same-step cycle through projections {', '.join(stuck)} of graph '{graph.name}'.",
                          "Give one of them a delay of 1, or break the loop with a cell that has state.")
    for population in graph.populations:
        missing = {e.name for e in graph.cell(population.cell).equations} - done[population.name]
        if missing:
            raise CortexError("E230", f"equations {', '.join(sorted(missing))} of cell '{population.cell}' depend on "
                                      f"each other within the step (population '{population.name}').",
                              "Read one of them through prev().")
