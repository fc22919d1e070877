"""The supervised runner: every Lava network is started, run and ended here.

Lava by itself waits for ever when one of its processes raises, dies or never gets its message. The
supervisor starts the network step by step, runs it in slices, watches every process while it waits, and
reports what went wrong with the name of the process. It ends only the processes, and removes only the shared
memory, that its own network made. Lava is imported when a network starts, so the error classes can be
imported without it.
"""

import atexit
import contextlib
import ctypes
import functools
import logging
import multiprocessing
import os
import queue
import signal
import statistics
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator
from multiprocessing import shared_memory
from typing import Any

from lava_procs.heartbeat import (
    COMPUTING,
    STARTING,
    HeartbeatPage,
    die_with_parent,
    watch_model,
)

_POLL_SECONDS = 0.025  # how often the processes are looked at while nothing else happens
_LONGEST_GAP = 0.25  # counted at most per look: time in which this process itself was stopped is not a stall
_SLICE_SECONDS = 0.5  # aimed duration of the runs into which a long run is cut
_PATIENCE_SECONDS = 1.0  # after an interrupt, how long the slice may go on before Lava is told to pause
_TWICE_SECONDS = 0.5  # signals that come within this time of the first are taken for the same one
_END_SECONDS = 3.0  # how long processes may take to end by themselves
_GRACE_SECONDS = 0.2  # after a death, how long to look for an exception that explains it
_LONGEST_TRACEBACK = 20_000  # characters
_MEDIAN_FACTOR = 20  # a stall is at least this many median step durations

_ENDED = "this network has ended; build a new one"

_DONE, _TERMINATED, _PAUSED = 0, -1, -3  # MGMT_RESPONSE of Lava: answers of a runtime service
_REQUESTS = {-4, -5}  # a process model asks to pause or to stop
_STOP, _PAUSE = -1, -2  # MGMT_COMMAND of Lava; a command of 0 and up is a number of steps


class SupervisorError(RuntimeError):
    """Base of everything the supervisor reports."""


class NotUsable(SupervisorError):
    """The network has not been started, or has ended: a network is used once."""


class ChildRaised(SupervisorError):
    """A process raised an exception. process_name: its name; traceback_text: the traceback and exception."""

    def __init__(self, process_name: str, traceback_text: str) -> None:
        super().__init__(f"{process_name} raised an exception:\n{traceback_text}")
        self.process_name = process_name
        self.traceback_text = traceback_text


class ChildDied(SupervisorError):
    """A process ended without an exception. exit_code: or None; signal: the number of the signal, or None."""

    def __init__(self, process_name: str, exit_code: int | None) -> None:
        self.process_name = process_name
        self.signal = -exit_code if exit_code is not None and exit_code < 0 else None
        self.exit_code = exit_code if self.signal is None else None
        by_signal = f"was ended by {_signal_name(self.signal)}" if self.signal is not None else None
        super().__init__(f"{process_name} {by_signal or f'ended with exit code {exit_code}'}")


class Stalled(SupervisorError):
    """Nothing has moved for `seconds`. waits: a sentence for each process that is not idle."""

    def __init__(self, seconds: float, waits: list[str]) -> None:
        idle = ["all processes are idle: Lava's runtime service does not answer"]
        super().__init__("\n  ".join([f"no progress for {seconds:.1f} s:", *(waits or idle)]))
        self.seconds = seconds
        self.waits = waits


class Interrupted(SupervisorError):
    """A signal ended the run; the processes have ended.

    signal: its number. steps_done: Lava steps completed in this call of run. consistent: all processes had
    completed the same step, so what they left in shared memory belongs to one block boundary.
    """

    def __init__(self, signal_number: int, steps_done: int, consistent: bool) -> None:
        where = f"after {steps_done} steps" if consistent else "in the middle of a step"
        super().__init__(f"interrupted by {_signal_name(signal_number)} {where}")
        self.signal = signal_number
        self.steps_done = steps_done
        self.consistent = consistent


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


