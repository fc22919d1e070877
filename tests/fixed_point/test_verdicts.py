"""Verdicts on learning rules are about what a rule does: names and ways to write it change nothing, and a form that is
printed does what the rule does."""

from __future__ import annotations

import re
import time
from dataclasses import replace

import numpy as np
import pytest
from random_graphs.choices import RandomChoices
from random_graphs.circuits import random_setup
from rule_circuits import REWARD, STDP, circuit, judged, report

from cortexc.compiler.ir import parse_graph, show_graph
from cortexc.compiler.ir.expressions import Binary, Name, Negate, Number, Prev, children, rebuild
from cortexc.compiler.mapping.fit import rule_reports as rules_that_fit
from cortexc.compiler.passes import engine_text
from cortexc.compiler.passes.base import Request, run_passes
from cortexc.compiler.passes.eliminate_lookahead import EliminateLookahead
from cortexc.compiler.passes.engine_check import disagreement
from cortexc.compiler.passes.engine_run import EngineRun, UnreadableForm
from cortexc.compiler.passes.fold import Fold
from cortexc.compiler.passes.fuse_update import FuseUpdate
from cortexc.compiler.passes.hoist_constant_input import HoistConstantInput
from cortexc.compiler.passes.legalise import the_map
from cortexc.compiler.passes.legality import rule_reports
from cortexc.compiler.passes.specialise import specialised

STDP_FORM = ("dw = 2^-3*y0*x1 - 2^-4*x0*y1; x0 = pre.spike; x1 = 0.875*x1 + x0; y0 = post.spike; "
             "y1 = 0.875*y1 + y0")
REWARD_FORM = ("dt = y0*x1 - 2^-1*x0*y1 - 2^-4*u0*t; dw = 2^-3*u0*y2*t; x0 = pre.spike; x1 = 0.875*x1 + x0; "
               "y0 = post.spike; y1 = 0.875*y1 + y0; y2 = prev(post.dopamine); w moves one step after t")


def test_pair_stdp_is_legal_on_both_chips() -> None:
    for hardware in ("loihi1", "loihi2"):
        found = judged(STDP, hardware)
        assert found.legal and found.form == STDP_FORM, found


def test_reward_modulated_stdp_is_legal_where_factors_are_graded() -> None:
    assert judged(REWARD, "loihi2").form == REWARD_FORM
    refused = judged(REWARD, "loihi1")
    assert not refused.legal and "graded postsynaptic factor" in refused.reasons[-1] and "dopamine" in refused.reasons[-1]


# ---- names


@pytest.mark.parametrize("name", ["e", "t", "d", "tag", "tag_1", "tag_2", "u0", "x1", "trace", "weight"])
def test_the_name_of_a_state_is_a_name(name: str) -> None:
    rule = [re.sub(r"\be\b", name, line) for line in REWARD]
    for hardware in ("loihi1", "loihi2"):
        found, first = judged(rule, hardware), judged(REWARD, hardware)
        assert (found.legal, found.form, found.reasons) == (first.legal, first.form, first.reasons)


def renamed(text: str) -> str:
    """All names that are the user's, turned around."""
    names = ("spike", "slow", "rate", "dopamine", "other", "x", "y", "v", "e", "value", "force", "reward", "drive")
    for name in names:
        text = re.sub(rf"(?<![\w]){name}(?![\w])", f"q_{name[::-1]}", text)
    return text


@pytest.mark.parametrize("rule", [STDP, REWARD, ["increment 0.3 * pre.slow * post.dopamine * post.v - 0.125 * w"]])
@pytest.mark.parametrize("hardware", ["loihi1", "loihi2"])
def test_renaming_everything_renames_the_form(rule: list[str], hardware: str) -> None:
    graph = circuit(rule)
    other = parse_graph(renamed(show_graph(graph))).with_(arrays=graph.arrays)
    first, second = report(graph, hardware), report(other, hardware)
    assert second.legal == first.legal and second.form == renamed(first.form)
    assert second.reasons == tuple(map(renamed, first.reasons))


# ---- ways to write the same

