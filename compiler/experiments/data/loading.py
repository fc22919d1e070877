"""What a data set is, and what every loader needs: the request, the assembly of the parts, an archive's arrays.

Errors: D403, D404 and D406 as in :mod:`cortexc.compiler.experiments.data.datasets`, whose loaders are built on this.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cortexc.compiler.experiments.files import brief
from cortexc.compiler.ir.errors import CortexError, unknown

Arrays = tuple[np.ndarray, np.ndarray]
PARTS = ("train", "valid", "test")


def no_scikit_learn(what: str, otherwise: str = "") -> CortexError:
    return CortexError("D411", f"{what} needs scikit-learn, which is not installed.",
                       f"pip install 'cortexc[data]'. {otherwise}".rstrip())


@dataclass(frozen=True, eq=False)
class Dataset:
    """Static samples with labels, in three parts of which any may be empty.

    Every ``*_x`` is float64 (N, n_in), C-contiguous; every ``*_y`` is int64 (N,) with values in [0, classes).
    """

    name: str
    source: str
    """Where the numbers come from and how they were split, in one sentence."""
    train_x: np.ndarray
    train_y: np.ndarray
    valid_x: np.ndarray
    valid_y: np.ndarray
    test_x: np.ndarray
    test_y: np.ndarray
    classes: int
    words: tuple[str, ...] = ()
    """What the user calls the classes, in their order, where the labels were words."""

    @property
    def n_in(self) -> int:
        """Number of input features."""
        return int(self.train_x.shape[1])

    def part(self, name: str) -> Arrays:
        """``(x, y)`` of the part ``train``, ``valid`` or ``test``; D406 for another name."""
        if name not in PARTS:
            raise unknown("D406", "part of a data set", name, PARTS)
        return getattr(self, f"{name}_x"), getattr(self, f"{name}_y")

    def require(self, name: str) -> Arrays:
        """Like :meth:`part`, but D404 if the part has no samples."""
        x, y = self.part(name)
        if len(x) == 0:
            raise CortexError("D404", f"data set '{self.name}': the part '{name}' is empty (0 samples).",
                              "Give it samples, raise its limit, or choose another split.")
        return x, y


@dataclass(frozen=True)
class Request:
    """The options of one call of ``load_dataset``, as the loaders see them."""

    name: str
    split: str
    split_seed: int
    data_dir: Path | None
    limits: Mapping[str, int]
    valid_fraction: float
    normalise: tuple[float, float] | None = None
    """(mean, deviation) taken off the scaled inputs."""

    def count(self, part: str, available: int) -> int:
        """How many of the available samples of a part are wanted."""
        return min(available, self.limits.get(part, available))


@dataclass(frozen=True)
class Entry:
    """A data set that can be loaded; its first split is the default."""

    splits: tuple[str, ...]
    load: Callable[[Request], Dataset]
    has_files: bool = True
    """Whether it is read from files that are looked for in a folder."""


def assemble(request: Request, source: str, parts: Mapping[str, Arrays], classes: int,
             divisor: float = 1.0, words: tuple[str, ...] = ()) -> Dataset:
    """Apply limits, types, the divisor of the inputs and their normalisation to ``parts``; missing ones are empty.

    Limits come before the conversion to float64, so that a few images of a large set need little memory. D406 if
    the normalised inputs are out of range.
    """
    n_in, arrays = parts["train"][0].shape[1], {}
    for part in PARTS:
        x, y = parts.get(part, (np.zeros((0, n_in)), np.zeros(0, np.int64)))
        end = request.count(part, len(x))
        arrays[f"{part}_x"] = _inputs(request, x[:end], divisor)
        arrays[f"{part}_y"] = np.array(y[:end], np.int64)
    source += "".join(f"; at most {count} of '{part}'" for part, count in request.limits.items())
    if request.normalise:
        source += "; inputs normalised with mean {!r} and deviation {!r}".format(*request.normalise)
    return Dataset(request.name, source, **arrays, classes=classes, words=words)


def _inputs(request: Request, x: np.ndarray, divisor: float) -> np.ndarray:
    """float64 (N, n_in): x / divisor, then (x - mean) / deviation; large sets are changed in place. D406."""
    inputs = np.array(x, np.float64, order="C")
    inputs /= divisor
    if request.normalise is None:
        return inputs
    try:
        with np.errstate(over="raise"):
            inputs -= request.normalise[0]
            inputs /= request.normalise[1]
    except FloatingPointError:
        raise CortexError("D406", f"data set '{request.name}': inputs normalised with (mean, deviation) = "
                                  f"{request.normalise} exceed the range of float64.") from None
    return inputs


def read_archive(file: Path) -> dict[str, np.ndarray]:
    """All arrays of an ``.npz``, without unpickling; D403 if any cannot be read."""
    try:
        with np.load(file, allow_pickle=False) as archive:
            arrays = {key: archive[key] for key in archive.files}
        strangers = [key for key, value in arrays.items() if not isinstance(value, np.ndarray)]
        if strangers:
            raise ValueError(f"not arrays: {', '.join(strangers)}")
        return arrays
    except Exception as error:  # zip, zlib, header or memory: whatever it is, the file is no good
        raise CortexError("D403", f"{file}: not a readable .npz archive ({brief(error)}).",
                          "It may be truncated; make or download it again.") from error


def named_folder(given: str | os.PathLike[str]) -> Path:
    """A folder of data that the user named. Raises D409 unless it can be looked into."""
    try:
        os.listdir(given)
    except OSError as error:
        raise CortexError("D409", f"data folder '{given}' cannot be read: {error.strerror}.",
                          "Check --data-dir, data.folder or CORTEXC_DATA.") from None
    return Path(given)
