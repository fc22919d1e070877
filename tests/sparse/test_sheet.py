"""The shipped sheet: bumps where inhibition reaches farther than excitation, and none where it does not."""

from __future__ import annotations

import numpy as np

import cortexc as cx


def clumped(**changes: float) -> float:
    """Correlation of the spike counts of neighbours, 100 to 150 ms."""
    graph = cx.compile(cx.load("sheet", {f"model.{key}": value for key, value in changes.items()})).graph
    counts = cx.simulate(graph, 1500, record=["E.spike"])["E.spike"][1000:, 0].sum(axis=0).reshape(50, 50)
    return float(np.corrcoef(counts.ravel(), np.roll(counts, 1, axis=1).ravel())[0, 1])


def test_activity_gathers_in_bumps():
    """0.63 and 0.10; both have as much inhibition, and fire at 12 and 17 Hz."""
    assert clumped() > 0.5 > 0.2 > clumped(inhibitory_mm=0.05, inhibition=360.0)
