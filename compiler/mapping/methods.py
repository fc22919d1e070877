"""The ways of mapping a circuit that are compared: two baselines, and blocks partitioned by what travels.

The baselines: cores filled in the circuit's order, and one population (or part of one) per core. A core takes as many
cells of the next population as every limit leaves room for. A limit that not even one cell of a population can keep on
a core of its own is not waited for: it would split the population to no avail, and shows as a violation. Assumed limits
are kept while that costs few cores (`fills`).
"""

from __future__ import annotations

import importlib.util
from collections.abc import Collection, Iterator
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from cortexc.compiler.ir import CortexError, Graph
from cortexc.compiler.mapping.accounting import ADDITIVE, Accounting
from cortexc.compiler.mapping.geometry import geometry_of
from cortexc.compiler.mapping.items import Cut, Rates, cuts_of, problem_of
from cortexc.compiler.mapping.problem import Mapping, MappingProblem, Resource

SEQUENTIAL, SINGLE, PARTITIONED = "sequential", "one-population-per-core", "partitioned"
METHODS = (SEQUENTIAL, SINGLE, PARTITIONED)
SHARES = {0.25: 1500, 0.0625: 300}
"""Sizes of blocks, as shares of a core -> blocks up to which they are tried. Small blocks pack better, large ones have
fewer headers; so many are partitioned within seconds."""
PAIRS = 4_000_000
"""Pairs of a block and one that it sends to, up to which more than the sequential fill is tried."""
NO_ANSWER = ("M120", "M121")
"""Codes of the partitioner where a block, or all of them, cannot keep the limits."""


class Problems:
    """The fills and problems of one circuit, each made once."""

    def __init__(self, graph: Graph, accounts: Accounting, rates: Rates):
        self.graph, self.accounts, self.rates = graph, accounts, rates
        self.known: dict[tuple[Cut, ...], MappingProblem] = {}
        self.filled: dict[bool, list[Filled]] = {}

    def fills(self, together: bool) -> list[Filled]:
        """The sequential fills, populations side by side on a core or not."""
        if together not in self.filled:
            self.filled[together] = fills(self.accounts, together)
        return self.filled[together]

    def of(self, cuts: list[Cut]) -> MappingProblem:
        """The problem of these cuts."""
        key = tuple(cuts)
        if key not in self.known:
            self.known[key] = problem_of(self.graph, self.accounts, cuts, self.rates)
        return self.known[key]


def mapped(graph: Graph, accounts: Accounting, method: str, rates: Rates,
           problems: Problems | None = None) -> Iterator[tuple[MappingProblem, Mapping]]:
    """The problem and the mapping that a method finds; nothing where it finds none. `problems`: shared by methods."""
    problems = problems or Problems(graph, accounts, rates)
    whole = problems.fills(True)[-1]
    if method != SEQUENTIAL and problems.of(whole.cuts).pairs > PAIRS:
        return
    if method == PARTITIONED:
        shared = [cuts_of(accounts, share, limits=whole.limits) for share in SHARES]
        small = [cuts for cuts, most in zip(shared, SHARES.values(), strict=True) if len(cuts) <= most]
        yield from _partitioned(problems, [whole.cuts, *small])
    else:
        for filled in problems.fills(method == SEQUENTIAL):
            yield problems.of(filled.cuts), filled.mapping


def _partitioned(problems: Problems, candidates: list[list[Cut]]) -> Iterator[tuple[MappingProblem, Mapping]]:
    """The partition of each of these cuts that has one, placed. Where a block breaks an assumed limit by itself, the
    assumed limits do not hold the partition up."""
    if importlib.util.find_spec("pymetis") is None:
        return
    from cortexc.compiler.mapping.partition import partition
    from cortexc.compiler.mapping.place import place

    for cuts in candidates:
        problem = problems.of(cuts)
        for limited in (problem, _without(problem, problems.accounts.hardware.assumed)):
            try:
                mapping = partition(limited)
            except CortexError as error:
                if error.code not in NO_ANSWER:
                    raise
                continue
            fits = 1 < mapping.cores <= problem.geometry.cores
            yield problem, place(problem, mapping) if fits else mapping
            break