SPELLINGS = [
    (["increment -pre.spike * 0.0625 * post.y + post.spike * pre.x * 0.125"], [], []),
    (["increment 0.125 * (pre.x * post.spike - pre.spike * post.y / 2)"], [], []),
    (["increment 0.125 * (pre.x * post.spike - 0.5 * (pre.spike * post.y)) * 1"], [], []),
    (["increment (pre.x * post.spike - pre.spike * post.y * (1 / 2)) / 8"], [], []),
    (["increment where(post.spike > 0, 0.125, 0) * pre.x - where(pre.spike > 0, post.y, 0) / 16"], [], []),
    (["increment where(post.spike > 0.5, 0.125 * pre.x, 0) - post.y * where(pre.spike == 1, 0.0625, 0)"], [], []),
    (["increment 0.125 * pre.x * post.both - pre.spike * post.lost"], [],
     ["factor both = spike * spike", "factor lost = y / 16"]),
    (["increment pre.gain * post.spike - pre.spike * post.lost"], ["send gain = 0.125 * x"],
     ["factor lost = 0.25 * (0.25 * y)"]),
    (STDP, ["state kept = 0", "send kept = 0.875 * prev(x)", "send x = kept + spike"], []),
    (STDP, ["send x = 0.875 * prev(x) + where(value > 0, 1, 0)"], ["send y = 0.875 * prev(y) + (force > 0)"]),
    (STDP, ["send x = prev(x) - prev(x) / 8 + spike"], ["send y = 0.875 * (prev(y) + spike) + 0.125 * spike"]),
    (["increment pre.x * post.spike - 0.5 * pre.spike * post.y"],
     ["send x = 0.875 * prev(x) + 0.125 * spike"], ["send y = 0.875 * prev(y) + 0.125 * spike"]),
    (["increment 0.125 * (pre.early + pre.spike) * post.spike - 0.0625 * pre.spike * post.y"],
     ["state early = 0", "send early = 0.875 * prev(x)"], []),
    (["increment 0.125 * (pre.early + pre.spike) * post.spike - 0.0625 * pre.spike * post.y"],
     ["state early = 0", "send early = 0.875 * (prev(early) + prev(spike))"], []),
    (["parameter a 1 = 0.125", "increment a * pre.x * post.spike - a * a * 4 * pre.spike * post.y"], [], []),
]


@pytest.mark.parametrize(("rule", "pre", "post"), SPELLINGS)
@pytest.mark.parametrize("hardware", ["loihi1", "loihi2"])
def test_ways_to_write_pair_stdp_have_one_form(rule, pre, post, hardware) -> None:
    found = judged(rule, hardware, pre, post)
    assert found.legal, found.reasons
    assert found.form == STDP_FORM


REWARD_SPELLINGS = [
    (["state e = 0", "update e = prev(e) - prev(e) / 16 + (pre.x * post.spike - pre.spike * post.y / 2)", REWARD[2]], []),
    (["state e = 0", "state f = 0", "update f = pre.x * post.spike - 0.5 * pre.spike * post.y",
      "update e = 0.9375 * prev(e) + f", REWARD[2]], []),
    ([REWARD[0], "state f = 0", REWARD[1], "update f = post.dopamine * e", "increment 0.125 * f"], []),
    ([*REWARD[:2], "increment post.scaled * e"], ["factor scaled = dopamine / 8"]),
    ([*REWARD[:2], "increment where(1 > 0, 0.125 * e, w) * post.dopamine"], []),
    ([*REWARD[:2], "increment e * post.dopamine * 0.0625 + 0.0625 * e * post.dopamine"], []),
]


@pytest.mark.parametrize(("rule", "post"), REWARD_SPELLINGS)
def test_ways_to_write_reward_modulated_stdp_have_one_form(rule, post) -> None:
    assert judged(rule, "loihi2", post=post).form == REWARD_FORM


GRADED_SPELLINGS = [
    ["increment 0.3 * post.error * pre.rate"], ["increment post.error * 0.3 * pre.rate"],
    ["increment post.scaled * pre.rate"], ["increment 0.6 * pre.rate * post.v - pre.rate * 0.6 * post.other + "
                                           "0.3 * post.other * pre.rate - 0.3 * pre.rate * post.v"],
    ["increment pre.rate * (post.v - post.other) * 3 / 10"], ["increment 2 * post.scaled * (pre.rate / 2)"]]


@pytest.mark.parametrize("increment", ["0.28125 * pre.spike * post.spike", "pre.spike * post.spike * (0.25 + 0.03125)",
                                       "0.25 * pre.spike * post.spike + post.spike * pre.spike / 32"])
def test_a_number_may_take_two_products(increment: str) -> None:
    form = judged([f"increment {increment}"], "loihi1").form
    assert form == "dw = 2^-5*x0*y0 + 2^-2*x0*y0; x0 = pre.spike; y0 = post.spike"


