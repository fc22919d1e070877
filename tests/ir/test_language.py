"""Every row of the language's table: a good value passes, bad ones are refused with the row's code, whether the graph
was built in Python or read from text; every line of the grammar likewise."""

import dataclasses
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cortexc.compiler.ir import (
    CortexError,
    Graph,
    cells,
    distributions,
    maps,
    model,
    parse_circuit,
    parse_graph,
    places,
    problems,
    show_graph,
    verify,
    wiring,
)
from cortexc.compiler.ir import expressions as ex
from cortexc.compiler.ir import language as lang
from cortexc.compiler.ir.limits import (
    DELAY,
    EXPRESSION_DEPTH,
    EXPRESSION_LENGTH,
    EXPRESSION_NODES,
    GRAPH_NAME_LENGTH,
    LINE_LENGTH,
    MEMORY,
    NAME_LENGTH,
    PARTS,
    SIZE,
    TEXT_LENGTH,
)
from cortexc.compiler.ir.reader import BLOCKS

TEXT = """
graph good
  dt 0.5
  batch seeds 1 samples 2
  gate learn
  noise legacy gate=learn a
cell source
  parameter gain 1 = 2
  input value
  noise white normal
  state rate = 0 : int8 0.5
  send rate = gain * value + white
  message rate
cell unit
  port basal @ soma
  state u = 0
  receive u = prev(u) + basal @ soma
  message u
rule hebb
  parameter eta 1 = 0.1
  noise draw shared
  state e = eta
  update e = prev(e) + post.u * prev(pre.rate)
  increment eta * e
  optimiser low_pass(dt / 100)
synapse plastic
  message rate
  port basal
  rule hebb
  limits -1 2
  unit 0.25
synapse back
  message u
  port basal
synapse areas
  message rate
  port basal
  connectivity blocks
synapse patches
  message rate
  port basal
  connectivity convolution
synapse lists
  message rate
  port basal
  connectivity sparse
population a source 4 area=below
  gain = 3
  place grid 2x2 on 1 mm x 1 mm wrapped
population b unit 4 group=core_0:2+core_1:2
  u = normal(0, 1, -2, 2) seed=3
  place random on 1 mm x 1 mm seed=3
population c unit 4
  place grid 2x2 on 1 mm x 1 mm wrapped
projection W plastic a -> b gate=learn apply=learn lowering=fused
  eta = 0.2
projection K patches a -> c convolution=1x2x2/1x2x2/1,1,0,1
projection L areas a -> c blocks=2,2/4/0:0
projection B back b -> c
projection S lists a -> c
  connect fixed_indegree 2 seed=1 autapses multapses
  w = uniform(0, 1)
  delay = uniform(1, 3)
projection T lists a -> c
  connect distance 0.5 gaussian(1 mm) seed=2
  w = 1
  delay = 1 ms + distance / (1 mm/ms)
mirror B = W : transpose add:B.offset after gate=learn
output result = c.u
"""


def graph() -> Graph:
    ones = np.ones((4, 4))
    return parse_graph(TEXT).with_(arrays={"W.w": ones, "B.w": ones, "L.w": ones, "B.offset": ones,
                                           "K.w": np.ones((1, 1, 1, 1))})


BAD_NAMES = ["", "a b", "\u00e9", "x\u00b2", "1a", "a.b", "a-b", '"""', "'", "a\nb", "a;b", "x" * (NAME_LENGTH + 1),
             "\uff41", "a\x00", "a\u2028b", " a", 5, None, b"a"]
KEYWORDS = ["in", "lambda", "None", "True", "inf"]
NOT_NUMBERS = [math.nan, "1", None, True]


def tree_of(depth: int) -> ex.Expression:
    tree: ex.Expression = ex.Name("dt")
    for _ in range(depth):
        tree = ex.Negate(tree)
    return tree


