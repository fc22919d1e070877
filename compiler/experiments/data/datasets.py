"""Benchmark data sets and the user's own arrays; the image sets are in :mod:`compiler.experiments.data.image_sets`.

Every loader returns a :class:`Dataset`; whatever is wrong with a file or a request is a ``CortexError``:
D401 unknown data set; D402 file not found (the hint says how to get it); D403 an archive that cannot be read
or whose arrays are not the expected ones; D404 an empty part where samples are needed; D405 labels that
cannot be used; D406 an option that does not fit the data set; D408 a file that is no table.
"""

from __future__ import annotations

import csv
import math
import os
from collections.abc import Collection, Mapping
from contextlib import suppress
from pathlib import Path

import numpy as np

from cortexc.compiler.experiments.data import image_sets
from cortexc.compiler.experiments.data.loading import (
    PARTS,
    Arrays,
    Dataset,
    Entry,
    Request,
    assemble,
    named_folder,
    read_archive,
)
from cortexc.compiler.experiments.files import brief
from cortexc.compiler.ir.errors import CortexError, unknown

LARGEST_LABEL = 65_535


def load_dataset(name: str, *, split: str | None = None, split_seed: int = 0,
                 data_dir: str | os.PathLike[str] | None = None, limits: Mapping[str, int] | None = None,
                 valid_fraction: float = 0.0, normalise: tuple[float, float] | None = None) -> Dataset:
    """A named data set, or the user's own ``.npz`` or ``.csv`` file. Raises D401 to D408.

    ``split``: None for the set's default; for digits and tables ``stratified`` (seeded by ``split_seed``, one
    fifth is for testing) or ``contiguous`` (the last fifth is); for Yin-Yang ``published`` or ``pal``; for MNIST
    ``published`` (10 000 training images validate, pixels/256) or ``full`` (all train, pixels/255); for
    Fashion-MNIST ``full`` or ``holdout`` (10 000 validate), for CIFAR-10 ``full``, both with pixels/255.
    ``data_dir``: a folder with the files. ``limits``: at most so many first samples of each named part.
    ``valid_fraction``: share of the training part that becomes the validation part, for digits and tables.
    ``normalise``: (mean, deviation); the inputs, scaled as above, become (x - mean) / deviation.
    A user's ``.npz`` has ``train_x``, ``train_y``, ``test_x``, ``test_y`` and perhaps ``valid_x``,
    ``valid_y``; the last column of a ``.csv`` is the label. Labels are classes 0, 1, ..., or words, which are numbered
    in sorted order.
    """
    entry = _entry(name)
    split = entry.splits[0] if split is None else split
    if split not in entry.splits:
        raise unknown("D406", f"split of data set '{name}'", split, entry.splits)
    folder = None if data_dir is None else named_folder(data_dir)
    elsewhere = folder is not None and Path(name).is_absolute() and not Path(name).is_relative_to(folder)
    if folder and (not entry.has_files or elsewhere):
        raise CortexError("D410", f"data set '{name}' reads nothing from the data folder '{folder}'.",
                          "Leave out --data-dir or data.folder.")
    request = Request(name, split, split_seed, folder, dict(limits or {}), valid_fraction,
                      None if normalise is None else _normalisation(normalise))
    _check_options(request)
    return entry.load(request)


def load_arrays(path: str | os.PathLike[str], wanted: Collection[str] | None = None) -> dict[str, np.ndarray]:
    """Unlabelled arrays, float64: (T, n), one row a step or a presentation, or (n,).

    A ``.npz`` gives its arrays under their own keys, a ``.csv`` one array called ``input``. Empty streams
    (T = 0) are allowed. Of several arrays the `wanted` ones are read (None: all), the others are as they are: labels
    may be beside them. Raises D402, D403, D405 or D408.
    """
    file = _existing(Path(path), None)
    if file.suffix.lower() == ".csv":
        return {"input": _table(file, _table_rows(file))}
    arrays = read_archive(file)
    if not arrays:
        raise CortexError("D403", f"{file}: the archive holds no arrays.")
    read = arrays if wanted is None or len(arrays) == 1 else wanted
    return {key: _matrix(file, key, value).reshape(value.shape) if key in read else value
            for key, value in arrays.items()}


