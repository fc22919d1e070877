"""Lowered sign-concordant circuits have the interpreter's bits: feedback policies, optimisers, samples, seeds, maps."""

import numpy as np
import pytest
from circuits import DENSE, LOCAL, MAPS, options, started, training

from cortexc.compiler.verify import verify_graph

CASES = {
    **{policy: dict(feedback=policy) for policy in ("frSF", "brSF", "uSF", "FA", "DFA", "BP")},
    "clipped": dict(optimiser="clipped", norm=0.05), "adam": dict(optimiser="adam"),
    "two lines": dict(message="two_line"), "spiking": dict(message="spiking"), "membrane": dict(trace="membrane"),
    "every step": dict(update="step"), "pipelined": dict(timing="pipelined"),
    "maps": dict(layers=MAPS, optimiser="clipped", norm=0.1), "maps, signed": dict(layers=MAPS, feedback="frSF"),
    "maps, pipelined": dict(layers=MAPS, timing="pipelined"), "local": dict(layers=LOCAL, optimiser="adam"),
    "local, signed": dict(layers=LOCAL, feedback="BP")}


@pytest.fixture(autouse=True)
def plain_python(monkeypatch):
    monkeypatch.setenv("CORTEXC_JIT", "0")


@pytest.mark.parametrize("samples, seeds, granularity", [(1, (3,), "network"), (9, (3,), "population"),
                                                         (10, (3, 4), "area")])
@pytest.mark.parametrize("case", CASES)
def test_the_bits_of_the_interpreter(case, samples, seeds, granularity):
    circuit = options(**CASES[case])
    protocol, rows = training(circuit, 3, samples)
    result = verify_graph(started(circuit, samples, seeds), protocol, rows, seeds, "native", granularity)
    assert result.as_dict()["passed"], result.as_dict()["reasons"]
    assert result.as_dict()["max_abs_error"] == 0.0


@pytest.mark.parametrize("samples", [8, 9, 16, 17, 26])
def test_blocks_of_samples_of_any_length(samples):
    circuit = options(DENSE)
    protocol, rows = training(circuit, 3, samples)
    result = verify_graph(started(circuit, samples), protocol, rows, (3,), "native", increments=True)
    assert result.as_dict()["max_abs_error"] == 0.0 and result.as_dict()["passed"]


def test_updates_wait_for_the_apply_gate():
    """Increments of two presentations are applied together."""
    circuit = options(DENSE)
    protocol, rows = training(circuit, 4, 10, apply=(0.0,) * 9 + (1.0,))
    result = verify_graph(started(circuit, 10), protocol, rows, (3,), "native")
    assert result.as_dict()["max_abs_error"] == 0.0 and result.as_dict()["passed"]


def test_pipelined_updates_are_those_of_the_phase_locked_circuit():
    from cortexc.compiler.backends.lowering import lower
    from cortexc.compiler.backends.native import Native

    found = []
    for timing in ("phase_locked", "pipelined"):
        circuit = options(MAPS, timing=timing, optimiser="adam", feedback="locked")
        protocol, rows = training(circuit, 4, 3)
        native = Native(lower(started(circuit, 3)), protocol, rows, [3])
        native.run()
        found.append({q: native.value(f"{q}.w") for q in ("wE_1", "wI_1", "wE_2", "wI_3", "wE_4")})
    for name in found[0]:
        assert np.array_equal(found[0][name], found[1][name]), name
    assert np.abs(found[0]["wE_1"] - started(circuit, 3).arrays["wE_1.w"]).max() > 1e-4


def test_redrawn_feedback_has_new_magnitudes_and_the_signs_of_the_forward_weights():
    from cortexc.compiler.backends.lowering import lower
    from cortexc.compiler.backends.native import Native

    circuit, found = options(feedback="brSF"), []
    protocol, rows = training(circuit, 2, 4)
    native = Native(lower(started(circuit, 4, (3, 4))), protocol, rows, [3, 4])
    for steps in (4, 1, 4, 1):
        native.run(steps)
        found.append(native.value("B_2.w"))
        signs = np.sign(native.value("W_2.w")).swapaxes(1, 2)
        assert np.array_equal(np.sign(found[-1]), signs) or steps == 4
    assert np.array_equal(found[1], found[2])  # only updates redraw
    assert (abs(found[0]) != abs(found[1])).all() and (abs(found[1]) != abs(found[3])).all()
    assert (abs(found[3][0]) != abs(found[3][1])).all()  # every seed draws its own
    assert 0.5 < abs(found[3]).mean() / (np.sqrt(2 / 9) * np.sqrt(2 / np.pi)) < 1.5
