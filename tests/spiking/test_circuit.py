"""The sign-concordant circuit: its options, its first weights, its timing, the trace of specs/sign_concordant.md 7."""

from dataclasses import replace

import numpy as np
import pytest
from circuits import DENSE, MAPS, options, started

from cortexc.compiler.backends.interpreter import Interpreter
from cortexc.compiler.ir import CortexError, parse_graph, show_graph, verify
from cortexc.compiler.microcircuits.layers import read_layers
from cortexc.compiler.microcircuits.sign_concordant import build, gate_patterns, presentation
from cortexc.compiler.microcircuits.sign_concordant_options import FEEDBACK, SignConcordant
from cortexc.compiler.microcircuits.sign_concordant_start import normal_start
from cortexc.compiler.passes.read_sets import explain_text

SIZES = (3, 4, 3, 2)


def toy():
    """The net of specs/sign_concordant.md 7."""
    arrays = {}
    for k in range(3):
        rows, columns = np.mgrid[:SIZES[k + 1], :SIZES[k]]
        w = ((7 * rows + 5 * columns + 3 * k) % 11 - 5) / 4
        w = np.where(w == 0, 0.25, w)
        magnitude = 0.2 + ((3 * rows + 4 * columns + k) % 5) / 5
        for letter, mask in (("E", w > 0), ("I", w < 0)):
            arrays |= {f"w{letter}_{k + 1}.w": abs(w) * mask, f"w{letter}_{k + 1}.mask": mask * 1.0}
            if k:
                arrays |= {f"c{letter}_{k + 1}.w": (magnitude * mask).T, f"c{letter}_{k + 1}.mask": mask.T * 1.0}
    return SignConcordant(SIZES, arrays=arrays, eta=(0.1,), optimiser="none")


SPIKES = {1: "0000 000 00", 2: "0001 000 00", 3: "0001 001 00", 4: "0001 000 00", 5: "0001 001 00"}
DELTAS = {2: ([-1e-06, 7e-06, 1e-06, -0.000215], [-0.0005, 6.5e-05, -0.00054], [-0.01108, 0]),
          3: ([-3e-05, 0.000455, 0, -0.005888], [-0.003964, 4.8e-05, -0.006921], [-0.027819, 0]),
          4: ([1.1e-05, 0.000139, 0, -0.006369], [-0.017912, 1.9e-05, -0.009745], [-0.042616, 0]),
          5: ([0.000121, -0.008228, 0, -0.007006], [-0.056951, 9e-06, -0.002131], [-0.077336, 0])}
CHANGES = {1: [[-9e-06, -4e-06, -7e-06], [0.000671, 0.000268, 0.000537], [0, 0, 0], [0.001546, 0.000618, 0.001237]],
           2: [[0, 0, 0, 0.006068], [0, 0, 0, -7e-06], [0, 0, 0, 0.001259]], 3: [[0, 0, 0.005598], [0, 0, 0]]}


def test_the_published_trace():
    circuit = toy()
    graph, patterns = build(circuit), gate_patterns(circuit, 5)
    run = Interpreter(graph)
    for t in range(5):
        values = run.step({"image.value": np.array([1.0, 0.4, 0.8]), "teacher.value": np.array([1.0, 0.0])},
                          {gate: pattern[t] for gate, pattern in patterns.items()}, {})
        spikes = ["".join(str(int(s)) for s in values[f"PC{i}.spike"][0]) for i in (1, 2, 3)]
        assert " ".join(spikes) == SPIKES[t + 1]
        for i in (1, 2, 3):
            expected = DELTAS[t + 1][i - 1] if t else 0
            assert np.abs(-values[f"PC{i}.error"][0] - expected).max() < 6e-7
    for i, expected in CHANGES.items():
        change = {letter: run.values[f"w{letter}_{i}.w"][0] - graph.arrays[f"w{letter}_{i}.w"] for letter in "EI"}
        assert np.abs(change["E"] - change["I"] - expected).max() < 6e-7


