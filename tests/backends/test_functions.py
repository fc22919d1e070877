"""Generated kernels compute the language's functions with the interpreter's bits, as vector code and as plain Python."""

from __future__ import annotations

import ctypes
import importlib.util
import platform
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from cortexc.compiler.backends.kernels import c_library
from cortexc.compiler.backends.kernels.numba_module import HEADER, library_source
from cortexc.compiler.backends.loading import c_compiler, load_c
from cortexc.compiler.backends.lowering import c_module
from cortexc.compiler.ir.functions import VECTOR

ELEMENTARY = ("exp", "log", "tanh", "logistic", "soft_relu", "d_logistic", "d_tanh")
UNITS = {"exp": 2, "tanh": 3, "logistic": 4}
"""Errors in single precision, in units of the last place; the others are computed in double precision."""
LOOPS = "".join(f'''

@typed("void(float64[::1], float64[::1])")
def loop_{name}(x, out):
    for i in range(x.shape[0]):
        out[i] = {name}(x[i])
''' for name in ELEMENTARY)


def module(folder: Path) -> ModuleType:
    path = folder / "loops.py"
    path.write_text(HEADER + library_source(set(ELEMENTARY)) + LOOPS)
    spec = importlib.util.spec_from_file_location("loops", path)
    assert spec and spec.loader
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


def points() -> np.ndarray:
    generator = np.random.default_rng(5)
    return np.concatenate([
        generator.uniform(-760, 760, 2000), generator.normal(size=2000),
        np.ldexp(generator.uniform(-1, 1, 4000), generator.integers(-1080, 1024, 4000)),
        [0.0, -0.0, np.inf, -np.inf, np.nan, 5e-324, -5e-324, 2.0**-1022, 1.7976931348623157e308, 0.55, -0.55]])


@pytest.mark.parametrize("compiled", [True, False])
def test_kernels_have_the_bits_of_the_interpreter(compiled: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CORTEXC_JIT", "1" if compiled else "0")
    x, loops = points(), module(tmp_path)
    for name in ELEMENTARY:
        out, expected = np.empty_like(x), VECTOR[name](x)
        getattr(loops, f"loop_{name}")(x, out)
        same = (out.view(np.int64) == expected.view(np.int64)) | (np.isnan(out) & np.isnan(expected))
        assert same.all(), (name, x[~same][:5])

    if loops.JIT and platform.machine() == "x86_64":
        text = "".join(loops.loop_logistic.inspect_asm().values())
        assert "divpd" in text and "fmadd" not in text, "no vector code, or fused multiply-add"


def in_c(x: np.ndarray, single: bool) -> dict[str, np.ndarray]:
    """Values of the functions by C's vector code."""
    loops = "".join(f"void loop_{name}(const long n, const number *x, number *out) {{\n"
                    f"    for (long i = 0; i < n; i++) out[i] = {name}(x[i]);\n}}\n" for name in ELEMENTARY)
    library = load_c(c_module.head(single) + c_library.library(set(ELEMENTARY), single) + loops, c_compiler() or "")
    found = {name: np.empty_like(x) for name in ELEMENTARY}
    for name, out in found.items():
        getattr(library, f"loop_{name}")(ctypes.c_long(len(x)), *(ctypes.c_void_p(a.ctypes.data) for a in (x, out)))
    return found


@pytest.mark.skipif(c_compiler() is None, reason="no C compiler")
def test_c_has_the_bits_of_the_interpreter() -> None:
    x = points()
    for name, out in in_c(x, single=False).items():
        expected = VECTOR[name](x)
        same = (out.view(np.int64) == expected.view(np.int64)) | (np.isnan(out) & np.isnan(expected))
        assert same.all(), (name, x[~same][:5])


@pytest.mark.skipif(c_compiler() is None, reason="no C compiler")
def test_single_precision_is_as_close_as_its_digits() -> None:
    with np.errstate(all="ignore"):
        x = np.concatenate([points(), np.linspace(-110, 95, 20001)]).astype(np.float32)
        for name, out in in_c(x, single=True).items():
            exact = VECTOR[name](x.astype(np.float64))
            rounded = exact.astype(np.float32)
            finite, smallest = np.isfinite(rounded), np.finfo(np.float32).tiny
            error = np.abs(out - exact) / np.spacing(np.abs(rounded))
            error[(np.abs(exact) < smallest) & (np.abs(out) < smallest)] = 0.0  # may underflow at once
            assert (error[finite] <= UNITS.get(name, 1)).all(), (name, error[finite].max(), x[finite][error[finite].argmax()])
            np.testing.assert_array_equal(out[~finite], rounded[~finite], name)
