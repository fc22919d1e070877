"""Image sets: real files where they are, small or constant ones elsewhere, and each way of going wrong."""

from __future__ import annotations

import gzip
import hashlib
import io
import struct
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import sklearn.datasets

from cortexc.compiler.experiments.checkpoints import arrays_sha256
from cortexc.compiler.experiments.data import image_sets
from cortexc.compiler.experiments.data.datasets import PARTS, Dataset, load_dataset
from cortexc.compiler.ir.errors import CortexError

NAMES = {"mnist": "MNIST", "fashion_mnist": "FASHION"}


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("CORTEXC_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def alone(tmp_path, monkeypatch):
    """Only the folder that is named has data; there is no network; images of one channel are 2 x 2."""
    def offline(*arguments, **options):
        raise OSError("no network")

    for name in NAMES.values():
        monkeypatch.setattr(image_sets, name, replace(getattr(image_sets, name), shape=(2, 2)))
    monkeypatch.setattr(image_sets, "data_folders", lambda folder: [folder or tmp_path / "debian"])
    monkeypatch.setattr(sklearn.datasets, "fetch_openml", offline)


def digest(data: Dataset) -> str:
    return arrays_sha256({f"{part}{i}": array for part in PARTS for i, array in enumerate(data.part(part))})


def code(function, *arguments, **options) -> str:
    with pytest.raises(CortexError) as caught:
        function(*arguments, **options)
    assert caught.value.message
    assert caught.value.code not in ("D402", "D403") or caught.value.hint
    return caught.value.code


def check_types(data: Dataset) -> None:
    for part in PARTS:
        x, y = data.part(part)
        assert x.dtype == np.float64 and x.flags.c_contiguous and x.shape == (len(y), data.n_in)
        assert y.dtype == np.int64 and y.ndim == 1 and (y < data.classes).all()


def labels_of(counts, first=()) -> np.ndarray:
    """The first labels, then the others in rising order, with the counts."""
    rest = np.array(counts) - np.bincount(np.array(first, int), minlength=10)
    return np.concatenate([first, np.repeat(np.arange(10), rest)]).astype(np.uint8)


def fake(known: image_sets.ImageSet) -> dict[str, np.ndarray]:
    """Right shapes, labels and mean grey level of a set with one channel, but every pixel is the same."""
    grey = round(known.means[0])
    return {"x_train": np.full((known.trains, *known.shape), grey, np.uint8),
            "y_train": labels_of(known.train_counts, known.first_labels),
            "x_test": np.full((10_000, *known.shape), grey, np.uint8), "y_test": labels_of(known.test_counts)}


def known_as(name: str) -> image_sets.ImageSet:
    return getattr(image_sets, NAMES[name])


def save(folder: Path, name: str, **changes: np.ndarray | None) -> None:
    arrays = fake(known_as(name)) | changes
    np.savez_compressed(folder / f"{name}.npz", **{key: value for key, value in arrays.items() if value is not None})


@pytest.mark.parametrize("split, sizes, brightest", [(None, (50, 10, 10), 255 / 256), ("full", (50, 0, 10), 1.0)])
def test_mnist_when_it_is_there(split, sizes, brightest):
    if image_sets.find_file("mnist.npz", None) is None:
        pytest.skip("mnist.npz is not here")
    data = load_dataset("mnist", split=split, limits={"train": 50, "valid": 10, "test": 10})
    check_types(data)
    assert data.train_y[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    assert data.test_y.tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]
    assert (len(data.train_y), len(data.valid_y), len(data.test_y)) == sizes and data.n_in == 784
    assert data.train_x.max() == brightest and f"pixels/{256 if split is None else 255}" in data.source


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist", "cifar10"])
def test_absent_sets_say_how_to_get_them(alone, name):
    with pytest.raises(CortexError, match="D402.*no network.*CORTEXC_DATA.*fetch_openml"):
        load_dataset(name)


def test_folder_by_argument_before_environment(tmp_path, monkeypatch):
    for name in ("argument", "environment"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "mnist.npz").write_bytes(b"")
    monkeypatch.setenv("CORTEXC_DATA", str(tmp_path / "environment"))
    with pytest.raises(CortexError, match="environment"):
        load_dataset("mnist")
    with pytest.raises(CortexError, match="argument"):
        load_dataset("mnist", data_dir=tmp_path / "argument")


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist", "cifar10"])
def test_what_a_named_folder_does_not_have_is_not_taken_from_elsewhere(tmp_path, monkeypatch, name):
    def fetch(*_, **__):
        raise AssertionError("downloaded")

    monkeypatch.setattr(sklearn.datasets, "fetch_openml", fetch)
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(CortexError, match="D402.*empty"):
        load_dataset(name, data_dir=empty)
    monkeypatch.setenv("CORTEXC_DATA", str(empty))
    with pytest.raises(CortexError, match="D402.*empty"):
        load_dataset(name)
    monkeypatch.setenv("CORTEXC_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(CortexError, match="D409.*nowhere"):
        load_dataset(name)


@pytest.mark.parametrize("name, split, sizes, divisor", [
    ("mnist", "published", (50_000, 10_000, 10_000), 256), ("mnist", "full", (60_000, 0, 10_000), 255),
    ("fashion_mnist", "full", (60_000, 0, 10_000), 255),
    ("fashion_mnist", "holdout", (50_000, 10_000, 10_000), 255)])
def test_splits_of_archives(tmp_path, alone, name, split, sizes, divisor):
    save(tmp_path, name)
    data = load_dataset(name, split=split, data_dir=tmp_path)
    check_types(data)
    assert (len(data.train_y), len(data.valid_y), len(data.test_y)) == sizes
    labels = np.concatenate([data.train_y, data.valid_y])
    np.testing.assert_array_equal(labels, fake(known_as(name))["y_train"])
    assert (data.train_x == round(known_as(name).means[0]) / divisor).all()
    assert f"pixels/{divisor}" in data.source and str(tmp_path) in data.source
    assert code(load_dataset, name, split=split, data_dir=tmp_path, valid_fraction=0.1) == "D406"


@pytest.mark.parametrize("name, change", [
    ("mnist", {"x_train": None}), ("mnist", {"x_train": np.zeros((5, 2, 2), np.uint8)}),
    ("mnist", {"y_test": np.zeros(10_000)}), ("mnist", {"y_train": np.zeros(60_000, np.uint8)}),
    ("mnist", {"y_test": labels_of((1000,) * 10)}), ("mnist", {"y_train": labels_of(image_sets.MNIST.train_counts)}),
    ("mnist", {"x_train": np.zeros((60_000, 2, 2), np.uint8)}), ("mnist", {"x_train": np.full((60_000, 2, 2), 33.0)}),
    ("fashion_mnist", {"y_train": labels_of(image_sets.MNIST.train_counts, image_sets.FASHION.first_labels)}),
    ("fashion_mnist", {"x_test": np.zeros((10_000, 4), np.uint8)})])
def test_archives_with_wrong_arrays(tmp_path, alone, name, change):
    save(tmp_path, name, **change)
    assert code(load_dataset, name, data_dir=tmp_path) == "D403"


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
def test_downloads(alone, monkeypatch, name):
    known, asked = known_as(name), []

    def fetch(openml, **options):
        asked.append((openml, options["version"]))
        arrays = fake(known)
        x = np.concatenate([arrays["x_train"], arrays["x_test"]]).reshape(70_000, 4)
        return x, np.concatenate([arrays["y_train"], arrays["y_test"]]).astype(str).astype(object)

    monkeypatch.setattr(sklearn.datasets, "fetch_openml", fetch)
    data = load_dataset(name, limits={"train": 10, "test": 1})
    assert data.train_y.tolist() == list(known.first_labels) and known.openml in data.source
    assert asked == [(known.openml, 1)]


def idx(array: np.ndarray) -> bytes:
    return struct.pack(f">{1 + array.ndim}i", 2048 + array.ndim, *array.shape) + array.tobytes()


@pytest.fixture
def fashion_idx(alone, monkeypatch):
    """Contents of the four files by name, which the loader takes for the real ones."""
    table, files = {}, {}
    for key, array in fake(image_sets.FASHION).items():
        name = image_sets.FASHION_IDX[key][0]
        files[name] = idx(array)
        table[key] = name, hashlib.md5(files[name]).hexdigest()
    monkeypatch.setattr(image_sets, "FASHION_IDX", table)
    return files


def write_idx(folder: Path, files: dict[str, bytes], compressed: bool = False) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / f"{name}{'.gz' * compressed}").write_bytes(gzip.compress(content, 1) if compressed else content)
    return folder


def test_fashion_mnist_when_it_is_there():
    if image_sets._fashion_files(None) is None:
        pytest.skip("Fashion-MNIST is not here")
    data = load_dataset("fashion_mnist", limits={"train": 1000, "test": 10})
    check_types(data)
    assert data.train_y[:10].tolist() == [9, 0, 0, 3, 0, 2, 7, 2, 5, 5] and data.valid_x.shape == (0, 784)
    assert data.test_y.tolist() == [9, 2, 1, 1, 6, 1, 4, 6, 5, 7]
    assert data.train_x.max() == 1.0 and 0.27 < data.train_x.mean() < 0.3
    held = load_dataset("fashion_mnist", split="holdout", limits={"train": 1, "valid": 1, "test": 0})
    assert len(held.valid_y) == 1 and held.train_x[0].tolist() == data.train_x[0].tolist()


@pytest.mark.parametrize("place, compressed", [("given", True), ("given", False), ("given/fashion-mnist", False),
                                               ("debian", True)])
def test_fashion_mnist_from_idx_files(tmp_path, alone, fashion_idx, place, compressed):
    folder = write_idx(tmp_path / place, fashion_idx, compressed)
    named = tmp_path / "given" if place != "debian" else None
    data = load_dataset("fashion_mnist", data_dir=named, limits={"train": 20, "test": 5})
    check_types(data)
    assert data.train_y[:10].tolist() == list(image_sets.FASHION.first_labels) and str(folder) in data.source
    assert data.train_x.shape == (20, 4) and (data.train_x == 73 / 255).all()


def test_fashion_mnist_from_incomplete_or_damaged_idx_files(tmp_path, alone, fashion_idx):
    name = "t10k-labels-idx1-ubyte"
    folder = write_idx(tmp_path / "given", fashion_idx)
    file = folder / name
    file.rename(folder / "elsewhere")
    with pytest.raises(CortexError, match=f"D402.*{name}.*dataset-fashion-mnist"):
        load_dataset("fashion_mnist", data_dir=folder)
    file.write_bytes(fashion_idx[name][:-1] + b"\x08")
    with pytest.raises(CortexError, match="D403.*MD5"):
        load_dataset("fashion_mnist", data_dir=folder)
    file.unlink()
    for content in (gzip.compress(fashion_idx[name])[:-9], b"", b"plain", b"\x1f\x8b\x08"):
        (folder / f"{name}.gz").write_bytes(content)
        assert code(load_dataset, "fashion_mnist", data_dir=folder) == "D403"
    (folder / f"{name}.gz").unlink()
    file.mkdir()
    assert code(load_dataset, "fashion_mnist", data_dir=folder) == "D403"


def test_mnist_files_under_the_same_names_are_called_so(tmp_path, alone, fashion_idx, monkeypatch):
    digest = hashlib.md5(b"as if it were MNIST").hexdigest()
    monkeypatch.setattr(image_sets, "MNIST_IDX_MD5", {digest})
    folder = write_idx(tmp_path / "given", dict.fromkeys(fashion_idx, b"as if it were MNIST"))
    with pytest.raises(CortexError, match="D403.*MNIST's file of that name.*subfolder"):
        load_dataset("fashion_mnist", data_dir=folder)
    write_idx(folder / "fashion-mnist", fashion_idx)
    assert load_dataset("fashion_mnist", data_dir=folder, limits={"train": 1}).classes == 10


def jpeg(pixels: np.ndarray, kind: str = "JPEG") -> bytes:
    image = pytest.importorskip("PIL.Image")
    file = io.BytesIO()
    image.fromarray(pixels).save(file, kind)
    return file.getvalue()


@pytest.fixture
def small_cifar10(monkeypatch):
    """CIFAR-10 with 20 training and 10 test images: a gradient in each channel. The pixels (30, 32, 32, 3)."""
    first = (6, 9, 9, 4)
    known = replace(image_sets.CIFAR10, train_counts=(2,) * 10, test_counts=(1,) * 10, first_labels=first,
                    splits={"full": (20, 255)})
    monkeypatch.setattr(image_sets, "CIFAR10", known)
    monkeypatch.setattr(image_sets, "TESTS", 10)
    row, column = np.mgrid[:32, :32]
    return np.stack([np.stack([8 * row, 8 * column, 4 * row + k], axis=-1) for k in range(30)]).astype(np.uint8)


def save_cifar10(folder: Path, jpegs: list[bytes], **changes: np.ndarray | None) -> Path:
    labels = np.concatenate([labels_of((2,) * 10, (6, 9, 9, 4)), np.arange(10, dtype=np.uint8)])
    arrays = {"jpeg": np.frombuffer(b"".join(jpegs), np.uint8),
              "length": np.array([len(content) for content in jpegs], np.uint16), "label": labels} | changes
    np.savez(folder / "cifar10_jpeg.npz", **{key: value for key, value in arrays.items() if value is not None})
    return folder


def count_decoded(monkeypatch) -> list[int]:
    numbers, decode = [], image_sets._decoded
    monkeypatch.setattr(image_sets, "_decoded", lambda jpegs, *rest: numbers.append(len(jpegs)) or decode(jpegs, *rest))
    return numbers


def test_cifar10_when_it_is_there():
    pytest.importorskip("PIL")
    file = image_sets.find_file("cifar10_jpeg.npz", None)
    lossless = image_sets.find_file("cifar10_lossless4000.npz", None)
    if file is None or lossless is None:
        pytest.skip("cifar10_jpeg.npz or cifar10_lossless4000.npz is not here")
    data = load_dataset("cifar10", limits={"train": 200, "test": 20})
    check_types(data)
    assert data.n_in == 3072 and data.test_y.tolist() == list(range(10)) * 2 and data.valid_x.shape == (0, 3072)
    with np.load(lossless) as archive:
        pixels, labels = archive["x_train"][:200], archive["y_train"][:200]
    np.testing.assert_array_equal(data.train_y, labels)
    error = data.train_x.reshape(200, 3, 32, 32) * 255 - pixels.transpose(0, 3, 1, 2)
    assert np.sqrt((error**2).mean()) < 10
    assert "JPEG-compressed (lossy, quality 75)" in data.source


def test_cifar10_is_channel_major(tmp_path, alone, small_cifar10):
    image = pytest.importorskip("PIL.Image")
    jpegs = [jpeg(pixels) for pixels in small_cifar10]
    data = load_dataset("cifar10", data_dir=save_cifar10(tmp_path, jpegs))
    check_types(data)
    assert (data.train_x.shape, data.valid_x.shape, data.test_x.shape) == ((20, 3072), (0, 3072), (10, 3072))
    decoded = np.stack([np.asarray(image.open(io.BytesIO(content))) for content in jpegs]) / 255
    for x, expected in ((data.train_x, decoded[:20]), (data.test_x, decoded[20:])):
        np.testing.assert_array_equal(x, expected.transpose(0, 3, 1, 2).reshape(len(x), 3072))
    assert data.train_y[:4].tolist() == [6, 9, 9, 4] and data.test_y.tolist() == list(range(10))


def test_cifar10_decodes_only_what_is_wanted(tmp_path, alone, small_cifar10, monkeypatch):
    save_cifar10(tmp_path, [jpeg(pixels) for pixels in small_cifar10])
    numbers = count_decoded(monkeypatch)
    part = load_dataset("cifar10", data_dir=tmp_path, limits={"train": 3, "test": 0})
    assert numbers == [3, 0]
    whole = load_dataset("cifar10", data_dir=tmp_path)
    assert numbers == [3, 0, 20, 10] and part.train_x.tolist() == whole.train_x[:3].tolist()


@pytest.mark.parametrize("change", [
    {"jpeg": None}, {"length": None}, {"label": None}, {"length": np.ones(29, np.uint16)},
    {"length": np.ones(30, np.uint16)}, {"length": np.ones(30)}, {"label": np.zeros(30, np.uint8)},
    {"label": np.tile(np.arange(10, dtype=np.uint8), 3)}, {"jpeg": np.zeros((2, 2), np.uint8)}])
def test_cifar10_archives_with_wrong_arrays(tmp_path, alone, small_cifar10, change):
    save_cifar10(tmp_path, [jpeg(pixels) for pixels in small_cifar10], **change)
    assert code(load_dataset, "cifar10", data_dir=tmp_path) == "D403"


@pytest.mark.parametrize("make", [
    lambda pixels: jpeg(pixels)[:-200], lambda pixels: b"", lambda pixels: b"not an image", lambda pixels: jpeg(pixels[:1]),
    lambda pixels: jpeg(pixels[..., 0]), lambda pixels: jpeg(pixels, "PNG")])
def test_cifar10_images_that_cannot_be_used(tmp_path, alone, small_cifar10, make):
    jpegs = [jpeg(pixels) for pixels in small_cifar10]
    jpegs[7] = make(small_cifar10[7])
    save_cifar10(tmp_path, jpegs)
    load_dataset("cifar10", data_dir=tmp_path, limits={"train": 4})
    with pytest.raises(CortexError, match="D403.*train part: image 7 "):
        load_dataset("cifar10", data_dir=tmp_path)


def test_cifar10_without_pillow(tmp_path, alone, small_cifar10, monkeypatch):
    save_cifar10(tmp_path, [jpeg(pixels) for pixels in small_cifar10])
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "PIL", None)
        with pytest.raises(CortexError, match="D407.*Pillow.*pip install pillow"):
            load_dataset("cifar10", data_dir=tmp_path)


@pytest.mark.parametrize("order, expected", [((0, 3, 1, 2), ""), ((0, 1, 2, 3), "D403")])
def test_cifar10_download_is_lossless_and_channel_major(alone, small_cifar10, monkeypatch, order, expected):
    means = tuple(small_cifar10[:20].mean(axis=(0, 1, 2)))
    monkeypatch.setattr(image_sets, "CIFAR10", replace(image_sets.CIFAR10, means=means))
    x = small_cifar10.transpose(order).reshape(30, 3072)
    y = np.concatenate([labels_of((2,) * 10, (6, 9, 9, 4)), np.arange(10)])
    monkeypatch.setattr(sklearn.datasets, "fetch_openml", lambda name, **options: (x.astype(float), y.astype(str)))
    if expected:
        assert code(load_dataset, "cifar10") == expected
        return
    data = load_dataset("cifar10", limits={"test": 3})
    np.testing.assert_array_equal(data.train_x, x[:20] / 255)
    assert len(data.test_y) == 3 and "lossless" in data.source and "CIFAR_10" in data.source
