"""Several threads and several processes use the package at once, with cold caches: the same digests as one alone."""

import fcntl
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor, TimeoutError
from pathlib import Path

import numpy as np
import pytest
from programs import start_program

from cortexc.compiler.backends.loading import load_python

ROOT = Path(__file__).resolve().parents[2]
CIRCUIT = """graph together
cell spikes
  input value
  state spike = 0
  send spike = where(value > 0, 1, 0)
  message spike
cell sum
  port d @ d
  state v = 0
  receive v = 0.5 * prev(v) + d
  message v
rule grow
  parameter eta 1 = 0.1
  state x = 0
  update x = 0.5 * prev(x) + pre.spike
  increment eta * (1 - w) + eta * x * post.v - 0.01 * w * w
synapse plastic
  message spike
  port d
  connectivity dense
  limits -4 4
  rule grow
population A spikes 6
population B sum 4
projection W plastic A -> B delay=3
"""
EXPERIMENT = """
[model]
circuit = "circuit.ir"
arrays = "start.npz"
[data]
path = "inputs.npz"
[protocol]
task = "stream"
[record.all]
quantities = ["W.w", "B.v"]
every = 1
"""
PROGRAM = """
import multiprocessing, sys, threading
import cortexc

def go(number, backend, found):
    experiment = cortexc.load("mine.toml", [f"run.backend={backend}"])
    found[number] = cortexc.run(experiment, f"run_{sys.argv[1]}_{number}")["weights_sha256"]

backends = sys.argv[2:]
multiprocessing.set_start_method("spawn")
found = {}
threads = [threading.Thread(target=go, args=(n, backend, found)) for n, backend in enumerate(backends)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
assert multiprocessing.get_start_method() == "spawn"
print(*[found.get(n) for n in range(len(backends))])
"""
HANDED_OVER = """
import sys, threading
import cortexc

def in_a_thread(call):
    thread = threading.Thread(target=lambda: found.append(call()))
    thread.start()
    thread.join()

found = []
session = cortexc.Session(cortexc.load("mine.toml", ["run.backend=lava"]))
in_a_thread(lambda: session.run(20))
in_a_thread(lambda: session.run(40))
session.close()
print(*found)
"""


@pytest.fixture
def folder(tmp_path):
    """An experiment, and nothing in any cache."""
    (tmp_path / "circuit.ir").write_text(CIRCUIT)
    (tmp_path / "mine.toml").write_text(EXPERIMENT)
    random = np.random.default_rng(1)
    np.savez(tmp_path / "inputs.npz", **{"A.value": (random.random((60, 6)) < 0.3).astype(float)})
    np.savez(tmp_path / "start.npz", **{"W.w": random.normal(size=(4, 6))})
    return tmp_path


def started(folder, program, *arguments, **environment):
    """The program, given on standard input as a notebook gives its cells: `__main__` has no file and no guard."""
    caches = {"CORTEXC_CACHE": str(folder / "cache"), "NUMBA_CACHE_DIR": str(folder / "numba")}
    process = start_program(
        [sys.executable, "-X", "faulthandler", "-", *arguments], cwd=folder, text=True, stdin=subprocess.PIPE,
        env={**os.environ, **caches, "PYTHONPATH": str(ROOT), **environment}, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE)
    process.stdin.write(program)
    process.stdin.close()
    process.stdin = None
    return process


def digests(process):
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0 and "Traceback" not in err, err
    return out.split()


@pytest.mark.slow
def test_four_threads_compile_at_once(folder):
    found = digests(started(folder, PROGRAM, "a", "native", "native", "native", "native"))
    alone = digests(started(folder, PROGRAM, "b", "interpreter", CORTEXC_JIT="0"))
    assert found == alone * 4 and alone != ["None"]


def test_four_threads_load_plain_kernels_at_once(folder):
    found = digests(started(folder, PROGRAM, "a", "native", "interpreter", "native", "native", CORTEXC_JIT="0"))
    assert len(set(found)) == 1 and found[0] != "None"


@pytest.mark.slow
def test_four_processes_share_a_cold_cache(folder):
    processes = [started(folder, PROGRAM, str(number), "native") for number in range(4)]
    found = [digests(process)[0] for process in processes]
    assert len(set(found)) == 1 and found[0] != "None"


def test_one_process_at_a_time_fills_a_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("CORTEXC_CACHE", str(tmp_path))
    monkeypatch.setenv("CORTEXC_JIT", "0")
    first = load_python("value = 1\n")
    lock = next(tmp_path.rglob("*.lock"))
    del sys.modules[first.__name__]
    with open(lock) as file, ThreadPoolExecutor(1) as pool:
        fcntl.flock(file, fcntl.LOCK_EX)
        loading = pool.submit(load_python, "value = 1\n")
        with pytest.raises(TimeoutError):
            loading.result(0.2)
        fcntl.flock(file, fcntl.LOCK_UN)
        assert loading.result(20).value == 1 and loading.result() is not first


@pytest.mark.lava
@pytest.mark.slow
def test_threads_start_lava_while_others_compile(folder):
    found = digests(started(folder, PROGRAM, "a", "lava", "native", "lava", "interpreter"))
    assert len(set(found)) == 1 and found[0] != "None"


@pytest.mark.lava
def test_a_network_outlives_the_thread_that_started_it(folder):
    assert digests(started(folder, HANDED_OVER, CORTEXC_JIT="0")) == ["20", "60"]


LOADING = """
import sys, threading
sys.setswitchinterval(1e-6)
import cortexc

def load():
    barrier.wait()
    cortexc.load("mine.toml")

barrier = threading.Barrier(8)
threads = [threading.Thread(target=load) for _ in range(8)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
"""


def test_threads_read_their_first_experiments_at_once(folder):
    for process in [started(folder, LOADING) for _ in range(3)]:
        assert digests(process) == []
