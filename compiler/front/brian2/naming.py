"""What names of Brian2 objects mean outside of them: constants, units, functions; and how they are called here."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from cortexc.compiler.front.brian2.translating import Translator, names_in, refusal
from cortexc.compiler.front.brian2.units import of_number, powers, text, to_graph
from cortexc.compiler.ir import Expression, Name, Number, Parameter
from cortexc.compiler.ir.evaluation import evaluate, no_history
from cortexc.compiler.ir.firing import fresh
from cortexc.compiler.ir.language import UNREADABLE, WORDS

NEVER = ("lastspike", "lastupdate")
"""Variables that Brian2 keeps and a graph does not."""
UNKNOWN = ("t", "t_in_timesteps", "not_refractory", "N_incoming", "N_outgoing", *NEVER)
"""Variables that neither synapses nor monitors can read."""


def plain(name: str, taken: set[str]) -> str:
    """A name like this one that is not taken and has no meaning of its own; from now on it is taken."""
    word = re.sub(r"\W", "_", name, flags=re.ASCII)[:80]
    word = word if re.match(r"[A-Za-z_]", word) else f"n_{word}"
    found = fresh(word, taken | set(UNREADABLE) | set(WORDS))
    taken.add(found)
    return found


class Owner:
    """A Brian2 object with variables, and the parameters that a cell or rule of it gets.

    `arrays`: parameter -> a number, or one per element. `names`: Brian2's name -> ours.
    """

    def __init__(self, group: Any, namespace: Mapping[str, Any], steps: int, taken: set[str] | None = None):
        self.group, self.namespace, self.steps = group, namespace, steps
        self.where = f"{type(group).__name__} '{group.name}'"
        self.dt = float(group.clock.dt_)
        self.taken: set[str] = set() if taken is None else taken
        self.names: dict[str, str] = {}
        self.parameters: dict[str, Parameter] = {}
        self.arrays: dict[str, np.ndarray] = {}

    def own(self, name: str) -> str:
        """Our name of a variable."""
        if name not in self.names:
            self.names[name] = plain(name, self.taken)
        return self.names[name]

    def variable(self, name: str) -> Any:
        """Brian2's variable, constant or function. Raises U104."""
        try:
            return self.group._resolve(name, self.namespace, user_identifier=False)
        except KeyError:
            raise refusal(name, self.where, "the name means nothing", "Say namespace={...}.") from None

    def resolved(self, equations: Any) -> dict[str, Any]:
        """Brian2's variables of equations, for its own solvers. Raises U104."""
        names = equations.names | equations.identifiers | {"dt"}
        return {name: self.variable(name) for name in names}

    def constant(self, name: str) -> Expression:
        """A constant from outside: a unit is a number, others are parameters."""
        variable = self.variable(name)
        if not hasattr(variable, "get_value") or not np.ndim(variable.get_value()) == 0:
            raise refusal(name, self.where, "it is no number")
        dimensions, value = powers(variable.dim), float(variable.get_value())
        if _is_unit(name, self.namespace):
            return Number(float(to_graph(value, dimensions)), of_number(dimensions))
        return Name(self.parameter(name, to_graph(value, dimensions), text(dimensions)))

    def parameter(self, name: str, value: np.ndarray, unit: str) -> str:
        """Our name of one with this value, or these values."""
        if name in self.names:
            return self.names[name]
        value = np.asarray(value, np.float64)
        same = value.size and np.all(value == value.flat[0])
        default = float(value.flat[0]) if same else None
        self.parameters[name] = Parameter(self.own(name), unit, default)
        if not same:
            self.arrays[self.own(name)] = value
        return self.own(name)

    def timed(self, function: str, arguments: list[ast.expr]) -> np.ndarray | None:
        """(steps,) or (steps, n) of a TimedArray in the graph's units; None for other functions. Raises U104."""
        from brian2 import TimedArray

        if not isinstance(found := self.variable(function), TimedArray):
            return None
        reads = [names_in(argument) for argument in arguments]
        if len(reads) != found.values.ndim or reads[0] - {"t", "dt"} or any(names - {"i"} for names in reads[1:]):
            said = ", ".join(map(ast.unparse, arguments))
            raise refusal(f"{function}({said})", self.where,
                          "an array over time is read at a time made of t and dt, and at columns made of i")
        at = {"t": np.arange(self.steps) * self.dt, "dt": np.array(self.dt), "i": np.arange(len(self.group))}
        read = Translator(Name, lambda *_: None, self.where)
        time, *columns = (evaluate(read(argument), at.__getitem__, no_history) for argument in arguments)
        step = max(int(2 ** np.ceil(np.log2(8 / self.dt * found.dt))), 1)
        rows = np.clip((np.round(time / (found.dt / step)) / step).astype(np.int64), 0, len(found.values) - 1)
        values = to_graph(found.values[rows], powers(found.dim))
        return values[:, np.asarray(columns[0], np.int64)] if columns else values

def _is_unit(name: str, namespace: Mapping[str, Any]) -> bool:
    from brian2 import Unit
    from brian2.units.allunits import all_units

    known = namespace.get(name)
    return isinstance(known, Unit) or known is None and any(str(unit) == name or unit.name == name
                                                           for unit in all_units)
