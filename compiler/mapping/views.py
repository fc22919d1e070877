"""A mapping problem seen from its items: what arrives at each, what each sends, which table entries each needs."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from cortexc.compiler.mapping.problem import CERTAIN, HOST, MappingProblem, spread


class Incoming(NamedTuple):
    """Per item (slices of `starts`): hyperedges that have it as a target, with log(1 - reach); hyperedges that it
    sends (slices of `sent_starts`); table entries (slices of `entry_starts`), and the resource column of each entry."""

    starts: np.ndarray
    edges: np.ndarray
    missed: np.ndarray
    sent_starts: np.ndarray
    sent: np.ndarray
    entry_starts: np.ndarray
    entries: np.ndarray
    entry_column: np.ndarray


def incoming(problem: MappingProblem) -> Incoming:
    """The transposed arrays of a problem."""
    problem = spread(problem)
    order = np.argsort(problem.edge_targets, kind="stable")
    starts = _starts(problem.edge_targets, problem.items)
    inside = np.flatnonzero(problem.edge_source != HOST)
    sent = inside[np.argsort(problem.edge_source[inside], kind="stable")]
    return Incoming(starts, problem.audience_of_target[order], problem.missed[order],
                    _starts(problem.edge_source[inside], problem.items), sent, *_table_entries(problem))


def _starts(owners: np.ndarray, items: int) -> np.ndarray:
    return np.concatenate(([0], np.cumsum(np.bincount(owners, minlength=items)))).astype(np.int64)


def _table_entries(problem: MappingProblem) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Distinct (item, entry) pairs of all tables, entries numbered across the tables."""
    items, entries, column = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    base = len(problem.resources) + 2
    for offset, table in enumerate(problem.tables):
        values, entry = np.unique(table.entries, return_inverse=True)
        pairs = np.unique(np.stack([np.asarray(table.items, np.int64), entry]), axis=1)
        items.append(pairs[0])
        entries.append(pairs[1] + sum(map(len, column)))
        column.append(np.full(len(values), base + offset))
    item, every = np.concatenate(items), np.concatenate(entries)
    order = np.argsort(item, kind="stable")
    return _starts(item, problem.items), every[order], np.concatenate(column)


def contract(problem: MappingProblem, label: np.ndarray) -> MappingProblem:
    """The problem in which all items of one label (0 .. n - 1, none left out) are one item."""
    problem, count = spread(problem), int(label.max(initial=-1)) + 1
    keys = problem.audience_of_target * np.int64(count) + label[problem.edge_targets]
    found, inverse = np.unique(keys, return_inverse=True)
    missed = np.maximum(np.bincount(inverse, problem.missed, len(found)), CERTAIN)
    edge, target = np.divmod(found, max(count, 1))
    source = np.where(problem.edge_source == HOST, HOST, label[problem.edge_source])
    demand = np.zeros((count, len(problem.resources)))
    np.add.at(demand, label, problem.demand)
    first = np.unique(label, return_index=True)[1]
    tables = tuple(replace(t, items=label[t.items]) for t in problem.tables)
    return replace(problem, population_of=problem.population_of[first], start=problem.start[first],
                   stop=problem.stop[first], demand=demand, edge_source=source, edge_targets=target,
                   edge_starts=_starts(edge, problem.edges), tables=tables, group_of=None,
                   reach=None if problem.reach is None else -np.expm1(missed))
