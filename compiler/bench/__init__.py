"""Benchmarks: functions that return rows; `cortexc bench NAME` prints them with the machine they ran on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from cortexc.compiler.ir.errors import CortexError, unknown

Job = TypeVar("Job")
Result = TypeVar("Result")
RUN = {"backend": "run.backend", "granularity": "run.granularity", "epochs": "protocol.epochs", "seeds": "run.seeds"}
"""Short forms of an experiment's keys."""
LISTS = ("models", "nets", "sizes", "seeds", "bits", "cases", "lines", "widen", "rates", "tasks")
COUNTS = ("jobs", "epochs", "trials", "steps")


def checked(options: Mapping[str, Any], *known: str) -> dict[str, Any]:
    """The options; those with a dot are keys of an experiment. Raises X182 for an unknown one, X184 for a value."""
    for key, value in options.items():
        if "." not in key and key not in (*known, "output", "golden"):
            raise unknown("X182", "option of this benchmark", key, known)
        if key in LISTS and not (isinstance(value, list) and value):
            raise CortexError("X184", f"option {key} = {value!r} must be a list, as in --set '{key}=[...]'.")
        if key in COUNTS and not (isinstance(value, int) and value > 0):
            raise CortexError("X184", f"option {key} = {value!r} must be a positive whole number.")
    return dict(options)


WITH_RECORDINGS = ("pal-feedback", "demo", "mutations")


def recordings(name: str, folder: str | None) -> dict[str, str]:
    """The option that names a folder of recordings. Raises X182 for a benchmark that reads none."""
    if folder and name not in WITH_RECORDINGS:
        raise CortexError("X182", f"benchmark '{name}' reads no recordings.", "Leave out --golden.")
    return {"golden": folder} if folder else {}


def overrides_of(options: Mapping[str, Any], *short: str) -> dict[str, Any]:
    """Keys of an experiment among a benchmark's options, and these short forms."""
    found = {key: value for key, value in options.items() if "." in key}
    return found | {RUN[name]: options[name] for name in short if name in options}


def run_all(run: Callable[[Job], Result], jobs: Sequence[Job], workers: int) -> list[Result]:
    """Results in the order of the jobs; `workers` processes."""
    if workers == 1:
        return [run(job) for job in jobs]
    from cortexc.compiler.bench.workers import in_processes

    return in_processes(run, [(job,) for job in jobs], workers)
