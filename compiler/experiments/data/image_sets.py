"""Image sets: MNIST, Fashion-MNIST and CIFAR-10, from files, a Debian package or scikit-learn's download.

Files are looked for in ``data_dir`` or ``$CORTEXC_DATA`` alone if one is named, or else in ``../shared/data`` beside
the checkout, in the package, and by download. Contents are
checked against what is known of the originals: MD5 of the uncompressed files, or shapes, labels and mean grey
levels. D402 files not found and no download; D403 files that cannot be read or are something else; D407 without
Pillow; D411 without scikit-learn.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from cortexc.compiler.experiments.data.loading import (
    Dataset,
    Entry,
    Request,
    assemble,
    named_folder,
    no_scikit_learn,
    read_archive,
)
from cortexc.compiler.experiments.files import brief
from cortexc.compiler.ir.errors import CortexError

Found = tuple[dict[str, np.ndarray], str]
"""Arrays, and where they are from."""
TESTS = 10_000
"""Test images of each set."""


@dataclass(frozen=True)
class ImageSet:
    """What is known of a set with ten classes."""

    title: str
    openml: str
    """Its name for ``fetch_openml``."""
    shape: tuple[int, ...]
    """Of one image, channels first."""
    train_counts: tuple[int, ...]
    """Training images of each class."""
    test_counts: tuple[int, ...]
    first_labels: tuple[int, ...]
    """Of the training images."""
    means: tuple[float, ...]
    """Mean grey level, 0 to 255, of the training images, for each channel."""
    splits: Mapping[str, tuple[int, int]]
    """Training images that train (the rest of them validate), and the divisor of the pixels."""
    hint: str
    """How to get it."""

    @property
    def trains(self) -> int:
        return sum(self.train_counts)


NPZ_KEYS = "x_train, y_train, x_test, y_test as uint8"
FOLDER = "into a folder and name that with --data-dir or CORTEXC_DATA"

MNIST = ImageSet(
    "MNIST", "mnist_784", (28, 28), (5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949),
    (980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009), (5, 0, 4, 1, 9, 2, 1, 3, 1, 4), (33.318,),
    {"published": (50_000, 256), "full": (60_000, 255)},
    f"Put mnist.npz ({NPZ_KEYS}) {FOLDER}, or let scikit-learn download it once (fetch_openml 'mnist_784').")

FASHION = ImageSet(
    "Fashion-MNIST", "Fashion-MNIST", (28, 28), (6000,) * 10, (1000,) * 10, (9, 0, 0, 3, 0, 2, 7, 2, 5, 5), (72.940,),
    {"full": (60_000, 255), "holdout": (50_000, 255)},
    "Install Debian's package dataset-fashion-mnist, or put the four files train-images-idx3-ubyte, "
    "train-labels-idx1-ubyte, t10k-images-idx3-ubyte and t10k-labels-idx1-ubyte (.gz or not, perhaps in a subfolder "
    f"'fashion-mnist') or fashion_mnist.npz ({NPZ_KEYS}) {FOLDER}, or let scikit-learn download it once "
    "(fetch_openml 'Fashion-MNIST').")

CIFAR10 = ImageSet(
    "CIFAR-10", "CIFAR_10", (3, 32, 32), (5000,) * 10, (1000,) * 10, (6, 9, 9, 4, 1, 1, 2, 7, 8, 3),
    (125.307, 122.950, 113.865), {"full": (50_000, 255)},
    f"Put cifar10_jpeg.npz (jpeg, length, label) {FOLDER}, or let scikit-learn download the lossless images once "
    "(fetch_openml 'CIFAR_10'; minutes).")

FASHION_IDX = {
    "x_train": ("train-images-idx3-ubyte", "f4a8712d7a061bf5bd6d2ca38dc4d50a"),
    "y_train": ("train-labels-idx1-ubyte", "9018921c3c673c538a1fc5bad174d6f9"),
    "x_test": ("t10k-images-idx3-ubyte", "8181f5470baa50b63fa0f6fddb340f0a"),
    "y_test": ("t10k-labels-idx1-ubyte", "15d484375f8d13e6eb1aabb0c3f46965"),
}
"""Name and MD5, uncompressed, of each file."""

MNIST_IDX_MD5 = {"6bbc9ace898e44ae57da46a324031adb", "a25bea736e30d166cdddb491f175f624",
                 "2646ac647ad5339dbf082846283269ea", "27ae3e4e09519cfbb04c329615203637"}
"""MNIST's files have the same names as Fashion-MNIST's."""

DEBIAN_FASHION = Path("/usr/share/datasets/fashion-mnist")


def _load(known: ImageSet, files: Callable[[Path | None], Found | None], request: Request) -> Dataset:
    """From files, if they are found, or from OpenML."""
    arrays, origin = files(request.data_dir) or _fetch(known, request)
    _check(known, arrays, origin)
    return _images(request, known, arrays, f"{known.title} from {origin}")


def _mnist_file(data_dir: Path | None) -> Found | None:
    file = find_file("mnist.npz", data_dir)
    return (read_archive(file), str(file)) if file else None


def _load_cifar10(request: Request) -> Dataset:
    """From the JPEG copy or OpenML; inputs are channel-major: 1024 red pixels row by row, then green, then blue."""
    file = find_file("cifar10_jpeg.npz", request.data_dir)
    if file is None:
        return _load(replace(CIFAR10, title="CIFAR-10 (lossless)"), lambda _: None, request)
    words = (f"CIFAR-10 (JPEG q75 copy) from {file}: this copy is JPEG-compressed (lossy, quality 75) and its test "
             "images are in an order of their own")
    return _images(request, CIFAR10, _jpeg_arrays(request, file), words)


ENTRIES = {"mnist": Entry(tuple(MNIST.splits), lambda request: _load(MNIST, _mnist_file, request)),
           "fashion_mnist": Entry(tuple(FASHION.splits), lambda request: _load(FASHION, _fashion_files, request)),
           "cifar10": Entry(tuple(CIFAR10.splits), _load_cifar10)}


def _images(request: Request, known: ImageSet, arrays: Mapping[str, np.ndarray], origin: str) -> Dataset:
    """Flattened images as the split says; the training images beyond its number validate."""
    border, divisor = known.splits[request.split]
    x, x_test = (arrays[key].reshape(len(arrays[key]), math.prod(known.shape)) for key in ("x_train", "x_test"))
    y = arrays["y_train"]
    words = f"all {border} training images train, none validate" if border == known.trains else \
        f"training images 0 to {border - 1} train, {border} to {known.trains - 1} validate"
    parts = {"train": (x[:border], y[:border]), "valid": (x[border:], y[border:]), "test": (x_test, arrays["y_test"])}
    return assemble(request, f"{origin}, pixels/{divisor}; {words}", parts, 10, divisor)


def data_folders(data_dir: Path | None) -> list[Path]:
    """The folder that is named; or ``../shared/data`` beside the checkout and Debian's. D409."""
    named = data_dir or os.environ.get("CORTEXC_DATA")
    if named:
        return [named_folder(named)]
    return [Path(__file__).resolve().parents[4] / "shared" / "data", DEBIAN_FASHION]


