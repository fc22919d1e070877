"""Mends what Lava 0.10 cannot do with a network that has run: `run(RunSteps(n))` after a pause waits for ever, `run`
after `stop` ends the whole program, `set` of a value of another size leaves numbers on the way that the next `get`
takes for its own, and of another shape is taken element by element. Imported for its effect, once."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
from lava.magma.core.process.process import AbstractProcess
from lava.magma.core.process.variable import Var
from lava.magma.runtime.runtime import Runtime
from lava.magma.runtime.runtime_services.runtime_service import LoihiPyRuntimeService


def _forgetting(pause: Callable[[Any], None]) -> Callable[[Any], None]:
    @functools.wraps(pause)
    def handled(service: Any) -> None:
        pause(service)
        service.pausing = service.req_pause = False

    return handled


def _noting(stop: Callable[[Any], None]) -> Callable[[Any], None]:
    @functools.wraps(stop)
    def noted(runtime: Any) -> None:
        started = runtime._is_started
        stop(runtime)
        runtime.stopped = started or getattr(runtime, "stopped", False)

    return noted


def _starting_anew(run: Callable[..., None]) -> Callable[..., None]:
    @functools.wraps(run)
    def started(process: Any, *args: Any, **kwargs: Any) -> None:
        if getattr(process.runtime, "stopped", False):
            executable = process.runtime._executable
            forget_channels(executable)
            process.create_runtime(executable=executable)
        run(process, *args, **kwargs)

    return started


def _of_one_size(setting: Callable[..., None]) -> Callable[..., None]:
    @functools.wraps(setting)
    def checked(var: Any, value: Any, idx: Any = None) -> None:
        plain = idx is None and not isinstance(value, str) and not hasattr(value, "tocsr")
        setting(var, _fitting(var, value) if plain else value, idx)

    return checked


def _fitting(var: Any, value: Any) -> Any:
    found = np.asarray(value)
    turned = found.ndim > 1 and _lengths(found.shape) != _lengths(var.shape)
    if found.dtype.kind not in "biuf" or found.size != np.prod(var.shape) or turned:
        raise ValueError(f"Var '{var.name}' has shape {var.shape}; a value of shape {found.shape} and type "
                         f"{found.dtype} cannot be set.")
    return found


def _lengths(shape: tuple[int, ...]) -> list[int]:
    return [n for n in shape if n != 1]


def forget_channels(executable: Any) -> None:
    """Those of the last run, after which a network can be started again."""
    for builder in executable.proc_builders.values():
        builder.csp_ports.clear()
        builder._csp_port_map.clear()


if not hasattr(Runtime, "stopped"):
    Runtime.stopped = False
    Runtime.stop = _noting(Runtime.stop)
    Var.set = _of_one_size(Var.set)
    LoihiPyRuntimeService._handle_pause = _forgetting(LoihiPyRuntimeService._handle_pause)
    AbstractProcess.run = _starting_anew(AbstractProcess.run)
