"""`cortexc.simulate`: a graph in memory through the passes to every backend, to the same bits."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import cortexc
from cortexc.compiler.backends.interpreter import Interpreter
from cortexc.compiler.experiments.circuits import with_seeds
from cortexc.compiler.experiments.simulation import seeds_of
from cortexc.compiler.ir.errors import CortexWarning
from cortexc.compiler.passes import pipeline, run_passes
from cortexc.compiler.verify.mutation.campaign import plain_python

TEXT = """
graph door
  dt 0.5
  gate learn
  gate noise
  noise counter gate=noise
cell source
  input x
  state r = 0
  send r = x
  message r
cell leaky
  port a
  parameter tau ms = 4
  input target
  noise white normal
  state u = 0.25
  receive du/dt = (a + 0.1 * white - u) / tau
  factor error = target - u
  message u
rule delta
  parameter eta 1 = 0.1
  increment gate.learn * eta * post.error * prev(pre.r)
synapse plastic
  message r
  port a
  rule delta
synapse fixed
  message u
  port a
population lower source 40
population upper leaky 3
population top leaky 2
projection W plastic lower -> upper
projection V fixed upper -> top
output u = top.u
"""
STEPS, NAMES = 12, ("upper.u", "top.u", "W.w", "V.current")
DRAW = np.random.default_rng(5)
GRAPH = cortexc.parse_graph(TEXT).with_(arrays={"W.w": DRAW.normal(size=(3, 40)), "V.w": DRAW.normal(size=(2, 3))})
INPUTS = {"lower.x": DRAW.normal(size=(STEPS, 40)), "upper.target": np.array([0.5, -0.5, 1.0])}
GATES = {"learn": 1.0, "noise": [1.0, 0.0] * (STEPS // 2)}


@pytest.fixture(autouse=True)
def kernels_as_plain_python():
    with plain_python():
        yield


def run(graph: cortexc.Graph = GRAPH, steps: int = STEPS, **options: Any) -> cortexc.Simulation:
    return cortexc.simulate(graph, steps, **{"inputs": INPUTS, "gates": GATES, "record": NAMES, "seed": 3, **options})


def same(a: cortexc.Simulation, b: cortexc.Simulation) -> None:
    assert list(a) == list(b) and list(a.final) == list(b.final)
    for name, values in {**a, **a.final}.items():
        np.testing.assert_array_equal(values, {**b, **b.final}[name], name)


def test_rows_are_those_of_the_steps() -> None:
    found = run()
    assert {name: values.shape for name, values in found.items()} == {
        "upper.u": (12, 1, 3), "top.u": (12, 1, 2), "W.w": (12, 1, 3, 40), "V.current": (12, 1, 2)}
    assert found.steps.tolist() == list(range(1, 13)) and not np.array_equal(found["W.w"][0], found["W.w"][-1])
    sparse = run(every=5, record="W.w")
    assert sparse.steps.tolist() == [5, 10] and np.array_equal(sparse["W.w"], found["W.w"][[4, 9]])


def test_what_the_interpreter_says_of_the_graph_as_written() -> None:
    """Inputs, gates and rows are put where they belong: the same by hand, without noise."""
    found = run(gates={"learn": GATES["noise"]}, backend="interpreter")
    hand = Interpreter(run_passes(GRAPH, pipeline(["discretise"])).graph)
    for t in range(STEPS):
        given = {"lower.x": INPUTS["lower.x"][t], "upper.target": INPUTS["upper.target"], "top.target": np.zeros(2)}
        values = hand.step(given, {"learn": GATES["noise"][t]}, {"upper.white": np.zeros(3), "top.white": np.zeros(2)})
        for name in NAMES:
            np.testing.assert_allclose(found[name][t], values[name], rtol=0, atol=1e-14, err_msg=name)


@pytest.mark.parametrize("granularity", ["network", "area", "population"])
def test_native_has_the_bits_of_the_interpreter(granularity: str) -> None:
    same(run(granularity=granularity, final=True), run(granularity=granularity, backend="interpreter", final=True))


def test_an_input_that_is_held_is_hoisted_equal_algebraically() -> None:
    held = {"inputs": {**INPUTS, "lower.x": INPUTS["lower.x"][0]}, "record": "top.u"}
    native, interpreter = run(**held), run(backend="interpreter", **held)
    np.testing.assert_allclose(native["top.u"], interpreter["top.u"], rtol=1e-13, atol=0)


@pytest.mark.lava
@pytest.mark.parametrize("granularity", ["network", "population"])
def test_lava_has_the_bits_of_native(granularity: str) -> None:
    options = {"granularity": granularity, "final": True, "every": 3}
    same(run(**options), run(**options, backend="lava"))


def test_it_goes_on_from_its_last_values() -> None:
    whole, half = run(gates={"learn": 1.0}, final=True), {**INPUTS, "lower.x": INPUTS["lower.x"][:6]}
    first = run(steps=6, gates={"learn": 1.0}, inputs=half, final=True)
    rest = run(GRAPH.with_(arrays={**GRAPH.arrays, **first.final}), 6, gates={"learn": 1.0}, final=True,
               inputs={**INPUTS, "lower.x": INPUTS["lower.x"][6:]})
    for name in ("upper.u", "top.u"):
        np.testing.assert_allclose(np.concatenate([first[name], rest[name]]), whole[name], rtol=0, atol=1e-15)
    assert set(whole.final) == {"W.w", "V.w", "lower.r", "upper.u", "top.u"}


@pytest.mark.parametrize("backend", ["interpreter", "native"])
def test_every_element_of_the_batch_has_its_own_inputs_and_seed(backend: str) -> None:
    each = DRAW.normal(size=(STEPS, 2, 40))
    both = run(inputs={"lower.x": each, "upper.target": 1.0}, seed=[3, 9], backend=backend)
    for i, seed in enumerate((3, 9)):
        alone = run(inputs={"lower.x": each[:, i], "upper.target": 1.0}, seed=seed, backend=backend)
        for name in ("upper.u", "top.u"):
            np.testing.assert_allclose(both[name][:, i:i + 1], alone[name], rtol=0, atol=1e-14)
    assert both["W.w"].shape == (12, 2, 3, 40)


def test_one_seed_stands_for_those_that_follow() -> None:
    same(run(with_seeds(GRAPH, 2), seed=3), run(seed=[3, 4]))


def test_samples_share_weights() -> None:
    found = run(GRAPH.with_(samples=2), inputs={"lower.x": DRAW.normal(size=(STEPS, 2, 40))})
    assert found["top.u"].shape == (12, 2, 2) and found["W.w"].shape == (12, 1, 3, 40)


def test_without_steps_and_without_inputs() -> None:
    nothing = run(steps=0, inputs={}, gates={}, final=True)
    assert nothing["top.u"].shape == (0, 1, 2) and np.array_equal(nothing.final["W.w"][0], GRAPH.arrays["W.w"])
    assert run(inputs={"lower.x": np.zeros((0, 40))}, steps=0, gates={})["top.u"].shape == (0, 1, 2)
    assert all(not run(record=(), backend=backend) for backend in ("native", "interpreter"))
    assert np.array_equal(run(inputs={})["top.u"], run(inputs={"lower.x": 0.0})["top.u"])


@pytest.mark.parametrize("options, code, says", [
    ({"backend": "brian"}, "X157", "interpreter, lava, native"), ({"granularity": "neurocore"}, "E601", "area"),
    ({"record": ["top.v"]}, "X151", "'top.u'"), ({"record": ["top.a"]}, "X151", "port"),
    ({"inputs": {"lower.y": 1.0}}, "X201", "lower.x"),
    ({"inputs": {"lower.x": np.zeros((STEPS, 39))}}, "X203", "(12, 40)"),
    ({"inputs": {"lower.x": np.full(40, np.nan)}}, "X204", "index (0,)"), ({"inputs": {"lower.x": "a"}}, "X203", "lower.x"),
    ({"gates": {"lern": 1.0}}, "E273", "learn"), ({"gates": {"learn": np.ones(5)}}, "X203", "(12,)"),
    ({"steps": -1}, "X208", "-1"), ({"steps": None, "inputs": {}, "gates": {}}, "X208", "do not change"), ({"steps": None, "gates": {"learn": np.ones(5)}}, "X208", "have 5, 12 rows"), ({"steps": 2.5}, "X208", "2.5"),
    ({"every": 0}, "X208", "0"), ({"seed": 1.5}, "X203", "1.5"), ({"seed": []}, "X203", "[]"),
    ({"graph": GRAPH.with_(seeds=2), "seed": [1, 2, 3]}, "E278", "3"), ({"graph": GRAPH.with_(arrays={})}, "E243", "W.w"),
    ({"steps": None, "inputs": {"lower.x": [[1.0], [1.0, 2.0]]}}, "X203", "lower.x"), ({"every": 10**30}, "X208", "2**53"), ({"record": None}, "X203", "None"), ({"backend": ["native"]}, "X157", "native"),
    ({"granularity": np.ones(2)}, "E601", "area"), ({"final": np.ones(2)}, "X203", "True"), ({"graph": TEXT}, "X111", "str"), ({"inputs": np.ones(40)}, "X203", "ndarray"), ({"record": [None]}, "X151", "None"),
    ({"graph": GRAPH.with_(cells=())}, "E202", "source"), ({"noise": "white"}, "X203", "noise"),
    ({"graph": GRAPH.with_(noise=cortexc.Noise("recorded"))}, "E277", "12 rows of 5")])
@pytest.mark.parametrize("backend", ["interpreter", "native"])
def test_what_cannot_be_is_said(options: dict[str, Any], code: str, says: str, backend: str) -> None:
    with pytest.raises(cortexc.CortexError) as caught:
        run(**{"backend": backend, **options})
    assert caught.value.code == code and says in str(caught.value)


def test_what_becomes_nan_is_warned_of() -> None:
    graph = GRAPH.with_(arrays={**GRAPH.arrays, "upper.tau": np.zeros(3)})
    with pytest.warns(CortexWarning, match="X206 'upper.u' .* NaN after 12 steps"):
        run(graph, record=["upper.u"])
    with pytest.warns(CortexWarning, match="X206 'upper.u' .* NaN after 12 steps"):
        run(graph, record=["lower.r"])  # also where nobody looks


def test_seeds_are_whole_numbers_of_64_bits() -> None:
    for given in ([2**64 - 1, 3], [2**63, -1], np.array([1, 2]), (np.uint64(2**64 - 1), 3)):
        assert seeds_of(GRAPH, given) == [int(each) for each in given]
    for refused in (2**64, [3, 2**64], [-2**63 - 1], [True, 2], [1.0], "3", [[1]], [np.zeros((2, 2)), np.zeros((2, 3))]):
        with pytest.raises(cortexc.CortexError, match=r"X203 seed is (?s:.*) below 2\*\*64"):
            seeds_of(GRAPH, refused)


def test_recorded_noise_is_replayed() -> None:
    graph, noise = GRAPH.with_(noise=cortexc.Noise("recorded")), DRAW.normal(size=(STEPS, 5))
    first, second = (run(graph, backend=backend, noise=noise) for backend in ("native", "interpreter"))
    same(first, second)
    assert not np.array_equal(first["top.u"], run(graph, noise=0 * noise)["top.u"])


def test_steps_are_those_of_what_changes() -> None:
    same(run(steps=None), run())
    same(run(steps=None, inputs={}, ), run(inputs={}))


def test_a_graph_is_verified_as_written_and_as_it_is_run() -> None:
    inputs = {"lower.x": DRAW.normal(size=(STEPS, 40))}
    found = cortexc.verify(GRAPH, inputs=inputs, gates={"learn": 1.0}, record=["top.u"], seed=[3, 4])
    assert found.passed and [line.line for line in found.lines] == ["as-written", "as-run"] and found.steps == STEPS
    assert {"top.u", "W.w"} <= set(found.variables) and max(e.abs for e in found.variables.values()) == 0.0

    def wrong(graph, inputs, steps):
        right = cortexc.simulate(GRAPH, inputs=inputs0, gates={"learn": 1.0}, record=["top.u"], backend="interpreter")
        return {"top.u": right["top.u"] + 1e-3}

    inputs0 = inputs
    found = cortexc.verify(GRAPH, inputs=inputs, gates={"learn": 1.0}, reference=wrong)
    assert not found.passed and found.first_divergence.variable == "top.u"


@pytest.mark.parametrize("ask", [cortexc.simulate, cortexc.verify, cortexc.explain, cortexc.fit_chip])
@pytest.mark.parametrize("given", ["pal_digits", None, TEXT])
def test_what_is_no_circuit_has_a_code(ask: Any, given: Any) -> None:
    with pytest.raises(cortexc.CortexError, match="X111 a graph or Network is asked for"):
        ask(given)


def test_sizes_may_be_numpys_own(tmp_path, monkeypatch):
    """Compiled kernels did not know them."""
    monkeypatch.setenv("CORTEXC_CACHE", str(tmp_path))
    monkeypatch.setenv("CORTEXC_JIT", "1")
    sized = GRAPH.with_(populations=tuple(replace(p, size=np.int64(p.size)) for p in GRAPH.populations))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = cortexc.simulate(sized, STEPS, inputs=INPUTS, gates=GATES, record=["W.w"])
    expected = cortexc.simulate(GRAPH, STEPS, inputs=INPUTS, gates=GATES, record=["W.w"], backend="interpreter")
    assert np.array_equal(found["W.w"], expected["W.w"])
