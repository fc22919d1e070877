"""A circuit in fixed point against `reference.fixed_point`: its equations before they were quantised, as plain data,
and the formats that `quantise` chose.

Both must be equal to the bit: everything compared is an integer times a power of two, exact in float64.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import numpy as np

from cortexc.compiler.ir import CortexError, Equation, Expression, Graph
from cortexc.compiler.ir.expressions import Binary, Call, Lookup, Name, Node, Number, children, walk
from cortexc.compiler.ir.model import weight_copies, weight_shape
from cortexc.compiler.passes.fixed_point import rounding_of
from cortexc.compiler.passes.widths import is_counter
from cortexc.compiler.verify.oracles.base import followed, reference
from cortexc.compiler.verify.runs import Chunk, Setup

EXACT_BITS = 53


@dataclass(frozen=True)
class Source:
    """What was quantised: the graph before `name-products`, and the options that are no formats (see
    `cortexc.reference.fixed_point.Options`)."""

    graph: Graph
    significant: int = 12
    states: int = 24
    messages: int = 8
    factors: int = 8
    rounding: str = "stochastic"


def plain(value: Any) -> Any:
    """Dataclasses as dictionaries, expressions as tuples of their kind and parts."""
    if isinstance(value, tuple):
        return tuple(map(plain, value))
    if not is_dataclass(value):
        return value
    found = {each.name: plain(getattr(value, each.name)) for each in fields(value)}
    return (type(value).__name__, *found.values()) if isinstance(value, Node) else found


def evaluator(setup: Setup, source: Source) -> Any:
    """Raises V121 without torch, V122 for what has no integer reference, V128 for constants and tables
    that are not its."""
    fixed_point, integers = map(reference, ("fixed_point", "integers"))
    graph = setup.graph
    options = {each.name: getattr(source, each.name) for each in fields(source) if each.name != "graph"}
    try:
        if graph.samples > 1 or any(weight_copies(graph, q.name) != graph.seeds for q in graph.projections
                                    if weight_shape(graph, q)):
            raise ValueError("several samples or seeds that share their weights")
        return fixed_point.FixedPoint(plain(source.graph), _Formats(graph, integers).found(fixed_point.Formats),
                                      fixed_point.Options(**options), setup.seeds)
    except integers.DishonestRegister as error:
        raise CortexError("V128", f"the quantised circuit is not the circuit: {error}.") from None
    except (ValueError, OverflowError) as error:
        raise CortexError("V122", f"the integer reference has no such circuit: {error}.",
                          "Verify it against the interpreter: --reference interpreter.") from None


class _Formats:
    """Read back from a quantised graph."""

    def __init__(self, graph: Graph, integers: Any):
        self.graph, self.integers = graph, integers
        self.rounded: dict[str, Any] = {}
        self.tables: dict[str, Any] = {}
        self.draws: dict[str, str] = {}
        self.guarded: set[str] = set()
        self.constants: dict[str, frozenset[float]] = {}

    def found(self, kind: Any) -> Any:
        first, weights = dict[str, Any](), dict[str, Any]()
        for p in self.graph.populations:
            for e in self.graph.cell(p.cell).equations:
                self._equation(p.name, e)
            first |= {f"{p.name}.{s.name}": self._typed(s) for s in self.graph.cell(p.cell).states}
        for q in self.graph.projections:
            synapse, rule = self.graph.class_of(q.name), self.graph.rule_of(q)
            if rule:
                self.rounded |= {f"{q.name}.{s.name}": self._typed(s) for s in rule.states}
                kept = [u.expression for u in rule.updates if not is_counter(u.name)]
                self.constants[q.name] = frozenset().union(*map(_constants, [_in_units(rule.increment), *kept]))
            if synapse.unit and synapse.connectivity != "identity":
                low, high = (round(limit / synapse.unit) for limit in synapse.limits)
                register = self.integers.Register(_fraction(synapse.unit), max(-low, high))
                weights[q.name] = register, low, high
        read = (word.partition(":")[2] for mirror in self.graph.mirrors for word in mirror.operations)
        arrays = {name: self.graph.arrays[name] for name in read if name}
        spans = {name: (float(a.min(initial=0.0)), float(a.max(initial=0.0))) for name, a in arrays.items()}
        return kind(self.rounded, first, weights, self.tables, self.draws, frozenset(self.guarded), self.constants,
                    spans)

    def _typed(self, state: Any) -> Any:
        """Of a state with an integer type."""
        bits = int(state.dtype.removeprefix("int")) if state.dtype != "float64" else EXACT_BITS
        return self.integers.Register(_fraction(state.scale), 2**(bits - 1) - 1)

    def _equation(self, population: str, e: Equation) -> None:
        key, inner = f"{population}.{e.name}", e.expression
        if held := rounding_of(inner):
            inner = held.inner
            self.rounded[key] = self.integers.Register(round(math.log2(held.scale)), int(held.limit))
            if isinstance(held.offset, Name):
                self.draws[key] = f"{population}.{held.offset.name}"
            if any(map(rounding_of, walk(inner))):
                self.guarded.add(key)
        self.constants[key] = _constants(inner)
        if isinstance(inner, Lookup):
            self.tables[key] = self._table(inner)

    def _table(self, found: Lookup) -> Any:
        """Entries as integers of the coarsest unit that holds them all, and K of the index q * K + H."""
        import torch

        values = np.asarray(self.graph.arrays[f"table.{found.table}"], dtype=np.float64)
        fraction = max((value.as_integer_ratio()[1].bit_length() - 1 for value in values.tolist()), default=0)
        units, per = next(n.value for n in walk(found.index) if isinstance(n, Number)).as_integer_ratio()
        entries = torch.from_numpy(np.ldexp(values, fraction).astype(np.int64))
        return self.integers.Table(entries, fraction, units, per.bit_length() - 1, found.linear)


def _constants(e: Expression) -> frozenset[float]:
    """Magnitudes of all numbers, but for those of formats."""
    if isinstance(e, Number):
        return frozenset({abs(e.value)})
    held = rounding_of(e)
    parts = (held.inner,) if held else children(e)
    return frozenset().union(*map(_constants, parts))


def _in_units(increment: Expression) -> Expression:
    """x of `unit * floor(x + offset)`."""
    found = next(node for node in walk(increment) if isinstance(node, Call) and node.function == "floor")
    (argument,) = found.arguments
    assert isinstance(argument, Binary)
    return argument.left


def _fraction(unit: float) -> int:
    return round(-math.log2(unit))


# ---- trajectories


def trajectory(setup: Setup, source: Source, wanted: Sequence[str], steps: int, chunk: int = 100) -> Iterator[Chunk]:
    """The evaluator's, under the graph's names."""
    return rows(setup, evaluator(setup, source), wanted, steps, chunk)


def rows(setup: Setup, model: Any, wanted: Sequence[str], steps: int, chunk: int = 100) -> Iterator[Chunk]:
    """What a model has of the wanted quantities, step by step."""
    def step(*stimulus: Any) -> Chunk:
        model.step(*stimulus)
        shot = {name: model.value(name) for name in wanted}
        return {name: number(name, exact) for name, exact in shot.items() if exact is not None}

    return followed(setup, step, steps, chunk)


def number(name: str, exact: Any) -> np.ndarray:
    """In float64. Raises V127 beyond 53 bits."""
    units = exact.units.numpy()
    if units.size and np.abs(units).max() >= 2**EXACT_BITS:
        raise CortexError("V127", f"'{name}' takes more than {EXACT_BITS} bits.")
    return np.ldexp(units.astype(np.float64), -exact.fraction)
