"""Random circuits: the interpreter and the lowered program agree to the bit, in every partition.

The circuits have every feature of the IR that has a lowering: several cell types with random equations, delays up to
3, relays, loops, masked, blocked, one-to-one and identity projections, plasticity with traces, low pass, limits and
gates, mirrors, noise, seeds and samples, weights shared or not, updates fused with the next delivery.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from random_graphs.choices import Kinds, RandomChoices
from random_graphs.circuits import random_setup
from random_graphs.differences import bits

from cortexc.compiler.backends.lowering import lower
from cortexc.compiler.backends.native import Grouped, Native
from cortexc.compiler.ir import parse_graph, show_graph
from cortexc.compiler.ir.functions import ARITY
from cortexc.compiler.ir.model import group_of
from cortexc.compiler.ir.protocol import Phase, Protocol
from cortexc.compiler.passes.partition import splittable
from cortexc.compiler.verify.mutation.campaign import plain_python
from cortexc.compiler.verify.runs import Setup, aligned, compiled, quantities, recording_protocol, trajectory

MANY = settings(max_examples=60, deadline=None, derandomize=True, database=None,
                suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much])


class DrawnChoices:
    """Decisions by hypothesis, so that a failing circuit shrinks."""

    def __init__(self, data: st.DataObject):
        self.data = data

    def integer(self, low: int, high: int) -> int:
        return self.data.draw(st.integers(low, high))

    def pick(self, items: Sequence):
        return items[self.integer(0, len(items) - 1)]


def disagreements(setup: Setup, wanted: Sequence[str], other) -> list[str]:
    """Quantities whose bits differ from the interpreter's at some step."""
    found = []
    for start, ours, theirs in aligned(trajectory(setup, wanted, "interpreter"), other):
        assert set(theirs) >= {q for q in wanted if not q.endswith(".increment")}
        for name, values in theirs.items():
            same = bits(ours[name]) == bits(values)
            if not same.all():
                step = start + int(np.argwhere(~same)[0][0])
                found.append(f"{name} at step {step}: {values[step - start]} for {ours[name][step - start]}")
    return found


@pytest.mark.slow
@MANY
@given(st.data())
def test_lowered_program_has_the_interpreters_bits(data):
    choices = DrawnChoices(data)
    with plain_python():
        setup = random_setup(choices)
        fused = any(q.lowering for q in setup.graph.projections)
        wanted = quantities(setup.graph, increments=not fused and choices.integer(0, 1) == 1)
        assert disagreements(setup, wanted, compiled(setup, wanted, "native")) == [], show_graph(setup.graph)


@pytest.mark.slow
@MANY
@given(st.data())
def test_every_partition_has_the_interpreters_bits(data):
    choices = DrawnChoices(data)
    with plain_python():
        setup = random_setup(choices, Kinds(fused=False))
        setup = replace(setup, graph=in_random_groups(setup.graph, choices))
        wanted = quantities(setup.graph, increments=True)
        assert disagreements(setup, wanted, in_groups(setup, wanted)) == [], show_graph(setup.graph)


def in_random_groups(graph, choices):
    """Populations and projections in random groups, where possible divided over several."""
    count, divisible = choices.integer(1, 5), splittable(graph)

    def group(population):
        size, names = graph.population(population).size, []
        while population in divisible and sum(cells for _, cells in names) < size and choices.integer(0, 2):
            names.append((f"g{choices.integer(1, count)}", choices.integer(1, size - sum(n for _, n in names))))
        left = size - sum(cells for _, cells in names)
        return group_of([*names, (f"g{choices.integer(1, count)}", left)] if left else names)

    return graph.with_(populations=tuple(replace(p, group=group(p.name)) for p in graph.populations),
                       projections=tuple(replace(q, group=group(q.post)) for q in graph.projections))


