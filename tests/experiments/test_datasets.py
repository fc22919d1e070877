"""Data sets: contents by hash, splits, the user's files, and one test per error code."""

from __future__ import annotations

import hashlib
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import sklearn.datasets
import sklearn.model_selection

from cortexc.compiler.experiments.checkpoints import arrays_sha256
from cortexc.compiler.experiments.data import datasets
from cortexc.compiler.experiments.data.datasets import _stratified, load_arrays, load_dataset
from cortexc.compiler.experiments.data.loading import PARTS, Dataset
from cortexc.compiler.ir.errors import CortexError

PUBLISHED_HASHES = {
    "train": ("f5a4054d56f2a058", "7ea074c03c7531b4"),
    "valid": ("5eac358bdf212276", "6a5d1f872dddf69d"),
    "test": ("7bab3ed668ed4992", "2e48e04154ecf043"),
}
"""First 16 hex digits of sha256 of the float64 samples and uint8 labels of the published Yin-Yang set."""


def digest(array: np.ndarray, kind: str) -> str:
    return hashlib.sha256(array.astype(kind).tobytes()).hexdigest()[:16]


def parts_digest(data: Dataset) -> str:
    return arrays_sha256({f"{part}{i}": array for part in PARTS for i, array in enumerate(data.part(part))})


def code(function, *arguments, **options) -> str:
    with pytest.raises(CortexError) as caught:
        function(*arguments, **options)
    assert caught.value.message
    return caught.value.code


def save(path: Path, **changes: np.ndarray | None) -> str:
    """A small valid archive with some arrays replaced, or dropped where None."""
    arrays = {"train_x": np.arange(12.0).reshape(6, 2), "train_y": np.array([0, 1, 2, 0, 1, 2]),
              "test_x": np.ones((3, 2)), "test_y": np.array([0, 1, 2])} | changes
    np.savez(path, **{key: value for key, value in arrays.items() if value is not None})
    return str(path)


def write(path: Path, text: str) -> str:
    path.write_text(text, encoding="utf-8")
    return str(path)


def check_types(data: datasets.Dataset) -> None:
    for part in datasets.PARTS:
        x, y = data.part(part)
        assert x.dtype == np.float64 and x.flags.c_contiguous and x.shape == (len(y), data.n_in)
        assert y.dtype == np.int64 and y.ndim == 1 and (y < data.classes).all()


def test_yin_yang_equals_the_published_arrays():
    data = load_dataset("yin_yang")
    check_types(data)
    for part, (x_hash, y_hash) in PUBLISHED_HASHES.items():
        x, y = data.part(part)
        assert (digest(x, "<f8"), digest(y, "u1")) == (x_hash, y_hash)
    assert np.bincount(data.train_y).tolist() == [1681, 1702, 1617]


def test_yin_yang_of_the_pal_experiments_has_its_totals():
    data = load_dataset("yin_yang", split="pal")
    assert (len(data.train_y), len(data.valid_y), len(data.test_y), data.classes) == (6000, 900, 900, 3)
    assert "9876543" in data.source


@pytest.mark.parametrize("point, label", [
    ((0.25, 0.5), 2), ((0.75, 0.5), 2), ((0.25, 0.3), 1), ((0.5, 0.9), 1), ((0.75, 0.7), 0), ((0.5, 0.1), 0),
    ((0.01, 0.01), None)])
def test_yin_yang_geometry(point, label):
    assert datasets.yin_yang_class(*point) == label


def test_stratified_digits_are_balanced_and_seeded():
    first, again, other = (load_dataset("digits", split_seed=seed) for seed in (3, 3, 4))
    check_types(first)
    assert (len(first.train_y), len(first.valid_y), len(first.test_y)) == (1437, 0, 360)
    assert np.abs(np.bincount(first.test_y) - 36).max() <= 1
    assert first.train_x.max() == 1.0 and first.train_x.min() == 0.0
    assert parts_digest(first) == parts_digest(again) != parts_digest(other)


