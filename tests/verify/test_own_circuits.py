"""One's own circuit against the interpreter, a function of one's own, and the torch reference."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from random_graphs.choices import Kinds, RandomChoices
from random_graphs.circuits import random_setup

from cortexc.compiler.ir import CortexError, parse_graph
from cortexc.compiler.ir.model import State
from cortexc.compiler.ir.protocol import Phase, Protocol
from cortexc.compiler.microcircuits.pal import Pal
from cortexc.compiler.verify import (
    Setup,
    load_function,
    reference_setup,
    verify_against_reference,
    verify_graph,
    verify_setup,
)
from cortexc.compiler.verify.mutation.campaign import plain_python

STEPS = int(os.environ.get("CORTEXC_STEPS", "1200"))
SIDES = [("native", "network"), ("native", "area"), ("native", "population")]
"""(on, granularity); a further backend is one more line, with its mark."""

GRAPH = """
graph leaky
  dt 0.1
  gate learn
cell source
  input value
  state rate = 0
  send rate = value
  message rate
cell leaky
  port drive
  parameter tau ms
  state u = 0
  receive u = prev(u) + dt * (drive - prev(u)) / tau
  message u
rule delta
  parameter eta 1
  increment dt * eta * post.u * prev(pre.rate)
synapse up
  message rate
  port drive
  rule delta
population input source 2
population out leaky 3
  tau = 2
projection W up input -> out gate=learn
  eta = 0.5
