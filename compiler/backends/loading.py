"""Generated kernels, ready to be called: as C where there is a compiler, else through numba, else as plain Python.

Plain numpy, no import of the compiler: the Lava backend copies this file beside the code it emits. All three give the
same bits. CORTEXC_JIT=0 asks for plain Python, CORTEXC_KERNELS=numba for numba; CC names the compiler (gcc or clang).
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import hashlib
import importlib.util
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import threading
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

FLAGS = ("-O3", "-march=native", "-std=gnu11", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math",
         "-fno-builtin", "-w", "-shared", "-fPIC", "-pthread",
         *(["-mprefer-vector-width=512"] if platform.machine() in ("x86_64", "AMD64") else []))


Array = NDArray[Any]
"""Of any dtype."""
PRECISIONS = {4: np.float32, 8: np.float64}
"""Bytes of a number of memory -> its type."""


class CallTable(ctypes.Structure):
    """`Call` of the generated C."""

    _fields_ = [*((name, ctypes.c_void_p) for name in ("m", "records", "samples", "gates", "noise", "rows", "positions",
                                                       "indices", "pieces", "drawn")),
                *((name, ctypes.c_long) for name in ("samples_width", "batch", "gates_width", "noise_width", "streams",
                                                     "n_pieces", "n_drawn", "first"))]


class CGroup:
    """One group's kernels on its memory. Raises ValueError for a memory that is shorter than the module's."""

    def __init__(self, library: ctypes.CDLL, number: int, memory: Array, indices: Array, table: Array, pieces: Array,
                 samples: Array, records: Array):
        for name, array in (("memory", memory), ("indices", indices)):
            needed = ctypes.c_long.in_dll(library, f"{name}_{number}").value
            if len(array) < needed:
                raise ValueError(f"the kernels of group {number} need {name} of {needed} numbers, not {len(array)}")
        precision = PRECISIONS[ctypes.c_long.in_dll(library, "precision").value]
        arrays = {"m": (memory, precision), "records": (records, np.float64), "samples": (samples, np.float64),
                  "pieces": (pieces, np.uint64), "indices": (indices, np.int32)}
        self.arrays = {name: _checked(array, kind) for name, (array, kind) in arrays.items()}
        places = {name: array.ctypes.data for name, array in self.arrays.items()}
        self.table = CallTable(**places, samples_width=samples.shape[1], n_pieces=len(pieces))
        self.address = ctypes.addressof(self.table)
        library.weights_due.argtypes = library.record.argtypes = [ctypes.c_void_p, ctypes.c_long]
        self.block: Any = None
        self.library, self.call = library, getattr(library, f"run_{number}")
        self.call.argtypes = [ctypes.c_void_p, *[ctypes.c_long] * 4, ctypes.c_int, ctypes.c_int]
        self.call.restype = ctypes.c_int

    def _show(self, block: Any) -> None:
        if block is self.block:
            return
        self.block, t = block, self.table
        self.shown = [_checked(array, kind) for array, kind in (
            (block.gates, np.float64), (block.noise, np.float64), (block.rows, np.int64), (block.positions, np.int64),
            (block.drawn, np.uint64))]
        t.gates, t.noise, t.rows, t.positions, t.drawn = (array.ctypes.data for array in self.shown)
        t.gates_width, t.noise_width, t.batch, t.streams = (array.shape[1] for array in self.shown[:4])
        t.n_drawn, t.first = len(block.drawn), block.first

    def run(self, block: Any, first: int, last: int, start: int, stop: int, pending: bool, whole: bool) -> None:
        """Rows first..last of the group's program for steps start..stop of the block. Raises OSError where the system
        gives no more threads."""
        self._show(block)
        if self.call(self.address, first, last, start, stop, pending, whole):
            raise OSError("the system gives no more threads")

    def record(self, block: Any, t: int) -> None:
        self._show(block)
        self.library.record(self.address, t)

    def weights_due(self, block: Any, t: int) -> bool:
        """Whether a weight with a pending increment is to be recorded."""
        self._show(block)
        return bool(self.library.weights_due(self.address, t))


def _checked(array: Array, kind: type) -> Array:
    if array.dtype != kind or not array.flags.c_contiguous:
        raise ValueError(f"an array of {kind.__name__} is needed, in C's order")
    return array


class PythonGroup:
    """The same of a generated Python module, with numba or without."""

    def __init__(self, module: ModuleType, number: int, memory: Array, indices: Array, table: Array, pieces: Array,
                 samples: Array, records: Array):
        self.module, self.memory, self.samples, self.records = module, memory, samples, records
        self.indices = _checked(indices, np.int32)
        self.integer = np.uint64 if module.JIT else int
        self.table, self.pieces = (a if module.JIT else a.astype(object) for a in (table, pieces))

    def run(self, block: Any, first: int, last: int, start: int, stop: int, pending: bool, whole: bool) -> None:
        with np.errstate(all="ignore"):
            self.module.run(self.memory, self.indices, self.table, self.integer(first), self.integer(last),
                            self.samples, block.rows, block.gates, block.noise, start, stop, pending, self.pieces,
                            block.positions, self.records, whole)

    def record(self, block: Any, t: int) -> None:
        self.module.record(self.memory, self.pieces, block.positions, self.records, t)

    def weights_due(self, block: Any, t: int) -> bool:
        return bool(self.module.weights_due(self.pieces, block.positions, t))


@dataclass(frozen=True)
class Kernels:
    """A module. `bind` gives one of its groups (number, memory, indices, table, pieces, samples, records); `draw`:
    uniform noise of cells is drawn in it, not by the feed."""

    bind: Callable[..., CGroup | PythonGroup]
    draw: bool


def load_kernels(python: str | None, c: str | Callable[[], str] | None) -> Kernels:
    """Compiles, or finds again, the module of these texts. `c` is asked for only where it is used; None for one of
    them: the other is to run, whatever happens. Raises what the compiler says, then."""
    if c is not None and (compiler := c_compiler()):
        try:
            return Kernels(partial(CGroup, load_c(c if isinstance(c, str) else c(), compiler)), True)
        except (subprocess.CalledProcessError, OSError) as error:
            reason = (getattr(error, "stderr", None) or str(error)).strip()
            if python is None:
                raise RuntimeError(reason) from None
            warnings.warn(f"{compiler} cannot compile the kernels, numba does: {reason}", stacklevel=2)
    if python is None:
        raise RuntimeError("there is no C compiler")
    return Kernels(partial(PythonGroup, load_python(python)), False)


def c_compiler() -> str | None:
    """The compiler to use; None where there is none, or where others are asked for."""
    if os.environ.get("CORTEXC_JIT", "1") == "0" or os.environ.get("CORTEXC_KERNELS", "c") != "c":
        return None
    named = (os.environ.get("CC") or "").split()[:1]  # its flags, if it has any, are not ours
    found = [path for name in (*named, "gcc", "cc") if (path := shutil.which(name))]
    if named and not shutil.which(named[0]):
        instead = found[0] if found else "numba"
        warnings.warn(f"CC names '{named[0]}', which is not there; {instead} is used", stacklevel=2)
    return found[0] if found else None


def load_c(source: str, compiler: str) -> ctypes.CDLL:
    """A shared library in a file named by what it was made of: text, compiler, flags, processor."""
    digest = hashlib.sha256("\n".join([source, *_compiler_identity(compiler), *FLAGS]).encode()).hexdigest()[:24]
    with loading_lock():
        path = kernel_folder(digest[:16]) / f"kernels_{digest}.so"
        if library := _opened(path):
            return library
        with _alone(path.with_suffix(".lock")):
            if not (library := _opened(path)):
                _compile(source, compiler, path)
                library = _opened(path)
    if library is None:
        raise OSError(f"what {compiler} made cannot be loaded")
    return library


def _opened(path: Path) -> ctypes.CDLL | None:
    """None for what is not there, torn, or no library of ours."""
    try:
        library = ctypes.CDLL(str(path))
        return library if library.record and library.weights_due else None
    except (OSError, AttributeError):
        return None


def _compile(source: str, compiler: str, path: Path) -> None:
    text, partial = path.with_suffix(".c"), path.with_suffix(f".{os.getpid()}.partial")
    text.write_text(source, encoding="utf-8")
    subprocess.run([compiler, *FLAGS, "-o", str(partial), str(text)], check=True, capture_output=True, text=True)
    partial.replace(path)


def _compiler_identity(compiler: str) -> list[str]:
    """Of compiler and processor, whose instructions the library uses."""
    found = os.stat(compiler)
    processor = platform.machine()
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        processor = next((line for line in lines if line.startswith(("flags", "Features"))), processor)
    return [compiler, str(found.st_size), str(found.st_mtime_ns), processor]


def kernel_folder(name: str) -> Path:
    """A folder of the cache; where that cannot be made or written, one of this process."""
    path = cache_folder() / name
    with contextlib.suppress(OSError):
        path.mkdir(parents=True, exist_ok=True)
    if path.is_dir() and (os.access(path, os.W_OK) or any(path.glob("*.so")) or any(path.glob("*.py"))):
        return path
    own = Path(vars(sys.modules["cortexc_kernels"]).setdefault("folder", tempfile.TemporaryDirectory()).name) / name
    own.mkdir(exist_ok=True)
    return own


def cache_folder() -> Path:
    """Where compiled kernels are kept (CORTEXC_CACHE, or the user's cache folder)."""
    base = os.environ.get("CORTEXC_CACHE") or Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "cortexc"
    return Path(base) / "kernels"


def load_python(source: str) -> ModuleType:
    """Imports a generated module from a file named by its content, so that numba's cache is found again.

    One thread at a time imports (which compiles), and one process at a time compiles what the cache does not hold.
    """
    jit = os.environ.get("CORTEXC_JIT", "1") != "0"
    digest = hashlib.sha256(source.encode()).hexdigest()[:16]
    name = f"cortexc_kernels_{digest}_{'jit' if jit else 'plain'}"
    with loading_lock():
        return sys.modules.get(name) or _import_kernels(name, kernel_folder(digest) / f"{name}.py", source)


def loading_lock() -> Any:
    """The process's one lock for importing kernels: this file exists once per compiled folder, its copies share it."""
    shared = sys.modules.setdefault("cortexc_kernels", ModuleType("cortexc_kernels"))
    return vars(shared).setdefault("lock", threading.RLock())


def _import_kernels(name: str, path: Path, source: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # before it runs: numba's cache names functions by their module
    try:
        with _alone(path.with_suffix(".lock")):
            if not path.exists() or path.read_text(encoding="utf-8") != source:
                partial = path.with_suffix(f".{os.getpid()}.partial")
                partial.write_text(source, encoding="utf-8")
                partial.replace(path)
            spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Keeps other processes out, where the file system has locks: numba's cache may mix up what two write at once."""
    try:
        file = open(path, "w")  # noqa: SIM115
    except OSError:  # a cache that can only be read needs no lock
        yield
        return
    with file:
        with contextlib.suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_EX)
        try:
            yield
        finally:
            with contextlib.suppress(OSError):
                fcntl.flock(file, fcntl.LOCK_UN)