def _entry(name: str) -> Entry:
    """The entry of a known name, or the one of a user's file by its suffix; D401."""
    if name in ENTRIES:
        return ENTRIES[name]
    if Path(name).suffix.lower() == ".csv":
        return Entry(("stratified", "contiguous"), _load_user_table)
    if Path(name).suffix or os.sep in name:
        return Entry(("own",), _load_user_archive)
    raise unknown("D401", "data set", name, [*ENTRIES, "FILE.npz", "FILE.csv"])


def _check_options(request: Request) -> None:
    """D406 for limits, a seed or a validation share that cannot be followed."""
    for part, count in request.limits.items():
        if part not in PARTS:
            raise unknown("D406", "part of a data set in the limits", str(part), PARTS)
        if isinstance(count, bool) or not isinstance(count, (int, np.integer)) or count < 0:
            raise CortexError("D406", f"the limit of part '{part}' is {count!r}, not a whole number >= 0.")
    if not 0 <= request.split_seed < 2**32:
        raise CortexError("D406", f"split_seed is {request.split_seed}; it must be in [0, 2**32).")
    if not 0.0 <= request.valid_fraction < 1.0:
        raise CortexError("D406", f"valid_fraction is {request.valid_fraction}; it must be in [0, 1).")
    if request.valid_fraction > 0 and request.split not in ("stratified", "contiguous"):
        raise CortexError("D406", f"valid_fraction is {request.valid_fraction}, but '{request.name}' comes "
                                  "with its own parts.", "Leave it at 0.")


def _normalisation(normalise: tuple[float, float]) -> tuple[float, float]:
    """(mean, deviation) as floats; D406 unless finite, the deviation positive."""
    try:
        mean, deviation = map(float, normalise)
    except (TypeError, ValueError, OverflowError):
        raise CortexError("D406", f"normalise is {normalise!r}, not two numbers (mean, deviation).",
                          "For example (0.1307, 0.3081) for MNIST.") from None
    if not math.isfinite(mean) or not math.isfinite(deviation) or deviation <= 0:
        raise CortexError("D406", f"normalise is (mean {mean}, deviation {deviation}); both must be finite and the "
                                  "deviation positive.", "For example (0.1307, 0.3081) for MNIST.")
    return mean, deviation


def _split(request: Request, x: np.ndarray, y: np.ndarray) -> dict[str, Arrays]:
    """Cut one table (N, n_in), (N,) into its parts as the request says; an empty one stays empty. D405."""
    if len(x) == 0:
        return {"train": (x, y)}
    train, test = _cut(request, x, y, 0.2)
    if request.valid_fraction == 0:
        return {"train": train, "test": test}
    train, valid = _cut(request, *train, request.valid_fraction)
    return {"train": train, "valid": valid, "test": test}


def _cut(request: Request, x: np.ndarray, y: np.ndarray, share: float) -> tuple[Arrays, Arrays]:
    """Two parts, the second with about ``share`` of the samples: seeded and stratified, or the last. D405."""
    if request.split == "contiguous":
        border = len(x) - int(len(x) * share)
        return (x[:border], y[:border]), (x[border:], y[border:])
    try:
        chosen = _stratified(y, share, np.random.RandomState(request.split_seed))
    except ValueError as error:
        raise CortexError("D405", f"data set '{request.name}': {len(x)} samples cannot be split with "
                                  f"balanced classes ({error}).",
                          "Give more samples per class or choose the split 'contiguous'.") from error
    return (x[chosen[0]], y[chosen[0]]), (x[chosen[1]], y[chosen[1]])


def _stratified(y: np.ndarray, share: float, generator: np.random.RandomState) -> tuple[np.ndarray, np.ndarray]:
    """Indices of two parts, each with the classes in the proportions of `y`; the same that scikit-learn's
    `train_test_split` draws. ValueError where a class or a part is too small."""
    _, numbered, counts = np.unique(y, return_inverse=True, return_counts=True)
    second = math.ceil(share * len(y))
    if counts.min() < 2 or min(second, len(y) - second) < len(counts):
        raise ValueError(f"{len(counts)} classes, the smallest of {counts.min()}, for {second} of {len(y)} samples")
    firsts = _shares(counts, len(y) - second, generator)
    seconds = _shares(counts - firsts, second, generator)
    members = np.split(np.argsort(numbered, kind="stable"), np.cumsum(counts)[:-1])
    drawn = [generator.permutation(own) for own in members]
    parts = ([own[:a] for own, a in zip(drawn, firsts, strict=True)],
             [own[a:a + b] for own, a, b in zip(drawn, firsts, seconds, strict=True)])
    first, last = (generator.permutation(np.concatenate(part)) for part in parts)
    return first, last


