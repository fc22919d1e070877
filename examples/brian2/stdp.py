"""A Brian2 network that learns, run by Brian2 and as a graph, and asked whether a chip could learn it.

    python examples/brian2/stdp.py
"""
import numpy as np
from brian2 import Network, NeuronGroup, SpikeGeneratorGroup, SpikeMonitor, StateMonitor, Synapses, ms, mV, prefs

import cortexc

prefs.codegen.target = "numpy"
rng = np.random.default_rng(1)
taum, taue, ee, vt, vr, el = 10*ms, 5*ms, 0*mV, -54*mV, -60*mV, -74*mV
taupre, taupost, gmax = 20*ms, 20*ms, 0.05
steps, given = np.nonzero(rng.random((1000, 60)) < 0.006)
source = SpikeGeneratorGroup(60, given, steps*0.1*ms, name="source")
cell = NeuronGroup(1, """dv/dt = (ge*(ee - v) + el - v)/taum : volt
                         dge/dt = -ge/taue : 1""", threshold="v > vt", reset="v = vr", method="euler", name="cell")
cell.v = el
synapses = Synapses(source, cell, """w : 1
                                     dx/dt = -x/taupre : 1 (event-driven)
                                     dy/dt = -y/taupost : 1 (event-driven)""",
                    on_pre="ge += w; x += 0.01*gmax; w = clip(w + y, 0, gmax)",
                    on_post="y -= 0.0105*gmax; w = clip(w + x, 0, gmax)", name="synapses")
synapses.connect()
synapses.w = rng.random(60)*gmax
spikes, weights = SpikeMonitor(cell, name="spikes"), StateMonitor(synapses, "w", True, name="weights")
network = Network(source, cell, synapses, spikes, weights)

model = cortexc.from_brian2(network, 100*ms)
found = model.read(cortexc.simulate(model.graph, **model.run))
network.run(100*ms)
print(cortexc.show_graph(model.graph))
print("spikes:", len(spikes.t), "equal:", np.allclose(found["spikes"]["t"], spikes.t_))
print("largest difference of a weight:", np.abs(found["weights"]["w"] - weights.w).max())
print(cortexc.explain(model.graph))
