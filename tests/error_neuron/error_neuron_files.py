"""Recorded arrays, or a skip where the recordings are absent."""

import os
from pathlib import Path

import numpy as np
import pytest

FOLDER = Path(os.environ.get("CORTEXC_GOLDEN", Path(__file__).parents[2] / ".." / "shared" / "golden"))


def golden_arrays(name: str) -> dict[str, np.ndarray]:
    path = FOLDER / f"errormc_{name}.npz"
    if not path.exists():
        pytest.skip(f"{path} is absent")
    with np.load(path) as file:
        return dict(file)
