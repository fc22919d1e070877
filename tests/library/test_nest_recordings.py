"""Recordings of NEST, whole networks: what `verify --golden` says of them, and of what is wrong with them."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cortexc.compiler.experiments.questions import verify_recording_file
from cortexc.compiler.ir import CortexError
from cortexc.compiler.verify import Result, load_recording, verify_golden, verify_recording

OWN = sorted(Path(__file__).with_name("recordings").glob("nest_*.npz"))
GOLDEN = Path(os.environ.get("CORTEXC_GOLDEN", Path(__file__).parents[2] / ".." / "shared" / "golden"))
FILES = [*OWN, *sorted(GOLDEN.glob("nest_*.npz"))]
PLASTIC, FIXED = GOLDEN / "nest_stdp_additive.npz", Path(__file__).with_name("recordings") / "nest_lif_delta.npz"
each = pytest.mark.parametrize("file", FILES, ids=[file.stem for file in FILES])


def changed(folder: Path, file: Path, about: dict[str, Any] | str | None = None, **arrays: np.ndarray | None) -> Path:
    """The recording with other arrays, None: without; `about`: other entries of it, or another text."""
    if not file.exists():
        pytest.skip("no recorded trajectories")
    with np.load(file) as found:
        kept = {**found, **arrays}
    text = about if isinstance(about, str) else json.dumps({**json.loads(str(kept["about"])), **(about or {})})
    path = folder / "changed.npz"
    np.savez(path, **{name: value for name, value in {**kept, "about": np.array(text)}.items() if value is not None})
    return path


def native(path: Path) -> Result:
    return verify_golden(path, "native", "network")


@each
def test_a_recording_is_what_the_librarys_circuit_does(file: Path) -> None:
    result = native(file)
    assert result.outcome == "verified", result.reasons
    drawn = {"spikes"} if "urbanczik" in file.stem else set()
    assert {"spikes", "V_m"} - drawn <= result.variables.keys() and result.evidence == "published-simulator"
    assert not result.not_compared


@pytest.mark.lava
def test_a_plastic_network_of_nest_on_lava() -> None:
    if not PLASTIC.exists():
        pytest.skip("no recorded trajectories")
    assert verify_golden(PLASTIC, "lava", "population").passed


def test_interpreter_and_native_at_every_granularity_if_nothing_is_said(tmp_path: Path) -> None:
    result = verify_recording_file(str(changed(tmp_path, FIXED, {"duration_ms": 30.0}, **shortened(FIXED, 30.0))))
    assert [(r.on, r.granularity, r.passed) for r in result.granularities] == [
        ("interpreter", "network", True), *(("native", g, True) for g in ("population", "area", "network"))]


def shortened(file: Path, duration: float) -> dict[str, np.ndarray]:
    """The first so many ms."""
    with np.load(file) as found:
        kept = found["times"] <= duration
        rows = {name: found[name][kept] for name in ("times", "V_m", "U_m", "I_syn_ex") if name in found}
        return {**rows, **{key: found[key][found[key][:, 0] <= duration] for key in ("spikes", "in_spikes")}}


@pytest.mark.parametrize("name, place, factor, error", [
    ("V_m", (700, 2), 1.0, 2e-9), ("weight_every_ms", (120, 7), 1 + 3e-9, 0.0), ("spikes", (3, 0), 1.0, 0.1)])
def test_a_small_difference_is_found_and_named(tmp_path: Path, name: str, place: tuple[int, int], factor: float,
                                               error: float) -> None:
    if not PLASTIC.exists():
        pytest.skip("no recorded trajectories")
    with np.load(PLASTIC) as found:
        values = found[name].copy()
    values[place] = values[place] * factor + error
    result = native(changed(tmp_path, PLASTIC, **{name: values}))
    where = result.first_divergence
    assert result.outcome == "diverged" and where is not None and where.variable == name
    if name != "spikes":
        assert where.index == (place[1],) and where.step == (place[0] if name == "V_m" else 10 * place[0] + 9)


EPROP, DRAWN = (Path(__file__).with_name("recordings") / f"nest_{name}.npz" for name in ("eprop", "urbanczik"))


@pytest.mark.parametrize("file, about, name", [
    (EPROP, {"synapse_parameters": {"eta": 0.1001, "tau_m_readout": 25.0}}, "V_m"),
    (EPROP, {"readout": {"tau_m": 25.1}}, "V_m.out"), (EPROP, {"update_interval": 120.0}, "V_m"),
    (DRAWN, {"synapse_parameters": {"eta": 0.3, "tau_Delta": 50.05, "Wmax": 1e4}}, "weight_every_ms")])
def test_another_parameter_of_learning_is_found(tmp_path: Path, file: Path, about: dict[str, Any], name: str) -> None:
    result = native(changed(tmp_path, file, about))
    assert result.outcome == "diverged" and result.first_divergence and result.first_divergence.variable == name


def test_of_spikes_that_nest_draws_one_that_is_left_out_is_missed_by_the_weights(tmp_path: Path) -> None:
    with np.load(DRAWN) as found:
        spikes = np.delete(found["spikes"], 1, axis=0)
    result = native(changed(tmp_path, DRAWN, spikes=spikes))
    assert result.outcome == "diverged" and result.first_divergence
    assert result.first_divergence.variable == "weight_every_ms"


def test_a_membrane_whose_spikes_nest_divides_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CortexError, match="V106 'dt_ms' .* 0.1 ms; above 0.02 ms"):
        native(changed(tmp_path, DRAWN.with_name("nest_hodgkin_huxley_alpha.npz"), {"dt_ms": 0.1}))


@pytest.mark.parametrize("about, arrays, says", [
    ({"model": "eprop_iaf"}, {}, "V103.*eprop_iaf_bsshslm_2020"), ({"readout": {"loss": 1.0}}, {}, "V105.*'readout'.*loss"),
    ({"parameters": {"c_reg": 300.0}}, {}, "V106.*c_reg"), ({}, {"out_delay": np.full(10, 2.0)}, "V106 'out_delay'.*2 steps"),
    ({}, {"in_spikes": np.array([[63.0, 0.0]])}, "V106 an input .* at 63 ms, within the first 3"),
    ({}, {"times": np.arange(1.0, 248.0) * 2}, "V106 'times'"), ({}, {"back_target": np.full(12, 6)}, "V117.*6 cells"),
    ({}, {"out_target": np.full(10, 2)}, "V117.*2 cells"), ({}, {"out_weight_every_ms": np.ones((248, 10))}, "V113")])
def test_what_is_wrong_with_a_recording_of_e_prop(tmp_path: Path, about: dict[str, Any], arrays: dict[str, Any],
                                                  says: str) -> None:
    with pytest.raises(CortexError, match=says):
        native(changed(tmp_path, EPROP, about, **arrays))


def test_passes_leave_what_was_recorded() -> None:
    if not PLASTIC.exists():
        pytest.skip("no recorded trajectories")
    assert verify_recording(load_recording(PLASTIC), passes=True).passed


def test_columns_of_weights_that_nest_has_sorted_are_found(tmp_path: Path) -> None:
    if not PLASTIC.exists():
        pytest.skip("no recorded trajectories")
    with np.load(PLASTIC) as found:
        order = np.random.default_rng(1).permutation(found["weight_every_ms"].shape[1])
        weights = found["weight_every_ms"][:, order]
    assert native(changed(tmp_path, PLASTIC, weight_every_ms=weights)).passed


WRONG: list[tuple[str, Any, dict[str, Any]]] = [
    ("V103", {"model": "iaf_tum_2000"}, {}), ("V103", {"model": "lif_exp\n  gate x"}, {}),
    ("V103", {"synapse": "jonke_synapse"}, {}), ("V104", "{", {}), ("V104", "[]", {}),
    ("V104", {"parameters": [1]}, {}), ("V105", {"parameters": {"C_mm": 1.0}}, {}),
    ("V105", {"synapse_parameters": {"tau": 1.0}}, {}), ("V106", {"parameters": {"delta": 0.5}}, {}),
    ("V106", {"parameters": {"C_m": "__import__('os')"}}, {}), ("V106", {"parameters": {"C_m": float("inf")}}, {}),
    ("V106", {"dt_ms": 0}, {}), ("V106", {}, {"start_weight": -np.ones(59)}), ("V108", {}, {"V_m": None}),
    ("V108", {}, {"delay": None}), ("V109", {}, {"spikes": np.zeros(3)}), ("V109", {}, {"target": np.zeros(58)}),
    ("V110", {}, {"start_weight": np.full(59, np.nan)}), ("V113", {"duration_ms": 1.0}, {"weight_every_ms": np.ones((201, 59))}),
    ("V116", {}, {"delay": np.full(59, 0.25)}), ("V116", {}, {"delay": np.zeros(59)}), ("V116", {"dt_ms": 0.3}, {}),
    ("V117", {}, {"target": np.full(59, 5)}), ("V117", {}, {"source": np.full(59, -1)}), ("V117", {}, {"source": np.full(59, 0.5)}),
    ("V117", {}, {"spikes": np.array([[1.0, 7.0]])}), ("V117", {}, {"in_spikes": np.array([[1.0, 1e300]])}),
    ("V118", {}, {"in_spikes": np.array([[1.0, 2e9]])}), ("V118", {"duration_ms": 9e8}, {}),
    ("V116", {}, {"delay": np.full(59, 1e300)})]


@pytest.mark.parametrize("code, about, arrays", WRONG)
def test_what_is_wrong_with_a_recording_has_a_code(tmp_path: Path, code: str, about: dict[str, Any],
                                                   arrays: dict[str, Any]) -> None:
    with pytest.raises(CortexError) as caught:
        native(changed(tmp_path, PLASTIC, about, **arrays))
    assert caught.value.code == code, str(caught.value)


def test_three_spikes_in_a_slice_are_more_than_a_dopamine_synapse_is_modelled_for(tmp_path: Path) -> None:
    spikes = np.array([[30.1, 0.0], [30.2, 0.0], [30.2, 0.0]])
    with pytest.raises(CortexError, match="V106 input 0 .* three times within a slice of 0.2 ms, from 30 ms"):
        native(changed(tmp_path, GOLDEN / "nest_stdp_dopamine.npz", in_spikes=spikes))
