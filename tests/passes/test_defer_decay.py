"""Traces at synapses that wait for events are what they are when every step moves them."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from decimal import Decimal, localcontext
from functools import partial
from importlib import import_module

import numpy as np
import pytest
from random_graphs.differences import expected, outcome
from waiting_circuits import PRE, RULE, WANTED, drawn_rule, graph_of, lazily, setup_of

import cortexc
from cortexc.compiler.backends import recording
from cortexc.compiler.backends.interpreter import Interpreter
from cortexc.compiler.backends.loading import c_compiler
from cortexc.compiler.backends.lowering import lazy, lower, visits, waiting
from cortexc.compiler.backends.native import Native, Single
from cortexc.compiler.backends.table import BACKENDS, Given, Work
from cortexc.compiler.ir import CortexError
from cortexc.compiler.ir.protocol import Record, Stream
from cortexc.compiler.passes.base import Request
from cortexc.compiler.passes.defer_decay import DeferDecay
from cortexc.compiler.verify import Setup
from cortexc.compiler.verify.mutation.campaign import plain_python
from cortexc.compiler.verify.runs import Stimulus, blocks, compiled, interpreted

in_c = pytest.mark.skipif(c_compiler() is None, reason="threads and single precision need a C compiler")
KINDS = ("sparse", "dense", "masked")


@pytest.fixture(autouse=True)
def rows_and_columns(monkeypatch):
    """Also in networks so small that the pass would leave them alone, or visit all synapses at any event."""
    monkeypatch.setattr(lazy, "MANY", 1)
    monkeypatch.setattr(import_module("cortexc.compiler.passes.pipeline"), "DeferDecay", partial(DeferDecay, 0))


def trajectory(parts, wanted=WANTED) -> dict[str, np.ndarray]:
    found = list(parts)
    return {name: np.concatenate([part[name].reshape(len(part[name]), -1) for part in found]) for name in wanted}


def apart(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> float:
    """The largest difference, in parts of a quantity's largest value."""
    return max(float(np.abs(one[name] - other[name]).max() / np.abs(one[name]).max()) for name in one)


def run_of(setup: Setup, kind: type[Native] = Native, threads: int = 1, record: tuple[str, ...] = (), every: int = 7):
    streams = (Stream("s", record),) if record else ()
    phases = tuple(replace(p, records=(("s", Record(every=every)),) if record else ()) for p in setup.protocol.phases)
    protocol = replace(setup.protocol, phases=phases, streams=streams)
    return kind(lower(setup.graph, frozenset(record), threads), protocol, setup.samples, [0])


# ---- lazily is every step


@pytest.mark.parametrize("seed", range(9))
@pytest.mark.parametrize("kind", KINDS)
def test_drawn_rules_lazily_and_every_step(kind, seed):
    rng = np.random.default_rng(seed)
    limits, delay = rng.choice(["-1 1.5", "-inf inf"]), int(rng.integers(1, 3))
    one = setup_of(graph_of(kind, drawn_rule(rng), str(limits), seed, delay))
    two, wanted = lazily(one), [*WANTED, "W.e"]
    assert two.graph.projection("W").lowering == "lazy" and lower(two.graph).waiting["W"].decays
    reference = list(interpreted(one, wanted))
    meant = trajectory(reference, wanted)
    assert np.ptp(meant["W.w"], axis=0).any() and np.isfinite(meant["W.w"]).all()
    with plain_python():
        assert apart(meant, trajectory(compiled(two, wanted, "native"), wanted)) < 1e-12
        assert outcome(one, expected(one, wanted), wanted, "native", "network") == ("equal", []), "switched off: the bits"


@pytest.mark.parametrize("kind", KINDS)
def test_compiled_kernels_agree_too(kind):
    """Also where two states have one decay."""
    one = setup_of(graph_of(kind, RULE.replace("exp(-dt / tau)", "0.9")))
    assert apart(trajectory(interpreted(one, WANTED)), trajectory(compiled(lazily(one), WANTED, "native"))) < 1e-12


