"""The one circuit whose integers were written by hand, beside the evaluator of all circuits: two programs, equal bits."""

import pytest
from fixed_point_setups import PLASTIC, program, setup_of
from witness.bridge import bridged

from cortexc.compiler.verify.compare import EXACT, Comparison
from cortexc.compiler.verify.oracles.integers import trajectory
from cortexc.compiler.verify.runs import aligned, quantities

BY_HAND = [name for name in PLASTIC if name.startswith("spiking")]


def compared(name, steps, hardware="", **options):
    """The witness against the evaluator, neither of which has seen the other's equations."""
    setup, source = program(setup_of(name, steps), steps=steps, hardware=hardware, **options)
    witness = bridged(PLASTIC[name], setup, mapped=bool(hardware)).trajectory(setup, steps)
    comparison = Comparison(precision=EXACT)
    for _, got, expected in aligned(witness, trajectory(setup, source, quantities(setup.graph), steps)):
        assert set(got) == set(expected)
        comparison.add(got, expected)
    return comparison.first_divergence(), comparison.steps


@pytest.mark.parametrize("hardware", ["", "loihi2"])
@pytest.mark.parametrize("name", BY_HAND)
def test_the_evaluator_computes_what_was_written_by_hand(name, hardware):
    assert compared(name, 150, hardware) == (None, 150)


@pytest.mark.parametrize("rounding", ["shared", "lava", "nearest"])
def test_with_every_rounding(rounding):
    assert compared("spiking", 100, rounding=rounding, weights=12) == (None, 100)


def test_a_witness_with_another_step_is_noticed(monkeypatch):
    from witness.sign_concordant import IntegerSpikingNetwork

    true = IntegerSpikingNetwork.set_error
    monkeypatch.setattr(IntegerSpikingNetwork, "set_error", lambda self, layer, apical: true(self, layer, -apical))
    divergence, _ = compared("spiking", 100)
    assert divergence is not None