class Supervisor:
    """Runs one Lava network, once: start, any number of runs, stop. As a context manager it starts and stops.

    processes: the Lava processes; all must be connected to each other.
    run_cfg: the Lava run configuration. With `exception_proc_model_map={process_instance: Model}` Lava does
        not search for models; with a class as key it still executes every file beside the class.
    page: heartbeats; by default one is made from the channels of the network. Processes are found in it by
        name. Process models need not write to it: their steps, sends and receives are marked from outside.
    stall_seconds: no progress for this long (and 20 median steps) while all wait is a stall.
    compute_seconds: the same while some process computes.
    first_step_seconds: the same while some process is in its constructor or first step and may compile code.
    on_progress: called as on_progress(steps_done, steps) about every half second, at a step boundary.
    compile_config: options for Lava's compiler.
    """

    def __init__(
        self,
        processes: list[Any],
        run_cfg: Any,
        page: HeartbeatPage | None = None,
        *,
        stall_seconds: float = 5.0,
        compute_seconds: float = 15.0,
        first_step_seconds: float = 60.0,
        on_progress: Callable[[int, int], None] | None = None,
        compile_config: dict[str, Any] | None = None,
    ) -> None:
        self.page = page
        self.steps_done = 0  # over all runs
        self._network = _Network(processes, run_cfg, compile_config)
        self._limits = (stall_seconds, compute_seconds, first_step_seconds)
        self._on_progress = on_progress
        self._running = self._ended = False
        self._at_boundary = True  # no slice is under way
        self._slice_steps = 1
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
            self._network.compile()
            self.page = self.page or self._network.make_page()
            self._progress = _Progress(self.page, *self._limits)
            atexit.register(self.stop)
            self._network.launch(self.page)
            self._await_constructors(signals)
        self._running = True

    def run(self, steps: int) -> int:
        """Run `steps` Lava steps; returns the number done, fewer if `request_stop` was called.

        Raises ChildRaised, ChildDied, Stalled or Interrupted, after which the network has ended, NotUsable
        outside of start and stop, ValueError for a negative number.
        """
        if not self._running:
            raise NotUsable(_ENDED if self._ended else "start the network first")
        if steps < 0:
            raise ValueError(f"cannot run {steps} steps")
        with _Signals() as signals, self._ending_on_error():
            return self._run_slices(steps, signals)

    def request_stop(self) -> None:
        """Make the present run return at a step boundary of its present slice; the network stays usable.

        May be called from on_progress, from another thread or from a signal handler. Process models see it as
        `page.stop`; outside of a run it makes the next run return at once.
        """
        if self.page is not None:
            self.page.stop = True

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
            self._look_around()
            self._network.await_news()
            if signals.received:
                raise Interrupted(signals.take(), 0, consistent=False)
        if signals.received:
            raise Interrupted(signals.take(), 0, consistent=True)

    def _look_around(self) -> None:
        """Raise ChildRaised, ChildDied or Stalled if it is time to."""
        failure = self._network.failure()
        if isinstance(failure, ChildDied):
            time.sleep(_GRACE_SECONDS)
            failure = self._network.failure()
        if failure is not None:
            raise failure
        self._progress.check()

    def _run_slices(self, steps: int, signals: "_Signals") -> int:
        done = 0
        while done < steps and not self._progress.page.stop:
            done += self._run_slice(min(self._slice_steps, steps - done), done, signals)
            if self._on_progress is not None:
                self._on_progress(done, steps)
            if signals.received:
                raise Interrupted(signals.take(), done, consistent=self._consistent())
        self._progress.page.stop = False
        return done

    def _run_slice(self, steps: int, done: int, signals: "_Signals") -> int:
        """Run `steps` Lava steps; returns the number done, fewer if Lava was told to pause."""
        self._progress.restart()
        self._at_boundary = False
        began = time.monotonic()
        self._network.command(steps)
        if not self._await_boundary(done, signals):
            steps = min(steps, min(self._progress.page.steps()) - self.steps_done)
        self._at_boundary = True
        self._progress.note_steps()
        self.steps_done += steps
        self._slice_steps = _next_slice(steps, time.monotonic() - began)
        return steps

    def _await_boundary(self, done: int, signals: "_Signals") -> bool:
        """Wait until the slice is over; returns whether it was run to its end.

        A first signal lets the slice end, or has Lava pause after the present step if that takes long. A
        second one raises Interrupted at once.
        """
        wanted = _DONE
        while not self._network.answered(wanted):
            if self._network.await_news():
                continue
            self._look_around()
            if not signals.received:
                continue
            self._progress.page.stop = True
            if len(signals.received) > 1:
                raise Interrupted(signals.take(), done, consistent=False)
            if wanted == _DONE and signals.age() > _PATIENCE_SECONDS:
                self._network.command(_PAUSE)
                wanted = _PAUSED
        return wanted == _DONE

    def _consistent(self) -> bool:
        """Whether all processes have completed the same number of steps."""
        return len(set(self._progress.page.steps())) <= 1


