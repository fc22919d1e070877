"""Rules that keep something at the synapse, in integers: equal to the bit to the int64 reference on every backend."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from fixed_point_setups import program
from random_graphs.choices import RandomChoices
from random_graphs.rules import integer_rule
from rule_circuits import REWARD, STDP, circuit, report
from test_integer_faults import rewritten, same

from cortexc.compiler.ir import CortexError
from cortexc.compiler.ir.expressions import Call, Name, Number, Prev
from cortexc.compiler.ir.protocol import Phase, Protocol
from cortexc.compiler.passes import quantised_rules
from cortexc.compiler.passes.engine import engine_reasons
from cortexc.compiler.passes.legalise import the_map
from cortexc.compiler.verify import verify_quantised
from cortexc.compiler.verify.runs import Setup, quantities, trajectory
from cortexc.reference.fixed_point_synapses import Projection

ERROR = ["factor error = where(reward > 0.5, 1, where(reward < -0.5, -1, 0))"]
TEXTBOOK = {
    "pair": (STDP, ()),
    "triplet": (["state slow = 0", "update slow = 0.9375 * prev(slow) + post.spike",
                 "increment pre.x * post.spike * (0.125 + 0.25 * prev(slow)) - 0.0625 * pre.spike * post.y"], ()),
    "reward": (REWARD, ()),
    "inhibitory": (["increment 0.125 * (pre.x * post.spike + pre.spike * post.y - 0.25 * pre.spike)"], ()),
    "error-triggered": (["increment 0.0625 * pre.x * post.error"], ERROR)}
"""Rules of the literature with decays and scales of a chip: Song et al. 2000, Pfister & Gerstner 2006, Izhikevich 2007,
Vogels et al. 2011, and EMSTDP's update by the sign of an error (Shrestha et al. 2021)."""

KEPT = {"reward": ["e"], "triplet": ["slow"]}
"""Tags of the legal form."""
FORMS = (Path(__file__).parents[2] / "docs" / "legality.md").read_text()


def stimulated(graph, steps=80, seed=0):
    """Cells that fire now and then; learning pauses in every third step."""
    rng = np.random.default_rng(seed)
    gates = (("learn", (1.0, 1.0, 0.0)), ("apply", (0.0, 0.0, 0.0, 1.0)), ("ga", (1.0, 0.0)))
    protocol = Protocol((Phase("all", steps, 1, gates=tuple(g for g in gates if g[0] in graph.gates)),), ("all",))
    arrays = {"W.w": rng.uniform(-1, 1, (2, 3))}
    return Setup(graph.with_(arrays=arrays), protocol, rng.uniform(-1, 1, (steps, 7)), (3,))


def textbook(name, steps=80, hardware="loihi2", rounding="stochastic", **widths):
    rule, post = TEXTBOOK[name]
    return program(stimulated(circuit(rule, post=post), steps), rounding, hardware, steps=steps, **widths)


def check(found, on, granularity="network"):
    setup, source = found
    result = verify_quantised(setup, source, setup.steps, on, granularity)
    assert result.passed, result.reasons
    assert (result.evidence, result.max_abs_error) == ("independent-reference", 0.0)
    assert set(result.variables) == set(quantities(setup.graph))


def random_rule(seed):
    """Of the circuit with traces in both cells; a state of its own at least."""
    c = RandomChoices(seed)
    pre, post = (SimpleNamespace(offered=names) for names in (["spike", "x", "slow", "rate"], ["spike", "y", "v"]))
    while "state" not in (text := integer_rule(c, None, "learning", pre, post, True, False)):
        pass
    return [line.strip() for line in text.replace("parameter eta 1", "parameter eta 1 = 0.5").splitlines()[1:]], c


@pytest.mark.parametrize("seed", range(30))
def test_random_rules_with_states(seed):
    rule, c = random_rule(seed)
    setup = stimulated(circuit(rule), 60, seed)
    bits = {"weights": c.pick((4, 8)), "tags": c.pick((5, 9)), "factors": c.pick((6, 8)), "messages": c.pick((6, 8))}
    found = program(setup, c.pick(("stochastic", "shared", "nearest", "lava")), c.pick(("", "loihi2")), steps=60, **bits)
    setup, source = found
    for on in ("interpreter", "native"):
        result = verify_quantised(setup, source, 60, on, "network")
        assert result.outcome in ("verified", "nothing-learnt"), (rule, result.reasons)
        assert result.max_abs_error == 0, rule
        assert set(result.variables) == set(quantities(setup.graph))