def _shares(counts: np.ndarray, total: int, generator: np.random.RandomState) -> np.ndarray:
    """How many of each class are among `total`: shares rounded down, and the largest remainders get the rest, drawn
    where they are equal."""
    exact = counts / counts.sum() * total
    found = np.floor(exact)
    rest = exact - found
    for value in np.unique(rest)[::-1]:
        missing = total - int(found.sum())
        if missing > 0:
            (equal,) = np.where(rest == value)
            found[generator.choice(equal, size=min(len(equal), missing), replace=False)] += 1
    return found.astype(int)


def _split_words(request: Request) -> str:
    """How the parts were made, for the provenance sentence."""
    if request.split == "contiguous":
        return "contiguous split, the last fifth is for testing"
    return f"stratified split with seed {request.split_seed}, one fifth is for testing"


def _load_digits(request: Request) -> Dataset:
    """The 1797 8x8 digits, pixels/16; the writers of the contiguous last fifth are new ones.

    `digits.npz` is the test part of "Optical Recognition of Handwritten Digits" (E. Alpaydin, C. Kaynak 1998, UCI
    Machine Learning Repository, doi 10.24432/C50P49, CC BY 4.0).
    """
    held = np.load(Path(__file__).with_name("digits.npz"))
    source = f"UCI's handwritten digits (1797 images, 8x8), pixels/16; {_split_words(request)}"
    parts = _split(request, held["x"].astype(float), held["y"].astype(np.int64))
    return assemble(request, source, parts, 10, 16)


YIN_YANG: dict[str, dict[str, tuple[int, int]]] = {
    "published": {"train": (5000, 42), "valid": (1000, 41), "test": (1000, 40)},
    "pal": {"train": (6000, 9876543), "valid": (900, 9876544), "test": (900, 9876545)},
}
"""(samples, seed) of each part; samples are totals over the classes, which are drawn at random."""


def yin_yang_class(x: float, y: float) -> int | None:
    """Class of a point of the unit square: 0 yin, 1 yang, 2 dot; None outside the circle of radius 0.5."""
    if np.sqrt((x - 0.5) ** 2 + (y - 0.5) ** 2) > 0.5:
        return None
    left = np.sqrt((x - 0.25) ** 2 + (y - 0.5) ** 2)
    right = np.sqrt((x - 0.75) ** 2 + (y - 0.5) ** 2)
    if left < 0.1 or right < 0.1:
        return 2
    return int(left <= 0.25 or (y > 0.5 and right > 0.25))


def yin_yang_samples(size: int, seed: int) -> Arrays:
    """Inputs (size, 4), each x, y, 1-x, 1-y, and classes (size,), bit-equal to the published generator's.

    Per sample a class is drawn, then points until one falls into it (Kriener, Goeltz, Petrovici 2022, doi
    10.1145/3517343.3517380).
    """
    generator = np.random.RandomState(seed)
    samples, labels = np.zeros((size, 4)), np.zeros(size, np.int64)
    for k in range(size):
        labels[k] = generator.randint(3)
        x, y = generator.rand(2)
        while yin_yang_class(x, y) != labels[k]:
            x, y = generator.rand(2)
        samples[k] = x, y, 1 - x, 1 - y
    return samples, labels


def _load_yin_yang(request: Request) -> Dataset:
    """Yin-Yang with the sizes and seeds of the split."""
    plan = YIN_YANG[request.split]
    drawn = ", ".join(f"{part} {size} (seed {seed})" for part, (size, seed) in plan.items())
    parts = {part: yin_yang_samples(size, seed) for part, (size, seed) in plan.items()}
    return assemble(request, f"Yin-Yang (Kriener et al. 2022), generated: {drawn}", parts, 3)


