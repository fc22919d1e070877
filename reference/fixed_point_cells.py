"""Populations in fixed point: items 2 to 6 of docs/fixed_point.md."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cached_property, partial
from typing import Any

import torch
from torch import Tensor

from cortexc.reference.equations import Cell, Tree, folded, leaves, put, real
from cortexc.reference.fixed_point_values import Memory, value_of
from cortexc.reference.integers import BITS_OF_UNIFORM, HALF, Exact, Register, choose

GUARD = 8
"""Bits below the unit of a result to which the terms of a sum are rounded that does not fit (item 2)."""
DRAW = Register(BITS_OF_UNIFORM, 2**BITS_OF_UNIFORM)


def of_quantity(e: Tree, x: Tensor) -> Tensor:
    """A function of one quantity; 0 where it has no value."""
    return torch.nan_to_num(real(e, lambda leaf: x), nan=0.0)


class Population:
    """One population: its quantities of this step, each computed when it is first asked for."""

    def __init__(self, memory: Memory, data: Mapping[str, Any], cell: Mapping[str, Any]) -> None:
        self.memory, self.name, self.size, self.data = memory, data["name"], data["size"], cell
        defaults = {p["name"]: p["default"] for p in cell["parameters"]}
        given = {"dt": memory.circuit["dt"]} | defaults | dict(data["parameters"])
        self.numbers = {name: value for name, value in given.items() if memory.array(f"{self.name}.{name}") is None}
        values = {name: ("Number", value) for name, value in self.numbers.items()}
        equations = [(e["name"], e["stage"], put(e["expression"], values)) for e in cell["equations"]]
        self.ports, self.noise = [port["name"] for port in cell["ports"]], dict(cell["noise"])
        self.states = {s["name"]: folded(put(s["initial"], values)) for s in cell["states"]}
        self.cell = Cell(equations, list(self.states), self.ports, memory.options.significant)
        self._prepare()
        self.depth = max((leaf[2] for e in self.cell.found.values() for leaf in leaves(e) if leaf[0] == "Prev"),
                         default=0)

    def _prepare(self) -> None:
        """Leaves out functions that only other functions read, which have no table; checks tables and constants."""
        tables = self.memory.formats.tables
        for name, e in self.cell.tables.items():
            if (table := tables.get(f"{self.name}.{name}")) is None:
                del self.cell.found[name]
            else:
                table.check(f"{self.name}.{name}", partial(of_quantity, e))
        for name in self.cell.found.keys() - self.cell.tables.keys():
            self.memory.formats.check(f"{self.name}.{name}", self.cell.found[name], self.memory.options.significant)

    def begin(self) -> None:
        """First values: rounded, and their copies (item 6)."""
        memory, formats = self.memory, self.memory.formats
        for name, e in self.states.items():
            key, array = f"{self.name}.{name}", self.memory.array(f"{self.name}.{name}")
            value = real(e, lambda leaf: self._first(leaf[1]).real) if array is None else array
            memory.now[key] = self._wide(formats.first[key].entering(value))
            value = value if array is None else memory.now[key].real
            for copy in (f"{key}_sent", f"{key}_factor"):
                if copy in formats.rounded:
                    memory.now[copy] = self._wide(formats.rounded[copy].entering(value))

    def _first(self, name: str) -> Exact:
        key = f"{self.name}.{name}"
        return self.memory.now[key] if key in self.memory.now else self._array(name)

    def _wide(self, value: Exact) -> Exact:
        """A value per cell and network."""
        return Exact(value.units.expand(len(self.memory.seeds), self.size), value.fraction)

    def compute(self) -> None:
        """All of this step."""
        for name in (*self.data["inputs"], *self.noise, *self.cell.found):
            self.get(name)

    def get(self, name: str) -> Exact:
        """A quantity of this step."""
        if name.startswith("gate."):
            return self.memory.gates[name[5:]]
        if name in self.data["inputs"] or name in self.noise:
            return self._entered(name)
        if name in self.ports:
            return self._sum(name)
        if name not in self.cell.found:
            return self._array(name)
        key = f"{self.name}.{name}"
        if key not in self.memory.now:
            self._compute(name, key)
        return self.memory.now[key]

    def _look(self, leaf: Tree) -> Exact:
        """A name in an equation."""
        return self.get(leaf[1]) if leaf[0] == "Name" else self.memory.past[leaf[2] - 1][f"{self.name}.{leaf[1]}"]

    def _entered(self, name: str) -> Exact:
        """An input or draw, rounded where it enters; uniform draws downward (item 5)."""
        key = f"{self.name}.{name}_in"
        if key not in self.memory.now:
            values = torch.as_tensor(self.memory.exogenous[f"{self.name}.{name}"])
            register, down = self.memory.formats.rounded[key], self.noise.get(name) == "uniform"
            self.memory.now[key] = self._wide(register.entering(values, down))
        return self.memory.now[key]

    def _array(self, name: str) -> Exact:
        """A parameter with a value per cell, in the finest format of a state's width that holds them."""
        values = self.memory.array(f"{self.name}.{name}")
        assert values is not None
        bits, peak = self.memory.options.states - 1, float(values.abs().max() if values.numel() else 0.0) or 1.0
        fraction = bits - math.ceil(math.log2(peak))
        fraction -= peak > (2**bits - 1) * 2.0**-fraction
        return self._wide(Register(fraction, 2**bits - 1).entering(values))

    def _sum(self, port: str) -> Exact:
        """The exact sum of all currents."""
        total = self._wide(Exact(torch.zeros(1, 1, dtype=torch.int64)))
        for q in self.memory.projections.values():
            if (q.post, q.port) == (self.name, port):
                total = total + q.current()
        return total

    def _compute(self, name: str, key: str) -> None:
        """An equation: exactly, then rounded once where it has a register; and its copies (items 2, 4, 6)."""
        formats, e = self.memory.formats, self.cell.found[name]
        register, table = formats.rounded.get(key), formats.tables.get(key)
        if table:
            value = table.look_up(self._look(next(leaves(e))))
        elif key in formats.guarded and register:
            value = self._guarded(e, Register(register.fraction + GUARD, 2**62))
        else:
            value = value_of(e, self._look)
        value = self._wide(register.rounded(value) if register else value)
        self.memory.now[key] = value
        for copy in (f"{key}_sent", f"{key}_factor"):
            if copy in formats.rounded:
                self.memory.now[copy] = formats.rounded[copy].rounded(value, self._offset(copy))

    def _guarded(self, e: Tree, register: Register) -> Exact:
        if e[0] == "Where":
            condition, then, otherwise = value_of(e[1], self._look), *(self._guarded(part, register) for part in e[2:])
            return choose(condition.units != 0, then, otherwise)
        if e[:2] in (("Binary", "+"), ("Binary", "-")):
            first, second = (self._guarded(part, register) for part in e[2:])
            return first + second if e[1] == "+" else first - second
        value = value_of(e, self._look)
        return value if value.fraction <= register.fraction else register.rounded(value)

    def _offset(self, copy: str) -> Exact:
        """What rounding of a copy adds: 1/2, or a draw to 24 bits."""
        draw = self.memory.formats.draws.get(copy)
        return DRAW.entering(torch.as_tensor(self.memory.exogenous[draw]), downward=True) if draw else HALF

    @cached_property
    def same_step(self) -> set[str]:
        """What depends on this step's ports."""
        found = set(self.ports)
        reading = [(e["name"], {leaf[1] for leaf in leaves(e["expression"]) if leaf[0] == "Name"})
                   for e in self.data["equations"]]
        for _ in reading:
            found |= {name for name, read in reading if read & found}
        return found