@pytest.mark.parametrize("sizes, share", [((7, 5, 9, 4), 0.2), ((10, 10, 10), 0.25), ((3, 40, 2, 2), 0.33), ((2, 2), 0.5)])
def test_a_stratified_split_is_the_one_of_scikit_learn(sizes, share):
    labels = np.random.default_rng(1).permutation(np.repeat(np.arange(len(sizes)), sizes))
    for seed in range(20):
        known = sklearn.model_selection.train_test_split(np.arange(len(labels)), test_size=share, stratify=labels, random_state=seed)
        for own, other in zip(_stratified(labels, share, np.random.RandomState(seed)), known, strict=True):
            np.testing.assert_array_equal(own, other)


def test_contiguous_digits_keep_the_order():
    data = load_dataset("digits", split="contiguous")
    bunch = sklearn.datasets.load_digits()
    assert len(data.test_y) == 359
    np.testing.assert_array_equal(np.vstack([data.train_x, data.test_x]) * 16, bunch.data)
    np.testing.assert_array_equal(np.concatenate([data.train_y, data.test_y]), bunch.target)


@pytest.mark.parametrize("split", ["stratified", "contiguous"])
def test_validation_part_comes_out_of_the_training_part(split):
    plain, data = (load_dataset("digits", split=split, valid_fraction=share) for share in (0.0, 0.25))
    assert len(data.train_y) + len(data.valid_y) == len(plain.train_y) and 359 <= len(data.valid_y) <= 360
    np.testing.assert_array_equal(data.test_x, plain.test_x)


def test_limits_keep_the_first_samples():
    data, whole = load_dataset("digits", limits={"train": 7, "test": 0}), load_dataset("digits")
    np.testing.assert_array_equal(data.train_x, whole.train_x[:7])
    assert data.test_x.shape == (0, 64) and data.classes == 10
    assert code(data.require, "test") == "D404"


def test_the_known_names():
    assert set(datasets.ENTRIES) == {"digits", "yin_yang", "mnist", "fashion_mnist", "cifar10"}


def test_unknown_name_lists_the_known_ones():
    with pytest.raises(CortexError, match=r"D401.*digits.*Did you mean 'digits'"):
        load_dataset("digit")


@pytest.mark.parametrize("options", [
    {"split": "random"}, {"limits": {"trian": 3}}, {"limits": {"train": -1}}, {"limits": {"train": 1.5}},
    {"valid_fraction": 1.0}, {"valid_fraction": float("nan")}, {"split_seed": -1}, {"normalise": (0.5, 0.0)},
    {"normalise": (0.5, -1.0)}, {"normalise": (0.5, np.nan)}, {"normalise": (0.5, np.inf)},
    {"normalise": (np.inf, 1.0)}, {"normalise": (np.nan, 1.0)}, {"normalise": (0.5,)}, {"normalise": 0.5},
    {"normalise": ("mean", 1.0)}, {"normalise": (10**400, 1.0)}, {"normalise": (0.5, 5e-324)}])
def test_options_that_cannot_be_followed(options):
    assert code(load_dataset, "digits", **options) == "D406"


@pytest.mark.parametrize("name", ["digits", "yin_yang"])
def test_normalised_inputs(name):
    plain, data = load_dataset(name), load_dataset(name, normalise=(0.25, 0.3))
    check_types(data)
    for part in datasets.PARTS:
        np.testing.assert_array_equal(data.part(part)[0], (plain.part(part)[0] - 0.25) / 0.3)
        np.testing.assert_array_equal(data.part(part)[1], plain.part(part)[1])
    assert data.source == plain.source + "; inputs normalised with mean 0.25 and deviation 0.3"


def test_normalised_user_files(tmp_path):
    table = write(tmp_path / "own.csv", "".join(f"{k},{k % 2}\n" for k in range(10)))
    assert load_dataset(table, split="contiguous", normalise=(1, 2)).train_x[:3, 0].tolist() == [-0.5, 0.0, 0.5]
    archive = save(tmp_path / "own.npz", train_x=np.full((6, 2), 7, np.uint8))
    assert (load_dataset(archive, normalise=(1, 2)).train_x == 3).all()


def test_validation_share_of_a_set_with_its_own_parts():
    assert code(load_dataset, "yin_yang", valid_fraction=0.1) == "D406"


def test_user_archive(tmp_path):
    path = save(tmp_path / "own.npz", valid_x=np.zeros((1, 2), np.uint8), valid_y=np.array([3.0]))
    data = load_dataset(path)
    check_types(data)
    assert data.classes == 4 and len(data.valid_y) == 1 and path in data.source
    assert parts_digest(load_dataset("own.npz", data_dir=tmp_path)) == parts_digest(data)


