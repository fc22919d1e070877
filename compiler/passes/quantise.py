"""quantise: every equation, message, factor and weight becomes a fixed-point number.

before    receive u = 0.8 * prev(u) + basal              rule: increment 0.01 * post.error * pre.rate
after     receive u = fixed(0.8 * prev(u) + basal,       noise rounding uniform
                            65536, 8388607, 0.5)         increment unit * floor(0.64 * post.error_factor * pre.rate_sent
          receive u_sent = fixed(u, 128, 127, 0.5)                              + rounding)

An equation is computed exactly from fixed-point operands, then rounded once to the nearest number of its format, and
saturated. What is sent or read by a rule is a copy with the width of a message or factor. Functions become tables.
A weight moves by whole units: the increment is rounded at random (one number per synapse, or one for all, as Lava
does), or to the nearest. Low-passed and summed increments are kept in a tag of the synapse.

Formats come from `peaks`: the greatest magnitude of every quantity in a calibration run, by name. With `count`, a
quantity that range analysis cannot exclude from saturating counts, per cell, the steps in which it does (relays, which
have no state, do not count).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np

from compiler.ir import CellType, CortexError, Equation, Expression, Graph, PlasticityRule, Population, Projection
from compiler.ir.expressions import Binary, Call, Lookup, Name, Negate, Number, Prev, Where, rename, substitute, walk
from compiler.ir.model import OPTIMISERS, Mirror, Optimiser, State, SynapseClass
from compiler.ir.verify import bounds
from compiler.passes.base import Request
from compiler.passes.evaluation import evaluate
from compiler.passes.fixed_point import Extent, Format, extent, format_for
from compiler.passes.fold import literal, simplify
from compiler.passes.legalise import terms_of
from compiler.passes.name_products import is_table, normal, quantities
from compiler.passes.specialise import merge_equal
from compiler.passes.tables import best_table

ROUNDING = ("stochastic", "shared", "lava", "nearest")
"""A number per synapse; one for all synapses; the one that a stock LearningDense would draw; none."""
LAVA_BITS = 24
"""So much of Lava's number counts, so that sums with it stay exact."""
COUNTER = "_saturated"
"""What the count of a quantity's saturation is called behind its name."""
NONZERO, UNDERFLOWED = "_nonzero", "_underflowed"
"""The same of its values that are not 0 before they are rounded, and of those that then are."""
RESOLUTION = 2.0**-24
"""The least share of a unit that the random numbers tell from 0."""
TAGGED = tuple(kind for kind, traits in OPTIMISERS.items() if traits.integers)
GATE_BITS = 8
"""Fraction of a gate that rules are multiplied with."""
GUARD = 8
"""Bits below the unit of a result to which terms are rounded where their exact sum would not fit."""
HEADROOM, STATES_HEADROOM, TABLES_HEADROOM = 2.0, 16.0, 4.0
"""How much larger than in the calibration run a weight or a table's value may become, a state, a table's argument."""


@dataclass(frozen=True)
class Widths:
    """Bits of each kind of number, with the sign. `states`: what a cell keeps; `messages`: what it sends; `factors`:
    what a rule reads besides; `weights` (without a sign where they have none); `tags`: what a synapse keeps beside its
    weight; `tables`: log2 of a table's entries; `values`: of its entries; `coefficients`: of a constant."""

    states: int = 24
    messages: int = 8
    factors: int = 8
    weights: int = 8
    tags: int = 9
    tables: int = 10
    values: int = 16
    coefficients: int = 12


