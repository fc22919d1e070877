"""The rival reading with error cells: the same updates as the circuit with apical errors, from non-negative messages."""

from dataclasses import replace

import numpy as np
import pytest
from circuits import DENSE, MAPS, options, training

from cortexc.compiler.backends.interpreter import Interpreter
from cortexc.compiler.backends.lowering import lower
from cortexc.compiler.backends.native import Native
from cortexc.compiler.ir import CortexError, parse_graph, show_graph, verify
from cortexc.compiler.microcircuits.sign_concordant import build
from cortexc.compiler.microcircuits.sign_concordant_errors import build_errors
from cortexc.compiler.microcircuits.sign_concordant_start import normal_start
from cortexc.compiler.passes.read_sets import explain_text


@pytest.mark.parametrize("changes", [{}, {"layers": MAPS}, {"optimiser": "adam"},
                                     {"optimiser": "clipped", "norm": 0.05, "update": "step"}])
def test_the_updates_of_the_first_reading(changes, monkeypatch):
    monkeypatch.setenv("CORTEXC_JIT", "0")
    circuit = options(**changes)
    circuit = replace(circuit, arrays=normal_start(circuit, 3, {}))
    protocol, rows = training(circuit, 5, 7)
    runs = [Native(lower(make(circuit).with_(samples=7)), protocol, rows, [3]) for make in (build, build_errors)]
    for run in runs:
        run.run()
    for i in range(1, circuit.top + 1):
        for name in (f"wE_{i}.w", f"wI_{i}.w"):
            assert np.abs(runs[0].value(name) - runs[1].value(name)).max() < 1e-12, name
    assert np.abs(runs[0].value("wE_1.w") - circuit.arrays["wE_1.w"]).max() > 1e-5


def test_messages_are_not_negative_and_the_rules_are_local():
    circuit = options(DENSE)
    graph = build_errors(replace(circuit, arrays=normal_start(circuit, 3, {})))
    verify(graph)
    assert parse_graph(show_graph(graph)).with_(arrays=graph.arrays, name=graph.name) == graph
    assert "NON-LOCAL" not in explain_text(graph)
    protocol, rows = training(circuit, 1)
    run, seen = Interpreter(graph), 0.0
    for t in range(5):
        gates = {name: pattern[t % len(pattern)] for name, pattern in protocol.phases[0].gates}
        values = run.step({"image.value": rows[0, :12], "teacher.value": rows[0, 12:]}, gates, {})
        assert min(values[f"{cell}{i}.error"].min() for cell in ("EP", "EN") for i in (1, 2, 3)) >= 0
        seen = max(seen, values["EP1.error"].max(), values["EN1.error"].max())
    assert seen > 0


def test_the_references_trajectory(monkeypatch):
    from cortexc.compiler.verify import verify_against_reference
    from cortexc.compiler.verify.oracles.sign_concordant import reference_setup

    pytest.importorskip("torch")
    monkeypatch.setenv("CORTEXC_JIT", "0")
    circuit = options(DENSE)
    setup = reference_setup(circuit, 5, 4)
    arrays = {name: array[0] for name, array in setup.graph.arrays.items()}
    graph = build_errors(replace(circuit, arrays=arrays)).with_(samples=4)
    found = verify_against_reference(circuit, 100, (1,), setup=replace(setup, graph=graph)).as_dict()
    assert found["passed"] and found["max_abs_error"] < 1e-12, found["reasons"]
    assert {"PC1.u", "PC2.error", "wE_1.w", "wI_3.w"} <= set(found["variables"])


@pytest.mark.parametrize("changes", [dict(feedback="FA"), dict(message="spiking"), dict(timing="pipelined")])
def test_what_this_reading_does_not_have(changes):
    with pytest.raises(CortexError, match="E314"):
        build_errors(options(**changes))
