"""Every check of `verify` refuses the graph that it is there for, and says who, what and how much."""

import inspect
import re
from collections.abc import Callable

import numpy as np
import pytest

from cortexc.compiler.ir import CortexError, Graph, model, parse_graph, problems, schedule, verify
from cortexc.compiler.ir.arrays import arrays_fit, mirrors_fit
from cortexc.compiler.ir.language import part_problems
from cortexc.compiler.ir.parameters import parameters_given
from cortexc.compiler.ir.verify import verify_discrete

GOOD = """
graph good
  dt 0.5
  gate learn
  noise counter gate=learn a
cell source
  parameter gain 1 = 2
  input value
  noise white normal
  state rate = 0
  send rate = gain * value + white
  message rate
cell unit
  port basal @ basal
  parameter tau ms = 4
  state u = 0
  state rate = logistic(u)
  send rate = logistic(prev(u))
  receive u = prev(u) + dt * (basal - prev(u)) / tau
  factor error = rate - u
  message rate
cell relay
  port basal @ basal
  receive out = basal
  message out
rule hebb
  parameter eta 1 = 0.1
  state e = eta
  update e = prev(e) + post.error * prev(pre.rate)
  increment eta * e
  optimiser low_pass(dt / 100)
synapse plain
  message rate
  port basal
synapse plastic
  message rate
  port basal
  rule hebb
  sign non_negative
  limits -1 2
synapse patches
  message rate
  port basal
  connectivity convolution
synapse onward
  message out
  port basal
  connectivity identity
population a source 4
population b unit 4
population r relay 4
population c unit 4
projection W plastic a -> b gate=learn
projection V plain b -> r
projection R onward r -> c delay=0
projection K patches a -> c convolution=1x2x2/1x2x2/1,1,0,1
projection B plain c -> b
mirror B = W : transpose negate add:B.offset
output result = c.rate
"""


def arrays() -> dict[str, np.ndarray]:
    ones = np.ones((4, 4))
    return {"W.w": ones, "V.w": ones, "B.w": ones, "B.offset": ones, "K.w": np.ones((1, 1, 1, 1)), "b.u": ones[0]}


def good() -> Graph:
    return parse_graph(GOOD).with_(arrays=arrays())


def edited(*changes: tuple[str, str], arrays_changed: dict | None = None) -> Graph:
    text = GOOD
    for old, new in changes:
        assert text.count(old) >= 1, old
        text = text.replace(old, new, 1)
    bound = {**arrays(), **(arrays_changed or {})}
    return parse_graph(text).with_(arrays={name: a for name, a in bound.items() if a is not None})


LOOP = ("projection K", "projection L back c -> r delay=0\nprojection K")
BACK = ("synapse onward", "synapse back\n  message u\n  port basal\n  connectivity identity\nsynapse onward")
BLOCKS = (
    "synapse plain\n  message rate\n  port basal\n",
    "synapse plain\n  message rate\n  port basal\n  connectivity blocks\n",
)

