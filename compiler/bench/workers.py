"""Processes that run the jobs of a benchmark side by side. They get its signals, and none outlives it.

A signal reaches the runs in the workers, which stop at their next block and keep a checkpoint; what has not ended then
is killed. When the benchmark itself is killed, the kernel kills them.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

from cortexc.compiler.ir.errors import RunFailed
from cortexc.lava_procs.heartbeat import die_with_parent

Result = TypeVar("Result")
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
GRACE = 5.0
"""Seconds that the workers have to end their blocks and write checkpoints."""
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")


def in_processes(run: Callable[..., Result], jobs: Sequence[tuple[Any, ...]], workers: int) -> list[Result]:
    """`run(*job)` for each job, in their order, by so many processes at once (0 or less: as many as processors).

    `run` and the jobs can be pickled. Raises what the first failing job raises, and X195 when a worker dies.
    """
    count = workers if workers > 0 else os.cpu_count() or 1
    pool = ProcessPoolExecutor(count, multiprocessing.get_context("spawn"), _begin, (os.getpid(),))
    try:
        with _shared_cores(count):
            futures = [pool.submit(_job, run, job) for job in jobs]
        wait(futures, return_when=FIRST_EXCEPTION)
        found = [future.result() for future in futures if future.done()]
        pool.shutdown()
        return found
    except BrokenProcessPool:
        _end(pool)
        raise RunFailed("X195", "a process of the benchmark died.", "It may have run out of memory, or was killed; "
                                "with -o, what has finished is kept.") from None
    except BaseException:
        _end(pool)
        raise


@contextlib.contextmanager
def _shared_cores(count: int) -> Iterator[None]:
    """Processes started in the block share the processors: each starts so many threads for linear algebra."""
    before = {name: os.environ.get(name) for name in THREADS}
    os.environ.update({name: before[name] or str(max((os.cpu_count() or 1) // count, 1)) for name in THREADS})
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name)


def _end(pool: ProcessPoolExecutor) -> None:
    """Tells the workers to stop, and kills those that do not within GRACE seconds."""
    workers = list((pool._processes or {}).values())
    pool.shutdown(wait=False, cancel_futures=True)
    deadline = time.monotonic() + GRACE
    for each in workers:
        each.terminate()
    for each in workers:
        each.join(max(deadline - time.monotonic(), 0.0))
        if each.is_alive():
            each.kill()
            each.join()


# ---- in a worker

_state = {"busy": False, "failed": False}


def _begin(parent: int) -> None:
    die_with_parent(parent)
    for number in SIGNALS:
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _on_signal)


def _on_signal(number: int, _frame: object) -> None:
    """Where no run has handlers of its own."""
    if _state["busy"]:
        raise KeyboardInterrupt
    raise SystemExit(128 + number)


def _job(run: Callable[..., Result], job: tuple[Any, ...]) -> Result:
    """The job's result; once one has failed or was interrupted, no other begins here."""
    if _state["failed"]:
        raise KeyboardInterrupt
    _state.update(busy=True, failed=True)
    found = run(*job)
    _state.update(busy=False, failed=False)
    return found