def wide(nodes: int) -> ex.Expression:
    leaves: list[ex.Expression] = [ex.Number(1.0)] * ((nodes + 1) // 2)
    while len(leaves) > 1:
        leaves = [ex.Binary("+", *leaves[i:i + 2]) if i + 1 < len(leaves) else leaves[i]
                  for i in range(0, len(leaves), 2)]
    return leaves[0]


def shared_below() -> ex.Expression:
    """2**200 nodes in 200 objects."""
    tree: ex.Expression = ex.Name("dt")
    for _ in range(200):
        tree = ex.Binary("+", tree, tree)
    return tree


SAMPLES: dict[Any, tuple[list[Any], list[Any]]] = {
    lang.NAME: (["a", "_x", "W_1", "match", "in", "__", "x" * NAME_LENGTH], BAD_NAMES),
    lang.READABLE: (["a", "dt", "exp"], [*BAD_NAMES, *KEYWORDS]),
    lang.QUANTITY: (["a", "rate_1", "pre"], [*BAD_NAMES, *KEYWORDS, "dt", "w", "prev", "exp", "nan"]),
    lang.OWNER: (["a", "P0"], [*BAD_NAMES, "table", "gate"]),
    lang.GRAPH_NAME: (["a", "pal-2-3"], ["", "a b", '"""', "a\n", "-a", "a.b", "\u00e9", "x" * 251, 5, None]),
    lang.GROUP: (["a", "core_0:40+core_3:23"], ["a+b", "a:0+b:1", "a:\u00b2", "a:1+", "a b:1+c:2", 5, None]),
    lang.OUTPUT: (["c.u"], ["c", "c.u.v", "c.", "c d.u", "c.\u00e9", 5]),
    lang.TRUTH: ([True, False], [1, "yes", None]),
    lang.UNIT: (["1", "ms", "1/ms", "mV", "nS/um^2", "mV*ms", "kOhm", "m/s^2", "spike"],
                ["banana", "", "m s", "\u00b5m", "1/", "ms^", "ms^10", "milli", "x" * 200, 1, None]),
    lang.FINITE: ([0, -1.5, np.float64(2), np.int64(2), 10**300], [*NOT_NUMBERS, math.inf, -math.inf, 1j, 10**400]),
    lang.POSITIVE: ([1, 1e-300], [0, -1.0, math.inf, *NOT_NUMBERS]),
    lang.NOT_NEGATIVE: ([0, 0.25], [-1e-9, math.inf, *NOT_NUMBERS]),
    lang.LIMITS: ([(0, 0), (-math.inf, math.inf)], [(1, 0), (math.nan, 1), (0, math.nan), (0,), [0, 1], None]),
    lang.STEP: ([0.1, 1], [0, -0.1, math.inf, *NOT_NUMBERS]),
    lang.COPIES: ([1, np.int64(3)], [0, -1, 1.0, True, "1", SIZE + 1, None]),
    lang.CELLS: ([0, 5, SIZE], [-1, 2.5, "3", True, SIZE + 1, 10**12, None]),
    lang.STEPS: ([0, 1, DELAY], [-1, 0.5, DELAY + 1, None]),
    lang.WHOLE: ([0, 3, 2**63], [-1, 0.5, True, None]),
    lang.SEED: ([0, 2**63 - 1], [-1, 0.5, 2**63, None]),
    lang.COUNT: ([1, 3], [0, -1, 1.5, SIZE + 1, None]),
    lang.INDEX: ([0, 3], [-1, 1.5, SIZE + 1, None]),
    lang.DTYPE: (["float64", "int2", "int48"], ["int\u00b2", "int1", "int49", "int064", "float32", "int", "", 8, None]),
    lang.OPERATION: (["transpose", "add:B.offset", "times:extra"],
                     ["turn", "add", "add:", "transpose:a", "add:a b", "add:a.b.c", "", 5, None]),
    lang.ARRAYS: ([{}, {"W.w": np.ones(2)}], [None, [], {"W.w": [1.0]}, {5: np.ones(2)}, {"W.w": np.array(["a"])},
                                              {"W.w": np.array([None])}, {"W.w": np.ones(2) * 1j}]),
    lang.Tree(): ([ex.parse("dt + 1"), ex.Number(-5.0), tree_of(EXPRESSION_DEPTH), wide(EXPRESSION_NODES - 1)],
                  [tree_of(EXPRESSION_DEPTH + 1), tree_of(100_000), wide(EXPRESSION_NODES + 3), shared_below(), "dt", None,
                   ex.Number(math.nan), ex.Number("1"), ex.Name("a b"), ex.Name("a.b"), ex.Name("import"), ex.Name(5),
                   ex.Prev("u", 0), ex.Prev("u", 10**9), ex.Prev("u", "1"), ex.Binary("**", ex.Name("a"), ex.Name("b")),
                   ex.Call("eval", (ex.Name("a"),)), ex.Call("exp", ()), ex.Call("exp", None), ex.Call(["exp"], ()),
                   ex.Lookup("a b", ex.Name("a")), ex.Negate("a")])}


def samples(domain: lang.AnyDomain) -> tuple[list[Any], list[Any]]:
    """Good and bad values of a domain, made from those of its parts."""
    match domain:
        case lang.OneOf(known):
            return list(known), ["zzz", known[0] + " ", known[0].upper() + "_", "\u00e9", 5, None]
        case lang.Maybe(of, absent):
            good, bad = samples(of)
            return [absent, *good], [value for value in bad if value not in (absent, None)]
        case lang.Each(of):
            good, bad = samples(of)
            return [(), (good[0],)], [(value,) for value in bad] + [None, 5, "ab", [*good[:1]]]
        case lang.Row(places):
            good, bad = zip(*map(samples, places), strict=True)
            first = tuple(values[0] for values in good)
            wrong = [(*first[:i], value, *first[i + 1:]) for i, values in enumerate(bad) for value in values]
            return [first], [*wrong, first[:-1], (*first, 1), None, "ab"]
        case lang.Part(kind):
            return [next(part for part in parts(graph()) if type(part) is kind)], [None, 5, "x", model.Graph]
    return SAMPLES[domain]


def parts(part: Any) -> list[Any]:
    """An object of the model, and those inside it."""
    if isinstance(part, tuple):
        return [found for item in part for found in parts(item)]
    if type(part) not in lang.FIELDS:
        return []
    return [part, *(found for f in dataclasses.fields(part) for found in parts(getattr(part, f.name)))]


def put(part: Any, old: Any, new: Any) -> Any:
    """The object with `new` where `old` was."""
    if part is old:
        return new
    if isinstance(part, tuple):
        return tuple(put(item, old, new) for item in part)
    if type(part) not in lang.FIELDS:
        return part
    return dataclasses.replace(part, **{f.name: put(getattr(part, f.name), old, new) for f in dataclasses.fields(part)})


def changed(kind: type, field: str, value: Any) -> Graph:
    """The good graph with another value in a field of a part of this kind."""
    whole = graph()
    found = [part for part in parts(whole) if type(part) is kind]
    part = next((p for p in found if getattr(p, field) not in (None, "", ())), found[0])
    return put(whole, part, dataclasses.replace(part, **{field: value}))


def codes(domain: lang.AnyDomain) -> set[str]:
    match domain:
        case lang.Maybe(of):
            return codes(of)
        case lang.Each(of):
            return codes(of) | {"E237"}
        case lang.Row(places):
            return set().union(*map(codes, places)) | {"E237"}
        case lang.Both(first, second):
            return codes(first) | codes(second)
        case lang.Part():
            return {"E237"}
        case lang.Tree():
            return {"E114", "E115", "E237"}
        case lang.OneOf():
            return {"E204", "E237"}
    return {domain.code}


ROWS = [(kind, field) for kind, fields in lang.FIELDS.items() for field in fields]
row = pytest.mark.parametrize("kind, field", ROWS, ids=[f"{kind.__name__}.{field}" for kind, field in ROWS])


def test_the_table_has_every_field_of_the_model() -> None:
    known = (model.__name__, cells.__name__, distributions.__name__, maps.__name__, wiring.__name__, places.__name__)
    kinds = {kind for kind in (vars(wiring) | vars(model)).values() if dataclasses.is_dataclass(kind)
             and kind.__module__ in known} - {places.Places, places.Apart}
    assert {(kind, f.name) for kind in kinds for f in dataclasses.fields(kind)} == set(ROWS)


def test_the_example_is_valid_and_has_every_kind_of_part() -> None:
    verify(graph())
    assert {type(part) for part in parts(graph())} == set(lang.FIELDS)
    assert parse_graph(show_graph(graph())) == graph()


@row
def test_a_good_value_is_accepted(kind: type, field: str) -> None:
    for value in samples(lang.FIELDS[kind][field])[0]:
        assert [str(p) for p in lang.part_problems(changed(kind, field, value))] == []


@row
def test_a_bad_value_is_refused_in_python(kind: type, field: str) -> None:
    for value in samples(lang.FIELDS[kind][field])[1]:
        with pytest.raises(CortexError) as caught:
            verify(changed(kind, field, value))
        assert caught.value.code in codes(lang.FIELDS[kind][field]), value
        assert str(caught.value).isascii() and "\n" not in str(caught.value) and len(str(caught.value)) < 900


def words_in(value: Any) -> list[str] | None:
    """The value as text shows it, where it can."""
    if isinstance(value, tuple) and value:
        found = [words_in(item) for item in value]
        return None if None in found else [word for words in found for word in words or ()]
    return str(value).split() if type(value) in (str, int, float) else None


@row
def test_a_bad_value_is_refused_in_text(kind: type, field: str) -> None:
    good, bad = samples(lang.FIELDS[kind][field])
    allowed = [words_in(value) for value in good]
    for value in bad if lang.FIELDS[kind][field] is not lang.TRUTH else ():
        if not words_in(value) or words_in(value) in allowed or any(equal(value, found) for found in good):
            continue  # text has no such value, or reads it as a good one
        hostile = changed(kind, field, value)
        try:
            text = show_graph(hostile)
        except (TypeError, ValueError, AttributeError, OverflowError, IndexError):
            continue
        assert refused(text) or parse_graph(text) != hostile, (value, text)


def equal(value: Any, found: Any) -> bool:
    try:
        return bool(value == found)
    except OverflowError:  # numpy 2.5, of an integer beyond the floats
        return False


def refused(text: str) -> bool:
    try:
        verify(parse_graph(text).with_(arrays=graph().arrays))
    except CortexError:
        return True
    return False


LINES: dict[str, dict[str, tuple[list[str], list[tuple[str, str]]]]] = {
    "graph": {
        "dt": (["0.1"], [("E102", "fast"), ("E104", ""), ("E104", "1 2"), ("E102", "1_0"), ("E102", "\u0661"),
                         ("E226", "inf"), ("E226", "nan"), ("E226", "0"), ("E226", "-1")]),
        "batch": (["seeds 2 samples 3", "samples 1 seeds 1"], [
            ("E104", ""), ("E104", "2 3"), ("E104", "seeds 2"), ("E105", "seeds 2 seeds 3"), ("E102", "seeds a samples 1"),
            ("E104", "seeds 1 samples 1 more"), ("E226", "seeds 0 samples 1"), ("E226", "seeds 1 samples 10000000000")]),
        "gate": (["g"], [("E104", ""), ("E104", "a b"), ("E209", "a-b"), ("E212", "in")]),
        "noise": (["counter", "legacy gate=learn a", "none"], [
            ("E104", ""), ("E204", "zzz a"), ("E206", "legacy x"), ("E207", "legacy gate=x"), ("E209", "legacy a-b"),
            ("E105", "legacy gate=learn gate=learn"), ("E101", "legacy gates=learn"), ("E102", "legacy gate=")])},
    "cell": {
        "port": (["p", "p @ q", "p@q", "p mV", "p 1/ms @ q"], [("E104", ""), ("E234", "a b"), ("E104", "a mV b"), ("E104", "p @"), ("E104", "p @ q r"),
                                         ("E209", "p @ q-r"), ("E212", "exp")]),
        "parameter": (["p", "p mV", "p mV = 1", "p = 1", "p mV = 2 mV/ms * dt", "p = 2 mV", "p = -2 1/ms", "p mV = 2 mV"], [
            ("E267", "p mV = 2 s"), ("E267", "p mV = 2 ms * dt"), ("E234", "p = 2 ohms"),
            ("E104", ""), ("E104", "p ms fast = 1"), ("E104", "p ms ="), ("E238", "p ms = x"), ("E224", "p ms = nan"),
            ("E224", "p ms = -inf"), ("E234", "p banana"), ("E209", "p-q ms"), ("E110", "p ms = 1 2"), ("E238", "p ms = p"), ("E238", "p ms = prev(dt)"),
            ("E212", "dt ms = 1")]),
        "input": (["i", "i Hz"], [("E104", ""), ("E234", "i j"), ("E104", "i Hz s"), ("E209", "i.j"), ("E212", "where")]),
        "noise": (["n", "n normal", "n uniform", "n gaussian", "n poisson(2)", "n normal(1, 2)", "n uniform (1, exp(2))"], [
            ("E204", "n gauss"), ("E204", "n shared"), ("E104", ""), ("E104", "n normal 1"), ("E209", "n-1"),
            ("E113", "n poisson"), ("E113", "n poisson()"), ("E113", "n normal(1)"), ("E110", "n poisson(1 +)")]),
        "integrator": (["euler", "exact", "rk4"], [("E204", "heun"), ("E104", ""), ("E104", "a b")]),
        "jump": (["u = u + 1"], [("E104", "u"), ("E110", "u = 1 +")]),
        "spike": (["when u > 1", "when u > 1 and not u > 2"], [("E104", "u > 1"), ("E110", "when u >")]),
        "reset": (["u = 0", "u = u - 1"], [("E104", "u"), ("E110", "u = 1 +")]),
        "hold": (["2 ms", "3 steps", "2 * 3 ms u"], [("E104", "2"), ("E104", "2 s"), ("E110", "2 + ms")]),
        "state": (["u = 0", "u mV = 0", "u = -65 mV", "u mV = 0 mV : int8 0.5", "u = 0 : int8", "u = 0 : int8 0.5"], [
            ("E104", "u"), ("E104", "u ="), ("E234", "u banana = 0"), ("E267", "u mV = 1 ms"), ("E104", "u mV V = 0"), ("E110", "u = 1 +"), ("E253", "u = 0 : int\u00b2"), ("E253", "u = 0 : int99"),
            ("E102", "u = 0 : int8 x"), ("E235", "u = 0 : int8 nan"), ("E235", "u = 0 : int8 0"), ("E104", "u = 0 : int8 1 1"),
            ("E215", "u = nan"), ("E209", "\u00fc = 0")]),
        **{stage: (["v = 1", "v mV = 1", "v = 1 mV", "v=1 @ soma", "v = 1 <= 2", "dv/dt = 1 from 2 @ soma"], [
            ("E104", "v = 1 from 2"), ("E234", "v banana = 1"), ("E267", "v mV = 2 ms"), ("E209", "dv/dt mV = 1"), ("E110", "dv/dt = 1 from"), ("E110", "dv/dt = 1 from 2 +"),
            ("E104", "v"), ("E104", "v ="), ("E104", "= 1"), ("E110", "v = 1 +"), ("E110", "v = \uff58"), ("E104", "v = 1 @"),
            ("E104", "v = 1 @ a b"), ("E209", "v = 1 @ a-b"), ("E209", "v-w = 1"), ("E114", "v = " + "1+" * 300 + "1"),
            ("E114", "v = " + "1+" * 20_000 + "1"), ("E114", "v = " + "(" * 200 + "1" + ")" * 200), ("E112", "v = eval(1)")])
           for stage in model.STAGES},
        "message": (["v", "v late"], [("E104", ""), ("E104", "a b"), ("E213", "zzz"), ("E209", "v-")])},
    "rule": {
        "parameter": (["p 1 = 1"], [("E234", "p banana = 1"), ("E224", "p 1 = inf"), ("E212", "w 1 = 1")]),
        "noise": (["n", "n shared"], [("E204", "n normal"), ("E104", "n shared 1")]),
        "state": (["s = 0", "s mV = 0"], [("E104", "s"), ("E234", "s banana = 0"), ("E209", "s- = 0"), ("E212", "exp = 0"), ("E212", "adam = 0")]),
        "update": (["s = 1", "ds/dt = 1"], [("E104", "s"), ("E110", "s = @"), ("E209", "s- = 1")]),
        "increment": (["1"], [("E104", ""), ("E110", "1 1"), ("E114", "-" * 5000 + "1")]),
        "deliver": (["w", "w * dt"], [("E104", ""), ("E110", "1 1"), ("E218", "pre.v"), ("E218", "prev(w)")]),
        "optimiser": (["accumulate", "none()", "low_pass(0.5)"], [
            ("E204", "sgd(0.1)"), ("E221", "low_pass"), ("E104", "low_pass(0.5) now"), ("E110", "low_pass(0.5, )"),
            ("E104", "low_pass(0.5"), ("E104", "")])},
    "synapse": {
        "message": (["v"], [("E104", ""), ("E104", "a b"), ("E209", "v-"), ("E210", "zzz")]),
        "port": (["p"], [("E104", ""), ("E209", "p-"), ("E211", "zzz")]),
        "connectivity": (["dense"], [("E204", "random"), ("E104", "dense masked")]),
        "sign": (["free", "non_negative"], [("E204", "plus"), ("E104", "")]),
        "rule": ([], [("E203", "zzz"), ("E209", "a-b"), ("E104", "a b")]),
        "role": (["shared"], [("E204", "own")]),
        "weight": (["pA", "1"], [("E234", "banana"), ("E104", ""), ("E104", "pA mV")]),
        "unit": (["0.5"], [("E235", "-1"), ("E235", "nan"), ("E102", "x"), ("E104", "1 2")]),
        "limits": (["0 1", "-inf inf"], [("E235", "1 0"), ("E235", "nan 1"), ("E104", "1"), ("E104", "0 1 2"),
                                         ("E102", "a b")])},
    "population": {
        "place": (["grid 2x2 on 1 mm x 2 mm wrapped", "grid 4 on 1", "random on 1 um x 1 um x 1 um seed=3", "line on 1 deg",
                   "ring on 2 mm"], [
            ("E104", ""), ("E104", "grid 2x2"), ("E280", "grid 2x3 on 1 x 1"), ("E280", "grid 2x2 on 1"), ("E102", "grid on 1"),
            ("E102", "line on 1 mm x 2 um"), ("E280", "line on 1 mm x 1 mm"), ("E235", "line on 0 mm"), ("E102", "line on x"),
            ("E204", "helix on 1"), ("E234", "line on 1 banana"), ("E243", "given on 1 mm"), ("E102", "ring on 1 seed=2"),
            ("E102", "grid 2xx2 on 1 x 1"), ("E227", "grid 0x2 on 1 x 1"), ("E102", "ring 4 on 1")])},
    "projection": {
        "connect": (["fixed_indegree 1", "fixed_total 1 seed=3 autapses multapses", "probability 0.5 autapses"], [
            ("E104", ""), ("E104", "fixed_indegree"), ("E259", "distance 1"), ("E104", "distance gaussian"), ("E281", "distance 0.5 box(1 mm)"),
            ("E204", "distance hat(1)"), ("E102", "distance box(1 mm, 2)"), ("E259", "fixed_total 1 box(1)"), ("E204", "near 1"), ("E104", "fixed_indegree many"),
            ("E102", "fixed_indegree 1 hubs"), ("E102", "fixed_indegree 1 autapses autapses"), ("E259", "probability 2"),
            ("E104", "fixed_indegree 1 seed=-1"), ("E104", "fixed_indegree nan"), ("E259", "fixed_indegree 2")]),
        "w": (["= 1", "= 1 ms", "= normal(1 pA, 0.5 pA)", "= normal(1, 0.5)", "= uniform(0, 1)", "=normal( 1 , 2 )"], [
            ("E104", ""), ("E104", "1"), ("E102", "= normal(1, x)"), ("E204", "= cauchy(0, 1)"), ("E259", "= normal(1)"),
            ("E102", "= normal()"), ("E224", "= nan"), ("E234", "= 1 banana"), ("E102", "= normal(1 pA, 2)"), ("E224", "= 1e999")]),
        "delay": (["= 1.5 ms", "= normal(1.5 ms, 0.5 ms)", "= uniform(1, 5)", "= constant(2)"], [
            ("E281", "= distance / (1 mm/ms)"), ("E281", "= 1 ms + distance / (0.3)"), ("E104", "= distance / 3"),
            ("E104", "= 1 + distance / (3)"), ("E259", "= constant(1) + distance / (1 mm/ms)"),
            ("E104", ""), ("E258", "= 0.3 ms"), ("E102", "= normal(1 ms, 2)"), ("E258", "= uniform(0, 1)"),
            ("E259", "= normal(1)"), ("E259", "= 5 s"), ("E259", "= normal(1 s, 1 s)"), ("E234", "= 5 banana")])}}
AROUND = {
    "population": "graph g\ncell c\n  input i\n  send x = i\npopulation a c 4\n{}",
    "projection": "graph g\n  dt 0.5\ncell c\n  input i\n  port p\n  state u = 0\n  receive u = i\n  message u\n"
                  "synapse s\n  message u\n  port p\n  connectivity sparse\npopulation a c 1\npopulation b c 1\n"
                  "projection W s a -> b\n{}",
    "graph": "graph g\n{}  gate learn\ncell c\n  input i\n  send x = i\npopulation a c 1\n",
    "cell": "graph g\ncell c\n{}population a c 1\n",
    "rule": "graph g\ncell c\n  input i\n  port p\n  state u = 0\n  receive u = i\n  message u\nrule r\n{}synapse s\n"
            "  message u\n  port p\n  rule r\npopulation a c 1\npopulation b c 1\nprojection W s a -> b\n",
    "synapse": "graph g\ncell c\n  input i\n  port p\n  receive v = i\n  message v\nsynapse s\n{}population a c 1\n"
               "population b c 1\nprojection W s a -> b\n"}
MOVES = "  state u = 0\n  receive u = 1\n"
NEEDED = {"jump": MOVES, "spike": MOVES, "reset": MOVES + "  spike when u > 1\n",
          "hold": MOVES + "  spike when u > 1\n  reset u = 0\n", "state": "  receive u = 1\n", "message": "  send v = 1\n", "rule.state": "  update s = 1\n",
          "rule.update": "  state s = 0\n", "synapse.message": "  port p\n", "synapse.port": "  message v\n",
          "projection.connect": "  w = 1\n", "projection.w": "  connect fixed_total 1\n",
          "projection.delay": "  w = 1\n  connect fixed_total 1\n"}


def with_line(block: str, word: str, rest: str) -> str:
    rest_of_block = NEEDED.get(f"{block}.{word}", NEEDED.get(word, "") if block == "cell" else "")
    if block == "synapse" and not rest_of_block:
        rest_of_block = "  message v\n  port p\n"
    return AROUND[block].format(f"  {word} {rest}\n" + rest_of_block)


def bound(text: str) -> Graph:
    found = parse_graph(text)
    return found.with_(arrays={f"{q.name}.w": np.zeros((1, 1)) for q in found.projections if not q.weights})


EVERY_LINE = [(block, word) for block, lines in LINES.items() for word in lines]
line = pytest.mark.parametrize("block, word", EVERY_LINE, ids=[f"{block}-{word}" for block, word in EVERY_LINE])


def test_every_line_of_the_grammar_is_tried() -> None:
    assert {(block, word) for block, known in BLOCKS.items() for word in known.lines if word != "NAME"} == set(EVERY_LINE)


@line
def test_a_good_line_is_read(block: str, word: str) -> None:
    for rest in LINES[block][word][0]:
        graph = bound(with_line(block, word, rest))
        assert parse_graph(show_graph(graph)) == graph
        assert [str(p) for p in problems(graph) if p.code not in ("E214", "E220", "E223")] == []


@line
def test_a_bad_line_is_refused_with_its_number(block: str, word: str) -> None:
    for code, rest in LINES[block][word][1]:
        text = with_line(block, word, rest)
        number = 1 + text.splitlines().index(f"  {word} {rest}")
        try:
            found = problems(bound(text))
        except CortexError as error:
            assert len(re.findall(r"\bline [0-9]", error.message)) == 1, error.message
            assert error.message.startswith((f"line {number}: ", f"keyword in line {number}")), error.message
            found = [error]
        assert code in {p.code for p in found}, (rest, [str(p) for p in found])


ONCE = [(block, word, known.lines[word]) for block, known in BLOCKS.items() for word in known.lines
        if known.lines[word].once]


@pytest.mark.parametrize("block, word", [once[:2] for once in ONCE])
def test_what_makes_sense_once_is_refused_twice(block: str, word: str) -> None:
    good = [*LINES[block][word][0], "hebb"][0]
    with pytest.raises(CortexError, match=f"E105 line 3: '{word}' is said twice in {block} 'x'"):
        parse_graph(f"{block} x\n  {word} {good}\n  {word} {good}\n")


HEADS = [
    ("E105", "graph a\ncell c\ngraph b\n", "line 3"), ("E102", "graph\n", "line 1"), ("E102", "graph a b\n", "line 1"),
    ("E102", "cell\n", "line 1"), ("E102", "rule a b\n", "line 1"), ("E102", "synapse\n", "line 1"),
    ("E102", "population a c\n", "NAME CELL SIZE"), ("E102", "population a c 1 more\n", "KEY=VALUE"),
    ("E102", "population a c 1.5\n", "line 1"), ("E102", "population a c \u0661\n", "line 1"),
    ("E105", "population a c 1 area=x area=y\n", "'area' is said twice"), ("E102", "population a c 1 area=\n", "line 1"),
    ("E101", "population a c 1 aera=x\n", "area"), ("E209", "population a-b c 1\n", "line 1: name of population 'a-b'"),
    ("E104", "population a c 1\n  tau 4\n", "line 2"), ("E102", "population a c 1\n  tau = x\n", "line 2"),
    ("E209", "population a c 1\n  t.u = 1\n", "line 2"), ("E104", "projection W s a to b\n", "line 1"),
    ("E104", "projection W s a\n", "line 1"), ("E105", "projection W s a -> b delay=1 delay=2\n", "'delay' is said"),
    ("E102", "projection W s a -> b delay=fast\n", "line 1"), ("E102", "projection W s a -> b more\n", "line 1"),
    ("E102", "projection W s a -> b blocks=1/2\n", "line 1"), ("E102", "projection W s a -> b convolution=1x2\n", "line 1"),
    ("E209", "projection W s a -> b gate=a-b\n", "line 1"), ("E209", "projection W s 'a' -> b\n", "line 1"),
    ("E104", "mirror B\n", "TARGET = SOURCE"), ("E105", "mirror B = W : after after\n", "'after' is said twice"),
    ("E105", "mirror B = W : gate=a gate=b\n", "'gate' is said twice"), ("E101", "mirror B = W\n  eta = 1\n", "line 2"),
    ("E104", "output a\n", "NAME = POPULATION.QUANTITY"), ("E104", "output a = b c\n", "line 1"),
    ("E209", "output a = b\n", "line 1"), ("E101", "output a = b.c\n  x = 1\n", "line 2"),
    ("E101", "popluation a c 1\n", "keyword in line 1 'popluation'"), ("E103", "  dt 1\n", "line 1"),
    ("E103", "\tdt 1\n", "line 1"), ("E109", "", "empty"), ("E109", "# nothing\n\n", "empty"),
    ("E106", "graph a\n  gate \x00b\n", "line 2"), ("E106", "graph a\x0c\n", "line 1"),
    ("E107", "graph a # " + "x" * LINE_LENGTH, "line 1 has 1000"), ("E209", "graph a\u2028b\n", "line 1"),
    ("E209", "graph a\xa0b\n", "line 1")]


@pytest.mark.parametrize("code, text, says", HEADS, ids=[f"{code}-{i}" for i, (code, _, _) in enumerate(HEADS)])
def test_a_bad_text_is_refused(code: str, text: str, says: str) -> None:
    with pytest.raises(CortexError, match=says) as caught:
        parse_graph(text)
    assert caught.value.code == code and caught.value.message.count("line 1:") <= 1


@pytest.mark.parametrize("change", [
    lambda text: "\ufeff" + text, lambda text: text.replace("\n", "\r\n"), lambda text: text.replace("\n", "\r"),
    lambda text: text.replace("\n  ", "\n\t"), lambda text: text.replace("\n  ", "\n      "),
    lambda text: text.replace(" ", "  "), lambda text: text.replace("\n", "  # \u00e9\u4e2d\n")],
    ids=["bom", "crlf", "cr", "tab", "deeper", "spaces", "comments"])
def test_what_editors_do_to_a_text_changes_nothing(change: Callable[[str], str]) -> None:
    assert parse_graph(change(TEXT.lstrip())) == graph()


def test_a_file_begins_with_its_graph() -> None:
    assert parse_circuit(TEXT) == graph()
    with pytest.raises(CortexError, match="E109"):
        parse_circuit("cell c\n  send x = 1\n")


@pytest.mark.parametrize("field", ["cells", "populations"])
def test_there_are_not_too_many_parts(field: str) -> None:
    first = getattr(graph(), field)[0]
    more = {field: tuple(dataclasses.replace(first, name=f"n{i}") for i in range(PARTS + 1))}
    with pytest.raises(CortexError, match=f"E236 .*{PARTS + 1} {field}; the limit is {PARTS}"):
        verify(graph().with_(**more))


@pytest.mark.parametrize("changes, says", [
    (dict(seeds=10**9), "GiB"), (dict(seeds=10**12), "E226"), (dict(samples=SIZE), "GiB")])
def test_what_cannot_be_held_is_refused_before_memory_is_taken(changes: dict[str, int], says: str) -> None:
    with pytest.raises(CortexError, match=says):
        verify(graph().with_(**changes))


@pytest.mark.parametrize("name, array", [
    ("W.mask", np.ones((4, 4))), ("W.none", np.ones((4, 4))), ("W.adam", np.ones((4, 4))), ("a.tau", np.ones(4)),
    ("L.mask", np.ones((4, 4))), ("W", np.ones(1)), ("", np.ones(1))])
def test_an_array_that_nothing_reads_is_refused(name: str, array: np.ndarray) -> None:
    with pytest.raises(CortexError, match="E240 unknown array"):
        verify(graph().with_(arrays={**graph().arrays, name: array}))


def test_a_table_has_a_name_and_finite_entries() -> None:
    with pytest.raises(CortexError, match="E209 table"):
        verify(graph().with_(arrays={**graph().arrays, "table.a b": np.ones(2)}))
    with pytest.raises(CortexError, match="E242.*table.t"):
        verify(graph().with_(arrays={**graph().arrays, "table.t": np.array([1.0, math.nan])}))


def test_a_parameter_is_given_once() -> None:
    with pytest.raises(CortexError, match="E212 'gain' is defined twice in the parameters of population 'a'"):
        verify(parse_graph(TEXT.replace("  gain = 3\n", "  gain = 3\n  gain = 4\n")).with_(arrays=graph().arrays))


# ---- hostile text in every name

HOSTILE = st.one_of(st.text(max_size=12), st.sampled_from([*map(str, [*BAD_NAMES, *KEYWORDS]), "graph", "-> b", "= 1", "a # b", "area=x"]),
                    st.from_regex(r"[a-z_]{1,3}[A-Z0-9_ .:=@#'\"\\\n\t-]{0,3}", fullmatch=True))
NAMED = [(kind, field) for kind, field in ROWS
         if lang.FIELDS[kind][field] in (lang.NAME, lang.READABLE, lang.QUANTITY, lang.OWNER, lang.GRAPH_NAME, lang.UNIT, lang.DTYPE)
         or isinstance(lang.FIELDS[kind][field], lang.OneOf) or field in ("area", "group", "gate", "apply", "lowering")]


def words_of(graph: Graph) -> list[str]:
    names = [getattr(part, "name", "") for part in parts(graph) if type(part) is not Graph]
    return [*names, *graph.gates, *(m for c in graph.cells for m in (*c.messages, *c.inputs)),
            *(p.compartment for c in graph.cells for p in c.ports)]


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.sampled_from(NAMED), HOSTILE)
def test_hostile_words_are_refused_or_survive(where: tuple[type, str], word: str) -> None:
    kind, field = where
    hostile = changed(kind, field, word)
    if not list(lang.part_problems(hostile)):
        assert parse_graph(show_graph(hostile)) == hostile
        assert all(lang.is_name(name) for name in words_of(hostile) if name)
    else:
        with pytest.raises(CortexError):
            verify(hostile)
        read_or_refused(show_graph(hostile))