def _load_user_archive(request: Request) -> Dataset:
    """A user's ``.npz``: x (N, n_in) and y (N,) of train and test, optionally valid. D403, D405."""
    file = _existing(Path(request.name), request.data_dir)
    arrays = read_archive(file)
    names = [part for part in PARTS if part != "valid" or "valid_x" in arrays or "valid_y" in arrays]
    missing = [f"{part}_{letter}" for part in names for letter in "xy" if f"{part}_{letter}" not in arrays]
    if missing:
        raise CortexError("D403", f"{file}: missing {', '.join(missing)}; found {sorted(arrays)}.",
                          "Save it with numpy.savez(file, train_x=, train_y=, test_x=, test_y=).")
    words = _archive_words(file, {part: arrays[f"{part}_y"] for part in names})
    if words:
        arrays |= {f"{part}_y": np.searchsorted(words, arrays[f"{part}_y"].astype(str)) for part in names}
    parts = {part: _labelled(file, part, arrays[f"{part}_x"], arrays[f"{part}_y"]) for part in names}
    widths = {part: x.shape[1] for part, (x, _) in parts.items()}
    if len(set(widths.values())) > 1:
        raise CortexError("D403", f"{file}: the parts have different numbers of inputs: {widths}.")
    return assemble(request, f"user file {file}", parts, max(_classes(y) for _, y in parts.values()), words=words)


def _load_user_table(request: Request) -> Dataset:
    """A user's ``.csv``: every column but the last is an input, the last is the label, a whole number or a word; words
    are numbered in sorted order. D403, D405, D408."""
    file = _existing(Path(request.name), request.data_dir)
    rows, words = _numbered(file, _table_rows(file))
    table = _table(file, rows)
    if table.shape[1] < 2:
        raise CortexError("D408", f"{file}: only one column; at least one input and the label are needed.")
    x, y = table[:, :-1], _labels(file, "the last column", table[:, -1])
    source = f"user file {file}; {_split_words(request)}"
    return assemble(request, source, _split(request, x, y), _classes(y), words=words)


def _numbered(file: Path, rows: list[str]) -> tuple[list[str], tuple[str, ...]]:
    """Rows with numbers for labels that are words, and the words. D405 where only some are words."""
    inputs = [row.rpartition(",")[0] for row in rows[1:]]
    labels = [row.rpartition(",")[2].strip() for row in rows[1:]]
    if all(map(_is_number, labels)):
        return rows, ()
    strange = next((label for label in labels if not label or _is_number(label)), None)
    if strange is not None:
        raise CortexError("D405", f"{file}: some labels in the last column are words, but one is '{strange}'.",
                          "Label all samples with words, or all with 0, 1, 2, ...")
    words = sorted(set(labels))
    numbered = [f"{row},{words.index(label)}" for row, label in zip(inputs, labels, strict=True)]
    return [rows[0], *numbered], tuple(words)


def _archive_words(file: Path, labels: Mapping[str, np.ndarray]) -> tuple[str, ...]:
    """The labels of an archive in sorted order, if they are words. D405 where only some parts have words."""
    are_words = {part: values.dtype.kind in "US" for part, values in labels.items() if values.size}
    if not any(are_words.values()):
        return ()
    if not all(are_words.values()):
        with_words = ", ".join(part for part, are in are_words.items() if are)
        raise CortexError("D405", f"{file}: the labels of {with_words} are words, those of the other parts numbers.",
                          "Label all samples with words, or all with 0, 1, 2, ...")
    return tuple(sorted({str(word) for values in labels.values() for word in values.ravel().astype(str)}))


def _labelled(file: Path, part: str, x: np.ndarray, y: np.ndarray) -> Arrays:
    """The checked (x, y) of one part of an archive; D403 or D405."""
    labels = _labels(file, f"'{part}_y'", y)
    if x.ndim != 2:
        raise CortexError("D403", f"{file}: '{part}_x' has shape {x.shape}, expected (N, n_in).")
    if len(x) != len(y):
        raise CortexError("D403", f"{file}: '{part}_x' has {len(x)} samples, '{part}_y' {len(y)} labels.")
    return _matrix(file, f"{part}_x", x), labels


