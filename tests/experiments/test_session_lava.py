"""Experiments on Lava: the same bits as the native backend, checkpoints across both, and edited code."""

import os
import signal

import numpy as np
import pytest

from cortexc.compiler.experiments.config import load_experiment
from cortexc.compiler.experiments.export import compile_to_folder
from cortexc.compiler.experiments.session import Interrupted, run_experiment
from cortexc.compiler.ir import CortexError

pytest.importorskip("lava")
pytestmark = pytest.mark.lava


@pytest.mark.parametrize("granularity", ["network", "area", "population"])
def test_lava_has_the_bits_of_the_native_backend(tiny_classification, granularity):
    overrides = {"protocol.epochs": 1, "run.seeds": [1]}
    native = run_experiment(load_experiment(tiny_classification, overrides))
    overrides |= {"run.backend": "lava", "run.granularity": granularity}
    on_lava = run_experiment(load_experiment(tiny_classification, overrides))
    assert on_lava["weights_sha256"] == native["weights_sha256"] and on_lava["tests"] == native["tests"]
    assert on_lava["granularity"] == granularity and on_lava["backend"] == "lava"


def test_a_checkpoint_moves_between_backends(tiny_feedback, tmp_path):
    whole = run_experiment(load_experiment(tiny_feedback), tmp_path / "whole")
    for steps, backend in ((9, "lava"), (20, "native"), (None, "lava")):
        experiment = load_experiment(tiny_feedback, {"run.backend": backend})
        result = run_experiment(experiment, tmp_path / "moved", steps=steps, resume=backend == "native" or steps is None)
    assert result["weights_sha256"] == whole["weights_sha256"] and result["curves"] == whole["curves"]


def test_ctrl_c_on_lava_saves_a_checkpoint(tiny_feedback, tmp_path):
    tiny_feedback["protocol"]["epochs"] = 2000
    experiment = load_experiment(tiny_feedback, {"run.backend": "lava", "run.block_ms": 0.05})

    def press(position, end, speed):
        if position > 30:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(Interrupted) as caught:
        run_experiment(experiment, tmp_path, progress=press)
    stopped = caught.value.position
    resumed = run_experiment(experiment, tmp_path, resume=True, steps=25)
    whole = run_experiment(load_experiment(tiny_feedback), steps=stopped + 25)
    assert resumed["weights_sha256"] == whole["weights_sha256"]


def test_edited_code_is_what_runs(tiny_feedback, tmp_path):
    experiment = load_experiment(tiny_feedback, {"run.backend": "lava", "run.seeds": [123]})
    compile_to_folder(experiment, tmp_path / "code")
    before = run_experiment(experiment, tmp_path / "a", edited=tmp_path / "code")
    kernels = tmp_path / "code" / "kernels.py"
    text = kernels.read_text()
    assert "return 1.0 / (1.0 + exp(-x))" in text
    kernels.write_text(text.replace("return 1.0 / (1.0 + exp(-x))", "return 0.5 / (1.0 + exp(-x))"))
    after = run_experiment(experiment, tmp_path / "b", edited=tmp_path / "code")
    assert after["weights_sha256"] != before["weights_sha256"]
    with pytest.raises(CortexError) as caught:
        run_experiment(load_experiment(tiny_feedback, {"run.backend": "lava", "model.variant": "FA"}), tmp_path / "c",
                       edited=tmp_path / "code")
    assert caught.value.code == "X153"


def test_recordings_on_lava(tiny_feedback, tmp_path):
    run_experiment(load_experiment(tiny_feedback), tmp_path / "native")
    run_experiment(load_experiment(tiny_feedback, {"run.backend": "lava"}), tmp_path / "lava")
    with np.load(tmp_path / "native" / "records.npz") as ours, np.load(tmp_path / "lava" / "records.npz") as theirs:
        assert all(np.array_equal(ours[name], theirs[name]) for name in ours.files) and ours.files == theirs.files
