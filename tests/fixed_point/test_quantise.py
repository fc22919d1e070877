"""Quantised circuits: on their grid, equal to the bit in every backend, and as accurate as their formats say."""

from __future__ import annotations

import os
import re
from dataclasses import replace

import numpy as np
import pytest
from random_graphs.integers import integer_setup

from cortexc.compiler.backends.native import Grouped
from cortexc.compiler.cli.runs import run_summary
from cortexc.compiler.experiments.compilation import compile_experiment, make_runner
from cortexc.compiler.experiments.config import load_experiment
from cortexc.compiler.experiments.session import run_experiment
from cortexc.compiler.ir import CortexError, Graph, show_graph
from cortexc.compiler.passes import run_passes
from cortexc.compiler.passes.base import Request
from cortexc.compiler.verify.mutation.campaign import plain_python
from cortexc.compiler.verify.runs import Setup, aligned, compiled, quantities, trajectory
from cortexc.compiler.verify.verification import verify_setup

STEPS = int(os.environ.get("CORTEXC_STEPS", "160"))
EPOCHS = 2 if STEPS < 400 else 100
"""CORTEXC_STEPS=10000 compares that many steps."""
SMALL = ["data.name=yin_yang", "data.split=pal", "data.limits={train=40,test=10}", "model.layers=[4,6,3]",
         f"protocol.epochs={EPOCHS}", "protocol.validation=\"\"", "precision.weights=8", "precision.calibration_steps=300", "run.backend=native"]
SPIKING = ["precision.formats={}", "protocol.halve_at=[]"]
CIRCUITS = {
    "pal": ("pal_digits", []),
    "pal-BP": ("pal_digits", ["model.variant=BP", "precision.map=loihi2", "protocol.update_every=1"]),
    "error-neuron-noise": ("error_neuron_digits", ["model.variant=noise", "precision.map=loihi2"]),
    "error-neuron-BP": ("error_neuron_digits", []),
    "error-neuron-KP": ("error_neuron_digits", ["model.variant=KP", "precision.map=loihi2", "precision.count=true"]),
    "dendritic": ("error_neuron_digits", ["model.circuit=dendritic", "model.start=legacy"]),
    "dpc": ("error_neuron_digits", ["model.circuit=dpc", "model.start=legacy"]), "ann": ("error_neuron_digits", ["model.circuit=ann", "model.start=legacy"]),
    "sign-concordant": ("sign_concordant_mnist_8bit", [*SPIKING, "protocol.halve_at=[1]"]),
    "sign-concordant-tags": ("sign_concordant_mnist_8bit", [*SPIKING, "precision.map=\"\"",
                                                            "precision.rounding=shared"]),
    "sign-concordant-frSF": ("sign_concordant_mnist_8bit", [*SPIKING, "model.feedback=frSF"]),
    "sign-concordant-spiking": ("sign_concordant_mnist_8bit", [*SPIKING, "model.message=spiking"]),
    "sign-concordant-BP": ("sign_concordant_mnist_8bit", [*SPIKING, "model.feedback=BP",
                                                          "precision.rounding=nearest"]),
}


@pytest.fixture(autouse=True)
def plain():
    """Kernels as plain Python: these circuits are small, and compiling them would take longer than running them."""
    with plain_python():
        yield


def built(name: str, *more: str):
    experiment, options = CIRCUITS[name]
    return compile_experiment(load_experiment(experiment, [*SMALL, *options, *more]))


def on_grid(graph: Graph, values: dict[str, np.ndarray]) -> list[str]:
    """Quantities that are no whole number of their units, or beyond their limit."""
    bad = []
    for p in graph.populations:
        for s in graph.cell(p.cell).states:
            if s.dtype != "float64" and f"{p.name}.{s.name}" in values:
                units, limit = values[f"{p.name}.{s.name}"] / s.scale, 2 ** (int(s.dtype[3:]) - 1) - 1
                if (units != np.floor(units)).any() or (np.abs(units) > limit).any():
                    bad.append(f"{p.name}.{s.name}")
    for q in graph.projections:
        unit, name = graph.class_of(q.name).unit, f"{q.name}.w"
        if unit and name in values and (np.floor(values[name] / unit) * unit != values[name]).any():
            bad.append(name)
    return bad


