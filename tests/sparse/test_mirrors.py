"""Mirrors between lists of synapses: against matrices, on every backend, and what is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from random_graphs.differences import expected, outcome, watched
from random_graphs.integers import peaks
from sparse_circuits import graph_of, lists, setup_of

from cortexc.compiler.backends.interpreter import Interpreter
from cortexc.compiler.ir import Graph, parse_graph, problems, show_graph
from cortexc.compiler.ir.synapses import synapses_of, with_drawn
from cortexc.compiler.passes import run_passes
from cortexc.compiler.passes.name_products import NameProducts
from cortexc.compiler.passes.quantise import Quantise
from cortexc.compiler.passes.widths import Widths
from cortexc.compiler.verify.mutation.campaign import plain_python

BACK = """projection B back C -> C
mirror B = R : {}
"""
CLASS = """synapse back
  message spike
  port a
  connectivity {}
"""
OPERATIONS = ["transpose", "negate", "transpose negate", "transpose sign after", "transpose times:B.scale add:B.offset",
              "times:B.scale gate=learn"]


def mirrored(operations: str = "transpose negate", kind: str = "sparse", wiring: str = "", **options) -> Graph:
    """B is what R's synapses are, back or over again; R learns."""
    back = CLASS.format(kind) + (f"  role {options['role']}\n" if "role" in options else "")
    text = show_graph(graph_of(kind=kind, **options)).replace("population I", f"{back}population I")
    text = text.replace("output", BACK.format(operations) + "output")
    text = text.replace("gate=learn\nprojection", f"gate=learn\n{wiring}projection")
    return parse_graph(text)


def arrays(seed: int = 0, delay: int = 3) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    found = lists(rng, "W", 6, 8, 30) | lists(rng, "R", 8, 8, 50, delay)
    return found | {"B.w": rng.uniform(-1, 1, 50), "B.delay": rng.integers(1, 4, 50)}


def used(operations: str, rng: np.random.Generator, shape: tuple[int, ...]) -> dict[str, np.ndarray]:
    return {f"B.{name}": rng.uniform(-1, 1, shape) for name in ("scale", "offset") if name in operations}


@pytest.mark.parametrize("operations", OPERATIONS)
def test_every_backend_and_granularity_copies_the_same(operations):
    """Synapses in no order, several of a pair among them."""
    graph = mirrored(operations)
    setup = setup_of(graph.with_(arrays=arrays() | used(operations, np.random.default_rng(1), (50,))))
    assert problems(setup.graph) == []
    wanted = watched(setup.graph, increments=False)
    reference = expected(setup, wanted)
    with plain_python():
        assert [outcome(setup, reference, wanted, "native", granularity)
                for granularity in ("network", "population")] == [("equal", [])] * 2


@pytest.mark.lava
def test_lava_copies_the_same():
    setup = setup_of(mirrored("transpose negate", seeds=2, role="per_seed").with_(arrays=arrays()))
    wanted = watched(setup.graph, increments=False)
    assert outcome(setup, expected(setup, wanted), wanted, "lava", "population") == ("equal", [])


def run(graph: Graph) -> Interpreter:
    found, rng = Interpreter(graph), np.random.default_rng(4)
    for _ in range(25):
        found.step({"I.value": rng.uniform(-1, 1, (1, 6))}, {"learn": 1.0}, {})
    return found


