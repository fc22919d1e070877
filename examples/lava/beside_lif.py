"""A circuit that learns and LIF neurons of Lava in one run: some give it spikes, others get its rates."""

from pathlib import Path

import numpy as np
from lava.magma.core.run_conditions import RunSteps
from lava.magma.core.run_configs import Loihi2SimCfg
from lava.proc.dense.process import Dense
from lava.proc.lif.process import LIF
from lava.proc.monitor.process import Monitor

import cortexc.lava

if __name__ == "__main__":
    rng = np.random.default_rng(1)
    before = LIF(shape=(4,), bias_mant=np.array([0.1, 0.2, 0.3, 0.4]), vth=1.0, du=1.0, dv=0.0)
    behind = LIF(shape=(2,), vth=5.0, du=1.0, dv=0.0)
    circuit = cortexc.lava.Circuit(Path(__file__).with_name("oja.ir"), gates={"learn": 1},
                                   arrays={"W.w": rng.uniform(0, 1, (2, 4))})
    down, monitor = Dense(weights=np.eye(2), num_message_bits=8), Monitor()
    before.s_out.connect(circuit.retina_value_in)
    circuit.cortex_rate_out.connect(down.s_in)
    down.a_out.connect(behind.a_in)
    monitor.probe(behind.s_out, 300)
    circuit.run(RunSteps(300), Loihi2SimCfg(select_tag="floating_pt"))
    spikes = monitor.get_data()[behind.name]["s_out"]
    print("spikes behind the circuit:", spikes.sum(axis=0), "weights:", circuit.W_w.get().round(3).tolist())
    circuit.stop()
