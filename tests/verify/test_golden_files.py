"""Recorded trajectories of the published simulator against every side, and planted faults, which must be found."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cortexc.compiler.verify import load_recording, verify_golden, verify_recording
from cortexc.compiler.verify.mutation.campaign import plain_python
from cortexc.compiler.verify.recorded.readers import published_recording

DEFAULT_FOLDER = Path(__file__).parents[2] / ".." / "shared" / "golden"
FOLDER = Path(os.environ.get("CORTEXC_GOLDEN", DEFAULT_FOLDER))
FW_BW = ["111_fw_bw_noise", "111_fw_bw_FA", "232_fw_bw_noise", "232_fw_bw_nonoise", "232_fw_bw_FA", "232_fw_bw_BP"]
BW_ONLY = ["111_bw_only_noise", "232_bw_only_noise", "232_bw_only_nonoise", "232_bw_only_taur0"]
FILES = FW_BW + BW_ONLY

SIDES = [
    pytest.param("native", "network"),
    pytest.param("native", "area", marks=pytest.mark.slow),
    pytest.param("native", "population", marks=pytest.mark.slow),
    pytest.param("interpreter", "network", marks=pytest.mark.slow),
    pytest.param("reference", "network", marks=pytest.mark.slow),
    pytest.param("lava", "network", marks=pytest.mark.lava),
    pytest.param("lava", "area", marks=pytest.mark.lava),
    pytest.param("lava", "population", marks=pytest.mark.lava),
]
"""(on, granularity)."""


def golden(name: str) -> Path:
    path = FOLDER / f"pal_{name}.npz"
    if not path.exists():
        pytest.skip(f"{path} is absent")
    return path


def arrays_of(name: str) -> dict[str, np.ndarray]:
    with np.load(golden(name)) as file:
        return dict(file)


@pytest.fixture(autouse=True)
def kernels_as_plain_python(request):
    """200 steps of small nets are not worth compiling; `jit` in the test's name keeps the compiler on."""
    if "jit" in request.node.name:
        yield
    else:
        with plain_python():
            yield


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("on, granularity", SIDES)
def test_matches(name, on, granularity):
    result = verify_golden(golden(name), on, granularity)
    assert result.passed, result.reasons
    assert result.evidence == "published-simulator" and result.steps == 200
    assert len(result.variables) == (29 if name.endswith(("FA", "BP")) else 36)
    assert 0 < result.max_abs_error <= 1e-10 and result.max_rel_error <= 1e-8


@pytest.mark.parametrize("name", FILES)
def test_every_variable_of_the_file_is_compared(name):
    result = verify_golden(golden(name), "native")
    assert {n.split("_")[0] for n in result.not_compared} <= {"teacher", "input"}


@pytest.mark.slow
@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("on, granularity", [
    ("interpreter", "network"), ("native", "network"), ("native", "population"),
    *(pytest.param("lava", g, marks=pytest.mark.lava) for g in ("network", "area", "population"))])
def test_matches_after_the_passes(name, on, granularity):
    """What the passes leave is the same circuit: rates, compartments and weights at least."""
    result = verify_golden(golden(name), on, granularity, passes=True)
    assert result.passed, result.reasons
    families = {n.rsplit("_", 1)[0] for n in result.variables}
    assert families >= {"rP_breve", "vbas", "vapi", "WPP", "WIP", "BPP", "BPI"}


@pytest.mark.slow
@pytest.mark.skipif(os.environ.get("CORTEXC_JIT") == "0", reason="kernels are not compiled")
@pytest.mark.parametrize("name, passes", [("232_fw_bw_noise", False), ("232_fw_bw_BP", True)])
def test_matches_jit(name, passes):
    assert verify_golden(golden(name), "native", passes=passes).passed


def test_every_file_is_covered():
    present = {path.stem for path in golden("232_fw_bw_noise").parent.glob("pal_[0-9]*.npz")}
    assert present == {f"pal_{name}" for name in FILES}


