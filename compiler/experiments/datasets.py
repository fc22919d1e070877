"""Benchmark data sets and the user's own arrays.

Every loader returns a :class:`Dataset`; whatever is wrong with a file or a request is a ``CortexError``:
D401 unknown data set; D402 file not found (the hint says how to get it); D403 an archive that cannot be read
or whose arrays are not the expected ones; D404 an empty part where samples are needed; D405 a user's table or
labels that cannot be used; D406 an option that does not fit the data set.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from compiler.ir.errors import CortexError, unknown

Arrays = tuple[np.ndarray, np.ndarray]
PARTS = ("train", "valid", "test")
LARGEST_LABEL = 65_535


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

    def sha256(self) -> str:
        """Hex digest over part, shape and little-endian bytes of all six arrays."""
        digest = hashlib.sha256()
        for part in PARTS:
            for letter, array in zip("xy", self.part(part), strict=True):
                digest.update(f"{part}_{letter} {array.shape}".encode())
                digest.update(array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes())
        return digest.hexdigest()


@dataclass(frozen=True)
class Request:
    """The options of one call of :func:`load_dataset`, as the loaders see them."""

    name: str
    split: str
    split_seed: int
    data_dir: Path | None
    limits: Mapping[str, int]
    valid_fraction: float


@dataclass(frozen=True)
class Entry:
    """A data set that can be loaded; its first split is the default."""

    description: str
    splits: tuple[str, ...]
    load: Callable[[Request], Dataset]


def available_datasets() -> dict[str, str]:
    """Names that :func:`load_dataset` knows, with a line about each."""
    return {name: entry.description for name, entry in ENTRIES.items()}


def load_dataset(name: str, *, split: str | None = None, split_seed: int = 0,
                 data_dir: str | os.PathLike[str] | None = None, limits: Mapping[str, int] | None = None,
                 valid_fraction: float = 0.0) -> Dataset:
    """A named data set, or the user's own ``.npz`` or ``.csv`` file. Raises D401 to D406.

    ``split``: None for the set's default; for digits and tables ``stratified`` (seeded by ``split_seed``, one
    fifth is for testing) or ``contiguous`` (the last fifth is); for Yin-Yang ``published`` or ``pal``.
    ``data_dir``: a folder with the files. ``limits``: at most so many first samples of each named part.
    ``valid_fraction``: share of the training part that becomes the validation part, for digits and tables.
    A user's ``.npz`` has ``train_x``, ``train_y``, ``test_x``, ``test_y`` and perhaps ``valid_x``,
    ``valid_y``; the last column of a ``.csv`` is the integer label.
    """
    entry = _entry(name)
    split = entry.splits[0] if split is None else split
    if split not in entry.splits:
        raise unknown("D406", f"split of data set '{name}'", split, entry.splits)
    folder = None if data_dir is None else Path(data_dir)
    request = Request(name, split, split_seed, folder, dict(limits or {}), valid_fraction)
    _check_options(request)
    return entry.load(request)


def load_arrays(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """Unlabelled streams: each array float64 (T, n), one row a step or a presentation; (T,) becomes (T, 1).

    A ``.npz`` gives its arrays under their own keys, a ``.csv`` one array called ``input``. Empty streams
    (T = 0) are allowed. Raises D402, D403 or D405.
    """
    file = _existing(Path(path), None)
    if file.suffix.lower() == ".csv":
        return {"input": _read_table(file)}
    arrays = _read_archive(file)
    if not arrays:
        raise CortexError("D403", f"{file}: the archive holds no arrays.")
    return {key: _matrix(file, key, value) for key, value in arrays.items()}


def _entry(name: str) -> Entry:
    """The entry of a known name, or the one of a user's file by its suffix; D401."""
    if name in ENTRIES:
        return ENTRIES[name]
    if Path(name).suffix.lower() == ".csv":
        return Entry("", ("stratified", "contiguous"), _load_user_table)
    if Path(name).suffix or os.sep in name:
        return Entry("", ("own",), _load_user_archive)
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


def _assemble(request: Request, source: str, parts: Mapping[str, Arrays], classes: int,
              scale: float = 1.0) -> Dataset:
    """Apply limits, types and the factor on the inputs to ``parts``; missing parts are empty.

    Limits come before the conversion to float64, so that a few images of a large set need little memory.
    """
    n_in, arrays = parts["train"][0].shape[1], {}
    for part in PARTS:
        x, y = parts.get(part, (np.zeros((0, n_in)), np.zeros(0, np.int64)))
        end = request.limits.get(part, len(x))
        arrays[f"{part}_x"] = np.ascontiguousarray(x[:end], np.float64) * scale
        arrays[f"{part}_y"] = np.array(y[:end], np.int64)
    return Dataset(request.name, source, **arrays, classes=classes)


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
    from sklearn.model_selection import train_test_split

    try:
        cut = train_test_split(x, y, test_size=share, stratify=y, random_state=request.split_seed)
    except ValueError as error:
        raise CortexError("D405", f"data set '{request.name}': {len(x)} samples cannot be split with "
                                  f"balanced classes ({_brief(error)}).",
                          "Give more samples per class or choose the split 'contiguous'.") from error
    return (cut[0], cut[2]), (cut[1], cut[3])


