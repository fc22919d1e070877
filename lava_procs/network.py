"""One Lava network: the only code that touches the inside of Lava's runtime."""

import contextlib
import functools
import logging
import multiprocessing
import os
import queue
import time
from collections.abc import Callable
from typing import Any

from cortexc.lava_procs.children import Launcher, build_in_child, import_lava, one_blas_thread
from cortexc.lava_procs.failures import ChildDied, ChildLost, ChildRaised, SupervisorError
from cortexc.lava_procs.heartbeat import HeartbeatPage

_POLL_SECONDS = 0.025  # how often the processes are looked at while nothing else happens
_END_SECONDS = 3.0  # how long processes may take to end by themselves

DONE, _TERMINATED, PAUSED = 0, -1, -3  # MGMT_RESPONSE of Lava: answers of a runtime service
_REQUESTS = {-4, -5}  # a process model asks to pause or to stop
_STOP, PAUSE = -1, -2  # MGMT_COMMAND of Lava; a command of 0 and up is a number of steps


class Network:
    """One Lava network and everything started for it."""

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

    def compile(self, executable: Any = None) -> Any:
        """Compile to a Lava executable, or take one that has ended: processes compile once. Returns it.

        Raises ValueError if the processes are not one connected network.
        """
        if not self._processes:
            raise ValueError("a network needs at least one process")
        import_lava()
        if executable is not None:
            self._executable = executable
            return executable
        first = self._processes[0]
        self._executable = first.compile(self._run_cfg, self._compile_config)
        leaves = set(map(id, self._executable.process_list))
        alone = [p.name for p in self._processes if id(p) not in leaves and p.procs.is_empty()]
        if alone:
            raise ValueError(f"not connected to {first.name}: {', '.join(alone)}")
        return self._executable

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

    def launch(self, page: HeartbeatPage, supervisor: Any) -> None:
        """Make the channels and fork the processes, like Runtime.initialize, but do not wait for them."""
        from cortexc.lava_procs.channels import make_direct
        from cortexc.lava_procs.infrastructure import Infrastructure
        from cortexc.lava_procs.supervised_runtime import SupervisedRuntime

        self._runtime = runtime = SupervisedRuntime(self._executable, supervisor)
        self._executable.assign_runtime_to_all_processes(runtime)
        for process in self._processes:  # which may be made of others
            process.runtime = runtime
        self._prepare_builders(page)
        runtime._build_watchdog_manager()
        runtime._messaging_infrastructure = Infrastructure()
        runtime._build_channels()
        runtime._build_sync_channels()
        for port in runtime._open_ports:
            make_direct(port)
        Launcher.call(self._fork)
        runtime._start_ports()
        for port in runtime.service_to_runtime:
            port.observer = functools.partial(self._news.put, None)
            port.recv = functools.partial(self._receive, port.probe, port.recv, supervisor.look_around)

    def _receive(self, probe: Callable[[], bool], receive: Callable[[], Any], look_around: Callable[[], None]) -> Any:
        """Returns the next answer of a runtime service, and has somebody look around while there is none."""
        while not probe():
            if not self.await_news():
                look_around()
        return receive()

    def _fork(self) -> None:
        with one_blas_thread():
            self._runtime._build_processes()
            self._runtime._build_runtime_services()

    def _prepare_builders(self, page: HeartbeatPage) -> None:
        """Have each process prepare itself before it builds its model."""
        builders = {name: self._executable.proc_builders[process] for process, name in self._names().items()}
        services = list(self._executable.runtime_service_builders.values())
        self._actor_names = [*builders, *(f"runtime service {k}" for k in range(len(services)))]
        for name, builder in zip(self._actor_names, [*builders.values(), *services], strict=True):
            index = page.names.index(name) if name in page.names else None
            build = functools.partial(type(builder).build, builder)
            builder.build = functools.partial(build_in_child, build, os.getpid(), page, index)

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
                return _raised(name, actor.exception[0])
        dead.sort(key=lambda item: item[1].exitcode == 0)
        return _ended(dead[0][0], dead[0][1].exitcode) if dead else None

    def process_ids(self) -> dict[str, int]:
        """Returns the process ids by name, empty when the network is not alive."""
        actors = self._actors()
        return {name: actor.pid for name, actor in zip(self._actor_names, actors, strict=False)}

    def end(self, gracefully: bool) -> None:
        """End all processes, close the channels, remove what Lava keeps. Once."""
        with contextlib.ExitStack() as stack:  # last in, first out; all run, whatever one of them raises
            stack.callback(self._forget)
            if self._runtime is None:
                return
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
        """End the threads of the channels and let go of their memory."""
        runtime = self._runtime
        for port in (*runtime.runtime_to_service, *runtime.service_to_runtime):
            port.observer, port._array = None, []
        runtime.join()
        if runtime._watchdog_manager is not None:
            runtime._watchdog_manager.stop()

    def _forget(self) -> None:
        """Cut the processes off their runtime and undo what Lava adds to the interpreter for each network."""
        from lava.magma.core.process.process import LogConfig, ProcessServer
        from lava.magma.core.process.variable import VarServer

        leaves = self._executable.process_list if self._executable else []
        for process in (*self._processes, *leaves):
            process.runtime = None
        formats = {LogConfig().format, *(process._log_config.format for process in self._processes)}
        _remove_handlers(logging.getLogger(), formats)
        _remove_handlers(logging.getLogger("lava.magma.compiler.compiler"), {None})
        ProcessServer().processes.clear()
        VarServer().vars.clear()
        self._executable = self._runtime = None


def _raised(name: str, error: Exception) -> ChildRaised:
    """Returns what a child's own report says, or Lava's, which is only a text."""
    text, coded = error.args if len(error.args) == 2 else (str(error), None)
    return ChildRaised(name, text, coded)


def _ended(name: str, exit_code: int) -> ChildDied | ChildLost:
    from cortexc.lava_procs.infrastructure import LOST

    return ChildLost(name) if exit_code == LOST else ChildDied(name, exit_code)


def _remove_handlers(logger: logging.Logger, formats: set[str | None]) -> None:
    """Remove the plain stream handlers with one of these formats; None stands for one without a format."""
    for handler in list(logger.handlers):
        layout = handler.formatter._fmt if handler.formatter else None
        if type(handler) is logging.StreamHandler and layout in formats:
            logger.removeHandler(handler)
