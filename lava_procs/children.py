"""What happens in a child, and how children are made: by one thread, with nothing held that they would miss."""

import contextlib
import importlib
import multiprocessing
import os
import queue
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Any

from threadpoolctl import threadpool_limits

from cortexc.lava_procs.heartbeat import HeartbeatPage, die_with_parent, watch_model

_LONGEST_TRACEBACK = 20_000  # characters
_LAVA_FORKS = "lava.magma.runtime.message_infrastructure.multiprocessing"

STARTING_LOCK = threading.RLock()
"""Held while a network is built and started: Lava counts and compiles with the state of the whole interpreter."""


def import_lava() -> None:
    """Imports the part of Lava that sets the start method `fork` for the whole program, and sets back what it had."""
    if _LAVA_FORKS in sys.modules:
        return
    before = multiprocessing.get_start_method(allow_none=True)
    multiprocessing.set_start_method(None, force=True)
    try:
        importlib.import_module(_LAVA_FORKS)
    finally:
        multiprocessing.set_start_method(before, force=True)


class Launcher:
    """The thread that forks, one for each process and as long as it lives.

    The kernel ends children with the thread that made them (see die_with_parent), and a network may be started by a
    thread that ends before it.
    """

    _current: "Launcher | None" = None

    def __init__(self) -> None:
        self._owner = os.getpid()
        self._tasks: queue.SimpleQueue[tuple[Future[Any], Callable[[], Any]]] = queue.SimpleQueue()
        threading.Thread(target=self._serve, name="cortexc launcher", daemon=True).start()

    @classmethod
    def call(cls, task: Callable[[], Any]) -> Any:
        """Returns what the task returns, or raises what it raises. The caller holds STARTING_LOCK."""
        if cls._current is None or cls._current._owner != os.getpid():
            cls._current = cls()
        future: Future[Any] = Future()
        cls._current._tasks.put((future, task))
        return future.result()

    def _serve(self) -> None:
        while True:
            future, task = self._tasks.get()
            try:
                with _compiler_lock():
                    future.set_result(task())
            except BaseException as error:
                future.set_exception(error)


def _compiler_lock() -> Any:
    """Numba's, if it is loaded: no thread may be inside the compiler when this process is copied."""
    module = sys.modules.get("numba.core.compiler_lock")
    return getattr(module, "global_compiler_lock", contextlib.nullcontext())


class _ChildFailure(Exception):
    """What a child sends instead of its exception: the traceback as text and a code, which can always be sent."""


def prepare_child(parent_pid: int) -> None:
    """In a child: end with the parent, and leave it to the parent what a signal to the whole group means."""
    die_with_parent(parent_pid)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)


def build_in_child(build: Callable[[], Any], parent_pid: int, page: HeartbeatPage, index: int | None) -> Any:
    """In a child: returns the process model or runtime service, watched, its failures made fit to be sent."""
    prepare_child(parent_pid)
    model = _reporting(build, page, index)()
    if index is not None:
        watch_model(model, page, index)
    model.start = _reporting(model.start, page, index)
    return model


def _reporting(function: Callable[[], Any], page: HeartbeatPage, index: int | None) -> Callable[[], Any]:
    """Returns the function, raising _ChildFailure with the traceback's text instead of what it raises."""

    def call() -> Any:
        try:
            return function()
        except Exception as error:
            if index is not None:
                page.failed(index)
            raise _ChildFailure(traceback.format_exc()[-_LONGEST_TRACEBACK:], _coded(error)) from None

    return call


def _coded(error: Exception) -> tuple[str, str, str] | None:
    """Returns code, message and hint of an exception that carries them: an error of the user's."""
    code, message, hint = (getattr(error, name, None) for name in ("code", "message", "hint"))
    if isinstance(code, str) and isinstance(message, str) and isinstance(hint, str):
        return code, message, hint
    return None


@contextlib.contextmanager
def one_blas_thread() -> Iterator[None]:
    """Let processes forked in the block use one thread for linear algebra; then restore this process's own.

    Set before the fork because a child that sets it afterwards would first start the threads.
    """
    with threadpool_limits(1):
        yield
