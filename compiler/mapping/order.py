"""In which order the cells of a population are cut into blocks.

Cells of feature maps are numbered channel by channel, so that a block of neighbouring numbers sees a whole picture of
every channel below. Cut position by position, the channels of one together, a block sees a patch: far fewer input
axons. `positions_of` says for which populations that order can be taken, `permutation` what it is.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from cortexc.compiler.ir import Graph
from cortexc.compiler.mapping.connectivity import Connectivity, Listed, Maps, Masked


def positions_of(graph: Graph) -> dict[str, int]:
    """Population of feature maps -> its positions; empty where that is not the same from all its projections, or where
    blocks by area would be torn apart. Populations that are connected one to one have the same order."""
    found: dict[str, int] = {}
    for name, positions in _declared(graph):
        if found.setdefault(name, positions) != positions:
            return {}
    pairs = [(q.pre, q.post) for q in graph.projections
             if graph.class_of(q.name).kind.pairs]
    for _ in graph.populations:
        for pre, post in pairs:
            for one, other in ((pre, post), (post, pre)):
                if one in found and found.setdefault(other, found[one]) != found[one]:
                    return {}
    torn = any(graph.class_of(q.name).kind.mask == "blocks" and {q.pre, q.post} & set(found)
               for q in graph.projections)
    return {} if torn else found


def _declared(graph: Graph) -> list[tuple[str, int]]:
    result = []
    for q in graph.projections:
        kind, c = graph.class_of(q.name).kind, q.convolution
        if c and kind.maps:
            low, high = c.pre[1] * c.pre[2], c.positions
            result += [(q.pre, low), (q.post, high)] if not kind.back else [(q.pre, high),
                                                                                                (q.post, low)]
    return result


def permutation(size: int, positions: int | None) -> np.ndarray:
    """Numbers of the cells in the order in which they are cut."""
    if positions is None:
        return np.arange(size)
    return np.arange(size).reshape(-1, positions).T.ravel()


def ordered(connectivity: Connectivity, pre: int | None, post: int | None) -> Connectivity:
    """The connectivity between cells in that order; `pre`, `post`: positions of either side, or None."""
    if isinstance(connectivity, Maps) and pre is not None and post is not None:
        return replace(connectivity, by_position=True)
    if isinstance(connectivity, Masked) and (pre is not None or post is not None):
        rows, columns = permutation(connectivity.post, post), permutation(connectivity.pre, pre)
        return Masked(connectivity.mask[np.ix_(rows, columns)])
    if isinstance(connectivity, Listed) and (pre is not None or post is not None):
        rows, columns = permutation(connectivity.post, post), permutation(connectivity.pre, pre)
        return Listed(connectivity.matrix[rows][:, columns])
    return connectivity