def _next_slice(steps: int, seconds: float) -> int:
    """Returns the steps of the next slice, given the last one: half a second, at most four times as many."""
    fitting = int(_SLICE_SECONDS * steps / max(seconds, 1e-6))
    return max(1, min(fitting, 4 * steps))


class _Progress:
    """Notices that the heartbeats have been still for too long; a median step is one of the whole network."""

    def __init__(self, page: HeartbeatPage, stall: float, compute: float, first_step: float) -> None:
        self.page = page
        self._limits = (stall, compute, first_step)
        self._durations: deque[float] = deque(maxlen=101)
        self.restart()

    def restart(self) -> None:
        """Begin anew: the time between two runs does not count."""
        self._looked = self._stepped = time.monotonic()
        self._snapshot = self.page.snapshot()
        self._steps = min(self.page.steps(), default=0)
        self._quiet = 0.0

    def check(self) -> None:
        """Look at the page. Raises Stalled if there has been no progress for too long."""
        now, snapshot = time.monotonic(), self.page.snapshot()
        gap, self._looked = now - self._looked, now
        if snapshot != self._snapshot:
            self._snapshot, self._quiet = snapshot, 0.0
            self.note_steps()
            return
        self._quiet += min(gap, _LONGEST_GAP)
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


class _Network:
    """One Lava network and everything started for it. The only code that touches the inside of Lava."""

    def __init__(self, processes: list[Any], run_cfg: Any, compile_config: dict[str, Any] | None) -> None:
        self._processes = list(processes)
        self._run_cfg = run_cfg
        self._compile_config = compile_config
        self._executable: Any = None
        self._runtime: Any = None
        self._actor_names: list[str] = []
        self._constructed = 0
        self._answers: list[set[int]] = []
        self._news: queue.SimpleQueue[None] = queue.SimpleQueue()

    def compile(self) -> None:
        """Compile to a Lava executable. Raises ValueError if the processes are not one connected network."""
        if not self._processes:
            raise ValueError("a network needs at least one process")
        first = self._processes[0]
        self._executable = first.compile(self._run_cfg, self._compile_config)
        leaves = set(map(id, self._executable.process_list))
        alone = [p.name for p in self._processes if id(p) not in leaves and p.procs.is_empty()]
        if alone:
            raise ValueError(f"not connected to {first.name}: {', '.join(alone)}")

    def make_page(self) -> HeartbeatPage:
        """Returns a page with a row per process and a port per channel, both in the order of Lava."""
        names = self._names()
        ports: dict[Any, list[str]] = {process: [] for process in names}
        peers: dict[Any, list[str]] = {process: [] for process in names}
        for channel in self._executable.channel_builders:
            for own, other, port in (
                (channel.src_process, channel.dst_process, channel.src_port_initializer),
                (channel.dst_process, channel.src_process, channel.dst_port_initializer),
            ):
                ports[own].append(port.name)
                peers[own].append(names[other])
        return HeartbeatPage(list(names.values()), list(ports.values()), list(peers.values()))

    def _names(self) -> dict[Any, str]:
        """Returns a unique name for each leaf process, in the order in which Lava starts them."""
        names: dict[Any, str] = {}
        for process in self._executable.proc_builders:
            taken = process.name in names.values()
            names[process] = f"{process.name}#{process.id}" if taken else process.name
        return names

    def launch(self, page: HeartbeatPage) -> None:
        """Make the channels and fork the processes, like Runtime.initialize, but do not wait for them."""
        from lava.magma.core.process.message_interface_enum import ActorType
        from lava.magma.runtime.runtime import Runtime

        self._runtime = runtime = Runtime(self._executable, ActorType.MultiProcessing)
        self._executable.assign_runtime_to_all_processes(runtime)
        self._prepare_builders(page)
        runtime._build_watchdog_manager()
        runtime._messaging_infrastructure = _start_infrastructure()
        with _one_blas_thread():
            runtime._build_channels()
            runtime._build_sync_channels()
            runtime._build_processes()
            runtime._build_runtime_services()
        runtime._start_ports()
        for port in runtime.service_to_runtime:
            port.observer = functools.partial(self._news.put, None)

    def _prepare_builders(self, page: HeartbeatPage) -> None:
        """Have each process prepare itself before it builds its model."""
        builders = {name: self._executable.proc_builders[process] for process, name in self._names().items()}
        services = list(self._executable.runtime_service_builders.values())
        self._actor_names = [*builders, *(f"runtime service {k}" for k in range(len(services)))]
        if not set(page.names) <= set(builders):
            raise ValueError(f"no such process: {', '.join(sorted(set(page.names) - set(builders)))}")
        for name, builder in zip(self._actor_names, [*builders.values(), *services], strict=True):
            index = page.names.index(name) if name in page.names else None
            builder.build = functools.partial(_build_in_child, builder.build, os.getpid(), page, index)

    def all_constructed(self) -> bool:
        """Returns whether each process has built its model; afterwards the network takes commands.

        A constructor that raised is reported by `failure`, not here.
        """
        while self._constructed < len(self._runtime.exception_q):
            try:
                error = self._runtime.exception_q[self._constructed].get_nowait()
            except queue.Empty:
                return False
            if error is not None:
                return False
            self._constructed += 1
        self._runtime.exception_q = []
        self._runtime._is_initialized = self._runtime._is_started = True
        return True

    def command(self, number: int) -> None:
        """Tell the runtime services to run `number` steps, to pause or to stop."""
        from lava.magma.runtime.mgmt_token_enums import enum_to_np

        if number >= 0:
            self._answers = [set() for _ in self._runtime.service_to_runtime]
            self._runtime.num_steps = number
        self._runtime._is_running = True
        for port in self._runtime.runtime_to_service:
            port.send(enum_to_np(number))

    def answered(self, wanted: int) -> bool:
        """Returns whether all runtime services have given the wanted answer to the last command."""
        for port, answers in zip(self._runtime.service_to_runtime, self._answers, strict=True):
            while port.probe():
                answers.add(int(port.recv()[0]))
            if answers & _REQUESTS:
                raise SupervisorError("a process model asked Lava to pause or stop; it must not")
        if not all(wanted in answers for answers in self._answers):
            return False
        self._runtime._is_running = False
        return True

    def await_news(self) -> bool:
        """Wait a moment, or until a runtime service answers; returns whether one did."""
        try:
            self._news.get(timeout=_POLL_SECONDS)
        except queue.Empty:
            return False
        return True

    def failure(self) -> SupervisorError | None:
        """Returns what has happened to the processes, an exception before a death, or None."""
        actors = list(zip(self._actor_names, self._actors(), strict=True))
        dead = [(name, actor) for name, actor in actors if not actor.is_alive()]
        for name, actor in actors:
            if actor.exception is not None:
                return ChildRaised(name, str(actor.exception[0]))
        dead.sort(key=lambda item: item[1].exitcode == 0)
        return ChildDied(dead[0][0], dead[0][1].exitcode) if dead else None

    def process_ids(self) -> dict[str, int]:
        """Returns the process ids by name, empty when the network is not alive."""
        actors = self._actors()
        return {name: actor.pid for name, actor in zip(self._actor_names, actors, strict=False)}

    def end(self, gracefully: bool) -> None:
        """End all processes, close the channels, remove the shared memory and what Lava keeps. Once."""
        with contextlib.ExitStack() as stack:  # last in, first out; all run, whatever one of them raises
            stack.callback(self._forget)
            if self._runtime is None:
                return
            stack.callback(self._remove_shared_memory)
            stack.callback(self._close_channels)
            stack.callback(self._end_processes)
            if gracefully:
                self._ask_to_end()

    def _actors(self) -> list[Any]:
        infrastructure = self._runtime and self._runtime._messaging_infrastructure
        return infrastructure.actors if infrastructure else []

    def _ask_to_end(self) -> None:
        """Tell the processes to end and wait, but not for ever, until they have."""
        deadline = time.monotonic() + _END_SECONDS
        self._answers = [set() for _ in self._runtime.service_to_runtime]
        self.command(_STOP)
        while not self.answered(_TERMINATED) and not self.failure() and time.monotonic() < deadline:
            self.await_news()
        for actor in self._actors():
            multiprocessing.Process.join(actor, max(0.0, deadline - time.monotonic()))

    def _end_processes(self) -> None:
        """Kill the processes that are still alive and collect all of them."""
        actors = self._actors()
        for actor in actors:
            if actor.is_alive():
                actor.kill()
        for actor in actors:
            multiprocessing.Process.join(actor, _END_SECONDS)
            if not actor.is_alive():
                actor.join()  # Lava's own: closes the pipes
        actors.clear()
        self._runtime._is_initialized = self._runtime._is_started = self._runtime._is_running = False
        self._runtime.exception_q = []

    def _close_channels(self) -> None:
        """End the threads of the channels; their memory is about to go, so nobody may touch it any more."""
        runtime = self._runtime
        for port in (*runtime.runtime_to_service, *runtime.service_to_runtime):
            port.observer, port._array = None, []
        runtime.join()
        if runtime._watchdog_manager is not None:
            runtime._watchdog_manager.stop()

    def _remove_shared_memory(self) -> None:
        """Have the memory manager remove the network's segments, or do it in its place if it is gone."""
        if self._runtime._messaging_infrastructure is None:
            return
        memory = self._runtime._messaging_infrastructure.smm
        names = [handle.name for handle in memory._shared_memory_handles]
        server = memory._manager._process
        memory.shutdown()
        if server.is_alive():
            server.kill()
            server.join(_END_SECONDS)
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                shared_memory.SharedMemory(name).unlink()

    def _forget(self) -> None:
        """Cut the processes off their runtime and undo what Lava adds to the interpreter for each network."""
        from lava.magma.core.process.process import LogConfig, ProcessServer

        leaves = self._executable.process_list if self._executable else []
        for process in (*self._processes, *leaves):
            process.runtime = None
        formats = {LogConfig().format, *(process._log_config.format for process in self._processes)}
        _remove_handlers(logging.getLogger(), formats)
        _remove_handlers(logging.getLogger("lava.magma.compiler.compiler"), {None})
        ProcessServer().processes.clear()
        self._executable = self._runtime = None


