"""Placement: every core a position of its own, never worse than the identity, hops and links as they are defined."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cortexc.compiler.ir.errors import CortexError
from cortexc.compiler.mapping.geometry import Geometry, geometry_of
from cortexc.compiler.mapping.place import Placer, place
from cortexc.compiler.mapping.problem import Mapping, MappingProblem, Resource, check
from cortexc.compiler.mapping.traffic import busiest_link, hops, link_loads, packets
from cortexc.hardware_maps import load_map

GRIDS = (Geometry(cores_per_chip=40), Geometry(cores_per_chip=7, chips=6, rows=2, columns=2, cores_per_tile=2,
                                               chip_rows=2, chip_columns=3, east_west=3.0, north_south=4.0))


def cores_of(seed: int, geometry: Geometry, cores: int = 30) -> tuple[MappingProblem, Mapping]:
    """One item per core, each sending to three others."""
    generator = np.random.default_rng(seed)
    targets = np.concatenate([generator.choice(cores, 3, replace=False) for _ in range(cores)])
    items = np.arange(cores)
    problem = MappingProblem(("A",), 0 * items, items, items + 1, (Resource("cells", 1),), np.ones((cores, 1)), items,
                             np.arange(cores + 1) * 3, targets, generator.uniform(0, 1, cores), np.ones(cores),
                             geometry=geometry)
    return problem, Mapping(items)


def slow_hops(problem: MappingProblem, mapping: Mapping) -> float:
    """Step by step along the way of every packet: first along the row, then along the column."""
    geometry, between = problem.geometry, packets(problem, mapping).tocoo()
    row, column = geometry.tiles(mapping.positions)
    total = 0.0
    for a, b, rate in zip(between.row, between.col, between.data, strict=True):
        for x in range(*sorted((int(column[a]), int(column[b])))):
            leaves = x // geometry.columns != (x + 1) // geometry.columns
            total += rate * (geometry.chip_cost if leaves else geometry.east_west)
        for y in range(*sorted((int(row[a]), int(row[b])))):
            leaves = y // geometry.rows != (y + 1) // geometry.rows
            total += rate * (geometry.chip_cost if leaves else geometry.north_south)
    return total


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), grid=st.sampled_from(GRIDS))
def test_every_core_has_its_own_position_and_the_way_is_not_longer(seed: int, grid: Geometry) -> None:
    problem, mapping = cores_of(seed, grid)
    placed = place(problem, mapping, Placer(seed, sweeps=9))
    check(problem, placed)
    assert placed.positions.max() < grid.cores
    assert np.array_equal(placed.core_of_item, mapping.core_of_item)
    assert hops(problem, placed).weighted <= hops(problem, mapping).weighted
    assert hops(problem, placed).weighted == pytest.approx(slow_hops(problem, placed))


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), grid=st.sampled_from(GRIDS))
def test_loads_of_all_links_add_up_to_the_hops(seed: int, grid: Geometry) -> None:
    problem, mapping = cores_of(seed, grid)
    loads = link_loads(problem, mapping)
    assert sum(load.sum() for load in loads.values()) == pytest.approx(hops(problem, mapping).hops)
    assert busiest_link(problem, mapping).packets == max(load.max() for load in loads.values())


def test_a_packet_goes_along_its_row_first() -> None:
    one = np.array([0])
    problem = MappingProblem(("A",), np.zeros(2, int), np.arange(2), np.arange(2) + 1, (), np.zeros((2, 0)), one,
                             np.array([0, 1]), np.array([1]), np.array([2.0]), np.ones(1),
                             geometry=Geometry(cores_per_tile=1, cores_per_chip=32))
    loads = link_loads(problem, Mapping(np.arange(2), np.array([2, 8])))  # (0, 2) to (1, 0)
    assert loads["west"].tolist() == [[0, 2, 2], [0, 0, 0]]
    assert loads["south"].tolist() == [[2, 0, 0], [0, 0, 0]]
    assert loads["east"].sum() == loads["north"].sum() == 0


def test_the_same_seed_gives_the_same_places() -> None:
    problem, mapping = cores_of(5, GRIDS[1])
    first, second = (place(problem, mapping, Placer(3)).positions for _ in range(2))
    assert np.array_equal(first, second)


def test_a_ring_over_chips_is_found() -> None:
    """28 cores in a shuffled ring on 4 chips of 7: few packets leave a chip."""
    order = np.random.default_rng(1).permutation(28)
    targets = np.empty(28, dtype=np.int64)
    targets[order] = np.roll(order, 1)
    problem = MappingProblem(("A",), 0 * order, np.arange(28), np.arange(28) + 1, (), np.zeros((28, 0)), np.arange(28),
                             np.arange(29), targets, np.ones(28), np.ones(28), geometry=GRIDS[1])
    mapping = Mapping(np.arange(28))
    assert hops(problem, place(problem, mapping)).crossings <= 6 < hops(problem, mapping).crossings


def test_more_cores_than_the_system_has() -> None:
    problem, mapping = cores_of(0, Geometry(cores_per_chip=29))
    with pytest.raises(CortexError, match="M130 the mapping needs 30 cores, the system has 29"):
        place(problem, mapping)


def test_a_map_without_a_mesh_has_no_hops() -> None:
    problem, mapping = cores_of(0, geometry_of(load_map("ideal")))
    assert hops(problem, place(problem, mapping)).weighted == 0


@pytest.mark.parametrize("change, says", [
    ({"demand": np.ones((29, 1))}, "demand has shape"), ({"rate": np.ones(29)}, "must have 30 edges"),
    ({"reach": np.ones(3)}, "reach has 3 entries, expected 90")])
def test_a_problem_whose_arrays_do_not_fit(change: dict[str, np.ndarray], says: str) -> None:
    with pytest.raises(CortexError, match=f"M101 .*{says}"):
        replace(cores_of(1, GRIDS[0])[0], **change)


@pytest.mark.parametrize("cores, positions", [(29, 30), (30, 29)])
def test_a_mapping_of_another_problem(cores: int, positions: int) -> None:
    with pytest.raises(CortexError, match="M102 30 "):
        check(cores_of(1, GRIDS[0])[0], Mapping(np.arange(cores), np.arange(positions)))
