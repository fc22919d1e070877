"""The supervised runner: what it reports, how soon, and that it leaves nothing behind.

Each case runs in a program of its own, in a session of its own, with its output in files and a hard timeout.
"""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from programs import start_program

from cortexc.lava_procs.heartbeat import COMPUTING, RECEIVING, SENDING, HeartbeatPage
from cortexc.lava_procs.progress import cpu_seconds, stillness, task_states

HERE = Path(__file__).resolve().parent
HARD_TIMEOUT = 40.0  # seconds per program
REPORTED_WITHIN = 15.0  # seconds
SOUND = [20.0, 20.0, 20.0]  # what the sound network that follows a failure yields


@dataclass
class Program:
    """A scenario running in its own session; `folder` holds its output."""

    child: subprocess.Popen
    folder: Path

    def wait_until_ready(self) -> None:
        """Wait until the scenario says that it may get its signal."""
        deadline = time.monotonic() + HARD_TIMEOUT
        while not (self.folder / "ready").exists():
            assert self.child.poll() is None and time.monotonic() < deadline, self.errors()
            time.sleep(0.02)

    def finish(self, seconds: float = HARD_TIMEOUT) -> dict[str, Any]:
        """Wait for the end, check that nothing is left, return what was reported."""
        try:
            self.child.wait(seconds)
        finally:
            left = _remaining(self.child.pid)
            for process_id in left:
                os.kill(process_id, signal.SIGKILL)
            memory = _shared_memory_of(self.child.pid)
            for name in memory:
                os.unlink(f"/dev/shm/{name}")
        assert not left, f"processes left behind: {left}\n{self.errors()}"
        assert not memory, f"shared memory left behind: {memory}"
        lines = self.output().splitlines()
        return json.loads(lines[-1]) if lines else {}

    def output(self) -> str:
        """Returns what the program has reported so far."""
        return (self.folder / "out").read_text()

    def errors(self) -> str:
        """Returns what the program wrote to its standard error."""
        return (self.folder / "err").read_text()


def _remaining(session: int, seconds: float = 5.0) -> list[int]:
    """Returns the processes of a session that are still there after at most so many seconds."""
    deadline = time.monotonic() + seconds
    while (left := _session_members(session)) and time.monotonic() < deadline:
        time.sleep(0.02)
    return left


def _session_members(session: int) -> list[int]:
    """Returns the ids of all processes of a session, zombies not counted."""
    members = []
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            fields = Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == session and fields[0] != "Z":
            members.append(int(entry))
    return members


def _shared_memory_of(process_id: int) -> list[str]:
    """Returns the shared memory and semaphores that a scenario has made: it puts its id into their names."""
    prefixes = (f"{process_id:x}x", f"sem.{process_id:x}x")
    return [name for name in os.listdir("/dev/shm") if name.startswith(prefixes)]


def start(folder: Path, *arguments: str) -> Program:
    """Start a scenario in a session of its own."""
    environment = {**os.environ, "PYTHONPATH": str(HERE.parents[1])}
    command = [sys.executable, str(HERE / "scenarios.py"), *arguments]
    with open(folder / "out", "w") as out, open(folder / "err", "w") as err:
        child = start_program(
            command, cwd=folder, env=environment, stdout=out, stderr=err, start_new_session=True
        )
    return Program(child, folder)


def outcome(folder: Path, *arguments: str) -> dict[str, Any]:
    """Run a scenario to its end, which must be a good one; returns what it reported."""
    program = start(folder, *arguments)
    result = program.finish()
    assert program.child.returncode == 0, program.errors()
    assert "Traceback" not in program.errors() and "Warning" not in program.errors(), program.errors()
    return result


@pytest.mark.lava
def test_a_healthy_network_runs_and_a_second_one_after_it(tmp_path: Path) -> None:
    result = outcome(tmp_path, "healthy")
    assert result["done"] == 507 and result["value"] == [507.0] * 3 and result["arena"] == [507.0] * 3
    assert result["second"] == SOUND
    assert (result["handlers"], result["known"], result["children"]) == (0, 0, 0)
    assert result["threads"][0] > 1 and result["threads"][1] == 1


