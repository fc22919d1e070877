"""Fold: same bits, fewer operations; what is left out is only what nothing reads or observes."""

import math
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cortexc.compiler.backends.interpreter import Interpreter
from cortexc.compiler.ir import Expression, Graph, parse, parse_graph, show, show_graph, verify
from cortexc.compiler.ir.evaluation import evaluate
from cortexc.compiler.ir.expressions import PRECEDENCE, Binary, Call, Name, Negate, Number, Where, walk
from cortexc.compiler.ir.functions import ARITY
from cortexc.compiler.passes import Request
from cortexc.compiler.passes.fold import Fold, fold_constants, is_zero, simplify
from cortexc.compiler.passes.specialise import specialised

EVERYTHING = Request(everything=True)


# --- constants ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("before, after", [
    ("2 + 3", "5"), ("2 - 3", "-1"), ("1 / 4", "0.25"), ("exp(0) * u", "u"), ("1 * u", "u"), ("u * 1", "u"),
    ("u / 1", "u"), ("--u", "u"), ("---u", "-u"), ("where(1 > 0, u, v)", "u"), ("where(0, u, v)", "v"),
    ("where(-1, u, v)", "u"), ("linear(u)", "u"), ("1 * (prev(u) * (2 + 3))", "prev(u) * 5"), ("1 / 0", "inf"),
    ("-1 / 0", "-inf"), ("0 * -1", "-0"), ("1 < 2 and 3", "1"), ("u * (2 - 1)", "u"),
    ("logistic(0) + u", "0.5 + u"), ("max(1, 2) * min(3, 4)", "6"), ("1 - -1", "2"), ("fixed(1, 0, 2, 1.5)", "inf")])
def test_folds(before: str, after: str) -> None:
    assert show(simplify(parse(before))) == after


@pytest.mark.parametrize("text", [
    "u + 0", "0 + u", "u * 0", "0 * u", "u - u", "u / u", "0 / 0", "1 / u", "-u", "u * -1", "u + 2 + 3",
    "where(u, 1, 1)", "log(-1)", "fixed(1, 0, 2, 0.5)", "1 - u", "dt * 1.5"])
def test_leaves_alone_what_might_change_bits_or_has_no_number(text: str) -> None:
    assert show(simplify(parse(text))) == text


NUMBERS = st.floats(allow_nan=False, allow_infinity=False, min_value=0).map(lambda v: Number(abs(v)))
LEAVES = st.one_of(st.sampled_from([Number(0.0), Number(1.0), Number(2.0)]), NUMBERS, st.sampled_from("uv").map(Name))


def inner(parts: st.SearchStrategy[Expression]) -> st.SearchStrategy[Expression]:
    calls = st.sampled_from(sorted(ARITY)).flatmap(
        lambda name: st.builds(Call, st.just(name), st.tuples(*[parts] * ARITY[name])))
    return st.one_of(parts.map(Negate), calls, st.builds(Where, parts, parts, parts),
                     st.builds(Binary, st.sampled_from(sorted(PRECEDENCE)), parts, parts))


TREES = st.recursive(LEAVES, inner, max_leaves=12)
VALUES = st.floats(allow_nan=False)


def bits(expression: Expression, scope: dict[str, float]) -> bytes:
    with np.errstate(all="ignore"):
        value = evaluate(expression, lambda name: np.asarray(scope[name]), lambda name, depth: np.asarray(0.0))
    return b"nan" if math.isnan(value) else struct.pack("d", float(value))


@settings(max_examples=500, deadline=None)
@given(TREES, VALUES, VALUES)
def test_keeps_the_bits_of_random_trees(tree: Expression, u: float, v: float) -> None:
    assert bits(simplify(tree), {"u": u, "v": v}) == bits(tree, {"u": u, "v": v})


@settings(max_examples=300, deadline=None)
@given(TREES)
def test_is_idempotent_smaller_and_readable(tree: Expression) -> None:
    folded = simplify(tree)
    assert simplify(folded) == folded and parse(show(folded)) == folded
    assert len(list(walk(folded))) <= len(list(walk(tree))) + 1, "a negative literal takes two nodes"


# --- rules that cannot move their weight ----------------------------------------------------------------------


@pytest.mark.parametrize("text, zero", [
    ("eta * u", True), ("u * eta", True), ("u * (v * eta) / w", True), ("-eta * u", True), ("eta * u - v", False),
    ("eta * u - eta * w", True), ("where(u, eta, 0 * v)", True), ("where(eta, u, v)", False), ("u / eta", False),
    ("eta + rate", False), ("exp(eta)", False), ("rate * u", False), ("0", True), ("u", False), ("relu(eta)", False)])
def test_zero_is_a_constant_factor_of_every_term(text: str, zero: bool) -> None:
    assert is_zero(parse(text), {"eta": 0.0, "rate": 2.0}) is zero


