"""Weights looked at while a circuit pauses, set, and learnt further."""

import time
from pathlib import Path

import numpy as np
from lava.magma.core.run_conditions import RunContinuous, RunSteps
from lava.magma.core.run_configs import Loihi2SimCfg
from lava.proc.io.source import RingBuffer

import cortexc.lava

if __name__ == "__main__":
    rng = np.random.default_rng(1)
    circuit = cortexc.lava.Circuit(Path(__file__).with_name("oja.ir"), gates={"learn": 1},
                                   arrays={"W.w": rng.uniform(0, 0.5, (2, 4))})
    images, w = RingBuffer(data=rng.uniform(0, 1, (4, 50))), circuit.projections["W"].w
    images.s_out.connect(circuit.retina_value_in)

    circuit.run(RunContinuous(), Loihi2SimCfg())
    time.sleep(0.2)
    circuit.pause()
    print("learnt for a while:", bool((w.get() != w.init).any()))
    w.set(np.full((2, 4), 0.25))
    circuit.run(RunSteps(100))
    print("from 0.25 on:", w.get().round(3).tolist())
    circuit.gates["learn"].set(0)
    circuit.run(RunSteps(100))
    print("learning off:", w.get().round(3).tolist())
    circuit.stop()
