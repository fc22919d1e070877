"""The sign-concordant circuit against the torch reference: level 1 for `locked`, level 0 for the other policies."""

import pytest
from circuits import DENSE, LOCAL, MAPS, options

from cortexc.compiler.ir import CortexError
from cortexc.compiler.verify import verify_against_reference
from cortexc.compiler.verify.oracles.sign_concordant import reference_setup

pytest.importorskip("torch")
CASES = {
    **{policy: dict(feedback=policy) for policy in ("frSF", "uSF", "FA", "DFA", "BP")}, "locked": {},
    "clipped": dict(optimiser="clipped", norm=0.05), "adam": dict(optimiser="adam"),
    "two lines": dict(message="two_line"), "membrane, boxcar": dict(trace="membrane", surrogate="boxcar"),
    "every step": dict(update="step"), "pipelined": dict(timing="pipelined"), "maps": dict(layers=MAPS),
    "maps, adam": dict(layers=MAPS, optimiser="adam"), "maps, signed": dict(layers=MAPS, feedback="frSF"),
    "local": dict(layers=LOCAL), "local, signed": dict(layers=LOCAL, feedback="BP")}


def compare(circuit, presentations, samples, seeds=(1,), on="native", granularity="network"):
    setup = reference_setup(circuit, presentations, samples, seeds)
    return verify_against_reference(circuit, 10**9, seeds, on, granularity, setup=setup).as_dict()


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("samples, seeds", [(1, (1,)), (10, (1, 2))])
def test_native_has_the_references_trajectory(case, samples, seeds, monkeypatch):
    monkeypatch.setenv("CORTEXC_JIT", "0")
    found = compare(options(**CASES[case]), 6, samples, seeds)
    assert found["passed"], found["reasons"]
    assert found["max_abs_error"] < 1e-12 and not found["not_compared"]
    assert found["evidence"] == "independent-reference"


@pytest.mark.parametrize("changes", [dict(message="spiking"), dict(layers=DENSE, eta=(0.1, 0.2, 0.3))])
def test_what_the_reference_does_not_model(changes):
    with pytest.raises(CortexError, match="V122"):
        compare(options(**changes), 1, 1)


@pytest.mark.lava
@pytest.mark.parametrize("granularity", ["population", "area", "network"])
def test_lava_has_the_references_trajectory(granularity):
    """Online, learning on: spikes to the bit, everything else to 1e-12."""
    found = compare(options((20, 12, 8, 4), eta=(0.05,)), 100, 1, on="lava", granularity=granularity)
    assert found["passed"] and found["max_abs_error"] < 1e-12, found["reasons"]
    assert found["variables"]["PC1.spike"]["abs"] == 0.0 and found["steps"] == 500


@pytest.mark.lava
def test_minibatches_of_maps_on_lava():
    found = compare(options(MAPS, optimiser="adam"), 20, 8, on="lava", granularity="area")
    assert found["passed"] and found["max_abs_error"] < 1e-12, found["reasons"]


def test_a_planted_fault_is_found(monkeypatch):
    """An excitatory synapse that learns with the wrong sign."""
    from cortexc.compiler.microcircuits import sign_concordant_cells as texts

    monkeypatch.setenv("CORTEXC_JIT", "0")
    monkeypatch.setattr(texts, "RULES", texts.RULES.replace("eta * post.error", "-eta * post.error"))
    found = compare(options(), 3, 1)
    assert not found["passed"] and found["first_divergence"]["variable"].startswith("wE_")
