"""Lava 0.10.0 on Python 3.11 and newer: one module of it is mended while it is imported. Imports nothing of Lava.

Its dataclasses have instances of another dataclass as defaults, which Python refuses since 3.11 unless they can be
hashed. `ByteEncoder`, the only class concerned, gets a hash.
"""

import dataclasses
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import ModuleType
from typing import Any

MODULE, DEFAULT = "lava.magma.compiler.var_model", "ByteEncoder"


class _Loader(SourceFileLoader):
    def exec_module(self, module: ModuleType) -> None:
        with _hashable():
            super().exec_module(module)


class _Finder(MetaPathFinder):
    """Finds the one module, and no other."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        spec = PathFinder.find_spec(name, path, target) if name == MODULE else None
        if spec is not None and spec.origin is not None:
            spec.loader = _Loader(name, spec.origin)
        return spec


@contextmanager
def _hashable() -> Iterator[None]:
    """`dataclass` as it is, but for this one class; a module that keeps it from here sees no difference."""
    before: Any = dataclasses.dataclass

    def dataclass(cls: type | None = None, /, **options: Any) -> Any:
        mended = cls is not None and (cls.__module__, cls.__name__) == (MODULE, DEFAULT)
        return before(cls, **options, **({"unsafe_hash": True} if mended else {}))

    vars(dataclasses)["dataclass"] = dataclass
    try:
        yield
    finally:
        vars(dataclasses)["dataclass"] = before


def mend_lava() -> None:
    """From now on Lava can be imported. No effect on Python 3.10, nor a second time."""
    if sys.version_info >= (3, 11) and not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())
