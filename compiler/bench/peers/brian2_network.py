"""A network in Brian2, C++ standalone, one thread: python brian2_network.py REQUEST.json ANSWER.npz.

Request and answer are as for nest_network.py. Synapses are drawn with numpy. Times are those of the processor; building
includes code, its compilation, and what the program does before its first step.
"""

import json
import os
import resource
import sys
import tempfile

import numpy as np

UNITS = {"iaf_psc_delta": "mV", "iaf_psc_exp": "pA"}
CELLS = {
    "iaf_psc_delta": "dv/dt = (E_L - v) / tau_m : volt (unless refractory)",
    "iaf_psc_exp": """dv/dt = (E_L - v) / tau_m + (i_ex + i_in + I_e) / C_m : volt (unless refractory)
                      di_ex/dt = -i_ex / tau_syn_ex : amp
                      di_in/dt = -i_in / tau_syn_in : amp"""}
PARAMETERS = {"C_m": "pF", "tau_m": "ms", "E_L": "mV", "V_reset": "mV", "V_th": "mV", "I_e": "pA", "tau_syn_ex": "ms",
              "tau_syn_in": "ms"}
PLASTIC = """w : {unit}
             dx/dt = -x / tau_plus : 1 (event-driven)
             dy/dt = -y / tau_minus : 1 (event-driven)"""


def seconds():
    """Of the processor, with its children."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def with_units(parameters):
    return {name: value * getattr(brian2, PARAMETERS[name]) for name, value in parameters.items() if name in PARAMETERS}


def create(population, rng):
    model, own = population["model"], with_units(population["parameters"])
    cells = brian2.NeuronGroup(
        population["n"], CELLS[model], threshold="v >= V_th", reset="v = V_reset", method="exact",
        refractory=population["parameters"]["t_ref"] * brian2.ms, namespace=own, name=population["name"])
    first = population["v"]
    cells.v = (rng.normal(*first, population["n"]) if isinstance(first, list) else first) * brian2.mV
    made = [cells, brian2.SpikeMonitor(cells, name=f"spikes_{population['name']}")]
    if population["rate"]:
        made.append(brian2.PoissonInput(cells, target(model, 1.0), 1000, population["rate"] / 1000 * brian2.Hz,
                                        population["rate_weight"] * getattr(brian2, UNITS[model])))
    return made


def target(model, weight):
    return "v" if model == "iaf_psc_delta" else "i_ex" if weight > 0 else "i_in"


def spread(value, number, rng):
    return rng.normal(*value, number) if isinstance(value, list) else np.full(number, float(value))


def partners(projection, pre, post, rng):
    if projection["rule"] == "fixed_indegree":
        return rng.integers(0, pre, post * projection["number"]), np.repeat(np.arange(post), projection["number"])
    return rng.integers(0, pre, projection["number"]), rng.integers(0, post, projection["number"])


def connect(projection, cells, models, dt, rng):
    model, mean = models[projection["post"]], np.ravel(projection["weight"])[0]
    unit = getattr(brian2, UNITS[model])
    add, plastic = f"{target(model, mean)}_post += w", projection["plastic"]
    kind = "volt" if model == "iaf_psc_delta" else "amp"
    synapses = brian2.Synapses(cells[projection["pre"]], cells[projection["post"]], **(
        {"model": f"w : {kind}", "on_pre": add} if not plastic else rule(plastic, kind, add, unit)))
    pre, post = partners(projection, len(cells[projection["pre"]]), len(cells[projection["post"]]), rng)
    synapses.connect(i=pre, j=post)
    synapses.w = spread(projection["weight"], len(pre), rng) * unit
    delays = projection["delay"]
    if isinstance(delays, list):
        synapses.delay = np.maximum(spread(delays, len(pre), rng), dt) * brian2.ms
    else:
        synapses.delay = delays * brian2.ms
    return synapses


def rule(plastic, kind, add, unit):
    own = {"tau_plus": plastic["tau_plus"] * brian2.ms, "tau_minus": 20.0 * brian2.ms, "limit": plastic["Wmax"] * unit,
           "step": plastic["lambda"] * plastic["Wmax"] * unit}
    return {"model": PLASTIC.format(unit=kind), "namespace": own,
            "on_pre": f"{add}; x += 1; w = clip(w - step * y, 0 * limit, limit)",
            "on_post": "y += 1; w = clip(w + step * x, 0 * limit, limit)"}


def run(request, folder):
    start, dt, rng = seconds(), request["dt"], np.random.default_rng(request["seed"])
    brian2.set_device("cpp_standalone", directory=folder, build_on_run=False)
    brian2.seed(request["seed"])
    brian2.defaultclock.dt = dt * brian2.ms
    made = {each["name"]: create(each, rng) for each in request["populations"]}
    cells, models = {k: v[0] for k, v in made.items()}, {each["name"]: each["model"] for each in request["populations"]}
    synapses = [connect(each, cells, models, dt, rng) for each in request["projections"]]
    net = brian2.Network(*(each for own in made.values() for each in own), *synapses)
    net.run(request["warm_ms"] * brian2.ms)
    net.run(request["ms"] * brian2.ms)
    brian2.device.build(directory=folder, compile=True, run=False)
    compiled, before = seconds(), resource.getrusage(resource.RUSAGE_CHILDREN)
    brian2.device.run(folder, with_output=False, run_args=[])
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    of_run = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    step = brian2.device._last_run_time / request["ms"] * dt
    simulated = step * (request["warm_ms"] + request["ms"]) / dt
    found = {name: np.stack([np.rint(own[1].t / brian2.ms / dt).astype(np.int64), np.array(own[1].i)])
             for name, own in made.items()}
    return {"version": brian2.__version__, "build_s": compiled - start + max(of_run - simulated, 0.0), "bytes": 0,
            "step_s": step, **{f"spikes.{name}": array for name, array in found.items()}}


if __name__ == "__main__":
    import brian2

    with open(sys.argv[1]) as file, tempfile.TemporaryDirectory() as folder:
        answer = run(json.load(file), folder)
    np.savez_compressed(sys.argv[2], **answer)