def test_a_rate_that_no_scale_holds_is_the_neurons_however_it_is_written() -> None:
    post = ["factor error = v - other", "factor scaled = 0.3 * error"]
    found = [judged(rule, "loihi2", post=post, message="rate") for rule in GRADED_SPELLINGS]
    assert all(f.legal for f in found)
    assert {f.form.split("; ")[0] for f in found} == {"dw = x0*x1*y1"}


@pytest.mark.parametrize("rule", [STDP, REWARD])
@pytest.mark.parametrize("hardware", ["loihi1", "loihi2"])
def test_passes_change_no_verdict(rule: list[str], hardware: str) -> None:
    graph = circuit(rule, pre=["send double = x * 1 + 0 * spike"], post=["receive ahead = v + (v - prev(v)) * 1"])
    request = Request(frozenset({"W.w"}))
    for passes in ([Fold()], [EliminateLookahead()], [Fold(), EliminateLookahead(), Fold()],
                   [HoistConstantInput(), FuseUpdate()]):
        after = run_passes(graph, passes, request).graph
        assert report(after, hardware).form == report(graph, hardware).form
        assert report(after, hardware).reasons == report(graph, hardware).reasons
    assert report(specialised(graph), hardware).form == report(graph, hardware).form


def respelled(expression, rng):
    """The same in real numbers: operands swapped, differences as sums, factors of 1, numbers as products."""
    parts = tuple(respelled(child, rng) for child in children(expression))
    expression = rebuild(expression, parts) if parts else expression
    match expression, int(rng.integers(4)):
        case Binary("+" | "*" as operator, left, right), 0:
            return Binary(operator, right, left)
        case Binary("*", left, Binary("+", a, b)), 1:
            return Binary("+", Binary("*", left, a), Binary("*", left, b))
        case Binary("-", left, right), 0 | 1:
            return Binary("+", left, Binary("*", Negate(Number(1.0)), right))
        case Number(value), 0:
            return Binary("/", Number(value * 4), Number(4.0))
        case (Name() | Prev()), 0:
            return Binary("*", Number(1.0), expression)
    return expression


def random_rule(rng) -> list[str]:
    """Two states and a weight that gain products of what an engine has."""
    def products(own: str, most: int) -> str:
        words = [["pre.spike", "pre.x", "pre.slow"], ["post.spike", "post.y", "where(post.spike > 0, post.y, 0)"], [own]]
        chosen = [[side[rng.integers(len(side))] for side in words if rng.random() < 0.6] for _ in range(most)]
        return " + ".join(" * ".join([f"{float(rng.integers(1, 8) / 2.0 ** rng.integers(6))!r}", *c]) for c in chosen)
    return ["state e = 0", "state f = 0", f"update e = 0.875 * prev(e) - ({products('prev(f)', 2)})",
            "update f = 0.5 * prev(f) + pre.x * post.spike", f"increment prev(e) * post.y * 0.5 + {products('w', 3)}"]


@pytest.mark.parametrize("seed", range(12))
def test_random_rules_keep_their_form_however_they_are_written(seed: int) -> None:
    rng = np.random.default_rng(seed)
    graph = circuit(random_rule(rng))
    rule = graph.rules[0]
    other = replace(rule, increment=respelled(rule.increment, rng), updates=tuple(
        replace(u, expression=respelled(u.expression, rng)) for u in rule.updates))
    first = [report(g, "loihi1") for g in (graph, graph.with_(rules=(other,)))]
    assert first[0].legal, first[0].reasons
    assert first[1].form == first[0].form


# ---- what is no rule of an engine

NONSENSE = [
    (["state t = 0", "update t = exp(tanh(post.y * w * w) / (1 + prev(t) * prev(t)))", "increment 0.125 * post.dopamine * t"], [],
     "no sum of products|neither a trace"),
    (["increment 0.125 * pre.x * post.spike"], ["send x = 1.5 * prev(x) + spike"], "'pre.x' grows"),
    (["increment 0.125 * pre.x * post.spike"], ["send x = prev(x) + spike"], "'pre.x' does not decay"),
    (["increment 0.125 * pre.x * post.spike"], ["send x = -0.5 * prev(x) + 3 * spike"], "'pre.x' alternates"),
    (["increment 0.125 * pre.x * post.spike"], ["send x = 0.875 * prev(x) + prev(x) * spike"], "neither the message"),
    (["increment 0.125 * pre.x * post.spike"], ["send x = 0.875 * prev(x) + value"], "not transmitted"),
    (["increment pre.spike * post.spike / w"], [], "no sum of products|neither a trace"),
    (["increment pre.spike * post.spike / post.y"], [], "divides by what can be 0|graded postsynaptic"),
    (["increment pre.rate * pre.x * post.spike"], [], "pre.rate is not at the synapse"),
    (["increment exp(w) * pre.spike"], [], "no sum of products|neither a trace"),
    (["increment abs(w) * pre.spike"], [], "no sum of products|neither a trace"),
    (["state t = 0", "update t = 1.5 * prev(t) + pre.spike * post.spike", "increment 0.125 * prev(t)"], [], "'t' grows"),
    (["state a = 0", "state b = 0", "state c = 0", *(f"update {s} = 0.5 * prev({s}) + pre.spike * post.spike"
                                                   for s in "abc"), "increment prev(a) + prev(b) + prev(c)"], [],
     "it keeps 3 states per synapse"),
    (["state a = 0", "state b = 0", *(f"update {s} = 0.5 * prev({s}) - pre.spike * post.spike" for s in "ab"),
      "increment prev(a) + prev(b)"], [], "can both be negative"),
    (["noise u uniform", "increment u * pre.spike * post.spike"], [], "drawn at random"),
]


