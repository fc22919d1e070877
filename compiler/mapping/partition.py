"""partition: items onto as few cores as possible, within every limit, with as little traffic as possible.

METIS cuts the graph that the hyperedges expand to (a star from the source, and a clique over few targets); refinement
with the true objective follows. It starts from as many cores as the limits demand at least, and takes more only where
no start leads to a mapping that breaks no limit. The sequential fills are among the starts and the answers, so the
result is never worse than they are: fewer cores, or as many and no more traffic. Among what is not worse and takes the
fewest cores, the mapping that keeps most groups on one core each is the answer, then the one with the least traffic.

M120 an item that exceeds a limit of a core by itself; M121 no mapping within the limits was found.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pymetis
from scipy import sparse

from cortexc.compiler.ir.errors import CortexError
from cortexc.compiler.mapping.fill import in_order, one_population_per_core, sequential
from cortexc.compiler.mapping.problem import (
    HOST,
    Mapping,
    MappingProblem,
    Violation,
    compact,
    contract,
    incoming,
    spread,
    usage,
    violations,
)
from cortexc.compiler.mapping.refine import DENSE, refined
from cortexc.compiler.mapping.traffic import traffic

CLIQUE = 40
"""Most targets of a hyperedge that become a clique."""
CLUSTERS, PACKINGS, REACHED = 4, 10, 0.5
"""Clusters per core that are packed as wholes, random packings that are tried, and the share of all clusters that a
source may reach for this to be worth its time."""
LONG, MANY = 4_000_000, 20_000_000
"""Targets of hyperedges x cores, and items x cores x cores, up to which mappings are searched for; beyond either the
fills are the answer."""
TIDY = 1.01
"""Traffic that a tidy mapping may have, of that of an untidy one."""
UNEVEN = (1, 30, 200)
"""Imbalances that METIS is allowed, in thousandths."""


@dataclass(frozen=True)
class Partitioner:
    """`seeds`: METIS runs per number of cores; `sweeps` of the refinement; `tries`: numbers of cores that are tried
    before the baselines' one is taken; `keep_groups`: those that fit a core stay together where this costs no core."""

    seed: int = 0
    seeds: int = 3
    sweeps: int = 12
    tries: int = 8
    keep_groups: bool = True


class Rank(NamedTuple):
    """What is compared, in this order."""

    violations: int
    cores: int
    traffic: float


def rank(problem: MappingProblem, mapping: Mapping) -> Rank:
    """Of a mapping; traffic rounded, so that rounding decides nothing."""
    return Rank(len(violations(problem, mapping)), mapping.cores, float(f"{traffic(problem, mapping):.9g}"))


def baselines(problem: MappingProblem) -> dict[str, Mapping]:
    """One population per core, and sequential fill."""
    return {"one_population_per_core": one_population_per_core(problem), "sequential": sequential(problem)}


def partition(problem: MappingProblem, options: Partitioner = Partitioner()) -> Mapping:
    """The best mapping found. Raises M120, M121."""
    check_items(problem)
    if crowded(problem):
        return Mapping(np.arange(problem.items))
    found = list(baselines(problem).values())
    known = min(rank(problem, mapping) for mapping in found)
    label = groups(problem) if options.keep_groups else None
    if label is not None:
        found += [Mapping(m.core_of_item[label]) for m in _search(contract(problem, label), found, options)]
    found += _search(problem, found, options)
    ranked = [(rank(problem, mapping), mapping) for mapping in found]
    fewest = min(each for each, _ in ranked)[:2]
    good = [(each, mapping) for each, mapping in ranked if each[:2] == fewest and each <= known]
    _, best = min(good, key=lambda pair: (-_together(label, pair[1]), pair[0]))
    best = tidied(problem, best, known, label)
    broken = violations(problem, best)
    if broken:
        raise CortexError("M121", f"no mapping within the limits was found: {described(broken[0])}.",
                          "Take a map with more cores, or reduce the circuit.")
    return best


def tidied(problem: MappingProblem, mapping: Mapping, known: Rank, label: np.ndarray | None = None) -> Mapping:
    """The blocks of a population that a core holds side by side, where this breaks no limit, parts no group and costs
    at most `TIDY` of the traffic, never more than the baselines' `known`: dense connectivity does not tell cells apart.

    before   A[0:3] and A[8:37] on core 0, A[3:8] on core 1        after   A[0:32] on core 0, A[32:37] on core 1
    """
    now = rank(problem, mapping)
    limit = min(known, now._replace(traffic=TIDY * now.traffic))
    place = np.bincount(mapping.core_of_item, problem.start) / np.bincount(mapping.core_of_item)
    every = range(len(problem.populations))
    for populations in (every, *([population] for population in every)):
        core = mapping.core_of_item.copy()
        for population in populations:
            own = np.flatnonzero(problem.population_of == population)
            core[own] = core[own][np.argsort(place[core[own]], kind="stable")]
        side = Mapping(core)
        if (core != mapping.core_of_item).any() and rank(problem, side) <= limit and \
                _together(label, side) >= _together(label, mapping):
            mapping = side
    return mapping