def _remove_handlers(logger: logging.Logger, formats: set[str | None]) -> None:
    """Remove the plain stream handlers with one of these formats; None stands for one without a format."""
    for handler in list(logger.handlers):
        layout = handler.formatter._fmt if handler.formatter else None
        if type(handler) is logging.StreamHandler and layout in formats:
            logger.removeHandler(handler)


def _start_infrastructure() -> Any:
    """Returns Lava's message infrastructure; its memory manager is a process that ends with this one."""
    from lava.magma.runtime.message_infrastructure.multiprocessing import MultiProcessing
    from lava.magma.runtime.message_infrastructure.shared_memory_manager import SharedMemoryManager

    infrastructure = MultiProcessing()
    infrastructure._smm = SharedMemoryManager()
    infrastructure._smm._manager.start(initializer=_prepare_child, initargs=(os.getpid(),))
    return infrastructure


class _ChildFailure(Exception):
    """What a child sends instead of its exception: the traceback as text, which can always be sent."""


def _prepare_child(parent_pid: int) -> None:
    """In a child: end with the parent, and leave it to the parent what a signal to the whole group means."""
    die_with_parent(parent_pid)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)


def _build_in_child(build: Callable[[], Any], parent_pid: int, page: HeartbeatPage, index: int | None) -> Any:
    """In a child: returns the process model or runtime service, watched, its failures made fit to be sent."""
    _prepare_child(parent_pid)
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
        except Exception:
            if index is not None:
                page.failed(index)
            raise _ChildFailure(traceback.format_exc()[-_LONGEST_TRACEBACK:]) from None

    return call


