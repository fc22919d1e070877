"""Lava's message infrastructure with memory that has no name and processes that are always forked.

The memory of the channels lies in anonymous mappings, made before the processes are forked: it is gone when the last
of them is gone, however that happens. Only imported when a network starts, since it imports Lava.
"""

import contextlib
import mmap
import multiprocessing
import os
import threading
from collections.abc import Callable
from multiprocessing import util
from multiprocessing.popen_fork import Popen
from typing import Any

from lava.magma.compiler.channels import pypychannel
from lava.magma.runtime import runtime
from lava.magma.runtime.message_infrastructure.multiprocessing import MultiProcessing, SystemProcess

LOST = 256
"""Exit code of a process of which nobody knows how it ended; no process can have it."""

_fork = multiprocessing.get_context("fork")
pypychannel.Semaphore = _fork.Semaphore  # whatever start method the program has set
runtime.Queue = _fork.Queue


class _Child(Popen):
    """A forked child that also ends when something else in the program has collected it."""

    def __init__(self, process: Any) -> None:
        self._collecting = threading.Lock()
        super().__init__(process)

    def _launch(self, process: Any) -> None:
        """As multiprocessing does it, without the pipes of others: one that waits for their end would wait for us."""
        parent_reads, child_writes = os.pipe()
        child_reads, parent_writes = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            code = 1
            try:
                _close_pipes({0, 1, 2, child_writes, child_reads, *process.pipes})
                code = process._bootstrap(parent_sentinel=child_reads)
            finally:
                os._exit(code)
        os.close(child_writes)
        os.close(child_reads)
        self.finalizer = util.Finalize(self, util.close_fds, (  # type: ignore[attr-defined]
            parent_reads, parent_writes))
        self.sentinel = parent_reads

    def poll(self, flag: int = os.WNOHANG) -> int | None:
        """Returns the exit code, minus a signal, LOST, or None while the child runs."""
        with self._collecting:
            if self.returncode is None:
                try:
                    process_id, status = os.waitpid(self.pid, flag)
                except ChildProcessError:
                    self.returncode = LOST
                else:
                    self.returncode = os.waitstatus_to_exitcode(status) if process_id == self.pid else None
            return self.returncode


def _close_pipes(kept: set[int]) -> None:
    """In a child: closes all pipes but these."""
    for entry in os.listdir("/proc/self/fd") if os.path.isdir("/proc/self/fd") else ():
        with contextlib.suppress(OSError):
            if int(entry) not in kept and os.readlink(f"/proc/self/fd/{entry}").startswith("pipe:"):
                os.close(int(entry))


class ForkedProcess(SystemProcess):
    """A process of a network. pipes: the descriptors that it uses."""

    pipes: tuple[int, ...] = ()
    _start_method = "fork"

    @staticmethod
    def _Popen(process: Any) -> Popen:
        return _Child(process)


class Memory:
    """Shared memory for one channel, as far as Lava's channels use it. buf: (size,) bytes."""

    def __init__(self, size: int) -> None:
        self.buf = memoryview(mmap.mmap(-1, max(size, 1)))


class Infrastructure(MultiProcessing):
    """What Lava's runtime makes channels and processes with; it is its own memory manager."""

    @property
    def smm(self) -> "Infrastructure":
        return self

    def create_shared_memory(self, size: int) -> Memory:
        return Memory(size)

    def build_actor(self, target_fn: Callable[..., None], builder: Any, exception_q: Any = None) -> SystemProcess:
        process = ForkedProcess(target=target_fn, kwargs={"builder": builder, "exception_q": exception_q})
        process.pipes = (exception_q._reader.fileno(), exception_q._writer.fileno())
        process.start()
        self._actors.append(process)
        return process
