"""The long published run on the native backend, against the authors' stored angle curves."""

import json

import numpy as np
import pytest

from cortexc.compiler.bench import pal as feedback
from cortexc.compiler.ir import CortexError

pytestmark = pytest.mark.slow


@pytest.fixture
def stored():
    try:
        return feedback.stored_curves()
    except CortexError:
        pytest.skip("the stored curves are not there")


@pytest.mark.parametrize("figure, seed, steps", [("3abc", 123, None), ("3abc", 456, 60_000), ("3def", 123, 60_000)])
def test_angles_are_the_authors(stored, monkeypatch, figure, seed, steps):
    monkeypatch.setenv("CORTEXC_JIT", "1")
    row = feedback.measure(figure, seed, stored, {"run.backend": "native"}, steps)
    assert row["rows"] == (steps or 1_010_000) // 1000
    assert row["max_abs_deg"] <= 1e-9 and row["max_abs_deg_jacobian"] <= 1e-9
    if steps is None:
        assert np.allclose(row["final_deg"], [18.00, 10.41, 7.63], atol=0.01)


def test_teacher_targets_are_the_recorded_ones():
    from pathlib import Path

    from cortexc.compiler.experiments.compilation import teacher_targets
    from cortexc.compiler.experiments.config import load_experiment
    from cortexc.compiler.experiments.tasks.published import input_samples, teacher_seed

    path = Path(__file__).resolve().parents[3] / "shared" / "golden" / "pal_232_fw_bw_noise.npz"
    if not path.exists():
        pytest.skip("the recorded trajectory is not there")
    with np.load(path) as archive:
        recorded, options = dict(archive), json.loads(str(archive["params_json"]))
    experiment = load_experiment({
        "model": {"circuit": "pal", "layers": options["layers"]},
        "protocol": {"task": "fw_bw", "presentation_steps": 50, "settling_steps": 50, "dataset_size": 3,
                     "teacher": {k: options[f"init_teacher_{k}_range"] for k in ("WPP", "WIP", "BPP", "BPI")}}})
    seed = teacher_seed(123)
    assert seed == int(recorded["teacher_seed"])
    targets = teacher_targets(experiment, input_samples(seed, 3, 2), seed)
    assert np.allclose(targets, recorded["teacher_target_raw"][49::50], rtol=0, atol=1e-12)


def test_missing_curves_are_coded(tmp_path, monkeypatch):
    for options in ({"figures": 4}, {"seeds": [8]}):
        with pytest.raises(CortexError) as caught:
            feedback.feedback(options)
        assert caught.value.code in ("X180", "X181")
