"""The canonical text of a graph: it prints, parses back and says in which line it does not."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cortexc.compiler.ir import (
    CellType,
    Convolution,
    CortexError,
    Equation,
    Graph,
    Mirror,
    Noise,
    Optimiser,
    Parameter,
    PlasticityRule,
    Population,
    Port,
    Projection,
    State,
    SynapseClass,
    parse,
    parse_graph,
    show_graph,
)
from cortexc.compiler.ir.kinds import KINDS
from cortexc.compiler.ir.model import OPTIMISERS, ROLES, SIGNS
from cortexc.compiler.ir.wiring import Numbers, Wiring
from cortexc.compiler.microcircuits.pal import Pal, build

VARIANTS = [dict(), dict(variant="FA"), dict(variant="BP"), dict(taur=0.0), dict(use_activation=False),
            dict(low_pass=False), dict(noise="legacy"), dict(sigma=(0.05,), eta_bw=(50.0,), alpha=(1e-6,))]
CIRCUITS = [(layers, options) for layers in ((2, 3), (2, 3, 2), (5, 20, 10, 20, 5)) for options in VARIANTS]


@pytest.mark.parametrize("layers, options", [*CIRCUITS, ((2, 3, 2), dict(activation=("relu", "tanh")))], ids=str)
def test_pal_reads_back(layers: tuple[int, ...], options: dict) -> None:
    graph = build(Pal(layers, **options))
    text = show_graph(graph)
    assert parse_graph(text) == graph and show_graph(parse_graph(text)) == text


def full_graph() -> Graph:
    """Every field of every part differs from its default somewhere, so that text that forgets one cannot pass."""
    cell = CellType(
        "cell", ports=(Port("basal", "basal"), Port("top", "apical")),
        parameters=(Parameter("tau", "ms", 5.0), Parameter("gain", "1/ms")), inputs=("value",),
        noise=(("white", "normal"), ("flat", "uniform")),
        states=(State("u", parse("-gain")), State("trace", dtype="int8", scale=0.125)),
        equations=(Equation("rate", parse("logistic(prev(u)) + value"), "send", "soma"),
                   Equation("u", parse("(basal - u) / tau"), "receive", derivative=True),
                   Equation("trace", parse("prev(prev(trace)) + white * flat"), "factor", "basal")),
        messages=("rate",))
    rule = PlasticityRule(
        "rule", parse("eta * e * -prev(pre.rate)"), (Parameter("eta", "1/ms", -0.5),), (State("e", parse("eta")),),
        (Equation("e", parse("pre.rate - e"), "factor", derivative=True),),
        Optimiser("adam", tuple(map(parse, ("min(eta, 1)", "0.9", "0.999", "1e-08")))))
    synapse = SynapseClass("synapse", "rate", "top", "blocks", "non_negative", (-1.5, 2.0), "rule", "per_sample")
    kernel = SynapseClass("kernel", "rate", "basal", "convolution", limits=(0.0, float("inf")))
    return Graph(
        "full-1", 0.5, ("learn", "go"), (cell,), (rule,), (synapse, kernel),
        (Population("a", "cell", 4, "area1", (("gain", -2.5),), "group1"), Population("b", "cell", 4)),
        (Projection("W", "synapse", "a", "b", 3, "learn", "go", (("eta", 1e-7),), ((2, 2), (1, 3), ((0, 1), (1, 0))),
                    None, "group2", "fused"),
         Projection("K", "kernel", "b", "a", convolution=Convolution((1, 2, 2), (4, 1, 1), 2, 1, 0, 1)),
         Projection("L", "kernel", "b", "a", wiring=Wiring("fixed_total", 7, 3, True, True),
                    weights=Numbers("normal", (-0.5, 1e-7)), delays=Numbers("uniform", (0.5, 2), "ms"))),
        (Mirror("W", "W", ("transpose", "negate", "add:W.offset")),), Noise("legacy", ("a", "b"), "go"),
        (("output", "b.rate"),), 3, 2)


def test_every_field_survives() -> None:
    graph = full_graph()
    text = show_graph(graph)
    assert parse_graph(text) == graph and show_graph(parse_graph(text)) == text


@settings(max_examples=100, deadline=None)
@given(st.floats(allow_nan=False, allow_infinity=False), st.sampled_from(tuple(KINDS)), st.sampled_from(SIGNS),
       st.sampled_from(ROLES), st.sampled_from(sorted(OPTIMISERS)))
def test_values_survive_to_the_bit(value: float, connectivity: str, sign: str, role: str, kind: str) -> None:
    optimiser = Optimiser(kind, tuple(parse("eta * 2") for _ in OPTIMISERS[kind].arguments))
    graph = Graph("g", rules=(PlasticityRule("r", parse("eta"), (Parameter("eta", "1", value),), optimiser=optimiser),),
                  synapses=(SynapseClass("s", "m", "p", connectivity, sign, (-abs(value), abs(value)), None, role),))
    assert parse_graph(show_graph(graph)) == graph


def test_the_sign_of_zero_survives() -> None:
    graph = Graph("g", rules=(PlasticityRule("r", parse("-0"), (Parameter("eta", "1", -0.0),)),))
    read = parse_graph(show_graph(graph)).rules[0]
    assert math.copysign(1.0, read.parameters[0].default) == -1.0 and read.increment == parse("-0")


def test_comments_and_empty_lines_are_skipped() -> None:
    text = "# a circuit\ngraph g  # name\n\n  dt 0.5\n# end\n"
    assert parse_graph(text) == Graph("g", dt=0.5)


@pytest.mark.parametrize("code, text, says", [
    ("E101", "graph g\npopluation a c 1\n", "line 2.*'popluation'.*Did you mean 'population'"),
    ("E101", "cell c\n  receves u = 1\n", "line 2.*'receves'.*Did you mean 'receive'"),
    ("E101", "population a c 1 aera=x\n", "line 1.*'aera'.*area"),
    ("E102", "population a c many\n", "line 1.*population|line 1.*a c many"),
    ("E102", "graph g\n  dt fast\n", "line 2.*'dt fast'"),
    ("E102", "population a\n", "line 1"),
    ("E103", "  dt 1\n", "line 1.*opens no block"),
    ("E104", "cell c\n  send u\n", "line 2.*'u'.*NAME .UNIT. = VALUE"),
    ("E104", "projection W s a to b\n", "line 1.*NAME CLASS PRE -> POST"),
    ("E110", "cell c\n  send u = 1 +\n", "line 2.*'1 \\+'"),
    ("E112", "cell c\n\n  send u = exq(1)\n", "line 3.*'exq'.*'exp'"),
])
def test_a_bad_line_is_named(code: str, text: str, says: str) -> None:
    with pytest.raises(CortexError, match=says) as caught:
        parse_graph(text)
    assert caught.value.code == code
