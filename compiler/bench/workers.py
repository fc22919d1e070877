"""Processes that run the jobs of benchmarks and sweeps side by side. They get its signals, and none outlives it.

A signal reaches the runs in the workers, which stop at their next block and keep a checkpoint; what has not ended then
is killed. When the benchmark itself is killed, the kernel kills them.

A sweep's jobs can go to a Dask cluster, too: a scheduler's address, a cluster of one's own, or jobs of Slurm. What Dask
leaves to its users is done here. A nanny whose worker is killed while it starts goes for good, and so does one that
takes longer than `distributed.deploy.lost-worker-timeout` (15 s) to start the next: workers of a cluster of one's own
are replaced. A task is given up after a number of deaths, also if another one at the same worker caused them: it is
tried again alone. Nothing is waited for without end. X213: no worker, or no scheduler, for too long.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

from cortexc.compiler.ir.errors import CortexError, RunFailed
from cortexc.lava_procs.heartbeat import die_with_parent

Result = TypeVar("Result")
Ended = Callable[[int, Any], None]
"""Called with a job's number and result as soon as it is there."""
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
GRACE = 5.0
"""Seconds that the workers have to end their blocks and write checkpoints."""
DEATHS, STARTS = 5, 50
"""Workers that may die in one job before it is given up, and one after another while they start."""
STARTING = -1
"""Stands for the number of a job while a worker starts."""
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")


def in_processes(run: Callable[..., Result], jobs: Sequence[tuple[Any, ...]], workers: int,
                 lost: Callable[[int], Result] | None = None, ended: Ended | None = None) -> list[Result]:
    """`run(*job)` for each job, in their order, by so many processes at once (0 or less: as many as processors).

    `run` and the jobs can be pickled. Where a worker dies, another one runs its job again; after DEATHS of them,
    `lost(number)` is the job's result. Raises what the first failing job raises; X195 where `lost` is not given, or
    where no worker starts.
    """
    count = workers if workers > 0 else os.cpu_count() or 1
    workshop = _Workshop(run, jobs, count, lost, ended or (lambda number, result: None))
    try:
        with _shared_cores(count):
            while len(workshop.found) < len(jobs):
                workshop.assign()
                workshop.take()
        for pool in workshop.pools:
            pool.shutdown()
        return [workshop.found[number] for number in range(len(jobs))]
    except BrokenProcessPool:
        _end(workshop.pools)
        raise RunFailed("X195", "a process of the benchmark died.", "It may have run out of memory, or was killed; "
                                "with -o, what has finished is kept.") from None
    except BaseException:
        _end(workshop.pools)
        raise


class _Workshop:
    """Each worker is a pool of its own, so that one that dies takes its job along and no other."""

    def __init__(self, run: Callable[..., Any], jobs: Sequence[tuple[Any, ...]], count: int,
                 lost: Callable[[int], Any] | None, ended: Ended):
        self.run, self.jobs, self.count, self.lost, self.ended = run, jobs, count, lost, ended
        self.waiting, self.deaths, self.found = deque(range(len(jobs))), Counter[int](), dict[int, Any]()
        self.running: dict[Future[Any], tuple[int, ProcessPoolExecutor]] = {}
        self.pools: list[ProcessPoolExecutor] = []
        self.free: list[ProcessPoolExecutor] = []

    def assign(self) -> None:
        """Gives every job that waits a worker that is free, and starts others where there are too few."""
        while self.waiting and self.free:
            pool = self.free.pop()
            try:
                future = pool.submit(_job, self.run, self.jobs[self.waiting[0]])
                self.running[future] = self.waiting.popleft(), pool
            except BrokenProcessPool:
                self.pools.remove(pool)
        for _ in range(min(self.count - len(self.running), len(self.waiting))):
            pool = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), _begin, (os.getpid(),))
            self.pools.append(pool)
            self.running[pool.submit(_ready)] = STARTING, pool

    def take(self) -> None:
        """What has ended since, or died."""
        for future in wait(self.running, return_when=FIRST_COMPLETED).done:
            number, pool = self.running.pop(future)
            try:
                result = future.result()
            except (Exception, KeyboardInterrupt) as error:
                if not _is_death(error):
                    raise
                self._died(number, pool)
            else:
                self.free.append(pool)
                self._keep(number, result)

    def _keep(self, number: int, result: Any) -> None:
        if number == STARTING:
            self.deaths[STARTING] = 0
            return
        self.found[number] = result
        self.ended(number, result)

    def _died(self, number: int, pool: ProcessPoolExecutor) -> None:
        """Its job waits again, or is given up. Raises BrokenProcessPool."""
        self.pools.remove(pool)
        _end([pool])
        self.deaths[number] += 1
        if self.deaths[number] < (STARTS if number == STARTING else DEATHS):
            self.waiting.extend([number] * (number != STARTING))
        elif self.lost is None or number == STARTING:
            raise BrokenProcessPool
        else:
            self._keep(number, self.lost(number))


def _is_death(error: BaseException) -> bool:
    """Of a worker, or a signal that it alone was sent."""
    return isinstance(error, BrokenProcessPool | KeyboardInterrupt) or hasattr(error, "signal")


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


def _end(pools: Sequence[ProcessPoolExecutor]) -> None:
    """Tells the workers to stop, and kills those that do not within GRACE seconds."""
    workers = [worker for pool in pools for worker in (pool._processes or {}).values()]
    for pool in pools:
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

_state = {"busy": False}


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


def _ready() -> None:
    """The worker has begun: what kills it from now on is its job, or somebody else."""


