"""The accounts count what is there, and those of the parts of a population add up to the whole."""

import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_matrix

from cortexc.compiler.ir.model import Convolution
from cortexc.compiler.mapping.accounting import ADDITIVE, account, operations
from cortexc.compiler.mapping.alike import permutation, positions_of, reach_of, runs_of
from cortexc.compiler.mapping.connectivity import (
    Blocks,
    Connectivity,
    Dense,
    Distance,
    FixedProbability,
    Listed,
    Maps,
    OneToOne,
    connectivity_of,
)
from cortexc.compiler.mapping.items import Rates, cuts_of, problem_of
from cortexc.compiler.mapping.methods import sequential
from cortexc.compiler.mapping.problem import Mapping, usage
from cortexc.hardware_maps import load_map

sys.path.insert(0, str(Path(__file__).parent))
from mapping_circuits import chain, circuit

TILES = np.arange(4)
LINE = Distance(TILES.repeat(2), TILES.repeat(3), 0.5 * np.exp(-np.abs(TILES[:, None] - TILES) / 1.5))
RNG = np.random.default_rng(5)
KINDS: dict[str, Connectivity] = {
    "dense": Dense(7, 12), "one_to_one": OneToOne(12, 12), "masked": Listed(csr_matrix((RNG.random((12, 9)) < 0.4).astype(int))),
    "blocks": Blocks((5, 7), (3, 6), ((0, 1), (1, 0))),
    "convolution": Maps(Convolution((2, 6, 6), (3, 4, 4), 3)),
    "strided": Maps(Convolution((1, 8, 8), (2, 2, 2), 3, 2, 1, 2)),
    "local": Maps(Convolution((2, 6, 6), (3, 4, 4), 3), shared=False),
    "backward": Maps(Convolution((2, 6, 6), (3, 4, 4), 3), backward=True),
    "listed": Listed(csr_matrix(RNG.integers(0, 3, (12, 9)))),
    "probability": FixedProbability(40, 12, 0.2),
    "distance": LINE}


def sources(c: Connectivity, first: int, last: int) -> float:
    runs = runs_of(c, [(first, last)])
    return float(runs.cells @ reach_of(c, runs, [(first, last)])[:, 0])


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
@settings(max_examples=25, deadline=None)
def test_synapses_of_parts_add_up(kind: str, data: st.DataObject) -> None:
    c = KINDS[kind]
    cuts = sorted({0, c.post, *data.draw(st.lists(st.integers(0, c.post), max_size=4))})
    parts = [c.counts(a, b) for a, b in zip(cuts, cuts[1:], strict=False)]
    assert np.allclose(sum(parts), c.counts(0, c.post))
    assert sum(p.sum() for p in parts) == pytest.approx(c.synapses)
    whole = sources(c, 0, c.post)
    assert whole <= sum(sources(c, a, b) for a, b in zip(cuts, cuts[1:], strict=False)) + 1e-9
    assert whole <= c.pre


def brute(c: Convolution) -> np.ndarray:
    """(post, pre) by looping over positions."""
    (cin, h, w), (cout, H, W) = c.pre, c.post
    found = np.zeros((cout, H, W, cin, h, w), dtype=bool)
    for Y in range(H):
        for X in range(W):
            for y in range(h):
                for x in range(w):
                    dy, dx = y // c.pool - (Y * c.stride - c.padding), x // c.pool - (X * c.stride - c.padding)
                    found[:, Y, X, :, y, x] = 0 <= dy < c.kernel and 0 <= dx < c.kernel
    return found.reshape(cout * H * W, cin * h * w)


@pytest.mark.parametrize("shapes", [Convolution((2, 6, 6), (3, 4, 4), 3), Convolution((1, 8, 8), (2, 2, 2), 3, 2, 1, 2),
                                    Convolution((2, 5, 5), (2, 5, 5), 3, 1, 1)])
def test_maps_count_every_pair(shapes: Convolution) -> None:
    pairs = brute(shapes)
    forward, backward = Maps(shapes), Maps(shapes, backward=True)
    assert forward.synapses == pairs.sum() == backward.synapses
    assert np.array_equal(forward.counts(2, 7), pairs[2:7].sum(axis=0))
    assert np.array_equal(backward.counts(3, 20), pairs[:, 3:20].sum(axis=1))


def test_cells_of_maps_are_cut_position_by_position() -> None:
    shapes = Convolution((2, 6, 6), (3, 4, 4), 3)
    rows, columns = permutation(48, 16), permutation(72, 36)
    pairs = brute(shapes)[np.ix_(rows, columns)]
    forward, backward = Maps(shapes, by_position=True), Maps(shapes, backward=True, by_position=True)
    for first, last in ((0, 48), (2, 7), (3, 20)):
        assert np.array_equal(forward.counts(first, last), pairs[first:last].sum(axis=0))
        assert np.array_equal(backward.counts(first, last), pairs[:, first:last].sum(axis=1))
    graph = circuit("population input source 72", "population A lif 48", "population B lif 48",
                    "projection W kernel input -> A convolution=2x6x6/3x4x4/3,1,0,1", "projection L line A -> B")
    assert positions_of(graph) == {"input": 36, "A": 16, "B": 16}
    accounts = account(graph, load_map("loihi2"))
    assert accounts.demand("A", 0, 3)[3] == 2 * 9, "three channels of one position see one patch"


