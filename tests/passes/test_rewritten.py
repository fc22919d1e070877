"""Rewrites across steps, in the interpreter alone: the rewritten graph beside the graph as written, and beside the lowering.

The circuits are random ones, and random ones with a held input; the interpreter runs them as the passes left them.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from random_graphs.choices import Choices, Kinds, RandomChoices, maybe
from random_graphs.circuits import random_setup

from cortexc.compiler.backends.interpreter import Interpreter
from cortexc.compiler.backends.lowering import lower
from cortexc.compiler.backends.native import Native
from cortexc.compiler.backends.rewritten import InterpreterRun, Rewritten
from cortexc.compiler.ir import Graph, parse_graph, show_graph
from cortexc.compiler.ir.protocol import Phase, Protocol, Record, Stream
from cortexc.compiler.passes import Request, run_passes
from cortexc.compiler.passes.fuse_update import FuseUpdate
from cortexc.compiler.passes.held_forms import form_of, lines
from cortexc.compiler.passes.hoist_constant_input import HoistConstantInput
from cortexc.compiler.passes.partition import Partition
from cortexc.compiler.verify import Setup
from cortexc.compiler.verify.mutation.campaign import plain_python

REWRITES = [HoistConstantInput(least_inputs=1), FuseUpdate()]
TEXT = """
graph case
  gate learn
  gate apply
cell source
  input value
  state rate = 0.5
  state trace = 0
  send trace = 0.5 * prev(trace) + gate.learn
  send rate = {message}
  message rate
cell leaky
  port a
  parameter gain = 0.7
  state u = 0.1
  receive u = 0.5 * prev(u) + tanh(a)
  factor slope = gain * u
  message u
rule r
  parameter eta = 0.3
  increment {increment}
  {optimiser}
synapse p
  message rate
  port a
  {rule}
  {masked}