def test_a_rule_without_rate_leaves_its_projection(pal) -> None:
    graph = Fold().apply(pal(eta_IP=(0.0,), eta_PI=(5.0,)), Request())
    assert graph.projection("WIP_0").synapse == "lateral_excitation_static"
    assert graph.synapse("lateral_excitation_static").rule is None
    assert "interneuron_prediction" not in {rule.name for rule in graph.rules}
    assert "lateral_excitation" not in {synapse.name for synapse in graph.synapses}
    assert graph.projection("WIP_0").gate is None and graph.projection("WIP_0").parameters == ()
    assert graph.class_of("BPI_0").rule == "apical_cancellation"
    verify(graph)


def test_only_the_idle_projection_of_a_class_is_frozen(pal) -> None:
    graph = Fold().apply(pal((2, 3, 4, 2), eta_IP=(0.0, 1.0), eta_fw=(1.0, 0.0, 1.0)), Request())
    rules = {p.name: graph.class_of(p.name).rule for p in graph.projections}
    assert (rules["WIP_0"], rules["WIP_1"]) == (None, "interneuron_prediction")
    assert (rules["WPP_0"], rules["WPP_1"], rules["WPP_2"]) == ("forward", None, "forward")


@pytest.mark.parametrize("observed", ["WPP_0.increment", "WPP_0.low_pass"])
def test_an_observed_increment_or_optimiser_keeps_its_rule(pal, observed: str) -> None:
    graph = Fold().apply(pal(eta_fw=(0.0,)), Request(frozenset({observed})))
    assert graph.class_of("WPP_0").rule == "forward" and graph.class_of("WPP_1").rule is None


def test_an_observed_weight_does_not_keep_its_rule(pal) -> None:
    graph = Fold().apply(pal(eta_fw=(0.0,)), Request(frozenset({"WPP_0.w"})))
    assert graph.class_of("WPP_0").rule is None


def test_a_started_optimiser_keeps_its_rule(pal) -> None:
    graph = pal(eta_fw=(0.0,))
    graph = graph.with_(arrays={**graph.arrays, "WPP_0.low_pass": np.full((3, 2), 0.5)})
    folded = Fold().apply(graph, Request())
    assert folded.class_of("WPP_0").rule == "forward" and "WPP_0.low_pass" in folded.arrays


ADAM = """
cell source
  input value
  send rate = value
  message rate
cell unit
  port basal @ basal
  receive u = basal
rule adaptive
  parameter eta 1
  parameter epsilon 1
  increment eta * pre.rate
  optimiser adam(0.1, 0.9, 0.999, epsilon)
synapse plastic
  message rate
  port basal
  rule adaptive
  limits -1 1
population a source 2
population b unit 2
projection W plastic a -> b
  eta = 0
  epsilon = 1e-08
projection V plastic a -> b
  eta = 0
  epsilon = 0
mirror M = W : negate
"""


def test_adam_without_epsilon_and_a_clipped_mirror_keep_their_rule() -> None:
    text = ADAM.replace("mirror M", "projection M plastic a -> b\n  eta = 0\n  epsilon = 1\nmirror M")
    graph = parse_graph(text).with_(arrays={f"{name}.w": np.ones((2, 2)) for name in "WVM"})
    folded = Fold().apply(graph, Request())
    rules = {p.name: folded.class_of(p.name).rule for p in folded.projections}
    assert rules == {"W": None, "V": "adaptive", "M": "adaptive"}


# --- dead code ------------------------------------------------------------------------------------------------

DEAD = """
cell source
  input value
  noise unused normal
  state rate = 0
  send rate = value
  send spare = value + 1
  message rate
  message spare
cell unit
  port basal @ basal
  port apical @ apical
  parameter tau 1 = 4
  parameter gain 1
  state u = 0
  state start = 0.5
  state held = start
  state rate = u
  state idle = 0
  receive u = prev(u) + (basal - prev(u)) / tau
  receive start = prev(start)
  receive held = prev(held) + basal
  receive idle = gain * prev(idle) + apical
  receive rate = u + held
  factor unread = idle * idle
  message rate
cell nobody
  state u = 0
  send u = prev(u)
rule traced
  parameter eta 1 = 1
  parameter decay 1 = 0.5
  state trace = 0
  state shadow = 0
  update trace = eta * pre.rate
  update shadow = decay * prev(shadow) + pre.rate
  increment trace * post.u
rule orphan
  increment 1
synapse plastic
  message rate
  port basal
  rule traced
synapse unused
  message rate
  port basal
  rule orphan
population a source 2
population b unit 2
  gain = 3
projection W plastic a -> b
output result = b.rate
"""


def dead() -> Graph:
    arrays = {"W.w": np.ones((2, 2)), "W.shadow": np.ones((2, 2)), "b.idle": np.ones(2), "b.u": np.ones(2)}
    return parse_graph(DEAD).with_(arrays=arrays)


