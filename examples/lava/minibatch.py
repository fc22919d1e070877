"""Minibatches: eight images at a time that share the weights, in three circuits side by side, of a seed each."""

from pathlib import Path

import numpy as np
from lava.magma.core.run_conditions import RunSteps
from lava.magma.core.run_configs import Loihi2SimCfg
from lava.proc.io.source import RingBuffer
from lava.proc.monitor.process import Monitor

import cortexc
import cortexc.lava

if __name__ == "__main__":
    rng, graph = np.random.default_rng(1), cortexc.parse_graph(Path(__file__).with_name("oja.ir").read_text())
    graph = graph.with_(samples=8, arrays={"W.w": rng.uniform(0, 0.5, (2, 4))})
    circuit = cortexc.lava.Circuit(graph, gates={"learn": 1}, seed=[1, 2, 3])
    images, monitor = RingBuffer(data=rng.uniform(0, 1, (4, 3, 8, 50))), Monitor()  # (n, seeds, samples, steps)
    images.s_out.connect(circuit.retina_value_in)
    monitor.probe(circuit.cortex_v, 100)

    circuit.run(RunSteps(100), Loihi2SimCfg())
    voltage = monitor.get_data()[circuit.name]["cortex_v"]
    print("v of", voltage.shape, "mean at the end:", voltage[-1].mean().round(3))
    print("weights of the seeds:", circuit.W_w.shape, circuit.W_w.get().mean(axis=(0, 1)).round(4))
    circuit.stop()