population input source {inputs}
population out leaky {outputs}
projection W p input -> out {gates}
projection V p input -> out {gates}
output y = out.u
"""
FACTORS = ("post.u", "eta * post.slope", "eta * (prev(post.u) - post.u)", "(post.u * gate.learn + eta)")
SUMMED = ("accumulate", "clipped(0.2)", "adam(0.01, 0.9, 0.99, 1e-4)")


def held(c: Choices) -> Setup:
    """A random circuit with a held input, which is to be hoisted."""
    optimiser = c.pick(("none", "low_pass(0.3)", "low_pass(eta)", "static", *SUMMED))
    summed, static = optimiser in SUMMED, optimiser == "static"
    seeds, samples = (c.integer(1, 2), c.pick((1, 2, 9))) if summed else (1, 1)
    x = "pre.rate" if summed or maybe(c) else "prev(pre.rate)"
    factor = c.pick(FACTORS)
    text = TEXT.format(
        message="value * trace" if summed and maybe(c) else "value",
        increment=f"{factor} * {x}" if maybe(c) else f"{x} * ({factor})", inputs=c.integer(1, 11), outputs=c.integer(1, 9),
        optimiser="" if static or optimiser == "none" else f"optimiser {optimiser}", rule="" if static else "rule r",
        masked="connectivity masked" if summed and maybe(c) else "",
        gates="" if static else f"gate=learn{' apply=apply' if summed and maybe(c) else ''}")
    graph, rng = parse_graph(text), np.random.default_rng(c.integer(0, 999))
    shape = graph.population("out").size, graph.population("input").size
    arrays = {f"{q}.w": rng.normal(0, 0.3, shape) for q in "WV"}
    arrays |= {f"{q}.mask": rng.integers(0, 2, shape).astype(float) for q in "WV"} if "masked" in text else {}
    gates = tuple((g, tuple(float(c.integer(0, 3) > 0) for _ in range(c.integer(1, 7)))) for g in graph.gates)
    phases = tuple(Phase(f"p{i}", c.integer(1, 4), c.integer(1, 5), gates=gates, records=(("w", Record(every=c.integer(2, 9))),))
                   for i in range(2))
    protocol = Protocol(phases, ("p0", "p1", "p0"), (Stream("w", ("V.w",)),))
    return Setup(graph.with_(arrays=arrays, seeds=seeds, samples=samples), protocol, rng.normal(size=(4 * samples, shape[1])), tuple(range(1, 1 + seeds)))


def looks(run: Native | InterpreterRun, total: int) -> dict[str, np.ndarray]:
    """What can be read of a run after every block of uneven length, and its recordings."""
    graph = run.graph
    wanted = [f"{q.name}.w" for q in graph.projections if graph.rule_of(q)] + [q for _, q in graph.outputs]
    found: dict[str, list[np.ndarray]] = {name: [] for name in wanted if name in run.stored}
    for steps in (1, 2, 5, 3, 1000):
        run.run(min(steps, total - run.position))
        for name, past in found.items():
            past.append(run.value(name))
    rows = {f"recorded {q}": run.records.rows(s.name, q) for s in run.protocol.streams for q in s.quantities}
    return {name: np.stack(past) for name, past in found.items()} | rows


def after(setup: Setup) -> Graph:
    observed = frozenset(q for _, q in setup.graph.outputs)
    return run_passes(setup.graph, [*REWRITES, Partition()], Request(observed)).graph


def interpreted(setup: Setup, graph: Graph) -> dict[str, np.ndarray]:
    return looks(InterpreterRun(graph, setup.protocol, setup.samples, setup.seeds, setup.noise), setup.steps)


def lowered(setup: Setup, graph: Graph) -> dict[str, np.ndarray]:
    with plain_python():
        return looks(Native(lower(graph), setup.protocol, setup.samples, setup.seeds, setup.noise), setup.steps)


def assert_same(a: dict[str, np.ndarray], b: dict[str, np.ndarray], tolerance: float = 0.0) -> None:
    assert a.keys() & b.keys()
    for name in a.keys() & b.keys():
        assert np.abs(a[name] - b[name]).max(initial=0.0) <= tolerance, name


@pytest.mark.parametrize("seed", range(24))
def test_a_held_input_before_and_after_and_in_the_lowering(seed):
    setup = held(RandomChoices(seed))
    graph = after(setup)
    assert [q.lowering for q in graph.projections] == ["hoisted", "hoisted"], "or there is nothing to test"
    rewritten = interpreted(setup, graph)
    assert_same(interpreted(setup, setup.graph), rewritten, 1e-12)
    assert_same(rewritten, lowered(setup, graph))


def test_held_inputs_take_every_form_and_move():
    setups = [held(RandomChoices(seed)) for seed in range(24)]
    forms = [form_of(g, q) for g in map(after, setups) for q in g.projections[:1]]
    assert sum(bool(f.learn) for f in forms) > 4 and sum(bool(f.gather) for f in forms) > 4
    assert any(f.u for f in forms) and any(not f.p for f in forms)
    moved = [float(np.abs(np.diff(interpreted(s, s.graph)["W.w"], axis=0)).max()) for s in setups if s.graph.rule_of(s.graph.projections[0])]
    assert sum(m > 1e-3 for m in moved) > 12


@pytest.mark.parametrize("seed", range(10))
def test_waiting_increments_have_the_bits_of_the_circuit_as_written(seed):
    setup = random_setup(RandomChoices(420 + seed), Kinds(fused=False))
    graph = run_passes(setup.graph, [FuseUpdate()], Request()).graph
    assert_same(interpreted(setup, setup.graph), interpreted(setup, graph))


@pytest.mark.parametrize("line, wrong", [("share = where(opening > 0, rate, loss * share)", "share = loss * share"),
                                         ("keep = loss * keep", "keep = loss"),
                                         ("late = where(opening > 0, 0, rate)", "late = rate"),
                                         ("dot = where(opening > 0, cross, square)", "dot = square")])
def test_a_wrong_line_of_a_form_is_found(line, wrong, monkeypatch):
    """In the interpreter alone, against the circuit as written."""
    setup = next(s for s in map(held, map(RandomChoices, range(50))) if "low_pass" in show_graph(s.graph)
                 and "prev(pre.rate)" in show_graph(s.graph) and s.graph.rule_of(s.graph.projections[0]))
    graph = after(setup)
    run = InterpreterRun(graph, setup.protocol, setup.samples, setup.seeds)
    for name, form in run.interpreter.forms.items():
        swapped = tuple(lines(wrong)[0] if each == lines(line)[0] else each for each in form.learn)
        assert swapped != form.learn
        run.interpreter.forms[name] = replace(form, learn=swapped)
    with pytest.raises(AssertionError):
        assert_same(interpreted(setup, setup.graph), looks(run, setup.steps), 1e-12)


def test_an_increment_that_waits_where_it_may_not_is_found():
    """A mirror reads the weight in between: the pass leaves it alone, and the interpreter shows why."""
    text = TEXT.format(message="value", increment="post.u * pre.rate", optimiser="", rule="rule r", masked="",
                       inputs=3, outputs=3, gates="gate=learn") + "mirror V = W : negate after\n"
    graph = parse_graph(text).with_(arrays={"W.w": np.ones((3, 3)), "V.w": -np.ones((3, 3))})
    assert not any(q.lowering for q in run_passes(graph, REWRITES, Request()).graph.projections)
    forced = graph.with_(projections=tuple(replace(q, lowering="fused") if q.name == "W" else q for q in graph.projections))
    runs = [kind(g) for kind, g in ((Interpreter, graph), (Rewritten, forced))]
    for _ in range(3):
        values = [run.step({"input.value": np.ones(3)}, {"learn": 1.0}, {})["V.w"] for run in runs]
    assert not np.array_equal(*values)