@pytest.mark.parametrize("side, own_delays, waits", [("arrived", False, True), ("pre", True, True), ("arrived", True, False)])
def test_messages_that_travel(side, own_delays, waits):
    graph = graph_of("sparse", RULE.replace("pre.spike", f"{side}.spike"), delay=3)
    delays = {"W.delay": np.random.default_rng(2).integers(1, 5, 80)} if own_delays else {}
    one = setup_of(graph.with_(arrays={**graph.arrays, **delays}))
    two = lazily(one)
    assert (two.graph.projection("W").lowering == "lazy") == bool(lower(two.graph).waiting) == waits
    with plain_python():
        assert apart(trajectory(interpreted(one, WANTED)), trajectory(compiled(two, WANTED, "native"))) < 1e-12


def test_in_steps_in_which_all_are_visited_the_bits_are_those_of_the_interpreter(monkeypatch):
    monkeypatch.setattr(lazy, "MANY", 10**6)
    one = setup_of(graph_of("sparse"), silent=(0, 0))
    with plain_python():
        assert outcome(lazily(one), expected(one, WANTED), WANTED, "native", "network") == ("equal", [])


@pytest.mark.parametrize("decay", ["0.9999", "0.97", "1.0 * 1", "0"])
def test_after_any_silence_a_trace_is_the_power_of_its_decay(decay):
    """More steps than a sweep; each element within 1e-12 of itself."""
    rule = RULE.replace("exp(-dt / tau)", decay)
    setup, places = lazily(setup_of(graph_of("sparse", rule), 50_000, (60, 50_000))), (60, 2_000, 16_383, 16_384, 16_385, 40_000)
    setup.samples[60:] = 0
    run, found = run_of(setup), {}
    for at in (80, *places[1:]):
        run.run(at - run.position)
        found[at] = run.value("W.c")
    with localcontext() as context:
        context.prec = 60
        for at in places[1:]:
            power = Decimal(float(decay.split(" *")[0])) ** (at - 80)
            meant = np.array([[float(Decimal(c) * power) for c in found[80][0].tolist()]])
            normal = np.abs(meant) > 1e-290
            assert (found[80].any() or decay == "0") and (np.abs(found[at] - meant)[normal] <= 1e-12 * np.abs(meant)[normal]).all()
            assert np.abs(found[at][~normal]).max(initial=0) <= 1e-290


def test_what_is_zero_stays_zero():
    setup = lazily(setup_of(graph_of("dense", RULE.replace("state c = 0.1", "state c = 0"))))
    setup.samples[:] = 0
    run = run_of(setup)
    run.run(100)
    assert not run.value("W.c").any() and (run.value("W.w")[0] == setup.graph.arrays["W.w"]).all()


# ---- who looks at a trace


@pytest.mark.parametrize("kind", ["sparse", "dense"])
def test_recordings_are_up_to_date_and_change_nothing(kind):
    setup = lazily(setup_of(graph_of(kind)))
    with plain_python():
        with_records, without = run_of(setup, record=("W.c", "W.w")), run_of(setup)
        for block in (40, 33, 50, 37):
            with_records.run(block, block=9), without.run(block)
        for name in ("W.c", "W.w", "W.x"):
            assert (with_records.value(name) == without.value(name)).all()
        meant = trajectory(interpreted(setup, ["W.c", "W.w"]), ["W.c", "W.w"])
        for name in meant:
            rows = with_records.records.rows("s", name)
            assert len(rows) == 23
            assert np.abs(rows.reshape(len(rows), -1) - meant[name][::7]).max() < 1e-12 * np.abs(meant[name]).max()


@pytest.mark.parametrize("kind", ["sparse", "dense"])
def test_a_resumed_run_has_the_bits_of_one_that_was_not_interrupted(kind):
    setup = lazily(setup_of(graph_of(kind)))
    with plain_python():
        whole, first, second = run_of(setup), run_of(setup), run_of(setup)
        whole.run(block=1000), first.run(70, block=11)
        assert not any("powers" in name for name in first.state())
        second.restore(first.state())
        assert (second.value("W.c") == first.value("W.c")).all()
        second.run(block=17)
        for name in ("W.c", "W.w", "W.x", "C.v"):
            assert whole.value(name).tobytes() == second.value(name).tobytes()


