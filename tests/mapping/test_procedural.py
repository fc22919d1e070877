"""Rules against circuits that are drawn: every block once, expectations and quantiles as they come out."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cortexc.compiler.ir.errors import CortexError
from cortexc.compiler.ir.model import Convolution
from cortexc.compiler.mapping.alike import list_moments, reach_of, runs_of
from cortexc.compiler.mapping.connectivity import Dense, FixedProbability, Maps, OneToOne
from cortexc.compiler.mapping.partition import partition
from cortexc.compiler.mapping.place import place
from cortexc.compiler.mapping.problem import Mapping, check, usage, violations
from cortexc.compiler.mapping.synthetic import (
    ListFormat,
    Sheet,
    blocks_of,
    column_pairs,
    list_format,
    memory_at,
    reached,
    sheet_problem,
)
from cortexc.compiler.mapping.traffic import traffic
from cortexc.hardware_maps import load_map

SMALL = Sheet(columns=9, cells=60, fan_in=80, quantile=0.999)
RULES = (Dense(12, 20), OneToOne(20, 20), FixedProbability(30, 40, 0.1), Maps(Convolution((2, 6, 6), (3, 4, 4), 3)),
         Maps(Convolution((2, 6, 6), (3, 4, 4), 3), backward=True))


def blocks(size: int, cuts: list[int]) -> list[tuple[int, int]]:
    ends = sorted({0, size, *(cut % size for cut in cuts)})
    return list(zip(ends, ends[1:], strict=False))


def between_blocks(rule: Dense, pre: list[tuple[int, int]], post: list[tuple[int, int]]) -> tuple[np.ndarray, np.ndarray]:
    """(pre blocks, post blocks): expected synapses, and expected distinct sources, from the runs of the rule."""
    synapses, sources = np.zeros((len(pre), len(post))), np.zeros((len(pre), len(post)))
    for j, block in enumerate(post):
        runs = runs_of(rule, [block])
        counts, reach = np.repeat(runs.counts[:, 0], runs.cells), np.repeat(reach_of(rule, runs, [block])[:, 0], runs.cells)
        synapses[:, j], sources[:, j] = ([each[a:b].sum() for a, b in pre] for each in (counts, reach))
    return synapses, sources


@settings(max_examples=40, deadline=None)
@given(rule=st.sampled_from(RULES), cuts=st.lists(st.integers(0, 200), max_size=4))
def test_blocks_add_up_to_the_whole(rule: Dense, cuts: list[int]) -> None:
    pre, post = blocks(rule.pre, cuts), blocks(rule.post, cuts)
    synapses, sources = between_blocks(rule, pre, post)
    assert synapses.sum() == pytest.approx(rule.synapses)
    assert (sources <= np.array([b - a for a, b in pre])[:, None] + 1e-9).all()
    assert (sources <= synapses + 1e-9).all()


def test_the_expected_sources_are_those_of_drawn_circuits() -> None:
    generator = np.random.default_rng(0)
    drawn = generator.random((400, 50, 20)) < 0.05
    rule = FixedProbability(50, 20, 0.05)
    synapses, sources = between_blocks(rule, [(0, 50)], [(0, 20)])
    assert drawn.sum(axis=(1, 2)).mean() == pytest.approx(synapses[0, 0], rel=0.02)
    assert drawn.any(axis=2).sum(axis=1).mean() == pytest.approx(sources[0, 0], rel=0.02)
    assert sources[0, 0] == pytest.approx(50 * reached(np.array(0.05), 20))


def test_lists_take_whole_words() -> None:
    form = ListFormat(synapse=21, header=10, block=64, word=64)
    assert form.bits(np.array([0, 1, 2, 3, 64, 65])).tolist() == [0, 64, 64, 128, 1408, 1408]
    mean, variance, _ = list_moments(form.bits, np.array([0.0, 1.0, 0.3]), 2)
    assert mean.tolist() == pytest.approx([0, 64, 64 * (1 - 0.49)])
    assert variance.tolist() == pytest.approx([0, 0, 64**2 * 0.51 * 0.49])


def drawn_bits(sheet: Sheet, cells: int, column: int, draws: int) -> np.ndarray:
    """Memory of a block in circuits that are drawn."""
    pairs, form = column_pairs(sheet), list_format(load_map("hala_point"))
    probability = np.repeat(pairs.probability[pairs.post == column], sheet.cells)
    synapses = np.random.default_rng(0).binomial(cells, probability, (draws, len(probability)))
    return form.bits(synapses).sum(axis=1) + cells * sheet.state_bits


def test_drawn_circuits_stay_below_the_quantile() -> None:
    limit = memory_at(SMALL, column_pairs(SMALL), list_format(load_map("hala_point")), 20)[4]
    drawn = drawn_bits(SMALL, 20, 4, draws=2000)
    assert (drawn > limit).mean() <= 0.004
    assert limit < 1.2 * drawn.mean()


@settings(max_examples=8, deadline=None)
@given(columns=st.integers(1, 12), seed=st.integers(0, 1000))
def test_every_block_of_a_sheet_is_placed_once(columns: int, seed: int) -> None:
    sheet = Sheet(columns=columns, cells=200, fan_in=150, seed=seed)
    problem = sheet_problem(sheet, load_map("hala_point"))
    size = np.bincount(problem.population_of, problem.stop - problem.start)
    assert size.tolist() == [200] * columns
    placed = place(problem, partition(problem))
    check(problem, placed)
    assert not violations(problem, placed)
    assert usage(problem, placed)[:, 0].sum() == sheet.neurons


def test_every_cell_of_a_sheet_expects_its_fan_in() -> None:
    pairs = column_pairs(SMALL)
    assert np.bincount(pairs.post, pairs.probability) * SMALL.cells == pytest.approx(SMALL.fan_in)


def test_traffic_of_a_sheet_is_that_of_drawn_circuits() -> None:
    sheet = Sheet(columns=4, cells=40, fan_in=30)
    problem = sheet_problem(sheet, load_map("hala_point"))
    pairs, core = column_pairs(sheet), np.arange(problem.items)
    generator, found = np.random.default_rng(1), []
    for _ in range(100):
        packets = 0.0
        for pre, post, p in zip(pairs.pre, pairs.post, pairs.probability, strict=True):
            packets += (generator.random((40, 40)) < p).any(axis=1).sum() * sheet.spikes * (pre != post)
        found.append(packets)
    assert len(core) == 4
    assert np.mean(found) == pytest.approx(traffic(problem, Mapping(core)), rel=0.02)


def test_a_cell_that_needs_more_than_a_core() -> None:
    with pytest.raises(CortexError, match="M140 one cell with fan-in 80"):
        blocks_of(SMALL, column_pairs(SMALL), ListFormat(), 1024, 100.0)