def _split_words(request: Request) -> str:
    """How the parts were made, for the provenance sentence."""
    if request.split == "contiguous":
        return "contiguous split, the last fifth is for testing"
    return f"stratified split with seed {request.split_seed}, one fifth is for testing"


def _load_digits(request: Request) -> Dataset:
    """The 1797 bundled 8x8 digits, pixels/16; the writers of the contiguous last fifth are new ones."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    source = f"scikit-learn's bundled digits (1797 images, 8x8), pixels/16; {_split_words(request)}"
    return _assemble(request, source, _split(request, bunch.data, bunch.target), 10, 1 / 16)


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
    return _assemble(request, f"Yin-Yang (Kriener et al. 2022), generated: {drawn}", parts, 3)


MNIST_COUNTS = (5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949)
MNIST_SHAPES = {"x_train": (60_000, 28, 28), "y_train": (60_000,), "x_test": (10_000, 28, 28),
                "y_test": (10_000,)}
MNIST_HINT = ("Put mnist.npz (x_train, y_train, x_test, y_test as uint8) into a folder and name that with "
              "--data-dir or CORTEXC_DATA, or let scikit-learn download it once (fetch_openml 'mnist_784').")


def _load_mnist(request: Request) -> Dataset:
    """Pixels/256; the first 50 000 training images train, the last 10 000 validate (as for PAL)."""
    file = _find_file("mnist.npz", request.data_dir)
    arrays, origin = (_read_archive(file), str(file)) if file else (_fetch_mnist(), "OpenML's mnist_784")
    _check_mnist(arrays, origin)
    images, labels = arrays["x_train"].reshape(60000, 784), arrays["y_train"]
    parts = {"train": (images[:50000], labels[:50000]), "valid": (images[50000:], labels[50000:]),
             "test": (arrays["x_test"].reshape(10000, 784), arrays["y_test"])}
    source = f"MNIST from {origin}, pixels/256; training images 0 to 49999 train, 50000 to 59999 validate"
    return _assemble(request, source, parts, 10, 1 / 256)


def _find_file(name: str, data_dir: Path | None) -> Path | None:
    """The first ``name`` in ``data_dir``, ``$CORTEXC_DATA`` and ``../shared/data`` beside the checkout."""
    beside = Path(__file__).resolve().parents[3] / "shared" / "data"
    files = [Path(folder) / name for folder in (data_dir, os.environ.get("CORTEXC_DATA"), beside) if folder]
    return next((file for file in files if file.exists()), None)


def _fetch_mnist() -> dict[str, np.ndarray]:
    """MNIST by scikit-learn's download, which it caches; D402 if that fails."""
    from sklearn.datasets import fetch_openml

    try:
        x, y = fetch_openml("mnist_784", version=1, return_X_y=True, as_frame=False, parser="liac-arff",
                            n_retries=1)
        x, y = np.asarray(x).astype(np.uint8).reshape(-1, 28, 28), np.asarray(y).astype(np.uint8)
    except Exception as error:  # the network, the site or the cache: whatever it is, the data are not there
        raise CortexError("D402", f"data set 'mnist' was not found, its download failed ({_brief(error)}).",
                          MNIST_HINT) from error
    return {"x_train": x[:60000], "y_train": y[:60000], "x_test": x[60000:], "y_test": y[60000:]}


def _check_mnist(arrays: Mapping[str, np.ndarray], origin: str) -> None:
    """D403 unless keys, shapes, types and the counts of the training labels are MNIST's."""
    for key, shape in MNIST_SHAPES.items():
        if key not in arrays:
            raise CortexError("D403", f"{origin}: missing '{key}'; found {sorted(arrays)}.", MNIST_HINT)
        found = arrays[key]
        if found.shape != shape or found.dtype != np.uint8:
            raise CortexError("D403", f"{origin}: '{key}' is {found.dtype} {found.shape}, expected uint8 "
                                      f"{shape}.", MNIST_HINT)
    if tuple(np.bincount(arrays["y_train"])) != MNIST_COUNTS or arrays["y_test"].max() > 9:
        raise CortexError("D403", f"{origin}: the labels are not MNIST's.", MNIST_HINT)


