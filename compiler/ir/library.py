"""Cells, rules and synapses that are found by name: `cell hidden = library.lif_exp`.

`compiler/library/NAME.ir` holds one part, under a comment: what it is, its source, equations and units, and against
what it is verified. E270: there is no such part.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple, TypeVar

from compiler.ir.errors import unknown

FOLDER = Path(__file__).parents[1] / "library"
PREFIX = "library."
Own = TypeVar("Own")


class Part(NamedTuple):
    """`keyword`: `cell`, `rule` or `synapse`; `about`: the lines of its comment; `lines`: what stands in its block."""

    keyword: str
    name: str
    about: tuple[str, ...]
    lines: tuple[str, ...]


@cache
def parts() -> dict[str, Part]:
    """Name -> part, in the order of names."""
    return {path.stem: _part(path.read_text(encoding="utf-8")) for path in sorted(FOLDER.glob("*.ir"))}


def _part(text: str) -> Part:
    lines = text.splitlines()
    about = tuple(line.removeprefix("# ") for line in lines if line.startswith("#"))
    head, *body = (line for line in lines if line and not line.startswith("#"))
    keyword, name = head.split(" ")
    return Part(keyword, name, about, tuple(line.strip() for line in body))


def library_lines(keyword: str, name: str) -> tuple[str, ...]:
    """What `KEYWORD x = library.NAME` begins with. Raises E270."""
    known = {part.name: part for part in parts().values() if part.keyword == keyword}
    if name not in known:
        raise unknown("E270", f"{keyword} of the library", name, known)
    return known[name].lines


def merged(lines: Sequence[str], own: Sequence[Own], text: Callable[[Own], str], new: Callable[[str], Own],
           once: frozenset[str]) -> list[Own]:
    """The library's lines, and in the place of those of the same name, or of a keyword that stands once, one's own;
    at the end what is its own alone."""
    said: dict[tuple[str, ...], list[Own]] = {}
    for line in own:
        said.setdefault(_subject(text(line), once), []).append(line)
    found: list[Own] = []
    for library_line in lines:
        subject = _subject(library_line, once)
        found += said[subject] if subject in said else [new(library_line)]
        said |= {subject: []} if subject in said else {}
    return [*found, *(line for rest in said.values() for line in rest)]


def _subject(line: str, once: frozenset[str]) -> tuple[str, ...]:
    """The keyword of a line and whom it is about: `receive dv / dt = ...` is about v, as `receive v=...` is."""
    keyword, _, rest = line.partition(" ")
    if keyword in once:
        return (keyword,)
    derived = re.match("d([^ /=]+) ?/ ?dt ?=", rest)
    return keyword, derived[1] if derived else re.split("[ =@]", rest, maxsplit=1)[0]
