"""RingBuffer -> circuit -> Monitor: patterns that repeat, and the voltages that they evoke while weights are learnt."""

from pathlib import Path

import numpy as np
from lava.magma.core.run_conditions import RunSteps
from lava.magma.core.run_configs import Loihi2SimCfg
from lava.proc.io.source import RingBuffer
from lava.proc.monitor.process import Monitor

import cortexc.lava

if __name__ == "__main__":
    rng = np.random.default_rng(1)
    circuit = cortexc.lava.Circuit(Path(__file__).with_name("oja.ir"), gates={"learn": 1},
                                   arrays={"W.w": rng.uniform(0, 0.5, (2, 4))})
    images, monitor = RingBuffer(data=rng.uniform(0, 1, (4, 50))), Monitor()
    images.s_out.connect(circuit.retina_value_in)
    monitor.probe(circuit.cortex_v, 200)

    circuit.run(RunSteps(200), Loihi2SimCfg())
    voltage = monitor.get_data()[circuit.name]["cortex_v"]
    print("v after 1, 100, 200 steps:", *(voltage[n].round(3) for n in (0, 99, 199)))
    print("weights:", circuit.projections["W"].w.get().round(3).tolist())
    circuit.stop()