def test_user_archive_without_samples_is_an_empty_set(tmp_path):
    none = np.zeros((0, 2))
    data = load_dataset(save(tmp_path / "own.npz", train_x=none, train_y=none[:, 0], test_x=none,
                             test_y=none[:, 0]))
    assert (data.n_in, data.classes, len(data.train_y)) == (2, 0, 0)
    assert code(data.require, "train") == "D404"
    assert code(data.part, "training") == "D406"


@pytest.mark.parametrize("change, expected", [
    ({"test_y": None}, "D403"), ({"valid_x": np.ones((1, 2))}, "D403"), ({"train_x": np.ones(6)}, "D403"),
    ({"train_x": np.ones((5, 2))}, "D403"), ({"test_x": np.ones((3, 3))}, "D403"),
    ({"train_x": np.ones((6, 0))}, "D403"), ({"test_x": np.full((3, 2), np.nan)}, "D403"),
    ({"test_x": np.full((3, 2), np.inf)}, "D403"), ({"test_x": np.full((3, 2), "a")}, "D403"),
    ({"test_x": np.ones((3, 2), complex)}, "D403"), ({"test_x": np.array([None] * 3)}, "D403"),
    ({"test_y": np.array(["a", "b", "c"])}, "D405"), ({"test_y": np.zeros((3, 1))}, "D403"),
    ({"test_y": np.array([0, 1, -1])}, "D405"), ({"test_y": np.array([0, 1, 0.5])}, "D405"),
    ({"test_y": np.array([0, 1, np.nan])}, "D405"), ({"test_y": np.array([0, 1, 10**9])}, "D405")])
def test_user_archive_with_wrong_arrays(tmp_path, change, expected):
    assert code(load_dataset, save(tmp_path / "own.npz", **change)) == expected


