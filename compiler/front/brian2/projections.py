"""What a Synapses object adds, and what changes at it, as projections, synapse classes and rules.

A weight is the variable that a pathway changes and that spikes bring; other variables are states of the rule. What is
delivered is worked out from the values that the last step left, as if the spike arrived now.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

import numpy as np

from cortexc.compiler.front.brian2.cells import Cell
from cortexc.compiler.front.brian2.naming import plain
from cortexc.compiler.front.brian2.pathways import Effect, Pathway
from cortexc.compiler.front.brian2.synapses import Joined
from cortexc.compiler.front.brian2.units import powers, text, to_graph
from cortexc.compiler.ir import CortexError, Equation, Parameter, Port, State
from cortexc.compiler.ir.expressions import Binary, Expression, Name, Number, Prev, Where, chained, leaves, transform
from cortexc.compiler.ir.firing import SPIKE
from cortexc.compiler.ir.model import Graph, PlasticityRule, Projection, SynapseClass

MOST_PARTS = 200
"""Projections of one pathway: of a plastic one with many delays, each delay is one."""
MOST_BACK = 50
"""Steps that a rule can look back."""
EVENT = "event:"
"""Before the names of spikes, which no variable is called."""
ONE, ZERO = Number(1.0), Number(0.0)


@dataclass
class Made:
    """`parts`: (projection, its synapses) of every one that holds the variables; `quantity`: variable -> its name
    there. `lazy`: variables that Brian2 works out at events alone."""

    synapses: list[SynapseClass] = field(default_factory=list)
    rules: list[PlasticityRule] = field(default_factory=list)
    projections: list[Projection] = field(default_factory=list)
    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    parts: list[tuple[str, np.ndarray]] = field(default_factory=list)
    quantity: dict[str, str] = field(default_factory=dict)
    lazy: frozenset[str] = frozenset()

    def added_to(self, graph: Graph) -> Graph:
        return graph.with_(synapses=(*graph.synapses, *self.synapses), rules=(*graph.rules, *self.rules),
                           projections=(*graph.projections, *self.projections),
                           arrays={**graph.arrays, **self.arrays})


def projections(joined: Joined, taken: set[str]) -> Made:
    """Of a Synapses object whose effects are known. Raises U106 and U107."""
    making = _Making(joined, taken)
    if not len(joined):
        return making.made
    for effect in joined.effects:
        if not making.plastic(effect):
            making.still(effect)
    hosts: list[Effect | None] = [effect for effect in joined.effects if making.plastic(effect)]
    for host in hosts or [None] * bool(joined.changing):
        making.learnt(host)
    return making.made


class _Making:
    def __init__(self, joined: Joined, taken: set[str]):
        self.joined, self.taken = joined, taken
        self.made = Made(lazy=frozenset(n for n in joined.flowing if n in (joined.group.event_driven or ())))
        self.weight = self._weight()

    def plastic(self, effect: Effect) -> bool:
        return not self.joined.static(effect.term.synapse)

    def _weight(self) -> str:
        """The variable that is the weight, or ""."""
        delivered = [leaf.name for e in self.joined.effects if e.term.synapse is not None and self.plastic(e)
                     for leaf in leaves(e.term.synapse)]
        direct = [n for n in self.joined.assigned if n not in self.joined.flowing]
        moved = [n for n in direct if n in delivered]
        fixed = [n for n in delivered if n in self.joined.constants and self.joined.constants[n][0].ndim]
        return (moved or fixed or ([] if delivered else direct) or [""])[0]

    def _own(self, *words: str) -> str:
        return plain("_".join(words), self.taken)

    # ---- what does not change

    def still(self, effect: Effect) -> None:
        """A list of synapses with weights, and delays where they differ."""
        joined, steps = self.joined, self._steps(effect)
        name = self._own(joined.group.name, *[effect.variable] * bool(self.made.projections))
        weights = joined.number(effect.term.synapse)
        self._project(name, effect, weights, np.arange(len(joined)), None, self._unit(effect))
        if np.all(steps == steps[0]):
            self._delay(name, effect, int(steps[0]))
            return
        self._delay(name, effect, 0)
        self.made.arrays[f"{name}.delay"] = steps + 1.0

    def _steps(self, effect: Effect | None) -> np.ndarray:
        return effect.pathway.steps if effect and effect.pathway else np.zeros(len(self.joined), np.int64)

    def _unit(self, effect: Effect) -> str:
        """Of what is brought, where the cells multiply it with nothing."""
        if effect.term.pre is not None or effect.term.post is not None:
            return ""
        return self.joined.ends.of(effect.side).unit(effect.variable)

    def _project(self, name: str, effect: Effect | None, weights: np.ndarray, which: np.ndarray,
                 rule: str | None, unit: str) -> None:
        joined = self.joined
        source, target = (effect.source, effect.side) if effect else ("pre", "post")
        cell = joined.ends.of(source)
        if not effect and "silent" not in {port.name for port in joined.ends.post.ports}:
            joined.ends.post.ports.append(Port(plain("silent", joined.ends.post.taken), "silent"))
        port = effect.port if effect else "silent"  # which nobody reads
        synapse = SynapseClass(f"{name}_synapse", self._message(effect, cell), port, "sparse", rule=rule, weight=unit)
        self.made.synapses.append(synapse)
        self.made.projections.append(Projection(name, synapse.name, cell.population, joined.ends.of(target).population))
        self.made.arrays |= {f"{name}.pre": joined.index[source][which].astype(np.float64),
                             f"{name}.post": joined.index[target][which].astype(np.float64), f"{name}.w": weights}

    def _message(self, effect: Effect | None, cell: Cell) -> str:
        sent = effect.message if effect else None
        value = None if sent is None else self.joined.in_cell(sent, cell, bool(effect and effect.early))
        if effect and effect.early:
            return cell.publish(ONE if value is None else value, "sent", stage="send")
        if value is None:
            return SPIKE
        return cell.publish(Binary("*", Name(SPIKE), value), "sent", stage=cell.stage)

    def _delay(self, name: str, effect: Effect | None, steps: int) -> None:
        """Of the projection that was made last: a step more where a message comes from what the last step has left."""
        source = self.joined.ends.of(effect.source if effect else "pre")
        late = 0 if source.summed and not (effect and effect.early) else 1
        self.made.projections[-1] = replace(self.made.projections[-1], delay=steps + late)

    # ---- what learns

    def learnt(self, effect: Effect | None) -> None:
        """One projection for every delay."""
        joined = self.joined
        if effect and effect.source != "pre":
            raise CortexError("U106", f"{joined.where} adds something that changes at a synapse to '{effect.variable}' "
                                      "when the postsynaptic cell spikes, or of the presynaptic cell.",
                              "Let spikes of the presynaptic cell bring it to the postsynaptic one.")
        carried = [p.steps for p in joined.pathways if p.side == "pre"]  # spikes that it carries to nobody
        steps = self._steps(effect) if effect or not carried else carried[0]
        delays = np.unique(steps)
        if len(delays) > MOST_PARTS:
            raise CortexError("U107", f"{joined.where} changes at its synapses and has {len(delays)} delays; at most "
                                      f"{MOST_PARTS} can be told apart.", "Round them.")
        first = not self.made.parts
        for delay in delays:
            which = np.flatnonzero(steps == delay)
            name = self._own(joined.group.name, *[f"delay_{delay}"] * (len(delays) > 1))
            rule = self._rule(name, effect, int(delay), which)
            self.made.rules.append(rule)
            unit = self._variable_unit(self.weight) if self.weight else ""
            self._project(name, effect, self._initial(self.weight)[which], which, rule.name, unit)
            self._delay(name, effect, int(delay))
            if first:
                self.made.parts.append((name, which))

    def _variable_unit(self, name: str) -> str:
        return text(powers(self.joined.group.variables[name].dim))

    def _initial(self, name: str) -> np.ndarray:
        """(synapses,) before the first step; 1 where there is no weight."""
        if not name:
            return np.ones(len(self.joined))
        variable = self.joined.group.variables[name]
        value = to_graph(variable.get_value(), powers(variable.dim))
        return np.array(np.broadcast_to(value, (len(self.joined),)))

    def _rule(self, name: str, effect: Effect | None, delay: int, which: np.ndarray) -> PlasticityRule:
        joined = self.joined
        writer = _Rule(self, name, which)
        known = joined.flown()
        events: list[Expression] = []
        for pathway in joined.pathways:
            event = self._event(pathway, effect, delay, which).above(0.0)
            changed: dict[str, Expression] = {}
            for statement, value in joined.executed(pathway, known):
                if statement.name in joined.changing:
                    changed[statement.name] = value
                    events += [event] * (statement.name == self.weight)
            known |= {n: Where(event, value, known[n]) for n, value in changed.items()}
        known = joined.settled(known)
        increment: Expression = ZERO
        if self.weight in joined.changing:
            increment = Where(chained("or", [*dict.fromkeys(events)]), known[self.weight] - Prev(self.weight, 1), ZERO)
            increment = writer.settled(increment)
        updates = [Equation(joined.own(n), writer.settled(known[n]), "factor") for n in joined.changing
                   if n != self.weight]
        deliver: Expression = ZERO if effect is None else writer.delivered(effect.term.synapse or ONE)
        return writer.rule(increment, updates, deliver)

    def _event(self, pathway: Pathway, effect: Effect | None, delay: int, which: np.ndarray) -> Expression:
        """The spikes that the pathway gets in this step. Raises U107."""
        steps = pathway.steps[which]
        if np.any(steps != steps[0]):
            raise CortexError("U107", f"pathway '{pathway.name}' has delays of its own, which differ from synapse to "
                                      "synapse.", "Give it the delays of the pathway that adds to cells, or one.")
        back = int(steps[0])
        if pathway.side == "pre" and effect is not None and not effect.early and back == delay > 0:
            return Name(f"{EVENT}arrived.{SPIKE}")
        if back > MOST_BACK:
            raise CortexError("U107", f"pathway '{pathway.name}' has a delay of {back} steps; a rule looks at most "
                                      f"{MOST_BACK} steps back.", "Use a longer step.")
        name = f"{EVENT}{pathway.side}.{SPIKE}"
        return Prev(name, back) if back else Name(name)


class _Rule:
    """Parameters and states of one rule."""

    def __init__(self, making: _Making, projection: str, which: np.ndarray):
        self.making, self.joined, self.projection, self.which = making, making.joined, projection, which
        self.parameters: dict[str, Parameter] = {}
        self.fixed: dict[str, np.ndarray] = {}
        self.units: dict[str, str] = {}

    def settled(self, e: Expression) -> Expression:
        """In the words of a rule."""
        return transform(e, self._leaf)

    def delivered(self, e: Expression) -> Expression:
        """The same, over the values that the last step has left."""
        return transform(self.settled(e), lambda leaf: Name(leaf.name) if isinstance(leaf, Prev) else leaf)

    def _leaf(self, leaf: Expression) -> Expression:
        joined = self.joined
        if isinstance(leaf, Name | Prev) and leaf.name.startswith(EVENT):
            return replace(leaf, name=leaf.name.removeprefix(EVENT))
        if isinstance(leaf, Prev) and leaf.name in joined.changing:
            return Name("w") if leaf.name == self.making.weight else Prev(joined.own(leaf.name), 1)
        if not isinstance(leaf, Name) or leaf.name == "dt":
            return leaf
        if leaf.name == self.making.weight:
            return Name("w")
        if joined.moves(leaf):
            return self._of_cell(*leaf.name.split(".", 1))
        return self._constant(leaf.name)

    def _of_cell(self, side: str, name: str) -> Expression:
        cell = self.joined.ends.of(side)
        if side.startswith("before"):
            own = cell.publish(Name(cell.own(name)), name)
            return Prev(f"{side.removeprefix('before_')}.{own}", 1)
        return Name(f"{side}.{cell.publish(cell.at_synapses[name], f'{name}_now', cell.unit(name), cell.stage)}")

    def _constant(self, name: str) -> Expression:
        """A parameter, or where synapses differ a state that keeps its value."""
        own = self.joined.own(name.replace(".", "_"))
        value = self.joined.number(Name(name))[self.which]
        unit = self._unit(name)
        if np.all(value == value[0]):
            self.parameters[own] = Parameter(own, unit, float(value[0]))
            return Name(own)
        self.fixed[own] = value
        self.units[own] = unit
        return Prev(own, 1)

    def _unit(self, name: str) -> str:
        if "." in name:
            side, own = name.split(".", 1)
            return self.joined.ends.of(side).unit(own)
        return self.joined.constants[name][1]

    def rule(self, increment: Expression, updates: list[Equation], deliver: Expression) -> PlasticityRule:
        joined, making = self.joined, self.making
        states = []
        for name in joined.changing:
            if name != making.weight:
                own = joined.own(name)
                states.append(self._state(own, making._initial(name)[self.which]))
                self.units[own] = making._variable_unit(name)
                making.made.quantity[name] = own
        if making.weight:
            making.made.quantity[making.weight] = "w"
        states += [self._state(own, value) for own, value in self.fixed.items()]
        updates += [Equation(own, Prev(own, 1), "factor") for own in self.fixed]
        return PlasticityRule(f"{self.projection}_rule", increment, tuple(self.parameters.values()), tuple(states),
                              tuple(updates), deliver=deliver, units=tuple((n, u) for n, u in self.units.items() if u))

    def _state(self, own: str, value: np.ndarray) -> State:
        same = bool(np.all(value == value[0]))
        if not same:
            self.making.made.arrays[f"{self.projection}.{own}"] = value
        return State(own, Number(float(value[0])) if same else ZERO)


def check_order(joined: Iterable[Joined]) -> None:
    """What pathways read of cells must not have been changed by other pathways of the same step. Raises U106."""
    every = list(joined)
    for reader, (cell, name, pathway) in _reads(every):
        for other in every:
            for effect in other.effects:
                if effect.pathway and other.ends.of(effect.side) is cell and effect.variable == name \
                        and effect.pathway.key <= pathway.key:
                    raise CortexError("U106", f"pathway '{pathway.name}' of {reader.where} reads '{name}' of "
                                              f"{cell.where}, to which '{effect.pathway.name}' adds in the same step.",
                                      "Let them use different variables.")
        if pathway.key > (0, "") and name in {source._target_var for source in cell.poisson}:
            raise CortexError("U106", f"pathway '{pathway.name}' of {reader.where} reads '{name}' of {cell.where}, to "
                                      "which a PoissonInput adds in the same step.",
                              "Let them use different variables.")


def _reads(every: Iterable[Joined]) -> Iterator[tuple[Joined, tuple[Cell, str, Pathway]]]:
    for joined in every:
        for read in joined.reads:
            yield joined, read
