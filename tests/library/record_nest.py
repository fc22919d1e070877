"""Records small networks of NEST 3.10.0 in the format of the golden files: python record_nest.py FOLDER [NAME ...].

Everything random is drawn here with numpy and stored. Run it outside the project's environment: it needs
nest-simulator alone (pip install nest-simulator==3.10.0).
"""

import json
import sys
from pathlib import Path
from typing import NamedTuple

import nest
import numpy as np

CELLS, SOURCES, SEED = 8, 8, 5
LIF = {"C_m": 250.0, "tau_m": 10.0, "t_ref": 2.0, "E_L": -65.0, "V_reset": -70.0, "V_th": -50.0, "I_e": 330.0}
SIMPLE = {"a": 0.02, "b": 0.2, "c": -65.0, "d": 8.0, "I_e": 6.0, "consistent_integration": True}
CONDUCTANCE = {"tau_syn_ex": 1.0, "tau_syn_in": 3.0, "I_e": 270.0}
ADAPTIVE = {"tau_syn_ex": 1.0, "tau_syn_in": 3.0, "V_peak": -40.0, "t_ref": 1.0, "I_e": 600.0, "gsl_error_tol": 1e-2}

TAUGHT = {"phi_max": 0.4, "rate_slope": 0.5, "theta": -57.0, "t_ref": 3.0, "V_m.p": -68.0, "C_m.p": 280.0, "tau_syn_ex.p": 2.5,
          "tau_syn_in.s": 4.0, "I_e.s": 60.0}
"""Of compartments, by the suffixes of their recordables: .s soma, .p dendrite."""
COMPARTMENTS = {"s": "soma", "p": "dendritic"}
VOLTAGE_BASED = {"tau_syn_ex": 1.0, "I_e": 700.0, "A_LTP": 1e-3, "A_LTD": 1e-2, "tau_u_bar_plus": 14.0,
                 "delay_u_bars": 0.03, "u_bar_plus": -65.0, "u_bar_minus": -65.0}


class Circuit(NamedTuple):
    """`step` (ms): the finer, the less the integrators of both sides differ; `every` (ms): of the rows. With a coarse
    gsl_error_tol the adaptive cells take one step of their integrator per step, after which they look for the threshold.
    """

    model: str
    parameters: dict
    scale: float
    step: float = 0.1
    every: float = 0.1
    duration: float = 80.0
    start: tuple = (-65.0, 10.0)
    quantities: tuple = ("V_m",)
    synapse: str = ""
    synapse_parameters: dict = {}
    somatic: float = 0.0
    """Scale of static synapses onto the soma, where plastic ones end on the dendrite; those of sources in the last
    quarter are inhibitory."""


CIRCUITS = {
    "lif_delta": Circuit("iaf_psc_delta", LIF, 1.0), "izhikevich": Circuit("izhikevich", SIMPLE, 4.0),
    "lif_cond_exp": Circuit("iaf_cond_exp", CONDUCTANCE, 4.0, 0.01, 0.5, quantities=("V_m", "g_ex", "g_in")),
    "lif_cond_alpha": Circuit("iaf_cond_alpha", CONDUCTANCE, 2.0, 0.01, 0.5, quantities=("V_m", "g_ex", "g_in")),
    "adex": Circuit("aeif_cond_exp", ADAPTIVE, 8.0, 0.01, 0.5, quantities=("V_m", "w", "g_ex", "g_in")),
    "adex_alpha": Circuit("aeif_cond_alpha", ADAPTIVE, 4.0, 0.01, 0.5, quantities=("V_m", "w", "g_ex", "g_in")),
    "hodgkin_huxley_alpha": Circuit("hh_psc_alpha", {"tau_syn_ex": 1.0, "I_e": 500.0}, 80.0, 0.01, 0.5, start=(-65.0, 4.0)),
    "clopath": Circuit("hh_psc_alpha_clopath", VOLTAGE_BASED, 40.0, 0.005, 0.5,
                       quantities=("V_m", "u_bar_plus", "u_bar_minus"), synapse="clopath_synapse",
                       synapse_parameters={"tau_x": 15.0, "Wmax": 100.0}),
    "urbanczik": Circuit("pp_cond_exp_mc_urbanczik", TAUGHT, 300.0, 0.005, 0.5, 60.0, (-70.0, 4.0),
                         quantities=("V_m.s", "V_m.p", "g_ex.s", "g_in.s", "I_ex.p"), synapse="urbanczik_synapse",
                         synapse_parameters={"eta": 0.3, "tau_Delta": 50.0, "Wmin": 0.0, "Wmax": 1e4}, somatic=6.0)}


def trains(rng, count, rate, step, duration):
    """Spike times of sources (ms, multiples of the step)."""
    steps = np.arange(round(1 / step), round((duration - 5) / step))
    return [np.round(steps[rng.random(len(steps)) < rate * step / 1000] * step, 3) for _ in range(count)]


def connections(rng, sources, targets, probability, scale, step):
    target, source = np.nonzero(rng.random((targets, sources)) < probability)
    weight = scale * (0.5 + rng.random(len(source)))
    return source, target, weight, np.round(step * rng.integers(round(0.1 / step), round(3 / step) + 1, len(source)), 3)


def connect(pre, post, source, target, weight, delay):
    spec = {"synapse_model": "static_synapse", "weight": weight, "delay": delay}
    nest.Connect(np.array(pre.tolist())[source], np.array(post.tolist())[target], "one_to_one", spec)


def sources(spikes):
    generators = nest.Create("spike_generator", len(spikes))
    for generator, times in zip(generators, spikes, strict=True):
        generator.spike_times = times
    parrots = nest.Create("parrot_neuron", len(spikes))
    nest.Connect(generators, parrots, "one_to_one", {"delay": 1.0})
    return parrots


