"""A sweep on a Dask cluster whose workers are killed at random moments, or have gone for good."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cortexc import CortexError
from cortexc.compiler.bench.sweep import sweep
from cortexc.compiler.bench.workers import ATTEMPTS, Cluster, in_worker

distributed = pytest.importorskip("distributed")
RUNS = int(os.environ.get("CORTEXC_SWEEP", "6"))
EPOCHS = 60 if RUNS > 6 else 1
SET = {"run.backend": "native", "model.layers": [64, 30, 10], "data.limits": {"train": 400, "test": 20},
       "protocol.epochs": EPOCHS, "protocol.presentation_steps": 40, "run.checkpoint_seconds": 0.5}


@pytest.fixture(autouse=True)
def plain_kernels() -> None:
    """Kernels are compiled here."""


@pytest.fixture(autouse=True)
def ended_in_time() -> Iterator[None]:
    def late(*_: object) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(120 if RUNS == 6 else 3000)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture
def cluster() -> Iterator[Any]:
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as found:
        yield found


def workers(cluster: Any) -> list[int]:
    return [nanny.process.pid for nanny in cluster.workers.values() if nanny.process and nanny.process.pid]


def busy_seconds() -> float:
    """Of all processors and programs since the machine began."""
    user, nice, system, *_ = map(int, Path("/proc/stat").read_text().split()[1:4])
    return (user + nice + system) / os.sysconf("SC_CLK_TCK")


@pytest.mark.slow
def test_a_sweep_whose_workers_are_killed_has_the_digests_of_a_serial_run(tmp_path: Path, cluster: Any) -> None:
    """`make test-long`: 200 runs of a second each, both cores in use."""
    kills, stop, draw = [], threading.Event(), random.Random(1)

    def kill() -> None:
        while not stop.wait(draw.uniform(5, 15) if EPOCHS > 1 else 0.02):
            if not any((tmp_path / "cluster").rglob("results.json")):
                continue
            for pid in draw.sample(workers(cluster), 1):
                os.kill(pid, signal.SIGKILL)
                kills.append(pid)
            if EPOCHS == 1:
                return

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    start, busy, load = time.monotonic(), busy_seconds(), os.getloadavg()
    rows = sweep("pal_digits", [f"run.seeds=1..{RUNS}"], tmp_path / "cluster", SET, on=cluster, batch=1)
    seconds, busy = time.monotonic() - start, busy_seconds() - busy
    stop.set()
    killer.join()
    serial = sweep("pal_digits", [f"run.seeds=1..{RUNS}"], tmp_path / "serial", SET, jobs=1, batch=1)
    print(f"{RUNS} runs, {len(kills)} workers killed, {seconds:.1f} s, processor time / wall {busy / seconds:.2f} of "
          f"{os.cpu_count()}, load before {load[0]:.2f}")
    assert [row["error"] for row in rows] == [None] * RUNS and kills
    assert [row["weights_sha256"] for row in rows] == [row["weights_sha256"] for row in serial]


@pytest.mark.slow
def test_a_task_that_kills_every_worker_is_given_up_and_costs_the_others_nothing(tmp_path: Path) -> None:
    import dask

    def fatal(job: tuple[Path, int]) -> int:  # a function within a function goes to workers as it is
        folder, number = job
        (folder / f"{number}_{os.getpid()}").touch()
        if number == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return number

    with dask.config.set({"distributed.scheduler.allowed-failures": 0}), \
            distributed.LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None) as cluster:
        jobs, ended = [(tmp_path, number) for number in range(3)], []
        found = Cluster(cluster.scheduler_address, cluster).run(fatal, jobs, lambda number: -number, lambda *each: ended.append(each))
    assert found == [0, -1, 2] and sorted(ended) == [(0, 0), (1, -1), (2, 2)]
    assert len(list(tmp_path.glob("1_*"))) == ATTEMPTS


def test_a_cluster_without_workers_is_given_up() -> None:
    with distributed.LocalCluster(n_workers=0, dashboard_address=None, processes=False) as cluster, \
            pytest.raises(CortexError, match="X213 the cluster has had no worker"):
        Cluster(cluster.scheduler_address, absence=1.0).run(abs, [1], abs, print)


def test_a_task_may_have_children_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lava's processes are children, and workers of a nanny are daemons."""
    import multiprocessing

    monkeypatch.setitem(multiprocessing.current_process()._config, "daemon", True)
    assert in_worker(lambda _: multiprocessing.current_process().daemon, 0) is False


def test_what_slurm_would_be_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """The script of a job, as dask-jobqueue writes it from Dask's configuration; none is sent here."""
    dask_jobqueue, dask = pytest.importorskip("dask_jobqueue"), pytest.importorskip("dask")
    from cortexc.compiler.bench.workers import slurm

    asked = []
    monkeypatch.setattr(dask_jobqueue.SLURMCluster, "scale", lambda self, *count, **wanted: asked.append(wanted or count))
    with pytest.raises(CortexError, match="X211 Dask's configuration says too little of Slurm"):
        slurm(3)
    with dask.config.set({"jobqueue.slurm.cores": 1, "jobqueue.slurm.memory": "2GB", "jobqueue.slurm.queue": "short",
                          "jobqueue.slurm.walltime": "01:00:00"}):
        cluster = slurm(3)
        try:
            script = cluster.job_script()
        finally:
            cluster.close()
    assert {"jobs": 3} in asked and "#SBATCH -p short" in script and "distributed.cli.dask_worker" in script
    assert "#SBATCH -t 01:00:00" in script and cluster.scheduler_address in script
