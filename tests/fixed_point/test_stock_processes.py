"""Circuits in fixed point on Lava's own Dense and LearningDense: the interpreter's bits in every state and weight, every
step. Lava's models run in threads here, with the phases of Loihi's protocol; `on_lava` runs them on Lava.

CORTEXC_STEPS=10000 for as many."""

import json
import os
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from fixed_point_setups import program, setup_of
from lava_in_threads import Threads, kept, stock_value
from lava_programs import output_of

from cortexc.compiler.backends.feeding import input_columns, sample_table
from cortexc.compiler.experiments.config import load_experiment
from cortexc.compiler.experiments.lava_circuits import graph_of, module_of, stock_circuit
from cortexc.compiler.ir import CortexError, parse_graph, show_graph
from cortexc.compiler.ir.protocol import Phase, Protocol
from cortexc.compiler.passes.stock_phases import phase_plan, phase_text
from cortexc.compiler.verify.runs import Setup, feed_of, trajectory

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
            if not np.array_equal(stock_value(setup.graph, threads, plan, name), rows[name][step]):
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
    ("pal-moving", {"BPP_0": "has the product w, which is not"}),
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
    plant(monkeypatch, old, new)
    assert wrong_in(quantised("spiking"), 40)[0] is not None


def plant(monkeypatch, old, new):
    """In the emitted text."""
    from cortexc.compiler.backends.lava.ordinary import module

    made = module.circuit_module

    def broken(*given):
        found = made(*given)
        assert old in found.text
        found.text = found.text.replace(old, new)
        return found

    for place in ("cortexc.compiler.experiments.lava_circuits", "cortexc.compiler.backends.lava.ordinary.module"):
        monkeypatch.setattr(f"{place}.circuit_module", broken)


# ---- spike timing: two products, of a graded trace and of an event


TIMING = Path(__file__).parents[2] / "examples" / "lava" / "stdp.toml"


@cache
def timing(steps, source=TIMING):
    """The library's additive pair rule, in 8 bits."""
    experiment = load_experiment(source)
    graph = stock_circuit(experiment, graph_of(experiment))
    protocol = Protocol((Phase("run", 1, steps, gates=(("learn", (1.0,)),)),), ("run",))
    return Setup(graph, protocol, np.zeros((1, sum(p.size for p in graph.populations))), (1,))


def weights_of(setup):
    return np.concatenate([chunk["W.w"] for chunk in trajectory(setup, ["W.w"], "interpreter")])[:, 0] * 256


def test_pair_timing_is_a_learning_dense():
    setup = timing(2 * STEPS)
    plan = phase_plan(setup.graph)
    rule = plan.stock["W"].rule
    assert plan.why == {} and plan.phases == 3 and plan.stock["I"].process == "Dense"
    assert str(rule.pre) == "Prev(name='x_W_factor', depth=1)" and rule.event.name == "spike" and len(rule.thirds) == 2
    wrong, moved = wrong_in(setup, 2 * STEPS)
    assert wrong is None and moved == ["W.w"]


def fast(folder):
    """With steps so large that weights reach both limits."""
    text = TIMING.with_name("stdp.ir").read_text()
    assert "learning_rate 1 = 0.0156" in text
    (folder / "stdp_fast.ir").write_text(text.replace("learning_rate 1 = 0.0156", "learning_rate 1 = 0.0625"))
    (folder / "stdp.toml").write_text(TIMING.read_text().replace("stdp.ir", "stdp_fast.ir"))
    return timing(STEPS, folder / "stdp.toml")


def test_weights_at_their_limits_move_as_the_sum_of_both_products(tmp_path):
    setup = fast(tmp_path)
    weights = weights_of(setup)
    assert weights.min() == 0 and weights.max() == 255 and "W" in phase_plan(setup.graph).stock
    assert wrong_in(setup)[0] is None


@pytest.mark.parametrize(("old", "new"), [("x2_impulse=event", "x2_impulse=2 * event"), ("y2_tau = rule", "y2_tau = 1; rule"),
                                          ("*u0*x1*y", "*u0*x2*y"), (" * (spike > 0)", ""), ("gate_learn[0] > 0", "gate_learn[0] < 0")])
def test_a_planted_fault_in_timing_is_found(old, new, monkeypatch):
    plant(monkeypatch, old, new)
    assert wrong_in(timing(60), 60)[0] is not None


def test_products_in_the_other_order_are_cut_off(tmp_path, monkeypatch):
    setup = fast(tmp_path)
    down, up = phase_plan(setup.graph).stock["W"].rule.dw.replace(" ", "").split("+")
    plant(monkeypatch, f"{down}+{up}", f"{up}{down}")
    assert wrong_in(setup)[0] is not None