def test_result_as_data():
    data = verify_golden(golden("111_fw_bw_noise"), "native").as_dict()
    assert json.loads(json.dumps(data, allow_nan=False)) == data
    assert data["passed"] is True and data["first_divergence"] is None
    assert set(data) >= {"passed", "evidence", "max_abs_error", "max_rel_error", "steps", "variables",
                         "first_divergence"}
    assert set(data["variables"]["WPP_0"]) == {"abs", "rel"}


# ---- planted faults


@pytest.mark.parametrize("on", [pytest.param("reference", marks=pytest.mark.slow),
                                pytest.param("interpreter", marks=pytest.mark.slow), "native"])
@pytest.mark.parametrize("variable, index, amount", [
    ("WPP_1", (120, 1, 2), 2e-10), ("dWPP_LO_0", (130, 0, 0), 1e-14), ("uP_breve_0", (77, 1), 1e-7),
    ("noise_0", (60, 2), 1e-9), ("rI_breve_0", (0, 0), 1e-6), ("dBPI_0", (199, 0, 1), 1e-9)])
def test_a_changed_number_is_found_where_it_is(variable, index, amount, on):
    arrays = arrays_of("232_fw_bw_noise")
    arrays[variable][index] += amount
    result = verify_recording(published_recording("changed", arrays), on)
    assert not result.passed
    where = result.first_divergence
    assert where is not None and (where.variable, where.step, where.index) == (variable, index[0], index[1:])
    assert where.expected == arrays[variable][index] != where.got


@pytest.mark.parametrize("option, value", [("gbas", 0.1001), ("eta_fw", [2.002, 0.5]), ("alpha", [1.001e-6]),
                                           ("noise_scale", [0.05005]), ("taur", 1.001), ("tauLO", 100.1),
                                           ("activation", "tanh"), ("dt", 0.010001), ("model_type", "FA"),
                                           ("dWPP_low_pass", False), ("pyr_hi_pass", False)])
def test_a_wrong_option_is_found(option, value):
    arrays = arrays_of("232_fw_bw_noise")
    options = json.loads(str(arrays["params_json"])) | {option: value}
    options["dtxi"] = options["dt"]
    arrays["params_json"] = np.array(json.dumps(options))
    assert not verify_recording(published_recording("wrong", arrays), "native").passed


@pytest.mark.parametrize("row", [0, 120, 199])
@pytest.mark.parametrize("column", [0, 1, 2])
def test_a_wrong_flag_is_found(row, column):
    arrays = arrays_of("232_fw_bw_noise")
    arrays["flags"][row, column] ^= True
    result = verify_recording(published_recording("wrong", arrays), "native")
    assert not result.passed and result.first_divergence.step == row


def test_the_first_of_many_divergences_is_the_cause():
    """In the step of the fault, the variable that is computed first is named, not one that follows from it."""
    recording = load_recording(golden("232_fw_bw_noise"))
    graph = recording.setup.graph
    faulty = replace(graph.population("P0"), parameters=tuple(
        (k, v * 1.001 if k == "sigma" else v) for k, v in graph.population("P0").parameters))
    graph = graph.with_(populations=tuple(faulty if p.name == "P0" else p for p in graph.populations))
    result = verify_recording(replace(recording, setup=replace(recording.setup, graph=graph)), "native")
    assert result.first_divergence.variable == "noise_0" and result.first_divergence.step == 50


def test_weights_that_never_move_are_named():
    arrays = arrays_of("232_fw_bw_noise")
    recording = published_recording("frozen", arrays)
    graph = recording.setup.graph
    frozen = tuple(replace(q, gate="target", parameters=(("eta", 0.0), *q.parameters[1:])) if q.name == "WPP_0" else q
                   for q in graph.projections)
    setup = replace(recording.setup, graph=graph.with_(projections=frozen))
    result = verify_recording(replace(recording, setup=setup), "native")
    assert any("WPP_0" in reason and "never moved" in reason for reason in result.reasons)


def test_nothing_to_compare_is_a_failure():
    arrays = arrays_of("232_fw_bw_noise")
    kept = {k: v for k, v in arrays.items() if k.startswith(("init_", "white")) or k in ("r0", "u_tgt", "flags",
                                                                                          "params_json")}
    result = verify_recording(published_recording("empty", kept), "native")
    assert not result.passed and "no variable" in result.reasons[0]