def _without(problem: MappingProblem, names: Collection[str]) -> MappingProblem:
    """The problem without these limits."""
    def free(resource: Resource) -> Resource:
        return replace(resource, limit=None) if resource.name in names else resource

    return replace(problem, resources=tuple(map(free, problem.resources)), axons_in=free(problem.axons_in),
                   axons_out=free(problem.axons_out),
                   tables=tuple(replace(table, resource=free(table.resource)) for table in problem.tables))


# ---- the baselines


class Filled(NamedTuple):
    """`limits`: that were kept, in the order of ADDITIVE."""

    cuts: list[Cut]
    mapping: Mapping
    limits: np.ndarray


TINY = 4
"""Times as many cores as without them that the assumed limits may take. Beyond it they would cut blocks to crumbs."""


def fills(accounts: Accounting, together: bool = True) -> list[Filled]:
    """The sequential fill. It keeps the assumed limits unless that takes over `TINY` times as many cores; where the
    system has too few cores for it, there is also the one that does not keep them."""
    free = sequential(accounts, together, accounts.limits(assumed=False))
    if (accounts.limits(assumed=False) == accounts.limits()).all():
        return [free]
    kept = sequential(accounts, together, most=TINY * free.mapping.cores)
    if kept.mapping.cores > TINY * free.mapping.cores:
        return [free]
    return [kept] if kept.mapping.cores <= geometry_of(accounts.hardware).cores else [kept, free]


def sequential(accounts: Accounting, together: bool = True, limits: np.ndarray | None = None,
               most: float = np.inf) -> Filled:
    """Cuts, and the core of each. `together` False: no core holds two populations. `limits`: other ones than the map's,
    in the order of ADDITIVE; `most`: cores beyond which it is given up, with what is not yet cut left out."""
    limits = accounts.limits() if limits is None else limits
    cuts: list[Cut] = []
    cores: list[int] = []
    core, used = 0, np.zeros(len(ADDITIVE))
    for population in accounts.placed:
        if not together and cuts:
            core, used = core + 1, np.zeros(len(ADDITIVE))
        for on, cut, total in _filled(accounts, population.name, core, used, limits):
            core, used = on, total
            cuts.append(cut)
            cores.append(core)
            if core >= most:
                return Filled(cuts, Mapping(np.array(cores, dtype=np.int64)), limits)
    return Filled(cuts, Mapping(np.array(cores, dtype=np.int64)), limits)


def _filled(accounts: Accounting, population: str, core: int, used: np.ndarray,
            limits: np.ndarray) -> Iterator[tuple[int, Cut, np.ndarray]]:
    """(core, cut, what the core uses then) for the parts of one population."""
    limits = np.where(accounts.demand(population, 0, 1) > limits, np.inf, limits)
    first, size, likely = 0, accounts.populations[population].size, 1
    while first < size:
        last = _largest(accounts, population, first, used, limits, likely)
        if last == first:
            core, used = core + 1, np.zeros(len(ADDITIVE))
            last = max(first + 1, _largest(accounts, population, first, used, limits, likely))
        used = used + accounts.demand(population, first, last)
        yield core, (population, first, last), used
        first, likely = last, last - first


def _largest(accounts: Accounting, population: str, first: int, used: np.ndarray, limits: np.ndarray,
             likely: int) -> int:
    """The largest `last` for which cells first..last-1 still fit; `first` where not even one does. It is looked for
    from first + `likely` on, in steps that double."""
    def fits(last: int) -> bool:
        return bool((used + accounts.demand(population, first, last) <= limits).all())

    size, step = accounts.populations[population].size, 1
    low = high = min(first + likely, size)
    if fits(high):
        while low < size and fits(high := min(low + step, size)):
            low, step = high, 2 * step
        high = max(low, high - 1)
    else:
        low, high = first, high - 1
    while low < high:
        middle = (low + high + 1) // 2
        if fits(middle):
            low = middle
        else:
            high = middle - 1
    return low
