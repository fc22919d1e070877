"""Programs that start Lava processes without our supervisor: each in a session of its own, with a hard timeout."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from programs import start_program

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 60.0


def output_of(folder: Path, script: Path, *arguments: str, seconds: float = SECONDS) -> str:
    """What the program prints. It must end well, in time, and leave no process behind."""
    out, err = folder / "out", folder / "err"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    with out.open("w") as stdout, err.open("w") as stderr:
        child = start_program([sys.executable, str(script), *arguments], cwd=folder, env=environment, stdout=stdout,
                              stderr=stderr, start_new_session=True)
    try:
        code = child.wait(seconds)
    except subprocess.TimeoutExpired:
        code = None
    left = _members(child.pid, 0.0 if code is None else 5.0)
    for process in left:
        os.kill(process, signal.SIGKILL)
    child.wait()
    assert code == 0 and not left, f"exit {code}, left behind {left}\n{out.read_text()}\n{err.read_text()[-4000:]}"
    return out.read_text()


def _members(session: int, seconds: float) -> list[int]:
    """Processes of a session that are still there after so many seconds."""
    end = time.monotonic() + seconds
    while True:
        found = [int(entry) for entry in os.listdir("/proc") if entry.isdigit() and _session_of(entry) == session]
        if not found or time.monotonic() >= end:
            return found
        time.sleep(0.02)


def _session_of(process: str) -> int:
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return -1
    return -1 if fields[0] == "Z" else int(fields[3])
