"""Records what Brian2 (numpy target, 2.9.0) makes of the models of tests/helpers/brian2_models.py:

    PYTHONPATH=tests/helpers python tests/front/record_brian2.py
"""
from pathlib import Path

import brian2
import brian2_compare
import brian2_models
import numpy as np

FILE = Path(__file__).with_name("brian2_models.npz")


def recorded():
    brian2.prefs.codegen.target = "numpy"
    found = {}
    brian2.seed(1)
    for name, model in {**brian2_models.MODELS, "poisson_driven": brian2_models.poisson_driven}.items():
        network, duration, constants = model()
        network.run(duration, namespace={**vars(brian2_models), **constants})
        for monitor, values in brian2_compare.monitored(network).items():
            found |= {f"{name}/{monitor}/{key}": value for key, value in values.items()}
    return found


if __name__ == "__main__":
    np.savez_compressed(FILE, **recorded())
