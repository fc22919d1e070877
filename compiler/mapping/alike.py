"""Presynaptic cells that cannot be told apart, in runs; and in which order cells are cut into blocks.

What a mapping needs of a run is computed once. All sources of dense connectivity, of a fixed probability and of a
wiring are one run, those of a rule by distance one per tile of neighbours; one to one, sources are alike where their
targets lie in the same range. Other kinds have a run per cell.

Cells of feature maps are numbered channel by channel, so that a block of neighbouring numbers sees a whole picture of
every channel below. Cut position by position, the channels of one together, a block sees a patch: far fewer input
axons. `positions_of` says for which populations that order can be taken, `permutation` what it is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from scipy.special import gammaln

from cortexc.compiler.ir import Graph
from cortexc.compiler.mapping.connectivity import (
    RANDOM,
    Connectivity,
    Dense,
    Distance,
    Drawn,
    FixedProbability,
    Listed,
    Maps,
    OneToOne,
)

Range = tuple[int, int]
CHUNK = 4_000_000
"""Most probabilities that `list_moments` holds at once."""


class Runs(NamedTuple):
    """`cells` (runs,) of every run, in the order of their numbers; `counts` (runs, ranges): synapses that each of its
    cells has onto the postsynaptic ranges, expected where they are drawn."""

    cells: np.ndarray
    counts: np.ndarray


def runs_of(connectivity: Connectivity, ranges: Sequence[Range]) -> Runs:
    """The runs of a connectivity for these postsynaptic ranges."""
    c, sizes = connectivity, np.array([[last - first for first, last in ranges]], dtype=float)
    if isinstance(c, Dense | FixedProbability | Drawn):
        return Runs(np.array([c.pre]), sizes * (1.0 if isinstance(c, Dense) else c.probability))
    if isinstance(c, Distance):
        tiles = c.pre_tiles[c.run_starts]
        return Runs(np.diff(c.run_starts, append=c.pre), np.stack([c.per_tile(*r)[tiles] for r in ranges], axis=1))
    if isinstance(c, OneToOne):
        ends = np.unique(np.minimum([0, c.pre, *(end for each in ranges for end in each)], c.pre))
        firsts, lasts = np.array(ranges).T
        inside = (ends[:-1, None] >= firsts) & (ends[1:, None] <= lasts)
        return Runs(np.diff(ends), inside)
    if len(ranges) == 1:
        return Runs(np.ones(c.pre, dtype=np.int64), c.counts(*ranges[0])[:, None])
    return Runs(np.ones(c.pre, dtype=np.int64), np.stack([c.counts(*r) > 0 for r in ranges], axis=1))


def even(connectivity: Connectivity) -> bool:
    """Whether two ranges of one size need the same, wherever they begin."""
    c = connectivity
    return isinstance(c, Dense | FixedProbability | Drawn) or (isinstance(c, OneToOne) and c.pre >= c.post)


def reach_of(connectivity: Connectivity, runs: Runs, ranges: Sequence[Range]) -> np.ndarray:
    """(runs, ranges): whether a source has a synapse onto the range; its probability, where drawn."""
    if not isinstance(connectivity, RANDOM):
        return np.asarray(runs.counts > 0)
    sizes = np.array([max(last - first, 1) for first, last in ranges])
    if isinstance(connectivity, Drawn):
        return connectivity.reach(sizes)[None]
    return np.asarray(1.0 - np.power(1.0 - np.minimum(runs.counts / sizes, 1.0), sizes))


def draws_of(connectivity: Connectivity, runs: Runs, cells: int) -> tuple[np.ndarray, int]:
    """Of one range of so many cells: (probability of each draw by run, draws) of which a source's synapses are."""
    trials = connectivity.trials(cells) if isinstance(connectivity, Drawn) else cells
    return runs.counts[:, 0] / max(trials, 1), trials


def list_moments(bits: Callable[[np.ndarray], np.ndarray], probability: np.ndarray,
                 cells: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of the bits of one source's list, with as many synapses as of `cells` draws are, per probability: mean, variance,
    and the variance that is left where it is known how many synapses all lists have together."""
    most = max(float(probability.max(initial=0.0)), 1e-300)
    values, inverse = np.unique(most * np.round(probability / most, 12), return_inverse=True)
    expected = cells * float(values.max(initial=0.0))
    count = np.arange(min(cells, int(expected + 10 * expected ** 0.5) + 20) + 1.0)
    ways, size = gammaln(cells + 1) - gammaln(count + 1) - gammaln(cells - count + 1), bits(count)
    mean, square, joint = np.zeros((3, len(values)))
    for part in np.array_split(np.arange(len(values)), -(-len(values) * len(count) // CHUNK)):
        p = np.clip(values[part], 1e-300, 1 - 1e-15)[:, None]
        chances = np.exp(ways + count * np.log(p) + (cells - count) * np.log1p(-p))
        mean[part], square[part], joint[part] = chances @ size, chances @ size ** 2, chances @ (size * count)
    variance = np.maximum(square - mean ** 2, 0.0)
    explained = (joint - mean * cells * values) ** 2 / np.maximum(cells * values * (1 - values), 1e-300)
    return mean[inverse], variance[inverse], np.maximum(variance - explained, 0.0)[inverse]


# ---- the order of cells


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
    if isinstance(connectivity, Listed) and (pre is not None or post is not None):
        rows, columns = permutation(connectivity.post, post), permutation(connectivity.pre, pre)
        return Listed(connectivity.matrix[rows][:, columns])
    return connectivity
