"""The integer references, fed with the registers, inputs, gates and draws of a quantised circuit.

From the quantised graph come registers as plain data: of every equation its width and its coefficients in the order
of its terms, of every table its entries, of every weight its unit. Reference and compiled program must be equal to the
bit: everything compared is an integer times a power of two, exact in float64. Torch is imported when it is asked for.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from cortexc.compiler.ir import CellType, CortexError, Equation, Expression, Graph, PlasticityRule, Projection
from cortexc.compiler.ir.expressions import Binary, Call, Lookup, Name, Negate, Number, Prev, Where, walk
from cortexc.compiler.verify.runs import WINDOW_BYTES, Chunk, Setup, Stimulus, blocks, missing

COPIES = ("sent", "factor")
COMPARISONS = ("<", "<=", ">", ">=", "==", "!=")
EXACT_BITS = 53


def torch_module() -> Any:
    """Raises V121 where torch is not installed."""
    try:
        import torch
    except ImportError as error:
        raise missing("reference", error) from None
    torch.set_num_threads(1)
    return torch


# ---- coefficients of an equation


def dyadic(value: float) -> tuple[int, int]:
    """(units, fraction) with value = units * 2**-fraction."""
    numerator, denominator = float(value).as_integer_ratio()
    return numerator, denominator.bit_length() - 1


def terms(expression: Expression, factor: float = 1.0) -> list[float]:
    """The coefficient of every term of a sum of products, branches of `where` in order; then numbers of comparisons.
    A product with a sum inside it is one term."""
    match expression:
        case Binary("+", left, right):
            return terms(left, factor) + terms(right, factor)
        case Binary("-", left, right):
            return terms(left, factor) + terms(right, -factor)
        case Negate(operand):
            return terms(operand, -factor)
        case Where(condition, then, otherwise):
            return terms(then, factor) + terms(otherwise, factor) + thresholds(condition)
        case Binary(operator) if operator in COMPARISONS:
            return thresholds(expression)
        case Number(value):
            return [factor * value]
    return [factor * _coefficient(expression)]


def thresholds(condition: Expression) -> list[float]:
    return [node.value for node in walk(condition) if isinstance(node, Number)]


def _coefficient(expression: Expression) -> float:
    match expression:
        case Number(value):
            return value
        case Negate(operand):
            return -_coefficient(operand)
        case Binary("*", left, right):
            return _coefficient(left) * _coefficient(right)
    return 1.0


def coefficients(expression: Expression) -> list[tuple[int, int]]:
    return [dyadic(value) for value in terms(expression) if value != 0]


# ---- registers


def registers(graph: Graph, names: Mapping[str, str], significant: int) -> dict[str, Any]:
    """Of the quantities in `names` (the reference's name -> `population.quantity`) and of all projections with weights,
    under their own names."""
    found = _Registers(graph, significant)
    for name, quantity in names.items():
        found.add(name, *quantity.split("."))
    for place, projection in enumerate(graph.projections):
        found.add_synapses(projection, place)
    return found.data


class _Registers:
    def __init__(self, graph: Graph, significant: int):
        self.graph = graph
        self.data: dict[str, Any] = {"significant": significant, "quantities": {}, "coefficients": {}, "tables": {},
                                     "start": {}, "synapses": {}, "jitters": {}, "rules_read": "sent"}

    def add(self, name: str, population: str, quantity: str) -> None:
        """One quantity with its copies; those that the circuit has no more are left out."""
        cell = self.graph.cell_of(population)
        equation = cell.equation(quantity)
        if equation is None:
            return
        self._equation(name, equation, cell)
        for copy in COPIES:
            if copied := cell.equation(f"{quantity}_{copy}"):
                self.data["quantities"][f"{name}_{copy}"] = register(copied.expression)
                if isinstance(offset := copied.expression.arguments[3], Name):  # type: ignore[attr-defined]
                    self.data["jitters"][f"{name}_{copy}"] = f"{population}.{offset.name}"
        self._start(name, population, quantity, cell)

    def _equation(self, name: str, equation: Equation, cell: CellType) -> None:
        expression, state = equation.expression, cell.state(equation.name)
        if isinstance(expression, Call) and expression.function == "fixed":
            self.data["quantities"][name] = register(expression)
            expression = expression.arguments[0]
        if isinstance(expression, Lookup):
            self.data["tables"][name] = table(self.graph, expression, round(-math.log2(state.scale)) if state else None)
            return
        if not equation.name.endswith("_in"):
            self.data["coefficients"][name] = coefficients(expression)

    def _start(self, name: str, population: str, quantity: str, cell: CellType) -> None:
        state, array = cell.state(quantity), self.graph.arrays.get(f"{population}.{quantity}")
        if state is not None and array is not None:
            fraction = round(-math.log2(state.scale))
            self.data["start"][name] = {"units": whole_units(array, fraction, 1), "fraction": fraction}

    def add_synapses(self, q: Projection, place: int) -> None:
        """Weights, limits and rule of a projection."""
        graph, synapse = self.graph, self.graph.class_of(q.name)
        if f"{q.name}.w" not in graph.arrays:
            return
        fraction, rank = round(-math.log2(synapse.unit)), 2
        data = {"fraction": fraction, "units": whole_units(graph.arrays[f"{q.name}.w"], fraction, rank),
                "low": round(synapse.limits[0] / synapse.unit), "high": round(synapse.limits[1] / synapse.unit)}
        mask = graph.arrays.get(f"{q.name}.mask")
        if mask is not None and synapse.kind.mask == "array":
            data["mask"] = whole_units(mask != 0, 0, rank)
        self.data["synapses"][q.name] = data | self._rule(q, place)

    def _rule(self, q: Projection, place: int) -> dict[str, Any]:
        rule = self.graph.rule_of(q)
        if rule is None:
            return {}
        kind = dict(rule.noise).get("rounding", "nearest").removesuffix("_weights")
        found: dict[str, Any] = {"place": place, "draws": kind, "kind": "none"}
        message = self.graph.class_of(q.name).message.removesuffix("_sent")
        if f"pre.{message}_factor" in {node.name for node in walk_rule(rule) if isinstance(node, Name | Prev)}:
            self.data["rules_read"] = "factor"
        if self.graph.cell_of(q.post).equation(f"credit_{q.name}"):
            found["kind"] = "credited"
        update = next((each.expression for each in rule.updates if each.name == "tag"), None)
        if update is not None:  # all others count
            found["kind"] = "accumulate" if _forgets(update) else "low_pass"
            stored = next(node for node in walk(update) if isinstance(node, Call) and node.function == "fixed")
            found["tag"] = register(stored)
            self.data["coefficients"][f"{q.name}.tag"] = coefficients(stored.arguments[0])
        self.data["coefficients"][f"{q.name}.step"] = coefficients(_in_units(rule.increment))
        return found


def _forgets(update: Expression) -> bool:
    """Whether a tag is 0 after it has been applied."""
    return isinstance(update, Number) or isinstance(update, Where) and update.then == Number(0.0)


def walk_rule(rule: PlasticityRule) -> Iterator[Expression]:
    for expression in (rule.increment, *(update.expression for update in rule.updates)):
        yield from walk(expression)


def register(expression: Expression) -> dict[str, int]:
    """Of `fixed(x, scale, limit, offset)`."""
    assert isinstance(expression, Call) and expression.function == "fixed"
    _, scale, limit, _ = expression.arguments
    assert isinstance(scale, Number) and isinstance(limit, Number)
    return {"fraction": round(math.log2(scale.value)), "limit": int(limit.value)}


def _in_units(increment: Expression) -> Expression:
    """x of `unit * floor(x + offset)`."""
    found = next(node for node in walk(increment) if isinstance(node, Call) and node.function == "floor")
    (argument,) = found.arguments
    assert isinstance(argument, Binary) and argument.operator == "+"
    return argument.left


def table(graph: Graph, found: Lookup, fraction: int | None) -> dict[str, Any]:
    """Entries as integers (fraction none: of the coarsest unit that holds them all), and K of the index q * K + H
    (+ 1/2 without lines between the entries)."""
    values = np.asarray(graph.arrays[f"table.{found.table}"], dtype=np.float64)
    if fraction is None:
        fraction = max((dyadic(value)[1] for value in values.tolist()), default=0)
    scale = next(node.value for node in walk(found.index) if isinstance(node, Number))
    units, scale_fraction = dyadic(scale)
    return {"entries": whole_units(values, fraction, 2)[0], "fraction": fraction, "scale_units": units,
            "scale_fraction": scale_fraction, "linear": found.linear}


def whole_units(values: Any, fraction: int, rank: int) -> Any:
    """An array as integers (int64 tensor), with a leading axis. Raises V127 for what is no multiple of the unit."""
    torch = torch_module()
    units = np.asarray(values, dtype=np.float64) * 2.0**fraction
    if (units != np.floor(units)).any() or np.abs(units).max(initial=0.0) >= 2.0**EXACT_BITS:
        raise CortexError("V127", f"an array of the quantised circuit is no multiple of 2**-{fraction}.")
    tensor = torch.from_numpy(np.ascontiguousarray(units)).to(torch.int64)
    return tensor if tensor.ndim > rank else tensor.unsqueeze(0)


# ---- trajectories


def values_of(snapshot: Mapping[str, Any]) -> Chunk:
    """Exact numbers as float64. Raises V127 beyond 53 bits."""
    found = {}
    for name, exact in snapshot.items():
        units = exact.units.numpy()
        if units.size and np.abs(units).max() >= 2**EXACT_BITS:
            raise CortexError("V127", f"'{name}' takes more than {EXACT_BITS} bits.")
        found[name] = np.ldexp(units.astype(np.float64), -exact.fraction)
    return found


def rows(setup: Setup, step: Any, names: Mapping[str, str], steps: int, chunk: int = 100) -> Iterator[Chunk]:
    """`step(inputs, gates, noise)` returns a snapshot; its trajectory under the graph's names."""
    stimulus = Stimulus(setup)
    found: list[Chunk] = []
    held = 0
    for block in blocks(setup, steps, chunk):
        for t in range(len(block.gates)):
            shot = values_of(step(*stimulus.step(block, t)))
            found.append({quantity: shot[name] for name, quantity in names.items() if name in shot})
            held += sum(value.nbytes for value in found[-1].values())
            if held > WINDOW_BYTES:
                yield _stacked(found)
                found, held = [], 0
    if found:
        yield _stacked(found)


def _stacked(found: list[Chunk]) -> Chunk:
    return {name: np.stack([row[name] for row in found]) for name in found[0]}


def with_copies(names: Mapping[str, str]) -> dict[str, str]:
    """What is sent of a quantity, and what rules read of it, too."""
    return {f"{name}{end}": f"{quantity}{end}" for name, quantity in names.items()
            for end in ("", *(f"_{copy}" for copy in COPIES))}


def synaptic_names(graph: Graph) -> dict[str, str]:
    """Currents, weights and tags have the graph's own names."""
    found = [f"{q.name}.{what}" for q in graph.projections for what in ("current", "w", "tag")]
    return {name: name for name in found}
