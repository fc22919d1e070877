"""Processes of a benchmark: they get its signals, and none outlives it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from dying import dies
from long_run import LONG_RUN
from programs import start_program

from cortexc.compiler.bench import workers
from cortexc.compiler.bench.workers import DEATHS, in_processes
from cortexc.compiler.ir import CortexError

ROOT = Path(__file__).resolve().parents[2]
BENCHMARK = """
import sys
from pathlib import Path
from cortexc.compiler.bench import pal as sweeps
from cortexc.compiler.bench import BENCHMARKS, Benchmark
from cortexc.compiler.cli import main

def rows(options):
    jobs = [sweeps.Job("mine.toml", (), {"model.variant": "PAL", "run.seeds": [s]}, Path(f"run{s}")) for s in (1, 2, 3, 4)]
    return sweeps.run_all(sweeps.whole_run, jobs, 2)

if __name__ == "__main__":
    sweeps.rows_of_test = rows
    BENCHMARKS["test"] = Benchmark("compiler.bench.pal:rows_of_test", "")
    sys.argv[1:] = ["bench", "test"]
    main()
"""


SWEEP = ("-m", "cortexc.compiler.cli", "sweep", "mine.toml", "--over", "run.seeds=1..4", "--batch=1", "--jobs=2", "-o", ".")


@pytest.fixture
def benchmark(tmp_path):
    """A benchmark of four endless runs, two of which are under way."""
    (tmp_path / "benchmark.py").write_text(BENCHMARK)
    yield from under_way(tmp_path, "benchmark.py")


@pytest.fixture
def a_sweep(tmp_path):
    yield from under_way(tmp_path, *SWEEP)


def under_way(folder, *arguments):
    (folder / "mine.toml").write_text(LONG_RUN)
    process = start_program([sys.executable, *arguments], cwd=folder, stderr=subprocess.PIPE, text=True,
                            env={**os.environ, "PYTHONPATH": str(ROOT), "CORTEXC_JIT": "0"}, start_new_session=True)
    deadline = time.monotonic() + 40
    while len(list(folder.glob("**/experiment.toml"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.5)
    yield process
    with pytest.raises(ProcessLookupError):
        for _ in range(100):
            os.killpg(process.pid, 0)
            time.sleep(0.05)


def test_sigterm_to_the_benchmark_reaches_the_runs(benchmark, tmp_path):
    benchmark.send_signal(signal.SIGTERM)
    _, err = benchmark.communicate(timeout=15)
    assert benchmark.returncode == 143 and err == "X191 interrupted by SIGTERM.\n"
    assert sorted(p.name for p in tmp_path.glob("run*")) == ["run1", "run2"]
    assert all((p / "checkpoint.safetensors").stat().st_mtime_ns > (p / "experiment.toml").stat().st_mtime_ns
               for p in tmp_path.glob("run*"))


def test_ctrl_c_at_the_terminal(benchmark):
    os.killpg(benchmark.pid, signal.SIGINT)
    _, err = benchmark.communicate(timeout=15)
    assert benchmark.returncode == 130 and err == "X191 interrupted by SIGINT.\n"


def test_ctrl_c_in_a_sweep_keeps_checkpoints(a_sweep, tmp_path):
    os.killpg(a_sweep.pid, signal.SIGINT)
    _, err = a_sweep.communicate(timeout=15)
    assert a_sweep.returncode == 130 and err == "X191 interrupted by SIGINT.\n"
    assert len(list(tmp_path.glob("runs/*/checkpoint.safetensors"))) == 2 and not (tmp_path / "sweep.csv").exists()


def test_a_killed_benchmark_takes_its_workers_along(benchmark):
    benchmark.kill()
    benchmark.communicate(timeout=15)


def test_results_are_in_the_order_of_the_jobs_and_errors_come_through():
    assert in_processes(divmod, [(7, 2), (9, 4), (5, 3)], 2) == [(3, 1), (2, 1), (1, 2)]
    with pytest.raises(ZeroDivisionError):
        in_processes(divmod, [(7, 2), (9, 0), (5, 3)], 2)


def test_a_worker_that_dies_costs_its_job_another_try(tmp_path):
    ended = []
    found = in_processes(dies, [(tmp_path, i) for i in range(5)], 2, lambda i: -i, lambda i, found: ended.append((i, found)))
    assert found == [0, -1, 2, 3, 4] and sorted(ended) == [(0, 0), (1, -1), (2, 2), (3, 3), (4, 4)]
    assert [len(list(tmp_path.glob(f"{i}_*"))) for i in range(5)] == [1, DEATHS, 2, 1, 1]


def test_workers_that_die_again_and_again_are_a_failed_run(monkeypatch):
    monkeypatch.setattr(workers, "DEATHS", 1)
    with pytest.raises(CortexError, match="X195") as error:
        in_processes(os._exit, [(1,), (1,)], 2)
    assert error.value.exit_code == 3
