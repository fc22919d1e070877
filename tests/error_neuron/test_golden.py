"""The recordings of the published simulator against every side, after the passes too, and planted faults."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from cortexc.compiler.ir import CortexError
from cortexc.compiler.verify import verify_golden, verify_recording
from cortexc.compiler.verify.mutation.campaign import rehearsals
from cortexc.compiler.verify.recorded.readers import published_recording

FOLDER = Path(os.environ.get("CORTEXC_GOLDEN", Path(__file__).parents[2] / ".." / "shared" / "golden"))
FILES = [f"{model}_{variant}" for model, variants in {
    "errormc": ("2-3-2_off", "2-3-2_on", "2-3-2_FA_on", "2-3-2_lat_on", "2-3-2_logistic_on", "2-3-2_nophi_on",
                "2-3-2_norep-lookahead_on", "2-3-2_usephi_on", "4-2-1_off", "4-2-1_on", "4-2-1_skipreal_on",
                "4-3-2-1_skip_on", "4-3-2-1_skipFA_on"),
    "sacramento2018": ("2-3-2_off", "2-3-2_on", "2-3-2_FA_on", "4-2-1_off", "4-2-1_on"),
    "dPC": ("2-3-2_off", "2-3-2_on", "4-2-1_off", "4-2-1_on"),
    "ann": ("2-3-2_off", "2-3-2_on", "4-2-1_off")}.items() for variant in variants]
SIDES = [("native", "network"), ("native", "population"), ("interpreter", "network"), ("reference", "network"),
         pytest.param("lava", "network", marks=pytest.mark.lava)]
ON_LAVA = ["errormc_2-3-2_on", "errormc_4-3-2-1_skip_on", "errormc_2-3-2_norep-lookahead_on", "sacramento2018_2-3-2_on",
           "dPC_2-3-2_on", "ann_2-3-2_on"]


def golden(name: str) -> Path:
    path = FOLDER / f"errormc_{name}.npz"
    if not path.exists():
        pytest.skip(f"{path} is absent")
    return path


def arrays_of(name: str) -> dict[str, np.ndarray]:
    with np.load(golden(name)) as file:
        return dict(file)


def with_options(arrays, **changes):
    options = json.loads(str(arrays["params_json"])) | changes
    return arrays | {"params_json": np.array(json.dumps(options))}


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("on, granularity", SIDES)
def test_matches(name, on, granularity):
    if on == "lava" and name not in ON_LAVA:
        pytest.skip("on Lava one file of every kind of graph")
    result = verify_golden(golden(name), on, granularity)
    assert result.passed, result.reasons
    assert result.evidence == "published-simulator" and result.steps == 200
    assert result.max_abs_error <= 1e-10 and result.max_rel_error <= 1e-8 and len(result.variables) >= 14
    assert set(result.not_compared) <= {"eta_fw_used", "init_uI_0", "dBPI_0", "init_dBPI_0"}


@pytest.mark.lava
@pytest.mark.parametrize("granularity", ["population", "area"])
@pytest.mark.parametrize("name", ["errormc_4-3-2-1_skip_on", "sacramento2018_2-3-2_on", "dPC_2-3-2_on"])
def test_matches_on_lava_in_parts(name, granularity):
    assert verify_golden(golden(name), "lava", granularity).passed


@pytest.mark.parametrize("name", [f for f in FILES if f.endswith("_on")])
def test_matches_after_the_passes(name):
    result = verify_golden(golden(name), "native", passes=True)
    assert result.passed, result.reasons


@pytest.mark.parametrize("name", ["errormc_2-3-2_on", "errormc_4-3-2-1_skip_on", "sacramento2018_2-3-2_on",
                                  "dPC_2-3-2_on", "ann_2-3-2_on"])
@pytest.mark.parametrize("array, where", [("WPP_0", (150, -1, 0)), ("rP_breve_1", (3, 0)), ("uP_0", (0, 1))])
def test_a_changed_number_is_found(name, array, where):
    arrays = arrays_of(name)
    arrays[array] = arrays[array].copy()
    arrays[array][where] += 1e-6
    result = verify_recording(published_recording("changed", arrays), "native")
    assert not result.passed and result.first_divergence.variable == array


@pytest.mark.parametrize("name, changes", [
    ("errormc_2-3-2_on", dict(gden=0.1001)), ("errormc_2-3-2_on", dict(eta_fw=[5.0, 2.002])),
    ("errormc_2-3-2_on", dict(varphi_transfer=False)), ("errormc_4-3-2-1_skip_on", dict(eta_fw_conversion="fill_diag")),
    ("errormc_2-3-2_lat_on", dict(eta_IP=[1.0, 2.01])), ("sacramento2018_2-3-2_on", dict(dWPP_use_activation=False)),
    ("dPC_2-3-2_on", dict(eta_PI=[0.501])), ("ann_2-3-2_on", dict(model_type="FA"))])
def test_another_circuit_does_not_match(name, changes):
    recording = published_recording("other", with_options(arrays_of(name), **changes))
    assert not verify_recording(recording, "native").passed


@pytest.mark.parametrize("code, words, changes", [
    ("V105", "unknown option 'gdne'", dict(gdne=1.0)), ("V106", "taur = 0 is not modelled", dict(taur=0)),
    ("V106", "model_type 'PAL'", dict(model_type="PAL")), ("V106", "connection mode 'full'", dict(fw_connection_mode="full")),
    ("V106", "forward mode 'skip' with backward mode 'layered'", dict(fw_connection_mode="skip")),
    ("V106", "varphi_transfer = 1 must be true or false", dict(varphi_transfer=1)),
    ("V106", "eta_fw has 3 entries", dict(layers=[2, 3, 2, 2, 2], error_layers=[0, 3, 2, 2, 2], eta_fw=[1.0, 2.0, 3.0])),
    ("V106", "rep_lookahead = 'no'", dict(rep_lookahead="no")), ("V106", "activation 'sine'", dict(activation="sine"))])
def test_bad_options(code, words, changes):
    with pytest.raises(CortexError, match=words) as error:
        published_recording("broken", with_options(arrays_of("errormc_2-3-2_on"), **changes))
    assert error.value.code == code


def test_missing_parameters():
    arrays = arrays_of("errormc_2-3-2_on")
    options = json.loads(str(arrays["params_json"]))
    del options["eta_fw"]
    with pytest.raises(CortexError, match="lack eta_fw") as error:
        published_recording("broken", arrays | {"params_json": np.array(json.dumps(options))})
    assert error.value.code == "V107"


@pytest.mark.parametrize("circuit", ["error-neuron", "dendritic", "dpc", "ann"])
def test_recordings_of_deeper_nets_with_flags_of_their_own_in_every_step(circuit):
    for recording in rehearsals(circuit, 60):
        result = verify_recording(recording, "native")
        assert result.passed and result.evidence == "independent-reference", result.reasons
