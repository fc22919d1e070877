"""Synapses as projections: what pathways add to cells, and rules for what changes at a synapse.

Within an expression of a Synapses object, `pre.x` and `post.x` are variables of its groups as they are when spikes
arrive, `before_pre.x` and `before_post.x` as they were before the step; other names are constants, `prev(x)` what
changes at the synapse. U105: equations, U106: a statement, U107: delays that cannot be said.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

import numpy as np

from cortexc.compiler.front.brian2.cells import Arrival, Cell
from cortexc.compiler.front.brian2.naming import UNKNOWN, Owner, plain
from cortexc.compiler.front.brian2.pathways import OTHER, Effect, Ends, Pathway
from cortexc.compiler.front.brian2.translating import (
    ONE,
    Statement,
    Translator,
    added,
    names_in,
    statements,
    stored,
    terms,
)
from cortexc.compiler.front.brian2.units import powers, text, to_graph
from cortexc.compiler.ir import CortexError, Port
from cortexc.compiler.ir.evaluation import evaluate, no_history
from cortexc.compiler.ir.expressions import Expression, Name, Prev, leaves, transform
from cortexc.compiler.ir.firing import SPIKE

SIDES = ("pre", "post")


class Joined(Owner):
    """A Synapses object. `changing`: own variables that change. `constants`: name -> (value or values, unit)."""

    def __init__(self, group: Any, ends: Ends, namespace: Mapping[str, Any], steps: int):
        super().__init__(group, namespace, steps, {"w", "silent", SPIKE})
        self.ends = ends
        self.index = {side: np.array(group.variables[f"_synaptic_{side}"].get_value(), np.int64) for side in SIDES}
        self.constants: dict[str, tuple[np.ndarray, str]] = {}
        self.pathways = sorted(map(self._pathway, group._pathways), key=lambda p: p.key)
        parts = [part for part in (group.event_driven, group.equations) if part is not None]
        flows = [name for part in parts for name in part if name in part.diff_eq_names]
        assigned = [s.name for p in self.pathways for s in p.statements]
        self.flowing = flows
        self.assigned = [*dict.fromkeys(n for n in assigned if n in group.variables and self.side_of(n) is None)]
        self.changing = [*dict.fromkeys([*self.flowing, *self.assigned])]
        self.effects: list[Effect] = []
        self.reads: list[tuple[Cell, str, Pathway]] = []
        if group.subexpression_updater is not None:
            raise CortexError("U105", f"{self.where} has a subexpression (constant over dt).", "Leave the flag out.")

    def __len__(self) -> int:
        return len(self.index["pre"])

    def _pathway(self, given: Any) -> Pathway:
        if given.event != SPIKE:
            raise CortexError("U106", f"pathway '{given.name}' waits for event '{given.event}'.",
                              "Only spikes can be said.")
        steps = np.round(given.variables["delay"].get_value() / self.dt).astype(np.int64)
        found = tuple(statements(given.code, f"pathway '{given.name}'"))
        return Pathway(given.name, given.prepost, (given.order, given.name), found,
                       np.broadcast_to(steps, (len(self),)))

    # ---- names

    def side_of(self, name: str) -> tuple[str, str] | None:
        """(side, the group's name) of a variable of one of the groups."""
        if name in ("i", "j") or (variable := self.group.variables.get(name)) is None:
            return None
        index = self.group.variables.indices[name]
        if index in ("_presynaptic_idx", "_postsynaptic_idx") and not name.startswith("N_"):
            return ("pre" if index == "_presynaptic_idx" else "post"), variable.name
        for side in SIDES:
            bare = name.removesuffix(f"_{side}")
            if bare != name and bare in self.ends.of(side).group.variables:
                return side, bare
        if index == "0" and name in self.ends.post.group.variables and name not in ("N", "t", "dt", "t_in_timesteps"):
            return "post", name
        return None

    def translated(self, node: ast.expr | str, known: Mapping[str, Expression],
                   before: Collection[str] = ()) -> Expression:
        """`known`: own variables and what has been assigned. `before`: sides that are read before the step."""
        def lookup(name: str) -> Expression:
            if name in known:
                return known[name]
            if (found := self.side_of(name)) is not None:
                return self._of_side(*found, before)
            return self._of_synapse(name, known, before)

        translator = Translator(lookup, lambda *_: None, self.where)
        return translator.text(node) if isinstance(node, str) else translator(node)

    def _of_synapse(self, name: str, known: Mapping[str, Expression], before: Collection[str]) -> Expression:
        if name == "dt":
            return Name("dt")
        if name in ("i", "j"):
            self.constants[name] = (self._counted(name), "1")
            return Name(name)
        variable = self.group.variables.get(name)
        if variable is None:
            found = self.constant(name)
            if isinstance(found, Name):
                self.constants[name] = (np.asarray(self.parameters[name].default), self.parameters[name].unit)
                return Name(name)
            return found
        if hasattr(variable, "expr"):
            return self.translated(variable.expr, known, before)
        if name in self.changing:
            return Prev(name, 1)
        if name in UNKNOWN or not hasattr(variable, "get_value"):
            raise self._unknown(name)
        value = to_graph(variable.get_value(), powers(variable.dim))
        self.constants[name] = (value.reshape(()) if value.size == 1 and variable.scalar else value,
                                text(powers(variable.dim)))
        return Name(name)

    def _counted(self, name: str) -> np.ndarray:
        """Cells of synapses, within a part of a group counted from its first one."""
        side, group = ("pre", self.group.source) if name == "i" else ("post", self.group.target)
        return np.asarray(self.index[side] - getattr(group, "start", 0), np.float64)

    def _unknown(self, name: str) -> CortexError:
        return CortexError("U106", f"{self.where} reads '{name}', which a synapse cannot know.",
                           "Let it read what its groups have.")

    def _of_side(self, side: str, name: str, before: Collection[str]) -> Expression:
        cell = self.ends.of(side)
        variable = cell.group.variables[name]
        if name in UNKNOWN:
            raise self._unknown(name)
        if hasattr(variable, "expr"):
            translator = Translator(lambda inner: self._inner(side, inner, before), lambda *_: None, cell.where)
            return translator.text(variable.expr)
        return Name(f"{'before_' if side in before else ''}{side}.{name}")

    def _inner(self, side: str, name: str, before: Collection[str]) -> Expression:
        """A name in a subexpression of one of the groups."""
        cell = self.ends.of(side)
        if name == "dt":
            return Name(name)
        if name in cell.group.variables:
            return self._of_side(side, name, before)
        found = cell.constant(name)
        if not isinstance(found, Name):
            return found
        parameter = cell.parameters[name]
        self.constants[f"{side}_{name}"] = (np.asarray(parameter.default), parameter.unit)
        return Name(f"{side}_{name}")

    # ---- what is constant

    def moves(self, leaf: Expression) -> bool:
        """Whether a leaf changes from step to step."""
        if isinstance(leaf, Name) and "." in leaf.name:
            side, name = leaf.name.split(".", 1)
            return self.ends.of(side).changes(name)
        return isinstance(leaf, Prev)

    def side(self, leaf: Expression) -> str | None:
        """Where a leaf is known; None where it is the same for all synapses."""
        if isinstance(leaf, Name) and "." in leaf.name and self.moves(leaf):
            return "pre" if leaf.name.split(".")[0].endswith("pre") else "post"
        if isinstance(leaf, Prev) or isinstance(leaf, Name) and (
                "." in leaf.name or leaf.name in self.constants and self.constants[leaf.name][0].ndim > 0):
            return "synapse"
        return None

    def static(self, e: Expression | None) -> bool:
        return e is None or not any(map(self.moves, leaves(e)))

    def number(self, e: Expression | None) -> np.ndarray:
        """(synapses,) of an expression that does not change."""
        value = evaluate(e or ONE, self._constant, no_history)
        return np.array(np.broadcast_to(value, (len(self),)), np.float64)

    def _constant(self, name: str) -> np.ndarray:
        if name == "dt":
            return np.asarray(self.dt * 1e3)
        if "." not in name:
            return self.constants[name][0]
        side, own = name.split(".", 1)
        end = "pre" if side.endswith("pre") else "post"
        cell = self.ends.of(side)
        return np.broadcast_to(cell.value(own), (len(cell.group),))[self.index[end]]

    def in_cell(self, e: Expression, cell: Cell, early: bool) -> Expression:
        """An expression over one side alone, as the cell has it."""
        known = cell.early if early else cell.at_synapses

        def own(leaf: Expression) -> Expression:
            if not isinstance(leaf, Name) or leaf.name == "dt":
                return leaf
            if "." in leaf.name:
                return known[leaf.name.split(".", 1)[1]]
            value, unit = self.constants[leaf.name]
            return Name(cell.parameter(f"{self.group.name}.{leaf.name}", value, unit))

        return transform(e, own)

    # ---- what is added to cells

    def scan(self) -> None:
        """Tells the cells which of their variables change. Raises U106."""
        for name, updater in self.group.summed_updaters.items():
            side, own = self._target(name)
            cell = self.ends.of(side)
            whole = updater.target.start == 0 and updater.target.stop == len(cell.group)
            if not whole and np.any(cell.value(own)):
                raise CortexError("U106", f"{self.where} sums into '{own}' of a part of {cell.where}, whose other "
                                          "cells do not start at 0.", "Sum into the whole group.")
            cell.summed.setdefault(own, [])
        for pathway in self.pathways:
            for statement in pathway.statements:
                if (found := self.side_of(statement.name)) is not None:
                    if not statement.added:
                        raise CortexError("U106", f"pathway '{pathway.name}' says '{statement.line}'; cells can only "
                                                  "be added to (+=, -=).", "Write it as what is added.")
                    self.ends.of(found[0]).targets.add(found[1])

    def _target(self, name: str) -> tuple[str, str]:
        return ("pre", name[:-4]) if name.endswith("_pre") else ("post", name[:-5])

    def sum(self) -> None:
        """Summed variables: `Effect`s of every step."""
        for name, updater in self.group.summed_updaters.items():
            side, own = self._target(name)
            value = self.translated(updater.expression.code, {}, before=SIDES)
            found = self._effects(None, side, own, value, f"{name} = {updater.expression.code}")
            for effect in found:
                self._arrive(effect, self.ends.of(side).summed[own])
            self.effects += found

    def run(self) -> None:
        """What the pathways add. Raises U106."""
        for pathway in self.pathways:
            known, taints = self.before_pathway(pathway)
            for statement, value in self.executed(pathway, known):
                self._note(value, pathway)
                if (found := self.side_of(statement.name)) is None:
                    continue
                if names_in(statement.value) & taints:
                    raise CortexError("U106", f"'{statement.line}' of pathway '{pathway.name}' reads what an earlier "
                                              "pathway with other delays changes in the same step.",
                                      "Give both the same delay, or write them as one.")
                for effect in self._effects(pathway, *found, value, statement.line):
                    self.effects.append(effect)
                    self._arrive(effect, self.ends.of(effect.side).arrivals)

    def _note(self, value: Expression, pathway: Pathway) -> None:
        for leaf in leaves(value):
            if "." in leaf.name and self.moves(leaf):
                side, name = leaf.name.split(".", 1)
                self.reads.append((self.ends.of(side), name, pathway))

    def before_pathway(self, pathway: Pathway) -> tuple[dict[str, Expression], set[str]]:
        """Own variables when a pathway runs, after those that run with it; and those that others have changed."""
        known, taints = self.flown(), set[str]()
        for other in self.pathways[:self.pathways.index(pathway)]:
            changed = dict(known)
            for statement, value in self.executed(other, changed):
                changed[statement.name] = value
            if other.side == pathway.side and np.array_equal(other.steps, pathway.steps):
                known = {name: changed[name] for name in known}
            else:
                taints |= {s.name for s in other.statements}
        return known, taints

    def executed(self, pathway: Pathway, known: Mapping[str, Expression]) -> Iterator[tuple[Statement, Expression]]:
        """Every statement and its value: what is added to a cell, or what a variable becomes."""
        own = dict(known)
        for statement in pathway.statements:
            value = self.translated(statement.value, own)
            if self.side_of(statement.name) is None:
                if statement.added:
                    value = added(self.translated(ast.Name(statement.name), own), value)
                value = own[statement.name] = stored(value, self.group.variables.get(statement.name))
            yield statement, value

    def flown(self) -> dict[str, Expression]:
        """Own variables when spikes arrive: those that are clock-driven have gone on."""
        from brian2.stateupdaters.base import StateUpdateMethod

        known: dict[str, Expression] = {name: Prev(name, 1) for name in self.changing}
        if (updater := self.group.state_updater) is None:
            return known
        variables = self.resolved(self.group.equations)
        others = {side: getattr(self.ends.of(side).group, "state_updater", None) for side in SIDES}
        before = [side for side, other in others.items() if other and updater.name < other.name]  # Brian2's order
        return self._gone_on(known, before, lambda: StateUpdateMethod.apply_stateupdater(
            self.group.equations, variables, updater.method_choice))

    def settled(self, known: Mapping[str, Expression]) -> dict[str, Expression]:
        """Own variables at the start of the next step: those that are event-driven go on from event to event."""
        from brian2.stateupdaters.exact import linear

        if self.group.event_driven is None:
            return dict(known)
        found = self._gone_on(known, (), lambda: linear(self.group.event_driven, self.group.variables))
        for name in self.group.event_driven.diff_eq_names:
            moved = {leaf.name for leaf in leaves(found[name]) if "." in leaf.name and self.moves(leaf)}
            if moved - {leaf.name for leaf in leaves(known[name])}:
                raise CortexError("U105", f"'{name}' of {self.where} is event-driven and reads "
                                          f"{', '.join(sorted(moved))}, which changes between events.",
                                  "Say (clock-driven).")
        return found

    def _gone_on(self, known: Mapping[str, Expression], before: Collection[str],
                 solve: Callable[[], Any]) -> dict[str, Expression]:
        """After Brian2's own statements. Raises U105."""
        from brian2.stateupdaters.base import UnsupportedEquationsException

        try:
            code = solve()
        except (UnsupportedEquationsException, ValueError) as error:
            raise CortexError("U105", f"{self.where}: {error}", "Use (clock-driven) and a method that can.") from None
        if not isinstance(code, str):
            raise CortexError("U105", f"the method of {self.where} cannot be said.", "Use exact or euler.")
        own = dict(known)
        for statement in statements(code, self.where):
            own[statement.name] = self.translated(statement.value, own, before)
        return {name: own[name] for name in known}

    def _effects(self, pathway: Pathway | None, side: str, name: str, value: Expression, line: str) -> list[Effect]:
        """Raises U106."""
        if (found := terms(value, self.side)) is None:
            raise CortexError("U106", f"'{line}' of {self.where} is no sum of products of what the presynaptic cell, "
                                      "the postsynaptic cell and the synapse have.", "Write it as one.")
        effects = [Effect(pathway, side, name, term) for term in found]
        for effect in effects:
            if effect.source == side and effect.part(OTHER[side]) is not None:
                raise CortexError("U106", f"'{line}' of {self.where} brings what the other cell has to the one that "
                                          "spiked.", "Let the other cell's spikes bring it.")
            if pathway and effect.message is not None and np.any(pathway.steps):
                raise CortexError("U106", f"'{line}' of pathway '{pathway.name}' reads the cell that spiked when its "
                                          "spike arrives.", "Let the pathway have no delay.")
        return effects

    def _arrive(self, effect: Effect, arrivals: list[Arrival]) -> None:
        """Gives the effect a port: one for all that a variable gets from pathways, unless the cell multiplies it."""
        cell, name, factor = self.ends.of(effect.side), effect.variable, effect.part(effect.side)
        shared = cell.shared_ports if factor is None and not effect.early else {}
        if name in shared:
            effect.port = shared[name]
            return
        effect.port = shared[name] = plain(f"to_{cell.own(name)}", cell.taken)
        cell.ports.append(Port(effect.port, effect.port))
        if factor is None:
            cell.units[effect.port] = cell.unit(name)
        arrivals.append(Arrival(name, effect.port, factor and self.in_cell(factor, cell, effect.early)))
