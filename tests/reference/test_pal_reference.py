"""The oracle of PAL against the recorded trajectories of the published simulator.

Tolerances: 1e-10 absolute and 1e-8 of each component's range over the run. The recordings are numpy's, so
exponentials differ in the last bit; the look-ahead multiplies that by tau/dt = 526.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy
import pytest
import torch
from protocols import drawn_pal
from protocols import pal as pal_protocol
from replays import pal as replays

from cortexc.reference import pal
from cortexc.reference.pal_parameters import DERIVATIVES

DEFAULT_FOLDER = Path(__file__).parents[2] / ".." / "shared" / "golden"
FOLDER = Path(os.environ.get("CORTEXC_GOLDEN", DEFAULT_FOLDER))
FW_BW = ["111_fw_bw_noise", "111_fw_bw_FA", "232_fw_bw_noise", "232_fw_bw_nonoise"]
FW_BW += ["232_fw_bw_FA", "232_fw_bw_BP"]
BW_ONLY = ["111_bw_only_noise", "232_bw_only_noise", "232_bw_only_nonoise", "232_bw_only_taur0"]
NOT_MODELLED = r"(init|teacher)_\w+|white_\d+|taueff\w+|r0|u_tgt|flags|input_unshuffled|params_json"
FIG3 = drawn_pal.PalParameters((5, 20, 10, 20, 5), eta_bw=(50,), eta_PI=(5,), alpha=(1e-5,), sigma=(0.05,))

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def golden_file(name: str) -> Path:
    path = FOLDER / f"pal_{name}.npz"
    if not path.exists():
        pytest.skip(f"{path} is absent")
    return path


def load(name: str) -> dict[str, numpy.ndarray]:
    with numpy.load(golden_file(name)) as file:
        return dict(file)


def deviating(errors: Mapping[str, tuple[float, float]]) -> dict[str, tuple[float, float]]:
    return {name: pair for name, pair in errors.items() if not (pair[0] <= 1e-10 and pair[1] <= 1e-8)}


def read(arrays: Mapping[str, numpy.ndarray]) -> tuple[drawn_pal.PalParameters, pal_protocol.Protocol]:
    text = str(arrays["params_json"])
    return replays.published(drawn_pal.PalParameters, text), pal_protocol.Protocol.from_golden_json(text)


@pytest.mark.parametrize("name", FW_BW + BW_ONLY)
def test_trajectory(name):
    arrays, computed = load(name), replays.replay(golden_file(name))
    errors = replays.compare(arrays, computed)
    assert len(errors) == (26 if name.endswith(("FA", "BP")) else 33)
    assert [key for key in arrays if key not in errors and not re.fullmatch(NOT_MODELLED, key)] == []
    assert deviating(errors) == {}


def test_every_golden_file_is_covered():
    present = {path.stem for path in golden_file("232_fw_bw_noise").parent.glob("pal_*.npz")}
    assert present == {f"pal_{name}" for name in FW_BW + BW_ONLY} | {"pal_fig3_angles"}


@pytest.mark.parametrize("name", FW_BW + BW_ONLY)
def test_time_constants(name):
    arrays = load(name)
    parameters, _ = read(arrays)
    assert parameters.pyramidal_tau == pytest.approx(arrays["taueffP"], rel=1e-14)
    assert [parameters.interneuron_tau] == pytest.approx(arrays["taueffI"], rel=1e-14)


@pytest.mark.parametrize("name", FW_BW + BW_ONLY)
def test_seed_reproduces_start(name):
    arrays = load(name)
    parameters, protocol = read(arrays)
    start = pal.PalReference(parameters, drawn_pal.initial_state(parameters, protocol.first_seed)).snapshot()
    keys = [key for key in arrays if key.startswith("init_")]
    assert len(keys) == (26 if name.endswith(("FA", "BP")) else 33)
    for key in keys:
        # Rates hold an exponential, whose last bit belongs to the library; all else is drawn.
        tolerance = 1e-15 if key.startswith(("init_rP", "init_rI")) else 0
        assert abs(start[key[5:]][0].numpy() - arrays[key]).max() <= tolerance, key


@pytest.mark.parametrize("name", FW_BW + BW_ONLY)
def test_seed_reproduces_protocol_and_run(name):
    arrays = load(name)
    parameters, protocol = read(arrays)
    model = pal.PalReference(parameters, drawn_pal.initial_state(parameters, protocol.first_seed))
    no_target = torch.full((1, parameters.layers[-1]), torch.nan)
    stimuli = list(pal_protocol.legacy_protocol(parameters, protocol, [protocol.first_seed]))
    for stimulus in stimuli:
        model.step(*stimulus)
    assert numpy.array_equal(torch.cat([stimulus.r0 for stimulus in stimuli]), arrays["r0"])
    assert numpy.array_equal([stimulus[2:5] for stimulus in stimuli], arrays["flags"])
    targets = torch.cat([no_target if s.u_target is None else s.u_target for s in stimuli])
    numpy.testing.assert_allclose(targets, arrays["u_tgt"], rtol=0, atol=1e-12)  # hold exponentials
    for layer, size in enumerate(parameters.layers[1:-1]):
        drawn = [torch.zeros(1, size) if s.white is None else s.white[layer] for s in stimuli]
        assert numpy.array_equal(torch.cat(drawn), arrays[f"white_{layer}"])
    last = {key: value[-1:] for key, value in arrays.items() if key in model.snapshot()}
    errors = replays.compare(last, {key: value.numpy() for key, value in model.snapshot().items()})
    assert errors and max(absolute for absolute, _ in errors.values()) <= 1e-10


@pytest.mark.parametrize("name", FW_BW)
def test_seed_reproduces_teacher(name):
    arrays = load(name)
    _, protocol = read(arrays)
    seed = pal_protocol.teacher_seed(protocol.first_seed)
    weights = drawn_pal.draw_weights(protocol.teacher, seed)
    assert seed == arrays["teacher_seed"] == 873630
    assert pal_protocol.teacher_seed(456) == 166149
    for layer, weight in enumerate(weights.forward):
        assert numpy.array_equal(weight[0], arrays[f"teacher_WPP_{layer}"])
    inputs = pal_protocol.protocol_inputs(protocol).repeat_interleave(protocol.presentation_steps, 0)
    assert numpy.array_equal(inputs, arrays["input_unshuffled"])
    output = pal_protocol.teacher_output(protocol)
    numpy.testing.assert_allclose(output, arrays["teacher_target_raw"], rtol=0, atol=1e-12)


FAULTS: dict[str, object] = {"dt": 0.01001, "tau_xi": 0.1001, "tau_HP": 0.1001, "tau_LO": 100.1}
FAULTS |= {"gl": 0.03003, "gbas": 0.1001, "gapi": 0.06006, "gden": 0.1001, "gnI": 0.06006, "gntgt": 0.06006}
FAULTS |= {"eta_fw": (2, 0.5005), "eta_IP": (10.01,), "eta_PI": (0.5005,), "eta_bw": (20.02,)}
FAULTS |= {"sigma": (0.05005,), "alpha": (1.001e-6,), "activation": ("logistic", "tanh"), "variant": "FA"}
FAULTS |= {"taur": 0.999}
FAULTS |= dict.fromkeys(("dWPP_use_activation", "dWPP_low_pass", "pyr_hi_pass"), False)


@pytest.mark.parametrize("field", FAULTS)
def test_planted_fault_is_found(field):
    arrays, path = load("232_fw_bw_noise"), golden_file("232_fw_bw_noise")
    parameters = replace(read(arrays)[0], **{field: FAULTS[field]})
    assert deviating(replays.compare(arrays, replays.replay(path, parameters)))


def test_comparison_refuses_nan_and_shapes():
    truth = {"x": numpy.ones((4, 2)), "zero": numpy.zeros((4, 1))}
    assert replays.compare(truth, {"x": truth["x"] + 1e-3}) == {"x": pytest.approx((1e-3, 1e-3))}
    assert replays.compare(truth, {"zero": truth["zero"] + 1e-3}) == {"zero": (1e-3, 0)}
    assert replays.compare(truth, {"x": truth["x"] * numpy.nan})["x"][0] == numpy.inf
    with pytest.raises(ValueError, match="recorded"):
        replays.compare(truth, {"x": truth["x"][:1]})


@pytest.mark.parametrize("activation", sorted(pal.ACTIVATIONS))
@pytest.mark.parametrize("layers", [(5, 20, 10, 20, 5), (3, 17, 3), (1, 1, 1)])
@pytest.mark.parametrize("variant", ["PAL", "FA", "BP"])
def test_batch_has_the_bits_of_single_runs(variant, layers, activation):
    rates = dict.fromkeys(("eta_fw", "eta_IP", "eta_PI", "eta_bw", "sigma"), (0.1,))
    ranges = {f"init_{name}_range": (-0.3, 0.3) for name in pal.WEIGHTS}
    parameters = drawn_pal.PalParameters(layers, variant, (activation,), **rates, **ranges)
    protocol = pal_protocol.Protocol("fw_bw", 3, 20, 20, 1, 123, parameters)
    seeds = [123, 456, 7]
    batch = final_snapshot(parameters, protocol, seeds)
    for row, seed in enumerate(seeds):
        single = final_snapshot(parameters, protocol, [seed])
        assert all(torch.equal(batch[name][row], single[name][0]) for name in batch)
        assert all(value.isfinite().all() for value in single.values())


def final_snapshot(parameters: drawn_pal.PalParameters, protocol: pal_protocol.Protocol, seeds: list[int]) -> dict:
    start = drawn_pal.stack_states([drawn_pal.initial_state(parameters, seed) for seed in seeds])
    model = pal.PalReference(parameters, start)
    for stimulus in pal_protocol.legacy_protocol(parameters, protocol, seeds):
        model.step(*stimulus)
    return model.snapshot()


def test_bad_parameters_are_refused():
    with pytest.raises(ValueError, match="eta_bw has 3 values; expected 1 or 1"):
        drawn_pal.PalParameters((2, 3, 2), eta_bw=(1, 2, 3))
    with pytest.raises(ValueError, match="'cubic'"):
        drawn_pal.PalParameters((2, 3, 2), activation=("cubic",))
    with pytest.raises(ValueError, match="white"):
        pal.PalReference(FIG3, drawn_pal.initial_state(FIG3, 1)).step(torch.rand(1, 5), None, False, True, True)


@pytest.mark.parametrize("name", sorted(set(pal.ACTIVATIONS) - {"hard_sigmoid"}))
def test_derivative(name):
    x = torch.linspace(-4, 4, 50, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(pal.ACTIVATIONS[name](x).sum(), x)
    torch.testing.assert_close(DERIVATIVES[name](x), slope, rtol=1e-12, atol=1e-12)


def test_backprop_update_is_the_gradient():
    parameters = replace(FIG3, activation=("tanh", "logistic", "soft_relu", "logistic"))
    start = drawn_pal.stack_states([drawn_pal.initial_state(parameters, seed) for seed in (1, 2)])
    r0, target = torch.rand(2, 5, dtype=torch.float64), torch.rand(2, 5, dtype=torch.float64)
    weights = [weight.clone().requires_grad_() for weight in start.forward]
    rate, voltage = r0, r0
    for name, scale, weight in zip(parameters.activation, parameters.basal_attenuation, weights, strict=True):
        voltage = scale * torch.einsum("sij,sj->si", weight, rate)
        rate = pal.ACTIVATIONS[name](voltage)
    gradients = torch.autograd.grad(((target - voltage) ** 2).sum() / 2, weights)
    updates = pal_protocol.backprop_update(parameters, start.forward, r0, target)
    for update, gradient in zip(updates, gradients, strict=True):
        torch.testing.assert_close(update, -gradient, rtol=1e-12, atol=1e-14)


def test_output_update_against_backprop_matches_published_angle():
    """The published angle of the output layer, mean of ten seeds, starts at 8.0 degrees (section 5.1, BP)."""
    parameters, seeds = replace(FIG3, variant="FA", eta_fw=(1,)), [123, 456, 789, 111, 222, 1, 3, 5, 7, 9]
    protocol = pal_protocol.Protocol("fw_bw", 1, 60, 0, 1, 123, parameters)
    target = pal_protocol.teacher_output(protocol)[-1:].expand(10, -1)
    r0 = pal_protocol.protocol_inputs(protocol).expand(10, -1)
    model = pal.PalReference(parameters, drawn_pal.stack_states([drawn_pal.initial_state(parameters, s) for s in seeds]))
    for _ in range(60):
        model.step(r0, target, False, False, False)
    wanted = pal_protocol.backprop_update(parameters, model.state.forward, r0, target)
    assert pal_protocol.angle(model.state.forward_change[-1], wanted[-1]).mean().item() == pytest.approx(8.0, abs=0.05)


def test_self_predicting_state_silences_the_apical_dendrite():
    model = pal.PalReference(FIG3, drawn_pal.initial_state(FIG3, 5))
    for _ in range(50):
        model.step(torch.full((1, 5), 0.3), None, False, False, False)
    assert max(apical.abs().max() for apical in model.state.apical) < 1e-12
    twin_gaps = map(torch.sub, model.state.interneuron_rate, model.state.pyramidal_rate[1:])
    assert max(gap.abs().max() for gap in twin_gaps) < 1e-12


def test_low_pass_and_activation_options():
    fixed = replace(FIG3, variant="FA", eta_fw=(1,), activation=("linear",))
    assert (fixed.low_pass, FIG3.low_pass, replace(fixed, dWPP_low_pass=True).low_pass) == (False, True, True)
    runs = {}
    for options in ({}, {"dWPP_low_pass": True}, {"dWPP_use_activation": False}):
        model = pal.PalReference(replace(fixed, **options), drawn_pal.initial_state(fixed, 1))
        model.step(torch.ones(1, 5), None, True, False, False)
        model.step(torch.ones(1, 5), None, True, False, False)
        runs[tuple(options)] = model.state
    raw, low, plain = (runs[key].forward for key in runs)
    assert all(torch.equal(a, b) for a, b in zip(raw, plain, strict=True))
    assert all((a - b).abs().max() > 1e-4 for a, b in zip(raw, low, strict=True))


@pytest.mark.slow
def test_published_angles_of_figure_3():
    """Rows 0 to 12 of the authors' own angle curves; row k is the state after call 1000 k + 999."""
    angles = load("fig3_angles")
    protocol = pal_protocol.Protocol("bw_only", 100, 100, 10000, 1, 123, FIG3)
    model = pal.PalReference(FIG3, drawn_pal.initial_state(FIG3, 123))
    for call, stimulus in enumerate(pal_protocol.legacy_protocol(FIG3, protocol, [123])):
        if call == 13000:
            break
        model.step(*stimulus)
        if call % 1000 == 999:
            published = [angles[f"fig3abc_{name}"][:1, call // 1000] for name in ("WPPT_BPP", "BPP_RHS")]
            computed = [pal_protocol.transpose_angles(model.state), pal_protocol.jacobian_angles(FIG3, model.state)]
            numpy.testing.assert_allclose(torch.stack(computed), published, rtol=0, atol=1e-10)
