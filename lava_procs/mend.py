"""Lava 0.10.0 on Python 3.11 and newer: one module of it is mended while it is imported. Imports nothing of Lava.

Its dataclasses have instances of another dataclass as defaults, which Python refuses since 3.11 unless they can be
hashed. `ByteEncoder`, the only class concerned, gets a hash.
"""

import dataclasses
import functools
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

MODULE, DEFAULT = "lava.magma.compiler.var_model", "ByteEncoder"


class Mend(MetaPathFinder):
    """Finds the one module, and has it executed with the default hashable."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        spec = PathFinder.find_spec(name, path, target) if name == MODULE else None
        if spec is not None and spec.loader is not None:
            spec.loader.exec_module = functools.partial(  # type: ignore[method-assign]
                _execute, spec.loader.exec_module)
        return spec


def _execute(execute: Callable[[ModuleType], None], module: ModuleType) -> None:
    with _default_hashable():
        execute(module)


@contextmanager
def _default_hashable() -> Iterator[None]:
    """`dataclass` as it is, but for this one class; a module that keeps it from here sees no difference."""
    dataclass = dataclasses.dataclass

    def hashing(cls: type | None = None, /, **options: Any) -> Any:
        if cls is not None and (cls.__module__, cls.__name__) == (MODULE, DEFAULT):
            options["unsafe_hash"] = True
        return dataclass(cls, **options)  # type: ignore[call-overload]

    dataclasses.dataclass = hashing  # type: ignore[assignment]
    try:
        yield
    finally:
        dataclasses.dataclass = dataclass


def mend_lava() -> None:
    """From now on Lava can be imported. Without effect on Python 3.10, or where it was done."""
    if sys.version_info >= (3, 11) and not any(isinstance(finder, Mend) for finder in sys.meta_path):
        sys.meta_path.insert(0, Mend())
