"""Moves and swaps of items between cores, on the true objective: excess over all limits first, then traffic.

Kept up to date at every move: per hyperedge and core the sum of log(1 - reach) of the targets there, per core what it
uses of every resource (axons and table entries included), and the excess: the sum over cores and resources of
(used - limit) / limit where that is positive. A move or a swap stays if the excess falls, or if it does not grow and
the traffic falls; so a mapping that breaks no limit never comes to break one.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from cortexc.compiler.mapping.problem import TOLERANCE, Incoming, Mapping, MappingProblem, compact, incoming

DENSE = 40_000_000
"""Most (hyperedges x cores) for which the table of sums is kept (8 bytes each)."""


def refined(problem: MappingProblem, core: np.ndarray, cores: int, seed: int = 0, sweeps: int = 12,
            view: Incoming | None = None) -> Mapping:
    """The mapping after sweeps over all items in random order, until one changes nothing."""
    if problem.edges * cores > DENSE or cores < 2:
        return compact(core)
    view = view or incoming(problem)
    generator = np.random.default_rng(seed)
    orders = np.stack([generator.permutation(problem.items) for _ in range(sweeps)])
    core = core.astype(np.int64).copy()
    _refine(core, cores, orders, problem.demand.astype(float), problem.limits * (1 + TOLERANCE / 2),
            problem.edge_source.astype(np.int64), problem.axons.astype(float), problem.rate.astype(float), *view)
    return compact(core)


@njit(cache=True)
def _over(used, limit):  # type: ignore
    return (used - limit) / max(limit, 1e-9) if used > limit else 0.0


@njit(cache=True)
def _add(used, limits, total, core, column, amount):  # type: ignore
    """Adds to what a core uses; total[0] is the excess."""
    total[0] += _over(used[core, column] + amount, limits[column]) - _over(used[core, column], limits[column])
    used[core, column] += amount


@njit(cache=True)
def _arrive(e, c, change, core, source, axons, rate, miss, used, limits, total, resources):  # type: ignore
    """The sum of log(1 - reach) of a hyperedge at a core changes; total[1] is the traffic."""
    before, after = miss[e, c], min(miss[e, c] + change, 0.0)
    if after > -1e-9:
        after = 0.0
    miss[e, c] = after
    share = np.exp(before) - np.exp(after)
    if share == 0.0:
        return
    _add(used, limits, total, c, resources, axons[e] * share)
    if source[e] >= 0:
        home = core[source[e]]
        _add(used, limits, total, home, resources + 1, axons[e] * share)
        if home != c:
            total[1] += rate[e] * share


@njit(cache=True)
def _count(item, c, change, table, used, limits, total, entry_starts, entries, entry_column):  # type: ignore
    for i in range(entry_starts[item], entry_starts[item + 1]):
        entry = entries[i]
        table[c, entry] += change
        if (change > 0 and table[c, entry] == 1) or (change < 0 and table[c, entry] == 0):
            _add(used, limits, total, c, entry_column[entry], float(change))


@njit(cache=True)
def _move(item, b, core, demand, limits, source, axons, rate, starts, edges, missed, sent_starts,  # type: ignore
          sent, entry_starts, entries, entry_column, miss, table, used, total):
    a, resources = core[item], demand.shape[1]
    for r in range(resources):
        _add(used, limits, total, a, r, -demand[item, r])
        _add(used, limits, total, b, r, demand[item, r])
    _count(item, a, -1, table, used, limits, total, entry_starts, entries, entry_column)
    _count(item, b, 1, table, used, limits, total, entry_starts, entries, entry_column)
    for i in range(starts[item], starts[item + 1]):
        _arrive(edges[i], a, -missed[i], core, source, axons, rate, miss, used, limits, total, resources)
        _arrive(edges[i], b, missed[i], core, source, axons, rate, miss, used, limits, total, resources)
    for i in range(sent_starts[item], sent_starts[item + 1]):
        e, reached = sent[i], 0.0
        for c in range(miss.shape[1]):
            reached += 1.0 - np.exp(miss[e, c])
        _add(used, limits, total, a, resources + 1, -axons[e] * reached)
        _add(used, limits, total, b, resources + 1, axons[e] * reached)
        total[1] += rate[e] * (np.exp(miss[e, b]) - np.exp(miss[e, a]))
    core[item] = b


@njit(cache=True)
def _changes(item, core, source, rate, starts, edges, missed, sent_starts, sent, miss, change):  # type: ignore
    """Of the traffic, if the item moved to each core."""
    a, cores = core[item], miss.shape[1]
    change[:] = 0.0
    left = 0.0
    for i in range(starts[item], starts[item + 1]):
        e = edges[i]
        home = core[source[e]] if source[e] >= 0 else -2
        if home == -2 or source[e] == item:
            continue
        if home != a:
            left += rate[e] * (np.exp(miss[e, a]) - np.exp(miss[e, a] - missed[i]))
        factor = rate[e] * (1.0 - np.exp(missed[i]))
        for c in range(cores):
            if c != home:
                change[c] += factor if miss[e, c] == 0.0 else factor * np.exp(miss[e, c])
    for i in range(sent_starts[item], sent_starts[item + 1]):
        e = sent[i]
        for c in range(cores):
            change[c] += rate[e] * (np.exp(miss[e, c]) - np.exp(miss[e, a]))
    change += left
    change[a] = 0.0


@njit(cache=True)
def _refine(core, cores, orders, demand, limits, source, axons, rate, starts, edges, missed,  # type: ignore
            sent_starts, sent, entry_starts, entries, entry_column):
    items, resources = demand.shape
    miss = np.zeros((len(source), cores))
    table = np.zeros((cores, len(entry_column)), dtype=np.int64)
    used, total = np.zeros((cores, len(limits))), np.zeros(2)
    for item in range(items):
        for r in range(resources):
            _add(used, limits, total, core[item], r, demand[item, r])
        _count(item, core[item], 1, table, used, limits, total, entry_starts, entries, entry_column)
        for i in range(starts[item], starts[item + 1]):
            _arrive(edges[i], core[item], missed[i], core, source, axons, rate, miss, used, limits, total, resources)
    stale, change = np.zeros((items, cores)), np.zeros(cores)
    for sweep in range(len(orders)):
        for item in range(items):
            _changes(item, core, source, rate, starts, edges, missed, sent_starts, sent, miss, stale[item])
        members = np.argsort(core)
        bounds = np.searchsorted(core[members], np.arange(cores + 1))
        changed = 0
        for item in orders[sweep]:
            _changes(item, core, source, rate, starts, edges, missed, sent_starts, sent, miss, change)
            a, tries = core[item], 0
            crowded = False
            for c in range(len(limits)):
                crowded = crowded or used[a, c] > limits[c]
            for b in np.argsort(change):
                if b == a:
                    continue
                if not crowded and (change[b] >= -1e-9 or tries >= 3):
                    break
                tries += 1
                excess, traffic = total[0], total[1]
                _move(item, b, core, demand, limits, source, axons, rate, starts, edges, missed, sent_starts, sent,
                      entry_starts, entries, entry_column, miss, table, used, total)
                if total[0] < excess - 1e-9 or (total[0] <= excess + 1e-12 and total[1] < traffic - 1e-9):
                    changed += 1
                    break
                partner, best = -1, -change[b] if not crowded else np.inf
                for m in range(bounds[b], bounds[b + 1]):
                    other = members[m]
                    if core[other] == b and other != item and stale[other, a] < best:
                        partner, best = other, stale[other, a]
                if partner >= 0:
                    _move(partner, a, core, demand, limits, source, axons, rate, starts, edges, missed, sent_starts,
                          sent, entry_starts, entries, entry_column, miss, table, used, total)
                    if total[0] < excess - 1e-9 or (total[0] <= excess + 1e-12 and total[1] < traffic - 1e-9):
                        changed += 1
                        break
                    _move(partner, b, core, demand, limits, source, axons, rate, starts, edges, missed, sent_starts,
                          sent, entry_starts, entries, entry_column, miss, table, used, total)
                _move(item, a, core, demand, limits, source, axons, rate, starts, edges, missed, sent_starts, sent,
                      entry_starts, entries, entry_column, miss, table, used, total)
                total[0], total[1] = excess, traffic
        if changed == 0:
            break
