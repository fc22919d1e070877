"""A network in NEST 3: python nest_network.py REQUEST.json ANSWER.npz, in an environment that has NEST and numpy.

The request is what `compiler.bench.networks` describes. The answer holds the seconds of the processor that building
and a step take, the bytes that the process grew by, and of every population the steps and cells of its spikes.
"""

import json
import resource
import sys
import time

import numpy as np

RULES = {"fixed_indegree": "indegree", "fixed_total": "N"}
NAMES = {"fixed_indegree": "fixed_indegree", "fixed_total": "fixed_total_number"}


def memory():
    """Bytes, the largest so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def spread(value, least=None):
    """A number, or what is drawn around it, not below `least`."""
    if not isinstance(value, list):
        return value
    drawn = nest.random.normal(mean=value[0], std=value[1])
    return drawn if least is None else nest.math.max(drawn, least)


def create(population):
    cells = nest.Create(population["model"], population["n"], population["parameters"])
    cells.V_m = spread(population["v"])
    if population["rate"]:
        generator = nest.Create("poisson_generator", 1, {"rate": population["rate"]})
        spec = {"weight": population["rate_weight"], "delay": population["rate_delay"]}
        nest.Connect(generator, cells, syn_spec=spec)
    recorder = nest.Create("spike_recorder")
    nest.Connect(cells, recorder)
    return cells, recorder


def connect(cells, projection, dt):
    rule = projection["rule"]
    spec = {"synapse_model": "static_synapse", "weight": spread(projection["weight"]),
            "delay": spread(projection["delay"], dt)}
    if projection["plastic"]:
        spec |= {"synapse_model": "stdp_synapse", **projection["plastic"]}
    nest.Connect(cells[projection["pre"]], cells[projection["post"]],
                 {"rule": NAMES[rule], RULES[rule]: projection["number"]}, spec)


def spikes(recorder, cells, dt):
    """(step, cell) of every spike, both from 0."""
    events = recorder.events
    return np.stack([np.rint(events["times"] / dt).astype(np.int64) - 1, events["senders"] - cells[0].global_id])


def run(request):
    dt = request["dt"]
    nest.set_verbosity("M_ERROR")
    nest.ResetKernel()
    nest.SetKernelStatus({"resolution": dt, "rng_seed": request["seed"], "local_num_threads": 1})
    empty, start = memory(), time.process_time()
    made = {each["name"]: create(each) for each in request["populations"]}
    cells = {name: pair[0] for name, pair in made.items()}
    for projection in request["projections"]:
        connect(cells, projection, dt)
    nest.Simulate(dt)
    built = time.process_time()
    nest.Simulate(request["warm_ms"] - dt)
    warm = time.process_time()
    nest.Simulate(request["ms"])
    done = time.process_time()
    found = {name: spikes(recorder, cells[name], dt) for name, (_, recorder) in made.items()}
    return {"version": nest.__version__, "build_s": built - start, "bytes": memory() - empty,
            "step_s": (done - warm) / request["ms"] * dt,
            **{f"spikes.{name}": array for name, array in found.items()}}


if __name__ == "__main__":
    import nest

    with open(sys.argv[1]) as file:
        answer = run(json.load(file))
    np.savez_compressed(sys.argv[2], **answer)