def find_file(name: str, data_dir: Path | None) -> Path | None:
    """The first ``name`` in the data folders."""
    return next((folder / name for folder in data_folders(data_dir) if os.path.exists(folder / name)), None)


def _fetch(known: ImageSet, request: Request) -> Found:
    """A set by scikit-learn's download, which it caches, and where it is from; D402 if that fails, or if a folder is
    named: what is not there is not taken from elsewhere."""
    if request.data_dir or os.environ.get("CORTEXC_DATA"):
        raise CortexError("D402", f"data set '{request.name}' is not in '{data_folders(request.data_dir)[0]}'.",
                          known.hint)
    try:
        from sklearn.datasets import fetch_openml
    except ImportError as error:
        raise no_scikit_learn(f"the download of data set '{request.name}'", known.hint) from error
    try:
        x, y = fetch_openml(known.openml, version=1, return_X_y=True, as_frame=False, parser="liac-arff",
                            n_retries=1)
        x, y = np.asarray(x).astype(np.uint8).reshape(-1, *known.shape), np.asarray(y).astype(np.uint8)
    except Exception as error:  # the network, the site or the cache: whatever it is, the data are not there
        raise CortexError("D402", f"data set '{request.name}' was not found, its download failed "
                                  f"({brief(error)}).", known.hint) from error
    border = known.trains
    arrays = {"x_train": x[:border], "y_train": y[:border], "x_test": x[border:], "y_test": y[border:]}
    return arrays, f"OpenML's {known.openml}"


