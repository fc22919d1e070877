"""Signals from the first line of a command on: one coded line, exit code 128 + the signal's number, nothing left.

The first SIGINT, SIGTERM or SIGHUP is raised as `Stopped` wherever the command is, so that everything it holds is
released, or, while a module is imported, after that; a run in a session stops at its next block instead
(`cortexc.compiler.experiments.session`). Python handles signals
between its own instructions: a library call, or a step of numba's compiler, ends first. What has not ended `PATIENCE`
seconds after the signal, or when a second one comes, is ended from here. Imports nothing that takes time.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import sys
import threading
import time
import warnings
import weakref
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
PATIENCE = 10.0
"""Seconds that the command has to end after a signal."""
TWICE = 0.5
"""Seconds within which signals are taken for one, sent to the process and to its group."""
CLEANING = 2.0
"""Seconds for the exit functions when the command is ended from here."""


class Stopped(BaseException):
    """A signal outside of a run. No KeyboardInterrupt, which libraries turn into something else."""

    def __init__(self, number: int):
        super().__init__(f"interrupted by {signal.Signals(number).name}.")
        self.signal = number


def run_stoppable(command: Callable[[list[str]], int], arguments: Sequence[str]) -> int:
    """The command's exit code, or 128 + the number of the signal that ended it."""
    stopping = Stopping("--json" in arguments)
    try:
        stopping.install()
        return stopping.closed(command(list(arguments)))
    except BaseException as error:  # libraries in C make another exception of it
        if stopping.first is not None:
            return stopping.stopped()
        if not isinstance(error, Exception):
            raise
        return stopping.closed(_broken(error, stopping.json))


class Stopping:
    """The handlers of a command. Signals that the program was told to ignore stay ignored."""

    def __init__(self, json: bool):
        self.json, self.stdout = json, _held(1) if json else 1
        self.first: tuple[int, float] | None = None
        self.alive: weakref.ref[Stopped] | None = None
        self.lost = self.said = self.finished = False

    def install(self) -> None:
        if threading.current_thread() is not threading.main_thread():
            return
        for number in SIGNALS:
            if signal.getsignal(number) not in (signal.SIG_IGN, None):
                signal.signal(number, self._on_signal)
        atexit.register(_ignore)  # as the last exit function: Python then takes its handlers away
        sys.unraisablehook, sys.excepthook = self._on_unraisable, self._on_printed
        reading, writing = os.pipe()
        os.set_blocking(writing, False)
        signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        threading.Thread(target=self._watch, args=(reading,), name="cortexc signals", daemon=True).start()

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        again = self.first is not None and not self.lost
        self.first, self.lost = self.first or (number, now), False
        if again and now - self.first[1] > TWICE:
            self.end()
        if again or self.finished:
            return
        if _is_importing(frame):  # modules in C do not stand it, and print what they caught
            self._send_again()
            return
        warnings.simplefilter("ignore")  # of code that is torn up in the middle
        raise self._stopped(self.first[0])

    def _stopped(self, number: int) -> Stopped:
        stop = Stopped(number)
        self.alive = weakref.ref(stop, self._on_lost)
        return stop

    def _on_lost(self, _: object) -> None:
        """Somebody swallowed the exception, or it came where Python ignores them: the signal is sent again."""
        if self.first and not self.finished:
            self._send_again()

    def _send_again(self) -> None:
        assert self.first is not None
        self.lost = True
        threading.Timer(0.05, os.kill, (os.getpid(), self.first[0])).start()

    def _on_unraisable(self, unraisable: Any) -> None:
        """What was torn up in the middle may fail once more when it is thrown away."""
        if self.first is None:
            sys.__unraisablehook__(unraisable)

    def _on_printed(self, *error: Any) -> None:
        """Modules in C print the exception that ends an import of theirs and raise another one."""
        if self.first is None:
            sys.__excepthook__(*error)

    def _watch(self, reading: int) -> None:
        """Runs in a thread, which learns of signals also while the main thread is in a library."""
        while True:
            for number in os.read(reading, 64):
                if number in SIGNALS and signal.getsignal(number) == self._on_signal:
                    threading.Thread(target=self._end_later, args=(number,), daemon=True).start()

    def _end_later(self, number: int) -> None:
        time.sleep(PATIENCE)
        if not self.finished:
            self.first = self.first or (number, 0.0)
            self.end()

    def end(self) -> None:
        """Ends the process: its children first, then what its exit functions remove."""
        assert self.first is not None
        number = self.first[0]
        self.say(str(Stopped(number)))
        cleaning = threading.Thread(target=_clean_up, daemon=True)
        cleaning.start()
        cleaning.join(CLEANING)
        os._exit(128 + number)

    def say(self, message: str) -> None:
        """One line, or with --json one object, past Python's buffers, which the interrupted code may hold."""
        if self.said:
            return
        self.said = True
        table = f'{{"error": {{"code": "X191", "message": "{message}", "hint": ""}}}}'
        with contextlib.suppress(OSError):  # the terminal may be gone
            os.write(self.stdout if self.json else 2, f"{table if self.json else 'X191 ' + message}\n".encode())

    def stopped(self) -> int:
        """What the command held has been released."""
        assert self.first is not None
        self.alive = None
        self.say(str(Stopped(self.first[0])))
        return 128 + self.first[0]

    def closed(self, code: int) -> int:
        """The command is done and has said what there was to say; a signal comes too late."""
        self.said = self.finished = True
        return code


def _broken(error: Exception, json: bool) -> int:
    """A fault of the compiler itself: not 1, which means diverged."""
    import traceback

    from cortexc.compiler.cli.output import Output

    traceback.print_exc()
    Output(json).error("X196", f"{type(error).__name__}: {error}.", "This is a fault of cortexc: report it with the "
                       "lines above and the input.")
    return 3


def _is_importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename == "<frozen importlib._bootstrap>":
            return True
        frame = frame.f_back
    return False


def _held(descriptor: int) -> int:
    """Another descriptor of the same file, or the same one where it is closed."""
    with contextlib.suppress(OSError):
        return os.dup(descriptor)
    return descriptor


def _ignore() -> None:
    with contextlib.suppress(ValueError):  # in another thread the process ends by itself
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN)


def _clean_up() -> None:
    multiprocessing: Any = sys.modules.get("multiprocessing")
    for child in multiprocessing.active_children() if multiprocessing else ():
        child.kill()
    atexit._run_exitfuncs()
