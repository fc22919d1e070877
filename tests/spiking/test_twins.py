"""E-type and I-type synapses that lie in one matrix: the bits of two, what is read and set of them, and who joins."""

from dataclasses import replace

import numpy as np
import pytest
from circuits import LOCAL, MAPS, options, started, training

from cortexc.compiler.backends.lowering import lower
from cortexc.compiler.backends.native import Native
from cortexc.compiler.backends.rewritten import InterpreterRun
from cortexc.compiler.passes import Request
from cortexc.compiler.passes.hoist_constant_input import HoistConstantInput

EVERY_OTHER = (0.0,) * 9 + (1.0,)
CASES = {"summed": dict(), "adam": dict(optimiser="adam"),
         "maps": dict(layers=MAPS, optimiser="adam"), "local": dict(layers=LOCAL), "pipelined": dict(timing="pipelined")}


def graph_of(circuit, samples, seeds=(3,), hoisted=False):
    graph = started(circuit, samples, seeds)
    return HoistConstantInput(1).apply(graph, Request()) if hoisted else graph


def names_of(graph):
    plastic = [(q.name, graph.rule_of(q)) for q in graph.projections if graph.rule_of(q)]
    return [f"{name}.{key}" for name, rule in plastic for key in ("w", rule.optimiser.kind, *(
        ("adam_first", "adam_second") if rule.optimiser.kind == "adam" else ()))]


@pytest.mark.parametrize("case, compiled", [*((case, "0") for case in CASES), ("adam", "1"), ("maps", "1")])
@pytest.mark.parametrize("samples, seeds, hoisted", [(1, (3,), False), (1, (3,), True), (12, (3,), True),
                                                     (2, (3, 4), False)])
def test_the_bits_of_the_interpreter(case, samples, seeds, hoisted, compiled, monkeypatch):
    monkeypatch.setenv("CORTEXC_JIT", compiled)
    circuit = options(**CASES[case])
    graph = graph_of(circuit, samples, seeds, hoisted)
    protocol, rows = training(circuit, 3, samples, **({} if circuit.pipelined else {"apply": EVERY_OTHER}))
    native, plain = Native(lower(graph), protocol, rows, list(seeds)), InterpreterRun(graph, protocol, rows, list(seeds))
    assert len({half.matrix for half in native.program.joined.values()}) >= circuit.top
    for steps in (7, 1, 100):
        for run in (native, plain):
            run.run(steps)
        for name in [*names_of(graph), "PC1.u", f"PC{circuit.top}.psc"]:
            found, expected = (run.value(name) for run in (native, plain))
            assert np.array_equal(found, expected), (steps, name)
    assert (native.value("wI_1.w") != graph.arrays["wI_1.w"]).any()


def test_what_is_set_is_what_is_read_and_only_that():
    graph = graph_of(options(optimiser="adam"), 1)
    protocol, rows = training(options(), 2)
    native = Native(lower(graph), protocol, rows, [3])
    native.run(5)
    before = {name: native.value(name) for name in names_of(graph)}
    for name in ("wI_2.w", "wE_2.adam_first", "wI_2.adam"):
        mask = graph.arrays[f"{name.partition('.')[0]}.mask"]
        native.put(name, mask[None] * 0.25)
        assert np.array_equal(native.value(name)[0], mask * 0.25)
        assert all(np.array_equal(native.value(other), values) for other, values in before.items() if other != name)
        native.put(name, before[name])
    native.put("wI_2.w", np.zeros_like(before["wI_2.w"]))  # a weight of 0 keeps its type
    native.put("wI_2.w", before["wI_2.w"])
    assert np.array_equal(native.value("wI_2.w"), before["wI_2.w"])


@pytest.mark.parametrize("case", ["none", "observed", "overlap", "gate", "rate", "epsilon", "sign"])
def test_who_joins(case):
    graph, observed = graph_of(options(optimiser="adam"), 1), frozenset({"wE_2.w"} if case == "observed" else ())
    arrays, second = dict(graph.arrays), graph.projection("wI_2")
    if case == "overlap":
        arrays["wI_2.mask"] = np.ones_like(arrays["wI_2.mask"])
    parameters = dict(second.parameters) | {"rate": {"eta": 0.1}, "epsilon": {"epsilon": 0.0}}.get(case, {})
    second = replace(second, parameters=tuple(parameters.items()), apply="learn" if case == "gate" else second.apply)
    rule, synapse = graph.rule_of(second), graph.class_of(second.name)
    if case == "sign":  # both increments have the same one
        rule = replace(rule, name="turned", increment=graph.rule_of(graph.projection("wE_2")).increment)
        synapse, second = replace(synapse, name="turned", rule="turned"), replace(second, synapse="turned")
        graph = graph.with_(rules=(*graph.rules, rule), synapses=(*graph.synapses, synapse))
    graph = graph.with_(arrays=arrays, projections=tuple(
        second if q.name == second.name else q for q in graph.projections))
    joined = {half.matrix.partition(".")[0] for half in lower(graph, observed).joined.values()}
    assert joined == {"wE_1", "wE_3"} | ({"wE_2"} if case == "none" else set())


def test_lines_of_their_own_for_positive_and_negative_errors_are_no_negatives_to_the_bit():
    assert not lower(graph_of(options(message="two_line"), 1)).joined