@pytest.mark.parametrize(("rule", "pre", "says"), NONSENSE)
@pytest.mark.parametrize("hardware", ["loihi1", "loihi2"])
def test_nonsense_is_not_legal(rule, pre, says, hardware) -> None:
    found = judged(rule, hardware, pre)
    assert not found.legal and not found.form
    assert any(re.search(says, reason) for reason in found.reasons), found.reasons
    assert found.nearest.startswith("none")


@pytest.mark.parametrize(("divisor", "legal"), [("1 + exp(post.v)", True), ("1.5 + tanh(post.v)", True), ("post.v", False),
                                                ("exp(post.v) - 1", False), ("2 - post.spike", True), ("post.y", False)])
def test_only_what_can_be_0_may_not_be_divided_by(divisor: str, legal: bool) -> None:
    """In the rule, or under a name in the cell."""
    inside = divisor.replace("post.", "")
    for rule, post in (([f"increment pre.spike / ({divisor})"], []),
                       (["increment pre.spike * post.named"], [f"factor named = 1 / ({inside})"])):
        found = judged(rule, "loihi2", post=post)
        assert found.legal == legal and (legal or "divides by what can be 0" in found.reasons[0]), found


def test_quantities_that_make_each_other_have_a_verdict() -> None:
    post = ["state a = 0", "state b = 0", "receive a = 2 * tanh(prev(b))", "receive b = exp(prev(a)) - drive"]
    found = judged(["increment pre.spike * (post.a - post.b) * d_tanh(post.a)"], "loihi2", post=post)
    assert found.legal and found.form.startswith("dw = "), found


@pytest.mark.parametrize("seed", range(6))
def test_random_circuits_have_a_verdict(seed: int) -> None:
    for hardware in ("loihi1", "loihi2"):
        for found in rule_reports(random_setup(RandomChoices(seed)).graph, the_map(hardware)):
            assert found.legal != bool(found.reasons)
            assert not any("no form found" in reason for reason in found.reasons), found


def test_a_scale_that_nothing_can_take_has_a_nearest_one() -> None:
    found = judged(["increment 0.0375 * pre.spike * post.spike"], "loihi1")
    assert found.reasons == ("scale 0.0375 is not m * 2**e with |m| below 8: the nearest is 5*2^-7",)
    assert found.nearest == "dw = 5*2^-7*x0*y0; x0 = pre.spike; y0 = post.spike"


def test_the_nearest_leak_of_a_state() -> None:
    rule = ["state s = 0", "update s = 0.9 * prev(s) + 0.3 * pre.spike * post.spike", "increment prev(s)"]
    found = judged(rule, "loihi1")
    assert "scale -0.1 is not m * 2**e with |m| below 8: the nearest is -3*2^-5" in found.reasons
    assert found.nearest.startswith("dt = 5*2^-4*x0*y0 - 3*2^-5*u0*t; dw = u0*t; ")
    slow = judged([rule[0], "update s = 0.9999 * prev(s) + pre.spike * post.spike", rule[2]], "loihi1")
    assert "exponents of loihi1 begin at -7" in slow.reasons[1] and "2^-7*u0*t" in slow.nearest


def test_a_message_is_read_when_it_has_arrived() -> None:
    assert not judged(["increment 0.125 * prev(pre.spike) * post.v"], "loihi2").legal
    later = circuit(["increment 0.125 * pre.spike * post.spike"])
    late = later.with_(projections=tuple(
        p if p.name != "W" else p.__class__(**{**p.__dict__, "delay": 3}) for p in later.projections))
    assert "not there yet" in report(late, "loihi2").reasons[0]