"""

REFERENCE = '''
import numpy as np

def leaky(graph, inputs, steps):
    W, u, before = graph.arrays["W.w"].copy(), np.zeros(3), np.zeros(2)
    rows = {"out.u": [], "W.w": []}
    for n in range(steps):
        rate = inputs["input.value"][n]
        u = u + 0.1 * (W @ rate - u) / 2
        if inputs["gate.learn"][n] > 0:
            W = W + 0.1 * 0.5 * np.outer(u, before)
        before = rate
        rows["out.u"].append(u)
        rows["W.w"].append(W)
    return rows

def wrong(graph, inputs, steps):
    return {name: np.array(values) * 1.0001 for name, values in leaky(graph, inputs, steps).items()}

def names(graph, inputs, steps):
    return {"out.v": np.zeros((steps, 3))}

def short(graph, inputs, steps):
    return {"out.u": np.zeros((steps - 1, 3))}

def shape(graph, inputs, steps):
    return {"out.u": np.zeros((steps, 4))}

def words(graph, inputs, steps):
    return {"out.u": ["a"] * steps}

def nothing(graph, inputs, steps):
    return None

def empty(graph, inputs, steps):
    return {}

def fails(graph, inputs, steps):
    return 1 / 0
'''


@pytest.fixture(autouse=True)
def kernels_as_plain_python():
    with plain_python():
        yield


@pytest.fixture
def leaky() -> Setup:
    graph = parse_graph(GRAPH).with_(arrays={"W.w": np.random.default_rng(0).uniform(-1, 1, (3, 2))})
    protocol = Protocol((Phase("all", 20, 4, gates=(("learn", (0.0, 1.0)),)),), ("all",))
    return Setup(graph, protocol, np.random.default_rng(1).uniform(-1, 1, (20, 2)))


@pytest.fixture
def functions(tmp_path) -> Path:
    path = tmp_path / "mine.py"
    path.write_text(REFERENCE)
    return path


# ---- against the interpreter


@pytest.mark.parametrize("on, granularity", SIDES)
def test_against_the_interpreter(leaky, on, granularity):
    result = verify_graph(leaky.graph, leaky.protocol, leaky.samples, on=on, granularity=granularity)
    assert result.passed and result.evidence == "interpreter" and result.max_abs_error == 0
    assert set(result.variables) == {"input.rate", "out.u", "W.current", "W.w"} and result.steps == 80


def test_increments_on_demand(leaky):
    assert "W.increment" in verify_setup(leaky, increments=True).variables


def test_fewer_steps(leaky):
    assert verify_setup(leaky, steps=7).steps == 7


@pytest.mark.parametrize("seed", range(6))
def test_updates_fused_with_delivery_are_verified_as_they_run(seed):
    """Weights are looked at in a run of their own, so that the other run is the fused one."""
    setup = random_setup(RandomChoices(40 + seed))
    fused = {f"{q.name}.w" for q in setup.graph.projections if q.lowering and setup.graph.arrays[f"{q.name}.w"].size}
    result = verify_setup(setup)
    assert result.first_divergence is None and fused <= set(result.variables)


def test_a_learning_gate_that_changes_nothing_is_a_failure(leaky):
    idle = tuple(replace(q, parameters=(("eta", 0.0),)) for q in leaky.graph.projections)
    result = verify_setup(replace(leaky, graph=leaky.graph.with_(projections=idle)))
    assert not result.passed and "no weight moved although a learning gate was on: W.w" in result.reasons[0]
    off = Protocol((Phase("all", 20, 4),), ("all",))
    assert verify_setup(replace(leaky, protocol=off)).passed


def test_not_a_number_is_a_failure(leaky):
    broken = tuple(replace(c, equations=tuple(replace(e, expression=parse_graph(
        "cell a\n  state u = 0\n  receive u = log(-1 - prev(u) * prev(u))\n").cells[0].equations[0].expression)
        for e in c.equations)) if c.name == "leaky" else c for c in leaky.graph.cells)
    result = verify_setup(replace(leaky, graph=leaky.graph.with_(cells=broken)))
    assert not result.passed and result.first_divergence.variable == "out.u" and result.first_divergence.step == 0
    assert json.dumps(result.as_dict(), allow_nan=False)


def test_seeds_must_match_the_batch(leaky):
    with pytest.raises(CortexError, match="V126 graph 'leaky' runs 1 seeds, got 2") as error:
        verify_graph(leaky.graph, leaky.protocol, leaky.samples, seeds=(1, 2))
    assert error.value.code == "V126"


def test_unknown_backend(leaky):
    with pytest.raises(CortexError, match="V120 unknown backend 'loihi'; known: interpreter, lava, native"):
        verify_setup(leaky, on="loihi")


# ---- against a function of one's own


@pytest.mark.parametrize("on", ["interpreter", "native"])
def test_against_a_function(leaky, functions, on):
    result = verify_setup(leaky, on, against=f"{functions}:leaky")
    assert result.passed and result.evidence == "user-reference"
    assert set(result.variables) == {"out.u", "W.w"} and "input.rate" in result.not_compared


def test_against_a_function_that_differs(leaky, functions):
    result = verify_setup(leaky, against=f"{functions}:wrong")
    assert not result.passed and result.first_divergence.step == 0


def test_against_a_function_that_returns_nothing_comparable(leaky, functions):
    result = verify_setup(leaky, against=f"{functions}:empty")
    assert not result.passed and "no variable was compared" in result.reasons[0]


@pytest.mark.parametrize("code, words, name", [
    ("V130", "unknown function in .*'leak'.*Did you mean 'leaky'", "leak"),
    ("V131", r"'fails' raised ZeroDivisionError: division by zero \(line \d+\)", "fails"),
    ("V132", "unknown quantity returned by reference 'names' 'out.v'.*Did you mean 'out.u'", "names"),
    ("V132", r"shape \(79, 3\) for 'out.u'; the first axis must be the 80 steps", "short"),
    ("V125", r"variable 'out.u' has shape \(1, 3\) per step, expected \(1, 4\)", "shape"),
    ("V132", "no numbers for 'out.u'", "words"),
    ("V132", "returned NoneType, not a dict", "nothing")])
def test_functions_that_are_wrong(leaky, functions, code, words, name):
    with pytest.raises(CortexError, match=words) as error:
        verify_setup(leaky, against=f"{functions}:{name}")
    assert error.value.code == code


def test_reference_files_that_are_wrong(tmp_path, functions):
    (tmp_path / "broken.py").write_text("x = 1\ny = undefined\n")
    for code, words, place in (("V130", "does not exist", f"{tmp_path}/none.py:f"), ("V130", "FILE.py:fun", "leaky"),
                               ("V131", r"NameError.*\(line 2\)", f"{tmp_path}/broken.py:f"),
                               ("V130", "does not exist", str(functions))):
        with pytest.raises(CortexError, match=words) as error:
            load_function(place)
        assert error.value.code == code


def test_a_function_sees_batches():
    setup = random_setup(RandomChoices(7), Kinds(fused=False))
    graph, seen = setup.graph, {}

    def function(graph, inputs, steps):
        seen.update({name: values.shape for name, values in inputs.items()})
        return {}

    verify_setup(setup, against=function)
    axes = (graph.batch,) if graph.batch > 1 else ()
    assert seen["gate.ga"] == (setup.steps,)
    assert seen["n0.x"] == (setup.steps, *axes, graph.population("n0").size)


# ---- against the torch reference

PAL = Pal((3, 5, 4, 2), eta_fw=(2.0, 0.5, 0.3), eta_bw=(20.0,), eta_IP=(10.0,), eta_PI=(0.5,), alpha=(1e-3,),
          sigma=(0.05,))


@pytest.mark.slow
@pytest.mark.parametrize("variant", ["PAL", "FA", "BP"])
@pytest.mark.parametrize("on, granularity", [("interpreter", "network"), *SIDES])
def test_pal_against_the_torch_reference(variant, on, granularity):
    pytest.importorskip("torch")
    result = verify_against_reference(replace(PAL, variant=variant), 300, (3, 4), on, granularity)
    assert result.passed, result.reasons
    assert result.evidence == "independent-reference" and result.steps == 300 and not result.not_compared
    assert len(result.variables) == (41 if variant == "PAL" else 31)


@pytest.mark.slow
@pytest.mark.parametrize("variant", ["PAL", "FA", "BP"])
def test_pal_against_the_torch_reference_for_long(variant):
    pytest.importorskip("torch")
    result = verify_against_reference(replace(PAL, variant=variant, activation=("tanh", "logistic", "linear")), STEPS)
    assert result.passed and result.max_abs_error < 1e-11, result.reasons


def test_a_wrong_circuit_is_found_by_the_torch_reference():
    pytest.importorskip("torch")
    setup = reference_setup(PAL, 120, (3,))
    cells = tuple(replace(c, states=tuple(replace(s, initial=State("x").initial) if s.name == "rate" else s
                                          for s in c.states)) if c.name == "hidden_pyramidal" else c
                  for c in setup.graph.cells)
    wrong = replace(setup, graph=setup.graph.with_(cells=cells))
    result = verify_against_reference(PAL, 120, (3,), setup=wrong, increments=True)
    assert result.passed, "both sides start from the first values of the graph"
    scaled = tuple(replace(q, parameters=tuple((k, v * 1.001) for k, v in q.parameters)) if q.name == "BPP_1" else q
                   for q in setup.graph.projections)
    result = verify_against_reference(PAL, 120, (3,), setup=replace(setup, graph=setup.graph.with_(projections=scaled)))
    assert not result.passed and result.first_divergence.variable == "BPP_1.w"


def test_noise_without_feedback_learning_is_not_in_the_reference():
    pytest.importorskip("torch")
    setup = reference_setup(PAL, 100, (3,))
    phases = tuple(replace(p, gates=tuple(g for g in p.gates if g[0] != "noise")) for p in setup.protocol.phases)
    with pytest.raises(CortexError, match="V123 gates 'noise' and 'learn_feedback' differ"):
        verify_against_reference(PAL, 100, setup=replace(setup, protocol=replace(setup.protocol, phases=phases)))


def test_a_circuit_that_the_reference_has_not():
    pytest.importorskip("torch")
    with pytest.raises(CortexError, match="V122 the independent reference has no such circuit"):
        verify_against_reference(replace(PAL, layers=(3, 2)), 10)