@pytest.mark.parametrize("name", TEXTBOOK)
def test_textbook_rules_are_legal_and_their_integers_are_those_of_the_reference(name):
    rule, post = TEXTBOOK[name]
    found = report(circuit(rule, post=post), "loihi2")
    assert found.legal and found.form in FORMS and not found.runs, found
    setup, source = textbook(name)
    states = [s.name for r in setup.graph.rules for s in r.states]
    assert states == KEPT.get(name, []), "what one side keeps is a trace of that cell, if the rule stays legal"
    assert not [r for r in engine_reasons(setup.graph, the_map("loihi2")) if "bits" in r]
    for on in ("interpreter", "native"):
        check((setup, source), on)


@pytest.mark.lava
@pytest.mark.slow
@pytest.mark.parametrize("granularity", ["population", "network"])
def test_lava_computes_the_integers_of_a_rule_with_a_tag(granularity):
    check(textbook("reward", 200), "lava", granularity)


def test_a_tag_has_the_format_that_is_asked_for_and_saturates():
    setup, source = textbook("reward", tags=4)
    (tag,) = (s for r in setup.graph.rules for s in r.states)
    assert tag.dtype == "int4"
    check((setup, source), "native")


def test_tags_move_where_the_weight_rests():
    setup, source = textbook("reward")
    resting = replace(setup, protocol=Protocol((Phase("all", 80, 1, gates=(("learn", (0.0,)),)),), ("all",)))
    (chunk,) = trajectory(resting, ["W.e", "W.w"], "interpreter")
    assert (np.diff(chunk["W.e"], axis=0) != 0).any() and not (np.diff(chunk["W.w"], axis=0) != 0).any()
    assert verify_quantised(resting, source, 80).max_abs_error == 0


# ---- faults


def offset(e):
    return Call("fixed", (*e.arguments[:3], Number(0.25))) if isinstance(e, Call) and e.function == "fixed" else e


def of_the_last_step(e):
    return Prev("e", 1) if e == Name("e") else e


def undecayed(e):
    return Number(1.0) if e == Number(0.9375) else e


@pytest.mark.parametrize("change", [offset, of_the_last_step, undecayed])
def test_a_fault_of_the_program_is_noticed(change):
    setup, source = textbook("reward")
    assert same(setup, setup, source, 80)
    try:
        assert not same(rewritten(setup, change, "rules"), setup, source, 80)
    except CortexError as error:
        assert error.code == "V128", error


def test_a_swapped_random_number_is_noticed(monkeypatch):
    true = quantised_rules._offset
    monkeypatch.setattr(quantised_rules, "_offset", lambda options, name: (
        Name({"rounding": "e_rounding", "e_rounding": "rounding"}[name]), true(options, name)[1]))
    setup, source = textbook("reward")
    assert not same(setup, setup, source, 80)


def only_where_it_learns(q, true=Projection.increment):
    states = dict(q.states)
    found = true(q)
    q.states = q.states if q.memory.on(q.data["gate"]) else states
    return found


@pytest.mark.parametrize(("method", "wrong"), [
    ("increment", only_where_it_learns),
    ("_look", lambda q, leaf, true=Projection._look: q.before[leaf[1]] if leaf[1] in q.states else true(q, leaf)),
    ("_random", lambda q, number, true=Projection._random: true(q, min(number, 0)))])
def test_a_fault_of_the_reference_is_noticed(method, wrong, monkeypatch):
    setup, source = textbook("reward")
    monkeypatch.setattr(Projection, method, wrong)
    assert not same(setup, setup, source, 80)


# ---- what is refused


@pytest.mark.parametrize(("rule", "says"), [
    (["state tag = 0", "update tag = 0.5 * prev(tag) + pre.x", "increment tag * post.spike", "optimiser accumulate"],
     "a state 'tag' beside what its optimiser keeps"),
    (["noise r uniform", "increment r * post.spike * pre.x"], "random numbers of its own"),
    (["state e = 0", "update e = 0.5 * prev(e) + pre.x", "increment e * post.spike", "optimiser adam(0.1, 0.9, 0.99, 1e-4)"],
     "optimiser 'adam'")])
def test_what_has_no_integer_form_is_refused(rule, says):
    with pytest.raises(CortexError, match=f"E612 .*rule 'learning.*' of projection 'W' has {says}"):
        program(stimulated(circuit(rule)))
