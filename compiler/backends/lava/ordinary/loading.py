"""Emitted circuits as modules of this process, which Lava's compiler finds again."""

from __future__ import annotations

import hashlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType


def load_circuit(folder: Path) -> ModuleType:
    """The module of a folder, under a name of its own."""
    path = folder / "network_lava.py"
    name = f"network_lava_{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:16]}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec and spec.loader
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
