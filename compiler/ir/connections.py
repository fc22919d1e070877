"""Which pairs of cells a projection joins."""

from __future__ import annotations

import numpy as np

from cortexc.compiler.ir.functions import Floats
from cortexc.compiler.ir.model import Graph, Projection


def connection_mask(graph: Graph, projection: Projection) -> Floats | None:
    """0 and 1 in the weights' shape, or None where every pair is connected."""
    told = graph.class_of(projection.name).kind.mask
    mask = graph.arrays.get(f"{projection.name}.mask")
    if mask is not None and (told == "array" or projection.convolution):
        return np.asarray(mask != 0, np.float64)
    if told != "blocks" or projection.blocks is None:
        return None
    post, pre, pairs = projection.blocks
    rows, columns = np.cumsum((0, *post)), np.cumsum((0, *pre))
    mask = np.zeros((rows[-1], columns[-1]))
    for i, j in pairs:
        mask[rows[i]:rows[i + 1], columns[j]:columns[j + 1]] = 1.0
    return mask
