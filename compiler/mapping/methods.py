"""The ways of mapping a circuit that are compared: two baselines, and blocks partitioned by what travels."""

from __future__ import annotations

import importlib.util
from collections.abc import Collection, Iterator
from dataclasses import replace

from cortexc.compiler.ir import CortexError, Graph
from cortexc.compiler.mapping.accounting import Accounting
from cortexc.compiler.mapping.items import Cut, Rates, cuts_of, problem_of
from cortexc.compiler.mapping.problem import Mapping, MappingProblem, Resource
from cortexc.compiler.mapping.sequential import Filled, fills

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
