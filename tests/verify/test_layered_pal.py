"""PAL's layer model against the torch reference, step by step: rates, errors, noise, weights, biases and feedback."""

from dataclasses import replace

import numpy as np
import pytest

from cortexc.compiler.ir import CortexError
from cortexc.compiler.microcircuits import layered_pal_cells as texts
from cortexc.compiler.microcircuits.layered_pal import LayeredPal, build
from cortexc.compiler.verify import verify_against_reference
from cortexc.compiler.verify.mutation.campaign import mutation_score, rehearsals
from cortexc.compiler.verify.oracles.layered_pal import reference_setup

pytest.importorskip("torch")
DEEP = LayeredPal((7, 5, 2, 4, 7), activation=("tanh", "linear", "tanh", "linear"), eta_fw=(0.8, 0.4, 0.6, 0.2),
                  eta_bw=(0, 3, 2, 1), alpha=(0, 1e-2, 1e-3, 1e-2), sigma=(0.3, 0.2, 0.1, 0.05))
MAPS = replace(DEEP, layers=("2x8x8", "3c3", "m2", "4c2", "m2", 5, 3), eta_fw=(0.5,), eta_bw=(2,), alpha=(1e-2,),
               activation=("logistic", "linear", "tanh", "linear", "relu", "linear"), sigma=(0.1, 0.2, 0.1, 0.2, 0.1, 0))
CASES = {
    "dense": (DEEP, 1, (1,)), "minibatch": (DEEP, 9, (1, 2)), "FA": (replace(DEEP, variant="FA"), 9, (1, 2)),
    "BP": (replace(DEEP, variant="BP"), 9, (1, 2)), "DFA": (replace(DEEP, variant="DFA"), 9, (1, 2)),
    "code": (replace(DEEP, reconstructs=True), 3, (1,)), "maps": (MAPS, 9, (1, 2)),
    "noiseless pixels": (replace(MAPS, sigma=(0, 0.2, 0, 0.2, 0.1, 0)), 9, (1, 2)),
    "maps, BP": (replace(MAPS, variant="BP"), 1, (1,)), "maps, DFA": (replace(MAPS, variant="DFA"), 3, (1,)),
    "averages": (replace(MAPS, layers=("2x8x8", "3c3p1", "p2", "4c3", "p2", 3), sigma=(0.1,),
                         activation=("logistic", "tanh", "linear")), 3, (1,))}


def compare(circuit, samples=1, seeds=(1,), on="native", granularity="network", steps=30):
    own = replace(circuit, eta_fw=tuple(eta / samples for eta in circuit.eta_fw))
    setup = reference_setup(own, steps, seeds, samples)
    return verify_against_reference(own, 10**9, seeds, on, granularity, setup=setup).as_dict()


@pytest.mark.parametrize("case", CASES)
def test_native_has_the_references_trajectory(case):
    found = compare(*CASES[case])
    assert found["passed"] and found["max_abs_error"] < 1e-12, found["reasons"]
    assert found["evidence"] == "independent-reference" and found["steps"] == 30


@pytest.mark.lava
@pytest.mark.parametrize("circuit", [DEEP, MAPS], ids=["dense", "maps"])
def test_lava_has_the_references_trajectory(circuit):
    found = compare(circuit, 4, on="lava")
    assert found["passed"] and found["max_abs_error"] < 1e-12, found["reasons"]


FAULTS = {"FEEDBACK": ("pre.rate_high_pass", "pre.transmitted", DEEP, "B_"),
          "LAYER": ("reported = prev(error)", "reported = prev(prev(error))", DEEP, "L"),
          "STRONGEST": ("transmitted = prev(rate)", "transmitted = prev(prev(rate))", MAPS, "L")}


@pytest.mark.parametrize("text", FAULTS)
def test_a_planted_fault_is_found(text, monkeypatch):
    """B learns from rates as they are; errors, or rates of max pooling, come a step late."""
    right, wrong, circuit, begins = FAULTS[text]
    assert right in getattr(texts, text)
    monkeypatch.setenv("CORTEXC_JIT", "0")
    monkeypatch.setattr(texts, text, getattr(texts, text).replace(right, wrong))
    found = compare(circuit, steps=10)
    assert not found["passed"] and found["first_divergence"]["variable"].startswith(begins)


@pytest.mark.slow
def test_a_sample_of_small_mistakes_is_found():
    """All but those that only two pixels of exactly the same rate would tell."""
    score = mutation_score(rehearsals("layered-pal", 25), 60, seed=1)
    assert score.total == 60 and not score.raised and len(score.killed) > 40
    survivors = [description for description in score.survivors if ": seen_" not in description]
    assert len(survivors) < 0.05 * len(score.killed), survivors


def test_sizes_that_do_not_reconstruct():
    with pytest.raises(CortexError, match="E310.*3 output cells"):
        build(LayeredPal((4, 2, 3), reconstructs=True))


def test_max_pooling_is_of_maps_and_of_this_circuit_alone():
    from cortexc.compiler.microcircuits.layers import read_layers

    with pytest.raises(CortexError, match="E310.*needs maps"):
        build(LayeredPal((4, "m2", 3)))
    with pytest.raises(CortexError, match="E310"):
        read_layers(("1x4x4", "m2", 3))
    with pytest.raises(CortexError, match="E301.*soft_relu"):
        build(LayeredPal(("1x4x4", "2c1", "m2", 3), activation=("soft_relu", "linear", "linear")))


def test_a_pixel_is_followed_by_one_cell():
    arrays = build(MAPS).arrays
    pixels = np.concatenate([arrays[f"tap_{k}_2.pre"] for k in range(4)])
    assert sorted(pixels) == list(range(3 * 6 * 6)) and np.array_equal(arrays["won_3_2.post"], arrays["tap_3_2.pre"])
