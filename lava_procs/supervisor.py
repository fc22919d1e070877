"""The supervised runner: every Lava network is started, run and ended here.

Lava by itself waits for ever when one of its processes raises, dies or never gets its message. The
supervisor starts the network step by step, runs it in slices, watches every process while it waits, and
reports what went wrong with the name of the process. It ends only the processes that its own network made; their
shared memory has no name and goes with them. Lava is imported when a network starts, so the error classes can be
imported without it.
"""

import atexit
import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator
from typing import Any

from cortexc.lava_procs.children import STARTING_LOCK
from cortexc.lava_procs.failures import (
    ChildDied,
    ChildLost,
    ChildRaised,
    Interrupted,
    NotUsable,
    Stalled,
    SupervisorError,
)
from cortexc.lava_procs.network import DONE, PAUSE, PAUSED, Network
from cortexc.lava_procs.progress import Progress

__all__ = ["ChildDied", "ChildLost", "ChildRaised", "Interrupted", "NotUsable", "Stalled", "Supervisor",
           "SupervisorError"]

_SLICE_SECONDS = 0.5  # aimed duration of the runs into which a long run is cut
_PATIENCE_SECONDS = 1.0  # after an interrupt, how long the slice may go on before Lava is told to pause
_LONGEST_WAIT_SECONDS = 10.0  # after an interrupt, how long at most to wait for a step boundary
_TWICE_SECONDS = 0.5  # signals that come within this time of the first are taken for the same one
_GRACE_SECONDS = 0.2  # after a death, how long to look for an exception that explains it

_ENDED = "this network has ended; build a new one"