@pytest.mark.parametrize("feedback", FEEDBACK)
@pytest.mark.parametrize("layers", [DENSE, MAPS])
def test_graphs_are_valid_and_read_back(feedback, layers):
    if feedback == "DFA" and layers is MAPS:
        with pytest.raises(CortexError, match="E314"):
            build(options(layers, feedback=feedback))
        return
    graph = started(options(layers, feedback=feedback))
    verify(graph)
    again = parse_graph(show_graph(graph))
    assert again.with_(arrays=graph.arrays, name=graph.name) == graph


def test_feedback_has_the_sign_of_the_forward_weight():
    arrays = normal_start(options(), 1, {})
    forward = arrays["wE_2.w"] - arrays["wI_2.w"]
    back = (arrays["cE_2.w"] - arrays["cI_2.w"]).T
    assert (np.sign(forward) == np.sign(back)).all() and not np.allclose(abs(forward), abs(back))
    signed = normal_start(options(feedback="BP"), 1, {})
    assert np.array_equal(signed["W_2.w"], forward) and np.array_equal(signed["B_2.w"].T, forward)


def test_the_rules_are_local_and_the_copies_are_not():
    assert "NON-LOCAL" not in explain_text(started(options()))
    for feedback in ("frSF", "uSF", "BP"):
        assert "NON-LOCAL: weight transport" in explain_text(started(options(feedback=feedback)))
    assert "norm over all synapses" in explain_text(started(options(optimiser="clipped")))
    assert "increments of 16 positions" in explain_text(started(options(MAPS)))


def test_pipelined_presentations_are_longer():
    shown = presentation(options(timing="pipelined"), 5)
    assert shown.steps == 5 + 2 * 3 and shown.readout == (2, 3, 4, 5, 6)
    assert [shown.train[f"learn_{i}"].index(1.0) for i in (1, 2, 3)] == [4, 3, 2]
    assert presentation(options(), 10).train["teach"] == (0.0, 1.0) * 5


@pytest.mark.parametrize("changes, code", [
    (dict(layers=(3,)), "E310"), (dict(layers=(3, "5c3", 2)), "E310"), (dict(layers=("1x4x4", "2c5")), "E310"),
    (dict(layers=("1x5x5", "p2", 3)), "E310"), (dict(layers=("1x4x4", 3, "p2")), "E310"),
    (dict(layers=("1x4x4", "4q2")), "E310"), (dict(feedback="sign"), "E311"), (dict(optimiser="sgd"), "E311"),
    (dict(eta=(1.0, 2.0)), "E312"), (dict(message="two_line", feedback="FA"), "E314"),
    (dict(update="step", timing="pipelined"), "E314")])
def test_options_that_do_not_fit(changes, code):
    with pytest.raises(CortexError, match=code):
        build(options(**{"layers": DENSE, **changes}))


@pytest.mark.parametrize("steps", [1, 4, 11, 15])
def test_a_presentation_too_short_for_the_target_train(steps):
    with pytest.raises(CortexError, match="E315"):
        presentation(options(), steps)


def test_a_pair_of_both_types_and_a_negative_efficacy():
    circuit = options()
    arrays = normal_start(circuit, 1, {})
    both = arrays | {"wI_2.mask": np.ones_like(arrays["wI_2.mask"])}
    with pytest.raises(CortexError, match=r"E313.*both types to the pair"):
        build(replace(circuit, arrays=both))
    neither = arrays | {"cE_2.mask": np.zeros_like(arrays["cE_2.mask"])}
    with pytest.raises(CortexError, match=r"E313.*no type to the pair"):
        build(replace(circuit, arrays=neither))
    negative = arrays | {"wE_1.w": -arrays["wE_1.w"]}
    with pytest.raises(CortexError, match="E244.*non_negative"):
        verify(build(replace(circuit, arrays=negative)))


def test_layers_are_read_as_in_the_field():
    sizes = [layer.size for layer in read_layers(("1x28x28", "15c5", "p2", "40c5", "p2", 300, 10))]
    assert sizes == [784, 15 * 24 * 24, 40 * 8 * 8, 300, 10]
