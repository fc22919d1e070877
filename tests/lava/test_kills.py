"""Runs that are killed at random moments, parent and child: one coded line, nothing left, the same bits when resumed.

CORTEXC_KILLS says how often (default 4; `make test-long` 100), CORTEXC_KILLS_SEED which moments.
"""

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from programs import start_program

ROOT = Path(__file__).resolve().parents[2]
KILLS = int(os.environ.get("CORTEXC_KILLS", "4"))
SEED = int(os.environ.get("CORTEXC_KILLS_SEED", "1"))
REPORTED_WITHIN = 15.0  # seconds
IN_A_ROW = 4  # kills of one run, which then may end
EXPERIMENT = """
[model]
circuit = "pal"
layers = [2, 3, 2]
start = "legacy"
eta_bw = 50
sigma = 0.05
[protocol]
task = "bw_only"
epochs = EPOCHS
dataset_size = 4
presentation_steps = 5
[run]
seeds = [3]
noise = "legacy"
block_ms = 20
checkpoint_seconds = 0.3
"""
LENGTHS = {"population": 60, "network": 200}  # epochs: some seconds of plain kernels
NAMED = """
import multiprocessing, os
from multiprocessing import shared_memory
multiprocessing.current_process()._config["semprefix"] = f"/{os.getpid():x}x"
shared_memory._SHM_NAME_PREFIX = f"/{os.getpid():x}x"
from cortexc.compiler.cli import main
main()
"""
SIGNALS = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}


@dataclass
class Run:
    """A run in a session of its own. Names of shared memory, if it makes any, hold its process id."""

    folder: Path
    granularity: str
    json: bool = True
    jit: bool = False
    process: subprocess.Popen = field(init=False)

    def __post_init__(self):
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "CORTEXC_JIT": str(int(self.jit)),
                       "TMPDIR": str(self.folder), "CORTEXC_CACHE": str(self.folder / "cache")}
        self.process = start_program(
            [sys.executable, "-c", NAMED, "run", f"{self.granularity}.toml", "-o", "out", "--granularity",
             self.granularity, "--resume", *(["--json"] if self.json else [])],
            cwd=self.folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            start_new_session=True)

    def started(self):
        """Waits until the command's first line has run: it handles signals."""
        bit, deadline = 1 << (signal.SIGTERM - 1), time.monotonic() + 30
        while time.monotonic() < deadline and self.process.poll() is None:
            caught = Path(f"/proc/{self.process.pid}/status").read_text().split("SigCgt:")[1].split()[0]
            if int(caught, 16) & bit:
                return
            time.sleep(0.002)

    def others(self):
        """The run's other processes."""
        return sorted(p for p in members(self.process.pid) if p != self.process.pid)

    def end(self, seconds):
        """Exit code and coded lines, with --json from the object on stdout; nothing is left."""
        out, err = self.process.communicate(timeout=seconds)
        deadline = time.monotonic() + 5
        while (left := members(self.process.pid)) and time.monotonic() < deadline:
            time.sleep(0.02)
        named = [name for name in os.listdir("/dev/shm") if f"{self.process.pid:x}x" in name]
        assert (left, named) == ([], []), f"left behind: {left} {named}"
        lines = [line for line in err.splitlines() if not line.startswith("no checkpoint in")]
        if self.json and out:
            error = json.loads(out).get("error")
            lines += [" ".join(error.values())] if error else []
        return self.process.returncode, lines

    def digest(self):
        return json.loads((self.folder / "out" / "results.json").read_text())["weights_sha256"]


def members(session):
    """Processes of a session, zombies not counted."""
    found = []
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            fields = Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == session and fields[0] not in "ZX":
            found.append(int(entry))
    return found


def kill(run, victim, number, moment, random):
    """Sends the signal to the parent or to some child, which may have to be born first."""
    run.started()
    time.sleep(moment)
    if victim == "parent":
        run.process.send_signal(number)
        return
    deadline = time.monotonic() + 20
    while not (others := run.others()) and run.process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.002)
    if others:
        os.kill(random.choice(others), number)


def check(victim, number, code, lines):
    """One coded line and the right exit code."""
    if victim == "child":
        assert code == 3 and len(lines) == 1 and re.match(r"E702 .* was ended by SIGKILL\.", lines[0]), (code, lines)
    elif number == signal.SIGKILL:
        assert (code, lines) == (-signal.SIGKILL, [])
    else:
        assert code == SIGNALS[number] and len(lines) == 1 and lines[0].startswith("X191 "), (code, lines)


def kinds(random):
    """Who gets which signal, without end: half of them children, and every signal as often as another."""
    deck = [("child", signal.SIGKILL)] * 4 + [("parent", number) for number in (*SIGNALS, signal.SIGKILL)]
    while True:
        yield from random.sample(deck, len(deck))


@pytest.fixture
def folder(tmp_path):
    for granularity, epochs in LENGTHS.items():
        (tmp_path / f"{granularity}.toml").write_text(EXPERIMENT.replace("EPOCHS", str(epochs)))
    return tmp_path


@pytest.mark.lava
@pytest.mark.slow
@pytest.mark.parametrize("granularity", LENGTHS)
def test_kills_at_random_moments(folder, granularity):
    began, whole = time.monotonic(), Run(folder, granularity)
    assert whole.end(120) == (0, [])
    duration, expected = time.monotonic() - began, whole.digest()
    (folder / "out").rename(folder / "whole")
    chosen, hits, late, row, done = random.Random(f"{SEED} {granularity}"), Counter(), 0, 0, 0
    wanted, kills = KILLS // len(LENGTHS), kinds(chosen)
    while sum(hits.values()) < wanted or row:
        run = Run(folder, granularity, chosen.random() < 0.5, KILLS > 20 and chosen.random() < 0.5)
        hit = next(kills) if row < IN_A_ROW and sum(hits.values()) < wanted else None
        if hit:
            kill(run, *hit, chosen.uniform(0, duration), chosen)
        code, lines = run.end(REPORTED_WITHIN if hit else 120)
        if hit and code != 0:
            check(*hit, code, lines)
            hits[f"{hit[0]} {hit[1].name}"] += 1
            row += 1
            continue
        assert (code, lines, run.digest()) == (0, [], expected)
        (folder / "out").rename(folder / f"done{done}")
        late, row, done = late + bool(hit), 0, done + 1
    counts = ", ".join(f"{count} {name}" for name, count in sorted(hits.items()))
    print(f"\n{granularity}: {counts}; {late} kills came too late; {done} runs ended with the same bits")