@pytest.mark.parametrize("operations", ["transpose", "transpose negate", "negate"])
def test_lists_of_all_pairs_are_matrices(operations):
    """The same circuit with matrices: the same weights and potentials to the bit."""
    rng = np.random.default_rng(3)
    w, r, b = rng.uniform(-0.4, 1, (8, 6)), rng.uniform(-0.4, 1, (8, 8)), rng.uniform(-0.4, 1, (8, 8))
    dense = run(mirrored(operations, "dense").with_(arrays={"W.w": w, "R.w": r, "B.w": b}))
    (post, pre), order = np.indices((8, 8)).reshape(2, -1), rng.permutation(64)
    found = {f"R.{key}": values.reshape(-1)[order] for key, values in (("pre", pre), ("post", post), ("w", r))}
    found |= {f"W.{key}": values.reshape(-1) for key, values in
              (("pre", np.indices((8, 6))[1]), ("post", np.indices((8, 6))[0]), ("w", w))}
    start = (b.T if "transpose" in operations else b).reshape(-1)[order]
    sparse = run(mirrored(operations).with_(arrays={**found, "B.w": start}))
    assert (sparse.values["R.w"][0] == dense.values["R.w"][0].reshape(-1)[order]).all()
    back = dense.values["B.w"][0]
    assert (sparse.values["B.w"][0] == (back.T if "transpose" in operations else back).reshape(-1)[order]).all()
    assert (sparse.values["C.v"] == dense.values["C.v"]).all() and (dense.values["R.w"][0] != r).any()


def test_a_drawn_list_is_copied_too():
    graph = mirrored("transpose", wiring="  connect fixed_indegree 3 seed=2\n  w = normal(0.3, 0.5)\n")
    graph = parse_graph(show_graph(graph).replace("B back C -> C\n", "B back C -> C\n  w = 0.1\n  delay = uniform(1, 4)\n"))
    graph = graph.with_(arrays={name: array for name, array in arrays().items() if name[0] == "W"})
    assert problems(graph) == []
    forward, back = (synapses_of(graph, graph.projection(name)) for name in "RB")
    assert sorted(zip(forward.pre, forward.post, strict=True)) == sorted(zip(back.post, back.pre, strict=True))
    drawn = with_drawn(graph)
    assert {"B.pre", "B.post", "B.w"} <= drawn.arrays.keys() and problems(drawn) == []
    one, two = run(graph), run(drawn)
    assert all((one.values[name] == two.values[name]).all() for name in ("R.w", "B.w", "C.v"))


def test_integers_are_copied_too():
    """Both have one unit, and every copy is the negative of its own synapse."""
    graph = parse_graph(show_graph(mirrored("transpose negate after")).replace("tag", "trail")).with_(arrays=arrays())
    setup = setup_of(run_passes(graph, [NameProducts(12)]).graph)
    widths = Widths(states=16, messages=8, factors=8, weights=8, tags=9, tables=6, values=8, coefficients=12)
    whole = replace(setup, graph=run_passes(setup.graph, [Quantise(peaks(setup), widths, "nearest")]).graph)
    wanted = watched(whole.graph, increments=False)
    reference = expected(whole, wanted)
    with plain_python():
        assert outcome(whole, reference, wanted, "native", "population") == ("equal", [])
    last, unit = run(whole.graph).values, whole.graph.class_of("R").unit
    assert unit == whole.graph.class_of("B").unit and (last["R.w"] / unit == np.floor(last["R.w"] / unit)).all()
    assert (last["B.w"] == -last["R.w"]).all(), "both in the order of R.pre"
    assert np.abs(last["R.w"] - whole.graph.arrays["R.w"]).max() >= unit


WRONG = {"truncate": "E254", "redraw:B.scale": "E254", "times:B.scale": "E243"}


def codes(graph: Graph) -> set[str]:
    return {problem.code for problem in problems(graph)}


@pytest.mark.parametrize(("operations", "code"), WRONG.items())
def test_wrong_operations_are_refused(operations, code):
    assert code in codes(mirrored(operations).with_(arrays=arrays()))


def test_lists_of_other_cells_are_refused():
    graph = mirrored("transpose")
    turned = {"B.pre": arrays()["R.post"], "B.post": arrays()["R.pre"]}
    assert codes(graph.with_(arrays=arrays() | turned)) == set()
    assert codes(mirrored("negate").with_(arrays=arrays() | turned)) == {"E251"}
    assert codes(graph.with_(arrays=arrays() | {**turned, "B.pre": np.zeros(50)})) == {"E251"}
    mixed = graph.with_(synapses=tuple(s if s.name != "back" else s.__class__("back", "spike", "a") for s in graph.synapses))
    assert "E254" in codes(mixed.with_(arrays=arrays()))