@contextlib.contextmanager
def _one_blas_thread() -> Iterator[None]:
    """Let processes forked in the block use one thread for linear algebra; then restore this process's own.

    Set before the fork because a child that sets it afterwards would first start the threads.
    """
    settings = [(set_threads, get_threads()) for get_threads, set_threads in _thread_settings()]
    old = [(set_threads, count) for set_threads, count in settings if count > 1]
    try:
        for set_threads, _ in old:
            set_threads(1)
        yield
    finally:
        for set_threads, count in old:
            set_threads(count)


def _thread_settings() -> list[tuple[Callable[[], int], Callable[[int], None]]]:
    """Returns (get, set) of the number of threads for each loaded OpenBLAS and OpenMP library."""
    names = [(f"{p}openblas_get_num_threads{s}", f"{p}openblas_set_num_threads{s}")
             for p in ("", "scipy_") for s in ("", "64_", "_64")]  # fmt: skip
    names += [("omp_get_max_threads", "omp_set_num_threads"), ("MKL_Get_Max_Threads", "MKL_Set_Num_Threads")]
    libraries = [ctypes.CDLL(path) for path in _loaded_libraries()]
    return [
        (getattr(library, get), getattr(library, set_))
        for library in libraries
        for get, set_ in names
        if hasattr(library, get) and hasattr(library, set_)
    ]


def _loaded_libraries() -> list[str]:
    """Returns the paths of the loaded libraries that may have threads of their own; none outside of Linux."""
    try:
        with open("/proc/self/maps") as maps:
            paths = {line.split(None, 5)[5].strip() for line in maps if "/" in line and ".so" in line}
    except OSError:
        return []
    marks = ("openblas", "libgomp", "libomp", "libiomp", "mkl_rt")
    return sorted(path for path in paths if any(mark in os.path.basename(path) for mark in marks))