def nested(parameters):
    found = {}
    for name, value in parameters.items():
        plain, _, suffix = name.partition(".")
        (found.setdefault(COMPARTMENTS[suffix], {}) if suffix else found)[plain] = value
    return found


def onto_somata(circuit, rng, cells, parrots):
    """Weights below 0 are those of the inhibitory receptor."""
    source, target, weight, delay = connections(rng, SOURCES, CELLS, 0.5, circuit.somatic, circuit.step)
    weight[source >= SOURCES * 3 // 4] *= -1.0
    kinds = nest.GetDefaults(circuit.model)["receptor_types"]
    for one, other, size, late in zip(source, target, weight, delay, strict=True):
        receptor = kinds["soma_exc" if size >= 0 else "soma_inh"]
        nest.Connect(parrots[int(one)], cells[int(other)], "one_to_one",
                     {"receptor_type": receptor, "weight": abs(size), "delay": late})
    return {"in_source": source, "in_target": target, "in_weight": weight, "in_delay": delay}


def fixed(circuit, rng, cells, parrots):
    inside, outside = (connections(rng, count, CELLS, 0.4, factor * circuit.scale, circuit.step)
                       for count, factor in ((CELLS, 1), (SOURCES, 3)))
    inside[2][inside[0] >= CELLS * 3 // 4] *= -2.0
    connect(cells, cells, *inside)
    connect(parrots, cells, *outside)
    names = ("source", "target", "weight", "delay")
    return {**dict(zip(names, inside, strict=True)), **dict(zip((f"in_{name}" for name in names), outside, strict=True))}


def plastic(circuit, rng, cells, parrots):
    """The connections in the order into which NEST sorts them when it begins. The longest delay is that of another one:
    NEST keeps voltages for this long, and looks them up a little later."""
    source, target, weight, delay = connections(rng, SOURCES, CELLS, 0.5, circuit.scale, circuit.step)
    parameters = {name: np.full(len(source), value) for name, value in circuit.synapse_parameters.items()}
    if circuit.somatic:
        parameters["receptor_type"] = np.full(len(source), nest.GetDefaults(circuit.model)["receptor_types"]["dendritic_exc"])
    nest.Connect(np.array(parrots.tolist())[source], np.array(cells.tolist())[target], "one_to_one",
                 {"synapse_model": circuit.synapse, "weight": weight, "delay": delay, **parameters})
    nest.Connect(parrots[0], nest.Create("parrot_neuron"), "one_to_one", {"delay": 5.0})
    nest.Prepare()
    nest.Cleanup()
    made = nest.GetConnections(synapse_model=circuit.synapse)
    found = {name: np.array(nest.GetStatus(made, name)) for name in ("source", "target", "weight", "delay")}
    return {"source": found["source"] - parrots[0].global_id, "target": found["target"] - cells[0].global_id,
            "start_weight": found["weight"], "delay": found["delay"]}, made


def recording(circuit):
    rng = np.random.default_rng(SEED)
    nest.ResetKernel()
    nest.SetKernelStatus({"resolution": circuit.step, "rng_seed": 1, "local_num_threads": 1})
    cells = nest.Create(circuit.model, CELLS, nested(circuit.parameters))
    start = circuit.start[0] + circuit.start[1] * rng.random(CELLS)
    for cell, voltage in zip(cells, start, strict=True):
        cell.set({"soma": {"V_m": voltage}} if circuit.somatic else {"V_m": voltage})
    spikes = trains(rng, SOURCES, 80.0, circuit.step, circuit.duration)
    parrots, kept = sources(spikes), []
    meter = nest.Create("multimeter", {"interval": circuit.every, "record_from": list(circuit.quantities)})
    recorder = nest.Create("spike_recorder")
    nest.Connect(meter, cells)
    nest.Connect(cells, recorder)
    if circuit.synapse:
        wiring, made = plastic(circuit, rng, cells, parrots)
        wiring |= onto_somata(circuit, rng, cells, parrots) if circuit.somatic else {}
        for _ in range(int(circuit.duration)):
            nest.Simulate(1.0)
            kept.append(nest.GetStatus(made, "weight"))
    else:
        wiring = fixed(circuit, rng, cells, parrots)
        nest.Simulate(circuit.duration)
    order = np.lexsort((meter.events["senders"], meter.events["times"]))
    found = np.column_stack([recorder.events["times"], recorder.events["senders"] - cells[0].global_id])
    left = sorted((round(t + 1.0, 3), i) for i, times in enumerate(spikes) for t in times)
    about = {"model": circuit.model, "parameters": circuit.parameters, "simulator": f"NEST {nest.__version__}",
             "dt_ms": circuit.step, "duration_ms": circuit.duration}
    if circuit.synapse:
        about |= {"synapse": circuit.synapse, "synapse_parameters": circuit.synapse_parameters}
        wiring["weight_every_ms"] = np.array(kept)
    return {"about": json.dumps(about), "start_V_m": start, "in_spikes": np.array(left), **wiring,
            **{"V_m" if name == "V_m.s" else name: meter.events[name][order].reshape(-1, CELLS) for name in circuit.quantities},
            "times": meter.events["times"][order][::CELLS], "spikes": found[np.lexsort((found[:, 1], found[:, 0]))]}


if __name__ == "__main__":
    for name, circuit in CIRCUITS.items():
        if sys.argv[2:] and name not in sys.argv[2:]:
            continue
        arrays = recording(circuit)
        np.savez_compressed(Path(sys.argv[1]) / f"nest_{name}.npz", **arrays)
        print(name, arrays["V_m"].shape, len(arrays["spikes"]), "spikes")