def _check(known: ImageSet, arrays: Mapping[str, np.ndarray], origin: str) -> None:
    """D403 unless keys, shapes, types, labels and the mean grey level of each channel are the known ones.

    The means of a set whose channels are interleaved, or whose pixels are scaled, are others.
    """
    shapes = {"x_train": (known.trains, *known.shape), "y_train": (known.trains,),
              "x_test": (TESTS, *known.shape), "y_test": (TESTS,)}
    for key, shape in shapes.items():
        _check_array(known, arrays, origin, key, np.uint8, shape)
    _check_labels(known, arrays["y_train"], arrays["y_test"], origin)
    found = arrays["x_train"].reshape(known.trains, len(known.means), -1).mean(axis=(0, 2))
    if np.abs(found - known.means).max() > 0.5:
        raise CortexError("D403", f"{origin}: the training images are not {known.title}'s, or in another layout: mean "
                                  f"grey levels {found.round(2).tolist()}, expected {list(known.means)}.", known.hint)


def _check_array(known: ImageSet, arrays: Mapping[str, np.ndarray], origin: str, key: str, kind: type,
                 shape: tuple[int, ...]) -> None:
    """D403 unless the array is there and has the type and shape."""
    if key not in arrays:
        raise CortexError("D403", f"{origin}: missing '{key}'; found {sorted(arrays)}.", known.hint)
    found = arrays[key]
    if found.shape != shape or found.dtype != kind:
        raise CortexError("D403", f"{origin}: '{key}' is {found.dtype} {found.shape}, expected "
                                  f"{np.dtype(kind).name} {shape}.", known.hint)


def _check_labels(known: ImageSet, train: np.ndarray, test: np.ndarray, origin: str) -> None:
    """D403 unless both parts have the known number of images of each class, and the first ones their labels."""
    for part, labels, counts in (("training", train, known.train_counts), ("test", test, known.test_counts)):
        found = tuple(np.bincount(labels, minlength=len(counts)).tolist())
        if found != counts:
            raise CortexError("D403", f"{origin}: the {part} labels are not {known.title}'s: {found} of the classes, "
                                      f"expected {counts}.", known.hint)
    start = tuple(train[:len(known.first_labels)].tolist())
    if start != known.first_labels:
        raise CortexError("D403", f"{origin}: the training images are in another order than {known.title}'s: first "
                                  f"labels {start}, expected {known.first_labels}.", known.hint)


def _fashion_files(data_dir: Path | None) -> Found | None:
    """The first fashion_mnist.npz or idx files, perhaps in a subfolder; None without any."""
    for folder in data_folders(data_dir):
        archive = folder / "fashion_mnist.npz"
        if os.path.exists(archive):
            return read_archive(archive), str(archive)
        for place in (folder / "fashion-mnist", folder):
            if any(_idx_file(place, stem) for stem, _ in FASHION_IDX.values()):
                return {key: _read_idx(place, stem, md5) for key, (stem, md5) in FASHION_IDX.items()}, str(place)
    return None


