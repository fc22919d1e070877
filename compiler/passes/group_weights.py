"""group-weights: a projection whose weights span more than one unit holds becomes several, each with a unit of its own.

before    synapse fast                            projection W fast A -> B
            connectivity dense
after     synapse fast_group_1                    projection W_group_1 fast_group_1 A -> B
            connectivity masked                   projection W_group_2 fast_group_2 A -> B
          synapse fast_group_2
            connectivity masked

Every synapse is in one group, by the magnitude of the weight it starts with (the greatest of all copies); synapses that
start at 0 are in the last group, that of the smallest. Groups end where the sum of the relative errors of rounding is
least. The sum of the groups is the projection: to the bit in fixed point, where sums are exact. On a chip a
group is a synaptic format. Left alone: projections of which little would be lost, those whose weights
have a format of their own, one-to-one ones.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import count
from typing import ClassVar

import numpy as np

from cortexc.compiler.ir import CortexError, Graph, Projection
from cortexc.compiler.ir.arrays import connection_mask
from cortexc.compiler.ir.functions import Floats
from cortexc.compiler.ir.model import weight_shape
from cortexc.compiler.passes.base import Request
from cortexc.compiler.passes.fixed_point import format_for
from cortexc.compiler.passes.widths import HEADROOM

MOST_GROUPS, MOST_CHOSEN = 16, 4
"""Groups that may be asked for, and that are chosen at most."""
WORTH, AIMED = 0.25, 0.05
"""Groups are chosen where the worst error of rounding, averaged over the non-zero weights as a share of each, is
greater, so many that it falls to the second."""
Parts = Mapping[str, tuple[str, ...]]
"""Projection as written -> its groups."""


@dataclass(frozen=True)
class GroupWeights:
    """`bits` of a weight; `groups`: 0, and as many as it takes are chosen, or the number, which projections of which
    anything would become 0 have too; `given`: projections whose weights have a format of their own.

    Raises E623 for a projection that a mirror reads or writes."""

    bits: int
    groups: int = 0
    given: frozenset[str] = frozenset()
    name: ClassVar[str] = "group-weights"
    fidelity: ClassVar[str] = "algebra"

    def apply(self, graph: Graph, request: Request) -> Graph:
        for q in graph.projections:
            masks = self._masks(graph, q)
            if len(masks) > 1:
                for mirror in (m for m in graph.mirrors if q.name in (m.source, m.target)):
                    raise CortexError(
                        "E623", f"the weights of projection '{q.name}' span more than one unit holds, but mirror "
                        f"'{mirror.target} = {mirror.source}' copies them, which groups cannot follow.", "Give the "
                        "weights a format with a fraction (precision.formats), more bits, or leave out "
                        "precision.groups.")
                graph = _split(graph, q, masks)
        return graph

    def _masks(self, graph: Graph, q: Projection) -> list[Floats]:
        """Of every group, from the greatest weights down; none where one unit does, or for a list of synapses."""
        kind = graph.class_of(q.name).kind
        if q.name in self.given or kind.pairs or kind.listed:
            return []
        weights, joined = _magnitudes(graph, q), connection_mask(graph, q)
        joined = np.ones(weights.shape) if joined is None else joined
        found = _Spread(weights[(weights > 0) & (joined != 0)], self.bits, graph.class_of(q.name).bounds[0] >= 0)
        limits = [np.inf, *self._limits(found), -np.inf]
        return [joined * ((weights < above) & (weights >= below))
                for above, below in zip(limits, limits[1:], strict=False)]

    def _limits(self, found: _Spread) -> list[float]:
        """The least magnitude above each cut, from the top down."""
        lost, error = found.rounded(1)
        if error <= WORTH and not (self.groups and lost):
            return []
        chosen = (k for k in range(2, MOST_CHOSEN) if found.rounded(k)[1] <= AIMED)
        return found.limits(self.groups or next(chosen, MOST_CHOSEN))


class _Spread:
    """Non-zero magnitudes, sorted, and how to cut them between octaves."""

    def __init__(self, magnitudes: Floats, bits: int, unsigned: bool):
        self.values, self.bits, self.unsigned = np.sort(magnitudes.reshape(-1)), bits, unsigned
        self.inverse = np.concatenate([[0.0], np.cumsum(1 / self.values)])
        octaves = np.frexp(self.values)[1]
        self.starts = [0, *(np.flatnonzero(np.diff(octaves)) + 1).tolist(), *([len(octaves)] if len(octaves) else [])]

    def _rounded(self, first: int, last: int) -> tuple[int, float]:
        """(values first..last-1 that a unit for all of them rounds to 0, the sum of their worst relative errors)."""
        half = format_for(float(self.values[last - 1]) * HEADROOM, self.bits, self.unsigned).unit / 2
        held = int(np.clip(np.searchsorted(self.values, half), first, last))
        return held - first, held - first + half * float(self.inverse[last] - self.inverse[held])

    def _cuts(self, count: int) -> list[int]:
        """Places of the values at which the groups begin and end, at most `count` groups, with the least error."""
        best = {0: (0.0, [0])}
        for _ in range(min(count, len(self.starts) - 1)):
            longer = dict(best)
            for stop in self.starts[1:]:
                options = [(error + self._rounded(start, stop)[1], [*cuts, stop])
                           for start, (error, cuts) in best.items() if start < stop]
                longer[stop] = min([*options, *([best[stop]] if stop in best else [])])
            best = longer
        return best[len(self.values)][1]

    def rounded(self, count: int) -> tuple[float, float]:
        """With so many groups: how many values become 0, and the worst relative error, averaged over the values."""
        cuts = self._cuts(count)
        groups = [self._rounded(*ends) for ends in zip(cuts, cuts[1:], strict=False)]
        return sum(lost for lost, _ in groups), sum(error for _, error in groups) / max(len(self.values), 1)

    def limits(self, count: int) -> list[float]:
        """The least magnitude above each cut of so many groups, from the top down."""
        return [float(self.values[at]) for at in reversed(self._cuts(count)[1:-1])]


def _magnitudes(graph: Graph, q: Projection) -> Floats:
    """The greatest magnitude of every synapse's weight over its copies."""
    weights, shape = np.abs(graph.arrays[f"{q.name}.w"]), weight_shape(graph, q)
    return weights.max(axis=0) if weights.ndim > len(shape) else weights