def test_a_draw_stays_within_its_quantile() -> None:
    for c in (FixedProbability(40, 30, 0.2), LINE):
        p = np.full((c.post, c.pre), 0.2) if isinstance(c, FixedProbability) else np.kron(
            c.probability, np.ones((c.post // 4, c.pre // 4)))
        draws = [int((np.random.default_rng(i).random(p.shape) < p).sum()) for i in range(500)]
        assert np.mean(draws) == pytest.approx(c.synapses, rel=0.02)


def test_a_rule_needs_no_weights() -> None:
    graph = chain(sources=1_000_000, cells=2_000_000, more=2)
    rule = FixedProbability(1_000_000, 2_000_000, 1e-4)
    found = connectivity_of(graph, graph.projection("W"), {"W": rule})
    assert found.synapses == pytest.approx(2e8) and not graph.arrays
    accounts = account(graph, load_map("hala_point"), {"W": rule})
    assert accounts.demand("A", 0, 1000)[ADDITIVE.index("core.axons_in")] == pytest.approx(
        1e6 * (1 - (1 - 1e-4) ** 1000) + 2, rel=1e-6)


@pytest.mark.parametrize("name", ["loihi1", "loihi2", "ideal"])
@given(cells=st.integers(2, 300), sources=st.integers(1, 500), data=st.data())
@settings(max_examples=20, deadline=None)
def test_a_split_population_adds_up(name: str, cells: int, sources: int, data: st.DataObject) -> None:
    accounts = account(chain(sources=sources, cells=cells), load_map(name))
    cut = data.draw(st.integers(1, cells - 1))
    whole, first, second = accounts.demand("A"), accounts.demand("A", 0, cut), accounts.demand("A", cut, cells)
    assert first[0] + second[0] == whole[0]
    assert first[3] + second[3] >= whole[3], "parts need axons of their own"
    into = [q for q in accounts.projections.values() if q.post == "A"]
    hardware = accounts.hardware
    for part, size in ((whole, cells), (first, cut), (second, cells - cut)):
        payload = sum(size * q.connectivity.pre * q.synapse_bits for q in into)
        blocks = sum(q.connectivity.pre for q in into) * (size // 64 + 1)
        extra = hardware.number("core.header_bits") + hardware.number("core.word_bits")
        assert payload <= part[1] <= payload + blocks * extra, "headers and whole words, no more"
    if name == "ideal":
        assert np.array_equal((first + second)[:3], whole[:3]) and whole[1] == sum(
            q.connectivity.synapses * q.synapse_bits for q in into)


def test_known_numbers_of_loihi() -> None:
    accounts = account(chain(sources=100, cells=64, more=10), load_map("loihi1"))
    compartments, synapse_bits, memory, axons = accounts.demand("A")
    assert compartments == 3 * 64, "basal, apical, soma"
    plastic, fixed = 64 * 9 + 10, 64 * 9 + 10
    assert synapse_bits == 100 * -(-plastic // 64) * 64 + 10 * -(-fixed // 64) * 64
    assert axons == 2 * 100 + 10, "a learning axon takes two"
    assert memory == synapse_bits + 64 * 48, "two states of 24 bits"


def test_operations_are_counted() -> None:
    cell = chain().cell("lif")
    assert [operations(e.expression) for e in cell.equations] == [4, 2]


def test_optimiser_states_take_memory() -> None:
    light, heavy = (account(chain(synapse=kind), load_map("loihi2")).projections["W"] for kind in ("plastic", "heavy"))
    assert (light.states, heavy.states) == (0, 3)
    assert heavy.synapse_bits == light.synapse_bits + 3 * 8


@pytest.mark.parametrize("name", ["loihi1", "loihi2"])
@given(cells=st.integers(1, 3000), sources=st.integers(1, 1500), more=st.integers(1, 200))
@settings(max_examples=15, deadline=None)
def test_every_cell_is_placed_once_within_the_limits(name: str, cells: int, sources: int, more: int) -> None:
    graph = chain(sources=sources, cells=cells, more=more)
    accounts = account(graph, load_map(name))
    for cuts in (sequential(accounts)[0], sequential(accounts, together=False)[0], cuts_of(accounts)):
        for population, size in (("A", cells), ("B", more)):
            parts = [(a, b) for p, a, b in cuts if p == population]
            assert [a for a, _ in parts] + [size] == [0] + [b for _, b in parts], "without gaps, in order"
    cuts, mapping, _ = sequential(accounts)
    problem = problem_of(graph, accounts, cuts)
    used = usage(problem, mapping)[:, :4]
    assert (used <= problem.limits[:4] * (1 + 1e-9)).all()


def test_axons_of_one_core() -> None:
    graph = chain(sources=20, cells=30, more=10)
    accounts = account(graph, load_map("ideal"))
    problem = problem_of(graph, accounts, [("A", 0, 30), ("B", 0, 10)], Rates())
    used = usage(problem, Mapping(np.array([0, 1])))
    names = [resource.name for resource in problem.columns]
    assert used[:, names.index("core.axons_in")].tolist() == [20 + 10, 30]
    assert used[:, names.index("core.axons_out")].tolist() == [30, 10]


def test_masked_without_a_mask() -> None:
    from cortexc.compiler.ir import CortexError

    graph = circuit("synapse open\n  message spike\n  port basal\n  connectivity masked", "population A lif 3",
                    "projection W open A -> A")
    with pytest.raises(CortexError, match="M110.*W.mask"):
        account(graph, load_map("loihi1"))
    assert account(graph, load_map("loihi1"), {"W": FixedProbability(3, 3, 0.5)}).projections["W"]
    with pytest.raises(CortexError, match="M111.*4 to 4"):
        account(graph, load_map("loihi1"), {"W": FixedProbability(4, 4, 0.5)})