# ---- the form is run


def of_stdp(form: str) -> str:
    graph = specialised(circuit(STDP))
    return disagreement(form, graph.rules[0], graph.cell_of("A"), graph.cell_of("B"), (),
                        (frozenset(), frozenset({"v", "other"})), False)


@pytest.mark.parametrize(("right", "wrong"), [
    ("y0*x1", "x0*x1*y1"), ("2^-3", "2^-2"), ("- 2^-4", "+ 2^-4"), ("x0*y1", "u0*y1"), ("0.875*x1", "0.75*x1"),
    ("+ y0", "+ 2*y0"), ("x0 = pre.spike", "x0 = prev(pre.spike)"), ("y0 = post.spike", "y0 = prev(post.spike)"),
    ("y1 = 0.875*y1 + y0", "y1 = prev(post.y)"), (" - 2^-4*x0*y1", ""), ("y0*x1", "y0*x1*w"), ("2^-3", "3*2^-4"),
    ("x1 = 0.875*x1 + x0", "x1 = 0.875*x1 + y0"), ("x0 = pre.spike", "x0 = pre.rate")])
def test_a_form_that_is_another_rule_is_noticed(right: str, wrong: str) -> None:
    assert not of_stdp(STDP_FORM)
    assert of_stdp(STDP_FORM.replace(right, wrong))


@pytest.mark.parametrize("text", ["dw = 2^-3*y0*z9", "dw = exec('1')", "dw = y0; y0 = foo(post.spike)", "hello",
                                  "dw = y0; y0 = post.spike[0]", "dw = y0; y0 = "])
def test_what_is_no_form_is_no_form(text: str) -> None:
    assert of_stdp(text)


def test_a_wrong_form_is_never_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    made = engine_text.text
    monkeypatch.setattr(engine_text, "text", lambda draft: made(draft).replace("y0*x1", "x0*x1*y1"))
    found = judged(STDP, "loihi2")
    assert not found.legal and not found.form and "no form found" in found.reasons[0]


@pytest.mark.parametrize(("name", "wrong"), [("w moves one step after t", ""), ("2^-4*u0*t", "2^-5*u0*t"),
                                             ("prev(post.dopamine)", "post.dopamine")])
def test_when_a_state_is_read_matters(name: str, wrong: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made = engine_text.text
    monkeypatch.setattr(engine_text, "text", lambda draft: made(draft).replace("; " + name, wrong).replace(name, wrong))
    assert "no form found" in judged(REWARD, "loihi2").reasons[0]


def test_the_engine_reads_before_it_writes() -> None:
    engine = EngineRun("dt = u0 - u0*t; dw = u0*t", (1,))
    states = []
    for _ in range(3):
        engine.step(lambda name, steps: np.zeros(1))
        states.append((engine.variables["t"].item(), engine.variables["w"].item()))
    assert states == [(1, 0), (1, 1), (1, 2)]
    with pytest.raises(UnreadableForm):
        EngineRun("hello", (1,))


# ---- what is said


@pytest.mark.parametrize("rule", [STDP, REWARD, ["increment exp(w) * pre.spike"]])
@pytest.mark.parametrize("hardware", ["loihi1", "loihi2"])
def test_fit_says_what_explain_says(rule: list[str], hardware: str) -> None:
    (fits,), says = rules_that_fit(circuit(rule), the_map(hardware)), judged(rule, hardware)
    assert (fits.legal, fits.reasons, fits.nearest) == (says.legal, says.reasons, says.nearest)
    assert fits.excludes == (not says.legal)


def test_what_precision_makes_of_a_legal_rule_is_said_where_it_differs() -> None:
    found = judged(["increment 0.3 * pre.rate * post.v"], "loihi2", message="rate")
    assert found.legal and found.form == "dw = x0*x1*y1; x1 = pre.rate; y1 = 0.3 * post.v"
    assert found.runs == "dw = 5*2^-4*x0*x1*y1; x1 = pre.rate; y1 = post.v"


# ---- sizes


@pytest.mark.parametrize("factors", [["(post.y + {k} * pre.x)"] * 12, [f"(post.y + {{k}} * pre.x + w * {n})" for n in range(9)]])
def test_products_of_sums_do_not_take_for_ever(factors: list[str]) -> None:
    """Multiplied out they have thousands of terms, which no engine has."""
    product = " * ".join(factor.format(k=k + 2) for k, factor in enumerate(factors))
    begin = time.process_time()
    assert not judged([f"increment {product}"], "loihi2").legal
    assert time.process_time() - begin < 10
