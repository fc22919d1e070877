"""Rules in the form of a learning engine: what is legal, why not, what the nearest legal rule is and computes."""

from __future__ import annotations

import numpy as np
import pytest

from cortexc.compiler.experiments.circuits import build_circuit
from cortexc.compiler.experiments.compilation import compile_experiment, make_runner
from cortexc.compiler.experiments.config import load_experiment
from cortexc.compiler.experiments.tables import Model
from cortexc.compiler.ir import parse_graph
from cortexc.compiler.passes.engine import engine_reasons
from cortexc.compiler.passes.legalise import legalised, the_map
from cortexc.compiler.passes.legality import rule_reports

TEXT = """
graph net
  gate learn
  gate apply
  gate on
cell unit
  port basal @ basal
  parameter gain 1
  state spike = 0
  state trace = 0
  state rate = 0
  send spike = where(prev(trace) > 0.5, 1, 0)
  state low = 0
  state slow = 0
  send rate = prev(trace)
  send low = 0.5 * prev(low) + rate
  send slow = 0.5 * prev(slow) + rate - prev(rate)
  receive trace = 0.5 * prev(trace) + basal @ basal
  receive error = gain * (1 - trace) @ apical
  message rate
  message spike
rule r
  parameter eta 1
  increment INCREMENT
OPTIMISER
synapse s
  message MESSAGE
  port basal
  rule r
population a unit 3
  gain = 1
population b unit 2
  gain = 1
projection W s a -> b gate=learn apply=apply
  eta = ETA
"""


def reports(increment: str, optimiser: str = "", message: str = "rate", eta: str = "0.25", map_: str = "loihi2"):
    line = f"  optimiser {optimiser}" if optimiser else ""
    text = TEXT.replace("INCREMENT", increment).replace("OPTIMISER", line).replace("MESSAGE", message)
    graph = parse_graph(text.replace("ETA", eta)).with_(arrays={"W.w": np.zeros((2, 3))})
    (found,) = rule_reports(graph, the_map(map_))
    return found


def test_a_product_with_a_power_of_two_is_legal() -> None:
    found = reports("eta * post.error * pre.rate")
    assert found.legal and not found.reasons
    assert found.form == "dw = 2^-2*x0*x1*y1; x1 = pre.rate; y1 = post.error"


@pytest.mark.parametrize("increment", ["eta * post.error * pre.low", "eta * prev(post.error) * prev(pre.rate)",
                                       "eta * post.error * pre.rate - 0.03125 * eta * w"])
def test_low_passes_and_the_step_before_and_a_decay_that_is_not_too_slow_are_legal(increment: str) -> None:
    assert reports(increment).legal


@pytest.mark.parametrize(("changes", "reason"), [
    ("max_products = { value = 1,", "it is a sum of 2 products; mine has 1"),
    ("dependencies = { value = [\"x0\"],", "mine has no dependency 'u'"),
    ("synaptic_variables = { value = [\"t\"],", "mine has no variable of the synapse 'w'"),
    ("scale_mantissa_high = { value = 1,", "the term in w has the scale 2^-8; exponents of mine begin"),
    ("scale_exponent_low = { value = 0,", "exponents of mine begin at 0")])
def test_a_map_of_ones_own_is_judged_by_its_fields(tmp_path, changes: str, reason: str) -> None:
    name = changes.split()[0]
    unit = the_map("loihi2").scalar(f"learning.{name}").unit
    path = tmp_path / "mine.toml"
    path.write_text(f'name = "mine"\ntitle = "mine"\nextends = "loihi2"\n[learning]\n{changes} unit = "{unit}", '
                    'kind = "assumed", source = "[LAVA]" }\n')
    found = reports("eta * post.error * pre.rate - 0.03125 * eta * w", map_=str(path), eta="0.625")
    assert any(reason in r for r in found.reasons), found.reasons