@pytest.mark.parametrize("content", ["truncated", "empty", "text", "array", "pickle", "member"])
def test_unreadable_archives(tmp_path, content):
    path = tmp_path / "own.npz"
    save(path)
    whole = path.read_bytes()
    if content == "member":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("train_x.npy", b"not an array")
    else:
        path.write_bytes({"truncated": whole[:len(whole) // 2], "empty": b"", "text": b"hello",
                          "array": b"\x93NUMPY", "pickle": pickle.dumps([1])}[content])
    assert code(load_dataset, str(path)) == "D403"
    assert code(load_arrays, path) == "D403"


def test_a_damaged_member_is_found(tmp_path):
    path = tmp_path / "own.npz"
    np.savez_compressed(path, a=np.random.RandomState(0).rand(50, 4))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 255
    path.write_bytes(content)
    assert code(load_arrays, path) == "D403"


def test_user_table(tmp_path):
    rows = [f"{k},{-k / 2},{k % 3}" for k in range(30)]
    path = write(tmp_path / "own.csv", "a,b,label\n" + "\n".join(rows) + "\n\n")
    data = load_dataset(path, split="contiguous")
    check_types(data)
    assert (len(data.train_y), len(data.test_y), data.n_in, data.classes) == (24, 6, 2, 3)
    np.testing.assert_array_equal(data.train_x[3], [3, -1.5])
    assert load_dataset(path).test_y.tolist() != data.test_y.tolist()
    assert np.bincount(load_dataset(path).test_y).tolist() == [2, 2, 2]


def test_fields_in_quotation_marks_are_what_is_between_them(tmp_path):
    rows = [f'"{i}.5",{i},"{word}"' for word in ("dog", "wild cat") for i in range(10)]
    data = load_dataset(write(tmp_path / "own.csv", '"a","b","kind"\n' + "\n".join(rows)))
    assert data.words == ("dog", "wild cat") and data.n_in == 2 and set(data.train_x[:, 0] % 1) == {0.5}


def test_user_table_with_a_header_only_is_an_empty_set(tmp_path):
    data = load_dataset(write(tmp_path / "own.csv", "a,b,label\n"))
    assert (data.n_in, len(data.train_y), data.classes) == (2, 0, 0)


@pytest.mark.parametrize("text, expected", [
    ("", "D408"), ("\n\n", "D408"), ("1,2\n3\n", "D408"), ("1,2\nx,1\n", "D408"), ("1\n0\n", "D408"),
    ("1,2,0.5\n", "D405"), ("1,2,-1\n", "D405"), ("nan,2,1\n", "D403"), ("1,inf,1\n", "D403"),
    ("1,2,0\n1,2,1\n", "D405"), ("1;2;0\n", "D408"), ("a\nb\n", "D408"),
    ('1,2,"a,b"\n', "D408"), ('1,2,"a\n', "D408")])
def test_user_tables_that_cannot_be_used(tmp_path, text, expected):
    assert code(load_dataset, write(tmp_path / "own.csv", text)) == expected


def test_tables_that_are_not_text(tmp_path):
    (tmp_path / "own.csv").write_bytes(b"\xff\xfe\x00\x01")
    assert code(load_dataset, str(tmp_path / "own.csv")) == "D408"
    (tmp_path / "folder.csv").mkdir()
    assert code(load_dataset, str(tmp_path / "folder.csv")) == "D408"


@pytest.mark.parametrize("name, expected", [
    ("missing.npz", "D402"), ("missing.csv", "D402"), ("own.txt", "D408")])
def test_user_files_that_are_not_there_or_of_another_kind(tmp_path, name, expected):
    assert code(load_dataset, str(tmp_path / name)) == expected
    assert code(load_dataset, name, data_dir=tmp_path) == expected
    assert code(load_arrays, tmp_path / name) == expected


def test_streams(tmp_path):
    np.savez(tmp_path / "own.npz", input=np.arange(6, dtype=np.int16).reshape(3, 2), target=np.ones(3, "f4"))
    arrays = load_arrays(tmp_path / "own.npz")
    assert {key: (value.shape, value.dtype.name) for key, value in arrays.items()} == {
        "input": ((3, 2), "float64"), "target": ((3,), "float64")}
    table = load_arrays(write(tmp_path / "own.csv", "0.5,1\n1e-3,2\n"))
    np.testing.assert_array_equal(table["input"], [[0.5, 1], [0.001, 2]])


@pytest.mark.parametrize("value", [np.zeros((2, 2, 2)), np.array(1.0), np.array([[np.nan]]), np.array(["a"])])
def test_streams_of_other_shapes_or_types(tmp_path, value):
    np.savez(tmp_path / "own.npz", input=value)
    assert code(load_arrays, tmp_path / "own.npz") == "D403"


def test_an_archive_without_arrays(tmp_path):
    np.savez(tmp_path / "own.npz")
    assert code(load_arrays, tmp_path / "own.npz") == "D403"


def test_labels_may_be_words(tmp_path):
    rows = [f"{k},{-k / 2},{('dog', 'cat', 'a cow')[k % 3]}" for k in range(30)]
    numbers = [f"{k},{-k / 2},{(2, 1, 0)[k % 3]}" for k in range(30)]
    for header in ("", "a,b,label\n"):
        words = load_dataset(write(tmp_path / "own.csv", header + "\n".join(rows)))
        assert words.words == ("a cow", "cat", "dog") and words.classes == 3
        assert parts_digest(words) == parts_digest(load_dataset(write(tmp_path / "own.csv", header + "\n".join(numbers))))
    labels = {part: np.array([("dog", "cat")[k % 2] for k in range(4)]) for part in ("train", "test")}
    x = np.zeros((4, 2))
    np.savez(tmp_path / "own.npz", train_x=x, test_x=x, train_y=labels["train"], test_y=labels["test"])
    archive = load_dataset(str(tmp_path / "own.npz"))
    assert archive.words == ("cat", "dog") and archive.train_y.tolist() == [1, 0, 1, 0]


@pytest.mark.parametrize("text", ["1,2,cat\n1,2,3\n", "1,2,\n1,2,cat\n", "1,2,cat\n1,2,0.5\n"])
def test_labels_of_two_kinds_are_refused(tmp_path, text):
    assert code(load_dataset, write(tmp_path / "own.csv", text)) == "D405"


def test_what_is_said_of_a_data_set_has_its_limits():
    found = load_dataset("digits", limits={"train": 7})
    assert len(found.train_x) == 7 and "at most 7 of 'train'" in found.source
    assert "at most" not in load_dataset("digits").source
