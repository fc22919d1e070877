"""Two circuits that drive each other: what cortex A says is what retina B sees, and the other way round."""

from pathlib import Path

import numpy as np
from lava.magma.core.run_conditions import RunSteps
from lava.magma.core.run_configs import Loihi2SimCfg
from lava.proc.dense.process import Dense
from lava.proc.io.source import RingBuffer

import cortexc.lava

if __name__ == "__main__":
    rng, text = np.random.default_rng(1), Path(__file__).with_name("oja.ir")
    a, b = (cortexc.lava.Circuit(text, name=name, gates={"learn": 1},
                                 arrays={"W.w": rng.uniform(0, 1, (2, 4))}) for name in "AB")
    for source, target in ((a, b), (b, a)):
        path = Dense(weights=rng.uniform(0, 0.3, (4, 2)), num_message_bits=8)  # rates, not spikes
        source.cortex_rate_out.connect(path.s_in)
        path.a_out.connect(target.retina_value_in)
    light = RingBuffer(data=rng.uniform(0, 1, (4, 20)))
    light.s_out.connect(a.retina_value_in)

    a.run(RunSteps(200), Loihi2SimCfg())
    for circuit in (a, b):
        print(circuit.name, circuit.populations["cortex"].v.get().round(3), circuit.W_w.get().round(3).tolist())
    a.stop()