def test_leaves_out_what_nothing_reads() -> None:
    graph = Fold().apply(dead(), Request())
    unit, source = graph.cell("unit"), graph.cell("source")
    assert [cell.name for cell in graph.cells] == ["source", "unit"]
    assert [synapse.name for synapse in graph.synapses] == ["plastic"]
    assert [rule.name for rule in graph.rules] == ["traced"]
    assert [e.name for e in unit.equations] == ["u", "start", "held", "rate"]
    assert [s.name for s in unit.states] == ["u", "start", "held"], "prev(rate) is not read, held starts at start"
    assert [p.name for p in unit.parameters] == ["tau"] and graph.population("b").parameters == ()
    assert source.messages == ("rate",) and source.states == () and [e.name for e in source.equations] == ["rate"]
    assert source.noise == (("unused", "normal"),) and source.inputs == ("value",)
    assert [p.name for p in unit.ports] == ["basal", "apical"]
    assert [s.name for s in graph.rules[0].states] == [u.name for u in graph.rules[0].updates] == ["trace"]
    assert [p.name for p in graph.rules[0].parameters] == ["eta"]
    assert set(graph.arrays) == {"W.w", "b.u"}
    verify(graph)


@pytest.mark.parametrize("observed, kept", [
    ("b.unread", {"unread", "idle"}), ("b.idle", {"idle"}), ("b.rate", set()), ("a.spare", set())])
def test_keeps_what_is_observed_and_what_that_reads(observed: str, kept: set[str]) -> None:
    graph = Fold().apply(dead(), Request(frozenset({observed})))
    assert {e.name for e in graph.cell("unit").equations} - {"u", "start", "held", "rate"} == kept
    assert ("spare" in {e.name for e in graph.cell("source").equations}) == (observed == "a.spare")
    assert ("b.idle" in graph.arrays) == ("idle" in kept)
    verify(graph)


def test_keeps_an_observed_synaptic_state() -> None:
    graph = Fold().apply(dead(), Request(frozenset({"W.shadow"})))
    assert [s.name for s in graph.rules[0].states] == ["trace", "shadow"] and "W.shadow" in graph.arrays


def test_everything_observed_keeps_every_equation() -> None:
    graph, folded = dead(), Fold().apply(dead(), EVERYTHING)
    assert [e.name for c in folded.cells for e in c.equations] == [
        e.name for c in graph.cells for e in c.equations if c.name != "nobody"]


def test_delayed_messages_and_traces_read_by_rules_keep_their_states() -> None:
    text = DEAD.replace("W plastic a -> b", "W plastic a -> b delay=2").replace("trace * post.u", "prev(post.held)")
    graph = Fold().apply(parse_graph(text).with_(arrays={"W.w": np.ones((2, 2))}), Request())
    assert [s.name for s in graph.cell("source").states] == ["rate"]
    assert "held" in {s.name for s in graph.cell("unit").states}


# --- whole circuits -------------------------------------------------------------------------------------------

CIRCUITS = [dict(sigma=(0.05,), eta_bw=(50.0,), eta_PI=(5.0,)), dict(variant="FA", eta_IP=(10.0,)),
            dict(variant="BP", eta_IP=(10.0,)), dict(taur=0.0, eta_fw=(0.0,)), dict(activation=("linear",))]


@pytest.mark.parametrize("options", CIRCUITS, ids=str)
def test_all_that_is_left_has_the_same_bits(pal, run, options: dict) -> None:
    graph = pal((2, 3, 4, 2), **options)
    folded = Fold().apply(graph, Request())
    assert len(show_graph(folded)) < len(show_graph(graph))
    for before, after in zip(run(graph, 60), run(folded, 60), strict=True):
        assert len(after) > 20 and set(after) <= set(before)
        assert all(np.array_equal(before[name], after[name]) for name in after)
    assert not np.array_equal(after["P0.rate"], graph.arrays["P0.u"]), "something moves"


@pytest.mark.parametrize("options", CIRCUITS, ids=str)
def test_a_second_fold_changes_nothing(pal, options: dict) -> None:
    folded = Fold().apply(pal((2, 3, 4, 2), **options), Request())
    again = Fold().apply(folded, Request())
    assert again == folded and again.arrays.keys() == folded.arrays.keys()
    assert parse_graph(show_graph(folded)) == folded


SAME_STEP = """graph same_step
  dt 1
cell source
  state r = 1
  send r = 0.5 * prev(r) + 1
  message r
cell unit
  port a
  parameter gain 1 = 0
  state r = 0
  receive r = 0.5 * prev(r) + CHOICE + 1
  message r
synapse s
  message r
  port a
population S source 2
population A unit 2
population B unit 2
projection V s S -> A
projection W s A -> B delay=DELAY
output r = B.r
"""


@pytest.mark.parametrize("delay", [0, 1, 2])
@pytest.mark.parametrize("choice", ["where(0.5, 0.25, a)", "where(gain > 0, a, 0.25)"])
@pytest.mark.parametrize("step", [fold_constants, specialised])
def test_a_message_that_no_longer_depends_on_ports_arrives_as_late_as_before(step, choice: str, delay: int) -> None:
    text = SAME_STEP.replace("CHOICE", choice).replace("DELAY", str(delay))
    graph = parse_graph(text).with_(arrays={"V.w": np.ones((2, 2)), "W.w": np.eye(2)})
    verify(graph)
    changed = step(graph)
    verify(changed)
    first, second = Interpreter(graph), Interpreter(changed)
    for _ in range(5):
        one, two = (each.step({}, {}, {})["W.current"] for each in (first, second))
        assert one.tobytes() == two.tobytes()
