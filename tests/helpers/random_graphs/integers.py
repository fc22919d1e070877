"""Random circuits in integers: their ranges from a run in float, every number rounded."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from random_graphs.choices import Kinds, RandomChoices
from random_graphs.circuits import random_setup
from random_graphs.expressions import INTEGER
from random_graphs.rules import integer_rule

from cortexc.compiler.ir import CortexError
from cortexc.compiler.passes import Pass, run_passes
from cortexc.compiler.passes.count_underflow import CountUnderflow
from cortexc.compiler.passes.name_products import NameProducts
from cortexc.compiler.passes.quantise import Quantise
from cortexc.compiler.passes.widths import Widths
from cortexc.compiler.verify.oracles.integers import Source
from cortexc.compiler.verify.runs import Setup, quantities, trajectory

KINDS = Kinds(fused=False, maps=False, words=INTEGER, rule=integer_rule)
NO_FORM = "E61"
"""Begins the codes of circuits that have no integer form."""


def integer_setup(seed: int) -> Setup | None:
    """A random circuit in integers; None where it has no integer form."""
    found = integer_program(seed)
    return found and found[0]


def integer_program(seed: int, kinds: Kinds = KINDS) -> tuple[Setup, Source] | None:
    """The same with what was quantised."""
    choices = RandomChoices(seed)
    setup = random_setup(choices, kinds)
    if setup.graph.samples > 1:
        return None
    try:
        return _quantised(setup, choices)
    except CortexError as error:
        if not error.code.startswith(NO_FORM):
            raise
        return None


def _quantised(setup: Setup, choices: RandomChoices) -> tuple[Setup, Source]:
    bits, graph = choices.pick((12, 6)), setup.graph
    prepared = run_passes(graph, [NameProducts(bits)]).graph
    setup = replace(setup, graph=prepared)
    widths = Widths(states=choices.pick((16, 12)), messages=choices.pick((6, 8)), factors=choices.pick((6, 8)),
                    weights=choices.pick((8, 4)), tags=9, tables=6, values=8, coefficients=bits)
    rounding = choices.pick(("stochastic", "shared", "nearest"))
    count = choices.pick((False, True))
    passes: list[Pass] = [Quantise(peaks(setup), widths, rounding, count=count)]
    passes += [CountUnderflow()] if count else []
    source = Source(graph, bits, widths.states, widths.messages, widths.factors, rounding)
    return replace(setup, graph=run_passes(prepared, passes).graph), source


def peaks(setup: Setup) -> dict[str, float]:
    """The greatest magnitudes of a run; of inputs, draws and parameters what they may be."""
    graph = setup.graph
    peaks = {q: 0.0 for q in quantities(graph)}
    for values in trajectory(setup, list(peaks), "interpreter"):
        peaks |= {q: max(peaks[q], float(np.abs(v).max(initial=0.0))) for q, v in values.items()}
    for p in graph.populations:
        cell = graph.cell(p.cell)
        peaks |= {f"{p.name}.{n}": 3.0 for n in (*cell.inputs, *(name for name, _ in cell.noise))}
        peaks |= {f"{p.name}.{parameter.name}": 1.0 for parameter in cell.parameters}
    return peaks