@pytest.mark.parametrize("kind", ["sparse", "dense"])
def test_a_trace_that_is_set(kind):
    setup = setup_of(graph_of(kind))
    interpreter, stimulus, number = Interpreter(setup.graph), Stimulus(setup), 0
    with plain_python():
        run = run_of(lazily(setup))
        for block in blocks(setup, None, 80):
            for t in range(len(block.gates)):
                interpreter.step(*stimulus.step(block, t))
            run.run(len(block.gates))
            if number == 0:
                value = np.random.default_rng(5).uniform(-1, 1, run.value("W.c").shape)
                run.put("W.c", value)
                interpreter.values["W.c"] = value.copy()
                assert (run.value("W.c") == value).all()
            number += 1
        for name in ("W.c", "W.x", "W.w"):
            assert np.abs(run.value(name) - interpreter.values[name]).max() < 1e-12


# ---- numbers that are not finite, threads, single precision


@pytest.mark.parametrize("where", ["trace", "weight", "set"])
def test_what_leaves_the_finite_numbers_is_seen(where):
    """Infinity times a reward of 0 is nan, at synapses without events too."""
    limits = "-inf inf" if where == "weight" else "0 1.5"
    rule = RULE.replace("0.1 * x", "1e308 * x" if where == "trace" else "0.1 * x")
    rule = rule.replace("0.05 * c", "1e150 * (0.1 + w * w) * c") if where == "weight" else rule
    setup = setup_of(graph_of("sparse", rule, limits))
    meant = trajectory(interpreted(setup, WANTED))
    with plain_python():
        run = run_of(lazily(setup))
        if where == "set":
            run.run(3)
            run.put("W.c", np.full_like(run.value("W.c"), np.inf))
            run.run(3)
            assert np.isnan(run.value("W.w")).all()
            return
        run.run()
        assert not np.isfinite(meant["W.w"][-1]).all()
        assert (np.isfinite(meant["W.w"][-1]) == np.isfinite(run.value("W.w")[0])).all()


@in_c
@pytest.mark.parametrize("kind", ["sparse", "dense"])
def test_two_threads_have_the_bits_of_one(kind):
    setup = lazily(setup_of(graph_of(kind)))
    one, two = run_of(setup), run_of(setup, threads=2)
    one.run(), two.run()
    assert len(two.group.shares) == 2
    for name in ("W.c", "W.w", "W.x"):
        assert one.value(name).tobytes() == two.value(name).tobytes()


@in_c
def test_single_precision():
    setup = setup_of(graph_of("sparse"))
    every, late = run_of(setup, Single), run_of(lazily(setup), Single)
    every.run(60), late.run(60)
    for name in ("W.c", "W.w"):
        assert np.allclose(every.value(name), late.value(name), rtol=1e-4, atol=1e-6)


@pytest.mark.lava
def test_lava_runs_the_same_kernels():
    setup = lazily(setup_of(graph_of("sparse")))
    native, given = run_of(setup), Given(setup.protocol, setup.samples, (0,))
    with closing(BACKENDS["lava"](Work(setup.graph), given)) as lava:
        for run in (native, lava):
            run.run(70)
            run.put("W.c", 0.5 * run.value("W.c"))
            run.run(60)
        assert native.value("W.w").any() and all(
            native.value(name).tobytes() == lava.value(name).tobytes() for name in ("W.c", "W.w", "W.x", "C.v"))


# ---- a simulation, a session


def test_a_simulation_without_it_has_the_bits_of_the_interpreter():
    samples = setup_of(graph_of("sparse")).samples
    given = {"inputs": {"I.value": samples[:, :PRE], "R.value": samples[:, PRE:]}, "gates": {"learn": 1.0}, "record": WANTED}
    late, every, meant = (cortexc.simulate(graph_of("sparse"), **given, **options) for options in (
        {}, {"without": ["defer-decay"]}, {"backend": "interpreter"}))
    assert all(np.array_equal(every[name], meant[name]) for name in WANTED)
    assert not np.array_equal(late["W.c"], meant["W.c"]) and apart(dict(meant), dict(late)) < 1e-12
    with pytest.raises(CortexError, match="X156.*Did you mean 'defer-decay'"):
        cortexc.simulate(graph_of("sparse"), **given, without=["defer_decay"])


def test_a_parameter_that_is_set_counts_from_then_on():
    """The trace has decayed with the old one until then."""
    def played(disable: list[str]) -> dict[str, np.ndarray]:
        small = {"run.seeds": [1], "protocol.tests": 2, "protocol.dataset_size": 4, "protocol.epochs": 1}
        with cortexc.Session(cortexc.load("rstdp", {**small, "passes.disable": disable})) as session:
            session.run(3000)
            before = session.get("W.c")
            session.set("W.tau_c", 100.0)
            found = {"before": before, "then": session.get("W.c")}
            session.run(150)
            return found | {name: session.get(name) for name in ("W.c", "W.w")}

    late, every = played(["fold"]), played(["fold", "defer-decay"])
    assert every["then"].any() and apart(every, late) < 1e-12 and (late["before"] != late["W.c"]).any()


