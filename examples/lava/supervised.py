"""A Monitor with room for 50 steps in a run of 60: Lava waits for ever. Here it is an error, and the next run works."""

import numpy as np
from lava.magma.core.run_conditions import RunSteps
from lava.magma.core.run_configs import Loihi2SimCfg
from lava.proc.dense.process import Dense
from lava.proc.lif.process import LIF
from lava.proc.monitor.process import Monitor

import cortexc.lava


def voltages(steps):
    source, synapses = LIF(shape=(3,), bias_mant=np.array([1.0, 2.0, 3.0]), vth=4), Dense(weights=np.eye(3))
    neurons, monitor = LIF(shape=(3,), vth=10, dv=0.1, du=0.5), Monitor()
    source.s_out.connect(synapses.s_in)
    synapses.a_out.connect(neurons.a_in)
    monitor.probe(neurons.v, 50)
    with cortexc.lava.supervised(neurons):
        neurons.run(RunSteps(steps), Loihi2SimCfg(select_tag="floating_pt"))
        return monitor.get_data()[neurons.name]["v"]


if __name__ == "__main__":
    try:
        voltages(60)
    except cortexc.lava.ChildRaised as error:
        print(f"{error.process_name}: {error.traceback_text.splitlines()[-1]}")
    print("v after 50 steps:", voltages(50)[-1].round(3))