TWO_TRACES = """rule timing
  increment 0.01 * (pre.fast * post.spike - pre.slow * post.spike)
"""
SIGNED = [("  limits 0 1", "  limits -1 1")]
GRADED = [("  message spike\ncell lif", """  state fast = 0
  state slow = 0
  send fast = 0.5 * prev(fast) + spike
  send slow = 0.75 * prev(slow) + spike
  message spike
cell lif"""), ("""rule timing = library.stdp_additive
  parameter learning_rate 1 = 0.0156
  parameter w_max = 1
""", TWO_TRACES)]


def changed(folder, changes, form="u8.8", steps=60):
    """The circuit of spike timing with other lines."""
    text = TIMING.with_name("stdp.ir").read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    (folder / "stdp.ir").write_text(text)
    (folder / "stdp.toml").write_text(TIMING.read_text().replace("u8.8", form))
    return timing(steps, folder / "stdp.toml")


@pytest.mark.parametrize(("changes", "form", "words"), [
    (SIGNED, "9.8", "2 products of either sign"), (GRADED, "u8.8", "2 presynaptic factors, of which")])
def test_timing_that_is_no_learning_dense(changes, form, words, tmp_path):
    assert words in phase_plan(changed(tmp_path, changes, form).graph).why["W"]


def test_timing_behind_a_mask():
    setup = timing(60)
    text, arrays = show_graph(setup.graph), setup.graph.arrays
    assert "  port current\n  rule timing_W\n" in text
    mask = (np.random.default_rng(1).random(arrays["W.w"].shape) < 0.6) * 1.0
    graph = parse_graph(text.replace("  port current\n  rule", "  port current\n  connectivity masked\n  rule")).with_(
        arrays={**arrays, "W.w": arrays["W.w"] * mask, "W.mask": mask})
    rule = phase_plan(graph).stock["W"].rule
    assert rule.dw.count("*t") == 2 and rule.impulse == 16
    assert wrong_in(replace(setup, graph=graph), 60) == (None, ["W.w"])


# ---- lists of synapses


LISTED = [("  limits 0 1", "  connectivity sparse\n  limits 0 1"), ("gate=learn\n", "gate=learn\n  connect probability 0.5 seed=1\n")]
LATERAL = [("  port inhibition\npopulation", "  port inhibition\n  connectivity sparse\npopulation"),
           ("cortex -> cortex\n", "cortex -> cortex\n  connect probability 0.5 seed=1\n")]
GROWING = [(GRADED[1][0], """rule timing
  state y 1 = 0
  update y = 0.9 * prev(y) + post.spike
  increment 0.05 * pre.spike * y
"""), ("limits 0 1", "limits -1 1"), ("uniform(0.1, 0.5)", "uniform(-0.5, 0.7)")]


def test_lists_are_sparse_processes(tmp_path):
    setup = changed(tmp_path, [*LISTED, *GROWING, *LATERAL], "9.8")
    plan = phase_plan(setup.graph)
    assert {name: each.process for name, each in plan.stock.items()} == {"W": "LearningSparse", "I": "Sparse"}
    wrong, moved = wrong_in(setup, 60)
    assert wrong is None and moved == ["W.w"]


def test_lists_with_delays_are_delay_sparse(tmp_path):
    setup = changed(tmp_path, [*LATERAL, ("  w = 0.25", "  w = 0.25\n  delay = uniform(1, 6)")])
    assert phase_plan(setup.graph).stock["I"].process == "DelaySparse"
    assert len(set(setup.graph.arrays["I.delay"])) > 2 and wrong_in(setup, 60) == (None, ["W.w"])
    slow = changed(tmp_path, [*LATERAL, ("  w = 0.25", "  w = 0.25\n  delay = uniform(1, 60)")], steps=10)
    assert "its delays exceed 63 of Lava's steps" in phase_plan(slow.graph).why["I"]


@pytest.mark.parametrize(("changes", "words"), [
    (LISTED, "of one sign"), ([*LISTED, *GROWING, ("probability 0.5 seed=1", "fixed_indegree 9 seed=1 multapses")], "several synapses between two cells"),
    ([*LISTED, *GROWING, ("uniform(-0.5, 0.7)", "0")], "weights of 0, which LearningSparse leaves out"),
    ([*LISTED, *GROWING, ("  w = uniform(-0.5, 0.7)", "  w = uniform(-0.5, 0.7)\n  delay = uniform(1, 4)")], "a delay of its own")])
def test_lists_that_stay_ours(changes, words, tmp_path):
    assert words in phase_plan(changed(tmp_path, changes, "u8.8" if changes == LISTED else "9.8").graph).why["W"]


def test_what_is_not_in_fixed_point_is_refused():
    with pytest.raises(CortexError, match="E521 .*no fixed-point format"):
        module_of(setup_of("pal-frozen", 10, (1,)).graph, stock=True)


@pytest.mark.lava
def test_on_lava(tmp_path):
    found = json.loads(output_of(tmp_path, Path(__file__).parents[1] / "lava" / "circuit_scenarios.py", "stock").splitlines()[-1])
    assert found["wrong"] == [] and found["compared"] > 15 and found["moved"] >= 2
    assert set(found["processes"]) == {"Dense", "LearningDense"}