def _load_user_archive(request: Request) -> Dataset:
    """A user's ``.npz``: x (N, n_in) and y (N,) of train and test, optionally valid. D403, D405."""
    file = _existing(Path(request.name), request.data_dir)
    arrays = _read_archive(file)
    names = [part for part in PARTS if part != "valid" or "valid_x" in arrays or "valid_y" in arrays]
    missing = [f"{part}_{letter}" for part in names for letter in "xy" if f"{part}_{letter}" not in arrays]
    if missing:
        raise CortexError("D403", f"{file}: missing {', '.join(missing)}; found {sorted(arrays)}.",
                          "Save it with numpy.savez(file, train_x=, train_y=, test_x=, test_y=).")
    parts = {part: _labelled(file, part, arrays[f"{part}_x"], arrays[f"{part}_y"]) for part in names}
    widths = {part: x.shape[1] for part, (x, _) in parts.items()}
    if len(set(widths.values())) > 1:
        raise CortexError("D403", f"{file}: the parts have different numbers of inputs: {widths}.")
    return _assemble(request, f"user file {file}", parts, max(_classes(y) for _, y in parts.values()))


def _load_user_table(request: Request) -> Dataset:
    """A user's ``.csv``: every column but the last is an input, the last is the integer label. D403, D405."""
    file = _existing(Path(request.name), request.data_dir)
    table = _read_table(file)
    if table.shape[1] < 2:
        raise CortexError("D405", f"{file}: only one column; at least one input and the label are needed.")
    x, y = table[:, :-1], _labels(file, "the last column", table[:, -1])
    source = f"user file {file}; {_split_words(request)}"
    return _assemble(request, source, _split(request, x, y), _classes(y))


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
    """The user's file, as given or inside ``data_dir``; D402 if it is not there, D405 for another kind."""
    if path.suffix.lower() not in (".npz", ".csv"):
        raise CortexError("D405", f"{path}: files of kind '{path.suffix}' are not read.",
                          "Save the data as .npz (numpy.savez) or .csv.")
    places = [path] if data_dir is None else [path, data_dir / path]
    for place in places:
        if place.exists():
            return place
    tried = " or ".join(map(str, places))
    raise CortexError("D402", f"file not found: {tried}.", "Check the path or --data-dir.")


def _read_archive(file: Path) -> dict[str, np.ndarray]:
    """All arrays of an ``.npz``, without unpickling; D403 if any cannot be read."""
    try:
        with np.load(file, allow_pickle=False) as archive:
            arrays = {key: archive[key] for key in archive.files}
        strangers = [key for key, value in arrays.items() if not isinstance(value, np.ndarray)]
        if strangers:
            raise ValueError(f"not arrays: {', '.join(strangers)}")
        return arrays
    except Exception as error:  # zip, zlib, header or memory: whatever it is, the file is no good
        raise CortexError("D403", f"{file}: not a readable .npz archive ({_brief(error)}).",
                          "It may be truncated; make or download it again.") from error


def _read_table(file: Path) -> np.ndarray:
    """A comma-separated table as float64 (N, columns); a first line without any number names the columns.

    D405 if it is ragged, not numeric or has not even a header; D403 for infinities and NaN.
    """
    try:
        lines = [line for line in file.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
        if not lines:
            raise ValueError("the file is empty")
        rows = lines if any(map(_is_number, lines[0].split(","))) else lines[1:]
        table = np.loadtxt(rows, delimiter=",", ndmin=2) if rows else np.zeros((0, lines[0].count(",") + 1))
    except (OSError, ValueError, MemoryError) as error:
        raise CortexError("D405", f"{file}: not a table of comma-separated numbers ({_brief(error)}).",
                          "Every row needs the same number of columns.") from error
    return _matrix(file, "table", table)


def _is_number(text: str) -> bool:
    """Whether ``float`` reads the text."""
    try:
        float(text)
    except ValueError:
        return False
    return True


def _brief(error: BaseException) -> str:
    """The first line of an error, or its type if it says nothing."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


ENTRIES: dict[str, Entry] = {
    "digits": Entry("scikit-learn's 8x8 digits: 1797 images, 64 inputs, 10 classes",
                    ("stratified", "contiguous"), _load_digits),
    "yin_yang": Entry("Yin-Yang points, generated: 4 inputs, 3 classes", ("published", "pal"),
                      _load_yin_yang),
    "mnist": Entry("MNIST: 70 000 images, 784 inputs, 10 classes; needs a file or a download", ("published",),
                   _load_mnist),
}
