"""Circuits in fixed point on Lava's own Dense and LearningDense: the interpreter's bits in every state and weight, every
step. Lava's models run in threads here, with the phases of Loihi's protocol; `on_lava` runs them on Lava.

CORTEXC_STEPS=10000 for as many."""

import json
import os
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from fixed_point_setups import program, setup_of
from lava_in_threads import Threads, kept, stock_value
from lava_programs import output_of

from cortexc.compiler.backends.draws import input_columns
from cortexc.compiler.backends.feeding import sample_table
from cortexc.compiler.experiments.lava_circuits import module_of
from cortexc.compiler.ir import CortexError
from cortexc.compiler.passes.stock_phases import phase_plan, phase_text
from cortexc.compiler.verify.runs import feed_of, trajectory

STEPS = int(os.environ.get("CORTEXC_STEPS", "100"))
WHOLLY = {"pal-frozen": 2, "errors-frozen": 2, "dendritic-FA": 2, "dpc-FA": 2, "ann-frozen": 2, "spiking": 4}
"""All of whose projections with weights are stock; steps of Lava's in each of theirs."""


@cache
def quantised(name, steps=STEPS):
    """Signed weights of 9 bits, as a LearningDense has; what is sent and what rules read of 7."""
    bits = {} if name == "spiking" else {"weights": 9}
    return program(setup_of(name, steps, (1,)), "lava", hardware="loihi2", least_scale=2.0**-4, credit="settled",
                   messages=7, factors=7, steps=200, **bits)[0]


def started(setup, phases):
    """The circuit in threads, fed for as many of Lava's steps as each of its own takes."""
    graph, feed = setup.graph, feed_of(setup)
    block = feed.block(setup.protocol.total)
    table = sample_table(graph, setup.protocol, setup.samples)[block.rows[:, 0]]
    ports = {name.replace(".", "_") + "_in": table[:, part] for name, part in input_columns(graph)}
    ports |= {f"gate_{gate}_in": block.gates[:, i:i + 1] for i, gate in enumerate(("", *graph.gates)) if gate}
    module = module_of(graph, stock=True)
    held = {port: np.repeat(rows, phases, axis=0) for port, rows in ports.items()}
    return Threads(module, module.Circuit(seed=setup.seeds[0]), held)


def wrong_in(setup, steps=STEPS, plan=None):
    """What differs first, and in which step; weights that moved."""
    plan, names = plan or phase_plan(setup.graph), kept(setup.graph)
    threads = started(setup, plan.phases)
    chunks = list(trajectory(setup, names, "interpreter" if steps <= 1000 else "native"))
    rows = {name: np.concatenate([chunk[name] for chunk in chunks])[:, 0] for name in names}
    moved = [name for name in names if name.endswith(".w") and (rows[name][0] != rows[name][steps - 1]).any()]
    for step in range(steps):
        threads.run(plan.phases)
        for name in names:
            if not np.array_equal(stock_value(threads, plan, name), rows[name][step]):
                return (name, step), moved
    return None, moved


@pytest.mark.parametrize("name", WHOLLY if STEPS > 100 else ("pal-frozen", "errors-frozen", "ann-frozen", "spiking"))
def test_shipped_circuits_are_stock_and_have_the_same_bits(name):
    setup = quantised(name)
    plan = phase_plan(setup.graph)
    assert plan.why == {} and plan.phases == WHOLLY[name]
    assert sum(each.rule is not None for each in plan.stock.values()) >= 2
    wrong, moved = wrong_in(setup)
    assert wrong is None and moved


@pytest.mark.parametrize(("name", "why"), [
    ("pal-moving", {"BPP_0": "a sum of 2 products"}),
    ("dendritic-BP", {"WPP_1": "a mirror copies its weights"}),
    ("pal", {"WPP_0": "keeps 'tag' in every synapse"})])
def test_what_is_not_stock_runs_beside_it(name, why):
    setup = quantised(name)
    plan = phase_plan(setup.graph)
    assert {each: words for each, words in why.items() if words in plan.why[each]} == why
    assert all(words in phase_text(setup.graph, plan) for words in why.values())
    wrong, moved = wrong_in(setup)
    assert wrong is None and moved


@pytest.mark.parametrize(("old", "new"), [("3*2^-5*u0", "3*2^-4*u0"), ("rule.y1_tau = 1e18", "rule.y1_tau = 1"),
                                          (", 64))", ", 63))"), ("phases = 4", "phases = 5")])
def test_a_planted_fault_is_found(old, new, monkeypatch):
    from cortexc.compiler.backends.lava.ordinary import module

    made = module.circuit_module

    def broken(*given):
        found = made(*given)
        assert old in found.text
        found.text = found.text.replace(old, new)
        return found

    for place in ("cortexc.compiler.experiments.lava_circuits", "cortexc.compiler.backends.lava.ordinary.module"):
        monkeypatch.setattr(f"{place}.circuit_module", broken)
    assert wrong_in(quantised("spiking"), 40)[0] is not None


def test_what_is_not_in_fixed_point_is_refused():
    with pytest.raises(CortexError, match="E521 .*no fixed-point format"):
        module_of(setup_of("pal-frozen", 10, (1,)).graph, stock=True)


@pytest.mark.lava
def test_on_lava(tmp_path):
    found = json.loads(output_of(tmp_path, Path(__file__).parents[1] / "lava" / "circuit_scenarios.py", "stock").splitlines()[-1])
    assert found["wrong"] == [] and found["compared"] > 15 and found["moved"] >= 2
    assert set(found["processes"]) == {"Dense", "LearningDense"}