@pytest.mark.parametrize("name", CIRCUITS)
def test_every_backend_has_the_same_integers(name: str) -> None:
    found = built(name)
    plan, seeds = found.plan, tuple(found.experiment.run.seeds)
    setup = Setup(found.report.graph, plan.protocol, plan.samples, seeds)
    wanted = [q for q in quantities(setup.graph) if not q.endswith(".increment")]
    steps = min(STEPS, plan.protocol.total)
    moved = set()
    for _, ours, theirs in aligned(trajectory(setup, wanted, "interpreter", steps=steps),
                                   compiled(setup, wanted, "native", steps=steps)):
        assert not on_grid(setup.graph, ours)
        for quantity, values in theirs.items():
            assert np.array_equal(ours[quantity], values), quantity
            if quantity.endswith(".w") and (values[0] != values[-1]).any():
                moved.add(quantity)
    assert moved


def test_the_text_of_a_quantised_circuit_says_its_formats() -> None:
    text = built("pal").report.after("quantise")
    assert "receive drive = fixed(" in text and "noise rounding uniform" in text
    assert re.search(r"state drive = 0 : int24 \S+", text) and "send rate = fixed(interpolate(P0_rate, breve * " in text
    assert re.search(r"message rate_sent\n", text) and re.search(r"unit 0\.\d+\n  limits -0\.\d+ 0\.\d+", text)


def test_many_bits_are_as_good_as_float() -> None:
    """After some presentations the weights of 18 bits are within their rounding noise of the float circuit's."""
    wide = [f"precision.{k}={v}" for k, v in dict(weights=18, messages=16, factors=16, states=24, values=20,
                                                   tables=14, coefficients=12).items()]
    finals = []
    for overrides in ([], ["precision.weights=0"]):
        found = compile_experiment(load_experiment("error_neuron_digits", [*SMALL, *wide, "precision.rounding=nearest", *overrides]))
        runner = make_runner(found)
        runner.run(400)
        finals.append({q.name: runner.value(f"{q.name}.w") for q in found.report.graph.projections
                       if found.report.graph.rule_of(q)})
    for name, w in finals[0].items():
        assert np.abs(w - finals[1][name]).max() < 1e-2 * np.abs(finals[1][name]).max(), name


# ---- random circuits


def random_integer_setups(seeds: range):
    for seed in seeds:
        if found := integer_setup(seed):
            yield seed, found


def test_random_integer_circuits_agree_to_the_bit() -> None:
    count = learnt = 0
    for seed, setup in random_integer_setups(range(0, 150)):
        wanted = quantities(setup.graph)
        try:
            pairs = list(aligned(trajectory(setup, wanted, "interpreter"), compiled(setup, wanted, "native")))
        except CortexError as error:
            assert error.code == "E503", (seed, error)
            continue
        for _, ours, theirs in pairs:
            assert not on_grid(setup.graph, ours), seed
            for name, values in theirs.items():
                assert np.array_equal(ours[name], values), (seed, name)
                learnt += name.endswith(".w") and bool((values[0] != values[-1]).any())
        count += 1
    assert count > 20 and learnt > 10, (count, learnt)


@pytest.mark.lava
@pytest.mark.slow
def test_random_integer_circuits_have_the_same_bits_on_lava() -> None:
    compared = learnt = 0
    for seed, setup in random_integer_setups(range(0, 60)):
        wanted = quantities(setup.graph)
        try:
            native = list(compiled(setup, wanted, "native"))
        except CortexError as error:
            assert error.code == "E503", (seed, error)
            continue
        learnt += any((chunk[name][0] != chunk[name][-1]).any() for chunk in native for name in chunk if name[-2:] == ".w")
        granularity = ("population", "area", "network")[compared % 3]
        result = verify_setup(setup, "lava", granularity, "interpreter", setup.steps)
        assert result.first_divergence is None and result.max_abs_error == 0.0 and result.variables, (seed, result.reasons)
        compared += 1
        if compared == 9:
            break
    assert compared == 9 and learnt > 3, (compared, learnt)


# ---- what is refused, what is reported


def test_an_optimiser_without_an_integer_form_is_refused() -> None:
    with pytest.raises(CortexError, match="E612 .*rule 'hebbian_wE_1' of projection 'wE_1' has optimiser 'adam'"):
        compile_experiment(load_experiment("sign_concordant_mnist_8bit", [
            *SMALL, *SPIKING, "model.optimiser=adam", "precision.map=\"\""]))


