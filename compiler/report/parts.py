"""A page as data: sections of texts, tables, charts and drawings. One template shows all of them.

Names and texts come from users: the template escapes every one. A page is one file and loads nothing; its style and
script are inside it.
"""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, ClassVar

import numpy as np

LEVELS = 8
"""Shades of a heat scale; the style has a colour and a colour of text for each."""


@dataclass(frozen=True)
class Cell:
    """Of a table: what is shown, what is sorted by, a verdict (`good`, `bad`, `open`), a share that is drawn as a bar,
    a part of the page that it leads to, and what a pointer tells."""

    text: str
    value: float | None = None
    mark: str = ""
    share: float | None = None
    href: str = ""
    note: str = ""

    @property
    def level(self) -> int:
        return heat(self.share or 0.0)


@dataclass(frozen=True)
class Table:
    """`heads`: a name per column. A column of numbers is aligned to the right; every column sorts."""

    kind: ClassVar[str] = "table"
    label: str
    heads: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    note: str = ""

    def numeric(self, column: int) -> bool:
        cells = [row[column] for row in self.rows if row[column].text]
        return bool(cells) and all(cell.value is not None for cell in cells)


@dataclass(frozen=True)
class Text:
    kind: ClassVar[str] = "text"
    text: str
    mark: str = ""


@dataclass(frozen=True)
class Code:
    kind: ClassVar[str] = "code"
    label: str
    text: str


@dataclass(frozen=True)
class Facts:
    """Figures with their names and what is said below them."""

    kind: ClassVar[str] = "facts"
    facts: Sequence[tuple[str, str, str]]


@dataclass(frozen=True)
class Listing:
    """A list of messages: (code, message, advice)."""

    kind: ClassVar[str] = "listing"
    items: Sequence[tuple[str, str, str]]


@dataclass(frozen=True)
class Matrix:
    """Counts of answers (columns) to samples of each class (rows)."""

    kind: ClassVar[str] = "matrix"
    label: str
    names: Sequence[str]
    counts: np.ndarray

    @property
    def rows(self) -> list[tuple[str, list[tuple[int, int]]]]:
        """name -> (count, level) of each answer; a level is the share of the class."""
        shares = self.counts / np.maximum(self.counts.sum(axis=1, keepdims=True), 1)
        return [(name, [(int(count), heat(share)) for count, share in zip(*row, strict=True)])
                for name, *row in zip(self.names, self.counts, shares, strict=True)]


@dataclass(frozen=True)
class Picture:
    """Pixels (rows, columns), from 1, which is blue, over 128, white, to 255, red; 0 is between pictures."""

    kind: ClassVar[str] = "picture"
    label: str
    note: str
    pixels: np.ndarray

    @property
    def source(self) -> str:
        return f"data:image/png;base64,{base64.b64encode(png(self.pixels)).decode()}"


@dataclass(frozen=True)
class Section:
    """`beside`: where there is room its parts stand in two columns, `beside`, or the second is wider, `beside uneven`.
    Parts that are None are left out, and so is a section without any."""

    title: str
    parts: Sequence[Any]
    name: str = ""
    mark: tuple[str, str] | None = None
    beside: str = ""

    @property
    def shown(self) -> list[Any]:
        return [part for part in self.parts if part is not None]


@dataclass(frozen=True)
class Page:
    """`eyebrow`: what kind of page it is; `lead`: the finding, and what is said after it."""

    title: str
    eyebrow: str
    lead: tuple[str, str]
    facts: Facts | None = None
    sections: Sequence[Section] = field(default_factory=tuple)


def number(value: float | None, form: str = ".3g", note: str = "") -> Cell:
    """A number that is sorted by its value; an empty cell for none."""
    return Cell("" if value is None else format(value, form), value, note=note)


def percent(value: float | None) -> str:
    return "not measured" if value is None else f"{value:.1%}"


def counted(count: int, what: str) -> str:
    """`1 seed`, `2 seeds`"""
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def heat(share: float) -> int:
    """The shade of a share: 0 for none, LEVELS beyond the whole."""
    if share > 1.0 + 1e-9:
        return LEVELS
    return min(int(np.ceil(share * (LEVELS - 1))), LEVELS - 1)


def png(pixels: np.ndarray) -> bytes:
    """Of a `Picture`: a byte per pixel and a palette."""
    height, width = pixels.shape
    strength = np.abs(np.arange(256)[:, None] - 128) / 128
    ends = np.where(np.arange(256)[:, None] < 128, (33, 102, 172), (178, 24, 43))
    palette = np.round(255 + strength * (ends - 255)).astype(np.uint8)
    palette[0] = 222
    rows = np.hstack([np.zeros((height, 1), np.uint8), pixels.astype(np.uint8)])
    head = struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)
    data = zlib.compress(rows.tobytes(), 9)
    chunks = ((b"IHDR", head), (b"PLTE", palette.tobytes()), (b"IDAT", data), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in chunks)


@cache
def _environment() -> Any:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    return Environment(loader=PackageLoader(__package__), autoescape=True, undefined=StrictUndefined,
                       trim_blocks=True, lstrip_blocks=True)


def rendered(page: Page) -> str:
    return str(_environment().get_template("page.html").render(page=page))


def drawn(drawing: Any) -> str:
    """A drawing by itself, with its style, as a notebook shows it."""
    return str(_environment().get_template("drawing.html").render(drawing=drawing))
