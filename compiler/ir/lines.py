"""What lines of text are made of: forms, words, numbers, and the errors that they share.

E101: an option that is not there; E105: said twice; E113: the wrong number of arguments.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

from cortexc.compiler.ir.errors import CortexError, unknown
from cortexc.compiler.ir.limits import shown

WORD = "([^ ]+)"
TWO_WORDS = "([^ ]+)(?: ([^ ]+))?"
CALL = r"([^ (]+) ?(?:\((.*)\))?"


@dataclass(frozen=True)
class Line:
    """A line of a block: `keyword FORM`. `read(keyword, *groups of the pattern)` gives a value of its field."""

    form: str
    fills: str
    pattern: str
    read: Callable[..., Any]
    once: bool = False


class Measured(NamedTuple):
    """What a line says, with the unit that it gives to a quantity."""

    said: Any
    name: str
    unit: str


def measured(said: Any, name: str, unit: str | None) -> Any:
    return said if unit is None else Measured(said, name, unit)


def without_units(where: str, body: dict[str, Any], known: Iterable[str]) -> dict[str, Any]:
    """A body whose `known` lines are plain again, and their units by name. Raises E105 for a unit that is said twice.
    """
    units: dict[str, str] = {}
    for key in known:
        for line in (line for line in body.get(key, ()) if isinstance(line, Measured)):
            if line.name in units:
                raise twice(f"the unit of {line.name}", where)
            units[line.name] = line.unit
        if key in body:
            body[key] = tuple(line.said if isinstance(line, Measured) else line for line in body[key])
    return {**body, "units": tuple(sorted(units.items()))}


def as_word(_: str, found: str) -> str:
    return found


def real(text: str) -> float:
    if not is_real(text):
        raise ValueError(f"{shown(text)} is not a number")
    return float(text)


def is_real(text: str) -> bool:
    return re.fullmatch(r"[+-]?([0-9]+\.?[0-9]*([eE][+-]?[0-9]+)?|\.[0-9]+([eE][+-]?[0-9]+)?|inf|nan)",
                        text) is not None


def whole(text: str) -> int:
    if not re.fullmatch(r"[+-]?[0-9]{1,4000}", text):
        raise ValueError(f"{shown(text)} is not a whole number")
    return int(text)


def wholes(text: str, separator: str = ",") -> tuple[int, ...]:
    return tuple(map(whole, text.split(separator)))


def named_options(words: list[str], known: set[str]) -> dict[str, str]:
    """KEY=VALUE words, each key once."""
    found: dict[str, str] = {}
    for text in words:
        key, equals, value = text.partition("=")
        if not equals or not value:
            raise ValueError(f"{shown(text)} must have the form KEY=VALUE")
        if key not in known:
            raise unknown("E101", "option", key, known)
        if key in found:
            raise twice(key, "the line")
        found[key] = value
    return found


def twice(what: str, where: str) -> CortexError:
    return CortexError("E105", f"'{what}' is said twice in {where}.", "Keep one of them.")


def split(text: str) -> list[str]:
    """Parts between the commas that stand outside parentheses."""
    parts, depth = [""], 0
    for letter in text:
        depth += (letter == "(") - (letter == ")")
        if letter == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    return parts
