"""Spike-timing dependent plasticity in 8 bits on Lava's own LearningDense, then the same as processes of ours."""

from pathlib import Path

import numpy as np
from lava.magma.core.run_conditions import RunSteps
from lava.magma.core.run_configs import Loihi2SimCfg

import cortexc.lava

if __name__ == "__main__":
    experiment, config = Path(__file__).with_name("stdp.toml"), Loihi2SimCfg(select_tag="fixed_pt")
    stock = cortexc.lava.Circuit(experiment, gates={"learn": 1}, stock=True)
    learning = stock.proc_params["parts"]["W"]
    print(type(learning).__name__, learning.proc_params["learning_rule"].dw_str)
    stock.run(RunSteps(3 * 200), config)  # three of Lava's steps for each of the circuit
    weights = stock.projections["W"].weights.get()
    stock.stop()
    own = cortexc.lava.Circuit(experiment, gates={"learn": 1})
    own.run(RunSteps(200), config)
    moved = own.W_w.get() - own.W_w.init
    print("the same weights:", np.array_equal(weights, 256 * own.W_w.get()), "moved:", np.count_nonzero(moved))
    own.stop()
