"""What a valid rule for drawing synapses is. Asked before anything is drawn or counted."""

from __future__ import annotations

import math
from collections.abc import Iterator

from cortexc.compiler.ir import drawing
from cortexc.compiler.ir.errors import CortexError
from cortexc.compiler.ir.language import Problems
from cortexc.compiler.ir.limits import DELAY, SIZE
from cortexc.compiler.ir.model import Graph, Projection, wired
from cortexc.compiler.ir.place_checks import distances_exist, same_unit
from cortexc.compiler.ir.synapses import farthest
from cortexc.compiler.ir.units import unit
from cortexc.compiler.ir.wiring import KERNELS, Numbers, Wiring


def wirings_fit(graph: Graph) -> Problems:
    for q in graph.projections:
        kind = graph.class_of(q.name).kind
        said = [word for word, value in (("connect", q.wiring), ("w", q.weights), ("delay", q.delays)) if value
                and not (kind.weighted if word == "w" else kind.listed)]
        if said:
            yield CortexError("E259", f"projection '{q.name}' says '{said[0]}', but synapse class '{q.synapse}' is "
                                      f"{graph.class_of(q.name).connectivity}.", "Write connectivity sparse.")
            continue
        problems = [*_rule(graph, q, q.wiring)] if q.wiring else []
        yield from problems
        yield from _distribution(q, "w", q.weights) if q.weights else ()
        yield from _delays(graph, q, q.delays) if q.delays and not problems else ()
        yield from _bound_twice(graph, q)


def _rule(graph: Graph, q: Projection, wiring: Wiring) -> Iterator[CortexError]:
    problems = [*_kernel(graph, q, wiring)]
    yield from problems or _amounts(graph, q, wiring)


def _kernel(graph: Graph, q: Projection, wiring: Wiring) -> Iterator[CortexError]:
    kernel, who = wiring.kernel, f"projection '{q.name}': {wiring.rule} {wiring.number:g}"
    if (wiring.rule == "distance") != (kernel is not None):
        verb = "takes no kernel" if kernel else f"names no kernel ({', '.join(KERNELS)})"
        yield CortexError("E259", f"{who} {verb}.", "connect distance 0.5 gaussian(0.2 mm) seed=1.")
    if wiring.rule != "distance" or kernel is None:
        return
    most = 1 if kernel.kind in ("linear", "box") else 2
    if not 1 <= len(kernel.arguments) <= most:
        yield CortexError("E259", f"{who} {kernel.kind} has {len(kernel.arguments)} lengths; it takes a scale"
                                  f"{' and perhaps a radius' * (most == 2)}.",
                          "gaussian(0.2 mm), or with a radius gaussian(0.2 mm, 1 mm).")
    yield from distances_exist(graph, q, "a probability that depends on distance")
    place = graph.population(q.post).place
    yield from same_unit(q, f"'{q.post}' lies in {{0}}, the {kernel.kind} is in {{1}}",
                         place.unit if place else "", kernel.unit)


def _amounts(graph: Graph, q: Projection, wiring: Wiring) -> Iterator[CortexError]:
    _, pre, post, recurrent, apart = wired(graph, q)
    candidates = drawing.partners(wiring, pre, post, recurrent)
    who = f"projection '{q.name}': {wiring.rule} {wiring.number:g}"
    each = " but itself" if recurrent and not wiring.autapses else ""
    if wiring.rule in ("probability", "distance"):
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
    number = drawing.expected_count(wiring, pre, post, recurrent, apart)
    if wiring.kernel and wiring.number and not number and pre and post:
        yield CortexError("E259", f"{who} {wiring.kernel.kind} joins no cells: none{each and ' but itself'} is within "
                                  f"{wiring.kernel.reach:g} {wiring.kernel.unit}".rstrip() + " of another.",
                          "Widen the kernel, or place the cells closer.")
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
    if drawn.unit not in ("", "ms") or drawn.velocity and not drawn.unit:
        problems.append(CortexError("E259", f"the delay of projection '{q.name}' is in {drawn.unit or 'steps'}.",
                                    "Delays are in ms; without a unit, and without a distance, in steps."))
    if drawn.velocity:
        place = graph.population(q.post).place
        problems += distances_exist(graph, q, "a delay that depends on distance")
        problems += same_unit(q, "distance / velocity takes a velocity in {0}, and it is in {1}",
                              place.unit if place else "", drawn.velocity_unit, unit("ms"))
    yield from problems
    if not problems:
        yield from _in_range(graph, q, drawn)


def _in_range(graph: Graph, q: Projection, drawn: Numbers) -> Iterator[CortexError]:
    """Ends, or means, that are on the grid and within the limits; what is drawn is set to the nearest step."""
    if drawn.velocity:
        yield from _travelling(graph, q, drawn)
        return
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


def _travelling(graph: Graph, q: Projection, drawn: Numbers) -> Iterator[CortexError]:
    """Offsets from 0 on, and no delay beyond the limit over the longest way; all go to the nearest step."""
    most = drawing.most_steps(drawn, graph.dt, farthest(graph, q), SIZE)
    if min(drawn.arguments) < 0 or most > DELAY:
        yield CortexError("E258", f"projection '{q.name}': delays of distance / {drawn.velocity:g} "
                                  f"{drawn.velocity_unit} are up to {most:g} steps over {farthest(graph, q):g}, and an "
                                  f"offset may not be negative; the limit is {DELAY}.")


def _bound_twice(graph: Graph, q: Projection) -> Iterator[CortexError]:
    for key in (key for key in ("pre", "post") if q.wiring and f"{q.name}.{key}" in graph.arrays):
        yield CortexError("E259", f"projection '{q.name}' draws '{key}', and array '{q.name}.{key}' is bound too.",
                          "Leave one out.")
