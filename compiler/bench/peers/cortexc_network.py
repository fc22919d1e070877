"""The same network on the backend native of this project: python cortexc_network.py REQUEST.json ANSWER.npz."""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from typing import Any

import numpy as np

from cortexc.compiler.backends.native import Native
from cortexc.compiler.bench.networks import circuit_of, experiment_of
from cortexc.compiler.experiments.session import Session
from cortexc.compiler.experiments.spikes import spikes_of
from cortexc.compiler.experiments.tasks.simulate import STREAM


def seconds() -> float:
    """Of the processor, with the C compiler's."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def memory() -> int:
    """Bytes, the largest so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def synapse_bytes(session: Session) -> int:
    """What the program holds of the network, currents and states of cells included."""
    runner = session.runner
    return int(runner.memory.nbytes + runner.group.indices().nbytes) if isinstance(runner, Native) else 0


def run(request: dict[str, Any]) -> dict[str, Any]:
    circuit, warm, ms = circuit_of(request), request["warm_ms"], request["ms"]
    empty, start = memory(), seconds()
    how = request["seed"], request["backend"], request["granularity"]
    with Session(experiment_of(circuit, warm, ms, *how)) as session:
        session.run(1)
        built = seconds()
        session.run(round(warm / circuit.dt) - 1)
        before, wall = seconds(), time.perf_counter()
        session.run()
        done, passed = seconds(), time.perf_counter() - wall
        observed, taken = session.plan.spiking, session.records.taken()
        assert observed is not None
        spikes = {name: np.stack([own[0].steps, own[0].cells]) for name, own in
                  spikes_of(observed, taken, STREAM, session.position).items()}
        held = synapse_bytes(session)
    steps = ms / circuit.dt
    return {"version": "", "build_s": built - start, "bytes": memory() - empty, "held_bytes": held,
            "step_s": (done - before) / steps, "wall_step_s": passed / steps,
            **{f"spikes.{name}": array for name, array in spikes.items()}}


if __name__ == "__main__":
    with open(sys.argv[1]) as file:
        answer = run(json.load(file))
    np.savez_compressed(sys.argv[2], **answer)
