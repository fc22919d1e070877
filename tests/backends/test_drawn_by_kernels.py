"""Uniform noise of cells that C kernels draw themselves: numpy's numbers by definition, keyed by seed, stream and step."""

from __future__ import annotations

import numpy as np
import pytest

from cortexc.compiler.backends.loading import c_compiler
from cortexc.compiler.backends.runtime import CHUNK, DRAWS, counter_generator
from cortexc.compiler.experiments.simulation import simulate
from cortexc.compiler.ir import parse_graph

pytestmark = pytest.mark.skipif(c_compiler() is None, reason="kernels in C draw")
TEXT = """
graph drawn
  dt 1
  gate on
  noise counter gate=on
cell first
  noise a uniform
  noise n normal
  noise b uniform
  state x = 0
  state y = 0
  send x = a
  send y = b
  message x
cell second
  noise a uniform
  state x = 0
  send x = a
  message x
population P first 5
population Q second 19
"""
STEPS, OFF = CHUNK + 40, slice(17, 30)
"""Into the second chunk; the noise gate is off for some steps, in which the last draws stay."""


def defined(seed: int, stream: int, cells: int) -> np.ndarray:
    """(STEPS, cells)"""
    drawn = np.concatenate([counter_generator(seed, stream, chunk).random((CHUNK, cells)) for chunk in range(2)])[:STEPS]
    drawn[OFF] = drawn[OFF.start - 1]
    return drawn


@pytest.mark.parametrize(("options", "samples", "seeds"), [
    ({}, 1, [7]), ({"threads": 2}, 1, [7]), ({"granularity": "population"}, 1, [2**64 - 1]),
    ({}, 1, [7, 2**40, 7]), ({}, 3, [5, 6]), ({"backend": "native32"}, 2, [7])])
def test_kernels_draw_what_numpy_draws(options, samples, seeds):
    graph = parse_graph(TEXT.replace("  dt 1", f"  dt 1\n  batch seeds {len(seeds)} samples {samples}"))
    gate = np.ones(STEPS)
    gate[OFF] = 0
    found = simulate(graph, STEPS, gates={"on": gate}, record=["P.x", "P.y", "Q.x"], seed=seeds, **options)
    for quantity, stream, cells in ("P.x", 0, 5), ("P.y", 2 * DRAWS, 5), ("Q.x", 1, 19):
        rows = np.reshape(found[quantity], (STEPS, -1, cells))
        for b in range(len(seeds) * samples):
            expected = defined(seeds[b // samples], stream * samples + b % samples, cells)
            assert np.array_equal(rows[:, b], expected.astype(np.float32) if "backend" in options else expected)

COUNTS = """
graph counts
  dt 1
cell c
  parameter rate = RATE
  noise u uniform
  state x = 0
  state y = 0
  send x = poisson(u, rate)
  send y = poisson(0.5 * u, rate) + x
  message x
population P c 150
"""


@pytest.mark.filterwarnings("ignore:X206")
@pytest.mark.parametrize("rate", ["0", "-3", "1e-320", "0.02", "1.9", "5.5", "40", "700", "701", "1e308"])
def test_counts_of_one_mean(rate):
    """Where the mean is the same for all cells, kernels compute counts below 6 of many cells at once."""
    graph = parse_graph(COUNTS.replace("RATE", rate))
    run = {name: simulate(graph, 40, record=["P.x", "P.y"], backend=name) for name in ("interpreter", "native")}
    for quantity in ("P.x", "P.y"):
        assert np.array_equal(run["interpreter"][quantity], run["native"][quantity], equal_nan=True)