@dataclass(frozen=True)
class Quantise:
    """`formats`: formats of single quantities and weights (`PC1.u`, `W_1.w`), which come before all others.
    `least_scale`: of a product of two factors in a learning engine's integers; where a rule's scale is smaller, its
    postsynaptic factor gets larger units and is rounded at random in the cell; with `factor_rounding` "stochastic" all
    factors are. Raises E610 to E615."""

    peaks: Mapping[str, float]
    widths: Widths = Widths()
    rounding: str = "stochastic"
    formats: Mapping[str, Format] = field(default_factory=dict)
    count: bool = False
    least_scale: float = 0.0
    factor_rounding: str = "nearest"
    name: ClassVar[str] = "quantise"
    fidelity: ClassVar[str] = "rounded"

    def apply(self, graph: Graph, request: Request) -> Graph:
        if self.rounding not in ROUNDING:
            raise CortexError("E614", f"rounding '{self.rounding}' is unknown.", f"Known: {', '.join(ROUNDING)}.")
        return merge_equal(_Quantiser(graph, self).result())

    def format(self, name: str, bits: int, unsigned: bool = False, headroom: float = HEADROOM) -> Format:
        """`headroom`: how much larger than in the calibration run a quantity may become."""
        if name in self.formats:
            return self.formats[name]
        if name not in self.peaks:
            raise CortexError("E613", f"quantise knows no range of '{name}'.", "Calibrate the circuit first.")
        return format_for(self.peaks[name] * headroom, bits, unsigned)


def is_counter(name: str) -> bool:
    """Whether a state counts instead of being a quantity of the circuit."""
    return name.endswith((COUNTER, NONZERO, UNDERFLOWED))


def least_step(rounding: str) -> float:
    """Which share of a unit an increment must have to move anything, now or on average."""
    return 0.5 if rounding == "nearest" else RESOLUTION


