"""What becomes 0 in fixed point is counted, said, and has a remedy: a unit per group of synapses."""

from __future__ import annotations

import json
import warnings
from dataclasses import replace

import numpy as np
import pytest
from underflow_cases import LEARNS, SCALES, learning_scales, learns, scales, scales_arrays

from cortexc.compiler.cli.app import execute
from cortexc.compiler.cli.runs import run_summary
from cortexc.compiler.experiments.compilation import compile_experiment, make_runner
from cortexc.compiler.experiments.config import load_experiment
from cortexc.compiler.experiments.formats import format_rows, format_text
from cortexc.compiler.experiments.questions import verify_experiment
from cortexc.compiler.experiments.sampling import gates_at
from cortexc.compiler.experiments.session import Session, run_experiment
from cortexc.compiler.experiments.underflow import Underflow
from cortexc.compiler.ir import CortexError
from cortexc.compiler.ir.errors import CortexWarning
from cortexc.compiler.passes.group_weights import GroupWeights, _Spread
from cortexc.compiler.verify.mutation.campaign import plain_python

AUTO = "precision.groups=auto"


@pytest.fixture(autouse=True)
def plain():
    with plain_python():
        yield


def quiet(experiment, folder=None):
    """The results, with any coded warning as an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", CortexWarning)
        return run_experiment(experiment, folder)


def recorded(folder, quantity):
    return np.load(folder / "records.npz")[f"all/{quantity}"]


def spikes_in_integers(units: np.ndarray, fraction: int) -> int:
    """Case `scales` by hand: weights are `units` * 2**-fraction, the membrane has 15 bits of fraction, 0.9 is 3686/4096
    (12 significant bits of its distance from 1: 0.1 is 3277/32768)."""
    inputs, leak = scales_arrays()[0].astype(np.int64), 32768 - 3277
    v, count = np.zeros(3, np.int64), 0
    for row in inputs:
        spike = v > 2**15
        count += int(spike.sum())
        exact = np.where(spike, 0, leak * v) + (((units @ row) << 30) >> fraction)  # 2**-30
        v = (exact + 2**14) >> 15
    return count


def test_weights_that_become_0_are_counted_and_said(tmp_path):
    with pytest.warns(CortexWarning, match=r"E620 150 of 156 non-zero values of 'parallel.w' \(96\.2 %\).*0\.25; .*10 %"):
        results = run_experiment(scales(tmp_path, "precision.count=true"), tmp_path / "run")
    (found,) = results["precision"]["underflow"]
    assert (found["quantity"], found["kind"], found["zero"], found["of"]) == ("parallel.w", "array", 150, 156)
    assert found["share"] == 150 / 156 and found["unit"] == 0.25 and found["basis"] == "array"
    assert [w["code"] for w in results["precision"]["warnings"]] == ["E620"]
    assert "saturated        nothing\n  became 0         parallel.w 150 of 156 (96.2 %)" in run_summary(results)
    assert json.loads((tmp_path / "run" / "results.json").read_text())["precision"]["underflow"] == [found]
    assert recorded(tmp_path / "run", "B.spike").sum() == 33


def test_a_unit_per_group_keeps_them(tmp_path):
    results = quiet(scales(tmp_path, AUTO, "precision.count=true"), tmp_path / "run")
    assert results["precision"]["underflow"] == [] and "became 0         nothing" in run_summary(results)
    weights = recorded(tmp_path / "run", "parallel.w")
    assert weights.shape == (300, 1, 3, 52)
    assert set(np.unique(weights)) == {49 / 4096, 9.0}  # 0.012 to the nearest at 8 bits, 0.3 % below
    units = (weights[0, 0] * 4096).astype(np.int64)
    assert recorded(tmp_path / "run", "B.spike").sum() == spikes_in_integers(units, 12) == 213


def test_more_bits_and_groups_give_the_spikes_of_the_float_circuit(tmp_path):
    quiet(scales(tmp_path, AUTO, "precision.weights=10"), tmp_path / "run")
    quiet(scales(tmp_path, "precision.weights=0"), tmp_path / "real")
    assert recorded(tmp_path / "run", "B.spike").sum() == recorded(tmp_path / "real", "B.spike").sum() == 216


def test_an_increment_below_half_a_unit_that_rounds_to_the_nearest_is_said(tmp_path):
    experiment = learns(tmp_path, "precision.rounding=nearest", steps=100)
    says = r"E621 no increment ever reaches 'W.w': the largest in the calibration run is 0\.001, 0\.128 of its unit"
    with pytest.warns(CortexWarning, match=says):
        results = run_experiment(experiment)
    (found,) = results["precision"]["underflow"]
    assert (found["kind"], found["share"], found["zero"], found["basis"]) == ("increments", 1.0, None, "range")
    assert "became 0         increments of W.w all" in run_summary(results)
    assert (found["largest"], found["unit"]) == (0.001, 1 / 128)


def test_an_increment_of_half_a_unit_is_none(tmp_path):
    experiment = learns(tmp_path, "precision.rounding=nearest", steps=40, eta=1 / 256)
    assert quiet(experiment, tmp_path / "run")["precision"]["underflow"] == []
    weights = recorded(tmp_path / "run", "W.w")
    assert weights.max() > 0.5 and set(np.unique(weights * 128) % 1) == {0.0}


def test_an_increment_just_below_half_a_unit_is_lost(tmp_path):
    experiment = learns(tmp_path, "precision.rounding=nearest", steps=40, eta=0.99 / 256)
    assert [(u.quantity, u.basis) for u in compile_experiment(experiment).underflow] == [("W.w", "range")]


def test_increments_rounded_at_random_are_right_on_average(tmp_path):
    quiet(learns(tmp_path), tmp_path / "run")
    found = recorded(tmp_path / "run", "W.w")[-1, 0]
    arrays = np.load(tmp_path / "inputs.npz")
    pairs = arrays["B.force"].T @ arrays["A.value"]
    share = 0.001 * 64
    deviation = np.sqrt(pairs * share * (1 - share)) / 64
    assert (np.abs(found - (0.5 + 0.001 * pairs)) < 4 * deviation).all() and deviation.max() < 0.1


def test_increments_that_the_random_numbers_cannot_tell_from_0_are_said(tmp_path):
    experiment = learns(tmp_path, steps=40, eta=4e-10)
    with pytest.warns(CortexWarning, match="E621 no increment ever reaches 'W.w'"):
        run_experiment(experiment)


@pytest.mark.parametrize(("optimiser", "tags", "lost"), [
    ("low_pass(0.01)", 9, {"W.w"}), ("low_pass(0.0009765625)", 4, {"W.tag", "W.w"}), ("low_pass(0.01)", 16, {"W.w"})])
def test_tags_that_nothing_reaches_or_leaves_are_said(tmp_path, optimiser, tags, lost):
    experiment = learns(tmp_path, "precision.rounding=nearest", f"precision.tags={tags}", steps=100, optimiser=optimiser)
    assert {u.quantity for u in compile_experiment(experiment).underflow if u.basis == "range"} == lost


# ---- what the calibration run samples

GRADED = ("eta * post.spike * pre.spike", "eta * post.spike * pre.value")


def graded(folder, *options, optimiser="", eta=0.02):
    """`learns` with graded inputs; increments per step and synapse beside it. Every step but the first is sampled."""
    experiment = learns(folder, "precision.rounding=nearest", 'precision.formats={"W.w"="u8.6"}', *options, steps=200,
                        optimiser=optimiser, eta=eta)
    text = (folder / "circuit.ir").read_text().replace(*GRADED)
    (folder / "circuit.ir").write_text(text)
    arrays = dict(np.load(folder / "inputs.npz"))
    arrays["A.value"] *= np.floor(np.random.default_rng(5).random(arrays["A.value"].shape) * 64) / 64
    np.savez(folder / "inputs.npz", **arrays)
    return experiment, arrays["B.force"][:, :, None] * arrays["A.value"][:, None, :] * eta


def test_sampled_increments_are_counted_as_by_hand(tmp_path):
    experiment, increments = graded(tmp_path)
    (found,) = compile_experiment(experiment).underflow
    lost = (increments[1:] > 0) & (increments[1:] < 1 / 128)
    assert (found.zero, found.of, found.basis) == (lost.sum(), (increments[1:] > 0).sum(), "calibration")
    assert found.size == pytest.approx(increments[1:][lost].sum() / increments[1:].sum(), rel=1e-12)
    assert found.largest == increments[1:].max() and 0.2 < found.share < 0.8 and not found.loud


def test_sampled_changes_of_a_tag_are_counted_as_by_hand(tmp_path):
    experiment, increments = graded(tmp_path, 'precision.formats={"W.w"="u8.6","W.low_pass"="8.9"}',
                                    optimiser="low_pass(0.25)", eta=1 / 32)
    found = {u.quantity: u for u in compile_experiment(experiment).underflow}
    held, counts = np.zeros((2, 4)), np.zeros(4, int)
    for step, increment in enumerate(increments):
        exact, old = 0.25 * (increment - held), np.floor(held * 512 + 0.5)
        still = np.floor((0.75 * old / 512 + 0.25 * increment) * 512 + 0.5) == old
        held = held + exact
        if step:
            weak = np.floor(np.floor(held * 512 + 0.5) / 512 * 64 + 0.5) == 0
            counts += [(still & (exact != 0)).sum(), (exact != 0).sum(), (weak & (held != 0)).sum(), (held != 0).sum()]
    assert [found["W.tag"].zero, found["W.tag"].of] == counts[:2].tolist()
    assert [found["W.w"].zero, found["W.w"].of] == counts[2:].tolist() and 0 < counts[2] < counts[3]


def test_what_is_sampled_is_what_a_run_counts(tmp_path):
    experiment, increments = graded(tmp_path, "precision.count=true")
    counted = counts(run_experiment(experiment))["W.w"]
    assert counted == (((increments > 0) & (increments < 1 / 128)).sum(), (increments > 0).sum())


def test_sampled_signals_are_counted_as_by_hand(tmp_path):
    """A rate of up to 1 in 3 bits has a unit of 1/2: below 1/4 nothing is sent."""
    text = SCALES.replace("send spike = where(value > 0, 1, 0)", "send spike = value")
    experiment = scales(tmp_path, "precision.messages=3", circuit=text)
    rates = np.floor(np.random.default_rng(3).random((300, 52)) ** 16 * 2**10) / 2**10
    np.savez(tmp_path / "inputs.npz", **{"A.value": rates})
    chosen = rates[1:, sampled_cells(52)]
    found = {u.quantity: u for u in compile_experiment(experiment).underflow}["A.spike_sent"]
    assert (found.zero, found.of) == (((chosen > 0) & (chosen < 1 / 4)).sum(), (chosen > 0).sum())
    assert found.kind == "signal" and found.basis == "calibration"


def sampled_cells(size: int) -> np.ndarray:
    """Those of the first population, behind the draw of the steps."""
    draw = np.random.default_rng(0)
    draw.permutation(np.arange(1, 300))
    return draw.permutation(size)[:32]


def test_factors_rounded_at_random_are_not_lost(tmp_path):
    text = LEARNS.replace("send spike = where(force > 0, 1, 0)", "send spike = where(force > 0, 1, 0)\n  factor small = force / 1000")
    text = text.replace("eta * post.spike", "eta * post.small")
    lost = {}
    for rounding in ("nearest", "stochastic"):
        experiment = learns(tmp_path, f"precision.factor_rounding={rounding}", "precision.factors=4", steps=100, eta=1.0)
        (tmp_path / "circuit.ir").write_text(text.format(eta=1.0, optimiser=""))
        arrays = dict(np.load(tmp_path / "inputs.npz"))
        np.savez(tmp_path / "inputs.npz", **arrays | {"B.force": arrays["B.force"] + 1000 * (np.arange(100) == 50)[:, None]})
        lost[rounding] = {u.quantity for u in compile_experiment(experiment).underflow if u.share > 0.8}
    assert lost == {"nearest": {"B.small_factor", "W.w"}, "stochastic": set()}


def test_increments_that_matter_little_are_no_reason_to_warn(tmp_path):
    """Of a trace that decays most values are tiny; what is lost must be most of the change, too."""
    few = Underflow("W.w", "increments", 0.95, 95, 100, 1 / 64, 1.0, "calibration", size=0.05)
    assert not few.loud and replace(few, size=0.6).loud and not replace(few, share=0.9, size=0.6).loud


def test_gates_of_a_step_are_those_of_the_feed():
    experiment = load_experiment("pal_digits", ["data.name=yin_yang", "data.split=pal", "protocol.epochs=2",
                                                "data.limits={train=9,test=3}", "model.layers=[4,6,3]", "run.backend=native"])
    found = compile_experiment(experiment)
    feed, names = make_runner(found).feed, found.report.graph.gates
    block = feed.block(feed.total)
    for step in range(0, feed.total, 7):
        gates = gates_at(found.plan.protocol, step)
        assert [gates.get(name, 0.0) for name in names] == block.gates[step, 1:].tolist(), step


# ---- what a run counts


def counts(results) -> dict[str, tuple[int, int]]:
    return {u["quantity"]: (u["zero"], u["of"]) for u in results["precision"]["underflow"] if u["basis"] == "run"}


@pytest.mark.parametrize("backend", ["interpreter", "native"])
def test_lost_increments_are_counted_per_synapse_and_step(tmp_path, backend):
    experiment = learns(tmp_path, "precision.rounding=nearest", "precision.count=true", f"run.backend={backend}")
    with pytest.warns(CortexWarning) as caught:
        results = run_experiment(experiment)
    arrays = np.load(tmp_path / "inputs.npz")
    pairs = int((arrays["B.force"].T @ arrays["A.value"]).sum())
    assert counts(results) == {"W.w": (pairs, pairs)} and len(caught) == 1
    assert f"became 0         increments of W.w {pairs:,} of {pairs:,} (100 %)" in run_summary(results)


def test_an_increment_that_arrives_is_not_lost(tmp_path):
    options = ("precision.rounding=nearest", "precision.count=true", 'precision.formats={"W.w"="u8.6"}')
    assert counts(quiet(learns(tmp_path, *options, steps=60, eta=1 / 128))) == {}
    few = run_experiment(learns(tmp_path, *options, steps=60, eta=0.0078))
    assert counts(few)["W.w"][0] == counts(few)["W.w"][1] > 0


def test_rounding_at_random_loses_only_what_no_draw_tells_from_0(tmp_path):
    """Steps of eta in units of 1/64: 2^-25 is lost, 2^-24 is not."""
    options = ('precision.formats={"W.w"="u8.6"}', "precision.coefficients=24")
    with pytest.warns(CortexWarning, match="E621 no increment ever reaches 'W.w'"):
        run_experiment(learns(tmp_path, *options, steps=60, eta=2.0**-31))
    assert quiet(learns(tmp_path, *options, steps=60, eta=2.0**-30))["precision"]["underflow"] == []


def test_samples_know_what_no_draw_tells_from_0(tmp_path):
    experiment, increments = graded(tmp_path, "precision.rounding=stochastic", "precision.coefficients=24", eta=2.0**-28)
    (found,) = compile_experiment(experiment).underflow
    increments = increments[1:]
    assert (found.zero, found.of) == ((increments[increments > 0] < 2.0**-30).sum(), (increments > 0).sum())


def test_tags_count_what_does_not_move_them(tmp_path):
    options = ("precision.rounding=nearest", "precision.count=true", "precision.tags=4")
    with pytest.warns(CortexWarning):
        results = run_experiment(learns(tmp_path, *options, steps=200, optimiser="low_pass(0.0009765625)"))
    arrays = np.load(tmp_path / "inputs.npz")
    pairs = int((arrays["B.force"].T @ arrays["A.value"]).sum())
    assert counts(results) == {"W.tag": (pairs, pairs)}
    sums = counts(run_experiment(learns(tmp_path, *options, steps=200, optimiser="accumulate")))
    assert sums == {"W.tag": (pairs, pairs)}


def test_a_circuit_that_counts_is_verified_against_the_integer_reference():
    experiment = load_experiment("pal_digits", [
        "data.name=yin_yang", "data.split=pal", "data.limits={train=4,test=2}", "model.layers=[4,6,3]", "run.backend=native",
        "protocol.epochs=1", "protocol.validation=\"\"", "precision.weights=8", "precision.count=true",
        "precision.calibration_steps=50"])
    result = verify_experiment(experiment, steps=60)
    assert result.passed and result.evidence == "independent-reference"


def test_signals_count_what_their_width_makes_0(tmp_path):
    """A rate of up to 1 in 4 bits has a unit of 1/4: below 1/8 nothing is sent."""
    text = SCALES.replace("send spike = where(value > 0, 1, 0)", "send spike = value")
    experiment = scales(tmp_path, "precision.count=true", "precision.messages=4", circuit=text)
    rates = np.random.default_rng(3).random((300, 52)) ** 8
    np.savez(tmp_path / "inputs.npz", **{"A.value": rates})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CortexWarning)
        found = counts(run_experiment(experiment))
    enter = np.floor(rates * 2**19 + 0.5) / 2**19
    assert found["A.value_in"] == ((enter == 0).sum(), rates.size)
    assert found["A.spike_sent"] == (((enter > 0) & (enter < 1 / 8)).sum(), (enter > 0).sum())


def test_formats_say_what_became_0(tmp_path):
    rows = {r.quantity: r for r in format_rows(scales(tmp_path), steps=20)}
    assert rows["parallel.w"].zero == 150 / 156 and rows["parallel.w"].lost is None
    grouped = {r.quantity: r for r in format_rows(scales(tmp_path, AUTO), steps=20)}
    assert {n: (r.format, r.zero) for n, r in grouped.items() if n.startswith("parallel")} == {
        "parallel_group_1.w": ("int8 * 2**-2", 0.0), "parallel_group_2.w": ("int8 * 2**-12", 0.0)}
    assert grouped["parallel_group_2.w"].deviation == abs(49 / 4096 - 0.012)
    assert "became 0" in format_text(list(rows.values())) and "96.2 %" in format_text(list(rows.values()))
    nearest = format_rows(learns(tmp_path, "precision.rounding=nearest", steps=100), steps=20)
    assert {r.quantity: r.lost for r in nearest}["W.w"] == 1.0


def test_the_command_line_warns_on_stderr_and_prints_one_object(tmp_path, capfd):
    scales(tmp_path)
    code = execute(["run", str(tmp_path / "exp.toml"), "-o", str(tmp_path / "run"), "--json", "--no-progress"])
    out, err = capfd.readouterr()
    assert code == 0 and err.startswith("warning E620 150 of 156") and err.count("E620") == 1
    assert json.loads(out)["precision"]["warnings"][0]["code"] == "E620"


# ---- groups


def magnitudes(name: str) -> np.ndarray:
    g = np.random.default_rng(1)
    return {"normal": np.abs(g.normal(size=4000)), "uniform": g.random(4000), "none": np.zeros(0),
            "two": np.r_[np.full(150, 0.012), np.full(6, 9.0)], "decades": 10 ** g.uniform(-6, 0, 4000),
            "lognormal": g.lognormal(0, 2, 4000)}[name]


@pytest.mark.parametrize(("name", "bits", "count"), [
    ("normal", 8, 1), ("uniform", 8, 1), ("uniform", 4, 4), ("none", 8, 1), ("two", 8, 2), ("two", 12, 2), ("decades", 8, 4),
    ("decades", 12, 3), ("lognormal", 12, 2), ("lognormal", 16, 1)])
def test_groups_are_as_many_as_the_spread_takes(name, bits, count):
    found = _Spread(magnitudes(name), bits, False)
    assert len(GroupWeights(bits)._limits(found)) + 1 == count
    errors = [found.rounded(k)[1] for k in range(1, 6)]
    assert errors == sorted(errors, reverse=True)


def test_a_cut_lies_where_the_error_is_least():
    """Against every cut between octaves."""
    found = _Spread(magnitudes("lognormal"), 8, False)
    by_hand = min(found._rounded(0, at)[1] + found._rounded(at, len(found.values))[1] for at in found.starts[1:-1])
    assert found.rounded(2)[1] * len(found.values) == pytest.approx(by_hand, rel=1e-12)


def test_weights_with_a_format_of_their_own_are_left_alone(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CortexWarning)
        found = compile_experiment(scales(tmp_path, AUTO, 'precision.formats={"parallel.w"="8.2"}'))
    assert not found.parts
    narrow = compile_experiment(scales(tmp_path, AUTO, 'precision.formats={"parallel.w"="6"}'))
    assert narrow.parts == {"parallel": ("parallel_group_1", "parallel_group_2")}
    assert np.unique(narrow.report.graph.arrays["parallel_group_2.w"]).tolist() == [0.0, 12 / 1024]


def test_names_of_the_user_are_left_alone(tmp_path):
    text = SCALES.replace("output", "projection parallel_group_2 static A -> B\noutput")
    experiment = scales(tmp_path, AUTO, circuit=text)
    inputs, weights = scales_arrays()
    np.savez(tmp_path / "start.npz", **{"parallel.w": weights, "parallel_group_2.w": np.ones((3, 52))})
    found = compile_experiment(experiment)
    assert found.parts == {"parallel": ("parallel_group_1", "parallel_group_3")}


def test_a_number_of_groups_may_be_given(tmp_path):
    inputs, weights = scales_arrays()
    experiment = scales(tmp_path, "precision.groups=3")
    np.savez(tmp_path / "start.npz", **{"parallel.w": weights * np.linspace(0.3, 1, 52)})
    assert len(compile_experiment(experiment).parts["parallel"]) == 3


def test_copied_weights_are_refused(tmp_path):
    text = SCALES.replace("output", "projection copy static A -> B\nmirror copy = parallel : negate\noutput")
    experiment = scales(tmp_path, AUTO, circuit=text)
    inputs, weights = scales_arrays()
    np.savez(tmp_path / "start.npz", **{"parallel.w": weights, "copy.w": -weights})
    with pytest.raises(CortexError, match="E623 .*'parallel' span more than one unit.*mirror 'copy = parallel'"):
        compile_experiment(experiment)


@pytest.mark.parametrize(("optimiser", "rounding"), [
    ("", "nearest"), ("", "shared"), ("  optimiser low_pass(0.1)\n", "stochastic"), ("  optimiser accumulate\n", "stochastic")])
def test_groups_that_learn_are_the_same_on_both_backends(tmp_path, optimiser, rounding):
    found = {}
    for backend in ("interpreter", "native"):
        options = (AUTO, f"precision.rounding={rounding}", f"run.backend={backend}", "precision.count=true")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", CortexWarning)
            found[backend] = run_experiment(learning_scales(tmp_path, *options, optimiser=optimiser), tmp_path / backend)
    first, second = (np.load(tmp_path / backend / "records.npz") for backend in found)
    assert all(np.array_equal(first[name], second[name]) for name in first) and "all/parallel.w" in first
    assert (first["all/parallel.w"][0] != first["all/parallel.w"][-1]).any()
    one, two = (each["precision"] for each in found.values())
    assert one["underflow"] == two["underflow"] and one["saturated"] == two["saturated"]


@pytest.mark.lava
@pytest.mark.parametrize("granularity", ["population", "network"])
def test_groups_that_learn_have_the_same_bits_on_lava(tmp_path, granularity):
    options = (AUTO, "precision.count=true")
    for backend in ("interpreter", "lava"):
        run_experiment(learning_scales(tmp_path, *options, f"run.backend={backend}", f"run.granularity={granularity}"),
                       tmp_path / backend)
    first, second = (np.load(tmp_path / backend / "records.npz") for backend in ("interpreter", "lava"))
    assert all(np.array_equal(first[name], second[name]) for name in first)
    assert (first["all/parallel.w"][0] != first["all/parallel.w"][-1]).any()


def test_a_resumed_run_with_groups_ends_with_the_same_weights(tmp_path):
    experiment = learning_scales(tmp_path, AUTO)
    whole = run_experiment(experiment)["weights_sha256"]
    run_experiment(experiment, tmp_path / "run", steps=120)
    assert run_experiment(experiment, tmp_path / "run", resume=True)["weights_sha256"] == whole


def test_weights_of_groups_are_read_and_set_by_the_projections_name(tmp_path):
    with Session(learning_scales(tmp_path, AUTO)) as session:
        session.step(5)
        half = np.floor(session.get("parallel.w") * 2048) / 4096 * (np.arange(52) < 50)
        session.set("parallel.w", half)
        assert half.any() and np.array_equal(session.get("parallel.w"), half)
        with pytest.raises(CortexError, match="X204 .*parallel_group_1.w.*multiples of 0.25"):
            session.set("parallel.w", half + 0.1 * (np.arange(52) >= 50))
        assert np.array_equal(session.get("parallel.w"), half)


def test_experiments_without_groups_keep_their_digest(tmp_path):
    plain, grouped = scales(tmp_path), scales(tmp_path, AUTO)
    assert "groups" in grouped.tables()["precision"] and plain.sha256() != grouped.sha256()