def _labels(file: Path, where: str, values: np.ndarray) -> np.ndarray:
    """int64 (N,); D403 for the wrong shape or type, D405 unless whole numbers in [0, LARGEST_LABEL]."""
    if values.ndim != 1 or values.dtype.kind not in "biuf":
        raise CortexError("D403", f"{file}: {where} is {values.dtype} {values.shape}, not integers (N,).")
    good = (values >= 0) & (values <= LARGEST_LABEL) & (values == np.floor(values))
    if not good.all():
        row = int(np.argmin(good))
        raise CortexError("D405", f"{file}: label {values[row]} of sample {row} in {where} is not a whole "
                                  f"number from 0 to {LARGEST_LABEL}.", "Number the classes 0, 1, 2, ...")
    return values.astype(np.int64)


def _classes(labels: np.ndarray) -> int:
    """Largest label + 1; 0 without any sample."""
    return int(labels.max()) + 1 if len(labels) else 0


def _matrix(file: Path, key: str, values: np.ndarray) -> np.ndarray:
    """float64 (N, n), C-contiguous, finite; (N,) becomes (N, 1). D403 otherwise."""
    if values.dtype.kind not in "biuf" or values.ndim not in (1, 2) or 0 in values.shape[1:]:
        raise CortexError("D403", f"{file}: '{key}' is {values.dtype} {values.shape}, not numbers (N, n).")
    matrix = np.ascontiguousarray(values[:, None] if values.ndim == 1 else values, np.float64)
    if not np.isfinite(matrix).all():
        row, column = np.argwhere(~np.isfinite(matrix))[0]
        raise CortexError("D403", f"{file}: '{key}' has {matrix[row, column]} in row {row}, column {column}.",
                          "Only finite numbers can be presented.")
    return matrix


def _existing(path: Path, data_dir: Path | None) -> Path:
    """The user's file, as given or inside ``data_dir``; D402 if it is not there, D408 for another kind."""
    if path.suffix.lower() not in (".npz", ".csv"):
        raise CortexError("D408", f"{path}: files of kind '{path.suffix}' are not read.",
                          "Save the data as .npz (numpy.savez) or .csv.")
    place = path if data_dir is None else data_dir / path
    if not place.exists():
        raise CortexError("D402", f"file not found: {place}.", "Check the path or --data-dir.")
    return place


def _table_rows(file: Path) -> list[str]:
    """A header, "" where the file has none, and the rows of a comma-separated table; a first line without any number is
    a header. Fields may be in quotation marks. D408 for a file that is empty or no text, and for commas and line ends
    between these marks."""
    try:
        lines = [line for line in file.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    except (OSError, ValueError, MemoryError) as error:
        raise _no_table(file, error) from error
    if not lines:
        raise _no_table(file, ValueError("the file is empty"))
    if any('"' in line for line in lines):
        try:
            rows = list(csv.reader(lines, strict=True))
        except csv.Error as error:
            raise _no_table(file, error) from error
        if any("," in field for row in rows for field in row):
            raise _no_table(file, ValueError("a field in quotation marks has a comma"))
        lines = [",".join(row) for row in rows]
    return ["", *lines] if any(map(_is_number, lines[0].split(","))) else lines


def _table(file: Path, rows: list[str]) -> np.ndarray:
    """float64 (N, columns). D408 if it is ragged or not numeric; D403 for infinities and NaN."""
    try:
        table = np.loadtxt(rows[1:], delimiter=",", ndmin=2) if rows[1:] else np.zeros((0, rows[0].count(",") + 1))
    except (ValueError, MemoryError) as error:
        raise _no_table(file, error) from error
    return _matrix(file, "table", table)


def _no_table(file: Path, error: Exception) -> CortexError:
    return CortexError("D408", f"{file}: not a table of comma-separated numbers ({brief(error)}).",
                       "Every row needs the same number of columns.")


def _is_number(text: str) -> bool:
    """Whether ``float`` reads the text."""
    with suppress(ValueError):
        float(text)
        return True
    return False


ENTRIES: dict[str, Entry] = {
    "digits": Entry(("stratified", "contiguous"), _load_digits, False),
    "yin_yang": Entry(("published", "pal"), _load_yin_yang, False), **image_sets.ENTRIES}
"""The sets that :func:`load_dataset` knows."""