class _Quantiser:
    """The circuit on its way; every population has a cell type and every projection a class of its own."""

    def __init__(self, graph: Graph, options: Quantise):
        self.graph, self.options, self.arrays = graph, options, dict(graph.arrays)
        self.weights = {q.name: self._weight_format(q) for q in graph.projections
                        if graph.class_of(q.name).connectivity != "identity"}
        given = [(mirror, self.weights[mirror.source], self._mirror_formats(mirror)) for mirror in graph.mirrors]
        for each in given:
            self._check_mirror(*each)
        self.extents: dict[str, Extent] = {}
        self.coarse: dict[str, Format] = {}
        self.copies: dict[tuple[str, str, str], str] = {}
        """(population, quantity, `sent` or `factor`) -> name of the copy."""

    def _weight_format(self, q: Projection) -> Format:
        low, _ = bounds(self.graph.class_of(q.name))
        return self.options.format(f"{q.name}.w", self.options.widths.weights, unsigned=low >= 0)

    def _mirror_formats(self, mirror: Mirror) -> int:
        """What is added or multiplied with is rounded so that the result has the units of the target, which may get
        another format. Returns the fraction of the result. Raises E615 for what is drawn."""
        words = [operation.partition(":") for operation in mirror.operations]
        fraction = self.weights[mirror.source].fraction
        found = self._format_of_target(mirror, [word for word, _, _ in words])
        for index, (word, _, name) in enumerate(words):
            if word == "redraw":
                raise CortexError("E615", f"mirror '{mirror.target}' draws real numbers, which have no integer form.",
                                  "Use fixed magnitudes.")
            before = fraction
            fraction = 0 if word == "sign" else found.fraction if word == "times" else fraction
            if word == "add" and not any(later == "times" for later, _, _ in words[index:]):
                fraction = found.fraction
            if name:
                unit = replace(found, fraction=fraction - before if word == "times" else fraction)
                self.arrays[name] = unit.round(self.arrays[name])
        self.weights[mirror.target] = found
        return fraction

    def _format_of_target(self, mirror: Mirror, words: list[str]) -> Format:
        """A copy's is that of its source, with a bit more where something is added. Signs and multiples of weights
        keep the target's own, multiples with a unit no coarser than the source's."""
        source, target = self.weights[mirror.source], self.weights[mirror.target]
        if "sign" in words:
            return target
        if "times" in words:
            finer = max(source.fraction - target.fraction, 0)
            return replace(target, bits=target.bits + finer, fraction=target.fraction + finer)
        return Format(source.bits + source.unsigned + ("add" in words), source.fraction)

    def _check_mirror(self, mirror: Mirror, source: Format, fraction: int) -> None:
        """Raises E615 where later mirrors changed the formats that this one was given."""
        found = self.weights[mirror.target]
        if self.weights[mirror.source].fraction > source.fraction or fraction > found.fraction:
            raise CortexError("E615", f"mirror '{mirror.target} = {mirror.source}' gives weights that are no whole "
                                      f"numbers of the units of '{mirror.target}', {found.unit:g}.",
                              "Give the weights of both one format, and declare mirrors before those that copy on.")

    def result(self) -> Graph:
        for p in self.graph.populations:
            self._note_extents(p)
        for p in self.graph.populations:
            self._note_small(p)
        for q in self.graph.projections:
            self._note_coarse(q)
        cells = [self._cell(p) for p in self.graph.populations]
        parts = [self._projection(q) for q in self.graph.projections]
        return self.graph.with_(cells=tuple(cells), synapses=tuple(s for s, _, _ in parts),
                                rules=tuple(r for _, r, _ in parts if r), projections=tuple(q for _, _, q in parts),
                                arrays=self.arrays)

    # ---- cells

    def _note_extents(self, p: Population) -> None:
        """What every quantity is when it has been rounded."""
        cell = self.graph.cell(p.cell)
        for name in (*cell.inputs, *(n for n, _ in cell.noise), *(e.name for e in cell.equations)):
            found = self._format(p, name)
            self.extents[f"{p.name}.{name}"] = Extent(found.fraction, found.largest)
        for parameter in cell.parameters:
            array = self._rounded_array(f"{p.name}.{parameter.name}")
            self.extents[f"{p.name}.{parameter.name}"] = array

    def _note_small(self, p: Population) -> None:
        """Quantities that need no rounding, such as spikes."""
        cell = self.graph.cell(p.cell)
        for e in cell.equations:
            if self._is_small(cell, e) and (small := self._extent(p, e)).bits < self.options.widths.messages:
                self.extents[f"{p.name}.{e.name}"] = small

    def _format(self, p: Population, name: str) -> Format:
        """Of a quantity within its cell."""
        equation, widths = self.graph.cell(p.cell).equation(name), self.options.widths
        if equation and is_table(equation.expression):
            return self.options.format(f"{p.name}.{name}", widths.values)
        return self.options.format(f"{p.name}.{name}", widths.states, headroom=STATES_HEADROOM)

    def _note_coarse(self, q: Projection) -> None:
        """Units of a postsynaptic factor that bring its rule's scale into the engine's range."""
        rule = self.graph.rule_of(q)
        if rule is None or not self.options.least_scale:
            return
        tagged = rule.optimiser.traits.integers
        moved = self._tag_format(q, rule) if tagged else self.weights[q.name]
        for term in terms_of(rule.increment):
            if len(term.pre) != 1 or len(term.post) != 1 or not isinstance(term.post[0], Name | Prev):
                continue
            (x,), (y,) = (list(quantities(side[0])) for side in (term.pre, term.post))
            assert isinstance(x, Name | Prev) and isinstance(y, Name | Prev)
            bits = self.options.widths.messages if self._kind(q, x.name) == "sent" else self.options.widths.factors
            given = self._narrowed(".".join(self._owner(q, x.name)), bits, self._kind(q, x.name))
            name = ".".join(self._owner(q, y.name))
            own = self._narrowed(name, self.options.widths.factors, "factor")
            needed = self.options.least_scale * moved.unit / (abs(term.scale) * 2.0**-given.fraction)
            fraction = -int(np.ceil(np.log2(needed)))
            if fraction < own.fraction:
                bits = max(2, own.bits + 1 - (own.fraction - fraction))
                self.coarse[name] = Format(bits, fraction)

    def _rounded_array(self, name: str) -> Extent:
        found = format_for(float(np.abs(self.arrays[name]).max(initial=0.0)), self.options.widths.states)
        self.arrays[name] = found.round(self.arrays[name])
        return Extent(found.fraction, found.largest)

    def _worst(self, p: Population, inner: Expression) -> float:
        """The greatest magnitude that an expression of the new cell can take."""
        inputs = {f"{name}_in": name for name in self.graph.cell(p.cell).inputs}

        def look(node: Name | Prev) -> Extent:
            if node.name.startswith("gate."):
                return Extent(0, 1.0)
            if any(port.name == node.name for port in self.graph.cell(p.cell).ports):
                return self._port(p, node.name)
            if node.name.endswith("_jitter"):
                return Extent(24, 1.0)
            return self.extents.get(f"{p.name}.{node.name}") or self.extents[f"{p.name}.{inputs[node.name]}"]

        def table(name: str) -> Extent:
            return Extent(0, float(np.abs(self.arrays[f"table.{name}"]).max()))

        return extent(inner, look, table, p.name).largest

    @staticmethod
    def _is_small(cell: CellType, e: Equation) -> bool:
        own = any(isinstance(node, Prev) and node.name == e.name for node in walk(e.expression))
        return not own and not is_table(e.expression)

    def _extent(self, p: Population, e: Equation) -> Extent:
        cell = self.graph.cell(p.cell)

        def look(node: Name | Prev) -> Extent:
            if node.name.startswith("gate."):
                return Extent(0, 1.0)
            if any(port.name == node.name for port in cell.ports):
                return self._port(p, node.name)
            return self.extents[f"{p.name}.{node.name}"]

        return extent(e.expression, look, lambda name: Extent(0, 0.0), f"equation '{e.name}' of population '{p.name}'")

    def _port(self, p: Population, port: str) -> Extent:
        """The exact sum of all currents, at worst."""
        fraction, largest = 0, 0.0
        for q in self.graph.into(p.name, port):
            message = self._sent(q)
            weight = self.weights.get(q.name, Format(2, 0))
            fraction = max(fraction, message.fraction + weight.fraction)
            largest += message.largest * weight.largest * self._fan_in(q)
        return Extent(fraction, largest)

    def _fan_in(self, q: Projection) -> int:
        kind = self.graph.class_of(q.name).connectivity
        if kind in ("identity", "one_to_one"):
            return 1
        return q.convolution.taps if q.convolution else self.graph.population(q.pre).size

    def _sent(self, q: Projection) -> Extent:
        """What a projection carries; one without weights is a wire within a neuron and narrows nothing."""
        name = f"{q.pre}.{self.graph.class_of(q.name).message}"
        return self.extents[name] if self._is_wire(q) else self._narrowed(name, self.options.widths.messages, "sent")

    def _is_wire(self, q: Projection) -> bool:
        return self.graph.class_of(q.name).connectivity == "identity"

    def _narrowed(self, name: str, bits: int, kind: str) -> Extent:
        """A quantity with the width of a message or factor."""
        whole = self.extents[name]
        if kind == "factor" and name in self.coarse:
            return Extent(self.coarse[name].fraction, self.coarse[name].largest)
        if whole.bits < bits:
            return whole
        found = self.options.format(name + "_copy", bits) if name + "_copy" in self.options.formats else \
            format_for(min(self.options.peaks.get(name, whole.largest), whole.largest), bits)
        return Extent(found.fraction, found.largest)

    def _cell(self, p: Population) -> CellType:
        cell = self.graph.cell(p.cell)
        enter = [(name, 0.5) for name in cell.inputs] + [(n, 0.0 if k == "uniform" else 0.5) for n, k in cell.noise]
        equations, copies = [self._entry(p, name, offset) for name, offset in enter], {}
        table: dict[str, Expression] = {name: Name(f"{name}_in") for name, _ in enter}
        for e in cell.equations:
            equations.append(replace(e, expression=substitute(self._equation(p, e), table)))
            copies[e.name] = self._copies(p, e)
            equations += copies[e.name]
        states = [new for s in cell.states for new in (self._state(p, s), *(
            self._state_of_copy(p, s, c) for c in copies[s.name]))]
        counters = self._counters(p, equations) if self.options.count and not cell.relay else []
        carried = [q for q in self.graph.projections if q.pre == p.name]
        messages = tuple(dict.fromkeys(self._message(q) for q in carried))
        jitters = [f"{e.name}_jitter" for e in cell.equations if self._is_jittered(f"{p.name}.{e.name}")
                   and (p.name, e.name, "factor") in self.copies]
        cell = replace(cell, noise=(*cell.noise, *((name, "uniform") for name in jitters)))
        return replace(cell, states=(*states, *(State(c.name) for c in counters)),
                       equations=(*equations, *counters), messages=messages)

    def _entry(self, p: Population, name: str, offset: float) -> Equation:
        """An input or a draw, rounded where it enters."""
        found = self._format(p, name)
        self.extents[f"{p.name}.{name}_in"] = Extent(found.fraction, found.largest)
        return Equation(f"{name}_in", found.wrap(Name(name), Number(offset)), "send")

    def _equation(self, p: Population, e: Equation) -> Expression:
        found = self._format(p, e.name)
        if is_table(e.expression):
            return self._lookup(p, e, found)
        try:
            whole = self._extent(p, e)
        except CortexError as error:
            if error.code != "E610":
                raise
            return found.wrap(self._guarded(p, e, found, e.expression))
        if whole.within(self._as_format(self.extents[f"{p.name}.{e.name}"])):
            return e.expression
        return found.wrap(e.expression)

    def _guarded(self, p: Population, e: Equation, found: Format, expression: Expression) -> Expression:
        """A sum that takes too many bits, its terms first rounded to GUARD bits below the unit of the result."""
        match expression:
            case Binary("+" | "-" as operator, left, right):
                return Binary(operator, *(self._guarded(p, e, found, part) for part in (left, right)))
            case Where(condition, then, otherwise):
                return Where(condition, *(self._guarded(p, e, found, part) for part in (then, otherwise)))
        whole = self._extent(p, replace(e, expression=expression))
        if whole.fraction <= found.fraction + GUARD:
            return expression
        return Format(Extent(found.fraction + GUARD, whole.largest).bits + 1, found.fraction + GUARD).wrap(expression)

    @staticmethod
    def _as_format(whole: Extent) -> Format:
        """A format that holds exactly such numbers."""
        return Format(whole.bits + 1, whole.fraction)

    def _lookup(self, p: Population, e: Equation, found: Format) -> Expression:
        """A table over one quantity: 2**tables entries, each rounded to the function's format, straight lines between
        them where the quantity is finer than the table."""
        (node,) = quantities(e.expression)
        assert isinstance(node, Name | Prev)
        if f"{p.name}.{node.name}" not in self.extents:
            raise CortexError("E613", f"equation '{e.name}' of population '{p.name}' is a function of "
                                      f"'{node.name}', of which no range is known.",
                              "Compare a gate with a number instead.")
        largest = min(self.extents[f"{p.name}.{node.name}"].largest,
                      TABLES_HEADROOM * self.options.peaks[f"{p.name}.{node.name}"])
        half = 2 ** (self.options.widths.tables - 1)

        def function(points: np.ndarray) -> np.ndarray:
            return np.asarray(np.nan_to_num(evaluate(e.expression, lambda name, steps: points)))

        reach, entries = best_table(function, largest, half, found)
        name = f"{p.name}_{e.name}"
        self.arrays[f"table.{name}"] = entries
        scaled = Binary("*", node, Number(half / reach))
        if self.extents[f"{p.name}.{node.name}"].fraction <= np.log2(half / reach):
            return Lookup(name, Binary("+", scaled, Number(half + 0.5)))
        between = Lookup(name, Binary("+", scaled, Number(float(half))), linear=True)
        extent(between, lambda _: self.extents[f"{p.name}.{node.name}"],
               lambda _: Extent(found.fraction, found.largest), f"equation '{e.name}' of population '{p.name}'")
        return found.wrap(between)

    def _copies(self, p: Population, e: Equation) -> list[Equation]:
        """What is sent of a quantity, and what rules read of it, where that is narrower than the quantity itself."""
        result = []
        for kind, bits in (("sent", self.options.widths.messages), ("factor", self.options.widths.factors)):
            name = f"{p.name}.{e.name}"
            whole = self._narrowed(name, bits, kind)
            if not self._wanted(p, e.name, kind) or whole == self.extents[name]:
                continue
            offset = Name(f"{e.name}_jitter") if kind == "factor" and self._is_jittered(name) else Number(0.5)
            copy = Equation(f"{e.name}_{kind}", self._as_format(whole).wrap(Name(e.name), offset), e.stage,
                            e.compartment)
            self.copies[p.name, e.name, kind] = copy.name
            self.extents[f"{p.name}.{copy.name}"] = whole
            result.append(copy)
        return result

    def _is_jittered(self, name: str) -> bool:
        """Whether what rules read of a quantity is rounded at random."""
        return name in self.coarse or self.options.factor_rounding == "stochastic"

    def _wanted(self, p: Population, quantity: str, kind: str) -> bool:
        if kind == "sent":
            return any(q.pre == p.name and self.graph.class_of(q.name).message == quantity and not self._is_wire(q)
                       for q in self.graph.projections)
        return any(kind == self._kind(q, node.name) and self._owner(q, node.name) == (p.name, quantity)
                   for q in self.graph.projections for node in _read(self.graph.rule_of(q)))

    def _owner(self, q: Projection, name: str) -> tuple[str, str]:
        side, _, quantity = name.partition(".")
        return {"pre": q.pre, "post": q.post}.get(side, ""), quantity

    def _kind(self, q: Projection, name: str) -> str:
        """How a quantity gets to a rule: with the message, unless that is wider than a factor, or as a factor."""
        sent = name == f"pre.{self.graph.class_of(q.name).message}"
        return "sent" if sent and self.options.widths.messages <= self.options.widths.factors else "factor"

    def _state(self, p: Population, state: State) -> State:
        whole = self.extents[f"{p.name}.{state.name}"]
        found = self._as_format(whole)
        if f"{p.name}.{state.name}" in self.arrays:
            self.arrays[f"{p.name}.{state.name}"] = found.round(self.arrays[f"{p.name}.{state.name}"])
        return State(state.name, simplify(found.wrap(state.initial)), found.dtype, found.unit)

    def _state_of_copy(self, p: Population, state: State, copy: Equation) -> State:
        found = self._as_format(self.extents[f"{p.name}.{copy.name}"])
        if f"{p.name}.{state.name}" in self.arrays:
            self.arrays[f"{p.name}.{copy.name}"] = found.round(self.arrays[f"{p.name}.{state.name}"])
        return State(copy.name, simplify(found.wrap(state.initial)), found.dtype, found.unit)

    def _counters(self, p: Population, equations: list[Equation]) -> list[Equation]:
        result = []
        for e in equations:
            if isinstance(e.expression, Call) and e.expression.function == "fixed":
                inner, scale, limit, _ = e.expression.arguments
                assert isinstance(scale, Number) and isinstance(limit, Number)
                if self._worst(p, inner) <= (limit.value + 1) / scale.value:
                    continue  # cannot happen
                count = Binary("+", Prev(e.name + COUNTER, 1), Where(_beyond(e.expression), Number(1.0), Number(0.0)))
                result.append(Equation(e.name + COUNTER, count, "factor"))
        return result

    # ---- projections

    def _projection(self, q: Projection) -> tuple[SynapseClass, PlasticityRule | None, Projection]:
        synapse, rule = self.graph.class_of(q.name), self.graph.rule_of(q)
        synapse = replace(synapse, message=self._message(q))
        if q.name not in self.weights:
            return synapse, None, q
        found = self.weights[q.name]
        low, high = bounds(self.graph.class_of(q.name))
        limits = (max(-found.largest if low < 0 else 0.0, np.ceil(low * found.scale) / found.scale),
                  min(found.largest, np.floor(high * found.scale) / found.scale))
        self.arrays[f"{q.name}.w"] = np.clip(found.round(self.arrays[f"{q.name}.w"]), *limits)
        synapse = replace(synapse, unit=found.unit, limits=(float(limits[0]), float(limits[1])))
        if rule is None:
            return synapse, None, q
        quantised, q = self._rule(q, rule, found)
        self._check_rule(q, quantised, found)
        return synapse, quantised, q

    def _check_rule(self, q: Projection, rule: PlasticityRule, found: Format) -> None:
        """Raises E610 where what a synapse computes before it rounds takes more than 53 bits."""
        known = {s.name: Extent(-round(np.log2(s.scale)), 2.0 ** (int(s.dtype[3:]) - 1) * s.scale)
                 for s in rule.states if not is_counter(s.name)}
        known |= {name: Extent(24, 1.0) for name, _ in rule.noise} | {"w": Extent(found.fraction, found.largest)}

        def look(node: Name | Prev) -> Extent:
            if node.name.startswith("gate."):
                return Extent(GATE_BITS, 1.0)
            owner, quantity = self._owner(q, node.name)
            return known.get(node.name) or self.extents[f"{owner}.{quantity}"]

        for e in (rule.increment, *(u.expression for u in rule.updates)):
            for node in walk(e):
                if isinstance(node, Call) and node.function == "fixed":
                    inner, scale, _, offset = node.arguments
                    node = Binary("+", Binary("*", inner, scale), offset)
                    extent(node, look, lambda name: Extent(0, 0.0), f"rule of projection '{q.name}'")
        extent(rule.increment, look, lambda name: Extent(0, 0.0), f"rule of projection '{q.name}'")

    def _message(self, q: Projection) -> str:
        message = self.graph.class_of(q.name).message
        return message if self._is_wire(q) else self.copies.get((q.pre, message, "sent"), message)

    def _rule(self, q: Projection, rule: PlasticityRule, found: Format) -> tuple[PlasticityRule, Projection]:
        names = {}
        for node in _read(rule):
            owner, quantity = self._owner(q, node.name)
            copy = self.copies.get((owner, quantity, self._kind(q, node.name)))
            cell = self.graph.cell_of(owner)
            if quantity in (*cell.inputs, *(name for name, _ in cell.noise)):
                copy = f"{quantity}_in"
            names[node.name] = f"{node.name.split('.')[0]}.{copy}" if copy else node.name
        rule = replace(rule, increment=rename(rule.increment, names),
                       updates=tuple(replace(u, expression=rename(u.expression, names)) for u in rule.updates))
        if rule.optimiser.traits.integers:
            return self._tagged(q, rule, found)
        if rule.optimiser.kind != "none" or rule.states:
            what = f"optimiser '{rule.optimiser.kind}'" if not rule.states else "a state of its own"
            raise CortexError("E612", f"rule '{rule.name}' of projection '{q.name}' has {what}, which has no integer "
                                      "form.", "Legalise the rule, or use optimiser none, low_pass or accumulate.")
        offset, noise = self._offset("rounding")
        increment = _whole(found, self._terms(rule.increment, found.scale), offset)
        return replace(rule, increment=increment, noise=noise), q

    def _offset(self, name: str) -> tuple[Expression, tuple[tuple[str, str], ...]]:
        if self.options.rounding == "nearest":
            return Number(0.5), ()
        if self.options.rounding == "lava":
            return _complement(name), ((name, "lava_weights"),)
        return Name(name), ((name, "uniform" if self.options.rounding == "stochastic" else "shared"),)

    def _terms(self, expression: Expression, factor: float) -> Expression:
        """The expression times a constant, which goes into every term of the sum."""
        match expression:
            case Binary("+" | "-" as operator, left, right):
                return Binary(operator, self._terms(left, factor), self._terms(right, factor))
            case Negate(operand):
                return self._terms(operand, -factor)
        return normal(Binary("*", literal(factor), expression), self.options.widths.coefficients)

    def _tag_format(self, q: Projection, rule: PlasticityRule) -> Format:
        return self.options.format(f"{q.name}.{rule.optimiser.kind}", self.options.widths.tags)

    def _tagged(self, q: Projection, rule: PlasticityRule, found: Format) -> tuple[PlasticityRule, Projection]:
        """Increments that a synapse keeps: a low-pass, or a sum until the `apply` gate."""
        kind = rule.optimiser.kind
        tag = self._tag_format(q, rule)
        if (held := self.arrays.pop(f"{q.name}.{kind}", None)) is not None:
            self.arrays[f"{q.name}.tag"] = tag.round(held)
        (offset, noise), (offset_tag, noise_tag) = self._offset("rounding"), self._offset("tag_rounding")
        learns = Binary(">", Name(f"gate.{q.gate}"), Number(0.0)) if q.gate else None
        old = Prev("tag", 1)
        if kind == "low_pass":
            (rate,) = rule.optimiser.arguments
            change = self._terms(Binary("*", rate, rule.increment), 1.0)
            leak = normal(Binary("*", rate, old), self.options.widths.coefficients)
            moved = tag.wrap(Binary("+", Binary("-", old, leak), change), offset_tag)
            update = Where(learns, moved, old) if learns else moved
            rule = self._with_tag(rule, tag, update, _whole(found, self._terms(Name("tag"), found.scale), offset),
                                  noise + noise_tag)
            return self._tag_counted(rule, moved, learns), q
        change = self._terms(rule.increment, 1.0)
        total = tag.wrap(Binary("+", old, Where(learns, change, Number(0.0)) if learns else change), offset_tag)
        apply = q.apply or q.gate
        update = Where(Binary(">", Name(f"gate.{apply}"), Number(0.0)), Number(0.0), total) if apply else Number(0.0)
        step = _whole(found, Binary("*", Number(found.scale), total), offset)
        rule = self._tag_counted(self._with_tag(rule, tag, update, step, noise + noise_tag), total, learns)
        return rule, replace(q, gate=apply, apply=None)

    def _tag_counted(self, rule: PlasticityRule, held: Expression, learns: Expression | None) -> PlasticityRule:
        """With `count`, every synapse counts the steps of learning in which its tag saturated."""
        if not self.options.count:
            return rule
        beyond = _beyond(held)
        counted = Where(Binary("and", learns, beyond) if learns else beyond, Number(1.0), Number(0.0))
        state = State(f"tag{COUNTER}", Number(0.0))
        update = Equation(state.name, Binary("+", Prev(state.name, 1), counted), "factor")
        return replace(rule, states=(*rule.states, state), updates=(*rule.updates, update))

    @staticmethod
    def _with_tag(rule: PlasticityRule, tag: Format, update: Expression, increment: Expression,
                  noise: tuple[tuple[str, str], ...]) -> PlasticityRule:
        return replace(rule, increment=increment, noise=noise, optimiser=Optimiser(),
                       states=(State("tag", Number(0.0), tag.dtype, tag.unit),),
                       updates=(Equation("tag", update, "factor"),))


