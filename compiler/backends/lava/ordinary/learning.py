"""A rule as lines of Lava: updates of its states, the increment, and the optimiser's step of the weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from cortexc.compiler.backends.lava.ordinary.batch import INDEX, added_axes, weight_axes
from cortexc.compiler.backends.lava.ordinary.equations import Text
from cortexc.compiler.backends.lava.ordinary.text import ClassText
from cortexc.compiler.ir.arrays import connection_mask
from cortexc.compiler.ir.expressions import Number, number, previous
from cortexc.compiler.ir.model import SUMMED, Graph, Projection


@dataclass
class Learning:
    """`updates` run in every step; `increment` and `step` where `guard` is true."""

    guard: str = "True"
    updates: list[str] = field(default_factory=list)
    increment: list[str] = field(default_factory=list)
    step: list[str] = field(default_factory=list)


def learning(graph: Graph, projection: Projection, text: Text, names: Mapping[str, str],
             members: ClassText) -> Learning:
    rule = graph.rule_of(projection)
    if rule is None:
        return Learning()
    updates: list[str] = []
    for state in rule.states:
        name = names[state.name]
        first = number(state.initial.value) if isinstance(state.initial, Number) else \
            Text(lambda n: names.get(n, n), lambda n, _: n, text.called).value(state.initial)
        members.arguments.insert(-1, f"{name}=None")
        members.setup.append(f"{name} = {first} if {name} is None else {name}")
        members.variable(name, "w.shape", name)
        if any(state.name in previous(e) for e in rule.expressions):
            members.variable(f"{name}_before", "w.shape", name)
            updates.append(f"self.{name}_before[:] = self.{name}")
    kind, collected = graph.class_of(projection.name).kind, _collected(graph, projection)
    updates += [f"self.{names[u.name]}[:] = {collected.format(text.value(u.expression))}" for u in rule.updates]
    increment = collected.format(text.value(rule.increment))
    if connection_mask(graph, projection) is not None:
        increment = f"{increment if collected != '{}' else f'({increment})'} * self.mask"
    arguments = [text.value(argument) for argument in rule.optimiser.arguments]
    optimiser = OPTIMISERS[rule.optimiser.kind]
    gate, apply = (f"self.{role}[0] > 0" if column else "" for role, column in (
        ("gate", projection.gate), ("apply", projection.apply)))
    summed = rule.optimiser.kind in SUMMED
    guard = f"{gate} or {apply}" if summed and gate and apply else gate or "True"
    low, high = graph.class_of(projection.name).bounds
    bounded = (low, high) != (-float("inf"), float("inf"))

    def weights(step: str) -> str:
        total = f"self.w + {step}"
        return f"self.w[:] = limited({total}, {_limit(low)}, {_limit(high)})" if bounded else f"self.w[:] = {total}"

    made = Learning(guard, updates, [f"increment = {increment}"])
    learns = f"(increment if {gate} else 0.0)" if summed and gate and apply else "increment"
    if rule.optimiser.kind == "clipped":
        arguments += ["self.synapses.order"] if kind.listed else []
        copies = len(weight_axes(graph, projection.name))
        arguments += [f"copies={copies}"] if copies else []
    made.step = optimiser(members, learns, arguments, apply if summed else "", weights)
    return made


def _collected(graph: Graph, projection: Projection) -> str:
    """How a rule's value is added up for each weight: over the places that share it, then over samples."""
    added, kind = added_axes(graph, projection.name), graph.class_of(projection.name).kind
    own = "self.maps.collected({}, self.w.shape)" if kind.maps else "{}"
    counters = ", ".join(INDEX[axis] for axis in added)
    return f"added_up({', '.join(added)}, lambda {counters}: {own})" if added else own


def _limit(value: float) -> str:
    return number(value) if abs(value) < float("inf") else "inf" if value > 0 else "-inf"


Optimise = Callable[[ClassText, str, "list[str]", str, Callable[[str], str]], "list[str]"]


def _none(members: ClassText, increment: str, arguments: list[str], apply: str,
          weights: Callable[[str], str]) -> list[str]:
    return [weights(increment)]


def _low_pass(members: ClassText, increment: str, arguments: list[str], apply: str,
              weights: Callable[[str], str]) -> list[str]:
    _sum_variable(members, "low_pass")
    return [f"self.low_pass[:] = self.low_pass + ({arguments[0]}) * ({increment} - self.low_pass)",
            weights("self.low_pass")]


def _accumulate(members: ClassText, increment: str, arguments: list[str], apply: str,
                weights: Callable[[str], str]) -> list[str]:
    return _at_updates(members, "accumulate", increment, apply, [weights("self.accumulate")])


def _clipped(members: ClassText, increment: str, arguments: list[str], apply: str,
             weights: Callable[[str], str]) -> list[str]:
    step = f"clipped(self.clipped, {', '.join(arguments)})"
    return _at_updates(members, "clipped", increment, apply, [weights(step)])


def _adam(members: ClassText, increment: str, arguments: list[str], apply: str,
          weights: Callable[[str], str]) -> list[str]:
    """Moments, and powers of both betas after so many updates, are Vars."""
    rate, beta1, beta2, epsilon = (f"({argument})" for argument in arguments)
    for moment in ("adam_first", "adam_second"):
        _sum_variable(members, moment)
    members.variable("adam_powers", "(2,)", "1.0", "of both betas, after the updates so far")
    first, second, powers = "self.adam_first", "self.adam_second", "self.adam_powers"
    return _at_updates(members, "adam", increment, apply, [
        f"{powers}[:] = {powers} * np.hstack(({beta1}, {beta2}))",
        f"{first}[:] = {beta1} * {first} + (1 - {beta1}) * self.adam",
        f"{second}[:] = {beta2} * {second} + (1 - {beta2}) * self.adam * self.adam",
        f"step = {rate} * ({first} / (1 - {powers}[0])) / (sqrt({second} / (1 - {powers}[1])) + {epsilon})",
        weights("step")])


def _at_updates(members: ClassText, name: str, increment: str, apply: str, inside: list[str]) -> list[str]:
    """Increments are summed; where `apply` is on they are used, and the sum starts again at 0."""
    _sum_variable(members, name)
    inside = [*inside, f"self.{name}[:] = 0.0"]
    guarded = [f"if {apply}:", *("    " + line for line in inside)] if apply else inside
    return [f"self.{name}[:] = self.{name} + {increment}", *guarded]


def _sum_variable(members: ClassText, name: str) -> None:
    members.arguments.insert(-1, f"{name}=0.0")
    members.variable(name, "w.shape", name)


OPTIMISERS: dict[str, Optimise] = {"none": _none, "low_pass": _low_pass, "accumulate": _accumulate,
                                   "clipped": _clipped, "adam": _adam}
