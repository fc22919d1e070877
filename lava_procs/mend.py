"""Lava 0.10.0 on Python 3.11 and newer: one module of it is mended while it is imported. Imports nothing of Lava.

Its dataclasses have instances of another dataclass as defaults, which Python refuses since 3.11 unless they can be
hashed. `ByteEncoder`, the only class concerned, gets a hash.

`python -m cortexc.lava_procs` has every program of this environment do so, whatever it imports first.
"""

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import ModuleType
from typing import Any

MODULE, DEFAULT = "lava.magma.compiler.var_model", "ByteEncoder"
LINE = 'import sys; exec("try:\\n import cortexc.lava_procs\\nexcept ImportError: pass")\n'
"""What Python runs when it starts: a file beside the packages, `*.pth`, may have one line of this kind."""


class _Loader(SourceFileLoader):
    """Executes the module while `dataclass` is as it is, but for one class; who keeps that sees no difference."""

    def exec_module(self, module: ModuleType) -> None:
        import dataclasses  # programs that never import Lava need not wait for it

        before: Any = dataclasses.dataclass

        def dataclass(cls: type | None = None, /, **options: Any) -> Any:
            mended = cls is not None and (cls.__module__, cls.__name__) == (MODULE, DEFAULT)
            return before(cls, **options, **({"unsafe_hash": True} if mended else {}))

        vars(dataclasses)["dataclass"] = dataclass
        try:
            super().exec_module(module)
        finally:
            vars(dataclasses)["dataclass"] = before


class _Finder(MetaPathFinder):
    """Finds the one module, and no other."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        spec = PathFinder.find_spec(name, path, target) if name == MODULE else None
        if spec is not None and spec.origin is not None:
            spec.loader = _Loader(name, spec.origin)
        return spec


def mend_lava() -> None:
    """From now on Lava can be imported. No effect on Python 3.10, nor a second time."""
    if sys.version_info >= (3, 11) and not any(type(finder).__module__ == __name__ for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


def mend_environment(folder: str) -> None:
    """Writes the line into a folder of packages."""
    with open(f"{folder}/cortexc_lava.pth", "w", encoding="utf-8") as file:
        file.write(LINE)
