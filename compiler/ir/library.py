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

from cortexc.compiler.ir.errors import unknown

FOLDER = Path(__file__).parents[1] / "library"
Own = TypeVar("Own")
DECLARATIONS = ("parameter", "state")


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
    """The library's lines without those in whose place a circuit has its own: of the same name, or of a keyword that
    stands once. Declarations, of which later ones may read earlier ones, stand where the library had them, all else of
    one's own at the end, in its order."""
    said: dict[tuple[str, ...], list[Own]] = {}
    for line in own:
        said.setdefault(_subject(text(line), once), []).append(line)
    found: list[Own] = []
    for library_line in lines:
        subject = _subject(library_line, once)
        if subject not in said:
            found.append(new(library_line))
        elif subject[0] in DECLARATIONS:
            found += said[subject]
            said[subject] = []
    kept = {id(line) for rest in said.values() for line in rest}
    return [*found, *(line for line in own if id(line) in kept)]


def _subject(line: str, once: frozenset[str]) -> tuple[str, ...]:
    """The keyword of a line and whom it is about: `receive dv / dt = ...` is about v, as `receive v=...` is."""
    keyword, _, rest = line.partition(" ")
    if keyword in once:
        return (keyword,)
    derived = re.match("d([^ /=]+) ?/ ?dt ?=", rest)
    return keyword, derived[1] if derived else re.split("[ =@]", rest, maxsplit=1)[0]