@pytest.mark.lava
@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("raise", ["ZeroDivisionError: the weights are gone", "in run_spk"]),
        ("odd", ["OddError: odd failure E42"]),
        ("constructor", ["ZeroDivisionError: the weights are gone", "in __init__"]),
    ],
)
def test_an_exception_is_reported_with_its_traceback(tmp_path: Path, kind: str, words: list[str]) -> None:
    result = outcome(tmp_path, "fault", kind)
    assert result["error"] == "ChildRaised" and result["process_name"] == "B"
    assert all(word in result["traceback_text"] for word in words)
    assert result["elapsed"] < REPORTED_WITHIN and result["second"] == SOUND


@pytest.mark.lava
@pytest.mark.parametrize(
    ("kind", "exit_code", "number"),
    [("exit", 3, None), ("kill", None, signal.SIGKILL), ("constructor_exit", 3, None)],
)
def test_a_death_is_reported(tmp_path: Path, kind: str, exit_code: int | None, number: int | None) -> None:
    result = outcome(tmp_path, "fault", kind)
    assert result["error"] == "ChildDied" and result["process_name"] == "B"
    assert (result["exit_code"], result["signal"]) == (exit_code, number)
    assert result["elapsed"] < REPORTED_WITHIN and result["second"] == SOUND


@pytest.mark.lava
def test_a_process_that_somebody_else_collected_is_lost(tmp_path: Path) -> None:
    result = outcome(tmp_path, "lost", "kill")
    assert (result["error"], result["process_name"]) == ("ChildLost", "B")
    assert result["elapsed"] < REPORTED_WITHIN and result["second"] == SOUND


@pytest.mark.lava
def test_a_deadlock_names_who_waits_for_whom(tmp_path: Path) -> None:
    result = outcome(tmp_path, "deadlock")
    assert result["error"] == "Stalled" and 2.0 <= result["seconds"] < 5.0
    assert sorted(result["waits"]) == [
        "A waits to receive current_in from B, step 1",
        "B waits to receive current_in from A, step 1",
    ]
    assert result["elapsed"] < REPORTED_WITHIN and result["second"] == SOUND


@pytest.mark.lava
def test_an_endless_computation_is_a_stall(tmp_path: Path) -> None:
    result = outcome(tmp_path, "endless")
    assert result["error"] == "Stalled"
    assert "B is computing, step 3" in result["waits"]
    assert "C waits to receive current_in from B, step 3" in result["waits"]
    assert result["elapsed"] < REPORTED_WITHIN and result["second"] == SOUND


@pytest.mark.lava
def test_processes_that_are_stopped_for_a_while_are_no_stall(tmp_path: Path) -> None:
    assert outcome(tmp_path, "stopped") == {"done": True, "arena": True, "second": SOUND}


def test_only_sleep_counts_in_full_as_standing_still() -> None:
    sleeping = start_program(["sleep", "20"])
    spinning = start_program([sys.executable, "-c", "while True: pass"])
    try:
        time.sleep(0.2)
        before = cpu_seconds([sleeping.pid]), cpu_seconds([spinning.pid])
        time.sleep(0.8)
        used = cpu_seconds([sleeping.pid]) - before[0], cpu_seconds([spinning.pid]) - before[1]
        assert used[0] < 0.05 < used[1] < 1.5
        assert task_states([sleeping.pid]) == {"S"} and "R" in task_states([spinning.pid, sleeping.pid])
        sleeping.send_signal(signal.SIGSTOP)
        time.sleep(0.1)
        assert task_states([sleeping.pid]) == {"T"}
    finally:
        for process in (sleeping, spinning):
            process.kill()
            process.wait()
    assert cpu_seconds([sleeping.pid]) == 0 and task_states([sleeping.pid]) == set()
    assert stillness(0.25, 0.01, {"S"}) == 0.25 and stillness(0.25, 0.5, {"S"}) == 0.25
    assert stillness(0.25, 0.01, {"S", "R"}) == 0.01 and stillness(0.25, 0.5, {"R"}) == 0.25
    assert stillness(0.25, 0.2, {"S", "T", "R"}) == 0


@pytest.mark.lava
def test_a_slow_first_step_is_no_stall(tmp_path: Path) -> None:
    assert outcome(tmp_path, "slow_start")["done"] == 3