def _split(graph: Graph, q: Projection, masks: list[Floats]) -> Graph:
    """The graph with a masked projection per group in the place of q, each with a class and arrays of its own."""
    own = {name: array for name, array in graph.arrays.items() if name.startswith(f"{q.name}.")}
    arrays = {name: array for name, array in graph.arrays.items() if name not in own}
    synapses, parts, kind = list(graph.synapses), [], graph.class_of(q.name)
    masked = "masked" if kind.kind.matrix else kind.connectivity
    names = _free(q.name, [*(p.name for p in graph.projections), *(p.name for p in graph.populations)])
    classes = _free(kind.name, [s.name for s in synapses])
    for mask in masks:
        synapses.append(replace(kind, name=next(classes), connectivity=masked))
        parts.append(replace(q, name=next(names), synapse=synapses[-1].name, blocks=None))
        arrays |= {f"{parts[-1].name}.{name.partition('.')[2]}": array * mask for name, array in own.items()}
        arrays[f"{parts[-1].name}.mask"] = mask
    place = graph.projections.index(q)
    projections = (*graph.projections[:place], *parts, *graph.projections[place + 1:])
    used = {each.synapse for each in projections}
    return graph.with_(projections=projections, arrays=arrays, synapses=tuple(s for s in synapses if s.name in used))


def _free(name: str, taken: Container[str]) -> Iterator[str]:
    """Names of the groups of something, but for those that are taken."""
    return (each for number in count(1) if (each := f"{name}_group_{number}") not in taken)


# ---- what was written and what it became


def parts_of(before: Graph, after: Graph) -> dict[str, tuple[str, ...]]:
    """Every projection that became groups, with theirs, from the graphs on both sides of the pass."""
    known = {q.name for q in before.projections}
    new = [q.name for q in after.projections if q.name not in known]
    found = {name: tuple(each for each in new if re.fullmatch(rf"{re.escape(name)}_group_\d+", each)) for name in known}
    return {name: parts for name, parts in found.items() if parts}


def whole_of(name: str, parts: Parts) -> str:
    """A quantity's name as written: that of the projection where it is one of a group."""
    owner, _, quantity = name.partition(".")
    return next((f"{whole}.{quantity}" for whole, groups in parts.items() if owner in groups), name)


def in_parts(names: Iterable[str], parts: Parts) -> tuple[str, ...]:
    """Quantities of projections that became groups, as those of the groups."""
    found: list[str] = []
    for name in names:
        owner, _, quantity = name.partition(".")
        found += [f"{part}.{quantity}" for part in parts[owner]] if owner in parts else [name]
    return tuple(found)
