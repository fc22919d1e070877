"""Partitions: within every limit, every item once, never worse than the baselines, the same for the same seed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cortexc.compiler.ir.errors import CortexError
from cortexc.compiler.mapping.fill import in_order
from cortexc.compiler.mapping.geometry import Geometry
from cortexc.compiler.mapping.partition import Partitioner, baselines, groups_kept, partition, rank, tidied
from cortexc.compiler.mapping.problem import (
    HOST,
    Mapping,
    MappingProblem,
    Resource,
    Table,
    arrivals,
    check,
    contract,
    usage,
    violations,
)
from cortexc.compiler.mapping.refine import refined
from cortexc.compiler.mapping.synthetic import Planted, packed, planted
from cortexc.compiler.mapping.traffic import packets, traffic


def random_problem(seed: int, items: int = 24, edges: int = 40, drawn: bool = False) -> MappingProblem:
    """Items of three populations, hyperedges with up to 6 targets, a tenth of them from the host, two tables."""
    generator = np.random.default_rng(seed)
    targets = [generator.choice(items, generator.integers(1, 7), replace=False) for _ in range(edges)]
    source = generator.integers(0, items, edges)
    source[generator.random(edges) < 0.1] = HOST
    size = generator.integers(1, 9, items)
    population = np.sort(generator.integers(0, 3, items))
    tables = tuple(Table(Resource(name, limit), np.arange(items), generator.integers(0, 6, items))
                   for name, limit in (("formats", 4), ("configurations", None)))
    return MappingProblem(
        ("A", "B", "C"), population, np.cumsum(size) - size, np.cumsum(size),
        (Resource("compartments", 30), Resource("bits", 120), Resource("words", None)),
        np.stack([size, generator.integers(0, 40, items), size], axis=1).astype(float), source,
        np.cumsum([0, *map(len, targets)]), np.concatenate(targets), generator.uniform(0, 2, edges),
        generator.integers(1, 9, edges).astype(float),
        generator.uniform(0.05, 1.0, sum(map(len, targets))) if drawn else None,
        Resource("axons_in", 150), Resource("axons_out", 200), tables, generator.integers(-1, 6, items),
        Geometry(cores_per_chip=64))


def slow_traffic(problem: MappingProblem, mapping: Mapping) -> float:
    """The definition, hyperedge by hyperedge."""
    total, core = 0.0, mapping.core_of_item
    for e in range(problem.edges):
        if problem.edge_source[e] == HOST:
            continue
        missed: dict[int, float] = {}
        for i in range(problem.edge_starts[e], problem.edge_starts[e + 1]):
            c = int(core[problem.edge_targets[i]])
            missed[c] = missed.get(c, 1.0) * (0.0 if problem.reach is None else 1.0 - problem.reach[i])
        total += sum(problem.rate[e] * (1 - m) for c, m in missed.items() if c != core[problem.edge_source[e]])
    return total


def test_a_group_that_fits_a_core_stays_together_where_this_costs_no_core() -> None:
    """Two groups of two items, two cores. Least traffic takes the first items together, the groups do not."""
    rate, source, target = [5.0, 1.0], [0, 0], [2, 1]
    problem = MappingProblem(
        ("A", "B"), np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1]), np.array([1, 2, 1, 2]),
        (Resource("compartments", 2),), np.ones((4, 1)), np.array(source), np.arange(3), np.array(target),
        np.array(rate), np.ones(2), group_of=np.array([0, 0, 1, 1]), geometry=Geometry(cores_per_chip=4))
    kept, free = partition(problem), partition(problem, Partitioner(keep_groups=False))
    assert groups_kept(problem, kept) == (2, 2) and traffic(problem, kept) == 5.0
    assert groups_kept(problem, free) == (0, 2) and traffic(problem, free) == 1.0


def test_what_a_core_holds_of_a_population_lies_side_by_side() -> None:
    """All of A send to all of B; which of them are on the core of B is all the same."""
    items, edges = 8, 7
    problem = MappingProblem(
        ("A", "B"), np.array([0] * 7 + [1]), np.array([*range(7), 0]), np.array([*range(1, 8), 1]),
        (Resource("compartments", 4),), np.ones((items, 1)), np.arange(edges), np.arange(edges + 1),
        np.full(edges, 7), np.ones(edges), np.ones(edges), geometry=Geometry(cores_per_chip=4))
    untidy = Mapping(np.array([1, 0, 1, 0, 1, 1, 0, 0]))
    tidy = tidied(problem, untidy, rank(problem, untidy))
    assert rank(problem, tidy) == rank(problem, untidy) and tidy.core_of_item.tolist() == [0, 0, 0, 1, 1, 1, 1, 0]
    grouped = tidied(problem, untidy, rank(problem, untidy), np.array([0, 1, 2, 3, 2, 4, 5, 6]))
    assert grouped is untidy, "items 2 and 4 are one group"


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), drawn=st.booleans())
def test_a_partition_keeps_every_limit_and_places_every_item_once(seed: int, drawn: bool) -> None:
    problem = random_problem(seed, drawn=drawn)
    ways = baselines(problem)
    ours = partition(problem, Partitioner(seed, seeds=1, sweeps=4))
    for mapping in (*ways.values(), ours):
        check(problem, mapping)
        assert not violations(problem, mapping)
        assert set(mapping.core_of_item) == set(range(mapping.cores))
    assert rank(problem, ours) <= min(rank(problem, mapping) for mapping in ways.values())


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), drawn=st.booleans(), cores=st.integers(1, 8))
def test_traffic_is_that_of_the_definition_and_usage_adds_up(seed: int, drawn: bool, cores: int) -> None:
    problem = random_problem(seed, drawn=drawn)
    mapping = in_order(problem, np.random.default_rng(seed).integers(0, cores, problem.items))
    assert traffic(problem, mapping) == pytest.approx(slow_traffic(problem, mapping), rel=1e-9)
    used, found = usage(problem, mapping), arrivals(problem, mapping)
    assert used[:, :3].sum(axis=0) == pytest.approx(problem.demand.sum(axis=0))
    assert used[:, 3].sum() == pytest.approx((problem.axons[found.audience] * found.fraction).sum())
    inside = problem.edge_source[found.audience] != HOST
    assert used[:, 4].sum() == pytest.approx((problem.axons[found.audience] * found.fraction)[inside].sum())
    assert packets(problem, mapping).diagonal().sum() == 0


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), drawn=st.booleans())
def test_refinement_leaves_fewer_excesses_or_less_traffic(seed: int, drawn: bool) -> None:
    problem = random_problem(seed, drawn=drawn)
    feasible = baselines(problem)["sequential"]
    better = refined(problem, feasible.core_of_item, feasible.cores, seed)
    assert not violations(problem, better)
    assert traffic(problem, better) <= traffic(problem, feasible) * (1 + 1e-9)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), drawn=st.booleans())
def test_a_split_population_needs_what_the_whole_needs(seed: int, drawn: bool) -> None:
    problem = random_problem(seed, drawn=drawn)
    label = np.unique(problem.population_of, return_inverse=True)[1]
    whole = contract(problem, label)
    apart, together = usage(problem, Mapping(label)), usage(whole, Mapping(np.arange(whole.items)))
    assert apart == pytest.approx(together)
    assert traffic(problem, Mapping(label)) == pytest.approx(traffic(whole, Mapping(np.arange(whole.items))))


def test_the_same_seed_gives_the_same_partition() -> None:
    problem = random_problem(3, items=60, edges=120)
    first, second = (partition(problem, Partitioner(7)).core_of_item for _ in range(2))
    assert np.array_equal(first, second)


def test_a_block_that_fits_no_core_is_named_with_limit_and_source() -> None:
    problem = random_problem(0)
    small = (Resource("compartments", 2, "compartments", "Davies 2018 p. 89"), *problem.resources[1:])
    with pytest.raises(CortexError, match=r"M120 block \w\[\d+:\d+\] .*limit 2 \(Davies 2018 p. 89\)"):
        partition(replace(problem, resources=small))


def test_too_few_cores_are_an_error() -> None:
    with pytest.raises(CortexError, match="M121 .* cores of cores, limit 2"):
        partition(replace(random_problem(0), geometry=Geometry(cores_per_chip=2)))


def test_groups_that_cost_nothing_stay_together() -> None:
    problem = replace(random_problem(1, items=8, edges=1), group_of=np.array([0, 1, 2, 3] * 2))
    free = replace(problem, resources=(Resource("compartments", 1e9),), demand=np.ones((8, 1)), tables=())
    assert groups_kept(free, partition(free)) == (4, 4)


def test_without_limits_one_core_holds_all() -> None:
    problem = replace(random_problem(2), resources=(Resource("a", None),), demand=np.ones((24, 1)), tables=(),
                      axons_in=Resource("axons_in", None), axons_out=Resource("axons_out", None))
    assert partition(problem).cores == 1


def test_hidden_communities_are_found() -> None:
    options, seed, limit = Planted(), 0, Resource("compartments", 256)
    problem, community = planted(options, seed, (limit,), np.ones(1))
    ours = partition(problem, Partitioner(seed, seeds=1))
    assert ours.cores == 16
    assert not violations(problem, ours)
    assert traffic(problem, ours) <= 1.02 * traffic(problem, packed(problem, community, 16, seed))