@pytest.mark.lava
@pytest.mark.parametrize(
    ("number", "whole_group", "when"),
    [
        (signal.SIGINT, True, "quick"),
        (signal.SIGTERM, False, "quick"),
        (signal.SIGINT, False, "slow"),
        (signal.SIGTERM, True, "slow"),
    ],
)
def test_a_signal_ends_a_run_at_a_step_boundary(
    tmp_path: Path, number: int, whole_group: bool, when: str
) -> None:
    program = start(tmp_path, "interrupt", when)
    program.wait_until_ready()
    began = time.monotonic()
    (os.killpg if whole_group else os.kill)(program.child.pid, number)
    result = program.finish()
    assert time.monotonic() - began < REPORTED_WITHIN
    assert result["signal"] == number and result["consistent"] and result["restored"]
    assert result["steps_done"] > 0 and result["arena"] == [result["steps_done"]] * 3
    assert result["second"] == SOUND


@pytest.mark.lava
def test_a_second_signal_does_not_wait_for_the_boundary(tmp_path: Path) -> None:
    program = start(tmp_path, "interrupt", "endless")
    program.wait_until_ready()
    os.killpg(program.child.pid, signal.SIGINT)
    os.kill(program.child.pid, signal.SIGINT)
    time.sleep(1.5)
    assert program.child.poll() is None and not program.output()
    os.killpg(program.child.pid, signal.SIGINT)
    result = program.finish()
    assert result["signal"] == signal.SIGINT and not result["consistent"] and result["second"] == SOUND


@pytest.mark.lava
def test_a_signal_during_the_start_ends_it(tmp_path: Path) -> None:
    program = start(tmp_path, "interrupt", "start")
    program.wait_until_ready()
    os.killpg(program.child.pid, signal.SIGINT)
    result = program.finish()
    assert result["signal"] == signal.SIGINT and result["steps_done"] == 0 and result["second"] == SOUND


@pytest.mark.lava
@pytest.mark.parametrize("where", ["running", "between"])
def test_the_children_die_with_a_killed_parent(tmp_path: Path, where: str) -> None:
    program = start(tmp_path, "wait_to_be_killed", where)
    program.wait_until_ready()
    program.child.kill()
    assert set(program.finish()["children"]) == {"A", "B", "C", "runtime service 0"}


@pytest.mark.lava
def test_a_program_may_end_without_stopping(tmp_path: Path) -> None:
    assert outcome(tmp_path, "forgotten")["done"] == 10


@pytest.mark.lava
def test_a_stopped_network_is_not_used_again(tmp_path: Path) -> None:
    assert outcome(tmp_path, "run_after_stop")["errors"] == ["NotUsable", "NotUsable", "ValueError"]


@pytest.mark.lava
def test_processes_of_another_network_are_refused(tmp_path: Path) -> None:
    result = outcome(tmp_path, "wrong_networks")
    assert result["text"] == "not connected to A: B"
    assert result["second"] == SOUND and result["children"] == 0


@pytest.mark.lava
def test_a_network_has_neither_named_memory_nor_helpers(tmp_path: Path) -> None:
    assert outcome(tmp_path, "memory_has_no_name") == {"done": 10, "others": [], "named": []}


@pytest.mark.lava
def test_a_network_holds_no_pipes_of_other_threads(tmp_path: Path) -> None:
    assert outcome(tmp_path, "pipes_of_others") == {"ended": True, "done": 10, "second": SOUND}


@pytest.mark.lava
def test_models_compute_with_one_thread(tmp_path: Path) -> None:
    result = outcome(tmp_path, "blas_threads")
    assert result["started"] == [0.0, 0.0] and result["before"] == result["after"]


def test_the_page_says_who_waits_for_whom() -> None:
    page = HeartbeatPage(["A", "B", "C"], [["current_in"], ["spikes"], []], [["B"], ["A"], []])
    assert page.waits()[0] == "A has not begun its first step"
    page.beat(0, 16)
    page.waiting(0, 0, RECEIVING)
    page.waiting(1, 0, SENDING)
    page.computing(2)
    assert page.waits() == [
        "A waits to receive current_in from B, step 17",
        "B waits to send spikes to A, step 1",
        "C is computing, step 1",
    ]
    page.beat(0, 17)
    assert page.steps() == [17, 0, 0] and page.states()[2] == COMPUTING and len(page.waits()) == 2


def test_the_page_is_shared_with_forked_processes() -> None:
    page = HeartbeatPage(["A"], [[]], [[]])
    before = page.snapshot()
    child = os.fork()
    if child == 0:
        page.beat(0, 5)
        os._exit(0)
    os.waitpid(child, 0)
    assert page.row(0).step == 5 and page.snapshot() != before