def read_or_refused(text: str) -> None:
    try:
        found = parse_graph(text)
        verify(found)
    except CortexError:
        return
    assert parse_graph(show_graph(found)) == found and all(lang.is_name(name) for name in words_of(found) if name)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.integers(0, len(TEXT)), st.integers(0, 20), HOSTILE)
def test_hostile_text_anywhere_is_refused_or_read(start: int, cut: int, word: str) -> None:
    read_or_refused(TEXT[:start] + word + TEXT[start + cut:])


def test_the_docs_say_the_limits_and_units() -> None:
    page = (Path(__file__).parents[2] / "docs" / "ir.md").read_text()
    for said in (f"at most {NAME_LENGTH}", f"at most {EXPRESSION_DEPTH} operations inside", f"{EXPRESSION_NODES} names,",
                 f"{EXPRESSION_LENGTH:,} characters", f"{LINE_LENGTH:,} and {TEXT_LENGTH:,} characters", f"0 to {DELAY:,}",
                 f"{PARTS:,} parts", f"{MEMORY >> 30} GiB", f"at most {GRAPH_NAME_LENGTH}", "at most 2^31 - 1"):
        assert said in page
    assert SIZE == 2**31 - 1
    row = next(line for line in page.splitlines() if line.startswith("| a unit"))
    assert set(re.findall(r"[A-Za-z]+|1", row)) >= lang.UNITS | set(lang.PLAIN)
