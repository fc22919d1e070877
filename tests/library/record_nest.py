"""Records small networks of NEST 3.10.0 in the format of the golden files: python record_nest.py FOLDER.

Everything random is drawn here with numpy and stored. Run it outside the project's environment: it needs
nest-simulator alone (pip install nest-simulator==3.10.0).
"""

import json
import sys
from pathlib import Path

import nest
import numpy as np

STEP, DURATION, CELLS, SOURCES, SEED = 0.1, 80.0, 8, 8, 5
LIF = {"C_m": 250.0, "tau_m": 10.0, "t_ref": 2.0, "E_L": -65.0, "V_reset": -70.0, "V_th": -50.0, "I_e": 330.0}
SIMPLE = {"a": 0.02, "b": 0.2, "c": -65.0, "d": 8.0, "I_e": 6.0, "consistent_integration": True}
MODELS = {"iaf_psc_delta": ("lif_delta", LIF, 1.0), "izhikevich": ("izhikevich", SIMPLE, 4.0)}


def trains(rng, count, rate):
    """Spike times of sources (ms, multiples of the step)."""
    steps = np.arange(10, int(DURATION / STEP) - 50)
    return [np.round(steps[rng.random(len(steps)) < rate * STEP / 1000] * STEP, 1) for _ in range(count)]


def connections(rng, sources, targets, probability, scale):
    target, source = np.nonzero(rng.random((targets, sources)) < probability)
    weight = scale * (0.5 + rng.random(len(source)))
    return source, target, weight, np.round(STEP * rng.integers(1, 31, len(source)), 1)


def connect(pre, post, source, target, weight, delay):
    spec = {"synapse_model": "static_synapse", "weight": weight, "delay": delay}
    nest.Connect(np.array(pre.tolist())[source], np.array(post.tolist())[target], "one_to_one", spec)


def recording(model, parameters, scale):
    rng = np.random.default_rng(SEED)
    nest.ResetKernel()
    nest.SetKernelStatus({"resolution": STEP, "rng_seed": 1, "local_num_threads": 1})
    cells = nest.Create(model, CELLS, parameters)
    start = -65.0 + 10 * rng.random(CELLS)
    for cell, voltage in zip(cells, start, strict=True):
        cell.V_m = voltage
    spikes = trains(rng, SOURCES, 80.0)
    generators = nest.Create("spike_generator", SOURCES)
    for generator, times in zip(generators, spikes, strict=True):
        generator.spike_times = times
    parrots = nest.Create("parrot_neuron", SOURCES)
    nest.Connect(generators, parrots, "one_to_one", {"delay": 1.0})
    inside, outside = connections(rng, CELLS, CELLS, 0.4, scale), connections(rng, SOURCES, CELLS, 0.4, 3 * scale)
    inside[2][inside[0] >= CELLS * 3 // 4] *= -2.0
    connect(cells, cells, *inside)
    connect(parrots, cells, *outside)
    meter = nest.Create("multimeter", {"interval": STEP, "record_from": ["V_m"]})
    recorder = nest.Create("spike_recorder")
    nest.Connect(meter, cells)
    nest.Connect(cells, recorder)
    nest.Simulate(DURATION)
    order = np.lexsort((meter.events["senders"], meter.events["times"]))
    names = ("source", "target", "weight", "delay")
    found = np.column_stack([recorder.events["times"], recorder.events["senders"] - cells[0].global_id])
    left = sorted((round(t + 1.0, 1), i) for i, times in enumerate(spikes) for t in times)
    about = {"model": model, "parameters": parameters, "simulator": f"NEST {nest.__version__}", "dt_ms": STEP}
    return {"about": json.dumps(about), "start_V_m": start, "in_spikes": np.array(left),
            **dict(zip(names, inside, strict=True)), **dict(zip((f"in_{name}" for name in names), outside, strict=True)),
            "V_m": meter.events["V_m"][order].reshape(-1, CELLS), "times": meter.events["times"][order][::CELLS],
            "spikes": found[np.lexsort((found[:, 1], found[:, 0]))]}


if __name__ == "__main__":
    for model, (name, parameters, scale) in MODELS.items():
        arrays = recording(model, parameters, scale)
        np.savez_compressed(Path(sys.argv[1]) / f"nest_{name}.npz", **arrays)
        print(name, arrays["V_m"].shape, len(arrays["spikes"]), "spikes")