class Supervisor:
    """Runs one Lava network, once: start, any number of runs, stop. As a context manager it starts and stops.

    processes: the Lava processes; all must be connected to each other.
    run_cfg: the Lava run configuration. With `exception_proc_model_map={process_instance: Model}` Lava does
        not search for models; with a class as key it still executes every file beside the class.
    stall_seconds: no progress for this long (and 20 median steps) while all wait is a stall.
    compute_seconds: the same while some process computes.
    first_step_seconds: the same while some process is in its constructor or first step and may compile code.
    compile_config: options for Lava's compiler.
    executable: in place of what compiling would give, that of a network of these processes which has ended.
    """

    def __init__(
        self,
        processes: list[Any],
        run_cfg: Any,
        *,
        stall_seconds: float = 5.0,
        compute_seconds: float = 15.0,
        first_step_seconds: float = 60.0,
        compile_config: dict[str, Any] | None = None,
        executable: Any = None,
    ) -> None:
        self.steps_done = 0  # over all runs
        self.executable = executable
        self._network = Network(processes, run_cfg, compile_config)
        self._limits = (stall_seconds, compute_seconds, first_step_seconds)
        self._running = self._ended = False
        self._at_boundary = True  # no slice is under way
        self._slice_steps = 1
        self._given = self._taken = 0  # steps of the present slice, and done of the last one
        self._owner = os.getpid()

    def __enter__(self) -> "Supervisor":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def process_ids(self) -> dict[str, int]:
        """The operating system's id of each process of the network, by name."""
        return self._network.process_ids()

    def start(self) -> None:
        """Compile the network and start its processes; returns when all models have been constructed.

        Raises what Lava's compiler raises, ChildRaised or ChildDied for a failing model constructor, Stalled
        for one that does not return, Interrupted, or NotUsable after stop. Nothing is left behind then.
        """
        if self._ended:
            raise NotUsable(_ENDED)
        if self._running:
            return
        with _Signals() as signals, self._ending_on_error():
            with STARTING_LOCK:
                self.executable = self._network.compile(self.executable)
                page = self._network.make_page()
                self._progress = Progress(page, self._limits, lambda: self.process_ids.values())
                atexit.register(self.stop)
                self._network.launch(page, self)
            self._await_constructors(signals)
        self._running = True

    def run(self, steps: int) -> int:
        """Run `steps` Lava steps; returns the number done.

        Raises ChildRaised, ChildDied, Stalled or Interrupted, after which the network has ended, NotUsable
        outside of start and stop, ValueError for a negative number.
        """
        if steps < 0:
            raise ValueError(f"cannot run {steps} steps")
        with self._usable() as signals:
            self._finish_present_run(signals)
            return self._run_slices(steps, signals)

    def begin(self, steps: int) -> None:
        """Have the network run `steps` Lava steps and return at once. What happens to it is noticed by what comes
        next: `wait`, `pause`, `run` or `begin`. Raises what `run` raises."""
        with self._usable() as signals:
            self._finish_present_run(signals)
            self._give(steps)

    def wait(self) -> None:
        """Returns when what `begin` began is done. Raises what `run` raises."""
        with self._usable() as signals:
            self._finish_present_run(signals)

    def pause(self) -> None:
        """Ends what `begin` began after its present step. Raises what `run` raises."""
        with self._usable() as signals:
            if not self._at_boundary:
                self._network.command(PAUSE)
                self._finish_present_run(signals, PAUSED)

    @contextlib.contextmanager
    def talking(self) -> Iterator[None]:
        """For a block in which the main program waits for answers of the processes. Raises what `run` raises, and
        NotUsable while the network runs."""
        if self._running and not self._at_boundary:
            raise NotUsable("the network runs; wait for it or pause it first")
        with self._usable():
            self._progress.restart()
            yield

    @contextlib.contextmanager
    def _usable(self) -> Iterator["_Signals"]:
        if not self._running:
            raise NotUsable(_ENDED if self._ended else "start the network first")
        with _Signals() as signals, self._ending_on_error():
            yield signals

    def _finish_present_run(self, signals: "_Signals", wanted: int = DONE) -> None:
        if not self._at_boundary:
            self._take(self._await_boundary(0, signals, wanted))
            if signals.received:
                raise Interrupted(signals.take(), self._taken, consistent=self._consistent())

    def _give(self, steps: int) -> None:
        """Lava begins to run so many steps."""
        self._progress.restart()
        self._at_boundary, self._given = False, steps
        self._network.command(steps)

    def _take(self, whole: bool) -> None:
        """Lava has run them, or was told to pause before."""
        self._taken = self._given
        if not whole:
            self._taken = min(self._given, min(self._progress.page.steps()) - self.steps_done)
        self._at_boundary = True
        self._progress.note_steps()
        self.steps_done += self._taken

    def stop(self) -> None:
        """End the network and remove all that it made. Safe in every state and any number of times."""
        if self._ended or os.getpid() != self._owner:
            return
        with _Signals():
            self._finish()

    def _finish(self) -> None:
        if self._ended:
            return
        was_running, self._running, self._ended = self._running, False, True
        atexit.unregister(self.stop)
        self._network.end(gracefully=was_running and self._at_boundary)

    @contextlib.contextmanager
    def _ending_on_error(self) -> Iterator[None]:
        """End the network if the block raises, then let the error go on."""
        try:
            yield
        except BaseException:
            self._finish()
            raise

    def _await_constructors(self, signals: "_Signals") -> None:
        """Wait until each process has built its model; raises as described in start."""
        self._progress.restart()
        while not self._network.all_constructed():
            self.look_around()
            self._network.await_news()
            if signals.received:
                raise Interrupted(signals.take(), 0, consistent=False)
        if signals.received:
            raise Interrupted(signals.take(), 0, consistent=True)

    def look_around(self) -> None:
        """Raise ChildRaised, ChildDied or Stalled if it is time to."""
        failure = self._network.failure()
        if isinstance(failure, (ChildDied, ChildLost)):
            time.sleep(_GRACE_SECONDS)
            failure = self._network.failure()
        if failure is not None:
            raise failure
        self._progress.check()

    def _run_slices(self, steps: int, signals: "_Signals") -> int:
        done = 0
        while done < steps:
            done += self._run_slice(min(self._slice_steps, steps - done), done, signals)
            if signals.received:
                raise Interrupted(signals.take(), done, consistent=self._consistent())
        return done

    def _run_slice(self, steps: int, done: int, signals: "_Signals") -> int:
        """Run `steps` Lava steps; returns the number done, fewer if Lava was told to pause."""
        began = time.monotonic()
        self._give(steps)
        self._take(self._await_boundary(done, signals))
        self._slice_steps = _next_slice(self._taken, time.monotonic() - began)
        return self._taken

    def _await_boundary(self, done: int, signals: "_Signals", wanted: int = DONE) -> bool:
        """Wait until the slice is over; returns whether it was run to its end.

        A first signal lets the slice end, or has Lava pause after the present step if that takes long. A
        second one, or a step that does not end, raises Interrupted.
        """
        while not self._network.answered(wanted):
            if self._network.await_news():
                continue
            self.look_around()
            if not signals.received:
                continue
            if len(signals.received) > 1 or signals.age() > _LONGEST_WAIT_SECONDS:
                raise Interrupted(signals.take(), done, consistent=False)
            if wanted == DONE and signals.age() > _PATIENCE_SECONDS:
                self._network.command(PAUSE)
                wanted = PAUSED
        return wanted == DONE

    def _consistent(self) -> bool:
        """Whether all processes have completed the same number of steps."""
        return len(set(self._progress.page.steps())) <= 1


def _next_slice(steps: int, seconds: float) -> int:
    """Returns the steps of the next slice, given the last one: half a second, at most four times as many."""
    fitting = int(_SLICE_SECONDS * steps / max(seconds, 1e-6))
    return max(1, min(fitting, 4 * steps))


class _Signals:
    """Holds back SIGINT, SIGTERM and SIGHUP while a block runs in the main thread; elsewhere does nothing.

    A signal that nobody took is delivered when the block ends, to the handlers that were there before.
    Signals that the program ignores stay ignored. One signal that comes twice, because it was sent to the
    process and to its group, counts once.
    """

    def __init__(self) -> None:
        self.received: list[int] = []
        self._taken = False
        self._first = 0.0
        self._old: dict[int, Any] = {}

    def __enter__(self) -> "_Signals":
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                if signal.getsignal(number) not in (signal.SIG_IGN, None):
                    self._old[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        for number, handler in self._old.items():
            signal.signal(number, handler)
        if kind is None and not self._taken:
            for number in self.received[:1]:
                os.kill(os.getpid(), number)

    def _note(self, number: int, _frame: object) -> None:
        self._first = self._first or time.monotonic()
        if not self.received or self.age() > _TWICE_SECONDS:
            self.received.append(number)

    def age(self) -> float:
        """Returns the seconds since the first signal."""
        return time.monotonic() - self._first

    def take(self) -> int:
        """Returns the first signal, which is thereby dealt with."""
        self._taken = True
        return self.received[0]
