"""Small experiments that run in plain Python, without compiling kernels."""

import pytest


@pytest.fixture(autouse=True)
def plain_kernels(monkeypatch):
    monkeypatch.setenv("CORTEXC_JIT", "0")


@pytest.fixture
def tiny_classification(tmp_path):
    """Tables of a PAL circuit 2-3-2 on 12 training, 4 validation and 6 test samples, native."""
    import numpy as np

    generator = np.random.default_rng(3)
    arrays = {}
    for part, count in (("train", 12), ("valid", 4), ("test", 6)):
        arrays[f"{part}_y"] = np.arange(count) % 2
        arrays[f"{part}_x"] = generator.uniform(0, 1, (count, 2)) * 0.2 + 0.8 * np.eye(2)[arrays[f"{part}_y"]]
    np.savez(tmp_path / "data.npz", **arrays)
    return {
        "model": {"circuit": "pal", "layers": [2, 3, 2], "low_pass": True, "eta_fw": [5, 1], "eta_bw": 2, "eta_IP": 1,
                  "eta_PI": 1, "sigma": 0.05, "start": "zero", "variants": {"FA": {"eta_PI": 0}}},
        "data": {"name": str(tmp_path / "data.npz")},
        "protocol": {"task": "classify", "epochs": 2, "presentation_steps": 10},
        "run": {"seeds": [1, 2], "backend": "native"}}


@pytest.fixture
def tiny_feedback():
    """Tables of the task bw_only on 2-3-2-2 with the legacy noise, native."""
    return {
        "model": {"circuit": "pal", "layers": [2, 3, 2, 2], "eta_bw": 50, "eta_PI": 5, "sigma": 0.05, "start": "legacy"},
        "protocol": {"task": "bw_only", "epochs": 3, "dataset_size": 4, "presentation_steps": 5, "settling_steps": 12},
        "run": {"seeds": [123, 456], "backend": "native", "noise": "legacy"},
        "record": {"angles": {"every": 7, "offset": 6, "angles": [["BPP_0.w", "WPP_1.w"]]},
                   "output": {"at": [-1], "phases": ["train"], "quantities": ["P2.breve"]}}}
