"""`cortexc bench lava-messages`: what a message costs between two Lava processes that do nothing else.

Two empty processes send each other a vector in every step: on Lava as it is, and supervised, whose channels have no
threads. The parts of a message are measured alone: the copies, the semaphores, and a process that has to be woken.
"""

from __future__ import annotations

import multiprocessing
import statistics
import time
from collections.abc import Callable
from typing import Any

from cortexc import lava_procs  # noqa: F401 - before Lava

# isort: split
import numpy as np
from lava.magma.core.decorator import implements, requires
from lava.magma.core.model.py.model import PyAsyncProcessModel, PyLoihiProcessModel
from lava.magma.core.model.py.ports import PyInPort, PyOutPort
from lava.magma.core.model.py.type import LavaPyType
from lava.magma.core.process.ports.ports import InPort, OutPort
from lava.magma.core.process.process import AbstractProcess
from lava.magma.core.resources import CPU
from lava.magma.core.run_conditions import RunSteps
from lava.magma.core.run_configs import Loihi2SimCfg
from lava.magma.core.sync.protocols.async_protocol import AsyncProtocol
from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol

from cortexc.lava_procs.progress import cpu_seconds
from cortexc.lava_procs.supervised import Supervised

WIDTH, WARM_UP, REPEATS = 10, 50, 5


class Empty(AbstractProcess):
    """Sends a vector of zeros, and receives one."""

    def __init__(self, **parameters: Any) -> None:
        super().__init__(**parameters)
        self.vector_in, self.vector_out = InPort(shape=(WIDTH,)), OutPort(shape=(WIDTH,))


@implements(proc=Empty, protocol=LoihiProtocol)
@requires(CPU)
class LoihiModel(PyLoihiProcessModel):
    vector_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, float)
    vector_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, float)

    def run_spk(self) -> None:
        self.vector_out.send(np.zeros(WIDTH))
        self.vector_in.recv()


@implements(proc=Empty, protocol=AsyncProtocol)
@requires(CPU)
class AsyncModel(PyAsyncProcessModel):
    vector_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, float)
    vector_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, float)

    def run_async(self) -> None:
        for _ in range(self.num_steps):
            self.vector_out.send(np.zeros(WIDTH))
            self.vector_in.recv()


MODELS = {"loihi": LoihiModel, "async": AsyncModel}


def rows(options: dict[str, Any]) -> list[dict[str, Any]]:
    """Rows {network, protocol, processes, us_per_step, median_us_per_step, cpu_us_per_step}, and {part, us}. Options:
    steps (per repeat), processes (a list)."""
    steps, counts = int(options.get("steps", 2000)), options.get("processes", [2, 8])
    found = [case_row(network, protocol, count, steps)
             for count in counts for protocol in MODELS for network in ("lava", "supervised")]
    return found + [{"part": name, "us": round(us, 2)} for name, us in parts().items()]


def case_row(network: str, protocol: str, count: int, steps: int) -> dict[str, Any]:
    processes = [Empty(name=f"empty {k}") for k in range(count)]
    for k, process in enumerate(processes):
        process.vector_out.connect(processes[(k + 1) % count].vector_in)
    first, seconds = processes[0], []
    if network == "supervised":
        Supervised(first)
    try:
        first.run(RunSteps(WARM_UP), Loihi2SimCfg(exception_proc_model_map=dict.fromkeys(processes, MODELS[protocol])))
        children = [actor.pid for actor in first.runtime._messaging_infrastructure.actors]
        used = cpu_seconds(children)
        for _ in range(REPEATS):
            began = time.perf_counter()
            first.run(RunSteps(steps))
            seconds.append(time.perf_counter() - began)
        used = cpu_seconds(children) - used
    finally:
        first.stop()
    of_all = {"us_per_step": min(seconds), "median_us_per_step": statistics.median(seconds),
              "cpu_us_per_step": used / REPEATS}
    return {"network": network, "protocol": protocol, "processes": count,
            **{name: round(value / steps * 1e6, 1) for name, value in of_all.items()}}


def parts() -> dict[str, float]:
    """Microseconds of the parts of one message."""
    vector, memory, semaphore = np.zeros(WIDTH), np.zeros(WIDTH), multiprocessing.get_context("fork").Semaphore(0)

    def copies() -> None:
        memory[:] = vector
        memory.copy()

    def semaphores() -> None:
        semaphore.release()
        semaphore.acquire()

    return {"copy in and out": once(copies), "semaphore that nobody waits for": once(semaphores),
            "process that sleeps": woken()}


def once(task: Callable[[], None], times: int = 20_000) -> float:
    began = time.perf_counter()
    for _ in range(times):
        task()
    return (time.perf_counter() - began) / times * 1e6


def woken(times: int = 5_000) -> float:
    """From the release of a semaphore until the process that waits for it runs."""
    context = multiprocessing.get_context("fork")
    there, back = context.Semaphore(0), context.Semaphore(0)

    def answer() -> None:
        for _ in range(times):
            there.acquire()
            back.release()

    def turn() -> None:
        there.release()
        back.acquire()

    other = context.Process(target=answer, daemon=True)
    other.start()
    us = once(turn, times) / 2
    other.join()
    return us
