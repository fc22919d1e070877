"""What a mapping counts of lists of synapses: exactly of arrays, by expectation of rules."""

from __future__ import annotations

import numpy as np
import pytest
from sparse_circuits import graph_of, lists

from cortexc.compiler.ir import CortexError, drawing, parse_graph, show_graph
from cortexc.compiler.ir.synapses import with_drawn
from cortexc.compiler.mapping.connectivity import connectivity_of


def counted(graph, name):
    return connectivity_of(graph, graph.projection(name))


def test_arrays_are_counted_exactly():
    arrays = lists(np.random.default_rng(0), "R", 8, 8, 90)
    found = counted(graph_of().with_(arrays=arrays), "R")
    onto = (arrays["R.post"] >= 2) & (arrays["R.post"] < 5)
    assert found.synapses == 90 and (found.pre, found.post) == (8, 8)
    assert found.counts(2, 5).tolist() == np.bincount(arrays["R.pre"][onto], minlength=8).tolist()


@pytest.mark.parametrize("rule", ["fixed_indegree 4", "fixed_outdegree 4", "fixed_total 32", "probability 0.5"])
def test_rules_are_counted_by_expectation(rule):
    graph = parse_graph(show_graph(graph_of()).replace("gate=learn\noutput", f"gate=learn\n  connect {rule}\n  w = 1\noutput"))
    expected = counted(graph, "R").synapses
    assert expected == drawing.expected_count(graph.projection("R").wiring, 8, 8, True)
    assert abs(counted(with_drawn(graph), "R").synapses - expected) < (10 if "probability" in rule else 1e-9)


def test_a_list_without_its_arrays_is_refused():
    with pytest.raises(CortexError, match="M110"):
        counted(graph_of(), "R")
