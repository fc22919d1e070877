"""Errors that a user can cause: a stable code, who, what, how much, the limit and what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class CortexError(Exception):
    """A user-facing error.

    `code` is stable (``E101``); `message` says who and what, with numbers; `hint` says what to do next.
    The command line prints ``code message hint`` and exits with `exit_code`; it never shows a traceback for it.
    """

    exit_code = 2

    def __init__(self, code: str, message: str, hint: str = ""):
        super().__init__(f"{code} {message}" + (f" {hint}" if hint else ""))
        self.code, self.message, self.hint = code, message, hint

    def __reduce__(self) -> tuple[type, tuple[str, str, str]]:
        return type(self), (self.code, self.message, self.hint)


class CortexWarning(UserWarning):
    """Something that a user should know of a run that goes on: a code, what, how much, the limit, what to do."""

    def __init__(self, code: str, message: str, hint: str = ""):
        super().__init__(f"{code} {message}" + (f" {hint}" if hint else ""))
        self.code, self.message, self.hint = code, message, hint


class RunFailed(CortexError):
    """The input was right, as far as anybody knows, and what ran it did not get to the end."""

    exit_code = 3


def check_type(what: str, value: object, kind: type | tuple[type, ...], wanted: str, hint: str = "") -> None:
    """Raises E237 for what a function cannot take: `what` "parse_graph", `wanted` "text"."""
    if not isinstance(value, kind):
        raise CortexError("E237", f"{what} was given a {type(value).__name__}; it takes {wanted}.", hint)


def unknown(code: str, kind: str, name: object, known: Iterable[str]) -> CortexError:
    """The error for a name that is not there: lists the known ones and the nearest."""
    names = sorted(known)
    near = difflib.get_close_matches(str(name), names, 1)
    guess = f" Did you mean '{near[0]}'?" if near else ""
    listed = ", ".join(names) if names else "none"
    return CortexError(code, f"unknown {kind} '{name}'; known: {listed}.", guess.strip())
