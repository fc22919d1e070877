"""Where the cells of a population are, and how far from each other: `place grid 40x40 on 1 mm x 1 mm wrapped`."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
AXES = ("x", "y", "z")
LAYOUTS = ("line", "ring", "grid", "random", "given")


@dataclass(frozen=True)
class Layout:
    """In a box from 0 to `extent` (1 to 3 axes, in `unit`).

    `line`, `ring` (a line that ends where it begins) and `grid` put cells in the middle of equal parts: `shape` of them
    along each axis, x first, then y, then z. `random` draws places uniformly, from `seed` and the population's name;
    `given` takes arrays `population.x`, `.y`, `.z`. `wrapped`: what leaves the box on one side comes in on the other.
    """

    kind: str
    extent: tuple[float, ...]
    unit: str = ""
    shape: tuple[int, ...] = ()
    wrapped: bool = False
    seed: int = 0

    @property
    def wraps(self) -> bool:
        return self.wrapped or self.kind == "ring"

    @property
    def arrays(self) -> tuple[str, ...]:
        """What it takes of arrays."""
        return AXES[:len(self.extent)] if self.kind == "given" else ()


@dataclass(frozen=True)
class Places:
    """Of the `size` cells of population `owner`; `bound`: the arrays of a layout that is given, as bytes."""

    layout: Layout
    owner: str
    size: int
    bound: tuple[bytes, ...] = ()

    @cached_property
    def cells(self) -> Floats:
        """(size, axes)"""
        layout, extent = self.layout, np.array(self.layout.extent)
        if layout.kind == "given":
            return np.stack([np.frombuffer(array) for array in self.bound], axis=1)
        if layout.kind == "random":
            key = hashlib.sha256(f"{layout.seed}/{self.owner}/places".encode()).digest()[:16]
            source = np.random.Generator(np.random.Philox(key=int.from_bytes(key, "little")))
            return np.asarray(source.random((self.size, len(extent))) * extent)
        shape = layout.shape or (self.size,)
        index = np.stack(np.unravel_index(np.arange(self.size), shape[::-1])[::-1], axis=1)
        return np.asarray((index + 0.5) * extent / shape)

    def tiles(self, most: int) -> list[NDArray[np.int64]]:
        """The cells in groups of neighbours, of `most` or fewer each, as many as nearly equal groups allow."""
        return self._tiles(np.arange(self.size), 0, most)

    def _tiles(self, cells: NDArray[np.int64], axis: int, most: int) -> list[NDArray[np.int64]]:
        rest = self.cells.shape[1] - axis
        if rest == 0:
            return [cells]
        parts = math.ceil((len(cells) / most) ** (1 / rest) - 1e-9)
        ordered = cells[np.argsort(self.cells[cells, axis], kind="stable")]
        return [tile for part in np.array_split(ordered, max(parts, 1)) for tile in self._tiles(part, axis + 1, most)]


@dataclass(frozen=True)
class Apart:
    """How far the cells of two populations are from each other."""

    pre: Places
    post: Places

    def between(self, pre: Any, post: Any) -> Floats:
        """Of cells, in arrays of indices that numpy broadcasts."""
        return self.length(np.abs(self.post.cells[post] - self.pre.cells[pre]))

    def length(self, along: Floats, spread: Floats | float = 0.0) -> Floats:
        """(...) of (..., axes): how far along each axis, less the `spread` of what is there; or around."""
        if self.pre.layout.wraps:
            along = np.minimum(along, np.array(self.pre.layout.extent) - along)
        along = np.maximum(along - spread, 0.0)
        total: Floats = sum((along[..., axis] ** 2 for axis in range(1, along.shape[-1])), along[..., 0] ** 2)
        return np.sqrt(total)

    @property
    def longest(self) -> float:
        """No two cells are farther from each other."""
        half = 0.5 if self.pre.layout.wraps else 1.0
        sides = zip(self.pre.layout.extent, self.post.layout.extent, strict=True)
        return math.hypot(*(half * max(both) for both in sides))