# code, what the message must say (in this order), the graph
BAD: list[tuple[str, str, Callable[[], Graph]]] = [
    ("E201", "two populations of graph 'good'.*'b'", lambda: edited(("population r relay", "population b relay"))),
    ("E201", "two gates.*'learn'", lambda: edited(("gate learn", "gate learn\n  gate learn"))),
    ("E201", "population and a projection.*'a'", lambda: edited(("projection V plain", "projection a plain"))),
    (
        "E202",
        "population 'a' 'sauce'; known: relay, source, unit.*'source'",
        lambda: edited(("population a source", "population a sauce")),
    ),
    ("E203", "rule of synapse class 'plastic' 'heb'; known: hebb", lambda: edited(("  rule hebb", "  rule heb"))),
    (
        "E204",
        "connectivity of synapse class 'onward' 'identiti'.*'identity'",
        lambda: edited(("connectivity identity", "connectivity identiti")),
    ),
    ("E204", "sign of synapse class 'plastic' 'plus'", lambda: edited(("sign non_negative", "sign plus"))),
    ("E204", "role of synapse class 'plastic' 'own'", lambda: edited(("  rule hebb", "  rule hebb\n  role own"))),
    ("E204", "optimiser of rule 'hebb' 'sgd'; known: accumulate, adam", lambda: edited(("low_pass(", "sgd("))),
    ("E205", "class of projection 'V' 'plan'.*'plain'", lambda: edited(("projection V plain", "projection V plan"))),
    ("E206", "presynaptic population of projection 'V' 'x'", lambda: edited(("V plain b ->", "V plain x ->"))),
    ("E206", "postsynaptic population of projection 'V' 'x'", lambda: edited(("V plain b -> r", "V plain b -> x"))),
    ("E206", "noise order 'z'; known: a, b, c, r", lambda: edited(("gate=learn a\n", "gate=learn z\n"))),
    ("E207", "gate of projection 'W' 'lern'; known: learn", lambda: edited(("b gate=learn", "b gate=lern"))),
    ("E207", "gate of projection 'W' 'go'", lambda: edited(("b gate=learn", "b gate=learn apply=go"))),
    ("E207", "gate of the noise 'on'", lambda: edited(("noise counter gate=learn", "noise counter gate=on"))),
    ("E208", "projection in mirror 'Q'; known: B, K, R, V, W", lambda: edited(("mirror B = W", "mirror Q = W"))),
    ("E208", "projection in mirror 'Q'", lambda: edited(("mirror B = W", "mirror B = Q"))),
    ("E209", "name of population 'a b' is 'a b'; a name is a letter", lambda: good().with_(
        populations=(*good().populations, model.Population("a b", "unit", 1)))),
    ("E209", "name of graph '\"\"\"' is", lambda: good().with_(name='"""')),
    (
        "E210",
        "message of synapse class 'plain' from cell 'unit' \\(projection 'V'\\) 'u'; known: rate",
        lambda: edited(("synapse plain\n  message rate", "synapse plain\n  message u")),
    ),
    (
        "E211",
        "port of synapse class 'plain' on cell 'relay' \\(projection 'V'\\) 'apical'; known: basal",
        lambda: edited(("synapse plain\n  message rate\n  port basal", "synapse plain\n  message rate\n  port apical")),
    ),
    (
        "E212",
        "'u' is defined twice in cell 'unit'",
        lambda: edited(("  factor error", "  receive u = 1\n  factor error")),
    ),
    (
        "E212",
        "'tau' is defined twice in cell 'unit'",
        lambda: edited(("port basal @ basal\n  parameter tau", "port tau @ basal\n  parameter tau")),
    ),
    (
        "E212",
        "'u' is defined twice in the states of cell 'unit'",
        lambda: edited(("  state u = 0", "  state u = 0\n  state u = 1")),
    ),
    ("E212", "parameter 'w' of rule 'hebb' is defined twice: the word 'w' has a meaning", lambda: edited(("  state e", "  parameter w 1 = 1\n  state e"))),
    (
        "E213",
        "message of cell 'relay' 'ou'; known: out",
        lambda: edited(("  message out\nrule", "  message out\n  message ou\nrule")),
    ),
    (
        "E213",
        "message 'error' of cell 'unit' is a factor",
        lambda: edited(("  message rate\ncell relay", "  message rate\n  message error\ncell relay")),
    ),
    (
        "E214",
        "state 'v' of cell 'unit' has no equation",
        lambda: edited(("  state u = 0", "  state u = 0\n  state v = 0")),
    ),
    (
        "E215",
        "initial value of 'rate' of cell 'unit' 'v'; known: dt, tau, u",
        lambda: edited(("state rate = logistic(u)", "state rate = logistic(v)")),
    ),
    (
        "E215",
        "initial value of 'u' of cell 'unit' 'rate'; known: dt, tau",
        lambda: edited(("state u = 0", "state u = rate")),
    ),
    (
        "E215",
        "initial value of 'rate' of cell 'unit' reads prev\\(u\\)",
        lambda: edited(("state rate = logistic(u)", "state rate = prev(u)")),
    ),
    (
        "E215",
        "initial value of 'e' of rule 'hebb' 'w'; known: dt, eta",
        lambda: edited(("state e = eta", "state e = w")),
    ),
    ("E216", "equation 'error' of cell 'unit' 'v'; known: .*basal", lambda: edited(("rate - u", "rate - v"))),
    ("E216", "equation 'rate' of cell 'unit' 'basal'", lambda: edited(("logistic(prev(u))", "logistic(basal)"))),
    (
        "E217",
        "equation 'error' of cell 'unit' reads prev\\(error\\)",
        lambda: edited(("rate - u", "rate - prev(error)")),
    ),
    (
        "E217",
        "equation 'dv/dt' of cell 'unit' needs an earlier 'v'",
        lambda: edited(("  factor error", "  receive dv/dt = basal\n  factor error")),
    ),
    (
        "E218",
        "rule 'hebb' \\(projection 'W'\\) 'pre.u'; known: arrived.rate, arrived.value, dt, e, eta, gate.learn",
        lambda: edited(("prev(pre.rate)", "pre.u")),
    ),
    (
        "E218",
        "optimiser of rule 'hebb' \\(projection 'W'\\) 'pre.rate'; known: dt, eta",
        lambda: edited(("low_pass(dt / 100)", "low_pass(pre.rate)")),
    ),
    (
        "E219",
        "rule 'hebb' \\(projection 'W'\\) reads prev\\(post.error\\)",
        lambda: edited(("post.error *", "prev(post.error) *")),
    ),
    ("E219", "reads prev\\(prev\\(e\\)\\); a synapse keeps one", lambda: edited(("prev(e)", "prev(prev(e))"))),
    ("E269", "state 'e' of rule 'hebb' reads 'e', whose value of this step is not there yet",
     lambda: edited(("prev(e)", "e"))),
    (
        "E220",
        "state 'f' of rule 'hebb' needs exactly one",
        lambda: edited(("  state e = eta", "  state e = eta\n  state f = 0")),
    ),
    (
        "E221",
        "optimiser 'low_pass' of rule 'hebb' takes 1 arguments \\('rate',\\), got 2",
        lambda: edited(("low_pass(dt / 100)", "low_pass(dt, 100)")),
    ),
    (
        "E222",
        "parameter of population 'b' 'tao'; known: tau.*'tau'",
        lambda: edited(("population b unit 4", "population b unit 4\n  tao = 1")),
    ),
    ("E222", "parameter of projection 'V' 'eta'; known: none", lambda: edited(("-> r", "-> r\n  eta = 1"))),
    (
        "E223",
        "population 'b' gives no value for parameter 'tau' \\(ms\\)",
        lambda: edited(("parameter tau ms = 4", "parameter tau ms")),
    ),
    ("E223", "projection 'W' gives no value for parameter 'eta'", lambda: edited(("eta 1 = 0.1", "eta 1"))),
    ("E238", "formula of parameter 'tau' of cell 'unit' 'rate'; known: dt", lambda: edited(("tau ms = 4", "tau ms = rate"))),
    ("E238", "formula of parameter 'eta' of rule 'hebb' 'w'", lambda: edited(("eta 1 = 0.1", "eta 1 = 2 * w"))),
    ("E249", "population 'b' gives a value for 'tau', which has a formula",
     lambda: edited(("tau ms = 4", "tau ms = 8 * dt"), ("population b unit 4", "population b unit 4\n  tau = 3"))),
    ("E239", "'tau' of population 'b' is drawn from normal\\(1.0,\\); it takes mean, deviation",
     lambda: edited(("population b unit 4", "population b unit 4\n  tau = normal(1)"))),
    ("E239", "'u' of population 'b' is drawn from uniform",
     lambda: edited(("population b unit 4", "population b unit 4\n  u = uniform(1, 2, 3, 0)"))),
    ("E222", "parameter of population 'b' 'rates'",
     lambda: edited(("population b unit 4", "population b unit 4\n  rates = normal(1, 2)"))),
    ("E212", "'tau' is defined twice in the parameters of population 'b'",
     lambda: edited(("population b unit 4", "population b unit 4\n  tau = 3\n  tau = normal(1, 2)"))),
    (
        "E224",
        "parameter 'tau' of population 'b' is inf",
        lambda: edited(("population b unit 4", "population b unit 4\n  tau = inf")),
    ),
    (
        "E225",
        "population 'b' has size -1; the least is 0",
        lambda: edited(("population b unit 4", "population b unit -1")),
    ),
    ("E226", "graph 'good': seeds 0 must be at least 1", lambda: good().with_(seeds=0)),
    ("E226", "dt 0.0 must be positive", lambda: good().with_(dt=0.0)),
    (
        "E227",
        "projection 'R' is identity, but 'r' has 4 cells and 'c' 5",
        lambda: edited(("population c unit 4", "population c unit 5")),
    ),
    (
        "E227",
        "projection 'K': lower channels x height x width is 8, expected 4",
        lambda: edited(("1x2x2/1x2x2", "2x2x2/1x2x2")),
    ),
    ("E227", "projection 'K': output pixels along axis 1 is 1, expected 2", lambda: edited(("1,1,0,1", "2,1,0,1"))),
    (
        "E227",
        "projection 'K': pixels along axis 1 that pooling by 3 leaves over is 2, expected 0",
        lambda: edited(("1,1,0,1", "1,1,0,3")),
    ),
    (
        "E227",
        "convolution of projection 'K' has stride 0; the least is 1",
        lambda: edited(("1,1,0,1", "1,0,0,1")),
    ),
    (
        "E227",
        "projection 'V': sum of the postsynaptic area sizes is 3, expected 4",
        lambda: edited(BLOCKS, ("B plain c -> b", "B plain c -> b blocks=4/4/0:0"), ("-> r", "-> r blocks=1,2/4/0:0")),
    ),
    (
        "E227",
        "projection 'V': block 2:0 is outside",
        lambda: edited(BLOCKS, ("-> r", "-> r blocks=2,2/4/2:0"), ("c -> b", "c -> b blocks=4/4/0:0")),
    ),
    ("E228", "projection 'V' is of connectivity 'blocks' and must give its shapes", lambda: edited(BLOCKS)),
    (
        "E228",
        "projection 'V' is of connectivity 'dense' and must not give",
        lambda: edited(("-> r", "-> r blocks=4/4/0:0")),
    ),
    (
        "E229",
        "projection 'R' is an identity and has no weights, but its synapse class 'onward' has rule 'hebb'",
        lambda: edited(("connectivity identity", "connectivity identity\n  rule hebb")),
    ),
    (
        "E230",
        "same-step cycle through projections R, L of graph 'good'",
        lambda: edited(BACK, LOOP, ("message rate\ncell relay", "message rate\n  message u\ncell relay")),
    ),
    (
        "E230",
        "equations u, v of cell 'unit' depend on each other within the step \\(population 'b'\\)",
        lambda: edited(
            ("receive u = prev(u)", "receive v = u\n  receive u = v"),
            ("  factor error = rate - u\n", ""),
            ("post.error * ", ""),
        ),
    ),
    (
        "E231",
        "projection 'V' has delay 0, but message 'rate' of cell 'unit'.*the least delay is 1",
        lambda: edited(("-> r", "-> r delay=0")),
    ),
    (
        "E232",
        "projection 'V' delays message 'rate' of cell 'unit' by 2 steps",
        lambda: edited(("-> r", "-> r delay=3"), ("  state rate = logistic(u)\n", "")),
    ),
    ("E233", "projection 'R' leaves relay 'relay' with delay 2", lambda: edited(("c delay=0", "c delay=2"))),
    ("E234", "unit of parameter 'tau' of cell 'unit' is 'banana'", lambda: edited(("tau ms", "tau banana"))),
    ("E235", "limits of synapse class 'plastic' are \\(2.0, -1.0\\)", lambda: edited(("limits -1 2", "limits 2 -1"))),
    ("E236", "needs 7.451e\\+06 GiB .* of it for projection 'V'.*the limit is 64 GiB", lambda: edited(
        ("population r relay 4", "population r relay 2000000000"), ("population b unit 4", "population b unit 500000"))),
    ("E237", "populations of graph 'good' is \\[\\]; it must be a tuple", lambda: good().with_(populations=[])),
    ("E240", "unknown array 'b.v'; known: .*b.u", lambda: edited(arrays_changed={"b.v": np.ones(4)})),
    (
        "E241",
        "array 'W.w' has shape \\(4, 3\\), expected \\(4, 4\\)",
        lambda: edited(arrays_changed={"W.w": np.ones((4, 3))}),
    ),
    (
        "E241",
        "array 'W.w' has shape \\(3, 4, 4\\), expected \\(4, 4\\)\\.",
        lambda: edited(arrays_changed={"W.w": np.ones((3, 4, 4))}).with_(seeds=3),
    ),
    (
        "E242",
        "array 'b.u' is not finite: nan at index \\(2,\\)",
        lambda: edited(arrays_changed={"b.u": np.array([0, 0, np.nan, 0])}),
    ),
    ("E246", "weights of projection 'V' are not all multiples", lambda: edited(
        ("synapse plain\n", "synapse plain\n  unit 0.3\n"))),
    ("E245", "table of cell 'unit' 'sigmoid'", lambda: edited(("rate - u", "lookup(sigmoid, rate - u)"))),
    ("E241", "table.t.*a table is a vector", lambda: edited(arrays_changed={"table.t": np.ones((2, 2))})),
    ("E243", "projection 'V' has no weights: array 'V.w'.*\\(4, 4\\)", lambda: edited(arrays_changed={"V.w": None})),
    ("E243", "mirror 'B' uses array 'B.offset', which is missing", lambda: edited(arrays_changed={"B.offset": None})),
    (
        "E243",
        "projection 'V' is masked: array 'V.mask' is missing",
        lambda: edited(
            (
                "synapse plain\n  message rate\n  port basal",
                "synapse plain\n  message rate\n  port basal\n  connectivity masked",
            ),
            arrays_changed={"B.mask": np.ones((4, 4))},
        ),
    ),
    (
        "E244",
        "projection 'W' span \\[-1.0, 1.0\\], synapse class 'plastic' \\(non_negative\\) allows \\[0.0, 2.0\\]",
        lambda: edited(arrays_changed={"W.w": np.diag([1.0, -1, 1, 1])}),
    ),
    ("E244", "synapses that projection 'V' leaves out have weight 0, synapse class 'plain' \\(free\\) allows \\[0.125, 2.0\\]",
     lambda: edited(("synapse plain\n  message rate\n  port basal",
                     "synapse plain\n  message rate\n  port basal\n  connectivity masked\n  limits 0.125 2"),
                    arrays_changed={"V.mask": np.ones((4, 4)), "V.w": np.ones((4, 4))})),
    (
        "E250",
        "operation of mirror 'B' 'transposed'; known: add:ARRAY, negate, redraw:ARRAY, sign, times:ARRAY, transpose, truncate",
        lambda: edited((": transpose", ": transposed")),
    ),
    (
        "E251",
        "mirror 'B' of 'W' has shape \\(4, 4\\), expected \\(4, 3\\)",
        lambda: edited(
            ("B plain c -> b", "B plain d -> b"),
            ("population c unit 4", "population c unit 4\npopulation d unit 3"),
            arrays_changed={"B.w": np.ones((4, 3)), "B.offset": np.ones((4, 3))},
        ),
    ),
    (
        "E252",
        "quantity of output 'result' 'c.rat'; known: .*Did you mean 'c.rate'",
        lambda: edited(("= c.rate", "= c.rat")),
    ),
    (
        "E253",
        "state 'u' of cell 'unit' has dtype 'int64'; known: float64, int2 .. int48",
        lambda: edited(("state u = 0", "state u = 0 : int64 1")),
    ),
    (
        "E254",
        "mirror 'B' of 'R': projection 'R' is of connectivity 'identity'",
        lambda: edited(("mirror B = W", "mirror B = R")),
    ),
    (
        "E254",
        "the source has 3 copies \\(per_seed\\), the target 1 \\(shared\\)",
        lambda: edited(("  rule hebb", "  rule hebb\n  role per_seed")).with_(seeds=3),
    ),
    (
        "E256",
        "mirror 'B' of 'W' draws a number per synapse and seed, but the target has 1 copies \\(shared\\) for 3 seeds",
        lambda: edited(("mirror B = W :", "mirror B = W : redraw:extra")).with_(seeds=3),
    ),
]


