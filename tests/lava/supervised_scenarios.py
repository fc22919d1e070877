"""Networks of Lava's own processes under `cortexc.lava.supervised`, each a program of its own. Prints one JSON object."""

import gc
import json
import multiprocessing
import os
import signal
import sys
import threading
import time
from pathlib import Path

import cortexc.lava

# isort: split
import numpy as np
from faulty_procs.ring import Member, MemberModel
from lava.magma.core.run_conditions import RunContinuous, RunSteps
from lava.magma.core.run_configs import Loihi2SimCfg
from lava.proc.dense.process import Dense
from lava.proc.lif.process import LIF

FLOAT = Loihi2SimCfg(select_tag="floating_pt")


def chain():
    """LIF -> Dense -> LIF; the two layers and the weights."""
    first = LIF(shape=(5,), bias_mant=np.arange(5) * 0.3, vth=2, dv=0.1, du=0.3)
    weights, last = Dense(weights=np.linspace(-1, 1, 20).reshape(4, 5)), LIF(shape=(4,), vth=10, dv=0.2, du=0.5)
    first.s_out.connect(weights.s_in)
    weights.a_out.connect(last.a_in)
    return first, weights, last


def values(processes):
    first, weights, last = processes
    return [var.get().tolist() for var in (first.v, first.u, last.v, last.u, weights.weights)]


def equal_to_lava():
    """The bits of an unsupervised run, through pauses, `get` and `set`."""
    found = []
    for watch in (False, True):
        processes = chain()
        if watch:
            cortexc.lava.supervised(processes[2])
        processes[2].run(RunSteps(40), FLOAT)
        processes[1].weights.set(np.full((4, 5), 0.25))
        processes[0].run(RunSteps(30, blocking=False))
        processes[0].wait()
        found.append(values(processes))
        processes[1].stop()
    return {"equal": found[0] == found[1], "moved": any(any(v) for v in found[0][:4])}


def pauses():
    """Continuously, pause, look, go on, stop, and once more."""
    processes, found = chain(), []
    first, weights, last = processes
    with cortexc.lava.supervised(last):
        for _ in range(2):
            last.run(RunContinuous(), FLOAT)
            found.append(refused(first.v.get))
            time.sleep(0.1)
            first.pause()
            steps = last.runtime.supervisor.steps_done
            last.run(RunSteps(7))
            found.append(steps > 0 and last.runtime.supervisor.steps_done == steps + 7)
            found.append(len(first.v.get()) == 5)
            weights.stop()
    return found


def refused(call):
    try:
        call()
    except cortexc.lava.NotUsable as error:
        return type(error).__name__
    return None


def ring(**faulty):
    members = [Member(name=name, **(faulty if name == "B" else {})) for name in "ABC"]
    for k in range(3):
        members[k].current_out.connect(members[(k + 1) % 3].current_in)
    return members, Loihi2SimCfg(exception_proc_model_map=dict.fromkeys(members, MemberModel))


def faults():
    """What goes wrong in B, what A's command raises, and whether the next network runs."""
    found = {}
    for name, faulty in {"raise": {"fault": "raise", "at": 3}, "constructor": {"fault": "constructor"},
                         "exit": {"fault": "exit", "at": 3}, "wait": {"receive_first": True}}.items():
        members, configuration = ring(**faulty)
        if name == "wait":
            for member in members:
                member.proc_params.overwrite("receive_first", True)
        with cortexc.lava.supervised(members[0], stall_seconds=0.5, first_step_seconds=0.5) as process:
            try:
                process.run(RunSteps(10, blocking=name != "raise"), configuration)
                process.wait()
            except cortexc.lava.SupervisorError as error:
                found[name] = [type(error).__name__, str(error)]
    found["left"] = len(multiprocessing.active_children())
    found["next"] = equal_to_lava()
    return found


def interrupted():
    """Ctrl-C in a run without end; the next run works."""
    processes = chain()
    with cortexc.lava.supervised(processes[0]) as process:
        process.run(RunContinuous(), FLOAT)
        threading.Timer(0.3, os.killpg, [0, signal.SIGINT]).start()
        try:
            process.wait()
        except cortexc.lava.Interrupted as error:
            found = error.signal == signal.SIGINT and error.steps_done > 0 and error.consistent
        left = len(multiprocessing.active_children())
        process.run(RunSteps(5), FLOAT)
        return {"interrupted": found, "left": left, "v": len(process.v.get())}


def cycles(count):
    """Descriptors, threads and kB of memory after a tenth of the cycles, and at their end: two networks each, one after
    the other, with a start, a pause, a run that goes on, and a stop."""
    found = []
    for k in range(count):
        for processes in (chain(), chain()):
            with cortexc.lava.supervised(processes[0]) as process:
                process.run(RunContinuous(), FLOAT)
                process.pause()
                process.run(RunSteps(3))
        del process, processes
        gc.collect()
        if k + 1 in (max(count // 10, 3), count):
            memory = int(Path("/proc/self/statm").read_text().split()[1]) * 4
            found.append([len(os.listdir("/proc/self/fd")), threading.active_count(), memory])
    return found


if __name__ == "__main__":
    print(json.dumps(globals()[sys.argv[1]](*map(int, sys.argv[2:]))))
