"""Baselines: items in a given order into one core after the other.

before   A[0:256] A[256:300] B[0:100]       after, sequential       cores 0 0 0
                                            after, one population   cores 0 0 1
"""

from __future__ import annotations

import numpy as np
from numba import njit

from cortexc.compiler.mapping.problem import TOLERANCE, Incoming, Mapping, MappingProblem, compact, incoming, violations

SHARES = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1, 0.05, 0.02, 0.0)
"""Shares of every limit that are tried in turn: output axons are known only when all is placed."""


def sequential(problem: MappingProblem) -> Mapping:
    """Items in their order; a core is left when the next item would break a limit."""
    return _feasible(problem, np.arange(problem.items), np.zeros(problem.items, dtype=np.int64))


def one_population_per_core(problem: MappingProblem) -> Mapping:
    """The same, but every population begins on a core of its own."""
    return _feasible(problem, np.arange(problem.items), np.asarray(problem.population_of, dtype=np.int64))


def in_order(problem: MappingProblem, parts: np.ndarray) -> Mapping:
    """Items sorted by part, and filled in: feasible whatever the parts are."""
    return _feasible(problem, np.argsort(parts, kind="stable"), np.zeros(problem.items, dtype=np.int64))


def _feasible(problem: MappingProblem, order: np.ndarray, segment: np.ndarray) -> Mapping:
    """With the largest share of the limits that breaks none in the end; with 0, one item per core."""
    view = incoming(problem)
    for share in SHARES:
        mapping = compact(fill(problem, view, order, segment, share))
        if not violations(problem, mapping):
            return mapping
    return mapping


def fill(problem: MappingProblem, view: Incoming, order: np.ndarray, segment: np.ndarray, share: float) -> np.ndarray:
    """Core of every item. `segment` (items,): where it changes, a new core begins."""
    finite = np.isfinite(problem.limits)
    limits = np.where(finite, np.where(finite, problem.limits, 0.0) * (1 + TOLERANCE) * share, np.inf)
    return _fill(order, segment, problem.demand.astype(float), limits, problem.axons.astype(float),
                 view.starts, view.edges, view.missed, view.entry_starts, view.entries, view.entry_column)


@njit(cache=True)
def _fill(order, segment, demand, limits, axons, starts, edges, missed, entry_starts, entries,  # type: ignore
          entry_column):
    resources, columns = demand.shape[1], len(limits)
    core = np.zeros(len(order), dtype=np.int64)
    stamp, miss = np.full(len(axons), -1), np.zeros(len(axons))
    entry_stamp = np.full(len(entry_column), -1)
    used, more = np.zeros(columns), np.zeros(columns)
    current, last = -1, -1
    for position in range(len(order)):
        item = order[position]
        for attempt in range(2):
            more[:] = 0.0
            more[:resources] = demand[item]
            for i in range(starts[item], starts[item + 1]):
                e = edges[i]
                before = miss[e] if stamp[e] == current else 0.0
                more[resources] += axons[e] * (np.exp(before) - np.exp(before + missed[i]))
            for i in range(entry_starts[item], entry_starts[item + 1]):
                if entry_stamp[entries[i]] != current:
                    more[entry_column[entries[i]]] += 1.0
            fits = current >= 0 and segment[item] == last
            for c in range(columns):
                if used[c] + more[c] > limits[c]:
                    fits = False
            if fits or attempt == 1:
                break
            current += 1
            used[:] = 0.0
            last = segment[item]
        used += more
        core[item] = current
        for i in range(starts[item], starts[item + 1]):
            e = edges[i]
            if stamp[e] != current:
                stamp[e], miss[e] = current, 0.0
            miss[e] += missed[i]
        for i in range(entry_starts[item], entry_starts[item + 1]):
            entry_stamp[entries[i]] = current
    return core
