"""Networks by rule on chips, counted from their rules: against what is drawn, synapse by synapse."""

from statistics import NormalDist

import numpy as np
import pytest

from cortexc.compiler.ir import parse_graph
from cortexc.compiler.ir.synapses import with_drawn
from cortexc.compiler.mapping import methods
from cortexc.compiler.mapping.accounting import ADDITIVE, QUANTILE, account
from cortexc.compiler.mapping.alike import reach_of, runs_of
from cortexc.compiler.mapping.connectivity import connectivity_of
from cortexc.compiler.mapping.items import problem_of
from cortexc.compiler.mapping.methods import fills
from cortexc.compiler.mapping.problem import Mapping, arrivals, spread, usage
from cortexc.compiler.mapping.traffic import busiest_link, flow, hops
from cortexc.compiler.microcircuits.potjans_diesmann import PotjansDiesmann, build
from cortexc.compiler.passes.legalise import the_map

NET = """graph net
cell c
  port a
  state v = 0
  send s = prev(v)
  receive v = a
  message s
synapse x
  message s
  port a
  connectivity sparse
population A c {a}
population B c {b}
projection AB x A -> B
  connect {rule}
"""
TWO = NET.format(a=3000, b=2000, rule="fixed_total 900000\nprojection BA x B -> A\n  connect fixed_total 900000")


def test_cells_of_a_core_are_reached_as_pair_by_pair():
    """Blocks lie on cores in their order, two of them on one: what arrives is what the definition says."""
    graph, hardware = parse_graph(TWO), the_map("loihi2")
    accounts = account(graph, hardware)
    filled = fills(accounts)[-1]
    problem = methods.Problems(graph, accounts, methods.Rates()).of(filled.cuts)
    assert filled.mapping.cores < problem.items
    found = arrivals(problem, filled.mapping)
    missed: dict[tuple[int, int], float] = {}
    for audience in range(problem.audiences):
        for place in range(problem.edge_starts[audience], problem.edge_starts[audience + 1]):
            key = (audience, int(filled.mapping.core_of_item[problem.edge_targets[place]]))
            missed[key] = missed.get(key, 0.0) + problem.missed[place]
    assert list(zip(found.audience.tolist(), found.core.tolist(), strict=True)) == sorted(missed)
    assert found.fraction == pytest.approx([-np.expm1(missed[key]) for key in sorted(missed)], rel=1e-15)


def test_a_circuit_with_too_many_pairs_of_blocks_is_filled_in_order_alone(monkeypatch):
    graph = parse_graph(TWO)
    accounts = account(graph, the_map("loihi2"))

    def tried(method):
        return len(list(methods.mapped(graph, accounts, method, methods.Rates())))

    assert tried(methods.SEQUENTIAL) and tried(methods.SINGLE)
    monkeypatch.setattr(methods, "PAIRS", 10)
    assert tried(methods.SEQUENTIAL) and not tried(methods.SINGLE) and not tried(methods.PARTITIONED)


RULES = ("fixed_indegree 12", "fixed_outdegree 9", "fixed_total 700", "probability 0.2")


@pytest.mark.parametrize("flags", ["", " multapses"])
@pytest.mark.parametrize("rule", RULES)
def test_a_rule_expects_the_sources_and_memory_that_are_drawn(rule, flags):
    """Of blocks of several sizes: means over 60 networks within four times their spread, lists at the quantile of a normal
    distribution."""
    if rule.startswith("probability") and flags:
        pytest.skip("a pair is joined once at most")
    blocks = [(0, 1), (3, 10), (5, 45)]
    graphs = [parse_graph(NET.format(a=60, b=45, rule=f"{rule} seed={seed}{flags}")) for seed in range(60)]
    drawn = [connectivity_of(g, g.projection("AB")) for g in map(with_drawn, graphs)]
    told = connectivity_of(graphs[0], graphs[0].projection("AB"))
    runs = runs_of(told, blocks)
    counts = np.array([[c.counts(*block) for block in blocks] for c in drawn])
    assert runs.cells.tolist() == [60]
    for expected, each in ((reach_of(told, runs, blocks)[0], (counts > 0).sum(axis=2)), (runs.counts[0], counts.sum(axis=2))):
        assert (abs(60 * expected - each.mean(axis=0)) <= 4 * each.std(axis=0) / 60 ** 0.5 + 0.02).all()
    bits = [[account(g, the_map("loihi2")).demand("B", *block)[ADDITIVE.index("core.synapse_bits")] for block in blocks]
            for g in (graphs[0], *map(with_drawn, graphs))]
    expected, found = np.array(bits[0]), np.array(bits[1:])
    assert expected == pytest.approx(found.mean(axis=0) + NormalDist().inv_cdf(QUANTILE) * found.std(axis=0), rel=0.1)


@pytest.fixture(scope="module")
def column():
    """A twentieth of the microcircuit with a tenth of its inputs, cut alike: by rule, and every synapse drawn."""
    graph, hardware = build(PotjansDiesmann(scale=0.05, indegree_scale=0.1)), the_map("loihi2")
    accounts = account(graph, hardware)
    filled = fills(accounts)[-1]
    problems = [problem_of(graph, each, filled.cuts) for each in (accounts, account(with_drawn(graph), hardware))]
    return *problems, filled.mapping


def test_a_column_by_rule_takes_of_cores_what_it_takes_as_it_is_drawn(column):
    told, drawn, mapping = column
    assert told.edges > 50 and told.audiences == 55 and drawn.audiences > 1000
    used, exact = usage(told, mapping), usage(drawn, mapping)
    for name, least, most in (("core.axons_in", 0.97, 1.03), ("core.axons_out", 0.97, 1.03), ("core.memory_bits", 1, 1.12)):
        place = [resource.name for resource in told.columns].index(name)
        shares = used[:, place] / exact[:, place]
        assert least <= shares.min() and shares.max() <= most, name
    assert flow(told, mapping).leaving == pytest.approx(flow(drawn, mapping).leaving, rel=0.03)
    assert hops(told, mapping).hops == pytest.approx(hops(drawn, mapping).hops, rel=0.01)
    assert busiest_link(told, mapping).packets == pytest.approx(busiest_link(drawn, mapping).packets, rel=0.03)


def test_audiences_that_are_shared_count_as_if_every_block_had_its_own(column):
    told, _, mapping = column
    apart, scattered = spread(told), Mapping(np.random.default_rng(0).permutation(mapping.core_of_item))
    assert apart.audience is None and apart.audiences == told.edges and len(apart.edge_targets) == told.pairs
    for each in (mapping, scattered):
        assert usage(told, each) == pytest.approx(usage(apart, each), rel=1e-12)
        assert flow(told, each).leaving == pytest.approx(flow(apart, each).leaving, rel=1e-12)
        assert flow(told, each).matrix().toarray() == pytest.approx(flow(apart, each).matrix().toarray(), rel=1e-12)
        assert hops(told, each) == pytest.approx(hops(apart, each), rel=1e-12)