@pytest.mark.parametrize(("text", "says"), [
    ("precision.formats={\"WPP_0.w\"=\"eight\"}", "X160 .*'eight' of 'WPP_0.w' cannot be read.*BITS.FRACTION"),
    ("precision.formats={\"WPP_9.w\"=\"8.5\"}", "X163 .*WPP_9.w.*"), ("precision.rounding=up", "X104"),
    ("precision.weights=99", "X104"), ("precision.map=loihi9", "H10"),
    *[(f"precision.formats={{\"{name}\"=\"{text}\"}}", f"X161 .*'{name}' {says}") for name, text, says in (
        ("WPP_0.w", "0.3", "has 0 bits of which 3"), ("WPP_0.w", "1.3", "has 1 bits.*2 to 24"),
        ("WPP_0.w", "60.10", "has 60 bits.*2 to 24"), ("WPP_0.w", "8.2000", "has 8 bits of which 2000.*-60 to 60"),
        ("WPP_0.w", "u8.7", "is without a sign"), ("P0.rate", "1", "has 1 bits.*2 to 32"),
        ("P0.rate", "u8.8", "is without a sign"), ("P0.drive", "24.-2000", "has 24 bits of which -2000"))]])
def test_wrong_precision_is_refused(text: str, says: str) -> None:
    with pytest.raises(CortexError) as caught:
        compile_experiment(load_experiment("pal_digits", [*SMALL, text]))
    assert re.search(says, f"{caught.value}")


def test_saturation_is_counted_and_reported() -> None:
    overrides = [*SMALL, "precision.count=true", "precision.formats={\"P0.drive\"=\"4.8\",\"WPP_1.w\"=\"8.12\",\"WPP_0.low_pass\"=\"3.30\"}"]
    found = run_experiment(load_experiment("pal_digits", overrides))["precision"]
    assert found["saturated"]["P0.drive"] > 0 and found["weights_at_limit"]["WPP_1"] > 0.3
    assert found["saturated"]["WPP_0.tag"] > 100
    quiet = run_experiment(load_experiment("pal_digits", [*SMALL, "precision.count=true"]))["precision"]
    assert "P0.drive" not in quiet["saturated"] and quiet["weights_at_limit"]["WPP_1"] < 0.05
    assert "WPP_0.tag" not in quiet["saturated"]
    blind = run_experiment(load_experiment("pal_digits", SMALL), steps=20)
    assert blind["precision"]["saturated"] is None and "not counted" in run_summary(blind)


def test_the_partition_does_not_matter() -> None:
    found = built("sign-concordant")
    plan = found.plan
    from cortexc.compiler.backends.lowering import lower
    from cortexc.compiler.passes.partition import Partition

    graph = run_passes(found.report.graph.with_(projections=tuple(
        replace(q, lowering="") for q in found.report.graph.projections)), [Partition("population")], Request()).graph
    whole, parts = make_runner(found), Grouped(lower(graph), plan.protocol, plan.samples, [1])
    whole.run(200)
    parts.run(200)
    for q in graph.projections:
        if graph.class_of(q.name).connectivity != "identity":
            assert np.array_equal(whole.value(f"{q.name}.w"), parts.value(f"{q.name}.w")), q.name


def test_quantised_graphs_print_and_read_back() -> None:
    from cortexc.compiler.ir import parse_graph

    graph = built("error-neuron-KP").report.graph
    assert parse_graph(show_graph(graph)) == graph.with_(arrays={})


def test_every_format_has_its_errors() -> None:
    from cortexc.compiler.experiments.formats import format_rows, format_text

    experiment, options = CIRCUITS["pal"]
    rows = format_rows(load_experiment(experiment, [*SMALL, *options]), steps=60)
    found = {row.quantity: row for row in rows}
    drive, weight = found["P0.drive"], found["WPP_0.w"]
    assert drive.worst == drive.unit / 2 and weight.worst == weight.unit and weight.format.startswith("int8")
    assert 0 < drive.deviation < drive.range and drive.range < drive.limit
    assert 0 < found["P0.rate_sent"].deviation < 0.02 and found["WPP_0.tag"].deviation > 0
    assert found["P0.rate"].unit / 2 < found["P0.rate"].worst < 1e-4
    coarse = format_rows(load_experiment(experiment, [*SMALL, *options, "precision.tables=3"]), steps=1)
    assert {row.quantity: row.worst for row in coarse}["P1.rate"] > 0.002
    assert "P0.drive" in format_text(rows) and "measured deviation" in format_text(rows)
    with pytest.raises(CortexError, match="X162 .*float64 throughout.*precision.weights"):
        format_rows(load_experiment(experiment, [*SMALL, "precision.weights=0"]))
