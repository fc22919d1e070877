"""Lava's message infrastructure with memory that has no name and processes that are always forked.

The memory of the channels lies in anonymous mappings, made before the processes are forked: it is gone when the last
of them is gone, however that happens. Only imported when a network starts, since it imports Lava.
"""

import mmap
import multiprocessing
from collections.abc import Callable
from multiprocessing.popen_fork import Popen
from typing import Any

from lava.magma.compiler.channels import pypychannel
from lava.magma.runtime import runtime
from lava.magma.runtime.message_infrastructure.multiprocessing import MultiProcessing, SystemProcess

_fork = multiprocessing.get_context("fork")
pypychannel.Semaphore = _fork.Semaphore  # whatever start method the program has set
runtime.Queue = _fork.Queue


class ForkedProcess(SystemProcess):
    """A process of a network."""

    _start_method = "fork"

    @staticmethod
    def _Popen(process: Any) -> Popen:
        return Popen(process)


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
        process.start()
        self._actors.append(process)
        return process
