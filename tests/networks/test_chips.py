"""Networks by rule on chips, counted from their rules."""

import numpy as np
import pytest

from cortexc.compiler.ir import parse_graph
from cortexc.compiler.mapping import methods
from cortexc.compiler.mapping.accounting import account
from cortexc.compiler.mapping.problem import arrivals
from cortexc.compiler.mapping.sequential import fills
from cortexc.compiler.passes.legalise import the_map

TWO = """graph two
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
population A c 3000
population B c 2000
projection AB x A -> B
  connect fixed_total 900000
projection BA x B -> A
  connect fixed_total 900000
"""


def test_cells_of_a_core_are_reached_as_pair_by_pair():
    """Blocks lie on cores in their order, two of them on one: what arrives is what the definition says."""
    graph, hardware = parse_graph(TWO), the_map("loihi2")
    accounts = account(graph, hardware)
    filled = fills(accounts)[-1]
    problem = methods.Problems(graph, accounts, methods.Rates()).of(filled.cuts)
    assert filled.mapping.cores < problem.items
    found = arrivals(problem, filled.mapping)
    missed: dict[tuple[int, int], float] = {}
    for edge in range(problem.edges):
        for place in range(problem.edge_starts[edge], problem.edge_starts[edge + 1]):
            key = (edge, int(filled.mapping.core_of_item[problem.edge_targets[place]]))
            missed[key] = missed.get(key, 0.0) + problem.missed[place]
    assert list(zip(found.edge.tolist(), found.core.tolist(), strict=True)) == sorted(missed)
    assert found.fraction == pytest.approx([-np.expm1(missed[key]) for key in sorted(missed)], rel=1e-15)


def test_a_circuit_with_too_many_pairs_of_blocks_is_filled_in_order_alone(monkeypatch):
    graph = parse_graph(TWO)
    accounts = account(graph, the_map("loihi2"))

    def tried(method):
        return len(list(methods.mapped(graph, accounts, method, methods.Rates())))

    assert tried(methods.SEQUENTIAL) and tried(methods.SINGLE)
    monkeypatch.setattr(methods, "PAIRS", 10)
    assert tried(methods.SEQUENTIAL) and not tried(methods.SINGLE) and not tried(methods.PARTITIONED)