def _job(run: Callable[..., Result], job: tuple[Any, ...]) -> Result:
    """The job's result; once one has failed or was interrupted, the worker is not busy, and ends at the next signal."""
    _state["busy"] = True
    try:
        return run(*job)
    finally:
        _state["busy"] = False


# ---- on a cluster

POLL, WATCH, ANSWER = 0.05, 3.0, 15.0
"""Seconds between looks at the results, and at the workers; for an answer of the scheduler."""
ABSENCE = 300.0
"""Seconds without any worker after which a sweep is given up."""
ATTEMPTS = 3
"""Times that a job is handed to Dask, which gives it up after more deaths than its key
`distributed.scheduler.allowed-failures` (3); after the first, when all others are done, and alone."""


class Cluster:
    """A scheduler that is connected to; `own`: the cluster behind it, where it is ours to keep at strength."""

    def __init__(self, address: str, own: Any = None, absence: float = ABSENCE):
        """Raises X211."""
        self.own, self.absence = own, absence
        self.wanted = len(own.worker_spec) if own is not None else 0
        self.looked = self.seen = time.monotonic()
        self.distributed = package("distributed")
        try:
            self.client = self.distributed.Client(address, timeout="10s")
        except (OSError, ValueError) as error:
            raise CortexError("X211", f"there is no Dask scheduler at '{address}': {error}.") from None

    def run(self, run: Callable[[Any], Any], jobs: Sequence[Any], lost: Callable[[int], Any],
            ended: Ended) -> list[Any]:
        """`run(job)` for each job, in their order; `lost(number)` where workers keep dying in one. Raises X213, and
        what a job raises."""
        tasks = Tasks(self, run, jobs, lost)
        with self.client:
            while len(tasks.found) < len(jobs):
                for number in tasks.ended():
                    ended(number, tasks.found[number])
                self.look()
                time.sleep(POLL)
        return [tasks.found[number] for number in range(len(jobs))]

    def look(self) -> None:
        """Replaces workers that are lost. Raises X213."""
        now = time.monotonic()
        if now - self.looked < WATCH:
            return
        self.looked = now
        self.seen = now if self._has_workers() else self.seen
        if now - self.seen > self.absence:
            raise RunFailed("X213", f"the cluster has had no worker, or no scheduler, for {self.absence:g} seconds.",
                            "Start workers; started again, the sweep goes on from here.")
        if self.own is not None:
            gone = sum(each.status.name in ("closed", "failed") for each in self.own.workers.values())
            self.own.scale(self.wanted + gone)

    def _has_workers(self) -> bool:
        if self.client.status != "running":
            return False
        try:
            found = self.client.sync(self.client.scheduler.identity, callback_timeout=ANSWER)
        except (OSError, TimeoutError, self.distributed.TimeoutError):
            return False
        return bool(found["workers"])


class Tasks:
    """`found`: results by the job's number."""

    def __init__(self, cluster: Cluster, run: Callable[[Any], Any], jobs: Sequence[Any], lost: Callable[[int], Any]):
        self.client, self.distributed, self.run, self.jobs, self.lost = (
            cluster.client, cluster.distributed, run, jobs, lost)
        self.attempts, self.found = Counter[int](), dict[int, Any]()
        self.suspects: deque[int] = deque()
        self.numbers: dict[str, int] = {}
        self.waiting = self.distributed.as_completed(raise_errors=False)
        for number in range(len(jobs)):
            self._submit(number)

    def _submit(self, number: int) -> None:
        self.attempts[number] += 1
        future = self.client.submit(in_worker, self.run, self.jobs[number], pure=False)
        self.numbers[future.key] = number
        self.waiting.add(future)

    def ended(self) -> list[int]:
        """Those that have ended since."""
        numbers = [self._taken(future) for future in self.waiting.next_batch(block=False)]
        if self.suspects and self.waiting.is_empty():
            self._submit(self.suspects.popleft())
        return [number for number in numbers if number is not None]

    def _taken(self, future: Any) -> int | None:
        number = self.numbers[future.key]
        try:
            self.found[number] = future.result(timeout=ANSWER)
        except (TimeoutError, self.distributed.TimeoutError):  # its worker has gone, and it is computed again
            self.waiting.add(future)
            return None
        except self.distributed.KilledWorker:
            if self.attempts[number] < ATTEMPTS:
                self.suspects.append(number)
                return None
            self.found[number] = self.lost(number)
        except self.distributed.CancelledError as error:
            raise RunFailed("X213", f"the scheduler has gone: {error}.",
                            "Started again, the sweep goes on from here.") from None
        return number


def in_worker(run: Callable[[Any], Any], job: Any) -> Any:
    """What a task does. Nannies make their workers daemons, which must not have children; those of Lava end with their
    parent anyway."""
    multiprocessing.current_process()._config["daemon"] = False  # type: ignore[attr-defined]
    return run(job)


def slurm(jobs: int) -> Any:
    """So many jobs of the queue, with workers as Dask's configuration for `dask-jobqueue` says. Raises X211."""
    try:
        cluster = package("dask_jobqueue").SLURMCluster()
    except (ValueError, TypeError) as error:
        raise CortexError("X211", f"Dask's configuration says too little of Slurm: {error}.",
                          "Give jobqueue.slurm.cores and .memory in ~/.config/dask/jobqueue.yaml.") from None
    cluster.scale(jobs=jobs or 1)
    return cluster


def package(name: str) -> Any:
    """Of the extra `sweep`. Raises X211."""
    from importlib import import_module

    try:
        return import_module(name)
    except ImportError as error:
        raise CortexError("X211", f"extra 'sweep' is not installed: {error}.",
                          "Run pip install 'cortexc[sweep]'.") from None
