"""The legal PAL: its integers are the reference's, and its feedback learns from pairs of noise alone. That every rule
is legal is in the table of docs/legality.md, which has a test."""

import sys
from pathlib import Path

import numpy as np
import pytest
from fixed_point_setups import program

from cortexc.compiler.ir.protocol import Phase, Protocol
from cortexc.compiler.verify import verify_quantised
from cortexc.compiler.verify.runs import Setup, trajectory

sys.path.insert(0, str(Path(__file__).parents[2] / "examples" / "circuits"))
from pal_chip import build

GATES = tuple((name, (1.0,)) for name in ("learn_forward", "learn_lateral", "learn_feedback", "noise", "target"))


def setup(steps, **options):
    """One sample, held."""
    graph = build((5, 4, 3), seed=1, **options)
    sample = np.random.default_rng(0).uniform(0, 1, (1, 8))
    return Setup(graph, Protocol((Phase("all", 1, steps, gates=GATES),), ("all",)), sample, (1,))


def test_its_integers_are_those_of_the_reference():
    found = program(setup(60, eta_bw=200.0), hardware="loihi2", steps=60, factor_rounding="stochastic")
    result = verify_quantised(*found, 60, "interpreter", "network")
    assert result.passed, result.reasons
    assert (result.evidence, result.max_abs_error) == ("independent-reference", 0.0)


def angle(a, b):
    return np.degrees(np.arccos((a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum())))


def learnt(**options):
    """What feedback weights gained in a while, against the transpose of the forward weights (degrees)."""
    held = setup(1500, eta_fw=(0.0, 0.0), eta_IP=0.0, up=(-1.0, 1.0), **options)
    chunks = list(trajectory(held, ["B_0.w", "WPP_1.w"], "native"))
    b = np.concatenate([chunk["B_0.w"] for chunk in chunks])
    return angle(b[-1] - b[20], chunks[-1]["WPP_1.w"][-1].swapaxes(-1, -2))


@pytest.mark.slow
def test_feedback_gains_the_transpose_of_the_forward_weights():
    assert learnt(eta_bw=10.0) < 40