def in_groups(setup: Setup, wanted: Sequence[str]):
    """The recorded run of the circuit's own groups."""
    program = lower(setup.graph, frozenset(wanted))
    stored = tuple(name for name in wanted if name in program.slots.sizes)
    run = Grouped(program, recording_protocol(setup.protocol, stored), setup.samples, list(setup.seeds), setup.noise)
    assert set(run.parts) == set(program.groups)
    run.run(block=5)
    for name in stored:
        assert np.array_equal(run.value(name), run.records.rows("verify", name)[-1])
    yield {name: run.records.rows("verify", name) for name in stored}


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(12))
def test_block_length_changes_nothing(seed):
    """Weights are recorded at the end only, so that pending increments cross the cuts."""
    with plain_python():
        setup = random_setup(RandomChoices(1000 + seed), Kinds(steps=16))
        weights = [name for name in quantities(setup.graph) if name.endswith((".w", ".low_pass"))]
        program = lower(setup.graph)
        finals = []
        for block in (1, 3, 1000):
            run = Native(program, setup.protocol, setup.samples, list(setup.seeds), setup.noise)
            run.run(block=block)
            finals.append([bits(run.value(name)) for name in weights])
    assert all(np.array_equal(a, b) for other in finals[1:] for a, b in zip(finals[0], other, strict=True))


@pytest.mark.slow
@pytest.mark.skipif(os.environ.get("CORTEXC_JIT") == "0", reason="kernels are not compiled")
@pytest.mark.parametrize("seed", [3, 2005])
def test_compiled_kernels_have_the_interpreters_bits(seed):
    setup = random_setup(RandomChoices(seed))
    wanted = quantities(setup.graph)
    assert disagreements(setup, wanted, compiled(setup, wanted, "native")) == []


EXPRESSIONS = ("x / y", "x - y", "-x", "where(x > y, x, -y)", "(x > 0 and y > 0) - (x <= y or y != 1)", "pow(2, y)",
               "pow(x, 2)", "pow(x, 0.5)", "pow(x, 3)", "pow(x, -1)", "pow(x, 1 + 1)", "pow(0.5, y)", "x / 3",
               "exp(log(x))", "log(exp(x))", "sqrt(x * x + y * y)", "x * y + x", "tanh(x) - tanh(y)")


def test_functions_have_the_interpreters_bits():
    """Every function over ordinary and extreme arguments, compiled where kernels are compiled."""
    calls = [f"{name}({', '.join('xyz'[:count])})" for name, count in ARITY.items()
             if not name.startswith(("shift", "fixed"))] + [
        "shift_left(x, 3)", "shift_right(x, 2)", "fixed(x, 16, 100, 0.5)", *EXPRESSIONS]
    lines = [f"  input {v}" for v in "xyz"] + [f"  send e{i} = {call}" for i, call in enumerate(calls)]
    graph = parse_graph("graph functions\ncell c\n" + "\n".join(lines) + "\npopulation p c 400\n")
    rows = arguments()
    setup = Setup(graph, Protocol((Phase("all", len(rows), 1),), ("all",)), rows)
    wanted = quantities(graph)
    found = disagreements(setup, wanted, compiled(setup, wanted, "native"))
    assert [calls[int(text.split()[0][3:])] for text in found] == []


def arguments() -> np.ndarray:
    """(rows, 3 * 400): random values of all sizes, then every pair of the special ones."""
    rng = np.random.default_rng(0)
    parts = [rng.normal(size=(20, 600)), rng.normal(size=(20, 400)) * 10.0 ** rng.integers(-12, 3, (20, 400)),
             rng.integers(-5, 6, (20, 150)).astype(float), rng.uniform(-800, 800, (20, 50))]
    mixed = rng.permuted(np.concatenate(parts, axis=1), axis=1)
    special = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 1, -1, 5e-324, 1e308, 2, 0.5, -0.5, 3, -3, 1e-300, 709.8,
                        -745.2, 6, -6, 30])
    first, second = np.meshgrid(special, special)
    return np.concatenate([mixed, np.concatenate([first.ravel(), second.ravel(), np.ones(400)])[None]])
