"""Small sign-concordant circuits for the tests of this folder."""

from dataclasses import replace

import numpy as np

from cortexc.compiler.ir.protocol import Phase, Protocol
from cortexc.compiler.microcircuits.sign_concordant import build, presentation
from cortexc.compiler.microcircuits.sign_concordant_options import SignConcordant
from cortexc.compiler.microcircuits.sign_concordant_start import normal_start

DENSE = (12, 9, 5, 3)
MAPS = ("1x6x6", "2c3", "p2", "3c2p1", 4, 3)
LOCAL = ("1x4x3", "p1", "2l2p1", "2c2", 3)


def started(circuit, samples=1, seeds=(3,)):
    """The graph with drawn weights, one copy per seed."""
    arrays = normal_start(circuit, list(seeds) if len(seeds) > 1 else seeds[0], {})
    graph = build(circuit if len(seeds) > 1 else replace(circuit, arrays=arrays))
    graph = graph.with_(arrays=arrays, samples=samples, seeds=len(seeds))
    per_seed = tuple(replace(s, role="per_seed") for s in graph.synapses)
    return graph.with_(synapses=per_seed) if len(seeds) > 1 else graph


def training(circuit, presentations=6, samples=1, steps=5, **gates):
    """(protocol, samples): random inputs, half of them 0, and labels; every sample sees a row of its own."""
    shown, rng = presentation(circuit, steps), np.random.default_rng(0)
    patterns = tuple((dict(shown.train) | gates).items())
    phase = Phase("train", presentations, shown.steps, gates=patterns, rows=presentations * samples)
    inputs, classes = circuit.shapes[0].size, circuit.shapes[-1].size
    rows = np.zeros((presentations * samples, inputs + classes))
    rows[:, :inputs] = rng.normal(0, 1, rows[:, :inputs].shape) * (rng.uniform(size=rows[:, :inputs].shape) < 0.5)
    rows[:, inputs:] = np.eye(classes)[rng.integers(0, classes, len(rows))]
    return Protocol((phase,), ("train",)), rows


def options(layers=DENSE, **changes):
    return SignConcordant(layers, **{"eta": (0.3,), "optimiser": "none", **changes})