def _idx_file(folder: Path, stem: str) -> Path | None:
    """The uncompressed file, or else the compressed one; None without either."""
    return next((file for file in (folder / stem, folder / f"{stem}.gz") if os.path.exists(file)), None)


def _read_idx(folder: Path, stem: str, md5: str) -> np.ndarray:
    """uint8 images (N, 28, 28) or labels (N,) of an idx file, whose header its MD5 warrants. D402, D403."""
    file = _idx_file(folder, stem)
    if file is None:
        raise CortexError("D402", f"'{folder}' has some of Fashion-MNIST's files, but neither '{stem}' nor "
                                  f"'{stem}.gz'.", FASHION.hint)
    try:
        content = file.read_bytes()
        content = gzip.decompress(content) if file.suffix == ".gz" else content
    except Exception as error:  # permission, gzip, zlib or memory: whatever it is, the file is no good
        raise CortexError("D403", f"{file}: cannot be read ({brief(error)}).", FASHION.hint) from error
    found = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if found in MNIST_IDX_MD5:
        raise CortexError("D403", f"{file}: this is MNIST's file of that name, not Fashion-MNIST's.", FASHION.hint)
    if found != md5:
        raise CortexError("D403", f"{file}: not Fashion-MNIST's file: uncompressed {len(content)} bytes with MD5 "
                                  f"{found}, expected {md5}.", FASHION.hint)
    if "images" in stem:
        return np.frombuffer(content, np.uint8, offset=16).reshape(-1, *FASHION.shape)
    return np.frombuffer(content, np.uint8, offset=8)


def _jpeg_arrays(request: Request, file: Path) -> dict[str, np.ndarray]:
    """CIFAR-10 out of its JPEG copy; of each part only as many images as the limits allow are decoded. D403.

    ``length`` (60000,) are the sizes of the files that follow each other in ``jpeg``: first the training images,
    then the test images.
    """
    archive, origin = read_archive(file), str(file)
    border, total = CIFAR10.trains, CIFAR10.trains + TESTS
    _check_array(CIFAR10, archive, origin, "length", np.uint16, (total,))
    _check_array(CIFAR10, archive, origin, "label", np.uint8, (total,))
    _check_array(CIFAR10, archive, origin, "jpeg", np.uint8, (int(archive["length"].sum(dtype=np.int64)),))
    _check_labels(CIFAR10, archive["label"][:border], archive["label"][border:], origin)
    ends, arrays = np.cumsum(archive["length"], dtype=np.int64), {}
    starts = ends - archive["length"]
    for part, first, end in (("train", 0, border), ("test", border, total)):
        rows = range(first, first + request.count(part, end - first))
        jpegs = [archive["jpeg"][starts[row]:ends[row]].tobytes() for row in rows]
        arrays[f"x_{part}"] = _decoded(jpegs, f"{file}, {part} part")
        arrays[f"y_{part}"] = archive["label"][first:end]
    return arrays


def _decoded(jpegs: Sequence[bytes], origin: str) -> np.ndarray:
    """uint8 (N, 3, 32, 32), row by row. D403, D407 without Pillow."""
    try:
        from PIL import Image
    except ImportError as error:
        raise CortexError("D407", f"{origin}: JPEG images cannot be decoded without Pillow ({brief(error)}).",
                          f"pip install pillow. {CIFAR10.hint}") from error
    images = np.empty((len(jpegs), *CIFAR10.shape), np.uint8)
    for row, jpeg in enumerate(jpegs):
        try:
            with Image.open(io.BytesIO(jpeg), formats=("JPEG",)) as image:
                if image.size != (32, 32) or image.mode != "RGB":
                    raise ValueError(f"{image.mode} {image.size}")
                image.load()
                images[row] = np.asarray(image).transpose(2, 0, 1)
        except Exception as error:  # whatever Pillow says, the image is no good
            raise CortexError("D403", f"{origin}: image {row} is not a JPEG image of 32 x 32 RGB pixels "
                                      f"({brief(error)}).", CIFAR10.hint) from error
    return images
