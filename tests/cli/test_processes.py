"""The command in a process of its own: start-up, signals, full disks."""

import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from long_run import LONG_RUN
from programs import start_program

COMMAND = [sys.executable, "-m", "cortexc.compiler.cli"]
EXPERIMENT = LONG_RUN + "block_ms = 20\n"
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def environment():
    return {**os.environ, "CORTEXC_JIT": "0", "PYTHONPATH": str(ROOT)}


@pytest.fixture
def started(tmp_path, environment):
    """A run that has written its first checkpoint by the clock."""
    (tmp_path / "mine.toml").write_text(EXPERIMENT)
    process = start_program([*COMMAND, "run", "mine.toml", "-o", "out", "--set", "run.checkpoint_seconds=0.2"],
                            cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    checkpoint, deadline, first = tmp_path / "out" / "checkpoint.safetensors", time.monotonic() + 60, 0.0
    while time.monotonic() < deadline:
        if checkpoint.exists():
            first = first or checkpoint.stat().st_mtime_ns
            if checkpoint.stat().st_mtime_ns != first:
                break
        time.sleep(0.02)
    yield process
    if process.poll() is None:
        process.kill()
    process.communicate()


def position(folder):
    from cortexc.compiler.experiments.checkpoints import NAME, read_checkpoint

    return int(read_checkpoint(folder / NAME)[0]["position"])


def resumed(folder, environment, steps):
    done = subprocess.run([*COMMAND, "run", "out", "--resume", "--json", "--steps", str(steps)], cwd=folder,
                          env=environment, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


@pytest.mark.parametrize("number, code", [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signals_save_a_checkpoint_and_say_how_to_go_on(started, tmp_path, environment, number, code):
    started.send_signal(number)
    out, err = started.communicate(timeout=15)
    assert started.returncode == code and out == "" and "Traceback" not in err
    assert err.startswith("X191 interrupted by") and "--resume" in err
    stopped = position(tmp_path / "out")
    assert f"after {stopped} steps" in err
    pieces = resumed(tmp_path, environment, 60)
    whole = subprocess.run([*COMMAND, "run", "mine.toml", "-o", "whole", "--json", "--steps", str(stopped + 60)],
                           cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    assert json.loads(whole.stdout)["weights_sha256"] == pieces["weights_sha256"]


def test_a_killed_run_resumes_from_its_last_checkpoint(started, tmp_path, environment):
    started.kill()
    started.wait()
    before = position(tmp_path / "out")
    assert before > 0
    result = resumed(tmp_path, environment, 10)
    assert result["resumed_from"] == before and result["steps"] == before + 10


def test_help_and_models_start_quickly(environment):
    for most, *words in ((0.4, "-c", "import cortexc"), (0.6, *COMMAND[1:], "--help"), (0.6, *COMMAND[1:], "run", "--help"), (1.5, *COMMAND[1:], "models")):
        best = min(_seconds(words, environment) for _ in range(3))
        assert best < most, f"{words} took {best:.2f} s of processor time"


def _seconds(words, environment):
    """Of the processor: other tests run beside this one."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *words], env=environment, capture_output=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


HEAVY = ("numba", "torch", "lava", "sklearn", "scipy", "sympy", "matplotlib", "networkx", "joblib", "pymetis")
RUN = "from cortexc.compiler.cli.app import execute; assert execute(['run', 'mine.toml', '-o', 'out', '--steps', '10']) == 0"


@pytest.mark.parametrize("code", ["import cortexc.compiler.cli.commands", "import cortexc", RUN])
def test_start_up_imports_nothing_heavy(tmp_path, environment, code):
    """Where kernels are not compiled, a run needs nothing of this either."""
    (tmp_path / "mine.toml").write_text(EXPERIMENT)
    code += f"; import sys; print([m for m in {HEAVY} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True,
                          check=True)
    assert done.stdout.endswith("[]\n"), done.stdout


NOISY = """
import os, sys
from cortexc.compiler.cli.app import execute
from cortexc.compiler.experiments import running

def noisy(*arguments):
    print("chatter")
    os.system("echo more chatter")
    return original(*arguments)

original, running.compile_experiment = running.compile_experiment, noisy
sys.exit(execute(["run", "mine.toml", "-o", "out", "--steps", "10", "--json"]))
"""


def test_whatever_else_is_printed_goes_to_stderr(tmp_path, environment):
    (tmp_path / "mine.toml").write_text(EXPERIMENT)
    done = subprocess.run([sys.executable, "-c", NOISY], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0 and json.loads(done.stdout)["steps"] == 10
    assert "more chatter" in done.stderr


def test_a_full_disk_ends_the_run_with_a_coded_error(tmp_path, environment):
    disk = tmp_path / "disk"
    disk.mkdir()
    if os.geteuid() != 0 or not shutil.which("mount") or subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)], capture_output=True).returncode:
        pytest.skip("no right to mount a small disk")
    try:
        (tmp_path / "mine.toml").write_text(EXPERIMENT.replace("100000", "2000"))
        done = subprocess.run(
            [*COMMAND, "run", "mine.toml", "-o", "disk", "--set", "run.checkpoint_seconds=0.1", "--set",
             "record.a.quantities=['P0.rate']", "--set", "record.a.every=1", "--json"], cwd=tmp_path, env=environment,
            capture_output=True, text=True)
        error = json.loads(done.stdout)["error"]
        assert done.returncode == 2 and error["code"] == "X131" and "No space left" in error["message"]
        assert position(disk) >= 0 and not [p for p in disk.iterdir() if "partial" in p.name]
    finally:
        subprocess.run(["umount", str(disk)], check=False)


def test_programs_of_tests_end_with_the_tests():
    """Also where these are killed, and the program is in a session of its own."""
    script = ("from programs import start_program\n"
              "child = start_program(['sleep', '60'], start_new_session=True)\n"
              "print(child.pid, flush=True); input()")
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests" / "helpers")])
    with start_program([sys.executable, "-c", script], env={**os.environ, "PYTHONPATH": path}, text=True,
                       stdin=subprocess.PIPE, stdout=subprocess.PIPE) as tests:
        child = int(tests.stdout.readline())
        assert os.getsid(child) == child
        tests.kill()
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline and state(child) in "SR":
        time.sleep(0.02)
    assert state(child) not in "SR"


def state(process):
    """Of a process; Z where it has ended."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "Z"


def test_no_other_program_is_started_by_a_test():
    """Those in `lava/scenarios.py` and `fuzz.py` end by themselves."""
    others = {path.name for path in (ROOT / "tests").rglob("*.py") if re.search(r"subprocess\.Popen\(", path.read_text())}
    assert others == {"programs.py", "scenarios.py", "fuzz.py"}
