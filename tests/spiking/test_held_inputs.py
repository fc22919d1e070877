"""Hoisting a plastic projection whose increments are summed: the plain trajectory to rounding, whatever the blocks."""

import numpy as np
import pytest
from circuits import DENSE, LOCAL, MAPS, options, started, training

from cortexc.compiler.backends.lowering import lower
from cortexc.compiler.backends.native import Native
from cortexc.compiler.passes import Request
from cortexc.compiler.passes.hoist_constant_input import HoistConstantInput

OBSERVED = frozenset({"PC1.u"})
EVERY_OTHER = {"apply": (0.0,) * 9 + (1.0,)}


@pytest.fixture(autouse=True)
def plain_python(monkeypatch):
    monkeypatch.setenv("CORTEXC_JIT", "0")


def weights(graph, circuit, samples, seeds, block, gates):
    protocol, rows = training(circuit, 6, samples, **gates)
    native = Native(lower(graph, OBSERVED), protocol, rows, list(seeds))
    native.run(block=block)
    names = [f"{q.name}.w" for q in graph.projections if graph.rule_of(q)]
    return {name: native.value(name) for name in (*names, "PC1.u")}


@pytest.mark.parametrize("layers", [DENSE, MAPS, LOCAL])
@pytest.mark.parametrize("changes, gates", [({}, {}), ({"update": "step"}, {}), ({}, EVERY_OTHER),
                                            ({"optimiser": "clipped", "norm": 0.05}, {}), ({"optimiser": "adam"}, {}),
                                            ({"optimiser": "adam"}, EVERY_OTHER)])
@pytest.mark.parametrize("samples, seeds", [(1, (3,)), (9, (3, 4))])
def test_the_plain_trajectory(layers, changes, gates, samples, seeds):
    circuit = options(layers, **changes)
    graph = started(circuit, samples, seeds)
    hoisted = HoistConstantInput(1).apply(graph, Request(OBSERVED))
    assert [q.name for q in hoisted.projections if q.lowering] == ["wE_1", "wI_1"]
    plain, held = (weights(g, circuit, samples, seeds, 7, gates) for g in (graph, hoisted))
    for name, values in plain.items():
        assert np.abs(values - held[name]).max() < 1e-13, name
    assert np.abs(plain["wE_1.w"] - graph.arrays["wE_1.w"].reshape(plain["wE_1.w"].shape)).max() > 1e-5
    other = weights(hoisted, circuit, samples, seeds, 3, gates)
    assert all(np.array_equal(held[name], other[name]) for name in held)


@pytest.mark.parametrize("observed", ["wE_1.increment", "wE_1.accumulate"])
def test_what_is_observed_is_left_alone(observed):
    graph = HoistConstantInput(1).apply(started(options()), Request(frozenset({observed})))
    assert [q.name for q in graph.projections if q.lowering] == ["wI_1"]