def crowded(problem: MappingProblem) -> bool:
    """Whether no two items fit one core, whatever they are: then every item has its own."""
    if problem.items < 2:
        return True
    least = np.partition(problem.demand, 1, axis=0)[:2].sum(axis=0)
    return bool((least > problem.limits[:len(problem.resources)]).any())


def described(violation: Violation) -> str:
    """`core 3 uses 4,200 axons of axons_in, limit 4,096 (Davies 2018 p. 89)`"""
    resource, amount = violation.resource, violation.amount
    where = "the circuit needs" if violation.core < 0 else f"core {violation.core} uses"
    source = f" ({resource.source})" if resource.source else ""
    return f"{where} {amount:,.6g} {resource.unit} of {resource.name}, limit {resource.bound:,.6g}{source}"


def check_items(problem: MappingProblem) -> None:
    """Raises M120 for an item that does not fit a core of its own."""
    alone = Mapping(np.arange(problem.items))
    broken = [v for v in violations(problem, alone, usage(problem, alone)) if v.core >= 0]
    if broken:
        name, first, last = problem.block(broken[0].core)
        raise CortexError("M120", f"block {name}[{first}:{last}] does not fit a core: {described(broken[0])}.",
                          "Cut the population into smaller blocks.")


# ---- groups that stay together


def groups(problem: MappingProblem) -> np.ndarray | None:
    """Label of every item, the same for the items of a group that fits one core; None if that joins none."""
    if problem.group_of is None or not (problem.group_of >= 0).any():
        return None
    alone = problem.group_of.max() + 1 + np.arange(problem.items)
    joined = np.unique(np.where(problem.group_of >= 0, problem.group_of, alone), return_inverse=True)[1]
    broken = {v.core for v in violations(problem, Mapping(joined)) if v.core >= 0}
    split = np.isin(joined, list(broken))
    label = np.unique(np.where(split, joined.max() + 1 + np.arange(problem.items), joined), return_inverse=True)[1]
    return compact(label).core_of_item if label.max() + 1 < problem.items else None


def _together(label: np.ndarray | None, mapping: Mapping) -> int:
    """Labels whose items share one core."""
    if label is None:
        return 0
    pairs = np.unique(np.stack([label, mapping.core_of_item]), axis=1)
    return int((np.bincount(pairs[0]) == 1).sum())


def groups_kept(problem: MappingProblem, mapping: Mapping) -> tuple[int, int]:
    """Groups whose items share one core, and groups."""
    if problem.group_of is None:
        return 0, 0
    inside = problem.group_of >= 0
    pairs = np.unique(np.stack([problem.group_of[inside], mapping.core_of_item[inside]]), axis=1)
    cores = np.unique(pairs[0], return_counts=True)[1]
    return int((cores == 1).sum()), len(cores)


# ---- the search


def _search(problem: MappingProblem, known: list[Mapping], options: Partitioner) -> list[Mapping]:
    """Feasible mappings on the smallest number of cores for which one is found; none where the search would be long."""
    limits = problem.limits[:len(problem.resources)]
    shares = problem.demand.sum(axis=0) / np.where(limits > 0, limits, np.inf)  # that the additive limits demand
    least = max(1, int(np.ceil(shares.max(initial=0) - 1e-6)))
    most = min((m.cores for m in known), default=problem.items)
    if problem.pairs * least > LONG or problem.items * least**2 > MANY:
        return []
    view, graph = incoming(problem), expanded(problem)
    filled = [m for m in (known if len(known[0].core_of_item) == problem.items else baselines(problem).values())]
    for cores in _numbers(least, min(most, problem.items), options.tries):
        found = [refined(problem, core, cores, options.seed + n, options.sweeps, view)
                 for n, core in enumerate(_starts(problem, graph, filled, cores, options))]
        feasible = [m for m in found if not violations(problem, m)]
        if feasible:
            return feasible
    return []


def _numbers(least: int, most: int, tries: int) -> list[int]:
    """least, then steps that grow, then most."""
    found, step = [min(least, most)], 1
    while found[-1] < most:
        step = 1 if len(found) < tries else 2 * step
        found.append(min(found[-1] + step, most))
    return found