def test_a_map_without_an_engine_is_known_by_its_fields_and_not_by_its_name(tmp_path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('name = "mine"\ntitle = "mine"\nextends = "ideal"\n')
    assert reports("eta * post.error * pre.slow", map_=str(path), eta="0.3").legal
    path.write_text('name = "ideal"\ntitle = "mine"\nextends = "loihi2"\n')
    assert not reports("eta * post.error * pre.slow", map_=str(path), eta="0.3").legal


@pytest.mark.parametrize(("increment", "options", "form"), [
    ("eta * post.error * pre.rate", {"eta": "0.3"}, "dw = x0*x1*y1; x1 = pre.rate; y1 = 0.3 * post.error"),
    ("eta * gate.on * post.error * pre.rate", {}, "dw = 2^-2*x0*x1*y1; x1 = pre.rate; y1 = gate.on * post.error"),
    ("eta * post.error * post.trace * pre.rate", {}, "dw = 2^-2*x0*x1*y1; x1 = pre.rate; y1 = post.error * post.trace"),
    ("eta * post.error * pre.rate - eta * post.trace * pre.rate", {},
     "dw = -2^-1*x0*x1*y1; x1 = pre.rate; y1 = 0.5 * post.trace - 0.5 * post.error"),
    ("eta * post.error * pre.low", {}, "dw = 2^-2*u0*x1*y1; x1 = 0.5*x1 + pre.rate; y1 = post.error")])
def test_what_the_neuron_can_compute_is_one_factor(increment: str, options: dict[str, str], form: str) -> None:
    found = reports(increment, **options)
    assert found.legal and found.form == form, found


@pytest.mark.parametrize(("increment", "options", "reason", "nearest"), [
    ("eta * post.error * pre.rate", {"optimiser": "adam(0.1, 0.9, 0.99, 0.1)"}, "divides by a square root",
     "dt = 2^-2*x0*x1*y1 - u0*y2*t; dw = u0*y2*t"),
    ("eta * post.error * pre.rate", {"optimiser": "clipped(1)"}, "norm over all synapses", "dt = 2^-2"),
    ("eta * post.error * pre.rate", {"optimiser": "low_pass(0.1)"}, "scale -0.1 is not m",
     r"dt = 2^-5*x0*x1*y1 - 2^-3*u0*t; dw = u0*t; x1 = pre.rate; y1 = post.error; w moves one step after t"),
    ("eta * post.error * pre.error", {}, "not transmitted", "none: pre.error is not at the synapse"),
    ("eta * post.error * pre.rate", {"map_": "loihi1"}, "graded", "none"),
    ("eta * exp(w * post.error) * pre.rate", {}, "no sum of products", "none"),
    ("eta * post.error * pre.rate", {"optimiser": "low_pass(0.001)"}, "the leak of the tag has the scale 2.-10",
     "dt = 2^-9*x0*x1*y1 - 2^-7*u0*t"),
    ("eta * post.error * pre.rate - 0.0078125 * eta * w", {}, "the term in w has the scale 2.-9", "none: the term in w"),
    ("eta * post.error * pre.slow", {}, "is neither the message 'rate' nor a low-pass", "none: 'pre.slow' is neither"),
    ("eta * post.error * prev(pre.rate)", {}, "the message of another step", "none: 'prev(pre.rate)' is the message"),
    ("eta * post.error * pre.rate - eta * post.trace * w", {}, "it reads 4 factors", "none: it reads 4 factors"),
    ("eta * post.error * pre.rate + eta * post.error * pre.low", {}, "2 presynaptic traces of a graded message", "none"),
])
def test_what_is_not_legal_has_its_reason_and_the_nearest_rule(increment, options, reason, nearest) -> None:
    import re

    found = reports(increment, **options)
    assert not found.legal and any(re.search(reason, r) for r in found.reasons), found.reasons
    assert nearest in found.nearest, found.nearest


def test_the_reasons_of_a_map_name_their_source() -> None:
    found = reports("eta * post.error * pre.rate", map_="loihi1")
    assert any("[" in reason and "loihi1" in reason for reason in found.reasons)


def test_everything_local_is_legal_on_the_ideal_chip_and_mirrors_are_not() -> None:
    graph = build_circuit(Model(circuit="pal", options={"layers": [4, 3, 2], "variant": "BP"}), [1])
    found = {r.projection: r for r in rule_reports(graph, the_map("ideal"))}
    assert found["WPP_0"].legal and not found["BPP_0"].legal
    assert "weight transport" in found["BPP_0"].reasons[0]


def final_weights(*overrides: str) -> dict[str, np.ndarray]:
    found = compile_experiment(load_experiment("sign_concordant_mnist_8bit", [
        "data.name=yin_yang", "data.split=pal", "data.limits={train=60,test=10}", "model.layers=[4,9,3]",
        "precision.weights=0", "precision.formats={}", "protocol.halve_at=[1]", "protocol.epochs=2",
        "run.backend=native", *overrides]))
    runner = make_runner(found)
    runner.run()
    return {q.name: runner.value(f"{q.name}.w") for q in found.report.graph.projections
            if found.report.graph.rule_of(q)}


def test_the_sum_in_the_neuron_is_the_sum_at_the_synapse() -> None:
    """In float, with scales that are powers of two, the legal circuit learns what the written one does, but for the
    factor kernel(T) = 1 - (2/3)**5 that the last message carries."""
    last = 1 - (2 / 3) ** 5
    written = final_weights("precision.map=\"\"", f"model.eta=[{0.03125 * last},0.0078125]")
    legal = final_weights("model.eta=[0.03125,0.0078125]")
    for name, w in written.items():
        assert np.abs(legal[name] - w).max() < 1e-9 and w.std() > 0, name


def test_a_wrong_scale_is_noticed() -> None:
    written, legal = final_weights("precision.map=\"\""), final_weights()
    assert max(np.abs(legal[name] - w).max() for name, w in written.items()) > 1e-6


def test_legalising_twice_changes_nothing() -> None:
    graph = build_circuit(Model(circuit="pal", options={"layers": [4, 3, 2]}), [1])
    once = legalised(graph, the_map("loihi2"))
    assert legalised(once, the_map("loihi2")) == once
    assert {r.projection: r.legal for r in rule_reports(once, the_map("loihi2"))} == {
        "WPP_0": True, "WPP_1": True, "WIP_0": True, "BPP_0": False, "BPI_0": True}


# ---- the engine's integers

FIXED = ["data.name=yin_yang", "data.split=pal", "data.limits={train=40,test=10}", "model.layers=[4,6,3]", "protocol.epochs=1", "precision.weights=8", "precision.map=loihi2",
         "precision.calibration_steps=300", "run.backend=native"]


def test_factors_are_as_coarse_as_the_least_scale_demands() -> None:
    graph = compile_experiment(load_experiment("error_neuron_digits", [
        *FIXED, "model.variant=FA", "model.eta_fw=[0.01,0.01]"])).report.graph
    assert not engine_reasons(graph, the_map("loihi2"))
    assert any(name.endswith("_jitter") for cell in graph.cells for name, _ in cell.noise)


@pytest.mark.parametrize(("override", "says"), [
    ("precision.weights=12", "weight of 'WPP_0' has 12 bits; loihi2 has 8"),
    ("precision.messages=12\nprecision.factors=12", "has 12 bits; loihi2 has 7 and a sign"),
    ("precision.map=\"\"", "is below the least, 2.-10")])
def test_what_the_engine_cannot_hold_is_named(override: str, says: str) -> None:
    import re

    graph = compile_experiment(load_experiment("error_neuron_digits", [
        *FIXED, "model.variant=FA", "model.eta_fw=[0.01,0.01]", *override.split("\n")])).report.graph
    assert any(re.search(says, reason) for reason in engine_reasons(graph, the_map("loihi2")))
    assert not engine_reasons(graph, the_map("ideal"))


def test_the_engine_applies_a_sum_in_a_step_of_its_own_with_the_same_integers() -> None:
    """`dt = increment - u0*y2*t; dw = u0*y2*t`, both from the old t, against the sum that is applied with its last
    increment. Without the step of its own, the last increment would stay in the tag."""
    import torch
    from witness.circuit import Synapses

    from cortexc.reference.integers import Exact

    increments = np.random.default_rng(1).integers(-40, 41, (6, 3, 4))
    here = Synapses({"fraction": 3, "low": -128, "high": 127, "units": torch.zeros(1, 3, 4, dtype=torch.int64),
                     "place": 0, "kind": "accumulate", "tag": {"fraction": 6, "limit": 255}}, (1,))
    tag, weight, in_the_last_step = np.zeros((3, 4), int), np.zeros((3, 4), int), np.zeros((3, 4), int)
    for step, increment in enumerate(increments):
        here.sum_up(Exact(torch.tensor(increment)[None], 6), True, step == 5, step)
        if step == 5:
            in_the_last_step = np.clip(np.floor(tag / 8 + 0.5).astype(int), -128, 127)
        tag = np.clip(tag + increment, -255, 255)
    weight = np.clip(weight + np.floor(tag / 8 + 0.5).astype(int), -128, 127)
    assert (here.units[0].numpy() == weight).all() and (weight != in_the_last_step).any()
