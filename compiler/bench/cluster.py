"""The jobs of a sweep on a Dask cluster: a scheduler's address, a cluster of one's own, or jobs of Slurm.

What Dask leaves to its users is done here. A nanny whose worker is killed while it starts goes for good, and so does
one that takes longer than `distributed.deploy.lost-worker-timeout` (15 s) to start the next: workers of a cluster of
one's own are replaced. A task is given up after a number of deaths, also if another one at the same worker caused them:
it is tried again alone. Nothing is waited for without end. X213: no worker, or no scheduler, for too long.
"""

from __future__ import annotations

import multiprocessing
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from typing import Any

from cortexc.compiler.bench.workers import Ended
from cortexc.compiler.ir.errors import CortexError, RunFailed

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
