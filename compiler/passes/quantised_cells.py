"""A cell type in fixed point: rounded equations, tables, and narrow copies of what is sent or read by rules."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from cortexc.compiler.ir import CellType, CortexError, Equation, Expression, Population, State
from cortexc.compiler.ir.evaluation import evaluate
from cortexc.compiler.ir.expressions import Binary, Lookup, Name, Number, Where, substitute
from cortexc.compiler.ir.functions import Floats
from cortexc.compiler.passes.fixed_point import Extent, Format, extent, rounding_of
from cortexc.compiler.passes.fold import simplify
from cortexc.compiler.passes.name_products import is_table, quantities
from cortexc.compiler.passes.quantised_formats import Formats, read_of_cells
from cortexc.compiler.passes.widths import COUNTER, TABLES_HEADROOM, tally

GUARD = 8
"""Bits below the unit of a result to which terms are rounded where their exact sum would not fit."""


def quantised_cell(formats: Formats, p: Population) -> CellType:
    """Of one population; what is sent of it gets names in `formats.copies`."""
    return _Cell(formats, p).result()


class _Cell:
    def __init__(self, formats: Formats, p: Population):
        self.formats, self.graph, self.options, self.p = formats, formats.graph, formats.options, p
        self.cell = formats.graph.cell(p.cell)

    def result(self) -> CellType:
        cell = self.cell
        enter = [(name, 0.5) for name in cell.inputs] + [(n, 0.0 if k == "uniform" else 0.5) for n, k in cell.noise]
        equations, copies = [self._entry(name, offset) for name, offset in enter], {}
        table: dict[str, Expression] = {name: Name(f"{name}_in") for name, _ in enter}
        for e in cell.equations:
            equations.append(replace(e, expression=substitute(self._equation(e), table)))
            copies[e.name] = self._copies(e)
            equations += copies[e.name]
        states = [self._state(s, name) for s in cell.states for name in (s.name, *(c.name for c in copies[s.name]))]
        counters = self._counters(equations) if self.options.count and not cell.relay else []
        messages = tuple(dict.fromkeys(self.formats.message(q) for q in self.graph.projections
                                       if q.pre == self.p.name))
        late = tuple(dict.fromkeys(self.formats.message(q) for q in self.graph.projections if q.pre == self.p.name
                                   and self.graph.class_of(q.name).message in cell.late))
        jitters = [f"{e.name}_jitter" for e in cell.equations if self.formats.is_jittered(f"{self.p.name}.{e.name}")
                   and (self.p.name, e.name, "factor") in self.formats.copies]
        return replace(cell, states=(*states, *(State(c.name) for c in counters)),
                       noise=(*cell.noise, *((name, "uniform") for name in jitters)),
                       equations=(*equations, *counters), messages=messages, late=late)

    def _extent(self, name: str) -> Extent:
        return self.formats.extents[f"{self.p.name}.{name}"]

    def _entry(self, name: str, offset: float) -> Equation:
        """An input or a draw, rounded where it enters."""
        found = self.formats.format(self.p, name)
        self.formats.extents[f"{self.p.name}.{name}_in"] = found.extent
        return Equation(f"{name}_in", found.wrap(Name(name), Number(offset)), "send")

    def _equation(self, e: Equation) -> Expression:
        found = self.formats.format(self.p, e.name)
        if is_table(e.expression):
            return self._lookup(e, found)
        try:
            whole = self.formats.exact(self.p, e.name, e.expression)
        except CortexError as error:
            if error.code != "E610":
                raise
            return found.wrap(self._guarded(e, found, e.expression))
        return e.expression if whole.within(self._extent(e.name).format) else found.wrap(e.expression)

    def _guarded(self, e: Equation, found: Format, expression: Expression) -> Expression:
        """A sum that takes too many bits, its terms first rounded to GUARD bits below the unit of the result."""
        match expression:
            case Binary("+" | "-" as operator, left, right):
                return Binary(operator, *(self._guarded(e, found, part) for part in (left, right)))
            case Where(condition, then, otherwise):
                return Where(condition, *(self._guarded(e, found, part) for part in (then, otherwise)))
        whole = self.formats.exact(self.p, e.name, expression)
        if whole.fraction <= found.fraction + GUARD:
            return expression
        return Extent(found.fraction + GUARD, whole.largest).format.wrap(expression)

    def _lookup(self, e: Equation, found: Format) -> Expression:
        """A table over one quantity: 2**tables entries, each rounded to the function's format, straight lines between
        them where the quantity is finer than the table."""
        (node,), who = quantities(e.expression), f"equation '{e.name}' of population '{self.p.name}'"
        if f"{self.p.name}.{node.name}" not in self.formats.extents:
            raise CortexError("E613", f"{who} is a function of '{node.name}', of which no range is known.",
                              "Compare a gate with a number instead.")
        argument, half = self._extent(node.name), 2 ** (self.options.widths.tables - 1)
        largest = min(argument.largest, TABLES_HEADROOM * self.options.peaks[f"{self.p.name}.{node.name}"])

        def function(points: Floats) -> Floats:
            with np.errstate(all="ignore"):
                found = evaluate(e.expression, lambda name: self.formats.arrays.get(name, points), lambda *_: points)
            return np.asarray(np.nan_to_num(found), np.float64)

        reach, entries = best_table(function, largest, half, found)
        name = f"{self.p.name}_{e.name}"
        self.formats.arrays[f"table.{name}"] = entries
        scaled = node * (half / reach)
        if argument.fraction <= np.log2(half / reach):
            return Lookup(name, scaled + (half + 0.5))
        between = Lookup(name, scaled + float(half), linear=True)
        extent(between, lambda _: argument, lambda _: found.extent, who)
        return found.wrap(between)

    def _copies(self, e: Equation) -> list[Equation]:
        """What is sent of a quantity, and what rules read of it, where that is narrower than the quantity itself."""
        result, name = [], f"{self.p.name}.{e.name}"
        for kind in ("sent", "factor"):
            whole = self.formats.narrowed(name, kind)
            if not self._wanted(e.name, kind) or whole == self._extent(e.name):
                continue
            jittered = kind == "factor" and self.formats.is_jittered(name)
            offset = Name(f"{e.name}_jitter") if jittered else Number(0.5)
            copy = Equation(f"{e.name}_{kind}", whole.format.wrap(Name(e.name), offset), e.stage, e.compartment)
            self.formats.copies[self.p.name, e.name, kind] = copy.name
            self.formats.extents[f"{self.p.name}.{copy.name}"] = whole
            result.append(copy)
        return result

    def _wanted(self, quantity: str, kind: str) -> bool:
        formats, projections = self.formats, self.graph.projections
        if kind == "sent":
            return any(q.pre == self.p.name and self.graph.class_of(q.name).message == quantity
                       and not formats.is_wire(q) for q in projections)
        return any(kind == formats.kind(q, node.name) and formats.owner(q, node.name) == (self.p.name, quantity)
                   for q in projections for node in read_of_cells(self.graph.rule_of(q)))

    def _state(self, state: State, name: str) -> State:
        """Of the quantity, or of a copy of it."""
        found, arrays = self._extent(name).format, self.formats.arrays
        if (first := arrays.get(f"{self.p.name}.{state.name}")) is not None:
            arrays[f"{self.p.name}.{name}"] = found.round(first)
        return State(name, simplify(found.wrap(state.initial)), found.dtype, found.unit)

    def _counters(self, equations: list[Equation]) -> list[Equation]:
        """Of what can saturate."""
        result = []
        for e in equations:
            held = rounding_of(e.expression)
            if held is None:
                continue
            worst = extent(held.inner, lambda node: self.formats.leaf(self.p, node.name), self._table, self.p.name)
            if worst.largest > (held.limit + 1) / held.scale:
                result.append(tally(e.name + COUNTER, held.beyond))
        return result

    def _table(self, name: str) -> Extent:
        return Extent(0, float(np.abs(self.formats.arrays[f"table.{name}"]).max()))


# ---- tables


REACHES, SAMPLES = 12, 4096
"""How many powers of two a table's reach is sought among, and where its error is measured."""


def best_table(function: Callable[[Floats], Floats], largest: float, half: int,
               found: Format) -> tuple[float, Floats]:
    """(reach, 2 * half entries from -reach up). `largest`: what the argument may be. The reach is the power of two that
    keeps the worst error of straight lines between the entries least."""
    top = 2.0 ** np.ceil(np.log2(largest)) if largest > 0 else 1.0
    best: tuple[float, float, Floats] | None = None
    for reach in (top / 2.0**k for k in range(REACHES + 1)):
        entries = found.round(function((np.arange(2 * half) - half) * (reach / half)))
        outside = np.geomspace(reach, max(largest, reach), SAMPLES // 16)
        inside = (np.arange(SAMPLES) + 0.5) / SAMPLES * 2 * reach - reach
        points = np.concatenate([-outside, inside, outside])
        place = np.clip(points * (half / reach) + half, 0, 2 * half - 1)
        error = float(np.abs(np.interp(place, np.arange(2 * half), entries) - function(points)).max())
        if best is None or error < best[0]:
            best = error, reach, entries
    assert best
    return best[1], best[2]