def _read(rule: PlasticityRule | None) -> list[Name | Prev]:
    """Quantities of both cells that a rule reads."""
    expressions = (rule.increment, *(u.expression for u in rule.updates)) if rule else ()
    return [node for e in expressions for node in walk(e)
            if isinstance(node, Name | Prev) and node.name.startswith(("pre.", "post."))]


def _beyond(held: Expression) -> Expression:
    """Where what `fixed` holds is beyond its limit."""
    assert isinstance(held, Call)
    inner, scale, limit, _ = held.arguments
    assert isinstance(scale, Number) and isinstance(limit, Number)
    return Binary(">=", Call("abs", (inner,)), Number((limit.value + 1) / scale.value))


def _complement(name: str) -> Expression:
    """What, added before floor(), rounds up exactly where the number is below the fraction, as Lava does:
    1 - 2^-24 - (the number's first 24 bits)."""
    units = Call("floor", (Binary("*", Name(name), Number(2.0**LAVA_BITS)),))
    return Binary("*", Binary("-", Number(2.0**LAVA_BITS - 1), units), Number(2.0**-LAVA_BITS))


def _whole(found: Format, units: Expression, offset: Expression) -> Expression:
    """A whole number of units."""
    return Binary("*", Number(found.unit), Call("floor", (Binary("+", units, offset),)))
