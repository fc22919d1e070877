"""Networks that go right or wrong, each run as a program of its own: python scenarios.py NAME [ARGUMENT].

Writes one JSON object on standard output. The names of shared memory and semaphores get a prefix made of the
process id, so that the test can tell them from those of other programs.
"""

import contextlib
import gc
import json
import logging
import mmap
import multiprocessing
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from multiprocessing import shared_memory

from cortexc import lava_procs  # noqa: F401 - before Lava

# isort: split
import numpy as np
from faulty_procs.ring import Member, MemberModel
from lava.magma.core.process.process import ProcessServer
from lava.magma.core.run_conditions import RunSteps
from lava.magma.core.run_configs import Loihi2SimCfg
from threadpoolctl import threadpool_info

from cortexc.lava_procs.supervisor import Interrupted, NotUsable, Supervisor, SupervisorError

NAMES = ("A", "B", "C")
PAUSE = """
import os, signal, sys, time
os.kill(int(sys.argv[1]), signal.SIGSTOP)
time.sleep(2)
os.kill(int(sys.argv[1]), signal.SIGCONT)
"""


def ring(size: int = 3, faulty: int | None = 1, **parameters: object) -> tuple[list[Member], np.ndarray]:
    """Returns the members of a ring and their arena, float64 (size,).

    The parameters go to the faulty member, or to all members if it is None.
    """
    arena = np.frombuffer(mmap.mmap(-1, 8 * size), dtype=np.float64)
    members = []
    for k in range(size):
        own = parameters if faulty in (k, None) else {}
        members.append(Member(name=NAMES[k], index=k, arena=arena, **own))
    for k in range(size):
        members[k].current_out.connect(members[(k + 1) % size].current_in)
    return members, arena


def supervised(members: list[Member], **options: object) -> Supervisor:
    """Returns a supervisor for the members, with the models given by instance."""
    configuration = Loihi2SimCfg(exception_proc_model_map=dict.fromkeys(members, MemberModel))
    return Supervisor(members, configuration, **options)


def threads() -> list[str]:
    """Returns the names of all threads but the one that forks, which stays."""
    return [thread.name for thread in threading.enumerate() if thread.name != "cortexc launcher"]


def report(**values: object) -> None:
    """Write the result of the scenario."""
    print(json.dumps(values), flush=True)


@contextlib.contextmanager
def expecting_error() -> Iterator[None]:
    """Report the error that the block raises, its attributes and its time; then run a sound network."""
    began = time.monotonic()
    try:
        yield
    except SupervisorError as error:
        elapsed = time.monotonic() - began
        name = type(error).__name__
        report(error=name, elapsed=elapsed, text=str(error), second=run_healthy(), **vars(error))


def run_healthy() -> list[float]:
    """Returns the value of the first member after a sound run: proof that the interpreter is still usable."""
    members, _ = ring()
    with supervised(members) as supervisor:
        assert supervisor.run(20) == 20
        value = members[0].value.get()
    return value.tolist()


def healthy() -> None:
    """Two networks one after the other, several runs, a Var read in between, stopped twice."""
    members, arena = ring()
    supervisor = supervised(members)
    supervisor.start()
    done = supervisor.run(7) + supervisor.run(0) + supervisor.run(500)
    value = members[0].value.get().tolist()
    threads_before = len(threads())
    supervisor.stop()
    supervisor.stop()
    second = run_healthy()
    gc.collect()
    report(
        done=done,
        value=value,
        arena=arena.tolist(),
        second=second,
        handlers=len(logging.getLogger().handlers),
        known=len(ProcessServer().processes),
        threads=[threads_before, len(threads())],
        children=len(multiprocessing.active_children()),
    )


def fault(kind: str) -> None:
    """A member fails in the third step or in its constructor; then a sound network."""
    members, _ = ring(fault=kind, at=3)
    with expecting_error(), supervised(members) as supervisor:
        supervisor.run(100)


