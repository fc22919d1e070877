"""What a valid rule for drawing synapses is. Asked before anything is drawn or counted."""

from __future__ import annotations

import math
from collections.abc import Iterator

from cortexc.compiler.ir import drawing
from cortexc.compiler.ir.errors import CortexError
from cortexc.compiler.ir.language import Problems
from cortexc.compiler.ir.limits import DELAY, SIZE
from cortexc.compiler.ir.model import Graph, Projection, wired
from cortexc.compiler.ir.wiring import Numbers, Wiring


def wirings_fit(graph: Graph) -> Problems:
    for q in graph.projections:
        kind = graph.class_of(q.name).kind
        said = [word for word, value in (("connect", q.wiring), ("w", q.weights), ("delay", q.delays)) if value
                and not (kind.weighted if word == "w" else kind.listed)]
        if said:
            yield CortexError("E259", f"projection '{q.name}' says '{said[0]}', but synapse class '{q.synapse}' is "
                                      f"{graph.class_of(q.name).connectivity}.", "Write connectivity sparse.")
            continue
        yield from _rule(graph, q, q.wiring) if q.wiring else ()
        yield from _distribution(q, "w", q.weights) if q.weights else ()
        yield from _delays(graph, q, q.delays) if q.delays else ()
        yield from _bound_twice(graph, q)


def _rule(graph: Graph, q: Projection, wiring: Wiring) -> Iterator[CortexError]:
    _, pre, post, recurrent = wired(graph, q)
    candidates = drawing.partners(wiring, pre, post, recurrent)
    who = f"projection '{q.name}': {wiring.rule} {wiring.number:g}"
    each = " but itself" if recurrent and not wiring.autapses else ""
    if wiring.rule == "probability":
        if wiring.number > 1:
            yield CortexError("E259", f"{who} is no probability.", "A probability is at most 1.")
        if wiring.multapses:
            yield CortexError("E259", f"{who} joins a pair at most once.", "Leave out multapses.")
    elif wiring.number != math.floor(wiring.number):
        yield CortexError("E259", f"{who} is no whole number of synapses.")
    else:
        most = candidates * post if wiring.rule == "fixed_total" else candidates
        if wiring.number > (math.inf if wiring.multapses and candidates > 0 else max(most, 0)):
            yield CortexError("E259", f"{who} is more than the {most} that there are (every cell{each}).",
                              "Allow multapses, or ask for fewer.")
    number = drawing.expected_count(wiring, pre, post, recurrent)
    if number > SIZE:
        yield CortexError("E236", f"projection '{q.name}' has about {number:.4g} synapses; the limit is {SIZE}.",
                          "Cut it into several projections.")


def _distribution(q: Projection, what: str, drawn: Numbers) -> Iterator[CortexError]:
    if drawn.fault:
        yield CortexError("E259", f"'{what}' of projection '{q.name}', {drawn.kind}{drawn.arguments}, has "
                                  f"{drawn.fault}.",
                          "normal(MEAN, SD), uniform(LOW, HIGH), with two limits behind if it has any, or a number.")


def _delays(graph: Graph, q: Projection, drawn: Numbers) -> Iterator[CortexError]:
    problems = list(_distribution(q, "delay", drawn))
    if drawn.unit not in ("", "ms"):
        problems.append(CortexError("E259", f"the delay of projection '{q.name}' is in {drawn.unit}.",
                                    "Delays are in ms, or without a unit in steps."))
    yield from problems
    if not problems:
        yield from _in_range(graph, q, drawn)


def _in_range(graph: Graph, q: Projection, drawn: Numbers) -> Iterator[CortexError]:
    """Ends, or means, that are on the grid and within the limits; what is drawn is set to the nearest step."""
    first, *others = drawn.arguments
    about = {"normal": (first, *others[1:]), "lognormal": (math.exp(min(first, 700.0)), *others[1:])}
    for value in about.get(drawn.kind, drawn.arguments):
        steps = value / graph.dt if drawn.unit == "ms" else value
        if not 0.5 <= steps < DELAY + 0.5:
            yield CortexError("E258", f"projection '{q.name}': a delay of {value:g} {drawn.unit or 'steps'} is "
                                      f"{steps:g} steps; it must be 1 to {DELAY}.")
        elif drawn.kind == "constant" and abs(steps - round(steps)) > 1e-6:
            yield CortexError("E258", f"projection '{q.name}': a delay of {value:g} {drawn.unit or 'steps'} is "
                                      f"{steps:g} steps of dt {graph.dt:g} ms.", "Write a multiple of dt.")


def _bound_twice(graph: Graph, q: Projection) -> Iterator[CortexError]:
    for key in (key for key in ("pre", "post") if q.wiring and f"{q.name}.{key}" in graph.arrays):
        yield CortexError("E259", f"projection '{q.name}' draws '{key}', and array '{q.name}.{key}' is bound too.",
                          "Leave one out.")
