"""What several circuits are written with: synapse classes in a line, checks of their options, values per layer."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any

from cortexc.compiler.ir import CortexError, unknown


def synapse(name: str, message: str, port: str, **more: str) -> str:
    """The text of a synapse class; `more`: further lines, by keyword, where they are not empty."""
    lines = (f"synapse {name}", f"message {message}", f"port {port}", *(f"{k} {v}" for k, v in more.items() if v))
    return "\n  ".join(lines) + "\n"


def identities(*rows: tuple[str, str, str]) -> str:
    """Synapse classes without weights: (name, message, port)."""
    return "".join(synapse(*row, connectivity="identity") for row in rows)


def check_words(code: str, *rows: tuple[str, str, Iterable[str]]) -> None:
    """(what it is, the word, the known ones). Raises the code for the first unknown one."""
    for what, word, known in rows:
        if word not in known:
            raise unknown(code, what, word, known)


def check_activations(code: str, names: Iterable[str], known: Collection[str]) -> None:
    check_words(code, *(("activation", name, known) for name in names))


def repeated(code: str, name: str, values: Sequence[Any], count: int, more: str = "") -> list[Any]:
    """One value per layer or area. Raises the code where there are neither one nor `count`."""
    if len(values) not in (1, count):
        raise CortexError(code, f"'{name}' has {len(values)} entries, expected 1 or {count}{more}.")
    return list(values) * count if len(values) == 1 else list(values)


def hyphenated(name: str, layers: Iterable[object]) -> str:
    """`pal-784-100-10`"""
    return "-".join([name, *map(str, layers)])


def check_range(name: str, value: float, least: float, most: float) -> None:
    """Raises E330."""
    if not least <= value <= most:
        raise CortexError("E330", f"model.{name} is {value:g}; it must be from {least:g} to {most:g}.")
