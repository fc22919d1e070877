"""Against NEST, statistically: distances to ten recorded seeds, and that a wrong network is found."""

from dataclasses import replace

import numpy as np
import pytest

from cortexc.compiler.bench.spike_statistics import CASES, RECORDED, compared, our_run

SMALL = CASES["small-brunel"]


@pytest.fixture(scope="module")
def nest():
    with np.load(RECORDED) as arrays:
        return dict(arrays)


def outside(ours, nest):
    return {(row["population"], row["statistic"]) for row in compared("small-brunel", ours, nest) if not row["within"]}


def test_a_small_network_is_within_the_spread_of_ten_seeds(nest):
    assert not outside([our_run(SMALL, seed) for seed in range(1, 11)], nest)


def test_every_case_is_recorded_with_ten_seeds(nest):
    cases = {key.partition("/")[0] for key in nest}
    assert cases == set(CASES) and all(len(array) == 10 for array in nest.values())


@pytest.mark.parametrize("fault", [{"g": 5.2}, {"eta": 2.04}, {"epsilon": 0.106}])
def test_a_network_that_differs_by_a_few_per_cent_is_found(nest, fault):
    assert outside([our_run(replace(SMALL, circuit=replace(SMALL.circuit, **fault)), seed) for seed in (1, 2)], nest)


def test_seeds_of_nest_are_within_their_own_spread(nest):
    """The half of them against the other half."""
    keys = [key.removeprefix("small-brunel/") for key in nest if key.startswith("small-brunel/")]
    runs = [{key: nest[f"small-brunel/{key}"][seed] for key in keys} for seed in range(5)]
    others = {name: array[5:] for name, array in nest.items()}
    assert all(row["distance"] < 1.5 * row["nest_largest"] for row in compared("small-brunel", runs, others))
