"""Records a small network of NEST 3.10.0 that learns by e-prop: python record_nest_eprop.py FOLDER.

Inputs, recurrent cells and readouts with a target that is noise. No input spikes in the first steps of an interval, in
which NEST changes weights before all errors are back. Needs nest-simulator alone.
"""

import json
import sys
from pathlib import Path

import nest
import numpy as np

INPUTS, CELLS, READOUTS, INTERVAL, INTERVALS, SEED = 8, 6, 2, 60, 4, 3
STEPS = INTERVAL * INTERVALS + 8
CELL = {"C_m": 200.0, "E_L": -1.0, "I_e": 0.3, "V_m": -1.0, "V_th": 0.0, "tau_m": 20.0, "t_ref": 3.0, "c_reg": 0.0,
        "regular_spike_arrival": False, "surrogate_gradient_height": 0.4, "surrogate_gradient_width": 0.8}
READOUT = {"tau_m": 25.0, "E_L": 0.0, "regular_spike_arrival": False}
SYNAPSE = {"eta": 0.1, "Wmin": -50.0, "Wmax": 50.0, "tau_m_readout": 25.0}


def pairs(rng, pre, post, scale, mean, same=False):
    mask = rng.random((post, pre)) < 0.8
    if same:
        np.fill_diagonal(mask, False)
    target, source = np.nonzero(mask)
    return source, target, mean + scale * rng.standard_normal(len(source))


def connect(model, pre, post, found, **options):
    for source, target, weight in zip(*found, strict=True):
        nest.Connect(pre[int(source)], post[int(target)], "one_to_one",
                     {"synapse_model": model, "weight": weight, "delay": 1.0, **options})


def weights(pre, post, found):
    """In the order of the connections that were made."""
    made = nest.GetConnections(pre, post, "eprop_synapse_bsshslm_2020")
    ids = list(zip(np.array(pre.tolist())[found[0]], np.array(post.tolist())[found[1]], strict=True))
    by_ends = dict(zip(zip(made.get("source"), made.get("target"), strict=True), made.get("weight"), strict=True))
    return [by_ends[pair] for pair in ids]


def meter(of, *quantities):
    found = nest.Create("multimeter", {"interval": 1.0, "record_from": list(quantities)})
    nest.Connect(found, of)
    return found


def rows(found, name, count):
    order = np.lexsort((found.events["senders"], found.events["times"]))
    return found.events[name][order].reshape(-1, count)


def recording():
    rng = np.random.default_rng(SEED)
    nest.ResetKernel()
    nest.set(resolution=1.0, rng_seed=1, total_num_virtual_procs=1, eprop_update_interval=float(INTERVAL),
             eprop_learning_window=float(INTERVAL), eprop_reset_neurons_on_update=True)
    cells, readouts = nest.Create("eprop_iaf_bsshslm_2020", CELLS, CELL), nest.Create("eprop_readout_bsshslm_2020", READOUTS, READOUT)
    generators, parrots = nest.Create("spike_generator", INPUTS), nest.Create("parrot_neuron", INPUTS)
    targets = nest.Create("step_rate_generator", READOUTS)
    grid = np.arange(4, STEPS - 4)
    grid = grid[(grid + 1 - 3) % INTERVAL > 4]
    spikes = [grid[rng.random(len(grid)) < 0.15].astype(float) for _ in range(INPUTS)]
    for generator, times in zip(generators, spikes, strict=True):
        generator.spike_times = times
    for target in targets:
        target.set({"amplitude_times": np.arange(STEPS - 6) + 5.0, "amplitude_values": rng.standard_normal(STEPS - 6)})
    parts = {"in_": (parrots, cells, pairs(rng, INPUTS, CELLS, 2.5, 3.0)),
             "": (cells, cells, pairs(rng, CELLS, CELLS, 2.0, 0.0, same=True)),
             "out_": (cells, readouts, pairs(rng, CELLS, READOUTS, 2.0, 0.0))}
    back = pairs(rng, READOUTS, CELLS, 1.0, 0.0)
    nest.SetDefaults("eprop_synapse_bsshslm_2020", {"optimizer": {
        "type": "gradient_descent", "batch_size": 1, "eta": SYNAPSE["eta"], "Wmin": SYNAPSE["Wmin"], "Wmax": SYNAPSE["Wmax"]}})
    nest.Connect(generators, parrots, "one_to_one", {"delay": 1.0})
    for pre, post, found in parts.values():
        connect("eprop_synapse_bsshslm_2020", pre, post, found, tau_m_readout=SYNAPSE["tau_m_readout"])
    connect("eprop_learning_signal_connection_bsshslm_2020", readouts, cells, back)
    nest.Connect(targets, readouts, "one_to_one",
                 {"synapse_model": "rate_connection_delayed", "delay": 1.0, "receptor_type": 2})
    of_cells = meter(cells, "V_m", "surrogate_gradient", "learning_signal")
    of_readouts = meter(readouts, "V_m", "target_signal", "error_signal")
    recorder = nest.Create("spike_recorder")
    nest.Connect(cells, recorder)
    kept = {prefix: [] for prefix in parts}
    for _ in range(STEPS):
        nest.Simulate(1.0)
        for prefix, (pre, post, found) in parts.items():
            kept[prefix].append(weights(pre, post, found))
    about = {"model": "eprop_iaf_bsshslm_2020", "parameters": CELL, "readout": READOUT, "synapse_parameters": SYNAPSE,
             "update_interval": float(INTERVAL), "simulator": f"NEST {nest.__version__}", "dt_ms": 1.0}
    fired = np.column_stack([recorder.events["times"], recorder.events["senders"] - cells[0].global_id])
    arrays = {"about": json.dumps(about), "spikes": fired[np.lexsort((fired[:, 1], fired[:, 0]))],
              "in_spikes": np.array(sorted((t + 1.0, i) for i, times in enumerate(spikes) for t in times)),
              "times": np.unique(of_cells.events["times"])}
    arrays |= {name: rows(of_cells, name, CELLS) for name in ("V_m", "surrogate_gradient", "learning_signal")}
    arrays |= {name: rows(of_readouts, name, READOUTS) for name in ("target_signal", "error_signal")}
    arrays["V_m.out"] = rows(of_readouts, "V_m", READOUTS)
    for prefix, found in {**{prefix: part[2] for prefix, part in parts.items()}, "back_": back}.items():
        arrays |= {f"{prefix}{key}": values for key, values in zip(
            ("source", "target", "weight", "delay"), (*found, np.ones(len(found[0]))), strict=True)}
    return arrays | {f"{prefix}weight_every_ms": np.array(values[:-1]) for prefix, values in kept.items()}


if __name__ == "__main__":
    found = recording()
    np.savez_compressed(Path(sys.argv[1]) / "nest_eprop.npz", **found)
    print({name: value.shape for name, value in found.items() if name != "about"})