# ---- faults are seen


def _one_step_too_many(self, learning, until, place, count=lazy.Lazy._count_steps):
    count(self, learning, until + 1.0, place)


FAULTS = {
    "one step too many": (lazy.Lazy, "_count_steps", _one_step_too_many),
    "a wrong power": (waiting, "powers_of", lambda decay, powers=waiting.powers_of: powers(decay * (1 - 1e-9))),
    "visits are not written down": (lazy.Lazy, "_write_down", lambda *parts: None),
    "no columns": (visits, "_each_column", lambda *parts: None),
    "the trace is recorded as it lies there": (recording, "_recorded", lambda program, quantity: quantity)}


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_are_seen(monkeypatch, fault):
    setup = setup_of(graph_of("sparse"))
    meant = trajectory(interpreted(setup, WANTED))
    owner, name, broken = FAULTS[fault]
    monkeypatch.setattr(owner, name, broken)
    if fault == "a wrong power":
        monkeypatch.setattr("cortexc.compiler.backends.lowering.program.powers_of", broken)
    with plain_python():
        assert apart(meant, trajectory(compiled(lazily(setup), WANTED, "native"))) > 1e-12


# ---- what is found


LEFT_ALONE = {
    "a trace that moves in every step": (RULE.replace("- 0.08 * post.trace * pre.spike", "+ 0.01 * pre.trace"), {}),
    "a trace that grows": (RULE.replace("exp(-dt / tau) *", "1.01 *"), {}),
    "a square": (RULE.replace("exp(-dt / tau) *", "prev(c) *"), {}),
    "a weight that decays": (RULE + " - 0.001 * w", {}),
    "a division by what may be 0": (RULE + " / post.trace", {}),
    "an optimiser": (RULE + "\n  optimiser low_pass(0.5)", {}),
    "what is delivered": (RULE + "\n  deliver w * c", {}),
    "random numbers": (RULE.replace("  state x", "  noise u uniform\n  state x") + " + 0 * u", {}),
    "another step's trace": (RULE.replace("update c =", "update c = 0.1 * prev(x) +"), {}),
    "whole units": (RULE, {"unit": 1 / 64}),
    "several seeds": (RULE, {"seeds": 2})}


@pytest.mark.parametrize("case", LEFT_ALONE)
def test_what_is_left_alone(case):
    rule, options = LEFT_ALONE[case]
    graph = graph_of("dense", rule).with_(seeds=options.get("seeds", 1))
    graph = graph.with_(synapses=tuple(replace(s, unit=options.get("unit", 0.0)) for s in graph.synapses))
    assert DeferDecay(0).apply(graph, Request()).projection("W").lowering == ""


def test_an_observed_increment_is_left_alone_and_lowering_by_hand_holds_where_it_may():
    graph = graph_of("sparse")
    assert DeferDecay(0).apply(graph, Request(frozenset({"W.increment"}))).projection("W").lowering == ""
    by_hand = lazily(setup_of(graph)).graph
    assert lower(by_hand).waiting and not lower(by_hand, frozenset({"W.increment"})).waiting
    grows = replace(by_hand.rule("tagged"), increment=by_hand.rule("tagged").increment * by_hand.rule("tagged").increment + 1.0)
    assert not lower(by_hand.with_(rules=(grows,))).waiting


def test_few_synapses_are_left_alone():
    graph = graph_of("dense")
    assert [DeferDecay(least).apply(graph, Request()).projection("W").lowering for least in (240, 241)] == ["lazy", ""]


def test_traces_that_all_synapses_of_a_cell_share_wait_for_nothing():
    rule = "  state x = 0\n  update x = 0.9 * prev(x) + pre.spike\n  increment 0.1 * x * post.spike"
    found = {kind: DeferDecay(0).apply(graph_of(kind, rule), Request()).projection("W").lowering for kind in ("sparse", "dense")}
    assert found == {"sparse": "", "dense": "lazy"}
