"""The learning rules that Lava ships, written from their equations, are legal where they should be, and Lava's own parser
reads every form that is printed."""

from __future__ import annotations

import itertools
import math

import pytest
from rule_circuits import REWARD, STDP, circuit, judged, report


def lava_circuit(rule, reward: bool):
    """Its equations: traces decay by exp(-1 / tau) and take an impulse with a spike; products of what it has parsed."""
    x, y = ((math.exp(-1 / tau), impulse) for tau, impulse in ((rule.x1_tau, rule.x1_impulse), (rule.y1_tau, 16.0)))
    names = {"x0": "pre.spike", "y0": "post.spike", "x1": "pre.x", "y1": "post.y", "y2": "post.dopamine",
             "t": "prev(e)", "u": "1"}

    def sum_of(series) -> str:
        return " + ".join(f"{p.s_mantissa * 2.0 ** (p.s_exp - 7)!r} * " + " * ".join(
            names[f] for f in (p.dependency, *(f.state_var for f in p.factors))) for p in series.products)
    lines = [f"increment {sum_of(rule.dw)}"]
    if reward:
        lines = ["state e = 0", f"update e = prev(e) + {sum_of(rule.dt)}", *lines]
    return circuit(lines, [f"send x = {x[0]!r} * prev(x) + {x[1]!r} * spike"],
                   [f"send y = {y[0]!r} * prev(y) + {y[1]!r} * spike"])


def series_of(text: str, target: str):
    """(dependency, factors, scale) of every product, by Lava's own parser."""
    from lava.magma.core.learning.product_series import ProductSeries
    from lava.magma.core.learning.symbolic_equation import SymbolicEquation

    return {(p.dependency, *sorted(f.state_var for f in p.factors)): p.s_mantissa * 2.0 ** (p.s_exp - 7)
            for p in ProductSeries(SymbolicEquation(target, text)).products}


def test_the_stdp_that_lava_ships_is_legal_on_both_chips() -> None:
    pytest.importorskip("lava")
    from lava.proc.learning_rules.stdp_learning_rule import STDPLoihi

    rule = STDPLoihi(learning_rate=0.125, A_plus=1, A_minus=-1, tau_plus=10, tau_minus=20)
    for hardware in ("loihi1", "loihi2"):
        found = report(lava_circuit(rule, False), hardware)
        assert found.legal, found.reasons
        assert series_of(found.form.split("; ")[0].removeprefix("dw = "), "dw") == {
            ("x0", "y1"): -0.125 * 16, ("y0", "x1"): 0.125 * 16}


def test_the_reward_modulated_stdp_that_lava_ships_is_legal_where_factors_are_graded() -> None:
    pytest.importorskip("lava")
    from lava.proc.learning_rules.r_stdp_learning_rule import RewardModulatedSTDP

    rule = RewardModulatedSTDP(
        learning_rate=1, A_plus=2, A_minus=-2, pre_trace_decay_tau=10, post_trace_decay_tau=10,
        pre_trace_kernel_magnitude=16, post_trace_kernel_magnitude=16, eligibility_trace_decay_tau=0.5)
    rule.y1_tau = 10
    found = report(lava_circuit(rule, True), "loihi2")
    assert found.legal and "w moves" not in found.form, found
    parts = dict(clause.split(" = ", 1) for clause in found.form.split("; ")[:2])
    assert series_of(parts["dt"], "dt") == {("x0", "y1"): -32, ("y0", "x1"): 32, ("u", "t"): -0.5}
    assert series_of(parts["dw"], "dw") == {("u", "t", "y2"): 1}
    assert not report(lava_circuit(rule, True), "loihi1").legal


def test_lava_reads_every_form() -> None:
    pytest.importorskip("lava")
    rules = [(STDP, ()), (REWARD, ()), (["increment 3 * w / 32 - 0.0078125 * pre.spike"], ())]
    for (rule, pre), hardware in itertools.product(rules, ("loihi1", "loihi2")):
        for clause in judged(rule, hardware, pre).form.split("; "):
            name, _, text = clause.partition(" = ")
            if name in ("dw", "dt", "dd"):
                assert series_of(text, name)
