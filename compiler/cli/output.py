"""What the command line prints: with --json one object on stdout, everything else on stderr."""

from __future__ import annotations

import contextlib
import os
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

from cortexc.compiler.ir.errors import CortexWarning

SYSTEM_HINTS = {28: "Free some space on the disk.", 13: "Check the permissions."}


class Output:
    """Where results and messages go. With `json`, stdout is kept for the one object."""

    def __init__(self, json: bool):
        self.json = json
        self.printed = False
        self._stdout = sys.stdout

    @contextlib.contextmanager
    def captured(self) -> Iterator[None]:
        """With `json`, whatever else is written to stdout, by child processes too, goes to stderr."""
        if not self.json:
            yield
            return
        with contextlib.redirect_stdout(sys.stderr), _moved_descriptor(self._stdout):
            yield

    def result(self, table: dict[str, Any], text: str) -> None:
        """The result: the table as JSON, or the text. What stdout does not take is not tried again."""
        from cortexc.compiler.experiments.files import json_text

        self.printed = True
        print(json_text(table) if self.json else text.rstrip("\n"), file=self._stdout, flush=True)

    def error(self, code: str, message: str, hint: str = "") -> None:
        """The object, or the line: also where stdout cannot be written."""
        if self.json and not self.printed:
            with contextlib.suppress(OSError):
                return self.result({"error": {"code": code, "message": message, "hint": hint}}, "")
        print(" ".join(filter(None, (code, message, hint))), file=sys.stderr, flush=True)

    @contextlib.contextmanager
    def warnings(self) -> Iterator[None]:
        """Coded warnings become one line each on stderr."""
        with warnings.catch_warnings():
            warnings.simplefilter("always", CortexWarning)
            warnings.showwarning = self._shown(warnings.showwarning)
            yield

    @staticmethod
    def _shown(others: Callable[..., None]) -> Callable[..., None]:
        def show(message: Warning | str, *place: Any, **more: Any) -> None:
            if isinstance(message, CortexWarning):
                print(f"warning {message}", file=sys.stderr, flush=True)
            else:
                others(message, *place, **more)

        return show

    def system(self, error: OSError) -> None:
        where, hint = f" '{error.filename}'" if error.filename else "", SYSTEM_HINTS.get(error.errno or 0, "")
        self.error("X190", f"the system refused{where}: {error.strerror or error}.", hint)


@contextlib.contextmanager
def _moved_descriptor(stdout: Any) -> Iterator[None]:
    """Descriptor 1 points to stderr meanwhile; `stdout` writes to the place it had."""
    if not _is_descriptor_1(stdout):
        yield
        return
    stdout.flush()
    held = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        os.dup2(held, 1)
        os.close(held)


def _is_descriptor_1(stdout: Any) -> bool:
    original: Any = sys.__stdout__
    try:
        return stdout is original and int(original.fileno()) == 1
    except (AttributeError, OSError, ValueError):
        return False


Update = Callable[[int, int, float], None]


@contextlib.contextmanager
def progress_bar(wanted: bool | None, label: str) -> Iterator[Update | None]:
    """A bar on stderr with steps per second and the time left, or plain lines where it is no terminal; None if it is
    not wanted (by default: where there is no terminal)."""
    terminal = sys.stderr.isatty()
    if wanted is False or (wanted is None and not terminal):
        yield None
    elif terminal:
        with _bar(label) as update:
            yield update
    else:
        yield _throttled(2.0, lambda *place: print(f"{label}: {_state(*place)}", file=sys.stderr))


@contextlib.contextmanager
def _bar(label: str) -> Iterator[Update]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[state]}"))
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(label, total=None, state="compiling")

        def show(position: int, end: int, speed: float) -> None:
            bar.update(task, completed=position, total=end, state=_state(position, end, speed))

        yield _throttled(0.2, show)


def _state(position: int, end: int, speed: float) -> str:
    left = f"{(end - position) / speed:,.0f}" if speed > 0 else "?"
    return f"{position:,} of {end:,} steps, {speed:,.0f} a second, {left} s left"


def _throttled(seconds: float, show: Update) -> Update:
    """Calls `show` at most every so many seconds, and at the end."""
    shown = [0.0]

    def update(position: int, end: int, speed: float) -> None:
        if position >= end or time.monotonic() - shown[0] > seconds:
            shown[0] = time.monotonic()
            show(position, end, speed)

    return update
