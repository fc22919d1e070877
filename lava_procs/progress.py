"""Whether a network moves: heartbeats that stay still, judged by what its processes do meanwhile. Knows no Lava."""

import contextlib
import os
import statistics
import time
from collections import deque
from collections.abc import Callable, Iterable

from cortexc.lava_procs.failures import Stalled
from cortexc.lava_procs.heartbeat import COMPUTING, STARTING, HeartbeatPage

_LONGEST_GAP = 0.25  # counted at most per look: time in which this process itself was stopped is not a stall
_JUDGED_SECONDS = 0.25  # quiet time after which the processes are looked at
_MEDIAN_FACTOR = 20  # a stall is at least this many median step durations


class Progress:
    """Notices that the heartbeats have been still for too long; a median step is one of the whole network.

    Only time in which all processes sleep counts in full: of time in which one of them is ready to run, what the
    machine gave them counts, and none while one is stopped (SIGSTOP).
    limits: seconds allowed while all wait, while one computes, and while one is in its constructor or first step.
    process_ids: returns the ids of the network's processes.
    """

    def __init__(self, page: HeartbeatPage, limits: tuple[float, float, float],
                 process_ids: Callable[[], Iterable[int]]) -> None:
        self.page = page
        self._limits = limits
        self._process_ids = process_ids
        self._durations: deque[float] = deque(maxlen=101)
        self.restart()

    def restart(self) -> None:
        """Begin anew: the time between two runs does not count."""
        self._looked = self._stepped = time.monotonic()
        self._snapshot = self.page.snapshot()
        self._steps = min(self.page.steps(), default=0)
        self._used = cpu_seconds(self._process_ids())
        self._quiet = self._unjudged = 0.0

    def check(self) -> None:
        """Look at the page. Raises Stalled if there has been no progress for too long."""
        now, snapshot = time.monotonic(), self.page.snapshot()
        gap, self._looked = now - self._looked, now
        if snapshot != self._snapshot:
            self._snapshot, self._quiet = snapshot, 0.0
            self.note_steps()
            return
        self._unjudged += min(gap, _LONGEST_GAP)
        if self._unjudged >= _JUDGED_SECONDS:
            self._judge()

    def _judge(self) -> None:
        process_ids = list(self._process_ids())
        used, before = cpu_seconds(process_ids), self._used
        self._quiet += stillness(self._unjudged, used - before, task_states(process_ids))
        self._used, self._unjudged = used, 0.0
        if self._quiet > self._limit():
            raise Stalled(self._quiet, self.page.waits())

    def note_steps(self) -> None:
        """Note how long the steps took that all processes have completed since the last call."""
        now, steps = time.monotonic(), min(self.page.steps(), default=0)
        if steps > self._steps:
            self._durations.append((now - self._stepped) / (steps - self._steps))
            self._steps, self._stepped = steps, now

    def _limit(self) -> float:
        """Returns how many seconds without progress are allowed in the present situation."""
        stall, compute, first_step = self._limits
        median = statistics.median(self._durations) if self._durations else 0.0
        limit = max(stall, _MEDIAN_FACTOR * median)
        states = self.page.states()
        if COMPUTING in states:
            limit = max(limit, compute)
        busy = [
            state in (STARTING, COMPUTING) and step == 0
            for state, step in zip(states, self.page.steps(), strict=True)
        ]
        return max(limit, first_step) if any(busy) else limit


def stillness(elapsed: float, used: float, states: set[str]) -> float:
    """Returns how many of the elapsed seconds count as standing still.

    used: seconds of processor time of all tasks meanwhile. states: their states now, in the letters of /proc.
    """
    if states & {"T", "t"}:
        return 0.0
    return min(elapsed, used) if states & {"R", "D"} else elapsed


def cpu_seconds(process_ids: Iterable[int]) -> float:
    """Returns the processor time that the processes have used, in s; 0 outside of Linux."""
    ticks = 0
    for process_id in process_ids:
        fields = _stat(f"/proc/{process_id}/stat")
        ticks += int(fields[11]) + int(fields[12]) if fields else 0
    return ticks / os.sysconf("SC_CLK_TCK")


def task_states(process_ids: Iterable[int]) -> set[str]:
    """Returns the states of all threads of the processes; empty outside of Linux."""
    states = set()
    for process_id in process_ids:
        with contextlib.suppress(OSError):
            for task in os.listdir(f"/proc/{process_id}/task"):
                states.update(_stat(f"/proc/{process_id}/task/{task}/stat")[:1])
    return states


def _stat(path: str) -> list[str]:
    """Returns the fields after the command's name, which may hold spaces; none if the task has ended."""
    try:
        with open(path) as file:
            return file.read().rpartition(")")[2].split()
    except OSError:
        return []
