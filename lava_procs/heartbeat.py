"""Heartbeats: a page of shared memory in which each process writes its step and what it waits for.

The page is made before the processes are forked and is inherited by them. It has no name in the file system,
so nothing is left behind when everybody who holds it is gone. This file does not import Lava.
"""

import ctypes
import mmap
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple

STARTING, COMPUTING, RECEIVING, SENDING, IDLE, FAILED = range(6)
STATE_NAMES = ("starting", "computing", "receiving", "sending", "idle", "failed")

_CELLS = 8  # int64 cells per row: one row fills one cache line, so that processes do not disturb each other
_STEP, _STATE, _PORT, _TIME = range(4)
_PR_SET_PDEATHSIG = 1  # from linux/prctl.h


class Beat(NamedTuple):
    """What one process wrote last: steps completed, state, index of the port or -1, monotonic time in ns."""

    step: int
    state: int
    port: int
    nanoseconds: int


class HeartbeatPage:
    """One row per process in anonymous shared memory.

    names: the process names, unique.
    ports: per process the names of the ports it may wait on. A port with several channels has one entry per
        channel, in the order in which they were connected.
    peers: per process and port the name of the process at the other end.

    Only process `index` writes row `index`; anybody may read. A write costs well under a microsecond.
    """

    def __init__(self, names: list[str], ports: list[list[str]], peers: list[list[str]]) -> None:
        self.names, self.ports, self.peers = names, ports, peers
        self._map = mmap.mmap(-1, 8 * _CELLS * len(names))
        self._cells = memoryview(self._map).cast("q")
        for index in range(len(names)):
            self._cells[self._row(index) + _PORT] = -1

    @staticmethod
    def _row(index: int) -> int:
        return _CELLS * index

    def beat(self, index: int, step: int) -> None:
        """Process `index` has completed `step` steps and waits to be told to go on."""
        row = self._row(index)
        self._cells[row + _STEP] = step
        self._cells[row + _STATE] = IDLE
        self._cells[row + _TIME] = time.monotonic_ns()

    def waiting(self, index: int, port_index: int, direction: int) -> None:
        """Process `index` is about to wait on one of its ports; direction: RECEIVING or SENDING."""
        row = self._row(index)
        self._cells[row + _PORT] = port_index
        self._cells[row + _STATE] = direction
        self._cells[row + _TIME] = time.monotonic_ns()

    def computing(self, index: int) -> None:
        """Process `index` has what it needs and computes."""
        row = self._row(index)
        self._cells[row + _STATE] = COMPUTING
        self._cells[row + _TIME] = time.monotonic_ns()

    def failed(self, index: int) -> None:
        """Process `index` has raised an exception and is about to end."""
        self._cells[self._row(index) + _STATE] = FAILED

    def snapshot(self) -> bytes:
        """Returns a copy of all rows: two equal snapshots mean that nobody has written in between."""
        return self._map[:]

    def row(self, index: int) -> Beat:
        """Returns what process `index` wrote last."""
        row = self._row(index)
        return Beat(*self._cells[row : row + len(Beat._fields)])

    def steps(self) -> list[int]:
        """Returns the number of steps each process has completed."""
        return [self.row(index).step for index in range(len(self.names))]

    def states(self) -> list[int]:
        """Returns the state of each process."""
        return [self.row(index).state for index in range(len(self.names))]

    def waits(self) -> list[str]:
        """Returns a sentence for each process that is not idle: what it waits for or does, and its step."""
        sentences = [self._sentence(index) for index in range(len(self.names))]
        return [sentence for sentence in sentences if sentence]

    def _sentence(self, index: int) -> str:
        step, state, port, _ = self.row(index)
        name = self.names[index]
        if state in (RECEIVING, SENDING):
            verb, towards = ("receive", "from") if state == RECEIVING else ("send", "to")
            own, peer = self.ports[index][port], self.peers[index][port]
            return f"{name} waits to {verb} {own} {towards} {peer}, step {step + 1}"
        if state == STARTING:
            return f"{name} has not begun its first step"
        return "" if state == IDLE else f"{name} is {STATE_NAMES[state]}, step {step + 1}"


def watch_model(model: Any, page: HeartbeatPage, index: int) -> None:
    """Make a Lava process model write its own heartbeats to row `index` of the page.

    Called in the model's process, after its ports exist and before it starts. The phases of a step mark
    computing and, at their end, the completed step; each channel of the ports named in the page marks
    waiting.
    """
    for phase in ("run_spk", "run_pre_mgmt", "run_lrn", "run_post_mgmt"):
        if hasattr(model, phase):
            setattr(model, phase, _beating(getattr(model, phase), page, index, lambda: model.time_step))
    if hasattr(model, "run_async"):
        model.run_async = _beating(model.run_async, page, index, _steps_of_async(model, page, index))
    seen: dict[str, int] = {}
    for port_index, name in enumerate(page.ports[index]):
        channels = getattr(getattr(model, name, None), "csp_ports", [])
        position = seen.get(name, 0)
        if position < len(channels):
            _watch_channel(channels[position], page, index, port_index)
        seen[name] = position + 1


def _steps_of_async(model: Any, page: HeartbeatPage, index: int) -> Callable[[], int]:
    """Returns how an asynchronous model counts: each call of run_async does `num_steps` further steps."""
    return lambda: page.row(index).step + model.num_steps


def _beating(
    phase: Callable[[], None], page: HeartbeatPage, index: int, steps: Callable[[], int]
) -> Callable[[], None]:
    """Returns the phase with a mark before and a heartbeat after it."""

    def run() -> None:
        page.computing(index)
        phase()
        page.beat(index, steps())

    return run


def _watch_channel(channel: Any, page: HeartbeatPage, index: int, port_index: int) -> None:
    """Make one end of a channel mark waiting before, and computing after, each message it has to wait for."""
    method, direction = ("recv", RECEIVING) if hasattr(channel, "recv") else ("send", SENDING)
    transfer, ready = getattr(channel, method), channel.probe

    def watched(*data: Any) -> Any:
        if ready():
            return transfer(*data)
        page.waiting(index, port_index, direction)
        result = transfer(*data)
        page.computing(index)
        return result

    setattr(channel, method, watched)


def die_with_parent(parent_pid: int | None = None) -> None:
    """Make the kernel kill this process when its parent ends, however that happens. No effect but on Linux.

    parent_pid: the expected parent; by default the one that multiprocessing knows. If the parent has ended
    before this call, the process ends here. The main process of a program is left alone. The kernel goes by
    the parent's *thread*: a network must be started by a thread that lives as long as the network.
    """
    if parent_pid is None:
        parent = multiprocessing.parent_process()
        parent_pid = parent.pid if parent is not None else None
    if parent_pid is None or sys.platform != "linux":
        return
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, ctypes.c_ulong(signal.SIGKILL), *[ctypes.c_ulong(0)] * 3)
    if os.getppid() != parent_pid:
        os._exit(1)