def lost(kind: str) -> None:
    """A member dies in a program that lets the system collect its children; then a sound network."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    fault(kind)


def deadlock() -> None:
    """All members receive first; then a sound network."""
    members, _ = ring(2, faulty=None, receive_first=True)
    with expecting_error(), supervised(members, stall_seconds=2.0) as supervisor:
        supervisor.run(100)


def endless() -> None:
    """A member computes for ever in the third step; then a sound network."""
    members, _ = ring(fault="endless", at=3)
    with expecting_error(), supervised(members, stall_seconds=0.2, compute_seconds=1.0) as supervisor:
        supervisor.run(100)


def stopped() -> None:
    """A member is stopped for longer than a stall may last, and goes on; then everything here is."""
    members, arena = ring()
    with supervised(members, stall_seconds=0.5, compute_seconds=0.5, first_step_seconds=0.5) as supervisor:
        supervisor.run(10)
        for target in (supervisor.process_ids["B"], -os.getpid()):
            helper = subprocess.Popen([sys.executable, "-c", PAUSE, str(target)], start_new_session=True)
            while helper.poll() is None:
                supervisor.run(50)
        done = supervisor.steps_done
    report(done=done > 10, arena=arena.tolist() == [done] * 3, second=run_healthy())


def slow_start() -> None:
    """The first step takes longer than a stall may: it computes, so that is no stall."""
    members, _ = ring(seconds=0.3)
    with supervised(members, stall_seconds=0.1, compute_seconds=0.1) as supervisor:
        report(done=supervisor.run(3))


def interrupt(when: str) -> None:
    """Runs until it gets a signal: in quick steps, in slow ones after quick ones, in a step without end, or
    during the start.
    """
    at, parameters = {
        "quick": (500, {}),
        "slow": (1500, {"seconds": 0.3}),
        "endless": (50, {"fault": "endless"}),
        "start": (0, {"fault": "constructor_slow"}),
    }[when]
    members, arena = ring(at=at + 1, **parameters)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    threading.Thread(target=announce_after, args=(arena, at), daemon=True).start()
    try:
        with supervised(members, compute_seconds=60.0) as supervisor:
            supervisor.run(10**9)
    except Interrupted as error:
        restored = (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before
        report(
            signal=error.signal,
            steps_done=error.steps_done,
            consistent=error.consistent,
            arena=arena.tolist(),
            restored=restored,
            second=run_healthy(),
        )


def announce_after(arena: np.ndarray, step: int) -> None:
    """Tell the test that it may send its signal, once the members have done so many steps."""
    while arena.min() < step:
        time.sleep(0.01)
    time.sleep(0.4)
    announce()


def announce() -> None:
    """Tell the test that it may send its signal now."""
    with open("ready", "w") as file:
        file.write("ready")


def wait_to_be_killed(where: str) -> None:
    """Runs, or stays between two runs, until the test kills this process."""
    members, _ = ring()
    supervisor = supervised(members)
    supervisor.start()
    report(children=supervisor.process_ids)
    threading.Timer(0.5, announce).start()
    if where == "between":
        time.sleep(60)
    supervisor.run(10**9)


def forgotten() -> None:
    """The program ends without stopping the network."""
    members, _ = ring()
    supervisor = supervised(members)
    supervisor.start()
    report(done=supervisor.run(10))


def run_after_stop() -> None:
    """A stopped network is used again, through the supervisor and through Lava."""
    members, _ = ring()
    supervisor = supervised(members)
    with contextlib.suppress(NotUsable):
        supervisor.run(1)
        report(early=True)
    with supervisor:
        supervisor.run(10)
    errors = []
    for attempt in (lambda: supervisor.run(1), supervisor.start, lambda: members[0].run(RunSteps(1))):
        try:
            attempt()
        except Exception as error:
            errors.append(type(error).__name__)
    report(errors=errors, value=members[0].value.get())


def wrong_networks() -> None:
    """Two networks are given as one: the error says so, and nothing is left."""
    text = ""
    try:
        supervised([*ring()[0], *ring(2)[0][1:]]).start()
    except ValueError as error:
        text = str(error)
    report(text=text, second=run_healthy(), children=len(multiprocessing.active_children()))


def memory_has_no_name() -> None:
    """A running network has nothing in the file system and no processes but its own."""
    members, _ = ring()
    with supervised(members) as supervisor:
        done = supervisor.run(10)
        own = set(supervisor.process_ids.values())
        others = [child.pid for child in multiprocessing.active_children() if child.pid not in own]
        report(done=done, others=others, named=[name for name in os.listdir("/dev/shm") if f"{os.getpid():x}x" in name])


def pipes_of_others() -> None:
    """A pipe that another thread was about to give to a program of its own ends when that program ends."""
    reading, writing = os.pipe()
    members, _ = ring()
    with supervised(members) as supervisor:
        os.close(writing)
        ended = bool(select.select([reading], [], [], 5.0)[0]) and os.read(reading, 1) == b""
        done = supervisor.run(10)
    report(ended=ended, done=done, second=run_healthy())


def blas_counts() -> list[int]:
    return [library["num_threads"] for library in threadpool_info()]


def blas_threads() -> None:
    """Counts the threads that a matrix product starts in a model's process, and those set in this process."""
    counts = blas_counts()
    members, arena = ring(2, faulty=None, fault="product", at=2)
    with supervised(members) as supervisor:
        supervisor.run(3)
    report(started=arena.tolist(), before=counts, after=blas_counts())


def main(name: str, *arguments: str) -> None:
    """Run a scenario, with names of shared memory that can be told from those of others."""
    shared_memory._SHM_NAME_PREFIX = f"/{os.getpid():x}x"
    multiprocessing.current_process()._config["semprefix"] = f"/{os.getpid():x}x"
    globals()[name](*arguments)


if __name__ == "__main__":
    main(*sys.argv[1:])
