"""First weights of PAL's layer model (specs/pal.md 5.3): W, b and B of every layer from N(0, 0.05).

Every layer draws W, b and B from generators of their own, so that all variants start from the same W and b.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from cortexc.compiler.ir import CortexError
from cortexc.compiler.ir.model import weight_shape
from cortexc.compiler.microcircuits.layered_pal import LayeredPal, build
from cortexc.compiler.microcircuits.starts import Arrays, stacked

DEVIATION = 0.05


def normal_start(circuit: LayeredPal, seeds: int | Sequence[int],
                 ranges: Mapping[str, tuple[float, float]]) -> Arrays:
    """The arrays of one seed, or of several with a leading axis. Raises E316 for `ranges`, which it does not take."""
    if ranges:
        raise CortexError("E316", f"start 'normal' takes no ranges, got {', '.join(ranges)}.")
    return stacked(seeds, partial(_one, circuit))


def _one(circuit: LayeredPal, seed: int) -> Arrays:
    graph, arrays = build(replace(circuit, arrays={})), Arrays()
    for projection in graph.projections:
        kind, _, layer = projection.name.partition("_")
        if kind in ("W", "b", "B"):
            key = np.array([seed % 2**64, 3 * int(layer) + ("W", "b", "B").index(kind)], np.uint64)
            generator = np.random.Generator(np.random.Philox(key=key))
            arrays[f"{projection.name}.w"] = generator.normal(0, DEVIATION, weight_shape(graph, projection))
    for mirror in graph.mirrors:
        source = arrays[f"{mirror.source}.w"]
        arrays[f"{mirror.target}.w"] = (source.T if mirror.operations else source).copy()
    return arrays