def _starts(problem: MappingProblem, graph: sparse.csr_matrix, filled: list[Mapping], cores: int,
            options: Partitioner) -> Iterator[np.ndarray]:
    for mapping in filled:
        if mapping.cores <= cores:
            yield mapping.core_of_item
    if cores == 1:
        yield np.zeros(problem.items, dtype=np.int64)
        return
    for n in range(options.seeds):
        parts = cut(graph, weights(problem), cores, options.seed + n, UNEVEN[n % len(UNEVEN)])
        yield parts
        ordered = in_order(problem, parts)
        if ordered.cores <= cores:
            yield ordered.core_of_item
    if problem.items >= 4 * CLUSTERS * cores and problem.edges * cores <= DENSE:
        yield from _packed_clusters(problem, graph, cores, options)


def _packed_clusters(problem: MappingProblem, graph: sparse.csr_matrix, cores: int,
                     options: Partitioner) -> Iterator[np.ndarray]:
    """Starts from clusters of a quarter of a core, packed by moves and swaps of whole clusters; none where a source
    reaches most clusters anyway, so that little depends on how they are packed."""
    generator = np.random.default_rng(options.seed)
    for n in range(options.seeds):
        label = compact(cut(graph, weights(problem), CLUSTERS * cores, options.seed + n)).core_of_item
        whole = contract(problem, label)
        if len(whole.edge_targets) > REACHED * whole.edges * whole.items:
            return
        packings = [cut(expanded(whole), weights(whole), cores, options.seed + n, UNEVEN[1])]
        packings += [generator.permutation(whole.items) % cores for _ in range(PACKINGS)]
        found = [refined(whole, packing, cores, options.seed + k, 4 * options.sweeps)
                 for k, packing in enumerate(packings)]
        yield min(found, key=lambda mapping: traffic(whole, mapping)).core_of_item[label]


def expanded(problem: MappingProblem) -> sparse.csr_matrix:
    """(items, items), symmetric: a star from each source to its targets, a clique over few targets of the host."""
    problem = spread(problem)
    edge, target = problem.audience_of_target, problem.edge_targets
    source = problem.edge_source[edge]
    weight = problem.rate[edge] * (-np.expm1(problem.missed))
    star = source != HOST
    rows, columns, data = [source[star]], [target[star]], [weight[star]]
    for pairs in _cliques(problem):
        rows.append(target[pairs[0]])
        columns.append(target[pairs[1]])
        size = np.diff(problem.edge_starts)[edge[pairs[0]]]
        data.append(weight[pairs[0]] / size * 0.5)
    shape = (problem.items, problem.items)
    found = sparse.csr_matrix((np.concatenate(data), (np.concatenate(rows), np.concatenate(columns))), shape=shape)
    found = (found + found.T).tocsr()
    found.setdiag(0)
    found.eliminate_zeros()
    return found


def _cliques(problem: MappingProblem) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Pairs of entries of `edge_targets`, at distance 1, 2 ... within each short hyperedge."""
    length = np.diff(problem.edge_starts)
    if (length[length <= CLIQUE].astype(float) ** 2).sum() > 3e7:
        return
    last = np.repeat(problem.edge_starts[1:], length)
    short = np.flatnonzero(np.repeat(length <= CLIQUE, length))
    for distance in range(1, int(length[length <= CLIQUE].max(initial=0))):
        first = short[short + distance < last[short]]
        yield first, first + distance


def weights(problem: MappingProblem) -> np.ndarray:
    """Of every item: the largest share that it takes of what a core has, in 1/1000, at least 1."""
    limits = problem.limits[:len(problem.resources)]
    finite = np.isfinite(limits) & (limits > 0)
    if not finite.any():
        return np.ones(problem.items, dtype=np.int64)
    total = problem.demand[:, finite].sum(axis=0) / limits[finite]
    share = problem.demand[:, finite] / limits[finite] * (total / max(total.max(), 1e-300))
    return np.maximum(np.rint(share.max(axis=1) * 10_000), 1).astype(np.int64)


def cut(graph: sparse.csr_matrix, weight: np.ndarray, parts: int, seed: int, uneven: int = 30) -> np.ndarray:
    """METIS: part of every vertex, parts of about equal weight."""
    if parts < 2 or graph.nnz == 0:
        return np.arange(graph.shape[0]) * parts // max(graph.shape[0], 1)
    scale = min(1000.0 / max(float(np.median(graph.data)), 1e-300), 1e9 / max(float(graph.data.sum()), 1e-300))
    edges = np.maximum(np.rint(graph.data * scale), 1).astype(np.int32)
    options = pymetis.Options(seed=seed, ufactor=uneven, ncuts=1)
    adjacency = pymetis.CSRAdjacency(graph.indptr.astype(np.int32), graph.indices.astype(np.int32))
    found = pymetis.part_graph(parts, adjacency=adjacency, vweights=weight.astype(np.int32), eweights=edges,
                               recursive=parts <= 8, options=options)
    return np.asarray(found[1], dtype=np.int64)
