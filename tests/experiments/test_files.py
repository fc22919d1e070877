"""Files of arrays: what is written is read again, and a mapping that makes its arrays is asked for them one by one."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator, Mapping

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file

from cortexc.compiler.experiments.files import write_safetensors


def test_every_kind_of_number_is_read_again(tmp_path):
    rng, path = np.random.default_rng(0), tmp_path / "a.safetensors"
    kinds = ("f8", "f4", "i8", "i4", "u8", "u1", "?")
    arrays = {f"{kind}.{rank}": rng.uniform(0, 9, (3, 2, 4)[:rank]).astype(kind) for kind in kinds for rank in range(4)}
    arrays |= {"none": np.zeros((0, 3)), "turned": rng.normal(size=(4, 3)).T}
    write_safetensors(path, arrays, {"format": "1"})
    found = load_file(path)
    assert found.keys() == arrays.keys()
    assert all(found[k].dtype == a.dtype and found[k].shape == a.shape and (found[k] == a).all() for k, a in arrays.items())
    with safe_open(path, "numpy") as file:
        assert file.metadata() == {"format": "1"}


class Made(Mapping):
    """Arrays that are made when they are asked for, of which at most one may be alive then."""

    def __init__(self, count: int):
        self.count, self.made = count, list[weakref.ref[np.ndarray]]()

    def __getitem__(self, name: str) -> np.ndarray:
        gc.collect()
        assert sum(each() is not None for each in self.made) <= 1, "three at once"
        found = np.full(1000, float(name))
        self.made.append(weakref.ref(found))
        return found

    def __iter__(self) -> Iterator[str]:
        return map(str, range(self.count))

    def __len__(self) -> int:
        return self.count


def test_arrays_are_written_one_after_the_other(tmp_path):
    write_safetensors(tmp_path / "a.safetensors", Made(4))
    assert {k: a.tolist() for k, a in load_file(tmp_path / "a.safetensors").items()} == {str(n): [n] * 1000 for n in range(4)}
    with pytest.raises(AssertionError, match="three at once"):
        list(Made(3).values())