def test_the_good_graph_is_good() -> None:
    assert problems(good()) == []
    verify(good())
    verify_discrete(good())


@pytest.mark.parametrize("code, says, graph", BAD, ids=[f"{code}-{i}" for i, (code, _, _) in enumerate(BAD)])
def test_a_bad_graph_is_refused(code: str, says: str, graph: Callable[[], Graph]) -> None:
    found = problems(graph())
    assert [p for p in found if p.code == code and re.search(says, str(p))], [str(p) for p in found]


@pytest.mark.parametrize("code, says, graph", BAD, ids=[f"{code}-{i}" for i, (code, _, _) in enumerate(BAD)])
def test_verify_raises_what_problems_lists(code: str, says: str, graph: Callable[[], Graph]) -> None:
    with pytest.raises(CortexError) as caught:
        verify(graph())
    assert caught.value.code == problems(graph())[0].code


def test_a_derivative_is_refused_by_backends_only() -> None:
    graph = edited(("receive u = prev(u) + dt * (basal - prev(u)) / tau", "receive du/dt = (basal - u) / tau"))
    verify(graph)
    with pytest.raises(CortexError, match="E255 equation 'du/dt' of cell 'unit'.*discretise"):
        verify_discrete(graph)


def test_a_derivative_of_a_synaptic_state_is_refused_by_backends() -> None:
    with pytest.raises(CortexError, match="E255 equation 'de/dt' of rule 'hebb'"):
        verify_discrete(edited(("update e = prev(e) + post.error", "update de/dt = post.error")))


def test_every_code_has_a_bad_graph() -> None:
    source = "".join(inspect.getsource(inspect.getmodule(f)) for f in (
        verify, arrays_fit, mirrors_fit, parameters_given, schedule.schedule, part_problems))
    codes = set(re.findall(r'"(E2\d\d)"', source))
    assert codes == {code for code, _, _ in BAD} | {"E255"}


def test_verify_counts_the_other_violations() -> None:
    with pytest.raises(CortexError, match="1 more: E240"):
        verify(edited(("rate - u", "rate - v"), arrays_changed={"b.v": np.ones(4)}))
