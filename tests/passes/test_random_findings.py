"""What random circuits brought up in the passes: each rewrite runs beside the circuit as it was written."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from random_graphs.differences import differences, expected

from cortexc.compiler.ir import CortexError, parse_graph, problems
from cortexc.compiler.ir.protocol import Phase, Protocol
from cortexc.compiler.passes import run_passes
from cortexc.compiler.passes.base import Request
from cortexc.compiler.passes.fold import Fold
from cortexc.compiler.passes.hoist_constant_input import HoistConstantInput
from cortexc.compiler.passes.quantise import Quantise
from cortexc.compiler.verify import Setup, trajectory
from cortexc.compiler.verify.mutation.campaign import plain_python

TEXT = """
graph case
  gate learn
cell source
  input value
  state rate = 0.5
  send rate = value
  message rate
cell leaky
  port a
  state u = 0.1
  receive u = 0.5 * prev(u) + a
  message u
rule r
{rule}
synapse p
  message rate
  port a
  rule r
  role {role}
population input source 2
population out leaky 2
projection W p input -> out gate=learn
{more}"""


def case(rule: str, role: str = "shared", more: str = "", **arrays: np.ndarray) -> Setup:
    lines = "\n".join(f"  {line}" for line in rule.split("; "))
    named = {"W.w": np.array([[0.25, -0.5], [0.5, 0.25]]), **{name.replace("__", "."): a for name, a in arrays.items()}}
    graph = parse_graph(TEXT.format(rule=lines, role=role, more=more)).with_(arrays=named)
    protocol = Protocol((Phase("all", 4, 3, gates=(("learn", (1.0, 0.0)),)),), ("all",))
    return Setup(graph, protocol, np.random.default_rng(0).uniform(-1, 1, (4, 2)))


def unchanged(setup: Setup, each, observed: str = "W.w", tolerance: float = 0.0) -> None:
    graph = run_passes(setup.graph, [each], Request(frozenset({observed}))).graph
    with plain_python():
        for on in ("interpreter", "native"):
            got = trajectory(replace(setup, graph=graph), [observed], on)
            assert [str(d) for d in differences(expected(setup, [observed]), got, tolerance)] == []


def test_fold_leaves_the_random_numbers_of_a_rule_as_they_were():
    """A draw's place among the rule's says what is drawn: an unread one in front of it stays."""
    setup = case("noise unread uniform; noise n uniform; noise late uniform; increment n - 0.5")
    unchanged(setup, Fold())
    (rule,) = run_passes(setup.graph, [Fold()], Request()).graph.rules
    assert [name for name, _ in rule.noise] == ["unread", "n"]


@pytest.mark.parametrize("rule", ["increment 0.1 * pre.rate", "noise n shared; increment post.u * n * pre.rate",
                                  "increment w * post.u * pre.rate", "increment post.u * pre.rate"])
def test_sums_over_a_held_input_need_one_postsynaptic_factor(rule):
    setup = case(f"{rule}; optimiser accumulate")
    each = HoistConstantInput(least_inputs=1)
    graph = run_passes(setup.graph, [each], Request(frozenset({"out.u"}))).graph
    assert (graph.projection("W").lowering == "hoisted") == (rule == "increment post.u * pre.rate")
    unchanged(setup, each, "out.u", 1e-12)


def test_a_bound_sum_becomes_a_bound_tag():
    setup = case("increment post.u * pre.rate; optimiser accumulate", W__accumulate=np.array([[0.3, -0.2], [0.0, 1.0]]))
    peaks = dict.fromkeys(("input.value", "input.rate", "out.u", "W.w", "W.accumulate"), 1.0)
    graph = run_passes(setup.graph, [Quantise(peaks)]).graph
    (tag,) = [s for s in graph.rules[0].states if s.name == "tag"]
    assert np.abs(graph.arrays["W.tag"] - setup.graph.arrays["W.accumulate"]).max() <= tag.scale / 2
    assert np.array_equal(graph.arrays["W.tag"] / tag.scale, np.round(graph.arrays["W.tag"] / tag.scale))


@pytest.mark.parametrize("optimiser", ["accumulate", "clipped(0.5)", "adam(0.1, 0.9, 0.99, 0.0001)"])
def test_sums_that_are_bound_count_from_the_first_update(optimiser):
    kind = optimiser.partition("(")[0]
    setup = case(f"increment post.u * pre.rate; optimiser {optimiser}",
                 **{f"W__{kind}": np.array([[0.3, -0.2], [0.1, 1.0]])})
    (q,) = setup.graph.projections
    setup = replace(setup, graph=setup.graph.with_(projections=(replace(q, apply="learn"),)))
    unchanged(setup, HoistConstantInput(least_inputs=1), "out.u", 1e-12)


@pytest.mark.parametrize(("limits", "bound", "says"), [
    ("0.5 inf", 0.5, "from 0.5 to inf.*reaches 0.249"), ("-inf -0.5", -0.5, "from -inf to -0.5"),
    ("0.0601 0.0602", 0.0601, "from 0.0601 to 0.0602")])
def test_limits_without_a_number_of_the_format_are_refused(limits, bound, says):
    graph = case("increment post.u * pre.rate", f"shared\n  limits {limits}", W__w=np.full((2, 2), bound)).graph
    peaks = dict.fromkeys(("input.value", "input.rate", "out.u", "W.increment"), 1.0) | {"W.w": 0.1}
    with pytest.raises(CortexError, match=f"E616 .*weights of projection 'W' are to stay {says}"):
        run_passes(graph, [Quantise(peaks)])


def test_a_table_over_a_gate_has_no_range():
    graph = case("increment post.u * pre.rate").graph
    peaks = dict.fromkeys(("input.value", "input.rate", "out.u", "out.t", "W.w"), 1.0)
    named = parse_graph("cell c\n  receive t = tanh(gate.learn)\n  receive u = t + a\n").cells[0].equations
    cells = tuple(replace(c, equations=named) if c.name == "leaky" else c for c in graph.cells)
    with pytest.raises(CortexError, match="E613 .*equation 't' of population 'out' is a function of 'gate.learn'"):
        run_passes(graph.with_(cells=cells), [Quantise(peaks)])


# ---- mirrors that have no meaning

TWO = "synapse q\n  message rate\n  port a\n  role {role}\nprojection V q input -> out\nmirror V = W : {operations}\n"


@pytest.mark.parametrize("role, works", [("per_seed", True), ("shared", False), ("per_sample", False)])
def test_redrawn_weights_have_a_copy_per_seed(role, works):
    setup = case("increment post.u * pre.rate", "shared", TWO.format(role=role, operations="redraw:x"), x=np.ones((2, 2)), V__w=np.zeros((2, 2)))
    found = problems(setup.graph.with_(seeds=2, samples=2))
    assert [p.code for p in found] == ([] if works else ["E256"])


def quantised_mirrors(mirrors: str, peak: float) -> Setup:
    """Projections V and U beside W; the greatest weight of V is `peak`."""
    others = "".join(f"synapse q{name}\n  message rate\n  port a\nprojection {name} q{name} input -> out\n" for name in "VU")
    arrays = {"V__w": np.full((2, 2), peak), "U__w": np.ones((2, 2)), "x": np.array([[1.7, -0.3], [0.6, 0.07]]),
              "y": np.array([[0.4, 2.2], [-1.0, 0.3]])}
    read = {name: array for name, array in arrays.items() if "__" in name or f":{name}" in mirrors}
    setup = case("increment post.u * pre.rate", "shared", others + mirrors, **read)
    peaks = {"input.value": 1.0, "input.rate": 1.0, "out.u": 1.0, "W.w": 0.5, "V.w": peak, "U.w": 1.0}
    return replace(setup, graph=run_passes(setup.graph, [Quantise(peaks)]).graph)


@pytest.mark.parametrize("peak", [4.0, 0.5, 0.06])
@pytest.mark.parametrize("operations", ["times:x", "negate times:x", "add:x times:y", "times:x add:y", "sign", "sign times:x",
                                        "sign add:y", "add:y sign", "times:x times:y", "add:x"])
def test_mirrored_integers_stay_on_the_grid_of_their_target(operations, peak):
    setup = quantised_mirrors(f"mirror V = W : {operations}\n", peak)
    (chunk,) = trajectory(setup, ["V.w", "W.w"], "interpreter")
    for name, values in chunk.items():
        units = values / setup.graph.class_of(name[0]).unit
        assert np.array_equal(units, np.floor(units)) and values.any(), name


def test_a_mirror_that_later_mirrors_leave_without_a_format_is_refused():
    quantised_mirrors("mirror V = W : negate\nmirror U = V : negate\n", 4.0)
    with pytest.raises(CortexError, match="E615 .*mirror 'U = V' gives weights that are no whole numbers of the units of 'U'"):
        quantised_mirrors("mirror U = V : negate\nmirror V = W : negate\n", 4.0)


@pytest.mark.parametrize("copies, fits", [(1, True), (2, True), (4, False)])
def test_arrays_of_mirrors_have_the_targets_copies(copies, fits):
    setup = case("increment post.u * pre.rate", "shared", TWO.format(role="per_seed", operations="add:x"),
                 x=np.ones((copies, 2, 2)), V__w=np.zeros((2, 2)))
    assert [p.code for p in problems(setup.graph.with_(seeds=2, samples=2))] == ([] if fits else ["E241"])


@pytest.mark.parametrize("operation", ["transpose", "truncate"])
def test_weights_of_feature_maps_are_no_matrix(operation):
    maps = ("synapse c\n  message rate\n  port a\n  connectivity convolution\n"
            + "".join(f"projection {name} c input -> out convolution=1x1x2/1x1x2/1,1,0,1\n" for name in "AB")
            + f"mirror B = A : {operation}\n")
    weights = np.ones((1, 1, 1, 1))
    found = problems(case("increment post.u * pre.rate", "shared", maps, A__w=weights, B__w=weights).graph)
    assert [p.code for p in found] == ["E254"] and operation in found[0].message
